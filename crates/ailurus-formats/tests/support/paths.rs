//! Mailboxes by their paths.

use super::{Frozen, NOW};
use ailurus_formats::Unix;
use ailurus_formats::disk::Os;
use ailurus_store::{AppendMeta, Appended, Driver, Environment, Extent, Location, Mailbox, Place, Result};
use ailurus_types::{Keyword, MailboxName, SystemFlags, Uid};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Returns the surroundings of the fixtures' user, all below `directory`.
pub fn environment(directory: &Path) -> Environment {
    let mut env = Environment::new("alice", directory.into(), directory.join("spool"), "mail.example.com");
    env.lock_dir = directory.join("locks");
    std::fs::create_dir_all(&env.lock_dir).unwrap();
    env.clock = Arc::new(Frozen { now: NOW, offset: 0 });
    super::index_all(&mut env);
    env.kiss_tries = 1;
    env.dot_lock_timeout = 20;
    env
}

pub fn unix(env: &Environment) -> Unix {
    Unix::new(env.clone(), Os::shared())
}

pub fn mmdf(env: &Environment) -> Unix {
    Unix::mmdf(env.clone(), Os::shared())
}

pub fn at(path: &Path) -> Location {
    Location { name: MailboxName::from("box"), place: Place::Path(path.into()) }
}

pub fn fixture(name: &str) -> PathBuf {
    super::fixtures(name)
}

pub fn open(driver: &dyn Driver, path: &Path) -> Box<dyn Mailbox> {
    super::open(driver, &at(path)).unwrap()
}

pub fn read_all(mailbox: &mut dyn Mailbox, uid: Uid, extent: Extent) -> Vec<u8> {
    super::read_all(mailbox, uid, extent, 1000).unwrap()
}

pub fn append(
    driver: &dyn Driver,
    path: &Path,
    message: &[u8],
    system: SystemFlags,
    keywords: &[&str],
) -> Result<Appended> {
    let keywords = keywords.iter().map(|word| Keyword::new(word.as_bytes()).unwrap()).collect();
    let meta = AppendMeta { system, keywords, ..AppendMeta::default() };
    super::append(driver, &at(path), &[(meta, message)])
}
