//! What mmdf format has of its own: MARKs in all places, messages without From_ line, octets that would be a MARK.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use ailurus_store::{AppendMeta, Claim, Driver, Error, Extent, Mailbox, Rejection};
use ailurus_types::{FlagChange, FlagOp, InternalDate, Keyword, SystemFlags, Uid, UidSet};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use support::paths::{append, at, environment, fixture, mmdf, open, read_all};

const MARK: &str = "\u{1}\u{1}\u{1}\u{1}\n";

/// Returns the text with MARKs where it says `^`.
fn marked(text: &str) -> Vec<u8> {
    text.replace('^', MARK).into_bytes()
}

fn deliver(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.lock().unwrap();
    file.write_all(&marked(text)).unwrap();
}

fn contents(mailbox: &mut dyn Mailbox) -> Vec<(u32, String)> {
    let messages = mailbox.snapshot().messages.clone();
    let content = |message: &ailurus_store::MessageInfo| {
        let whole = read_all(mailbox, message.uid(), Extent::Whole);
        let parts = [Extent::Header, Extent::Text].map(|part| read_all(mailbox, message.uid(), part));
        assert_eq!(whole.len(), message.rfc822_size() as usize);
        assert_eq!(whole, parts.concat());
        (message.uid().get(), String::from_utf8_lossy(&whole).into_owned())
    };
    messages.iter().map(content).collect()
}

/// Opens a file with this content, writes all of it anew, and opens it again; the messages stay what they were.
/// Returns them, and the file.
fn through_a_rewrite(content: &[u8]) -> (Vec<(u32, String)>, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    std::fs::write(&path, content).unwrap();
    let driver = mmdf(&environment(directory.path()));
    let mut mailbox = open(&driver, &path);
    let before = contents(mailbox.as_mut());
    let mut edit = mailbox.edit().unwrap();
    let change = FlagChange { op: FlagOp::Add, system: SystemFlags::DRAFT, keywords: Vec::new() };
    edit.store(&UidSet::all(), &change).unwrap();
    assert!(!edit.commit().unwrap().arrived);
    mailbox.close().unwrap();
    let file = std::fs::read(&path).unwrap();
    let mut mailbox = open(&driver, &path);
    assert_eq!(contents(mailbox.as_mut()), before);
    mailbox.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), file, "what we wrote is what we would write");
    (before, file)
}

fn texts(content: &[u8]) -> Vec<String> {
    through_a_rewrite(content).0.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn create_append_store_and_expunge_write_what_the_reference_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = mmdf(&environment(directory.path()));
    let wanted = |name: &str| String::from_utf8(std::fs::read(fixture(name)).unwrap()).unwrap();
    let found = || String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    driver.create(&at(&path)).unwrap();
    assert_eq!(found(), wanted("mmdf/01-created"));
    let date = |text: &str| Some(InternalDate::parse(text.as_bytes(), 0).unwrap());
    let deleted = SystemFlags::DELETED | SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT;
    for (names, system, internal_date) in [
        (&["m1"][..], SystemFlags::SEEN, date(" 1-Feb-2025 12:34:56 +0200")),
        (&["m2", "m3"], SystemFlags::NONE, None),
        (&["m4"], deleted, date(" 5-Mar-2024 01:02:03 -0830")),
    ] {
        let mut append = driver.append(&at(&path)).unwrap();
        for name in names {
            let text = std::fs::read(fixture(&format!("messages/{name}.eml"))).unwrap();
            let size = text.len() as u64;
            append.begin(AppendMeta { system, internal_date, size, ..AppendMeta::default() }).unwrap();
            append.write(&text).unwrap();
            append.end().unwrap();
        }
        assert!(append.commit().unwrap().uids.is_some());
    }
    // The reference adds an empty line to each message that has a last LF; and it wrote the pseudo message anew.
    let reference = wanted("mmdf/02-appended")
        .replace(&format!("\n\n{MARK}"), &format!("\n{MARK}"))
        .replace(
            "Date: 01 Mar 2025 12:00:00 +0000\nFrom: Mail",
            "Date: Sat, 1 Mar 2025 12:00:00 +0000 (UTC)\nFrom: Mail",
        )
        .replacen("Message-ID: <1740830400@mail.example.com>\n", "", 1);
    // m3 is all header: its empty line stays.
    let reference = reference.replace("X-UID: 3\n\u{1}", "X-UID: 3\n\n\u{1}");
    assert_eq!(found(), reference);

    std::fs::copy(fixture("mmdf/02-appended"), &path).unwrap();
    let mut mailbox = open(&driver, &path);
    for (uid, system, keyword) in [(1, SystemFlags::FLAGGED, "Work"), (2, SystemFlags::NONE, "$Forwarded")] {
        let mut edit = mailbox.edit().unwrap();
        let keywords = vec![Keyword::new(keyword.as_bytes()).unwrap()];
        let change = FlagChange { op: FlagOp::Add, system, keywords };
        edit.store(&Uid::new(uid).into_iter().collect(), &change).unwrap();
        assert!(!edit.commit().unwrap().flags.is_empty());
    }
    mailbox.close().unwrap();
    assert_eq!(found(), wanted("mmdf/03-flags-keywords"));
    let mut mailbox = open(&driver, &path);
    for (uids, left) in [("4", "mmdf/04-expunged-one"), ("1:4", "mmdf/05-expunged-all")] {
        let uids = if uids == "4" { Uid::new(4).into_iter().collect() } else { UidSet::all() };
        let mut edit = mailbox.edit().unwrap();
        edit.expunge(&uids).unwrap();
        assert!(!edit.commit().unwrap().expunged.is_empty());
        assert_eq!(found(), wanted(left));
    }
    mailbox.close().unwrap();
    assert_eq!(found(), wanted("mmdf/05-expunged-all"));
}

