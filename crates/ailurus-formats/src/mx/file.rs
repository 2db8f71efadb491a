//! The index file: its lock, and how it is rewritten.

use super::index::{Head, Index, push_message};
use crate::disk::Disk;
use crate::files;
use crate::journal::{Places, recover};
use crate::lock::{Mode, Wait, lock_file};
use crate::numbered::Stamp;
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Environment, Error, Result};
use ailurus_types::Flags;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the index in a mailbox.
pub(super) const NAME: &str = ".mxindex";

/// The index, open and locked by flock, as all programs on the format lock it.
#[derive(Debug)]
pub(super) struct Locked {
    file: File,
    path: PathBuf,
    places: Places,
    /// Whether it may be written.
    pub(super) writable: bool,
}

/// What a look at the index tells without opening it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    inode: u64,
    length: u64,
    times: Stamp,
}

impl Seen {
    fn of(found: &std::fs::Metadata) -> Self {
        Self { inode: found.ino(), length: found.len(), times: Stamp::of(found) }
    }

    /// Tells whether every change from now on will show.
    pub(super) fn is_settled(&self) -> bool {
        self.times.is_settled()
    }
}

impl Locked {
    /// Opens and locks the index of a mailbox, and finishes what a dead process began. Where it may not be written, it is
    /// opened to read only.
    pub(super) fn open(environment: &Environment, disk: &Arc<dyn Disk>, directory: &Path) -> Result<Self> {
        let path = directory.join(NAME);
        const MOST_TRIES: usize = 100;
        for _ in 0..MOST_TRIES {
            let (file, writable) = open(&path).map_err(Error::io("open", &path))?;
            let mode = if writable { Mode::Exclusive } else { Mode::Shared };
            lock_file(&file, mode, Wait::Block).map_err(Error::io("lock", &path))?;
            let mine = file.metadata().map_err(Error::io("look at", &path))?;
            let there = path.metadata().map_err(Error::io("look at", &path))?;
            if !files::is_one(&mine, &there) {
                continue;
            }
            let places = Places::of(&path, &file, &environment.home).map_err(Error::io("look at", &path))?;
            if writable {
                let recovered = recover(disk, &environment.notices, &places, &file);
                recovered.map_err(|error| Error::io("repair", &path)(error.into_io()))?;
            }
            return Ok(Self { file, path, places, writable });
        }
        Err(Error::InUse { path })
    }

    pub(super) fn read(&self) -> Result<Index> {
        Index::read(&self.file).map_err(Error::io("read", &self.path))
    }

    /// Makes the index say this; what is there already is not written. With `Ok` it is safe on the disk.
    pub(super) fn write(
        &self,
        disk: &Arc<dyn Disk>,
        index: &Index,
        messages: impl Iterator<Item = (u32, Flags)>,
    ) -> Result<()> {
        const PIECE: usize = 64 * 1024;
        let write = || -> Result<(), RewriteError> {
            let mut rewrite = Rewrite::begin(disk, &self.places, &self.file)?;
            let mut piece = index.head();
            for (uid, flags) in messages {
                push_message(uid, flags, &mut piece);
                if piece.len() >= PIECE {
                    rewrite.literal(&piece)?;
                    piece.clear();
                }
            }
            rewrite.literal(&piece)?;
            rewrite.finish()
        };
        write().map_err(|error| Error::io("write", &self.path)(error.into_io()))
    }

    /// Reads what an append needs, which is the same work for any number of messages; `None` where the index is not laid
    /// out as programs write it.
    pub(super) fn head(&self) -> Result<Option<Head>> {
        Head::read(&self.file).map_err(Error::io("read", &self.path))
    }

    /// Adds messages to an index with this head. With `Ok` it is safe on the disk.
    ///
    /// Whenever we die it says what it said, and may know some of the messages.
    pub(super) fn append(&self, disk: &dyn Disk, head: &Head, new: &[(u32, Flags)]) -> Result<()> {
        let mut records = Vec::new();
        new.iter().for_each(|(uid, flags)| push_message(*uid, *flags, &mut records));
        let last = new.last().map_or(head.last, |(uid, _)| *uid);
        let written = disk.write_at(&self.file, &records, head.length);
        let written = written.and_then(|()| self.raise(disk, last));
        written.map_err(Error::io("write", &self.path)).inspect_err(|_| self.cut(disk, head))
    }

    /// Takes back what [`Locked::append`] added, but for the UIDs; what stays does no harm.
    pub(super) fn cut(&self, disk: &dyn Disk, head: &Head) {
        disk.set_len(&self.file, head.length).ok();
    }

    /// Sets UIDLAST in an index whose head is laid out as programs write it.
    pub(super) fn set_last(&self, disk: &dyn Disk, last: u32) -> Result<()> {
        self.raise(disk, last).map_err(Error::io("write", &self.path))
    }

    fn raise(&self, disk: &dyn Disk, last: u32) -> io::Result<()> {
        disk.write_at(&self.file, format!("{last:08x}").as_bytes(), Head::LAST)?;
        disk.sync(&self.file)
    }

    /// Returns the open index.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.file.metadata().ok().map(|found| Seen::of(&found))
    }
}

/// Looks at the index of a mailbox.
pub(super) fn look(directory: &Path) -> Option<Seen> {
    directory.join(NAME).metadata().ok().map(|found| Seen::of(&found))
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("open flags are small");
    let with = |write| File::options().read(true).write(write).custom_flags(flags).open(path);
    let (file, writable) = match with(true) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            (with(false)?, false)
        }
        file => (file?, true),
    };
    if file.metadata()?.is_file() { Ok((file, writable)) } else { Err(io::ErrorKind::InvalidInput.into()) }
}
