//! Several sessions on one mx mailbox: ours and the reference's; damage.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::{Mx, drivers};
use ailurus_store::{Access, AppendMeta, Claim, Driver, Error, Extent, Mailbox, Mailboxes, Manner};
use ailurus_types::{FlagOp, Keyword, SystemFlags, UidSet};
use session::set_times;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use support::*;

struct Box_ {
    home: Home,
    driver: Mx,
}

impl Box_ {
    fn filled(count: u32) -> Self {
        let home = Home::new();
        let driver = Mx::new(home.environment.clone(), home.disk.clone());
        let this = Self { home, driver };
        this.driver.create(&this.at()).unwrap();
        for n in 1..=count {
            this.append(n);
        }
        this
    }

    fn at(&self) -> ailurus_store::Location {
        self.home.at_name("box")
    }

    fn open(&self) -> Box<dyn Mailbox> {
        open(&self.driver, &self.at()).unwrap()
    }

    fn append(&self, n: u32) -> u32 {
        append_plain(&self.driver, &self.at(), text(n).as_bytes()).unwrap().uids.unwrap().1[0].get()
    }

    fn file(&self, name: impl ToString) -> PathBuf {
        self.home.path("box").join(name.to_string())
    }

    /// Puts message n there as another program does.
    fn deliver(&self, number: u32, n: u32) {
        fs::write(self.file(number), text(n)).unwrap();
        set_times(&self.file(number), NOW - 1000, NOW - 1000);
    }

    fn index(&self) -> String {
        fs::read_to_string(self.file(".mxindex")).unwrap()
    }
}

fn text(n: u32) -> String {
    format!("Subject: {n}\r\n\r\nbody {n}\r\n")
}

/// Returns which message has which UID.
fn contents(mailbox: &mut dyn Mailbox) -> BTreeMap<u32, u32> {
    let mut contents = BTreeMap::new();
    for number in uids_of(mailbox) {
        let whole = read_all(mailbox, uid(number), Extent::Whole, 1000).unwrap();
        let whole = String::from_utf8(whole).unwrap();
        let n = whole.lines().next().unwrap().strip_prefix("Subject: ").unwrap().parse().unwrap();
        assert_eq!(whole, text(n));
        contents.insert(number, n);
    }
    contents
}

fn same(numbers: &[u32]) -> BTreeMap<u32, u32> {
    numbers.iter().map(|number| (*number, *number)).collect()
}

#[test]
fn flags_set_and_removed_show_in_other_sessions() {
    let mailbox = Box_::filled(3);
    let mut sessions: Vec<_> = (0..3).map(|_| mailbox.open()).collect();
    for round in 0..40u32 {
        let (writer, op) = (round as usize % 3, if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove });
        let set = uids(&[round % 3 + 1]);
        let by = change(op, SystemFlags::FLAGGED, if round == 20 { &["Late"] } else { &[] });
        let changes = store(&mut *sessions[writer], &set, &by).unwrap();
        let expected = if changes.flags.is_empty() { UidSet::new() } else { set };
        for (other, session) in sessions.iter_mut().enumerate().filter(|(other, _)| *other != writer) {
            let changes = session.refresh().unwrap();
            assert_eq!(
                (changes.flags, changes.keywords),
                (expected.clone(), round == 20),
                "{round}, {other}"
            );
        }
        let shown: Vec<_> = sessions.iter().map(|session| show(&**session)).collect();
        assert!(shown.iter().all(|lines| *lines == shown[0]), "{shown:?}");
    }
    let shown = show(&*sessions[0]);
    drop(sessions);
    assert_eq!(show(&*mailbox.open()), shown);
}

#[test]
fn messages_that_come_and_go_are_noticed() {
    let mailbox = Box_::filled(3);
    let (mut a, mut b) = (mailbox.open(), mailbox.open());
    fs::remove_file(mailbox.file(2)).unwrap();
    mailbox.deliver(7, 7);
    for session in [&mut a, &mut b] {
        let changes = session.refresh().unwrap();
        assert!(changes.arrived);
        assert_eq!(changes.expunged, uids(&[2]));
        assert_eq!(contents(&mut **session), same(&[1, 3, 7]));
    }
    let recent = |mailbox: &dyn Mailbox| mailbox.snapshot().messages.last().unwrap().is_recent();
    assert_eq!((recent(&*a), recent(&*b)), (true, false));
    assert!(mailbox.index().starts_with("V67c2f6c0L00000007M00000001;00000000.0000M00000003;"));
    assert_eq!(mailbox.append(8), 8, "no UID below that of a message");
    assert_eq!(expunge(&mut *a, &uids(&[7, 8])).unwrap().expunged, uids(&[7, 8]));
    assert_eq!(b.refresh().unwrap().expunged, uids(&[7]));
    assert_eq!(mailbox.append(9), 9, "no UID of a message that was");
    assert_eq!(contents(&mut *mailbox.open()), BTreeMap::from([(1, 1), (3, 3), (9, 9)]));
}

