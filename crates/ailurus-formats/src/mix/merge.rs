//! Reading `.mixindex` into what a session knows.

use super::data::{DataFiles, Found};
use super::directory::{Directory, Exclusive, Held, Opened, Part};
use super::index::{Entry, Shape, Spot, WIDTH};
use super::mailbox::MixMailbox;
use super::text::{End, Line, Lines, Sequence, shown};
use ailurus_store::{Error, Level, MessageInfo, Result};
use ailurus_types::Flags;
use std::fs::File;

/// Why an index cannot be taken as it is.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It breaks the rules at an octet; what is wrong is said in the reference's words.
    Damage {
        offset: u64,
        what: String,
    },
    Other(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn damage(offset: u64, what: impl Into<String>) -> Trouble {
    Trouble::Damage { offset, what: what.into() }
}

/// How a record is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// As everybody does.
    Usual,
    /// Otherwise; how its line ends.
    Other(End),
}

/// What a line of the index is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Record(Entry, Form),
    /// A record whose first octet was yet to be written: the append of ours that wrote it died.
    Uncommitted(Entry),
    /// A line that we do not know.
    Unknown,
    Empty,
    /// From here on there are NULs only.
    End,
}

/// Walks over the records of an index.
pub(super) struct Walk<'f> {
    directory: Directory,
    file: &'f File,
    lines: Lines<'f>,
}

impl<'f> Walk<'f> {
    pub(super) fn new(directory: &Directory, file: &'f File, from: u64) -> Self {
        Self { directory: directory.clone(), file, lines: Lines::new(file, from) }
    }

    /// Returns where the next line starts.
    pub(super) fn offset(&self) -> u64 {
        self.lines.offset()
    }

    fn io(&self) -> impl FnOnce(std::io::Error) -> Error + use<'f> {
        self.directory.io("read", Part::Index)
    }

    /// Returns the next line and where it starts; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Item)>, Trouble> {
        let (offset, io) = (self.lines.offset(), self.io());
        if let Some(entry) = self.lines.usual::<WIDTH>().map_err(io)?.and_then(Entry::parse_usual) {
            self.lines.skip(WIDTH);
            return Ok(Some((offset, Item::Record(entry, Form::Usual))));
        }
        let io = self.io();
        let Some(line) = self.lines.next().map_err(io)? else { return Ok(None) };
        let item = match line.text.first() {
            Some(0) => return self.nuls(offset).map(|item| Some((offset, item))),
            Some(b':') => record(&line)?,
            // What goes on and on, or was cut off, is no line of the future.
            Some(_) if line.end == End::None => {
                let kind = if line.text.len() < super::text::MOST_LINE { "Truncated" } else { "Oversize" };
                return Err(damage(offset, format!("{kind} mix index record: {}", shown(line.text, 512))));
            }
            Some(_) => Item::Unknown,
            None => Item::Empty,
        };
        Ok(Some((offset, item)))
    }

    /// Judges what begins with a NUL: an append that was cut off leaves NULs up to the end, or one of ours in the place
    /// of the first octet.
    fn nuls(&self, offset: u64) -> Result<Item, Trouble> {
        let mut lines = Lines::new(self.file, offset);
        let mut first = true;
        while let Some(line) = lines.next().map_err(self.io())? {
            if first
                && line.end == End::Crlf
                && let Ok((entry, [])) = Entry::parse(&line.text[1..])
                && line.text.len() == WIDTH - 2
            {
                return Ok(Item::Uncommitted(entry));
            }
            first = false;
            if line.end != End::None || line.text.iter().any(|octet| *octet != 0) {
                return Err(damage(offset, "Truncated mix index record: "));
            }
        }
        Ok(Item::End)
    }
}

fn record(line: &Line<'_>) -> Result<Item, Trouble> {
    match Entry::parse(line.text) {
        // Whoever expunged the first would take the other out with it.
        Ok((_, rest)) if Entry::is_in(rest) => {
            Err(damage(line.offset, format!("Unterminated mix index record: {}", shown(line.text, 500))))
        }
        Ok((entry, _)) => Ok(Item::Record(entry, Form::Other(line.end))),
        Err(fault) => {
            let what = format!("Error in {} in mix index file: {}", fault.0, shown(line.text, 500));
            Err(damage(line.offset, what))
        }
    }
}

