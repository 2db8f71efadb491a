//! New mail: moved from the spool to an INBOX that is another file (spec/storage-common.md §12, formats-unix.md §9).
//!
//! One mechanism for every format: [`NewMail::into_inbox_of`] wraps a driver, and its INBOX moves new mail to itself
//! when a read-write session opens it, and at each refresh at which the spool is another than before. No format
//! knows of the spool, and the spool may be of unix or of mmdf format.
//!
//! # A move
//!
//! 1. The spool is taken under session lock, dot-lock and flock, and stays so to the end. Somebody else has one of
//!    them: no word about it, and again at the next refresh.
//! 2. All messages go through one [`Append`] of the format, with flags, keywords, internal date and From_ line; the
//!    mailbox's own fields and the pseudo message do not. Nothing is in memory as a whole.
//! 3. A note is written and synced: the state of INBOX, and by what each message is known.
//! 4. The append is committed, which syncs INBOX; the note gets a mark.
//! 5. The messages are removed from the spool by its format's journaled rewrite. Nothing is left of the spool: mailx and
//!    biff see no mail, where the reference leaves a pseudo message of 550 octets. Only if that held a UID validity
//!    value which is not in the past does the pseudo message stay, lest the next mail get the same.
//! 6. The note is removed.
//!
//! # Whenever we die
//!
//! | we died | the next move |
//! |---|---|
//! | before 4 began | finds a note, and none of its messages in INBOX: begins anew |
//! | within 4 | searches INBOX, from the UID on that was next, for the messages of the note; those up to the last one that is there are only removed from the spool. What arrived in part is removed from INBOX |
//! | before 5 was done | finds the mark: the messages of the note are only removed from the spool, whatever became of them in INBOX |
//! | before 6 | finds no such messages in the spool |
//!
//! A user can have more than one INBOX: `#mhinbox` beside another, or a new one in the place of one that was renamed. The
//! note says which it is for, and whoever moves mail to another one looks into that first.
//!
//! A message is known by its length and two checksums over the octets that no format changes, in the spool by its
//! From_ line too; so a note can do no harm to other mail, however old it is.
//!
//! # Failures
//!
//! A disk that is full, a spool that is no mailbox, a message that INBOX will not have: the mail stays in the spool, the
//! session is told once and goes on, and after a minute it is tried again.

mod likeness;
mod mailbox;
mod note;
mod transfer;

use crate::disk::Disk;
use crate::unix::Unix;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, ListQuery, Listed, Location, Mailbox, Manner,
    Mode, Place, Result, Status, Subscription,
};
use ailurus_types::MailboxName;
use mailbox::Inbox;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What moves new mail, for one user.
pub struct NewMail {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
    // Of the spool, in the order in which they are asked.
    formats: [Unix; 2],
    // Of all INBOXes that mail is moved to.
    drivers: Mutex<Vec<Arc<dyn Driver>>>,
}

impl fmt::Debug for NewMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMail").field("environment", &self.environment).finish_non_exhaustive()
    }
}

impl NewMail {
    /// Returns it for the environment's user.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Arc<Self> {
        let env = || environment.as_ref().clone();
        let formats = [Unix::mmdf(env(), Arc::clone(&disk)), Unix::new(env(), Arc::clone(&disk))];
        Arc::new(Self { environment, disk, formats, drivers: Mutex::default() })
    }

    /// Wraps a driver, so that new mail is moved to its INBOX.
    #[must_use]
    pub fn into_inbox_of(self: &Arc<Self>, driver: Arc<dyn Driver>) -> Arc<dyn Driver> {
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&driver));
        Arc::new(WithNewMail { mover: Arc::clone(self), driver })
    }

    fn driver(&self, name: &str) -> Option<Arc<dyn Driver>> {
        let drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        drivers.iter().find(|driver| driver.name() == name).cloned()
    }

    /// Tells whether mail is moved to what is there. In other modes the spool is a mailbox of the user's like others.
    fn serves(&self, at: &Location) -> bool {
        let is_inbox = match at.place {
            Place::Inbox => true,
            Place::Special => at.name.as_bytes().eq_ignore_ascii_case(b"#mhinbox"),
            Place::Path(_) => false,
        };
        is_inbox && self.environment.mode == Mode::Open
    }
}

struct WithNewMail {
    mover: Arc<NewMail>,
    driver: Arc<dyn Driver>,
}

impl Driver for WithNewMail {
    fn name(&self) -> &'static str {
        self.driver.name()
    }

    fn abilities(&self) -> Abilities {
        self.driver.abilities()
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        self.driver.probe(at)
    }

    fn create(&self, at: &Location) -> Result<()> {
        self.driver.create(at)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        self.driver.delete(at)
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        self.driver.rename(from, to)
    }

    /// Counts mail in the spool as if it were moved already.
    fn status(&self, at: &Location) -> Result<Status> {
        let mut status = self.driver.status(at)?;
        if !self.mover.serves(at) {
            return Ok(status);
        }
        // What cannot be looked at cannot be moved now.
        if let Ok((messages, unseen)) = self.mover.count_waiting(&*self.driver, at) {
            status.messages = status.messages.saturating_add(messages);
            status.recent = status.recent.saturating_add(messages);
            status.unseen = status.unseen.saturating_add(unseen);
            for _ in 0..messages {
                status.uid_next = status.uid_next.and_then(ailurus_types::Uid::next);
            }
        }
        Ok(status)
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let inner = self.driver.open(at, access, manner)?;
        if manner == Manner::Silent || !self.mover.serves(at) || !inner.snapshot().writable {
            return Ok(inner);
        }
        let (mover, driver) = (Arc::clone(&self.mover), Arc::clone(&self.driver));
        Ok(Box::new(Inbox::open(inner, mover, driver, at.clone())?))
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        self.driver.content_files(at)
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        self.driver.append(at)
    }

    fn hides(&self, directory: &Path, entry: &OsStr) -> bool {
        self.driver.hides(directory, entry)
    }

    fn list(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        self.driver.list(query, found)
    }

    fn subscribe(&self, name: &MailboxName, subscription: Subscription) -> Result<bool> {
        self.driver.subscribe(name, subscription)
    }

    fn lsub(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        self.driver.lsub(query, found)
    }

    fn clear_leftovers(&self, at: &Location) -> Result<()> {
        self.driver.clear_leftovers(at)
    }

    fn stands_in(&self) -> bool {
        self.driver.stands_in()
    }

    fn has_files(&self) -> bool {
        self.driver.has_files()
    }
}
