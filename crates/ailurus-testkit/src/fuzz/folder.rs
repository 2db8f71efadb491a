//! What the files beside messages may hold, where each message is a file of its own.

use crate::faulty::NoSync;
use ailurus_formats::disk::Disk;
use ailurus_store::{Access, Clock, Environment, Extent, Location, Mailbox, Manner, Place};
use ailurus_types::{FlagChange, FlagOp, SystemFlags, UidSet};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The messages of every mailbox here.
const NUMBERS: [u32; 3] = [1, 2, 7];

/// Takes the input for the index of an mx mailbox; see `exercise`.
pub fn mx_index(input: &[u8]) {
    in_home("mx", "box", |home| {
        fs::write(home.join("box/.mxindex"), input).expect("the file is ours");
        let at = Location { name: "box".into(), place: Place::Path(home.join("box")) };
        exercise(home, "mx", &at);
    });
}

/// Takes the input for the sidecar and for the sequences of an mh folder; see `exercise`.
pub fn mh_sidecar(input: &[u8]) {
    in_home("mh", "Mail/box", |home| {
        for name in [".ailurus-uids", ".mh_sequences"] {
            fs::write(home.join("Mail/box").join(name), input).expect("the file is ours");
        }
        exercise(home, "mh", &Location { name: "#mh/box".into(), place: Place::Special });
    });
}

/// Takes the input for a user's state of a newsgroup; see `exercise`.
pub fn newsrc(input: &[u8]) {
    in_home("news", "spool/a/b", |home| {
        fs::write(home.join(".newsrc"), input).expect("the file is ours");
        exercise(home, "news", &Location { name: "#news.a.b".into(), place: Place::Special });
    });
}

/// Returns the sidecar of an mh folder with these messages.
pub(super) fn sample_sidecar() -> Vec<u8> {
    mh_sidecar(b"");
    in_home("mh", "Mail/box", |home| fs::read(home.join("Mail/box/.ailurus-uids")).expect("just written"))
}

thread_local! {
    static HOMES: RefCell<HashMap<&'static str, tempfile::TempDir>> = RefCell::default();
}

/// Runs in a home with a directory of messages, which stays from one input to the next: making it takes longer.
fn in_home<T>(format: &'static str, directory: &str, run: impl FnOnce(&Path) -> T) -> T {
    HOMES.with_borrow_mut(|homes| {
        let home = homes.entry(format).or_insert_with(|| {
            let home = tempfile::tempdir().expect("a directory");
            fill(&home.path().join(directory));
            for (name, text) in [(".mh_profile", "Path: Mail\n"), ("active", "a.b 7 1 y\n")] {
                fs::write(home.path().join(name), text).expect("the file is ours");
            }
            home
        });
        run(home.path())
    })
}

fn text(number: u32) -> String {
    format!("Subject: {number}\r\n\r\nbody\r\n")
}

fn fill(directory: &Path) {
    fs::create_dir_all(directory).expect("the directory is ours");
    for number in NUMBERS {
        fs::write(directory.join(number.to_string()), text(number)).expect("the file is ours");
    }
}

/// Opens a mailbox, changes flags, and opens it again.
///
/// Whatever is beside the messages, all of them are there in their order, and the flags that were set are there the next
/// time.
fn exercise(home: &Path, format: &str, at: &Location) {
    let mut environment = Environment::new("alice", home.into(), home.join("none"), "mail.example.com");
    environment.clock = Arc::new(Noon);
    environment.news.spool = home.join("spool");
    environment.news.active = home.join("active");
    let disk: Arc<dyn Disk> = Arc::new(NoSync);
    let drivers = ailurus_formats::drivers(&Arc::new(environment), &disk);
    let driver = drivers.into_iter().find(|driver| driver.name() == format).expect("the format is there");
    let open = |access| driver.open(at, access, Manner::Session).expect("its messages can be read");
    let mut mailbox = open(Access::ReadWrite);
    inspect(&mut *mailbox);
    let mut edit = mailbox.edit().expect("nobody else has it");
    let change = FlagChange { op: FlagOp::Replace, system: SystemFlags::DELETED, keywords: Vec::new() };
    edit.store(&UidSet::all(), &change).expect("flags can be set");
    drop(edit.commit().expect("there is room"));
    drop(mailbox.checkpoint().expect("there is room"));
    mailbox.close().expect("nothing is left to write");
    let mut again = open(Access::ReadOnly);
    inspect(&mut *again);
    let mut flags = again.snapshot().messages.iter().map(|message| message.flags().system);
    assert!(flags.all(|flags| flags == SystemFlags::DELETED), "flags are lost");
}

fn inspect(mailbox: &mut dyn Mailbox) {
    let snapshot = mailbox.snapshot().clone();
    let ascending = snapshot.messages.windows(2).all(|two| two[0].uid() < two[1].uid());
    assert!(ascending, "a UID occurs twice");
    if let (Some(next), Some(largest)) = (snapshot.uid_next, snapshot.largest_uid()) {
        assert!(largest < next, "{largest} is not below the next UID {next}");
    }
    let mut texts = Vec::new();
    for message in &snapshot.messages {
        let mut out = Vec::new();
        while mailbox
            .read(message.uid(), Extent::Whole, out.len() as u64, 777, &mut out)
            .expect("it is in its file")
            > 0
        {}
        texts.push(String::from_utf8(out).expect("it was text"));
    }
    assert_eq!(texts, NUMBERS.map(text), "other messages");
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
