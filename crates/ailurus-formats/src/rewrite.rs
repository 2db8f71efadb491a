//! Rewriting a file in place so that a crash at any instant leaves it whole.
//!
//! The new content is given from its start to its end, in pieces that are either copied from the old content or
//! new. What stays where it is costs nothing; everything else goes into a redo journal (see [`crate::journal`]), in
//! blocks of bounded size. Then [`Rewrite::finish`]
//!
//! 1. syncs the journal and its name,
//! 2. makes the file as long as it must become, reserving the room,
//! 3. writes the changes in place, cuts the file, syncs it,
//! 4. removes the journal, and makes that safe as well.
//!
//! Until 1 is done the file is untouched and a dead process leaves only an unfinished journal; after that the next
//! opener finishes the work. A change within one unit of 512 octets, or a mere cut, is atomic by itself and has no
//! journal.

use crate::disk::Disk;
use crate::journal::{BLOCK, IfFull, Places, UNIT, Writer, read_up_to, tail_checksum};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a rewrite failed, by what became of the file.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The file is as it was.
    #[error("cannot prepare the rewrite: {0}")]
    Unchanged(#[source] io::Error),
    /// The file is changed in part; its journal is there, and the next opener finishes the work.
    #[error("interrupted rewrite: {0}")]
    Interrupted(#[source] io::Error),
}

impl RewriteError {
    /// Returns what the system said.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Unchanged(error) | Self::Interrupted(error) => error,
        }
    }
}

/// A rewrite being prepared. Dropped without `finish`, nothing happened.
#[derive(Debug)]
pub struct Rewrite<'f> {
    disk: Arc<dyn Disk>,
    places: Places,
    file: &'f File,
    old: Old<'f>,
    position: u64,
    // Copied last, and not yet looked at: runs of messages come in many pieces.
    run: Range<u64>,
    // Changed octets not yet in the journal; they start on a unit's boundary.
    pending: Vec<u8>,
    pending_start: u64,
    replaces: Option<PathBuf>,
    writer: Option<Writer>,
    sync_later: bool,
}

impl<'f> Rewrite<'f> {
    /// Begins to rewrite `file`, open for reading and writing, whose journal may be at `places`. The caller holds
    /// all locks that it needs for that, and has called [`crate::journal::recover`].
    pub fn begin(disk: &Arc<dyn Disk>, places: &Places, file: &'f File) -> Result<Self, RewriteError> {
        let length = file.metadata().map_err(RewriteError::Unchanged)?.len();
        Ok(Self {
            disk: Arc::clone(disk),
            places: places.clone(),
            file,
            old: Old { file, length, start: 0, block: Vec::new() },
            position: 0,
            run: 0..0,
            pending: Vec::new(),
            pending_start: 0,
            replaces: None,
            writer: None,
            sync_later: false,
        })
    }

    /// Begins a rewrite whose journal takes the place of another one that is not worked off.
    pub(crate) fn replacing(
        disk: &Arc<dyn Disk>,
        places: &Places,
        file: &'f File,
        journal: PathBuf,
    ) -> Result<Self, RewriteError> {
        let mut rewrite = Self::begin(disk, places, file)?;
        rewrite.replaces = Some(journal);
        Ok(rewrite)
    }

