//! System flags, and the change that STORE makes.

use crate::{Keyword, KeywordMask};
use std::ops::{BitOr, BitOrAssign};

/// A set of the system flags that a store keeps (RFC 3501 §2.3.2). \Recent is not among them: it belongs to a
/// session's view, and the store only knows who has been told (`SystemFlags` has no bit for it).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub struct SystemFlags(u8);

impl SystemFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Seen`
    pub const SEEN: Self = Self(1);
    /// `\Deleted`
    pub const DELETED: Self = Self(2);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(4);
    /// `\Answered`
    pub const ANSWERED: Self = Self(8);
    /// `\Draft`
    pub const DRAFT: Self = Self(16);
    /// All five.
    pub const ALL: Self = Self(31);

    /// The flags one by one with their names, in the order in which the reference prints those of a message.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::SEEN, "\\Seen"),
        (Self::DELETED, "\\Deleted"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::ANSWERED, "\\Answered"),
        (Self::DRAFT, "\\Draft"),
    ];

    /// Returns the flag of a name such as `\Seen`, in any letter case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::NAMED
            .iter()
            .find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(flag, _)| *flag)
    }

    /// Returns the flags as a number, for indexes: see [`SystemFlags::from_bits`].
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// Returns the flags of which [`SystemFlags::to_bits`] made this number; `None` if it is of none.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// Tells whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns these flags without the others.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Tells whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for SystemFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for SystemFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// All flags of one message: system flags and keywords.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub struct Flags {
    /// The system flags.
    pub system: SystemFlags,
    /// The keywords, by slot of the mailbox's list.
    pub keywords: KeywordMask,
}

impl Flags {
    /// Returns these flags after a change.
    #[must_use]
    pub fn changed(self, op: FlagOp, by: Self) -> Self {
        match op {
            FlagOp::Add => {
                Self { system: self.system | by.system, keywords: self.keywords.union(by.keywords) }
            }
            FlagOp::Remove => {
                Self { system: self.system.without(by.system), keywords: self.keywords.without(by.keywords) }
            }
            FlagOp::Replace => by,
        }
    }
}

/// A flag as a client names it: a system flag or a keyword, not yet looked up in any mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flag {
    /// One system flag.
    System(SystemFlags),
    /// A keyword.
    Keyword(Keyword),
}

/// What STORE does with its flags (RFC 3501 §6.4.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlagOp {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// A flag change as a client asks for it: keywords by name, since a new one may have to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlagChange {
    /// What to do.
    pub op: FlagOp,
    /// The system flags named.
    pub system: SystemFlags,
    /// The keywords named.
    pub keywords: Vec<Keyword>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_add_remove_and_replace() {
        let seen = Flags { system: SystemFlags::SEEN, keywords: KeywordMask(1) };
        let by = Flags { system: SystemFlags::DRAFT, keywords: KeywordMask(2) };
        assert_eq!(seen.changed(FlagOp::Add, by).keywords, KeywordMask(3));
        assert_eq!(seen.changed(FlagOp::Remove, seen), Flags::default());
        assert_eq!(seen.changed(FlagOp::Replace, by), by);
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(SystemFlags::from_name(b"\\ANSWERED"), Some(SystemFlags::ANSWERED));
        assert_eq!(SystemFlags::from_name(b"\\Recent"), None);
    }
}
