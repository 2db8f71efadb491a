//! What every format does whose mailboxes are plain files: making, removing and renaming them, and their modes.

use crate::disk::Disk;
use ailurus_store::{Environment, Error, Location, Rejection, Result};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes an empty file, or a directory when the name ends in `/`.
pub(crate) fn create(environment: &Environment, disk: &dyn Disk, at: &Location) -> Result<()> {
    let path = plain_path(at, "Can't create INBOX")?;
    let (file_mode, directory_mode) = environment.modes(&at.name);
    let made = if wants_directory(path) {
        disk.make_dir(path, directory_mode)
    } else {
        disk.create_new(path, file_mode).map(drop)
    };
    made.map_err(failure("create", at, path))?;
    sync_parent(disk, path)
}

/// Removes a file or an empty directory.
pub(crate) fn delete(disk: &dyn Disk, at: &Location) -> Result<()> {
    let path = plain_path(at, "Can't delete INBOX")?;
    let meta = path.symlink_metadata().map_err(failure("delete", at, path))?;
    let removed = if meta.is_dir() { disk.remove_dir(path) } else { disk.remove(path) };
    removed.map_err(failure("delete", at, path))?;
    sync_parent(disk, path)
}

/// Renames a file or directory.
pub(crate) fn rename(disk: &dyn Disk, from: &Location, to: &Location) -> Result<()> {
    let (old, new) = (plain_path(from, "Can't rename INBOX")?, plain_path(to, "Can't rename to INBOX")?);
    // The name could have been taken since the store looked; a file there would be replaced.
    if new.symlink_metadata().is_ok() {
        return Err(Error::AlreadyExists(to.name.clone()));
    }
    disk.rename(old, new).map_err(failure("rename", from, old))?;
    sync_parent(disk, new)?;
    sync_parent(disk, old)
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

/// Returns why a file that cannot be looked at is no mailbox.
pub(crate) fn rejection(error: &io::Error) -> Rejection {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Rejection::Missing,
        io::ErrorKind::PermissionDenied => Rejection::Denied,
        _ => Rejection::WrongFormat,
    }
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
