//! Newsgroups of a local spool: the recorded session of the reference, and what we do beyond it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::{News, drivers};
use ailurus_store::{Access, Driver, Error, Extent, Location, Mailbox, Mailboxes, Manner};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use session::{Session, copy_fixture, recorded, set_times};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use support::*;

/// 23-Nov-2026 12:06:12 UTC
const POSTED: i64 = 1_795_435_572;

struct Site {
    _spool: tempfile::TempDir,
    spool: PathBuf,
    home: Home,
}

impl Site {
    fn new() -> Self {
        Self::with(Os::shared())
    }

    fn with(disk: Arc<dyn Disk>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().to_path_buf();
        copy_fixture("news/spool", &spool.join("spool"));
        fs::create_dir_all(spool.join("spool/comp/empty")).unwrap();
        fs::copy(fixtures("news/active"), spool.join("active")).unwrap();
        for number in [3, 4, 7, 8, 12] {
            set_times(&spool.join(format!("spool/comp/mail/misc/{number}")), POSTED, POSTED);
        }
        let home = Home::with(disk, |environment| {
            environment.news.active = spool.join("active");
            environment.news.spool = spool.join("spool");
        });
        home.put(".newsrc", &fixture("news/newsrc.before"));
        Self { _spool: directory, spool, home }
    }

    fn driver(&self) -> News {
        News::new(self.home.environment.clone(), self.home.disk.clone())
    }

    fn at(&self) -> Location {
        self.home.special("#news.comp.mail.misc")
    }

    fn open(&self) -> Box<dyn Mailbox> {
        open(&self.driver(), &self.at()).unwrap()
    }

    fn article(&self, number: u32) -> PathBuf {
        self.spool.join(format!("spool/comp/mail/misc/{number}"))
    }

    fn mailboxes(&self) -> Mailboxes {
        Mailboxes::new(self.home.environment.clone(), drivers(&self.home.environment, &self.home.disk))
    }
}

fn deleted(mailbox: &dyn Mailbox) -> Vec<u32> {
    let messages = mailbox.snapshot().messages.iter();
    let deleted = messages.filter(|message| message.flags().system.contains(SystemFlags::DELETED));
    deleted.map(|message| message.uid().get()).collect()
}

#[test]
fn a_session_goes_as_it_was_recorded() {
    let site = Site::new();
    let mut session = Session::new(site.home);
    let recorded = recorded("news");
    assert_eq!(recorded.len(), 27);
    for step in recorded {
        let mut said = session.run(&step.command);
        // The sizes of articles, which the reference finds out each time.
        said.retain(|line| line != ".cache");
        let wanted: Vec<_> = match step.command.as_str() {
            // That the list of a sequence says whether a flag changed is the server's business.
            "check" => Vec::new(),
            _ => step.said,
        };
        assert_eq!(said, wanted, "{}", step.command);
    }
    assert_eq!(session.home().get(".newsrc"), fixture("news/newsrc.after"));
}

#[test]
fn articles_are_shown_with_crlf() {
    let site = Site::new();
    let mut mailbox = site.open();
    let header = "Newsgroups: comp.mail.misc\r\nSubject: art 3\r\n\r\n";
    for most in [1, 1000] {
        let mut read =
            |extent| String::from_utf8(read_all(&mut *mailbox, uid(3), extent, most).unwrap()).unwrap();
        assert_eq!(read(Extent::Whole), format!("{header}body 3\r\n"));
        assert_eq!(read(Extent::Header), header);
        assert_eq!(read(Extent::Text), "body 3\r\n");
    }
    assert!(matches!(
        mailbox.read(uid(5), Extent::Whole, 0, 9, &mut Vec::new()),
        Err(Error::Expunged { .. })
    ));
}

#[test]
fn articles_that_come_and_expire_are_noticed() {
    let site = Site::new();
    let mut mailbox = site.open();
    fs::remove_file(site.article(4)).unwrap();
    fs::write(site.article(13), "Subject: art 13\n\nbody 13\n").unwrap();
    set_times(&site.article(13), POSTED, POSTED);
    assert!(matches!(
        mailbox.read(uid(4), Extent::Whole, 0, 9, &mut Vec::new()),
        Err(Error::Expunged { .. })
    ));
    let changes = mailbox.refresh().unwrap();
    assert!(changes.arrived);
    assert_eq!(changes.expunged, uids(&[4]));
    assert_eq!(uids_of(&*mailbox), [3, 7, 8, 12, 13]);
    assert!(mailbox.snapshot().messages[4].is_recent());
    assert_eq!(mailbox.snapshot().uid_next, Some(uid(14)));
    assert_eq!(deleted(&*mailbox), [3, 7]);
}

#[test]
fn sizes_are_found_once() {
    let site = Site::new();
    let first = show(&*site.open());
    let cache = site.home.path(".cache/ailurus/news/comp.mail.misc");
    let before = fs::read(&cache).unwrap();
    assert_eq!(show(&*site.open()), first);
    assert_eq!(fs::read(&cache).unwrap(), before);
    // A cache that is nonsense, cut short, or of other files is as good as none.
    for content in [&b"nonsense"[..], &before[..before.len() / 2], b""] {
        fs::write(&cache, content).unwrap();
        assert_eq!(show(&*site.open()), first);
    }
    fs::write(site.article(8), "Subject: another\n\n").unwrap();
    set_times(&site.article(8), POSTED, POSTED + 1);
    assert!(show(&*site.open())[3].contains("size=20 "), "{:?}", show(&*site.open()));
    fs::remove_file(&cache).unwrap();
    fs::create_dir(&cache).unwrap();
    assert_eq!(site.open().snapshot().messages.len(), 5);
}

