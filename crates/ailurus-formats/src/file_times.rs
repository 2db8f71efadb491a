//! What tells that other programs changed a mailbox whose flags are written in place.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Times and size of a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct FileTimes {
    pub(crate) modified: i64,
    changed: (i64, i64),
    pub(crate) size: u64,
}

impl FileTimes {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self { modified: meta.mtime(), changed: (meta.ctime(), meta.ctime_nsec()), size: meta.len() }
    }

    /// Tells whether flags may differ now. The reference looks at whole seconds of the mtime; the ctime is finer,
    /// but changes with appends as well, which show in the size.
    pub(crate) fn ask_for_sweep(&self, now: &Self) -> bool {
        self.modified != now.modified || self.changed != now.changed && self.size == now.size
    }
}
