//! Changes of flags and expunges.

use super::fields;
use super::header::Header;
use super::mailbox::{MbxMailbox, Sweep};
use crate::lock::NameLock;
use ailurus_store::{Changes, Edit, Error, Level, Result, Snapshot};
use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, KeywordMask, UidSet};
use std::sync::atomic::{AtomicU32, Ordering};

/// A change under way. What it changes in memory is put back if it is dropped.
pub(super) struct MbxEdit<'m> {
    mailbox: &'m mut MbxMailbox,
    lock: NameLock,
    /// The flags that messages had, by index, in the order of the changes.
    before: Vec<(usize, Flags)>,
    header_before: Header,
    expunge: UidSet,
    done: bool,
}

impl<'m> MbxEdit<'m> {
    pub(super) fn begin(mailbox: &'m mut MbxMailbox) -> Result<Self> {
        if !mailbox.snapshot.writable {
            return Err(Error::ReadOnly { path: mailbox.file.path.clone() });
        }
        let lock = mailbox.file.lock()?;
        if mailbox.parse(&lock)? == Sweep::Needed {
            mailbox.sweep()?;
        }
        let header_before = mailbox.header.clone();
        let expunge = UidSet::new();
        Ok(Self { mailbox, lock, before: Vec::new(), header_before, expunge, done: false })
    }

    /// Looks the keywords of a change up; those that cannot be made are returned.
    fn resolve(&mut self, change: &FlagChange) -> (Flags, Vec<Keyword>) {
        let mut flags = Flags { system: change.system, keywords: KeywordMask::NONE };
        let mut refused = Vec::new();
        for keyword in &change.keywords {
            let slot = match change.op {
                FlagOp::Remove => self.mailbox.header.keywords.find(keyword.as_str()),
                FlagOp::Add | FlagOp::Replace => self.mailbox.header.add_keyword(keyword),
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
        mailbox.snapshot.keywords = mailbox.header.keywords.clone();
        mailbox.snapshot.permanent.new_keywords = mailbox.header.has_room();
    }

    /// Writes changed flags, and those that hide expunged messages if they must stay for other sessions.
    fn write_fields(&mut self, hide: &UidSet) -> Result<()> {
        let mailbox = &mut *self.mailbox;
        let mut touched: Vec<usize> = self.before.iter().map(|(index, _)| *index).collect();
        touched.extend(mailbox.snapshot.positions_of(hide));
        if !touched.is_sorted_by(|a, b| a < b) {
            touched.sort_unstable();
            touched.dedup();
        }
        mailbox.header.set_last_pid(update_mark(mailbox.header.last_pid()));
        mailbox.file.write_header(&mut mailbox.header)?;
        let fields = touched.into_iter().map(|index| {
            let hidden = hide.contains(mailbox.snapshot.messages[index].uid());
            (mailbox.place(index), mailbox.field(index, hidden))
        });
        fields::write(&mailbox.file, fields)?;
        mailbox.file.sync()
    }

    /// Flags that came back to what a message had first are no change, nor are those of one that goes.
    fn tell_changed_flags(&mut self, expunge: &UidSet) {
        self.before.sort_by_key(|(index, _)| *index);
        self.before.dedup_by_key(|(index, _)| *index);
        let mailbox = &mut *self.mailbox;
        for (index, old) in &self.before {
            let message = &mailbox.snapshot.messages[*index];
            if message.flags() != *old && !expunge.contains(message.uid()) {
                mailbox.pending.flags.insert(message.uid());
            }
        }
        mailbox.pending.keywords |= mailbox.header.keywords != self.header_before.keywords;
    }
}

impl Edit for MbxEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let (by, refused) = self.resolve(change);
        let mailbox = &mut *self.mailbox;
        for range in uids.ranges() {
            for index in mailbox.snapshot.positions_in(*range) {
                let message = &mut mailbox.snapshot.messages[index];
                let (old, new) = (message.flags(), message.flags().changed(change.op, by));
                if new != old && !mailbox.spots[index].hidden {
                    message.set_flags(new);
                    self.before.push((index, old));
                }
            }
        }
        Ok(refused)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        for index in self.mailbox.snapshot.positions_of(uids) {
            self.expunge.insert(self.mailbox.snapshot.messages[index].uid());
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        let expunge = std::mem::take(&mut self.expunge);
        let new_keywords = self.mailbox.header != self.header_before;
        if !self.before.is_empty() || new_keywords {
            self.write_fields(&UidSet::new())?;
            self.tell_changed_flags(&expunge);
        }
        // What is in the file is no longer to be put back.
        self.before.clear();
        self.done = true;
        if !expunge.is_empty() && !self.mailbox.reclaim(&self.lock, &expunge)? {
            self.write_fields(&expunge)?;
        }
        let count = expunge.count();
        if count > 0 {
            let text = format!("Expunged {count} messages");
            self.mailbox.file.environment.notices.tell(Level::Info, text);
        }
        self.mailbox.drop_hidden(&expunge);
        self.mailbox.settle_times()?;
        Ok(self.mailbox.take_changes())
    }
}

impl Drop for MbxEdit<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for (index, flags) in self.before.drain(..).rev() {
            self.mailbox.snapshot.messages[index].set_flags(flags);
        }
        self.mailbox.header = self.header_before.clone();
        self.take_keywords();
    }
}

/// Returns a new LASTPID.
///
/// Others look whether it changed, the reference at its last six digits only. A plain PID would not tell them of
/// two updates by one process in one second, so the bits that no PID has count updates.
fn update_mark(before: Option<u32>) -> u32 {
    const PID_BITS: u32 = 22;
    const SEEN: u32 = 0x00ff_ffff;
    static UPDATES: AtomicU32 = AtomicU32::new(1);
    loop {
        let count = UPDATES.fetch_add(1, Ordering::Relaxed);
        let mark = count << PID_BITS | std::process::id() & ((1 << PID_BITS) - 1);
        if mark & SEEN != 0 && before.is_none_or(|before| before & SEEN != mark & SEEN) {
            return mark;
        }
    }
}
