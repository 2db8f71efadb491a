//! How an index is written: a head of one page, then 64 octets for each message; numbers are little-endian.

use super::Head;
use super::stamp::Stamp;
use ailurus_store::MessageInfo;
use ailurus_types::{Flags, InternalDate, Keyword, KeywordMask, Keywords, SystemFlags, Uid};
use std::ops::Range;

pub(super) const HEAD: usize = 4096;
pub(super) const RECORD: usize = 64;
/// To be changed with whatever changes what is in an index, or how a format is parsed into it.
const MAGIC: &[u8; 16] = b"ailurus index 2\n";

/// Where a message is: what a format knows of it beside its [`MessageInfo`].
pub(crate) trait Place: Sized {
    fn encode(&self) -> [u8; 32];

    /// Returns the place of which [`Place::encode`] made this; `None` if it is of none.
    fn decode(octets: &[u8; 32]) -> Option<Self>;

    /// Returns which octets of the file it takes.
    fn range(&self) -> Range<u64>;
}

/// What the records add up to, whatever order they come in; each knows its number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) fn add(&mut self, number: u64, record: &[u8; RECORD]) {
        self.0 = self.0.wrapping_add(hash(number, record));
    }
}

/// Returns a number that tells damaged octets from what was written; it does not withstand an attacker. Damage within one
/// word is seen for sure.
pub(super) fn hash(start: u64, octets: &[u8]) -> u64 {
    let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let (words, rest) = octets.as_chunks::<8>();
    let mut state = mix(octets.len() as u64, start);
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    for octet in rest {
        state = mix(state, u64::from(*octet));
    }
    let state = (state ^ state >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    state ^ state >> 32
}

pub(super) fn encode<P: Place>(message: &MessageInfo, place: &P) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let flags = message.flags();
    record[..4].copy_from_slice(&message.uid().get().to_le_bytes());
    record[4..8].copy_from_slice(&message.rfc822_size().to_le_bytes());
    record[8..16].copy_from_slice(&flags.keywords.0.to_le_bytes());
    record[16..24].copy_from_slice(&message.internal_date().to_bits().to_le_bytes());
    record[24] = flags.system.to_bits();
    record[25] = u8::from(message.is_recent());
    record[32..].copy_from_slice(&place.encode());
    record
}

pub(super) fn decode<P: Place>(record: &[u8; RECORD]) -> Option<(MessageInfo, P)> {
    let octets = Octets(record);
    let uid = Uid::new(octets.u32(0)?)?;
    let flags = Flags { system: SystemFlags::from_bits(record[24])?, keywords: KeywordMask(octets.u64(8)?) };
    let date = InternalDate::from_bits(octets.u64(16)?)?;
    let mut message = MessageInfo::new(uid, flags, date, octets.u32(4)?.into());
    message.set_recent(record[25] != 0);
    Some((message, P::decode(record[32..].as_array()?)?))
}

impl Head {
    /// Returns the page; `None` if something has no room in it, or would not come back as it is.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let Stamp { device, inode, size, modified, changed } = self.stamp;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.format);
        for number in [device, inode, size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [modified.0, modified.1, changed.0, changed.1] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.local_offset.to_le_bytes());
        for number in [self.uid_validity, self.uid_last, self.messages, self.recent, self.unseen] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in self.own.into_iter().chain([self.tail, self.sum.0, self.lineage]) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::try_from(self.keywords.len()).ok()?);
        for slot in 0..self.keywords.len() {
            let name = self.keywords.get(slot)?.as_str().as_bytes();
            Keyword::from_disk(name)?;
            out.push(u8::try_from(name.len()).ok()?);
            out.extend_from_slice(name);
        }
        if out.len() > HEAD - 8 {
            return None;
        }
        out.resize(HEAD - 8, 0);
        out.extend_from_slice(&hash(0, &out).to_le_bytes());
        Some(out)
    }

    /// Returns the head of which [`Head::encode`] made this page.
    pub(super) fn decode(page: &[u8; HEAD]) -> Option<Self> {
        let (body, sum) = page.split_at(HEAD - 8);
        if Octets(sum).u64(0)? != hash(0, body) || !body.starts_with(MAGIC) {
            return None;
        }
        let octets = Octets(body);
        let signed = |at: usize| Some(octets.u64(at)?.cast_signed());
        let stamp = Stamp {
            device: octets.u64(24)?,
            inode: octets.u64(32)?,
            size: octets.u64(40)?,
            modified: (signed(48)?, signed(56)?),
            changed: (signed(64)?, signed(72)?),
        };
        let mut own = [0; OWN];
        for (index, own) in own.iter_mut().enumerate() {
            *own = octets.u64(102 + index * 8)?;
        }
        const AFTER: usize = 102 + OWN * 8;
        let mut keywords = Keywords::default();
        let mut rest = &body[AFTER + 25..];
        for _ in 0..body[AFTER + 24] {
            let (length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            keywords.push(Some(Keyword::from_disk(name)?), Keywords::MAX).ok()?;
            rest = after;
        }
        Some(Self {
            format: *body[16..].first_chunk()?,
            stamp,
            local_offset: i16::from_le_bytes(*body[80..].first_chunk()?),
            uid_validity: octets.u32(82)?,
            uid_last: octets.u32(86)?,
            messages: octets.u32(90)?,
            recent: octets.u32(94)?,
            unseen: octets.u32(98)?,
            own,
            tail: octets.u64(AFTER)?,
            sum: Sum(octets.u64(AFTER + 8)?),
            lineage: octets.u64(AFTER + 16)?,
            keywords,
        })
    }
}

