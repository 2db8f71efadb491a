//! Random operations of several sessions, and a model of what the mailbox holds.
//!
//! After a session has looked, it shows exactly the model; before, it reads messages as they were, or learns that they
//! are gone. A failure tells the seed; `AILURUS_SEED` plays it again.

use super::Format;
use super::home::{Home, Message, Shown, change, expunge, read, set, show, store};
use crate::random::Random;
use ailurus_store::{Access, Error, Extent, Mailbox};
use ailurus_types::{FlagOp, SystemFlags, Uid};

pub(super) fn sessions_agree_with_a_model(format: &'static Format) {
    let (seeds, steps) = if super::long() { (300, 200) } else { (6, 60) };
    for seed in super::seeds(seeds) {
        let home = Home::new(format);
        if home.abilities().read_only {
            return;
        }
        home.create();
        let random = Random::new(seed);
        let mut play = Play { home, random, sessions: Vec::new(), model: Vec::new(), number: 0, largest: 0 };
        super::telling(&format!("AILURUS_SEED={seed}"), || (0..steps).for_each(|_| play.step()));
        play.sessions.into_iter().for_each(|mailbox| mailbox.close().unwrap());
    }
}

struct Play {
    home: Home,
    random: Random,
    /// The first one may write; the others too, where several may.
    sessions: Vec<Box<dyn Mailbox>>,
    /// A UID is known once it was told.
    model: Vec<(Option<Uid>, Shown)>,
    number: usize,
    largest: u32,
}

const KEYWORDS: [&str; 4] = ["Work", "$Forwarded", "later", "NonJunk"];

