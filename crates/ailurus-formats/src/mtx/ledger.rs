//! The sidecar of a mailbox, and the locks under which it is used.

use super::align::{IDENTITY, News};
use super::keywords::Slots;
use super::note::Note;
use crate::index::{Head, OWN, is_local};
use crate::journal::Places;
use crate::lock::NameLock;
use crate::mail_file::MailFile;
use crate::sidecar::{Event, Lock, Reading, Record, Records, Sidecar, State};
use ailurus_store::{Error, Level, Result};
use ailurus_types::{Keyword, Keywords, Uid, UidValidity};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is known of a mailbox beyond its file.
///
/// Where there is no place for a sidecar that counts, or none that we may read, UIDs last as long as the session.
pub(super) struct Ledger {
    sidecar: Looked,
    pub(super) state: State,
    pub(super) note: Note,
    pub(super) slots: Slots,
}

enum Looked {
    NotYet,
    Found(Sidecar<IDENTITY>),
    Nowhere,
}

/// The locks of an operation, in the order in which they are let go.
pub(super) struct Held {
    sidecar: Option<Lock>,
    name: NameLock,
}

/// What [`Ledger::read`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// There is no sidecar that we could use: what the session knows is what there is to know.
    Nothing,
    /// What is new since the last time.
    More,
    /// All there is.
    Anew,
    /// It is new, lost or damaged, and is to be made anew. Keywords may have been told all the same.
    Lost,
}

impl Held {
    /// Returns the lock of the mailbox.
    pub(super) fn name(&self) -> &NameLock {
        &self.name
    }
}

impl Ledger {
    /// Returns the ledger of a mailbox, of which nothing is read yet.
    pub(super) fn new(file: &MailFile) -> Self {
        let validity = file.environment.new_validity();
        let state = State::new(UidValidity::new(validity).unwrap_or(UidValidity::MIN));
        let slots = Slots::new(&file.environment.default_keywords, &state.keywords);
        Self { sidecar: Looked::NotYet, state, note: Note::default(), slots }
    }

    /// Tells whether there is a sidecar, and it can be written.
    pub(super) fn can_write(&self, held: &Held) -> bool {
        matches!(self.sidecar, Looked::Found(_)) && held.sidecar.as_ref().is_some_and(Lock::is_exclusive)
    }

    /// Takes the locks under which the mailbox is parsed and changed. A sidecar that cannot be locked is done without.
    pub(super) fn hold(&mut self, file: &MailFile) -> Result<Held> {
        let name = file.lock()?;
        let sidecar = self.lock_sidecar(file).unwrap_or_else(|error| {
            self.give_up(file, &Error::io("lock the UIDs of", &file.path)(error));
            None
        });
        Ok(Held { sidecar, name })
    }

    fn lock_sidecar(&mut self, file: &MailFile) -> io::Result<Option<Lock>> {
        let places = Places::of_sidecar(&file.path, &file.file, &file.environment.home)?;
        if matches!(self.sidecar, Looked::NotYet) {
            let place = places.find_or_make_sidecar(&*file.disk);
            self.sidecar = place.map_or(Looked::Nowhere, |(path, mode)| {
                Looked::Found(Sidecar::new(Arc::clone(&file.disk), path, mode))
            });
        }
        let Looked::Found(sidecar) = &self.sidecar else { return Ok(None) };
        let lock = match sidecar.lock() {
            Err(error) if crate::files::may_not_write(&error) => sidecar.lock_to_read()?,
            lock => Some(lock?),
        };
        let trusted = |lock: &Lock| {
            lock.file().metadata().is_ok_and(|found| places.trusts_sidecar(sidecar.path(), &found))
        };
        Ok(lock.filter(trusted))
    }

    /// Goes on without a sidecar: UIDs last as long as the session.
    pub(super) fn give_up(&mut self, file: &MailFile, error: &Error) {
        let text = format!("UIDs are not kept: {error}");
        file.environment.notices.tell(Level::Log, text);
        self.sidecar = Looked::Nowhere;
    }

    /// Reads what is new in the sidecar, and takes over its state.
    pub(super) fn read(&mut self, file: &MailFile, held: &Held, news: &mut News) -> Told {
        let (Looked::Found(sidecar), Some(lock)) = (&mut self.sidecar, &held.sidecar) else {
            return Told::Nothing;
        };
        let told = match sidecar.read(lock, news) {
            Ok(Reading::Same | Reading::More) => Told::More,
            Ok(Reading::Anew) => Told::Anew,
            Ok(Reading::Unusable) if lock.is_exclusive() => Told::Lost,
            Ok(Reading::Unusable) => Told::Nothing,
            Err(error) => {
                self.give_up(file, &Error::io("read the UIDs of", &file.path)(error));
                return Told::Nothing;
            }
        };
        let state = sidecar.state().cloned();
        match (told, state) {
            (Told::Nothing, _) | (_, None) => {}
            (Told::Lost, Some(state)) => self.state.keywords = state.keywords,
            (_, Some(state)) => self.state = state,
        }
        self.take_state(file);
        told
    }

