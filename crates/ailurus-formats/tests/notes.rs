//! Whatever becomes of the notes, and whoever changes a mailbox, no note is of other octets than the message has.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/scene.rs"]
mod scene;
mod support;

use ailurus_formats::disk::Disk;
use ailurus_store::{Access, Extent, Mailbox, Manner, MessageInfo, NoteKind};
use ailurus_testkit::corpus::{write_mbox, write_mbx};
use ailurus_testkit::faulty::{Fault, FaultyDisk};
use ailurus_testkit::random::Random;
use ailurus_types::{FlagOp, SystemFlags, Uid, UidSet};
use scene::{
    FOREIGN, FOREIGN_LINES, FOREIGN_MBX, Foreign, Kind, Scene, deliver, delivery, overwrite, quiet,
    set_modified,
};
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::Hasher;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use support::paths::{append, at};
use support::{change, expunge, read_all, store};

const KINDS: [Kind; 3] = [Kind::Unix, Kind::Mmdf, Kind::Mbx];
const KIND: NoteKind = NoteKind(1);
const MANY: NoteKind = NoteKind(0x0101);
const BUCKET: u64 = 16 * 1024;

/// What the tests note of a message: it follows from all octets, and is of any length.
fn digest(octets: &[u8]) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    let sum = hasher.finish();
    format!("{sum:016x} ").into_bytes().repeat(1 + usize::try_from(sum % 30).unwrap())
}

/// How many messages had notes, and how many had none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Met {
    found: usize,
    missing: usize,
}

/// Does with one message what a session does, and fails if the note is wrong.
#[track_caller]
fn look(mailbox: &mut dyn Mailbox, message: &MessageInfo, met: &mut Met, what: &str) {
    let mut noted = Vec::new();
    let is_noted = mailbox.notes().is_some_and(|mut notes| notes.get(message, KIND, &mut noted));
    let Ok(octets) = read_all(mailbox, message.uid(), Extent::Whole, 5000) else { return };
    if is_noted {
        met.found += 1;
        assert!(noted == digest(&octets), "{what}: wrong note of {}", message.uid());
        return;
    }
    met.missing += 1;
    if let Some(mut notes) = mailbox.notes() {
        notes.put(message, KIND, &digest(&octets));
    }
}

/// As [`look`], with many messages at once and another kind.
#[track_caller]
fn look_at_many(mailbox: &mut dyn Mailbox, what: &str) {
    let short = |octets: &[u8]| digest(octets)[..8].to_vec();
    let messages = mailbox.snapshot().messages.clone();
    for some in messages.chunks(50) {
        let mut noted = vec![None; some.len()];
        let told = &mut |at: usize, octets: &[u8]| noted[at] = Some(octets.to_vec());
        let holds = mailbox.notes().is_some_and(|mut notes| notes.get_all(some, MANY, told));
        let mut new = Vec::new();
        for (message, noted) in some.iter().zip(noted) {
            let Ok(octets) = read_all(mailbox, message.uid(), Extent::Whole, 5000) else { continue };
            match noted.filter(|_| holds) {
                Some(noted) => assert!(noted == short(&octets), "{what}: wrong note of {}", message.uid()),
                None => new.push((*message, short(&octets))),
            }
        }
        if let Some(mut notes) = mailbox.notes() {
            notes.put_all(&new, MANY);
        }
    }
}

#[track_caller]
fn look_at_all(mailbox: &mut dyn Mailbox, what: &str) -> Met {
    look_at_many(mailbox, what);
    let mut met = Met::default();
    for message in mailbox.snapshot().messages.clone() {
        look(mailbox, &message, &mut met, what);
    }
    met
}

impl Scene {
    #[track_caller]
    fn notes(&self, what: &str) -> Met {
        let mut met = None;
        self.session("box", |mailbox| met = Some(look_at_all(mailbox, what)));
        met.unwrap()
    }

    fn notes_of(&self, name: &str) -> PathBuf {
        let mut path = self.index_of(name).into_os_string();
        path.push("-notes");
        path.into()
    }

    fn noted(kind: Kind, messages: u32) -> Self {
        let scene = Self::with_mailbox(kind, messages);
        let all = messages.try_into().unwrap();
        assert_eq!(scene.notes("first"), Met { found: 0, missing: all });
        assert_eq!(scene.notes("again"), Met { found: all, missing: 0 });
        scene
    }
}