impl Play {
    fn step(&mut self) {
        match self.random.below(12) {
            0..=2 => self.append(),
            3..=5 => self.store(),
            6 | 7 => self.expunge(),
            8 => self.open(),
            9 => self.close(),
            _ => {}
        }
        self.read_something();
        if let Some(at) = self.pick() {
            drop(self.sessions[at].refresh().unwrap());
            self.verify(at);
        }
        let status = self.home.driver().status(&self.home.at_box()).unwrap();
        assert_eq!(status.messages as usize, self.model.len());
        let unseen = self.model.iter().filter(|(_, shown)| !shown.system.contains(SystemFlags::SEEN)).count();
        assert_eq!(status.unseen as usize, unseen);
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| self.random.below(self.sessions.len()))
    }

    fn writer(&mut self) -> Option<usize> {
        let at = if self.home.abilities().shared_access { self.pick()? } else { 0 };
        self.sessions.get(at).is_some_and(|mailbox| mailbox.snapshot().writable).then_some(at)
    }

    fn open(&mut self) {
        if self.sessions.len() < 4 {
            let access = if self.random.one_in(3) { Access::ReadOnly } else { Access::ReadWrite };
            // Where only one may write, it is the first.
            let access = if self.sessions.is_empty() { Access::ReadWrite } else { access };
            let mailbox = self.home.open_at(&self.home.at_box(), access).unwrap();
            self.sessions.push(mailbox);
            self.verify(self.sessions.len() - 1);
        }
    }

    fn close(&mut self) {
        let Some(at) = self.pick() else { return };
        // The next one may not write, and would be first: all go.
        let going =
            if at == 0 && !self.home.abilities().shared_access { 0..self.sessions.len() } else { at..at + 1 };
        self.sessions.drain(going).for_each(|mailbox| mailbox.close().unwrap());
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(3);
        let mut messages = Vec::new();
        for _ in 0..count {
            self.number += 1;
            let system = SystemFlags::NAMED[self.random.below(5)].0;
            messages.push(Message { system, ..Message::number(self.number) });
        }
        let appended = self.home.append_at(&self.home.at_box(), &messages).unwrap();
        let mut uids = appended.uids.into_iter().flat_map(|(_, uids)| uids);
        let now = ailurus_types::InternalDate::from_timestamp(self.home.environment.clock.now(), 0);
        for message in messages {
            let uid = uids.next();
            if let Some(uid) = uid {
                assert!(uid.get() > self.largest);
                self.largest = uid.get();
            }
            let shown = Shown {
                uid: Uid::MIN,
                system: message.system,
                keywords: Vec::new(),
                date: now,
                text: message.text,
            };
            self.model.push((uid, shown));
        }
    }

    fn store(&mut self) {
        let Some(at) = self.writer() else { return };
        // What it does not know of yet, it finds out about when it edits.
        let Some(uids) = self.some_uids() else { return };
        let op = *self.random.pick(&[FlagOp::Add, FlagOp::Add, FlagOp::Remove, FlagOp::Replace]);
        let system = SystemFlags::NAMED[self.random.below(5)].0;
        let permanent = self.sessions[at].snapshot().permanent;
        let word =
            self.random.one_in(2).then(|| *self.random.pick(&KEYWORDS)).filter(|_| permanent.new_keywords);
        drop(store(&mut *self.sessions[at], &set(&uids), &change(op, system, word.as_slice())).unwrap());
        let is_meant = |uid: &Option<Uid>| uid.is_some_and(|uid| uids.contains(&uid.get()));
        for (_, shown) in self.model.iter_mut().filter(|(uid, _)| is_meant(uid)) {
            if op == FlagOp::Replace {
                (shown.system, shown.keywords) = (SystemFlags::NONE, Vec::new());
            }
            shown.keywords.retain(|known| Some(known.as_str()) != word);
            if op == FlagOp::Remove {
                shown.system = shown.system.without(system);
            } else {
                shown.system |= system;
                shown.keywords.extend(word.map(str::to_owned));
                shown.keywords.sort();
            }
        }
        self.verify(at);
    }

    fn expunge(&mut self) {
        let Some(at) = self.writer() else { return };
        let Some(uids) = self.some_uids() else { return };
        match expunge(&mut *self.sessions[at], &set(&uids)) {
            Ok(changes) => drop(changes),
            Err(Error::InUse { .. }) if !self.home.abilities().shared_expunge && self.sessions.len() > 1 => {
                return;
            }
            Err(error) => panic!("{error}"),
        }
        self.model.retain(|(uid, _)| uid.is_none_or(|uid| !uids.contains(&uid.get())));
        self.verify(at);
    }

    fn some_uids(&mut self) -> Option<Vec<u32>> {
        let known: Vec<_> = self.model.iter().filter_map(|(uid, _)| *uid).collect();
        let count = 1 + self.random.below(4);
        (!known.is_empty()).then(|| (0..count).map(|_| self.random.pick(&known).get()).collect())
    }

    /// Reads a message in a session that may not know what others did.
    fn read_something(&mut self) {
        let Some(at) = self.pick() else { return };
        let mailbox = &mut *self.sessions[at];
        let Some(message) = mailbox.snapshot().messages.get(self.random.below(self.model.len().max(1)))
        else {
            return;
        };
        let uid = message.uid();
        match read(mailbox, uid, Extent::Whole, 300) {
            Ok(octets) => {
                assert!(super::process::number_of(&octets).is_some(), "UID {uid}: {}", octets.escape_ascii());
                let wanted = self.model.iter().find(|(known, _)| *known == Some(uid));
                assert!(wanted.is_none_or(|(_, shown)| shown.text == octets), "UID {uid}");
            }
            Err(Error::Expunged { .. }) => {
                assert!(!self.model.iter().any(|(known, _)| *known == Some(uid)), "UID {uid} is there still");
            }
            Err(error) => panic!("UID {uid}: {error}"),
        }
    }

    /// Compares what a session that has just looked shows with the model, and learns UIDs.
    #[track_caller]
    fn verify(&mut self, at: usize) {
        let mailbox = &mut *self.sessions[at];
        let writable = mailbox.snapshot().writable;
        let shown = show(mailbox);
        assert_eq!(shown.len(), self.model.len(), "session {at}: {shown:?}");
        for (shown, (uid, known)) in shown.into_iter().zip(&mut self.model) {
            if uid.is_none() && writable {
                assert!(shown.uid.get() > self.largest, "UID {} of a new message", shown.uid);
                self.largest = shown.uid.get();
                *uid = Some(shown.uid);
            }
            assert!(uid.is_none_or(|uid| uid == shown.uid), "session {at}: UID {uid:?} became {}", shown.uid);
            known.uid = shown.uid;
            assert_eq!(shown, *known, "session {at}");
        }
    }
}
