//! The reference's own `mailutil` and our `imapd` on the same files, before, after and between each other's operations.
//!
//! A model says what the mailbox holds. After each operation, whoever did it, ours must show exactly the model: the same UIDs
//! for the same messages, flags, keywords and octets, under one UID validity. Every few operations mailutil
//! copies the mailbox, and the copy must show the same.

mod support;

use ailurus_testkit::random::Random;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::{Client, Session, User, peer};

/// A message as both should see it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Message {
    /// Known once somebody has asked.
    uid: Option<u32>,
    flags: BTreeSet<String>,
    text: String,
}

/// What may be done to the mailbox next.
type Operation = fn(&mut Shared);

/// A mailbox that both use.
struct Shared {
    user: User,
    mailutil: PathBuf,
    format: &'static str,
    random: Random,
    model: Vec<Message>,
    uid_validity: Option<String>,
    largest_uid: u32,
    /// Our session that stays open between operations, if there is one now.
    session: Option<Session>,
    number: u32,
    story: Vec<String>,
}

const FLAGS: [&str; 4] = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"];
const KEYWORDS: [&str; 3] = ["Work", "$Forwarded", "later"];

impl Shared {
    fn new(format: &'static str, seed: u64) -> Option<Self> {
        let mailutil = peer::find("mailutil")?;
        let shared = Self {
            user: User::new(),
            mailutil,
            format,
            random: Random::new(seed),
            model: Vec::new(),
            uid_validity: None,
            largest_uid: 0,
            session: None,
            number: 0,
            story: vec![format!("seed {seed}")],
        };
        shared.mailutil(&["create", &format!("#driver.{format}/box")]);
        Some(shared)
    }

    /// Runs mailutil and returns what it said. It tells nothing by its exit status where it purges.
    #[track_caller]
    fn mailutil(&self, arguments: &[&str]) -> String {
        let mut command = self.user.command(&self.mailutil);
        let output =
            command.args(arguments).stdin(std::process::Stdio::null()).output().expect("it was found");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let fine = output.status.success() || arguments[0] == "prune";
        assert!(fine, "mailutil {arguments:?}: {}\n{text}\n{:#?}", output.status, self.story);
        text
    }

    fn connect(&self) -> Session {
        let mut session = Session::preauthenticated(&self.user);
        session.client.greeting();
        session
    }

    /// Returns the session that stays open, with the mailbox selected; a new one if the last was made to give way.
    fn session(&mut self) -> &mut Client {
        if self.session.as_mut().is_none_or(|session| !alive(session)) {
            let mut session = self.connect();
            session.client.ok("SELECT box");
            self.session = Some(session);
        }
        &mut self.session.as_mut().expect("just made").client
    }

    fn close(&mut self) {
        if let Some(mut session) = self.session.take()
            && alive(&mut session)
        {
            session.client.ok("CLOSE");
            session.client.ok("LOGOUT");
        }
    }

    fn new_message(&mut self) -> Message {
        self.number += 1;
        let lines = 1 + self.random.below(30);
        // By either, a line of a traditional mailbox that starts like this is quoted when it is written.
        let from = if self.format == "unix" { ">From" } else { "From" };
        let body = format!("{from} here on\n>From there\n.\nline \u{e9}\n").repeat(lines);
        let text = format!(
            "From: ada@example.test\nDate: Mon, 7 Sep 2026 10:00:00 +0000\nSubject: number{}x\n\n{body}",
            self.number
        );
        let mut flags = BTreeSet::new();
        for flag in FLAGS {
            if self.random.one_in(3) {
                flags.insert(flag.to_owned());
            }
        }
        Message { uid: None, flags, text }
    }

    fn we_append(&mut self) {
        let message = self.new_message();
        let flags: Vec<&str> = message.flags.iter().map(String::as_str).collect();
        let flags = format!("({}) ", flags.join(" "));
        let text = message.text.replace("\n>From here", "\nFrom here");
        let open = self.random.one_in(2);
        if open {
            self.session().append("box", &flags, &text);
        } else {
            self.connect().client.append("box", &flags, &text);
        }
        self.model.push(message);
    }

