//! Telling the client what changed in its mailbox (spec/imapd.md §6), in steps.

use crate::select::Selected;
use crate::session::{Session, State};
use crate::wording;
use ailurus_proto::response::{self, Code, PermanentFlags, Status};
use ailurus_proto::print::{self, Recency};
use ailurus_proto::{CommandName, Numbering};
use ailurus_store::{Access, Error, MessageInfo};
use ailurus_types::{Keywords, SeqNum, Uid};

/// How changes are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Style {
    /// Whether EXPUNGE may be told now.
    pub(crate) expunge: bool,
    /// Whether FETCH responses have the UID.
    pub(crate) uid: bool,
}

impl Style {
    /// Returns the style of a command's responses. RFC 3501 §7.4.1: no EXPUNGE during FETCH, STORE or SEARCH, or the
    /// client's numbers would shift under it; the reference holds it back during some more (spec/imapd.md §6).
    pub(crate) fn of(name: CommandName) -> Self {
        use CommandName as Name;
        let expunge = matches!(
            name,
            Name::Noop
                | Name::Capability
                | Name::Append
                | Name::List
                | Name::Rlist
                | Name::Lsub
                | Name::Rlsub
                | Name::Find
                | Name::Status
                | Name::Subscribe
                | Name::Unsubscribe
                | Name::Namespace
                | Name::Create
                | Name::Delete
                | Name::Rename
                | Name::Idle
                | Name::Id
                | Name::Enable
                | Name::Expunge
                | Name::UidExpunge
                | Name::Move
                | Name::UidMove
                | Name::Select
                | Name::Examine
                | Name::Bboard
        );
        Self { expunge, uid: name.numbering() == Numbering::Uid }
    }
}

/// What the client was told, and what it is being told.
#[derive(Default)]
pub(crate) struct Told {
    /// Numbers of EXPUNGE responses, and how many of them were sent.
    expunges: Vec<u32>,
    expunges_sent: usize,
    exists: Option<u32>,
    recent: Option<u32>,
    uid_validity: Option<ailurus_types::UidValidity>,
    keywords: Option<Keywords>,
    writable: Option<bool>,
    /// Messages may have come, gone, or stopped being recent.
    counts_due: bool,
    /// FETCH responses that are due: ranges of sequence numbers, and which is next.
    flags: Vec<(u32, u32)>,
    hint: usize,
}

impl Told {
    pub(crate) fn exists(&self) -> u32 {
        self.exists.unwrap_or(0)
    }

    pub(crate) fn recent(&self) -> u32 {
        self.recent.unwrap_or(0)
    }

    pub(crate) fn counts_are_due(&mut self) {
        self.counts_due = true;
    }
}

impl Selected {
    /// Appends what the client does not know yet, until `limit` octets wait; `true` when that is all.
    pub(crate) fn announce(&mut self, style: Style, out: &mut Vec<u8>, limit: usize) -> bool {
        if style.expunge && self.view.has_expunged() {
            self.told.expunges.extend(self.view.expunge(self.mailbox.snapshot()));
            self.told.counts_due = true;
        }
        let had_expunges = !self.told.expunges.is_empty();
        if had_expunges && !self.announce_expunges(out, limit) {
            return false;
        }
        if self.told.counts_due || self.told.exists.is_none() {
            self.announce_counts(had_expunges, out);
        }
        self.announce_mailbox(out);
        if self.told.flags.is_empty() {
            let changed = self.view.take_changed();
            self.told.flags = self.view.seqs_of(&changed);
            self.told.flags.reverse();
        }
        self.announce_flags(style, out, limit)
    }

    fn announce_expunges(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        let told = &mut self.told;
        for number in &told.expunges[told.expunges_sent..] {
            if out.len() >= limit {
                return false;
            }
            told.expunges_sent += 1;
            if let Some(seq) = SeqNum::new(*number) {
                response::expunge(out, seq);
            }
        }
        (told.expunges, told.expunges_sent) = (Vec::new(), 0);
        true
    }

    fn announce_counts(&mut self, anyway: bool, out: &mut Vec<u8>) {
        let snapshot = self.mailbox.snapshot();
        self.view.arrive(snapshot);
        let (exists, recent) = (Some(self.view.exists()), Some(self.view.recent(snapshot)));
        let told = &mut self.told;
        if anyway || told.exists != exists {
            response::exists(out, self.view.exists());
        }
        if anyway || told.recent != recent {
            response::recent(out, recent.unwrap_or(0));
        }
        (told.exists, told.recent, told.counts_due) = (exists, recent, false);
    }

    /// Tells of the mailbox as a whole: UID validity, flags, the first unseen message.
    fn announce_mailbox(&mut self, out: &mut Vec<u8>) {
        let snapshot = self.mailbox.snapshot();
        let first = self.told.uid_validity.is_none();
        if self.told.uid_validity != Some(snapshot.uid_validity) {
            self.told.uid_validity = Some(snapshot.uid_validity);
            let code = Code::UidValidity(snapshot.uid_validity);
            response::untagged(out, Status::Ok, Some(code), "UID validity status");
            let next = snapshot.uid_next.unwrap_or(Uid::MAX);
            response::untagged(out, Status::Ok, Some(Code::UidNext(next)), "Predicted next UID");
            if !snapshot.sticky_uids {
                let text = format!("Non-permanent unique identifiers: {}", self.mailbox.path().display());
                response::untagged(out, Status::No, Some(Code::UidNotSticky), text);
            }
        }
        let writable = self.is_writable();
        let snapshot = self.mailbox.snapshot();
        if self.told.writable.is_some_and(|told| told != writable) {
            let code = if writable { Code::ReadWrite } else { Code::ReadOnly };
            response::untagged(out, Status::Ok, Some(code), "Mailbox status");
        }
        if self.told.writable != Some(writable) || self.told.keywords.as_ref() != Some(&snapshot.keywords) {
            self.told.writable = Some(writable);
            self.told.keywords = Some(snapshot.keywords.clone());
            response::flags(out, &snapshot.keywords);
            let none = Keywords::default();
            let permanent = snapshot.permanent;
            let flags = if writable {
                PermanentFlags {
                    keywords: if permanent.keywords { &snapshot.keywords } else { &none },
                    new_keywords: permanent.new_keywords,
                    system: permanent.system,
                }
            } else {
                PermanentFlags { keywords: &none, new_keywords: false, system: ailurus_types::SystemFlags::NONE }
            };
            response::untagged(out, Status::Ok, Some(Code::PermanentFlags(flags)), "Permanent flags");
        }
        if first {
            self.announce_unseen(out);
        }
    }

