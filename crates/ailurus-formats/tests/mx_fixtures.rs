//! The reference's own mx mailboxes: what it says of them, and what it makes of them.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::Mx;
use ailurus_store::{AppendMeta, Claim, Driver, Extent};
use ailurus_types::{FlagOp, InternalDate, Keyword, SystemFlags};
use session::{copy_fixture, set_times};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::*;

fn driver(home: &Home) -> Mx {
    Mx::new(home.environment.clone(), home.disk.clone())
}

/// Compares one fixture with its `.expect`.
fn check(expect: &Path) {
    let name = expect.file_stem().unwrap().to_str().unwrap();
    // The line is about the session that made the sample, before it set the other keyword, too.
    let text = fs::read_to_string(expect).unwrap().replace("flags=S uf=2", "flags=S uf=3");
    let home = Home::new();
    copy_fixture(&format!("mx/{name}"), &home.path("T"));
    for line in text.lines().filter(|line| line.starts_with("msg")) {
        let field = |name: &str| line.split(&format!("{name}=")).nth(1).unwrap();
        let uid = field("uid").split(' ').next().unwrap();
        let date = InternalDate::parse(field("date").split('"').nth(1).unwrap().as_bytes(), 0).unwrap();
        set_times(&home.path("T").join(uid), NOW, date.timestamp());
    }
    let before = content(&home.path("T"));
    let (driver, at) = (driver(&home), home.at_name("T"));
    assert_eq!(driver.probe(&at).unwrap(), Claim::Valid, "{name}");
    let mailbox = open(&driver, &at).unwrap();
    let wanted: Vec<_> =
        text.lines().filter(|line| line.starts_with("msg") || line.starts_with("keyword")).collect();
    assert_eq!(show(&*mailbox), wanted, "{name}");
    let snapshot = mailbox.snapshot();
    let open_line = text.lines().find(|line| line.starts_with("open ok")).unwrap();
    for fact in [
        format!("nmsgs={} ", snapshot.messages.len()),
        format!("recent={} ", snapshot.messages.iter().filter(|message| message.is_recent()).count()),
        format!("uidv={} ", snapshot.uid_validity),
        format!("uidlast={} ", snapshot.uid_next.unwrap().get() - 1),
        format!("kwd_create={}", u8::from(snapshot.permanent.new_keywords)),
    ] {
        assert!(format!("{open_line} ").contains(&fact), "{name}: {fact} is not in {open_line}");
    }
    mailbox.close().unwrap();
    assert_eq!(content(&home.path("T")), before, "{name}");
}

/// All files of a mailbox.
fn content(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// The mailbox is the same as a fixture, octet by octet.
#[track_caller]
fn assert_is(home: &Home, name: &str, fixture: &str) {
    let shown = |files: BTreeMap<String, Vec<u8>>| -> Vec<_> {
        files
            .into_iter()
            .map(|(name, octets)| (name, String::from_utf8_lossy(&octets).into_owned()))
            .collect()
    };
    assert_eq!(shown(content(&home.path(name))), shown(content(&fixtures("mx").join(fixture))), "{fixture}");
}

#[test]
fn every_sample_is_seen_and_left_as_the_reference_does() {
    let mut count = 0;
    for entry in fs::read_dir(fixtures("mx")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expect") {
            check(&path);
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

/// The appends, flag changes and expunges that made 01 to 06.
#[test]
fn appends_flags_and_expunges_leave_what_the_reference_leaves() {
    let home = Home::new();
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    assert_is(&home, "box", "01-created");
    let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
    let all = SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT | SystemFlags::DELETED;
    let mut log = Vec::new();
    let mut appended = |messages: &[(AppendMeta, &[u8])]| {
        let (validity, uids) = append(&driver, &at, messages).unwrap().uids.unwrap();
        let set = uids.iter().copied().collect::<ailurus_types::UidSet>();
        log.push(format!("*appenduid box {validity} {set}\n=append 1\n"));
    };
    appended(&[(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &texts[0])]);
    appended(&[(AppendMeta::default(), &texts[1]), (AppendMeta::default(), &texts[2])]);
    appended(&[(meta(all, " 5-Mar-2024 01:02:03 -0830"), &texts[3])]);
    assert_eq!(log.concat().into_bytes(), fixture("mx/06-appended-uidplus.log"));
    assert_is(&home, "box", "02-appended");
    assert_is(&home, "box", "06-appended-uidplus");

    let mut mailbox = open(&driver, &at).unwrap();
    for (uid, keyword) in [(1, "Work"), (2, "$Forwarded")] {
        let flags = if uid == 1 { SystemFlags::FLAGGED } else { SystemFlags::NONE };
        let changes = store(&mut *mailbox, &uids(&[uid]), &change(FlagOp::Add, flags, &[keyword])).unwrap();
        assert_eq!(changes.flags, uids(&[uid]));
        assert!(changes.keywords);
    }
    assert_is(&home, "box", "03-flags-keywords");
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
    assert_is(&home, "box", "04-expunged-one");
    drop(expunge(&mut *mailbox, &uids(&[1, 2, 3])).unwrap());
    assert_is(&home, "box", "05-expunged-all");
    assert_eq!(open(&driver, &at).unwrap().snapshot().uid_next, Some(uid(5)));
}

#[test]
fn default_keywords_are_given_to_new_mailboxes() {
    let keywords = ["foo", "bar"].map(|name| Keyword::new(name.as_bytes()).unwrap());
    let home = Home::with(ailurus_formats::disk::Os::shared(), |environment| {
        environment.default_keywords = keywords.into();
    });
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    assert_is(&home, "box", "30-default-keywords-created");
    let flagged = AppendMeta {
        keywords: vec![Keyword::new(b"BAR").unwrap()],
        ..meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200")
    };
    append(&driver, &at, &[(flagged, &fixture("messages/m3.eml"))]).unwrap();
    let mask = fs::read_to_string(home.path("box/.mxindex")).unwrap();
    assert_eq!(mask, "V67c2f6c0L00000001Kfoo\nKbar\nM00000001;00000002.0001");
}
