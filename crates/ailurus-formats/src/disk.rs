//! Every system call of ours that changes a file, behind one trait.
//!
//! Reading needs no such care and uses the files themselves. Tests put a [`Disk`] here that stops after the n-th
//! change (a killed process) or remembers what was synced (a power loss); whatever holds a mailbox together must
//! therefore come through here, lock files included.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, renameat_with};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
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

    /// Makes a file without a name on the file system of this directory, open for reading and writing, with exactly
    /// this mode. An error of kind `Unsupported` where that cannot be.
    fn create_unnamed(&self, directory: &Path, mode: u32) -> io::Result<File> {
        let _ = (directory, mode);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file that has no name one that is free: `AlreadyExists` if it is not. An error of kind `Unsupported`
    /// where that cannot be.
    fn name(&self, file: &File, to: &Path) -> io::Result<()> {
        let _ = (file, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Renames, replacing what is at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames to a name that is free: `AlreadyExists` if it is not. An error of kind `Unsupported` where the file
    /// system cannot do that in one step.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Exchanges two names in one step. An error of kind `Unsupported` where the file system cannot do that.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let _ = (one, other);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes `to` a second name of the file `from`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory, with exactly this mode whatever the umask says.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Sets the mode bits of an open file: by its name somebody could have put a link in its place.
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()>;

    /// Sets access and modification time, in whole seconds since 1970 UTC (spec/storage-common.md §7).
    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()>;

    /// Sets access and modification time, the latter with its nanoseconds. A disk that knows whole seconds only sets
    /// those.
    fn set_times_finely(
        &self,
        file: &File,
        accessed: i64,
        modified: i64,
        nanoseconds: u32,
    ) -> io::Result<()> {
        let _ = nanoseconds;
        self.set_times(file, accessed, modified)
    }

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

    fn create_unnamed(&self, directory: &Path, mode: u32) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR);
        // A kernel that does not know the flag takes it for that of a directory.
        let file =
            File::from(made.map_err(unsupported_if(&[Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL]))?);
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    fn name(&self, file: &File, to: &Path) -> io::Result<()> {
        // By the descriptor itself older kernels let root alone do it; the other way needs /proc.
        match linkat(file, "", CWD, to, AtFlags::EMPTY_PATH) {
            Err(Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {}
            named => return named.map_err(unsupported_if(NO_LINKS)),
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        if !Path::new(&path).exists() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        linkat(CWD, path, CWD, to, AtFlags::SYMLINK_FOLLOW).map_err(unsupported_if(NO_LINKS))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        // EINVAL also says that a directory cannot become one below itself; the other way then says so again.
        let renamed = renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
        renamed.map_err(unsupported_if(&[Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]))
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let exchanged = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
        exchanged.map_err(unsupported_if(&[Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]))
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

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }

    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        let times = std::fs::FileTimes::new().set_accessed(moment(accessed)).set_modified(moment(modified));
        file.set_times(times)
    }

    fn set_times_finely(
        &self,
        file: &File,
        accessed: i64,
        modified: i64,
        nanoseconds: u32,
    ) -> io::Result<()> {
        let modified = moment(modified) + Duration::from_nanos(nanoseconds.into());
        file.set_times(std::fs::FileTimes::new().set_accessed(moment(accessed)).set_modified(modified))
    }
}

/// What a file system says that has no hard links.
const NO_LINKS: &[Errno] = &[Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

fn unsupported_if(errors: &'static [Errno]) -> impl FnOnce(Errno) -> io::Error {
    move |error| {
        if errors.contains(&error) { io::ErrorKind::Unsupported.into() } else { error.into() }
    }
}

fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment =
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moment.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
        for taken in ["b", "dangling"] {
            let error = Os.rename_new(&path("a"), &path(taken)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{taken}");
        }
        Os.rename_new(&path("a"), &path("c")).unwrap();
        assert_eq!(
            (std::fs::read(path("b")).unwrap(), std::fs::read(path("c")).unwrap()),
            (b"b".into(), b"a".into())
        );
    }

    #[test]
    fn a_file_without_a_name_gets_one_that_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let file = match Os.create_unnamed(directory.path(), 0o640) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            file => file.unwrap(),
        };
        Os.write_at(&file, b"text", 0).unwrap();
        let (taken, free) = (directory.path().join("taken"), directory.path().join("free"));
        std::fs::write(&taken, "other").unwrap();
        assert_eq!(Os.name(&file, &taken).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        Os.name(&file, &free).unwrap();
        assert_eq!(
            (std::fs::read(&taken).unwrap(), std::fs::read(&free).unwrap()),
            (b"other".into(), b"text".into())
        );
        assert_eq!(free.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }
}
