//! mix mailboxes that no program of ours or the reference's wrote: no panic, and whatever becomes of index, status or
//! metadata file, no message is lost.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_store::{Claim, Driver, Extent, Mailbox};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::*;

type Files = BTreeMap<String, Vec<u8>>;

fn sample(name: &str) -> Files {
    let entries = std::fs::read_dir(fixtures("mix").join(name)).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// A home with these files as the mailbox `box`, on a disk that does not wait for syncs.
fn with_files(files: &Files) -> Home {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("box")).unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join("box").join(name), content).unwrap();
    }
    let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
    Home::at(directory, disk, |_| {})
}

fn driver(home: &Home) -> Mix {
    Mix::new(home.environment.clone(), home.disk.clone())
}

/// Makes it look as if nothing had happened in the mailbox for a while.
fn age(home: &Home) {
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(NOW - 1000).unwrap());
    std::fs::File::open(home.path("box")).unwrap().set_modified(long_ago).unwrap();
}

/// What can be read; a message that cannot is told by its fault.
fn texts(mailbox: &mut dyn Mailbox) -> Vec<Result<Vec<u8>, String>> {
    let read = |number: u32, mailbox: &mut dyn Mailbox| {
        read_all(mailbox, uid(number), Extent::Whole, 1000).map_err(|error| reason(&error))
    };
    uids_of(mailbox).into_iter().map(|number| read(number, mailbox)).collect()
}

/// The messages of the sample.
fn wanted() -> Vec<Vec<u8>> {
    (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect()
}

/// Opens the mailbox, reads all, closes it, and does so again; then all messages must be there, each once.
fn check_nothing_lost(what: &str, home: &Home) {
    let (driver, at) = (driver(home), home.at_name("box"));
    driver.status(&at).unwrap_or_else(|error| panic!("{what}: {error}"));
    for _ in 0..2 {
        let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{what}: {error}"));
        texts(&mut *mailbox).into_iter().for_each(drop);
        // What the session had been told before the index was put right may contradict it now.
        drop(mailbox.checkpoint());
        drop(mailbox.close());
    }
    let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut found: Vec<_> = texts(&mut *mailbox)
        .into_iter()
        .map(|text| text.unwrap_or_else(|why| panic!("{what}: {why}")))
        .collect();
    let mut wanted = wanted();
    assert_eq!(found.len(), wanted.len(), "{what}: {found:?}");
    found.sort();
    wanted.sort();
    assert!(found == wanted, "{what}");
    let (_, new) = append_plain(&driver, &at, b"a: b\r\n\r\nc").unwrap().uids.unwrap();
    assert!(uids_of(&*mailbox).iter().all(|old| *old < new[0].get()), "{what}");
}

/// What else a session does, in whatever state the mailbox is; returns whether it opened.
fn exercise(home: &Home) -> bool {
    let (driver, at) = (driver(home), home.at_name("box"));
    driver.probe(&at).unwrap();
    driver.status(&at).ok();
    let Ok(mut mailbox) = open(&driver, &at) else { return false };
    for number in uids_of(&*mailbox) {
        for extent in [Extent::Whole, Extent::Header, Extent::Text] {
            read_all(&mut *mailbox, uid(number), extent, 1000).ok();
        }
    }
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &["kw"])));
    let some = uids_of(&*mailbox).into_iter().step_by(2).map(uid).collect();
    drop(expunge(&mut *mailbox, &some));
    append_plain(&driver, &at, b"Subject: x\r\n\r\n").ok();
    drop(mailbox.refresh());
    drop(mailbox.close());
    true
}

const PARTS: [&str; 3] = [".mixmeta", ".mixindex", ".mixstatus"];

#[test]
fn no_message_is_lost_wherever_a_file_is_cut_off() {
    let files = sample("03-flags-keywords");
    for part in PARTS {
        for len in 0..files[part].len() {
            let mut cut = files.clone();
            cut.get_mut(part).unwrap().truncate(len);
            check_nothing_lost(&format!("{part} cut to {len}"), &with_files(&cut));
        }
    }
}

#[test]
fn no_message_is_lost_whichever_bit_is_flipped() {
    let files = sample("03-flags-keywords");
    for part in PARTS {
        for at in 0..files[part].len() {
            let all = std::env::var_os("AILURUS_LONG").is_some();
            for bit in (0..8).filter(|bit| all || bit % 4 == at % 4) {
                let mut flipped = files.clone();
                flipped.get_mut(part).unwrap()[at] ^= 1 << bit;
                check_nothing_lost(&format!("{part}, octet {at}, bit {bit}"), &with_files(&flipped));
            }
        }
    }
}

/// Sectors that a disk has lost, or never wrote.
#[test]
fn no_message_is_lost_where_octets_became_nuls() {
    let files = sample("03-flags-keywords");
    for part in PARTS {
        let len = files[part].len();
        for start in (0..len).step_by(7) {
            for end in (start + 1..=len).step_by(41).chain([len]) {
                let mut holed = files.clone();
                holed.get_mut(part).unwrap()[start..end].fill(0);
                check_nothing_lost(&format!("{part}, NULs {start}..{end}"), &with_files(&holed));
            }
        }
    }
}

