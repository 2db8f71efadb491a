//! `.mixstatus`: what changes about a message.
//!
//! ```text
//! S67c2f6c8 CR LF
//! :00000001:00000001:0015:67c2f6c7: CR LF
//!  UID      keywords flags sequence of the last change
//! ```
//!
//! Flags: 1 \Seen, 2 \Deleted, 4 \Flagged, 8 \Answered, 10 a session has been told (not \Recent), 20 \Draft.
//!
//! A record as everybody writes it has 35 octets, and a flag is a bit of one digit. So flags are written over where they
//! are: whenever that is cut off, each flag is as before or as after.

use super::text::{Fields, Sequence, hex8, push_digits, push_hex};
use ailurus_types::{Flags, KeywordMask, SystemFlags};

/// Octets of a record as everybody writes it.
pub(super) const WIDTH: usize = 35;

const OLD: u32 = 0x10;
const SYSTEM: [(SystemFlags, u32); 5] = [
    (SystemFlags::SEEN, 0x1),
    (SystemFlags::DELETED, 0x2),
    (SystemFlags::FLAGGED, 0x4),
    (SystemFlags::ANSWERED, 0x8),
    (SystemFlags::DRAFT, 0x20),
];
const KNOWN: u32 = 0x3f;

/// One record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) uid: u32,
    pub(super) keys: u64,
    /// Flags that we do not know are kept.
    pub(super) bits: u32,
    pub(super) modseq: u64,
}

impl Record {
    /// Returns the record of a message that has none yet.
    pub(super) fn new(uid: u32, flags: Flags, old: bool, modseq: u64) -> Self {
        Self { uid, keys: 0, bits: 0, modseq }.with(flags, old)
    }

    /// Parses a record of the usual width.
    pub(super) fn parse_usual(line: &[u8; WIDTH]) -> Option<Self> {
        const COLONS: [usize; 5] = [0, 9, 18, 23, 32];
        if COLONS.iter().any(|at| line[*at] != b':') {
            return None;
        }
        let number = |at: usize| hex8(line[at..].first_chunk::<8>()?);
        let mut bits = *b"00000000";
        bits[4..].copy_from_slice(&line[19..23]);
        let uid = number(1).filter(|uid| *uid != 0)?;
        Some(Self { uid, keys: number(10)?.into(), bits: hex8(&bits)?, modseq: number(24)?.into() })
    }

    /// Parses a record without its line end; returns what follows it, too.
    pub(super) fn parse(line: &[u8]) -> Option<(Self, &[u8])> {
        let mut fields = Fields(line.strip_prefix(b":")?);
        let uid = fields.short().filter(|uid| *uid != 0)?;
        let (keys, bits, modseq) = (fields.number()?, fields.short()?, fields.number()?);
        Some((Self { uid, keys, bits, modseq }, fields.0))
    }

    pub(super) fn flags(&self) -> Flags {
        let set = |system, (flag, bit): &(SystemFlags, u32)| {
            if self.bits & bit != 0 { system | *flag } else { system }
        };
        Flags { system: SYSTEM.iter().fold(SystemFlags::NONE, set), keywords: KeywordMask(self.keys) }
    }

    pub(super) fn is_old(&self) -> bool {
        self.bits & OLD != 0
    }

    /// Returns the record with these flags.
    pub(super) fn with(self, flags: Flags, old: bool) -> Self {
        let set = SYSTEM.iter().filter(|(flag, _)| flags.system.contains(*flag));
        let bits = set.fold(self.bits & !KNOWN, |bits, (_, bit)| bits | bit);
        Self { keys: flags.keywords.0, bits: bits | if old { OLD } else { 0 }, ..self }
    }

    /// Appends the record with what follows it, and its line end.
    pub(super) fn write(&self, more: &[u8], out: &mut Vec<u8>) {
        out.push(b':');
        push_hex(self.uid.into(), out);
        out.push(b':');
        push_hex(self.keys, out);
        out.push(b':');
        push_digits(self.bits.into(), 4, out);
        out.push(b':');
        push_hex(self.modseq, out);
        out.push(b':');
        out.extend_from_slice(more);
        out.extend_from_slice(b"\r\n");
    }
}

/// What is known of a status file from reading it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) sequence: Sequence,
    /// The length of the file.
    pub(super) len: u64,
    /// The sequence of the index with which it was read.
    pub(super) index: u64,
    /// The sequence line and all records have the usual width, and record number n is that of message number n.
    pub(super) is_usual: bool,
    /// There are records of messages that are gone.
    pub(super) is_stale: bool,
    /// Something in it is no record, or there are no records in ascending order.
    pub(super) is_damaged: bool,
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

    const LINE: &[u8; WIDTH] = b":00000004:00000001:003e:67c2f6c6:\r\n";

    #[test]
    fn records_are_read_by_both_ways_and_written_as_they_were() {
        let record = Record::parse_usual(LINE).unwrap();
        assert_eq!(Record::parse(&LINE[..WIDTH - 2]), Some((record, &b""[..])));
        let flags = record.flags();
        let wanted = SystemFlags::ALL.without(SystemFlags::SEEN);
        assert_eq!((flags.system, flags.keywords.0, record.is_old()), (wanted, 1, true));
        let mut out = Vec::new();
        record.write(b"", &mut out);
        assert_eq!(out, LINE);
        out.clear();
        Record::new(4, flags, true, 0x67c2_f6c6).write(b"", &mut out);
        assert_eq!(out, LINE);
    }

    #[test]
    fn what_we_do_not_know_stays() {
        let (record, rest) = Record::parse(b":1:3:8001:100000000:later:").unwrap();
        let mut out = Vec::new();
        record.with(Flags::default(), true).write(rest, &mut out);
        assert_eq!(out, b":00000001:00000000:8010:100000000:later:\r\n");
    }

    #[test]
    fn what_is_not_quite_a_record_is_none() {
        for bad in ["", ":", ":zzz:0010:1:", ":0:0:0:1:", ":1:0:0:1", "1:0:0:1:", "Xfoo", ":1:0::1:"] {
            assert_eq!(Record::parse(bad.as_bytes()), None, "{bad}");
        }
        for at in [0, 9, 18, 23, 32, 5, 20] {
            let mut line = *LINE;
            line[at] = b'x';
            assert_eq!(Record::parse_usual(&line), None, "octet {at}");
        }
    }
}
