//! Writing what is in memory into the file (spec/formats-unix.md §5), as a crash-safe rewrite.

use super::dialect::{Dialect, MARK};
use super::parse::{LastUidDigits, Scan, Slot};
use super::render::{Base, Old, Pseudo, append_block, append_pseudo};
use crate::crlf::HeaderFilter;
use crate::disk::Disk;
use crate::from_line::FROM;
use crate::journal::{BLOCK, Places, read_up_to};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Environment, MessageInfo};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Whether messages that no session was told of are written as old now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Recent {
    /// This session was told.
    Told,
    /// The next session shall be.
    Untold,
}

/// What a rewrite works on.
pub(super) struct Target<'t> {
    pub(super) disk: &'t Arc<dyn Disk>,
    pub(super) env: &'t Environment,
    pub(super) places: &'t Places,
    /// Open for reading and writing, under all locks.
    pub(super) file: &'t File,
    pub(super) when_empty: WhenEmpty,
}

/// What stays of a mailbox without messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WhenEmpty {
    /// The pseudo message, which keeps the UID state.
    Pseudo,
    /// Nothing.
    Nothing,
}

/// Makes the file what `scan` says, without the messages that are `gone`, and `scan` what the file then is.
pub(super) fn write_out(
    target: &Target<'_>,
    scan: &mut Scan,
    gone: &dyn Fn(usize) -> bool,
    recent: Recent,
) -> Result<(), RewriteError> {
    let kept = (0..scan.slots.len()).filter(|index| !gone(*index)).count();
    let (rewrite, slots, digits, pseudo) = {
        let mut writing = Writing {
            rewrite: Rewrite::begin(target.disk, target.places, target.file)?,
            file: target.file,
            scan,
            recent,
            block: Vec::new(),
            slots: Vec::with_capacity(kept),
            digits: None,
        };
        let has_pseudo = match target.when_empty {
            WhenEmpty::Nothing if kept == 0 => false,
            _ => writing.scan.pseudo.is_some() || kept == 0,
        };
        let mut pseudo = None;
        if has_pseudo {
            writing.pseudo(target.env)?;
            pseudo = Some(writing.rewrite.position());
        }
        for index in (0..writing.scan.slots.len()).filter(|index| !gone(*index)) {
            let carries_base = !has_pseudo && writing.slots.is_empty();
            writing.message(index, carries_base)?;
        }
        let Writing { rewrite, slots, digits, .. } = writing;
        (rewrite, slots, digits, pseudo)
    };
    let length = rewrite.position();
    rewrite.finish()?;
    if kept < scan.slots.len() {
        let mut index = 0;
        scan.messages.retain(|_| {
            index += 1;
            !gone(index - 1)
        });
    }
    scan.slots = slots;
    scan.pseudo = pseudo;
    scan.marked = length > 0;
    scan.last_uid_digits = digits;
    (scan.end, scan.file_len) = (length, length);
    scan.dirty = recent == Recent::Untold && scan.messages.iter().any(MessageInfo::is_recent);
    scan.unwritten_uids = false;
    Ok(())
}

struct Writing<'w> {
    rewrite: Rewrite<'w>,
    file: &'w File,
    scan: &'w Scan,
    recent: Recent,
    block: Vec<u8>,
    slots: Vec<Slot>,
    digits: Option<LastUidDigits>,
}

