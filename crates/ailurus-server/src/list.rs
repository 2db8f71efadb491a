//! LIST, LSUB, their kin, FIND, NAMESPACE (RFC 3501 §6.3.8, §6.3.9; RFC 2193; RFC 2342).

use crate::session::{Account, Session};
use crate::tagged::Outcome;
use crate::wording;
use ailurus_proto::response::{self, ListAttributes, ListKind};
use ailurus_proto::{CommandName, Find, ListArgs, Tag};
use ailurus_store::{Attributes, Listed, Result};
use ailurus_types::MailboxName;

impl Session {
    /// LIST and RLIST, which are the same where no name is another server's.
    pub(crate) fn list(&mut self, tag: Tag, name: CommandName, account: &Account, args: &ListArgs) {
        let out = &mut self.output;
        let done = account.mailboxes.list(&args.reference, &args.pattern, &mut |listed| {
            append_listed(out, ListKind::List, &listed);
        });
        self.listed(tag, name, &args.pattern, done);
    }

    /// LSUB and RLSUB.
    pub(crate) fn lsub(&mut self, tag: Tag, name: CommandName, account: &Account, args: &ListArgs) {
        let out = &mut self.output;
        let done = account.mailboxes.lsub(&args.reference, &args.pattern, &mut |listed| {
            append_listed(out, ListKind::Lsub, &listed);
        });
        self.listed(tag, name, &args.pattern, done);
    }

    /// FIND (IMAP2bis), which the reference has and always refuses by mistake.
    pub(crate) fn find(&mut self, tag: Tag, account: &Account, find: Find) {
        let out = &mut self.output;
        let mut found = |listed: Listed| {
            if !listed.attributes.contains(Attributes::NO_SELECT) {
                response::mailbox(out, &listed.name);
            }
        };
        let (pattern, done) = match find {
            Find::Mailboxes(pattern) => {
                let done = account.mailboxes.lsub(b"", &pattern, &mut found);
                (pattern, done)
            }
            Find::AllMailboxes(pattern) => {
                let done = account.mailboxes.list(b"", &pattern, &mut found);
                (pattern, done)
            }
        };
        self.listed(tag, CommandName::Find, &pattern, done);
    }

    fn listed(&mut self, tag: Tag, name: CommandName, pattern: &[u8], done: Result<()>) {
        let outcome = match done {
            Ok(()) => Outcome::ok(),
            Err(error) => wording::failure(&error, name, &MailboxName::new(pattern)),
        };
        self.finish(tag, name, outcome);
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

fn append_listed(out: &mut Vec<u8>, kind: ListKind, listed: &Listed) {
    let has = |attribute| listed.attributes.contains(attribute);
    let attributes = ListAttributes {
        no_inferiors: has(Attributes::NO_INFERIORS),
        no_select: has(Attributes::NO_SELECT),
        marked: has(Attributes::MARKED),
        unmarked: has(Attributes::UNMARKED),
        has_children: has(Attributes::HAS_CHILDREN),
        has_no_children: has(Attributes::HAS_NO_CHILDREN),
    };
    response::list(out, kind, attributes, listed.delimiter, &listed.name);
}
