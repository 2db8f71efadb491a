//! The unix driver among others: deliveries, other sessions, other programs, arbitrary files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use ailurus_formats::Unix;
use ailurus_formats::disk::Os;
use ailurus_store::{Access, AppendMeta, Claim, Driver, Error, Extent, Level, Mailbox, Manner, Rejection};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagChange, FlagOp, Keyword, SystemFlags, Uid, UidSet};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use support::NOW;
use support::paths::{append, at, environment, fixture, open, read_all, unix};

fn deliver(path: &Path, subject: &str) {
    // As procmail does: flock, then O_APPEND.
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.lock().unwrap();
    writeln!(file, "From x@example.com Wed Dec  2 05:53:22 1992\nSubject: {subject}\n\n{subject}\n").unwrap();
}

fn texts(mailbox: &mut dyn Mailbox) -> Vec<String> {
    let uids: Vec<Uid> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    let text = |uid| String::from_utf8_lossy(&read_all(mailbox, uid, Extent::Text)).trim_end().to_owned();
    uids.into_iter().map(text).collect()
}

fn add_seen(mailbox: &mut dyn Mailbox) {
    let mut edit = mailbox.edit().unwrap();
    let change = FlagChange { op: FlagOp::Add, system: SystemFlags::SEEN, keywords: Vec::new() };
    edit.store(&UidSet::all(), &change).unwrap();
    let changes = edit.commit().unwrap();
    assert!(!changes.flags.is_empty());
}

#[test]
fn deliveries_arrive_between_all_our_operations() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    driver.create(&at(&path)).unwrap();
    deliver(&path, "one");
    let mut mailbox = open(&driver, &path);
    assert_eq!(texts(mailbox.as_mut()), ["one"]);
    deliver(&path, "two");
    assert!(mailbox.refresh().unwrap().arrived);
    deliver(&path, "three");
    add_seen(mailbox.as_mut());
    deliver(&path, "four");
    let changes = mailbox.checkpoint().unwrap();
    assert!(changes.arrived);
    deliver(&path, "five");
    let mut edit = mailbox.edit().unwrap();
    edit.expunge(&Uid::new(2).into_iter().collect()).unwrap();
    deliver(&path, "six");
    let changes = edit.commit().unwrap();
    assert!(changes.arrived && changes.expunged.to_string() == "2");
    assert_eq!(texts(mailbox.as_mut()), ["one", "three", "four", "five", "six"]);
    deliver(&path, "seven");
    mailbox.close().unwrap();
    let mut mailbox = open(&driver, &path);
    assert_eq!(texts(mailbox.as_mut()), ["one", "three", "four", "five", "six", "seven"]);
    let uids: Vec<u32> = mailbox.snapshot().messages.iter().map(|message| message.uid().get()).collect();
    assert_eq!(uids, [1, 3, 4, 5, 6, 7]);
}

#[test]
fn what_arrived_is_told_even_if_a_refresh_or_an_edit_came_to_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    std::fs::copy(fixture("unix/02-appended"), &path).unwrap();
    let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
    let driver = Unix::new(environment(directory.path()), disk.clone());
    let mut mailbox = open(&driver, &path);
    assert!(mailbox.refresh().unwrap().is_empty());
    deliver(&path, "one");
    drop(mailbox.edit().unwrap());
    assert!(mailbox.refresh().unwrap().arrived);
    deliver(&path, "two");
    disk.set_fault(Fault::FullAfter(0));
    assert!(mailbox.refresh().unwrap_err().is_full());
    assert!(mailbox.edit().err().unwrap().is_full());
    disk.set_fault(Fault::None);
    assert!(mailbox.refresh().unwrap().arrived);
    assert_eq!(mailbox.snapshot().messages.len(), 6);
    deliver(&path, "three");
    let mut edit = mailbox.edit().unwrap();
    edit.expunge(&Uid::new(1).into_iter().collect()).unwrap();
    disk.set_fault(Fault::FullAfter(0));
    assert!(edit.commit().unwrap_err().is_full());
    disk.set_fault(Fault::None);
    let changes = mailbox.refresh().unwrap();
    assert!(changes.arrived && changes.expunged.is_empty());
    assert_eq!(mailbox.snapshot().messages.len(), 7);
}