impl Writing<'_> {
    fn base(&self) -> Base<'_> {
        let Scan { uid_validity: validity, uid_last, ref keywords, .. } = *self.scan;
        Base { validity, uid_last, keywords }
    }

    fn pseudo(&mut self, env: &Environment) -> Result<(), RewriteError> {
        let mut text = Vec::new();
        append_pseudo(self.scan.dialect, env, Pseudo::Rewritten, self.base(), &mut text);
        let field = memchr::memmem::find(&text, b"\nX-IMAP: ").map(|at| at as u64 + 9);
        self.digits = field.map(|at| LastUidDigits { at: at + 11, count: 10 });
        self.rewrite.literal(&text)
    }

    fn message(&mut self, index: usize, carries_base: bool) -> Result<(), RewriteError> {
        let slot = self.scan.slots[index];
        let message = self.scan.messages[index];
        let start = self.rewrite.position();
        let settled = !slot.has(Slot::DIRTY) && !slot.has(Slot::HAS_CR) && !carries_base;
        if settled && slot.has(Slot::CLEAN) {
            self.rewrite.copy(slot.start..slot.text_end())?;
            return self.end_message(slot, start, &slot);
        }
        let old = if self.recent == Recent::Untold && message.is_recent() { Old::No } else { Old::Yes };
        self.block.clear();
        let mut block = std::mem::take(&mut self.block);
        let base = carries_base.then(|| self.base());
        append_block(base, message.flags(), old, message.uid().get(), &self.scan.keywords, &mut block);
        self.block = block;
        let as_long = u64::from(slot.header_len) == u64::from(slot.visible_len) + self.block.len() as u64;
        if settled && start == slot.start && as_long && !slot.has(Slot::OPEN_HEADER | Slot::NO_EMPTY_LINE) {
            // The reference leaves such a one alone too: its fields are ours in another order.
            self.rewrite.copy(slot.start..slot.text_end())?;
            return self.end_message(slot, start, &slot);
        }
        let mut new = slot;
        self.header(&slot, &mut new)?;
        if carries_base {
            let digits = self.scan.uid_last.to_string().len();
            let before = "X-IMAPbase: ".len() + self.scan.uid_validity.to_string().len() + 1;
            let at = self.rewrite.position() + before as u64;
            self.digits = Some(LastUidDigits { at, count: u8::try_from(digits).unwrap_or(0) });
        }
        let block = std::mem::take(&mut self.block);
        self.rewrite.literal(&block)?;
        let written = self.rewrite.position() - start - u64::from(new.from_len);
        new.header_len = u32::try_from(written).unwrap_or(u32::MAX);
        self.block = block;
        let text_start = self.rewrite.position();
        if slot.has(Slot::HAS_CR) {
            self.without_cr(slot.text_start()..slot.text_end())?;
        } else {
            self.rewrite.copy(slot.text_start()..slot.text_end())?;
        }
        new.text_len = self.rewrite.position() - text_start;
        new.set(Slot::CONTIGUOUS, true);
        new.set(Slot::CLEAN, !carries_base && old == Old::Yes);
        new.set(Slot::DIRTY, old == Old::No);
        new.set(Slot::HAS_CR, false);
        new.set(Slot::OPEN_HEADER, false);
        new.set(Slot::NO_EMPTY_LINE, false);
        self.end_message(new, start, &slot)
    }

    /// Writes what is before the header, and the visible header.
    fn header(&mut self, slot: &Slot, new: &mut Slot) -> Result<(), RewriteError> {
        let start = self.rewrite.position();
        if slot.has(Slot::OPEN_START) {
            self.rewrite.literal(MARK)?;
            new.set(Slot::OPEN_START, false);
        }
        if slot.has(Slot::CONTIGUOUS) {
            self.rewrite.copy(slot.start..slot.header_start() + u64::from(slot.visible_len))?;
            let written = self.rewrite.position() - start - u64::from(slot.visible_len);
            new.from_len = u32::try_from(written).unwrap_or(u32::MAX);
            return Ok(());
        }
        self.without_cr(slot.start..slot.header_start())?;
        let header = self.rewrite.position();
        new.from_len = u32::try_from(header - start).unwrap_or(u32::MAX);
        let (mut filter, mut crs) = (HeaderFilter::default(), self.scan.dialect.cr_filter());
        let (mut block, mut visible, mut out) = (Vec::new(), Vec::new(), Vec::new());
        // The empty line, which comes last, is the status block's.
        let mut left = usize::try_from(slot.visible_len).unwrap_or(usize::MAX);
        let (mut from, mut line_end) = (slot.header_start(), &b"\n"[..]);
        while from < slot.text_start() {
            let count = usize::try_from(slot.text_start() - from).unwrap_or(BLOCK).min(BLOCK);
            read_up_to(self.file, from, count, &mut block).map_err(RewriteError::Unchanged)?;
            from += count as u64;
            visible.clear();
            out.clear();
            filter.push(&block, &mut visible);
            if from >= slot.text_start() {
                filter.finish(&mut visible);
            }
            crs.push(&visible, &mut out);
            if from >= slot.text_start() {
                crs.finish(&mut out);
            }
            out.truncate(left);
            left -= out.len();
            let is_first = self.rewrite.position() == header;
            if is_first && self.scan.dialect == Dialect::Mmdf && out.starts_with(FROM) {
                // An internal field was before it. A CR, which readers drop, keeps it from being a From_ line.
                self.rewrite.literal(b"\r")?;
            }
            self.rewrite.literal(&out)?;
            line_end = self.scan.dialect.line_end(&out);
        }
        if slot.has(Slot::OPEN_HEADER) {
            self.rewrite.literal(line_end)?;
        }
        new.visible_len = u32::try_from(self.rewrite.position() - header).unwrap_or(u32::MAX);
        Ok(())
    }

    fn without_cr(&mut self, range: Range<u64>) -> Result<(), RewriteError> {
        let (mut from, mut block, mut out) = (range.start, Vec::new(), Vec::new());
        let mut crs = self.scan.dialect.cr_filter();
        while from < range.end {
            let count = usize::try_from(range.end - from).unwrap_or(BLOCK).min(BLOCK);
            read_up_to(self.file, from, count, &mut block).map_err(RewriteError::Unchanged)?;
            from += count as u64;
            out.clear();
            crs.push(&block, &mut out);
            if from >= range.end {
                crs.finish(&mut out);
            }
            self.rewrite.literal(&out)?;
        }
        Ok(())
    }

    /// Writes what ends the message, and notes where it is now; `before` says where it was.
    fn end_message(&mut self, mut slot: Slot, start: u64, before: &Slot) -> Result<(), RewriteError> {
        let (dialect, is_open) = (self.scan.dialect, before.has(Slot::OPEN_TEXT));
        let end = dialect.end();
        if is_open {
            let mut last = Vec::new();
            read_up_to(self.file, before.text_end().saturating_sub(1), 1, &mut last)
                .map_err(RewriteError::Unchanged)?;
            let line_end = dialect.line_end(&last);
            self.rewrite.literal(line_end)?;
            slot.text_len += line_end.len() as u64;
        }
        if is_open && dialect == Dialect::Unix {
            // The one LF that a text without its last line end gets is that line end.
            slot.separator_len = 0;
        } else if usize::from(before.separator_len) == end.len() {
            self.rewrite.copy(before.text_end()..before.end())?;
        } else {
            self.rewrite.literal(end)?;
            slot.separator_len = u8::try_from(end.len()).expect("what ends a message is short");
        }
        slot.start = start;
        slot.set(Slot::OPEN_TEXT, false);
        self.slots.push(slot);
        Ok(())
    }
}
