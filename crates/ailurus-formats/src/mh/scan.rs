//! Reading a folder: which files are which messages.
//!
//! A file is known by its number, inode, size and times. If only the number and the change time are others (`folder -pack`,
//! `sortm`), or only the inode and its change time (restored from an archive), it is read: the same content makes it the
//! same message. Anything else is a new one.

use super::mailbox::{Keeping, MhMailbox};
use super::profile;
use super::table::{N, Table};
use crate::numbered::{FileId, Filed, Look, Measure, Names, Stamp, tidy};
use crate::sidecar::{Event, State};
use ailurus_store::{Error, Level, Result};
use ailurus_types::{Flags, SystemFlags, Uid};
use std::collections::HashMap;
use std::io;

/// Whether known messages keep their UIDs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Numbering {
    Known,
    /// All get new ones, under a new UIDVALIDITY.
    Anew,
}

/// What a scan found that the sidecar does not know.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Messages that have another number or inode now, and new ones.
    told: Vec<Uid>,
    gone: Vec<Uid>,
    /// All is different.
    pub(super) anew: bool,
}

impl Work {
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.gone.is_empty() && !self.anew
    }

    /// What only removes messages that had these UIDs.
    pub(super) fn removing(gone: Vec<Uid>) -> Self {
        Self { gone, ..Self::default() }
    }

    /// Adds what an earlier scan found and could not write down.
    pub(super) fn add(&mut self, earlier: Self) {
        self.told.extend(earlier.told);
        self.gone.extend(earlier.gone);
        self.anew |= earlier.anew;
    }

    pub(super) fn events<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Event<N>> + 'a {
        let gone = self.gone.iter().map(|uid| Event::Gone { uid: *uid });
        let told = self.told.iter().filter_map(|uid| table.snapshot.position(*uid, usize::MAX));
        gone.chain(told.map(|index| table.event(index)))
    }
}

/// Which messages of the table were found, and which files are none of those.
struct Matching {
    found: Vec<bool>,
    others: Vec<(u32, Look)>,
}

/// A file that is no known message.
struct New {
    filed: Filed,
    flags: Flags,
}

/// So many files that are being written are waited for one by one; with more, the folder is read again.
const MOST_FRESH: usize = 1000;
/// In a folder that is new to us, numbers up to this one become UIDs, as the reference shows them.
const MOST_AS_UID: u32 = 1 << 28;

impl MhMailbox {
    /// Reads the folder. Known messages that are gone leave the table, new ones get UIDs.
    pub(super) fn scan(&mut self, state: &mut State, numbering: Numbering) -> Result<Work> {
        let (stamp, names) = self.read_names()?;
        self.fresh.clear();
        let mut work = Work::default();
        let mut matching = self.match_numbers(&names.numbers)?;
        let new = self.match_content(&mut matching, &mut work);
        match numbering {
            Numbering::Known => self.add(state, &matching, new, &mut work),
            Numbering::Anew => self.number_anew(state, &matching, new, &mut work),
        }
        self.table.settle();
        self.must_scan = false;
        self.highest = names.highest();
        self.last_stamp = Some(stamp);
        self.stamp = Some(stamp).filter(|stamp| stamp.is_settled() && self.fresh.len() < MOST_FRESH);
        Ok(work)
    }

    fn log(&self, text: String) {
        self.environment.notices.tell(Level::Log, text);
    }

    /// Reads the names, after having put right what was left behind. The times are those from before.
    fn read_names(&mut self) -> Result<(Stamp, Names)> {
        let path = self.folder.path().to_path_buf();
        let read = || Names::read(&path).map_err(Error::io("read", &path));
        let stamp = self.folder.stamp().map_err(Error::io("look at", &path))?;
        let names = read()?;
        let may_tidy = self.table.snapshot.writable && self.keeping == Keeping::Sidecar;
        if names.leftovers.is_empty() || !may_tidy {
            return Ok((stamp, names));
        }
        if let Err(error) = tidy(&*self.disk, &path, &names.leftovers) {
            self.log(format!("what was left behind in {} stays: {error}", path.display()));
        }
        let stamp = self.folder.stamp().map_err(Error::io("look at", &path))?;
        Ok((stamp, read()?))
    }