#[test]
fn what_one_session_noted_the_next_finds() {
    for kind in KINDS {
        let scene = Scene::noted(kind, 300);
        let found = scene.notes_of("box").metadata().unwrap();
        assert_eq!(found.mode() & 0o777, 0o600);
        assert!(found.len() <= 10 * BUCKET, "{}", found.len());

        scene.session("box", |mailbox| {
            let flags = change(FlagOp::Add, SystemFlags::ANSWERED, &["Work"]);
            drop(store(mailbox, &UidSet::all(), &flags).unwrap());
        });
        assert_eq!(scene.notes("flags"), Met { found: 300, missing: 0 }, "{kind:?}");
        scene.session("box", |mailbox| {
            drop(expunge(mailbox, &[3, 50].into_iter().filter_map(Uid::new).collect()).unwrap());
            assert_eq!(look_at_all(mailbox, "at once"), Met { found: 298, missing: 0 });
        });
        assert_eq!(scene.notes("expunge"), Met { found: 298, missing: 0 }, "{kind:?}");
        append(&*scene.driver(), &scene.path("box"), b"Subject: n\r\n\r\nn\r\n", SystemFlags::SEEN, &["New"])
            .unwrap();
        assert_eq!(scene.notes("append"), Met { found: 298, missing: 1 }, "{kind:?}");
        assert_eq!(scene.notes("append"), Met { found: 299, missing: 0 }, "{kind:?}");
        // One that may only read has them too.
        let mut mailbox =
            scene.driver().open(&at(&scene.path("box")), Access::ReadOnly, Manner::Session).unwrap();
        assert_eq!(look_at_all(mailbox.as_mut(), "EXAMINE"), Met { found: 299, missing: 0 });
        drop(mailbox);
        scene.driver().delete(&at(&scene.path("box"))).unwrap();
        assert_eq!(fs::read_dir(scene.cache()).unwrap().count(), 0);
    }
}

#[test]
fn notes_of_realistic_mail_are_right() {
    for kind in [Kind::Unix, Kind::Mbx] {
        let scene = Scene::new(kind);
        let mut content = Vec::new();
        match kind {
            Kind::Mbx => write_mbx(&mut content, 5, 400).unwrap(),
            _ => write_mbox(&mut content, 5, 400).unwrap(),
        }
        fs::write(scene.path("box"), content).unwrap();
        quiet();
        // The session that gives UIDs, and rewrites the file, notes already.
        assert_eq!(scene.notes("first"), Met { found: 0, missing: 400 });
        assert_eq!(scene.notes("again"), Met { found: 400, missing: 0 }, "{kind:?}");
    }
}

/// What was noted of mail as it came is right after all that we do to the file around it.
#[test]
fn notes_of_samples_are_right_after_rewrites() {
    let mut met = Met::default();
    for (kind, format) in KINDS.into_iter().zip(["unix", "mmdf", "mbx"]) {
        let names = fs::read_dir(support::fixtures(format)).unwrap().flatten().map(|entry| entry.path());
        for sample in names.filter(|path| path.extension().is_none()) {
            let content = fs::read(&sample).unwrap();
            for cut in 0..2.min(content.len()) {
                let scene = Scene::new(kind);
                let (path, what) = (scene.path("box"), format!("{}, cut by {cut}", sample.display()));
                fs::write(&path, &content[..content.len() - cut]).unwrap();
                for access in [Access::ReadOnly, Access::ReadWrite, Access::ReadWrite, Access::ReadOnly] {
                    quiet();
                    let Ok(mut mailbox) = scene.driver().open(&at(&path), access, Manner::Session) else {
                        continue;
                    };
                    let mut act = |mailbox: &mut dyn Mailbox| {
                        let now = look_at_all(mailbox, &what);
                        met = Met { found: met.found + now.found, missing: met.missing + now.missing };
                    };
                    act(mailbox.as_mut());
                    drop(mailbox.refresh());
                    act(mailbox.as_mut());
                    let flags = change(FlagOp::Add, SystemFlags::FLAGGED, &["Work"]);
                    drop(store(mailbox.as_mut(), &UidSet::all(), &flags));
                    drop(mailbox.checkpoint());
                    act(mailbox.as_mut());
                    drop(mailbox.close());
                    drop(append(&*scene.driver(), &path, b"A: b\r\n\r\nc\r\n", SystemFlags::NONE, &[]));
                }
            }
        }
    }
    assert!(met.found > 1000, "{met:?}");
}

