//! A mailbox with an index, and what happens to it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test program uses a part of this")]

use crate::support::paths::{at, environment};
use crate::support::read_all;
use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::{Mbx, Mtx, Unix};
use ailurus_store::{Access, Driver, Environment, Extent, Mailbox, Manner, MessageInfo, Status, SystemClock};
use ailurus_types::Uid;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One mailbox, and two views of it: with an index, and without.
pub struct Scene {
    pub directory: tempfile::TempDir,
    pub env: Environment,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Unix,
    Mmdf,
    Mbx,
    Mtx,
    Tenex,
}

impl Kind {
    /// All formats that have an index.
    pub const ALL: [Self; 5] = [Self::Unix, Self::Mmdf, Self::Mbx, Self::Mtx, Self::Tenex];
    /// Those whose messages have lines from one to the next.
    pub const WITH_LINES: [Self; 3] = [Self::Mbx, Self::Mtx, Self::Tenex];

    pub fn has_lines(self) -> bool {
        Self::WITH_LINES.contains(&self)
    }

    pub fn has_sidecar(self) -> bool {
        matches!(self, Self::Mtx | Self::Tenex)
    }

    /// What the flag fields of old messages are, without flags, and flagged, and what to make of them.
    pub fn fields(self) -> [&'static [u8]; 3] {
        if self == Self::Mbx {
            [b";000000000010-", b";000000000014-", b";000000000011-"]
        } else {
            [b";000000000020", b";000000000024", b";000000000021"]
        }
    }
}

/// All that can be seen of a mailbox.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub validity: u32,
    pub next: Option<Uid>,
    pub keywords: Vec<(usize, String)>,
    pub messages: Vec<MessageInfo>,
    pub texts: Vec<(Vec<u8>, Vec<u8>)>,
    pub status: Status,
}

impl Scene {
    pub fn new(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir(&home).unwrap();
        let mut env = environment(&home);
        env.clock = Arc::new(SystemClock::default());
        // Outside of the home, which a test gives away.
        env.cache_dir = Some(directory.path().join("new/cache"));
        env.index_from = 0;
        Self { directory, env, kind }
    }

    pub fn with_mailbox(kind: Kind, messages: u32) -> Self {
        let scene = Self::new(kind);
        scene.fill("box", messages);
        scene.settle("box");
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.env.home.join(name)
    }

    pub fn cache(&self) -> &Path {
        self.env.cache_dir.as_deref().unwrap()
    }

    /// The only index, or that of a mailbox.
    pub fn index_of(&self, name: &str) -> PathBuf {
        let found = self.path(name).metadata().unwrap();
        self.cache().join(format!(".ailurus-index-{:x}-{:x}", found.dev(), found.ino()))
    }

    pub fn driver(&self) -> Box<dyn Driver> {
        self.driver_on(&Os::shared())
    }

    pub fn driver_on(&self, disk: &Arc<dyn Disk>) -> Box<dyn Driver> {
        driver(&self.env, disk, self.kind)
    }

    pub fn fill(&self, name: &str, messages: u32) {
        let path = self.path(name);
        fs::remove_file(&path).ok();
        if self.kind.has_lines() {
            self.driver().create(&at(&path)).unwrap();
        }
        let messages: Vec<_> = (0..messages).map(|number| delivery(self.kind, number)).collect();
        deliver(&path, &messages.concat());
    }

    /// A session that gives the messages their UIDs and is told of them, and one that sees them all old.
    pub fn settle(&self, name: &str) {
        for _ in 0..2 {
            quiet();
            self.session(name, |_| {});
        }
    }

    pub fn session(&self, name: &str, act: impl FnOnce(&mut dyn Mailbox)) {
        let mut mailbox =
            self.driver().open(&at(&self.path(name)), Access::ReadWrite, Manner::Session).unwrap();
        act(mailbox.as_mut());
        mailbox.close().unwrap();
        drop(self.env.notices.take());
    }

