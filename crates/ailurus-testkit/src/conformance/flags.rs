//! STORE: flags and keywords, and who sees them.

use super::Format;
use super::home::{Home, Message, Shown, change, keyword, recent, set, show, store, text};
use ailurus_store::{Access, Changes, Error, Mailbox, Manner};
use ailurus_types::{FlagOp, Keyword, SystemFlags, UidSet};
use std::os::unix::fs::MetadataExt;

pub(super) fn every_flag_is_stored_and_stays(format: &'static Format) {
    let home = Home::filled(format, 3);
    let mut expected = SystemFlags::NONE;
    let steps = SystemFlags::NAMED.into_iter().map(|(flag, _)| (FlagOp::Add, flag));
    let steps = steps.chain(SystemFlags::NAMED.into_iter().rev().map(|(flag, _)| (FlagOp::Remove, flag)));
    let last =
        [(FlagOp::Replace, SystemFlags::ALL), (FlagOp::Replace, SystemFlags::FLAGGED | SystemFlags::SEEN)];
    for (op, flag) in steps.chain(last) {
        let mut mailbox = home.open();
        let permanent = mailbox.snapshot().permanent.system;
        let flag = both(flag, permanent);
        let changes = store(&mut *mailbox, &set(&[2]), &change(op, flag, &[])).unwrap();
        let before = expected;
        expected = match op {
            FlagOp::Add => expected | flag,
            FlagOp::Remove => expected.without(flag),
            FlagOp::Replace => flag,
        };
        assert_eq!(changes.flags, if before == expected { UidSet::new() } else { set(&[2]) });
        assert_eq!(system(&show(&mut *mailbox)), [SystemFlags::NONE, expected, SystemFlags::NONE]);
        mailbox.close().unwrap();
        assert_eq!(system(&home.show()), [SystemFlags::NONE, expected, SystemFlags::NONE], "{op:?} {flag:?}");
    }
    assert_eq!(
        home.show().into_iter().map(|shown| shown.text).collect::<Vec<_>>(),
        [text(1), text(2), text(3)]
    );
}

fn both(one: SystemFlags, other: SystemFlags) -> SystemFlags {
    one.without(SystemFlags::ALL.without(other))
}

fn system(shown: &[Shown]) -> Vec<SystemFlags> {
    shown.iter().map(|shown| shown.system).collect()
}

pub(super) fn a_change_that_changes_nothing_is_none(format: &'static Format) {
    let home = Home::filled(format, 2);
    let mut mailbox = home.open();
    let permanent = mailbox.snapshot().permanent.system;
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, permanent, &[])).unwrap());
    for (op, flags, uids) in [
        (FlagOp::Add, permanent, UidSet::all()),
        (FlagOp::Replace, permanent, UidSet::all()),
        (FlagOp::Add, SystemFlags::NONE, UidSet::all()),
        (FlagOp::Remove, SystemFlags::NONE, UidSet::all()),
        (FlagOp::Replace, SystemFlags::NONE, UidSet::new()),
        (FlagOp::Replace, SystemFlags::NONE, set(&[3, 999, u32::MAX])),
    ] {
        let changes = store(&mut *mailbox, &uids, &change(op, flags, &[])).unwrap();
        assert!(changes.is_empty(), "{op:?} {uids}: {changes:?}");
    }
    // Neither do two changes that undo each other.
    let mut edit = mailbox.edit().unwrap();
    edit.store(&UidSet::all(), &change(FlagOp::Replace, SystemFlags::NONE, &[])).unwrap();
    edit.store(&UidSet::all(), &change(FlagOp::Replace, permanent, &[])).unwrap();
    assert!(edit.commit().unwrap().is_empty());
    assert_eq!(system(&show(&mut *mailbox)), [permanent, permanent]);
}

