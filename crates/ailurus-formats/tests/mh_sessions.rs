//! Several sessions on one mh folder: ours, mh's, and the reference's.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::{Mh, drivers};
use ailurus_store::{
    Access, AppendMeta, Claim, Driver, Error, Extent, Location, Mailbox, Mailboxes, Manner, Rejection, Result,
};
use ailurus_types::{FlagOp, Keyword, SystemFlags, UidSet};
use session::set_times;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use support::*;

struct Folder {
    home: Home,
    driver: Mh,
    at: Location,
}

impl Folder {
    fn new() -> Self {
        let home = Home::new();
        home.put(".mh_profile", b"Path: Mail\n");
        fs::create_dir_all(home.path("Mail/box")).unwrap();
        let driver = Mh::new(home.environment.clone(), home.disk.clone());
        let at = home.special("#mh/box");
        Self { home, driver, at }
    }

    /// A folder with messages 1 to `count`, which mh put there long ago.
    fn filled(count: u32) -> Self {
        let folder = Self::new();
        for n in 1..=count {
            folder.deliver(n, n);
        }
        folder
    }

    fn file(&self, number: u32) -> PathBuf {
        self.home.path(&format!("Mail/box/{number}"))
    }

    /// Puts message n there under a number, as other programs do.
    fn deliver(&self, number: u32, n: u32) {
        fs::write(self.file(number), text(n).replace("\r\n", "\n")).unwrap();
        set_times(&self.file(number), NOW - 1000, NOW - 1000);
    }

    fn open(&self) -> Box<dyn Mailbox> {
        open(&self.driver, &self.at).unwrap()
    }

    fn append(&self, n: u32) -> u32 {
        append_plain(&self.driver, &self.at, text(n).as_bytes()).unwrap().uids.unwrap().1[0].get()
    }

    fn sidecar(&self) -> PathBuf {
        self.home.path("Mail/box/.ailurus-uids")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.path("Mail/box")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn text(n: u32) -> String {
    format!("Subject: {n}\r\n\r\nbody {n}\r\n")
}

/// Returns which message has which UID.
fn contents(mailbox: &mut dyn Mailbox) -> Result<BTreeMap<u32, u32>> {
    let mut contents = BTreeMap::new();
    for number in uids_of(mailbox) {
        let whole = String::from_utf8(read_all(mailbox, uid(number), Extent::Whole, 1000)?).unwrap();
        let n = whole.lines().next().unwrap().strip_prefix("Subject: ").unwrap().parse().unwrap();
        assert_eq!(whole, text(n));
        contents.insert(number, n);
    }
    Ok(contents)
}

fn pairs(pairs: &[(u32, u32)]) -> BTreeMap<u32, u32> {
    pairs.iter().copied().collect()
}

fn recent(mailbox: &dyn Mailbox) -> Vec<bool> {
    mailbox.snapshot().messages.iter().map(|message| message.is_recent()).collect()
}

#[test]
fn uids_stay_whatever_mh_does_to_the_numbers() {
    let folder = Folder::filled(5);
    let mut mailbox = folder.open();
    let validity = mailbox.snapshot().uid_validity;
    // rmm 2; folder -pack
    fs::rename(folder.file(2), folder.home.path("Mail/box/,2")).unwrap();
    for number in [3, 4, 5] {
        fs::rename(folder.file(number), folder.file(number - 1)).unwrap();
    }
    // Before anybody has looked, all that is still there can be read.
    assert_eq!(read_all(&mut *mailbox, uid(3), Extent::Whole, 99).unwrap(), text(3).as_bytes());
    assert!(matches!(read_all(&mut *mailbox, uid(2), Extent::Whole, 99), Err(Error::Expunged { uid: 2 })));
    let changes = mailbox.refresh().unwrap();
    assert_eq!(changes.expunged, uids(&[2]));
    assert!(!changes.arrived && changes.flags.is_empty() && !changes.uid_validity);
    let wanted = pairs(&[(1, 1), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(contents(&mut *mailbox).unwrap(), wanted);
    // sortm -reverse
    for (from, to) in [(1, 101), (2, 102), (3, 103), (4, 104), (101, 4), (102, 3), (103, 2), (104, 1)] {
        fs::rename(folder.file(from), folder.file(to)).unwrap();
    }
    let mut late = folder.open();
    assert_eq!(contents(&mut *late).unwrap(), wanted);
    assert_eq!(contents(&mut *mailbox).unwrap(), wanted);
    assert!(mailbox.refresh().unwrap().is_empty());
    assert_eq!(late.snapshot().uid_validity, validity);
    folder.deliver(5, 9);
    drop(late.refresh().unwrap());
    assert_eq!(contents(&mut *late).unwrap(), pairs(&[(1, 1), (3, 3), (4, 4), (5, 5), (6, 9)]));
}

#[test]
fn a_file_that_was_replaced_or_changed_is_another_message() {
    let folder = Folder::filled(3);
    let mut mailbox = folder.open();
    fs::remove_file(folder.file(2)).unwrap();
    folder.deliver(2, 7);
    // An editor that writes to the same file; the directory does not show it.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(mailbox.refresh().unwrap());
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (3, 3), (4, 7)]));
    drop(mailbox.refresh().unwrap());
    fs::write(folder.file(3), text(8).replace("\r\n", "\n")).unwrap();
    assert!(matches!(read_all(&mut *mailbox, uid(3), Extent::Whole, 99), Err(Error::Expunged { uid: 3 })));
    let changes = mailbox.refresh().unwrap();
    assert!(changes.arrived);
    assert_eq!(changes.expunged, uids(&[3]));
    let wanted = pairs(&[(1, 1), (4, 7), (5, 8)]);
    assert_eq!(contents(&mut *mailbox).unwrap(), wanted);
    assert_eq!(contents(&mut *folder.open()).unwrap(), wanted);
}

#[test]
fn a_folder_that_came_back_from_an_archive_is_the_same() {
    let folder = Folder::filled(3);
    let mut mailbox = folder.open();
    drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"])).unwrap());
    let before = show(&*mailbox);
    mailbox.close().unwrap();
    // cp -a, tar, rsync -a: other inodes, and times in whole seconds.
    let (old, new) = (folder.home.path("Mail/old"), folder.home.path("Mail/box"));
    fs::rename(&new, &old).unwrap();
    fs::create_dir(&new).unwrap();
    for name in ["1", "2", "3", ".ailurus-uids"] {
        let found = fs::metadata(old.join(name)).unwrap();
        fs::copy(old.join(name), new.join(name)).unwrap();
        set_times(&new.join(name), found.atime(), found.mtime());
    }
    let mut mailbox = folder.open();
    assert_eq!(show(&*mailbox), before);
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (2, 2), (3, 3)]));
    // The old content with another date, or another message with that date, would be another message.
    fs::remove_file(folder.file(1)).unwrap();
    fs::write(folder.file(1), "Subject: 4\n\nbody 4\n").unwrap();
    set_times(&folder.file(1), NOW - 1000, NOW - 1000);
    drop(mailbox.refresh().unwrap());
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(2, 2), (3, 3), (4, 4)]));
}

