//! One move of all that is in the spool.

use super::NewMail;
use super::likeness::{Likeness, Likening, liken, sum_of};
use super::note::{self, Moved, Note, Target};
use crate::files;
use crate::unix::{MailDrop, SpoolState, Unix};
use ailurus_store::{
    Access, Append, AppendMeta, Changes, Claim, Driver, Error, Extent, Level, Location, Mailbox, Manner,
    Place, Rejection, Result, Status, make_keywords,
};
use ailurus_types::{KeywordMask, Keywords, Uid, UidSet};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const BLOCK: usize = 64 * 1024;

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Somebody has the spool.
    Busy,
    /// There is nothing to move, and there will be nothing before the spool changes.
    Nothing(Option<SpoolState>),
    /// INBOX has new messages; this is what the spool is now.
    Moved(SpoolState),
}

/// From where to where.
pub(super) struct Transfer<'t> {
    pub(super) mover: &'t NewMail,
    pub(super) driver: &'t dyn Driver,
    pub(super) at: &'t Location,
    pub(super) patience: Duration,
}

impl Transfer<'_> {
    /// Moves what is in the spool to the INBOX that is open. `changes` gets what that does to other messages there.
    pub(super) fn run(&self, inbox: &mut dyn Mailbox, changes: &mut Changes) -> Result<Outcome> {
        let NewMail { environment, disk, .. } = self.mover;
        let spool = &environment.spool;
        let Some(format) = self.mover.format_of(spool, inbox.path())? else {
            return Ok(Outcome::Nothing(None));
        };
        let Some(mut from) = format.open_mail_drop(spool, self.patience)? else { return Ok(Outcome::Busy) };
        let note_path = note::path_in(&environment.mailbox_dir);
        let target = Target::new(self.driver.name(), self.at, inbox.path());
        if let Some(note) = Note::read(&note_path)? {
            if note.target.is(&target) {
                self.finish(&note, &mut from, Some(inbox), changes)?;
            } else {
                let mut other = match self.mover.open_noted(&note, Access::ReadWrite) {
                    // Whoever has it open looks into it before long.
                    Err(Error::InUse { .. }) => return Ok(Outcome::Busy),
                    opened => opened?,
                };
                let other = other.as_mut().map(|other| other.as_mut() as &mut dyn Mailbox);
                self.finish(&note, &mut from, other, &mut Changes::default())?;
            }
        }
        if note_path.symlink_metadata().is_ok() {
            note::remove(&**disk, &note_path)?;
        }
        if from.messages().is_empty() {
            if from.has_rest() {
                from.remove(&|_| false)?;
            }
            return Ok(Outcome::Nothing(Some(from.state())));
        }
        let used = from.messages().iter().map(|message| message.flags().keywords);
        let used = from.keywords(used.fold(KeywordMask::NONE, KeywordMask::union));
        changes.add(&make_keywords(inbox, &used)?);
        let before = from.len();
        let skipped = self.copy(&mut from, inbox, &target, &note_path)?;
        if skipped.iter().all(|skipped| *skipped) {
            return Ok(Outcome::Nothing(Some(from.state())));
        }
        from.remove(&|index| !skipped[index])?;
        // What stays there is known to be done, and says nothing about other messages.
        note::remove(&**disk, &note_path).ok();
        let (count, to) = (before.saturating_sub(from.len()), inbox.path().display());
        let text = format!("Moved {count} bytes of new mail to {to} from {}", spool.display());
        environment.notices.tell(Level::Record, text);
        Ok(Outcome::Moved(from.state()))
    }

    /// Appends all messages to INBOX; returns which of them it would not have.
    fn copy(
        &self,
        from: &mut MailDrop,
        inbox: &dyn Mailbox,
        target: &Target,
        note_path: &Path,
    ) -> Result<Vec<bool>> {
        const MOST_REFUSED: usize = 16;
        let NewMail { environment, disk, .. } = self.mover;
        let mut skipped = vec![false; from.messages().len()];
        for _ in 0..=MOST_REFUSED {
            let mut append = self.driver.append(self.at)?;
            match give(from, &skipped, &inbox.snapshot().keywords, append.as_mut())? {
                Given::All(moved) if moved.is_empty() => return Ok(skipped),
                Given::All(moved) => {
                    let note =
                        Note::new(target.clone(), inbox.snapshot(), moved).write(&**disk, note_path)?;
                    // A failure need not mean that nothing arrived: the note stays.
                    append.commit()?;
                    note.done(&**disk).ok();
                    return Ok(skipped);
                }
                Given::Refused(index, why) => {
                    skipped[index] = true;
                    let (number, spool) = (index + 1, environment.spool.display());
                    let text = format!("message {number} of {spool} was not moved to INBOX: {why}");
                    environment.notices.tell(Level::Log, text);
                }
            }
        }
        Err(Error::Refused("too many messages cannot be stored".into()))
    }

    /// Removes from the spool what a move that was cut off has brought to its INBOX, which may be no more.
    fn finish(
        &self,
        note: &Note,
        from: &mut MailDrop,
        inbox: Option<&mut dyn Mailbox>,
        changes: &mut Changes,
    ) -> Result<()> {
        let there = known(from.messages().len(), |index, read_from, most, out| {
            from.read(index, read_from, most, out)
        })?;
        let mut waiting = Vec::with_capacity(there.len());
        for (index, likeness) in there.into_iter().enumerate() {
            waiting.push(Moved { likeness, from_line: from_line_sum(from, index)? });
        }
        let arrived = match inbox {
            _ if note.done => note.messages.len(),
            None => 0,
            Some(inbox) => {
                let found = search(note, inbox)?;
                self.remove_torn(note, &found, &waiting, from, inbox, changes)?;
                found.arrived
            }
        };
        let gone = arrived_among(&waiting, &note.messages[..arrived]);
        if gone.iter().any(|gone| *gone) {
            from.remove(&|index| gone[index])?;
            let count = gone.iter().filter(|gone| **gone).count();
            let text = format!("{count} messages of an interrupted move were in INBOX already");
            self.mover.environment.notices.tell(Level::Log, text);
        }
        Ok(())
    }

    /// Removes from INBOX what arrived of the message at which the move was cut off.
    fn remove_torn(
        &self,
        note: &Note,
        found: &Found,
        waiting: &[Moved],
        from: &mut MailDrop,
        inbox: &mut dyn Mailbox,
        changes: &mut Changes,
    ) -> Result<()> {
        let Some(next) = note.messages.get(found.arrived).filter(|_| found.is_certain) else { return Ok(()) };
        let Some(index) = waiting.iter().position(|message| message == next) else { return Ok(()) };
        let mut torn = UidSet::new();
        for uid in &found.others {
            if is_torn(
                |at, out| inbox.read(*uid, Extent::Whole, at, BLOCK, out),
                |at, out| from.read(index, at, BLOCK, out),
            )? {
                torn.insert(*uid);
            }
        }
        if torn.is_empty() || !inbox.snapshot().writable {
            return Ok(());
        }
        let mut edit = inbox.edit()?;
        edit.expunge(&torn)?;
        changes.add(&edit.commit()?);
        Ok(())
    }
}

