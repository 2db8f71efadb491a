//! An open mx mailbox.

use super::edit::MxEdit;
use super::file::{Locked, Seen, look};
use super::index::{Index, SLOTS};
use crate::disk::Disk;
use crate::files::next_validity;
use crate::numbered::{FileId, Folder, Kept, Names, Stamp, tidy};
use ailurus_store::{
    Access, Changes, Edit, Environment, Error, Extent, Level, Mailbox, Manner, MessageInfo, PermanentFlags,
    Result, Snapshot, Wake,
};
use ailurus_types::{Flags, Keyword, Keywords, SystemFlags, Uid, UidValidity};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// An open mailbox.
pub(super) struct MxMailbox {
    pub(super) environment: Arc<Environment>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: Folder,
    pub(super) snapshot: Snapshot,
    /// In the order of `snapshot.messages`.
    pub(super) entries: Vec<Kept>,
    /// The index as it was read or written last, without its messages.
    pub(super) index: Index,
    pub(super) pending: Changes,
    index_seen: Option<Seen>,
    stamp: Option<Stamp>,
    pub(super) must_scan: bool,
    /// Whether each number is that of a message, by what is in the directory alone, and the index is well.
    pub(super) is_plain: bool,
    manner: Manner,
    reader: Option<(Uid, File)>,
    ahead: Vec<u8>,
}

impl MxMailbox {
    /// Opens the mailbox in a directory.
    pub(super) fn open(
        environment: &Arc<Environment>,
        disk: &Arc<dyn Disk>,
        directory: &Path,
        access: Access,
        manner: Manner,
    ) -> Result<Self> {
        let folder = Folder::open(directory).map_err(Error::io("open", directory))?;
        let snapshot = Snapshot {
            uid_validity: UidValidity::MIN,
            uid_next: None,
            keywords: Keywords::default(),
            permanent: PermanentFlags::default(),
            writable: access == Access::ReadWrite,
            sticky_uids: true,
            messages: Vec::new(),
        };
        let mut mailbox = Self {
            environment: Arc::clone(environment),
            disk: Arc::clone(disk),
            folder,
            snapshot,
            entries: Vec::new(),
            index: Index::default(),
            pending: Changes::default(),
            index_seen: None,
            stamp: None,
            must_scan: false,
            is_plain: false,
            manner,
            reader: None,
            ahead: Vec::new(),
        };
        let locked = mailbox.lock()?;
        mailbox.snapshot.writable &= locked.writable;
        mailbox.synchronize(&locked)?;
        mailbox.pending = Changes::default();
        Ok(mailbox)
    }

    pub(super) fn lock(&self) -> Result<Locked> {
        Locked::open(&self.environment, &self.disk, self.folder.path())
    }

    /// Reads what others did to index and directory, and writes down what the index does not say yet.
    pub(super) fn synchronize(&mut self, locked: &Locked) -> Result<()> {
        let mut index = locked.read()?;
        let mut differs = index.error.is_some();
        if let Some((at, what)) = index.error.take() {
            let place = format!("{}: damaged mx index at byte {at}", self.folder.path().display());
            self.environment.notices.tell(Level::Log, place);
            if self.manner == Manner::Session {
                self.environment.notices.tell(Level::Error, format!("Error in index: {what}"));
            }
        }
        let before = index.clone_head();
        self.settle_validity(&mut index);
        differs |= index.clone_head() != before;
        let is_well = !differs;
        differs |= self.scan(locked, &mut index)?;
        self.is_plain &= is_well;
        let known = std::mem::take(&mut index.messages);
        differs |= known.len() != self.entries.len();
        self.index = index;
        self.adopt();
        // Who only reads writes nothing but a UIDVALIDITY that nobody would find again, and that these UIDs are given.
        if self.index.last > before.1 && locked.writable && !self.snapshot.writable && before.0 != 0 {
            self.log_failure(self.keep_last(locked, known));
        }
        if differs && locked.writable && (self.snapshot.writable || before.0 == 0) {
            // What is shown is true all the same: UIDs are the names of files.
            let written = self.write(locked);
            if written.is_err() && self.index.last > before.1 && locked.head()?.is_some() {
                // This needs no room on the disk.
                locked.set_last(&*self.disk, self.index.last).ok();
            }
            self.must_scan |= written.is_err();
            self.log_failure(written);
        }
        self.index_seen = locked.seen().filter(Seen::is_settled);
        Ok(())
    }

    fn log_failure(&self, written: Result<()>) {
        if let Err(error) = written {
            self.environment.notices.tell(Level::Log, error.to_string());
        }
    }

    /// Writes UIDLAST, and nothing else that is new.
    fn keep_last(&self, locked: &Locked, known: Vec<(u32, Flags)>) -> Result<()> {
        match locked.head()? {
            Some(_) => locked.set_last(&*self.disk, self.index.last),
            None => locked.write(&self.disk, &self.index, known.into_iter()),
        }
    }

