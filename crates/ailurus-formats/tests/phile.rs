//! Any file as one message: the reference's transcript, and files that are too big or no files.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Phile;
use ailurus_store::{Access, Claim, Driver, Error, Extent, Manner, Rejection};
use std::time::{Duration, SystemTime};
use support::*;

fn driver(home: &Home) -> Phile {
    Phile::new(home.environment.clone(), home.disk.clone())
}

/// Puts a file there with the modification time of the transcript.
fn put(home: &Home, name: &str, content: &[u8], mtime: u64) {
    home.put(name, content);
    let file = std::fs::File::options().write(true).open(home.path(name)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime)).unwrap();
}

#[test]
fn the_transcript_of_the_reference() {
    let transcript = fixture("phile/transcript.txt");
    let transcript: String = transcript.iter().map(|octet| char::from(*octet)).collect();
    for part in transcript.split("> open ").skip(1) {
        let name = &part[..2];
        let home = Home::new();
        put(&home, name, &fixture(&format!("phile/{name}")), 1_704_070_800);
        let (driver, at) = (driver(&home), home.at_name(name));
        assert_eq!(driver.probe(&at).unwrap(), Claim::Valid);
        let mut mailbox = open(&driver, &at).unwrap();
        let snapshot = mailbox.snapshot();
        assert!(!snapshot.writable && !snapshot.sticky_uids);
        assert_eq!(snapshot.uid_validity.get(), 1_704_070_800);
        // The path of the scratch home is in the header.
        let size = snapshot.messages[0].rfc822_size();
        let longer = home.path("").as_os_str().len() - "/home/alice/".len();
        let shown = show(&*mailbox)[0]
            .replace(&format!("size={size}"), &format!("size={}", size - u32::try_from(longer).unwrap()));
        assert!(part.contains(&format!("={shown}\n")), "{shown}\n{part}");

        let latin = |octets: Vec<u8>| octets.iter().map(|octet| char::from(*octet)).collect::<String>();
        for most in [1, 7, 1 << 20] {
            let header = latin(read_all(&mut *mailbox, uid(1), Extent::Header, most).unwrap());
            let text = latin(read_all(&mut *mailbox, uid(1), Extent::Text, most).unwrap());
            let whole = latin(read_all(&mut *mailbox, uid(1), Extent::Whole, most).unwrap());
            assert_eq!(format!("{header}{text}"), whole);
            let path = home.path(name).display().to_string();
            let header = header.replace(&path, &format!("/home/alice/{name}"));
            for (what, got) in [("hdr", &header), ("text", &text)] {
                let wanted = format!("={what} {} [{}", got.chars().count(), got.replace("\r\n", "\n"));
                assert!(part.replace("\r\n", "\n").contains(&wanted), "{wanted:?} is not in {part:?}");
            }
        }
        let status = driver.status(&at).unwrap();
        assert_eq!((status.messages, status.recent, status.unseen), (1, 1, 1));
        assert_eq!(status.uid_next, Some(uid(2)));
    }
}

