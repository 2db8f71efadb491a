//! Repair of damaged mailboxes: what is readable stays, no octet is lost, and what was written is a mailbox.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::Disk;
use ailurus_formats::repair::{Action, Outcome, Repaired, Severity, Workshop};
use ailurus_formats::{Mbx, Mtx, Unix};
use ailurus_store::{Access, Driver, Extent, Mailbox, Manner};
use ailurus_testkit::faulty::NoSync;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use support::*;

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(NoSync);
    Home::at(directory, disk, |environment| environment.lock_dir = locks)
}

fn workshop(home: &Home) -> Workshop {
    Workshop::new(home.environment.clone(), home.disk.clone())
}

fn driver(format: &str, home: &Home) -> Box<dyn Driver> {
    let (env, disk) = (home.environment.clone(), home.disk.clone());
    match format {
        "mbx" => Box::new(Mbx::new(env, disk)),
        "mtx" => Box::new(Mtx::new(env, disk)),
        "tenex" => Box::new(Mtx::tenex(env, disk)),
        "unix" => Box::new(Unix::new(env.as_ref().clone(), disk)),
        "mmdf" => Box::new(Unix::mmdf(env.as_ref().clone(), disk)),
        _ => panic!("{format}"),
    }
}

/// A message, as a person knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    uid: u32,
    system: String,
    keywords: Vec<String>,
    date: String,
    text: Vec<u8>,
}

fn seen(mailbox: &mut dyn Mailbox) -> Vec<Seen> {
    let snapshot = mailbox.snapshot().clone();
    let each = snapshot.messages.iter().map(|message| Seen {
        uid: message.uid().get(),
        system: format!("{:?}", message.flags().system),
        keywords: snapshot
            .keywords
            .named(message.flags().keywords)
            .map(|name| name.as_str().into())
            .collect(),
        date: message.internal_date().to_string(),
        text: read_all(mailbox, message.uid(), Extent::Whole, 100_000).unwrap(),
    });
    each.collect()
}

fn open_read_only(format: &str, home: &Home, name: &str) -> Box<dyn Mailbox> {
    let opened = driver(format, home).open(&home.at_name(name), Access::ReadOnly, Manner::Silent);
    opened.unwrap_or_else(|error| panic!("{name} does not open: {error}"))
}

