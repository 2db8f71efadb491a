//! New messages in a folder.

use super::Mh;
use super::mailbox::{MhMailbox, Synchronized};
use super::table::{N, Note};
use crate::files;
use crate::numbered::{Encoder, Filed, Folder, Incoming, Names, Written};
use crate::sidecar::{Event, Lock, Sidecar, State};
use crate::size_check::SizeCheck;
use ailurus_store::{Append, AppendMeta, Appended, Error, Level, Location, Result};
use ailurus_types::{Flags, Keyword, KeywordMask, Keywords, SystemFlags, Uid};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages on their way into a folder.
pub(super) struct MhAppend<'d> {
    driver: &'d Mh,
    at: Location,
    path: PathBuf,
    incoming: Incoming,
    encoder: Encoder,
    messages: Vec<(AppendMeta, Written)>,
    sizes: SizeCheck,
    /// What is being written, or was written last.
    current: AppendMeta,
    /// What was encoded last.
    encoded: Vec<u8>,
}

impl<'d> MhAppend<'d> {
    pub(super) fn new(driver: &'d Mh, at: &Location, path: &Path) -> Self {
        let (mode, _) = driver.environment.modes(&at.name);
        Self {
            driver,
            at: at.clone(),
            path: path.into(),
            incoming: Incoming::new(Arc::clone(&driver.disk), path, mode),
            encoder: Encoder::default(),
            messages: Vec::new(),
            sizes: SizeCheck::default(),
            current: AppendMeta::default(),
            encoded: Vec::new(),
        }
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |error| Error::io("append to", &path)(error)
    }

    /// Gives the messages numbers; nothing tells their UIDs.
    fn deliver_alone(self) -> Result<Appended> {
        let failed = self.failed();
        let highest = Names::read(&self.path).map_err(&failed)?.highest();
        self.incoming.commit(highest.saturating_add(1)).map_err(&failed)?;
        Ok(Appended::default())
    }

    /// Gives the messages numbers and UIDs.
    fn deliver(self, mailbox: &mut MhMailbox, mut lock: Lock) -> Result<Appended> {
        let failed = self.failed();
        let mut state = begin(mailbox, &mut lock, &failed)?;
        let mut note = match highest(&mailbox.folder, &state) {
            Ok(note) => note,
            Err(error) => return Err(failed(error)),
        };
        let mut given = Vec::new();
        for (meta, written) in &self.messages {
            let uid =
                state.give_uid().ok_or_else(|| Error::Refused("no UID is left in this mailbox".into()))?;
            let flags = self.flags(meta, &mut state);
            given.push((uid, flags, *written));
        }
        let first = note.highest.checked_add(1);
        let first = first.ok_or_else(|| Error::Refused("no number is left in this mailbox".into()))?;
        let delivered = self.incoming.commit(first).map_err(&failed)?;
        let numbers = delivered.numbers();
        let records = given.iter().zip(numbers).map(|((uid, flags, written), number)| {
            // To get its name has changed its change time.
            let found = mailbox.folder.look(*number).ok().flatten().map(|look| look.id);
            let id = found.filter(|id| id.is_like(&written.id)).unwrap_or(written.id);
            let filed = Filed::new(*number, id, &written.measure);
            note.count(*flags, true);
            Event::Message { uid: *uid, flags: *flags, identity: filed.encode() }
        });
        let events: Vec<Event<N>> = records.collect();
        note.highest = numbers.last().map_or(note.highest, |last| note.highest.max(*last));
        if let Ok(stamp) = mailbox.folder.stamp() {
            // Others may have delivered at the same time: only the numbers are known.
            (note.stamp, note.complete) = (stamp, false);
            state.note = note.encode();
        }
        if let Err(error) = mailbox.sidecar.append(&lock, &state, events) {
            delivered.take_back();
            return Err(failed(error));
        }
        let uids: Vec<Uid> = given.iter().map(|(uid, ..)| *uid).collect();
        Ok(Appended { uids: Some((state.uid_validity, uids)) })
    }

    fn flags(&self, meta: &AppendMeta, state: &mut State) -> Flags {
        let mut flags = Flags { system: meta.system, keywords: KeywordMask::NONE };
        for keyword in &meta.keywords {
            match state.keywords.find_or_add(keyword, Keywords::MAX) {
                Ok(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                Err(_) => self.warn(keyword),
            }
        }
        flags
    }

    fn warn(&self, keyword: &Keyword) {
        self.driver.environment.notices.tell(Level::Warning, format!("Unknown flag: {keyword}"));
    }
}

/// Reads what is needed to go on: the end of the sidecar, or, where that is not usable, all.
fn begin(mailbox: &mut MhMailbox, lock: &mut Lock, failed: &dyn Fn(io::Error) -> Error) -> Result<State> {
    if !mailbox.sidecar.read_state(lock).map_err(failed)?
        && let Synchronized::WithoutNew(error) = mailbox.synchronize(lock)?
    {
        return Err(error);
    }
    let state = mailbox.sidecar.state().cloned();
    state.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

/// Returns the note with the highest number in it; the folder is read if it changed since that was noted.
fn highest(folder: &Folder, state: &State) -> io::Result<Note> {
    let stamp = folder.stamp()?;
    let note = Note::decode(&state.note);
    if let Some(note) = note.filter(|note| note.stamp == stamp) {
        return Ok(note);
    }
    let highest = Names::read(folder.path())?.highest();
    let empty = Note { stamp, complete: false, highest, messages: 0, unseen: 0, recent: 0 };
    Ok(Note { stamp, complete: false, highest, ..note.unwrap_or(empty) })
}

impl Append for MhAppend<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        self.sizes.begin(meta.size)?;
        self.incoming.begin().map_err(files::failure("append to", &self.at, &self.path))?;
        self.current = meta;
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.sizes.count(octets)?;
        self.encoded.clear();
        self.encoder.push(octets, &mut self.encoded);
        self.incoming.write(&self.encoded).map_err(self.failed())
    }

    fn end(&mut self) -> Result<()> {
        self.sizes.check_whole()?;
        self.encoded.clear();
        self.encoder.finish(&mut self.encoded);
        self.incoming.write(&self.encoded).map_err(self.failed())?;
        let now = self.driver.environment.clock.now();
        let modified = self.current.internal_date.map_or(now, |date| date.timestamp());
        // The reference takes a file for seen that was read after it was written.
        let accessed = match self.current.system.contains(SystemFlags::SEEN) {
            true => now.max(modified.saturating_add(1)),
            false => now.min(modified),
        };
        let written = self.incoming.end(accessed, modified).map_err(self.failed())?;
        self.messages.push((std::mem::take(&mut self.current), written));
        self.sizes.end()
    }

    fn commit(self: Box<Self>) -> Result<Appended> {
        self.sizes.check_ended()?;
        if self.messages.is_empty() {
            return Ok(Appended::default());
        }
        let mut mailbox = self.driver.unread(&self.at, &self.path)?;
        match mailbox.sidecar.lock() {
            Ok(lock) => self.deliver(&mut mailbox, lock),
            Err(error) => {
                let path = Sidecar::<N>::path_in(&self.path);
                let text = format!("UIDs are not kept in {}: {error}", path.display());
                self.driver.environment.notices.tell(Level::Log, text);
                self.deliver_alone()
            }
        }
    }
}
