//! `NAME.lock` beside a mailbox (spec/storage-common.md §6.3).

use super::helper::Helper;
use crate::disk::Disk;
use ailurus_store::{Environment, Level, Manner};
use rustix::io::Errno;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

const MOST_PATH_OCTETS: usize = 512;
const WARN_EVERY: u32 = 15;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait, and how often, while a lock is there for link(2) and not for lstat(2).
const RACE_PAUSE: Duration = Duration::from_millis(50);
const MOST_RACES: u32 = 200;
/// How often who has little patience looks whether the lock is free.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A dot-lock, removed when dropped.
#[derive(Debug)]
pub struct DotLock {
    held: Held,
}

#[derive(Debug)]
enum Held {
    Ours { disk: Arc<dyn Disk>, path: PathBuf },
    Helper { _helper: Helper },
}

/// Why there is no dot-lock.
#[derive(Debug)]
pub enum DotLockFailure {
    /// The path is too long for one.
    NotTried,
    /// It cannot be made here.
    Refused(io::Error),
}

impl DotLock {
    /// Makes the dot-lock of the mailbox `path`. While another has it, waits up to `dot_lock_timeout` seconds, with
    /// warnings once the first of them is over, then overrides it; overrides a stale one at once.
    pub fn acquire(
        disk: &Arc<dyn Disk>,
        env: &Environment,
        path: &Path,
        manner: Manner,
    ) -> Result<Self, DotLockFailure> {
        let lock = Self::acquire_within(disk, env, path, manner, None)?;
        lock.ok_or_else(|| DotLockFailure::Refused(io::ErrorKind::WouldBlock.into()))
    }

