//! mix sessions side by side, data files of all sizes, mailboxes in mailboxes, and the reference's mailutil in between.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_formats::disk::Os;
use ailurus_store::{
    Access, AppendMeta, Attributes, Claim, Driver, Extent, Level, Mailbox, Mailboxes, Manner,
};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_testkit::random::Random;
use ailurus_types::{FlagOp, Keyword, SystemFlags, UidSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::*;

/// A home on a disk that does not wait for syncs.
fn quick() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
    Home::at(directory, disk, |_| {})
}

fn driver(home: &Home) -> Mix {
    Mix::new(home.environment.clone(), home.disk.clone())
}

fn with_messages(home: &Home, count: u32) -> Mix {
    let driver = driver(home);
    driver.create(&home.at_name("box")).unwrap();
    for n in 1..=count {
        append_plain(&driver, &home.at_name("box"), text(n).as_bytes()).unwrap();
    }
    driver
}

fn text(n: u32) -> String {
    format!("Subject: number {n}\r\n\r\ntext of {n}\r\n")
}

fn data_files(home: &Home) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(home.path("box")).unwrap().map(|entry| entry.unwrap());
    let files =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()));
    files.filter(|(name, _)| name[4..].chars().all(|c| c.is_ascii_hexdigit())).collect()
}

#[test]
fn a_session_reads_only_what_is_new() {
    let home = quick();
    let driver = with_messages(&home, 3);
    let at = home.at_name("box");
    let mut mailbox = open(&driver, &at).unwrap();
    // What a session has read it does not read again as long as the index grows: nobody sees this.
    let index = String::from_utf8(home.get("box/.mixindex")).unwrap();
    home.put("box/.mixindex", index.replacen(":00000001:20250301", ":00000001:20240301", 1).as_bytes());
    append_plain(&driver, &at, text(4).as_bytes()).unwrap();
    let changes = mailbox.refresh().unwrap();
    assert!(changes.arrived && changes.expunged.is_empty() && changes.flags.is_empty());
    assert_eq!(uids_of(&*mailbox), [1, 2, 3, 4]);
    // When it shrank, all of it is compared.
    home.put(
        "box/.mixindex",
        home.get("box/.mixindex").replacen_bytes(b":20240301", b":20250301").as_slice(),
    );
    let mut other = open(&driver, &at).unwrap();
    drop(expunge(&mut *other, &uids(&[2])).unwrap());
    let changes = mailbox.refresh().unwrap();
    assert_eq!(changes.expunged, uids(&[2]));
    assert_eq!(uids_of(&*mailbox), [1, 3, 4]);
    for n in [1, 3, 4] {
        assert_eq!(read_all(&mut *mailbox, uid(n), Extent::Whole, 10).unwrap(), text(n).as_bytes());
    }
}

