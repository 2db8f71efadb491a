//! An open mbx mailbox.

use super::edit::MbxEdit;
use super::fields;
use super::file::MbxFile;
use super::header::{Header, SIZE};
use super::line::{FIELD, Field, Line};
use super::torn;
use super::uids::Uids;
use super::walk::{Met, Step, Walk};
use crate::ahead::Ahead;
use crate::file_times::FileTimes;
use crate::files::next_validity;
use crate::index::{Notes, Proof, Stamp};
use crate::lock::{Mode, NameLock, Wait, lock_file};
use crate::window::Window;
use ailurus_store::{
    Changes, Edit, Error, Extent, Level, Mailbox, Manner, MessageInfo, MessageNotes, PermanentFlags, Result,
    Snapshot, Wake,
};
use ailurus_types::{Keywords, SystemFlags, Uid, UidSet, UidValidity};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where a message is; with [`MessageInfo`] 64 octets of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Where its line begins.
    pub(super) offset: u64,
    /// Octets of the message, without the line.
    pub(super) size: u64,
    /// Octets of its header; [`UNKNOWN`] until somebody asks.
    pub(super) header: u64,
    pub(super) line_len: u8,
    /// Another session expunged it; it stays readable until this session has been told.
    pub(super) hidden: bool,
}

const UNKNOWN: u64 = u64::MAX;

impl Spot {
    /// Returns that of a message whose line is at `offset`.
    pub(super) fn new(offset: u64, line: &Line) -> Self {
        Self { offset, size: line.size, header: UNKNOWN, line_len: line.len, hidden: false }
    }

    fn text(&self) -> u64 {
        self.offset + u64::from(self.line_len)
    }

    pub(super) fn end(&self) -> u64 {
        self.text() + self.size
    }
}

/// An open mailbox; holds a shared flock of the file, which says "I know where messages are".
pub(super) struct MbxMailbox {
    pub(super) file: MbxFile,
    pub(super) snapshot: Snapshot,
    /// In the order of `snapshot.messages`.
    pub(super) spots: Vec<Spot>,
    /// Up to where the file is parsed.
    pub(super) end: u64,
    pub(super) header: Header,
    /// Something in the file is no message of ours: its space can be reclaimed.
    pub(super) holes: bool,
    /// How many messages are known to be hidden by others and not taken out yet.
    hidden: usize,
    /// A rewrite was interrupted: positions are void.
    pub(super) lost: bool,
    /// What the next refresh or commit has to tell.
    pub(super) pending: Changes,
    uids: Uids,
    /// The UID validity as it is in the file; ours differs where we may not write a new one.
    file_validity: u32,
    pub(super) times: FileTimes,
    /// That what is known is what is in the file.
    pub(super) proof: Option<Proof>,
    /// Of which state there is an index.
    pub(super) stored: Option<Stamp>,
    notes: Notes,
    /// A UID, or where the mailbox ends, is known to us only.
    unwritten: bool,
    manner: Manner,
    /// The message read last: the next is probably it again, or the one behind.
    hint: usize,
    ahead: Ahead,
}

impl MbxMailbox {
    /// Opens the file, whose flock is not taken yet.
    pub(super) fn open(file: MbxFile, writable: bool, manner: Manner) -> Result<Self> {
        let lock = file.lock()?;
        if !file.is_current() {
            return Err(file.replaced());
        }
        file.recover(&lock)?;
        lock_file(&file.file, Mode::Shared, Wait::Block).map_err(file.io("lock"))?;
        let header = file.header()?;
        let snapshot = Snapshot {
            uid_validity: validity(&header),
            uid_next: None,
            keywords: Keywords::default(),
            permanent: PermanentFlags::default(),
            writable,
            sticky_uids: true,
            messages: Vec::new(),
        };
        let mut mailbox = Self {
            uids: Uids::new(header.uid_last),
            file_validity: header.uid_validity,
            file,
            snapshot,
            spots: Vec::new(),
            end: SIZE as u64,
            header,
            holes: false,
            hidden: 0,
            lost: false,
            pending: Changes::default(),
            times: FileTimes::default(),
            proof: None,
            stored: None,
            notes: Notes::default(),
            unwritten: false,
            manner,
            hint: 0,
            ahead: Ahead::default(),
        };
        mailbox.take_index()?;
        mailbox.parse(&lock)?;
        if mailbox.holes {
            mailbox.reclaim(&lock, &UidSet::new())?;
        }
        mailbox.pending = Changes::default();
        mailbox.keep();
        Ok(mailbox)
    }

