//! APPEND: what is given comes back.

use super::Format;
use super::content::{expected, header_of, shapes};
use super::home::{
    Home, Message, change, date, expunge, give, keyword, read, set, show, store, text, told, uids,
};
use crate::random::Random;
use ailurus_store::{Access, AppendMeta, Extent};
use ailurus_types::{FlagOp, SystemFlags, Uid, UidSet};

pub(super) fn octets_come_back_as_they_were_given(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.create();
    let shapes = shapes();
    for (_, octets) in &shapes {
        home.append(&Message::of(octets)).unwrap();
    }
    let together: Vec<_> = shapes.iter().map(|(_, octets)| Message::of(octets)).collect();
    home.append_at(&home.at_box(), &together).unwrap();
    compare(&home, &shapes);
    // The same after the mailbox was written anew.
    let mut mailbox = home.open();
    drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::ANSWERED, &["Kw"])).unwrap());
    mailbox.close().unwrap();
    compare(&home, &shapes);
}

fn compare(home: &Home, shapes: &[(&str, Vec<u8>)]) {
    let shown = home.show();
    assert_eq!(shown.len(), 2 * shapes.len());
    for (shown, (what, given)) in shown.iter().zip(shapes.iter().chain(shapes)) {
        let wanted = expected(&home.abilities(), given);
        let print = |octets: &[u8]| octets[..octets.len().min(400)].escape_ascii().to_string();
        assert!(
            shown.text == wanted,
            "UID {}, {what}: {} octets instead of {}:\n{}\n{}",
            shown.uid,
            shown.text.len(),
            wanted.len(),
            print(&shown.text),
            print(&wanted)
        );
    }
}

pub(super) fn messages_of_any_size_come_back(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.create();
    let sizes = [1, 2, 511, 512, 4093, 4094, 4095, 4096, 4097, 8192, 65_536, 300_000, 3_000_000];
    let messages: Vec<_> = sizes
        .map(|size| {
            let mut octets = b"Subject: large\r\n\r\n".to_vec();
            while octets.len() < size {
                octets.extend_from_slice(format!("line at {}, of some length\r\n", octets.len()).as_bytes());
            }
            Message::of(&octets)
        })
        .to_vec();
    home.append_at(&home.at_box(), &messages).unwrap();
    for message in &messages {
        home.append(message).unwrap();
    }
    let shown = home.show();
    assert_eq!(shown.len(), 2 * messages.len());
    for (shown, message) in shown.iter().zip(messages.iter().chain(&messages)) {
        assert!(shown.text == message.text, "{} octets", message.text.len());
    }
}

pub(super) fn internal_dates_come_back(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.create();
    let dates = [
        " 1-Feb-2025 12:34:56 +0200",
        "31-Dec-1999 23:59:59 -0800",
        " 1-Jan-1970 14:00:00 +1400",
        "29-Feb-2024 00:00:00 -1200",
        "15-Jun-2038 03:14:08 +0530",
        "31-Dec-2097 11:59:59 +0000",
    ];
    for text in dates {
        home.append(&Message { date: Some(date(text)), ..Message::number(1) }).unwrap();
    }
    home.append(&Message::number(2)).unwrap();
    for _ in 0..2 {
        let shown = home.show();
        for (shown, text) in shown.iter().zip(dates) {
            assert_eq!(shown.date.timestamp(), date(text).timestamp(), "{text}: {}", shown.date);
            if !home.abilities().utc_dates {
                assert_eq!(shown.date, date(text));
            }
        }
        let now = home.environment.clock.now();
        assert_eq!(shown.last().unwrap().date.timestamp(), now, "without a date it is now");
        let mut mailbox = home.open();
        drop(store(&mut *mailbox, &UidSet::all(), &change(FlagOp::Add, SystemFlags::SEEN, &[])).unwrap());
        mailbox.close().unwrap();
    }
}

pub(super) fn flags_and_keywords_come_with_a_message(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.fill(1);
    let mut mailbox = home.open();
    let permanent = mailbox.snapshot().permanent;
    if permanent.new_keywords {
        drop(store(&mut *mailbox, &set(&[1]), &change(FlagOp::Add, SystemFlags::NONE, &["Known"])).unwrap());
    }
    mailbox.close().unwrap();
    for (flag, _) in SystemFlags::NAMED.into_iter().chain([(SystemFlags::NONE, ""), (SystemFlags::ALL, "")]) {
        let keywords = vec![keyword("kNOWN"), keyword("New")];
        home.append(&Message { system: flag, keywords, ..Message::number(2) }).unwrap();
        let told = home.notices();
        let shown = home.show().pop().unwrap();
        for wanted in SystemFlags::NAMED
            .map(|(wanted, _)| wanted)
            .into_iter()
            .filter(|one| permanent.system.contains(*one))
        {
            assert_eq!(shown.system.contains(wanted), flag.contains(wanted), "{wanted:?} of {flag:?}");
        }
        let has = |name: &str| shown.keywords.iter().any(|keyword| keyword == name);
        assert_eq!(has("Known"), permanent.new_keywords);
        // One that the mailbox does not have is made, or its loss is told.
        assert!(has("New") || told.contains(&"Unknown flag: New".to_owned()), "{told:?}");
    }
    if permanent.new_keywords {
        assert_eq!(home.show()[0].keywords, ["Known"]);
    }
}

