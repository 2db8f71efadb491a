//! POP3 over an INBOX of every format: what is deleted is what was meant, whatever others did and whenever the session ends.

mod harness;

use ailurus_formats::disk::{Disk, Os};
use ailurus_server::pop3;
use ailurus_store::memory::{Memory, StillClock};
use ailurus_store::{Access, AppendMeta, Environment, Mailboxes};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagChange, FlagOp, MailboxName, SystemFlags, Uid, UidSet};
use harness::{Harness, config};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The formats that an INBOX can have and that take mail.
const FORMATS: [&str; 9] = ["unix", "mmdf", "mbox", "mbx", "mix", "mx", "mtx", "tenex", "mh"];

/// A home with an INBOX of five messages.
struct Home {
    scratch: tempfile::TempDir,
    format: &'static str,
}

fn message(number: usize) -> String {
    format!("Subject: message {number}\r\n\r\n.Text {number}\r\n")
}

impl Home {
    fn new(format: &'static str) -> Self {
        let home = Self { scratch: tempfile::tempdir().expect("a directory"), format };
        fs::create_dir(home.path().join("tmp")).expect("ours");
        match format {
            "mbox" => fs::write(home.path().join("mbox"), "").expect("ours"),
            "mh" => {
                fs::write(home.path().join(".mh_profile"), "Path: Mail\n").expect("ours");
                fs::create_dir_all(home.path().join("Mail/inbox")).expect("ours");
            }
            _ => {}
        }
        let mailboxes = home.mailboxes(&Os::shared());
        if !["unix", "mmdf", "mbox", "mh"].contains(&format) {
            let name = format!("#driver.{format}/INBOX");
            mailboxes.create(&name.as_str().into()).expect("it can be made");
        }
        let mut append = mailboxes.append(&MailboxName::inbox()).expect("it takes mail");
        for number in 1..=5 {
            let text = message(number);
            let size = u64::try_from(text.len()).expect("small");
            append.begin(AppendMeta { size, ..AppendMeta::default() }).expect("begun");
            append.write(text.as_bytes()).expect("written");
            append.end().expect("ended");
        }
        let _appended = append.commit().expect("appended");
        let opened = mailboxes.select(&MailboxName::inbox(), Access::ReadOnly).expect("it opens");
        assert_eq!(opened.driver(), if format == "mbox" { "unix" } else { format });
        home
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns where the INBOX is that is one file of text.
    fn file(&self) -> std::path::PathBuf {
        let names = if self.format == "mbox" { ["mbox", "mbox"] } else { ["INBOX", "spool"] };
        names.map(|name| self.path().join(name)).into_iter().find(|path| path.exists()).expect("a mailbox")
    }

    fn mailboxes(&self, disk: &Arc<dyn Disk>) -> Mailboxes {
        let home = self.path();
        let mut environment = Environment::new("ada", home.into(), home.join("spool"), "mail.example.com");
        environment.lock_dir = home.join("tmp");
        environment.clock = Arc::new(StillClock);
        environment.create_format = self.format;
        environment.empty_format = Some(self.format);
        environment.mh_allow_inbox = true;
        environment.kiss_tries = 1;
        environment.dot_lock_timeout = 1;
        let environment = Arc::new(environment);
        let drivers = ailurus_formats::drivers(&environment, disk);
        Mailboxes::new(environment, drivers)
    }

    /// Begins a POP3 session.
    fn login(&self, disk: &Arc<dyn Disk>) -> Harness<pop3::Session> {
        let mut harness = Harness::pop3(&Memory::new(), config());
        harness.mailboxes = Some(self.mailboxes(disk));
        harness.out.clear();
        harness.send(b"USER ada\r\n");
        harness.out.clear();
        harness
    }

    /// Marks a message as somebody else's session does.
    fn mark(&self, number: u32, system: SystemFlags) {
        let mailboxes = self.mailboxes(&Os::shared());
        let mut mailbox = mailboxes.select(&MailboxName::inbox(), Access::ReadWrite).expect("it opens");
        let change = FlagChange { op: FlagOp::Add, system, keywords: Vec::new() };
        let mut edit = mailbox.edit().expect("a lock");
        edit.store(&uids(&[number]), &change).expect("stored");
        let _changes = edit.commit().expect("committed");
        mailbox.close().expect("closed");
    }

    /// Returns the subjects and flags of all messages.
    fn contents(&self) -> Vec<(String, bool, bool)> {
        let mailboxes = self.mailboxes(&Os::shared());
        let mut mailbox = mailboxes.select(&MailboxName::inbox(), Access::ReadOnly).expect("it opens");
        let messages = mailbox.snapshot().messages.clone();
        let mut contents = Vec::new();
        for info in messages {
            let mut text = Vec::new();
            mailbox.read(info.uid(), ailurus_store::Extent::Whole, 0, 100, &mut text).expect("readable");
            let has = |flag| info.flags().system.contains(flag);
            let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
            contents.push((line, has(SystemFlags::SEEN), has(SystemFlags::DELETED)));
        }
        contents
    }
}

fn uids(numbers: &[u32]) -> UidSet {
    numbers.iter().filter_map(|number| Uid::new(*number)).collect()
}

fn expected(left: &[(u32, bool, bool)]) -> Vec<(String, bool, bool)> {
    left.iter()
        .map(|(number, seen, deleted)| (format!("Subject: message {number}"), *seen, *deleted))
        .collect()
}

/// fixtures/transcripts/pop3-predeleted-bug.txt: the reference removes message 3 here, and marks message 4.
#[test]
fn messages_that_others_deleted_do_not_shift_numbers() {
    for format in FORMATS {
        let home = Home::new(format);
        home.mark(2, SystemFlags::DELETED);
        let mut harness = home.login(&Os::shared());
        assert_eq!(harness.ask("PASS adapw"), ["+OK Mailbox open, 4 messages"], "{format}");
        let ids = harness.ask("UIDL");
        let size = message(4).len() + 12;
        assert_eq!(harness.ask("LIST 3"), [format!("+OK 3 {size}")], "{format}");
        let sent = harness.ask("RETR 3");
        assert_eq!((&sent[1][..], &sent[4][..]), ("Subject: message 4", "..Text 4"), "{format}");
        assert_eq!(harness.ask("DELE 3"), ["+OK Message deleted"], "{format}");
        assert_eq!(harness.ask("RETR 4")[1], "Subject: message 5", "{format}");
        assert_eq!(harness.ask("QUIT"), ["+OK Sayonara"], "{format}");
        let left = [(1, false, false), (2, false, true), (3, false, false), (5, true, false)];
        assert_eq!(home.contents(), expected(&left), "{format}");
        // Unique-ids are the same in the next session.
        let mut harness = home.login(&Os::shared());
        harness.ask("PASS adapw");
        let again = harness.ask("UIDL");
        let id = |line: &String| line.split(' ').nth(1).unwrap_or_default().to_owned();
        let kept = [&ids[1], &ids[2], &ids[4]].map(id);
        assert_eq!(again[1..4].iter().map(id).collect::<Vec<_>>(), kept, "{format}");
        assert_ne!(kept[0], kept[1], "{format}");
    }
}

/// The client is gone after each octet that it sends.
#[test]
fn nothing_is_deleted_before_quit_and_all_after_it() {
    let script = b"PASS adapw\r\nRETR 1\r\nDELE 2\r\nDELE 4\r\nQUIT\r\n";
    let before = expected(&[1, 2, 3, 4, 5].map(|number| (number, false, false)));
    let after = expected(&[(1, true, false), (3, false, false), (5, false, false)]);
    for format in FORMATS {
        for cut in 0..=script.len() {
            if cut < script.len() && cut % 3 != 0 && cut + 4 < script.len() {
                continue; // every third will do, and all of them at the end
            }
            let home = Home::new(format);
            let mut harness = home.login(&Os::shared());
            harness.send(&script[..cut]);
            harness.session.handle_disconnect("Unexpected client disconnect", harness.now);
            harness.pump();
            drop(harness);
            let left = if cut == script.len() { &after } else { &before };
            assert_eq!(home.contents(), *left, "{format}, cut at {cut}");
        }
    }
}

/// The process is killed at each change that QUIT makes to a file: what was not deleted is there, once.
#[test]
fn a_quit_that_is_killed_loses_nothing_else() {
    for format in FORMATS {
        let mut changes = 0;
        for killed_at in 0.. {
            let home = Home::new(format);
            let disk = Arc::new(FaultyDisk::new(home.path(), Fault::default()));
            let shared: Arc<dyn Disk> = disk.clone();
            let mut harness = home.login(&shared);
            harness.send(b"PASS adapw\r\nRETR 1\r\nDELE 2\r\nDELE 4\r\n");
            harness.out.clear();
            let before = disk.changes();
            disk.set_fault(Fault::CutAt(before + killed_at));
            harness.send(b"QUIT\r\n");
            if !disk.was_killed() {
                assert_eq!(harness.out, b"+OK Sayonara\r\n", "{format}");
                changes = killed_at;
                break;
            }
            let told = harness.out == b"+OK Sayonara\r\n";
            drop(harness);
            drop((disk, shared));
            if told {
                // All that was left to do was to let go of locks.
                let after = expected(&[(1, true, false), (3, false, false), (5, false, false)]);
                assert_eq!(home.contents(), after, "{format}, killed at {killed_at}");
            }
            let subjects: Vec<_> = home.contents().into_iter().map(|(subject, ..)| subject).collect();
            for number in [1, 3, 5] {
                let subject = format!("Subject: message {number}");
                let times = subjects.iter().filter(|found| **found == subject).count();
                assert_eq!(times, 1, "{format}, killed at {killed_at}: {subjects:?}");
            }
        }
        assert!(changes > 0, "{format}: QUIT changes nothing");
    }
}

/// Another session expunges what this one is about to read and to delete, where the format lets it.
#[test]
fn messages_that_others_expunge() {
    for format in FORMATS {
        let home = Home::new(format);
        let mut harness = home.login(&Os::shared());
        assert_eq!(harness.ask("PASS adapw"), ["+OK Mailbox open, 5 messages"], "{format}");
        let others = home.mailboxes(&Os::shared());
        let expunged = others.select(&MailboxName::inbox(), Access::ReadWrite).and_then(|mut mailbox| {
            let mut edit = mailbox.edit()?;
            edit.expunge(&uids(&[1, 3]))?;
            let _changes = edit.commit()?;
            mailbox.close()
        });
        let shared = expunged.is_ok();
        let told = harness.ask("RETR 3");
        assert!(told[0] == "-ERR No such message" || told[1] == "Subject: message 3", "{format}: {told:?}");
        if told[0].starts_with('-') {
            assert_eq!(harness.ask("DELE 3"), ["-ERR No such message"], "{format}");
        }
        assert_eq!(harness.ask("RETR 4")[1], "Subject: message 4", "{format}");
        assert_eq!(harness.ask("DELE 4"), ["+OK Message deleted"], "{format}");
        assert_eq!(harness.ask("QUIT"), ["+OK Sayonara"], "{format}");
        let left: Vec<_> = home.contents().into_iter().map(|(subject, ..)| subject).collect();
        let wanted: &[u32] = if shared { &[2, 5] } else { &[1, 2, 3, 5] };
        let wanted: Vec<_> = wanted.iter().map(|number| format!("Subject: message {number}")).collect();
        assert_eq!(left, wanted, "{format}");
    }
}

/// What programs that know nothing of sessions may do to a mailbox between a login and QUIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    /// The first message is removed, and what tells the others apart is that of the one before.
    Packed,
    /// Two messages of one length change places.
    Swapped,
    /// The first message is removed, and all fields that only servers know.
    Bare,
    /// All messages change places, and have no UIDs any more.
    Reversed,
}

