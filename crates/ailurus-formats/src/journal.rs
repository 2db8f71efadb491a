//! The redo journal of a file that is rewritten in place.
//!
//! Mailboxes that other programs hold open by inode cannot be replaced by rename, and moving octets about inside
//! one would lose mail if we were killed half way. So [`Rewrite`](crate::rewrite::Rewrite) first writes all that
//! will be different into a journal, syncs it, and only then touches the mailbox. Whoever of us opens the mailbox
//! next finds the journal and finishes the work with [`recover`].
//!
//! # Layout
//!
//! Numbers are little endian. A journal whose header or body does not agree with its checksums was never finished:
//! the mailbox was not touched, and the journal holds nothing that the mailbox does not.
//!
//! | octets | header |
//! |---|---|
//! | 16 | `ailurus-redo-01` LF |
//! | 8, 8 | device and inode of the mailbox |
//! | 8, 8 | its length before, its length after |
//! | 8, 8 | length of the body, checksum of the body |
//! | 8 | checksum of the first 64 KiB of what is cut off, where the mailbox becomes shorter |
//! | 8 | checksum of the header so far |
//!
//! The body is a series of records in ascending order: offset (8), length (4), zero (4), for each unit of 512 octets
//! the checksum of what was there before (8 each), then the new octets. A record starts on a unit's boundary and
//! covers whole units, but where the new content ends. So each unit is either as before or as after, whatever
//! instant the power failed at: no disk writes less than one.
//!
//! # Recovery
//!
//! Under the locks that a rewrite needs. Every unit of the records must be as before or as after, else somebody
//! else changed the mailbox since: it is left alone, and the journal is renamed to `….orphan` and kept, since it may
//! hold mail. Mail that others appended after the crash is found beyond the length before or after, by what lies
//! between: it is moved behind the new content by a journal of its own, which replaces the first one by rename and
//! holds all that the first one held.
//!
//! # Place
//!
//! `.NAME.ailurus-journal` beside the mailbox, or `.NAME.INODE.ailurus-journal` in the user's home where that directory
//! is not writable. The spool directory is writable by everybody: a journal counts only if it is a plain file that
//! belongs to us or to the mailbox's owner and that nobody else may write.

use crate::disk::Disk;
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Level, Notices};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 16] = *b"ailurus-redo-01\n";
const HEADER: usize = 80;
/// The unit that a disk writes wholly or not at all.
pub(crate) const UNIT: usize = 512;
/// How much is held in memory at a time.
pub(crate) const BLOCK: usize = 256 * 1024;
const MOST_RECORD: usize = 2 * BLOCK;
const TAIL_CHECKED: u64 = 64 * 1024;

/// Where the journal of a mailbox may be; see the module's text.
#[derive(Clone, Debug)]
pub struct Places {
    paths: [PathBuf; 2],
    owner: u32,
    device: u64,
    inode: u64,
}

impl Places {
    /// Returns the places for the mailbox at `path`, open as `file`, of a user whose home is `home`.
    pub fn of(path: &Path, file: &File, home: &Path) -> io::Result<Self> {
        let found = file.metadata()?;
        let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        let path = if is_link { path.canonicalize()? } else { path.to_owned() };
        let name = path.file_name().unwrap_or_default();
        let named = |between: &str| {
            let mut journal = OsString::from(".");
            journal.push(name);
            journal.push(between);
            journal.push(".ailurus-journal");
            journal
        };
        let beside = path.with_file_name(named(""));
        let at_home = home.join(named(&format!(".{:x}", found.ino())));
        Ok(Self { paths: [beside, at_home], owner: found.uid(), device: found.dev(), inode: found.ino() })
    }

    /// Tells whether there is a journal. Under a lock that keeps writers away this means that one of them died.
    #[must_use]
    pub fn any(&self) -> bool {
        self.paths.iter().any(|path| self.open(path).is_some())
    }

    /// Opens a journal if it is one that can be trusted.
    fn open(&self, path: &Path) -> Option<File> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("open flags are small");
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        let found = file.metadata().ok()?;
        let ours = found.uid() == self.owner || found.uid() == rustix::process::geteuid().as_raw();
        (ours && found.is_file() && found.nlink() == 1 && found.mode() & 0o022 == 0).then_some(file)
    }
}

