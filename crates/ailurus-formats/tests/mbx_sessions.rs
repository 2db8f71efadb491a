//! Several sessions on one mbx mailbox, ours and the reference's.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mbx;
use ailurus_store::{Access, Claim, Driver, Error, Extent, Mailbox, Manner};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::os::unix::fs::MetadataExt;
use support::*;

const TEXT: &[u8] = b"Subject: t\r\n\r\nbody\r\n";

fn driver(home: &Home) -> Mbx {
    Mbx::new(home.environment.clone(), home.disk.clone())
}

/// A mailbox of so many messages, the n-th saying `body n`.
fn filled(home: &Home, name: &str, count: u32) -> Mbx {
    let driver = driver(home);
    driver.create(&home.at_name(name)).unwrap();
    for n in 1..=count {
        append_plain(&driver, &home.at_name(name), text(n).as_bytes()).unwrap();
    }
    driver
}

fn text(n: u32) -> String {
    format!("Subject: {n}\r\n\r\nbody {n}\r\n")
}

fn check_texts(mailbox: &mut dyn Mailbox, wanted: &[u32]) {
    assert_eq!(uids_of(mailbox), wanted);
    for n in wanted {
        let whole = read_all(mailbox, uid(*n), Extent::Whole, 1000).unwrap();
        assert_eq!(String::from_utf8(whole).unwrap(), text(*n));
    }
}

#[test]
fn flags_show_in_other_sessions_within_the_same_second_and_later() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 3), home.at_name("box"));
    let mut sessions: Vec<_> = (0..3).map(|_| open(&driver, &at).unwrap()).collect();
    // Far more updates than seconds: neither the time nor the PID alone would tell.
    for round in 0..60 {
        let (writer, op) = (round % 3, if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove });
        let set = uids(&[u32::try_from(round % 3).unwrap() + 1]);
        let changes = store(&mut *sessions[writer], &set, &change(op, SystemFlags::FLAGGED, &[])).unwrap();
        let expected = if changes.is_empty() { UidSet::new() } else { set.clone() };
        for (other, session) in sessions.iter_mut().enumerate().filter(|(other, _)| *other != writer) {
            assert_eq!(session.refresh().unwrap().flags, expected, "round {round}, session {other}");
        }
        let shown: Vec<_> = sessions.iter().map(|session| show(&**session)[0].replace('r', "")).collect();
        assert!(shown.iter().all(|line| *line == shown[0]), "{shown:?}");
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drop(store(&mut *sessions[0], &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap());
    assert_eq!(sessions[1].refresh().unwrap().flags, uids(&[1, 2, 3]));
    assert!(sessions[1].refresh().unwrap().is_empty());
}

#[test]
fn an_expunge_beside_another_session_hides_and_the_last_one_reclaims() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 4), home.at_name("box"));
    let (mut a, mut b) = (open(&driver, &at).unwrap(), open(&driver, &at).unwrap());
    let size = home.get("box").len();
    let changes = expunge(&mut *a, &uids(&[2, 4])).unwrap();
    assert_eq!(changes.expunged, uids(&[2, 4]));
    assert_eq!(home.get("box").len(), size, "b has the mailbox open");
    check_texts(&mut *a, &[1, 3]);
    // b has not been told yet: it still reads all.
    check_texts(&mut *b, &[1, 2, 3, 4]);
    // A flag update by one who does not know of the expunge keeps the message hidden.
    assert_eq!(b.refresh().unwrap().expunged, uids(&[2, 4]));
    check_texts(&mut *b, &[1, 3]);
    assert!(matches!(read_all(&mut *b, uid(2), Extent::Whole, 10), Err(Error::Expunged { uid: 2 })));
    assert_eq!(home.get("box").len(), size);
    let mut late = open(&driver, &at).unwrap();
    check_texts(&mut *late, &[1, 3]);
    late.close().unwrap();
    a.close().unwrap();
    assert_eq!(home.get("box").len(), size);
    drop(b.refresh().unwrap());
    assert_eq!(home.get("box").len(), size - 2 * (size - 2048) / 4, "b is alone now");
    check_texts(&mut *b, &[1, 3]);
    let appended = append_plain(&driver, &at, text(5).as_bytes()).unwrap();
    assert_eq!(appended.uids.unwrap().1, [uid(5)], "the UID of a message that is gone is not used again");
    assert!(b.refresh().unwrap().arrived);
    check_texts(&mut *b, &[1, 3, 5]);
}

