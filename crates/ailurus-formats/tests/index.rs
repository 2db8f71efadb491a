//! Whatever becomes of an index, and whoever changes a mailbox, we see what is in the file; with a good one we do not read
//! it all.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/scene.rs"]
mod scene;
mod support;

use ailurus_formats::Mx;
use ailurus_formats::disk::{Disk, Os};
use ailurus_formats::lock::{Mode, Wait, lock_file};
use ailurus_store::{Access, Driver, Environment, Mailbox, Manner, Notices, Status, SystemClock};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_testkit::random::Random;
use ailurus_types::{FlagOp, SystemFlags, Uid, UidSet};
use scene::{
    FOREIGN, FOREIGN_LINES, FOREIGN_MBX, Kind, Scene, deliver, delivery, driver, overwrite, quiet,
    read_so_far, seen, set_modified, sidecar,
};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use support::paths::{append, at};
use support::{change, expunge, mailutil_in, store};

#[test]
fn a_mailbox_with_an_index_is_not_read_again() {
    let _starts = nothing_starts();
    for kind in Kind::ALL {
        let scene = Scene::with_mailbox(kind, 300);
        scene.assert_warm("box", true, "after a session");
        let found = scene.index_of("box").metadata().unwrap();
        assert_eq!((found.mode() & 0o777, found.len()), (0o600, 4096 + 300 * 64));
        assert_eq!(scene.cache().metadata().unwrap().mode() & 0o777, 0o700);
        scene.check("box", "warm");

        scene.session("box", |mailbox| {
            let flags = change(FlagOp::Add, SystemFlags::ANSWERED, &["Work"]);
            drop(
                store(
                    mailbox,
                    &[(2, 4)].into_iter().flat_map(|(a, b)| a..=b).filter_map(Uid::new).collect(),
                    &flags,
                )
                .unwrap(),
            );
        });
        scene.assert_warm("box", true, "after a checkpoint");
        scene.check("box", "after a checkpoint");

        scene.session("box", |mailbox| {
            drop(expunge(mailbox, &[3, 50].into_iter().filter_map(Uid::new).collect()).unwrap())
        });
        scene.assert_warm("box", true, "after an expunge");
        scene.check("box", "after an expunge");

        for number in 0..3 {
            let text = format!("Subject: n{number}\r\n\r\ntext\r\n");
            append(&*scene.driver(), &scene.path("box"), text.as_bytes(), SystemFlags::SEEN, &["Work"])
                .unwrap();
            scene.assert_warm("box", true, "after an append");
        }
        scene.check("box", "after appends");
        scene.settle("box");
        scene.assert_warm("box", true, "after a session that was told");
        scene.check("box", "after a session that was told");

        let before = read_so_far();
        scene.driver().status(&at(&scene.path("box"))).unwrap();
        assert!(read_so_far() - before < 6000);
        let before = read_so_far();
        append(&*scene.driver(), &scene.path("box"), b"Subject: x\r\n\r\nx\r\n", SystemFlags::NONE, &[])
            .unwrap();
        let read = read_so_far() - before;
        assert!(read < 10_000, "{read}");
    }
}

#[test]
fn status_and_an_append_make_an_index_too() {
    let scene = Scene::new(Kind::Unix);
    scene.fill("box", 200);
    let mut plain = scene.env.clone();
    plain.cache_dir = None;
    let mailbox = driver(&plain, &Os::shared(), Kind::Unix).open(
        &at(&scene.path("box")),
        Access::ReadWrite,
        Manner::Silent,
    );
    mailbox.unwrap().close().unwrap();
    quiet();
    scene.driver().status(&at(&scene.path("box"))).unwrap();
    scene.assert_warm("box", true, "after STATUS");
    fs::remove_file(scene.index_of("box")).unwrap();
    append(&*scene.driver(), &scene.path("box"), b"Subject: x\r\n\r\nx\r\n", SystemFlags::NONE, &[]).unwrap();
    scene.assert_warm("box", true, "after an append");
    scene.check("box", "after an append");
}

#[test]
fn an_append_behind_what_lacks_its_end_is_seen_as_it_is() {
    for kind in [Kind::Unix, Kind::Mmdf] {
        for lacking in 0..14 {
            let scene = Scene::with_mailbox(kind, 60);
            let path = scene.path("box");
            let length = path.metadata().unwrap().len();
            File::options().write(true).open(&path).unwrap().set_len(length - lacking).unwrap();
            quiet();
            scene.driver().status(&at(&path)).unwrap();
            let what = format!("{kind:?} without {lacking}");
            scene.assert_warm("box", true, &what);
            append(&*scene.driver(), &path, b"Subject: x\r\n\r\nx\r\n", SystemFlags::NONE, &[]).unwrap();
            scene.check("box", &what);
            scene.check("box", &what);
            scene.settle("box");
            scene.check("box", &what);
        }
    }
}

