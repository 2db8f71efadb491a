//! What SORT and THREAD order messages by (RFC 5256, RFC 5957).

/// What messages are sorted by, and which way round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SortCriterion {
    /// What is compared.
    pub key: SortKey,
    /// Whether the smallest comes first.
    pub order: SortOrder,
}

/// What is compared of messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum SortKey {
    /// `ARRIVAL`: the internal date, as an instant.
    Arrival,
    /// `CC`: the local part of the first address of `Cc:`.
    Cc,
    /// `DATE`: the sent date (RFC 5256 §2.2).
    Date,
    /// `DISPLAYFROM`: the name of the first address of `From:`, or else the address (RFC 5957 §3).
    DisplayFrom,
    /// `DISPLAYTO`: the same of `To:`.
    DisplayTo,
    /// `FROM`: the local part of the first address of `From:`.
    From,
    /// `SIZE`: the octets of the CRLF form.
    Size,
    /// `SUBJECT`: the base subject (RFC 5256 §2.1).
    Subject,
    /// `TO`: the local part of the first address of `To:`.
    To,
}

impl SortKey {
    /// All keys, with their names.
    pub const NAMED: [(Self, &'static str); 9] = [
        (Self::Arrival, "ARRIVAL"),
        (Self::Cc, "CC"),
        (Self::Date, "DATE"),
        (Self::DisplayFrom, "DISPLAYFROM"),
        (Self::DisplayTo, "DISPLAYTO"),
        (Self::From, "FROM"),
        (Self::Size, "SIZE"),
        (Self::Subject, "SUBJECT"),
        (Self::To, "TO"),
    ];

    /// Returns the key of this name, in any letter case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let named = Self::NAMED.iter().find(|(_, text)| name.eq_ignore_ascii_case(text.as_bytes()));
        named.map(|(key, _)| *key)
    }
}

/// Which way round messages are sorted. Those that are equal stay in the order of their numbers either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SortOrder {
    /// The smallest first.
    Ascending,
    /// The largest first: `REVERSE`.
    Descending,
}

/// How messages are put together to threads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ThreadAlgorithm {
    /// `ORDEREDSUBJECT` (RFC 5256): by base subject.
    OrderedSubject,
    /// `REFERENCES` (RFC 5256): by the messages that they refer to, then by base subject.
    References,
    /// `REFS` (draft-ietf-morg-inthread): by the messages that they refer to alone, the thread with the latest message last.
    Refs,
}

impl ThreadAlgorithm {
    /// Returns the algorithm of this name, in any letter case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name.to_ascii_uppercase().as_slice() {
            b"ORDEREDSUBJECT" => Some(Self::OrderedSubject),
            b"REFERENCES" => Some(Self::References),
            b"REFS" => Some(Self::Refs),
            _ => None,
        }
    }
}