    /// Parses what is new in the file. The flag `sweep` of the outcome tells that flags of known messages may have
    /// changed.
    pub(super) fn parse(&mut self, lock: &NameLock) -> Result<Sweep> {
        if !self.file.is_current() {
            // What is written here now nobody will find.
            return Err(self.file.replaced());
        }
        self.check_proof();
        let times = FileTimes::of(&self.file.metadata()?);
        self.check_size(times.size)?;
        let mut header = self.file.header()?;
        let mut sweep = self.times.ask_for_sweep(&times) && !self.spots.is_empty();
        sweep |= self.header.last_pid().is_some() && self.header.last_pid() != header.last_pid();
        let size = if self.snapshot.writable {
            torn::settle(&self.file, lock, &mut header, self.end, times.size)?
        } else {
            times.size
        };
        let void = if header.uid_validity == self.file_validity { Vec::new() } else { self.forget() };
        self.file_validity = header.uid_validity;
        self.uids.last =
            if self.snapshot.writable { header.uid_last } else { header.uid_last.max(self.uids.last) };
        self.header = header;
        self.parse_messages(lock, size)?;
        for uid in void.into_iter().filter(|uid| self.snapshot.message(*uid).is_none()) {
            self.pending.expunged.insert(uid);
        }
        self.take_header();
        self.hand_on()?;
        self.times = FileTimes::of(&self.file.metadata()?);
        Ok(if sweep { Sweep::Needed } else { Sweep::NotNeeded })
    }

    fn check_size(&self, size: u64) -> Result<()> {
        self.check_not_lost()?;
        if size >= self.end {
            return Ok(());
        }
        let what = format!("Mailbox shrank from {} to {size}!", self.end);
        Err(Error::Lost { path: self.file.path.clone(), what })
    }

    fn check_not_lost(&self) -> Result<()> {
        if !self.lost {
            return Ok(());
        }
        Err(Error::Lost {
            path: self.file.path.clone(),
            what: "a rewrite of the mailbox was interrupted".into(),
        })
    }

    /// Another session assigned UIDs anew. What we know of them is void, and writing them would do harm. Returns
    /// the UIDs that messages had.
    fn forget(&mut self) -> Vec<Uid> {
        let void = self.snapshot.messages.drain(..).map(|message| message.uid()).collect();
        self.pending.uid_validity = true;
        self.spots.clear();
        self.end = SIZE as u64;
        self.uids.previous = 0;
        (self.holes, self.hidden) = (false, 0);
        void
    }

    fn parse_messages(&mut self, lock: &NameLock, size: u64) -> Result<()> {
        let known = self.spots.len();
        let (end, uids) = (self.end, Uids { rebuilt: false, ..self.uids });
        let mut walk = Walk::new(&self.file, end, size, uids);
        let (mut dirty, mut assigned, mut torn) = (false, false, None);
        let outcome = loop {
            match walk.step() {
                Ok(Step::Message(met)) => {
                    assigned |= met.settled.assigned || met.settled.adopted;
                    dirty |= assigned;
                    self.holes |= met.line.field.hidden;
                    if met.settled.invalid && self.manner == Manner::Session {
                        let (uid, number) = (met.line.field.uid, self.spots.len() + 1);
                        let text = format!("Invalid UID {uid:08x} in message {number}, rebuilding UIDs");
                        self.file.environment.notices.tell(Level::Warning, text);
                    }
                    if !met.line.field.hidden {
                        dirty |= !met.line.field.old;
                        push(&mut self.snapshot, &mut self.spots, &met);
                    }
                }
                Ok(Step::End) => break Ok(()),
                Ok(Step::Torn(rest)) => {
                    torn = Some(rest);
                    break Ok(());
                }
                Err(error) => break Err(error),
            }
        };
        let (at, uids) = (walk.at, walk.uids);
        self.unwritten |= !self.snapshot.writable && (assigned || uids.rebuilt || torn.is_some());
        if let Err(error) = outcome {
            self.snapshot.messages.truncate(known);
            self.spots.truncate(known);
            return Err(error);
        }
        (self.end, self.uids) = (at, uids);
        self.header.uid_last = uids.last;
        if uids.rebuilt {
            self.header.uid_validity = next_validity(&self.file.environment, self.header.uid_validity);
            self.pending.uid_validity |= known > 0;
        }
        self.pending.arrived |= self.spots.len() > known;
        if self.snapshot.writable {
            if let Some(rest) = torn {
                torn::mend(&self.file, lock, rest, at, size)?;
            }
            self.write_arrivals(known, dirty)?;
        }
        Ok(())
    }

