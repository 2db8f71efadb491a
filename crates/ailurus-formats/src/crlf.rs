//! Line ends, and the header fields that mailboxes of unix format keep for themselves.

use memchr::{memchr, memchr2};

/// Appends text in CRLF form: every CR is dropped, every LF becomes CRLF.
pub(crate) fn append_crlf(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr2(b'\r', b'\n', text) {
        out.extend_from_slice(&text[..at]);
        if text[at] == b'\n' {
            out.extend_from_slice(b"\r\n");
        }
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

/// Takes text in pieces of any size, and gives it with LF for CR LF.
///
/// Readers drop every CR, but lines keep those that are not the one before their LF: without them a line could become
/// a From_ line, an internal field or an empty line. Octets in `stays_after` keep it too, likewise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrFilter {
    stays_after: Option<u8>,
    last: u8,
    // A CR ended the last piece.
    held: bool,
}

impl CrFilter {
    pub(crate) fn new(stays_after: Option<u8>) -> Self {
        Self { stays_after, last: b'\n', held: false }
    }

    /// Tells whether a line in which this are the last octets loses its CR.
    pub(crate) fn shortens(self, line: &[u8]) -> bool {
        let Some(before) = line.strip_suffix(b"\r\n") else { return false };
        before.last().is_none_or(|octet| !self.stays(*octet))
    }

    fn stays(self, after: u8) -> bool {
        after == b'\r' || self.stays_after == Some(after)
    }

    /// Takes the next octets.
    pub(crate) fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        if !text.is_empty() && std::mem::take(&mut self.held) && text[0] != b'\n' {
            self.keep(out);
        }
        while let Some(at) = memchr(b'\r', text) {
            let (before, rest) = (&text[..at], &text[at + 1..]);
            self.give(before, out);
            match rest.first() {
                _ if self.stays(self.last) => self.keep(out),
                None => self.held = true,
                Some(b'\n') => {}
                Some(_) => self.keep(out),
            }
            text = rest;
        }
        self.give(text, out);
    }

    /// Gives what was held back at the end.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            self.keep(out);
        }
    }

    fn give(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        self.last = text.last().copied().unwrap_or(self.last);
    }

    fn keep(&mut self, out: &mut Vec<u8>) {
        out.push(b'\r');
        self.last = b'\r';
    }
}

/// A header field that is the mailbox's, not the message's (spec/formats-unix.md §3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Internal {
    Status,
    XStatus,
    XKeywords,
    XUid,
    XImap,
    XImapBase,
    // One of these names, written so that it is not believed.
    Bogus,
}

/// How many octets at the start of a line tell what it is.
pub(crate) const DECIDING: usize = 64;

const NAMES: [(&[u8], Internal); 6] = [
    (b"Status", Internal::Status),
    (b"X-Status", Internal::XStatus),
    (b"X-Keywords", Internal::XKeywords),
    (b"X-UID", Internal::XUid),
    (b"X-IMAP", Internal::XImap),
    (b"X-IMAPbase", Internal::XImapBase),
];

impl Internal {
    /// Tells whether a header line is such a field, by its first [`DECIDING`] octets.
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        if !matches!(line.first(), Some(b'S' | b's' | b'X' | b'x')) {
            return None;
        }
        let line = &line[..line.len().min(DECIDING)];
        let end = line.iter().position(|octet| *octet <= b' ' || *octet == b':')?;
        let (name, rest) = line.split_at(end);
        let (exact, field) = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        if rest.first() == Some(&b':') {
            return Some(if name == *exact { *field } else { Self::Bogus });
        }
        let blanks = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
        (rest.get(blanks) == Some(&b':')).then_some(Self::Bogus)
    }
}

/// Takes a header in pieces of any size, and gives it without internal fields and their continuations.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderFilter {
    // The start of a line that is not decided yet.
    line: Vec<u8>,
    inside: Inside,
    // Whether the last field was dropped: its continuations are too.
    dropped: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Inside {
    #[default]
    Start,
    Kept,
    Dropped,
}