#[test]
fn a_lost_file_is_made_anew() {
    for part in PARTS {
        let mut files = sample("03-flags-keywords");
        files.remove(part);
        let home = with_files(&files);
        age(&home);
        assert_eq!(driver(&home).probe(&home.at_name("box")).unwrap(), Claim::Valid, "{part}");
        check_nothing_lost(part, &home);
        let mailbox = open(&driver(&home), &home.at_name("box")).unwrap();
        let snapshot = mailbox.snapshot();
        let kept_validity = i64::from(snapshot.uid_validity.get()) == NOW;
        assert_eq!(kept_validity, part != ".mixmeta", "{part}: the UID validity is a new one if it is lost");
        assert_eq!(uids_of(&*mailbox), [1, 2, 3, 4, 5], "{part}");
        let flagged = snapshot.messages[0].flags();
        assert_eq!(flagged.system.contains(SystemFlags::FLAGGED), part != ".mixstatus", "{part}");
        let names: Vec<_> = snapshot.keywords.named(flagged.keywords).map(|name| name.as_str()).collect();
        let wanted: &[&str] = match part {
            ".mixmeta" => &["lost0"],
            ".mixindex" => &["Work"],
            _ => &[],
        };
        assert_eq!(names, wanted, "{part}");
        let Some(said) = mailutil(&home, &["check", "box"]) else { continue };
        assert!(said.contains("5 total in box"), "{part}: {said}");
    }
}

/// Whoever deletes a mailbox removes its `.mixmeta` first: what is left is no lost mailbox.
#[test]
fn a_mailbox_that_is_being_deleted_does_not_come_back() {
    let mut files = sample("03-flags-keywords");
    files.remove(".mixmeta");
    let home = with_files(&files);
    assert_ne!(driver(&home).probe(&home.at_name("box")).unwrap(), Claim::Valid);
    home.put("box/.mixdeleted", b"");
    age(&home);
    assert_ne!(driver(&home).probe(&home.at_name("box")).unwrap(), Claim::Valid);
    driver(&home).create(&home.at_name("box")).unwrap();
    assert_eq!(open(&driver(&home), &home.at_name("box")).unwrap().snapshot().messages.len(), 0);
    let left = std::fs::read_dir(home.path("box")).unwrap().count();
    assert_eq!(left, 4, "nothing is left of the old one");
}

/// All three at once: the messages, and their UIDs, are in the data files.
#[test]
fn the_data_files_alone_give_the_mailbox_back() {
    let mut files = sample("03-flags-keywords");
    files.retain(|name, _| name.starts_with(".mix6"));
    files.insert(".mixindex".into(), vec![0; 300]);
    let home = with_files(&files);
    age(&home);
    check_nothing_lost("all lost", &home);
}

/// A damaged data file costs the messages in it that are damaged.
#[test]
fn other_messages_than_the_damaged_one_are_read() {
    let files = sample("03-flags-keywords");
    let data = ".mix67c2f6c0";
    let wanted = wanted();
    for at in 0..files[data].len() {
        let mut flipped = files.clone();
        flipped.get_mut(data).unwrap()[at] ^= 1 << (at % 8);
        let home = with_files(&flipped);
        let (driver, at_box) = (driver(&home), home.at_name("box"));
        for _ in 0..2 {
            let mut mailbox = open(&driver, &at_box).unwrap_or_else(|error| panic!("octet {at}: {error}"));
            let found = texts(&mut *mailbox);
            assert_eq!(found.len(), 4, "octet {at}");
            let good =
                found.iter().zip(&wanted).filter(|(found, wanted)| found.as_ref() == Ok(*wanted)).count();
            assert!(good >= 3, "octet {at}: {good}");
            drop(mailbox.checkpoint().unwrap());
            mailbox.close().unwrap();
        }
        assert_eq!(home.get(&format!("box/{data}")), flipped[data], "octet {at}");
    }
    for len in 0..files[data].len() {
        let mut cut = files.clone();
        cut.get_mut(data).unwrap().truncate(len);
        let home = with_files(&cut);
        let mut mailbox =
            open(&driver(&home), &home.at_name("box")).unwrap_or_else(|error| panic!("{len}: {error}"));
        for (found, wanted) in texts(&mut *mailbox).into_iter().zip(&wanted) {
            assert!(found.is_err() || wanted.starts_with(&found.unwrap()), "cut to {len}");
        }
        drop(mailbox);
        assert!(exercise(&home));
    }
}

