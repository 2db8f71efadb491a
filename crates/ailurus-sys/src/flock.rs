//! flock(2) locks as values.
//!
//! A lock belongs to the open file description: two opens of one file in one process exclude each other, two duplicates of
//! one descriptor share. It is released when the guard is dropped.
//!
//! COMPAT(imap-2007f): a file on NFS is not locked, and locking it succeeds (spec/storage-common.md §6): there flock is
//! emulated or hangs, and the other locks must do.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// What a lock admits beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Other shared locks.
    Shared,
    /// Nothing.
    Exclusive,
}

/// A lock on `F`, which is a file (then the guard owns it) or a reference to one.
#[must_use = "a lock that is dropped is released"]
pub struct Flock<F: AsFd> {
    /// `None` only once the file has been taken out.
    file: Option<F>,
    mode: Mode,
    held: Held,
}

/// What came of an attempt to lock without waiting.
#[derive(Debug)]
#[must_use = "a lock that is dropped is released"]
pub enum Attempt<F: AsFd> {
    /// The lock.
    Locked(Flock<F>),
    /// Somebody has a lock that excludes ours; here is the file, unlocked.
    Busy(F),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Kernel,
    Nothing,
}

impl<F: AsFd> Flock<F> {
    /// Locks a file, waiting as long as it takes. A kernel without room for another lock (ENOLCK) is asked again every
    /// five seconds.
    ///
    /// # Errors
    ///
    /// Any other failure of the kernel, which is fatal: the file cannot be locked at all.
    pub fn lock(file: F, mode: Mode) -> Result<Self> {
        Self::lock_reporting(file, mode, &mut |_| ())
    }

    /// As [`Flock::lock`], and calls `report` with each ENOLCK before it waits (`File locking failure: {err}`).
    ///
    /// # Errors
    ///
    /// As [`Flock::lock`].
    pub fn lock_reporting(file: F, mode: Mode, report: &mut dyn FnMut(&io::Error)) -> Result<Self> {
        let held = wait_for(file.as_fd(), mode, report)?;
        Ok(Self { file: Some(file), mode, held })
    }

    /// Locks a file if that is possible now.
    ///
    /// # Errors
    ///
    /// If the kernel fails for another reason than a lock that excludes this one (ENOLCK included).
    pub fn try_lock(file: F, mode: Mode) -> Result<Attempt<F>> {
        match acquire(file.as_fd(), operation_without_waiting(mode)) {
            Ok(held) => Ok(Attempt::Locked(Self { file: Some(file), mode, held })),
            Err(Errno::WOULDBLOCK) => Ok(Attempt::Busy(file)),
            Err(error) => Err(Error::os(OP)(error)),
        }
    }

    /// Changes the lock, waiting as long as it takes, and returns a new guard.
    ///
    /// This is **not atomic**: the old lock is given up first, others may change the file before the new one is had, and
    /// whatever was read under the old one must be read again. (Only going from exclusive to shared keeps what was read
    /// true if nobody else got in between, which cannot be known.)
    ///
    /// # Errors
    ///
    /// As [`Flock::lock`]; the old lock is gone.
    pub fn convert(mut self, mode: Mode) -> Result<Self> {
        // Should it fail, dropping `self` releases whatever is left.
        self.held = wait_for(self.file().as_fd(), mode, &mut |_| ())?;
        self.mode = mode;
        Ok(self)
    }

    /// As [`Flock::convert`], without waiting. On [`Attempt::Busy`] the old lock **is gone** too.
    ///
    /// # Errors
    ///
    /// As [`Flock::try_lock`]; the old lock is gone.
    pub fn try_convert(mut self, mode: Mode) -> Result<Attempt<F>> {
        match acquire(self.file().as_fd(), operation_without_waiting(mode)) {
            Ok(held) => {
                self.held = held;
                self.mode = mode;
                Ok(Attempt::Locked(self))
            }
            // Linux has dropped the old lock; where a system has kept it, it is dropped here.
            Err(Errno::WOULDBLOCK) => Ok(Attempt::Busy(self.unlock())),
            Err(error) => Err(Error::os(OP)(error)),
        }
    }

    /// Releases the lock and returns the file.
    pub fn unlock(mut self) -> F {
        let file = self.file.take().expect("the file is taken out only by value");
        release(file.as_fd(), self.held);
        file
    }

    /// Returns the locked file.
    pub fn file(&self) -> &F {
        self.file.as_ref().expect("the file is taken out only by value")
    }

    /// Returns the mode of the lock.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl<F: AsFd> Drop for Flock<F> {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            release(file.as_fd(), self.held);
        }
    }
}

