//! What is no mailbox yet.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Dummy;
use ailurus_store::{Access, Claim, Driver, Error, Manner, Rejection};
use ailurus_types::{FlagOp, SystemFlags};
use support::*;

fn driver(home: &Home) -> Dummy {
    Dummy::new(home.environment.clone(), home.disk.clone())
}

#[test]
fn an_absent_or_empty_inbox_opens_empty_and_a_full_one_does_not() {
    let home = Home::new();
    let (driver, inbox) = (driver(&home), home.at_name("INBOX"));
    for _ in 0..2 {
        assert_eq!(driver.probe(&inbox).unwrap(), Claim::Empty);
        let mut mailbox = open(&driver, &inbox).unwrap();
        let snapshot = mailbox.snapshot();
        assert!(snapshot.writable && snapshot.messages.is_empty());
        assert_eq!(i64::from(snapshot.uid_validity.get()), NOW);
        let all = ailurus_types::UidSet::all();
        assert!(store(&mut *mailbox, &all, &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap().is_empty());
        assert!(expunge(&mut *mailbox, &all).unwrap().is_empty());
        assert!(mailbox.wake().paths.contains(&home.path("spool")));
        home.put("spool", b"");
    }
    assert_eq!(driver.status(&inbox).unwrap().messages, 0);
    home.put("spool", b"something");
    let opened = driver.open(&inbox, Access::ReadWrite, Manner::Session);
    assert!(matches!(opened.err(), Some(Error::WrongFormat { .. })));
}

#[test]
fn a_file_of_no_octets_is_what_the_reference_says() {
    let expect = String::from_utf8(fixture("unix/08-zero-length.expect")).unwrap();
    assert!(expect.starts_with("valid box -> dummy\n") && expect.contains("rdonly=0 nmsgs=0 recent=0"));
    let home = Home::new();
    home.put("box", &fixture("unix/08-zero-length"));
    let mailbox = open(&driver(&home), &home.at_name("box")).unwrap();
    let snapshot = mailbox.snapshot();
    assert!(snapshot.writable && snapshot.messages.is_empty());
    assert!(expect.contains(&format!("uidv={} uidlast=0", snapshot.uid_validity)));
}

#[test]
fn files_and_directories_are_made_renamed_and_deleted() {
    let home = Home::new();
    let driver = driver(&home);
    for name in ["file", "dir/"] {
        driver.create(&home.at_name(name)).unwrap();
        assert!(matches!(driver.create(&home.at_name(name)), Err(Error::AlreadyExists(_))), "{name}");
    }
    assert_eq!(driver.probe(&home.at_name("file")).unwrap(), Claim::Empty);
    assert_eq!(driver.probe(&home.at_name("dir")).unwrap(), Claim::Valid);
    assert_eq!(driver.probe(&home.at_name("none")).unwrap(), Claim::No(Rejection::Missing));
    assert!(matches!(open(&driver, &home.at_name("dir")).err(), Some(Error::NotSelectable(_))));
    assert!(matches!(open(&driver, &home.at_name("none")).err(), Some(Error::NotFound(_))));
    assert!(open(&driver, &home.at_name("file")).is_ok());

    let taken = driver.rename(&home.at_name("file"), &home.at_name("dir"));
    assert!(matches!(taken, Err(Error::AlreadyExists(_))));
    driver.rename(&home.at_name("file"), &home.at_name("dir/file")).unwrap();
    assert!(matches!(driver.delete(&home.at_name("dir/")), Err(Error::NotEmpty(_))));
    driver.delete(&home.at_name("dir/file")).unwrap();
    driver.rename(&home.at_name("dir/"), &home.at_name("other/")).unwrap();
    driver.delete(&home.at_name("other")).unwrap();
    assert!(matches!(driver.delete(&home.at_name("other")), Err(Error::NotFound(_))));
    assert!(driver.create(&home.at_name("INBOX")).is_err());
    assert!(driver.delete(&home.at_name("INBOX")).is_err());
}

#[test]
fn an_append_is_for_the_store_to_give_to_another_driver() {
    let home = Home::new();
    let driver = driver(&home);
    let refused = driver.append(&home.at_name("x")).err().unwrap();
    assert_eq!(refused.to_string(), "Indeterminate mailbox format: x");
}
