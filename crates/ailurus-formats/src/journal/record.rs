//! The octets of a journal: its header and its records.

use super::{BLOCK, UNIT};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 16] = *b"ailurus-redo-01\n";
pub(super) const HEADER: usize = 80;
const MOST_RECORD: usize = 2 * BLOCK;

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) old_len: u64,
    pub(super) new_len: u64,
    pub(super) body_len: u64,
    pub(super) body_hash: u64,
    pub(super) tail_hash: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..16].copy_from_slice(&MAGIC);
        let fields = [
            self.device,
            self.inode,
            self.old_len,
            self.new_len,
            self.body_len,
            self.body_hash,
            self.tail_hash,
        ];
        for (place, field) in out[16..].as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        let hash = checksum(&out[..HEADER - 8]);
        out[HEADER - 8..].copy_from_slice(&hash.to_le_bytes());
        out
    }

    pub(super) fn decode(octets: &[u8; HEADER]) -> Option<Self> {
        let field = |number: usize| number_at(octets, 16 + number * 8);
        if octets[..16] != MAGIC || field(7) != checksum(&octets[..HEADER - 8]) {
            return None;
        }
        Some(Self {
            device: field(0),
            inode: field(1),
            old_len: field(2),
            new_len: field(3),
            body_len: field(4),
            body_hash: field(5),
            tail_hash: field(6),
        })
    }
}

fn number_at(octets: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    if let Some(found) = octets.get(at..at + 8) {
        number.copy_from_slice(found);
    }
    u64::from_le_bytes(number)
}

/// Whether the checksum of the body is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Checking {
    Yes,
    // It was, or this process has just written it.
    Done,
}

pub(super) struct Records<'j> {
    pub(super) file: &'j File,
    pub(super) checking: Checking,
    pub(super) reading: u64,
    pub(super) end: u64,
    pub(super) new_len: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) at: usize,
    pub(super) after: u64,
    pub(super) hash: u64,
}

pub(super) struct Record<'r> {
    pub(super) offset: u64,
    pub(super) old: &'r [u8],
    pub(super) data: &'r [u8],
}

impl Record<'_> {
    pub(super) fn old_hash(&self, unit: usize) -> u64 {
        number_at(self.old, unit * 8)
    }
}

impl Records<'_> {
    /// Returns the next record; `InvalidData` if there is none where one should be.
    pub(super) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        const HEAD: usize = 16;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "damaged journal");
        if self.at == self.buffer.len() && self.reading == self.end {
            return Ok(None);
        }
        self.ensure(HEAD)?;
        let offset = number_at(&self.buffer, self.at);
        let packed = number_at(&self.buffer, self.at + 8);
        let length = usize::try_from(packed).ok().filter(|length| (1..=MOST_RECORD).contains(length));
        let length = length.ok_or_else(bad)?;
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.new_len).ok_or_else(bad)?;
        let whole = length.is_multiple_of(UNIT) || end == self.new_len;
        if offset < self.after || !offset.is_multiple_of(UNIT as u64) || !whole {
            return Err(bad());
        }
        self.after = end;
        let hashes = length.div_ceil(UNIT) * 8;
        self.ensure(HEAD + hashes + length)?;
        let begin = self.at;
        self.at += HEAD + hashes + length;
        let record = &self.buffer[begin..self.at];
        if self.checking == Checking::Yes {
            self.hash = mix(self.hash, checksum(record));
        }
        let (old, data) = record[HEAD..].split_at(hashes);
        Ok(Some(Record { offset, old, data }))
    }

    fn ensure(&mut self, count: usize) -> io::Result<()> {
        if self.buffer.len() - self.at >= count {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let have = self.buffer.len();
        let want =
            usize::try_from(self.end - self.reading).unwrap_or(usize::MAX).min(count.max(BLOCK) - have);
        self.buffer.resize(have + want, 0);
        self.file.read_exact_at(&mut self.buffer[have..], self.reading)?;
        self.reading += want as u64;
        if self.buffer.len() < count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "journal ends early"));
        }
        Ok(())
    }
}

/// Returns a checksum that tells torn and foreign content from what was written; it does not withstand an attacker.
pub(crate) fn checksum(data: &[u8]) -> u64 {
    let mut lanes = [1u64, 2, 3, 4];
    let (blocks, rest) = data.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut hash = data.len() as u64;
    for lane in lanes {
        hash = mix(hash, lane);
    }
    for octet in rest {
        hash = mix(hash, u64::from(*octet));
    }
    hash ^ (hash >> 29)
}

pub(crate) fn mix(state: u64, word: u64) -> u64 {
    (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_damage_is_seen() {
        let header = Header {
            device: 1,
            inode: 2,
            old_len: 3,
            new_len: 4,
            body_len: 5,
            body_hash: 6,
            tail_hash: u64::MAX,
        };
        let mut octets = header.encode();
        assert_eq!(Header::decode(&octets).unwrap().tail_hash, u64::MAX);
        for at in 0..HEADER {
            octets[at] ^= 1;
            assert!(Header::decode(&octets).is_none(), "octet {at}");
            octets[at] ^= 1;
        }
    }

    #[test]
    fn every_octet_counts_in_the_checksum() {
        let mut data = vec![7; 100];
        let whole = checksum(&data);
        for at in 0..data.len() {
            data[at] ^= 0x80;
            assert_ne!(checksum(&data), whole);
            data[at] ^= 0x80;
        }
        assert_ne!(checksum(&[0]), checksum(&[0, 0]));
    }
}
