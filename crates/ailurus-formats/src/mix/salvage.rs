//! What is wrong with a mailbox, and what can be salvaged of it (see [`crate::repair`]).
//!
//! The salvaged mailbox is a directory of its own: each data file with the messages that are in it, an index made of where they
//! are now, their flags as far as the status file can be read. Octets of data files that are of no message of the mailbox are in
//! the leftover, under the names of their files; so is every small file of which a part could not be read.
//!
//! The two directories are exchanged in one step. What else is in the damaged one, other mailboxes, goes back to the name after that.
//! Whoever repairs the mailbox next brings back what a dead process left there.

use super::Mix;
use super::data::{DataFiles, Found, Record as DataRecord};
use super::directory::{Directory, Opened, PREFIX, Part, next_sequence};
use super::index::{Entry, Spot};
use super::meta::{Meta, Readable};
use super::repair::{Rebuilt, complete, is_lost};
use super::scan::scan;
use super::status::Record;
use super::text::{End, Lines, Sequence, shown};
use crate::files;
use crate::lock::Mode;
use crate::repair::beside::{Output, make_free, names, write_left, write_salvaged};
use crate::repair::plan::Plan;
use crate::repair::single::{lock_alone, open_quietly, wait_for};
use crate::repair::{Action, Findings, Outcome, Repaired};
use ailurus_store::{Access, Error, Location, Result};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

impl Mix {
    /// Looks over a mailbox, and changes nothing.
    pub(crate) fn verify(&self, at: &Location) -> Result<Findings> {
        let directory = self.salvaged_from(at)?;
        let held = Held::to_read(&directory)?;
        Ok(Survey::new(&directory, &held)?.findings)
    }

    /// Salvages a mailbox.
    pub(crate) fn salvage(&self, at: &Location, action: Action) -> Result<Repaired> {
        let directory = self.salvaged_from(at)?;
        if action == Action::Apply {
            bring_home(&directory)?;
        }
        let mut held = Held::alone(&directory)?;
        if held.has_journal(&directory)? {
            if action == Action::Show {
                let notes =
                    vec!["With --apply that change is finished first. Nothing is written now.".into()];
                let findings = Survey::new(&directory, &held)?.findings;
                return Ok(Repaired {
                    path: directory.path,
                    findings,
                    notes,
                    outcome: Outcome::Shown,
                    ..Repaired::default()
                });
            }
            drop(held);
            drop(Opened::open(directory.clone(), at, Access::ReadWrite)?.lock(Mode::Exclusive)?);
            held = Held::alone(&directory)?;
        }
        let mut survey = Survey::new(&directory, &held)?;
        let mut repaired = Repaired { path: directory.path.clone(), ..Repaired::default() };
        if survey.findings.damaged() == 0 {
            repaired.findings = survey.findings;
            return Ok(repaired);
        }
        survey.write(&directory, &held, &mut repaired)?;
        repaired.findings = survey.findings;
        repaired.outcome = Outcome::Shown;
        if action == Action::Apply {
            swap(&directory, &mut repaired)?;
        }
        Ok(repaired)
    }

    fn salvaged_from(&self, at: &Location) -> Result<Directory> {
        let mut directory = self.directory(at)?;
        directory.path =
            directory.path.canonicalize().map_err(files::failure("open", at, &directory.path))?;
        let is_one = directory.part(Part::Meta).is_file()
            || is_lost(&directory)
            || directory.part(Part::Index).is_file();
        if is_one { Ok(directory) } else { Err(Error::WrongFormat { format: "mix", path: directory.path }) }
    }
}

/// The small files that are there, open and locked.
struct Held {
    files: [Option<File>; 3],
}

impl Held {
    fn to_read(directory: &Directory) -> Result<Self> {
        Self::with(directory, |path| {
            let file = open_quietly(path).map_err(Error::io("open", path))?;
            wait_for(&file, path)?;
            Ok(file)
        })
    }

    /// Nobody else may have the mailbox open: whoever has holds the lock of the first one.
    fn alone(directory: &Directory) -> Result<Self> {
        Self::with(directory, |path| {
            let file = directory.open(path, true).map_err(Error::io("open", path))?;
            lock_alone(&file, path)?;
            Ok(file)
        })
    }