impl MixMailbox {
    /// Reads what changed in the index. A damaged one is put right from the data files.
    pub(super) fn read_index(&mut self, held: &Held) -> Result<()> {
        self.data.forget_sizes();
        let read = match &held.index {
            Some(file) => self.read_index_file(held, file),
            None => Err(damage(0, "Error opening mix index file")),
        };
        match read {
            Ok(missing) if missing.is_empty() => Ok(()),
            Ok(missing) => self.search_missing(held, &missing),
            Err(Trouble::Damage { offset, what }) => self.rebuild(held, offset, &what),
            Err(Trouble::Other(error)) => Err(error),
        }
    }

    /// Returns the data files of new messages that are not there.
    fn read_index_file(&mut self, held: &Held, file: &File) -> Result<Vec<u32>, Trouble> {
        let bad_sequence = "Error in mix index file sequence record";
        let io = || self.opened.directory.io("read", Part::Index);
        let len = file.metadata().map_err(io())?.len();
        let found = Sequence::read(file).map_err(io())?.filter(|found| found.value != 0);
        let Some(sequence) = found else { return Err(damage(0, bad_sequence)) };
        if (sequence, len) == (self.index.sequence, self.index.len) {
            return Ok(Vec::new());
        }
        if len == 0 && self.opened.directory.has_data()? {
            // The reference would take all messages for expunged, and remove them.
            return Err(damage(0, bad_sequence));
        }
        if sequence.value < self.index.sequence.value {
            return Err(self.gone(bad_sequence.into()).into());
        }
        let goes_on = self.goes_on(file, &sequence, len)?;
        if !goes_on && !self.spots.is_empty() {
            self.check_index(file, &sequence)?;
        }
        let start = if goes_on { self.index.end } else { sequence.len.into() };
        let is_usual = if goes_on { self.index.is_usual } else { sequence.len == 11 };
        let shape = Shape { sequence, len, last: start, end: start, is_usual };
        let (missing, uncommitted) = self.merge_file(file, shape, goes_on)?;
        if let (Some(offset), Some(lock)) = (uncommitted, held.exclusive()) {
            self.finish_append(lock, offset)?;
        }
        Ok(missing)
    }

    /// Writes the first octet of a record that a dead process has left out, which brings its messages into the mailbox.
    /// Others may have read the index without them: so it gets a new sequence before.
    fn finish_append(&mut self, lock: Exclusive<'_>, offset: u64) -> Result<()> {
        let seq = self.next_sequence(&[self.index.sequence.value])?;
        let (disk, io) = (&self.opened.directory.disk, || self.opened.directory.io("write to", Part::Index));
        if let Some(digits) = self.index.sequence.digits_in_place(seq) {
            disk.write_at(lock.index, &digits, 1).map_err(io())?;
            self.index.sequence = self.index.sequence.changed(seq);
        }
        disk.write_at(lock.index, b":", offset).map_err(io())?;
        disk.sync(lock.index).map_err(io())
    }

    /// Tells whether the index only grew: the record that was the last is where it was, so all before it are, for none
    /// can have come between, and those that were before have no other length.
    fn goes_on(&self, file: &File, sequence: &Sequence, len: u64) -> Result<bool, Trouble> {
        let (Shape { last, end, is_usual, .. }, Some(message)) = (self.index, self.snapshot.messages.last())
        else {
            return Ok(false);
        };
        if !is_usual || sequence.len != self.index.sequence.len || len < end {
            return Ok(false);
        }
        let mut lines = Lines::new(file, last);
        let record = lines.usual::<WIDTH>().map_err(self.opened.directory.io("read", Part::Index))?;
        Ok(record.and_then(Entry::parse_usual).is_some_and(|entry| entry.uid == message.uid()))
    }

    /// Looks over the whole index before anything of it is believed.
    fn check_index(&self, file: &File, sequence: &Sequence) -> Result<(), Trouble> {
        let mut walk = Walk::new(&self.opened.directory, file, sequence.len.into());
        let mut previous = 0;
        while let Some((offset, item)) = walk.next()? {
            if let Item::Record(entry, _) | Item::Uncommitted(entry) = item {
                ascends(&mut previous, entry.uid.get(), offset)?;
            }
        }
        Ok(())
    }

