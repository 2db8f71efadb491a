//! An open folder.

use super::edit::MhEdit;
use super::profile::Profile;
use super::scan::{Numbering, Work};
use super::table::{N, Note, Table};
use crate::disk::Disk;
use crate::numbered::{FileId, Folder, LineReader, Measure, Names, Stamp};
use crate::sidecar::{Event, Lock, Reading, Sidecar, State};
use ailurus_store::{
    Access, Changes, Edit, Environment, Error, Extent, Level, Location, Mailbox, Manner, PermanentFlags,
    Result, Snapshot, Wake,
};
use ailurus_types::{Keywords, MailboxName, SystemFlags, Uid, UidValidity};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// An open folder.
pub(super) struct MhMailbox {
    pub(super) environment: Arc<Environment>,
    pub(super) disk: Arc<dyn Disk>,
    name: MailboxName,
    /// The name of the sequence of what was not read.
    pub(super) unseen: Vec<u8>,
    pub(super) folder: Folder,
    pub(super) sidecar: Sidecar<N>,
    pub(super) table: Table,
    pub(super) state: State,
    pub(super) keeping: Keeping,
    /// Whether this session is the one that is told of \Recent messages.
    claims: bool,
    /// The times of the directory as it was last read, if every change since then shows in them.
    pub(super) stamp: Option<Stamp>,
    /// The same, though changes may not show.
    pub(super) last_stamp: Option<Stamp>,
    pub(super) highest: u32,
    /// Files that somebody may still have been writing.
    pub(super) fresh: Vec<(u32, FileId)>,
    /// Whether a file could not be read, which the next session tries again.
    pub(super) hides: bool,
    /// What is different from the sidecar, and could not be written there.
    pub(super) unsaved: Work,
    /// A file is another than it was, which the directory does not show.
    pub(super) must_scan: bool,
    /// The times of the directory when it was searched for files with other numbers.
    relocated: Option<Stamp>,
    reader: Option<(Uid, LineReader)>,
    /// The message read last: the next is probably it again, or the one behind.
    hint: usize,
}

/// What came of [`MhMailbox::synchronize`].
#[derive(Debug)]
pub(super) enum Synchronized {
    Fully,
    /// New messages are not shown, since their UIDs could not be written down.
    WithoutNew(Error),
}

/// Whether UIDs and flags outlive the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keeping {
    Sidecar,
    /// No sidecar can be written here: it is as with the reference.
    Nothing,
}

impl MhMailbox {
    /// Opens the folder at `path`.
    pub(super) fn open(
        environment: &Arc<Environment>,
        disk: &Arc<dyn Disk>,
        profile: &Profile,
        (at, path): (&Location, &Path),
        access: Access,
        manner: Manner,
    ) -> Result<Self> {
        let mut mailbox = Self::unread(environment, disk, profile, (at, path))?;
        mailbox.table.snapshot.writable = access == Access::ReadWrite && may_write(path);
        mailbox.claims = mailbox.table.snapshot.writable && manner == Manner::Session;
        let opened = mailbox.sidecar.lock().map_err(Error::io("lock", mailbox.sidecar.path()));
        match opened.and_then(|mut lock| mailbox.synchronize(&mut lock)) {
            Ok(Synchronized::Fully) => {}
            Ok(Synchronized::WithoutNew(error)) => mailbox.log_hidden(&error),
            Err(error) => {
                let text = format!("UIDs and flags are not kept in {}: {error}", path.display());
                environment.notices.tell(Level::Log, text);
                mailbox.go_alone()?;
            }
        }
        mailbox.table.pending = Changes::default();
        Ok(mailbox)
    }

    /// Returns the folder at `path`, of which nothing was read yet.
    pub(super) fn unread(
        environment: &Arc<Environment>,
        disk: &Arc<dyn Disk>,
        profile: &Profile,
        (at, path): (&Location, &Path),
    ) -> Result<Self> {
        let folder = Folder::open(path).map_err(crate::files::failure("open", at, path))?;
        let (mode, _) = environment.modes(&at.name);
        let snapshot = Snapshot {
            uid_validity: UidValidity::MIN,
            uid_next: None,
            keywords: Keywords::default(),
            permanent: PermanentFlags::default(),
            writable: false,
            sticky_uids: true,
            messages: Vec::new(),
        };
        Ok(Self {
            environment: Arc::clone(environment),
            disk: Arc::clone(disk),
            name: at.name.clone(),
            unseen: profile.unseen.clone(),
            sidecar: Sidecar::new(Arc::clone(disk), Sidecar::<N>::path_in(path), mode),
            folder,
            table: Table::new(snapshot),
            state: State::new(UidValidity::MIN),
            keeping: Keeping::Sidecar,
            claims: false,
            stamp: None,
            last_stamp: None,
            highest: 0,
            fresh: Vec::new(),
            hides: false,
            unsaved: Work::default(),
            must_scan: false,
            relocated: None,
            reader: None,
            hint: 0,
        })
    }

