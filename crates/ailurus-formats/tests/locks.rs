//! Locks as the formats take them: their order, and where they cannot be had.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::{Mbx, Unix};
use ailurus_store::{Access, Driver, Environment, Error, Extent, Manner};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_types::{FlagOp, SystemFlags, UidSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::Arc;
use support::*;

const USER: u32 = 1001;

/// A spool directory in which the user may not write, with a spool file of three messages; its user's home; locks.
fn read_only_spool() -> Option<Home> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    for (name, owner, mode) in
        [("", 0, 0o755), ("home", USER, 0o700), ("mail", 0, 0o755), ("locks", 0, 0o1777)]
    {
        let path = directory.path().join(name);
        std::fs::create_dir(&path).ok();
        chown(&path, Some(owner), Some(owner)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let home = at(directory, Os::shared());
    let driver = Unix::new(home.environment.as_ref().clone(), home.disk.clone());
    std::fs::write(&home.environment.spool, "").unwrap();
    for n in 0..3 {
        let text = format!("Subject: {n}\r\n\r\n{}", "text\r\n".repeat(500 * (n + 1)));
        append_plain(&driver, &home.at_name("INBOX"), text.as_bytes()).unwrap();
    }
    chown(&home.environment.spool, Some(USER), Some(USER)).unwrap();
    drop(home.environment.notices.take());
    Some(home)
}

fn at(directory: tempfile::TempDir, disk: Arc<dyn Disk>) -> Home {
    let path = directory.path().to_path_buf();
    Home::at(directory, disk, |environment: &mut Environment| {
        environment.home = path.join("home");
        environment.mailbox_dir = path.join("home");
        environment.spool = path.join("mail/alice");
        environment.lock_dir = path.join("locks");
        (environment.dot_lock_timeout, environment.kiss_tries) = (0, 1);
    })
}

#[test]
fn a_spool_directory_that_may_not_be_written_costs_the_dot_lock_alone() {
    let Some(home) = read_only_spool() else { return };
    let inbox = home.at_name("INBOX");
    as_user(USER, USER, || {
        let driver = Unix::new(home.environment.as_ref().clone(), home.disk.clone());
        let mut mailbox = open(&driver, &inbox).unwrap();
        assert!(mailbox.snapshot().writable);
        drop(
            store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &["Work"])).unwrap(),
        );
        drop(expunge(&mut *mailbox, &uids(&[1])).unwrap());
        mailbox.close().unwrap();
        append_plain(&driver, &inbox, b"Subject: new\r\n\r\n").unwrap();
        let mailbox = open(&driver, &inbox).unwrap();
        assert_eq!(uids_of(&*mailbox), [2, 3, 4]);
    });
    let told = home.notices();
    let directory = home.path("mail").display().to_string();
    let warning = format!("Mailbox vulnerable - directory {directory} must have 1777 protection");
    assert!(told.contains(&warning), "{told:?}");
    for (directory, left) in [("mail", 1), ("home", 0), ("locks", 0)] {
        assert_eq!(std::fs::read_dir(home.path(directory)).unwrap().count(), left, "{directory}");
    }
    assert_eq!(home.environment.spool.metadata().unwrap().uid(), USER);
}

/// The journal is in the home then.
#[test]
fn a_rewrite_that_dies_there_is_finished() {
    for n in 0.. {
        let Some(home) = read_only_spool() else { return };
        let inbox = home.at_name("INBOX");
        let disk = Arc::new(FaultyDisk::new(home.directory.path(), Fault::KillBefore(n)));
        let dying = at(home.directory, disk.clone());
        let done = as_user(USER, USER, || {
            let driver = Unix::new(dying.environment.as_ref().clone(), dying.disk.clone());
            let mut mailbox = driver.open(&inbox, Access::ReadWrite, Manner::Session)?;
            expunge(&mut *mailbox, &uids(&[1])).map(drop)
        });
        let home = at(dying.directory, Os::shared());
        as_user(USER, USER, || {
            let driver = Unix::new(home.environment.as_ref().clone(), home.disk.clone());
            let mut mailbox = open(&driver, &inbox).unwrap();
            let found = uids_of(&*mailbox);
            assert!(found == [2, 3] || (found == [1, 2, 3] && done.is_err()), "{n}: {found:?}");
            for number in found {
                let text = read_all(&mut *mailbox, uid(number), Extent::Text, 1000).unwrap();
                assert_eq!(text.len(), 6 * 500 * number as usize, "{n}");
            }
        });
        if !disk.was_killed() {
            done.unwrap();
            return;
        }
    }
}

/// A disk that notes in which order lock files and mailboxes are changed.
fn names_in_order(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.made().into_iter();
    names.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_session_lock_comes_before_the_dot_lock() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("locks")).unwrap();
    let disk = Arc::new(FaultyDisk::new(directory.path(), Fault::None));
    let locks = directory.path().join("locks");
    let home = Home::at(directory, disk.clone(), |environment| environment.lock_dir = locks);
    let at = home.at_name("box");
    let unix = Unix::new(home.environment.as_ref().clone(), home.disk.clone());
    let steps: [&dyn Fn(); 4] = [
        &|| drop(append_plain(&unix, &at, b"Subject: x\r\n\r\n").unwrap()),
        &|| open(&unix, &at).unwrap().close().unwrap(),
        &|| unix.rename(&at, &home.at_name("new")).unwrap(),
        &|| unix.delete(&home.at_name("new")).unwrap(),
    ];
    unix.create(&at).unwrap();
    for step in steps {
        let before = names_in_order(&disk).len();
        step();
        let made = &names_in_order(&disk)[before..];
        let session = made.iter().position(|name| name.starts_with('.') && !name.contains("ailurus"));
        let dot = made.iter().position(|name| name.contains(".lock"));
        assert!(session.unwrap() < dot.unwrap(), "{made:?}");
    }
}

#[test]
fn links_on_the_lock_name_keep_mbx_out_and_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let locks = directory.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    let home = Home::at(directory, Os::shared(), |environment| environment.lock_dir = locks.clone());
    let driver = Mbx::new(home.environment.clone(), home.disk.clone());
    let at = home.at_name("box");
    driver.create(&at).unwrap();
    append_plain(&driver, &at, b"Subject: x\r\n\r\n").unwrap();
    let found = home.path("box").metadata().unwrap();
    let name = locks.join(format!(".{:x}.{:x}", found.dev(), found.ino()));
    home.put("victim", b"precious");
    let before = home.path("victim").metadata().unwrap().permissions().mode();
    for link in [
        &(|| std::os::unix::fs::symlink(home.path("victim"), &name)) as &dyn Fn() -> std::io::Result<()>,
        &|| std::fs::hard_link(home.path("victim"), &name),
    ] {
        link().unwrap();
        assert!(matches!(open(&driver, &at).err(), Some(Error::Io { op: "lock", .. })));
        assert!(append_plain(&driver, &at, b"Subject: y\r\n\r\n").is_err());
        assert!(driver.delete(&at).is_err());
        assert_eq!(home.get("victim"), b"precious");
        assert_eq!(home.path("victim").metadata().unwrap().permissions().mode(), before);
        assert!(home.notices().iter().any(|text| text.contains("link")));
        std::fs::remove_file(&name).unwrap();
    }
    assert_eq!(open(&driver, &at).unwrap().snapshot().messages.len(), 1);
}
