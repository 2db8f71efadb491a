//! What SCAN looks for: a text in the files of a mailbox as they are (spec/storage-common.md §5).

use crate::{Error, Result};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const BLOCK: usize = 64 * 1024;

/// Tells whether a regular file holds the text, in any case of its ASCII letters. Leaves the file's times as they
/// are where that is allowed, so that biff programs still see new mail. What is no regular file holds nothing.
pub(crate) fn file_holds(path: &Path, text: &[u8]) -> Result<bool> {
    let file = open(path).map_err(Error::io("open", path))?;
    if !file.metadata().map_err(Error::io("examine", path))?.is_file() {
        return Ok(false);
    }
    holds(&file, text).map_err(Error::io("read", path))
}

fn open(path: &Path) -> io::Result<File> {
    let open = |flags: OFlags| {
        let flags = i32::try_from((flags | OFlags::NONBLOCK).bits()).unwrap_or_default();
        File::options().read(true).custom_flags(flags).open(path)
    };
    // Only the owner may ask for that.
    open(OFlags::NOATIME).or_else(|_| open(OFlags::empty()))
}

fn holds(mut file: impl Read, text: &[u8]) -> io::Result<bool> {
    let text = text.to_ascii_lowercase();
    let finder = memchr::memmem::Finder::new(&text);
    let overlap = text.len().saturating_sub(1);
    let mut buffer = vec![0; BLOCK + overlap];
    let mut kept = 0;
    loop {
        let read = match file.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let end = kept + read;
        buffer[kept..end].make_ascii_lowercase();
        if finder.find(&buffer[..end]).is_some() {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        kept = overlap.min(end);
        buffer.copy_within(end - kept..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_a_block_ends() {
        struct Pieces<'p>(&'p [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let (piece, rest) = self.0.split_at(self.0.len().min(self.1).min(out.len()));
                out[..piece.len()].copy_from_slice(piece);
                self.0 = rest;
                Ok(piece.len())
            }
        }
        let text = [b"x".repeat(3 * BLOCK - 3), b"NeedLe".to_vec(), b"y".repeat(9)].concat();
        for piece in [1 + BLOCK / 7, BLOCK, 2 * BLOCK + 1, usize::MAX] {
            assert!(holds(Pieces(&text, piece), b"nEEDlE").unwrap(), "{piece}");
            assert!(!holds(Pieces(&text, piece), b"needles").unwrap(), "{piece}");
        }
        assert!(holds(Pieces(b"", 1), b"").unwrap());
        assert!(!holds(Pieces(b"", 1), b"a").unwrap());
    }
}
