//! The lock file in `/tmp` named after a mailbox's device and inode (spec/storage-common.md §6.1).

use super::{Mode, Wait, lock_file};
use crate::disk::Disk;
use crate::files;
use ailurus_store::{Environment, Level};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PROTECTION: u32 = 0o666;

/// The held lock file of a mailbox, removed when dropped.
#[derive(Debug)]
pub struct NameLock {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: File,
}

/// Why a [`NameLock`] could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NameLockError {
    /// Another has it, and said who it is.
    #[error("held by another process")]
    Held {
        /// The PID in the file, if there is one.
        pid: Option<u32>,
    },
    /// The lock file cannot be made or is not what it should be.
    #[error(transparent)]
    Unavailable(#[from] io::Error),
}

impl NameLock {
    /// Locks the mailbox that is open as `mailbox`.
    pub fn acquire(
        disk: &Arc<dyn Disk>,
        env: &Environment,
        mailbox: &File,
        mode: Mode,
        wait: Wait,
    ) -> Result<Self, NameLockError> {
        const MOST_TRIES: usize = 1000;
        let path = lock_path(env, &mailbox.metadata()?);
        for _ in 0..MOST_TRIES {
            let Some(file) = open(disk, env, &path)? else { continue };
            if !lock_file(&file, mode, wait)? {
                return Err(NameLockError::Held { pid: read_pid(&file) });
            }
            // The last holder may have removed the name while we waited: then this is a lock that nobody sees.
            if is_same_file(&path, &file)? {
                if file.metadata()?.mode() & 0o777 != PROTECTION {
                    disk.set_mode(&file, PROTECTION).ok();
                }
                return Ok(Self { disk: Arc::clone(disk), path, file });
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "lock file is replaced again and again").into())
    }

    /// Returns the lock file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what others shall read in the file, in place of all that it holds.
    pub(super) fn set_content(&self, content: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.len() == 0 && content.is_empty() {
            return Ok(());
        }
        self.disk.write_at(&self.file, content, 0)?;
        self.disk.set_len(&self.file, content.len() as u64)
    }
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // Only who is alone may remove the name. It is removed before the lock is let go, whatever order the
        // reference has: one that takes the lock in between would lose its name to us.
        let alone = lock_file(&self.file, Mode::Exclusive, Wait::No).unwrap_or(false);
        if alone && is_same_file(&self.path, &self.file).unwrap_or(false) {
            self.disk.remove(&self.path).ok();
        }
        super::unlock_file(&self.file);
    }
}

fn lock_path(env: &Environment, mailbox: &Metadata) -> PathBuf {
    env.lock_dir.join(format!(".{:x}.{:x}", mailbox.dev(), mailbox.ino()))
}

/// Opens the lock file or makes it; `None`: it came or went meanwhile, so try again.
fn open(disk: &Arc<dyn Disk>, env: &Environment, path: &Path) -> io::Result<Option<File>> {
    match path.symlink_metadata() {
        Ok(found) => refuse_traps(env, path, &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match disk.create_new(path, PROTECTION) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(tell_failure(env, path, error)),
            };
        }
        Err(error) => return Err(tell_failure(env, path, error)),
    }
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(tell_failure(env, path, error)),
    }
}

/// Anyone can put anything in `/tmp`: a link there would have us lock or write another file.
fn refuse_traps(env: &Environment, path: &Path, found: &Metadata) -> io::Result<()> {
    let trap = if found.file_type().is_symlink() {
        "symbolic link on lock name"
    } else if found.nlink() > 1 {
        "hard link to lock name"
    } else if !found.is_file() {
        "lock name is no file"
    } else {
        return Ok(());
    };
    env.notices.tell(Level::Log, format!("SECURITY PROBLEM: {trap}: {}", path.display()));
    Err(io::Error::new(io::ErrorKind::InvalidInput, trap))
}

fn tell_failure(env: &Environment, path: &Path, error: io::Error) -> io::Error {
    let text = format!("Mailbox lock file {} open failure: {error}", path.display());
    env.notices.tell(Level::Log, text);
    let mode = env.lock_dir.metadata().map(|directory| directory.mode() & 0o7777);
    if mode.is_ok_and(|mode| mode != 0o1777) {
        let text = format!("Can't lock for write: {} must have 1777 protection", env.lock_dir.display());
        env.notices.tell(Level::Warning, text);
    }
    error
}

fn is_same_file(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok(named.is_file() && named.nlink() == 1 && files::is_one(&named, &ours)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = [0; 32];
    let read = file.read_at(&mut text, 0).ok()?;
    let digits = text[..read].iter().take_while(|octet| octet.is_ascii_digit()).count();
    let pid: u32 = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    (pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::super::scratch;
    use super::*;
    use crate::disk::Os;

    fn acquire(env: &Environment, mailbox: &File, mode: Mode) -> Result<NameLock, NameLockError> {
        NameLock::acquire(&Os::shared(), env, mailbox, mode, Wait::No)
    }

    #[test]
    fn exclusive_keeps_others_out_and_the_name_goes_with_the_last() {
        let (_directory, env, mailbox) = scratch();
        let first = acquire(&env, &mailbox, Mode::Exclusive).unwrap();
        first.set_content(b"4711").unwrap();
        let refused = acquire(&env, &mailbox, Mode::Exclusive);
        assert!(matches!(refused, Err(NameLockError::Held { pid: Some(4711) })));
        drop(first);
        assert_eq!(std::fs::read_dir(&env.lock_dir).unwrap().count(), 0);

        let first = acquire(&env, &mailbox, Mode::Shared).unwrap();
        let second = acquire(&env, &mailbox, Mode::Shared).unwrap();
        drop(first);
        assert!(second.path().exists());
        drop(second);
        assert_eq!(std::fs::read_dir(&env.lock_dir).unwrap().count(), 0);
    }

    #[test]
    fn links_on_the_name_are_refused() {
        let (directory, env, mailbox) = scratch();
        let path = lock_path(&env, &mailbox.metadata().unwrap());
        std::os::unix::fs::symlink(directory.path().join("box"), &path).unwrap();
        assert!(matches!(acquire(&env, &mailbox, Mode::Exclusive), Err(NameLockError::Unavailable(_))));
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(directory.path().join("box"), &path).unwrap();
        assert!(matches!(acquire(&env, &mailbox, Mode::Exclusive), Err(NameLockError::Unavailable(_))));
        let told: Vec<_> = env.notices.take().into_iter().map(|notice| notice.text).collect();
        assert!(told[0].contains("symbolic link on lock name") && told[1].contains("hard link to lock name"));
    }

    #[test]
    fn a_lock_file_left_by_a_dead_process_is_taken_over() {
        let (_directory, env, mailbox) = scratch();
        let path = lock_path(&env, &mailbox.metadata().unwrap());
        std::fs::write(&path, "99999").unwrap();
        let lock = acquire(&env, &mailbox, Mode::Exclusive).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o666);
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn blocking_waits_for_the_holder() {
        let (_directory, env, mailbox) = scratch();
        let first = acquire(&env, &mailbox, Mode::Exclusive).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                NameLock::acquire(&Os::shared(), &env, &mailbox, Mode::Exclusive, Wait::Block).unwrap()
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!waiter.is_finished());
            drop(first);
            // The waiter got the removed file first, saw that, and made a new one.
            assert!(waiter.join().unwrap().path().exists());
        });
    }
}
