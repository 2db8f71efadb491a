//! Putting right what was lost or damaged, where nothing readable is destroyed by that.
//!
//! | lost or damaged | what is done |
//! |---|---|
//! | `.mixmeta` | written anew: a new UIDVALIDITY unless the old one and UIDLAST can be read, UIDLAST from index, status and data files, `lostN` for keywords whose bits messages have |
//! | `.mixindex` | put together from what can be read of it and the data files; `.mixstatus` tells which messages there were |
//! | `.mixstatus` | an empty one: no flags |
//!
//! A damaged file is kept beside the mailbox under a name that tells that it is the rest of something. Who may only read
//! gets the same from memory.

use super::directory::{DELETED, Directory, Exclusive, Held, Opened, Part, next_sequence};
use super::index::{Entry, Shape};
use super::mailbox::MixMailbox;
use super::meta::{Meta, Readable};
use super::scan::scan;
use super::status::Record;
use super::text::{End, Lines, MOST_LINE, Sequence};
use crate::lock::{Mode, Wait, lock_file};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Error, Level, Manner, Result};
use ailurus_types::UidValidity;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Tells whether a directory without `.mixmeta` is a mailbox that lost it.
///
/// Whoever deletes a mailbox removes that file first. So nothing may have happened in the directory for a while, and
/// where one of us died in the middle of it there is a mark.
pub(super) fn is_lost(directory: &Directory) -> bool {
    const A_WHILE: i64 = 10;
    let is_file = |part| directory.part(part).metadata().is_ok_and(|found| found.is_file());
    let is_there = |name: &str| directory.path.join(name).symlink_metadata().is_ok();
    let changed = directory.path.metadata().map_or(i64::MAX, |found| found.mtime());
    (is_file(Part::Index) || is_file(Part::Status))
        && !is_there(Part::Meta.name())
        && !is_there(DELETED)
        && changed.saturating_add(A_WHILE) <= directory.environment.clock.now()
}

/// Makes a `.mixmeta` for a mailbox that has none.
pub(super) fn make_meta(directory: &Directory) -> Result<()> {
    // There is no other lock. Whoever is first makes the file.
    let index = directory.open(&directory.part(Part::Index), true).ok();
    if let Some(index) = &index {
        lock_file(index, Mode::Exclusive, Wait::Block).map_err(directory.io("lock", Part::Index))?;
    }
    let status = directory.open(&directory.part(Part::Status), false).ok();
    let meta = complete(directory, Readable::default(), index.as_ref(), status.as_ref())?;
    let like = directory.part(Part::Index).metadata().or_else(|_| directory.part(Part::Status).metadata());
    let mode =
        like.map_or(directory.environment.protections.mailbox, |like| like.permissions().mode() & 0o666);
    let path = directory.part(Part::Meta);
    let made = directory.publish(&path, mode, |file| directory.disk.write_at(file, &meta.encode(), 0));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(directory.io("create", Part::Meta)(error)),
        Ok(()) => {
            let text = format!("{} was lost and is made anew with a new UIDVALIDITY", path.display());
            directory.tell(Manner::Silent, Level::Log, text);
            Ok(())
        }
    }
}

/// Reads `.mixmeta`; puts it right if need be, in the file too if that may be written. Returns what it holds, too.
pub(super) fn read_meta(opened: &Opened, held: &Held, manner: Manner) -> Result<(Meta, Vec<u8>)> {
    let directory = &opened.directory;
    let raw = opened.read_meta()?;
    let found = Readable::parse(&raw);
    let (fault, is_unfinished) = (found.fault(), found.is_unfinished);
    let mut meta = match found.clone().whole() {
        Some(meta) if !is_unfinished => return Ok((meta, raw)),
        Some(meta) => meta,
        None => {
            directory.tell(manner, Level::Warning, format!("{fault}, repaired"));
            complete(directory, found.clone(), held.index.as_ref(), held.status.as_ref())?
        }
    };
    let Some(lock) = held.exclusive() else { return Ok((meta, raw)) };
    if found.whole().is_none() && raw.iter().any(|octet| *octet != 0) {
        keep(directory, Part::Meta, &opened.meta)?;
    }
    meta.seq = next_sequence(directory.now(), &[meta.seq])?;
    let written = opened.write_meta(lock, &meta);
    written.map_err(|error| directory.io("rewrite", Part::Meta)(error.into_io()))?;
    let raw = meta.encode();
    Ok((meta, raw))
}

