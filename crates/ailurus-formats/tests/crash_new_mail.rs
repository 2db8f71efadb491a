//! New mail whose move is cut off anywhere: killed before or within a change, on a disk that is full or fails, by a
//! power loss. Afterwards every message is in INBOX or in the spool; and in INBOX, once, when the next session has
//! opened it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::Disk;
use ailurus_formats::drivers;
use ailurus_store::{Access, Extent, Mailbox, Mailboxes};
use ailurus_testkit::faulty::{Fault, FaultyDisk, NoSync};
use ailurus_types::MailboxName;
use std::fmt::Write;
use std::sync::Arc;
use support::*;

const MARK: &str = "\u{1}\u{1}\u{1}\u{1}\n";

/// Where from, where to, and how much.
#[derive(Clone, Copy, Debug)]
struct Case {
    inbox: &'static str,
    spool: &'static str,
    sizes: &'static [usize],
}

const CASES: [Case; 14] = [
    Case { inbox: "mbx", spool: "unix", sizes: &[300] },
    Case { inbox: "mbx", spool: "unix", sizes: &[6000, 100, 30_000] },
    Case { inbox: "mbx", spool: "mmdf", sizes: &[100, 9000] },
    Case { inbox: "mbox", spool: "unix", sizes: &[9000] },
    Case { inbox: "mbox", spool: "unix", sizes: &[6000, 100, 30_000] },
    Case { inbox: "mbox", spool: "unix", sizes: &[300_000] },
    Case { inbox: "mh", spool: "unix", sizes: &[300] },
    Case { inbox: "mh", spool: "mmdf", sizes: &[6000, 100, 9000] },
    Case { inbox: "mx", spool: "unix", sizes: &[300] },
    Case { inbox: "mx", spool: "mmdf", sizes: &[6000, 100, 9000] },
    Case { inbox: "mix", spool: "unix", sizes: &[300] },
    Case { inbox: "mix", spool: "mmdf", sizes: &[6000, 100, 9000] },
    Case { inbox: "mtx", spool: "unix", sizes: &[6000, 100, 9000] },
    Case { inbox: "tenex", spool: "unix", sizes: &[6000, 100, 9000] },
];

fn body(number: usize, size: usize) -> String {
    let mut body = format!("From here on it is {number}\n");
    while body.len() < size {
        writeln!(body, "line of message {number} at {}", body.len()).unwrap();
    }
    body
}

fn message(spool: &str, number: usize, size: usize) -> String {
    let line = "From x@example.com Wed Dec  2 05:53:22 1992\n";
    let text = format!("Subject: {number}\n\n{}", body(number, size));
    if spool == "unix" { format!("{line}{text}\n") } else { format!("{MARK}{line}{text}{MARK}") }
}

fn home_in(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let locks = directory.path().join("locks");
    Home::at(directory, disk, |environment| {
        environment.lock_dir = locks;
        environment.kiss_tries = 1;
        // Which it is only where there is a profile.
        environment.mh_allow_inbox = true;
        // The dead hold no locks.
        environment.dot_lock_timeout = 0;
    })
}

/// A home on a disk that never fails, and waits for nothing.
fn well(directory: tempfile::TempDir) -> Home {
    home_in(directory, Arc::new(NoSync))
}

fn mailboxes(home: &Home) -> Mailboxes {
    Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk))
}

fn select(home: &Home) -> ailurus_store::Result<Box<dyn Mailbox>> {
    mailboxes(home).select(&MailboxName::inbox(), Access::ReadWrite)
}

/// A home with an INBOX that has a message numbered 100, and a spool that has some.
fn prepare(case: Case) -> Home {
    let home = well(tempfile::tempdir().unwrap());
    std::fs::create_dir(home.path("locks")).unwrap();
    if case.inbox == "mh" {
        home.put(".mh_profile", b"Path: Mail\n");
        std::fs::create_dir_all(home.path("Mail/inbox")).unwrap();
    } else {
        mailboxes(&home).create(&format!("#driver.{}/INBOX", case.inbox).as_str().into()).unwrap();
    }
    home.put("spool", message(case.spool, 100, 50).as_bytes());
    select(&home).unwrap().close().unwrap();
    let spool: String =
        case.sizes.iter().enumerate().map(|(number, size)| message(case.spool, number, *size)).collect();
    home.put("spool", spool.as_bytes());
    home
}

