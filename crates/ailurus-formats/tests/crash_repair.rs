//! Repair when the process is killed before or within each change, and when the power fails: under the name is the damaged mailbox or
//! the salvaged one, and nothing is lost in either.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::repair::{Action, Outcome, Workshop};
use ailurus_store::{Environment, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use support::*;

const FORMATS: [&str; 6] = ["mbx", "mtx", "tenex", "unix", "mmdf", "mix"];

fn home(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let locks = directory.path().join("locks");
    Home::at(directory, disk, |environment: &mut Environment| environment.lock_dir = locks)
}

/// A home with a damaged mailbox; for mix with another one in it.
fn prepare(format: &str, second_name: bool) -> tempfile::TempDir {
    let home = home(tempfile::tempdir().unwrap(), Os::shared());
    fs::create_dir(&home.environment.lock_dir).unwrap();
    if format == "mix" {
        copy(&fixtures("mix/03-flags-keywords"), &home.path("box"));
        copy(&fixtures("mix/02-appended"), &home.path("box/inner"));
        let index = home.get("box/.mixindex");
        home.put("box/.mixindex", &index[..100]);
        return home.directory;
    }
    let mut content = fixture(&format!("{format}/03-flags-keywords"));
    let at = match format {
        "mbx" => 2048,
        "mmdf" => {
            content[2] = b'x';
            0
        }
        _ => 0,
    };
    if format != "mmdf" {
        content.splice(at..at, *b"junk that is no message\n");
    }
    home.put("box", &content);
    if second_name {
        fs::hard_link(home.path("box"), home.path("other")).unwrap();
    }
    home.directory
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// All files below a path, by their names below it.
fn content(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    if path.is_file() {
        all.insert(String::new(), fs::read(path).unwrap());
    }
    for entry in fs::read_dir(path).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for (below, content) in content(&path) {
            all.insert(format!("{name}/{below}"), content);
        }
    }
    all
}

/// Only what a mailbox consists of: in a damaged mix mailbox others can be, or not.
fn own(content: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    content
        .iter()
        .filter(|(name, _)| !name.starts_with("inner"))
        .map(|(a, b)| (a.clone(), b.clone()))
        .collect()
}

fn apply(format: &str, home: &Home) -> Result<Outcome> {
    let workshop = Workshop::new(home.environment.clone(), home.disk.clone());
    Ok(workshop.repair(format, &home.at_name("box"), Action::Apply)?.outcome)
}

/// Runs with a fault; returns the home as it was left, and how many changes there were.
fn run(
    format: &str,
    second: bool,
    fault: Fault,
    power_loss: Option<u64>,
) -> (tempfile::TempDir, usize, bool) {
    let directory = prepare(format, second);
    let disk = Arc::new(FaultyDisk::new(directory.path(), fault));
    let home = home(directory, disk.clone());
    let outcome = apply(format, &home);
    let changes = disk.changes();
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    // Locks of a dead process are free.
    let directory = home.directory;
    drop(home.disk);
    fs::remove_file(directory.path().join("box.lock")).ok();
    (directory, changes, outcome.is_ok())
}

fn check(format: &str, second: bool, directory: tempfile::TempDir, done: bool, what: &str) {
    let damaged = content(&prepare(format, second).path().join("box"));
    let (whole, _, _) = run(format, second, Fault::None, None);
    let salvaged = content(&whole.path().join("box"));
    let home = home(directory, Os::shared());
    let now = content(&home.path("box"));
    let is_new = own(&now) == own(&salvaged);
    // A file that is rewritten in place is finished by whoever opens it next.
    let journal = home.path(".box.ailurus-journal").exists();
    assert!(is_new || own(&now) == own(&damaged) || journal, "{what}: the mailbox is neither");
    assert!(is_new || !done, "{what}: not done");
    if is_new || journal {
        let kept = ["box.damaged", "box.salvaged"]
            .iter()
            .any(|name| own(&content(&home.path(name))) == own(&damaged));
        assert!(kept, "{what}: the damaged mailbox is lost");
    }
    // Once more, and all is well.
    apply(format, &home).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(own(&content(&home.path("box"))), own(&salvaged), "{what}");
    let all = ["box.damaged", "box.damaged1", "box.salvaged"].map(|name| home.path(name));
    assert!(
        all.iter().any(|path| own(&content(path)) == own(&damaged)),
        "{what}: the damaged mailbox is gone"
    );
    let inode = |path: &Path| path.metadata().map(|found| found.ino()).ok();
    assert!(
        all.iter().all(|path| inode(path) != inode(&home.path("box"))),
        "{what}: kept is the mailbox itself"
    );
    if format == "mix" {
        let inner = content(&fixtures("mix/02-appended"));
        assert_eq!(content(&home.path("box/inner")), inner, "{what}: the mailbox within is lost");
    }
}

fn cut_everywhere(format: &str, second: bool) {
    let (directory, changes, done) = run(format, second, Fault::None, None);
    assert!(done && changes > 4, "{format}: {changes}");
    check(format, second, directory, true, format);
    for number in 0..changes {
        for fault in [Fault::KillBefore(number), Fault::TearAt(number)] {
            for power_loss in [None, Some(1), Some(2)] {
                let what = format!("{format}, {fault:?}, power loss {power_loss:?}");
                let (directory, _, done) = run(format, second, fault, power_loss);
                check(format, second, directory, done, &what);
            }
        }
    }
}

#[test]
fn a_repair_that_is_cut_off_loses_nothing() {
    for format in FORMATS {
        cut_everywhere(format, false);
    }
}

#[test]
fn a_repair_in_place_that_is_cut_off_loses_nothing() {
    for format in ["mbx", "unix"] {
        cut_everywhere(format, true);
    }
}

#[test]
fn a_repair_on_a_full_disk_or_one_that_fails_leaves_the_mailbox_as_it_was() {
    for format in FORMATS {
        for fault in (0..6).map(|more| Fault::FullAfter(more * 300)).chain((0..6).map(Fault::SyncFails)) {
            let damaged = content(&prepare(format, false).path().join("box"));
            let directory = prepare(format, false);
            let disk = Arc::new(FaultyDisk::new(directory.path(), fault));
            let home = home(directory, disk);
            let what = format!("{format}, {fault:?}");
            match apply(format, &home) {
                Err(_) => {
                    let now = own(&content(&home.path("box")));
                    let exchanged = own(&content(&home.path("box.salvaged"))) == own(&damaged);
                    assert!(now == own(&damaged) || exchanged || home.path("box.damaged").exists(), "{what}");
                }
                Ok(outcome) => assert_eq!(outcome, Outcome::Applied, "{what}"),
            }
        }
    }
}
