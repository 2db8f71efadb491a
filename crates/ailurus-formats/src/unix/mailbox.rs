//! An open mailbox of unix format.

use super::cursor::{Cursor, from_line};
use super::edit::UnixEdit;
use super::indexed::Reached;
use super::parse::{KEYWORDS, ParseError, Scan, Slot};
use super::write::{Recent, Target, WhenEmpty, write_out};
use super::{Shared, io_error, settle_journal};
use crate::files;
use crate::index::{Notes, Proof, Stamp, set_times_signed};
use crate::journal::{Places, recover};
use crate::lock::{LockedFile, Mode, Opening, SessionLock};
use crate::rewrite::RewriteError;
use ailurus_store::{
    Access, Changes, Edit, Error, Extent, Level, Mailbox, Manner, MessageInfo, MessageNotes, PermanentFlags,
    Result, Snapshot, Wake,
};
use ailurus_types::{SystemFlags, Uid, UidSet, UidValidity};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A mailbox of unix format. With the session lock it may be changed; changes of flags stay in memory until a
/// checkpoint. Dropped, it lets go of the lock and writes nothing; to obey the kiss of death, close it.
pub(super) struct UnixMailbox {
    pub(super) shared: Arc<Shared>,
    path: PathBuf,
    manner: Manner,
    file: File,
    pub(super) places: Places,
    lock: Option<SessionLock>,
    scan: Scan,
    /// What is in the file just before where it is parsed up to.
    tail: Vec<u8>,
    pub(super) snapshot: Snapshot,
    cursor: Cursor,
    /// What the next refresh or commit has to tell: also what was seen while reading, or by an edit that was dropped or
    /// failed.
    pub(super) pending: Changes,
    seen: Seen,
    /// That what is known of the file, without what is in memory only, is what is in it.
    proof: Option<Proof>,
    /// Of which state there is an index.
    stored: Option<Stamp>,
    notes: Notes,
}

/// By what a read-only session knows that the file was changed. Rewrites set the time of modification, in whole seconds,
/// and leave the length where flags are all that changed: only the time of change tells one from the next.
#[derive(Clone, Copy, Debug)]
struct Seen {
    length: u64,
    changed: (i64, i64),
    inode: (u64, u64),
    // The next change could have the same time: it is as fine as the system's clock ticks.
    is_fresh: bool,
}

/// The clock of files goes on at least this often.
const TICK: Duration = Duration::from_millis(11);

impl Seen {
    fn of(found: &Metadata) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
        let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
        Self {
            length: found.len(),
            changed: (found.ctime(), found.ctime_nsec()),
            inode: (found.dev(), found.ino()),
            is_fresh: (now - changed).unsigned_abs() < TICK.as_nanos(),
        }
    }

    /// Tells whether the file is surely what it was when this was seen.
    fn holds(&self, now: &Self) -> bool {
        !self.is_fresh && (self.length, self.changed) == (now.length, now.changed)
    }
}

impl UnixMailbox {
    pub(super) fn open(shared: &Arc<Shared>, path: &Path, access: Access, manner: Manner) -> Result<Self> {
        let env = &shared.env;
        let mut lock = None;
        let mut file = None;
        if access == Access::ReadWrite {
            match files::open(path, Access::ReadWrite) {
                Ok(opened) => {
                    lock = SessionLock::acquire(&shared.disk, env, &opened, manner);
                    if lock.is_none() && manner == Manner::Silent {
                        return Err(Error::InUse { path: path.into() });
                    }
                    file = Some(opened);
                }
                Err(error) if files::may_not_write(&error) => {
                    let text = "Can't get write access to mailbox, access is readonly";
                    if manner == Manner::Session {
                        env.notices.tell(Level::Warning, text);
                    }
                }
                Err(error) => return Err(io_error("open", path, error)),
            }
        }
        let file = match file {
            Some(file) => file,
            None => files::open(path, Access::ReadOnly).map_err(Error::io("open", path))?,
        };
        let before = file.metadata().map_err(Error::io("examine", path))?;
        let places = Places::of(path, &file, &env.home).map_err(Error::io("examine", path))?;
        let opening = Opening { mode: Mode::Shared, manner, access: Access::ReadOnly };
        let locked = lock_settled(shared, path, &file, &places, lock.is_some(), opening)?;
        let reached = shared.scan(&file, manner).map_err(|error| initial_error(shared, path, error))?;
        let Reached { scan, proof, stored } = reached;
        let mut mailbox = Self {
            shared: Arc::clone(shared),
            path: path.into(),
            manner,
            file,
            places,
            lock,
            snapshot: empty_snapshot(),
            scan,
            tail: Vec::new(),
            cursor: Cursor::default(),
            pending: Changes::default(),
            seen: Seen::of(&before),
            proof,
            stored,
            notes: Notes::default(),
        };
        mailbox.tail = mailbox.read_tail()?;
        mailbox.publish();
        mailbox.settle_times(&before);
        mailbox.keep_first();
        // Setting the times is a change as well.
        mailbox.seen = Seen::of(&mailbox.file.metadata().map_err(Error::io("examine", path))?);
        drop(locked);
        Ok(mailbox)
    }