trait Replacen {
    fn replacen_bytes(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl Replacen for Vec<u8> {
    fn replacen_bytes(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(self.clone()).unwrap();
        text.replacen(std::str::from_utf8(from).unwrap(), std::str::from_utf8(to).unwrap(), 1).into_bytes()
    }
}

#[test]
fn space_is_reclaimed_by_who_is_alone() {
    let home = quick();
    let driver = with_messages(&home, 4);
    let at = home.at_name("box");
    let first = open(&driver, &at).unwrap();
    let mut second = open(&driver, &at).unwrap();
    let before: u64 = data_files(&home).values().sum();
    drop(expunge(&mut *second, &uids(&[1, 3])).unwrap());
    assert_eq!(data_files(&home).values().sum::<u64>(), before, "another session may read there");
    second.close().unwrap();
    assert_eq!(data_files(&home).values().sum::<u64>(), before);
    first.close().unwrap();
    let mut third = open(&driver, &at).unwrap();
    assert_eq!(home.notices().last().unwrap(), &format!("Reclaimed {} bytes of expunged space", before / 2));
    assert_eq!(data_files(&home).values().sum::<u64>(), before / 2);
    assert_eq!(data_files(&home).len(), 1, "no file is left over");
    for n in [2, 4] {
        assert_eq!(read_all(&mut *third, uid(n), Extent::Whole, 100).unwrap(), text(n).as_bytes());
    }
    // And the next message goes where they are now.
    append_plain(&driver, &at, text(5).as_bytes()).unwrap();
    assert_eq!(data_files(&home).len(), 1);
}

/// A message that another session has expunged stays readable until this one is told.
#[test]
fn an_expunged_message_is_readable_until_it_is_told() {
    let home = quick();
    let driver = with_messages(&home, 2);
    let at = home.at_name("box");
    let mut reader = driver.open(&at, Access::ReadOnly, Manner::Session).unwrap();
    let mut writer = open(&driver, &at).unwrap();
    drop(expunge(&mut *writer, &uids(&[1])).unwrap());
    append_plain(&driver, &at, text(3).as_bytes()).unwrap();
    writer.close().unwrap();
    assert_eq!(read_all(&mut *reader, uid(1), Extent::Whole, 100).unwrap(), text(1).as_bytes());
    assert_eq!(reader.refresh().unwrap().expunged, uids(&[1]));
    assert!(read_all(&mut *reader, uid(1), Extent::Whole, 100).is_err());
}

#[test]
fn a_refresh_that_finds_nothing_takes_no_lock() {
    let home = quick();
    let driver = with_messages(&home, 2);
    let mut mailbox = open(&driver, &home.at_name("box")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(120));
    assert!(mailbox.refresh().unwrap().is_empty());
    // Somebody who never lets go.
    let index = std::fs::File::open(home.path("box/.mixindex")).unwrap();
    index.lock().unwrap();
    assert!(mailbox.refresh().unwrap().is_empty());
}

#[test]
fn data_files_end_at_a_megabyte() {
    let home = quick();
    let driver = driver(&home);
    let at = home.at_name("box");
    driver.create(&at).unwrap();
    let large = |n: u8| [b"a: b\r\n\r\n".to_vec(), vec![b'0' + n; 400_000]].concat();
    for n in 0..5 {
        append_plain(&driver, &at, &large(n)).unwrap();
    }
    let sizes: Vec<_> = data_files(&home).into_values().collect();
    assert_eq!(sizes, [2 * 400_053, 2 * 400_053, 400_053]);
    // An append of several goes to one file, however large.
    let texts: Vec<_> = (5..10).map(large).collect();
    let messages: Vec<_> = texts.iter().map(|text| (AppendMeta::default(), text.as_slice())).collect();
    append(&driver, &at, &messages).unwrap();
    let sizes: Vec<_> = data_files(&home).into_values().collect();
    assert_eq!(sizes, [2 * 400_053, 2 * 400_053, 400_053, 5 * 400_053]);
    let mut mailbox = open(&driver, &at).unwrap();
    // The first part of the large file is more than a megabyte: it stays.
    drop(expunge(&mut *mailbox, &uids(&[9])).unwrap());
    let sizes: Vec<_> = data_files(&home).into_values().collect();
    assert_eq!(sizes, [2 * 400_053, 2 * 400_053, 400_053, 3 * 400_053, 400_053]);
    // What is left of small files goes together.
    drop(expunge(&mut *mailbox, &uids(&[1, 3])).unwrap());
    let sizes: Vec<_> = data_files(&home).into_values().collect();
    assert_eq!(sizes, [400_053, 3 * 400_053, 400_053, 2 * 400_053]);
    for number in uids_of(&*mailbox) {
        let wanted = large(u8::try_from(number).unwrap() - 1);
        assert!(read_all(&mut *mailbox, uid(number), Extent::Whole, 1 << 20).unwrap() == wanted, "{number}");
    }
    append_plain(&driver, &at, b"a: b\r\n\r\nc").unwrap();
    mailbox.close().unwrap();
    assert_eq!(open(&driver, &at).unwrap().snapshot().messages.len(), 8);
    let Some(said) = mailutil(&home, &["check", "box"]) else { return };
    assert!(said.contains("8 total in box"), "{said}");
}

/// An append looks at the ends of the files alone.
#[test]
fn an_append_costs_the_same_whatever_is_there() {
    let octets = |count: u32| {
        let home = quick();
        let driver = with_messages(&home, count);
        let disk = Arc::new(FaultyDisk::new(home.directory.path(), Fault::FullAfter(400)));
        let environment = home.environment.clone();
        let full = Mix::new(environment, disk.clone());
        append_plain(&full, &home.at_name("box"), text(9).as_bytes()).unwrap();
        drop(driver);
        disk.changes()
    };
    assert_eq!(octets(3), octets(300));
}

#[test]
fn keywords_are_made_by_append_while_there_is_room() {
    let home = quick();
    let driver = with_messages(&home, 1);
    let at = home.at_name("box");
    for n in 0..31 {
        let keyword = Keyword::new(format!("k{n}").as_bytes()).unwrap();
        let meta = AppendMeta { keywords: vec![keyword], ..AppendMeta::default() };
        append(&driver, &at, &[(meta, b"a: b\r\n\r\n")]).unwrap();
    }
    let mailbox = open(&driver, &at).unwrap();
    let snapshot = mailbox.snapshot();
    assert!(!snapshot.permanent.new_keywords);
    for (n, message) in snapshot.messages[1..].iter().enumerate() {
        let names: Vec<_> =
            snapshot.keywords.named(message.flags().keywords).map(|one| one.as_str()).collect();
        let wanted = if n < 30 { vec![format!("k{n}")] } else { vec![] };
        assert_eq!(names, wanted);
    }
    assert!(home.notices().contains(&"Unknown flag: k30".to_owned()));
}

#[test]
fn who_may_only_read_reads() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root.
        return;
    }
    let home = quick();
    let driver = with_messages(&home, 2);
    for entry in std::fs::read_dir(home.path("box")).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    let mut mailbox = open(&driver, &home.at_name("box")).unwrap();
    assert!(!mailbox.snapshot().writable);
    assert_eq!(read_all(&mut *mailbox, uid(2), Extent::Whole, 100).unwrap(), text(2).as_bytes());
    assert!(append_plain(&driver, &home.at_name("box"), b"x").is_err());
}

