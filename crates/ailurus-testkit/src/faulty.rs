//! A disk that fails: a process killed between two changes, a torn write, a full disk, a sync that fails, a power
//! loss that keeps only what was synced.
//!
//! All faults count *changes*: calls of [`Disk`] other than syncs and times count one each. After a kill nothing
//! happens any more, so that destructors leave behind what a dead process leaves behind.
//!
//! [`FaultyDisk::lose_power`] turns the directory tree into one of the states that a crash could have left. It is
//! pessimistic: file data counts only when the file was synced, page by page or sector by sector for the rest; names
//! count only when their directory was synced, and of the others a random first part, since file systems keep them in
//! order. Files keep their inodes as long as they have a name, and one that lost its last name comes back with its times.

use crate::random::Random;
use ailurus_formats::disk::{Disk, Os};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fault {
    /// Nothing: changes are counted and remembered.
    #[default]
    None,
    /// The process is killed before change number n (0 is the first).
    KillBefore(usize),
    /// The process is killed within change number n: half of a write is done, other changes are not.
    TearAt(usize),
    /// The process is killed within change number n: of a write what is before the last border of a sector in its first
    /// half is done, other changes are not. No disk does less.
    CutAt(usize),
    /// Files can grow by so many more octets, then the disk is full.
    FullAfter(u64),
    /// Change number n fails, that one alone.
    ChangeFails(usize),
    /// Every sync from number n on fails, as a dying disk's do.
    SyncFails(usize),
    /// The sync of a directory number n fails, that one alone.
    DirSyncFails(usize),
}

/// See the module.
#[derive(Debug)]
pub struct FaultyDisk {
    is_old: bool,
    by_pages: bool,
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    made: Vec<PathBuf>,
    changes: usize,
    syncs: usize,
    dir_syncs: usize,
    written: u64,
    // What was written before each change that needs room.
    octets: Vec<u64>,
    dead: bool,
    files: HashMap<Inode, Kept>,
    names: BTreeMap<PathBuf, Node>,
    pending: Vec<NameChange>,
    /// The times of files that lost a name.
    times: HashMap<Inode, fs::FileTimes>,
    /// So that an inode is one file's name for as long as this disk lasts.
    pinned: Vec<File>,
}

type Inode = (u64, u64);

/// A file's durable content, and what was done to it since.
#[derive(Debug)]
struct Kept {
    number: usize,
    durable: Vec<u8>,
    since: Vec<DataChange>,
}

impl State {
    /// Notes that a file is durable as it is; a new one gets the next number.
    fn keep(&mut self, inode: Inode, durable: Vec<u8>) {
        let number = self.files.get(&inode).map_or(self.files.len(), |kept| kept.number);
        self.files.insert(inode, Kept { number, durable, since: Vec::new() });
    }

    /// Keeps the system from giving the file's inode to another. (Who opens a file for nothing takes no lock away.)
    fn pin(&mut self, path: &Path) -> io::Result<()> {
        let flags = i32::try_from(rustix::fs::OFlags::PATH.bits()).expect("open flags are small");
        self.pinned.push(File::options().read(true).custom_flags(flags).open(path)?);
        Ok(())
    }
}

#[derive(Debug)]
enum DataChange {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File(Inode),
    Directory,
}

#[derive(Debug)]
enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
}

impl FaultyDisk {
    /// Returns a disk with a fault to come. What is below `root` now counts as durable.
    ///
    /// # Panics
    /// When `root` cannot be read.
    #[must_use]
    pub fn new(root: &Path, fault: Fault) -> Self {
        let mut names = BTreeMap::new();
        walk(root, &mut names).expect("the test's own directory can be read");
        let mut state = State { fault, ..State::default() };
        for (path, node) in &names {
            if matches!(node, Node::File(_)) {
                state.pin(path).expect("the test's own files can be opened");
            }
        }
        state.names = names;
        Self { is_old: false, by_pages: false, root: root.into(), state: Mutex::new(state) }
    }

