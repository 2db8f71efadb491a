//! What the anonymous user may do (spec/imapd.md §3 and §17): read what is there for everybody.
//!
//! The store knows no name outside of it ([`ailurus_store::Mode::Anonymous`]), and the process has nobody's rights; here are
//! the commands that do not exist, and the names that are refused with the words of the reference.

use crate::imap::tagged::Outcome;
use ailurus_proto::imap::response::Code;
use ailurus_proto::imap::{CommandBody, CommandName};

/// Tells whether the anonymous user has a command; those that it has not are unknown.
pub(super) fn has(name: CommandName) -> bool {
    use CommandName as Name;
    !matches!(
        name,
        Name::Append
            | Name::Create
            | Name::Delete
            | Name::Rename
            | Name::Subscribe
            | Name::Unsubscribe
            | Name::Close
            | Name::Expunge
            | Name::UidExpunge
            | Name::Copy
            | Name::UidCopy
            | Name::Move
            | Name::UidMove
    )
}

/// Returns the refusal of a command that names what is not there for everybody.
pub(super) fn refusal(name: CommandName, body: &CommandBody) -> Option<Outcome> {
    let named = match body {
        CommandBody::Select(mailbox) | CommandBody::Examine(mailbox) | CommandBody::Bboard(mailbox) => {
            mailbox.as_bytes().to_vec()
        }
        CommandBody::Status(args) => args.mailbox.as_bytes().to_vec(),
        CommandBody::List(args) | CommandBody::Rlist(args) => joined(&args.reference, &args.pattern),
        CommandBody::ListExtended(args) => {
            let mut named = args.patterns.iter().map(|one| joined(&args.reference, one));
            named.find(|named| !is_everybodys(named))?
        }
        CommandBody::Lsub(args) | CommandBody::Rlsub(args) => joined(&args.reference, &args.pattern),
        CommandBody::Scan { names, .. } => joined(&names.reference, &names.pattern),
        CommandBody::Find(
            ailurus_proto::imap::Find::Mailboxes(pattern) | ailurus_proto::imap::Find::AllMailboxes(pattern),
        ) => pattern.clone(),
        _ => return None,
    };
    let text = || format!("Anonymous may not {name} this name");
    (!is_everybodys(&named)).then(|| Outcome::no(text()).with(Code::NoPerm))
}

/// Returns reference and pattern as one. A pattern that starts with a mark of its own has no use for the reference.
pub(super) fn joined(reference: &[u8], pattern: &[u8]) -> Vec<u8> {
    if is_marked(pattern) { pattern.to_vec() } else { [reference, pattern].concat() }
}

/// Tells whether a name that has moved concerns the anonymous user: others are names of users' own.
pub(super) fn is_for_anonymous(name: &[u8]) -> bool {
    is_marked(name) && is_everybodys(name)
}

pub(super) fn is_marked(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'#' | b'{'))
}

fn is_everybodys(name: &[u8]) -> bool {
    let starts =
        |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    !is_marked(name) || starts(b"#news.") || starts(b"#ftp/") || starts(b"#public/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_namespaces_are_everybodys() {
        for name in [&b"INBOX"[..], b"", b"*", b"#news.comp.*", b"#FTP/x", b"#public/"] {
            assert!(is_everybodys(name), "{}", name.escape_ascii());
        }
        for name in
            [&b"#shared/x"[..], b"#mh/x", b"#mhinbox", b"#driver.mbx/x", b"#news", b"#", b"#ftp", b"{h}x"]
        {
            assert!(!is_everybodys(name), "{}", name.escape_ascii());
        }
        assert!(is_for_anonymous(b"#public/x") && !is_for_anonymous(b"#shared/x") && !is_for_anonymous(b"x"));
        assert_eq!(joined(b"#shared/", b"*"), b"#shared/*");
        assert_eq!(joined(b"#public/", b"#shared/*"), b"#shared/*");
    }
}
