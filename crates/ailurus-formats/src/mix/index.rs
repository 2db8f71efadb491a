//! `.mixindex`: what never changes about a message, and where it is.
//!
//! ```text
//! S67c2f6c5 CR LF
//! :00000001:20250201123456+0200:000000f2:67c2f6c0:00000000:0000002d:0000009a: CR LF
//!  UID      internal date       size     file     position record   header
//!                                                          octets   octets
//! ```
//!
//! A record as everybody writes it has 77 octets. Numbers may have more digits, and what follows the last `:` belongs
//! to a future that has not come: such records are taken, and kept as they are where they have not changed.

use super::text::{Fields, Sequence, hex8, push_hex};
use ailurus_types::{InternalDate, Uid};
use std::ops::Range;

/// Octets of a record as everybody writes it.
pub(super) const WIDTH: usize = 77;

/// Where a message is, and what its status says beside flags; with [`ailurus_store::MessageInfo`] 64 octets of memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Spot {
    /// Where its record begins in the data file.
    pub(super) pos: u64,
    /// Octets of the message.
    pub(super) size: u64,
    /// Octets of its header, at most `size`.
    pub(super) header: u32,
    /// The number of the data file.
    pub(super) file: u32,
    /// The low bits of the sequence of the last change of its flags.
    pub(super) modseq: u32,
    /// Octets of the record.
    pub(super) record: u16,
    pub(super) told: Told,
}

/// What the status file says of a message's being new.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Told {
    /// It has no record.
    #[default]
    NoRecord,
    /// Nobody has been told of it.
    Nobody,
    /// Nobody had; this session takes it.
    Claimed,
    /// Some session has been told.
    Old,
}

impl Spot {
    /// Returns where the message ends in its data file.
    pub(super) fn end(&self) -> u64 {
        self.text() + self.size
    }

    /// Returns where its octets start.
    pub(super) fn text(&self) -> u64 {
        self.pos + u64::from(self.record)
    }

    /// Tells whether both are the same place.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        (self.file, self.pos, self.record) == (other.file, other.pos, other.record)
    }
}

/// One record of the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) uid: Uid,
    pub(super) date: InternalDate,
    pub(super) spot: Spot,
}

/// What is wrong with a record, in the reference's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fault(pub(super) &'static str);

impl Entry {
    /// Parses a record of the usual width.
    pub(super) fn parse_usual(line: &[u8; WIDTH]) -> Option<Self> {
        const COLONS: [usize; 8] = [0, 9, 29, 38, 47, 56, 65, 74];
        if COLONS.iter().any(|at| line[*at] != b':') {
            return None;
        }
        let number = |at: usize| hex8(line[at..].first_chunk::<8>()?);
        let date = InternalDate::parse_compact(&line[10..29])?;
        let fields = [number(30)?, number(39)?, number(48)?, number(57)?, number(66)?];
        Self::new(number(1)?, date, fields.map(u64::from)).ok()
    }

    /// Parses a record without its line end; returns what follows it, too.
    pub(super) fn parse(line: &[u8]) -> Result<(Self, &[u8]), Fault> {
        let mut fields = Fields(line.strip_prefix(b":").unwrap_or(line));
        let uid = fields.short().ok_or(Fault("UID"))?;
        let date = fields.text().filter(|text| is_date(text)).ok_or(Fault("internaldate"))?;
        // A day that no calendar has is no reason to refuse the mailbox.
        let date = InternalDate::parse_compact(date).unwrap_or_default();
        let mut numbers = [0; 5];
        for (place, what) in numbers.iter_mut().zip(NUMBERS) {
            *place = fields.number().ok_or(Fault(what))?;
        }
        Ok((Self::new(uid, date, numbers)?, fields.0))
    }

    /// Tells whether what follows a record on its line holds another one: the line lost its end. Nothing else has a date.
    pub(super) fn is_in(rest: &[u8]) -> bool {
        rest.split(|octet| *octet == b':').any(is_date)
    }

    fn new(uid: u32, date: InternalDate, numbers: [u64; 5]) -> Result<Self, Fault> {
        let [size, file, pos, record, header] = numbers;
        let uid = Uid::new(uid).ok_or(Fault("UID"))?;
        let file = u32::try_from(file).map_err(|_| Fault(NUMBERS[1]))?;
        let record = u16::try_from(record).map_err(|_| Fault(NUMBERS[3]))?;
        let end = pos.checked_add(u64::from(record)).and_then(|text| text.checked_add(size));
        if end.is_none_or(|end| end > i64::MAX.unsigned_abs()) {
            return Err(Fault(NUMBERS[2]));
        }
        let header = u32::try_from(header.min(size)).unwrap_or(u32::MAX);
        let spot = Spot { pos, size, header, file, record, ..Spot::default() };
        Ok(Self { uid, date, spot })
    }

    /// Appends the record as it is written.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { uid, date, spot } = self;
        out.push(b':');
        push_hex(uid.get().into(), out);
        out.push(b':');
        date.append_compact_to(out);
        let header = u64::from(spot.header);
        for number in [spot.size, spot.file.into(), spot.pos, spot.record.into(), header] {
            out.push(b':');
            push_hex(number, out);
        }
        out.extend_from_slice(b":\r\n");
    }
}

