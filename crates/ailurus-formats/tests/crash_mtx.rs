//! mtx and tenex when the process is killed before or within each change, and when the power fails: afterwards every
//! message is there once, every acknowledged one is there, and no UID names another message.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mtx;
use ailurus_formats::disk::Disk;
use ailurus_store::{Access, AppendMeta, Driver, Environment, Extent, Manner, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk, NoSync};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::*;

const SIDECAR: &str = ".box.ailurus-uids";

/// What a client was told before the cut.
#[derive(Debug, Default)]
struct Told {
    appended: Vec<(u32, Vec<u8>)>,
    expunged: Vec<u32>,
    flagged: bool,
    /// The keyword was taken as well.
    keyword: bool,
    /// UIDs that were told of the messages that others delivered.
    delivered: Vec<(u32, Vec<u8>)>,
}

/// One operation to be cut short.
struct Case {
    name: &'static str,
    /// No sidecar is there before: nobody was told of any UID.
    first: bool,
    /// The numbers of messages that may be gone afterwards.
    expunges: &'static [u32],
    /// The messages that may be there afterwards, all or none of them.
    appends: &'static [u32],
    run: fn(&Mtx, &Home, &mut Told) -> Result<()>,
}

const PLAIN: Case = Case { name: "", first: false, expunges: &[], appends: &[], run: run_open };

const CASES: &[Case] = &[
    Case { name: "open", run: run_open, ..PLAIN },
    Case { name: "first open", first: true, run: run_open, ..PLAIN },
    Case {
        name: "read only",
        run: |driver, home, told| {
            let mailbox = driver.open(&home.at_name("box"), Access::ReadOnly, Manner::Session)?;
            tell_delivered(&mut { mailbox }, told);
            Ok(())
        },
        ..PLAIN
    },
    Case {
        name: "append one",
        appends: &[20],
        run: |driver, home, told| run_append(driver, home, told, &[20]),
        ..PLAIN
    },
    Case {
        name: "append three",
        appends: &[21, 22, 23],
        run: |driver, home, told| run_append(driver, home, told, &[21, 22, 23]),
        ..PLAIN
    },
    Case {
        name: "first append",
        first: true,
        appends: &[20],
        run: |driver, home, told| run_append(driver, home, told, &[20]),
        ..PLAIN
    },
    Case { name: "store", run: run_store, ..PLAIN },
    Case { name: "expunge", expunges: &[1, 3, 6], run: run_expunge, ..PLAIN },
    Case {
        name: "store, append, expunge, open, append",
        expunges: &[1, 3, 6],
        appends: &[20],
        run: |driver, home, told| {
            run_store(driver, home, told)?;
            run_expunge(driver, home, told)?;
            run_open(driver, home, told)?;
            run_append(driver, home, told, &[20])
        },
        ..PLAIN
    },
];

fn run_open(driver: &Mtx, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    tell_delivered(&mut mailbox, told);
    mailbox.close()
}

fn tell_delivered(mailbox: &mut Box<dyn ailurus_store::Mailbox>, told: &mut Told) {
    told.delivered.clear();
    // Where they cannot be written down they are told as UIDs of the session.
    if !mailbox.snapshot().sticky_uids {
        return;
    }
    for number in uids_of(&**mailbox) {
        let whole = read_all(&mut **mailbox, uid(number), Extent::Whole, 1 << 20).unwrap();
        told.delivered.push((number, whole));
    }
}

fn run_append(driver: &Mtx, home: &Home, told: &mut Told, numbers: &[u32]) -> Result<()> {
    let texts: Vec<_> = numbers.iter().map(|n| text(*n)).collect();
    let messages: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_slice())).collect();
    let (_, uids) = append(driver, &home.at_name("box"), &messages)?.uids.unwrap();
    told.appended.extend(uids.iter().map(|uid| uid.get()).zip(texts));
    Ok(())
}

