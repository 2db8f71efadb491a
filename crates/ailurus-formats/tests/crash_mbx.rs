//! mbx when the process is killed before or within each change, and when the power fails: afterwards every message
//! is there once, every acknowledged one is there, and no UID names another message.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/cut.rs"]
mod cut;
mod support;

use ailurus_formats::Mbx;
use ailurus_formats::disk::{Disk, Os};
use ailurus_store::{Driver, Environment, Extent};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use cut::{CASES, Case, Format, Told, run_expunge};
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

const FORMAT: Format = Format {
    driver: |home| Box::new(Mbx::new(home.environment.clone(), home.disk.clone())),
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
    let mut told = Told::default();
    run_expunge(&FORMAT, &home, &mut told).unwrap();
    assert_eq!(told.expunged, [1, 3, 6]);
    assert_eq!(home.get("box").len() as u64, size);
    let names = |home: &Home| std::fs::read_dir(home.directory.path()).unwrap().count();
    assert_eq!(names(&home), 2, "no journal is left");
    let home = check(&CASES[4], "disk full", home.directory, &told);
    assert!((home.get("box").len() as u64) < size, "there was room again");
}