/// Lines and fields that we do not know are kept whatever we write.
#[test]
fn what_we_do_not_know_survives_rewrites() {
    let mut files = sample("03-flags-keywords");
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let meta = text(".mixmeta") + "Xmeta of the future\r\n";
    let index = text(".mixindex").replacen("0000009a:", "0000009a:more:", 1) + "Xindex of the future\r\n";
    let status =
        text(".mixstatus").replacen(":67c2f6c7:", ":67c2f6c7:more:", 1) + "Xstatus of the future\r\n";
    for (name, content) in [(".mixmeta", meta), (".mixindex", index), (".mixstatus", status)] {
        files.insert(name.into(), content.into_bytes());
    }
    let home = with_files(&files);
    let (driver, at) = (driver(&home), home.at_name("box"));
    let mut mailbox = open(&driver, &at).unwrap();
    append_plain(&driver, &at, b"a: b\r\n\r\nc").unwrap();
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::DRAFT, &["kw"])).unwrap());
    drop(expunge(&mut *mailbox, &uids(&[3])).unwrap());
    append_plain(&driver, &at, b"a: b\r\n\r\nd").unwrap();
    mailbox.close().unwrap();
    let mailbox = open(&driver, &at).unwrap();
    assert_eq!(uids_of(&*mailbox), [1, 2, 4, 5, 6]);
    assert!(mailbox.snapshot().messages[3].flags().system.contains(SystemFlags::DRAFT));
    let text = |name: &str| String::from_utf8(home.get(&format!("box/{name}"))).unwrap();
    assert!(text(".mixmeta").ends_with("KWork $Forwarded kw\r\nXmeta of the future\r\n"));
    assert!(
        text(".mixindex").contains("0000009a:more:\r\n")
            && text(".mixindex").contains("\r\nXindex of the future\r\n")
    );
    assert!(
        text(".mixstatus").contains(":more:\r\n")
            && text(".mixstatus").contains("\r\nXstatus of the future\r\n")
    );
}

/// FIFOs, directories and links in the place of files.
#[test]
fn odd_files_do_not_block() {
    for name in [".mixmeta", ".mixindex", ".mixstatus", ".mix67c2f6c0"] {
        for kind in ["fifo", "directory", "loop"] {
            let home = with_files(&sample("03-flags-keywords"));
            let path = home.path("box").join(name);
            std::fs::remove_file(&path).unwrap();
            match kind {
                "fifo" => make_fifo(&path),
                "directory" => std::fs::create_dir(&path).unwrap(),
                _ => std::os::unix::fs::symlink(name, &path).unwrap(),
            }
            exercise(&home);
        }
    }
}

fn make_fifo(path: &Path) {
    let made = rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0);
    made.unwrap();
}

/// Files that could be a mailbox: pieces that look like records, or not.
fn looks_like_mix() -> impl Strategy<Value = Files> {
    let number = prop_oneof![4 => 0..6u64, 2 => 0..300u64, 1 => any::<u64>()];
    let index = (number.clone(), number.clone(), number.clone(), number.clone(), number.clone());
    let index = index.prop_map(|(uid, size, file, pos, header)| {
        format!(
            ":{uid:08x}:20250201123456+0200:{size:08x}:{:08x}:{pos:08x}:0000002d:{header:08x}:\r\n",
            file % 3
        )
    });
    let status = (number.clone(), number.clone(), number).prop_map(|(uid, keys, modseq)| {
        format!(":{uid:08x}:{keys:08x}:{:04x}:{modseq:08x}:\r\n", keys & 0x3f)
    });
    let junk = "[ -~\\x00\\r\\n]{0,30}";
    let line = prop_oneof![5 => index, 5 => status, 1 => junk, 1 => Just("S00000007\r\n".to_owned())];
    let file = prop::collection::vec(line, 0..6).prop_map(|lines| format!("S00000009\r\n{}", lines.concat()));
    let message = (1..6u32, 0..60usize, any::<bool>()).prop_map(|(uid, size, fits)| {
        let told = if fits { size } else { size * 3 };
        format!(
            ":msg:{uid:08x}:20250201123456+0200:{told:08x}:\r\n{}",
            "text\r\n\r\n".repeat(9).get(..size).unwrap()
        )
    });
    let data = prop::collection::vec(message, 0..5).prop_map(|messages| messages.concat());
    (file.clone(), file, data.clone(), data, 0..6u32).prop_map(|(index, status, one, two, last)| {
        let meta = format!("S00000009\r\nV00000009\r\nL{last:08x}\r\nN00000001\r\n");
        let files = [(".mixmeta", meta), (".mixindex", index), (".mixstatus", status)];
        let data = [(".mix00000001", one), (".mix00000002", two)];
        files.into_iter().chain(data).map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_files_do_no_harm(files in looks_like_mix()) {
        exercise(&with_files(&files));
    }

    #[test]
    fn samples_with_octets_changed_do_no_harm(
        sample_number in 0..6usize,
        noise in prop::collection::vec((0..5usize, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = ["02-appended", "03-flags-keywords", "04-expunged-one", "20-e-uid-beyond", "20-m-index-ext", "20-v-index-gap"];
        let mut files = sample(names[sample_number]);
        for (file, at, octet) in noise {
            let count = files.len();
            let content = files.values_mut().nth(file % count).unwrap();
            if !content.is_empty() {
                let at = at.index(content.len());
                content[at] = octet;
            }
        }
        exercise(&with_files(&files));
    }
}
