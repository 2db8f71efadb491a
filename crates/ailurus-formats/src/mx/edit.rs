//! Changes of flags and expunges.

use super::file::Locked;
use super::index::SLOTS;
use super::mailbox::MxMailbox;
use crate::numbered::{Removed, changed, remove};
use ailurus_store::{Changes, Edit, Error, Level, Result, Snapshot};
use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, KeywordMask, Keywords, Uid, UidSet};

/// A change under way. What it changes in memory is put back if it is dropped.
pub(super) struct MxEdit<'m> {
    mailbox: &'m mut MxMailbox,
    locked: Locked,
    /// The flags that messages had, by position, in the order of the changes.
    before: Vec<(usize, Flags)>,
    keywords_before: Keywords,
    expunge: UidSet,
    done: bool,
}

impl<'m> MxEdit<'m> {
    pub(super) fn begin(mailbox: &'m mut MxMailbox) -> Result<Self> {
        let readonly = Error::ReadOnly { path: mailbox.folder.path().into() };
        if !mailbox.snapshot.writable {
            return Err(readonly);
        }
        let locked = mailbox.lock()?;
        if !locked.writable {
            return Err(readonly);
        }
        mailbox.synchronize(&locked)?;
        let keywords_before = mailbox.index.keywords.clone();
        Ok(Self { mailbox, locked, before: Vec::new(), keywords_before, expunge: UidSet::new(), done: false })
    }

    /// Looks the keywords of a change up; those that cannot be made are returned.
    fn resolve(&mut self, change: &FlagChange) -> (Flags, Vec<Keyword>) {
        let mut flags = Flags { system: change.system, keywords: KeywordMask::NONE };
        let mut refused = Vec::new();
        for keyword in &change.keywords {
            let keywords = &mut self.mailbox.index.keywords;
            let slot = match change.op {
                FlagOp::Remove => keywords.find(keyword.as_str()),
                FlagOp::Add | FlagOp::Replace => keywords.find_or_add(keyword, SLOTS).ok(),
            };
            match slot {
                Some(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                None if change.op == FlagOp::Remove => {}
                None => refused.push(keyword.clone()),
            }
        }
        self.mailbox.snapshot.keywords = self.mailbox.index.keywords.clone();
        (flags, refused)
    }

    /// Removes the messages' files; returns those that are gone, and why one is not.
    fn remove_files(&mut self, expunge: &UidSet) -> (Vec<Uid>, Option<Error>) {
        let mailbox = &mut *self.mailbox;
        let all: Vec<_> = mailbox.snapshot.positions_of(expunge).collect();
        mailbox.must_scan = true;
        let mut gone = Vec::new();
        for position in all {
            let uid = mailbox.snapshot.messages[position].uid();
            match remove(&*mailbox.disk, &mailbox.folder, uid.get(), &mailbox.id(position)) {
                Ok(Removed::Yes) => gone.push(uid),
                // Gone already, or another by now: the next look at the directory finds out.
                Ok(Removed::NotThere) => {}
                Err(error) => {
                    let text = format!("Expunge of message {} failed, aborted: {error}", position + 1);
                    mailbox.environment.notices.tell(Level::Warning, text);
                    return (gone, Some(Error::io("remove from", mailbox.folder.path())(error)));
                }
            }
        }
        (gone, None)
    }

    fn expunge_now(&mut self, expunge: &UidSet) -> Result<()> {
        let (gone, mut failure) = self.remove_files(expunge);
        if let Err(error) = self.mailbox.disk.sync_dir(self.mailbox.folder.path()) {
            failure = failure.or(Some(Error::io("sync", self.mailbox.folder.path())(error)));
        }
        let mailbox = &mut *self.mailbox;
        let is_left = |uid: &Uid| gone.binary_search(uid).is_err();
        let mut position = 0;
        mailbox.entries.retain(|_| {
            position += 1;
            is_left(&mailbox.snapshot.messages[position - 1].uid())
        });
        mailbox.snapshot.messages.retain(|message| is_left(&message.uid()));
        if !gone.is_empty() {
            mailbox.environment.notices.tell(Level::Info, format!("Expunged {} messages", gone.len()));
        }
        gone.into_iter().for_each(|uid| mailbox.pending.expunged.insert(uid));
        if let Err(error) = mailbox.write(&self.locked) {
            // Records of messages that are gone do no harm.
            mailbox.environment.notices.tell(Level::Log, error.to_string());
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Edit for MxEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let (by, refused) = self.resolve(change);
        let all: Vec<_> = self.mailbox.snapshot.positions_of(uids).collect();
        for position in all {
            let message = &mut self.mailbox.snapshot.messages[position];
            let (old, new) = (message.flags(), message.flags().changed(change.op, by));
            if new != old {
                message.set_flags(new);
                self.before.push((position, old));
            }
        }
        Ok(refused)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        for position in self.mailbox.snapshot.positions_of(uids) {
            self.expunge.insert(self.mailbox.snapshot.messages[position].uid());
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        let new_keywords = self.mailbox.index.keywords != self.keywords_before;
        let touched =
            changed(self.before.clone(), |position| self.mailbox.snapshot.messages[position].flags());
        let flagged: Vec<_> =
            touched.into_iter().map(|position| self.mailbox.snapshot.messages[position].uid()).collect();
        if !flagged.is_empty() || new_keywords {
            self.mailbox.write(&self.locked)?;
            self.mailbox.pending.keywords |= new_keywords;
        }
        // What is on the disk is no longer to be put back.
        self.before.clear();
        self.done = true;
        let expunge = std::mem::take(&mut self.expunge);
        let removed = if expunge.is_empty() { Ok(()) } else { self.expunge_now(&expunge) };
        let MxMailbox { snapshot, pending, .. } = &mut *self.mailbox;
        for uid in flagged.into_iter().filter(|uid| snapshot.message(*uid).is_some()) {
            pending.flags.insert(uid);
        }
        removed?;
        Ok(self.mailbox.take_changes())
    }
}

impl Drop for MxEdit<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for (position, flags) in self.before.drain(..).rev() {
            self.mailbox.snapshot.messages[position].set_flags(flags);
        }
        self.mailbox.index.keywords = self.keywords_before.clone();
        self.mailbox.snapshot.keywords = self.keywords_before.clone();
    }
}
