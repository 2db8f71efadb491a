//! An open mix mailbox.

use super::data::{DataFiles, Found};
use super::directory::{Exclusive, Held, Opened, Part};
use super::edit::MixEdit;
use super::index::{self, Spot};
use super::meta::Meta;
use super::reclaim::Telling;
use super::{repair, status};
use crate::lock::Mode;
use crate::rewrite::RewriteError;
use ailurus_store::{
    Changes, Edit, Error, Extent, Level, Mailbox, Manner, PermanentFlags, Result, Snapshot, Wake,
};
use ailurus_types::{Keywords, SystemFlags, Uid, UidSet};
use std::fs::Metadata;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// An open mailbox; holds a shared lock of `.mixmeta`, which says "I know where messages are".
pub(super) struct MixMailbox {
    pub(super) opened: Opened,
    pub(super) snapshot: Snapshot,
    /// In the order of `snapshot.messages`.
    pub(super) spots: Vec<Spot>,
    pub(super) meta: Meta,
    /// `.mixmeta` as it was read or written last.
    pub(super) raw_meta: Vec<u8>,
    pub(super) index: index::Shape,
    pub(super) status: status::Shape,
    pub(super) data: DataFiles,
    /// What the next refresh or commit has to tell.
    pub(super) pending: Changes,
    /// The largest UID that was ever seen.
    pub(super) largest_seen: u32,
    /// Sizes in memory are smaller than in the index: those messages were cut off.
    pub(super) is_shortened: bool,
    /// The data files hold what no message is.
    pub(super) holes: bool,
    /// The mailbox is no longer what this session knows.
    pub(super) lost: bool,
    pub(super) manner: Manner,
    /// Somebody was told of what is in the snapshot.
    is_open: bool,
    stamps: Stamps,
    ahead: Ahead,
    /// The message read last: the next is probably it again, or the one behind.
    hint: usize,
    /// Which message was seen to be where the index says.
    verified: Option<Uid>,
    /// Of which message something was said when it was read.
    complained: Option<Uid>,
    /// Positions were looked for in the data files since somebody else changed something.
    has_searched: bool,
}

/// What tells that others changed something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Stamps {
    files: [Stamp; 3],
    /// The last change was so recent that another one could look the same.
    is_fresh: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec());
        Self { inode: meta.ino(), size: meta.len(), modified, changed: (meta.ctime(), meta.ctime_nsec()) }
    }

    /// File systems know the time by the tick, which is 10 ms at most.
    fn is_fresh(&self) -> bool {
        const TICKS: i128 = 50_000_000;
        let nanos = |(seconds, nanos): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        i128::try_from(now).unwrap_or(i128::MAX) - nanos(self.changed) < TICKS
    }
}

/// Octets read ahead of what was asked for.
#[derive(Default)]
struct Ahead {
    /// Of which data file, and from where on.
    file: u32,
    start: u64,
    octets: Vec<u8>,
}

impl MixMailbox {
    pub(super) fn open(opened: Opened, manner: Manner) -> Result<Self> {
        let mode = if opened.writable { Mode::Exclusive } else { Mode::Shared };
        let held = opened.lock(mode)?;
        Self::open_held(opened, manner, &held)
    }

    /// Opens a mailbox whose files are locked already.
    pub(super) fn open_held(opened: Opened, manner: Manner, held: &Held) -> Result<Self> {
        let (meta, raw_meta) = repair::read_meta(&opened, held, manner)?;
        let snapshot = Snapshot {
            uid_validity: meta.uid_validity,
            uid_next: None,
            keywords: Keywords::default(),
            permanent: PermanentFlags::default(),
            writable: opened.writable,
            sticky_uids: true,
            messages: Vec::new(),
        };
        let mut mailbox = Self {
            opened,
            snapshot,
            spots: Vec::new(),
            meta,
            raw_meta,
            index: index::Shape::default(),
            status: status::Shape::default(),
            data: DataFiles::default(),
            pending: Changes::default(),
            largest_seen: 0,
            is_shortened: false,
            holes: false,
            lost: false,
            manner,
            is_open: false,
            stamps: Stamps::default(),
            ahead: Ahead::default(),
            hint: 0,
            verified: None,
            complained: None,
            has_searched: false,
        };
        mailbox.read_all(held)?;
        if let Some(lock) = held.exclusive().filter(|_| manner == Manner::Session) {
            mailbox.reclaim(lock, Telling::Yes)?;
        }
        mailbox.stamp();
        mailbox.pending = Changes::default();
        mailbox.is_open = true;
        Ok(mailbox)
    }

