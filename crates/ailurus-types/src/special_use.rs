//! Special uses of mailboxes (RFC 6154).

/// What a mailbox is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::All, Self::Archive, Self::Drafts, Self::Flagged, Self::Junk, Self::Sent, Self::Trash];

    /// Returns the attribute, such as `\Sent`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// Returns the use of this name, in any letter case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A set of special uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpecialUses(u8);

impl SpecialUses {
    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether this one is there.
    #[must_use]
    pub const fn contains(self, one: SpecialUse) -> bool {
        self.0 & 1 << one as u8 != 0
    }

    /// Adds one.
    pub const fn insert(&mut self, one: SpecialUse) {
        self.0 |= 1 << one as u8;
    }

    /// Returns those that are there, in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = SpecialUse> {
        SpecialUse::ALL.into_iter().filter(move |one| self.contains(*one))
    }
}

impl FromIterator<SpecialUse> for SpecialUses {
    fn from_iter<I: IntoIterator<Item = SpecialUse>>(uses: I) -> Self {
        let mut set = Self::default();
        uses.into_iter().for_each(|one| set.insert(one));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_told_in_order() {
        assert_eq!(SpecialUse::named(b"\\sENT"), Some(SpecialUse::Sent));
        assert_eq!(SpecialUse::named(b"Sent"), None);
        let set: SpecialUses = [SpecialUse::Trash, SpecialUse::Archive].into_iter().collect();
        assert_eq!(set.iter().map(SpecialUse::name).collect::<Vec<_>>(), ["\\Archive", "\\Trash"]);
        assert!(SpecialUses::default().is_empty() && !set.is_empty());
    }
}
