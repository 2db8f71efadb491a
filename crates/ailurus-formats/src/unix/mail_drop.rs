//! The spool of a user whose INBOX is elsewhere, locked as a whole while its mail is moved out.
//!
//! Session lock, dot-lock and flock are held from before the first message is read until the last is removed: no
//! program that keeps to the protocol reads, rewrites or delivers meanwhile. Mail that another adds all the same stays.

use super::cursor::{Cursor, from_line};
use super::mailbox::{initial_error, is_same, parse_text};
use super::parse::Scan;
use super::write::{Recent, Target, WhenEmpty, write_out};
use super::{Shared, Unix, io_error};
use crate::files;
use crate::journal::{Places, recover};
use crate::lock::{LockedFile, Mode, Opening, SessionLock};
use crate::rewrite::RewriteError;
use ailurus_store::{Access, Error, Extent, Manner, MessageInfo, Result};
use ailurus_types::{Keyword, KeywordMask};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A spool under all its locks.
pub(crate) struct MailDrop {
    // Let go of in this order.
    locked: LockedFile,
    _session: SessionLock,
    shared: Arc<Shared>,
    path: PathBuf,
    places: Places,
    scan: Scan,
    cursor: Cursor,
    tail: Vec<u8>,
    state: SpoolState,
}

/// By what it is known that a spool is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SpoolState {
    pub(crate) length: u64,
    changed: (i64, i64),
    inode: (u64, u64),
}

impl SpoolState {
    fn of(found: &Metadata) -> Self {
        Self {
            length: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
            inode: (found.dev(), found.ino()),
        }
    }

    /// Returns the state of a spool; `None` where there is none.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|found| Self::of(&found))
    }
}

impl Unix {
    /// Opens the spool at `path`, which is of this format; `None` while somebody else has it.
    pub(crate) fn open_mail_drop(&self, path: &Path, patience: Duration) -> Result<Option<MailDrop>> {
        let shared = Arc::clone(&self.shared);
        let Shared { disk, env, .. } = &*shared;
        let file = files::open(path, Access::ReadWrite).map_err(Error::io("open", path))?;
        let Some(session) = SessionLock::acquire(disk, env, &file, Manner::Silent) else { return Ok(None) };
        let opening = Opening { mode: Mode::Exclusive, manner: Manner::Silent, access: Access::ReadWrite };
        let locked = LockedFile::open_within(disk, env, path, opening, Some(patience))
            .map_err(Error::io("lock", path))?;
        let Some(locked) = locked.filter(|locked| is_same(locked.file(), &file)) else { return Ok(None) };
        let places = Places::of(path, &file, &env.home).map_err(Error::io("examine", path))?;
        if places.any() {
            recover(disk, &env.notices, &places, locked.file())
                .map_err(|error| io_error("recover", path, error.into_io()))?;
        }
        let mut scan = Scan::new(shared.dialect);
        scan.parse(locked.file(), env, Manner::Silent)
            .map_err(|error| initial_error(&shared, path, error))?;
        let tail = scan.tail(locked.file()).map_err(Error::io("read", path))?;
        let found = locked.file().metadata().map_err(Error::io("examine", path))?;
        let (path, cursor, state) = (path.to_owned(), Cursor::default(), SpoolState::of(&found));
        Ok(Some(MailDrop { locked, _session: session, shared, path, places, scan, cursor, tail, state }))
    }
}

impl MailDrop {
    /// Returns the messages, without the pseudo message.
    pub(crate) fn messages(&self) -> &[MessageInfo] {
        &self.scan.messages
    }

    /// Returns the names of keywords.
    pub(crate) fn keywords(&self, mask: KeywordMask) -> Vec<Keyword> {
        self.scan.keywords.named(mask).cloned().collect()
    }

    /// Returns what the file is, now that all is done to it.
    pub(crate) fn state(&self) -> SpoolState {
        self.state
    }

    /// Returns how long the file is.
    pub(crate) fn len(&self) -> u64 {
        self.scan.file_len
    }

