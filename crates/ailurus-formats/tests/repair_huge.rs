//! Large mailboxes are looked over and salvaged in bounded memory, and in time that grows with their size alone.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::repair::{Action, Outcome, Workshop};
use ailurus_testkit::faulty::NoSync;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use support::*;

const MOST_MEMORY: u64 = 8 * 1024 * 1024;

/// Returns the most memory that the process had at a time since the last reset, in octets.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Does something, and fails if that takes more memory than records of so many messages need.
fn within_bounds<T>(what: &str, messages: usize, act: impl FnOnce() -> T) -> T {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, begun) = (peak(), Instant::now());
    let outcome = act();
    let taken = peak().saturating_sub(before);
    println!("{what}: {} KiB, {} ms", taken / 1024, begun.elapsed().as_millis());
    let most = MOST_MEMORY + 200 * messages as u64;
    assert!(taken < most, "{what} took {taken} octets");
    outcome
}

/// A message of so many octets or a few more; the lines of its text are 100 octets long.
fn text(number: usize, octets: usize) -> Vec<u8> {
    let mut text = format!("Subject: {number}\r\n\r\n").into_bytes();
    while text.len() < octets {
        text.extend_from_slice(&[b'x'; 98]);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Writes a mailbox of so many mebioctets, of which every thousandth message and one large one are damaged.
fn write(format: &str, home: &Home, mebioctets: usize) -> usize {
    let mut file = std::io::BufWriter::new(std::fs::File::create(home.path("box")).unwrap());
    if format == "mbx" {
        file.write_all(&fixture("mbx/01-created")).unwrap();
    }
    let (mut written, mut number) = (0, 0);
    while written < mebioctets << 20 {
        number += 1;
        let text = text(number, if number == 500 { 20 << 20 } else { 6000 });
        let junk: &[u8] = if number % 1000 == 500 { b"\0\0junk that is of no message" } else { b"" };
        let line = match format {
            "mbx" => format!(" 1-Feb-2025 12:34:56 +0200,{};000000000010-00000000\r\n", text.len()),
            "mtx" => format!(" 1-Feb-2025 12:34:56 +0200,{};000000000020\r\n", text.len()),
            _ if !junk.is_empty() => "Frxm alice@example.com Sat Feb  1 12:34:56 2025\n".into(),
            _ => "From alice@example.com Sat Feb  1 12:34:56 2025\n".into(),
        };
        file.write_all(if format == "unix" { b"" } else { junk }).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        file.write_all(&text).unwrap();
        file.write_all(if format == "unix" { b"\n" } else { b"" }).unwrap();
        written += text.len();
    }
    number
}

#[test]
fn large_mailboxes_are_salvaged_in_bounded_memory() {
    let mebioctets = std::env::var("AILURUS_HUGE").ok().and_then(|size| size.parse().ok()).unwrap_or(48);
    for format in ["mbx", "mtx", "unix"] {
        let home = Home::with(Arc::new(NoSync), |_| {});
        let messages = write(format, &home, mebioctets);
        let workshop = Workshop::new(home.environment.clone(), home.disk.clone());
        let at = home.at_name("box");
        let found =
            within_bounds(&format!("{format}: verify"), messages, || workshop.verify(format, &at).unwrap());
        assert_eq!(found.damaged(), (messages + 500) / 1000, "{format}: {:?}", found.list());
        let show = || workshop.repair(format, &at, Action::Show).unwrap();
        let repaired = within_bounds(&format!("{format}: repair"), messages, show);
        assert_eq!(repaired.outcome, Outcome::Shown);
        let salvaged = home.at_name("box.salvaged");
        assert!(workshop.verify(format, &salvaged).unwrap().damaged() == 0, "{format}");
        let kept = messages - if format == "unix" { found.damaged() } else { 0 };
        let wanted = format!("Messages kept as they were: {kept}.");
        assert!(repaired.notes.contains(&wanted), "{format}: {:?}", repaired.notes);
    }
}

/// Lines that lead nowhere, one behind the other: each claims all that follows.
#[test]
fn hostile_lines_do_not_take_forever() {
    for format in ["mbx", "mtx", "tenex"] {
        let home = Home::with(Arc::new(NoSync), |_| {});
        let mut content = if format == "mbx" { fixture("mbx/01-created") } else { Vec::new() };
        for number in 0..40_000 {
            let size = 100_000_000 + number;
            content.extend(match format {
                "mbx" => format!(" 1-Feb-2025 12:34:56 +0200,{size};000000000010-00000000\r\ntext\r\n")
                    .into_bytes(),
                "mtx" => format!(" 1-Feb-2025 12:34:56 +0200,{size};000000000020\r\ntext\r\n").into_bytes(),
                _ => format!(" 1-Feb-2025 12:34:56 +0200,{size};000000000020\ntext\n").into_bytes(),
            });
        }
        home.put("box", &content);
        let workshop = Workshop::new(home.environment.clone(), home.disk.clone());
        let begun = Instant::now();
        let repaired = workshop.repair(format, &home.at_name("box"), Action::Show).unwrap();
        assert_eq!(repaired.outcome, Outcome::Shown, "{format}");
        assert!(begun.elapsed().as_secs() < 60, "{format}: {:?}", begun.elapsed());
    }
}
