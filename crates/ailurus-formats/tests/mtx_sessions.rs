//! mtx and tenex mailboxes over time: UIDs and keywords that stay while old programs do as they like.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::Mtx;
use ailurus_store::{Access, AppendMeta, Claim, Driver, Error, Extent, Mailbox, Manner};
use ailurus_testkit::faulty::NoSync;
use ailurus_testkit::random::Random;
use ailurus_types::{FlagOp, Keyword, SystemFlags, UidSet};
use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use support::*;

const SIDECAR: &str = ".box.ailurus-uids";
const FORMATS: [&str; 2] = ["mtx", "tenex"];

fn home() -> Home {
    Home::with(Arc::new(NoSync), |_| {})
}

fn driver(home: &Home, format: &str) -> Mtx {
    let make = if format == "mtx" { Mtx::new } else { Mtx::tenex };
    make(home.environment.clone(), home.disk.clone())
}

/// A mailbox of so many messages, the n-th saying `body n`.
fn filled(home: &Home, format: &str, count: u32) -> Mtx {
    let driver = driver(home, format);
    driver.create(&home.at_name("box")).unwrap();
    for n in 1..=count {
        append_plain(&driver, &home.at_name("box"), text(n).as_bytes()).unwrap();
    }
    driver
}

fn text(n: u32) -> String {
    format!("Subject: {n}\r\n\r\nbody {n}\r\n")
}

fn check_texts(mailbox: &mut dyn Mailbox, wanted: &[(u32, u32)]) {
    assert_eq!(uids_of(mailbox), wanted.iter().map(|(uid, _)| *uid).collect::<Vec<_>>());
    for (number, n) in wanted {
        let whole = read_all(mailbox, uid(*number), Extent::Whole, 1000).unwrap();
        assert_eq!(String::from_utf8(whole).unwrap(), text(*n));
    }
}

/// An old program, which knows lines, sizes and flags and nothing else.
struct Old {
    newline: &'static str,
    /// Each message with its line.
    messages: Vec<Vec<u8>>,
}

impl Old {
    fn read(home: &Home, format: &str) -> Self {
        let newline = if format == "mtx" { "\r\n" } else { "\n" };
        let (content, mut messages) = (home.get("box"), Vec::new());
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let line_end = rest.windows(newline.len()).position(|part| part == newline.as_bytes()).unwrap();
            let line = std::str::from_utf8(&rest[..line_end]).unwrap();
            let size: usize = line.split([',', ';']).nth(1).unwrap().parse().unwrap();
            let (message, after) = rest.split_at(line_end + newline.len() + size);
            messages.push(message.to_vec());
            rest = after;
        }
        Self { newline, messages }
    }

    fn write(&self, home: &Home) {
        home.put("box", &self.messages.concat());
    }

    fn add(&mut self, text: &str) {
        let text = if self.newline == "\n" { text.replace('\r', "") } else { text.into() };
        let line = format!(" 1-Feb-2025 12:34:56 +0200,{};000000000000{}", text.len(), self.newline);
        self.messages.push([line, text].concat().into_bytes());
    }

    /// Writes the twelve digits of a message's flags.
    fn set_flags(&mut self, index: usize, digits: &str) {
        let at = self.flags_at(index);
        self.messages[index][at..at + 12].copy_from_slice(digits.as_bytes());
    }

    fn flags(&self, index: usize) -> String {
        let at = self.flags_at(index);
        String::from_utf8(self.messages[index][at..at + 12].to_vec()).unwrap()
    }

    fn flags_at(&self, index: usize) -> usize {
        self.messages[index].iter().position(|octet| *octet == b';').unwrap() + 1
    }
}

#[test]
fn flags_show_in_other_sessions_within_the_same_second_and_later() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 3), home.at_name("box"));
        let mut sessions: Vec<_> = (0..3).map(|_| open(&driver, &at).unwrap()).collect();
        for round in 0..60 {
            let (writer, op) = (round % 3, if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove });
            let set = uids(&[u32::try_from(round % 3).unwrap() + 1]);
            let keywords: &[&str] = if round % 5 == 0 { &["kw"] } else { &[] };
            let changes =
                store(&mut *sessions[writer], &set, &change(op, SystemFlags::FLAGGED, keywords)).unwrap();
            let expected = changes.flags;
            for (other, session) in sessions.iter_mut().enumerate().filter(|(other, _)| *other != writer) {
                assert_eq!(session.refresh().unwrap().flags, expected, "round {round}, session {other}");
            }
            let shown: Vec<_> = sessions.iter().map(|session| show(&**session)[1].replace('r', "")).collect();
            assert!(shown.iter().all(|line| *line == shown[0]), "{shown:?}");
        }
        assert!(sessions[1].refresh().unwrap().is_empty());
    }
}