/// What came of giving messages to an append.
enum Given {
    All(Vec<Moved>),
    /// The message at this position cannot be stored there.
    Refused(usize, String),
}

fn give(from: &mut MailDrop, skipped: &[bool], known: &Keywords, append: &mut dyn Append) -> Result<Given> {
    let mut moved = Vec::new();
    for index in (0..skipped.len()).filter(|index| !skipped[*index]) {
        match give_one(from, index, known, append) {
            Ok(message) => moved.push(message),
            Err(Error::Refused(why)) => return Ok(Given::Refused(index, why)),
            Err(error) => return Err(error),
        }
    }
    Ok(Given::All(moved))
}

fn give_one(from: &mut MailDrop, index: usize, known: &Keywords, append: &mut dyn Append) -> Result<Moved> {
    let message = from.messages()[index];
    let from_line = from.envelope_line(index)?;
    let sum = sum_of(from_line.as_deref().unwrap_or_default());
    let mut keywords = from.keywords(message.flags().keywords);
    keywords.retain(|keyword| known.find(keyword.as_str()).is_some());
    append.begin(AppendMeta {
        system: message.flags().system,
        keywords,
        internal_date: Some(message.internal_date()),
        size: size_of(from, index)?,
        from_line,
    })?;
    let (mut likening, mut block, mut at) = (Likening::default(), Vec::new(), 0);
    loop {
        block.clear();
        let given = from.read(index, at, BLOCK, &mut block)?;
        if given == 0 {
            break;
        }
        at += given as u64;
        likening.push(&block);
        append.write(&block)?;
    }
    append.end()?;
    Ok(Moved { likeness: likening.finish(), from_line: sum })
}

