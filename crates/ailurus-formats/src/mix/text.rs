//! Numbers, fields and lines, as all files of the format have them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The longest line that is read as one; the reference takes no longer ones either.
pub(super) const MOST_LINE: usize = 64 * 1024;
const BLOCK: usize = 4 * MOST_LINE;

const fn nibbles() -> [u8; 256] {
    let mut table = [0xff; 256];
    let mut value = 0_u8;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// The value of each hexadecimal digit; 0xff for what is none.
static NIBBLES: [u8; 256] = nibbles();

fn nibble(octet: u8) -> u8 {
    NIBBLES[usize::from(octet)]
}

/// Returns the value of eight hexadecimal digits.
pub(super) fn hex8(digits: &[u8; 8]) -> Option<u32> {
    let (mut value, mut all) = (0, 0);
    for digit in digits {
        let nibble = nibble(*digit);
        all |= nibble;
        value = value << 4 | u32::from(nibble & 0xf);
    }
    (all <= 0xf).then_some(value)
}

/// Returns the value of hexadecimal digits, of which there must be at least one, and nothing else.
pub(super) fn hex(digits: &[u8]) -> Option<u64> {
    let significant = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let digits = if digits.is_empty() { return None } else { &digits[significant..] };
    let value =
        |value: u64, digit: &u8| Some(value << 4 | u64::from(Some(nibble(*digit)).filter(|n| *n < 16)?));
    if digits.len() > 16 { None } else { digits.iter().try_fold(0, value) }
}

/// Appends at least eight digits.
pub(super) fn push_hex(value: u64, out: &mut Vec<u8>) {
    push_digits(value, 8, out);
}

/// Appends at least `least` digits.
pub(super) fn push_digits(value: u64, least: usize, out: &mut Vec<u8>) {
    let needed = usize::try_from((u64::BITS - value.leading_zeros()).div_ceil(4)).unwrap_or(16);
    for position in (0..needed.max(least)).rev() {
        let digit = if position < 16 { value >> (4 * position) & 0xf } else { 0 };
        out.push(b"0123456789abcdef"[usize::try_from(digit).unwrap_or(0)]);
    }
}

/// Fields of hexadecimal digits, each with a `:` behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'t>(pub(super) &'t [u8]);

impl<'t> Fields<'t> {
    /// Takes the next field whatever it holds.
    pub(super) fn text(&mut self) -> Option<&'t [u8]> {
        let end = self.0.iter().position(|octet| *octet == b':')?;
        let (field, rest) = (&self.0[..end], &self.0[end + 1..]);
        self.0 = rest;
        Some(field)
    }

    /// Takes the next field if it is a number; else nothing is taken.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut ahead = *self;
        let value = hex(ahead.text()?)?;
        *self = ahead;
        Some(value)
    }

    /// Takes the next field if it is a number of 32 bits.
    pub(super) fn short(&mut self) -> Option<u32> {
        let mut ahead = *self;
        let value = u32::try_from(ahead.number()?).ok()?;
        *self = ahead;
        Some(value)
    }
}

/// The first line of an index or status file: `S` and the update sequence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sequence {
    pub(super) value: u64,
    /// How many digits it has; 0 in an empty file, whose sequence is 1.
    digits: u8,
    /// Octets of the line with its end.
    pub(super) len: u8,
}

impl Sequence {
    pub(super) const EMPTY: Self = Self { value: 1, digits: 0, len: 0 };

    /// Reads the sequence from the start of a file; `None` if it is none.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut start = [0; 32];
        let mut filled = 0;
        while filled < start.len() {
            match file.read_at(&mut start[filled..], filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::parse(&start[..filled]))
    }

    /// Parses the start of a file.
    pub(super) fn parse(start: &[u8]) -> Option<Self> {
        if start.is_empty() {
            return Some(Self::EMPTY);
        }
        let end = memchr::memchr(b'\n', start)?;
        let line = start[..end].strip_suffix(b"\r").unwrap_or(&start[..end]);
        let digits = line.strip_prefix(b"S")?;
        let value = hex(digits)?;
        Some(Self { value, digits: u8::try_from(digits.len()).ok()?, len: u8::try_from(end + 1).ok()? })
    }