fn run_store(driver: &Mtx, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    let mut edit = mailbox.edit()?;
    let refused = edit.store(&UidSet::all(), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?;
    drop(edit.commit()?);
    (told.flagged, told.keyword) = (true, refused.is_empty());
    mailbox.close()
}

fn run_expunge(driver: &Mtx, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    drop(expunge(&mut *mailbox, &uids(&[1, 3, 6]))?);
    told.expunged.extend([1, 3, 6]);
    mailbox.close()
}

/// Message n, of a size that puts line starts and ends all over the pages.
fn text(n: u32) -> Vec<u8> {
    let mut text = format!("Subject: {n}\r\n\r\n");
    while text.len() < n as usize * 613 {
        text.push_str(&format!("line of message {n} at {}\r\n", text.len()));
    }
    text.into_bytes()
}

fn driver(home: &Home, format: &str) -> Mtx {
    let make = if format == "mtx" { Mtx::new } else { Mtx::tenex };
    make(home.environment.clone(), home.disk.clone())
}

/// What another program adds to the file for a message.
fn delivery(format: &str, text: &[u8]) -> Vec<u8> {
    let keep = |octet: &u8| format == "mtx" || *octet != b'\r';
    let text: Vec<u8> = text.iter().copied().filter(keep).collect();
    let newline = if format == "mtx" { "\r\n" } else { "\n" };
    let line = format!(" 1-Feb-2025 12:34:56 +0200,{};000000000000{newline}", text.len());
    [line.as_bytes(), &text].concat()
}

/// Messages 1 to 6 of ours, of which 5 and 6 nobody has seen; then 7 and 8 as a delivery program leaves them.
fn prepare(format: &str, first: bool) -> tempfile::TempDir {
    let home = home(tempfile::tempdir().unwrap(), Arc::new(NoSync));
    std::fs::create_dir(&home.environment.lock_dir).unwrap();
    let (driver, at) = (driver(&home, format), home.at_name("box"));
    driver.create(&at).unwrap();
    for n in 1..=6 {
        append_plain(&driver, &at, &text(n)).unwrap();
        if n == 4 {
            open(&driver, &at).unwrap().close().unwrap();
        }
    }
    let mut content = home.get("box");
    for n in 7..=8 {
        content.extend_from_slice(&delivery(format, &text(n)));
    }
    home.put("box", &content);
    if first {
        std::fs::remove_file(home.path(SIDECAR)).unwrap();
    }
    home.directory
}

fn home(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let locks = directory.path().join("locks");
    Home::at(directory, disk, |environment: &mut Environment| environment.lock_dir = locks)
}

/// Runs a case with a fault; returns the home as it was left, what was told, and how many changes were asked for.
fn run(format: &str, case: &Case, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    let directory = prepare(format, case.first);
    let disk = Arc::new(FaultyDisk::new(directory.path(), fault).by_pages());
    let home = home(directory, disk.clone());
    let mut told = Told::default();
    let outcome = (case.run)(&driver(&home, format), &home, &mut told);
    assert!(outcome.is_ok() || fault != Fault::None, "{}: {:?}", case.name, outcome.err());
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    (home.directory, told, disk.changes())
}

/// The messages of a mailbox with their UIDs.
fn messages(driver: &Mtx, home: &Home, name: &str, what: &str) -> BTreeMap<Vec<u8>, u32> {
    let mut mailbox = open(driver, &home.at_name(name)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let uids = uids_of(&*mailbox);
    assert!(uids.is_sorted_by(|a, b| a < b), "{what}: {uids:?}");
    let mut found = BTreeMap::new();
    for number in uids {
        let whole = read_all(&mut *mailbox, uid(number), Extent::Whole, 1 << 20).unwrap();
        let twice = found.insert(whole, number);
        assert!(twice.is_none(), "{what}: a message is there twice");
    }
    found
}

/// Checks a mailbox after a cut.
fn check(format: &str, case: &Case, what: &str, directory: tempfile::TempDir, told: &Told) -> Home {
    let home = home(directory, Arc::new(NoSync));
    let what = format!("{format}, {}, {what}", case.name);
    let (driver, at) = (driver(&home, format), home.at_name("box"));
    let mut found = messages(&driver, &home, "box", &what);
    let all: Vec<_> = found.values().copied().collect();
    let mailbox = open(&driver, &at).unwrap();
    let validity = mailbox.snapshot().uid_validity.get();
    assert_eq!(i64::from(validity), NOW, "{what}: UID validity");
    assert!(mailbox.snapshot().sticky_uids, "{what}");
    for (uid, text) in told.appended.iter().chain(&told.delivered) {
        match found.get(text) {
            Some(now) => assert_eq!(now, uid, "{what}: UID of a message that a client knows"),
            None => {
                assert!(!told.appended.iter().any(|(appended, _)| appended == uid), "{what}: {uid} is lost")
            }
        }
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
        // UIDs 1 to 6 were told to clients before the cut.
        assert!(!there || n > 6 || by_number[&n] == n, "{what}: UID of {n} changed");
    }
    let appended = case.appends.iter().filter(|n| by_number.contains_key(n)).count();
    assert!(appended == 0 || appended == case.appends.len(), "{what}: an append is there in part");
    if told.flagged {
        for message in mailbox.snapshot().messages.iter().filter(|message| message.uid().get() <= 8) {
            let flags = message.flags();
            assert!(flags.system.contains(SystemFlags::FLAGGED), "{what}: flags");
            assert!(flags.keywords.has(0) || !told.keyword, "{what}: keywords");
        }
        let name = mailbox.snapshot().keywords.get(0).map(|name| name.as_str());
        assert!(name == Some("Kept") || !told.keyword, "{what}");
    }
    mailbox.close().unwrap();
    // The next message gets a UID that was never told.
    let (_, new) = append_plain(&driver, &at, b"Subject: new\r\n\r\nnew\r\n").unwrap().uids.unwrap();
    let told = told.appended.iter().chain(&told.delivered).map(|(uid, _)| *uid);
    let most = told.chain(all).chain([6]).max().unwrap();
    assert!(new[0].get() > most, "{what}: UID {} was given before", new[0]);
    // A client that was not told sends it all again, with the same date.
    if appended == 0 && !case.appends.is_empty() {
        let texts: Vec<_> = case.appends.iter().map(|n| self::text(*n)).collect();
        let again: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_slice())).collect();
        let (_, uids) = append(&driver, &at, &again).unwrap().uids.unwrap();
        let found = messages(&driver, &home, "box", &what);
        for (uid, text) in uids.iter().zip(&texts) {
            assert_eq!(found.get(text), Some(&uid.get()), "{what}: UID of what was sent again");
        }
    }
    home
}

