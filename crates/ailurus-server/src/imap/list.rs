//! LIST, LSUB, their kin, SCAN, FIND, NAMESPACE (RFC 3501 §6.3.8, §6.3.9; RFC 2193; RFC 2342).

use crate::imap::anonymous::{is_for_anonymous, is_marked, joined};
use crate::imap::session::{Account, Session, Step, Task};
use crate::imap::tagged::Outcome;
use crate::imap::wording;
use crate::referral::Referrals;
use ailurus_proto::imap::response::{self, ListAttributes, ListKind};
use ailurus_proto::imap::{CommandName, Find, ListArgs, Tag};
use ailurus_store::{Attributes, Error, Listed, Listing, Mailboxes, Pattern, Result, SubscribedListing};
use ailurus_types::MailboxName;
use std::collections::VecDeque;
use std::sync::Arc;

/// A LIST, LSUB, SCAN or FIND under way.
pub(crate) struct List {
    name: CommandName,
    pattern: Vec<u8>,
    names: Names,
    /// What mailboxes have to hold to be told, and who can say.
    wanted: Option<(Arc<Mailboxes>, Vec<u8>)>,
    /// What has moved: left out, but for RLIST, which tells it last.
    referrals: Arc<Referrals>,
    moved: VecDeque<Listed>,
}

enum Names {
    All(Listing),
    Subscribed(SubscribedListing),
}

/// How many names are told before others have their turn.
const SLICE: usize = 100;

impl Session {
    /// LIST and RLIST, which are the same where no name is another server's.
    pub(crate) fn list(&mut self, tag: Tag, name: CommandName, account: &Account, args: ListArgs) {
        self.start_list(tag, name, account, args, None);
    }

    /// SCAN, of the reference: LIST of those mailboxes whose files hold a text.
    pub(crate) fn scan(&mut self, tag: Tag, account: &Account, names: ListArgs, text: Vec<u8>) {
        let wanted = Some((Arc::clone(&account.mailboxes), text));
        self.start_list(tag, CommandName::Scan, account, names, wanted);
    }

    fn start_list(
        &mut self,
        tag: Tag,
        name: CommandName,
        account: &Account,
        names: ListArgs,
        wanted: Option<(Arc<Mailboxes>, Vec<u8>)>,
    ) {
        let ListArgs { reference, pattern } = names;
        let referrals = &self.base.config.referrals;
        let moved = match name {
            CommandName::Rlist => moved_names(referrals, account, &reference, &[&pattern]),
            _ => VecDeque::new(),
        };
        let names = account.mailboxes.listing(&reference, &pattern).map(Names::All);
        self.run_list(tag, name, pattern, names, wanted, moved);
    }

    fn run_list(
        &mut self,
        tag: Tag,
        name: CommandName,
        pattern: Vec<u8>,
        names: Result<Names>,
        wanted: Option<(Arc<Mailboxes>, Vec<u8>)>,
        moved: VecDeque<Listed>,
    ) {
        match names {
            Ok(names) => {
                let referrals = Arc::clone(&self.base.config.referrals);
                let list = List { name, pattern, names, wanted, referrals, moved };
                self.run(tag, name, Task::List(Box::new(list)));
            }
            Err(error) => {
                let outcome = failure(&error, name, &pattern);
                self.finish(tag, name, outcome);
            }
        }
    }

    /// LSUB, RLSUB and FIND MAILBOXES.
    pub(crate) fn lsub(&mut self, tag: Tag, name: CommandName, account: &Account, args: ListArgs) {
        let ListArgs { reference, pattern } = args;
        let names = account.mailboxes.lsub_listing(&reference, &pattern).map(Names::Subscribed);
        self.run_list(tag, name, pattern, names, None, VecDeque::new());
    }

    /// FIND (IMAP2bis), which the reference has and always refuses by mistake.
    pub(crate) fn find(&mut self, tag: Tag, account: &Account, find: Find) {
        let name = CommandName::Find;
        let of = |pattern| ListArgs { reference: Vec::new(), pattern };
        match find {
            Find::Mailboxes(pattern) => self.lsub(tag, name, account, of(pattern)),
            Find::AllMailboxes(pattern) => self.list(tag, name, account, of(pattern)),
        }
    }

    /// NAMESPACE.
    pub(crate) fn namespace(&mut self, tag: Tag, account: &Account) {
        let namespaces = account.mailboxes.namespaces();
        let printed = |class: &[ailurus_store::Namespace]| -> Vec<response::Namespace<'static>> {
            let one = |(prefix, delimiter): &(&'static str, Option<char>)| response::Namespace {
                prefix: prefix.as_bytes(),
                delimiter: delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()),
            };
            class.iter().map(one).collect()
        };
        let classes =
            [&namespaces.personal, &namespaces.other, &namespaces.shared].map(|class| printed(class));
        response::namespace(&mut self.output, [&classes[0], &classes[1], &classes[2]]);
        self.finish(tag, CommandName::Namespace, Outcome::ok());
    }
}

