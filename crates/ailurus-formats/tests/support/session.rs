//! Plays recorded sessions of the reference (`transcript.txt`) on our drivers, and prints what they say in its form.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test program uses a part of this")]

use crate::support::{Home, fixture, fixtures, show};
use ailurus_formats::drivers;
use ailurus_store::{Access, AppendMeta, Attributes, Level, Listed, Mailbox, Mailboxes};
use ailurus_types::{FlagChange, FlagOp, InternalDate, MailboxName, SystemFlags, UidSet};
use std::path::Path;

pub struct Session {
    home: Home,
    mailboxes: Mailboxes,
    open: Option<Box<dyn Mailbox>>,
    said: Vec<String>,
}

/// A command of the recording with what was said to it.
pub struct Recorded {
    pub command: String,
    pub said: Vec<String>,
}

/// Returns the commands of a format's recording.
pub fn recorded(format: &str) -> Vec<Recorded> {
    let mut commands = Vec::new();
    for line in String::from_utf8(fixture(&format!("{format}/transcript.txt"))).unwrap().lines() {
        match (line.strip_prefix("> "), commands.last_mut()) {
            (Some(command), _) => commands.push(Recorded { command: command.into(), said: Vec::new() }),
            (None, Some(Recorded { said, .. })) => said.push(line.into()),
            (None, None) => panic!("{line}"),
        }
    }
    commands
}

impl Session {
    pub fn new(home: Home) -> Self {
        let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
        Self { home, mailboxes, open: None, said: Vec::new() }
    }

