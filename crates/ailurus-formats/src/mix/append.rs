//! New messages: their octets to the end of a data file, then one record each to the ends of status file and index.
//!
//! Nothing of what is there is read or written anew, so that a mailbox of a hundred thousand messages takes one more as
//! fast as an empty one. The index is written last: its record is what makes the message be there.

use super::data::Record as DataRecord;
use super::directory::{Exclusive, Held, Opened, Part, next_sequence};
use super::index::{Entry, Spot};
use super::mailbox::MixMailbox;
use super::meta::Meta;
use super::reclaim::new_data_file;
use super::repair;
use super::status::Record as StatusRecord;
use super::text::Sequence;
use super::{Mix, index};
use crate::journal::{UNIT, read_up_to};
use crate::lock::Mode;
use crate::size_check::SizeCheck;
use crate::spool::Spool;
use ailurus_store::{Access, Append, AppendMeta, Appended, Error, Level, Location, Manner, Result};
use ailurus_types::{Flags, InternalDate, KeywordMask, Uid, UidSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;

/// A data file does not grow beyond this, unless it is by one append.
const ROLL: u64 = 1024 * 1024;
/// How much of the end of index and status file is looked at.
const TAIL: u64 = 4096;
const BLOCK: usize = 1024 * 1024;

/// Messages on their way into a mailbox.
pub(super) struct MixAppend<'d> {
    driver: &'d Mix,
    at: Location,
    spool: Spool,
    messages: Vec<Waiting>,
    /// The message being written, and how many octets of it are missing.
    sizes: SizeCheck,
    header: HeaderEnd,
}

/// A message in the spool.
struct Waiting {
    meta: AppendMeta,
    start: u64,
    /// Octets of its header.
    header: u64,
}

/// Looks for the empty line that ends a header, in pieces of any size.
#[derive(Clone, Copy, Debug)]
struct HeaderEnd {
    seen: u64,
    /// How much of the empty line, and the line end before it, the last octets are.
    matched: usize,
    found: Option<u64>,
}

impl Default for HeaderEnd {
    fn default() -> Self {
        // What comes first is the beginning of a line: a message can be without a field.
        Self { seen: 0, matched: 2, found: None }
    }
}

impl HeaderEnd {
    const EMPTY_LINE: &'static [u8] = b"\r\n\r\n";

    fn push(&mut self, octets: &[u8]) {
        if self.found.is_some() {
            return;
        }
        for (at, octet) in octets.iter().enumerate() {
            if *octet == Self::EMPTY_LINE[self.matched] {
                self.matched += 1;
                if self.matched == Self::EMPTY_LINE.len() {
                    self.found = Some(self.seen + at as u64 + 1);
                    return;
                }
            } else {
                // After CR LF CR, another CR can be the first of the sequence again.
                self.matched = usize::from(*octet == b'\r');
            }
        }
        self.seen += octets.len() as u64;
    }
}

impl<'d> MixAppend<'d> {
    pub(super) fn new(driver: &'d Mix, at: &Location, directory: &std::path::Path) -> Self {
        let spool = Spool::new(&driver.environment, &directory.join(Part::Meta.name()));
        Self {
            driver,
            at: at.clone(),
            spool,
            messages: Vec::new(),
            sizes: SizeCheck::default(),
            header: HeaderEnd::default(),
        }
    }

    fn open(&self) -> Result<Opened> {
        let directory = self.driver.directory(&self.at)?;
        let opened = match Opened::open(directory.clone(), &self.at, Access::ReadWrite) {
            Err(Error::NotFound(_)) if self.at.path().is_none() => {
                self.driver.create_inbox(&self.at)?;
                Opened::open(directory, &self.at, Access::ReadWrite)
            }
            opened => opened,
        }?;
        if opened.writable { Ok(opened) } else { Err(Error::ReadOnly { path: opened.directory.path }) }
    }

