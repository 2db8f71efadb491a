//! The lock of a sidecar: a flock of the file itself.

use crate::disk::Disk;
use crate::files::is_one;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A sidecar that is open and locked. The lock ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    exclusive: bool,
}

/// Each time the file was replaced while we waited for it.
const MOST_TRIES: usize = 1000;

impl Lock {
    /// Opens the file to read and write, makes it empty if there is none, and waits for the exclusive lock.
    pub(super) fn exclusive(disk: &dyn Disk, path: &Path, mode: u32) -> io::Result<Self> {
        for _ in 0..MOST_TRIES {
            let file = match open(path, true) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => match disk.create_new(path, mode) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    file => file?,
                },
                file => file?,
            };
            flock(&file, FlockOperation::LockExclusive)?;
            if is_at(&file, path)? {
                return Ok(Self { file, exclusive: true });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Opens the file to read and waits for the shared lock; `None` if there is no file.
    pub(super) fn shared(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..MOST_TRIES {
            let file = match open(path, false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            flock(&file, FlockOperation::LockShared)?;
            if is_at(&file, path)? {
                return Ok(Some(Self { file, exclusive: false }));
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Locks a file that nobody else has opened yet.
    pub(super) fn of_new(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { file, exclusive: true })
    }

    /// Returns the locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Tells whether the holder may write.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.exclusive
    }
}

/// Opens what is there if it is a plain file: a FIFO would block, a link could lead anywhere.
fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    let file = File::options().read(true).write(write).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let mine = file.metadata()?;
    match path.symlink_metadata() {
        Ok(there) => Ok(is_one(&there, &mine)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Unlike the locks that other programs know, this one is asked for on network file systems too: only we take it.
fn flock(file: &File, operation: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            // No locks here: then it is as with the old programs, which have none.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
