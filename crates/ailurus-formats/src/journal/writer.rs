//! Writing a journal.

use super::places::{Found, Places};
use super::record::{HEADER, Header, checksum, mix};
use super::sealed::Sealed;
use super::{BLOCK, UNIT, discard};
use crate::disk::Disk;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A journal being written.
#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    // Where the journal gets its final name, if that is another.
    replaces: Option<PathBuf>,
    device: u64,
    inode: u64,
    syncs_removal: bool,
    file: File,
    out: Vec<u8>,
    written: u64,
    hash: u64,
}

impl Writer {
    /// Makes the journal in the first place where one can be made; with `replaces`, beside that one.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        places: &Places,
        replaces: Option<PathBuf>,
    ) -> io::Result<Self> {
        let mut failure = None;
        let candidates = match &replaces {
            Some(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".new");
                vec![PathBuf::from(name)]
            }
            None => places.candidates().map(Path::to_owned).collect(),
        };
        for path in candidates {
            // Recovery comes before any rewrite, so this was never finished, or could not even be put aside. One that
            // was to replace another counts for nothing before it did.
            if let Found::Journal(left) = places.find(&path)
                && (replaces.is_some()
                    || Sealed::open(&path, left, false).is_ok_and(|sealed| sealed.is_none()))
            {
                disk.remove(&path).ok();
            }
            match places.create(&**disk, &path) {
                Ok(file) => {
                    let (disk, out) = (Arc::clone(disk), Vec::with_capacity(BLOCK));
                    let Places { device, inode, syncs_removals: syncs_removal, .. } = *places;
                    let (written, hash) = (0, 0);
                    return Ok(Self {
                        disk,
                        path,
                        replaces,
                        device,
                        inode,
                        syncs_removal,
                        file,
                        out,
                        written,
                        hash,
                    });
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Adds a record. `old` is what the mailbox holds there, as far as it reaches.
    pub(crate) fn push(&mut self, offset: u64, old: &[u8], data: &[u8]) -> io::Result<()> {
        let begin = self.out.len();
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        self.out.extend_from_slice(&offset.to_le_bytes());
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&[0; 4]);
        for unit in 0..data.len().div_ceil(UNIT) {
            let end = ((unit + 1) * UNIT).min(data.len()).min(old.len());
            let hash = checksum(old.get(unit * UNIT..end).unwrap_or_default());
            self.out.extend_from_slice(&hash.to_le_bytes());
        }
        self.out.extend_from_slice(data);
        self.hash = mix(self.hash, checksum(&self.out[begin..]));
        if self.out.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.write_at(&self.file, &self.out, HEADER as u64 + self.written)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Makes the journal valid and safe: from now on the rewrite will happen, come what may.
    pub(crate) fn seal(mut self, old_len: u64, new_len: u64, tail_hash: u64) -> io::Result<Sealed> {
        self.flush()?;
        let header = Header {
            device: self.device,
            inode: self.inode,
            old_len,
            new_len,
            body_len: self.written,
            body_hash: self.hash,
            tail_hash,
        };
        self.disk.write_at(&self.file, &header.encode(), 0)?;
        self.disk.sync(&self.file)?;
        if let Some(replaced) = self.replaces.take() {
            self.disk.rename(&self.path, &replaced)?;
            self.path = replaced;
        }
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(Sealed { path: self.path, file: self.file, header, syncs_removal: self.syncs_removal })
    }

    /// Removes the journal: the rewrite is called off.
    pub(crate) fn abandon(self) {
        discard(&self.disk, &self.path);
    }

    /// Returns where the journal is, and where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