/// What [`recover`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recovery {
    /// There was no journal, or one that was never finished.
    Nothing,
    /// A rewrite was finished.
    Finished,
    /// The mailbox was changed by somebody else since: it is as it was, and the journal is kept aside.
    Orphaned,
}

/// Finishes what a dead process began. `file` is the mailbox, open for reading and writing; the caller holds every
/// lock that a rewrite needs.
pub fn recover(
    disk: &Arc<dyn Disk>,
    notices: &Notices,
    places: &Places,
    file: &File,
) -> Result<Recovery, RewriteError> {
    let mut done = Recovery::Nothing;
    for path in &places.paths {
        let Some(journal) = places.open(path) else { continue };
        let journal = match Sealed::open(path, journal).map_err(RewriteError::Unchanged)? {
            Some(journal) if journal.header.inode == places.inode => journal,
            Some(_) => {
                done = put_aside(disk, notices, path, "it belongs to another file");
                continue;
            }
            None => {
                discard(disk, path);
                continue;
            }
        };
        done = match journal.survey(file).map_err(RewriteError::Unchanged)? {
            Some(survey) => {
                finish(disk, places, &journal, file, &survey)?;
                notices.tell(Level::Log, format!("finished an interrupted rewrite from {}", path.display()));
                Recovery::Finished
            }
            None => put_aside(disk, notices, path, "the mailbox was changed by another program"),
        };
    }
    Ok(done)
}

fn finish(
    disk: &Arc<dyn Disk>,
    places: &Places,
    journal: &Sealed,
    file: &File,
    survey: &Survey,
) -> Result<(), RewriteError> {
    let new_len = journal.header.new_len;
    let appended = survey.tail..survey.length;
    if survey.tail == new_len || appended.is_empty() {
        return journal.apply(disk, file, survey.length, appended.is_empty());
    }
    let mut rewrite = Rewrite::replacing(disk, places, file, journal.path.clone())?;
    let mut records = journal.records(Checking::Done);
    while let Some(record) = records.next().map_err(RewriteError::Unchanged)? {
        let unchanged = rewrite.position()..record.offset;
        rewrite.copy(unchanged)?;
        rewrite.literal(record.data)?;
    }
    let unchanged = rewrite.position()..new_len;
    rewrite.copy(unchanged)?;
    rewrite.copy(appended)?;
    rewrite.finish()
}

/// Keeps a journal that cannot be used under another name: mail in it is never deleted.
fn put_aside(disk: &Arc<dyn Disk>, notices: &Notices, path: &Path, why: &str) -> Recovery {
    for number in 0..1000 {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".orphan".into() } else { format!(".orphan{number}") });
        let aside = PathBuf::from(name);
        if aside.symlink_metadata().is_ok() {
            continue;
        }
        let kept = if disk.rename(path, &aside).is_ok() { &aside } else { path };
        let (path, kept) = (path.display(), kept.display());
        notices.tell(Level::Log, format!("{path} was not used, since {why}; it is kept as {kept}"));
        break;
    }
    Recovery::Orphaned
}

/// Removes a journal that is done with; an empty one, where it cannot be removed, says the same.
fn discard(disk: &Arc<dyn Disk>, path: &Path) {
    if disk.remove(path).is_err()
        && let Ok(file) = OpenOptions::new().write(true).open(path)
    {
        disk.set_len(&file, 0).ok();
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    device: u64,
    inode: u64,
    old_len: u64,
    new_len: u64,
    body_len: u64,
    body_hash: u64,
    tail_hash: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..16].copy_from_slice(&MAGIC);
        let fields = [
            self.device,
            self.inode,
            self.old_len,
            self.new_len,
            self.body_len,
            self.body_hash,
            self.tail_hash,
        ];
        for (place, field) in out[16..].as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        let hash = checksum(&out[..HEADER - 8]);
        out[HEADER - 8..].copy_from_slice(&hash.to_le_bytes());
        out
    }

    fn decode(octets: &[u8; HEADER]) -> Option<Self> {
        let field = |number: usize| number_at(octets, 16 + number * 8);
        if octets[..16] != MAGIC || field(7) != checksum(&octets[..HEADER - 8]) {
            return None;
        }
        Some(Self {
            device: field(0),
            inode: field(1),
            old_len: field(2),
            new_len: field(3),
            body_len: field(4),
            body_hash: field(5),
            tail_hash: field(6),
        })
    }
}

