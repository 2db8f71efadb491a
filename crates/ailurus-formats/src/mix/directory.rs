//! The directory of a mailbox: its files and the locks on them.

use crate::disk::Disk;
use crate::files;
use crate::journal::{Places, Recovery, recover};
use crate::lock::{Mode, Wait, lock_file};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Access, Environment, Error, Level, Location, Manner, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::meta::{self, Meta};
use super::repair;
use super::text::{Sequence, hex};

/// What every name of the format's own begins with.
pub(super) const PREFIX: &[u8] = b".mix";
/// Says that the mailbox here is deleted and only its files are left. It counts only where there is no `.mixmeta`.
pub(super) const DELETED: &str = ".mixdeleted";

/// A file that is rewritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Meta,
    Index,
    Status,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Meta, Self::Index, Self::Status];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meta => ".mixmeta",
            Self::Index => ".mixindex",
            Self::Status => ".mixstatus",
        }
    }

    /// The name of its redo journal. It begins as all names of the format do: the reference hides, deletes and moves it
    /// with the others.
    fn journal(self) -> &'static str {
        match self {
            Self::Meta => ".mix.ailurus-journal.meta",
            Self::Index => ".mix.ailurus-journal.index",
            Self::Status => ".mix.ailurus-journal.status",
        }
    }
}

/// Where a mailbox is.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) environment: Arc<Environment>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
}

