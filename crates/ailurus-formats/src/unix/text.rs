//! Where the text of a message ends (spec/formats-unix.md §4, formats-mmdf.md).

use super::dialect::{Dialect, MARK, MARK_LEN, has_mark_after};
use super::parse::{ParseError, Parser};
use crate::from_line::{FROM, FromLine};
use crate::journal::BLOCK;
use memchr::memchr_iter;
use std::io;
use std::os::unix::fs::FileExt;

/// The text of a message, with what ends it.
pub(super) struct Body {
    pub(super) end: u64,
    // In the text alone.
    pub(super) crs: u64,
    pub(super) lfs: u64,
    // Of what ends it.
    pub(super) separator: u8,
    // Whether the last line of the text needs no LF.
    pub(super) ended: bool,
}

impl Parser<'_> {
    /// Finds the end of the text that starts at `start`.
    pub(super) fn body(&mut self, start: u64) -> Result<Body, ParseError> {
        match self.dialect {
            Dialect::Unix => {
                let mut body = self.until_from_line(start)?;
                let (tail, count) = self.tail(start, body.end)?;
                let tail = &tail[..count];
                body.separator = match tail {
                    b"\n" | b"\n\n" | [_, b'\n', b'\n'] => 1,
                    b"\r\n" | b"\n\r\n" => 2,
                    _ => 0,
                };
                // The LF behind a lone CR makes an empty line, which is none of the text.
                body.ended = matches!(tail, [] | [.., b'\n'] | b"\r" | [.., b'\n', b'\r']);
                body.lfs -= u64::from(body.separator > 0);
                body.crs -= u64::from(body.separator == 2);
                Ok(body)
            }
            Dialect::Mmdf => {
                let mut body = self.until_mark(start)?;
                let (tail, count) = self.tail(start, body.end)?;
                let marked = body.end < self.window.end;
                body.ended = match &tail[..count] {
                    [] | [.., b'\n'] => true,
                    _ => marked,
                };
                self.scan.marked = marked;
                if marked {
                    body.separator = MARK_LEN;
                    body.end += MARK.len() as u64;
                }
                Ok(body)
            }
        }
    }

    fn until_from_line(&mut self, start: u64) -> Result<Body, ParseError> {
        let mut body = Body { end: start, crs: 0, lfs: 0, separator: 0, ended: true };
        if self.is_from_line(start)? {
            return Ok(body);
        }
        let overlap = FROM.len();
        let mut position = start;
        loop {
            let end = self.window.end;
            let data = self.window.data(position, BLOCK.min(64 * 1024))?;
            let is_last = position + data.len() as u64 >= end;
            if let Some(at) = self.finder.find(data) {
                let piece = &data[..=at];
                body.crs += memchr_iter(b'\r', piece).count() as u64;
                body.lfs += memchr_iter(b'\n', piece).count() as u64;
                position += at as u64 + 1;
                if self.is_from_line(position)? {
                    break;
                }
                continue;
            }
            let piece = if is_last { data } else { &data[..data.len().saturating_sub(overlap).max(1)] };
            body.crs += memchr_iter(b'\r', piece).count() as u64;
            body.lfs += memchr_iter(b'\n', piece).count() as u64;
            position += piece.len() as u64;
            if is_last {
                break;
            }
        }
        body.end = position;
        Ok(body)
    }

    fn until_mark(&mut self, start: u64) -> Result<Body, ParseError> {
        // With the octets before it that tell whether it is one.
        const OVERLAP: usize = MARK.len() + 2;
        let mut body = Body { end: start, crs: 0, lfs: 0, separator: 0, ended: true };
        loop {
            let end = self.window.end;
            let data = self.window.data(body.end, BLOCK.min(64 * 1024))?;
            let is_last = body.end + data.len() as u64 >= end;
            let found = self.finder.find(data);
            let is_mark = found.is_some_and(|at| has_mark_after(&data[..at]));
            let piece = match found {
                Some(at) if is_mark => &data[..at],
                Some(at) => &data[..=at],
                None if is_last => data,
                None => &data[..data.len().saturating_sub(OVERLAP).max(1)],
            };
            body.crs += memchr_iter(b'\r', piece).count() as u64;
            body.lfs += memchr_iter(b'\n', piece).count() as u64;
            body.end += piece.len() as u64;
            if is_mark || found.is_none() && is_last {
                return Ok(body);
            }
        }
    }

    fn is_from_line(&mut self, position: u64) -> io::Result<bool> {
        if !self.window.data(position, FROM.len())?.starts_with(FROM) {
            return Ok(false);
        }
        let (line, _) = self.window.line(position)?;
        let Some(line) = line.strip_suffix(b"\n") else { return Ok(false) };
        Ok(FromLine::parse(line.strip_suffix(b"\r").unwrap_or(line)).is_some())
    }

    /// Returns the last octets of that range, and how many they are.
    fn tail(&mut self, start: u64, end: u64) -> io::Result<([u8; 3], usize)> {
        let count = usize::try_from(end - start).unwrap_or(3).min(3);
        let from = end - count as u64;
        let mut tail = [0; 3];
        if from >= self.window.base && end <= self.window.base + self.window.buffer.len() as u64 {
            let at = usize::try_from(from - self.window.base).unwrap_or(0);
            tail[..count].copy_from_slice(&self.window.buffer[at..at + count]);
        } else {
            self.window.file.read_exact_at(&mut tail[..count], from)?;
        }
        Ok((tail, count))
    }
}