#[test]
fn what_an_old_program_does_to_flags_is_seen() {
    for format in FORMATS {
        let home = Home::with(Arc::new(NoSync), |environment| {
            environment.default_keywords = vec![Keyword::new(b"foo").unwrap()];
        });
        let (driver, at) = (filled(&home, format, 2), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        let both = change(FlagOp::Add, SystemFlags::SEEN, &["foo", "bar"]);
        drop(store(&mut *mailbox, &UidSet::all(), &both).unwrap());
        let mut old = Old::read(&home, format);
        assert_eq!(old.flags(0), "400000000021");
        // It sets a keyword that has no name here, and clears the one that has.
        old.set_flags(0, "200000000030");
        old.write(&home);
        assert_eq!(mailbox.refresh().unwrap().flags, uids(&[1]));
        let flags = mailbox.snapshot().messages[0].flags();
        assert_eq!((flags.system, flags.keywords.0), (SystemFlags::ANSWERED, 0b10));
        // The bit without a name stays.
        let changes =
            store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Replace, SystemFlags::DRAFT, &["foo"]));
        assert_eq!(changes.unwrap().flags, uids(&[1]));
        assert_eq!(Old::read(&home, format).flags(0), "600000000060");
        assert_eq!(Old::read(&home, format).flags(1), "400000000021");
    }
}

#[test]
fn a_keyword_that_is_configured_later_moves_to_the_file() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 2), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        drop(
            store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &["one", "two"]))
                .unwrap(),
        );
        mailbox.close().unwrap();
        let home = Home::at(home.directory, Arc::new(NoSync), |environment| {
            environment.default_keywords =
                ["two", "three"].map(|name| Keyword::new(name.as_bytes()).unwrap()).into();
        });
        let driver = self::driver(&home, format);
        let mut mailbox = open(&driver, &at).unwrap();
        assert_eq!(
            mailbox.snapshot().keywords.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(),
            ["two", "three", "one"]
        );
        assert_eq!(mailbox.snapshot().messages[0].flags().keywords.0, 0b101);
        drop(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap());
        assert_eq!(Old::read(&home, format).flags(0), "400000000021");
        drop(
            store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Remove, SystemFlags::NONE, &["two"])).unwrap(),
        );
        mailbox.close().unwrap();
        let mailbox = open(&driver, &at).unwrap();
        assert_eq!(mailbox.snapshot().messages[0].flags().keywords.0, 0b100);
    }
}

#[test]
fn an_expunge_is_refused_while_another_session_is_there() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 4), home.at_name("box"));
        let mut one = open(&driver, &at).unwrap();
        let mut two = driver.open(&at, Access::ReadOnly, Manner::Session).unwrap();
        let before = home.get("box");
        let mut edit = one.edit().unwrap();
        edit.store(&UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &["new"])).unwrap();
        edit.expunge(&uids(&[2])).unwrap();
        assert!(matches!(edit.commit(), Err(Error::InUse { .. })));
        assert!(home.get("box") == before && one.snapshot().keywords.is_empty(), "nothing of it happened");
        two.close().unwrap();
        assert_eq!(expunge(&mut *one, &uids(&[2])).unwrap().expunged, uids(&[2]));
        check_texts(&mut *one, &[(1, 1), (3, 3), (4, 4)]);
        // It goes on in the file that others see.
        two = open(&driver, &at).unwrap();
        assert!(matches!(expunge(&mut *one, &uids(&[1])), Err(Error::InUse { .. })));
        append_plain(&driver, &at, text(5).as_bytes()).unwrap();
        for mailbox in [&mut one, &mut two] {
            assert!(mailbox.refresh().unwrap().arrived);
            check_texts(&mut **mailbox, &[(1, 1), (3, 3), (4, 4), (5, 5)]);
        }
    }
}

