//! Telling the client what changed in its mailbox (spec/imapd.md §6), in steps.

use crate::imap::select::Selected;
use crate::imap::session::{Session, State};
use crate::imap::wording;
use ailurus_proto::imap::print::{self, Recency};
use ailurus_proto::imap::response::{self, Code, PermanentFlags, Status};
use ailurus_proto::imap::{CommandName, Numbering};
use ailurus_store::{Access, Announcement, Error, Expunges, Level, MessageInfo, Notice};
use ailurus_types::{Keywords, SystemFlags, Uid};

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
                | Name::Scan
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

/// Announcements that are being sent.
#[derive(Default)]
pub(crate) struct Announcing {
    due: Vec<Announcement>,
    sent: usize,
    taken: bool,
    hint: usize,
}

impl Selected {
    /// Appends what the client does not know yet, until `limit` octets wait; `true` when that is all.
    pub(crate) fn announce(&mut self, style: Style, out: &mut Vec<u8>, limit: usize) -> bool {
        if !self.announcing.taken {
            let expunges = if style.expunge { Expunges::Announce } else { Expunges::Hold };
            self.announcing.due = self.view.take_announcements(self.mailbox.snapshot(), expunges);
            self.announcing.taken = true;
        }
        while let Some(announcement) = self.announcing.due.get(self.announcing.sent) {
            if out.len() >= limit {
                return false;
            }
            let announcement = *announcement;
            self.announcing.sent += 1;
            self.announce_one(announcement, style, out);
        }
        self.announcing = Announcing::default();
        true
    }

    fn announce_one(&mut self, announcement: Announcement, style: Style, out: &mut Vec<u8>) {
        let path = || self.mailbox.path().display();
        match announcement {
            Announcement::Expunge(seq) => response::expunge(out, seq),
            Announcement::Exists(messages) => response::exists(out, messages),
            Announcement::Recent(messages) => response::recent(out, messages),
            Announcement::UidValidity(validity) => {
                response::untagged(out, Status::Ok, Some(Code::UidValidity(validity)), "UID validity status");
            }
            Announcement::UidNext(uid) => {
                response::untagged(out, Status::Ok, Some(Code::UidNext(uid)), "Predicted next UID");
            }
            Announcement::UidNotSticky => {
                let text = format!("Non-permanent unique identifiers: {}", path());
                response::untagged(out, Status::No, Some(Code::UidNotSticky), text);
            }
            Announcement::Flags => self.announce_flags(out),
            Announcement::Unseen(seq) => {
                let text = format!("first unseen message in {}", path());
                response::untagged(out, Status::Ok, Some(Code::Unseen(seq)), text);
            }
            Announcement::Access(access) => {
                let code = if access == Access::ReadWrite { Code::ReadWrite } else { Code::ReadOnly };
                response::untagged(out, Status::Ok, Some(code), "Mailbox status");
                self.announce_flags(out);
            }
            Announcement::MessageFlags(seq, uid) => {
                let mut hint = self.announcing.hint;
                if let Some(message) = self.message(uid, &mut hint) {
                    response::fetch_start(out, seq);
                    self.append_flags(&message, out);
                    if style.uid {
                        out.extend_from_slice(b" UID ");
                        print::number(out, uid.get().into());
                    }
                    response::fetch_end(out);
                }
                self.announcing.hint = hint;
            }
        }
    }

    fn announce_flags(&self, out: &mut Vec<u8>) {
        let snapshot = self.mailbox.snapshot();
        response::flags(out, &snapshot.keywords);
        let none = Keywords::default();
        let permanent = snapshot.permanent;
        let flags = if self.is_writable() {
            PermanentFlags {
                keywords: if permanent.keywords { &snapshot.keywords } else { &none },
                new_keywords: permanent.new_keywords,
                system: permanent.system,
            }
        } else {
            PermanentFlags { keywords: &none, new_keywords: false, system: SystemFlags::NONE }
        };
        response::untagged(out, Status::Ok, Some(Code::PermanentFlags(flags)), "Permanent flags");
    }

    /// Returns a message as this session sees it; `None` if it is gone. `hint` is where in the snapshot it probably is, and
    /// becomes where the next one probably is.
    pub(crate) fn message(&self, uid: Uid, hint: &mut usize) -> Option<MessageInfo> {
        if self.view.holds_expunges() && self.view.is_expunged(uid) {
            return None;
        }
        let snapshot = self.mailbox.snapshot();
        let position = snapshot.position(uid, *hint)?;
        *hint = position + 1;
        let mut message = snapshot.messages[position];
        if let Some(flags) = self.own_flags.get(&uid) {
            message.set_flags(*flags);
        }
        Some(message)
    }

    /// Appends `FLAGS (...)`.
    pub(crate) fn append_flags(&self, message: &MessageInfo, out: &mut Vec<u8>) {
        let recency = if self.view.is_recent(message.uid()) { Recency::Recent } else { Recency::NotRecent };
        out.extend_from_slice(b"FLAGS ");
        print::message_flags(out, recency, message.flags(), &self.mailbox.snapshot().keywords);
    }

    /// Tells whether changes reach the mailbox.
    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite && self.mailbox.snapshot().writable
    }
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
        let host = self.base.config.host.clone();
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
            if notice.level.is_for_log() {
                self.log_notice(notice);
            } else {
                self.notes.take(notice, &mut self.output);
            }
        }
    }

    /// Takes what the drivers left to tell when nobody can be told any more.
    pub(crate) fn log_notices(&mut self, account: &crate::imap::session::Account) {
        for notice in account.mailboxes.environment().notices.take() {
            if notice.level.is_for_log() || notice.level == Level::Error {
                self.log_notice(notice);
            }
        }
    }

    fn log_notice(&mut self, notice: Notice) {
        let priority =
            if notice.level == Level::Record { crate::Priority::Info } else { crate::Priority::Warning };
        self.log(crate::Facility::Mail, priority, format!("{} {}", notice.text, self.who()));
    }
}
