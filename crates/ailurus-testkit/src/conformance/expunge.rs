//! EXPUNGE, and that a UID is one message's for ever.

use super::Format;
use super::home::{Home, Message, Shown, change, expunge, keyword, read, set, show, store, text, told, uids};
use ailurus_store::{Changes, Error, Extent};
use ailurus_types::{FlagOp, SystemFlags, Uid, UidSet};

/// A mailbox whose messages differ in flags, keywords and dates; `None` where nothing is expunged.
fn varied(format: &'static Format, count: usize) -> Option<Home> {
    let home = Home::filled(format, count);
    if home.abilities().read_only {
        return None;
    }
    let mut mailbox = home.open();
    let names = ["One", "Two", "Three"];
    for number in 1..=u32::try_from(count).unwrap() {
        let (flag, _) = SystemFlags::NAMED[number as usize % 5];
        let by = change(FlagOp::Add, flag, &[names[number as usize % 3]]);
        drop(store(&mut *mailbox, &set(&[number]), &by).unwrap());
    }
    mailbox.close().unwrap();
    Some(home)
}

fn without(shown: &[Shown], gone: &[u32]) -> Vec<Shown> {
    shown.iter().filter(|shown| !gone.contains(&shown.uid.get())).cloned().collect()
}

pub(super) fn expunged_messages_are_gone_and_others_stay(format: &'static Format) {
    for gone in [&[1][..], &[7], &[4], &[1, 7], &[2, 3, 4], &[1, 2, 3, 4, 5, 6], &[1, 3, 5, 7]] {
        let Some(home) = varied(format, 7) else { return };
        let mut wanted = home.show();
        wanted = without(&wanted, gone);
        let mut mailbox = home.open();
        let before = (mailbox.snapshot().uid_validity, mailbox.snapshot().uid_next);
        let changes = expunge(&mut *mailbox, &set(gone)).unwrap();
        assert_eq!(changes, Changes { expunged: set(gone), ..Changes::default() });
        assert_eq!(show(&mut *mailbox), wanted);
        for uid in gone {
            let uid = Uid::new(*uid).unwrap();
            let found = read(&mut *mailbox, uid, Extent::Whole, 100);
            assert!(matches!(found, Err(Error::Expunged { .. })), "{found:?}");
        }
        assert!(mailbox.refresh().unwrap().is_empty());
        mailbox.close().unwrap();
        assert_eq!(home.show(), wanted);
        let mailbox = home.open();
        assert_eq!((mailbox.snapshot().uid_validity, mailbox.snapshot().uid_next), before);
    }
}

pub(super) fn expunging_nothing_is_nothing(format: &'static Format) {
    let Some(home) = varied(format, 3) else { return };
    let files = home.files();
    let mut mailbox = home.open();
    for gone in [UidSet::new(), set(&[4, 999, u32::MAX])] {
        assert!(expunge(&mut *mailbox, &gone).unwrap().is_empty());
    }
    assert!(mailbox.edit().unwrap().commit().unwrap().is_empty());
    mailbox.close().unwrap();
    assert!(home.files() == files);
}

pub(super) fn one_edit_stores_and_expunges(format: &'static Format) {
    let Some(home) = varied(format, 4) else { return };
    let mut wanted = without(&home.show(), &[2]);
    let mut mailbox = home.open();
    let new_keywords = mailbox.snapshot().permanent.new_keywords;
    let mut edit = mailbox.edit().unwrap();
    edit.expunge(&set(&[2])).unwrap();
    edit.store(&set(&[2, 3]), &change(FlagOp::Replace, SystemFlags::DRAFT, &["New"])).unwrap();
    let changes = edit.commit().unwrap();
    assert_eq!(
        changes,
        Changes { expunged: set(&[2]), flags: set(&[3]), keywords: new_keywords, ..Changes::default() }
    );
    drop(mailbox.checkpoint().unwrap());
    wanted[1].system = SystemFlags::DRAFT;
    wanted[1].keywords = if new_keywords { vec!["New".into()] } else { Vec::new() };
    assert_eq!(show(&mut *mailbox), wanted);
    mailbox.close().unwrap();
    assert_eq!(home.show(), wanted);
}

/// Until it is told, another session reads a message that is gone as it was, or learns that it is gone.
pub(super) fn an_expunge_beside_another_session_shows_it_no_other_message(format: &'static Format) {
    let Some(home) = varied(format, 9) else { return };
    let (mut one, mut two) = (home.open(), home.open());
    let before = show(&mut *two);
    // It is in the middle of a message that moves, and of one that goes.
    let start = |mailbox: &mut dyn ailurus_store::Mailbox, number: u32, out: &mut Vec<u8>| {
        mailbox.read(Uid::new(number).unwrap(), Extent::Whole, 0, 50, out).unwrap()
    };
    for (gone, begun) in [(&[2, 5][..], 6), (&[6], 6), (&[1, 3, 4], 7), (&[9], 8)] {
        let (files, untold) = (home.files(), show(&mut *two));
        let mut out = Vec::new();
        start(&mut *two, begun, &mut out);
        if let Err(error) = expunge(&mut *one, &set(gone)) {
            assert!(!home.abilities().shared_expunge && matches!(error, Error::InUse { .. }), "{error}");
            assert!(home.files() == files);
            assert!(two.refresh().unwrap().is_empty());
            continue;
        }
        // The rest of what was begun.
        let whole = text(begun as usize);
        loop {
            let uid = Uid::new(begun).unwrap();
            match two.read(uid, Extent::Whole, out.len() as u64, 1000, &mut out) {
                Ok(0) => break assert!(out == whole),
                Ok(_) => assert!(whole.starts_with(&out)),
                Err(Error::Expunged { .. }) => break assert!(gone.contains(&begun)),
                Err(error) => panic!("{error}"),
            }
        }
        for shown in &untold {
            match read(&mut *two, shown.uid, Extent::Whole, 1000) {
                Ok(text) => assert!(text == shown.text, "UID {}", shown.uid),
                Err(Error::Expunged { .. }) => assert!(gone.contains(&shown.uid.get())),
                Err(error) => panic!("{error}"),
            }
        }
        let changes = two.refresh().unwrap();
        assert_eq!(changes, Changes { expunged: set(gone), ..Changes::default() });
        assert_eq!(show(&mut *two), without(&untold, gone));
        assert_eq!(show(&mut *one), show(&mut *two));
    }
    two.close().unwrap();
    drop(one.refresh().unwrap());
    drop(expunge(&mut *one, &set(&[7])).unwrap());
    one.close().unwrap();
    let left = home.show();
    assert!(left.iter().all(|shown| before.contains(shown)) && left.iter().all(|shown| shown.uid.get() != 7));
}

