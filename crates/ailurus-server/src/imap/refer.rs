//! Commands on mailboxes that have moved to another server (RFC 2193): which, and what they are told.
//!
//! UNSUBSCRIBE is done here, where the subscription is.

use crate::imap::anonymous::is_for_anonymous;
use crate::imap::session::{Account, Session};
use crate::imap::tagged::{Outcome, OutcomeCode};
use crate::referral::url_of;
use ailurus_proto::imap::{CommandBody, CommandName, Tag};
use ailurus_types::MailboxName;

impl Session {
    /// Refers a command elsewhere if it is about a mailbox that has moved.
    pub(crate) fn refer(
        &mut self,
        tag: &Tag,
        name: CommandName,
        account: &Account,
        body: &CommandBody,
    ) -> bool {
        let referrals = std::sync::Arc::clone(&self.base.config.referrals);
        if referrals.mailboxes.is_empty() {
            return false;
        }
        let anonymous = account.is_anonymous();
        // RFC 2193 §3: a URL without a user is for anonymous access.
        let user = if anonymous { b"" } else { account.mailboxes.environment().user.as_bytes() };
        let url = |mailbox: &MailboxName| {
            let name = Some(mailbox.as_bytes()).filter(|name| !anonymous || is_for_anonymous(name));
            name.and_then(|name| referrals.mailbox(user, name))
        };
        let urls = match body {
            CommandBody::Select(mailbox)
            | CommandBody::Examine(mailbox)
            | CommandBody::Bboard(mailbox)
            | CommandBody::Create { name: mailbox, .. }
            | CommandBody::Delete(mailbox)
            | CommandBody::Subscribe(mailbox)
            | CommandBody::Copy { mailbox, .. }
            | CommandBody::Move { mailbox, .. } => url(mailbox).into_iter().collect(),
            CommandBody::Status(args) => url(&args.mailbox).into_iter().collect(),
            CommandBody::Append(start) => url(&start.mailbox).into_iter().collect(),
            CommandBody::Rename { from, to } => match (url(from), url(to)) {
                (None, None) => Vec::new(),
                // RFC 2193 §4.3: a pair, wherever either is.
                (old, new) => {
                    let here = |mailbox: &[u8]| url_of(&self.base.config.host, user, mailbox);
                    let old = old.unwrap_or_else(|| here(from.as_bytes()));
                    vec![old, new.unwrap_or_else(|| here(to.as_bytes()))]
                }
            },
            _ => Vec::new(),
        };
        if urls.is_empty() {
            return false;
        }
        match body {
            CommandBody::Append(_) => self.splitter.reject(),
            CommandBody::Select(_) | CommandBody::Examine(_) | CommandBody::Bboard(_) => {
                // As with one that cannot be selected for another reason.
                if let Err(outcome) = self.leave_mailbox() {
                    self.notes.warn(outcome.text.unwrap_or_default(), &mut self.output);
                }
            }
            _ => {}
        }
        let outcome = Outcome::no("Mailbox has moved to another server");
        self.finish(tag.clone(), name, outcome.with_code(OutcomeCode::Referral(urls)));
        true
    }
}