    /// Makes it a file system that has neither files without names nor a rename that replaces nothing.
    #[must_use]
    pub fn of_an_old_kind(mut self) -> Self {
        self.is_old = true;
        self
    }

    /// Makes each page of a write a change of its own: a killed process leaves a write done up to the end of a page.
    #[must_use]
    pub fn by_pages(mut self) -> Self {
        self.by_pages = true;
        self
    }

    /// Puts another fault in the place of the one to come; [`Fault::None`]: the disk is well again. Room counts from
    /// now on.
    pub fn set_fault(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.written) = (fault, 0);
    }

    /// Returns how many changes were asked for so far.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.state().changes
    }

    /// Returns by how much files had grown before each time that they grew, and in all: where a full disk makes a
    /// difference.
    #[must_use]
    pub fn octets(&self) -> Vec<u64> {
        let state = self.state();
        state.octets.iter().copied().chain([state.written]).collect()
    }

    /// Returns how many syncs of files were asked for so far.
    #[must_use]
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// Returns the names that were made so far, in their order.
    #[must_use]
    pub fn made(&self) -> Vec<PathBuf> {
        self.state().made.clone()
    }

    /// Tells whether the kill or a power loss has happened.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Tells whether the kill has happened.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        let state = self.state();
        let is_kill = |at| state.changes > at;
        matches!(state.fault, Fault::KillBefore(at) | Fault::TearAt(at) | Fault::CutAt(at) if is_kill(at))
    }

    /// Turns the tree below the root into one that a power loss now could have left; `seed` picks which.
    ///
    /// # Panics
    /// When the test's own directory cannot be changed.
    pub fn lose_power(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut state = self.state();
        let survivors = random.below(state.pending.len() + 1);
        let pending = std::mem::take(&mut state.pending);
        for change in pending.into_iter().take(survivors) {
            apply_name(&mut state.names, change);
        }
        // In the order in which they were first changed, so that a seed always picks the same.
        let mut files: Vec<_> = state.files.iter().collect();
        files.sort_unstable_by_key(|(_, kept)| kept.number);
        let contents: HashMap<Inode, Vec<u8>> =
            files.into_iter().map(|(inode, kept)| (*inode, survivor(kept, &mut random))).collect();
        rebuild(&self.root, &state.names, &contents, &state.times)
            .expect("the test's own directory can be changed");
        state.dead = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change and says whether it happens; `Ok(false)`: the process dies within it.
    fn change(&self, state: &mut State, octets: u64) -> io::Result<bool> {
        let number = state.changes;
        state.changes += 1;
        if octets > 0 {
            state.octets.push(state.written);
        }
        match state.fault {
            Fault::KillBefore(at) if number >= at => state.dead = true,
            Fault::TearAt(at) | Fault::CutAt(at) if number > at => state.dead = true,
            Fault::TearAt(at) | Fault::CutAt(at) if number == at => {
                state.dead = true;
                return Ok(false);
            }
            Fault::ChangeFails(at) if number == at => return Err(io::Error::other("change failed")),
            Fault::FullAfter(most) if octets > 0 && state.written.saturating_add(octets) > most => {
                return Err(full());
            }
            _ => {}
        }
        if state.dead {
            return Err(killed());
        }
        state.written += octets;
        Ok(true)
    }

    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        // What a file holds already needs no more room when it is written over.
        let grows = (offset + data.len() as u64).saturating_sub(file.metadata()?.len());
        let (count, outcome) = match self.change(&mut state, grows) {
            Ok(true) => (data.len(), Ok(())),
            Ok(false) if matches!(state.fault, Fault::CutAt(_)) => {
                let middle = offset + data.len() as u64 / 2;
                let border = middle - middle % SECTOR as u64;
                (usize::try_from(border.saturating_sub(offset)).expect("less than the data"), Err(killed()))
            }
            Ok(false) => (data.len() / 2, Err(killed())),
            // What there is room for is written.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let Fault::FullAfter(most) = state.fault else { return Err(error) };
                let missing = usize::try_from(grows - (most - state.written)).expect("less than the data");
                state.written = most;
                (data.len().saturating_sub(missing), Err(error))
            }
            Err(error) => return Err(error),
        };
        let data = &data[..count];
        remember(&mut state, file)?;
        file.write_all_at(data, offset)?;
        let kept = state.files.get_mut(&inode(file)?).expect("remembered above");
        kept.since.push(DataChange::Write { offset, data: data.into() });
        outcome
    }

    fn name_change(&self, change: NameChange, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        if !self.change(&mut state, 0)? {
            return Err(killed());
        }
        if let NameChange::Remove(path) | NameChange::Rename(_, path) = &change
            && path.starts_with(&self.root)
            && let Ok(meta) = fs::symlink_metadata(path)
            && meta.is_file()
        {
            // The file may come back: its content and times must be known although the name goes.
            state.pin(path)?;
            let times = fs::FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?);
            state.times.insert((meta.dev(), meta.ino()), times);
            remember(&mut state, &File::open(path)?)?;
        }
        act()?;
        if let NameChange::Add(path, _) | NameChange::Rename(_, path) = &change {
            state.made.push(path.clone());
        }
        state.pending.push(change);
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        let mut state = self.state();
        if !self.change(&mut state, 0)? {
            return Err(killed());
        }
        let file = Os.create_new(path, mode)?;
        let inode = inode(&file)?;
        state.pin(path)?;
        state.keep(inode, Vec::new());
        state.made.push(path.into());
        state.pending.push(NameChange::Add(path.into(), Node::File(inode)));
        Ok(file)
    }

    fn create_unnamed(&self, directory: &Path, mode: u32) -> io::Result<File> {
        if self.is_old {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut state = self.state();
        if !self.change(&mut state, 0)? {
            return Err(killed());
        }
        let file = Os.create_unnamed(directory, mode)?;
        state.pin(&Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()))?;
        state.keep(inode(&file)?, Vec::new());
        Ok(file)
    }

    fn name(&self, file: &File, to: &Path) -> io::Result<()> {
        let node = Node::File(inode(file)?);
        self.name_change(NameChange::Add(to.into(), node), || Os.name(file, to))
    }

    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        if !self.by_pages || data.is_empty() {
            return self.write(file, data, offset);
        }
        let (mut rest, mut at) = (data, offset);
        while !rest.is_empty() {
            let in_page = usize::try_from(at % PAGE as u64).expect("less than a page");
            let (page, after) = rest.split_at(rest.len().min(PAGE - in_page));
            self.write(file, page, at)?;
            (rest, at) = (after, at + page.len() as u64);
        }
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let grows = len.saturating_sub(file.metadata()?.len());
        if !self.change(&mut state, grows)? {
            return Err(killed());
        }
        remember(&mut state, file)?;
        file.set_len(len)?;
        state.files.get_mut(&inode(file)?).expect("remembered above").since.push(DataChange::SetLen(len));
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state();
        if state.dead {
            return Err(killed());
        }
        state.syncs += 1;
        if matches!(state.fault, Fault::SyncFails(from) if state.syncs > from) {
            return Err(io::Error::other("the disk does not answer"));
        }
        state.keep(inode(file)?, content(file)?);
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.dead {
            return Err(killed());
        }
        state.dir_syncs += 1;
        if state.fault == Fault::DirSyncFails(state.dir_syncs - 1) {
            return Err(io::Error::other("the disk does not answer"));
        }
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.pending).into_iter().partition(|change| change.is_in(directory));
        for change in now {
            apply_name(&mut state.names, change);
        }
        state.pending = later;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name_change(NameChange::Rename(from.into(), to.into()), || Os.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.is_old {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.name_change(NameChange::Rename(from.into(), to.into()), || Os.rename_new(from, to))
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        if self.is_old {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.name_change(NameChange::Exchange(one.into(), other.into()), || Os.exchange(one, other))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(from)?;
        let node = Node::File((meta.dev(), meta.ino()));
        self.name_change(NameChange::Add(to.into(), node), || Os.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.name_change(NameChange::Remove(path.into()), || Os.remove(path))
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.name_change(NameChange::Add(path.into(), Node::Directory), || Os.make_dir(path, mode))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.name_change(NameChange::Remove(path.into()), || Os.remove_dir(path))
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        if self.state().dead {
            return Err(killed());
        }
        Os.set_mode(file, mode)
    }

    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        if self.state().dead {
            return Err(killed());
        }
        Os.set_times(file, accessed, modified)
    }

    fn set_times_finely(&self, file: &File, accessed: i64, modified: i64, fine: u32) -> io::Result<()> {
        if self.state().dead {
            return Err(killed());
        }
        Os.set_times_finely(file, accessed, modified, fine)
    }

    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let mut state = self.state();
        if !self.change(&mut state, 0)? {
            return Err(killed());
        }
        if matches!(state.fault, Fault::FullAfter(most) if state.written + to.saturating_sub(from) > most) {
            return Err(full());
        }
        Os.reserve(file, from, to)
    }
}