    /// An index of no octets, or one that lost its value, gets a new one.
    fn settle_validity(&mut self, index: &mut Index) {
        if index.validity == 0 {
            let known = self.index.validity;
            index.validity = next_validity(&self.environment, known);
            if index.keywords.is_empty() {
                let known = if known == 0 { Keywords::default() } else { self.index.keywords.clone() };
                index.keywords = known;
                for keyword in &self.environment.default_keywords {
                    index.keywords.find_or_add(keyword, SLOTS).ok();
                }
            }
        }
        if self.index.validity != 0 && self.index.validity != index.validity {
            self.pending.uid_validity = true;
        }
    }

    /// Reads the directory and takes over the flags; tells whether the index must be written.
    fn scan(&mut self, locked: &Locked, index: &mut Index) -> Result<bool> {
        let path = self.folder.path().to_path_buf();
        let failed = |error| Error::io("read", &path)(error);
        let mut stamp = self.folder.stamp().map_err(lost(&path))?;
        if self.stamp != Some(stamp) || self.must_scan {
            let mut names = Names::read(&path).map_err(failed)?;
            if !names.leftovers.is_empty() && locked.writable && self.snapshot.writable {
                if let Err(error) = tidy(&*self.disk, &path, &names.leftovers) {
                    let text = format!("what was left behind in {} stays: {error}", path.display());
                    self.environment.notices.tell(Level::Log, text);
                }
                stamp = self.folder.stamp().map_err(lost(&path))?;
                names = Names::read(&path).map_err(failed)?;
            }
            self.must_scan = false;
            self.match_files(&names.numbers, index).map_err(failed)?;
            self.is_plain = !names.links && names.numbers.len() == self.entries.len();
            // What a writer has there that still lives is settled by us if it dies, which no time of the directory shows.
            self.stamp = Some(stamp).filter(|stamp| stamp.is_settled() && names.leftovers.is_empty());
        }
        let last = self.snapshot.largest_uid().map_or(0, Uid::get);
        let mut differs = last > index.last;
        index.last = index.last.max(last);
        for position in 0..self.entries.len() {
            let message = &mut self.snapshot.messages[position];
            match index.flags(message.uid().get()) {
                Some(flags) if flags != message.flags() => {
                    message.set_flags(flags);
                    self.pending.flags.insert(message.uid());
                }
                Some(_) => {}
                // Another program did not know of the message when it wrote: what is known of its flags is written again.
                None => differs = true,
            }
        }
        Ok(differs)
    }

    /// Finds out which messages came and went.
    fn match_files(&mut self, numbers: &[u32], index: &Index) -> io::Result<()> {
        let (messages, entries) =
            (std::mem::take(&mut self.snapshot.messages), std::mem::take(&mut self.entries));
        let mut known = messages.into_iter().zip(entries).peekable();
        // An index that never held anything tells of no message whether somebody was told.
        let first = index.last == 0 && index.messages.is_empty();
        for number in numbers {
            while let Some((gone, _)) = known.next_if(|(message, _)| message.uid().get() < *number) {
                self.pending.expunged.insert(gone.uid());
            }
            let before = known.next_if(|(message, _)| message.uid().get() == *number);
            let look = match self.folder.look(*number) {
                Ok(look) => look,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => None,
            };
            let Some((look, uid)) = look.zip(Uid::new(*number)) else {
                if let Some((gone, _)) = before {
                    self.pending.expunged.insert(gone.uid());
                }
                continue;
            };
            let id = look.id;
            // The reference makes a file first and writes then.
            self.must_scan |= id.is_fresh();
            if id.size == 0 && id.is_fresh() {
                continue;
            }
            let same = before.filter(|(message, entry)| entry.id(message) == id);
            let (message, entry) = same.unwrap_or_else(|| {
                let flags = before.map_or(Flags::default(), |(message, _)| message.flags());
                let mut message = MessageInfo::new(uid, flags, id.date(), id.size.into());
                let told = index.flags(*number).is_some();
                message.set_recent(before.map_or(!told && !first, |(message, _)| message.is_recent()));
                self.pending.arrived |= before.is_none();
                if before.is_some() {
                    self.pending.flags.insert(uid);
                }
                (message, Kept::new(&id, Kept::UNKNOWN))
            });
            self.snapshot.messages.push(message);
            self.entries.push(entry);
        }
        known.for_each(|(gone, _)| self.pending.expunged.insert(gone.uid()));
        Ok(())
    }

    /// Shows the index to the session.
    fn adopt(&mut self) {
        let snapshot = &mut self.snapshot;
        self.pending.keywords |= snapshot.keywords != self.index.keywords;
        snapshot.keywords = self.index.keywords.clone();
        snapshot.uid_validity = UidValidity::new(self.index.validity).unwrap_or(UidValidity::MIN);
        snapshot.uid_next = self.index.last.checked_add(1).and_then(Uid::new);
        if snapshot.writable {
            let new_keywords = snapshot.keywords.len() < SLOTS;
            snapshot.permanent = PermanentFlags { system: SystemFlags::ALL, keywords: true, new_keywords };
        }
    }