/// Whatever old programs do between our steps, a UID names one message, and a message that stays keeps its UID and its
/// keywords, unless something was put before it.
#[test]
fn hundreds_of_interleavings_with_an_old_program_give_no_uid_twice() {
    let seeds = std::env::var("MTX_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .map_or(0..150, |seed| seed..seed + 1);
    for format in FORMATS {
        for seed in seeds.clone() {
            interleave(format, seed);
        }
    }
}

fn interleave(format: &str, seed: u64) {
    let mut random = Random::new(seed);
    let home = home();
    let (driver, at) = (filled(&home, format, 3), home.at_name("box"));
    let mut names: HashMap<(u32, u32), String> = HashMap::new();
    let mut keywords: HashMap<String, bool> = HashMap::new();
    let mut next = 4;
    let mut session: Option<Box<dyn Mailbox>> = None;
    for step in 0..40 {
        let what = format!("{format}, seed {seed}, step {step}");
        let mut fresh = || {
            next += 1;
            // Some messages are alike but for one octet far behind.
            if next % 3 == 0 {
                format!("Subject: x\r\n\r\n{}{next:03}", "same\r\n".repeat(60))
            } else {
                text(next)
            }
        };
        match random.below(10) {
            0 | 1 => {
                let said = fresh();
                let (validity, uids) = append_plain(&driver, &at, said.as_bytes()).unwrap().uids.unwrap();
                let before = names.insert((validity.get(), uids[0].get()), said.clone());
                assert!(before.is_none(), "{what}: UID {} of {before:?} for {said:?}", uids[0]);
            }
            2 => {
                let mut old = Old::read(&home, format);
                for _ in 0..=random.below(3) {
                    old.add(&fresh());
                }
                old.write(&home);
            }
            // Nobody takes a message out while a session has the mailbox open, and we do neither.
            3 | 4 if session.is_none() => {
                let mut old = Old::read(&home, format);
                old.messages.retain(|_| !random.one_in(3));
                if random.one_in(4) {
                    old.add(&fresh());
                }
                old.write(&home);
            }
            5 => {
                let mut old = Old::read(&home, format);
                if !old.messages.is_empty() {
                    let index = random.below(old.messages.len());
                    old.set_flags(index, "000000000033");
                    old.write(&home);
                }
            }
            6 => session = None,
            7 if session.is_none() && random.one_in(4) => {
                // Lost, cut off or damaged.
                match random.below(3) {
                    0 => std::fs::remove_file(home.path(SIDECAR)).unwrap_or(()),
                    1 => home.put(SIDECAR, &home.get(SIDECAR)[..20]),
                    _ => {
                        let mut content = home.get(SIDECAR);
                        let middle = content.len() / 2;
                        content[middle] ^= 1;
                        home.put(SIDECAR, &content);
                    }
                }
                keywords.clear();
                names.clear();
            }
            8 => {
                let mut mailbox = session.take().unwrap_or_else(|| open(&driver, &at).unwrap());
                let of = uids_of(&*mailbox);
                if !of.is_empty() {
                    let number = *random.pick(&of);
                    let said =
                        String::from_utf8(read_all(&mut *mailbox, uid(number), Extent::Whole, 999).unwrap());
                    let on = random.one_in(2);
                    let op = if on { FlagOp::Add } else { FlagOp::Remove };
                    drop(
                        store(&mut *mailbox, &uids(&[number]), &change(op, SystemFlags::NONE, &["Mine"]))
                            .unwrap(),
                    );
                    keywords.insert(said.unwrap(), on);
                    if random.one_in(3) {
                        drop(expunge(&mut *mailbox, &uids(&[*random.pick(&of)])).unwrap());
                    }
                }
                session = Some(mailbox);
            }
            _ => {}
        }
        if random.one_in(3) && session.is_none() {
            session = Some(open(&driver, &at).unwrap_or_else(|error| panic!("{what}: {error}")));
        }
        let Some(mailbox) = &mut session else { continue };
        drop(mailbox.refresh().unwrap_or_else(|error| panic!("{what}: {error}")));
        let validity = mailbox.snapshot().uid_validity.get();
        let of = uids_of(&**mailbox);
        assert_eq!(of.len(), Old::read(&home, format).messages.len(), "{what}");
        assert!(of.is_sorted_by(|a, b| a < b), "{what}");
        let mine = mailbox.snapshot().keywords.find("Mine");
        for number in of {
            let said = read_all(&mut **mailbox, uid(number), Extent::Whole, 999).unwrap();
            let said = String::from_utf8(said).unwrap();
            let before = names.insert((validity, number), said.clone());
            assert!(before.is_none_or(|before| before == said), "{what}: UID {number}");
            let flags = mailbox.snapshot().message(uid(number)).unwrap().flags().keywords;
            let has = mine.is_some_and(|slot| flags.has(slot));
            if let Some(on) = keywords.get(&said) {
                assert_eq!(has, *on, "{what}: keyword of {number}");
            }
        }
    }
}

#[test]
fn what_is_left_keeps_its_uid_and_the_first_new_one_ends_that() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 6), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        drop(
            store(&mut *mailbox, &uids(&[2, 5]), &change(FlagOp::Add, SystemFlags::NONE, &["kept"])).unwrap(),
        );
        mailbox.close().unwrap();
        let mut old = Old::read(&home, format);
        old.messages.remove(3);
        old.messages.remove(0);
        old.add(&text(7));
        old.write(&home);
        let mut mailbox = open(&driver, &at).unwrap();
        check_texts(&mut *mailbox, &[(2, 2), (3, 3), (5, 5), (6, 6), (7, 7)]);
        let kept: Vec<_> =
            mailbox.snapshot().messages.iter().map(|message| message.flags().keywords.0).collect();
        assert_eq!(kept, [1, 0, 1, 0, 0]);
        mailbox.close().unwrap();
        // Somebody edited the file by hand.
        let mut old = Old::read(&home, format);
        let moved = old.messages.remove(4);
        old.messages.insert(1, moved);
        old.write(&home);
        check_texts(&mut *open(&driver, &at).unwrap(), &[(2, 2), (7, 7), (8, 3), (9, 5), (10, 6)]);
        assert_eq!(append_plain(&driver, &at, text(8).as_bytes()).unwrap().uids.unwrap().1, [uid(11)]);
    }
}

