//! A process that is killed between any two of its changes loses no mail and uses no UID twice.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use ailurus_formats::Unix;
use ailurus_formats::disk::{Disk, Os};
use ailurus_store::{Access, Driver, Environment, Extent, Manner, Result};
use ailurus_types::{FlagChange, FlagOp, SystemFlags, Uid, UidSet};
use common::{Mortal, append, at, environment, fixture, open, read_all, unix};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What is in a mailbox: UID to content.
fn content(env: &Environment, path: &Path) -> (u32, BTreeMap<u32, Vec<u8>>) {
    let mut mailbox = open(&unix(env), path);
    let uids: Vec<Uid> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    let messages =
        uids.into_iter().map(|uid| (uid.get(), read_all(mailbox.as_mut(), uid, Extent::Text))).collect();
    (mailbox.snapshot().uid_validity.get(), messages)
}

/// Repeats `work`, killed before its first, second, … change, on a copy of `original`; `check` gets what was there
/// before, what is there after, and what the work returned.
fn killed_everywhere<T>(
    original: &[u8],
    work: impl Fn(&Unix, &Path) -> Result<T>,
    check: impl Fn(&(u32, BTreeMap<u32, Vec<u8>>), &(u32, BTreeMap<u32, Vec<u8>>), Option<T>),
) {
    for deadline in 0..500 {
        let directory = tempfile::tempdir().unwrap();
        let mut env = environment(directory.path());
        env.dot_lock_timeout = 0;
        let path = directory.path().join("box");
        std::fs::write(&path, original).unwrap();
        let before = content(&env, &path);
        std::fs::write(&path, original).unwrap();
        let disk = Mortal::new(deadline);
        let done = work(&Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>), &path);
        // A delivery comes before anybody looks.
        let delivers = deadline % 2 == 1 && !original.contains(&0);
        if delivers {
            let mut file = std::fs::read(&path).unwrap();
            // NULs are the room that a rewrite made: what is there counts as the mailbox's end.
            if !matches!(file.last(), Some(b'\n' | 0)) {
                file.push(b'\n');
            }
            file.extend_from_slice(
                b"From x@example.com Wed Dec  2 05:53:22 1992\nSubject: later\n\nlater\n\n",
            );
            std::fs::write(&path, file).unwrap();
        }
        let mut after = content(&env, &path);
        if delivers {
            let (_, last) = after.1.pop_last().expect("the delivery is there");
            assert_eq!(last, b"later\r\n", "killed before change {deadline}");
        }
        check(&before, &after, done.ok());
        // What that session left is no different for the next one.
        open(&unix(&env), &path).close().unwrap();
        let file = std::fs::read(&path).unwrap();
        assert!(!file.contains(&0), "killed before change {deadline}");
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("journal"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        if !disk.is_dead() {
            return;
        }
    }
    panic!("the work never ends");
}

/// A mailbox of many messages, so that a rewrite has many blocks.
fn large() -> Vec<u8> {
    let mut file = std::fs::read(fixture("unix/02-appended")).unwrap();
    for number in 0..120u32 {
        let body = format!("Body of {number}.\n").repeat(20 + (number as usize * 37) % 400);
        file.extend_from_slice(
            format!("From x@example.com Wed Dec  2 05:53:22 1992\nSubject: {number}\n\n{body}\n").as_bytes(),
        );
    }
    file
}

/// All old messages are there with their UIDs, others have new ones.
fn all_kept(before: &(u32, BTreeMap<u32, Vec<u8>>), after: &(u32, BTreeMap<u32, Vec<u8>>)) {
    assert_eq!(before.0, after.0, "UID validity");
    for (uid, text) in &before.1 {
        assert_eq!(after.1.get(uid), Some(text), "UID {uid}");
    }
}

#[test]
fn checkpoint() {
    let work = |driver: &Unix, path: &Path| {
        let mut mailbox = driver.open(&at(path), Access::ReadWrite, Manner::Session)?;
        let mut edit = mailbox.edit()?;
        let change = FlagChange { op: FlagOp::Add, system: SystemFlags::ANSWERED, keywords: Vec::new() };
        edit.store(&UidSet::all(), &change)?;
        let changes = edit.commit()?;
        assert!(!changes.is_empty());
        mailbox.close()
    };
    let check = |before: &_, after: &(u32, BTreeMap<u32, Vec<u8>>), _| {
        all_kept(before, after);
        assert_eq!(before.1.len(), after.1.len());
    };
    killed_everywhere(&large(), work, check);
}