#[test]
fn small_mailboxes_and_those_with_something_to_tell_get_none() {
    let mut scene = Scene::with_mailbox(Kind::Unix, 20);
    scene.env.index_from = 1024 * 1024;
    fs::remove_file(scene.index_of("box")).unwrap();
    scene.settle("box");
    assert!(!scene.index_of("box").exists());

    scene.env.index_from = 0;
    overwrite(&scene.path("box"), 0, b"Status: RO\nX-Status: F", b"Status: RO\n bogus line");
    quiet();
    scene.env.notices = Notices::default();
    let tells = || {
        drop(scene.driver().open(&at(&scene.path("box")), Access::ReadOnly, Manner::Session).unwrap());
        let told = scene.env.notices.take();
        assert!(told.iter().any(|notice| notice.text.contains("bogus continuation")), "{told:?}");
    };
    tells();
    quiet();
    tells();
}

#[test]
fn a_damaged_index_only_costs_time() {
    let _starts = nothing_starts();
    for kind in Kind::ALL {
        let scene = Scene::with_mailbox(kind, 40);
        let path = scene.index_of("box");
        let good = fs::read(&path).unwrap();
        let put = |octets: &[u8]| {
            // A file that is not ours to write stays what it is.
            fs::write(&path, octets).unwrap();
        };
        put(&good);
        scene.assert_warm("box", true, "put back");
        for length in
            (0..good.len()).filter(|length| length % 97 == 0 || *length < 10 || *length + 3 > good.len())
        {
            put(&good[..length]);
            scene.check("box", &format!("cut to {length}"));
        }
        // All of the head, and of the records' padding too, counts.
        let mut random = Random::new(7);
        for _ in 0..160 {
            let at = if random.one_in(2) { random.below(400) } else { random.below(good.len()) };
            let mut bad = good.clone();
            bad[at] ^= 1 << random.below(8);
            put(&bad);
            scene.assert_warm("box", false, &format!("flipped at {at}"));
            put(&bad);
            scene.check("box", &format!("flipped at {at}"));
        }
        put(&good);
        fs::remove_file(&path).unwrap();
        scene.check("box", "deleted");
        scene.assert_warm("box", true, "made again");
    }
}

#[test]
fn a_foreign_index_is_not_believed() {
    let scene = Scene::with_mailbox(Kind::Unix, 40);
    scene.fill("other", 41);
    scene.settle("other");
    let (one, other) = (fs::read(scene.index_of("box")).unwrap(), fs::read(scene.index_of("other")).unwrap());
    fs::write(scene.index_of("box"), &other).unwrap();
    fs::write(scene.index_of("other"), &one).unwrap();
    scene.check("box", "that of another mailbox");
    scene.check("other", "that of another mailbox");

    // The same file, read as another format's: a MARK before each message is text in unix format.
    let mut both = Scene::with_mailbox(Kind::Mmdf, 40);
    let index = fs::read(both.index_of("box")).unwrap();
    assert!(index.windows(4).any(|window| window == b"mmdf"));
    both.kind = Kind::Unix;
    assert!(both.driver().open(&at(&both.path("box")), Access::ReadOnly, Manner::Silent).is_err());

    // A zone that the dates do not name is ours.
    let mut abroad = Scene::with_mailbox(Kind::Unix, 40);
    abroad.env.clock = Arc::new(SystemClock { local_offset: 120 });
    abroad.check("box", "in another zone");
    assert!(
        seen(&*abroad.driver(), &abroad.path("box")).messages[0]
            .internal_date()
            .to_string()
            .ends_with("+0200")
    );
}

#[test]
fn an_index_of_an_older_state_is_not_believed() {
    let scene = Scene::with_mailbox(Kind::Unix, 40);
    let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &[]);
    let mut states = Vec::new();
    for number in 1..6 {
        states.push(fs::read(scene.index_of("box")).unwrap());
        scene.session("box", |mailbox| {
            drop(store(mailbox, &UidSet::from_iter(Uid::new(number * 3)), &flags).unwrap());
        });
        if number == 4 {
            append(&*scene.driver(), &scene.path("box"), b"Subject: x\r\n\r\nx\r\n", SystemFlags::SEEN, &[])
                .unwrap();
        }
        for state in &states {
            fs::write(scene.index_of("box"), state).unwrap();
            scene.check("box", "an older state");
            fs::write(scene.index_of("box"), state).unwrap();
            assert!(scene.octets_read("box") > 20_000);
        }
    }
}