#[test]
fn who_only_reads_changes_nothing() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 2), home.at_name("box"));
    let before = home.get("box");
    let times =
        |home: &Home| std::fs::metadata(home.path("box")).map(|meta| (meta.mtime(), meta.ctime())).unwrap();
    let times_before = times(&home);
    let mut mailbox = driver.open(&at, Access::ReadOnly, Manner::Session).unwrap();
    assert!(!mailbox.snapshot().writable);
    assert!(matches!(mailbox.edit().err(), Some(Error::ReadOnly { .. })));
    check_texts(&mut *mailbox, &[1, 2]);
    let status = driver.status(&at).unwrap();
    assert_eq!((status.messages, status.recent, status.unseen, status.uid_next), (2, 2, 2, Some(uid(3))));
    assert_eq!((home.get("box"), times(&home)), (before, times_before));
    mailbox.close().unwrap();
}

#[test]
fn an_append_leaves_the_time_of_the_last_flag_update() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 1), home.at_name("box"));
    let file = std::fs::File::options().write(true).open(home.path("box")).unwrap();
    home.disk.set_times(&file, 1000, 2000).unwrap();
    append_plain(&driver, &at, TEXT).unwrap();
    let meta = std::fs::metadata(home.path("box")).unwrap();
    assert_eq!((meta.atime(), meta.mtime()), (NOW - 1, 2000));
}

#[test]
fn an_inbox_is_made_by_an_append_and_again_by_a_rename() {
    let home = Home::new();
    let (driver, inbox) = (driver(&home), home.at_name("INBOX"));
    assert_eq!(driver.probe(&inbox).unwrap(), Claim::Empty);
    append_plain(&driver, &inbox, text(1).as_bytes()).unwrap();
    assert_eq!(driver.probe(&inbox).unwrap(), Claim::Valid);
    check_texts(&mut *open(&driver, &inbox).unwrap(), &[1]);
    driver.rename(&inbox, &home.at_name("old")).unwrap();
    check_texts(&mut *open(&driver, &home.at_name("old")).unwrap(), &[1]);
    check_texts(&mut *open(&driver, &inbox).unwrap(), &[]);
    assert!(matches!(driver.create(&inbox), Err(Error::AlreadyExists(_))));
    driver.delete(&inbox).unwrap();
    driver.create(&inbox).unwrap();
    check_texts(&mut *open(&driver, &inbox).unwrap(), &[]);
    home.put("zero", b"");
    append_plain(&driver, &home.at_name("zero"), text(1).as_bytes()).unwrap();
    check_texts(&mut *open(&driver, &home.at_name("zero")).unwrap(), &[1]);
    assert!(matches!(append_plain(&driver, &home.at_name("none"), TEXT), Err(Error::NotFound(_))));
    home.put("other", b"something else");
    assert!(matches!(append_plain(&driver, &home.at_name("other"), TEXT), Err(Error::WrongFormat { .. })));
}

#[test]
fn a_header_ends_at_its_first_empty_line_wherever_that_is() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 0), home.at_name("box"));
    let lengths = [0, 1, 100, 4089, 4090, 4091, 4092, 4093, 4094, 8180, 20_000];
    for length in lengths {
        let mut text = vec![b'h'; length];
        if length > 0 {
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\nbody\r\n\r\nmore");
        append_plain(&driver, &at, &text).unwrap();
    }
    let mut mailbox = open(&driver, &at).unwrap();
    for (n, length) in lengths.into_iter().enumerate() {
        let uid = uid(u32::try_from(n).unwrap() + 1);
        let header = read_all(&mut *mailbox, uid, Extent::Header, 1000).unwrap();
        assert_eq!(header.len(), if length == 0 { 2 } else { length + 4 });
        assert_eq!(read_all(&mut *mailbox, uid, Extent::Text, 5).unwrap(), b"body\r\n\r\nmore");
    }
}

#[test]
fn a_session_whose_file_shrinks_or_changes_ends_with_the_references_words() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 3), home.at_name("box"));
    let mut mailbox = open(&driver, &at).unwrap();
    let content = home.get("box");
    home.put("box", &content[..2100]);
    let error = mailbox.refresh().unwrap_err();
    assert_eq!(reason(&error), format!("Mailbox shrank from {} to 2100!", content.len()));
    assert!(read_all(&mut *mailbox, uid(3), Extent::Whole, 10).is_err());
    drop(mailbox);
    home.put("box", &content);
    let mut mailbox = open(&driver, &at).unwrap();
    let mut moved = content.clone();
    moved.insert(2048, b' ');
    home.put("box", &moved);
    let stored = store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::SEEN, &[]));
    assert!(stored.is_err());
    assert!(home.get("box") == moved, "a field in the wrong place is not written");
}

