//! The redo journal of a file that is rewritten in place.
//!
//! Mailboxes that other programs hold open by inode cannot be replaced by rename, and moving octets about inside
//! one would lose mail if we were killed half way. So [`Rewrite`] first writes all that
//! will be different into a journal, syncs it, and only then touches the mailbox. Whoever of us opens the mailbox
//! next finds the journal and finishes the work with [`recover`].
//!
//! # Layout
//!
//! Numbers are little endian. A journal whose header or body does not agree with its checksums was never finished:
//! the mailbox was not touched, and the journal holds nothing that the mailbox does not.
//!
//! | octets | header |
//! |---|---|
//! | 16 | `ailurus-redo-01` LF |
//! | 8, 8 | device and inode of the mailbox |
//! | 8, 8 | its length before, its length after |
//! | 8, 8 | length of the body, checksum of the body |
//! | 8 | checksum of the first 64 KiB of what is cut off, where the mailbox becomes shorter |
//! | 8 | checksum of the header so far |
//!
//! The body is a series of records in ascending order: offset (8), length (4), zero (4), for each unit of 512 octets
//! the checksum of what was there before (8 each), then the new octets. A record starts on a unit's boundary and
//! covers whole units, but where the new content ends. So each unit is either as before or as after, whatever
//! instant the power failed at: no disk writes less than one.
//!
//! # Recovery
//!
//! Under the locks that a rewrite needs. Every unit of the records must be as before or as after, else somebody
//! else changed the mailbox since: it is left alone, and the journal is renamed to `….orphan` and kept, since it may
//! hold mail. Mail that others appended after the crash is found beyond the length before or after, by what lies
//! between: it is moved behind the new content by a journal of its own, which replaces the first one by rename and
//! holds all that the first one held.
//!
//! # Place
//!
//! `.NAME.ailurus-journal` beside the mailbox, or `.NAME.INODE.ailurus-journal` in the user's home where that directory
//! is not writable and the mailbox is the user's own; a very long name is cut. The spool directory is writable by
//! everybody: a journal counts only if it is a plain file that nobody but its owner may write, and that belongs to us
//! or to the mailbox's owner, or else was put there by somebody who may write the mailbox in any case. Those who may
//! read and write the mailbox may read it; who may not does not use the mailbox either while it is there.

mod places;
mod record;
mod sealed;
mod writer;

pub use places::Places;
pub(crate) use record::{checksum, mix};
pub(crate) use sealed::{IfFull, read_up_to, tail_checksum};
pub(crate) use writer::Writer;

use crate::disk::Disk;
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Level, Notices};
use places::{Found, free_names};
use record::Checking;
use sealed::{Sealed, Survey};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

/// The unit that a disk writes wholly or not at all.
pub(crate) const UNIT: usize = 512;
/// How much is held in memory at a time.
pub(crate) const BLOCK: usize = 256 * 1024;

/// What [`recover`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recovery {
    /// There was no journal, or one that was never finished.
    Nothing,
    /// A rewrite was finished.
    Finished,
    /// The mailbox was changed by somebody else since: it is as it was, and the journal is kept aside.
    Orphaned,
}

/// Finishes what a dead process began. `file` is the mailbox, open for reading and writing; the caller holds every
/// lock that a rewrite needs.
pub fn recover(
    disk: &Arc<dyn Disk>,
    notices: &Notices,
    places: &Places,
    file: &File,
) -> Result<Recovery, RewriteError> {
    let mut done = Recovery::Nothing;
    for path in &places.paths {
        let journal = match places.find(path) {
            Found::Nothing => continue,
            Found::Journal(journal) => journal,
            Found::Closed(error) => {
                let text = format!("{} is to be finished by who wrote it: {error}", path.display());
                notices.tell(Level::Log, text);
                return Err(RewriteError::Unchanged(error));
            }
        };
        let journal = match Sealed::open(path, journal).map_err(RewriteError::Unchanged)? {
            Some(journal) if journal.header.inode == places.inode => journal,
            Some(_) => {
                done = put_aside(disk, notices, path, "it belongs to another file");
                continue;
            }
            None => {
                discard(disk, path);
                continue;
            }
        };
        done = match journal.survey(file, places.whole_units).map_err(RewriteError::Unchanged)? {
            Some(survey) => {
                finish(disk, places, &journal, file, &survey)?;
                notices.tell(Level::Log, format!("finished an interrupted rewrite from {}", path.display()));
                Recovery::Finished
            }
            None => put_aside(disk, notices, path, "the mailbox was changed by another program"),
        };
    }
    Ok(done)
}

fn finish(
    disk: &Arc<dyn Disk>,
    places: &Places,
    journal: &Sealed,
    file: &File,
    survey: &Survey,
) -> Result<(), RewriteError> {
    let new_len = journal.header.new_len;
    let appended = survey.tail..survey.length;
    if survey.tail == new_len || appended.is_empty() {
        return journal.apply(disk, file, survey.length, appended.is_empty(), IfFull::Keep);
    }
    let mut rewrite = Rewrite::replacing(disk, places, file, journal.path.clone())?;
    let mut records = journal.records(Checking::Done);
    while let Some(record) = records.next().map_err(RewriteError::Unchanged)? {
        let unchanged = rewrite.position()..record.offset;
        rewrite.copy(unchanged)?;
        rewrite.literal(record.data)?;
    }
    let unchanged = rewrite.position()..new_len;
    rewrite.copy(unchanged)?;
    rewrite.copy(appended)?;
    rewrite.finish()
}

/// Keeps a journal that cannot be used under another name: mail in it is never deleted.
fn put_aside(disk: &Arc<dyn Disk>, notices: &Notices, path: &Path, why: &str) -> Recovery {
    let aside = free_names(path, ".orphan").find(|aside| aside.symlink_metadata().is_err());
    let aside = aside.filter(|aside| disk.rename(path, aside).is_ok());
    let (kept, path) = (aside.as_deref().unwrap_or(path).display(), path.display());
    notices.tell(Level::Log, format!("{path} was not used, since {why}; it is kept as {kept}"));
    Recovery::Orphaned
}

/// Removes a journal that is done with; an empty one, where it cannot be removed, says the same.
fn discard(disk: &Arc<dyn Disk>, path: &Path) {
    if disk.remove(path).is_err()
        && let Ok(file) = OpenOptions::new().write(true).open(path)
    {
        disk.set_len(&file, 0).ok();
    }
}
