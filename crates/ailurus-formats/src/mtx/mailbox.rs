//! An open mailbox.

use super::Dialect;
use super::edit::MtxEdit;
use super::fields;
use super::ledger::{Held, Ledger};
use super::lf::Cursor;
use super::line::FIELD;
use crate::ahead::Ahead;
use crate::file_times::FileTimes;
use crate::index::{OWN, Proof, Stamp};
use crate::lock::{Mode, Wait, lock_file};
use crate::mail_file::MailFile;
use ailurus_store::{
    Access, Changes, Edit, Error, Extent, Mailbox, Manner, PermanentFlags, Result, Snapshot, Wake,
};
use ailurus_types::{Keywords, Uid};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where a message is; with [`MessageInfo`](ailurus_store::MessageInfo) 64 octets of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Where its line begins.
    pub(super) offset: u64,
    /// Octets of the message in the file, without the line.
    pub(super) size: u64,
    /// What tells it from others.
    pub(super) key: u64,
    /// Octets of its header in the file; [`UNKNOWN`] until somebody asks.
    pub(super) header: u32,
    pub(super) line_len: u8,
}

const UNKNOWN: u32 = u32::MAX;

impl Spot {
    pub(super) fn new(offset: u64, size: u64, key: u64, line_len: u8) -> Self {
        Self { offset, size, key, header: UNKNOWN, line_len }
    }

    fn text(&self) -> u64 {
        self.offset + u64::from(self.line_len)
    }

    pub(super) fn end(&self) -> u64 {
        self.text() + self.size
    }
}

/// An open mailbox; holds a shared flock of the file, which says "I know where messages are".
pub(super) struct MtxMailbox {
    pub(super) file: MailFile,
    pub(super) dialect: &'static Dialect,
    pub(super) snapshot: Snapshot,
    /// In the order of `snapshot.messages`.
    pub(super) spots: Vec<Spot>,
    /// Up to where the file is parsed.
    pub(super) end: u64,
    pub(super) ledger: Ledger,
    pub(super) use_as: Use,
    /// A rewrite was interrupted: positions are void.
    pub(super) lost: bool,
    /// What the next refresh or commit has to tell.
    pub(super) pending: Changes,
    pub(super) times: FileTimes,
    pub(super) manner: Manner,
    /// That what is known is what is in the file.
    pub(super) proof: Option<Proof>,
    /// And in the sidecar, in this state.
    pub(super) mark: Option<[u64; OWN]>,
    /// Of which state of both there is an index.
    pub(super) stored: Option<(Stamp, [u64; OWN])>,
    /// The message read last: the next is probably it again, or the one behind.
    hint: usize,
    ahead: Ahead,
    reading: Reading,
}

/// Where the last call of `read` stopped in a message with LFs.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// Where what is being read starts in the file, and ends.
    range: (u64, u64),
    cursor: Cursor,
}

/// What a mailbox is loaded for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    Read,
    /// To add messages: nobody is told of those that are there.
    Append,
    Write,
}

impl MtxMailbox {
    /// Opens the file, whose flock is not taken yet.
    pub(super) fn open(
        file: MailFile,
        dialect: &'static Dialect,
        access: Access,
        manner: Manner,
    ) -> Result<Self> {
        let mut ledger = Ledger::new(&file);
        let mut held = ledger.hold(&file)?;
        if !file.is_current() {
            return Err(file.replaced());
        }
        file.recover(held.name())?;
        lock_file(&file.file, Mode::Shared, Wait::Block).map_err(file.io("lock"))?;
        let use_as = if access == Access::ReadWrite { Use::Write } else { Use::Read };
        Self::load(file, dialect, ledger, &mut held, use_as, manner)
    }