/// For the time in which a program is started it has whatever we lock as well: then nobody is alone.
static STARTS: RwLock<()> = RwLock::new(());

fn nothing_starts() -> RwLockReadGuard<'static, ()> {
    STARTS.read().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn what_others_do_is_seen() {
    for kind in [Kind::Unix, Kind::Mmdf] {
        for (what, act) in FOREIGN {
            let scene = Scene::with_mailbox(kind, 60);
            scene.assert_warm("box", true, what);
            act(&scene, &scene.path("box"));
            scene.check("box", what);
            scene.check("box", what);
            scene.settle("box");
            scene.check("box", what);
            scene.assert_warm("box", true, what);
        }
    }
}

#[test]
fn what_others_do_during_a_session_is_seen_by_the_next() {
    for (what, act) in FOREIGN.iter().filter(|(what, _)| {
        !what.contains("cut") && !what.contains("put back, with") && !what.contains("replaced")
    }) {
        let scene = Scene::with_mailbox(Kind::Unix, 60);
        let path = scene.path("box");
        let mut mailbox = scene.driver().open(&at(&path), Access::ReadWrite, Manner::Session).unwrap();
        act(&scene, &path);
        drop(mailbox.refresh());
        let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &[]);
        drop(store(mailbox.as_mut(), &UidSet::from_iter(Uid::new(1)), &flags));
        drop(mailbox.close());
        scene.check("box", what);
    }
}

#[test]
fn what_others_do_to_a_mailbox_with_lines_is_seen() {
    let _starts = nothing_starts();
    for kind in Kind::WITH_LINES {
        let own = if kind == Kind::Mbx { FOREIGN_MBX } else { &[] };
        for (what, act) in FOREIGN_LINES.iter().chain(own) {
            let (scene, what) = (Scene::with_mailbox(kind, 60), &format!("{kind:?}: {what}"));
            scene.assert_warm("box", true, what);
            act(&scene, &scene.path("box"));
            scene.check("box", what);
            scene.check("box", what);
            scene.settle("box");
            scene.check("box", what);
            scene.assert_warm("box", true, what);
        }
    }
}

#[test]
fn what_others_do_during_a_session_of_a_mailbox_with_lines_is_seen_by_the_next() {
    let _starts = nothing_starts();
    for kind in Kind::WITH_LINES {
        for (what, act) in
            FOREIGN_LINES.iter().filter(|(what, _)| what.contains("in place") || what.contains("delivery"))
        {
            let scene = Scene::with_mailbox(kind, 60);
            let path = scene.path("box");
            let mut mailbox = scene.driver().open(&at(&path), Access::ReadWrite, Manner::Session).unwrap();
            // The reference writes flags of mtx and tenex without a lock; that it has a session open is seen.
            let other = kind.has_sidecar().then(|| File::open(&path).unwrap());
            other.iter().for_each(|other| assert!(lock_file(other, Mode::Shared, Wait::No).unwrap()));
            if other.is_none() {
                act(&scene, &path);
            }
            let mut edit = mailbox.edit().unwrap();
            let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"]);
            edit.store(&UidSet::from_iter(Uid::new(1)), &flags).unwrap();
            if other.is_some() {
                act(&scene, &path);
            }
            drop(edit.commit());
            drop(mailbox.close());
            scene.check("box", &format!("{kind:?}: {what}"));
        }
    }
}

type OnSidecar = (&'static str, fn(&Scene, &Path, &[u8]));

/// What becomes of a sidecar, of which an older copy is kept.
const ON_SIDECAR: &[OnSidecar] = &[
    ("an older copy in its place", |_, path, old| {
        let before = path.metadata().unwrap();
        fs::write(path, old).unwrap();
        set_modified(path, &before);
    }),
    ("an older copy by rename", |_, path, old| {
        let beside = path.with_extension("copy");
        fs::write(&beside, old).unwrap();
        fs::rename(beside, path).unwrap();
    }),
    ("that of another mailbox", |scene, path, _| {
        fs::copy(sidecar(&scene.path("other")), path).unwrap();
    }),
    ("cut off", |_, path, _| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(path.metadata().unwrap().len() - 3).unwrap();
    }),
    ("damaged at its end", |_, path, _| {
        let octets = fs::read(path).unwrap();
        let at = octets.len() - 30;
        File::options().write(true).open(path).unwrap().write_all_at(&[octets[at] ^ 4], at as u64).unwrap();
    }),
    ("damaged in the middle, time put back", |_, path, _| {
        let (octets, before) = (fs::read(path).unwrap(), path.metadata().unwrap());
        File::options().write(true).open(path).unwrap().write_all_at(&[octets[300] ^ 4], 300).unwrap();
        set_modified(path, &before);
    }),
    ("gone", |_, path, _| fs::remove_file(path).unwrap()),
    ("with a new keyword of an open session", |scene, _, _| {
        scene.session("box", |mailbox| {
            drop(
                store(mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::NONE, &["Other"])).unwrap(),
            );
        });
    }),
];