/// Runs a test of both formats and every case, with the number of changes that it makes when nothing goes wrong.
fn each(mut test: impl FnMut(&'static str, &Case, usize)) {
    for format in ["mtx", "tenex"] {
        for case in CASES {
            let (directory, told, changes) = run(format, case, Fault::None, None);
            check(format, case, "uncut", directory, &told);
            test(format, case, changes);
        }
    }
}

#[test]
fn killed_before_every_change_and_every_page() {
    each(|format, case, changes| {
        for n in 0..=changes {
            let (directory, told, _) = run(format, case, Fault::KillBefore(n), None);
            check(format, case, &format!("killed before change {n}"), directory, &told);
        }
    });
}

#[test]
fn killed_within_a_page() {
    each(|format, case, changes| {
        // The journal of an expunge counts on pages, or units of 512 octets, being written whole or not at all.
        if case.expunges.is_empty() {
            for n in 0..=changes {
                let (directory, told, _) = run(format, case, Fault::TearAt(n), None);
                check(format, case, &format!("killed within change {n}"), directory, &told);
            }
        }
    });
}

#[test]
fn the_power_fails_at_every_change() {
    each(|format, case, changes| {
        for n in 0..=changes {
            for seed in 0..3 {
                let seed = seed + 1000 * n as u64;
                let (directory, told, _) = run(format, case, Fault::KillBefore(n), Some(seed));
                check(format, case, &format!("power lost before change {n}, seed {seed}"), directory, &told);
            }
        }
    });
}

#[test]
fn syncs_that_fail_lose_nothing_that_was_there() {
    each(|format, case, _| {
        for n in 0..8 {
            let (directory, told, _) = run(format, case, Fault::SyncFails(n), None);
            check(format, case, &format!("syncs fail from {n}"), directory, &told);
        }
    });
}

#[test]
fn a_full_disk_leaves_the_mailbox_as_it_was() {
    each(|format, case, _| {
        let step = if case.name.starts_with("append") { 997 } else { 3001 };
        for room in (0..70_000).step_by(step) {
            let before = std::fs::read(prepare(format, case.first).path().join("box")).unwrap();
            let (directory, told, _) = run(format, case, Fault::FullAfter(room), None);
            let now = std::fs::read(directory.path().join("box")).unwrap();
            let length =
                if told.appended.is_empty() && told.expunged.is_empty() { before.len() } else { now.len() };
            assert_eq!(now.len(), length, "{format}, {}, room {room}", case.name);
            check(format, case, &format!("disk full after {room}"), directory, &told);
        }
    });
}

/// The reference opens what our repair leaves, and what we leave when nothing was torn.
#[test]
fn the_reference_opens_what_is_left() {
    let mut missing = false;
    each(|format, case, changes| {
        for n in (0..=changes).step_by(changes / 3 + 1) {
            if missing {
                return;
            }
            let (directory, told, _) = run(format, case, Fault::KillBefore(n), None);
            let home = check(format, case, &format!("killed before change {n}"), directory, &told);
            let total = driver(&home, format).status(&home.at_name("box")).unwrap().messages;
            let Some(said) = mailutil(&home, &["check", "box"]) else {
                missing = true;
                return;
            };
            assert!(said.contains(&format!("{total} total")), "{format}, {}, {n}: {said}", case.name);
        }
    });
}

/// A client that was not told of an append sends it again, with the same date, before anybody opens the mailbox.
#[test]
fn what_is_sent_again_at_once_keeps_its_uid() {
    each(|format, case, changes| {
        if case.appends.is_empty() || case.first || !case.expunges.is_empty() {
            return;
        }
        for n in 0..=changes {
            for (fault, power) in [(Fault::KillBefore(n), None), (Fault::TearAt(n), Some(n as u64))] {
                let (directory, told, _) = run(format, case, fault, power);
                if !told.appended.is_empty() {
                    continue;
                }
                let home = home(directory, Arc::new(NoSync));
                let (driver, mut told) = (driver(&home, format), Told::default());
                run_append(&driver, &home, &mut told, case.appends).unwrap();
                let what = format!("{format}, {}, {n}, {power:?}", case.name);
                let mut mailbox = open(&driver, &home.at_name("box")).unwrap();
                let count = mailbox.snapshot().messages.len();
                // The first try may have come to its end without anybody being told.
                assert!(
                    count == 8 + told.appended.len() || count == 8 + 2 * told.appended.len(),
                    "{what}: {count}"
                );
                for (number, text) in &told.appended {
                    let whole = read_all(&mut *mailbox, uid(*number), Extent::Whole, 1 << 20).unwrap();
                    assert!(whole == *text, "{what}: UID {number}");
                }
                let (all, largest) = (uids_of(&*mailbox), told.appended.last().unwrap().0);
                assert_eq!(all.last(), Some(&largest), "{what}: {all:?}");
            }
        }
    });
}

/// Another program that adds mail does not look at what is before the end of the file.
#[test]
fn mail_delivered_behind_a_torn_append_is_kept() {
    each(|format, case, changes| {
        if case.appends.is_empty() || !case.expunges.is_empty() {
            return;
        }
        for n in 0..=changes {
            for power in [None, Some(n as u64), Some(n as u64 + 500)] {
                let (directory, told, _) = run(format, case, Fault::TearAt(n), power);
                let path = directory.path().join("box");
                let mut content = std::fs::read(&path).unwrap();
                for text in [text(9), b"hello\r\n".to_vec()] {
                    content.extend_from_slice(&delivery(format, &text));
                }
                std::fs::write(&path, content).unwrap();
                let home = home(directory, Arc::new(NoSync));
                let what = format!("{format}, {}, {n}, {power:?}", case.name);
                let found = messages(&driver(&home, format), &home, "box", &what);
                let there = |text: &[u8]| found.contains_key(text);
                assert!(there(b"hello\r\n") && (1..=9).all(|n| there(&text(n))), "{what}");
                let appended = case.appends.iter().filter(|n| there(&text(**n))).count();
                assert!(appended == 0 || appended == case.appends.len(), "{what}");
                assert!(appended > 0 || told.appended.is_empty(), "{what}");
                assert_eq!(found.len(), 10 + appended, "{what}");
            }
        }
    });
}

/// A session that has the mailbox open, and a mailbox that is torn behind what it knows.
#[test]
fn an_open_session_goes_on_behind_a_torn_append() {
    for format in ["mtx", "tenex"] {
        let case = &CASES[4];
        let (_, _, changes) = run(format, case, Fault::None, None);
        for n in 0..=changes {
            let directory = prepare(format, false);
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::TearAt(n)).by_pages());
            let dying = home(directory, disk);
            let environment = dying.environment.clone();
            let make = if format == "mtx" { Mtx::new } else { Mtx::tenex };
            let alive = make(environment, Arc::new(NoSync));
            let mut session = open(&alive, &dying.at_name("box")).unwrap();
            let mut reader = alive.open(&dying.at_name("box"), Access::ReadOnly, Manner::Session).unwrap();
            let appended =
                run_append(&driver(&dying, format), &dying, &mut Told::default(), case.appends).is_ok();
            let content = [dying.get("box"), delivery(format, b"hello\r\n")].concat();
            dying.put("box", &content);
            // Who may not write stops before what is torn, and goes on when it is mended.
            drop(reader.refresh().unwrap());
            drop(session.refresh().unwrap());
            drop(reader.refresh().unwrap());
            for mailbox in [&mut session, &mut reader] {
                let uids = uids_of(&**mailbox);
                assert!(uids.len() == 9 || uids.len() == 12, "{format} {n}: {uids:?}");
                assert!(!appended || uids.len() == 12);
                for (number, n) in uids.iter().zip(1..=8) {
                    let whole = read_all(&mut **mailbox, uid(*number), Extent::Whole, 5000).unwrap();
                    assert!(whole == text(n), "{format} {n}");
                }
                let last = read_all(&mut **mailbox, uid(*uids.last().unwrap()), Extent::Whole, 100).unwrap();
                assert_eq!(last, b"hello\r\n", "{format} {n}");
            }
            assert_eq!(uids_of(&*session), uids_of(&*reader), "{format} {n}");
        }
    }
}