#[test]
fn flags_and_keywords_show_in_other_sessions_and_later() {
    let folder = Folder::filled(3);
    let mut sessions: Vec<_> = (0..3).map(|_| folder.open()).collect();
    for round in 0..60u32 {
        let (writer, op) = (round as usize % 3, if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove });
        let set = uids(&[round % 3 + 1]);
        let by = change(op, SystemFlags::FLAGGED, if round == 40 { &["Late"] } else { &[] });
        let changes = store(&mut *sessions[writer], &set, &by).unwrap();
        let expected = if changes.flags.is_empty() { UidSet::new() } else { set };
        for (other, session) in sessions.iter_mut().enumerate().filter(|(other, _)| *other != writer) {
            let changes = session.refresh().unwrap();
            assert_eq!(
                (changes.flags, changes.keywords),
                (expected.clone(), round == 40),
                "{round}, {other}"
            );
        }
        let shown: Vec<_> = sessions.iter().map(|session| show(&**session)).collect();
        assert!(shown.iter().all(|lines| *lines == shown[0]), "{shown:?}");
    }
    let shown = show(&*sessions[0]);
    assert!(shown.iter().any(|line| line == "keyword 0 Late"));
    drop(sessions);
    assert_eq!(show(&*folder.open()), shown);
    // Thousands of changes are written together now and then.
    let mut mailbox = folder.open();
    let mut most = 0;
    for round in 0..2000 {
        let op = if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
        drop(store(&mut *mailbox, &UidSet::all(), &change(op, SystemFlags::DRAFT, &[])).unwrap());
        most = most.max(fs::metadata(folder.sidecar()).unwrap().len());
    }
    assert!(most < 100_000, "{most}");
    assert_eq!(show(&*folder.open()), show(&*mailbox));
}

#[test]
fn an_edit_that_is_dropped_changes_nothing() {
    let folder = Folder::filled(2);
    let mut mailbox = folder.open();
    let before = (fs::read(folder.sidecar()).unwrap(), show(&*mailbox));
    let mut edit = mailbox.edit().unwrap();
    edit.store(&UidSet::all(), &change(FlagOp::Replace, SystemFlags::ALL, &["new"])).unwrap();
    edit.expunge(&UidSet::all()).unwrap();
    assert!(edit.snapshot().keywords.find("new").is_some());
    drop(edit);
    assert_eq!((fs::read(folder.sidecar()).unwrap(), show(&*mailbox)), before);
    assert!(mailbox.refresh().unwrap().is_empty());
    assert_eq!(folder.names(), [".ailurus-uids", "1", "2"]);
}

