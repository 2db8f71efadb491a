//! STORE and UID STORE (RFC 3501 §6.4.6; spec/imapd.md §9).

use crate::imap::select::Selected;
use crate::imap::session::{Session, State, Step, Task};
use crate::imap::tagged::{Notes, Outcome};
use crate::imap::wording;
use ailurus_proto::imap::{
    CommandName, FlagWord, MessageSet, Numbering, StoreArgs, StoreResponse, SyntaxError, Tag, WrittenSet,
};
use ailurus_store::{Edit, Error};
use ailurus_types::{FlagChange, Flags, Keyword, KeywordMask, SystemFlags, Uid, UidSet};
use std::borrow::Cow;

/// A change of flags that is to be done.
pub(crate) struct Storing {
    name: CommandName,
    uids: UidSet,
    change: FlagChange,
    response: StoreResponse,
}

impl Session {
    pub(crate) fn store(&mut self, tag: Tag, name: CommandName, args: StoreArgs) {
        let State::Selected(_, selected) = &self.state else { return };
        let uids = match uids_of(selected, name, args.set) {
            Ok(uids) => uids,
            Err(outcome) => return self.finish(tag, name, outcome),
        };
        let (op, response) = match args.item {
            Ok(item) => item,
            Err(error) => return self.finish(tag, name, Outcome::bad(error)),
        };
        let words = match args.flags {
            Ok(words) => words,
            Err(error) => return self.finish(tag, name, Outcome::no(error.to_string())),
        };
        let (system, keywords) = self.read_flags(&words);
        let change = FlagChange { op, system, keywords };
        self.run(tag, name, Task::Store(Box::new(Storing { name, uids, change, response })));
    }

    /// Returns the flags of a list; words that are none become warnings.
    pub(crate) fn read_flags(&mut self, words: &[FlagWord]) -> (SystemFlags, Vec<Keyword>) {
        let (mut system, mut keywords) = (SystemFlags::NONE, Vec::new());
        for word in words {
            match word {
                FlagWord::System(flag) => system |= *flag,
                FlagWord::Keyword(keyword) => keywords.push(keyword.clone()),
                FlagWord::UnknownSystem(word) => {
                    self.notes.warn(format!("Unsupported system flag: {word}"), &mut self.output);
                }
                // COMPAT(imapd): the reference looks for the keyword first and does not find it.
                FlagWord::BadKeyword(word) => {
                    self.notes.warn(format!("Unknown flag: {word}"), &mut self.output);
                }
            }
        }
        (system, keywords)
    }
}

impl Storing {
    pub(crate) fn step(&mut self, selected: &mut Selected, notes: &mut Notes, out: &mut Vec<u8>) -> Step {
        let outcome = match self.store(selected) {
            Ok(unknown) => {
                for keyword in unknown {
                    notes.warn(format!("Unknown flag: {keyword}"), out);
                }
                if self.response == StoreResponse::Flags {
                    selected.view.tell_flags(&self.uids);
                }
                // RFC 3501 §6.4.8: a UID that names no message is no error.
                let by_number = self.name.numbering() == Numbering::SeqNum;
                if by_number && selected.names_expunged(&self.uids) {
                    wording::failure(&Error::Expunged { uid: 0 }, self.name, &selected.name)
                } else {
                    Outcome::ok()
                }
            }
            Err(error) => wording::failure(&error, self.name, &selected.name),
        };
        Step::Next(Task::Refresh(outcome))
    }

    /// Makes the change; returns the keywords for which there was no room.
    fn store(&self, selected: &mut Selected) -> ailurus_store::Result<Vec<Keyword>> {
        if !selected.is_writable() {
            self.store_for_session(selected);
            return Ok(Vec::new());
        }
        let uids = selected.left_of(&self.uids);
        if selected.view.messages_by_uid(&uids).next().is_none() {
            return Ok(Vec::new());
        }
        let before = match self.response {
            StoreResponse::Silent => selected.flags_of(&uids),
            StoreResponse::Flags => Vec::new(),
        };
        let mut edit = selected.edit()?;
        let unknown = edit.store(&uids, &self.change)?;
        let changes = edit.commit()?;
        selected.note(&changes);
        let by = self.by(selected);
        selected
            .flags_foreseen(before.into_iter().map(|(uid, flags)| (uid, flags.changed(self.change.op, by))));
        Ok(unknown)
    }