fn mailboxes(home: &Home) -> Mailboxes {
    Mailboxes::new(home.environment.clone(), ailurus_formats::drivers(&home.environment, &home.disk))
}

fn listed(mailboxes: &Mailboxes, pattern: &str) -> Vec<(String, Attributes)> {
    let mut found = Vec::new();
    mailboxes
        .list(b"", pattern.as_bytes(), &mut |one| {
            found.push((String::from_utf8(one.name).unwrap(), one.attributes));
        })
        .unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn a_mailbox_holds_mail_and_mailboxes() {
    let home = quick();
    let mailboxes = mailboxes(&home);
    mailboxes.create(&"#driver.mix/a".into()).unwrap();
    mailboxes.create(&"#driver.mix/a/b".into()).unwrap();
    mailboxes.create(&"a/plain".into()).unwrap();
    let children = Attributes::HAS_CHILDREN;
    let none = Attributes::HAS_NO_CHILDREN;
    let found = listed(&mailboxes, "*");
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["INBOX", "a", "a/b", "a/plain"], "files of the format are not shown");
    assert_eq!((found[1].1, found[2].1), (children, none));
    for name in ["a", "a/b", "a/plain"] {
        let mut append = mailboxes.append(&name.into()).unwrap();
        append.begin(AppendMeta { size: 8, ..AppendMeta::default() }).unwrap();
        append.write(b"a: b\r\n\r\n").unwrap();
        append.end().unwrap();
        append.commit().unwrap();
        assert_eq!(mailboxes.status(&name.into()).unwrap().messages, 1);
    }
    // The mailbox goes, what it holds stays, and its name with it.
    mailboxes.delete(&"a".into()).unwrap();
    let notice = home.environment.notices.take().pop().unwrap();
    assert_eq!(
        (notice.level, notice.text.as_str()),
        (Level::Warning, "Can't delete name a: Directory not empty")
    );
    assert_eq!(listed(&mailboxes, "a"), [("a".to_owned(), children.with(Attributes::NO_SELECT))]);
    assert_eq!(mailboxes.status(&"a/b".into()).unwrap().messages, 1);
    assert!(mailboxes.select(&"a".into(), Access::ReadWrite).is_err());
    // The directory becomes a mailbox again.
    mailboxes.create(&"#driver.mix/a".into()).unwrap();
    assert_eq!(mailboxes.status(&"a".into()).unwrap().messages, 0);
    assert!(mailboxes.create(&"#driver.mix/a".into()).is_err());
    mailboxes.rename(&"a".into(), &"c/d".into()).unwrap();
    assert_eq!(mailboxes.status(&"c/d/b".into()).unwrap().messages, 1);
    mailboxes.delete(&"c/d/b".into()).unwrap();
    mailboxes.delete(&"c/d/plain".into()).unwrap();
    mailboxes.delete(&"c/d".into()).unwrap();
    assert!(!home.path("c/d").exists());
    for bad in ["#driver.mix/.mixfoo", "#driver.mix/x/.mix"] {
        let why = mailboxes.create(&bad.into()).unwrap_err().to_string();
        assert!(why.contains("invalid MIX-format name"), "{why}");
    }
    assert!(mailboxes.select(&"c/.mixmeta".into(), Access::ReadOnly).is_err());
}