    /// Locks the mailbox and reads what others did.
    pub(super) fn parse(&mut self) -> Result<Held> {
        self.check_not_lost()?;
        let mode = if self.snapshot.writable { Mode::Exclusive } else { Mode::Shared };
        let held =
            self.opened.lock(mode).inspect_err(|error| self.lost |= matches!(error, Error::Lost { .. }))?;
        self.read_meta(&held)?;
        self.read_all(&held)?;
        self.has_searched = false;
        Ok(held)
    }

    /// Reads index and status file, and writes what had to be repaired.
    fn read_all(&mut self, held: &Held) -> Result<()> {
        let before = self.meta.uid_last;
        self.read_index(held)?;
        if let Some(lock) = held.exclusive() {
            if self.meta.uid_last != before {
                self.write_meta(lock)?;
            }
            if self.is_shortened {
                self.write_sizes(lock)?;
            }
        }
        self.is_shortened = false;
        self.read_status(held)?;
        self.take_meta();
        Ok(())
    }

    fn read_meta(&mut self, held: &Held) -> Result<()> {
        if self.opened.read_meta()? == self.raw_meta {
            return Ok(());
        }
        let (meta, raw) = repair::read_meta(&self.opened, held, self.manner)?;
        if meta.seq < self.meta.seq {
            return Err(self.gone("Error in mix metadata file sequence record".into()));
        }
        for (slot, old) in self.meta.keywords.iter() {
            let new = meta.keywords.get(slot).map_or("", |keyword| keyword.as_str());
            if new != old.as_str() {
                self.warn(format!("flag rename old={old} new={new}"));
            }
        }
        if meta.uid_validity != self.meta.uid_validity {
            self.forget();
        }
        (self.meta, self.raw_meta) = (meta, raw);
        Ok(())
    }

    /// UIDs started anew: what we know of them is void, and writing them would do harm.
    fn forget(&mut self) {
        for message in self.snapshot.messages.drain(..) {
            self.pending.expunged.insert(message.uid());
        }
        self.pending.uid_validity = true;
        self.forget_messages();
    }

    /// Lets go of messages of which nobody was told.
    pub(super) fn forget_untold(&mut self) {
        if !self.is_open {
            self.forget_messages();
        }
    }

    fn forget_messages(&mut self) {
        self.snapshot.messages.clear();
        self.spots.clear();
        self.largest_seen = 0;
        (self.index, self.status) = (index::Shape::default(), status::Shape::default());
    }

    /// Takes over what `.mixmeta` says.
    fn take_meta(&mut self) {
        if self.snapshot.keywords != self.meta.keywords {
            self.snapshot.keywords = self.meta.keywords.clone();
            self.pending.keywords = true;
        }
        self.snapshot.uid_validity = self.meta.uid_validity;
        self.snapshot.uid_next = Uid::new(self.meta.uid_last).map_or(Some(Uid::MIN), Uid::next);
        if self.snapshot.writable {
            let new_keywords = self.meta.has_room();
            self.snapshot.permanent =
                PermanentFlags { system: SystemFlags::ALL, keywords: true, new_keywords };
        }
    }

    /// Writes `.mixmeta` with a new sequence.
    pub(super) fn write_meta(&mut self, lock: Exclusive<'_>) -> Result<()> {
        let seq = self.next_sequence(&[self.meta.seq])?;
        let before = std::mem::replace(&mut self.meta.seq, seq);
        if let Err(error) = self.opened.write_meta(lock, &self.meta) {
            self.meta.seq = before;
            return Err(self.failed(error, Part::Meta));
        }
        self.raw_meta = self.meta.encode();
        Ok(())
    }

    pub(super) fn next_sequence(&self, before: &[u64]) -> Result<u64> {
        super::directory::next_sequence(self.opened.directory.now(), before)
    }

    /// Returns what to tell of a failed rewrite; after one that was interrupted nobody knows what the file holds until
    /// its journal is worked off.
    pub(super) fn failed(&mut self, error: RewriteError, part: Part) -> Error {
        self.lost |= matches!(error, RewriteError::Interrupted(_));
        self.opened.directory.io("rewrite", part)(error.into_io())
    }

