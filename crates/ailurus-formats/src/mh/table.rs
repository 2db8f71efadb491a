//! The messages of an open folder.

use crate::numbered::{FileId, Filed, Measure, Stamp};
use crate::sidecar::{Event, Reader, Record};
use ailurus_store::{Changes, MessageInfo, Snapshot};
use ailurus_types::{Flags, InternalDate, SystemFlags, Uid};

/// Octets of an identity in the sidecar.
pub(super) const N: usize = Filed::LEN;

/// What is known of a message's file; with [`MessageInfo`] 64 octets of memory. The seconds of its modification time are
/// the message's internal date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    inode: u64,
    size: u32,
    nanoseconds: u32,
    changed: u32,
    pub(super) number: u32,
    /// Octets of the header in CRLF form.
    pub(super) header: u32,
    /// A checksum of the file.
    sum: u32,
}

impl Entry {
    fn of(filed: &Filed) -> Self {
        let FileId { inode, size, modified: (_, nanoseconds), changed } = filed.id;
        Self { inode, size, nanoseconds, changed, number: filed.number, header: filed.header, sum: filed.sum }
    }
}

/// The messages in ascending order of UID, with their files.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) snapshot: Snapshot,
    /// In the order of the snapshot's messages.
    pub(super) entries: Vec<Entry>,
    /// To be taken out by [`Table::settle`].
    gone: Vec<Uid>,
    /// What was there before the sidecar was read from its start.
    before: Option<Vec<MessageInfo>>,
    /// What the next refresh or commit has to tell.
    pub(super) pending: Changes,
}

impl Table {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let (entries, gone) = (Vec::new(), Vec::new());
        Self { snapshot, entries, gone, before: None, pending: Changes::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn uid(&self, index: usize) -> Uid {
        self.snapshot.messages[index].uid()
    }

    /// Returns the identity of a message's file.
    pub(super) fn id(&self, index: usize) -> FileId {
        let Entry { inode, size, nanoseconds, changed, .. } = self.entries[index];
        let seconds = self.snapshot.messages[index].internal_date().timestamp();
        FileId { inode, size, modified: (seconds, nanoseconds), changed }
    }

    /// Tells whether a file is the message's, whatever happened to its inode: size, date and content are as they were.
    pub(super) fn is_copy(&self, index: usize, id: &FileId, measure: &Measure) -> bool {
        let (mine, entry) = (self.id(index), self.entries[index]);
        mine.size == id.size && mine.modified.0 == id.modified.0 && entry.sum == measure.sum
    }

    pub(super) fn set_id(&mut self, index: usize, id: &FileId) {
        let entry = &mut self.entries[index];
        (entry.inode, entry.nanoseconds, entry.changed) = (id.inode, id.modified.1, id.changed);
    }

    pub(super) fn filed(&self, index: usize) -> Filed {
        let Entry { number, header, sum, .. } = self.entries[index];
        let size = self.snapshot.messages[index].rfc822_size();
        Filed { number, id: self.id(index), size, header, sum }
    }

    pub(super) fn flags(&self, index: usize) -> Flags {
        self.snapshot.messages[index].flags()
    }

    pub(super) fn push(&mut self, uid: Uid, flags: Flags, filed: &Filed) {
        let date = InternalDate::from_timestamp(filed.id.modified.0, 0);
        self.snapshot.messages.push(MessageInfo::new(uid, flags, date, filed.size.into()));
        self.entries.push(Entry::of(filed));
    }

    /// Returns all messages as the sidecar takes them.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<N>> {
        (0..self.len()).map(|index| {
            let identity = self.filed(index).encode();
            Record { uid: self.uid(index), flags: self.flags(index), identity }
        })
    }

    /// Returns what tells the sidecar of a message as it is now.
    pub(super) fn event(&self, index: usize) -> Event<N> {
        let identity = self.filed(index).encode();
        Event::Message { uid: self.uid(index), flags: self.flags(index), identity }
    }

    /// Lets the messages at these indices go when the table is settled.
    pub(super) fn mark_gone(&mut self, indices: impl Iterator<Item = usize>) {
        let uids = indices.map(|index| self.snapshot.messages[index].uid());
        self.gone.extend(uids);
    }

    /// Takes the messages from this UID on back.
    pub(super) fn truncate(&mut self, from: Option<Uid>) {
        let Some(from) = from else { return };
        let index = self.snapshot.messages.partition_point(|message| message.uid() < from);
        self.entries.truncate(index);
        self.snapshot.messages.truncate(index);
    }

    /// Forgets everything, to be filled anew.
    pub(super) fn restart(&mut self) {
        let messages = std::mem::take(&mut self.snapshot.messages);
        self.before.get_or_insert(messages);
        self.entries.clear();
        self.gone.clear();
    }

