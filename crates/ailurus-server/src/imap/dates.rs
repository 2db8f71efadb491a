//! Sent dates of messages, noted by the first SORT that reads them and found by the next.
//!
//! What is noted is looked up, and noted, for many messages at once: looking whether the mailbox is still what it was costs as
//! much as everything else.

use crate::imap::select::Selected;
use ailurus_store::{MessageInfo, NoteKind};
use ailurus_types::SeqNum;

/// The sent date as eight octets, or no octets if there is none. The number is to be changed with whatever changes which date
/// a header has.
const SENT_DATE: NoteKind = NoteKind(0x0101);

/// So many messages are looked up at once.
const MANY: u32 = 256;

/// The sent dates of some messages in a row.
#[derive(Default)]
pub(crate) struct Dates {
    /// The number of the first of them, and of the first that is none of them.
    from: u32,
    end: u32,
    /// What was noted of each: a date, or that there is none.
    noted: Vec<Option<Option<i64>>>,
    /// What is to be noted.
    new: Vec<(MessageInfo, Vec<u8>)>,
}

impl Dates {
    /// Looks up messages from this number on, up to the last, unless that is done; notes what was learnt of those before.
    pub(crate) fn turn_to(&mut self, seq: u32, last: u32, selected: &mut Selected) {
        if (self.from..self.end).contains(&seq) {
            return;
        }
        self.write(selected);
        (self.from, self.end) = (seq, last.min(seq.saturating_add(MANY - 1)).saturating_add(1));
        self.noted.clear();
        self.noted.resize(usize::try_from(self.end - self.from).unwrap_or(0), None);
        let (mut messages, mut positions, mut hint) = (Vec::new(), Vec::new(), 0);
        for (position, seq) in (self.from..self.end).enumerate() {
            let uid = SeqNum::new(seq).and_then(|seq| selected.view.uid(seq));
            if let Some(info) = uid.and_then(|uid| selected.message(uid, &mut hint)) {
                messages.push(info);
                positions.push(position);
            }
        }
        let Some(mut notes) = selected.mailbox.notes() else { return };
        let noted = &mut self.noted;
        let holds = notes.get_all(&messages, SENT_DATE, &mut |found, octets| {
            let slot = positions.get(found).and_then(|position| noted.get_mut(*position));
            if let (Some(slot), Some(date)) = (slot, decode(octets)) {
                *slot = Some(date);
            }
        });
        if !holds {
            self.noted.fill(None);
        }
    }

    /// Returns the sent date of a message, which may be none, if it was noted.
    pub(crate) fn noted(&self, seq: SeqNum) -> Option<Option<i64>> {
        let position = usize::try_from(seq.get().checked_sub(self.from)?).ok()?;
        self.noted.get(position).copied().flatten()
    }

    /// Takes the sent date of a message that was read.
    pub(crate) fn learn(&mut self, info: &MessageInfo, date: Option<i64>) {
        let octets = date.map_or_else(Vec::new, |date| date.to_le_bytes().to_vec());
        self.new.push((*info, octets));
    }

    /// Notes what was learnt.
    pub(crate) fn write(&mut self, selected: &mut Selected) {
        if let Some(mut notes) = selected.mailbox.notes().filter(|_| !self.new.is_empty()) {
            notes.put_all(&self.new, SENT_DATE);
        }
        self.new.clear();
    }
}

fn decode(octets: &[u8]) -> Option<Option<i64>> {
    match octets {
        [] => Some(None),
        octets => Some(Some(i64::from_le_bytes(octets.try_into().ok()?))),
    }
}
