//! APPEND and MULTIAPPEND (RFC 3501 §6.3.11, RFC 3502): literals go to the mailbox as they come.
//!
//! The mailbox is looked for before the first literal is asked for. All messages arrive, or none.

use crate::imap::session::{Account, Session, State, Work};
use crate::imap::tagged::{Outcome, OutcomeCode};
use crate::imap::wording;
use ailurus_proto::imap::response;
use ailurus_proto::imap::{
    AppendMessage, AppendSizeError, AppendStart, AppendTail, CommandName, Stop, Synchronizing, SyntaxError,
    Tag,
};
use ailurus_store::{Append, AppendMeta, Appended, Mailboxes, MessageInfo, Result, make_keywords};
use ailurus_types::{InternalDate, Keyword, MailboxName, Uid};
use std::sync::Arc;

/// An APPEND whose messages are coming.
pub(crate) struct Appending {
    tag: Tag,
    mailbox: MailboxName,
    open: OpenAppend,
    /// The largest UID in the mailbox before, if it is the selected one; 0 if it was empty.
    selected_up_to: Option<u32>,
    /// How many messages came.
    messages: usize,
    /// Why nothing will be appended; what still comes is thrown away.
    failed: Option<Outcome>,
}

/// An append under way, together with the mailboxes from which it is borrowed.
pub(crate) struct OpenAppend(Cell);

struct Slot<'m>(Option<Box<dyn Append + 'm>>);

self_cell::self_cell!(
    struct Cell {
        owner: Arc<Mailboxes>,
        #[not_covariant]
        dependent: Slot,
    }
);

impl OpenAppend {
    pub(crate) fn begin(account: &Account, name: &MailboxName) -> Result<Self> {
        let open = Cell::try_new(Arc::clone(&account.mailboxes), |mailboxes| {
            mailboxes.append(name).map(|append| Slot(Some(append)))
        });
        open.map(Self)
    }

    pub(crate) fn with<T>(&mut self, act: impl FnOnce(&mut dyn Append) -> Result<T>) -> Result<T> {
        self.0.with_dependent_mut(|_, slot| match &mut slot.0 {
            Some(append) => act(append.as_mut()),
            None => unreachable_append(),
        })
    }

    pub(crate) fn commit(mut self) -> Result<Appended> {
        self.0.with_dependent_mut(|_, slot| match slot.0.take() {
            Some(append) => append.commit(),
            None => unreachable_append(),
        })
    }
}

/// The append is there until the commit takes it, and the commit takes the cell.
fn unreachable_append<T>() -> Result<T> {
    Err(ailurus_store::Error::Refused("append has ended".into()))
}

impl Session {
    pub(crate) fn append(&mut self, tag: Tag, account: &Account, start: AppendStart) {
        let AppendStart { mailbox, first } = start;
        let selected_up_to = self.largest_selected_uid(&mailbox);
        match OpenAppend::begin(account, &mailbox) {
            Ok(open) => {
                let appending = Appending { tag, mailbox, open, selected_up_to, messages: 0, failed: None };
                self.work = Work::Append(Box::new(appending));
                self.append_message(first);
            }
            Err(error) => {
                self.splitter.reject();
                let outcome = wording::failure(&error, CommandName::Append, &mailbox);
                self.finish(tag, CommandName::Append, outcome);
            }
        }
    }

    /// Begins a message whose literal is announced.
    fn append_message(&mut self, message: AppendMessage) {
        let size = match message.size() {
            Ok(size) if u64::from(size) <= self.limits.append => size,
            Ok(_) => return self.append_failed(Outcome::no(AppendSizeError::TooLarge.to_string())),
            Err(error) => return self.append_failed(Outcome::no(error.to_string())),
        };
        let (system, keywords) = self.read_flags(&message.flags);
        self.make_selected_keywords(&keywords);
        let Work::Append(append) = &mut self.work else { return };
        let mut meta =
            AppendMeta { system, keywords, internal_date: None, size: size.into(), from_line: None };
        let date = message.date.map(|text| (InternalDate::parse(&text, 0), text));
        match date {
            None => {}
            Some((Ok(date), _)) => meta.internal_date = Some(date),
            // Told when the literal is here, as the reference does.
            Some((Err(_), text)) => {
                let text = ailurus_proto::imap::print::echo(&text);
                append.failed.get_or_insert_with(|| Outcome::no(format!("Bad date in append: {text}")));
            }
        }
        append.act(|open| open.begin(meta));
        append.messages += 1;
        if message.literal.sync == Synchronizing::Yes {
            if append.failed.is_some() && !append.has_bad_date() {
                return self.append_give_up();
            }
            response::continuation(&mut self.output, "Ready for argument");
        }
        self.splitter.stream_literal();
        self.expect_more();
    }

    /// Makes the keywords of a message known if it comes to the selected mailbox. Where that fails it comes without them.
    fn make_selected_keywords(&mut self, keywords: &[Keyword]) {
        let Work::Append(append) = &self.work else { return };
        let State::Selected(_, selected) = &mut self.state else { return };
        if selected.is_named(&append.mailbox)
            && selected.is_writable()
            && let Ok(changes) = make_keywords(&mut *selected.mailbox, keywords)
        {
            selected.note(&changes);
        }
    }

