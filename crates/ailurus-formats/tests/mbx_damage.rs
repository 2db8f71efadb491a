//! mbx files that no program of ours or the reference's wrote: no panic, and no write into what is damaged.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mbx;
use ailurus_store::{Driver, Extent, Mailbox};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use proptest::prelude::*;
use support::*;

/// Does all that a session does; returns whether the mailbox opened.
fn exercise(home: &Home) -> bool {
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    driver.probe(&at).unwrap();
    driver.status(&at).ok();
    let Ok(mut mailbox) = open(&driver, &at) else { return false };
    use_it(&mut *mailbox);
    append_plain(&driver, &at, b"Subject: x\r\n\r\n").ok();
    mailbox.refresh().ok();
    mailbox.close().ok();
    true
}

fn use_it(mailbox: &mut dyn Mailbox) {
    for number in uids_of(mailbox) {
        for extent in [Extent::Whole, Extent::Header, Extent::Text] {
            read_all(mailbox, uid(number), extent, 1000).unwrap();
        }
    }
    drop(store(mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &["kw"])).unwrap());
    let some = uids_of(mailbox).into_iter().step_by(2).map(uid).collect();
    drop(expunge(mailbox, &some).unwrap());
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().to_path_buf();
    Home::at(directory, ailurus_formats::disk::Os::shared(), |environment| environment.lock_dir = locks)
}

/// A file that could be a mailbox: pieces that look like lines, with sizes that fit or not.
fn looks_like_mbx() -> impl Strategy<Value = Vec<u8>> {
    let line = (any::<u32>(), any::<u16>(), any::<bool>(), 0..12u32, 0..60usize, any::<bool>());
    let line = line.prop_map(|(keywords, system, hidden, uid, size, fits)| {
        let system = system & 0x3f | if hidden { 0x8000 } else { 0 };
        let announced = if fits { size.max(1) } else { size * 7 };
        let mut octets =
            format!(" 1-Feb-2025 12:34:56 +0200,{announced};{keywords:08x}{system:04x}-{uid:08x}\r\n");
        octets.push_str(&"text\r\n of a message\r\n\r\n".repeat(4)[..size.max(1)]);
        octets.into_bytes()
    });
    let junk = prop::collection::vec(any::<u8>(), 0..80);
    let piece = prop_oneof![6 => line, 1 => junk, 1 => Just(vec![0; 40])];
    (prop::collection::vec(piece, 0..8), 0..12u32).prop_map(|(pieces, last)| {
        let mut content = fixture("mbx/01-created");
        content[15..23].copy_from_slice(format!("{last:08x}").as_bytes());
        content.extend(pieces.concat());
        content
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_behind_a_header_do_no_harm(content in looks_like_mbx()) {
        let home = home();
        home.put("box", &content);
        if !exercise(&home) {
            prop_assert!(home.get("box") == content, "a damaged file was written");
        }
    }

    #[test]
    fn any_header_does_no_harm(
        noise in prop::collection::vec((7..2048usize, any::<u8>()), 0..200),
        tail in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let home = home();
        let mut content = fixture("mbx/03-flags-keywords");
        for (at, octet) in noise {
            content[at] = octet;
        }
        content.extend(tail);
        home.put("box", &content);
        exercise(&home);
    }

    #[test]
    fn a_sample_with_octets_changed_does_no_harm(
        sample in 0..8usize,
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let samples = ["02-appended", "03-flags-keywords", "08-hidden-expunged-by-sharer", "20-b-kw-pid",
            "20-c-hidden-expunged", "20-d-uid-backwards", "20-g-truncated", "20-q-30kw"];
        let mut content = fixture(&format!("mbx/{}", samples[sample]));
        for (at, octet) in noise {
            let at = at.index(content.len());
            content[at] = octet;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let home = home();
        home.put("box", &content);
        if !exercise(&home) {
            prop_assert!(home.get("box") == content, "a damaged file was written");
        }
    }
}

/// An intent in the header that nobody of us wrote must not make us cut mail off.
#[test]
fn a_forged_intent_cuts_off_no_mail_that_the_reference_sees() {
    let content = fixture("mbx/03-flags-keywords");
    for start in [0u64, 2048, 2049, content.len() as u64, u64::MAX] {
        for end in [0, content.len() as u64, content.len() as u64 + 1, u64::MAX] {
            let home = home();
            let mut forged = content.clone();
            let text = format!("append {start:016x} {end:016x} {:016x} ", 7);
            forged[1600..1600 + text.len()].copy_from_slice(text.as_bytes());
            home.put("box", &forged);
            let driver = Mbx::new(home.environment.clone(), home.disk.clone());
            let mailbox = open(&driver, &home.at_name("box")).unwrap();
            assert_eq!(mailbox.snapshot().messages.len(), 4, "{start} {end}");
        }
    }
}

/// A disk that lost a page in the middle of good mail must not cost the mail behind it.
#[test]
fn a_page_of_nuls_costs_no_mail_behind_it() {
    let home = home();
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    driver.create(&at).unwrap();
    for n in 0..40u32 {
        let text = format!("Subject: {n}\r\n\r\n{}", "text of a message\r\n".repeat(1 + n as usize * 7 % 61));
        append_plain(&driver, &at, text.as_bytes()).unwrap();
        if n == 20 {
            // The later ones nobody has seen yet, but their senders were told that they are there.
            open(&driver, &at).unwrap().close().unwrap();
        }
    }
    let content = home.get("box");
    for unit in [512, 4096] {
        for start in (2048usize.next_multiple_of(unit)..content.len()).step_by(unit) {
            let mut damaged = content.clone();
            let end = (start + unit).min(content.len());
            damaged[start..end].fill(0);
            home.put("box", &damaged);
            let opened = open(&driver, &at).map(|mailbox| mailbox.close());
            append_plain(&driver, &at, b"Subject: x\r\n\r\n").ok();
            let now = home.get("box");
            // What was not damaged is still there, but for the flags of who was told; the end may have grown.
            let same = now.len() >= content.len() || end == content.len();
            assert!(same, "{start}: {} octets were cut off, opened: {opened:?}", content.len() - now.len());
        }
    }
}

/// Where only one message can be meant, the mailbox opens again, and what is left of the message is kept.
#[test]
fn what_is_left_of_a_message_without_its_line_is_kept() {
    let home = home();
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    driver.create(&at).unwrap();
    append_plain(&driver, &at, b"Subject: first\r\n\r\n").unwrap();
    let start = home.get("box").len();
    append_plain(&driver, &at, &b"text of a message\r\n".repeat(500)).unwrap();
    let mut content = home.get("box");
    content[start..4096].fill(0);
    home.put("box", &content);
    let before = driver.status(&at).unwrap();
    assert_eq!((before.messages, home.get("box") == content), (1, true), "who only looks changes nothing");
    let mut mailbox = open(&driver, &at).unwrap();
    assert_eq!(read_all(&mut *mailbox, uid(1), Extent::Whole, 99).unwrap(), b"Subject: first\r\n\r\n");
    mailbox.close().unwrap();
    assert_eq!(home.get("box").len(), start);
    assert!(home.get(".box.ailurus-journal.rest") == content[start..]);
    assert!(home.notices().iter().any(|text| text.contains("were put into")));
    let (_, uids) = append_plain(&driver, &at, b"Subject: new\r\n\r\n").unwrap().uids.unwrap();
    assert_eq!(uids, [uid(3)], "the UID of the lost message is not used again");
}