fn number_at(octets: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    if let Some(found) = octets.get(at..at + 8) {
        number.copy_from_slice(found);
    }
    u64::from_le_bytes(number)
}

/// A journal being written.
#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    // Where the journal gets its final name, if that is another.
    replaces: Option<PathBuf>,
    device: u64,
    inode: u64,
    file: File,
    out: Vec<u8>,
    written: u64,
    hash: u64,
}

impl Writer {
    /// Makes the journal in the first place where one can be made; with `replaces`, beside that one.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        places: &Places,
        replaces: Option<PathBuf>,
    ) -> io::Result<Self> {
        let mut failure = None;
        let candidates = match &replaces {
            Some(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".new");
                vec![PathBuf::from(name)]
            }
            None => places.paths.to_vec(),
        };
        for path in candidates {
            // Recovery comes before any rewrite, so this was never finished, or could not even be put aside. One that
            // was to replace another counts for nothing before it did.
            if let Some(left) = places.open(&path)
                && (replaces.is_some() || Sealed::open(&path, left).is_ok_and(|sealed| sealed.is_none()))
            {
                disk.remove(&path).ok();
            }
            match disk.create_new(&path, 0o600) {
                Ok(file) => {
                    let (disk, out) = (Arc::clone(disk), Vec::with_capacity(BLOCK));
                    let (device, inode) = (places.device, places.inode);
                    return Ok(Self { disk, path, replaces, device, inode, file, out, written: 0, hash: 0 });
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Adds a record. `old` is what the mailbox holds there, as far as it reaches.
    pub(crate) fn push(&mut self, offset: u64, old: &[u8], data: &[u8]) -> io::Result<()> {
        let begin = self.out.len();
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        self.out.extend_from_slice(&offset.to_le_bytes());
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&[0; 4]);
        for unit in 0..data.len().div_ceil(UNIT) {
            let end = ((unit + 1) * UNIT).min(data.len()).min(old.len());
            let hash = checksum(old.get(unit * UNIT..end).unwrap_or_default());
            self.out.extend_from_slice(&hash.to_le_bytes());
        }
        self.out.extend_from_slice(data);
        self.hash = mix(self.hash, checksum(&self.out[begin..]));
        if self.out.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.write_at(&self.file, &self.out, HEADER as u64 + self.written)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Makes the journal valid and safe: from now on the rewrite will happen, come what may.
    pub(crate) fn seal(mut self, old_len: u64, new_len: u64, tail_hash: u64) -> io::Result<Sealed> {
        self.flush()?;
        let header = Header {
            device: self.device,
            inode: self.inode,
            old_len,
            new_len,
            body_len: self.written,
            body_hash: self.hash,
            tail_hash,
        };
        self.disk.write_at(&self.file, &header.encode(), 0)?;
        self.disk.sync(&self.file)?;
        if let Some(replaced) = self.replaces.take() {
            self.disk.rename(&self.path, &replaced)?;
            self.path = replaced;
        }
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(Sealed { path: self.path, file: self.file, header })
    }

    /// Removes the journal: the rewrite is called off.
    pub(crate) fn abandon(self) {
        discard(&self.disk, &self.path);
    }

    /// Returns where the journal is, and where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A complete journal.
#[derive(Debug)]
pub(crate) struct Sealed {
    path: PathBuf,
    file: File,
    header: Header,
}

/// What recovery found the mailbox to be.
#[derive(Debug)]
struct Survey {
    length: u64,
    // Where mail starts that others appended since; the length, if there is none.
    tail: u64,
}

impl Sealed {
    /// Returns `None` for a journal that was never finished.
    fn open(path: &Path, file: File) -> io::Result<Option<Self>> {
        let mut octets = [0; HEADER];
        let length = file.metadata()?.len();
        if length < HEADER as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut octets, 0)?;
        let Some(header) = Header::decode(&octets) else { return Ok(None) };
        if header.body_len > length - HEADER as u64 {
            return Ok(None);
        }
        let journal = Self { path: path.into(), file, header };
        let mut records = journal.records(Checking::Yes);
        loop {
            match records.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let whole = records.hash == header.body_hash;
        Ok(whole.then_some(journal))
    }

    fn records(&self, checking: Checking) -> Records<'_> {
        let end = HEADER as u64 + self.header.body_len;
        let reading = HEADER as u64;
        Records {
            file: &self.file,
            checking,
            reading,
            end,
            new_len: self.header.new_len,
            buffer: Vec::new(),
            at: 0,
            after: 0,
            hash: 0,
        }
    }

    /// Makes the mailbox what the journal says, and removes the journal. `length` is the mailbox's length now; it is
    /// set unless `alone` is false: then others' mail is behind the new content already.
    pub(crate) fn apply(
        &self,
        disk: &Arc<dyn Disk>,
        file: &File,
        length: u64,
        alone: bool,
    ) -> Result<(), RewriteError> {
        let new_len = self.header.new_len;
        if length < new_len
            && let Err(error) = extend(disk, file, length, new_len)
        {
            // Nothing else was touched yet.
            disk.set_len(file, length).map_err(RewriteError::Interrupted)?;
            discard(disk, &self.path);
            return Err(RewriteError::Unchanged(error));
        }
        self.overwrite(disk, file, length, alone).map_err(RewriteError::Interrupted)?;
        discard(disk, &self.path);
        Ok(())
    }

    fn overwrite(&self, disk: &Arc<dyn Disk>, file: &File, length: u64, alone: bool) -> io::Result<()> {
        let mut records = self.records(Checking::Done);
        while let Some(record) = records.next()? {
            disk.write_at(file, record.data, record.offset)?;
        }
        if alone && length > self.header.new_len {
            disk.set_len(file, self.header.new_len)?;
        }
        disk.sync(file)
    }

    /// Compares the mailbox with the journal; `None` when a third party changed it.
    fn survey(&self, file: &File) -> io::Result<Option<Survey>> {
        let Header { old_len, new_len, .. } = self.header;
        let length = file.metadata()?.len();
        if length < old_len.min(new_len) {
            return Ok(None);
        }
        let mut extended = length >= new_len;
        let (mut after_so_far, mut torn) = (true, false);
        let mut now = Vec::new();
        let mut records = self.records(Checking::Done);
        while let Some(record) = records.next()? {
            read_up_to(file, record.offset, record.data.len(), &mut now)?;
            for (unit, data) in record.data.chunks(UNIT).enumerate() {
                let offset = record.offset + (unit * UNIT) as u64;
                let now = now.get(unit * UNIT..).unwrap_or_default();
                let now = &now[..now.len().min(data.len())];
                let before = usize::try_from(old_len.saturating_sub(offset)).unwrap_or(UNIT).min(data.len());
                if now.len() < before {
                    return Ok(None);
                }
                let as_before = checksum(&now[..before]) == record.old_hash(unit);
                let as_after = now[..before] == data[..before];
                if !as_before && !as_after {
                    // A killed process wrote from the front to the back, and may have stopped within one unit.
                    if torn || !after_so_far || now.first() != data.first() {
                        return Ok(None);
                    }
                    torn = true;
                } else if torn && !as_before {
                    return Ok(None);
                }
                after_so_far &= as_after;
                let grown = &now[before..];
                extended &= grown == &data[before..] || grown.iter().all(|octet| *octet == 0);
            }
        }
        let tail = if new_len > old_len {
            if extended { new_len } else { old_len }
        } else if length < old_len || tail_checksum(file, old_len, new_len)? != self.header.tail_hash {
            new_len
        } else {
            old_len
        };
        Ok(Some(Survey { length, tail }))
    }
}

/// Makes the file longer, with NULs, so that filling it cannot fail for want of room, and in one step: after a crash
/// it has its old or its new length.
fn extend(disk: &Arc<dyn Disk>, file: &File, from: u64, to: u64) -> io::Result<()> {
    match disk.reserve(file, from, to) {
        Ok(()) => disk.set_len(file, to),
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
            disk.set_len(file, to)?;
            let zeros = vec![0; BLOCK];
            let mut at = from;
            while at < to {
                let count = usize::try_from(to - at).unwrap_or(BLOCK).min(BLOCK);
                disk.write_at(file, &zeros[..count], at)?;
                at += count as u64;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Returns the checksum of what a rewrite to a shorter content cuts off.
pub(crate) fn tail_checksum(file: &File, old_len: u64, new_len: u64) -> io::Result<u64> {
    let count = usize::try_from(old_len.saturating_sub(new_len).min(TAIL_CHECKED)).unwrap_or(0);
    let mut tail = Vec::new();
    read_up_to(file, new_len, count, &mut tail)?;
    Ok(checksum(&tail))
}

/// Reads `count` octets, or fewer where the file ends.
pub(crate) fn read_up_to(file: &File, offset: u64, count: usize, out: &mut Vec<u8>) -> io::Result<()> {
    out.resize(count, 0);
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(filled);
    Ok(())
}

/// Whether the checksum of the body is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Checking {
    Yes,
    // It was, or this process has just written it.
    Done,
}

struct Records<'j> {
    file: &'j File,
    checking: Checking,
    reading: u64,
    end: u64,
    new_len: u64,
    buffer: Vec<u8>,
    at: usize,
    after: u64,
    hash: u64,
}

struct Record<'r> {
    offset: u64,
    old: &'r [u8],
    data: &'r [u8],
}

impl Record<'_> {
    fn old_hash(&self, unit: usize) -> u64 {
        number_at(self.old, unit * 8)
    }
}

impl Records<'_> {
    /// Returns the next record; `InvalidData` if there is none where one should be.
    fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        const HEAD: usize = 16;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "damaged journal");
        if self.at == self.buffer.len() && self.reading == self.end {
            return Ok(None);
        }
        self.ensure(HEAD)?;
        let offset = number_at(&self.buffer, self.at);
        let packed = number_at(&self.buffer, self.at + 8);
        let length = usize::try_from(packed).ok().filter(|length| (1..=MOST_RECORD).contains(length));
        let length = length.ok_or_else(bad)?;
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.new_len).ok_or_else(bad)?;
        let whole = length.is_multiple_of(UNIT) || end == self.new_len;
        if offset < self.after || !offset.is_multiple_of(UNIT as u64) || !whole {
            return Err(bad());
        }
        self.after = end;
        let hashes = length.div_ceil(UNIT) * 8;
        self.ensure(HEAD + hashes + length)?;
        let begin = self.at;
        self.at += HEAD + hashes + length;
        let record = &self.buffer[begin..self.at];
        if self.checking == Checking::Yes {
            self.hash = mix(self.hash, checksum(record));
        }
        let (old, data) = record[HEAD..].split_at(hashes);
        Ok(Some(Record { offset, old, data }))
    }

    fn ensure(&mut self, count: usize) -> io::Result<()> {
        if self.buffer.len() - self.at >= count {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let have = self.buffer.len();
        let want =
            usize::try_from(self.end - self.reading).unwrap_or(usize::MAX).min(count.max(BLOCK) - have);
        self.buffer.resize(have + want, 0);
        self.file.read_exact_at(&mut self.buffer[have..], self.reading)?;
        self.reading += want as u64;
        if self.buffer.len() < count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "journal ends early"));
        }
        Ok(())
    }
}

