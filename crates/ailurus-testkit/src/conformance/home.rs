//! A scratch home, and what checks do in it.

use super::Format;
use crate::faulty::NoSync;
use ailurus_formats::disk::Disk;
use ailurus_store::{
    Abilities, Access, Append, AppendMeta, Appended, Changes, Clock, Driver, Environment, Extent, Level,
    Location, Mailbox, Mailboxes, Manner, Result,
};
use ailurus_types::{
    FlagChange, FlagOp, InternalDate, Keyword, MailboxName, SystemFlags, Uid, UidSet, UidValidity,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// 2025-03-01 12:00:00 UTC.
const NOW: i64 = 1_740_830_400;

/// A clock that is moved by hand.
#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn local_offset(&self) -> i16 {
        0
    }
}

/// Returns a directory that goes with the value; in memory, where there is such a place.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The home of the user alice with mailboxes of one format. When a check passed, no lock may be left in it.
pub(super) struct Home {
    pub(super) format: &'static Format,
    pub(super) environment: Arc<Environment>,
    pub(super) mailboxes: Mailboxes,
    driver: Arc<dyn Driver>,
    clock: Arc<HandClock>,
    directory: PathBuf,
    scratch: Option<tempfile::TempDir>,
}

impl Home {
    /// Returns a furnished home without mailboxes, on a disk that does not wait for syncs.
    pub(super) fn new(format: &'static Format) -> Self {
        let scratch = scratch();
        let directory = scratch.path().join("home");
        std::fs::create_dir(&directory).unwrap();
        std::fs::create_dir(lock_dir(&directory)).unwrap();
        (format.furnish)(&directory);
        let mut home = Self::at(format, &directory, Arc::new(NoSync));
        home.scratch = Some(scratch);
        home
    }

    /// Returns a home with a mailbox of so many messages.
    pub(super) fn filled(format: &'static Format, count: usize) -> Self {
        let home = Self::new(format);
        home.fill(count);
        home
    }

    /// Returns the home that is in a directory already.
    pub(super) fn at(format: &'static Format, directory: &Path, disk: Arc<dyn Disk>) -> Self {
        Self::with(format, directory, disk, |_| {})
    }