/// Finds out what is missing of `.mixmeta`.
pub(super) fn complete(
    directory: &Directory,
    found: Readable,
    index: Option<&File>,
    status: Option<&File>,
) -> Result<Meta> {
    let now = directory.now();
    let (mut uid_last, mut slots) = (0, 0);
    if let Some(index) = index {
        for known in records(directory, index)? {
            uid_last = uid_last.max(known.entry.uid.get());
        }
    }
    if let Some(status) = status {
        each_status(directory, status, &mut |record| {
            uid_last = uid_last.max(record.uid);
            slots = slots.max(64 - usize::try_from(record.flags().keywords.0.leading_zeros()).unwrap_or(64));
        })?;
    }
    for entry in scan(directory)? {
        uid_last = uid_last.max(entry.uid.get());
    }
    let largest = directory.data_files().map_err(Error::io("read", &directory.path))?.pop();
    // No earlier one was larger than the time and all files made since.
    let after = u64::from(largest.unwrap_or(0)) + 1;
    let fresh =
        UidValidity::new(u32::try_from(now.max(after)).unwrap_or(u32::MAX)).unwrap_or(UidValidity::MIN);
    let (validity, last) = match (found.uid_validity, found.uid_last) {
        (Some(validity), Some(last)) => (validity, last.max(uid_last)),
        // Without UIDLAST nobody knows which UIDs were given to messages that are gone.
        _ => (fresh, uid_last),
    };
    let sequences = [index, status].map(|file| {
        file.and_then(|file| Sequence::read(file).ok().flatten()).map_or(0, |sequence| sequence.value)
    });
    let seq = match found.seq {
        Some(seq) => seq,
        None => next_sequence(now, &sequences)?,
    };
    let new_file = found.new_file.or(largest).unwrap_or(fresh.get());
    let mut meta = found.with(seq, validity, last, new_file);
    meta.name_lost_keywords(slots);
    Ok(meta)
}

/// Keeps a damaged file aside.
fn keep(directory: &Directory, part: Part, file: &File) -> Result<()> {
    let len = file.metadata().map_err(directory.io("look at", part))?.len();
    let kept = directory.places(part, file)?.keep(&*directory.disk, file, 0..len);
    let kept = kept.map_err(directory.io("keep a copy of", part))?;
    let text = format!("{} was damaged and is kept as {}", directory.part(part).display(), kept.display());
    directory.tell(Manner::Silent, Level::Log, text);
    Ok(())
}

/// A record of an index, and where its line is.
#[derive(Clone, Debug)]
struct Known {
    entry: Entry,
    line: Range<u64>,
    end: End,
}

/// Returns all that can be read of an index, in the order of the file.
fn records(directory: &Directory, index: &File) -> Result<Vec<Known>> {
    let (mut lines, mut known) = (Lines::new(index, 0), Vec::new());
    while let Some(line) = lines.next().map_err(directory.io("read", Part::Index))? {
        if line.text.starts_with(b":")
            && let Ok((entry, rest)) = Entry::parse(line.text)
        {
            let end = if Entry::is_in(rest) { End::None } else { line.end };
            known.push(Known { entry, line: line.range(), end });
            // A line that lost its end has more than one.
            let more = memchr::memchr_iter(b':', rest).filter(|_| end == End::None);
            let more = more.filter_map(|at| Entry::parse(&rest[at..]).ok());
            known.extend(more.map(|(entry, _)| Known { entry, line: line.range(), end }));
        }
    }
    Ok(known)
}

