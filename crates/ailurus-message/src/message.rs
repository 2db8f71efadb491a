//! Messages as a tree of parts.

use std::{borrow::Cow, fmt, ops::Range};

use crate::{
    content::{self, ContentType, Encoding, Parameters},
    defect::Defects,
    envelope::Envelope,
    lex::skip_space,
    scan,
};

/// A message, read: its parts, where they are, and the header blocks.
///
/// It holds about 200 octets a part. The header blocks are borrowed from the message where that is whole
/// ([`Message::parse`]), else copies of them are kept.
#[derive(Clone)]
pub struct Message<'a> {
    /// What the nodes' header blocks are in: the message, or all header blocks one after the other.
    text: Cow<'a, [u8]>,
    /// The parts, each before its children. The first is the message itself, and there always is one.
    nodes: Vec<Node>,
    defects: Defects,
}

/// What kind of body a part has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Kind {
    /// `text/*`, and what cannot be told.
    #[default]
    Text,
    /// `multipart/*`: it has one child or more.
    Multipart,
    /// `message/rfc822`: its one child is the encapsulated message.
    Message,
    /// Anything else.
    Other,
}

/// Which octets of a message, or of a part of it, are meant (RFC 3501 §6.4.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SectionText {
    /// `BODY[]`: the whole message; `BODY[1]`: the body of a part.
    Body,
    /// `HEADER`: the header block of the message or of an encapsulated one, with its empty line. For `HEADER.FIELDS` filter it
    /// with [`crate::header::filter`].
    Header,
    /// `TEXT`: the body of the message or of an encapsulated one.
    Text,
    /// `MIME`: the header block of a part, with its empty line.
    Mime,
}

impl<'a> Message<'a> {
    /// Reads a message that is in memory.
    pub fn parse(message: &'a [u8]) -> Self {
        scan::scan_whole(message)
    }

    pub(crate) fn new(text: Cow<'a, [u8]>, nodes: Vec<Node>, defects: Defects) -> Self {
        Self { text, nodes, defects }
    }

    /// Returns the message as a part: its header block is that of the message.
    pub fn root(&self) -> Part<'_> {
        self.part(0)
    }

    /// Returns all parts, each before its children; the message itself is the first.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Part<'_>> {
        (0..self.nodes.len()).map(|index| self.part(index))
    }

    /// Returns everything found wrong, in whatever part.
    pub fn defects(&self) -> Defects {
        self.defects
    }

    /// Returns about how many octets of memory this takes, a message that it borrows from not counted.
    pub fn memory(&self) -> usize {
        let headers = if let Cow::Owned(headers) = &self.text { headers.capacity() } else { 0 };
        headers + self.nodes.capacity() * size_of::<Node>()
    }

    /// Returns the octets of the message that `BODY[…]` means: `numbers` are its part numbers.
    ///
    /// `None` if there is no such section, which FETCH shows as `""`. Part 1 of a message that is no multipart is its body.
    pub fn section(&self, numbers: &[u32], text: SectionText) -> Option<Range<u64>> {
        if numbers.is_empty() {
            let root = self.root();
            return match text {
                SectionText::Body => Some(0..root.body_extent().end),
                SectionText::Header => Some(root.header_extent()),
                SectionText::Text => Some(root.body_extent()),
                SectionText::Mime => None,
            };
        }
        let part = self.find(numbers)?;
        match text {
            SectionText::Body => Some(part.body_extent()),
            SectionText::Header => part.message().map(|message| message.header_extent()),
            SectionText::Text => part.message().map(|message| message.body_extent()),
            SectionText::Mime if part.is_message() => None,
            SectionText::Mime => Some(part.header_extent()),
        }
    }

    /// Returns the part that IMAP part numbers mean. `None` without numbers, or if there is no such part.
    pub fn find(&self, numbers: &[u32]) -> Option<Part<'_>> {
        let (&last, path) = numbers.split_last()?;
        let mut part = self.root();
        for &number in path {
            part = part.numbered(number)?;
            match part.kind() {
                Kind::Multipart => {}
                Kind::Message => part = part.message()?,
                Kind::Text | Kind::Other => return None,
            }
        }
        part.numbered(last)
    }

    fn part(&self, index: usize) -> Part<'_> {
        Part { text: &self.text, nodes: &self.nodes, node: &self.nodes[index] }
    }
}

/// Equal are messages whose parts, header blocks and defects are, however they came here.
impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Node, &Node)| {
            a.header(&self.text) == b.header(&other.text)
                && *a == Node { kept_start: a.kept_start, ..b.clone() }
        };
        self.defects == other.defects
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same)
    }
}

impl Eq for Message<'_> {}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("nodes", &self.nodes)
            .field("defects", &self.defects)
            .finish_non_exhaustive()
    }
}

/// A part of a message, or the message itself, or one encapsulated in it: a header block and a body.
#[derive(Clone, Copy)]
pub struct Part<'m> {
    text: &'m [u8],
    nodes: &'m [Node],
    node: &'m Node,
}

