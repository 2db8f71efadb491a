//! The sidecar: a small file of ours beside a mailbox whose format has no room for UIDs, flags or keywords.
//!
//! It says which UIDs were given to which messages. What makes a message that message (its *identity*) is the format's
//! business: `N` octets that only the format understands, such as the inode, size and date of its file. A message whose
//! identity the sidecar does not know gets a new UID from [`State::uid_next`] on, so an old program may move, remove and
//! add messages as it likes: no UID ever names two of them. The mailbox itself stays what is true; a sidecar that is lost
//! or damaged costs the flags that it held, and a new UIDVALIDITY.
//!
//! # The file
//!
//! Numbers are little endian.
//!
//! | octets | header |
//! |---|---|
//! | 16 | `ailurus-uids-01` LF |
//! | 8 | octets of an identity |
//! | 8 | length of the *base*: the header and the blocks that were written with it |
//! | 8 | a number that no other sidecar has: an inode can be used again |
//! | 8 | checksum of the header so far |
//!
//! Blocks follow, each with a checksum of its own ([`block`]). Every block holds the whole [`State`] and then
//! [`Event`]s. The base holds a [`Event::Message`] for each message in ascending order of UID; blocks behind it tell what
//! changed since, and cost what they tell, however large the mailbox is. So the last block alone tells where an append
//! goes on, and a session that has read up to some place reads on from there.
//!
//! # Locks
//!
//! Who reads holds a flock of the file, who writes an exclusive one ([`Lock`]). When the changes have outgrown the base,
//! the file is replaced: written beside, locked, synced, renamed. Whoever waited for the old one sees that it has lost
//! its name, and waits for the new one.
//!
//! # Whenever we die
//!
//! Nobody is told of a UID before the block that gives it is synced, and no block is written before the one before it is.
//! So a block that does not agree with its checksum, with nothing good behind it, was never told: it is cut off by the
//! next of us. Since it could be the damaged last block of a file that was well, as many UIDs are skipped as it can have
//! given. Of several blocks that were written together the last one alone has the note: without it, the format finds out
//! again what it would have said. Any other damage makes the file unusable. What cannot be seen is that somebody else put
//! back an older copy of the file; a session that knows more does see it.
//!
//! # Use
//!
//! ```text
//! let mut lock = sidecar.lock()?;
//! match sidecar.read(&lock, &mut records)? {
//!     Reading::Unusable => sidecar.replace(&mut lock, State::new(sidecar.new_validity(new)), all records)?,
//!     …
//! }
//! sidecar.append(&lock, state, events)?;              // synced when it returns
//! if sidecar.is_long() { sidecar.replace(…)? }
//! ```

mod block;
mod event;
mod lock;

pub(crate) use event::{Event, Reader, Record, Records, State};
pub(crate) use lock::Lock;

use crate::disk::Disk;
use crate::journal::checksum;
use ailurus_types::{Uid, UidValidity};
use block::Block;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: [u8; 16] = *b"ailurus-uids-01\n";
const HEADER: usize = 48;
/// The sidecar of a directory; such names are nobody's mailbox (`ailurus_store`).
const IN_DIRECTORY: &str = ".ailurus-uids";
/// So many octets of changes are no reason to write the file anew.
const FEW: u64 = 64 * 1024;
/// How many octets of events go into one block.
const BLOCK: usize = 256 * 1024;

/// The sidecar of one mailbox, and how much of it is known.
#[derive(Debug)]
pub(crate) struct Sidecar<const N: usize> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    mode: u32,
    position: Option<Position>,
    state: Option<State>,
}

/// Up to where a file was read.
#[derive(Clone, Copy, Debug)]
struct Position {
    seen: Seen,
    /// The end of the last good block.
    end: u64,
    base: u64,
    generation: u64,
    /// The sequence number of the next block.
    sequence: u32,
    /// Whether all before was read, not only the last block.
    whole: bool,
}

/// What a look at the file tells without opening it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
}

