//! Changes of flags and expunges.

use super::mailbox::MhMailbox;
use super::scan::Work;
use super::table::Table;
use crate::numbered::{Removed, changed, remove};
use crate::sidecar::{Event, Lock, State};
use ailurus_store::{Changes, Edit, Error, Level, Result, Snapshot};
use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, KeywordMask, Keywords, Uid, UidSet};
use std::io;

/// A change under way. What it changes in memory is put back if it is dropped.
pub(super) struct MhEdit<'m> {
    mailbox: &'m mut MhMailbox,
    /// The lock of the sidecar; `None` where nothing is kept.
    lock: Option<Lock>,
    state: State,
    /// The flags that messages had, by index, in the order of the changes.
    before: Vec<(usize, Flags)>,
    expunge: UidSet,
    done: bool,
}

impl<'m> MhEdit<'m> {
    pub(super) fn begin(mailbox: &'m mut MhMailbox) -> Result<Self> {
        if !mailbox.table.snapshot.writable {
            return Err(Error::ReadOnly { path: mailbox.folder.path().into() });
        }
        let lock = mailbox.lock_to_change()?;
        let state = mailbox.state.clone();
        Ok(Self { mailbox, lock, state, before: Vec::new(), expunge: UidSet::new(), done: false })
    }

    /// Looks the keywords of a change up; those that cannot be made are returned.
    fn resolve(&mut self, change: &FlagChange) -> (Flags, Vec<Keyword>) {
        let mut flags = Flags { system: change.system, keywords: KeywordMask::NONE };
        let mut refused = Vec::new();
        for keyword in &change.keywords {
            let keywords = &mut self.state.keywords;
            let slot = match change.op {
                FlagOp::Remove => keywords.find(keyword.as_str()),
                FlagOp::Add | FlagOp::Replace => keywords.find_or_add(keyword, Keywords::MAX).ok(),
            };
            match slot {
                Some(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                None if change.op == FlagOp::Remove => {}
                None => refused.push(keyword.clone()),
            }
        }
        self.mailbox.table.snapshot.keywords = self.state.keywords.clone();
        (flags, refused)
    }

    /// Writes changed flags and keywords down; returns the messages whose flags changed.
    fn save_flags(&mut self) -> Result<Vec<Uid>> {
        let touched = changed(self.before.clone(), |index| self.mailbox.table.flags(index));
        let new_keywords = self.state.keywords != self.mailbox.state.keywords;
        if touched.is_empty() && !new_keywords {
            return Ok(Vec::new());
        }
        let table = &self.mailbox.table;
        let told: Vec<_> = touched.iter().map(|index| (table.uid(*index), table.flags(*index))).collect();
        self.save(told.iter().map(|(uid, flags)| Event::Flags { uid: *uid, flags: *flags }))?;
        self.mailbox.table.pending.keywords |= new_keywords;
        Ok(told.into_iter().map(|(uid, _)| uid).collect())
    }

    fn save(&mut self, events: impl IntoIterator<Item = Event<{ super::table::N }>>) -> Result<()> {
        self.mailbox.save_events(self.lock.as_ref(), self.state.clone(), events)
    }

    /// Removes the messages' files.
    fn remove_files(&mut self, expunge: &UidSet) -> Result<()> {
        let mailbox = &mut *self.mailbox;
        let all: Vec<_> = mailbox.table.snapshot.positions_of(expunge).collect();
        // Names come and go: the folder is to be read again.
        mailbox.stamp = None;
        mailbox.last_stamp = None;
        let (mut gone, mut failure) = (Vec::new(), None);
        for index in all {
            match mailbox.remove_file(index) {
                Ok(Removed::Yes) => gone.push(index),
                // Gone already, or changed: the next look at the folder finds out.
                Ok(Removed::NotThere) => mailbox.must_scan = true,
                Err(error) => {
                    let text = format!("Expunge of message {} failed, aborted: {error}", index + 1);
                    mailbox.environment.notices.tell(Level::Warning, text);
                    failure = Some(Error::io("remove from", mailbox.folder.path())(error));
                    break;
                }
            }
        }
        let synced = mailbox.disk.sync_dir(mailbox.folder.path());
        let uids: Vec<_> = gone.iter().map(|index| mailbox.table.uid(*index)).collect();
        mailbox.table.mark_gone(gone.into_iter());
        mailbox.table.settle();
        if !uids.is_empty() {
            let text = format!("Expunged {} messages", uids.len());
            mailbox.environment.notices.tell(Level::Info, text);
        }
        if let Err(error) = self.save(uids.iter().map(|uid| Event::Gone { uid: *uid })) {
            // They are gone all the same, and may have made the room that is missing.
            self.mailbox.unsaved.add(Work::removing(uids));
            self.mailbox.environment.notices.tell(Level::Log, error.to_string());
        }
        synced.map_err(Error::io("sync", self.mailbox.folder.path()))?;
        failure.map_or(Ok(()), Err)
    }
}

impl MhMailbox {
    /// Removes a message's file, which may have another number by now.
    fn remove_file(&mut self, index: usize) -> io::Result<Removed> {
        let (id, number) = (self.table.id(index), self.table.entries[index].number);
        if remove(&*self.disk, &self.folder, number, &id)? == Removed::Yes {
            return Ok(Removed::Yes);
        }
        self.relocate()?;
        match self.table.entries[index].number {
            same if same == number => Ok(Removed::NotThere),
            other => remove(&*self.disk, &self.folder, other, &id),
        }
    }
}

impl Edit for MhEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.table.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let (by, refused) = self.resolve(change);
        let all: Vec<_> = self.mailbox.table.snapshot.positions_of(uids).collect();
        for index in all {
            let message = &mut self.mailbox.table.snapshot.messages[index];
            let (old, new) = (message.flags(), message.flags().changed(change.op, by));
            if new != old {
                message.set_flags(new);
                self.before.push((index, old));
            }
        }
        Ok(refused)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        for index in self.mailbox.table.snapshot.positions_of(uids) {
            self.expunge.insert(self.mailbox.table.uid(index));
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        let flagged = self.save_flags()?;
        // What is on the disk is no longer to be put back.
        self.before.clear();
        self.done = true;
        let expunge = std::mem::take(&mut self.expunge);
        let removed = if expunge.is_empty() { Ok(()) } else { self.remove_files(&expunge) };
        let Table { snapshot, pending, .. } = &mut self.mailbox.table;
        for uid in flagged.into_iter().filter(|uid| snapshot.message(*uid).is_some()) {
            pending.flags.insert(uid);
        }
        removed?;
        Ok(self.mailbox.take_changes())
    }
}

impl Drop for MhEdit<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for (index, flags) in self.before.drain(..).rev() {
            self.mailbox.table.snapshot.messages[index].set_flags(flags);
        }
        self.mailbox.table.snapshot.keywords = self.mailbox.state.keywords.clone();
    }
}