/// A reader that is within a message while another session moves it goes on in that message.
#[test]
fn a_reader_gets_whole_messages_while_another_session_moves_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    std::fs::write(&path, "").unwrap();
    let texts: Vec<String> = (0..3).map(|n| format!("line {n}\r\n").repeat(80_000)).collect();
    for (n, text) in texts.iter().enumerate() {
        let message = format!("Subject: {n}\r\n\r\n{text}");
        append(&driver, &path, message.as_bytes(), SystemFlags::NONE, &[]).unwrap();
    }
    let mut writer = open(&driver, &path);
    let mut reader = driver.open(&at(&path), Access::ReadOnly, Manner::Session).unwrap();
    let uid = |n| Uid::new(n).unwrap();
    let mut out = Vec::new();
    reader.read(uid(3), Extent::Text, 0, 100_000, &mut out).unwrap();
    let mut edit = writer.edit().unwrap();
    edit.expunge(&[uid(1)].into_iter().collect()).unwrap();
    drop(edit.commit().unwrap());
    while reader.read(uid(3), Extent::Text, out.len() as u64, 100_000, &mut out).unwrap() > 0 {}
    assert!(out == texts[2].as_bytes());
    assert!(matches!(reader.read(uid(1), Extent::Text, 0, 10, &mut out), Err(Error::Expunged { uid: 1 })));
    // Of a message that goes meanwhile there is no rest that is another's.
    out.clear();
    reader.read(uid(2), Extent::Text, 0, 100_000, &mut out).unwrap();
    let mut edit = writer.edit().unwrap();
    edit.expunge(&[uid(2)].into_iter().collect()).unwrap();
    drop(edit.commit().unwrap());
    let rest = reader.read(uid(2), Extent::Text, out.len() as u64, 100_000, &mut out);
    assert!(matches!(rest, Err(Error::Expunged { uid: 2 })));
    assert!(reader.refresh().unwrap().expunged.count() == 2);
}

/// Programs such as mutt know nothing of the session lock. What they moved about must not be written over.
#[test]
fn a_session_whose_messages_were_moved_ends_and_writes_nothing() {
    for work in [
        &(|mailbox: &mut dyn Mailbox| mailbox.checkpoint().map(drop)) as &dyn Fn(&mut dyn Mailbox) -> _,
        &|mailbox: &mut dyn Mailbox| {
            let mut edit = mailbox.edit()?;
            edit.expunge(&Uid::new(99).into_iter().collect())?;
            edit.commit().map(drop)
        },
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        std::fs::copy(fixture("unix/02-appended"), &path).unwrap();
        let driver = unix(&environment(directory.path()));
        open(&driver, &path).close().unwrap();
        let mut mailbox = open(&driver, &path);
        add_seen(mailbox.as_mut());
        // The first message goes, and a new one of the same size comes.
        let content = std::fs::read_to_string(&path).unwrap();
        let starts: Vec<_> = content.match_indices("\nFrom alice@").map(|(at, _)| at + 1).collect();
        let (first, second) = (starts[0], starts[1]);
        let mut moved = [&content[..first], &content[second..]].concat();
        moved.push_str("From x@example.com Wed Dec  2 05:53:22 1992\nSubject: new\n\n");
        while moved.len() < content.len() - 2 {
            moved.push('x');
        }
        moved.push_str("\n\n");
        assert_eq!(moved.len(), content.len());
        std::fs::write(&path, &moved).unwrap();
        let error = work(mailbox.as_mut()).unwrap_err();
        assert!(
            matches!(&error, Error::Lost { what, .. } if what.starts_with("Unexpected changes")),
            "{error}"
        );
        mailbox.close().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), moved);
    }
}

