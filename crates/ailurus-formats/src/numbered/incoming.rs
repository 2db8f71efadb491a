//! New messages on their way into a directory.
//!
//! The first message is written to a file without a name. When a second one begins, or where the file system has no such
//! files, a directory of ours inside the mailbox (the *shelf*) takes them all; its writer holds a flock of it, so that others
//! know that it is alive. To deliver several as one, the shelf gets a file `commit` with the first number that they are to
//! have, once they are all synced; from then on whoever opens the mailbox moves the rest into it. Without that
//! file they are removed. What was decided is taken back only by way of the same shelf ([`Delivered::take_back`]): at no
//! time would a power loss leave some of them.

use super::names::{Names, number};
use super::{FileId, Measure, NEW};
use crate::disk::Disk;
use crate::files::{is_one, rename_free};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const COMMIT: &str = "commit";
const BLOCK: usize = 256 * 1024;

/// Messages that are being written. Dropped without [`Incoming::commit`], they never were.
#[derive(Debug)]
pub(crate) struct Incoming {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    mode: u32,
    /// The only message so far.
    unnamed: Option<File>,
    shelf: Option<Shelf>,
    count: u32,
    /// Of the messages that were written.
    inodes: Vec<u64>,
    current: Option<Current>,
}

/// Messages that have their numbers.
#[derive(Debug)]
pub(crate) struct Delivered {
    incoming: Incoming,
    numbers: Vec<u32>,
    /// Their delivery is decided: whoever finds the shelf finishes it.
    announced: bool,
}

/// What is known of a message that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) id: FileId,
    pub(crate) measure: Measure,
}

#[derive(Debug)]
struct Current {
    file: File,
    at: u64,
    buffer: Vec<u8>,
}

impl Incoming {
    /// Begins to deliver into a directory; files get this mode.
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: &Path, mode: u32) -> Self {
        let (unnamed, shelf, current) = (None, None, None);
        Self {
            disk,
            directory: directory.into(),
            mode,
            unnamed,
            shelf,
            count: 0,
            inodes: Vec::new(),
            current,
        }
    }

    /// Begins a message.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let file = match self.count {
            0 => match self.create_unnamed() {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => self.create_on_shelf()?,
                file => file?,
            },
            _ => self.create_on_shelf()?,
        };
        self.count += 1;
        self.current = Some(Current { file, at: 0, buffer: Vec::new() });
        Ok(())
    }

    /// Takes the next octets as they are to be in the file.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Err(io::ErrorKind::InvalidInput.into()) };
        current.buffer.extend_from_slice(octets);
        if current.buffer.len() >= BLOCK { current.flush(&*self.disk) } else { Ok(()) }
    }

    /// Ends the message, and syncs it with its times.
    pub(crate) fn end(&mut self, accessed: i64, modified: i64) -> io::Result<Written> {
        let Some(mut current) = self.current.take() else { return Err(io::ErrorKind::InvalidInput.into()) };
        current.flush(&*self.disk)?;
        let file = current.file;
        // In this order: reading changes the access time, and a sync for the data takes the times along.
        let measure = Measure::of(&file)?;
        self.disk.set_times(&file, accessed, modified)?;
        self.disk.sync(&file)?;
        let written = Written { id: FileId::of(&file.metadata()?), measure };
        self.inodes.push(written.id.inode);
        if self.shelf.is_none() {
            self.unnamed = Some(file);
        }
        Ok(written)
    }

    /// Gives the messages numbers, from `first` on where those are free, and syncs the directory. On failure none is
    /// there. The caller holds the lock of the mailbox.
    pub(crate) fn commit(self, first: u32) -> io::Result<Delivered> {
        let mut delivered = Delivered { incoming: self, numbers: Vec::new(), announced: false };
        match delivered.deliver(first) {
            Ok(()) => Ok(delivered),
            Err(error) => {
                delivered.take_back();
                Err(error)
            }
        }
    }

    fn create_unnamed(&self) -> io::Result<File> {
        // Older kernels let nobody but root name such a file, except by way of this.
        if !Path::new("/proc/self/fd").exists() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.disk.create_unnamed(&self.directory, self.mode)
    }

    fn create_on_shelf(&mut self) -> io::Result<File> {
        let shelf = match self.shelf.take() {
            Some(shelf) => shelf,
            None => Shelf::make(&*self.disk, &self.directory)?,
        };
        let shelf = self.shelf.insert(shelf);
        if let Some(first) = self.unnamed.take() {
            self.disk.name(&first, &shelf.message(1))?;
        }
        self.disk.create_new(&shelf.message(self.count + 1), self.mode)
    }
}

