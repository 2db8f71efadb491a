//! CREATE with USE (RFC 6154), and what becomes of uses.

use crate::doubles::Home;
use ailurus_store::{Error, Result};
use ailurus_types::{SpecialUse, SpecialUses};
use std::fs;

fn set(one: SpecialUse) -> SpecialUses {
    [one].into_iter().collect()
}

fn create(home: &Home, name: &str, one: SpecialUse) -> Result<()> {
    home.mailboxes.create_for(&name.into(), set(one))
}

fn uses(home: &Home) -> Vec<(String, SpecialUses)> {
    let uses = home.mailboxes.special_uses().unwrap().into_iter();
    uses.map(|(name, uses)| (String::from_utf8(name).unwrap(), uses)).collect()
}

#[test]
fn a_mailbox_that_cannot_have_its_use_is_never_there() {
    let home = Home::new();
    fs::create_dir(home.path(".mailboxuse")).unwrap();
    assert!(create(&home, "dir/box", SpecialUse::Sent).is_err());
    // Not for a moment either, in which mail could come: the directory above it would still be there.
    assert!(!home.path("dir").exists());
}

#[test]
fn one_that_is_there_keeps_its_use() {
    let home = Home::new();
    create(&home, "box", SpecialUse::Sent).unwrap();
    let again = create(&home, "box", SpecialUse::Drafts);
    assert!(matches!(again, Err(Error::AlreadyExists(name)) if name.as_bytes() == b"box"));
    let again = create(&home, "#driver.mbx/box", SpecialUse::Drafts);
    assert!(matches!(again, Err(Error::AlreadyExists(_))));
    assert!(create(&home, "box/below", SpecialUse::Trash).is_err());
    assert!(create(&home, "INBOX", SpecialUse::Junk).is_err());
    assert_eq!(uses(&home), [("box".into(), set(SpecialUse::Sent))]);
    assert_eq!(fs::read(home.path(".mailboxuse")).unwrap(), b"\\Sent\tbox\n");
}

#[test]
fn a_name_with_a_format_is_that_without() {
    let home = Home::new();
    create(&home, "#driver.mbx/box", SpecialUse::Sent).unwrap();
    assert_eq!(fs::read(home.path("box")).unwrap(), b"mbx\n");
    assert_eq!(uses(&home), [("box".into(), set(SpecialUse::Sent))]);
    home.mailboxes.rename(&"box".into(), &"other".into()).unwrap();
    assert_eq!(uses(&home), [("other".into(), set(SpecialUse::Sent))]);
    home.mailboxes.delete(&"other".into()).unwrap();
    assert_eq!(uses(&home), []);
    assert_eq!(fs::read(home.path(".mailboxuse")).unwrap(), b"");
}

#[test]
fn what_others_took_away_leaves_no_use_to_a_namesake() {
    let home = Home::new();
    create(&home, "box", SpecialUse::Sent).unwrap();
    create(&home, "second", SpecialUse::Drafts).unwrap();
    fs::remove_file(home.path("box")).unwrap();
    home.create("box").unwrap();
    assert_eq!(uses(&home), [("second".into(), set(SpecialUse::Drafts))]);
    create(&home, "third", SpecialUse::Sent).unwrap();
    fs::remove_file(home.path("third")).unwrap();
    home.mailboxes.rename(&"second".into(), &"third".into()).unwrap();
    assert_eq!(uses(&home), [("third".into(), set(SpecialUse::Drafts))]);
}
