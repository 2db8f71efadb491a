//! The mbox driver: INBOX is the file `mbox` in the mailbox directory (spec/formats-unix.md §9).
//!
//! It is unix format on that file, and has no other mailbox. It has INBOX, before any other driver, if the file is
//! there and of unix format or empty, and if the spool is of unix format, empty, or not there. New mail is moved by
//! [`crate::new_mail`], message by message; the reference copies the spool as it is, with the pseudo message and the UIDs
//! of another mailbox.
//!
//! The surroundings can say that there is no such INBOX ([`Environment::mbox_as_inbox`]), since mailx makes the file by itself: it is
//! then a mailbox like others.

use crate::disk::Disk;
use crate::unix::Unix;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Location, Mailbox, Manner, Mode, Place,
    Rejection, Result, Status,
};
use std::path::PathBuf;
use std::sync::Arc;

/// The driver of an INBOX in `~/mbox`.
#[derive(Debug)]
pub struct Mbox {
    environment: Arc<Environment>,
    unix: Unix,
}

impl Mbox {
    /// Returns the driver for the environment's user.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        let unix = Unix::new(environment.as_ref().clone(), disk);
        Self { environment, unix }
    }

    /// Returns the file, if the location is INBOX. Where users have no home of their own, or are locked into it, INBOX
    /// is a file there already.
    fn file(&self, at: &Location) -> Option<Location> {
        let Environment { mode, mbox_as_inbox, .. } = self.environment.as_ref();
        let serves = at.place == Place::Inbox && *mode == Mode::Open && *mbox_as_inbox;
        let path = self.environment.mailbox_dir.join("mbox");
        serves.then(|| Location { name: at.name.clone(), place: Place::Path(path) })
    }

    fn file_or(&self, at: &Location, refusal: &str) -> Result<Location> {
        self.file(at).ok_or_else(|| Error::Refused(format!("{refusal}: {}", at.name)))
    }
}

impl Driver for Mbox {
    fn name(&self) -> &'static str {
        "mbox"
    }

    fn abilities(&self) -> Abilities {
        self.unix.abilities()
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Some(file) = self.file(at) else { return Ok(Claim::No(Rejection::BadName)) };
        match self.unix.probe(&file)? {
            Claim::Valid | Claim::Empty => {}
            no => return Ok(no),
        }
        let spool = Location { name: at.name.clone(), place: Place::Path(self.environment.spool.clone()) };
        let can_be_moved = match self.unix.probe(&spool)? {
            Claim::Valid | Claim::Empty | Claim::No(Rejection::Missing) => true,
            Claim::No(_) => false,
        };
        Ok(if can_be_moved { Claim::Valid } else { Claim::No(Rejection::WrongFormat) })
    }

    fn create(&self, at: &Location) -> Result<()> {
        self.unix.create(&self.file_or(at, "Can't create non-INBOX name as mbox")?)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        self.unix.delete(&self.file_or(at, "Can't delete mailbox")?)
    }

    /// Renames the file, and makes a new one.
    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let file = self.file_or(from, "Can't rename mailbox")?;
        self.unix.rename(&file, to)?;
        self.unix.create(&file)
    }

    fn status(&self, at: &Location) -> Result<Status> {
        self.unix.status(&self.file_or(at, "Can't open this name")?)
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        self.unix.open(&self.file_or(at, "Can't open this name")?, access, manner)
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        self.unix.content_files(&self.file_or(at, "Can't open this name")?)
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        self.unix.append(&self.file_or(at, "Can't append to that name")?)
    }
}
