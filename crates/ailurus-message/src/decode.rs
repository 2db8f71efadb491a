//! Transfer encodings undone (RFC 2045 §6), piece by piece and in bounded memory.
//!
//! Decoding never stops at bad data: it keeps what can be had and tells at the end how good that is. The result does not
//! depend on how the data is cut into pieces.

use crate::content::Encoding;

/// How good decoded data is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// The data was well formed.
    #[default]
    Exact,
    /// Bad sequences were kept as they stand, or data after the padding was dropped.
    Repaired,
    /// The data is not of this encoding, or the encoding is unknown. FETCH BINARY refuses it (`UNKNOWN-CTE`).
    Undecodable,
}

/// Decodes a body that arrives in pieces.
#[derive(Debug)]
pub struct Decoder(Kind);

#[derive(Debug)]
enum Kind {
    Identity(Outcome),
    Base64(Base64),
    QuotedPrintable(QuotedPrintable),
}

impl Decoder {
    /// Returns a decoder for a transfer encoding. An unknown one passes the octets and is undecodable in the end.
    pub fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => Kind::Identity(Outcome::Exact),
            Encoding::Base64 => Kind::Base64(Base64::default()),
            Encoding::QuotedPrintable => Kind::QuotedPrintable(QuotedPrintable::default()),
            Encoding::Other => Kind::Identity(Outcome::Undecodable),
        })
    }

    /// Returns whether pieces decode to themselves.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.0, Kind::Identity(_))
    }

    /// Appends what the next piece decodes to.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::Identity(_) => out.extend_from_slice(piece),
            Kind::Base64(decoder) => decoder.push(piece, out),
            Kind::QuotedPrintable(decoder) => decoder.push(piece, out),
        }
    }

    /// Ends the data, appends what was held back, and tells how good all of it is.
    pub fn finish(self, out: &mut Vec<u8>) -> Outcome {
        match self.0 {
            Kind::Identity(outcome) => outcome,
            Kind::Base64(decoder) => decoder.finish(out),
            Kind::QuotedPrintable(decoder) => decoder.finish(out),
        }
    }
}

/// Appends what a whole body decodes to, and tells how good it is.
pub fn decode(encoding: Encoding, body: &[u8], out: &mut Vec<u8>) -> Outcome {
    let mut decoder = Decoder::new(encoding);
    decoder.push(body, out);
    decoder.finish(out)
}

/// BASE64 (RFC 2045 §6.8). White space and NUL are passed over; other stray octets are too, but make it undecodable.
/// Missing padding at the end is no fault.
#[derive(Debug, Default)]
pub(crate) struct Base64 {
    bits: u32,
    /// How many digits of the current four are in `bits`.
    digits: u8,
    end: PaddingState,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum PaddingState {
    #[default]
    Data,
    SecondDue,
    Over,
}

impl Base64 {
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() / 4 * 3);
        let mut rest = piece;
        loop {
            if self.digits == 0 && self.end == PaddingState::Data {
                rest = decode_quads(rest, out);
            }
            let Some((&octet, after)) = rest.split_first() else { return };
            rest = after;
            self.octet(octet, out);
        }
    }

    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (BASE64_VALUE[usize::from(octet)], self.end) {
            (BLANK, _) => {}
            (PAD, PaddingState::Data) => match self.digits {
                3 => self.pad(PaddingState::Over, out),
                2 => self.pad(PaddingState::SecondDue, out),
                _ => self.fault(Outcome::Undecodable),
            },
            (PAD, _) => self.end = PaddingState::Over,
            (_, PaddingState::SecondDue) => {
                self.fault(Outcome::Undecodable);
                self.end = PaddingState::Over;
            }
            (JUNK, PaddingState::Data) => self.fault(Outcome::Undecodable),
            (JUNK, PaddingState::Over) => {}
            (_, PaddingState::Over) => self.fault(Outcome::Repaired),
            (value, PaddingState::Data) => {
                self.bits = self.bits << 6 | u32::from(value);
                self.digits += 1;
                if self.digits == 4 {
                    out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                    self.bits = 0;
                    self.digits = 0;
                }
            }
        }
    }

    fn pad(&mut self, end: PaddingState, out: &mut Vec<u8>) {
        self.flush(out);
        self.end = end;
    }

    fn fault(&mut self, outcome: Outcome) {
        self.outcome = self.outcome.max(outcome);
    }

    /// Appends the octets that are complete in an incomplete group of four digits.
    fn flush(&mut self, out: &mut Vec<u8>) {
        let octets = (self.bits << (6 * (4 - u32::from(self.digits)))).to_be_bytes();
        let complete = usize::from(self.digits.saturating_sub(1));
        out.extend(octets.get(1..=complete).unwrap_or_default());
        self.bits = 0;
        self.digits = 0;
    }

    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Outcome {
        if self.end == PaddingState::SecondDue {
            self.fault(Outcome::Undecodable);
        }
        self.flush(out);
        self.outcome
    }
}

