//! The one pass: octets to parts.
//!
//! The scanner goes from line to line while header blocks last, and from one possible boundary line to the next in
//! bodies. A stack holds the parts that are open, from the message down; a boundary line is tried against the multiparts
//! among them from the outermost inwards, so that a part never reaches beyond the one it is in. Where a boundary ends
//! parts, the line end before it belongs to the boundary (RFC 2046 §5.1.1), and everything that those parts had taken
//! of it is cut back.
//!
//! What is undecided at the end of a piece of input is a line of at most [`MAX_BOUNDARY_LINE`] octets; it is held, and so
//! the result does not depend on how the input is cut.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use crate::{
    content::{self, ContentType, Encoding},
    defect::{Defect, Defects},
    header,
    message::{CharsetHint, Found, Kind, Message, Node, Role, Span},
};

/// How deep parts may nest; deeper multiparts and messages are taken for text.
pub const MAX_DEPTH: u8 = 50;
/// How many parts a message may have, encapsulated messages and their parts included. The last takes all that follows.
pub const MAX_PARTS: usize = 10_000;
/// How many octets of one header block are kept. Fields beyond are not seen.
pub const MAX_HEADER: usize = 1 << 20;
/// How many octets of all header blocks of a message are kept together.
pub const MAX_HEADERS: usize = 4 << 20;
/// How long a boundary line may be, without its line end. RFC 2046 allows 74 octets and blanks.
pub const MAX_BOUNDARY_LINE: usize = 2048;

/// Reads a message that arrives in pieces, keeping nothing but its header blocks.
///
/// ```
/// use ailurus_message::{Message, Scanner};
///
/// let text = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
/// let mut scanner = Scanner::new();
/// for piece in text.chunks(5) {
///     scanner.push(piece);
/// }
/// assert_eq!(scanner.finish(), Message::parse(text));
/// ```
#[derive(Debug)]
pub struct Scanner(Engine<'static>);

impl Scanner {
    /// Returns a scanner at the start of a message.
    pub fn new() -> Self {
        Self(Engine::new(Store::Kept(Vec::new())))
    }

    /// Takes the next octets of the message.
    pub fn push(&mut self, piece: &[u8]) {
        self.0.feed(piece);
    }

    /// Ends the message.
    pub fn finish(self) -> Message<'static> {
        self.0.finish()
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn scan_whole(text: &[u8]) -> Message<'_> {
    let mut engine = Engine::new(Store::Whole(text));
    engine.feed(text);
    engine.finish()
}

/// Where header blocks can be read again.
#[derive(Debug)]
enum Store<'a> {
    /// In the message, which is all there.
    Whole(&'a [u8]),
    /// In copies of them, one after the other.
    Kept(Vec<u8>),
}

impl Store<'_> {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Whole(text) => text,
            Self::Kept(headers) => headers,
        }
    }
}

/// A part that has begun and not ended.
#[derive(Debug)]
struct Open {
    part: u32,
    /// The line ends before the start of its body.
    lines_before: u64,
    /// The last of its children.
    last_child: Option<u32>,
    /// What its boundary lines say after the two dashes, while it is a multipart that is not closed.
    boundary: Option<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// In the header block of the innermost open part.
    Header,
    /// In a body, or before, between or after parts.
    Body,
}

#[derive(Debug)]
struct Engine<'a> {
    store: Store<'a>,
    nodes: Vec<Node>,
    open: Vec<Open>,
    mode: Mode,
    /// How many octets have been taken, `held` not among them.
    at: u64,
    /// How many line ends were among them.
    lines: u64,
    /// The last of them.
    last: u8,
    /// The length of the line end that they end with.
    line_end: u8,
    /// Whether a line begins here.
    at_line_start: bool,
    /// The start of a line that cannot be told yet.
    held: Vec<u8>,
    /// How many octets of all header blocks are kept.
    kept: usize,
    /// What the body of an open text part without parameters looks like so far.
    charset: Option<CharsetGuess>,
    /// How many of the open multiparts have a boundary to look for.
    boundaries: usize,
    defects: Defects,
}

/// What a line that may mean something turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Ordinary,
    Empty,
    /// It opens a part of the multipart at this place in the stack.
    Delimiter(usize),
    /// It closes that multipart.
    CloseDelimiter(usize),
    /// More octets are needed to tell.
    Undecided,
}