#[test]
fn only_a_mark_at_the_very_start_makes_a_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = mmdf(&environment(directory.path()));
    for (content, claim) in [
        ("^Subject: a\n\na\n^", Claim::Valid),
        ("^", Claim::Valid),
        ("", Claim::Empty),
        ("\n^Subject: a\n\na\n^", Claim::No(Rejection::WrongFormat)),
        ("\u{1}\u{1}\u{1}\u{1}\r\n", Claim::No(Rejection::WrongFormat)),
        ("\u{1}\u{1}\u{1}\u{1}", Claim::No(Rejection::WrongFormat)),
        ("From x@example.com Wed Dec  2 05:53:22 1992\n\n", Claim::No(Rejection::WrongFormat)),
    ] {
        std::fs::write(&path, marked(content)).unwrap();
        assert_eq!(driver.probe(&at(&path)).unwrap(), claim, "{content:?}");
    }
    let error = append(&driver, &path, b"a: b\r\n\r\nx\r\n", SystemFlags::NONE, &[]).unwrap_err();
    assert!(matches!(error, Error::WrongFormat { format: "mmdf", .. }));
}

#[test]
fn marks_divide_wherever_the_reference_sees_them() {
    let (one, four) = ("\u{1}", "\u{1}\u{1}\u{1}\u{1}");
    for (content, expected) in [
        ("^A: 1\n\none\n^^A: 2\n\ntwo\n^", &["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\ntwo\r\n"][..]),
        ("^A: 1\n\none\n^A: 2\n\ntwo\n^", &["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\ntwo\r\n"]),
        // At the end of a line of text, and of a header line, whose end is supplied.
        ("^A: 1\n\none^^A: 2^A: 3\n^", &["A: 1\r\n\r\none", "A: 2\r\n\r\n", "A: 3\r\n\r\n"]),
        // Too short a line for that.
        ("^A: 1\n\na^A: 2\n\n^", &["A: 1\r\n\r\na\u{1}\u{1}\u{1}\u{1}\r\nA: 2\r\n\r\n"]),
        ("^A: 1\n\nab^A: 2\n\n^", &["A: 1\r\n\r\nab", "A: 2\r\n\r\n"]),
        (&format!("^A: 1\n\n{one}^x\n^"), &["A: 1\r\n\r\n\u{1}\u{1}\u{1}\u{1}\u{1}\r\nx\r\n"]),
        (&format!("^A: 1\n\n{one}{one}^^x\n^"), &["A: 1\r\n\r\n\u{1}\u{1}", "x\r\n\r\n"]),
        // Nothing, and nothing but a start.
        ("^^^^", &["\r\n", "\r\n"]),
        ("^", &["\r\n"]),
        ("^A: 1\n\none\n^^", &["A: 1\r\n\r\none\r\n", "\r\n"]),
        // From_ lines matter behind a MARK only.
        (
            "^From x@y Wed Dec  2 05:53:22 1992\nA: 1\n\nFrom x@y Wed Dec  2 05:53:22 1992\n^",
            &["A: 1\r\n\r\nFrom x@y Wed Dec  2 05:53:22 1992\r\n"],
        ),
        ("^From nobody\nA: 1\n\n^", &["From nobody\r\nA: 1\r\n\r\n"]),
        // Cut off within.
        ("^A: 1\n\none\n^^A: 2\n\ntw", &["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\ntw\r\n"]),
        ("^A: 1\n\none\n^^A: 2", &["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\n"]),
        // Half a MARK, and a line that would be one with its LF.
        (&format!("^A: 1\n\none\n{one}{one}"), &["A: 1\r\n\r\none\r\n\u{1}\u{1}\r\n"]),
        (&format!("^A: 1\n\none\n{four}"), &["A: 1\r\n\r\none\r\n\u{1}\u{1}\u{1}\u{1}\r\n"]),
        (&format!("^{four}"), &["\u{1}\u{1}\u{1}\u{1}\r\n\r\n"]),
        (&format!("^A: {four}^A: 2\n\n^"), &["A: \u{1}\u{1}\u{1}\u{1}\r\n\r\n", "A: 2\r\n\r\n"]),
        // Lines that would be too short for their MARK without CRs.
        ("^A: 1\n\nx\r^^A: 2\n\n^", &["A: 1\r\n\r\nx", "A: 2\r\n\r\n"]),
        ("^A: 1\n\nx\ry^^A: 2\n\n^", &["A: 1\r\n\r\nxy", "A: 2\r\n\r\n"]),
        // A line that follows the MARK once the internal field is gone.
        (
            "^Status: O\nFrom x@y Wed Dec  2 05:53:22 1992\nA: 1\n\n^",
            &["From x@y Wed Dec  2 05:53:22 1992\r\nA: 1\r\n\r\n"],
        ),
    ] {
        assert_eq!(texts(&marked(content)), expected, "{content:?}");
    }
}

