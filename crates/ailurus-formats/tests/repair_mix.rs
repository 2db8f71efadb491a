//! Repair of damaged mix mailboxes: what is readable stays, no octet of a data file is lost, other mailboxes in the directory
//! stay where they are.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_formats::repair::{Action, Outcome, Repaired, Severity, Workshop};
use ailurus_store::{Access, Driver, Extent, Manner};
use ailurus_testkit::faulty::NoSync;
use std::path::Path;
use std::sync::Arc;
use support::*;

const SAMPLE: &str = "mix/03-flags-keywords";
const DATA: &str = ".mix67c2f6c0";
const PARTS: [&str; 4] = [".mixmeta", ".mixindex", ".mixstatus", DATA];

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn home_with(sample: &str) -> Home {
    let home = Home::with(Arc::new(NoSync), |_| {});
    copy(&fixtures(sample), &home.path("T"));
    home
}

fn workshop(home: &Home) -> Workshop {
    Workshop::new(home.environment.clone(), home.disk.clone())
}

/// UID, flags, date and text of each message.
fn seen(home: &Home, name: &str) -> Vec<(u32, String, Vec<u8>)> {
    let driver = Mix::new(home.environment.clone(), home.disk.clone());
    let mut mailbox = driver.open(&home.at_name(name), Access::ReadOnly, Manner::Silent).unwrap();
    let snapshot = mailbox.snapshot().clone();
    let each = snapshot.messages.iter().map(|message| {
        let (flags, date) = (message.flags(), message.internal_date());
        let names: Vec<_> = snapshot.keywords.named(flags.keywords).map(ToString::to_string).collect();
        let text = read_all(&mut *mailbox, message.uid(), Extent::Whole, 10_000).unwrap();
        (message.uid().get(), format!("{:?} {names:?} {date}", flags.system), text)
    });
    each.collect()
}

