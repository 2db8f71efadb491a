//! mx when the process is killed before or within each change, and when the power fails: afterwards every message is there
//! once, every acknowledged one is there, and no UID names another message.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::Mx;
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
    run: fn(&Mx, &Home, &mut Told) -> Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "open after a delivery",
        expunges: &[],
        appends: &[],
        run: |driver, home, _| open(driver, &home.at_name("box")).map(drop),
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

fn run_append(driver: &Mx, home: &Home, told: &mut Told, numbers: &[u32]) -> Result<()> {
    let texts: Vec<_> = numbers.iter().map(|n| text(*n)).collect();
    let messages: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_bytes())).collect();
    let (_, uids) = append(driver, &home.at_name("box"), &messages)?.uids.unwrap();
    told.appended.extend(uids.iter().map(|uid| uid.get()).zip(numbers.iter().copied()));
    Ok(())
}

fn run_store(driver: &Mx, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?);
    told.flagged = true;
    mailbox.close()
}

fn run_expunge(driver: &Mx, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
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
    fs::write(&path, text(n)).unwrap();
    set_times(&path, NOW - 1000, NOW - 1000);
}

fn driver(home: &Home) -> Mx {
    Mx::new(home.environment.clone(), home.disk.clone())
}

/// A home with a mailbox of messages 1 to 8, of which the last two are not in the index.
fn prepare() -> tempfile::TempDir {
    let home = Home::new();
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    for n in 1..=6 {
        append_plain(&driver, &at, text(n).as_bytes()).unwrap();
    }
    drop(open(&driver, &at).unwrap());
    (7..=8).for_each(|n| deliver(&home.path("box"), n));
    home.directory
}

/// Which disk a case runs on.
#[derive(Clone, Copy, Debug)]
enum Kind {
    New,
    Old,
}

/// An old disk matters for what is renamed.
fn cases() -> impl Iterator<Item = (&'static Case, Kind)> {
    let old = CASES.iter().filter(|case| matches!(case.name, "append three" | "expunge"));
    CASES.iter().map(|case| (case, Kind::New)).chain(old.map(|case| (case, Kind::Old)))
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
fn check(case: &Case, what: &str, directory: tempfile::TempDir, told: &Told) -> Home {
    let home = Home::at(directory, Os::shared(), |_| {});
    let what = format!("{}, {what}", case.name);
    let (driver, at) = (driver(&home), home.at_name("box"));
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
        assert!(!there || by_number[&n] == n, "{what}: UID of {n} changed");
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
    for entry in fs::read_dir(home.path("box")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // A journal that came back with the power loss, when the index had been written again already, is put aside.
        let orphan = what.contains("power lost") && name == "..mxindex.ailurus-journal.orphan";
        let good = name.parse::<u32>().is_ok() || name == ".mxindex" || orphan;
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
    check(case, "uncut", directory, &told);
    changes
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
    for (case, kind) in cases() {
        for n in 0..=changes(case, kind) {
            for seed in 0..2 {
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
            let home = Home::at(home.directory, Os::shared(), |_| {});
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