    /// Ends the session: what is in the files contradicts what it was told.
    pub(super) fn gone(&mut self, what: String) -> Error {
        self.lost |= self.is_open;
        Error::Lost { path: self.opened.directory.path.clone(), what }
    }

    fn check_not_lost(&self) -> Result<()> {
        if !self.lost {
            return Ok(());
        }
        let what = "mailbox is no longer what it was".into();
        Err(Error::Lost { path: self.opened.directory.path.clone(), what })
    }

    pub(super) fn warn(&self, text: String) {
        self.opened.directory.tell(self.manner, Level::Warning, text);
    }

    /// Remembers what the files look like now that all of them is known.
    pub(super) fn stamp(&mut self) {
        let files = self.look();
        let is_fresh = files.iter().any(Stamp::is_fresh);
        self.stamps = Stamps { files, is_fresh };
    }

    fn look(&self) -> [Stamp; 3] {
        Part::ALL.map(|part| {
            let meta = self.opened.directory.part(part).metadata();
            meta.map_or(Stamp::default(), |meta| Stamp::of(&meta))
        })
    }

    fn is_quiet(&self) -> bool {
        !self.stamps.is_fresh && self.look() == self.stamps.files
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        let mut changes = std::mem::take(&mut self.pending);
        if !changes.expunged.is_empty() {
            // Flags of what is gone are no news.
            let uids = changes.flags.ranges().iter().flat_map(|(first, last)| *first..=*last);
            let kept = uids.filter_map(Uid::new).filter(|uid| !changes.expunged.contains(*uid));
            changes.flags = kept.collect();
        }
        changes
    }

    /// Takes messages out that this session has expunged.
    pub(super) fn drop_messages(&mut self, gone: &UidSet) {
        let mut kept = 0;
        for index in 0..self.spots.len() {
            let (spot, message) = (self.spots[index], self.snapshot.messages[index]);
            if gone.contains(message.uid()) {
                self.pending.expunged.insert(message.uid());
                self.holes = true;
            } else {
                (self.spots[kept], self.snapshot.messages[kept]) = (spot, message);
                kept += 1;
            }
        }
        self.spots.truncate(kept);
        self.snapshot.messages.truncate(kept);
    }

