//! A process that is killed between any two of its changes loses no mail and uses no UID twice.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use ailurus_formats::Unix;
use ailurus_formats::disk::Disk;
use ailurus_store::{Access, AppendMeta, Appended, Driver, Environment, Extent, Manner, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagChange, FlagOp, Keyword, SystemFlags, Uid, UidSet};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::paths::{append, at, environment, fixture, open, read_all, unix};

/// What is in a mailbox: UID to content.
fn content(env: &Environment, path: &Path) -> Content {
    let mut mailbox = open(&unix(env), path);
    let uids: Vec<Uid> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    let messages =
        uids.into_iter().map(|uid| (uid.get(), read_all(mailbox.as_mut(), uid, Extent::Text))).collect();
    (mailbox.snapshot().uid_validity.get(), messages)
}

/// UID validity, and UID to content.
type Content = (u32, BTreeMap<u32, Vec<u8>>);

/// Repeats `work`, killed before and within its first, second, … change, on a copy of `original`; `check` gets what was
/// there before, what is there after, and what the work returned.
fn killed_everywhere<T>(
    original: &[u8],
    work: impl Fn(&Unix, &Path) -> Result<T>,
    check: impl Fn(&Content, &Content, Option<T>),
) {
    let before = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        std::fs::write(&path, original).unwrap();
        content(&environment(directory.path()), &path)
    };
    let mut n = 0;
    while !killed(original, n, false, &before, &work, &check) {
        n += 1;
    }
    // Within a write a process dies at the end of a page; of many not all are tried.
    let mut n = 0;
    while !killed(original, n, true, &before, &work, &check) {
        n += 1 + n / 10;
    }
}

