//! POP3 clients that mean no good, or have too much mail: time and memory are bounded.

mod harness;

use ailurus_server::Signal;
use ailurus_store::memory::Memory;
use ailurus_types::MailboxName;
use harness::{Harness, config};
use std::time::Instant;

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn mailbox(messages: u32) -> Memory {
    let memory = Memory::new();
    for number in 0..messages {
        memory.deliver(&inbox(), format!("Subject: {number}\r\n\r\n").as_bytes());
    }
    memory
}

#[test]
fn a_line_without_end_is_not_kept() {
    let mut harness = Harness::pop3(&Memory::new(), config());
    harness.out.clear();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..1000 {
        assert_eq!(harness.session.handle_input(&piece, harness.now), piece.len());
    }
    harness.send(b"\r\nQUIT\r\n");
    assert_eq!(harness.out, b"-ERR Command line too long\r\n+OK Sayonara\r\n");
}

#[test]
fn a_sasl_response_without_end_fails() {
    let mut harness = Harness::pop3(&Memory::new(), config());
    harness.send(b"AUTH PLAIN\r\n");
    harness.out.clear();
    harness.send(&vec![b'A'; 1_000_000]);
    assert!(harness.out.is_empty());
    harness.send(b"\r\n");
    assert_eq!(harness.out, b"-ERR Bad authentication\r\n");
    // Eight thousand octets are let in.
    harness.out.clear();
    harness.send(b"AUTH PLAIN\r\n");
    harness.out.clear();
    harness.send(&[&vec![b'A'; 8000][..], b"\r\n"].concat());
    assert_eq!(harness.out, b"-ERR Bad authentication\r\n");
}

/// A peer that writes and does not read: what it wrote waits for it, and no more than a little of what it asked for.
#[test]
fn ten_thousand_commands_at_once() {
    let memory = Memory::new();
    memory.deliver(&inbox(), &[&b"Subject: x\r\n\r\n"[..], &b"0123456789abcde\r\n".repeat(10_000)].concat());
    let mut harness = Harness::pop3_logged_in(&memory);
    let input = b"RETR 1\r\n".repeat(10_000);
    let mut offered = 0;
    let mut sent = 0_usize;
    let mut polled = Vec::new();
    for _ in 0..200 {
        // As long as nobody polls, one answer waits and no more is asked for.
        let before = offered;
        for _ in 0..10 {
            offered += harness.session.handle_input(&input[offered..], harness.now);
        }
        assert!(offered - before <= 2 * b"RETR 1\r\n".len(), "{before} {offered}");
        polled.clear();
        harness.session.poll_output(&mut polled);
        assert!(polled.len() <= 256 * 1024, "{}", polled.len());
        sent += polled.len();
    }
    assert!(sent >= 10 * 1024 * 1024 && offered < input.len());
    let start = Instant::now();
    let mut harness = Harness::pop3_logged_in(&mailbox(3));
    harness.send(&b"NOOP\r\n".repeat(10_000));
    assert_eq!(harness.out, b"+OK No-op to you too!\r\n".repeat(10_000));
    assert!(start.elapsed().as_secs() < 20);
}

/// 80 MB, in pieces, whatever their lines are.
#[test]
fn a_large_message() {
    const MIB: usize = 1024 * 1024;
    for (line, size) in
        [(&b"0123456789\r\n"[..], 80 * MIB), (b".\r\n", 4 * MIB), (b"no end at all ", 4 * MIB)]
    {
        let memory = Memory::new();
        let text = line.repeat(size / line.len());
        memory.deliver(&inbox(), &[b"Subject: large\r\n\r\n", &text[..]].concat());
        let mut harness = Harness::pop3_logged_in(&memory);
        let _taken = harness.session.handle_input(b"RETR 1\r\n", harness.now);
        let (mut polled, mut sent, mut end) = (Vec::new(), 0, Vec::new());
        while harness.session.poll_output(&mut polled) {
            assert!(polled.len() <= 256 * 1024, "{}", polled.len());
            sent += polled.len();
            if !polled.is_empty() {
                end = polled[polled.len().saturating_sub(5)..].to_vec();
            }
            polled.clear();
        }
        assert!(sent > size, "{sent}");
        assert!(end.ends_with(b".\r\n"), "{}", end.escape_ascii());
    }
}