#[test]
fn expunged_messages_are_gone_for_all_and_their_uids_stay_unused() {
    let folder = Folder::filled(4);
    let (mut a, mut b) = (folder.open(), folder.open());
    // mh renumbers while the expunge is about to happen.
    let mut edit = a.edit().unwrap();
    edit.expunge(&uids(&[2, 4])).unwrap();
    fs::rename(folder.file(1), folder.file(9)).unwrap();
    fs::rename(folder.file(2), folder.file(1)).unwrap();
    let changes = edit.commit().unwrap();
    assert_eq!(changes.expunged, uids(&[2, 4]));
    assert_eq!(folder.home.notices(), ["Expunged 2 messages"]);
    assert_eq!(folder.names(), [".ailurus-uids", "3", "9"]);
    assert!(read_all(&mut *b, uid(2), Extent::Whole, 99).is_err());
    assert_eq!(b.refresh().unwrap().expunged, uids(&[2, 4]));
    assert_eq!(contents(&mut *b).unwrap(), pairs(&[(1, 1), (3, 3)]));
    assert_eq!(folder.append(5), 5);
    drop(a.refresh().unwrap());
    assert_eq!(contents(&mut *a).unwrap(), pairs(&[(1, 1), (3, 3), (5, 5)]));
    assert_eq!(folder.names(), [".ailurus-uids", "10", "3", "9"]);
}

#[test]
fn appended_messages_have_what_they_came_with() {
    let folder = Folder::filled(2);
    let mut a = folder.open();
    let keyword = Keyword::new(b"fromAppend").unwrap();
    let seen =
        AppendMeta { keywords: vec![keyword], ..meta(SystemFlags::SEEN, "05-Mar-2024 01:02:03 -0830") };
    let dated = meta(SystemFlags::DRAFT, "05-Mar-2024 01:02:03 -0830");
    let texts = [text(3), text(4), text(5)];
    let all = [
        (seen, texts[0].as_bytes()),
        (dated, texts[1].as_bytes()),
        (AppendMeta::default(), texts[2].as_bytes()),
    ];
    let (validity, given) = append(&folder.driver, &folder.at, &all).unwrap().uids.unwrap();
    assert_eq!(given, [uid(3), uid(4), uid(5)]);
    assert_eq!(validity, a.snapshot().uid_validity);
    let changes = a.refresh().unwrap();
    assert!(changes.arrived && changes.keywords && changes.flags.is_empty());
    let size = text(3).len();
    assert_eq!(
        show(&*a)[3..],
        [
            format!("msg 3 uid=3 size={size} date=\" 5-Mar-2024 09:32:03 +0000\" flags=Sr uf=1"),
            format!("msg 4 uid=4 size={size} date=\" 5-Mar-2024 09:32:03 +0000\" flags=Tr uf=0"),
            format!("msg 5 uid=5 size={size} date=\" 1-Mar-2025 12:00:00 +0000\" flags=r uf=0"),
        ]
    );
    // As the reference sees them: seen is what was read after it was written.
    let was_read =
        |number| fs::metadata(folder.file(number)).map(|found| found.atime() > found.mtime()).unwrap();
    assert_eq!([3, 4, 5].map(was_read), [true, false, false]);
    assert_eq!(fs::read(folder.file(3)).unwrap(), text(3).replace("\r\n", "\n").as_bytes());
    assert_eq!(fs::metadata(folder.file(3)).unwrap().mode() & 0o777, 0o600);
    assert_eq!(folder.names(), [".ailurus-uids", "1", "2", "3", "4", "5"]);
}

#[test]
fn recent_is_what_no_session_was_told_of() {
    let folder = Folder::filled(2);
    let a = folder.open();
    assert_eq!(recent(&*a), [false; 2], "the first session ever knows nothing of what was told");
    folder.append(3);
    folder.deliver(4, 4);
    let status = folder.driver.status(&folder.at).unwrap();
    assert_eq!((status.messages, status.recent, status.unseen), (4, 2, 4));
    let examine = folder.driver.open(&folder.at, Access::ReadOnly, Manner::Session).unwrap();
    assert_eq!(recent(&*examine), [false, false, true, true]);
    let mut b = folder.open();
    assert_eq!(recent(&*b), [false, false, true, true]);
    let mut a = a;
    drop(a.refresh().unwrap());
    assert_eq!(recent(&*a), [false; 4]);
    folder.append(5);
    drop(a.refresh().unwrap());
    drop(b.refresh().unwrap());
    assert_eq!((recent(&*a)[4], recent(&*b)[4]), (true, false));
    drop(a.refresh().unwrap());
    assert!(recent(&*a)[4], "it stays recent for the session");
}

