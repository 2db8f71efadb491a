//! mx when the process is killed before or within each change, and when the power fails: afterwards every message is there
//! once, every acknowledged one is there, and no UID names another message.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/cut.rs"]
mod cut;
#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::Mx;
use ailurus_store::{Driver, Error, Extent, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk, NoSync};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use cut::{CASES_OF_FOLDERS, Case, Format, Kind, Told};
use session::set_times;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::*;

/// Message n, of a size that puts its end anywhere in a page.
fn text(n: u32) -> Vec<u8> {
    format!("Subject: {n}\r\n\r\n{}\r\n", "body ".repeat(usize::try_from(n * 397 % 5000).unwrap()))
        .into_bytes()
}

fn deliver(folder: &Path, n: u32) {
    let path = folder.join(n.to_string());
    fs::write(&path, text(n)).unwrap();
    set_times(&path, NOW - 1000, NOW - 1000);
}

fn driver(home: &Home) -> Mx {
    Mx::new(home.environment.clone(), home.disk.clone())
}

/// A home with a mailbox of messages 1 to 8, of which the last two are not in the index.
fn prepare() -> tempfile::TempDir {
    let home = Home::with(Arc::new(NoSync), |_| {});
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    for n in 1..=6 {
        append_plain(&driver, &at, &text(n)).unwrap();
    }
    drop(open(&driver, &at).unwrap());
    (7..=8).for_each(|n| deliver(&home.path("box"), n));
    home.directory
}

/// An old disk matters for what is renamed.
fn cases() -> impl Iterator<Item = (&'static Case, Kind)> {
    let old = CASES_OF_FOLDERS.iter().filter(|case| matches!(case.name, "append three" | "expunge"));
    CASES_OF_FOLDERS.iter().map(|case| (case, Kind::New)).chain(old.map(|case| (case, Kind::Old)))
}

const FORMAT: Format = Format {
    driver: |home| Box::new(driver(home)),
    at: |home| home.at_name("box"),
    prepare,
    home: |directory, disk| Home::at(directory, disk, |_| {}),
    sound: || Arc::new(NoSync),
    text,
    told: 8,
    may_begin_anew: false,
    undone_is_new: false,
    inspect,
};

/// Nothing is left behind.
fn inspect(home: &Home, what: &str) {
    for entry in fs::read_dir(home.path("box")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let good = name.parse::<u32>().is_ok() || name == ".mxindex";
        assert!(good, "{what}: {name} is left");
    }
}

fn run(case: &Case, kind: Kind, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    FORMAT.run(case, fault, kind.of(), power_loss)
}

fn check(case: &Case, what: &str, directory: tempfile::TempDir, told: &Told) -> Home {
    FORMAT.check(case, what, directory, told, false)
}

fn changes(case: &Case, kind: Kind) -> usize {
    FORMAT.changes(case, kind.of())
}

#[test]
fn killed_before_or_within_every_change() {
    for (case, kind) in cases() {
        for n in 0..=changes(case, kind) {
            for fault in [Fault::KillBefore(n), Fault::TearAt(n)] {
                let (directory, told, _) = run(case, kind, fault, None);
                check(case, &format!("{kind:?}, {fault:?}"), directory, &told);
            }
        }
    }
}

