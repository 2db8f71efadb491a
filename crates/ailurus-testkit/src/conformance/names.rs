//! CREATE, DELETE, RENAME; what is probed; names of all kinds.

use super::Format;
use super::home::{Home, Message, change, expunge, give, read, set, show, store, text, told, uids};
use ailurus_store::{Access, Claim, Error, Extent, Location, Manner, Rejection, Result};
use ailurus_types::{FlagOp, MailboxName, SystemFlags, Uid};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

pub(super) fn a_new_mailbox_is_empty(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable {
        return;
    }
    home.create();
    let claim = home.driver().probe(&home.at_box()).unwrap();
    // Some formats have nothing in a file that holds no message.
    assert!(matches!(claim, Claim::Valid | Claim::Empty), "{claim:?}");
    let status = home.driver().status(&home.at_box()).unwrap();
    assert_eq!((status.messages, status.recent, status.unseen), (0, 0, 0));
    assert_eq!(status.uid_next, Some(Uid::MIN));
    let mailbox = home.open();
    let snapshot = mailbox.snapshot();
    assert_eq!(mailbox.driver(), format.name);
    assert!(snapshot.messages.is_empty() && snapshot.keywords.is_empty() && snapshot.writable);
    assert_eq!(snapshot.uid_next, Some(Uid::MIN));
    assert_eq!(snapshot.sticky_uids, home.abilities().sticky_uids);
    assert_eq!(snapshot.permanent.new_keywords, home.abilities().keywords > 0);
    if snapshot.sticky_uids {
        assert_eq!(snapshot.uid_validity, status.uid_validity);
    }
    mailbox.close().unwrap();
    assert_eq!(home.notices(), Vec::<String>::new());
    if home.format.prefix.is_empty() && home.has_names() {
        // Asked for by its format, whatever new mailboxes are otherwise.
        home.mailboxes.create(&format!("#driver.{}/asked", format.name).as_str().into()).unwrap();
        home.open_at(&home.at_name("asked"), Access::ReadWrite).unwrap().close().unwrap();
    }
}

pub(super) fn what_is_there_is_not_made_again(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable || !home.has_names() {
        return;
    }
    home.fill(2);
    let files = home.files();
    assert!(matches!(home.driver().create(&home.at_box()), Err(Error::AlreadyExists(_))));
    assert!(matches!(home.mailboxes.create(&home.name("box")), Err(Error::AlreadyExists(_))));
    assert!(home.files() == files);
    assert_eq!(home.show().len(), 2);
}

pub(super) fn what_is_missing_is_not_found(format: &'static Format) {
    let home = Home::new(format);
    if !home.has_names() {
        return;
    }
    let files = home.files();
    let (driver, missing, new) = (home.driver(), home.at_name("missing"), home.at_name("new"));
    let claim = driver.probe(&missing).unwrap();
    assert!(matches!(claim, Claim::No(Rejection::Missing)), "{claim:?}");
    for access in [Access::ReadOnly, Access::ReadWrite] {
        for manner in [Manner::Session, Manner::Silent] {
            assert!(matches!(driver.open(&missing, access, manner).err(), Some(Error::NotFound(_))));
        }
    }
    assert!(matches!(driver.status(&missing), Err(Error::NotFound(_))));
    assert!(matches!(driver.delete(&missing), Err(Error::NotFound(_))));
    assert!(matches!(driver.rename(&missing, &new), Err(Error::NotFound(_))));
    assert!(matches!(home.append_at(&missing, &[Message::number(1)]), Err(Error::NotFound(_))));
    let (missing, new) = (home.name("missing"), home.name("new"));
    assert!(matches!(home.mailboxes.delete(&missing), Err(Error::NotFound(_))));
    assert!(matches!(home.mailboxes.rename(&missing, &new), Err(Error::NotFound(_))));
    assert!(home.files() == files);
}

