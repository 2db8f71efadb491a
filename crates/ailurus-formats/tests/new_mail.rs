//! New mail on its way from the spool into an INBOX that is another file: everything comes, once, and nobody is
//! disturbed.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::drivers;
use ailurus_formats::lock::{LockedFile, Mode, Opening, SessionLock};
use ailurus_store::{Access, Extent, Level, Mailbox, Mailboxes, Manner};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, MailboxName, SystemFlags, UidSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::*;

const MARK: &str = "\u{1}\u{1}\u{1}\u{1}\n";

/// The formats that INBOX can have here, and what makes one.
const FORMATS: [&str; 2] = ["mbx", "mbox"];
/// The same, and those whose messages are files.
const ALL: [&str; 4] = ["mbx", "mbox", "mh", "mx"];

fn home_on(disk: Arc<dyn Disk>) -> Home {
    let home = Home::with(disk, |environment| {
        environment.lock_dir = environment.home.join("locks");
        environment.kiss_tries = 1;
        environment.dot_lock_timeout = 300;
        // Which it is only where there is a profile.
        environment.mh_allow_inbox = true;
    });
    std::fs::create_dir(home.path("locks")).unwrap();
    home
}

/// A home with an INBOX of a format, and no spool.
fn home(format: &str) -> Home {
    let home = home_on(Os::shared());
    if format == "mh" {
        home.put(".mh_profile", b"");
        std::fs::create_dir_all(home.path("Mail/inbox")).unwrap();
        return home;
    }
    mailboxes(&home).create(&MailboxName::from(format!("#driver.{format}/INBOX").as_str())).unwrap();
    home
}

fn mailboxes(home: &Home) -> Mailboxes {
    Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk))
}

fn select(home: &Home) -> Box<dyn Mailbox> {
    mailboxes(home).select(&MailboxName::inbox(), Access::ReadWrite).unwrap()
}

fn file_of(home: &Home, format: &str) -> String {
    home.path(if format == "mbx" { "INBOX" } else { "mbox" }).display().to_string()
}