#[test]
fn what_was_read_before_we_came_is_seen_but_for_what_nmh_says() {
    let folder = Folder::filled(3);
    set_times(&folder.file(1), NOW, NOW - 1000);
    set_times(&folder.file(2), NOW, NOW - 1000);
    fs::write(folder.home.path("Mail/box/.mh_sequences"), "cur: 1\nunseen: 2-3\n").unwrap();
    let mut mailbox = folder.open();
    let seen = |mailbox: &dyn Mailbox| -> Vec<bool> {
        let flags = mailbox.snapshot().messages.iter().map(|message| message.flags().system);
        flags.map(|flags| flags.contains(SystemFlags::SEEN)).collect()
    };
    assert_eq!(seen(&*mailbox), [true, false, false]);
    // From then on the sidecar says it.
    drop(store(&mut *mailbox, &uids(&[1]), &change(FlagOp::Remove, SystemFlags::SEEN, &[])).unwrap());
    set_times(&folder.file(3), NOW, NOW - 1000);
    assert_eq!(seen(&*folder.open()), [false; 3]);
}

#[test]
fn a_lost_or_damaged_sidecar_is_made_anew_and_flags_that_can_be_read_are_kept() {
    let folder = Folder::filled(3);
    let mut mailbox = folder.open();
    let validity = mailbox.snapshot().uid_validity;
    drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"])).unwrap());
    fs::remove_file(folder.sidecar()).unwrap();
    let changes = mailbox.refresh().unwrap();
    assert!(changes.uid_validity && changes.arrived);
    assert_eq!(changes.expunged, uids(&[1, 2, 3]));
    assert!(mailbox.snapshot().uid_validity > validity);
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(4, 1), (5, 2), (6, 3)]));
    assert!(mailbox.snapshot().messages[1].flags().system.contains(SystemFlags::FLAGGED));
    let validity = mailbox.snapshot().uid_validity;
    // One of two changes is damaged. Who knows what was there does not read it again.
    let base = fs::metadata(folder.sidecar()).unwrap().len();
    for op in [FlagOp::Add, FlagOp::Remove] {
        drop(store(&mut *mailbox, &uids(&[4]), &change(op, SystemFlags::DRAFT, &[])).unwrap());
    }
    let mut content = fs::read(folder.sidecar()).unwrap();
    content[usize::try_from(base).unwrap() + 20] ^= 1;
    fs::write(folder.sidecar(), &content).unwrap();
    assert!(mailbox.refresh().unwrap().is_empty());
    drop(folder.open());
    assert!(mailbox.refresh().unwrap().uid_validity);
    assert_ne!(mailbox.snapshot().uid_validity, validity);
    assert_eq!(contents(&mut *mailbox).unwrap().into_values().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(mailbox.snapshot().messages[1].flags().keywords.has(0));
    drop(mailbox);
    fs::write(folder.sidecar(), "nonsense").unwrap();
    assert_eq!(contents(&mut *folder.open()).unwrap(), pairs(&[(1, 1), (2, 2), (3, 3)]));
    assert_eq!(folder.append(4), 4);
}

#[test]
fn no_damage_of_the_sidecar_is_an_error_or_gives_a_uid_twice() {
    let folder = Folder::filled(2);
    let mut mailbox = folder.open();
    drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"])).unwrap());
    mailbox.close().unwrap();
    folder.append(3);
    let good = fs::read(folder.sidecar()).unwrap();
    let validity = folder.open().snapshot().uid_validity;
    let check = |content: &[u8]| {
        fs::write(folder.sidecar(), content).unwrap();
        let mut mailbox = folder.open();
        let contents = contents(&mut *mailbox).unwrap();
        assert_eq!(contents.values().copied().collect::<Vec<_>>(), [1, 2, 3]);
        if mailbox.snapshot().uid_validity == validity {
            assert!(contents.iter().all(|(uid, n)| uid == n || *uid > 3), "{contents:?}");
        }
        assert!(mailbox.snapshot().sticky_uids);
    };
    for at in 0..good.len() {
        check(&good[..at]);
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        check(&flipped);
    }
}

#[test]
fn where_no_sidecar_can_be_it_is_as_with_the_reference() {
    let folder = Folder::filled(3);
    fs::create_dir(folder.sidecar()).unwrap();
    let mut mailbox = folder.open();
    assert!(!mailbox.snapshot().sticky_uids);
    assert_eq!(mailbox.snapshot().permanent.system, SystemFlags::NONE);
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (2, 2), (3, 3)]));
    drop(store(&mut *mailbox, &uids(&[2]), &change(FlagOp::Add, SystemFlags::DELETED, &["Mine"])).unwrap());
    assert!(mailbox.snapshot().messages[1].flags().keywords.has(0));
    assert_eq!(expunge(&mut *mailbox, &uids(&[2])).unwrap().expunged, uids(&[2]));
    folder.deliver(4, 4);
    assert!(mailbox.refresh().unwrap().arrived);
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (3, 3), (4, 4)]));
    assert_eq!(append_plain(&folder.driver, &folder.at, text(5).as_bytes()).unwrap().uids, None);
    drop(mailbox.refresh().unwrap());
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (3, 3), (4, 4), (5, 5)]));
    fs::remove_dir(folder.sidecar()).unwrap();
    let mut kept = folder.open();
    assert!(kept.snapshot().sticky_uids);
    assert_eq!(contents(&mut *kept).unwrap(), pairs(&[(1, 1), (3, 3), (4, 4), (5, 5)]));
}

