//! The traits that a mailbox format implements.

use crate::{Changes, ListQuery, Listed, Location, MessageInfo, MessageNotes, Result, Snapshot};
use ailurus_types::{FlagChange, InternalDate, Keyword, MailboxName, SystemFlags, Uid, UidSet, UidValidity};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// One mailbox format.
pub trait Driver: Send + Sync {
    /// Returns the name that `#driver.NAME/` uses: `unix`, `mbx`, …
    fn name(&self) -> &'static str;

    /// Returns what this format can do. Ask this, never [`Driver::name`].
    fn abilities(&self) -> Abilities;

    /// Looks whether a mailbox of this format is at the location. Leaves the file's times as they were, so that
    /// biff programs still see new mail.
    fn probe(&self, at: &Location) -> Result<Claim>;

    /// Makes an empty mailbox, with the modes of [`crate::Environment::modes`]; its parents are there already.
    /// [`crate::Error::AlreadyExists`] when something is.
    ///
    /// [`crate::Place::Inbox`] comes from `#driver.FMT/INBOX` alone: the user wants an INBOX of this format. A format
    /// with an INBOX of its own in the home makes it, whatever is in the spool; one that uses the spool refuses.
    fn create(&self, at: &Location) -> Result<()>;

    /// Deletes the mailbox, under the locks that keep others from using it at the time.
    fn delete(&self, at: &Location) -> Result<()>;

    /// Takes away what a dead process left of a mailbox of this format in a directory that is none: it would keep the directory
    /// from being deleted.
    fn clear_leftovers(&self, at: &Location) -> Result<()> {
        let _ = at;
        Ok(())
    }

    /// Renames the mailbox. The new name is free and its parents are there. INBOX is replaced by a new one where
    /// the format does so.
    fn rename(&self, from: &Location, to: &Location) -> Result<()>;

    /// Counts, without taking part in \Recent and without disturbing another session.
    fn status(&self, at: &Location) -> Result<Status>;

    /// Opens the mailbox. Asking for [`Access::ReadWrite`] may give less: see [`Snapshot::writable`].
    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>>;

    /// Begins to append messages to the mailbox at `at`, which this driver claims as valid or empty, or which is an
    /// INBOX that does not exist yet and is made then.
    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>>;

    /// Tells whether an entry of a directory is this format's own business and no mailbox name (`.mixmeta`), for
    /// LIST. `directory` is a mailbox of this format.
    fn hides(&self, directory: &Path, entry: &OsStr) -> bool {
        let _ = (directory, entry);
        false
    }

    /// Reports the mailboxes of this format that are no files or directories where the common walker finds them
    /// (`#mh/…`, `#news.…`). INBOX is not reported here.
    fn list(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        let _ = (query, found);
        Ok(())
    }

    /// Returns the files that hold the messages of the mailbox as they are, for SCAN; [`crate::Error::Refused`] where
    /// mailboxes of this format are not searched that way.
    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        Ok(at.path().map(Path::to_path_buf).into_iter().collect())
    }

    /// Begins or ends a subscription where this format has its own place for it (`.newsrc`); `false` where it has none, and
    /// the common file is the place.
    fn subscribe(&self, name: &MailboxName, subscription: Subscription) -> Result<bool> {
        let _ = (name, subscription);
        Ok(false)
    }

    /// Reports the subscriptions that this format keeps in its own place.
    fn lsub(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        let _ = (query, found);
        Ok(())
    }

    /// Tells whether this driver only stands in where no format claims anything: for directories, empty files, and
    /// an INBOX that is not there yet.
    fn stands_in(&self) -> bool {
        self.name() == "dummy"
    }

    /// Tells whether mailboxes are files or directories at the location's path, so that their parents have to be
    /// made first.
    fn has_files(&self) -> bool {
        true
    }
}

/// What becomes of a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subscription {
    /// SUBSCRIBE.
    Begin,
    /// UNSUBSCRIBE.
    End,
}