    /// Reads a message as [`ailurus_store::Mailbox::read`] does.
    pub(crate) fn read(&mut self, index: usize, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let (message, slot) = (self.scan.messages[index], self.scan.slots[index]);
        let (uid, file) = (message.uid(), self.locked.file());
        let read = |cursor: &mut Cursor, out: &mut Vec<u8>| {
            if !cursor.stands_at(uid, Extent::Whole, from) {
                cursor.start(uid, Extent::Whole, &slot);
                cursor.skip(file, from)?;
            }
            cursor.read(file, most, out)
        };
        read(&mut self.cursor, out).map_err(Error::io("read", &self.path))
    }

    /// Reads the From_ line of a message, if it has one.
    pub(crate) fn envelope_line(&self, index: usize) -> Result<Option<Vec<u8>>> {
        let (file, slot) = (self.locked.file(), &self.scan.slots[index]);
        from_line(file, self.shared.dialect, slot).map_err(Error::io("read", &self.path))
    }

    /// Tells whether something is there that no user would miss: a pseudo message, NULs.
    pub(crate) fn has_rest(&self) -> bool {
        self.scan.messages.is_empty() && self.len() > 0 && self.when_empty() == WhenEmpty::Nothing
    }

    /// Removes the messages that are `gone`, and syncs the file. Nothing stays of a spool without messages, unless its
    /// UID validity value could come back with the next mail: then the pseudo message does.
    pub(crate) fn remove(&mut self, gone: &dyn Fn(usize) -> bool) -> Result<()> {
        let known = self.scan.messages.len();
        self.parse_growth()?;
        let Shared { disk, env, .. } = &*self.shared;
        let file = self.locked.file();
        let target = Target { disk, env, places: &self.places, file, when_empty: self.when_empty() };
        self.cursor = Cursor::default();
        let gone = |index: usize| index < known && gone(index);
        write_out(&target, &mut self.scan, &gone, Recent::Untold).map_err(|error| match error {
            RewriteError::Unchanged(error) | RewriteError::Interrupted(error) => {
                io_error("rewrite", &self.path, error)
            }
        })?;
        let now = env.clock.now();
        let is_new = !self.scan.messages.is_empty();
        // Only biff programs miss it.
        disk.set_times(file, if is_new { now - 1 } else { now }, if is_new { now } else { now - 1 }).ok();
        self.tail = self.scan.tail(file).map_err(Error::io("read", &self.path))?;
        self.state = self.look()?;
        Ok(())
    }

    fn when_empty(&self) -> WhenEmpty {
        let is_in_file = self.scan.last_uid_digits.is_some();
        let comes_back = i64::from(self.scan.uid_validity) >= self.shared.env.clock.now();
        if is_in_file && comes_back { WhenEmpty::Pseudo } else { WhenEmpty::Nothing }
    }

    /// Takes in what a program without the locks added. It must not have done anything else.
    fn parse_growth(&mut self) -> Result<()> {
        let (now, file) = (self.look()?, self.locked.file());
        let (old, length) = (self.scan.file_len, now.length);
        let tail = self.scan.tail(file).map_err(Error::io("read", &self.path))?;
        if length < old || tail != self.tail || length == old && now != self.state {
            let spool = self.path.display();
            let what = format!("Mail drop {spool} lock failure, old={old} now={length}");
            return Err(Error::Lost { path: self.path.clone(), what });
        }
        if length > old {
            self.scan
                .parse(file, &self.shared.env, Manner::Silent)
                .map_err(|error| Error::Lost { path: self.path.clone(), what: parse_text(&error) })?;
        }
        Ok(())
    }

    /// Returns what the file is, which must still be the one of that name.
    fn look(&self) -> Result<SpoolState> {
        let found = self.locked.file().metadata().map_err(Error::io("examine", &self.path))?;
        let named = self.path.metadata().map_err(Error::io("examine", &self.path))?;
        if !files::is_one(&named, &found) {
            let what = "Unexpected changes to mailbox (try restarting): it was replaced".into();
            return Err(Error::Lost { path: self.path.clone(), what });
        }
        Ok(SpoolState::of(&found))
    }
}