    /// Returns the line as it is written.
    pub(super) fn line(value: u64) -> Vec<u8> {
        let mut line = vec![b'S'];
        push_hex(value, &mut line);
        line.extend_from_slice(b"\r\n");
        line
    }

    /// Returns the digits that are to be written at octet 1 of the file to change the sequence alone; `None` if the new
    /// one does not fit into its place.
    pub(super) fn digits_in_place(&self, value: u64) -> Option<Vec<u8>> {
        let mut digits = Vec::new();
        push_digits(value, self.digits.into(), &mut digits);
        (digits.len() == usize::from(self.digits)).then_some(digits)
    }

    /// Takes note that the sequence was changed in place.
    pub(super) fn changed(&self, value: u64) -> Self {
        Self { value, ..*self }
    }
}

/// How a line ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Crlf,
    Lf,
    /// The file ends, or the line goes on beyond [`MOST_LINE`].
    None,
}

/// One line of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'b> {
    /// Where it starts.
    pub(super) offset: u64,
    /// The line without its end.
    pub(super) text: &'b [u8],
    pub(super) end: End,
}

impl Line<'_> {
    /// Returns the octets of the file that the line takes, with its end.
    pub(super) fn range(&self) -> Range<u64> {
        let end = match self.end {
            End::Crlf => 2,
            End::Lf => 1,
            End::None => 0,
        };
        self.offset..self.offset + (self.text.len() + end) as u64
    }
}

/// Reads a file line by line, in blocks.
#[derive(Debug)]
pub(super) struct Lines<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Where in the file the buffer begins.
    start: u64,
    ended: bool,
}

impl<'f> Lines<'f> {
    /// Reads from this offset on.
    pub(super) fn new(file: &'f File, offset: u64) -> Self {
        Self { file, buffer: Vec::new(), at: 0, filled: 0, start: offset, ended: false }
    }

    /// Returns where the next line starts.
    pub(super) fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// Returns the next `WIDTH` octets if they end in CRLF, without going on: a record of the usual width is known by
    /// this alone, for none of its octets can be an LF.
    pub(super) fn usual<const WIDTH: usize>(&mut self) -> io::Result<Option<&[u8; WIDTH]>> {
        if self.filled - self.at < WIDTH {
            self.fill()?;
        }
        let octets = self.buffer[self.at..self.filled].first_chunk::<WIDTH>();
        Ok(octets.filter(|octets| octets.ends_with(b"\r\n")))
    }

    /// Goes on by so many octets, which were seen before.
    pub(super) fn skip(&mut self, octets: usize) {
        self.at = self.filled.min(self.at + octets);
    }

    /// Returns the next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut looked = 0;
        let found = loop {
            let octets = &self.buffer[self.at..self.filled];
            if let Some(found) = memchr::memchr(b'\n', &octets[looked..]) {
                break Some(looked + found);
            }
            looked = octets.len();
            if looked >= MOST_LINE || !self.fill()? {
                break None;
            }
        };
        let offset = self.offset();
        let octets = &self.buffer[self.at..self.filled];
        let (text, end) = match found {
            Some(end) => match octets[..end].strip_suffix(b"\r") {
                Some(text) => (text, End::Crlf),
                None => (&octets[..end], End::Lf),
            },
            None if octets.is_empty() => return Ok(None),
            None => (&octets[..octets.len().min(MOST_LINE)], End::None),
        };
        let line = Line { offset, text, end };
        self.at += usize::try_from(line.range().end - offset).unwrap_or(0);
        Ok(Some(line))
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.start += self.at as u64;
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.buffer.is_empty() {
            // No more than the file has, and one octet to see that it ends there.
            let left = self.file.metadata()?.len().saturating_sub(self.start);
            self.buffer.resize(usize::try_from(left + 1).unwrap_or(BLOCK).min(BLOCK), 0);
        } else if self.filled == self.buffer.len() {
            self.buffer.resize(BLOCK.max(2 * self.filled), 0);
        }
        while self.filled < self.buffer.len() {
            let from = self.start + self.filled as u64;
            match self.file.read_at(&mut self.buffer[self.filled..], from) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.filled > 0)
    }
}

