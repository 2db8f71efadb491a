//! APPEND in steps: flags and date of a message are read before its literal is asked for (RFC 3502).

use crate::imap::args::{Args, Fault};
use crate::imap::framing::CommandLine;
use crate::imap::store::{self, FlagWord};
use crate::imap::{CommandName, Literal, Stop, SyntaxError};
use ailurus_types::MailboxName;

/// The largest message that APPEND takes, in octets.
pub const MAX_MESSAGE: u32 = 0x4000_0000;

/// APPEND up to its first message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendStart {
    /// The mailbox; whether it exists is to be judged before the message is.
    pub mailbox: MailboxName,
    /// The first message.
    pub first: AppendMessage,
}

/// A message of APPEND whose literal is announced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendMessage {
    /// The flags to set.
    pub flags: Vec<FlagWord>,
    /// The internal date as written. It is judged after the literal (`NO Bad date in append: X`).
    pub date: Option<Box<[u8]>>,
    /// The literal; see [`AppendMessage::size`].
    pub literal: Literal,
}

/// What follows a message of APPEND.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AppendTail {
    /// Nothing: the command is complete.
    End,
    /// Another message.
    Next(AppendMessage),
}

/// The message is too small or too large. The text is that of a NO response.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AppendSizeError {
    /// No octets.
    #[error("Empty message to APPEND")]
    Empty,
    /// More than [`MAX_MESSAGE`] octets.
    #[error("Excessively large message to APPEND")]
    TooLarge,
}

impl AppendMessage {
    /// Returns the size of the message in octets, if it may be appended. To be judged before the literal is asked for.
    pub fn size(&self) -> Result<u32, AppendSizeError> {
        match u32::try_from(self.literal.size) {
            Ok(0) => Err(AppendSizeError::Empty),
            Ok(size @ 1..=MAX_MESSAGE) => Ok(size),
            _ => Err(AppendSizeError::TooLarge),
        }
    }
}

/// Parses the line that follows the literal of a message, whole or up to the next literal.
pub fn parse_append_tail(line: &CommandLine) -> Result<AppendTail, Stop> {
    let mut args = Args::new(line, 0);
    if args.rest().is_empty() {
        return Ok(AppendTail::End);
    }
    if !args.eat(b' ') {
        return Err(Fault::Missing.of(CommandName::Append));
    }
    parse_message(&mut args).map(AppendTail::Next)
}

/// Parses `[(flags)] ["date"] {n}`, or with `~{n}` (RFC 3516).
pub(crate) fn parse_message(args: &mut Args<'_>) -> Result<AppendMessage, Stop> {
    let mut flags = Vec::new();
    if args.eat(b'(') {
        let text = args.rest();
        let end = text.iter().position(|octet| *octet == b')').unwrap_or(text.len());
        flags = store::flag_words(&text[..end]);
        args.skip(end + 1);
        args.eat(b' ');
    }
    let mut date = None;
    if args.peek() == Some(b'"') {
        let text = args.astring().map_err(|_| SyntaxError::MissingLiteral)?;
        date = Some(text.into_owned().into_boxed_slice());
    }
    if args.rest().starts_with(b"~{") {
        args.skip(1);
    }
    if let Some(literal) = args.pending_literal() {
        return Ok(AppendMessage { flags, date, literal });
    }
    Err(match args.rest() {
        [b'{', b'0'..=b'9', ..] => SyntaxError::SurplusArgument(CommandName::Append),
        [b'{', ..] => SyntaxError::MissingMessage,
        _ => SyntaxError::MissingLiteral,
    }
    .into())
}
