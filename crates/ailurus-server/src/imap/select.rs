//! SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2; spec/imapd.md §7).

use crate::event::{Facility, Priority};
use crate::imap::announce::Announcing;
use crate::imap::fetch::Binary;
use crate::imap::session::{Session, State};
use crate::imap::tagged::Outcome;
use crate::imap::wording;
use crate::login::logged;
use ailurus_message::Message;
use ailurus_proto::imap::response::Code;
use ailurus_proto::imap::{CommandName, Tag};
use ailurus_store::{Access, Changes, Mailbox, View};
use ailurus_types::{Flags, MailboxName, Uid, UidSet};
use std::collections::BTreeMap;
use std::time::Instant;

/// The selected mailbox.
pub(crate) struct Selected {
    pub(crate) name: MailboxName,
    pub(crate) mailbox: Box<dyn Mailbox>,
    pub(crate) view: View,
    pub(crate) announcing: Announcing,
    /// Flags that this session alone sees: those stored in a mailbox that may not be written.
    pub(crate) own_flags: BTreeMap<Uid, Flags>,
    /// The parts of the message that was fetched last, if they are small: clients fetch large parts piece by piece.
    pub(crate) parts: Option<(Uid, Message<'static>)>,
    /// The part of which BINARY was fetched last.
    pub(crate) binary: Option<Box<Binary>>,
    /// What a search saved last, what is gone since left out (RFC 5182).
    pub(crate) saved: UidSet,
    /// What the client asked for.
    pub(crate) access: Access,
    /// Since when there are changes in memory only.
    pub(crate) dirty_since: Option<Instant>,
    pub(crate) last_checkpoint: Instant,
}

impl Selected {
    /// Tells whether the mailbox was selected by this name.
    pub(crate) fn is_named(&self, name: &MailboxName) -> bool {
        self.name == *name || (self.name.is_inbox() && name.is_inbox())
    }

    /// Takes note of changes of the mailbox; the client is told later.
    pub(crate) fn note(&mut self, changes: &Changes) {
        self.view.note(changes);
        if changes.uid_validity {
            // The UIDs name other messages now.
            self.own_flags.clear();
            self.parts = None;
            self.binary = None;
            self.saved = UidSet::new();
        }
        self.saved.remove(&changes.expunged);
    }
}

impl Session {
    pub(crate) fn select(&mut self, tag: Tag, name: CommandName, mailbox: MailboxName, access: Access) {
        // RFC 3501 §6.3.1: the mailbox selected before is closed, also when this fails.
        if let Err(outcome) = self.leave_mailbox() {
            self.notes.warn(outcome.text.unwrap_or_default(), &mut self.output);
        }
        let State::Authenticated(account) = &self.state else { return };
        let account = account.clone();
        let access = if account.is_anonymous() { Access::ReadOnly } else { access };
        match account.mailboxes.select(&mailbox, access) {
            Ok(opened) => {
                if account.is_anonymous() {
                    let location = account.mailboxes.resolve(&mailbox).ok();
                    let file =
                        location.as_ref().and_then(|location| location.path()).filter(|file| file.exists());
                    let shown =
                        file.map_or_else(|| mailbox.as_bytes(), |file| file.as_os_str().as_encoded_bytes());
                    let shown = logged(shown);
                    let client = &self.base.config.client;
                    let text = format!("Anonymous select of {shown:.80} host={client:.80}");
                    self.log(Facility::Mail, Priority::Info, text);
                }
                let selected = Selected {
                    name: mailbox,
                    view: View::new(opened.snapshot()),
                    mailbox: opened,
                    announcing: Announcing::default(),
                    own_flags: BTreeMap::new(),
                    parts: None,
                    binary: None,
                    saved: UidSet::new(),
                    access,
                    dirty_since: None,
                    last_checkpoint: self.now,
                };
                let code = if selected.is_writable() { Code::ReadWrite } else { Code::ReadOnly };
                let outcome = Outcome::ok().with(code).with_text(format!("{name} completed"));
                self.state = State::Selected(account, Box::new(selected));
                // The last warning of the opening is told behind the description of the mailbox, others before it.
                self.take_notices();
                self.run(tag, name, crate::imap::session::Task::Announce(outcome));
            }
            Err(error) => {
                let outcome = wording::failure(&error, name, &mailbox);
                self.finish(tag, name, outcome);
            }
        }
    }

    /// Closes the selected mailbox, if there is one. The error is what is to be told.
    pub(crate) fn leave_mailbox(&mut self) -> Result<(), Outcome> {
        let state = std::mem::replace(&mut self.state, State::Logout);
        let State::Selected(account, selected) = state else {
            self.state = state;
            return Ok(());
        };
        self.state = State::Authenticated(account);
        let Selected { name, mailbox, .. } = *selected;
        mailbox.close().map_err(|error| wording::failure(&error, CommandName::Close, &name))
    }
}