#[test]
fn inbox_is_renamed_without_the_mailboxes_in_it() {
    let home = quick();
    let driver = driver(&home);
    let (inbox, inner) = (home.at_name("INBOX"), home.at_name("INBOX/inner"));
    assert_eq!(driver.probe(&inbox).unwrap(), Claim::Empty);
    append_plain(&driver, &inbox, text(1).as_bytes()).unwrap();
    driver.create(&inner).unwrap();
    append_plain(&driver, &inner, text(2).as_bytes()).unwrap();
    let before = open(&driver, &inbox).unwrap().snapshot().uid_validity;
    driver.rename(&inbox, &home.at_name("old")).unwrap();
    assert_eq!(open(&driver, &home.at_name("old")).unwrap().snapshot().messages.len(), 1);
    let new = open(&driver, &inbox).unwrap();
    assert!(new.snapshot().messages.is_empty() && new.snapshot().uid_validity > before);
    assert_eq!(open(&driver, &inner).unwrap().snapshot().messages.len(), 1);
    assert!(!home.path("old/inner").exists());
}

/// The reference and we take turns; after each turn both see the same.
#[test]
fn the_reference_takes_turns_with_us() {
    for seed in 1..=3 {
        take_turns(seed, if std::env::var_os("AILURUS_LONG").is_some() { 300 } else { 30 });
    }
}

