//! Reading and writing `.mixstatus` for a session.

use super::directory::{Exclusive, Held, Part};
use super::index::Told;
use super::mailbox::MixMailbox;
use super::status::{Record, Shape, WIDTH};
use super::text::{End, Line, Lines, Sequence, shown};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Error, Manner, Result};
use ailurus_types::Uid;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Records as near as this are written together; the octets between are read and written back.
const NEAR: u64 = 8192;
const SPAN: u64 = 64 * 1024;

/// What a line of the status file is.
enum Item<'l> {
    Record(Record, &'l [u8]),
    /// A line that should be a record, and is none.
    Bad,
    Unknown,
    Empty,
    /// From here on there are NULs only.
    End,
}

fn item<'l>(line: &Line<'l>, is_last: bool) -> Item<'l> {
    match line.text.first() {
        None => Item::Empty,
        Some(b':') => match Record::parse(line.text) {
            Some((record, more)) => Item::Record(record, more),
            None => Item::Bad,
        },
        Some(0) if is_last && line.text.iter().all(|octet| *octet == 0) => Item::End,
        Some(first) if first.is_ascii_uppercase() && line.end != End::None => Item::Unknown,
        Some(_) => Item::Bad,
    }
}

/// Whether a change is made safe at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sync {
    Now,
    /// It does no harm if it is lost.
    Never,
}

impl MixMailbox {
    /// Reads what changed in the status file, takes new messages for this session, and puts a damaged file right.
    pub(super) fn read_status(&mut self, held: &Held) -> Result<()> {
        let Some(file) = &held.status else { return Ok(()) };
        let directory = self.opened.directory.clone();
        let io = || directory.io("read", Part::Status);
        let len = file.metadata().map_err(io())?.len();
        let sequence = Sequence::read(file).map_err(io())?.filter(|found| found.value != 0);
        if sequence.is_none() {
            self.warn("Error in mix status sequence record".into());
        }
        let index = self.index.sequence.value;
        if (sequence, len, index) == (Some(self.status.sequence), self.status.len, self.status.index) {
            return Ok(());
        }
        let mut shape = Shape {
            sequence: sequence.unwrap_or_default(),
            len,
            index,
            is_usual: sequence.is_some_and(|sequence| sequence.len == 11),
            is_stale: false,
            is_damaged: sequence.is_none(),
        };
        let claimed = self.merge_status(file, &mut shape).map_err(io())?;
        self.status = shape;
        match held.exclusive() {
            Some(lock) if shape.is_damaged || claimed => self.write_claims(lock),
            _ => Ok(()),
        }
    }

    /// Takes over flags; tells whether messages were claimed.
    fn merge_status(&mut self, file: &File, shape: &mut Shape) -> io::Result<bool> {
        let may_claim = self.snapshot.writable && self.manner == Manner::Session;
        let mut lines = Lines::new(file, shape.sequence.len.into());
        let (mut next, mut previous, mut claimed) = (0, 0, false);
        loop {
            if let Some(record) = lines.usual::<WIDTH>()?.and_then(Record::parse_usual) {
                lines.skip(WIDTH);
                shape.is_damaged |= record.uid <= previous;
                previous = record.uid;
                claimed |= self.take_record(&record, &mut next, may_claim, shape);
                continue;
            }
            let Some(line) = lines.next()? else { break };
            shape.is_usual = false;
            let is_last = line.range().end == shape.len;
            match item(&line, is_last) {
                Item::Record(record, _) => {
                    shape.is_damaged |= record.uid <= previous;
                    previous = record.uid;
                    claimed |= self.take_record(&record, &mut next, may_claim, shape);
                }
                Item::Bad => {
                    let fixing = if self.snapshot.writable { ", fixing" } else { "" };
                    let line = shown(line.text, 80);
                    self.warn(format!("Error in mix status file message record{fixing}: {line}"));
                    shape.is_damaged = true;
                }
                Item::Unknown => {}
                Item::Empty => self.warn("Empty mix status record".into()),
                Item::End => {
                    self.warn("Truncated mix status record: ".into());
                    break;
                }
            }
        }
        shape.is_usual &= next == self.spots.len();
        Ok(claimed)
    }

    /// Takes over one record; `next` is the message that it is probably about.
    fn take_record(&mut self, record: &Record, next: &mut usize, may_claim: bool, shape: &mut Shape) -> bool {
        let uid = Uid::new(record.uid).expect("a record has a UID");
        let Some(index) = self.snapshot.position(uid, *next) else {
            shape.is_stale = true;
            shape.is_usual = false;
            return false;
        };
        shape.is_usual &= index == *next;
        *next = index + 1;
        let (spot, message) = (&mut self.spots[index], &mut self.snapshot.messages[index]);
        let modseq = low(record.modseq);
        let is_first = spot.told == Told::NoRecord;
        if !is_first && spot.modseq == modseq {
            return false;
        }
        spot.modseq = modseq;
        if !is_first && message.flags() != record.flags() {
            self.pending.flags.insert(uid);
        }
        message.set_flags(record.flags());
        if record.is_old() {
            spot.told = Told::Old;
            message.set_recent(message.is_recent() && !is_first);
        } else if is_first {
            spot.told = if may_claim { Told::Claimed } else { Told::Nobody };
            return may_claim;
        }
        false
    }