/// Delivers as procmail does: dot-lock, flock, O_APPEND.
fn deliver(spool: &Path, text: &str) {
    let lock = spool.with_extension("lock");
    let mut file = loop {
        match File::create_new(&lock) {
            Ok(_) => break OpenOptions::new().append(true).create(true).open(spool).unwrap(),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    file.lock().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    std::fs::remove_file(&lock).unwrap();
}

fn mail(number: usize) -> String {
    format!("From x@example.com Wed Dec  2 05:53:22 1992\nSubject: {number}\n\nFrom here on: {number}\n\n")
}

fn texts(mailbox: &mut dyn Mailbox) -> Vec<String> {
    let uids: Vec<_> = mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
    let text = |uid| read_all(mailbox, uid, Extent::Whole, 1000).unwrap();
    uids.into_iter().map(text).map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
}

fn numbers(mailbox: &mut dyn Mailbox) -> Vec<usize> {
    let number =
        |text: &String| text.strip_prefix("Subject: ").unwrap().lines().next().unwrap().parse().unwrap();
    texts(mailbox).iter().map(number).collect()
}

/// There may be a pseudo message: in these tests the clock stands, and so it could not be told when its UID validity
/// value was given.
fn no_mail_is_in_the_spool(home: &Home) {
    let left = String::from_utf8(home.get("spool")).unwrap();
    assert!(
        left.is_empty() || left.matches("\nSubject: ").count() == 1 && left.contains("DON'T DELETE"),
        "{left}"
    );
}

fn nothing_of_ours_is_left(home: &Home) {
    let names: Vec<_> = std::fs::read_dir(home.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("ailurus") || name.contains("lock") && name != "locks")
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn all_of_the_spool_comes_with_what_is_known_of_it() {
    for format in FORMATS {
        let home = home(format);
        let spool = "From a@b Sat Feb  1 12:34:56 2025 +0200\nSubject: 1\nX-IMAPbase: 77 40 Work\nStatus: RO\n\
            X-Status: FA\nX-Keywords: Work\nX-UID: 3\n\nFrom here\n>From there\n\n\
            From c@d Tue Mar  5 01:02:03 2024 -0830\nSubject: 2\nX-UID: 7\n\nno end";
        home.put("spool", spool.as_bytes());
        let mut mailbox = select(&home);
        assert_eq!(mailbox.driver(), format);
        assert_eq!(
            texts(mailbox.as_mut()),
            ["Subject: 1\r\n\r\nFrom here\r\n>From there\r\n", "Subject: 2\r\n\r\nno end\r\n"]
        );
        let shown = show(mailbox.as_ref());
        assert_eq!(
            shown,
            [
                "keyword 0 Work",
                "msg 1 uid=1 size=38 date=\" 1-Feb-2025 12:34:56 +0200\" flags=SFAr uf=1",
                "msg 2 uid=2 size=22 date=\" 5-Mar-2024 01:02:03 -0830\" flags=r uf=0",
            ]
        );
        let line = mailbox.envelope_line(uid(1)).unwrap();
        let kept = b"From a@b Sat Feb  1 12:34:56 2025 +0200".to_vec();
        assert_eq!(line, (format == "mbox").then_some(kept));
        assert_eq!(home.get("spool"), b"");
        let (count, file, from) = (spool.len(), file_of(&home, format), home.path("spool"));
        let told = home.environment.notices.take();
        let moved = format!("Moved {count} bytes of new mail to {file} from {}", from.display());
        assert!(told.iter().any(|notice| notice.level == Level::Record && notice.text == moved), "{told:?}");
        assert!(told.iter().all(|notice| !matches!(notice.level, Level::Warning | Level::Error)), "{told:?}");
        mailbox.close().unwrap();
        nothing_of_ours_is_left(&home);
    }
}

/// Into a folder of mh by both its names, and into mx.
#[test]
fn new_mail_becomes_files_with_what_is_known_of_it() {
    for (format, name) in [("mh", "INBOX"), ("mh", "#MHinbox"), ("mx", "INBOX")] {
        let home = home(format);
        let select = || mailboxes(&home).select(&name.into(), Access::ReadWrite).unwrap();
        let mut mailbox = select();
        home.put("spool", b"From a@b Sat Feb  1 12:34:56 2025 +0200\nSubject: 1\nX-IMAPbase: 77 40 Work\n\
            Status: RO\nX-Status: FA\nX-Keywords: Work\nX-UID: 3\n\nFrom here\n\nFrom c@d Tue Mar  5 01:02:03 2024\n\
            Subject: 2\n\nbody\n");
        assert_eq!(mailboxes(&home).status(&name.into()).unwrap().messages, 2);
        assert!(mailbox.refresh().unwrap().arrived);
        assert_eq!(
            texts(mailbox.as_mut()),
            ["Subject: 1\r\n\r\nFrom here\r\n", "Subject: 2\r\n\r\nbody\r\n"]
        );
        let shown = show(mailbox.as_ref());
        let first = "msg 1 uid=1 size=25 date=\" 1-Feb-2025 10:34:56 +0000\" flags=SFA";
        assert!(
            shown.iter().any(|line| line == "keyword 0 Work") && shown[1].starts_with(first),
            "{shown:?}"
        );
        assert_eq!(home.get("spool"), b"");
        deliver(&home.path("spool"), &mail(3));
        assert!(mailbox.refresh().unwrap().arrived);
        mailbox.close().unwrap();
        assert_eq!(numbers(select().as_mut()), [1, 2, 3]);
        nothing_of_ours_is_left(&home);
    }
}

#[test]
fn mail_that_comes_later_is_moved_at_the_next_refresh_and_nothing_is_done_else() {
    for format in FORMATS {
        let made = home(format);
        let disk = Arc::new(FaultyDisk::new(made.directory.path(), Fault::None));
        let home = Home { disk: disk.clone(), ..made };
        let mut mailbox = select(&home);
        assert!(mailbox.wake().paths.contains(&home.path("spool")));
        assert!(mailbox.snapshot().messages.is_empty());
        for number in 0..5 {
            deliver(&home.path("spool"), &mail(number));
            let changes = mailbox.refresh().unwrap();
            assert!(changes.arrived && changes.expunged.is_empty());
            let before = disk.changes();
            assert!(mailbox.refresh().unwrap().is_empty());
            assert_eq!(disk.changes(), before, "{format}: a refresh without news changes nothing");
        }
        assert_eq!(numbers(mailbox.as_mut()), [0, 1, 2, 3, 4]);
        assert!(mailbox.snapshot().messages.iter().all(ailurus_store::MessageInfo::is_recent));
        mailbox.close().unwrap();
        let mut mailbox = select(&home);
        assert_eq!(numbers(mailbox.as_mut()), [0, 1, 2, 3, 4]);
        nothing_of_ours_is_left(&home);
    }
}

#[test]
fn a_spool_of_mmdf_format_is_moved_too() {
    let home = home("mbx");
    let message = |number: usize| {
        let line = if number.is_multiple_of(2) { "From x@y Wed Dec  2 05:53:22 1992\n" } else { "" };
        format!("{MARK}{line}Subject: {number}\n\nFrom here on\n{MARK}")
    };
    home.put("spool", (message(0) + &message(1)).as_bytes());
    let mut mailbox = select(&home);
    deliver(&home.path("spool"), &message(2));
    assert!(mailbox.refresh().unwrap().arrived);
    assert_eq!(numbers(mailbox.as_mut()), [0, 1, 2]);
    assert_eq!(home.get("spool"), b"");
}

#[test]
fn what_the_spool_keeps_for_itself_is_not_moved() {
    for format in ALL {
        for (name, count) in
            [("unix/03-flags-keywords", 4), ("unix/01-created", 0), ("unix/20-g-imapbase", 3)]
        {
            let home = home(format);
            let content = fixture(name);
            home.put("spool", &content);
            let mut mailbox = select(&home);
            let texts = texts(mailbox.as_mut());
            assert_eq!(texts.len(), count, "{name}");
            assert!(
                texts.iter().all(|text| !text.contains("DON'T DELETE") && !text.contains("\nX-UID: 1\n"))
            );
            // The clock stands at the second of the value: a new one would be no other.
            let left = home.get("spool");
            assert_eq!(left.is_empty(), name == "unix/20-g-imapbase", "{name}");
            if !left.is_empty() {
                assert!(String::from_utf8(left).unwrap().contains("X-IMAP: 1740830400 "));
            }
            assert!(mailbox.refresh().unwrap().is_empty());
        }
    }
    // A value of the past can go.
    let home = home("mbx");
    let content = String::from_utf8(fixture("unix/05-expunged-all")).unwrap();
    home.put("spool", content.replace("X-IMAP: 1740830400", "X-IMAP: 1740830399").as_bytes());
    select(&home);
    assert_eq!(home.get("spool"), b"");
}

#[test]
fn a_spool_that_somebody_has_is_left_alone_without_a_word() {
    for format in ALL {
        let home = home(format);
        home.put("spool", mail(1).as_bytes());
        let (env, disk) = (&home.environment, &home.disk);
        let spool = home.path("spool");
        let file = File::open(&spool).unwrap();
        let flock = || {
            let file = File::open(&spool).unwrap();
            file.lock_shared().unwrap();
            file
        };
        let session = SessionLock::acquire(disk, env, &file, Manner::Session).unwrap();
        let mut mailbox = select(&home);
        assert!(mailbox.snapshot().messages.is_empty());
        drop(session);
        let opening = Opening { mode: Mode::Shared, manner: Manner::Silent, access: Access::ReadOnly };
        let locked = LockedFile::open(disk, env, &spool, opening).unwrap();
        assert!(mailbox.refresh().unwrap().is_empty());
        assert!(mailbox.wake().paths.contains(&home.path("spool.lock")));
        drop(locked);
        let locked = flock();
        assert!(mailbox.refresh().unwrap().is_empty());
        let told = home.environment.notices.take();
        assert!(told.iter().all(|notice| notice.level.is_for_log()), "{told:?}");
        drop(locked);
        assert!(mailbox.refresh().unwrap().arrived);
        assert!(!mailbox.wake().paths.contains(&home.path("spool.lock")));
        assert_eq!(numbers(mailbox.as_mut()), [1]);
        assert_eq!(std::fs::read_dir(home.path("locks")).unwrap().count(), usize::from(format == "mbox"));
    }
}

#[test]
fn who_only_looks_moves_nothing() {
    for format in ALL {
        let home = home(format);
        home.put("spool", mail(1).as_bytes());
        let boxes = mailboxes(&home);
        let mailbox = boxes.select(&MailboxName::inbox(), Access::ReadOnly).unwrap();
        assert!(mailbox.snapshot().messages.is_empty());
        let before = boxes.status(&MailboxName::inbox()).unwrap();
        assert_eq!((before.messages, before.recent, before.unseen), (1, 1, 1), "{format}");
        assert_eq!(home.get("spool"), mail(1).as_bytes());
        drop(mailbox);
        // STATUS tells what a SELECT would.
        deliver(&home.path("spool"), &mail(2).replace("\n\nFrom", "\nStatus: RO\n\nFrom"));
        let told = boxes.status(&MailboxName::inbox()).unwrap();
        let mailbox = select(&home);
        let snapshot = mailbox.snapshot();
        assert_eq!((told.messages, told.recent, told.unseen), (2, 2, 1));
        assert_eq!((told.uid_next, told.uid_validity), (snapshot.uid_next, snapshot.uid_validity));
        assert_eq!(snapshot.messages.len(), 2);
        drop(mailbox);
        assert_eq!(boxes.status(&MailboxName::inbox()).unwrap().messages, 2);
    }
}

#[test]
fn two_sessions_see_the_mail_and_one_moves_it() {
    let home = home("mbx");
    let (mut one, mut two) = (select(&home), select(&home));
    for number in 0..20 {
        deliver(&home.path("spool"), &mail(number));
        let (first, second) = if number % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        assert!(first.refresh().unwrap().arrived);
        assert!(second.refresh().unwrap().arrived);
    }
    let wanted: Vec<usize> = (0..20).collect();
    assert_eq!((numbers(one.as_mut()), numbers(two.as_mut())), (wanted.clone(), wanted));
}

/// Deliveries by several programs, several sessions, some of which come and go.
#[test]
fn nothing_is_lost_and_nothing_comes_twice_while_mail_is_delivered() {
    const EACH: usize = 40;
    for format in ALL {
        let home = home(format);
        let spool = home.path("spool");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let deliverers: Vec<_> = (0..3)
                .map(|who| {
                    let spool = &spool;
                    scope.spawn(move || (0..EACH).for_each(|n| deliver(spool, &mail(who * EACH + n))))
                })
                .collect();
            for who in 0..2 {
                let (home, done) = (&home, &done);
                scope.spawn(move || {
                    let mut mailbox = select(home);
                    while !done.load(Ordering::Relaxed) {
                        drop(mailbox.refresh().unwrap());
                        if who == 1 {
                            mailbox.close().unwrap();
                            mailbox = select(home);
                        }
                    }
                });
            }
            deliverers.into_iter().for_each(|deliverer| deliverer.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        let mut mailbox = select(&home);
        let mut found = numbers(mailbox.as_mut());
        found.sort_unstable();
        assert_eq!(found, (0..3 * EACH).collect::<Vec<_>>(), "{format}");
        assert_eq!(home.get("spool"), b"");
        mailbox.close().unwrap();
        nothing_of_ours_is_left(&home);
    }
}

type Hook = Box<dyn Fn(&Path) + Send + Sync>;

/// A disk on which something happens when INBOX has the mail, and the spool has it too.
struct Meanwhile {
    spool: std::path::PathBuf,
    happens: Hook,
    syncs: AtomicUsize,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Meanwhile {
    fn disk(spool: &Path, happens: impl Fn(&Path) + Send + Sync + 'static) -> Arc<dyn Disk> {
        Arc::new(Self { spool: spool.into(), happens: Box::new(happens), syncs: AtomicUsize::new(0) })
    }
}

impl Disk for Meanwhile {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        Os.create_new(path, mode)
    }
    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        Os.write_at(file, data, offset)?;
        // The mark of the note.
        if data == b"+" && self.syncs.fetch_add(1, Ordering::SeqCst) == 0 {
            (self.happens)(&self.spool);
        }
        Ok(())
    }
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        Os.set_len(file, len)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        Os.sync(file)
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        Os.sync_dir(directory)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Os.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Os.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Os.remove(path)
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        Os.make_dir(path, mode)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Os.remove_dir(path)
    }
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        Os.set_mode(file, mode)
    }
    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        Os.set_times(file, accessed, modified)
    }
}

