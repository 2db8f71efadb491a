//! Reading a file of unix format from front to back, in blocks.

use crate::journal::{BLOCK, read_up_to};
use memchr::{memchr, memchr_iter};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MOST_LINE: usize = 1024 * 1024;

/// Returns where the file ends without the NULs that a crash may have left there: they are no mail.
pub(super) fn end_without_nuls(file: &File, from: u64, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > from {
        let count = usize::try_from(end - from).unwrap_or(4096).min(4096);
        read_up_to(file, end - count as u64, count, &mut block)?;
        match block.iter().rposition(|octet| *octet != 0) {
            Some(last) => return Ok(end - (block.len() - last - 1) as u64),
            None => end -= count as u64,
        }
    }
    Ok(end)
}

/// A part of the file in memory.
pub(super) struct Window<'f> {
    pub(super) file: &'f File,
    pub(super) end: u64,
    pub(super) base: u64,
    // Where the last asked-for octet is in the buffer; what is before may go.
    at: usize,
    pub(super) buffer: Vec<u8>,
}

impl<'f> Window<'f> {
    /// Returns the part from `base` on, as far as `end`; nothing is read yet.
    pub(super) fn new(file: &'f File, base: u64, end: u64) -> Self {
        Self { file, end, base, at: 0, buffer: Vec::new() }
    }

    /// Returns what follows `position`, at least `least` octets unless the file ends before.
    pub(super) fn data(&mut self, position: u64, least: usize) -> io::Result<&[u8]> {
        let reach = self.base + self.buffer.len() as u64;
        if position < self.base || position > reach {
            (self.base, self.at) = (position, 0);
            self.buffer.clear();
        }
        self.at = usize::try_from(position - self.base).unwrap_or(usize::MAX).min(self.buffer.len());
        let reach = self.base + self.buffer.len() as u64;
        if self.buffer.len() - self.at < least && reach < self.end {
            self.buffer.drain(..self.at);
            (self.base, self.at) = (position, 0);
            let have = self.buffer.len();
            let want = usize::try_from(self.end - reach).unwrap_or(usize::MAX).min(least.max(BLOCK) - have);
            self.buffer.resize(have + want, 0);
            let mut filled = have;
            while filled < have + want {
                match self.file.read_at(&mut self.buffer[filled..], self.base + filled as u64) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(&self.buffer[self.at..])
    }

    /// Returns the line at `position` with its LF, if it has one; of a line beyond 1 MiB only the first part, with
    /// the length of all of it.
    pub(super) fn line(&mut self, position: u64) -> io::Result<(&[u8], u64)> {
        let mut least = 512;
        loop {
            let end = self.end;
            let data = self.data(position, least)?;
            if let Some(at) = memchr(b'\n', data) {
                let at = at + 1;
                return Ok((&self.buffer[self.at..self.at + at], at as u64));
            }
            let have = data.len();
            if position + have as u64 >= end {
                return Ok((&self.buffer[self.at..], have as u64));
            }
            if have >= MOST_LINE {
                let length = self.long_line(position + have as u64)? - position;
                return Ok((&self.buffer[self.at..], length));
            }
            least = have * 2;
        }
    }

    fn long_line(&self, mut position: u64) -> io::Result<u64> {
        let mut block = Vec::new();
        while position < self.end {
            let count = usize::try_from(self.end - position).unwrap_or(BLOCK).min(BLOCK);
            read_up_to(self.file, position, count, &mut block)?;
            if block.is_empty() {
                break;
            }
            if let Some(at) = memchr(b'\n', &block) {
                return Ok(position + at as u64 + 1);
            }
            position += block.len() as u64;
        }
        Ok(position.min(self.end))
    }
}

/// Counts an octet between two places of the file.
pub(super) fn count(file: &File, from: u64, to: u64, wanted: u8) -> io::Result<u64> {
    let (mut position, mut found, mut block) = (from, 0, Vec::new());
    while position < to {
        let size = usize::try_from(to - position).unwrap_or(BLOCK).min(BLOCK);
        read_up_to(file, position, size, &mut block)?;
        if block.is_empty() {
            break;
        }
        found += memchr_iter(wanted, &block).count() as u64;
        position += block.len() as u64;
    }
    Ok(found)
}