    /// Marks the messages that this session took as told, and puts a damaged file right.
    fn write_claims(&mut self, lock: Exclusive<'_>) -> Result<()> {
        let claimed = |spot: &&mut super::index::Spot| spot.told == Told::Claimed;
        let seq = self.next_sequence(&[self.status.sequence.value])?;
        let indices: Vec<usize> =
            (0..self.spots.len()).filter(|index| self.spots[*index].told == Told::Claimed).collect();
        for spot in self.spots.iter_mut().filter(claimed) {
            spot.told = Told::Old;
        }
        if self.status.is_damaged {
            return self.rewrite_status_with(lock, &indices, seq);
        }
        self.write_records(lock, &indices, seq, Sync::Never)
    }

    /// Writes the records of these messages, in ascending order, as they are in memory, and the sequence.
    pub(super) fn write_records(
        &mut self,
        lock: Exclusive<'_>,
        indices: &[usize],
        seq: u64,
        sync: Sync,
    ) -> Result<()> {
        for index in indices {
            self.spots[*index].modseq = low(seq);
        }
        let Some(digits) = self.status.sequence.digits_in_place(seq).filter(|_| self.status.is_usual) else {
            return self.rewrite_status_with(lock, indices, seq);
        };
        let directory = self.opened.directory.clone();
        let io = || directory.io("write to", Part::Status);
        let mut rest = indices;
        let mut block = Vec::new();
        while let Some(first) = rest.first() {
            let place = |index: usize| self.status.offset(index).unwrap_or(0);
            let start = place(*first);
            let far =
                |pair: &[usize]| place(pair[1]) > place(pair[0]) + NEAR || place(pair[1]) > start + SPAN;
            let count = rest.windows(2).position(far).map_or(rest.len(), |at| at + 1);
            let (run, after) = rest.split_at(count);
            rest = after;
            let end = place(*run.last().unwrap_or(first)) + WIDTH as u64;
            block.resize(usize::try_from(end - start).unwrap_or(0), 0);
            lock.status.read_exact_at(&mut block, start).map_err(directory.io("read", Part::Status))?;
            for index in run {
                let skip = usize::try_from(place(*index) - start).unwrap_or(0);
                let Some(octets) = block[skip..].first_chunk_mut::<WIDTH>() else { continue };
                self.patch(*index, octets, seq)?;
            }
            directory.disk.write_at(lock.status, &block, start).map_err(io())?;
        }
        directory.disk.write_at(lock.status, &digits, 1).map_err(io())?;
        self.status.sequence = self.status.sequence.changed(seq);
        if sync == Sync::Now {
            directory.disk.sync(lock.status).map_err(directory.io("sync", Part::Status))?;
        }
        Ok(())
    }

    fn patch(&self, index: usize, octets: &mut [u8; WIDTH], seq: u64) -> Result<()> {
        let message = &self.snapshot.messages[index];
        let record = Record::parse_usual(octets).filter(|record| record.uid == message.uid().get());
        let Some(record) = record else {
            let offset = self.status.offset(index).unwrap_or(0);
            let what = format!("Error in mix status file message record: {}", shown(octets, 80));
            return Err(self.opened.directory.damaged(Part::Status, offset, what));
        };
        let record =
            Record { modseq: seq, ..record.with(message.flags(), self.spots[index].told == Told::Old) };
        let mut out = Vec::with_capacity(WIDTH);
        record.write(b"", &mut out);
        if let Ok(new) = <[u8; WIDTH]>::try_from(out.as_slice()) {
            *octets = new;
            return Ok(());
        }
        let what = "flags do not fit into their place in the status file";
        Err(self.opened.directory.damaged(Part::Status, self.status.offset(index).unwrap_or(0), what))
    }

    /// Writes the whole file anew, through a journal: messages without a record get one, records without a message go.
    pub(super) fn rewrite_status(&mut self, lock: Exclusive<'_>) -> Result<()> {
        let seq = self.next_sequence(&[self.status.sequence.value])?;
        self.rewrite_status_with(lock, &[], seq)
    }

    fn rewrite_status_with(&mut self, lock: Exclusive<'_>, changed: &[usize], seq: u64) -> Result<()> {
        match self.try_rewrite_status(lock, changed, seq) {
            Ok(shape) => {
                self.status = shape;
                Ok(())
            }
            Err(error) => Err(self.failed(error, Part::Status)),
        }
    }

