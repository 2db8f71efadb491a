//! LIST with options (RFC 5258), with STATUS (RFC 5819) and special uses (RFC 6154).

use crate::imap::list::{self, failure};
use crate::imap::select::Selected;
use crate::imap::session::{Account, Session, Step, Task};
use crate::imap::status;
use crate::referral::Referrals;
use ailurus_proto::imap::response::{self, ListKind};
use ailurus_proto::imap::{CommandName, ListExtended, ListSelection, StatusItems, Tag};
use ailurus_store::{Attributes, ExtendedListing, ExtendedName, ExtendedQuery, Listed, Mailboxes};
use ailurus_types::MailboxName;
use std::collections::VecDeque;
use std::sync::Arc;

/// An extended LIST under way.
pub(crate) struct Extended {
    listing: ExtendedListing,
    selection: ListSelection,
    status: Option<StatusItems>,
    mailboxes: Arc<Mailboxes>,
    referrals: Arc<Referrals>,
    /// What REMOTE tells last.
    moved: VecDeque<Listed>,
}

/// How many names are told before others have their turn; only one where each is opened for its STATUS.
const SLICE: usize = 100;

impl Session {
    pub(crate) fn list_extended(&mut self, tag: Tag, account: &Account, args: ListExtended) {
        let name = CommandName::List;
        let ListExtended { selection, reference, patterns, returns } = args;
        let referrals = Arc::clone(&self.base.config.referrals);
        let mut moved = VecDeque::new();
        // Which of them are subscribed, and nothing else, is known with the names of this server.
        if selection.remote && !(selection.subscribed || selection.special_use) {
            let patterns: Vec<&[u8]> = patterns.iter().map(Vec::as_slice).collect();
            moved = list::moved_names(&referrals, account, &reference, &patterns);
        }
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
                let status = returns.status;
                let extended = Extended { listing, selection, status, mailboxes, referrals, moved };
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
                Some(Ok(found)) => {
                    if self.selection.remote || !self.referrals.has_moved(&found.listed.name) {
                        self.tell(found, selected, out);
                    }
                }
                Some(Err(error)) => {
                    return Step::Next(Task::Refresh(failure(&error, CommandName::List, b"")));
                }
                None if !self.moved.is_empty() => {
                    let moved = self.moved.pop_front();
                    moved.into_iter().for_each(|listed| append_moved(&listed, out));
                }
                None => return Step::Next(Task::Refresh(crate::imap::tagged::Outcome::ok())),
            }
        }
        Step::Yield
    }

    fn tell(&self, found: ExtendedName, selected: Option<&Selected>, out: &mut Vec<u8>) {
        let mut listed = found.listed;
        let remote = self.referrals.has_moved(&listed.name);
        let is_mailbox = !remote && found.exists && !listed.attributes.contains(Attributes::NO_SELECT);
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
        attributes.remote = remote;
        attributes.non_existent = !remote && !found.exists;
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

fn append_moved(listed: &Listed, out: &mut Vec<u8>) {
    let mut attributes = list::attributes(listed.attributes);
    attributes.remote = true;
    response::list(out, ListKind::List, attributes, listed.delimiter, &listed.name, &[]);
}
