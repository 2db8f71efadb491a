//! mmdf when the process is killed before or within each change, the disk is full or fails, or the power does:
//! afterwards every message is there once under its UID, every acknowledged one is there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use ailurus_formats::Unix;
use ailurus_formats::disk::Disk;
use ailurus_store::{AppendMeta, Driver, Extent, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagChange, FlagOp, SystemFlags, Uid, UidSet};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::paths::{at, environment, fixture, mmdf, open, read_all};

const EXPUNGED: [u32; 5] = [1, 4, 10, 11, 30];

/// What a client was told before the cut.
#[derive(Default)]
struct Told {
    appended: Vec<(u32, String)>,
    expunged: bool,
}

type Work = fn(&Unix, &Path, &mut Told) -> Result<()>;

/// The reference's messages, and 40 more that nobody gave UIDs, some with one MARK between them, some without From_ line.
fn original() -> Vec<u8> {
    let mut file = std::fs::read(fixture("mmdf/02-appended")).unwrap();
    const MARK: &[u8] = b"\x01\x01\x01\x01\n";
    for number in 0..40usize {
        if number % 5 != 3 {
            file.extend_from_slice(MARK);
        }
        if number % 7 != 2 {
            file.extend_from_slice(b"From x@example.com Wed Dec  2 05:53:22 1992\n");
        }
        let line_end = if number % 11 == 4 { "\r\n" } else { "\n" };
        let text = format!("Body of {number}.{line_end}").repeat(5 + (number * 37) % 400);
        file.extend_from_slice(format!("Subject: {number}\n\n{text}").as_bytes());
        file.extend_from_slice(MARK);
    }
    file
}

fn texts(path: &Path) -> (u32, BTreeMap<u32, String>) {
    let mut env = environment(path.parent().unwrap());
    env.dot_lock_timeout = 0;
    texts_in(&mmdf(&env), path)
}

fn texts_in(driver: &Unix, path: &Path) -> (u32, BTreeMap<u32, String>) {
    let mut mailbox = open(driver, path);
    let uids: Vec<Uid> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    let mut text = |uid| String::from_utf8_lossy(&read_all(mailbox.as_mut(), uid, Extent::Text)).into_owned();
    let texts = uids.into_iter().map(|uid: Uid| (uid.get(), text(uid))).collect();
    (mailbox.snapshot().uid_validity.get(), texts)
}

fn append(driver: &Unix, path: &Path, told: &mut Told) -> Result<()> {
    let bodies = ["one\r\n".repeat(900), "two\r\n".repeat(3000)];
    let mut append = driver.append(&at(path))?;
    for body in &bodies {
        let message = format!("Subject: new\r\n\r\n{body}");
        append.begin(AppendMeta { size: message.len() as u64, ..AppendMeta::default() })?;
        append.write(message.as_bytes())?;
        append.end()?;
    }
    let (_, uids) = append.commit()?.uids.expect("nobody else has the mailbox");
    told.appended.extend(uids.into_iter().map(Uid::get).zip(bodies));
    Ok(())
}

fn store(driver: &Unix, path: &Path, _: &mut Told) -> Result<()> {
    let mut mailbox =
        driver.open(&at(path), ailurus_store::Access::ReadWrite, ailurus_store::Manner::Session)?;
    let mut edit = mailbox.edit()?;
    let change = FlagChange { op: FlagOp::Add, system: SystemFlags::ANSWERED, keywords: Vec::new() };
    edit.store(&UidSet::all(), &change)?;
    drop(edit.commit()?);
    mailbox.close()
}

fn expunge(driver: &Unix, path: &Path, told: &mut Told) -> Result<()> {
    let mut mailbox =
        driver.open(&at(path), ailurus_store::Access::ReadWrite, ailurus_store::Manner::Session)?;
    let mut edit = mailbox.edit()?;
    edit.expunge(&EXPUNGED.into_iter().filter_map(Uid::new).collect())?;
    assert!(!edit.commit()?.is_empty());
    told.expunged = true;
    mailbox.close()
}

