//! What the peer is told of errors: the reference's texts, which people search the web for, and the codes of RFC 5530.
//!
//! A code is given where the cause is one that a client can act on; the text is the same with and without.

use crate::imap::tagged::{Outcome, OutcomeCode};
use ailurus_proto::imap::CommandName;
use ailurus_proto::imap::response::Code;
use ailurus_store::Error;
use ailurus_types::MailboxName;
use std::io;

/// Returns the outcome of a command on the named mailbox that failed.
pub(crate) fn failure(error: &Error, command: CommandName, mailbox: &MailboxName) -> Outcome {
    match error {
        Error::NotFound(name) => not_found(command, name),
        Error::AlreadyExists(name) => exists(command, mailbox, name),
        Error::NotSelectable(name) => match verb(command) {
            "open" => Outcome::no(format!("Can't open {name}: not a selectable mailbox")),
            verb => Outcome::no(format!("Can't {verb} mailbox {name}: not a selectable mailbox")),
        }
        .with(Code::Cannot),
        Error::InvalidName { name, why } => {
            let text = match command {
                // The reference puts the reason in place of the word mailbox.
                CommandName::Create if why.ends_with("name") || why.ends_with("octet") => {
                    format!("Can't create {why}: {name}")
                }
                _ => format!("Can't {} mailbox {name}: {why}", verb(command)),
            };
            Outcome::no(text).with(Code::Cannot)
        }
        Error::NotEmpty(name) => {
            Outcome::no(format!("Can't {} mailbox {name}: Directory not empty", verb(command)))
                .with(Code::Cannot)
        }
        Error::WrongFormat { path, .. } => {
            let text = format!("Can't open {mailbox} (file {}): not in valid mailbox format", path.display());
            Outcome::no(text).with(Code::Cannot)
        }
        Error::InUse { .. } if matches!(command, CommandName::Expunge | CommandName::UidExpunge) => {
            let text = "Can't expunge because mailbox is in use by another process";
            Outcome::no(text).with(Code::InUse)
        }
        Error::InUse { .. } => {
            let text =
                format!("Can't {} mailbox {mailbox}: mailbox is in use by another process", verb(command));
            Outcome::no(text).with(Code::InUse)
        }
        Error::ReadOnly { .. } => {
            Outcome::no(format!("Can't {} mailbox {mailbox}: access is readonly", verb(command)))
                .with(Code::NoPerm)
        }
        Error::Expunged { .. } => {
            Outcome::no("Some of the requested messages no longer exist").with(Code::ExpungeIssued)
        }
        Error::Damaged { what, .. } => Outcome::no(what).with(Code::Corruption),
        Error::Lost { what, .. } => Outcome::no(what).with(Code::ServerBug),
        Error::Refused(text) => Outcome::no(text).with_code_if(code_of_text(text)),
        Error::Io { source, .. } => {
            let text = format!("Can't {} mailbox {mailbox}: {}", verb(command), reason(source));
            Outcome::no(text).with_code_if(code_of_io(error, source))
        }
        _ => Outcome::no(format!("Can't {} mailbox {mailbox}", verb(command))),
    }
}

/// Returns what is said of a mailbox that could not be read or written in passing.
pub(crate) fn disk(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => format!("Disk error: {}", reason(source)),
        Error::Damaged { what, .. } | Error::Lost { what, .. } => what.clone(),
        Error::Refused(text) => text.clone(),
        Error::InUse { .. } => "Mailbox is in use by another process".into(),
        Error::ReadOnly { .. } => "Can't get write access to mailbox, access is readonly".into(),
        _ => "Mailbox operation failed".into(),
    }
}

fn not_found(command: CommandName, name: &MailboxName) -> Outcome {
    match command {
        CommandName::Append => Outcome::no(format!("Can't append to mailbox {name}: no such mailbox"))
            .with_code(OutcomeCode::TryCreate("append")),
        CommandName::Copy | CommandName::UidCopy | CommandName::Move | CommandName::UidMove => {
            Outcome::no("No such destination mailbox").with_code(OutcomeCode::TryCreate("copy"))
        }
        CommandName::Unsubscribe => {
            Outcome::no(format!("Not subscribed to mailbox {name}")).with(Code::NonExistent)
        }
        _ => Outcome::no(format!("Can't {} mailbox {name}: no such mailbox", verb(command)))
            .with(Code::NonExistent),
    }
}

fn exists(command: CommandName, mailbox: &MailboxName, name: &MailboxName) -> Outcome {
    let text = match command {
        CommandName::Rename => format!("Can't rename {mailbox}: mailbox {name} already exists"),
        CommandName::Subscribe => format!("Already subscribed to mailbox {name}"),
        _ => format!("Can't {} mailbox {name}: mailbox already exists", verb(command)),
    };
    Outcome::no(text).with(Code::AlreadyExists)
}

/// Returns what the reference says it cannot do.
fn verb(command: CommandName) -> &'static str {
    use CommandName as Name;
    match command {
        Name::Create => "create",
        Name::Delete => "delete",
        Name::Rename => "rename",
        Name::Subscribe => "subscribe to",
        Name::Unsubscribe => "unsubscribe from",
        Name::Status => "get status of",
        Name::Append => "append to",
        Name::Copy | Name::UidCopy | Name::Move | Name::UidMove => "copy to",
        Name::Store | Name::UidStore | Name::Expunge | Name::UidExpunge => "write to",
        Name::Fetch
        | Name::UidFetch
        | Name::Search
        | Name::UidSearch
        | Name::Sort
        | Name::UidSort
        | Name::Thread
        | Name::UidThread => "read",
        Name::List | Name::Rlist | Name::Scan | Name::Lsub | Name::Rlsub | Name::Find => "list",
        _ => "open",
    }
}

/// Returns the system's words without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn code_of_io(error: &Error, source: &io::Error) -> Option<Code<'static>> {
    match source.kind() {
        _ if error.is_full() => Some(Code::OverQuota),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Code::NoPerm),
        io::ErrorKind::NotFound => Some(Code::NonExistent),
        _ => None,
    }
}

/// Returns the code of a refusal that a driver has put into words.
fn code_of_text(text: &str) -> Option<Code<'static>> {
    if text.ends_with("no such mailbox") {
        Some(Code::NonExistent)
    } else if text.ends_with("File exists") || text.ends_with("already exists") {
        Some(Code::AlreadyExists)
    } else {
        None
    }
}

impl Outcome {
    fn with_code_if(self, code: Option<Code<'static>>) -> Self {
        match code {
            Some(code) => self.with(code),
            None => self,
        }
    }
}
