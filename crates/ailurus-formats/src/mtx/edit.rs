//! Changes of flags and expunges.

use super::fields;
use super::keywords::Wanted;
use super::ledger::Held;
use super::mailbox::MtxMailbox;
use super::parse::flags_event;
use ailurus_store::{Changes, Edit, Error, Level, Result, Snapshot};
use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, KeywordMask, Keywords, UidSet};

/// A change under way. What it changes in memory is put back if it is dropped.
pub(super) struct MtxEdit<'m> {
    mailbox: &'m mut MtxMailbox,
    held: Held,
    /// The flags that messages had, by index, in the order of the changes.
    before: Vec<(usize, Flags)>,
    /// The keywords of the sidecar before.
    keywords_before: Keywords,
    expunge: UidSet,
    done: bool,
}

impl<'m> MtxEdit<'m> {
    pub(super) fn begin(mailbox: &'m mut MtxMailbox) -> Result<Self> {
        if !mailbox.snapshot.writable {
            return Err(Error::ReadOnly { path: mailbox.file.path.clone() });
        }
        let mut held = mailbox.ledger.hold(&mailbox.file)?;
        mailbox.parse(&mut held)?;
        let keywords_before = mailbox.ledger.state.keywords.clone();
        let (before, expunge) = (Vec::new(), UidSet::new());
        Ok(Self { mailbox, held, before, keywords_before, expunge, done: false })
    }

    /// Looks the keywords of a change up; those that cannot be made are returned.
    fn resolve(&mut self, change: &FlagChange) -> (Flags, Vec<Keyword>) {
        let mut flags = Flags { system: change.system, keywords: KeywordMask::NONE };
        let mut refused = Vec::new();
        let ledger = &mut self.mailbox.ledger;
        for keyword in &change.keywords {
            let slot = match change.op {
                FlagOp::Remove => ledger.slots.names.find(keyword.as_str()),
                FlagOp::Add | FlagOp::Replace => ledger.add_keyword(keyword, &self.held),
            };
            match slot {
                Some(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                None if change.op == FlagOp::Remove => {}
                None => refused.push(keyword.clone()),
            }
        }
        self.mailbox.take_keywords(&self.held);
        (flags, refused)
    }

    /// Writes the keywords that the sidecar holds, then the flags of the file. Others see by the times of the file that
    /// there is something to see, so those of a message are written although only its keywords in the sidecar changed.
    fn write(&mut self) -> Result<()> {
        let mailbox = &mut *self.mailbox;
        self.before.sort_by_key(|(index, _)| *index);
        // The first of several changes knows how it was.
        self.before.dedup_by_key(|(index, _)| *index);
        let slots = &mailbox.ledger.slots;
        let overlap = slots.overlap();
        let mut events = Vec::new();
        for (index, before) in &self.before {
            let message = &mailbox.snapshot.messages[*index];
            let now = slots.to_sidecar(message.flags().keywords, Wanted::NotInFile);
            if overlap || now != slots.to_sidecar(before.keywords, Wanted::NotInFile) {
                events.push(flags_event(message.uid(), now));
            }
        }
        mailbox.ledger.note.updates = mailbox.ledger.note.updates.wrapping_add(1);
        if !events.is_empty() || mailbox.ledger.state.keywords != self.keywords_before {
            mailbox.ledger.append(&mailbox.file, &self.held, events)?;
        } else {
            mailbox.ledger.append_lazily(&mailbox.file, &self.held);
        }
        let changes = self
            .before
            .iter()
            .map(|(index, _)| (mailbox.place(*index), mailbox.snapshot.messages[*index].flags()));
        fields::write(&mailbox.file, mailbox.dialect, &mailbox.ledger.slots, changes)?;
        mailbox.file.sync()
    }

    /// Flags that came back to what a message had first are no change.
    fn tell_changes(&mut self) {
        let mailbox = &mut *self.mailbox;
        for (index, old) in &self.before {
            let message = &mailbox.snapshot.messages[*index];
            if message.flags() != *old {
                mailbox.pending.flags.insert(message.uid());
            }
        }
        mailbox.pending.keywords |= mailbox.ledger.state.keywords != self.keywords_before;
    }
}

impl Edit for MtxEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let (by, refused) = self.resolve(change);
        let snapshot = &mut self.mailbox.snapshot;
        for range in uids.ranges() {
            for index in snapshot.positions_in(*range) {
                let message = &mut snapshot.messages[index];
                let (old, new) = (message.flags(), message.flags().changed(change.op, by));
                if new != old {
                    message.set_flags(new);
                    self.before.push((index, old));
                }
            }
        }
        Ok(refused)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        for message in self.mailbox.snapshot.messages.iter().filter(|message| uids.contains(message.uid())) {
            self.expunge.insert(message.uid());
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        let expunge = std::mem::take(&mut self.expunge);
        if !expunge.is_empty() {
            // Before anything is written: where this is refused nothing happens.
            self.mailbox.be_alone()?;
            self.mailbox.check_proof();
        } else {
            self.mailbox.prepare_to_change(&self.held);
        }
        let outcome = self.commit_alone(&expunge);
        if !expunge.is_empty() {
            self.mailbox.share()?;
        }
        outcome?;
        self.mailbox.shorten_ledger(&mut self.held);
        self.mailbox.settle_times(&self.held)?;
        Ok(self.mailbox.take_changes())
    }
}

impl MtxEdit<'_> {
    fn commit_alone(&mut self, expunge: &UidSet) -> Result<()> {
        let new_keywords = self.mailbox.ledger.state.keywords != self.keywords_before;
        if !self.before.is_empty() || new_keywords {
            if let Err(error) = self.write() {
                // What the sidecar says now is told again the next time.
                self.mailbox.ledger.forget();
                return Err(error);
            }
            self.tell_changes();
        }
        // What is in the file is no longer to be put back.
        self.before.clear();
        self.done = true;
        if expunge.is_empty() {
            return Ok(());
        }
        self.mailbox.slide(&self.held, expunge)?;
        let text = format!("Expunged {} messages", expunge.count());
        self.mailbox.file.environment.notices.tell(Level::Info, text);
        Ok(())
    }
}

impl Drop for MtxEdit<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for (index, flags) in self.before.drain(..).rev() {
            self.mailbox.snapshot.messages[index].set_flags(flags);
        }
        self.mailbox.ledger.set_keywords(&self.mailbox.file, &self.keywords_before);
        self.mailbox.take_keywords(&self.held);
    }
}
