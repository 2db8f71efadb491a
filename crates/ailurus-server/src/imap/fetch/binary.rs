//! FETCH BINARY and BINARY.SIZE (RFC 3516): parts with their transfer encoding undone.
//!
//! How large a part is, whether it holds NULs, and whether it can be decoded at all takes one pass over it, done in steps.
//! The data then follows from a second pass, piece by piece. What is known of the part that was fetched last stays, and so
//! does the decoder where it stopped, for clients fetch a large part by partials that follow each other.

use super::{Current, Fetch, MAX_QUOTED, Need, begin, cut};
use crate::imap::select::Selected;
use crate::imap::session::Step;
use crate::imap::tagged::Outcome as Answer;
use ailurus_message::content::Encoding;
use ailurus_message::decode::{Decoder, Outcome};
use ailurus_proto::imap::response::Code;
use ailurus_proto::imap::{FetchItem, Partial, print};
use ailurus_store::{Error, Extent, Result};
use ailurus_types::Uid;
use std::ops::Range;

/// How much of a message is read at a time.
const PIECE: usize = 32 * 1024;

/// What of a part is under way.
pub(super) enum Work {
    Measuring(Box<Measuring>),
    Sending(Box<Sending>),
}

impl Fetch {
    /// Goes on with the part that is under way, and returns how much of the message was read.
    pub(super) fn binary_step(
        &mut self,
        selected: &mut Selected,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> std::result::Result<usize, Step> {
        let Some(current) = &mut self.current else { return Ok(0) };
        match current.binary.take() {
            None => Ok(0),
            Some(Work::Measuring(mut measuring)) => match measuring.step(selected) {
                Ok(_) if measuring.is_done() => {
                    selected.binary = Some(Box::new(measuring.finish()));
                    Ok(0)
                }
                Ok(read) => {
                    current.binary = Some(Work::Measuring(measuring));
                    Ok(read)
                }
                Err(error) => {
                    self.item_failed(selected, &error);
                    Ok(0)
                }
            },
            Some(Work::Sending(mut sending)) => {
                let most = limit.saturating_sub(out.len()).max(1);
                let sent = match &mut sending.held {
                    Some(_) => sending.hold(selected),
                    None => sending.step(selected, most, out),
                };
                match sent {
                    Ok(read) if !sending.is_done() => {
                        current.binary = Some(Work::Sending(sending));
                        Ok(read)
                    }
                    Ok(_) => {
                        if let Some(held) = sending.held.take() {
                            let Some(item) = self.items.get(current.item) else { return Ok(0) };
                            append_short(item, &held, current, out);
                            current.seen |= item.sets_seen();
                            current.item += 1;
                        }
                        sending.finish(selected.binary.as_deref_mut());
                        Ok(0)
                    }
                    Err(error) if sending.held.is_some() => {
                        self.item_failed(selected, &error);
                        Ok(0)
                    }
                    Err(error) => {
                        let uid = current.info.uid();
                        Err(Step::Abort(format!("Message with UID {uid} cannot be read on: {error}")))
                    }
                }
            }
        }
    }

    /// Leaves out an item because the part cannot be decoded.
    pub(super) fn refuse_binary(&mut self, reason: &str) {
        let text = format!("{} failed: {reason}", self.name);
        self.failed.get_or_insert_with(|| Answer::no(text).with(Code::UnknownCte));
        if let Some(current) = &mut self.current {
            current.item += 1;
        }
    }
}

/// Appends BINARY or BINARY.SIZE of a part, or begins to, or says what that needs first.
pub(super) fn append_item(
    item: &FetchItem,
    numbers: &[u32],
    partial: Option<Partial>,
    selected: &mut Selected,
    current: &mut Current,
    out: &mut Vec<u8>,
) -> Result<Need> {
    let uid = current.info.uid();
    let source = if numbers.is_empty() {
        let range = 0..current.info.rfc822_size().into();
        Source { uid, range, encoding: Encoding::Binary }
    } else {
        let Some(parts) = &current.parts else { return Ok(Need::Parts) };
        let Some(part) = parts.find(numbers) else { return Ok(Need::Refusal("Invalid body part")) };
        Source { uid, range: part.body_extent(), encoding: part.encoding() }
    };
    if source.encoding == Encoding::Other {
        return Ok(Need::Refusal("Unknown Content-Transfer-Encoding"));
    }
    let Some(binary) = selected.binary.as_deref_mut().filter(|binary| binary.source == source) else {
        current.binary = Some(Work::Measuring(Box::new(Measuring::new(source))));
        return Ok(Need::Binary);
    };
    if binary.measure.outcome == Outcome::Undecodable {
        return Ok(Need::Refusal("Undecodable BASE64 contents"));
    }
    if let FetchItem::BinarySize(_) = item {
        begin(current, out);
        item.append_name(out);
        out.push(b' ');
        print::number(out, binary.measure.size);
        return Ok(Need::Nothing);
    }
    let range = cut(0..binary.measure.size, partial);
    if range.is_empty() {
        append_short(item, b"", current, out);
        return Ok(Need::Nothing);
    }
    let len = range.end - range.start;
    let may_have_nul = binary.measure.may_have_nul(&range);
    let mut sending = Box::new(Sending::new(binary, range));
    if len <= MAX_QUOTED {
        sending.held = Some(Vec::new());
        current.binary = Some(Work::Sending(sending));
        return Ok(Need::Binary);
    }
    begin(current, out);
    item.append_name(out);
    out.push(b' ');
    if may_have_nul {
        print::literal8_size(out, len);
    } else {
        print::literal_size(out, usize::try_from(len).unwrap_or(usize::MAX));
    }
    current.binary = Some(Work::Sending(sending));
    Ok(Need::Nothing)
}

/// Appends an item whose data is short: as a quoted string where that is possible.
fn append_short(item: &FetchItem, octets: &[u8], current: &mut Current, out: &mut Vec<u8>) {
    begin(current, out);
    item.append_name(out);
    out.push(b' ');
    if octets.contains(&0) {
        print::literal8_size(out, len_u64(octets.len()));
        out.extend_from_slice(octets);
    } else {
        print::string(out, octets);
    }
}

/// What is decoded: octets of a message, and what undoes their encoding.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Source {
    uid: Uid,
    range: Range<u64>,
    encoding: Encoding,
}

