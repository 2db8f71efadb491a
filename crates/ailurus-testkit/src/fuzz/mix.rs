//! What the files of a mix mailbox may hold.

use super::mailbox::{Noon, check_uids};
use crate::faulty::NoSync;
use ailurus_store::{
    Access, AppendMeta, Driver, Environment, Extent, Level, Location, Mailbox, Manner, Place,
};
use ailurus_types::{InternalDate, Uid};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Between two files of the input: `.mixmeta`, `.mixindex`, `.mixstatus`, and data files, each of which begins with the
/// eight digits of its name.
const SEPARATOR: u8 = 0x0c;

type Files = BTreeMap<String, Vec<u8>>;
type Texts = BTreeMap<Uid, Option<Vec<u8>>>;

/// Takes the input apart into the files of a mailbox, and opens that, to read, to write, to append and to expunge.
///
/// Opening to read changes nothing. Messages have the octets that their sizes say or cannot be read, header and text are the
/// whole, UIDs ascend below the next one. If all is well with the data files, what was read before an opening to write, an
/// append, or an expunge of another message is read after it.
pub fn mix_files(input: &[u8]) {
    SCRATCH.with_borrow_mut(|scratch| {
        let scratch = scratch.get_or_insert_with(Scratch::new);
        let files = take_apart(input);
        let is_sound = are_sound(&files);
        let assert_kept = |before: &Texts, after: &Texts, when| {
            if is_sound {
                assert_kept(before, after, when);
            }
        };
        scratch.fill(&files);
        let driver = scratch.driver();
        let before = scratch.content();
        let Some(read) = scratch.open(&*driver, Access::ReadOnly) else {
            assert!(scratch.content() == before, "refused and changed");
            return;
        };
        let seen = scratch.look(read);
        assert!(scratch.content() == before, "opened to read, and changed");
        let Some(mut mailbox) = scratch.open(&*driver, Access::ReadWrite) else { return };
        inspect(&mut *mailbox, &scratch.environment);
        drop(mailbox.checkpoint());
        drop(mailbox.close());
        let opened = scratch.inspect(&*driver, "after an opening to write");
        assert_kept(&seen, &opened, "opened to write");
        let Some(new) = scratch.append(&*driver) else { return };
        assert!(opened.keys().all(|uid| *uid < new), "UID {new} was given before");
        let mut appended = scratch.inspect(&*driver, "after an append");
        assert_kept(&opened, &appended, "append");
        assert_eq!(appended.get(&new), Some(&Some(TEXT.to_vec())), "the new message");
        let Some(gone) = appended.keys().nth(appended.len() / 2).copied() else { return };
        let mut mailbox = scratch.open(&*driver, Access::ReadWrite).expect("it was just written");
        let mut edit = mailbox.edit().expect("nobody else has it");
        edit.expunge(&[gone].into_iter().collect()).expect("it is there");
        assert!(edit.commit().expect("there is room").expunged.contains(gone));
        mailbox.close().expect("nothing is left to write");
        appended.remove(&gone);
        assert_kept(&appended, &scratch.inspect(&*driver, "after an expunge"), "expunge");
    });
}

const TEXT: &[u8] = b"Subject: new\r\n\r\n:msg:00000001:20250201123456+0200:00000001:\r\n";

fn take_apart(input: &[u8]) -> Files {
    let mut files = Files::new();
    let names = [".mixmeta", ".mixindex", ".mixstatus"].into_iter().map(Some).chain(std::iter::repeat(None));
    for (piece, name) in input.split(|octet| *octet == SEPARATOR).zip(names) {
        match name {
            Some(name) => files.insert(name.into(), piece.into()),
            None => {
                let (digits, content) = piece.split_at(piece.len().min(8));
                let is_number = digits.len() == 8 && digits.iter().all(u8::is_ascii_hexdigit);
                let number =
                    if is_number { String::from_utf8_lossy(digits).to_lowercase() } else { "1".repeat(8) };
                files.insert(format!(".mix{number}"), content.into())
            }
        };
    }
    files
}

/// Tells whether in all data files records lead from message to message, each with a UID of its own.
fn are_sound(files: &Files) -> bool {
    let mut uids = BTreeSet::new();
    let data = files.iter().filter(|(name, _)| name.len() == 12);
    data.map(|(_, content)| content).all(|content| {
        let mut rest = content.as_slice();
        while let Some((record, text)) = rest.split_at_checked(45) {
            let number = |range| u32::from_str_radix(std::str::from_utf8(&record[range]).ok()?, 16).ok();
            let is_record = record.starts_with(b":msg:") && record.ends_with(b":\r\n") && record[13] == b':';
            let (Some(uid), Some(size)) = (number(5..13), number(34..42)) else { return false };
            let date = InternalDate::parse_compact(&record[14..33]);
            let text = text.split_at_checked(usize::try_from(size).unwrap_or(usize::MAX));
            let Some((_, after)) =
                text.filter(|_| is_record && size > 0 && date.is_some() && uids.insert(uid))
            else {
                return false;
            };
            rest = after;
        }
        rest.is_empty()
    })
}

