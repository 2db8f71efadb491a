//! Walking the messages of a file.

use super::Dialect;
use super::lf::Measure;
use super::line::{Line, MOST};
use crate::journal::{checksum, mix};
use crate::mail_file::MailFile;
use crate::window::Window;
use ailurus_store::Result;

/// How many octets of a message count for its key: most headers, with their Message-ID, are in them.
pub(super) const HEAD: usize = 1024;

/// A walk over the messages from some place of the file on.
pub(super) struct Walk<'f> {
    file: &'f MailFile,
    dialect: &'static Dialect,
    window: Window<'f>,
    /// Where the next line is.
    pub(super) at: u64,
    size: u64,
    local_offset: i16,
    sizes: Sizes,
}

/// Whether the octets that a message has in CRLF form are wanted, which can need a look at all of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sizes {
    Wanted,
    Unwanted,
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) offset: u64,
    pub(super) line: Line,
    /// What tells it from other messages: see [`key`].
    pub(super) key: u64,
    /// Octets in CRLF form, if they are wanted.
    pub(super) rfc822_size: u64,
}

impl Met {
    /// Where the message begins, behind its line.
    pub(super) fn text(&self) -> u64 {
        self.offset + u64::from(self.line.len)
    }
}

impl<'f> Walk<'f> {
    /// Begins a walk at a line, in a file of this size.
    pub(super) fn new(
        file: &'f MailFile,
        dialect: &'static Dialect,
        at: u64,
        size: u64,
        sizes: Sizes,
    ) -> Self {
        let (window, local_offset) = (Window::new(&file.file, at), file.local_offset());
        Self { file, dialect, window, at, size, local_offset, sizes }
    }

    /// Goes on to the next message; `None` at the end of the file.
    pub(super) fn step(&mut self) -> Result<Option<Met>> {
        let (file, at, size) = (self.file, self.at, self.size);
        if at >= size {
            return Ok(None);
        }
        let octets = self.window.get(at, MOST + HEAD).map_err(file.io("read"))?;
        if octets.is_empty() {
            let what = format!("Unable to read internal header at {at}, size = {size}: no data read");
            return Err(file.damaged(at, what));
        }
        let line = Line::parse(octets, at, self.dialect, self.local_offset);
        let line = line.map_err(|what| file.damaged(at, what))?;
        let (written, text) = octets.split_at(line.len.into());
        let head = usize::try_from(line.size).unwrap_or(usize::MAX).min(HEAD);
        let key = key(Line::constant(written), &text[..text.len().min(head)]);
        let met = Met { offset: at, line, key, rfc822_size: line.size };
        let end = met.text().saturating_add(line.size);
        if end > size {
            let what = format!("Last message (at {at}) runs past end of file ({end} > {size})");
            return Err(file.damaged(at, what));
        }
        self.at = end;
        let rfc822_size = self.measure(&met)?;
        Ok(Some(Met { rfc822_size, ..met }))
    }

    fn measure(&mut self, met: &Met) -> Result<u64> {
        if self.dialect.crlf || self.sizes == Sizes::Unwanted {
            return Ok(met.line.size);
        }
        let mut measure = Measure::default();
        let end = met.text() + met.line.size;
        let scanned = self.window.scan(met.text(), end, &mut |piece| measure.add(piece));
        scanned.map_err(self.file.io("read"))?;
        Ok(measure.octets())
    }
}

/// Returns what tells a message from others: a check sum of what never changes of its line, and of the first octets of
/// the message, at most [`HEAD`].
pub(super) fn key(constant: &[u8], head: &[u8]) -> u64 {
    mix(checksum(constant), checksum(head))
}
