//! What the tests of several formats share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test program uses a part of this")]

use ailurus_formats::disk::{Disk, Os};
use ailurus_store::{
    Access, AppendMeta, Appended, Changes, Clock, Driver, Environment, Error, Extent, Location, Mailbox,
    Manner, Place, Result,
};
use ailurus_types::{FlagChange, FlagOp, InternalDate, Keyword, MailboxName, SystemFlags, Uid, UidSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// When the fixtures were made: 2025-03-01 12:00:00 UTC.
pub const NOW: i64 = 1_740_830_400;

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
pub struct Frozen {
    pub now: i64,
    pub offset: i16,
}

impl Clock for Frozen {
    fn now(&self) -> i64 {
        self.now
    }

    fn local_offset(&self) -> i16 {
        self.offset
    }
}

/// Gives every mailbox an index, if asked to: whatever holds without one holds with it.
pub fn index_all(environment: &mut Environment) {
    if std::env::var_os("AILURUS_TEST_INDEX").is_some() {
        let Environment { home, lock_dir, .. } = &*environment;
        let directory = if lock_dir.starts_with(home) { lock_dir } else { home };
        (environment.cache_dir, environment.index_from) = (Some(directory.join("cache")), 0);
    }
}

/// A scratch home of the user alice.
pub struct Home {
    pub directory: tempfile::TempDir,
    pub environment: Arc<Environment>,
    pub disk: Arc<dyn Disk>,
}

impl Home {
    pub fn new() -> Self {
        Self::with(Os::shared(), |_| {})
    }

    pub fn with(disk: Arc<dyn Disk>, change: impl FnOnce(&mut Environment)) -> Self {
        Self::at(tempfile::tempdir().unwrap(), disk, change)
    }

    pub fn at(
        directory: tempfile::TempDir,
        disk: Arc<dyn Disk>,
        change: impl FnOnce(&mut Environment),
    ) -> Self {
        let home = directory.path().to_path_buf();
        let spool = home.join("spool");
        let mut environment = Environment::new("alice", home, spool, "mail.example.com");
        environment.clock = Arc::new(Frozen { now: NOW, offset: 0 });
        index_all(&mut environment);
        change(&mut environment);
        Self { directory, environment: Arc::new(environment), disk }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn at_name(&self, name: &str) -> Location {
        if name == "INBOX" {
            return Location { name: MailboxName::inbox(), place: Place::Inbox };
        }
        Location { name: name.into(), place: Place::Path(self.path(name)) }
    }

    /// A name that a driver parses itself.
    pub fn special(&self, name: &str) -> Location {
        Location { name: name.into(), place: Place::Special }
    }

    pub fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn notices(&self) -> Vec<String> {
        self.environment.notices.take().into_iter().map(|notice| notice.text).collect()
    }
}

/// Mailboxes by their paths, for the tests of unix.
pub mod paths;

/// The folder with the samples of a format.
pub fn fixtures(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(format)
}

pub fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(fixtures(path)).unwrap()
}

pub fn open(driver: &dyn Driver, at: &Location) -> Result<Box<dyn Mailbox>> {
    driver.open(at, Access::ReadWrite, Manner::Session)
}

/// Reads all of an extent in pieces of one size.
pub fn read_all(mailbox: &mut dyn Mailbox, uid: Uid, extent: Extent, most: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64;
        if mailbox.read(uid, extent, from, most, &mut all)? == 0 {
            return Ok(all);
        }
    }
}

/// Appends messages as one.
pub fn append(driver: &dyn Driver, at: &Location, messages: &[(AppendMeta, &[u8])]) -> Result<Appended> {
    let mut append = driver.append(at)?;
    for (meta, text) in messages {
        append.begin(AppendMeta { size: text.len() as u64, ..meta.clone() })?;
        for piece in text.chunks(7000) {
            append.write(piece)?;
        }
        append.end()?;
    }
    append.commit()
}

/// Appends one message without flags.
pub fn append_plain(driver: &dyn Driver, at: &Location, text: &[u8]) -> Result<Appended> {
    append(driver, at, &[(AppendMeta::default(), text)])
}

pub fn meta(system: SystemFlags, date: &str) -> AppendMeta {
    let internal_date = (!date.is_empty()).then(|| InternalDate::parse(date.as_bytes(), 0).unwrap());
    AppendMeta { system, internal_date, ..AppendMeta::default() }
}

pub fn uid(uid: u32) -> Uid {
    Uid::new(uid).unwrap()
}

pub fn uids(uids: &[u32]) -> UidSet {
    uids.iter().map(|number| uid(*number)).collect()
}

pub fn change(op: FlagOp, system: SystemFlags, keywords: &[&str]) -> FlagChange {
    let keywords = keywords.iter().map(|name| Keyword::new(name.as_bytes()).unwrap()).collect();
    FlagChange { op, system, keywords }
}