/// The ranges of the messages of a healthy file.
fn ranges(format: &str, content: &[u8]) -> Vec<Range<usize>> {
    let mut starts = Vec::new();
    match format {
        "unix" => {
            let text = String::from_utf8_lossy(content);
            starts.extend(text.match_indices("From ").map(|(at, _)| at).filter(|at| {
                (*at == 0 || content[at - 1] == b'\n') && text[*at..].lines().next().unwrap().contains(" 202")
            }));
        }
        "mmdf" => {
            let text = String::from_utf8_lossy(content);
            let marks: Vec<_> = text.match_indices("\u{1}\u{1}\u{1}\u{1}\n").map(|(at, _)| at).collect();
            starts.extend(marks.iter().step_by(2));
        }
        _ => {
            let newline = if format == "tenex" { "\n" } else { "\r\n" };
            let mut at = if format == "mbx" { 2048 } else { 0 };
            while at < content.len() {
                starts.push(at);
                let line = &content[at..][..content.len().min(at + 80) - at];
                let line = String::from_utf8_lossy(line);
                let line = line.split(newline).next().unwrap().to_owned();
                let size: usize = line.split([',', ';']).nth(1).unwrap().parse().unwrap();
                at += line.len() + newline.len() + size;
            }
        }
    }
    let ends = starts.iter().skip(1).copied().chain([content.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).map(|(start, end)| start..end).collect()
}

/// Repairs a file; asserts what holds whatever was damaged. Returns what the mailbox holds afterwards.
fn salvage(format: &str, damaged: &[u8], what: &str) -> (Repaired, Vec<Seen>) {
    let home = home();
    home.put("box", damaged);
    prepare_sidecar(format, &home, damaged);
    salvage_in(home, format, what)
}

fn salvage_in(home: Home, format: &str, what: &str) -> (Repaired, Vec<Seen>) {
    let (damaged, at) = (home.get("box"), home.at_name("box"));
    let verified = workshop(&home).verify(format, &at).unwrap();
    let repaired = workshop(&home).repair(format, &at, Action::Show);
    let repaired = repaired.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(home.get("box") == damaged, "{what}: the damaged file was changed");
    assert_eq!(verified.damaged() > 0, repaired.findings.damaged() > 0, "{what}");
    let name = match repaired.outcome {
        Outcome::Nothing => {
            assert_eq!(verified.damaged(), 0, "{what}: {:?}", verified.list());
            "box"
        }
        Outcome::Shown => "box.salvaged",
        Outcome::Applied => panic!("{what}: not asked for"),
    };
    if let Some(leftover) = &repaired.leftover {
        let octet = |at: u64| usize::try_from(at).unwrap();
        let ranges = repaired.left.iter().map(|(start, end)| octet(*start)..octet(*end));
        let wanted: Vec<u8> = ranges.flat_map(|range| damaged[range].to_vec()).collect();
        assert!(std::fs::read(leftover).unwrap() == wanted, "{what}");
    }
    let salvaged = home.get(name);
    let again = workshop(&home).repair(format, &home.at_name(name), Action::Show).unwrap();
    let list = again.findings.list();
    assert_eq!(
        again.outcome,
        Outcome::Nothing,
        "{what}: {name} needs repair again: {list:?} {:?}",
        again.notes
    );
    assert_eq!(workshop(&home).verify(format, &home.at_name(name)).unwrap().damaged(), 0, "{what}");
    // In the place that it is for, with what is beside that.
    home.put("box", &salvaged);
    if salvaged.is_empty() {
        return (repaired, Vec::new());
    }
    let mut mailbox = open_read_only(format, &home, "box");
    let seen = seen(&mut *mailbox);
    (repaired, seen)
}

/// What a session of ours knew of the mailbox before it was damaged.
fn prepare_sidecar(format: &str, home: &Home, damaged: &[u8]) {
    if matches!(format, "mtx" | "tenex") {
        home.put("box", &sample(format));
        open(&*driver(format, home), &home.at_name("box")).unwrap().close().unwrap();
        std::fs::write(home.path("box"), damaged).unwrap();
    }
}

fn sample(format: &str) -> Vec<u8> {
    fixture(&format!("{format}/03-flags-keywords"))
}

fn healthy(format: &str) -> Vec<Seen> {
    let home = home();
    home.put("box", &sample(format));
    prepare_sidecar(format, &home, &sample(format));
    let mut mailbox = open_read_only(format, &home, "box");
    seen(&mut *mailbox)
}

/// What need not be as it was, because what was damaged is not the message alone.
#[derive(Clone, Copy, Default)]
struct MayDiffer {
    /// Names of keywords.
    names: bool,
    /// UIDs.
    uids: bool,
}

/// Asserts that each of these messages is there.
fn assert_there(wanted: &[&Seen], found: &[Seen], may_differ: MayDiffer, what: &str) {
    for message in wanted {
        let same = |found: &&Seen| {
            let keywords = may_differ.names || found.keywords == message.keywords;
            let this = (&found.system, &found.date, &found.text);
            keywords
                && this == (&message.system, &message.date, &message.text)
                && (found.uid == message.uid || may_differ.uids)
        };
        let text = |message: &Seen| {
            let Seen { uid, system, keywords, date, text } = message;
            format!("{uid} {system} {keywords:?} {date} {}", text.escape_ascii().to_string().len())
        };
        assert!(
            found.iter().any(|message| same(&message)),
            "{what}: lost {}\nof {:#?}",
            text(message),
            found.iter().map(text).collect::<Vec<_>>()
        );
    }
}

const SINGLE: [&str; 5] = ["mbx", "mtx", "tenex", "unix", "mmdf"];

fn formats() -> impl Iterator<Item = &'static str> {
    SINGLE.into_iter()
}