#[test]
fn small_mailboxes_have_none() {
    let mut scene = Scene::with_mailbox(Kind::Unix, 20);
    scene.env.index_from = 1024 * 1024;
    for _ in 0..2 {
        assert_eq!(scene.notes("small"), Met { found: 0, missing: 20 });
    }
    assert!(!scene.notes_of("box").exists());
}

#[test]
fn nothing_is_noted_that_was_not_asked_for_in_this_state() {
    let scene = Scene::with_mailbox(Kind::Unix, 20);
    scene.session("box", |mailbox| {
        let messages = mailbox.snapshot().messages.clone();
        mailbox.notes().unwrap().put(&messages[0], KIND, b"never asked");
        assert!(!mailbox.notes().unwrap().get(&messages[1], KIND, &mut Vec::new()));
        mailbox.notes().unwrap().put(&messages[0], KIND, b"another's");
        mailbox.notes().unwrap().put_all(&[(messages[0], b"never asked".to_vec())], KIND);
        assert!(mailbox.notes().unwrap().get_all(&messages, MANY, &mut |_, _| panic!("nothing is noted")));
        mailbox.notes().unwrap().put_all(&[(messages[0], b"another kind".to_vec())], KIND);
        assert!(!mailbox.notes().unwrap().get(&messages[1], KIND, &mut Vec::new()));
        drop(expunge(mailbox, &[20].into_iter().filter_map(Uid::new).collect()).unwrap());
        mailbox.notes().unwrap().put(&messages[1], KIND, b"of the state before");
    });
    assert_eq!(scene.notes_of("box").metadata().unwrap().len(), 0);
    scene.session("box", |mailbox| {
        let messages = mailbox.snapshot().messages.clone();
        assert!(!mailbox.notes().unwrap().get(&messages[0], KIND, &mut Vec::new()));
        overwrite(&scene.path("box"), 0, b"Text of", b"text of");
        mailbox.notes().unwrap().put(&messages[0], KIND, b"read while another wrote");
    });
    assert_eq!(scene.notes_of("box").metadata().unwrap().len(), 0);
    assert_eq!(scene.notes("nothing"), Met { found: 0, missing: 19 });
}

#[test]
fn damaged_notes_only_cost_time() {
    for kind in KINDS {
        let scene = Scene::noted(kind, 40);
        let path = scene.notes_of("box");
        let good = fs::read(&path).unwrap();
        let mut random = Random::new(3);
        for number in 0..100 {
            let mut bad = good.clone();
            if number < 28 {
                bad[number] ^= 1 << random.below(8);
            } else if random.one_in(4) {
                bad.truncate(random.below(bad.len()));
            } else {
                let at = random.below(bad.len());
                bad[at] ^= 1 << random.below(8);
            }
            fs::write(&path, bad).unwrap();
            scene.notes(&format!("{kind:?}: damage {number}"));
            // It was made good on the way.
            assert_eq!(scene.notes("made again").missing, 0, "{kind:?}: damage {number}");
        }
        // Buckets in each other's place.
        let (one, other) = good.split_at(usize::try_from(BUCKET).unwrap());
        fs::write(&path, [other, &vec![0; one.len() - other.len().min(one.len())], one].concat()).unwrap();
        assert_eq!(scene.notes("swapped").found, 0);
        fs::write(&path, vec![0xff; good.len()]).unwrap();
        assert_eq!(scene.notes("all ones").found, 0);
        fs::remove_file(&path).unwrap();
        assert_eq!(scene.notes("removed").found, 0);
        assert_eq!(scene.notes("made again").missing, 0);
    }
}

#[test]
fn every_octet_of_a_bucket_counts() {
    let scene = Scene::noted(Kind::Unix, 3);
    let path = scene.notes_of("box");
    let good = fs::read(&path).unwrap();
    let mut mailbox = scene.driver().open(&at(&scene.path("box")), Access::ReadOnly, Manner::Silent).unwrap();
    let messages = mailbox.snapshot().messages.clone();
    drop(mailbox);
    for octet in 0..good.len() {
        let mut bad = good.clone();
        bad[octet] ^= 1 << (octet % 8);
        fs::write(&path, bad).unwrap();
        mailbox = scene.driver().open(&at(&scene.path("box")), Access::ReadOnly, Manner::Silent).unwrap();
        let found =
            messages.iter().any(|message| mailbox.notes().unwrap().get(message, KIND, &mut Vec::new()));
        assert!(!found, "{octet}");
        drop(mailbox);
    }
}

