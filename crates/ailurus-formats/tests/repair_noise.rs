//! Mailboxes that were damaged in many places at once: repair never fails, and what it makes needs no repair.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::repair::{Action, Outcome, Severity, Workshop};
use ailurus_formats::{Mbx, Mix, Mtx, Unix};
use ailurus_store::{Access, Driver, Extent, Manner};
use ailurus_testkit::faulty::NoSync;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;
use support::*;

/// One thing that happens to a file.
#[derive(Clone, Debug)]
enum Blow {
    /// Octets are others.
    Change(Index, Vec<u8>),
    /// Octets come in between.
    Insert(Index, Vec<u8>),
    /// So many octets are gone.
    Remove(Index, usize),
    /// A part of the file is there a second time, elsewhere.
    Repeat(Index, Index, usize),
    /// The rest is gone.
    Cut(Index),
}

fn blow() -> impl Strategy<Value = Blow> {
    let octets = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..6),
            (1..600usize).prop_map(|count| vec![0; count]),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\nFrom x@y Sat Feb  1 12:34:56 2025\n".to_vec()),
            Just(b"\x01\x01\x01\x01\n".to_vec()),
            Just(b"X-UID: 7\n".to_vec()),
            Just(b"X-IMAPbase: 5 7 a b\n".to_vec()),
            Just(b" 1-Feb-2025 12:34:56 +0200,24;000000010015-00000009\r\n".to_vec()),
            Just(b" 1-Feb-2025 12:34:56 +0200,24;600000000021\r\n".to_vec()),
            Just(b" 1-Feb-2025 12:34:56 +0200,24;600000000021\n".to_vec()),
            Just(b":msg:00000002:20250201123456+0200:00000012:\r\n".to_vec()),
            Just(b":00000009:20250201123456+0200:00000012:67c2f6c0:00000010:0000002d:00000002:\r\n".to_vec()),
        ]
    };
    prop_oneof![
        4 => (any::<Index>(), octets()).prop_map(|(at, octets)| Blow::Change(at, octets)),
        3 => (any::<Index>(), octets()).prop_map(|(at, octets)| Blow::Insert(at, octets)),
        3 => (any::<Index>(), 1..300usize).prop_map(|(at, count)| Blow::Remove(at, count)),
        2 => (any::<Index>(), any::<Index>(), 1..700usize).prop_map(|(from, to, count)| Blow::Repeat(from, to, count)),
        1 => any::<Index>().prop_map(Blow::Cut),
    ]
}

fn strike(content: &mut Vec<u8>, blow: &Blow) {
    let len = content.len() + 1;
    match blow {
        Blow::Change(at, octets) => {
            let at = at.index(len);
            let end = content.len().min(at + octets.len());
            content.splice(at..end, octets[..end - at].iter().copied());
        }
        Blow::Insert(at, octets) => {
            let at = at.index(len);
            content.splice(at..at, octets.iter().copied());
        }
        Blow::Remove(at, count) => {
            let at = at.index(len);
            content.drain(at..content.len().min(at + count));
        }
        Blow::Repeat(from, to, count) => {
            let (from, to) = (from.index(len), to.index(len));
            let part = content[from..content.len().min(from + count)].to_vec();
            content.splice(to..to, part);
        }
        Blow::Cut(at) => content.truncate(at.index(len)),
    }
}

fn driver(format: &str, home: &Home) -> Box<dyn Driver> {
    let (env, disk) = (home.environment.clone(), home.disk.clone());
    match format {
        "mbx" => Box::new(Mbx::new(env, disk)),
        "mtx" => Box::new(Mtx::new(env, disk)),
        "tenex" => Box::new(Mtx::tenex(env, disk)),
        "unix" => Box::new(Unix::new(env.as_ref().clone(), disk)),
        "mmdf" => Box::new(Unix::mmdf(env.as_ref().clone(), disk)),
        _ => Box::new(Mix::new(env, disk)),
    }
}

/// Repairs what is in the home, and holds the outcome to its word.
fn check(format: &str, home: &Home) {
    let workshop = Workshop::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    let found = workshop.verify(format, &at).unwrap();
    let repaired =
        workshop.repair(format, &at, Action::Apply).unwrap_or_else(|error| panic!("{format}: {error}"));
    assert!(repaired.outcome == Outcome::Applied || found.damaged() == 0, "{format}: {:?}", found.list());
    let again = workshop.repair(format, &at, Action::Show).unwrap();
    assert_eq!(again.outcome, Outcome::Nothing, "{format}: {:?} {:?}", again.findings.list(), again.notes);
    if home.path("box").metadata().unwrap().len() == 0 {
        return;
    }
    // Where messages can have been expunged or be lost from the index, a session of mix looks again when it ends.
    let access = if format == "mix" { Access::ReadOnly } else { Access::ReadWrite };
    let Ok(mut mailbox) = driver(format, home).open(&at, access, Manner::Session) else {
        // A mailbox without a message is empty, and of no format.
        assert!(matches!(format, "unix" | "mmdf"), "{format}");
        return;
    };
    for number in uids_of(&*mailbox) {
        read_all(&mut *mailbox, uid(number), Extent::Whole, 1000).unwrap();
    }
    mailbox.close().unwrap();
    let after = workshop.verify(format, &at).unwrap();
    // A session ends lines that a MARK cut in two: what was left of a From_ line can be known as one only then.
    let is_clear = format != "mmdf" || after.damaged() == 0;
    let mut damage = after.list().iter().filter(|one| one.severity == Severity::Damage);
    assert!(is_clear || damage.all(|one| one.what.contains("From_ line")), "mmdf: {:?}", after.list());
    let damaged = if is_clear { after.damaged() } else { 0 };
    assert_eq!(damaged, 0, "{format}: after a session: {:?}", after.list());
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    Home::at(directory, Arc::new(NoSync), |environment| environment.lock_dir = locks)
}

fn cases() -> u32 {
    if std::env::var_os("AILURUS_LONG").is_some() { 6000 } else { 150 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn single_files_are_salvaged_whatever_happened_to_them(
        format in prop::sample::select(vec!["mbx", "mtx", "tenex", "unix", "mmdf"]),
        blows in prop::collection::vec(blow(), 1..7),
    ) {
        let home = home();
        let mut content = fixture(&format!("{format}/03-flags-keywords"));
        blows.iter().for_each(|blow| strike(&mut content, blow));
        home.put("box", &content);
        check(format, &home);
    }

    #[test]
    fn mix_mailboxes_are_salvaged_whatever_happened_to_their_files(
        blows in prop::collection::vec((prop::sample::select(vec![".mixmeta", ".mixindex", ".mixstatus", ".mix67c2f6c0"]), blow()), 1..7),
    ) {
        let home = home();
        std::fs::create_dir(home.path("box")).unwrap();
        for part in [".mixmeta", ".mixindex", ".mixstatus", ".mix67c2f6c0"] {
            let mut content = fixture(&format!("mix/03-flags-keywords/{part}"));
            blows.iter().filter(|(name, _)| *name == part).for_each(|(_, blow)| strike(&mut content, blow));
            home.put(&format!("box/{part}"), &content);
        }
        check("mix", &home);
    }
}