#[test]
fn a_sidecar_that_is_lost_costs_uids_and_keywords_and_nothing_else() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 3), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        drop(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &["kw"])).unwrap());
        drop(expunge(&mut *mailbox, &uids(&[2])).unwrap());
        // The session that has the mailbox open knows more than anybody.
        std::fs::remove_file(home.path(SIDECAR)).unwrap();
        let later = Home::at(home.directory, Arc::new(NoSync), |environment| {
            environment.clock = Arc::new(Frozen { now: NOW + 100, offset: 0 });
        });
        let (driver, home) = (self::driver(&later, format), later);
        append_plain(&driver, &at, text(4).as_bytes()).unwrap();
        let changes = mailbox.refresh().unwrap();
        assert!(changes.uid_validity && changes.arrived);
        check_texts(&mut *mailbox, &[(1, 1), (2, 3), (3, 4)]);
        assert_eq!(i64::from(mailbox.snapshot().uid_validity.get()), NOW + 100);
        // One that it makes itself keeps the UIDs that it knows.
        std::fs::remove_file(home.path(SIDECAR)).unwrap();
        drop(store(&mut *mailbox, &uids(&[3]), &change(FlagOp::Add, SystemFlags::NONE, &["kw"])).unwrap());
        check_texts(&mut *mailbox, &[(1, 1), (2, 3), (3, 4)]);
        let shown = (mailbox.snapshot().uid_validity, show(&*mailbox));
        assert!(i64::from(shown.0.get()) > NOW + 100);
        mailbox.close().unwrap();
        let mailbox = open(&driver, &at).unwrap();
        assert_eq!((mailbox.snapshot().uid_validity, mailbox.snapshot().keywords.len()), (shown.0, 1));
        drop(mailbox);
        // A damaged one gives its keywords all the same.
        let mut mailbox = open(&driver, &at).unwrap();
        drop(
            store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::NONE, &["more"])).unwrap(),
        );
        drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap());
        let before = mailbox.snapshot().uid_validity;
        mailbox.close().unwrap();
        let mut content = home.get(SIDECAR);
        content.truncate(content.len() - 40);
        content.extend_from_slice(&home.get(SIDECAR)[48..]);
        home.put(SIDECAR, &content);
        let mailbox = open(&driver, &at).unwrap();
        assert!(mailbox.snapshot().uid_validity > before);
        let slot = mailbox.snapshot().keywords.find("more").unwrap();
        assert!(mailbox.snapshot().messages.iter().all(|message| message.flags().keywords.has(slot)));
    }
}

