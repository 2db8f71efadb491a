//! mh when the process is killed before or within each change, and when the power fails: afterwards every message is there
//! once, every acknowledged one is there, and no UID names another message.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/cut.rs"]
mod cut;
#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::Mh;
use ailurus_store::{Driver, Error, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk, NoSync};
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
    let text = String::from_utf8(text(n)).unwrap();
    fs::write(&path, text.replace("\r\n", "\n")).unwrap();
    set_times(&path, NOW - 1000, NOW - 1000);
}

fn driver(home: &Home) -> Mh {
    Mh::new(home.environment.clone(), home.disk.clone())
}

/// A home with a folder of messages 1 to 8, of which the last two have no UIDs yet.
fn prepare() -> tempfile::TempDir {
    let home = Home::with(Arc::new(NoSync), |_| {});
    home.put(".mh_profile", b"");
    let folder = home.path("Mail/box");
    fs::create_dir_all(&folder).unwrap();
    (1..=6).for_each(|n| deliver(&folder, n));
    drop(open(&driver(&home), &home.special("#mh/box")).unwrap());
    (7..=8).for_each(|n| deliver(&folder, n));
    home.directory
}

const FORMAT: Format = Format {
    driver: |home| Box::new(driver(home)),
    at: |home| home.special("#mh/box"),
    prepare,
    home: |directory, disk| Home::at(directory, disk, |_| {}),
    sound: || Arc::new(NoSync),
    text,
    told: 6,
    may_begin_anew: false,
    undone_is_new: true,
    inspect,
};

/// Nothing is left behind.
fn inspect(home: &Home, what: &str) {
    for entry in fs::read_dir(home.path("Mail/box")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let good = name.parse::<u32>().is_ok() || name.starts_with(".ailurus-uids");
        assert!(good, "{what}: {name} is left");
    }
}

fn run(case: &Case, kind: Kind, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    FORMAT.run(case, fault, kind.of(), power_loss)
}

fn check(case: &Case, what: &str, directory: tempfile::TempDir, told: &Told, lost_power: bool) -> Home {
    FORMAT.check(case, what, directory, told, lost_power)
}

fn changes(case: &Case, kind: Kind) -> usize {
    FORMAT.changes(case, kind.of())
}

#[test]
fn killed_before_or_within_every_change() {
    for (case, kind) in CASES_OF_FOLDERS.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
        for n in 0..=changes(case, kind) {
            for fault in [Fault::KillBefore(n), Fault::TearAt(n)] {
                let (directory, told, _) = run(case, kind, fault, None);
                check(case, &format!("{kind:?}, {fault:?}"), directory, &told, false);
            }
        }
    }
}

#[test]
fn the_power_fails_at_every_change() {
    for (case, kind) in CASES_OF_FOLDERS.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
        for n in 0..=changes(case, kind) {
            for seed in 0..3 {
                let seed = seed + 1000 * n as u64;
                let (directory, told, _) = run(case, kind, Fault::KillBefore(n), Some(seed));
                check(
                    case,
                    &format!("{kind:?}, power lost before change {n}, seed {seed}"),
                    directory,
                    &told,
                    true,
                );
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_no_message_and_no_part_of_one() {
    for (case, kind) in CASES_OF_FOLDERS.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
        for room in (0..20_000).step_by(307) {
            let (directory, told, _) = run(case, kind, Fault::FullAfter(room), None);
            let files = fs::read_dir(directory.path().join("Mail/box")).unwrap().count();
            if case.expunges.is_empty() {
                assert_eq!(files, 9 + told.appended.len(), "{}, {room}", case.name);
            }
            // To make room is always possible.
            assert!(case.name != "expunge" || told.expunged.len() == 3, "{room}");
            check(case, &format!("{kind:?}, disk full after {room}"), directory, &told, false);
        }
    }
}

#[test]
fn a_disk_that_does_not_answer_acknowledges_nothing() {
    for (case, kind) in CASES_OF_FOLDERS.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
        for n in 0..6 {
            let (directory, told, _) = run(case, kind, Fault::SyncFails(n), None);
            check(case, &format!("{kind:?}, sync {n} fails"), directory, &told, false);
        }
    }
}

/// What cannot be made safe is taken back, and a power loss leaves all of it or nothing.
#[test]
fn a_directory_that_cannot_be_synced_leaves_all_or_nothing() {
    for (case, kind) in CASES_OF_FOLDERS.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
        for n in 0..6 {
            let fault = Fault::DirSyncFails(n);
            let (directory, told, _) = run(case, kind, fault, None);
            check(case, &format!("{kind:?}, {fault:?}"), directory, &told, false);
            for seed in 0..3 {
                let (directory, told, _) = run(case, kind, fault, Some(seed));
                check(case, &format!("{kind:?}, {fault:?}, power lost, seed {seed}"), directory, &told, true);
            }
        }
    }
}

/// CREATE, DELETE and RENAME: the folder is there under one name, with all that is known of its messages.
#[test]
fn folders_are_made_renamed_and_deleted_whole() {
    type Act = fn(&Mh, &Home) -> Result<()>;
    let rename: Act = |driver, home| driver.rename(&home.special("#mh/box"), &home.special("#mh/a/b"));
    let create: Act = |driver, home| driver.create(&home.special("#mh/new/folder"));
    let delete: Act = |driver, home| driver.delete(&home.special("#mh/box"));
    for (name, act) in [("rename", rename), ("create", create), ("delete", delete)] {
        for n in 0.. {
            let directory = prepare();
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
            let home = Home::at(directory, disk.clone(), |_| {});
            let done = act(&driver(&home), &home);
            let dead = disk.is_dead();
            let home = Home::at(home.directory, Arc::new(NoSync), |_| {});
            let driver = driver(&home);
            let there = |name: &str| match open(&driver, &home.special(name)) {
                Ok(mailbox) => Some(uids_of(&*mailbox)),
                Err(Error::NotFound(_)) => None,
                Err(error) => panic!("{name}, {n}: {error}"),
            };
            match name {
                "rename" => {
                    let (old, new) = (there("#mh/box"), there("#mh/a/b"));
                    assert!(old.is_some() != new.is_some(), "{n}");
                    assert_eq!(old.or(new.clone()).unwrap(), (1..=8).collect::<Vec<_>>(), "{n}");
                    assert_eq!(new.is_some(), done.is_ok() || new.is_some());
                }
                "create" => {
                    let made = there("#mh/new/folder");
                    assert!(done.is_err() || made == Some(Vec::new()), "{n}");
                    if made.is_none() {
                        driver.create(&home.special("#mh/new/folder")).unwrap();
                    }
                }
                _ => {
                    let left = there("#mh/box").unwrap_or_default();
                    assert!(left.iter().all(|uid| (1..=8).contains(uid)), "{n}: {left:?}");
                    assert!(done.is_err() || left.is_empty());
                    driver.delete(&home.special("#mh/box")).ok();
                    assert!(there("#mh/box").is_none());
                }
            }
            if !dead {
                break;
            }
        }
    }
}
