//! mix when the process is killed before or within each change, and when the power fails: afterwards every message is
//! there once, every acknowledged one is there, no UID names another message, and no space is lost for good.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_formats::disk::Disk;
use ailurus_store::{AppendMeta, Driver, Extent, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, Keyword, SystemFlags, UidSet};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
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
    run: fn(&Mix, &Home, &mut Told) -> Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "open",
        expunges: &[],
        appends: &[],
        run: |driver, home, _| open(driver, &home.at_name("box")).and_then(|mailbox| mailbox.close()),
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
        name: "expunge all of a data file",
        expunges: &[4, 5, 6, 7, 8],
        appends: &[],
        run: |driver, home, told| expunge_these(driver, home, told, &[4, 5, 6, 7, 8]),
    },
    Case {
        name: "expunge beside another session",
        expunges: &[1, 3, 6],
        appends: &[],
        run: |driver, home, told| {
            let other = open(driver, &home.at_name("box"))?;
            run_expunge(driver, home, told)?;
            drop(other);
            open(driver, &home.at_name("box"))?.close()
        },
    },
    Case {
        name: "append, store, expunge, append",
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

fn run_append(driver: &Mix, home: &Home, told: &mut Told, numbers: &[u32]) -> Result<()> {
    let texts: Vec<_> = numbers.iter().map(|n| text(*n)).collect();
    let meta = AppendMeta { keywords: vec![Keyword::new(b"Fresh").unwrap()], ..AppendMeta::default() };
    let messages: Vec<_> = texts.iter().map(|text| (meta.clone(), text.as_slice())).collect();
    let (_, uids) = append(driver, &home.at_name("box"), &messages)?.uids.unwrap();
    told.appended.extend(uids.iter().map(|uid| uid.get()).zip(texts));
    Ok(())
}

fn run_store(driver: &Mix, home: &Home, told: &mut Told) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?);
    told.flagged = true;
    mailbox.close()
}

fn run_expunge(driver: &Mix, home: &Home, told: &mut Told) -> Result<()> {
    expunge_these(driver, home, told, &[1, 3, 6])
}

fn expunge_these(driver: &Mix, home: &Home, told: &mut Told, gone: &[u32]) -> Result<()> {
    let mut mailbox = open(driver, &home.at_name("box"))?;
    drop(expunge(&mut *mailbox, &uids(gone))?);
    told.expunged.extend(gone);
    mailbox.close()
}

/// Message n, of a size that puts records all over the pages.
fn text(n: u32) -> Vec<u8> {
    let mut text = format!("Subject: {n}\r\n\r\n");
    while text.len() < n as usize * 313 {
        text.push_str(&format!("line of message {n} at {}\r\n", text.len()));
    }
    text.into_bytes()
}

const MESSAGES: u32 = 60;

/// The mailbox as it is before each cut.
fn prepare() -> tempfile::TempDir {
    static FILES: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let made = make();
        let entries = std::fs::read_dir(made.path().join("box")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().into(), std::fs::read(path).unwrap()))
            .collect()
    });
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("box")).unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join("box").join(name), content).unwrap();
    }
    directory
}

/// A disk that does not wait for syncs.
fn sound(directory: &tempfile::TempDir) -> Arc<dyn Disk> {
    Arc::new(FaultyDisk::new(directory.path(), Fault::None))
}

/// Messages 1 to 3 in one data file and the others in a second one, of which nobody has seen the last two.
fn make() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let disk = sound(&directory);
    let home = home(directory, disk);
    let (driver, at) = (Mix::new(home.environment.clone(), home.disk.clone()), home.at_name("box"));
    driver.create(&at).unwrap();
    for n in 1..=8 {
        append_plain(&driver, &at, &text(n)).unwrap();
        if n == 3 {
            // Another data file, as after a megabyte.
            let meta = String::from_utf8(home.get("box/.mixmeta")).unwrap();
            home.put("box/.mixmeta", meta.replace("N67c2f6c0", "N67c2f6d0").as_bytes());
        }
    }
    // Small ones, so that index and status have more than one page.
    let small: Vec<_> = (100..100 + MESSAGES).map(small).collect();
    let small: Vec<_> = small.iter().map(|text| (AppendMeta::default(), text.as_slice())).collect();
    append(&driver, &at, &small[..small.len() - 2]).unwrap();
    open(&driver, &at).unwrap().close().unwrap();
    append(&driver, &at, &small[small.len() - 2..]).unwrap();
    home.directory
}

fn small(n: u32) -> Vec<u8> {
    format!("Subject: small {n}\r\n\r\n").into_bytes()
}

fn home(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    Home::at(directory, disk, |_| {})
}