    /// Makes the dot-lock of the mailbox `path` unless another has it for longer than `patience`: then `None`.
    /// Overrides a stale one, and no other. Without patience, does what [`DotLock::acquire`] does.
    pub(super) fn acquire_within(
        disk: &Arc<dyn Disk>,
        env: &Environment,
        path: &Path,
        manner: Manner,
        patience: Option<Duration>,
    ) -> Result<Option<Self>, DotLockFailure> {
        if path.as_os_str().len() > MOST_PATH_OCTETS {
            return Err(DotLockFailure::NotTried);
        }
        let lock = lock_path(path);
        let tell = |level, text: String| {
            env.notices.tell(if manner == Manner::Silent { Level::Log } else { level }, text);
        };
        let (begun, mut pause, mut warnings) = (Instant::now(), SHORTEST_PAUSE, 0);
        let (mut overrides, mut races) = (0, 0);
        loop {
            let found = lstat(&lock).map_err(DotLockFailure::Refused)?;
            if found.as_ref().is_some_and(|found| found.file_type().is_symlink()) {
                let error = io::Error::new(io::ErrorKind::InvalidInput, "symbolic link on lock name");
                return Err(DotLockFailure::Refused(error));
            }
            if found.is_none() && create(disk, env, &lock).map_err(DotLockFailure::Refused)? {
                if overrides > 0 {
                    tell(Level::Log, format!("Mailbox {} lock overridden", path.display()));
                }
                return Ok(Some(Self { held: Held::Ours { disk: Arc::clone(disk), path: lock } }));
            }
            let Some(found) = found else {
                // It came and went in between; or this is NFS, which shows us the past for some seconds.
                if races == MOST_RACES {
                    let error = io::Error::new(io::ErrorKind::WouldBlock, "lock is there and not there");
                    return Err(DotLockFailure::Refused(error));
                }
                races += 1;
                std::thread::sleep(RACE_PAUSE);
                continue;
            };
            let age = age(&found);
            let stale = age >= i64::from(env.dot_lock_timeout);
            let waited = u32::try_from(begun.elapsed().as_secs()).unwrap_or(u32::MAX);
            let left = env.dot_lock_timeout.saturating_sub(waited);
            if stale || left == 0 {
                if !stale {
                    let warning = format!("Mailbox vulnerable - seizing {age} second old lock");
                    tell(Level::Warning, warning);
                }
                overrides += 1;
                seize(disk, &lock, &found, overrides).map_err(DotLockFailure::Refused)?;
                continue;
            }
            if patience.is_some_and(|patience| begun.elapsed() >= patience) {
                return Ok(None);
            }
            // Mostly a lock is held for a moment, of which nobody needs to hear.
            if patience.is_none() && waited > warnings * WARN_EVERY {
                let mailbox = path.display();
                let warning = format!("Mailbox {mailbox} is locked, will override in {left} seconds...");
                tell(Level::Warning, warning);
                warnings += 1;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks the lock program for the dot-lock, where we may not make one ourselves. `file` is the open mailbox.
    pub(super) fn through_helper(
        env: &Environment,
        path: &Path,
        file: &std::fs::File,
        failure: &DotLockFailure,
        patience: Option<Duration>,
    ) -> Option<Self> {
        let DotLockFailure::Refused(error) = failure else { return None };
        if error.kind() != io::ErrorKind::PermissionDenied || env.mode == ailurus_store::Mode::ClosedBox {
            return None;
        }
        let timeout = patience.unwrap_or(Duration::from_secs(u64::from(env.dot_lock_timeout)));
        let helper = Helper::start(path, file, timeout)?;
        Some(Self { held: Held::Helper { _helper: helper } })
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        if let Held::Ours { disk, path } = &self.held {
            // Gone already when another overrode it; there is nobody to tell.
            disk.remove(path).ok();
        }
    }
}

/// Returns the name of the lock of a mailbox.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn lstat(path: &Path) -> io::Result<Option<std::fs::Metadata>> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns how many seconds ago the file was changed. The system's clock, not the session's: files have its time.
fn age(found: &std::fs::Metadata) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(found.ctime())
}

/// Removes a lock that was judged stale, unless it is another one by now.
fn seize(disk: &Arc<dyn Disk>, lock: &Path, judged: &std::fs::Metadata, tries: u32) -> io::Result<()> {
    const MOST_TRIES: u32 = 20;
    if tries > MOST_TRIES {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "lock is taken again and again"));
    }
    match lstat(lock)? {
        Some(now) if (now.dev(), now.ino(), now.ctime()) == (judged.dev(), judged.ino(), judged.ctime()) => {
            match disk.remove(lock) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Makes the lock in a way that is exclusive on NFS too: a second link to a file of our own. `Ok(false)`: it exists.
fn create(disk: &Arc<dyn Disk>, env: &Environment, lock: &Path) -> io::Result<bool> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut post = lock.as_os_str().to_owned();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (now, process) = (env.clock.now(), std::process::id());
    post.push(format!(".{now}.{process}.{count}.{}", env.host.replace('/', "_")));
    let post = PathBuf::from(post);
    let mode = env.protections.lock;
    match disk.create_new(&post, mode) {
        // The lock's own name may be short enough.
        Err(error) if is(&error, &[Errno::NAMETOOLONG]) => return create_plainly(disk, lock, mode),
        made => drop(made?),
    }
    let linked = disk.link(&post, lock);
    let links = post.symlink_metadata().map(|post| post.nlink());
    let made = match (links, linked) {
        // The answer of link(2) may be lost on the way from an NFS server; the count is not.
        (Ok(2), _) => Ok(true),
        (_, Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // A file system without hard links.
        (_, Err(error)) if is(&error, &[Errno::PERM, Errno::OPNOTSUPP]) => create_plainly(disk, lock, mode),
        (_, Err(error)) => Err(error),
        (Err(error), Ok(())) => Err(error),
        (Ok(_), Ok(())) => Ok(false),
    };
    disk.remove(&post).ok();
    made
}

fn is(error: &io::Error, errors: &[Errno]) -> bool {
    errors.iter().any(|errno| Some(errno.raw_os_error()) == error.raw_os_error())
}

fn create_plainly(disk: &Arc<dyn Disk>, lock: &Path, mode: u32) -> io::Result<bool> {
    match disk.create_new(lock, mode) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;

    fn environment(directory: &Path, timeout: u32) -> Environment {
        let mut env =
            Environment::new("alice", directory.into(), directory.join("spool"), "mail.example.com");
        env.dot_lock_timeout = timeout;
        env
    }

    fn entries(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_lock_is_there_while_it_is_held_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("box");
        let lock =
            DotLock::acquire(&Os::shared(), &environment(directory.path(), 300), &mailbox, Manner::Session)
                .unwrap();
        assert!(directory.path().join("box.lock").exists());
        assert_eq!(entries(directory.path()), 1);
        drop(lock);
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn a_stale_lock_is_overridden_and_a_fresh_one_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("box");
        std::fs::write(directory.path().join("box.lock"), "").unwrap();
        let env = environment(directory.path(), 2);
        let begun = std::time::Instant::now();
        let lock = DotLock::acquire(&Os::shared(), &env, &mailbox, Manner::Session).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(900));
        assert!(env.notices.take().iter().any(|notice| notice.text.ends_with("lock overridden")));
        drop(lock);
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn a_long_name_is_locked_as_long_as_its_lock_has_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let env = environment(directory.path(), 0);
        for (length, locked) in [(200, true), (250, true), (251, false)] {
            let mailbox = directory.path().join("x".repeat(length));
            let lock = DotLock::acquire(&Os::shared(), &env, &mailbox, Manner::Silent);
            assert_eq!(lock.is_ok(), locked, "{length}");
            assert_eq!(entries(directory.path()), usize::from(locked));
            drop(lock);
            assert_eq!(entries(directory.path()), 0);
        }
    }

    #[test]
    fn who_has_little_patience_gives_up_and_overrides_stale_locks_only() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("box");
        std::fs::write(directory.path().join("box.lock"), "").unwrap();
        let within = |timeout, patience| {
            let env = environment(directory.path(), timeout);
            let patience = Some(Duration::from_millis(patience));
            DotLock::acquire_within(&Os::shared(), &env, &mailbox, Manner::Silent, patience).unwrap()
        };
        assert!(within(300, 50).is_none());
        assert_eq!(entries(directory.path()), 1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| within(300, 10_000));
            std::thread::sleep(Duration::from_millis(30));
            std::fs::remove_file(directory.path().join("box.lock")).unwrap();
            assert!(waiter.join().unwrap().is_some());
        });
        std::fs::write(directory.path().join("box.lock"), "").unwrap();
        assert!(within(0, 0).is_some(), "it is stale");
    }

    #[test]
    fn a_symbolic_link_on_the_name_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("box");
        std::os::unix::fs::symlink("/nowhere", directory.path().join("box.lock")).unwrap();
        let refused =
            DotLock::acquire(&Os::shared(), &environment(directory.path(), 0), &mailbox, Manner::Silent);
        assert!(matches!(refused, Err(DotLockFailure::Refused(_))));
        assert_eq!(entries(directory.path()), 1);
    }
}