/// Samples that are mailboxes of no other format: the reference's driver, size and times.
#[test]
fn damaged_mailboxes_are_shown_as_the_reference_shows_them() {
    let mut tested = Vec::new();
    for format in ["unix", "mbx"] {
        for entry in std::fs::read_dir(fixtures(format)).unwrap() {
            let path = entry.unwrap().path();
            let expect = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            if path.extension().is_none_or(|kind| kind != "expect") || !expect.contains("driver=phile") {
                continue;
            }
            let number = |key: &str| -> u64 {
                let (_, rest) = expect.split_once(key).unwrap();
                rest.split_whitespace().next().unwrap().parse().unwrap()
            };
            let home = Home::new();
            put(&home, "T", &std::fs::read(path.with_extension("")).unwrap(), number(" uidv="));
            let drivers = ailurus_formats::drivers(&home.environment, &home.disk);
            let at = home.at_name("T");
            let claims = drivers.iter().find(|driver| driver.probe(&at).unwrap() == Claim::Valid);
            assert_eq!(claims.unwrap().name(), "phile");
            let mailbox = open(&driver(&home), &at).unwrap();
            let longer = home.path("").as_os_str().len() - "/home/alice/".len();
            let size = u64::from(mailbox.snapshot().messages[0].rfc822_size());
            assert_eq!(size, number(" size=") + longer as u64, "{}", path.display());
            assert_eq!(u64::from(mailbox.snapshot().uid_validity.get()), number(" uidv="));
            let date = format!("date=\"{}\"", mailbox.snapshot().messages[0].internal_date());
            assert!(expect.contains(&date), "{date}");
            tested.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    tested.sort_unstable();
    assert_eq!(tested, ["13-from-only-no-newline", "13-leading-spaces", "20-i-shortheader"]);
}

#[test]
fn what_is_read_has_the_size_announced_and_is_the_same_from_everywhere() {
    let text: Vec<u8> = b"line\nanother line\n\n\nx\n".repeat(30_000);
    let mut binary: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    for length in [1, 44, 45, 46, 90, 200_000] {
        binary.truncate(length.max(1));
        for content in [&text[..length], &binary[..]] {
            let home = Home::new();
            home.put("f", content);
            let mut mailbox = open(&driver(&home), &home.at_name("f")).unwrap();
            let whole = read_all(&mut *mailbox, uid(1), Extent::Whole, 1 << 20).unwrap();
            assert_eq!(whole.len(), mailbox.snapshot().messages[0].rfc822_size() as usize);
            assert!(whole.ends_with(b"\n") || content[length - 1] != b'\n');
            for from in [whole.len() - 1, whole.len() / 2, whole.len() / 3, 0, whole.len()] {
                let mut got = Vec::new();
                let most = 100;
                let read = mailbox.read(uid(1), Extent::Whole, from as u64, most, &mut got).unwrap();
                assert!(read > 0 || from == whole.len());
                assert_eq!(got, whole[from..from + read], "{length} {from}");
            }
        }
        binary = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    }
}

#[test]
fn a_sparse_file_of_a_terabyte_is_neither_read_nor_held() {
    let home = Home::new();
    let file = std::fs::File::create(home.path("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    let mut mailbox = open(&driver(&home), &home.at_name("huge")).unwrap();
    let mut out = Vec::new();
    mailbox.read(uid(1), Extent::Text, 1 << 39, 1000, &mut out).unwrap();
    assert!(!out.is_empty());
    // Shorter than announced: an error, not a message that silently ends.
    file.set_len(100).unwrap();
    assert!(mailbox.read(uid(1), Extent::Text, 1 << 39, 1000, &mut out).is_err());
}

#[test]
fn only_regular_files_with_content_are_taken() {
    let home = Home::new();
    let driver = driver(&home);
    home.put("empty", b"");
    std::fs::create_dir(home.path("dir")).unwrap();
    let mkfifo = std::process::Command::new("mkfifo").arg(home.path("fifo")).status().unwrap();
    assert!(mkfifo.success());
    for (name, why) in [
        ("empty", Rejection::WrongFormat),
        ("dir", Rejection::WrongFormat),
        ("fifo", Rejection::WrongFormat),
        ("missing", Rejection::Missing),
        ("INBOX", Rejection::BadName),
    ] {
        assert_eq!(driver.probe(&home.at_name(name)).unwrap(), Claim::No(why), "{name}");
    }
    // Would wait for a writer for ever if it were opened.
    let opened = driver.open(&home.at_name("fifo"), Access::ReadOnly, Manner::Session);
    assert!(matches!(opened.err(), Some(Error::NotSelectable(_))));
    let home = Home::with(home.disk, |environment| environment.empty_format = None);
    home.put("empty", b"");
    let driver = Phile::new(home.environment.clone(), home.disk.clone());
    assert_eq!(driver.probe(&home.at_name("empty")).unwrap(), Claim::Valid);
    let mut mailbox = open(&driver, &home.at_name("empty")).unwrap();
    assert_eq!(read_all(&mut *mailbox, uid(1), Extent::Text, 10).unwrap(), b"");
}

#[test]
fn a_line_end_in_a_name_does_not_end_the_header() {
    let home = Home::new();
    home.put("a\r\n\r\nEvil: b", b"text\n");
    let mut mailbox = open(&driver(&home), &home.at_name("a\r\n\r\nEvil: b")).unwrap();
    let header = read_all(&mut *mailbox, uid(1), Extent::Header, 100).unwrap();
    assert!(String::from_utf8(header).unwrap().contains("a????Evil: b\r\nMIME-Version"));
}
