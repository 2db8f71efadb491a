//! Taking messages out of index and status file.
//!
//! The index is first. A message that it does not know, and the status file does, is taken back by whoever opens the
//! mailbox next ([`super::repair`]), with its flags: an expunge that was cut off between the two has not happened. So it is
//! done only when the status file is written, too.

use super::directory::{Directory, Exclusive, Part};
use super::index::{Shape, WIDTH};
use super::mailbox::MixMailbox;
use super::merge::{Form, Item, Trouble, Walk};
use super::reclaim::Telling;
use super::status;
use super::text::{End, Sequence};
use crate::journal::{BLOCK, read_up_to};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Error, Level, Manner, Result};
use ailurus_types::UidSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

impl MixMailbox {
    /// Takes messages out, and reclaims their space if no other session knows of them.
    pub(super) fn expunge(&mut self, lock: Exclusive<'_>, gone: &UidSet) -> Result<()> {
        let seq = self.next_sequence(&[self.index.sequence.value])?;
        match self.rewrite_index(lock, gone, seq) {
            Ok(shape) => self.index = shape,
            Err(error) => return Err(self.failed(error, Part::Index)),
        }
        let seq = self.next_sequence(&[self.status.sequence.value])?;
        let written = self.rewrite_status_with(lock, &[], gone, seq);
        self.drop_messages(gone);
        written?;
        let text = format!("Expunged {} messages", gone.count());
        self.opened.directory.tell(Manner::Session, Level::Info, text);
        self.reclaim(lock, Telling::No)
    }

    /// Takes records of messages that are gone out of the status file. They do no harm if that cannot be done.
    pub(super) fn drop_stale_records(&mut self, lock: Exclusive<'_>) -> Result<()> {
        let Err(error) = self.rewrite_status(lock) else { return Ok(()) };
        if self.lost {
            return Err(error);
        }
        let text = format!("{}: {error}", self.opened.directory.part(Part::Status).display());
        self.opened.directory.tell(Manner::Silent, Level::Log, text);
        Ok(())
    }

    /// Writes the index without these messages.
    pub(super) fn rewrite_index(
        &self,
        lock: Exclusive<'_>,
        gone: &UidSet,
        seq: u64,
    ) -> Result<Shape, RewriteError> {
        let directory = &self.opened.directory;
        let places = directory.places(Part::Index, lock.index).map_err(lost)?;
        let mut rewrite = Rewrite::begin(&directory.disk, &places, lock.index)?;
        let written = self.copy_index(lock, gone, seq, &mut rewrite);
        match written.and_then(|shape| rewrite.finish().map(|()| shape)) {
            Err(RewriteError::Unchanged(error)) if is_full(&error) && self.index.is_usual => {
                let line = Sequence::line(seq);
                let stay = self.stay(gone);
                let len = compact(directory, Part::Index, lock.index, WIDTH, &line, &stay)?;
                let sequence = Sequence::parse(&line).unwrap_or_default();
                let last = len.saturating_sub(WIDTH as u64).max(sequence.len.into());
                Ok(Shape { sequence, len, last, end: len, is_usual: true })
            }
            written => written,
        }
    }

    /// Writes the status file without these messages where there is no room for a journal.
    pub(super) fn compact_status(
        &self,
        lock: Exclusive<'_>,
        gone: &UidSet,
        seq: u64,
    ) -> Result<status::Shape, RewriteError> {
        let directory = &self.opened.directory;
        let line = Sequence::line(seq);
        let len = compact(directory, Part::Status, lock.status, status::WIDTH, &line, &self.stay(gone))?;
        let sequence = Sequence::parse(&line).unwrap_or_default();
        Ok(status::Shape { sequence, len, ..self.status })
    }

    /// Tells for each message whether it stays.
    fn stay(&self, gone: &UidSet) -> Vec<bool> {
        self.snapshot.messages.iter().map(|message| !gone.contains(message.uid())).collect()
    }

    /// Describes the index without these messages.
    fn copy_index(
        &self,
        lock: Exclusive<'_>,
        gone: &UidSet,
        seq: u64,
        to: &mut Rewrite<'_>,
    ) -> Result<Shape, RewriteError> {
        let directory = &self.opened.directory;
        to.literal(&Sequence::line(seq))?;
        let sequence = Sequence::parse(&Sequence::line(seq)).unwrap_or_default();
        let mut shape = Shape { sequence, is_usual: sequence.len == 11, ..Shape::default() };
        shape.last = to.position();
        let mut walk = Walk::new(directory, lock.index, self.index.sequence.len.into());
        let mut line = Vec::new();
        loop {
            let (offset, item) = match walk.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(Trouble::Damage { what, .. }) => {
                    return Err(RewriteError::Unchanged(io::Error::other(what)));
                }
                Err(Trouble::Other(error)) => return Err(lost(error)),
            };
            let range = offset..walk.offset();
            match item {
                Item::Record(entry, _) | Item::Uncommitted(entry) if gone.contains(entry.uid) => {}
                Item::Record(_, Form::Other(end)) if end != End::Crlf => {
                    // The reference ends all lines with CRLF.
                    read_up_to(lock.index, range.start, length(&range), &mut line)
                        .map_err(RewriteError::Unchanged)?;
                    line.truncate(line.len() - usize::from(end == End::Lf));
                    line.extend_from_slice(b"\r\n");
                    shape.last = to.position();
                    shape.is_usual &= line.len() == WIDTH;
                    to.literal(&line)?;
                }
                Item::Record(..) | Item::Uncommitted(_) => {
                    shape.last = to.position();
                    shape.is_usual &= length(&range) == WIDTH;
                    to.copy(range)?;
                }
                Item::Unknown => {
                    shape.is_usual = false;
                    to.copy(range)?;
                }
                Item::Empty => {}
                Item::End => break,
            }
        }
        shape.end = to.position();
        shape.len = shape.end;
        Ok(shape)
    }
}

/// Closes the gaps between records of the usual width, in place and without a journal: who expunges for want of room has
/// none for one. Should we be killed within it, there are whole records twice, or two in one: what is readable and the
/// data files give the index again.
fn compact(
    directory: &Directory,
    part: Part,
    file: &File,
    width: usize,
    sequence: &[u8],
    stay: &[bool],
) -> Result<u64, RewriteError> {
    let io = RewriteError::Interrupted;
    let start = sequence.len() as u64;
    if sequence.len() != 11 {
        return Err(RewriteError::Unchanged(io::ErrorKind::StorageFull.into()));
    }
    let text = format!("{}: no room for a journal", directory.part(part).display());
    directory.tell(Manner::Silent, Level::Log, text);
    let (mut from, mut to) = (start, start);
    let mut block = Vec::new();
    directory.disk.write_at(file, sequence, 0).map_err(io)?;
    for stay in stay.chunks(BLOCK / width) {
        block.resize(stay.len() * width, 0);
        file.read_exact_at(&mut block, from).map_err(io)?;
        from += block.len() as u64;
        let kept = block.chunks(width).zip(stay).filter(|(_, stays)| **stays).flat_map(|(record, _)| record);
        let kept: Vec<u8> = kept.copied().collect();
        directory.disk.write_at(file, &kept, to).map_err(io)?;
        to += kept.len() as u64;
    }
    directory.disk.set_len(file, to).map_err(io)?;
    directory.disk.sync(file).map_err(io)?;
    Ok(to)
}

fn lost(error: Error) -> RewriteError {
    RewriteError::Unchanged(io::Error::other(error))
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
