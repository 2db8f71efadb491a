//! The line before each message.

use super::Dialect;
use crate::flag_bits::{bits_of, flags_of};
use ailurus_types::{InternalDate, KeywordMask, SystemFlags};

/// A line is complete within so many octets, or it is none.
pub(super) const MOST: usize = 64;
/// Octets of the flags: ten digits of keywords, two of system flags.
pub(super) const FLAGS: usize = 12;
/// Octets of the flag field as [`Field::parse`] takes it: the flags with the `;` before them and the first octet of
/// the line end.
pub(super) const FIELD: usize = FLAGS + 2;
/// How many keywords a line has room for.
pub(super) const SLOTS: usize = 30;

const OLD: u16 = 0x10;

/// A parsed line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// Octets of the line with its line end; the message begins behind.
    pub(super) len: u8,
    pub(super) date: InternalDate,
    /// Octets of the message as it is in the file.
    pub(super) size: u64,
    pub(super) field: Field,
}

/// The flag field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Field {
    /// Keyword n is bit n here, whatever its place in the digits.
    pub(super) keywords: KeywordMask,
    pub(super) system: SystemFlags,
    /// A session has been told of the message: it is no longer \Recent.
    pub(super) old: bool,
}

impl Line {
    /// Parses the line at `offset` from the octets there, at least [`MOST`] of them unless the file ends. What is
    /// wrong is said in the reference's words.
    pub(super) fn parse(
        octets: &[u8],
        offset: u64,
        dialect: &Dialect,
        local_offset: i16,
    ) -> Result<Self, String> {
        let octets = &octets[..octets.len().min(MOST)];
        let Some(line) = complete_line(octets, dialect) else {
            let (newline, read, text) = (dialect.newline_name, octets.len(), text(octets));
            return Err(format!("Unable to find {newline} at {offset} in {read} bytes, text: {text}"));
        };
        let Some((date, size, flags)) = elements(line) else {
            return Err(format!("Unable to parse internal header at {offset}: {}", text(line)));
        };
        let parsed = (|| {
            let date = InternalDate::parse(date, local_offset).ok()?;
            let field = Field::from_digits(flags.try_into().ok()?)?;
            Some((date, parse_size(size)?, field))
        })();
        let Some((date, size, field)) = parsed else {
            let what = "Unable to parse internal header elements";
            return Err(format!("{what} at {offset}: {}", text(line)));
        };
        let len = u8::try_from(line.len() + dialect.newline.len()).expect("a line has at most 64 octets");
        Ok(Self { len, date, size, field })
    }

    /// Appends the line of a new message.
    pub(super) fn append_to(
        date: InternalDate,
        size: u64,
        field: Field,
        dialect: &Dialect,
        out: &mut Vec<u8>,
    ) {
        date.append_to(out);
        out.extend_from_slice(format!(",{size};").as_bytes());
        out.extend_from_slice(&field.encode());
        out.extend_from_slice(dialect.newline);
    }

    /// Returns what of a line never changes: date and size.
    pub(super) fn constant(line: &[u8]) -> &[u8] {
        &line[..memchr::memchr(b';', line).unwrap_or(line.len())]
    }

    /// Tells whether the first octets of a file are a line as far as the reference looks at it to know the format.
    pub(super) fn is_first(octets: &[u8], dialect: &Dialect) -> bool {
        let octets = &octets[..octets.len().min(MOST)];
        let Some(line) = complete_line(octets, dialect) else { return false };
        if line.last() == Some(&b'\r') {
            return false;
        }
        let dash = |at: usize| line.get(at) == Some(&b'-');
        let comma = line.get(18..).and_then(|rest| memchr::memchr(b',', rest)).map(|comma| comma + 18);
        let semicolon =
            comma.is_some_and(|comma| line.get(comma + 2..).is_some_and(|rest| rest.contains(&b';')));
        (dash(2) && dash(6) || dash(1) && dash(5)) && semicolon
    }
}

/// Returns the octets before the line end. As in the reference a NUL ends the search.
fn complete_line<'o>(octets: &'o [u8], dialect: &Dialect) -> Option<&'o [u8]> {
    let newline = dialect.newline;
    let end = octets.iter().position(|octet| *octet == newline[0] || *octet == 0)?;
    octets[end..].starts_with(newline).then(|| &octets[..end])
}

/// Returns date, size and flags.
fn elements(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let comma = memchr::memchr(b',', line)?;
    let semicolon = comma + memchr::memchr(b';', &line[comma..])?;
    Some((&line[..comma], &line[comma + 1..semicolon], &line[semicolon + 1..]))
}

/// Returns the text for an error, up to its first NUL; octets that are no text are replaced.
fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}

/// 0 is no size.
fn parse_size(digits: &[u8]) -> Option<u64> {
    let size = digits.iter().try_fold(0u64, |size, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(size.saturating_mul(10).saturating_add(u64::from(digit)))
    });
    size.filter(|size| *size != 0)
}

impl Field {
    /// Parses the digits. 8 and 9 are none in octal, and yet are taken: as system flags they count what they count,
    /// as keywords they end the number.
    fn from_digits(digits: &[u8; FLAGS]) -> Option<Self> {
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let (keywords, system) = digits.split_at(10);
        let octal = keywords.iter().take_while(|digit| **digit < b'8');
        let bits = octal.fold(0u64, |bits, digit| bits << 3 | u64::from(digit - b'0'));
        let system = u16::from(system[0] - b'0') * 8 + u16::from(system[1] - b'0');
        let keywords = KeywordMask(reversed(bits));
        Some(Self { keywords, system: flags_of(system), old: system & OLD != 0 })
    }