    fn try_rewrite_status(
        &mut self,
        lock: Exclusive<'_>,
        changed: &[usize],
        seq: u64,
    ) -> Result<Shape, RewriteError> {
        let directory = self.opened.directory.clone();
        let lost = |error: Error| RewriteError::Unchanged(io::Error::other(error));
        let places = directory.places(Part::Status, lock.status).map_err(lost)?;
        let mut rewrite = Rewrite::begin(&directory.disk, &places, lock.status)?;
        rewrite.literal(&Sequence::line(seq))?;
        let mut writer = Writer { mailbox: self, changed, seq, next: 0, is_usual: true };
        if writer.mailbox.status.is_damaged {
            writer.write_unknown(lock.status, &mut rewrite)?;
        } else {
            writer.write_lines(lock.status, &mut rewrite)?;
        }
        writer.write_up_to(u32::MAX, &mut rewrite)?;
        let is_usual = writer.is_usual;
        let len = rewrite.position();
        rewrite.finish()?;
        let sequence = Sequence::parse(&Sequence::line(seq)).unwrap_or_default();
        let is_usual = is_usual && sequence.len == 11;
        for spot in &mut self.spots {
            if spot.told == Told::NoRecord {
                (spot.told, spot.modseq) = (Told::Nobody, low(seq));
            }
        }
        let index = self.index.sequence.value;
        Ok(Shape { sequence, len, index, is_usual, is_stale: false, is_damaged: false })
    }
}

/// Writes the records of a session in ascending order.
struct Writer<'m> {
    mailbox: &'m MixMailbox,
    /// The messages whose flags in the file are not those in memory.
    changed: &'m [usize],
    seq: u64,
    /// The next message.
    next: usize,
    is_usual: bool,
}

impl Writer<'_> {
    /// Keeps what has not changed, with all that we do not know of it.
    fn write_lines(&mut self, file: &File, rewrite: &mut Rewrite<'_>) -> Result<(), RewriteError> {
        let mut lines = Lines::new(file, self.mailbox.status.sequence.len.into());
        let mut out = Vec::new();
        while let Some(line) = lines.next().map_err(RewriteError::Unchanged)? {
            match item(&line, line.range().end == self.mailbox.status.len) {
                Item::Record(record, more) => {
                    self.write_up_to(record.uid - 1, rewrite)?;
                    if !self.is_next(record.uid) {
                        continue;
                    }
                    let is_changed = self.changed.binary_search(&self.next).is_ok();
                    if is_changed || line.end != End::Crlf {
                        out.clear();
                        let record = if is_changed { self.changed_record(record) } else { record };
                        record.write(more, &mut out);
                        rewrite.literal(&out)?;
                        self.is_usual &= out.len() == WIDTH;
                    } else {
                        rewrite.copy(line.range())?;
                        self.is_usual &= line.text.len() == WIDTH - 2;
                    }
                    self.next += 1;
                }
                Item::Unknown => {
                    rewrite.copy(line.range())?;
                    self.is_usual = false;
                }
                Item::Bad | Item::Empty => {}
                Item::End => break,
            }
        }
        Ok(())
    }

    /// Keeps lines that we do not know of a file whose records have no order.
    fn write_unknown(&mut self, file: &File, rewrite: &mut Rewrite<'_>) -> Result<(), RewriteError> {
        let mut lines = Lines::new(file, self.mailbox.status.sequence.len.into());
        while let Some(line) = lines.next().map_err(RewriteError::Unchanged)? {
            let is_unknown = matches!(item(&line, false), Item::Unknown) && !line.text.starts_with(b"S");
            if is_unknown {
                rewrite.copy(line.range())?;
                self.is_usual = false;
            }
        }
        Ok(())
    }

    fn is_next(&self, uid: u32) -> bool {
        self.mailbox.snapshot.messages.get(self.next).is_some_and(|message| message.uid().get() == uid)
    }

    fn changed_record(&self, record: Record) -> Record {
        let (message, spot) = (&self.mailbox.snapshot.messages[self.next], &self.mailbox.spots[self.next]);
        Record { modseq: self.seq, ..record.with(message.flags(), spot.told == Told::Old) }
    }

    /// Writes records of messages up to this UID that have none in the file.
    fn write_up_to(&mut self, uid: u32, rewrite: &mut Rewrite<'_>) -> Result<(), RewriteError> {
        let mut out = Vec::new();
        while let Some(message) = self.mailbox.snapshot.messages.get(self.next)
            && message.uid().get() <= uid
        {
            let spot = &self.mailbox.spots[self.next];
            let is_kept = spot.told != Told::NoRecord && self.changed.binary_search(&self.next).is_err();
            let modseq = if is_kept { spot.modseq.into() } else { self.seq };
            out.clear();
            Record::new(message.uid().get(), message.flags(), spot.told == Told::Old, modseq)
                .write(b"", &mut out);
            rewrite.literal(&out)?;
            self.is_usual &= out.len() == WIDTH;
            self.next += 1;
        }
        Ok(())
    }
}

/// Changes are known by the low bits of their sequence.
fn low(modseq: u64) -> u32 {
    u32::try_from(modseq & u64::from(u32::MAX)).unwrap_or(0)
}