impl Outside {
    /// Does it, if the format is one that others write.
    fn acts(self, home: &Home) -> bool {
        match home.format {
            "mh" => self.on_files(&home.path().join("Mail/inbox")),
            "unix" | "mmdf" | "mbox" => self.on_mailbox(home),
            _ => false,
        }
    }

    fn on_files(self, directory: &Path) -> bool {
        let to = |from: u32, to: u32| {
            fs::rename(directory.join(from.to_string()), directory.join(to.to_string())).expect("there");
        };
        match self {
            Self::Packed => {
                fs::remove_file(directory.join("1")).expect("there");
                (2..=5).for_each(|number| to(number, number - 1));
            }
            Self::Swapped => [(2, 9), (3, 2), (9, 3)].into_iter().for_each(|(old, new)| to(old, new)),
            Self::Bare | Self::Reversed => return false,
        }
        true
    }

    fn on_mailbox(self, home: &Home) -> bool {
        let path = home.file();
        let text = fs::read_to_string(&path).expect("text");
        let start = if home.format == "mmdf" { "\u{1}\u{1}\u{1}\u{1}\nFrom " } else { "From " };
        let starts = text.match_indices(start).map(|(at, _)| at);
        let mut starts: Vec<_> = starts.filter(|at| *at == 0 || text[..*at].ends_with('\n')).collect();
        starts.push(text.len());
        let mut messages: Vec<_> = starts.windows(2).map(|pair| text[pair[0]..pair[1]].to_owned()).collect();
        let without = |message: &String, fields: &[&str]| {
            let keeps = |line: &&str| !fields.iter().any(|field| line.starts_with(field));
            message.split_inclusive('\n').filter(keeps).collect()
        };
        match self {
            Self::Packed | Self::Bare => {
                messages.retain(|message| !message.contains("\nSubject: message 1\n"))
            }
            Self::Reversed => messages.reverse(),
            Self::Swapped => {
                let at =
                    |number| messages.iter().position(|message| message.contains(number)).expect("there");
                let (one, other) = (at("\nSubject: message 2\n"), at("\nSubject: message 3\n"));
                assert_eq!(messages[one].len(), messages[other].len());
                messages.swap(one, other);
            }
        }
        match self {
            Self::Bare => messages.iter_mut().for_each(|m| *m = without(m, &["X-UID:", "X-IMAP", "Status:"])),
            Self::Reversed => {
                messages.iter_mut().for_each(|message| *message = without(message, &["X-UID:"]))
            }
            Self::Packed | Self::Swapped => {}
        }
        fs::write(path, messages.concat()).expect("ours");
        true
    }
}

