//! Taking expunged messages out of the data files.
//!
//! Only who is alone may: others know where messages are. The reference slides messages down within their file, so that
//! for a while the index is wrong. We copy them to a new file, make that safe, let the index point there, and only then
//! remove the old file: at every instant each record of the index points to a whole message. What a dead process leaves
//! behind is octets that no record points to, and they are what is taken out here.
//!
//! A file of which a large first part stays is not copied whole: it is cut behind that part. Copies are packed into new
//! files of moderate size.

use super::data::{Found, MOST, TOKEN};
use super::directory::{Directory, Exclusive, Part};
use super::index::{Entry, Spot, WIDTH, place};
use super::mailbox::MixMailbox;
use super::text::Sequence;
use crate::journal::read_up_to;
use crate::lock::{Mode, Wait, lock_file};
use ailurus_store::{Error, Level, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};

/// A first part that is at least so large stays where it is.
const LARGE: u64 = 1024 * 1024;
/// Copies of messages go to a file until it would be larger than this.
const PACKED: u64 = 4 * 1024 * 1024;
const BLOCK: usize = 1024 * 1024;

/// Whether it is told how much was reclaimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Telling {
    Yes,
    No,
}

/// What the index needs of one data file.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    size: u64,
    /// Octets of messages.
    kept: u64,
    /// Where the messages at its start end, and the last of all.
    prefix: u64,
    end: u64,
    /// The index says that it is longer than it is.
    is_short: bool,
    /// New messages go there.
    is_new: bool,
}

impl Use {
    fn is_dirty(&self) -> bool {
        !self.is_short && self.kept != self.size
    }

    /// Tells whether the file is of no use at all.
    fn is_left_over(&self) -> bool {
        self.size == 0 && !self.is_new
    }

    /// Returns from where on messages must move; `None` if a cut is enough.
    fn moves_from(&self) -> Option<u64> {
        match self.prefix {
            prefix if prefix == self.end => None,
            prefix if prefix >= LARGE => Some(prefix),
            _ => Some(0),
        }
    }
}

/// All data files by number, ascending.
#[derive(Debug)]
struct Uses(Vec<(u32, Use)>);

impl Uses {
    /// Returns the place of a file; `near` is where it probably is.
    fn position(&self, number: u32, near: usize) -> Option<usize> {
        if self.0.get(near).is_some_and(|(found, _)| *found == number) {
            return Some(near);
        }
        self.0.binary_search_by_key(&number, |(found, _)| *found).ok()
    }

    fn get(&self, number: u32) -> Option<&Use> {
        self.position(number, 0).map(|at| &self.0[at].1)
    }
}

/// A message that is in another place now.
#[derive(Clone, Copy, Debug)]
struct Move {
    index: usize,
    file: u32,
    pos: u64,
}

impl MixMailbox {
    /// Takes out of the data files what no message is, if no other session has the mailbox open. An index that is
    /// anything but plain could lack messages: then nothing is taken out.
    pub(super) fn reclaim(&mut self, lock: Exclusive<'_>, telling: Telling) -> Result<()> {
        self.holes = true;
        if !self.index.is_usual {
            return Ok(());
        }
        let io = || self.opened.directory.io("lock", Part::Meta);
        let alone = lock_file(&self.opened.meta, Mode::Exclusive, Wait::No).map_err(io())?;
        let outcome = if alone { self.reclaim_alone(lock) } else { Ok(None) };
        // The shared lock was let go even if there was no exclusive one.
        let io = || self.opened.directory.io("lock", Part::Meta);
        lock_file(&self.opened.meta, Mode::Shared, Wait::Block).map_err(io())?;
        if !self.opened.is_current() {
            return Err(self.gone("mailbox was deleted or renamed".into()));
        }
        let Some(reclaimed) = outcome? else { return Ok(()) };
        self.holes = false;
        if reclaimed > 0 && telling == Telling::Yes {
            let text = format!("Reclaimed {reclaimed} bytes of expunged space");
            self.opened.directory.tell(self.manner, Level::Info, text);
        }
        Ok(())
    }