fn append_without_locks(spool: &Path) {
    OpenOptions::new().append(true).open(spool).unwrap().write_all(mail(9).as_bytes()).unwrap();
}

#[test]
fn what_comes_without_a_lock_in_the_middle_of_a_move_is_kept() {
    for format in ALL {
        let made = home(format);
        made.put("spool", (mail(1) + &mail(2)).as_bytes());
        let home = Home { disk: Meanwhile::disk(&made.path("spool"), append_without_locks), ..made };
        let mut mailbox = select(&home);
        assert_eq!(numbers(mailbox.as_mut()), [1, 2]);
        // It stays for the next time.
        deliver(&home.path("spool"), &mail(3));
        assert!(mailbox.refresh().unwrap().arrived);
        assert_eq!(numbers(mailbox.as_mut()), [1, 2, 9, 3]);
        no_mail_is_in_the_spool(&home);
        nothing_of_ours_is_left(&home);
    }
}

/// Programs that do as if there were no locks.
#[test]
fn a_spool_that_is_replaced_or_rewritten_in_the_middle_of_a_move_is_not_written() {
    let replace = |spool: &Path| {
        // The same mail, and one message more, under other From_ lines' order.
        let aside = spool.with_extension("new");
        std::fs::write(&aside, mail(2) + &mail(4) + &mail(1)).unwrap();
        std::fs::rename(aside, spool).unwrap();
    };
    let rewrite = |spool: &Path| std::fs::write(spool, mail(4) + &mail(2)).unwrap();
    let cut = |spool: &Path| std::fs::write(spool, "").unwrap();
    type After = (fn(&Path), &'static [usize]);
    let hooks: [After; 3] = [(replace, &[1, 2, 4]), (rewrite, &[1, 2, 4]), (cut, &[1, 2])];
    for format in ALL {
        for (hook, wanted) in hooks {
            let made = home(format);
            made.put("spool", (mail(1) + &mail(2)).as_bytes());
            let home = Home { disk: Meanwhile::disk(&made.path("spool"), hook), ..made };
            let mut mailbox = select(&home);
            assert_eq!(numbers(mailbox.as_mut()), [1, 2]);
            let told = home.notices();
            assert!(told.iter().any(|text| text.starts_with("New mail move failed")), "{told:?}");
            mailbox.close().unwrap();
            // The note knows what was brought already.
            let mut mailbox = select(&home);
            assert_eq!(numbers(mailbox.as_mut()), wanted);
            no_mail_is_in_the_spool(&home);
            drop(mailbox);
            select(&home).close().unwrap();
            nothing_of_ours_is_left(&home);
        }
    }
}

#[test]
fn a_note_that_is_left_says_nothing_about_other_mail() {
    let home = home("mbx");
    home.put("spool", (mail(1) + &mail(2)).as_bytes());
    let spool = home.path("spool");
    // The process dies when the spool is empty and the note still there.
    let disk = Meanwhile::disk(&spool, |spool| {
        std::fs::copy(spool.with_file_name(".ailurus-new-mail"), spool.with_file_name("kept")).unwrap();
    });
    let made = Home { disk, ..home };
    select(&made).close().unwrap();
    let home = Home { disk: Os::shared(), ..made };
    std::fs::rename(home.path("kept"), home.path(".ailurus-new-mail")).unwrap();
    deliver(&spool, &mail(3));
    deliver(&spool, &mail(2).replace("From x@", "From y@"));
    let mut mailbox = select(&home);
    assert_eq!(numbers(mailbox.as_mut()), [1, 2, 3, 2]);
    nothing_of_ours_is_left(&home);
}

#[test]
fn what_was_moved_and_expunged_does_not_come_back() {
    let home = home("mbx");
    home.put("spool", (mail(1) + &mail(2)).as_bytes());
    // The process dies before the spool is touched.
    let made = Home { disk: Arc::new(DiesAtTheMark::default()), ..home };
    assert!(mailboxes(&made).select(&MailboxName::inbox(), Access::ReadWrite).is_err());
    let home = Home { disk: Os::shared(), ..made };
    assert!(home.path(".ailurus-new-mail").exists());
    assert_eq!(mailboxes(&home).status(&MailboxName::inbox()).unwrap().messages, 2);
    // A program that knows nothing of notes deletes both.
    let driver = ailurus_formats::Mbx::new(home.environment.clone(), home.disk.clone());
    let mut mailbox = open(&driver, &home.at_name("INBOX")).unwrap();
    drop(expunge(mailbox.as_mut(), &UidSet::all()).unwrap());
    mailbox.close().unwrap();
    assert_eq!(mailboxes(&home).status(&MailboxName::inbox()).unwrap().messages, 0);
    let mailbox = select(&home);
    assert!(mailbox.snapshot().messages.is_empty());
    assert_eq!(home.get("spool"), b"");
    nothing_of_ours_is_left(&home);
}

/// Dies behind the mark of the note.
#[derive(Debug, Default)]
struct DiesAtTheMark {
    dead: AtomicBool,
}

impl DiesAtTheMark {
    fn alive(&self) -> io::Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(io::Error::other("dead")) } else { Ok(()) }
    }
}