    /// Reads the state alone, which costs the same for a mailbox of any size; `false` if that cannot be done.
    pub(super) fn read_state(&mut self, file: &MailFile, held: &Held) -> bool {
        let (Looked::Found(sidecar), Some(lock)) = (&mut self.sidecar, &held.sidecar) else { return false };
        if !lock.is_exclusive() || !sidecar.read_state(lock).unwrap_or(false) {
            return false;
        }
        if let Some(state) = sidecar.state() {
            self.state = state.clone();
        }
        self.take_state(file);
        true
    }

    /// Returns what an index is of beside the mailbox file: the state of the sidecar, and how many keywords have bits in
    /// the file. `None` where the sidecar does not say all that the session knows.
    pub(super) fn mark(&self, held: &Held) -> Option<[u64; OWN]> {
        let (Looked::Found(sidecar), Some(lock)) = (&self.sidecar, &held.sidecar) else { return None };
        let [device, inode, length, changed, generation] =
            Some(lock).filter(|lock| lock.is_exclusive()).and_then(|lock| sidecar.identity(lock))?;
        let local = is_local(lock.file());
        local.then_some([device, inode, length, changed, generation, self.slots.bits() as u64])
    }

    /// Tells whether an index is of the present state of the sidecar, as it was read last, and of the keywords that are
    /// configured now.
    pub(super) fn fits(&self, held: &Held, head: &Head) -> bool {
        self.mark(held) == Some(head.own)
            && self.slots.names == head.keywords
            && self.state.uid_validity.get() == head.uid_validity
            && self.uid_last() == head.uid_last
            && self.note.intent.is_none()
            && self.note.end == head.stamp.size()
            && !self.is_exhausted()
    }

    /// Goes on from what an index says, without reading all of the sidecar; `false` if it does not say the same.
    pub(super) fn resume(&mut self, file: &MailFile, held: &Held, head: &Head) -> bool {
        let fits = self.read_state(file, held) && self.fits(held, head);
        if let (true, Looked::Found(sidecar)) = (fits, &mut self.sidecar) {
            sidecar.skip_what_is_known();
        }
        fits
    }

    /// Returns the last UID that was given.
    pub(super) fn uid_last(&self) -> u32 {
        self.state.uid_next.map_or(u32::MAX, |next| next.get() - 1)
    }

    fn take_state(&mut self, file: &MailFile) {
        self.note = Note::decode(&self.state.note).unwrap_or_default();
        self.slots = Slots::new(&file.environment.default_keywords, &self.state.keywords);
    }

    /// Forgets what was read, so that all is told anew.
    pub(super) fn forget(&mut self) {
        self.sidecar = Looked::NotYet;
    }

    /// Tells whether hardly any UID is left.
    pub(super) fn is_exhausted(&self) -> bool {
        const RESERVE: u32 = 1_000_000;
        self.state.uid_next.is_none_or(|next| next.get() > u32::MAX - RESERVE)
    }

    /// Begins anew under a UID validity that no client knows; `used` is the largest UID in use.
    pub(super) fn start_over(&mut self, file: &MailFile, used: Option<Uid>) {
        if let Looked::Found(sidecar) = &self.sidecar {
            self.state.uid_validity = sidecar.new_validity(file.environment.new_validity());
            file.environment.validities.give(self.state.uid_validity.get());
        }
        self.state.uid_next = used.map_or(Some(Uid::MIN), Uid::next);
        self.note = Note::default();
    }

    /// Returns the slot of a keyword for a message that is to have it, made if it is new. `None` when there is no room,
    /// or none but in a sidecar that cannot be written.
    pub(super) fn add_keyword(&mut self, keyword: &Keyword, held: &Held) -> Option<usize> {
        match self.slots.names.find(keyword.as_str()) {
            Some(slot) => (self.can_write(held) || self.slots.is_in_file(slot)).then_some(slot),
            None if self.can_write(held) => self.slots.add(keyword, &mut self.state.keywords),
            None => None,
        }
    }

    /// Puts the keywords of the sidecar back to what they were.
    pub(super) fn set_keywords(&mut self, file: &MailFile, keywords: &Keywords) {
        self.state.keywords.clone_from(keywords);
        self.slots = Slots::new(&file.environment.default_keywords, keywords);
    }

    fn noted(&self, file: &MailFile) -> Vec<u8> {
        Note { format: letter_of(file.format), ..self.note.clone() }.encode()
    }

