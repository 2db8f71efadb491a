//! What one session's client has been told of its mailbox.
//!
//! A driver's [`Snapshot`] runs ahead of the client, who knows of a message only after EXISTS, and of its expunge only
//! after EXPUNGE, which must not be sent during FETCH, STORE and SEARCH (RFC 3501 §5.5, §7.4.1). A [`View`] holds the
//! sequence numbers as the client counts them, four octets a message, and what there is to announce.

use crate::{Access, Changes, PermanentFlags, Snapshot};
use ailurus_types::{SeqNum, SequenceSet, SetBound, SystemFlags, Uid, UidSet, UidValidity};

/// The mailbox as the client of one session knows it.
#[derive(Clone, Debug)]
pub struct View {
    /// The UIDs by sequence number, ascending, expunged ones that were not announced included.
    uids: Vec<Uid>,
    /// Which of them are \Recent for this session.
    recent: UidSet,
    /// Messages that are gone, announced or not.
    expunged: UidSet,
    /// Messages whose flags are to be announced.
    flags: UidSet,
    /// Messages may have arrived.
    arrived: bool,
    /// The UIDs of new messages start anew; they cannot be told from the old ones until those are announced as
    /// expunged.
    uids_restarted: bool,
    /// What was announced last.
    told: Told,
}

/// What the client was told; `None` and `false` where nothing yet.
#[derive(Clone, Debug, Default)]
struct Told {
    exists: Option<u32>,
    recent: Option<u32>,
    uid_validity: Option<UidValidity>,
    flags: Option<(usize, PermanentFlags)>,
    writable: bool,
}

/// Whether EXPUNGE may be sent now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expunges {
    /// It may.
    Announce,
    /// Not during this command.
    Hold,
}

/// One untagged response that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Announcement {
    /// `* n EXPUNGE`. The numbers are those that hold when all announcements before this one were applied.
    Expunge(SeqNum),
    /// `* n EXISTS`
    Exists(u32),
    /// `* n RECENT`
    Recent(u32),
    /// `* OK [UIDVALIDITY n]`
    UidValidity(UidValidity),
    /// `* OK [UIDNEXT n]`
    UidNext(Uid),
    /// `* NO [UIDNOTSTICKY]`
    UidNotSticky,
    /// `* FLAGS (…)` and `* OK [PERMANENTFLAGS (…)]`, as the snapshot has them.
    Flags,
    /// `* OK [UNSEEN n]`; once after SELECT.
    Unseen(SeqNum),
    /// `* OK [READ-ONLY]` or `[READ-WRITE]`: it is different now.
    Access(Access),
    /// `* n FETCH (FLAGS (…))`, as the snapshot has them.
    MessageFlags(SeqNum, Uid),
}