#[test]
fn what_only_looks_like_a_message_is_passed_over() {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let folder = Folder::filled(1);
    mkfifoat(CWD, folder.file(12), Mode::RWXU).unwrap();
    fs::create_dir(folder.file(13)).unwrap();
    for (number, to) in [(14, "nowhere"), (15, "15"), (16, "12"), (17, "/dev/zero")] {
        std::os::unix::fs::symlink(to, folder.file(number)).unwrap();
    }
    for name in ["4294967296", "99999999999999999999", "007", "0", "-1", "1a", "１"] {
        fs::write(folder.home.path("Mail/box").join(name), "x").unwrap();
    }
    folder.deliver(4_294_967_290, 2);
    let mut mailbox = folder.open();
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (2, 2)]));
    assert_eq!(folder.append(3), 3);
    assert!(folder.file(4_294_967_291).exists());
    folder.deliver(u32::MAX, 4);
    drop(mailbox.refresh().unwrap());
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (2, 2), (3, 3), (4, 4)]));
    assert!(append_plain(&folder.driver, &folder.at, text(5).as_bytes()).is_err());
    drop(expunge(&mut *mailbox, &UidSet::all()).unwrap());
    assert!(mailbox.snapshot().messages.is_empty());
}

#[test]
fn a_message_that_shrinks_while_it_is_read_is_an_error_for_it_alone() {
    let folder = Folder::filled(2);
    let long = format!("Subject: 3\n\n{}", "body\n".repeat(100_000));
    fs::write(folder.file(3), &long).unwrap();
    let mut mailbox = folder.open();
    let mut out = Vec::new();
    assert!(mailbox.read(uid(3), Extent::Whole, 0, 100, &mut out).unwrap() > 0);
    fs::File::options().write(true).open(folder.file(3)).unwrap().set_len(50).unwrap();
    let error = read_all(&mut *mailbox, uid(3), Extent::Text, 100_000).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(read_all(&mut *mailbox, uid(1), Extent::Whole, 99).unwrap(), text(1).as_bytes());
    drop(mailbox.refresh().unwrap());
    assert_eq!(uids_of(&*mailbox), [1, 2, 4]);
    fs::remove_file(folder.file(1)).unwrap();
    assert!(matches!(read_all(&mut *mailbox, uid(1), Extent::Whole, 99), Err(Error::Expunged { .. })));
}

#[test]
fn a_file_that_is_being_written_is_shown_when_it_has_octets_and_whole_at_last() {
    let folder = Folder::filled(1);
    let mut mailbox = folder.open();
    // As the reference and some delivery programs do it: make it, then write it.
    let mut file = fs::File::create(folder.file(2)).unwrap();
    drop(mailbox.refresh().unwrap());
    assert_eq!(uids_of(&*mailbox), [1]);
    use std::io::Write;
    file.write_all(b"Subject: 2\n").unwrap();
    drop(mailbox.refresh().unwrap());
    assert_eq!(uids_of(&*mailbox), [1, 2]);
    file.write_all(b"\nbody 2\n").unwrap();
    let changes = mailbox.refresh().unwrap();
    assert_eq!(changes.expunged, uids(&[2]), "nobody keeps half of it for the whole");
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (3, 2)]));
}

#[test]
fn an_unchanged_folder_is_not_read_again() {
    let folder = Folder::filled(3);
    // The grain of the clock; and the first session makes the sidecar, which changes the directory.
    for _ in 0..2 {
        drop(folder.open());
        std::thread::sleep(std::time::Duration::from_millis(120));
    }
    drop(folder.open());
    let before = fs::read(folder.sidecar()).unwrap();
    // What is not looked at does not show: a test's way to see that files were not asked for.
    let number = folder.file(2);
    let content = fs::read(&number).unwrap();
    fs::write(&number, "something of another size").unwrap();
    let mut mailbox = folder.open();
    assert_eq!(uids_of(&*mailbox), [1, 2, 3]);
    let status = folder.driver.status(&folder.at).unwrap();
    assert_eq!((status.messages, status.unseen, status.recent, status.uid_next), (3, 3, 0, Some(uid(4))));
    assert_eq!(fs::read(folder.sidecar()).unwrap(), before, "nor is anything written");
    // But the wrong content is not given.
    assert!(matches!(read_all(&mut *mailbox, uid(2), Extent::Whole, 99), Err(Error::Expunged { .. })));
    drop(mailbox.refresh().unwrap());
    assert_eq!(uids_of(&*mailbox), [1, 3, 4]);
    drop(content);
}

