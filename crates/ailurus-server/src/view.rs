//! What the client believes the mailbox to be.
//!
//! The client counts messages by their place in this view, which changes only when it is told so. The mailbox's
//! snapshot may be ahead: messages in the view may be gone from it, and it may have some that the view has not.

use ailurus_store::{Changes, MessageInfo, Snapshot};
use ailurus_types::{Flags, SeqNum, Uid, UidSet};
use std::collections::BTreeMap;

/// The messages that the client knows, in ascending order of UID.
#[derive(Debug, Default)]
pub(crate) struct View {
    uids: Vec<Uid>,
    /// Some of `uids` are gone from the mailbox.
    expunged: bool,
    /// Whose flags changed since the client was told.
    changed: UidSet,
    /// Flags that this session alone sees: those stored in a mailbox that may not be written.
    own: BTreeMap<Uid, Flags>,
}

impl View {
    /// Returns how many messages the client knows.
    pub(crate) fn exists(&self) -> u32 {
        u32::try_from(self.uids.len()).unwrap_or(u32::MAX)
    }

    /// Returns the largest UID that the client can know.
    pub(crate) fn largest_uid(&self) -> Option<Uid> {
        self.uids.last().copied()
    }

    /// Returns the UID of a message.
    pub(crate) fn uid(&self, seq: SeqNum) -> Option<Uid> {
        self.uids.get(seq.index()).copied()
    }

    /// Returns the number of a message.
    pub(crate) fn seq(&self, uid: Uid) -> Option<SeqNum> {
        self.uids.binary_search(&uid).ok().and_then(SeqNum::from_index)
    }

    /// Returns the UIDs of messages of ranges of sequence numbers.
    pub(crate) fn uids_of(&self, ranges: &[(u32, u32)]) -> UidSet {
        let mut set = UidSet::new();
        for (first, last) in ranges {
            let first = usize::try_from(first.saturating_sub(1)).unwrap_or(usize::MAX);
            let last = usize::try_from(*last).unwrap_or(usize::MAX).min(self.uids.len());
            for uid in self.uids.get(first..last).unwrap_or_default() {
                set.insert(*uid);
            }
        }
        set
    }

    /// Returns the ranges of sequence numbers of the messages that ranges of UIDs name.
    pub(crate) fn seqs_of(&self, uids: &UidSet) -> Vec<(u32, u32)> {
        let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let ranges = uids.ranges().iter().filter_map(|(first, last)| {
            let first = number(self.uids.partition_point(|uid| uid.get() < *first));
            let behind = number(self.uids.partition_point(|uid| uid.get() <= *last));
            (first < behind).then_some((first + 1, behind))
        });
        ranges.collect()
    }

    /// Takes note of what became different.
    pub(crate) fn note(&mut self, changes: &Changes) {
        self.expunged |= !changes.expunged.is_empty();
        self.changed = self.changed.union(&changes.flags);
    }

    /// Has flags of messages told, whether or not they changed.
    pub(crate) fn tell_flags(&mut self, uids: &UidSet) {
        self.changed = self.changed.union(uids);
    }

    /// Has flags of messages not told.
    pub(crate) fn keep_flags(&mut self, uids: &UidSet) {
        self.changed = self.changed.without(uids);
    }

    /// Takes the set of messages whose flags are to be told.
    pub(crate) fn take_changed(&mut self) -> UidSet {
        std::mem::take(&mut self.changed)
    }

    /// Tells whether there are messages in the view that the mailbox has no longer.
    pub(crate) fn has_expunged(&self) -> bool {
        self.expunged
    }

    /// Forgets the messages that are gone, and returns the numbers to be told, in this order: each is the number
    /// that the message has when those before it are gone already.
    pub(crate) fn expunge(&mut self, snapshot: &Snapshot) -> Vec<u32> {
        self.expunged = false;
        let mut numbers = Vec::new();
        let mut kept = 0u32;
        let mut hint = 0;
        self.uids.retain(|uid| match snapshot.position(*uid, hint) {
            Some(position) => {
                hint = position + 1;
                kept += 1;
                true
            }
            None => {
                numbers.push(kept + 1);
                false
            }
        });
        let uids = &self.uids;
        self.own.retain(|uid, _| uids.binary_search(uid).is_ok());
        numbers
    }

    /// Takes in the messages that are new, which have the largest UIDs.
    pub(crate) fn arrive(&mut self, snapshot: &Snapshot) {
        let known = self.uids.last().map_or(0, |uid| uid.get());
        let first = snapshot.messages.partition_point(|message| message.uid().get() <= known);
        self.uids.extend(snapshot.messages[first..].iter().map(MessageInfo::uid));
    }

    /// Returns a message as this session sees it. `hint` is where in the snapshot it probably is, and is set to where the
    /// next one probably is.
    pub(crate) fn message(&self, snapshot: &Snapshot, uid: Uid, hint: &mut usize) -> Option<MessageInfo> {
        let position = snapshot.position(uid, *hint)?;
        *hint = position + 1;
        let mut message = snapshot.messages[position];
        if let Some(flags) = self.own.get(&uid) {
            message.set_flags(*flags);
        }
        Some(message)
    }

    /// Sets flags of a message for this session alone.
    pub(crate) fn set_own(&mut self, uid: Uid, flags: Flags) {
        self.own.insert(uid, flags);
    }

    /// Returns how many of the messages that the client knows are recent.
    pub(crate) fn recent(&self, snapshot: &Snapshot) -> u32 {
        // The snapshot may have messages of which the client was not told yet.
        let known = self.uids.last().map_or(0, |uid| uid.get());
        let counted = snapshot.messages.iter().take_while(|message| message.uid().get() <= known);
        u32::try_from(counted.filter(|message| message.is_recent()).count()).unwrap_or(u32::MAX)
    }
}
