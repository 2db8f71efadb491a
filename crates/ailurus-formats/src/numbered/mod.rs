//! What mh, mx and news share: directories that hold one file for each message, named by a decimal number.
//!
//! # Which names are messages
//!
//! Decimal numbers from 1 to 4294967295, written without leading zeros, that name plain files, or links to some.
//! Whatever else has such a name (a directory, a FIFO, a device, a link to nowhere) is passed over, and nothing but plain
//! files is ever opened.
//!
//! # How changes are noticed
//!
//! A name that comes or goes changes the times of the directory ([`Stamp`]); a file that became another shows in its
//! inode, size and modification time ([`FileId`]), which are looked at whenever the directory is read, and each time that
//! a message is read. Times have a grain, so a directory that changed just now may change again without showing it: it
//! is read again until its times lie back ([`Stamp::is_settled`]).
//!
//! # How messages come and go
//!
//! Other programs know no lock here. A new message is written under no name at all or in a directory of ours, synced,
//! and then given a number that is free ([`Incoming`]): nobody sees it in part, and nobody's message is replaced. Before
//! a message is removed it is moved aside and looked at once more ([`remove()`]), for its number could have become that of
//! another message (`folder -pack`) at any moment.
//!
//! | name | what it is | if we die |
//! |---|---|---|
//! | `.ailurus-new.…/` | messages of an append of several, locked by its writer | removed; finished, if all were there |
//! | `.ailurus-gone.…` | a message on its way out, its identity in its name | removed if it is that one, else put back |

mod filed;
mod fileid;
mod incoming;
mod kept;
mod names;
mod ranges;
mod remove;
mod text;

pub(crate) use filed::Filed;
pub(crate) use fileid::{FileId, Folder, Look, Stamp};
pub(crate) use incoming::{Incoming, Written};
pub(crate) use kept::Kept;
pub(crate) use names::{Names, is_number_like};
pub(crate) use ranges::Ranges;
pub(crate) use remove::{Removed, remove};
pub(crate) use text::{Encoder, LineReader, Measure};

use crate::disk::Disk;
use ailurus_types::Flags;
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Returns the positions of the messages whose flags are others than before an edit, ascending. `before` has the flags
/// that messages had, by position, in the order of the changes; what came back to what it was is no change.
pub(crate) fn changed(mut before: Vec<(usize, Flags)>, now: impl Fn(usize) -> Flags) -> Vec<usize> {
    before.sort_by_key(|(position, _)| *position);
    before.dedup_by_key(|(position, _)| *position);
    before.retain(|(position, flags)| now(*position) != *flags);
    before.into_iter().map(|(position, _)| position).collect()
}

/// How the names of what we leave behind begin.
const NEW: &str = ".ailurus-new.";
const GONE: &str = ".ailurus-gone.";

/// Finishes or takes back what those left who died. The caller holds the lock of the mailbox, if it has one. Returns
/// whether there may be new messages now.
pub(crate) fn tidy(disk: &dyn Disk, directory: &Path, leftovers: &[OsString]) -> io::Result<bool> {
    let mut arrived = false;
    for name in leftovers {
        let path = directory.join(name);
        let outcome = if name.as_encoded_bytes().starts_with(NEW.as_bytes()) {
            incoming::settle(disk, directory, &path)
        } else {
            remove::settle(disk, directory, &path)
        };
        match outcome {
            // Another session was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => arrived |= outcome?,
        }
    }
    if !leftovers.is_empty() {
        disk.sync_dir(directory)?;
    }
    Ok(arrived)
}
