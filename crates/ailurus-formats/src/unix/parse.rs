//! Reading a file of unix or mmdf format: one pass, in blocks, into small records (spec/formats-unix.md §4).

use super::dialect::{Dialect, MARK, has_mark_after};
use super::render::{Old, append_block};
use super::window::{Window, count, end_without_nuls};
use crate::crlf::{CrFilter, Internal};
use crate::files::next_validity;
use crate::from_line::FromLine;
use crate::journal::read_up_to;
use ailurus_store::{Environment, Level, Manner, MessageInfo};
use ailurus_types::{Flags, InternalDate, Keyword, KeywordMask, Keywords, SystemFlags, Uid};
use memchr::{memchr, memchr_iter, memmem};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

/// How many keywords a mailbox can have.
pub(super) const KEYWORDS: usize = 30;

const MOST_BLOCK_KEPT: usize = 4096;
/// How much of a line is in a notice: who sends mail decides how long lines are, and notices wait in memory.
const MOST_SHOWN: usize = 80;

/// Where a message is in the file, beside its [`MessageInfo`]; 32 octets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// Where it starts: with the From_ line, in mmdf format with the MARK before that.
    pub(super) start: u64,
    /// Length of the text on the disk, without the empty line or MARK that ends the message.
    pub(super) text_len: u64,
    /// Length of what is before the header: From_ line with its line end, MARK.
    pub(super) from_len: u32,
    /// Length of the header on the disk, with internal fields and the empty line.
    pub(super) header_len: u32,
    /// Length of the header's visible lines, as a rewrite would write them, without the empty line.
    pub(super) visible_len: u32,
    pub(super) bits: u8,
    /// Length of the empty line or MARK that ends the message.
    pub(super) separator_len: u8,
}

impl Slot {
    /// The visible header follows the From_ line in one piece and ends with LF; neither has a CR.
    pub(super) const CONTIGUOUS: u8 = 1;
    /// The status block is octet for octet what we would write.
    pub(super) const CLEAN: u8 = 2;
    /// The status block on the disk is not what it should be now.
    pub(super) const DIRTY: u8 = 4;
    /// There is a CR somewhere.
    pub(super) const HAS_CR: u8 = 8;
    /// The visible header does not end with LF.
    pub(super) const OPEN_HEADER: u8 = 16;
    /// There is no empty line after the header: the file ends there.
    pub(super) const NO_EMPTY_LINE: u8 = 32;
    /// The text does not end with LF, and must: the file ends there.
    pub(super) const OPEN_TEXT: u8 = 64;
    /// It has no MARK of its own to start with: that which ends the message before does for both.
    pub(super) const OPEN_START: u8 = 128;

    pub(super) fn has(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    pub(super) fn set(&mut self, bit: u8, on: bool) {
        self.bits = if on { self.bits | bit } else { self.bits & !bit };
    }

    pub(super) fn header_start(&self) -> u64 {
        self.start + u64::from(self.from_len)
    }

    pub(super) fn text_start(&self) -> u64 {
        self.header_start() + u64::from(self.header_len)
    }

    pub(super) fn text_end(&self) -> u64 {
        self.text_start() + self.text_len
    }

    pub(super) fn end(&self) -> u64 {
        self.text_end() + u64::from(self.separator_len)
    }
}

/// Where the digits of the last UID are in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LastUidDigits {
    pub(super) at: u64,
    pub(super) count: u8,
}

/// What is known of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub(super) dialect: Dialect,
    pub(super) messages: Vec<MessageInfo>,
    pub(super) slots: Vec<Slot>,
    pub(super) keywords: Keywords,
    /// 0: unknown.
    pub(super) uid_validity: u32,
    pub(super) uid_last: u32,
    pub(super) last_uid_digits: Option<LastUidDigits>,
    /// Where the pseudo message ends, if there is one.
    pub(super) pseudo: Option<u64>,
    /// Everything before this is parsed; what follows in the file is NULs.
    pub(super) end: u64,
    /// The length of the file when it was parsed.
    pub(super) file_len: u64,
    /// Something in memory is not in the file.
    pub(super) dirty: bool,
    /// UIDs were assigned that are not in the file.
    pub(super) unwritten_uids: bool,
    /// What is parsed ends with a MARK.
    pub(super) marked: bool,
    /// The next parse would find or tell something else: there was a warning, or a date that is that of the file.
    pub(super) passing: bool,
    pub(super) distrusted: bool,
    pub(super) old_validity: u32,
    pub(super) in_file: u32,
}

