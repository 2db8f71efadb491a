//! STATUS (RFC 3501 §6.3.10).

use crate::imap::session::{Account, Session, State};
use crate::imap::tagged::Outcome;
use crate::imap::wording;
use ailurus_proto::imap::response::{self, StatusData};
use ailurus_proto::imap::{CommandName, StatusArgs, Tag};
use ailurus_store::Status;
use ailurus_types::{MailboxName, SystemFlags};

impl Session {
    pub(crate) fn status(&mut self, tag: Tag, account: &Account, args: &StatusArgs) {
        let name = CommandName::Status;
        let inbox = MailboxName::inbox();
        let mailbox = if args.mailbox.is_inbox() { &inbox } else { &args.mailbox };
        for item in &args.unknown {
            let text = format!("Unknown status flag {item}");
            self.untagged(response::Status::No, None, text);
        }
        let status = if self.is_selected(&args.mailbox) {
            let text = format!("CLIENT BUG DETECTED: STATUS on selected mailbox: {mailbox}");
            self.untagged(response::Status::No, None, text);
            if self.refresh(name).is_err() {
                return;
            }
            Ok(self.status_of_selected())
        } else {
            account.mailboxes.status(&args.mailbox).map(Some)
        };
        let outcome = match status {
            Ok(status) => {
                if let Some(status) = status {
                    response::status(&mut self.output, mailbox.as_bytes(), &asked(args, &status));
                }
                Outcome::ok()
            }
            Err(error) => wording::failure(&error, name, &args.mailbox),
        };
        self.finish(tag, name, outcome);
    }

    fn status_of_selected(&self) -> Option<Status> {
        let State::Selected(_, selected) = &self.state else { return None };
        let snapshot = selected.mailbox.snapshot();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let messages = &snapshot.messages;
        let seen = messages.iter().filter(|message| message.flags().system.contains(SystemFlags::SEEN));
        Some(Status {
            messages: count(messages.len()),
            recent: count(messages.iter().filter(|message| message.is_recent()).count()),
            unseen: count(messages.len() - seen.count()),
            uid_next: snapshot.uid_next,
            uid_validity: snapshot.uid_validity,
        })
    }
}

fn asked(args: &StatusArgs, status: &Status) -> StatusData {
    let items = args.items;
    StatusData {
        messages: items.messages.then_some(status.messages),
        recent: items.recent.then_some(status.recent),
        unseen: items.unseen.then_some(status.unseen),
        uid_next: status.uid_next.filter(|_| items.uid_next),
        uid_validity: items.uid_validity.then_some(status.uid_validity),
    }
}