#[test]
fn the_power_fails_at_every_change() {
    let seeds = if std::env::var_os("AILURUS_LONG").is_some() { 20 } else { 2 };
    for (case, kind) in cases() {
        for n in 0..=changes(case, kind) {
            for seed in 0..seeds {
                let seed = seed + 1000 * n as u64;
                let (directory, told, _) = run(case, kind, Fault::KillBefore(n), Some(seed));
                check(
                    case,
                    &format!("{kind:?}, power lost before change {n}, seed {seed}"),
                    directory,
                    &told,
                );
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_no_message_and_no_part_of_one() {
    for (case, kind) in cases() {
        for room in (0..20_000).step_by(307) {
            let (directory, told, _) = run(case, kind, Fault::FullAfter(room), None);
            let files = fs::read_dir(directory.path().join("box")).unwrap();
            let mut files: Vec<_> = files.map(|entry| entry.unwrap().file_name()).collect();
            // A rewrite of the index that could not be finished is finished by the next of us.
            files.retain(|name| name != "..mxindex.ailurus-journal");
            if case.expunges.is_empty() {
                assert_eq!(files.len(), 9 + told.appended.len(), "{}, {room}: {files:?}", case.name);
            }
            // To make room is always possible.
            assert!(case.name != "expunge" || told.expunged.len() == 3, "{room}");
            check(case, &format!("{kind:?}, disk full after {room}"), directory, &told);
        }
    }
}

#[test]
fn a_disk_that_does_not_answer_acknowledges_nothing() {
    for (case, kind) in cases() {
        for n in 0..6 {
            let (directory, told, _) = run(case, kind, Fault::SyncFails(n), None);
            check(case, &format!("{kind:?}, sync {n} fails"), directory, &told);
        }
    }
}

/// What cannot be made safe is taken back, and a power loss leaves all of it or nothing.
#[test]
fn a_directory_that_cannot_be_synced_leaves_all_or_nothing() {
    for (case, kind) in cases() {
        for n in 0..6 {
            let fault = Fault::DirSyncFails(n);
            let (directory, told, _) = run(case, kind, fault, None);
            check(case, &format!("{kind:?}, {fault:?}"), directory, &told);
            for seed in 0..3 {
                let (directory, told, _) = run(case, kind, fault, Some(seed));
                check(case, &format!("{kind:?}, {fault:?}, power lost, seed {seed}"), directory, &told);
            }
        }
    }
}

/// CREATE, DELETE and RENAME: the mailbox is there under one name, with all that is known of its messages.
#[test]
fn mailboxes_are_made_renamed_and_deleted_whole() {
    type Act = fn(&Mx, &Home) -> Result<()>;
    let rename: Act = |driver, home| driver.rename(&home.at_name("box"), &home.at_name("new"));
    let create: Act = |driver, home| driver.create(&home.at_name("new"));
    let delete: Act = |driver, home| driver.delete(&home.at_name("box"));
    for (name, act) in [("rename", rename), ("create", create), ("delete", delete)] {
        for n in 0.. {
            let directory = prepare();
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
            let home = Home::at(directory, disk.clone(), |_| {});
            let done = act(&driver(&home), &home);
            let dead = disk.is_dead();
            let home = Home::at(home.directory, Arc::new(NoSync), |_| {});
            let driver = driver(&home);
            let there = |name: &str| match open(&driver, &home.at_name(name)) {
                Ok(mailbox) => Some(uids_of(&*mailbox)),
                Err(Error::NotFound(_) | Error::WrongFormat { .. }) => None,
                Err(error) => panic!("{name}, {n}: {error}"),
            };
            match name {
                "rename" => {
                    let (old, new) = (there("box"), there("new"));
                    assert!(old.is_some() != new.is_some(), "{n}");
                    assert_eq!(old.or(new).unwrap(), (1..=8).collect::<Vec<_>>(), "{n}");
                }
                "create" => {
                    let made = there("new");
                    assert!(done.is_err() || made == Some(Vec::new()), "{n}");
                    if made.is_none() {
                        driver.create(&home.at_name("new")).unwrap();
                    }
                }
                _ => {
                    let left = there("box").unwrap_or_default();
                    assert!(left.iter().all(|uid| (1..=8).contains(uid)), "{n}: {left:?}");
                    assert!(done.is_err() || left.is_empty());
                    driver.delete(&home.at_name("box")).ok();
                    assert!(there("box").is_none());
                }
            }
            if !dead {
                break;
            }
        }
    }
}

/// RENAME of INBOX: at any time each message is in one of the two mailboxes, with its flags and its UID, and INBOX gives no
/// UID again.
#[test]
fn the_messages_of_inbox_are_in_one_of_two_mailboxes() {
    let prepare = || {
        let home = Home::with(Arc::new(NoSync), |_| {});
        let (driver, inbox) = (driver(&home), home.at_name("INBOX"));
        for n in 1..=4 {
            append_plain(&driver, &inbox, &text(n)).unwrap();
        }
        let mut mailbox = open(&driver, &inbox).unwrap();
        let by = change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]);
        drop(store(&mut *mailbox, &UidSet::all(), &by).unwrap());
        home.directory
    };
    for power in [false, true] {
        for n in 0.. {
            let directory = prepare();
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
            let home = Home::at(directory, disk.clone(), |_| {});
            let done = driver(&home).rename(&home.at_name("INBOX"), &home.at_name("old"));
            let dead = disk.is_dead();
            if power {
                disk.lose_power(n as u64);
            }
            let home = Home::at(home.directory, Arc::new(NoSync), |_| {});
            let driver = driver(&home);
            let mut found = Vec::new();
            for name in ["INBOX", "old"] {
                let Ok(mut mailbox) = open(&driver, &home.at_name(name)) else { continue };
                for number in uids_of(&*mailbox) {
                    let whole = read_all(&mut *mailbox, uid(number), Extent::Whole, 1 << 20).unwrap();
                    assert_eq!(whole, text(number), "{n}");
                    let flags = mailbox.snapshot().message(uid(number)).unwrap().flags();
                    assert!(flags.system.contains(SystemFlags::FLAGGED) && flags.keywords.has(0), "{n}");
                    found.push((number, name));
                }
            }
            found.sort_unstable();
            let all: Vec<_> = found.iter().map(|(number, _)| *number).collect();
            assert_eq!(all, [1, 2, 3, 4], "{power}, {n}");
            assert!(done.is_err() || found.iter().all(|(_, name)| *name == "old"), "{power}, {n}");
            let (_, new) = append_plain(&driver, &home.at_name("INBOX"), b"x").unwrap().uids.unwrap();
            assert_eq!(new, [uid(5)], "{power}, {n}");
            if !dead {
                break;
            }
        }
    }
}