#[test]
fn the_sidecar_is_where_it_can_be_and_counts_where_nobody_else_could_have_put_it() {
    for format in FORMATS {
        let home = home();
        std::fs::create_dir(home.path("shared")).unwrap();
        let at = home.at_name("shared/box");
        let driver = driver(&home, format);
        driver.create(&at).unwrap();
        append_plain(&driver, &at, text(1).as_bytes()).unwrap();
        let beside = home.path("shared/.box.ailurus-uids");
        assert_eq!(beside.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // A link could lead anywhere, and a second name is somebody else's.
        std::fs::rename(&beside, home.path("elsewhere")).unwrap();
        for trap in [true, false] {
            if trap {
                std::os::unix::fs::symlink(home.path("elsewhere"), &beside).unwrap();
            } else {
                std::fs::hard_link(home.path("elsewhere"), &beside).unwrap();
            }
            let before = home.get("elsewhere");
            check_texts(&mut *open(&driver, &at).unwrap(), &[(1, 1)]);
            assert_eq!(home.get("elsewhere"), before);
            let inode = home.path("shared/box").metadata().unwrap().ino();
            let at_home = home.path(&format!(".box.{inode:x}.ailurus-uids"));
            assert!(at_home.exists());
            std::fs::remove_file(at_home).unwrap();
            std::fs::remove_file(&beside).unwrap();
        }
        // One that others may write who may not write the mailbox.
        std::fs::rename(home.path("elsewhere"), &beside).unwrap();
        let mode = |mode| std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o602);
        assert_eq!(open(&driver, &at).unwrap().snapshot().uid_next, Some(uid(2)));
        // Where every mailbox has an index, the cache is there too.
        let there = std::fs::read_dir(home.directory.path()).unwrap().flatten();
        assert_eq!(there.filter(|entry| entry.file_name() != "cache").count(), 2, "it is at home");
    }
}

#[test]
fn it_goes_with_delete_and_rename() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 3), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        drop(store(&mut *mailbox, &uids(&[3]), &change(FlagOp::Add, SystemFlags::NONE, &["kw"])).unwrap());
        drop(expunge(&mut *mailbox, &uids(&[1])).unwrap());
        assert!(matches!(driver.rename(&at, &home.at_name("new")), Err(Error::InUse { .. })));
        assert!(matches!(driver.delete(&at), Err(Error::InUse { .. })));
        let shown: Vec<_> = show(&*mailbox).iter().map(|line| line.replace("flags=r", "flags=")).collect();
        mailbox.close().unwrap();
        home.put("taken", b"x");
        assert!(matches!(driver.rename(&at, &home.at_name("taken")), Err(Error::AlreadyExists(_))));
        driver.rename(&at, &home.at_name("new")).unwrap();
        assert!(!home.path(SIDECAR).exists() && !home.path(".taken.ailurus-uids").exists());
        let mailbox = open(&driver, &home.at_name("new")).unwrap();
        assert_eq!(show(&*mailbox), shown);
        assert_eq!(mailbox.snapshot().uid_next, Some(uid(4)));
        drop(mailbox);
        driver.delete(&home.at_name("new")).unwrap();
        let left: Vec<_> = std::fs::read_dir(home.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["taken"]);
    }
}

/// What a link leads to stays where it is when the link is renamed or deleted, and so do its UIDs.
#[test]
fn a_link_to_a_mailbox_takes_no_uids_with_it() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 2), home.at_name("box"));
        drop(expunge(&mut *open(&driver, &at).unwrap(), &uids(&[1])).unwrap());
        std::os::unix::fs::symlink(home.path("box"), home.path("link")).unwrap();
        check_texts(&mut *open(&driver, &home.at_name("link")).unwrap(), &[(2, 2)]);
        driver.rename(&home.at_name("link"), &home.at_name("other")).unwrap();
        check_texts(&mut *open(&driver, &home.at_name("other")).unwrap(), &[(2, 2)]);
        driver.delete(&home.at_name("other")).unwrap();
        check_texts(&mut *open(&driver, &at).unwrap(), &[(2, 2)]);
        let names = std::fs::read_dir(home.directory.path()).unwrap().count();
        assert_eq!(names, 2);
    }
}

