//! Reading on in a message: CRLF form, without internal fields, ahead in blocks.

use super::dialect::Dialect;
use super::parse::Slot;
use crate::crlf::{HeaderFilter, append_crlf};
use crate::journal::{BLOCK, read_up_to};
use ailurus_store::Extent;
use ailurus_types::Uid;
use std::fs::File;
use std::io;

/// Reads the From_ line of a message, without its line end.
pub(super) fn from_line(file: &File, dialect: Dialect, slot: &Slot) -> io::Result<Option<Vec<u8>>> {
    const MOST: usize = 64 * 1024;
    let mark = if slot.has(Slot::OPEN_START) { 0 } else { dialect.start().len() };
    let count = usize::try_from(slot.from_len).unwrap_or(MOST).min(MOST).saturating_sub(mark);
    let mut line = Vec::new();
    read_up_to(file, slot.start + mark as u64, count, &mut line)?;
    while line.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
        line.pop();
    }
    Ok((count > 0).then_some(line))
}

/// A place in a message, with what was read ahead of it.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    message: Option<(Uid, Extent)>,
    // Octets given so far.
    given: u64,
    raw: u64,
    header_end: u64,
    end: u64,
    // What the file lacks and is supplied.
    open_header: bool,
    no_empty_line: bool,
    // What is still to come, whatever there is to be read.
    header_due: bool,
    text_end_due: bool,
    filter: HeaderFilter,
    block: Vec<u8>,
    ahead: Vec<u8>,
    at: usize,
}

impl Cursor {
    /// Tells whether reading can go on here.
    pub(super) fn stands_at(&self, uid: Uid, extent: Extent, from: u64) -> bool {
        self.message == Some((uid, extent)) && self.given == from
    }

    /// Goes to the start of the extent of a message.
    pub(super) fn start(&mut self, uid: Uid, extent: Extent, slot: &Slot) {
        let (header, text) = (slot.header_start(), slot.text_start());
        self.message = Some((uid, extent));
        self.given = 0;
        (self.raw, self.end) = match extent {
            Extent::Whole => (header, slot.text_end()),
            Extent::Header => (header, text),
            Extent::Text => (text, slot.text_end()),
        };
        self.header_end = text;
        self.open_header = slot.has(Slot::OPEN_HEADER);
        self.no_empty_line = slot.has(Slot::NO_EMPTY_LINE);
        self.header_due = extent != Extent::Text;
        self.text_end_due = extent != Extent::Header && slot.has(Slot::OPEN_TEXT);
        self.filter = HeaderFilter::default();
        self.ahead.clear();
        self.at = 0;
    }

    /// Goes on by `count` octets, or to the end.
    pub(super) fn skip(&mut self, file: &File, mut count: u64) -> io::Result<()> {
        while count > 0 {
            if self.at == self.ahead.len() && !self.fill(file)? {
                self.given += count;
                return Ok(());
            }
            let have = self.ahead.len() - self.at;
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(have);
            self.at += step;
            self.given += step as u64;
            count -= step as u64;
        }
        Ok(())
    }

    /// Appends at most `most` octets to `out`; returns how many.
    pub(super) fn read(&mut self, file: &File, most: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        let mut total = 0;
        while total < most {
            if self.at == self.ahead.len() && !self.fill(file)? {
                break;
            }
            let step = (self.ahead.len() - self.at).min(most - total);
            out.extend_from_slice(&self.ahead[self.at..self.at + step]);
            self.at += step;
            total += step;
        }
        self.given += total as u64;
        Ok(total)
    }

    /// Reads ahead; false at the end of the extent.
    fn fill(&mut self, file: &File) -> io::Result<bool> {
        self.ahead.clear();
        self.at = 0;
        while self.ahead.is_empty() {
            if self.header_due && self.raw >= self.header_end {
                self.finish_header();
                continue;
            }
            if self.raw >= self.end {
                if std::mem::take(&mut self.text_end_due) {
                    self.ahead.extend_from_slice(b"\r\n");
                }
                break;
            }
            // Header and text of a message that fits come with one call.
            let count = usize::try_from(self.end - self.raw).unwrap_or(BLOCK).min(BLOCK);
            read_up_to(file, self.raw, count, &mut self.block)?;
            if self.block.len() < count {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let header =
                usize::try_from(self.header_end.saturating_sub(self.raw)).unwrap_or(count).min(count);
            self.raw += count as u64;
            if header > 0 {
                let mut visible = Vec::with_capacity(header);
                self.filter.push(&self.block[..header], &mut visible);
                append_crlf(&visible, &mut self.ahead);
            }
            if self.header_due && self.raw >= self.header_end {
                self.finish_header();
            }
            append_crlf(&self.block[header..], &mut self.ahead);
        }
        Ok(!self.ahead.is_empty())
    }
    fn finish_header(&mut self) {
        let mut visible = Vec::new();
        self.filter.finish(&mut visible);
        for missing in [self.open_header, self.no_empty_line] {
            if missing {
                visible.push(b'\n');
            }
        }
        append_crlf(&visible, &mut self.ahead);
        self.header_due = false;
    }
}
