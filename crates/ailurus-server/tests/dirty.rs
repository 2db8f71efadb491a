//! A mailbox that keeps changes in memory, and one that is lost: what a format with a lock file does.

mod harness;

use ailurus_server::Start;
use ailurus_store::memory::{Memory, StillClock};
use ailurus_store::{
    Abilities, Access, Append, Changes, Claim, Driver, Edit, Environment, Error, Extent, Level, Location,
    Mailbox, Mailboxes, Manner, Notices, Result, Snapshot, Status, Wake,
};
use ailurus_types::{MailboxName, Uid};
use harness::{Harness, config};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What a test sees of the mailboxes.
#[derive(Default)]
struct Seen {
    dirty: AtomicBool,
    lost: AtomicBool,
    checkpoints: AtomicU32,
    closed: AtomicU32,
    notices: Mutex<Notices>,
}

struct Format(Memory, Arc<Seen>);

struct Open(Box<dyn Mailbox>, Arc<Seen>);

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
        let notices = self.1.notices.lock().expect("one thread").clone();
        notices.tell(Level::Warning, "Trying to get mailbox lock from process 134");
        notices.tell(Level::Warning, "Mailbox vulnerable - directory /x must have 1777 protection");
        Ok(Box::new(Open(self.0.open(at, access, manner)?, Arc::clone(&self.1))))
    }
    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        self.0.append(at)
    }
}

impl Mailbox for Open {
    fn driver(&self) -> &'static str {
        self.0.driver()
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn snapshot(&self) -> &Snapshot {
        self.0.snapshot()
    }
    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        self.0.read(uid, extent, from, most, out)
    }
    fn refresh(&mut self) -> Result<Changes> {
        if self.1.lost.load(Relaxed) {
            return Err(Error::Lost { path: "/x".into(), what: "Mailbox shrank!".into() });
        }
        self.0.refresh()
    }
    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.1.dirty.store(true, Relaxed);
        self.0.edit()
    }
    fn checkpoint(&mut self) -> Result<Changes> {
        self.1.dirty.store(false, Relaxed);
        self.1.checkpoints.fetch_add(1, Relaxed);
        self.1.notices.lock().expect("one thread").tell(Level::Info, "Checkpoint completed");
        self.0.checkpoint()
    }
    fn is_dirty(&self) -> bool {
        self.1.dirty.load(Relaxed)
    }
    fn wake(&self) -> Wake {
        self.0.wake()
    }
    fn close(self: Box<Self>) -> Result<()> {
        self.1.closed.fetch_add(1, Relaxed);
        self.0.close()
    }
}

fn session() -> (Harness, Arc<Seen>) {
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), b"a: b\r\n\r\nc\r\n");
    let seen = Arc::new(Seen::default());
    let mut environment =
        Environment::new("ada", "/nonexistent/ada".into(), "/nonexistent/spool".into(), "h");
    environment.clock = Arc::new(StillClock);
    *seen.notices.lock().expect("one thread") = environment.notices.clone();
    let driver: Arc<dyn Driver> = Arc::new(Format(memory.clone(), Arc::clone(&seen)));
    let mailboxes = Mailboxes::new(Arc::new(environment), vec![driver]);
    let start = Start::PreAuthenticated { user: "ada".into(), mailboxes };
    let mut harness = Harness::start(&memory, config(), start);
    harness.out.clear();
    harness.log.clear();
    (harness, seen)
}

const SELECT: &str = "C: s SELECT INBOX\nS: * NO Trying to get mailbox lock from process 134\n\
    S: * 1 EXISTS\nS: * 1 RECENT\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: <*>\n\
    S: * NO Mailbox vulnerable - directory /x must have 1777 protection\nS: s OK [READ-WRITE] SELECT completed\n";

#[test]
fn changes_are_written_a_minute_after_the_first() {
    let (mut harness, seen) = session();
    harness.play(SELECT);
    harness.play("C: a STORE 1 +FLAGS.SILENT (\\Seen)\nS: a OK STORE completed\nT: 40\nC: b NOOP\nS: b OK NOOP completed\nT: 19\n");
    assert_eq!(seen.checkpoints.load(Relaxed), 0);
    harness.play("T: 1\n");
    assert_eq!(seen.checkpoints.load(Relaxed), 1);
    harness.play("T: 300\nC: c CHECK\nS: c OK Checkpoint completed\n");
    assert_eq!(seen.checkpoints.load(Relaxed), 2);
}

#[test]
fn idle_makes_a_checkpoint_every_five_minutes() {
    let (mut harness, seen) = session();
    harness.play(SELECT);
    harness.play("C: a IDLE\nS: + Waiting for DONE\n");
    for minutes in (20..=30).rev().step_by(2) {
        harness.pass(std::time::Duration::from_secs(120));
        assert_eq!(harness.line(), Some(format!("* OK Timeout in {minutes} minutes")));
    }
    assert_eq!(seen.checkpoints.load(Relaxed), 2);
}

#[test]
fn a_mailbox_that_is_dirty_is_checkpointed_by_expunge() {
    let (mut harness, seen) = session();
    harness.play(SELECT);
    harness.play(
        "C: a STORE 1 +FLAGS.SILENT (\\Seen)\nS: a OK STORE completed\n\
         C: b UID EXPUNGE 1\nS: b OK Mailbox checkpointed, but no messages expunged\n",
    );
    assert_eq!(seen.checkpoints.load(Relaxed), 1);
}

#[test]
fn a_mailbox_that_is_lost_ends_the_session() {
    let (mut harness, seen) = session();
    harness.play(SELECT);
    seen.lost.store(true, Relaxed);
    harness.play(
        "C: a NOOP\nS: * BYE mail.example.test Fatal mailbox error: Mailbox shrank!\n\
         L: mail.info Fatal mailbox error user=ada host=<*> mbx=<*>: Mailbox shrank!\nX: 1\n",
    );
    let (mut harness, seen) = session();
    harness.play(SELECT);
    harness.play("C: a IDLE\nS: + Waiting for DONE\n");
    seen.lost.store(true, Relaxed);
    harness.session.handle_wake(harness.now);
    harness.pump();
    harness.play("S: * BYE mail.example.test Fatal mailbox error: Mailbox shrank!\nX: 1\n");
}

#[test]
fn the_mailbox_is_closed_at_every_end_but_one() {
    for (end, closed) in [("logout", 1), ("kiss", 1), ("terminate", 0), ("disconnect", 1), ("timeout", 1)] {
        let (mut harness, seen) = session();
        harness.play(SELECT);
        match end {
            "logout" => harness.send(b"a LOGOUT\r\n"),
            "kiss" => harness.session.handle_signal(ailurus_server::Signal::Kiss, harness.now),
            "terminate" => harness.session.handle_signal(ailurus_server::Signal::Terminate, harness.now),
            "disconnect" => harness.session.handle_disconnect("Unexpected client disconnect", harness.now),
            _ => harness.pass(std::time::Duration::from_secs(1800)),
        }
        harness.pump();
        assert_eq!(seen.closed.load(Relaxed), closed, "{end}");
        assert!(harness.closed.is_some(), "{end}");
    }
}
