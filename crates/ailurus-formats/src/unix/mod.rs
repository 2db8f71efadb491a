//! Unix format, the traditional mbox (spec/formats-unix.md), and mmdf format, its sibling (spec/formats-mmdf.md).
//!
//! One file; each message is a From_ line, its header, an empty line, its text, and an empty line that belongs to no
//! message. LF alone ends lines. UID, flags and keywords are in fields at the end of each header (`Status`,
//! `X-Status`, `X-Keywords`, `X-UID`), the UID state of the mailbox in the first message: `X-IMAP` in a message that
//! is shown to nobody, or `X-IMAPbase` in a real one.
//!
//! # Locks
//!
//! One session may write: it holds the session lock as long as it is open. Every read and write of the file happens
//! under dot-lock and flock. What others deliver is parsed on from where the last parse ended. A read-only
//! session parses anew when the file changed.
//!
//! # Writing
//!
//! STORE stays in memory until a checkpoint, EXPUNGE is written at once. Both are a [`crate::rewrite`] of what is
//! different: for flags that is the status blocks, which are padded so that they keep their length. A journal that
//! a dead process left is worked off by whoever opens the mailbox next and may write it; who may not gets
//! [`Error::InUse`], as the file may be half moved then.
//!
//! APPEND adds at the end, syncs, and cuts back to the old length on failure. What is more than one message, or than
//! one write, goes through a journal, so that it arrives whole or not at all. With the session lock at hand the
//! message gets its UID at once, and the digits of the last UID in the first message are overwritten in place; a
//! crash in between is harmless, since a larger X-UID than the last one is believed. While another session has the lock,
//! and be it our own, the message arrives like a delivery: without UID, which that session then gives it.
//!
//! NULs at the end of the file, which a crash of any program can leave, are no mail; the next rewrite drops them.
//!
//! # mmdf
//!
//! A message stands between two MARKs, lines of four octets 0x01. The From_ line behind the first may be missing: then
//! the internal date is the file's time. Nothing is quoted, and no empty line is stripped from a text. All else is as
//! in unix format, and shares its code; [`dialect`] names the differences. The reference's oddities, and what we do:
//!
//! | input | the reference | we |
//! |---|---|---|
//! | a MARK at the end of a longer line | ends the message there, RFC822.SIZE is one too many | end it there, sizes are true |
//! | one octet, then a MARK | is text; but so is the MARK that a rewrite puts behind a text like this, and the next message is in this one then | are text; a text that ends like this gets its LF |
//! | a message without the empty line | the size grows by two with the next rewrite | show the line from the start |
//! | 0x01 four times, CR LF | a rewrite drops the CR, and the line ends the message | leave the CR |
//! | one MARK between two messages | serves both, is doubled by a rewrite | the same |
//! | other octets between messages | are a message | the same |
//! | an appended message | has an empty line more at its end | has none more |
//! | UIDs given to new messages | reach the file with the next checkpoint | before they are told, as in unix format |

mod append;
mod cursor;
mod dialect;
mod edit;
mod indexed;
mod mail_drop;
mod mailbox;
mod parse;
mod render;
mod rough;
mod salvage;
mod text;
mod window;
mod write;

use crate::disk::Disk;
use crate::files::{self, next_validity};
use crate::from_line::FromLine;
use crate::index::{Reading, Stamp};
use crate::journal::{Places, read_up_to, recover};
use crate::lock::{LockedFile, Mode, Opening, SessionLock};
use crate::rewrite::RewriteError;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Location, Mailbox, Manner, Place,
    Rejection, Result, Status,
};
use ailurus_types::{Keywords, Uid, UidValidity};
use dialect::{Dialect, MARK};
pub(crate) use mail_drop::{MailDrop, SpoolState};
use mailbox::{UnixMailbox, initial_error, is_same, lock_settled};
use parse::{KEYWORDS, Scan};
use render::{Base, Pseudo, append_pseudo};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The driver of unix format, or of mmdf format.
#[derive(Debug)]
pub struct Unix {
    shared: Arc<Shared>,
}

/// What everything of this format needs.
#[derive(Debug)]
struct Shared {
    dialect: Dialect,
    disk: Arc<dyn Disk>,
    env: Environment,
    // Of the mailbox that was appended to last.
    appended: Mutex<Option<append::Known>>,
}

impl Unix {
    /// Returns the driver for a user's mailboxes of unix format.
    #[must_use]
    pub fn new(env: Environment, disk: Arc<dyn Disk>) -> Self {
        Self::of(Dialect::Unix, env, disk)
    }

    /// Returns the driver for a user's mailboxes of mmdf format.
    #[must_use]
    pub fn mmdf(env: Environment, disk: Arc<dyn Disk>) -> Self {
        Self::of(Dialect::Mmdf, env, disk)
    }

