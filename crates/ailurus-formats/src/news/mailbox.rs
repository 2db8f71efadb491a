//! An open newsgroup.

use super::cache::Cache;
use super::newsrc::{Newsrc, State, ranges};
use crate::disk::Disk;
use crate::numbered::{Filed, Folder, Kept, LineReader, Look, Measure, Names, Stamp, changed};
use ailurus_store::{
    Changes, Edit, Environment, Error, Extent, Level, Mailbox, Manner, MessageInfo, PermanentFlags, Result,
    Snapshot, Wake,
};
use ailurus_types::{
    FlagChange, Flags, Keyword, KeywordMask, Keywords, SystemFlags, Uid, UidSet, UidValidity,
};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Articles never change, and their numbers are never used again: 0xbeefface, as the reference has it.
const VALIDITY: u32 = 3_203_398_350;

/// An open group. Flags are those of the session, but for \Deleted, which means read and is kept in `.newsrc`.
pub(super) struct NewsMailbox {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
    group: Vec<u8>,
    folder: Folder,
    snapshot: Snapshot,
    /// In the order of the snapshot's messages.
    entries: Vec<Kept>,
    stamp: Option<Stamp>,
    must_scan: bool,
    pending: Changes,
    /// What was read is not written down yet.
    dirty: bool,
    reader: Option<(Uid, LineReader)>,
}

impl NewsMailbox {
    /// Opens a group whose articles are in `directory`.
    pub(super) fn open(
        environment: &Arc<Environment>,
        disk: &Arc<dyn Disk>,
        group: &[u8],
        directory: &Path,
        manner: Manner,
    ) -> Result<Self> {
        let unreadable = |_| Error::Refused("Unable to scan newsgroup spool directory".into());
        let folder = Folder::open(directory).map_err(unreadable)?;
        let snapshot = Snapshot {
            uid_validity: validity(),
            uid_next: Some(Uid::MIN),
            keywords: Keywords::default(),
            permanent: PermanentFlags { system: SystemFlags::DELETED, ..PermanentFlags::default() },
            writable: false,
            sticky_uids: true,
            messages: Vec::new(),
        };
        let mut mailbox = Self {
            environment: Arc::clone(environment),
            disk: Arc::clone(disk),
            group: group.into(),
            folder,
            snapshot,
            entries: Vec::new(),
            stamp: None,
            must_scan: false,
            pending: Changes::default(),
            dirty: false,
            reader: None,
        };
        mailbox.scan().map_err(unreadable)?;
        let state = mailbox.newsrc().state(group)?;
        mailbox.take_state(state, manner);
        mailbox.pending = Changes::default();
        Ok(mailbox)
    }

    fn newsrc(&self) -> Newsrc {
        Newsrc::new(&self.environment, &self.disk)
    }

    fn tell(&self, level: Level, manner: Manner, text: String) {
        if manner == Manner::Session {
            self.environment.notices.tell(level, text);
        }
    }

    /// Takes over what was read.
    fn take_state(&mut self, state: Option<State>, manner: Manner) {
        let group = String::from_utf8_lossy(&self.group).into_owned();
        let State { read, bogus } = state.unwrap_or_else(|| {
            // A new user has no file and need not be told of it for each group.
            if self.newsrc().exists() {
                self.tell(
                    Level::Warning,
                    manner,
                    format!("No state for newsgroup {group} found, reading as new"),
                );
            }
            State::default()
        });
        if let Some(octet) = bogus {
            self.tell(Level::Error, manner, format!("Bogus character 0x{octet:x} in news state"));
        }
        let read = merged(read);
        let last = read.last().map_or(0, |(_, last)| *last);
        let mut first_unseen = None;
        for (position, message) in self.snapshot.messages.iter_mut().enumerate() {
            let number = message.uid().get();
            message.set_recent(number > last);
            let before = read.partition_point(|(first, _)| *first <= number);
            if before > 0 && read[before - 1].1 >= number {
                message.set_flags(Flags { system: SystemFlags::DELETED, ..Flags::default() });
            } else {
                first_unseen.get_or_insert(position + 1);
            }
        }
        if let Some(number) = first_unseen {
            self.tell(Level::Parse, manner, format!("[UNSEEN] {number} is first unseen message in {group}"));
        }
        if self.snapshot.messages.is_empty() {
            self.tell(Level::Warning, manner, format!("Newsgroup {group} is empty"));
        }
    }

