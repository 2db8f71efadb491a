//! Encoded words in headers (RFC 2047).

use ailurus_charset::{Charset, Decoder, header_to_utf8_or};

use crate::{decode::hex_digit, header::unfold, lex};

/// Returns a field's value, still folded, as text with its encoded words decoded.
///
/// White space between adjacent encoded words is dropped, and a character may be split over two words of one charset.
/// Malformed words, and those of an unknown charset, stay as they are, but for the charsets that say that they are unknown
/// (`unknown-8bit`). Raw octets are UTF-8, else windows-1252; raw ISO-2022-JP is read as such.
pub fn decode(value: &[u8]) -> String {
    decode_or(value, None)
}

/// The same, with a charset for raw octets that are not UTF-8: that of the message's text, for example.
pub fn decode_or(value: &[u8], raw: Option<Charset>) -> String {
    let line = unfold(value);
    let Some(first) = memchr::memmem::find(&line, b"=?") else {
        return header_to_utf8_or(&line, raw).into_owned();
    };
    let mut text = Text { out: String::with_capacity(line.len()), raw, open: None, blanks: &[] };
    let mut rest: &[u8] = &line;
    let mut plain = first;
    loop {
        match rest.get(plain..).and_then(Word::parse) {
            Some((word, after)) => {
                text.plain(rest.get(..plain).unwrap_or_default());
                text.word(&word);
                rest = after;
                plain = 0;
            }
            None => plain += 2,
        }
        match rest.get(plain..).and_then(|tail| memchr::memmem::find(tail, b"=?")) {
            Some(next) => plain += next,
            None => break,
        }
    }
    text.plain(rest);
    text.finish()
}

struct Word<'a> {
    charset: Charset,
    base64: bool,
    text: &'a [u8],
}

impl<'a> Word<'a> {
    /// Reads `=?charset*language?encoding?text?=` at the start of `line`, and returns what follows.
    fn parse(line: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let rest = line.strip_prefix(b"=?")?;
        let (label, rest) = split_at_mark(rest)?;
        let (encoding, rest) = split_at_mark(rest)?;
        let (text, rest) = split_at_mark(rest)?;
        let rest = rest.strip_prefix(b"=")?;
        let label = label.split(|&octet| octet == b'*').next().unwrap_or(label);
        let base64 = match encoding {
            b"B" | b"b" => true,
            b"Q" | b"q" => false,
            _ => return None,
        };
        Some((Self { charset: charset(label)?, base64, text }, rest))
    }

    fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.text.len());
        if self.base64 {
            let mut decoder = crate::decode::Base64::default();
            decoder.push(self.text, &mut octets);
            decoder.finish(&mut octets);
        } else {
            decode_q(self.text, &mut octets);
        }
        octets
    }
}

fn charset(label: &[u8]) -> Option<Charset> {
    let unknown = || UNKNOWN.iter().any(|name| label.eq_ignore_ascii_case(name)).then(Charset::guessed);
    Charset::for_label(label).or_else(unknown)
}

/// Labels by which a sender says that it does not know the charset.
const UNKNOWN: [&[u8]; 4] = [b"unknown-8bit", b"x-unknown", b"unknown", b"x-user-defined"];

fn split_at_mark(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mark = memchr::memchr(b'?', text)?;
    Some((text.get(..mark)?, text.get(mark + 1..)?))
}

fn decode_q(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match (octet, rest) {
            (b'_', _) => out.push(b' '),
            (b'=', [high, low, after @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(octet),
            },
            _ => out.push(octet),
        }
    }
}

struct Text<'a> {
    out: String,
    /// What raw octets are in.
    raw: Option<Charset>,
    /// Decodes the word just read, whose last character may yet be cut short.
    open: Option<Decoder>,
    /// The white space after that word, which counts unless another word follows.
    blanks: &'a [u8],
}

