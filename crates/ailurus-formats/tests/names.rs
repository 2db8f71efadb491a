//! Names and files that a hostile hand makes, through the whole store with the real drivers: refused or skipped, at
//! once, and nothing is changed.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::Os;
use ailurus_store::{Access, Mailboxes, Restrictions};
use ailurus_types::MailboxName;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Home, fixture};

/// What is below a directory: files with their content, the rest by kind.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            found.extend(tree(&path));
        }
        let content = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        found.insert(path, content);
    }
    found
}

fn home(restricted: bool) -> Home {
    let home = Home::with(Os::shared(), |environment| {
        environment.lock_dir = environment.home.join("locks");
        environment.mailbox_dir = environment.home.join("mail");
        environment.kiss_tries = 1;
        environment.dot_lock_timeout = 1;
        if restricted {
            environment.restrictions = Restrictions::all();
        }
    });
    for directory in ["locks", "mail", "mail/dir"] {
        std::fs::create_dir(home.path(directory)).unwrap();
    }
    std::fs::write(home.path("mail/box"), fixture("unix/02-appended")).unwrap();
    std::fs::write(home.path("secret"), fixture("unix/02-appended")).unwrap();
    symlink("loop", home.path("mail/loop")).unwrap();
    symlink("..", home.path("mail/dir/up")).unwrap();
    symlink("nowhere", home.path("mail/dangling")).unwrap();
    symlink("/dev/zero", home.path("mail/device")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(home.path("mail/fifo")).status().unwrap().success());
    std::os::unix::net::UnixListener::bind(home.path("mail/socket")).unwrap();
    home
}

fn mailboxes(home: &Home) -> Mailboxes {
    let drivers = ailurus_formats::drivers(&home.environment, &home.disk);
    Mailboxes::new(home.environment.clone(), drivers)
}

/// Does all that names are good for; returns what succeeded.
fn exercise(mailboxes: &Mailboxes, name: &MailboxName) -> Vec<&'static str> {
    let fresh: MailboxName = "fresh".into();
    let begun = Instant::now();
    let outcomes = [
        ("select", mailboxes.select(name, Access::ReadWrite).map(drop)),
        ("examine", mailboxes.select(name, Access::ReadOnly).map(drop)),
        ("status", mailboxes.status(name).map(drop)),
        ("append", mailboxes.append(name).map(drop)),
        ("create", mailboxes.create(name)),
        ("rename", mailboxes.rename(name, &fresh)),
        ("rename to", mailboxes.rename(&"box".into(), name)),
        ("delete", mailboxes.delete(name)),
    ];
    assert!(begun.elapsed() < Duration::from_secs(5), "{name} made somebody wait");
    outcomes.into_iter().filter(|(_, outcome)| outcome.is_ok()).map(|(what, _)| what).collect()
}

#[test]
fn names_that_are_none_change_nothing() {
    let long = "x".repeat(257);
    let component = "x".repeat(256);
    for restricted in [false, true] {
        let home = home(restricted);
        let before = tree(&home.path(""));
        let mailboxes = mailboxes(&home);
        let mut names: Vec<&[u8]> = vec![
            b"",
            b"a\0b",
            b"\0",
            b"a\rb",
            b"a\nb",
            b"{host}x",
            b"loop",
            b"loop/x",
            b"dangling",
            b"device",
            b"fifo",
            b"fifo/x",
            b"socket",
            b".box.ailurus-journal",
            b"#mh/x",
            b"#shared/../secret",
            b"~nobody/x",
            b"/nonexistent\0/x",
            b"..",
            b"../..",
            b"dir/..",
            b"box/x",
            b"box/..",
            b"/",
            b"//",
            b".",
        ];
        names.extend([long.as_bytes(), component.as_bytes()]);
        if restricted {
            names.extend([
                &b"../secret"[..],
                b"dir/up/../secret",
                b"~/../secret",
                b"/etc/passwd",
                b"a//b",
                b"a/~b",
            ]);
        }
        for name in names {
            let done = exercise(&mailboxes, &MailboxName::new(name));
            assert_eq!(done, Vec::<&str>::new(), "{}, restricted: {restricted}", name.escape_ascii());
            assert_eq!(tree(&home.path("")).len(), before.len(), "{}", name.escape_ascii());
        }
        assert!(tree(&home.path("")) == before);
    }
}

/// Octets beyond ASCII are only refused for what is new: what is there is opened.
#[test]
fn files_of_any_name_are_opened_and_listed() {
    let home = home(false);
    let mailboxes = mailboxes(&home);
    for name in [&b"caf\xe9"[..], b"\xff\xfe", b"a b", b"a\"b", b"a\\b", b"\x01\x7f"] {
        let name = MailboxName::new(name);
        assert!(mailboxes.select(&name, Access::ReadOnly).is_err());
        use std::os::unix::ffi::OsStrExt;
        let path = home.path("mail").join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        std::fs::write(&path, fixture("unix/02-appended")).unwrap();
        let mailbox = mailboxes.select(&name, Access::ReadWrite).unwrap();
        assert_eq!(mailbox.snapshot().messages.len(), 4, "{name}");
        mailbox.close().unwrap();
        let mut listed = Vec::new();
        mailboxes.list(b"", b"*", &mut |found| listed.push(found.name)).unwrap();
        assert!(listed.iter().any(|found| found == name.as_bytes()), "{name}");
        mailboxes.delete(&name).unwrap();
    }
    assert!(mailboxes.create(&MailboxName::new(*b"caf\xe9")).is_err());
}

#[test]
fn what_is_no_file_is_not_listed_and_loops_end() {
    let home = home(false);
    let mailboxes = mailboxes(&home);
    let begun = Instant::now();
    let mut listed = Vec::new();
    let mut found = |found: ailurus_store::Listed| {
        listed.push(String::from_utf8(found.name).unwrap());
    };
    mailboxes.list(b"", b"*", &mut found).unwrap();
    mailboxes.list(b"", b"%/%/%/%/%/%/%/%/%/%", &mut found).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "a loop of links");
    for name in ["loop", "dangling", "device", "fifo", "socket"] {
        assert!(home.path("mail").join(name).symlink_metadata().is_ok());
        assert!(!listed.iter().any(|found| found.rsplit('/').next() == Some(name)), "{name}");
    }
    assert!(listed.contains(&"box".to_owned()) && listed.contains(&"dir/up/box".to_owned()));
    assert!(home.path("mail/fifo").symlink_metadata().unwrap().file_type().is_fifo());
}
