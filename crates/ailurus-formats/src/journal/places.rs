//! Where journals are, and whose count.

use super::{BLOCK, read_up_to};
use crate::disk::Disk;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How much of a mailbox's name is in that of its journal.
const MOST_NAME: usize = 200;

/// Where the journal of a mailbox may be; see the module's text.
#[derive(Clone, Debug)]
pub struct Places {
    pub(super) paths: [PathBuf; 2],
    owner: u32,
    group: u32,
    mode: u32,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// A unit that is neither as before nor as after is not one within which a process of ours was killed: others
    /// rewrite such files.
    pub(super) whole_units: bool,
    /// The removal of a journal is made safe from a power loss before anything else happens. Else it can come back after a
    /// change that was made without one, and undo that, or bring mail twice. Not where each change shows in the first
    /// unit, and so makes an old journal one that fits nothing.
    pub(super) syncs_removals: bool,
}

/// What is in the place of a journal.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Journal(File),
    /// A journal that we may not read.
    Closed(io::Error),
}

impl Places {
    /// Returns the places for the mailbox at `path`, open as `file`, of a user whose home is `home`.
    pub fn of(path: &Path, file: &File, home: &Path) -> io::Result<Self> {
        let places = Self::with_ending(path, file, home, ".ailurus-journal")?;
        Ok(Self { syncs_removals: true, ..places })
    }

    /// Returns the places where its sidecar can be.
    pub(crate) fn of_sidecar(path: &Path, file: &File, home: &Path) -> io::Result<Self> {
        Self::with_ending(path, file, home, ".ailurus-uids")
    }

    fn with_ending(path: &Path, file: &File, home: &Path, ending: &str) -> io::Result<Self> {
        let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        let path = if is_link { path.canonicalize()? } else { path.to_owned() };
        let whole = path.file_name().unwrap_or_default().as_bytes();
        // A file's name has at most 255 octets, and another ending can follow.
        let name = &whole[..whole.len().min(MOST_NAME)];
        let inode = file.metadata()?.ino();
        let named = |with_inode: bool| {
            let mut journal = OsString::from(".");
            journal.push(OsStr::from_bytes(name));
            if with_inode {
                journal.push(format!(".{inode:x}"));
            }
            journal.push(ending);
            journal
        };
        let beside = path.with_file_name(named(name.len() < whole.len()));
        Self::at([beside, home.join(named(true))], file)
    }