    /// What a driver without an index sees in a copy of the file.
    pub fn truth(&self, name: &str) -> Seen {
        let scratch = tempfile::tempdir().unwrap();
        let mut env = environment(scratch.path());
        env.clock = Arc::clone(&self.env.clock);
        env.cache_dir = None;
        env.default_keywords.clone_from(&self.env.default_keywords);
        let (path, copy) = (self.path(name), scratch.path().join("copy"));
        let before = path.metadata().unwrap();
        fs::write(&copy, fs::read(&path).unwrap()).unwrap();
        if let Ok(said) = fs::read(sidecar(&path)) {
            fs::write(sidecar(&copy), said).unwrap();
        }
        set_modified(&copy, &before);
        seen(&*driver(&env, &Os::shared(), self.kind), &copy)
    }

    /// Fails if what is seen is not what is in the file.
    #[track_caller]
    pub fn check(&self, name: &str, what: &str) {
        let truth = self.truth(name);
        let ours = seen(&*self.driver(), &self.path(name));
        assert_eq!(ours.messages.len(), truth.messages.len(), "{what}");
        for (ours, truth) in ours.messages.iter().zip(&truth.messages) {
            assert_eq!(ours, truth, "{what}");
        }
        assert!(ours == truth, "{what}:\n{:?}\n{:?}", ours.keywords, truth.keywords);
    }

    /// Tells how many octets we read to open the mailbox.
    pub fn octets_read(&self, name: &str) -> u64 {
        let (driver, path) = (self.driver(), at(&self.path(name)));
        let before = read_so_far();
        let mailbox = driver.open(&path, Access::ReadOnly, Manner::Silent).unwrap();
        let after = read_so_far();
        drop(mailbox);
        after - before
    }

    #[track_caller]
    pub fn assert_warm(&self, name: &str, is: bool, what: &str) {
        let length = self.path(name).metadata().unwrap().len();
        let read = self.octets_read(name);
        assert_eq!(read < length / 2, is, "{what}: {read} octets read of {length}");
    }
}

pub fn driver(env: &Environment, disk: &Arc<dyn Disk>, kind: Kind) -> Box<dyn Driver> {
    let disk = Arc::clone(disk);
    match kind {
        Kind::Unix => Box::new(Unix::new(env.clone(), disk)),
        Kind::Mmdf => Box::new(Unix::mmdf(env.clone(), disk)),
        Kind::Mbx => Box::new(Mbx::new(Arc::new(env.clone()), disk)),
        Kind::Mtx => Box::new(Mtx::new(Arc::new(env.clone()), disk)),
        Kind::Tenex => Box::new(Mtx::tenex(Arc::new(env.clone()), disk)),
    }
}

pub fn seen(driver: &dyn Driver, path: &Path) -> Seen {
    let status = driver.status(&at(path)).unwrap();
    let mut mailbox = driver.open(&at(path), Access::ReadOnly, Manner::Silent).unwrap();
    let snapshot = mailbox.snapshot().clone();
    let texts = snapshot
        .messages
        .iter()
        .map(|message| {
            let mut read = |extent| read_all(mailbox.as_mut(), message.uid(), extent, 10_000).unwrap();
            (read(Extent::Header), read(Extent::Text))
        })
        .collect();
    Seen {
        validity: snapshot.uid_validity.get(),
        next: snapshot.uid_next,
        keywords: snapshot.keywords.iter().map(|(slot, word)| (slot, word.to_string())).collect(),
        messages: snapshot.messages,
        texts,
        status,
    }
}

/// Where the sidecar of a mailbox is.
pub fn sidecar(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.ailurus-uids", path.file_name().unwrap().to_str().unwrap()))
}

/// What this thread has read from files so far.
pub fn read_so_far() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// Lets the last change become old enough to be told from the next.
pub fn quiet() {
    std::thread::sleep(Duration::from_millis(25));
}

