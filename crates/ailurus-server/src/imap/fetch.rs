//! FETCH and UID FETCH (RFC 3501 §6.4.5; spec/imapd.md §8).
//!
//! Responses are made while the client takes them. What is held is one header block, the parts of one message, and a slice
//! of output: a message itself goes from the mailbox to the output.
//!
//! `\Seen` is set for all messages at the end by one edit, since an edit costs a lock and often a sync.

mod binary;

pub(crate) use binary::Binary;

use crate::imap::select::Selected;
use crate::imap::session::{Session, State, Step, Task};
use crate::imap::tagged::{Notes, Outcome};
use crate::imap::wording;
use ailurus_message::header::{self, Keep};
use ailurus_message::{Envelope, MAX_HEADER, Message, Scanner};
use ailurus_proto::imap::print;
use ailurus_proto::imap::response;
use ailurus_proto::imap::{
    CommandName, FetchArgs, FetchItem, MessageSet, Numbering, Partial, Section, SectionText, SyntaxError, Tag,
};
use ailurus_store::{Error, Extent, MessageInfo, NoteKind, Result};
use ailurus_types::{FlagChange, FlagOp, Flags, SeqNum, SystemFlags, Uid, UidSet};
use std::ops::Range;

/// A FETCH under way.
pub(crate) struct Fetch {
    name: CommandName,
    items: Vec<FetchItem>,
    /// Ranges of sequence numbers that are still to be fetched, the last one first.
    left: Vec<(u32, u32)>,
    hint: usize,
    current: Option<Current>,
    scratch: Vec<u8>,
    /// Whether items may set `\Seen`, and whether the new flags are told in the same response.
    sets_seen: bool,
    tells_seen: bool,
    seen: UidSet,
    /// A message was gone.
    gone: bool,
    failed: Option<Outcome>,
}

/// The message that is being fetched.
struct Current {
    seq: SeqNum,
    info: MessageInfo,
    /// The number of the item that comes next.
    item: usize,
    /// The response was begun.
    begun: bool,
    /// It has an item that sets `\Seen`.
    seen: bool,
    /// Octets of the message that are to follow as they are.
    stream: Option<Range<u64>>,
    scan: Option<(Scanner, u64)>,
    /// The part that BINARY is about.
    binary: Option<binary::Work>,
    parts: Option<Message<'static>>,
    header: Option<Header>,
}

/// The header block of a message.
struct Header {
    /// Its first octets, at most [`MAX_HEADER`].
    octets: Vec<u8>,
    /// The length of all of it.
    len: u64,
}

/// Sections up to this size are looked at whether they can be quoted strings; larger ones are literals.
const MAX_QUOTED: u64 = 4096;
/// How much is read at a time when it is not for the output.
const PIECE: usize = 64 * 1024;
/// How much of a message is scanned before others have their turn.
const SLICE: usize = 1024 * 1024;
/// The parts of a message are kept for the next FETCH if they take no more memory than this.
const KEPT_PARTS: usize = 128 * 1024;

/// BODYSTRUCTURE as it is sent. The number is to be changed with whatever changes what of a message is sent.
const BODY_STRUCTURE: NoteKind = NoteKind(1);