    /// Makes the records: UIDs, keywords, dates. Positions are those of a data file that begins here.
    fn prepare(&self, meta: &mut Meta, seq: u64) -> Result<Records> {
        let mut records = Records::default();
        let clock = &self.driver.environment.clock;
        let mut pos = 0;
        for Waiting { meta: message, header, .. } in &self.messages {
            let uid = meta.uid_last.checked_add(1).and_then(Uid::new);
            let uid = uid.ok_or_else(|| Error::Refused("no UID is left in this mailbox".into()))?;
            meta.uid_last = uid.get();
            let mut flags = Flags { system: message.system, keywords: KeywordMask::NONE };
            for keyword in &message.keywords {
                match meta.add_keyword(keyword) {
                    Some(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                    None => {
                        let text = format!("Unknown flag: {keyword}");
                        self.driver.environment.notices.tell(Level::Warning, text);
                    }
                }
            }
            let now = || InternalDate::from_timestamp(clock.now(), clock.local_offset());
            let date = message.internal_date.unwrap_or_else(now);
            let mut line = Vec::with_capacity(super::data::USUAL);
            DataRecord::write(uid.get(), date, message.size, &mut line);
            let record = u16::try_from(line.len()).expect("a record is short");
            let header = u32::try_from(*header).unwrap_or(u32::MAX);
            let spot = Spot { pos, size: message.size, header, record, ..Spot::default() };
            pos = spot.end();
            records.entries.push(Entry { uid, date, spot });
            records.lines.push(line);
            StatusRecord::new(uid.get(), flags, false, seq).write(b"", &mut records.status);
        }
        records.len = pos;
        Ok(records)
    }

    /// Writes all of it, in an order in which a crash at any instant leaves either no message or all.
    fn write(&self, opened: &Opened, lock: Exclusive<'_>, mut meta: Meta, tail: Tail) -> Result<Appended> {
        let directory = &opened.directory;
        meta.uid_last = meta.uid_last.max(tail.last.map_or(0, |entry| entry.uid.get()));
        let mut records = self.prepare(&mut meta, tail.seq)?;
        let uids = records.entries.iter().map(|entry| entry.uid).collect();
        let uids = Some((meta.uid_validity, uids));
        if records.entries.is_empty() {
            return Ok(Appended { uids });
        }
        let data = DataFile::open(opened, &mut meta, tail.last.as_ref(), records.len)?;
        for entry in &mut records.entries {
            (entry.spot.file, entry.spot.pos) = (data.number, entry.spot.pos + data.len);
        }
        let done = self.write_data(&data, &records).and_then(|()| {
            if data.is_new {
                directory.sync()?;
            }
            meta.seq = next_sequence(directory.now(), &[tail.seq])?;
            let written = opened.write_meta(lock, &meta);
            written.map_err(|error| directory.io("rewrite", Part::Meta)(error.into_io()))
        });
        if let Err(error) = done {
            data.undo(opened);
            return Err(error);
        }
        if let Err(error) = tail.status.extend(opened, Part::Status, lock.status, &records.status, tail.seq) {
            data.undo(opened);
            return Err(error);
        }
        let index: Vec<u8> = records.index();
        if let Err(error) = tail.index.extend(opened, Part::Index, lock.index, &index, tail.seq) {
            // Nobody was told of the messages. If they are safely out of the index again, so they can go.
            if tail.index.cut(opened, lock.index) {
                tail.status.cut(opened, lock.status);
                data.undo(opened);
            }
            return Err(error);
        }
        Ok(Appended { uids })
    }

    fn write_data(&self, data: &DataFile, records: &Records) -> Result<()> {
        let disk = &self.driver.disk;
        let (mut block, mut at) = (Vec::new(), data.len);
        for (line, waiting) in records.lines.iter().zip(&self.messages) {
            block.extend_from_slice(line);
            let end = waiting.start + waiting.meta.size;
            let failed = |error| Error::io("read what is to append to", &data.path)(error);
            self.spool.read(waiting.start, end, failed, &mut |piece| {
                block.extend_from_slice(piece);
                if block.len() >= BLOCK {
                    disk.write_at(&data.file, &block, at).map_err(Error::io("write to", &data.path))?;
                    at += block.len() as u64;
                    block.clear();
                }
                Ok(())
            })?;
        }
        disk.write_at(&data.file, &block, at).map_err(Error::io("write to", &data.path))?;
        disk.sync(&data.file).map_err(Error::io("sync", &data.path))
    }
}

/// What is to be written for the messages of an append.
#[derive(Debug, Default)]
struct Records {
    entries: Vec<Entry>,
    /// Their records in the data file.
    lines: Vec<Vec<u8>>,
    status: Vec<u8>,
    /// Octets in the data file.
    len: u64,
}

impl Records {
    fn index(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * index::WIDTH);
        self.entries.iter().for_each(|entry| entry.write(&mut out));
        out
    }
}

