//! What the next opener makes of the journal that a dead process left.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::journal::{Places, Recovery, recover};
use ailurus_formats::rewrite::{Rewrite, RewriteError};
use ailurus_store::Notices;
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::as_user;

#[derive(Clone, Debug)]
enum Piece {
    Copy(Range<u64>),
    Literal(Vec<u8>),
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn places(path: &Path) -> Places {
    Places::of(path, &open(path), path.parent().unwrap()).unwrap()
}

fn rewrite(disk: &Arc<dyn Disk>, path: &Path, plan: &[Piece]) -> Result<(), RewriteError> {
    let file = open(path);
    let mut rewrite = Rewrite::begin(disk, &places(path), &file)?;
    for piece in plan {
        match piece {
            Piece::Copy(range) => rewrite.copy(range.clone())?,
            Piece::Literal(octets) => rewrite.literal(octets)?,
        }
    }
    rewrite.finish()
}

fn repair(disk: &Arc<dyn Disk>, path: &Path) -> Result<Recovery, RewriteError> {
    recover(disk, &Notices::default(), &places(path), &open(path))
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Makes a file, and a journal beside it that is complete when nothing of the file is changed yet.
fn sealed(directory: &Path, old: &[u8], plan: &[Piece]) -> PathBuf {
    let path = directory.join("box");
    for n in 0.. {
        std::fs::write(&path, old).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(directory, Fault::KillBefore(n)));
        match rewrite(&disk, &path, plan) {
            Err(RewriteError::Interrupted(_)) => break,
            Err(RewriteError::Unchanged(_)) => drop(std::fs::remove_file(journal(&path))),
            Ok(()) => panic!("there was no journal"),
        }
    }
    assert_eq!(std::fs::read(&path).unwrap().len(), old.len());
    path
}

fn journal(path: &Path) -> PathBuf {
    path.with_file_name(".box.ailurus-journal")
}

/// A power loss can keep what was written in place, and lose the room for the rest.
#[test]
fn a_journal_stays_until_there_is_room_for_the_longer_mailbox() {
    let old = noise(1, 9000);
    let plan = [Piece::Literal(noise(2, 3000)), Piece::Copy(0..9000)];
    let new = [noise(2, 3000), old.clone()].concat();
    for mail in [&b""[..], b"From new mail\n"] {
        for room in (0..40_000).step_by(499) {
            let directory = tempfile::tempdir().unwrap();
            let path = sealed(directory.path(), &old, &plan);
            std::fs::write(&path, [&new[..512], &old[512..], mail].concat()).unwrap();
            let full: Arc<dyn Disk> = Arc::new(FaultyDisk::new(directory.path(), Fault::FullAfter(room)));
            let repaired = repair(&full, &path);
            if repaired.is_err() {
                assert_eq!(repair(&Os::shared(), &path).unwrap(), Recovery::Finished, "{room}");
            }
            assert!(std::fs::read(&path).unwrap() == [&new, mail].concat(), "{room}: {repaired:?}");
        }
    }
}

#[test]
fn a_change_after_all_was_done_is_not_taken_for_a_torn_write() {
    let directory = tempfile::tempdir().unwrap();
    let old = noise(1, 9000);
    let path = sealed(directory.path(), &old, &[Piece::Copy(0..1000), Piece::Copy(1200..9000)]);
    // All is written and cut; only the journal was not removed.
    let mut content = [&old[..1000], &old[1200..]].concat();
    let last = content.len() - 1;
    content[last] ^= 1;
    std::fs::write(&path, &content).unwrap();
    assert_eq!(repair(&Os::shared(), &path).unwrap(), Recovery::Orphaned);
    assert!(std::fs::read(&path).unwrap() == content);
}

#[test]
fn a_very_long_name_has_a_journal_too() {
    let directory = tempfile::tempdir().unwrap();
    for length in [1, 199, 200, 201, 254, 255] {
        let path = directory.path().join("x".repeat(length));
        let old = noise(1, 9000);
        for n in 0.. {
            std::fs::write(&path, &old).unwrap();
            let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)));
            let done = rewrite(&disk, &path, &[Piece::Copy(100..9000)]);
            repair(&Os::shared(), &path).unwrap();
            if !matches!(done, Err(RewriteError::Unchanged(_))) {
                assert!(std::fs::read(&path).unwrap() == old[100..], "{length}, {n}");
            }
            if done.is_ok() {
                break;
            }
        }
        std::fs::remove_file(path).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{length}");
    }
}

