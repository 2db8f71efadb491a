//! New messages at the end of the file.

use super::Mbx;
use super::file::MbxFile;
use super::header::{Header, Intent, SIZE};
use super::indexed;
use super::line::{Field, Line, MOST};
use super::torn;
use super::uids::Uids;
use super::walk::{Step, Walk};
use crate::checksum::Sum;
use crate::incoming::{Incoming, LineEnds, Waiting};
use crate::index::Found;
use crate::lock::{Mode, NameLock, Wait, lock_file};
use crate::{files, mbx::fields};
use ailurus_store::{Access, Append, AppendMeta, Appended, Error, Level, Location, Result};
use ailurus_types::{Flags, InternalDate, KeywordMask, Uid, UidValidity};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Messages on their way into a mailbox.
pub(super) struct MbxAppend<'d> {
    driver: &'d Mbx,
    at: Location,
    path: PathBuf,
    incoming: Incoming,
}

impl<'d> MbxAppend<'d> {
    pub(super) fn new(driver: &'d Mbx, at: &Location, path: &Path) -> Self {
        let incoming = Incoming::new(path, &driver.environment, LineEnds::Crlf);
        Self { driver, at: at.clone(), path: path.into(), incoming }
    }

    /// Opens the mailbox and locks it; the file can be replaced in between.
    fn open(&self) -> Result<(MbxFile, NameLock)> {
        const MOST_TRIES: usize = 100;
        for _ in 0..MOST_TRIES {
            let file = self.driver.file(&self.path, self.open_or_create()?);
            let lock = file.lock()?;
            if file.is_current() {
                file.recover(&lock)?;
                lock_file(&file.file, Mode::Shared, Wait::Block).map_err(file.io("lock"))?;
                return Ok((file, lock));
            }
        }
        Err(Error::InUse { path: self.path.clone() })
    }

