//! The reference's own mix mailboxes: what it says of them, and what it makes of them.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_store::{AppendMeta, Claim, Driver, Extent};
use ailurus_types::{FlagOp, SystemFlags};
use std::collections::BTreeMap;
use std::path::Path;
use support::*;

fn driver(home: &Home) -> Mix {
    Mix::new(home.environment.clone(), home.disk.clone())
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(directory: &Path) -> Files {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    });
    entries.collect()
}

fn put(home: &Home, files: &Files) {
    std::fs::create_dir(home.path("T")).unwrap();
    for (name, content) in files {
        std::fs::write(home.path("T").join(name), content).unwrap();
    }
}

/// Puts zeros in the place of sequences, which depend on who wrote how often.
fn masked(files: &Files) -> Vec<(String, String)> {
    let mask = |name: &str, content: &[u8]| {
        let mut text = String::new();
        for line in String::from_utf8_lossy(content).split_inclusive('\n') {
            if line.starts_with('S') && name != ".mixsortcache" {
                text.push_str("S0\r\n");
            } else if name == ".mixstatus" && line.len() >= 24 {
                text.push_str(&line[..24]);
                text.push_str("0:\r\n");
            } else {
                text.push_str(line);
            }
        }
        text
    };
    files.iter().map(|(name, content)| (name.clone(), mask(name, content))).collect()
}

/// What the reference refuses, loses or says, and we put right (see the module comment of `mix`): what is different from
/// its 20-a-ok, and what we tell.
struct Better {
    name: &'static str,
    keywords: &'static [&'static str],
    recent: &'static [usize],
    told: &'static [&'static str],
    /// Of `.mixindex`, `.mixmeta`, `.mixstatus`: which stay as they are.
    kept: [bool; 3],
}

const ALL: [bool; 3] = [true; 3];
const BETTER: &[Better] = &[
    Better { name: "20-d-unknown-meta", keywords: &[], recent: &[], told: &[], kept: ALL },
    Better {
        name: "20-g-missing-data",
        keywords: &[],
        recent: &[],
        told: &["Missing mix data file: ", "No mix message files found during expunge"],
        kept: ALL,
    },
    Better {
        name: "20-h-bad-status",
        keywords: &[],
        recent: &[2],
        told: &["Error in mix status file message record, fixing: :zzz:0010:60000001:"],
        kept: [true, true, false],
    },
    Better { name: "20-i-no-status-file", keywords: &[], recent: &[1, 2, 3], told: &[], kept: ALL },
    Better {
        name: "20-k-meta-no-crlf",
        keywords: &["keyword 0 foo", "keyword 1 bar"],
        recent: &[],
        told: &[],
        kept: [true, false, true],
    },
    Better { name: "20-n-unknown-index", keywords: &[], recent: &[], told: &[], kept: ALL },
    Better { name: "20-p-lf-only", keywords: &[], recent: &[], told: &[], kept: [true, false, true] },
    Better {
        name: "20-s-meta-kdbl",
        keywords: &["keyword 0 foo", "keyword 2 bar"],
        recent: &[],
        told: &[],
        kept: ALL,
    },
    Better {
        name: "20-u-index-backwards",
        keywords: &[],
        recent: &[],
        told: &["mix index backwards UID: 1, repaired"],
        kept: [false, true, true],
    },
];

