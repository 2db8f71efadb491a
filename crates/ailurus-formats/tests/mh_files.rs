//! What can be in an mh folder, and what can happen to it: links, renumbering, damage, large numbers.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/folder.rs"]
mod folder;
#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::Mh;
use ailurus_store::{Driver, Error, Extent, Mailbox};
use ailurus_testkit::faulty::{Fault, FaultyDisk, NoSync};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use folder::*;
use session::set_times;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;

/// Flags one message, so that it is seen whether it is still the same.
fn flag(mailbox: &mut dyn Mailbox, number: u32) {
    drop(store(mailbox, &uids(&[number]), &change(FlagOp::Add, SystemFlags::FLAGGED, &[])).unwrap());
}

fn flagged(mailbox: &dyn Mailbox) -> Vec<u32> {
    let messages = mailbox.snapshot().messages.iter();
    let flagged = messages.filter(|message| message.flags().system.contains(SystemFlags::FLAGGED));
    flagged.map(|message| message.uid().get()).collect()
}

/// `refile -link` makes a second name for a file, also within one folder.
#[test]
fn hard_links_are_messages_of_their_own() {
    let folder = Folder::filled(2);
    fs::hard_link(folder.file(2), folder.file(3)).unwrap();
    let mut mailbox = folder.open();
    flag(&mut *mailbox, 3);
    // A third name changes what is known of both.
    fs::hard_link(folder.file(2), folder.home.path("Mail/elsewhere")).unwrap();
    fs::write(folder.home.path("Mail/box/x"), "the directory has changed").unwrap();
    let changes = mailbox.refresh().unwrap();
    assert!(changes.expunged.is_empty() && !changes.arrived);
    assert_eq!((uids_of(&*mailbox), flagged(&*mailbox)), (vec![1, 2, 3], vec![3]));
    // folder -pack
    fs::remove_file(folder.file(1)).unwrap();
    for number in [2, 3] {
        fs::rename(folder.file(number), folder.file(number - 1)).unwrap();
    }
    drop(mailbox.refresh().unwrap());
    assert_eq!((uids_of(&*mailbox), flagged(&*mailbox)), (vec![2, 3], vec![3]));
    assert_eq!(uids_of(&*folder.open()), [2, 3]);
}

#[test]
fn an_expunge_never_takes_another_link_of_the_file() {
    let folder = Folder::filled(2);
    fs::hard_link(folder.file(2), folder.file(3)).unwrap();
    let mut mailbox = folder.open();
    let mut edit = mailbox.edit().unwrap();
    edit.expunge(&uids(&[2])).unwrap();
    // rmm, at this moment.
    fs::rename(folder.file(2), folder.home.path("Mail/box/,2")).unwrap();
    drop(edit.commit().unwrap());
    assert!(folder.file(3).exists());
    drop(mailbox.refresh().unwrap());
    assert_eq!(uids_of(&*mailbox), [1, 3]);
    fs::rename(folder.file(3), folder.file(7)).unwrap();
    assert_eq!(read_all(&mut *mailbox, uid(3), Extent::Whole, 99).unwrap(), text(2).as_bytes());
    drop(expunge(&mut *mailbox, &uids(&[3])).unwrap());
    assert_eq!(folder.names(), [",2", ".ailurus-uids", "1"]);
}