impl<'a> Engine<'a> {
    fn new(store: Store<'a>) -> Self {
        let mut engine = Self {
            store,
            nodes: Vec::new(),
            open: Vec::new(),
            mode: Mode::Header,
            at: 0,
            lines: 0,
            last: 0,
            line_end: 0,
            at_line_start: true,
            held: Vec::new(),
            kept: 0,
            charset: None,
            boundaries: 0,
            defects: Defects::default(),
        };
        engine.begin_part(0, Role::Message);
        engine
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = if self.at_line_start { self.start_line(rest) } else { self.go_on(rest) };
        }
    }

    fn finish(mut self) -> Message<'a> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let line = self.boundary_line(&held).unwrap_or(Line::Ordinary);
            self.take_line(line, &held);
        }
        self.end_headers();
        self.end_parts(0, self.at, self.lines);
        self.nodes.shrink_to_fit();
        let text = match self.store {
            Store::Whole(text) => Cow::Borrowed(text),
            Store::Kept(mut headers) => {
                headers.shrink_to_fit();
                Cow::Owned(headers)
            }
        };
        Message::new(text, self.nodes, self.defects)
    }

    /// Takes input at the start of a line: decides what the line is, or holds all of it.
    fn start_line<'i>(&mut self, input: &'i [u8]) -> &'i [u8] {
        // Nearly every line is told by its first octet.
        if self.held.is_empty() && !matches!(input.first(), Some(b'-' | b'\r' | b'\n')) {
            self.at_line_start = false;
            return self.go_on(input);
        }
        let room = (MAX_BOUNDARY_LINE + 2).saturating_sub(self.held.len());
        let window = input.get(..room).unwrap_or(input);
        let end = memchr(b'\n', window).map(|at| at + 1);
        let taken = end.unwrap_or(window.len());
        let (start, rest) = input.split_at(taken);
        if self.held.is_empty() {
            let line = self.tell(start, end.is_some());
            if line == Line::Ordinary {
                self.at_line_start = false;
                return self.go_on(input);
            }
            if line == Line::Undecided {
                self.held.extend_from_slice(start);
            } else {
                self.take_line(line, start);
            }
            return rest;
        }
        self.held.extend_from_slice(start);
        let held = std::mem::take(&mut self.held);
        let line = self.tell(&held, end.is_some());
        if line == Line::Undecided {
            self.held = held;
        } else {
            self.take_line(line, &held);
        }
        rest
    }

    /// Tells what the line is that starts with `start`, which is all of it if `whole`.
    fn tell(&self, start: &[u8], whole: bool) -> Line {
        match start {
            [b'\n', ..] | [b'\r', b'\n', ..] if self.mode == Mode::Header => Line::Empty,
            [b'\r'] if self.mode == Mode::Header => Line::Undecided,
            [b'-'] | [b'-', b'-', ..] if self.boundaries > 0 => {
                if whole {
                    self.boundary_line(start).unwrap_or(Line::Ordinary)
                } else if start.len() < MAX_BOUNDARY_LINE + 2 {
                    Line::Undecided
                } else {
                    Line::Ordinary
                }
            }
            _ => Line::Ordinary,
        }
    }

    /// Tries a whole line against the boundaries of the open multiparts.
    fn boundary_line(&self, line: &[u8]) -> Option<Line> {
        if self.boundaries == 0 {
            return None;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_BOUNDARY_LINE {
            return None;
        }
        let text = line.strip_prefix(b"--")?;
        for (level, open) in self.open.iter().enumerate() {
            let Some(after) = open.boundary.as_deref().and_then(|boundary| text.strip_prefix(boundary))
            else {
                continue;
            };
            let (closes, padding) = match after.strip_prefix(b"--") {
                Some(padding) => (true, padding),
                None => (false, after),
            };
            if padding.iter().all(|octet| matches!(octet, b' ' | b'\t')) {
                if closes {
                    return Some(Line::CloseDelimiter(level));
                }
                if self.nodes.len() < MAX_PARTS {
                    return Some(Line::Delimiter(level));
                }
            }
        }
        None
    }

    /// Takes a line, or the start of an ordinary one, that has been told.
    fn take_line(&mut self, line: Line, octets: &[u8]) {
        match line {
            Line::Ordinary | Line::Undecided => self.take(octets),
            Line::Empty => {
                self.take(octets);
                self.end_header();
            }
            Line::Delimiter(level) => {
                self.end_at_boundary(level);
                self.take(octets);
                self.begin_next_part(level);
            }
            Line::CloseDelimiter(level) => {
                self.end_at_boundary(level);
                self.take(octets);
                if let Some(open) = self.open.get_mut(level) {
                    open.boundary = None;
                    self.boundaries -= 1;
                }
            }
        }
    }

    /// Takes input within a line: to its end in a header, to the next line that may be a boundary in a body.
    fn go_on<'i>(&mut self, input: &'i [u8]) -> &'i [u8] {
        let taken = match self.mode {
            Mode::Header => memchr(b'\n', input).map_or(input.len(), |at| at + 1),
            Mode::Body if self.boundaries == 0 => input.len(),
            Mode::Body => match memmem::find(input, b"\n--") {
                Some(at) => at + 1,
                // The boundary may begin in this piece and go on in the next.
                None if input.ends_with(b"\n-") => input.len() - 1,
                None => input.len(),
            },
        };
        let (line, rest) = input.split_at(taken);
        self.take(line);
        rest
    }

    /// Takes octets that belong to whatever is open.
    fn take(&mut self, octets: &[u8]) {
        let Some(&last) = octets.last() else { return };
        let before = octets.len().checked_sub(2).map_or(self.last, |at| octets[at]);
        self.at_line_start = last == b'\n';
        self.line_end = match (before, last) {
            (b'\r', b'\n') => 2,
            (_, b'\n') => 1,
            _ => 0,
        };
        self.last = last;
        self.at += octets.len() as u64;
        if self.mode == Mode::Header {
            self.lines += u64::from(self.at_line_start);
            self.keep(octets);
        } else {
            self.lines += memchr::memchr_iter(b'\n', octets).count() as u64;
            if let Some(guess) = &mut self.charset {
                guess.look(octets);
            }
        }
    }

    /// Keeps octets of the header block of the innermost open part.
    fn keep(&mut self, octets: &[u8]) {
        let Some(node) = self.open.last().and_then(|open| self.nodes.get_mut(open.part as usize)) else {
            return;
        };
        let room = (MAX_HEADER - node.kept_len as usize).min(MAX_HEADERS - self.kept).min(octets.len());
        if room < octets.len() {
            node.defects.add(Defect::HeaderTooLarge);
        }
        node.kept_len += u32::try_from(room).expect("room is at most MAX_HEADER");
        self.kept += room;
        if let Store::Kept(headers) = &mut self.store {
            headers.extend_from_slice(octets.get(..room).unwrap_or(octets));
        }
    }

    fn begin_part(&mut self, depth: u8, role: Role) {
        let kept_start = match &self.store {
            Store::Whole(text) => usize::try_from(self.at).unwrap_or(text.len()),
            Store::Kept(headers) => headers.len(),
        };
        let part = u32::try_from(self.nodes.len()).expect("parts are limited");
        self.nodes.push(Node::new(role, depth, self.at, kept_start));
        self.open.push(Open { part, lines_before: 0, last_child: None, boundary: None });
        self.mode = Mode::Header;
    }

    /// Begins a child of the innermost open part.
    fn begin_child(&mut self, role: Role) {
        let child = u32::try_from(self.nodes.len()).expect("parts are limited");
        let Some(parent) = self.open.last_mut() else { return };
        let depth = self.nodes[parent.part as usize].depth + 1;
        match parent.last_child.replace(child) {
            Some(sibling) => self.nodes[sibling as usize].next = Some(child),
            None => self.nodes[parent.part as usize].first_child = Some(child),
        }
        self.begin_part(depth, role);
    }

    fn begin_next_part(&mut self, level: usize) {
        let in_digest = self.open.get(level).is_some_and(|open| self.nodes[open.part as usize].is_digest);
        self.begin_child(if in_digest { Role::DigestPart } else { Role::Part });
        if self.nodes.len() >= MAX_PARTS {
            self.defects.add(Defect::TooManyParts);
        }
    }

    /// Ends the header block of the innermost open part and begins its body.
    fn end_header(&mut self) {
        let Some(open) = self.open.last_mut() else { return };
        let node = &mut self.nodes[open.part as usize];
        open.lines_before = self.lines;
        node.body_start = self.at;
        let header = node.header(self.store.octets());
        let boundary = read_header(node, header);
        self.mode = Mode::Body;
        match node.kind {
            Kind::Text => self.charset = node.guess_charset.then(CharsetGuess::default),
            Kind::Multipart => {
                self.boundaries += usize::from(boundary.is_some());
                open.boundary = boundary;
            }
            Kind::Message => self.begin_child(Role::Message),
            Kind::Other => {}
        }
    }

    /// Ends header blocks at the end of the message, or where a boundary cuts them off.
    fn end_headers(&mut self) {
        while self.mode == Mode::Header {
            if let Some(open) = self.open.last() {
                let node = &mut self.nodes[open.part as usize];
                if node.role == Role::Message && self.at > node.header_start {
                    node.defects.add(Defect::HeaderUnterminated);
                }
            }
            self.end_header();
        }
    }

    /// Ends the parts within the multipart at `level` before the boundary line that begins here.
    fn end_at_boundary(&mut self, level: usize) {
        let within = level + 1;
        if let Some(outermost) = self.open.get(within) {
            // The line end belongs to the boundary, unless it is that of the boundary before.
            let start = self.nodes[outermost.part as usize].header_start;
            let end = (self.at - u64::from(self.line_end)).max(start);
            self.end_headers();
            self.end_parts(within, end, self.lines - u64::from(end < self.at));
        }
        self.mode = Mode::Body;
    }

    /// Ends the open parts from place `level` in the stack on. `lines` is the number of line ends up to `end`.
    fn end_parts(&mut self, level: usize, end: u64, lines: u64) {
        while self.open.len() > level {
            self.add_missing_part(end);
            let Some(open) = self.open.pop() else { return };
            let guess = self.charset.take();
            let node = &mut self.nodes[open.part as usize];
            if open.boundary.is_some() {
                self.boundaries -= 1;
                node.defects.add(Defect::Unclosed);
            }
            node.header_start = node.header_start.min(end);
            node.body_start = node.body_start.min(end);
            node.body_end = end;
            let header = u32::try_from(node.body_start - node.header_start).unwrap_or(u32::MAX);
            node.kept_len = node.kept_len.min(header);
            node.lines = lines.saturating_sub(open.lines_before);
            if let Some(guess) = guess {
                node.charset = guess.found;
            }
            self.defects.add_all(node.defects);
        }
    }

    /// Gives the innermost open part, if it is a multipart without parts, an empty one.
    fn add_missing_part(&mut self, end: u64) {
        let Some(open) = self.open.last_mut() else { return };
        let part = open.part as usize;
        if self.nodes[part].kind != Kind::Multipart || open.last_child.is_some() {
            return;
        }
        let child = u32::try_from(self.nodes.len()).expect("parts are limited");
        open.last_child = Some(child);
        let node = &mut self.nodes[part];
        node.first_child = Some(child);
        node.defects.add(Defect::NoParts);
        let start = node.body_start.min(end);
        let child = Node::new(Role::Part, node.depth + 1, start, node.kept_start);
        self.nodes.push(Node { guess_charset: true, ..child });
    }
}