#[test]
fn a_session_whose_file_was_replaced_ends_before_it_writes_what_nobody_finds() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 3), home.at_name("box"));
    let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &[]);
    for replace in [
        &(|home: &Home| {
            home.put("new", &home.get("box"));
            std::fs::rename(home.path("new"), home.path("box")).unwrap();
        }) as &dyn Fn(&Home),
        &|home: &Home| std::fs::rename(home.path("box"), home.path("away")).unwrap(),
    ] {
        let mut mailbox = open(&driver, &at).unwrap();
        check_texts(&mut *mailbox, &[1, 2, 3]);
        replace(&home);
        for error in [
            store(&mut *mailbox, &uids(&[1]), &flags).unwrap_err(),
            expunge(&mut *mailbox, &uids(&[1])).unwrap_err(),
            mailbox.refresh().unwrap_err(),
        ] {
            assert!(reason(&error).contains("it was replaced"), "{error}");
        }
        mailbox.close().unwrap();
    }
    let mut moved = open(&driver, &home.at_name("away")).unwrap();
    check_texts(&mut *moved, &[1, 2, 3]);
    assert_eq!(moved.snapshot().messages[0].flags().system, SystemFlags::NONE);
}

#[test]
fn a_mailbox_with_new_uids_from_another_session_is_read_again() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 3), home.at_name("box"));
    let mut mailbox = open(&driver, &at).unwrap();
    let mut content = home.get("box");
    // As if another session had rebuilt the UIDs from the second message on.
    content[7..15].copy_from_slice(b"7fffffff");
    content[15..23].copy_from_slice(b"00000007");
    let text = String::from_utf8(content).unwrap();
    home.put(
        "box",
        text.replace("-00000002\r\n", "-00000006\r\n").replace("-00000003\r\n", "-00000007\r\n").as_bytes(),
    );
    let changes = mailbox.refresh().unwrap();
    assert!(changes.uid_validity);
    assert_eq!(changes.expunged, uids(&[2, 3]));
    assert_eq!(uids_of(&*mailbox), [1, 6, 7]);
    assert_eq!(mailbox.snapshot().uid_validity.get(), 0x7fff_ffff);
}

#[test]
fn uids_that_start_anew_have_another_uid_validity_even_past_the_largest() {
    for append_first in [false, true] {
        let home = Home::new();
        let (driver, at) = (filled(&home, "box", 3), home.at_name("box"));
        open(&driver, &at).unwrap().close().unwrap();
        let mut content = home.get("box");
        content[7..15].copy_from_slice(b"ffffffff");
        let text = String::from_utf8(content).unwrap().replace("-00000002\r\n", "-00000009\r\n");
        home.put("box", text.as_bytes());
        if append_first {
            append_plain(&driver, &at, TEXT).unwrap();
        }
        let mailbox = open(&driver, &at).unwrap();
        assert_eq!(i64::from(mailbox.snapshot().uid_validity.get()), NOW);
        assert_eq!(uids_of(&*mailbox)[..3], [1, 2, 3]);
    }
}

#[test]
fn the_reference_works_on_our_mailbox_between_our_steps() {
    let home = Home::new();
    let (driver, at) = (filled(&home, "box", 5), home.at_name("box"));
    let Some(_) = mailutil(&home, &["check", "box"]) else { return };
    let mut mailbox = open(&driver, &at).unwrap();
    // It copies into our open mailbox, and prunes it while we hold it: it must hide what it expunges.
    let made = mailutil(&home, &["create", "#driver.mbx/other"]).unwrap();
    let copied = mailutil(&home, &["append", "box", "other"]).unwrap();
    assert!(open(&driver, &home.at_name("other")).unwrap().snapshot().messages.len() == 5, "{made} {copied}");
    mailutil(&home, &["appenddelete", "other", "box"]).unwrap();
    assert!(mailbox.refresh().unwrap().arrived);
    assert_eq!(uids_of(&*mailbox), (1..=10).collect::<Vec<_>>());
    mailutil(&home, &["prune", "box", "SUBJECT 3"]).unwrap();
    let changes = mailbox.refresh().unwrap();
    assert_eq!(changes.expunged, uids(&[3, 8]));
    for n in [1, 2, 4, 5] {
        assert_eq!(read_all(&mut *mailbox, uid(n), Extent::Whole, 99).unwrap(), text(n).as_bytes());
        assert_eq!(read_all(&mut *mailbox, uid(n + 5), Extent::Whole, 99).unwrap(), text(n).as_bytes());
    }
    // We hide while it could come by, and reclaim.
    drop(expunge(&mut *mailbox, &uids(&[1, 10])).unwrap());
    drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Ours"])).unwrap());
    mailutil(&home, &["create", "#driver.mbx/third"]).unwrap();
    mailutil(&home, &["append", "box", "third"]).unwrap();
    let mut third = open(&driver, &home.at_name("third")).unwrap();
    assert_eq!(third.snapshot().messages.len(), 6);
    assert!(third.snapshot().messages[0].flags().system.contains(SystemFlags::FLAGGED));
    assert_eq!(read_all(&mut *third, uid(6), Extent::Whole, 99).unwrap(), text(4).as_bytes());
    mailbox.close().unwrap();
    let told = mailutil(&home, &["check", "box"]).unwrap();
    assert!(told.contains("6 total"), "{told}");
}
