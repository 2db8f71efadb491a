//! flock(2), and opening a mailbox under dot-lock and flock.

use super::dot::{LOOK_AGAIN, lock_path};
use super::{DotLock, DotLockFailure, Mode, Wait};
use crate::disk::Disk;
use crate::files;
use ailurus_store::{Access, Environment, Level, Manner};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Takes or converts the flock of an open file. Converting is not atomic: the old lock is let go first.
///
/// On NFS this does nothing, as the reference does. `Ok(false)`: another process has it and `wait` says not to wait.
pub fn lock_file(file: &File, mode: Mode, wait: Wait) -> io::Result<bool> {
    let operation = match (mode, wait) {
        (Mode::Shared, Wait::Block) => FlockOperation::LockShared,
        (Mode::Shared, Wait::No) => FlockOperation::NonBlockingLockShared,
        (Mode::Exclusive, Wait::Block) => FlockOperation::LockExclusive,
        (Mode::Exclusive, Wait::No) => FlockOperation::NonBlockingLockExclusive,
    };
    if is_on_nfs(file) {
        return Ok(true);
    }
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::NOLCK) if wait == Wait::Block => std::thread::sleep(Duration::from_secs(5)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Lets go of the flock of an open file; for locks that must end before the file is closed.
pub fn unlock_file(file: &File) {
    // Nothing is to be done about a failure: closing the file ends the lock in any case.
    rustix::fs::flock(file, FlockOperation::Unlock).ok();
}

fn is_on_nfs(file: &File) -> bool {
    const NFS_MAGIC: u64 = 0x6969;
    rustix::fs::fstatfs(file).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(NFS_MAGIC))
}

/// How [`LockedFile::open`] opens and locks.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Shared: read only. Exclusive: read and write.
    pub mode: Mode,
    /// Who wants it: silent ones give no warnings.
    pub manner: Manner,
    /// How the file is opened; readers may take the exclusive lock too.
    pub access: Access,
}

/// A mailbox file opened under its dot-lock and flock, for the time of one read or rewrite.
#[derive(Debug)]
pub struct LockedFile {
    file: File,
    // Dropped after the flock is let go: the order of the protocol.
    dot: Option<DotLock>,
}

impl LockedFile {
    /// Opens the file at `path` under both locks; waits for the flock. Goes on without dot-lock, with a warning,
    /// where neither we nor the lock program can make one.
    pub fn open(disk: &Arc<dyn Disk>, env: &Environment, path: &Path, opening: Opening) -> io::Result<Self> {
        let locked = Self::open_within(disk, env, path, opening, None)?;
        locked.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Opens the file at `path` under both locks; `None` if others have one of them for longer than `patience`.
    /// Without patience, does what [`LockedFile::open`] does.
    pub fn open_within(
        disk: &Arc<dyn Disk>,
        env: &Environment,
        path: &Path,
        opening: Opening,
        patience: Option<Duration>,
    ) -> io::Result<Option<Self>> {
        let open = || files::open(path, opening.access);
        let begun = Instant::now();
        let (file, dot) = match DotLock::acquire_within(disk, env, path, opening.manner, patience) {
            Ok(None) => return Ok(None),
            Ok(dot) => (open()?, dot),
            Err(failure) => {
                let file = open()?;
                match DotLock::through_helper(env, path, &file, &failure, patience) {
                    // The file may have been replaced before the lock was there.
                    Some(dot) => (open()?, Some(dot)),
                    None if patience.is_some() && lock_path(path).symlink_metadata().is_ok() => {
                        return Ok(None);
                    }
                    None => {
                        warn(env, opening.manner, path, &failure);
                        (file, None)
                    }
                }
            }
        };
        let wait = if patience.is_none() { Wait::Block } else { Wait::No };
        while !lock_file(&file, opening.mode, wait)? {
            if patience.is_none_or(|patience| begun.elapsed() >= patience) {
                return Ok(None);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(Some(Self { file, dot }))
    }

    /// Returns the open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Tells whether the dot-lock could be had.
    #[must_use]
    pub fn has_dot_lock(&self) -> bool {
        self.dot.is_some()
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        unlock_file(&self.file);
    }
}

fn warn(env: &Environment, manner: Manner, path: &Path, failure: &DotLockFailure) {
    let text = match failure {
        DotLockFailure::NotTried => return,
        DotLockFailure::Refused(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let directory = path.parent().unwrap_or(Path::new("."));
            format!("Mailbox vulnerable - directory {} must have 1777 protection", directory.display())
        }
        DotLockFailure::Refused(error) => {
            format!("Mailbox vulnerable - error creating {}: {error}", lock_path(path).display())
        }
    };
    let level = if manner == Manner::Silent { Level::Log } else { Level::Warning };
    env.notices.tell(level, text);
}