#[test]
fn an_index_is_of_one_state_of_the_sidecar() {
    let _starts = nothing_starts();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_sidecar()) {
        for (what, act) in ON_SIDECAR {
            let mut scene = Scene::with_mailbox(kind, 60);
            // Whoever makes a sidecar anew takes the time for the UID validity value.
            scene.env.clock = Arc::new(support::Frozen { now: 1_900_000_000, offset: 0 });
            scene.fill("other", 60);
            scene.settle("other");
            let path = sidecar(&scene.path("box"));
            let old = fs::read(&path).unwrap();
            append(
                &*scene.driver(),
                &scene.path("box"),
                b"Subject: x\r\n\r\nx\r\n",
                SystemFlags::NONE,
                &["Work"],
            )
            .unwrap();
            scene.settle("box");
            scene.assert_warm("box", true, what);
            act(&scene, &path, &old);
            for _ in 0..2 {
                scene.check("box", &format!("{kind:?}: {what}"));
            }
            scene.settle("box");
            scene.check("box", &format!("{kind:?}: {what}"));
            scene.assert_warm("box", true, what);
        }
    }
}

#[test]
fn other_configured_keywords_make_other_flags() {
    let _starts = nothing_starts();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_sidecar()) {
        let mut scene = Scene::with_mailbox(kind, 60);
        overwrite(&scene.path("box"), 3000, b";000000000020", b";600000000020");
        scene.session("box", |mailbox| {
            drop(store(mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::NONE, &["Work"])).unwrap());
        });
        let keyword = |name: &str| ailurus_types::Keyword::new(name.as_bytes()).unwrap();
        for names in [&["one"][..], &["two"], &["two", "Work"], &["Work", "two"], &["one", "one"], &[]] {
            quiet();
            scene.env.default_keywords = names.iter().map(|name| keyword(name)).collect();
            for _ in 0..2 {
                scene.check("box", &format!("{kind:?}: {names:?}"));
            }
            scene.session("box", |_| {});
        }
    }
}

/// The reference writes flags without a lock as long as it has the mailbox open.
#[test]
fn changes_beside_another_session_are_not_handed_on() {
    let _starts = nothing_starts();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_sidecar()) {
        let scene = Scene::with_mailbox(kind, 60);
        let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &[]);
        let act = |number| {
            scene.session("box", |mailbox| {
                drop(store(mailbox, &UidSet::from_iter(Uid::new(number)), &flags).unwrap());
            });
        };
        let add = || {
            append(&*scene.driver(), &scene.path("box"), b"Subject: x\r\n\r\nx\r\n", SystemFlags::SEEN, &[])
        };
        act(3);
        scene.assert_warm("box", true, "alone");
        let other = File::open(scene.path("box")).unwrap();
        assert!(lock_file(&other, Mode::Shared, Wait::No).unwrap());
        act(6);
        scene.assert_warm("box", false, "beside another session");
        add().unwrap();
        scene.assert_warm("box", false, "an append beside another session");
        quiet();
        scene.check("box", "beside another session");
        scene.assert_warm("box", true, "read again");
        drop(other);
        add().unwrap();
        scene.assert_warm("box", true, "alone again");
        scene.check("box", "alone again");
    }
}

