//! How long mh and mx take with many messages. Not run by itself:
//! `MESSAGES=100000 cargo test --release --test mh_speed -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::{Mh, Mx};
use ailurus_store::{Driver, Extent, Location};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::*;

fn timed<T>(what: &str, count: u32, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = act();
    let took = start.elapsed();
    println!("{what:<40} {took:>10.1?} {:>10.2?} each", took / count);
    done
}

#[test]
#[ignore = "measures"]
fn many_messages_of_mh() {
    let home = Home::new();
    home.put(".mh_profile", b"");
    fs::create_dir_all(home.path("Mail/box")).unwrap();
    let driver = Mh::new(home.environment.clone(), home.disk.clone());
    many_messages(&driver, &home.special("#mh/box"), &home.path("Mail/box"), "\n");
}

#[test]
#[ignore = "measures"]
fn many_messages_of_mx() {
    let home = Home::with(ailurus_formats::disk::Os::shared(), |environment| {
        environment.cache_dir = Some(environment.home.join("cache"));
    });
    let driver = Mx::new(home.environment.clone(), home.disk.clone());
    driver.create(&home.at_name("box")).unwrap();
    many_messages(&driver, &home.at_name("box"), &home.path("box"), "\r\n");
}

fn many_messages(driver: &dyn Driver, at: &Location, folder: &Path, line_end: &str) {
    let count: u32 = std::env::var("MESSAGES").map_or(10_000, |count| count.parse().unwrap());
    let body = format!("a line of some length in a message{line_end}").repeat(170);
    let append = || (0..100).for_each(|_| drop(append_plain(driver, at, body.as_bytes()).unwrap()));
    timed("append one to an empty one", 100, append);
    timed("make the files", count, || {
        for n in 101..=count {
            fs::write(folder.join(n.to_string()), format!("Subject: {n}{line_end}{line_end}{body}")).unwrap();
        }
    });
    // What is still to be written would be waited for by the first who syncs.
    std::process::Command::new("sync").status().unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    drop(timed("open, first", count, || open(driver, at).unwrap()));
    std::thread::sleep(Duration::from_millis(100));
    drop(timed("open, directory changed", count, || open(driver, at).unwrap()));
    std::thread::sleep(Duration::from_millis(100));
    let mut mailbox = timed("open again", count, || open(driver, at).unwrap());
    for _ in 0..3 {
        timed("status", 1, || driver.status(at).unwrap());
    }
    let mut out = Vec::new();
    timed("read all", count, || {
        for uid in uids_of(&*mailbox) {
            out.clear();
            while mailbox.read(support::uid(uid), Extent::Whole, out.len() as u64, 65536, &mut out).unwrap()
                > 0
            {}
        }
    });
    let by = change(FlagOp::Add, SystemFlags::SEEN, &["Work"]);
    drop(timed("store one", 1, || store(&mut *mailbox, &uids(&[5]), &by).unwrap()));
    drop(timed("store all", count, || store(&mut *mailbox, &UidSet::all(), &by).unwrap()));
    timed("refresh, nothing new", 1000, || (0..1000).for_each(|_| drop(mailbox.refresh().unwrap())));
    timed("append one", 100, append);
    drop(timed("refresh after that", 1, || mailbox.refresh().unwrap()));
    timed("status after that", 1, || driver.status(at).unwrap());
    let half: Vec<_> = uids_of(&*mailbox).into_iter().step_by(2).collect();
    drop(timed("expunge every second", count / 2, || expunge(&mut *mailbox, &uids(&half)).unwrap()));
    drop(timed("refresh after that", 1, || mailbox.refresh().unwrap()));
}