/// How many numbers of its own a format can keep.
pub(crate) const OWN: usize = 6;

struct Octets<'o>(&'o [u8]);

impl Octets<'_> {
    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Eq, PartialEq)]
    struct Whole([u8; 32]);

    impl Place for Whole {
        fn encode(&self) -> [u8; 32] {
            self.0
        }
        fn decode(octets: &[u8; 32]) -> Option<Self> {
            Some(Self(*octets))
        }
        fn range(&self) -> Range<u64> {
            0..0
        }
    }

    #[test]
    fn records_survive() {
        let flags = Flags { system: SystemFlags::ALL, keywords: KeywordMask(u64::MAX - 5) };
        let date = InternalDate::from_timestamp(1_700_000_000, -90);
        let mut message = MessageInfo::new(Uid::MAX, flags, date, 4_000_000_000);
        message.set_recent(true);
        let place = Whole(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        assert_eq!(decode::<Whole>(&encode(&message, &place)), Some((message, place)));
    }

    #[test]
    fn a_flipped_bit_of_a_head_is_seen() {
        let mut keywords = Keywords::default();
        for name in [&b"Work"[..], "é".as_bytes(), &[b'k'; 50]] {
            keywords.push(Keyword::from_disk(name), 64).unwrap();
        }
        let (modified, changed) = ((-5, 6), (7, 8));
        let stamp = Stamp { device: 1, inode: 2, size: 3, modified, changed };
        let own = [u64::MAX, 1, 2, 3, 4, 5];
        let head = Head {
            format: *b"unix\0\0\0\0",
            stamp,
            local_offset: -90,
            uid_validity: 9,
            uid_last: 10,
            messages: 11,
            recent: 12,
            unseen: 13,
            own,
            tail: 14,
            sum: Sum(15),
            lineage: 16,
            keywords,
        };
        let page = head.encode().unwrap();
        let decoded = Head::decode(page.as_array().unwrap()).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{head:?}"));
        for bit in 0..HEAD * 8 {
            let mut damaged: [u8; HEAD] = *page.as_array().unwrap();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode(&damaged).is_none(), "{bit}");
        }
    }

    #[test]
    fn each_octet_and_each_place_counts_in_the_sum() {
        let record = |octet| [octet; RECORD];
        let sum = |records: &[(u64, u8)]| {
            let mut sum = Sum::default();
            records.iter().for_each(|(number, octet)| sum.add(*number, &record(*octet)));
            sum
        };
        assert_eq!(sum(&[(0, 1), (1, 2)]), sum(&[(1, 2), (0, 1)]));
        assert_ne!(sum(&[(0, 1), (1, 2)]), sum(&[(0, 2), (1, 1)]));
        assert_ne!(sum(&[(0, 0)]), sum(&[]));
        for bit in 0..RECORD * 8 {
            let mut changed = record(0);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash(0, &changed), hash(0, &record(0)), "{bit}");
        }
    }
}