impl Disk for DiesAtTheMark {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.alive().and_then(|()| Os.create_new(path, mode))
    }
    fn write_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        self.alive().and_then(|()| Os.write_at(file, data, offset))?;
        self.dead.fetch_or(data == b"+", Ordering::SeqCst);
        Ok(())
    }
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.alive().and_then(|()| Os.set_len(file, len))
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        self.alive().and_then(|()| Os.sync(file))
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.alive().and_then(|()| Os.sync_dir(directory))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive().and_then(|()| Os.rename(from, to))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive().and_then(|()| Os.link(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        // Locks go: another of the process's sessions could not wait for them.
        if path.extension().is_none_or(|kind| kind != "lock") {
            self.alive()?;
        }
        Os.remove(path)
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.alive().and_then(|()| Os.make_dir(path, mode))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.alive().and_then(|()| Os.remove_dir(path))
    }
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        self.alive().and_then(|()| Os.set_mode(file, mode))
    }
    fn set_times(&self, file: &File, accessed: i64, modified: i64) -> io::Result<()> {
        self.alive().and_then(|()| Os.set_times(file, accessed, modified))
    }
}

#[test]
fn spools_that_cannot_be_moved_are_told_of_once() {
    for format in ["mbx"] {
        for content in ["this is no mailbox\n", "\nFrom nobody\n"] {
            let home = home(format);
            home.put("spool", content.as_bytes());
            let mut mailbox = select(&home);
            let text = format!("Mail drop {} is not in standard Unix format", home.path("spool").display());
            let warnings = |home: &Home| {
                let told = home.environment.notices.take();
                told.into_iter().filter(|notice| notice.level == Level::Warning).map(|notice| notice.text)
            };
            assert_eq!(warnings(&home).collect::<Vec<_>>(), [text]);
            assert!(mailbox.refresh().unwrap().is_empty());
            deliver(&home.path("spool"), &mail(1));
            assert!(mailbox.refresh().unwrap().is_empty());
            assert_eq!(warnings(&home).count(), 0);
            assert_eq!(home.get("spool"), [content.as_bytes(), mail(1).as_bytes()].concat());
            // Once it is mended, mail comes.
            home.put("spool", mail(1).as_bytes());
            assert!(mailbox.refresh().unwrap().arrived);
        }
    }
}

