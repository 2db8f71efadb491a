//! mbx when the process is killed before or within each change, and when the power fails: afterwards every message
//! is there once, every acknowledged one is there, and no UID names another message.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mbx;
use ailurus_formats::disk::{Disk, Os};
use ailurus_store::{AppendMeta, Driver, Environment, Extent, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::*;

/// What a client was told before the cut.
#[derive(Debug, Default)]
struct Told {
    appended: Vec<(u32, Vec<u8>)>,
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
    run: fn(&Mbx, &Home, &mut Told) -> Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "open",
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
    Case { name: "expunge alone", expunges: &[1, 3, 6], appends: &[], run: run_expunge },
    Case {
        name: "expunge beside another session",
        expunges: &[1, 3, 6],
        appends: &[],
        run: |driver, home, told| {
            let other = open(driver, &home.at_name("box"))?;
            run_expunge(driver, home, told)?;
            drop(other);
            open(driver, &home.at_name("box")).map(drop)
        },
    },
    Case {
        name: "store, append, expunge, append",
        expunges: &[1, 3, 6],
        appends: &[20],
        run: |driver, home, told| {
            run_store(driver, home, told)?;
            run_append(driver, home, told, &[20])?;
            run_expunge(driver, home, told)
        },
    },
];

fn run_append(driver: &Mbx, home: &Home, told: &mut Told, numbers: &[u32]) -> Result<()> {
    let texts: Vec<_> = numbers.iter().map(|n| text(*n)).collect();
    let messages: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_slice())).collect();
    let (_, uids) = append(driver, &home.at_name("box"), &messages)?.uids.unwrap();
    told.appended.extend(uids.iter().map(|uid| uid.get()).zip(texts));
    Ok(())
}

fn run_store(driver: &Mbx, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?);
    told.flagged = true;
    mailbox.close()
}