impl Directory {
    /// Waits for the lock under which a mailbox comes into being or goes: a flock of the directory, for there is no file yet,
    /// or no more. It ends when the value is dropped. Only ours take it, and not on NFS.
    pub(super) fn lock(&self) -> io::Result<File> {
        const MOST_TRIES: usize = 100;
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("open flags are small");
        for _ in 0..MOST_TRIES {
            let lock = File::options().read(true).custom_flags(flags).open(&self.path)?;
            match lock_file(&lock, Mode::Exclusive, Wait::Block) {
                // No locks here: then it is as with the old programs.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                locked => drop(locked?),
            }
            if files::is_one(&lock.metadata()?, &self.path.metadata()?) {
                return Ok(lock);
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    pub(super) fn part(&self, part: Part) -> PathBuf {
        self.path.join(part.name())
    }

    /// Tells whether there is an octet of a message.
    pub(super) fn has_data(&self) -> Result<bool> {
        let io = |error| Error::io("read", &self.path)(error);
        for number in self.data_files().map_err(io)? {
            if self.data(number).metadata().map_err(io)?.len() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the path of a data file. Number 0 was the only one in experimental versions of the format.
    pub(super) fn data(&self, number: u32) -> PathBuf {
        self.path.join(if number == 0 { ".mix".into() } else { format!(".mix{number:08x}") })
    }

    /// Opens a file that must be a regular one, without waiting for the other end of a FIFO.
    pub(super) fn open(&self, path: &Path, write: bool) -> io::Result<File> {
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("open flags are small");
        let file = File::options().read(true).write(write).custom_flags(nonblock).open(path)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Returns the numbers of all data files, ascending.
    pub(super) fn data_files(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            numbers.extend(data_number(&entry?.file_name()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn places(&self, part: Part, file: &File) -> Result<Places> {
        let places = Places::named(self.path.join(part.journal()), file, &self.environment.home);
        places.map_err(Error::io("look at", self.part(part)))
    }

    /// Makes the names in the directory safe.
    pub(super) fn sync(&self) -> Result<()> {
        self.disk.sync_dir(&self.path).map_err(Error::io("sync", &self.path))
    }

    /// Makes a file that appears with all its content, or not at all. `AlreadyExists` if the name is taken.
    pub(super) fn publish(
        &self,
        path: &Path,
        mode: u32,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let fill = |file: &File| fill(file).and_then(|()| self.disk.sync(file));
        match self.disk.create_unnamed(&self.path, mode) {
            Ok(file) => {
                fill(&file)?;
                match self.disk.name(&file, path) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        self.publish_copy(path, mode, &file)
                    }
                    named => named,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.publish_in_steps(path, mode, fill)
            }
            Err(error) => Err(error),
        }?;
        self.disk.sync_dir(&self.path)
    }

    fn publish_copy(&self, path: &Path, mode: u32, from: &File) -> io::Result<()> {
        self.publish_in_steps(path, mode, |to| {
            let (mut at, mut block) = (0, Vec::new());
            loop {
                crate::journal::read_up_to(from, at, crate::journal::BLOCK, &mut block)?;
                if block.is_empty() {
                    return self.disk.sync(to);
                }
                self.disk.write_at(to, &block, at)?;
                at += block.len() as u64;
            }
        })
    }

    /// Where the file system has no files without names.
    fn publish_in_steps(
        &self,
        path: &Path,
        mode: u32,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // It was never finished, or it would have the other name.
        self.disk.remove(&beside).ok();
        let file = self.disk.create_new(&beside, mode)?;
        let named = fill(&file).and_then(|()| match self.disk.rename_new(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.disk.link(&beside, path),
            renamed => renamed,
        });
        self.disk.remove(&beside).ok();
        named
    }

    /// The mode of the mailbox's files.
    pub(super) fn file_mode(&self) -> u32 {
        let meta = self.part(Part::Meta).metadata();
        meta.map_or(self.environment.protections.mailbox, |meta| meta.permissions().mode() & 0o777)
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.environment.clock.now()).unwrap_or(0)
    }

    /// Tells something, to the log alone where nobody waits for it.
    pub(super) fn tell(&self, manner: Manner, level: Level, text: String) {
        let level = if manner == Manner::Silent { Level::Log } else { level };
        self.environment.notices.tell(level, text);
    }

    pub(super) fn damaged(&self, part: Part, offset: u64, what: impl Into<String>) -> Error {
        Error::Damaged { format: "mix", path: self.part(part), offset, what: what.into() }
    }

    pub(super) fn io(&self, op: &'static str, part: Part) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::io(op, self.part(part))
    }
}

/// Returns the number of a data file by its name.
pub(super) fn data_number(name: &OsStr) -> Option<u32> {
    let digits = name.as_bytes().strip_prefix(PREFIX)?;
    if digits.is_empty() {
        return Some(0);
    }
    let number = u32::try_from(hex(digits)?).ok().filter(|number| *number != 0)?;
    (format!("{number:08x}").as_bytes() == digits).then_some(number)
}

/// Returns the first of all sequences that is above these, and not before now.
pub(super) fn next_sequence(now: u64, before: &[u64]) -> Result<u64> {
    let after = before.iter().copied().max().unwrap_or(0).checked_add(1);
    after
        .map(|after| after.max(now))
        .ok_or_else(|| Error::Refused("no sequence is left in this mailbox".into()))
}

/// A mailbox whose `.mixmeta` is open under a shared lock: nobody deletes or renames it, or moves messages about.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) directory: Directory,
    pub(super) meta: File,
    pub(super) writable: bool,
}

/// Index and status file under their locks, in that order. Readers may find one of them missing.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) index: Option<File>,
    pub(super) status: Option<File>,
    mode: Mode,
}

/// Both files under exclusive locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exclusive<'h> {
    pub(super) index: &'h File,
    pub(super) status: &'h File,
}

impl Held {
    /// Returns the proof that these files may be written.
    pub(super) fn exclusive(&self) -> Option<Exclusive<'_>> {
        match self {
            Self { index: Some(index), status: Some(status), mode: Mode::Exclusive } => {
                Some(Exclusive { index, status })
            }
            _ => None,
        }
    }
}

impl Opened {
    /// Opens a mailbox, to read and write unless that is not allowed, and waits for its shared lock.
    pub(super) fn open(directory: Directory, at: &Location, access: Access) -> Result<Self> {
        const MOST_TRIES: usize = 100;
        let path = directory.part(Part::Meta);
        for _ in 0..MOST_TRIES {
            let mut writable = access == Access::ReadWrite;
            let mut opened = directory.open(&path, writable);
            if writable && opened.as_ref().is_err_and(files::may_not_write) {
                writable = false;
                opened = directory.open(&path, false);
            }
            let meta = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound && repair::is_lost(&directory) => {
                    // Whoever is making one is done then.
                    let _lock =
                        directory.lock().map_err(crate::files::failure("lock", at, &directory.path))?;
                    if repair::is_lost(&directory) {
                        repair::make_meta(&directory)?;
                    }
                    continue;
                }
                opened => opened.map_err(crate::files::failure("open", at, &path))?,
            };
            lock_file(&meta, Mode::Shared, Wait::Block).map_err(directory.io("lock", Part::Meta))?;
            let opened = Self { directory: directory.clone(), meta, writable };
            if opened.is_current() {
                return Ok(opened);
            }
        }
        Err(Error::InUse { path })
    }

    /// Tells whether the path still leads to this mailbox.
    pub(super) fn is_current(&self) -> bool {
        files::leads_to(&self.directory.part(Part::Meta), &self.meta)
    }

    /// Locks index and status file, and finishes what dead processes of ours began.
    pub(super) fn lock(&self, mode: Mode) -> Result<Held> {
        let held = self.lock_once(mode)?;
        if !self.has_journal(&held)? {
            return Ok(held);
        }
        if mode == Mode::Exclusive {
            self.recover(&held)?;
            return Ok(held);
        }
        // Who only reads makes it whole first, if it may.
        drop(held);
        let all = self.lock_once(Mode::Exclusive)?;
        self.recover(&all)?;
        drop(all);
        self.lock_once(mode)
    }

    fn lock_once(&self, mode: Mode) -> Result<Held> {
        let index = self.lock_part(Part::Index, mode, |directory| repair::make_index(directory, self))?;
        if !self.is_current() {
            let what = "mailbox was deleted or renamed".into();
            return Err(Error::Lost { path: self.directory.path.clone(), what });
        }
        let status = self.lock_part(Part::Status, mode, |directory| {
            let made = directory.publish(&directory.part(Part::Status), directory.file_mode(), |_| Ok(()));
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    Err(directory.io("create", Part::Status)(error))
                }
                _ => Ok(()),
            }
        })?;
        Ok(Held { index, status, mode })
    }