pub(super) fn parents_are_made(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable || !home.has_names() {
        return;
    }
    let (deep, moved) = (home.name("a/b/deep"), home.name("c/d/moved"));
    home.mailboxes.create(&deep).unwrap();
    home.append_at(&home.at_name("a/b/deep"), &[Message::number(1)]).unwrap();
    home.mailboxes.rename(&deep, &moved).unwrap();
    assert_eq!(home.mailboxes.status(&moved).unwrap().messages, 1);
    assert!(matches!(home.mailboxes.status(&deep), Err(Error::NotFound(_))));
    home.mailboxes.delete(&moved).unwrap();
    assert!(matches!(home.mailboxes.status(&moved), Err(Error::NotFound(_))));
    // The names above are still there, and can be deleted one by one.
    for name in ["a/b", "a", "c/d", "c"] {
        home.mailboxes.delete(&home.name(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

pub(super) fn a_mailbox_holds_others_where_it_can(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable || !home.has_names() {
        return;
    }
    home.fill(1);
    let (outer, inner) = (home.name("box"), home.name("box/inner"));
    if !home.abilities().inferiors {
        let files = home.files();
        assert!(home.mailboxes.create(&inner).is_err());
        assert!(home.files() == files);
        return;
    }
    home.mailboxes.create(&inner).unwrap();
    home.append_at(&home.at_name("box/inner"), &[Message::number(2), Message::number(3)]).unwrap();
    assert_eq!(home.mailboxes.status(&outer).unwrap().messages, 1);
    assert_eq!(home.mailboxes.status(&inner).unwrap().messages, 2);
    // The name goes on as that of a directory.
    home.mailboxes.delete(&outer).unwrap();
    if !home.abilities().any_directory {
        assert!(home.mailboxes.status(&outer).is_err());
        home.mailboxes.create(&outer).unwrap();
    }
    assert_eq!(home.mailboxes.status(&inner).unwrap().messages, 2);
    assert_eq!(home.mailboxes.status(&outer).unwrap().messages, 0);
    let (moved, inner) = (home.name("moved"), home.name("moved/inner"));
    home.mailboxes.rename(&outer, &moved).unwrap();
    assert_eq!(home.mailboxes.status(&inner).unwrap().messages, 2);
}

pub(super) fn files_of_a_mailbox_are_no_names(format: &'static Format) {
    let home = Home::new(format);
    let abilities = home.abilities();
    if !abilities.creatable || !home.has_names() || !abilities.inferiors {
        return;
    }
    home.fill(2);
    let files = home.files();
    let mut directories = files.iter().filter_map(|(path, _)| path.parent());
    let directory = directories.find(|path| path.ends_with("box")).unwrap().to_path_buf();
    let entries: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!entries.is_empty());
    let shown = home.show();
    let files = home.files();
    let inside = |entry: &str| MailboxName::from(format!("{}/{entry}", directory.display()).as_str());
    for entry in &entries {
        let name = inside(entry.to_str().unwrap());
        assert!(home.mailboxes.delete(&name).is_err(), "{name}");
        assert!(home.mailboxes.rename(&name, &home.name("away")).is_err(), "{name}");
        assert!(home.mailboxes.create(&name).is_err(), "{name}");
    }
    // What is not there yet would be one of its messages, or its data.
    for entry in ["2024", ".mix01234567", "2024/12"] {
        let hidden = |driver: &dyn ailurus_store::Driver| {
            driver.hides(&directory, std::ffi::OsStr::new(entry.split('/').next().unwrap()))
        };
        if hidden(home.driver()) {
            let plain = MailboxName::from(format!("#driver.unix/{}", inside(entry)).as_str());
            assert!(matches!(home.mailboxes.create(&plain), Err(Error::InvalidName { .. })), "{plain}");
            let box_of = MailboxName::from(format!("#driver.{}/{}", format.name, inside(entry)).as_str());
            assert!(entry.contains('/') || home.mailboxes.create(&box_of).is_err(), "{box_of}");
        }
    }
    assert!(home.files() == files);
    assert!(home.show() == shown);
}

pub(super) fn a_name_that_is_used_again_has_another_validity(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable || !home.has_names() {
        return;
    }
    let name = home.name("box");
    let mut seen = Vec::new();
    // All within one second.
    for number in 1..=4 {
        home.mailboxes.create(&name).unwrap();
        home.append(&Message::number(number)).unwrap();
        seen.push(home.mailboxes.status(&name).unwrap().uid_validity);
        if number % 2 == 0 {
            home.mailboxes.delete(&name).unwrap();
        } else {
            home.mailboxes.rename(&name, &home.name(&format!("old{number}"))).unwrap();
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
}

pub(super) fn a_rename_keeps_all_but_the_name(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only || !home.has_names() {
        return;
    }
    home.fill(3);
    let mut mailbox = home.open();
    let permanent = mailbox.snapshot().permanent.system;
    let flagged = change(FlagOp::Add, SystemFlags::FLAGGED | SystemFlags::SEEN, &[]);
    drop(store(&mut *mailbox, &set(&[2]), &flagged).unwrap());
    mailbox.close().unwrap();
    let mailbox = home.open();
    let (validity, next) = (mailbox.snapshot().uid_validity, mailbox.snapshot().uid_next);
    mailbox.close().unwrap();
    let before = home.show();
    assert!(permanent.is_empty() || !before[1].system.is_empty());

    home.mailboxes.create(&home.name("taken")).unwrap();
    home.append_at(&home.at_name("taken"), &[Message::number(9)]).unwrap();
    let taken = home.mailboxes.rename(&home.name("box"), &home.name("taken"));
    assert!(matches!(taken, Err(Error::AlreadyExists(_))));
    let taken = home.driver().rename(&home.at_name("box"), &home.at_name("taken"));
    assert!(matches!(taken, Err(Error::AlreadyExists(_))), "the name may be taken since the store looked");
    assert_eq!(home.mailboxes.status(&home.name("taken")).unwrap().messages, 1);
    assert_eq!(home.show(), before);

    home.pass(10);
    home.mailboxes.rename(&home.name("box"), &home.name("new")).unwrap();
    assert!(matches!(home.mailboxes.status(&home.name("box")), Err(Error::NotFound(_))));
    let mut mailbox = home.open_at(&home.at_name("new"), Access::ReadWrite).unwrap();
    assert_eq!(show(&mut *mailbox), before);
    if home.abilities().sticky_uids {
        assert_eq!((mailbox.snapshot().uid_validity, mailbox.snapshot().uid_next), (validity, next));
    }
}

pub(super) fn a_mailbox_in_use_is_neither_deleted_nor_renamed(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only || !home.has_names() {
        return;
    }
    home.fill(2);
    let mut mailbox = home.open();
    if home.abilities().unguarded {
        home.driver().delete(&home.at_box()).unwrap();
        // Whatever comes of the session, it shows nothing that was never there.
        for (number, uid) in [(1, 1), (2, 2)] {
            let uid = Uid::new(uid).unwrap();
            if let Ok(found) = read(&mut *mailbox, uid, Extent::Whole, 1000) {
                assert_eq!(found, text(number));
            }
        }
        return;
    }
    assert!(matches!(home.driver().delete(&home.at_box()), Err(Error::InUse { .. })));
    let renamed = home.driver().rename(&home.at_box(), &home.at_name("new"));
    assert!(matches!(renamed, Err(Error::InUse { .. })));
    assert_eq!(show(&mut *mailbox).len(), 2);
    mailbox.close().unwrap();
    home.driver().rename(&home.at_box(), &home.at_name("new")).unwrap();
    home.driver().delete(&home.at_name("new")).unwrap();
}

pub(super) fn a_probe_changes_no_times(format: &'static Format) {
    let home = Home::filled(format, 2);
    drop(home.show());
    let mut files: Vec<_> = home.files().into_iter().map(|(path, _)| path).collect();
    if home.abilities().read_only {
        // What else there is tells nobody of new mail.
        let mailbox = home.open();
        files.retain(|path| path.starts_with(mailbox.path()));
    }
    let times = || files.iter().map(|path| times_of(path)).collect::<Vec<_>>();
    // New mail, and none.
    for (accessed, modified) in [(1000, 2000), (2000, 1000)] {
        for path in &files {
            let moment = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
            let set = std::fs::FileTimes::new().set_accessed(moment(accessed)).set_modified(moment(modified));
            File::options().write(true).open(path).unwrap().set_times(set).unwrap();
        }
        let before = times();
        assert_eq!(home.driver().probe(&home.at_box()).unwrap(), Claim::Valid);
        assert_eq!(times(), before, "{files:?}");
    }
}

fn times_of(path: &Path) -> (i64, i64) {
    let found = path.metadata().unwrap();
    (found.atime(), found.mtime())
}

pub(super) fn an_empty_file_takes_its_first_mail(format: &'static Format) {
    let home = Home::new(format);
    let Some(path) = file_of(&home) else { return };
    std::fs::write(&path, b"").unwrap();
    assert_eq!(home.driver().probe(&home.at_box()).unwrap(), Claim::Empty);
    let name = home.at_box().name;
    let mut waiting = home.mailboxes.select(&name, Access::ReadWrite).unwrap();
    assert!(waiting.snapshot().messages.is_empty());
    // Nothing comes of an append that is not committed.
    drop(home.mailboxes.append(&name).unwrap());
    assert_eq!(path.metadata().unwrap().len(), 0);
    let mut append = home.mailboxes.append(&name).unwrap();
    give(&mut *append, &Message::number(1)).unwrap();
    append.commit().unwrap();
    assert_eq!(home.driver().probe(&home.at_box()).unwrap(), Claim::Valid);
    assert!(waiting.refresh().unwrap().arrived);
    assert_eq!(waiting.driver(), format.name);
    assert_eq!(show(&mut *waiting)[0].text, text(1));
}

/// Returns the file of the mailbox, if it would be one file, without making it.
fn file_of(home: &Home) -> Option<PathBuf> {
    let path = home.at_box().path()?.to_path_buf();
    home.create();
    let is_file = path.is_file();
    home.driver().delete(&home.at_box()).unwrap();
    is_file.then_some(path)
}

pub(super) fn a_missing_inbox_is_made_by_its_first_mail(format: &'static Format) {
    let home = Home::new(format);
    let inbox = home.mailboxes.resolve(&MailboxName::inbox()).unwrap();
    if home.abilities().read_only || home.driver().probe(&inbox).unwrap() != Claim::Empty {
        return;
    }
    let (validity, uid) = told(home.append_at(&inbox, &[Message::number(1)]).unwrap());
    assert_eq!(home.driver().probe(&inbox).unwrap(), Claim::Valid);
    let mut mailbox = home.open_at(&inbox, Access::ReadWrite).unwrap();
    assert_eq!(uids(&*mailbox), [uid.get()]);
    assert_eq!(mailbox.snapshot().uid_validity, validity);
    assert_eq!(show(&mut *mailbox)[0].text, text(1));
}

pub(super) fn odd_names_work_or_are_refused(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable || !home.has_names() {
        return;
    }
    let eight_bit = [home.name("").as_bytes(), b"caf\xe9"].concat();
    let made = home.mailboxes.create(&MailboxName::new(eight_bit));
    assert!(matches!(made, Err(Error::InvalidName { .. })));
    assert_eq!(home.mailboxes.status(&home.name("caf")).err().map(|_| ()), Some(()));
    // A name that others made is used as it is.
    let names = ["caf\u{e9}", "with space", "&Jjo-", "-", ".dot", "a*b%c", "\u{1}"].map(str::to_owned);
    for name in names
        .into_iter()
        .chain([250, 251, 255].map(|length| "n".repeat(length - home.name("").as_bytes().len())))
    {
        work_with(&home, &name);
    }
    let long = home.name(&"n".repeat(256));
    assert!(home.mailboxes.create(&long).is_err());
    assert!(home.mailboxes.status(&long).is_err());

    home.mailboxes.create(&home.name("dir/")).unwrap();
    assert!(matches!(home.mailboxes.create(&home.name("dir/")), Err(Error::AlreadyExists(_))));
    if home.abilities().any_directory {
        return;
    }
    // A directory was made; it is no mailbox.
    assert!(home.open_at(&home.at_name("dir"), Access::ReadWrite).is_err());
    assert!(home.append_at(&home.at_name("dir"), &[Message::number(1)]).is_err());
    home.mailboxes.create(&home.name("dir/box")).unwrap();
    assert!(home.mailboxes.delete(&home.name("dir")).is_err());
    home.mailboxes.delete(&home.name("dir/box")).unwrap();
    home.mailboxes.delete(&home.name("dir")).unwrap();
}

/// Does all that is done to a mailbox to one of this name, unless it cannot be made.
#[track_caller]
fn work_with(home: &Home, name: &str) {
    let (at, files) = (home.at_name(name), home.files());
    if let Err(error) = home.driver().create(&at) {
        assert!(name.len() > 200, "{name:?} is not made: {error}");
        assert!(home.files() == files, "something is left of {name:?}");
        return;
    }
    let left = use_up(home, &at).unwrap_or_else(|error| panic!("{name:?}: {error}"));
    assert_eq!(left, [text(2)], "{name:?}");
    assert!(home.files() == files, "something is left of {name:?}");
}

/// Returns the texts that are in the mailbox before it is deleted.
fn use_up(home: &Home, at: &Location) -> Result<Vec<Vec<u8>>> {
    home.append_at(at, &[Message::number(1), Message::number(2)])?;
    let mut mailbox = home.open_at(at, Access::ReadWrite)?;
    drop(store(&mut *mailbox, &set(&[1]), &change(FlagOp::Add, SystemFlags::FLAGGED, &["Kept"]))?);
    drop(expunge(&mut *mailbox, &set(&[1]))?);
    mailbox.close()?;
    let other = home.at_name("other");
    home.driver().rename(at, &other)?;
    home.driver().rename(&other, at)?;
    let mut mailbox = home.open_at(at, Access::ReadOnly)?;
    let texts = show(&mut *mailbox).into_iter().map(|shown| shown.text).collect();
    mailbox.close()?;
    home.driver().delete(at)?;
    Ok(texts)
}
