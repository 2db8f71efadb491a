//! What a mailbox file may hold.

use ailurus_formats::disk::Os;
use ailurus_store::{Access, Clock, Driver, Environment, Extent, Location, Mailbox, Manner, Place, Snapshot};
use ailurus_types::Uid;
use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the input as a traditional mailbox; see `exercise`.
pub fn from_lines(input: &[u8]) {
    exercise("unix", input);
}

/// Opens the input as a mailbox of mmdf format; see `exercise`.
pub fn mmdf_marks(input: &[u8]) {
    exercise("mmdf", input);
}

/// Opens the input as an mbx mailbox; see `exercise`.
pub fn mbx_records(input: &[u8]) {
    exercise("mbx", input);
}

/// Opens the input as an mtx mailbox; see `exercise`.
pub fn mtx_lines(input: &[u8]) {
    exercise("mtx", input);
}

/// Opens the input as a tenex mailbox; see `exercise`.
pub fn tenex_lines(input: &[u8]) {
    exercise("tenex", input);
}

/// Writes the input to a file and opens that as a mailbox, to read, to write, and to expunge.
///
/// Opening to read changes nothing, nor does an opening that fails. Messages have the octets that their sizes say, header and
/// text are the whole, UIDs ascend below the next one. After an opening to write and a close the file holds the same
/// messages under the same UIDs, and after an expunge the same but one.
fn exercise(format: &str, input: &[u8]) {
    SCRATCH.with_borrow_mut(|scratch| {
        let scratch = scratch.get_or_insert_with(Scratch::new);
        scratch.clear();
        fs::write(&scratch.file, input).expect("the file is ours");
        let driver = scratch.driver(format);
        let Some(read) = scratch.open(&*driver, Access::ReadOnly) else {
            assert!(scratch.content() == input, "refused and changed");
            return;
        };
        assert!(scratch.content() == input, "opened to read, and changed");
        let before = contents(read);
        let octets: usize = before.iter().map(|message| message.text.len()).sum();
        assert!(octets <= 3 * input.len() + 2000 * before.len(), "{octets} octets from {}", input.len());

        let Some(mut mailbox) = scratch.open(&*driver, Access::ReadWrite) else {
            assert!(scratch.content() == input, "refused to write and changed");
            return;
        };
        if mailbox.checkpoint().is_err() || !mailbox.snapshot().writable {
            return;
        }
        let opened = inspect(&mut *mailbox);
        // Who may write also gets what stands behind the remains of an append that was not finished.
        assert!(
            before.len() <= opened.len(),
            "opened to write: {} of {} messages",
            opened.len(),
            before.len()
        );
        assert_same(&before, &opened[..before.len()], "opened to write");
        mailbox.close().expect("it was written before");
        let closed = contents(scratch.open(&*driver, Access::ReadOnly).expect("what we wrote can be read"));
        assert_same(&opened, &closed, "after close");
        assert_eq!(uids(&opened), uids(&closed), "UIDs are kept");
        scratch.expunge_one(&*driver, closed);
    });
}

/// The time at which everything happens, so that runs can be repeated.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> i64 {
        1_740_830_400
    }

    fn local_offset(&self) -> i16 {
        0
    }
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