    /// Opens and locks one file. Who may write makes it if it is missing.
    fn lock_part(
        &self,
        part: Part,
        mode: Mode,
        make: impl Fn(&Directory) -> Result<()>,
    ) -> Result<Option<File>> {
        let (directory, write) = (&self.directory, mode == Mode::Exclusive);
        loop {
            let file = match directory.open(&directory.part(part), write) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_current() => {
                    if !write {
                        return Ok(None);
                    }
                    make(directory)?;
                    continue;
                }
                Err(error) => return Err(directory.io("open", part)(error)),
            };
            lock_file(&file, mode, Wait::Block).map_err(directory.io("lock", part))?;
            return Ok(Some(file));
        }
    }

    fn has_journal(&self, held: &Held) -> Result<bool> {
        for (part, file) in self.files(held) {
            if self.directory.places(part, file)?.any() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn files<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = (Part, &'a File)> {
        let files = [Some(&self.meta), held.index.as_ref(), held.status.as_ref()];
        Part::ALL.into_iter().zip(files).filter_map(|(part, file)| Some((part, file?)))
    }

    fn recover(&self, held: &Held) -> Result<()> {
        let directory = &self.directory;
        for (part, file) in self.files(held) {
            let places = directory.places(part, file)?;
            if !places.any() {
                continue;
            }
            // The descriptor of who only reads cannot be written to.
            let writable;
            let file = if part == Part::Meta && !self.writable {
                writable =
                    directory.open(&directory.part(part), true).map_err(directory.io("repair", part))?;
                &writable
            } else {
                file
            };
            let recovered = recover(&directory.disk, &directory.environment.notices, &places, file);
            let recovered = recovered.map_err(|error| directory.io("repair", part)(error.into_io()))?;
            if recovered == Recovery::Finished {
                self.make_known(part, file)?;
            }
        }
        Ok(())
    }

    /// Raises the sequence: somebody could have read the file while it was changed in part.
    fn make_known(&self, part: Part, file: &File) -> Result<()> {
        let directory = &self.directory;
        let Some(found) = Sequence::read(file).map_err(directory.io("read", part))? else { return Ok(()) };
        let next = next_sequence(directory.now(), &[found.value])?;
        let Some(digits) = found.digits_in_place(next) else { return Ok(()) };
        directory.disk.write_at(file, &digits, 1).map_err(directory.io("write to", part))?;
        directory.disk.sync(file).map_err(directory.io("sync", part))
    }

    /// Reads `.mixmeta`.
    pub(super) fn read_meta(&self) -> Result<Vec<u8>> {
        let io = || self.directory.io("read", Part::Meta);
        let len = self.meta.metadata().map_err(io())?.len();
        let len = usize::try_from(len).ok().filter(|_| len <= meta::MOST);
        let Some(len) = len else {
            return Err(self.directory.damaged(Part::Meta, 0, "absurd mix metadata file size"));
        };
        let mut raw = Vec::new();
        crate::journal::read_up_to(&self.meta, 0, len, &mut raw).map_err(io())?;
        Ok(raw)
    }

    /// Writes and syncs `.mixmeta`.
    pub(super) fn write_meta(&self, _lock: Exclusive<'_>, meta: &Meta) -> Result<(), RewriteError> {
        let directory = &self.directory;
        let places =
            Places::named(directory.path.join(Part::Meta.journal()), &self.meta, &directory.environment.home);
        let mut rewrite =
            Rewrite::begin(&directory.disk, &places.map_err(RewriteError::Unchanged)?, &self.meta)?;
        rewrite.literal(&meta.encode())?;
        rewrite.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_files_are_known_by_their_names() {
        for (name, number) in [
            (".mix", Some(0)),
            (".mix67c2f6c0", Some(0x67c2_f6c0)),
            (".mix00000001", Some(1)),
            (".mix00000000", None),
            (".mix1", None),
            (".mix67C2F6C0", None),
            (".mix167c2f6c0", None),
            (".mixmeta", None),
            (".mixdeadbeef", Some(0xdead_beef)),
            (".mix.ailurus-journal.index", None),
            ("mix67c2f6c0", None),
        ] {
            assert_eq!(data_number(OsStr::new(name)), number, "{name}");
        }
    }

    #[test]
    fn sequences_follow_the_clock_and_never_go_back() {
        assert_eq!(next_sequence(100, &[5, 7]).unwrap(), 100);
        assert_eq!(next_sequence(100, &[5, 100]).unwrap(), 101);
        assert!(next_sequence(100, &[u64::MAX]).is_err());
    }
}
