//! What a dead writer of mh and mx leaves is settled by the next session, however long ago the folder changed.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::{Mh, Mx};
use ailurus_store::{Driver, Location};
use ailurus_testkit::faulty::NoSync;
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Home, append_plain, open};

/// More than the grain of a directory's times.
const SETTLED: Duration = Duration::from_millis(120);

/// Puts two messages on the shelf of a writer, and returns what holds its lock.
fn shelf(folder: &Path) -> fs::File {
    let shelf = folder.join(".ailurus-new.1.0");
    fs::create_dir(&shelf).unwrap();
    for number in ["1", "2"] {
        fs::write(shelf.join(number), format!("Subject: {number}\n\nbody\n")).unwrap();
    }
    let directory = fs::File::open(&shelf).unwrap();
    flock(&directory, FlockOperation::LockExclusive).unwrap();
    directory
}

fn check(driver: &dyn Driver, at: &Location, folder: &Path) {
    append_plain(driver, at, b"Subject: 0\r\n\r\nbody\r\n").unwrap();
    let writer = shelf(folder);
    std::thread::sleep(SETTLED);
    let mut session = open(driver, at).unwrap();
    drop(session.refresh().unwrap());
    assert_eq!(session.snapshot().messages.len(), 1);
    // Somebody who comes and goes notes what the folder is like.
    open(driver, at).unwrap().close().unwrap();
    // It decides, and dies: neither shows in the times of the folder.
    fs::write(folder.join(".ailurus-new.1.0/commit"), "2\n").unwrap();
    drop(writer);
    assert_eq!(open(driver, at).unwrap().snapshot().messages.len(), 3, "{}", driver.name());
    drop(session.refresh().unwrap());
    assert_eq!(session.snapshot().messages.len(), 3, "{}", driver.name());
    assert!(!folder.join(".ailurus-new.1.0").exists());
}

#[test]
fn messages_whose_delivery_was_decided_are_there_at_the_next_opening() {
    let home = Home::with(Arc::new(NoSync), |environment| {
        environment.mh_path = Some(environment.home.join("Mail"));
    });
    let mx = Mx::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    mx.create(&at).unwrap();
    check(&mx, &at, &home.path("box"));
    fs::create_dir(home.path("Mail")).unwrap();
    let mh = Mh::new(home.environment.clone(), home.disk.clone());
    let at = home.special("#mh/box");
    mh.create(&at).unwrap();
    check(&mh, &at, &home.path("Mail/box"));
}