/// Returns where lines are that could be of a later version of the format.
fn unknown_lines(directory: &Directory, index: &File) -> Result<Vec<Range<u64>>> {
    let (mut lines, mut unknown) = (Lines::new(index, 0), Vec::new());
    while let Some(line) = lines.next().map_err(directory.io("read", Part::Index))? {
        let is_key = line.text.first().is_some_and(|first| first.is_ascii_uppercase() && *first != b'S');
        let is_text = line.text.iter().all(|octet| matches!(octet, b' '..=b'~'));
        if is_key && is_text && line.end != End::None && line.text.len() < MOST_LINE {
            unknown.push(line.range());
        }
    }
    Ok(unknown)
}

fn each_status(directory: &Directory, status: &File, give: &mut dyn FnMut(&Record)) -> Result<()> {
    let mut lines = Lines::new(status, 0);
    while let Some(line) = lines.next().map_err(directory.io("read", Part::Status))? {
        if let Some((record, _)) = Record::parse(line.text) {
            give(&record);
        }
    }
    Ok(())
}

/// An index put together from what can be read of the old one and the data files.
pub(super) struct Rebuilt {
    entries: Vec<Entry>,
    /// The line of the old index that is still true, for each entry.
    lines: Vec<Option<Range<u64>>>,
}

impl Rebuilt {
    /// Returns the messages, by UID.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn new(directory: &Directory, index: Option<&File>, status: Option<&File>) -> Result<Self> {
        let known = index.map_or(Ok(Vec::new()), |index| records(directory, index))?;
        let mut living = Vec::new();
        if let Some(status) = status {
            each_status(directory, status, &mut |record| living.push(record.uid))?;
            living.sort_unstable();
        }
        let mut join = Join::new(scan(directory)?);
        for record in &known {
            join.take(record);
        }
        for record in &known {
            join.take_elsewhere(record);
        }
        join.take_unknown(&living);
        Ok(join.finish())
    }
}

/// Puts records and messages together.
struct Join {
    /// What is in the data files, by file and position.
    found: Vec<Entry>,
    by_place: HashMap<(u32, u64), usize>,
    /// The last place of each UID.
    by_uid: HashMap<u32, usize>,
    /// What the index will hold, by UID.
    chosen: HashMap<u32, (Entry, Option<Range<u64>>)>,
}

impl Join {
    fn new(found: Vec<Entry>) -> Self {
        let place = |(number, entry): (usize, &Entry)| ((entry.spot.file, entry.spot.pos), number);
        let by_place = found.iter().enumerate().map(place).collect();
        let by_uid = found.iter().enumerate().map(|(number, entry)| (entry.uid.get(), number)).collect();
        Self { found, by_place, by_uid, chosen: HashMap::new() }
    }

    /// Takes a record whose message is where it says.
    fn take(&mut self, known: &Known) {
        let Known { entry, line, end } = known;
        let there = self.by_place.get(&(entry.spot.file, entry.spot.pos)).map(|number| self.found[*number]);
        if let Some(there) = there.filter(|there| there.uid == entry.uid) {
            let is_true = there.spot.size == entry.spot.size && there.spot.record == entry.spot.record;
            let is_kept = is_true && *end == End::Crlf;
            let entry = if is_true { *entry } else { Entry { date: entry.date, ..there } };
            self.chosen.entry(entry.uid.get()).or_insert((entry, is_kept.then(|| line.clone())));
        }
    }

    /// Takes a record whose message is elsewhere, or nowhere: then it stays as it is.
    fn take_elsewhere(&mut self, known: &Known) {
        let Known { entry, line, end } = known;
        if self.chosen.contains_key(&entry.uid.get()) {
            return;
        }
        let choice = match self.by_uid.get(&entry.uid.get()) {
            Some(number) => (Entry { date: entry.date, ..self.found[*number] }, None),
            None => (*entry, (*end == End::Crlf).then(|| line.clone())),
        };
        self.chosen.insert(entry.uid.get(), choice);
    }

    /// Takes messages that no record tells of: those that have a status; all, if no message has one.
    fn take_unknown(&mut self, living: &[u32]) {
        for (uid, number) in &self.by_uid {
            if living.is_empty() || living.binary_search(uid).is_ok() {
                self.chosen.entry(*uid).or_insert((self.found[*number], None));
            }
        }
    }

