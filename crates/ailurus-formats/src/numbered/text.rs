//! Messages with the line ends of Unix.
//!
//! In a file an LF ends a line, with or without a CR before it; a CR anywhere else stands for itself. Shown are CRLFs
//! alone. What comes to us with CRLFs and goes into such a file is the same when it comes out ([`Encoder`]); the reference
//! drops every CR.

use crate::journal::{checksum, mix, read_up_to};
use memchr::{memchr, memchr_iter};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK: usize = 64 * 1024;

/// What is known of a message once its file was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Measure {
    /// Octets in CRLF form.
    pub(crate) size: u64,
    /// Octets of the header with its empty line, in CRLF form; all, if there is no empty line.
    pub(crate) header: u64,
    /// A checksum of the file's octets.
    pub(crate) sum: u32,
}

impl Measure {
    /// Reads a file in blocks.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let (mut block, mut scan) = (Vec::new(), Scan::default());
        let mut at = 0;
        loop {
            read_up_to(file, at, BLOCK, &mut block)?;
            if block.is_empty() {
                break;
            }
            scan.block(&block);
            at += block.len() as u64;
        }
        Ok(scan.finish())
    }

    /// Measures text that is in memory.
    #[cfg(test)]
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let mut scan = Scan::default();
        text.chunks(BLOCK).for_each(|block| scan.block(block));
        scan.finish()
    }
}

#[derive(Debug, Default)]
struct Scan {
    /// Octets of the file so far, and CRs to be added to them.
    at: u64,
    added: u64,
    /// Where the line starts that the next octet is in.
    line: u64,
    last_is_cr: bool,
    header: Option<u64>,
    sum: u64,
}

impl Scan {
    fn block(&mut self, block: &[u8]) {
        self.sum = mix(self.sum, checksum(block));
        for end in memchr_iter(b'\n', block) {
            let has_cr = match end.checked_sub(1) {
                Some(before) => block[before] == b'\r',
                None => self.last_is_cr,
            };
            self.added += u64::from(!has_cr);
            let at = self.at + end as u64;
            if self.header.is_none() && at == self.line + u64::from(has_cr) {
                self.header = Some(at + 1 + self.added);
            }
            self.line = at + 1;
        }
        self.at += block.len() as u64;
        self.last_is_cr = block.last() == Some(&b'\r');
    }

    fn finish(&self) -> Measure {
        let size = self.at + self.added;
        let sum = mix(self.sum, self.at);
        let sum = u32::try_from((sum ^ sum >> 32) & 0xffff_ffff).unwrap_or(0);
        Measure { size, header: self.header.unwrap_or(size), sum }
    }
}

/// Turns CRLF into LF.
///
/// A CR is dropped where the reader puts it back: before an LF, unless another CR is before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Encoder {
    /// How many CRs were held back: at most two matter.
    crs: u8,
}

impl Encoder {
    /// Appends the next octets to `out`.
    pub(crate) fn push(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while let Some((octet, rest)) = octets.split_first() {
            if self.crs == 0 {
                let plain = memchr(b'\r', octets).unwrap_or(octets.len());
                out.extend_from_slice(&octets[..plain]);
                self.crs = u8::from(plain < octets.len());
                octets = octets.get(plain + 1..).unwrap_or_default();
                continue;
            }
            match (octet, self.crs) {
                (b'\r', 1) => self.crs = 2,
                (b'\r', _) => out.push(b'\r'),
                (b'\n', 1) => self.settle(0, b'\n', out),
                (_, crs) => self.settle(crs, *octet, out),
            }
            octets = rest;
        }
    }

    fn settle(&mut self, crs: u8, octet: u8, out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(b'\r', crs.into()));
        out.push(octet);
        self.crs = 0;
    }

    /// Appends what was held back at the end of a message.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(b'\r', self.crs.into()));
        self.crs = 0;
    }
}

/// Reads a file in CRLF form, best from its start to its end.
#[derive(Debug)]
pub(crate) struct LineReader {
    file: File,
    /// Octets of the file that were read.
    input: u64,
    /// What they became last, and where in the message that starts.
    output: Vec<u8>,
    start: u64,
    last_is_cr: bool,
    block: Vec<u8>,
}

impl LineReader {
    pub(crate) fn new(file: File) -> Self {
        Self { file, input: 0, output: Vec::new(), start: 0, last_is_cr: false, block: Vec::new() }
    }

    /// Appends at most `most` octets from `from` on; returns how many, 0 at the end.
    pub(crate) fn read(&mut self, from: u64, most: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        if from < self.start {
            (self.input, self.start, self.last_is_cr) = (0, 0, false);
            self.output.clear();
        }
        loop {
            let skip = usize::try_from(from - self.start).unwrap_or(usize::MAX);
            if let Some(there) = self.output.get(skip..).filter(|there| !there.is_empty()) {
                let given = &there[..there.len().min(most)];
                out.extend_from_slice(given);
                return Ok(given.len());
            }
            if most == 0 || !self.advance()? {
                return Ok(0);
            }
        }
    }

