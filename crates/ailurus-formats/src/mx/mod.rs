//! The mx format: a directory of message files with their UIDs for names, and an index of flags.
//!
//! # The directory
//!
//! | name | what it is |
//! |---|---|
//! | `.mxindex` | UIDVALIDITY, UIDLAST, keywords, and the flags of each message ([`index`]); a directory with it is a mailbox |
//! | `12` | the message with UID 12, as it goes over the wire; its internal date is the modification time, in UTC |
//! | `.ailurus-new.…`, `.ailurus-gone.…` | changes under way ([`crate::numbered`]) |
//!
//! It can hold other mailboxes as well; no name of a mailbox is a number.
//!
//! # Locks
//!
//! The exclusive flock of the index, for the time of one look or change. All programs on the format open the index and
//! wait for the lock of that file, so it is rewritten in place, by way of a journal ([`crate::rewrite`]). An append needs
//! none: it adds records and overwrites the digits of UIDLAST, whatever else is in the index. So it does not look at the
//! directory either; that no UID is given below one that was told rests on UIDLAST alone, which every session that shows a
//! message beyond it raises first, also one that only reads.
//!
//! # What the reference does, and we do not
//!
//! It never clears a flag that it reads, so that another session's removal is lost; it does not notice messages that are
//! gone, nor some that came; it writes the index whenever it looks. Where it wrote the index without a message that it did
//! not know, its flags are written again by a session of ours that knows them. A lost or empty index gets a new UIDVALIDITY.
//!
//! # Whenever we die
//!
//! | we died | afterwards |
//! |---|---|
//! | as the index was rewritten | the next of us finishes it |
//! | within an append | no message, or all of them, with their flags; UIDs may be skipped |
//! | within an expunge | some or all messages are gone; one that was moved aside is removed by the next of us |

mod append;
mod edit;
mod file;
mod index;
mod indexed;
mod mailbox;
mod verify;

use crate::disk::Disk;
use crate::files;
use crate::numbered::{Names, is_number_like, tidy};
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Level, Location, Mailbox, Manner, Place,
    Rejection, Result, Status,
};
use append::MxAppend;
use file::{Locked, NAME};
use index::{Index, SLOTS, push_message};
use mailbox::MxMailbox;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The driver of the mx format.
#[derive(Debug)]
pub struct Mx {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
}

impl Mx {
    /// Returns the driver for one user's mailboxes.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk }
    }

    fn path(&self, at: &Location) -> Option<PathBuf> {
        match &at.place {
            Place::Inbox => Some(self.environment.mailbox_dir.join("INBOX")),
            Place::Path(path) => Some(path.components().collect()),
            Place::Special => None,
        }
    }

    /// Returns the directory of a mailbox that should be there.
    fn existing(&self, at: &Location) -> Result<PathBuf> {
        let path = self.path(at).ok_or_else(|| Error::NotFound(at.name.clone()))?;
        match is_mailbox(&path) {
            Ok(true) => Ok(path),
            Ok(false) => Err(Error::WrongFormat { format: "mx", path }),
            Err(error) => Err(files::failure("open", at, &path)(error)),
        }
    }

    /// Makes a directory a mailbox; it may be there already.
    fn make(&self, at: &Location, path: &Path) -> Result<()> {
        let (file_mode, directory_mode) = self.environment.modes(&at.name);
        match self.disk.make_dir(path, directory_mode) {
            Ok(()) => files::sync_parent(&*self.disk, path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(files::failure("create", at, path)(error)),
        }
        let index = path.join(NAME);
        self.disk.create_new(&index, file_mode).map_err(files::failure("create", at, &index))?;
        self.disk.sync_dir(path).map_err(Error::io("sync", path))
    }

    /// Reads the index, and makes it one that says what is true of the mailbox as a whole.
    fn true_index(&self, locked: &Locked, path: &Path) -> Result<Index> {
        let mut index = locked.read()?;
        index.error = None;
        if index.validity == 0 {
            index.validity = files::next_validity(&self.environment, 0);
            let defaults =
                if index.keywords.is_empty() { &self.environment.default_keywords[..] } else { &[] };
            for keyword in defaults {
                index.keywords.find_or_add(keyword, SLOTS).ok();
            }
        }
        // Messages that other programs put there have their UIDs, whether or not the index knows.
        let highest = Names::read(path).map_err(Error::io("read", path))?.highest();
        let last = index.messages.last().map_or(0, |(uid, _)| *uid);
        index.last = index.last.max(last).max(highest);
        Ok(index)
    }

    fn refused(at: &Location, verb: &str) -> Error {
        Error::Refused(format!("Can't {verb} mailbox {}: invalid MX-format name", at.name))
    }

    /// Moves all messages of INBOX to a new mailbox that says the same of them. INBOX goes on with the UIDs after those, and
    /// at any time each message is in one of the two.
    fn empty_inbox(&self, (from, old): (&Location, &Path), (to, new): (&Location, &Path)) -> Result<()> {
        let locked = Locked::open(&self.environment, &self.disk, old)?;
        if !locked.writable {
            return Err(Error::ReadOnly { path: old.into() });
        }
        let failed = |error| files::failure("rename", from, old)(error);
        let leftovers = Names::read(old).map_err(failed)?.leftovers;
        tidy(&*self.disk, old, &leftovers).map_err(failed)?;
        let mut index = self.true_index(&locked, old)?;
        // What is told of the messages is to be there before they are.
        let (file_mode, mode) = self.environment.modes(&to.name);
        self.disk.make_dir(new, mode).map_err(files::failure("create", to, new))?;
        files::sync_parent(&*self.disk, new)?;
        let mut content = index.head();
        index.messages.iter().for_each(|(uid, flags)| push_message(*uid, *flags, &mut content));
        files::make(&*self.disk, to, &new.join(NAME), file_mode, &content)?;
        // UIDs are not to be given again in INBOX, whatever else happens.
        let messages = std::mem::take(&mut index.messages).into_iter();
        locked.write(&self.disk, &index, messages)?;
        for number in Names::read(old).map_err(failed)?.numbers {
            let name = number.to_string();
            if old.join(&name).is_file() {
                files::rename_free(&*self.disk, &old.join(&name), &new.join(&name)).map_err(failed)?;
            }
        }
        self.disk.sync_dir(new).map_err(Error::io("sync", new))?;
        self.disk.sync_dir(old).map_err(Error::io("sync", old))?;
        locked.write(&self.disk, &index, std::iter::empty())
    }
}

