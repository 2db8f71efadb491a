//! What every format does whose mailboxes are plain files: making, removing and renaming them, and their modes.

use crate::disk::Disk;
use crate::journal::read_up_to;
use crate::sidecar::Sidecar;
use ailurus_store::{Access, Claim, Environment, Error, Location, Rejection, Result};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Opens a mailbox file. What is no regular file is refused without waiting for anything: somebody could have put a
/// FIFO in the place of the file that was looked at.
pub(crate) fn open(path: &Path, access: Access) -> io::Result<File> {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("open flags are small");
    let write = access == Access::ReadWrite;
    let file = File::options().read(true).write(write).custom_flags(nonblock).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// Opens a mailbox file only to look at it, so that reading it does not count as such: its access time stays. Where the
/// system does not let us (it is for the owner), the times have to be put back.
pub(crate) fn open_unseen(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOATIME;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(path, Access::ReadOnly),
        Err(error) => Err(error),
    }
}

/// Makes an empty file, or a directory when the name ends in `/`.
pub(crate) fn create(environment: &Environment, disk: &dyn Disk, at: &Location) -> Result<()> {
    let path = plain_path(at, "Can't create INBOX")?;
    let (file_mode, directory_mode) = environment.modes(&at.name);
    if !wants_directory(path) {
        return make(disk, at, path, file_mode, b"");
    }
    disk.make_dir(path, directory_mode).map_err(failure("create", at, path))?;
    sync_parent(disk, path)
}

/// Makes a new mailbox file with this content. Whenever we die there is all of it or nothing, where the file system
/// has files without names; else it may be there in part.
pub(crate) fn make(disk: &dyn Disk, at: &Location, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let fill = |file: &File| disk.write_at(file, content, 0).and_then(|()| disk.sync(file));
    let unnamed = disk.create_unnamed(parent, mode);
    match unnamed.and_then(|file| fill(&file).and_then(|()| disk.name(&file, path))) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let file = disk.create_new(path, mode).map_err(failure("create", at, path))?;
            fill(&file).map_err(|error| {
                disk.remove(path).ok();
                Error::io("initialize", path)(error)
            })?;
        }
        made => made.map_err(failure("create", at, path))?,
    }
    sync_parent(disk, path)
}

/// Removes a file or an empty directory.
pub(crate) fn delete(disk: &dyn Disk, at: &Location) -> Result<()> {
    let path = plain_path(at, "Can't delete INBOX")?;
    let meta = path.symlink_metadata().map_err(failure("delete", at, path))?;
    if !meta.is_dir() {
        return remove(disk, at, path);
    }
    disk.remove_dir(path).map_err(failure("delete", at, path))?;
    sync_parent(disk, path)
}

/// Removes the file of a mailbox, and what was kept beside it when it was of another format. The caller holds the locks
/// that its format needs for that.
pub(crate) fn remove(disk: &dyn Disk, at: &Location, path: &Path) -> Result<()> {
    let sidecar = sidecar_of(path);
    disk.remove(path).map_err(failure("delete", at, path))?;
    if let Some(sidecar) = sidecar {
        // One that stays is of use to nobody, and does no harm.
        disk.remove(&sidecar).ok();
    }
    sync_parent(disk, path)
}

/// Renames a file or directory.
pub(crate) fn rename(disk: &dyn Disk, from: &Location, to: &Location) -> Result<()> {
    let (old, new) = (plain_path(from, "Can't rename INBOX")?, plain_path(to, "Can't rename to INBOX")?);
    let sidecar = sidecar_of(old);
    move_to(disk, (from, old), (to, new))?;
    // A mailbox that has become empty is of no format any more, but what UIDs it gave is not to be forgotten.
    if let (Some(sidecar), Ok(beside)) = (sidecar, Sidecar::<0>::path_beside(new)) {
        disk.rename(&sidecar, &beside).ok();
    }
    Ok(())
}

/// Returns the sidecar beside a file, if there is one. A link has none: it is beside what the link leads to, which stays.
fn sidecar_of(path: &Path) -> Option<PathBuf> {
    path.symlink_metadata().is_ok_and(|found| found.is_file()).then_some(())?;
    let sidecar = Sidecar::<0>::path_beside(path).ok()?;
    sidecar.symlink_metadata().is_ok_and(|found| found.is_file()).then_some(sidecar)
}

/// Renames a file or directory to a name that is free, or was when the store looked: what has come there since is
/// not replaced. The caller holds the locks that its format needs for that.
pub(crate) fn move_to(disk: &dyn Disk, from: (&Location, &Path), to: (&Location, &Path)) -> Result<()> {
    let ((from, old), (to, new)) = (from, to);
    rename_free(disk, old, new).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists(to.name.clone()),
        io::ErrorKind::NotADirectory if wants_directory(new) => invalid(to, "invalid name"),
        _ => failure("rename", from, old)(error),
    })?;
    sync_parent(disk, new)?;
    sync_parent(disk, old)
}

/// Renames to a name that is free: an error of kind `AlreadyExists` if it is not.
pub(crate) fn rename_free(disk: &dyn Disk, old: &Path, new: &Path) -> io::Result<()> {
    match disk.rename_new(old, new) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => move_in_steps(disk, old, new),
        moved => moved,
    }
}

/// Renames where that cannot be done in one step without replacing anything. If we die in between, a file has both
/// names.
fn move_in_steps(disk: &dyn Disk, old: &Path, new: &Path) -> io::Result<()> {
    // A directory replaces nothing but an empty one.
    if !old.symlink_metadata()?.is_dir() {
        match disk.link(old, new) {
            Ok(()) => return disk.remove(old),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // No hard links here: then only the look before is left.
            Err(_) => {}
        }
    }
    if new.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    disk.rename(old, new)
}