    fn mailutil_appends(&mut self) {
        let message = self.new_message();
        let source = self.user.home().join("source");
        let has = |flag: &str| message.flags.contains(flag);
        let status = if has("\\Seen") { "RO" } else { "O" };
        let letters = [("\\Answered", 'A'), ("\\Flagged", 'F'), ("\\Draft", 'T')];
        let more: String = letters.iter().filter(|(flag, _)| has(flag)).map(|(_, letter)| *letter).collect();
        let (header, body) = message.text.split_once("\n\n").expect("header and text");
        let body = body.replace("\n>From here", "\nFrom here");
        let mut file =
            format!("From ada@example.test Mon Sep  7 10:00:00 2026\n{header}\nStatus: {status}\n");
        if !more.is_empty() {
            file += &format!("X-Status: {more}\n");
        }
        // mailutil reads `From ` lines of a body by the same rules as everyone.
        file += &format!("\n{body}\n");
        self.user.write(&source, file.as_bytes());
        self.mailutil(&["append", "source", "box"]);
        self.model.push(message);
    }

    fn we_store(&mut self) {
        if self.model.is_empty() {
            return;
        }
        let at = self.random.below(self.model.len());
        let uid = self.model[at].uid.expect("asked for after each operation");
        let choices: Vec<&str> = FLAGS.iter().chain(&KEYWORDS).copied().chain(["\\Deleted"]).collect();
        let flag = (*self.random.pick(&choices)).to_owned();
        // A session acts on the messages that it has been told of; it learns of those that mailutil brought by this.
        self.session().ok("NOOP");
        if self.random.one_in(3) {
            self.session().ok(&format!("UID STORE {uid} -FLAGS.SILENT ({flag})"));
            self.model[at].flags.remove(&flag);
        } else {
            self.session().ok(&format!("UID STORE {uid} +FLAGS.SILENT ({flag})"));
            self.model[at].flags.insert(flag);
        }
        // The traditional format writes flags when told to.
        self.session().ok("CHECK");
    }

    fn we_expunge(&mut self) {
        self.session().ok("EXPUNGE");
        self.model.retain(|message| !message.flags.contains("\\Deleted"));
    }

    fn mailutil_prunes(&mut self) {
        let Some(number) = (!self.model.is_empty()).then(|| self.random.below(self.model.len())) else {
            return;
        };
        let subject = self.model[number].text.lines().find_map(|line| line.strip_prefix("Subject: "));
        let subject = subject.expect("each has one").to_owned();
        if self.format == "unix" {
            // It would ask our session for the lock, which takes its time and ends it: another test's matter.
            self.close();
            // Closing expunged what was deleted.
            self.model.retain(|message| !message.flags.contains("\\Deleted"));
        }
        let said = self.mailutil(&["prune", "box", &format!("SUBJECT {subject}")]);
        let there = self.model.iter().any(|message| message.text.contains(&subject));
        assert_eq!(
            said.contains("purged") && !said.contains("No matching"),
            there,
            "{said}\n{:#?}",
            self.story
        );
        if there {
            let gone =
                |message: &Message| message.flags.contains("\\Deleted") || message.text.contains(&subject);
            self.model.retain(|message| !gone(message));
        }
    }

    fn mailutil_checks(&mut self) {
        let said = self.mailutil(&["check", "box"]);
        let total = format!("{} total in box", self.model.len());
        assert!(said.contains(&total), "{said}\n{:#?}", self.story);
    }