    /// Parses a file that is locked already.
    pub(super) fn load(
        file: MailFile,
        dialect: &'static Dialect,
        ledger: Ledger,
        held: &mut Held,
        use_as: Use,
        manner: Manner,
    ) -> Result<Self> {
        let snapshot = Snapshot {
            uid_validity: ledger.state.uid_validity,
            uid_next: Some(Uid::MIN),
            keywords: Keywords::default(),
            permanent: PermanentFlags::default(),
            writable: use_as == Use::Write,
            sticky_uids: false,
            messages: Vec::new(),
        };
        let mut mailbox = Self {
            file,
            dialect,
            snapshot,
            spots: Vec::new(),
            end: 0,
            ledger,
            use_as,
            lost: false,
            pending: Changes::default(),
            times: FileTimes::default(),
            manner,
            proof: None,
            mark: None,
            stored: None,
            hint: 0,
            ahead: Ahead::default(),
            reading: Reading::default(),
        };
        mailbox.take_index(held)?;
        mailbox.parse(held)?;
        mailbox.pending = Changes::default();
        mailbox.keep();
        Ok(mailbox)
    }

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.pending)
    }

    /// Where the flag field of a message is.
    pub(super) fn place(&self, index: usize) -> fields::Place {
        let line_end = self.spots[index].text() - self.dialect.newline.len() as u64;
        fields::Place { at: line_end - (FIELD - 1) as u64, number: index + 1 }
    }

    /// Remembers the times after a change of our own, and puts the access time behind it.
    pub(super) fn settle_times(&mut self, held: &Held) -> Result<()> {
        self.proof = self.file.touch_signed(0, self.file.metadata()?.mtime(), self.proof.take());
        self.take_mark(held);
        self.times = FileTimes::of(&self.file.metadata()?);
        Ok(())
    }

    /// Forgets what was read ahead: messages have moved.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead = Ahead::default();
        self.reading = Reading::default();
    }

    pub(super) fn check_size(&self, size: u64) -> Result<()> {
        self.check_not_lost()?;
        if size >= self.end { Ok(()) } else { Err(self.shrank(size)) }
    }

    fn check_not_lost(&self) -> Result<()> {
        if !self.lost {
            return Ok(());
        }
        let what = "a rewrite of the mailbox was interrupted".into();
        Err(Error::Lost { path: self.file.path.clone(), what })
    }

    fn shrank(&self, size: u64) -> Error {
        let what = format!("Mailbox shrank from {} to {size}!", self.end);
        Error::Lost { path: self.file.path.clone(), what }
    }

    fn cut_short(&self) -> Error {
        self.shrank(self.file.file.metadata().map_or(0, |meta| meta.len()))
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

    /// Returns how many octets of the file the header of a message has.
    fn header_size(&mut self, index: usize) -> Result<u64> {
        let spot = self.spots[index];
        if spot.header != UNKNOWN {
            return Ok(spot.header.into());
        }
        let newline = self.dialect.newline;
        let found = self.ahead.header_size(&self.file.file, spot.text(), spot.size, newline);
        let size = found.map_err(self.file.io("read"))?.ok_or_else(|| self.cut_short())?;
        // One that is larger than fits is searched for again each time.
        self.spots[index].header = u32::try_from(size).unwrap_or(UNKNOWN);
        Ok(size)
    }

    /// Returns where an extent of a message starts in the file, and ends.
    fn range(&mut self, index: usize, extent: Extent) -> Result<(u64, u64)> {
        let (text, end) = (self.spots[index].text(), self.spots[index].end());
        Ok(match extent {
            Extent::Whole => (text, end),
            Extent::Header => (text, text + self.header_size(index)?),
            Extent::Text => (text + self.header_size(index)?, end),
        })
    }

    /// Reads octets that are in the file as they are shown.
    fn read_crlf(
        &mut self,
        (start, end): (u64, u64),
        from: u64,
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize> {
        let at = start.saturating_add(from);
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most);
        if most == 0 {
            return Ok(0);
        }
        let given = self.ahead.give(&self.file.file, at, most, out);
        match given.map_err(self.file.io("read"))? {
            0 => Err(self.cut_short()),
            given => Ok(given),
        }
    }

    /// Reads text with LFs in CRLF form.
    fn read_lf(&mut self, range: (u64, u64), from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        if self.reading.range != range || self.reading.cursor.output > from {
            self.reading = Reading { range, cursor: Cursor::default() };
        }
        let before = out.len();
        self.advance(from, None)?;
        // Where that is behind the end there is nothing to read.
        if self.reading.cursor.output == from {
            self.advance(from.saturating_add(most as u64), Some(out))?;
        }
        Ok(out.len() - before)
    }

    fn advance(&mut self, to: u64, mut out: Option<&mut Vec<u8>>) -> Result<()> {
        const PIECE: usize = 64 * 1024;
        let (start, end) = self.reading.range;
        loop {
            let cursor = &mut self.reading.cursor;
            let at = start + cursor.input;
            let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            if most == 0 || cursor.output >= to {
                return Ok(());
            }
            let piece = self.ahead.get(&self.file.file, at, most).map_err(self.file.io("read"))?;
            if piece.is_empty() {
                return Err(self.cut_short());
            }
            if cursor.advance(piece, to, out.as_deref_mut()) {
                return Ok(());
            }
        }
    }
}

impl Mailbox for MtxMailbox {
    fn driver(&self) -> &'static str {
        self.dialect.name
    }

    fn path(&self) -> &Path {
        &self.file.path
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        const MOST: usize = 1024 * 1024;
        let index = self.find(uid)?;
        let range = self.range(index, extent)?;
        let most = most.min(MOST);
        if self.dialect.crlf {
            self.read_crlf(range, from, most, out)
        } else {
            self.read_lf(range, from, most, out)
        }
    }

    fn refresh(&mut self) -> Result<Changes> {
        let quiet = FileTimes::of(&self.file.metadata()?) == self.times && !self.ledger.has_news();
        if !quiet || self.lost {
            self.catch_up()?;
        }
        Ok(self.take_changes())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Ok(Box::new(MtxEdit::begin(self)?))
    }

    /// All changes are in the file already.
    fn checkpoint(&mut self) -> Result<Changes> {
        self.refresh()
    }

    fn wake(&self) -> Wake {
        Wake { paths: vec![self.file.path.clone()] }
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        if self.snapshot.writable {
            self.keep();
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