/// Root can read everything.
#[test]
fn a_file_that_cannot_be_read_keeps_its_uid_and_is_shown_again() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root");
        return;
    }
    let folder = Folder::filled(3);
    let mode = |number, mode| {
        fs::set_permissions(folder.file(number), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut mailbox = folder.open();
    flag(&mut *mailbox, 2);
    mode(2, 0);
    folder.deliver(4, 4);
    mode(4, 0);
    drop(mailbox.refresh().unwrap());
    assert_eq!((uids_of(&*mailbox), flagged(&*mailbox)), (vec![1, 2, 3], vec![2]));
    assert!(read_all(&mut *mailbox, uid(2), Extent::Whole, 99).is_err());
    assert!(folder.home.notices().iter().any(|text| text.contains("Mail/box/4 is not shown: ")));
    // The directory does not tell that they can be read again.
    std::thread::sleep(Duration::from_millis(100));
    drop(mailbox.refresh().unwrap());
    mode(2, 0o600);
    mode(4, 0o600);
    let mailbox = folder.open();
    assert_eq!((uids_of(&*mailbox), flagged(&*mailbox)), (vec![1, 2, 3, 4], vec![2]));
}

/// A list of sequences of any length is no work beyond its own.
#[test]
fn damaged_files_of_mh_are_no_more_than_nothing() {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let sequences = b"cur: 1\nunseen: 2-3 17 99999999999999 5-1 -3 4- x\n";
    let at = |folder: &Folder| folder.home.path("Mail/box/.mh_sequences");
    for end in 0..=sequences.len() {
        let folder = Folder::filled(2);
        (1..=2).for_each(|number| set_times(&folder.file(number), NOW, NOW - 1000));
        fs::write(at(&folder), &sequences[..end]).unwrap();
        let status = folder.driver.status(&folder.at).unwrap();
        assert!(status.messages == 2 && status.unseen <= 2, "{end}");
        assert!(end < sequences.len() || status.unseen == 1, "2, which was read since it was written");
        let mut flipped = sequences.to_vec();
        flipped[end.min(sequences.len() - 1)] ^= 1 << (end % 8);
        fs::write(at(&folder), &flipped).unwrap();
        fs::remove_file(folder.sidecar()).unwrap();
        assert_eq!(folder.driver.status(&folder.at).unwrap().messages, 2);
    }
    let folder = Folder::filled(2);
    mkfifoat(CWD, at(&folder), Mode::RWXU).unwrap();
    assert_eq!(uids_of(&*folder.open()), [1, 2]);
    let profile = b"Editor: vi\nPath: Mail\nUnseen-Sequence: unseen\n";
    for end in 0..profile.len() {
        let home = Home::with(Arc::new(NoSync), |_| {});
        fs::create_dir_all(home.path("Mail/box")).unwrap();
        let mut flipped = profile.to_vec();
        flipped[end] ^= 1 << (end % 8);
        for text in [&profile[..end], &flipped] {
            home.put(".mh_profile", text);
            let driver = Mh::new(home.environment.clone(), home.disk.clone());
            // Where the path is another one, there is no such folder.
            match driver.open(
                &home.special("#mh/box"),
                ailurus_store::Access::ReadOnly,
                ailurus_store::Manner::Session,
            ) {
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => panic!("{end}: {error}"),
            }
        }
    }
}

/// A folder that is deleted takes along what is ours, also what a dead process left.
#[test]
fn a_folder_is_deleted_with_what_was_left_behind() {
    let folder = Folder::filled(1);
    let left = folder.home.path("Mail/box/.ailurus-new.1.2");
    fs::create_dir(&left).unwrap();
    for name in ["1", "2"] {
        fs::write(left.join(name), "Subject: x\n\n").unwrap();
    }
    fs::write(left.join("commit"), "2\n").unwrap();
    folder.driver.delete(&folder.at).unwrap();
    assert!(!folder.home.path("Mail/box").exists());
    assert!(folder.home.notices().is_empty());
}

#[test]
fn an_expunge_costs_what_it_removes() {
    let folder = Folder::filled(6000);
    let mut mailbox = folder.open();
    let half: Vec<_> = (1..=6000).step_by(2).collect();
    let start = Instant::now();
    assert_eq!(expunge(&mut *mailbox, &uids(&half)).unwrap().expunged.count(), 3000);
    // A look at each of the others for each of them would take minutes.
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(mailbox.snapshot().messages.len(), 3000);
}

/// More events than go into one block of the sidecar: a power loss must not leave the second without the first.
#[test]
fn a_power_loss_within_many_events_loses_no_flags() {
    let folder = Folder::filled(3);
    let mut mailbox = folder.open();
    flag(&mut *mailbox, 2);
    drop(mailbox);
    let before = fs::read(folder.sidecar()).unwrap();
    (4..=4600).for_each(|n| folder.deliver(n, n));
    let Folder { mut home, at, .. } = folder;
    let sidecar = home.path("Mail/box/.ailurus-uids");
    for number in 0.. {
        let mut dead = true;
        for seed in 0..2 {
            fs::write(&sidecar, &before).unwrap();
            let disk = Arc::new(FaultyDisk::new(home.directory.path(), Fault::KillBefore(number)));
            home = Home::at(home.directory, disk.clone(), |_| {});
            let driver = Mh::new(home.environment.clone(), home.disk.clone());
            drop(open(&driver, &at));
            dead = disk.is_dead();
            disk.lose_power(seed);
            home = Home::at(home.directory, Arc::new(NoSync), |_| {});
            let driver = Mh::new(home.environment.clone(), home.disk.clone());
            let mailbox = open(&driver, &at).unwrap();
            assert_eq!(i64::from(mailbox.snapshot().uid_validity.get()), NOW, "{number}, {seed}");
            assert_eq!(mailbox.snapshot().messages.len(), 4600, "{number}, {seed}");
            assert_eq!(flagged(&*mailbox), [2], "{number}, {seed}");
        }
        if !dead {
            break;
        }
    }
}

/// Two sessions change the flags of all messages at the same time, and both know the end of it.
#[test]
fn sessions_in_two_threads_agree_in_the_end() {
    let folder = Folder::filled(20);
    let work = |keyword: &'static str| {
        let driver = Mh::new(folder.home.environment.clone(), folder.home.disk.clone());
        let mut mailbox = open(&driver, &folder.at).unwrap();
        for round in 0..60 {
            let op = if round % 3 == 2 { FlagOp::Remove } else { FlagOp::Add };
            drop(store(&mut *mailbox, &UidSet::all(), &change(op, SystemFlags::NONE, &[keyword])).unwrap());
        }
        drop(
            store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::NONE, &[keyword]))
                .unwrap(),
        );
        mailbox
    };
    let (mut a, mut b) = std::thread::scope(|scope| {
        let threads = ["one", "two"].map(|keyword| scope.spawn(move || work(keyword)));
        let [a, b] = threads.map(|thread| thread.join().unwrap());
        (a, b)
    });
    for mailbox in [&mut a, &mut b] {
        drop(mailbox.refresh().unwrap());
        let flags = mailbox.snapshot().messages.iter().map(|message| message.flags());
        assert!(flags.into_iter().all(|flags| flags.keywords.has(0) && flags.keywords.has(1)));
    }
    assert_eq!(show(&*a), show(&*b));
}