pub(super) fn appended_uids_are_told_and_ascend(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.create();
    let (mut last, mut validities) = (0, Vec::new());
    for number in 1..=12 {
        let next = home.driver().status(&home.at_box()).unwrap().uid_next.unwrap();
        let (validity, uid) = told(home.append(&Message::number(number)).unwrap());
        assert!(uid.get() > last && uid >= next, "{uid} after {last}, {next} was announced");
        last = uid.get();
        validities.push(validity);
        if number % 4 == 0 {
            let mut mailbox = home.open();
            let shown = show(&mut *mailbox).pop().unwrap();
            assert_eq!((shown.uid, shown.text), (uid, text(number)));
            validities.push(mailbox.snapshot().uid_validity);
            assert_eq!(mailbox.snapshot().uid_next, uid.next());
            drop(expunge(&mut *mailbox, &set(&[1, last - 1])).unwrap());
            mailbox.close().unwrap();
        }
    }
    if home.abilities().sticky_uids {
        assert!(validities.iter().all(|validity| *validity == validities[0]), "{validities:?}");
    }
}

pub(super) fn several_messages_arrive_as_one(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.fill(2);
    let messages: Vec<_> =
        (3..=40).map(|number| Message { system: SystemFlags::FLAGGED, ..Message::number(number) }).collect();
    let mut session = home.open();
    let at = home.at_box();
    let mut append = home.driver().append(&at).unwrap();
    for message in &messages {
        give(&mut *append, message).unwrap();
        assert!(session.refresh().unwrap().is_empty(), "nothing is there before the commit");
    }
    let appended = append.commit().unwrap();
    assert!(session.refresh().unwrap().arrived);
    let shown = show(&mut *session);
    assert_eq!(
        shown.iter().map(|shown| shown.text.clone()).collect::<Vec<_>>(),
        (1..=40).map(text).collect::<Vec<_>>()
    );
    if let Some((validity, told)) = appended.uids {
        assert_eq!(validity, session.snapshot().uid_validity);
        assert_eq!(told, shown[2..].iter().map(|shown| shown.uid).collect::<Vec<_>>());
    }
    session.close().unwrap();
    // None at all is fine, and is nothing.
    let files = home.files();
    home.append_at(&at, &[]).unwrap();
    assert!(home.files() == files);
}

pub(super) fn a_copy_keeps_all_but_the_uid(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only || !home.has_names() {
        return;
    }
    home.create();
    for (number, (flag, _)) in (1..).zip(SystemFlags::NAMED) {
        let date = Some(date(&format!("{number:2}-Feb-2020 12:34:56 -0330")));
        home.append(&Message { system: flag, date, ..Message::number(number) }).unwrap();
    }
    let shapes: Vec<_> = shapes().iter().map(|(_, octets)| Message::of(octets)).collect();
    home.append_at(&home.at_box(), &shapes).unwrap();
    let mut source = home.open();
    let new_keywords = source.snapshot().permanent.new_keywords;
    for (uid, name) in [(2, "One"), (4, "Two"), (5, "One"), (5, "Three")] {
        let by = change(FlagOp::Add, SystemFlags::NONE, &[name]);
        drop(store(&mut *source, &set(&[uid]), &by).unwrap());
    }
    let before = show(&mut *source);
    let to = home.at_name("other");
    home.driver().create(&to).unwrap();
    home.append_at(&to, &[Message::number(9)]).unwrap();
    if new_keywords {
        // In another slot than in the source.
        let mut target = home.open_at(&to, Access::ReadWrite).unwrap();
        let by = change(FlagOp::Add, SystemFlags::NONE, &["Other", "Three", "Two"]);
        drop(store(&mut *target, &set(&[1]), &by).unwrap());
        target.close().unwrap();
    }
    let all = uids(&*source);
    let (_, uids) = home.copy(&mut *source, &all, &to).unwrap().uids.expect("nobody else has it");
    let told = home.notices();
    assert_eq!(show(&mut *source), before, "the source stays as it is");
    let mut target = home.open_at(&to, Access::ReadWrite).unwrap();
    let copied = show(&mut *target).split_off(1);
    assert_eq!(copied.iter().map(|shown| shown.uid).collect::<Vec<_>>(), uids);
    for (copied, original) in copied.iter().zip(&before) {
        let uid = original.uid;
        assert_eq!((copied.system, copied.date), (original.system, original.date), "copy of UID {uid}");
        assert!(copied.text == original.text, "copy of UID {uid}: {copied:?}");
        // A keyword that the other mailbox does not have is made there, or its loss is told.
        let lost = original.keywords.iter().find(|name| !copied.keywords.contains(name));
        assert!(
            lost.is_none_or(|lost| lost == "One" && told.contains(&format!("Unknown flag: {lost}"))),
            "{lost:?}"
        );
        assert!(copied.keywords.iter().all(|name| original.keywords.contains(name)));
    }
}