    /// Takes over what others did, and writes down what is new, all under the lock.
    pub(super) fn synchronize(&mut self, lock: &mut Lock) -> Result<Synchronized> {
        let now = self.now_stamp()?;
        let known = self.table.snapshot.largest_uid().map_or(0, Uid::get);
        let reading = self.sidecar.read(lock, &mut self.table).map_err(self.failed("read"))?;
        let numbering = if reading == Reading::Unusable { Numbering::Anew } else { Numbering::Known };
        let mut state = self.state_now(numbering);
        self.table.settle();
        self.check_fresh();
        let noted = Note::decode(&state.note).filter(|note| note.complete && note.stamp == now);
        if let Some(note) = noted.filter(|_| !self.must_scan) {
            (self.stamp, self.last_stamp, self.highest) = (Some(now), Some(now), note.highest);
        }
        let mut work = if self.stamp == Some(now) && numbering == Numbering::Known && !self.must_scan {
            Work::default()
        } else {
            self.scan(&mut state, numbering)?
        };
        work.add(std::mem::take(&mut self.unsaved));
        self.claim(&mut state, known, numbering);
        match self.save(lock, &state, &work) {
            Ok(()) => self.adopt(state),
            // The old UIDs are void: the new ones are those of this session.
            Err(_) if numbering == Numbering::Anew => {
                self.keeping = Keeping::Nothing;
                self.adopt(state);
            }
            Err(error) => {
                (self.must_scan, self.unsaved) = (true, work);
                if let Some(state) = self.sidecar.state().cloned() {
                    // Nobody may be told of a UID that is not written down.
                    self.table.truncate(state.uid_next);
                    self.adopt(state);
                }
                return Ok(Synchronized::WithoutNew(self.failed("write")(error)));
            }
        }
        Ok(Synchronized::Fully)
    }

    /// Returns the state to go on from.
    fn state_now(&self, numbering: Numbering) -> State {
        let known = self.sidecar.state();
        if let (Numbering::Known, Some(state)) = (numbering, known) {
            return state.clone();
        }
        let validity = self.sidecar.new_validity(self.environment.new_validity());
        self.environment.validities.give(validity.get());
        let mut state = State::new(validity);
        match known {
            // The keywords of messages whose flags can be saved.
            Some(known) => state.keywords = known.keywords.clone(),
            None => {
                for keyword in &self.environment.default_keywords {
                    state.keywords.find_or_add(keyword, Keywords::MAX).ok();
                }
            }
        }
        state
    }

    /// Finds out which of the messages behind the UID `known` are \Recent here.
    fn claim(&mut self, state: &mut State, known: u32, numbering: Numbering) {
        let last = self.table.snapshot.largest_uid().map_or(0, Uid::get);
        if numbering == Numbering::Anew {
            state.told = last;
            return;
        }
        let messages = &mut self.table.snapshot.messages;
        let from = messages.partition_point(|message| message.uid().get() <= known);
        for message in &mut messages[from..] {
            message.set_recent(message.uid().get() > state.told);
        }
        if self.claims {
            state.told = state.told.max(last);
        }
    }

    /// Writes what is new to the sidecar, if anything is.
    fn save(&mut self, lock: &mut Lock, state: &State, work: &Work) -> io::Result<()> {
        let old = self.sidecar.state();
        let note = self.note(state);
        let learned =
            note.filter(|note| note.complete && old.and_then(|old| Note::decode(&old.note)) != Some(*note));
        let same = old.is_some_and(|old| {
            State { note: Vec::new(), ..old.clone() } == State { note: Vec::new(), ..state.clone() }
        });
        let note = note.map_or_else(|| state.note.clone(), |note| note.encode());
        let state = State { note, ..state.clone() };
        if work.anew || self.sidecar.is_long() {
            self.sidecar.replace(lock, &state, self.table.records())
        } else if !work.is_empty() || !same || learned.is_some() {
            self.sidecar.append(lock, &state, work.events(&self.table))
        } else {
            Ok(())
        }
    }

    /// Adds events of an edit to the sidecar, where there is one.
    pub(super) fn save_events(
        &mut self,
        lock: Option<&Lock>,
        mut state: State,
        events: impl IntoIterator<Item = Event<N>>,
    ) -> Result<()> {
        if let Some(lock) = lock {
            if let Some(note) = self.note(&state) {
                state.note = note.encode();
            }
            self.sidecar.append(lock, &state, events).map_err(self.failed("write"))?;
        }
        self.adopt(state);
        Ok(())
    }

