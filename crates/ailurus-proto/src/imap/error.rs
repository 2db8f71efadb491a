//! What is wrong with a command, in the words of the reference.

use crate::imap::print;
use crate::imap::response::{Status, tagged, untagged};
use crate::imap::{CommandName, Literal, Tag};
use ailurus_types::SetError;

/// A line that has no tag or no command. Before login each of these ends the connection (spec/imapd.md §2), except
/// for the long tag.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// No tag, a tag with an octet that is none of a tag's, or no space behind it.
    #[error("Missing command tag")]
    MissingTag,
    /// A tag longer than 50 octets.
    #[error("Excessively long tag")]
    LongTag,
    /// Nothing behind the tag.
    #[error("Missing command")]
    MissingCommand(Tag),
}

impl HeadError {
    /// Appends the BAD response: tagged if there is a tag.
    pub fn answer(&self, out: &mut Vec<u8>) {
        match self {
            Self::MissingCommand(tag) => tagged(out, tag, Status::Bad, None, self),
            _ => untagged(out, Status::Bad, None, self),
        }
    }
}

/// Why [`Head::parse`](crate::imap::Head::parse) returned no command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// So far all is well, and the command goes on with the literal that the line announced.
    NeedsLiteral(Literal),
    /// The command is refused. A literal that the line announced is not wanted.
    Refused(SyntaxError),
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Self {
        Self::Refused(error)
    }
}

/// What is wrong with a command that has a tag. Its `Display` is the text of the tagged response.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// A command line beyond the limit.
    #[error("Command line too long")]
    LineTooLong,
    /// No such command, or not in this state: its name in upper case, at most 80 printable octets.
    #[error("Command unrecognized: {0}")]
    Unrecognized(Box<str>),
    /// The same before login, where nothing is echoed.
    #[error("Command unrecognized")]
    UnrecognizedUnnamed,
    /// An argument is missing or malformed.
    #[error("Missing or invalid argument to {0}")]
    MissingArgument(CommandName),
    /// There is more than the command takes.
    #[error("Argument given to {0} when none expected")]
    SurplusArgument(CommandName),
    /// A literal of so many octets, beyond [`MAX_LITERAL`](crate::imap::MAX_LITERAL).
    #[error("Missing or invalid argument to {0}")]
    LiteralTooLong(CommandName, u64),
    /// One literal beyond [`MAX_LITERALS`](crate::imap::MAX_LITERALS).
    #[error("Missing or invalid argument to {0}")]
    TooManyLiterals(CommandName),
    /// The sequence set of FETCH, STORE, COPY, MOVE or UID EXPUNGE.
    #[error("Bogus sequence in {0}: {1}")]
    BogusSequence(CommandName, SetError),
    /// The items of FETCH or STORE.
    #[error("Bogus attribute list in {0}")]
    BogusAttributes(CommandName),
    /// A list of FETCH items without its end.
    #[error("Unterminated FETCH attribute list")]
    UnterminatedItems,
    /// More than 100 FETCH items, or several without parentheses.
    #[error("Excessively complex FETCH attribute list")]
    ComplexItems,
    /// Part numbers of a section.
    #[error("Syntax error in section specifier")]
    Section,
    /// The field names of a section.
    #[error("Syntax error in header fields")]
    HeaderFields,
    /// Something other than HEADER, TEXT or MIME in a section.
    #[error("Unknown section text specifier")]
    SectionText,
    /// A section without `]`.
    #[error("Section specifier not terminated")]
    SectionEnd,
    /// Something other than part numbers in a section of BINARY.
    #[error("Syntax error in binary specifier")]
    Binary,
    /// A partial such as `<0.0>`.
    #[error("Syntax error in partial text specifier")]
    Partial,
    /// Something else behind a section.
    #[error("Syntax error after section specifier")]
    AfterSection,
    /// More than [`MAX_PATTERNS`](crate::imap::MAX_PATTERNS) of LIST.
    #[error("Excessively many patterns in LIST")]
    ManyPatterns,
    /// No literal where APPEND has its message.
    #[error("Missing literal in APPEND")]
    MissingLiteral,
    /// `{` without a number where APPEND has its message.
    #[error("Missing message to APPEND")]
    MissingMessage,
    /// A pattern of FIND with `%` or `?`; it is answered NO.
    #[error("IMAP2 ? and % wildcards not supported: {0}")]
    FindWildcard(Box<str>),
}

impl SyntaxError {
    /// Appends the responses: an untagged BAD about literals beyond the limits, then the tagged one.
    pub fn answer(&self, out: &mut Vec<u8>, tag: &Tag) {
        match self {
            Self::LiteralTooLong(..) => untagged(out, Status::Bad, None, "Absurdly long client literal"),
            Self::TooManyLiterals(_) => untagged(out, Status::Bad, None, "Too many literals in command"),
            _ => {}
        }
        tagged(out, tag, self.status(), None, self);
    }

    /// Returns what the response says: BAD, or NO where the reference does.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::FindWildcard(_) => Status::No,
            _ => Status::Bad,
        }
    }

    /// Returns the error for a command that is unknown: the name, made fit to print.
    pub(crate) fn unrecognized(name: &[u8]) -> Self {
        Self::Unrecognized(print::echo(&name.to_ascii_uppercase()))
    }
}