/// An emptied mailbox is a file of no octets, which any format may take.
#[test]
fn an_emptied_mailbox_takes_its_uids_along() {
    let home = home();
    let dummy = ailurus_formats::Dummy::new(home.environment.clone(), home.disk.clone());
    for format in FORMATS {
        let (driver, at) = (filled(&home, format, 2), home.at_name("box"));
        drop(expunge(&mut *open(&driver, &at).unwrap(), &UidSet::all()).unwrap());
        dummy.rename(&at, &home.at_name("new")).unwrap();
        assert!(!home.path(SIDECAR).exists());
        append_plain(&driver, &home.at_name("new"), text(3).as_bytes()).unwrap();
        check_texts(&mut *open(&driver, &home.at_name("new")).unwrap(), &[(3, 3)]);
        drop(expunge(&mut *open(&driver, &home.at_name("new")).unwrap(), &UidSet::all()).unwrap());
        dummy.delete(&home.at_name("new")).unwrap();
        assert_eq!(std::fs::read_dir(home.directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn who_only_reads_changes_nothing_of_the_mailbox_and_yet_tells_uids_that_stay() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 2), home.at_name("box"));
        std::fs::remove_file(home.path(SIDECAR)).unwrap();
        let (before, times) = (home.get("box"), |home: &Home| {
            std::fs::metadata(home.path("box"))
                .map(|meta| (meta.mtime(), meta.ctime(), meta.ctime_nsec()))
                .unwrap()
        });
        let times_before = times(&home);
        let status = driver.status(&at).unwrap();
        assert_eq!((status.messages, status.recent, status.unseen, status.uid_next), (2, 2, 2, Some(uid(3))));
        let mut mailbox = driver.open(&at, Access::ReadOnly, Manner::Session).unwrap();
        assert!(!mailbox.snapshot().writable && mailbox.snapshot().sticky_uids);
        assert!(matches!(mailbox.edit().err(), Some(Error::ReadOnly { .. })));
        check_texts(&mut *mailbox, &[(1, 1), (2, 2)]);
        assert_eq!((home.get("box"), times(&home)), (before, times_before));
        mailbox.close().unwrap();
        // What was told then is known to all.
        let mut old = Old::read(&home, format);
        old.messages.remove(0);
        old.add(&text(3));
        old.write(&home);
        check_texts(&mut *open(&driver, &at).unwrap(), &[(2, 2), (3, 3)]);
    }
}

#[test]
fn an_inbox_is_the_file_of_that_name_or_the_formats_own() {
    for (format, own) in [("mtx", "INBOX.MTX"), ("tenex", "mail.txt")] {
        let home = home();
        let (driver, inbox) = (driver(&home, format), home.at_name("INBOX"));
        assert_eq!(driver.probe(&inbox).unwrap(), Claim::Empty);
        append_plain(&driver, &inbox, text(1).as_bytes()).unwrap();
        assert_eq!(driver.probe(&inbox).unwrap(), Claim::Valid);
        assert!(home.path(own).exists() && !home.path("INBOX").exists());
        check_texts(&mut *open(&driver, &inbox).unwrap(), &[(1, 1)]);
        driver.rename(&inbox, &home.at_name("old")).unwrap();
        check_texts(&mut *open(&driver, &home.at_name("old")).unwrap(), &[(1, 1)]);
        // The new one is empty, and INBOX all the same.
        assert_eq!((driver.probe(&inbox).unwrap(), home.get(own).len()), (Claim::Valid, 0));
        check_texts(&mut *open(&driver, &inbox).unwrap(), &[]);
        // By its name as a file too, since that has a sidecar now.
        assert_eq!(driver.probe(&home.at_name(own)).unwrap(), Claim::Valid);
        assert!(matches!(driver.create(&inbox), Err(Error::AlreadyExists(_))));
        // A file INBOX of this format comes first, one of another does not count.
        home.put("INBOX", b"something else");
        check_texts(&mut *open(&driver, &inbox).unwrap(), &[]);
        std::fs::copy(home.path("old"), home.path("INBOX")).unwrap();
        check_texts(&mut *open(&driver, &inbox).unwrap(), &[(1, 1)]);
        assert!(matches!(append_plain(&driver, &home.at_name("none"), b"x"), Err(Error::NotFound(_))));
        home.put("other", b"something else");
        assert!(matches!(
            append_plain(&driver, &home.at_name("other"), b"x"),
            Err(Error::WrongFormat { .. })
        ));
        assert!(open(&driver, &home.at_name("other")).is_err());
    }
}

#[test]
fn an_append_leaves_the_time_of_the_last_flag_update() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 1), home.at_name("box"));
        let file = std::fs::File::options().write(true).open(home.path("box")).unwrap();
        home.disk.set_times(&file, 1000, 2000).unwrap();
        append_plain(&driver, &at, b"Subject: x\r\n\r\n").unwrap();
        let meta = std::fs::metadata(home.path("box")).unwrap();
        assert_eq!((meta.atime(), meta.mtime()), (NOW - 1, 2000));
    }
}

#[test]
fn a_session_whose_file_shrinks_or_is_replaced_ends() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 3), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        let content = home.get("box");
        home.put("box", &content[..80]);
        let error = mailbox.refresh().unwrap_err();
        assert_eq!(reason(&error), format!("Mailbox shrank from {} to 80!", content.len()));
        assert!(read_all(&mut *mailbox, uid(3), Extent::Whole, 10).is_err());
        drop(mailbox);
        home.put("box", &content);
        let mut mailbox = open(&driver, &at).unwrap();
        let moved = [b" ", content.as_slice()].concat();
        home.put("box", &moved);
        let stored = store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::SEEN, &[]));
        assert!(stored.is_err());
        assert!(home.get("box") == moved, "flags in the wrong place are not written");
        std::fs::rename(home.path("box"), home.path("away")).unwrap();
        assert!(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Add, SystemFlags::SEEN, &[])).is_err());
    }
}