#[test]
fn the_references_program_is_seen() {
    let _starts = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    let scene = Scene::with_mailbox(Kind::Unix, 60);
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = scene.env.home.clone();
    let Some(_) = mailutil_in(&home, &["check", "box"]) else { return };
    scene.check("box", "check");
    for arguments in [
        &["prune", "box", "SUBJECT 3"][..],
        &["append", "box", "copy"],
        &["append", "copy", "box"],
        &["prune", "box", "SUBJECT 2"],
    ] {
        scene.session("box", |_| {});
        if arguments[1] == "box" && arguments[0] == "append" {
            mailutil_in(&home, &["create", "copy"]);
        }
        mailutil_in(&home, arguments).unwrap();
        scene.check("box", arguments[0]);
        scene.check("box", arguments[0]);
    }
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let scene = Scene::with_mailbox(Kind::Unix, 40);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for path in [scene.cache(), &scene.index_of("box")] {
        let before = path.metadata().unwrap().mode();
        mode(path, 0o777);
        let index = fs::read(scene.index_of("box")).unwrap();
        scene.assert_warm("box", false, "others can write");
        mode(path, before & 0o777);
        fs::write(scene.index_of("box"), index).unwrap();
        mode(&scene.index_of("box"), 0o600);
    }
    scene.assert_warm("box", true, "others cannot write");
    let (index, elsewhere) = (scene.index_of("box"), scene.directory.path().join("elsewhere"));
    fs::rename(&index, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &index).unwrap();
    scene.assert_warm("box", false, "a link");
    assert!(elsewhere.exists());
    fs::remove_file(&index).ok();
    fs::hard_link(&elsewhere, &index).unwrap();
    scene.assert_warm("box", false, "a second name");
    fs::remove_dir_all(scene.cache()).unwrap();
    fs::write(scene.cache(), "no directory").unwrap();
    scene.check("box", "no directory");
}

#[test]
fn the_cache_is_bounded_and_forgets_what_is_deleted() {
    let scene = Scene::with_mailbox(Kind::Unix, 10);
    let index = scene.index_of("box");
    assert!(index.exists());
    for number in 0..2100 {
        fs::write(scene.cache().join(format!(".ailurus-index-0-{number:x}")), "").unwrap();
    }
    let stale = scene.cache().join(".ailurus-index-0-1.77.0");
    fs::write(&stale, "").unwrap();
    let long_ago = FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    for path in [&stale, &index] {
        File::options().write(true).open(path).unwrap().set_times(long_ago).unwrap();
    }
    fs::write(scene.cache().join("not ours"), "").unwrap();
    scene.fill("other", 10);
    scene.settle("other");
    let count = fs::read_dir(scene.cache()).unwrap().count();
    assert!(count <= 2001, "{count}");
    assert!(!index.exists() && !stale.exists() && scene.index_of("other").exists());
    assert!(scene.cache().join("not ours").exists());
    let index = scene.index_of("other");
    scene.driver().delete(&at(&scene.path("other"))).unwrap();
    assert!(!index.exists());
}

/// Sessions and appends of ours with the disk failing at each change, which may be one of the index.
#[test]
fn a_cut_within_a_change_of_an_index_never_matters() {
    let _starts = nothing_starts();
    for kind in [Kind::Unix, Kind::Mbx, Kind::Mtx, Kind::Tenex] {
        cut_within(kind);
    }
}