    /// Finds the messages that still have their numbers.
    fn match_numbers(&mut self, numbers: &[u32]) -> Result<Matching> {
        let mut order: Vec<usize> = (0..self.table.len()).collect();
        let number_of = |table: &Table, index: usize| table.entries[index].number;
        if !order.is_sorted_by_key(|index| number_of(&self.table, *index)) {
            order.sort_unstable_by_key(|index| number_of(&self.table, *index));
        }
        let mut matching = Matching { found: vec![false; self.table.len()], others: Vec::new() };
        let mut known = order.into_iter().peekable();
        for number in numbers {
            while known.next_if(|index| number_of(&self.table, *index) < *number).is_some() {}
            let look = match self.look(*number) {
                Ok(Some(look)) => look,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::io("look at", self.folder.path())(error));
                }
                Err(error) => {
                    // A message that cannot be seen now is no reason to believe that it is gone.
                    self.log(format!("cannot look at {}: {error}", self.folder.file(*number).display()));
                    while let Some(index) = known.next_if(|index| number_of(&self.table, *index) == *number) {
                        matching.found[index] = true;
                    }
                    continue;
                }
            };
            let mut is_known = false;
            while let Some(index) = known.next_if(|index| number_of(&self.table, *index) == *number) {
                if !is_known && self.table.id(index) == look.id {
                    (is_known, matching.found[index]) = (true, true);
                }
            }
            if !is_known {
                matching.others.push((*number, look));
            }
        }
        Ok(matching)
    }

    /// Looks at a file; one that somebody is writing is remembered, and is no message as long as it has no octets.
    fn look(&mut self, number: u32) -> io::Result<Option<Look>> {
        let Some(look) = self.folder.look(number)? else { return Ok(None) };
        if look.id.is_fresh() {
            if self.fresh.len() < MOST_FRESH {
                self.fresh.push((number, look.id));
            }
            if look.id.size == 0 {
                return Ok(None);
            }
        }
        Ok(Some(look))
    }

    /// Reads the files that are not known as they are. Those with the content of a message that is missing are that message.
    fn match_content(&mut self, matching: &mut Matching, work: &mut Work) -> Vec<New> {
        let others = std::mem::take(&mut matching.others);
        if others.is_empty() {
            return Vec::new();
        }
        let missing = || (0..self.table.len()).filter(|index| !matching.found[*index]);
        let by_inode: HashMap<u64, usize> =
            missing().map(|index| (self.table.id(index).inode, index)).collect();
        let by_number: HashMap<u32, usize> =
            missing().map(|index| (self.table.entries[index].number, index)).collect();
        let unseen = profile::sequence(self.folder.path(), &self.unseen);
        let (mut rest, mut new) = (Vec::new(), Vec::new());
        for (number, look) in others {
            let Some(measure) = self.measure(number, &look) else { continue };
            let known = by_inode.get(&look.id.inode).copied();
            if !self.settle(matching, known, (number, &look.id, &measure), work) {
                rest.push((number, look, measure));
            }
        }
        // Only when all that were renamed are known: a copy must not take the place of one.
        for (number, look, measure) in rest {
            let known = by_number.get(&number).copied();
            if self.settle(matching, known, (number, &look.id, &measure), work) {
                continue;
            }
            let mut flags = Flags::default();
            // COMPAT(mh): what was read since it was written has been seen; nmh may know better.
            if look.was_read && !unseen.iter().any(|(first, last)| (*first..=*last).contains(&number)) {
                flags.system |= SystemFlags::SEEN;
            }
            new.push(New { filed: Filed::new(number, look.id, &measure), flags });
        }
        new
    }

    /// Tells whether a file is this message; then the message is found.
    fn settle(
        &mut self,
        matching: &mut Matching,
        known: Option<usize>,
        (number, id, measure): (u32, &FileId, &Measure),
        work: &mut Work,
    ) -> bool {
        let known = known.filter(|index| !matching.found[*index] && self.table.is_copy(*index, id, measure));
        let Some(index) = known else { return false };
        matching.found[index] = true;
        self.table.entries[index].number = number;
        self.table.set_id(index, id);
        work.told.push(self.table.uid(index));
        true
    }

    /// Reads a file to know its size. One that cannot be read, or is another by now, has to wait.
    fn measure(&mut self, number: u32, look: &Look) -> Option<Measure> {
        let opened = self.folder.open_quietly(number, &look.id);
        match opened.and_then(|file| file.as_ref().map(Measure::of).transpose()) {
            Ok(Some(measure)) => Some(measure),
            Ok(None) => {
                self.fresh.push((number, look.id));
                None
            }
            Err(error) => {
                self.log(format!("{} is not shown: {error}", self.folder.file(number).display()));
                None
            }
        }
    }

    fn add(&mut self, state: &mut State, matching: &Matching, new: Vec<New>, work: &mut Work) {
        let missing = || (0..matching.found.len()).filter(|index| !matching.found[*index]);
        work.gone.extend(missing().map(|index| self.table.uid(index)));
        self.table.mark_gone(missing());
        for New { filed, flags } in new {
            let Some(uid) = state.give_uid() else {
                self.log(format!("no UID is left in {}", self.folder.path().display()));
                break;
            };
            self.table.push(uid, flags, &filed);
            self.table.pending.arrived = true;
            work.told.push(uid);
        }
    }

    /// Gives all messages new UIDs in the order of their numbers.
    fn number_anew(&mut self, state: &mut State, matching: &Matching, mut new: Vec<New>, work: &mut Work) {
        let known = (0..matching.found.len()).filter(|index| matching.found[*index]);
        new.extend(known.map(|index| New { filed: self.table.filed(index), flags: self.table.flags(index) }));
        new.sort_unstable_by_key(|new| new.filed.number);
        let known = self.table.snapshot.largest_uid();
        let as_uids = known.is_none() && new.last().is_none_or(|last| last.filed.number <= MOST_AS_UID);
        // UIDs that a session knows of name nothing any more, so that it sees them all go.
        state.uid_next =
            known.map_or(Some(Uid::MIN), Uid::next).filter(|uid| uid.get() < u32::MAX / 2).or(Some(Uid::MIN));
        self.table.restart();
        for New { filed, flags } in new {
            if as_uids {
                state.uid_next = Uid::new(filed.number);
            }
            let Some(uid) = state.give_uid() else { break };
            self.table.push(uid, flags, &filed);
        }
        work.anew = true;
    }
}