    /// Returns how many octets were taken out of files that are still there; `None` if something stays to be done.
    fn reclaim_alone(&mut self, lock: Exclusive<'_>) -> Result<Option<u64>> {
        let Some(uses) = self.uses()? else { return Ok(None) };
        if uses.0.iter().all(|(_, one)| !one.is_dirty() && !one.is_left_over()) {
            return Ok(Some(0));
        }
        if let Some(pos) = self.find_misplaced(&uses)? {
            self.complain_of(format!("Bad message token in mix message file at {pos}"));
            return Ok(None);
        }
        let is_moved = |spot: &Spot| {
            let dirty = uses.get(spot.file).filter(|one| one.is_dirty());
            dirty.and_then(Use::moves_from).is_some_and(|from| spot.pos >= from)
        };
        let indices: Vec<usize> =
            (0..self.spots.len()).filter(|index| is_moved(&self.spots[*index])).collect();
        let directory = self.opened.directory.clone();
        let mut copies = Copies::new(&directory, self.meta.new_file);
        let moves = match self.copy(&mut copies, &indices) {
            Ok(moves) => moves,
            Err(error) => {
                copies.remove();
                let text = format!("{}: space cannot be reclaimed: {error}", directory.path.display());
                directory.environment.notices.tell(Level::Log, text);
                return Ok(None);
            }
        };
        self.point_to(lock, &moves, &copies, &uses).inspect_err(|_| {
            // Nobody knows which records were written: they are read again before anything is removed.
            self.index.sequence = Sequence::default();
        })?;
        self.forget_ahead();
        self.remove_unused(&uses)?;
        let reclaimed = uses.0.iter().filter(|(_, one)| one.is_dirty() && one.kept > 0);
        Ok(Some(reclaimed.map(|(_, one)| one.size - one.kept).sum()))
    }

    /// Adds up what the index needs of each data file; `None` where the index and the files contradict each other.
    fn uses(&self) -> Result<Option<Uses>> {
        let directory = &self.opened.directory;
        let io = |error| Error::io("read", &directory.path)(error);
        let mut uses = Uses(Vec::new());
        for number in directory.data_files().map_err(io)? {
            let size = directory.data(number).metadata().map_err(io)?.len();
            let is_new = number == self.meta.new_file;
            uses.0.push((number, Use { size, is_new, ..Use::default() }));
        }
        if uses.0.is_empty() {
            self.warn("No mix message files found during expunge".into());
            return Ok(None);
        }
        let mut near = 0;
        for spot in &self.spots {
            let Some(at) = uses.position(spot.file, near) else {
                self.complain_of(format!("Can't locate mix message file {:08x}", spot.file));
                return Ok(None);
            };
            near = at;
            let one = &mut uses.0[at].1;
            if spot.pos < one.end {
                self.complain_of(format!("Backwards-running mix index {} < {}", spot.pos, one.end));
                return Ok(None);
            }
            if spot.pos == one.prefix {
                one.prefix = spot.end();
            }
            one.end = spot.end();
            one.kept += spot.end() - spot.pos;
            if one.end > one.size && !one.is_short {
                one.is_short = true;
                let (path, Use { size, end, .. }) = (directory.data(spot.file), *one);
                let path = path.display();
                self.complain_of(format!("Unexpected short mix message file {path} {size} < {end}"));
            }
        }
        Ok(Some(uses))
    }

    fn complain_of(&self, text: String) {
        self.opened.directory.tell(self.manner, Level::Error, text);
    }

    /// Returns where a message of these files is not what the index says. What lies between messages may be thrown away
    /// only if they are all where they should be, with all their octets.
    fn find_misplaced(&mut self, uses: &Uses) -> Result<Option<u64>> {
        let directory = &self.opened.directory;
        let mut octets = Vec::new();
        for (spot, message) in self.spots.iter().zip(&self.snapshot.messages) {
            if !uses.get(spot.file).is_some_and(Use::is_dirty) {
                continue;
            }
            let io = |error| Error::io("read", directory.data(spot.file))(error);
            let file = self.data.file(directory, spot.file).map_err(io)?;
            read_up_to(file, spot.pos, MOST, &mut octets).map_err(io)?;
            let is_there = match Found::at(&octets, message.uid().get(), spot) {
                Found::Message => true,
                // It was cut off: another message, or the end of the file, follows in the middle of it.
                Found::OfSize(size) if size > spot.size => {
                    read_up_to(file, spot.end(), TOKEN.len(), &mut octets).map_err(io)?;
                    octets.is_empty() || octets == TOKEN
                }
                Found::OfSize(_) | Found::Another | Found::Nothing => false,
            };
            if !is_there {
                return Ok(Some(spot.pos));
            }
        }
        Ok(None)
    }

