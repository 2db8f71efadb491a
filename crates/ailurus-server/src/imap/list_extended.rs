//! LIST with options (RFC 5258), with STATUS (RFC 5819) and special uses (RFC 6154).

use crate::imap::list::{self, failure};
use crate::imap::select::Selected;
use crate::imap::session::{Account, Session, Step, Task};
use crate::imap::status;
use ailurus_proto::imap::response::{self, ListKind};
use ailurus_proto::imap::{CommandName, ListExtended, ListSelection, StatusItems, Tag};
use ailurus_store::{Attributes, ExtendedListing, ExtendedName, ExtendedQuery, Mailboxes};
use ailurus_types::MailboxName;
use std::sync::Arc;

/// An extended LIST under way.
pub(crate) struct Extended {
    listing: ExtendedListing,
    selection: ListSelection,
    status: Option<StatusItems>,
    mailboxes: Arc<Mailboxes>,
}

/// How many names are told before others have their turn; only one where each is opened for its STATUS.
const SLICE: usize = 100;

impl Session {
    pub(crate) fn list_extended(&mut self, tag: Tag, account: &Account, args: ListExtended) {
        let name = CommandName::List;
        let ListExtended { selection, reference, patterns, returns } = args;
        let query = ExtendedQuery {
            reference,
            patterns,
            only_subscribed: selection.subscribed,
            only_special_use: selection.special_use,
            recursive: selection.recursive_match,
            subscribed: returns.subscribed,
            special_use: returns.special_use,
            children: returns.children,
        };
        match account.mailboxes.extended_listing(query) {
            Ok(listing) => {
                let mailboxes = Arc::clone(&account.mailboxes);
                let extended = Extended { listing, selection, status: returns.status, mailboxes };
                self.run(tag, name, Task::ListExtended(Box::new(extended)));
            }
            Err(error) => self.finish(tag, name, failure(&error, name, b"")),
        }
    }
}

impl Extended {
    pub(crate) fn step(&mut self, selected: Option<&Selected>, out: &mut Vec<u8>, limit: usize) -> Step {
        for _ in 0..if self.status.is_some() { 1 } else { SLICE } {
            if out.len() >= limit {
                return Step::Continue;
            }
            match self.listing.next() {
                Some(Ok(found)) => self.tell(found, selected, out),
                Some(Err(error)) => {
                    return Step::Next(Task::Refresh(failure(&error, CommandName::List, b"")));
                }
                None => return Step::Next(Task::Refresh(crate::imap::tagged::Outcome::ok())),
            }
        }
        Step::Yield
    }

    fn tell(&self, found: ExtendedName, selected: Option<&Selected>, out: &mut Vec<u8>) {
        let mut listed = found.listed;
        let is_mailbox = found.exists && !listed.attributes.contains(Attributes::NO_SELECT);
        let mut status = None;
        if let Some(items) = self.status.filter(|_| is_mailbox && found.is_selected) {
            let name = MailboxName::new(listed.name.as_slice());
            status = status::of(&self.mailboxes, selected, &name, items).ok();
            if status.is_none() {
                // RFC 5819 §2: who cannot be counted cannot be selected.
                listed.attributes = listed.attributes.with(Attributes::NO_SELECT);
            }
        }
        let mut attributes = list::attributes(listed.attributes);
        attributes.non_existent = !found.exists;
        attributes.subscribed = found.subscribed;
        attributes.uses = found.uses;
        let mut child_info = Vec::new();
        if found.child_info {
            child_info.extend(self.selection.subscribed.then_some("SUBSCRIBED"));
            child_info.extend(self.selection.special_use.then_some("SPECIAL-USE"));
        }
        response::list(out, ListKind::List, attributes, listed.delimiter, &listed.name, &child_info);
        if let Some(status) = status {
            response::status(out, &listed.name, &status);
        }
    }
}
