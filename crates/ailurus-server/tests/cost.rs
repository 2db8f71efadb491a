//! What commands cost (DESIGN.md §9), over mailboxes in memory: `cargo test --release --test cost -- --ignored --nocapture`.

mod harness;

use ailurus_store::memory::Memory;
use ailurus_types::MailboxName;
use harness::Harness;
use std::time::{Duration, Instant};

const MESSAGES: u32 = 10_000;

fn memory() -> Memory {
    let memory = Memory::new();
    let line =
        "It is a truth universally acknowledged, that a single man in possession of a good fortune.\r\n";
    let text = line.repeat(60);
    // Conversations of four, and dates in no order.
    for number in 0..MESSAGES {
        let (first, second) = (number / 4 * 4, number * 7919 % 3600);
        let references =
            if number == first { String::new() } else { format!("References: <m{first}@example.test>\r\n") };
        let message = format!(
            "Return-Path: <ada@example.test>\r\nReceived: from mx.example.test by mail.example.test; Mon, 7 Sep 2026 10:00:01 +0000\r\n\
             Date: Mon, 7 Sep 2026 10:{:02}:{:02} +0000\r\nFrom: Carol Example <carol@example.test>\r\nTo: ada@example.test\r\n\
             Subject: Re: Lunch plans for week {first}\r\nMessage-ID: <m{number}@example.test>\r\n{references}MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=US-ASCII\r\n\r\n{text}",
            second / 60,
            second % 60,
        );
        memory.deliver(&MailboxName::inbox(), message.as_bytes());
    }
    memory
}

fn time(harness: &mut Harness, command: &str) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        harness.out.clear();
        let start = Instant::now();
        let _taken = harness.session.handle_input(command.as_bytes(), harness.now);
        let mut out = Vec::new();
        while harness.session.poll_output(&mut out) {
            out.clear();
        }
        best = best.min(start.elapsed());
    }
    best
}

#[test]
#[ignore = "measures"]
fn cost() {
    let mut harness = Harness::preauthenticated(&memory());
    harness.ask("s SELECT INBOX");
    for command in [
        "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)",
        "FETCH 1:* ENVELOPE",
        "FETCH 1:* BODYSTRUCTURE",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]",
        "FETCH 1:* BODY.PEEK[]",
        "SEARCH UNSEEN",
        "SEARCH SUBJECT zyxw",
        "SEARCH FROM zyxw",
        "SEARCH TEXT zyxw",
        "SEARCH BODY \"zy xw\"",
        "SORT (ARRIVAL) UTF-8 ALL",
        "SORT (DATE) UTF-8 ALL",
        "SORT (SUBJECT DATE) UTF-8 ALL",
        "SORT (DISPLAYFROM) UTF-8 ALL",
        "THREAD ORDEREDSUBJECT UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "THREAD REFS UTF-8 ALL",
        "UID STORE 1:* +FLAGS (\\Flagged)",
    ] {
        let time = time(&mut harness, &format!("a {command}\r\n"));
        println!("{:8.3} us a message: {command}", time.as_secs_f64() * 1e6 / f64::from(MESSAGES));
    }
    // The refresh of a mailbox in memory compares all messages, so this is measured with one.
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), b"a: b\r\n\r\nc\r\n");
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("s SELECT INBOX");
    let pipelined: String = (0..1000).map(|number| format!("n{number} NOOP\r\n")).collect();
    let start = Instant::now();
    harness.send(pipelined.as_bytes());
    println!("{:8.3} us: NOOP, pipelined", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    for _ in 0..1000 {
        harness.send(b"n NOOP\r\n");
    }
    println!("{:8.3} us: NOOP, one by one", start.elapsed().as_secs_f64() * 1e3);
}
