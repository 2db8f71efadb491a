//! What a mailbox name means.

use ailurus_types::MailboxName;
use std::path::{Path, PathBuf};

/// A mailbox name together with what it was resolved to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The name as the user gave it.
    pub name: MailboxName,
    /// Where it points.
    pub place: Place,
}

/// Where a name points.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// INBOX, where each driver has its own idea of the file (spec/storage-common.md §3.3).
    Inbox,
    /// A file or directory. A trailing `/` of the name is kept, it asks for a directory.
    Path(PathBuf),
    /// A name that a driver parses itself (`#mh/…`, `#news.…`).
    Special,
}

impl Location {
    /// Returns the path, where the name points to one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            Place::Inbox | Place::Special => None,
        }
    }
}