pub(super) fn an_edit_that_is_dropped_changes_nothing(format: &'static Format) {
    let home = Home::filled(format, 3);
    drop(home.show());
    let (mut mailbox, mut other) = (home.open(), home.open());
    drop(other.refresh().unwrap());
    let (files, before) = (home.files(), show(&mut *mailbox));
    let permanent = mailbox.snapshot().permanent;
    let mut edit = mailbox.edit().unwrap();
    edit.store(&UidSet::all(), &change(FlagOp::Replace, permanent.system, &["New"])).unwrap();
    let seen: Vec<_> = edit.snapshot().messages.iter().map(|message| message.flags().system).collect();
    assert_eq!(seen, [permanent.system; 3], "an edit shows what it did so far");
    assert_eq!(edit.snapshot().keywords.find("New").is_some(), permanent.new_keywords);
    if !home.abilities().read_only {
        edit.expunge(&set(&[1, 3])).unwrap();
    }
    drop(edit);
    assert_eq!(show(&mut *mailbox), before);
    assert!(mailbox.snapshot().keywords.is_empty());
    assert!(mailbox.refresh().unwrap().is_empty());
    assert!(mailbox.checkpoint().unwrap().is_empty());
    assert!(other.refresh().unwrap().is_empty());
    assert!(home.files() == files);
    if !home.abilities().read_only {
        // What others did was found all the same, and is told at the next occasion.
        home.append(&Message::number(4)).unwrap();
        drop(mailbox.edit().unwrap());
        assert!(mailbox.refresh().unwrap().arrived);
    }
    mailbox.close().unwrap();
    other.close().unwrap();
    assert_eq!(home.show()[..3], before);
}

/// Another session sees a change when it is refreshed, however soon the next change follows.
pub(super) fn a_store_is_seen_by_other_sessions(format: &'static Format) {
    let home = Home::filled(format, 3);
    let mut writer = home.open();
    let mut others = [home.open(), home.open_at(&home.at_box(), Access::ReadOnly).unwrap()];
    let flag = both(SystemFlags::SEEN | SystemFlags::DELETED, writer.snapshot().permanent.system);
    for round in 0..40 {
        let op = if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
        drop(store(&mut *writer, &set(&[2]), &change(op, flag, &[])).unwrap());
        for other in &mut others {
            let changes = other.refresh().unwrap();
            assert_eq!(changes, Changes { flags: set(&[2]), ..Changes::default() }, "round {round}");
            assert_eq!(show(&mut **other), show(&mut *writer), "round {round}");
            assert!(other.refresh().unwrap().is_empty(), "it is told once");
        }
    }
}

/// Where sessions write at once, none undoes what another did; elsewhere the second may only read.
pub(super) fn sessions_change_different_flags_of_one_message(format: &'static Format) {
    let home = Home::filled(format, 2);
    let (mut one, mut two) = (home.open(), home.open());
    assert!(one.snapshot().writable);
    if !home.abilities().shared_access {
        assert!(!two.snapshot().writable && two.snapshot().permanent == Default::default());
        assert!(matches!(two.edit().err(), Some(Error::ReadOnly { .. })));
        // Whoever comes when the first is gone may write.
        one.close().unwrap();
        assert!(home.open().snapshot().writable);
        return;
    }
    let steps: [(usize, SystemFlags, &[&str]); 6] = [
        (0, SystemFlags::FLAGGED, &[]),
        (1, SystemFlags::DRAFT, &[]),
        (0, SystemFlags::SEEN, &["One"]),
        (1, SystemFlags::DELETED, &["Two", "Three"]),
        (1, SystemFlags::ANSWERED, &["one"]),
        (0, SystemFlags::NONE, &["Four", "two"]),
    ];
    let permanent = one.snapshot().permanent;
    let (mut system, mut keywords) = (SystemFlags::NONE, Vec::new());
    for (who, flags, names) in steps {
        let mailbox = if who == 0 { &mut one } else { &mut two };
        // Without a refresh: the edit itself looks.
        let changes = store(&mut **mailbox, &set(&[1]), &change(FlagOp::Add, flags, names)).unwrap();
        assert_eq!(changes.flags, set(&[1]));
        system = both(system | flags, permanent.system);
        let new = names.iter().map(|name| keyword(name)).filter(|_| permanent.new_keywords);
        let new: Vec<Keyword> = new.filter(|name| !keywords.contains(name)).collect();
        keywords.extend(new);
        let shown = &show(&mut **mailbox)[0];
        let mut names: Vec<_> = keywords.iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!((shown.system, &shown.keywords), (system, &names));
    }
    drop(two.refresh().unwrap());
    assert_eq!(show(&mut *one), show(&mut *two));
    assert_eq!(one.snapshot().keywords, two.snapshot().keywords);
}