    fn of(dialect: Dialect, env: Environment, disk: Arc<dyn Disk>) -> Self {
        Self { shared: Arc::new(Shared { dialect, disk, env, appended: Mutex::new(None) }) }
    }

    fn path<'l>(&'l self, at: &'l Location) -> Option<&'l Path> {
        match &at.place {
            Place::Inbox => Some(&self.shared.env.spool),
            Place::Path(path) => Some(path),
            Place::Special => None,
        }
    }

    fn file_of(&self, at: &Location) -> Result<PathBuf> {
        let path = self.path(at).ok_or_else(|| bad_name(at))?;
        Ok(path.into())
    }
}

impl Driver for Unix {
    fn name(&self) -> &'static str {
        self.shared.dialect.name()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: KEYWORDS,
            creatable: true,
            quotes_from: self.shared.dialect == Dialect::Unix,
            drops_soh: self.shared.dialect == Dialect::Mmdf,
            own_fields: true,
            ends_lines: true,
            torn_appends: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Some(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        let found = match path.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {
                return Ok(Claim::Empty);
            }
            Err(error) => return files::unclaimed("examine", path, error),
        };
        if !found.is_file() {
            return Ok(Claim::No(Rejection::WrongFormat));
        }
        if found.len() == 0 {
            return Ok(Claim::Empty);
        }
        let file = match files::open_unseen(path) {
            Ok(file) => file,
            Err(error) => return files::unclaimed("open", path, error),
        };
        let valid = match text_start(&file).map_err(Error::io("read", path))? {
            Some(start) => {
                let valid = match self.shared.dialect {
                    Dialect::Unix => begins_with_from_line(&file, start),
                    Dialect::Mmdf => begins_with_mark(&file, start),
                };
                valid.map_err(Error::io("read", path))?
            }
            // What a crash left of the first delivery. Anywhere else NULs may be dear to somebody.
            None => at.place == Place::Inbox && self.shared.dialect == Dialect::Unix,
        };
        if found.ctime() > found.atime() || found.mtime() > found.atime() {
            files::restore_times(&*self.shared.disk, &file, &found);
        }
        Ok(if valid { Claim::Valid } else { Claim::No(Rejection::WrongFormat) })
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = self.file_of(at)?;
        let Shared { disk, env, .. } = &*self.shared;
        let mut keywords = Keywords::default();
        for keyword in &env.default_keywords {
            // Those beyond the capacity are of no use.
            keywords.find_or_add(keyword, KEYWORDS).ok();
        }
        let base = Base { validity: next_validity(env, 0), uid_last: 0, keywords: &keywords };
        let mut content = Vec::new();
        append_pseudo(self.shared.dialect, env, Pseudo::Created, base, &mut content);
        files::make(&**disk, at, &path, env.modes(&at.name).0, &content)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let path = self.file_of(at)?;
        let held = Held::take(&self.shared, at, &path)?;
        let stamp = Stamp::of_file(held.locked.file());
        files::remove(&*self.shared.disk, at, &path)?;
        if let (Some(indexes), Ok(stamp)) = (self.shared.indexes(), stamp) {
            indexes.forget(stamp);
        }
        drop(held);
        Ok(())
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let (path, new) = (self.file_of(from)?, self.file_of(to)?);
        if files::wants_directory(&new) {
            return Err(bad_name(to));
        }
        let held = Held::take(&self.shared, from, &path)?;
        files::move_to(&*self.shared.disk, (from, &path), (to, &new))?;
        drop(held);
        Ok(())
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let path = self.file_of(at)?;
        let env = &self.shared.env;
        let file = match files::open_unseen(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {
                let validity = UidValidity::new(next_validity(env, 0)).unwrap_or(UidValidity::MIN);
                return Ok(Status::of(&[], Some(Uid::MIN), validity));
            }
            Err(error) => return Err(not_found_or(at, &path, error)),
        };
        let before = file.metadata().map_err(Error::io("examine", &path))?;
        let places = Places::of(&path, &file, &env.home).map_err(Error::io("examine", &path))?;
        let opening = Opening { mode: Mode::Shared, manner: Manner::Silent, access: Access::ReadOnly };
        let locked = lock_settled(&self.shared, &path, &file, &places, false, opening)?;
        let stamp = Stamp::of_file(&file).map_err(Error::io("examine", &path))?;
        let indexes = self.shared.indexes();
        if let Some(found) = indexes.and_then(|indexes| indexes.find(stamp, Access::ReadOnly)) {
            return Ok(found.head.status());
        }
        let failed = |error| initial_error(&self.shared, &path, error);
        let reading = Reading::begin(&file).map_err(Error::io("examine", &path))?;
        let mut scan = Scan::new(self.shared.dialect);
        scan.parse(&file, env, Manner::Silent).map_err(failed)?;
        // Asking how much mail there is takes away nobody's notice of it.
        files::restore_times(&*self.shared.disk, &file, &before);
        if let Some(proof) = reading.end(&file) {
            self.shared.keep(proof, &file, &scan, (&scan.messages, &scan.keywords));
        }
        drop(locked);
        let uid_next = Uid::new(scan.uid_last).map_or(Some(Uid::MIN), Uid::next);
        let uid_validity = UidValidity::new(scan.uid_validity).unwrap_or(UidValidity::MIN);
        Ok(Status::of(&scan.messages, uid_next, uid_validity))
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let path = self.file_of(at)?;
        match UnixMailbox::open(&self.shared, &path, access, manner) {
            Ok(mailbox) => Ok(Box::new(mailbox)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotFound(at.name.clone()))
            }
            Err(error) => Err(error),
        }
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        self.file_of(at).map(|path| vec![path])
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let path = self.file_of(at)?;
        Ok(Box::new(append::Appending::new(&self.shared, at.clone(), path)))
    }
}