#[test]
fn a_spool_that_is_inbox_itself_is_left_alone() {
    for link in [(|from, to| symlink(from, to).unwrap()) as fn(&Path, &Path), |from, to| {
        std::fs::hard_link(from, to).unwrap()
    }] {
        let home = home("mbox");
        home.put("mbox", mail(1).as_bytes());
        link(&home.path("mbox"), &home.path("spool"));
        let mut mailbox = select(&home);
        assert_eq!(mailbox.driver(), "mbox");
        let text = format!(
            "File {} and {} are the same file!",
            home.path("mbox").display(),
            home.path("spool").display()
        );
        assert!(home.notices().contains(&text));
        deliver(&home.path("mbox"), &mail(2));
        assert!(mailbox.refresh().unwrap().arrived);
        assert_eq!(numbers(mailbox.as_mut()), [1, 2]);
        assert_eq!(mailboxes(&home).status(&MailboxName::inbox()).unwrap().messages, 2);
    }
}

#[test]
fn a_symbolic_link_is_followed_unless_it_is_somebody_elses() {
    let home = home("mbx");
    home.put("real", mail(1).as_bytes());
    symlink("real", home.path("spool")).unwrap();
    let mut mailbox = select(&home);
    assert_eq!(numbers(mailbox.as_mut()), [1]);
    assert_eq!(home.get("real"), b"");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    home.put("real", mail(2).as_bytes());
    std::os::unix::fs::lchown(home.path("spool"), Some(1), Some(1)).unwrap();
    assert!(mailbox.refresh().unwrap().is_empty());
    assert!(home.notices().iter().any(|text| text.ends_with("is a symbolic link of somebody else")));
    assert_eq!(home.get("real"), mail(2).as_bytes());
}