fn take_turns(seed: u64, turns: usize) {
    let mut random = Random::new(seed);
    let home = Home::with(Os::shared(), |environment| {
        environment.clock = Arc::new(ailurus_store::SystemClock::default())
    });
    if mailutil(&home, &["create", "#driver.mix/box"]).is_none() {
        return;
    }
    let (driver, at) = (driver(&home), home.at_name("box"));
    // Our session that stays open while the reference works, now and then.
    let mut session: Option<Box<dyn Mailbox>> = None;
    let mut model: Vec<(u32, String)> = Vec::new();
    let mut number = 0;
    let mut largest = 0;
    for turn in 0..turns {
        let what = random.below(6);
        let story = format!("seed {seed}, turn {turn}, {what}");
        match what {
            0 => {
                number += 1;
                let (_, new) = append_plain(&driver, &at, text(number).as_bytes()).unwrap().uids.unwrap();
                model.push((new[0].get(), text(number)));
            }
            1 => {
                number += 1;
                let source = format!("From x Sat Feb  1 12:34:56 2025\n{}\n", text(number).replace('\r', ""));
                home.put("source", source.as_bytes());
                mailutil(&home, &["append", "source", "box"]).unwrap();
                model.push((0, text(number)));
            }
            2 => {
                let mut mailbox = open(&driver, &at).unwrap();
                let some: UidSet =
                    model.iter().filter(|_| random.one_in(3)).map(|(number, _)| uid(*number)).collect();
                drop(expunge(&mut *mailbox, &some).unwrap());
                model.retain(|(number, _)| !some.contains(uid(*number)));
                mailbox.close().unwrap();
            }
            3 if !model.is_empty() => {
                let at = random.below(model.len());
                let subject =
                    model[at].1.lines().next().unwrap().strip_prefix("Subject: ").unwrap().to_owned();
                let said = mailutil(&home, &["prune", "box", &format!("SUBJECT \"{subject}\"")]).unwrap();
                assert!(said.contains("purged"), "{story}: {said}");
                model.retain(|(_, text)| !text.contains(&subject));
            }
            4 => {
                let mut mailbox = open(&driver, &at).unwrap();
                let keyword = format!("kw{}", random.below(3));
                let change = change(FlagOp::Add, SystemFlags::FLAGGED, &[&keyword]);
                drop(store(&mut *mailbox, &UidSet::all(), &change).unwrap());
            }
            _ if session.is_none() => session = Some(open(&driver, &at).unwrap()),
            _ => session.take().unwrap().close().unwrap(),
        }
        if let Some(session) = &mut session {
            drop(session.refresh().unwrap_or_else(|error| panic!("{story}: {error}")));
            assert_eq!(session.snapshot().messages.len(), model.len(), "{story}");
        }
        let said = mailutil(&home, &["check", "box"]).unwrap();
        assert!(said.contains(&format!("{} total in box", model.len())), "{story}: {said}");
        let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{story}: {error}"));
        assert_eq!(mailbox.snapshot().messages.len(), model.len(), "{story}");
        for (known, found) in model.iter_mut().zip(uids_of(&*mailbox)) {
            if known.0 == 0 {
                assert!(found > largest, "{story}: UID {found} was given before");
                known.0 = found;
            }
            largest = largest.max(found);
            assert_eq!(known.0, found, "{story}");
            let whole = read_all(&mut *mailbox, uid(found), Extent::Whole, 1000).unwrap();
            assert_eq!(String::from_utf8(whole).unwrap(), known.1, "{story}");
        }
        mailbox.close().unwrap();
    }
}

/// Programs of both kinds append at the same time; nobody's message or UID is lost.
#[test]
fn many_writers_at_once() {
    let home = Home::new();
    let (driver, at) = (driver(&home), home.at_name("box"));
    driver.create(&at).unwrap();
    let source: String =
        (0..5).map(|_| "From x Sat Feb  1 12:34:56 2025\nSubject: theirs\n\ntext\n\n").collect();
    home.put("source", source.as_bytes());
    let Some(_) = mailutil(&home, &["check", "box"]) else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..4).for_each(|_| drop(mailutil(&home, &["append", "source", "box"]))));
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    append_plain(&driver, &at, b"Subject: ours\r\n\r\ntext\r\n").unwrap();
                }
            });
        }
    });
    let mut mailbox = open(&driver, &at).unwrap();
    let uids = uids_of(&*mailbox);
    let texts: Vec<_> = uids
        .iter()
        .map(|number| read_all(&mut *mailbox, uid(*number), Extent::Whole, 100).unwrap())
        .collect();
    let count = |what: &str| texts.iter().filter(|text| text.starts_with(what.as_bytes())).count();
    assert_eq!((count("Subject: theirs"), count("Subject: ours")), (20, 40));
    assert!(uids.is_sorted_by(|a, b| a < b));
}