    /// Tells whether a file of no octets is a mailbox of this format: it was made as one, or all its messages are gone.
    pub(super) fn is_of(&self, format: &str) -> bool {
        self.note.format == letter_of(format)
    }

    /// Writes what changed with the state and the note as they are here now, and syncs it. Does nothing where there is no
    /// sidecar to write.
    pub(super) fn append(
        &mut self,
        file: &MailFile,
        held: &Held,
        events: impl IntoIterator<Item = Event<IDENTITY>>,
    ) -> Result<()> {
        self.state.note = self.noted(file);
        let Some((sidecar, lock)) = writable(&mut self.sidecar, held) else { return Ok(()) };
        sidecar.append(lock, &self.state, events).map_err(Error::io("write the UIDs of", &file.path))
    }

    /// Writes the state and the note; if that is lost nothing is.
    pub(super) fn append_lazily(&mut self, file: &MailFile, held: &Held) {
        self.state.note = self.noted(file);
        if let Some((sidecar, lock)) = writable(&mut self.sidecar, held) {
            sidecar.append_lazily(lock, &self.state).ok();
        }
    }

    /// Writes the sidecar anew, with all messages.
    pub(super) fn replace(
        &mut self,
        file: &MailFile,
        held: &mut Held,
        records: impl IntoIterator<Item = Record<IDENTITY>>,
    ) -> Result<()> {
        self.state.note = self.noted(file);
        let (Looked::Found(sidecar), Some(lock)) = (&mut self.sidecar, &mut held.sidecar) else {
            return Ok(());
        };
        if !lock.is_exclusive() {
            return Ok(());
        }
        let replaced = sidecar.replace(lock, &self.state, records);
        replaced.map_err(Error::io("write the UIDs of", &file.path))
    }

    /// Replaces the sidecar, of which not all is known, if what changed has outgrown it. If that fails the old one is as
    /// good.
    pub(super) fn shorten(&mut self, held: &mut Held) {
        let (Looked::Found(sidecar), Some(lock)) = (&mut self.sidecar, &mut held.sidecar) else { return };
        let mut records = Records::default();
        if sidecar.is_long() && sidecar.read(lock, &mut records).is_ok_and(|reading| reading == Reading::Anew)
        {
            sidecar.replace(lock, &self.state, records.finish().drain(..)).ok();
        }
    }

    /// Makes a copy of the sidecar for a mailbox that is about to be renamed, and returns where it is; what is in its place
    /// is of no mailbox any more.
    pub(super) fn copy_for(
        &mut self,
        file: &MailFile,
        held: &Held,
        new: &Path,
    ) -> io::Result<Option<PathBuf>> {
        let places = Places::of_sidecar(new, &file.file, &file.environment.home)?;
        for stale in places.paths() {
            match file.disk.remove(stale) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let (Looked::Found(sidecar), Some(lock)) = (&mut self.sidecar, &held.sidecar) else {
            return Ok(None);
        };
        let mut records = Records::default();
        if sidecar.read(lock, &mut records)? == Reading::Unusable {
            return Ok(None);
        }
        let Some(state) = sidecar.state() else { return Ok(None) };
        let Some((path, mode)) = places.find_or_make_sidecar(&*file.disk) else { return Ok(None) };
        let mut copy = Sidecar::new(Arc::clone(&file.disk), path.clone(), mode);
        let lock = copy.lock()?;
        copy.fill(&lock, state, records.finish().drain(..)).inspect_err(|_| {
            file.disk.remove(&path).ok();
        })?;
        Ok(Some(path))
    }

    /// Removes the sidecar of a mailbox that is there no more.
    pub(super) fn remove(&mut self, file: &MailFile) {
        if let Looked::Found(sidecar) = &self.sidecar {
            file.disk.remove(sidecar.path()).ok();
        }
    }

    /// Tells whether the sidecar should be replaced, for what changed has outgrown it.
    pub(super) fn is_long(&self) -> bool {
        matches!(&self.sidecar, Looked::Found(sidecar) if sidecar.is_long())
    }

    /// Tells, without a lock, whether the sidecar is different from what was read.
    pub(super) fn has_news(&self) -> bool {
        matches!(&self.sidecar, Looked::Found(sidecar) if sidecar.has_news())
    }
}

fn letter_of(format: &str) -> u8 {
    format.bytes().next().unwrap_or(0)
}

fn writable<'l>(sidecar: &'l mut Looked, held: &'l Held) -> Option<(&'l mut Sidecar<IDENTITY>, &'l Lock)> {
    let (Looked::Found(sidecar), Some(lock)) = (sidecar, &held.sidecar) else { return None };
    lock.is_exclusive().then_some((sidecar, lock))
}
