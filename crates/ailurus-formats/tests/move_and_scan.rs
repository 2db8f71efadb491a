//! SCAN and `#move`, through the whole store with mailboxes of every format.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::Os;
use ailurus_formats::{CREATABLE, drivers};
use ailurus_store::{Access, AppendMeta, Error, Level, Mailbox, Mailboxes, Status};
use ailurus_types::{InternalDate, Keyword, MailboxName, SystemFlags, Uid};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use support::{Home, NOW, read_all};

/// A clock that a test sets on.
#[derive(Debug)]
struct Stepped(AtomicI64);

impl ailurus_store::Clock for Stepped {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn local_offset(&self) -> i16 {
        0
    }
}

fn home(clock: &Arc<Stepped>) -> (Home, Mailboxes) {
    let home = Home::with(Os::shared(), |environment| {
        environment.lock_dir = environment.home.join("locks");
        environment.clock = clock.clone();
        environment.mh_path = Some(environment.home.join("Mail"));
    });
    std::fs::create_dir(home.path("locks")).unwrap();
    std::fs::create_dir(home.path("Mail")).unwrap();
    let mailboxes = Mailboxes::new(home.environment.clone(), drivers(&home.environment, &home.disk));
    (home, mailboxes)
}

fn clock() -> Arc<Stepped> {
    Arc::new(Stepped(AtomicI64::new(NOW)))
}

/// Makes a mailbox of a format, and returns its name.
fn make(mailboxes: &Mailboxes, format: &str, name: &str) -> MailboxName {
    let (made, name) = match format {
        "mh" => (format!("#mh/{name}"), format!("#mh/{name}")),
        _ => (format!("#driver.{format}/{name}"), name.to_owned()),
    };
    mailboxes.create(&MailboxName::from(made.as_str())).unwrap();
    MailboxName::from(name.as_str())
}

fn add(mailboxes: &Mailboxes, name: &MailboxName, text: &str, system: SystemFlags) {
    let mut append = mailboxes.append(name).unwrap();
    let internal_date = InternalDate::from_timestamp(1_600_000_000, 0);
    let keywords = vec![Keyword::new(b"Work").unwrap()];
    let meta = AppendMeta {
        system,
        keywords,
        internal_date: Some(internal_date),
        size: text.len() as u64,
        from_line: None,
    };
    append.begin(meta).unwrap();
    append.write(text.as_bytes()).unwrap();
    append.end().unwrap();
    append.commit().unwrap();
}

fn texts(mailbox: &mut dyn Mailbox) -> Vec<(String, SystemFlags, i64)> {
    let messages = mailbox.snapshot().messages.clone();
    let text = |mailbox: &mut dyn Mailbox, uid: Uid| {
        String::from_utf8(read_all(mailbox, uid, ailurus_store::Extent::Whole, 1000).unwrap()).unwrap()
    };
    messages
        .iter()
        .map(|message| {
            let flags = message.flags().system;
            (text(mailbox, message.uid()), flags, message.internal_date().timestamp())
        })
        .collect()
}

fn scan(mailboxes: &Mailboxes, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for listed in mailboxes.listing(b"", b"*").unwrap() {
        let listed = listed.unwrap();
        let selectable = !listed.attributes.contains(ailurus_store::Attributes::NO_SELECT);
        let name = MailboxName::new(listed.name.as_slice());
        if selectable && mailboxes.holds(&name, text.as_bytes()).unwrap() {
            found.push(name.to_string());
        }
    }
    found.sort();
    found
}

#[test]
fn scan_finds_the_mailboxes_that_hold_a_text() {
    let (home, mailboxes) = home(&clock());
    let formats: Vec<_> = CREATABLE.into_iter().filter(|format| *format != "mh").collect();
    for format in &formats {
        let name = make(&mailboxes, format, format);
        let text = format!("Subject: a\r\n\r\nThe Panda lives in {format} land\r\n");
        add(&mailboxes, &name, &text, SystemFlags::NONE);
    }
    std::fs::write(home.path("note"), "no mail, but a PANDA").unwrap();
    std::fs::write(home.path("spool"), "From a@b Sat Feb  1 12:34:56 2025\nA: b\n\npanda\n").unwrap();
    let mut all: Vec<_> = formats.iter().map(|format| (*format).to_owned()).collect();
    all.extend(["INBOX", "note", "spool"].map(str::to_owned));
    all.sort();
    assert_eq!(scan(&mailboxes, "pAnDa"), all);
    assert_eq!(scan(&mailboxes, "in mix LAND"), ["mix"]);
    assert_eq!(scan(&mailboxes, "bear"), Vec::<String>::new());
    // Who looks for mail by the times of the spool still sees it.
    let times = |name: &str| {
        (home.path(name).metadata().unwrap().atime(), home.path(name).metadata().unwrap().mtime())
    };
    let before = times("spool");
    scan(&mailboxes, "panda");
    assert_eq!(times("spool"), before);
    // The reference does not search these.
    let mh = make(&mailboxes, "mh", "folder");
    let refused = mailboxes.holds(&mh, b"panda");
    assert!(
        matches!(&refused, Err(Error::Refused(why)) if why == "Scan not valid for mh mailboxes"),
        "{refused:?}"
    );
}