/// The data file that takes new messages.
struct DataFile {
    number: u32,
    path: std::path::PathBuf,
    file: File,
    /// Its length before.
    len: u64,
    is_new: bool,
}

impl DataFile {
    /// Opens the file that `.mixmeta` names, or begins another one if that is to become too large, or is shorter than
    /// it should be.
    fn open(opened: &Opened, meta: &mut Meta, last: Option<&Entry>, more: u64) -> Result<Self> {
        let directory = &opened.directory;
        let number = meta.new_file;
        let path = directory.data(number);
        let spot = last.map(|entry| entry.spot).filter(|spot| spot.file == number);
        let end = spot.map_or(0, |spot| spot.end());
        let mode = match directory.open(&path, true) {
            Ok(file) => {
                let found = file.metadata().map_err(Error::io("look at", &path))?;
                let len = found.len();
                if len >= end && (len == 0 || len + more <= ROLL) {
                    return Ok(Self { number, path, file, len, is_new: false });
                }
                if len < end {
                    let text = format!("short mix message file {number:08x} ({end} > {len}), rolling");
                    directory.tell(Manner::Silent, Level::Warning, text);
                }
                found.permissions().mode() & 0o777
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && end == 0 => {
                let file = directory.disk.create_new(&path, directory.file_mode());
                let file = file.map_err(Error::io("create", &path))?;
                return Ok(Self { number, path, file, len: 0, is_new: true });
            }
            // Messages are there that nobody can read now: the file could come back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => directory.file_mode(),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let (number, file) = new_data_file(directory, number, mode)?;
        meta.new_file = number;
        Ok(Self { number, path: directory.data(number), file, len: 0, is_new: true })
    }

    fn undo(&self, opened: &Opened) {
        let disk = &opened.directory.disk;
        disk.set_len(&self.file, self.len).ok();
        if self.is_new {
            disk.remove(&self.path).ok();
        }
    }
}

/// The end of an index or status file to which records can be added.
#[derive(Clone, Copy, Debug)]
struct Extended {
    sequence: Sequence,
    len: u64,
}

impl Extended {
    /// Looks at the end of a file; `None` unless records can simply be added to it.
    fn look(opened: &Opened, part: Part, file: &File, tail: &mut Vec<u8>) -> Result<Option<Self>> {
        let directory = &opened.directory;
        let len = file.metadata().map_err(directory.io("look at", part))?.len();
        let sequence = Sequence::read(file).map_err(directory.io("read", part))?;
        let Some(sequence) = sequence.filter(|found| found.value != 0) else { return Ok(None) };
        let start = len.saturating_sub(TAIL).max(sequence.len.into());
        let count = usize::try_from(len.saturating_sub(start)).unwrap_or(0);
        read_up_to(file, start, count, tail).map_err(directory.io("read", part))?;
        if start > sequence.len.into() {
            // The first line may be cut.
            let first = memchr::memchr(b'\n', tail).map_or(tail.len(), |end| end + 1);
            tail.drain(..first);
            if tail.is_empty() {
                return Ok(None);
            }
        }
        let is_whole = tail.last().is_none_or(|last| *last == b'\n') && memchr::memchr(0, tail).is_none();
        Ok(is_whole.then_some(Self { sequence, len }))
    }

    /// Adds records, with a new sequence, and makes them safe. Where no disk could write them in one go, their first
    /// octet is written when all others are safe: before that the file ends there, for everybody.
    fn extend(&self, opened: &Opened, part: Part, file: &File, records: &[u8], seq: u64) -> Result<()> {
        let directory = &opened.directory;
        let disk = &directory.disk;
        let write =
            |octets: &[u8], at| disk.write_at(file, octets, at).map_err(directory.io("write to", part));
        let sync = || disk.sync(file).map_err(directory.io("sync", part));
        let (mut out, start) = if self.len == 0 { (Sequence::line(seq), 0) } else { (Vec::new(), self.len) };
        let first = start + out.len() as u64;
        out.extend_from_slice(records);
        let unit = |at: u64| at / UNIT as u64;
        let is_one_unit = unit(start) == unit(start + out.len() as u64 - 1);
        // First: a session of the reference that is open believes that nothing happened while this is the same, and would
        // write the file without records that it has not read.
        if let Some(digits) = self.sequence.digits_in_place(seq).filter(|_| self.len > 0) {
            write(&digits, 1)?;
        }
        if part == Part::Status || is_one_unit {
            write(&out, start)?;
        } else {
            let hidden = usize::try_from(first - start).unwrap_or(0);
            out[hidden] = 0;
            write(&out, start)?;
            sync()?;
            write(&records[..1], first)?;
        }
        sync()
    }

    /// Takes added records away again; tells whether they are gone for good.
    fn cut(&self, opened: &Opened, file: &File) -> bool {
        let disk = &opened.directory.disk;
        let put_back = || match self.sequence.digits_in_place(self.sequence.value) {
            Some(digits) if self.len > 0 => disk.write_at(file, &digits, 1),
            _ => Ok(()),
        };
        disk.set_len(file, self.len).and_then(|()| put_back()).and_then(|()| disk.sync(file)).is_ok()
    }
}

/// What an append needs to know of what is there.
#[derive(Clone, Copy, Debug)]
struct Tail {
    /// The sequence of the append.
    seq: u64,
    index: Extended,
    status: Extended,
    last: Option<Entry>,
}

impl Tail {
    /// Looks at the ends of index and status file; `None` if they must be put right first.
    fn look(opened: &Opened, lock: Exclusive<'_>, meta: &Meta) -> Result<Option<Self>> {
        let directory = &opened.directory;
        let (mut index_tail, mut status_tail) = (Vec::new(), Vec::new());
        let index = Extended::look(opened, Part::Index, lock.index, &mut index_tail)?;
        let status = Extended::look(opened, Part::Status, lock.status, &mut status_tail)?;
        let (Some(index), Some(status)) = (index, status) else { return Ok(None) };
        let seq = next_sequence(directory.now(), &[meta.seq, index.sequence.value, status.sequence.value])?;
        let fits = |one: &Extended| one.len == 0 || one.sequence.digits_in_place(seq).is_some();
        if !fits(&index) || !fits(&status) || last_line(&status_tail).is_some_and(|line| !is_status(line)) {
            return Ok(None);
        }
        if index.len == 0 && opened.directory.has_data()? {
            return Ok(None);
        }
        let last = match last_line(&index_tail) {
            None => None,
            Some(line) => match Entry::parse(line) {
                Ok((entry, rest)) if line.starts_with(b":") && !Entry::is_in(rest) => Some(entry),
                _ => return Ok(None),
            },
        };
        Ok(Some(Self { seq, index, status, last }))
    }
}

fn is_status(line: &[u8]) -> bool {
    StatusRecord::parse(line).is_some()
}

/// Returns the last line without its end.
fn last_line(tail: &[u8]) -> Option<&[u8]> {
    let text = tail.strip_suffix(b"\n")?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Some(&text[memchr::memrchr(b'\n', text).map_or(0, |end| end + 1)..])
}

/// Puts a mailbox right to whose files nothing can simply be added, and returns what an append needs to know.
fn put_right(opened: Opened, held: &Held) -> Result<(Opened, Meta, Tail)> {
    let mut mailbox = MixMailbox::open_held(opened, Manner::Silent, held)?;
    let Some(lock) = held.exclusive() else {
        return Err(Error::ReadOnly { path: mailbox.opened.directory.path });
    };
    let seq = mailbox.next_sequence(&[mailbox.index.sequence.value])?;
    let shape = mailbox.rewrite_index(lock, &UidSet::new(), seq);
    mailbox.index = shape.map_err(|error| mailbox.failed(error, Part::Index))?;
    mailbox.rewrite_status(lock)?;
    let last = mailbox.snapshot.messages.last().zip(mailbox.spots.last());
    let last =
        last.map(|(message, spot)| Entry { uid: message.uid(), date: message.internal_date(), spot: *spot });
    let (index, status) = (mailbox.index, mailbox.status);
    let before = [mailbox.meta.seq, index.sequence.value, status.sequence.value];
    let tail = Tail {
        seq: mailbox.next_sequence(&before)?,
        index: Extended { sequence: index.sequence, len: index.len },
        status: Extended { sequence: status.sequence, len: status.len },
        last,
    };
    Ok((mailbox.opened, mailbox.meta, tail))
}

impl Append for MixAppend<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        self.sizes.begin(meta.size)?;
        self.header = HeaderEnd::default();
        let header = meta.size;
        self.messages.push(Waiting { meta, start: self.spool.len(), header });
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.sizes.count(octets)?;
        self.header.push(octets);
        let failed = Error::io("store what is to append to", self.driver.directory(&self.at)?.path);
        self.spool.write(octets).map_err(failed)
    }