/// Why a parse failed.
#[derive(Debug)]
pub(super) enum ParseError {
    /// What should begin a message does not.
    NoFromLine {
        found: String,
    },
    /// A header of more than 4 GiB.
    HeaderTooLong {
        at: u64,
    },
    Io(io::Error),
}

impl From<io::Error> for ParseError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Scan {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Parses what is behind the part that is parsed already.
    pub(super) fn parse(&mut self, file: &File, env: &Environment, manner: Manner) -> Result<(), ParseError> {
        let file_len = file.metadata()?.len();
        let end = end_without_nuls(file, self.end, file_len)?;
        let first_new = self.slots.len();
        Parser::new(self, file, end, env, manner)?.run()?;
        if first_new == 0 {
            // They grew by doubling; few more will come.
            self.messages.shrink_to_fit();
            self.slots.shrink_to_fit();
        }
        self.end = end;
        self.file_len = file_len;
        self.dirty |= end < file_len;
        self.settle(env, manner, first_new);
        Ok(())
    }

    /// Parses only as far as the keyword list can be: the first message.
    pub(super) fn keywords_of(
        dialect: Dialect,
        file: &File,
        env: &Environment,
    ) -> Result<Keywords, ParseError> {
        let mut scan = Self::new(dialect);
        let length = file.metadata()?.len();
        let mut parser = Parser::new(&mut scan, file, length, env, Manner::Silent)?;
        let start = parser.skip_blanks(0)?;
        if start < length {
            parser.message(start)?;
        }
        Ok(scan.keywords)
    }

    fn settle(&mut self, env: &Environment, manner: Manner, first_new: usize) {
        if self.uid_validity == 0 {
            self.uid_validity = next_validity(env, self.old_validity);
            if self.messages.is_empty() {
                // Who finds the file empty next may take another value: nobody has a UID of this one.
                return;
            }
            if manner == Manner::Session {
                env.notices.tell(Level::Info, "Assigning new unique identifiers to all messages");
            }
            self.dirty = true;
            self.unwritten_uids = true;
            self.old_validity = self.uid_validity;
            self.distrusted = false;
            if self.pseudo.is_none() {
                self.mark_first();
            }
        }
        if self.messages[first_new.min(self.messages.len())..].iter().any(MessageInfo::is_recent) {
            self.dirty = true;
        }
    }

    /// Reads the last octets of what is parsed: if they are others by now, a program moved messages about.
    pub(super) fn tail(&self, file: &File) -> io::Result<Vec<u8>> {
        const MOST: u64 = 256;
        let count = self.end.min(MOST);
        let mut tail = Vec::new();
        read_up_to(file, self.end - count, usize::try_from(count).unwrap_or(0), &mut tail)?;
        Ok(tail)
    }

    /// Notes that the first message, which carries the UID state, must be written.
    pub(super) fn mark_first(&mut self) {
        if let Some(first) = self.slots.first_mut() {
            first.set(Slot::DIRTY, true);
        }
    }

    /// Returns the next UID for a message, or starts afresh when they are used up.
    fn next_uid(&mut self) -> Uid {
        let next = self.uid_last.checked_add(1).unwrap_or_else(|| {
            for (number, (message, slot)) in self.messages.iter_mut().zip(&mut self.slots).enumerate() {
                let uid = u32::try_from(number + 1).ok().and_then(Uid::new).unwrap_or(Uid::MAX);
                message.set_uid(uid);
                slot.set(Slot::DIRTY, true);
            }
            self.distrust();
            u32::try_from(self.messages.len() + 1).unwrap_or(u32::MAX)
        });
        self.uid_last = next;
        Uid::new(next).unwrap_or(Uid::MIN)
    }