/// What an item needs before it can be appended.
enum Need {
    Nothing,
    Parts,
    /// What was begun of BINARY.
    Binary,
    /// It cannot be had, for this reason (`UNKNOWN-CTE`).
    Refusal(&'static str),
}

impl Session {
    pub(crate) fn fetch(&mut self, tag: Tag, name: CommandName, args: FetchArgs) {
        let State::Selected(_, selected) = &self.state else { return };
        let bogus = |error| Outcome::bad(SyntaxError::BogusSequence(name, error));
        let left = args.set.and_then(|set| match (set, name.numbering()) {
            (MessageSet::Saved, _) => Ok(seqs_of(selected, &selected.saved)),
            (MessageSet::Numbers(set), Numbering::SeqNum) => set.seqs(selected.view.exists()),
            (MessageSet::Numbers(set), Numbering::Uid) => {
                Ok(seqs_of(selected, &set.uids(selected.view.largest_uid())))
            }
        });
        let mut left = match left {
            Ok(left) => left,
            Err(error) => return self.finish(tag, name, bogus(error)),
        };
        let items = match args.items {
            Ok(items) => items,
            Err(error) => return self.finish(tag, name, Outcome::bad(error)),
        };
        left.reverse();
        let fetch = Fetch {
            name,
            left,
            hint: 0,
            current: None,
            scratch: Vec::new(),
            sets_seen: selected.is_writable(),
            tells_seen: items.contains(&FetchItem::Rfc822),
            items,
            seen: UidSet::new(),
            gone: false,
            failed: None,
        };
        self.run(tag, name, Task::Fetch(Box::new(fetch)));
    }
}

/// Returns the sequence numbers of the messages that a set of UIDs names.
pub(crate) fn seqs_of(selected: &Selected, uids: &UidSet) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (seq, _) in selected.view.messages_by_uid(uids) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seq.get() => *last = seq.get(),
            _ => ranges.push((seq.get(), seq.get())),
        }
    }
    ranges
}

impl Fetch {
    /// Tells whether a response was begun and not ended.
    pub(crate) fn is_within_response(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.begun)
    }

    pub(crate) fn step(
        &mut self,
        selected: &mut Selected,
        notes: &mut Notes,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Step {
        let mut scanned = 0;
        while out.len() < limit {
            let Some(current) = &mut self.current else {
                if self.next_message(selected) {
                    continue;
                }
                return Step::Next(Task::Refresh(self.end(selected, notes, out)));
            };
            if let Some(range) = &mut current.stream {
                let uid = current.info.uid();
                if let Err(text) = stream(selected, uid, range, out, limit) {
                    return Step::Abort(text);
                }
                if range.is_empty() {
                    current.stream = None;
                }
            } else if let Some((scanner, at)) = &mut current.scan {
                self.scratch.clear();
                let uid = current.info.uid();
                match selected.mailbox.read(uid, Extent::Whole, *at, PIECE, &mut self.scratch) {
                    Ok(0) => {
                        current.parts = current.scan.take().map(|(scanner, _)| scanner.finish());
                    }
                    Ok(read) => {
                        scanner.push(&self.scratch);
                        *at += u64::try_from(read).unwrap_or(0);
                        scanned += read;
                        if scanned >= SLICE {
                            return Step::Yield;
                        }
                    }
                    Err(error) => {
                        current.scan = None;
                        self.item_failed(selected, &error);
                    }
                }
            } else if current.binary.is_some() {
                match self.binary_step(selected, out, limit) {
                    Ok(read) => scanned += read,
                    Err(step) => return step,
                }
                if scanned >= SLICE {
                    return Step::Yield;
                }
            } else if let Some(item) = self.items.get(current.item) {
                match append_item(item, selected, current, &mut self.scratch, out) {
                    Ok(Need::Nothing) => {
                        current.seen |= item.sets_seen();
                        current.item += 1;
                    }
                    Ok(Need::Parts) => current.scan = Some((Scanner::new(), 0)),
                    Ok(Need::Binary) => {}
                    Ok(Need::Refusal(reason)) => self.refuse_binary(reason),
                    Err(error) => self.item_failed(selected, &error),
                }
            } else {
                self.end_message(selected, out);
            }
        }
        Step::Continue
    }

    /// Goes to the next message; `false` when there is none.
    fn next_message(&mut self, selected: &mut Selected) -> bool {
        let Some((first, last)) = self.left.last_mut() else { return false };
        let seq = *first;
        if first == last {
            self.left.pop();
        } else {
            *first += 1;
        }
        let found = SeqNum::new(seq).and_then(|seq| {
            let info = selected.message(selected.view.uid(seq)?, &mut self.hint)?;
            Some((seq, info))
        });
        match found {
            Some((seq, info)) => {
                let parts = selected.parts.take_if(|(uid, _)| *uid == info.uid());
                self.current = Some(Current {
                    seq,
                    info,
                    item: 0,
                    begun: false,
                    seen: false,
                    stream: None,
                    scan: None,
                    binary: None,
                    parts: parts.map(|(_, parts)| parts),
                    header: None,
                });
            }
            None => self.gone = true,
        }
        true
    }

    /// Leaves out an item that cannot be had, before anything of it was sent.
    fn item_failed(&mut self, selected: &Selected, error: &Error) {
        if let Error::Expunged { .. } = error {
            self.gone = true;
        } else {
            self.failed.get_or_insert_with(|| wording::failure(error, self.name, &selected.name));
        }
        if let Some(current) = &mut self.current {
            current.item += 1;
        }
    }

    fn end_message(&mut self, selected: &mut Selected, out: &mut Vec<u8>) {
        let Some(mut current) = self.current.take() else { return };
        if let Some(parts) = current.parts.take_if(|parts| parts.memory() <= KEPT_PARTS) {
            selected.parts = Some((current.info.uid(), parts));
        }
        if !current.begun {
            return;
        }
        let flags = current.info.flags();
        if self.sets_seen && current.seen && !flags.system.contains(SystemFlags::SEEN) {
            self.seen.insert(current.info.uid());
            if self.tells_seen {
                current.info.set_flags(with_seen(flags));
                out.push(b' ');
                selected.append_flags(&current.info, out);
            }
        }
        response::fetch_end(out);
    }

    /// Sets `\Seen` and says what came of it all.
    fn end(&mut self, selected: &mut Selected, notes: &mut Notes, out: &mut Vec<u8>) -> Outcome {
        if !self.seen.is_empty()
            && let Err(error) = self.set_seen(selected)
        {
            notes.warn(wording::disk(&error), out);
            if self.tells_seen {
                // It was told already.
                selected.view.tell_flags(&self.seen);
            }
        }
        if let Some(failed) = self.failed.take() {
            return failed;
        }
        if self.gone {
            return wording::failure(&Error::Expunged { uid: 0 }, self.name, &selected.name);
        }
        Outcome::ok()
    }

    fn set_seen(&self, selected: &mut Selected) -> Result<()> {
        let change = FlagChange { op: FlagOp::Add, system: SystemFlags::SEEN, keywords: Vec::new() };
        let told = if self.tells_seen { selected.flags_of(&self.seen) } else { Vec::new() };
        let mut edit = match selected.edit() {
            // All that was fetched is gone.
            Err(Error::Expunged { .. }) => return Ok(()),
            edit => edit?,
        };
        let _unknown = edit.store(&self.seen, &change)?;
        let changes = edit.commit()?;
        selected.note(&changes);
        selected.flags_foreseen(told.into_iter().map(|(uid, flags)| (uid, with_seen(flags))));
        Ok(())
    }
}