/// What a format can do, and where it falls short of what the conformance suite (`ailurus-testkit`) demands.
///
/// The words of the second kind come last, and are false by default: who says nothing is held to all of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Abilities {
    /// UIDs survive the session.
    pub sticky_uids: bool,
    /// How many keywords a mailbox can have; 0 where it has none.
    pub keywords: usize,
    /// Several sessions may write at once.
    pub shared_access: bool,
    /// Messages may be expunged while other sessions have the mailbox open.
    pub shared_expunge: bool,
    /// A mailbox is a directory and can hold others.
    pub inferiors: bool,
    /// Messages are stored with CRLF. Else bare CRs are lost, and bare LFs become CRLF.
    pub crlf: bool,
    /// Can be created by name (`phile` and `dummy` cannot).
    pub creatable: bool,
    /// Messages are neither added nor expunged through it.
    pub read_only: bool,
    /// Knows no sessions: what one has open can be deleted and renamed under it.
    pub unguarded: bool,
    /// A line that starts with `From ` comes back with a `>` before it.
    pub quotes_from: bool,
    /// Octets 0x01 do not come back: they divide messages.
    pub drops_soh: bool,
    /// UIDs and flags are in header fields (`Status`, `X-UID`, …): a message's own of these names come back as
    /// `X-Original-…`.
    pub own_fields: bool,
    /// A last line without its end comes back with it, a header without its empty line with both.
    pub ends_lines: bool,
    /// Internal dates come back as the same moment in UTC.
    pub utc_dates: bool,
    /// Bare CRs come back, although messages are not stored with CRLF.
    pub keeps_crs: bool,
    /// Every directory is a mailbox: one cannot be deleted as long as it holds others, only emptied.
    pub any_directory: bool,
    /// A message that was appended is \Recent in no session but those that have the mailbox open.
    pub forgets_recent: bool,
    /// An append of one message that its process did not survive can leave the beginning of the message behind, and a
    /// power loss pieces of it at the end of the message before, as delivery programs do.
    pub torn_appends: bool,
    /// Each message is a file: what one session expunged others cannot read any more, and a DELETE that its process did not
    /// survive can leave some of the messages.
    pub one_file_each: bool,
    /// Flags are those of the session that sets them, if it may only read too: no other sees them as long as it is open.
    pub session_flags: bool,
    /// A session can find something to note that an earlier one could not know: that nothing has changed for a while.
    pub late_notes: bool,
}

/// What [`Driver::probe`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// A mailbox of this format.
    Valid,
    /// A file of no octets, or an INBOX that does not exist: may become one of this format by an append.
    Empty,
    /// None of this format.
    No(Rejection),
}

/// Why a location is no mailbox of a format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejection {
    /// Nothing is there.
    Missing,
    /// It may not be read.
    Denied,
    /// The name is none for this format.
    BadName,
    /// It is something else.
    WrongFormat,
}

/// Whether a mailbox is opened to change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// EXAMINE.
    ReadOnly,
    /// SELECT.
    ReadWrite,
}

/// For whom a mailbox is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// A person's session: may ask another session for its lock, and gives warnings.
    Session,
    /// Our own passing need (STATUS, COPY): no warnings, no kiss of death, given or taken. A lock that cannot be
    /// had is an error.
    Silent,
}

/// What STATUS tells (RFC 3501 §6.3.10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// Messages in the mailbox.
    pub messages: u32,
    /// Messages that no session has been told of.
    pub recent: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// The next UID; `None` when UIDs are used up.
    pub uid_next: Option<Uid>,
    /// The UID validity value.
    pub uid_validity: UidValidity,
}

impl Status {
    /// Counts messages.
    #[must_use]
    pub fn of(messages: &[MessageInfo], uid_next: Option<Uid>, uid_validity: UidValidity) -> Self {
        let count = |wanted: fn(&MessageInfo) -> bool| {
            let count = messages.iter().filter(|message| wanted(message)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Self {
            messages: count(|_| true),
            recent: count(MessageInfo::is_recent),
            unseen: count(|message| !message.flags().system.contains(SystemFlags::SEEN)),
            uid_next,
            uid_validity,
        }
    }
}

/// Which octets of a message are meant; all in CRLF form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// Header and text.
    Whole,
    /// The header with its empty line (all of the message if it has no empty line).
    Header,
    /// What follows the header.
    Text,
}

/// What wakes a waiting session before it calls [`Mailbox::refresh`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wake {
    /// Files to watch; their directories where they may be replaced or do not exist.
    pub paths: Vec<PathBuf>,
}

/// One open mailbox. Dropped without [`Mailbox::close`], it lets go of its locks and writes nothing.
pub trait Mailbox: Send {
    /// Returns the format's name, for messages to people.
    fn driver(&self) -> &'static str;