impl<F: AsFd> fmt::Debug for Flock<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flock").field("mode", &self.mode).field("held", &self.held).finish_non_exhaustive()
    }
}

const OP: &str = "lock a file";
const RETRY: Duration = Duration::from_secs(5);

fn operation(mode: Mode) -> FlockOperation {
    match mode {
        Mode::Shared => FlockOperation::LockShared,
        Mode::Exclusive => FlockOperation::LockExclusive,
    }
}

fn operation_without_waiting(mode: Mode) -> FlockOperation {
    match mode {
        Mode::Shared => FlockOperation::NonBlockingLockShared,
        Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    }
}

fn wait_for(file: BorrowedFd<'_>, mode: Mode, report: &mut dyn FnMut(&io::Error)) -> Result<Held> {
    loop {
        match acquire(file, operation(mode)) {
            Ok(held) => return Ok(held),
            Err(Errno::NOLCK) => {
                report(&Errno::NOLCK.into());
                thread::sleep(RETRY);
            }
            Err(error) => return Err(Error::os(OP)(error)),
        }
    }
}

fn acquire(file: BorrowedFd<'_>, operation: FlockOperation) -> std::result::Result<Held, Errno> {
    if is_on_nfs(file)? {
        return Ok(Held::Nothing);
    }
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation))?;
    Ok(Held::Kernel)
}

/// Unlocking fails only for descriptors that could not have been locked; there is nothing to do about it either.
fn release(file: BorrowedFd<'_>, held: Held) {
    if held == Held::Kernel {
        rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::Unlock)).ok();
    }
}

#[cfg(target_os = "linux")]
fn is_on_nfs(file: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    const NFS_SUPER_MAGIC: u64 = 0x6969;
    let statfs = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(file))?;
    Ok(u64::try_from(statfs.f_type).is_ok_and(|magic| magic == NFS_SUPER_MAGIC))
}

#[cfg(not(target_os = "linux"))]
fn is_on_nfs(_file: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Two opens of one file.
    fn two() -> (File, File) {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let again = file.reopen().expect("it is there");
        (file.into_file(), again)
    }

    fn is_busy<F: AsFd>(file: F, mode: Mode) -> bool {
        matches!(Flock::try_lock(file, mode).expect("flock works"), Attempt::Busy(_))
    }

    #[test]
    fn exclusive_excludes_and_shared_shares() {
        let (one, two) = two();
        let lock = Flock::lock(&one, Mode::Exclusive).expect("free");
        assert_eq!(lock.mode(), Mode::Exclusive);
        assert!(is_busy(&two, Mode::Shared));
        drop(lock);
        let lock = Flock::lock(&one, Mode::Shared).expect("free");
        assert!(!is_busy(&two, Mode::Shared));
        assert!(is_busy(&two, Mode::Exclusive));
        drop(lock);
        assert!(!is_busy(&two, Mode::Exclusive));
    }

    #[test]
    fn a_guard_may_own_the_file() {
        let (one, two) = two();
        let lock = Flock::lock(one, Mode::Exclusive).expect("free");
        assert!(is_busy(&two, Mode::Exclusive));
        let one = lock.unlock();
        assert!(!is_busy(&two, Mode::Exclusive), "unlocked, though still open");
        drop(one);
    }

    #[test]
    fn conversion() {
        let (one, two) = two();
        let lock = Flock::lock(&one, Mode::Shared).expect("free");
        let lock = lock.convert(Mode::Exclusive).expect("no other lock");
        assert!(is_busy(&two, Mode::Shared));
        let lock = lock.convert(Mode::Shared).expect("no other lock");
        let other = Flock::lock(&two, Mode::Shared).expect("shared");
        assert!(matches!(lock.try_convert(Mode::Exclusive).expect("flock works"), Attempt::Busy(_)));
        let other = match other.try_convert(Mode::Exclusive).expect("flock works") {
            Attempt::Locked(lock) => lock,
            Attempt::Busy(_) => panic!("the failed conversion must have dropped its lock"),
        };
        assert!(is_busy(&one, Mode::Shared));
        drop(other);
    }

    #[test]
    fn waiting_ends_when_the_lock_is_free() {
        let (one, two) = two();
        let lock = Flock::lock(&one, Mode::Exclusive).expect("free");
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiter = thread::spawn(move || {
            let lock = Flock::lock(&two, Mode::Exclusive).expect("free in the end");
            sender.send(()).expect("somebody listens");
            drop(lock);
        });
        receiver.recv_timeout(Duration::from_millis(100)).expect_err("it waits");
        drop(lock);
        receiver.recv_timeout(Duration::from_secs(20)).expect("it got the lock");
        waiter.join().expect("it ends");
    }
}