/// Two people with one mailbox: the journal of the one must not be passed over by the other.
#[test]
fn the_journal_of_another_who_may_write_the_mailbox_is_finished() {
    const GROUP: u32 = 4321;
    const OTHERS: u32 = 4322;
    let Some(directory) = shared_directory() else { return };
    let old = noise(1, 9000);
    for (directory_mode, group, mode, finished) in [
        // Its directory takes files from the group, which may write the mailbox.
        (0o2770, GROUP, 0o660, true),
        // The group may not: whoever of them made the journal may not change the mailbox by it.
        (0o2770, GROUP, 0o640, false),
        (0o2770, OTHERS, 0o660, false),
        // From everybody, who may not write the mailbox, or may.
        (0o1777, GROUP, 0o660, false),
        (0o1777, GROUP, 0o666, true),
        // From nobody but its owner.
        (0o755, OTHERS, 0o600, true),
    ] {
        let inside = directory.path().join("shared");
        std::fs::create_dir(&inside).unwrap();
        chown(&inside, Some(1001), Some(GROUP)).unwrap();
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(directory_mode)).unwrap();
        let path = sealed(&inside, &old, &[Piece::Copy(100..9000)]);
        chown(&path, Some(1001), Some(group)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        // Written by a second user; a third one opens the mailbox.
        chown(journal(&path), Some(1002), Some(GROUP)).unwrap();
        let places = as_user(1003, GROUP, || places_without_reading(&path));
        assert_eq!(places.any(), finished, "{directory_mode:o} {group} {mode:o}");
        std::fs::remove_dir_all(inside).unwrap();
    }
}

/// Also for who may not read the mailbox.
fn places_without_reading(path: &Path) -> Places {
    let file = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    Places::of(path, &File::from(file), path.parent().unwrap()).unwrap()
}

fn shared_directory() -> Option<tempfile::TempDir> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(directory)
}

#[test]
fn a_journal_may_be_read_by_who_may_read_and_write_the_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let group = directory.path().metadata().unwrap().gid();
    for (mode, wanted) in [(0o600, 0o600), (0o640, 0o600), (0o644, 0o600), (0o660, 0o640), (0o666, 0o644)] {
        let path = directory.path().join("box");
        std::fs::write(&path, noise(1, 9000)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(path.metadata().unwrap().gid(), group);
        let path = sealed(directory.path(), &noise(1, 9000), &[Piece::Copy(100..9000)]);
        let found = journal(&path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, wanted, "{mode:o}");
        repair(&Os::shared(), &path).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

/// Who may not finish a rewrite does not use the mailbox: it is half moved.
#[test]
fn a_journal_that_may_not_be_read_is_an_error() {
    let Some(directory) = shared_directory() else { return };
    let path = sealed(directory.path(), &noise(1, 9000), &[Piece::Copy(100..9000)]);
    for path in [path.clone(), journal(&path)] {
        chown(&path, Some(1001), Some(1001)).unwrap();
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    as_user(1002, 1002, || {
        assert!(places(&path).any());
        let refused = repair(&Os::shared(), &path).unwrap_err();
        assert_eq!(refused.into_io().kind(), std::io::ErrorKind::PermissionDenied);
    });
    let mut start = [0; 100];
    open(&path).read_exact_at(&mut start, 0).unwrap();
    assert!(start[..] == noise(1, 9000)[..100]);
    as_user(1001, 1001, || assert!(places(&path).any()));
}