    /// Writes down UIDs given and who has been told. UIDLAST goes first, so that no UID is given twice whenever we
    /// die; nobody is told of a UID before the sync.
    pub(super) fn write_arrivals(&mut self, known: usize, dirty: bool) -> Result<()> {
        let arrived = self.spots.len() > known;
        if dirty {
            self.file_validity = self.header.uid_validity;
            self.file.write_header(&mut self.header)?;
            let recent = (known..self.spots.len()).filter(|index| self.snapshot.messages[*index].is_recent());
            fields::write(&self.file, recent.map(|index| (self.place(index), self.field(index, false))))?;
            self.file.sync()?;
        }
        if arrived {
            self.file.touch(0, self.file.metadata()?.mtime());
        }
        Ok(())
    }

    /// Takes over what the header says.
    fn take_header(&mut self) {
        if self.snapshot.keywords != self.header.keywords {
            self.snapshot.keywords = self.header.keywords.clone();
            self.pending.keywords = true;
        }
        self.snapshot.uid_validity = validity(&self.header);
        self.snapshot.uid_next = match Uid::new(self.uids.last) {
            None => Some(Uid::MIN),
            Some(uid) => uid.next(),
        };
        if self.snapshot.writable {
            let new_keywords = self.header.has_room();
            self.snapshot.permanent =
                PermanentFlags { system: SystemFlags::ALL, keywords: true, new_keywords };
        }
    }

    /// Reads all flags again.
    pub(super) fn sweep(&mut self) -> Result<()> {
        let mut window = Window::new(&self.file.file, SIZE as u64);
        for index in 0..self.spots.len() {
            let field = fields::read(&self.file, &mut window, self.place(index))?;
            let message = &mut self.snapshot.messages[index];
            if field.hidden {
                self.hidden += usize::from(!self.spots[index].hidden);
                self.spots[index].hidden = true;
            } else if message.flags() != field.flags {
                message.set_flags(field.flags);
                self.pending.flags.insert(message.uid());
            }
        }
        Ok(())
    }

