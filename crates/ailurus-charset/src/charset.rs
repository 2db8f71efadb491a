//! Labels to charsets, octets to UTF-8.
//!
//! Only decoding is here: keys and texts meet as UTF-8, so that nothing needs the way back.
//!
//! `encoding_rs` decodes what it knows. Its tables follow the WHATWG, whose charsets hold those of mail and more: ISO-8859-1
//! is windows-1252, ISO-8859-9 windows-1254, ISO-8859-11 and TIS-620 windows-874, GB 2312 is GBK, EUC-KR the unified hangul
//! code, Shift_JIS windows-31J, Big5 has the characters of Hong Kong; what they have more is what senders meant. Its
//! ISO-2022-JP lacks JIS X 0212 and all of JP-2, and it has no ISO-2022-KR and -CN, so these are our own (`iso2022`), as
//! are UTF-7, UTF-32 and HZ (`unicode`) and what takes a table only (`tables`).

use std::borrow::Cow;

use crate::iso2022::{Iso2022, Shifted};
use crate::labels::{self, CHARSETS, Entry};
use crate::tables::{PairDecoder, Pairs, Single};
use crate::unicode::{Guess, Hz, Utf7, Utf32};
use encoding_rs::{CoderResult, Encoding};

/// A charset whose text can be decoded.
#[derive(Clone, Copy)]
pub struct Charset(&'static Entry);

/// How a charset is decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// By `encoding_rs`.
    Web(&'static Encoding),
    /// ASCII; other octets are what they look like.
    Guess,
    Single(&'static Single),
    Pairs(Pairs),
    Iso2022(Shifted),
    Hz,
    Utf7,
    Utf32(Order),
}

/// Which octet of a number comes first, where no byte order mark tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    Big,
    Little,
}

impl Charset {
    /// Returns the charset of a MIME label, or `None` for an unknown one.
    ///
    /// Case, punctuation and surrounding blanks do not matter.
    pub fn for_label(label: &[u8]) -> Option<Self> {
        labels::find(label).map(Self)
    }

    /// Returns the charset of a text that has none, or an unknown one: octets that are UTF-8 are taken for that, others
    /// for windows-1252.
    pub fn guessed() -> Self {
        Self(&UNKNOWN)
    }

    /// Returns all charsets.
    pub fn all() -> impl Iterator<Item = Self> {
        CHARSETS.iter().map(Self)
    }

    /// Returns the charset's name in MIME.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Returns the labels that mean the charset, its name first. Forms that differ in punctuation are left out.
    pub fn labels(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.0.name).chain(self.0.labels.split_ascii_whitespace())
    }

    /// Appends the UTF-8 form of a whole text to `out`. Octets that mean nothing become U+FFFD.
    pub fn decode(self, text: &[u8], out: &mut String) {
        let mut decoder = Decoder::new(self);
        decoder.push(text, out);
        decoder.finish(out);
    }
}

/// Charsets are equal that decode alike.
impl PartialEq for Charset {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind == other.0.kind
    }
}

impl Eq for Charset {}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Charset").field(&self.name()).finish()
    }
}

static UNKNOWN: Entry = Entry { name: "X-UNKNOWN", kind: Kind::Guess, labels: "" };

/// Appends the UTF-8 form of a whole text in the charset of a MIME label to `out`.
///
/// Returns `None`, and appends nothing, when the label is unknown.
pub fn to_utf8(label: &[u8], text: &[u8], out: &mut String) -> Option<()> {
    Charset::for_label(label)?.decode(text, out);
    Some(())
}

/// Returns raw header octets as text: as UTF-8 (RFC 6532) where they are that, as ISO-2022-JP where escape sequences stand
/// in ASCII, else as windows-1252.
pub fn header_to_utf8(text: &[u8]) -> Cow<'_, str> {
    header_to_utf8_or(text, None)
}

