//! Rewriting in place: killed anywhere, and what the next opener makes of the journal that was left.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::journal::{Places, Recovery, recover};
use ailurus_formats::rewrite::{Rewrite, RewriteError};
use ailurus_store::Notices;
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use proptest::prelude::*;
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

fn expected(old: &[u8], plan: &[Piece]) -> Vec<u8> {
    let mut new = Vec::new();
    for piece in plan {
        match piece {
            Piece::Copy(range) => {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                new.extend_from_slice(&old[range]);
            }
            Piece::Literal(octets) => new.extend_from_slice(octets),
        }
    }
    new
}

/// Kills a rewrite at each of its changes, and the recovery at each of its changes too; `mail` comes between.
fn survives(old: &[u8], plan: &[Piece], mail: &[u8]) {
    let new = expected(old, plan);
    let joined = |content: &[u8]| [content, mail].concat();
    let mut first = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let dying = |n| -> Arc<dyn Disk> {
            Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(n)).by_pages())
        };
        let path = directory.path().join("box");
        std::fs::write(&path, old).unwrap();
        let done = rewrite(&dying(first), &path, plan).is_ok();
        let mut content = std::fs::read(&path).unwrap();
        content.extend_from_slice(mail);
        std::fs::write(&path, &content).unwrap();
        let mut second = 0;
        while repair(&dying(second), &path).is_err() {
            second += 1 + second / 3;
        }
        assert_ne!(repair(&Os::shared(), &path).unwrap(), Recovery::Orphaned, "killed at {first}");
        let now = std::fs::read(&path).unwrap();
        assert!(now == joined(&new) || (!done && now == joined(old)), "killed at {first}");
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "box" && !name.to_string_lossy().ends_with(".new"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        if done {
            return;
        }
        // Every page is a change: not all of them where there are many.
        first += 1 + first / 8;
    }
}

#[test]
fn a_shorter_content_survives_every_kill() {
    let old = noise(1, 300_000);
    let plan = [Piece::Copy(0..1000), Piece::Copy(2000..200_000), Piece::Copy(200_100..300_000)];
    for mail in [&b""[..], b"From new mail\n", &noise(5, 3000)] {
        survives(&old, &plan, mail);
    }
}

#[test]
fn a_longer_content_survives_every_kill() {
    let old = noise(2, 300_000);
    let plan = [
        Piece::Copy(0..5000),
        Piece::Literal(noise(3, 1200)),
        Piece::Copy(5000..300_000),
        Piece::Literal(b"end\n".to_vec()),
    ];
    for mail in [&b""[..], b"From new mail\n", &noise(6, 5000)] {
        survives(&old, &plan, mail);
    }
}

#[test]
fn patches_survive_every_kill() {
    let old = noise(4, 100_000);
    let plan = [
        Piece::Copy(0..500),
        Piece::Literal(noise(7, 60)),
        Piece::Copy(560..30_000),
        Piece::Literal(noise(8, 60)),
        Piece::Copy(30_060..100_000),
    ];
    survives(&old, &plan, b"");
    survives(&old, &plan, b"From new mail\n");
    survives(&old, &[Piece::Copy(0..40)], b"");
    survives(b"", &[Piece::Literal(noise(9, 600))], b"");
    survives(&noise(9, 600), &[Piece::Literal(noise(10, 600))], b"x");
}

#[test]
fn what_stays_costs_nothing_and_one_unit_has_no_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    let old = noise(1, 5000);
    std::fs::write(&path, &old).unwrap();
    let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
    let shared: Arc<dyn Disk> = disk.clone();
    rewrite(&shared, &path, &[Piece::Copy(0..2000), Piece::Copy(2000..5000)]).unwrap();
    assert_eq!(disk.changes(), 0);
    let patch = [Piece::Copy(0..600), Piece::Literal(b"patch".to_vec()), Piece::Copy(605..5000)];
    rewrite(&shared, &path, &patch).unwrap();
    assert_eq!(disk.changes(), 1);
    assert_eq!(std::fs::read(&path).unwrap(), expected(&old, &patch));
}

#[test]
fn a_foreign_change_keeps_the_file_and_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let old = noise(1, 50_000);
    let path = sealed(directory.path(), &old, &[Piece::Copy(700..50_000)]);
    let mut foreign = [&old[700..5000], &old[4300..]].concat();
    foreign[30_000] ^= 1;
    std::fs::write(&path, &foreign).unwrap();
    assert_eq!(repair(&Os::shared(), &path).unwrap(), Recovery::Orphaned);
    assert_eq!(std::fs::read(&path).unwrap(), foreign);
    assert!(directory.path().join(".box.ailurus-journal.orphan").exists());
}

#[test]
fn a_journal_that_anybody_may_write_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("box");
    std::fs::write(&path, "mail").unwrap();
    std::fs::write(journal(&path), "x").unwrap();
    std::fs::set_permissions(journal(&path), std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(!places(&path).any());
    // The journal then goes to the home.
    rewrite(&Os::shared(), &path, &[Piece::Literal(noise(1, 2000))]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), noise(1, 2000));
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let copy =
        (0u64..6000, 0u64..3000).prop_map(|(start, length)| Piece::Copy(start..(start + length).min(6000)));
    let literal = proptest::collection::vec(any::<u8>(), 0..1500).prop_map(Piece::Literal);
    proptest::collection::vec(prop_oneof![copy, literal], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_plan_survives_every_kill(plan in pieces(), mail in 0usize..2000) {
        survives(&noise(11, 6000), &plan, &noise(12, mail));
    }
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

/// Also when it keeps a part of the new length.
#[test]
fn any_length_between_old_and_new_is_ours() {
    let old = noise(1, 9000);
    let plan = [Piece::Literal(noise(2, 3000)), Piece::Copy(0..9000)];
    let new = [noise(2, 3000), old.clone()].concat();
    let directory = tempfile::tempdir().unwrap();
    for length in (9000..=12_000).step_by(277).chain([9001, 9216, 9728, 11_999]) {
        let half = 9000 + (length - 9000) / 2;
        let half_written = [&new[9000..half], &vec![0; length - half][..]].concat();
        for grown in [new[9000..length].to_vec(), vec![0; length - 9000], half_written] {
            let path = sealed(directory.path(), &old, &plan);
            std::fs::write(&path, [&new[..1024], &old[1024..], &grown].concat()).unwrap();
            assert_eq!(repair(&Os::shared(), &path).unwrap(), Recovery::Finished, "{length}");
            assert!(std::fs::read(&path).unwrap() == new, "{length}");
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
