//! How messages get their UIDs as the file is walked.

/// The state of the walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uids {
    /// The UID of the message before.
    pub(super) previous: u32,
    /// UIDLAST, as it will be in the header.
    pub(super) last: u32,
    /// A UID was impossible: all that follow are assigned anew under a new UID validity.
    pub(super) rebuilt: bool,
}

/// What came of one message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Settled {
    pub(super) uid: u32,
    /// The UID is not the one in the file.
    pub(super) assigned: bool,
    /// UIDLAST had to be raised to it: its appender died before it was done.
    pub(super) adopted: bool,
    /// The UID in the file is impossible, and is the first such.
    pub(super) invalid: bool,
}

impl Uids {
    pub(super) fn new(last: u32) -> Self {
        Self { previous: 0, last, rebuilt: false }
    }

    /// Settles the next message's UID, which is 0 in the file where none is assigned; `None` when UIDs are used up.
    ///
    /// A UID that is one above UIDLAST is taken as it is, for an appender writes UIDLAST with or after the message:
    /// the outcome is what assigning would give. Where the reference would rebuild, this keeps the UID validity.
    pub(super) fn settle(&mut self, uid: u32) -> Option<Settled> {
        let mut settled = Settled { uid, ..Settled::default() };
        let follows = uid > self.previous;
        let exhausted = uid == 0 && self.last == u32::MAX;
        if uid != 0 && follows && self.last.checked_add(1) == Some(uid) {
            settled.adopted = true;
            self.last = uid;
        } else if exhausted || uid != 0 && (!follows || uid > self.last) {
            settled.invalid = !self.rebuilt;
            self.rebuilt = true;
            self.last = self.previous;
            settled.uid = 0;
        }
        if settled.uid == 0 {
            self.last = self.last.checked_add(1)?;
            settled.uid = self.last;
            settled.assigned = true;
        }
        self.previous = settled.uid;
        Some(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(last: u32, uids: &[u32]) -> (Vec<u32>, Uids) {
        let mut state = Uids::new(last);
        (uids.iter().map(|uid| state.settle(*uid).unwrap().uid).collect(), state)
    }

    #[test]
    fn impossible_uids_are_assigned_anew_from_there_on() {
        let (uids, state) = walk(9, &[5, 3, 9]);
        assert_eq!(uids, [5, 6, 7]);
        assert!(state.rebuilt && state.last == 7);
        let (uids, state) = walk(5, &[5, 12]);
        assert_eq!(uids, [5, 6]);
        assert!(state.rebuilt);
    }

    #[test]
    fn a_message_whose_appender_died_keeps_its_uid() {
        let (uids, state) = walk(5, &[5, 6, 7, 0]);
        assert_eq!(uids, [5, 6, 7, 8]);
        assert!(!state.rebuilt && state.last == 8);
    }

    #[test]
    fn used_up_uids_start_over_while_there_is_room() {
        let (uids, state) = walk(u32::MAX, &[7, 0]);
        assert_eq!(uids, [7, 8]);
        assert!(state.rebuilt);
        let mut state = Uids::new(u32::MAX);
        assert!(state.settle(u32::MAX).is_some_and(|settled| !settled.assigned));
        assert_eq!(state.settle(0), None);
    }
}
