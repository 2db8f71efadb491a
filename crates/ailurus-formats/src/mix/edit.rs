//! Changes of flags, and expunges.

use super::directory::Held;
use super::flags::Sync;
use super::mailbox::MixMailbox;
use super::text::Sequence;
use ailurus_store::{Changes, Edit, Error, Result, Snapshot};
use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, KeywordMask, UidSet};

/// A change under way. What it changes in memory is put back if it is dropped.
pub(super) struct MixEdit<'m> {
    mailbox: &'m mut MixMailbox,
    held: Held,
    /// What messages had, by index, in the order of the changes.
    before: Vec<Before>,
    meta_before: super::meta::Meta,
    expunge: UidSet,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    index: usize,
    flags: Flags,
    modseq: u32,
}

impl<'m> MixEdit<'m> {
    pub(super) fn begin(mailbox: &'m mut MixMailbox) -> Result<Self> {
        if !mailbox.snapshot.writable {
            return Err(Error::ReadOnly { path: mailbox.opened.directory.path.clone() });
        }
        let held = mailbox.parse()?;
        let meta_before = mailbox.meta.clone();
        Ok(Self { mailbox, held, before: Vec::new(), meta_before, expunge: UidSet::new(), done: false })
    }

    /// Looks the keywords of a change up; those that cannot be made are returned.
    fn resolve(&mut self, change: &FlagChange) -> (Flags, Vec<Keyword>) {
        let mut flags = Flags { system: change.system, keywords: KeywordMask::NONE };
        let mut refused = Vec::new();
        for keyword in &change.keywords {
            let slot = match change.op {
                FlagOp::Remove => self.mailbox.meta.keywords.find(keyword.as_str()),
                FlagOp::Add | FlagOp::Replace => self.mailbox.meta.add_keyword(keyword),
            };
            match slot {
                Some(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                None if change.op == FlagOp::Remove => {}
                None => refused.push(keyword.clone()),
            }
        }
        self.take_keywords();
        (flags, refused)
    }

    fn take_keywords(&mut self) {
        let mailbox = &mut *self.mailbox;
        mailbox.snapshot.keywords = mailbox.meta.keywords.clone();
        mailbox.snapshot.permanent.new_keywords = mailbox.meta.has_room();
    }

    /// Writes what changed: names of keywords before their bits.
    fn write_flags(&mut self) -> Result<()> {
        let Some(lock) = self.held.exclusive() else { return Ok(()) };
        let mailbox = &mut *self.mailbox;
        if mailbox.meta != self.meta_before {
            mailbox.write_meta(lock)?;
            mailbox.pending.keywords = true;
        }
        self.before.sort_by_key(|before| before.index);
        self.before.dedup_by_key(|before| before.index);
        let is_changed = |before: &&Before| mailbox.snapshot.messages[before.index].flags() != before.flags;
        let changed: Vec<usize> = self.before.iter().filter(is_changed).map(|before| before.index).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let seq = mailbox.next_sequence(&[mailbox.status.sequence.value])?;
        mailbox.write_records(lock, &changed, seq, Sync::Now)?;
        for index in changed {
            mailbox.pending.flags.insert(mailbox.snapshot.messages[index].uid());
        }
        Ok(())
    }
}

impl Edit for MixEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let (by, refused) = self.resolve(change);
        let mailbox = &mut *self.mailbox;
        for range in uids.ranges() {
            for index in positions(&mailbox.snapshot, *range) {
                let modseq = mailbox.spots[index].modseq;
                let message = &mut mailbox.snapshot.messages[index];
                let (old, new) = (message.flags(), message.flags().changed(change.op, by));
                if new != old {
                    message.set_flags(new);
                    self.before.push(Before { index, flags: old, modseq });
                }
            }
        }
        Ok(refused)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        for range in uids.ranges() {
            for index in positions(&self.mailbox.snapshot, *range) {
                self.expunge.insert(self.mailbox.snapshot.messages[index].uid());
            }
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        let expunge = std::mem::take(&mut self.expunge);
        self.write_flags()?;
        // What is in the files is no longer to be put back.
        self.done = true;
        if let Some(lock) = self.held.exclusive().filter(|_| !expunge.is_empty()) {
            self.mailbox.expunge(lock, &expunge)?;
        }
        self.mailbox.stamp();
        Ok(self.mailbox.take_changes())
    }
}

impl Drop for MixEdit<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for Before { index, flags, modseq } in self.before.drain(..).rev() {
            self.mailbox.snapshot.messages[index].set_flags(flags);
            self.mailbox.spots[index].modseq = modseq;
        }
        // Some of it may be in the files: they are read again.
        self.mailbox.status.sequence = Sequence::default();
        if self.mailbox.meta != self.meta_before {
            self.mailbox.meta = self.meta_before.clone();
            self.mailbox.raw_meta.clear();
        }
        self.take_keywords();
    }
}

/// Returns the indices of the messages whose UIDs are in the range.
fn positions(snapshot: &Snapshot, (first, last): (u32, u32)) -> std::ops::Range<usize> {
    let start = snapshot.messages.partition_point(|message| message.uid().get() < first);
    let end = snapshot.messages.partition_point(|message| message.uid().get() <= last);
    start..end
}
