//! What can go wrong in a store, by what the caller can do about it.

use ailurus_types::MailboxName;
use std::io;
use std::path::{Path, PathBuf};

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store operation failed. `Display` is for the log; what a peer is told is the protocol edge's wording,
/// without paths.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such mailbox.
    #[error("no such mailbox: {0}")]
    NotFound(MailboxName),
    /// The mailbox to be made is there already.
    #[error("mailbox already exists: {0}")]
    AlreadyExists(MailboxName),
    /// A directory or the like: there, but not to be opened.
    #[error("not a selectable mailbox: {0}")]
    NotSelectable(MailboxName),
    /// The name is none that may be used here; `why` is the reference's reason.
    #[error("invalid mailbox name {name}: {why}")]
    InvalidName {
        /// The name.
        name: MailboxName,
        /// The reason.
        why: &'static str,
    },
    /// A directory that still holds something.
    #[error("directory not empty: {0}")]
    NotEmpty(MailboxName),
    /// The file is there and no mailbox of this format.
    #[error("not a {format} mailbox: {}", path.display())]
    WrongFormat {
        /// The format that was asked for.
        format: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Another process has the lock that this needs.
    #[error("mailbox is in use by another process: {}", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The mailbox or its file may not be written.
    #[error("mailbox is read-only: {}", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// A message that is no longer there.
    #[error("no message with UID {uid}")]
    Expunged {
        /// Its UID.
        uid: u32,
    },
    /// The file breaks the rules of its format.
    #[error("{}: damaged {format} mailbox at byte {offset}: {what}", path.display())]
    Damaged {
        /// The format.
        format: &'static str,
        /// The file.
        path: PathBuf,
        /// Where the trouble starts, in octets of the file.
        offset: u64,
        /// What is wrong, in the reference's words where it has some.
        what: String,
    },
    /// The mailbox changed under this session in a way that ends the session with it.
    #[error("{}: {what}", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// What was seen, in the reference's words.
        what: String,
    },
    /// Something about the request that no retry mends; the text is for the user, in the reference's words.
    #[error("{0}")]
    Refused(String),
    /// The operating system said no.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried: "open", "write to", …
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Returns a closure for `map_err` that says what was tried on which file.
    pub fn io(op: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { op, path: path.as_ref().into(), source }
    }

    /// Tells whether the disk or the quota is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}
