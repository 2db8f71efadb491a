//! Numbers that identify: never zero, never mixed up.

use std::fmt;
use std::num::NonZeroU32;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// The smallest value, 1.
            pub const MIN: Self = Self(NonZeroU32::MIN);
            /// The largest value, 4294967295.
            pub const MAX: Self = Self(NonZeroU32::MAX);

            /// Returns the identifier, or `None` for zero.
            #[must_use]
            pub const fn new(value: u32) -> Option<Self> {
                match NonZeroU32::new(value) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// Returns the plain number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0.get()
            }

            /// Returns the following identifier, or `None` past the largest.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

identifier! {
    /// A unique identifier of a message in its mailbox (RFC 3501 §2.3.1.1).
    Uid
}
identifier! {
    /// The unique identifier validity value of a mailbox (RFC 3501 §2.3.1.1).
    UidValidity
}
identifier! {
    /// A message sequence number (RFC 3501 §2.3.1.2), valid in one session's view only.
    SeqNum
}

impl SeqNum {
    /// Returns the sequence number of the message at a zero-based position, or `None` beyond 32 bits.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok()?.checked_add(1).and_then(Self::new)
    }

    /// Returns the zero-based position of this message in the view.
    #[must_use]
    pub const fn index(self) -> usize {
        self.get() as usize - 1
    }
}
