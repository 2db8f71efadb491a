//! Unix format, the traditional mbox (spec/formats-unix.md).
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
//! APPEND adds at the end, syncs, and cuts back to the old length on failure. With the session lock at hand the
//! message gets its UID at once, and the digits of the last UID in the first message are overwritten in place; a
//! crash in between is harmless, since a larger X-UID than the last one is believed. While another session has the lock,
//! and be it our own, the message arrives like a delivery: without UID, which that session then gives it.
//!
//! NULs at the end of the file, which a crash of any program can leave, are no mail; the next rewrite drops them.

mod append;
mod cursor;
mod edit;
mod mailbox;
mod parse;
mod render;
mod write;

use crate::disk::Disk;
use crate::from_line::FromLine;
use crate::journal::{Places, recover};
use crate::lock::{LockedFile, Mode, Opening, SessionLock};
use crate::rewrite::RewriteError;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Location, Mailbox, Manner, Place,
    Rejection, Result, Status,
};
use ailurus_types::{Keywords, SystemFlags, Uid, UidValidity};
use mailbox::{UnixMailbox, initial_error, is_denied, is_same, lock_settled};
use parse::{KEYWORDS, Scan};
use render::{Base, Pseudo, append_pseudo};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The driver of unix format.
#[derive(Debug)]
pub struct Unix {
    shared: Arc<Shared>,
}

/// What everything of this format needs.
#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    env: Environment,
    // Of the mailbox that was appended to last.
    appended: Mutex<Option<append::Known>>,
}

impl Unix {
    /// Returns the driver for a user's mailboxes.
    #[must_use]
    pub fn new(env: Environment, disk: Arc<dyn Disk>) -> Self {
        Self { shared: Arc::new(Shared { disk, env, appended: Mutex::new(None) }) }
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
        "unix"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: KEYWORDS,
            creatable: true,
            quotes_from: true,
            own_fields: true,
            ends_lines: true,
            torn_appends: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Some(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        let missing = if at.place == Place::Inbox { Claim::Empty } else { Claim::No(Rejection::Missing) };
        let found = match path.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(missing),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Ok(Claim::No(Rejection::Missing));
            }
            Err(error) if is_denied(&error) => return Ok(Claim::No(Rejection::Denied)),
            Err(error) => return Err(io_error("examine", path, error)),
        };
        if !found.is_file() {
            return Ok(Claim::No(Rejection::WrongFormat));
        }
        if found.len() == 0 {
            return Ok(Claim::Empty);
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_denied(&error) => return Ok(Claim::No(Rejection::Denied)),
            Err(error) => return Err(io_error("open", path, error)),
        };
        let valid = begins_with_from_line(&file).map_err(Error::io("read", path))?;
        let (accessed, modified) = (found.atime(), found.mtime());
        if found.ctime() > accessed || modified > accessed {
            // Biff programs tell new mail by these; who does not own the file cannot set them.
            self.shared.disk.set_times(&file, accessed, modified).ok();
        }
        Ok(if valid { Claim::Valid } else { Claim::No(Rejection::WrongFormat) })
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = self.file_of(at)?;
        let Shared { disk, env, .. } = &*self.shared;
        let file = match disk.create_new(&path, 0o600) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists(at.name.clone()));
            }
            Err(error) => return Err(io_error("create", &path, error)),
        };
        let mut keywords = Keywords::default();
        for keyword in &env.default_keywords {
            // Those beyond the capacity are of no use.
            keywords.find_or_add(keyword, KEYWORDS).ok();
        }
        let base = Base { validity: now_as_validity(env), uid_last: 0, keywords: &keywords };
        let mut content = Vec::new();
        append_pseudo(env, Pseudo::Created, base, &mut content);
        let written = disk.write_at(&file, &content, 0).and_then(|()| disk.sync(&file));
        let written = written.and_then(|()| match mode_of(env, &path) {
            0o600 => Ok(()),
            mode => disk.set_mode(&path, mode),
        });
        written.and_then(|()| disk.sync_dir(path.parent().unwrap_or(Path::new(".")))).map_err(|error| {
            disk.remove(&path).ok();
            io_error("initialize", &path, error)
        })
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let path = self.file_of(at)?;
        let held = Held::take(&self.shared, at, &path)?;
        self.shared.disk.remove(&path).map_err(Error::io("delete", &path))?;
        drop(held);
        Ok(())
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let (path, new) = (self.file_of(from)?, self.file_of(to)?);
        if new.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Error::InvalidName { name: to.name.clone(), why: "invalid name" });
        }
        let held = Held::take(&self.shared, from, &path)?;
        // The name could have been taken since the store looked; a file there would be replaced.
        if new.symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists(to.name.clone()));
        }
        self.shared.disk.rename(&path, &new).map_err(Error::io("rename", &path))?;
        drop(held);
        Ok(())
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let path = self.file_of(at)?;
        let env = &self.shared.env;
        let mut scan = Scan::default();
        match File::open(&path) {
            Ok(file) => {
                let before = file.metadata().map_err(Error::io("examine", &path))?;
                let places = Places::of(&path, &file, &env.home).map_err(Error::io("examine", &path))?;
                let opening = Opening { mode: Mode::Shared, manner: Manner::Silent, write: false };
                let locked = lock_settled(&self.shared, &path, &file, &places, false, opening)?;
                scan.parse(&file, env, Manner::Silent).map_err(|error| initial_error(&path, error))?;
                drop(locked);
                let (accessed, modified) = (before.atime(), before.mtime());
                // Asking how much mail there is takes away nobody's notice of it.
                self.shared.disk.set_times(&file, accessed, modified).ok();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {
                scan.uid_validity = now_as_validity(env);
            }
            Err(error) => return Err(not_found_or(at, &path, error)),
        }
        let count = |wanted: &dyn Fn(&ailurus_store::MessageInfo) -> bool| {
            u32::try_from(scan.messages.iter().filter(|message| wanted(message)).count()).unwrap_or(u32::MAX)
        };
        Ok(Status {
            messages: count(&|_| true),
            recent: count(&|message| message.is_recent()),
            unseen: count(&|message| !message.flags().system.contains(SystemFlags::SEEN)),
            uid_next: Uid::new(scan.uid_last).map_or(Some(Uid::MIN), Uid::next),
            uid_validity: UidValidity::new(scan.uid_validity).unwrap_or(UidValidity::MIN),
        })
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

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let path = self.file_of(at)?;
        Ok(Box::new(append::Appending::new(&self.shared, at.clone(), path)))
    }
}