fn check_better(better: &Better, path: &Path) {
    let name = better.name;
    let before = files(&path.with_extension(""));
    let home = Home::new();
    put(&home, &before);
    let (driver, at) = (driver(&home), home.at_name("T"));
    assert_eq!(driver.probe(&at).unwrap(), Claim::Valid, "{name}");
    let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut wanted: Vec<_> = better.keywords.iter().map(ToString::to_string).collect();
    for n in 1..=3 {
        let flags = if better.recent.contains(&n) { "r" } else { "" };
        let date = " 1-Feb-2025 12:34:56 +0200";
        wanted.push(format!("msg {n} uid={n} size=20 date=\"{date}\" flags={flags} uf=0"));
    }
    assert_eq!(show(&*mailbox), wanted, "{name}");
    for number in 1..=3 {
        let whole = read_all(&mut *mailbox, uid(number), Extent::Whole, 100);
        match whole {
            Ok(whole) => assert!(whole.ends_with(b"\r\n\r\nbody\r\n") && whole.len() == 20, "{name}"),
            Err(error) => assert_eq!(name, "20-g-missing-data", "{error}"),
        }
    }
    mailbox.close().unwrap();
    let told = home.notices();
    for text in better.told {
        assert!(told.iter().any(|told| told.starts_with(text)), "{name}: {text:?} is not in {told:?}");
    }
    let after = files(&home.path("T"));
    for (part, kept) in [".mixindex", ".mixmeta", ".mixstatus"].into_iter().zip(better.kept) {
        if let Some(before) = before.get(part) {
            assert_eq!(after.get(part) == Some(before), kept, "{name}: {part}");
        }
    }
    // Once mended it is the same again, and silent but for what stays missing.
    let again = open(&driver, &at).unwrap();
    let known = wanted.iter().map(|line| line.replace("flags=r", "flags="));
    let seen: Vec<_> = show(&*again).iter().map(|line| line.replace("flags=r", "flags=")).collect();
    assert_eq!(seen, known.collect::<Vec<_>>(), "{name}");
}

/// Compares one fixture with its `.expect`.
fn check(path: &Path) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let before = files(&path.with_extension(""));
    let expect = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let home = Home::new();
    put(&home, &before);
    let (driver, at) = (driver(&home), home.at_name("T"));
    assert_eq!(driver.probe(&at).unwrap(), Claim::Valid, "{name}");
    let outcome = open(&driver, &at);
    let mut told = home.notices();
    let mut mailbox = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    let wanted: Vec<_> =
        expect.lines().filter(|line| line.starts_with("msg") || line.starts_with("keyword")).collect();
    assert_eq!(show(&*mailbox), wanted, "{name}");
    let snapshot = mailbox.snapshot();
    let open_line = expect.lines().find(|line| line.starts_with("open ok")).unwrap();
    for fact in [
        format!("nmsgs={} ", snapshot.messages.len()),
        format!("recent={} ", snapshot.messages.iter().filter(|message| message.is_recent()).count()),
        format!("uidv={} ", snapshot.uid_validity),
        format!("uidlast={} ", snapshot.uid_next.unwrap().get() - 1),
        format!("kwd_create={}", u8::from(snapshot.permanent.new_keywords)),
    ] {
        assert!(format!("{open_line} ").contains(&fact), "{name}: {fact} is not in {open_line}");
    }
    drop(mailbox.checkpoint().unwrap());
    mailbox.close().unwrap();
    told.extend(home.notices());
    for line in expect.lines() {
        let Some((_, text)) = line.strip_prefix("log ").and_then(|log| log.split_once(": ")) else {
            continue;
        };
        if text != "Check completed" {
            assert!(told.iter().any(|told| told == text), "{name}: {text:?} is not in {told:?}");
        }
    }
    let after = path.with_extension("after");
    let after = if after.exists() { files(&after) } else { before };
    let now = files(&home.path("T"));
    if name == "20-v-index-gap" {
        return check_reclaimed(&now, &after);
    }
    assert_eq!(masked(&now), masked(&after), "{name}");
}

/// We copy messages to a new data file instead of sliding them in the old one, and let the record of a message that is
/// gone stay in the status file.
fn check_reclaimed(now: &Files, after: &Files) {
    let new = ".mix67c2f6c0";
    assert_eq!(now[new], after[".mix60000000"]);
    assert!(!now.contains_key(".mix60000000"));
    let index = String::from_utf8(after[".mixindex"].clone()).unwrap().replace(":60000000:", ":67c2f6c0:");
    assert_eq!(String::from_utf8(now[".mixindex"].clone()).unwrap()[11..], index[11..]);
}

