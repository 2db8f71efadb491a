//! Which message of the file is which of the sidecar.
//!
//! Other programs take messages out, whereupon the ones behind slide down, and add new ones at the end. So the messages
//! that are left come in the order of the sidecar, and each is the next one there with the same key. The first that is
//! not found is new, and so are all behind it, whatever they are: UIDs ascend.

use crate::sidecar::{Event, Reader, Record, Records};
use ailurus_types::{KeywordMask, Uid, UidSet};

/// Octets that tell a message from others: its key.
pub(super) const IDENTITY: usize = 8;

/// What the sidecar knows, to be met with what is in the file.
#[derive(Debug, Default)]
pub(super) struct Aligner {
    records: Vec<Record<IDENTITY>>,
    next: usize,
    /// Everything from here on is new.
    past: bool,
    gone: UidSet,
}

impl Aligner {
    pub(super) fn new(records: Vec<Record<IDENTITY>>) -> Self {
        Self { records, ..Self::default() }
    }

    /// Returns what the sidecar knows of the next message; `None` for a new one.
    pub(super) fn meet(&mut self, key: u64) -> Option<Record<IDENTITY>> {
        if self.past {
            return None;
        }
        let rest = &self.records[self.next..];
        let found = rest.iter().position(|record| record.identity == key.to_le_bytes());
        let skipped = found.unwrap_or(rest.len());
        for record in &rest[..skipped] {
            self.gone.insert(record.uid);
        }
        self.past = found.is_none();
        let record = rest.get(skipped).copied();
        self.next += skipped + usize::from(found.is_some());
        record
    }

    /// Forgets messages that never came: they are not to be met.
    pub(super) fn drop_uids(&mut self, (first, last): (u32, u32)) {
        let start = self.next + self.records[self.next..].partition_point(|record| record.uid.get() < first);
        let end = self.next + self.records[self.next..].partition_point(|record| record.uid.get() <= last);
        for record in self.records.drain(start..end.max(start)) {
            self.gone.insert(record.uid);
        }
    }

    /// Returns the messages of the sidecar that are in the file no more, once all of the file was met.
    pub(super) fn finish(mut self) -> UidSet {
        for record in &self.records[self.next..] {
            self.gone.insert(record.uid);
        }
        self.gone
    }
}

/// What a session learns when it reads the sidecar.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The largest UID that the session knows.
    known: u32,
    /// All is told anew.
    pub(super) anew: bool,
    /// Messages that it does not know; all messages if all is told anew.
    records: Records<IDENTITY>,
    /// Other keywords of messages that it knows.
    pub(super) flags: Vec<(Uid, KeywordMask)>,
}

impl News {
    pub(super) fn new(known: Option<Uid>) -> Self {
        Self { known: known.map_or(0, Uid::get), ..Self::default() }
    }

    pub(super) fn take_records(&mut self) -> Vec<Record<IDENTITY>> {
        std::mem::take(self.records.finish())
    }
}

impl Reader<IDENTITY> for News {
    fn start(&mut self) {
        self.anew = true;
        self.flags.clear();
        self.records.start();
    }

    fn event(&mut self, event: Event<IDENTITY>) {
        match event {
            Event::Flags { uid, flags } if !self.anew && uid.get() <= self.known => {
                self.flags.push((uid, flags.keywords));
            }
            // Nobody takes out a message that an open session knows.
            Event::Gone { uid } if !self.anew && uid.get() <= self.known => {}
            event => self.records.event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ailurus_types::Flags;

    /// Aligns messages of these keys with records 1, 2, … of those keys.
    fn align(records: &[u64], file: &[u64]) -> (Vec<Option<u32>>, UidSet) {
        let records = records.iter().zip(1..).map(|(key, uid)| {
            let uid = Uid::new(uid).unwrap();
            Record { uid, flags: Flags::default(), identity: key.to_le_bytes() }
        });
        let mut aligner = Aligner::new(records.collect());
        let met = file.iter().map(|key| aligner.meet(*key).map(|record| record.uid.get())).collect();
        (met, aligner.finish())
    }

    fn uids(uids: &[u32]) -> UidSet {
        uids.iter().filter_map(|uid| Uid::new(*uid)).collect()
    }

    #[test]
    fn what_is_left_is_found_in_its_order() {
        let some = |uids: &[u32]| uids.iter().map(|uid| (*uid != 0).then_some(*uid)).collect::<Vec<_>>();
        for (records, file, met, gone) in [
            (&[7, 8, 9][..], &[7, 8, 9][..], &[1, 2, 3][..], &[][..]),
            (&[7, 8, 9], &[7, 8, 9, 5], &[1, 2, 3, 0], &[]),
            (&[7, 8, 9], &[8], &[2], &[1, 3]),
            (&[7, 8, 9], &[9, 7], &[3, 0], &[1, 2]),
            (&[7, 8, 9], &[], &[], &[1, 2, 3]),
            (&[7, 7, 7], &[7, 7], &[1, 2], &[3]),
            // One that is not there makes all behind it new.
            (&[7, 8, 9], &[7, 5, 9], &[1, 0, 0], &[2, 3]),
            (&[], &[7, 8], &[0, 0], &[]),
        ] {
            assert_eq!(align(records, file), (some(met), uids(gone)), "{records:?} {file:?}");
        }
    }

    #[test]
    fn what_never_came_is_not_met() {
        let record = |(key, uid): (u64, u32)| {
            let uid = Uid::new(uid).unwrap();
            Record { uid, flags: Flags::default(), identity: key.to_le_bytes() }
        };
        let mut aligner = Aligner::new([(7, 1), (8, 2), (8, 3), (8, 5)].map(record).into());
        assert_eq!(aligner.meet(7).map(|record| record.uid.get()), Some(1));
        aligner.drop_uids((2, 3));
        aligner.drop_uids((9, 4));
        assert_eq!(aligner.meet(8).map(|record| record.uid.get()), Some(5));
        assert_eq!(aligner.finish(), uids(&[2, 3]));
    }
}
