//! What a sidecar keeps of a message's file.

use super::{FileId, Measure};

/// A message's file with all that the sidecar keeps of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Filed {
    pub(crate) number: u32,
    pub(crate) id: FileId,
    /// Octets of the message in CRLF form.
    pub(crate) size: u32,
    pub(crate) header: u32,
    pub(crate) sum: u32,
}

impl Filed {
    /// Octets of it in a sidecar.
    pub(crate) const LEN: usize = 44;

    pub(crate) fn new(number: u32, id: FileId, measure: &Measure) -> Self {
        let cut = |octets: u64| u32::try_from(octets).unwrap_or(u32::MAX);
        Self { number, id, size: cut(measure.size), header: cut(measure.header), sum: measure.sum }
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let FileId { inode, size, modified: (seconds, nanoseconds), changed } = self.id;
        let mut out = [0; Self::LEN];
        let (long, short) = out.split_at_mut(16);
        for (place, field) in long.as_chunks_mut::<8>().0.iter_mut().zip([inode, seconds.cast_unsigned()]) {
            *place = field.to_le_bytes();
        }
        let fields = [size, nanoseconds, changed, self.number, self.size, self.header, self.sum];
        for (place, field) in short.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        out
    }

    pub(crate) fn decode(octets: &[u8; Self::LEN]) -> Self {
        let (long, short) = octets.split_at(16);
        let long = |at: usize| u64::from_le_bytes(long.as_chunks::<8>().0[at]);
        let short = |at: usize| u32::from_le_bytes(short.as_chunks::<4>().0[at]);
        let modified = (long(1).cast_signed(), short(1));
        let id = FileId { inode: long(0), size: short(0), modified, changed: short(2) };
        Self { number: short(3), id, size: short(4), header: short(5), sum: short(6) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let modified = (1_700_000_000, 999_999_999);
        let id = FileId { inode: u64::MAX, size: 5, modified, changed: u32::MAX };
        let filed = Filed { number: 7, id, size: 9, header: 3, sum: u32::MAX };
        assert_eq!(Filed::decode(&filed.encode()), filed);
    }
}