    fn finish(self) -> Rebuilt {
        let mut all: Vec<_> = self.chosen.into_values().collect();
        all.sort_unstable_by_key(|(entry, _)| entry.uid);
        let (entries, lines) = all.into_iter().unzip();
        Rebuilt { entries, lines }
    }
}

/// Makes an index for a mailbox that has none. It appears with all its records: the reference takes an empty one for the
/// word that all messages are gone.
pub(super) fn make_index(directory: &Directory, opened: &Opened) -> Result<()> {
    let status = directory.open(&directory.part(Part::Status), false).ok();
    let rebuilt = Rebuilt::new(directory, None, status.as_ref())?;
    let before = [
        status.and_then(|file| Sequence::read(&file).ok().flatten()).map_or(0, |sequence| sequence.value),
        Readable::parse(&opened.read_meta()?).seq.unwrap_or(0),
    ];
    let seq = next_sequence(directory.now(), &before)?;
    let path = directory.part(Part::Index);
    let made = directory.publish(&path, directory.file_mode(), |file| {
        let (mut out, mut at) = (Sequence::line(seq), 0);
        for entry in &rebuilt.entries {
            entry.write(&mut out);
            if out.len() >= crate::journal::BLOCK {
                directory.disk.write_at(file, &out, at)?;
                at += out.len() as u64;
                out.clear();
            }
        }
        directory.disk.write_at(file, &out, at)
    });
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(directory.io("create", Part::Index)(error)),
        Ok(()) => {
            let (path, count) = (path.display(), rebuilt.entries.len());
            let text = format!("{path} was lost and is made anew from the data files: {count} messages");
            directory.tell(Manner::Silent, Level::Log, text);
            Ok(())
        }
    }
}

/// Writes an index that was put together.
fn write_index(
    opened: &Opened,
    lock: Exclusive<'_>,
    rebuilt: &Rebuilt,
    seq: u64,
) -> Result<(), RewriteError> {
    let directory = &opened.directory;
    let lost = |error: Error| RewriteError::Unchanged(io::Error::other(error));
    let unknown = unknown_lines(directory, lock.index).map_err(lost)?;
    let places = directory.places(Part::Index, lock.index).map_err(lost)?;
    let mut rewrite = Rewrite::begin(&directory.disk, &places, lock.index)?;
    rewrite.literal(&Sequence::line(seq))?;
    let mut out = Vec::new();
    for (entry, line) in rebuilt.entries.iter().zip(&rebuilt.lines) {
        match line {
            Some(line) => rewrite.copy(line.clone())?,
            None => {
                out.clear();
                entry.write(&mut out);
                rewrite.literal(&out)?;
            }
        }
    }
    for line in unknown {
        rewrite.copy(line)?;
    }
    rewrite.finish()
}

impl MixMailbox {
    /// Puts the index together from what is readable, and takes it over. `what` was wrong with it at `offset`.
    pub(super) fn rebuild(&mut self, held: &Held, offset: u64, what: &str) -> Result<()> {
        let entries = self.write_rebuilt(held, offset, what)?;
        self.forget_untold();
        self.adopt(&entries)?;
        // It is read again when it has another sequence than this.
        self.index = match held.exclusive() {
            Some(lock) => self.shape_of(lock.index)?,
            None => Shape::default(),
        };
        Ok(())
    }

    /// Finds out where messages are. Nothing else of what this session knows changes.
    pub(super) fn relocate(&mut self, what: &str) -> Result<()> {
        let mode = if self.snapshot.writable { Mode::Exclusive } else { Mode::Shared };
        let held = self.opened.lock(mode)?;
        let mut hint = 0;
        for entry in self.write_rebuilt(&held, 0, what)? {
            let Some(index) = self.snapshot.position(entry.uid, hint) else { continue };
            hint = index + 1;
            let spot = &mut self.spots[index];
            if spot.size == entry.spot.size {
                (spot.file, spot.pos) = (entry.spot.file, entry.spot.pos);
                (spot.record, spot.header) = (entry.spot.record, entry.spot.header);
            }
        }
        self.forget_ahead();
        Ok(())
    }

