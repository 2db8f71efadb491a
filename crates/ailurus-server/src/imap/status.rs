//! STATUS (RFC 3501 §6.3.10, RFC 8438).

use crate::imap::select::Selected;
use crate::imap::session::{Account, Session, State};
use crate::imap::tagged::Outcome;
use crate::imap::wording;
use ailurus_proto::imap::response::{self, StatusData};
use ailurus_proto::imap::{CommandName, StatusArgs, StatusItems, Tag};
use ailurus_store::{Mailboxes, Result, Status};
use ailurus_types::MailboxName;

impl Session {
    pub(crate) fn status(&mut self, tag: Tag, account: &Account, args: &StatusArgs) {
        let name = CommandName::Status;
        let inbox = MailboxName::inbox();
        let mailbox = if args.mailbox.is_inbox() { &inbox } else { &args.mailbox };
        for item in &args.unknown {
            let text = format!("Unknown status flag {item}");
            self.untagged(response::Status::No, None, text);
        }
        let selected = match &self.state {
            State::Selected(_, selected) if selected.is_named(&args.mailbox) => {
                if self.base.config.status_warning {
                    let text = format!("CLIENT BUG DETECTED: STATUS on selected mailbox: {mailbox}");
                    self.untagged(response::Status::No, None, text);
                }
                if self.refresh(name).is_err() {
                    return;
                }
                let State::Selected(_, selected) = &self.state else { return };
                Some(&**selected)
            }
            _ => None,
        };
        let outcome = match of(&account.mailboxes, selected, &args.mailbox, args.items) {
            Ok(status) => {
                response::status(&mut self.output, mailbox.as_bytes(), &status);
                Outcome::ok()
            }
            Err(error) => wording::failure(&error, name, &args.mailbox),
        };
        self.finish(tag, name, outcome);
    }
}

/// Returns what is asked of a mailbox; of the selected one, if it is that.
pub(crate) fn of(
    mailboxes: &Mailboxes,
    selected: Option<&Selected>,
    name: &MailboxName,
    items: StatusItems,
) -> Result<StatusData> {
    if let Some(selected) = selected.filter(|selected| selected.is_named(name)) {
        let snapshot = selected.mailbox.snapshot();
        let status = Status::of(&snapshot.messages, snapshot.uid_next, snapshot.uid_validity);
        return Ok(asked(items, &status, items.size.then(|| snapshot.rfc822_size())));
    }
    let status = mailboxes.status(name)?;
    let size = if items.size { Some(mailboxes.size(name)?) } else { None };
    Ok(asked(items, &status, size))
}

fn asked(items: StatusItems, status: &Status, size: Option<u64>) -> StatusData {
    StatusData {
        size,
        messages: items.messages.then_some(status.messages),
        recent: items.recent.then_some(status.recent),
        unseen: items.unseen.then_some(status.unseen),
        uid_next: status.uid_next.filter(|_| items.uid_next),
        uid_validity: items.uid_validity.then_some(status.uid_validity),
    }
}