    /// Reads the digits of a damaged field: those that are none count 0.
    pub(super) fn salvage(digits: &[u8]) -> Option<Self> {
        let mut digits: [u8; FLAGS] = digits.try_into().ok()?;
        digits.iter_mut().filter(|digit| !digit.is_ascii_digit()).for_each(|digit| *digit = b'0');
        Self::from_digits(&digits)
    }

    /// Parses the field from its `;` on; `None` when that is not where it is.
    pub(super) fn parse(octets: &[u8], dialect: &Dialect) -> Option<Self> {
        let good = octets.len() >= FIELD && octets[0] == b';' && octets[FIELD - 1] == dialect.newline[0];
        good.then(|| Self::from_digits(octets[1..=FLAGS].try_into().ok()?))?
    }

    /// Returns the digits.
    pub(super) fn encode(&self) -> [u8; FLAGS] {
        let system = bits_of(self.system) | if self.old { OLD } else { 0 };
        let mut digits = [b'0'; FLAGS];
        put_octal(&mut digits[..10], reversed(self.keywords.0));
        put_octal(&mut digits[10..], system.into());
        digits
    }
}

/// Turns keyword n, which is bit n to us, into bit 29-n, and back.
fn reversed(bits: u64) -> u64 {
    let all = (1 << SLOTS) - 1;
    (bits & all).reverse_bits() >> (64 - SLOTS)
}

fn put_octal(place: &mut [u8], value: u64) {
    let mut rest = value;
    for digit in place.iter_mut().rev() {
        *digit = b"01234567"[usize::try_from(rest & 7).unwrap_or(0)];
        rest >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MTX, TENEX};
    use super::*;

    #[test]
    fn printing_and_parsing_agree() {
        for (dialect, newline) in [(&MTX, "\r\n"), (&TENEX, "\n")] {
            let field = Field { keywords: KeywordMask(3), system: SystemFlags::ALL, old: true };
            let date = InternalDate::from_timestamp(1_740_830_400, -510);
            let mut text = Vec::new();
            Line::append_to(date, 242, field, dialect, &mut text);
            let expected = format!(" 1-Mar-2025 03:30:00 -0830,242;600000000077{newline}");
            assert_eq!(text, expected.as_bytes());
            let line = Line::parse(&text, 0, dialect, 0).unwrap();
            assert_eq!(line, Line { len: u8::try_from(text.len()).unwrap(), date, size: 242, field });
            let at = text.len() - newline.len() - FLAGS - 1;
            assert_eq!(Field::parse(&text[at..at + FIELD], dialect), Some(field));
            assert_eq!(Line::constant(&text), b" 1-Mar-2025 03:30:00 -0830,242");
            assert!(Line::is_first(&text, dialect));
        }
        for slot in 0..SLOTS {
            let field = Field { keywords: KeywordMask::slot(slot), ..Field::default() };
            let digits = field.encode();
            assert_eq!(Field::from_digits(&digits), Some(field));
            assert_eq!(digits[slot / 3], b"421"[slot % 3], "slot {slot}");
        }
    }

    #[test]
    fn digits_that_are_not_octal_are_read_as_the_reference_does() {
        let field = Field::from_digits(b"400000000089").unwrap();
        assert_eq!(field.keywords, KeywordMask(1));
        assert_eq!(field.system, SystemFlags::SEEN | SystemFlags::ANSWERED);
        assert!(!field.old);
        assert_eq!(Field::from_digits(b"008000000000").unwrap().keywords, KeywordMask::NONE);
        assert_eq!(Field::from_digits(b"00800000000x"), None);
    }

    #[test]
    fn faults_are_told_in_the_references_words() {
        let fault = |text: &[u8]| Line::parse(text, 7, &MTX, 0).unwrap_err();
        assert_eq!(fault(b"abc"), "Unable to find CRLF at 7 in 3 bytes, text: abc");
        assert_eq!(fault(b"abc\rd\n"), "Unable to find CRLF at 7 in 6 bytes, text: abc\rd\n");
        assert_eq!(fault(b"abc\r\n"), "Unable to parse internal header at 7: abc");
        for text in [
            " 1-Feb-2025 12:34:56 +0200,0;000000000000",
            " 1-Feb-2025 12:34:56 +0200,;000000000000",
            " 1-Feb-2025 12:34:56 +0200,1x;000000000000",
            " 1-Feb-2025 12:34:56 +0200,1;00000000000",
            " 1-Feb-2025 12:34:56 +0200,1;0000000000000",
            "31-Foo-2025 12:34:56 +0200,1;000000000000",
        ] {
            let expected = format!("Unable to parse internal header elements at 7: {text}");
            assert_eq!(fault(format!("{text}\r\n").as_bytes()), expected);
        }
        let fault = Line::parse(b"abc", 7, &TENEX, 0).unwrap_err();
        assert_eq!(fault, "Unable to find newline at 7 in 3 bytes, text: abc");
    }

    #[test]
    fn the_first_line_tells_the_dialect() {
        let (mtx, tenex) =
            (&b"23-Nov-84 10:00-EST,17;000000000041\r\n"[..], &b"23-Nov-84 10:00-EST,17;000000000041\n"[..]);
        assert!(Line::is_first(mtx, &MTX) && !Line::is_first(mtx, &TENEX));
        assert!(Line::is_first(tenex, &TENEX) && !Line::is_first(tenex, &MTX));
        for text in [&b""[..], b"From a Sat Feb  1\n", b"23-Nov-84 10:00,17;000000000041\n", b"23-Nov-84\n"] {
            assert!(!Line::is_first(text, &TENEX), "{text:?}");
        }
        assert!(!Line::is_first(&[b"23-Nov-84 10:00-EST,17;", &[b'0'; 50][..], b"\n"].concat(), &TENEX));
    }
}