/// At every moment of a RENAME the mailbox is there under one name, with its UIDs.
#[test]
fn a_rename_keeps_the_uids_at_every_cut() {
    let count =
        |directory: &Path| ["box", "moved"].into_iter().filter(|name| directory.join(name).exists()).count();
    for format in ["mtx", "tenex"] {
        for power in [None, Some(1), Some(2), Some(3)] {
            for n in 0.. {
                let directory = prepare(format, false);
                // What another mailbox of that name left behind counts for nothing.
                std::fs::write(directory.path().join(".moved.ailurus-uids"), "stale").unwrap();
                let old = home(directory, Arc::new(NoSync));
                let before = messages(&driver(&old, format), &old, "box", "before");
                let disk = Arc::new(FaultyDisk::new(old.directory.path(), Fault::KillBefore(n)).by_pages());
                let dying = home(old.directory, disk.clone());
                let renamed = driver(&dying, format).rename(&dying.at_name("box"), &dying.at_name("moved"));
                if let Some(seed) = power {
                    disk.lose_power(seed * 100 + n as u64);
                }
                let home = home(dying.directory, Arc::new(NoSync));
                let what = format!("{format}, killed before change {n}, {power:?}");
                assert_eq!(count(home.directory.path()), 1, "{what}");
                let name = if home.path("box").exists() { "box" } else { "moved" };
                assert!(renamed.is_err() || name == "moved", "{what}");
                let driver = driver(&home, format);
                assert_eq!(messages(&driver, &home, name, &what), before, "{what}");
                let status = driver.status(&home.at_name(name)).unwrap();
                assert_eq!(i64::from(status.uid_validity.get()), NOW, "{what}");
                if n > disk.changes() {
                    break;
                }
            }
        }
    }
}

/// Sliding needs room for its journal.
#[test]
fn an_expunge_on_a_full_disk_changes_nothing() {
    for format in ["mtx", "tenex"] {
        let directory = prepare(format, false);
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(5_000)));
        let home = home(directory, disk);
        let (driver, mut told) = (driver(&home, format), Told::default());
        drop(open(&driver, &home.at_name("box")).unwrap());
        let before = home.get("box");
        let error = run_expunge(&driver, &home, &mut told).unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(home.get("box") == before);
        check(format, &PLAIN, "disk full", home.directory, &told);
    }
}
