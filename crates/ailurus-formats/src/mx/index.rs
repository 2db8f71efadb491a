//! `.mxindex`.
//!
//! ```text
//! V67c2f6c0L00000002KWork<LF>K$Forwarded<LF>M00000001;00000001.0005M00000002;00000002.0000
//! UIDVALIDITY UIDLAST  keywords by slot      UID; keyword mask . system flags
//! ```
//!
//! Nothing separates the records but what they are, and they may come in any order. Where one is broken, the reference
//! drops all that follows; this goes on with the next message record that is whole.

use crate::flag_bits::{bits_of, flags_of};
use crate::journal::read_up_to;
use ailurus_types::{Flags, Keyword, KeywordMask, Keywords};
use std::fs::File;
use std::io;

/// The keyword slots of the format.
pub(super) const SLOTS: usize = 30;
const BLOCK: usize = 64 * 1024;
/// A record that is longer is none.
const MOST_RECORD: usize = 1024;
/// `M` with eight, eight and four digits, and what is between.
const MESSAGE: usize = 23;

/// What the index says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Index {
    /// The UID validity value; 0 where there is none.
    pub(super) validity: u32,
    /// The last UID that was given.
    pub(super) last: u32,
    pub(super) keywords: Keywords,
    /// Flags by UID, ascending.
    pub(super) messages: Vec<(u32, Flags)>,
    /// Where the index is broken first, and what is there.
    pub(super) error: Option<(u64, String)>,
}

impl Index {
    /// Reads an index in blocks.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut index = Self::default();
        let (mut buffer, mut start, mut at) = (Vec::new(), 0u64, 0usize);
        let mut block = Vec::new();
        let mut ends = false;
        loop {
            if !ends && buffer.len() - at < MOST_RECORD {
                buffer.drain(..at);
                start += at as u64;
                at = 0;
                read_up_to(file, start + buffer.len() as u64, BLOCK, &mut block)?;
                ends = block.len() < BLOCK;
                buffer.extend_from_slice(&block);
            }
            let rest = &buffer[at..];
            if rest.is_empty() {
                break;
            }
            at += match index.take(rest) {
                Some(taken) => taken,
                None => {
                    let shown = String::from_utf8_lossy(&rest[..rest.len().min(80)]).into_owned();
                    index.error.get_or_insert((start + at as u64, shown));
                    index.skip(rest)
                }
            };
        }
        if !index.messages.is_sorted_by_key(|(uid, _)| *uid) {
            // Stable: of two records of a message the later one counts, as with the reference.
            index.messages.sort_by_key(|(uid, _)| *uid);
        }
        index.messages.dedup_by(|later, former| {
            let same = later.0 == former.0;
            if same {
                *former = *later;
            }
            same
        });
        Ok(index)
    }

    /// Takes one record off the front; returns its length.
    fn take(&mut self, octets: &[u8]) -> Option<usize> {
        let (kind, rest) = octets.split_first()?;
        match kind {
            b'V' => number(rest).map(|(value, digits)| {
                self.validity = value;
                1 + digits
            }),
            b'L' => number(rest).map(|(value, digits)| {
                self.last = value;
                1 + digits
            }),
            b'K' => {
                let end = memchr::memchr(b'\n', &rest[..rest.len().min(MOST_RECORD - 2)])?;
                // One that is too long leaves its slot empty.
                self.keywords.push(Keyword::from_disk(&rest[..end]), SLOTS).ok();
                Some(end + 2)
            }
            b'M' => {
                let (uid, first) = number(rest)?;
                let rest = rest[first..].strip_prefix(b";")?;
                let (keywords, second) = number(rest)?;
                let rest = rest[second..].strip_prefix(b".")?;
                let (system, third) = number(rest)?;
                let keywords = KeywordMask(u64::from(keywords) & ((1 << SLOTS) - 1));
                let system = flags_of(u16::try_from(system & 0xffff).unwrap_or(0));
                if uid != 0 {
                    self.messages.push((uid, Flags { system, keywords }));
                }
                Some(1 + first + 1 + second + 1 + third)
            }
            _ => None,
        }
    }

    /// Returns how far it is to the next message record that is whole, or to the end.
    fn skip(&self, octets: &[u8]) -> usize {
        let starts = memchr::memchr_iter(b'M', &octets[1..]).map(|at| at + 1);
        let whole = starts.clone().find(|at| is_message(&octets[*at..]));
        // What may be the start of one is looked at again with what follows.
        let beyond = octets.len().saturating_sub(MESSAGE);
        let begun = || starts.clone().find(|at| *at > beyond && octets.len() >= MOST_RECORD);
        whole.or_else(begun).unwrap_or(octets.len())
    }

    /// Returns the flags of a message.
    pub(super) fn flags(&self, uid: u32) -> Option<Flags> {
        let found = self.messages.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        Some(self.messages[found].1)
    }

    /// Gives the index as it is to be in the file, without its messages.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = format!("V{:08x}L{:08x}", self.validity, self.last).into_bytes();
        for slot in 0..self.keywords.len() {
            out.push(b'K');
            // COMPAT(mx): an empty slot would end the list when the reference writes it.
            out.extend_from_slice(self.keywords.get(slot).map_or("", Keyword::as_str).as_bytes());
            out.push(b'\n');
        }
        out
    }
}