fn run_expunge(driver: &Mbx, home: &Home, told: &mut Told) -> Result<()> {
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

/// Messages 1 to 6 of ours, of which 5 and 6 nobody has seen; then 7 and 8 as a delivery program leaves them.
fn prepare() -> tempfile::TempDir {
    let home = home(tempfile::tempdir().unwrap(), Os::shared());
    std::fs::create_dir(&home.environment.lock_dir).unwrap();
    let (driver, at) = (Mbx::new(home.environment.clone(), home.disk.clone()), home.at_name("box"));
    driver.create(&at).unwrap();
    for n in 1..=6 {
        append_plain(&driver, &at, &text(n)).unwrap();
        if n == 4 {
            open(&driver, &at).unwrap().close().unwrap();
        }
    }
    let mut content = home.get("box");
    for n in 7..=8 {
        let text = text(n);
        let line = format!(" 1-Feb-2025 12:34:56 +0200,{};000000000000-00000000\r\n", text.len());
        content.extend_from_slice(line.as_bytes());
        content.extend_from_slice(&text);
    }
    home.put("box", &content);
    home.directory
}

fn home(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let locks = directory.path().join("locks");
    Home::at(directory, disk, |environment: &mut Environment| environment.lock_dir = locks)
}

/// Runs a case with a fault; returns the home as it was left, what was told, and how many changes were asked for.
fn run(case: &Case, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    let directory = prepare();
    let disk = Arc::new(FaultyDisk::new(directory.path(), fault).by_pages());
    let home = home(directory, disk.clone());
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let mut told = Told::default();
    let outcome = (case.run)(&driver, &home, &mut told);
    assert!(outcome.is_ok() || fault != Fault::None, "{}: {:?}", case.name, outcome.err());
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    (home.directory, told, disk.changes())
}

/// Checks a mailbox after a cut.
fn check(case: &Case, what: &str, directory: tempfile::TempDir, told: &Told) -> Home {
    let home = home(directory, Os::shared());
    let what = format!("{}, {what}", case.name);
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    let mut mailbox = match open(&driver, &at) {
        Ok(mailbox) => mailbox,
        Err(error) => panic!("{what}: {error}"),
    };
    let uids = uids_of(&*mailbox);
    assert!(uids.is_sorted_by(|a, b| a < b), "{what}: {uids:?}");
    let kept_validity = i64::from(mailbox.snapshot().uid_validity.get()) == NOW;
    let mut found: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for number in &uids {
        let whole = read_all(&mut *mailbox, uid(*number), Extent::Whole, 1 << 20).unwrap();
        let twice = found.insert(whole, *number);
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
        // UIDs 1 to 6 were told to clients before the cut.
        assert!(!there || !kept_validity || n > 6 || by_number[&n] == n, "{what}: UID of {n} changed");
    }
    let appended = case.appends.iter().filter(|n| by_number.contains_key(n)).count();
    assert!(appended == 0 || appended == case.appends.len(), "{what}: an append is there in part");
    for (uid, text) in &told.appended {
        let n = case.appends.iter().find(|n| self::text(**n) == *text).unwrap();
        assert_eq!(by_number.get(n), Some(uid), "{what}: an acknowledged message");
        assert!(kept_validity, "{what}");
    }
    if told.flagged {
        for message in mailbox.snapshot().messages.iter().filter(|message| message.uid().get() <= 8) {
            let flags = message.flags();
            assert!(flags.system.contains(SystemFlags::FLAGGED) && flags.keywords.has(0), "{what}: flags");
        }
        assert_eq!(mailbox.snapshot().keywords.get(0).unwrap().as_str(), "Kept", "{what}");
    }
    mailbox.close().unwrap();
    // The next message gets a UID that was never told.
    let (_, new) = append_plain(&driver, &at, b"Subject: new\r\n\r\nnew\r\n").unwrap().uids.unwrap();
    let most = told.appended.iter().map(|(uid, _)| *uid).chain(uids).chain([6]).max().unwrap();
    assert!(new[0].get() > most || !kept_validity, "{what}: UID {} was given before", new[0]);
    home
}

/// How many changes a case makes when nothing goes wrong.
fn changes(case: &Case) -> usize {
    let (directory, told, changes) = run(case, Fault::None, None);
    check(case, "uncut", directory, &told);
    changes
}

/// A delivery program does not look at what is before the end of the file.
#[test]
fn mail_delivered_behind_a_torn_append_is_kept() {
    let case = &CASES[2];
    for n in 0..=changes(case) {
        let (directory, told, _) = run(case, Fault::TearAt(n), None);
        let path = directory.path().join("box");
        let mut content = std::fs::read(&path).unwrap();
        content.extend_from_slice(b" 1-Feb-2025 12:34:56 +0200,7;000000000000-00000000\r\nhello\r\n");
        std::fs::write(&path, content).unwrap();
        let home = home(directory, Os::shared());
        let driver = Mbx::new(home.environment.clone(), home.disk.clone());
        let mut mailbox = open(&driver, &home.at_name("box")).unwrap_or_else(|error| panic!("{n}: {error}"));
        let last = mailbox.snapshot().largest_uid().unwrap();
        assert_eq!(read_all(&mut *mailbox, last, Extent::Whole, 99).unwrap(), b"hello\r\n", "{n}");
        let wanted = if told.appended.is_empty() { [9, 12] } else { [12, 12] };
        assert!(wanted.contains(&mailbox.snapshot().messages.len()), "{n}: {:?}", uids_of(&*mailbox));
    }
}

/// Also if the delivery program was killed at the next message; that one is then for the user to see to.
#[test]
fn mail_delivered_behind_a_torn_append_is_kept_before_a_torn_delivery() {
    let case = &CASES[2];
    let line = " 1-Feb-2025 12:34:56 +0200,7;000000000000-00000000\r\n";
    for torn in ["", " 1-Feb-2025 12:3", line, " 1-Feb-2025 12:34:56 +0200,7;000000000000-00000000\r\nhe"] {
        for n in 0..=changes(case) {
            let (directory, ..) = run(case, Fault::TearAt(n), None);
            let path = directory.path().join("box");
            let mut content = std::fs::read(&path).unwrap();
            content.extend_from_slice(format!("{line}hello\r\n{torn}").as_bytes());
            std::fs::write(&path, content).unwrap();
            let home = home(directory, Os::shared());
            let driver = Mbx::new(home.environment.clone(), home.disk.clone());
            drop(open(&driver, &home.at_name("box")));
            let now = String::from_utf8(home.get("box")).unwrap();
            assert!(now.contains("\r\nhello\r\n"), "{n}, {torn:?}");
        }
    }
}

/// The header without the announcement of an append is not synced. The announcement can come back after a power loss when
/// others have changed flags, of which the disk has some: here those of the last message, and not that the first is old.
#[test]
fn flags_changed_meanwhile_make_no_append_unfinished() {
    let case = &CASES[2];
    let is_announced = |content: &[u8]| content[..2048].windows(7).any(|seven| seven == b"append ");
    let cut = (0..changes(case)).map(|n| run(case, Fault::KillBefore(n), None));
    let (directory, told) = cut
        .map(|(directory, told, _)| (directory, told))
        .find(|(directory, told)| {
            told.appended.len() == 3 && is_announced(&std::fs::read(directory.path().join("box")).unwrap())
        })
        .expect("it is killed before the last header too");
    let home = home(directory, Os::shared());
    let mut content = home.get("box");
    let uid = format!("-{:08x}\r\n", told.appended[2].0);
    let at = content.windows(uid.len()).rposition(|found| found == uid.as_bytes()).unwrap();
    assert_eq!(&content[at - 4..at], b"0000");
    content[at - 1] = b'1';
    home.put("box", &content);
    check(case, "flags changed", home.directory, &told);
}

/// Sliding needs room for its journal; who expunges for want of room has none.
#[test]
fn an_expunge_on_a_full_disk_hides_what_it_cannot_take_out() {
    let directory = prepare();
    let size = std::fs::metadata(directory.path().join("box")).unwrap().len();
    let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(5_000)));
    let home = home(directory, disk);
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let mut told = Told::default();
    run_expunge(&driver, &home, &mut told).unwrap();
    assert_eq!(told.expunged, [1, 3, 6]);
    assert_eq!(home.get("box").len() as u64, size);
    let names = |home: &Home| std::fs::read_dir(home.directory.path()).unwrap().count();
    assert_eq!(names(&home), 2, "no journal is left");
    let home = check(&CASES[4], "disk full", home.directory, &told);
    assert!((home.get("box").len() as u64) < size, "there was room again");
}
