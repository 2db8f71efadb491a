//! A mail host in a bottle: a private mount namespace puts a copy of /etc, homes and a spool over the real ones, so that
//! users, passwords, PAM services and certificates are the test's, under their own names.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// `openssl passwd -6 -salt ailurus adapw`
const ADAPW: &str =
    "$6$ailurus$usoIeeSiC.qYvVcOw3EARuO.UdNB05/8/8X9GTdF7va.OJAo0rIPaQ0B6xhcvU8SHU2c4moxcKT0RZP1ozKKK1";
/// The same of `mgrpw`.
const MGRPW: &str =
    "$6$ailurus$y4/mGRKdVkW/SM/1JCCn0nClb54BSaMOEVP1bgJaYuBHndEmrcKdOKPmMLhW5/uSa1EpQJX7X1ylgzp8hwPCb/";

/// The user id of ada; ben's is the next.
pub const FIRST_UID: u32 = 61_000;

/// A host with users ada and ben (password adapw), eve (locked), zero (adapw, but user id 0), and postmgr (mgrpw) of the
/// group mailadm.
pub struct Bottle {
    scratch: tempfile::TempDir,
}

impl Bottle {
    /// Makes a host where all but postmgr have this mail; none, with a note, where that cannot be done.
    pub fn new(mail: &str) -> Option<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "true"]);
        let root = rustix::process::geteuid().is_root();
        if !root || !unshare.status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs root and the right to make a mount namespace");
            return None;
        }
        let bottle = Self { scratch: tempfile::tempdir().expect("a directory") };
        set_mode(&bottle.path(""), 0o755);
        copy_etc(&bottle.path("etc"));
        for file in [
            "pam.d/imap",
            "pam.d/pop",
            "cram-md5.pwd",
            "ailurus.passwd",
            "anonymous.newsgroups",
            "imapd.alert",
            "nologin",
            "ailurus.toml",
            "c-client.cf",
            "ssl/certs/imapd.pem",
        ] {
            fs::remove_file(bottle.path("etc").join(file)).ok();
        }
        fs::create_dir(bottle.path("home")).expect("ours");
        fs::create_dir(bottle.path("mail")).expect("ours");
        set_mode(&bottle.path("mail"), 0o1777);
        for (name, uid, hash) in [
            ("ada", FIRST_UID, ADAPW),
            ("ben", FIRST_UID + 1, ADAPW),
            ("eve", FIRST_UID + 2, "!locked"),
            ("postmgr", FIRST_UID + 3, MGRPW),
            ("zero", 0, ADAPW),
        ] {
            bottle.add_user(name, uid, hash);
            let spool = bottle.spool(name);
            fs::write(&spool, mail).expect("ours");
            chown(&spool, Some(uid), Some(uid)).expect("ours");
            set_mode(&spool, 0o600);
        }
        bottle.append("etc/group", &format!("mailadm:x:{}:postmgr\n", FIRST_UID + 9));
        Some(bottle)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns where the test finds what is `/home/NAME` in the bottle.
    pub fn home(&self, name: &str) -> PathBuf {
        self.path("home").join(name)
    }

    /// Returns where the test finds what is `/var/mail/NAME` in the bottle.
    pub fn spool(&self, name: &str) -> PathBuf {
        self.path("mail").join(name)
    }

    pub fn append(&self, file: &str, text: &str) {
        let path = self.path(file);
        let old = fs::read_to_string(&path).expect("copied");
        fs::write(path, old + text).expect("ours");
    }

    pub fn add_user(&self, name: &str, uid: u32, hash: &str) {
        let home = self.home(name);
        fs::create_dir(&home).expect("ours");
        chown(&home, Some(uid), Some(uid)).expect("ours");
        self.append("etc/passwd", &format!("{name}:x:{uid}:{uid}::/home/{name}:/bin/sh\n"));
        self.append("etc/shadow", &format!("{name}:{hash}:20000:0:99999:7:::\n"));
    }

    /// Puts a file into the host's /etc that root alone can read.
    pub fn put(&self, file: &str, text: &str) {
        self.put_with(file, text, 0o600);
    }

    /// Puts a file into the host's /etc that everybody can read.
    pub fn publish(&self, file: &str, text: &str) {
        self.put_with(file, text, 0o644);
    }

    fn put_with(&self, file: &str, text: &str, mode: u32) {
        let path = self.path("etc").join(file);
        fs::create_dir_all(path.parent().expect("below /etc")).expect("ours");
        fs::write(&path, text).expect("ours");
        set_mode(&path, mode);
    }

    /// Returns a command that runs inside the host.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0/etc\" /etc && mount --bind \"$0/home\" /home && \
                      mount --bind \"$0/mail\" \"$(readlink -f /var/mail)\" && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        command.arg(self.scratch.path()).arg(program).env("AILURUS_LOG", "stderr").env("TZ", "UTC");
        command
    }

    /// Returns a command that runs inside the host as ada.
    pub fn command_of_ada(&self, program: &Path) -> Command {
        let mut command = self.command(Path::new("setpriv"));
        let id = FIRST_UID.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command.env("HOME", "/home/ada").env_remove("SSH_CLIENT");
        command
    }

    /// Makes a certificate for a name and puts it where Debian has it, under a base name.
    pub fn install_certificate(&self, base: &str, name: &str) -> PathBuf {
        let pem = ailurus_daemon::tls::self_signed(&[name.into()]).expect("made");
        let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").expect("a key"));
        self.publish(&format!("ssl/certs/{base}.pem"), certificate);
        self.put(&format!("ssl/private/{base}.pem"), key);
        self.path(&format!("etc/ssl/certs/{base}.pem"))
    }
}

/// Copies the system's /etc; again if a file went away meanwhile, as those do that useradd makes for a moment.
fn copy_etc(to: &Path) {
    for _ in 0..20 {
        let mut cp = Command::new("cp");
        if cp.args(["-a", "/etc"]).arg(to).stderr(Stdio::null()).status().expect("cp").success() {
            return;
        }
        fs::remove_dir_all(to).ok();
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("/etc cannot be copied");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}