const NUMBERS: [&str; 5] = ["size", "file#", "message position", "header position", "header size"];

/// Tells whether the text has the shape of a date, whatever the calendar says of it.
fn is_date(text: &[u8]) -> bool {
    let digits = |range: Range<usize>| text[range].iter().all(u8::is_ascii_digit);
    text.len() == 19 && matches!(text[14], b'+' | b'-') && digits(0..14) && digits(15..19)
}

/// The fields of a record of the usual width that can be written over in place.
pub(super) mod place {
    use std::ops::Range;

    /// The UID, with both its `:`.
    pub(crate) const UID: Range<usize> = 0..10;
    /// File and position.
    pub(crate) const WHERE: Range<usize> = 39..56;
    /// From size to header size.
    pub(crate) const SIZES: Range<usize> = 30..74;
}

/// What is known of an index file from reading it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) sequence: Sequence,
    /// The length of the file.
    pub(super) len: u64,
    /// Where the last record begins and where records end.
    pub(super) last: u64,
    pub(super) end: u64,
    /// The sequence line and all records have the usual width, and there is nothing else: the record of message number
    /// n is where it should be.
    pub(super) is_usual: bool,
}

impl Shape {
    /// Returns where the record of a message is, by its index.
    pub(super) fn offset(&self, index: usize) -> Option<u64> {
        let before = u64::try_from(index).ok()?.checked_mul(WIDTH as u64)?;
        self.is_usual.then_some(u64::from(self.sequence.len) + before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8; WIDTH] =
        b":00000001:20250201123456+0200:000000f2:67c2f6c0:00000010:0000002d:0000009a:\r\n";

    #[test]
    fn a_place_takes_32_octets() {
        assert_eq!(size_of::<Spot>(), 32);
    }

    #[test]
    fn records_are_read_by_both_ways_and_written_as_they_were() {
        let entry = Entry::parse_usual(LINE).unwrap();
        let (again, rest) = Entry::parse(&LINE[..WIDTH - 2]).unwrap();
        assert_eq!((entry, rest), (again, &b""[..]));
        let spot = entry.spot;
        assert_eq!((spot.size, spot.file, spot.pos), (0xf2, 0x67c2_f6c0, 0x10));
        assert_eq!((spot.record, spot.header, spot.end()), (0x2d, 0x9a, 0x10 + 0x2d + 0xf2));
        let mut out = Vec::new();
        entry.write(&mut out);
        assert_eq!(out, LINE);
        assert_eq!(&LINE[place::WHERE], b"67c2f6c0:00000010");
        assert_eq!(&LINE[place::SIZES], b"000000f2:67c2f6c0:00000010:0000002d:0000009a");
        assert_eq!(&LINE[place::UID], b":00000001:");
    }

    #[test]
    fn numbers_may_be_of_any_width_and_more_may_follow() {
        let (entry, rest) =
            Entry::parse(b":1:20250201123456+0200:0000000f2:67c2f6c0:0:2d:9a:later:").unwrap();
        assert_eq!((entry.uid.get(), entry.spot.size, rest), (1, 0xf2, &b"later:"[..]));
        assert!(!Entry::is_in(rest));
        assert!(Entry::is_in(b"xx:2:20250201123456+0200:f2:67c2f6c0:0:2d:9a:"));
    }

    #[test]
    fn faults_are_named_as_the_reference_does() {
        for (line, what) in [
            (":0:20250201123456+0200:1:1:0:2d:1:", "UID"),
            (":x:20250201123456+0200:1:1:0:2d:1:", "UID"),
            (":1:20250201123456 0200:1:1:0:2d:1:", "internaldate"),
            (":1:20250201123456+0200::1:0:2d:1:", "size"),
            (":1:20250201123456+0200:1:100000000:0:2d:1:", "file#"),
            (":1:20250201123456+0200:1:1:ffffffffffffffff:2d:1:", "message position"),
            (":1:20250201123456+0200:1:1:0:10000:1:", "header position"),
            (":1:20250201123456+0200:1:1:0:2d:1", "header size"),
        ] {
            assert_eq!(Entry::parse(line.as_bytes()).unwrap_err(), Fault(what), "{line}");
        }
        let odd = Entry::parse(b":1:20259901123456+0200:1:1:0:2d:1:").unwrap().0;
        assert_eq!(odd.date, InternalDate::default());
    }

    #[test]
    fn a_header_is_not_larger_than_its_message() {
        let (entry, _) = Entry::parse(b":1:20250201123456+0200:5:1:0:2d:ff:").unwrap();
        assert_eq!(entry.spot.header, 5);
    }

    #[test]
    fn every_flipped_bit_gives_another_record_or_none() {
        let entry = Entry::parse_usual(LINE).unwrap();
        for at in 0..WIDTH - 2 {
            for bit in 0..8 {
                let mut line = *LINE;
                line[at] ^= 1 << bit;
                let same_letter = line[at].eq_ignore_ascii_case(&LINE[at]);
                assert!(same_letter || Entry::parse_usual(&line) != Some(entry), "octet {at}, bit {bit}");
            }
        }
    }
}