    /// Takes out what is gone, and finds out what is different.
    pub(super) fn settle(&mut self) {
        self.take_out();
        if let Some(before) = self.before.take() {
            self.compare(&before);
        }
    }

    fn take_out(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        self.gone.sort_unstable();
        let mut kept = 0;
        for index in 0..self.len() {
            let uid = self.uid(index);
            if self.gone.binary_search(&uid).is_ok() {
                self.pending.expunged.insert(uid);
                continue;
            }
            self.entries[kept] = self.entries[index];
            self.snapshot.messages[kept] = self.snapshot.messages[index];
            kept += 1;
        }
        self.entries.truncate(kept);
        self.snapshot.messages.truncate(kept);
        self.gone.clear();
    }

    fn compare(&mut self, before: &[MessageInfo]) {
        let last = before.last().map_or(0, |message| message.uid().get());
        let mut now = self.snapshot.messages.iter_mut().peekable();
        for old in before {
            while now.next_if(|message| message.uid() < old.uid()).is_some() {}
            let Some(message) = now.next_if(|message| message.uid() == old.uid()) else {
                self.pending.expunged.insert(old.uid());
                continue;
            };
            message.set_recent(old.is_recent());
            if message.flags() != old.flags() {
                self.pending.flags.insert(old.uid());
            }
        }
        self.pending.arrived |= self.snapshot.largest_uid().is_some_and(|uid| uid.get() > last);
    }
}

impl Reader<N> for Table {
    fn start(&mut self) {
        self.restart();
    }

    fn event(&mut self, event: Event<N>) {
        let messages = &self.snapshot.messages;
        let place = |uid: Uid| messages.binary_search_by_key(&uid, MessageInfo::uid);
        match event {
            Event::Message { uid, flags, identity } => {
                let filed = Filed::decode(&identity);
                match place(uid) {
                    Ok(index) => {
                        self.entries[index] = Entry::of(&filed);
                        self.set_flags(index, flags);
                    }
                    Err(index) if index == messages.len() => {
                        self.push(uid, flags, &filed);
                        self.pending.arrived |= self.before.is_none();
                    }
                    // Any other place would be that of a UID that was given before.
                    Err(_) => {}
                }
            }
            Event::Flags { uid, flags } => {
                if let Ok(index) = place(uid) {
                    self.set_flags(index, flags);
                }
            }
            Event::Gone { uid } => self.gone.push(uid),
        }
    }
}

impl Table {
    fn set_flags(&mut self, index: usize, flags: Flags) {
        let message = &mut self.snapshot.messages[index];
        if message.flags() != flags {
            message.set_flags(flags);
            if self.before.is_none() {
                self.pending.flags.insert(message.uid());
            }
        }
    }
}

/// What the sidecar keeps of the folder as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Note {
    /// The times that the directory had.
    pub(super) stamp: Stamp,
    /// Whether everything that was there then is in the sidecar; else only `highest` is good.
    pub(super) complete: bool,
    /// The highest number.
    pub(super) highest: u32,
    pub(super) messages: u32,
    pub(super) unseen: u32,
    pub(super) recent: u32,
}

impl Note {
    const VERSION: u8 = 1;
    const LEN: usize = 2 + Stamp::LEN + 16;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::VERSION, u8::from(self.complete)];
        out.extend_from_slice(&self.stamp.encode());
        for number in [self.highest, self.messages, self.unseen, self.recent] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        if octets.len() != Self::LEN || octets[0] != Self::VERSION {
            return None;
        }
        let (stamp, rest) = octets[2..].split_first_chunk::<{ Stamp::LEN }>()?;
        let number = |at: usize| u32::from_le_bytes(rest.as_chunks::<4>().0[at]);
        Some(Self {
            stamp: Stamp::decode(stamp),
            complete: octets[1] != 0,
            highest: number(0),
            messages: number(1),
            unseen: number(2),
            recent: number(3),
        })
    }

    /// Counts a message that arrives.
    pub(super) fn count(&mut self, flags: Flags) {
        self.messages = self.messages.saturating_add(1);
        self.recent = self.recent.saturating_add(1);
        if !flags.system.contains(SystemFlags::SEEN) {
            self.unseen = self.unseen.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_64_octets() {
        assert_eq!(size_of::<Entry>() + size_of::<MessageInfo>(), 64);
    }

    #[test]
    fn what_is_kept_comes_back() {
        let stamp = Stamp::decode(&[7; Stamp::LEN]);
        let note = Note { stamp, complete: true, highest: 9, messages: 4, unseen: 3, recent: 2 };
        assert_eq!(Note::decode(&note.encode()), Some(note));
        assert_eq!(Note::decode(b""), None);
    }
}