#[test]
fn notes_of_another_mailbox_are_not_believed() {
    let scene = Scene::noted(Kind::Unix, 40);
    scene.fill("other", 41);
    // The same UIDs, dates and sizes, other texts.
    let text = fs::read_to_string(scene.path("other")).unwrap().replace("Text of", "text OF");
    fs::write(scene.path("other"), text).unwrap();
    scene.settle("other");
    scene.session("other", |mailbox| {
        assert_eq!(look_at_all(mailbox, "other").missing, 41);
    });
    let (one, other) = (fs::read(scene.notes_of("box")).unwrap(), fs::read(scene.notes_of("other")).unwrap());
    fs::write(scene.notes_of("box"), other).unwrap();
    fs::write(scene.notes_of("other"), one).unwrap();
    assert_eq!(scene.notes("swapped"), Met { found: 0, missing: 40 });
    scene.session("other", |mailbox| {
        assert_eq!(look_at_all(mailbox, "swapped").found, 0);
    });
}

#[test]
fn notes_of_an_older_state_are_right_or_not_believed() {
    for kind in [Kind::Unix, Kind::Mbx] {
        let scene = Scene::noted(kind, 40);
        let mut states = Vec::new();
        for number in 0..6 {
            states.push(fs::read(scene.notes_of("box")).unwrap());
            match number % 3 {
                0 => overwrite(&scene.path("box"), 3000, b"Text of", b"text of"),
                1 => {
                    drop(
                        append(
                            &*scene.driver(),
                            &scene.path("box"),
                            b"A: b\r\n\r\nc\r\n",
                            SystemFlags::SEEN,
                            &[],
                        )
                        .unwrap(),
                    );
                }
                _ => deliver(&scene.path("box"), &delivery(kind, 700)),
            }
            quiet();
            for state in &states {
                fs::write(scene.notes_of("box"), state).unwrap();
                scene.notes("an older state");
            }
        }
    }
}

/// More that others do: a text changes and its length does not.
const IN_PLACE: &[Foreign] = &[
    ("a text in place, time put back", |_, path| {
        let before = path.metadata().unwrap();
        overwrite(path, 5000, b"Text of", b"text of");
        set_modified(path, &before);
    }),
    ("a subject in place", |_, path| overwrite(path, 3000, b"Subject: ", b"subject: ")),
];

fn foreign(kind: Kind) -> impl Iterator<Item = &'static Foreign> {
    let own = match kind {
        Kind::Mbx => [FOREIGN_LINES, FOREIGN_MBX],
        _ => [FOREIGN, &[]],
    };
    own.into_iter().flatten().chain(IN_PLACE)
}

#[test]
fn what_others_do_is_never_missed() {
    for kind in KINDS {
        for (what, act) in foreign(kind) {
            let scene = Scene::noted(kind, 60);
            act(&scene, &scene.path("box"));
            assert_eq!(scene.notes(what).found, 0, "{kind:?}: {what}");
            scene.notes(what);
            quiet();
            scene.session("box", |_| {});
            scene.notes(what);
            assert_eq!(scene.notes(what).missing, 0, "{kind:?}: {what}");
        }
    }
}

#[test]
fn what_others_do_during_a_session_is_never_missed() {
    for kind in KINDS {
        for (what, act) in
            foreign(kind).filter(|(what, _)| !what.contains("cut") && !what.contains("replaced"))
        {
            for access in [Access::ReadOnly, Access::ReadWrite] {
                let scene = Scene::noted(kind, 60);
                let path = scene.path("box");
                let mut mailbox = scene.driver().open(&at(&path), access, Manner::Session).unwrap();
                let messages = mailbox.snapshot().messages.clone();
                let mut met = Met::default();
                for message in &messages[..20] {
                    look(mailbox.as_mut(), message, &mut met, what);
                }
                assert_eq!(met.missing, 0);
                act(&scene, &path);
                let mut met = Met::default();
                for message in &messages {
                    look(mailbox.as_mut(), message, &mut met, what);
                }
                drop(mailbox.refresh());
                look_at_all(mailbox.as_mut(), what);
                drop(mailbox.close());
                scene.notes(what);
                scene.notes(what);
            }
        }
    }
}