#[test]
fn who_only_reads_changes_no_message() {
    let folder = Folder::filled(2);
    let times = |number| {
        fs::metadata(folder.file(number)).map(|found| (found.atime(), found.mtime(), found.ctime())).unwrap()
    };
    let before = (times(1), times(2));
    let mut mailbox = folder.driver.open(&folder.at, Access::ReadOnly, Manner::Session).unwrap();
    assert!(!mailbox.snapshot().writable);
    assert!(matches!(mailbox.edit().err(), Some(Error::ReadOnly { .. })));
    assert_eq!((times(1), times(2)), before, "to know their sizes does not count as reading");
    mailbox.close().unwrap();
}

#[test]
fn names_mean_what_the_reference_means() {
    let folder = Folder::filled(2);
    let home = &folder.home;
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    let select = |name: &str| mailboxes.select(&name.into(), Access::ReadWrite);
    for name in ["#mh/box", "#MH/box", "Mail/box", "~/Mail/box"] {
        assert_eq!(uids_of(&*select(name).unwrap()), [1, 2], "{name}");
    }
    assert!(matches!(select("#mh/none").err(), Some(Error::NotFound(_))));
    assert!(matches!(select("#mh/../Mail/box").err(), Some(Error::NotFound(_))));
    assert!(matches!(select("Mail").err(), Some(Error::NotSelectable(_))), "the path itself is none");
    // #mhinbox is made when it is asked for.
    assert!(select("#mh/inbox").is_err());
    assert!(select("#mhinbox").unwrap().snapshot().messages.is_empty());
    assert!(home.path("Mail/inbox").is_dir());
    assert_eq!(fs::metadata(home.path("Mail/inbox")).unwrap().mode() & 0o777, 0o700);
    let refused = |result: Result<()>| result.unwrap_err().to_string();
    let create = |name: &str| mailboxes.create(&name.into());
    assert_eq!(refused(create("#mh/a/12")), "Can't create mailbox #mh/a/12: invalid MH-format name");
    assert!(matches!(create("#mh/box"), Err(Error::AlreadyExists(_))));
    create("#mh/a/b").unwrap();
    create("#driver.mh/Mail/c").unwrap();
    assert_eq!(
        refused(create("#driver.mh/elsewhere")),
        "Can't create mailbox elsewhere: invalid MH-format name"
    );
    let rename = |from: &str, to: &str| mailboxes.rename(&from.into(), &to.into());
    rename("#mh/box", "#mh/d/e").unwrap();
    rename("Mail/d/e", "Mail/f").unwrap();
    assert_eq!(uids_of(&*select("#mh/f").unwrap()), [1, 2]);
    assert!(matches!(rename("#mh/f", "#mh/c"), Err(Error::AlreadyExists(_))));
    assert_eq!(refused(rename("#mh/f", "#mh/1")), "Can't rename to mailbox #mh/1: invalid MH-format name");
    assert_eq!(refused(rename("#mh/f", "away")), "Can't rename to mailbox away: invalid MH-format name");
    let at = |name: &str| mailboxes.resolve(&name.into()).unwrap();
    assert_eq!(folder.driver.probe(&at("INBOX")).unwrap(), Claim::No(Rejection::BadName));
    assert_eq!(folder.driver.probe(&at("#news.x")).unwrap(), Claim::No(Rejection::BadName));
    assert!(mailboxes.append(&"#mh/nothing".into()).is_err());
}

#[test]
fn a_deleted_folder_is_gone_with_all_that_is_its_own() {
    let folder = Folder::filled(2);
    let mut mailbox = folder.open();
    let at = |name: &str| folder.home.path("Mail/box").join(name);
    fs::write(at(",1"), "").unwrap();
    fs::write(at(".mh_sequences"), "").unwrap();
    fs::create_dir(at(".ailurus-new.1.2")).unwrap();
    drop(mailbox.refresh().unwrap());
    folder.driver.delete(&folder.at).unwrap();
    assert!(!folder.home.path("Mail/box").exists());
    let error = mailbox.refresh().unwrap_err();
    assert_eq!(reason(&error), "Can't open mailbox #mh/box: no such mailbox");
    assert!(matches!(folder.driver.delete(&folder.at), Err(Error::NotFound(_))));
    // What is not mh's stays.
    fs::create_dir_all(at("below")).unwrap();
    folder.deliver(1, 1);
    folder.driver.delete(&folder.at).unwrap();
    assert!(folder.home.notices().iter().any(|text| text.starts_with("Can't delete mailbox #mh/box: ")));
    assert_eq!(folder.names(), ["below"]);
}

