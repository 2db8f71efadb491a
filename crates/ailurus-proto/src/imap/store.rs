//! The arguments of STORE, and flags as clients write them.

use crate::imap::args::{Args, Fault};
use crate::imap::command::{WrittenSet, written_set};
use crate::imap::{CommandName, Stop, SyntaxError, print};
use ailurus_types::{FlagOp, Keyword, SystemFlags};

/// The arguments of STORE. What is wrong with them is said in this order: set, item, flags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreArgs {
    /// The messages.
    pub set: WrittenSet,
    /// What to do with the flags, and whether to tell; or a bogus attribute list.
    pub item: Result<(FlagOp, StoreResponse), SyntaxError>,
    /// The flags.
    pub flags: Result<Vec<FlagWord>, BadFlagList>,
}

/// Whether STORE is answered with the new flags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreResponse {
    /// `* n FETCH (FLAGS (...))` for each message.
    Flags,
    /// `.SILENT`
    Silent,
}

/// A flag list with only one of its parentheses. The text is that of a NO response.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Bad flag list")]
pub struct BadFlagList;

/// One word of a flag list. Words that are no flags become warnings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FlagWord {
    /// A system flag.
    System(SystemFlags),
    /// A keyword, if the mailbox knows it or can make it (else `Unknown flag: X`).
    Keyword(Keyword),
    /// Another word with a backslash, `\Recent` among them: `Unsupported system flag: \X`. Fit to print.
    UnknownSystem(Box<str>),
    /// A word that no keyword can be: `Unknown flag: X` if it is too long, else `Invalid flag: X`. Fit to print.
    BadKeyword(Box<str>),
}

pub(crate) fn parse(args: &mut Args<'_>, command: CommandName) -> Result<StoreArgs, Stop> {
    let missing = || Fault::Missing.of(command);
    let set = args.word().ok_or_else(missing)?;
    let item = args.word().ok_or_else(missing)?;
    args.skip_spaces();
    let flags = args.rest();
    if flags.is_empty() {
        return Err(missing());
    }
    Ok(StoreArgs {
        set: written_set(set),
        item: parse_item(item).ok_or(SyntaxError::BogusAttributes(command)),
        flags: parse_flags(flags),
    })
}

fn parse_item(item: &[u8]) -> Option<(FlagOp, StoreResponse)> {
    let upper = item.to_ascii_uppercase();
    let (name, response) = match upper.strip_suffix(b".SILENT") {
        Some(name) => (name, StoreResponse::Silent),
        None => (upper.as_slice(), StoreResponse::Flags),
    };
    let op = match name {
        b"FLAGS" => FlagOp::Replace,
        b"+FLAGS" => FlagOp::Add,
        b"-FLAGS" => FlagOp::Remove,
        _ => return None,
    };
    Some((op, response))
}

fn parse_flags(text: &[u8]) -> Result<Vec<FlagWord>, BadFlagList> {
    let inner = match (text.strip_prefix(b"("), text.strip_suffix(b")")) {
        (None, None) => text,
        (Some(inner), Some(_)) => inner.strip_suffix(b")").ok_or(BadFlagList)?,
        _ => return Err(BadFlagList),
    };
    Ok(flag_words(inner))
}

/// Returns the words of a flag list without its parentheses.
pub(crate) fn flag_words(list: &[u8]) -> Vec<FlagWord> {
    list.split(|octet| *octet == b' ').filter(|word| !word.is_empty()).map(flag_word).collect()
}

fn flag_word(word: &[u8]) -> FlagWord {
    if let Some(flag) = SystemFlags::from_name(word) {
        FlagWord::System(flag)
    } else if word.starts_with(b"\\") {
        FlagWord::UnknownSystem(print::echo(word))
    } else {
        Keyword::new(word).map_or_else(|| FlagWord::BadKeyword(print::echo(word)), FlagWord::Keyword)
    }
}