#[test]
fn a_healthy_mailbox_is_left_alone() {
    for format in formats() {
        for name in ["01-created", "02-appended", "03-flags-keywords", "04-expunged-one", "05-expunged-all"] {
            let home = home();
            home.put("box", &fixture(&format!("{format}/{name}")));
            let before: Vec<_> = std::fs::read_dir(home.directory.path()).unwrap().count().to_string().into();
            let found = workshop(&home).verify(format, &home.at_name("box")).unwrap();
            assert!(found.is_empty(), "{format}/{name}: {:?}", found.list());
            let repaired = workshop(&home).repair(format, &home.at_name("box"), Action::Apply).unwrap();
            assert_eq!(repaired.outcome, Outcome::Nothing, "{format}/{name}");
            let after: Vec<_> = std::fs::read_dir(home.directory.path()).unwrap().count().to_string().into();
            assert_eq!(before, after);
        }
    }
}

fn a_file_that_was_cut_keeps_all_whole_messages(format: &str) {
    let (content, healthy) = (sample(format), healthy(format));
    let ranges = ranges(format, &content);
    assert_eq!(ranges.len(), healthy.len() + usize::from(has_pseudo(&content)), "{format}");
    let offset = ranges.len() - healthy.len();
    for len in (0..content.len()).step_by(step()) {
        // So little of a From_ line can be text just as well.
        if format == "unix" && ranges.iter().any(|range| (1..5).contains(&len.saturating_sub(range.start))) {
            continue;
        }
        let what = format!("{format} cut to {len}");
        let (_, found) = salvage(format, &content[..len], &what);
        let whole = healthy.iter().zip(&ranges[offset..]).filter(|(_, range)| range.end <= len);
        let whole: Vec<_> = whole.map(|(message, _)| message).collect();
        assert_there(&whole, &found, MayDiffer::default(), &what);
    }
}

/// Every octet takes a minute or two: that is for long runs.
fn step() -> usize {
    if std::env::var_os("AILURUS_LONG").is_some() { 1 } else { 7 }
}

/// Which bits of an octet are flipped.
fn bits(at: usize) -> Vec<usize> {
    let all = [at * 5 % 8, (at * 5 + 3) % 8];
    if std::env::var_os("AILURUS_LONG").is_some() { all.into() } else { all[..1].into() }
}

fn has_pseudo(content: &[u8]) -> bool {
    memchr::memmem::find(content, b"\nX-IMAP: ").is_some()
}

fn a_flipped_bit_costs_no_other_message(format: &str) {
    let (content, healthy) = (sample(format), healthy(format));
    let ranges = ranges(format, &content);
    let offset = ranges.len() - healthy.len();
    let mut seen = HashMap::new();
    for at in (0..content.len()).step_by(step()) {
        // NULs of a header are all alike.
        if content[at] == 0 && at % 97 != 0 {
            continue;
        }
        for bit in bits(at) {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << bit;
            let what = format!(
                "{format}: bit {bit} of octet {at} flipped ({})",
                (damaged[at] as char).escape_default()
            );
            let (repaired, found) = salvage(format, &damaged, &what);
            *seen.entry(format!("{:?}", repaired.outcome)).or_insert(0) += 1;
            let whole = healthy.iter().zip(&ranges[offset..]).filter(|(_, range)| !range.contains(&at));
            let whole: Vec<_> = whole.map(|(message, _)| message).collect();
            let first = ranges.first().map_or(0, |first| first.start);
            let base = matches!(format, "unix" | "mmdf") && ranges[0].contains(&at);
            // What is another message now, and yet a good one, only the sidecar can tell from the one before: it then
            // takes all that follow for new, too.
            // A size that ends at a line of the text by chance leaves its message as good as any.
            let in_size = ranges.iter().any(|range| (26..30).contains(&at.saturating_sub(range.start)));
            let uids = matches!(format, "mtx" | "tenex") && (repaired.outcome == Outcome::Nothing || in_size);
            assert_there(&whole, &found, MayDiffer { names: at < first || base, uids }, &what);
        }
    }
    println!("{format}: {seen:?}");
}

macro_rules! each_octet {
    ($($format:ident)*) => {$(
        mod $format {
            #[test]
            fn a_file_that_was_cut_keeps_all_whole_messages() {
                super::a_file_that_was_cut_keeps_all_whole_messages(stringify!($format));
            }

            #[test]
            fn a_flipped_bit_costs_no_other_message() {
                super::a_flipped_bit_costs_no_other_message(stringify!($format));
            }
        }
    )*};
}