    fn end(&mut self) -> Result<()> {
        self.sizes.check_whole()?;
        if let (Some(found), Some(message)) = (self.header.found, self.messages.last_mut()) {
            message.header = found;
        }
        self.sizes.end()
    }

    fn commit(self: Box<Self>) -> Result<Appended> {
        self.sizes.check_ended()?;
        let opened = self.open()?;
        let held = opened.lock(Mode::Exclusive)?;
        let Some(lock) = held.exclusive() else {
            return Err(Error::ReadOnly { path: opened.directory.path });
        };
        let (meta, _) = repair::read_meta(&opened, &held, Manner::Silent)?;
        match Tail::look(&opened, lock, &meta)? {
            Some(tail) => self.write(&opened, lock, meta, tail),
            None => {
                let (opened, meta, tail) = put_right(opened, &held)?;
                self.write(&opened, lock, meta, tail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_header_is_found_in_pieces_of_any_size() {
        for (text, size) in [
            ("a: b\r\n\r\nbody\r\n\r\n", Some(8)),
            ("a: b\r\n\r\r\n\r\nx", Some(11)),
            ("a\r\r\n\r\n", Some(6)),
            ("\r\n\r\n", Some(2)),
            ("\r\nbody", Some(2)),
            ("\r\r\n\r\n", Some(5)),
            ("\n\r\n\r\n", Some(5)),
            ("a: b\r\nbody", None),
        ] {
            for piece in 1..=text.len() {
                let mut header = HeaderEnd::default();
                text.as_bytes().chunks(piece).for_each(|octets| header.push(octets));
                assert_eq!(header.found, size, "{text:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn the_last_line_needs_no_line_before() {
        assert_eq!(last_line(b"a\r\nb\r\n"), Some(&b"b"[..]));
        assert_eq!(last_line(b"b\n"), Some(&b"b"[..]));
        assert_eq!(last_line(b""), None);
    }
}