/// Repairs; asserts what always holds. Returns what came of it, and what the mailbox holds.
fn salvage(home: &Home, what: &str) -> (Repaired, Vec<(u32, String, Vec<u8>)>) {
    let before: Vec<_> =
        std::fs::read_dir(home.path("T")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let content: Vec<_> = before.iter().map(|path| std::fs::read(path).ok()).collect();
    let verified = workshop(home).verify("mix", &home.at_name("T")).unwrap();
    let repaired = workshop(home).repair("mix", &home.at_name("T"), Action::Show);
    let repaired = repaired.unwrap_or_else(|error| panic!("{what}: {error}"));
    let after: Vec<_> = before.iter().map(|path| std::fs::read(path).ok()).collect();
    assert!(content == after, "{what}: the damaged mailbox was changed");
    assert_eq!(verified.damaged() > 0, repaired.outcome == Outcome::Shown, "{what}");
    let name = if repaired.outcome == Outcome::Shown { "T.salvaged" } else { "T" };
    let again = workshop(home).verify("mix", &home.at_name(name)).unwrap();
    assert_eq!(again.damaged(), 0, "{what}: {:?}", again.list());
    let found = if home.path("T/.mixmeta").exists() || name != "T" { seen(home, name) } else { Vec::new() };
    (repaired, found)
}

/// The octets of the sample's files that are of one message only.
fn touches(part: &str, at: usize) -> Option<usize> {
    match part {
        ".mixindex" => at.checked_sub(11).map(|at| at / 77),
        ".mixstatus" => at.checked_sub(11).map(|at| at / 35),
        DATA => {
            let data = fixture(&format!("{SAMPLE}/{DATA}"));
            let text = String::from_utf8_lossy(&data);
            text.match_indices(":msg:").filter(|(start, _)| *start <= at).count().checked_sub(1)
        }
        _ => None,
    }
}

/// Every octet takes a minute or two: that is for long runs.
fn step() -> usize {
    if std::env::var_os("AILURUS_LONG").is_some() { 1 } else { 5 }
}

fn healthy() -> Vec<(u32, String, Vec<u8>)> {
    seen(&home_with(SAMPLE), "T")
}

#[test]
fn a_flipped_bit_costs_no_other_message() {
    let healthy = healthy();
    for part in PARTS {
        let content = fixture(&format!("{SAMPLE}/{part}"));
        for at in (0..content.len()).step_by(step()) {
            let home = home_with(SAMPLE);
            let mut damaged = content.clone();
            damaged[at] ^= 1 << (at * 5 % 8);
            home.put(&format!("T/{part}"), &damaged);
            let what = format!("{part}: octet {at} is {:?}", char::from(damaged[at]));
            let (repaired, found) = salvage(&home, &what);
            for (index, message) in healthy.iter().enumerate() {
                if touches(part, at) == Some(index) {
                    continue;
                }
                // A keyword's name is in the metadata alone.
                let same = |other: &&(u32, String, Vec<u8>)| {
                    other.0 == message.0
                        && other.2 == message.2
                        && (part == ".mixmeta" || other.1 == message.1)
                };
                let uids: Vec<_> = found.iter().map(|one| (one.0, &one.1)).collect();
                assert!(
                    found.iter().any(|other| same(&other)),
                    "{what}: lost {} {}: {uids:?} {:?}",
                    message.0,
                    message.1,
                    repaired.findings.list()
                );
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_keeps_all_whole_messages() {
    let healthy = healthy();
    for part in PARTS {
        let content = fixture(&format!("{SAMPLE}/{part}"));
        for len in (0..content.len()).step_by(step()) {
            let home = home_with(SAMPLE);
            home.put(&format!("T/{part}"), &content[..len]);
            let what = format!("{part} cut to {len}");
            // An index that ends with a record is what an expunge leaves.
            let is_whole = part == ".mixindex" && (len == 0 || len >= 11 && (len - 11).is_multiple_of(77));
            let (_, found) = salvage(&home, &what);
            for (index, message) in healthy.iter().enumerate() {
                let is_cut = part == DATA && touches(DATA, len).is_none_or(|touched| index >= touched);
                if !is_whole && !is_cut {
                    let same = |other: &&(u32, String, Vec<u8>)| other.0 == message.0 && other.2 == message.2;
                    assert!(found.iter().any(|other| same(&other)), "{what}: lost {}", message.0);
                }
            }
        }
    }
}

/// What is wrong in each sample, and where.
#[test]
fn every_sample_is_found_to_be_what_it_is() {
    let damaged = [
        ("20-c-nul-status", None),
        ("20-f-short-data", Some((".mix60000000", 130, "message UID 3 has 15 octets"))),
        ("20-g-missing-data", Some((".mix60000000", 0, "Missing mix data file"))),
        ("20-h-bad-status", Some((".mixstatus", 46, "Error in mix status file message record"))),
        ("20-i-no-status-file", Some((".mixstatus", 0, "Error opening mix status file"))),
        ("20-r-bad-data-token", Some((".mix60000000", 0, "the record of message UID 1 is damaged"))),
        ("20-u-index-backwards", None),
    ];
    for entry in std::fs::read_dir(fixtures("mix")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !entry.path().is_dir() || name.ends_with(".after") {
            continue;
        }
        let home = home_with(&format!("mix/{name}"));
        let found = workshop(&home).verify("mix", &home.at_name("T")).unwrap();
        let first = found.list().iter().find(|finding| finding.severity == Severity::Damage);
        println!("{name}: {:?}", found.list().iter().map(ToString::to_string).collect::<Vec<_>>());
        match damaged.iter().find(|(sample, _)| *sample == name) {
            None => assert!(first.is_none(), "{name}: {first:?}"),
            Some((_, None)) => {}
            Some((_, Some((file, offset, what)))) => {
                let first = first.unwrap_or_else(|| panic!("{name}"));
                assert!(first.path.ends_with(file) && first.what.contains(what), "{name}: {first}");
                assert_eq!(first.offset, *offset, "{name}: {first}");
            }
        }
        salvage(&home, &name);
    }
}

#[test]
fn applied_other_mailboxes_stay_in_the_directory() {
    let home = home_with(SAMPLE);
    copy(&fixtures("mix/02-appended"), &home.path("T/inner"));
    let content = fixture(&format!("{SAMPLE}/.mixindex"));
    home.put("T/.mixindex", &content[..100]);
    let repaired = workshop(&home).repair("mix", &home.at_name("T"), Action::Apply).unwrap();
    assert_eq!(repaired.outcome, Outcome::Applied);
    assert_eq!(seen(&home, "T"), healthy());
    assert!(!seen(&home, "T/inner").is_empty() && !home.path("T.damaged/inner").exists());
    assert_eq!(home.get("T.damaged/.mixindex"), &content[..100]);
    assert!(!home.path("T.salvaged").exists());
    let again = workshop(&home).repair("mix", &home.at_name("T"), Action::Apply).unwrap();
    assert_eq!(again.outcome, Outcome::Nothing);
    let Some((good, said)) = mailutil_in(home.directory.path(), &["check", "T"]) else { return };
    assert!(good && said.contains("4 total"), "{said}");
}

#[test]
fn a_mailbox_that_is_open_is_not_repaired() {
    let home = home_with(SAMPLE);
    let driver = Mix::new(home.environment.clone(), home.disk.clone());
    let session = open(&driver, &home.at_name("T")).unwrap();
    let refused = workshop(&home).repair("mix", &home.at_name("T"), Action::Show);
    assert!(matches!(refused, Err(ailurus_store::Error::InUse { .. })), "{refused:?}");
    assert!(workshop(&home).verify("mix", &home.at_name("T")).unwrap().is_empty());
    drop(session);
}