impl Delivered {
    /// Returns the numbers, in the order of the messages.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    fn deliver(&mut self, first: u32) -> io::Result<()> {
        let Incoming { disk, directory, .. } = &self.incoming;
        if let Some(file) = &self.incoming.unnamed {
            let name = |number: u32| disk.name(file, &directory.join(number.to_string()));
            self.numbers.push(take_free(first, name)?);
            return disk.sync_dir(directory);
        }
        let Some(shelf) = &self.incoming.shelf else { return Ok(()) };
        if self.incoming.count > 1 {
            disk.sync_dir(&shelf.path)?;
            disk.sync_dir(directory)?;
            self.announced = true;
            shelf.announce(&**disk, first)?;
        }
        let mut next = first;
        for message in 1..=self.incoming.count {
            let number = place(&**disk, directory, &shelf.message(message), next)?;
            self.numbers.push(number);
            next = number.saturating_add(1);
        }
        disk.sync_dir(directory)
    }

    /// Removes the messages, of which nobody was told. If that cannot be done they stay, all of them.
    pub(crate) fn take_back(mut self) {
        if self.announced {
            if self.move_back().is_err() {
                // Not cleared: whoever comes next delivers what is in it.
                self.incoming.shelf = None;
            }
            return;
        }
        let Incoming { disk, directory, .. } = &self.incoming;
        for number in self.numbers.iter().filter(|number| self.is_ours(0, **number)) {
            disk.remove(&directory.join(number.to_string())).ok();
        }
        disk.sync_dir(directory).ok();
    }

    fn move_back(&self) -> io::Result<()> {
        let Incoming { disk, directory, shelf: Some(shelf), .. } = &self.incoming else { return Ok(()) };
        for ((index, number), message) in self.numbers.iter().enumerate().zip(1..) {
            if !self.is_ours(index, *number) {
                return Err(io::ErrorKind::NotFound.into());
            }
            rename_free(&**disk, &directory.join(number.to_string()), &shelf.message(message))?;
        }
        disk.sync_dir(&shelf.path)?;
        disk.sync_dir(directory)?;
        remove_if_there(&**disk, &shelf.path.join(COMMIT))?;
        disk.sync_dir(&shelf.path)
    }

    /// Tells whether a number still names the message: other programs may have given it to another.
    fn is_ours(&self, index: usize, number: u32) -> bool {
        let found = self.incoming.directory.join(number.to_string()).symlink_metadata();
        found.is_ok_and(|found| self.incoming.inodes.get(index) == Some(&found.ino()))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(shelf) = &self.shelf else { return };
        // What is left is removed by whoever comes next.
        clear(&*self.disk, &shelf.path, (1..=self.count).collect()).ok();
    }
}