impl Driver for Mx {
    fn name(&self) -> &'static str {
        "mx"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: SLOTS,
            shared_access: true,
            shared_expunge: true,
            inferiors: true,
            crlf: true,
            creatable: true,
            unguarded: true,
            utc_dates: true,
            forgets_recent: true,
            one_file_each: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Some(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        match is_mailbox(&path) {
            Ok(true) => Ok(Claim::Valid),
            Ok(false) => Ok(Claim::No(Rejection::WrongFormat)),
            // An append would make it.
            Err(error) if at.place == Place::Inbox && error.kind() == io::ErrorKind::NotFound => {
                Ok(Claim::Empty)
            }
            Err(error) => files::unclaimed("look at", &path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = self.path(at).filter(|_| is_good(at.name.as_bytes()));
        let path = path.ok_or_else(|| Self::refused(at, "create"))?;
        self.make(at, &path)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let path = self.existing(at)?;
        let locked = Locked::open(&self.environment, &self.disk, &path)?;
        let failed = |error| files::failure("delete", at, &path)(error);
        let leftovers = Names::read(&path).map_err(failed)?.leftovers;
        tidy(&*self.disk, &path, &leftovers).map_err(failed)?;
        for number in Names::read(&path).map_err(failed)?.numbers {
            match self.disk.remove(&path.join(number.to_string())) {
                // No message, but a directory.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotFound) => {}
                removed => removed.map_err(failed)?,
            }
        }
        // It goes last: until then it is a mailbox, and can be deleted again.
        self.disk.remove(&path.join(NAME)).map_err(failed)?;
        self.forget_index(&path);
        drop(locked);
        match self.disk.remove_dir(&path) {
            Ok(()) => files::sync_parent(&*self.disk, &path),
            Err(error) => {
                let text = format!("Can't delete name {}: {error}", at.name);
                self.environment.notices.tell(Level::Warning, text);
                self.disk.sync_dir(&path).map_err(Error::io("sync", &path))
            }
        }
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let old = self.existing(from)?;
        let new = self.path(to).filter(|_| is_good(to.name.as_bytes()));
        let new = new.ok_or_else(|| Self::refused(to, "rename to"))?;
        // RFC 3501 §6.3.5: the messages of INBOX move, and INBOX stays.
        match from.place {
            Place::Inbox => self.empty_inbox((from, &old), (to, &new)),
            _ => files::move_to(&*self.disk, (from, &old), (to, &new)),
        }
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let path = self.existing(at)?;
        self.quick_status(&path)
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let path = self.existing(at)?;
        Ok(Box::new(MxMailbox::open(&self.environment, &self.disk, &path, access, manner)?))
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        files::entries(&self.existing(at)?, |name| is_number_like(name.as_bytes()))
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let path = self.path(at).ok_or_else(|| Error::NotFound(at.name.clone()))?;
        match is_mailbox(&path) {
            Ok(true) => {}
            Err(error) if at.place == Place::Inbox && error.kind() == io::ErrorKind::NotFound => {
                self.make(at, &path)?
            }
            Ok(false) => return Err(Error::WrongFormat { format: "mx", path }),
            Err(error) => return Err(files::failure("open", at, &path)(error)),
        }
        Ok(Box::new(MxAppend::new(self, at, &path)))
    }

    fn hides(&self, _directory: &Path, entry: &OsStr) -> bool {
        entry == NAME || is_number_like(entry.as_bytes())
    }
}

/// Tells whether a directory is a mailbox; an error where there is nothing.
fn is_mailbox(path: &Path) -> io::Result<bool> {
    if !path.metadata()?.is_dir() {
        return Ok(false);
    }
    match path.join(NAME).metadata() {
        Ok(index) => Ok(index.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tells whether a mailbox may have this name: the format takes names of digits for messages.
fn is_good(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"/").unwrap_or(name);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    !name.is_empty()
        && name.split(|octet| *octet == b'/').all(|part| !part.is_empty() && !is_number_like(part))
}