    /// Forgets octets and open files: messages have moved.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead = Ahead::default();
        self.verified = None;
        self.data.close();
    }

    fn find(&mut self, uid: Uid) -> Result<usize> {
        self.check_not_lost()?;
        let near = [self.hint, self.hint + 1];
        let is =
            |index: &usize| self.snapshot.messages.get(*index).is_some_and(|message| message.uid() == uid);
        let found = near.into_iter().find(is).or_else(|| self.snapshot.position(uid, 0));
        self.hint = found.ok_or(Error::Expunged { uid: uid.get() })?;
        Ok(self.hint)
    }

    /// Reads from a data file into what is read ahead.
    fn load(&mut self, index: usize, start: u64, most: usize) -> Result<()> {
        let file = self.spots[index].file;
        let directory = &self.opened.directory;
        let path = directory.data(file);
        let data = match self.data.file(directory, file) {
            Ok(data) => data,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("Missing mix data file: {}", path.display());
                return Err(Error::Damaged { format: "mix", path, offset: 0, what });
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        self.ahead.octets.resize(most, 0);
        let read = data.read_at(&mut self.ahead.octets, start);
        self.ahead.octets.truncate(read.as_ref().copied().unwrap_or(0));
        read.map_err(Error::io("read", path))?;
        (self.ahead.file, self.ahead.start) = (file, start);
        Ok(())
    }

    /// Reads the record before a message, and as much of the message as will be asked for, and sees that it is the
    /// message.
    fn begin(&mut self, index: usize, most: usize) -> Result<()> {
        let uid = self.snapshot.messages[index].uid();
        loop {
            let spot = self.spots[index];
            let loaded = self.load(index, spot.pos, usize::from(spot.record) + most);
            let found = match loaded {
                Ok(()) => Found::at(&self.ahead.octets, uid.get(), &spot),
                Err(Error::Damaged { .. }) if !self.has_searched => Found::Nothing,
                Err(error) => return Err(error),
            };
            if matches!(found, Found::Another | Found::Nothing) && !self.has_searched {
                self.has_searched = true;
                let moved = self.relocate("Error reading mix message header");
                if moved.is_ok() && !self.spots[index].is_at(&spot) {
                    continue;
                }
            }
            return match found {
                Found::Message => Ok(()),
                Found::OfSize(size) => {
                    let text = format!(
                        "Inconsistency in mix message size, uid={:x} ({} != {size})",
                        uid.get(),
                        spot.size
                    );
                    self.complain(uid, Level::Warning, text);
                    Ok(())
                }
                Found::Another => Err(self.wrong_record(uid, &spot)),
                // The octets are no other message's, as far as the index knows; better they than nothing.
                Found::Nothing if !self.ahead.octets.is_empty() => {
                    let error = self.wrong_record(uid, &spot);
                    self.complain(uid, Level::Error, super::reason(error));
                    Ok(())
                }
                Found::Nothing => Err(self.wrong_record(uid, &spot)),
            };
        }
    }

    fn complain(&mut self, uid: Uid, level: Level, text: String) {
        if self.complained != Some(uid) {
            self.complained = Some(uid);
            self.opened.directory.tell(self.manner, level, text);
        }
    }

    fn wrong_record(&self, uid: Uid, spot: &Spot) -> Error {
        let line = self.ahead.octets.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
        let shown = super::text::shown(line, 100);
        let what =
            format!("Error reading mix message header, uid={:x}, s={:x}, h={shown}", uid.get(), spot.size);
        Error::Damaged { format: "mix", path: self.opened.directory.data(spot.file), offset: spot.pos, what }
    }

    fn cut_short(&self, index: usize) -> Error {
        let spot = &self.spots[index];
        let (path, size) = (self.opened.directory.data(spot.file), spot.end());
        let what = format!("Unexpected short mix message file {} < {size}", path.display());
        Error::Damaged { format: "mix", path, offset: spot.pos, what }
    }

    /// Gives octets of a message, from what was read ahead if they are there.
    fn give(&mut self, index: usize, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        let uid = self.snapshot.messages[index].uid();
        if self.verified != Some(uid) {
            self.begin(index, if from == 0 { most } else { 0 })?;
            self.verified = Some(uid);
        }
        let spot = self.spots[index];
        let at = spot.text() + from;
        let skip = at.checked_sub(self.ahead.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.filter(|_| self.ahead.file == spot.file);
        let there = skip.and_then(|skip| self.ahead.octets.get(skip..)).filter(|there| !there.is_empty());
        if let Some(there) = there {
            let given = &there[..there.len().min(most)];
            out.extend_from_slice(given);
            return Ok(given.len());
        }
        self.load(index, at, most)?;
        out.extend_from_slice(&self.ahead.octets);
        match self.ahead.octets.len() {
            0 => Err(self.cut_short(index)),
            given => Ok(given),
        }
    }
}

impl Mailbox for MixMailbox {
    fn driver(&self) -> &'static str {
        "mix"
    }

    fn path(&self) -> &Path {
        &self.opened.directory.path
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        const MOST: usize = 1024 * 1024;
        let index = self.find(uid)?;
        let spot = self.spots[index];
        let (start, end) = match extent {
            Extent::Whole => (0_u64, spot.size),
            Extent::Header => (0, spot.header.into()),
            Extent::Text => (spot.header.into(), spot.size),
        };
        let at = start.saturating_add(from);
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most).min(MOST);
        if most == 0 {
            return Ok(0);
        }
        self.give(index, at, most, out)
    }

    fn refresh(&mut self) -> Result<Changes> {
        self.check_not_lost()?;
        if !self.is_quiet() {
            drop(self.parse()?);
            self.stamp();
        }
        Ok(self.take_changes())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Ok(Box::new(MixEdit::begin(self)?))
    }

    /// All changes are in the files already; what can be done is to reclaim space.
    fn checkpoint(&mut self) -> Result<Changes> {
        if !self.snapshot.writable {
            return self.refresh();
        }
        let held = self.parse()?;
        if let Some(lock) = held.exclusive() {
            self.reclaim(lock, Telling::Yes)?;
        }
        drop(held);
        self.stamp();
        Ok(self.take_changes())
    }

    fn wake(&self) -> Wake {
        let parts = [Part::Index, Part::Status];
        Wake { paths: parts.map(|part| self.opened.directory.part(part)).into() }
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        if self.holes && self.snapshot.writable && self.manner == Manner::Session {
            drop(self.checkpoint()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ailurus_store::MessageInfo;

    #[test]
    fn a_message_takes_64_octets() {
        assert_eq!(size_of::<Spot>() + size_of::<MessageInfo>(), 64);
    }
}
