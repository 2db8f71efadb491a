//! The keys that look into messages, and what was found so far of the present one.

use crate::WHOLE;
use crate::needle::Needle;
use ailurus_charset::Charset;
use ailurus_message::content::{ContentType, disposition};
use ailurus_message::header::{self, Field};
use ailurus_message::{Kind, Message, Part, PartDecoder, Scanner, address, date::Date, words};
use ailurus_store::{Extent, Mailbox, Result};
use ailurus_types::{CalendarDate, Uid, days_from_civil};
use memchr::memmem;

/// What a key asks of the fields of one name.
pub(crate) enum FieldTest {
    SentBefore(CalendarDate),
    SentOn(CalendarDate),
    SentSince(CalendarDate),
    /// In the address list, written out.
    Address(Needle),
    /// In the value.
    Value(Needle),
}

/// A key that the header answers.
struct HeaderKey {
    /// The position of the field's name among all that are asked for.
    name: usize,
    test: FieldTest,
}

/// A field whose name is asked for.
struct Found<'h> {
    name: usize,
    field: Field<'h>,
}

/// A key that needs the text of the message.
struct TextKey {
    needle: Needle,
    /// TEXT: headers count too.
    headers: bool,
    found: bool,
}

/// All keys that look into messages.
#[derive(Default)]
pub(crate) struct Texts {
    /// The names of the fields that keys ask for, each once: there may be many keys, and many fields.
    names: Vec<Box<str>>,
    header_keys: Vec<HeaderKey>,
    header_answers: Vec<Option<bool>>,
    text_keys: Vec<TextKey>,
    /// The text keys have their answers.
    body_read: bool,
    message: Vec<u8>,
    /// `message` begins with the header of the present message.
    is_held: bool,
    scratch: Scratch,
}

/// Buffers that are used for one message after the other.
#[derive(Default)]
struct Scratch {
    canonical: String,
    written: String,
}

/// How much of a message is read at a time.
const PIECE: usize = 64 * 1024;
/// How much of a header block is looked at.
const MAX_HEADER: usize = ailurus_message::MAX_HEADER;
/// Buffers larger than this are given back.
const KEPT_CAPACITY: usize = 256 * 1024;

impl Texts {
    /// Adds a key about the fields of a name.
    pub(crate) fn add_header(&mut self, name: &str, test: FieldTest) -> usize {
        let known = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let name = known.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        self.header_keys.push(HeaderKey { name, test });
        self.header_keys.len() - 1
    }

    pub(crate) fn add_text(&mut self, needle: Needle, headers: bool) -> usize {
        self.text_keys.push(TextKey { needle, headers, found: false });
        self.text_keys.len() - 1
    }

    /// Forgets the answers of the message before.
    pub(crate) fn begin(&mut self) {
        self.header_answers.clear();
        self.body_read = false;
        self.is_held = false;
        if self.message.capacity() > KEPT_CAPACITY {
            self.message = Vec::new();
        }
    }

    /// Returns the header of the present message, as it was read for the keys, or else reads it.
    pub(crate) fn header(&mut self, mailbox: &mut dyn Mailbox, uid: Uid, cost: &mut usize) -> Result<&[u8]> {
        if !self.is_held {
            read_up_to(mailbox, uid, Extent::Header, MAX_HEADER, &mut self.message)?;
            self.is_held = true;
            *cost += self.message.len();
        }
        Ok(&self.message)
    }

    pub(crate) fn wants_header(&self) -> bool {
        !self.header_keys.is_empty()
    }

    pub(crate) fn header_answer(&self, number: usize) -> Option<bool> {
        self.header_answers.get(number).copied().flatten()
    }

    pub(crate) fn text_answer(&self, number: usize) -> Option<bool> {
        let key = self.text_keys.get(number)?;
        self.body_read.then_some(key.found)
    }

    /// Reads the header and answers the keys that it answers. Returns how much was read.
    pub(crate) fn read_header(&mut self, mailbox: &mut dyn Mailbox, uid: Uid) -> Result<usize> {
        let mut text = std::mem::take(&mut self.message);
        let read = read_up_to(mailbox, uid, Extent::Header, MAX_HEADER, &mut text);
        if read.is_ok() {
            let named = |field: Field<'_>| self.names.iter().position(|name| field.is(name));
            let fields = header::fields(&text).filter_map(|field| Some(Found { name: named(field)?, field }));
            let fields: Vec<_> = fields.collect();
            let raw = raw_charset(&fields, &text);
            let scratch = &mut self.scratch;
            let answers = self.header_keys.iter().map(|key| Some(key.matches(&fields, raw, scratch)));
            self.header_answers.extend(answers);
        }
        let cost = text.len() * weight(self.header_keys.len());
        self.message = text;
        self.is_held = read.is_ok();
        read.map(|()| cost)
    }