    /// Reads the directory. Articles that came later are \Recent.
    fn scan(&mut self) -> io::Result<()> {
        let stamp = self.folder.stamp()?;
        let numbers = Names::read(self.folder.path())?.numbers;
        let mut cache = None;
        let (messages, entries) =
            (std::mem::take(&mut self.snapshot.messages), std::mem::take(&mut self.entries));
        let mut known = messages.into_iter().zip(entries).peekable();
        self.must_scan = false;
        for number in &numbers {
            while let Some((gone, _)) = known.next_if(|(message, _)| message.uid().get() < *number) {
                self.pending.expunged.insert(gone.uid());
            }
            let before = known.next_if(|(message, _)| message.uid().get() == *number);
            let look = match self.folder.look(*number) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                look => look.ok().flatten(),
            };
            let same = before
                .filter(|(message, entry)| look.is_some_and(|look| entry.id(message).is_like(&look.id)));
            let found = match (same, look) {
                (Some(same), _) => Some(same),
                (None, Some(look)) => self.meet(*number, &look, &mut cache),
                (None, None) => None,
            };
            match (found, before) {
                (Some((message, entry)), before) => {
                    self.pending.arrived |= before.is_none();
                    self.snapshot.messages.push(message);
                    self.entries.push(entry);
                }
                (None, Some((gone, _))) => self.pending.expunged.insert(gone.uid()),
                (None, None) => {}
            }
        }
        known.for_each(|(gone, _)| self.pending.expunged.insert(gone.uid()));
        if let Some(Some(cache)) = cache {
            cache.save(validity(), |number| numbers.binary_search(&number).is_ok());
        }
        let last = self.snapshot.largest_uid();
        self.snapshot.uid_next = last.map_or(self.snapshot.uid_next, Uid::next);
        self.stamp = Some(stamp).filter(Stamp::is_settled);
        Ok(())
    }

    /// Finds out about an article. One that cannot be read, or is being written, is not shown.
    fn meet(
        &mut self,
        number: u32,
        look: &Look,
        cache: &mut Option<Option<Cache>>,
    ) -> Option<(MessageInfo, Kept)> {
        let uid = Uid::new(number)?;
        self.must_scan |= look.id.is_fresh();
        if look.id.size == 0 && look.id.is_fresh() {
            return None;
        }
        let cache = cache.get_or_insert_with(|| Cache::open(&self.environment, &self.disk, &self.group));
        let known =
            cache.as_ref().and_then(|cache| cache.get(number)).filter(|filed| filed.id.is_like(&look.id));
        let filed = match known {
            Some(filed) => filed,
            None => {
                let opened = self.folder.open_quietly(number, &look.id);
                let measure = opened.and_then(|file| file.as_ref().map(Measure::of).transpose()).ok()??;
                let filed = Filed::new(number, look.id, &measure);
                cache.iter_mut().for_each(|cache| cache.add(filed));
                filed
            }
        };
        let mut message = MessageInfo::new(uid, Flags::default(), look.id.date(), filed.size.into());
        message.set_recent(true);
        Some((message, Kept::new(&look.id, filed.header)))
    }

    fn save(&mut self) -> Result<()> {
        if !self.dirty {
            return Ok(());
        }
        let articles = self.snapshot.messages.iter();
        let articles = articles
            .map(|message| (message.uid().get(), message.flags().system.contains(SystemFlags::DELETED)));
        self.newsrc().set_read(&self.group, &ranges(articles))?;
        self.dirty = false;
        Ok(())
    }

    fn open_message(&mut self, position: usize) -> Result<LineReader> {
        let uid = self.snapshot.messages[position].uid();
        let id = self.entries[position].id(&self.snapshot.messages[position]);
        let opened = self.folder.open_file(uid.get(), &id);
        match opened.map_err(Error::io("read", self.folder.file(uid.get())))? {
            Some(file) => Ok(LineReader::new(file)),
            None => {
                self.must_scan = true;
                Err(Error::Expunged { uid: uid.get() })
            }
        }
    }
}

