//! Keywords: those that are configured have bits in the file, by their position; all others are in the sidecar alone.

use super::line::SLOTS;
use ailurus_types::{Keyword, KeywordMask, Keywords};

/// The keywords of a session: first the configured ones, then those of the sidecar that are not configured.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// All of them, by slot of the session.
    pub(super) names: Keywords,
    /// How many of the slots have a bit in the file.
    bits: usize,
    /// For each slot of the sidecar the one of the session, if there is one.
    of_sidecar: Vec<Option<usize>>,
}

/// What of the sidecar's flags is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// Whatever the sidecar can hold.
    All,
    /// Only what is not in the file as well: it was written there just now.
    NotInFile,
}

impl Slots {
    /// Returns the slots of a session with these configured keywords and those of a sidecar.
    pub(super) fn new(configured: &[Keyword], sidecar: &Keywords) -> Self {
        let mut slots = Self::default();
        for keyword in configured.iter().take(SLOTS) {
            // A name that is there twice has the first bit, and its second place stays its place.
            let known = slots.names.find(keyword.as_str()).is_some();
            slots.names.push((!known).then(|| keyword.clone()), SLOTS).ok();
        }
        slots.bits = slots.names.len();
        for slot in 0..sidecar.len() {
            let known =
                sidecar.get(slot).and_then(|keyword| slots.names.find_or_add(keyword, Keywords::MAX).ok());
            slots.of_sidecar.push(known);
        }
        slots
    }

    /// Adds a keyword to a sidecar and to the slots; `None` when there is no room.
    pub(super) fn add(&mut self, keyword: &Keyword, sidecar: &mut Keywords) -> Option<usize> {
        if let Some(slot) = self.names.find(keyword.as_str()) {
            return Some(slot);
        }
        if self.names.len() >= Keywords::MAX {
            return None;
        }
        sidecar.push(Some(keyword.clone()), Keywords::MAX).ok()?;
        let slot = self.names.push(Some(keyword.clone()), Keywords::MAX).ok()?;
        self.of_sidecar.push(Some(slot));
        Some(slot)
    }

    /// Tells whether a keyword of this slot can be kept without a sidecar.
    pub(super) fn is_in_file(&self, slot: usize) -> bool {
        slot < self.bits
    }

    /// Returns how many keywords the file has bits for.
    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    /// Tells whether another keyword can be made.
    pub(super) fn has_room(&self) -> bool {
        self.names.len() < Keywords::MAX && self.of_sidecar.len() < Keywords::MAX
    }

    /// Returns the keywords that the file's bits name.
    pub(super) fn named_in_file(&self, bits: KeywordMask) -> KeywordMask {
        self.in_file(bits)
    }

    /// Returns those of the keywords that have a bit in the file.
    pub(super) fn in_file(&self, keywords: KeywordMask) -> KeywordMask {
        KeywordMask(keywords.0 & self.named().0)
    }

    /// Returns the bits of the file for these keywords, where it has `found` now: bits without a name stay.
    pub(super) fn to_file(&self, keywords: KeywordMask, found: KeywordMask) -> KeywordMask {
        KeywordMask(found.0 & !self.named().0 | keywords.0 & self.named().0)
    }

    /// Returns the keywords that the sidecar's flags name.
    pub(super) fn named_in_sidecar(&self, mask: KeywordMask) -> KeywordMask {
        let named = mask.slots().filter_map(|slot| self.of_sidecar.get(slot).copied().flatten());
        named.fold(KeywordMask::NONE, |all, slot| all.union(KeywordMask::slot(slot)))
    }

    /// Returns the sidecar's flags for these keywords.
    pub(super) fn to_sidecar(&self, keywords: KeywordMask, wanted: Wanted) -> KeywordMask {
        let slots = self.of_sidecar.iter().enumerate().filter(|(_, slot)| {
            slot.is_some_and(|slot| keywords.has(slot) && (wanted == Wanted::All || !self.is_in_file(slot)))
        });
        slots.fold(KeywordMask::NONE, |all, (slot, _)| all.union(KeywordMask::slot(slot)))
    }

    /// Tells whether a keyword of the sidecar has been configured since, so that it has a bit in the file as well.
    pub(super) fn overlap(&self) -> bool {
        self.of_sidecar.iter().flatten().any(|slot| self.is_in_file(*slot))
    }

    /// The slots with a name that have a bit in the file.
    fn named(&self) -> KeywordMask {
        let named = (0..self.bits).filter(|slot| self.names.get(*slot).is_some());
        named.fold(KeywordMask::NONE, |all, slot| all.union(KeywordMask::slot(slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(name: &str) -> Keyword {
        Keyword::new(name.as_bytes()).unwrap()
    }

    fn names(names: &[&str]) -> Keywords {
        let mut keywords = Keywords::default();
        for name in names {
            keywords.push(Some(keyword(name)), Keywords::MAX).unwrap();
        }
        keywords
    }

    #[test]
    fn each_keyword_goes_where_it_is_kept() {
        let mut sidecar = names(&["Work", "BAR"]);
        let mut slots = Slots::new(&[keyword("foo"), keyword("bar")], &sidecar);
        assert_eq!(
            slots.names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(),
            ["foo", "bar", "Work"]
        );
        assert!(slots.overlap());
        assert_eq!(slots.named_in_file(KeywordMask(0b1111)), KeywordMask(0b11));
        assert_eq!(slots.to_file(KeywordMask(0b110), KeywordMask(0b1001)), KeywordMask(0b1010));
        assert_eq!(slots.named_in_sidecar(KeywordMask(0b11)), KeywordMask(0b110));
        assert_eq!(slots.to_sidecar(KeywordMask(0b111), Wanted::All), KeywordMask(0b11));
        assert_eq!(slots.to_sidecar(KeywordMask(0b111), Wanted::NotInFile), KeywordMask(0b01));
        assert_eq!(slots.add(&keyword("new"), &mut sidecar), Some(3));
        assert_eq!(slots.add(&keyword("NEW"), &mut sidecar), Some(3));
        assert_eq!(slots.to_sidecar(KeywordMask(0b1000), Wanted::All), KeywordMask(0b100));
        assert_eq!(Slots::new(&[keyword("foo"), keyword("bar")], &sidecar).names, slots.names);
    }

    #[test]
    fn there_is_room_for_as_many_as_a_mask_has_bits() {
        let mut sidecar = Keywords::default();
        let mut slots = Slots::new(&[keyword("foo"), keyword("foo")], &sidecar);
        for n in 0..62 {
            assert!(slots.has_room());
            assert_eq!(slots.add(&keyword(&format!("k{n}")), &mut sidecar), Some(n + 2));
        }
        assert!(!slots.has_room() && !slots.overlap());
        assert_eq!(slots.add(&keyword("more"), &mut sidecar), None);
        assert_eq!(sidecar.len(), 62);
        // The second place of a name that is there twice has none.
        assert_eq!(slots.named_in_file(KeywordMask(0b11)), KeywordMask(0b1));
    }
}
