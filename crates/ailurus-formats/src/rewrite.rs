//! Rewriting a file in place so that a crash at any instant leaves it whole.
//!
//! The new content is given from its start to its end, in pieces that are either copied from the old content or
//! new. What stays where it is costs nothing; everything else goes into a redo journal (see [`crate::journal`]), in
//! blocks of bounded size. Then [`Rewrite::finish`]
//!
//! 1. syncs the journal and its name,
//! 2. makes the file as long as it must become, reserving the room,
//! 3. writes the changes in place, cuts the file, syncs it,
//! 4. removes the journal.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;
    use crate::journal::{Recovery, recover};
    use ailurus_store::Notices;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A disk whose process dies at a change.
    #[derive(Debug)]
    struct Mortal {
        left: AtomicUsize,
        dead: std::sync::atomic::AtomicBool,
    }

    impl Mortal {
        fn shared(left: usize) -> Arc<dyn Disk> {
            Arc::new(Self { left: AtomicUsize::new(left), dead: false.into() })
        }

        fn change(&self) -> io::Result<()> {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| io::Error::other("dead"))
        }
    }

    impl Disk for Mortal {
        fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
            self.change()?;
            Os.create_new(path, mode)
        }
        fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
            if let Err(dead) = self.change() {
                // The last write of a killed process may be done in part, by pages.
                if !self.dead.swap(true, Ordering::SeqCst) {
                    let to_page = usize::try_from(offset.next_multiple_of(4096) - offset).unwrap();
                    let pages = data.len().saturating_sub(to_page) / 2 / 4096 * 4096;
                    Os.write_at(
                        file,
                        &data[..if to_page < data.len() { to_page + pages } else { 0 }],
                        offset,
                    )?;
                }
                return Err(dead);
            }
            Os.write_at(file, data, offset)
        }
        fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
            self.change()?;
            Os.set_len(file, len)
        }
        fn sync(&self, _: &File) -> io::Result<()> {
            self.change()
        }
        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            self.change()
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.change()?;
            Os.rename(from, to)
        }
        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.change()?;
            Os.link(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.change()?;
            Os.remove(path)
        }
        fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
            self.change()?;
            Os.make_dir(path, mode)
        }
        fn remove_dir(&self, path: &Path) -> io::Result<()> {
            self.change()?;
            Os.remove_dir(path)
        }
        fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
            self.change()?;
            Os.set_mode(file, mode)
        }
        fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
            self.change()?;
            Os.set_times(file, accessed, modified)
        }
        fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
            self.change()?;
            Os.reserve(file, from, to)
        }
    }

    #[derive(Clone, Debug)]
    enum Piece {
        Copy(Range<u64>),
        Literal(Vec<u8>),
    }

    fn expected(old: &[u8], plan: &[Piece]) -> Vec<u8> {
        let mut new = Vec::new();
        for piece in plan {
            match piece {
                Piece::Copy(range) => {
                    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                    new.extend_from_slice(&old[range]);
                }
                Piece::Literal(octets) => new.extend_from_slice(octets),
            }
        }
        new
    }

    fn open(path: &Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn run(disk: &Arc<dyn Disk>, path: &Path, plan: &[Piece]) -> Result<(), RewriteError> {
        let file = open(path);
        let places = Places::of(path, &file, path.parent().unwrap()).unwrap();
        let mut rewrite = Rewrite::begin(disk, &places, &file)?;
        for piece in plan {
            match piece {
                Piece::Copy(range) => rewrite.copy(range.clone())?,
                Piece::Literal(octets) => rewrite.literal(octets)?,
            }
        }
        rewrite.finish()
    }

    fn repair(disk: &Arc<dyn Disk>, path: &Path) -> Result<Recovery, RewriteError> {
        let file = open(path);
        let places = Places::of(path, &file, path.parent().unwrap()).unwrap();
        recover(disk, &Notices::default(), &places, &file)
    }

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    /// Kills a rewrite at each of its changes, and the recovery at each of its changes too; `mail` comes between.
    fn survives(old: &[u8], plan: &[Piece], mail: &[u8]) {
        let new = expected(old, plan);
        let joined = |content: &[u8]| [content, mail].concat();
        for first in 0..100 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("box");
            std::fs::write(&path, old).unwrap();
            let alive = run(&Mortal::shared(first), &path, plan).is_ok();
            let mut content = std::fs::read(&path).unwrap();
            content.extend_from_slice(mail);
            std::fs::write(&path, &content).unwrap();
            for second in (0..100).step_by(1 + first % 3) {
                if repair(&Mortal::shared(second), &path).is_ok() {
                    break;
                }
            }
            assert_ne!(repair(&Os::shared(), &path).unwrap(), Recovery::Orphaned, "killed at {first}");
            let now = std::fs::read(&path).unwrap();
            assert!(now == joined(&new) || (!alive && now == joined(old)), "killed at {first}");
            let left: Vec<_> = std::fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| name != "box" && !name.to_string_lossy().ends_with(".new"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
            if alive {
                return;
            }
        }
        panic!("the rewrite never ends");
    }

    #[test]
    fn a_shorter_content_survives_every_kill() {
        let old = noise(1, 700_000);
        let plan = [Piece::Copy(0..1000), Piece::Copy(2000..400_000), Piece::Copy(400_100..700_000)];
        survives(&old, &plan, b"");
        survives(&old, &plan, b"From new mail\n");
        survives(&old, &plan, &noise(5, 3000));
    }

    #[test]
    fn a_longer_content_survives_every_kill() {
        let old = noise(2, 700_000);
        let plan = [
            Piece::Copy(0..5000),
            Piece::Literal(noise(3, 1200)),
            Piece::Copy(5000..700_000),
            Piece::Literal(b"end\n".to_vec()),
        ];
        survives(&old, &plan, b"");
        survives(&old, &plan, b"From new mail\n");
        survives(&old, &plan, &noise(6, 5000));
    }

    #[test]
    fn patches_survive_every_kill() {
        let old = noise(4, 100_000);
        let plan = [
            Piece::Copy(0..500),
            Piece::Literal(noise(7, 60)),
            Piece::Copy(560..30_000),
            Piece::Literal(noise(8, 60)),
            Piece::Copy(30_060..100_000),
        ];
        survives(&old, &plan, b"");
        survives(&old, &plan, b"From new mail\n");
        survives(&old, &[Piece::Copy(0..40)], b"");
        survives(b"", &[Piece::Literal(noise(9, 600))], b"");
        survives(&noise(9, 600), &[Piece::Literal(noise(10, 600))], b"x");
    }

    #[test]
    fn what_stays_costs_nothing_and_one_unit_has_no_journal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        let old = noise(1, 5000);
        std::fs::write(&path, &old).unwrap();
        run(&Mortal::shared(0), &path, &[Piece::Copy(0..2000), Piece::Copy(2000..5000)]).unwrap();
        let patch = [Piece::Copy(0..600), Piece::Literal(b"patch".to_vec()), Piece::Copy(605..5000)];
        // One write and one sync.
        run(&Mortal::shared(2), &path, &patch).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected(&old, &patch));
    }

    #[test]
    fn a_foreign_change_keeps_the_file_and_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        let old = noise(1, 50_000);
        std::fs::write(&path, &old).unwrap();
        // Killed after the journal is safe and one block is in place.
        let plan = [Piece::Copy(700..50_000)];
        let killed = (0..50).find(|left| {
            std::fs::write(&path, &old).unwrap();
            let failed = run(&Mortal::shared(*left), &path, &plan);
            let interrupted = matches!(failed, Err(RewriteError::Interrupted(_)));
            if !interrupted {
                repair(&Os::shared(), &path).unwrap();
            }
            interrupted
        });
        assert!(killed.is_some());
        let mut foreign = std::fs::read(&path).unwrap();
        foreign[30_000] ^= 1;
        std::fs::write(&path, &foreign).unwrap();
        assert_eq!(repair(&Os::shared(), &path).unwrap(), Recovery::Orphaned);
        assert_eq!(std::fs::read(&path).unwrap(), foreign);
        assert!(directory.path().join(".box.ailurus-journal.orphan").exists());
    }

    #[test]
    fn a_journal_of_somebody_else_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        std::fs::write(&path, "mail").unwrap();
        let journal = directory.path().join(".box.ailurus-journal");
        std::fs::write(&journal, "x").unwrap();
        std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o666)).unwrap();
        let file = open(&path);
        let places = Places::of(&path, &file, directory.path()).unwrap();
        assert!(!places.any());
        // The journal then goes to the home.
        run(&Os::shared(), &path, &[Piece::Literal(noise(1, 2000))]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), noise(1, 2000));
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let copy = (0u64..6000, 0u64..3000)
            .prop_map(|(start, length)| Piece::Copy(start..(start + length).min(6000)));
        let literal = proptest::collection::vec(any::<u8>(), 0..1500).prop_map(Piece::Literal);
        proptest::collection::vec(prop_oneof![copy, literal], 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_plan_survives_every_kill(plan in pieces(), mail in 0usize..2000) {
            survives(&noise(11, 6000), &plan, &noise(12, mail));
        }
    }
}
