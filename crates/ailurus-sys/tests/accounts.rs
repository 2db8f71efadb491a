//! Logins against accounts of this host, made for the test and removed after it.
//!
//! Runs as root only (as CI does), since it adds an account, a group and a PAM service.
#![allow(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ailurus_sys::pam::PamError;
use ailurus_sys::shadow::{Reason, Verdict, Warning};
use ailurus_sys::users::User;
use ailurus_sys::{pam, privileges, shadow, users};

const PASSWORD: &[u8] = b"right horse";

/// An account with a password, a group that lists it, and a PAM service; all gone when dropped.
struct Account {
    name: String,
    group: String,
    service: PathBuf,
}

impl Account {
    fn new() -> Self {
        let tag = std::process::id();
        let account = Self {
            name: format!("ailt{tag}"),
            group: format!("ailg{tag}"),
            service: PathBuf::from(format!("/etc/pam.d/ailurus-test-{tag}")),
        };
        run("groupadd", &[&account.group]);
        run(
            "useradd",
            &["--no-create-home", "--shell", "/bin/sh", "--groups", &account.group, &account.name],
        );
        account.set_password(PASSWORD);
        account
    }

    fn set_password(&self, password: &[u8]) {
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd is there");
        let line = [self.name.as_bytes(), b":", password, b"\n"].concat();
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), &line).expect("it reads");
        assert!(child.wait().expect("it ends").success());
    }

    fn write_service(&self, lines: &str) -> &str {
        fs::write(&self.service, lines).expect("root writes to /etc/pam.d");
        self.service.file_name().and_then(|name| name.to_str()).expect("a name")
    }

    fn user(&self) -> User {
        users::by_name(self.name.as_bytes()).expect("the database answers").expect("it was added")
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        fs::remove_file(&self.service).ok();
        // With what some systems make besides, as a mailbox.
        let removals = [["userdel", "--remove", &self.name], ["groupdel", "--", &self.group]];
        for [command, option, name] in removals {
            Command::new(command).args([option, name]).stderr(Stdio::null()).status().ok();
        }
    }
}

fn run(command: &str, arguments: &[&str]) {
    let done = || Command::new(command).args(arguments).status().is_ok_and(|status| status.success());
    // Another process may hold the lock of the user database for a moment.
    let soon = (0..10).any(|_| {
        done() || {
            std::thread::sleep(Duration::from_millis(500));
            false
        }
    });
    assert!(soon, "{command} {arguments:?}");
}

fn can_run() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let tools = ["/usr/sbin/useradd", "/usr/sbin/chpasswd"].iter().all(|tool| Path::new(tool).exists());
    if !(root && tools) {
        println!("not root, or no useradd: not run");
    }
    root && tools
}

#[test]
fn logins_of_an_account() {
    if !can_run() {
        return;
    }
    let account = Account::new();
    accounts_are_looked_up(&account);
    shadow_tells_right_from_wrong(&account);
    shadow_does_not_tell_by_time(&account);
    shadow_minds_expiry(&account);
    if pam::available() {
        pam_tells_right_from_wrong(&account);
    } else {
        println!("no libpam: PAM not tested");
    }
    privileges_are_dropped(&account);
}

fn accounts_are_looked_up(account: &Account) {
    let user = account.user();
    assert_eq!(user.name, account.name);
    assert_eq!(user.shell, Path::new("/bin/sh"));
    assert_eq!(
        users::by_uid(user.uid).expect("the database answers").map(|found| found.name),
        Some(user.name)
    );
    let member =
        |group: &str| users::is_member(account.name.as_bytes(), group.as_bytes()).expect("it answers");
    assert!(member(&account.group));
    assert!(!member("root"));
    assert!(!member(&account.name), "the primary group does not count");
}

fn check(account: &Account, password: &[u8]) -> Verdict {
    shadow::check(account.name.as_bytes(), password).expect("root reads shadow")
}

fn shadow_tells_right_from_wrong(account: &Account) {
    assert_eq!(check(account, PASSWORD), Verdict::Accepted { user: account.user(), warnings: vec![] });
    for wrong in [&b"wrong horse"[..], b"", b"right horse\0", b"right horse "] {
        assert_eq!(
            check(account, wrong),
            Verdict::Refused(Reason::WrongPassword),
            "{}",
            wrong.escape_ascii()
        );
    }
    let unknown = shadow::check(b"ailurus-nobody-has-this", PASSWORD).expect("root reads shadow");
    assert_eq!(unknown, Verdict::Refused(Reason::UnknownUser));
    run("usermod", &["--lock", &account.name]);
    assert_eq!(check(account, PASSWORD), Verdict::Refused(Reason::NoPassword));
    run("usermod", &["--unlock", &account.name]);
}