fn with_seen(flags: Flags) -> Flags {
    Flags { system: flags.system | SystemFlags::SEEN, ..flags }
}

/// Appends octets of a message as they are; an error says why the response cannot be ended.
fn stream(
    selected: &mut Selected,
    uid: Uid,
    range: &mut Range<u64>,
    out: &mut Vec<u8>,
    limit: usize,
) -> std::result::Result<(), String> {
    let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let most = left.min(limit.saturating_sub(out.len()).max(1));
    let start = out.len();
    match selected.mailbox.read(uid, Extent::Whole, range.start, most, out) {
        Ok(0) => return Err(format!("Message with UID {uid} is shorter than it was")),
        Ok(_) => {}
        Err(error) => return Err(format!("Message with UID {uid} cannot be read on: {error}")),
    }
    // No more than was asked for, whatever the store gave: the client counts.
    out.truncate(start + most);
    range.start += u64::try_from(out.len() - start).unwrap_or(0);
    clean(&mut out[start..]);
    Ok(())
}

/// Makes each NUL, which IMAP cannot carry (RFC 3501 §4.3), the octet that the reference sends.
fn clean(octets: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(0, &octets[at..]) {
        at += found;
        octets[at] = 0x80;
    }
}

/// Appends an item with its value, or the beginning of it and has `current.stream` followed.
fn append_item(
    item: &FetchItem,
    selected: &mut Selected,
    current: &mut Current,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Need> {
    match item {
        FetchItem::Uid => {
            begin(current, out);
            out.extend_from_slice(b"UID ");
            print::number(out, current.info.uid().get().into());
        }
        FetchItem::Flags => {
            begin(current, out);
            selected.append_flags(&current.info, out);
        }
        FetchItem::InternalDate => {
            begin(current, out);
            out.extend_from_slice(b"INTERNALDATE ");
            print::internal_date(out, &current.info.internal_date());
        }
        FetchItem::Rfc822Size => {
            begin(current, out);
            out.extend_from_slice(b"RFC822.SIZE ");
            print::number(out, current.info.rfc822_size().into());
        }
        FetchItem::Envelope => {
            load_header(selected, current)?;
            begin(current, out);
            out.extend_from_slice(b"ENVELOPE ");
            let octets = current.header.as_ref().map_or(&[][..], |header| &header.octets);
            Envelope::parse(octets).print(out);
        }
        FetchItem::Body | FetchItem::BodyStructure => {
            let is_noted = current.parts.is_none();
            if is_noted && !find_note(item, selected, current, scratch) {
                return Ok(Need::Parts);
            }
            begin(current, out);
            item.append_name(out);
            out.push(b' ');
            match (&current.parts, item) {
                (None, _) => out.extend_from_slice(scratch),
                (Some(parts), FetchItem::Body) => parts.body(out),
                (Some(parts), _) => {
                    let start = out.len();
                    parts.body_structure(out);
                    if let Some(mut notes) = selected.mailbox.notes() {
                        notes.put(&current.info, BODY_STRUCTURE, &out[start..]);
                    }
                }
            }
        }
        FetchItem::Rfc822 => {
            let size = current.info.rfc822_size().into();
            begin(current, out);
            out.extend_from_slice(b"RFC822 ");
            print::literal_size(out, usize::try_from(size).unwrap_or(usize::MAX));
            current.stream = Some(0..size).filter(|range| !range.is_empty());
        }
        FetchItem::Rfc822Header => {
            let len = load_header(selected, current)?;
            append_octets(item, None, 0..len, selected, current, scratch, out)?;
        }
        FetchItem::Rfc822Text => {
            let start = load_header(selected, current)?;
            let range = start..current.info.rfc822_size().into();
            append_octets(item, None, range, selected, current, scratch, out)?;
        }
        FetchItem::Section(section, partial, _) => {
            return append_section(item, section, *partial, selected, current, scratch, out);
        }
        FetchItem::Binary(part, partial, _) => {
            return binary::append_item(item, part, *partial, selected, current, out);
        }
        FetchItem::BinarySize(part) => {
            return binary::append_item(item, part, None, selected, current, out);
        }
        _ => {}
    }
    Ok(Need::Nothing)
}

/// Looks whether the value of an item was noted, and puts it into `scratch`.
fn find_note(item: &FetchItem, selected: &mut Selected, current: &Current, scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    *item == FetchItem::BodyStructure
        && selected.mailbox.notes().is_some_and(|mut notes| notes.get(&current.info, BODY_STRUCTURE, scratch))
}

/// Begins the response, or goes on with the next item.
fn begin(current: &mut Current, out: &mut Vec<u8>) {
    if std::mem::replace(&mut current.begun, true) {
        out.push(b' ');
    } else {
        response::fetch_start(out, current.seq);
    }
}

fn append_section(
    item: &FetchItem,
    section: &Section,
    partial: Option<Partial>,
    selected: &mut Selected,
    current: &mut Current,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Need> {
    use ailurus_message::SectionText as Part;
    let size: u64 = current.info.rfc822_size().into();
    let fields = match &section.text {
        SectionText::HeaderFields(names) => Some((names, Keep::Named)),
        SectionText::HeaderFieldsNot(names) => Some((names, Keep::Others)),
        _ => None,
    };
    let range = if section.part.is_empty() {
        match section.text {
            SectionText::All => Some(0..size),
            SectionText::Text => Some(load_header(selected, current)?..size),
            SectionText::Mime => None,
            _ => Some(0..load_header(selected, current)?),
        }
    } else {
        let Some(parts) = &current.parts else { return Ok(Need::Parts) };
        let text = match section.text {
            SectionText::All => Part::Body,
            SectionText::Text => Part::Text,
            SectionText::Mime => Part::Mime,
            _ => Part::Header,
        };
        parts.section(&section.part, text)
    };
    match (fields, range) {
        (_, None) => append_octets(item, partial, 0..0, selected, current, scratch, out)?,
        (None, Some(range)) => append_octets(item, partial, range, selected, current, scratch, out)?,
        (Some((names, keep)), Some(range)) => {
            let whole = read_header(selected, current, range, scratch)?;
            let mut kept = Vec::new();
            header::filter(whole, names, keep, &mut kept);
            let slice = cut(0..u64::try_from(kept.len()).unwrap_or(0), partial);
            let slice = usize::try_from(slice.start).unwrap_or(0)..usize::try_from(slice.end).unwrap_or(0);
            begin(current, out);
            item.append_name(out);
            out.push(b' ');
            print::string(out, kept.get(slice).unwrap_or_default());
        }
    }
    Ok(Need::Nothing)
}

/// Returns a header block, of which [`MAX_HEADER`] octets are enough.
fn read_header<'b>(
    selected: &mut Selected,
    current: &'b Current,
    range: Range<u64>,
    scratch: &'b mut Vec<u8>,
) -> Result<&'b [u8]> {
    match &current.header {
        Some(header) if range.start == 0 && range.end == header.len => Ok(&header.octets),
        _ => {
            let most = u64::try_from(MAX_HEADER).unwrap_or(u64::MAX);
            let range = range.start..range.end.min(range.start.saturating_add(most));
            read_range(selected, current.info.uid(), range, scratch)?;
            Ok(scratch)
        }
    }
}

