//! The maildrop: one mailbox as POP sees it, with its messages numbered once and for all.

use ailurus_store::{Access, Error, Mailbox, Mailboxes, Result};
use ailurus_types::{FlagChange, FlagOp, MailboxName, SystemFlags, Uid, UidSet, UidValidity};

/// The messages of a mailbox that were not `\Deleted` when it was opened.
pub(crate) struct Maildrop {
    pub(crate) mailbox: Box<dyn Mailbox>,
    uid_validity: UidValidity,
    posts: Vec<Post>,
    /// Messages in the mailbox when it was opened, those included that are not shown.
    total: usize,
    /// The highest number with `\Seen` at the time, for LAST.
    last_seen: u32,
}

/// One message, 8 octets.
#[derive(Clone, Copy)]
struct Post {
    uid: Uid,
    marks: Marks,
}

/// What is known of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    /// It had `\Seen` when the mailbox was opened.
    const SEEN: Self = Self(1);
    /// It was not `\Recent` then.
    const OLD: Self = Self(2);
    /// This session fetched it.
    const FETCHED: Self = Self(4);
    /// This session deleted it.
    const DELETED: Self = Self(8);
    /// Another session expunged it.
    const GONE: Self = Self(16);
    /// Whether its last line has an end was looked at.
    const END_KNOWN: Self = Self(32);
    /// It has none.
    const OPEN_END: Self = Self(64);

    fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    fn clear(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }
}

/// The octets of the line that every message gets, `Status: RO` and CRLF.
pub(crate) const STATUS_LINE: u64 = 12;

/// Why a mailbox is of no use to POP.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It cannot be opened.
    Failed(Error),
    /// It can only be read: a client that downloads what it cannot delete would do so for ever.
    ReadOnly,
}

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Updated {
    /// Messages that are left.
    pub(crate) left: usize,
    /// Messages that were deleted.
    pub(crate) deleted: usize,
    /// Messages that were fetched.
    pub(crate) fetched: usize,
}

impl Maildrop {
    /// Opens a mailbox and numbers its messages.
    pub(crate) fn open(mailboxes: &Mailboxes, name: &MailboxName) -> std::result::Result<Self, Unusable> {
        let mailbox = mailboxes.select(name, Access::ReadWrite).map_err(Unusable::Failed)?;
        let snapshot = mailbox.snapshot();
        if !snapshot.writable {
            return Err(Unusable::ReadOnly);
        }
        let mut posts = Vec::with_capacity(snapshot.messages.len());
        let mut last_seen = 0;
        for message in &snapshot.messages {
            let system = message.flags().system;
            if system.contains(SystemFlags::DELETED) {
                continue;
            }
            let mut marks = Marks(0);
            if !message.is_recent() {
                marks.set(Marks::OLD);
            }
            if system.contains(SystemFlags::SEEN) {
                marks.set(Marks::SEEN);
                last_seen = u32::try_from(posts.len() + 1).unwrap_or(u32::MAX);
            }
            posts.push(Post { uid: message.uid(), marks });
        }
        let (uid_validity, total) = (snapshot.uid_validity, snapshot.messages.len());
        Ok(Self { mailbox, uid_validity, posts, total, last_seen })
    }