struct Scratch {
    home: tempfile::TempDir,
    environment: Arc<Environment>,
    file: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().to_path_buf();
        let mut environment = Environment::new("alice", path.clone(), path.join("spool"), "mail.example.com");
        environment.clock = Arc::new(Noon);
        environment.lock_dir = path.clone();
        (environment.dot_lock_timeout, environment.kiss_tries) = (1, 1);
        let file = path.join("box");
        Self { home, environment: Arc::new(environment), file }
    }

    /// Removes what the last input left.
    fn clear(&self) {
        for entry in fs::read_dir(self.home.path()).expect("a directory") {
            fs::remove_file(entry.expect("an entry").path()).ok();
        }
        drop(self.environment.notices.take());
    }

    fn driver(&self, format: &str) -> Arc<dyn Driver> {
        let drivers = ailurus_formats::drivers(&self.environment, &Os::shared());
        drivers.into_iter().find(|driver| driver.name() == format).expect("the format is there")
    }

    fn content(&self) -> Vec<u8> {
        fs::read(&self.file).expect("the file is there")
    }

    fn location(&self) -> Location {
        Location { name: "box".into(), place: Place::Path(self.file.clone()) }
    }

    fn open(&self, driver: &dyn Driver, access: Access) -> Option<Box<dyn Mailbox>> {
        match driver.open(&self.location(), access, Manner::Session) {
            Ok(mailbox) => Some(mailbox),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                None
            }
        }
    }

    fn expunge_one(&self, driver: &dyn Driver, mut messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let gone = messages.remove(messages.len() / 2).uid;
        let mut mailbox = self.open(driver, Access::ReadWrite).expect("it could be written");
        let mut edit = mailbox.edit().expect("nobody else has it");
        edit.expunge(&[gone].into_iter().collect()).expect("it is there");
        let changes = edit.commit().expect("there is room");
        assert!(changes.expunged.contains(gone));
        mailbox.close().expect("nothing is left to write");
        let left = contents(self.open(driver, Access::ReadOnly).expect("what we wrote can be read"));
        assert_same(&messages, &left, "after expunge");
        assert_eq!(uids(&messages), uids(&left), "UIDs are kept");
    }
}

#[derive(Debug)]
struct Message {
    uid: Uid,
    text: Vec<u8>,
}

fn contents(mut mailbox: Box<dyn Mailbox>) -> Vec<Message> {
    inspect(&mut *mailbox)
}

/// Reads all messages, checking what must agree.
fn inspect(mailbox: &mut dyn Mailbox) -> Vec<Message> {
    let snapshot = mailbox.snapshot().clone();
    check_uids(&snapshot);
    let mut messages = Vec::new();
    for message in &snapshot.messages {
        let uid = message.uid();
        let text = read(mailbox, uid, Extent::Whole);
        assert_eq!(message.rfc822_size() as usize, text.len(), "size of UID {uid}");
        let parts = [read(mailbox, uid, Extent::Header), read(mailbox, uid, Extent::Text)].concat();
        assert!(parts == text, "header and text of UID {uid} are the whole");
        messages.push(Message { uid, text });
    }
    messages
}

fn check_uids(snapshot: &Snapshot) {
    assert!(snapshot.messages.is_sorted_by_key(|message| message.uid()));
    let ascending = snapshot.messages.windows(2).all(|two| two[0].uid() < two[1].uid());
    assert!(ascending, "a UID occurs twice");
    if let (Some(next), Some(largest)) = (snapshot.uid_next, snapshot.largest_uid()) {
        assert!(largest < next, "{largest} is not below the next UID {next}");
    }
}

fn read(mailbox: &mut dyn Mailbox, uid: Uid, extent: Extent) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        let from = text.len();
        let given = mailbox.read(uid, extent, from as u64, 777, &mut text).expect("it is in the file");
        assert_eq!(text.len(), from + given);
        if given == 0 {
            return text;
        }
        assert!(given <= 777);
    }
}

fn uids(messages: &[Message]) -> Vec<Uid> {
    messages.iter().map(|message| message.uid).collect()
}

/// Messages have the same text; one that did not end in a line end may have got one.
fn assert_same(one: &[Message], other: &[Message], when: &str) {
    assert_eq!(uids(one), uids(other), "{when}: other messages");
    for (one, other) in one.iter().zip(other) {
        let same = one.text == other.text || [&one.text[..], b"\r\n"].concat() == other.text;
        let (a, b) = (String::from_utf8_lossy(&one.text), String::from_utf8_lossy(&other.text));
        assert!(same, "{when}: UID {}\n{a:?}\n{b:?}", one.uid);
    }
}
