//! What the tests of the formats share.
#![allow(dead_code, reason = "each test uses a part of it")]

use ailurus_formats::Unix;
use ailurus_formats::disk::Os;
use ailurus_store::{
    Access, AppendMeta, Appended, Clock, Driver, Environment, Extent, Location, Mailbox, Manner, Place,
};
use ailurus_types::{Keyword, MailboxName, SystemFlags, Uid};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The time at which the fixtures were made.
pub(crate) const NOW: i64 = 1_740_830_400;

#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) now: i64,
    pub(crate) offset: i16,
}

impl Clock for Frozen {
    fn now(&self) -> i64 {
        self.now
    }
    fn local_offset(&self) -> i16 {
        self.offset
    }
}

/// Returns the surroundings of the fixtures' user, all below `directory`.
pub(crate) fn environment(directory: &Path) -> Environment {
    let mut env = Environment::new("alice", directory.into(), directory.join("spool"), "mail.example.com");
    env.lock_dir = directory.join("locks");
    std::fs::create_dir_all(&env.lock_dir).unwrap();
    env.clock = Arc::new(Frozen { now: NOW, offset: 0 });
    env.kiss_tries = 1;
    env.dot_lock_timeout = 20;
    env
}

pub(crate) fn unix(env: &Environment) -> Unix {
    Unix::new(env.clone(), Os::shared())
}

pub(crate) fn at(path: &Path) -> Location {
    Location { name: MailboxName::from("box"), place: Place::Path(path.into()) }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

pub(crate) fn open(driver: &dyn Driver, path: &Path) -> Box<dyn Mailbox> {
    driver.open(&at(path), Access::ReadWrite, Manner::Session).unwrap()
}

pub(crate) fn read_all(mailbox: &mut dyn Mailbox, uid: Uid, extent: Extent) -> Vec<u8> {
    let mut out = Vec::new();
    while mailbox.read(uid, extent, out.len() as u64, 1000, &mut out).unwrap() > 0 {}
    out
}

pub(crate) fn append(
    driver: &dyn Driver,
    path: &Path,
    message: &[u8],
    system: SystemFlags,
    keywords: &[&str],
) -> ailurus_store::Result<Appended> {
    let mut append = driver.append(&at(path))?;
    append.begin(AppendMeta {
        system,
        keywords: keywords.iter().map(|word| Keyword::new(word.as_bytes()).unwrap()).collect(),
        size: message.len() as u64,
        ..AppendMeta::default()
    })?;
    for piece in message.chunks(7) {
        append.write(piece)?;
    }
    append.end()?;
    append.commit()
}