    fn merge_file(
        &mut self,
        file: &File,
        mut shape: Shape,
        goes_on: bool,
    ) -> Result<(Vec<u32>, Option<u64>), Trouble> {
        let mut walk = Walk::new(&self.opened.directory, file, shape.end);
        let mut merge = Merge::new(self, if goes_on { Known::Stay } else { Known::AreCompared });
        let mut previous = merge.last_kept();
        let mut uncommitted = None;
        let read = loop {
            let (offset, item) = match walk.next() {
                Ok(Some(found)) => found,
                Ok(None) => break Ok(()),
                Err(trouble) => break Err(trouble),
            };
            let is_record_usual = match item {
                Item::End => {
                    merge.mailbox.warn("Truncated mix index record: ".into());
                    shape.is_usual = false;
                    break Ok(());
                }
                Item::Record(_, form) => form == Form::Usual,
                Item::Unknown | Item::Empty | Item::Uncommitted(_) => false,
            };
            shape.is_usual &= is_record_usual;
            match item {
                Item::Record(entry, _) | Item::Uncommitted(entry) => {
                    if matches!(item, Item::Uncommitted(_)) {
                        uncommitted = Some(offset);
                    }
                    let taken = ascends(&mut previous, entry.uid.get(), offset);
                    if let Err(trouble) = taken.and_then(|()| merge.take(entry, offset)) {
                        break Err(trouble);
                    }
                    shape.last = offset;
                }
                Item::Empty => merge.mailbox.warn("Empty mix index record".into()),
                Item::Unknown | Item::End => {}
            }
            shape.end = walk.offset();
        };
        let missing = merge.finish(read)?;
        self.index = shape;
        Ok((missing, uncommitted))
    }

    /// Takes over records that were put together from the data files.
    pub(super) fn adopt(&mut self, entries: &[Entry]) -> Result<()> {
        let mut merge = Merge::new(self, Known::AreCompared);
        let mut take = || entries.iter().try_for_each(|entry| merge.take_unchecked(*entry));
        let taken = take().map_err(Trouble::Other);
        match merge.finish(taken) {
            Ok(_) => Ok(()),
            Err(Trouble::Other(error)) => Err(error),
            Err(Trouble::Damage { offset, what }) => {
                Err(self.opened.directory.damaged(Part::Index, offset, what))
            }
        }
    }
}

fn ascends(previous: &mut u32, uid: u32, offset: u64) -> Result<(), Trouble> {
    if uid <= *previous {
        return Err(damage(offset, format!("mix index backwards UID: {uid:x}")));
    }
    *previous = uid;
    Ok(())
}

/// What becomes of the messages that the session knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    /// All records will be taken: those that do not come are gone.
    AreCompared,
    /// Only new records will be taken.
    Stay,
}

/// Takes records in ascending order of UID into a session, in place.
struct Merge<'m> {
    mailbox: &'m mut MixMailbox,
    /// How many messages there were, and the last UID of them.
    known: usize,
    last_known: u32,
    /// The known message to compare with next, and how many are kept so far.
    next: usize,
    kept: usize,
    /// A new message was added: what is known is settled.
    is_settled: bool,
    missing: Vec<u32>,
}

impl<'m> Merge<'m> {
    fn new(mailbox: &'m mut MixMailbox, known_are: Known) -> Self {
        let known = mailbox.spots.len();
        let last_known = mailbox.snapshot.largest_uid().map_or(0, |uid| uid.get()).max(mailbox.largest_seen);
        let next = if known_are == Known::Stay { known } else { 0 };
        Self { mailbox, known, last_known, next, kept: next, is_settled: false, missing: Vec::new() }
    }

    fn last_kept(&self) -> u32 {
        let last = self.kept.checked_sub(1).and_then(|last| self.mailbox.snapshot.messages.get(last));
        last.map_or(0, |message| message.uid().get())
    }

    /// Takes the next record from the index.
    fn take(&mut self, mut entry: Entry, offset: u64) -> Result<(), Trouble> {
        if self.take_known(&entry)? {
            return Ok(());
        }
        self.check_uid(&entry, offset)?;
        self.check_place(&mut entry, offset)?;
        self.push(entry);
        Ok(())
    }

    fn take_unchecked(&mut self, entry: Entry) -> Result<()> {
        if !self.take_known(&entry)? {
            let meta = &mut self.mailbox.meta;
            meta.uid_last = meta.uid_last.max(entry.uid.get());
            self.push(entry);
        }
        Ok(())
    }