    fn open_or_create(&self) -> Result<File> {
        let failed = files::failure("open", &self.at, &self.path);
        match files::open(&self.path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.at.path().is_none() => {
                let (mode, _) = self.driver.environment.modes(&self.at.name);
                self.driver.disk.create_new(&self.path, mode).map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    /// Returns the header; a file of no octets gets one.
    fn header(&self, file: &MbxFile) -> Result<Header> {
        if file.metadata()?.len() > 0 {
            return file.header().map_err(|_| Error::WrongFormat { format: "mbx", path: self.path.clone() });
        }
        // Without its header the file is nobody's mailbox: it must be safe before anything comes behind.
        let mut header = self.driver.new_header();
        if let Err(error) = file.write_header(&mut header).and_then(|()| file.sync()) {
            file.disk.set_len(&file.file, 0).ok();
            return Err(error);
        }
        Ok(header)
    }

    /// Makes the lines: UIDs, keywords, dates.
    fn lines(&self, header: &mut Header) -> Result<(Vec<Vec<u8>>, Vec<Uid>)> {
        let (mut lines, mut uids) = (Vec::new(), Vec::new());
        let clock = &self.driver.environment.clock;
        for Waiting { meta, .. } in self.incoming.messages()? {
            let last = header.uid_last.checked_add(1).and_then(Uid::new);
            let uid = last.ok_or_else(|| Error::Refused("no UID is left in this mailbox".into()))?;
            header.uid_last = uid.get();
            let mut flags = Flags { system: meta.system, keywords: KeywordMask::NONE };
            for keyword in &meta.keywords {
                match header.add_keyword(keyword) {
                    Some(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                    None => self.driver.warn(format!("Unknown flag: {keyword}")),
                }
            }
            let now = || InternalDate::from_timestamp(clock.now(), clock.local_offset());
            let field = Field { flags, uid: uid.get(), ..Field::default() };
            let mut line = Vec::with_capacity(MOST);
            Line::append_to(meta.internal_date.unwrap_or_else(now), meta.size, field, &mut line);
            lines.push(line);
            uids.push(uid);
        }
        Ok((lines, uids))
    }

    /// Gives lines and messages in pieces as they will be in the file.
    fn give(&self, lines: &[Vec<u8>], give: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for (line, waiting) in lines.iter().zip(self.incoming.messages()?) {
            give(line)?;
            self.incoming.give(waiting, u64::MAX, give)?;
        }
        Ok(())
    }

    /// Returns what is to be announced.
    fn intent(&self, lines: &[Vec<u8>], start: u64) -> Result<Intent> {
        let (mut sum, mut end) = (Sum::default(), start);
        for (line, waiting) in lines.iter().zip(self.incoming.messages()?) {
            end += line.len() as u64 + waiting.size;
            sum.add(Line::constant(line));
            self.incoming.give(waiting, u64::MAX, &mut |piece| {
                sum.add(piece);
                Ok(())
            })?;
        }
        Ok(Intent { start, end, sum: sum.value() })
    }

    /// Writes header and messages, and syncs them; on failure the caller undoes it.
    fn write(&self, file: &MbxFile, header: &mut Header, lines: &[Vec<u8>], start: u64) -> Result<u64> {
        const BLOCK: usize = 1024 * 1024;
        let intent = self.intent(lines, start)?;
        let end = intent.end;
        header.set_intent(Some(intent));
        file.write_header(header)?;
        if lines.len() > 1 {
            // One torn message is known by itself. That some of several are whole is not known without this.
            file.sync()?;
        }
        let (mut block, mut at) = (Vec::new(), start);
        self.give(lines, &mut |piece| {
            block.extend_from_slice(piece);
            if block.len() >= BLOCK {
                file.write(&block, at)?;
                at += block.len() as u64;
                block.clear();
            }
            Ok(())
        })?;
        if !block.is_empty() {
            file.write(&block, at)?;
        }
        file.sync()?;
        Ok(end)
    }
}

impl Append for MbxAppend<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        self.incoming.begin(meta)
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.incoming.write(octets)
    }

    fn end(&mut self) -> Result<()> {
        self.incoming.end()
    }

    fn commit(self: Box<Self>) -> Result<Appended> {
        let messages = self.incoming.messages()?;
        let (file, lock) = self.open()?;
        let before = file.metadata()?;
        let mut header = self.header(&file)?;
        let index = file.index(Access::ReadWrite);
        let start = self.driver.settle_uids(&file, &lock, &mut header, index.as_ref())?;
        let mut undo = header.clone();
        let (lines, uids) = self.lines(&mut header)?;
        let end = match self.write(&file, &mut header, &lines, start) {
            Ok(end) => end,
            Err(error) => {
                // Nobody was told of the UIDs, so they are free again. If this fails too, the intent stays behind
                // for whoever comes next.
                if file.disk.set_len(&file.file, start).is_ok() {
                    file.write_header(&mut undo).and_then(|()| file.sync()).ok();
                }
                let accessed = (before.ctime() > before.atime()).then(|| before.atime());
                file.restore_times(accessed, before.mtime());
                return Err(error);
            }
        };
        header.set_intent(None);
        // The messages are there and safe: an intent that stays is settled by whoever comes next.
        file.write_header(&mut header).ok();
        if before.len() == 0 {
            files::sync_parent(&*self.driver.disk, &self.path)?;
        }
        let proof = file.touch_signed(1, before.mtime(), index.as_ref().map(Found::proof));
        if let Some((index, proof)) = index.zip(proof).filter(|_| start == before.len()) {
            indexed::extend(&file, index, proof, &header, &lines, start);
        }
        if let (Some(line), Some(last), Some(uid)) = (lines.last(), messages.last(), uids.last()) {
            let at = end - last.size - line.len() as u64;
            self.driver.remember(&file, &header, at, uid.get());
        }
        drop(lock);
        let validity = UidValidity::new(header.uid_validity).unwrap_or(UidValidity::MIN);
        Ok(Appended { uids: Some((validity, uids)) })
    }
}

/// What is known of a mailbox from the last append: up to the end of this message all have UIDs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    validity: u32,
    last_line: u64,
    uid: u32,
}

impl Mbx {
    /// Gives every message a UID, so that those of new messages are final. Returns where they go.
    ///
    /// Messages before the one that an append of this process ended with have UIDs, as long as that one is still
    /// where it was: had anything before it gone, it would have moved.
    fn settle_uids(
        &self,
        file: &MbxFile,
        lock: &NameLock,
        header: &mut Header,
        index: Option<&Found<'_>>,
    ) -> Result<u64> {
        let size = torn::settle(file, lock, header, SIZE as u64, file.metadata()?.len())?;
        let mut start = SIZE as u64;
        let mut uids = Uids::new(header.uid_last);
        let indexed = index.filter(|index| index.head.uid_validity == header.uid_validity);
        let indexed = indexed.map(|index| (indexed::end_of(index), header.uid_last));
        if let Some((end, uid)) = indexed.or_else(|| self.recall(file, header)) {
            (start, uids.previous) = (end, uid);
        }
        let mut walk = Walk::new(file, start, size, uids);
        let (mut assigned, mut adopted) = (Vec::new(), false);
        let torn = loop {
            match walk.step()? {
                Step::Message(met) => {
                    adopted |= met.settled.adopted;
                    if met.settled.assigned {
                        let at = met.offset + u64::from(met.line.len) - super::line::FIELD as u64;
                        let field = Field { uid: met.settled.uid, ..met.line.field };
                        assigned.push((fields::Place { at, number: assigned.len() + 1 }, field));
                    }
                }
                Step::End => break None,
                Step::Torn(rest) => break Some(rest),
            }
        };
        let (end, uids) = (walk.at, walk.uids);
        if let Some(rest) = torn {
            torn::mend(file, lock, rest, end, size)?;
        }
        if uids.rebuilt {
            header.uid_validity = files::next_validity(&self.environment, header.uid_validity);
            self.warn("Invalid UIDs in mailbox, rebuilding UIDs".into());
        }
        header.uid_last = uids.last;
        if !assigned.is_empty() || adopted {
            file.write_header(header)?;
            fields::write(file, assigned.into_iter())?;
            // A power loss must not keep some of these UIDs and a torn append behind them.
            file.sync()?;
        }
        file.metadata().map(|meta| meta.len())
    }

    fn recall(&self, file: &MbxFile, header: &Header) -> Option<(u64, u32)> {
        let walked = *self.walked().get(&key(file)?)?;
        let mut octets = [0; MOST];
        let read = file.file.read_at(&mut octets, walked.last_line).ok()?;
        let line = Line::parse(&octets[..read], walked.last_line, 0).ok()?;
        let end = walked.last_line.checked_add(u64::from(line.len))?.checked_add(line.size)?;
        let same = walked.validity == header.uid_validity && line.field.uid == walked.uid;
        (same && walked.uid <= header.uid_last).then_some((end, walked.uid))
    }

    fn remember(&self, file: &MbxFile, header: &Header, last_line: u64, uid: u32) {
        const MOST_MAILBOXES: usize = 256;
        let Some(key) = key(file) else { return };
        let mut walked = self.walked();
        if walked.len() >= MOST_MAILBOXES {
            walked.clear();
        }
        walked.insert(key, Walked { validity: header.uid_validity, last_line, uid });
    }

    fn warn(&self, text: String) {
        self.environment.notices.tell(Level::Warning, text);
    }
}

fn key(file: &MbxFile) -> Option<(u64, u64)> {
    let meta = file.file.metadata().ok()?;
    Some((meta.dev(), meta.ino()))
}