/// Decodes groups of four digits while there is nothing else, and returns the rest.
fn decode_quads<'a>(piece: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = piece;
    // Sixteen at a time, looked over for what is no digit once: all that is none has a bit that no digit has.
    while let Some((block, after)) = rest.split_first_chunk::<16>() {
        let mut octets = [0; 12];
        let mut seen = 0;
        for (quad, three) in block.chunks_exact(4).zip(octets.chunks_exact_mut(3)) {
            let mut bits = 0;
            for &octet in quad {
                let value = BASE64_VALUE[usize::from(octet)];
                seen |= value;
                bits = bits << 6 | u32::from(value);
            }
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        if seen & BLANK != 0 {
            break;
        }
        out.extend_from_slice(&octets);
        rest = after;
    }
    while let [a, b, c, d, after @ ..] = rest {
        let values = [a, b, c, d].map(|&octet| BASE64_VALUE[usize::from(octet)]);
        if values.iter().any(|&value| value >= 64) {
            break;
        }
        let bits = values.iter().fold(0, |bits, &value| bits << 6 | u32::from(value));
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
        rest = after;
    }
    rest
}

/// This and the following have the bit of 64, which no digit has.
const BLANK: u8 = 64;
const PAD: u8 = 65;
const JUNK: u8 = 66;

static BASE64_VALUE: [u8; 256] = {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let blanks = b"\0\t\n\x0C\r ";
    let mut table = [JUNK; 256];
    let mut value = 0u8;
    while value < 64 {
        table[digits[value as usize] as usize] = value;
        value += 1;
    }
    let mut index = 0;
    while index < blanks.len() {
        table[blanks[index] as usize] = BLANK;
        index += 1;
    }
    table[b'=' as usize] = PAD;
    table
};

/// QUOTED-PRINTABLE (RFC 2045 §6.7). Blanks at the end of a line are dropped; bad sequences stay as they are.
#[derive(Debug, Default)]
struct QuotedPrintable {
    state: QuotedState,
    /// Blanks that may turn out to end their line.
    blanks: Vec<u8>,
    outcome: Outcome,
}

/// More blanks than this are text, wherever they stand: a line has at most 76 octets.
const MAX_BLANKS: usize = 1000;

#[derive(Clone, Copy, Debug, Default)]
enum QuotedState {
    #[default]
    Text,
    Equals,
    /// After `=` and blanks, which are in `blanks`.
    EqualsBlanks,
    EqualsCr,
    EqualsDigit(u8),
}

impl QuotedPrintable {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() {
            if matches!(self.state, QuotedState::Text) {
                let run = memchr::memchr3(b'=', b'\r', b'\n', rest).unwrap_or(rest.len());
                let (text, after) = rest.split_at(run);
                self.text(text, out);
                rest = after;
                // The common case in a text that is not of Latin letters: one octet after the other.
                while let [b'=', high, low, after @ ..] = rest
                    && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
                {
                    out.append(&mut self.blanks);
                    out.push(high << 4 | low);
                    rest = after;
                }
                if rest.first().is_some_and(|octet| !matches!(octet, b'=' | b'\r' | b'\n')) {
                    continue;
                }
            }
            let Some((&octet, after)) = rest.split_first() else { return };
            rest = after;
            self.octet(octet, out);
        }
    }

    /// Takes octets of a line that are neither `=` nor a line end.
    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let end = text.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |last| last + 1);
        let (text, blanks) = text.split_at(end);
        if !text.is_empty() {
            out.append(&mut self.blanks);
            out.extend_from_slice(text);
        }
        for &blank in blanks {
            self.blank(blank, out);
        }
    }

    fn blank(&mut self, blank: u8, out: &mut Vec<u8>) {
        self.blanks.push(blank);
        if self.blanks.len() > MAX_BLANKS {
            if matches!(self.state, QuotedState::EqualsBlanks) {
                self.keep(&[], out);
            }
            out.append(&mut self.blanks);
        }
    }

    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        match (self.state, octet) {
            (QuotedState::Text, b'=') => {
                out.append(&mut self.blanks);
                self.state = QuotedState::Equals;
            }
            (QuotedState::Text, b'\r' | b'\n') => {
                self.blanks.clear();
                out.push(octet);
            }
            (QuotedState::Text, _) => self.text(&[octet], out),
            (QuotedState::Equals | QuotedState::EqualsBlanks | QuotedState::EqualsCr, b'\n') => {
                self.blanks.clear();
                self.state = QuotedState::Text;
            }
            (QuotedState::EqualsCr, _) => {
                self.state = QuotedState::Text;
                self.octet(octet, out);
            }
            (QuotedState::Equals | QuotedState::EqualsBlanks, b'\r') => {
                self.blanks.clear();
                self.state = QuotedState::EqualsCr;
            }
            (QuotedState::Equals | QuotedState::EqualsBlanks, b' ' | b'\t') => {
                self.state = QuotedState::EqualsBlanks;
                self.blank(octet, out);
            }
            (QuotedState::Equals, _) if hex_digit(octet).is_some() => {
                self.state = QuotedState::EqualsDigit(octet)
            }
            (QuotedState::Equals, _) => self.keep(&[octet], out),
            (QuotedState::EqualsBlanks, _) => {
                self.keep(&[], out);
                self.octet(octet, out);
            }
            (QuotedState::EqualsDigit(first), _) => match (hex_digit(first), hex_digit(octet)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    self.state = QuotedState::Text;
                }
                _ => {
                    self.keep(&[first], out);
                    self.octet(octet, out);
                }
            },
        }
    }

    /// Keeps a `=` and what follows it, a sequence that means nothing.
    fn keep(&mut self, after: &[u8], out: &mut Vec<u8>) {
        out.push(b'=');
        out.extend_from_slice(after);
        self.outcome = Outcome::Repaired;
        self.state = QuotedState::Text;
    }

    fn finish(mut self, out: &mut Vec<u8>) -> Outcome {
        match self.state {
            QuotedState::Text => out.append(&mut self.blanks),
            QuotedState::EqualsDigit(first) => self.keep(&[first], out),
            QuotedState::Equals | QuotedState::EqualsBlanks | QuotedState::EqualsCr => {}
        }
        self.outcome
    }
}