impl<'m> Part<'m> {
    /// Returns what kind of body this is.
    pub fn kind(&self) -> Kind {
        self.node.kind
    }

    /// Returns whether this is the message itself or an encapsulated one, not a part of a multipart.
    pub fn is_message(&self) -> bool {
        self.node.role == Role::Message
    }

    /// Returns where the header block is in the message, with its empty line.
    pub fn header_extent(&self) -> Range<u64> {
        self.node.header_start..self.node.body_start
    }

    /// Returns where the body is in the message.
    pub fn body_extent(&self) -> Range<u64> {
        self.node.body_start..self.node.body_end
    }

    /// Returns the octets of the body.
    pub fn body_octets(&self) -> u64 {
        self.node.body_end - self.node.body_start
    }

    /// Returns the lines of the body; one without a line end does not count.
    pub fn body_lines(&self) -> u64 {
        self.node.lines
    }

    /// Returns the header block, as much as is kept of it ([`crate::MAX_HEADER`]).
    pub fn header(&self) -> &'m [u8] {
        self.node.header(self.text)
    }

    /// Returns the envelope fields of the header block.
    pub fn envelope(&self) -> Envelope<'m> {
        Envelope::parse(self.header())
    }

    /// Returns the value of `Content-Type:`, if it can be read.
    pub fn content_type(&self) -> Option<ContentType<'m>> {
        ContentType::parse(self.value(self.node.found.content_type)?)
    }

    /// Returns the type in upper case, `TEXT` by default. A multipart or message that nests too deep is `TEXT`.
    pub fn media_type(&self) -> Cow<'m, [u8]> {
        match (self.kind(), self.content_type()) {
            (Kind::Text, _) => Cow::Borrowed(b"TEXT"),
            (Kind::Multipart, _) => Cow::Borrowed(b"MULTIPART"),
            (Kind::Message, _) => Cow::Borrowed(b"MESSAGE"),
            (Kind::Other, found) => found.map_or(Cow::Borrowed(b"TEXT"), |found| uppercase(found.media_type)),
        }
    }

    /// Returns the subtype in upper case, or else the default of the type.
    pub fn subtype(&self) -> Cow<'m, [u8]> {
        match self.content_type().and_then(|found| found.subtype) {
            Some(subtype) => uppercase(subtype),
            None => Cow::Borrowed(default_subtype(&self.media_type())),
        }
    }

    /// Returns the parameters of `Content-Type:` as they stand. There are none where [`Part::charset`] is a guess.
    pub fn parameters(&self) -> Option<Parameters<'m>> {
        self.content_type().map(|found| found.parameters)
    }

    /// Returns the charset of a text: its parameter, or, for a text without parameters, what it looks like.
    pub fn charset(&self) -> Option<Cow<'m, [u8]>> {
        match self.guessed_charset() {
            Some(guess) => Some(Cow::Borrowed(guess)),
            None => self.parameters()?.get("charset"),
        }
    }

    /// Returns the charset that a text without any parameters looks like.
    pub(crate) fn guessed_charset(&self) -> Option<&'static [u8]> {
        if !self.node.guess_charset {
            return None;
        }
        Some(match self.node.charset {
            CharsetHint::Iso2022Jp => b"ISO-2022-JP",
            CharsetHint::Unknown => b"X-UNKNOWN",
            CharsetHint::Ascii if self.encoding().is_identity() => b"US-ASCII",
            CharsetHint::Ascii => b"X-UNKNOWN",
        })
    }

    /// Returns the transfer encoding.
    pub fn encoding(&self) -> Encoding {
        self.node.encoding
    }

    /// Returns the name of the transfer encoding in upper case, `7BIT` by default.
    pub fn encoding_name(&self) -> Cow<'m, [u8]> {
        match self.node.encoding {
            Encoding::SevenBit => Cow::Borrowed(b"7BIT"),
            Encoding::EightBit => Cow::Borrowed(b"8BIT"),
            Encoding::Binary => Cow::Borrowed(b"BINARY"),
            Encoding::Base64 => Cow::Borrowed(b"BASE64"),
            Encoding::QuotedPrintable => Cow::Borrowed(b"QUOTED-PRINTABLE"),
            Encoding::Other => {
                let found = self.value(self.node.found.encoding).and_then(content::transfer_encoding);
                found.map_or(Cow::Borrowed(b"X-UNKNOWN"), |(_, name)| uppercase(name))
            }
        }
    }

    /// Returns the value of `Content-ID:`, still folded.
    pub fn id(&self) -> Option<&'m [u8]> {
        self.value(self.node.found.id)
    }

    /// Returns the value of `Content-Description:`, still folded.
    pub fn description(&self) -> Option<&'m [u8]> {
        self.value(self.node.found.description)
    }

    /// Returns the value of `Content-MD5:`, still folded.
    pub fn md5(&self) -> Option<&'m [u8]> {
        self.value(self.node.found.md5)
    }

    /// Returns the value of `Content-Location:`, still folded.
    pub fn location(&self) -> Option<&'m [u8]> {
        self.value(self.node.found.location)
    }

    /// Returns the type of `Content-Disposition:` as written, and its parameters.
    pub fn disposition(&self) -> Option<(&'m [u8], Parameters<'m>)> {
        content::disposition(self.value(self.node.found.disposition)?)
    }

    /// Returns the languages of `Content-Language:` as written.
    pub fn languages(&self) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        content::languages(self.value(self.node.found.language).unwrap_or_default())
    }

    /// Returns the parts of a multipart, of which there is at least one, or the message in a `message/rfc822` part.
    pub fn children(&self) -> impl Iterator<Item = Part<'m>> + use<'m> {
        let part = *self;
        std::iter::successors(part.at(part.node.first_child), move |child| part.at(child.node.next))
    }

    /// Returns the message that a `message/rfc822` part encapsulates.
    pub fn message(&self) -> Option<Part<'m>> {
        if self.kind() == Kind::Message { self.at(self.node.first_child) } else { None }
    }

    /// Returns what was found wrong with this part itself.
    pub fn defects(&self) -> Defects {
        self.node.defects
    }

    /// Returns how deep this part is nested; the message itself is at 0.
    pub fn depth(&self) -> u8 {
        self.node.depth
    }

    /// Returns the part of this number; part 1 of what is no multipart is itself.
    fn numbered(&self, number: u32) -> Option<Part<'m>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        match self.kind() {
            Kind::Multipart => self.children().nth(index),
            _ => (index == 0).then_some(*self),
        }
    }

    fn at(&self, index: Option<u32>) -> Option<Part<'m>> {
        let node = self.nodes.get(usize::try_from(index?).ok()?)?;
        Some(Part { node, ..*self })
    }

    /// Returns a value found in the header block, without the comments that it begins with.
    fn value(&self, span: Option<Span>) -> Option<&'m [u8]> {
        let value = span?.of(self.header());
        value.get(skip_space(value, 0)..)
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

