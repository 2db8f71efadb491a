//! How fast mtx and tenex are, beside mbx: `cargo test --release --test mtx_speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::Os;
use ailurus_formats::{Mbx, Mtx};
use ailurus_store::{AppendMeta, Driver, Extent};
use ailurus_testkit::faulty::NoSync;
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;
use support::*;

fn timed<T>(what: &str, count: u32, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = act();
    let micros = start.elapsed().as_secs_f64() * 1e6;
    println!("{what:44} {:9.2} ms {:8.3} µs a message", micros / 1e3, micros / f64::from(count));
    outcome
}

fn driver(home: &Home, format: &str) -> Box<dyn Driver> {
    let (environment, disk) = (home.environment.clone(), home.disk.clone());
    match format {
        "mbx" => Box::new(Mbx::new(environment, disk)),
        "mtx" => Box::new(Mtx::new(environment, disk)),
        _ => Box::new(Mtx::tenex(environment, disk)),
    }
}

/// What the process has in memory, at most so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "measures, and takes its time"]
fn figures() {
    for (count, size) in [(10_000u32, 6000usize), (100_000, 600)] {
        for format in ["mbx", "mtx", "tenex"] {
            for index in [false, true] {
                let with = if index { "with" } else { "without" };
                println!("--- {format}: {count} messages of {size} octets, {with} an index");
                figure(format, count, size, index);
            }
        }
    }
}

fn figure(format: &str, count: u32, size: usize, index: bool) {
    let home = Home::with(Arc::new(NoSync), |environment| {
        environment.cache_dir = index.then(|| environment.home.join("cache"));
    });
    let (driver, at) = (driver(&home, format), home.at_name("box"));
    let driver = &*driver;
    driver.create(&at).unwrap();
    let mut append = driver.append(&at).unwrap();
    let start = Instant::now();
    for n in 0..count {
        let mut text = format!("Subject: speed {n}\r\nFrom: a@example.com\r\n\r\n").into_bytes();
        while text.len() < size {
            text.extend_from_slice(&[b'x'; 60]);
            text.extend_from_slice(b"\r\n");
        }
        append.begin(AppendMeta { size: text.len() as u64, ..AppendMeta::default() }).unwrap();
        append.write(&text).unwrap();
        append.end().unwrap();
    }
    append.commit().unwrap();
    println!("{:44} {:9.2} ms", "append, all as one", start.elapsed().as_secs_f64() * 1e3);
    timed("plain read of the file", count, || {
        let (mut file, mut block) = (std::fs::File::open(home.path("box")).unwrap(), vec![0; 128 * 1024]);
        while file.read(&mut block).unwrap() > 0 {}
    });
    timed("open the first time", count, || open(driver, &at).unwrap().close().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(50));
    timed("STATUS, closed", count, || driver.status(&at).unwrap());
    timed("STATUS, closed, again", count, || driver.status(&at).unwrap());
    for n in 0..3 {
        timed(&format!("append of one small message, closed, {n}"), 1, || {
            append_plain(driver, &at, b"Subject: x\r\n\r\nx\r\n").unwrap()
        });
    }
    let before = peak();
    let mut mailbox = timed("open again", count, || open(driver, &at).unwrap());
    println!("{:44} {:9} KiB more at most", "memory", peak() - before);
    timed("STATUS", count, || driver.status(&at).unwrap());
    for (what, extent) in [("read headers", Extent::Header), ("read all", Extent::Whole)] {
        timed(what, count, || {
            let mut out = Vec::new();
            for uid in uids_of(&*mailbox) {
                out.clear();
                mailbox.read(support::uid(uid), extent, 0, 8192, &mut out).unwrap();
            }
        });
    }
    timed("refresh, nothing new", 1, || mailbox.refresh().unwrap().is_empty());
    let seen = change(FlagOp::Add, SystemFlags::SEEN, &[]);
    timed("store 1:*", count, || store(&mut *mailbox, &UidSet::all(), &seen).unwrap().is_empty());
    let keyword = change(FlagOp::Add, SystemFlags::NONE, &["Some"]);
    timed("store 1:*, a keyword", count, || {
        store(&mut *mailbox, &UidSet::all(), &keyword).unwrap().is_empty()
    });
    let one = change(FlagOp::Add, SystemFlags::FLAGGED, &[]);
    timed("store, one message", 1, || store(&mut *mailbox, &uids(&[5]), &one).unwrap().is_empty());
    for n in 0..3 {
        timed(&format!("append of one small message, {n}"), 1, || {
            append_plain(driver, &at, b"Subject: x\r\n\r\nx\r\n").unwrap()
        });
    }
    let synced = Home::at(home.directory, Os::shared(), |environment| {
        environment.cache_dir = index.then(|| environment.home.join("cache"));
    });
    let driver = self::driver(&synced, format);
    for n in 0..3 {
        timed(&format!("the same with syncs, {n}"), 1, || {
            append_plain(&*driver, &at, b"Subject: x\r\n\r\nx\r\n").unwrap()
        });
    }
    drop(mailbox.refresh().unwrap());
    let second: UidSet = uids_of(&*mailbox).into_iter().step_by(2).map(uid).collect();
    timed("expunge of every second", count / 2, || expunge(&mut *mailbox, &second).unwrap().is_empty());
    timed("close", count / 2, || mailbox.close().unwrap());
    timed("open again", count / 2, || open(&*driver, &at).unwrap().close().unwrap());
}