fn plain_path<'a>(at: &'a Location, why: &'static str) -> Result<&'a Path> {
    at.path().ok_or_else(|| invalid(at, why))
}

pub(crate) fn invalid(at: &Location, why: &'static str) -> Error {
    Error::InvalidName { name: at.name.clone(), why }
}

/// Tells whether the name ends in the hierarchy delimiter.
pub(crate) fn wants_directory(path: &Path) -> bool {
    path.as_os_str().as_bytes().last() == Some(&b'/')
}

/// Makes the directory of `path` safe, now that an entry of it changed.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    disk.sync_dir(parent).map_err(Error::io("sync", parent))
}

/// Opens a mailbox file, to write it as well if that is wanted and allowed; tells whether it is.
pub(crate) fn open_as_allowed(path: &Path, access: Access) -> io::Result<(File, bool)> {
    if access == Access::ReadWrite {
        match open(path, Access::ReadWrite) {
            Err(error) if may_not_write(&error) => {}
            opened => return opened.map(|file| (file, true)),
        }
    }
    open(path, Access::ReadOnly).map(|file| (file, false))
}

/// Returns the paths of those entries of a directory whose names are `wanted`.
pub(crate) fn entries(directory: &Path, wanted: impl Fn(&OsStr) -> bool) -> Result<Vec<PathBuf>> {
    let io = |error| Error::io("read", directory)(error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        if wanted(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Returns the first octets of a file to tell its format, at most so many; `None` if it is no file with content. Puts
/// the times back if reading it made new mail look old.
pub(crate) fn peek(disk: &dyn Disk, path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let before = path.metadata()?;
    if !before.is_file() || before.len() == 0 {
        return Ok(None);
    }
    let file = open_unseen(path)?;
    let mut head = Vec::new();
    read_up_to(&file, 0, most, &mut head)?;
    if before.ctime() > before.atime() {
        restore_times(disk, &file, &before);
    }
    Ok(Some(head))
}

/// Tells whether both were found of one file or directory.
pub(crate) fn is_one(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Tells whether a path still leads to what is open; not where one of them cannot be looked at.
pub(crate) fn leads_to(path: &Path, open: &File) -> bool {
    matches!((path.metadata(), open.metadata()), (Ok(named), Ok(ours)) if is_one(&named, &ours))
}

/// Tells whether there is a file of no octets.
pub(crate) fn is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

/// Tells whether a file cannot be opened because it may not be written.
pub(crate) fn may_not_write(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Puts the times of a file back if reading it made new mail look old; `before` is from before it was read.
pub(crate) fn restore_times(disk: &dyn Disk, file: &File, before: &Metadata) {
    let accessed = |found: &Metadata| (found.atime(), found.atime_nsec());
    if file.metadata().is_ok_and(|now| accessed(&now) != accessed(before)) {
        // Biff programs tell new mail by these; who does not own the file cannot set them.
        disk.set_times(file, before.atime(), before.mtime()).ok();
    }
}

/// Returns a UID validity value for a mailbox whose UIDs start anew: the time, or more if the old value (0: none) was
/// not less (RFC 3501 §2.3.1.1). Past the largest, the time again: it is another one at least.
pub(crate) fn next_validity(environment: &Environment, old: u32) -> u32 {
    let now = environment.new_validity();
    let next = match old.checked_add(1) {
        Some(least) => now.max(least),
        None if now == u32::MAX => 1,
        None => now,
    };
    environment.validities.give(next);
    next
}

/// Returns what it means for a probe that a file could not be looked at. What says nothing about whether there is a
/// mailbox (a disk that does not answer) is an error: it must not look like none.
pub(crate) fn unclaimed(op: &'static str, path: &Path, error: io::Error) -> Result<Claim> {
    use rustix::io::Errno;
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    Ok(Claim::No(match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Rejection::Missing,
        // A loop of links, or a name that no file can have.
        _ if is(Errno::LOOP) || is(Errno::NAMETOOLONG) => Rejection::Missing,
        io::ErrorKind::PermissionDenied => Rejection::Denied,
        io::ErrorKind::InvalidInput => Rejection::WrongFormat,
        _ => return Err(Error::io(op, path)(error)),
    }))
}

/// Returns a closure for `map_err` that knows what the caller can do about a failure.
pub(crate) fn failure<'a>(
    op: &'static str,
    at: &'a Location,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound(at.name.clone()),
        io::ErrorKind::AlreadyExists => Error::AlreadyExists(at.name.clone()),
        io::ErrorKind::DirectoryNotEmpty => Error::NotEmpty(at.name.clone()),
        _ => Error::io(op, path)(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ailurus_store::Clock;
    use std::sync::Arc;

    #[derive(Debug)]
    struct At(i64);

    impl Clock for At {
        fn now(&self) -> i64 {
            self.0
        }
        fn local_offset(&self) -> i16 {
            0
        }
    }

    #[test]
    fn a_new_uid_validity_value_is_never_the_old_one() {
        let mut environment = Environment::new("alice", "/home".into(), "/spool".into(), "h");
        for (now, old, new) in [
            (1000, 0, 1000),
            (1000, 999, 1000),
            (1000, 1000, 1001),
            (1000, 5000, 5001),
            (1000, u32::MAX, 1000),
            (i64::MAX, u32::MAX, 1),
            (-5, 0, 1),
            (0, 0, 1),
        ] {
            environment.clock = Arc::new(At(now));
            assert_eq!(next_validity(&environment, old), new, "{now} {old}");
        }
    }
}