/// Two messages of one length in each other's places: the size is the same, and so is the end.
#[test]
fn a_message_in_the_place_of_another_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    std::fs::write(&path, "").unwrap();
    for n in 1..=4 {
        let message = format!("Subject: {n}\r\n\r\nText {n}.\r\n");
        append(&driver, &path, message.as_bytes(), SystemFlags::NONE, &[]).unwrap();
    }
    let expunge = |mailbox: &mut dyn Mailbox, uid: u32| {
        let mut edit = mailbox.edit().unwrap();
        edit.expunge(&Uid::new(uid).into_iter().collect()).unwrap();
        edit.commit()
    };
    let mut mailbox = open(&driver, &path);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut starts: Vec<_> = text.match_indices("From ").map(|(at, _)| at).collect();
    starts.push(text.len());
    let mut messages: Vec<_> = starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
    let at = |subject: &str| messages.iter().position(|message| message.contains(subject)).unwrap();
    let (one, other) = (at("Subject: 2\n"), at("Subject: 3\n"));
    messages.swap(one, other);
    let swapped = messages.concat();
    assert_eq!(swapped.len(), text.len());
    std::fs::write(&path, &swapped).unwrap();
    assert!(matches!(expunge(mailbox.as_mut(), 2), Err(Error::Lost { .. })));
    drop(mailbox);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), swapped);

    // What others deliver is no reason to remove nothing.
    let mut mailbox = open(&driver, &path);
    for subject in ["delivered", "delivered later"] {
        deliver(&path, subject);
        drop(mailbox.refresh().unwrap());
        let first = mailbox.snapshot().messages[0].uid();
        assert_eq!(expunge(mailbox.as_mut(), first.get()).unwrap().expunged.count(), 1);
    }
    let left = texts(mailbox.as_mut());
    assert_eq!(left.len(), 4, "{left:?}");
    mailbox.close().unwrap();
}