impl Current {
    fn flush(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if !self.buffer.is_empty() {
            disk.write_at(&self.file, &self.buffer, self.at)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// A directory of ours in a mailbox.
#[derive(Debug)]
struct Shelf {
    path: PathBuf,
    /// Holds the flock.
    _directory: File,
}

impl Shelf {
    fn message(&self, message: u32) -> PathBuf {
        self.path.join(message.to_string())
    }

    fn make(disk: &dyn Disk, directory: &Path) -> io::Result<Self> {
        const MOST_TRIES: usize = 10_000;
        for _ in 0..MOST_TRIES {
            // Never twice the same: changes of two directories of one name could be taken for each other.
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{NEW}{}.{count}", std::process::id()));
            match disk.make_dir(&path, 0o700) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                // Gone before it had its mode; or else the mailbox is.
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => continue,
                made => made?,
            }
            // Somebody who tidies up could have taken it for one that a dead process left.
            if let Some(shelf) = Self::lock(&path)? {
                return Ok(shelf);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Takes the flock; `None` when another process has it, or it is no directory of ours (any more).
    fn lock(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP | rustix::io::Errno::NOENT) => {
                return Ok(None);
            }
            directory => File::from(directory?),
        };
        if directory.metadata()?.uid() != rustix::process::geteuid().as_raw() {
            return Ok(None);
        }
        // Some network file systems cannot lock a directory: then it is as if it were locked.
        let locked = rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(rustix::io::Errno::WOULDBLOCK) {
            return Ok(None);
        }
        // Its owner may have removed it meanwhile, and made another one of the same name, which is not locked by this.
        let found = directory.metadata()?;
        let is_it = path.symlink_metadata().is_ok_and(|at| is_one(&at, &found));
        Ok(is_it.then(|| Self { path: path.into(), _directory: directory }))
    }

    /// Decides that the messages are to be delivered, come what may.
    fn announce(&self, disk: &dyn Disk, first: u32) -> io::Result<()> {
        let file = disk.create_new(&self.path.join(COMMIT), 0o600)?;
        disk.write_at(&file, format!("{first}\n").as_bytes(), 0)?;
        disk.sync(&file)?;
        disk.sync_dir(&self.path)
    }

    /// Returns the first number, if delivery was decided.
    fn announced(&self) -> Option<u32> {
        let text = std::fs::read(self.path.join(COMMIT)).ok()?;
        number(text.strip_suffix(b"\n")?)
    }
}

/// Finishes or removes what a dead process left; `true` if messages may have arrived.
pub(super) fn settle(disk: &dyn Disk, directory: &Path, path: &Path) -> io::Result<bool> {
    let Some(shelf) = Shelf::lock(path)? else { return Ok(false) };
    let Names { numbers, .. } = Names::read(path)?;
    let first = shelf.announced();
    if let Some(first) = first {
        for message in &numbers {
            let wanted = first.saturating_add(message - 1);
            place(disk, directory, &path.join(message.to_string()), wanted)?;
        }
        disk.sync_dir(directory)?;
    }
    clear(disk, path, numbers)?;
    Ok(first.is_some())
}

/// Removes a shelf with these messages. What else somebody put there keeps the directory alive.
fn clear(disk: &dyn Disk, shelf: &Path, numbers: Vec<u32>) -> io::Result<()> {
    // First of all, or else what is removed in part could be delivered in part.
    remove_if_there(disk, &shelf.join(COMMIT))?;
    for number in numbers {
        remove_if_there(disk, &shelf.join(number.to_string()))?;
    }
    match disk.remove_dir(shelf) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    disk.remove(path)
}

/// Moves a file to the first number from `wanted` on that is free.
pub(super) fn place(disk: &dyn Disk, directory: &Path, from: &Path, wanted: u32) -> io::Result<u32> {
    if let Some(number) = other_name(directory, from)? {
        // Where a file cannot be renamed without replacing another, it has both names for a moment.
        return disk.remove(from).map(|()| number);
    }
    take_free(wanted, |number| rename_free(disk, from, &directory.join(number.to_string())))
}

/// Returns the number that a file has already.
fn other_name(directory: &Path, file: &Path) -> io::Result<Option<u32>> {
    let found = file.symlink_metadata()?;
    if found.nlink() < 2 {
        return Ok(None);
    }
    let is_it = |number: &u32| {
        let other = directory.join(number.to_string()).symlink_metadata();
        other.is_ok_and(|other| is_one(&other, &found))
    };
    Ok(Names::read(directory)?.numbers.into_iter().find(is_it))
}

fn take_free(first: u32, mut take: impl FnMut(u32) -> io::Result<()>) -> io::Result<u32> {
    let mut number = first;
    loop {
        match take(number) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            taken => return taken.map(|()| number),
        }
        let next = number.checked_add(1);
        number = next.ok_or_else(|| io::Error::other("no number is left in this directory"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;
    use crate::numbered::tidy;
    use std::fs;

    fn incoming(directory: &Path) -> Incoming {
        Incoming::new(Os::shared(), directory, 0o640)
    }

    fn write(incoming: &mut Incoming, text: &str) -> Written {
        incoming.begin().unwrap();
        incoming.write(text.as_bytes()).unwrap();
        incoming.end(1000, 500).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_message_has_no_name_until_it_is_delivered() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("3"), "foreign").unwrap();
        let mut one = incoming(scratch.path());
        let written = write(&mut one, "S: a\n\nb\n");
        assert_eq!(names(scratch.path()), ["3"]);
        assert_eq!(one.commit(3).unwrap().numbers(), [4], "3 is taken");
        let found = scratch.path().join("4").metadata().unwrap();
        assert!(FileId::of(&found).is_like(&written.id));
        assert_eq!((found.mode() & 0o777, found.atime(), found.mtime()), (0o640, 1000, 500));
        assert_eq!((written.measure.size, written.measure.header), (11, 8));
        write(&mut incoming(scratch.path()), "never delivered");
        assert_eq!(names(scratch.path()), ["3", "4"]);
    }

    #[test]
    fn several_messages_come_as_one_and_leave_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("6"), "foreign").unwrap();
        let mut several = incoming(scratch.path());
        let ids: Vec<_> = ["a", "b", "c"].map(|text| write(&mut several, text).id).into();
        assert_eq!(names(scratch.path()).len(), 2, "the shelf");
        assert!(!tidy_all(scratch.path()), "its writer is alive");
        assert_eq!(several.commit(5).unwrap().numbers(), [5, 7, 8]);
        assert_eq!(names(scratch.path()), ["5", "6", "7", "8"]);
        for (name, id) in ["5", "7", "8"].iter().zip(&ids) {
            assert!(FileId::of(&scratch.path().join(name).metadata().unwrap()).is_like(id), "{name}");
        }
        let mut dropped = incoming(scratch.path());
        write(&mut dropped, "a");
        write(&mut dropped, "b");
        drop(dropped);
        assert_eq!(names(scratch.path()).len(), 4);
    }

    #[test]
    fn what_was_delivered_can_be_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("6"), "foreign").unwrap();
        for count in 1..=3 {
            let mut messages = incoming(scratch.path());
            (0..count).for_each(|_| _ = write(&mut messages, "text"));
            messages.commit(5).unwrap().take_back();
            assert_eq!(names(scratch.path()), ["6"], "{count}");
        }
        // A number that is another's by now is left alone; what was decided is done then.
        for count in 1..=2 {
            let mut messages = incoming(scratch.path());
            (0..count).for_each(|_| _ = write(&mut messages, "text"));
            let delivered = messages.commit(5).unwrap();
            fs::rename(scratch.path().join("5"), scratch.path().join("9")).unwrap();
            fs::write(scratch.path().join("5"), "foreign").unwrap();
            delivered.take_back();
            tidy_all(scratch.path());
            let expected: &[&str] = if count == 1 { &["5", "6", "9"] } else { &["5", "6", "7", "9"] };
            assert_eq!(names(scratch.path()), expected);
            for name in expected.iter().filter(|name| **name != "6") {
                fs::remove_file(scratch.path().join(name)).unwrap();
            }
        }
    }

