//! Operations on a mailbox of eight messages that are cut short, and what must hold of it afterwards.
//!
//! For crash tests of single formats, which know more than the conformance suite: what exactly was in the mailbox before, how
//! its disk fails, and what may be left in it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test program uses a part of this")]

use crate::support::*;
use ailurus_formats::disk::Disk;
use ailurus_store::{AppendMeta, Driver, Extent, Location, Result};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

/// Which disk a case runs on.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    New,
    Old,
}

impl Kind {
    pub fn of(self) -> fn(FaultyDisk) -> FaultyDisk {
        match self {
            Self::New => |disk| disk,
            Self::Old => FaultyDisk::of_an_old_kind,
        }
    }
}

/// What a format has to tell to be cut short.
pub struct Format {
    pub driver: fn(&Home) -> Box<dyn Driver>,
    pub at: fn(&Home) -> Location,
    /// Makes the home with a mailbox of the messages 1 to 8.
    pub prepare: fn() -> TempDir,
    /// Returns the home on a disk.
    pub home: fn(TempDir, Arc<dyn Disk>) -> Home,
    /// The disk on which nothing fails.
    pub sound: fn() -> Arc<dyn Disk>,
    /// Returns message n.
    pub text: fn(u32) -> Vec<u8>,
    /// The UIDs of messages up to this one were told to clients before the cut.
    pub told: u32,
    /// The mailbox may begin anew with another UIDVALIDITY, if nobody was told of an append.
    pub may_begin_anew: bool,
    /// A message whose removal a power loss undid is another one: the test's own file system cannot bring back the file.
    pub undone_is_new: bool,
    /// Looks at what else is in the mailbox.
    pub inspect: fn(&Home, what: &str),
}

/// What a client was told before the cut.
#[derive(Debug, Default)]
pub struct Told {
    /// UIDs, and which messages they are.
    pub appended: Vec<(u32, u32)>,
    pub expunged: Vec<u32>,
    pub flagged: bool,
}

/// One operation to be cut short.
pub struct Case {
    pub name: &'static str,
    /// The numbers of messages that may be gone afterwards.
    pub expunges: &'static [u32],
    /// The messages that may be there afterwards, all or none of them.
    pub appends: &'static [u32],
    pub run: fn(&Format, &Home, &mut Told) -> Result<()>,
}

/// For formats in which messages share files.
pub const CASES: &[Case] = &[
    Case { name: "open", expunges: &[], appends: &[], run: run_open },
    Case { name: "append one", expunges: &[], appends: &[20], run: run_append_one },
    Case { name: "append three", expunges: &[], appends: &[21, 22, 23], run: run_append_three },
    Case { name: "store", expunges: &[], appends: &[], run: run_store },
    Case { name: "expunge alone", expunges: &[1, 3, 6], appends: &[], run: run_expunge },
    Case {
        name: "expunge beside another session",
        expunges: &[1, 3, 6],
        appends: &[],
        run: |format, home, told| {
            let (driver, at) = format.parts(home);
            let other = open(&*driver, &at)?;
            run_expunge(format, home, told)?;
            drop(other);
            open(&*driver, &at).map(drop)
        },
    },
    Case {
        name: "store, append, expunge, append",
        expunges: &[1, 3, 6],
        appends: &[20],
        run: |format, home, told| {
            run_store(format, home, told)?;
            run_append_one(format, home, told)?;
            run_expunge(format, home, told)
        },
    },
];

/// For formats of one file a message.
pub const CASES_OF_FOLDERS: &[Case] = &[
    Case { name: "open after a delivery", expunges: &[], appends: &[], run: run_open },
    Case { name: "append one", expunges: &[], appends: &[20], run: run_append_one },
    Case { name: "append three", expunges: &[], appends: &[21, 22, 23], run: run_append_three },
    Case { name: "store", expunges: &[], appends: &[], run: run_store },
    Case { name: "expunge", expunges: &[1, 3, 6], appends: &[], run: run_expunge },
    Case {
        name: "store, append, expunge, store",
        expunges: &[1, 3, 6],
        appends: &[20],
        run: |format, home, told| {
            run_store(format, home, told)?;
            run_append_one(format, home, told)?;
            run_expunge(format, home, told)?;
            run_store(format, home, told)
        },
    },
];

fn run_open(format: &Format, home: &Home, _: &mut Told) -> Result<()> {
    let (driver, at) = format.parts(home);
    open(&*driver, &at).map(drop)
}

fn run_append_one(format: &Format, home: &Home, told: &mut Told) -> Result<()> {
    run_append(format, home, told, &[20])
}

fn run_append_three(format: &Format, home: &Home, told: &mut Told) -> Result<()> {
    run_append(format, home, told, &[21, 22, 23])
}

fn run_append(format: &Format, home: &Home, told: &mut Told, numbers: &[u32]) -> Result<()> {
    let (driver, at) = format.parts(home);
    let texts: Vec<_> = numbers.iter().map(|n| (format.text)(*n)).collect();
    let messages: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_slice())).collect();
    let (_, uids) = append(&*driver, &at, &messages)?.uids.unwrap();
    told.appended.extend(uids.iter().map(|uid| uid.get()).zip(numbers.iter().copied()));
    Ok(())
}

