//! Every system call of ours that changes a file, behind one trait.
//!
//! Reading needs no such care and uses the files themselves. Tests put a [`Disk`] here that stops after the n-th
//! change (a killed process) or remembers what was synced (a power loss); whatever holds a mailbox together must
//! therefore come through here, lock files included.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The changes that our code makes to files.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Makes a file that must not exist yet, open for reading and writing, with exactly this mode whatever the
    /// umask says. Does not follow a symbolic link.
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File>;

    /// Writes all of `data` at `offset`.
    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or extends (with NULs) the file.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()>;

    /// Makes the file's content and length safe from a power loss.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Makes the directory's entries safe from a power loss.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Renames, replacing what is at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes `to` a second name of the file `from`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory, with exactly this mode whatever the umask says.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Sets the mode bits of a file.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Sets access and modification time, in whole seconds since 1970 UTC (spec/storage-common.md §7).
    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()>;

    /// Reserves room for the range `from..to` without changing what the file holds or how long it is. An error of
    /// kind `Unsupported` where the file system cannot.
    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(file, flags, from, to.saturating_sub(from))?)
    }
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl Os {
    /// Returns the real disk as drivers take it.
    #[must_use]
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for Os {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        // create_new is O_EXCL, which does not follow a link in the last component.
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(data, offset)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        match File::open(directory).and_then(|directory| directory.sync_all()) {
            // Who may write in a directory and not read it cannot sync it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    }

    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        let times = std::fs::FileTimes::new().set_accessed(moment(accessed)).set_modified(moment(modified));
        file.set_times(times)
    }
}

fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment =
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moment.unwrap_or(UNIX_EPOCH)
}