/// Returns the size of a message, which is not in 32 bits for every one.
fn size_of(from: &mut MailDrop, index: usize) -> Result<u64> {
    let size = from.messages()[index].rfc822_size();
    if size < u32::MAX {
        return Ok(size.into());
    }
    let (mut block, mut size) = (Vec::new(), 0);
    loop {
        block.clear();
        match from.read(index, size, BLOCK, &mut block)? {
            0 => return Ok(size),
            given => size += given as u64,
        }
    }
}

fn from_line_sum(from: &MailDrop, index: usize) -> Result<u64> {
    Ok(sum_of(from.envelope_line(index)?.as_deref().unwrap_or_default()))
}

/// Reads messages; returns what each is known by.
fn known(
    count: usize,
    mut read: impl FnMut(usize, u64, usize, &mut Vec<u8>) -> Result<usize>,
) -> Result<Vec<Likeness>> {
    (0..count).map(|index| liken(u64::MAX, |at, most, out| read(index, at, most, out))).collect()
}

/// What a search for the messages of a note found in INBOX.
struct Found {
    /// How many of them are there. They were appended in order, so those before the last one found are, or were.
    arrived: usize,
    /// Messages that are none of them.
    others: Vec<Uid>,
    /// All that was looked at came after the note was written.
    is_certain: bool,
}

fn search(note: &Note, inbox: &mut dyn Mailbox) -> Result<Found> {
    /// How far to look back where UIDs say nothing.
    const MORE: usize = 1000;
    let snapshot = inbox.snapshot();
    let is_certain = snapshot.uid_validity.get() == note.uid_validity && note.uid_next > 0;
    let messages = &snapshot.messages;
    let first = match is_certain {
        true => messages.partition_point(|message| message.uid().get() < note.uid_next),
        false => messages.len().saturating_sub(note.messages.len() + MORE),
    };
    let uids: Vec<Uid> = messages[first..].iter().map(|message| message.uid()).collect();
    let mut wanted: HashMap<Likeness, VecDeque<usize>> = HashMap::new();
    for (index, message) in note.messages.iter().enumerate() {
        wanted.entry(message.likeness).or_default().push_back(index);
    }
    let mut found = Found { arrived: 0, others: Vec::new(), is_certain };
    for uid in uids {
        let likeness = liken(u64::MAX, |at, most, out| inbox.read(uid, Extent::Whole, at, most, out))?;
        match wanted.get_mut(&likeness).and_then(VecDeque::pop_front) {
            Some(index) => found.arrived = found.arrived.max(index + 1),
            None => found.others.push(uid),
        }
    }
    Ok(found)
}

