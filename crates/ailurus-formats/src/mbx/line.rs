//! The line before each message.

use super::header::{hex, put_hex};
use ailurus_types::{Flags, InternalDate, KeywordMask, SystemFlags};

/// A line is complete within so many octets, or it is none.
pub(super) const MOST: usize = 64;
/// Octets of the flag field from its `;` to the end of the line.
pub(super) const FIELD: usize = 24;
/// Octets from the keyword mask to the end of the UID: what a flag update writes.
pub(super) const UPDATE: usize = 21;

const OLD: u16 = 0x10;
const HIDDEN: u16 = 0x8000;
const SYSTEM: [(SystemFlags, u16); 5] = [
    (SystemFlags::SEEN, 0x1),
    (SystemFlags::DELETED, 0x2),
    (SystemFlags::FLAGGED, 0x4),
    (SystemFlags::ANSWERED, 0x8),
    (SystemFlags::DRAFT, 0x20),
];

/// A parsed line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// Octets of the line with its line end; the message begins behind.
    pub(super) len: u8,
    /// `None`: no date, which matters only if the message is not hidden.
    pub(super) date: Option<InternalDate>,
    /// Octets of the message.
    pub(super) size: u64,
    pub(super) field: Field,
}

/// The flag field: keyword mask, system flags, UID.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Field {
    pub(super) flags: Flags,
    /// A session has been told of the message: it is no longer \Recent.
    pub(super) old: bool,
    /// Expunged, while others still may read it.
    pub(super) hidden: bool,
    /// 0 while none is assigned.
    pub(super) uid: u32,
}

impl Line {
    /// Parses the line at `offset` from the octets there, at least [`MOST`] of them unless the file ends. What is
    /// wrong is said in the reference's words.
    pub(super) fn parse(octets: &[u8], offset: u64, local_offset: i16) -> Result<Self, String> {
        let octets = &octets[..octets.len().min(MOST)];
        let Some(line) = complete_line(octets) else {
            let (read, text) = (octets.len(), text(octets));
            return Err(format!("Unable to find CRLF at {offset} in {read} bytes, text: {text}"));
        };
        let fault =
            |what: &str, text: &dyn std::fmt::Display| format!("Unable to parse {what} at {offset}: {text}");
        let comma = memchr::memchr(b',', line);
        let semicolon = comma.and_then(|comma| Some(comma + memchr::memchr(b';', &line[comma..])?));
        let (Some(comma), Some(semicolon)) = (comma, semicolon) else {
            return Err(fault("internal header", &text(line)));
        };
        let rest = &line[semicolon + 1..];
        let Some((keywords, system)) = rest.get(..12).and_then(parse_flags) else {
            return Err(fault("message flags", &text(line)));
        };
        let Some(uid) = rest[12..].strip_prefix(b"-").filter(|uid| uid.len() == 8).and_then(hex) else {
            return Err(fault("message UID", &text(line)));
        };
        let Some(size) = parse_size(&line[comma + 1..semicolon]) else {
            return Err(fault("message size", &text(line)));
        };
        let date = InternalDate::parse(&line[..comma], local_offset).ok();
        let field = Field::from_numbers(keywords, system, uid);
        let len = u8::try_from(line.len() + 2).expect("a line has at most 64 octets");
        Ok(Self { len, date, size, field })
    }

    /// Says in the reference's words that the line at `offset` has no date.
    pub(super) fn date_fault(octets: &[u8], offset: u64) -> String {
        let end = octets.iter().position(|octet| *octet == b',').unwrap_or(octets.len());
        format!("Unable to parse message date at {offset}: {}", text(&octets[..end]))
    }

    /// Tells whether so few octets at the end of a file are the beginning of a line as [`Line::append_to`] writes it.
    pub(super) fn is_cut_off(octets: &[u8]) -> bool {
        const SHAPE: &[u8] = b"dd-aaa-dddd dd:dd:dd sdddd,";
        const TAIL: &[u8] = b";hhhhhhhhhhhh-hhhhhhhh\r\n";
        let fits =
            |octets: &[u8], shape: &[u8]| octets.iter().zip(shape).all(|(octet, kind)| is_a(*octet, *kind));
        let (date, rest) = octets.split_at(octets.len().min(SHAPE.len()));
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let tail = &rest[digits..];
        octets.len() < MOST && fits(date, SHAPE) && tail.len() < TAIL.len() && fits(tail, TAIL)
    }

    /// Returns what of a line never changes: date and size.
    pub(super) fn constant(line: &[u8]) -> &[u8] {
        &line[..memchr::memchr(b';', line).unwrap_or(line.len())]
    }

    /// Appends the line of a new message.
    pub(super) fn append_to(date: InternalDate, size: u64, field: Field, out: &mut Vec<u8>) {
        date.append_to(out);
        out.extend_from_slice(format!(",{size};").as_bytes());
        out.extend_from_slice(&field.encode());
        out.extend_from_slice(b"\r\n");
    }
}