#[test]
fn inbox_is_mhs_where_that_is_configured() {
    let home =
        Home::with(ailurus_formats::disk::Os::shared(), |environment| environment.mh_allow_inbox = true);
    home.put(".mh_profile", b"");
    fs::create_dir_all(home.path("Mail/inbox")).unwrap();
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    let mut append = mailboxes.append(&"INBOX".into()).unwrap();
    append.begin(AppendMeta { size: 4, ..AppendMeta::default() }).unwrap();
    append.write(b"a\r\n\r").unwrap();
    append.end().unwrap();
    append.commit().unwrap();
    let inbox = mailboxes.select(&"INBOX".into(), Access::ReadWrite).unwrap();
    assert_eq!((inbox.driver(), inbox.snapshot().messages.len()), ("mh", 1));
    assert!(home.path("Mail/inbox/1").exists());
}

#[test]
fn without_a_profile_there_is_no_mh() {
    let home = Home::new();
    fs::create_dir_all(home.path("Mail/box")).unwrap();
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    assert!(mailboxes.select(&"#mh/box".into(), Access::ReadWrite).is_err());
    assert!(mailboxes.select(&"Mail/box".into(), Access::ReadWrite).is_err());
    let profile = home.path(".mh_profile");
    let text = format!("{} not found, mh format names disabled", profile.display());
    assert_eq!(home.notices(), [text]);
}

#[test]
fn subscriptions_of_folders_are_found() {
    let folder = Folder::filled(1);
    let home = &folder.home;
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    mailboxes.subscribe(&"#mh/box".into()).unwrap();
    assert!(mailboxes.subscribe(&"#mh/none".into()).is_err());
    let found = |pattern: &str| {
        let mut found = Vec::new();
        mailboxes
            .lsub(b"", pattern.as_bytes(), &mut |listed| found.push((listed.name, listed.delimiter)))
            .unwrap();
        found
    };
    assert_eq!(found("#mh/*"), [(b"#mh/box".to_vec(), Some(b'/'))]);
    assert_eq!(found("*").len(), 1, "the common list holds it");
    assert!(found("#news.*").is_empty());
    mailboxes.unsubscribe(&"#mh/box".into()).unwrap();
    assert!(found("#mh/*").is_empty());
}

/// A generator that does what it did before with the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(most)).unwrap()
    }
}

/// Everybody at work on one folder: at no time does a UID name two messages, nor is one lost.
#[test]
fn no_uid_ever_names_two_messages() {
    for seed in 1..40 {
        let folder = Folder::filled(3);
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let mut sessions = [folder.open(), folder.open()];
        let mut known: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for (step, next) in (100..160).enumerate() {
            let files =
                || -> Vec<u32> { folder.names().iter().filter_map(|name| name.parse().ok()).collect() };
            let files = files();
            let any =
                |random: &mut Random| files.get(random.below(99) as usize % files.len().max(1)).copied();
            match random.below(8) {
                0 => drop(folder.append(next)),
                1 => folder.deliver(files.iter().max().unwrap_or(&0) + 1 + random.below(2), next),
                2 => any(&mut random)
                    .into_iter()
                    .for_each(|number| fs::remove_file(folder.file(number)).unwrap()),
                3 => {
                    for (to, from) in (1..).zip({
                        let mut files = files.clone();
                        files.sort_unstable();
                        files
                    }) {
                        fs::rename(folder.file(from), folder.file(to)).unwrap();
                    }
                }
                4 => {
                    if let Some(number) = any(&mut random) {
                        fs::remove_file(folder.file(number)).unwrap();
                        folder.deliver(number, next);
                    }
                }
                5 => {
                    let which = random.below(2) as usize;
                    let all = uids_of(&*sessions[which]);
                    if let Some(number) = all.get(random.below(99) as usize % all.len().max(1)) {
                        drop(expunge(&mut *sessions[which], &uids(&[*number])).unwrap());
                    }
                }
                6 => sessions[random.below(2) as usize] = folder.open(),
                _ => drop(sessions[random.below(2) as usize].refresh().unwrap()),
            }
            let session = &mut sessions[random.below(2) as usize];
            drop(session.refresh().unwrap());
            let validity = session.snapshot().uid_validity.get();
            let contents = contents(&mut **session).unwrap();
            let there = folder.names().iter().filter(|name| name.parse::<u32>().is_ok()).count();
            assert_eq!(contents.len(), there, "seed {seed}, step {step}");
            for (number, n) in contents {
                let before = known.insert((validity, number), n);
                assert!(before.is_none_or(|before| before == n), "seed {seed}, step {step}: UID {number}");
            }
        }
        assert!(known.keys().all(|(validity, _)| *validity == known.keys().next().unwrap().0));
    }
}