/// Tells whether a message is what a move that was cut off has left of a whole one: its first octets, of which a power loss
/// may have taken some. So nothing is lost with it.
fn is_torn(
    left: impl FnMut(u64, &mut Vec<u8>) -> Result<usize>,
    whole: impl FnMut(u64, &mut Vec<u8>) -> Result<usize>,
) -> Result<bool> {
    /// A hole is no smaller than what a disk writes at once, but where the message ends.
    const LEAST: usize = 64;
    let (mut left, mut whole) = (Octets::new(left), Octets::new(whole));
    let (mut hole, mut same) = (0, 0);
    loop {
        let Some(octet) = left.next()? else { return Ok(same > 0) };
        let is_lost = matches!(octet, 0 | 0x80);
        if octet == b'>' && whole.peek()? != Some(b'>') {
            // A format put it there.
            continue;
        }
        let Some(original) = whole.next()? else { return Ok(false) };
        if hole > 0 && hole < LEAST && !is_lost {
            return Ok(false);
        }
        match (is_lost, octet == original) {
            (true, _) => hole += 1,
            (false, true) => (hole, same) = (0, same + 1),
            // The end of the last line was supplied.
            (false, false) => return Ok(octet == b'\n' && same > 0 && left.next()?.is_none()),
        }
    }
}

/// The octets of a message but for the CRs, of which formats have more or fewer.
struct Octets<R> {
    read: R,
    block: Vec<u8>,
    next: usize,
    at: u64,
}

