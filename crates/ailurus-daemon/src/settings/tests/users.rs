//! `~/.mminit` and `~/.imaprc`.

use super::*;
use std::os::unix::fs::symlink;

/// Reads a user's files where the host allows that.
fn read(home: &Path, host: &str) -> (Environment, Vec<String>) {
    let settings = of_cf(&format!("set allow-user-config 1\n{host}"));
    let mut environment = ada();
    environment.home = home.into();
    settings.apply(&mut environment, Confinement::Names).expect("nothing is wrong");
    let complaints = settings.read_users(&mut environment);
    let directory = format!("{}/", home.display());
    (environment, complaints.iter().map(|complaint| complaint.to_string().replace(&directory, "")).collect())
}

fn home(mminit: &str, imaprc: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join(".mminit"), mminit).expect("ours");
    fs::write(home.path().join(".imaprc"), imaprc).expect("ours");
    home
}

const OWN: &str = "set new-mailbox-format mbx\nset empty-folder-format invalid\nset keywords Own\nset from-widget header-only\n\
    set hide-dot-files 1\nset list-maximum-level 2\nset mail-subdirectory mail\nset mailbox-protection 416\n\
    set directory-protection 488\nset lookahead 3\n";

#[test]
fn what_is_the_users_own_is_obeyed() {
    let home = home("", OWN);
    let (environment, said) = read(home.path(), "set hide-dot-files 0\nset new-mailbox-format mmdf\n");
    assert_eq!(said, [""; 0]);
    assert_eq!((environment.create_format, environment.empty_format), ("mbx", None));
    assert_eq!(environment.default_keywords.len(), 1);
    assert!(environment.from_widget_header_only && environment.hide_dot_files);
    assert_eq!(environment.list_depth, 2);
    assert_eq!(environment.mailbox_dir, home.path().join("mail"));
    assert_eq!((environment.protections.mailbox, environment.protections.directory), (0o640, 0o750));
}

#[test]
fn unless_the_host_says_so_nothing_is_read() {
    let home = home(OWN, OWN);
    let mut environment = ada();
    environment.home = home.path().into();
    for settings in
        [Settings::default(), of_cf("set allow-user-config 0\n"), of_toml("[server]\nuser-config = false\n")]
    {
        assert_eq!(settings.read_users(&mut environment), []);
        assert_eq!(environment.create_format, "unix");
    }
    assert_eq!(
        of_toml("[server]\nuser-config = true\n").read_users(&mut environment).len(),
        8,
        ".mminit is for keywords"
    );
    assert_eq!(environment.create_format, "mbx");
}

#[test]
fn what_is_the_hosts_is_not_a_users_to_set() {
    for line in [
        "restrict-mailbox-access none",
        "system-inbox /etc/passwd",
        "chroot-server 0",
        "black-box-directory /",
        "disable-plaintext 0",
        "allowed-login-attempts 99",
        "public-home-directory /etc",
        "lock-protection 384",
        "dot-lock-file-timeout 1",
        "advertise-the-world 1",
        "allow-user-config 1",
        "local-host other",
    ] {
        let home = home("", &format!("set {line}\n"));
        let (environment, said) = read(home.path(), "set restrict-mailbox-access all\n");
        let name = line.split(' ').next().expect("a name");
        assert_eq!(said, [format!(".imaprc:1:5: {name}: the host's to set, not a user's")]);
        let untouched = self::home("", "");
        let expected = shown(&read(untouched.path(), "set restrict-mailbox-access all\n").0);
        let (ours, empty) = (home.path().display().to_string(), untouched.path().display().to_string());
        assert_eq!(shown(&environment).replace(&ours, ""), expected.replace(&empty, ""), "{line}");
    }
}

#[test]
fn a_users_directory_stays_below_the_home() {
    for line in ["mh-path /etc", "mh-path ../ben", "news-state-file /etc/passwd", "news-state-file a/../../x"]
    {
        let home = home("", &format!("set {line}\n"));
        let (environment, said) = read(home.path(), "");
        assert_eq!((environment.mh_path, environment.news.state, said.len()), (None, None, 1), "{line}");
    }
    let own = home("", "set mh-path MH\nset mh-allow-inbox 1\nset news-state-file News/read\n");
    let (environment, said) = read(own.path(), "");
    assert_eq!((environment.mh_allow_inbox, said.len()), (true, 0));
    assert_eq!(environment.mh_path, Some(own.path().join("MH")));
    assert_eq!(environment.news.state, Some(own.path().join("News/read")));
    for value in ["..", "a/../..", "", "/", "."] {
        let home = home("", &format!("set mail-subdirectory {value}\n"));
        let (environment, said) = read(home.path(), "");
        assert_eq!(environment.mailbox_dir, home.path(), "{value}");
        assert_eq!(said.len(), 1, "{value}: {said:?}");
    }
    let home = home("", "set mail-subdirectory /etc\n");
    assert_eq!(read(home.path(), "").0.mailbox_dir, home.path().join("etc"), "as the original reads it");
}

#[test]
fn the_first_keywords_count() {
    let home = home("set keywords Mm\n", "set keywords Rc\n");
    let keywords = |host: &str| {
        let (environment, said) = read(home.path(), host);
        assert_eq!(said, [""; 0]);
        environment.default_keywords.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(keywords(""), ["Mm"]);
    assert_eq!(keywords("set keywords Host\n"), ["Host"]);
}

#[test]
fn a_user_does_not_fill_the_log() {
    let home = home("", &"set frobnicate 1\n".repeat(50_000));
    let said = read(home.path(), "").1;
    assert_eq!(said.len(), 21);
    assert_eq!(said[20], ".imaprc: so much is wrong that the rest is not read");
}

#[test]
fn only_a_users_own_regular_file_of_some_size_is_read() {
    let home = home("", "");
    let file = home.path().join(".imaprc");
    let said = || read(home.path(), "").1;
    fs::write(&file, "x".repeat(2 << 20)).expect("ours");
    assert_eq!(said(), [".imaprc: cannot be read: too large"]);
    fs::remove_file(&file).expect("ours");
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .expect("made");
    assert_eq!(said(), [".imaprc: cannot be read: not a file"], "and not waited for");
    fs::remove_file(&file).expect("ours");
    symlink("/dev/zero", &file).expect("ours");
    assert_eq!(said().len(), 1);
    fs::remove_file(&file).expect("ours");
    if rustix::process::geteuid().is_root() {
        fs::write(&file, OWN).expect("ours");
        std::os::unix::fs::chown(&file, Some(65534), None).expect("root can");
        let (environment, said) = read(home.path(), "");
        assert_eq!(said, [".imaprc: not read: it belongs to somebody else"]);
        assert_eq!(environment.create_format, "unix");
    }
}
