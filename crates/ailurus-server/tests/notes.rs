//! FETCH BODYSTRUCTURE from what a store has noted: the same answers, and no message is read.

mod harness;

use ailurus_server::Start;
use ailurus_store::memory::{Memory, StillClock};
use ailurus_store::{
    Abilities, Access, Append, Changes, Claim, Driver, Edit, Environment, Extent, Location, Mailbox,
    Mailboxes, Manner, MessageInfo, MessageNotes, NoteKind, Result, Snapshot, Status, Wake,
};
use ailurus_testkit::corpus::Corpus;
use ailurus_types::{MailboxName, Uid};
use harness::{Harness, config};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What a store keeps between sessions.
#[derive(Default)]
struct Kept {
    notes: Mutex<HashMap<(Uid, u16), Vec<u8>>>,
    reads: AtomicUsize,
    /// Whether what `get_all` told counts.
    holds: AtomicBool,
}

impl Kept {
    fn new() -> Arc<Self> {
        Arc::new(Self { holds: true.into(), ..Self::default() })
    }
}

struct Format(Memory, Arc<Kept>);

struct Open {
    inner: Box<dyn Mailbox>,
    kept: Arc<Kept>,
    asked: Option<(Uid, u16)>,
    asked_all: Option<u16>,
}

struct Looking<'o>(&'o mut Open);

impl MessageNotes for Looking<'_> {
    fn get(&mut self, message: &MessageInfo, kind: NoteKind, out: &mut Vec<u8>) -> bool {
        let notes = self.0.kept.notes.lock().expect("one thread");
        let key = (message.uid(), kind.0);
        self.0.asked = Some(key);
        notes.get(&key).map(|octets| out.extend_from_slice(octets)).is_some()
    }
    fn put(&mut self, message: &MessageInfo, kind: NoteKind, octets: &[u8]) {
        let key = (message.uid(), kind.0);
        if self.0.asked.take() == Some(key) {
            self.0.kept.notes.lock().expect("one thread").insert(key, octets.to_vec());
        }
    }
    fn get_all(
        &mut self,
        messages: &[MessageInfo],
        kind: NoteKind,
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> bool {
        let notes = self.0.kept.notes.lock().expect("one thread");
        for (position, message) in messages.iter().enumerate() {
            if let Some(octets) = notes.get(&(message.uid(), kind.0)) {
                found(position, octets);
            }
        }
        self.0.asked_all = Some(kind.0);
        self.0.kept.holds.load(Relaxed)
    }
    fn put_all(&mut self, notes: &[(MessageInfo, Vec<u8>)], kind: NoteKind) {
        if self.0.asked_all.take() == Some(kind.0) {
            let mut kept = self.0.kept.notes.lock().expect("one thread");
            kept.extend(notes.iter().map(|(message, octets)| ((message.uid(), kind.0), octets.clone())));
        }
    }
}

impl Driver for Format {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
    fn probe(&self, at: &Location) -> Result<Claim> {
        self.0.probe(at)
    }
    fn create(&self, at: &Location) -> Result<()> {
        self.0.create(at)
    }
    fn delete(&self, at: &Location) -> Result<()> {
        self.0.delete(at)
    }
    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        self.0.rename(from, to)
    }
    fn status(&self, at: &Location) -> Result<Status> {
        self.0.status(at)
    }
    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let inner = self.0.open(at, access, manner)?;
        Ok(Box::new(Open { inner, kept: Arc::clone(&self.1), asked: None, asked_all: None }))
    }
    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        self.0.append(at)
    }
}

impl Mailbox for Open {
    fn driver(&self) -> &'static str {
        self.inner.driver()
    }
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn snapshot(&self) -> &Snapshot {
        self.inner.snapshot()
    }
    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        self.kept.reads.fetch_add(1, Relaxed);
        self.inner.read(uid, extent, from, most, out)
    }
    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        Some(Box::new(Looking(self)))
    }
    fn refresh(&mut self) -> Result<Changes> {
        self.inner.refresh()
    }
    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.inner.edit()
    }
    fn checkpoint(&mut self) -> Result<Changes> {
        self.inner.checkpoint()
    }
    fn wake(&self) -> Wake {
        self.inner.wake()
    }
    fn close(self: Box<Self>) -> Result<()> {
        self.inner.close()
    }
}

const MESSAGES: usize = 300;

fn memory() -> Memory {
    let memory = Memory::new();
    let mut corpus = Corpus::new(11);
    for _ in 0..MESSAGES {
        let text = corpus.message().lf.replace('\n', "\r\n");
        memory.deliver(&MailboxName::inbox(), text.as_bytes());
    }
    let odd: [&[u8]; 5] = [
        b"",
        b"\r\n",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: text/plain; name=\"a\\\"b\0\xe9\"\r\n\r\n\0",
        b"Content-Type: message/rfc822\r\nContent-Disposition: x; a*0*=UTF-8''%41; a*1=b\r\n\r\nSubject: {5}\r\n\r\nx",
    ];
    for text in odd {
        memory.deliver(&MailboxName::inbox(), text);
    }
    memory
}

