//! Header blocks: their fields, and filters on them.

use std::{borrow::Cow, collections::HashSet};

/// One field of a header block, borrowed from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// The octets before the colon, without trailing blanks.
    pub name: &'a [u8],
    /// The octets after the colon and the blanks that follow it, still folded, without the line end.
    pub value: &'a [u8],
    /// Where `value` begins in the header block.
    pub value_at: usize,
    /// The whole field as it stands, with its line ends.
    pub raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// Returns whether this is the field `name`, which is told without regard to case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Returns the value on one line; see [`unfold`].
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        unfold(self.value)
    }
}

/// Returns the fields of a header block in their order, up to its empty line or its end.
///
/// Lines that are neither a field nor the continuation of one are passed over.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { header, at: 0, skipped: false }
}

/// The iterator of [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    header: &'a [u8],
    at: usize,
    skipped: bool,
}

impl Fields<'_> {
    /// Returns whether a line was passed over.
    pub(crate) fn skipped(&self) -> bool {
        self.skipped
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let rest = self.header.get(self.at..)?;
            if rest.is_empty() || is_empty_line(rest) {
                return None;
            }
            let raw = rest.get(..field_end(rest)).unwrap_or(rest);
            let start = self.at;
            self.at += raw.len();
            match field(raw) {
                Some(field) => return Some(Field { value_at: start + field.value_at, ..field }),
                None => self.skipped = true,
            }
        }
    }
}

/// Takes a field apart; `value_at` counts from its own start.
fn field(raw: &[u8]) -> Option<Field<'_>> {
    let colon = memchr::memchr(b':', raw)?;
    let (name, value) = raw.split_at(colon);
    // A name is on one line: a colon on a continuation makes no field.
    if memchr::memchr(b'\n', name).is_some() {
        return None;
    }
    let name_end = name.iter().rposition(|&octet| !is_blank(octet)).map_or(0, |last| last + 1);
    let value = without_line_end(value.get(1..).unwrap_or_default());
    let value_start = value.iter().position(|&octet| !is_blank(octet)).unwrap_or(value.len());
    Some(Field {
        name: name.get(..name_end).unwrap_or_default(),
        value: value.get(value_start..).unwrap_or_default(),
        value_at: colon + 1 + value_start,
        raw,
    })
}

/// Returns the value of the first field `name` of a header block, still folded.
pub fn first<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields(header).find(|field| field.is(name)).map(|field| field.value)
}

/// Returns a field's value on one line: line ends are dropped, tabs become blanks.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\t', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    let mut octets = value.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\n' => {}
            b'\r' if octets.peek() == Some(&b'\n') => {}
            b'\t' => line.push(b' '),
            _ => line.push(octet),
        }
    }
    Cow::Owned(line)
}

/// Whether a filter keeps the named fields or all others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// The named ones: `HEADER.FIELDS`.
    Named,
    /// All but the named ones: `HEADER.FIELDS.NOT`.
    Others,
}

/// So few names are looked through one by one.
const FEW: usize = 32;

/// Appends the fields of `header` that a filter keeps to `out`, as they stand, then its empty line if it has one.
///
/// Names are compared without regard to case. Lines that begin with white space where no field goes before are kept, lines
/// without a colon count as fields named by their first word. RFC 3501 §6.4.5.
pub fn filter<N: AsRef<[u8]>>(header: &[u8], names: &[N], keep: Keep, out: &mut Vec<u8>) {
    let many: Option<HashSet<_>> =
        (names.len() > FEW).then(|| names.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect());
    let mut rest = header;
    while !rest.is_empty() {
        let (raw, after) = rest.split_at(field_end(rest));
        rest = after;
        let name_end = raw.iter().position(|octet| matches!(octet, b':' | b' ' | b'\t' | b'\r' | b'\n'));
        let name = raw.get(..name_end.unwrap_or(raw.len())).unwrap_or_default();
        let named = match &many {
            Some(many) => many.contains(&name.to_ascii_lowercase()),
            None => names.iter().any(|wanted| wanted.as_ref().eq_ignore_ascii_case(name)),
        };
        if name.is_empty() || named == (keep == Keep::Named) {
            out.extend_from_slice(raw);
        }
    }
}