fn all(driver: &Unix, path: &Path, told: &mut Told) -> Result<()> {
    append(driver, path, told)?;
    store(driver, path, told)?;
    expunge(driver, path, told)?;
    append(driver, path, told)
}

/// Runs `work` with the fault, and checks what is left; tells how many changes there were, and whether it was done.
fn survive(work: Work, fault: Fault, power_loss: Option<u64>) -> (usize, bool) {
    let directory = tempfile::tempdir().unwrap();
    let mut env = environment(directory.path());
    env.dot_lock_timeout = 0;
    let path = directory.path().join("box");
    std::fs::write(&path, original()).unwrap();
    let before = texts(&path);
    std::fs::write(&path, original()).unwrap();
    let disk = Arc::new(FaultyDisk::new(directory.path(), fault));
    let mut told = Told::default();
    let done = work(&Unix::mmdf(env, Arc::clone(&disk) as Arc<dyn Disk>), &path, &mut told).is_ok();
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    let after = texts(&path);
    let what = format!("{fault:?}, {power_loss:?}");
    assert_eq!(after.0, before.0, "{what}: UID validity");
    for (uid, text) in &before.1 {
        let found = after.1.get(uid);
        let may_be_gone = EXPUNGED.contains(uid);
        assert!(found == Some(text) || found.is_none() && may_be_gone, "{what}: UID {uid}");
        assert!(!(told.expunged && may_be_gone && found.is_some()), "{what}: UID {uid} is back");
    }
    for (uid, text) in &told.appended {
        assert_eq!(after.1.get(uid), Some(text), "{what}: UID {uid} was acknowledged");
    }
    // What may be there beside is the rest of an append that was cut off.
    assert!(after.1.len() <= before.1.len() + 4, "{what}");
    let mut settled = environment(directory.path());
    settled.dot_lock_timeout = 0;
    open(&mmdf(&settled), &path).close().unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // The name of a journal that was worked off can come back with the power; it is put aside then.
        .filter(|name| name.contains("journal") && !(power_loss.is_some() && name.ends_with(".orphan")))
        .collect();
    assert!(left.is_empty(), "{what}: {left:?}");
    (disk.changes(), done)
}

fn cut_everywhere(work: Work) {
    let (changes, done) = survive(work, Fault::None, None);
    assert!(done);
    for number in 0..changes {
        survive(work, Fault::KillBefore(number), None);
        survive(work, Fault::TearAt(number), None);
        for seed in 0..3 {
            survive(work, Fault::KillBefore(number), Some(number as u64 * 7 + seed));
        }
    }
    for number in 0..12 {
        survive(work, Fault::SyncFails(number), None);
        survive(work, Fault::SyncFails(number), Some(number as u64));
    }
    for room in (0..300_000).step_by(9973) {
        survive(work, Fault::FullAfter(room), None);
    }
}

#[test]
fn an_append_of_two() {
    cut_everywhere(append);
}

#[test]
fn a_store() {
    cut_everywhere(store);
}

#[test]
fn an_expunge() {
    cut_everywhere(expunge);
}

#[test]
fn all_in_turn() {
    cut_everywhere(all);
}

/// Whatever is cut off or changed: what could be read can be read after we wrote, and nothing panics.
#[test]
fn damage_is_survived() {
    let sample = [
        &std::fs::read(fixture("mmdf/03-flags-keywords")).unwrap()[571..],
        b"\x01\x01\x01\x01\nFrom a@b Wed Dec  2 05:53:22 1992\nA: 5\n\nx\n",
    ]
    .concat();
    let damaged = (5..sample.len()).flat_map(|at| {
        let mut flipped = sample.clone();
        flipped[at] ^= 1 << (at % 8);
        [sample[..at].to_vec(), flipped]
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    for content in damaged {
        std::fs::write(&path, &content).unwrap();
        // This one waits for no disk.
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
        let driver = Unix::mmdf(environment(directory.path()), disk);
        let before = texts_in(&driver, &path);
        store(&driver, &path, &mut Told::default()).unwrap();
        assert_eq!(before, texts_in(&driver, &path));
    }
}