#[test]
fn expunge() {
    let gone: UidSet = [1, 100, 102, 104, 106, 150, 151, 200].into_iter().filter_map(Uid::new).collect();
    let work = |driver: &Unix, path: &Path| {
        let mut mailbox = driver.open(&at(path), Access::ReadWrite, Manner::Session)?;
        let mut edit = mailbox.edit()?;
        edit.expunge(&gone)?;
        let changes = edit.commit()?;
        assert_eq!(changes.expunged.to_string(), gone.to_string());
        mailbox.close()
    };
    let check =
        |before: &(u32, BTreeMap<u32, Vec<u8>>), after: &(u32, BTreeMap<u32, Vec<u8>>), done: Option<()>| {
            let mut kept = before.clone();
            kept.1.retain(|uid, _| !gone.contains(Uid::new(*uid).unwrap()));
            assert_eq!(before.0, after.0);
            assert!(*after == kept || (done.is_none() && after == before), "neither before nor after");
        };
    killed_everywhere(&large(), work, check);
}

#[test]
fn an_append() {
    let message = b"Subject: new\r\n\r\nnew text\r\n";
    let work = |driver: &Unix, path: &Path| append(driver, path, message, SystemFlags::SEEN, &[]);
    for original in
        ["unix/02-appended", "unix/20-g-imapbase", "unix/20-n-nosep", "unix/13-from-only.after-crash"]
    {
        let original = std::fs::read(fixture(original)).unwrap();
        killed_everywhere(&original, work, |before, after, done| {
            let mut old = after.clone();
            old.1.retain(|uid, _| before.1.contains_key(uid));
            // A file whose last line had no end got one.
            let same = |one: &[u8], other: &[u8]| one == other || [one, b"\r\n"].concat() == other;
            assert_eq!(before.1.len(), old.1.len());
            assert!(before.1.iter().zip(&old.1).all(|(one, other)| one.0 == other.0 && same(one.1, other.1)));
            if let Some(appended) = done {
                let (validity, uids) = appended.uids.expect("nobody else has the mailbox");
                assert_eq!(validity.get(), after.0);
                assert_eq!(after.1.get(&uids[0].get()).map(Vec::as_slice), Some(&b"new text\r\n"[..]));
            }
            assert!(after.1.len() <= before.1.len() + 1);
        });
    }
}

#[test]
fn new_uids_for_all() {
    for original in ["unix/20-b-backwards", "unix/11-from-line-variants-utc"] {
        let original = std::fs::read(fixture(original)).unwrap();
        let work = |driver: &Unix, path: &Path| {
            let mailbox = driver.open(&at(path), Access::ReadWrite, Manner::Session)?;
            mailbox.close()
        };
        killed_everywhere(&original, work, |before, after, _| {
            assert_eq!(before.1.values().collect::<Vec<_>>(), after.1.values().collect::<Vec<_>>());
        });
    }
}

/// A disk that remembers what was synced. The process dies at a change, and with it the power.
#[derive(Debug)]
struct Powered {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    left: usize,
    dead: bool,
    durable: HashMap<PathBuf, Vec<u8>>,
    // Names made and removed since the directory was synced.
    made: HashSet<PathBuf>,
    removed: Vec<(PathBuf, Vec<u8>)>,
}