#[test]
fn messages_that_outside_programs_move() {
    let mut acted = 0;
    for format in FORMATS {
        for how in [Outside::Packed, Outside::Swapped, Outside::Bare, Outside::Reversed] {
            for has_uids in [false, true] {
                let home = Home::new(format);
                if has_uids {
                    home.mark(5, SystemFlags::FLAGGED);
                }
                let mut harness = home.login(&Os::shared());
                assert_eq!(harness.ask("PASS adapw"), ["+OK Mailbox open, 5 messages"], "{format}");
                assert_eq!(harness.ask("DELE 2"), ["+OK Message deleted"], "{format}");
                if !how.acts(&home) {
                    continue;
                }
                acted += 1;
                let told = harness.ask("QUIT");
                drop(harness);
                let mut left: Vec<_> = home.contents().into_iter().map(|(subject, ..)| subject).collect();
                left.sort();
                let wanted = |number: &u32| match how {
                    Outside::Packed | Outside::Bare if *number == 1 => false,
                    // It was deleted, or the client was told that it was not.
                    _ => *number != 2 || told[0].starts_with("-ERR "),
                };
                let numbers = (1..=5).filter(wanted);
                let wanted: Vec<_> = numbers.map(|number| format!("Subject: message {number}")).collect();
                assert_eq!(left, wanted, "{format}, {how:?}: {told:?}");
            }
        }
    }
    assert_eq!(acted, 2 * (3 * 4 + 2));
}