/// Appends the record of a message.
pub(super) fn push_message(uid: u32, flags: Flags, out: &mut Vec<u8>) {
    let keywords = flags.keywords.0 & ((1 << SLOTS) - 1);
    out.extend_from_slice(format!("M{uid:08x};{keywords:08x}.{:04x}", bits_of(flags.system)).as_bytes());
}

fn is_message(octets: &[u8]) -> bool {
    let digits = |from: usize, to: usize| octets[from..to].iter().all(u8::is_ascii_hexdigit);
    octets.len() >= MESSAGE
        && (octets[0], octets[9], octets[18]) == (b'M', b';', b'.')
        && digits(1, 9)
        && digits(10, 18)
        && digits(19, 23)
}

/// Takes a hexadecimal number off the front; returns it, cut to 32 bits, and how many digits it has.
fn number(octets: &[u8]) -> Option<(u32, usize)> {
    let digits = octets.iter().take(16).take_while(|octet| octet.is_ascii_hexdigit()).count();
    let text = std::str::from_utf8(&octets[..digits]).ok().filter(|text| !text.is_empty())?;
    let value = u64::from_str_radix(text, 16).ok()?;
    Some((u32::try_from(value & 0xffff_ffff).unwrap_or(0), digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ailurus_types::SystemFlags;
    use std::io::Write;

    fn read(text: &[u8]) -> Index {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        Index::read(&file).unwrap()
    }

    fn encode(index: &Index) -> Vec<u8> {
        let mut out = index.head();
        index.messages.iter().for_each(|(uid, flags)| push_message(*uid, *flags, &mut out));
        out
    }

    #[test]
    fn printing_and_parsing_agree() {
        let text = b"V67c2f6c0L00000004KWork\nK$Forwarded\nM00000001;00000001.0005M00000004;00000003.002e";
        let index = read(text);
        assert_eq!((index.validity, index.last, index.keywords.len()), (0x67c2_f6c0, 4, 2));
        let flags = Flags { system: SystemFlags::SEEN | SystemFlags::FLAGGED, keywords: KeywordMask(1) };
        assert_eq!(index.flags(1), Some(flags));
        assert_eq!(index.flags(2), None);
        assert_eq!(index.error, None);
        assert_eq!(encode(&index), text);
    }

    #[test]
    fn records_may_come_in_any_order_and_the_last_one_counts() {
        let index =
            read(b"M00000002;00000000.0001M00000001;00000000.0002Ka\nL2VfM00000002;00000000.0004Kb\n");
        assert_eq!((index.validity, index.last, index.keywords.len()), (15, 2, 2));
        let flags: Vec<_> = index.messages.iter().map(|(uid, flags)| (*uid, flags.system)).collect();
        assert_eq!(flags, [(1, SystemFlags::DELETED), (2, SystemFlags::FLAGGED)]);
    }

    #[test]
    fn what_is_broken_is_passed_over() {
        for (text, at) in [
            (&b"V1L2??M00000001;00000000.0001M00000002;00000000.0001"[..], 4),
            (b"V1L2M00000001;x M00000001;00000000.0001M00000002;00000000.0001", 4),
            (b"V1L2M00000001;00000000.0001M00000002;00000000.0001Kno end", 50),
            (b"V1L2\x00\xffM00000001;00000000.0001M00000002;00000000.0001M0", 4),
        ] {
            let index = read(text);
            assert_eq!(index.error.as_ref().map(|(at, _)| *at), Some(at), "{}", text.escape_ascii());
            assert_eq!(index.messages.len(), 2, "{}", text.escape_ascii());
        }
        assert_eq!(read(b""), Index::default());
    }

    #[test]
    fn blocks_do_not_matter() {
        let mut index = Index { validity: 9, last: 100_000, ..Index::default() };
        index.messages = (1..=20_000).map(|uid| (uid, Flags::default())).collect();
        let text = encode(&index);
        assert_eq!(read(&text), index);
        // Garbage over several blocks, then the rest.
        let mut broken = b"V00000009L000186a0".to_vec();
        broken.extend(std::iter::repeat_n(b'M', 200_000));
        broken.extend_from_slice(&text[18..]);
        let found = read(&broken);
        assert_eq!(found.messages.len(), 20_000);
        assert!(found.error.is_some());
    }

    #[test]
    fn no_octets_make_it_fail() {
        let text = b"V67c2f6c0L00000004KWork\nK$Forwarded\nM00000001;00000001.0005M00000004;00000003.002e";
        for at in 0..text.len() {
            drop(read(&text[..at]));
            for bit in 0..8 {
                let mut flipped = text.to_vec();
                flipped[at] ^= 1 << bit;
                drop(read(&flipped));
            }
        }
    }
}