/// Reads the fields of a header block that tell what the part is. Returns the boundary of a multipart.
fn read_header(node: &mut Node, header: &[u8]) -> Option<Box<[u8]>> {
    let mut found = Found::default();
    let mut type_settled = false;
    let mut is_mime = node.role != Role::Message;
    let mut looks_mime = false;
    let mut fields = header::fields(header);
    for field in fields.by_ref() {
        if field.is("MIME-Version") {
            is_mime = true;
        }
        let Some((prefix, name)) = field.name.split_at_checked(8) else { continue };
        if !prefix.eq_ignore_ascii_case(b"Content-") {
            continue;
        }
        // A name ends at its first blank here.
        let name = name.split(|&octet| octet == b' ').next().unwrap_or_default();
        let Some(span) = Span::new(field.value_at, field.value.len()) else { continue };
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"ID") => found.id.get_or_insert(span),
            3 if name.eq_ignore_ascii_case(b"MD5") => found.md5.get_or_insert(span),
            4 if name.eq_ignore_ascii_case(b"Type") => {
                looks_mime |= field.value.contains(&b'/');
                if !type_settled && let Some(parsed) = ContentType::parse(field.value) {
                    type_settled = parsed.subtype.is_some() || parsed.parameters.clone().next().is_some();
                    found.content_type = Some(span);
                }
                continue;
            }
            8 if name.eq_ignore_ascii_case(b"Language") => {
                if found.language.is_none() && content::languages(field.value).next().is_some() {
                    found.language = Some(span);
                }
                continue;
            }
            8 if name.eq_ignore_ascii_case(b"Location") => found.location.get_or_insert(span),
            11 if name.eq_ignore_ascii_case(b"Description") => found.description.get_or_insert(span),
            11 if name.eq_ignore_ascii_case(b"Disposition") => {
                if found.disposition.is_none() && content::disposition(field.value).is_some() {
                    found.disposition = Some(span);
                }
                continue;
            }
            17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => {
                looks_mime = true;
                if content::transfer_encoding(field.value).is_some() {
                    found.encoding = Some(span);
                }
                continue;
            }
            _ => continue,
        };
    }
    if fields.skipped() {
        node.defects.add(Defect::NotAField);
    }
    if !is_mime && looks_mime {
        node.defects.add(Defect::NoMimeVersion);
        is_mime = true;
    }
    if is_mime {
        node.found = found;
    }
    settle_kind(node, header)
}

