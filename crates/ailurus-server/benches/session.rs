//! What commands cost in the engine: a session over 1,000 messages of realistic mail in memory.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use ailurus_server::imap::Session;
use ailurus_server::{Config, Start};
use ailurus_store::memory::Memory;
use ailurus_testkit::corpus::Corpus;
use ailurus_types::MailboxName;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Instant;

const MESSAGES: u64 = 1000;

fn selected() -> Session {
    let memory = Memory::new();
    let mut corpus = Corpus::new(1);
    for _ in 0..MESSAGES {
        memory.deliver(&MailboxName::inbox(), corpus.message().lf.replace('\n', "\r\n").as_bytes());
    }
    let start = Start::PreAuthenticated { user: "ada".into(), mailboxes: memory.mailboxes() };
    let config = Config::new("mail.example.test", "Ailurus IMAP", "now", "UNKNOWN");
    let mut session = Session::new(config, start, Instant::now());
    command(&mut session, b"s SELECT INBOX\r\n", "s OK");
    session
}

/// Sends a command and takes all of its output, which has to end as it should.
fn command(session: &mut Session, command: &[u8], wanted: &str) {
    let mut rest = command;
    let (mut out, mut last) = (Vec::new(), Vec::new());
    loop {
        rest = &rest[session.handle_input(rest, Instant::now())..];
        let more = session.poll_output(&mut out);
        if !out.is_empty() {
            last.clone_from(&out);
            black_box(&out);
            out.clear();
        }
        if !more && rest.is_empty() {
            break;
        }
    }
    let last = String::from_utf8_lossy(&last);
    let line = last.trim_end().rsplit('\n').next().unwrap_or("");
    assert!(line.starts_with(wanted), "{line}");
}

fn commands(criterion: &mut Criterion) {
    let mut session = selected();
    let mut group = criterion.benchmark_group(format!("{MESSAGES} messages in memory"));
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
    for text in [
        "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)",
        "FETCH 1:* ENVELOPE",
        "FETCH 1:* BODYSTRUCTURE",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]",
        "FETCH 1:* BODY.PEEK[]",
        "SEARCH SUBJECT xyzzyplugh",
        "SEARCH FROM xyzzyplugh",
        "SEARCH TEXT xyzzyplugh",
        "SEARCH CHARSET UTF-8 BODY caf\u{e9}",
    ] {
        let line = match text.split_once("caf") {
            Some((before, _)) => format!("a {before}{{5+}}\r\ncaf\u{e9}\r\n"),
            None => format!("a {text}\r\n"),
        };
        group.bench_function(text, |bencher| bencher.iter(|| command(&mut session, line.as_bytes(), "a OK")));
    }
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
