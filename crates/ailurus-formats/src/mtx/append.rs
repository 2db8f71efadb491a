//! New messages at the end of the file.

use super::align::IDENTITY;
use super::indexed;
use super::keywords::Wanted;
use super::ledger::{Held, Ledger};
use super::lf::Measure;
use super::line::{Field, Line, MOST};
use super::mailbox::{MtxMailbox, Spot, Use};
use super::note::{Intent, Last};
use super::parse::{give_uid, gone_events, message, record_event};
use super::torn;
use super::walk::{self, HEAD, Met, Sizes, Walk};
use super::{Dialect, Mtx};
use crate::checksum::Sum;
use crate::files;
use crate::incoming::{Incoming, LineEnds, Waiting};
use crate::index::Found;
use crate::journal::read_up_to;
use crate::lock::{Mode, Wait, lock_file};
use crate::mail_file::MailFile;
use crate::sidecar::Event;
use ailurus_store::{
    Access, Append, AppendMeta, Appended, Error, Level, Location, Manner, MessageInfo, Result,
};
use ailurus_types::{InternalDate, KeywordMask, Uid, UidSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Messages on their way into a mailbox.
pub(super) struct MtxAppend<'d> {
    driver: &'d Mtx,
    at: Location,
    path: PathBuf,
    incoming: Incoming,
}

/// A mailbox that is locked and known up to its end.
struct Tail {
    file: MailFile,
    ledger: Ledger,
    held: Held,
    /// The end of the file.
    end: u64,
    /// What the sidecar is to know of messages that others appended.
    events: Vec<Event<IDENTITY>>,
}

/// What is to be written.
#[derive(Default)]
struct Lines {
    lines: Vec<Vec<u8>>,
    uids: Vec<Uid>,
    /// The messages as the next session finds them.
    messages: Vec<MessageInfo>,
    spots: Vec<Spot>,
    last: Option<Last>,
    end: u64,
}

impl<'d> MtxAppend<'d> {
    pub(super) fn new(driver: &'d Mtx, at: &Location, path: &Path) -> Self {
        let line_ends = if driver.dialect.crlf { LineEnds::Crlf } else { LineEnds::Lf };
        let incoming = Incoming::new(path, &driver.environment, line_ends);
        Self { driver, at: at.clone(), path: path.into(), incoming }
    }

    /// Opens the mailbox and locks it; the file can be replaced in between.
    fn open(&self) -> Result<(MailFile, Ledger, Held)> {
        const MOST_TRIES: usize = 100;
        for _ in 0..MOST_TRIES {
            let file = self.driver.file(&self.path, self.open_or_create()?);
            let mut ledger = Ledger::new(&file);
            let held = ledger.hold(&file)?;
            if file.is_current() {
                file.recover(held.name())?;
                lock_file(&file.file, Mode::Shared, Wait::Block).map_err(file.io("lock"))?;
                return Ok((file, ledger, held));
            }
        }
        Err(Error::InUse { path: self.path.clone() })
    }