    /// Copies messages to new files and makes those safe. Returns where they are then.
    fn copy(&mut self, copies: &mut Copies<'_>, indices: &[usize]) -> Result<Vec<Move>> {
        let mut moves = Vec::with_capacity(indices.len());
        let directory = copies.directory;
        let mut block = Vec::new();
        for index in indices {
            let spot = self.spots[*index];
            let path = directory.data(spot.file);
            let from = self.data.file(directory, spot.file).map_err(Error::io("open", &path))?;
            let (file, pos) = copies.begin(spot.end() - spot.pos, from)?;
            moves.push(Move { index: *index, file, pos });
            let mut at = spot.pos;
            while at < spot.end() {
                let most = usize::try_from(spot.end() - at).unwrap_or(BLOCK).min(BLOCK);
                block.resize(most, 0);
                from.read_exact_at(&mut block, at).map_err(Error::io("read", &path))?;
                copies.write(&block)?;
                at += most as u64;
            }
        }
        copies.finish()?;
        Ok(moves)
    }

    /// Lets the index point to the copies. A new message must not go into a file that is about to go: `.mixmeta` is first.
    fn point_to(
        &mut self,
        lock: Exclusive<'_>,
        moves: &[Move],
        copies: &Copies<'_>,
        uses: &Uses,
    ) -> Result<()> {
        let new = uses.get(self.meta.new_file).filter(|one| one.is_dirty() && one.kept > 0);
        let goes = new.is_some_and(|one| one.moves_from() == Some(0));
        if let Some(last) = copies.last().filter(|_| goes) {
            self.meta.new_file = last;
            self.write_meta(lock)?;
        }
        if moves.is_empty() {
            return Ok(());
        }
        let seq = self.next_sequence(&[self.index.sequence.value])?;
        let Some(digits) = self.index.sequence.digits_in_place(seq) else { return Err(no_room()) };
        for one in moves {
            let spot = &mut self.spots[one.index];
            (spot.file, spot.pos) = (one.file, one.pos);
        }
        let indices: Vec<usize> = moves.iter().map(|one| one.index).collect();
        self.patch_index(lock, &indices, place::WHERE)?;
        let directory = &self.opened.directory;
        directory.disk.write_at(lock.index, &digits, 1).map_err(directory.io("write to", Part::Index))?;
        directory.disk.sync(lock.index).map_err(directory.io("sync", Part::Index))?;
        self.index.sequence = self.index.sequence.changed(seq);
        self.status.index = seq;
        Ok(())
    }

    /// Writes fields of these messages' records over in place, as they are in memory. Whenever that is cut off, each record
    /// is as before or as after; one that lies across two sectors may be neither, and its message is then found by its
    /// own record.
    fn patch_index(
        &self,
        lock: Exclusive<'_>,
        indices: &[usize],
        fields: std::ops::Range<usize>,
    ) -> Result<()> {
        const SPAN: usize = 512;
        let directory = &self.opened.directory;
        let io = || directory.io("write to", Part::Index);
        let mut block = Vec::new();
        let mut rest = indices;
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|index| **index - first < SPAN).count();
            let (run, after) = rest.split_at(count);
            rest = after;
            let records = run.last().unwrap_or(first) - first + 1;
            let start = self.index.offset(*first).ok_or_else(no_room)?;
            block.resize(records * WIDTH, 0);
            lock.index.read_exact_at(&mut block, start).map_err(io())?;
            for index in run {
                let octets = &mut block[(index - first) * WIDTH..][..WIDTH];
                let (spot, message) = (self.spots[*index], &self.snapshot.messages[*index]);
                let mut record = Vec::with_capacity(WIDTH);
                Entry { uid: message.uid(), date: message.internal_date(), spot }.write(&mut record);
                if record.len() != WIDTH || record[place::UID] != octets[place::UID] {
                    return Err(directory.damaged(Part::Index, start, "mix index is not as it was read"));
                }
                octets[fields.clone()].copy_from_slice(&record[fields.clone()]);
            }
            directory.disk.write_at(lock.index, &block, start).map_err(io())?;
        }
        Ok(())
    }

    /// Writes down the sizes of messages that were cut off. The sequence stays: nothing changed for who knows them.
    pub(super) fn write_sizes(&mut self, lock: Exclusive<'_>) -> Result<()> {
        if !self.index.is_usual {
            return Ok(());
        }
        let indices: Vec<usize> = (0..self.spots.len()).collect();
        self.patch_index(lock, &indices, place::SIZES)
    }

    /// Removes data files without messages, and cuts the others behind what stays.
    fn remove_unused(&mut self, uses: &Uses) -> Result<()> {
        let directory = &self.opened.directory;
        for (number, one) in uses.0.iter().filter(|(_, one)| one.is_dirty() || one.is_left_over()) {
            let path = directory.data(*number);
            let cut = |len| {
                let file = directory.open(&path, true)?;
                directory.disk.set_len(&file, len)
            };
            let outcome = match (one.kept, one.moves_from()) {
                (0, _) if one.is_new => cut(0),
                (0, _) | (_, Some(0)) => directory.disk.remove(&path),
                (_, None) => cut(one.end),
                (_, Some(prefix)) => cut(prefix),
            };
            if let Err(error) = outcome {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.warn(format!("Can't delete empty message file {name}: {error}"));
            }
        }
        Ok(())
    }
}

