//! What mailboxes of both formats cost: 2,000 messages of realistic mail in a scratch directory.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use ailurus_formats::disk::Os;
use ailurus_store::{Access, Driver, Environment, Extent, Location, Mailbox, Manner, Place};
use ailurus_testkit::corpus;
use ailurus_types::{FlagChange, FlagOp, SystemFlags, UidSet};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

const MESSAGES: usize = 2000;

/// A mailbox that every measurement finds as it was delivered.
struct Bench {
    _home: tempfile::TempDir,
    file: PathBuf,
    content: Vec<u8>,
    driver: Arc<dyn Driver>,
}

impl Bench {
    fn new(format: &str) -> Self {
        let mut content = Vec::new();
        let written = match format {
            "unix" => corpus::write_mbox(&mut content, 1, MESSAGES),
            _ => corpus::write_mbx(&mut content, 1, MESSAGES),
        };
        written.expect("memory takes it");
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().to_path_buf();
        let mut environment = Environment::new("bench", path.clone(), path.join("spool"), "mail.example.com");
        environment.lock_dir = path.clone();
        let drivers = ailurus_formats::drivers(&Arc::new(environment), &Os::shared());
        let driver = drivers.into_iter().find(|driver| driver.name() == format).expect("the format is there");
        let bench = Self { _home: home, file: path.join("box"), content, driver };
        bench.restore();
        bench
    }

    fn restore(&self) {
        fs::write(&self.file, &self.content).expect("room for the mailbox");
    }

    fn open(&self, access: Access) -> Box<dyn Mailbox> {
        let at = Location { name: "box".into(), place: Place::Path(self.file.clone()) };
        self.driver.open(&at, access, Manner::Silent).expect("it is good")
    }

    fn restored(&self) -> Box<dyn Mailbox> {
        self.restore();
        self.open(Access::ReadWrite)
    }
}

fn mailboxes(criterion: &mut Criterion) {
    for format in ["unix", "mbx"] {
        let bench = Bench::new(format);
        let mut group = criterion.benchmark_group(format!("{format}, {MESSAGES} messages"));
        group.throughput(Throughput::Elements(MESSAGES as u64)).sample_size(10);
        group.bench_function("open", |bencher| {
            bencher.iter(|| black_box(bench.open(Access::ReadOnly).snapshot().messages.len()));
        });
        group.bench_function("read all", |bencher| {
            let mut mailbox = bench.open(Access::ReadOnly);
            let uids: Vec<_> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
            let mut text = Vec::new();
            bencher.iter(|| {
                for uid in &uids {
                    text.clear();
                    while mailbox
                        .read(*uid, Extent::Whole, text.len() as u64, 1 << 16, &mut text)
                        .expect("it is there")
                        > 0
                    {}
                    black_box(&text);
                }
            });
        });
        group.bench_function("flag all, close", |bencher| {
            let change = FlagChange { op: FlagOp::Add, system: SystemFlags::FLAGGED, keywords: Vec::new() };
            let flag = |mut mailbox: Box<dyn Mailbox>| {
                let mut edit = mailbox.edit().expect("nobody else has it");
                edit.store(&UidSet::all(), &change).expect("they are there");
                drop(edit.commit().expect("room on the disk"));
                mailbox.close().expect("room on the disk");
            };
            bencher.iter_batched(|| bench.restored(), flag, BatchSize::PerIteration);
        });
        group.bench_function("expunge every second", |bencher| {
            let expunge = |mut mailbox: Box<dyn Mailbox>| {
                let half: UidSet =
                    mailbox.snapshot().messages.iter().step_by(2).map(|message| message.uid()).collect();
                let mut edit = mailbox.edit().expect("nobody else has it");
                edit.expunge(&half).expect("they are there");
                drop(edit.commit().expect("room on the disk"));
                mailbox.close().expect("room on the disk");
            };
            bencher.iter_batched(|| bench.restored(), expunge, BatchSize::PerIteration);
        });
        group.finish();
    }
}

criterion_group!(benches, mailboxes);
criterion_main!(benches);