    /// Does what a command asks for and returns what is said.
    pub fn run(&mut self, command: &str) -> Vec<String> {
        let words = words(command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["list", reference, pattern] => self.list(reference, pattern),
            ["lsub", reference, pattern] => self.lsub(reference, pattern),
            ["file", name] => self.say(format!("=file {name} -> /home/alice/{name}")),
            ["valid", name] => self.valid(name),
            ["open", name] => self.open(name),
            ["show"] => {
                let lines = show(&**self.open.as_ref().unwrap());
                self.said.extend(lines.into_iter().map(|line| format!("={line}")));
            }
            ["set", set, flag] => self.store(FlagOp::Add, set, flag),
            ["clr", set, flag] => self.store(FlagOp::Remove, set, flag),
            ["expunge"] => self.expunge(),
            ["check"] => drop(self.open.as_mut().unwrap().checkpoint().unwrap()),
            ["close"] => self.open.take().unwrap().close().unwrap(),
            ["append", name, flags, date, ..] => self.append(name, flags, date, &words[4..]),
            ["create", name] => self.outcome("create", name, self.mailboxes.create(&name.into())),
            ["delete", name] => self.outcome("delete", name, self.mailboxes.delete(&name.into())),
            ["sub", name] => self.outcome("sub", name, self.mailboxes.subscribe(&name.into())),
            ["unsub", name] => self.outcome("unsub", name, self.mailboxes.unsubscribe(&name.into())),
            ["sh", "ls", path] => self.names(path, false),
            ["sh", "find", path] => self.names(path, true),
            ["sh", "cat", "-A", ref files @ ..] => self.cat(files),
            _ => panic!("{command}"),
        }
        std::mem::take(&mut self.said)
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    fn say(&mut self, line: String) {
        self.said.push(line);
    }

    fn notices(&mut self) {
        for notice in self.home.environment.notices.take() {
            let kind = match notice.level {
                Level::Log | Level::Record => continue,
                Level::Parse if notice.text.starts_with('[') => {
                    self.say(format!("*notify 0: {}", notice.text));
                    continue;
                }
                Level::Info | Level::Parse => "info",
                Level::Warning => "WARN",
                Level::Error => "ERROR",
            };
            self.say(format!("*log {kind}: {}", notice.text));
        }
    }

    fn outcome(&mut self, what: &str, name: &str, outcome: ailurus_store::Result<()>) {
        self.notices();
        if let Err(error) = &outcome {
            self.say(format!("*log ERROR: {error}"));
        }
        let _ = name;
        self.say(format!("={what} {}", u8::from(outcome.is_ok())));
    }

    fn list(&mut self, reference: &str, pattern: &str) {
        let mut found = Vec::new();
        let mut take = |listed: Listed| found.push(line("list", &listed));
        self.mailboxes.list(reference.as_bytes(), pattern.as_bytes(), &mut take).unwrap();
        self.said.extend(found);
    }

    fn lsub(&mut self, reference: &str, pattern: &str) {
        let mut found = Vec::new();
        let mut take = |listed: Listed| found.push(line("lsub", &listed));
        self.mailboxes.lsub(reference.as_bytes(), pattern.as_bytes(), &mut take).unwrap();
        self.said.extend(found);
    }

    fn valid(&mut self, name: &str) {
        let opened = self.mailboxes.select(&name.into(), Access::ReadOnly);
        let driver = opened.map_or("NONE", |mailbox| mailbox.driver());
        drop(self.home.environment.notices.take());
        self.say(format!("=valid {name} -> {driver}"));
    }

    fn open(&mut self, name: &str) {
        let mailbox = self.mailboxes.select(&MailboxName::from(name), Access::ReadWrite).unwrap();
        let snapshot = mailbox.snapshot();
        let recent = snapshot.messages.iter().filter(|message| message.is_recent()).count();
        let line = format!(
            "=open ok driver={} mailbox={name} rdonly={} nmsgs={} recent={recent} uidv={} uidlast={} inbox=0 nosticky={} \
             kwd_create={}",
            mailbox.driver(),
            u8::from(!snapshot.writable),
            snapshot.messages.len(),
            snapshot.uid_validity,
            snapshot.uid_next.unwrap().get() - 1,
            u8::from(!snapshot.sticky_uids),
            u8::from(snapshot.permanent.new_keywords),
        );
        self.say(format!("*exists {}", snapshot.messages.len()));
        self.notices();
        self.say(line);
        self.open = Some(mailbox);
    }

    fn store(&mut self, op: FlagOp, set: &str, flag: &str) {
        let mailbox = self.open.as_mut().unwrap();
        let (first, last) = set.split_once(':').unwrap_or((set, set));
        let numbers = first.parse::<usize>().unwrap()..=last.parse().unwrap();
        let uids: UidSet =
            numbers.clone().map(|number| mailbox.snapshot().messages[number - 1].uid()).collect();
        let system = SystemFlags::from_name(flag.as_bytes()).unwrap();
        let mut edit = mailbox.edit().unwrap();
        edit.store(&uids, &FlagChange { op, system, keywords: Vec::new() }).unwrap();
        drop(edit.commit().unwrap());
        self.said.extend(numbers.map(|number| format!("*flags {number}")));
    }

    fn expunge(&mut self) {
        let mailbox = self.open.as_mut().unwrap();
        let deleted = mailbox.snapshot().messages.iter();
        let deleted: UidSet = deleted
            .filter(|message| message.flags().system.contains(SystemFlags::DELETED))
            .map(|message| message.uid())
            .collect();
        let mut edit = mailbox.edit().unwrap();
        edit.expunge(&deleted).unwrap();
        drop(edit.commit().unwrap());
        self.notices();
        self.say("=expunge 1".into());
    }

    fn append(&mut self, name: &str, flags: &str, date: &str, files: &[&str]) {
        let words = flags.trim_matches(['(', ')']).split(' ').filter(|word| !word.is_empty());
        let system =
            words.fold(SystemFlags::NONE, |all, word| all | SystemFlags::from_name(word.as_bytes()).unwrap());
        let internal_date = Some(InternalDate::parse(date.as_bytes(), 0).unwrap());
        let appended = self.mailboxes.append(&name.into()).and_then(|mut append| {
            for file in files {
                let text = fixture(&format!("messages/{file}"));
                let size = text.len() as u64;
                append.begin(AppendMeta { system, internal_date, size, ..AppendMeta::default() })?;
                append.write(&text)?;
                append.end()?;
            }
            append.commit().map(drop)
        });
        self.outcome("append", name, appended);
    }

    fn names(&mut self, path: &str, deep: bool) {
        let mut names = Vec::new();
        if deep {
            names.push(path.to_owned());
        }
        walk(&self.home.path(path), path, deep, &mut names);
        // `ls` leaves those out.
        names.retain(|name| deep || !name.starts_with('.'));
        names.sort();
        self.said.extend(names);
    }

    fn cat(&mut self, files: &[&str]) {
        let mut also = false;
        for file in files {
            match file.trim_end_matches(';') {
                "ls" => also = true,
                "-A" => {}
                name => {
                    let text = String::from_utf8(self.home.get(name)).unwrap();
                    self.said.extend(text.lines().map(|line| format!("{line}$")));
                }
            }
        }
        if also {
            let mut names = Vec::new();
            walk(&self.home.path(""), "", false, &mut names);
            names.sort();
            self.said.extend(names);
        }
    }
}

fn walk(directory: &Path, name: &str, deep: bool, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name().into_string().unwrap();
        let full = if deep { format!("{name}/{file}") } else { file };
        if deep && entry.path().is_dir() {
            walk(&entry.path(), &full, deep, names);
        }
        names.push(full);
    }
}

fn line(kind: &str, listed: &Listed) -> String {
    let mut line = format!("*{kind} {}", String::from_utf8_lossy(&listed.name));
    line.push_str(&format!(" delim={}", listed.delimiter.map_or('-', char::from)));
    if listed.attributes != Attributes::NONE {
        listed.attributes.names().for_each(|name| line.push_str(&format!(" {name}")));
    }
    line
}

/// Splits at blanks; text in quotes is one word.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in command.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Copies a folder of the fixtures.
pub fn copy_fixture(from: &str, to: &Path) {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
    copy(&fixtures(from), to);
}

/// Sets access and modification time.
pub fn set_times(path: &Path, accessed: i64, modified: i64) {
    let disk = ailurus_formats::disk::Os::shared();
    disk.set_times(&std::fs::File::options().write(true).open(path).unwrap(), accessed, modified).unwrap();
}