    fn note(&self, state: &State) -> Option<Note> {
        let stamp = self.last_stamp?;
        let complete =
            self.stamp == Some(stamp) && self.fresh.is_empty() && self.unsaved.is_empty() && !self.hides;
        let mut note = Note { stamp, complete, highest: self.highest, messages: 0, unseen: 0, recent: 0 };
        for message in &self.table.snapshot.messages {
            note.count(message.flags(), message.uid().get() > state.told);
        }
        Some(note)
    }

    /// Shows the state to the session.
    fn adopt(&mut self, state: State) {
        let sticky = self.keeping == Keeping::Sidecar;
        let Table { snapshot, pending, .. } = &mut self.table;
        pending.keywords |= snapshot.keywords != state.keywords;
        pending.uid_validity |= snapshot.uid_validity != state.uid_validity;
        snapshot.uid_validity = state.uid_validity;
        snapshot.uid_next = state.uid_next;
        snapshot.sticky_uids = sticky;
        snapshot.permanent = PermanentFlags::default();
        if sticky && snapshot.writable {
            let new_keywords = state.keywords.len() < Keywords::MAX;
            snapshot.permanent = PermanentFlags { system: SystemFlags::ALL, keywords: true, new_keywords };
        }
        snapshot.keywords = state.keywords.clone();
        self.state = state;
    }

    /// Goes on without a sidecar: UIDs and flags are those of this session.
    fn go_alone(&mut self) -> Result<()> {
        self.keeping = Keeping::Nothing;
        if let Ok(Some(lock)) = self.sidecar.lock_to_read() {
            // Whatever can be read of its flags is good.
            self.sidecar.read(&lock, &mut self.table).ok();
        }
        let mut state = self.state_now(Numbering::Anew);
        self.table.settle();
        self.now_stamp()?;
        self.scan(&mut state, Numbering::Anew)?;
        self.claim(&mut state, 0, Numbering::Anew);
        self.adopt(state);
        Ok(())
    }

    fn refresh_alone(&mut self) -> Result<()> {
        let known = self.table.snapshot.largest_uid().map_or(0, Uid::get);
        let mut state = self.state.clone();
        self.unsaved = Work::default();
        self.scan(&mut state, Numbering::Known)?;
        self.claim(&mut state, known, Numbering::Known);
        self.adopt(state);
        Ok(())
    }

    fn log_hidden(&self, error: &Error) {
        let text = format!("new messages in {} are not shown yet: {error}", self.folder.path().display());
        self.environment.notices.tell(Level::Log, text);
    }