impl View {
    /// Returns the view of a client that has just selected the mailbox and was told nothing: the first
    /// announcements are those of SELECT.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut view = Self {
            uids: Vec::new(),
            recent: UidSet::new(),
            expunged: UidSet::new(),
            flags: UidSet::new(),
            arrived: false,
            uids_restarted: false,
            told: Told { writable: snapshot.writable, ..Told::default() },
        };
        view.add_arrivals(snapshot, 0);
        view
    }

    /// Returns how many messages there are for the client.
    #[must_use]
    pub fn exists(&self) -> u32 {
        count(self.uids.len() as u64)
    }

    /// Returns how many of them are \Recent.
    #[must_use]
    pub fn recent(&self) -> u32 {
        count(self.recent.count())
    }

    /// Tells whether a message is \Recent in this session.
    #[must_use]
    pub fn is_recent(&self, uid: Uid) -> bool {
        self.recent.contains(uid)
    }

    /// Returns the largest UID that the client can know: what `*` means in a set of UIDs.
    #[must_use]
    pub fn largest_uid(&self) -> Option<Uid> {
        self.uids.last().copied()
    }

    /// Returns the UID of a message by its number, also of one that is gone and not yet announced as expunged:
    /// see [`View::is_expunged`]. `None` when the number is beyond [`View::exists`].
    #[must_use]
    pub fn uid(&self, seq: SeqNum) -> Option<Uid> {
        self.uids.get(seq.index()).copied()
    }

    /// Returns the number of a message that the client knows, also of one that is gone and not yet announced as
    /// expunged.
    #[must_use]
    pub fn seq(&self, uid: Uid) -> Option<SeqNum> {
        self.uids.binary_search(&uid).ok().and_then(SeqNum::from_index)
    }

    /// Tells whether a message that the client still counts is gone. The snapshot may have another message under
    /// the same UID if the UID validity value changed, so ask this first.
    #[must_use]
    pub fn is_expunged(&self, uid: Uid) -> bool {
        self.expunged.contains(uid)
    }

    /// Returns the messages that a set of sequence numbers names ([`SequenceSet::seqs`]), ascending; those that are
    /// gone too.
    pub fn messages<'v>(&'v self, seqs: &'v [(u32, u32)]) -> impl Iterator<Item = (SeqNum, Uid)> + 'v {
        seqs.iter().flat_map(|(first, last)| self.span(index(*first).saturating_sub(1), index(*last)))
    }

    /// Returns the messages that a set of UIDs names, ascending; not those that are gone.
    pub fn messages_by_uid<'v>(&'v self, uids: &'v UidSet) -> impl Iterator<Item = (SeqNum, Uid)> + 'v {
        uids.ranges()
            .iter()
            .flat_map(|(first, last)| {
                let start = self.uids.partition_point(|uid| uid.get() < *first);
                let end = self.uids.partition_point(|uid| uid.get() <= *last);
                self.span(start, end)
            })
            .filter(|(_, uid)| self.expunged.is_empty() || !self.expunged.contains(*uid))
    }

    /// Returns the messages from one position up to another.
    fn span(&self, start: usize, end: usize) -> impl Iterator<Item = (SeqNum, Uid)> + '_ {
        let end = end.min(self.uids.len());
        let start = start.min(end);
        let messages = self.uids[start..end].iter().enumerate();
        messages.filter_map(move |(offset, uid)| Some((SeqNum::from_index(start + offset)?, *uid)))
    }

    /// Takes note of changes of the mailbox; nothing is announced yet.
    pub fn note(&mut self, changes: &Changes) {
        if changes.is_empty() {
            return;
        }
        self.arrived |= changes.arrived || changes.uid_validity;
        if !changes.expunged.is_empty() {
            self.expunged = union(&self.expunged, &changes.expunged);
            self.uids_restarted |= changes.uid_validity;
        }
        if !changes.flags.is_empty() {
            self.flags = union(&self.flags, &changes.flags);
        }
    }

    /// Makes the flags of these messages due for an announcement, changed or not: STORE without `.SILENT`.
    pub fn tell_flags(&mut self, uids: &UidSet) {
        self.flags = union(&self.flags, uids);
    }

    /// Takes note that the client knows the flags of these messages from elsewhere: FETCH FLAGS, or its own STORE
    /// with `.SILENT` (RFC 3501 §6.4.6). To be called after [`View::note`].
    pub fn flags_told(&mut self, uids: &UidSet) {
        if !self.flags.is_empty() && !uids.is_empty() {
            self.flags.remove(uids);
        }
    }

    /// Tells whether expunges wait for their announcement.
    #[must_use]
    pub fn holds_expunges(&self) -> bool {
        !self.expunged.is_empty()
    }

    /// Returns what is to be announced now, in the reference's order (spec/imapd.md §6), and takes it as announced.
    /// `snapshot` is the mailbox after all changes that were noted.
    #[must_use]
    pub fn take_announcements(&mut self, snapshot: &Snapshot, expunges: Expunges) -> Vec<Announcement> {
        let mut due = Vec::new();
        match expunges {
            Expunges::Announce if self.arrived || !self.expunged.is_empty() => {
                self.announce_expunges(snapshot, &mut due);
            }
            Expunges::Hold if self.arrived && !self.uids_restarted => {
                let last = self.largest_uid();
                let known = snapshot.messages.partition_point(|message| Some(message.uid()) <= last);
                self.add_arrivals(snapshot, known);
                self.arrived = false;
            }
            Expunges::Announce | Expunges::Hold => {}
        }
        self.announce_counts(!due.is_empty(), &mut due);
        if !self.uids_restarted {
            self.announce_mailbox(snapshot, &mut due);
        }
        self.announce_flags(&mut due);
        due
    }

    /// Removes what is gone and adds what arrived, so that the client's messages are exactly the snapshot's.
    ///
    /// The snapshot decides: even if a driver told of its changes wrongly, numbers and messages agree afterwards.
    fn announce_expunges(&mut self, snapshot: &Snapshot, due: &mut Vec<Announcement>) {
        let known = self.uids.len();
        let last = known.checked_sub(1).and_then(|last| snapshot.messages.get(last));
        if self.expunged.is_empty() && last.map(|message| message.uid()) == self.largest_uid() {
            self.add_arrivals(snapshot, known);
            self.arrived = false;
            return;
        }
        let told = self.told.exists.map_or(0, index);
        let mut kept = 0;
        for position in 0..self.uids.len() {
            let uid = self.uids[position];
            let stays = snapshot.messages.get(kept).is_some_and(|message| message.uid() == uid)
                && !self.expunged.contains(uid);
            if stays {
                self.uids[kept] = uid;
                kept += 1;
            } else if position < told {
                // Every expunge moves the following messages down by one (RFC 3501 §7.4.1).
                due.extend(SeqNum::from_index(kept).map(Announcement::Expunge));
            }
        }
        if kept < self.uids.len() {
            self.uids.truncate(kept);
            let stay: UidSet = self.uids.iter().copied().collect();
            self.recent = difference(&self.recent, &difference(&self.recent, &stay));
        }
        self.expunged = UidSet::new();
        self.uids_restarted = false;
        self.add_arrivals(snapshot, kept);
        self.arrived = false;
    }

    fn add_arrivals(&mut self, snapshot: &Snapshot, from: usize) {
        let arrivals = snapshot.messages.get(from..).unwrap_or_default();
        self.uids.extend(arrivals.iter().map(|message| message.uid()));
        for message in arrivals.iter().filter(|message| message.is_recent()) {
            self.recent.insert(message.uid());
        }
    }

    fn announce_counts(&mut self, expunged: bool, due: &mut Vec<Announcement>) {
        let (exists, recent) = (Some(self.exists()), Some(self.recent()));
        if expunged || self.told.exists != exists {
            due.push(Announcement::Exists(self.exists()));
        }
        if expunged || self.told.recent != recent {
            due.push(Announcement::Recent(self.recent()));
        }
        (self.told.exists, self.told.recent) = (exists, recent);
    }

    fn announce_mailbox(&mut self, snapshot: &Snapshot, due: &mut Vec<Announcement>) {
        if self.told.uid_validity != Some(snapshot.uid_validity) {
            self.told.uid_validity = Some(snapshot.uid_validity);
            due.push(Announcement::UidValidity(snapshot.uid_validity));
            due.extend(snapshot.uid_next.map(Announcement::UidNext));
            due.extend((!snapshot.sticky_uids).then_some(Announcement::UidNotSticky));
        }
        if self.told.writable != snapshot.writable {
            self.told.writable = snapshot.writable;
            let access = if snapshot.writable { Access::ReadWrite } else { Access::ReadOnly };
            due.push(Announcement::Access(access));
        }
        let flags = Some((snapshot.keywords.len(), snapshot.permanent));
        if self.told.flags != flags {
            let first = self.told.flags.is_none();
            self.told.flags = flags;
            due.push(Announcement::Flags);
            due.extend(first.then(|| first_unseen(snapshot)).flatten().map(Announcement::Unseen));
        }
    }

    fn announce_flags(&mut self, due: &mut Vec<Announcement>) {
        if self.flags.is_empty() {
            return;
        }
        let flags = std::mem::take(&mut self.flags);
        due.extend(self.messages_by_uid(&flags).map(|(seq, uid)| Announcement::MessageFlags(seq, uid)));
    }
}

