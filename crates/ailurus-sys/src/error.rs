//! What can go wrong with the operating system.

use std::io;
use std::path::PathBuf;

/// The result of most functions here.
pub type Result<T> = std::result::Result<T, Error>;

/// A request to the operating system that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {op}")]
    Os {
        /// What was tried.
        op: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// A system call on a file failed.
    #[error("cannot {op} {}", path.display())]
    Path {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// This host lacks a facility.
    #[error("{what} is not available: {reason}")]
    Unavailable {
        /// The facility.
        what: &'static str,
        /// Why, in the words of the system.
        reason: String,
    },
    /// It could be done, but must not.
    #[error("refused: {0}")]
    Refused(&'static str),
}

impl Error {
    /// Wraps the error of the last system call of this thread.
    pub(crate) fn last(op: &'static str) -> Self {
        Self::Os { op, source: io::Error::last_os_error() }
    }

    /// Wraps an error number.
    pub(crate) fn number(op: &'static str, number: i32) -> Self {
        Self::Os { op, source: io::Error::from_raw_os_error(number) }
    }

    /// Returns a function that wraps an error of the system.
    pub(crate) fn os<E: Into<io::Error>>(op: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Os { op, source: source.into() }
    }
}