#[test]
fn a_cut_within_a_change_of_notes_never_matters() {
    for kind in [Kind::Unix, Kind::Mbx] {
        let faults: [fn(usize) -> Fault; 3] =
            [Fault::KillBefore, Fault::TearAt, |n| Fault::FullAfter(n as u64 * 700)];
        for fault in faults {
            for n in 0..30 {
                let mut scene = Scene::with_mailbox(kind, 70);
                scene.env.dot_lock_timeout = 0;
                let disk = Arc::new(FaultyDisk::new(scene.directory.path(), fault(n)));
                let shared: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
                let (driver, path) = (scene.driver_on(&shared), scene.path("box"));
                let what = format!("{kind:?}: cut at {n}");
                for round in 0..2 {
                    if let Ok(mut mailbox) = driver.open(&at(&path), Access::ReadWrite, Manner::Silent) {
                        look_at_all(mailbox.as_mut(), &what);
                        let flags = change(FlagOp::Add, SystemFlags::DRAFT, &["New"]);
                        drop(store(mailbox.as_mut(), &UidSet::all(), &flags));
                        let gone = [2 + round].into_iter().filter_map(Uid::new).collect();
                        drop(expunge(mailbox.as_mut(), &gone));
                        look_at_all(mailbox.as_mut(), &what);
                        drop(mailbox.close());
                    }
                    drop(append(&*driver, &path, b"A: b\r\n\r\nc\r\n", SystemFlags::SEEN, &[]));
                }
                let done = !disk.is_dead();
                drop(driver);
                for entry in fs::read_dir(&scene.env.home).unwrap().flatten() {
                    if entry.file_name().to_string_lossy().ends_with(".lock") {
                        fs::remove_file(entry.path()).unwrap();
                    }
                }
                scene.notes(&what);
                quiet();
                scene.notes(&what);
                assert_eq!(scene.notes(&what).missing, 0, "{what}");
                if done && n > 20 {
                    break;
                }
            }
        }
    }
}

/// UIDs so far apart that they share buckets.
#[test]
fn the_file_is_bounded_and_the_newest_stay() {
    let scene = Scene::new(Kind::Mbx);
    scene.fill("box", 0);
    let mut content = fs::read(scene.path("box")).unwrap();
    let uids: Vec<u32> = (0..200).map(|number| 1 + number * 5_000_017).collect();
    for uid in &uids {
        let text = format!("Subject: {uid}\r\n\r\n{uid}\r\n");
        let line = format!(" 2-Dec-1992 05:53:22 -0700,{};000000000010-{uid:08x}\r\n{text}", text.len());
        content.extend_from_slice(line.as_bytes());
    }
    content[7..23].copy_from_slice(format!("{:08x}{:08x}", 77, uids.last().unwrap()).as_bytes());
    fs::write(scene.path("box"), content).unwrap();
    scene.settle("box");
    for _ in 0..3 {
        scene.notes("far apart");
    }
    let met = scene.notes("far apart");
    assert!(met.found >= 150, "{met:?}");
    let found = scene.notes_of("box").metadata().unwrap();
    assert!(found.len() <= 4096 * BUCKET, "{}", found.len());
    assert!(found.blocks() * 512 < 200 * 2 * 4096, "{}", found.blocks());
}

#[test]
fn notes_that_have_no_room_are_left_out() {
    let scene = Scene::with_mailbox(Kind::Unix, 64);
    let sizes = [0, 1, 400, 5000, 16_000, 16_384, 70_000];
    let value = |message: &MessageInfo| {
        vec![u8::try_from(message.uid().get()).unwrap(); sizes[message.uid().get() as usize % sizes.len()]]
    };
    for round in 0..3 {
        scene.session("box", |mailbox| {
            let mut found = 0;
            for message in mailbox.snapshot().messages.clone() {
                let mut notes = mailbox.notes().unwrap();
                let mut out = b"before".to_vec();
                if notes.get(&message, KIND, &mut out) {
                    found += 1;
                    assert_eq!(out, [b"before", &value(&message)[..]].concat());
                } else {
                    assert_eq!(out, b"before");
                    notes.put(&message, KIND, &value(&message));
                }
            }
            assert_eq!(found >= 20, round > 0, "{found}");
        });
    }
    // A newer kind takes the place of an older one.
    for _ in 0..2 {
        scene.session("box", |mailbox| {
            for message in mailbox.snapshot().messages.clone() {
                let mut notes = mailbox.notes().unwrap();
                if !notes.get(&message, NoteKind(2), &mut Vec::new()) {
                    notes.put(&message, NoteKind(2), &[7; 400]);
                }
            }
        });
    }
    scene.session("box", |mailbox| {
        for message in mailbox.snapshot().messages.clone() {
            let mut out = Vec::new();
            assert!(mailbox.notes().unwrap().get(&message, NoteKind(2), &mut out));
            assert_eq!(out, [7; 400]);
        }
    });
}