/// Runs a case with a fault; returns the home as it was left, what was told, and how many changes were asked for.
fn run(case: &Case, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    let directory = prepare();
    let disk = Arc::new(FaultyDisk::new(directory.path(), fault).by_pages());
    let home = home(directory, disk.clone());
    let driver = Mix::new(home.environment.clone(), home.disk.clone());
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
    let disk = sound(&directory);
    let home = home(directory, disk);
    let what = format!("{}, {what}", case.name);
    let driver = Mix::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{what}: {error}"));
    let uids = uids_of(&*mailbox);
    assert_eq!(i64::from(mailbox.snapshot().uid_validity.get()), NOW, "{what}");
    let mut found: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for number in &uids {
        let whole = read_all(&mut *mailbox, uid(*number), Extent::Whole, 1 << 20);
        let whole = whole.unwrap_or_else(|error| panic!("{what}: {number}: {error}"));
        let twice = found.insert(whole, *number);
        assert!(twice.is_none(), "{what}: a message is there twice");
    }
    let mut by_number = BTreeMap::new();
    for n in (1..=8).chain(case.appends.iter().copied()) {
        if let Some(uid) = found.remove(&text(n)) {
            by_number.insert(n, uid);
        }
    }
    for n in 0..MESSAGES {
        assert_eq!(found.remove(&small(100 + n)), Some(n + 9), "{what}: small message {n}");
    }
    assert!(found.is_empty(), "{what}: there is a message that nobody wrote");
    for n in 1..=8 {
        let there = by_number.contains_key(&n);
        assert!(there || case.expunges.contains(&n), "{what}: message {n} is lost");
        assert!(!there || !told.expunged.contains(&n), "{what}: message {n} is back");
        assert!(!there || by_number[&n] == n, "{what}: UID of {n} changed");
    }
    let appended = case.appends.iter().filter(|n| by_number.contains_key(n)).count();
    assert!(appended == 0 || appended == case.appends.len(), "{what}: an append is there in part");
    for (uid, text) in &told.appended {
        let n = case.appends.iter().find(|n| self::text(**n) == *text).unwrap();
        assert_eq!(by_number.get(n), Some(uid), "{what}: an acknowledged message");
        let message = mailbox.snapshot().message(support::uid(*uid)).unwrap();
        assert!(
            mailbox.snapshot().keywords.named(message.flags().keywords).any(|one| one.as_str() == "Fresh")
        );
    }
    if told.flagged {
        for message in mailbox.snapshot().messages.iter().filter(|message| message.uid().get() <= 8) {
            let flags = message.flags();
            assert!(flags.system.contains(SystemFlags::FLAGGED) && flags.keywords.has(0), "{what}: flags");
        }
        assert_eq!(mailbox.snapshot().keywords.get(0).unwrap().as_str(), "Kept", "{what}");
    }
    drop(mailbox.checkpoint().unwrap());
    let kept: u64 =
        mailbox.snapshot().messages.iter().map(|message| 45 + u64::from(message.rfc822_size())).sum();
    mailbox.close().unwrap();
    // A program that another test is just starting holds all locks of this process for a moment.
    for _ in 0..100 {
        if data_size(&home) != kept {
            std::thread::sleep(Duration::from_millis(10));
            drop(open(&driver, &at).unwrap().checkpoint().unwrap());
        }
    }
    assert_eq!(data_size(&home), kept, "{what}: octets of no message");
    // The next message gets a UID that was never told.
    let (_, new) = append_plain(&driver, &at, b"Subject: new\r\n\r\nnew\r\n").unwrap().uids.unwrap();
    let most = told.appended.iter().map(|(uid, _)| *uid).chain(uids).chain([8 + MESSAGES]).max().unwrap();
    assert!(new[0].get() > most, "{what}: UID {} was given before", new[0]);
    home
}

/// How many octets there are in the data files.
fn data_size(home: &Home) -> u64 {
    let entries = std::fs::read_dir(home.path("box")).unwrap().map(|entry| entry.unwrap());
    let is_data =
        |name: &str| name.strip_prefix(".mix").is_some_and(|end| end.chars().all(|c| c.is_ascii_hexdigit()));
    entries
        .filter(|entry| is_data(entry.file_name().to_str().unwrap()))
        .map(|entry| entry.metadata().unwrap().len())
        .sum()
}

/// How many changes a case makes when nothing goes wrong.
fn changes(case: &Case) -> usize {
    let (directory, told, changes) = run(case, Fault::None, None);
    check(case, "uncut", directory, &told);
    changes
}

#[test]
fn killed_before_every_change_and_every_page() {
    for case in CASES {
        for n in 0..=changes(case) {
            let (directory, told, _) = run(case, Fault::KillBefore(n), None);
            check(case, &format!("killed before change {n}"), directory, &told);
        }
    }
}