    /// As [`Home::at`], with something different about it.
    pub(super) fn with(
        format: &'static Format,
        directory: &Path,
        disk: Arc<dyn Disk>,
        change: impl FnOnce(&mut Environment),
    ) -> Self {
        let clock = Arc::new(HandClock(AtomicI64::new(NOW)));
        let spool = directory.join("spool");
        let mut environment = Environment::new("alice", directory.into(), spool, "mail.example.com");
        environment.lock_dir = lock_dir(directory);
        environment.news.active = directory.join("news/active");
        environment.news.spool = directory.join("news/spool");
        environment.clock = clock.clone();
        environment.create_format = format.name;
        environment.empty_format = Some(format.name);
        environment.kiss_tries = 1;
        environment.dot_lock_timeout = 20;
        change(&mut environment);
        let environment = Arc::new(environment);
        let drivers = ailurus_formats::drivers(&environment, &disk);
        let driver = drivers.iter().find(|driver| driver.name() == format.name);
        let driver = Arc::clone(driver.expect("the format has a driver"));
        let mailboxes = Mailboxes::new(Arc::clone(&environment), drivers);
        Self { format, environment, mailboxes, driver, clock, directory: directory.into(), scratch: None }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    pub(super) fn abilities(&self) -> Abilities {
        self.driver.abilities()
    }

    /// Moves the clock on.
    pub(super) fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Tells whether mailboxes can have any name.
    pub(super) fn has_names(&self) -> bool {
        self.format.only.is_none()
    }

    /// Returns a mailbox name of the format.
    pub(super) fn name(&self, name: &str) -> MailboxName {
        format!("{}{name}", self.format.prefix).as_str().into()
    }

    /// Returns the place of a name.
    pub(super) fn at_name(&self, name: &str) -> Location {
        self.mailboxes.resolve(&self.name(name)).unwrap()
    }

    /// Returns the place of the mailbox that most checks use.
    pub(super) fn at_box(&self) -> Location {
        match self.format.only {
            Some(name) => self.mailboxes.resolve(&name.into()).unwrap(),
            None => self.at_name("box"),
        }
    }

    /// Makes the mailbox, with the messages 1 to `count`.
    pub(super) fn fill(&self, count: usize) {
        if let Some(stock) = self.format.stock {
            let messages: Vec<_> = (1..=count).map(text).collect();
            return stock(&self.directory, &messages);
        }
        self.create();
        for number in 1..=count {
            self.append(&Message::number(number)).unwrap();
        }
    }

    /// Makes the mailbox, unless it is there without being made.
    pub(super) fn create(&self) {
        match self.driver.create(&self.at_box()) {
            Err(ailurus_store::Error::AlreadyExists(_)) if self.format.only.is_some() => {}
            made => made.unwrap(),
        }
    }

    /// Opens the mailbox as a session that may write.
    pub(super) fn open(&self) -> Box<dyn Mailbox> {
        self.open_at(&self.at_box(), Access::ReadWrite).unwrap()
    }

    pub(super) fn open_at(&self, at: &Location, access: Access) -> Result<Box<dyn Mailbox>> {
        self.driver.open(at, access, Manner::Session)
    }

    /// Appends a message to the mailbox.
    pub(super) fn append(&self, message: &Message) -> Result<Appended> {
        self.append_at(&self.at_box(), std::slice::from_ref(message))
    }

    /// Appends messages as one.
    pub(super) fn append_at(&self, at: &Location, messages: &[Message]) -> Result<Appended> {
        let mut append = self.driver.append(at)?;
        for message in messages {
            give(&mut *append, message)?;
        }
        append.commit()
    }

    /// Copies messages as a session does: what comes with a message goes with it.
    pub(super) fn copy(&self, source: &mut dyn Mailbox, uids: &[u32], to: &Location) -> Result<Appended> {
        let mut append = self.driver.append(to)?;
        for uid in uids {
            let uid = Uid::new(*uid).unwrap();
            let message = *source.snapshot().message(uid).expect("it was put there");
            let known = &source.snapshot().keywords;
            let meta = AppendMeta {
                system: message.flags().system,
                keywords: known.named(message.flags().keywords).cloned().collect(),
                internal_date: Some(message.internal_date()),
                size: message.rfc822_size().into(),
                from_line: source.envelope_line(uid)?,
            };
            append.begin(meta)?;
            append.write(&read(source, uid, Extent::Whole, 1000)?)?;
            append.end()?;
        }
        append.commit()
    }

    /// Shows the mailbox to a session of its own that may write.
    pub(super) fn show(&self) -> Vec<Shown> {
        let mut mailbox = self.open();
        let shown = show(&mut *mailbox);
        mailbox.close().unwrap();
        shown
    }

    /// Returns the texts of the notices since the last call.
    pub(super) fn notices(&self) -> Vec<String> {
        self.environment.notices.take().into_iter().map(|notice| notice.text).collect()
    }

    /// Returns what a person would be warned of, since the last call.
    pub(super) fn warnings(&self) -> Vec<String> {
        let told = self.environment.notices.take().into_iter();
        told.filter(|notice| notice.level == Level::Warning).map(|notice| notice.text).collect()
    }

    /// Returns what is in the mailbox's file, or in all files of its directory, by path.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.directory, &mut files);
        files
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.scratch.is_some() && !std::thread::panicking() {
            assert_eq!(locks(&self.directory), Vec::<PathBuf>::new(), "locks are left behind");
        }
    }
}

fn lock_dir(home: &Path) -> PathBuf {
    home.with_extension("locks")
}

/// Returns the lock files of a home.
pub(super) fn locks(home: &Path) -> Vec<PathBuf> {
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let is_lock = |path: &PathBuf| path.to_string_lossy().contains(".lock");
    names(home).into_iter().filter(is_lock).chain(names(&lock_dir(home))).collect()
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else {
            let content = std::fs::read(&path).unwrap();
            files.push((path, content));
        }
    }
}

/// A message to be appended.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) text: Vec<u8>,
    pub(super) system: SystemFlags,
    pub(super) keywords: Vec<Keyword>,
    pub(super) date: Option<InternalDate>,
}

impl Message {
    pub(super) fn of(text: &[u8]) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Returns message n.
    pub(super) fn number(number: usize) -> Self {
        Self::of(&text(number))
    }

    fn meta(&self) -> AppendMeta {
        AppendMeta {
            system: self.system,
            keywords: self.keywords.clone(),
            internal_date: self.date,
            size: self.text.len() as u64,
            from_line: None,
        }
    }
}

/// Gives a message to an append in pieces, without commit.
pub(super) fn give(append: &mut dyn Append, message: &Message) -> Result<()> {
    append.begin(message.meta())?;
    for piece in message.text.chunks(7001) {
        append.write(piece)?;
    }
    append.end()
}

/// Returns the text of message n, which every format gives back as it is: of another length each, so that places
/// in the file are where they are by necessity.
pub(super) fn text(number: usize) -> Vec<u8> {
    let mut text = format!("From: ada@example.com\r\nSubject: number {number}\r\n\r\n");
    let length = 60 + number * 613 % 4999;
    while text.len() < length {
        text.push_str(&format!("line of message {number} at {}\r\n", text.len()));
    }
    text.into_bytes()
}

