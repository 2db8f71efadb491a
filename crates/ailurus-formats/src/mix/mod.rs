//! The mix format: a directory, mail in files of about a megabyte, and small files that say what is where. Many sessions
//! at once, expunge included; a mailbox may hold other mailboxes.
//!
//! Not tested yet: sessions of the reference that are open beside ours, kills within RENAME of INBOX.
//! An index that was cut off exactly at the end of a record is what an expunge leaves, and is taken for that.
//!
//! # The directory
//!
//! | file | what it holds | changed by |
//! |---|---|---|
//! | `.mixmeta` | UIDVALIDITY, UIDLAST, keywords, which data file takes new messages (see `meta`) | append, new keyword |
//! | `.mixindex` | a record for each message: date, size, data file, position (`index`) | append, expunge |
//! | `.mixstatus` | a record for each message: keywords, flags, sequence of the last change (`status`) | all |
//! | `.mixHHHHHHHH` | messages, each behind a record that names it (`data`) | append, reclaiming |
//! | `.mixsortcache` | the reference's sort keys, by UID: left alone, for it stays true whatever we do; deleted with the mailbox | |
//! | `.mix.ailurus-journal.*` | redo journals of the first three ([`crate::journal`]) | |
//! | `.mixdeleted` | the mark of a mailbox whose deletion was cut off (`manage`) | |
//!
//! The first three begin with an update sequence that only rises (`.mixmeta`, `.mixindex`, `.mixstatus` each have their
//! own): who sees a higher one reads on.
//!
//! # Locks
//!
//! All flock(2), in this order; neither `/tmp` nor dot-locks:
//!
//! 0. The directory itself, exclusive, while a mailbox is made, deleted, or put right without `.mixmeta` (`manage`). Only ours.
//! 1. `.mixmeta`, shared, for the whole session: "I know where messages are". Who gets it exclusively, without waiting and
//!    holding the next one, may move messages. Who deletes or renames must have it exclusively.
//! 2. `.mixindex`, exclusive for who adds, removes or announces messages, else shared; for one operation.
//! 3. `.mixstatus`, exclusive for who may write, else shared; for one operation.
//!
//! # Why the index and status files are not replaced by rename
//!
//! An old program opens `.mixindex`, waits for its lock, and reads and writes what it has opened; it does not look whether
//! that still has its name. Replaced meanwhile, it would write to a file that nobody sees: an append to it would be lost
//! and its UID given again. So both are changed in place. What that means when we die:
//!
//! | we die | the files | who comes next |
//! |---|---|---|
//! | within an append | data, `.mixmeta`, status record and index record are written and synced in this order; an index record that no disk writes in one go gets its first octet last | sees the message whole or not at all; octets in the data file that no record points to are reclaimed later; the UID is not given again |
//! | as flags are stored | records of fixed width are written over: each flag is old or new | nothing to do |
//! | as records go (expunge) or their width changes | a redo journal is written and synced first | we finish it under the lock; the reference may see an index that it refuses, until we come by |
//! | as space is reclaimed | messages are copied, then the index is pointed to the copies in place, then the old file goes (`reclaim`) | each record points to a whole message |
//! | as a mailbox is made or deleted | `.mixmeta` is last, or first | no mailbox, and leftovers: CREATE and DELETE take them away |
//!
//! An append costs the same whatever the mailbox holds: the ends of index and status file are looked at, and 77 and 35
//! octets added. A flag costs two small writes.
//!
//! # What we do better than the reference, where it cannot hurt it
//!
//! * Lost or damaged files are put right (`repair`) where it refuses the mailbox, or takes the missing for expunged and
//!   removes it: a missing `.mixmeta`, `.mixindex` or `.mixstatus`, an empty index beside data, a record that is none. One
//!   bad status record costs the flags of one message, not of all that follow.
//! * A size is corrected, or UIDLAST raised, only where the message itself bears it out; else the index is damaged.
//! * Space is reclaimed only under an index in which every line is understood, and where each message that stays was seen
//!   to be where the index says. A line that lost its end hides the next record: that is damage, where the reference removes its message.
//! * Lines and fields that we do not know are kept when a file is rewritten. They forbid reclaiming.
//! * The K line always ends in CRLF; one that does not is read, and ended by who opens the mailbox to write.
//! * Keywords come along with APPEND and COPY while there is room.
//! * A missing data file makes its messages unreadable, not the mailbox.
//! * UIDVALIDITY is not the same for two mailboxes made within one second by one process.

