//! EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1).

use crate::imap::close::deleted;
use crate::imap::select::Selected;
use crate::imap::session::{Session, State, Step, Task};
use crate::imap::store::uids_of;
use crate::imap::tagged::{Notes, Outcome};
use crate::imap::wording;
use ailurus_proto::imap::{CommandName, Tag, WrittenSet};
use ailurus_store::{Result, Snapshot};
use ailurus_types::UidSet;

/// An expunge that is to be done.
pub(crate) struct Expunge {
    name: CommandName,
    /// Only these.
    uids: Option<UidSet>,
}

impl Session {
    pub(crate) fn expunge(&mut self, tag: Tag, name: CommandName, set: Option<WrittenSet>) {
        let State::Selected(_, selected) = &mut self.state else { return };
        selected.last_checkpoint = self.now;
        let uids = match set {
            None => None,
            Some(set) => match uids_of(selected, name, set) {
                Ok(uids) => Some(uids),
                Err(outcome) => return self.finish(tag, name, outcome),
            },
        };
        self.run(tag, name, Task::Expunge(Expunge { name, uids }));
    }
}

impl Expunge {
    pub(crate) fn step(&mut self, selected: &mut Selected, notes: &mut Notes, out: &mut Vec<u8>) -> Step {
        if !selected.is_writable() {
            notes.warn("Expunge ignored on readonly mailbox", out);
            return Step::Next(Task::Refresh(Outcome::ok()));
        }
        let outcome = match self.expunge(selected) {
            Ok(text) => Outcome::ok().with_text(text),
            Err(error) => wording::failure(&error, self.name, &selected.name),
        };
        Step::Next(Task::Refresh(outcome))
    }

    fn expunge(&self, selected: &mut Selected) -> Result<String> {
        let only = self.uids.as_ref().map(|uids| selected.left_of(uids));
        let wanted = |snapshot: &Snapshot| {
            deleted(snapshot, |uid| only.as_ref().is_none_or(|only| only.contains(uid)))
        };
        if wanted(selected.mailbox.snapshot()).is_empty() {
            if !selected.mailbox.is_dirty() {
                return Ok("No messages deleted, so no update needed".into());
            }
            let changes = selected.mailbox.checkpoint()?;
            selected.note(&changes);
            return Ok("Mailbox checkpointed, but no messages expunged".into());
        }
        let mut edit = selected.edit()?;
        let uids = wanted(edit.snapshot());
        let count = edit.snapshot().messages.iter().filter(|message| uids.contains(message.uid())).count();
        edit.expunge(&uids)?;
        let changes = edit.commit()?;
        selected.note(&changes);
        Ok(format!("Expunged {count} messages"))
    }
}