    fn open_or_create(&self) -> Result<File> {
        let failed = files::failure("open", &self.at, &self.path);
        match files::open(&self.path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.at.path().is_none() => {
                let (mode, _) = self.driver.environment.modes(&self.at.name);
                self.driver.disk.create_new(&self.path, mode).map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    /// Makes the lines: dates, sizes, flags; gives the UIDs.
    fn lines(&self, tail: &mut Tail) -> Result<Lines> {
        let dialect = self.driver.dialect;
        let clock = &self.driver.environment.clock;
        let mut made = Lines { end: tail.end, ..Lines::default() };
        for waiting in self.incoming.messages()? {
            let uid = give_uid(&mut tail.ledger, None);
            let uid = uid.ok_or_else(|| Error::Refused("no UID is left in this mailbox".into()))?;
            let mut keywords = KeywordMask::NONE;
            for keyword in &waiting.meta.keywords {
                match tail.ledger.add_keyword(keyword, &tail.held) {
                    Some(slot) => keywords = keywords.union(KeywordMask::slot(slot)),
                    None => self.driver.warn(format!("Unknown flag: {keyword}")),
                }
            }
            let slots = &tail.ledger.slots;
            let field = Field {
                keywords: slots.to_file(keywords, KeywordMask::NONE),
                system: waiting.meta.system,
                old: false,
            };
            let now = || InternalDate::from_timestamp(clock.now(), clock.local_offset());
            let mut line = Vec::with_capacity(MOST);
            let date = waiting.meta.internal_date.unwrap_or_else(now);
            Line::append_to(date, waiting.size, field, dialect, &mut line);
            let (head, rfc822_size) = self.head(waiting)?;
            let key = walk::key(Line::constant(&line), &head);
            let kept = slots.to_sidecar(keywords, Wanted::NotInFile);
            tail.events.push(record_event(uid, kept, key));
            made.last = Some(Last { offset: made.end, key });
            if let Ok(line) = Line::parse(&line, made.end, dialect, clock.local_offset()) {
                let met = Met { offset: made.end, line, key, rfc822_size };
                made.messages.push(message(uid, keywords, &met));
                made.spots.push(Spot::new(met.offset, line.size, key, line.len));
            }
            made.end += line.len() as u64 + waiting.size;
            made.lines.push(line);
            made.uids.push(uid);
        }
        Ok(made)
    }

    /// Returns the first octets of a message, by which it is known, and how many it has in CRLF form.
    fn head(&self, waiting: &Waiting) -> Result<(Vec<u8>, u64)> {
        let crlf = self.driver.dialect.crlf;
        let (mut head, mut measure) = (Vec::with_capacity(HEAD), Measure::default());
        let most = if crlf { HEAD as u64 } else { u64::MAX };
        self.incoming.give(waiting, most, &mut |piece| {
            head.extend_from_slice(&piece[..piece.len().min(HEAD - head.len())]);
            measure.add(piece);
            Ok(())
        })?;
        Ok((head, if crlf { waiting.size } else { measure.octets() }))
    }

    /// Gives lines and messages in pieces as they will be in the file.
    fn give(&self, lines: &[Vec<u8>], give: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for (line, message) in lines.iter().zip(self.incoming.messages()?) {
            give(line)?;
            self.incoming.give(message, u64::MAX, give)?;
        }
        Ok(())
    }

    /// Returns the check sum of the messages; flags are not in it.
    fn sum(&self, lines: &[Vec<u8>]) -> Result<u64> {
        let mut sum = Sum::default();
        for (line, message) in lines.iter().zip(self.incoming.messages()?) {
            sum.add(Line::constant(line));
            self.incoming.give(message, u64::MAX, &mut |piece| {
                sum.add(piece);
                Ok(())
            })?;
        }
        Ok(sum.value())
    }

    /// Announces the append in the sidecar, which knows the messages from now on, and syncs that.
    fn announce(&self, tail: &mut Tail, made: &Lines) -> Result<()> {
        let sum = self.sum(&made.lines)?;
        let line = made.lines.first().cloned().unwrap_or_default();
        let uid = |uid: Option<&Uid>| uid.map_or(0, |uid| uid.get());
        let uids = (uid(made.uids.first()), uid(made.uids.last()));
        tail.ledger.note.intent = Some(Intent { end: made.end, sum, uids, line });
        let events = std::mem::take(&mut tail.events);
        tail.ledger.append(&tail.file, &tail.held, events)
    }

    /// Writes all but the first line, then the first line, without which nobody sees anything; syncs it all.
    fn write(&self, file: &MailFile, start: u64, made: &Lines) -> Result<()> {
        const BLOCK: usize = 1024 * 1024;
        let Some(first) = made.lines.first() else { return Ok(()) };
        file.disk.set_len(&file.file, made.end).map_err(file.io("write to"))?;
        let (mut block, mut at, mut skip) = (Vec::new(), start, first.len());
        self.give(&made.lines, &mut |piece| {
            let piece = &piece[std::mem::take(&mut skip).min(piece.len())..];
            if block.is_empty() && at == start {
                at += first.len() as u64;
            }
            block.extend_from_slice(piece);
            if block.len() >= BLOCK {
                file.write(&block, at)?;
                at += block.len() as u64;
                block.clear();
            }
            Ok(())
        })?;
        if !block.is_empty() {
            file.write(&block, at)?;
        }
        file.write(first, start)?;
        file.sync()
    }

    /// Takes away what was written of an append that failed. If that fails too, the announcement stays behind for whoever
    /// comes next.
    fn undo(&self, tail: &mut Tail, made: &Lines) {
        let file = &tail.file;
        let cut = file.disk.set_len(&file.file, tail.end);
        if cut.map_err(file.io("cut back")).and_then(|()| file.sync()).is_ok() {
            tail.ledger.note.intent = None;
            let gone: UidSet = made.uids.iter().copied().collect();
            tail.ledger.append(file, &tail.held, gone_events(&gone)).ok();
        }
    }
}

impl Append for MtxAppend<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        self.incoming.begin(meta)
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.incoming.write(octets)
    }

    fn end(&mut self) -> Result<()> {
        self.incoming.end()
    }

    fn commit(self: Box<Self>) -> Result<Appended> {
        if self.incoming.messages()?.is_empty() {
            return Ok(Appended::default());
        }
        let (file, ledger, held) = self.open()?;
        let before = file.metadata()?;
        let mut tail = Tail::find(file, self.driver.dialect, ledger, held)?;
        let index =
            self.driver.index(&tail.file, &tail.ledger, &tail.held).filter(|_| tail.events.is_empty());
        let made = self.lines(&mut tail)?;
        self.announce(&mut tail, &made)?;
        if let Err(error) = self.write(&tail.file, tail.end, &made) {
            self.undo(&mut tail, &made);
            let accessed = (before.ctime() > before.atime()).then(|| before.atime());
            tail.file.restore_times(accessed, before.mtime());
            return Err(error);
        }
        let Tail { file, mut ledger, mut held, .. } = tail;
        (ledger.note.end, ledger.note.last, ledger.note.intent) = (made.end, made.last, None);
        // The messages are there and safe: an announcement that stays is settled by whoever comes next.
        ledger.append_lazily(&file, &held);
        ledger.shorten(&mut held);
        if before.len() == 0 {
            files::sync_parent(&*self.driver.disk, &self.path)?;
        }
        let proof = file.touch_signed(1, before.mtime(), index.as_ref().map(Found::proof));
        if let Some((index, proof)) = index.zip(proof).filter(|_| made.spots.len() == made.lines.len()) {
            indexed::extend(index, proof, (&ledger, &held), &made.messages, &made.spots);
        }
        let uids = ledger.can_write(&held).then_some((ledger.state.uid_validity, made.uids));
        Ok(Appended { uids })
    }
}

impl Tail {
    /// Finds the end of the mailbox, and gives UIDs to what others appended. Messages that the sidecar knows are not
    /// walked over as long as the last of them is where it was.
    fn find(file: MailFile, dialect: &'static Dialect, mut ledger: Ledger, mut held: Held) -> Result<Self> {
        if !ledger.read_state(&file, &held) || !is_there(&file, dialect, &ledger)? {
            let mailbox = MtxMailbox::load(file, dialect, ledger, &mut held, Use::Append, Manner::Silent)?;
            let MtxMailbox { file, ledger, end, .. } = mailbox;
            return Ok(Self { file, ledger, held, end, events: Vec::new() });
        }
        let (mut size, mut events) = (file.metadata()?.len(), Vec::new());
        if let Some(settled) = torn::settle(&file, dialect, &mut ledger, &held, true, size)? {
            size = settled.size;
            if let Some((first, last)) = settled.void {
                let void = (first..=last).filter_map(Uid::new);
                events.extend(void.map(|uid| Event::Gone { uid }));
            }
        }
        let mut walk = Walk::new(&file, dialect, ledger.note.end, size, Sizes::Unwanted);
        let mut last = ledger.note.last;
        while let Some(met) = walk.step()? {
            let uid = give_uid(&mut ledger, None);
            let uid = uid.ok_or_else(|| Error::Refused("no UID is left in this mailbox".into()))?;
            events.push(record_event(uid, KeywordMask::NONE, met.key));
            last = Some(Last { offset: met.offset, key: met.key });
        }
        let end = walk.at;
        (ledger.note.end, ledger.note.last) = (end, last);
        Ok(Self { file, ledger, held, end, events })
    }
}

/// Tells whether the last message that the sidecar knows is where it was.
fn is_there(file: &MailFile, dialect: &Dialect, ledger: &Ledger) -> Result<bool> {
    let note = &ledger.note;
    let Some(last) = note.last else { return Ok(note.end == 0) };
    let mut octets = Vec::new();
    read_up_to(&file.file, last.offset, MOST + HEAD, &mut octets).map_err(file.io("read"))?;
    let Ok(line) = Line::parse(&octets, last.offset, dialect, 0) else { return Ok(false) };
    let (written, text) = octets.split_at(line.len.into());
    let head = usize::try_from(line.size).unwrap_or(usize::MAX).min(HEAD).min(text.len());
    let end = last.offset.saturating_add(u64::from(line.len)).saturating_add(line.size);
    let same = walk::key(Line::constant(written), &text[..head]) == last.key;
    Ok(same && end == note.end && end <= file.metadata()?.len())
}

impl Mtx {
    fn warn(&self, text: String) {
        self.environment.notices.tell(Level::Warning, text);
    }
}