each_octet!(mbx mtx tenex unix mmdf);

/// Everything that the reference refuses is found where it says, and everything that it opens has no damage.
#[test]
fn offsets_are_the_references() {
    let mut refused = 0;
    for format in formats() {
        for entry in std::fs::read_dir(fixtures(format)).unwrap() {
            let path = entry.unwrap().path();
            let Some(sample) = path.to_str().unwrap().strip_suffix(".expect") else { continue };
            let expect = std::fs::read_to_string(&path).unwrap();
            let home = home();
            home.put("box", &std::fs::read(sample).unwrap());
            let found = workshop(&home).verify(format, &home.at_name("box")).unwrap();
            let damage: Vec<_> = found.list().iter().filter(|one| one.severity == Severity::Damage).collect();
            let faults = || expect.lines().filter_map(|line| line.strip_prefix("log ERROR: "));
            let fault = faults().find_map(|fault| Some((fault, offset_in(fault)?)));
            match fault {
                Some((fault, offset)) => {
                    refused += 1;
                    let first = damage.first().unwrap_or_else(|| panic!("{sample}: not found: {fault}"));
                    assert_eq!(first.offset, offset, "{sample}: {first}");
                    assert!(first.what.starts_with(fault.trim_end()), "{sample}: {first}\n{fault}");
                }
                None if expect.contains("driver=phile") => {
                    // Spaces before the first From_ line make it none, and yet are no damage.
                    assert!(!damage.is_empty() || sample.ends_with("leading-spaces"), "{sample}");
                }
                // The reference takes the second message for a part of the first one's header.
                None if sample.ends_with("unix/20-j-noblank") => assert_eq!(damage[0].offset, 58, "{sample}"),
                None => assert!(damage.is_empty(), "{sample}: {damage:?}"),
            }
            salvage_in(home, format, sample);
        }
    }
    assert!(refused > 10, "{refused}");
}

