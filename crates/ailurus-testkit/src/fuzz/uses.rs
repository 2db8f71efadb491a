//! What `.mailboxuse` may hold.

use crate::faulty::NoSync;
use ailurus_formats::disk::Disk;
use ailurus_store::{Environment, Mailboxes};
use ailurus_types::SpecialUse;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The longest line that means anything.
const MAX_LINE: usize = 1022;

/// Takes the input for the file of special uses. Only what is there has a use; a mailbox that is made for one and deleted again
/// takes the lines about its name with it, and no others.
pub fn special_uses(input: &[u8]) {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join(".mailboxuse");
    fs::write(&file, input).expect("the file is ours");
    fs::write(home.path().join("box"), "").expect("the file is ours");
    let mailboxes = mailboxes(home.path());
    let uses = mailboxes.special_uses().expect("the file can be read");
    assert!(uses.keys().all(|name| mailboxes.has_name(name)), "{uses:?}");
    // What is written is synced, and takes its time.
    if !input.len().is_multiple_of(8) {
        return;
    }
    let made = mailboxes.create_for(&"made".into(), [SpecialUse::Sent].into_iter().collect());
    made.expect("there is none of this name");
    let uses = mailboxes.special_uses().expect("the file can be read");
    let only_much = lines(input).count() >= 1000;
    assert!(only_much || uses.get(&b"made"[..]).is_some_and(|uses| uses.contains(SpecialUse::Sent)));
    mailboxes.delete(&"made".into()).expect("it is there");
    let expected: Vec<u8> = lines(input).filter(|line| !is_about_made(line)).collect::<Vec<_>>().concat();
    assert_eq!(fs::read(&file).expect("it is there"), expected);
    assert_eq!(fs::read_dir(home.path()).expect("the directory is ours").count(), 2);
}

fn mailboxes(home: &Path) -> Mailboxes {
    let environment = Environment::new("alice", home.into(), home.join("none"), "mail.example.com");
    let (environment, disk): (_, Arc<dyn Disk>) = (Arc::new(environment), Arc::new(NoSync));
    let drivers = ailurus_formats::drivers(&environment, &disk);
    Mailboxes::new(environment, drivers)
}

/// Returns the lines with their ends, which the last one gets when something is added behind it.
fn lines(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lines = text.split_inclusive(|octet| *octet == b'\n');
    lines.map(|line| [line.strip_suffix(b"\n").unwrap_or(line), b"\n"].concat())
}

fn is_about_made(line: &[u8]) -> bool {
    let line = &line[..line.len() - 1];
    let Some(tab) = line.iter().position(|octet| *octet == b'\t') else { return false };
    let is_known = |word: &[u8]| SpecialUse::named(word).is_some();
    line.len() <= MAX_LINE
        && &line[tab + 1..] == b"made"
        && line[..tab].split(|octet| *octet == b' ').any(is_known)
}