fn is_a(octet: u8, kind: u8) -> bool {
    match kind {
        b'd' => octet.is_ascii_digit() || octet == b' ',
        b'a' => octet.is_ascii_alphabetic(),
        b's' => matches!(octet, b'+' | b'-'),
        b'h' => octet.is_ascii_hexdigit(),
        _ => octet == kind,
    }
}

/// Returns the octets before the first CR, if LF follows it. As in the reference a NUL ends the search.
fn complete_line(octets: &[u8]) -> Option<&[u8]> {
    let end = octets.iter().position(|octet| matches!(octet, b'\r' | 0))?;
    (octets.get(end..end + 2) == Some(b"\r\n")).then(|| &octets[..end])
}

/// Returns the text for an error, up to its first NUL; octets that are no text are replaced.
fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}

fn parse_flags(digits: &[u8]) -> Option<(u32, u16)> {
    let system = u16::try_from(hex(&digits[8..])?).ok()?;
    Some((hex(&digits[..8])?, system))
}

/// Reads the leading digits; 0 is no size.
fn parse_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit());
    let size =
        digits.fold(0u64, |size, digit| size.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    (size != 0).then_some(size)
}

impl Field {
    /// Returns the field of these numbers, as far as they fit.
    pub(super) fn of(keywords: u32, system: u32, uid: u32) -> Self {
        Self::from_numbers(keywords, u16::try_from(system & 0xffff).unwrap_or(0), uid)
    }

    fn from_numbers(keywords: u32, system: u16, uid: u32) -> Self {
        let mut flags = Flags { keywords: KeywordMask(keywords.into()), ..Flags::default() };
        for (flag, bit) in SYSTEM {
            if system & bit != 0 {
                flags.system |= flag;
            }
        }
        Self { flags, old: system & OLD != 0, hidden: system & HIDDEN != 0, uid }
    }

    /// Parses the field from its `;` on; `None` when that is not where it is.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        if octets.len() < FIELD || octets[0] != b';' || octets[13] != b'-' {
            return None;
        }
        let (keywords, system) = parse_flags(&octets[1..13])?;
        Some(Self::from_numbers(keywords, system, hex(&octets[14..22])?))
    }

    /// Returns the octets behind the `;` up to the end of the UID.
    pub(super) fn encode(&self) -> [u8; UPDATE] {
        let mut system = if self.old { OLD } else { 0 } | if self.hidden { HIDDEN } else { 0 };
        for (flag, bit) in SYSTEM {
            if self.flags.system.contains(flag) {
                system |= bit;
            }
        }
        let mut octets = [b'-'; UPDATE];
        // Slots beyond 32 do not exist in this format.
        put_hex(&mut octets[..8], u32::try_from(self.flags.keywords.0 & 0xffff_ffff).unwrap_or(0));
        put_hex(&mut octets[8..12], system.into());
        put_hex(&mut octets[13..], self.uid);
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_and_parsing_agree() {
        let flags = Flags { system: SystemFlags::ALL, keywords: KeywordMask(0x8000_0001) };
        let field = Field { flags, old: true, hidden: true, uid: 0xdead_beef };
        let date = InternalDate::from_timestamp(1_740_830_400, -510);
        let mut text = Vec::new();
        Line::append_to(date, u64::from(u32::MAX), field, &mut text);
        assert_eq!(text, b" 1-Mar-2025 03:30:00 -0830,4294967295;80000001803f-deadbeef\r\n");
        let line = Line::parse(&text, 0, 0).unwrap();
        assert_eq!(line, Line { len: 61, date: Some(date), size: u64::from(u32::MAX), field });
        assert_eq!(Field::parse(&text[text.len() - FIELD..]), Some(field));
    }

    #[test]
    fn every_beginning_of_a_line_is_known_as_one() {
        let mut text = Vec::new();
        Line::append_to(InternalDate::default(), 242, Field::default(), &mut text);
        for end in 0..text.len() {
            assert!(Line::is_cut_off(&text[..end]), "{end}");
        }
        assert!(!Line::is_cut_off(&text));
        assert!(!Line::is_cut_off(b"garbage"));
    }

    #[test]
    fn a_size_beyond_all_numbers_is_no_overflow() {
        let text = b" 1-Mar-2025 03:30:00 -0830,99999999999999;000000000000-00000000\r\n";
        assert_eq!(text.len(), 65);
        assert!(Line::parse(text, 0, 0).is_err());
        let text = b"1-Mar-25 03:30,9999999999999999999999;000000000000-00000000\r\n";
        assert_eq!(Line::parse(text, 0, 0).unwrap().size, u64::MAX);
    }
}