/// The offset in a text of the reference.
fn offset_in(fault: &str) -> Option<u64> {
    let (_, after) = fault.split_once("at ")?;
    after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Damages a mailbox of each format so that something of it is left over.
pub fn damaged(format: &str) -> Vec<u8> {
    let mut content = sample(format);
    let second = ranges(format, &content)[2].clone();
    let (range, octets) = match format {
        "unix" => (0..0, &b"something before\n"[..]),
        "mmdf" => (second.start..second.start + 5, &b"\x01x\x01\x01\n"[..]),
        _ => (second.start..second.start, &b"these octets are of no message\0"[..]),
    };
    content.splice(range, octets.iter().copied());
    content
}

#[test]
fn applied_the_salvaged_mailbox_has_the_name_and_the_damaged_one_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    for format in formats() {
        let home = home();
        prepare_sidecar(format, &home, &damaged(format));
        home.put("box", &damaged(format));
        std::fs::set_permissions(home.path("box"), std::fs::Permissions::from_mode(0o640)).unwrap();
        home.put("box.damaged", b"of somebody else");
        let at = home.at_name("box");
        let repaired = workshop(&home).repair(format, &at, Action::Apply).unwrap();
        assert_eq!(repaired.outcome, Outcome::Applied, "{format}");
        assert_eq!(repaired.damaged, Some(home.path("box.damaged1")), "{format}");
        assert_eq!(repaired.salvaged, None);
        assert!(
            home.get("box.damaged1") == damaged(format) && home.get("box.damaged") == b"of somebody else"
        );
        assert!(!home.path("box.salvaged").exists());
        let mode = std::fs::metadata(home.path("box")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{format}");
        let mut mailbox = open_read_only(format, &home, "box");
        assert_there(
            &healthy(format).iter().collect::<Vec<_>>(),
            &seen(&mut *mailbox),
            MayDiffer::default(),
            format,
        );
        drop(mailbox);
        let again = workshop(&home).repair(format, &at, Action::Apply).unwrap();
        assert_eq!(again.outcome, Outcome::Nothing, "{format}");
    }
}

/// A file that others know by another name, or that is not ours to make, is rewritten in place.
#[test]
fn a_file_with_two_names_is_rewritten_in_place() {
    use std::os::unix::fs::MetadataExt;
    for format in formats() {
        let home = home();
        prepare_sidecar(format, &home, &damaged(format));
        home.put("box", &damaged(format));
        std::fs::hard_link(home.path("box"), home.path("other")).unwrap();
        std::os::unix::fs::symlink(home.path("box"), home.path("link")).unwrap();
        let inode = home.path("box").metadata().unwrap().ino();
        let repaired = workshop(&home).repair(format, &home.at_name("link"), Action::Apply).unwrap();
        assert_eq!(repaired.outcome, Outcome::Applied, "{format}");
        assert_eq!(home.path("box").metadata().unwrap().ino(), inode, "{format}");
        assert!(home.get("box.damaged") == damaged(format), "{format}");
        assert!(home.get("other") == home.get("box"));
        assert!(!home.path("box.salvaged").exists());
        let mut mailbox = open_read_only(format, &home, "box");
        assert_there(
            &healthy(format).iter().collect::<Vec<_>>(),
            &seen(&mut *mailbox),
            MayDiffer::default(),
            format,
        );
    }
}

#[test]
fn a_mailbox_that_is_open_is_not_repaired() {
    for format in formats() {
        let home = home();
        home.put("box", &sample(format));
        let session = open(&*driver(format, &home), &home.at_name("box")).unwrap();
        let refused = workshop(&home).repair(format, &home.at_name("box"), Action::Show);
        assert!(matches!(refused, Err(ailurus_store::Error::InUse { .. })), "{format}: {refused:?}");
        assert!(workshop(&home).verify(format, &home.at_name("box")).unwrap().damaged() == 0, "{format}");
        drop(session);
    }
}

/// To look changes nothing, not even a time.
#[test]
fn to_verify_changes_nothing() {
    use std::os::unix::fs::MetadataExt;
    for format in formats() {
        for content in [sample(format), damaged(format)] {
            let home = home();
            home.put("box", &content);
            let state = |home: &Home| {
                let found = home.path("box").metadata().unwrap();
                let times = (
                    found.atime(),
                    found.atime_nsec(),
                    found.mtime_nsec(),
                    found.ctime(),
                    found.ctime_nsec(),
                );
                let directory = home.directory.path().metadata().unwrap();
                let locks = std::fs::read_dir(home.path("locks")).unwrap().count();
                (times, directory.mtime(), directory.mtime_nsec(), locks)
            };
            let before = state(&home);
            workshop(&home).verify(format, &home.at_name("box")).unwrap();
            assert_eq!(state(&home), before, "{format}");
        }
    }
}

/// The reference reads what was salvaged of its own formats.
#[test]
fn the_reference_opens_what_was_salvaged() {
    for format in ["mbx", "mtx", "unix", "mmdf", "tenex"] {
        let home = home();
        home.put("box", &damaged(format));
        workshop(&home).repair(format, &home.at_name("box"), Action::Apply).unwrap();
        let Some((good, said)) = mailutil_in(home.directory.path(), &["check", "box"]) else { return };
        let count = healthy(format).len();
        assert!(good && said.contains(&format!("{count} total")), "{format}: {said}");
    }
}

/// As in the spool: the user may write the file, and make none beside it.
#[test]
fn a_file_in_a_closed_directory_is_rewritten_in_place() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    const NOBODY: u32 = 65534;
    let home = home();
    let spool = home.path("spool.d");
    std::fs::create_dir(&spool).unwrap();
    std::fs::write(spool.join("alice"), damaged("unix")).unwrap();
    if rustix::process::geteuid().is_root() {
        for path in [home.directory.path(), &home.path("locks"), &spool.join("alice")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let mode = |mode| std::fs::set_permissions(&spool, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    let inode = spool.join("alice").metadata().unwrap().ino();
    let at = home.at_name("spool.d/alice");
    let workshop = workshop(&home);
    let repaired = as_user(NOBODY, NOBODY, || workshop.repair("unix", &at, Action::Apply)).unwrap();
    mode(0o755);
    assert_eq!((repaired.outcome, repaired.damaged), (Outcome::Applied, Some(home.path("alice.damaged"))));
    assert_eq!(spool.join("alice").metadata().unwrap().ino(), inode);
    assert!(home.get("alice.damaged") == damaged("unix") && !home.path("alice.salvaged").exists());
    let mut mailbox = open_read_only("unix", &home, "spool.d/alice");
    assert_there(
        &healthy("unix").iter().collect::<Vec<_>>(),
        &seen(&mut *mailbox),
        MayDiffer::default(),
        "spool",
    );
}

#[test]
fn mailboxes_of_one_file_a_message_are_looked_over() {
    for name in ["01-created", "02-appended", "03-flags-keywords", "04-expunged-one", "05-expunged-all"] {
        let home = home();
        let from = fixtures("mx").join(name);
        std::fs::create_dir(home.path("box")).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), home.path("box").join(entry.file_name())).unwrap();
        }
        let found = workshop(&home).verify("mx", &home.at_name("box")).unwrap();
        assert!(found.is_empty(), "{name}: {:?}", found.list());
        if name != "03-flags-keywords" {
            continue;
        }
        let index = home.get("box/.mxindex");
        let record = index.iter().position(|octet| *octet == b'M').unwrap();
        for at in [record + 3, record + 9, record + 18] {
            let mut damaged = index.clone();
            damaged[at] = b'?';
            home.put("box/.mxindex", &damaged);
            let found = workshop(&home).verify("mx", &home.at_name("box")).unwrap();
            assert_eq!(found.damaged(), 1, "octet {at}");
            assert_eq!(found.list()[0].offset, record as u64, "octet {at}: {}", found.list()[0]);
        }
        let refused = workshop(&home).repair("mx", &home.at_name("box"), Action::Show);
        assert!(matches!(refused, Err(ailurus_store::Error::Refused(_))), "{refused:?}");
    }
}

