//! Where messages wait until an append is committed: in memory while they are small, else in a file without a name.
//!
//! The mailbox is locked for the commit alone. A client that sends slowly keeps nobody waiting.

use ailurus_store::Environment;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MOST_IN_MEMORY: usize = 1024 * 1024;
const BLOCK: usize = 256 * 1024;

/// Octets in the order in which they came.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Where files may be made, best first: beside the mailbox, else where everybody may.
    places: [PathBuf; 2],
    /// What is not in the file yet.
    memory: Vec<u8>,
    file: Option<File>,
    in_file: u64,
}

impl Spool {
    /// Returns an empty one for messages to this mailbox.
    pub(crate) fn new(environment: &Environment, mailbox: &Path) -> Self {
        let directory = mailbox.parent().unwrap_or(Path::new("/")).to_path_buf();
        let places = [directory, environment.lock_dir.clone()];
        Self { places, memory: Vec::new(), file: None, in_file: 0 }
    }

    /// Returns how many octets there are.
    pub(crate) fn len(&self) -> u64 {
        self.in_file + self.memory.len() as u64
    }

    /// Adds octets.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.memory.len() + octets.len() > MOST_IN_MEMORY {
            let file = match self.file.take() {
                Some(file) => file,
                None => nameless(&self.places)?,
            };
            let file = self.file.insert(file);
            for piece in [&self.memory[..], octets] {
                file.write_all_at(piece, self.in_file)?;
                self.in_file += piece.len() as u64;
            }
            self.memory.clear();
            return Ok(());
        }
        self.memory.extend_from_slice(octets);
        Ok(())
    }

    /// Adds the octets, and empties the vector.
    pub(crate) fn push(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
        self.write(octets)?;
        octets.clear();
        Ok(())
    }

    /// Gives the octets `from..to` in pieces.
    pub(crate) fn read<E>(
        &self,
        from: u64,
        to: u64,
        failed: impl Fn(io::Error) -> E,
        give: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = from;
        let mut block = Vec::new();
        while let Some(file) = self.file.as_ref().filter(|_| at < to.min(self.in_file)) {
            let most = usize::try_from(to.min(self.in_file) - at).unwrap_or(BLOCK).min(BLOCK);
            block.resize(most, 0);
            file.read_exact_at(&mut block, at).map_err(&failed)?;
            give(&block)?;
            at += most as u64;
        }
        let skip = |at: u64| usize::try_from(at - self.in_file).unwrap_or(usize::MAX);
        if at < to { give(self.memory.get(skip(at)..skip(to)).unwrap_or_default()) } else { Ok(()) }
    }
}

/// Makes a file that has no name, or loses it at once where the file system cannot do without.
fn nameless(places: &[PathBuf; 2]) -> io::Result<File> {
    for place in places {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(place, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(file.into());
        }
    }
    named_and_removed(&places[1])
}

fn named_and_removed(directory: &Path) -> io::Result<File> {
    for n in 0..1000 {
        let path = directory.join(format!(".ailurus-spool.{}.{n}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out_from_memory_and_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut environment = Environment::new("alice", "/home".into(), "/spool".into(), "h");
        environment.lock_dir = directory.path().into();
        let mut spool = Spool::new(&environment, &directory.path().join("missing/box"));
        let mut all = Vec::new();
        for n in 0..40u8 {
            let piece = vec![n; 100_000];
            spool.write(&piece).unwrap();
            all.extend_from_slice(&piece);
        }
        assert!(spool.file.is_some() && !spool.memory.is_empty());
        assert_eq!(spool.len(), all.len() as u64);
        for (from, to) in [(0, all.len()), (999_999, 3_950_001), (3_950_000, 3_950_001), (5, 5)] {
            let mut got = Vec::new();
            let mut give = |piece: &[u8]| {
                got.extend_from_slice(piece);
                Ok(())
            };
            spool.read(from as u64, to as u64, |error| error, &mut give).unwrap();
            assert!(got == all[from..to], "{from}..{to}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(named_and_removed(directory.path()).is_ok());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