#[test]
fn one_session_writes_and_others_read() {
    let directory = tempfile::tempdir().unwrap();
    let env = environment(directory.path());
    let path = directory.path().join("box");
    std::fs::copy(fixture("unix/02-appended"), &path).unwrap();
    let driver = unix(&env);
    let mut first = open(&driver, &path);
    let mut second = open(&driver, &path);
    assert!(first.snapshot().writable && !second.snapshot().writable);
    let told = env.notices.take();
    assert!(
        told.iter().any(|notice| notice.text == "Mailbox is open by another process, access is readonly")
    );
    assert!(matches!(driver.open(&at(&path), Access::ReadWrite, Manner::Silent), Err(Error::InUse { .. })));
    assert!(matches!(driver.delete(&at(&path)), Err(Error::InUse { .. })));
    assert!(matches!(second.edit().err(), Some(Error::ReadOnly { .. })));
    // While we have it open an append is a delivery.
    let appended = append(&driver, &path, b"Subject: a\r\n\r\nadded\r\n", SystemFlags::FLAGGED, &[]).unwrap();
    assert_eq!(appended.uids, None);
    assert!(first.refresh().unwrap().arrived);
    let message = *first.snapshot().messages.last().unwrap();
    assert_eq!((message.uid().get(), message.flags().system), (102, SystemFlags::FLAGGED));
    let mut edit = first.edit().unwrap();
    edit.expunge(&Uid::new(1).into_iter().collect()).unwrap();
    let changes = edit.commit().unwrap();
    assert_eq!(changes.expunged.to_string(), "1");
    // The reader sees what moved, even without being refreshed.
    assert_eq!(read_all(second.as_mut(), Uid::new(99).unwrap(), Extent::Text), b"Second body\r\n");
    let changes = second.refresh().unwrap();
    assert!(changes.arrived && changes.expunged.to_string() == "1" && !changes.uid_validity);
    first.close().unwrap();
    driver.rename(&at(&path), &at(&directory.path().join("new"))).unwrap();
    driver.delete(&at(&directory.path().join("new"))).unwrap();
    drop(second);
    assert_eq!(std::fs::read_dir(&env.lock_dir).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn appended_messages_are_protected_and_numbered() {
    let directory = tempfile::tempdir().unwrap();
    let env = environment(directory.path());
    let path = directory.path().join("box");
    std::fs::copy(fixture("unix/03-flags-keywords"), &path).unwrap();
    let driver = unix(&env);
    let mut appending = driver.append(&at(&path)).unwrap();
    let date = ailurus_types::InternalDate::parse(b" 1-Feb-2025 12:34:56 +0200", 0).unwrap();
    for (message, date) in [
        (&b"X-Foo: a\r\nX-UID: 5\r\nStatus: RO\r\nx-keywords: Work\r\n\r\nFrom here\r\n>From\r\n"[..], None),
        (b"X-IMAPbase: 1 2\r\nSubject: all header\r\nFrom x", Some(date)),
    ] {
        appending
            .begin(AppendMeta {
                size: message.len() as u64,
                internal_date: date,
                keywords: vec![Keyword::new(b"work").unwrap(), Keyword::new(b"Unknown").unwrap()],
                ..AppendMeta::default()
            })
            .unwrap();
        for piece in message.chunks(3) {
            appending.write(piece).unwrap();
        }
        appending.end().unwrap();
    }
    let (validity, uids) = appending.commit().unwrap().uids.unwrap();
    assert_eq!((validity.get(), uids), (1_740_830_400, vec![Uid::new(102).unwrap(), Uid::new(103).unwrap()]));
    let file = std::fs::read_to_string(&path).unwrap();
    assert!(file.contains("X-IMAP: 1740830400 0000000103 Work $Forwarded Unknown\n"));
    let first = file.find("From alice@mail.example.com Sat Mar  1 12:00:00 2025 +0000\nX-Foo").unwrap();
    assert_eq!(
        &file[first..],
        "From alice@mail.example.com Sat Mar  1 12:00:00 2025 +0000\nX-Foo: a\nX-Original-X-UID: 5\n\
         X-Original-Status: RO\nX-Original-x-keywords: Work\nStatus: \nX-Status: \n\
         X-Keywords: Work Unknown      \nX-UID: 102\n\n>From here\n>From\n\n\
         From alice@mail.example.com Sat Feb  1 12:34:56 2025 +0200\nX-Original-X-IMAPbase: 1 2\n\
         Subject: all header\n>From x\nStatus: \nX-Status: \nX-Keywords: Work Unknown      \nX-UID: 103\n\n\n"
    );
    let mailbox = open(&driver, &path);
    let recent: Vec<_> = mailbox
        .snapshot()
        .messages
        .iter()
        .filter(|message| message.is_recent())
        .map(|m| m.uid().get())
        .collect();
    assert_eq!(recent, [102, 103]);
    assert!(env.notices.take().iter().all(|notice| notice.level == Level::Log));
}

#[test]
fn a_copy_is_quoted_only_where_it_must_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    driver.create(&at(&path)).unwrap();
    let body = "From here\r\n>From\r\nFrom x@y Wed Dec  2 05:53:22 1992\r\n";
    let message = format!("Subject: a\r\n\r\n{body}");
    let line = b"From x@example.com Wed Dec  2 05:53:22 1992";
    for (from_line, expected) in [
        (None, ">From here\r\n>From\r\n>From x@y Wed Dec  2 05:53:22 1992\r\n"),
        (Some(line.to_vec()), "From here\r\n>From\r\n>From x@y Wed Dec  2 05:53:22 1992\r\n"),
    ] {
        let mut append = driver.append(&at(&path)).unwrap();
        let size = message.len() as u64;
        append.begin(AppendMeta { size, from_line, ..AppendMeta::default() }).unwrap();
        append.write(message.as_bytes()).unwrap();
        append.end().unwrap();
        let uid = append.commit().unwrap().uids.unwrap().1[0];
        let text = read_all(open(&driver, &path).as_mut(), uid, Extent::Text);
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
}

#[test]
fn a_large_message_goes_through_a_scratch_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    driver.create(&at(&path)).unwrap();
    let message = [&b"Subject: large\r\n\r\n"[..], &b"From a line of text\r\n".repeat(50_000)].concat();
    append(&driver, &path, &message, SystemFlags::NONE, &[]).unwrap();
    let mut mailbox = open(&driver, &path);
    let read = read_all(mailbox.as_mut(), Uid::new(1).unwrap(), Extent::Whole);
    assert_eq!(read.len(), message.len() + 50_000);
    assert_eq!(mailbox.snapshot().messages[0].rfc822_size() as usize, read.len());
}

#[test]
fn file_times_say_whether_there_is_new_mail() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    driver.create(&at(&path)).unwrap();
    let times = || path.metadata().map(|found| (found.atime(), found.mtime())).unwrap();
    append(&driver, &path, b"Subject: a\r\n\r\na\r\n", SystemFlags::NONE, &[]).unwrap();
    assert_eq!(times(), (NOW - 1, NOW));
    driver.probe(&at(&path)).unwrap();
    driver.status(&at(&path)).unwrap();
    assert_eq!(times(), (NOW - 1, NOW));
    open(&driver, &path).close().unwrap();
    assert_eq!(times(), (NOW, NOW - 1));
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"From x@example.com Wed Dec  2 05:53:22 1992\n".to_vec()),
        Just(b"From x@example.com Wed Dec  2 05:53 1992\r\n".to_vec()),
        Just(b"X-IMAPbase: 5 6 a b\n".to_vec()),
        Just(b"X-IMAP: 0000000005 0000000009 a b\n".to_vec()),
        Just(b"X-UID: 4294967295\n".to_vec()),
        (0u32..12).prop_map(|uid| format!("X-UID: {uid}\n").into_bytes()),
        Just(b"Status: RO\n".to_vec()),
        Just(b"X-Status: DFAT\n folded\n".to_vec()),
        Just(b"X-Keywords: a c\r\n".to_vec()),
        Just(b"Subject: s\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"From ".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\0\0\0".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_file_is_read_and_rewritten_with_its_messages(rest in pieces()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        let file = [&b"From x@example.com Wed Dec  2 05:53:22 1992\nSubject: first\n"[..], &rest].concat();
        std::fs::write(&path, &file).unwrap();
        let driver = unix(&environment(directory.path()));
        let contents = |mailbox: &mut dyn Mailbox| {
            let messages = mailbox.snapshot().messages.clone();
            messages.iter().map(|message| {
                let whole = read_all(mailbox, message.uid(), Extent::Whole);
                assert_eq!(whole.len(), message.rfc822_size() as usize);
                (message.uid(), whole)
            }).collect::<Vec<_>>()
        };
        let mut mailbox = open(&driver, &path);
        let before = contents(mailbox.as_mut());
        add_or_skip(mailbox.as_mut());
        let checkpoint = mailbox.checkpoint().unwrap();
        prop_assert!(!checkpoint.arrived);
        let after = contents(mailbox.as_mut());
        prop_assert_eq!(before.len(), after.len());
        mailbox.close().unwrap();
        let mut mailbox = open(&driver, &path);
        let again = contents(mailbox.as_mut());
        prop_assert_eq!(before.len(), again.len());
        for ((one, text), (other, text_again)) in before.iter().zip(&again) {
            prop_assert_eq!(one, other);
            prop_assert_eq!(text, text_again);
        }
    }
}