    /// Makes the change for this session alone: the mailbox may not be written, and the reference says OK.
    fn store_for_session(&self, selected: &mut Selected) {
        let by = self.by(selected);
        let changed = selected.flags_of(&self.uids).into_iter();
        selected.own_flags.extend(changed.map(|(uid, flags)| (uid, flags.changed(self.change.op, by))));
    }

    /// Returns by which flags those of a message are changed, as far as the mailbox knows them.
    fn by(&self, selected: &Selected) -> Flags {
        let known = &selected.mailbox.snapshot().keywords;
        let slots = self.change.keywords.iter().filter_map(|keyword| known.find(keyword.as_str()));
        let keywords = slots.fold(KeywordMask::NONE, |mask, slot| mask.union(KeywordMask::slot(slot)));
        Flags { system: self.change.system, keywords }
    }
}

impl Selected {
    /// Begins a change of messages that the client named. If the UID validity value is found to be another, the UIDs at
    /// hand name other messages by now, and nothing may be done with them.
    pub(crate) fn edit(&mut self) -> ailurus_store::Result<Box<dyn Edit + '_>> {
        let known = self.mailbox.snapshot().uid_validity;
        let edit = self.mailbox.edit()?;
        let same = edit.snapshot().uid_validity == known;
        if same { Ok(edit) } else { Err(Error::Expunged { uid: 0 }) }
    }

    /// Returns the flags of these messages as the client knows them.
    pub(crate) fn flags_of(&self, uids: &UidSet) -> Vec<(Uid, Flags)> {
        let mut hint = 0;
        let messages = self.view.messages_by_uid(uids);
        messages.filter_map(|(_, uid)| Some((uid, self.message(uid, &mut hint)?.flags()))).collect()
    }

    /// Takes note of the flags that the client now takes these messages to have, ascending. It is told of those that have
    /// others, because somebody else changed them too (RFC 3501 §6.4.6).
    pub(crate) fn flags_foreseen(&mut self, flags: impl Iterator<Item = (Uid, Flags)>) {
        let mut hint = 0;
        let right = flags.filter(|(uid, flags)| {
            self.message(*uid, &mut hint).is_some_and(|message| message.flags() == *flags)
        });
        let right = right.map(|(uid, _)| uid).collect();
        self.view.flags_told(&right);
    }

    /// Returns a set of UIDs without those of messages that are gone: another may have the same UID by now.
    pub(crate) fn left_of<'u>(&self, uids: &'u UidSet) -> Cow<'u, UidSet> {
        if !self.view.holds_expunges() {
            return Cow::Borrowed(uids);
        }
        Cow::Owned(self.view.messages_by_uid(uids).map(|(_, uid)| uid).collect())
    }

    /// Tells whether a set names messages that are gone, of which the client does not know that yet.
    pub(crate) fn names_expunged(&self, uids: &UidSet) -> bool {
        let all = [(1, self.view.exists())];
        self.view.holds_expunges()
            && self.view.messages(&all).any(|(_, uid)| self.view.is_expunged(uid) && uids.contains(uid))
    }
}

/// Returns the messages that a command names, or why it names none.
pub(crate) fn uids_of(selected: &Selected, name: CommandName, set: WrittenSet) -> Result<UidSet, Outcome> {
    let bogus = |error| Outcome::bad(SyntaxError::BogusSequence(name, error));
    let set = match set.map_err(bogus)? {
        MessageSet::Numbers(set) => set,
        MessageSet::Saved => return Ok(selected.saved.clone()),
    };
    match name.numbering() {
        Numbering::Uid => Ok(set.uids(selected.view.largest_uid())),
        Numbering::SeqNum => {
            let ranges = set.seqs(selected.view.exists()).map_err(bogus)?;
            Ok(selected.view.messages(&ranges).map(|(_, uid)| uid).collect())
        }
    }
}