    fn write_rebuilt(&mut self, held: &Held, offset: u64, what: &str) -> Result<Vec<Entry>> {
        let directory = &self.opened.directory;
        let rebuilt = Rebuilt::new(directory, held.index.as_ref(), held.status.as_ref())?;
        let (path, count) = (directory.part(Part::Index), rebuilt.entries.len());
        let (path, text) = (path.display(), what);
        let Some(lock) = held.exclusive() else {
            let text = format!("{path}: damaged at byte {offset}: {text}; {count} messages are readable");
            directory.tell(Manner::Silent, Level::Log, text);
            return Ok(rebuilt.entries);
        };
        if self.is_as_written(lock, &rebuilt)? {
            return Ok(rebuilt.entries);
        }
        keep(directory, Part::Index, lock.index)?;
        let last = rebuilt.entries.last().map_or(0, |entry| entry.uid.get());
        if last > self.meta.uid_last {
            self.meta.uid_last = last;
            self.write_meta(lock)?;
        }
        let directory = &self.opened.directory;
        let before = Sequence::read(lock.index).ok().flatten().map_or(0, |sequence| sequence.value);
        let status = Sequence::read(lock.status).ok().flatten().map_or(0, |sequence| sequence.value);
        let known = self.index.sequence.value;
        let seq = next_sequence(directory.now(), &[before, status, known, self.meta.seq])?;
        if let Err(error) = write_index(&self.opened, lock, &rebuilt, seq) {
            return Err(self.failed(error, Part::Index));
        }
        let text = format!("{path}: damaged at byte {offset}: {text}; rebuilt with {count} messages");
        self.opened.directory.tell(Manner::Silent, Level::Log, text);
        self.warn(format!("{what}, repaired"));
        self.holes = true;
        Ok(rebuilt.entries)
    }

    /// Tells whether the index holds these records already, and nothing that is damaged.
    fn is_as_written(&self, lock: Exclusive<'_>, rebuilt: &Rebuilt) -> Result<bool> {
        if rebuilt.lines.iter().any(Option::is_none) {
            return Ok(false);
        }
        let directory = &self.opened.directory;
        let Some(sequence) = Sequence::read(lock.index).map_err(directory.io("read", Part::Index))? else {
            return Ok(false);
        };
        let mut lines = rebuilt.lines.iter().flatten().cloned().collect::<Vec<_>>();
        lines.extend(unknown_lines(directory, lock.index)?);
        let is_ascending = lines[..rebuilt.lines.len()].is_sorted_by_key(|line| line.start);
        lines.sort_unstable_by_key(|line| line.start);
        let mut end = u64::from(sequence.len);
        let is_contiguous = lines.iter().all(|line| {
            let follows = line.start == end;
            end = line.end;
            follows
        });
        let len = lock.index.metadata().map_err(directory.io("look at", Part::Index))?.len();
        Ok(is_ascending && is_contiguous && end == len && sequence.value != 0)
    }

    /// Looks over an index that was just written.
    fn shape_of(&self, index: &File) -> Result<Shape> {
        let directory = &self.opened.directory;
        let len = index.metadata().map_err(directory.io("look at", Part::Index))?.len();
        let sequence = Sequence::read(index).map_err(directory.io("read", Part::Index))?;
        let sequence = sequence.unwrap_or_default();
        let records = records(directory, index)?;
        let last = records.last().map_or(u64::from(sequence.len), |known| known.line.start);
        let end = records.last().map_or(u64::from(sequence.len), |known| known.line.end);
        let is_usual = sequence.len == 11
            && end == len
            && len == 11 + (super::index::WIDTH * records.len()) as u64
            && records.iter().all(|known| known.line.end - known.line.start == super::index::WIDTH as u64);
        Ok(Shape { sequence, len, last, end, is_usual })
    }
}
