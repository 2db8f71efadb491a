//! How a salvaged file is put together from the damaged one.

use std::ops::Range;

/// A piece of the salvaged file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// Octets of the damaged file as they are.
    Copy(Range<u64>),
    /// Octets in place of some that are in the leftover, or that were missing.
    New(Vec<u8>),
}

/// The salvaged file, and what of the damaged one is not in it. Every octet of the damaged file is in one of them, once:
/// [`Plan::accounts_for`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pieces: Vec<Piece>,
    left: Vec<Range<u64>>,
}

impl Plan {
    pub(crate) fn copy(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.pieces.last_mut() {
            Some(Piece::Copy(last)) if last.end == range.start => last.end = range.end,
            _ => self.pieces.push(Piece::Copy(range)),
        }
    }

    pub(crate) fn add(&mut self, octets: Vec<u8>) {
        if !octets.is_empty() {
            self.pieces.push(Piece::New(octets));
        }
    }

    pub(crate) fn leave(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.left.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.left.push(range),
        }
    }

    /// Returns the pieces of the salvaged file in their order.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns what goes into the leftover, ascending once [`Plan::accounts_for`] was asked.
    pub(crate) fn left(&self) -> &[Range<u64>] {
        &self.left
    }

    /// Tells whether the salvaged file is the file as it is.
    pub(crate) fn changes_nothing(&self, len: u64) -> bool {
        self.left.is_empty()
            && match self.pieces.as_slice() {
                [] => len == 0,
                [Piece::Copy(all)] => *all == (0..len),
                _ => false,
            }
    }

    /// Tells whether each octet of a file of this length is accounted for, and none twice.
    pub(crate) fn accounts_for(&mut self, len: u64) -> bool {
        self.left.sort_unstable_by_key(|range| range.start);
        let copied = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Copy(range) => Some(range.clone()),
            Piece::New(_) => None,
        });
        let mut all: Vec<_> = copied.chain(self.left.iter().cloned()).collect();
        all.sort_unstable_by_key(|range| range.start);
        let mut end = 0;
        let is_whole = all.iter().all(|range| {
            let follows = range.start == end && range.end > range.start;
            end = range.end;
            follows
        });
        is_whole && end == len
    }

    /// Returns how many octets are copied, new, and left.
    pub(crate) fn octets(&self) -> (u64, u64, u64) {
        let (mut copied, mut new) = (0, 0);
        for piece in &self.pieces {
            match piece {
                Piece::Copy(range) => copied += range.end - range.start,
                Piece::New(octets) => new += octets.len() as u64,
            }
        }
        (copied, new, self.left.iter().map(|range| range.end - range.start).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_accounted_for_once() {
        let mut plan = Plan::default();
        plan.copy(0..10);
        plan.copy(10..20);
        assert!(plan.changes_nothing(20) && plan.accounts_for(20));
        assert!(!plan.changes_nothing(21) && !plan.accounts_for(21));
        plan.copy(25..30);
        plan.add(b"new".into());
        plan.leave(20..25);
        assert!(!plan.changes_nothing(30) && plan.accounts_for(30));
        assert_eq!(plan.octets(), (25, 3, 5));
        plan.copy(3..4);
        assert!(!plan.accounts_for(30));
    }
}
