//! Walking the messages of a file.

use super::file::MbxFile;
use super::line::{Line, MOST};
use super::torn::{self, Rest};
use super::uids::{Settled, Uids};
use crate::checksum::lacks_a_page;
use crate::window::Window;
use ailurus_store::Result;

/// A walk over the messages from some place of the file on.
pub(super) struct Walk<'f> {
    file: &'f MbxFile,
    window: Window<'f>,
    /// Where the next line is.
    pub(super) at: u64,
    size: u64,
    pub(super) uids: Uids,
    local_offset: i16,
}

/// What the walk came to.
pub(super) enum Step {
    Message(Met),
    /// The end of the file.
    End,
    /// The rest of an append that was not finished, as far as the end of the file.
    Torn(Rest),
}

/// One message, hidden or not.
pub(super) struct Met {
    pub(super) offset: u64,
    pub(super) line: Line,
    pub(super) settled: Settled,
}

impl<'f> Walk<'f> {
    pub(super) fn new(file: &'f MbxFile, at: u64, size: u64, uids: Uids) -> Self {
        let window = Window::new(&file.file, at);
        Self { file, window, at, size, uids, local_offset: file.local_offset() }
    }

    /// Goes on to the next message.
    pub(super) fn step(&mut self) -> Result<Step> {
        let (file, at, size) = (self.file, self.at, self.size);
        if at >= size {
            return Ok(Step::End);
        }
        let octets = self.window.get(at, MOST).map_err(file.io("read"))?;
        if octets.is_empty() {
            let what = format!("Unable to read internal header at {at}, size = {size}: no data read");
            return Err(file.damaged(at, what));
        }
        let line = match Line::parse(octets, at, self.local_offset) {
            Ok(line) => line,
            Err(what) => match torn::is_torn(&file.file, octets, at, size).map_err(file.io("read"))? {
                Some(rest) => return Ok(Step::Torn(rest)),
                None => return Err(file.damaged(at, what)),
            },
        };
        let date_fault = line.date.is_none().then(|| Line::date_fault(octets, at));
        let text = at + u64::from(line.len);
        let end = text.saturating_add(line.size);
        // Only an appender that has not written UIDLAST yet leaves such a UID.
        let unfinished = self.uids.last.checked_add(1) == Some(line.field.uid);
        if end > size {
            if unfinished {
                return Ok(Step::Torn(Rest::Unfinished));
            }
            let what = format!("Last message (at {at}) runs past end of file ({end} > {size})");
            return Err(file.damaged(at, what));
        }
        if unfinished && end == size && lacks_a_page(&file.file, text, end).map_err(file.io("read"))? {
            return Ok(Step::Torn(Rest::Unfinished));
        }
        let Some(settled) = self.uids.settle(line.field.uid) else {
            return Err(file.damaged(at, "no UID is left for this message".into()));
        };
        if let Some(what) = date_fault.filter(|_| !line.field.hidden) {
            return Err(file.damaged(at, what));
        }
        self.at = end;
        Ok(Step::Message(Met { offset: at, line, settled }))
    }
}
