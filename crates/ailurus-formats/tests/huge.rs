//! Mailboxes of lines, headers and messages without end are worked on in bounded memory.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::{Mbx, Unix};
use ailurus_store::{AppendMeta, Driver, Extent};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use support::*;

const FROM: &[u8] = b"From x@example.com Wed Dec  2 05:53:22 1992\n";
const LENGTH: usize = 20 * 1024 * 1024;
const MOST_MEMORY: u64 = 8 * 1024 * 1024;

/// Returns the most memory that the process had at a time since the last reset, in octets.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Does something, and fails if that takes much memory.
fn within_bounds<T>(what: &str, act: impl FnOnce() -> T) -> T {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let outcome = act();
    let taken = peak().saturating_sub(before);
    assert!(taken < MOST_MEMORY, "{what} took {taken} octets");
    outcome
}

/// What is in a file, each so many times.
type Parts<'p> = Vec<(&'p [u8], usize)>;

/// Writes a mailbox without holding it.
fn write(path: &std::path::Path, parts: &Parts<'_>) {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for (part, times) in parts {
        for _ in 0..*times {
            file.write_all(part).unwrap();
        }
    }
    file.flush().unwrap();
}

/// Reads a message in pieces, as FETCH does; returns how many octets it has.
fn read(mailbox: &mut dyn ailurus_store::Mailbox, number: u32, extent: Extent) -> u64 {
    let (mut at, mut piece) = (0, Vec::new());
    loop {
        piece.clear();
        match mailbox.read(uid(number), extent, at, 64 * 1024, &mut piece).unwrap() {
            0 => return at,
            read => at += read as u64,
        }
    }
}

/// Does all that a session does.
fn exercise(driver: &dyn Driver, home: &Home, what: &str) {
    let at = home.at_name("box");
    within_bounds(&format!("{what}: status"), || driver.status(&at).unwrap());
    let mut mailbox = within_bounds(&format!("{what}: open"), || open(driver, &at).unwrap());
    assert_eq!(mailbox.snapshot().messages.len(), 1, "{what}");
    for message in mailbox.snapshot().messages.clone().into_iter().take(3) {
        let number = message.uid().get();
        let whole = within_bounds(&format!("{what}: read"), || read(&mut *mailbox, number, Extent::Whole));
        assert_eq!(whole, u64::from(message.rfc822_size()), "{what}");
        let header =
            within_bounds(&format!("{what}: header"), || read(&mut *mailbox, number, Extent::Header));
        let text = within_bounds(&format!("{what}: text"), || read(&mut *mailbox, number, Extent::Text));
        assert_eq!(header + text, whole, "{what}");
    }
    within_bounds(&format!("{what}: store and rewrite"), || {
        let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"]);
        drop(store(&mut *mailbox, &UidSet::all(), &flags).unwrap());
        drop(mailbox.checkpoint().unwrap());
    });
    within_bounds(&format!("{what}: close"), || mailbox.close().unwrap());
    within_bounds(&format!("{what}: append"), || append_huge(driver, home));
    let mut mailbox = open(driver, &at).unwrap();
    within_bounds(&format!("{what}: expunge"), || drop(expunge(&mut *mailbox, &uids(&[1])).unwrap()));
    assert_eq!(mailbox.snapshot().messages.len(), 1, "{what}");
    mailbox.close().unwrap();
    assert!(home.notices().iter().all(|text| text.len() < 500), "{what}");
}

/// Appends a message that is one line.
fn append_huge(driver: &dyn Driver, home: &Home) {
    let mut append = driver.append(&home.at_name("box")).unwrap();
    let size = LENGTH as u64 + 4;
    append.begin(AppendMeta { size, ..AppendMeta::default() }).unwrap();
    append.write(b"\r\n\r\n").unwrap();
    let piece = vec![b'z'; 64 * 1024];
    for _ in 0..LENGTH / piece.len() {
        append.write(&piece).unwrap();
    }
    append.end().unwrap();
    append.commit().unwrap();
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    Home::at(directory, ailurus_formats::disk::Os::shared(), |environment| environment.lock_dir = locks)
}

/// One test, since memory is that of the process.
#[test]
fn memory_is_bounded_whatever_a_file_holds() {
    let kilo = [b'a'; 1024];
    let lines = [&[b'x'; 70][..], b"\n"].concat();
    let fields = [b"X-Field: ", &[b'x'; 60][..], b"\r\n"].concat();
    let cases: [(&str, Parts<'_>); 8] = [
        ("a text of one line", vec![(FROM, 1), (b"Subject: x\n\n", 1), (&kilo, LENGTH / 1024)]),
        ("a header of one line", vec![(FROM, 1), (b"Subject: x", 1), (&kilo, LENGTH / 1024)]),
        ("a header of many lines", vec![(FROM, 1), (&fields, LENGTH / fields.len()), (b"\n", 1)]),
        (
            "a header of continuations that belong to nobody",
            vec![(FROM, 1), (b"status: x\n", 1), (b" ", 1), (&kilo, LENGTH / 1024), (b"\n", 1)],
        ),
        ("a text of many lines", vec![(FROM, 1), (b"Subject: x\r\n\r\n", 1), (&lines, LENGTH / 71)]),
        ("a From_ line of one line", vec![(FROM, 1), (b"\nFrom ", 1), (&kilo, LENGTH / 1024), (b"\n", 1)]),
        ("many lines that are almost From_ lines", vec![(FROM, 1), (b"\n", 1), (b"From x\n", LENGTH / 70)]),
        ("NULs", vec![(FROM, 1), (b"A: b\n\ntext\n\n", 1), (&[0; 1024], LENGTH / 1024)]),
    ];
    for (what, parts) in cases {
        let home = home();
        write(&home.path("box"), &parts);
        let driver = Unix::new(home.environment.as_ref().clone(), home.disk.clone());
        exercise(&driver, &home, what);
    }
    let home = home();
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    driver.create(&home.at_name("box")).unwrap();
    append_huge(&driver, &home);
    exercise(&driver, &home, "mbx");
}