/// The same with a better guess than windows-1252: the charset of the message's text.
pub fn header_to_utf8_or(text: &[u8], charset: Option<Charset>) -> Cow<'_, str> {
    let decoded = |charset: Charset| {
        let mut out = String::new();
        charset.decode(text, &mut out);
        Cow::Owned(out)
    };
    match str::from_utf8(text) {
        Ok(plain) if !plain.contains('\x1b') || !plain.is_ascii() => Cow::Borrowed(plain),
        Ok(_) => Charset::for_label(b"ISO-2022-JP").map_or(Cow::Borrowed(""), decoded),
        Err(_) => match charset.filter(|charset| charset.0.kind != Kind::Guess) {
            Some(charset) => decoded(charset),
            None => Cow::Owned(encoding_rs::WINDOWS_1252.decode_without_bom_handling(text).0.into_owned()),
        },
    }
}

/// Decodes a text that arrives in pieces; a character may be split over two of them.
pub struct Decoder {
    charset: Charset,
    machine: Machine,
}

/// What decodes, and what it knows of the text so far.
enum Machine {
    Web(WebDecoder),
    Guess(Guess),
    Single(&'static Single),
    Pairs(PairDecoder),
    Iso2022(Iso2022),
    Hz(Hz),
    Utf7(Utf7),
    Utf32(Utf32),
}

impl Decoder {
    /// Returns a decoder at the start of a text. A byte order mark of the charset itself is dropped; one of UTF-16 or UTF-32
    /// decides the octet order.
    pub fn new(charset: Charset) -> Self {
        let machine = match charset.0.kind {
            Kind::Web(encoding) => Machine::Web(WebDecoder::new(encoding)),
            Kind::Guess => Machine::Guess(Guess::default()),
            Kind::Single(table) => Machine::Single(table),
            Kind::Pairs(pairs) => Machine::Pairs(PairDecoder::new(pairs)),
            Kind::Iso2022(shifted) => Machine::Iso2022(Iso2022::new(shifted)),
            Kind::Hz => Machine::Hz(Hz::default()),
            Kind::Utf7 => Machine::Utf7(Utf7::default()),
            Kind::Utf32(order) => Machine::Utf32(Utf32::new(order == Order::Little)),
        };
        Self { charset, machine }
    }

    /// Returns the charset of the text.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// Appends what the next piece of the text means to `out`.
    pub fn push(&mut self, text: &[u8], out: &mut String) {
        match &mut self.machine {
            Machine::Web(decoder) => decoder.run(text, out, false),
            Machine::Guess(decoder) => decoder.push(text, out),
            Machine::Single(table) => table.decode(text, out),
            Machine::Pairs(decoder) => decoder.push(text, out),
            Machine::Iso2022(decoder) => decoder.push(text, out),
            Machine::Hz(decoder) => decoder.push(text, out),
            Machine::Utf7(decoder) => decoder.push(text, out),
            Machine::Utf32(decoder) => decoder.push(text, out),
        }
    }

    /// Ends the text: a character that was cut short becomes U+FFFD.
    pub fn finish(self, out: &mut String) {
        match self.machine {
            Machine::Web(mut decoder) => decoder.run(&[], out, true),
            Machine::Guess(decoder) => decoder.finish(out),
            Machine::Single(_) => {}
            Machine::Pairs(decoder) => decoder.finish(out),
            Machine::Iso2022(decoder) => decoder.finish(out),
            Machine::Hz(decoder) => decoder.finish(out),
            Machine::Utf7(decoder) => decoder.finish(out),
            Machine::Utf32(decoder) => decoder.finish(out),
        }
    }
}

/// A charset that `encoding_rs` decodes.
struct WebDecoder(encoding_rs::Decoder);

impl WebDecoder {
    fn new(encoding: &'static Encoding) -> Self {
        let utf16 = encoding == encoding_rs::UTF_16BE || encoding == encoding_rs::UTF_16LE;
        Self(if utf16 { encoding.new_decoder() } else { encoding.new_decoder_with_bom_removal() })
    }

