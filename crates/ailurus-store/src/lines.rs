//! Files of the user's with a line for each mailbox: how they are read and changed (`.mailboxlist`, `.mailboxuse`).
//!
//! Our own sessions take `flock` on the file among themselves. Lines are added at the end, and a torn line is cut back; they are
//! removed or changed by writing all beside and renaming. Lines that are not asked about stay as they are.

use crate::Environment;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The longest line that means anything, in octets without the LF.
pub(crate) const MAX_LINE: usize = 1022;
/// How long another session of ours may hold the lock: it never waits for anything while it does.
const LOCK_TRIES: u32 = 300;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A file of lines in the home.
pub(crate) struct Lines {
    home: PathBuf,
    name: &'static str,
    beside: &'static str,
}

/// What becomes of a line.
pub(crate) enum Rewrite {
    Keep,
    Drop,
    Change(Vec<u8>),
}

/// At what a change of the whole file failed; the file is as it was, but for the last.
pub(crate) enum WriteFailure {
    Create(io::Error),
    Write(io::Error),
    Rename(io::Error),
}

impl Lines {
    pub(crate) fn new(environment: &Environment, name: &'static str, beside: &'static str) -> Self {
        let home = &environment.home;
        // In a closed box the path of the home is empty, and it is the root.
        let home = if home.as_os_str().is_empty() { Path::new("/") } else { home };
        Self { home: home.into(), name, beside }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.join(self.name)
    }

    pub(crate) fn sync_home(&self) -> io::Result<()> {
        File::open(&self.home)?.sync_all()
    }

    /// Writes the file anew, which is locked.
    pub(crate) fn replace(
        &self,
        file: &File,
        rewrite: &mut dyn FnMut(&[u8]) -> Rewrite,
    ) -> Result<(), WriteFailure> {
        let beside = self.home.join(self.beside);
        let mut written = || {
            let temporary = create_beside(file, &beside).map_err(WriteFailure::Create)?;
            copy(file, &temporary, rewrite)
                .and_then(|()| temporary.sync_all())
                .map_err(WriteFailure::Write)?;
            std::fs::rename(&beside, self.path()).map_err(WriteFailure::Rename)?;
            self.sync_home().map_err(WriteFailure::Rename)
        };
        written().inspect_err(|_| {
            // Nothing is lost with it: the old file is still there.
            drop(std::fs::remove_file(&beside));
        })
    }

    /// Opens the file to read and write, under the lock of our own sessions.
    pub(crate) fn open_locked(&self, create: bool) -> io::Result<File> {
        for _ in 0..LOCK_TRIES {
            let file = self.open_writable(create)?;
            match file.try_lock() {
                Ok(()) if self.is_current(&file)? => return Ok(file),
                // Replaced while we waited.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE),
                // No locks here (some network file systems): then it is as with the reference.
                Err(TryLockError::Error(_)) => return Ok(file),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn is_current(&self, file: &File) -> io::Result<bool> {
        let mine = file.metadata()?;
        match std::fs::metadata(self.path()) {
            Ok(there) => Ok((there.dev(), there.ino()) == (mine.dev(), mine.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn open_writable(&self, create: bool) -> io::Result<File> {
        match self.open(true) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                // Its mode is what the umask leaves of 0666, as with the reference.
                match File::options().read(true).append(true).create_new(true).open(self.path()) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.open(true),
                    file => file,
                }
            }
            file => file,
        }
    }

    /// Opens what is there if it is a file: a FIFO would block.
    pub(crate) fn open(&self, write: bool) -> io::Result<File> {
        let path = self.path();
        if !std::fs::metadata(&path)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The reference takes no lock: what it adds meanwhile is not to be written over.
        File::options().read(true).append(write).open(path)
    }
}

fn create_beside(file: &File, beside: &Path) -> io::Result<File> {
    // Left there by a crash, or by the reference, which leaves it behind.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let temporary = File::options().write(true).create_new(true).open(beside)?;
    temporary.set_permissions(file.metadata()?.permissions())?;
    Ok(temporary)
}

/// Calls back with each line.
pub(crate) fn each_line(file: &File, found: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    each_piece(file, &mut |piece| {
        piece.line().into_iter().for_each(&mut *found);
        Ok(())
    })
}

pub(crate) fn contains_line(file: &File, wanted: &[u8]) -> io::Result<bool> {
    let mut found = false;
    each_line(file, &mut |line| found |= line == wanted)?;
    Ok(found)
}

/// Appends a line, on a line of its own even if the last one lacks its LF; on failure the file is as before.
pub(crate) fn append_line(mut file: &File, line: &[u8]) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut text = Vec::with_capacity(line.len() + 2);
    if end > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        text.extend((last != *b"\n").then_some(b'\n'));
    }
    text.extend_from_slice(line);
    text.push(b'\n');
    file.write_all(&text).and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a name would be another mailbox's name.
        drop(file.set_len(end));
    })
}

fn copy(file: &File, to: &File, rewrite: &mut dyn FnMut(&[u8]) -> Rewrite) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    each_piece(file, &mut |piece| {
        match piece.line().map(&mut *rewrite) {
            Some(Rewrite::Drop) => return Ok(()),
            Some(Rewrite::Change(line)) => to.write_all(&line)?,
            Some(Rewrite::Keep) | None => to.write_all(piece.octets)?,
        }
        if piece.ends { to.write_all(b"\n") } else { Ok(()) }
    })?;
    to.flush()
}

/// A line without its LF, or a part of one that is too long.
#[derive(Clone, Copy, Debug)]
struct Piece<'p> {
    octets: &'p [u8],
    starts: bool,
    ends: bool,
}

impl<'p> Piece<'p> {
    fn line(&self) -> Option<&'p [u8]> {
        (self.starts && self.ends).then_some(self.octets)
    }
}

/// Calls back with the whole file from its start, in lines, or in pieces of those that are too long.
fn each_piece(file: &File, found: &mut dyn FnMut(Piece<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut pieces = Pieces::new(file)?;
    while let Some(piece) = pieces.next_piece()? {
        found(piece)?;
    }
    Ok(())
}

/// A file that is read from its start, in lines, or in pieces of those that are too long.
pub(crate) struct Pieces<F> {
    reader: BufReader<F>,
    line: Vec<u8>,
    starts: bool,
}

impl<F: Read + Seek> Pieces<F> {
    pub(crate) fn new(mut file: F) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { reader: BufReader::new(file), line: Vec::new(), starts: true })
    }

    /// Returns the next line; those that are too long are passed over.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(piece) = self.next_piece()? {
            if let Some(line) = piece.line() {
                return Ok(Some(line.to_vec()));
            }
        }
        Ok(None)
    }

    fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.line.clear();
        let most = MAX_LINE + 1;
        let taken = self.reader.by_ref().take(most as u64).read_until(b'\n', &mut self.line)?;
        if taken == 0 {
            return Ok(None);
        }
        let ends = self.line.ends_with(b"\n") || taken < most;
        let octets = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let starts = std::mem::replace(&mut self.starts, ends);
        Ok(Some(Piece { octets, starts, ends }))
    }
}