    /// Returns the file or directory, for the log and for what the reference prints in `[UNSEEN]`.
    fn path(&self) -> &Path;

    /// Returns the mailbox as last opened, refreshed or committed.
    fn snapshot(&self) -> &Snapshot;

    /// Appends octets of a message in CRLF form to `out`: at most `most`, from octet `from` of the extent on.
    /// Returns how many; 0 means that the extent ends there. Reading on where the last call for the same extent
    /// stopped costs no more than the octets given. NULs are given as they are.
    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize>;

    /// Tells whether the last line of the message has its end, CRLF. POP sends one in any case, and must count it before:
    /// for a mailbox of 100,000 messages at a time.
    fn ends_line(&mut self, uid: Uid) -> Result<bool> {
        let message = self.snapshot().message(uid).ok_or(crate::Error::Expunged { uid: uid.get() })?;
        let Some(from) = u64::from(message.rfc822_size()).checked_sub(2) else {
            return Ok(message.rfc822_size() == 0);
        };
        let mut end = Vec::with_capacity(2);
        while end.len() < 2 {
            let at = from + u64::try_from(end.len()).unwrap_or(0);
            let most = 2 - end.len();
            if self.read(uid, Extent::Whole, at, most, &mut end)? == 0 {
                break;
            }
        }
        Ok(end == b"\r\n")
    }

    /// Returns the From_ line of the message without its line end, where the format has one: COPY keeps it.
    fn envelope_line(&mut self, uid: Uid) -> Result<Option<Vec<u8>>> {
        let _ = uid;
        Ok(None)
    }

    /// Returns what sessions noted of the messages; `None` where nothing is kept.
    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        None
    }

    /// Looks at what other processes did, moves new mail in where the format does so, and finishes own work that
    /// waited for a lock.
    fn refresh(&mut self) -> Result<Changes>;

    /// Begins a change: takes what lock the format needs and reads what others did meanwhile.
    fn edit(&mut self) -> Result<Box<dyn Edit + '_>>;

    /// Writes what is only in memory (CHECK); nothing to do for most formats.
    fn checkpoint(&mut self) -> Result<Changes>;

    /// Tells whether a checkpoint would have something to write.
    fn is_dirty(&self) -> bool {
        false
    }

    /// Returns what to watch while nothing else happens.
    fn wake(&self) -> Wake;

    /// Writes what is only in memory and lets go of the mailbox.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Changes under way. Dropped without `commit`, nothing happened.
pub trait Edit {
    /// Returns the mailbox as this change found it, with the changes made so far.
    fn snapshot(&self) -> &Snapshot;

    /// Changes flags of those messages that exist. New keywords are made while there is room; the others are
    /// returned for a warning.
    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>>;

    /// Expunges those messages, whatever their flags: who may go is the session's rule.
    fn expunge(&mut self, uids: &UidSet) -> Result<()>;

    /// Makes the changes, and tells all that is different since the snapshot before [`Mailbox::edit`].
    fn commit(self: Box<Self>) -> Result<Changes>;
}

/// What an appended message comes with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AppendMeta {
    /// Its system flags.
    pub system: SystemFlags,
    /// Its keywords; those that the mailbox neither knows nor can make are dropped with a warning.
    pub keywords: Vec<Keyword>,
    /// Its internal date; now, if there is none.
    pub internal_date: Option<InternalDate>,
    /// Its size in octets of the CRLF form, as will be written; never 0.
    pub size: u64,
    /// The From_ line that it had in its old mailbox, without its line end.
    pub from_line: Option<Vec<u8>>,
}

/// Messages being appended. All of them arrive, or none (RFC 3502). Dropped without `commit`, nothing happened.
pub trait Append {
    /// Begins a message.
    fn begin(&mut self, meta: AppendMeta) -> Result<()>;

    /// Takes the next octets of the message, in CRLF form, in pieces of any size.
    fn write(&mut self, octets: &[u8]) -> Result<()>;

    /// Ends the message. It is an error to have written more or fewer octets than announced.
    fn end(&mut self) -> Result<()>;

    /// Makes all messages appear in the mailbox, synced to the disk.
    fn commit(self: Box<Self>) -> Result<Appended>;
}

/// What came of an append.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Appended {
    /// The UIDs of the messages in the order of their arrival with the UID validity value (RFC 4315); `None` when
    /// the format could not tell.
    pub uids: Option<(UidValidity, Vec<Uid>)>,
}