#[test]
fn a_cache_that_is_not_ours_to_write_serves_and_one_that_others_can_write_does_not() {
    let scene = Scene::noted(Kind::Unix, 40);
    let path = scene.notes_of("box");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let lookup = || {
        let mut mailbox =
            scene.driver().open(&at(&scene.path("box")), Access::ReadOnly, Manner::Silent).unwrap();
        let met = look_at_all(mailbox.as_mut(), "modes");
        mailbox.close().unwrap();
        met
    };
    let good = fs::read(&path).unwrap();
    mode(0o400);
    assert_eq!(lookup().found, 40);
    for bits in [0o622, 0o606, 0o660] {
        mode(bits);
        assert_eq!(lookup().found, 0, "{bits:o}");
    }
    mode(0o600);
    let elsewhere = scene.directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(lookup().found, 0);
    fs::remove_file(&path).unwrap();
    fs::hard_link(&elsewhere, &path).unwrap();
    assert_eq!(lookup().found, 0);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(lookup().found, 0);
    assert_eq!(fs::read(&elsewhere).unwrap(), good);
}

/// One thing that happens, by us or by others.
fn happen(scene: &Scene, random: &mut Random, open: &mut Option<Box<dyn Mailbox>>, number: u32, what: &str) {
    let path = scene.path("box");
    match random.below(12) {
        0 => {
            let access = if random.one_in(4) { Access::ReadOnly } else { Access::ReadWrite };
            *open = scene.driver().open(&at(&path), access, Manner::Session).ok();
        }
        1 => drop(open.take().map(Mailbox::close)),
        2 => {
            if let Some(mailbox) = open {
                let flags = *random.pick(&[SystemFlags::SEEN, SystemFlags::FLAGGED]);
                drop(store(mailbox.as_mut(), &UidSet::all(), &change(FlagOp::Add, flags, &["Work"])));
            }
        }
        3 => {
            if let Some(mailbox) = open {
                let messages = &mailbox.snapshot().messages;
                let some = random.below(messages.len().max(1));
                let set: UidSet = messages.get(some).map(MessageInfo::uid).into_iter().collect();
                drop(expunge(mailbox.as_mut(), &set));
            }
        }
        4 => {
            if let Some(mailbox) = open {
                drop(mailbox.refresh());
                drop(mailbox.checkpoint());
            }
        }
        5 | 6 => {
            // The same size and date as others: the second of the clock.
            let text = format!("Subject: a{:03}\r\n\r\ntext\r\n", number % 1000);
            append(&*scene.driver(), &path, text.as_bytes(), SystemFlags::SEEN, &[]).ok();
        }
        7 if random.one_in(3) => deliver(&path, &delivery(scene.kind, 1000 + number)),
        8 if random.one_in(3) => {
            let content = fs::read(&path).unwrap();
            let texts: [&[u8]; 2] = [b"Text of", b"text of"];
            let (old, new) = if random.one_in(2) { (texts[0], texts[1]) } else { (texts[1], texts[0]) };
            let places: Vec<_> =
                content.windows(old.len()).enumerate().filter(|(_, window)| *window == old).collect();
            if !places.is_empty() {
                let before = path.metadata().unwrap();
                let (at, _) = places[random.below(places.len())];
                File::options().write(true).open(&path).unwrap().write_all_at(new, at as u64).unwrap();
                set_modified(&path, &before);
            }
        }
        _ => {
            if let Some(mailbox) = open {
                look_at_all(mailbox.as_mut(), what);
            }
        }
    }
}

#[test]
fn whatever_happens_notes_are_right() {
    let seeds: Vec<u64> = match std::env::var("AILURUS_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..12).collect(),
    };
    let mut met = Met::default();
    for seed in seeds {
        let scene = Scene::with_mailbox(KINDS[usize::try_from(seed % 3).unwrap()], 40);
        let mut random = Random::new(seed);
        let mut sessions = [None, None];
        for number in 0..80 {
            let what = format!("seed {seed}, step {number}");
            let session = random.below(2);
            happen(&scene, &mut random, &mut sessions[session], number, &what);
            if random.one_in(5) {
                quiet();
            }
            let mut mailbox =
                scene.driver().open(&at(&scene.path("box")), Access::ReadOnly, Manner::Silent).unwrap();
            let now = look_at_all(mailbox.as_mut(), &what);
            met = Met { found: met.found + now.found, missing: met.missing + now.missing };
            mailbox.close().unwrap();
        }
    }
    // They are of some use.
    assert!(met.found > met.missing / 2, "{met:?}");
}
