//! Framing: octets to command lines, literals and raw lines, in bounded memory.
//!
//! A command is text and small literals in turn; what is kept of it is
//!
//! ```text
//! on the wire   a LOGIN {3}\r\n   ada {5+}\r\n   adapw\r\n
//! kept          a LOGIN {3}ada {5+}adapw             and where the literals are
//! ```
//!
//! Whoever uses the [`Splitter`] decides about each literal as it is announced: collected, streamed, or rejected. The
//! octets of a rejected non-synchronizing literal (RFC 7888) are coming all the same; they are read and thrown away,
//! with the rest of the line behind them and any further such literals that it announces.

use memchr::{memchr, memrchr};
use std::fmt;
use std::ops::Range;

/// The longest command line in octets, its line end and the text after its literals included.
pub const MAX_LINE: usize = 65_534;
/// The largest literal in octets that is collected (every one but a message of APPEND).
pub const MAX_LITERAL: u64 = 10_000;
/// The most literals in one command that are collected.
pub const MAX_LITERALS: usize = 20;
/// The longest line of a SASL exchange in octets, its line end included; for [`Splitter::expect_raw`].
pub const MAX_SASL_LINE: usize = 8190;
/// The longest line that may end IDLE in octets, its line end included; for [`Splitter::expect_raw`].
pub const MAX_IDLE_LINE: usize = 1023;

/// Input not looked at yet.
const MAX_INPUT: usize = 16 * 1024;
/// Text and literals of one command together. Bounds memory; below the sum of the single limits, which no client
/// comes near.
const MAX_COMMAND: usize = 232 * 1024;
/// An empty buffer larger than this is given back, so that an idle connection costs little.
const KEPT_CAPACITY: usize = 4096;

/// A literal as a line announces it at its end: `{size}` or `{size+}`, with `~` in front of it a literal8 (RFC 3516).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Literal {
    /// The size in octets; `u64::MAX` for every larger number.
    pub size: u64,
    /// Whether the client waits to be asked for it.
    pub sync: Synchronizing,
    /// What octets it may hold.
    pub form: LiteralForm,
}

/// What octets a literal may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LiteralForm {
    /// `{n}`: text, without NULs.
    Literal,
    /// `~{n}`: any octets (RFC 3516).
    Literal8,
}

/// Whether the client sends a literal only when asked (RFC 7888).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Synchronizing {
    /// `{n}`: it waits for a continuation.
    Yes,
    /// `{n+}`: it sends at once.
    No,
}