    /// Copies the mailbox by mailutil, keywords included, and looks at the copy.
    fn mailutil_copies(&mut self) {
        if self.model.is_empty() {
            return;
        }
        self.number += 1;
        let name = format!("copy{}", self.number);
        self.mailutil(&["copy", "-kwcopy", "box", &format!("#driver.{}/{name}", self.format)]);
        let (copied, _) = look(&mut self.connect().client, &name);
        let without_uids = |messages: &[Message]| -> Vec<Message> {
            messages.iter().map(|message| Message { uid: None, ..message.clone() }).collect()
        };
        assert_eq!(without_uids(&copied), without_uids(&self.model), "mailutil's copy\n{:#?}", self.story);
        std::fs::remove_file(self.user.home().join(name)).expect("it was made");
    }

    /// Compares what ours shows, in a session of its own, with the model.
    fn verify(&mut self) {
        let (messages, uid_validity) = look(&mut self.connect().client, "box");
        assert_eq!(messages.len(), self.model.len(), "messages\n{:#?}", self.story);
        for (shown, known) in messages.iter().zip(&mut self.model) {
            if known.uid.is_none() {
                let uid = shown.uid.expect("asked for");
                assert!(uid > self.largest_uid, "UID {uid} of a new message\n{:#?}", self.story);
                self.largest_uid = uid;
                known.uid = Some(uid);
            }
        }
        assert_eq!(messages, self.model, "{:#?}", self.story);
        let known = self.uid_validity.get_or_insert(uid_validity.clone());
        assert_eq!(*known, uid_validity, "{:#?}", self.story);
    }

    fn run(&mut self, operations: usize) {
        let choices: [(&str, Operation); 8] = [
            ("we append", Self::we_append),
            ("mailutil appends", Self::mailutil_appends),
            ("we store", Self::we_store),
            ("we store", Self::we_store),
            ("we expunge", Self::we_expunge),
            ("mailutil prunes", Self::mailutil_prunes),
            ("mailutil checks", Self::mailutil_checks),
            ("mailutil copies", Self::mailutil_copies),
        ];
        for number in 0..operations {
            // Something has to be there first.
            let (what, operation) = choices[if number < 4 { number % 2 } else { self.random.below(8) }];
            self.story.push(what.into());
            operation(self);
            self.verify();
        }
        self.close();
        self.model.retain(|message| !message.flags.contains("\\Deleted"));
        self.verify();
        self.mailutil_checks();
        self.mailutil_copies();
        let lock_files = |path: &Path| path.extension().is_some_and(|end| end == "lock");
        let left = std::fs::read_dir(self.user.home()).expect("a directory");
        let left: Vec<_> =
            left.map(|entry| entry.expect("an entry").path()).filter(|path| lock_files(path)).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "locks are taken away");
    }
}

fn alive(session: &mut Session) -> bool {
    matches!(session.process.child.try_wait(), Ok(None))
}

/// Returns what a mailbox shows, and its UID validity.
fn look(client: &mut Client, name: &str) -> (Vec<Message>, String) {
    let opened = client.ok(&format!("EXAMINE {name}"));
    let validity = opened.iter().find(|line| line.contains("[UIDVALIDITY ")).expect("it is told").clone();
    let empty = opened.iter().any(|line| line == "* 0 EXISTS");
    let mut messages = Vec::new();
    if !empty {
        let fetched = client.ok("FETCH 1:* (UID FLAGS BODY.PEEK[])");
        let text = fetched.join("\n");
        for part in text.split("\n* ").map(|part| part.strip_prefix("* ").unwrap_or(part)) {
            let Some((_, rest)) = part.split_once(" FETCH (UID ") else { continue };
            let (uid, rest) = rest.split_once(" FLAGS (").expect("as asked for");
            let (flags, rest) = rest.split_once(") BODY[] {").expect("as asked for");
            let (_size, rest) = rest.split_once("}\n").expect("a literal");
            let (text, _) = rest.rsplit_once(")").expect("its end");
            let flags = flags.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent");
            messages.push(Message {
                uid: Some(uid.parse().expect("a number")),
                flags: flags.map(str::to_owned).collect(),
                text: text.to_owned(),
            });
        }
    }
    client.ok("CLOSE");
    (messages, validity)
}