    /// The literal of a message has ended.
    pub(crate) fn append_literal_ended(&mut self) {
        let Work::Append(append) = &mut self.work else { return };
        append.act(|open| open.end());
        if append.failed.is_some() {
            return self.append_give_up();
        }
        self.expect_more();
    }

    /// Goes on behind the literal of a message.
    pub(crate) fn append_went_on(&mut self, tail: std::result::Result<AppendTail, Stop>) {
        match tail {
            Ok(AppendTail::Next(message)) => self.append_message(message),
            Ok(AppendTail::End) => self.append_commit(),
            Err(Stop::Refused(error)) => self.append_failed(Outcome::bad(error)),
            Err(Stop::NeedsLiteral(_)) => {
                self.append_failed(Outcome::bad(SyntaxError::MissingArgument(CommandName::Append)));
            }
        }
    }

    fn append_commit(&mut self) {
        let Work::Append(append) = std::mem::replace(&mut self.work, Work::Command) else { return };
        let Appending { tag, mailbox, open, selected_up_to, messages, .. } = *append;
        let outcome = match open.commit() {
            Ok(Appended { uids: Some((validity, uids)) }) if !uids.is_empty() => {
                Outcome::ok().with_code(OutcomeCode::AppendUid(validity, uids.into_iter().collect()))
            }
            Ok(_) => match selected_up_to.and_then(|uid| self.uids_beyond(uid, messages)) {
                Some(code) => Outcome::ok().with_code(code),
                None if self.is_selected_with_uids(&mailbox) => {
                    Outcome::ok().with_text(format!("Unable to re-open mailbox for APPENDUID: {mailbox}"))
                }
                None => Outcome::ok(),
            },
            Err(error) => wording::failure(&error, CommandName::Append, &mailbox),
        };
        self.continuing = false;
        self.finish(tag, CommandName::Append, outcome);
    }

    /// Tells whether the mailbox is the selected one and has UIDs that stay: why there are none to tell is then that it is
    /// open.
    fn is_selected_with_uids(&self, mailbox: &MailboxName) -> bool {
        let State::Selected(_, selected) = &self.state else { return false };
        selected.is_named(mailbox) && selected.mailbox.snapshot().sticky_uids
    }

    /// Returns the largest UID of the mailbox if it is the selected one, as it is now.
    fn largest_selected_uid(&mut self, mailbox: &MailboxName) -> Option<u32> {
        if !self.is_selected(mailbox) {
            return None;
        }
        self.refresh(CommandName::Append).ok()?;
        let State::Selected(_, selected) = &self.state else { return None };
        Some(selected.mailbox.snapshot().largest_uid().map_or(0, Uid::get))
    }

    /// Returns the code that names the messages beyond a UID in the selected mailbox, if they are as many as were appended:
    /// a driver cannot tell the UIDs while this very session has the mailbox, but the session can. mbsync 1.4 goes
    /// astray without.
    fn uids_beyond(&mut self, uid: u32, messages: usize) -> Option<OutcomeCode> {
        self.refresh(CommandName::Append).ok()?;
        let State::Selected(_, selected) = &self.state else { return None };
        let snapshot = selected.mailbox.snapshot();
        let beyond = snapshot.messages.iter().rev().map(MessageInfo::uid).take_while(|new| new.get() > uid);
        let uids: Vec<Uid> = beyond.collect();
        let certain = snapshot.sticky_uids && uids.len() == messages;
        certain.then(|| OutcomeCode::AppendUid(snapshot.uid_validity, uids.into_iter().collect()))
    }

    /// Gives up an APPEND for this reason, unless it failed before.
    pub(crate) fn append_failed(&mut self, outcome: Outcome) {
        if let Work::Append(append) = &mut self.work {
            append.failed.get_or_insert(outcome);
        }
        self.append_give_up();
    }

    /// Answers an APPEND that failed. What the client has sent of it already is skipped.
    fn append_give_up(&mut self) {
        let Work::Append(append) = std::mem::replace(&mut self.work, Work::Command) else { return };
        self.splitter.reject();
        self.continuing = false;
        let Appending { tag, failed, open, .. } = *append;
        drop(open);
        self.finish(tag, CommandName::Append, failed.unwrap_or_default());
    }
}

impl Appending {
    /// Takes some octets of the message.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        self.act(|open| open.write(octets));
    }

    fn act(&mut self, act: impl FnOnce(&mut dyn Append) -> Result<()>) {
        if self.failed.is_none()
            && let Err(error) = self.open.with(act)
        {
            self.failed = Some(wording::failure(&error, CommandName::Append, &self.mailbox));
        }
    }

    fn has_bad_date(&self) -> bool {
        let text = self.failed.as_ref().and_then(|failed| failed.text.as_deref());
        text.is_some_and(|text| text.starts_with("Bad date"))
    }
}
