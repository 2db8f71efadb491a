//! LIST and LSUB (spec/storage-common.md §5).

use crate::subscriptions::Subscriptions;
use crate::{Mailboxes, Pattern, Result};

/// What LIST or LSUB tells of one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// The hierarchy delimiter, if there is hierarchy.
    pub delimiter: Option<u8>,
    /// The attributes.
    pub attributes: Attributes,
}

/// A set of name attributes (RFC 3501 §7.2.2, RFC 3348).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes(u8);

impl Attributes {
    /// No attribute.
    pub const NONE: Self = Self(0);
    /// `\NoInferiors`
    pub const NO_INFERIORS: Self = Self(1);
    /// `\NoSelect`
    pub const NO_SELECT: Self = Self(2);
    /// `\Marked`
    pub const MARKED: Self = Self(4);
    /// `\UnMarked`
    pub const UNMARKED: Self = Self(8);
    /// `\HasChildren`
    pub const HAS_CHILDREN: Self = Self(16);
    /// `\HasNoChildren`
    pub const HAS_NO_CHILDREN: Self = Self(32);

    const NAMED: [(Self, &'static str); 6] = [
        (Self::NO_INFERIORS, "\\NoInferiors"),
        (Self::NO_SELECT, "\\NoSelect"),
        (Self::MARKED, "\\Marked"),
        (Self::UNMARKED, "\\UnMarked"),
        (Self::HAS_CHILDREN, "\\HasChildren"),
        (Self::HAS_NO_CHILDREN, "\\HasNoChildren"),
    ];

    /// Returns these attributes and the others.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether all attributes of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the names of the set attributes in the order in which the reference prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(attribute, _)| self.contains(*attribute)).map(|(_, name)| name)
    }
}

/// What is asked of a driver that lists names of its own.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery<'q> {
    /// The reference as the client gave it.
    pub reference: &'q [u8],
    /// The pattern as the client gave it.
    pub pattern: &'q [u8],
    /// Both as one pattern, where they are about local files.
    pub canonical: Option<&'q Pattern>,
}

pub(crate) fn list(
    m: &Mailboxes,
    reference: &[u8],
    pattern: &[u8],
    found: &mut dyn FnMut(Listed),
) -> Result<()> {
    let query = ListQuery { reference, pattern, canonical: None };
    for driver in m.drivers() {
        driver.list(&query, found)?;
    }
    Ok(())
}

pub(crate) fn lsub(
    _m: &Mailboxes,
    _s: &Subscriptions<'_>,
    _reference: &[u8],
    _pattern: &[u8],
    _found: &mut dyn FnMut(Listed),
) -> Result<()> {
    Ok(())
}