impl<R: FnMut(u64, &mut Vec<u8>) -> Result<usize>> Octets<R> {
    fn new(read: R) -> Self {
        Self { read, block: Vec::new(), next: 0, at: 0 }
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            match self.block.get(self.next) {
                Some(b'\r') => self.next += 1,
                Some(octet) => return Ok(Some(*octet)),
                None => {
                    self.block.clear();
                    self.next = 0;
                    match (self.read)(self.at, &mut self.block)? {
                        0 => return Ok(None),
                        read => self.at += read as u64,
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Result<Option<u8>> {
        let octet = self.peek()?;
        self.next += usize::from(octet.is_some());
        Ok(octet)
    }
}

/// Tells of each message whether it is one of those that arrived; one of them stands for one message.
fn arrived_among(waiting: &[Moved], arrived: &[Moved]) -> Vec<bool> {
    let mut counts: HashMap<Moved, usize> = HashMap::new();
    for message in arrived {
        *counts.entry(*message).or_default() += 1;
    }
    let take = |message: &Moved| match counts.get_mut(message) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    waiting.iter().map(take).collect()
}

impl NewMail {
    /// Returns the format of the spool; `None` where there is none, or where it is INBOX itself.
    pub(super) fn format_of(&self, spool: &Path, inbox: &Path) -> Result<Option<&Unix>> {
        let named = match spool.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            named => named.map_err(Error::io("examine", spool))?,
        };
        // In a directory where everybody may make names, another's link could lead to any of our mailboxes.
        let me = rustix::process::geteuid().as_raw();
        if named.is_symlink() && named.uid() != 0 && named.uid() != me {
            let text = format!("{} is a symbolic link of somebody else", spool.display());
            return Err(Error::Refused(text));
        }
        let found = match spool.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(Error::io("examine", spool))?,
        };
        if inbox.metadata().is_ok_and(|inbox| files::is_one(&inbox, &found)) {
            if inbox != spool {
                let text = format!("File {} and {} are the same file!", inbox.display(), spool.display());
                self.environment.notices.tell(Level::Log, text);
            }
            return Ok(None);
        }
        let at = Location { name: "INBOX".into(), place: Place::Path(spool.into()) };
        for format in &self.formats {
            match format.probe(&at)? {
                Claim::Valid => return Ok(Some(format)),
                Claim::No(Rejection::Denied) => {
                    return Err(Error::io("open", spool)(io::ErrorKind::PermissionDenied.into()));
                }
                _ => {}
            }
        }
        if found.is_file() && found.len() == 0 {
            return Ok(self.formats.last());
        }
        let text = format!("Mail drop {} is not in standard Unix format", spool.display());
        Err(Error::Refused(text))
    }

    /// Opens the INBOX that a move to was cut off, unless all of it arrived; `None` if it is no more. One that is damaged
    /// tells nothing: its mail comes again rather than not at all.
    fn open_noted(&self, note: &Note, access: Access) -> Result<Option<Box<dyn Mailbox>>> {
        let driver = self.driver(&note.target.driver).filter(|_| !note.done);
        let Some(driver) = driver else { return Ok(None) };
        let at = note.target.location();
        if matches!(driver.probe(&at)?, Claim::No(why) if why != Rejection::Denied) {
            return Ok(None);
        }
        match driver.open(&at, access, Manner::Silent) {
            Ok(mailbox) => Ok(Some(mailbox).filter(|mailbox| mailbox.path() == note.target.path)),
            Err(Error::NotFound(_) | Error::WrongFormat { .. } | Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Counts what would be moved: messages, and those that are not `\Seen`.
    pub(super) fn count_waiting(&self, driver: &dyn Driver, at: &Location) -> Result<(u32, u32)> {
        let (spool, silent) = (&self.environment.spool, Manner::Silent);
        if SpoolState::at(spool).is_none_or(|spool| spool.length == 0) {
            return Ok((0, 0));
        }
        let mut inbox = driver.open(at, Access::ReadOnly, silent)?;
        let Some(format) = self.format_of(spool, inbox.path())? else { return Ok((0, 0)) };
        let at_spool = Location { name: at.name.clone(), place: Place::Path(spool.clone()) };
        let Some(note) = Note::read(&note::path_in(&self.environment.mailbox_dir))? else {
            let status = format.status(&at_spool)?;
            return Ok((status.messages, status.unseen));
        };
        let mut from = format.open(&at_spool, Access::ReadOnly, silent)?;
        let messages = from.snapshot().messages.clone();
        let likenesses = known(messages.len(), |index, at, most, out| {
            from.read(messages[index].uid(), Extent::Whole, at, most, out)
        })?;
        let mut waiting = Vec::new();
        for (message, likeness) in messages.iter().zip(likenesses) {
            let line = from.envelope_line(message.uid())?;
            waiting.push(Moved { likeness, from_line: sum_of(line.as_deref().unwrap_or_default()) });
        }
        let is_here = note.target.is(&Target::new(driver.name(), at, inbox.path()));
        let arrived = match note.done {
            true => note.messages.len(),
            false if is_here => search(&note, inbox.as_mut())?.arrived,
            false => match self.open_noted(&note, Access::ReadOnly)? {
                Some(mut other) => search(&note, other.as_mut())?.arrived,
                None => 0,
            },
        };
        let gone = arrived_among(&waiting, &note.messages[..arrived]);
        let left: Vec<_> =
            messages.iter().zip(gone).filter(|(_, gone)| !gone).map(|(message, _)| *message).collect();
        let snapshot = from.snapshot();
        let status = Status::of(&left, snapshot.uid_next, snapshot.uid_validity);
        Ok((status.messages, status.unseen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_message_is_known() {
        let whole = "Subject: 1\r\n\r\nFrom here to there\r\n".repeat(20);
        let is = |left: &str| {
            let read = |text: &str, at: u64, out: &mut Vec<u8>| {
                let at = usize::try_from(at).unwrap().min(text.len());
                let piece = &text.as_bytes()[at..(at + 7).min(text.len())];
                out.extend_from_slice(piece);
                Ok(piece.len())
            };
            is_torn(|at, out| read(left, at, out), |at, out| read(&whole, at, out)).unwrap()
        };
        for len in 1..whole.len() {
            assert!(is(&whole[..len]), "{len}");
            assert!(is(&(whole[..len].to_owned() + "\r\n")), "{len}");
            assert!(is(&whole[..len].replace("From", ">From")), "{len}");
            assert!(!is(&(whole[..len].to_owned() + "x\n")), "{len}");
        }
        let lf = whole.replace('\r', "");
        assert!(is(&lf[..50]));
        let holed = |from: usize, to: usize| lf[..from].to_owned() + &"\0".repeat(to - from) + &lf[to..];
        assert!(is(&holed(100, 164)) && is(&holed(0, 300)) && is(&holed(400, lf.len())));
        assert!(!is(&holed(100, 150)) && !is(&holed(0, lf.len())) && !is(""));
        assert!(!is("Subject: 2\r\n") && !is(&(whole.clone() + "more")));
    }
}