fn no_room() -> Error {
    Error::Refused("a number does not fit into its place in the mix index".into())
}

/// The files that messages are copied to.
struct Copies<'d> {
    directory: &'d Directory,
    /// The number that the next file must be above.
    after: u32,
    files: Vec<u32>,
    open: Option<File>,
    /// What is yet to be written, behind `written` octets of the open file.
    pending: Vec<u8>,
    written: u64,
}

impl<'d> Copies<'d> {
    fn new(directory: &'d Directory, after: u32) -> Self {
        Self { directory, after, files: Vec::new(), open: None, pending: Vec::new(), written: 0 }
    }

    fn last(&self) -> Option<u32> {
        self.files.last().copied()
    }

    /// Begins a message of that size; returns where it will be. A new file gets the mode of the one it comes from.
    fn begin(&mut self, size: u64, from: &File) -> Result<(u32, u64)> {
        let at = self.written + self.pending.len() as u64;
        if let Some(last) = self.last()
            && self.open.is_some()
            && at + size <= PACKED
        {
            return Ok((last, at));
        }
        self.flush()?;
        let mode = from.metadata().map_or(0o600, |meta| meta.permissions().mode() & 0o777);
        let (number, file) = new_data_file(self.directory, self.after, mode)?;
        self.files.push(number);
        (self.after, self.open, self.written) = (number, Some(file), 0);
        Ok((number, 0))
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(octets);
        if self.pending.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(file) = &self.open else { return Ok(()) };
        let path = &self.directory.path;
        let written = self.directory.disk.write_at(file, &self.pending, self.written);
        written.map_err(Error::io("write to a file in", path))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Makes all files and their names safe. That is done last, so that the system writes them side by side.
    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.open = None;
        for number in &self.files {
            let path = self.directory.data(*number);
            let file = self.directory.open(&path, true).map_err(Error::io("open", &path))?;
            self.directory.disk.sync(&file).map_err(Error::io("sync", path))?;
        }
        if self.files.is_empty() { Ok(()) } else { self.directory.sync() }
    }

    fn remove(&self) {
        for number in &self.files {
            self.directory.disk.remove(&self.directory.data(*number)).ok();
        }
    }
}

/// Makes a data file of a number that is free: the time, or the next behind `after`.
pub(super) fn new_data_file(directory: &Directory, after: u32, mode: u32) -> Result<(u32, File)> {
    const MOST_TRIES: usize = 10_000;
    let now = u32::try_from(directory.now()).unwrap_or(u32::MAX);
    let mut number = now.max(after.saturating_add(1));
    for _ in 0..MOST_TRIES {
        let path = directory.data(number);
        match directory.disk.create_new(&path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // After the last number come those that were left out.
                number = number.checked_add(1).unwrap_or(1);
            }
            made => return made.map(|file| (number, file)).map_err(Error::io("create", path)),
        }
    }
    Err(Error::io("create", directory.data(number))(io::ErrorKind::AlreadyExists.into()))
}
