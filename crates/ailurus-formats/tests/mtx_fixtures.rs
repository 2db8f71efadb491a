//! The reference's own mtx and tenex mailboxes: what it says of them, and what it makes of them.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mtx;
use ailurus_store::{Access, AppendMeta, Claim, Driver, Extent, Manner};
use ailurus_types::{FlagOp, Keyword, SystemFlags};
use std::path::Path;
use support::*;

fn driver(home: &Home, format: &str) -> Mtx {
    let make = if format == "mtx" { Mtx::new } else { Mtx::tenex };
    make(home.environment.clone(), home.disk.clone())
}

fn configured() -> Vec<Keyword> {
    ["foo", "bar"].map(|name| Keyword::new(name.as_bytes()).unwrap()).into()
}

/// Compares one fixture with its `.expect`; returns whether it opened.
fn check(format: &str, path: &Path) -> bool {
    let name = format!("{format} {}", path.file_stem().unwrap().to_str().unwrap());
    let content = std::fs::read(path.with_extension("")).unwrap();
    let expect = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let home = Home::new();
    home.put("T", &content);
    let (driver, at) = (driver(&home, format), home.at_name("T"));
    assert_eq!(driver.probe(&at).unwrap(), Claim::Valid, "{name}");
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
            assert!(told.iter().any(|told| told == text), "{name}: {text:?} is not in {told:?}");
        }
    }
    assert_eq!(outcome.is_ok(), !expect.contains("open FAILED"), "{name}");
    let Ok(mut mailbox) = outcome else {
        // Where the reference gives up after it has marked some messages as old, we have written nothing.
        assert_eq!(home.get("T"), content, "{name}: a damaged file was written");
        return false;
    };
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
    ] {
        assert!(format!("{open_line} ").contains(&fact), "{name}: {fact} is not in {open_line}");
    }
    // What the reference has not: UIDs that stay, and other keywords than those that are configured.
    assert!(snapshot.sticky_uids && snapshot.permanent.new_keywords);
    drop(mailbox.checkpoint().unwrap());
    mailbox.close().unwrap();
    let after = path.with_extension("after");
    let after = if after.exists() { std::fs::read(after).unwrap() } else { content };
    assert_same(&home.get("T"), &after, &name);
    true
}

#[test]
fn every_sample_is_seen_and_left_as_the_reference_does() {
    for format in ["mtx", "tenex"] {
        let mut counts = (0, 0);
        for entry in std::fs::read_dir(fixtures(format)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "expect") {
                // This one is about the session that made it: see below.
                if path.file_stem().unwrap() == "31-default-keywords-appended" {
                    continue;
                }
                if check(format, &path) { counts.0 += 1 } else { counts.1 += 1 }
            }
        }
        assert_eq!(counts, (3, 3), "{format}");
    }
}

#[test]
fn configured_keywords_have_the_bits_of_their_places() {
    for format in ["mtx", "tenex"] {
        let home = Home::with(ailurus_formats::disk::Os::shared(), |environment| {
            environment.default_keywords = configured();
        });
        let (driver, at) = (driver(&home, format), home.at_name("box"));
        driver.create(&at).unwrap();
        assert_eq!(home.get("box"), fixture(&format!("{format}/30-default-keywords-created")));
        let keywords = configured()[1..].to_vec();
        let meta = AppendMeta { keywords, ..meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200") };
        append(&driver, &at, &[(meta, &fixture("messages/m3.eml"))]).unwrap();
        let mut mailbox = open(&driver, &at).unwrap();
        let expect =
            String::from_utf8(fixture(&format!("{format}/31-default-keywords-appended.expect"))).unwrap();
        assert_eq!(show(&*mailbox), expect.lines().skip(1).collect::<Vec<_>>());
        let foo = change(FlagOp::Add, SystemFlags::NONE, &["FOO"]);
        drop(store(&mut *mailbox, &uids(&[1]), &foo).unwrap());
        assert_same(&home.get("box"), &fixture(&format!("{format}/31-default-keywords-appended")), format);
    }
}

/// The appends, flag changes and expunges that made 02 to 05.
#[test]
fn appends_flags_and_expunges_leave_what_the_reference_leaves() {
    for format in ["mtx", "tenex"] {
        let home = Home::new();
        let (driver, at) = (driver(&home, format), home.at_name("box"));
        driver.create(&at).unwrap();
        assert_eq!(home.get("box"), fixture(&format!("{format}/01-created")));
        assert!(driver.create(&at).is_err());
        let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
        let all = SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT | SystemFlags::DELETED;
        let first =
            append(&driver, &at, &[(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &texts[0])]);
        assert_eq!(first.unwrap().uids.unwrap().1, [uid(1)]);
        let two = [(AppendMeta::default(), texts[1].as_slice()), (AppendMeta::default(), &texts[2])];
        assert_eq!(append(&driver, &at, &two).unwrap().uids.unwrap().1, [uid(2), uid(3)]);
        append(&driver, &at, &[(meta(all, " 5-Mar-2024 01:02:03 -0830"), &texts[3])]).unwrap();
        // Without a date the reference writes the day of now with a zero, we always with a space.
        let padded = |content: Vec<u8>| {
            let text = String::from_utf8(content).unwrap();
            text.replace("\n01-Mar-2025", "\n 1-Mar-2025").into_bytes()
        };
        assert_same(&home.get("box"), &padded(fixture(&format!("{format}/02-appended"))), format);

        let mut mailbox = open(&driver, &at).unwrap();
        for (number, keyword) in [(1, "Work"), (2, "$Forwarded")] {
            let flags = if number == 1 { SystemFlags::FLAGGED } else { SystemFlags::NONE };
            let changes =
                store(&mut *mailbox, &uids(&[number]), &change(FlagOp::Add, flags, &[keyword])).unwrap();
            assert_eq!(changes.flags, uids(&[number]));
            assert!(changes.keywords);
        }
        assert_same(&home.get("box"), &padded(fixture(&format!("{format}/03-flags-keywords"))), format);
        for (n, text) in texts.iter().enumerate() {
            let uid = uid(u32::try_from(n).unwrap() + 1);
            for most in [1, 3, 1000] {
                let whole = read_all(&mut *mailbox, uid, Extent::Whole, most).unwrap();
                let header = read_all(&mut *mailbox, uid, Extent::Header, most).unwrap();
                let body = read_all(&mut *mailbox, uid, Extent::Text, most).unwrap();
                assert_eq!(&whole, text);
                assert_eq!([header.clone(), body].concat(), *text);
                assert!(header.ends_with(b"\r\n\r\n"));
            }
        }
        drop(expunge(&mut *mailbox, &uids(&[4])).unwrap());
        mailbox.close().unwrap();
        assert_same(&home.get("box"), &padded(fixture(&format!("{format}/04-expunged-one"))), format);
        let mut mailbox = open(&driver, &at).unwrap();
        assert_eq!(mailbox.snapshot().keywords.len(), 2);
        assert!(mailbox.snapshot().messages[1].flags().keywords.has(1));
        drop(expunge(&mut *mailbox, &uids(&[1, 2, 3])).unwrap());
        mailbox.close().unwrap();
        assert_eq!(home.get("box"), fixture(&format!("{format}/05-expunged-all")));
        // The UIDs of messages that are gone are not given again.
        let at_inbox = driver.open(&at, Access::ReadWrite, Manner::Session).unwrap();
        assert_eq!(at_inbox.snapshot().uid_next, Some(uid(5)));
    }
}
