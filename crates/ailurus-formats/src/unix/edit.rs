//! Changes under way in a mailbox of unix format.

use super::mailbox::{UnixMailbox, uids_at};
use super::parse::KEYWORDS;
use ailurus_store::{Changes, Edit, Level, Result, Snapshot};
use ailurus_types::{FlagChange, Flags, Keyword, KeywordMask, Keywords, Uid, UidSet};

/// Changes of flags in memory, and messages to be expunged at commit.
pub(super) struct UnixEdit<'m> {
    mailbox: &'m mut UnixMailbox,
    // How to undo: the flags that messages had, and the keywords.
    before: Vec<(Uid, Flags)>,
    keywords: Option<Keywords>,
    // The messages as they were before the first expunge of this edit.
    whole: Option<Vec<ailurus_store::MessageInfo>>,
    done: bool,
}

impl<'m> UnixEdit<'m> {
    pub(super) fn new(mailbox: &'m mut UnixMailbox) -> Self {
        Self { mailbox, before: Vec::new(), keywords: None, whole: None, done: false }
    }

    fn undo(&mut self) {
        let snapshot = &mut self.mailbox.snapshot;
        if let Some(whole) = self.whole.take() {
            snapshot.messages = whole;
        }
        // The earliest value comes last.
        for (uid, flags) in self.before.drain(..).rev() {
            if let Some(position) = snapshot.position(uid, usize::MAX) {
                snapshot.messages[position].set_flags(flags);
            }
        }
        if let Some(keywords) = self.keywords.take() {
            snapshot.keywords = keywords;
        }
    }

    /// Returns the mask of those keywords, making new ones where `make` says so; with those that are not known.
    fn mask(&mut self, wanted: &[Keyword], make: bool) -> (KeywordMask, Vec<Keyword>) {
        let (mut mask, mut unknown) = (KeywordMask::NONE, Vec::new());
        for keyword in wanted {
            let mut slot = self.mailbox.snapshot.keywords.find(keyword.as_str());
            if slot.is_none() && make {
                let keywords = &mut self.mailbox.snapshot.keywords;
                if self.keywords.is_none() {
                    self.keywords = Some(keywords.clone());
                }
                slot = keywords.find_or_add(keyword, KEYWORDS).ok();
                self.mailbox.mark_keywords();
            }
            match slot {
                Some(slot) => mask = mask.union(KeywordMask::slot(slot)),
                None if make => unknown.push(keyword.clone()),
                None => {}
            }
        }
        (mask, unknown)
    }
}

impl Edit for UnixEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let make = change.op != ailurus_types::FlagOp::Remove;
        let (keywords, unknown) = self.mask(&change.keywords, make);
        let by = Flags { system: change.system, keywords };
        // With an expunge before, positions are not those of the file any more.
        let shifted = self.whole.is_some();
        for &(first, last) in uids.ranges() {
            let messages = &self.mailbox.snapshot.messages;
            let mut index = messages.partition_point(|message| message.uid().get() < first);
            while let Some(message) = self.mailbox.snapshot.messages.get_mut(index) {
                if message.uid().get() > last {
                    break;
                }
                let (uid, old) = (message.uid(), message.flags());
                let new = old.changed(change.op, by);
                if new != old {
                    message.set_flags(new);
                    self.before.push((uid, old));
                    let in_file = match &self.whole {
                        Some(whole) if shifted => {
                            whole.binary_search_by_key(&uid, |message| message.uid()).unwrap_or(index)
                        }
                        _ => index,
                    };
                    self.mailbox.mark(in_file);
                }
                index += 1;
            }
        }
        Ok(unknown)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        let messages = &mut self.mailbox.snapshot.messages;
        if self.whole.is_none() {
            self.whole = Some(messages.clone());
        }
        messages.retain(|message| !uids.contains(message.uid()));
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        if let Some(mut whole) = self.whole.take() {
            // Flags that were stored after an expunge are in the shorter list only.
            let kept = std::mem::take(&mut self.mailbox.snapshot.messages);
            let mut gone = vec![true; whole.len()];
            let mut index = 0;
            for message in kept {
                while whole[index].uid() != message.uid() {
                    index += 1;
                }
                whole[index] = message;
                gone[index] = false;
            }
            self.mailbox.snapshot.messages = whole;
            let expunged = uids_at(&self.mailbox.snapshot, |index| gone[index]);
            let is_gone = |index: usize| gone.get(index) == Some(&true);
            if !expunged.is_empty() {
                self.mailbox.write(&is_gone)?;
                self.mailbox.tell(Level::Info, format!("Expunged {} messages", expunged.count()));
            }
            self.mailbox.pending.expunged = expunged;
        }
        self.done = true;
        // Only what a message had first counts: flags that came back to it are no change.
        self.before.sort_by_key(|(uid, _)| *uid);
        self.before.dedup_by_key(|(uid, _)| *uid);
        let mut changes = std::mem::take(&mut self.mailbox.pending);
        let snapshot = &self.mailbox.snapshot;
        let mut hint = 0;
        for (uid, old) in &self.before {
            if let Some(position) = snapshot.position(*uid, hint)
                && snapshot.messages[position].flags() != *old
            {
                changes.flags.insert(*uid);
                hint = position + 1;
            }
        }
        changes.keywords |= self.keywords.is_some();
        let snapshot = &mut self.mailbox.snapshot;
        snapshot.permanent.new_keywords &= snapshot.keywords.len() < KEYWORDS;
        Ok(changes)
    }
}

impl Drop for UnixEdit<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.undo();
        }
    }
}
