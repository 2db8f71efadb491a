//! Reading messages out of a file, a little ahead of what is asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a header search reads at once.
const HEADER_BLOCK: usize = 4096;

/// Octets read ahead of what was asked for.
#[derive(Default)]
pub(crate) struct Ahead {
    start: u64,
    octets: Vec<u8>,
}

impl Ahead {
    /// Gives octets from `at` on, from what was read ahead if they are there. 0: the file ends there.
    pub(crate) fn give(&mut self, file: &File, at: u64, most: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(there) = self.there(at) {
            let given = &there[..there.len().min(most)];
            out.extend_from_slice(given);
            return Ok(given.len());
        }
        let start = out.len();
        out.resize(start + most, 0);
        let read = file.read_at(&mut out[start..], at);
        out.truncate(start + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Returns octets from `at` on, at most `most`; none where the file ends.
    pub(crate) fn get(&mut self, file: &File, at: u64, most: usize) -> io::Result<&[u8]> {
        if self.there(at).is_none() {
            self.load(file, at, most)?;
        }
        let there = self.there(at).unwrap_or_default();
        Ok(&there[..there.len().min(most)])
    }

    /// Returns how many octets the header of a message has that is `size` octets from `start` on: up to its first
    /// empty line, or all of it. `None` when the file ends before.
    pub(crate) fn header_size(
        &mut self,
        file: &File,
        start: u64,
        size: u64,
        newline: &[u8],
    ) -> io::Result<Option<u64>> {
        let end = newline.repeat(2);
        let finder = memchr::memmem::Finder::new(&end);
        let mut at = 0;
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(HEADER_BLOCK).min(HEADER_BLOCK);
            self.load(file, start + at, most)?;
            let octets = &self.octets;
            if octets.is_empty() {
                return Ok(None);
            }
            if at == 0 && octets.starts_with(newline) {
                return Ok(Some(newline.len() as u64));
            }
            if let Some(found) = finder.find(octets) {
                return Ok(Some(at + (found + end.len()) as u64));
            }
            // The end can lie across two blocks.
            at += octets.len().saturating_sub(end.len() - 1).max(1) as u64;
            if at + end.len() as u64 > size {
                break;
            }
        }
        Ok(Some(size))
    }

    fn there(&self, at: u64) -> Option<&[u8]> {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.octets.get(skip..)).filter(|there| !there.is_empty())
    }

    fn load(&mut self, file: &File, start: u64, most: usize) -> io::Result<()> {
        self.start = start;
        self.octets.resize(most, 0);
        let read = file.read_at(&mut self.octets, start);
        self.octets.truncate(read.as_ref().copied().unwrap_or(0));
        read.map(drop)
    }
}