/// Tells whether the work was done.
fn killed<T>(
    original: &[u8],
    n: usize,
    by_pages: bool,
    before: &Content,
    work: &impl Fn(&Unix, &Path) -> Result<T>,
    check: &impl Fn(&Content, &Content, Option<T>),
) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut env = environment(directory.path());
    env.dot_lock_timeout = 0;
    let path = directory.path().join("box");
    std::fs::write(&path, original).unwrap();
    let disk = FaultyDisk::new(directory.path(), Fault::KillBefore(n));
    let disk = Arc::new(if by_pages { disk.by_pages() } else { disk });
    let done = work(&Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>), &path);
    // A delivery comes before anybody looks.
    let delivers = n % 2 == 1 && !original.contains(&0);
    if delivers {
        let mut file = std::fs::read(&path).unwrap();
        // NULs are the room that a rewrite made: what is there counts as the mailbox's end.
        if !matches!(file.last(), Some(b'\n' | 0)) {
            file.push(b'\n');
        }
        file.extend_from_slice(b"From x@example.com Wed Dec  2 05:53:22 1992\nSubject: later\n\nlater\n\n");
        std::fs::write(&path, file).unwrap();
    }
    let mut after = content(&env, &path);
    if delivers {
        let (_, last) = after.1.pop_last().expect("the delivery is there");
        assert_eq!(last, b"later\r\n", "killed before change {n}");
    }
    check(before, &after, done.ok());
    // What that session left is no different for the next one.
    open(&unix(&env), &path).close().unwrap();
    let file = std::fs::read(&path).unwrap();
    assert!(!file.contains(&0), "killed before change {n}");
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("journal"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    !disk.is_dead()
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
fn all_kept(before: &Content, after: &Content) {
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
    let check = |before: &_, after: &Content, _| {
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
    let check = |before: &Content, after: &Content, done: Option<()>| {
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

/// Messages to be appended together: small ones, or one that no single write brings.
fn much() -> [Vec<Vec<u8>>; 2] {
    let small = |n: usize| format!("Subject: {n}\r\n\r\n{}", "text\r\n".repeat(n)).into_bytes();
    [(1000..1003).map(small).collect(), vec![small(60_000)]]
}

fn append_all(driver: &Unix, path: &Path, messages: &[Vec<u8>]) -> Result<Appended> {
    let mut append = driver.append(&at(path))?;
    for message in messages {
        append.begin(AppendMeta { size: message.len() as u64, ..AppendMeta::default() })?;
        append.write(message)?;
        append.end()?;
    }
    append.commit()
}

/// Checks that what was there is there, and of the messages all or none, all if they were acknowledged.
fn all_or_none(before: &Content, after: &Content, messages: &[Vec<u8>], done: Option<&Appended>) {
    all_kept(before, after);
    let text = |message: &Vec<u8>| {
        let end = message.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        message[end..].to_vec()
    };
    let mut new: Vec<_> = after.1.iter().filter(|(uid, _)| !before.1.contains_key(uid)).collect();
    new.retain(|(_, text)| text.as_slice() != b"later\r\n");
    assert!(new.is_empty() || new.len() == messages.len(), "{} of {}", new.len(), messages.len());
    for ((_, found), message) in new.iter().zip(messages) {
        assert!(**found == text(message));
    }
    if let Some(appended) = done {
        assert_eq!(new.len(), messages.len());
        if let Some((validity, uids)) = &appended.uids {
            assert_eq!(validity.get(), after.0);
            assert!(uids.iter().map(|uid| uid.get()).eq(new.iter().map(|(uid, _)| **uid)));
        }
    }
}

#[test]
fn several_messages_and_large_ones_arrive_whole_or_not_at_all() {
    let originals = ["unix/02-appended", "unix/20-g-imapbase", "unix/20-n-nosep"];
    for messages in much() {
        for original in originals {
            let original = std::fs::read(fixture(original)).unwrap();
            killed_everywhere(
                &original,
                |driver, path| append_all(driver, path, &messages),
                |before, after, done| {
                    // A file whose last line had no end got one.
                    let mut before = before.clone();
                    for (uid, text) in &mut before.1 {
                        if after.1.get(uid) == Some(&[text, &b"\r\n"[..]].concat()) {
                            text.extend_from_slice(b"\r\n");
                        }
                    }
                    all_or_none(&before, after, &messages, done.as_ref());
                },
            );
        }
    }
}

#[test]
fn power_lost_while_messages_arrive() {
    for messages in much() {
        for original in [std::fs::read(fixture("unix/02-appended")).unwrap(), Vec::new()] {
            for (n, seed) in (0..).flat_map(|n| (0..4).map(move |seed| (n, seed + 1000 * n as u64))) {
                let directory = tempfile::tempdir().unwrap();
                let mut env = environment(directory.path());
                env.dot_lock_timeout = 0;
                let path = directory.path().join("box");
                std::fs::write(&path, &original).unwrap();
                let mut before = if original.is_empty() { Content::default() } else { content(&env, &path) };
                std::fs::write(&path, &original).unwrap();
                let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
                let driver = Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>);
                let done = append_all(&driver, &path, &messages).ok();
                disk.lose_power(seed);
                let is_empty = std::fs::metadata(&path).unwrap().len() == 0;
                let is_sealed = std::fs::read_dir(directory.path()).unwrap().count() > 3;
                if is_empty && !is_sealed && done.is_none() {
                    continue;
                }
                let after = content(&env, &path);
                if original.is_empty() {
                    before.0 = after.0;
                }
                all_or_none(&before, &after, &messages, done.as_ref());
                if !disk.was_killed() {
                    assert!(done.is_some());
                    break;
                }
            }
        }
    }
}

/// The session that has the mailbox sees all or none, be the appender dead or not.
#[test]
fn messages_arrive_whole_while_another_session_has_the_mailbox() {
    for messages in much() {
        for n in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let mut env = environment(directory.path());
            env.dot_lock_timeout = 0;
            let path = directory.path().join("box");
            std::fs::copy(fixture("unix/02-appended"), &path).unwrap();
            let before = content(&env, &path);
            let mut session = open(&unix(&env), &path);
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)).by_pages());
            let driver = Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>);
            let done = append_all(&driver, &path, &messages).ok();
            let mut edit = session.edit().unwrap();
            let change = FlagChange { op: FlagOp::Add, system: SystemFlags::SEEN, keywords: Vec::new() };
            edit.store(&UidSet::all(), &change).unwrap();
            drop(edit.commit().unwrap());
            drop(session.checkpoint().unwrap());
            session.close().unwrap();
            let after = content(&env, &path);
            all_or_none(&before, &after, &messages, done.as_ref());
            if done.is_some() {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_the_mailbox_as_it_was() {
    let original = std::fs::read(fixture("unix/02-appended")).unwrap();
    let flags = FlagChange { op: FlagOp::Add, system: SystemFlags::FLAGGED, keywords: Vec::new() };
    type Work<'w> = &'w dyn Fn(&Unix, &Path) -> Result<()>;
    let works: [Work<'_>; 4] = [
        &|driver, path| append_all(driver, path, &much()[0][..1]).map(drop),
        &|driver, path| append_all(driver, path, &much()[0]).map(drop),
        &|driver, path| {
            let mut mailbox = driver.open(&at(path), Access::ReadWrite, Manner::Session)?;
            let mut edit = mailbox.edit()?;
            edit.store(&UidSet::all(), &FlagChange { keywords: keywords(), ..flags.clone() })?;
            drop(edit.commit()?);
            mailbox.close()
        },
        &|driver, path| {
            let mut mailbox = driver.open(&at(path), Access::ReadWrite, Manner::Session)?;
            let mut edit = mailbox.edit()?;
            edit.expunge(&Uid::new(1).into_iter().collect())?;
            drop(edit.commit()?);
            mailbox.close()
        },
    ];
    for (number, work) in works.into_iter().enumerate() {
        let mut room = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let env = environment(directory.path());
            let path = directory.path().join("box");
            std::fs::write(&path, &original).unwrap();
            let before = content(&env, &path);
            let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(room)));
            let driver = Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>);
            let length = std::fs::metadata(&path).unwrap().len();
            let Err(error) = work(&driver, &path) else { break };
            assert!(error.is_full(), "{number}, {room}: {error}");
            // The last UID may be higher now.
            assert_eq!(std::fs::metadata(&path).unwrap().len(), length, "{number}, {room}");
            assert_eq!(content(&env, &path), before, "{number}, {room}");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "{number}, {room}");
            room += 1 + room / 7;
        }
    }
}

