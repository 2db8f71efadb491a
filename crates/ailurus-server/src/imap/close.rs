//! CLOSE, UNSELECT, CHECK, LOGOUT (RFC 3501 §6.4.1, §6.4.2, §6.1.3; RFC 3691).

use crate::imap::session::{Session, State};
use crate::imap::tagged::Outcome;
use crate::imap::wording;
use ailurus_proto::imap::response::Status;
use ailurus_proto::imap::{CommandName, Tag};
use ailurus_store::{MessageInfo, Result, Snapshot};
use ailurus_types::{SystemFlags, Uid, UidSet};

impl Session {
    /// CLOSE: expunges without a word, then leaves the mailbox.
    pub(crate) fn close(&mut self, tag: Tag, name: CommandName) {
        let mut outcome = Outcome::ok();
        if let State::Selected(_, selected) = &mut self.state
            && selected.is_writable()
            && let Err(error) = expunge_deleted(selected.mailbox.as_mut())
        {
            outcome = wording::failure(&error, CommandName::Expunge, &selected.name);
        }
        if let Err(failed) = self.leave_mailbox() {
            outcome = failed;
        }
        self.drop_info_notices();
        self.finish(tag, name, outcome);
    }

    /// UNSELECT: leaves the mailbox.
    pub(crate) fn unselect(&mut self, tag: Tag) {
        let outcome = self.leave_mailbox().err().unwrap_or_default();
        self.drop_info_notices();
        self.finish(tag, CommandName::Unselect, outcome);
    }

    /// CHECK.
    pub(crate) fn check(&mut self, tag: Tag) {
        let State::Selected(_, selected) = &mut self.state else { return };
        selected.last_checkpoint = self.now;
        let outcome = match selected.mailbox.checkpoint() {
            Ok(changes) => {
                selected.note(&changes);
                Outcome::ok()
            }
            Err(error) => wording::failure(&error, CommandName::Check, &selected.name),
        };
        self.finish(tag, CommandName::Check, outcome);
    }

    /// LOGOUT. The mailbox is closed before the client is told that all is well.
    pub(crate) fn logout(&mut self, tag: &Tag) {
        let host = self.base.config.host.clone();
        self.untagged(Status::Bye, None, format_args!("{host} IMAP4rev1 server terminating connection"));
        if let Err(outcome) = self.leave_mailbox() {
            self.untagged(Status::No, None, outcome.text.unwrap_or_default());
        }
        self.drop_info_notices();
        self.answer(tag, CommandName::Logout, Outcome::ok());
        self.end("Logout", 0);
    }
}

/// Expunges all messages with `\Deleted`.
fn expunge_deleted(mailbox: &mut dyn ailurus_store::Mailbox) -> Result<()> {
    if deleted(mailbox.snapshot(), |_| true).is_empty() {
        return Ok(());
    }
    let mut edit = mailbox.edit()?;
    let uids = deleted(edit.snapshot(), |_| true);
    edit.expunge(&uids)?;
    let _changes = edit.commit()?;
    Ok(())
}

/// Returns the messages with `\Deleted` that are wanted.
pub(crate) fn deleted(snapshot: &Snapshot, wanted: impl Fn(Uid) -> bool) -> UidSet {
    let messages = snapshot.messages.iter();
    let deleted = messages.filter(|message| message.flags().system.contains(SystemFlags::DELETED));
    deleted.map(MessageInfo::uid).filter(|uid| wanted(*uid)).collect()
}