    fn announce_unseen(&self, out: &mut Vec<u8>) {
        let is_unseen = |message: &MessageInfo| !message.flags().system.contains(ailurus_types::SystemFlags::SEEN);
        let first = self.mailbox.snapshot().messages.iter().position(is_unseen);
        if let Some(seq) = first.and_then(SeqNum::from_index) {
            let text = format!("first unseen message in {}", self.mailbox.path().display());
            response::untagged(out, Status::Ok, Some(Code::Unseen(seq)), text);
        }
    }

    fn announce_flags(&mut self, style: Style, out: &mut Vec<u8>, limit: usize) -> bool {
        let snapshot = self.mailbox.snapshot();
        while let Some((first, last)) = self.told.flags.last_mut() {
            if out.len() >= limit {
                return false;
            }
            let seq = *first;
            if first == last {
                self.told.flags.pop();
            } else {
                *first += 1;
            }
            let seq = SeqNum::new(seq);
            if let Some((seq, uid)) = seq.and_then(|seq| Some((seq, self.view.uid(seq)?)))
                && let Some(message) = self.view.message(snapshot, uid, &mut self.told.hint)
            {
                response::fetch_start(out, seq);
                flags(out, &message, &snapshot.keywords);
                if style.uid {
                    out.extend_from_slice(b" UID ");
                    print::number(out, uid.get().into());
                }
                response::fetch_end(out);
            }
        }
        true
    }

    /// Tells whether changes reach the mailbox.
    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite && self.mailbox.snapshot().writable
    }

    /// Takes note of what became different in the mailbox.
    pub(crate) fn note(&mut self, changes: &ailurus_store::Changes) {
        if !changes.is_empty() {
            self.view.note(changes);
            self.told.counts_due = true;
        }
    }
}

/// Appends `FLAGS (...)`.
pub(crate) fn flags(out: &mut Vec<u8>, message: &MessageInfo, keywords: &Keywords) {
    let recency = if message.is_recent() { Recency::Recent } else { Recency::NotRecent };
    out.extend_from_slice(b"FLAGS ");
    print::message_flags(out, recency, message.flags(), keywords);
}

impl Session {
    /// Looks what others did to the mailbox. An error means that the mailbox is lost, and the session with it.
    pub(crate) fn refresh(&mut self, _name: CommandName) -> Result<(), ()> {
        let State::Selected(_, selected) = &mut self.state else { return Ok(()) };
        match selected.mailbox.refresh() {
            Ok(changes) => selected.note(&changes),
            Err(error) => {
                let error = self.notes_or_fatal(error);
                if let Some(text) = error {
                    self.lose_mailbox(&text);
                    return Err(());
                }
            }
        }
        self.take_notices();
        Ok(())
    }

    /// Makes an error of the selected mailbox a warning, or returns why the mailbox is lost.
    pub(crate) fn notes_or_fatal(&mut self, error: Error) -> Option<String> {
        if let Error::Lost { what, .. } = error {
            return Some(what);
        }
        let text = wording::disk(&error);
        let log = format!("{error} {}", self.who());
        self.log(crate::Facility::Mail, crate::Priority::Error, log);
        self.notes.warn(text, &mut self.output);
        None
    }

    /// Ends the session because its mailbox is no longer what it was.
    pub(crate) fn lose_mailbox(&mut self, what: &str) {
        let path = match &self.state {
            State::Selected(_, selected) => selected.mailbox.path().display().to_string(),
            _ => String::new(),
        };
        let host = self.config.host.clone();
        self.untagged(Status::Bye, None, format_args!("{host} Fatal mailbox error: {what}"));
        let text = format!("Fatal mailbox error {} mbx={path:.80}: {what:.80}", self.who());
        self.log(crate::Facility::Mail, crate::Priority::Info, text);
        self.end("Fatal mailbox error", 1);
    }

    /// Takes what the drivers left to tell.
    pub(crate) fn take_notices(&mut self) {
        let (State::Authenticated(account) | State::Selected(account, _)) = &self.state else { return };
        let notices = account.mailboxes.environment().notices.take();
        for notice in notices {
            if notice.level == ailurus_store::Level::Log {
                let text = format!("{} {}", notice.text, self.who());
                self.log(crate::Facility::Mail, crate::Priority::Warning, text);
            } else {
                self.notes.take(notice, &mut self.output);
            }
        }
    }

    /// Takes what the drivers left to tell when nobody can be told any more.
    pub(crate) fn log_notices(&mut self, account: &crate::session::Account) {
        for notice in account.mailboxes.environment().notices.take() {
            if notice.level == ailurus_store::Level::Log || notice.level == ailurus_store::Level::Error {
                let text = format!("{} {}", notice.text, self.who());
                self.log(crate::Facility::Mail, crate::Priority::Warning, text);
            }
        }
    }
}

