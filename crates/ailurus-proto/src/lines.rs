//! Lines of a limited length, of protocols that have nothing else.

use memchr::memchr;

/// Cuts a client's octets into lines. It holds one line at a time and takes no octet behind its end, so that what follows a
/// command in the clear (STLS) is never in here.
#[derive(Debug)]
pub struct Lines {
    line: Vec<u8>,
    most: usize,
    state: State,
}

/// Divides a command line into its verb, in capital letters, and its argument: the rest of the line behind one separator, as it
/// was sent. Spaces before the verb are passed over; `None` if there is nothing else.
pub(crate) fn verb_and_argument(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    (!verb.is_empty()).then(|| (verb.to_ascii_uppercase(), rest.strip_prefix(b" ").unwrap_or(rest)))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Part,
    Whole,
    /// More came than is allowed; the rest is thrown away up to the end of the line.
    TooLong,
    WholeTooLong,
}

/// A buffer larger than this is given back after its line.
const KEPT_CAPACITY: usize = 1024;

impl Lines {
    /// Returns a splitter for lines of `most` octets at most, the line end included.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { line: Vec::new(), most, state: State::Part }
    }

    /// Changes how long a line may be, from the next one on.
    pub fn set_limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Takes octets up to the end of a line at most, and returns how many. Nothing as long as a line is ready.
    pub fn push(&mut self, octets: &[u8]) -> usize {
        if matches!(self.state, State::Whole | State::WholeTooLong) {
            return 0;
        }
        let (taken, ended) = match memchr(b'\n', octets) {
            Some(end) => (end + 1, true),
            None => (octets.len(), false),
        };
        if self.state == State::Part {
            if self.line.len() + taken > self.most {
                self.state = State::TooLong;
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(&octets[..taken]);
            }
        }
        self.state = match self.state {
            State::Part if ended => State::Whole,
            State::TooLong if ended => State::WholeTooLong,
            state => state,
        };
        taken
    }

    /// Takes the line that is ready, without its line end.
    pub fn take(&mut self) -> Option<Line> {
        match self.state {
            State::Part | State::TooLong => None,
            State::WholeTooLong => {
                self.state = State::Part;
                Some(Line::TooLong)
            }
            State::Whole => {
                self.state = State::Part;
                let mut line = std::mem::take(&mut self.line);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Some(Line::Whole(line))
            }
        }
    }

    /// Takes back the memory of a line that is done with.
    pub fn reuse(&mut self, mut line: Vec<u8>) {
        if self.line.is_empty() && line.capacity() <= KEPT_CAPACITY {
            line.clear();
            self.line = line;
        }
    }

    /// Tells whether a line has begun and not ended.
    #[must_use]
    pub fn is_within_line(&self) -> bool {
        self.state == State::TooLong || self.state == State::Part && !self.line.is_empty()
    }

    /// Throws away what there is of a line.
    pub fn discard(&mut self) {
        self.line = Vec::new();
        self.state = State::Part;
    }
}

/// What [`Lines::take`] returns.
#[derive(Debug, Eq, PartialEq)]
pub enum Line {
    /// A line, without CRLF or LF.
    Whole(Vec<u8>),
    /// A line beyond the limit was read to its end and thrown away.
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lines: &mut Lines, octets: &[u8], piece: usize) -> Vec<Line> {
        let mut found = Vec::new();
        for mut piece in octets.chunks(piece) {
            while !piece.is_empty() {
                piece = &piece[lines.push(piece)..];
                found.extend(lines.take());
            }
        }
        found
    }

    #[test]
    fn lines_end_with_lf_and_lose_one_cr() {
        for piece in [1, 2, 3, 100] {
            let mut lines = Lines::new(1023);
            let found = all(&mut lines, b"USER ada\r\nPASS x\n\r\r\n\n\nrest", piece);
            let text = |text: &str| Line::Whole(text.into());
            assert_eq!(found, [text("USER ada"), text("PASS x"), text("\r"), text(""), text("")]);
            assert!(lines.is_within_line());
            lines.discard();
            assert!(!lines.is_within_line());
        }
    }

    #[test]
    fn a_line_too_long_is_skipped_to_its_end() {
        for piece in [1, 7, 4096] {
            let mut lines = Lines::new(10);
            let found = all(&mut lines, b"12345678\r\n123456789\r\nDELE 1\r\n", piece);
            let text = |text: &str| Line::Whole(text.into());
            assert_eq!(found, [text("12345678"), Line::TooLong, text("DELE 1")]);
        }
    }

    proptest! {
        #[test]
        fn the_size_of_pieces_does_not_matter(octets: Vec<u8>, piece in 1_usize..20) {
            let whole = all(&mut Lines::new(12), &octets, usize::MAX);
            prop_assert_eq!(all(&mut Lines::new(12), &octets, piece), whole);
        }
    }
}