fn add_or_skip(mailbox: &mut dyn Mailbox) {
    if !mailbox.snapshot().messages.is_empty() {
        let mut edit = mailbox.edit().unwrap();
        let change = FlagChange { op: FlagOp::Add, system: SystemFlags::DRAFT, keywords: Vec::new() };
        edit.store(&UidSet::all(), &change).unwrap();
        let changes = edit.commit().unwrap();
        assert!(!changes.arrived);
    }
}

#[test]
fn many_appends_with_others_between_give_ascending_uids() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = unix(&environment(directory.path()));
    std::fs::write(&path, "").unwrap();
    let mut uids = Vec::new();
    for number in 0..25 {
        let text = format!("Subject: {number}\r\n\r\nappended {number}\r\n");
        uids.push(
            append(&driver, &path, text.as_bytes(), SystemFlags::NONE, &[]).unwrap().uids.unwrap().1[0].get(),
        );
        if number % 7 == 3 {
            deliver(&path, "delivered");
        }
        if number == 12 {
            let mut mailbox = open(&driver, &path);
            let mut edit = mailbox.edit().unwrap();
            edit.expunge(&UidSet::all()).unwrap();
            assert!(!edit.commit().unwrap().expunged.is_empty());
        }
    }
    // Deliveries took UIDs of their own when the next append came.
    let expected: Vec<u32> = (0..25).map(|number: u32| number + 1 + (number + 3) / 7).collect();
    assert_eq!(uids, expected);
    let mailbox = open(&driver, &path);
    let left: Vec<u32> = mailbox.snapshot().messages.iter().map(|message| message.uid().get()).collect();
    assert!(left.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(left.len(), 12 + 2);
}