impl Seen {
    fn of(found: &Metadata) -> Self {
        let modified = (found.mtime(), found.mtime_nsec());
        Self { file: (found.dev(), found.ino()), length: found.len(), modified }
    }
}

/// What [`Sidecar::read`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reading {
    /// Nothing since the last time.
    Same,
    /// The events told are what happened since the last time.
    More,
    /// The events told are all there is: the file is another, or is read for the first time.
    Anew,
    /// There is no file, it is empty, or it is damaged. Events may have been told before that was seen: their flags may
    /// be used, their UIDs may not.
    Unusable,
}

/// Whether a write is on the disk when it returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Durability {
    Synced,
    Lazy,
}

impl<const N: usize> Sidecar<N> {
    /// Returns the sidecar at a path, of which nothing is read yet. It is made with this mode.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, mode: u32) -> Self {
        Self { disk, path, mode, position: None, state: None }
    }

    /// Returns the path of the sidecar in a mailbox that is a directory.
    pub(crate) fn path_in(directory: &Path) -> PathBuf {
        directory.join(IN_DIRECTORY)
    }

    /// Returns the path of the sidecar of a mailbox that is a file: `.NAME.ailurus-uids` beside it.
    pub(crate) fn path_beside(mailbox: &Path) -> io::Result<PathBuf> {
        let is_link = mailbox.symlink_metadata().is_ok_and(|found| found.is_symlink());
        let mailbox = if is_link { mailbox.canonicalize()? } else { mailbox.to_owned() };
        let mut name = OsString::from(".");
        name.push(mailbox.file_name().unwrap_or_default());
        name.push(IN_DIRECTORY);
        Ok(mailbox.with_file_name(name))
    }

    /// Returns where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the state as last read or written.
    pub(crate) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Returns a UIDVALIDITY that is none that this value knows of: `new`, or more.
    pub(crate) fn new_validity(&self, new: u32) -> UidValidity {
        let known = self.state.as_ref().and_then(|state| state.uid_validity.next());
        let new = UidValidity::new(new).unwrap_or(UidValidity::MIN);
        known.map_or(new, |known| known.max(new))
    }

    /// Tells, without a lock, whether the file is different from what was read.
    pub(crate) fn has_news(&self) -> bool {
        match (self.path.metadata(), &self.position) {
            (Ok(found), Some(position)) => position.seen != Seen::of(&found),
            (Ok(found), None) => found.len() > 0,
            (Err(_), known) => known.is_some(),
        }
    }

    /// Takes the lock to read and write; makes an empty file where there is none.
    pub(crate) fn lock(&self) -> io::Result<Lock> {
        let lock = Lock::exclusive(&*self.disk, &self.path, self.mode)?;
        let beside = self.beside();
        if beside.symlink_metadata().is_ok() {
            // Left there by one who died: nobody else makes it without the lock that we have. It is in nobody's way.
            self.disk.remove(&beside).ok();
        }
        Ok(lock)
    }

    /// Returns where the file is made that replaces this one.
    fn beside(&self) -> PathBuf {
        let mut beside = self.path.as_os_str().to_owned();
        beside.push(".new");
        beside.into()
    }

    /// Takes the lock to read only; `None` where there is no file.
    pub(crate) fn lock_to_read(&self) -> io::Result<Option<Lock>> {
        Lock::shared(&self.path)
    }

    /// Reads what is new in the file, and tells it. Under an exclusive lock a torn end is cut off.
    pub(crate) fn read(&mut self, lock: &Lock, tell: &mut dyn Reader<N>) -> io::Result<Reading> {
        let found = lock.file().metadata()?;
        let start = self.start(lock, &found)?;
        let known =
            self.position.filter(|known| known.whole && start.is_some_and(|start| known.goes_on(&start)));
        let Some(mut position) = known.or(start) else {
            self.position = None;
            return Ok(Reading::Unusable);
        };
        let before = self.state.as_ref().map(|state| (state.uid_validity, state.uid_next));
        position.seen = Seen::of(&found);
        if known.is_none() {
            tell.start();
        }
        let good = self.read_blocks(lock, &mut position, tell)?;
        let length = found.len();
        let damaged = position.end < position.base
            || position.end < length && block::any_in(lock.file(), position.end, length)?
            || known.is_none() && self.went_back(before);
        if !good || damaged {
            self.position = None;
            return Ok(Reading::Unusable);
        }
        self.position = Some(position);
        if position.end < length && lock.is_exclusive() {
            self.cut(lock, length)?;
        }
        Ok(match known {
            None => Reading::Anew,
            Some(known) if known.end == position.end => Reading::Same,
            Some(_) => Reading::More,
        })
    }

    /// Reads on to the first block that is not good; `false` when one says what we do not understand.
    fn read_blocks(
        &mut self,
        lock: &Lock,
        position: &mut Position,
        tell: &mut dyn Reader<N>,
    ) -> io::Result<bool> {
        let mut buffer = Vec::new();
        while position.end < position.seen.length {
            match block::read(lock.file(), position.end, position.seen.length, &mut buffer)? {
                Some(next) if next.sequence == position.sequence => {
                    if !self.take(&next, position, tell) {
                        return Ok(false);
                    }
                }
                _ => break,
            }
        }
        Ok(true)
    }

    /// Reads the state alone, which costs the same for a mailbox of any size; `false`: [`Sidecar::read`] must see what
    /// is wrong.
    pub(crate) fn read_state(&mut self, lock: &Lock) -> io::Result<bool> {
        let found = lock.file().metadata()?;
        let Some(mut position) = self.start(lock, &found)? else { return Ok(false) };
        let mut buffer = Vec::new();
        let last = block::read_last(lock.file(), position.end, found.len(), &mut buffer)?;
        let Some((last, (state, _))) =
            last.and_then(|last| State::decode(last.payload).map(|said| (last, said)))
        else {
            return Ok(false);
        };
        (position.end, position.whole) = (found.len(), false);
        position.sequence = last.sequence.wrapping_add(1);
        (self.state, self.position) = (Some(state), Some(position));
        Ok(true)
    }

    /// Returns what tells the state of the file up to whose end its last block was read or written under this lock from
    /// any other: a file grows until it is replaced, and then it has another number.
    pub(crate) fn identity(&self, lock: &Lock) -> Option<[u64; 5]> {
        let position = self.position?;
        let found = lock.file().metadata().ok().filter(|found| found.len() == position.end)?;
        let nanoseconds = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
        let changed = u64::try_from(nanoseconds).ok()?;
        Some([found.dev(), found.ino(), position.end, changed, position.generation])
    }

    /// Goes on behind the block that [`Sidecar::read_state`] read: what all before says is known from elsewhere.
    pub(crate) fn skip_what_is_known(&mut self) {
        if let Some(position) = &mut self.position {
            position.whole = true;
        }
    }

    /// Adds what changed, and the state after that, at the end of the file, which was read to its end under this lock.
    /// With `Ok` it is safe on the disk; on failure the file is as it was, or as if we had died.
    pub(crate) fn append(
        &mut self,
        lock: &Lock,
        state: &State,
        events: impl IntoIterator<Item = Event<N>>,
    ) -> io::Result<()> {
        self.write(lock, state, events, Durability::Synced)
    }

    /// Adds the state at the end of the file as [`Sidecar::append`] does, but leaves it to the system when it reaches the
    /// disk: for what does not matter if it is lost together with all that follows.
    pub(crate) fn append_lazily(&mut self, lock: &Lock, state: &State) -> io::Result<()> {
        self.write(lock, state, [], Durability::Lazy)
    }

    fn write(
        &mut self,
        lock: &Lock,
        state: &State,
        events: impl IntoIterator<Item = Event<N>>,
        durability: Durability,
    ) -> io::Result<()> {
        let Some(mut position) = self.position else { return Err(io::ErrorKind::InvalidInput.into()) };
        let start = position.end;
        let mut writer = BlockWriter::new(&*self.disk, lock.file(), state, position.end, position.sequence);
        writer.in_order = true;
        let written = events
            .into_iter()
            .try_for_each(|event| writer.push(&event))
            .and_then(|()| writer.finish())
            .and_then(|end| match durability {
                Durability::Synced => self.disk.sync(lock.file()).map(|()| end),
                Durability::Lazy => Ok(end),
            });
        let (end, sequence) = written.inspect_err(|_| {
            // What cannot be cut off is cut off by whoever comes next.
            self.disk.set_len(lock.file(), start).ok();
        })?;
        (position.end, position.sequence) = (end, sequence);
        position.seen = Seen::of(&lock.file().metadata()?);
        (self.position, self.state) = (Some(position), Some(state.clone()));
        Ok(())
    }

    /// Tells whether the file should be written anew: the changes have outgrown what they change.
    pub(crate) fn is_long(&self) -> bool {
        self.position.is_some_and(|known| known.end - known.base > FEW.max(known.base / 2))
    }

    /// Writes the file anew, with all messages in ascending order of UID. On failure the old one stays.
    pub(crate) fn replace(
        &mut self,
        lock: &mut Lock,
        state: &State,
        records: impl IntoIterator<Item = Record<N>>,
    ) -> io::Result<()> {
        let beside = self.beside();
        let file = match self.disk.create_new(&beside, self.mode) {
            // Left there by one who died since we have the lock of a file system that has none.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&beside)?;
                self.disk.create_new(&beside, self.mode)?
            }
            file => file?,
        };
        let fresh = Lock::of_new(file)?;
        let written = self.write_base(fresh.file(), state, records).and_then(|position| {
            self.disk.rename(&beside, &self.path)?;
            Ok(position)
        });
        let position = written.inspect_err(|_| {
            self.disk.remove(&beside).ok();
        })?;
        *lock = fresh;
        (self.position, self.state) = (Some(position), Some(state.clone()));
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Writes a file of no octets, of a mailbox that is not there yet: whatever we leave of it when we die is nobody's.
    pub(crate) fn fill(
        &mut self,
        lock: &Lock,
        state: &State,
        records: impl IntoIterator<Item = Record<N>>,
    ) -> io::Result<()> {
        if lock.file().metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let position = self.write_base(lock.file(), state, records)?;
        (self.position, self.state) = (Some(position), Some(state.clone()));
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    fn write_base(
        &self,
        file: &File,
        state: &State,
        records: impl IntoIterator<Item = Record<N>>,
    ) -> io::Result<Position> {
        let mut writer = BlockWriter::new(&*self.disk, file, state, HEADER as u64, 0);
        for Record { uid, flags, identity } in records {
            writer.push(&Event::Message { uid, flags, identity })?;
        }
        let (end, sequence) = writer.finish()?;
        let generation = generation();
        self.disk.write_at(file, &header::<N>(end, generation), 0)?;
        self.disk.sync(file)?;
        let seen = Seen::of(&file.metadata()?);
        Ok(Position { seen, end, base: end, generation, sequence, whole: true })
    }

    /// Reads the header; `None` if there is none that is good.
    fn start(&self, lock: &Lock, found: &Metadata) -> io::Result<Option<Position>> {
        let mut octets = [0; HEADER];
        if found.len() < HEADER as u64 {
            return Ok(None);
        }
        lock.file().read_exact_at(&mut octets, 0)?;
        let field = |at: usize| u64::from_le_bytes(octets[at..at + 8].try_into().expect("eight octets"));
        let (base, generation) = (field(24), field(32));
        let good = octets == header::<N>(base, generation) && base <= found.len();
        let (seen, end) = (Seen::of(found), HEADER as u64);
        Ok(good.then_some(Position { seen, end, base, generation, sequence: 0, whole: true }))
    }

    /// Tells what a block says; `false` if it says nothing that we know, though its checksum is good.
    fn take(&mut self, next: &Block<'_>, position: &mut Position, tell: &mut dyn Reader<N>) -> bool {
        let Some((state, mut events)) = State::decode(next.payload) else { return false };
        while !events.is_empty() {
            let Some(event) = Event::decode(&mut events) else { return false };
            tell.event(event);
        }
        self.state = Some(state);
        (position.end, position.sequence) = (next.end, next.sequence.wrapping_add(1));
        true
    }

    /// Tells whether a file that was read from its start knows less than what was known before: it lost its end.
    fn went_back(&self, before: Option<(UidValidity, Option<Uid>)>) -> bool {
        let (Some((validity, next)), Some(state)) = (before, &self.state) else {
            return self.state.is_none();
        };
        state.uid_validity == validity && event::raw(state.uid_next) < event::raw(next)
    }

    /// Cuts a torn block off, and skips the UIDs that it can have given.
    fn cut(&mut self, lock: &Lock, length: u64) -> io::Result<()> {
        let (Some(position), Some(mut state)) = (self.position, self.state.clone()) else { return Ok(()) };
        let torn = length - position.end;
        let most = torn / Event::<N>::LEAST_MESSAGE as u64 + 1;
        let next = state.uid_next.map(|uid| u64::from(uid.get()) + most);
        state.uid_next = next.and_then(|next| u32::try_from(next).ok()).and_then(Uid::new);
        self.append(lock, &state, [])?;
        let Some(position) = &mut self.position else { return Ok(()) };
        self.disk.set_len(lock.file(), position.end)?;
        position.seen = Seen::of(&lock.file().metadata()?);
        Ok(())
    }
}