/// Sizes and pieces of text in LF form.
#[test]
fn text_is_read_as_it_was_written_wherever_one_begins() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 0), home.at_name("box"));
        let mut random = Random::new(7);
        for lines in [0, 1, 3, 2000, 30_000] {
            let mut text = String::from("Subject: x\r\n\r\n");
            for _ in 0..lines {
                text.push_str(&"y".repeat(random.below(9)));
                text.push_str("\r\n");
            }
            append_plain(&driver, &at, text.as_bytes()).unwrap();
            let mut mailbox = open(&driver, &at).unwrap();
            let last = *mailbox.snapshot().messages.last().unwrap();
            assert_eq!(last.rfc822_size() as usize, text.len());
            for _ in 0..200 {
                let (from, most) = (random.below(text.len() + 3), 1 + random.below(3000));
                let mut out = Vec::new();
                let read = mailbox.read(last.uid(), Extent::Whole, from as u64, most, &mut out).unwrap();
                let expected = &text.as_bytes()[from.min(text.len())..];
                assert!(expected.starts_with(&out) && read == out.len());
                assert_eq!(read > 0, !expected.is_empty());
            }
            let body = read_all(&mut *mailbox, last.uid(), Extent::Text, 777).unwrap();
            assert_eq!(body, text.as_bytes()[14..]);
        }
    }
}

/// Many flag changes do not make the sidecar grow for ever, and neither do many appends.
#[test]
fn the_sidecar_stays_small() {
    let home = home();
    let (driver, at) = (filled(&home, "mtx", 2), home.at_name("box"));
    let mut mailbox = open(&driver, &at).unwrap();
    for n in 0..3000 {
        let op = if n % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
        drop(store(&mut *mailbox, &uids(&[1]), &change(op, SystemFlags::SEEN, &["kw"])).unwrap());
    }
    assert!(home.get(SIDECAR).len() < 100_000);
    for n in 0..600 {
        append_plain(&driver, &at, text(n).as_bytes()).unwrap();
    }
    assert!(home.get(SIDECAR).len() < 150_000);
    drop(mailbox.refresh().unwrap());
    let shown = show(&*mailbox);
    mailbox.close().unwrap();
    let again: Vec<_> =
        show(&*open(&driver, &at).unwrap()).iter().map(|line| line.replace('r', "")).collect();
    assert_eq!(again, shown.iter().map(|line| line.replace('r', "")).collect::<Vec<_>>());
}