/// Compares the work that checks take, by the CPU time of this thread: others on the machine do not count.
fn shadow_does_not_tell_by_time(account: &Account) {
    let work = |name: &str| {
        let once = |_| {
            let start = cpu_time();
            drop(shadow::check(name.as_bytes(), b"wrong horse").expect("root reads shadow"));
            cpu_time() - start
        };
        (0..5).map(once).min().expect("five times")
    };
    // The account is the last of shadow, and so what a stand-in is taken from; unless another makes one meanwhile.
    let measured: Vec<_> = (0..3)
        .map(|_| {
            let (wrong, unknown) = (work(&account.name), work("ailurus-nobody-has-this"));
            run("usermod", &["--lock", &account.name]);
            let locked = work(&account.name);
            run("usermod", &["--unlock", &account.name]);
            (wrong, unknown, locked)
        })
        .collect();
    let alike = |one: Duration, other: Duration| one * 3 > other && one < other * 3;
    let same = |(wrong, unknown, locked): &(Duration, Duration, Duration)| {
        alike(*unknown, *wrong) && alike(*locked, *wrong)
    };
    assert!(measured.iter().any(same), "wrong, unknown, locked: {measured:?}");
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().expect("below a second"))
}

fn shadow_minds_expiry(account: &Account) {
    run("chage", &["--expiredate", "10", &account.name]);
    assert_eq!(check(account, PASSWORD), Verdict::Refused(Reason::AccountExpired));
    assert_eq!(
        check(account, b"wrong"),
        Verdict::Refused(Reason::WrongPassword),
        "says nothing without the password"
    );
    run("chage", &["--expiredate", "-1", "--lastday", "0", &account.name]);
    assert_eq!(check(account, PASSWORD), Verdict::Refused(Reason::PasswordExpired));
    account.set_password(PASSWORD);
    run("chage", &["--maxdays", "10", "--warndays", "20", &account.name]);
    let warnings = vec![Warning::PasswordExpiresIn(10)];
    assert_eq!(check(account, PASSWORD), Verdict::Accepted { user: account.user(), warnings });
    run("chage", &["--maxdays", "99999", "--warndays", "7", &account.name]);
}

fn pam_tells_right_from_wrong(account: &Account) {
    let service = account.write_service("auth required pam_unix.so nodelay\naccount required pam_unix.so\n");
    let login = |user: &[u8], password: &[u8]| pam::authenticate(service, user, password, Some("192.0.2.1"));
    let name = account.name.as_bytes();
    drop(login(name, PASSWORD).expect("the right password"));
    // A session may live while another comes and goes.
    let session = login(name, PASSWORD).expect("the right password");
    let step = |result: Result<_, PamError>| match result.map(|session: pam::PamSession| drop(session)) {
        Err(PamError::Refused { step, .. }) => step,
        other => panic!("{other:?}"),
    };
    assert_eq!(step(login(name, b"wrong horse")), "pam_authenticate");
    assert_eq!(step(login(b"ailurus-nobody-has-this", PASSWORD)), "pam_authenticate");
    drop(session);
    run("chage", &["--expiredate", "10", &account.name]);
    assert_eq!(step(login(name, PASSWORD)), "pam_acct_mgmt");
    run("chage", &["--expiredate", "-1", &account.name]);
    account.write_service("auth required pam_deny.so\naccount required pam_unix.so\n");
    assert_eq!(step(login(name, PASSWORD)), "pam_authenticate");
}

fn privileges_are_dropped(account: &Account) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child_becomes_the_user", "--ignored", "--nocapture"])
        .env(CHILD, &account.name)
        .output()
        .expect("this program again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(DONE),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const CHILD: &str = "AILURUS_TEST_BECOME";
const DONE: &str = "became the user for good";

/// The child process of `privileges_are_dropped`.
#[test]
#[ignore = "started by logins_of_an_account"]
fn child_becomes_the_user() {
    let Ok(name) = std::env::var(CHILD) else { return println!("not started by its parent: not run") };
    let user =
        users::by_name(name.as_bytes()).expect("the database answers").expect("its parent has added it");
    // A second thread: its ids must change too.
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        asked.recv().expect("it is asked");
        ids_of_this_thread()
    });
    privileges::become_user(&user, None).expect("root can");
    ask.send(()).expect("it waits");
    let expected = (format!("{0}\t{0}\t{0}\t{0}", user.uid), format!("{0}\t{0}\t{0}\t{0}", user.gid));
    assert_eq!(ids_of_this_thread(), expected);
    assert_eq!(other.join().expect("it ends"), expected);

    // SAFETY: all take numbers only.
    unsafe {
        assert_ne!(libc::setuid(0), 0);
        assert_ne!(libc::setresgid(0, 0, 0), 0);
    }
    let mut groups = [0; 64];
    // SAFETY: the buffer has room for that many.
    let count = unsafe { libc::getgroups(64, groups.as_mut_ptr()) };
    let groups = groups.get(..usize::try_from(count).expect("few groups")).expect("at most 64");
    assert!(!groups.contains(&0), "root's groups are gone: {groups:?}");
    assert_eq!(groups.len(), 2, "its own and the supplementary one: {groups:?}");
    assert!(fs::read("/etc/shadow").is_err());

    privileges::become_user(&user, None).expect("it is that user already");
    let nobody = User { uid: user.uid + 1, ..user.clone() };
    privileges::become_user(&nobody, None).expect_err("no longer root");
    assert_eq!(users::current().expect("the database answers").map(|user| user.uid), Some(user.uid));
    println!("{DONE}");
}

/// Real, effective, saved and file system ids, as the kernel has them for this thread.
fn ids_of_this_thread() -> (String, String) {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|ids| ids.trim().to_owned());
    (line("Uid:").expect("a line"), line("Gid:").expect("a line"))
}