#[test]
fn a_full_disk_leaves_the_mail_where_it_is() {
    for format in ALL {
        for room in (0..9000).step_by(401) {
            let made = home(format);
            let body = "a line of text\n".repeat(400);
            made.put(
                "spool",
                (mail(1) + &mail(2).replace("From here", &format!("{body}From here"))).as_bytes(),
            );
            let before = made.get("spool");
            let disk = Arc::new(FaultyDisk::new(made.directory.path(), Fault::FullAfter(room)));
            let full = Home { disk, ..made };
            let mut mailbox = select(&full);
            let moved = numbers(mailbox.as_mut());
            mailbox.close().ok();
            assert!(moved.is_empty() && full.get("spool") == before || moved == [1, 2], "{format} {room}");
            if moved.is_empty() {
                let told = full.notices();
                assert!(told.iter().any(|text| text.starts_with("New mail move failed")), "{told:?}");
            }
            let home = Home { disk: Os::shared(), ..full };
            assert_eq!(numbers(select(&home).as_mut()), [1, 2], "{format} {room}");
            assert_eq!(home.get("spool"), b"");
        }
    }
}

#[test]
fn after_a_failure_it_is_tried_again_a_minute_later() {
    let made = home_on(Os::shared());
    let clock = Arc::new(Moving(std::sync::atomic::AtomicI64::new(NOW)));
    let mut environment = made.environment.as_ref().clone();
    environment.clock = clock.clone();
    let home = Home { environment: Arc::new(environment), ..made };
    mailboxes(&home).create(&"#driver.mbx/INBOX".into()).unwrap();
    let mut mailbox = select(&home);
    // A note of somebody else's cannot be replaced.
    std::fs::create_dir(home.path(".ailurus-new-mail")).unwrap();
    deliver(&home.path("spool"), &mail(1));
    assert!(mailbox.refresh().unwrap().is_empty());
    std::fs::remove_dir(home.path(".ailurus-new-mail")).unwrap();
    clock.0.fetch_add(59, Ordering::SeqCst);
    assert!(mailbox.refresh().unwrap().is_empty());
    clock.0.fetch_add(1, Ordering::SeqCst);
    assert!(mailbox.refresh().unwrap().arrived);
    assert_eq!(home.get("spool"), b"");
}