fn run_store(format: &Format, home: &Home, told: &mut Told) -> Result<()> {
    let (driver, at) = format.parts(home);
    let mut mailbox = open(&*driver, &at)?;
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?);
    told.flagged = true;
    mailbox.close()
}

/// Expunges messages 1, 3 and 6.
pub fn run_expunge(format: &Format, home: &Home, told: &mut Told) -> Result<()> {
    let (driver, at) = format.parts(home);
    let mut mailbox = open(&*driver, &at)?;
    drop(expunge(&mut *mailbox, &uids(&[1, 3, 6]))?);
    told.expunged.extend([1, 3, 6]);
    mailbox.close()
}

impl Format {
    fn parts(&self, home: &Home) -> (Box<dyn Driver>, Location) {
        ((self.driver)(home), (self.at)(home))
    }

    /// Runs a case on a disk that fails; returns the home as it was left, what was told, and how many changes were asked
    /// for.
    pub fn run(
        &self,
        case: &Case,
        fault: Fault,
        kind: fn(FaultyDisk) -> FaultyDisk,
        power_loss: Option<u64>,
    ) -> (TempDir, Told, usize) {
        let directory = (self.prepare)();
        let disk = Arc::new(kind(FaultyDisk::new(directory.path(), fault)));
        let home = (self.home)(directory, disk.clone());
        let mut told = Told::default();
        let outcome = (case.run)(self, &home, &mut told);
        assert!(outcome.is_ok() || fault != Fault::None, "{}: {:?}", case.name, outcome.err());
        if let Some(seed) = power_loss {
            disk.lose_power(seed);
        }
        (home.directory, told, disk.changes())
    }

    /// Checks the mailbox after a cut.
    pub fn check(&self, case: &Case, what: &str, directory: TempDir, told: &Told, lost_power: bool) -> Home {
        let home = (self.home)(directory, (self.sound)());
        let what = format!("{}, {what}", case.name);
        let (driver, at) = self.parts(&home);
        let mut mailbox = open(&*driver, &at).unwrap_or_else(|error| panic!("{what}: {error}"));
        let uids = uids_of(&*mailbox);
        assert!(uids.is_sorted_by(|a, b| a < b), "{what}: {uids:?}");
        let kept_validity = i64::from(mailbox.snapshot().uid_validity.get()) == NOW;
        assert!(kept_validity || self.may_begin_anew, "{what}: another UIDVALIDITY");
        let mut found: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for number in &uids {
            let whole = read_all(&mut *mailbox, uid(*number), Extent::Whole, 1 << 20).unwrap();
            let twice = found.insert(whole, *number);
            assert!(twice.is_none(), "{what}: a message is there twice");
        }
        let numbers = (1..=8).chain(case.appends.iter().copied());
        let by_number: BTreeMap<u32, u32> =
            numbers.filter_map(|n| Some((n, found.remove(&(self.text)(n))?))).collect();
        assert!(found.is_empty(), "{what}: there is a message that nobody wrote");
        for n in 1..=8 {
            let there = by_number.contains_key(&n);
            assert!(there || case.expunges.contains(&n), "{what}: message {n} is lost");
            assert!(!there || !told.expunged.contains(&n), "{what}: message {n} is back");
            let same = !there || !kept_validity || n > self.told || by_number[&n] == n;
            let may_be_new = self.undone_is_new && lost_power && case.expunges.contains(&n);
            assert!(same || may_be_new, "{what}: UID of {n} changed");
        }
        let appended: Vec<_> = case.appends.iter().filter_map(|n| by_number.get(n)).collect();
        let whole = appended.is_empty() || appended.len() == case.appends.len();
        assert!(whole, "{what}: an append is there in part");
        assert!(appended.is_sorted(), "{what}: {appended:?}");
        for (uid, n) in &told.appended {
            assert_eq!(by_number.get(n), Some(uid), "{what}: an acknowledged message");
            assert!(kept_validity, "{what}");
        }
        if told.flagged {
            for message in mailbox.snapshot().messages.iter().filter(|message| message.uid().get() <= 8) {
                let flags = message.flags();
                let has_both = flags.system.contains(SystemFlags::FLAGGED) && flags.keywords.has(0);
                assert!(has_both, "{what}: flags");
            }
            assert_eq!(mailbox.snapshot().keywords.get(0).unwrap().as_str(), "Kept", "{what}");
        }
        mailbox.close().unwrap();
        (self.inspect)(&home, &what);
        // The next message gets a UID that was never told.
        let (_, new) = append_plain(&*driver, &at, b"Subject: new\r\n\r\nnew\r\n").unwrap().uids.unwrap();
        let most = told.appended.iter().map(|(uid, _)| *uid).chain(uids).chain([6]).max().unwrap();
        assert!(new[0].get() > most || !kept_validity, "{what}: UID {} was given before", new[0]);
        home
    }

    /// Returns how many changes a case makes when nothing goes wrong.
    pub fn changes(&self, case: &Case, kind: fn(FaultyDisk) -> FaultyDisk) -> usize {
        let (directory, told, changes) = self.run(case, Fault::None, kind, None);
        self.check(case, "uncut", directory, &told, false);
        changes
    }
}
