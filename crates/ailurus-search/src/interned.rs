//! Strings and ids that many messages share, each kept once.
//!
//! What is equal is told by a hash of 64 bits under a key that nobody outside knows: an id needs nothing else, a string is
//! kept up to [`MOST_KEPT`] octets, by which it is ordered.

use std::hash::{BuildHasher, RandomState};

/// So much of a string counts for the order; strings that agree so far are told apart, and stand together.
const MOST_KEPT: usize = 256;
/// When all strings take so much, only the first octets of others are kept.
const MUCH: usize = 16 * 1024 * 1024;
const LEAST_KEPT: usize = 16;

/// Hashes for things that come from outside.
#[derive(Clone, Default)]
pub(crate) struct Keyed(RandomState);

impl Keyed {
    pub(crate) fn hash(&self, octets: &[u8]) -> u64 {
        self.0.hash_one(octets)
    }
}

/// A table from hashes to the numbers of things that have them.
#[derive(Default)]
pub(crate) struct Index {
    /// Numbers plus one; 0 is a free slot. Open addressing, at most three quarters full.
    slots: Vec<u32>,
    used: usize,
}

impl Index {
    /// Returns the number of the thing with this hash, if one has it.
    pub(crate) fn find(&self, hash: u64, hashes: impl Fn(u32) -> u64) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let number = *self.slots.get(self.slot(hash, hashes))?;
        number.checked_sub(1)
    }

    /// Gives a number to a hash that has none.
    pub(crate) fn insert(&mut self, hash: u64, number: u32, hashes: impl Fn(u32) -> u64) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let larger = vec![0; (self.slots.len() * 2).max(64)];
            let old = std::mem::replace(&mut self.slots, larger);
            for number in old.into_iter().filter(|number| *number != 0) {
                let slot = self.slot(hashes(number - 1), &hashes);
                if let Some(slot) = self.slots.get_mut(slot) {
                    *slot = number;
                }
            }
        }
        let slot = self.slot(hash, hashes);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = number + 1;
            self.used += 1;
        }
    }

    /// Returns the slot with this hash, or the free one for it.
    fn slot(&self, hash: u64, hashes: impl Fn(u32) -> u64) -> usize {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & mask;
        loop {
            match self.slots.get(slot) {
                Some(number) if *number != 0 && hashes(number - 1) != hash => slot = (slot + 1) & mask,
                _ => return slot,
            }
        }
    }
}

/// Strings that are ordered at the end.
#[derive(Default)]
pub(crate) struct Strings {
    keyed: Keyed,
    index: Index,
    kept: Vec<Kept>,
    text: Vec<u8>,
}

struct Kept {
    hash: u64,
    start: u32,
    len: u32,
}

impl Strings {
    /// Returns the number of a string.
    pub(crate) fn intern(&mut self, string: &[u8]) -> u32 {
        let hash = self.keyed.hash(string);
        let hashes = |number: u32| self.kept.get(at(number)).map_or(0, |kept| kept.hash);
        if let Some(number) = self.index.find(hash, hashes) {
            return number;
        }
        let new = number(self.kept.len());
        let most = if self.text.len() < MUCH { MOST_KEPT } else { LEAST_KEPT };
        let string = string.get(..most).unwrap_or(string);
        self.kept.push(Kept { hash, start: number(self.text.len()), len: number(string.len()) });
        self.text.extend_from_slice(string);
        let kept = &self.kept;
        self.index.insert(hash, new, |number| kept.get(at(number)).map_or(0, |kept| kept.hash));
        new
    }

    /// Returns the place of each string, by its number, among all of them in ascending order.
    pub(crate) fn into_ranks(self) -> Vec<u32> {
        let Self { index, kept, text, .. } = self;
        drop(index);
        let string =
            |kept: &Kept| text.get(at(kept.start)..at(kept.start) + at(kept.len)).unwrap_or_default();
        let mut order: Vec<u32> = (0..number(kept.len())).collect();
        let strings = |number: u32| kept.get(at(number)).map(|kept| (string(kept), kept.hash));
        order.sort_unstable_by(|one, other| strings(*one).cmp(&strings(*other)));
        let mut ranks = vec![0; kept.len()];
        for (rank, string) in order.into_iter().enumerate() {
            if let Some(place) = ranks.get_mut(at(string)) {
                *place = number(rank);
            }
        }
        ranks
    }
}

/// Returns a number as an index.
pub(crate) fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Returns an index as a number. There are fewer messages than these hold, and not much more of anything else.
pub(crate) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_once_and_ordered() {
        let mut strings = Strings::default();
        let words: Vec<_> = (0..5000).map(|number| format!("word {}", number * 7919 % 1000)).collect();
        let numbers: Vec<_> = words.iter().map(|word| strings.intern(word.as_bytes())).collect();
        assert_eq!(strings.kept.len(), 1000);
        let ranks = strings.into_ranks();
        for pair in numbers.windows(2).zip(words.windows(2)) {
            let (number, word) = pair;
            let rank = |position: usize| ranks[at(number[position])];
            assert_eq!(rank(0).cmp(&rank(1)), word[0].cmp(&word[1]));
        }
    }

    #[test]
    fn long_strings_are_told_apart_and_cost_little() {
        let mut strings = Strings::default();
        let long = "x".repeat(100_000);
        let numbers: Vec<_> =
            (0..200).map(|number| strings.intern(format!("{long}{}", number % 100).as_bytes())).collect();
        assert_eq!(numbers[0], numbers[100]);
        assert_ne!(numbers[0], numbers[1]);
        assert!(strings.text.len() <= 100 * MOST_KEPT);
    }
}