#[test]
fn a_rewrite_makes_no_mark_of_what_was_none() {
    let four = "\u{1}\u{1}\u{1}\u{1}";
    let text = format!(
        "^A: 1\r\nB: {four}\r\n\r\n{four}\r\nab{four}\r\na\u{1}\u{1}\r\u{1}\u{1}\n\r{four}\nend\r\n^"
    );
    let (messages, file) = through_a_rewrite(&marked(&text));
    assert_eq!(messages.len(), 1);
    let shown = format!("A: 1\r\nB: {four}\r\n\r\n{four}\r\nab{four}\r\na{four}\r\n{four}\r\nend\r\n");
    assert_eq!(messages[0].1, shown);
    let written = format!("\n\n{four}\r\nab{four}\r\na\u{1}\u{1}\r\u{1}\u{1}\n\r{four}\nend\n^");
    assert!(file.ends_with(&marked(&written)));
}

#[test]
fn a_message_without_a_from_line_has_the_files_time_and_gets_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    std::fs::write(&path, marked("^A: 1\n\none\n^^From x@y Wed Dec  2 05:53:22 1992\nA: 2\n\ntwo\n^"))
        .unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    OpenOptions::new().append(true).open(&path).unwrap().set_modified(time).unwrap();
    let driver = mmdf(&environment(directory.path()));
    let mut mailbox = open(&driver, &path);
    let dates: Vec<_> =
        mailbox.snapshot().messages.iter().map(|message| message.internal_date().to_string()).collect();
    assert_eq!(dates, [" 9-Sep-2001 01:46:40 +0000", " 2-Dec-1992 05:53:22 +0000"]);
    let lines = [1, 2].map(|uid| mailbox.envelope_line(Uid::new(uid).unwrap()).unwrap());
    assert_eq!(lines, [None, Some(b"From x@y Wed Dec  2 05:53:22 1992".to_vec())]);
    mailbox.close().unwrap();
    let file = std::fs::read_to_string(&path).unwrap();
    assert_eq!(file.matches("From ").count(), 1);
}