pub fn set_modified(path: &Path, to: &fs::Metadata) {
    let times = FileTimes::new().set_modified(to.modified().unwrap());
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// A message as a program delivers it that knows no UIDs.
pub fn delivery(kind: Kind, number: u32) -> Vec<u8> {
    let ending = if number % 7 == 3 { "\r\n" } else { "\n" };
    let body = format!("Text of {number}, with a line{ending}").repeat(1 + number as usize * 37 % 40);
    let status = ["", "Status: RO\nX-Status: F\n", "Status: O\n"][number as usize % 3];
    let head =
        format!("From u{number}@example.com Wed Dec  2 05:53:{:02} 1992\nSubject: {number}\n", number % 60);
    let message = format!("{head}{status}\n{body}");
    let mark = "\x01\x01\x01\x01\n";
    match kind {
        Kind::Unix => format!("{message}\n"),
        Kind::Mmdf => format!("{mark}{message}{mark}"),
        Kind::Mbx => {
            let text = format!("Subject: {number}\r\n\r\n{}", body.replace('\r', "").replace('\n', "\r\n"));
            let flags = ["0000", "0014", "0010"][number as usize % 3];
            let date = " 2-Dec-1992 05:53:22 -0700";
            format!("{date},{};00000000{flags}-00000000\r\n{text}", text.len())
        }
        Kind::Mtx | Kind::Tenex => {
            let text = format!("Subject: {number}\n\n{}", body.replace('\r', ""));
            let newline = if kind == Kind::Mtx { "\r\n" } else { "\n" };
            let text = text.replace('\n', newline);
            let flags = ["0000", "0024", "0020"][number as usize % 3];
            let date = " 2-Dec-1992 05:53:22 -0700";
            format!("{date},{};00000000{flags}{newline}{text}", text.len())
        }
    }
    .into_bytes()
}

pub fn deliver(path: &Path, octets: &[u8]) {
    File::options().append(true).create(true).open(path).unwrap().write_all(octets).unwrap();
}

/// Replaces the first octets of that kind from `from` on by as many others.
pub fn overwrite(path: &Path, from: usize, old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let content = fs::read(path).unwrap();
    let found = content[from..].windows(old.len()).position(|window| window == old).unwrap();
    File::options().write(true).open(path).unwrap().write_all_at(new, (from + found) as u64).unwrap();
}

pub type Foreign = (&'static str, fn(&Scene, &Path));

/// What old programs, editors and people do to a mailbox.
pub const FOREIGN: &[Foreign] = &[
    ("flags in place, time put back", |_, path| {
        let before = path.metadata().unwrap();
        overwrite(path, 3000, b"Status: RO\n", b"Status: O \n");
        set_modified(path, &before);
    }),
    ("text in place, time put back", |_, path| {
        let before = path.metadata().unwrap();
        overwrite(path, 4000, b"Text of ", b"Text\nof ");
        set_modified(path, &before);
    }),
    ("a message made of text in place, time put back", |_, path| {
        let before = path.metadata().unwrap();
        let line = b"\nFrom x Wed Dec  2 05:53:22 1992\n";
        let text = fs::read(path).unwrap();
        let at = text
            .windows(60)
            .position(|window| window.starts_with(b"\nText of ") && window[1..].contains(&b'\n'));
        let end = at.unwrap() + 1 + memchr(&text[at.unwrap() + 1..]);
        if end - at.unwrap() < line.len() {
            overwrite(path, 0, b"with a line", b"With A Line");
        } else {
            File::options().write(true).open(path).unwrap().write_all_at(line, at.unwrap() as u64).unwrap();
        }
        set_modified(path, &before);
    }),
    ("a delivery", |scene, path| deliver(path, &delivery(scene.kind, 900))),
    ("a delivery, time put back", |scene, path| {
        let before = path.metadata().unwrap();
        deliver(path, &delivery(scene.kind, 901));
        set_modified(path, &before);
    }),
    ("flags in place, then a delivery", |scene, path| {
        overwrite(path, 5000, b"Status: RO\n", b"Status: O \n");
        deliver(path, &delivery(scene.kind, 902));
    }),
    ("a backup put back, with its time", |_, path| {
        let (before, content) = (path.metadata().unwrap(), fs::read(path).unwrap());
        let other = String::from_utf8_lossy(&content).replace("Subject: 1", "Subject: 2").into_bytes();
        fs::remove_file(path).unwrap();
        fs::write(path, other).unwrap();
        set_modified(path, &before);
    }),
    ("replaced by name, with its time", |_, path| {
        let (before, content) = (path.metadata().unwrap(), fs::read(path).unwrap());
        let beside = path.with_extension("new");
        fs::write(&beside, String::from_utf8_lossy(&content).replace("Text", "text")).unwrap();
        set_modified(&beside, &before);
        fs::rename(&beside, path).unwrap();
    }),
    ("cut short at a message", |scene, path| {
        let content = fs::read(path).unwrap();
        let start: &[u8] = if scene.kind == Kind::Mmdf { b"\x01\x01\x01\x01\n\x01" } else { b"\nFrom " };
        let at = content.windows(start.len()).rposition(|window| window == start).unwrap();
        let at = at + if scene.kind == Kind::Mmdf { 5 } else { 1 };
        File::options().write(true).open(path).unwrap().set_len(at as u64).unwrap();
    }),
];

pub fn memchr(octets: &[u8]) -> usize {
    octets.iter().position(|octet| *octet == b'\n').unwrap()
}

/// What others do to a mailbox with lines.
pub const FOREIGN_LINES: &[Foreign] = &[
    ("flags in place, time put back", |scene, path| {
        let ([plain, _, seen], before) = (scene.kind.fields(), path.metadata().unwrap());
        overwrite(path, 3000, plain, seen);
        set_modified(path, &before);
    }),
    ("text in place, time put back", |_, path| {
        let before = path.metadata().unwrap();
        overwrite(path, 4000, b"Text of ", b"text of ");
        set_modified(path, &before);
    }),
    ("a delivery", |scene, path| deliver(path, &delivery(scene.kind, 900))),
    ("a delivery, time put back", |scene, path| {
        let before = path.metadata().unwrap();
        deliver(path, &delivery(scene.kind, 901));
        set_modified(path, &before);
    }),
    ("flags in place, then a delivery", |scene, path| {
        let [plain, flagged, _] = scene.kind.fields();
        overwrite(path, 3000, plain, flagged);
        deliver(path, &delivery(scene.kind, 902));
    }),
    ("replaced by name, with its time", |_, path| {
        let (before, content) = (path.metadata().unwrap(), fs::read(path).unwrap());
        let beside = path.with_extension("new");
        fs::write(&beside, String::from_utf8_lossy(&content).replace("Text", "text")).unwrap();
        set_modified(&beside, &before);
        fs::rename(&beside, path).unwrap();
    }),
    ("an expunge of an old program", |scene, path| {
        // Messages slide down, whatever else is beside the file.
        let content = fs::read(path).unwrap();
        let head = if scene.kind == Kind::Mbx { 2048 } else { 0 };
        let lines: Vec<_> =
            content.windows(12).enumerate().filter(|(_, text)| *text == b" 2-Dec-1992 ").collect();
        let rest = &content[lines[7].0..];
        let kept = [&content[..head.max(lines[5].0)], rest].concat();
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&kept, 0).unwrap();
        file.set_len(kept.len() as u64).unwrap();
    }),
];

/// What others do to an mbx mailbox.
pub const FOREIGN_MBX: &[Foreign] = &[
    ("another UID validity value", |_, path| {
        let before = path.metadata().unwrap();
        File::options().write(true).open(path).unwrap().write_all_at(b"0000abcd", 7).unwrap();
        set_modified(path, &before);
    }),
    ("a message hidden", |_, path| overwrite(path, 3000, b";000000000010-", b";000000008010-")),
];