    pub(super) fn slot(&self, index: usize) -> Option<Slot> {
        self.scan.slots.get(index).copied()
    }

    pub(super) fn writable(&self) -> Result<()> {
        if self.lock.is_some() { Ok(()) } else { Err(Error::ReadOnly { path: self.path.clone() }) }
    }

    pub(super) fn mark(&mut self, index: usize) {
        if let Some(slot) = self.scan.slots.get_mut(index) {
            slot.set(Slot::DIRTY, true);
        }
        self.scan.dirty = true;
    }

    pub(super) fn mark_keywords(&mut self) {
        self.scan.mark_first();
        self.scan.dirty = true;
    }

    /// Brings the snapshot's head in line with what is known of the file, and its messages in.
    fn publish(&mut self) {
        let writable = self.lock.is_some();
        let snapshot = &mut self.snapshot;
        std::mem::swap(&mut snapshot.messages, &mut self.scan.messages);
        std::mem::swap(&mut snapshot.keywords, &mut self.scan.keywords);
        snapshot.uid_validity = UidValidity::new(self.scan.uid_validity).unwrap_or(UidValidity::MIN);
        snapshot.uid_next = Uid::new(self.scan.uid_last).map_or(Some(Uid::MIN), Uid::next);
        snapshot.writable = writable;
        snapshot.permanent = if writable {
            PermanentFlags {
                system: SystemFlags::ALL,
                keywords: true,
                new_keywords: snapshot.keywords.len() < KEYWORDS,
            }
        } else {
            PermanentFlags::default()
        };
    }

