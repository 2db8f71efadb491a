//! The mtx and tenex formats: MAIL.TXT of TOPS-20, one file, flags changed in place, many sessions at once.
//!
//! # The file
//!
//! Messages one behind the other, each with a line before it; nothing else. Both formats are the same but for the line
//! end ([`Dialect`]): mtx ends lines in CRLF and holds messages as they go over the wire, tenex ends lines in LF and holds
//! them without CRs, so that the sizes in the file are not those that a client sees.
//!
//! ```text
//!  1-Feb-2025 12:34:56 +0200,242;600000000021 CR LF
//! internal date              size keywords, from the left: 4000000000 is the first, 2000000000 the second, …
//!                                           then flags: 1 \Seen 2 \Deleted 4 \Flagged 10 \Answered 20 not \Recent 40 \Draft
//! ```
//!
//! A keyword is the one that is configured at its place; a file holds no names.
//!
//! # The sidecar
//!
//! The reference knows neither UIDs nor other keywords in these formats. We keep both in a sidecar ([`crate::sidecar`]),
//! `.NAME.ailurus-uids` beside the mailbox or `.NAME.INODE.ailurus-uids` in the user's home, which old programs ignore.
//! It knows each message by its place in the order and by a check sum of date, size and first octets; which of them is which
//! after an old program took some out is in [`align`]. It is brought up to date by whoever of us parses the file, also by
//! one that only reads, before anybody is told of a UID. Where there is no place for it, UIDs last as long as the session.
//!
//! Configured keywords are in the file alone, all others in the sidecar alone ([`keywords`]). Bits of the file that have no
//! name stay when flags are written (the reference drops them).
//!
//! # Locks
//!
//! All that parses or changes the file holds the exclusive lock of its lock file in `/tmp`, and below it that of the
//! sidecar; the reference parses under the shared one, and writes flags under none. So each flag field is written by
//! itself, twelve octets. A session holds a shared flock of the file for all its life: "I know where messages are". Only
//! who gets the exclusive flock may move them; else an expunge is refused.
//!
//! # How sessions see each other's changes
//!
//! New messages show in the size. Flag updates show in the modification time, which all appenders put back, and in the
//! change time; those of our own sessions make the sidecar longer as well. Flags that others took away are seen too (the
//! reference only sees keywords come).
//!
//! # Whenever we die
//!
//! | we died | the file | the reference sees | the next of ours that may write |
//! |---|---|---|---|
//! | within a flag update | some fields are new | the same | does nothing |
//! | as UIDs were assigned | the sidecar has them or not; nobody was told | – | assigns them |
//! | within an append | longer, with NULs where the first new line goes | "unable to find", until we come by | takes it out |
//! | while messages slide down | a redo journal is beside it ([`crate::journal`]) | damage, until we come by | finishes the slide |
//!
//! The file has no room to announce an append, so the sidecar does ([`note`]): where it begins and ends, the first line, and
//! a check sum, synced before the file is touched. Then the file is made as long as it will be, all is written but the first
//! line, and the first line last. As long as that is not there nobody, the reference included, reads past it; so all
//! messages of an append appear at once, and what is there of an unfinished one can be taken out even while others have the
//! mailbox open. Mail that the reference appended behind it (which does not read what is before) slides down. An append is
//! taken for unfinished only where the lines of the file lead to its start, and only NULs and parts of its line are there
//! (or all of its line, and pages that never reached the disk): whatever else is there is somebody's mail.
//!
//! A file of no octets could be of any format, and the reference makes it one of the usual format with its first mail. The
//! sidecar's note keeps the format of one that was made by `#driver.mtx/`, or from which all messages are gone.
//!
//! All other damage is reported with its offset, and such a file is not written.

mod align;
mod append;
mod edit;
mod fields;
mod indexed;
mod keywords;
mod ledger;
mod lf;
mod line;
mod mailbox;
mod note;
mod parse;
mod reclaim;
mod salvage;
mod torn;
mod walk;

use crate::disk::Disk;
use crate::files;
use crate::journal::Places;
use crate::lock::{Mode, Wait, lock_file};
use crate::mail_file::MailFile;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Level, Location, Mailbox, Manner, Place,
    Rejection, Result, Status,
};
use ailurus_types::Keywords;
use align::News;
use append::MtxAppend;
use ledger::{Held, Ledger, Told};
use line::Line;
use mailbox::MtxMailbox;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the two formats differ in.
#[derive(Debug)]
struct Dialect {
    name: &'static str,
    newline: &'static [u8],
    newline_name: &'static str,
    /// Whether messages have CRLF in the file.
    crlf: bool,
    /// The file in the home that is INBOX, if `INBOX` there is none of this format.
    inbox: &'static str,
    invalid_name: &'static str,
}

static MTX: Dialect = Dialect {
    name: "mtx",
    newline: b"\r\n",
    newline_name: "CRLF",
    crlf: true,
    inbox: "INBOX.MTX",
    invalid_name: "Invalid MTX-format mailbox name",
};