/// Two stories of 40 operations; with `AILURUS_LONG` twelve of 400.
fn interleave(format: &'static str) {
    let (seeds, operations) = if std::env::var_os("AILURUS_LONG").is_some() { (12, 400) } else { (2, 40) };
    for seed in 1..=seeds {
        if let Some(mut shared) = Shared::new(format, seed) {
            shared.run(operations);
        }
    }
}

#[test]
fn unix_by_turns() {
    interleave("unix");
}

#[test]
fn mbx_by_turns() {
    interleave("mbx");
}

/// mailutil opens a traditional mailbox that our session has open: ours gives way, saving what it had changed.
#[test]
fn mailutil_takes_a_mailbox_from_us() {
    let Some(mut shared) = Shared::new("unix", 3) else { return };
    shared.we_append();
    shared.we_append();
    shared.verify();
    let uid = shared.model[0].uid.expect("asked for");
    shared.session().ok(&format!("UID STORE {uid} +FLAGS (\\Flagged Work)"));
    shared.model[0].flags.extend(["\\Flagged".to_owned(), "Work".to_owned()]);
    let said = shared.mailutil(&["prune", "box", "SUBJECT number2x"]);
    assert!(said.contains("1 message(s) purged"), "{said}");
    shared.model.remove(1);
    shared.verify();
}

/// Our session asks mailutil's library for the mailbox: its programs give way too, here a slow one in the middle of its work.
#[test]
fn many_writers_at_once() {
    for format in ["unix", "mbx"] {
        let Some(shared) = Shared::new(format, 4) else { return };
        let source = shared.user.home().join("source");
        let one = "From ada@example.test Mon Sep  7 10:00:00 2026\nSubject: theirs\n\nText.\n\n";
        shared.user.write(&source, one.repeat(5).as_bytes());
        std::thread::scope(|scope| {
            let theirs = || (0..6).for_each(|_| drop(shared.mailutil(&["append", "source", "box"])));
            let ours = || {
                let mut session = shared.connect();
                for _ in 0..20 {
                    session.client.append("box", "", "Subject: ours\n\nText.\n");
                }
            };
            scope.spawn(theirs);
            scope.spawn(ours);
            scope.spawn(ours);
        });
        let (messages, _) = look(&mut shared.connect().client, "box");
        let count = |word: &str| messages.iter().filter(|message| message.text.contains(word)).count();
        assert_eq!((count("Subject: theirs"), count("Subject: ours")), (30, 40), "{format}");
        let uids: BTreeSet<u32> = messages.iter().filter_map(|message| message.uid).collect();
        assert_eq!(uids.len(), 70, "{format}: each message has a UID of its own");
        let said = shared.mailutil(&["check", "box"]);
        assert!(said.contains("70 total in box"), "{format}: {said}");
    }
}

/// The reference opens what we made by name.
#[test]
fn mailboxes_that_we_make() {
    let Some(shared) = Shared::new("unix", 5) else { return };
    let mut session = shared.connect();
    for name in ["plain", "#driver.unix/traditional", "#driver.mbx/shared"] {
        session.client.ok(&format!("CREATE {name}"));
        let short = name.rsplit('/').next().expect("a name");
        session.client.append(short, "(\\Flagged)", "Subject: x\n\nText.\n");
        let said = shared.mailutil(&["check", short]);
        assert!(said.contains(&format!("1 total in {short}")), "{said}");
    }
    session.client.ok("RENAME plain other");
    assert!(shared.mailutil(&["check", "other"]).contains("1 total in other"));
    shared.mailutil(&["rename", "other", "again"]);
    session.client.ok("STATUS again (MESSAGES)");
    shared.mailutil(&["delete", "again"]);
    assert!(session.client.command("STATUS again (MESSAGES)").last().expect("an answer").contains(" NO "));
}