    /// Takes messages out that others expunged, and those in `also`.
    pub(super) fn drop_hidden(&mut self, also: &UidSet) {
        if self.hidden == 0 && also.is_empty() {
            return;
        }
        self.hidden = 0;
        let gone = |spot: &Spot, message: &MessageInfo| spot.hidden || also.contains(message.uid());
        let mut kept = 0;
        for index in 0..self.spots.len() {
            let (spot, message) = (self.spots[index], self.snapshot.messages[index]);
            if gone(&spot, &message) {
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

    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.pending)
    }

    /// Where the flag field of a message is.
    pub(super) fn place(&self, index: usize) -> fields::Place {
        let at = self.spots[index].text() - FIELD as u64;
        fields::Place { at, number: index + 1 }
    }

    /// The flag field of a message as it should be.
    pub(super) fn field(&self, index: usize, hidden: bool) -> Field {
        let message = &self.snapshot.messages[index];
        Field { flags: message.flags(), old: true, hidden, uid: message.uid().get() }
    }

    /// Remembers the times after a change of our own, and puts the access time behind it.
    pub(super) fn settle_times(&mut self) -> Result<()> {
        self.proof = self.file.touch_signed(0, self.file.metadata()?.mtime(), self.proof.take());
        self.times = FileTimes::of(&self.file.metadata()?);
        Ok(())
    }

    /// Tells whether the next session would find the same in the file.
    pub(super) fn is_settled(&self) -> bool {
        !self.holes && self.hidden == 0 && !self.unwritten
    }

    /// Goes on behind a message of this UID.
    pub(super) fn take_uid(&mut self, uid: u32) {
        self.uids.previous = uid;
    }

    pub(super) fn forget_ahead(&mut self) {
        self.ahead = Ahead::default();
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

    /// Returns how many octets the header of a message has.
    fn header_size(&mut self, index: usize) -> Result<u64> {
        let spot = self.spots[index];
        if spot.header == UNKNOWN {
            let found = self.ahead.header_size(&self.file.file, spot.text(), spot.size, b"\r\n");
            self.spots[index].header =
                found.map_err(self.file.io("read"))?.ok_or_else(|| self.cut_short())?;
        }
        Ok(self.spots[index].header)
    }

    fn cut_short(&self) -> Error {
        let size = self.file.file.metadata().map_or(0, |meta| meta.len());
        let what = format!("Mailbox shrank from {} to {size}!", self.end);
        Error::Lost { path: self.file.path.clone(), what }
    }
}

/// Whether the flags of known messages must be read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sweep {
    Needed,
    NotNeeded,
}

fn validity(header: &Header) -> UidValidity {
    UidValidity::new(header.uid_validity).unwrap_or(UidValidity::MIN)
}

fn push(snapshot: &mut Snapshot, spots: &mut Vec<Spot>, met: &Met) {
    let Met { offset, line, settled } = met;
    let uid = Uid::new(settled.uid).expect("a settled UID is not 0");
    let date = line.date.expect("a message that is not hidden has a date");
    let mut message = MessageInfo::new(uid, line.field.flags, date, line.size);
    message.set_recent(settled.assigned || !line.field.old);
    snapshot.messages.push(message);
    spots.push(Spot::new(*offset, line));
}

impl Mailbox for MbxMailbox {
    fn driver(&self) -> &'static str {
        "mbx"
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
        let (start, end) = match extent {
            Extent::Whole => (0, self.spots[index].size),
            Extent::Header => (0, self.header_size(index)?),
            Extent::Text => (self.header_size(index)?, self.spots[index].size),
        };
        let at = start.saturating_add(from);
        let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most).min(MOST);
        if most == 0 {
            return Ok(0);
        }
        let given = self.ahead.give(&self.file.file, self.spots[index].text() + at, most, out);
        match given.map_err(self.file.io("read"))? {
            0 => Err(self.cut_short()),
            given => Ok(given),
        }
    }

    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        let proof = self.proof.filter(|_| !self.lost)?;
        self.notes.at(&self.file.file, proof, self.snapshot.uid_validity, self.file.indexes())
    }

    fn refresh(&mut self) -> Result<Changes> {
        let now = FileTimes::of(&self.file.metadata()?);
        let quiet = now == self.times && !(self.holes && self.snapshot.writable);
        if quiet && !self.spots.is_empty() {
            return Ok(self.take_changes());
        }
        let lock = self.file.lock()?;
        if self.parse(&lock)? == Sweep::Needed {
            self.sweep()?;
        }
        self.drop_hidden(&UidSet::new());
        if self.holes {
            self.reclaim(&lock, &UidSet::new())?;
        }
        Ok(self.take_changes())
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        Ok(Box::new(MbxEdit::begin(self)?))
    }

    /// All changes are in the file already; what can be done is to reclaim space.
    fn checkpoint(&mut self) -> Result<Changes> {
        self.refresh()
    }

    fn wake(&self) -> Wake {
        Wake { paths: vec![self.file.path.clone()] }
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        if self.holes && self.snapshot.writable {
            drop(self.refresh()?);
        }
        if self.snapshot.writable {
            self.keep();
        }
        self.notes.close(self.file.indexes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_64_octets() {
        assert_eq!(size_of::<Spot>() + size_of::<MessageInfo>(), 64);
    }
}