/// Two of ours and one of another kind deliver at the same time.
#[test]
fn appenders_never_collide() {
    let folder = Folder::filled(1);
    let count = 40;
    std::thread::scope(|scope| {
        for part in 0..2 {
            let folder = &folder;
            scope.spawn(move || {
                let driver = Mh::new(folder.home.environment.clone(), folder.home.disk.clone());
                for n in 0..count {
                    append_plain(&driver, &folder.at, text(1000 * (part + 1) + n).as_bytes()).unwrap();
                }
            });
        }
        scope.spawn(|| {
            for n in 0..count {
                let beside = folder.home.path("Mail/box/.incoming");
                fs::write(&beside, text(5000 + n).replace("\r\n", "\n")).unwrap();
                let mut number =
                    folder.names().iter().filter_map(|name| name.parse::<u32>().ok()).max().unwrap() + 1;
                while fs::hard_link(&beside, folder.file(number)).is_err() {
                    number += 1;
                }
                fs::remove_file(&beside).unwrap();
            }
        });
    });
    let mut mailbox = folder.open();
    let mut all: Vec<_> = contents(&mut *mailbox).unwrap().into_values().collect();
    all.sort_unstable();
    let expected =
        [1].into_iter().chain([1000, 2000, 5000].into_iter().flat_map(|first| first..first + count));
    assert_eq!(all, expected.collect::<Vec<_>>());
}

/// nmh's own programs on a folder that we have open.
#[test]
fn nmh_works_on_our_folder_between_our_steps() {
    let folder = Folder::filled(6);
    let run = |program: &str, arguments: &[&str]| -> bool {
        let program = std::path::Path::new("/usr/bin/mh").join(program);
        if !program.exists() {
            eprintln!("skipped: no nmh");
            return false;
        }
        let mut command = std::process::Command::new(program);
        let output =
            command.args(arguments).env("HOME", folder.home.path("")).env_remove("MH").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        true
    };
    let mut mailbox = folder.open();
    drop(
        store(&mut *mailbox, &uids(&[3, 5]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"])).unwrap(),
    );
    if !run("rmm", &["+box", "2", "4"]) || !run("folder", &["-fast", "-pack", "+box"]) {
        return;
    }
    assert_eq!(mailbox.refresh().unwrap().expunged, uids(&[2, 4]));
    let wanted = pairs(&[(1, 1), (3, 3), (5, 5), (6, 6)]);
    assert_eq!(contents(&mut *mailbox).unwrap(), wanted);
    run("sortm", &["+box", "-textfield", "subject", "-noverbose"]);
    run("folder", &["-fast", "-create", "+other"]);
    run("refile", &["-src", "+box", "1", "+other"]);
    drop(mailbox.refresh().unwrap());
    assert_eq!(mailbox.snapshot().messages.len(), 3);
    let flagged =
        mailbox.snapshot().messages.iter().filter(|message| message.flags().keywords.has(0)).count();
    assert!((1..=2).contains(&flagged));
    assert_eq!(contents(&mut *mailbox).unwrap().iter().filter(|(uid, n)| uid == n).count(), 3);
    // rmf takes our file along.
    drop(mailbox);
    run("rmf", &["-nointeractive", "+box"]);
    assert!(!folder.home.path("Mail/box").exists());
}

#[test]
fn the_reference_sees_what_we_wrote_and_we_what_it_did() {
    let folder = Folder::filled(3);
    if mailutil(&folder.home, &["check", "#mh/box"]).is_none() {
        return;
    }
    let mut mailbox = folder.open();
    folder.append(4);
    let give_all = || drop(mailutil(&folder.home, &["check", "Mail/box"]));
    give_all();
    let told = mailutil(&folder.home, &["check", "#mh/box"]).unwrap();
    assert!(told.contains("4 total"), "{told}");
    drop(mailbox.refresh().unwrap());
    assert_eq!(contents(&mut *mailbox).unwrap(), pairs(&[(1, 1), (2, 2), (3, 3), (4, 4)]));
    mailutil(&folder.home, &["create", "#mh/copy"]).unwrap();
    let copied = mailutil(&folder.home, &["append", "#mh/box", "#mh/copy"]).unwrap();
    let mut copy = open(&folder.driver, &folder.home.special("#mh/copy")).unwrap();
    assert_eq!(contents(&mut *copy).unwrap(), pairs(&[(1, 1), (2, 2), (3, 3), (4, 4)]), "{copied}");
    mailutil(&folder.home, &["append", "#mh/copy", "#mh/box"]).unwrap();
    assert!(mailbox.refresh().unwrap().arrived);
    assert_eq!(mailbox.snapshot().messages.len(), 8);
    mailutil(&folder.home, &["prune", "#mh/box", "SUBJECT 3"]).unwrap();
    assert_eq!(mailbox.refresh().unwrap().expunged, uids(&[3, 7]));
}