    /// Compares a record with the messages that are known; false if it is of a new one.
    fn take_known(&mut self, entry: &Entry) -> Result<bool> {
        let uid = entry.uid;
        while self.next < self.known {
            let message = self.mailbox.snapshot.messages[self.next];
            if message.uid() < uid {
                self.mailbox.pending.expunged.insert(message.uid());
                self.next += 1;
                continue;
            }
            if message.uid() > uid {
                let text = format!("mix index UID mismatch ({:x} < {:x})", uid.get(), message.uid().get());
                return Err(self.mailbox.gone(text));
            }
            let spot = self.mailbox.spots[self.next];
            if spot.size != entry.spot.size || message.internal_date() != entry.date {
                return Err(self.mailbox.gone(format!("mix index data mismatch: {:x}", uid.get())));
            }
            let Spot { pos, header, file, record, .. } = entry.spot;
            self.mailbox.spots[self.kept] = Spot { pos, header, file, record, ..spot };
            self.mailbox.snapshot.messages[self.kept] = message;
            self.kept += 1;
            self.next += 1;
            return Ok(true);
        }
        if uid.get() <= self.last_known {
            return Err(self.mailbox.gone(format!("mix index data unexpunged UID: {:x}", uid.get())));
        }
        self.settle();
        Ok(false)
    }

    /// Forgets the messages that are gone, once no more known ones can come.
    fn settle(&mut self) {
        if !self.is_settled {
            self.is_settled = true;
            self.mailbox.spots.truncate(self.kept);
            self.mailbox.snapshot.messages.truncate(self.kept);
        }
    }

    fn push(&mut self, entry: Entry) {
        let mut message = MessageInfo::new(entry.uid, Flags::default(), entry.date, entry.spot.size);
        message.set_recent(true);
        self.mailbox.snapshot.messages.push(message);
        self.mailbox.spots.push(entry.spot);
    }

    /// A UID above UIDLAST was left by a program that died after it wrote the index, unless it is damage.
    fn check_uid(&mut self, entry: &Entry, offset: u64) -> Result<(), Trouble> {
        let (uid, last) = (entry.uid.get(), self.mailbox.meta.uid_last);
        if uid <= last {
            return Ok(());
        }
        let mut text = format!("mix index invalid UID ({uid:08x} < {last:08x})");
        if !self.is_there(uid, &entry.spot)? {
            return Err(damage(offset, text));
        }
        if self.mailbox.snapshot.writable {
            text.push_str(", repaired");
        }
        self.mailbox.warn(text);
        self.mailbox.meta.uid_last = uid;
        Ok(())
    }

    /// Shortens messages that were cut off: the one before, if this one lies across its end, or this one, if its file is
    /// too short. Both must be where the index says, or it is the index that is wrong.
    fn check_place(&mut self, entry: &mut Entry, offset: u64) -> Result<(), Trouble> {
        let directory = &self.mailbox.opened.directory;
        let size = self.mailbox.data.size(directory, entry.spot.file);
        let size = size.map_err(Error::io("look at", directory.data(entry.spot.file)))?;
        let Some(size) = size else {
            if self.missing.last() != Some(&entry.spot.file) {
                self.missing.push(entry.spot.file);
            }
            return Ok(());
        };
        let number = self.mailbox.spots.len();
        if let Some(before) = self.mailbox.spots.last().copied()
            && before.file == entry.spot.file
            && before.end() > entry.spot.pos
        {
            let uid = self.mailbox.snapshot.messages[number - 1].uid().get();
            let mut spot = before;
            let text = shorten(
                &mut spot,
                number,
                uid,
                entry.spot.pos,
                number > self.kept && self.mailbox.snapshot.writable,
            );
            if !self.is_there(uid, &before)? || !self.is_there(entry.uid.get(), &entry.spot)? {
                return Err(damage(offset, text));
            }
            self.mailbox.warn(text);
            if number > self.kept {
                self.mailbox.is_shortened = true;
                self.replace_last(spot);
            }
        }
        if entry.spot.end() > size {
            let (uid, spot) = (entry.uid.get(), entry.spot);
            let text = shorten(&mut entry.spot, number + 1, uid, size, self.mailbox.snapshot.writable);
            if !self.is_there(uid, &spot)? {
                return Err(damage(offset, text));
            }
            self.mailbox.warn(text);
            self.mailbox.is_shortened = true;
        }
        Ok(())
    }