impl List {
    pub(crate) fn step(&mut self, out: &mut Vec<u8>, limit: usize) -> Step {
        for _ in 0..SLICE {
            if out.len() >= limit {
                return Step::Continue;
            }
            match self.next() {
                Some(Ok(None)) => return Step::Yield,
                Some(Ok(Some(listed))) if self.name == CommandName::Find => append_found(out, &listed),
                Some(Ok(Some(listed))) => append_listed(out, self.kind(), &listed),
                Some(Err(error)) => {
                    return Step::Next(Task::Refresh(failure(&error, self.name, &self.pattern)));
                }
                None => return Step::Next(Task::Refresh(Outcome::ok())),
            }
        }
        Step::Yield
    }

    fn kind(&self) -> ListKind {
        match self.names {
            Names::All(_) => ListKind::List,
            Names::Subscribed(_) => ListKind::Lsub,
        }
    }

    /// Returns the next name; `Ok(None)`: one that does not hold what is wanted, though that took its time to find out.
    fn next(&mut self) -> Option<Result<Option<Listed>>> {
        let next = match &mut self.names {
            Names::All(names) => names.next(),
            Names::Subscribed(names) => names.next(),
        };
        let listed = match next {
            None => return self.moved.pop_front().map(|moved| Ok(Some(moved))),
            Some(Ok(listed)) => listed,
            Some(Err(error)) => return Some(Err(error)),
        };
        let tells_moved = matches!(self.name, CommandName::Rlist | CommandName::Rlsub);
        if !tells_moved && self.referrals.has_moved(&listed.name) {
            return Some(Ok(None));
        }
        let Some((mailboxes, text)) = &self.wanted else { return Some(Ok(Some(listed))) };
        if listed.attributes.contains(Attributes::NO_SELECT) {
            return Some(Ok(None));
        }
        match mailboxes.holds(&MailboxName::new(listed.name.as_slice()), text) {
            Ok(true) => Some(Ok(Some(listed))),
            // One that is gone again or may not be read is none that could be selected.
            Ok(false) | Err(Error::Io { .. } | Error::NotFound(_)) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Returns the names of moved mailboxes that match and that are not here any more.
pub(crate) fn moved_names(
    referrals: &Referrals,
    account: &Account,
    reference: &[u8],
    patterns: &[&[u8]],
) -> VecDeque<Listed> {
    let patterns: Vec<_> = patterns.iter().map(|pattern| joined(reference, pattern)).collect();
    let patterns: Vec<_> = patterns.iter().map(|text| (is_marked(text), Pattern::new(text))).collect();
    let is_told = |name: &[u8]| !account.is_anonymous() || is_for_anonymous(name);
    // As with what is here, `*` is nothing of other namespaces.
    let matches = |name: &[u8]| {
        let mut of_kind = patterns.iter().filter(|(marked, _)| *marked == is_marked(name));
        is_told(name) && of_kind.any(|(_, pattern)| pattern.matches(name))
    };
    let names = referrals.names().filter(|name| matches(name) && !account.mailboxes.has_name(name));
    names
        .map(|name| Listed { name: name.into(), delimiter: Some(b'/'), attributes: Attributes::NONE })
        .collect()
}

pub(crate) fn failure(error: &Error, name: CommandName, pattern: &[u8]) -> Outcome {
    wording::failure(error, name, &MailboxName::new(pattern))
}

fn append_found(out: &mut Vec<u8>, listed: &Listed) {
    if !listed.attributes.contains(Attributes::NO_SELECT) {
        response::mailbox(out, &listed.name);
    }
}

fn append_listed(out: &mut Vec<u8>, kind: ListKind, listed: &Listed) {
    response::list(out, kind, attributes(listed.attributes), listed.delimiter, &listed.name, &[]);
}

pub(crate) fn attributes(set: Attributes) -> ListAttributes {
    let has = |attribute| set.contains(attribute);
    ListAttributes {
        no_inferiors: has(Attributes::NO_INFERIORS),
        no_select: has(Attributes::NO_SELECT),
        marked: has(Attributes::MARKED),
        unmarked: has(Attributes::UNMARKED),
        has_children: has(Attributes::HAS_CHILDREN),
        has_no_children: has(Attributes::HAS_NO_CHILDREN),
        ..ListAttributes::default()
    }
}