impl NameChange {
    fn is_in(&self, directory: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path) | Self::Exchange(_, path)) =
            self;
        path.parent() == Some(directory)
    }
}

fn killed() -> io::Error {
    io::Error::other("this process was killed by its test")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn inode(file: &File) -> io::Result<Inode> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()))
}

/// Keeps the content of a file that is about to change for the first time.
fn remember(state: &mut State, file: &File) -> io::Result<()> {
    let inode = inode(file)?;
    if !state.files.contains_key(&inode) {
        state.keep(inode, content(file)?);
    }
    Ok(())
}

/// Reads a whole file without moving anybody's position, and although it may be open for writing only.
fn content(file: &File) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let mut all = Vec::new();
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.read_to_end(&mut all)?;
    Ok(all)
}

/// Takes out a name with those below it, as they are below it.
fn take_names(names: &mut BTreeMap<PathBuf, Node>, from: &Path) -> Vec<(PathBuf, Node)> {
    let moved: Vec<_> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
    let take = |path: PathBuf| {
        let node = names.remove(&path).expect("was listed just now");
        (path.strip_prefix(from).expect("starts with it").to_owned(), node)
    };
    moved.into_iter().map(take).collect()
}

fn put_names(names: &mut BTreeMap<PathBuf, Node>, to: &Path, moved: Vec<(PathBuf, Node)>) {
    for (rest, node) in moved {
        let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
        names.insert(target, node);
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Node>, change: NameChange) {
    match change {
        NameChange::Add(path, node) => {
            names.insert(path, node);
        }
        NameChange::Remove(path) => {
            // With a directory go the names in it, whether or not it was synced.
            names.retain(|name, _| !name.starts_with(&path));
        }
        NameChange::Rename(from, to) => {
            let moved = take_names(names, &from);
            put_names(names, &to, moved);
        }
        NameChange::Exchange(one, other) => {
            let (first, second) = (take_names(names, &one), take_names(names, &other));
            put_names(names, &other, first);
            put_names(names, &one, second);
        }
    }
}

/// Returns one content that the file can have after a power loss.
fn survivor(kept: &Kept, random: &mut Random) -> Vec<u8> {
    let mut content = kept.durable.clone();
    // Most often nothing or everything survives; in between is where the surprises are.
    let odds = *random.pick(&[0, 1, 2, 2, 2, 5]);
    let lives = |random: &mut Random| match odds {
        0 => false,
        1 => true,
        n => !random.one_in(n),
    };
    let unit = *random.pick(&[PAGE, SECTOR]);
    for change in &kept.since {
        match change {
            DataChange::SetLen(len) if lives(random) => {
                content.resize(usize::try_from(*len).expect("test files are small"), 0);
            }
            DataChange::SetLen(_) => {}
            DataChange::Write { offset, data } => {
                let mut at = usize::try_from(*offset).expect("test files are small");
                let mut rest = data.as_slice();
                while !rest.is_empty() {
                    let (page, after) = rest.split_at(rest.len().min(unit - at % unit));
                    if lives(random) {
                        let end = at + page.len();
                        if content.len() < end {
                            content.resize(end, 0);
                        }
                        content[at..end].copy_from_slice(page);
                    }
                    at += page.len();
                    rest = after;
                }
            }
        }
    }
    content
}

fn walk(directory: &Path, names: &mut BTreeMap<PathBuf, Node>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            names.insert(path.clone(), Node::Directory);
            walk(&path, names)?;
        } else if meta.is_file() {
            names.insert(path, Node::File((meta.dev(), meta.ino())));
        }
    }
    Ok(())
}

