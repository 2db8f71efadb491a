//! The mbx format: one file, messages as they go over the wire, flags changed in place, many sessions at once.
//!
//! # The file
//!
//! ```text
//! offset
//!      0  *mbx* CR LF
//!      7  UIDVALIDITY, 8 hexadecimal digits
//!     15  UIDLAST, 8 hexadecimal digits, CR LF
//!     25  30 lines of at most 50 octets: the keyword of bit 0, of bit 1, …; the first empty one ends the list
//!      …  NULs; an unfinished append of ours at 1600 (below)
//!   2038  LASTPID: 8 hexadecimal digits CR LF, changed by every flag update
//!   2048  messages: a line, then as many octets as it says
//!
//!  1-Feb-2025 12:34:56 +0200,242;000000010015-00000001 CR LF
//! internal date              size keywords,     UID, 0 while none is assigned
//!                                 then flags: 1 \Seen 2 \Deleted 4 \Flagged 8 \Answered 10 not \Recent 20 \Draft
//!                                                          8000 hidden: expunged, and its space not reclaimed yet
//! ```
//!
//! # Locks
//!
//! All that parses or changes the file holds the exclusive lock of its lock file in `/tmp`. A session holds a shared
//! flock of the file for all its life: "I know where messages are". Only who gets the exclusive flock may move
//! them; else expunged messages are hidden, and their space is reclaimed by whoever is alone later. The flock is
//! converted under the lock file only, for converting is not atomic.
//!
//! # How sessions see each other's changes
//!
//! New messages show in the size. Flag updates show in the modification time, which all appenders put back, and,
//! within one second, in LASTPID. (We look at the change time too.) A message that another session hid stays
//! readable until [`refresh`](ailurus_store::Mailbox::refresh) has reported it.
//!
//! # Whenever we die
//!
//! A file is always one of these, and the next of our sessions that may write puts it right under the lock:
//!
//! | we died | the file | the reference sees | we do |
//! |---|---|---|---|
//! | within a flag update | some fields are new | the same | nothing |
//! | as UIDs were assigned | UIDLAST is raised first, then fields are written | UIDs with a gap | nothing |
//! | within an append | the header announces it: start, end, check sum; UIDLAST is raised by the same write | "runs past end of file", until we come by | cut it off at the start |
//! | while messages slide down | a redo journal is beside it ([`crate::journal`]) | damage, until we come by | finish the slide |
//! | behind an append | all is there, and still announced | the messages | take the announcement away |
//!
//! An append is announced in the NUL fill at 1600, which the reference neither reads nor keeps, as
//! `append START END SUM` in hexadecimal. For several messages it is synced before they are written. For one, a
//! single sync follows all writes, so a power loss can keep any of the pages. If it loses that of the header, UIDLAST
//! is one below the UID of the torn message: nothing but an append that was not finished leaves that. If it loses that
//! of the line, there are NULs up to the end of the page. Nobody was told that such messages are there, so cutting
//! them off loses nothing. Messages which another program appended behind a torn one (delivery does not read what is
//! before) are kept; the torn octets then become a hidden message.
//!
//! NULs are also what a disk leaves that lost a page of good mail. So nothing is cut where a message is found behind
//! them, and octets that follow them are kept in a file beside the mailbox.
//!
//! All other damage is reported with its offset, and such a file is not written.

mod append;
mod edit;
mod fields;
mod file;
mod header;
mod indexed;
mod line;
mod mailbox;
mod reclaim;
mod salvage;
mod torn;
mod uids;
mod walk;

use crate::disk::Disk;
use crate::files;
use crate::lock::{Mode, NameLock, Wait, lock_file};
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Level, Location, Mailbox, Manner, Place,
    Rejection, Result, Status,
};
use append::{MbxAppend, Walked};
use file::MbxFile;
use header::Header;
use mailbox::MbxMailbox;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The driver of the mbx format.
#[derive(Debug)]
pub struct Mbx {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
    walked: Mutex<HashMap<(u64, u64), Walked>>,
}