#[test]
fn a_fifo_in_the_place_of_a_mailbox_makes_nobody_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let driver = unix(&environment(directory.path()));
    assert_eq!(driver.probe(&at(&path)).unwrap(), Claim::No(Rejection::WrongFormat));
    for access in [Access::ReadOnly, Access::ReadWrite] {
        assert!(driver.open(&at(&path), access, Manner::Session).is_err());
    }
    assert!(driver.status(&at(&path)).is_err());
    assert!(driver.delete(&at(&path)).is_err());
    assert!(append(&driver, &path, b"x", SystemFlags::NONE, &[]).is_err());
    // Nor does one that comes later than the look: a deleted mailbox under an open session.
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(fixture("unix/02-appended"), &path).unwrap();
    let mut mailbox = open(&driver, &path);
    add_seen(mailbox.as_mut());
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(matches!(mailbox.refresh(), Err(Error::Lost { .. })));
    mailbox.close().unwrap();
}

/// Who sends mail decides how long lines are, and how many; notices wait in memory until the session takes them.
#[test]
fn notices_are_short_however_long_the_lines_are() {
    let directory = tempfile::tempdir().unwrap();
    let env = environment(directory.path());
    let path = directory.path().join("box");
    let mut content = b"From x@example.com Wed Dec  2 05:53:22 1992\nstatus: R\n".to_vec();
    for _ in 0..30 {
        content.push(b' ');
        content.extend_from_slice(&b"\xff".repeat(300_000));
        content.push(b'\n');
    }
    content.extend_from_slice(b"\ntext\n\n");
    std::fs::write(&path, content).unwrap();
    let mailbox = open(&unix(&env), &path);
    assert_eq!(mailbox.snapshot().messages.len(), 1);
    let told = env.notices.take();
    assert!(told.len() > 30 && told.iter().all(|notice| notice.text.len() < 400));
}

/// What a power loss can leave of the first delivery to an empty spool, and what is delivered behind it.
#[test]
fn nuls_at_the_start_hide_no_mail() {
    let directory = tempfile::tempdir().unwrap();
    let env = environment(directory.path());
    let driver = unix(&env);
    let inbox = ailurus_store::Location {
        name: ailurus_types::MailboxName::inbox(),
        place: ailurus_store::Place::Inbox,
    };
    for mail in [false, true] {
        for append_first in [false, true] {
            std::fs::write(&env.spool, vec![0; 5000]).unwrap();
            if mail {
                deliver(&env.spool, "delivered");
            }
            assert_eq!(driver.probe(&inbox).unwrap(), Claim::Valid);
            assert_eq!(driver.status(&inbox).unwrap().messages, u32::from(mail));
            let mut wanted = vec!["delivered"; usize::from(mail)];
            if append_first {
                let mut append = driver.append(&inbox).unwrap();
                let text = b"Subject: x\r\n\r\nappended\r\n";
                append.begin(AppendMeta { size: text.len() as u64, ..AppendMeta::default() }).unwrap();
                append.write(text).unwrap();
                append.end().unwrap();
                append.commit().unwrap();
                wanted.push("appended");
            }
            let mut mailbox = driver.open(&inbox, Access::ReadWrite, Manner::Session).unwrap();
            assert_eq!(texts(mailbox.as_mut()), wanted);
            mailbox.close().unwrap();
            assert!(!std::fs::read(&env.spool).unwrap().contains(&0));
        }
    }
    // A file of NULs that is no INBOX is nobody's mailbox: writing it would destroy it.
    let path = directory.path().join("image");
    std::fs::write(&path, vec![0; 5000]).unwrap();
    assert_eq!(driver.probe(&at(&path)).unwrap(), Claim::No(Rejection::WrongFormat));
    std::fs::write(&path, vec![0; 3 << 20]).unwrap();
    assert_eq!(driver.probe(&at(&path)).unwrap(), Claim::No(Rejection::WrongFormat));
}

#[test]
fn names_that_lead_nowhere_are_missing() {
    let directory = tempfile::tempdir().unwrap();
    let env = environment(directory.path());
    std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
    std::fs::write(directory.path().join("file"), "text").unwrap();
    let drivers = ailurus_formats::drivers(&Arc::new(env), &Os::shared());
    // These have names of their own.
    let by_path = drivers.iter().filter(|driver| !["mbox", "mh", "news"].contains(&driver.name()));
    for driver in by_path {
        for name in ["loop", "none", "file/below", "loop/below", &"x".repeat(256)] {
            let claim = driver.probe(&at(&directory.path().join(name))).unwrap();
            assert_eq!(claim, Claim::No(Rejection::Missing), "{} {name}", driver.name());
        }
    }
}
