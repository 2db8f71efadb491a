//! `#move`: a mailbox to which mail is moved from another while it is open (spec/library.md §2).
//!
//! `#moveDsourceDtarget`, where D is any octet, opens the target. Then, and at refreshes that are a minute apart, what is in the
//! source and not `\Deleted` is appended to the target and expunged from the source. Who dies between the two has the
//! messages of one step in both: mail is doubled rather than lost. Unlike the reference, which forgets flags and dates
//! unless told otherwise, messages keep them.

use crate::{
    Access, Append, AppendMeta, Changes, Edit, Error, Extent, Level, Mailbox, Mailboxes, MessageInfo,
    MessageNotes, Result, Snapshot, Wake, make_keywords,
};
use ailurus_types::{KeywordMask, MailboxName, SystemFlags, Uid, UidSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How many seconds apart looks at the source are.
const APART: i64 = 60;
/// How many messages, and about how many octets, are moved in one step.
const STEP: (usize, u64) = (500, 64 << 20);
const BLOCK: usize = 64 * 1024;

/// The names in `#moveDsourceDtarget`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Route {
    source: MailboxName,
    pub(crate) target: MailboxName,
}

impl Route {
    /// Returns what a name says, if it is of this kind.
    pub(crate) fn parse(name: &MailboxName) -> Option<Self> {
        let (word, rest) = name.as_bytes().split_at_checked(5)?;
        let (delimiter, rest) = rest.split_first()?;
        let end = rest.iter().position(|octet| octet == delimiter)?;
        let (source, target) = (&rest[..end], &rest[end + 1..]);
        let good = word.eq_ignore_ascii_case(b"#move") && !source.is_empty() && !target.is_empty();
        good.then(|| Self { source: MailboxName::new(source), target: MailboxName::new(target) })
    }
}

/// Wraps the open target.
pub(crate) struct Moving {
    target: Box<dyn Mailbox>,
    mailboxes: Mailboxes,
    route: Route,
    looked: i64,
    /// What the target's session is still to be told of.
    changes: Changes,
}

impl Moving {
    /// Wraps the target and moves what is there to be moved; an error where that fails.
    pub(crate) fn open(target: Box<dyn Mailbox>, mailboxes: Mailboxes, route: Route) -> Result<Self> {
        let looked = mailboxes.environment().clock.now();
        let mut moving = Self { target, mailboxes, route, looked, changes: Changes::default() };
        if moving.target.snapshot().writable {
            moving.move_all()?;
            drop(moving.target.refresh()?);
            moving.changes = Changes::default();
        }
        Ok(moving)
    }

    fn move_all(&mut self) -> Result<()> {
        let mut source = self.mailboxes.open_silently(&self.route.source, Access::ReadWrite)?;
        if is_same_file(source.path(), self.target.path()) {
            return Err(Error::Refused("Can't move mail from a mailbox to itself".into()));
        }
        if !source.snapshot().writable {
            return Err(Error::ReadOnly { path: source.path().into() });
        }
        let used = source.snapshot().messages.iter().map(|message| message.flags().keywords);
        let used = used.fold(KeywordMask::NONE, KeywordMask::union);
        let used: Vec<_> = source.snapshot().keywords.named(used).cloned().collect();
        self.changes.add(&make_keywords(&mut *self.target, &used)?);
        // What is delivered meanwhile is for the next time: this one has an end.
        let last = source.snapshot().largest_uid();
        while self.move_some(&mut *source, last)? {}
        source.close()
    }

