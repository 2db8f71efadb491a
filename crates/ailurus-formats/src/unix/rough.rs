//! Lines that were once a From_ line or a MARK, and lost an octet or two.

use super::dialect::MARK;
use crate::from_line::{FROM, FromLine};

/// How many octets may be wrong.
const MOST_WRONG: usize = 3;
/// How far into a line its date is looked for: senders are no longer.
const MOST_SENDER: usize = 320;
const DATE: &[u8] = b" aaa aaa dd dd:dd:dd dddd";
const ZONE: &[u8] = b" sdddd";

/// A From_ line put right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mended {
    /// Octets that it has in the file.
    pub(super) len: usize,
    /// What should be there.
    pub(super) line: Vec<u8>,
}

/// Puts right a line that is nearly a From_ line and has a header field behind it. `octets` begin where it does and go on
/// behind it.
pub(super) fn from_line(octets: &[u8]) -> Option<Mended> {
    // The end of the line before can be what is wrong.
    let (octets, skipped) = match octets.get(1..=FROM.len()) {
        Some(FROM) if !octets.starts_with(b"\n") => (&octets[1..], 1),
        _ => (octets, 0),
    };
    let wrong_word = wrong(octets.get(..FROM.len())?, FROM);
    if wrong_word > 2 {
        return None;
    }
    let line = &octets[..octets.len().min(MOST_SENDER + DATE.len())];
    let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
    let places =
        (FROM.len()..line.len().saturating_sub(DATE.len() - 1)).map(|at| (wrong(&line[at..], DATE), at));
    let (_, at) = places.min().filter(|(count, _)| wrong_word + count <= MOST_WRONG)?;
    let mut end = at + DATE.len();
    let mut new = [FROM, &octets[FROM.len()..at]].concat();
    new.extend(mended(&octets[at..], DATE));
    let zone = octets.get(end..end + ZONE.len()).filter(|zone| wrong(zone, ZONE) <= 1);
    if let Some(zone) = zone {
        new.extend(mended(zone, ZONE));
        end += ZONE.len();
    }
    // The line end itself can be what is wrong.
    end += usize::from(octets.get(end) == Some(&b'\r') && octets.get(end + 1) == Some(&b'\n')) + 1;
    if !is_field(octets.get(end..)?) || FromLine::parse(&new).is_none() {
        return None;
    }
    new.push(b'\n');
    Some(Mended { len: skipped + end, line: new })
}

/// Tells whether a header field begins here, or an empty line.
fn is_field(octets: &[u8]) -> bool {
    let name = octets.iter().take(80).take_while(|octet| octet.is_ascii_graphic() && **octet != b':').count();
    octets.first() == Some(&b'\n') || name > 0 && octets.get(name) == Some(&b':')
}

/// Tells whether all but one of these octets are those of a MARK. A CR among them, or one more
/// 0x01, is a line of text that is to be none.
pub(super) fn is_mark(octets: &[u8]) -> bool {
    let mut wrong = octets.iter().zip(MARK).filter(|(octet, mark)| octet != mark).map(|(octet, _)| *octet);
    octets.len() >= MARK.len()
        && wrong.next().is_some_and(|octet| !matches!(octet, b'\r' | 1))
        && wrong.next().is_none()
}

/// Counts the octets that are not as the shape has them.
fn wrong(octets: &[u8], shape: &[u8]) -> usize {
    octets.iter().zip(shape).filter(|(octet, kind)| !is_a(**octet, **kind)).count()
        + shape.len().saturating_sub(octets.len())
}

fn mended<'o>(octets: &'o [u8], shape: &'o [u8]) -> impl Iterator<Item = u8> + 'o {
    octets.iter().zip(shape).map(|(octet, kind)| match kind {
        b'd' if !is_a(*octet, b'd') => b'0',
        b's' if !is_a(*octet, b's') => b'+',
        b'a' if !is_a(*octet, b'a') => b'x',
        b'a' | b'd' | b's' => *octet,
        other => *other,
    })
}

fn is_a(octet: u8, kind: u8) -> bool {
    match kind {
        b'd' => octet.is_ascii_digit() || octet == b' ',
        b'a' => octet.is_ascii_alphabetic(),
        b's' => matches!(octet, b'+' | b'-'),
        _ => octet == kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_octet_of_a_from_line_may_be_wrong() {
        const LINE: &[u8] = b"From alice@example.com Sat Feb  1 12:34:56 2025 +0200\nSubject: x\n";
        let end = LINE.iter().position(|octet| *octet == b'\n').unwrap();
        for at in 0..=end {
            let mut damaged = LINE.to_vec();
            damaged[at] ^= 0x40;
            let mended = from_line(&damaged).unwrap_or_else(|| panic!("octet {at}"));
            assert_eq!(mended.len, end + 1, "octet {at}");
            assert!(FromLine::parse(mended.line.strip_suffix(b"\n").unwrap()).is_some());
        }
        let mended = from_line(&[b"?", LINE].concat()).unwrap();
        assert_eq!((mended.len, mended.line.as_slice()), (end + 2, &LINE[..=end]));
    }

    #[test]
    fn text_is_none() {
        for text in [
            &b"From here on, this line begins with From.\nSubject: x\n"[..],
            b"From alice@example.com Sat Feb  1 12:34:56 2025\nand no field\n",
            b"From: a\nTo: b\n",
            b"",
            b"From ",
        ] {
            assert_eq!(from_line(text), None, "{}", text.escape_ascii());
        }
    }
}