/// Returns a line as notices show it.
pub(super) fn shown(text: &[u8], most: usize) -> String {
    // C strings end at a NUL, and this is what people know.
    let end = memchr::memchr(0, text).unwrap_or(text.len()).min(most);
    String::from_utf8_lossy(&text[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    #[test]
    fn numbers_have_eight_digits_or_as_many_as_they_need() {
        let shown = |value| {
            let mut out = Vec::new();
            push_hex(value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(0), "00000000");
        assert_eq!(shown(0x67c2_f6c0), "67c2f6c0");
        assert_eq!(shown(0x1_0000_0000), "100000000");
        assert_eq!(shown(u64::MAX), "ffffffffffffffff");
        assert_eq!(hex(b"FFFFFFFFFFFFFFFF"), Some(u64::MAX));
        assert_eq!(hex(b"0000000000000000000000001"), Some(1));
        for bad in [&b""[..], b"g", b"1 ", b"-1", b"0x1", b"11111111111111111"] {
            assert_eq!(hex(bad), None);
        }
        assert_eq!(hex8(b"67C2f6c0"), Some(0x67c2_f6c0));
        assert_eq!(hex8(b"67C2f6cg"), None);
    }

    #[test]
    fn a_sequence_is_one_line_and_nothing_else() {
        let parse = |text: &str| Sequence::parse(text.as_bytes()).map(|found| (found.value, found.len));
        assert_eq!(parse(""), Some((1, 0)));
        assert_eq!(parse("S60000001\r\n:0"), Some((0x6000_0001, 11)));
        assert_eq!(parse("S1\n"), Some((1, 3)));
        for bad in ["S\r\n", "S1", "S1 \r\n", "1\r\n", "\r\n", "Sx\r\n", "\0"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        let narrow = Sequence::parse(b"Sff\r\n").unwrap();
        assert_eq!(narrow.digits_in_place(0x100), None);
        assert_eq!(narrow.digits_in_place(0x1), Some(b"01".to_vec()));
        assert_eq!(Sequence::EMPTY.digits_in_place(2), None);
    }

    #[test]
    fn lines_come_as_they_are_in_the_file() {
        let long = "x".repeat(MOST_LINE - 1);
        let content = format!("a\r\n\n{long}\nb\r\r\n\0\0\nlast");
        let file = file(content.as_bytes());
        let (mut lines, mut again, mut ends) = (Lines::new(&file, 0), Vec::new(), Vec::new());
        while let Some(line) = lines.next().unwrap() {
            assert_eq!(line.offset, again.len() as u64);
            ends.push((line.text.len(), line.end));
            let [start, end] = [line.range().start, line.range().end].map(|at| usize::try_from(at).unwrap());
            again.extend_from_slice(&content.as_bytes()[start..end]);
        }
        assert_eq!(again, content.as_bytes());
        let wanted = [
            (1, End::Crlf),
            (0, End::Lf),
            (MOST_LINE - 1, End::Lf),
            (2, End::Crlf),
            (2, End::Lf),
            (4, End::None),
        ];
        assert_eq!(ends, wanted);
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let file = file(&vec![b'x'; 3 * MOST_LINE + 5]);
        let mut lines = Lines::new(&file, 0);
        let mut sizes = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            sizes.push(line.text.len());
        }
        assert_eq!(sizes, [MOST_LINE, MOST_LINE, MOST_LINE, 5]);
    }

    #[test]
    fn usual_records_are_seen_without_being_taken() {
        let file = file(b"12\r\n345\n");
        let mut lines = Lines::new(&file, 0);
        assert_eq!(lines.usual::<4>().unwrap(), Some(b"12\r\n"));
        assert_eq!(lines.usual::<4>().unwrap(), Some(b"12\r\n"));
        lines.skip(4);
        assert_eq!(lines.usual::<4>().unwrap(), None);
        assert_eq!(lines.next().unwrap().unwrap().text, b"345");
        assert!(lines.next().unwrap().is_none());
    }
}