/// Returns the value of a hexadecimal digit.
pub(crate) fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, body: &[u8]) -> (Vec<u8>, Outcome) {
        let mut out = Vec::new();
        let outcome = decode(encoding, body, &mut out);
        (out, outcome)
    }

    #[test]
    fn base64_good_and_bad() {
        for (body, data, outcome) in [
            (&b"AAECAwQFBgc="[..], &b"\x00\x01\x02\x03\x04\x05\x06\x07"[..], Outcome::Exact),
            (b"SGVsbG8=\r\n", b"Hello", Outcome::Exact),
            (b"SGVs\r\nbG8", b"Hello", Outcome::Exact),
            (b"SGVsbA==", b"Hell", Outcome::Exact),
            (b"SGVsbA= =", b"Hell", Outcome::Exact),
            (b"S G\tV s", b"Hel", Outcome::Exact),
            (b"SGVsbA=", b"Hell", Outcome::Undecodable),
            (b"SGVsbA=x", b"Hell", Outcome::Undecodable),
            (b"SGVsbG8=SGVs", b"Hello", Outcome::Repaired),
            (b"SGVsbG8=-- \r\n", b"Hello", Outcome::Exact),
            (b"SG!Vs", b"Hel", Outcome::Undecodable),
            (b"=SGVs", b"Hel", Outcome::Undecodable),
            (b"S", b"", Outcome::Exact),
            (b"", b"", Outcome::Exact),
        ] {
            assert_eq!(decoded(Encoding::Base64, body), (data.to_vec(), outcome), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn quoted_printable_good_and_bad() {
        for (body, data, outcome) in [
            (&b"Caf=E9 at noon?"[..], &b"Caf\xE9 at noon?"[..], Outcome::Exact),
            (b"a =\r\nb=\nc", b"a bc", Outcome::Exact),
            (b"a= \t\r\nb", b"ab", Outcome::Exact),
            (b"a  \t\r\n b ", b"a\r\n b ", Outcome::Exact),
            (b"a=3d=3D", b"a==", Outcome::Exact),
            (b"=4Gb", b"=4Gb", Outcome::Repaired),
            (b"==41", b"==41", Outcome::Repaired),
            (b"= x", b"= x", Outcome::Repaired),
            (b"a=", b"a", Outcome::Exact),
            (b"a=4", b"a=4", Outcome::Repaired),
            (b"a=\rb", b"ab", Outcome::Exact),
        ] {
            assert_eq!(
                decoded(Encoding::QuotedPrintable, body),
                (data.to_vec(), outcome),
                "{}",
                body.escape_ascii()
            );
        }
        let blanks = [&b"a"[..], &[b' '; 5000], b"b="].concat();
        assert_eq!(decoded(Encoding::QuotedPrintable, &blanks).0, [&b"a"[..], &[b' '; 5000], b"b"].concat());
    }

    #[test]
    fn other_encodings_pass() {
        assert_eq!(decoded(Encoding::EightBit, b"\xE9=\0"), (b"\xE9=\0".to_vec(), Outcome::Exact));
        assert_eq!(decoded(Encoding::Other, b"x"), (b"x".to_vec(), Outcome::Undecodable));
    }

    fn in_pieces(encoding: Encoding, body: &[u8], size: usize) -> (Vec<u8>, Outcome) {
        let mut out = Vec::new();
        let mut decoder = Decoder::new(encoding);
        for piece in body.chunks(size) {
            decoder.push(piece, &mut out);
        }
        let outcome = decoder.finish(&mut out);
        (out, outcome)
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(body in "[A-Ca-c=4 \t\r\n!]{0,80}", size in 1usize..9) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
                prop_assert_eq!(in_pieces(encoding, body.as_bytes(), size), decoded(encoding, body.as_bytes()));
            }
        }

        #[test]
        fn any_octets_do(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
                prop_assert!(decoded(encoding, &body).0.len() <= body.len());
            }
        }

        #[test]
        fn quoted_octets_come_back(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let body: String = data.iter().map(|octet| format!("={octet:02X}")).collect();
            prop_assert_eq!(decoded(Encoding::QuotedPrintable, body.as_bytes()), (data, Outcome::Exact));
        }
    }
}