    /// Moves one step; `false` when nothing is left.
    fn move_some(&self, source: &mut dyn Mailbox, last: Option<Uid>) -> Result<bool> {
        let is_there = |message: &&MessageInfo| {
            Some(message.uid()) <= last && !message.flags().system.contains(SystemFlags::DELETED)
        };
        let waiting: Vec<MessageInfo> =
            source.snapshot().messages.iter().filter(is_there).take(STEP.0).copied().collect();
        let mut append = self.mailboxes.append(&self.route.target)?;
        let (mut uids, mut octets) = (UidSet::new(), 0);
        for message in &waiting {
            give(source, message, &mut *append).map_err(|error| failed(source, message.uid(), &error))?;
            uids.insert(message.uid());
            octets += u64::from(message.rfc822_size());
            if octets >= STEP.1 {
                break;
            }
        }
        if uids.is_empty() {
            return Ok(false);
        }
        // The source is locked first, so that nothing but a disk that fails keeps the messages there.
        let mut edit = source.edit()?;
        edit.expunge(&uids)?;
        append.commit()?;
        drop(edit.commit()?);
        Ok(true)
    }

    /// Looks at the source, if that is due.
    fn look(&mut self) -> Result<()> {
        let now = self.mailboxes.environment().clock.now();
        if !self.target.snapshot().writable || now < self.looked + APART {
            return Ok(());
        }
        self.looked = now;
        if let Err(error) = self.move_all() {
            self.mailboxes.environment().notices.tell(Level::Warning, error.to_string());
        }
        self.changes.add(&self.target.refresh()?);
        Ok(())
    }
}

/// Tells whether two paths lead to the same file: a link can have any name.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    one == other || file(one).is_some_and(|one| Some(one) == file(other))
}

fn failed(source: &dyn Mailbox, uid: Uid, error: &Error) -> Error {
    let number = source.snapshot().messages.partition_point(|message| message.uid() <= uid);
    Error::Refused(format!("Unable to move message {number} from {} mailbox: {error}", source.driver()))
}

fn give(source: &mut dyn Mailbox, message: &MessageInfo, append: &mut dyn Append) -> Result<()> {
    let flags = message.flags();
    let meta = AppendMeta {
        system: flags.system,
        keywords: source.snapshot().keywords.named(flags.keywords).cloned().collect(),
        internal_date: Some(message.internal_date()),
        size: message.rfc822_size().into(),
        from_line: source.envelope_line(message.uid())?,
    };
    append.begin(meta)?;
    let (mut block, mut at) = (Vec::new(), 0);
    loop {
        block.clear();
        match source.read(message.uid(), Extent::Whole, at, BLOCK, &mut block)? {
            0 => return append.end(),
            read => at += read as u64,
        }
        append.write(&block)?;
    }
}

impl Mailbox for Moving {
    fn driver(&self) -> &'static str {
        self.target.driver()
    }

    fn path(&self) -> &Path {
        self.target.path()
    }

    fn snapshot(&self) -> &Snapshot {
        self.target.snapshot()
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        self.target.read(uid, extent, from, most, out)
    }

    fn ends_line(&mut self, uid: Uid) -> Result<bool> {
        self.target.ends_line(uid)
    }

    fn envelope_line(&mut self, uid: Uid) -> Result<Option<Vec<u8>>> {
        self.target.envelope_line(uid)
    }

    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        self.target.notes()
    }

    fn refresh(&mut self) -> Result<Changes> {
        self.changes.add(&self.target.refresh()?);
        self.look()?;
        Ok(std::mem::take(&mut self.changes))
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.target.edit()
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        self.target.checkpoint()
    }

    fn is_dirty(&self) -> bool {
        self.target.is_dirty()
    }

    fn wake(&self) -> Wake {
        self.target.wake()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.target.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octet_behind_the_word_divides_the_names() {
        let route = |name: &str| {
            Route::parse(&name.into()).map(|route| (route.source.to_string(), route.target.to_string()))
        };
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(route("#move+in+out"), both("in", "out"));
        assert_eq!(route("#MOVE/in/out/below"), both("in", "out/below"));
        for other in ["#move", "#move+", "#move+in", "#move++out", "#move+in+", "move+in+out", "#mov"] {
            assert_eq!(route(other), None, "{other}");
        }
    }
}