impl<'a> Text<'a> {
    fn plain(&mut self, octets: &'a [u8]) {
        if self.open.is_some() && octets.iter().all(lex::is_blank) {
            self.blanks = octets;
            return;
        }
        self.close();
        self.out.push_str(&header_to_utf8_or(octets, self.raw));
    }

    fn word(&mut self, word: &Word<'a>) {
        self.blanks = &[];
        let same = matches!(&self.open, Some(decoder) if decoder.charset() == word.charset);
        if !same {
            self.close();
            self.open = Some(Decoder::new(word.charset));
        }
        if let Some(decoder) = &mut self.open {
            decoder.push(&word.octets(), &mut self.out);
        }
    }

    fn close(&mut self) {
        if let Some(decoder) = self.open.take() {
            decoder.finish(&mut self.out);
        }
        let blanks = std::mem::take(&mut self.blanks);
        self.out.push_str(&header_to_utf8_or(blanks, self.raw));
    }

    fn finish(mut self) -> String {
        self.close();
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples_of_rfc_2047() {
        for (value, text) in [
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
            ("=?iso-2022-jp?B?GyRCRnwbKEI=?=", "日"),
        ] {
            assert_eq!(decode(value.as_bytes()), text, "{value}");
        }
    }

    #[test]
    fn odd_words() {
        for (value, text) in [
            ("=?utf-8?b?5pel5pw=?= =?UTF-8?B?rOiqng==?=", "日本語"),
            ("=?utf-8?q?caf=C3?= =?utf-8?q?=A9?=", "café"),
            ("=?x-none?q?a?= b", "=?x-none?q?a?= b"),
            ("=?unknown-8bit?q?caf=E9?=", "café"),
            ("=?X-UNKNOWN?q?caf=C3=A9?=", "café"),
            ("=?utf-8*en-GB?b?5pel5pw=?= =?utf8*en?b?rOiqng==?=", "日本語"),
            ("=?gb2312?b?xA==?= =?GBK?b?4w==?=", "你"),
            ("=?utf-8?b?7aCA?=", "\u{fffd}\u{fffd}\u{fffd}"),
            ("=?utf-16?b?2AA=?= =?utf-8?q?x?=", "\u{fffd}x"),
            ("=?utf-7?q?caf+AOk-?=", "café"),
            ("\u{1b}$BF|K\\\u{1b}(B x", "日本 x"),
            ("=?utf-8?x?a?= =?utf-8?q?b?=", "=?utf-8?x?a?= b"),
            ("=?utf-8?q?open", "=?utf-8?q?open"),
            ("=? =?utf-8?q?b?=", "=? b"),
            ("=?utf-8?q?a=4?=", "a=4"),
            ("(=?utf-8?q?a?=)", "(a)"),
            ("=?utf-8?q?a?= ", "a "),
            ("=?=?utf-8?q?a?=", "=?a"),
            ("a=?", "a=?"),
            ("plain\r\n\tfolded", "plain folded"),
        ] {
            assert_eq!(decode(value.as_bytes()), text, "{value}");
        }
        assert_eq!(decode(b"caf\xE9 =?utf-8?q?x?="), "café x");
        let koi8 = Charset::for_label(b"koi8-r");
        assert_eq!(decode_or(b"\xF0\xD2\xC9 =?utf-8?q?x?=", koi8), "При x");
        assert_eq!(decode_or("café".as_bytes(), koi8), "café");
    }

    #[test]
    fn time_is_linear() {
        for piece in ["=?", "=?a", "=?a?", "=?a?q", "=?utf-8?q?", "=?utf-8?q?a?= "] {
            let value = piece.repeat(200_000);
            assert!(decode(value.as_bytes()).len() <= value.len());
        }
    }

    proptest! {
        #[test]
        fn any_octets_do(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _text = decode(&value);
        }

        #[test]
        fn text_without_words_stays(text in "[^=\t\r\n\x1b]*") {
            prop_assert_eq!(decode(text.as_bytes()), text);
        }
    }
}
