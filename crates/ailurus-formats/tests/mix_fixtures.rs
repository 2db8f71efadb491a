//! The reference's mix mailboxes: what it says of them, and what it makes of them.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mix;
use ailurus_store::{AppendMeta, Claim, Driver, Extent, Mailbox};
use ailurus_types::{FlagOp, Keyword, SystemFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use support::*;

type Files = BTreeMap<String, Vec<u8>>;

fn driver(home: &Home) -> Mix {
    Mix::new(home.environment.clone(), home.disk.clone())
}

fn read_files(directory: &Path) -> Files {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

fn put_files(directory: &Path, files: &Files) {
    std::fs::create_dir(directory).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
}

/// A home with a sample as the mailbox `T`.
fn with_sample(name: &str) -> Home {
    let home = Home::new();
    put_files(&home.path("T"), &read_files(&fixtures("mix").join(name)));
    home
}

/// Numbers that come from the time are others in every run: sequences, those of data files, and those of flag changes
/// since.
fn masked(files: &Files) -> Files {
    let text =
        |name: &str| String::from_utf8_lossy(files.get(name).map_or(&[][..], Vec::as_slice)).into_owned();
    let mut numbers: Vec<String> = Vec::new();
    for line in text(".mixindex").lines().filter(|line| line.starts_with(':')) {
        let number = line.split(':').nth(4).unwrap_or_default().to_owned();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers.extend(text(".mixmeta").lines().filter_map(|line| line.strip_prefix('N')).map(str::to_owned));
    let named = |number: &str| {
        numbers.iter().position(|known| known == number).map_or(number.to_owned(), |at| format!("F{at}"))
    };
    let mut out = Files::new();
    for (name, content) in files {
        let Some(suffix) = name.strip_prefix(".mix") else { continue };
        let content = match name.as_str() {
            ".mixmeta" | ".mixindex" | ".mixstatus" => {
                let lines = text(name);
                let lines = lines.split_inclusive('\n').map(|line| mask_line(name, line, &named));
                lines.collect::<String>().into_bytes()
            }
            _ => content.clone(),
        };
        out.insert(format!(".mix{}", named(suffix)), content);
    }
    out
}

fn mask_line(name: &str, line: &str, named: &dyn Fn(&str) -> String) -> String {
    let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
    match (name, line.chars().next()) {
        (_, Some('S')) => format!("S*{}", line[1..].trim_start_matches(|c: char| c.is_ascii_hexdigit())),
        (".mixmeta", Some('N')) => format!("N{}\r\n", named(line[1..].trim_end())),
        (".mixindex", Some(':')) if fields.len() > 4 => {
            fields[4] = named(&fields[4]);
            fields.join(":")
        }
        (".mixstatus", Some(':')) if fields.len() > 4 && fields[4].as_str() >= "67c2f6c0" => {
            fields[4] = "*".into();
            fields.join(":")
        }
        _ => line.to_owned(),
    }
}

#[track_caller]
fn assert_files(left: &Files, right: &Files, what: &str) {
    let (left, right) = (masked(left), masked(right));
    let shown = |files: &Files| {
        let lines =
            files.iter().map(|(name, octets)| format!("{name}\n{}\n", String::from_utf8_lossy(octets)));
        lines.collect::<String>()
    };
    assert!(left == right, "{what}:\n--- is\n{}\n--- should be\n{}", shown(&left), shown(&right));
}

/// Where the reference refuses a mailbox or loses something, and we do not: what we show instead.
fn ours(name: &str) -> Option<Vec<String>> {
    // Keywords by slot, and which of the messages are recent.
    let (keywords, recent): (&[&str], &[u32]) = match name {
        // A line that we do not know; lines that end in LF; a data file that is missing.
        "20-d-unknown-meta" | "20-n-unknown-index" | "20-p-lf-only" | "20-g-missing-data" => (&[], &[]),
        // The K line does not end in CRLF.
        "20-k-meta-no-crlf" => (&["0 foo", "1 bar"], &[]),
        // It has two spaces in a row.
        "20-s-meta-kdbl" => (&["0 foo", "2 bar"], &[]),
        "20-i-no-status-file" => (&[], &[1, 2, 3]),
        // One bad status record costs the flags of one message.
        "20-h-bad-status" => (&[], &[2]),
        // The records are put into order; a message is taken back that the status file knows and the index does not.
        "20-u-index-backwards" | "20-v-index-gap" => (&[], &[]),
        "31-default-keywords-appended" => return Some(vec!["keyword 0 foo".into(), "keyword 1 bar".into()]),
        _ => return None,
    };
    let keywords = keywords.iter().map(|keyword| format!("keyword {keyword}"));
    let messages = (1..=3).map(|n| {
        let recent = if recent.contains(&n) { "r" } else { "" };
        format!("msg {n} uid={n} size=20 date=\" 1-Feb-2025 12:34:56 +0200\" flags={recent} uf=0")
    });
    Some(keywords.chain(messages).collect())
}

fn lines_of(expect: &str) -> Vec<String> {
    let told = expect.lines().filter(|line| line.starts_with("msg") || line.starts_with("keyword"));
    told.map(str::to_owned).collect()
}

fn check(name: &str) {
    let expect = String::from_utf8(fixture(&format!("mix/{name}.expect"))).unwrap();
    let home = with_sample(name);
    let before = read_files(&home.path("T"));
    let (driver, at) = (driver(&home), home.at_name("T"));
    assert_eq!(driver.probe(&at).unwrap(), Claim::Valid, "{name}");
    let mut mailbox = open(&driver, &at).unwrap_or_else(|error| panic!("{name}: {error}"));
    let told = home.notices();
    let differs = ours(name);
    let wanted = differs.clone().unwrap_or_else(|| lines_of(&expect));
    assert_eq!(show(&*mailbox), wanted, "{name}");
    assert_eq!(expect.contains("open FAILED"), differs.is_some() && !has_messages(&expect), "{name}");
    if differs.is_none() {
        check_notices(name, &expect, &told, &home);
        let snapshot = mailbox.snapshot();
        let open_line = expect.lines().find(|line| line.starts_with("open ok")).unwrap();
        for fact in [
            format!("nmsgs={} ", snapshot.messages.len()),
            format!("recent={} ", snapshot.messages.iter().filter(|message| message.is_recent()).count()),
            format!("uidv={} ", snapshot.uid_validity),
            format!("uidlast={} ", snapshot.uid_next.unwrap().get() - 1),
            format!("kwd_create={}", u8::from(snapshot.permanent.new_keywords)),
        ] {
            assert!(format!("{open_line} ").contains(&fact), "{name}: {fact} is not in {open_line}");
        }
    }
    check_texts(name, &mut *mailbox);
    drop(mailbox.checkpoint().unwrap());
    mailbox.close().unwrap();
    let after = fixtures("mix").join(format!("{name}.after"));
    let after = if after.exists() { read_files(&after) } else { before };
    if differs.is_none() {
        assert_files(&read_files(&home.path("T")), &after, name);
    }
    // Whatever it was, it is a mailbox like any other now.
    if name != "20-g-missing-data" {
        let (_, uids) = append_plain(&driver, &at, b"a: b\r\n\r\nc").unwrap().uids.unwrap();
        let mut mailbox = open(&driver, &at).unwrap();
        let messages = wanted.iter().filter(|line| line.starts_with("msg")).count();
        assert_eq!(mailbox.snapshot().messages.len(), messages + 1, "{name}");
        assert_eq!(read_all(&mut *mailbox, uids[0], Extent::Whole, 100).unwrap(), b"a: b\r\n\r\nc", "{name}");
    }
}

fn has_messages(expect: &str) -> bool {
    expect.lines().any(|line| line.starts_with("msg"))
}

fn check_notices(name: &str, expect: &str, told: &[String], home: &Home) {
    for line in expect.lines() {
        let Some((_, text)) = line.strip_prefix("log ").and_then(|log| log.split_once(": ")) else {
            continue;
        };
        let text = text.replace("/home/alice", home.directory.path().to_str().unwrap());
        if text != "Check completed" {
            assert!(told.contains(&text), "{name}: {text:?} is not in {told:?}");
        }
    }
    if !expect.contains("log WARN") && !expect.contains("log ERROR") {
        let quiet = told.iter().all(|text| text.starts_with("Reclaimed"));
        assert!(quiet, "{name}: {told:?}");
    }
}

/// What can be read is what is in the data files.
fn check_texts(name: &str, mailbox: &mut dyn Mailbox) {
    let sizes: Vec<_> = mailbox.snapshot().messages.iter().map(|message| message.rfc822_size()).collect();
    for (number, size) in uids_of(mailbox).into_iter().zip(sizes) {
        let read = read_all(mailbox, uid(number), Extent::Whole, 7);
        if name == "20-g-missing-data" {
            assert!(reason(&read.unwrap_err()).starts_with("Missing mix data file: "));
            continue;
        }
        let whole = read.unwrap_or_else(|error| panic!("{name}, {number}: {error}"));
        assert_eq!(whole.len(), size as usize, "{name}, {number}");
        let header = read_all(mailbox, uid(number), Extent::Header, 1000).unwrap();
        let text = read_all(mailbox, uid(number), Extent::Text, 1000).unwrap();
        assert_eq!([header, text].concat(), whole, "{name}, {number}");
        if name.starts_with("20-") && size == 20 {
            assert!(
                whole.starts_with(format!("Subject: m{number}").as_bytes()) || whole.starts_with(b"Subject:"),
                "{name}: {}",
                String::from_utf8_lossy(&whole)
            );
        }
    }
}

#[test]
fn every_sample_is_seen_and_left_as_the_reference_does_or_better() {
    let names: BTreeSet<String> = std::fs::read_dir(fixtures("mix"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut checked = 0;
    for name in &names {
        if let Some(stem) = name.strip_suffix(".expect") {
            assert!(names.contains(stem), "{name} has no mailbox");
            check(stem);
            checked += 1;
        } else if let Some(stem) = name.strip_suffix(".after") {
            assert!(names.contains(&format!("{stem}.expect")), "{name}");
        } else if !names.contains(&format!("{name}.expect")) {
            let by_steps = ["01-", "02-", "04-", "05-", "06-", "07-", "30-"];
            assert!(by_steps.iter().any(|start| name.starts_with(start)), "{name}");
        }
    }
    assert_eq!(checked, 24);
}

#[test]
fn a_new_mailbox_is_the_references_octet_by_octet() {
    let home = Home::new();
    driver(&home).create(&home.at_name("new")).unwrap();
    assert_eq!(read_files(&home.path("new")), read_files(&fixtures("mix").join("01-created")));
    let keywords = ["foo", "bar"].map(|name| Keyword::new(name.as_bytes()).unwrap());
    let home = Home::with(home.disk, |environment| environment.default_keywords = keywords.into());
    driver(&home).create(&home.at_name("new")).unwrap();
    let mut wanted = read_files(&fixtures("mix").join("30-default-keywords-created"));
    // The reference leaves out the end of the line, and then refuses the mailbox.
    wanted.get_mut(".mixmeta").unwrap().extend_from_slice(b"\r\n");
    assert_eq!(read_files(&home.path("new")), wanted);
    assert!(driver(&home).create(&home.at_name("new")).is_err());
}

/// The mailbox that the reference makes and cannot open: with us it can be opened, and then the reference can too.
#[test]
fn a_mailbox_made_with_default_keywords_is_mended() {
    let home = with_sample("30-default-keywords-created");
    let mailbox = open(&driver(&home), &home.at_name("T")).unwrap();
    assert_eq!(show(&*mailbox), ["keyword 0 foo", "keyword 1 bar"]);
    mailbox.close().unwrap();
    assert!(home.get("T/.mixmeta").ends_with(b"Kfoo bar\r\n"));
    let Some(said) = mailutil(&home, &["check", "T"]) else { return };
    assert!(said.contains("No new messages, 0 total in T"), "{said}");
}

/// The appends, flag changes and expunges that made 02 to 06.
#[test]
fn appends_flags_and_expunges_leave_what_the_reference_leaves() {
    let home = Home::new();
    let (driver, at) = (driver(&home), home.at_name("box"));
    let is = |name: &str| {
        assert_files(&read_files(&home.path("box")), &read_files(&fixtures("mix").join(name)), name)
    };
    driver.create(&at).unwrap();
    let texts: Vec<_> = (1..=4).map(|n| fixture(&format!("messages/m{n}.eml"))).collect();
    let all = SystemFlags::FLAGGED | SystemFlags::ANSWERED | SystemFlags::DRAFT | SystemFlags::DELETED;
    let first = append(&driver, &at, &[(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &texts[0])]);
    assert_eq!(first.unwrap().uids.unwrap().1, [uid(1)]);
    let two = append(&driver, &at, &[(AppendMeta::default(), &texts[1]), (AppendMeta::default(), &texts[2])]);
    assert_eq!(two.unwrap().uids.unwrap().1, [uid(2), uid(3)]);
    append(&driver, &at, &[(meta(all, " 5-Mar-2024 01:02:03 -0830"), &texts[3])]).unwrap();
    is("02-appended");
    is("06-appended-uidplus");

    let mut mailbox = open(&driver, &at).unwrap();
    let wanted = read_files(&fixtures("mix").join("07-sortcache"));
    let wanted = wanted.into_iter().filter(|(name, _)| name != ".mixsortcache").collect();
    assert_files(&read_files(&home.path("box")), &wanted, "opened");
    for (uid, keyword) in [(1, "Work"), (2, "$Forwarded")] {
        let flags = if uid == 1 { SystemFlags::FLAGGED } else { SystemFlags::NONE };
        let changes = store(&mut *mailbox, &uids(&[uid]), &change(FlagOp::Add, flags, &[keyword])).unwrap();
        assert_eq!(changes.flags, uids(&[uid]));
        assert!(changes.keywords);
    }
    is("03-flags-keywords");
    for (n, text) in texts.iter().enumerate() {
        let uid = uid(u32::try_from(n).unwrap() + 1);
        for most in [1, 3, 1000] {
            let whole = read_all(&mut *mailbox, uid, Extent::Whole, most).unwrap();
            assert_eq!(&whole, text);
        }
    }
    drop(expunge(&mut *mailbox, &uids(&[4])).unwrap());
    mailbox.close().unwrap();
    is("04-expunged-one");
    let mut mailbox = open(&driver, &at).unwrap();
    drop(expunge(&mut *mailbox, &uids(&[1, 2, 3])).unwrap());
    mailbox.close().unwrap();
    is("05-expunged-all");
    assert_eq!(open(&driver, &at).unwrap().snapshot().uid_next, Some(uid(5)));
}

/// Sequences and changes of flags, octet by octet: as the reference with a clock that stands still.
#[test]
fn the_sequences_of_an_append_are_the_references() {
    let home = with_sample("01-created");
    let (driver, at) = (driver(&home), home.at_name("T"));
    let text = fixture("messages/m1.eml");
    append(&driver, &at, &[(meta(SystemFlags::SEEN, " 1-Feb-2025 12:34:56 +0200"), &text)]).unwrap();
    assert!(home.get("T/.mixmeta").starts_with(b"S67c2f6c2\r\n"));
    assert!(home.get("T/.mixindex").starts_with(b"S67c2f6c1\r\n"));
    assert_eq!(home.get("T/.mixstatus"), b"S67c2f6c1\r\n:00000001:00000000:0001:67c2f6c1:\r\n");
}

/// Whatever the reference wrote, it counts the same messages as we do, before we opened it and after.
#[test]
fn the_reference_counts_the_same_messages() {
    let refused = ["20-d-unknown-meta", "20-n-unknown-index", "20-g-missing-data", "20-s-meta-kdbl"];
    for entry in std::fs::read_dir(fixtures("mix")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !path.is_dir() || name.ends_with(".after") || refused.contains(&name) {
            continue;
        }
        let home = with_sample(name);
        let mailbox = open(&driver(&home), &home.at_name("T")).unwrap();
        let count = mailbox.snapshot().messages.len();
        mailbox.close().unwrap();
        let Some(said) = mailutil(&home, &["check", "T"]) else { return };
        assert!(said.contains(&format!("{count} total in T")), "{name}: {said}");
    }
}