/// Makes the tree below `root` hold exactly these names with these contents; files not in `contents` keep theirs.
fn rebuild(
    root: &Path,
    names: &BTreeMap<PathBuf, Node>,
    contents: &HashMap<Inode, Vec<u8>>,
    times: &HashMap<Inode, fs::FileTimes>,
) -> io::Result<()> {
    let mut now = BTreeMap::new();
    walk(root, &mut now)?;
    let mut placed = HashMap::new();
    let mut untouched = HashMap::new();
    for (path, node) in &now {
        let Node::File(inode) = node else { continue };
        untouched.insert(*inode, fs::read(path)?);
        if names.get(path) == Some(node) {
            placed.insert(*inode, path.as_path());
        }
    }
    // A file that goes back to an old name is the same file there.
    let aside = |inode: &Inode| root.join(format!(".aside.{:x}.{:x}", inode.0, inode.1));
    for (path, node) in now.iter().rev() {
        if names.get(path) != Some(node) {
            match node {
                Node::File(inode) => {
                    fs::rename(path, aside(inode))?;
                    // Of two names of one file this leaves both.
                    fs::remove_file(path).ok();
                }
                Node::Directory => fs::remove_dir(path)?,
            }
        }
    }
    for (path, node) in names.iter().filter(|(path, _)| path.starts_with(root)) {
        // The directory was lost before its names were.
        if !path.parent().is_some_and(Path::is_dir) {
            continue;
        }
        let is_there = now.get(path) == Some(node);
        let Node::File(inode) = node else {
            if !is_there {
                fs::create_dir(path)?;
            }
            continue;
        };
        // A file with two names stays one file.
        if let (Some(other), false) = (placed.get(inode), is_there) {
            fs::hard_link(other, path)?;
            continue;
        }
        let is_made_anew = !is_there && fs::rename(aside(inode), path).is_err();
        let content = contents.get(inode).or_else(|| untouched.get(inode)).map_or(&[][..], Vec::as_slice);
        // Writing truncates in place: a file that still has this name keeps its inode.
        if fs::read(path).map_or(true, |found| found != content) {
            fs::write(path, content)?;
        }
        if let Some(times) = times.get(inode).filter(|_| is_made_anew) {
            File::open(path)?.set_times(*times)?;
        }
        placed.insert(*inode, path);
    }
    for node in now.values() {
        if let Node::File(inode) = node {
            fs::remove_file(aside(inode)).ok();
        }
    }
    Ok(())
}