impl Mbx {
    /// Returns the driver for one user's mailboxes.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk, walked: Mutex::default() }
    }

    fn path(&self, at: &Location) -> Result<PathBuf> {
        match &at.place {
            Place::Inbox => Ok(self.environment.mailbox_dir.join("INBOX")),
            Place::Path(path) => Ok(path.clone()),
            Place::Special => {
                Err(Error::InvalidName { name: at.name.clone(), why: "Invalid MBX-format mailbox name" })
            }
        }
    }

    fn file(&self, path: &Path, file: File) -> MbxFile {
        let (environment, disk) = (Arc::clone(&self.environment), Arc::clone(&self.disk));
        MbxFile { format: "mbx", environment, disk, path: path.into(), file }
    }

    fn walked(&self) -> MutexGuard<'_, HashMap<(u64, u64), Walked>> {
        self.walked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_header(&self) -> Header {
        Header::new(files::next_validity(&self.environment, 0), &self.environment.default_keywords)
    }

    /// Opens a file that must be an mbx mailbox, to read and write unless that is not allowed.
    fn open_file(&self, at: &Location, access: Access) -> Result<(MbxFile, bool)> {
        let path = self.path(at)?;
        if !path.metadata().map_err(files::failure("open", at, &path))?.is_file() {
            return Err(Error::WrongFormat { format: "mbx", path });
        }
        let (file, writable) =
            files::open_as_allowed(&path, access).map_err(files::failure("open", at, &path))?;
        let file = self.file(&path, file);
        if file.metadata()?.len() < header::SIZE as u64 {
            return Err(Error::WrongFormat { format: "mbx", path });
        }
        Ok((file, writable))
    }

    /// Takes the locks under which a mailbox is deleted or renamed: nobody may have it open.
    fn lock_alone(&self, at: &Location) -> Result<(MbxFile, NameLock)> {
        let (file, writable) = self.open_file(at, Access::ReadWrite)?;
        if !writable {
            return Err(Error::ReadOnly { path: file.path });
        }
        let lock = file.lock()?;
        file.recover(&lock)?;
        let alone = lock_file(&file.file, Mode::Exclusive, Wait::No).map_err(file.io("lock"))?;
        if !alone || !file.is_current() {
            return Err(Error::InUse { path: file.path });
        }
        Ok((file, lock))
    }

    fn make(&self, at: &Location, path: &Path) -> Result<()> {
        let (mode, _) = self.environment.modes(&at.name);
        files::make(&*self.disk, at, path, mode, self.new_header().encode())
    }
}

impl Driver for Mbx {
    fn name(&self) -> &'static str {
        "mbx"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: header::SLOTS,
            shared_access: true,
            shared_expunge: true,
            crlf: true,
            creatable: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Ok(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        match probe(&*self.disk, &path) {
            Ok(true) => Ok(Claim::Valid),
            Ok(false) if files::is_empty(&path) => Ok(Claim::Empty),
            Ok(false) => Ok(Claim::No(Rejection::WrongFormat)),
            // An append would make it.
            Err(error) if at.place == Place::Inbox && error.kind() == io::ErrorKind::NotFound => {
                Ok(Claim::Empty)
            }
            Err(error) => files::unclaimed("look at", &path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = self.path(at)?;
        if files::wants_directory(&path) {
            return files::create(&self.environment, &*self.disk, at);
        }
        self.make(at, &path)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let (file, _lock) = self.lock_alone(at)?;
        files::remove(&*self.disk, at, &file.path)?;
        file.forget_index();
        Ok(())
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let (file, _lock) = self.lock_alone(from)?;
        let new = self.path(to)?;
        files::move_to(&*self.disk, (from, &file.path), (to, &new))?;
        if from.place == Place::Inbox { self.make(from, &file.path) } else { Ok(()) }
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let (file, _) = self.open_file(at, Access::ReadOnly)?;
        if let Some(status) = file.quick_status()? {
            return Ok(status);
        }
        let mailbox = MbxMailbox::open(file, false, Manner::Silent)?;
        let snapshot = &mailbox.snapshot;
        Ok(Status::of(&snapshot.messages, snapshot.uid_next, snapshot.uid_validity))
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let (file, writable) = self.open_file(at, access)?;
        if access == Access::ReadWrite && !writable && manner == Manner::Session {
            let text = "Can't get write access to mailbox, access is readonly";
            self.environment.notices.tell(Level::Warning, text);
        }
        Ok(Box::new(MbxMailbox::open(file, writable, manner)?))
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        self.path(at).map(|path| vec![path])
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let path = self.path(at)?;
        match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {}
            Err(error) => return Err(files::failure("open", at, &path)(error)),
            Ok(meta) if meta.is_file() && meta.len() == 0 => {}
            Ok(meta) if meta.is_file() && probe(&*self.disk, &path).map_err(Error::io("read", &path))? => {}
            Ok(_) => return Err(Error::WrongFormat { format: "mbx", path }),
        }
        Ok(Box::new(MbxAppend::new(self, at, &path)))
    }
}

/// Looks at the header.
fn probe(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let head = files::peek(disk, path, header::SIZE)?;
    Ok(head.is_some_and(|head| Header::parse(&head).is_some()))
}