#[test]
fn every_sample_is_seen_and_left_as_the_reference_does() {
    let (mut same, mut better) = (0, 0);
    for entry in std::fs::read_dir(fixtures("mix")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        // The mailbox that the reference made and cannot open.
        if path.extension().is_none_or(|extension| extension != "expect") || name.starts_with("31") {
            continue;
        }
        if let Some(found) = BETTER.iter().find(|better| better.name == name) {
            check_better(found, &path);
            better += 1;
        } else {
            check(&path);
            same += 1;
        }
    }
    assert_eq!((same, better), (14, BETTER.len()));
}

/// The mailboxes 02 to 07 are read octet by octet.
#[test]
fn messages_are_read_as_they_were_appended() {
    let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
    for name in ["02-appended", "03-flags-keywords", "06-appended-uidplus", "07-sortcache"] {
        let home = Home::new();
        put(&home, &files(&fixtures("mix").join(name)));
        let mut mailbox = open(&driver(&home), &home.at_name("T")).unwrap();
        for number in uids_of(&*mailbox) {
            let whole = read_all(&mut *mailbox, uid(number), Extent::Whole, 100).unwrap();
            let header = read_all(&mut *mailbox, uid(number), Extent::Header, 100).unwrap();
            let body = read_all(&mut *mailbox, uid(number), Extent::Text, 100).unwrap();
            assert!(texts.contains(&whole), "{name} {number}");
            assert_eq!([header, body].concat(), whole, "{name} {number}");
        }
        assert!(home.notices().is_empty(), "{name}");
    }
}

/// What the reference made with default keywords it cannot open: its K line has no end.
#[test]
fn the_references_mailboxes_with_default_keywords_open() {
    for name in ["30-default-keywords-created", "31-default-keywords-appended"] {
        let home = Home::new();
        put(&home, &files(&fixtures("mix").join(name)));
        let (driver, at) = (driver(&home), home.at_name("T"));
        append_31(&driver, &at);
        assert_eq!(show(&*open(&driver, &at).unwrap())[..2], ["keyword 0 foo", "keyword 1 bar"]);
        assert!(files(&home.path("T"))[".mixmeta"].ends_with(b"Kfoo bar\r\n"));
    }
}

/// The appends, flag changes and expunges that made 01 to 05.
#[test]
fn appends_flags_and_expunges_leave_what_the_reference_leaves() {
    let home = Home::new();
    let (driver, at) = (driver(&home), home.at_name("T"));
    driver.create(&at).unwrap();
    let same = |name: &str| {
        assert_eq!(masked(&files(&home.path("T"))), masked(&files(&fixtures("mix").join(name))), "{name}");
    };
    same("01-created");
    let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
    let all = SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT | SystemFlags::DELETED;
    let first = append(&driver, &at, &[(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &texts[0])]);
    assert_eq!(first.unwrap().uids.unwrap().1, [uid(1)]);
    let two = append(&driver, &at, &[(AppendMeta::default(), &texts[1]), (AppendMeta::default(), &texts[2])]);
    assert_eq!(two.unwrap().uids.unwrap().1, [uid(2), uid(3)]);
    append(&driver, &at, &[(meta(all, " 5-Mar-2024 01:02:03 -0830"), &texts[3])]).unwrap();
    same("02-appended");
    let mut mailbox = open(&driver, &at).unwrap();
    for (uid, keyword) in [(1, "Work"), (2, "$Forwarded")] {
        let flags = if uid == 1 { SystemFlags::FLAGGED } else { SystemFlags::NONE };
        drop(store(&mut *mailbox, &uids(&[uid]), &change(FlagOp::Add, flags, &[keyword])).unwrap());
    }
    same("03-flags-keywords");
    drop(expunge(&mut *mailbox, &uids(&[4])).unwrap());
    mailbox.close().unwrap();
    same("04-expunged-one");
    let mut mailbox = open(&driver, &at).unwrap();
    drop(expunge(&mut *mailbox, &uids(&[1, 2, 3])).unwrap());
    mailbox.close().unwrap();
    same("05-expunged-all");
    assert_eq!(open(&driver, &at).unwrap().snapshot().uid_next, Some(uid(5)));
}