pub(super) fn an_emptied_mailbox_keeps_its_state(format: &'static Format) {
    let Some(home) = varied(format, 3) else { return };
    let mut mailbox = home.open();
    let before = mailbox.snapshot().clone();
    assert_eq!(expunge(&mut *mailbox, &UidSet::all()).unwrap().expunged, set(&[1, 2, 3]));
    assert!(show(&mut *mailbox).is_empty());
    mailbox.close().unwrap();
    home.pass(100);
    let mailbox = home.open();
    let after = mailbox.snapshot();
    assert!(after.messages.is_empty());
    assert_eq!(after.keywords, before.keywords);
    if home.abilities().sticky_uids {
        assert_eq!((after.uid_validity, after.uid_next), (before.uid_validity, before.uid_next));
    }
    mailbox.close().unwrap();
    let appended = Message { keywords: vec![keyword("Two")], ..Message::number(9) };
    home.append(&appended).unwrap();
    let shown = home.show();
    assert_eq!((shown.len(), &shown[0].text), (1, &text(9)));
    assert_eq!(shown[0].keywords.len(), usize::from(before.permanent.keywords));
}

pub(super) fn uids_stay_over_sessions(format: &'static Format) {
    let home = Home::filled(format, 5);
    let first = home.show();
    let validity = home.open().snapshot().uid_validity;
    if !home.abilities().sticky_uids {
        return;
    }
    for _ in 0..3 {
        home.pass(1000);
        let mut mailbox = home.open();
        assert_eq!(mailbox.snapshot().uid_validity, validity);
        assert_eq!(show(&mut *mailbox), first);
        assert!(mailbox.snapshot().sticky_uids);
        mailbox.close().unwrap();
        let mailbox = home.open_at(&home.at_box(), ailurus_store::Access::ReadOnly).unwrap();
        assert_eq!((mailbox.snapshot().uid_validity, uids(&*mailbox)), (validity, vec![1, 2, 3, 4, 5]));
    }
}

pub(super) fn uids_are_never_reused(format: &'static Format) {
    let Some(home) = varied(format, 4) else { return };
    if !home.abilities().sticky_uids {
        return;
    }
    let (mut used, mut number) = (4, 4);
    // Of the messages that are left, how many go; with what happens in between.
    for (round, (last, reopen)) in
        [(1, true), (1, false), (99, true), (99, false), (2, true), (99, true)].into_iter().enumerate()
    {
        let mut mailbox = home.open();
        let all = uids(&*mailbox);
        let gone: Vec<_> = all.iter().rev().take(last).copied().collect();
        drop(expunge(&mut *mailbox, &set(&gone)).unwrap());
        if reopen {
            mailbox.close().unwrap();
            home.pass(5);
            mailbox = home.open();
        }
        let announced = mailbox.snapshot().uid_next.unwrap();
        assert!(announced.get() > used, "round {round}: {announced} was a message's");
        // While a session has it and after.
        for keeps_session in [true, false] {
            number += 1;
            let appended = home.append(&Message::number(number)).unwrap();
            if keeps_session {
                assert!(mailbox.refresh().unwrap().arrived);
            } else {
                drop(mailbox.refresh().unwrap());
            }
            let uid = mailbox.snapshot().largest_uid().unwrap();
            assert!(uid.get() > used && uid >= announced, "round {round}: UID {uid} again");
            if let Some((_, told)) = appended.uids {
                assert_eq!(told, [uid]);
            }
            assert_eq!(show(&mut *mailbox).pop().unwrap().text, text(number));
            used = uid.get();
        }
        mailbox.close().unwrap();
        number += 1;
        let next = home.driver().status(&home.at_box()).unwrap().uid_next.unwrap();
        let (_, uid) = told(home.append(&Message::number(number)).unwrap());
        assert!(uid.get() > used && uid >= next, "round {round}: UID {uid} again");
        used = uid.get();
    }
}

pub(super) fn a_mailbox_made_anew_has_another_uid_validity(format: &'static Format) {
    let home = Home::new(format);
    if !home.abilities().creatable || !home.has_names() {
        return;
    }
    let mut validities = Vec::new();
    for round in 0..3 {
        home.fill(2);
        validities.push(home.open().snapshot().uid_validity);
        match round {
            0 => home.driver().delete(&home.at_box()).unwrap(),
            _ => home.driver().rename(&home.at_box(), &home.at_name(&format!("old{round}"))).unwrap(),
        }
        home.pass(1);
    }
    assert!(validities.is_sorted_by(|one, other| one < other), "{validities:?}");
}