/// Returns the octets of a range that a partial means.
fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { origin, count }) = partial else { return range };
    let start = range.start.saturating_add(origin).min(range.end);
    start..start.saturating_add(count).min(range.end)
}

/// Appends an item whose value is octets of the message.
fn append_octets(
    item: &FetchItem,
    partial: Option<Partial>,
    range: Range<u64>,
    selected: &mut Selected,
    current: &mut Current,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let range = cut(range, partial);
    let len = range.end.saturating_sub(range.start);
    let is_short = len <= MAX_QUOTED;
    if is_short {
        read_range(selected, current.info.uid(), range.clone(), scratch)?;
    }
    begin(current, out);
    item.append_name(out);
    out.push(b' ');
    if is_short {
        print::string(out, scratch);
    } else {
        print::literal_size(out, usize::try_from(len).unwrap_or(usize::MAX));
        current.stream = Some(range);
    }
    Ok(())
}

/// Reads octets of a message into `scratch`; fewer if the message ends before.
fn read_range(selected: &mut Selected, uid: Uid, range: Range<u64>, scratch: &mut Vec<u8>) -> Result<()> {
    scratch.clear();
    let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    while scratch.len() < len {
        let at = range.start + u64::try_from(scratch.len()).unwrap_or(0);
        if selected.mailbox.read(uid, Extent::Whole, at, len - scratch.len(), scratch)? == 0 {
            break;
        }
    }
    scratch.truncate(len);
    Ok(())
}

/// Reads the header block unless it is here already, and returns its length.
fn load_header(selected: &mut Selected, current: &mut Current) -> Result<u64> {
    if let Some(header) = &current.header {
        return Ok(header.len);
    }
    let uid = current.info.uid();
    let mut octets = Vec::new();
    let mut len = 0;
    // Of a header that is larger, only the length matters from there on.
    let mut rest = Vec::new();
    loop {
        let keep = octets.len() < MAX_HEADER;
        let into = if keep { &mut octets } else { &mut rest };
        let read = selected.mailbox.read(uid, Extent::Header, len, PIECE, into)?;
        rest.clear();
        if read == 0 {
            break;
        }
        len += u64::try_from(read).unwrap_or(0);
    }
    current.header = Some(Header { octets, len });
    Ok(len)
}