fn validity() -> UidValidity {
    UidValidity::new(VALIDITY).unwrap_or(UidValidity::MIN)
}

/// Returns ranges in ascending order, none of which touches another; those that run backwards name one article.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.iter_mut().for_each(|(first, last)| *last = (*last).max(*first));
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let touches = next.0 <= before.1.saturating_add(1);
        if touches {
            before.1 = before.1.max(next.1);
        }
        touches
    });
    ranges
}

impl Mailbox for NewsMailbox {
    fn driver(&self) -> &'static str {
        "news"
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let position = self.snapshot.position(uid, usize::MAX).ok_or(Error::Expunged { uid: uid.get() })?;
        let size = u64::from(self.snapshot.messages[position].rfc822_size());
        let header = u64::from(self.entries[position].header);
        let (start, end) = match extent {
            Extent::Whole => (0, size),
            Extent::Header => (0, header),
            Extent::Text => (header, size),
        };
        let at = start.saturating_add(from);
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most);
        if most == 0 {
            return Ok(0);
        }
        let mut reader = match self.reader.take() {
            Some((known, reader)) if known == uid => reader,
            _ => self.open_message(position)?,
        };
        let failed = Error::io("read", self.folder.file(uid.get()));
        match reader.read(at, most, out) {
            Ok(0) => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                self.reader = Some((uid, reader));
                Ok(read)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The reference sees no articles that come while the group is open.
    fn refresh(&mut self) -> Result<Changes> {
        let stamp = self.folder.stamp().ok();
        if stamp.is_none() || stamp != self.stamp || self.must_scan {
            self.reader = None;
            self.scan().map_err(Error::io("read", self.folder.path()))?;
        }
        Ok(std::mem::take(&mut self.pending))
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Ok(Box::new(NewsEdit { mailbox: self, before: Vec::new() }))
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        self.save()?;
        self.refresh()
    }

    fn is_dirty(&self) -> bool {
        self.dirty
    }

    fn wake(&self) -> Wake {
        Wake { paths: vec![self.folder.path().into()] }
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        self.save()
    }
}

/// Changes of flags, in memory until the group is checked or closed.
struct NewsEdit<'m> {
    mailbox: &'m mut NewsMailbox,
    /// The flags that messages had, in the order of the changes; empty once they are to stay.
    before: Vec<(usize, Flags)>,
}

impl Edit for NewsEdit<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let by = Flags { system: change.system, keywords: KeywordMask::NONE };
        for (position, message) in self.mailbox.snapshot.messages.iter_mut().enumerate() {
            let (old, new) = (message.flags(), message.flags().changed(change.op, by));
            if new != old && uids.contains(message.uid()) {
                message.set_flags(new);
                self.before.push((position, old));
            }
        }
        Ok(change.keywords.clone())
    }

    fn expunge(&mut self, _uids: &UidSet) -> Result<()> {
        self.mailbox.environment.notices.tell(Level::Info, "Expunge ignored on readonly mailbox");
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        let before = std::mem::take(&mut self.before);
        let mailbox = &mut *self.mailbox;
        let is_read = |flags: Flags| flags.system.contains(SystemFlags::DELETED);
        let flags = |position: usize| mailbox.snapshot.messages[position].flags();
        // A change that was taken back costs a look at `.newsrc`, no more.
        mailbox.dirty |= before.iter().any(|(position, old)| is_read(*old) != is_read(flags(*position)));
        for position in changed(before, flags) {
            mailbox.pending.flags.insert(mailbox.snapshot.messages[position].uid());
        }
        Ok(std::mem::take(&mut mailbox.pending))
    }
}

impl Drop for NewsEdit<'_> {
    fn drop(&mut self) {
        for (position, flags) in self.before.drain(..).rev() {
            self.mailbox.snapshot.messages[position].set_flags(flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_in_any_order() {
        assert_eq!(merged(vec![(7, 9), (1, 2), (3, 3), (8, 20), (5, 4)]), [(1, 3), (5, 5), (7, 20)]);
        assert_eq!(merged(vec![(u32::MAX, 1), (1, u32::MAX)]), [(1, u32::MAX)]);
        assert_eq!(merged(Vec::new()), []);
    }
}
