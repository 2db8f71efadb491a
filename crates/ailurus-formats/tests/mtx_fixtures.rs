//! The reference's own mtx and tenex mailboxes: what it says of them, and what it makes of them.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mtx;
use ailurus_store::{Access, AppendMeta, Claim, Driver, Extent, Manner};
use ailurus_types::{FlagOp, Keyword, SystemFlags};
use std::path::Path;
use support::*;

const FORMATS: [&str; 2] = ["mtx", "tenex"];

fn driver(format: &str, home: &Home) -> Mtx {
    let (environment, disk) = (home.environment.clone(), home.disk.clone());
    if format == "mtx" { Mtx::new(environment, disk) } else { Mtx::tenex(environment, disk) }
}

/// A home in which keywords are configured, if the reference was told of some too.
fn home_for(name: &str) -> Home {
    let names: &[&str] = if name.starts_with('3') { &["foo", "bar"] } else { &[] };
    let keywords: Vec<_> = names.iter().map(|name| Keyword::new(name.as_bytes()).unwrap()).collect();
    Home::with(ailurus_formats::disk::Os::shared(), |environment| {
        environment.default_keywords = keywords.into_iter().collect();
    })
}

/// Compares one fixture with its `.expect`; returns whether it opened.
fn check(format: &str, path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let what = &format!("{format}/{name}");
    let content = std::fs::read(path.with_extension("")).unwrap();
    let expect = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let home = home_for(name);
    home.put("T", &content);
    let (driver, at) = (driver(format, &home), home.at_name("T"));
    let opened = !expect.contains("open FAILED");
    assert!(!expect.contains("valid T ->") || expect.contains(&format!("valid T -> {format}")), "{what}");
    assert_eq!(driver.probe(&at).unwrap(), Claim::Valid, "{what}");
    let outcome = open(&driver, &at);
    let mut told = home.notices();
    if let Err(error) = &outcome {
        told.push(reason(error));
    }
    for line in expect.lines() {
        let Some((_, text)) = line.strip_prefix("log ").and_then(|log| log.split_once(": ")) else {
            continue;
        };
        if text != "Check completed" {
            assert!(told.iter().any(|told| told == text), "{what}: {text:?} is not in {told:?}");
        }
    }
    assert_eq!(outcome.is_ok(), opened, "{what}");
    let after = path.with_extension("after");
    let Ok(mut mailbox) = outcome else {
        // The reference marks the messages before the damage as old; we leave such a file alone.
        assert_eq!(home.get("T"), content, "{what}: a damaged file was written");
        return false;
    };
    let wanted: Vec<_> =
        expect.lines().filter(|line| line.starts_with("msg") || line.starts_with("keyword")).collect();
    assert_eq!(show(&*mailbox), wanted, "{what}");
    let snapshot = mailbox.snapshot();
    let open_line = expect.lines().find(|line| line.starts_with("open ok")).unwrap();
    for fact in [
        format!("driver={format} "),
        format!("nmsgs={} ", snapshot.messages.len()),
        format!("recent={} ", snapshot.messages.iter().filter(|message| message.is_recent()).count()),
        format!("uidv={} ", snapshot.uid_validity),
        format!("uidlast={} ", snapshot.uid_next.unwrap().get() - 1),
    ] {
        assert!(format!("{open_line} ").contains(&fact), "{what}: {fact} is not in {open_line}");
    }
    drop(mailbox.checkpoint().unwrap());
    mailbox.close().unwrap();
    if !name.starts_with('3') {
        // That sample is as it was before this open.
        let after = if after.exists() { std::fs::read(after).unwrap() } else { content };
        assert_same(&home.get("T"), &after, what);
    }
    true
}

#[test]
fn every_sample_is_seen_and_left_as_the_reference_does() {
    for format in FORMATS {
        let mut counts = (0, 0);
        for entry in std::fs::read_dir(fixtures(format)).unwrap() {
            let path = entry.unwrap().path();
            let is_expect = path.extension().is_some_and(|extension| extension == "expect");
            // The file was changed once more after this was recorded: see below.
            if is_expect && !path.ends_with("31-default-keywords-appended.expect") {
                if check(format, &path) { counts.0 += 1 } else { counts.1 += 1 }
            }
        }
        assert_eq!(counts, (3, 3), "{format}");
    }
}

