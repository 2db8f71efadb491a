//! Ground types of mail stores: what every other crate speaks in.
//!
//! Numbers that identify something are types ([`Uid`], [`SeqNum`], [`UidValidity`]), sets are ranges and never
//! expanded lists ([`SequenceSet`], [`UidSet`]), flags are a small bit set beside a mask over the mailbox's
//! [`Keywords`], and search programs are a tree that any store can evaluate ([`SearchKey`]). [`wire`] writes numbers and
//! strings as IMAP does.
#![forbid(unsafe_code)]

mod date;
mod flags;
mod keyword;
mod name;
mod number;
mod search;
mod secret;
mod set;
mod sort;
mod special_use;
pub mod wire;

pub use date::{DateError, InternalDate, MONTHS, days_from_civil, named_zone};
pub use flags::{Flag, FlagChange, FlagOp, Flags, SystemFlags};
pub use keyword::{Keyword, KeywordMask, Keywords, KeywordsFull};
pub use name::MailboxName;
pub use number::{SeqNum, Uid, UidValidity};
pub use search::{CalendarDate, HeaderName, SearchKey, SearchProgram};
pub use secret::Secret;
pub use set::{SequenceSet, SetBound, SetError, UidSet};
pub use sort::{SortCriterion, SortKey, SortOrder, ThreadAlgorithm};
pub use special_use::{SpecialUse, SpecialUses};
