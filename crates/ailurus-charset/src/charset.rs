//! Labels to charsets, octets to UTF-8.
//!
//! The tables are `encoding_rs`'s, which follow the WHATWG: US-ASCII and ISO-8859-1 decode as windows-1252, whose extra
//! characters are what senders of octets 0x80–0x9F meant. Labels that mail uses and the web does not are added here.
//! Not known yet: UTF-7, ISO-2022-KR, ISO-2022-CN, VISCII, CN-GB-12345, UCS-4 and the DOS code pages but IBM866.

use std::borrow::Cow;

use encoding_rs::{CoderResult, Encoding};

/// A charset whose text can be decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Charset(&'static Encoding);

impl Charset {
    /// Returns the charset of a MIME label, or `None` for an unknown one. Case and surrounding blanks do not matter.
    pub fn for_label(label: &[u8]) -> Option<Self> {
        let label = label.trim_ascii();
        let known = LABELS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(label));
        let label = known.map_or(label, |(_, same_as)| same_as.as_bytes());
        Encoding::for_label_no_replacement(label).map(Self)
    }

    /// Returns the charset's WHATWG name, for example `windows-1252` for US-ASCII.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Appends the UTF-8 form of a whole text to `out`. Octets that mean nothing become U+FFFD.
    pub fn decode(self, text: &[u8], out: &mut String) {
        let mut decoder = Decoder::new(self);
        decoder.push(text, out);
        decoder.finish(out);
    }
}

/// Labels that mail uses beyond the WHATWG's, and what they decode as.
const LABELS: &[(&str, &str)] = &[
    ("ibm367", "us-ascii"),
    ("us", "us-ascii"),
    ("646", "us-ascii"),
    ("cp932", "shift_jis"),
    ("windows-932", "shift_jis"),
    ("eucjp", "euc-jp"),
    ("iso-2022-jp-1", "iso-2022-jp"),
    ("iso-2022-jp-2", "iso-2022-jp"),
    ("iso-2022-jp-ms", "iso-2022-jp"),
    ("cp50220", "iso-2022-jp"),
    ("euckr", "euc-kr"),
    ("cp949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("x-windows-949", "euc-kr"),
    ("ksc5601", "euc-kr"),
    ("ks_c_5601-1992", "euc-kr"),
    ("ks_c_5601-1997", "euc-kr"),
    ("cp936", "gbk"),
    ("windows-936", "gbk"),
    ("ms936", "gbk"),
    ("cn-gb", "gbk"),
    ("euc-cn", "gbk"),
    ("gb18030-2005", "gb18030"),
    ("cn-big5", "big5"),
    ("big-5", "big5"),
    ("cp950", "big5"),
    ("windows-950", "big5"),
    ("big5hkscs", "big5"),
    ("cp874", "windows-874"),
    ("ibm874", "windows-874"),
    // RFC 2781: without a byte order mark, UTF-16 is big-endian; the web takes it for little-endian.
    ("utf-16", "utf-16be"),
    ("ucs-2", "utf-16be"),
];

/// Appends the UTF-8 form of a whole text in the charset of a MIME label to `out`.
///
/// Returns `None`, and appends nothing, when the label is unknown.
pub fn to_utf8(label: &[u8], text: &[u8], out: &mut String) -> Option<()> {
    Charset::for_label(label)?.decode(text, out);
    Some(())
}

/// Returns raw header octets as text: as UTF-8 (RFC 6532) where they are that, else as windows-1252.
pub fn header_to_utf8(text: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(encoding_rs::WINDOWS_1252.decode_without_bom_handling(text).0.into_owned()),
    }
}

/// Decodes a text that arrives in pieces; a character may be split over two of them.
pub struct Decoder(encoding_rs::Decoder);

impl Decoder {
    /// Returns a decoder at the start of a text. A byte order mark of the charset itself is dropped; one of UTF-16
    /// decides the octet order.
    pub fn new(charset: Charset) -> Self {
        let utf16 = charset.0 == encoding_rs::UTF_16BE || charset.0 == encoding_rs::UTF_16LE;
        Self(if utf16 { charset.0.new_decoder() } else { charset.0.new_decoder_with_bom_removal() })
    }

    /// Appends what the next piece of the text means to `out`.
    pub fn push(&mut self, text: &[u8], out: &mut String) {
        self.run(text, out, false);
    }

    /// Ends the text: a character that was cut short becomes U+FFFD.
    pub fn finish(mut self, out: &mut String) {
        self.run(&[], out, true);
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
        f.debug_tuple("Decoder").field(&self.0.encoding().name()).finish()
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
        for label in ["", "x-unknown", "unknown-8bit", "ISO-2022-KR", "replacement", "utf-9"] {
            assert_eq!(decoded(label, b"x"), None, "{label}");
        }
    }

    #[test]
    fn broken_text_becomes_replacement_characters() {
        assert_eq!(decoded("utf-8", b"a\xFFb\xC3").as_deref(), Some("a\u{FFFD}b\u{FFFD}"));
        assert_eq!(header_to_utf8(b"Caf\xE9"), "Café");
        assert_eq!(header_to_utf8("Café".as_bytes()), "Café");
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            size in 1usize..7,
            label in prop::sample::select(vec!["utf-8", "iso-2022-jp", "gb18030", "big5", "euc-jp", "utf-16", "koi8-r"]),
        ) {
            let charset = Charset::for_label(label.as_bytes()).expect("label is known");
            let mut decoder = Decoder::new(charset);
            let mut pieces = String::new();
            for piece in text.chunks(size) {
                decoder.push(piece, &mut pieces);
            }
            decoder.finish(&mut pieces);
            prop_assert_eq!(Some(pieces), decoded(label, &text));
        }
    }
}