fn session(memory: &Memory, kept: &Arc<Kept>) -> Harness {
    let mut environment =
        Environment::new("ada", "/nonexistent/ada".into(), "/nonexistent/spool".into(), "h");
    environment.clock = Arc::new(StillClock);
    let driver: Arc<dyn Driver> = Arc::new(Format(memory.clone(), Arc::clone(kept)));
    let mailboxes = Mailboxes::new(Arc::new(environment), vec![driver]);
    let mut harness =
        Harness::start(memory, config(), Start::PreAuthenticated { user: "ada".into(), mailboxes });
    harness.ask("s SELECT INBOX");
    harness
}

const COMMANDS: [&str; 5] = [
    "a FETCH 1:* BODYSTRUCTURE",
    "b FETCH 1:* (UID BODYSTRUCTURE ENVELOPE BODY)",
    "c FETCH 1:* (BODY BODYSTRUCTURE BODY.PEEK[1.MIME])",
    "d FETCH 1:* (BODY.PEEK[1.MIME] BODYSTRUCTURE BODYSTRUCTURE)",
    "e UID FETCH 5:1 (ENVELOPE BODY)",
];

#[test]
fn answers_are_the_same_with_notes() {
    let memory = memory();
    let mut plain = Harness::preauthenticated(&memory);
    plain.ask("s SELECT INBOX");
    let truth = COMMANDS.map(|command| plain.ask(command));
    for (index, command) in COMMANDS.iter().enumerate() {
        let kept = Kept::new();
        for round in 0..3 {
            let answer = session(&memory, &kept).ask(command);
            assert!(answer == truth[index], "{command}, round {round}");
        }
        // Whichever of them noted it, each of the others finds the same.
        for (other, truth) in COMMANDS.iter().zip(&truth) {
            assert!(session(&memory, &kept).ask(other) == *truth, "{command}, then {other}");
        }
    }
}

#[test]
fn a_structure_that_is_noted_is_not_worked_out_again() {
    let (memory, kept) = (memory(), Kept::new());
    let mut first = session(&memory, &kept);
    first.ask(COMMANDS[0]);
    assert_eq!(kept.notes.lock().expect("one thread").len(), MESSAGES + 5);
    let before = kept.reads.load(Relaxed);
    assert!(before >= MESSAGES);
    first.ask(COMMANDS[0]);
    session(&memory, &kept).ask(COMMANDS[0]);
    // The parts of the last message may be there still.
    assert_eq!(kept.reads.load(Relaxed), before);
}

#[test]
fn sent_dates_are_noted_for_the_next_sort() {
    let memory = memory();
    let mut plain = Harness::preauthenticated(&memory);
    plain.ask("s SELECT INBOX");
    let commands = [
        "a SORT (DATE) US-ASCII ALL",
        "b UID SORT (REVERSE DATE SIZE) US-ASCII 3:290 NOT 7",
        "c SORT RETURN (MIN MAX COUNT) (DATE ARRIVAL) US-ASCII SUBJECT e",
        "d SORT (ARRIVAL) US-ASCII ALL",
        "e SORT (SUBJECT DATE) US-ASCII ALL",
    ];
    let truth = commands.map(|command| plain.ask(command));
    let kept = Kept::new();
    for holds in [true, false, true] {
        kept.holds.store(holds, Relaxed);
        for (command, truth) in commands.iter().zip(&truth) {
            assert!(session(&memory, &kept).ask(command) == *truth, "{command}, {holds}");
        }
    }
    assert_eq!(kept.notes.lock().expect("one thread").len(), MESSAGES + 5);
    let before = kept.reads.load(Relaxed);
    session(&memory, &kept).ask(commands[0]);
    session(&memory, &kept).ask(commands[1]);
    assert_eq!(kept.reads.load(Relaxed), before, "nothing is read again");
    // One that is gone is read, and noted again.
    let kind = *kept.notes.lock().expect("one thread").keys().next().expect("there are some");
    kept.notes.lock().expect("one thread").remove(&kind);
    assert!(session(&memory, &kept).ask(commands[0]) == truth[0]);
    assert!(kept.reads.load(Relaxed) > before);
    assert_eq!(kept.notes.lock().expect("one thread").len(), MESSAGES + 5);
}

/// What is noted stays valid as long as the number of its kind is the same.
#[test]
fn sent_dates_are_what_they_were() {
    let (memory, kept) = (memory(), Kept::new());
    session(&memory, &kept).ask("a SORT (DATE) US-ASCII ALL");
    let notes = kept.notes.lock().expect("one thread");
    let mut dates: Vec<_> = notes.iter().map(|((uid, _), octets)| (*uid, octets.clone())).collect();
    dates.sort_unstable();
    let sum = sum(dates.iter().flat_map(|(_, octets)| octets.iter().copied()));
    assert_eq!(
        sum, 2_648_277_005_768_830_329,
        "if this is not because the corpus changed: give SENT_DATE in dates.rs the next number, for users have notes"
    );
}

fn sum(octets: impl Iterator<Item = u8>) -> u64 {
    octets.fold(0xcbf2_9ce4_8422_2325, |sum: u64, octet| {
        (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What is noted stays valid as long as the number of its kind is the same.
#[test]
fn structures_are_what_they_were() {
    let mut plain = Harness::preauthenticated(&memory());
    plain.ask("s SELECT INBOX");
    assert_eq!(
        sum(plain.ask(COMMANDS[0]).concat().bytes()),
        303_522_696_153_391_825,
        "if this is not because the corpus changed: give BODY_STRUCTURE in fetch.rs the next number, for users have notes"
    );
}