impl HeaderFilter {
    /// Takes the next octets.
    pub(crate) fn push(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while !octets.is_empty() {
            let end = memchr(b'\n', octets).map(|at| at + 1);
            let (piece, rest) = octets.split_at(end.unwrap_or(octets.len()));
            octets = rest;
            self.piece(piece, end.is_some(), out);
        }
    }

    /// Gives what was held back at the end of the header.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.inside == Inside::Start && !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.decide(&line, out);
        }
        *self = Self::default();
    }

    fn piece(&mut self, piece: &[u8], ends: bool, out: &mut Vec<u8>) {
        match self.inside {
            Inside::Kept => out.extend_from_slice(piece),
            Inside::Dropped => {}
            Inside::Start if self.line.is_empty() && (ends || piece.len() >= DECIDING) => {
                self.decide(piece, out);
            }
            Inside::Start => {
                self.line.extend_from_slice(piece);
                if ends || self.line.len() >= DECIDING {
                    let line = std::mem::take(&mut self.line);
                    self.decide(&line, out);
                }
            }
        }
        if ends {
            self.inside = Inside::Start;
        }
    }

    fn decide(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        self.dropped = if continues { self.dropped } else { Internal::of(line).is_some() };
        if self.dropped {
            self.inside = Inside::Dropped;
        } else {
            self.inside = Inside::Kept;
            out.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_fields_are_known_by_name_and_bogus_ones_by_spelling() {
        for (line, expected) in [
            (&b"Status: RO"[..], Some(Internal::Status)),
            (b"X-UID:1", Some(Internal::XUid)),
            (b"X-IMAP: 1 2", Some(Internal::XImap)),
            (b"X-IMAPbase: 1 2", Some(Internal::XImapBase)),
            (b"status: RO", Some(Internal::Bogus)),
            (b"X-Uid : 1", Some(Internal::Bogus)),
            (b"Statuses: x", None),
            (b"X-UIDL: x", None),
            (b"Subject: Status: x", None),
            (b"Status", None),
            (b"X-UID 1", None),
        ] {
            assert_eq!(Internal::of(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn the_filter_gives_the_same_for_pieces_of_any_size() {
        let header = b"Subject: a\r\n b\nStatus: RO\n folded\nX-Foo: bar\n\tc\nX-UID: 3\n\n";
        for size in 1..header.len() {
            let (mut filter, mut out) = (HeaderFilter::default(), Vec::new());
            for piece in header.chunks(size) {
                filter.push(piece, &mut out);
            }
            filter.finish(&mut out);
            assert_eq!(out, b"Subject: a\r\n b\nX-Foo: bar\n\tc\n\n", "pieces of {size}");
        }
    }

    #[test]
    fn only_the_cr_before_lf_goes() {
        let text = b"\r\na\r\nb\r\r\n\r\r\nc\rd\n\re\x01\r\nf\r";
        let without = b"\na\nb\r\r\n\r\r\nc\rd\n\re\x01\nf\r";
        let and_after_1 = b"\na\nb\r\r\n\r\r\nc\rd\n\re\x01\r\nf\r";
        for (stays_after, expected) in [(None, &without[..]), (Some(1), and_after_1)] {
            for size in 1..text.len() {
                let (mut filter, mut out) = (CrFilter::new(stays_after), Vec::new());
                text.chunks(size).for_each(|piece| filter.push(piece, &mut out));
                filter.finish(&mut out);
                assert_eq!(out, expected, "pieces of {size}");
            }
            let filter = CrFilter::new(stays_after);
            let lines = text.split_inclusive(|octet| *octet == b'\n');
            let lost = lines.filter(|line| filter.shortens(line)).count();
            assert_eq!(lost, text.len() - expected.len());
        }
    }

    #[test]
    fn crlf_form_has_no_bare_line_ends() {
        let mut out = Vec::new();
        append_crlf(b"a\nb\r\nc\rd\n", &mut out);
        assert_eq!(out, b"a\r\nb\r\ncd\r\n");
    }
}