pub fn store(mailbox: &mut dyn Mailbox, set: &UidSet, change: &FlagChange) -> Result<Changes> {
    let mut edit = mailbox.edit()?;
    edit.store(set, change)?;
    edit.commit()
}

pub fn expunge(mailbox: &mut dyn Mailbox, set: &UidSet) -> Result<Changes> {
    let mut edit = mailbox.edit()?;
    edit.expunge(set)?;
    edit.commit()
}

/// The UIDs in a mailbox's snapshot.
pub fn uids_of(mailbox: &dyn Mailbox) -> Vec<u32> {
    mailbox.snapshot().messages.iter().map(|message| message.uid().get()).collect()
}

/// Prints a mailbox as the `.expect` files do, from `keyword` lines on.
pub fn show(mailbox: &dyn Mailbox) -> Vec<String> {
    let snapshot = mailbox.snapshot();
    let mut lines: Vec<_> =
        snapshot.keywords.iter().map(|(slot, keyword)| format!("keyword {slot} {keyword}")).collect();
    for (index, message) in snapshot.messages.iter().enumerate() {
        let mut flags = String::new();
        for (flag, letter) in [
            (SystemFlags::SEEN, 'S'),
            (SystemFlags::DELETED, 'D'),
            (SystemFlags::FLAGGED, 'F'),
            (SystemFlags::ANSWERED, 'A'),
            (SystemFlags::DRAFT, 'T'),
        ] {
            if message.flags().system.contains(flag) {
                flags.push(letter);
            }
        }
        if message.is_recent() {
            flags.push('r');
        }
        lines.push(format!(
            "msg {} uid={} size={} date=\"{}\" flags={flags} uf={:x}",
            index + 1,
            message.uid(),
            message.rfc822_size(),
            message.internal_date(),
            message.flags().keywords.0,
        ));
    }
    lines
}

/// Appends what samples 31 hold.
pub fn append_31(driver: &dyn Driver, at: &Location) {
    let meta = AppendMeta {
        keywords: vec![Keyword::new(b"bar").unwrap()],
        ..meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200")
    };
    append(driver, at, &[(meta, &fixture("messages/m3.eml"))]).unwrap();
}

/// What the reference says of samples 31 after that append.
pub fn expect_31(format: &str) -> Vec<String> {
    let expect = fixture(&format!("{format}/31-default-keywords-appended.expect"));
    let expect = String::from_utf8(expect).unwrap();
    expect.lines().filter(|line| !line.starts_with("open ok")).map(Into::into).collect()
}

/// The reference's text in an error.
pub fn reason(error: &Error) -> String {
    match error {
        Error::Damaged { what, .. } | Error::Lost { what, .. } => what.clone(),
        other => other.to_string(),
    }
}

/// Fails with the lines that differ, without the NULs of headers.
#[track_caller]
pub fn assert_same(left: &[u8], right: &[u8], what: &str) {
    let lines = |octets: &[u8]| String::from_utf8_lossy(octets).replace('\0', "");
    assert!(left == right, "{what}:\n--- is\n{}\n--- should be\n{}", lines(left), lines(right));
}

/// Runs the reference's mailutil in a home and returns what it says; `None` when it is not there (and need not be).
pub fn mailutil(home: &Home, arguments: &[&str]) -> Option<String> {
    mailutil_in(home.directory.path(), arguments).map(|(_, said)| said)
}

/// As [`mailutil`], in a home that is just a directory; also tells whether its exit status is that of success.
///
/// It knows no mailboxes of uid 0, so a test that runs as root lends it the home as the user nobody.
pub fn mailutil_in(home: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let found = ["/usr/sbin/mailutil", "/usr/bin/mailutil"].into_iter().find(|path| Path::new(path).exists());
    let Some(path) = found else {
        let required = std::env::var_os("AILURUS_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "mailutil is required and missing");
        eprintln!("skipped: no mailutil");
        return None;
    };
    let mut command = std::process::Command::new(path);
    command.args(arguments).env("HOME", home).current_dir(home);
    if rustix::process::geteuid().is_root() {
        give_away(home, NOBODY);
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some((output.status.success(), said))
}

fn give_away(path: &Path, to: u32) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path(), to);
        }
    }
    std::os::unix::fs::lchown(path, Some(to), Some(to)).unwrap();
}

/// Does something as another user of one group, if this is root; else as who we are. Only the thread becomes that user.
pub fn as_user<T: Send>(user: u32, group: u32, act: impl FnOnce() -> T + Send) -> T {
    let act = move || {
        if rustix::process::geteuid().is_root() {
            let (group, user) = (rustix::fs::Gid::from_raw(group), rustix::fs::Uid::from_raw(user));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        }
        act()
    };
    match std::thread::scope(|scope| scope.spawn(act).join()) {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
