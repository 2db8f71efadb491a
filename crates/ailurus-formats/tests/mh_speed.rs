//! How long mh takes with many messages. Not run by itself: `cargo test --release --test mh_speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mh;
use ailurus_store::{Driver, Extent};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::fs;
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
#[ignore = "a measurement"]
fn many_messages() {
    let count: u32 = std::env::var("MESSAGES").map_or(10_000, |count| count.parse().unwrap());
    let home = Home::new();
    home.put(".mh_profile", b"");
    let folder = home.path("Mail/box");
    fs::create_dir_all(&folder).unwrap();
    let body = "a line of some length in a message\n".repeat(170);
    timed("make the files", count, || {
        for n in 1..=count {
            fs::write(folder.join(n.to_string()), format!("Subject: {n}\n\n{body}")).unwrap();
        }
    });
    let driver = Mh::new(home.environment.clone(), home.disk.clone());
    let at = home.special("#mh/box");
    std::thread::sleep(Duration::from_millis(2500));
    drop(timed("open, first", count, || open(&driver, &at).unwrap()));
    std::thread::sleep(Duration::from_millis(100));
    drop(timed("open, directory changed", count, || open(&driver, &at).unwrap()));
    let mut mailbox = timed("open again", count, || open(&driver, &at).unwrap());
    timed("status", 1, || driver.status(&at).unwrap());
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
    timed("append one", 100, || {
        (0..100).for_each(|_| drop(append_plain(&driver, &at, body.as_bytes()).unwrap()))
    });
    drop(timed("refresh after that", 1, || mailbox.refresh().unwrap()));
    let half: Vec<_> = uids_of(&*mailbox).into_iter().step_by(2).collect();
    drop(timed("expunge every second", count / 2, || expunge(&mut *mailbox, &uids(&half)).unwrap()));
    drop(timed("refresh after that", 1, || mailbox.refresh().unwrap()));
}
