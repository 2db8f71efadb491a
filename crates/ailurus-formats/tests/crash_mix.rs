//! mix when the process is killed before or within each change, and when the power fails: afterwards every message
//! is there once, every acknowledged one is there, and no UID names another message.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/cut.rs"]
mod cut;
mod support;

use ailurus_formats::Mix;
use ailurus_formats::disk::{Disk, Os};
use ailurus_store::{Driver, Environment, Error};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use cut::{CASES, Case, Format, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::*;

/// Message n, of a size that puts line starts and ends all over the pages.
fn text(n: u32) -> Vec<u8> {
    let mut text = format!("Subject: {n}\r\n\r\n");
    while text.len() < n as usize * 613 {
        text.push_str(&format!("line of message {n} at {}\r\n", text.len()));
    }
    text.into_bytes()
}

/// Messages 1 to 8, of which 5 to 8 nobody has seen; octets of no message are among them.
fn prepare() -> tempfile::TempDir {
    let home = home(tempfile::tempdir().unwrap(), Os::shared());
    std::fs::create_dir(&home.environment.lock_dir).unwrap();
    let (driver, at) = (Mix::new(home.environment.clone(), home.disk.clone()), home.at_name("box"));
    driver.create(&at).unwrap();
    for n in 1..=8 {
        append_plain(&driver, &at, &text(n)).unwrap();
        if n == 4 {
            open(&driver, &at).unwrap().close().unwrap();
        }
    }
    home.directory
}

/// All of the mailbox that is not an octet of a message: names with lengths of data files, others with what they hold.
fn records(home: &Home) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(home.path("box")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name(), std::fs::read(entry.path()).unwrap())
    });
    entries.collect()
}

fn home(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let locks = directory.path().join("locks");
    Home::at(directory, disk, |environment: &mut Environment| environment.lock_dir = locks)
}

const FORMAT: Format = Format {
    driver: |home| Box::new(Mix::new(home.environment.clone(), home.disk.clone())),
    at: |home| home.at_name("box"),
    prepare,
    home,
    sound: Os::shared,
    text,
    told: 6,
    may_begin_anew: true,
    undone_is_new: false,
    inspect: |_, _| {},
};

fn run(case: &Case, fault: Fault, power_loss: Option<u64>) -> (tempfile::TempDir, Told, usize) {
    FORMAT.run(case, fault, FaultyDisk::by_pages, power_loss)
}

fn check(case: &Case, what: &str, directory: tempfile::TempDir, told: &Told) -> Home {
    FORMAT.check(case, what, directory, told, false)
}