    fn with(directory: &Directory, open: impl Fn(&Path) -> Result<File>) -> Result<Self> {
        let mut files = [None, None, None];
        for (place, part) in files.iter_mut().zip(Part::ALL) {
            let path = directory.part(part);
            if path.symlink_metadata().is_ok() {
                *place = Some(open(&path)?);
            }
        }
        Ok(Self { files })
    }

    fn part(&self, part: Part) -> Option<&File> {
        Part::ALL.iter().zip(&self.files).find(|(one, _)| **one == part).and_then(|(_, file)| file.as_ref())
    }

    fn has_journal(&self, directory: &Directory) -> Result<bool> {
        for part in Part::ALL {
            if let Some(file) = self.part(part)
                && directory.places(part, file)?.any()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A message of the salvaged mailbox.
#[derive(Clone, Copy, Debug)]
struct Kept {
    entry: Entry,
    /// Its record in the data file is to be written anew.
    anew: bool,
}

struct Survey {
    findings: Findings,
    /// By data file and position.
    kept: Vec<Kept>,
    status: HashMap<u32, Record>,
    meta: Meta,
    /// The small files of which not all could be read.
    unread: Vec<Part>,
    whole: usize,
}

impl Survey {
    fn new(directory: &Directory, held: &Held) -> Result<Self> {
        let mut findings = Findings::default();
        let mut unread = Vec::new();
        let (index, status) = (held.part(Part::Index), held.part(Part::Status));
        if held.has_journal(directory)? {
            let what =
                "a change was cut off; its journal is there, and the next session that may write finishes it";
            findings.oddity(&directory.path, 0, what);
        }
        let meta = read_meta(directory, held, &mut findings, &mut unread)?;
        let indexed = read_index(directory, index, meta.uid_last, &mut findings, &mut unread)?;
        let status_records = read_status(directory, status, &mut findings, &mut unread)?;
        let rebuilt = Rebuilt::new(directory, index, status)?;
        let mut survey = Self { findings, kept: Vec::new(), status: status_records, meta, unread, whole: 0 };
        survey.find_moved(directory, rebuilt.entries(), &indexed);
        survey.place(directory, rebuilt.entries())?;
        survey.find_strays(directory)?;
        Ok(survey)
    }

    /// Tells of messages that are elsewhere than the index says.
    fn find_moved(&mut self, directory: &Directory, entries: &[Entry], indexed: &HashMap<u32, Spot>) {
        for Entry { uid, spot, .. } in entries {
            let Some(said) = indexed.get(&uid.get()).filter(|said| !said.is_at(spot)) else { continue };
            let (said, path) = (said.pos, directory.data(spot.file));
            let what = format!("message UID {uid} is here, and not where the index says, at octet {said}");
            self.findings.damage(&path, spot.pos, what);
        }
    }

    /// Finds out which messages are where the index has them.
    fn place(&mut self, directory: &Directory, entries: &[Entry]) -> Result<()> {
        let mut data = DataFiles::default();
        let (mut sure, mut doubtful) = (Vec::new(), Vec::new());
        for entry in entries {
            let (uid, spot) = (entry.uid.get(), entry.spot);
            let path = directory.data(spot.file);
            let size = data.size(directory, spot.file).map_err(Error::io("look at", &path))?;
            let Some(size) = size else {
                let what = format!("Missing mix data file: {} (of message UID {uid})", path.display());
                self.findings.damage(&path, spot.pos, what);
                continue;
            };
            match data.look(directory, uid, &spot).map_err(Error::io("read", &path))? {
                Found::Message if spot.end() <= size => sure.push(Kept { entry: *entry, anew: false }),
                Found::Message | Found::OfSize(_) if spot.text() < size.min(spot.end()) => {
                    let mut entry = *entry;
                    entry.spot.size = size.min(spot.end()) - spot.text();
                    let (is, header) = (entry.spot.size, u64::from(entry.spot.header));
                    entry.spot.header = u32::try_from(header.min(is)).unwrap_or(u32::MAX);
                    let what = format!("message UID {uid} has {is} octets, and not as many as it says");
                    self.findings.damage(&path, spot.pos, what);
                    sure.push(Kept { entry, anew: true });
                }
                _ if spot.end() <= size && spot.size > 0 => doubtful.push(*entry),
                _ => self.findings.damage(&path, spot.pos, format!("message UID {uid} is not here")),
            }
        }
        self.whole = sure.iter().filter(|kept| !kept.anew).count();
        sure.sort_unstable_by_key(|kept| (kept.entry.spot.file, kept.entry.spot.pos));
        self.settle(directory, sure, doubtful);
        Ok(())
    }

    /// Takes messages of which the record is damaged, where the index alone knows of them and no other message is there.
    fn settle(&mut self, directory: &Directory, mut sure: Vec<Kept>, doubtful: Vec<Entry>) {
        sure.dedup_by(|later, former| {
            let (later, former) = (later.entry, former.entry);
            let overlaps = later.spot.file == former.spot.file && later.spot.pos < former.spot.end();
            if overlaps {
                let what = format!("message UID {} is within message UID {}", later.uid, former.uid);
                self.findings.damage(&directory.data(later.spot.file), later.spot.pos, what);
            }
            overlaps
        });
        for entry in doubtful {
            let (uid, spot) = (entry.uid, entry.spot);
            let path = directory.data(spot.file);
            let place = sure
                .partition_point(|kept| (kept.entry.spot.file, kept.entry.spot.pos) < (spot.file, spot.pos));
            let before = place.checked_sub(1).map(|before| sure[before].entry.spot);
            let after = sure.get(place).map(|after| after.entry.spot);
            let is_free = before.is_none_or(|before| before.file != spot.file || before.end() <= spot.pos)
                && after.is_none_or(|after| after.file != spot.file || spot.end() <= after.pos);
            if is_free {
                self.findings.damage(&path, spot.pos, format!("the record of message UID {uid} is damaged"));
                sure.insert(place, Kept { entry, anew: true });
            } else {
                self.findings.damage(&path, spot.pos, format!("message UID {uid} is not here"));
            }
        }
        self.kept = sure;
    }

    /// Tells of octets of data files that are in no record. Messages that were expunged are no news.
    fn find_strays(&mut self, directory: &Directory) -> Result<()> {
        let all = scan(directory)?;
        let known: HashSet<u32> = self.kept.iter().map(|kept| kept.entry.uid.get()).collect();
        for entry in all.iter().filter(|entry| !known.contains(&entry.uid.get())) {
            if self.status.contains_key(&entry.uid.get()) {
                let what = "has flags, and is not in the index: an expunge was cut off, or a record is lost";
                let path = directory.data(entry.spot.file);
                self.findings.oddity(&path, entry.spot.pos, format!("message UID {} {what}", entry.uid));
            }
        }
        for number in data_files(directory)? {
            let path = directory.data(number);
            let len = path.metadata().map_or(0, |found| found.len());
            let scanned = all[of_file(&all, number, |entry| entry.spot.file)].iter().map(|entry| entry.spot);
            let kept = &self.kept[of_file(&self.kept, number, |kept| kept.entry.spot.file)];
            let kept = kept.iter().map(|kept| kept.entry.spot);
            let mut ranges: Vec<_> = scanned.chain(kept).map(|spot| (spot.pos, spot.end())).collect();
            ranges.sort_unstable();
            let mut end = 0;
            for (start, next) in ranges.into_iter().chain([(len, len)]) {
                if start > end {
                    self.findings.oddity(&path, end, format!("{} octets are of no message", start - end));
                }
                end = end.max(next);
            }
        }
        Ok(())
    }

    /// Writes the salvaged mailbox and the leftover.
    fn write(&mut self, directory: &Directory, held: &Held, repaired: &mut Repaired) -> Result<()> {
        let disk = &*directory.disk;
        let parents = [directory.path.parent().unwrap_or(Path::new(".")).to_path_buf()];
        let mode = directory.path.metadata().map_or(0o700, |found| found.permissions().mode() & 0o7777);
        let make = |ending| -> Result<PathBuf> {
            let made = make_free(names(&directory.path, &parents, ending), |path| disk.make_dir(path, mode));
            let (path, ()) = made.map_err(Error::io("make a directory beside", &directory.path))?;
            // What is synced in it must not go with it.
            files::sync_parent(disk, &path)?;
            Ok(path)
        };
        let salvaged = Directory { path: make("salvaged")?, ..directory.clone() };
        let mut leftover = None;
        let written = self.fill(directory, held, &salvaged, &mut leftover, &|| make("leftover"), repaired);
        let checked = written.and_then(|()| self.check(&salvaged));
        if let Err(error) = checked {
            for path in [Some(&salvaged.path), leftover.as_ref()].into_iter().flatten() {
                remove_all(directory, path);
            }
            return Err(error);
        }
        (repaired.salvaged, repaired.leftover) = (Some(salvaged.path), leftover);
        Ok(())
    }

    fn fill(
        &mut self,
        directory: &Directory,
        held: &Held,
        salvaged: &Directory,
        leftover: &mut Option<PathBuf>,
        make_leftover: &dyn Fn() -> Result<PathBuf>,
        repaired: &mut Repaired,
    ) -> Result<()> {
        let (disk, mode) = (&*directory.disk, directory.file_mode());
        let mut rest = |name: &Path, from: &File, ranges: &[std::ops::Range<u64>]| -> Result<u64> {
            let beside = match leftover {
                Some(beside) => beside,
                None => leftover.insert(make_leftover()?),
            };
            let path = beside.join(name.file_name().unwrap_or_default());
            let file = disk.create_new(&path, 0o600).map_err(Error::io("make", &path))?;
            write_left(disk, &file, from, ranges).map_err(Error::io("write", &path))
        };
        let (mut total, mut in_messages, mut left_over) = (0, 0, 0);
        for number in data_files(directory)? {
            let path = directory.data(number);
            let from = open_quietly(&path).map_err(Error::io("open", &path))?;
            let len = from.metadata().map_err(Error::io("look at", &path))?.len();
            let mut plan = self.plan(number, len);
            if !plan.accounts_for(len) {
                let what = "its octets are not accounted for: nothing is done (this is a bug)";
                return Err(Error::Refused(format!("{}: {what}", path.display())));
            }
            let (copied, _, left) = plan.octets();
            (total, in_messages, left_over) = (total + len, in_messages + copied, left_over + left);
            if !plan.pieces().is_empty() {
                let path = salvaged.data(number);
                let file = disk.create_new(&path, mode).map_err(Error::io("make", &path))?;
                write_salvaged(disk, &file, &from, &plan).map_err(Error::io("write", &path))?;
            }
            if left > 0 && rest(&path, &from, plan.left())? != left {
                return Err(Error::io("write the leftover of", &path)(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        for part in self.unread.clone() {
            if let Some(from) = held.part(part) {
                let len = from.metadata().map_err(directory.io("look at", part))?.len();
                rest(&directory.part(part), from, std::slice::from_ref(&(0..len)))?;
            }
        }
        if let Some(leftover) = &leftover {
            disk.sync_dir(leftover).map_err(Error::io("sync", leftover))?;
        }
        self.write_parts(directory, held, salvaged, mode)?;
        repaired.notes.push(format!(
            "Of {total} octets in data files, {in_messages} are in the salvaged mailbox and {left_over} are left over (messages \
             that were expunged are among them)."
        ));
        repaired.notes.push(format!("Messages kept as they were: {}.", self.whole));
        if self.kept.len() > self.whole {
            let others = self.kept.len() - self.whole;
            repaired.notes.push(format!("Messages with a record that had to be written anew: {others}."));
        }
        disk.sync_dir(&salvaged.path).map_err(Error::io("sync", &salvaged.path))?;
        files::sync_parent(disk, &salvaged.path)
    }

    /// Plans a data file, and notes where its messages will be.
    fn plan(&mut self, number: u32, len: u64) -> Plan {
        let (mut plan, mut end, mut at) = (Plan::default(), 0, 0);
        let range = of_file(&self.kept, number, |kept| kept.entry.spot.file);
        for kept in &mut self.kept[range] {
            let Entry { uid, date, spot } = kept.entry;
            plan.leave(end..spot.pos);
            if kept.anew {
                let mut record = Vec::new();
                DataRecord::write(uid.get(), date, spot.size, &mut record);
                kept.entry.spot.record = u16::try_from(record.len()).unwrap_or(u16::MAX);
                plan.add(record);
                plan.leave(spot.pos..spot.text());
                plan.copy(spot.text()..spot.end());
            } else {
                plan.copy(spot.pos..spot.end());
            }
            end = spot.end();
            kept.entry.spot.pos = at;
            at = kept.entry.spot.end();
        }
        plan.leave(end..len);
        plan
    }

    /// Writes status, index, and `.mixmeta` last: with it the directory is a mailbox.
    fn write_parts(
        &mut self,
        directory: &Directory,
        held: &Held,
        salvaged: &Directory,
        mode: u32,
    ) -> Result<()> {
        let sequence = |part| {
            let file = held.part(part);
            file.and_then(|file| Sequence::read(file).ok().flatten()).map_or(0, |sequence| sequence.value)
        };
        let before = [sequence(Part::Index), sequence(Part::Status), self.meta.seq];
        let seq = next_sequence(directory.now(), &before)?;
        let mut entries: Vec<_> = self.kept.iter().map(|kept| kept.entry).collect();
        entries.sort_unstable_by_key(|entry| entry.uid);
        let disk = &*directory.disk;
        let write = |part, give: &dyn Fn(&Entry, &mut Vec<u8>)| -> Result<()> {
            let file = disk.create_new(&salvaged.part(part), mode).map_err(salvaged.io("make", part))?;
            let fill = || {
                let (mut output, mut record) = (Output::new(disk, &file), Vec::new());
                output.add(&Sequence::line(seq))?;
                for entry in &entries {
                    record.clear();
                    give(entry, &mut record);
                    output.add(&record)?;
                }
                output.finish()
            };
            fill().map(drop).map_err(salvaged.io("write", part))
        };
        write(Part::Status, &|entry, out| {
            if let Some(record) = self.status.get(&entry.uid.get()) {
                record.write(b"", out);
            }
        })?;
        write(Part::Index, &|entry, out| entry.write(out))?;
        self.meta.seq = seq;
        self.meta.uid_last = self.meta.uid_last.max(entries.last().map_or(0, |entry| entry.uid.get()));
        // The reference wants the file that takes new messages to be there.
        let new_file = salvaged.data(self.meta.new_file);
        if new_file.symlink_metadata().is_err() {
            disk.create_new(&new_file, mode).map_err(Error::io("make", &new_file))?;
        }
        let file =
            disk.create_new(&salvaged.part(Part::Meta), mode).map_err(salvaged.io("make", Part::Meta))?;
        let mut output = Output::new(disk, &file);
        let written = output.add(&self.meta.encode()).and_then(|()| output.finish());
        written.map(drop).map_err(salvaged.io("write", Part::Meta))
    }

    fn check(&self, salvaged: &Directory) -> Result<()> {
        let again = Self::new(salvaged, &Held::to_read(salvaged)?)?;
        let first = again.findings.list().first().map_or_else(String::new, ToString::to_string);
        if again.findings.damaged() > 0 || again.kept.len() != self.kept.len() {
            let what = format!("{}: still damaged (this is a bug): {first}", salvaged.path.display());
            return Err(Error::Refused(what));
        }
        Ok(())
    }
}

/// Returns which of these are of a data file; they are in the order of files.
fn of_file<T>(all: &[T], number: u32, file: impl Fn(&T) -> u32) -> std::ops::Range<usize> {
    all.partition_point(|one| file(one) < number)..all.partition_point(|one| file(one) <= number)
}

fn data_files(directory: &Directory) -> Result<Vec<u32>> {
    let all = directory.data_files().map_err(Error::io("read", &directory.path))?;
    Ok(all.into_iter().filter(|number| directory.data(*number).is_file()).collect())
}

fn read_meta(
    directory: &Directory,
    held: &Held,
    findings: &mut Findings,
    unread: &mut Vec<Part>,
) -> Result<Meta> {
    let path = directory.part(Part::Meta);
    let mut raw = Vec::new();
    if let Some(file) = held.part(Part::Meta) {
        let most = usize::try_from(super::meta::MOST).unwrap_or(usize::MAX);
        crate::journal::read_up_to(file, 0, most, &mut raw).map_err(Error::io("read", &path))?;
    } else {
        findings.damage(&path, 0, "the file is missing");
    }
    let found = Readable::parse(&raw);
    if found.is_unfinished {
        findings.oddity(&path, 0, "a line does not end in CRLF");
    }
    match found.clone().whole() {
        Some(meta) => Ok(meta),
        None => {
            if !raw.is_empty() {
                unread.push(Part::Meta);
                findings.damage(&path, 0, found.fault());
            } else if held.part(Part::Meta).is_some() {
                findings.damage(&path, 0, "the file is empty");
            }
            complete(directory, found, held.part(Part::Index), held.part(Part::Status))
        }
    }
}

fn read_index(
    directory: &Directory,
    file: Option<&File>,
    uid_last: u32,
    findings: &mut Findings,
    unread: &mut Vec<Part>,
) -> Result<HashMap<u32, Spot>> {
    let (path, mut indexed) = (directory.part(Part::Index), HashMap::new());
    let Some(file) = file else {
        findings.damage(&path, 0, "the file is missing");
        return Ok(indexed);
    };
    let (mut lines, mut last, mut bad) = (Lines::new(file, 0), 0, false);
    while let Some(line) = lines.next().map_err(Error::io("read", &path))? {
        let (text, offset) = (line.text, line.offset);
        let mut damage = |what: String| {
            bad = true;
            findings.damage(&path, offset, what);
        };
        if offset == 0 {
            if Sequence::parse(&[text, b"\n"].concat()).is_none() {
                damage("Error in mix index file sequence record".into());
            }
            continue;
        }
        match text.first() {
            None => {}
            Some(b':') => match Entry::parse(text) {
                Ok((entry, rest)) => {
                    let uid = entry.uid.get();
                    indexed.entry(uid).or_insert(entry.spot);
                    if hidden_in(rest).is_some() || Entry::is_in(rest) {
                        damage("a record that lost its line end hides the next one".into());
                    } else if line.end == End::None {
                        damage("Truncated mix index record".into());
                    } else if uid <= last {
                        damage(format!("mix index invalid UID ({uid:08x} < {last:08x})"));
                    }
                    last = last.max(uid);
                }
                Err(fault) => {
                    damage(format!("Error in mix index file message record {}: {}", fault.0, shown(text, 80)))
                }
            },
            Some(first) if first.is_ascii_uppercase() && line.end != End::None => {
                findings.oddity(
                    &path,
                    offset,
                    format!("Unknown record in mix index file: {}", shown(text, 80)),
                );
            }
            Some(0) if text.iter().all(|octet| *octet == 0) => {
                findings.oddity(&path, offset, format!("{} NULs at the end", text.len()));
            }
            Some(_) => damage(format!("Unknown record in mix index file: {}", shown(text, 80))),
        }
    }
    if last > uid_last {
        findings.oddity(&path, 0, format!("UIDLAST is {uid_last}, and there is a message with UID {last}"));
    }
    if bad {
        unread.push(Part::Index);
    }
    Ok(indexed)
}

/// Returns the record that follows another one on its line: what follows a record is otherwise of a later version of the format,
/// and text.
fn hidden_in(rest: &[u8]) -> Option<&[u8]> {
    let end =
        rest.iter().position(|octet| matches!(octet, b'\r' | b'\n') || !matches!(octet, b' '..=b'~'))?;
    let colon = memchr::memchr(b':', &rest[end..])?;
    Some(&rest[end + colon..])
}

fn read_status(
    directory: &Directory,
    file: Option<&File>,
    findings: &mut Findings,
    unread: &mut Vec<Part>,
) -> Result<HashMap<u32, Record>> {
    let path = directory.part(Part::Status);
    let mut records = HashMap::new();
    let Some(file) = file else {
        findings.damage(
            &path,
            0,
            "Error opening mix status file: the file is missing, and the flags with it",
        );
        return Ok(records);
    };
    let (mut lines, mut bad) = (Lines::new(file, 0), false);
    while let Some(line) = lines.next().map_err(Error::io("read", &path))? {
        let (text, offset) = (line.text, line.offset);
        if offset == 0 && Sequence::parse(&[text, b"\n"].concat()).is_some() {
            continue;
        }
        if text.is_empty() {
            continue;
        }
        if text.iter().all(|octet| *octet == 0) {
            findings.oddity(&path, offset, format!("{} NULs at the end", text.len()));
            continue;
        }
        match Record::parse(text) {
            Some((record, rest)) => {
                records.insert(record.uid, record);
                if let Some(hidden) = hidden_in(rest) {
                    bad = true;
                    findings.damage(&path, offset, "a record that lost its line end hides the next one");
                    records.extend(Record::parse(hidden).map(|(record, _)| (record.uid, record)));
                }
            }
            None => {
                bad = true;
                let what = format!("Error in mix status file message record: {}", shown(text, 80));
                findings.damage(&path, offset, what);
                let hidden = hidden_in(text).and_then(Record::parse);
                records.extend(hidden.map(|(record, _)| (record.uid, record)));
            }
        }
    }
    if bad {
        unread.push(Part::Status);
    }
    Ok(records)
}

/// Puts the salvaged mailbox in the place of the damaged one.
fn swap(directory: &Directory, repaired: &mut Repaired) -> Result<()> {
    let Some(salvaged) = repaired.salvaged.clone() else { return Ok(()) };
    let (disk, path) = (&*directory.disk, &directory.path);
    let owner = |path: &Path| path.metadata().map(|found| (found.uid(), found.gid()));
    if owner(path).map_err(Error::io("look at", path))?
        != owner(&salvaged).map_err(Error::io("look at", &salvaged))?
    {
        let what = "the salvaged mailbox would belong to somebody else: it is not put in its place";
        return Err(Error::Refused(format!("{}: {what}", path.display())));
    }
    match disk.exchange(&salvaged, path) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let what = "this file system cannot exchange two directories: rename them by hand";
            return Err(Error::Refused(format!("{}: {what}", path.display())));
        }
        exchanged => exchanged.map_err(Error::io("replace", path))?,
    }
    files::sync_parent(disk, path)?;
    move_others(directory, &salvaged)?;
    let parents = [path.parent().unwrap_or(Path::new(".")).to_path_buf()];
    let kept = make_free(names(path, &parents, "damaged"), |to| files::rename_free(disk, &salvaged, to));
    let (damaged, ()) = kept.map_err(Error::io("rename", &salvaged))?;
    files::sync_parent(disk, path)?;
    (repaired.outcome, repaired.salvaged, repaired.damaged) = (Outcome::Applied, None, Some(damaged));
    Ok(())
}

/// Moves what is not of the mailbox itself into the directory that has the name now.
fn move_others(directory: &Directory, from: &Path) -> Result<()> {
    let disk = &*directory.disk;
    let failed = |error| Error::io("move what is in", from)(error);
    let mut moved = false;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name.as_bytes().starts_with(PREFIX) {
            continue;
        }
        match files::rename_free(disk, &from.join(&name), &directory.path.join(&name)) {
            // Somebody made another one meanwhile: both are there.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => renamed.map_err(failed)?,
        }
        moved = true;
    }
    if moved {
        disk.sync_dir(&directory.path).map_err(Error::io("sync", &directory.path))?;
        disk.sync_dir(from).map_err(failed)?;
    }
    Ok(())
}

/// Finishes the swap of a process that died behind the exchange.
fn bring_home(directory: &Directory) -> Result<()> {
    let parents = [directory.path.parent().unwrap_or(Path::new(".")).to_path_buf()];
    for ending in ["salvaged", "damaged"] {
        for path in names(&directory.path, &parents, ending).take_while(|path| path.is_dir()) {
            if path.join(Part::Meta.name()).exists() || path.join(Part::Index.name()).exists() {
                move_others(directory, &path)?;
            }
        }
    }
    Ok(())
}

/// Removes a directory of ours that was not finished.
fn remove_all(directory: &Directory, path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        directory.disk.remove(&entry.path()).ok();
    }
    directory.disk.remove_dir(path).ok();
}
