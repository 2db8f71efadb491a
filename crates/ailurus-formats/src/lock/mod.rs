//! The locks that all programs on the same mailboxes agree on (spec/storage-common.md §6), as values.
//!
//! | type | lock | who |
//! |---|---|---|
//! | [`NameLock`] | flock of a file in `/tmp` named after device and inode | mbx, mtx, tenex while they parse or append; below [`SessionLock`] |
//! | [`SessionLock`] | the same file, holding our PID so that another session can ask for it | one read-write session of unix, mmdf |
//! | [`DotLock`] | `NAME.lock` beside the mailbox | every read and write of unix, mmdf |
//! | [`LockedFile`] | dot-lock, then flock of the mailbox itself | every read and write of unix, mmdf |
//!
//! Lock order: session lock, dot-lock, flock. A dropped lock is released; all changes of files go through
//! [`Disk`](crate::disk::Disk), so that nothing is released by a process that only plays dead.

mod dot;
mod file;
mod helper;
mod name;
mod session;

pub use dot::{DotLock, DotLockFailure};
pub use file::{LockedFile, Opening, lock_file, unlock_file};
pub use helper::LOCK_PROGRAMS;
pub use name::{NameLock, NameLockError};
pub use session::SessionLock;

/// Whether others may hold the lock at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Others may share it.
    Shared,
    /// Nobody else has it.
    Exclusive,
}

/// What to do while another process has the lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Wait, however long it takes.
    Block,
    /// Give up at once.
    No,
}

/// A mailbox file, and a directory for its lock files.
#[cfg(test)]
fn scratch() -> (tempfile::TempDir, ailurus_store::Environment, std::fs::File) {
    let directory = tempfile::tempdir().expect("a directory");
    let mailbox = std::fs::File::create(directory.path().join("box")).expect("the directory is ours");
    let (home, spool) = (directory.path().into(), directory.path().join("spool"));
    let mut env = ailurus_store::Environment::new("alice", home, spool, "mail.example.com");
    env.lock_dir = directory.path().join("locks");
    std::fs::create_dir(&env.lock_dir).expect("the directory is ours");
    (directory, env, mailbox)
}