impl Powered {
    fn new(root: &Path, mailbox: &Path, left: usize) -> Arc<Self> {
        let durable = HashMap::from([(mailbox.to_owned(), std::fs::read(mailbox).unwrap())]);
        let state = Mutex::new(State { left, durable, ..State::default() });
        Arc::new(Self { root: root.into(), state })
    }

    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock().unwrap();
        if state.dead || state.left == 0 {
            state.dead = true;
            return Err(io::Error::other("no power"));
        }
        state.left -= 1;
        Ok(state)
    }

    fn path_of(&self, file: &File) -> Option<PathBuf> {
        let inode = file.metadata().unwrap().ino();
        let mut entries = std::fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap());
        entries.find(|entry| entry.ino() == inode).map(|entry| entry.path())
    }

    /// Leaves on the disk what may be left: all that was synced, and any pages and names of the rest.
    fn lose(&self, seed: u64) {
        let mut random = seed;
        let mut coin = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 63 == 1
        };
        let state = self.state.lock().unwrap();
        for entry in std::fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() || path.extension().is_some_and(|kind| kind == "lock") {
                continue;
            }
            let now = std::fs::read(&path).unwrap();
            let durable = state.durable.get(&path).cloned().unwrap_or_default();
            if state.made.contains(&path) && coin() {
                std::fs::remove_file(&path).unwrap();
                continue;
            }
            let length = if coin() { now.len() } else { durable.len() };
            let mut left = vec![0; length];
            for (page, out) in left.chunks_mut(4096).enumerate() {
                // Cutting a file does not wipe what is cut off.
                let cut_off = page * 4096 + out.len() > now.len();
                let source = if coin() && !cut_off { &now } else { &durable };
                let from = source.get(page * 4096..).unwrap_or_default();
                let count = from.len().min(out.len());
                out[..count].copy_from_slice(&from[..count]);
            }
            std::fs::write(&path, left).unwrap();
        }
        for (path, content) in &state.removed {
            if !path.exists() && coin() {
                std::fs::write(path, content).unwrap();
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
}

impl Disk for Powered {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        let mut state = self.change()?;
        state.made.insert(path.into());
        Os.create_new(path, mode)
    }
    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        let _state = self.change()?;
        Os.write_at(file, data, offset)
    }
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let _state = self.change()?;
        Os.set_len(file, len)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.change()?;
        if let Some(path) = self.path_of(file) {
            let content = std::fs::read(&path).unwrap();
            state.durable.insert(path, content);
        }
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.made.clear();
        state.removed.clear();
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _state = self.change()?;
        Os.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _state = self.change()?;
        Os.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        if path.extension().is_some_and(|kind| kind == "ailurus-journal") {
            let content = std::fs::read(path)?;
            state.removed.push((path.into(), content));
        }
        Os.remove(path)
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let _state = self.change()?;
        Os.make_dir(path, mode)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let _state = self.change()?;
        Os.remove_dir(path)
    }
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        let _state = self.change()?;
        Os.set_mode(file, mode)
    }
    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        let _state = self.change()?;
        Os.set_times(file, accessed, modified)
    }
    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let _state = self.change()?;
        Os.reserve(file, from, to)
    }
}

#[test]
fn power_lost_at_any_change() {
    let original = large();
    let gone: UidSet = [1, 102, 104, 150, 151, 200].into_iter().filter_map(Uid::new).collect();
    let work = |driver: &Unix, path: &Path, acknowledged: &mut Vec<u32>| -> Result<()> {
        let appended = append(driver, path, b"Subject: new\r\n\r\nnew text\r\n", SystemFlags::NONE, &[])?;
        acknowledged.extend(appended.uids.into_iter().flat_map(|(_, uids)| uids).map(Uid::get));
        let mut mailbox = driver.open(&at(path), Access::ReadWrite, Manner::Session)?;
        let mut edit = mailbox.edit()?;
        let change = FlagChange { op: FlagOp::Add, system: SystemFlags::ANSWERED, keywords: Vec::new() };
        edit.store(&UidSet::all(), &change)?;
        let changes = edit.commit()?;
        assert!(!changes.is_empty());
        let changes = mailbox.checkpoint()?;
        assert!(!changes.arrived);
        let mut edit = mailbox.edit()?;
        edit.expunge(&gone)?;
        let changes = edit.commit()?;
        assert!(!changes.expunged.is_empty());
        mailbox.close()
    };
    for deadline in 0..400 {
        let seed = deadline as u64 % 7;
        let directory = tempfile::tempdir().unwrap();
        let mut env = environment(directory.path());
        env.dot_lock_timeout = 0;
        let path = directory.path().join("box");
        std::fs::write(&path, &original).unwrap();
        let before = content(&env, &path);
        std::fs::write(&path, &original).unwrap();
        let disk = Powered::new(directory.path(), &path, deadline);
        let mut acknowledged = Vec::new();
        let done =
            work(&Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>), &path, &mut acknowledged);
        disk.lose(seed * 1_000_003 + deadline as u64);
        let after = content(&env, &path);
        assert_eq!(before.0, after.0, "{deadline}, {seed}");
        for (uid, text) in &before.1 {
            let may_be_gone = gone.contains(Uid::new(*uid).unwrap());
            let found = after.1.get(uid);
            let is_there = found == Some(text);
            assert!(is_there || (found.is_none() && may_be_gone), "UID {uid}, {deadline}, {seed}");
        }
        for uid in acknowledged {
            let found = after.1.get(&uid).map(Vec::as_slice);
            assert_eq!(found, Some(&b"new text\r\n"[..]), "{deadline}, {seed}");
        }
        if done.is_ok() {
            assert!(after.1.keys().all(|uid| !gone.contains(Uid::new(*uid).unwrap())));
            return;
        }
    }
    panic!("the work never ends");
}