impl Position {
    /// Tells whether the file whose header was just read is the one that was read before, and has lost nothing since.
    fn goes_on(&self, start: &Self) -> bool {
        self.seen.file == start.seen.file
            && (self.base, self.generation) == (start.base, start.generation)
            && self.end <= start.seen.length
    }
}

fn header<const N: usize>(base: u64, generation: u64) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..16].copy_from_slice(&MAGIC);
    out[16..24].copy_from_slice(&(N as u64).to_le_bytes());
    out[24..32].copy_from_slice(&base.to_le_bytes());
    out[32..40].copy_from_slice(&generation.to_le_bytes());
    let sum = checksum(&out[..40]);
    out[40..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Returns a number that no other sidecar has had under this inode.
fn generation() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let parts = [since.as_secs(), since.subsec_nanos().into(), std::process::id().into(), count];
    let octets: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    checksum(&octets)
}

/// Writes events in blocks of bounded size. Only the last one has the note: what it says is true of them all.
struct BlockWriter<'w> {
    disk: &'w dyn Disk,
    file: &'w File,
    state: &'w State,
    /// The events of the block that is being filled.
    events: Vec<u8>,
    at: u64,
    sequence: u32,
    flushed: bool,
    /// Whether each block is safe before the next one is written: a power loss must not keep one behind a torn one.
    in_order: bool,
}

impl<'w> BlockWriter<'w> {
    fn new(disk: &'w dyn Disk, file: &'w File, state: &'w State, at: u64, sequence: u32) -> Self {
        Self { disk, file, state, events: Vec::new(), at, sequence, flushed: false, in_order: false }
    }

    fn push<const N: usize>(&mut self, event: &Event<N>) -> io::Result<()> {
        event.encode(&mut self.events);
        if self.events.len() < BLOCK {
            return Ok(());
        }
        self.flush(&State { note: Vec::new(), ..self.state.clone() })
    }

    /// Returns where the next block goes, and its number.
    fn finish(&mut self) -> io::Result<(u64, u32)> {
        self.flush(self.state)?;
        Ok((self.at, self.sequence))
    }

    fn flush(&mut self, state: &State) -> io::Result<()> {
        if self.in_order && self.flushed {
            self.disk.sync(self.file)?;
        }
        let (mut payload, mut octets) = (Vec::new(), Vec::new());
        state.encode(&mut payload);
        payload.append(&mut self.events);
        block::encode(self.sequence, &payload, &mut octets);
        self.disk.write_at(self.file, &octets, self.at)?;
        self.at += octets.len() as u64;
        self.sequence = self.sequence.wrapping_add(1);
        self.flushed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
