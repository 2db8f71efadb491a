//! APPEND and MULTIAPPEND (RFC 3501 §6.3.11, RFC 3502): literals go to the mailbox as they come.
//!
//! The mailbox is looked for before the first literal is asked for. All messages arrive, or none.

use crate::imap::session::{Account, Session, State, Work};
use crate::imap::tagged::{Outcome, OutcomeCode};
use crate::imap::wording;
use ailurus_proto::imap::response;
use ailurus_proto::imap::{
    AppendMessage, AppendSizeError, AppendStart, AppendTail, CommandName, LiteralForm, Stop, Synchronizing,
    SyntaxError, Tag,
};
use ailurus_store::{Abilities, Append, AppendMeta, Appended, Mailboxes, MessageInfo, Result, make_keywords};
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
    /// The account, for questions about the mailbox.
    account: Account,
    /// What a literal8 holds that goes into a mailbox that keeps text, and what of that the mailbox keeps.
    octets: Option<(Octets, Abilities)>,
    /// Why nothing will be appended; what still comes is thrown away.
    failed: Option<Outcome>,
}

/// Looks at a literal8 (RFC 3516) on its way into a mailbox that keeps text rather than octets: whether it is text, and would
/// come back as it is if it is not.
#[derive(Debug, Default)]
struct Octets {
    after_cr: bool,
    /// A CR or LF that is no line end.
    bare: bool,
    nul: bool,
    /// 0x01, which mmdf drops.
    soh: bool,
    /// A line that starts with `From `, and how much of that this line has had so far.
    from: bool,
    of_from: Option<usize>,
}

impl Octets {
    const FROM: &[u8] = b"From ";

    fn new() -> Self {
        Self { of_from: Some(0), ..Self::default() }
    }

    fn look(&mut self, octets: &[u8]) {
        self.nul |= memchr::memchr(0, octets).is_some();
        self.soh |= memchr::memchr(1, octets).is_some();
        let mut rest = octets;
        while let Some(found) = memchr::memchr2(b'\r', b'\n', rest) {
            let is_lf = rest[found] == b'\n';
            self.text(&rest[..found]);
            // Whatever else stands there is not the LF that a CR needs.
            self.bare |= self.after_cr != is_lf;
            self.after_cr = !is_lf;
            self.of_from = is_lf.then_some(0);
            rest = &rest[found + 1..];
        }
        self.text(rest);
    }

    fn text(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.bare |= std::mem::take(&mut self.after_cr);
        if let Some(had) = self.of_from {
            let next = &Self::FROM[had..];
            let len = next.len().min(text.len());
            self.of_from = (text[..len] == next[..len]).then_some(had + len);
            if self.of_from == Some(Self::FROM.len()) {
                self.from = true;
                self.of_from = None;
            }
        }
    }

    /// Tells whether a mailbox gives it back as it is, or as it does with text.
    fn fit(&self, abilities: Abilities) -> bool {
        let changed = self.from && abilities.quotes_from || self.soh && abilities.drops_soh;
        !(self.bare || self.after_cr || self.nul && changed)
    }
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
                let appending = Appending {
                    tag,
                    mailbox,
                    open,
                    selected_up_to,
                    messages: 0,
                    account: account.clone(),
                    octets: None,
                    failed: None,
                };
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
        append.octets = None;
        if message.literal.form == LiteralForm::Literal8 {
            append.begin_literal8();
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
        append.end_literal8();
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
    /// A literal8 follows (RFC 3516): what it holds is kept to the octet, or the message is refused.
    fn begin_literal8(&mut self) {
        match self.account.mailboxes.append_abilities(&self.mailbox) {
            Ok(abilities) if abilities.crlf => {}
            Ok(abilities) => self.octets = Some((Octets::new(), abilities)),
            Err(error) => self.failed = Some(wording::failure(&error, CommandName::Append, &self.mailbox)),
        }
    }

    fn end_literal8(&mut self) {
        if self.failed.is_none()
            && self.octets.take().is_some_and(|(octets, abilities)| !octets.fit(abilities))
        {
            let text =
                format!("Can't append to mailbox {}: its format cannot hold binary data", self.mailbox);
            self.failed = Some(Outcome::no(text).with(response::Code::UnknownCte));
        }
    }

    /// Takes some octets of the message.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        if let Some((seen, _)) = &mut self.octets {
            seen.look(octets);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_looked_at_across_pieces() {
        let unix = Abilities { quotes_from: true, ..Abilities::default() };
        let mmdf = Abilities { drops_soh: true, ..unix };
        let cases: [(&[u8], [bool; 3]); 17] = [
            (b"", [true; 3]),
            (b"a\r\nb\r\n", [true; 3]),
            (b"a\0b\r\n\r\n", [true; 3]),
            (b"\r\n", [true; 3]),
            (b"a\n", [false; 3]),
            (b"\n", [false; 3]),
            (b"a\rb", [false; 3]),
            (b"a\r", [false; 3]),
            (b"a\r\r\n", [false; 3]),
            (b"a\r\n\nb", [false; 3]),
            (b"a\r\nFrom b\r\n", [true; 3]),
            (b"a\r\nFrom b\r\n\0", [true, false, false]),
            (b"From b\r\n\0", [true, false, false]),
            (b"FroFrom \r\n From \r\nFro\r\nm \0", [true; 3]),
            (b"a\x01\x01", [true; 3]),
            (b"\0a\x01\x01", [true, true, false]),
            (b"\0\r\nFrom ", [true, false, false]),
        ];
        for (octets, good) in cases {
            for size in 1..=octets.len().max(1) {
                let mut seen = Octets::new();
                octets.chunks(size).for_each(|piece| seen.look(piece));
                let fit = [Abilities::default(), unix, mmdf].map(|abilities| seen.fit(abilities));
                assert_eq!(fit, good, "{} by {size}", octets.escape_ascii());
            }
        }
    }
}