    /// Converts the next block; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.block.resize(BLOCK, 0);
        let read = self.file.read_at(&mut self.block, self.input)?;
        let block = &self.block[..read];
        self.start += self.output.len() as u64;
        self.output.clear();
        let mut done = 0;
        for end in memchr_iter(b'\n', block) {
            self.output.extend_from_slice(&block[done..end]);
            let has_cr = if end == 0 { self.last_is_cr } else { block[end - 1] == b'\r' };
            self.output.extend_from_slice(if has_cr { b"\n" } else { b"\r\n" });
            done = end + 1;
        }
        self.output.extend_from_slice(&block[done..]);
        if let Some(last) = block.last() {
            self.last_is_cr = *last == b'\r';
        }
        self.input += read as u64;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn shown(text: &[u8], most: usize) -> Vec<u8> {
        let (mut reader, mut out) = (LineReader::new(file(text)), Vec::new());
        while reader.read(out.len() as u64, most, &mut out).unwrap() > 0 {}
        out
    }

    fn encoded(text: &[u8], pieces: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        text.chunks(pieces).for_each(|piece| encoder.push(piece, &mut out));
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn line_ends_become_crlf_and_other_crs_stay() {
        assert_eq!(shown(b"a\nb\r\n\rc\r\r\n\n", 3), b"a\r\nb\r\n\rc\r\r\n\r\n");
        assert_eq!(encoded(b"a\r\nb\rc\r\r\nd\r", 2), b"a\nb\rc\r\r\nd\r");
    }

    #[test]
    fn headers_end_with_their_first_empty_line() {
        for (text, size, header) in [
            (&b"S: a\n\nb\n"[..], 11, 8),
            (b"S: a\r\n\r\nb\r\n", 11, 8),
            (b"S: a\n\r\nb", 9, 8),
            (b"\nb", 3, 2),
            (b"\r\nb", 3, 2),
            (b"S: a\nb\n", 9, 9),
            (b"S: a\r\r\n\r\r\n", 10, 10),
            (b"", 0, 0),
        ] {
            let measure = Measure::of(&file(text)).unwrap();
            assert_eq!((measure.size, measure.header), (size, header), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn blocks_do_not_matter() {
        // CRs and LFs on both sides of each boundary.
        for shift in 0..4 {
            let mut text = vec![b'x'; BLOCK - 2 + shift];
            text.extend_from_slice(b"\r\n\r\n\n");
            text.extend(std::iter::repeat_n(b'y', BLOCK));
            text.extend_from_slice(b"\r\n");
            let measure = Measure::of(&file(&text)).unwrap();
            assert_eq!(measure, Measure::of_text(&text));
            let header = BLOCK as u64 - 2 + shift as u64 + 4;
            assert_eq!((measure.size, measure.header), (text.len() as u64 + 1, header));
            assert_eq!(shown(&text, 1000).len() as u64, measure.size);
        }
    }

    #[test]
    fn reading_may_go_back_and_forth() {
        let text: Vec<u8> = (0..100_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let whole = shown(&text, 1 << 20);
        let mut reader = LineReader::new(file(&text));
        for from in [500_000, 3, 200_000, 199_999, whole.len() - 1, 0, whole.len()] {
            let mut out = Vec::new();
            let read = reader.read(from as u64, 100, &mut out).unwrap();
            assert_eq!(out, whole[from..from + read]);
            assert_eq!(read == 0, from == whole.len());
        }
    }

    proptest! {
        #[test]
        fn what_has_no_bare_lf_comes_out_as_it_went_in(text in "(a|\r\n|\r){0,12}", pieces in 1usize..4) {
            let stored = encoded(text.as_bytes(), pieces);
            prop_assert_eq!(shown(&stored, 5), text.as_bytes());
            prop_assert_eq!(Measure::of_text(&stored).size, text.len() as u64);
        }

        #[test]
        fn measures_agree_with_what_is_shown(text in "(a|\r|\n){0,12}") {
            let whole = shown(text.as_bytes(), 7);
            let measure = Measure::of_text(text.as_bytes());
            prop_assert_eq!(measure.size, whole.len() as u64);
            let end = if whole.starts_with(b"\r\n") {
                Some(2)
            } else {
                memchr::memmem::find(&whole, b"\n\r\n").map(|at| at + 3)
            };
            prop_assert_eq!(measure.header, end.unwrap_or(whole.len()) as u64);
        }
    }
}