#[test]
fn a_new_mailbox_is_an_empty_file() {
    for format in FORMATS {
        let home = Home::new();
        let (driver, at) = (driver(format, &home), home.at_name("new"));
        driver.create(&at).unwrap();
        assert_eq!(home.get("new"), fixture(&format!("{format}/01-created")));
        assert_eq!(driver.probe(&at).unwrap(), Claim::Empty);
        assert!(driver.create(&at).is_err());
    }
}

/// The append and the flag change that made 31.
#[test]
fn default_keywords_are_used_as_the_reference_does() {
    for format in FORMATS {
        let home = home_for("31");
        let (driver, at) = (driver(format, &home), home.at_name("box"));
        driver.create(&at).unwrap();
        append_31(&driver, &at);
        let mut mailbox = open(&driver, &at).unwrap();
        assert_eq!(show(&*mailbox), expect_31(format));
        drop(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &["foo"])).unwrap());
        mailbox.close().unwrap();
        assert_same(&home.get("box"), &fixture(&format!("{format}/31-default-keywords-appended")), format);
    }
}

/// The appends, flag changes and expunges that made 02 to 05.
#[test]
fn appends_flags_and_expunges_leave_what_the_reference_leaves() {
    for format in FORMATS {
        let home = Home::new();
        let (driver, at) = (driver(format, &home), home.at_name("box"));
        driver.create(&at).unwrap();
        let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
        let all = SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT | SystemFlags::DELETED;
        let first = [(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &texts[0][..])];
        assert_eq!(append(&driver, &at, &first).unwrap().uids.unwrap().1, [uid(1)]);
        let two = [(AppendMeta::default(), &texts[1][..]), (AppendMeta::default(), &texts[2])];
        assert_eq!(append(&driver, &at, &two).unwrap().uids.unwrap().1, [uid(2), uid(3)]);
        append(&driver, &at, &[(meta(all, " 5-Mar-2024 01:02:03 -0830"), &texts[3])]).unwrap();
        // Without a date the reference writes the day of now with a zero, we always with a space.
        let padded = |mailbox: Vec<u8>| {
            String::from_utf8(mailbox).unwrap().replace("\n01-Mar-2025", "\n 1-Mar-2025").into_bytes()
        };
        let sample = |name: &str| padded(fixture(&format!("{format}/{name}")));
        assert_same(&padded(home.get("box")), &sample("02-appended"), format);

        let mut mailbox = open(&driver, &at).unwrap();
        drop(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::FLAGGED, &[])).unwrap());
        assert_same(&padded(home.get("box")), &sample("03-flags-keywords"), format);
        // Of keywords that are not configured the file tells nothing.
        drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::NONE, &["Work"])).unwrap());
        assert_same(&padded(home.get("box")), &sample("03-flags-keywords"), format);
        for (n, text) in texts.iter().enumerate() {
            let uid = uid(u32::try_from(n).unwrap() + 1);
            for most in [1, 3, 1000] {
                let whole = read_all(&mut *mailbox, uid, Extent::Whole, most).unwrap();
                let header = read_all(&mut *mailbox, uid, Extent::Header, most).unwrap();
                let body = read_all(&mut *mailbox, uid, Extent::Text, most).unwrap();
                assert_same(&whole, text, format);
                assert_same(&[header.clone(), body].concat(), text, format);
                assert!(header.ends_with(b"\r\n\r\n"));
            }
        }
        drop(expunge(&mut *mailbox, &uids(&[4])).unwrap());
        mailbox.close().unwrap();
        assert_same(&padded(home.get("box")), &sample("04-expunged-one"), format);
        let mut mailbox = driver.open(&at, Access::ReadWrite, Manner::Session).unwrap();
        assert_eq!(mailbox.snapshot().messages[1].flags().keywords.0, 1, "the keyword stays");
        drop(expunge(&mut *mailbox, &uids(&[1, 2, 3])).unwrap());
        mailbox.close().unwrap();
        assert_eq!(home.get("box"), sample("05-expunged-all"));
        assert_eq!(open(&driver, &at).unwrap().snapshot().uid_next, Some(uid(5)));
    }
}