/// What a session shows of a message.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Shown {
    pub(super) uid: Uid,
    pub(super) system: SystemFlags,
    pub(super) keywords: Vec<String>,
    pub(super) date: InternalDate,
    pub(super) text: Vec<u8>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = String::from_utf8_lossy(&self.text[..self.text.len().min(200)]);
        write!(f, "UID {} {:?} {:?} ", self.uid, self.system, self.keywords)?;
        write!(f, "{} {} octets {start:?}", self.date, self.text.len())
    }
}

/// Shows all messages; their sizes must be as announced.
#[track_caller]
pub(super) fn show(mailbox: &mut dyn Mailbox) -> Vec<Shown> {
    let snapshot = mailbox.snapshot().clone();
    let uids: Vec<_> = snapshot.messages.iter().map(|message| message.uid()).collect();
    assert!(uids.is_sorted_by(|one, other| one < other), "UIDs ascend: {uids:?}");
    let mut shown = Vec::new();
    for message in &snapshot.messages {
        let text = read(mailbox, message.uid(), Extent::Whole, 1 << 16).unwrap();
        assert_eq!(message.rfc822_size() as usize, text.len(), "size of UID {}", message.uid());
        let mut keywords: Vec<_> =
            snapshot.keywords.named(message.flags().keywords).map(ToString::to_string).collect();
        keywords.sort();
        let system = message.flags().system;
        shown.push(Shown { uid: message.uid(), system, keywords, date: message.internal_date(), text });
    }
    shown
}

/// Reads all of an extent in pieces of one size.
pub(super) fn read(mailbox: &mut dyn Mailbox, uid: Uid, extent: Extent, piece: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64;
        if mailbox.read(uid, extent, from, piece, &mut all)? == 0 {
            return Ok(all);
        }
    }
}

/// Returns the UIDs of a session.
pub(super) fn uids(mailbox: &dyn Mailbox) -> Vec<u32> {
    mailbox.snapshot().messages.iter().map(|message| message.uid().get()).collect()
}

/// Returns the UIDs of the messages that a session is the first to be told of.
pub(super) fn recent(mailbox: &dyn Mailbox) -> Vec<u32> {
    let recent = mailbox.snapshot().messages.iter().filter(|message| message.is_recent());
    recent.map(|message| message.uid().get()).collect()
}

/// Returns the one UID that an append told.
#[track_caller]
pub(super) fn told(appended: Appended) -> (UidValidity, Uid) {
    let (validity, uids) = appended.uids.expect("nobody else has the mailbox: the UID is known");
    assert_eq!(uids.len(), 1);
    (validity, uids[0])
}

/// Returns a set of UIDs.
pub(super) fn set(uids: &[u32]) -> UidSet {
    uids.iter().filter_map(|uid| Uid::new(*uid)).collect()
}

pub(super) fn keyword(name: &str) -> Keyword {
    Keyword::new(name.as_bytes()).unwrap()
}

pub(super) fn date(text: &str) -> InternalDate {
    InternalDate::parse(text.as_bytes(), 0).unwrap()
}

pub(super) fn change(op: FlagOp, system: SystemFlags, keywords: &[&str]) -> FlagChange {
    FlagChange { op, system, keywords: keywords.iter().map(|name| keyword(name)).collect() }
}

/// Changes flags, and writes what a format keeps in memory.
pub(super) fn store(mailbox: &mut dyn Mailbox, uids: &UidSet, change: &FlagChange) -> Result<Changes> {
    let mut edit = mailbox.edit()?;
    edit.store(uids, change)?;
    let mut changes = edit.commit()?;
    merge(&mut changes, mailbox.checkpoint()?);
    Ok(changes)
}

pub(super) fn expunge(mailbox: &mut dyn Mailbox, uids: &UidSet) -> Result<Changes> {
    let mut edit = mailbox.edit()?;
    edit.expunge(uids)?;
    edit.commit()
}

fn merge(changes: &mut Changes, more: Changes) {
    let both = |one: &UidSet, other: &UidSet| {
        let ranges = one.ranges().iter().chain(other.ranges());
        ranges.flat_map(|(first, last)| *first..=*last).filter_map(Uid::new).collect()
    };
    changes.flags = both(&changes.flags, &more.flags);
    changes.expunged = both(&changes.expunged, &more.expunged);
    changes.arrived |= more.arrived;
    changes.keywords |= more.keywords;
    changes.uid_validity |= more.uid_validity;
}