static TENEX: Dialect = Dialect {
    name: "tenex",
    newline: b"\n",
    newline_name: "newline",
    crlf: false,
    inbox: "mail.txt",
    invalid_name: "Invalid TENEX-format mailbox name",
};

/// The driver of one of the two formats.
#[derive(Debug)]
pub struct Mtx {
    dialect: &'static Dialect,
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
}

impl Mtx {
    /// Returns the driver of the mtx format for one user's mailboxes.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { dialect: &MTX, environment, disk }
    }

    /// Returns the driver of the tenex format for one user's mailboxes.
    #[must_use]
    pub fn tenex(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { dialect: &TENEX, environment, disk }
    }

    fn path(&self, at: &Location) -> Result<PathBuf> {
        match &at.place {
            Place::Inbox => {
                let inbox = self.environment.mailbox_dir.join("INBOX");
                let is_ours = self.environment.mode != ailurus_store::Mode::Open
                    || self.is_valid(&inbox).is_ok_and(|valid| valid);
                let other = || self.environment.mailbox_dir.join(self.dialect.inbox);
                Ok(if is_ours { inbox } else { other() })
            }
            Place::Path(path) => Ok(path.clone()),
            Place::Special => {
                Err(Error::InvalidName { name: at.name.clone(), why: self.dialect.invalid_name })
            }
        }
    }

    /// Tells whether this is INBOX under the name that it has in this format alone.
    fn is_own_inbox(&self, at: &Location, path: &Path) -> bool {
        at.place == Place::Inbox && path.ends_with(self.dialect.inbox)
    }

    /// Tells whether the first line of a file is one of this format, or is still to be written.
    fn is_valid(&self, path: &Path) -> io::Result<bool> {
        let Some(head) = files::peek(&*self.disk, path, line::MOST)? else {
            return Ok(files::is_empty(path) && self.is_begun(path));
        };
        let lacks_some = head.len() < line::MOST || head.contains(&0);
        Ok(Line::is_first(&head, self.dialect) || lacks_some && self.is_begun(path))
    }

    /// Tells whether a file without a first line is that of a mailbox all the same: it was made as one of this format, its
    /// messages are gone, or its first messages are being appended, or were when the appender died. Waits until the
    /// appender is done.
    fn is_begun(&self, path: &Path) -> bool {
        let Ok(file) = files::open(path, Access::ReadOnly) else { return false };
        // Without a sidecar it is somebody else's: nothing is locked or made.
        let places = Places::of_sidecar(path, &file, &self.environment.home);
        if !places.is_ok_and(|places| places.paths().iter().any(|path| path.symlink_metadata().is_ok())) {
            return false;
        }
        let file = self.file(path, file);
        let mut ledger = Ledger::new(&file);
        let Ok(held) = ledger.hold(&file) else { return false };
        let head = files::peek(&*self.disk, path, line::MOST);
        if head.is_ok_and(|head| head.is_some_and(|head| Line::is_first(&head, self.dialect))) {
            return true;
        }
        // All of it where the last of what was noted is torn: that is cut off then.
        let told = ledger.read_state(&file, &held)
            || matches!(ledger.read(&file, &held, &mut News::default()), Told::More | Told::Anew);
        if !told {
            return false;
        }
        if files::is_empty(path) && ledger.is_of(self.dialect.name) {
            return true;
        }
        let note = Some(&ledger.note).filter(|note| note.end == 0);
        let intent = note.and_then(|note| note.intent.as_ref());
        intent.is_some_and(|intent| Line::is_first(&intent.line, self.dialect))
    }

    fn file(&self, path: &Path, file: File) -> MailFile {
        let (environment, disk) = (Arc::clone(&self.environment), Arc::clone(&self.disk));
        MailFile { format: self.dialect.name, environment, disk, path: path.into(), file }
    }

    /// Opens a file that must be a mailbox, to read and write unless that is not allowed.
    fn open_file(&self, at: &Location, access: Access) -> Result<(MailFile, Access)> {
        let path = self.path(at)?;
        if !self.is_valid(&path).map_err(files::failure("open", at, &path))? && !files::is_empty(&path) {
            return Err(Error::WrongFormat { format: self.dialect.name, path });
        }
        let (file, writable) =
            files::open_as_allowed(&path, access).map_err(files::failure("open", at, &path))?;
        Ok((self.file(&path, file), if writable { Access::ReadWrite } else { Access::ReadOnly }))
    }

    /// Takes the locks under which a mailbox is deleted or renamed: nobody may have it open.
    fn lock_alone(&self, at: &Location) -> Result<(MailFile, Ledger, Held)> {
        let (file, access) = self.open_file(at, Access::ReadWrite)?;
        if access != Access::ReadWrite {
            return Err(Error::ReadOnly { path: file.path });
        }
        let mut ledger = Ledger::new(&file);
        let held = ledger.hold(&file)?;
        file.recover(held.name())?;
        let alone = lock_file(&file.file, Mode::Exclusive, Wait::No).map_err(file.io("lock"))?;
        if !alone || !file.is_current() {
            return Err(Error::InUse { path: file.path });
        }
        Ok((file, ledger, held))
    }

    /// Notes the format of a mailbox that was just made: a file of no octets could be of any. Where there is no place for
    /// a note its first mail makes it one of the usual format, as with the reference.
    fn note_format(&self, at: &Location) {
        let Some(path) = at.path().filter(|path| !files::wants_directory(path)) else { return };
        let Ok(file) = files::open(path, Access::ReadWrite) else { return };
        let file = self.file(path, file);
        let mut ledger = Ledger::new(&file);
        let noted = ledger.hold(&file).and_then(|mut held| {
            // What is there is of an earlier mailbox of this name.
            ledger.read_state(&file, &held);
            ledger.start_over(&file, None);
            ledger.replace(&file, &mut held, [])
        });
        if let Err(error) = noted {
            let text = format!("the format of {} is not kept: {error}", path.display());
            self.environment.notices.tell(Level::Log, text);
        }
    }

    fn make(&self, at: &Location, path: &Path) -> Result<()> {
        let (mode, _) = self.environment.modes(&at.name);
        files::make(&*self.disk, at, path, mode, b"")
    }
}