    /// Works on the scan while it has messages and keywords, which are the snapshot's otherwise.
    fn with_scan<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        std::mem::swap(&mut self.snapshot.messages, &mut self.scan.messages);
        std::mem::swap(&mut self.snapshot.keywords, &mut self.scan.keywords);
        let result = work(self);
        self.publish();
        result
    }

    /// Looks for what others did to the file since, without any lock. `None`: nothing.
    fn news(&mut self) -> Result<Option<Metadata>> {
        let found = match self.path.metadata() {
            Ok(found) => found,
            Err(error) => {
                return Err(self.lose(format!("Mailbox stat failed, aborted: {error}")));
            }
        };
        let seen = Seen::of(&found);
        if seen.inode != self.seen.inode {
            return Err(self.lose("Unexpected changes to mailbox (try restarting): it was replaced".into()));
        }
        let is_news =
            if self.lock.is_some() { found.len() != self.scan.file_len } else { !self.seen.holds(&seen) };
        Ok(is_news.then_some(found))
    }

    fn find(&self, uid: Uid) -> Result<Slot> {
        let position = self.snapshot.position(uid, usize::MAX);
        position.and_then(|position| self.slot(position)).ok_or(Error::Expunged { uid: uid.get() })
    }

    /// Reads messages, without any lock. In a read-only session the one that has the mailbox may be moving them at
    /// this moment: what was read while the file changed does not count, and is read again, in the end under the locks.
    fn steadily<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        if self.lock.is_some() {
            return read(self);
        }
        let outcome = read(self);
        if self.news()?.is_none() {
            return outcome;
        }
        let locked = self.lock_to_read()?;
        let outcome = self.parse_anew().and_then(|()| read(self));
        drop(locked);
        outcome
    }

    fn lock_to_read(&self) -> Result<LockedFile> {
        let opening = Opening { mode: Mode::Shared, manner: self.manner, access: Access::ReadOnly };
        lock_settled(&self.shared, &self.path, &self.file, &self.places, false, opening)
    }

    /// Takes in what others did.
    fn look(&mut self) -> Result<()> {
        let news = self.news()?;
        if self.lock.is_none() {
            if news.is_some() {
                let locked = self.lock_to_read()?;
                self.parse_anew()?;
                drop(locked);
            }
            return Ok(());
        }
        // UIDs that a client is told must be in the file before another program can take them away.
        if let Some(before) = &news {
            let locked = self.lock_for_change()?;
            if self.scan.unwritten_uids {
                self.write_locked(&locked, &|_| false)?;
            } else {
                self.settle_times(before);
            }
        } else if self.scan.unwritten_uids {
            self.write(&|_| false)?;
        }
        Ok(())
    }

    fn lose(&mut self, what: String) -> Error {
        self.lock = None;
        self.proof = None;
        self.snapshot.writable = false;
        self.snapshot.permanent = PermanentFlags::default();
        Error::Lost { path: self.path.clone(), what }
    }

    /// Parses what was appended, under a lock of ours.
    fn parse_growth(&mut self) -> Result<()> {
        let length = self.file.metadata().map_err(Error::io("examine", &self.path))?.len();
        if length < self.scan.file_len {
            let was = self.scan.file_len;
            return Err(self.lose(format!("Mailbox shrank from {was} to {length} bytes, aborted")));
        }
        // A program that takes no session lock may have moved messages about, whatever the size is now.
        if self.read_tail()? != self.tail {
            let what = "Unexpected changes to mailbox (try restarting): messages were moved";
            return Err(self.lose(what.into()));
        }
        if length == self.scan.file_len {
            return Ok(());
        }
        let (count, validity) = (self.snapshot.messages.len(), self.scan.uid_validity);
        let shared = Arc::clone(&self.shared);
        let parsed = self.with_scan(|this| this.scan.parse(&this.file, &shared.env, this.manner));
        if let Err(error) = parsed {
            let what = parse_text(&error);
            return Err(self.lose(what));
        }
        self.tail = self.read_tail()?;
        self.pending.arrived |= self.snapshot.messages.len() > count;
        self.pending.uid_validity |= self.scan.uid_validity != validity;
        Ok(())
    }

    fn read_tail(&self) -> Result<Vec<u8>> {
        self.scan.tail(&self.file).map_err(Error::io("read", &self.path))
    }

    /// Parses the whole file anew under a lock, in a read-only session, whose neighbour may have moved everything.
    fn parse_anew(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let Reached { mut scan, proof, stored } =
            shared.scan(&self.file, Manner::Silent).map_err(|error| {
                let what = parse_text(&error);
                self.lose(what)
            })?;
        (self.proof, self.stored) = (proof, stored);
        if let Some(proof) = proof.filter(|proof| stored != Some(proof.stamp())) {
            shared.keep(proof, &self.file, &scan, (&scan.messages, &scan.keywords));
            self.stored = Some(proof.stamp());
        }
        let found = self.file.metadata().map_err(Error::io("examine", &self.path))?;
        self.seen = Seen::of(&found);
        self.cursor = Cursor::default();
        let before = std::mem::take(&mut self.snapshot.messages);
        let keywords = std::mem::take(&mut self.snapshot.keywords);
        let validity = self.scan.uid_validity;
        for message in &mut scan.messages {
            let old = before.binary_search_by_key(&message.uid(), |old| old.uid());
            if let Ok(old) = old {
                message.set_recent(before[old].is_recent());
                if before[old].flags() != message.flags() {
                    self.pending.flags.insert(message.uid());
                }
            }
        }
        let there = |uid| scan.messages.binary_search_by_key(&uid, |message| message.uid()).is_ok();
        for message in before.iter().filter(|message| !there(message.uid())) {
            self.pending.expunged.insert(message.uid());
        }
        let newest = before.last().map(|message| message.uid());
        self.pending.arrived |= scan.messages.last().map(|message| message.uid()) > newest;
        self.pending.keywords |= scan.keywords != keywords;
        self.pending.uid_validity |= scan.uid_validity != validity;
        self.scan = scan;
        self.publish();
        Ok(())
    }

    /// Opens the file under the exclusive locks of a change, with what others appended parsed.
    fn lock_for_change(&mut self) -> Result<LockedFile> {
        self.writable()?;
        let opening = Opening { mode: Mode::Exclusive, manner: self.manner, access: Access::ReadWrite };
        let shared = Arc::clone(&self.shared);
        let locked = LockedFile::open(&shared.disk, &shared.env, &self.path, opening)
            .map_err(Error::io("lock", &self.path))?;
        if !is_same(locked.file(), &self.file) {
            return Err(self.lose("Unexpected changes to mailbox (try restarting): it was replaced".into()));
        }
        // What others did since may be more than an append.
        self.proof = self.proof.and_then(|proof| proof.still(locked.file()));
        if self.places.any() {
            self.proof = None;
            // Of an append that died: nothing else is journaled while this session has the lock.
            let done = recover(&shared.disk, &shared.env.notices, &self.places, locked.file());
            done.map_err(|error| io_error("recover", &self.path, error.into_io()))?;
        }
        self.parse_growth()?;
        Ok(locked)
    }

    /// Writes everything, without the messages that are `gone`.
    pub(super) fn write(&mut self, gone: &dyn Fn(usize) -> bool) -> Result<()> {
        let locked = self.lock_for_change()?;
        if (0..self.snapshot.messages.len()).any(gone) {
            self.check_places(&locked)?;
        }
        self.write_locked(&locked, gone)
    }

    /// Makes sure, before messages are removed, that they are still where they were. A program that takes no session lock may
    /// have put others there, which nothing but a look at all of the file tells if the size and the end are the same.
    fn check_places(&mut self, locked: &LockedFile) -> Result<()> {
        if self.proof.is_some() {
            return Ok(());
        }
        let Reached { scan: found, proof, .. } = match self.shared.scan(locked.file(), Manner::Silent) {
            Ok(reached) => reached,
            Err(error) => return Err(self.lose(parse_text(&error))),
        };
        let starts = |scan: &Scan| scan.slots.iter().map(|slot| slot.start).collect::<Vec<_>>();
        let uids = |messages: &[MessageInfo]| messages.iter().map(MessageInfo::uid).collect::<Vec<_>>();
        // UIDs that are not in the file tell nothing.
        let are_same = found.file_len == self.scan.file_len
            && starts(&found) == starts(&self.scan)
            && (self.scan.unwritten_uids || uids(&found.messages) == uids(&self.snapshot.messages));
        if are_same {
            // The next time it need not be read, unless others write to it again.
            self.proof = proof.filter(|_| self.agrees_with(&found));
            return Ok(());
        }
        Err(self.lose("Unexpected changes to mailbox (try restarting): messages were moved".into()))
    }

    /// Tells whether all that is known of the file is what a reading of it found, but for what is about to be written.
    fn agrees_with(&self, found: &Scan) -> bool {
        let lengths = |slot: &Slot| {
            (slot.text_len, slot.from_len, slot.header_len, slot.visible_len, slot.separator_len)
        };
        let known = self.scan.slots.iter().zip(&self.snapshot.messages);
        let mut pairs = known.zip(found.slots.iter().zip(&found.messages));
        (found.uid_validity, found.uid_last) == (self.scan.uid_validity, self.scan.uid_last)
            && found.keywords == self.snapshot.keywords
            && pairs.all(|((slot, message), (found_slot, found_message))| {
                lengths(slot) == lengths(found_slot) && (slot.has(Slot::DIRTY) || message == found_message)
            })
    }

    fn write_locked(&mut self, locked: &LockedFile, gone: &dyn Fn(usize) -> bool) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.cursor = Cursor::default();
        let places = self.places.clone();
        let proof = self.proof.take();
        let written = self.with_scan(|this| {
            let Shared { disk, env, .. } = &*shared;
            let (file, when_empty) = (locked.file(), WhenEmpty::Pseudo);
            let target = Target { disk, env, places: &places, file, when_empty };
            write_out(&target, &mut this.scan, gone, Recent::Told)
        });
        match written {
            Ok(()) => {
                self.tail = self.read_tail()?;
                let now = shared.env.clock.now();
                // Only the times are at stake: biff programs, and the index.
                let (disk, env) = (&*shared.disk, &shared.env);
                self.proof = set_times_signed(disk, env, locked.file(), (now, now - 1), proof);
                Ok(())
            }
            Err(RewriteError::Unchanged(error)) => Err(io_error("rewrite", &self.path, error)),
            Err(RewriteError::Interrupted(error)) => {
                // The next opener finishes it; what we know of the file is void.
                self.lose(String::new());
                Err(io_error("rewrite", &self.path, error))
            }
        }
    }

    /// Sets the file's times as after reading (spec/storage-common.md §7).
    fn settle_times(&mut self, before: &Metadata) {
        let now = self.shared.env.clock.now();
        let (accessed, modified, changed) = (before.atime(), before.mtime(), before.ctime());
        let was_new = accessed < modified || accessed < changed;
        let has_recent = self.snapshot.messages.iter().any(MessageInfo::is_recent);
        // One with an index is as the last session left it, and stays so.
        let is_settled = self.stored.is_some() && !was_new && modified < accessed;
        let times = if self.lock.is_some() && is_settled {
            return;
        } else if self.lock.is_some() {
            (now, modified.min(now - 1))
        } else if has_recent && !was_new {
            let modified = modified.min(now);
            (modified - 1, modified)
        } else if !has_recent && was_new {
            (now, modified.min(now - 1))
        } else {
            return;
        };
        if times != (accessed, modified) {
            // Who may only read cannot set them.
            let Shared { disk, env, .. } = &*self.shared;
            let proof = self.proof.take().and_then(|proof| proof.still(&self.file));
            self.proof = match set_times_signed(&**disk, env, &self.file, times, proof) {
                // They are what they were.
                None => proof.and_then(|proof| proof.still(&self.file)),
                signed => signed,
            };
        }
    }

    /// Keeps what is known of the file in an index, if there is none of its state. Changes of flags must not be in
    /// memory only.
    fn keep(&mut self) {
        if let Some(proof) = self.proof.filter(|proof| self.stored != Some(proof.stamp())) {
            let known = (&self.snapshot.messages[..], &self.snapshot.keywords);
            self.shared.keep(proof, &self.file, &self.scan, known);
            self.stored = Some(proof.stamp());
        }
    }

    /// Keeps what was found when the mailbox was opened, of which there may be an index from before its times were set.
    fn keep_first(&mut self) {
        let shared = Arc::clone(&self.shared);
        if let (Some(proof), Some(stored), Some(indexes)) = (self.proof, self.stored, shared.indexes())
            && proof.stamp() != stored
            && let Some(found) = indexes.find(stored, Access::ReadWrite)
        {
            found.restamp(proof);
            self.stored = Some(proof.stamp());
        }
        self.keep();
    }
}