pub(super) fn keywords_of_one_session_are_seen_by_others(format: &'static Format) {
    let home = Home::filled(format, 2);
    let (mut one, mut two) = (home.open(), home.open());
    if !one.snapshot().permanent.new_keywords {
        return;
    }
    drop(
        store(&mut *one, &set(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &["Work", "$Forwarded"]))
            .unwrap(),
    );
    let changes = two.refresh().unwrap();
    assert_eq!(changes, Changes { flags: set(&[1]), keywords: true, ..Changes::default() });
    assert_eq!(show(&mut *two)[0].keywords, ["$Forwarded", "Work"]);
    assert_eq!(two.snapshot().keywords, one.snapshot().keywords);
    // One name, whatever its letters' case; it stays as it was made.
    let changes =
        store(&mut *one, &set(&[1, 2]), &change(FlagOp::Add, SystemFlags::NONE, &["wORK"])).unwrap();
    assert_eq!(changes, Changes { flags: set(&[2]), ..Changes::default() });
    drop(
        store(&mut *one, &set(&[1]), &change(FlagOp::Remove, SystemFlags::NONE, &["WORK", "never"])).unwrap(),
    );
    assert_eq!(two.refresh().unwrap().flags, set(&[1, 2]));
    for mailbox in [&mut one, &mut two] {
        let shown = show(&mut **mailbox);
        assert_eq!(
            (&shown[0].keywords[..], &shown[1].keywords[..]),
            (&["$Forwarded".into()][..], &["Work".into()][..])
        );
        assert_eq!(mailbox.snapshot().keywords.len(), 2, "the one that was to be removed is not made");
    }
    // A change of other flags leaves keywords alone; replacing all does not.
    drop(store(&mut *one, &set(&[1]), &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap());
    drop(store(&mut *one, &set(&[2]), &change(FlagOp::Replace, SystemFlags::SEEN, &[])).unwrap());
    one.close().unwrap();
    two.close().unwrap();
    let shown = home.show();
    assert_eq!((&shown[0].keywords[..], &shown[1].keywords[..]), (&["$Forwarded".into()][..], &[][..]));
}

pub(super) fn a_keyword_too_many_is_refused(format: &'static Format) {
    let home = Home::filled(format, 2);
    let most = home.abilities().keywords;
    let mut mailbox = home.open();
    let names: Vec<_> = (0..most + 2).map(|number| format!("kw{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let by = change(FlagOp::Add, SystemFlags::FLAGGED, &names);
    let mut edit = mailbox.edit().unwrap();
    let refused = edit.store(&set(&[1]), &by).unwrap();
    let refused: Vec<_> = refused.iter().map(Keyword::as_str).collect();
    drop(edit.commit().unwrap());
    if mailbox.snapshot().permanent.keywords {
        assert_eq!(refused, names[most..]);
    } else {
        // There are only those that the mailbox is made with.
        assert_eq!(refused, names);
    }
    assert!(!mailbox.snapshot().permanent.new_keywords);
    mailbox.close().unwrap();
    if home.abilities().read_only {
        return;
    }
    let appended = Message { keywords: vec![keyword("kw0"), keyword("TooMany")], ..Message::number(3) };
    home.append(&appended).unwrap();
    assert!(home.notices().contains(&"Unknown flag: TooMany".to_owned()));
    let mut mailbox = home.open();
    let shown = show(&mut *mailbox);
    let mut wanted: Vec<_> = names[..most].iter().map(ToString::to_string).collect();
    wanted.sort();
    assert_eq!(shown[0].keywords, wanted);
    assert_eq!(shown[1].keywords, Vec::<String>::new());
    assert_eq!(shown[2].keywords, wanted.get(..1).unwrap_or_default());
    assert!(!mailbox.snapshot().permanent.new_keywords && mailbox.snapshot().keywords.len() == most);
    // The longest name there can be.
    let long = "k".repeat(Keyword::MAX_LEN);
    let mut edit = mailbox.edit().unwrap();
    assert_eq!(edit.store(&set(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &[&long])).unwrap().len(), 1);
}

pub(super) fn keywords_of_any_letters_stay(format: &'static Format) {
    let home = Home::filled(format, 1);
    let mut mailbox = home.open();
    if !mailbox.snapshot().permanent.new_keywords {
        return;
    }
    let long = "k".repeat(Keyword::MAX_LEN);
    let names = [&long, "!#$&'+,-./:;<=>?@[^_`|}~", "Status:", "0", ":", "X-UID:"];
    drop(store(&mut *mailbox, &set(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &names)).unwrap());
    mailbox.close().unwrap();
    let mut wanted = names.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(home.show()[0].keywords, wanted);
    assert_eq!(home.show()[0].text, text(1));
}

pub(super) fn who_only_reads_changes_nothing(format: &'static Format) {
    let home = Home::filled(format, 3);
    let files = home.files();
    let times = |home: &Home| -> Vec<_> {
        home.files()
            .iter()
            .map(|(path, _)| path.metadata().unwrap())
            .map(|found| (found.mtime(), found.mtime_nsec()))
            .collect()
    };
    let before = times(&home);
    for manner in [Manner::Session, Manner::Silent] {
        let mut mailbox = home.driver().open(&home.at_box(), Access::ReadOnly, manner).unwrap();
        assert!(!mailbox.snapshot().writable && mailbox.snapshot().permanent == Default::default());
        assert!(matches!(mailbox.edit().err(), Some(Error::ReadOnly { .. })));
        assert_eq!(show(&mut *mailbox).len(), 3);
        assert!(mailbox.refresh().unwrap().is_empty());
        assert!(mailbox.checkpoint().unwrap().is_empty());
        assert!(!mailbox.is_dirty());
        mailbox.close().unwrap();
        let status = home.driver().status(&home.at_box()).unwrap();
        assert_eq!((status.messages, status.unseen), (3, 3));
        assert!(home.files() == files);
        assert_eq!(home.notices(), Vec::<String>::new());
    }
    assert_eq!(times(&home), before);
}

/// A session that asks for nothing but what it needs makes no noise.
pub(super) fn a_silent_session_is_silent(format: &'static Format) {
    let home = Home::filled(format, 2);
    let mut mailbox = home.driver().open(&home.at_box(), Access::ReadWrite, Manner::Silent).unwrap();
    let flag = both(SystemFlags::FLAGGED, mailbox.snapshot().permanent.system);
    drop(store(&mut *mailbox, &set(&[1]), &change(FlagOp::Add, flag, &["Kept"])).unwrap());
    mailbox.close().unwrap();
    assert_eq!(home.notices(), Vec::<String>::new());
    assert_eq!(system(&home.show()), [flag, SystemFlags::NONE]);
}

/// Of the sessions that may write, one is told of a message as \Recent, and no later one.
pub(super) fn recent_is_given_to_one_session(format: &'static Format) {
    let home = Home::filled(format, 2);
    if home.abilities().read_only || home.abilities().forgets_recent {
        return;
    }
    let status = || home.driver().status(&home.at_box()).unwrap().recent;
    assert_eq!(status(), 2);
    // Who only reads, and STATUS, take nothing away.
    home.open_at(&home.at_box(), Access::ReadOnly).unwrap().close().unwrap();
    assert_eq!(status(), 2);
    let (mut one, mut two) = (home.open(), home.open());
    let given = |one: &dyn Mailbox, two: &dyn Mailbox, uids: &[u32]| {
        assert_eq!(recent(one), uids);
        if two.snapshot().writable {
            assert_eq!(recent(two), [0; 0]);
        }
    };
    given(&*one, &*two, &[1, 2]);
    home.append(&Message::number(3)).unwrap();
    drop(one.refresh().unwrap());
    drop(two.refresh().unwrap());
    given(&*one, &*two, &[1, 2, 3]);
    home.append(&Message::number(4)).unwrap();
    if two.snapshot().writable {
        drop(two.refresh().unwrap());
        assert_eq!(recent(&*two), [4]);
    }
    drop(one.refresh().unwrap());
    // What a session was told stays so while it lasts.
    drop(store(&mut *one, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap());
    assert_eq!(recent(&*one)[..3], [1, 2, 3]);
    assert_eq!(
        recent(&*one).len()
            + recent(&*two).iter().filter(|uid| **uid == 4 && two.snapshot().writable).count(),
        4
    );
    one.close().unwrap();
    two.close().unwrap();
    assert_eq!(status(), 0);
    let later = home.open();
    assert_eq!(recent(&*later), [0; 0]);
}