fn keywords() -> Vec<Keyword> {
    (0..10).map(|n| Keyword::new(format!("keyword{n}").as_bytes()).unwrap()).collect()
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
    let before = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("box");
        std::fs::write(&path, &original).unwrap();
        content(&environment(directory.path()), &path)
    };
    // The pages of a write are lost or not as the seed has it, whether the write was finished or not.
    for (n, seed) in (0..).flat_map(|n| (0..2).map(move |seed| (n, seed + 1000 * n as u64))) {
        let directory = tempfile::tempdir().unwrap();
        let mut env = environment(directory.path());
        env.dot_lock_timeout = 0;
        let path = directory.path().join("box");
        std::fs::write(&path, &original).unwrap();
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
        let mut acknowledged = Vec::new();
        let done =
            work(&Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>), &path, &mut acknowledged);
        disk.lose_power(seed);
        let after = content(&env, &path);
        assert_eq!(before.0, after.0, "{n}, {seed}");
        for (uid, text) in &before.1 {
            let may_be_gone = gone.contains(Uid::new(*uid).unwrap());
            let found = after.1.get(uid);
            let is_there = found == Some(text);
            assert!(is_there || (found.is_none() && may_be_gone), "UID {uid}, {n}, {seed}");
        }
        for uid in acknowledged {
            let found = after.1.get(&uid).map(Vec::as_slice);
            assert_eq!(found, Some(&b"new text\r\n"[..]), "{n}, {seed}");
        }
        if !disk.was_killed() {
            done.unwrap();
            assert!(after.1.keys().all(|uid| !gone.contains(Uid::new(*uid).unwrap())));
            return;
        }
    }
}

/// A journal that is done with and comes back with a power loss undoes nothing that was changed since without one.
#[test]
fn a_journal_that_is_done_with_undoes_nothing() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let mut env = environment(directory.path());
        env.dot_lock_timeout = 0;
        let path = directory.path().join("box");
        std::fs::write(&path, large()).unwrap();
        let well = unix(&env);
        let mailbox = open(&well, &path);
        let first = mailbox.snapshot().messages.len();
        mailbox.close().unwrap();
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
        let driver = Unix::new(env.clone(), Arc::clone(&disk) as Arc<dyn Disk>);
        // Through a journal.
        drop(append_all(&driver, &path, &much()[0]).unwrap());
        // A mere cut.
        let mut mailbox = driver.open(&at(&path), Access::ReadWrite, Manner::Session).unwrap();
        let last: UidSet = mailbox.snapshot().messages[first..].iter().map(|message| message.uid()).collect();
        let mut edit = mailbox.edit().unwrap();
        edit.expunge(&last).unwrap();
        drop(edit.commit().unwrap());
        mailbox.close().unwrap();
        disk.lose_power(seed);
        let mailbox = open(&well, &path);
        assert_eq!(mailbox.snapshot().messages.len(), first, "seed {seed}");
    }
}