    /// Reads the message and answers the keys about its text. Returns how much was read.
    pub(crate) fn read_body(&mut self, mailbox: &mut dyn Mailbox, uid: Uid, size: u64) -> Result<usize> {
        for key in &mut self.text_keys {
            key.found = key.needle.is_empty();
        }
        let cost = if size <= WHOLE {
            let mut text = std::mem::take(&mut self.message);
            let most = usize::try_from(WHOLE).unwrap_or(usize::MAX);
            let read = read_up_to(mailbox, uid, Extent::Whole, most, &mut text);
            if read.is_ok() {
                self.search_whole(&text);
            }
            let cost = text.len();
            self.message = text;
            self.is_held = read.is_ok();
            read?;
            cost
        } else {
            self.search_in_pieces(mailbox, uid)?
        };
        self.body_read = true;
        Ok(cost.saturating_mul(weight(self.text_keys.len())))
    }

    fn all_found(&self) -> bool {
        self.text_keys.iter().all(|key| key.found)
    }

    fn search_whole(&mut self, text: &[u8]) {
        let candidates = self.text_keys.iter().any(|key| !key.found && !is_surely_absent(&key.needle, text));
        if !candidates {
            return;
        }
        let message = Message::parse(text);
        self.search_headers(&message);
        for part in message.parts().filter(is_text) {
            if self.all_found() {
                return;
            }
            let extent = part.body_extent();
            let extent = usize::try_from(extent.start).unwrap_or(usize::MAX)
                ..usize::try_from(extent.end).unwrap_or(usize::MAX);
            let body = text.get(extent).unwrap_or_default();
            let mut reader = PartReader::new(&part);
            for piece in body.chunks(PIECE) {
                reader.push(piece, &mut self.text_keys, &mut self.scratch);
            }
            reader.finish(&mut self.text_keys, &mut self.scratch);
        }
    }

    /// Searches a message that is not held: it is read once for its structure, and its texts once more.
    fn search_in_pieces(&mut self, mailbox: &mut dyn Mailbox, uid: Uid) -> Result<usize> {
        let mut scanner = Scanner::new();
        let mut piece = Vec::new();
        let mut at = 0;
        loop {
            piece.clear();
            let read = mailbox.read(uid, Extent::Whole, at, PIECE, &mut piece)?;
            if read == 0 {
                break;
            }
            scanner.push(&piece);
            at += length(read);
        }
        let message = scanner.finish();
        self.search_headers(&message);
        for part in message.parts().filter(is_text) {
            if self.all_found() {
                break;
            }
            let mut reader = PartReader::new(&part);
            let mut extent = part.body_extent();
            while extent.start < extent.end {
                piece.clear();
                let most = usize::try_from(extent.end - extent.start).unwrap_or(PIECE).min(PIECE);
                let read = mailbox.read(uid, Extent::Whole, extent.start, most, &mut piece)?;
                if read == 0 {
                    break;
                }
                extent.start += length(read);
                reader.push(&piece, &mut self.text_keys, &mut self.scratch);
                at += length(read);
            }
            reader.finish(&mut self.text_keys, &mut self.scratch);
        }
        Ok(usize::try_from(at).unwrap_or(usize::MAX))
    }

    /// Searches the headers of the message, of the messages in it, and of all parts.
    fn search_headers(&mut self, message: &Message<'_>) {
        if !self.text_keys.iter().any(|key| key.headers && !key.found) {
            return;
        }
        let mut raw = None;
        for part in message.parts() {
            for field in header::fields(part.header()) {
                if raw.is_none() && is_raw(field.raw) {
                    raw = Some(text_charset(message));
                }
                for key in self.text_keys.iter_mut().filter(|key| key.headers && !key.found) {
                    key.found = is_in_field(&key.needle, &field, field.raw, raw.flatten(), &mut self.scratch);
                }
            }
        }
    }
}

/// Tells whether the body of a part is searched: texts, and messages that are none of RFC 822 (delivery reports).
fn is_text(part: &Part<'_>) -> bool {
    match part.kind() {
        Kind::Text => true,
        Kind::Other => part.media_type().as_ref() == b"MESSAGE",
        Kind::Multipart | Kind::Message => false,
    }
}