pub(super) fn an_append_without_commit_leaves_nothing(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        let at = home.at_box();
        assert!(home.driver().append(&at).is_err());
        return;
    }
    home.fill(2);
    let (files, at) = (home.files(), home.at_box());
    let mut append = home.driver().append(&at).unwrap();
    give(&mut *append, &Message::number(3)).unwrap();
    drop(append);
    let mut append = home.driver().append(&at).unwrap();
    give(&mut *append, &Message::number(3)).unwrap();
    append.begin(AppendMeta { size: 1 << 20, ..AppendMeta::default() }).unwrap();
    append.write(&[b'x'; 300_000]).unwrap();
    drop(append);
    drop(home.driver().append(&at).unwrap());
    assert!(home.files() == files);
    let (_, uid) = told(home.append(&Message::number(3)).unwrap());
    assert_eq!(uid.get(), 3);
}

pub(super) fn wrong_sizes_are_refused(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        return;
    }
    home.fill(1);
    let (files, at) = (home.files(), home.at_box());
    let begin = |size| {
        let mut append = home.driver().append(&at).unwrap();
        let begun = append.begin(AppendMeta { size, ..AppendMeta::default() });
        begun.map(|()| append)
    };
    assert!(begin(0).is_err(), "no octets");
    let mut short = begin(3).unwrap();
    short.write(b"ab").unwrap();
    assert!(short.end().is_err());
    assert!(short.commit().is_err());
    let mut long = begin(3).unwrap();
    assert!(long.write(b"abc").and_then(|()| long.write(b"d")).and_then(|()| long.end()).is_err());
    assert!(long.commit().is_err());
    let mut unended = begin(3).unwrap();
    unended.write(b"abc").unwrap();
    assert!(unended.commit().is_err());
    let mut nested = begin(3).unwrap();
    assert!(nested.begin(AppendMeta { size: 3, ..AppendMeta::default() }).is_err());
    drop(nested);
    let mut without = home.driver().append(&at).unwrap();
    assert!(without.write(b"abc").is_err() && without.end().is_err());
    drop(without);
    // One bad message keeps the good ones out.
    let mut append = home.driver().append(&at).unwrap();
    give(&mut *append, &Message::number(2)).unwrap();
    append.begin(AppendMeta { size: 5, ..AppendMeta::default() }).unwrap();
    assert!(append.end().is_err());
    assert!(append.commit().is_err());
    assert!(home.files() == files);
}

pub(super) fn reads_in_pieces_agree(format: &'static Format) {
    let home = Home::new(format);
    if home.abilities().read_only {
        home.fill(5);
    } else {
        home.create();
        let messages: Vec<_> = shapes().iter().map(|(_, octets)| Message::of(octets)).collect();
        home.append_at(&home.at_box(), &messages).unwrap();
    }
    let mut mailbox = home.open();
    let mut random = Random::new(7);
    for number in uids(&*mailbox) {
        let uid = Uid::new(number).unwrap();
        let whole = read(&mut *mailbox, uid, Extent::Whole, 1 << 20).unwrap();
        let (header, _) = header_of(&whole);
        for (extent, wanted) in [
            (Extent::Whole, &whole[..]),
            (Extent::Header, &whole[..header]),
            (Extent::Text, &whole[header..]),
        ] {
            for piece in [1, 7, 1 << 16] {
                let few = &wanted[..wanted.len().min(piece * 2000)];
                let mut all = Vec::new();
                while all.len() < few.len() {
                    let from = all.len() as u64;
                    let count = mailbox.read(uid, extent, from, piece, &mut all).unwrap();
                    assert!((1..=piece).contains(&count));
                }
                assert!(all[..few.len()] == *few, "UID {uid}, {extent:?} by {piece}");
            }
            for _ in 0..20 {
                let from = random.below(wanted.len() + 3);
                let most = 1 + random.below(9000);
                let mut out = b"before".to_vec();
                let count = mailbox.read(uid, extent, from as u64, most, &mut out).unwrap();
                assert_eq!(out.len(), 6 + count);
                let rest = wanted.get(from..).unwrap_or_default();
                assert!(out[6..] == rest[..count] && count <= most && (count > 0 || rest.is_empty()));
            }
            let mut out = Vec::new();
            assert_eq!(mailbox.read(uid, extent, u64::MAX, 10, &mut out).unwrap(), 0);
            assert_eq!(mailbox.read(uid, extent, 0, 0, &mut out).unwrap(), 0);
        }
    }
}