/// Returns a checksum that tells torn and foreign content from what was written; it does not withstand an attacker.
pub(crate) fn checksum(data: &[u8]) -> u64 {
    let mut lanes = [1u64, 2, 3, 4];
    let (blocks, rest) = data.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut hash = data.len() as u64;
    for lane in lanes {
        hash = mix(hash, lane);
    }
    for octet in rest {
        hash = mix(hash, u64::from(*octet));
    }
    hash ^ (hash >> 29)
}

pub(crate) fn mix(state: u64, word: u64) -> u64 {
    (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_damage_is_seen() {
        let header = Header {
            device: 1,
            inode: 2,
            old_len: 3,
            new_len: 4,
            body_len: 5,
            body_hash: 6,
            tail_hash: u64::MAX,
        };
        let mut octets = header.encode();
        assert_eq!(Header::decode(&octets).unwrap().tail_hash, u64::MAX);
        for at in 0..HEADER {
            octets[at] ^= 1;
            assert!(Header::decode(&octets).is_none(), "octet {at}");
            octets[at] ^= 1;
        }
    }

    #[test]
    fn every_octet_counts_in_the_checksum() {
        let mut data = vec![7; 100];
        let whole = checksum(&data);
        for at in 0..data.len() {
            data[at] ^= 0x80;
            assert_ne!(checksum(&data), whole);
            data[at] ^= 0x80;
        }
        assert_ne!(checksum(&[0]), checksum(&[0, 0]));
    }
}
