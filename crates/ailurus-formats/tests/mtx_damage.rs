//! mtx and tenex mailboxes, and the hidden files beside them, with octets missing or changed: never a panic, and never
//! is a damaged mailbox written.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mtx;
use ailurus_store::Extent;
use ailurus_testkit::faulty::NoSync;
use ailurus_types::{FlagOp, SystemFlags};
use std::sync::Arc;
use support::*;

const FORMATS: [&str; 2] = ["mtx", "tenex"];
const HIDDEN: &str = ".box.ailurus-uids";
const TEXTS: [&[u8]; 3] =
    [b"Subject: 1\r\n\r\none\r\n", b"Subject: 2\r\n\r\n", b"Subject: 3\r\n\r\nlast\r\n"];

fn driver(format: &str, home: &Home) -> Mtx {
    let (environment, disk) = (home.environment.clone(), home.disk.clone());
    if format == "mtx" { Mtx::new(environment, disk) } else { Mtx::tenex(environment, disk) }
}

/// A mailbox of three messages that were seen, one with a keyword of the hidden file.
fn home(format: &str) -> Home {
    let home = Home::with(Arc::new(NoSync), |_| {});
    let (driver, at) = (driver(format, &home), home.at_name("box"));
    ailurus_store::Driver::create(&driver, &at).unwrap();
    for text in TEXTS {
        append_plain(&driver, &at, text).unwrap();
    }
    let mut mailbox = open(&driver, &at).unwrap();
    drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::SEEN, &["Kept"])).unwrap());
    mailbox.close().unwrap();
    home
}

#[test]
fn a_file_that_was_cut_is_not_written() {
    for format in FORMATS {
        let home = home(format);
        let (whole, hidden) = (home.get("box"), home.get(HIDDEN));
        for length in 0..whole.len() {
            home.put("box", &whole[..length]);
            home.put(HIDDEN, &hidden);
            let opened = open(&driver(format, &home), &home.at_name("box"));
            assert_eq!(home.get("box"), whole[..length], "{format}, {length}");
            let Ok(mut mailbox) = opened else { continue };
            let numbers = uids_of(&*mailbox);
            assert_eq!(numbers, [1, 2, 3][..numbers.len()], "{format}, {length}");
            for (number, text) in numbers.iter().zip(TEXTS) {
                let is = read_all(&mut *mailbox, uid(*number), Extent::Whole, 99).unwrap();
                assert_eq!(is, text, "{format}, {length}");
            }
        }
    }
}

#[test]
fn a_file_with_a_flipped_bit_keeps_its_octets() {
    for format in FORMATS {
        let home = home(format);
        let (whole, hidden) = (home.get("box"), home.get(HIDDEN));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                home.put("box", &damaged);
                home.put(HIDDEN, &hidden);
                let opened = open(&driver(format, &home), &home.at_name("box"));
                let now = home.get("box");
                let Ok(mut mailbox) = opened else {
                    assert_eq!(now, damaged, "{format}, {at}, {bit}: a damaged file was written");
                    continue;
                };
                // The mark of a message that is not new may have been the bit.
                let others = now.iter().zip(&damaged).filter(|(now, before)| now != before).count();
                assert!(others <= 12 && now.len() == damaged.len(), "{format}, {at}, {bit}");
                for number in uids_of(&*mailbox) {
                    read_all(&mut *mailbox, uid(number), Extent::Whole, 99).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_damaged_hidden_file_costs_no_message() {
    for format in FORMATS {
        let home = home(format);
        let (whole, hidden) = (home.get("box"), home.get(HIDDEN));
        for at in 0..hidden.len() {
            for cut in [true, false] {
                let mut damaged = hidden.clone();
                if cut {
                    damaged.truncate(at)
                } else {
                    damaged[at] ^= 0x10
                }
                home.put(HIDDEN, &damaged);
                let mut mailbox = open(&driver(format, &home), &home.at_name("box"))
                    .unwrap_or_else(|error| panic!("{format}, {at}, {cut}: {error}"));
                let numbers = uids_of(&*mailbox);
                assert!(numbers.len() == 3 && numbers.is_sorted(), "{format}, {at}, {cut}: {numbers:?}");
                // What is cut off between two blocks looks as if it had never been written.
                let same = !cut && i64::from(mailbox.snapshot().uid_validity.get()) == NOW;
                assert!(!same || numbers == [1, 2, 3], "{format}, {at}, {cut}: {numbers:?}");
                for (number, text) in numbers.iter().zip(TEXTS) {
                    let is = read_all(&mut *mailbox, uid(*number), Extent::Whole, 99).unwrap();
                    assert_eq!(is, text, "{format}, {at}, {cut}");
                }
                mailbox.close().unwrap();
                assert_eq!(home.get("box"), whole, "{format}, {at}, {cut}");
            }
        }
    }
}
