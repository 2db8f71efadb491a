//! CREATE, DELETE and RENAME when the process is killed before or within each change, and when the power fails: a
//! mailbox has its old name or its new one, and is whole; one that is made is whole or not there.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::{Mbx, Unix};
use ailurus_store::{Claim, Driver, Environment, Error, Extent, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::*;

const FORMATS: [&str; 2] = ["unix", "mbx"];

fn driver(format: &str, home: &Home) -> Box<dyn Driver> {
    let (environment, disk) = (home.environment.clone(), home.disk.clone());
    match format {
        "unix" => Box::new(Unix::new(environment.as_ref().clone(), disk)),
        _ => Box::new(Mbx::new(environment, disk)),
    }
}

fn home(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let locks = directory.path().join("locks");
    Home::at(directory, disk, |environment: &mut Environment| {
        environment.lock_dir = locks;
        environment.dot_lock_timeout = 0;
        environment.kiss_tries = 1;
    })
}

/// `box` with three messages, `other` with one, and a directory; with `inbox` also an INBOX like `box`.
fn prepare(format: &str, inbox: bool) -> tempfile::TempDir {
    let home = home(tempfile::tempdir().unwrap(), Os::shared());
    for directory in ["locks", "dir"] {
        std::fs::create_dir(home.path(directory)).unwrap();
    }
    let driver = driver(format, &home);
    for (name, messages) in [("box", 3), ("other", 1), ("INBOX", 3 * i32::from(inbox))] {
        let at = home.at_name(name);
        if messages > 0 && name != "INBOX" {
            driver.create(&at).unwrap();
        }
        for n in 0..messages {
            let text = format!("Subject: {name} {n}\r\n\r\ntext\r\n");
            append_plain(&*driver, &at, text.as_bytes()).unwrap();
        }
    }
    home.directory
}

/// What is in a mailbox; `None` if there is none.
fn content(driver: &dyn Driver, home: &Home, name: &str) -> Option<Vec<Vec<u8>>> {
    let at = home.at_name(name);
    match driver.probe(&at).unwrap() {
        Claim::Valid => {}
        Claim::Empty | Claim::No(_) => return None,
    }
    let mut mailbox = open(driver, &at).unwrap();
    let texts = uids_of(&*mailbox).into_iter();
    Some(texts.map(|number| read_all(&mut *mailbox, uid(number), Extent::Whole, 1000).unwrap()).collect())
}

type Contents = BTreeMap<&'static str, Option<Vec<Vec<u8>>>>;

const NAMES: [&str; 5] = ["box", "other", "new", "dir/new", "INBOX"];

fn contents(driver: &dyn Driver, home: &Home) -> Contents {
    NAMES.into_iter().map(|name| (name, content(driver, home, name))).collect()
}

/// One operation to be cut short, and what it makes of the mailboxes.
struct Case {
    name: &'static str,
    inbox: bool,
    run: fn(&dyn Driver, &Home) -> Result<()>,
    after: fn(&mut Contents),
}

const CASES: &[Case] = &[
    Case {
        name: "create",
        inbox: false,
        run: |driver, home| driver.create(&home.at_name("new")),
        after: |contents| drop(contents.insert("new", Some(Vec::new()))),
    },
    Case {
        name: "delete",
        inbox: false,
        run: |driver, home| driver.delete(&home.at_name("box")),
        after: |contents| drop(contents.insert("box", None)),
    },
    Case {
        name: "rename",
        inbox: false,
        run: |driver, home| driver.rename(&home.at_name("box"), &home.at_name("new")),
        after: |contents| {
            let moved = contents.insert("box", None).unwrap();
            contents.insert("new", moved);
        },
    },
    Case {
        name: "rename to another directory",
        inbox: false,
        run: |driver, home| driver.rename(&home.at_name("box"), &home.at_name("dir/new")),
        after: |contents| {
            let moved = contents.insert("box", None).unwrap();
            contents.insert("dir/new", moved);
        },
    },
    Case {
        name: "rename INBOX",
        inbox: true,
        run: |driver, home| driver.rename(&home.at_name("INBOX"), &home.at_name("new")),
        after: |contents| {
            let moved = contents.insert("INBOX", None).unwrap();
            contents.insert("new", moved);
        },
    },
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FileSystem {
    Usual,
    Old,
}

/// Runs a case with a fault; checks what is left, and returns how many changes were asked for.
fn cut(format: &str, case: &Case, kind: FileSystem, fault: Fault, power_loss: Option<u64>) -> usize {
    let what = format!("{format}, {}, {kind:?}, {fault:?}, {power_loss:?}", case.name);
    let directory = prepare(format, case.inbox);
    let sound = home(directory, Os::shared());
    let before = contents(&*driver(format, &sound), &sound);
    let disk = FaultyDisk::new(sound.directory.path(), fault);
    let disk = Arc::new(if kind == FileSystem::Old { disk.of_an_old_kind() } else { disk });
    let faulty = home(sound.directory, disk.clone());
    let done = (case.run)(&*driver(format, &faulty), &faulty);
    assert!(done.is_ok() || fault != Fault::None, "{what}: {:?}", done.err());
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    let sound = home(faulty.directory, Os::shared());
    let driver = driver(format, &sound);
    let mut wanted = before.clone();
    (case.after)(&mut wanted);
    let mut found = contents(&*driver, &sound);
    if case.inbox && format == "mbx" && found["INBOX"] == Some(Vec::new()) {
        // The new INBOX comes last.
        found.insert("INBOX", None);
    }
    if kind == FileSystem::Old && found != before && found != wanted {
        // Between link and unlink a mailbox has both names. One that is made in steps is whole only when all are done.
        let both = |name| found[name] == before[name] || found[name] == wanted[name];
        assert!(NAMES.into_iter().all(both), "{what}: {found:?}");
        assert!(done.is_err(), "{what}");
    } else {
        assert!(found == wanted || (found == before && done.is_err()), "{what}: {found:?}");
    }
    // Whatever is left can be used, or made anew.
    if case.name == "create" && found["new"].is_none() {
        let path = sound.path("new");
        assert!(!path.exists() || kind == FileSystem::Old, "{what}");
        std::fs::remove_file(path).ok();
        driver.create(&sound.at_name("new")).unwrap();
    }
    disk.changes()
}

#[test]
fn killed_before_and_within_every_change() {
    for format in FORMATS {
        for case in CASES {
            for kind in [FileSystem::Usual, FileSystem::Old] {
                for n in 0..=cut(format, case, kind, Fault::None, None) {
                    cut(format, case, kind, Fault::KillBefore(n), None);
                    cut(format, case, kind, Fault::TearAt(n), None);
                }
            }
        }
    }
}

#[test]
fn the_power_fails_at_every_change() {
    for format in FORMATS {
        for case in CASES {
            for kind in [FileSystem::Usual, FileSystem::Old] {
                for n in 0..=cut(format, case, kind, Fault::None, None) {
                    for seed in 0..6 {
                        cut(format, case, kind, Fault::KillBefore(n), Some(seed + 1000 * n as u64));
                    }
                }
            }
        }
    }
}

#[test]
fn a_sync_that_fails_is_told_and_loses_nothing() {
    for format in FORMATS {
        for case in CASES {
            for n in 0..4 {
                cut(format, case, FileSystem::Usual, Fault::SyncFails(n), None);
            }
        }
    }
}

#[test]
fn a_name_that_was_taken_meanwhile_is_not_replaced() {
    for format in FORMATS {
        for old in [false, true] {
            let directory = prepare(format, false);
            let disk = FaultyDisk::new(directory.path(), Fault::None);
            let disk = Arc::new(if old { disk.of_an_old_kind() } else { disk });
            let home = home(directory, disk);
            let driver = driver(format, &home);
            std::os::unix::fs::symlink("nowhere", home.path("dangling")).unwrap();
            home.put("empty", b"");
            let before = contents(&*driver, &home);
            for taken in ["other", "empty", "dangling", "dir"] {
                let renamed = driver.rename(&home.at_name("box"), &home.at_name(taken));
                let names_it = matches!(&renamed, Err(Error::AlreadyExists(name)) if *name == taken.into());
                assert!(names_it, "{format} {taken}: {renamed:?}");
            }
            for taken in ["box", "empty", "dangling"] {
                let made = driver.create(&home.at_name(taken));
                assert!(matches!(made, Err(Error::AlreadyExists(_))), "{format} {taken}: {made:?}");
            }
            assert_eq!(contents(&*driver, &home), before, "{format}");
            assert!(!home.path("nowhere").exists());
        }
    }
}

#[test]
fn a_new_mailbox_has_the_mode_of_its_namespace() {
    use std::os::unix::fs::PermissionsExt;
    for format in FORMATS {
        let home = home(prepare(format, false), Os::shared());
        let driver = driver(format, &home);
        for (name, mode) in [("a", 0o600), ("#shared/b", 0o660), ("#public/c", 0o666), ("#ftp/d", 0o644)] {
            let mut at = home.at_name(&name[name.len() - 1..]);
            at.name = name.into();
            driver.create(&at).unwrap();
            assert_eq!(at.path().unwrap().metadata().unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
    }
}

/// The reference opens what is left by a cut.
#[test]
fn the_reference_opens_what_is_left() {
    for format in FORMATS {
        for case in CASES.iter().filter(|case| !case.inbox) {
            for n in 0..4 {
                let home = home(prepare(format, false), Os::shared());
                let disk = Arc::new(FaultyDisk::new(home.directory.path(), Fault::KillBefore(n)));
                let faulty = self::home(home.directory, disk);
                drop((case.run)(&*driver(format, &faulty), &faulty));
                // The lock of the dead stays for five minutes.
                std::fs::remove_file(faulty.path("box.lock")).ok();
                let home = self::home(faulty.directory, Os::shared());
                let driver = driver(format, &home);
                for name in NAMES.into_iter().filter(|name| *name != "INBOX" && home.path(name).exists()) {
                    let total = driver.status(&home.at_name(name)).unwrap().messages;
                    let Some(said) = mailutil(&home, &["check", name]) else { return };
                    let wanted = if total == 0 { "No new messages".into() } else { format!("{total} total") };
                    assert!(said.contains(&wanted), "{format}, {}, {n}, {name}: {said}", case.name);
                }
            }
        }
    }
}