    /// Returns the places for a file that others rewrite from its first octet to its last, and whose format has a name
    /// for its journal: `beside`, or with that name and the inode in `home`.
    pub(crate) fn named(beside: PathBuf, file: &File, home: &Path) -> io::Result<Self> {
        let mut name = beside.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:x}", file.metadata()?.ino()));
        Ok(Self { whole_units: true, ..Self::at([beside, home.join(name)], file)? })
    }

    fn at(paths: [PathBuf; 2], file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            paths,
            owner: found.uid(),
            group: found.gid(),
            mode: found.mode(),
            device: found.dev(),
            inode: found.ino(),
            whole_units: false,
            syncs_removals: false,
        })
    }

    /// Tells whether there is a journal. Under a lock that keeps writers away this means that one of them died.
    #[must_use]
    pub fn any(&self) -> bool {
        self.paths.iter().any(|path| !matches!(self.find(path), Found::Nothing))
    }

    /// Tells whether a journal can be made at all, as far as rights go.
    pub(crate) fn may_be_made(&self) -> bool {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        let may_write = |path: &Path| path.parent().is_some_and(|it| rustix::fs::access(it, access).is_ok());
        self.candidates().any(may_write)
    }

    /// Returns where a journal may be made, best first. At our home others would not find that of their mailbox.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Path> {
        let own = self.owner == rustix::process::geteuid().as_raw();
        self.paths.iter().map(PathBuf::as_path).take(if own { 2 } else { 1 })
    }

    /// Writes octets of the mailbox that are to be taken out of it into a file of their own, beside the mailbox or in
    /// the home, and syncs that. Returns where they are.
    pub(crate) fn keep(&self, disk: &dyn Disk, mailbox: &File, range: Range<u64>) -> io::Result<PathBuf> {
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for path in &self.paths {
            let (path, file) = match create_free(disk, path, ".rest") {
                Ok(made) => made,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            let (mut at, mut block) = (range.start, Vec::new());
            while at < range.end {
                let count = usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK);
                read_up_to(mailbox, at, count, &mut block)?;
                disk.write_at(&file, &block, at - range.start)?;
                at += count as u64;
            }
            disk.sync(&file)?;
            disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
            return Ok(path);
        }
        Err(failure)
    }

    /// Opens a journal if there is one that can be trusted.
    pub(super) fn find(&self, path: &Path) -> Found {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("open flags are small");
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let found = match &opened {
            Ok(file) => file.metadata(),
            Err(_) => path.symlink_metadata(),
        };
        if !found.is_ok_and(|found| self.trusts(path, &found)) {
            return Found::Nothing;
        }
        opened.map_or_else(Found::Closed, Found::Journal)
    }

    fn trusts(&self, path: &Path, found: &Metadata) -> bool {
        found.is_file()
            && found.nlink() == 1
            && found.mode() & 0o022 == 0
            && self.is_ours_or_as_closed(path, found)
    }

    fn is_ours_or_as_closed(&self, path: &Path, found: &Metadata) -> bool {
        let ours = found.uid() == self.owner || found.uid() == rustix::process::geteuid().as_raw();
        ours || path.parent().is_some_and(|directory| self.is_as_closed(directory))
    }

    /// Returns the places, best first.
    pub(crate) fn paths(&self) -> &[PathBuf; 2] {
        &self.paths
    }

    /// Returns where the sidecar is, and its mode: the first that counts and may be read, or a new one where one can be
    /// made.
    pub(crate) fn find_or_make_sidecar(&self, disk: &dyn Disk) -> Option<(PathBuf, u32)> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("open flags are small");
        let find = |path: &PathBuf| {
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
            let found = file.metadata().ok()?;
            self.trusts_sidecar(path, &found).then(|| (path.clone(), found.mode() & 0o777))
        };
        let make = |path: &PathBuf| {
            let file = disk.create_new(path, 0o600).ok()?;
            let group = if file.metadata().ok()?.gid() == self.group { 0o060 } else { 0 };
            let mode = 0o600 | self.mode & (group | 0o006);
            disk.set_mode(&file, mode).ok()?;
            Some((path.clone(), mode))
        };
        self.paths.iter().find_map(find).or_else(|| self.paths.iter().find_map(make))
    }

    /// Tells whether a sidecar counts: nobody could have written it who may not write the mailbox.
    pub(crate) fn trusts_sidecar(&self, path: &Path, found: &Metadata) -> bool {
        let shared = found.mode() & 0o022 & !self.mode;
        let group = found.mode() & 0o020 == 0 || found.gid() == self.group;
        found.is_file()
            && found.nlink() == 1
            && shared == 0
            && group
            && self.is_ours_or_as_closed(path, found)
    }

    /// Tells whether who may make a file in the directory, not counting its owner, may write the mailbox too.
    fn is_as_closed(&self, directory: &Path) -> bool {
        let Ok(found) = directory.metadata() else { return false };
        let everybody = self.mode & 0o002 != 0;
        let the_group = everybody || (self.mode & 0o020 != 0 && found.gid() == self.group);
        (found.mode() & 0o002 == 0 || everybody) && (found.mode() & 0o020 == 0 || the_group)
    }

    /// Makes a journal that those may read who may read and write the mailbox.
    pub(super) fn create(&self, disk: &dyn Disk, path: &Path) -> io::Result<File> {
        let file = disk.create_new(path, 0o600)?;
        let may = |bits| self.mode & bits == bits;
        let group = may(0o060) && file.metadata()?.gid() == self.group;
        let others = if may(0o006) { 0o044 } else { 0 };
        let more = if group { 0o040 } else { 0 } | others;
        if more != 0 {
            disk.set_mode(&file, 0o600 | more)?;
        }
        Ok(file)
    }
}

/// Makes a file of a name that is free: the path with that ending, and a number if need be.
fn create_free(disk: &dyn Disk, path: &Path, ending: &str) -> io::Result<(PathBuf, File)> {
    for path in free_names(path, ending) {
        match disk.create_new(&path, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (path, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

pub(super) fn free_names<'p>(path: &'p Path, ending: &'p str) -> impl Iterator<Item = PathBuf> + 'p {
    (0..1000).map(move |number| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        if number > 0 {
            name.push(number.to_string());
        }
        name.into()
    })
}