impl Driver for Mtx {
    fn name(&self) -> &'static str {
        self.dialect.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: Keywords::MAX,
            shared_access: true,
            shared_expunge: false,
            crlf: self.dialect.crlf,
            creatable: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Ok(path) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        match self.is_valid(&path) {
            Ok(true) => Ok(Claim::Valid),
            // `mail.txt` and `INBOX.MTX` are mailboxes of this format even when empty; an empty `INBOX` is of any.
            Ok(false) if files::is_empty(&path) && self.is_own_inbox(at, &path) => Ok(Claim::Valid),
            Ok(false) if files::is_empty(&path) => Ok(Claim::Empty),
            Ok(false) => Ok(Claim::No(Rejection::WrongFormat)),
            // An append would make it.
            Err(error) if at.place == Place::Inbox && error.kind() == io::ErrorKind::NotFound => {
                Ok(Claim::Empty)
            }
            Err(error) => files::unclaimed("look at", &path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        match at.place {
            Place::Inbox => self.make(at, &self.path(at)?),
            _ => {
                files::create(&self.environment, &*self.disk, at)?;
                self.note_format(at);
                Ok(())
            }
        }
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let (file, mut ledger, _held) = self.lock_alone(at)?;
        let is_link = file.path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        files::remove(&*self.disk, at, &file.path)?;
        if !is_link {
            ledger.remove(&file);
            file.forget_index();
        }
        Ok(())
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let (file, mut ledger, held) = self.lock_alone(from)?;
        let new = self.path(to)?;
        if new.symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists(to.name.clone()));
        }
        // A link can have any name: the sidecar is beside what it leads to.
        let is_link = file.path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        // There before the mailbox, so that it has its UIDs whenever we die.
        let copied = if is_link { Ok(None) } else { ledger.copy_for(&file, &held, &new) };
        let copy = copied.map_err(Error::io("copy the UIDs of", &file.path))?;
        files::move_to(&*self.disk, (from, &file.path), (to, &new)).inspect_err(|_| {
            copy.map(|copy| self.disk.remove(&copy));
        })?;
        if !is_link {
            ledger.remove(&file);
        }
        if from.place == Place::Inbox { self.make(from, &self.path(from)?) } else { Ok(()) }
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let (file, _) = self.open_file(at, Access::ReadOnly)?;
        if let Some(status) = indexed::quick_status(&file)? {
            return Ok(status);
        }
        let mailbox = MtxMailbox::open(file, self.dialect, Access::ReadOnly, Manner::Silent)?;
        let snapshot = &mailbox.snapshot;
        Ok(Status::of(&snapshot.messages, snapshot.uid_next, snapshot.uid_validity))
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let (file, allowed) = self.open_file(at, access)?;
        if access != allowed && manner == Manner::Session {
            let text = "Can't get write access to mailbox, access is readonly";
            self.environment.notices.tell(Level::Warning, text);
        }
        Ok(Box::new(MtxMailbox::open(file, self.dialect, allowed, manner)?))
    }

    fn content_files(&self, at: &Location) -> Result<Vec<PathBuf>> {
        self.path(at).map(|path| vec![path])
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let path = self.path(at)?;
        match self.is_valid(&path) {
            Ok(true) => {}
            Ok(false) if files::is_empty(&path) => {}
            Ok(false) => return Err(Error::WrongFormat { format: self.dialect.name, path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && at.place == Place::Inbox => {}
            Err(error) => return Err(files::failure("open", at, &path)(error)),
        }
        Ok(Box::new(MtxAppend::new(self, at, &path)))
    }
}