fn changes(case: &Case) -> usize {
    FORMAT.changes(case, FaultyDisk::by_pages)
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
fn killed_within_a_page() {
    // A journal counts on pages, or units of 512 octets, being written whole or not at all.
    for case in CASES.iter().filter(|case| case.expunges.is_empty()) {
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

#[test]
fn a_full_disk_leaves_the_mailbox_as_it_was() {
    for case in CASES.iter().filter(|case| case.name.starts_with("append")) {
        for room in (0..70_000).step_by(997).chain((0..300).step_by(7)) {
            let directory = prepare();
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(room)));
            let home = home(directory, disk);
            let before = records(&home);
            let mut told = Told::default();
            if let Err(error) = (case.run)(&FORMAT, &home, &mut told) {
                assert!(error.is_full(), "{error}");
                let after = records(&home);
                assert_eq!(
                    after[std::ffi::OsStr::new(".mixindex")],
                    before[std::ffi::OsStr::new(".mixindex")]
                );
                let names = |files: &BTreeMap<_, _>| files.keys().cloned().collect::<Vec<_>>();
                assert_eq!(names(&after), names(&before), "room {room}");
            }
            check(case, &format!("disk full after {room}"), home.directory, &told);
        }
    }
}

/// Every sync of an append counts: one that fails is told, and what was told before stays.
#[test]
fn a_sync_that_fails_is_told() {
    for case in CASES.iter().filter(|case| case.name.starts_with("append")) {
        for n in 0..8 {
            let directory = prepare();
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::SyncFails(n)));
            let home = home(directory, disk);
            let mut told = Told::default();
            let outcome = (case.run)(&FORMAT, &home, &mut told);
            assert!(outcome.is_err() || n > 2, "{}: sync {n}", case.name);
            check(case, &format!("sync {n} failed"), home.directory, &told);
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

/// A directory that is no mailbox, with files of one that was never finished, or is not all gone.
#[test]
fn what_a_dead_process_leaves_of_a_mailbox_can_be_made_anew_and_deleted() {
    let act = |creates: bool, driver: &Mix, home: &Home| {
        let at = home.at_name("new");
        if creates {
            return driver.create(&at);
        }
        let healthy = Mix::new(home.environment.clone(), Os::shared());
        healthy.create(&at).unwrap();
        append_plain(&healthy, &at, &text(1)).unwrap();
        driver.delete(&at)
    };
    let mut left = 0;
    for (creates, n, again) in
        [true, false].into_iter().flat_map(|creates| (0..8).map(move |n| (creates, n / 2, n % 2 == 0)))
    {
        let directory = prepare();
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
        let home = home(directory, disk.clone());
        let outcome = act(creates, &Mix::new(home.environment.clone(), disk), &home);
        let healthy = Mix::new(home.environment.clone(), Os::shared());
        let (what, at) = (format!("creates: {creates}, {n}, {outcome:?}"), home.at_name("new"));
        if home.path("new/.mixmeta").exists() || !home.path("new").exists() {
            continue;
        }
        left += 1;
        if again {
            healthy.create(&at).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(uids_of(&*open(&healthy, &at).unwrap()), [], "{what}");
        } else {
            healthy.clear_leftovers(&at).unwrap();
            std::fs::remove_dir(home.path("new")).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
    assert!(left >= 8, "{left}");
}

/// Leftovers are taken from nobody who is alive.
#[test]
fn who_makes_and_deletes_a_mailbox_at_the_same_time_as_others_is_not_in_their_way() {
    let home = home(prepare(), Os::shared());
    let at = home.at_name("new");
    let made = std::sync::atomic::AtomicUsize::new(0);
    for _ in 0..30 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let driver = Mix::new(home.environment.clone(), home.disk.clone());
                    match driver.create(&at) {
                        Ok(()) => made.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                        Err(Error::AlreadyExists(_)) => 0,
                        Err(error) => panic!("{error}"),
                    };
                    driver.clear_leftovers(&at).unwrap();
                });
            }
        });
        assert_eq!(made.swap(0, std::sync::atomic::Ordering::Relaxed), 1);
        let driver = Mix::new(home.environment.clone(), home.disk.clone());
        append_plain(&driver, &at, &text(3)).unwrap();
        assert_eq!(uids_of(&*open(&driver, &at).unwrap()), [1]);
        std::thread::scope(|scope| {
            scope.spawn(|| driver.delete(&at).unwrap());
            scope.spawn(|| {
                let driver = Mix::new(home.environment.clone(), home.disk.clone());
                match driver.create(&at) {
                    Ok(()) | Err(Error::AlreadyExists(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            });
        });
        if home.path("new").exists() {
            assert_eq!(uids_of(&*open(&driver, &at).unwrap()), []);
            driver.delete(&at).unwrap();
        }
    }
}

/// A session of the reference that is open reads the index again only if its sequence is another, and writes what it
/// knows: what it cannot see is lost with the next message that it appends.
#[test]
fn no_record_comes_under_the_old_sequence() {
    let sequence = |index: &[u8]| String::from_utf8(index[..9].to_vec()).unwrap();
    let messages = |index: &[u8]| index.windows(2).filter(|octets| *octets == b"\n:").count();
    for case in CASES.iter().filter(|case| case.name.starts_with("append")) {
        let before = std::fs::read(prepare().path().join("box/.mixindex")).unwrap();
        for n in 0..changes(case) {
            let (directory, ..) = run(case, Fault::KillBefore(n), None);
            let left = std::fs::read(directory.path().join("box/.mixindex")).unwrap();
            let is_seen = messages(&left) > messages(&before);
            assert!(!is_seen || sequence(&left) > sequence(&before), "{} cut at {n}", case.name);
            // Nor as the append is finished by the next session.
            let home = home(directory, Os::shared());
            let driver = Mix::new(home.environment.clone(), home.disk.clone());
            open(&driver, &home.at_name("box")).unwrap().close().unwrap();
            let finished = home.get("box/.mixindex");
            let is_seen = messages(&finished) > messages(&left);
            assert!(!is_seen || sequence(&finished) > sequence(&left), "{} finished at {n}", case.name);
        }
    }
}

/// Every record of the index leads to its message, as the files are.
fn all_are_where_the_index_says(home: &Home, what: &str) {
    for line in String::from_utf8(home.get("box/.mixindex")).unwrap().lines().skip(1) {
        let (uid, file, pos) = (&line[1..9], &line[39..47], &line[48..56]);
        let data = std::fs::read(home.path(&format!("box/.mix{file}"))).unwrap_or_default();
        let start = usize::from_str_radix(pos, 16).unwrap();
        let record = format!(":msg:{uid}:");
        assert!(data.get(start..).unwrap_or_default().starts_with(record.as_bytes()), "{what}: {uid}");
    }
}

#[test]
fn a_change_that_fails_while_space_is_reclaimed_leaves_every_message_in_its_place() {
    let changes = changes(CASES.iter().find(|case| case.name == "expunge alone").unwrap());
    for n in 0..changes {
        let directory = prepare();
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::ChangeFails(n)));
        let home = home(directory, disk);
        let driver = Mix::new(home.environment.clone(), home.disk.clone());
        let Ok(mut mailbox) = open(&driver, &home.at_name("box")) else { continue };
        expunge(&mut *mailbox, &uids(&[1, 3, 6])).map(drop).ok();
        all_are_where_the_index_says(&home, &format!("change {n}"));
        mailbox.checkpoint().map(drop).ok();
        mailbox.close().ok();
        all_are_where_the_index_says(&home, &format!("change {n}, closed"));
    }
}