fn cut_within(kind: Kind) {
    let original = Scene::with_mailbox(kind, 12);
    let (content, index) = (fs::read(original.path("box")).unwrap(), original.index_of("box"));
    assert!(index.exists());
    let faults: [fn(usize) -> Fault; 3] =
        [Fault::KillBefore, Fault::TearAt, |n| Fault::FullAfter(n as u64 * 300)];
    for fault in faults {
        for n in 0..60 {
            let mut scene = Scene::new(kind);
            scene.env.dot_lock_timeout = 0;
            fs::write(scene.path("box"), &content).unwrap();
            quiet();
            scene.session("box", |_| {});
            let disk = Arc::new(FaultyDisk::new(scene.directory.path(), fault(n)));
            let shared: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
            let driver = scene.driver_on(&shared);
            let path = scene.path("box");
            drop(append(&*driver, &path, b"Subject: a\r\n\r\na\r\n", SystemFlags::NONE, &[]));
            if let Ok(mut mailbox) = driver.open(&at(&path), Access::ReadWrite, Manner::Silent) {
                let flags = change(FlagOp::Add, SystemFlags::DRAFT, &["New"]);
                drop(store(mailbox.as_mut(), &UidSet::all(), &flags));
                drop(mailbox.close());
            }
            drop(append(&*driver, &path, b"Subject: b\r\n\r\nb\r\n", SystemFlags::SEEN, &[]));
            let done = !disk.is_dead();
            // The locks of a dead process are those of its descriptors.
            drop(driver);
            for entry in fs::read_dir(&scene.env.home).unwrap().flatten() {
                if entry.file_name().to_string_lossy().ends_with(".lock") {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
            scene.session("box", |_| {});
            scene.check("box", &format!("cut at {n}"));
            scene.check("box", &format!("cut at {n}"));
            if done && n > 40 {
                break;
            }
        }
    }
}

/// One thing that happens, by us or by others.
fn happen(
    scene: &Scene,
    random: &mut Random,
    open: &mut Option<Box<dyn Mailbox>>,
    number: u32,
) -> &'static str {
    let path = scene.path("box");
    let some = |mailbox: &dyn Mailbox, random: &mut Random| {
        let messages = &mailbox.snapshot().messages;
        let mut set = UidSet::new();
        for _ in 0..3 {
            if !messages.is_empty() {
                set.insert(messages[random.below(messages.len())].uid());
            }
        }
        set
    };
    match random.below(11) {
        0 => {
            let access = if random.one_in(4) { Access::ReadOnly } else { Access::ReadWrite };
            *open = scene.driver().open(&at(&path), access, Manner::Session).ok();
            "open"
        }
        1 | 2 => {
            if let Some(mailbox) = open.take() {
                drop(mailbox.close());
            }
            "close"
        }
        3 => {
            if let Some(mailbox) = open {
                let set = some(mailbox.as_ref(), random);
                let flags = *random.pick(&[SystemFlags::SEEN, SystemFlags::FLAGGED, SystemFlags::DELETED]);
                let op = *random.pick(&[FlagOp::Add, FlagOp::Remove]);
                let keywords: &[&str] = if random.one_in(3) { &["Work"] } else { &[] };
                drop(store(mailbox.as_mut(), &set, &change(op, flags, keywords)));
            }
            "store"
        }
        4 => {
            if let Some(mailbox) = open {
                let set = some(mailbox.as_ref(), random);
                drop(expunge(mailbox.as_mut(), &set));
            }
            "expunge"
        }
        5 => {
            if let Some(mailbox) = open {
                drop(mailbox.refresh());
                drop(mailbox.checkpoint());
            }
            "checkpoint"
        }
        6 | 7 => {
            let body = "x\r\n".repeat(random.below(300));
            let text = format!("Subject: a{number}\r\n\r\n{body}");
            let keywords: &[&str] = if random.one_in(2) { &["Work"] } else { &[] };
            append(&*scene.driver(), &path, text.as_bytes(), SystemFlags::SEEN, keywords).ok();
            "append"
        }
        8 => {
            deliver(&path, &delivery(scene.kind, 1000 + number));
            "delivery"
        }
        9 => {
            // A program without our session lock changes what it can without moving anything.
            let content = fs::read(&path).unwrap();
            let [plain, flagged, seen] = scene.kind.fields();
            let lines: [(&[u8], &[u8]); 3] = [(plain, flagged), (flagged, seen), (b"Text of", b"text of")];
            let fields: [(&[u8], &[u8]); 3] = [
                (b"Status: RO\n", b"Status: O \n"),
                (b"Text of", b"text of"),
                (b"X-Status: F", b"X-Status:  "),
            ];
            let (old, new) = *random.pick(if scene.kind.has_lines() { &lines } else { &fields });
            let places: Vec<_> =
                content.windows(old.len()).enumerate().filter(|(_, window)| *window == old).collect();
            if !places.is_empty() {
                let before = path.metadata().unwrap();
                let (at, _) = places[random.below(places.len())];
                File::options().write(true).open(&path).unwrap().write_all_at(new, at as u64).unwrap();
                set_modified(&path, &before);
            }
            "rewrite in place"
        }
        _ => {
            let found = scene.driver().status(&at(&path));
            assert!(found.is_ok() || open.is_some());
            "status"
        }
    }
}

#[test]
fn whatever_happens_the_file_is_what_is_seen() {
    let _starts = nothing_starts();
    let seeds: Vec<u64> = match std::env::var("AILURUS_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..25).collect(),
    };
    for seed in seeds {
        let kind = Kind::ALL[usize::try_from(seed).unwrap() % Kind::ALL.len()];
        let scene = Scene::with_mailbox(kind, 30);
        let mut random = Random::new(seed);
        let mut sessions = [None, None];
        let mut did = Vec::new();
        for number in 0..60 {
            let session = random.below(2);
            did.push((session, happen(&scene, &mut random, &mut sessions[session], number)));
            if random.one_in(5) {
                quiet();
            }
            let writes = sessions.iter().flatten().any(|mailbox| mailbox.snapshot().writable);
            if !writes || random.one_in(3) {
                scene.check("box", &format!("{kind:?}, seed {seed}: {did:?}"));
            }
        }
    }
}

/// A mailbox that is a directory: what STATUS tells by an index, and without.
struct Folder {
    scene: Scene,
    plain: Mx,
    driver: Mx,
}

impl Folder {
    fn new(messages: u32) -> Self {
        let scene = Scene::new(Kind::Unix);
        let plain = Environment { cache_dir: None, ..scene.env.clone() };
        let driver = |env: Environment| Mx::new(Arc::new(env), Os::shared());
        let (driver, plain) = (driver(scene.env.clone()), driver(plain));
        let folder = Self { scene, plain, driver };
        folder.driver.create(&folder.at()).unwrap();
        (1..=messages).for_each(|number| folder.deliver(number));
        // The first session writes the index of the format; files that are new are looked at again.
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(60));
            drop(folder.driver.open(&folder.at(), Access::ReadWrite, Manner::Session).unwrap());
        }
        quiet();
        folder
    }

    fn at(&self) -> ailurus_store::Location {
        at(&self.scene.path("box"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scene.path("box").join(name)
    }

    /// Puts a file there, as old as messages are.
    fn deliver(&self, number: u32) {
        let path = self.file(&number.to_string());
        fs::write(&path, format!("Subject: {number}\r\n\r\ntext\r\n")).unwrap();
        age(&path);
    }

    fn status(&self) -> Status {
        self.driver.status(&self.at()).unwrap()
    }

    /// Fails if STATUS tells anything but what is there, whichever way it is asked.
    #[track_caller]
    fn check(&self, what: &str) {
        let ours = self.status();
        assert_eq!(ours, self.plain.status(&self.at()).unwrap(), "{what}");
        assert_eq!(self.status(), ours, "{what}");
        quiet();
        assert_eq!(self.status(), ours, "{what}");
        assert_eq!(self.status(), ours, "{what}");
    }

    #[track_caller]
    fn assert_warm(&self, is: bool, what: &str) {
        let before = read_so_far();
        self.status();
        let read = read_so_far() - before;
        let all = self.file(".mxindex").metadata().unwrap().len();
        assert_eq!(read < all / 2, is, "{what}: {read} octets read of {all}");
    }
}

fn age(path: &Path) {
    let long_ago = FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    File::options().write(true).open(path).unwrap().set_times(long_ago).unwrap();
}

type OnFolder = (&'static str, bool, fn(&Folder));

/// What becomes of an mx mailbox, and whether STATUS can be told by an index after that.
const ON_FOLDER: &[OnFolder] = &[
    ("a file more", true, |folder| folder.deliver(2001)),
    ("a file more, time of the directory put back", true, |folder| {
        let directory = folder.scene.path("box");
        let before = directory.metadata().unwrap();
        folder.deliver(2002);
        let times = FileTimes::new().set_modified(before.modified().unwrap());
        File::open(directory).unwrap().set_times(times).unwrap();
    }),
    ("a file less", true, |folder| fs::remove_file(folder.file("17")).unwrap()),
    ("a file renamed", true, |folder| fs::rename(folder.file("18"), folder.file("2003")).unwrap()),
    ("flags in place, time put back", true, |folder| {
        let path = folder.file(".mxindex");
        let before = path.metadata().unwrap();
        overwrite(&path, 500, b".0000M", b".0001M");
        set_modified(&path, &before);
    }),
    ("another UID validity value, time put back", true, |folder| {
        let path = folder.file(".mxindex");
        let before = path.metadata().unwrap();
        File::options().write(true).open(&path).unwrap().write_all_at(b"V0000abcd", 0).unwrap();
        set_modified(&path, &before);
    }),
    ("an older index in its place", true, |folder| {
        let old = fs::read(folder.file(".mxindex")).unwrap();
        append(&folder.driver, &folder.scene.path("box"), b"Subject: x\r\n\r\nx\r\n", SystemFlags::SEEN, &[])
            .unwrap();
        fs::write(folder.file(".mxindex"), old).unwrap();
        age(&folder.file("1001"));
    }),
    ("an append", true, |folder| {
        append(&folder.driver, &folder.scene.path("box"), b"Subject: x\r\n\r\nx\r\n", SystemFlags::SEEN, &[])
            .unwrap();
        age(&folder.file("1001"));
    }),
    ("a session", true, |folder| {
        let mut mailbox = folder.driver.open(&folder.at(), Access::ReadWrite, Manner::Session).unwrap();
        drop(
            store(mailbox.as_mut(), &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &["Work"]))
                .unwrap(),
        );
        drop(expunge(mailbox.as_mut(), &UidSet::from_iter(Uid::new(9))).unwrap());
    }),
    ("a file just made", false, |folder| {
        fs::write(folder.file("2004"), "").unwrap();
        folder.status();
    }),
    ("a link", false, |folder| {
        let elsewhere = folder.scene.path("elsewhere");
        fs::write(&elsewhere, "Subject: x\r\n\r\n").unwrap();
        age(&elsewhere);
        std::os::unix::fs::symlink(&elsewhere, folder.file("2005")).unwrap();
        quiet();
        folder.check("a link to a file");
        fs::remove_file(elsewhere).unwrap();
    }),
    ("a directory with a number", false, |folder| fs::create_dir(folder.file("2006")).unwrap()),
    ("a damaged index", false, |folder| overwrite(&folder.file(".mxindex"), 500, b".0000M", b".00?0M")),
    ("another mailbox in its place", true, |folder| {
        let beside = folder.scene.path("beside");
        fs::create_dir(&beside).unwrap();
        for number in 1..=1000 {
            fs::rename(folder.file(&number.to_string()), beside.join(number.to_string())).unwrap();
        }
        fs::remove_file(beside.join("1")).unwrap();
        fs::copy(folder.file(".mxindex"), beside.join(".mxindex")).unwrap();
        fs::remove_dir_all(folder.scene.path("box")).unwrap();
        fs::rename(beside, folder.scene.path("box")).unwrap();
    }),
];

#[test]
fn status_of_a_directory_is_told_by_an_index() {
    for (what, keeps, act) in ON_FOLDER {
        let folder = Folder::new(1000);
        folder.check(what);
        folder.assert_warm(true, what);
        act(&folder);
        folder.check(what);
        folder.assert_warm(*keeps, what);
    }
    let folder = Folder::new(10);
    let index = folder.scene.index_of("box");
    folder.check("few");
    assert_eq!(index.metadata().unwrap().len(), 4096);
    let (good, truth) = (fs::read(&index).unwrap(), folder.plain.status(&folder.at()).unwrap());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if bit % 37 == 0 {
            fs::write(&index, &bad).unwrap();
            assert_eq!(folder.status(), truth, "a flipped bit at {bit}");
            // Not believed, and made anew.
            assert!(fs::read(&index).unwrap() != bad, "a flipped bit at {bit}");
        }
    }
    folder.driver.delete(&folder.at()).unwrap();
    assert!(!index.exists());
}

