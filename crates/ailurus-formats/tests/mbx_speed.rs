//! How fast mbx is, against a plain read of the file: `cargo test --release --test mbx_speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mbx;
use ailurus_formats::disk::{Disk, Os};
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

#[test]
#[ignore = "measures, and takes its time"]
fn figures() {
    let sizes = [(10_000u32, 6000usize), (100_000, 600), (100_000, 6000)];
    let disks: [(&str, Arc<dyn Disk>); 2] =
        [("without syncs", Arc::new(NoSync)), ("with syncs", Os::shared())];
    for ((kind, disk), (count, size)) in
        disks.iter().flat_map(|disk| sizes.iter().map(move |size| (disk, *size)))
    {
        println!("--- {count} messages of {size} octets, {kind}");
        let home = Home::with(disk.clone(), |_| {});
        let (driver, at) = (Mbx::new(home.environment.clone(), home.disk.clone()), home.at_name("box"));
        driver.create(&at).unwrap();
        let mut text = b"Subject: speed\r\nFrom: a@example.com\r\n\r\n".to_vec();
        text.resize(size, b'x');
        timed("append, all as one", count, || {
            let mut append = driver.append(&at).unwrap();
            for _ in 0..count {
                append.begin(AppendMeta { size: size as u64, ..AppendMeta::default() }).unwrap();
                append.write(&text).unwrap();
                append.end().unwrap();
            }
            append.commit().unwrap();
        });
        timed("plain read of the file", count, || {
            let (mut file, mut block) = (std::fs::File::open(home.path("box")).unwrap(), vec![0; 128 * 1024]);
            while file.read(&mut block).unwrap() > 0 {}
        });
        timed("open the first time", count, || open(&driver, &at).unwrap().close().unwrap());
        let mut mailbox = timed("open again", count, || open(&driver, &at).unwrap());
        timed("STATUS", count, || driver.status(&at).unwrap());
        timed("read headers", count, || {
            let mut out = Vec::new();
            for uid in uids_of(&*mailbox) {
                out.clear();
                mailbox.read(support::uid(uid), Extent::Header, 0, 8192, &mut out).unwrap();
            }
        });
        timed("read all", count, || {
            let mut out = Vec::new();
            for uid in uids_of(&*mailbox) {
                out.clear();
                mailbox.read(support::uid(uid), Extent::Whole, 0, 8192, &mut out).unwrap();
            }
        });
        timed("refresh, nothing new, 1 of 1", 1, || mailbox.refresh().unwrap().is_empty());
        let seen = change(FlagOp::Add, SystemFlags::SEEN, &[]);
        timed("store 1:*", count, || store(&mut *mailbox, &UidSet::all(), &seen).unwrap().is_empty());
        let one = change(FlagOp::Add, SystemFlags::FLAGGED, &[]);
        timed("store, one message", 1, || store(&mut *mailbox, &uids(&[5]), &one).unwrap().is_empty());
        for n in 0..3 {
            timed(&format!("append of one small message, {n}"), 1, || {
                append_plain(&driver, &at, b"Subject: x\r\n\r\nx\r\n").unwrap()
            });
        }
        let other =
            driver.open(&at, ailurus_store::Access::ReadWrite, ailurus_store::Manner::Session).unwrap();
        let third: UidSet = (1..=count).step_by(3).map(uid).collect();
        timed("expunge of every third, beside another", count / 3, || {
            expunge(&mut *mailbox, &third).unwrap().is_empty()
        });
        drop(other);
        timed("reclaim of these", count / 3, || mailbox.refresh().unwrap().is_empty());
        let second: UidSet = uids_of(&*mailbox).into_iter().step_by(2).map(uid).collect();
        timed("expunge of every second, alone", count / 3, || {
            expunge(&mut *mailbox, &second).unwrap().is_empty()
        });
        let path = home.path("sync");
        timed("one sync of one written octet", 1, || {
            std::fs::write(&path, b"x").unwrap();
            std::fs::File::open(&path).unwrap().sync_data().unwrap();
        });
    }
}