/// What the input holds next.
#[derive(Debug)]
pub enum Frame<'s> {
    /// A whole command: its line and the literals collected for it. The line end is not included.
    Command(&'s CommandLine),
    /// The command so far. It goes on with a literal, about which one of [`Splitter::accept_literal`],
    /// [`Splitter::stream_literal`] and [`Splitter::reject`] decides. Until then there are no more frames.
    Literal(&'s CommandLine, Literal),
    /// Some octets of the streamed literal, at least one.
    Data(&'s [u8]),
    /// The streamed literal is complete. The rest of the command follows as a line of its own.
    DataEnd,
    /// A command line longer than [`MAX_LINE`], read to its end; here is how the command begins, or, behind a streamed
    /// literal, its tail.
    LineTooLong(&'s CommandLine),
    /// The line asked for by [`Splitter::expect_raw`], without its line end.
    Raw(&'s [u8]),
    /// A line longer than [`Splitter::expect_raw`] allowed was read to its end and thrown away.
    RawTooLong,
}

/// The literal breaks a limit. It was rejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("literal beyond the limits of a command")]
pub struct LiteralRefused;

/// Splits a client's octets into [`Frame`]s (module comment). Holds less than 256 KiB, whatever comes.
pub struct Splitter {
    input: Vec<u8>,
    /// Where in `input` the octets begin that were not looked at yet.
    start: usize,
    line: CommandLine,
    state: State,
    /// The line was handed out as a whole and makes room for the next.
    handed: bool,
    /// A literal of this command was accepted, and the line after it has not ended.
    in_tail: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Line,
    LongLine(LiteralScan),
    Undecided(Literal),
    Collect(usize),
    Stream(u64),
    SkipData(u64),
    SkipLine(LiteralScan),
    Raw(usize),
    LongRaw,
}

/// A frame before its octets are borrowed.
enum Event {
    Command,
    Literal(Literal),
    Data(Range<usize>),
    DataEnd,
    LineTooLong,
    Raw,
    RawTooLong,
}

enum Taken {
    Part,
    Whole,
    TooLong,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// Returns a splitter that waits for a command.
    #[must_use]
    pub fn new() -> Self {
        Self {
            input: Vec::new(),
            start: 0,
            line: CommandLine::default(),
            state: State::Line,
            handed: false,
            in_tail: false,
        }
    }

    /// Takes octets from the front of `octets` and returns how many there was room for. When it took none, take
    /// frames until there are no more, or decide about the literal that is open.
    pub fn push(&mut self, octets: &[u8]) -> usize {
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
        if self.start > 0 && self.input.len() + octets.len() > MAX_INPUT {
            self.input.drain(..self.start);
            self.start = 0;
        }
        let taken = octets.len().min(MAX_INPUT - self.input.len());
        grow(&mut self.input, taken, MAX_INPUT);
        self.input.extend_from_slice(&octets[..taken]);
        taken
    }

    /// Returns the next frame, or `None` when that takes more input or a decision about a literal.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        Some(match self.step()? {
            Event::Command => Frame::Command(&self.line),
            Event::Literal(literal) => Frame::Literal(&self.line, literal),
            Event::Data(range) => Frame::Data(&self.input[range]),
            Event::DataEnd => Frame::DataEnd,
            Event::LineTooLong => Frame::LineTooLong(&self.line),
            Event::Raw => Frame::Raw(&self.line.octets),
            Event::RawTooLong => Frame::RawTooLong,
        })
    }

    /// Collects the literal that was announced; the command goes on behind it. If the client waits, it must be sent a
    /// continuation. Beyond a limit the literal is rejected. Without an announced literal nothing happens.
    pub fn accept_literal(&mut self) -> Result<(), LiteralRefused> {
        let State::Undecided(literal) = self.state else { return Ok(()) };
        let size = usize::try_from(literal.size).unwrap_or(usize::MAX);
        let held = self.line.octets.len().saturating_add(size);
        if literal.size > MAX_LITERAL || self.line.literals.len() >= MAX_LITERALS || held > MAX_COMMAND {
            self.reject();
            return Err(LiteralRefused);
        }
        let data = self.line.octets.len();
        self.line.literals.push(data..data + size);
        self.line.pending = None;
        self.in_tail = true;
        self.state = State::Collect(size);
        Ok(())
    }

    /// Streams the literal that was announced: it comes as [`Frame::Data`] and then [`Frame::DataEnd`]. What was
    /// kept of the command is dropped; the next line frame holds only what follows the literal. If the client waits,
    /// it must be sent a continuation. Without an announced literal nothing happens.
    pub fn stream_literal(&mut self) {
        let State::Undecided(literal) = self.state else { return };
        self.line.clear();
        self.in_tail = true;
        self.state = State::Stream(literal.size);
    }

    /// Gives up the command that is open: a literal that was announced, is being streamed, or has ended. What the client
    /// sends of it in any case is skipped. After a whole command nothing happens.
    pub fn reject(&mut self) {
        let unread = match self.state {
            State::Undecided(Literal { sync: Synchronizing::Yes, .. }) => State::Line,
            State::Undecided(literal) => State::SkipData(literal.size),
            State::Collect(left) => State::SkipData(u64::try_from(left).unwrap_or(u64::MAX)),
            State::Stream(left) => State::SkipData(left),
            State::Line if self.in_tail => State::SkipLine(LiteralScan::over(self.line.tail())),
            _ => return,
        };
        self.state = unread;
        self.line.clear();
        self.handed = false;
        self.in_tail = false;
    }

    /// Takes the next line for what it is, not for a command: a SASL response, the end of IDLE. At most `limit` octets,
    /// its line end included. Must be asked for between commands; else nothing happens.
    pub fn expect_raw(&mut self, limit: usize) {
        let between = matches!(self.state, State::Line) && !self.in_tail;
        if between && (self.handed || self.line.octets.is_empty()) {
            self.state = State::Raw(limit.min(MAX_LINE));
        }
    }

    /// Throws away what was pushed and not yet framed, and returns how many octets that were. What a client sent behind
    /// STARTTLS was not protected by what follows (RFC 3501 §6.2.1), and must not be taken for it.
    pub fn discard_input(&mut self) -> usize {
        let unread = self.input.len() - self.start;
        self.input = Vec::new();
        self.start = 0;
        unread
    }

    /// Tells whether the next octets begin a command, or go on with the first line of one; else they are what a client
    /// sends in a command: a literal, the text behind it, a raw line. The two have different time limits
    /// (spec/imapd.md §14).
    #[must_use]
    pub fn awaits_command(&self) -> bool {
        matches!(self.state, State::Line | State::LongLine(_)) && !self.in_tail
    }

    /// Returns how many octets of memory the buffers hold.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.input.capacity() + self.line.octets.capacity()
    }

    fn step(&mut self) -> Option<Event> {
        if self.handed {
            self.line.clear();
            self.handed = false;
        }
        loop {
            match self.state {
                State::Line => match self.take_line(MAX_LINE) {
                    Taken::Part => {
                        self.release();
                        return None;
                    }
                    Taken::Whole => return Some(self.end_line()),
                    Taken::TooLong => self.state = State::LongLine(LiteralScan::over(self.line.tail())),
                },
                State::LongLine(scan) => {
                    let literal = self.skip_line(scan)?;
                    self.state = literal.map_or(State::Line, State::SkipData);
                    return Some(self.hand_out(Event::LineTooLong));
                }
                State::Undecided(_) => return None,
                State::Collect(0) => self.state = State::Line,
                State::Collect(left) => {
                    let range = self.take(left)?;
                    self.state = State::Collect(left - range.len());
                    self.line.append(&self.input[range]);
                }
                State::Stream(0) => {
                    self.state = State::Line;
                    return Some(Event::DataEnd);
                }
                State::Stream(left) => {
                    let range = self.take_some(left)?;
                    self.state = State::Stream(left - len_u64(&range));
                    return Some(Event::Data(range));
                }
                State::SkipData(0) => self.state = State::SkipLine(LiteralScan::default()),
                State::SkipData(left) => {
                    let range = self.take_some(left)?;
                    self.state = State::SkipData(left - len_u64(&range));
                }
                State::SkipLine(scan) => {
                    let literal = self.skip_line(scan)?;
                    self.state = literal.map_or(State::Line, State::SkipData);
                }
                State::Raw(limit) => match self.take_line(limit) {
                    Taken::Part => return None,
                    Taken::Whole => {
                        self.state = State::Line;
                        return Some(self.hand_out(Event::Raw));
                    }
                    Taken::TooLong => self.state = State::LongRaw,
                },
                State::LongRaw => {
                    let _literal = self.skip_line(LiteralScan::default())?;
                    self.state = State::Line;
                    return Some(self.hand_out(Event::RawTooLong));
                }
            }
        }
    }

    /// Gives back what a large input left behind, between commands.
    fn release(&mut self) {
        if self.line.octets.is_empty()
            && self.start == self.input.len()
            && self.input.capacity() > KEPT_CAPACITY
        {
            self.input = Vec::new();
            self.start = 0;
        }
    }

    fn hand_out(&mut self, event: Event) -> Event {
        self.handed = true;
        self.in_tail = false;
        event
    }

    /// Decides what a line is that has just ended.
    fn end_line(&mut self) -> Event {
        match announced_literal(self.line.tail()) {
            Some(literal) => {
                self.line.pending = Some(literal);
                self.state = State::Undecided(literal);
                Event::Literal(literal)
            }
            None => self.hand_out(Event::Command),
        }
    }

    /// Moves input to the line up to its end, which is taken off, or until `limit` octets of text came without one.
    fn take_line(&mut self, limit: usize) -> Taken {
        let room =
            (limit - limit.min(self.line.text)).min(MAX_COMMAND.saturating_sub(self.line.octets.len()));
        let input = &self.input[self.start..];
        let within = &input[..input.len().min(room)];
        let end = memchr(b'\n', within);
        let taken = end.map_or(within.len(), |end| end + 1);
        let text = &within[..end.unwrap_or(taken)];
        self.line.append(text);
        self.line.text += text.len();
        self.start += taken;
        if end.is_none() {
            return if taken == room { Taken::TooLong } else { Taken::Part };
        }
        if self.line.tail().last() == Some(&b'\r') {
            self.line.octets.pop();
            self.line.text -= 1;
        }
        Taken::Whole
    }

    /// Throws input away up to the end of the line: `None` when that has not come yet, else the size of the
    /// non-synchronizing literal that the line announced.
    fn skip_line(&mut self, mut scan: LiteralScan) -> Option<Option<u64>> {
        let input = &self.input[self.start..];
        let end = memchr(b'\n', input);
        let text = &input[..end.unwrap_or(input.len())];
        scan.feed(text);
        self.start += text.len() + usize::from(end.is_some());
        match &mut self.state {
            State::LongLine(kept) | State::SkipLine(kept) => *kept = scan,
            _ => {}
        }
        end.map(|_| scan.non_synchronizing())
    }

    /// Takes input off the front, at least one octet and at most `most`.
    fn take(&mut self, most: usize) -> Option<Range<usize>> {
        let taken = most.min(self.input.len() - self.start);
        let range = self.start..self.start + taken;
        self.start += taken;
        (taken > 0).then_some(range)
    }

    fn take_some(&mut self, most: u64) -> Option<Range<usize>> {
        self.take(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the octets: there are passwords among them.
        f.debug_struct("Splitter")
            .field("state", &self.state)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// A command's text with its collected literals, as the parser reads it.
#[derive(Clone, Default)]
pub struct CommandLine {
    octets: Vec<u8>,
    /// Where in `octets` the data of each literal is; `{n}` stands right before it.
    literals: Vec<Range<usize>>,
    pending: Option<Literal>,
    /// The octets that count for the length of the line.
    text: usize,
}

impl CommandLine {
    /// Returns the line of a command that has no literals. Whatever the text holds, it is taken for one line.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Self {
        Self { octets: text.to_vec(), literals: Vec::new(), pending: None, text: text.len() }
    }

    /// Returns all octets, those of literals included.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns where the data of a collected literal is.
    pub(crate) fn literal(&self, number: usize) -> Option<Range<usize>> {
        self.literals.get(number).cloned()
    }

    /// Returns how many literals were collected.
    pub(crate) fn literal_count(&self) -> usize {
        self.literals.len()
    }

    /// Returns the literal that the line ends with and that is not there yet.
    pub(crate) fn pending(&self) -> Option<Literal> {
        self.pending
    }

    /// Returns the text behind the last literal.
    fn tail(&self) -> &[u8] {
        &self.octets[self.literals.last().map_or(0, |data| data.end.min(self.octets.len()))..]
    }

    fn append(&mut self, octets: &[u8]) {
        grow(&mut self.octets, octets.len(), MAX_COMMAND);
        self.octets.extend_from_slice(octets);
    }

    fn clear(&mut self) {
        if self.octets.capacity() > KEPT_CAPACITY {
            self.octets = Vec::new();
        }
        self.octets.clear();
        self.literals.clear();
        self.pending = None;
        self.text = 0;
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the octets: there are passwords among them.
        f.debug_struct("CommandLine").field("octets", &self.octets.len()).finish_non_exhaustive()
    }
}

/// Looks for `{n+}` at the end of a line that is not kept.
#[derive(Clone, Copy, Debug, Default)]
struct LiteralScan {
    stage: Stage,
    size: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Text,
    Brace,
    Digits,
    Plus,
    Closed,
    CarriageReturn,
}

impl LiteralScan {
    fn over(text: &[u8]) -> Self {
        let mut scan = Self::default();
        scan.feed(text);
        scan
    }

    fn feed(&mut self, text: &[u8]) {
        // Whatever came before the last brace does not matter.
        let from = match memrchr(b'{', text) {
            Some(brace) => brace,
            None if self.stage == Stage::Text => return,
            None => 0,
        };
        for octet in &text[from..] {
            self.stage = match (octet, self.stage) {
                (b'{', _) => {
                    self.size = 0;
                    Stage::Brace
                }
                (b'0'..=b'9', Stage::Brace | Stage::Digits) => {
                    self.size = with_digit(self.size, *octet);
                    Stage::Digits
                }
                (b'+', Stage::Digits) => Stage::Plus,
                (b'}', Stage::Plus) => Stage::Closed,
                (b'\r', Stage::Closed) => Stage::CarriageReturn,
                _ => Stage::Text,
            };
        }
    }

    fn non_synchronizing(&self) -> Option<u64> {
        matches!(self.stage, Stage::Closed | Stage::CarriageReturn).then_some(self.size)
    }
}

/// Returns the literal that a line, its line end taken off, announces at its end.
fn announced_literal(text: &[u8]) -> Option<Literal> {
    let before = text.strip_suffix(b"}")?;
    let (before, sync) = match before.strip_suffix(b"+") {
        Some(before) => (before, Synchronizing::No),
        None => (before, Synchronizing::Yes),
    };
    let digits = before.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    let (before, number) = before.split_at(before.len() - digits);
    let before = before.strip_suffix(b"{").filter(|_| digits > 0)?;
    let form = if before.last() == Some(&b'~') { LiteralForm::Literal8 } else { LiteralForm::Literal };
    let size = number.iter().fold(0, |size, digit| with_digit(size, *digit));
    Some(Literal { size, sync, form })
}

/// Returns the number with one more decimal digit, or the largest one there is.
pub(crate) fn with_digit(number: u64, digit: u8) -> u64 {
    number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
}

fn len_u64(range: &Range<usize>) -> u64 {
    u64::try_from(range.len()).unwrap_or(u64::MAX)
}

/// Makes room for more octets as `Vec` does, by doubling, but not far beyond `most`.
fn grow(buffer: &mut Vec<u8>, more: usize, most: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let doubled = (buffer.capacity() * 2).max(256).min(most);
        buffer.reserve_exact(doubled.max(needed) - buffer.len());
    }
}
