//! Search programs (RFC 3501 §6.4.4), as any store can evaluate them.

use crate::{Keyword, SequenceSet, SystemFlags};

/// A calendar date without time or zone: how SEARCH compares days.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct CalendarDate {
    /// The year, such as 2026.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
}

/// A header field name as SEARCH names it, compared without regard to ASCII letter case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderName(pub Box<str>);

/// What SEARCH looks for, with the charset of its strings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchProgram {
    /// The `CHARSET` argument as given; `None` when there was none.
    pub charset: Option<Box<str>>,
    /// The criteria; several keys are one [`SearchKey::And`].
    pub key: SearchKey,
}

/// One search key. Strings are octets in the program's charset.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SearchKey {
    /// Every message.
    All,
    /// All of these (a list in parentheses, or several keys in a row).
    And(Vec<SearchKey>),
    /// Either of these.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// Not this.
    Not(Box<SearchKey>),
    /// Messages with these sequence numbers; numbers beyond the mailbox match nothing.
    Sequence(SequenceSet),
    /// Messages with these UIDs.
    Uid(SequenceSet),
    /// `$` and `UID $` (RFC 5182): what a search saved last.
    Saved,
    /// Messages that have the system flag.
    Has(SystemFlags),
    /// Messages that have it not.
    HasNot(SystemFlags),
    /// `RECENT`
    Recent,
    /// `OLD`: not recent.
    Old,
    /// `NEW`: recent and not seen.
    New,
    /// `KEYWORD`: matches nothing where the mailbox does not know it.
    Keyword(Keyword),
    /// `UNKEYWORD`: matches everything where the mailbox does not know it.
    Unkeyword(Keyword),
    /// `BEFORE`: the internal date's calendar day, in its own zone, is earlier.
    Before(CalendarDate),
    /// `ON`
    On(CalendarDate),
    /// `SINCE`: on that day or later.
    Since(CalendarDate),
    /// `SENTBEFORE`: by the calendar day of the `Date:` field as written.
    SentBefore(CalendarDate),
    /// `SENTON`
    SentOn(CalendarDate),
    /// `SENTSINCE`
    SentSince(CalendarDate),
    /// `OLDER` (RFC 5032): internal date at least so many seconds ago.
    Older(u32),
    /// `YOUNGER` (RFC 5032): internal date at most so many seconds ago.
    Younger(u32),
    /// `LARGER`: more octets than this in CRLF form.
    Larger(u64),
    /// `SMALLER`: fewer octets than this in CRLF form.
    Smaller(u64),
    /// `BCC`, `CC`, `FROM`, `TO`: in the written-out address list of that field.
    Address(HeaderName, Vec<u8>),
    /// `SUBJECT`: in the decoded subject.
    Subject(Vec<u8>),
    /// `HEADER`: in the decoded field; an empty string asks whether the field exists.
    Header(HeaderName, Vec<u8>),
    /// `BODY`: in the decoded text parts.
    Body(Vec<u8>),
    /// `TEXT`: in the headers or the decoded text parts.
    Text(Vec<u8>),
}