    fn now_stamp(&self) -> Result<Stamp> {
        self.folder.stamp().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Lost {
                path: self.folder.path().into(),
                what: format!("Can't open mailbox {}: no such mailbox", self.name),
            },
            _ => Error::io("look at", self.folder.path())(error),
        })
    }

    /// Tells whether nothing at all has changed.
    fn is_quiet(&mut self) -> Result<bool> {
        self.check_fresh();
        let now = self.now_stamp()?;
        let news = self.keeping == Keeping::Sidecar && self.sidecar.has_news();
        Ok(self.stamp == Some(now) && !self.must_scan && !news)
    }

    /// A file whose writer was at work when it was listed may be another by now, and only the file shows it.
    fn check_fresh(&mut self) {
        let mut changed = false;
        for (number, id) in std::mem::take(&mut self.fresh) {
            changed |= !matches!(self.folder.look(number), Ok(Some(found)) if found.id == id);
            if id.is_fresh() {
                self.fresh.push((number, id));
            }
        }
        self.must_scan |= changed;
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.table.pending)
    }

    /// Takes the lock under which flags are changed, and reads what others did.
    pub(super) fn lock_to_change(&mut self) -> Result<Option<Lock>> {
        if self.keeping == Keeping::Nothing {
            if !self.is_quiet()? {
                self.refresh_alone()?;
            }
            return Ok(None);
        }
        let mut lock = self.sidecar.lock().map_err(self.failed("lock"))?;
        // What is known can be changed all the same, and messages can go to make room.
        if let Synchronized::WithoutNew(error) = self.synchronize(&mut lock)? {
            self.log_hidden(&error);
        }
        Ok(Some(lock))
    }

    /// Returns a closure for `map_err` that names the sidecar.
    fn failed(&self, op: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::io(op, self.sidecar.path().to_path_buf())
    }

    fn find(&mut self, uid: Uid) -> Result<usize> {
        let near = [self.hint, self.hint + 1];
        let messages = &self.table.snapshot.messages;
        let is = |index: &usize| messages.get(*index).is_some_and(|message| message.uid() == uid);
        let found = near.into_iter().find(is).or_else(|| self.table.snapshot.position(uid, 0));
        self.hint = found.ok_or(Error::Expunged { uid: uid.get() })?;
        Ok(self.hint)
    }

    /// Opens a message's file, which may have another number by now.
    fn open_message(&mut self, index: usize) -> Result<LineReader> {
        let failed = Error::io("read", self.folder.file(self.table.entries[index].number));
        match self.try_open(index) {
            Ok(Some(reader)) => Ok(reader),
            Ok(None) => {
                // The next look at the folder finds out what happened.
                self.must_scan = true;
                Err(Error::Expunged { uid: self.table.uid(index).get() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Finds out which numbers files have by now, all in one look at the directory: mh gives many of them new ones at once.
    pub(super) fn relocate(&mut self) -> io::Result<()> {
        let stamp = self.folder.stamp()?;
        if self.relocated == Some(stamp) {
            return Ok(());
        }
        let names = Names::with_inodes(self.folder.path())?;
        let (mut taken, mut moved) = (vec![false; names.len()], Vec::new());
        for index in 0..self.table.len() {
            // Hard links share an inode: who has a number keeps it.
            match names.binary_search(&(self.table.inode(index), self.table.entries[index].number)) {
                Ok(at) => taken[at] = true,
                Err(_) => moved.push(index),
            }
        }
        let mut next: HashMap<u64, usize> = HashMap::new();
        let mut told = Vec::new();
        for index in moved {
            let inode = self.table.inode(index);
            let at = next.entry(inode).or_insert_with(|| names.partition_point(|(other, _)| *other < inode));
            while taken.get(*at) == Some(&true) {
                *at += 1;
            }
            if let Some((_, number)) = names.get(*at).filter(|(other, _)| *other == inode) {
                taken[*at] = true;
                self.table.entries[index].number = *number;
                told.push(self.table.uid(index));
            }
        }
        self.unsaved.add(Work::moving(told));
        self.relocated = Some(stamp).filter(Stamp::is_settled);
        Ok(())
    }

    fn try_open(&mut self, index: usize) -> io::Result<Option<LineReader>> {
        let id = self.table.id(index);
        let mut file = self.folder.open_file(self.table.entries[index].number, &id)?;
        if file.is_none() {
            self.relocate()?;
            file = self.folder.open_file(self.table.entries[index].number, &id)?;
        }
        let Some(file) = file else { return Ok(None) };
        let found = FileId::of(&file.metadata()?);
        if found != id {
            // Renamed, or another one that looks alike.
            if !self.table.is_copy(index, &found, &Measure::of(&file)?) {
                return Ok(None);
            }
            self.table.set_id(index, &found);
            self.unsaved.add(Work::moving(vec![self.table.uid(index)]));
        }
        Ok(Some(LineReader::new(file)))
    }
}

fn may_write(path: &Path) -> bool {
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(path, access).is_ok()
}

impl Mailbox for MhMailbox {
    fn driver(&self) -> &'static str {
        "mh"
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn snapshot(&self) -> &Snapshot {
        &self.table.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let index = self.find(uid)?;
        let header = u64::from(self.table.entries[index].header);
        let size = u64::from(self.table.snapshot.messages[index].rfc822_size());
        let (start, end) = match extent {
            Extent::Whole => (0, size),
            Extent::Header => (0, header),
            Extent::Text => (header, size),
        };
        let at = start.saturating_add(from);
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most);
        if most == 0 {
            return Ok(0);
        }
        let mut reader = match self.reader.take() {
            Some((known, reader)) if known == uid => reader,
            _ => self.open_message(index)?,
        };
        let read = reader.read(at, most, out);
        let failed = Error::io("read", self.folder.file(self.table.entries[index].number));
        match read {
            Ok(0) => {
                self.must_scan = true;
                Err(failed(io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(read) => {
                self.reader = Some((uid, reader));
                Ok(read)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn refresh(&mut self) -> Result<Changes> {
        if self.is_quiet()? && self.unsaved.is_empty() {
            return Ok(self.take_changes());
        }
        self.reader = None;
        if self.keeping == Keeping::Nothing {
            self.refresh_alone()?;
            return Ok(self.take_changes());
        }
        let mut lock = self.sidecar.lock().map_err(self.failed("lock"))?;
        if let Synchronized::WithoutNew(error) = self.synchronize(&mut lock)? {
            self.log_hidden(&error);
        }
        Ok(self.take_changes())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Ok(Box::new(MhEdit::begin(self)?))
    }

    /// All changes are on the disk already.
    fn checkpoint(&mut self) -> Result<Changes> {
        self.refresh()
    }

    fn wake(&self) -> Wake {
        Wake { paths: vec![self.folder.path().into()] }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
