//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7).

use crate::imap::session::{Account, Session, State};
use crate::imap::tagged::Outcome;
use crate::imap::wording;
use ailurus_proto::imap::response::Code;
use ailurus_proto::imap::{CommandName, Tag, WrittenUses};
use ailurus_store::{Error, Result};
use ailurus_types::{MailboxName, SpecialUses};

impl Session {
    pub(crate) fn create(
        &mut self,
        tag: Tag,
        account: &Account,
        name: &MailboxName,
        uses: Option<WrittenUses>,
    ) {
        let uses = match uses {
            Some(Ok(uses)) => uses,
            Some(Err(unknown)) => {
                let outcome = Outcome::no(format!("{unknown} not supported")).with(Code::UseAttr);
                return self.finish(tag, CommandName::Create, outcome);
            }
            None => SpecialUses::default(),
        };
        let done = if uses.is_empty() {
            account.mailboxes.create(name)
        } else {
            match account.mailboxes.refuses_uses(name, uses) {
                Ok(Some(why)) => {
                    let outcome = Outcome::no(why).with(Code::UseAttr);
                    return self.finish(tag, CommandName::Create, outcome);
                }
                Ok(None) => account.mailboxes.create_for(name, uses),
                Err(error) => Err(error),
            }
        };
        if let Err(Error::AlreadyExists(existing)) = &done
            && let Ok(location) = account.mailboxes.resolve(existing)
            && let Some(path) = location.path()
        {
            // The reference tells where the mailbox is, or what is in the place of a directory above it.
            let above = path.ancestors().skip(1).find(|above| above.exists());
            let node = match above {
                Some(file) if !file.is_dir() => format!("{}/", file.display()),
                _ => path.display().to_string(),
            };
            let text = format!("Can't create mailbox node {node}: File exists");
            return self.finish(tag, CommandName::Create, Outcome::no(text).with(Code::AlreadyExists));
        }
        self.done(tag, CommandName::Create, name, done);
    }

    pub(crate) fn delete(&mut self, tag: Tag, account: &Account, name: &MailboxName) {
        if self.is_selected(name) {
            let outcome = Outcome::no("Can not DELETE the selected mailbox").with(Code::InUse);
            return self.finish(tag, CommandName::Delete, outcome);
        }
        let done = account.mailboxes.delete(name);
        self.done(tag, CommandName::Delete, name, done);
    }

    pub(crate) fn rename(&mut self, tag: Tag, account: &Account, from: &MailboxName, to: &MailboxName) {
        if self.is_selected(from) {
            let outcome = Outcome::no("Can not RENAME the selected mailbox").with(Code::InUse);
            return self.finish(tag, CommandName::Rename, outcome);
        }
        let done = account.mailboxes.rename(from, to);
        self.done(tag, CommandName::Rename, from, done);
    }

    pub(crate) fn subscribe(&mut self, tag: Tag, account: &Account, name: &MailboxName) {
        let done = account.mailboxes.subscribe(name);
        self.done(tag, CommandName::Subscribe, name, done);
    }

    pub(crate) fn unsubscribe(&mut self, tag: Tag, account: &Account, name: &MailboxName) {
        let done = account.mailboxes.unsubscribe(name);
        self.done(tag, CommandName::Unsubscribe, name, done);
    }

    fn done(&mut self, tag: Tag, command: CommandName, name: &MailboxName, done: Result<()>) {
        let outcome = match done {
            Ok(()) => Outcome::ok(),
            Err(error) => wording::failure(&error, command, name),
        };
        self.finish(tag, command, outcome);
    }

    /// Tells whether the name is that of the selected mailbox.
    pub(crate) fn is_selected(&self, name: &MailboxName) -> bool {
        let State::Selected(_, selected) = &self.state else { return false };
        selected.is_named(name)
    }
}