/// What is in an open INBOX: number and text, in order.
fn found(mailbox: &mut dyn Mailbox) -> Vec<(String, String)> {
    let uids: Vec<_> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    let mut part = |uid, extent| {
        let text = read_all(mailbox, uid, extent, 10_000).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    uids.into_iter().map(|uid| (part(uid, Extent::Header), part(uid, Extent::Text))).collect()
}

fn wanted(number: usize, size: usize) -> (String, String) {
    (format!("Subject: {number}\r\n\r\n"), body(number, size).replace('\n', "\r\n"))
}

/// What a session does: opens INBOX, looks again, closes. Returns what it saw.
fn session(home: &Home) -> ailurus_store::Result<Vec<(String, String)>> {
    let mut mailbox = select(home)?;
    drop(mailbox.refresh()?);
    let seen = found(mailbox.as_mut());
    mailbox.close()?;
    Ok(seen)
}

/// Runs a session with a fault, and checks what the next one finds. Returns how many changes there were.
fn survive(case: Case, fault: Fault, power_loss: Option<u64>, delivery: bool) -> usize {
    let what = format!("{case:?} {fault:?} {power_loss:?}");
    let home = prepare(case);
    let disk = FaultyDisk::new(home.directory.path(), fault);
    // A process is killed at the end of a page; within one it is torn for the sake of the parser.
    let disk = Arc::new(if matches!(fault, Fault::TearAt(_)) { disk } else { disk.by_pages() });
    let home = home_in(home.directory, disk.clone());
    let seen = session(&home);
    if let Some(seed) = power_loss {
        disk.lose_power(seed);
    }
    let home = well(home.directory);
    let mut numbers: Vec<(usize, usize)> = case.sizes.iter().copied().enumerate().collect();
    let told = mailboxes(&home).status(&MailboxName::inbox()).map(|status| status.messages as usize);
    if delivery {
        // Nobody of ours has looked since.
        let mut spool = std::fs::read(home.path("spool")).unwrap();
        spool.extend_from_slice(message(case.spool, 7, 200).as_bytes());
        home.put("spool", &spool);
        numbers.push((7, 200));
    }
    let after = match session(&home) {
        Ok(after) => after,
        Err(error) => panic!("{what}: {error}"),
    };
    let mut all = vec![wanted(100, 50)];
    all.extend(numbers.iter().map(|(number, size)| wanted(*number, *size)));
    let heads = |messages: &[(String, String)]| {
        messages.iter().map(|(head, text)| format!("{} {}", head.trim_end(), text.len())).collect::<Vec<_>>()
    };
    let mut shown = after.clone();
    if case.inbox == "mbox" && power_loss.is_some() && shown[0].1.starts_with(&all[0].1) {
        // One message goes to a traditional mailbox without a journal. A power loss can keep its last page and lose
        // its first: then NULs and the rest are at the end of the message before.
        shown[0] = all[0].clone();
    }
    if case.inbox == "mbox" && power_loss.is_some() {
        // Or its first pages are there, and not all of the others: more than was moved is no loss.
        let is_whole = |message: &(String, String)| all.contains(message);
        let is_torn = |message: &(String, String)| {
            let whole = all.iter().find(|(header, _)| *header == message.0);
            whole.is_some_and(|(_, text)| message.1.len() < text.len() || message.1.contains('\0'))
        };
        shown.retain(|message| is_whole(message) || !is_torn(message));
    }
    assert!(shown == all, "{what}: {:?} {:?}", heads(&after), home.notices());
    if fault == Fault::None {
        assert!(seen.unwrap() == after);
    }
    // STATUS repairs nothing: in mbox it counts a torn message, of a torn mbx file it says nothing.
    if let (Ok(told), None, "mbx") = (told, power_loss, case.inbox) {
        assert_eq!(told, case.sizes.len() + 1, "{what}");
    }
    let spool = String::from_utf8_lossy(&home.get("spool")).into_owned();
    assert!(
        spool.is_empty() || spool.contains("DON'T DELETE") && !spool.contains("line of"),
        "{what}: {spool}"
    );
    assert!(!home.path(".ailurus-new-mail").exists(), "{what}");
    assert!(session(&home).unwrap() == after, "{what}: the next session");
    disk.changes()
}

fn cut_everywhere(case: Case) {
    let long = std::env::var_os("AILURUS_LONG").is_some();
    let seeds = if long { 20 } else { 2 };
    let total: usize = case.sizes.iter().sum();
    let step = if total > 100_000 && !long { 3 } else { 1 };
    let changes = survive(case, Fault::None, None, false);
    assert!(changes > 10, "{changes}");
    let mut number = 0;
    while number < changes {
        let delivery = number % 2 == 1;
        survive(case, Fault::KillBefore(number), None, delivery);
        for seed in 0..seeds {
            survive(case, Fault::KillBefore(number), Some(number as u64 * 101 + seed), !delivery);
        }
        // Every page is a change: not all of them, where there are many.
        number += if long { 1 } else { step + number / 20 };
    }
    for number in (0..60).step_by(step) {
        survive(case, Fault::TearAt(number), None, number % 2 == 0);
    }
    for number in 0..8 {
        survive(case, Fault::DirSyncFails(number), None, false);
        survive(case, Fault::DirSyncFails(number), Some(number as u64), true);
    }
    for number in 0..16 {
        survive(case, Fault::SyncFails(number), None, false);
        survive(case, Fault::SyncFails(number), Some(number as u64), true);
    }
    for room in (0..total * 3 + 8000).step_by(step * (total / 12 + 300)) {
        survive(case, Fault::FullAfter(room as u64), None, false);
    }
}

#[test]
fn one_message_to_mbx() {
    cut_everywhere(CASES[0]);
}

#[test]
fn some_messages_to_mbx() {
    cut_everywhere(CASES[1]);
}

#[test]
fn messages_of_mmdf_format_to_mbx() {
    cut_everywhere(CASES[2]);
}

#[test]
fn one_message_to_mbox() {
    cut_everywhere(CASES[3]);
}

#[test]
fn some_messages_to_mbox() {
    cut_everywhere(CASES[4]);
}

#[test]
fn a_large_message_to_mbox() {
    cut_everywhere(CASES[5]);
}

#[test]
fn one_message_to_mh() {
    cut_everywhere(CASES[6]);
}

#[test]
fn some_messages_to_mh() {
    cut_everywhere(CASES[7]);
}

#[test]
fn one_message_to_mx() {
    cut_everywhere(CASES[8]);
}

#[test]
fn some_messages_to_mx() {
    cut_everywhere(CASES[9]);
}

#[test]
fn one_message_to_mix() {
    cut_everywhere(CASES[10]);
}

#[test]
fn some_messages_to_mix() {
    cut_everywhere(CASES[11]);
}

#[test]
fn some_messages_to_mtx() {
    cut_everywhere(CASES[12]);
}

#[test]
fn some_messages_to_tenex() {
    cut_everywhere(CASES[13]);
}

/// A move to one INBOX is cut off, and another one is opened next: each message is in one of them. Returns how many
/// changes there were.
fn survive_beside(case: Case, names: [&str; 2], fault: Fault, is_deleted: bool) -> usize {
    let what = format!("{case:?} {names:?} {fault:?}");
    let home = prepare(case);
    home.put(".mh_profile", b"Path: Mail\n");
    std::fs::create_dir_all(home.path("Mail/inbox")).unwrap();
    let disk = Arc::new(FaultyDisk::new(home.directory.path(), fault).by_pages());
    let home = home_in(home.directory, disk.clone());
    let open = |home: &Home, name: &str| mailboxes(home).select(&name.into(), Access::ReadWrite);
    open(&home, names[0]).and_then(|mailbox| mailbox.close()).ok();
    let home = well(home.directory);
    if is_deleted {
        std::fs::remove_dir_all(home.path("Mail/inbox")).unwrap();
    }
    let told = mailboxes(&home).status(&names[1].into()).unwrap().messages as usize;
    let mut all = Vec::new();
    for name in [names[1], names[0], names[1]] {
        match open(&home, name) {
            Ok(mut mailbox) => all.push(found(mailbox.as_mut())),
            Err(_) => assert!(is_deleted),
        }
    }
    let last = all.pop().unwrap();
    assert!(last == all[0], "{what}");
    // What mh and mix have on the way is not repaired by STATUS.
    assert!(told == last.len() || (names[0], case.inbox) != ("INBOX", "mbx"), "{what}: {told}");
    let mut all = all.concat();
    all.sort();
    let sizes = case.sizes.iter().copied().enumerate().filter(|_| !is_deleted || !last.is_empty());
    let mut expected: Vec<_> = sizes.map(|(number, size)| wanted(number, size)).collect();
    expected.push(wanted(100, 50));
    expected.sort();
    let heads =
        |messages: &[(String, String)]| messages.iter().map(|(head, _)| head.clone()).collect::<Vec<_>>();
    if !(is_deleted && last.len() == 1) {
        assert!(all == expected, "{what}: {:?} {:?}", heads(&all), home.notices());
    }
    assert!(!home.path(".ailurus-new-mail").exists(), "{what}");
    disk.changes()
}

#[test]
fn a_move_to_another_inbox_is_finished_first() {
    for (case, names) in [
        (CASES[1], ["INBOX", "#mhinbox"]),
        (CASES[11], ["INBOX", "#mhinbox"]),
        (CASES[1], ["#mhinbox", "INBOX"]),
        (CASES[4], ["#mhinbox", "inbox"]),
    ] {
        let changes = survive_beside(case, names, Fault::None, false);
        assert!(changes > 10, "{changes}");
        for number in 0..changes {
            survive_beside(case, names, Fault::KillBefore(number), false);
            if names[0] != "INBOX" {
                survive_beside(case, names, Fault::KillBefore(number), true);
            }
        }
    }
}