/// The real disk without its syncs, which take most of the time of a test and matter only when the power fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSync;

impl Disk for NoSync {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        Os.create_new(path, mode)
    }

    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        Os.write_at(file, data, offset)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        Os.set_len(file, len)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Os.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Os.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Os.remove(path)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        Os.make_dir(path, mode)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Os.remove_dir(path)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        Os.exchange(one, other)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Os.rename_new(from, to)
    }

    fn create_unnamed(&self, directory: &Path, mode: u32) -> io::Result<File> {
        Os.create_unnamed(directory, mode)
    }

    fn name(&self, file: &File, to: &Path) -> io::Result<()> {
        Os.name(file, to)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        Os.set_mode(file, mode)
    }

    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        Os.set_times(file, accessed, modified)
    }

    fn set_times_finely(&self, file: &File, accessed: i64, modified: i64, fine: u32) -> io::Result<()> {
        Os.set_times_finely(file, accessed, modified, fine)
    }

    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        Os.reserve(file, from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn after_the_kill_nothing_happens() {
        let dir = scratch();
        let disk = FaultyDisk::new(dir.path(), Fault::KillBefore(1));
        let file = disk.create_new(&dir.path().join("a"), 0o600).unwrap();
        assert!(disk.write_at(&file, b"x", 0).is_err());
        assert!(disk.remove(&dir.path().join("a")).is_err());
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"");
        assert!(disk.is_dead());
        assert_eq!(disk.changes(), 3);
    }

    #[test]
    fn a_torn_write_is_half_done() {
        let dir = scratch();
        let disk = FaultyDisk::new(dir.path(), Fault::TearAt(1));
        let file = disk.create_new(&dir.path().join("a"), 0o600).unwrap();
        assert!(disk.write_at(&file, b"abcd", 0).is_err());
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"ab");
    }

    #[test]
    fn a_cut_write_ends_with_a_sector() {
        for (offset, length, done) in [(100, 300, 0), (100, 2000, 924), (1024, 1024, 512), (500, 40, 12)] {
            let dir = scratch();
            let disk = FaultyDisk::new(dir.path(), Fault::CutAt(1));
            let file = disk.create_new(&dir.path().join("a"), 0o600).unwrap();
            assert!(disk.write_at(&file, &vec![7; length], offset).is_err());
            let written = fs::metadata(dir.path().join("a")).unwrap().len();
            assert_eq!(written, if done == 0 { 0 } else { offset + done });
        }
    }

    #[test]
    fn a_write_by_pages_is_done_up_to_the_end_of_one() {
        let dir = scratch();
        let disk = FaultyDisk::new(dir.path(), Fault::KillBefore(3)).by_pages();
        let file = disk.create_new(&dir.path().join("a"), 0o600).unwrap();
        assert!(disk.write_at(&file, &[7; 10_000], 4000).is_err());
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().len(), 8192);
    }

    #[test]
    fn a_full_disk_takes_no_more_and_lets_go() {
        let dir = scratch();
        let disk = FaultyDisk::new(dir.path(), Fault::FullAfter(4));
        let file = disk.create_new(&dir.path().join("a"), 0o600).unwrap();
        disk.write_at(&file, b"abcd", 0).unwrap();
        assert_eq!(disk.write_at(&file, b"e", 4).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(disk.reserve(&file, 4, 5).is_err());
        disk.set_len(&file, 0).unwrap();
        let disk = FaultyDisk::new(dir.path(), Fault::FullAfter(3));
        assert!(disk.write_at(&file, b"abcd", 0).is_err());
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"abc");
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced() {
        for seed in 0..50 {
            let dir = scratch();
            let (kept, lost) = (dir.path().join("kept"), dir.path().join("lost"));
            fs::write(&kept, b"old").unwrap();
            let inode_before = fs::metadata(&kept).unwrap().ino();
            let disk = FaultyDisk::new(dir.path(), Fault::None);
            let file = File::options().write(true).open(&kept).unwrap();
            disk.write_at(&file, b"new", 0).unwrap();
            disk.sync(&file).unwrap();
            disk.write_at(&file, b"???", 0).unwrap();
            disk.create_new(&lost, 0o600).unwrap();
            disk.lose_power(seed);
            let found = fs::read(&kept).unwrap();
            assert!(found == b"new" || found == b"???", "{found:?}");
            assert_eq!(fs::metadata(&kept).unwrap().ino(), inode_before);
        }
    }

    #[test]
    fn names_come_back_until_their_directory_is_synced() {
        let mut back = 0;
        for seed in 0..50 {
            let dir = scratch();
            let (a, b) = (dir.path().join("a"), dir.path().join("b"));
            fs::write(&a, b"mail").unwrap();
            let inode = fs::metadata(&a).unwrap().ino();
            let disk = FaultyDisk::new(dir.path(), Fault::None);
            disk.rename(&a, &b).unwrap();
            disk.lose_power(seed);
            assert_ne!(a.exists(), b.exists());
            back += usize::from(a.exists());
            let found = if a.exists() { a } else { b };
            assert_eq!(fs::read(&found).unwrap(), b"mail");
            assert_eq!(fs::metadata(found).unwrap().ino(), inode);
        }
        assert!((1..50).contains(&back), "both must happen: {back}");
    }
}
