//! Sessions in several processes at once.

use super::Format;
use super::home::{Home, show, uids};
use super::process::{Process, numbers, split};
use ailurus_types::SystemFlags;

pub(super) fn each_message_of_ten_processes_arrives_once(format: &'static Format) {
    const EACH: usize = 3;
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.create();
    let mut processes: Vec<_> = (0..10).map(|_| Process::start(&home)).collect();
    let mut told = Vec::new();
    for round in 0..EACH {
        for (who, process) in processes.iter_mut().enumerate() {
            process.send(&format!("append {} 2", who * 100 + round * 2));
        }
        for (who, process) in processes.iter_mut().enumerate() {
            let answer = process.answer();
            let uids = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{answer}"));
            if uids != "untold" {
                let uids = split(uids);
                assert_eq!(uids.len(), 2);
                told.extend(uids.into_iter().enumerate().map(|(n, uid)| (uid, who * 100 + round * 2 + n)));
            }
        }
    }
    let mut mailbox = home.open();
    let found: Vec<_> =
        uids(&*mailbox).into_iter().map(|uid| uid as usize).zip(numbers(&mut *mailbox)).collect();
    let mut arrived: Vec<_> = found.iter().map(|(_, number)| *number).collect();
    arrived.sort_unstable();
    let wanted: Vec<_> = (0..10).flat_map(|who| (0..2 * EACH).map(move |n| who * 100 + n)).collect();
    assert_eq!(arrived, wanted);
    for pair in told {
        assert!(found.contains(&pair), "UID {} was told of message {}", pair.0, pair.1);
    }
}

pub(super) fn a_reader_of_another_process_sees_whole_messages(format: &'static Format) {
    let home = Home::filled(format, 12);
    if home.abilities().read_only {
        return;
    }
    let milliseconds = if super::long() { 20_000 } else { 600 };
    let mut readers = [Process::start(&home), Process::start(&home)];
    let mut writer = Process::start(&home);
    assert_eq!(writer.ok("open rw"), "writable");
    readers[0].ok("open ro");
    // Elsewhere the writer would have to give way.
    readers[1].ok(if home.abilities().shared_access { "open rw" } else { "open ro" });
    for reader in &mut readers {
        reader.send(&format!("read {milliseconds}"));
    }
    let until = std::time::Instant::now() + std::time::Duration::from_millis(milliseconds - 50);
    let (mut number, mut first, mut steps) = (12, 1, 0);
    while std::time::Instant::now() < until {
        number += 1;
        steps += 1;
        writer.ok(&format!("append {number} 1"));
        writer.ok("refresh");
        // Each moves what comes after it.
        let gone = writer.ask(&format!("expunge {first}"));
        assert!(gone.starts_with("ok") || gone.contains("InUse"), "{gone}");
        first += usize::from(gone.starts_with("ok"));
        writer.ok(&format!("store {} kw{}", first + 3, steps % 20));
    }
    for reader in &mut readers {
        let answer = reader.answer();
        let read = answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{answer}"));
        assert!(split(read)[0] > 0, "{read}");
    }
    assert!(steps > 2, "the writer had {steps} turns");
}

pub(super) fn processes_at_work_lose_nothing(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.create();
    let (rounds, steps) = if super::long() { (10, 30) } else { (1, 12) };
    let mut wanted = Vec::new();
    for round in 0..rounds {
        let mut processes: Vec<_> = (0..3).map(|_| Process::start(&home)).collect();
        for (n, process) in processes.iter_mut().enumerate() {
            let who = 1 + round * 3 + n;
            process.send(&format!("alone {who} {} {steps}", who * 7919));
        }
        for process in &mut processes {
            let answer = process.answer();
            let mine = answer.strip_prefix("ok").unwrap_or_else(|| panic!("round {round}: {answer}"));
            wanted.extend(split(mine));
        }
        drop(processes);
        let mut mailbox = home.open();
        let mut found = numbers(&mut *mailbox);
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "round {round}");
        mailbox.close().unwrap();
    }
}

/// Of two sessions that cannot both write, the older one saves what it has and goes.
pub(super) fn a_session_gives_way_to_a_newer_one(format: &'static Format) {
    let home = Home::filled(format, 2);
    if home.abilities().shared_access || home.abilities().read_only {
        return;
    }
    let (mut old, mut new) = (Process::start(&home), Process::start(&home));
    assert_eq!(old.ok("open rw"), "writable");
    old.ok("unsaved 2 \\Flagged");
    assert_eq!(new.ok("open rw"), "writable");
    assert!(old.ask("refresh").contains("gave way"));
    new.ok("close");
    assert_eq!(home.show()[1].system, SystemFlags::FLAGGED);
}

pub(super) fn a_killed_session_is_in_nobodys_way(format: &'static Format) {
    let home = Home::filled(format, 3);
    let (mut one, mut two) = (Process::start(&home), Process::start(&home));
    one.ok("open rw");
    one.ok("unsaved 1 \\Seen");
    two.ok("open ro");
    one.kill();
    two.ok("refresh");
    two.kill();
    let mut mailbox = home.open();
    assert!(mailbox.snapshot().writable || home.abilities().read_only);
    assert_eq!(show(&mut *mailbox).len(), 3);
    mailbox.close().unwrap();
    assert_eq!(home.warnings(), Vec::<String>::new());
}
