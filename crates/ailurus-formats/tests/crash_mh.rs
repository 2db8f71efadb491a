//! mh when the process is killed before or within each change, and when the power fails: afterwards every message is there
//! once, every acknowledged one is there, and no UID names another message.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::Mh;
use ailurus_formats::disk::Os;
use ailurus_store::{AppendMeta, Driver, Error, Extent, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use session::set_times;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::*;

/// What a client was told before the cut.
#[derive(Debug, Default)]
struct Told {
    appended: Vec<(u32, u32)>,
    expunged: Vec<u32>,
    flagged: bool,
}

/// One operation to be cut short.
struct Case {
    name: &'static str,
    /// The numbers of messages that may be gone afterwards.
    expunges: &'static [u32],
    /// The messages that may be there afterwards, all or none of them.
    appends: &'static [u32],
    run: fn(&Mh, &Home, &mut Told) -> Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "open after a delivery",
        expunges: &[],
        appends: &[],
        run: |driver, home, _| open(driver, &home.special("#mh/box")).map(drop),
    },
    Case {
        name: "append one",
        expunges: &[],
        appends: &[20],
        run: |driver, home, told| run_append(driver, home, told, &[20]),
    },
    Case {
        name: "append three",
        expunges: &[],
        appends: &[21, 22, 23],
        run: |driver, home, told| run_append(driver, home, told, &[21, 22, 23]),
    },
    Case { name: "store", expunges: &[], appends: &[], run: run_store },
    Case { name: "expunge", expunges: &[1, 3, 6], appends: &[], run: run_expunge },
    Case {
        name: "store, append, expunge, store",
        expunges: &[1, 3, 6],
        appends: &[20],
        run: |driver, home, told| {
            run_store(driver, home, told)?;
            run_append(driver, home, told, &[20])?;
            run_expunge(driver, home, told)?;
            run_store(driver, home, told)
        },
    },
];

fn run_append(driver: &Mh, home: &Home, told: &mut Told, numbers: &[u32]) -> Result<()> {
    let texts: Vec<_> = numbers.iter().map(|n| text(*n)).collect();
    let messages: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_bytes())).collect();
    let (_, uids) = append(driver, &home.special("#mh/box"), &messages)?.uids.unwrap();
    told.appended.extend(uids.iter().map(|uid| uid.get()).zip(numbers.iter().copied()));
    Ok(())
}

fn run_store(driver: &Mh, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.special("#mh/box"))?;
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?);
    told.flagged = true;
    mailbox.close()
}

fn run_expunge(driver: &Mh, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.special("#mh/box"))?;
    drop(expunge(&mut *mailbox, &uids(&[1, 3, 6]))?);
    told.expunged.extend([1, 3, 6]);
    mailbox.close()
}

/// Message n, of a size that puts its end anywhere in a page.
fn text(n: u32) -> String {
    format!("Subject: {n}\r\n\r\n{}\r\n", "body ".repeat(usize::try_from(n * 397 % 5000).unwrap()))
}

fn deliver(folder: &Path, n: u32) {
    let path = folder.join(n.to_string());
    fs::write(&path, text(n).replace("\r\n", "\n")).unwrap();
    set_times(&path, NOW - 1000, NOW - 1000);
}

fn driver(home: &Home) -> Mh {
    Mh::new(home.environment.clone(), home.disk.clone())
}

/// A home with a folder of messages 1 to 8, of which the last two have no UIDs yet.
fn prepare() -> tempfile::TempDir {
    let home = Home::new();
    home.put(".mh_profile", b"");
    let folder = home.path("Mail/box");
    fs::create_dir_all(&folder).unwrap();
    (1..=6).for_each(|n| deliver(&folder, n));
    drop(open(&driver(&home), &home.special("#mh/box")).unwrap());
    (7..=8).for_each(|n| deliver(&folder, n));
    home.directory
}

/// Which disk a case runs on.
#[derive(Clone, Copy, Debug)]
enum Kind {
    New,
    Old,
}