    fn run(&mut self, mut text: &[u8], out: &mut String, last: bool) {
        if text.len() <= SMALL {
            return self.run_small(text, out, last);
        }
        loop {
            let room = self.0.max_utf8_buffer_length(text.len()).unwrap_or(0);
            // Asked for in steps, so that a large piece does not triple in memory before it is known to need it.
            out.reserve(room.clamp(16, 64 * 1024));
            let (result, read, _) = self.0.decode_to_string(text, out, last);
            text = text.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }

    /// Decodes a small piece, such as an encoded word, beside `out`. Decoding into it costs a write to each page of
    /// its spare room: the words of one large field would take time by the square of their number.
    fn run_small(&mut self, mut text: &[u8], out: &mut String, last: bool) {
        let mut buffer = [0; 4 * SMALL];
        loop {
            let (result, read, written, _) = self.0.decode_to_utf8(text, &mut buffer, last);
            out.push_str(str::from_utf8(&buffer[..written]).expect("a decoder writes UTF-8"));
            text = text.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }
}

/// As long as most encoded words, in octets.
const SMALL: usize = 128;

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoder").field(&self.charset.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(label: &str, text: &[u8]) -> Option<String> {
        let mut out = String::new();
        to_utf8(label.as_bytes(), text, &mut out).map(|()| out)
    }

    #[test]
    fn labels_of_mail_decode() {
        for (label, text, meaning) in [
            ("US-ASCII", &b"plain"[..], "plain"),
            ("utf-8", "Café".as_bytes(), "Café"),
            ("ISO-8859-1", b"Caf\xE9", "Café"),
            ("iso-8859-2", b"\xB1", "ą"),
            ("ISO-8859-15", b"\xA4", "€"),
            ("windows-1251", b"\xCF\xF0\xE8", "При"),
            ("KOI8-R", b"\xF0\xD2\xC9", "При"),
            ("GB2312", b"\xC4\xE3", "你"),
            ("CN-GB", b"\xC4\xE3", "你"),
            ("Big5", b"\xA7\x41", "你"),
            ("EUC-JP", b"\xC6\xFC", "日"),
            ("Shift_JIS", b"\x93\xFA", "日"),
            ("ISO-2022-JP", b"\x1B$BF|\x1B(B", "日"),
            ("EUC-KR", b"\xC7\xD1", "한"),
            ("CP949", b"\xC7\xD1", "한"),
            ("UTF-16", b"\x00A", "A"),
            ("UTF-16", b"\xFF\xFEA\x00", "A"),
            (" us-ascii ", b"x", "x"),
        ] {
            assert_eq!(decoded(label, text).as_deref(), Some(meaning), "{label}");
        }
    }

    #[test]
    fn unknown_labels_are_told() {
        for label in ["", "x-unknown", "unknown-8bit", "replacement", "utf-9"] {
            assert_eq!(decoded(label, b"x"), None, "{label}");
        }
    }

    #[test]
    fn broken_text_becomes_replacement_characters() {
        assert_eq!(decoded("utf-8", b"a\xFFb\xC3").as_deref(), Some("a\u{FFFD}b\u{FFFD}"));
        assert_eq!(header_to_utf8(b"Caf\xE9"), "Café");
        assert_eq!(header_to_utf8("Café".as_bytes()), "Café");
    }

    /// Octets of all kinds, those that change the state of a decoder more often than others.
    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let telling = prop::sample::select(
            b"\x1b\x1b$$()*+-./ABCDGHIJN\x0e\x0f\x8e\x8f~{}+-&AZaz09\n \xa1\xa2".to_vec(),
        );
        proptest::collection::vec(prop_oneof![telling, any::<u8>(), Just(0x30), Just(0xb0)], 0..100)
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(text in octets(), size in 1usize..7) {
            for charset in Charset::all() {
                let mut decoder = Decoder::new(charset);
                let mut pieces = String::new();
                for piece in text.chunks(size) {
                    decoder.push(piece, &mut pieces);
                }
                decoder.finish(&mut pieces);
                let mut whole = String::new();
                charset.decode(&text, &mut whole);
                prop_assert_eq!(pieces, whole, "{:?}", charset);
            }
        }
    }
}
