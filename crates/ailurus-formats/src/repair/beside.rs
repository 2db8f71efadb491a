//! Files that are written beside a mailbox, under names that were free.

use super::plan::{Piece, Plan};
use crate::disk::Disk;
use crate::journal::{BLOCK, read_up_to};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many names are tried.
const MOST_NAMES: u32 = 10_000;

/// Returns `NAME.ENDING`, `NAME.ENDING1`, … in the directories, those of the first one first.
pub(crate) fn names<'p>(
    path: &'p Path,
    directories: &'p [PathBuf],
    ending: &'p str,
) -> impl Iterator<Item = PathBuf> + 'p {
    directories.iter().flat_map(move |directory| {
        (0..MOST_NAMES).map(move |number| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".");
            name.push(ending);
            if number > 0 {
                name.push(number.to_string());
            }
            directory.join(name)
        })
    })
}

/// Makes something under the first name that is free, in the first directory where that is allowed.
pub(crate) fn make_free<T>(
    names: impl Iterator<Item = PathBuf>,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    let mut denied: Option<(PathBuf, io::Error)> = None;
    for path in names {
        if denied.as_ref().is_some_and(|(directory, _)| Some(directory.as_path()) == path.parent()) {
            continue;
        }
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if crate::files::may_not_write(&error) => {
                denied = Some((path.parent().unwrap_or(Path::new(".")).into(), error));
            }
            Err(error) => return Err(error),
        }
    }
    Err(denied.map_or_else(|| io::ErrorKind::AlreadyExists.into(), |(_, error)| error))
}

/// Writes octets one behind the other.
pub(crate) struct Output<'d> {
    disk: &'d dyn Disk,
    file: &'d File,
    at: u64,
    pending: Vec<u8>,
}

impl<'d> Output<'d> {
    pub(crate) fn new(disk: &'d dyn Disk, file: &'d File) -> Self {
        Self { disk, file, at: 0, pending: Vec::new() }
    }

    pub(crate) fn add(&mut self, octets: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(octets);
        if self.pending.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// Adds a range of another file. An error if that is shorter by now.
    pub(crate) fn copy(&mut self, from: &File, range: Range<u64>) -> io::Result<()> {
        let (mut at, mut block) = (range.start, Vec::new());
        while at < range.end {
            let most = usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK);
            read_up_to(from, at, most, &mut block)?;
            if block.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.add(&block)?;
            at += block.len() as u64;
        }
        Ok(())
    }

    /// Writes what is still here, and syncs the file.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.disk.sync(self.file)?;
        Ok(self.at)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.disk.write_at(self.file, &self.pending, self.at)?;
            self.at += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }
}

/// Writes the salvaged file.
pub(crate) fn write_salvaged(disk: &dyn Disk, to: &File, from: &File, plan: &Plan) -> io::Result<u64> {
    let mut output = Output::new(disk, to);
    for piece in plan.pieces() {
        match piece {
            Piece::Copy(range) => output.copy(from, range.clone())?,
            Piece::New(octets) => output.add(octets)?,
        }
    }
    output.finish()
}

/// Writes what is not in it.
pub(crate) fn write_left(disk: &dyn Disk, to: &File, from: &File, left: &[Range<u64>]) -> io::Result<u64> {
    let mut output = Output::new(disk, to);
    for range in left {
        output.copy(from, range.clone())?;
    }
    output.finish()
}
