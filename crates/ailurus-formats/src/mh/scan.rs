//! Reading a folder: which files are which messages.
//!
//! A file is known by its number, inode, size and times. If only the number and the change time are others (`folder -pack`,
//! `sortm`), or only the inode and its change time (restored from an archive), it is read: the same content makes it the
//! same message. Anything else is a new one.

use super::mailbox::{Keeping, MhMailbox};
use super::profile;
use super::table::{N, Table};
use crate::numbered::{Filed, Look, Measure, Names, Ranges, Stamp, tidy};
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

    /// What only gives messages other numbers.
    pub(super) fn moving(told: Vec<Uid>) -> Self {
        Self { told, ..Self::default() }
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
    others: Vec<u32>,
}

/// A file that was read: its number, what it looks like, what is in it.
type Found = (u32, Look, Measure);

/// The messages that were not found under their numbers.
struct Missing {
    by_number: HashMap<u32, usize>,
    /// Hard links share an inode.
    by_inode: HashMap<u64, Vec<usize>>,
}

impl Missing {
    fn of(table: &Table, found: &[bool]) -> Self {
        let (mut by_number, mut by_inode) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for index in (0..table.len()).rev().filter(|index| !found[*index]) {
            by_number.insert(table.entries[index].number, index);
            by_inode.entry(table.inode(index)).or_default().push(index);
        }
        Self { by_number, by_inode }
    }

    fn may_be(&self, number: u32, inode: u64) -> bool {
        self.by_number.contains_key(&number) || self.by_inode.contains_key(&inode)
    }

    fn by_number(&self, number: u32) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    /// Returns the first of this inode that was not found meanwhile.
    fn by_inode(&mut self, inode: u64, found: &[bool]) -> Option<usize> {
        let known = self.by_inode.get_mut(&inode)?;
        while known.pop_if(|index| found[*index]).is_some() {}
        known.last().copied()
    }
}

/// A file that is no known message.
struct New {
    filed: Filed,
    flags: Flags,
}

impl New {
    fn of((number, look, measure): &Found, unseen: &Ranges) -> Self {
        let mut flags = Flags::default();
        // COMPAT(mh): what was read since it was written has been seen; nmh may know better.
        if look.was_read && !unseen.contains(*number) {
            flags.system |= SystemFlags::SEEN;
        }
        Self { filed: Filed::new(*number, look.id, measure), flags }
    }
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
        self.hides = false;
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
        // What a writer has there that still lives is settled by us if it dies, which no time of the directory shows.
        let is_tidy = names.leftovers.is_empty();
        let is_settled = stamp.is_settled() && is_tidy && self.fresh.len() < MOST_FRESH;
        self.stamp = is_settled.then_some(stamp);
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
                matching.others.push(*number);
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
        let mut missing = Missing::of(&self.table, &matching.found);
        let unseen = profile::sequence(self.folder.path(), &self.unseen);
        let (mut rest, mut new) = (Vec::new(), Vec::with_capacity(others.len()));
        for number in others {
            let Some((look, measure)) = self.measure(number) else {
                // What cannot be read now is no reason to believe that it is gone.
                let known = missing.by_number(number).filter(|index| self.looks_like(*index, number));
                known.into_iter().for_each(|index| matching.found[index] = true);
                continue;
            };
            let file = (number, look, measure);
            // First those of which nothing but the change time is another: hard links share all the rest.
            let known = missing.by_number(number).filter(|it| self.table.inode(*it) == look.id.inode);
            if self.settle(matching, known, &file, work) {
                continue;
            }
            if missing.may_be(number, look.id.inode) {
                rest.push(file);
            } else {
                new.push(New::of(&file, &unseen));
            }
        }
        rest.retain(|file| {
            let known = missing.by_inode(file.1.id.inode, &matching.found);
            !self.settle(matching, known, file, work)
        });
        // Only when all that were renamed are known: a copy must not take the place of one.
        rest.retain(|file| !self.settle(matching, missing.by_number(file.0), file, work));
        new.extend(rest.iter().map(|file| New::of(file, &unseen)));
        new.sort_unstable_by_key(|new| new.filed.number);
        new
    }

    /// Tells whether a file is this message; then the message is found.
    fn settle(
        &mut self,
        matching: &mut Matching,
        known: Option<usize>,
        (number, look, measure): &Found,
        work: &mut Work,
    ) -> bool {
        let is_it = |index: &usize| !matching.found[*index] && self.table.is_copy(*index, &look.id, measure);
        let Some(index) = known.filter(is_it) else { return false };
        matching.found[index] = true;
        self.table.entries[index].number = *number;
        self.table.set_id(index, &look.id);
        work.told.push(self.table.uid(index));
        true
    }

    /// Reads a file to know its size. One that cannot be read, or is another by now, has to wait.
    fn measure(&mut self, number: u32) -> Option<(Look, Measure)> {
        let read = |look: &Look| -> io::Result<Option<Measure>> {
            self.folder.open_quietly(number, &look.id)?.as_ref().map(Measure::of).transpose()
        };
        let looked = self.folder.look(number);
        match looked.and_then(|look| look.map(|look| Ok((look, read(&look)?))).transpose()) {
            Ok(Some((look, Some(measure)))) => return Some((look, measure)),
            Ok(Some((look, None))) => self.fresh.push((number, look.id)),
            Ok(None) => {}
            Err(error) => {
                self.hides = true;
                self.log(format!("{} is not shown: {error}", self.folder.file(number).display()));
            }
        }
        None
    }

    fn looks_like(&self, index: usize, number: u32) -> bool {
        matches!(self.folder.look(number), Ok(Some(look)) if look.id.is_like(&self.table.id(index)))
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