    fn tidy_all(directory: &Path) -> bool {
        tidy(&Os, directory, &Names::read(directory).unwrap().leftovers).unwrap()
    }

    #[test]
    fn what_a_dead_process_left_is_finished_or_removed() {
        for commit in [None, Some(""), Some("7"), Some("7\n")] {
            let scratch = tempfile::tempdir().unwrap();
            let shelf = scratch.path().join(".ailurus-new.1.0");
            fs::create_dir(&shelf).unwrap();
            for name in ["2", "3"] {
                fs::write(shelf.join(name), name).unwrap();
            }
            if let Some(commit) = commit {
                fs::write(shelf.join(COMMIT), commit).unwrap();
            }
            assert_eq!(tidy_all(scratch.path()), commit == Some("7\n"));
            let expected: &[&str] = if commit == Some("7\n") { &["8", "9"] } else { &[] };
            assert_eq!(names(scratch.path()), expected);
        }
    }

    #[test]
    fn a_message_that_has_both_names_is_delivered_already() {
        let scratch = tempfile::tempdir().unwrap();
        let shelf = scratch.path().join(".ailurus-new.1.0");
        fs::create_dir(&shelf).unwrap();
        for name in ["1", "2", COMMIT] {
            fs::write(shelf.join(name), "7\n").unwrap();
        }
        fs::hard_link(shelf.join("1"), scratch.path().join("7")).unwrap();
        assert!(tidy_all(scratch.path()));
        assert_eq!(names(scratch.path()), ["7", "8"]);
    }

    #[test]
    fn what_only_looks_like_ours_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        fs::write(scratch.path().join(".ailurus-new.file"), "").unwrap();
        std::os::unix::fs::symlink("file", scratch.path().join(".ailurus-new.link")).unwrap();
        fs::create_dir(scratch.path().join(".ailurus-new.full")).unwrap();
        fs::write(scratch.path().join(".ailurus-new.full/other"), "").unwrap();
        let before = names(scratch.path());
        assert!(!tidy_all(scratch.path()));
        assert_eq!(names(scratch.path()), before);
    }
}
