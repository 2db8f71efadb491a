//! mix mailboxes that are damaged in every place: nothing panics or hangs, and what is in the data files stays there.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_store::Extent;
use ailurus_testkit::faulty::NoSync;
use std::sync::Arc;
use support::*;

const SAMPLE: &str = "mix/03-flags-keywords";
const DATA: &str = ".mix67c2f6c0";

/// Puts the sample with one file changed, opens it twice, reads all of it, and returns how many of its four messages were
/// read whole.
fn survive(part: &str, content: &[u8], what: &str) -> usize {
    let home = Home::with(Arc::new(NoSync), |_| {});
    std::fs::create_dir(home.path("T")).unwrap();
    for name in [".mixmeta", ".mixindex", ".mixstatus", DATA] {
        home.put(&format!("T/{name}"), &fixture(&format!("{SAMPLE}/{name}")));
    }
    home.put(&format!("T/{part}"), content);
    let driver = Mix::new(home.environment.clone(), home.disk.clone());
    let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
    let mut counts = [0; 2];
    for count in &mut counts {
        let Ok(mut mailbox) = open(&driver, &home.at_name("T")) else { continue };
        for number in uids_of(&*mailbox) {
            if let Ok(whole) = read_all(&mut *mailbox, uid(number), Extent::Whole, 1000) {
                *count += usize::from(texts.contains(&whole));
            }
        }
        mailbox.checkpoint().ok();
        mailbox.close().ok();
    }
    if part != DATA {
        // All octets are in some data file still.
        let all: Vec<u8> = std::fs::read_dir(home.path("T"))
            .unwrap()
            .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        for text in &texts {
            assert!(memchr_find(&all, text), "{what}: a message is lost");
        }
    }
    assert!(counts[0] <= counts[1], "{what}: {counts:?}");
    counts[1]
}

fn memchr_find(all: &[u8], text: &[u8]) -> bool {
    all.windows(text.len()).any(|window| window == text)
}

#[test]
fn a_file_that_is_cut_off_anywhere_loses_no_message() {
    for part in [".mixmeta", ".mixindex", ".mixstatus"] {
        let whole = fixture(&format!("{SAMPLE}/{part}"));
        for len in 0..whole.len() {
            // An index that ends with a record, or after its sequence, is what an expunge leaves; one that ends with a
            // record but for its line end is taken for such, though nothing is reclaimed under it.
            let is_expunge = part == ".mixindex" && len >= 9 && matches!((len - 9) % 77, 0..=2);
            let what = format!("{part} cut at {len}");
            if is_expunge && (len - 9) % 77 == 2 {
                continue;
            }
            let count = survive(part, &whole[..len], &what);
            assert!(count == 4 || is_expunge, "{what}: {count}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_loses_no_message() {
    for part in [".mixmeta", ".mixindex", ".mixstatus"] {
        let whole = fixture(&format!("{SAMPLE}/{part}"));
        for at in 0..whole.len() {
            for bit in [0, 3, 6] {
                let mut content = whole.clone();
                content[at] ^= 1 << bit;
                survive(part, &content, &format!("{part}, bit {bit} of byte {at}"));
            }
        }
    }
}

#[test]
fn a_data_file_that_is_cut_off_anywhere_is_survived() {
    let whole = fixture(&format!("{SAMPLE}/{DATA}"));
    for len in 0..whole.len() {
        survive(DATA, &whole[..len], &format!("data cut at {len}"));
    }
}

/// A home with the sample in which the first record of the index has lost its line end, so that the second is taken
/// for what follows its last field.
fn home_with_a_swallowed_record(by: &[u8]) -> Home {
    let home = Home::with(Arc::new(NoSync), |_| {});
    std::fs::create_dir(home.path("T")).unwrap();
    for name in [".mixmeta", ".mixindex", ".mixstatus", DATA] {
        home.put(&format!("T/{name}"), &fixture(&format!("{SAMPLE}/{name}")));
    }
    let mut index = fixture(&format!("{SAMPLE}/.mixindex"));
    let end = index.windows(3).skip(11).position(|octets| octets == b"\r\n:").unwrap() + 11;
    index[end..end + by.len()].copy_from_slice(by);
    home.put("T/.mixindex", &index);
    home
}

#[test]
fn a_record_that_another_swallowed_is_found_again() {
    for by in [&b"xx"[..], b"x", b"xxx", b"\r\r", b"\0\0"] {
        let home = home_with_a_swallowed_record(by);
        let driver = Mix::new(home.environment.clone(), home.disk.clone());
        let mut mailbox = open(&driver, &home.at_name("T")).unwrap();
        assert_eq!(uids_of(&*mailbox), [1, 2, 3, 4], "{by:?}");
        drop(expunge(&mut *mailbox, &uids(&[1])).unwrap());
        mailbox.close().unwrap();
        let mut mailbox = open(&driver, &home.at_name("T")).unwrap();
        assert_eq!(uids_of(&*mailbox), [2, 3, 4], "{by:?}");
        for number in 2..=4 {
            let text = read_all(&mut *mailbox, uid(number), Extent::Whole, 1000).unwrap();
            assert_eq!(text, fixture(&format!("messages/m{number}.eml")), "{by:?}");
        }
    }
}