/// Returns the mailbox in this directory as input.
pub(super) fn put_together(directory: &Path) -> Vec<u8> {
    let mut files: Files = read_files(directory);
    let mut take = |name: &str| files.remove(name).unwrap_or_default();
    let mut input = [take(".mixmeta"), take(".mixindex"), take(".mixstatus")].join(&SEPARATOR);
    for (name, content) in files {
        if let Some(digits) = name.strip_prefix(".mix").filter(|digits| digits.len() == 8) {
            input.push(SEPARATOR);
            input.extend_from_slice(digits.as_bytes());
            input.extend_from_slice(&content);
        }
    }
    input
}

fn read_files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry"));
    let file = |entry: fs::DirEntry| {
        (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("it can be read"))
    };
    entries.map(file).collect()
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

struct Scratch {
    _home: tempfile::TempDir,
    environment: Arc<Environment>,
    directory: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().to_path_buf();
        let mut environment = Environment::new("alice", path.clone(), path.join("spool"), "mail.example.com");
        environment.clock = Arc::new(Noon);
        Self { _home: home, environment: Arc::new(environment), directory: path.join("box") }
    }

    /// Makes the mailbox hold these files and no others.
    fn fill(&self, files: &Files) {
        fs::remove_dir_all(&self.directory).ok();
        fs::create_dir(&self.directory).expect("the home is ours");
        for (name, content) in files {
            fs::write(self.directory.join(name), content).expect("the directory is ours");
        }
        drop(self.environment.notices.take());
    }

    fn content(&self) -> Files {
        read_files(&self.directory)
    }

    fn driver(&self) -> Arc<dyn Driver> {
        let disk: Arc<dyn ailurus_formats::disk::Disk> = Arc::new(NoSync);
        let drivers = ailurus_formats::drivers(&self.environment, &disk);
        drivers.into_iter().find(|driver| driver.name() == "mix").expect("the format is there")
    }

    fn location(&self) -> Location {
        Location { name: "box".into(), place: Place::Path(self.directory.clone()) }
    }

    fn open(&self, driver: &dyn Driver, access: Access) -> Option<Box<dyn Mailbox>> {
        driver.open(&self.location(), access, Manner::Session).ok()
    }

    fn inspect(&self, driver: &dyn Driver, when: &str) -> Texts {
        let opened = driver.open(&self.location(), Access::ReadOnly, Manner::Session);
        self.look(opened.unwrap_or_else(|error| panic!("{when}: {error}")))
    }

    fn look(&self, mut mailbox: Box<dyn Mailbox>) -> Texts {
        inspect(&mut *mailbox, &self.environment)
    }

    fn append(&self, driver: &dyn Driver) -> Option<Uid> {
        let mut append = driver.append(&self.location()).ok()?;
        append
            .begin(AppendMeta { size: TEXT.len() as u64, ..AppendMeta::default() })
            .expect("none was begun");
        append.write(TEXT).expect("it has room");
        append.end().expect("it has its size");
        let (_, uids) = append.commit().ok()?.uids.expect("the format tells");
        uids.first().copied()
    }
}

/// Reads all messages, checking what must agree. Of those that are damaged it is only seen that they do no harm.
fn inspect(mailbox: &mut dyn Mailbox, environment: &Environment) -> Texts {
    let snapshot = mailbox.snapshot().clone();
    check_uids(&snapshot);
    let mut messages = BTreeMap::new();
    for message in &snapshot.messages {
        let uid = message.uid();
        drop(environment.notices.take());
        let text = read(mailbox, uid, Extent::Whole);
        if let Some(text) = &text {
            assert_eq!(message.rfc822_size() as usize, text.len(), "size of UID {uid}");
            let parts = [Extent::Header, Extent::Text].map(|extent| read(mailbox, uid, extent));
            let parts = parts.map(|part| part.expect("it was read as a whole"));
            assert!(parts.concat() == *text, "header and text of UID {uid} are the whole");
        }
        let told = environment.notices.take();
        let is_damaged = told.iter().any(|notice| matches!(notice.level, Level::Warning | Level::Error));
        messages.insert(uid, text.filter(|_| !is_damaged));
    }
    messages
}

fn read(mailbox: &mut dyn Mailbox, uid: Uid, extent: Extent) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let from = text.len();
        let given = mailbox.read(uid, extent, from as u64, 777, &mut text).ok()?;
        assert_eq!(text.len(), from + given);
        if given == 0 {
            return Some(text);
        }
    }
}

/// What could be read can be read, under whatever UID; a message may have been put right that the index had shortened.
fn assert_kept(before: &Texts, after: &Texts, when: &str) {
    let mut left: Vec<_> = after.values().flatten().collect();
    for (uid, text) in before.iter().filter_map(|(uid, text)| Some((uid, text.as_ref()?))) {
        let same = left.iter().position(|other| *other == text);
        let found = same.or_else(|| left.iter().position(|other| other.starts_with(text)));
        let shown = String::from_utf8_lossy(text);
        left.swap_remove(found.unwrap_or_else(|| panic!("{when}: UID {uid} is lost: {shown:?}\n{after:?}")));
    }
}
