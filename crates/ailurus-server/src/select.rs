//! SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2; spec/imapd.md §7).

use crate::announce::Told;
use crate::session::{Session, State};
use crate::tagged::Outcome;
use crate::view::View;
use crate::wording;
use ailurus_proto::response::Code;
use ailurus_proto::{CommandName, Tag};
use ailurus_store::{Access, Mailbox};
use ailurus_types::MailboxName;
use std::time::Instant;

/// The selected mailbox.
pub(crate) struct Selected {
    pub(crate) name: MailboxName,
    pub(crate) mailbox: Box<dyn Mailbox>,
    pub(crate) view: View,
    pub(crate) told: Told,
    /// What the client asked for.
    pub(crate) access: Access,
    /// Since when there are changes in memory only.
    pub(crate) dirty_since: Option<Instant>,
    pub(crate) last_checkpoint: Instant,
}

impl Session {
    pub(crate) fn select(&mut self, tag: Tag, name: CommandName, mailbox: MailboxName, access: Access) {
        // RFC 3501 §6.3.1: the mailbox selected before is closed, also when this fails.
        if let Err(outcome) = self.leave_mailbox() {
            self.notes.warn(outcome.text.unwrap_or_default(), &mut self.output);
        }
        let State::Authenticated(account) = &self.state else { return };
        let account = account.clone();
        match account.mailboxes.select(&mailbox, access) {
            Ok(opened) => {
                let mut selected = Selected {
                    name: mailbox,
                    mailbox: opened,
                    view: View::default(),
                    told: Told::default(),
                    access,
                    dirty_since: None,
                    last_checkpoint: self.now,
                };
                selected.told.counts_are_due();
                let code = if selected.is_writable() { Code::ReadWrite } else { Code::ReadOnly };
                let outcome = Outcome::ok().with(code).with_text(format!("{name} completed"));
                self.state = State::Selected(account, Box::new(selected));
                // What was noted while opening is told behind the description of the mailbox.
                self.run(tag, name, crate::session::Task::Announce(outcome));
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
