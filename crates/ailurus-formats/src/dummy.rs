//! The dummy format: files and directories that are no mailbox yet, and an INBOX that is not there.
//!
//! An absent or empty INBOX and files of no octets open as an empty mailbox that looks read-write, since the first
//! message may make a real one of them at any moment. This driver does not know the others, so it cannot see that
//! happen: the store wraps its mailboxes, asks the real drivers again whenever the session refreshes, and replaces
//! the mailbox by the real one. Likewise it is the store that gives an append to the driver of new mailboxes.

use crate::disk::Disk;
use crate::files::{self, failure, invalid, unclaimed};
use ailurus_store::{
    Abilities, Access, Append, Changes, Claim, Driver, Edit, Environment, Error, Extent, Location, Mailbox,
    Manner, PermanentFlags, Place, Rejection, Result, Snapshot, Status, Wake,
};
use ailurus_types::{FlagChange, Keyword, Keywords, SystemFlags, Uid, UidSet, UidValidity};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The driver of what is no mailbox.
#[derive(Clone, Debug)]
pub struct Dummy {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
}

impl Dummy {
    /// Returns the driver for one user's files.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk }
    }

    fn path<'a>(&'a self, at: &'a Location) -> Result<&'a Path> {
        match &at.place {
            Place::Inbox => Ok(&self.environment.spool),
            Place::Path(path) => Ok(path),
            Place::Special => Err(invalid(at, "Can't open this name")),
        }
    }

    fn uid_validity(&self) -> UidValidity {
        UidValidity::new(files::next_validity(&self.environment, 0)).unwrap_or(UidValidity::MIN)
    }

    /// An error unless there is nothing at the location that could be mail.
    fn check_empty(&self, at: &Location) -> Result<PathBuf> {
        let path = self.path(at)?;
        match path.metadata() {
            Ok(meta) if meta.is_file() && meta.len() == 0 => Ok(path.into()),
            Ok(meta) if meta.is_file() => Err(Error::WrongFormat { format: "valid", path: path.into() }),
            Ok(_) => Err(Error::NotSelectable(at.name.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {
                Ok(path.into())
            }
            Err(error) => Err(failure("open", at, path)(error)),
        }
    }
}

impl Driver for Dummy {
    fn name(&self) -> &'static str {
        "dummy"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Claims directories and any regular file, for DELETE and RENAME; opening is another matter.
    fn probe(&self, at: &Location) -> Result<Claim> {
        let Ok(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        match path.metadata() {
            Ok(meta) if meta.is_file() && meta.len() == 0 => Ok(Claim::Empty),
            Ok(meta) if meta.is_file() || meta.is_dir() => Ok(Claim::Valid),
            Ok(_) => Ok(Claim::No(Rejection::WrongFormat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {
                Ok(Claim::Empty)
            }
            Err(error) => unclaimed("look at", path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        files::create(&self.environment, &*self.disk, at)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        files::delete(&*self.disk, at)
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        files::rename(&*self.disk, from, to)
    }

    fn status(&self, at: &Location) -> Result<Status> {
        self.check_empty(at)?;
        let uid_validity = self.uid_validity();
        Ok(Status { messages: 0, recent: 0, unseen: 0, uid_next: Some(Uid::MIN), uid_validity })
    }

    fn open(&self, at: &Location, access: Access, _manner: Manner) -> Result<Box<dyn Mailbox>> {
        let path = self.check_empty(at)?;
        let writable = access == Access::ReadWrite;
        let system = if writable { SystemFlags::ALL } else { SystemFlags::NONE };
        let snapshot = Snapshot {
            uid_validity: self.uid_validity(),
            uid_next: Some(Uid::MIN),
            keywords: Keywords::default(),
            permanent: PermanentFlags { system, ..PermanentFlags::default() },
            writable,
            sticky_uids: true,
            messages: Vec::new(),
        };
        Ok(Box::new(DummyMailbox { path, snapshot }))
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        Err(Error::Refused(format!("Indeterminate mailbox format: {}", at.name)))
    }
}

struct DummyMailbox {
    path: PathBuf,
    snapshot: Snapshot,
}

impl Mailbox for DummyMailbox {
    fn driver(&self) -> &'static str {
        "dummy"
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, _: Extent, _: u64, _: usize, _: &mut Vec<u8>) -> Result<usize> {
        Err(Error::Expunged { uid: uid.get() })
    }

    fn refresh(&mut self) -> Result<Changes> {
        Ok(Changes::default())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        if !self.snapshot.writable {
            return Err(Error::ReadOnly { path: self.path.clone() });
        }
        Ok(Box::new(DummyEdit(&self.snapshot)))
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        Ok(Changes::default())
    }

    /// The directory is watched as well, since the file may have yet to come.
    fn wake(&self) -> Wake {
        let directory = self.path.parent().map(Path::to_path_buf);
        Wake { paths: [self.path.clone()].into_iter().chain(directory).collect() }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// There are no messages that could change.
struct DummyEdit<'m>(&'m Snapshot);

impl Edit for DummyEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        self.0
    }

    fn store(&mut self, _: &UidSet, _: &FlagChange) -> Result<Vec<Keyword>> {
        Ok(Vec::new())
    }

    fn expunge(&mut self, _: &UidSet) -> Result<()> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Changes> {
        Ok(Changes::default())
    }
}
