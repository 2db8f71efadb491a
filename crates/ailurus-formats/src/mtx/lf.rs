//! Text whose lines end in LF, shown with CRLF.
//!
//! As in the reference, an LF with a CR before it is a line end already, and a CR anywhere else stands for itself. This
//! program and the reference write neither.

use memchr::{memchr, memchr_iter};

/// Counts the octets that text has in CRLF form, whatever pieces it comes in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measure {
    octets: u64,
    after_cr: bool,
}

impl Measure {
    pub(super) fn add(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        let mut whole = u64::from(self.after_cr && piece[0] == b'\n');
        if memchr(b'\r', piece).is_some() {
            let ends = memchr_iter(b'\r', piece).filter(|at| piece.get(at + 1) == Some(&b'\n'));
            whole += ends.count() as u64;
        }
        self.octets += (piece.len() + memchr_iter(b'\n', piece).count()) as u64 - whole;
        self.after_cr = *last == b'\r';
    }

    pub(super) fn octets(self) -> u64 {
        self.octets
    }
}

/// A place in text that is being read in CRLF form.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Cursor {
    /// Octets of the text as it is in the file that are read entirely.
    pub(super) input: u64,
    /// Octets of the CRLF form that come from them, and one more if `halfway`.
    pub(super) output: u64,
    after_cr: bool,
    /// The next octet is an LF whose CR was given already.
    halfway: bool,
}

impl Cursor {
    /// Goes on through `piece`, the text from `input` on, until `output` is `to`; what lies between is appended to `out`
    /// if there is one. Returns whether it got there.
    pub(super) fn advance(&mut self, piece: &[u8], to: u64, mut out: Option<&mut Vec<u8>>) -> bool {
        let mut rest = piece;
        let mut give = |octets: &[u8]| {
            if let Some(out) = &mut out {
                out.extend_from_slice(octets);
            }
        };
        while self.output < to {
            let Some(first) = rest.first() else { return false };
            let room = usize::try_from(to - self.output).unwrap_or(usize::MAX);
            if *first == b'\n' {
                if !self.halfway && !self.after_cr {
                    give(b"\r");
                    self.output += 1;
                    self.halfway = true;
                    continue;
                }
                give(b"\n");
                self.output += 1;
                (self.halfway, self.after_cr) = (false, false);
                self.input += 1;
                rest = &rest[1..];
                continue;
            }
            let line = memchr(b'\n', rest).unwrap_or(rest.len()).min(room);
            let (octets, after) = rest.split_at(line);
            give(octets);
            self.input += line as u64;
            self.output += line as u64;
            self.after_cr = octets.last() == Some(&b'\r');
            rest = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\na\nbc\r\nd\r\re\n\n\r\n\rlast\r";
    const SHOWN: &[u8] = b"\r\na\r\nbc\r\nd\r\re\r\n\r\n\r\n\rlast\r";

    #[test]
    fn the_measure_does_not_depend_on_the_pieces() {
        for size in 1..=TEXT.len() {
            let mut measure = Measure::default();
            TEXT.chunks(size).for_each(|piece| measure.add(piece));
            assert_eq!(measure.octets(), SHOWN.len() as u64, "{size}");
        }
    }

    #[test]
    fn every_part_is_read_from_everywhere_in_pieces_of_any_size() {
        for size in 1..=TEXT.len() {
            for from in 0..=SHOWN.len() {
                for to in from..=SHOWN.len() {
                    let (mut cursor, mut out) = (Cursor::default(), Vec::new());
                    let mut go = |to: usize, mut out: Option<&mut Vec<u8>>| {
                        loop {
                            let start = usize::try_from(cursor.input).unwrap();
                            let piece = &TEXT[start..(start + size).min(TEXT.len())];
                            if cursor.advance(piece, to as u64, out.as_deref_mut()) || piece.is_empty() {
                                break;
                            }
                        }
                    };
                    go(from, None);
                    go(to, Some(&mut out));
                    assert_eq!(out, &SHOWN[from..to], "{size} {from} {to}");
                }
            }
        }
    }
}