#[test]
fn mail_is_moved_from_one_mailbox_to_the_one_that_is_open() {
    for (from, to) in CREATABLE.into_iter().zip(CREATABLE.into_iter().cycle().skip(1)) {
        let clock = clock();
        let (home, mailboxes) = home(&clock);
        let (source, target) = (make(&mailboxes, from, "in"), make(&mailboxes, to, "out"));
        let message = |number: usize| format!("Subject: {number}\r\n\r\ntext of {number}\r\n");
        add(&mailboxes, &source, &message(1), SystemFlags::FLAGGED);
        add(&mailboxes, &source, &message(2), SystemFlags::DELETED);
        add(&mailboxes, &source, &message(3), SystemFlags::NONE);
        let name = MailboxName::from(format!("#move+{source}+{target}").as_str());
        let mut mailbox = mailboxes.select(&name, Access::ReadWrite).unwrap();
        let moved = texts(&mut *mailbox);
        let what = format!("{from} to {to}");
        assert_eq!(
            moved,
            [
                (message(1), SystemFlags::FLAGGED, 1_600_000_000),
                (message(3), SystemFlags::NONE, 1_600_000_000)
            ],
            "{what}"
        );
        // Not before a minute is over.
        add(&mailboxes, &source, &message(4), SystemFlags::SEEN);
        clock.0.fetch_add(59, Ordering::Relaxed);
        drop(mailbox.refresh().unwrap());
        assert_eq!(mailbox.snapshot().messages.len(), 2, "{what}");
        clock.0.fetch_add(1, Ordering::Relaxed);
        drop(mailbox.refresh().unwrap());
        assert_eq!(mailbox.snapshot().messages.len(), 3, "{what}");
        mailbox.close().unwrap();
        let left: Status = mailboxes.status(&source).unwrap();
        assert_eq!(left.messages, 1, "{what}: what was deleted is nobody's new mail");
        let warnings: Vec<_> = home
            .environment
            .notices
            .take()
            .into_iter()
            .filter(|notice| notice.level == Level::Warning)
            .collect();
        assert_eq!(warnings, [], "{what}");
    }
}

#[test]
fn a_move_that_fails_at_once_opens_nothing_and_later_is_only_told() {
    let clock = clock();
    let (home, mailboxes) = home(&clock);
    make(&mailboxes, "unix", "in");
    make(&mailboxes, "unix", "out");
    let select = |name: &str| mailboxes.select(&MailboxName::from(name), Access::ReadWrite);
    assert!(matches!(select("#move+none+out").map(drop), Err(Error::NotFound(_))));
    assert!(matches!(select("#move+in+none").map(drop), Err(Error::NotFound(_))));
    assert!(matches!(
        select("#move+out+out").map(drop),
        Err(Error::Refused(_) | Error::InUse { .. } | Error::ReadOnly { .. })
    ));
    let mut mailbox = select("#move+in+out").unwrap();
    std::fs::remove_file(home.path("in")).unwrap();
    clock.0.fetch_add(60, Ordering::Relaxed);
    drop(home.environment.notices.take());
    drop(mailbox.refresh().unwrap());
    let warned = home.environment.notices.take().into_iter().any(|notice| notice.level == Level::Warning);
    assert!(warned);
    // Who only reads moves nothing.
    make(&mailboxes, "unix", "in2");
    add(&mailboxes, &"in2".into(), "A: b\r\n\r\nc\r\n", SystemFlags::NONE);
    drop(mailbox);
    let read_only = mailboxes.select(&"#move+in2+out".into(), Access::ReadOnly).unwrap();
    assert!(read_only.snapshot().messages.is_empty());
    assert_eq!(mailboxes.status(&"in2".into()).unwrap().messages, 1);
}

#[test]
fn a_link_to_the_target_is_no_source() {
    let (home, mailboxes) = home(&clock());
    for format in CREATABLE {
        let target = make(&mailboxes, format, format);
        add(&mailboxes, &target, "Subject: a\r\n\r\n", SystemFlags::NONE);
        let directory = if format == "mh" { "Mail/" } else { "" };
        let link = home.path(&format!("{directory}{format}-link"));
        std::os::unix::fs::symlink(home.path(&format!("{directory}{format}")), link).unwrap();
        let name = format!("#move+{target}-link+{target}");
        let refused = mailboxes.select(&name.as_str().into(), Access::ReadWrite).err();
        // The session that has a traditional mailbox keeps out the one that would read it.
        let is_refused = matches!(refused, Some(Error::Refused(_) | Error::InUse { .. }));
        assert!(is_refused, "{format}: {refused:?}");
        assert_eq!(mailboxes.status(&target).unwrap().messages, 1, "{format}");
    }
}