    /// Returns how many numbers there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.posts.len()).unwrap_or(u32::MAX)
    }

    /// Returns how many messages the mailbox had when it was opened.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Returns what LAST says before anything was fetched.
    pub(crate) fn last_seen(&self) -> u32 {
        self.last_seen
    }

    /// Tells whether a number is that of a message which this session can still have.
    pub(crate) fn is_there(&self, number: u32) -> bool {
        let gone = |post: &Post| post.marks.has(Marks::DELETED) || post.marks.has(Marks::GONE);
        self.post(number).is_some_and(|post| !gone(post))
    }

    /// Returns the UID of a message.
    pub(crate) fn uid(&self, number: u32) -> Option<Uid> {
        self.post(number).map(|post| post.uid)
    }

    /// Returns the unique-id of a message: the same in every session as long as the UID validity value is, and no other
    /// message's ever.
    pub(crate) fn unique_id(&self, number: u32) -> Option<String> {
        self.uid(number).map(|uid| format!("{:08x}{:08x}", self.uid_validity.get(), uid.get()))
    }

    /// Returns the two letters of the line `Status: `, as of the beginning of the session.
    pub(crate) fn status(&self, number: u32) -> [u8; 2] {
        let has = |mark| self.post(number).is_some_and(|post| post.marks.has(mark));
        [if has(Marks::SEEN) { b'R' } else { b' ' }, if has(Marks::OLD) { b'O' } else { b' ' }]
    }

    /// Returns how many octets the message has as it is sent, before dots are doubled: with the line `Status: `, and with the
    /// end of its last line, stored or not. `None` for a message that is no longer there.
    pub(crate) fn size(&mut self, number: u32) -> Result<Option<u64>> {
        let Some(position) = self.position(number) else { return Ok(None) };
        let Post { uid, marks } = self.posts[position];
        let snapshot = self.mailbox.snapshot();
        let Some(found) = snapshot.position(uid, position) else {
            self.posts[position].marks.set(Marks::GONE);
            return Ok(None);
        };
        let size = u64::from(snapshot.messages[found].rfc822_size());
        if !marks.has(Marks::END_KNOWN) {
            match self.mailbox.ends_line(uid) {
                Ok(true) => self.posts[position].marks.set(Marks::END_KNOWN),
                Ok(false) => {
                    self.posts[position].marks.set(Marks::END_KNOWN);
                    self.posts[position].marks.set(Marks::OPEN_END);
                }
                Err(Error::Expunged { .. }) => {
                    self.posts[position].marks.set(Marks::GONE);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        // Nothing at all needs no line end.
        let open = self.posts[position].marks.has(Marks::OPEN_END) && size > 0;
        Ok(Some(size + STATUS_LINE + if open { 2 } else { 0 }))
    }

    /// Notes that the message was fetched.
    pub(crate) fn note_fetched(&mut self, number: u32) {
        self.mark(number, Marks::FETCHED);
    }

    /// Notes that the message is to be deleted.
    pub(crate) fn note_deleted(&mut self, number: u32) {
        self.mark(number, Marks::DELETED);
    }

    /// Notes that the message was expunged by another session.
    pub(crate) fn note_gone(&mut self, number: u32) {
        self.mark(number, Marks::GONE);
    }

    /// Forgets all notes of this session.
    pub(crate) fn reset(&mut self) {
        for post in &mut self.posts {
            post.marks.clear(Marks::FETCHED);
            post.marks.clear(Marks::DELETED);
        }
    }

    /// Writes the notes into the mailbox, all of them or none, and lets go of it. Messages that others expunged meanwhile need
    /// nothing.
    pub(crate) fn update(mut self) -> (Updated, Result<()>) {
        let with = |mark| self.posts.iter().filter(move |post| post.marks.has(mark));
        let deleted: UidSet = with(Marks::DELETED).map(|post| post.uid).collect();
        let unseen = |post: &&Post| !post.marks.has(Marks::SEEN) && !post.marks.has(Marks::DELETED);
        let seen: UidSet = with(Marks::FETCHED).filter(unseen).map(|post| post.uid).collect();
        let (gone, fetched) = (with(Marks::DELETED).count(), with(Marks::FETCHED).count());
        let updated = Updated { left: self.posts.len() - gone, deleted: gone, fetched };
        let written = self.write(&seen, &deleted);
        let closed = self.mailbox.close();
        (updated, written.and(closed))
    }

    fn write(&mut self, seen: &UidSet, deleted: &UidSet) -> Result<()> {
        if seen.is_empty() && deleted.is_empty() {
            return Ok(());
        }
        let mut edit = self.mailbox.edit()?;
        if edit.snapshot().uid_validity != self.uid_validity {
            // The UIDs are those of other messages now.
            return Err(Error::Refused("Mailbox was replaced".into()));
        }
        if !seen.is_empty() {
            let change = FlagChange { op: FlagOp::Add, system: SystemFlags::SEEN, keywords: Vec::new() };
            let _no_keywords = edit.store(seen, &change)?;
        }
        if !deleted.is_empty() {
            edit.expunge(deleted)?;
        }
        let _told_to_nobody = edit.commit()?;
        Ok(())
    }

    fn mark(&mut self, number: u32, mark: Marks) {
        if let Some(position) = self.position(number) {
            self.posts[position].marks.set(mark);
        }
    }

    fn position(&self, number: u32) -> Option<usize> {
        let position = usize::try_from(number).ok()?.checked_sub(1)?;
        (position < self.posts.len()).then_some(position)
    }

    fn post(&self, number: u32) -> Option<&Post> {
        self.position(number).map(|position| &self.posts[position])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_8_octets() {
        assert_eq!(size_of::<Post>(), 8);
    }
}
