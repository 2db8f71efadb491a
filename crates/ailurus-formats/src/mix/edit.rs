//! Changes of flags, and expunges.

use super::directory::{Exclusive, Held, Part};
use super::flags::Sync;
use super::index::{Shape, WIDTH};
use super::mailbox::MixMailbox;
use super::merge::{Form, Item, Trouble, Walk};
use super::text::{End, Sequence};
use crate::journal::read_up_to;
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Changes, Edit, Error, Level, Manner, Result, Snapshot};
use ailurus_types::{FlagChange, FlagOp, Flags, Keyword, KeywordMask, UidSet};
use std::io;

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
            for index in mailbox.snapshot.positions_in(*range) {
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
        let snapshot = &self.mailbox.snapshot;
        for index in snapshot.positions_of(uids) {
            self.expunge.insert(snapshot.messages[index].uid());
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

impl MixMailbox {
    /// Takes messages out of the index, which is what counts, then out of the status file, and reclaims their space if no
    /// other session knows of them.
    fn expunge(&mut self, lock: Exclusive<'_>, gone: &UidSet) -> Result<()> {
        let seq = self.next_sequence(&[self.index.sequence.value])?;
        match self.rewrite_index(lock, gone, seq) {
            Ok(shape) => self.index = shape,
            Err(error) => return Err(self.failed(error, Part::Index)),
        }
        self.drop_messages(gone);
        let text = format!("Expunged {} messages", gone.count());
        self.opened.directory.tell(Manner::Session, Level::Info, text);
        if let Err(error) = self.rewrite_status(lock) {
            if self.lost {
                return Err(error);
            }
            // Records of messages that are gone do no harm.
            let text = format!("{}: {error}", self.opened.directory.part(Part::Status).display());
            self.opened.directory.tell(Manner::Silent, Level::Log, text);
            self.status.sequence = Sequence::default();
        }
        self.reclaim(lock, super::reclaim::Telling::No)
    }

    /// Writes the index without these messages.
    pub(super) fn rewrite_index(
        &self,
        lock: Exclusive<'_>,
        gone: &UidSet,
        seq: u64,
    ) -> Result<Shape, RewriteError> {
        let directory = &self.opened.directory;
        let lost = |error: Error| RewriteError::Unchanged(io::Error::other(error));
        let places = directory.places(Part::Index, lock.index).map_err(lost)?;
        let mut rewrite = Rewrite::begin(&directory.disk, &places, lock.index)?;
        let shape = self.copy_index(lock, gone, seq, &mut rewrite)?;
        match rewrite.finish() {
            Ok(()) => Ok(shape),
            Err(RewriteError::Unchanged(error)) if is_full(&error) => self.write_over_index(lock, gone, seq),
            Err(error) => Err(error),
        }
    }

    /// Describes the index without these messages.
    fn copy_index(
        &self,
        lock: Exclusive<'_>,
        gone: &UidSet,
        seq: u64,
        to: &mut Rewrite<'_>,
    ) -> Result<Shape, RewriteError> {
        let directory = &self.opened.directory;
        to.literal(&Sequence::line(seq))?;
        let sequence = Sequence::parse(&Sequence::line(seq)).unwrap_or_default();
        let mut shape = Shape { sequence, is_usual: sequence.len == 11, ..Shape::default() };
        shape.last = to.position();
        let mut walk = Walk::new(directory, lock.index, self.index.sequence.len.into());
        let mut line = Vec::new();
        loop {
            let (offset, item) = match walk.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(Trouble::Damage { what, .. }) => {
                    return Err(RewriteError::Unchanged(io::Error::other(what)));
                }
                Err(Trouble::Other(error)) => return Err(lost(error)),
            };
            let range = offset..walk.offset();
            match item {
                Item::Record(entry, _) | Item::Uncommitted(entry) if gone.contains(entry.uid) => continue,
                Item::Record(_, Form::Other(end)) if end != End::Crlf => {
                    // The reference ends all lines with CRLF.
                    read_up_to(lock.index, range.start, length(&range), &mut line)
                        .map_err(RewriteError::Unchanged)?;
                    line.truncate(line.len() - usize::from(end == End::Lf));
                    line.extend_from_slice(b"\r\n");
                    shape.last = to.position();
                    shape.is_usual &= line.len() == WIDTH;
                    to.literal(&line)?;
                }
                Item::Record(..) | Item::Uncommitted(_) => {
                    shape.last = to.position();
                    shape.is_usual &= length(&range) == WIDTH;
                    to.copy(range)?;
                }
                Item::Unknown => {
                    shape.is_usual = false;
                    to.copy(range)?;
                }
                Item::Empty => {}
                Item::End => break,
            }
        }
        shape.end = to.position();
        shape.len = shape.end;
        Ok(shape)
    }

    /// Writes the index without these messages where there is no room for a journal: who expunges for want of room has
    /// none. Should we be killed within it, what is readable and the data files give the index again.
    fn write_over_index(&self, lock: Exclusive<'_>, gone: &UidSet, seq: u64) -> Result<Shape, RewriteError> {
        let directory = &self.opened.directory;
        let interrupted = RewriteError::Interrupted;
        let mut kept = Vec::new();
        let sequence = Sequence::line(seq);
        if !self.index.is_usual || sequence.len() != usize::from(self.index.sequence.len) {
            return Err(RewriteError::Unchanged(io::ErrorKind::StorageFull.into()));
        }
        let mut at = sequence.len() as u64;
        let mut walk = Walk::new(directory, lock.index, at);
        let mut record = Vec::with_capacity(WIDTH);
        directory.disk.write_at(lock.index, &sequence, 0).map_err(interrupted)?;
        while let Ok(Some((_, Item::Record(entry, Form::Usual)))) = walk.next() {
            if gone.contains(entry.uid) {
                continue;
            }
            record.clear();
            entry.write(&mut record);
            kept.extend_from_slice(&record);
            if kept.len() >= crate::journal::BLOCK {
                directory.disk.write_at(lock.index, &kept, at).map_err(interrupted)?;
                at += kept.len() as u64;
                kept.clear();
            }
        }
        directory.disk.write_at(lock.index, &kept, at).map_err(interrupted)?;
        let len = at + kept.len() as u64;
        directory.disk.set_len(lock.index, len).map_err(interrupted)?;
        directory.disk.sync(lock.index).map_err(interrupted)?;
        let sequence = Sequence::parse(&sequence).unwrap_or_default();
        let last = len.saturating_sub(WIDTH as u64).max(sequence.len.into());
        Ok(Shape { sequence, len, last, end: len, is_usual: true })
    }
}

fn lost(error: Error) -> RewriteError {
    RewriteError::Unchanged(io::Error::other(error))
}

fn length(range: &std::ops::Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