/// Decides from the fields found what kind of part it is. Returns the boundary of a multipart.
fn settle_kind(node: &mut Node, header: &[u8]) -> Option<Box<[u8]>> {
    let encoding = node.found.encoding.and_then(|span| content::transfer_encoding(span.of(header)));
    node.encoding = encoding.map_or(Encoding::SevenBit, |(encoding, _)| encoding);
    let parsed = node.found.content_type.and_then(|span| ContentType::parse(span.of(header)));
    let Some(parsed) = parsed else {
        node.kind = if node.role == Role::DigestPart { Kind::Message } else { Kind::Text };
        keep_shallow(node);
        node.guess_charset = node.kind == Kind::Text;
        return None;
    };
    if parsed.subtype.is_none() {
        node.defects.add(Defect::BadContentType);
    }
    let is = |name: &str| parsed.media_type.eq_ignore_ascii_case(name.as_bytes());
    let subtype = parsed.subtype.as_deref();
    node.kind = if is("text") {
        Kind::Text
    } else if is("multipart") {
        Kind::Multipart
    } else if is("message") && subtype.is_none_or(|subtype| subtype.eq_ignore_ascii_case(b"rfc822")) {
        Kind::Message
    } else {
        Kind::Other
    };
    keep_shallow(node);
    if node.kind == Kind::Multipart {
        node.is_digest = subtype.is_some_and(|subtype| subtype.eq_ignore_ascii_case(b"digest"));
        return boundary(node, &parsed);
    }
    node.guess_charset = node.kind == Kind::Text && parsed.parameters.clone().next().is_none();
    None
}