/// A part that was looked over.
pub(crate) struct Binary {
    source: Source,
    measure: Measure,
    /// Where the last partial ended.
    cursor: Option<Cursor>,
}

/// What decoding makes of a part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Measure {
    size: u64,
    /// Where the first NUL is, and where the last one.
    nuls: Option<(u64, u64)>,
    outcome: Outcome,
}

impl Measure {
    /// Tells whether there may be NULs in a range of the decoded data.
    fn may_have_nul(&self, range: &Range<u64>) -> bool {
        self.nuls.is_some_and(|(first, last)| first < range.end && last >= range.start)
    }

    fn count(&mut self, octets: &[u8]) {
        let at = |position: usize| self.size + len_u64(position);
        if let Some(first) = memchr::memchr(0, octets).map(at) {
            let last = memchr::memrchr(0, octets).map_or(first, at);
            self.nuls = Some((self.nuls.map_or(first, |(first, _)| first), last));
        }
        self.size += len_u64(octets.len());
    }
}

/// A part that is being looked over.
pub(super) struct Measuring {
    source: Source,
    cursor: Cursor,
    measure: Measure,
}

impl Measuring {
    fn new(source: Source) -> Self {
        let cursor = Cursor::new(&source, 0);
        Self { source, cursor, measure: Measure::default() }
    }

    /// Decodes one piece, and returns how much of the message that was.
    fn step(&mut self, selected: &mut Selected) -> Result<usize> {
        let read = self.cursor.fill(selected, self.source.uid)?;
        self.measure.count(&self.cursor.decoded);
        self.cursor.take(self.cursor.decoded.len());
        Ok(read)
    }

    fn is_done(&self) -> bool {
        self.cursor.decoder.is_none()
    }