    fn replace_last(&mut self, spot: Spot) {
        let messages = &mut self.mailbox.snapshot.messages;
        if let (Some(message), Some(place)) = (messages.last_mut(), self.mailbox.spots.last_mut()) {
            *message = MessageInfo::new(message.uid(), Flags::default(), message.internal_date(), spot.size);
            message.set_recent(true);
            *place = spot;
        }
    }

    fn is_there(&mut self, uid: u32, spot: &Spot) -> Result<bool> {
        let directory = &self.mailbox.opened.directory;
        let found = self.mailbox.data.look(directory, uid, spot);
        let found = found.map_err(Error::io("read", directory.data(spot.file)))?;
        Ok(matches!(found, Found::Message | Found::OfSize(_)))
    }

    /// Ends the merge, or takes back what came of new records if there was trouble.
    fn finish(mut self, read: Result<(), Trouble>) -> Result<Vec<u32>, Trouble> {
        if let Err(trouble) = read {
            if self.is_settled {
                self.mailbox.spots.truncate(self.kept);
                self.mailbox.snapshot.messages.truncate(self.kept);
            } else {
                self.keep_the_rest();
            }
            self.mailbox.is_shortened = false;
            return Err(trouble);
        }
        if !self.is_settled {
            for index in self.next..self.known {
                let uid = self.mailbox.snapshot.messages[index].uid();
                self.mailbox.pending.expunged.insert(uid);
            }
            self.settle();
        }
        self.mailbox.pending.arrived |= self.mailbox.spots.len() > self.kept;
        let largest = self.mailbox.snapshot.largest_uid().map_or(0, |uid| uid.get());
        self.mailbox.largest_seen = self.last_known.max(largest);
        self.mailbox.holes |= self.kept < self.known;
        Ok(self.missing)
    }

    /// Closes the gap between those that were compared and those that were not.
    fn keep_the_rest(&mut self) {
        for index in self.next..self.known {
            self.mailbox.spots[self.kept] = self.mailbox.spots[index];
            self.mailbox.snapshot.messages[self.kept] = self.mailbox.snapshot.messages[index];
            self.kept += 1;
        }
        self.settle();
    }
}

/// Shortens a message that ends at `end`, if something of it is left, and returns what is said of that.
fn shorten(spot: &mut Spot, number: usize, uid: u32, end: u64, is_repaired: bool) -> String {
    let by = spot.end() - end;
    let text = format!("message {number} (UID={uid:08x}) truncated by {by} byte(s) ({end} < {})", spot.end());
    if by >= spot.size {
        return text;
    }
    spot.size -= by;
    spot.header = spot.header.min(u32::try_from(spot.size).unwrap_or(u32::MAX));
    if is_repaired { text + ", repaired" } else { text }
}

impl DataFiles {
    /// Tells which of these files are not there.
    pub(super) fn missing(&mut self, opened: &Opened, numbers: &[u32]) -> Result<Vec<u32>> {
        let directory = &opened.directory;
        let mut missing = Vec::new();
        for number in numbers {
            let size = self.size(directory, *number);
            if size.map_err(Error::io("look at", directory.data(*number)))?.is_none() {
                missing.push(*number);
            }
        }
        Ok(missing)
    }
}

impl MixMailbox {
    /// Messages whose data file is not there may be elsewhere: a rewrite of ours was interrupted and finished when the
    /// file was gone. If not, they stay listed, for the file may come back; they cannot be read.
    fn search_missing(&mut self, held: &Held, missing: &[u32]) -> Result<()> {
        let path = self.opened.directory.data(missing[0]);
        let what = format!("Missing mix data file: {}", path.display());
        self.rebuild(held, 0, &what)?;
        let numbers: Vec<u32> = missing
            .iter()
            .copied()
            .filter(|number| self.spots.iter().any(|spot| spot.file == *number))
            .collect();
        for number in self.data.missing(&self.opened, &numbers)? {
            let text = format!("Missing mix data file: {}", self.opened.directory.data(number).display());
            self.opened.directory.tell(self.manner, Level::Error, text);
        }
        Ok(())
    }
}