/// Returns the length of a header block at the start of `text`, its empty line included; all of it if there is none.
pub fn length(text: &[u8]) -> usize {
    find_end(text).unwrap_or(text.len())
}

/// Returns the length of a header block at the start of `text`, its empty line included, if that is in `text`.
pub fn find_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if is_empty_line(rest) {
            return Some(at + line_end(rest));
        }
        at += memchr::memchr(b'\n', rest)? + 1;
    }
}

/// Returns the length of the field at the start of `text`, continuations and line ends included.
fn field_end(text: &[u8]) -> usize {
    // The empty line is no field to continue.
    if is_empty_line(text) {
        return line_end(text);
    }
    let mut at = 0;
    loop {
        at += line_end(text.get(at..).unwrap_or_default());
        if !matches!(text.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
}

/// Returns the length of the line at the start of `text`, with its line end if it has one.
fn line_end(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

fn is_empty_line(text: &[u8]) -> bool {
    matches!(text, [b'\n', ..] | [b'\r', b'\n', ..])
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"From: Carol <c@d>\r\nSubject : Lunch\r\n\tplans\r\ngarbage\r\nTo: a@b\r\n\r\n";

    #[test]
    fn fields_are_found_and_unfolded() {
        let mut iter = fields(HEADER);
        let names: Vec<_> = iter.by_ref().map(|field| field.name).collect();
        assert_eq!(names, [&b"From"[..], b"Subject", b"To"]);
        assert!(iter.skipped());
        assert_eq!(first(HEADER, "subject"), Some(&b"Lunch\r\n\tplans"[..]));
        assert_eq!(unfold(b"Lunch\r\n\tplans"), Cow::Borrowed(b"Lunch plans"));
        assert_eq!(first(b"A:x\nB:\n", "b"), Some(&b""[..]));
        assert_eq!(first(b"A:x", "A"), Some(&b"x"[..]));
    }

    fn filtered(names: &[&str], keep: Keep) -> Vec<u8> {
        let mut out = Vec::new();
        filter(HEADER, names, keep, &mut out);
        out
    }

    #[test]
    fn filters_keep_folding_and_the_empty_line() {
        assert_eq!(filtered(&["SUBJECT", "x y"], Keep::Named), b"Subject : Lunch\r\n\tplans\r\n\r\n");
        assert_eq!(filtered(&["none"], Keep::Named), b"\r\n");
        let others = b"Subject : Lunch\r\n\tplans\r\ngarbage\r\n\r\n";
        assert_eq!(filtered(&["from", "TO"], Keep::Others), others);
        assert_eq!(filtered(&[], Keep::Others), HEADER);
    }

    #[test]
    fn many_names_over_many_fields_take_linear_time() {
        let mut names: Vec<_> = (0..10_000).map(|number| format!("x-{number}")).collect();
        names.push("SUBJECT".into());
        let (mut named, mut others) = (Vec::new(), Vec::new());
        filter(HEADER, &names, Keep::Named, &mut named);
        assert_eq!(named, filtered(&["subject"], Keep::Named));
        filter(HEADER, &names, Keep::Others, &mut others);
        assert_eq!(others, filtered(&["subject"], Keep::Others));
        let header = [&b"X-Y: z\r\n".repeat(100_000)[..], HEADER].concat();
        named.clear();
        let start = std::time::Instant::now();
        filter(&header, &names, Keep::Named, &mut named);
        assert_eq!(named, filtered(&["subject"], Keep::Named));
        assert!(start.elapsed().as_secs() < 5);
    }

    #[test]
    fn header_blocks_end_at_the_empty_line() {
        assert_eq!(length(b"A: b\r\n\r\nbody"), 8);
        assert_eq!(length(b"A: b\n\nbody"), 6);
        assert_eq!(length(b"\r\nbody"), 2);
        assert_eq!(length(b"A: b\r\nC: d"), 10);
        assert_eq!(length(b""), 0);
        assert_eq!(find_end(b"A: b\r\n\r"), None);
        assert_eq!(find_end(b"A: b\r\n\r\n"), Some(8));
    }
}