impl Mailbox for UnixMailbox {
    fn driver(&self) -> &'static str {
        self.shared.dialect.name()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let before = out.len();
        self.steadily(|this| {
            out.truncate(before);
            if !this.cursor.stands_at(uid, extent, from) {
                let slot = this.find(uid)?;
                this.cursor.start(uid, extent, &slot);
                this.cursor.skip(&this.file, from).map_err(Error::io("read", &this.path))?;
            }
            this.cursor.read(&this.file, most, out).map_err(Error::io("read", &this.path))
        })
    }

    /// What has no end in the file gets one as it is read.
    fn ends_line(&mut self, _: Uid) -> Result<bool> {
        Ok(true)
    }

    fn envelope_line(&mut self, uid: Uid) -> Result<Option<Vec<u8>>> {
        self.steadily(|this| {
            let slot = this.find(uid)?;
            from_line(&this.file, this.shared.dialect, &slot).map_err(Error::io("read", &this.path))
        })
    }

    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        self.notes.at(&self.file, self.proof?, self.snapshot.uid_validity, self.shared.indexes())
    }

    fn refresh(&mut self) -> Result<Changes> {
        self.look()?;
        Ok(std::mem::take(&mut self.pending))
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.writable()?;
        self.look()?;
        Ok(Box::new(UnixEdit::new(self)))
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        if self.is_dirty() {
            self.write(&|_| false)?;
            self.tell(Level::Info, "Checkpoint completed".into());
        }
        Ok(std::mem::take(&mut self.pending))
    }

    fn is_dirty(&self) -> bool {
        self.lock.is_some() && self.scan.dirty
    }

    fn wake(&self) -> Wake {
        Wake { paths: vec![self.path.clone()] }
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        if self.is_dirty() {
            let changes = self.checkpoint()?;
            drop(changes);
        }
        if self.lock.is_some() {
            // They are told, and the file says so.
            self.snapshot.messages.iter_mut().for_each(|message| message.set_recent(false));
        }
        self.keep();
        self.notes.close(self.shared.indexes());
        Ok(())
    }
}