#[test]
fn flags_that_another_program_forgot_are_written_again() {
    let mailbox = Box_::filled(2);
    let mut session = mailbox.open();
    drop(store(&mut *session, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"])).unwrap());
    let good = mailbox.index();
    // The reference had the mailbox open with one message, and wrote what it knew.
    fs::write(mailbox.file(".mxindex"), good.split("M00000002").next().unwrap()).unwrap();
    let changes = session.refresh().unwrap();
    assert!(changes.flags.is_empty() && changes.expunged.is_empty());
    assert_eq!(mailbox.index(), good);
}

#[test]
fn an_index_of_no_octets_gets_a_new_uidvalidity() {
    let mailbox = Box_::filled(2);
    let mut session = mailbox.open();
    drop(store(&mut *session, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &[])).unwrap());
    let validity = session.snapshot().uid_validity;
    fs::write(mailbox.file(".mxindex"), "").unwrap();
    assert!(session.refresh().unwrap().uid_validity);
    assert!(session.snapshot().uid_validity > validity);
    let validity = session.snapshot().uid_validity;
    assert_eq!(mailbox.open().snapshot().uid_validity, validity);
    assert!(mailbox.open().snapshot().messages[1].flags().system.contains(SystemFlags::FLAGGED));
    // EXAMINE alone keeps it, too.
    fs::write(mailbox.file(".mxindex"), "").unwrap();
    let examine = || mailbox.driver.open(&mailbox.at(), Access::ReadOnly, Manner::Session).unwrap();
    assert!(mailbox.index().is_empty());
    drop(examine());
    assert!(mailbox.index().starts_with("V67c2f6c0L00000002"));
    fs::write(mailbox.file(".mxindex"), "").unwrap();
    assert_eq!(mailbox.append(3), 3);
}

#[test]
fn who_only_reads_writes_nothing() {
    let mailbox = Box_::filled(2);
    mailbox.deliver(5, 5);
    let before = mailbox.index();
    let mut examine = mailbox.driver.open(&mailbox.at(), Access::ReadOnly, Manner::Session).unwrap();
    assert!(matches!(examine.edit().err(), Some(Error::ReadOnly { .. })));
    let status = mailbox.driver.status(&mailbox.at()).unwrap();
    assert_eq!((status.messages, status.recent, status.unseen, status.uid_next), (3, 1, 3, Some(uid(6))));
    assert_eq!(contents(&mut *examine), same(&[1, 2, 5]));
    assert_eq!(mailbox.index(), before);
}

#[test]
fn an_edit_that_is_dropped_changes_nothing() {
    let mailbox = Box_::filled(2);
    let mut session = mailbox.open();
    let before = (mailbox.index(), show(&*session));
    let mut edit = session.edit().unwrap();
    edit.store(&UidSet::all(), &change(FlagOp::Replace, SystemFlags::ALL, &["new"])).unwrap();
    edit.expunge(&UidSet::all()).unwrap();
    drop(edit);
    assert_eq!((mailbox.index(), show(&*session)), before);
    assert!(session.refresh().unwrap().is_empty());
}

#[test]
fn keywords_stop_at_thirty() {
    let mailbox = Box_::filled(1);
    let mut session = mailbox.open();
    let names: Vec<_> = (0..32).map(|n| format!("kw{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut edit = session.edit().unwrap();
    let refused = edit.store(&UidSet::all(), &change(FlagOp::Add, SystemFlags::NONE, &names)).unwrap();
    assert_eq!(refused.iter().map(Keyword::as_str).collect::<Vec<_>>(), ["kw30", "kw31"]);
    drop(edit.commit().unwrap());
    assert_eq!(mailbox.open().snapshot().messages[0].flags().keywords.0, (1 << 30) - 1);
}

#[test]
fn no_damage_of_the_index_is_an_error_or_loses_a_message() {
    let mailbox = Box_::filled(3);
    let mut session = mailbox.open();
    drop(store(&mut *session, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"])).unwrap());
    session.close().unwrap();
    let good = fs::read(mailbox.file(".mxindex")).unwrap();
    let check = |content: &[u8]| {
        fs::write(mailbox.file(".mxindex"), content).unwrap();
        let mut session = mailbox.open();
        assert_eq!(contents(&mut *session), same(&[1, 2, 3]));
        assert!(session.snapshot().uid_next.is_none_or(|next| next >= uid(4)));
    };
    for at in 0..good.len() {
        check(&good[..at]);
        for bit in [1, 0x40] {
            let mut flipped = good.clone();
            flipped[at] ^= bit;
            check(&flipped);
        }
    }
    // The reference drops all that follows the first octet that it does not know.
    let text = String::from_utf8(good).unwrap().replace("M00000001", "?M00000001");
    fs::write(mailbox.file(".mxindex"), &text).unwrap();
    drop(mailbox.home.notices());
    assert!(mailbox.open().snapshot().messages[1].flags().keywords.has(0));
    assert!(mailbox.home.notices().iter().any(|told| told.starts_with("Error in index: ?M00000001;")));
    assert!(!mailbox.index().contains('?'));
}

#[test]
fn what_only_looks_like_a_message_is_passed_over() {
    let mailbox = Box_::filled(1);
    rustix::fs::mkfifoat(rustix::fs::CWD, mailbox.file(12), rustix::fs::Mode::RWXU).unwrap();
    fs::create_dir(mailbox.file(13)).unwrap();
    std::os::unix::fs::symlink("nowhere", mailbox.file(14)).unwrap();
    fs::write(mailbox.file("4294967296"), "x").unwrap();
    fs::write(mailbox.file("007"), "x").unwrap();
    let mut session = mailbox.open();
    assert_eq!(contents(&mut *session), same(&[1]));
    mailbox.deliver(u32::MAX, 2);
    drop(session.refresh().unwrap());
    assert_eq!(contents(&mut *session), BTreeMap::from([(1, 1), (u32::MAX, 2)]));
    assert_eq!(session.snapshot().uid_next, None);
    assert!(append_plain(&mailbox.driver, &mailbox.at(), b"x").is_err());
    fs::remove_file(mailbox.file(".mxindex")).unwrap();
    fs::create_dir(mailbox.file(".mxindex")).unwrap();
    assert!(matches!(mailbox.driver.probe(&mailbox.at()).unwrap(), Claim::No(_)));
}

#[test]
fn a_number_that_is_taken_is_passed_over() {
    let mailbox = Box_::filled(1);
    mailbox.deliver(2, 50);
    let texts = [text(3), text(4)];
    let all: Vec<_> = texts
        .iter()
        .map(|text| (meta(SystemFlags::FLAGGED, " 1-Feb-2025 12:34:56 +0200"), text.as_bytes()))
        .collect();
    let (_, uids) = append(&mailbox.driver, &mailbox.at(), &all).unwrap().uids.unwrap();
    assert_eq!(uids, [uid(3), uid(4)]);
    let mut session = mailbox.open();
    assert_eq!(contents(&mut *session), BTreeMap::from([(1, 1), (2, 50), (3, 3), (4, 4)]));
    let flagged: Vec<_> =
        session.snapshot().messages.iter().map(|m| m.flags().system.contains(SystemFlags::FLAGGED)).collect();
    assert_eq!(flagged, [false, false, true, true]);
}

#[test]
fn mailboxes_are_made_renamed_and_deleted() {
    let home = Home::new();
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    let create = |name: &str| mailboxes.create(&name.into());
    assert_eq!(
        create("#driver.mx/a/12").unwrap_err().to_string(),
        "Can't create mailbox a/12: invalid MX-format name"
    );
    create("#driver.mx/a/b").unwrap();
    create("#driver.mx/a").unwrap();
    assert!(matches!(create("#driver.mx/a"), Err(Error::AlreadyExists(_))));
    let select = |name: &str| mailboxes.select(&name.into(), Access::ReadWrite);
    assert_eq!((select("a").unwrap().driver(), select("a/b").unwrap().driver()), ("mx", "mx"));
    let mut append = mailboxes.append(&"a".into()).unwrap();
    append.begin(AppendMeta { size: 4, ..AppendMeta::default() }).unwrap();
    append.write(b"a\r\nb").unwrap();
    append.end().unwrap();
    append.commit().unwrap();
    let list = |pattern: &str| {
        let mut found = Vec::new();
        let mut take = |listed: ailurus_store::Listed| {
            found.push(format!(
                "{} {:?}",
                String::from_utf8_lossy(&listed.name),
                listed.attributes.names().collect::<Vec<_>>()
            ));
        };
        mailboxes.list(b"", pattern.as_bytes(), &mut take).unwrap();
        found.sort();
        found
    };
    assert_eq!(list("a*"), ["a [\"\\\\HasChildren\"]", "a/b [\"\\\\HasNoChildren\"]"]);
    mailboxes.rename(&"a".into(), &"c".into()).unwrap();
    assert_eq!(select("c").unwrap().snapshot().messages.len(), 1);
    assert_eq!(
        mailboxes.rename(&"c".into(), &"d/1".into()).unwrap_err().to_string(),
        "Can't rename to mailbox d/1: invalid MX-format name"
    );
    mailboxes.delete(&"c".into()).unwrap();
    assert!(home.path("c/b").is_dir() && !home.path("c/.mxindex").exists());
    assert!(home.notices().iter().any(|text| text.starts_with("Can't delete name c: ")));
    mailboxes.delete(&"c/b".into()).unwrap();
    assert!(!home.path("c/b").exists());
}

#[test]
fn an_inbox_is_made_by_an_append_and_stays_when_it_is_renamed() {
    let home = Home::new();
    let driver = Mx::new(home.environment.clone(), home.disk.clone());
    let inbox = home.at_name("INBOX");
    assert_eq!(driver.probe(&inbox).unwrap(), Claim::Empty);
    for n in 1..=2 {
        append_plain(&driver, &inbox, text(n).as_bytes()).unwrap();
    }
    assert_eq!(driver.probe(&inbox).unwrap(), Claim::Valid);
    driver.rename(&inbox, &home.at_name("old")).unwrap();
    assert_eq!(contents(&mut *open(&driver, &home.at_name("old")).unwrap()), same(&[1, 2]));
    assert!(open(&driver, &inbox).unwrap().snapshot().messages.is_empty());
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    assert_eq!(mailboxes.select(&"INBOX".into(), Access::ReadWrite).unwrap().driver(), "mx");
}

#[test]
fn the_reference_works_on_our_mailbox_between_our_steps() {
    let mailbox = Box_::filled(4);
    let home = &mailbox.home;
    let lend = || {
        // It runs as nobody where the test is root, and must reach the files inside.
        if rustix::process::geteuid().is_root() {
            for entry in fs::read_dir(home.path("box")).unwrap() {
                std::os::unix::fs::chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
            }
        }
    };
    lend();
    let Some(told) = mailutil(home, &["check", "box"]) else { return };
    assert!(told.contains("4 total"), "{told}");
    let mut session = mailbox.open();
    drop(store(&mut *session, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Ours"])).unwrap());
    mailutil(home, &["create", "#driver.mx/other"]).unwrap();
    lend();
    mailutil(home, &["append", "box", "other"]).unwrap();
    let mut other = open(&mailbox.driver, &home.at_name("other")).unwrap();
    assert_eq!(contents(&mut *other), same(&[1, 2, 3, 4]));
    let message = other.snapshot().messages[1];
    assert!(message.flags().system.contains(SystemFlags::FLAGGED), "{:?}", show(&*other));
    lend();
    mailutil(home, &["append", "other", "box"]).unwrap();
    assert!(session.refresh().unwrap().arrived);
    assert_eq!(uids_of(&*session), (1..=8).collect::<Vec<_>>());
    lend();
    mailutil(home, &["prune", "box", "SUBJECT 3"]).unwrap();
    assert_eq!(session.refresh().unwrap().expunged, uids(&[3, 7]));
    assert_eq!(mailbox.append(9), 9);
    lend();
    let told = mailutil(home, &["check", "box"]).unwrap();
    assert!(told.contains("7 total"), "{told}");
}