/// Makes text of what nests too deep.
fn keep_shallow(node: &mut Node) {
    if !matches!(node.kind, Kind::Multipart | Kind::Message) {
        return;
    }
    if !node.encoding.is_identity() {
        node.defects.add(Defect::EncodedComposite);
    }
    if node.depth > MAX_DEPTH {
        node.defects.add(Defect::TooDeep);
        node.kind = Kind::Text;
    }
}

fn boundary(node: &mut Node, parsed: &ContentType<'_>) -> Option<Box<[u8]>> {
    let Some(boundary) = parsed.parameters.get("boundary") else {
        node.defects.add(Defect::BadBoundary);
        return Some(Box::from(&b"-"[..]));
    };
    if boundary.len() + 2 > MAX_BOUNDARY_LINE {
        node.defects.add(Defect::BadBoundary);
        return None;
    }
    Some(boundary.into())
}

/// Looks for what tells the charset of a text that does not name it: ISO-2022-JP escapes or 8-bit octets, whichever first.
#[derive(Clone, Copy, Debug, Default)]
struct CharsetGuess {
    found: CharsetHint,
    /// How many octets of `ESC $` the text ends with.
    escape: u8,
}

impl CharsetGuess {
    fn look(&mut self, text: &[u8]) {
        if self.found != CharsetHint::Ascii
            || (self.escape == 0 && text.is_ascii() && memchr(0x1B, text).is_none())
        {
            return;
        }
        for &octet in text {
            self.escape = match (self.escape, octet) {
                (_, 0x80..) => {
                    self.found = CharsetHint::Unknown;
                    return;
                }
                (2, b'B' | b'@') => {
                    self.found = CharsetHint::Iso2022Jp;
                    return;
                }
                (_, 0x1B) => 1,
                (1, b'$') => 2,
                _ => 0,
            };
        }
    }
}