/// Tells, with a glance at the octets, that a key is not in the message, whatever is decoded. `false` says nothing.
fn is_surely_absent(needle: &Needle, text: &[u8]) -> bool {
    let is_plain = || {
        // What could turn into other characters: charsets that shift or are wide, encoded words, transfer encodings.
        !has_odd_octets(text)
            && memmem::find(text, b"=?").is_none()
            && !TRANSFER_ENCODINGS.with(|names| names.iter().any(|name| name.is_in_ascii(text)))
            && !has_parameter_pieces(text)
            && !may_name_utf7(text)
    };
    // Plain text has plain keys only. Space may be a folded line.
    let is_absent = !needle.is_ascii() || (!needle.has_space() && !needle.is_in_ascii(text));
    is_absent && is_plain()
}

thread_local! {
    static TRANSFER_ENCODINGS: [Needle; 2] = [Needle::new("base64"), Needle::new("quoted-printable")];
}

/// Tells whether there are octets that are part of other characters than they look like in some charset: those of eight
/// bits; control characters, which begin escapes, are letters of VISCII, or halves of UTF-16; the escape of HZ.
fn has_odd_octets(text: &[u8]) -> bool {
    let odd = |octet: u8| (octet < 0x20 && !matches!(octet, b'\t' | b'\r' | b'\n')) | (octet >= b'~');
    text.chunks(256).any(|piece| piece.iter().fold(false, |found, &octet| found | odd(octet)))
}

/// Tells whether there may be parameters that are encoded, or in pieces (RFC 2231).
fn has_parameter_pieces(text: &[u8]) -> bool {
    let piece = |at: usize| matches!(text.get(at + 1), Some(b'=' | b'0'..=b'9'));
    memchr::memchr_iter(b'*', text).any(piece)
}

/// Tells whether one of the labels of UTF-7, in any spelling, is in these octets.
fn may_name_utf7(text: &[u8]) -> bool {
    let ends = |at: usize| {
        let rest = text.get(at + 1..).unwrap_or_default();
        let mut rest = rest.iter().take(8).filter(|octet| octet.is_ascii_alphanumeric() && **octet != b'0');
        rest.next() == Some(&b'7')
    };
    memchr::memchr2_iter(b'f', b'F', text).any(ends) || memmem::find(text, b"65000").is_some()
}

/// Tells whether a field has octets that need a charset which it does not name.
pub(crate) fn is_raw(field: &[u8]) -> bool {
    !field.is_ascii() && str::from_utf8(field).is_err()
}