#[test]
fn a_file_of_no_format_is_told_from_a_damaged_mailbox() {
    let home = home();
    home.put("text", b"plain text\n");
    home.put("mail", &damaged("unix"));
    assert!(workshop(&home).verify("phile", &home.at_name("text")).unwrap().is_empty());
    let found = workshop(&home).verify("phile", &home.at_name("mail")).unwrap();
    assert!(
        found.damaged() == 1 && found.list()[0].what.contains("'#driver.unix/mail'"),
        "{:?}",
        found.list()
    );
}

/// A change that was cut off is finished first, and not without being asked for.
#[test]
fn an_unfinished_change_is_finished_when_the_repair_is_applied() {
    use ailurus_formats::disk::Os;
    use ailurus_testkit::faulty::{Fault, FaultyDisk};
    use ailurus_types::{FlagOp, SystemFlags, UidSet};
    for number in 0..60 {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("box"), sample("mbx")).unwrap();
        let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::KillBefore(number)));
        let home = Home::at(directory, disk, |_| {});
        let cut = (|| {
            let mut mailbox = open(&*driver("mbx", &home), &home.at_name("box"))?;
            drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &[]))?);
            drop(expunge(&mut *mailbox, &uids(&[1]))?);
            mailbox.close()
        })();
        let journal = home.path(".box.ailurus-journal").exists();
        if cut.is_ok() || !journal {
            continue;
        }
        let home = Home::at(home.directory, Os::shared(), |_| {});
        let before = home.get("box");
        let found = workshop(&home).verify("mbx", &home.at_name("box")).unwrap();
        assert!(found.list().iter().any(|finding| finding.what.contains("journal")), "{number}");
        let shown = workshop(&home).repair("mbx", &home.at_name("box"), Action::Show).unwrap();
        assert_eq!(shown.outcome, Outcome::Shown, "{number}");
        assert!(home.get("box") == before && journal);
        let applied = workshop(&home).repair("mbx", &home.at_name("box"), Action::Apply).unwrap();
        assert_eq!(applied.outcome, Outcome::Nothing, "{number}: {:?}", applied.findings.list());
        assert!(workshop(&home).verify("mbx", &home.at_name("box")).unwrap().is_empty(), "{number}");
        return;
    }
    panic!("no journal was left behind");
}