#[test]
fn the_reference_works_on_our_mailbox_between_our_steps() {
    for format in FORMATS {
        let home = home();
        let (driver, at) = (filled(&home, format, 5), home.at_name("box"));
        let Some(_) = mailutil(&home, &["check", "box"]) else { return };
        let mut mailbox = open(&driver, &at).unwrap();
        drop(
            store(&mut *mailbox, &uids(&[4]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Ours"])).unwrap(),
        );
        // It copies out of our open mailbox and into it, and cannot expunge what we have open.
        mailutil(&home, &["create", &format!("#driver.{format}/other")]).unwrap();
        let copied = mailutil(&home, &["append", "box", &format!("#driver.{format}/other")]).unwrap();
        let mut other =
            open(&driver, &home.at_name("other")).unwrap_or_else(|error| panic!("{copied}: {error}"));
        assert_eq!(uids_of(&*other), [1, 2, 3, 4, 5]);
        for n in 1..=5 {
            assert_eq!(read_all(&mut *other, uid(n), Extent::Whole, 99).unwrap(), text(n).as_bytes());
        }
        assert!(other.snapshot().messages[3].flags().system.contains(SystemFlags::FLAGGED));
        other.close().unwrap();
        mailutil(&home, &["append", "other", "box"]).unwrap();
        assert!(mailbox.refresh().unwrap().arrived);
        assert_eq!(uids_of(&*mailbox), (1..=10).collect::<Vec<_>>());
        mailutil(&home, &["prune", "box", "SUBJECT 3"]).unwrap();
        drop(mailbox.refresh().unwrap());
        assert_eq!(mailbox.snapshot().messages.len(), 10);
        mailbox.close().unwrap();
        // Now it can.
        mailutil(&home, &["prune", "box", "SUBJECT 3"]).unwrap();
        let mut mailbox = open(&driver, &at).unwrap();
        assert_eq!(uids_of(&*mailbox), [1, 2, 4, 5, 6, 7, 9, 10]);
        assert!(mailbox.snapshot().message(uid(4)).unwrap().flags().keywords.has(0));
        for (n, other) in [(1, 6), (2, 7), (4, 9), (5, 10)] {
            for number in [n, other] {
                assert_eq!(
                    read_all(&mut *mailbox, uid(number), Extent::Whole, 99).unwrap(),
                    text(n).as_bytes()
                );
            }
        }
        drop(expunge(&mut *mailbox, &uids(&[1, 10])).unwrap());
        mailbox.close().unwrap();
        let told = mailutil(&home, &["check", "box"]).unwrap();
        assert!(told.contains("6 total"), "{told}");
        let append = append_plain(&driver, &at, text(8).as_bytes()).unwrap();
        assert_eq!(append.uids.unwrap().1, [uid(11)]);
    }
}

#[test]
fn keywords_that_come_with_a_message_stay_with_it() {
    for format in FORMATS {
        let home = Home::with(Arc::new(NoSync), |environment| {
            environment.default_keywords = vec![Keyword::new(b"foo").unwrap()];
        });
        let (driver, at) = (filled(&home, format, 1), home.at_name("box"));
        let mut mailbox = open(&driver, &at).unwrap();
        let keywords = ["bar", "FOO"].map(|name| Keyword::new(name.as_bytes()).unwrap()).into();
        append(&driver, &at, &[(AppendMeta { keywords, ..AppendMeta::default() }, text(2).as_bytes())])
            .unwrap();
        let changes = mailbox.refresh().unwrap();
        assert!(changes.arrived && changes.keywords && changes.flags.is_empty());
        assert_eq!(mailbox.snapshot().messages[1].flags().keywords.0, 0b11);
        assert_eq!(Old::read(&home, format).flags(1), "400000000020");
        mailbox.close().unwrap();
        assert_eq!(open(&driver, &at).unwrap().snapshot().messages[1].flags().keywords.0, 0b11);
    }
}

#[test]
fn a_mailbox_without_messages_keeps_its_format() {
    for format in ["mtx", "tenex"] {
        let home = Home::new();
        let mailboxes = ailurus_store::Mailboxes::new(
            home.environment.clone(),
            ailurus_formats::drivers(&home.environment, &home.disk),
        );
        let claims = |name: &str| {
            let drivers = ailurus_formats::drivers(&home.environment, &home.disk);
            let at = home.at_name(name);
            let first = drivers.iter().find(|driver| driver.probe(&at).unwrap() == Claim::Valid);
            first.map(|driver| driver.name())
        };
        mailboxes.create(&format!("#driver.{format}/box").as_str().into()).unwrap();
        assert_eq!(home.get("box"), b"");
        assert_eq!(claims("box"), Some(format));
        let add = || {
            let mut append = mailboxes.append(&"box".into()).unwrap();
            append.begin(AppendMeta { size: 3, ..AppendMeta::default() }).unwrap();
            append.write(b"a\r\n").unwrap();
            append.end().unwrap();
            append.commit().unwrap().uids.unwrap()
        };
        let (validity, uids) = add();
        assert!(home.get("box").ends_with(if format == "mtx" { b"a\r\n" } else { b"00\na\n" }), "{format}");
        // All messages gone, it is one still, with its UIDs.
        let mut mailbox = mailboxes.select(&"box".into(), ailurus_store::Access::ReadWrite).unwrap();
        let mut edit = mailbox.edit().unwrap();
        edit.expunge(&uids.iter().copied().collect()).unwrap();
        drop(edit.commit().unwrap());
        mailbox.close().unwrap();
        assert_eq!(home.get("box"), b"");
        assert_eq!(claims("box"), Some(format));
        let (same, next) = add();
        assert_eq!((same, next[0] > uids[0]), (validity, true));
        // Made anew, it has other UIDs; a file of somebody else has no format.
        mailboxes.delete(&"box".into()).unwrap();
        mailboxes.create(&format!("#driver.{format}/box").as_str().into()).unwrap();
        assert_eq!(claims("box"), Some(format));
        std::fs::write(home.path("other"), "").unwrap();
        assert_eq!(claims("other"), None);
        // What is no longer empty is what it says it is.
        std::fs::write(home.path("box"), "From a@b Sat Feb  1 12:34:56 2025\nA: b\n\nc\n").unwrap();
        assert_eq!(claims("box"), Some("unix"));
    }
}