    fn finish(mut self) -> Binary {
        self.measure.outcome = self.cursor.outcome;
        Binary { source: self.source, measure: self.measure, cursor: None }
    }
}

/// Decoded data that is being sent.
pub(super) struct Sending {
    source: Source,
    cursor: Cursor,
    left: Range<u64>,
    /// Short data is held until all of it is there: it may be a quoted string.
    held: Option<Vec<u8>>,
}

impl Sending {
    /// Begins to send what is in a range of the decoded data; goes on where the last range ended, if that is possible.
    fn new(binary: &mut Binary, range: Range<u64>) -> Self {
        let source = binary.source.clone();
        let cursor = binary.cursor.take_if(|cursor| cursor.at <= range.start);
        let cursor = cursor.unwrap_or_else(|| Cursor::new(&source, range.start));
        Self { source, cursor, left: range, held: None }
    }

    fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Takes a piece of short data.
    fn hold(&mut self, selected: &mut Selected) -> Result<usize> {
        let mut held = self.held.take().unwrap_or_default();
        let done = self.step(selected, usize::MAX, &mut held);
        self.held = Some(held);
        done
    }

    /// Appends a piece, and returns how much of the message was read for it.
    fn step(&mut self, selected: &mut Selected, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let mut read = 0;
        if self.cursor.decoded.is_empty() {
            if self.cursor.decoder.is_none() {
                // Some of it may be sent already.
                return Err(Error::Refused("it is shorter than it was".into()));
            }
            read = self.cursor.fill(selected, self.source.uid)?;
        }
        let skipped = usize::try_from(self.left.start.saturating_sub(self.cursor.at)).unwrap_or(usize::MAX);
        let skipped = skipped.min(self.cursor.decoded.len());
        self.cursor.take(skipped);
        let wanted = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        let given = wanted.min(most).min(self.cursor.decoded.len());
        out.extend_from_slice(&self.cursor.decoded[..given]);
        self.cursor.take(given);
        self.left.start += len_u64(given);
        Ok(read)
    }

    /// Ends, and keeps the decoder for a partial that follows.
    fn finish(self, binary: Option<&mut Binary>) {
        if let Some(binary) = binary.filter(|binary| binary.source == self.source) {
            binary.cursor = Some(self.cursor);
        }
    }
}

/// A part on its way through a decoder.
struct Cursor {
    /// The octets of the message that come next.
    left: Range<u64>,
    /// `None` once all is decoded.
    decoder: Option<Decoder>,
    outcome: Outcome,
    scratch: Vec<u8>,
    /// What was decoded and not yet taken, and where in the decoded data that is.
    decoded: Vec<u8>,
    at: u64,
}

impl Cursor {
    /// Returns a cursor at this octet of the decoded data, or before.
    fn new(source: &Source, at: u64) -> Self {
        let Range { start, end } = source.range;
        let at = if source.encoding.is_identity() { at.min(end - start) } else { 0 };
        Self {
            left: start + at..end,
            decoder: Some(Decoder::new(source.encoding)),
            outcome: Outcome::Exact,
            scratch: Vec::new(),
            decoded: Vec::new(),
            at,
        }
    }

    /// Decodes a piece, and returns how much of the message was read.
    fn fill(&mut self, selected: &mut Selected, uid: Uid) -> Result<usize> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX).min(PIECE);
        self.scratch.clear();
        let mut read = 0;
        if most > 0 {
            read = selected.mailbox.read(uid, Extent::Whole, self.left.start, most, &mut self.scratch)?;
            // No more than was asked for, whatever the store gave.
            self.scratch.truncate(most);
            read = read.min(most);
        }
        decoder.push(&self.scratch, &mut self.decoded);
        self.left.start += len_u64(read);
        if self.left.is_empty() || read == 0 {
            if let Some(decoder) = self.decoder.take() {
                self.outcome = decoder.finish(&mut self.decoded);
            }
            self.scratch = Vec::new();
        }
        Ok(read)
    }

    fn take(&mut self, octets: usize) {
        self.decoded.drain(..octets);
        self.at += len_u64(octets);
    }
}

fn len_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
