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

    /// Takes note of changes that this session's own STORE made, some of them with `.SILENT`: the flags of those
    /// messages are not announced (RFC 3501 §6.4.6), also not what was due before, since the client knows them now.
    pub fn note_silent(&mut self, changes: &Changes, stored: &UidSet) {
        self.note(changes);
        self.flags_told(stored);
    }

    /// Makes the flags of these messages due for an announcement, changed or not: STORE without `.SILENT`.
    pub fn tell_flags(&mut self, uids: &UidSet) {
        self.flags = union(&self.flags, uids);
    }

    /// Takes note that the client was told the flags of these messages in another way (FETCH FLAGS).
    pub fn flags_told(&mut self, uids: &UidSet) {
        if !self.flags.is_empty() && !uids.is_empty() {
            self.flags = difference(&self.flags, uids);
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
        let mut kept = 0;
        for position in 0..self.uids.len() {
            let uid = self.uids[position];
            let stays = snapshot.messages.get(kept).is_some_and(|message| message.uid() == uid)
                && !self.expunged.contains(uid);
            if stays {
                self.uids[kept] = uid;
                kept += 1;
            } else {
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
    let mut left = Vec::new();
    let mut holes = without.ranges().iter().peekable();
    for (mut first, last) in from.ranges().iter().copied() {
        while holes.next_if(|hole| hole.1 < first).is_some() {}
        let mut rest = true;
        while let Some(hole) = holes.peek().filter(|hole| hole.0 <= last) {
            if hole.0 > first {
                left.push((first, hole.0 - 1));
            }
            if hole.1 >= last {
                rest = false;
                break;
            }
            first = hole.1 + 1;
            holes.next();
        }
        if rest {
            left.push((first, last));
        }
    }
    from_ranges(left.into_iter())
}

fn from_ranges(ranges: impl Iterator<Item = (u32, u32)>) -> UidSet {
    let bound = |number| SeqNum::new(number).map(SetBound::Number);
    let bounds = ranges.filter_map(|(first, last)| Some((bound(first)?, bound(last)?)));
    SequenceSet::new(bounds.collect()).uids(Some(Uid::MAX))
}