    /// Writes the index as this session knows it.
    pub(super) fn write(&mut self, locked: &Locked) -> Result<()> {
        let messages = self.snapshot.messages.iter().map(|message| (message.uid().get(), message.flags()));
        locked.write(&self.disk, &self.index, messages)?;
        self.adopt();
        self.index_seen = locked.seen().filter(Seen::is_settled);
        Ok(())
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.pending)
    }

    /// Returns the identity of a message's file.
    pub(super) fn id(&self, position: usize) -> FileId {
        self.entries[position].id(&self.snapshot.messages[position])
    }

    fn is_quiet(&self) -> Result<bool> {
        let now = self.folder.stamp().map_err(lost(self.folder.path()))?;
        Ok(self.stamp == Some(now) && !self.must_scan && self.index_seen == look(self.folder.path()))
    }

    /// Opens a message's file, unless it is open.
    fn open_message(&mut self, position: usize) -> Result<()> {
        let uid = self.snapshot.messages[position].uid();
        if self.reader.as_ref().is_some_and(|(known, _)| *known == uid) {
            return Ok(());
        }
        let id = self.id(position);
        let opened = self.folder.open_file(uid.get(), &id);
        let Some(file) = opened.map_err(Error::io("read", self.folder.file(uid.get())))? else {
            self.must_scan = true;
            return Err(Error::Expunged { uid: uid.get() });
        };
        self.reader = Some((uid, file));
        Ok(())
    }

    fn read_at(&self, at: u64, octets: &mut [u8]) -> Result<usize> {
        let Some((uid, file)) = &self.reader else { return Ok(0) };
        match file.read_at(octets, at) {
            Ok(0) if !octets.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        }
        .map_err(Error::io("read", self.folder.file(uid.get())))
    }

    /// Returns how many octets the header of a message has; its file is open.
    fn header(&mut self, position: usize, size: u64) -> Result<u64> {
        const BLOCK: usize = 4096;
        if self.entries[position].header != Kept::UNKNOWN {
            return Ok(self.entries[position].header.into());
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        let (mut at, mut header) = (0, size);
        while at < size {
            ahead.resize(usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK), 0);
            let read = self.read_at(at, &mut ahead)?;
            let octets = &ahead[..read];
            if at == 0 && octets.starts_with(b"\r\n") {
                header = 2;
                break;
            }
            if let Some(found) = memchr::memmem::find(octets, b"\r\n\r\n") {
                header = at + found as u64 + 4;
                break;
            }
            if at + read as u64 >= size {
                break;
            }
            // The end can lie across two blocks.
            at += (read.saturating_sub(3)).max(1) as u64;
        }
        self.ahead = ahead;
        self.entries[position].header = u32::try_from(header).unwrap_or(Kept::UNKNOWN - 1);
        Ok(header)
    }
}

impl Index {
    /// Returns all but the messages.
    fn clone_head(&self) -> (u32, u32, Vec<Option<Keyword>>) {
        let keywords = (0..self.keywords.len()).map(|slot| self.keywords.get(slot).cloned());
        (self.validity, self.last, keywords.collect())
    }
}

fn lost(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    |error| match error.kind() {
        io::ErrorKind::NotFound => Error::Lost { path, what: "mailbox is no longer there".into() },
        _ => Error::io("look at", path)(error),
    }
}

impl Mailbox for MxMailbox {
    fn driver(&self) -> &'static str {
        "mx"
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        const MOST: usize = 1024 * 1024;
        let position = self.snapshot.position(uid, usize::MAX).ok_or(Error::Expunged { uid: uid.get() })?;
        self.open_message(position)?;
        let size = u64::from(self.snapshot.messages[position].rfc822_size());
        let (start, end) = match extent {
            Extent::Whole => (0, size),
            Extent::Header => (0, self.header(position, size)?),
            Extent::Text => (self.header(position, size)?, size),
        };
        let at = start.saturating_add(from);
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most).min(MOST);
        if most == 0 {
            return Ok(0);
        }
        let before = out.len();
        out.resize(before + most, 0);
        let read = self.read_at(at, &mut out[before..]);
        out.truncate(before + read.as_ref().copied().unwrap_or(0));
        read
    }

    fn refresh(&mut self) -> Result<Changes> {
        if !self.is_quiet()? {
            self.reader = None;
            let locked = self.lock()?;
            self.synchronize(&locked)?;
        }
        Ok(self.take_changes())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Ok(Box::new(MxEdit::begin(self)?))
    }

    /// All changes are on the disk already.
    fn checkpoint(&mut self) -> Result<Changes> {
        self.refresh()
    }

    fn wake(&self) -> Wake {
        Wake { paths: vec![self.folder.path().into()] }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