fn first_unseen(snapshot: &Snapshot) -> Option<SeqNum> {
    let unseen = |flags: SystemFlags| !flags.contains(SystemFlags::SEEN);
    let position = snapshot.messages.iter().position(|message| unseen(message.flags().system));
    position.and_then(SeqNum::from_index)
}

fn count(messages: u64) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn union(one: &UidSet, other: &UidSet) -> UidSet {
    from_ranges(one.ranges().iter().chain(other.ranges()).copied())
}

/// Returns what is in the first set alone.
fn difference(from: &UidSet, without: &UidSet) -> UidSet {
    let mut left = from.clone();
    left.remove(without);
    left
}

fn from_ranges(ranges: impl Iterator<Item = (u32, u32)>) -> UidSet {
    let bound = |number| SeqNum::new(number).map(SetBound::Number);
    let bounds = ranges.filter_map(|(first, last)| Some((bound(first)?, bound(last)?)));
    SequenceSet::new(bounds.collect()).uids(Some(Uid::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::{Driver, MessageInfo};
    use crate::{Location, Mailbox, Manner, Place};
    use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, MailboxName};
    use proptest::prelude::*;

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    fn seq(number: u32) -> SeqNum {
        SeqNum::new(number).unwrap()
    }

    fn uids(numbers: impl IntoIterator<Item = u32>) -> UidSet {
        numbers.into_iter().map(uid).collect()
    }

    fn inbox() -> MailboxName {
        MailboxName::inbox()
    }

    fn open(memory: &Memory) -> Box<dyn Mailbox> {
        let at = Location { name: inbox(), place: Place::Inbox };
        memory.open(&at, Access::ReadWrite, Manner::Session).unwrap()
    }

    fn with_messages(count: usize) -> (Memory, Box<dyn Mailbox>, View) {
        let memory = Memory::new();
        for _ in 0..count {
            memory.deliver(&inbox(), b"A: b\r\n\r\nc\r\n");
        }
        let mailbox = open(&memory);
        let mut view = View::new(mailbox.snapshot());
        drop(view.take_announcements(mailbox.snapshot(), Expunges::Announce));
        (memory, mailbox, view)
    }

    fn announcements(
        mailbox: &mut Box<dyn Mailbox>,
        view: &mut View,
        expunges: Expunges,
    ) -> Vec<Announcement> {
        view.note(&mailbox.refresh().unwrap());
        view.take_announcements(mailbox.snapshot(), expunges)
    }

    #[test]
    fn select_announces_all_in_the_order_of_the_reference() {
        let memory = Memory::new();
        for _ in 0..2 {
            memory.deliver(&inbox(), b"A: b\r\n\r\nc\r\n");
        }
        memory.set_flags(&inbox(), uid(1), Flags { system: SystemFlags::SEEN, ..Flags::default() });
        let mailbox = open(&memory);
        let mut view = View::new(mailbox.snapshot());
        let first = view.take_announcements(mailbox.snapshot(), Expunges::Hold);
        let expected = [
            Announcement::Exists(2),
            Announcement::Recent(2),
            Announcement::UidValidity(mailbox.snapshot().uid_validity),
            Announcement::UidNext(uid(3)),
            Announcement::Flags,
            Announcement::Unseen(seq(2)),
        ];
        assert_eq!(first, expected);
        assert_eq!(view.take_announcements(mailbox.snapshot(), Expunges::Announce), []);
    }

    #[test]
    fn an_empty_mailbox_is_announced_too() {
        let mailbox = open(&Memory::new());
        let first = View::new(mailbox.snapshot()).take_announcements(mailbox.snapshot(), Expunges::Hold);
        assert_eq!(first[..2], [Announcement::Exists(0), Announcement::Recent(0)]);
        assert!(!first.iter().any(|due| matches!(due, Announcement::Unseen(_))));
    }

    #[test]
    fn expunges_are_held_and_keep_their_numbers() {
        let (memory, mut mailbox, mut view) = with_messages(5);
        memory.expunge(&inbox(), &uids([2, 4]));
        memory.deliver(&inbox(), b"x\r\n");
        let held = announcements(&mut mailbox, &mut view, Expunges::Hold);
        assert_eq!(held, [Announcement::Exists(6), Announcement::Recent(6)]);
        assert_eq!(
            (view.uid(seq(2)), view.uid(seq(6)), view.uid(seq(7))),
            (Some(uid(2)), Some(uid(6)), None)
        );
        assert_eq!(view.seq(uid(5)), Some(seq(5)));
        assert!(view.is_expunged(uid(4)) && !view.is_expunged(uid(5)) && view.holds_expunges());
        let by_seq: Vec<_> = view.messages(&[(1, 2), (6, 6)]).collect();
        assert_eq!(by_seq, [(seq(1), uid(1)), (seq(2), uid(2)), (seq(6), uid(6))]);
        let by_uid: Vec<_> = view.messages_by_uid(&UidSet::all()).map(|(seq, _)| seq.get()).collect();
        assert_eq!(by_uid, [1, 3, 5, 6]);

        let told = announcements(&mut mailbox, &mut view, Expunges::Announce);
        let expected = [
            Announcement::Expunge(seq(2)),
            Announcement::Expunge(seq(3)),
            Announcement::Exists(4),
            Announcement::Recent(4),
        ];
        assert_eq!(told, expected);
        assert_eq!((view.seq(uid(5)), view.seq(uid(4))), (Some(seq(3)), None));
        assert!(!view.holds_expunges());
    }

    #[test]
    fn messages_that_went_before_the_client_heard_of_them_are_no_news() {
        let memory = Memory::new();
        memory.deliver(&inbox(), b"x\r\n");
        let mut mailbox = open(&memory);
        let mut view = View::new(mailbox.snapshot());
        memory.expunge(&inbox(), &uids([1]));
        let first = announcements(&mut mailbox, &mut view, Expunges::Announce);
        assert_eq!(first[..2], [Announcement::Exists(0), Announcement::Recent(0)]);
    }

    #[test]
    fn exists_follows_expunge_even_when_the_count_is_the_same() {
        let (memory, mut mailbox, mut view) = with_messages(2);
        memory.expunge(&inbox(), &uids([1]));
        memory.deliver(&inbox(), b"x\r\n");
        let told = announcements(&mut mailbox, &mut view, Expunges::Announce);
        let expected = [Announcement::Expunge(seq(1)), Announcement::Exists(2), Announcement::Recent(2)];
        assert_eq!(told, expected);
    }

    #[test]
    fn flags_of_others_are_told_and_own_silent_ones_are_not() {
        let (memory, mut mailbox, mut view) = with_messages(3);
        let seen = Flags { system: SystemFlags::SEEN, ..Flags::default() };
        memory.set_flags(&inbox(), uid(3), seen);
        let told = announcements(&mut mailbox, &mut view, Expunges::Hold);
        assert_eq!(told, [Announcement::MessageFlags(seq(3), uid(3))]);

        memory.set_flags(&inbox(), uid(2), seen);
        let change = FlagChange { op: FlagOp::Add, system: SystemFlags::FLAGGED, keywords: Vec::new() };
        let mut edit = mailbox.edit().unwrap();
        edit.store(&uids([1, 3]), &change).unwrap();
        view.note(&edit.commit().unwrap());
        view.flags_told(&uids([1, 3]));
        let told = view.take_announcements(mailbox.snapshot(), Expunges::Hold);
        assert_eq!(told, [Announcement::MessageFlags(seq(2), uid(2))]);

        view.tell_flags(&uids([1, 9]));
        let told = view.take_announcements(mailbox.snapshot(), Expunges::Hold);
        assert_eq!(told, [Announcement::MessageFlags(seq(1), uid(1))]);
    }

    #[test]
    fn new_keywords_are_told_before_the_flags_that_use_them() {
        let (memory, mut mailbox, mut view) = with_messages(1);
        let keywords = memory.add_keyword(&inbox(), &Keyword::new(b"Work").unwrap());
        memory.set_flags(&inbox(), uid(1), Flags { keywords, ..Flags::default() });
        let told = announcements(&mut mailbox, &mut view, Expunges::Hold);
        assert_eq!(told, [Announcement::Flags, Announcement::MessageFlags(seq(1), uid(1))]);
    }

    #[test]
    fn a_lost_lock_is_told() {
        let (memory, mut mailbox, mut view) = with_messages(1);
        memory.set_read_only(&inbox(), true);
        let told = announcements(&mut mailbox, &mut view, Expunges::Hold);
        assert_eq!(told, [Announcement::Access(Access::ReadOnly), Announcement::Flags]);
    }

    #[test]
    fn restarted_uids_are_not_mixed_with_old_ones() {
        let (memory, mut mailbox, mut view) = with_messages(3);
        memory.expunge(&inbox(), &uids([1]));
        memory.restart_uids(&inbox());
        memory.deliver(&inbox(), b"x\r\n");
        assert_eq!(announcements(&mut mailbox, &mut view, Expunges::Hold), []);
        assert!((1..=3).all(|number| view.is_expunged(uid(number))));
        assert_eq!(view.messages_by_uid(&UidSet::all()).count(), 0);

        let told = announcements(&mut mailbox, &mut view, Expunges::Announce);
        assert_eq!(
            told[..4],
            [
                Announcement::Expunge(seq(1)),
                Announcement::Expunge(seq(1)),
                Announcement::Expunge(seq(1)),
                Announcement::Exists(3),
            ]
        );
        assert!(told.contains(&Announcement::UidValidity(mailbox.snapshot().uid_validity)));
        assert_eq!(view.largest_uid(), Some(uid(3)));
        assert!(!view.is_expunged(uid(1)));
    }

    #[test]
    fn half_of_a_hundred_thousand_goes_in_one_pass() {
        let mailbox = open(&Memory::new());
        let mut snapshot = mailbox.snapshot().clone();
        let info = |number| MessageInfo::new(uid(number), Flags::default(), Default::default(), 1);
        snapshot.messages = (1..=100_000).map(info).collect();
        let mut view = View::new(&snapshot);
        drop(view.take_announcements(&snapshot, Expunges::Announce));
        snapshot.messages.retain(|message| message.uid().get() % 2 == 0);
        let start = std::time::Instant::now();
        view.note(&Changes { expunged: uids((1..100_000).step_by(2)), ..Changes::default() });
        let told = view.take_announcements(&snapshot, Expunges::Announce);
        assert_eq!(told.len(), 50_002);
        assert_eq!(told[49_999], Announcement::Expunge(seq(50_000)));
        // A quadratic way would move five thousand million UIDs.
        assert!(start.elapsed().as_secs() < 2);
    }

    #[test]
    fn numbers_agree_with_the_snapshot_even_if_a_driver_forgets_to_tell() {
        let (memory, mut mailbox, mut view) = with_messages(5);
        memory.expunge(&inbox(), &uids([2, 3]));
        memory.deliver(&inbox(), b"x\r\n");
        drop(mailbox.refresh().unwrap());
        view.note(&Changes { arrived: true, ..Changes::default() });
        drop(view.take_announcements(mailbox.snapshot(), Expunges::Announce));
        let known: Vec<_> = view.messages(&[(1, view.exists())]).map(|(_, uid)| uid).collect();
        let there: Vec<_> = mailbox.snapshot().messages.iter().map(MessageInfo::uid).collect();
        assert_eq!(known, there);
    }

    /// One thing that happens to the mailbox or in the session.
    #[derive(Clone, Debug)]
    enum Happening {
        Deliver,
        Expunge(Vec<prop::sample::Index>),
        OwnExpunge(prop::sample::Index),
        Flag(prop::sample::Index),
        Restart,
        Command(bool),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            3 => Just(Happening::Deliver),
            3 => prop::collection::vec(index(), 1..4).prop_map(Happening::Expunge),
            1 => index().prop_map(Happening::OwnExpunge),
            2 => index().prop_map(Happening::Flag),
            1 => Just(Happening::Restart),
            6 => any::<bool>().prop_map(Happening::Command),
        ]
    }

    /// A client that knows only what it is told, and learns UIDs of new messages by number.
    #[derive(Default)]
    struct Client {
        messages: Vec<Option<Uid>>,
    }

    impl Client {
        fn take(&mut self, announcements: &[Announcement], view: &View, may_expunge: bool) {
            for announcement in announcements {
                match announcement {
                    Announcement::Expunge(seq) => {
                        assert!(may_expunge);
                        self.messages.remove(seq.index());
                    }
                    Announcement::Exists(exists) => {
                        assert!(self.messages.len() <= index(*exists), "EXISTS never shrinks");
                        self.messages.resize(index(*exists), None);
                    }
                    Announcement::MessageFlags(seq, uid) => {
                        assert!(self.messages[seq.index()].is_none_or(|known| known == *uid));
                    }
                    _ => {}
                }
            }
            for (position, known) in self.messages.iter_mut().enumerate() {
                let uid = view.uid(SeqNum::from_index(position).unwrap()).unwrap();
                assert_eq!(*known.get_or_insert(uid), uid, "a number has changed its message");
            }
            assert_eq!(self.messages.len(), index(view.exists()));
        }
    }

    proptest! {
        #[test]
        fn a_client_ends_with_the_messages_that_are_there(
            happenings in prop::collection::vec(happening(), 0..60)
        ) {
            let memory = Memory::new();
            memory.deliver(&inbox(), b"x\r\n");
            let mut mailbox = open(&memory);
            let mut view = View::new(mailbox.snapshot());
            let mut client = Client::default();
            for happening in happenings {
                let there: Vec<_> = memory.messages(&inbox()).iter().map(|(info, _)| info.uid()).collect();
                let some = |index: &prop::sample::Index| (!there.is_empty()).then(|| there[index.index(there.len())]);
                match &happening {
                    Happening::Deliver => drop(memory.deliver(&inbox(), b"x\r\n")),
                    Happening::Expunge(which) => memory.expunge(&inbox(), &which.iter().filter_map(some).collect()),
                    Happening::OwnExpunge(which) => {
                        let mut edit = mailbox.edit().unwrap();
                        edit.expunge(&some(which).into_iter().collect()).unwrap();
                        view.note(&edit.commit().unwrap());
                    }
                    Happening::Flag(which) => if let Some(uid) = some(which) {
                        let flags = Flags { system: SystemFlags::DRAFT, ..Flags::default() };
                        memory.set_flags(&inbox(), uid, flags);
                    },
                    Happening::Restart => memory.restart_uids(&inbox()),
                    Happening::Command(may_expunge) => {
                        let expunges = if *may_expunge { Expunges::Announce } else { Expunges::Hold };
                        let told = announcements(&mut mailbox, &mut view, expunges);
                        client.take(&told, &view, *may_expunge);
                    }
                }
            }
            let told = announcements(&mut mailbox, &mut view, Expunges::Announce);
            client.take(&told, &view, true);
            let there: Vec<_> = mailbox.snapshot().messages.iter().map(|message| Some(message.uid())).collect();
            prop_assert_eq!(client.messages, there);
            let recent = mailbox.snapshot().messages.iter().filter(|message| message.is_recent()).count();
            prop_assert_eq!(index(view.recent()), recent);
        }

        #[test]
        fn sets_are_subtracted(from in prop::collection::vec(1..60u32, 0..40),
                               without in prop::collection::vec(1..60u32, 0..40)) {
            let left = difference(&uids(from.iter().copied()), &uids(without.iter().copied()));
            let expected = uids(from.into_iter().filter(|number| !without.contains(number)));
            prop_assert_eq!(left, expected);
        }
    }
}