    /// Returns the length of the new content so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position + (self.run.end - self.run.start)
    }

    /// Adds a range of the old content.
    pub fn copy(&mut self, range: Range<u64>) -> Result<(), RewriteError> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.old.length {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "file is shorter than it was");
            return Err(RewriteError::Unchanged(error));
        }
        if range.start != self.run.end {
            self.end_run().map_err(RewriteError::Unchanged)?;
            self.run = range.start..range.start;
        }
        self.run.end = range.end;
        Ok(())
    }

    /// Adds new octets.
    pub fn literal(&mut self, octets: &[u8]) -> Result<(), RewriteError> {
        if octets.is_empty() {
            return Ok(());
        }
        self.end_run().map_err(RewriteError::Unchanged)?;
        for octets in octets.chunks(BLOCK) {
            let end = self.position + octets.len() as u64;
            // Before the old content is read here: the block that is left is still in memory.
            self.part_from_pending().map_err(RewriteError::Unchanged)?;
            let there = self.old.read(self.position..end).map_err(RewriteError::Unchanged)?;
            if there == octets {
                self.position = end;
            } else {
                self.add(octets).map_err(RewriteError::Unchanged)?;
            }
        }
        Ok(())
    }

    /// Like [`Rewrite::finish`], but a change that needs no journal is left to be synced with what the caller writes
    /// to the file next; for changes that do not matter if they are lost together with that.
    pub fn finish_with_next_sync(mut self) -> Result<(), RewriteError> {
        self.sync_later = true;
        self.finish()
    }

    /// Makes the file what was described. With `Ok`, it is safe on the disk.
    pub fn finish(mut self) -> Result<(), RewriteError> {
        self.end_run().map_err(RewriteError::Unchanged)?;
        let (old_len, new_len) = (self.old.length, self.position);
        self.close_pending(new_len).map_err(RewriteError::Unchanged)?;
        let one_unit = self.pending.len() <= UNIT && old_len == new_len;
        if self.writer.is_none() && self.replaces.is_none() && (self.pending.is_empty() || one_unit) {
            if new_len <= old_len {
                return self.finish_at_once(new_len);
            }
            debug_assert!(false, "the file cannot grow by nothing");
        }
        let tail = tail_checksum(self.file, old_len, new_len).map_err(RewriteError::Unchanged)?;
        self.flush(usize::MAX).map_err(RewriteError::Unchanged)?;
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let path = writer.path().to_owned();
        let if_full = if self.replaces.is_some() { IfFull::Keep } else { IfFull::GiveUp };
        let sealed = match writer.seal(old_len, new_len, tail) {
            Ok(sealed) => sealed,
            Err(error) => {
                // The journal may be complete: it must go, or it would be worked off later. One that replaced
                // another is as good as that one, and has left this path.
                self.disk.remove(&path).ok();
                return Err(RewriteError::Unchanged(error));
            }
        };
        sealed.apply(&self.disk, self.file, old_len, true, if_full)
    }

    fn finish_at_once(&mut self, new_len: u64) -> Result<(), RewriteError> {
        let changed = !self.pending.is_empty();
        if changed {
            let written = self.disk.write_at(self.file, &self.pending, self.pending_start);
            written.map_err(RewriteError::Unchanged)?;
        }
        if new_len < self.old.length {
            self.disk.set_len(self.file, new_len).map_err(RewriteError::Unchanged)?;
        } else if !changed {
            return Ok(());
        }
        if self.sync_later {
            return Ok(());
        }
        self.disk.sync(self.file).map_err(RewriteError::Interrupted)
    }

    fn end_run(&mut self) -> io::Result<()> {
        let mut range = std::mem::replace(&mut self.run, 0..0);
        if range.start == self.position {
            self.position = range.end;
            return Ok(());
        }
        while !range.is_empty() {
            self.open_pending()?;
            let count = usize::try_from(range.end - range.start).unwrap_or(BLOCK).min(BLOCK);
            let before = self.pending.len();
            self.pending.resize(before + count, 0);
            use std::os::unix::fs::FileExt;
            self.file.read_exact_at(&mut self.pending[before..], range.start)?;
            range.start += count as u64;
            self.position += count as u64;
            self.flush_full()?;
        }
        Ok(())
    }

    fn add(&mut self, octets: &[u8]) -> io::Result<()> {
        if octets.is_empty() {
            return Ok(());
        }
        self.open_pending()?;
        self.pending.extend_from_slice(octets);
        self.position += octets.len() as u64;
        self.flush_full()
    }

    /// Makes `pending` end at the position: what lies between stays as it is, and is only taken along to fill a unit.
    fn open_pending(&mut self) -> io::Result<()> {
        const UNIT64: u64 = UNIT as u64;
        self.part_from_pending()?;
        if self.pending.is_empty() {
            self.pending_start = self.position / UNIT64 * UNIT64;
        }
        self.fill(self.position)
    }

    /// Moves `pending` to the journal if the position is in another unit.
    fn part_from_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() || self.pending_end().next_multiple_of(UNIT as u64) >= self.position {
            return Ok(());
        }
        self.close_pending(self.position)?;
        self.flush(usize::MAX)
    }

    /// Fills the last unit of `pending` with what is there, as far as the new content reaches.
    fn close_pending(&mut self, new_len: u64) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.fill(self.pending_end().next_multiple_of(UNIT as u64).min(new_len))
    }

    fn fill(&mut self, to: u64) -> io::Result<()> {
        let end = self.pending_end();
        let octets = self.old.read(end..to.max(end))?;
        self.pending.extend_from_slice(octets);
        Ok(())
    }

    fn pending_end(&self) -> u64 {
        self.pending_start + self.pending.len() as u64
    }

    fn flush_full(&mut self) -> io::Result<()> {
        if self.pending.len() < BLOCK {
            return Ok(());
        }
        self.flush(self.pending.len() / UNIT * UNIT)
    }

    /// Moves the first octets of `pending` to the journal.
    fn flush(&mut self, count: usize) -> io::Result<()> {
        let count = count.min(self.pending.len());
        if count == 0 {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::create(&self.disk, &self.places, self.replaces.clone())?),
        };
        let end = self.pending_start + count as u64;
        let old = self.old.read(self.pending_start..end)?;
        writer.push(self.pending_start, old, &self.pending[..count])?;
        self.pending.drain(..count);
        self.pending_start = end;
        Ok(())
    }
}

impl Drop for Rewrite<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abandon();
        }
    }
}

/// The old content, read in blocks.
#[derive(Debug)]
struct Old<'f> {
    file: &'f File,
    length: u64,
    start: u64,
    block: Vec<u8>,
}

impl Old<'_> {
    /// Returns the range, as far as the old content reaches.
    fn read(&mut self, range: Range<u64>) -> io::Result<&[u8]> {
        const LEAST: u64 = 4096;
        let range = range.start.min(self.length)..range.end.min(self.length);
        if range.is_empty() {
            return Ok(&[]);
        }
        let inside = range.start >= self.start && range.end <= self.start + self.block.len() as u64;
        if !inside {
            let start = range.start / LEAST * LEAST;
            let end = range.end.next_multiple_of(LEAST);
            let count = usize::try_from(end - start).map_err(io::Error::other)?;
            read_up_to(self.file, start, count, &mut self.block)?;
            self.start = start;
        }
        let place = |at: u64| usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let octets = self.block.get(place(range.start)..place(range.end));
        octets.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "file is shorter than it was"))
    }
}