/// All locks that keep others from a mailbox while it is deleted or renamed.
struct Held {
    locked: LockedFile,
    _session: SessionLock,
}

impl Held {
    fn take(shared: &Shared, at: &Location, path: &Path) -> Result<Self> {
        let Shared { disk, env, .. } = shared;
        let file = files::open(path, Access::ReadOnly).map_err(|error| not_found_or(at, path, error))?;
        let session = SessionLock::acquire(disk, env, &file, Manner::Silent)
            .ok_or_else(|| Error::InUse { path: path.into() })?;
        let places = Places::of(path, &file, &env.home).map_err(Error::io("examine", path))?;
        let opening = Opening { mode: Mode::Exclusive, manner: Manner::Silent, access: Access::ReadOnly };
        let locked = lock_settled(shared, path, &file, &places, true, opening)?;
        Ok(Self { locked, _session: session })
    }
}

/// Finishes what a dead process of ours began to write. Moving mail about needs the session lock.
fn settle_journal(
    shared: &Shared,
    path: &Path,
    file: &File,
    places: &Places,
    has_session_lock: bool,
) -> Result<()> {
    let Shared { disk, env, .. } = shared;
    let in_use = || Error::InUse { path: path.into() };
    let session = if has_session_lock {
        None
    } else {
        Some(SessionLock::acquire(disk, env, file, Manner::Silent).ok_or_else(in_use)?)
    };
    let opening = Opening { mode: Mode::Exclusive, manner: Manner::Silent, access: Access::ReadWrite };
    let locked = match LockedFile::open(disk, env, path, opening) {
        Ok(locked) => locked,
        Err(error) if files::may_not_write(&error) => return Err(in_use()),
        Err(error) => return Err(io_error("lock", path, error)),
    };
    if !is_same(locked.file(), file) {
        return Err(in_use());
    }
    let done = recover(disk, &env.notices, places, locked.file());
    drop(locked);
    drop(session);
    done.map(|_| ()).map_err(RewriteError::into_io).map_err(Error::io("recover", path))
}

/// Returns where the file starts without the NULs that a crash can leave, and behind which programs then deliver mail;
/// `None` if there is nothing else. Of very many only the first are looked at.
fn text_start(file: &File) -> io::Result<Option<u64>> {
    const MOST: u64 = 1024 * 1024;
    let (mut at, mut block) = (0, Vec::new());
    while at < MOST {
        read_up_to(file, at, 4096, &mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        match block.iter().position(|octet| *octet != 0) {
            Some(text) => return Ok(Some(at + text as u64)),
            None => at += block.len() as u64,
        }
    }
    Ok(Some(at))
}

/// Tells whether the first line that is not blank is an acceptable From_ line (spec/formats-unix.md §1).
fn begins_with_from_line(file: &File, start: u64) -> io::Result<bool> {
    let mut text = Vec::new();
    read_up_to(file, start, 1023, &mut text)?;
    let blank = |octet: &&u8| matches!(octet, b'\r' | b'\n' | b' ' | b'\t');
    let blanks = text.iter().take_while(blank).count();
    if blanks > 0 && text[blanks - 1] != b'\n' {
        return Ok(false);
    }
    let rest = &text[blanks..];
    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(false) };
    let line = &rest[..end];
    Ok(FromLine::parse(line.strip_suffix(b"\r").unwrap_or(line)).is_some())
}

fn begins_with_mark(file: &File, text_start: u64) -> io::Result<bool> {
    let mut start = Vec::new();
    read_up_to(file, text_start, MARK.len(), &mut start)?;
    Ok(start == MARK)
}

fn bad_name(at: &Location) -> Error {
    Error::InvalidName { name: at.name.clone(), why: "invalid name" }
}

fn not_found_or(at: &Location, path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(at.name.clone()),
        _ => io_error("open", path, error),
    }
}

fn io_error(op: &'static str, path: &Path, source: io::Error) -> Error {
    Error::io(op, path)(source)
}