#[derive(Debug)]
struct Moving(std::sync::atomic::AtomicI64);

impl ailurus_store::Clock for Moving {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
    fn local_offset(&self) -> i16 {
        0
    }
}

/// A message larger than any buffer goes through without being held.
#[test]
fn large_messages_are_moved() {
    for format in ALL {
        let home = home(format);
        let body = "From here a line of text\n".repeat(200_000);
        let message = mail(1).replace("From here", &format!("{body}From here"));
        home.put("spool", (message.clone() + &message).as_bytes());
        let mut mailbox = select(&home);
        let text = read_all(mailbox.as_mut(), uid(2), Extent::Text, 1 << 20).unwrap();
        let wanted = message.split_once("\n\n").unwrap().1.trim_end().replace('\n', "\r\n") + "\r\n";
        assert!(text == wanted.as_bytes(), "{format}");
        assert_eq!(home.get("spool"), b"");
    }
}

#[test]
fn an_emptied_spool_looks_read_to_biff() {
    let home = home("mbx");
    home.put("spool", mail(1).as_bytes());
    select(&home);
    let found = home.path("spool").metadata().unwrap();
    assert_eq!((found.atime(), found.mtime(), found.len()), (NOW, NOW - 1, 0));
}

/// What INBOX is, by what is there.
#[test]
fn inbox_is_the_first_that_is_there() {
    let home = home_on(Os::shared());
    let driver = |home: &Home| select(home).driver();
    assert_eq!(driver(&home), "dummy");
    home.put("spool", mail(1).as_bytes());
    assert_eq!(driver(&home), "unix");
    home.put("mbox", b"");
    assert_eq!(driver(&home), "mbox");
    assert_eq!((home.get("spool").len(), home.get("mbox").len() > 100), (0, true));
    std::fs::remove_file(home.path("spool")).unwrap();
    assert_eq!(driver(&home), "mbox");
    home.put("mbox", b"no mailbox\n");
    assert_eq!(driver(&home), "dummy");
    home.put("mbox", mail(1).as_bytes());
    home.put("spool", b"no mailbox\n");
    assert!(mailboxes(&home).select(&MailboxName::inbox(), Access::ReadWrite).is_err());
    mailboxes(&home).create(&"#driver.mbx/INBOX".into()).unwrap();
    assert_eq!(driver(&home), "mbx");
    home.put("spool", format!("{MARK}Subject: 3\n\n{MARK}").as_bytes());
    // The spool is none that the reference would move to mbox.
    let mut mailbox = select(&home);
    assert_eq!((mailbox.driver(), numbers(mailbox.as_mut())), ("mbx", vec![3]));
    drop(mailbox);
    home.put("spool", b"");
    assert_eq!(driver(&home), "mbox");
}