/// Returns the charset of the header's `Content-Type:`, if fields that are asked for need it.
fn raw_charset(fields: &[Found<'_>], header: &[u8]) -> Option<Charset> {
    let is_needed = fields.iter().any(|found| is_raw(found.field.value));
    if is_needed { header_charset(header) } else { None }
}

/// Returns the charset of the header's `Content-Type:`.
pub(crate) fn header_charset(header: &[u8]) -> Option<Charset> {
    let content = header::fields(header).find(|field| field.is("Content-Type"))?;
    Charset::for_label(&ContentType::parse(content.value)?.parameters.get("charset")?)
}

/// Returns the charset of the message's first text.
fn text_charset(message: &Message<'_>) -> Option<Charset> {
    let text = message.parts().find(|part| part.kind() == Kind::Text)?;
    Charset::for_label(&text.charset()?)
}

impl HeaderKey {
    fn matches(&self, fields: &[Found<'_>], raw: Option<Charset>, scratch: &mut Scratch) -> bool {
        let mut fields = fields.iter().filter(|found| found.name == self.name).map(|found| &found.field);
        let mut sent = || fields.next().and_then(|field| Date::parse(field.value)).map(|date| date.days());
        match &self.test {
            FieldTest::SentBefore(date) => sent().is_some_and(|sent| sent < days(*date)),
            FieldTest::SentOn(date) => sent().is_some_and(|sent| sent == days(*date)),
            FieldTest::SentSince(date) => sent().is_some_and(|sent| sent >= days(*date)),
            FieldTest::Address(needle) => fields.any(|field| {
                scratch.written.clear();
                address::write_list(field.value, &mut scratch.written);
                needle.is_in(&scratch.written, &mut scratch.canonical)
                    || is_raw(field.value)
                        && needle.is_in(&words::decode_or(field.value, raw), &mut scratch.canonical)
            }),
            FieldTest::Value(needle) => {
                fields.any(|field| is_in_field(needle, field, field.value, raw, scratch))
            }
        }
    }
}

/// Returns how many times what they look into so many keys cost.
fn weight(keys: usize) -> usize {
    1 + keys / 16
}

/// Tells whether a key is in a field, of which `text` is what counts: all of it or its value.
fn is_in_field(
    needle: &Needle,
    field: &Field<'_>,
    text: &[u8],
    raw: Option<Charset>,
    scratch: &mut Scratch,
) -> bool {
    if needle.is_empty() {
        return true;
    }
    let plain =
        text.is_ascii() && memmem::find(text, b"=?").is_none() && memchr::memchr(0x1b, text).is_none();
    if plain && !needle.is_ascii() {
        return is_in_parameters(needle, field, scratch);
    }
    if plain && !needle.has_space() {
        return needle.is_in_ascii(text) || is_in_parameters(needle, field, scratch);
    }
    needle.is_in(&words::decode_or(text, raw), &mut scratch.canonical)
        || is_in_parameters(needle, field, scratch)
}

/// Tells whether a key is in what the parameters of a MIME field mean after RFC 2231.
fn is_in_parameters(needle: &Needle, field: &Field<'_>, scratch: &mut Scratch) -> bool {
    if memchr::memchr(b'*', field.value).is_none() {
        return false;
    }
    let parameters = if field.is("Content-Type") {
        ContentType::parse(field.value).map(|content| content.parameters)
    } else if field.is("Content-Disposition") {
        disposition(field.value).map(|(_, parameters)| parameters)
    } else {
        None
    };
    parameters.is_some_and(|parameters| needle.is_in(&parameters.extended(), &mut scratch.canonical))
}

/// Returns the day, counted from 1970.
fn days(date: CalendarDate) -> i64 {
    days_from_civil(date.year.into(), date.month.into(), date.day.into())
}

/// Searches the decoded text of a part as it comes.
struct PartReader {
    decoder: PartDecoder,
    /// Decoded text that is not searched yet, or may be the beginning of a key.
    text: String,
}

/// Text is kept back from its last ASCII character on, but not more than this.
const MOST_KEPT_BACK: usize = 1024;

impl PartReader {
    fn new(part: &Part<'_>) -> Self {
        Self { decoder: PartDecoder::new(part), text: String::new() }
    }

    fn push(&mut self, piece: &[u8], keys: &mut [TextKey], scratch: &mut Scratch) {
        self.decoder.push(piece, &mut self.text);
        // ASCII begins a new combining sequence, so that the text before it has its canonical form by itself.
        let cut = self.text.bytes().rposition(|octet| octet.is_ascii()).unwrap_or(0);
        let cut = if self.text.len() - cut > MOST_KEPT_BACK { self.text.len() } else { cut };
        search_text(self.text.get(..cut).unwrap_or_default(), keys, scratch);
        // What may be the beginning of a key stays.
        let longest = keys.iter().map(|key| key.needle.most_text()).max().unwrap_or(0);
        let stay = cut.saturating_sub(longest);
        let stay = self.text.floor_char_boundary(stay);
        // Not within a combining sequence either, if there is an end of one in reach.
        let reach = self.text.floor_char_boundary(stay.saturating_sub(MOST_KEPT_BACK));
        let ascii = self.text[reach..stay].bytes().rposition(|octet| octet.is_ascii());
        self.text.drain(..ascii.map_or(stay, |at| reach + at));
    }

    fn finish(self, keys: &mut [TextKey], scratch: &mut Scratch) {
        let Self { decoder, mut text } = self;
        let _how_well = decoder.finish(&mut text);
        search_text(&text, keys, scratch);
    }
}

fn search_text(text: &str, keys: &mut [TextKey], scratch: &mut Scratch) {
    for key in keys.iter_mut().filter(|key| !key.found) {
        key.found = key.needle.is_ascii() && key.needle.is_in_ascii(text.as_bytes());
    }
    if text.is_ascii() || keys.iter().all(|key| key.found) {
        return;
    }
    scratch.canonical.clear();
    ailurus_charset::casemap(text, &mut scratch.canonical);
    for key in keys.iter_mut().filter(|key| !key.found) {
        key.found = key.needle.is_in_canonical(&scratch.canonical);
    }
}

fn read_up_to(
    mailbox: &mut dyn Mailbox,
    uid: Uid,
    extent: Extent,
    most: usize,
    text: &mut Vec<u8>,
) -> Result<()> {
    text.clear();
    while text.len() < most {
        let left = (most - text.len()).min(PIECE);
        if mailbox.read(uid, extent, length(text.len()), left, text)? == 0 {
            break;
        }
    }
    Ok(())
}

fn length(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}
