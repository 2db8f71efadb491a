//! Reading a few octets here and there in ascending order.

use rustix::fs::Advice;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

/// A piece of a file in memory that moves along with what is asked for.
///
/// Where the places asked for are close together, the file is read in blocks; where they are far apart, only what is
/// asked for, after telling the system in advance what comes.
pub(crate) struct Window<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    /// Where in the file the buffer's first octet is, and how many are valid.
    start: u64,
    filled: usize,
    /// What was asked for last.
    last: u64,
    /// Up to where the system was told to read ahead.
    advised: u64,
}

const BLOCK: usize = 128 * 1024;
const SMALL: usize = 2048;
/// From this distance on, a system call for each place costs less than copying all that lies between.
const FAR: u64 = 8192;
/// Read-ahead costs more than it gives for messages beyond this size.
const TOO_FAR: u64 = 256 * 1024;
const AHEAD: u64 = 4 * 1024 * 1024;

impl<'f> Window<'f> {
    pub(crate) fn new(file: &'f File, at: u64) -> Self {
        Self { file, buffer: vec![0; BLOCK], start: at, filled: 0, last: at, advised: at }
    }

    /// Returns `most` octets from `offset` on; fewer at the end of the file.
    pub(crate) fn get(&mut self, offset: u64, most: usize) -> io::Result<&[u8]> {
        let most = most.min(SMALL);
        let distance = offset.saturating_sub(self.last);
        self.last = offset;
        if !self.holds(offset, most) {
            if distance < TOO_FAR && offset + AHEAD / 2 > self.advised {
                self.advise(offset);
            }
            let wanted = if distance < FAR { BLOCK } else { most };
            (self.start, self.filled) = (offset, 0);
            self.filled = self.file.read_at(&mut self.buffer[..wanted], offset)?;
            // A read can be short within the file as well; what is missing is asked for once.
            if self.filled < most {
                let rest = self.filled as u64;
                self.filled += self.file.read_at(&mut self.buffer[self.filled..wanted], offset + rest)?;
            }
        }
        let skip = usize::try_from(offset - self.start).expect("the buffer holds the offset");
        Ok(&self.buffer[skip..self.filled.min(skip + most)])
    }

    /// Gives all octets from `from` up to `to` in pieces, as far as the file reaches.
    pub(crate) fn scan(&mut self, from: u64, to: u64, give: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut at = from;
        while at < to {
            if !self.holds(at, 1) {
                (self.start, self.filled) = (at, 0);
                self.filled = self.file.read_at(&mut self.buffer, at)?;
                if self.filled == 0 {
                    break;
                }
            }
            let skip = usize::try_from(at - self.start).expect("the buffer holds the offset");
            let most = usize::try_from(to - at).unwrap_or(usize::MAX);
            let there = &self.buffer[skip..self.filled];
            let given = &there[..there.len().min(most)];
            give(given);
            at += given.len() as u64;
        }
        self.last = at;
        Ok(())
    }

    fn holds(&self, offset: u64, most: usize) -> bool {
        offset >= self.start && offset + most as u64 <= self.start + self.filled as u64
    }

    fn advise(&mut self, offset: u64) {
        // Only a hint: where it cannot be given, reading is slower.
        rustix::fs::fadvise(self.file, offset, NonZeroU64::new(AHEAD), Advice::WillNeed).ok();
        self.advised = offset + AHEAD;
    }
}