#[test]
fn killed_within_every_page() {
    for case in CASES {
        for n in 0..=changes(case) {
            let (directory, told, _) = run(case, Fault::TearAt(n), None);
            check(case, &format!("killed within change {n}"), directory, &told);
        }
    }
}

#[test]
fn the_power_fails_at_every_change() {
    for case in CASES {
        let changes = changes(case);
        for n in 0..=changes {
            for seed in 0..3 {
                let seed = seed + 1000 * n as u64;
                let (directory, told, _) = run(case, Fault::KillBefore(n), Some(seed));
                check(case, &format!("power lost before change {n}, seed {seed}"), directory, &told);
            }
        }
    }
}

/// What repairs after a cut is cut as well.
#[test]
fn killed_again_while_it_is_put_right() {
    for case in CASES {
        let changes = changes(case);
        for n in (0..=changes).step_by(3) {
            for second in 0..12 {
                let (directory, told, _) = run(case, Fault::KillBefore(n), Some(n as u64));
                let disk = FaultyDisk::new(directory.path(), Fault::KillBefore(second)).by_pages();
                let home = home(directory, Arc::new(disk));
                let driver = Mix::new(home.environment.clone(), home.disk.clone());
                drop(open(&driver, &home.at_name("box")).map(|mailbox| mailbox.close()));
                check(case, &format!("killed before change {n}, then {second}"), home.directory, &told);
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_the_mailbox_as_it_was() {
    for case in CASES.iter().filter(|case| case.name.starts_with("append")) {
        for room in (0..40_000).step_by(997) {
            let directory = prepare();
            let before: Vec<_> = FILES.iter().map(|name| file_len(&directory, name)).collect();
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(room)));
            let home = home(directory, disk);
            let driver = Mix::new(home.environment.clone(), home.disk.clone());
            let mut told = Told::default();
            if let Err(error) = (case.run)(&driver, &home, &mut told) {
                assert!(error.is_full(), "{error}");
                if told.appended.is_empty() && !told.flagged {
                    let after: Vec<_> = FILES.iter().map(|name| file_len(&home.directory, name)).collect();
                    assert_eq!(after, before, "room {room}");
                }
            }
            check(case, &format!("disk full after {room}"), home.directory, &told);
        }
    }
}

const FILES: [&str; 4] = [".mixindex", ".mixstatus", ".mix67c2f6c0", ".mix67c2f6d0"];

fn file_len(directory: &tempfile::TempDir, name: &str) -> u64 {
    std::fs::metadata(directory.path().join("box").join(name)).unwrap().len()
}

/// Copying needs room; who expunges for want of room has none.
#[test]
fn an_expunge_on_a_full_disk_takes_messages_out_of_the_index() {
    for room in [0, 100, 5000] {
        let directory = prepare();
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(room)));
        let full = home(directory, disk);
        let driver = Mix::new(full.environment.clone(), full.disk.clone());
        let mut told = Told::default();
        run_expunge(&driver, &full, &mut told).unwrap();
        assert_eq!(told.expunged, [1, 3, 6]);
        check(&CASES[4], &format!("disk full after {room}"), full.directory, &told);
    }
}

#[test]
fn a_sync_that_fails_is_told_and_loses_nothing() {
    for case in CASES {
        for n in 0..30 {
            let (directory, told, _) = run(case, Fault::SyncFails(n), None);
            check(case, &format!("sync {n} failed"), directory, &told);
        }
    }
}

/// The reference opens what our repair leaves, and what we leave when nothing was torn.
#[test]
fn the_reference_opens_what_is_left() {
    for case in CASES {
        let changes = changes(case);
        for n in (0..=changes).step_by(changes / 4 + 1) {
            let (directory, told, _) = run(case, Fault::KillBefore(n), None);
            let home = check(case, &format!("killed within change {n}"), directory, &told);
            let driver = Mix::new(home.environment.clone(), home.disk.clone());
            let total = driver.status(&home.at_name("box")).unwrap().messages;
            let Some(said) = mailutil(&home, &["check", "box"]) else { return };
            assert!(said.contains(&format!("{total} total")), "{}, {n}: {said}", case.name);
        }
    }
}

/// An append and a change of flags that are cut off leave a mailbox that the reference takes as it is.
#[test]
fn the_reference_opens_a_mailbox_before_we_come_by() {
    for case in CASES.iter().filter(|case| case.expunges.is_empty()) {
        for n in 0..=changes(case) {
            let (directory, told, _) = run(case, Fault::KillBefore(n), None);
            let disk = sound(&directory);
            let home = home(directory, disk);
            let Some(said) = mailutil(&home, &["check", "box"]) else { return };
            assert!(said.contains(" total in box"), "{}, {n}: {said}", case.name);
            check(case, &format!("killed before change {n}, then mailutil"), home.directory, &told);
        }
    }
}