#[test]
fn a_hundred_thousand_messages_are_listed_in_pieces() {
    let mut harness = Harness::pop3_logged_in(&mailbox(100_000));
    for command in ["LIST", "UIDL", "STAT"] {
        let _taken = harness.session.handle_input(format!("{command}\r\n").as_bytes(), harness.now);
        let (mut polled, mut sent) = (Vec::new(), 0);
        while harness.session.poll_output(&mut polled) {
            assert!(polled.len() <= 256 * 1024, "{command}: {}", polled.len());
            sent += polled.iter().filter(|octet| **octet == b'\n').count();
            polled.clear();
        }
        assert_eq!(sent, if command == "STAT" { 1 } else { 100_002 }, "{command}");
    }
}

/// What comes in the midst of a message is not taken for a part of it.
#[test]
fn no_farewell_within_a_message() {
    let memory = Memory::new();
    memory.deliver(&inbox(), &[&b"Subject: x\r\n\r\n"[..], &b"0123456789abcde\r\n".repeat(50_000)].concat());
    let mut harness = Harness::pop3_logged_in(&memory);
    let _taken = harness.session.handle_input(b"RETR 1\r\n", harness.now);
    let mut out = Vec::new();
    harness.session.poll_output(&mut out);
    harness.session.handle_signal(Signal::Terminate, harness.now);
    while harness.session.poll_output(&mut out) {}
    assert!(!String::from_utf8_lossy(&out).contains("-ERR"));
}

/// A client's view is the mailbox as it was, whatever it deletes and resets and others do; at QUIT that and no more is done.
#[test]
fn random_sessions() {
    let mut seed = 1_u64;
    let mut roll = move |sides: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % sides
    };
    for round in 0..200 {
        let memory = mailbox(8);
        let mut harness = Harness::pop3_logged_in(&memory);
        let ids: Vec<_> = harness.ask("UIDL")[1..9].to_vec();
        let (mut deleted, mut fetched) = ([false; 8], [false; 8]);
        let mut delivered = 8;
        for _ in 0..roll(30) {
            let number = 1 + roll(9);
            let index = number - 1;
            let there = index < 8 && !deleted[index];
            match roll(8) {
                0 => {
                    let answer = harness.ask(&format!("DELE {number}"));
                    assert_eq!(answer[0].starts_with("+OK"), there, "{round}: {answer:?}");
                    if there {
                        deleted[index] = true;
                    }
                }
                1 | 2 => {
                    let answer = harness.ask(&format!("RETR {number}"));
                    assert_eq!(answer[0].starts_with("+OK"), there, "{round}: {answer:?}");
                    if there {
                        assert_eq!(answer[1], format!("Subject: {index}"));
                        fetched[index] = true;
                    }
                }
                3 => {
                    harness.ask("RSET");
                    (deleted, fetched) = ([false; 8], [false; 8]);
                }
                4 => {
                    memory.deliver(&inbox(), format!("Subject: {delivered}\r\n\r\n").as_bytes());
                    delivered += 1;
                }
                5 => {
                    let left = deleted.iter().filter(|deleted| !**deleted).count();
                    assert!(harness.ask("STAT")[0].starts_with(&format!("+OK {left} ")), "{round}");
                }
                6 => {
                    let told = harness.ask("UIDL");
                    let left = (0..8).filter(|index| !deleted[*index]).map(|index| ids[index].clone());
                    assert_eq!(told[1..told.len() - 1], left.collect::<Vec<_>>(), "{round}");
                }
                _ => {
                    let answer = harness.ask(&format!("TOP {number} {}", roll(3)));
                    assert_eq!(answer[0].starts_with("+OK"), there, "{round}: {answer:?}");
                }
            }
        }
        let quits = roll(2) == 0;
        if quits {
            assert_eq!(harness.ask("QUIT"), ["+OK Sayonara"]);
        } else {
            harness.session.handle_disconnect("gone", harness.now);
            harness.pump();
        }
        let found: Vec<_> = memory.messages(&inbox());
        let subjects: Vec<_> =
            found.iter().map(|(_, text)| String::from_utf8_lossy(text).trim().to_owned()).collect();
        let kept = |index: &usize| *index >= 8 || !quits || !deleted[*index];
        let wanted: Vec<_> = (0..delivered).filter(kept).map(|index| format!("Subject: {index}")).collect();
        assert_eq!(subjects, wanted, "{round}");
        for (info, text) in &found {
            let text = String::from_utf8_lossy(text).trim().to_owned();
            let index: usize = text["Subject: ".len()..].parse().expect("a number");
            let seen = info.flags().system.contains(ailurus_types::SystemFlags::SEEN);
            assert_eq!(seen, quits && index < 8 && fetched[index], "{round}: {text}");
        }
    }
}
