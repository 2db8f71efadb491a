//! Keywords: flags without a backslash, named per mailbox (RFC 3501 §2.3.2).

use std::fmt;

/// The name of a keyword: 1 to 50 octets of those the reference allows (spec/storage-common.md §1).
///
/// Keywords compare without regard to ASCII letter case and keep the case they were made with.
#[derive(Clone, Debug)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The longest keyword in octets.
    pub const MAX_LEN: usize = 50;

    /// Returns the keyword, or `None` when it is empty, too long, or has an octet that no keyword may have:
    /// anything outside 0x21..0x7e and each of `* % " \ ( ) { ]`.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let good =
            !name.is_empty() && name.len() <= Self::MAX_LEN && name.iter().copied().all(is_keyword_char);
        good.then(|| Self(String::from_utf8_lossy(name).into()))
    }

    /// Returns the keyword found in a mailbox file, where any word up to 50 octets counts; bad UTF-8 is replaced.
    ///
    /// Such a word need not be fit for the wire: see [`Keyword::is_flag`].
    #[must_use]
    pub fn from_disk(word: &[u8]) -> Option<Self> {
        let good = !word.is_empty() && word.len() <= Self::MAX_LEN;
        good.then(|| Self(String::from_utf8_lossy(word).into()))
    }

    /// Tells whether a response may show the name as a flag: whether it is what RFC 3501 §9 calls an atom. Whoever can write
    /// to the file, be it by sending mail, chooses it, and a client that cannot parse a flag can read no mail.
    #[must_use]
    pub fn is_flag(&self) -> bool {
        self.0.bytes().all(is_keyword_char)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_keyword_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'*' | b'%' | b'"' | b'\\' | b'(' | b')' | b'{' | b']')
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of a mailbox's keywords a message has: bit n stands for slot n of its [`Keywords`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub struct KeywordMask(pub u64);

impl KeywordMask {
    /// No keyword.
    pub const NONE: Self = Self(0);

    /// Returns the mask of one slot; none for a slot that no mask can hold.
    #[must_use]
    pub fn slot(slot: usize) -> Self {
        Self(u32::try_from(slot).ok().and_then(|slot| 1u64.checked_shl(slot)).unwrap_or(0))
    }

    /// Tells whether the slot is set.
    #[must_use]
    pub fn has(self, slot: usize) -> bool {
        self.0 & Self::slot(slot).0 != 0
    }

    /// Returns both masks together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns this mask without the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the set slots in ascending order.
    pub fn slots(self) -> impl Iterator<Item = usize> {
        (0..64usize).filter(move |slot| self.has(*slot))
    }
}

/// The keywords of a mailbox by slot, at most [`Keywords::MAX`] (a format may hold fewer). A slot can be empty
/// (a word in the file was too long to be one).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keywords(Vec<Option<Keyword>>);

/// No slot is left for a new keyword.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no room for another keyword")]
pub struct KeywordsFull;

impl Keywords {
    /// As many slots as a [`KeywordMask`] has bits.
    pub const MAX: usize = 64;

    /// Returns the slot of a keyword, whatever its letter case.
    #[must_use]
    pub fn find(&self, keyword: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|known| known.as_ref().is_some_and(|known| known.0.eq_ignore_ascii_case(keyword)))
    }

    /// Returns the keyword of a slot.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<&Keyword> {
        self.0.get(slot)?.as_ref()
    }

    /// Returns the slot of the keyword, made at the end if it is new and fewer than `capacity` slots are taken.
    pub fn find_or_add(&mut self, keyword: &Keyword, capacity: usize) -> Result<usize, KeywordsFull> {
        if let Some(slot) = self.find(keyword.as_str()) {
            return Ok(slot);
        }
        self.push(Some(keyword.clone()), capacity)
    }

    /// Appends a slot, empty or not, and returns its number.
    pub fn push(&mut self, keyword: Option<Keyword>, capacity: usize) -> Result<usize, KeywordsFull> {
        if self.0.len() >= capacity.min(Self::MAX) {
            return Err(KeywordsFull);
        }
        self.0.push(keyword);
        Ok(self.0.len() - 1)
    }

    /// Returns how many slots are taken, empty ones in between included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether no slot is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keywords with their slots, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Keyword)> {
        self.0.iter().enumerate().filter_map(|(slot, keyword)| Some((slot, keyword.as_ref()?)))
    }

    /// Returns the keywords that a mask names, in slot order.
    pub fn named(&self, mask: KeywordMask) -> impl Iterator<Item = &Keyword> {
        self.iter().filter(move |(slot, _)| mask.has(*slot)).map(|(_, keyword)| keyword)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_the_reference() {
        for good in ["Work", "$Forwarded", "a}b", "x+y", "é".repeat(0).as_str(), "~"] {
            assert_eq!(Keyword::new(good.as_bytes()).is_some(), !good.is_empty(), "{good}");
        }
        for bad in ["", "a b", "a]", "a*", "a%", "\"", "\\Seen", "(", "a\u{e9}", &"k".repeat(51)] {
            assert!(Keyword::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn words_of_files_may_be_unfit_for_the_wire() {
        for good in ["Work", "a}b"] {
            assert!(Keyword::from_disk(good.as_bytes()).unwrap().is_flag(), "{good}");
        }
        for bad in ["a b", "x)", "x]", "\\Seen", "a\rb", "a\0", "{9}", "\x7f", "é"] {
            assert!(!Keyword::from_disk(bad.as_bytes()).unwrap().is_flag(), "{bad}");
        }
    }

    #[test]
    fn slots_are_found_in_any_case_and_stop_at_capacity() {
        let mut keywords = Keywords::default();
        let work = Keyword::new(b"Work").unwrap();
        assert_eq!(keywords.find_or_add(&work, 1), Ok(0));
        assert_eq!(keywords.find("wORK"), Some(0));
        assert_eq!(keywords.find_or_add(&Keyword::new(b"Home").unwrap(), 1), Err(KeywordsFull));
    }

    #[test]
    fn a_slot_beyond_the_mask_is_no_bit() {
        assert_eq!(KeywordMask::slot(64), KeywordMask::NONE);
        assert_eq!(KeywordMask::slot(3).slots().collect::<Vec<_>>(), [3]);
    }
}