#[test]
fn whatever_happens_in_a_directory_is_what_status_tells() {
    for seed in 0..12 {
        let (folder, mut random, mut did) = (Folder::new(20), Random::new(seed), Vec::new());
        let mut session: Option<Box<dyn Mailbox>> = None;
        for number in 0..60 {
            let names: Vec<u32> = fs::read_dir(folder.scene.path("box"))
                .unwrap()
                .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
                .collect();
            let some = names.get(random.below(names.len().max(1))).copied().unwrap_or(1);
            let what = random.below(9);
            match what {
                0 => folder.deliver(names.iter().max().copied().unwrap_or(0) + 1),
                1 => drop(fs::remove_file(folder.file(&some.to_string()))),
                2 => {
                    let new = names.iter().max().copied().unwrap_or(0) + 2;
                    fs::rename(folder.file(&some.to_string()), folder.file(&new.to_string())).ok();
                }
                3 => drop(append(
                    &folder.driver,
                    &folder.scene.path("box"),
                    b"x: y\r\n\r\n",
                    SystemFlags::NONE,
                    &[],
                )),
                4 => session = folder.driver.open(&folder.at(), Access::ReadWrite, Manner::Session).ok(),
                5 => session = None,
                6 | 7 => {
                    if let Some(mailbox) = &mut session {
                        let set = UidSet::from_iter(Uid::new(some));
                        if what == 6 {
                            let flags = change(FlagOp::Add, SystemFlags::SEEN, &[]);
                            drop(store(mailbox.as_mut(), &set, &flags));
                        } else {
                            drop(expunge(mailbox.as_mut(), &set));
                        }
                    }
                }
                _ => {
                    let path = folder.file(".mxindex");
                    let before = path.metadata().unwrap();
                    let octets = fs::read(&path).unwrap();
                    if let Some(at) = octets.windows(6).position(|window| window == b".0000M") {
                        File::options()
                            .write(true)
                            .open(&path)
                            .unwrap()
                            .write_all_at(b".0001M", at as u64)
                            .unwrap();
                        set_modified(&path, &before);
                    }
                }
            }
            did.push(what);
            if random.one_in(2) {
                folder.check(&format!("seed {seed}, {number}: {did:?}"));
            }
        }
    }
}