#[test]
fn deliveries_arrive_between_all_our_operations() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = mmdf(&environment(directory.path()));
    driver.create(&at(&path)).unwrap();
    let mut mailbox = open(&driver, &path);
    // The MARK that ends a message can start the next one, even if it is parsed later.
    for (number, text) in
        ["^A: 1\n\none\n^", "A: 2\n\ntwo\n^", "^A: 3\n\nthree^", "^A: 4\n\nfour\n^", "A: 5\n\nfive\n^"]
            .iter()
            .enumerate()
    {
        deliver(&path, text);
        assert!(mailbox.refresh().unwrap().arrived);
        assert_eq!(mailbox.snapshot().messages.len(), number + 1);
    }
    let mut edit = mailbox.edit().unwrap();
    edit.expunge(&Uid::new(1).into_iter().collect()).unwrap();
    deliver(&path, "^A: 6\n\nsix\n^");
    let changes = edit.commit().unwrap();
    assert!(changes.arrived);
    mailbox.close().unwrap();
    let found = contents(open(&driver, &path).as_mut());
    let wanted: Vec<(u32, String)> =
        [(2, "two\r\n"), (3, "three"), (4, "four\r\n"), (5, "five\r\n"), (6, "six\r\n")]
            .map(|(uid, text)| (uid, format!("A: {uid}\r\n\r\n{text}")))
            .into();
    assert_eq!(found, wanted);
    // A delivery that was cut off is closed before ours begins.
    deliver(&path, "^A: 7\n\nsev");
    append(&driver, &path, b"A: 8\r\n\r\neight\r\n", SystemFlags::NONE, &[]).unwrap();
    let found = contents(open(&driver, &path).as_mut());
    assert_eq!(found[5..], [(7, "A: 7\r\n\r\nsev\r\n".into()), (8, "A: 8\r\n\r\neight\r\n".into())]);
}

#[test]
fn what_is_appended_comes_back_but_for_0x01() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let driver = mmdf(&environment(directory.path()));
    std::fs::write(&path, "").unwrap();
    for (message, expected) in [
        ("A: 1\r\n\r\nFrom x@y Wed Dec  2 05:53:22 1992\r\n\r\n", None),
        ("A: 1\r\n\r\nno end", Some("A: 1\r\n\r\nno end\r\n")),
        ("A: 1\r\n", Some("A: 1\r\n\r\n")),
        ("A: 1\r\n\r\n\u{1}\u{1}\u{1}\u{1}\r\nx\u{1}y\r\n", Some("A: 1\r\n\r\n\r\nxy\r\n")),
        ("X-UID: 7\r\n\r\nx\r\n", Some("X-Original-X-UID: 7\r\n\r\nx\r\n")),
    ] {
        append(&driver, &path, message.as_bytes(), SystemFlags::NONE, &[]).unwrap();
        let found = contents(open(&driver, &path).as_mut());
        assert_eq!(found.last().unwrap().1, expected.unwrap_or(message));
    }
    // Also while another session has the mailbox.
    let mailbox = open(&driver, &path);
    let appended = append(&driver, &path, b"A: 1\r\n\r\nlast", SystemFlags::SEEN, &[]).unwrap();
    assert_eq!(appended.uids, None);
    drop(mailbox);
    assert_eq!(contents(open(&driver, &path).as_mut())[5], (6, "A: 1\r\n\r\nlast\r\n".into()));
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(MARK.as_bytes().to_vec()),
        1 => Just(b"\x01\x01\x01\x01\r\n".to_vec()),
        1 => Just(b"\x01\x01".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"x".to_vec()),
        1 => Just(b"From x@example.com Wed Dec  2 05:53:22 1992\n".to_vec()),
        1 => Just(b"X-IMAPbase: 5 6 a b\n".to_vec()),
        1 => Just(b"X-IMAP: 0000000005 0000000009 a b\n".to_vec()),
        1 => (0u32..12).prop_map(|uid| format!("X-UID: {uid}\n").into_bytes()),
        1 => Just(b"Status: RO\n".to_vec()),
        1 => Just(b"Subject: s\n".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"\0\0\0".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_file_is_read_and_rewritten_with_its_messages(rest in pieces()) {
        through_a_rewrite(&[MARK.as_bytes(), &rest].concat());
    }
}