impl UnixMailbox {
    pub(super) fn tell(&self, level: Level, text: String) {
        if self.manner == Manner::Session {
            self.shared.env.notices.tell(level, text);
        }
    }
}

/// Opens the file under the locks for reading; finishes first what a dead process of ours left undone.
pub(super) fn lock_settled(
    shared: &Shared,
    path: &Path,
    file: &File,
    places: &Places,
    has_session_lock: bool,
    opening: Opening,
) -> Result<LockedFile> {
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let locked =
            LockedFile::open(&shared.disk, &shared.env, path, opening).map_err(Error::io("lock", path))?;
        if !is_same(locked.file(), file) {
            let what = "Unexpected changes to mailbox (try restarting): it was replaced".into();
            return Err(Error::Lost { path: path.into(), what });
        }
        if !places.any() {
            return Ok(locked);
        }
        drop(locked);
        settle_journal(shared, path, file, places, has_session_lock)?;
    }
    Err(Error::InUse { path: path.into() })
}

pub(super) fn is_same(one: &File, other: &File) -> bool {
    matches!((one.metadata(), other.metadata()), (Ok(one), Ok(other)) if files::is_one(&one, &other))
}

pub(super) fn parse_text(error: &ParseError) -> String {
    match error {
        ParseError::NoFromLine { found } => {
            format!("Unexpected changes to mailbox (try restarting): {found}")
        }
        ParseError::HeaderTooLong { .. } => "message header is too long".into(),
        ParseError::Io(error) => format!("cannot read: {error}"),
    }
}

pub(super) fn initial_error(shared: &Shared, path: &Path, error: ParseError) -> Error {
    let format = shared.dialect.name();
    match error {
        ParseError::NoFromLine { .. } => Error::WrongFormat { format, path: path.into() },
        ParseError::HeaderTooLong { at } => {
            let what = "message header is too long".into();
            Error::Damaged { format, path: path.into(), offset: at, what }
        }
        ParseError::Io(error) => io_error("read", path, error),
    }
}

fn empty_snapshot() -> Snapshot {
    Snapshot {
        uid_validity: UidValidity::MIN,
        uid_next: None,
        keywords: ailurus_types::Keywords::default(),
        permanent: PermanentFlags::default(),
        writable: false,
        sticky_uids: true,
        messages: Vec::new(),
    }
}

/// Returns the UIDs at those positions.
pub(super) fn uids_at(snapshot: &Snapshot, wanted: impl Fn(usize) -> bool) -> UidSet {
    let mut uids = UidSet::new();
    for (_, message) in snapshot.messages.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        uids.insert(message.uid());
    }
    uids
}