#[test]
fn mbox_is_inbox_and_nothing_else() {
    let home = home_on(Os::shared());
    let boxes = mailboxes(&home);
    let text = |outcome: ailurus_store::Result<()>| outcome.unwrap_err().to_string();
    assert_eq!(
        text(boxes.create(&"#driver.mbox/other".into())),
        "Can't create non-INBOX name as mbox: other"
    );
    boxes.create(&"#driver.mbox/INBOX".into()).unwrap();
    assert!(String::from_utf8(home.get("mbox")).unwrap().contains("X-IMAP: 1740830400 0000000000\n"));
    assert!(boxes.create(&"#driver.mbox/inbox".into()).is_err());
    let append = |name: &str| -> ailurus_store::Result<()> {
        let mut append = boxes.append(&name.into())?;
        append.begin(ailurus_store::AppendMeta { size: 7, ..Default::default() })?;
        append.write(b"a: 1\r\n\r")?;
        append.end()?;
        append.commit().map(drop)
    };
    append("INBOX").unwrap();
    append("#driver.mbox/INBOX").unwrap();
    home.put("other", b"");
    assert!(append("#driver.mbox/other").is_err());
    let mbox = ailurus_formats::Mbox::new(home.environment.clone(), home.disk.clone());
    let error = ailurus_store::Driver::append(&mbox, &home.at_name("other")).err().unwrap();
    assert_eq!(error.to_string(), "Can't append to that name: other");
    let mut mailbox = select(&home);
    assert_eq!(uids_of(mailbox.as_ref()), [1, 2]);
    drop(store(mailbox.as_mut(), &uids(&[1]), &change(FlagOp::Add, SystemFlags::SEEN, &["Kw"])).unwrap());
    // In use, it is not renamed.
    assert!(boxes.rename(&MailboxName::inbox(), &"old".into()).is_err());
    mailbox.close().unwrap();
    boxes.rename(&MailboxName::inbox(), &"old".into()).unwrap();
    assert_eq!(boxes.status(&"old".into()).unwrap().messages, 2);
    let status = boxes.status(&MailboxName::inbox()).unwrap();
    assert_eq!((status.messages, home.path("mbox").exists()), (0, true));
    // By its own name it is a mailbox like any other, and takes no new mail.
    home.put("spool", mail(1).as_bytes());
    let mailbox = boxes.select(&"mbox".into(), Access::ReadWrite).unwrap();
    assert_eq!((mailbox.driver(), mailbox.snapshot().messages.len()), ("unix", 0));
}

#[test]
fn in_a_box_there_is_no_spool_to_move_from() {
    for mode in [
        ailurus_store::Mode::BlackBox("/nowhere".into()),
        ailurus_store::Mode::ClosedBox,
        ailurus_store::Mode::Anonymous,
    ] {
        let home = Home::with(Os::shared(), |environment| {
            environment.mode = mode.clone();
            environment.spool = environment.home.join("INBOX");
            environment.lock_dir = environment.home.clone();
        });
        home.put("INBOX", mail(1).as_bytes());
        home.put("mbox", b"");
        let mut mailbox = select(&home);
        assert_eq!((mailbox.driver(), numbers(mailbox.as_mut())), ("unix", vec![1]));
    }
}

#[test]
fn an_mbox_that_is_no_inbox_is_a_mailbox_like_others() {
    let home = Home::with(Os::shared(), |environment| environment.mbox_as_inbox = false);
    home.put("mbox", b"");
    deliver(&home.path("spool"), &mail(1));
    assert_eq!(numbers(&mut *select(&home)), [1]);
    assert!(String::from_utf8(home.get("spool")).unwrap().contains("From here on: 1"));
    let mut other = mailboxes(&home).select(&"mbox".into(), Access::ReadWrite).unwrap();
    assert!(numbers(&mut *other).is_empty());
}