fn uppercase(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if text.iter().any(u8::is_ascii_lowercase) { Cow::Owned(text.to_ascii_uppercase()) } else { text }
}

fn default_subtype(media_type: &[u8]) -> &'static [u8] {
    match media_type {
        b"TEXT" => b"PLAIN",
        b"MULTIPART" => b"MIXED",
        b"MESSAGE" => b"RFC822",
        b"APPLICATION" => b"OCTET-STREAM",
        b"AUDIO" => b"BASIC",
        _ => b"UNKNOWN",
    }
}

/// What a part is a part of, which decides what it is by default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// None: it is a message.
    Message,
    /// A multipart.
    Part,
    /// A multipart/digest, whose parts are messages by default.
    DigestPart,
}

/// What a text that does not name its charset looks like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum CharsetHint {
    #[default]
    Ascii,
    Unknown,
    Iso2022Jp,
}

/// One part as the scanner found it. Offsets are in octets of the message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Node {
    pub(crate) header_start: u64,
    pub(crate) body_start: u64,
    pub(crate) body_end: u64,
    pub(crate) lines: u64,
    /// Where the kept part of the header block is in the message's text.
    pub(crate) kept_start: usize,
    pub(crate) kept_len: u32,
    pub(crate) found: Found,
    pub(crate) first_child: Option<u32>,
    pub(crate) next: Option<u32>,
    pub(crate) role: Role,
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
    pub(crate) charset: CharsetHint,
    /// Whether this is a text without parameters, which shows `charset` instead.
    pub(crate) guess_charset: bool,
    pub(crate) is_digest: bool,
    pub(crate) depth: u8,
    pub(crate) defects: Defects,
}

impl Node {
    /// Returns an empty part that begins at `at`.
    pub(crate) fn new(role: Role, depth: u8, at: u64, kept_start: usize) -> Self {
        Self {
            header_start: at,
            body_start: at,
            body_end: at,
            lines: 0,
            kept_start,
            kept_len: 0,
            found: Found::default(),
            first_child: None,
            next: None,
            role,
            kind: Kind::Text,
            encoding: Encoding::SevenBit,
            charset: CharsetHint::Ascii,
            guess_charset: false,
            is_digest: false,
            depth,
            defects: Defects::default(),
        }
    }

    pub(crate) fn header<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let kept = text.get(self.kept_start..).unwrap_or_default();
        kept.get(..self.kept_len as usize).unwrap_or(kept)
    }
}

/// Where the values of a part's content fields are in its header block.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) content_type: Option<Span>,
    pub(crate) encoding: Option<Span>,
    pub(crate) id: Option<Span>,
    pub(crate) description: Option<Span>,
    pub(crate) md5: Option<Span>,
    pub(crate) disposition: Option<Span>,
    pub(crate) language: Option<Span>,
    pub(crate) location: Option<Span>,
}

/// A piece of a header block, of which at most [`crate::MAX_HEADER`] octets are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub(crate) fn new(start: usize, len: usize) -> Option<Self> {
        Some(Self { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? })
    }

    pub(crate) fn of<'t>(&self, header: &'t [u8]) -> &'t [u8] {
        let value = header.get(self.start as usize..).unwrap_or_default();
        value.get(..self.len as usize).unwrap_or(value)
    }
}
