//! What a driver knows of an open mailbox.

use ailurus_types::{Flags, InternalDate, KeywordMask, Keywords, SystemFlags, Uid, UidSet, UidValidity};
use std::ops::Range;

/// What is known of one message, 32 octets of memory: a mailbox of a million messages must fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageInfo {
    keywords: KeywordMask,
    uid: Uid,
    rfc822_size: u32,
    internal_date: InternalDate,
    system: SystemFlags,
    recent: bool,
}

impl MessageInfo {
    /// Returns the record of a message; `rfc822_size` is in octets of the CRLF form, and is cut to 32 bits as on
    /// the wire.
    #[must_use]
    pub fn new(uid: Uid, flags: Flags, internal_date: InternalDate, rfc822_size: u64) -> Self {
        Self {
            keywords: flags.keywords,
            uid,
            rfc822_size: u32::try_from(rfc822_size).unwrap_or(u32::MAX),
            internal_date,
            system: flags.system,
            recent: false,
        }
    }

    /// Returns the message's UID.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// Returns the flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags { system: self.system, keywords: self.keywords }
    }

    /// Sets the flags.
    pub fn set_flags(&mut self, flags: Flags) {
        (self.system, self.keywords) = (flags.system, flags.keywords);
    }

    /// Sets the UID; for drivers that find out about it later.
    pub fn set_uid(&mut self, uid: Uid) {
        self.uid = uid;
    }

    /// Tells whether this session is the first to be told of the message (RFC 3501 §2.3.2, \Recent).
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.recent
    }

    /// Marks the message recent for this session, or not.
    pub fn set_recent(&mut self, recent: bool) {
        self.recent = recent;
    }

    /// Returns the internal date.
    #[must_use]
    pub fn internal_date(&self) -> InternalDate {
        self.internal_date
    }

    /// Returns the size in octets of the CRLF form.
    #[must_use]
    pub fn rfc822_size(&self) -> u32 {
        self.rfc822_size
    }
}

/// Which flags stay when the session is over (RFC 3501 §7.1, PERMANENTFLAGS).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PermanentFlags {
    /// The system flags that stay.
    pub system: SystemFlags,
    /// Whether the mailbox's keywords stay.
    pub keywords: bool,
    /// Whether new keywords can be made now (`\*`).
    pub new_keywords: bool,
}

/// The state of a mailbox as it was last opened, refreshed or committed. Messages are in ascending order of UID.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The UID validity value.
    pub uid_validity: UidValidity,
    /// The next UID that a message will get, at least; `None` when UIDs are used up.
    pub uid_next: Option<Uid>,
    /// The keywords that the mailbox knows.
    pub keywords: Keywords,
    /// Which flags stay.
    pub permanent: PermanentFlags,
    /// Whether changes reach the file. May turn false in a session that loses its lock.
    pub writable: bool,
    /// Whether UIDs survive the session (else `UIDNOTSTICKY`).
    pub sticky_uids: bool,
    /// The messages, in ascending order of UID.
    pub messages: Vec<MessageInfo>,
}

impl Snapshot {
    /// Returns the octets of all messages.
    #[must_use]
    pub fn rfc822_size(&self) -> u64 {
        self.messages.iter().map(|message| u64::from(message.rfc822_size())).sum()
    }

    /// Returns the position of a UID in `messages`. `hint` is where it probably is: asking in order costs nothing.
    #[must_use]
    pub fn position(&self, uid: Uid, hint: usize) -> Option<usize> {
        if self.messages.get(hint).is_some_and(|message| message.uid == uid) {
            return Some(hint);
        }
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }

    /// Returns the message of a UID.
    #[must_use]
    pub fn message(&self, uid: Uid) -> Option<&MessageInfo> {
        self.position(uid, usize::MAX).map(|position| &self.messages[position])
    }

    /// Returns the positions in `messages` of the UIDs in a range, both ends included.
    #[must_use]
    pub fn positions_in(&self, (first, last): (u32, u32)) -> Range<usize> {
        let start = self.messages.partition_point(|message| message.uid.get() < first);
        let end = self.messages.partition_point(|message| message.uid.get() <= last);
        start..end
    }

    /// Returns the positions in `messages` of the UIDs in a set, ascending.
    pub fn positions_of<'s>(&'s self, uids: &'s UidSet) -> impl Iterator<Item = usize> + 's {
        uids.ranges().iter().flat_map(|range| self.positions_in(*range))
    }

    /// Returns the largest UID in use.
    #[must_use]
    pub fn largest_uid(&self) -> Option<Uid> {
        self.messages.last().map(MessageInfo::uid)
    }
}

/// What became different between two snapshots.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct Changes {
    /// Messages that are no longer there.
    pub expunged: UidSet,
    /// Messages whose flags changed, new ones not counted.
    pub flags: UidSet,
    /// Whether messages were added; they have the largest UIDs.
    pub arrived: bool,
    /// Whether keywords were added.
    pub keywords: bool,
    /// Whether the UID validity value changed: every UID that a client remembers is void. The driver then reports
    /// the old messages as expunged unless they kept their UIDs.
    pub uid_validity: bool,
}

impl Changes {
    /// Adds what became different after that.
    pub fn add(&mut self, later: &Self) {
        self.expunged.add(&later.expunged);
        self.flags.add(&later.flags);
        self.arrived |= later.arrived;
        self.keywords |= later.keywords;
        self.uid_validity |= later.uid_validity;
    }

    /// Tells whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_32_octets() {
        assert_eq!(size_of::<MessageInfo>(), 32);
    }
}