mod append;
mod data;
mod directory;
mod edit;
mod flags;
mod index;
mod mailbox;
mod manage;
mod merge;
mod meta;
mod reclaim;
mod repair;
mod salvage;
mod scan;
mod status;
mod text;

use crate::disk::Disk;
use crate::files;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Location, Mailbox, Manner, Place,
    Rejection, Result, Status,
};
use append::MixAppend;
use directory::{Directory, Opened, Part};
use mailbox::MixMailbox;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// The driver of the mix format.
#[derive(Debug)]
pub struct Mix {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
    /// The UIDVALIDITY that was given last.
    last_validity: AtomicU32,
}

impl Mix {
    /// Returns the driver for one user's mailboxes.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk, last_validity: AtomicU32::new(0) }
    }

    fn directory(&self, at: &Location) -> Result<Directory> {
        let path = match &at.place {
            Place::Inbox => self.environment.mailbox_dir.join("INBOX"),
            // Without the `/` that a name may end in.
            Place::Path(path) => path.components().as_path().to_path_buf(),
            Place::Special => return Err(files::invalid(at, "invalid MIX-format name")),
        };
        let (environment, disk) = (Arc::clone(&self.environment), Arc::clone(&self.disk));
        Ok(Directory { environment, disk, path })
    }
}

impl Driver for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: meta::SLOTS,
            shared_access: true,
            shared_expunge: true,
            inferiors: true,
            crlf: true,
            creatable: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Ok(directory) = self.directory(at) else { return Ok(Claim::No(Rejection::BadName)) };
        let meta = directory.part(Part::Meta);
        let error = match meta.metadata() {
            Ok(found) if found.is_file() => return Ok(Claim::Valid),
            Ok(_) => return Ok(Claim::No(Rejection::WrongFormat)),
            Err(error) => error,
        };
        // The path is that of a file.
        if error.kind() == io::ErrorKind::NotADirectory && directory.path.symlink_metadata().is_ok() {
            return Ok(Claim::No(Rejection::WrongFormat));
        }
        if error.kind() != io::ErrorKind::NotFound {
            return files::unclaimed("look at", &meta, error);
        }
        match directory.path.metadata() {
            Ok(found) if found.is_dir() && repair::is_lost(&directory) => Ok(Claim::Valid),
            Ok(_) => Ok(Claim::No(Rejection::WrongFormat)),
            // An append would make it.
            Err(error) if at.place == Place::Inbox && error.kind() == io::ErrorKind::NotFound => {
                Ok(Claim::Empty)
            }
            Err(error) => files::unclaimed("look at", &directory.path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        match at.path() {
            Some(path) if files::wants_directory(path) => files::create(&self.environment, &*self.disk, at),
            _ => self.make(at),
        }
    }

    fn delete(&self, at: &Location) -> Result<()> {
        self.remove(at)
    }

    fn clear_leftovers(&self, at: &Location) -> Result<()> {
        self.clear(at)
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        self.rename_to(from, to)
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let opened = Opened::open(self.directory(at)?, at, Access::ReadOnly)?;
        let mailbox = MixMailbox::open(opened, Manner::Silent)?;
        let snapshot = &mailbox.snapshot;
        Ok(Status::of(&snapshot.messages, snapshot.uid_next, snapshot.uid_validity))
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let opened = Opened::open(self.directory(at)?, at, access)?;
        Ok(Box::new(MixMailbox::open(opened, manner)?))
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        let directory = self.directory(at)?;
        files::entries(&directory.path, manage::is_data)
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let directory = self.directory(at)?;
        match self.probe(at)? {
            Claim::Valid | Claim::Empty => Ok(Box::new(MixAppend::new(self, at, &directory.path))),
            Claim::No(Rejection::Missing) => Err(Error::NotFound(at.name.clone())),
            Claim::No(_) => Err(Error::WrongFormat { format: "mix", path: directory.path }),
        }
    }

    fn hides(&self, _directory: &Path, entry: &OsStr) -> bool {
        manage::is_ours(entry)
    }
}

/// Returns what is wrong, without the path that the log has.
fn reason(error: Error) -> String {
    match error {
        Error::Damaged { what, .. } | Error::Lost { what, .. } => what,
        other => other.to_string(),
    }
}
