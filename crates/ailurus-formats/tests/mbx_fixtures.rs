//! The reference's own mbx mailboxes: what it says of them, and what it makes of them.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mbx;
use ailurus_store::{Access, AppendMeta, Claim, Driver, Extent, Manner};
use ailurus_types::{FlagOp, Keyword, SystemFlags};
use std::path::Path;
use support::*;

fn driver(home: &Home) -> Mbx {
    Mbx::new(home.environment.clone(), home.disk.clone())
}

/// LASTPID is another in every run.
fn masked(mut mailbox: Vec<u8>) -> Vec<u8> {
    if let Some(place) = mailbox.get_mut(2038..2048) {
        place.fill(0);
    }
    mailbox
}

/// Compares one fixture with its `.expect`; returns whether it opened.
fn check(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let content = std::fs::read(path.with_extension("")).unwrap();
    let expect = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let home = Home::new();
    home.put("T", &content);
    let (driver, at) = (driver(&home), home.at_name("T"));
    let opened = !expect.contains("open FAILED");
    if expect.contains("valid T -> phile") {
        assert!(matches!(driver.probe(&at).unwrap(), Claim::No(_)), "{name}");
        assert!(driver.open(&at, Access::ReadWrite, Manner::Session).is_err());
        return false;
    }
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
    assert_eq!(outcome.is_ok(), opened, "{name}");
    let Ok(mut mailbox) = outcome else {
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
        format!("kwd_create={}", u8::from(snapshot.permanent.new_keywords)),
    ] {
        assert!(format!("{open_line} ").contains(&fact), "{name}: {fact} is not in {open_line}");
    }
    drop(mailbox.checkpoint().unwrap());
    mailbox.close().unwrap();
    let after = path.with_extension("after");
    let after = if after.exists() { std::fs::read(after).unwrap() } else { content };
    assert_same(&masked(home.get("T")), &masked(after), name);
    true
}

#[test]
fn every_sample_is_seen_and_left_as_the_reference_does() {
    let mut counts = (0, 0);
    for entry in std::fs::read_dir(fixtures("mbx")).unwrap() {
        let path = entry.unwrap().path();
        let is_expect = path.extension().is_some_and(|extension| extension == "expect");
        // The file was changed once more after this was recorded: see below.
        if is_expect && !path.ends_with("31-default-keywords-appended.expect") {
            if check(&path) { counts.0 += 1 } else { counts.1 += 1 }
        }
    }
    assert_eq!(counts, (12, 9));
}

#[test]
fn a_new_mailbox_is_the_references_octet_by_octet() {
    let home = Home::new();
    driver(&home).create(&home.at_name("new")).unwrap();
    assert_eq!(home.get("new"), fixture("mbx/01-created"));
    let keywords = ["foo", "bar"].map(|name| Keyword::new(name.as_bytes()).unwrap());
    let home = Home::with(home.disk, |environment| environment.default_keywords = keywords.into());
    driver(&home).create(&home.at_name("new")).unwrap();
    assert_eq!(home.get("new"), fixture("mbx/30-default-keywords-created"));
    assert!(driver(&home).create(&home.at_name("new")).is_err());
}

/// The append and the flag change that made 31.
#[test]
fn default_keywords_are_used_as_the_reference_does() {
    let keywords = ["foo", "bar"].map(|name| Keyword::new(name.as_bytes()).unwrap());
    let home = Home::with(Home::new().disk, |environment| environment.default_keywords = keywords.into());
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    append_31(&driver, &at);
    let mut mailbox = open(&driver, &at).unwrap();
    assert_eq!(show(&*mailbox), expect_31("mbx"));
    drop(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &["foo"])).unwrap());
    mailbox.close().unwrap();
    assert_same(&masked(home.get("box")), &masked(fixture("mbx/31-default-keywords-appended")), "31");
}

/// The appends, flag changes and expunges that made 02 to 06.
#[test]
fn appends_flags_and_expunges_leave_what_the_reference_leaves() {
    let home = Home::new();
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
    // Without a date the reference writes the day of now with a zero, we always with a space.
    let all = SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT | SystemFlags::DELETED;
    let first = append(&driver, &at, &[(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &texts[0])]);
    assert_eq!(first.unwrap().uids.unwrap().1, [uid(1)]);
    let two = append(&driver, &at, &[(AppendMeta::default(), &texts[1]), (AppendMeta::default(), &texts[2])]);
    assert_eq!(two.unwrap().uids.unwrap().1, [uid(2), uid(3)]);
    append(&driver, &at, &[(meta(all, " 5-Mar-2024 01:02:03 -0830"), &texts[3])]).unwrap();
    let padded = |mailbox: Vec<u8>| {
        let text = String::from_utf8(masked(mailbox)).unwrap();
        text.replace("\r\n01-Mar-2025", "\r\n 1-Mar-2025").into_bytes()
    };
    assert_same(&padded(home.get("box")), &padded(fixture("mbx/06-appended-uidplus")), "box");

    let mut mailbox = open(&driver, &at).unwrap();
    for (uid, keyword) in [(1, "Work"), (2, "$Forwarded")] {
        let flags = if uid == 1 { SystemFlags::FLAGGED } else { SystemFlags::NONE };
        let changes = store(&mut *mailbox, &uids(&[uid]), &change(FlagOp::Add, flags, &[keyword])).unwrap();
        assert_eq!(changes.flags, uids(&[uid]));
        assert!(changes.keywords);
    }
    assert_same(&padded(home.get("box")), &padded(fixture("mbx/03-flags-keywords")), "box");
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
    assert_same(&padded(home.get("box")), &padded(fixture("mbx/04-expunged-one")), "box");
    let mut mailbox = open(&driver, &at).unwrap();
    drop(expunge(&mut *mailbox, &uids(&[1, 2, 3])).unwrap());
    mailbox.close().unwrap();
    assert_eq!(home.get("box").len(), fixture("mbx/05-expunged-all").len());
    assert_eq!(open(&driver, &at).unwrap().snapshot().uid_next, Some(uid(5)));
}