#[test]
fn only_what_was_read_is_kept_and_only_when_it_changed() {
    let site = Site::new();
    let before = site.home.get(".newsrc");
    let mut mailbox = site.open();
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &["Mine"])).unwrap());
    assert!(!mailbox.is_dirty());
    let mut edit = mailbox.edit().unwrap();
    edit.store(&UidSet::all(), &change(FlagOp::Add, SystemFlags::DELETED, &[])).unwrap();
    drop(edit);
    assert_eq!(deleted(&*mailbox), [3, 7]);
    mailbox.close().unwrap();
    assert_eq!(site.home.get(".newsrc"), before);
    assert!(!site.home.path(".newsrc.old").exists());
    // What another newsreader wrote meanwhile about other groups stays.
    let mut mailbox = site.open();
    drop(store(&mut *mailbox, &uids(&[8]), &change(FlagOp::Add, SystemFlags::DELETED, &[])).unwrap());
    assert!(mailbox.is_dirty());
    let other = String::from_utf8(before).unwrap().replace("alt.test: ", "alt.test: 1-9");
    site.home.put(".newsrc", other.as_bytes());
    drop(mailbox.checkpoint().unwrap());
    assert!(!mailbox.is_dirty());
    assert_eq!(site.home.get(".newsrc"), other.replace("1-3,7", "1-3,7-11").as_bytes());
    // Dropped without a close, nothing is written.
    drop(store(&mut *mailbox, &uids(&[12]), &change(FlagOp::Add, SystemFlags::DELETED, &[])).unwrap());
    drop(mailbox);
    assert_eq!(deleted(&*site.open()), [3, 7, 8]);
}

#[test]
fn nothing_can_be_written_to_news() {
    let site = Site::new();
    let mailboxes = site.mailboxes();
    let name = "#news.comp.mail.misc";
    assert!(mailboxes.create(&"#news.comp.new".into()).is_err());
    assert!(mailboxes.delete(&name.into()).is_err());
    assert!(mailboxes.rename(&name.into(), &"new".into()).is_err());
    let error = mailboxes.append(&name.into()).err().unwrap();
    assert_eq!(error.to_string(), "Append not valid for news");
    for bad in ["#news.comp.nosuch", "#NEWS.comp.mail.misc", "#news.comp/mail", "#news..", "#news.comp"] {
        assert!(mailboxes.select(&bad.into(), Access::ReadOnly).is_err(), "{bad}");
    }
    let error =
        site.driver().open(&site.home.special("#news.alt.test"), Access::ReadOnly, Manner::Session).err();
    assert_eq!(error.unwrap().to_string(), "Unable to scan newsgroup spool directory");
    let status = mailboxes.status(&name.into()).unwrap();
    assert_eq!((status.messages, status.recent, status.unseen, status.uid_next), (5, 2, 3, Some(uid(13))));
    assert_eq!(status.uid_validity.get(), 0xbeef_face);
    assert_eq!(site.home.notices(), Vec::<String>::new());
}

#[test]
fn a_group_that_is_gone_can_be_given_up() {
    let site = Site::new();
    let mailboxes = site.mailboxes();
    mailboxes.unsubscribe(&"#news.alt.old".into()).unwrap();
    assert!(mailboxes.unsubscribe(&"#news.never.was".into()).is_err());
    assert!(mailboxes.subscribe(&"#news.alt.old".into()).is_err(), "there is no such group");
    assert_eq!(site.home.get(".newsrc"), fixture("news/newsrc.before"));
}

/// `.newsrc` is either as before or as after, and never loses a line.
#[test]
fn what_was_read_is_written_whole() {
    for power in [false, true] {
        for n in 0.. {
            let mut site = Site::new();
            drop(site.open());
            let disk = Arc::new(FaultyDisk::new(site.home.directory.path(), Fault::KillBefore(n)));
            let news = site.home.environment.news.clone();
            site.home = Home::at(site.home.directory, disk.clone(), |environment| environment.news = news);
            let outcome = (|| {
                let mut mailbox = open(&site.driver(), &site.at())?;
                drop(store(&mut *mailbox, &uids(&[4]), &change(FlagOp::Add, SystemFlags::DELETED, &[]))?);
                mailbox.close()?;
                site.mailboxes().subscribe(&"#news.comp.empty".into())
            })();
            let dead = disk.is_dead();
            if power {
                disk.lose_power(n as u64);
            }
            let text = String::from_utf8(site.home.get(".newsrc")).unwrap();
            let old = String::from_utf8(fixture("news/newsrc.before")).unwrap();
            let new = old.replace("1-3,7", "1-7");
            assert!(text == old || text.starts_with(&new), "{n}: {text}");
            let rest = text.strip_prefix(&new).unwrap_or_default();
            assert!(
                "comp.empty: \n".starts_with(rest) || rest.trim_end_matches('\0').is_empty(),
                "{n}: {rest:?}"
            );
            assert!(outcome.is_err() || rest == "comp.empty: \n", "{n}: {text}");
            if !dead {
                break;
            }
        }
    }
}