/// Runs a case with a fault; returns the home as it was left, what was told, and how many changes were asked for.
fn run(case: &Case, kind: Kind, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    let directory = prepare();
    let disk = FaultyDisk::new(directory.path(), fault);
    let disk = Arc::new(match kind {
        Kind::New => disk,
        Kind::Old => disk.of_an_old_kind(),
    });
    let home = Home::at(directory, disk.clone(), |_| {});
    let mut told = Told::default();
    let outcome = (case.run)(&driver(&home), &home, &mut told);
    assert!(outcome.is_ok() || fault != Fault::None, "{}: {:?}", case.name, outcome.err());
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    (home.directory, told, disk.changes())
}

/// Checks a folder after a cut.
fn check(case: &Case, what: &str, directory: tempfile::TempDir, told: &Told, lost_power: bool) -> Home {
    let home = Home::at(directory, Os::shared(), |_| {});
    let what = format!("{}, {what}", case.name);
    let (driver, at) = (driver(&home), home.special("#mh/box"));
    let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{what}: {error}"));
    let uids = uids_of(&*mailbox);
    assert_eq!(i64::from(mailbox.snapshot().uid_validity.get()), NOW, "{what}");
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for number in &uids {
        let whole = read_all(&mut *mailbox, uid(*number), Extent::Whole, 1 << 20).unwrap();
        let twice = found.insert(String::from_utf8(whole).unwrap(), *number);
        assert!(twice.is_none(), "{what}: a message is there twice");
    }
    let mut by_number = BTreeMap::new();
    for n in (1..=8).chain(case.appends.iter().copied()) {
        if let Some(uid) = found.remove(&text(n)) {
            by_number.insert(n, uid);
        }
    }
    assert!(found.is_empty(), "{what}: there is a message that nobody wrote");
    for n in 1..=8 {
        let there = by_number.contains_key(&n);
        assert!(there || case.expunges.contains(&n), "{what}: message {n} is lost");
        assert!(!there || !told.expunged.contains(&n), "{what}: message {n} is back");
        // UIDs 1 to 6 were told before the cut. A file whose removal is undone is another one here: the test's own
        // file system cannot bring back the old one.
        let same = !there || n > 6 || by_number[&n] == n;
        assert!(same || lost_power && case.expunges.contains(&n), "{what}: UID of {n} changed");
    }
    let appended: Vec<_> = case.appends.iter().filter_map(|n| by_number.get(n)).collect();
    assert!(
        appended.is_empty() || appended.len() == case.appends.len(),
        "{what}: an append is there in part"
    );
    assert!(appended.is_sorted(), "{what}: {appended:?}");
    for (uid, n) in &told.appended {
        assert_eq!(by_number.get(n), Some(uid), "{what}: an acknowledged message");
    }
    if told.flagged {
        for message in mailbox.snapshot().messages.iter().filter(|message| message.uid().get() <= 8) {
            let flags = message.flags();
            assert!(flags.system.contains(SystemFlags::FLAGGED) && flags.keywords.has(0), "{what}: flags");
        }
        assert_eq!(mailbox.snapshot().keywords.get(0).unwrap().as_str(), "Kept", "{what}");
    }
    mailbox.close().unwrap();
    for entry in fs::read_dir(home.path("Mail/box")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let good = name.parse::<u32>().is_ok() || name.starts_with(".ailurus-uids");
        assert!(good, "{what}: {name} is left");
    }
    // The next message gets a UID that was never told.
    let (_, new) = append_plain(&driver, &at, b"Subject: new\r\n\r\nnew\r\n").unwrap().uids.unwrap();
    let most = told.appended.iter().map(|(uid, _)| *uid).chain(uids).chain([6]).max().unwrap();
    assert!(new[0].get() > most, "{what}: UID {} was given before", new[0]);
    home
}

/// How many changes a case makes when nothing goes wrong.
fn changes(case: &Case, kind: Kind) -> usize {
    let (directory, told, changes) = run(case, kind, Fault::None, None);
    check(case, "uncut", directory, &told, false);
    changes
}

#[test]
fn killed_before_or_within_every_change() {
    for (case, kind) in CASES.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
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
    for (case, kind) in CASES.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
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
    for (case, kind) in CASES.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
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
    for (case, kind) in CASES.iter().flat_map(|case| [(case, Kind::New), (case, Kind::Old)]) {
        for n in 0..6 {
            let (directory, told, _) = run(case, kind, Fault::SyncFails(n), None);
            check(case, &format!("{kind:?}, sync {n} fails"), directory, &told, false);
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
            let home = Home::at(home.directory, Os::shared(), |_| {});
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