    /// From here on no UID in the file is believed, and the mailbox gets a new UID validity value.
    fn distrust(&mut self) {
        self.old_validity = self.old_validity.max(self.uid_validity);
        self.uid_validity = 0;
        self.distrusted = true;
    }
}

pub(super) struct Parser<'s> {
    pub(super) dialect: Dialect,
    pub(super) window: Window<'s>,
    pub(super) finder: memmem::Finder<'static>,
    pub(super) scan: &'s mut Scan,
    env: &'s Environment,
    manner: Manner,
    offset: i16,
    // That of messages without a From_ line.
    file_date: InternalDate,
    // The internal fields at the end of the header, as they are and as we would write them.
    block: Vec<u8>,
    rendered: Vec<u8>,
}

/// What a header was found to be.
struct Header {
    slot: Slot,
    flags: Flags,
    old: bool,
    uid: Option<Uid>,
    is_pseudo: bool,
    // In CRLF form, with the empty line.
    visible_size: u64,
}

impl<'s> Parser<'s> {
    /// Returns the parser of what follows the part of the file that is parsed already.
    fn new(
        scan: &'s mut Scan,
        file: &'s File,
        end: u64,
        env: &'s Environment,
        manner: Manner,
    ) -> io::Result<Self> {
        Ok(Self {
            dialect: scan.dialect,
            window: Window::new(file, scan.end, end),
            finder: memmem::Finder::new(scan.dialect.needle()),
            scan,
            env,
            manner,
            offset: env.clock.local_offset(),
            file_date: InternalDate::from_timestamp(file.metadata()?.mtime(), 0),
            block: Vec::new(),
            rendered: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<(), ParseError> {
        let mut position = self.skip_blanks(self.window.base)?;
        while position < self.window.end {
            position = self.message(position)?;
        }
        Ok(())
    }

    fn tell(&mut self, level: Level, text: String) {
        self.scan.passing = true;
        if self.manner == Manner::Session {
            self.env.notices.tell(level, text);
        }
    }

    fn skip_blanks(&mut self, mut position: u64) -> io::Result<u64> {
        loop {
            let data = self.window.data(position, 1)?;
            let blank = |octet: &u8| matches!(octet, b'\r' | b'\n' | b' ' | b'\t' | 0);
            match data.iter().position(|octet| !blank(octet)) {
                Some(at) => return Ok(position + at as u64),
                None if data.is_empty() => return Ok(position),
                None => position += data.len() as u64,
            }
        }
    }

    /// Parses the message at `start`; returns where the next one starts.
    fn message(&mut self, start: u64) -> Result<u64, ParseError> {
        self.scan.in_file += 1;
        let (slot, date) = self.envelope(start)?;
        let mut header = self.header(slot)?;
        let text_start = header.slot.text_start();
        let body = self.body(text_start)?;
        let slot = &mut header.slot;
        slot.separator_len = body.separator;
        slot.text_len = body.end - text_start - u64::from(body.separator);
        // What a rewrite will supply is shown from the start: the content of a UID never changes.
        let supplied = if body.ended { 0 } else { 2 };
        slot.set(Slot::OPEN_TEXT, !body.ended);
        if body.crs > 0 || body.separator == 2 {
            slot.set(Slot::HAS_CR, true);
        }
        if header.is_pseudo {
            self.scan.pseudo = Some(body.end);
            return Ok(body.end);
        }
        let uid = match header.uid {
            Some(uid) => uid,
            None => {
                self.scan.dirty = true;
                self.scan.unwritten_uids = true;
                header.slot.set(Slot::DIRTY, true);
                self.scan.next_uid()
            }
        };
        let text_size = header.slot.text_len - body.crs + body.lfs + supplied;
        let mut message = MessageInfo::new(uid, header.flags, date, header.visible_size + text_size);
        message.set_recent(!header.old);
        if !header.old {
            header.slot.set(Slot::DIRTY, true);
        }
        self.scan.messages.push(message);
        self.scan.slots.push(header.slot);
        Ok(body.end)
    }

    /// Reads what is before the header: From_ line, MARK.
    fn envelope(&mut self, start: u64) -> Result<(Slot, InternalDate), ParseError> {
        let (dialect, offset) = (self.dialect, self.offset);
        let mut slot = Slot { start, ..Slot::default() };
        let mut at = start;
        if dialect == Dialect::Mmdf {
            if self.window.data(start, MARK.len())?.starts_with(MARK) {
                at += MARK.len() as u64;
            } else if self.scan.marked {
                slot.set(Slot::OPEN_START, true);
                slot.set(Slot::DIRTY, true);
            } else {
                return Err(no_start(self.window.line(start)?.0));
            }
        }
        let (line, length) = self.window.line(at)?;
        let full = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let date = match full.and_then(|line| Some((line, FromLine::parse(line)?))) {
            Some((text, from)) => {
                slot.set(Slot::HAS_CR, text.len() as u64 + 1 != length);
                at += length;
                let date = from.date(text, offset);
                date.unwrap_or_else(|(so_far, text)| {
                    self.tell(Level::Warning, format!("Unable to parse internal date: {text}"));
                    so_far
                })
            }
            None if dialect == Dialect::Unix => return Err(no_start(line)),
            None => {
                self.scan.passing = true;
                self.file_date
            }
        };
        slot.from_len = u32::try_from(at - start).map_err(|_| ParseError::HeaderTooLong { at: start })?;
        Ok((slot, date))
    }

    fn header(&mut self, slot: Slot) -> Result<Header, ParseError> {
        let (start, flags) = (slot.header_start(), Flags::default());
        let mut header = Header { slot, flags, old: false, uid: None, is_pseudo: false, visible_size: 0 };
        let mut lines = Lines::new(self.dialect, self.window.file, slot.has(Slot::HAS_CR));
        self.block.clear();
        let mut position = start;
        let (mut after_internal, mut at_mark) = (false, false);
        while position < self.window.end && !at_mark {
            let (mut line, mut length) = self.window.line(position)?;
            if self.dialect == Dialect::Mmdf
                && let Some(before) = before_mark(line, position, length, lines.file)?
            {
                if before == 0 {
                    break;
                }
                at_mark = true;
                length = before;
                line = &line[..line.len().min(usize::try_from(before).unwrap_or(usize::MAX))];
            }
            position += length;
            if lines.ends_with(line) {
                self.block.push(b'\n');
                break;
            }
            let continues = matches!(line[0], b' ' | b'\t');
            let field = if continues { None } else { Internal::of(line) };
            if field.is_some() || (continues && after_internal) {
                after_internal = true;
                lines.has_cr |= line.ends_with(b"\r\n");
                if self.block.len() < MOST_BLOCK_KEPT {
                    self.block.extend_from_slice(line);
                }
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                match field {
                    Some(field) => {
                        let line = line.to_vec();
                        self.field(field, &line, position - length, &mut header);
                    }
                    None => {
                        let shown = String::from_utf8_lossy(&line[..line.len().min(MOST_SHOWN)]).into_owned();
                        self.discard_continuation(&shown);
                    }
                }
                continue;
            }
            after_internal = false;
            lines.contiguous &= self.block.is_empty();
            lines.add(line, position - length..position)?;
        }
        header.visible_size = lines.size();
        lines.describe(&mut header.slot, position - start)?;
        self.judge_block(&mut header);
        Ok(header)
    }

    fn discard_continuation(&mut self, shown: &str) {
        let number = self.scan.in_file;
        self.tell(Level::Warning, format!("Discarding bogus continuation in msg {number}: {shown}"));
    }

    /// Tells whether the internal fields are octet for octet what we would write.
    fn judge_block(&mut self, header: &mut Header) {
        let Some(uid) = header.uid else { return };
        if header.slot.has(Slot::CONTIGUOUS) && header.old {
            self.rendered.clear();
            let keywords = &self.scan.keywords;
            append_block(None, header.flags, Old::Yes, uid.get(), keywords, &mut self.rendered);
            header.slot.set(Slot::CLEAN, self.rendered == self.block);
        }
    }

    fn field(&mut self, field: Internal, line: &[u8], at: u64, header: &mut Header) {
        let colon = memchr(b':', line).unwrap_or(0);
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        match field {
            Internal::Status | Internal::XStatus => read_status(value, header),
            Internal::XKeywords => {
                for word in value.split(|octet| *octet == b' ').filter(|word| word.len() <= Keyword::MAX_LEN)
                {
                    let slot = std::str::from_utf8(word).ok().and_then(|word| self.scan.keywords.find(word));
                    if let Some(slot) = slot.filter(|_| !word.is_empty()) {
                        header.flags.keywords = header.flags.keywords.union(KeywordMask::slot(slot));
                    }
                }
            }
            Internal::XImap | Internal::XImapBase => {
                let first = self.scan.in_file == 1;
                if first && self.scan.uid_validity == 0 && !self.scan.distrusted && !header.is_pseudo {
                    let value_at = at + colon as u64 + 1;
                    if self.base(value, value_at) && field == Internal::XImap {
                        header.is_pseudo = true;
                    }
                }
            }
            Internal::XUid => self.uid(value, header),
            Internal::Bogus => {
                let (name, number) = (String::from_utf8_lossy(name.trim_ascii_end()), self.scan.in_file);
                let text = format!("Discarding bogus {name} header in message {number}");
                self.tell(Level::Warning, text);
            }
        }
    }

    /// Takes the UID state over; false if it is none.
    fn base(&mut self, value: &[u8], value_at: u64) -> bool {
        let blanks = value.iter().take_while(|octet| **octet == b' ').count();
        let Some((validity, digits)) = number(&value[blanks..]) else { return false };
        let rest = &value[blanks + digits..];
        let between = rest.iter().take_while(|octet| **octet == b' ').count();
        let Some((last, count)) = number(&rest[between..]) else { return false };
        if validity == 0 || between == 0 {
            return false;
        }
        let digits_at = blanks + digits + between;
        self.scan.uid_validity = validity;
        self.scan.uid_last = last;
        self.scan.last_uid_digits =
            Some(LastUidDigits { at: value_at + digits_at as u64, count: u8::try_from(count).unwrap_or(0) });
        let words = rest[between + count..].split(|octet| *octet == b' ').filter(|word| !word.is_empty());
        for word in words.take(KEYWORDS) {
            // More than there is room for cannot come: see `take`.
            self.scan.keywords.push(Keyword::from_disk(word), KEYWORDS).ok();
        }
        true
    }

    fn uid(&mut self, value: &[u8], header: &mut Header) {
        if self.scan.uid_validity == 0 || header.is_pseudo {
            return;
        }
        let Some((value, _)) = number(value.trim_ascii_start()) else { return };
        let Some(uid) = Uid::new(value) else { return };
        let number = self.scan.messages.len() + 1;
        let before = self.scan.messages.last().map_or(0, |message| message.uid().get());
        if let Some(old) = header.uid {
            self.tell(Level::Warning, format!("Message {number} UID {uid} already has UID {old}"));
        } else if value <= before {
            let least = u64::from(before) + 1;
            self.tell(Level::Warning, format!("Message {number} UID {uid} less than {least}"));
        } else {
            if value > self.scan.uid_last {
                self.scan.uid_last = value;
                self.scan.dirty = true;
                if self.scan.slots.is_empty() {
                    header.slot.set(Slot::DIRTY, true);
                }
                self.scan.mark_first();
            }
            header.uid = Some(uid);
            return;
        }
        header.uid = None;
        self.scan.distrust();
    }
}

/// What the lines of a header are, so far.
struct Lines<'f> {
    file: &'f File,
    filter: CrFilter,
    // As a rewrite would write the visible ones, and in CRLF form.
    visible_len: u64,
    visible_size: u64,
    contiguous: bool,
    // The last visible line has no LF.
    open: bool,
    has_cr: bool,
    empty_line: bool,
}

impl<'f> Lines<'f> {
    fn new(dialect: Dialect, file: &'f File, has_cr: bool) -> Self {
        let (visible_len, visible_size, filter) = (0, 0, dialect.cr_filter());
        let (contiguous, open, empty_line) = (!has_cr, false, false);
        Self { file, filter, visible_len, visible_size, contiguous, open, has_cr, empty_line }
    }

    /// Tells whether the line ends the header.
    fn ends_with(&mut self, line: &[u8]) -> bool {
        self.empty_line = matches!(line, b"\n" | b"\r\n");
        // Without LF it is nothing but the start of the empty line that is supplied.
        let is_start = !line.ends_with(b"\n") && line.iter().all(|octet| *octet == b'\r');
        self.has_cr |= self.empty_line && line.len() == 2 || is_start;
        self.empty_line || is_start
    }

    /// Adds a visible line; of a very long one `line` holds the first part.
    fn add(&mut self, line: &[u8], place: Range<u64>) -> io::Result<()> {
        let length = place.end - place.start;
        let (mut crs, mut end) = (memchr_iter(b'\r', line).count() as u64, line);
        let mut tail = [0; 3];
        if length != line.len() as u64 {
            crs = count(self.file, place.start, place.end, b'\r')?;
            self.file.read_exact_at(&mut tail, place.end - 3)?;
            end = &tail;
        }
        self.open = !end.ends_with(b"\n");
        self.has_cr |= crs > 0;
        self.visible_len += length - u64::from(crs > 0 && self.filter.shortens(end));
        self.visible_size += length - crs + 1;
        Ok(())
    }

    /// Returns the size of the header in CRLF form, with what it lacks.
    fn size(&self) -> u64 {
        self.visible_size + u64::from(self.open) + 2
    }

    fn describe(&self, slot: &mut Slot, header_len: u64) -> Result<(), ParseError> {
        let at = slot.header_start();
        let too_long = |_| ParseError::HeaderTooLong { at };
        slot.header_len = u32::try_from(header_len).map_err(too_long)?;
        slot.visible_len = u32::try_from(self.visible_len).map_err(too_long)?;
        slot.set(Slot::CONTIGUOUS, self.contiguous && !self.open && !self.has_cr);
        slot.set(Slot::OPEN_HEADER, self.open);
        slot.set(Slot::NO_EMPTY_LINE, !self.empty_line);
        if self.has_cr {
            slot.set(Slot::HAS_CR, true);
        }
        Ok(())
    }
}

fn no_start(line: &[u8]) -> ParseError {
    let found = String::from_utf8_lossy(&line[..line.len().min(20)]).trim_end().to_owned();
    ParseError::NoFromLine { found }
}

/// Returns the length of a header line up to the MARK that ends the message there. Of a very long line `line` holds
/// the first part.
fn before_mark(line: &[u8], position: u64, length: u64, file: &File) -> io::Result<Option<u64>> {
    let mark = MARK.len() as u64;
    if length == line.len() as u64 {
        let before = line.strip_suffix(MARK);
        return Ok(before.filter(|before| has_mark_after(before)).map(|before| before.len() as u64));
    }
    let mut tail = [0; MARK.len()];
    file.read_exact_at(&mut tail, position + length - mark)?;
    Ok((tail == MARK).then_some(length - mark))
}

fn read_status(value: &[u8], header: &mut Header) {
    for octet in value {
        header.flags.system |= match octet {
            b'R' => SystemFlags::SEEN,
            b'D' => SystemFlags::DELETED,
            b'F' => SystemFlags::FLAGGED,
            b'A' => SystemFlags::ANSWERED,
            b'T' => SystemFlags::DRAFT,
            b'O' => {
                header.old = true;
                SystemFlags::NONE
            }
            _ => SystemFlags::NONE,
        };
    }
}

/// Returns the decimal number at the start of `text` and its length; `None` if there is none, or it does not fit.
pub(super) fn number(text: &[u8]) -> Option<(u32, usize)> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let value = text[..digits]
        .iter()
        .try_fold(0u32, |value, octet| value.checked_mul(10)?.checked_add(u32::from(octet - b'0')))?;
    (digits > 0).then_some((value, digits))
}