/// All locks that keep others from a mailbox while it is deleted or renamed.
struct Held {
    _locked: LockedFile,
    _session: SessionLock,
}

impl Held {
    fn take(shared: &Shared, at: &Location, path: &Path) -> Result<Self> {
        let Shared { disk, env, .. } = shared;
        let file = File::open(path).map_err(|error| not_found_or(at, path, error))?;
        let session = SessionLock::acquire(disk, env, &file, Manner::Silent)
            .ok_or_else(|| Error::InUse { path: path.into() })?;
        let places = Places::of(path, &file, &env.home).map_err(Error::io("examine", path))?;
        let opening = Opening { mode: Mode::Exclusive, manner: Manner::Silent, write: false };
        let locked = lock_settled(shared, path, &file, &places, true, opening)?;
        Ok(Self { _locked: locked, _session: session })
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
    let opening = Opening { mode: Mode::Exclusive, manner: Manner::Silent, write: true };
    let locked = match LockedFile::open(disk, env, path, opening) {
        Ok(locked) => locked,
        Err(error) if is_denied(&error) => return Err(in_use()),
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

/// Tells whether the first line that is not blank is an acceptable From_ line (spec/formats-unix.md §1).
fn begins_with_from_line(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    crate::journal::read_up_to(file, 0, 1023, &mut start)?;
    let blank = |octet: &&u8| matches!(octet, b'\r' | b'\n' | b' ' | b'\t');
    let blanks = start.iter().take_while(blank).count();
    if blanks > 0 && start[blanks - 1] != b'\n' {
        return Ok(false);
    }
    let rest = &start[blanks..];
    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(false) };
    let line = &rest[..end];
    Ok(FromLine::parse(line.strip_suffix(b"\r").unwrap_or(line)).is_some())
}

fn now_as_validity(env: &Environment) -> u32 {
    u32::try_from(env.clock.now()).unwrap_or(u32::MAX).max(1)
}

/// Returns the mode of a new mailbox file by the namespace that it is in (spec/storage-common.md §3.6).
fn mode_of(env: &Environment, path: &Path) -> u32 {
    let inside = |home: &Option<PathBuf>| home.as_ref().is_some_and(|home| path.starts_with(home));
    let (shared, protections) = (&env.shared, &env.protections);
    if path.starts_with(&env.home) {
        protections.mailbox
    } else if inside(&shared.public) {
        protections.public.0
    } else if inside(&shared.shared) {
        protections.shared.0
    } else if inside(&shared.ftp) {
        protections.ftp.0
    } else {
        protections.mailbox
    }
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
