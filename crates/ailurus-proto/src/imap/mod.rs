//! The language of IMAP, server side: framing, grammar, printing.
//!
//! Three steps, each usable without the next, none with any I/O:
//!
//! 1. [`Splitter`] takes octets as they come and yields [`Frame`]s: whole command lines, questions about literals,
//!    pieces of a streamed literal. It knows lines, literals and limits (spec/imapd.md §2), not commands, so a
//!    command that is refused is skipped without its literal being taken for the next command.
//! 2. [`parse_head`] reads tag and command name, [`Head::parse`] the arguments. In between the session says whether
//!    the command is allowed in its state: `Command unrecognized` comes before any complaint about arguments.
//! 3. [`response`] and [`mod@print`] append responses to a `Vec<u8>`.
//!
//! A line that ends in a literal is parsed before the literal is there. The parser then either wants it
//! ([`Stop::NeedsLiteral`], answer with a continuation and [`Splitter::accept_literal`]), or it is a
//! message to be streamed ([`CommandBody::Append`], [`Splitter::stream_literal`]), or the parser has its verdict, command or
//! refusal, and the literal is no part of it ([`Splitter::reject`]).
//!
//! ```
//! use ailurus_proto::imap::{CommandBody, Frame, Splitter, Stop, parse_head};
//!
//! let mut splitter = Splitter::new();
//! let mut input = &b"a SELECT {5+}\r\nINBOX\r\n"[..];
//! let mut selected = None;
//! while !input.is_empty() {
//!     input = &input[splitter.push(input)..];
//!     loop {
//!         let wants_literal = match splitter.next_frame() {
//!             None => break,
//!             Some(Frame::Command(line) | Frame::Literal(line, _)) => match parse_head(line).unwrap().parse() {
//!                 Ok(command) => {
//!                     selected = Some(command);
//!                     false
//!                 }
//!                 Err(Stop::NeedsLiteral(_)) => true,
//!                 Err(Stop::Refused(error)) => panic!("{error}"),
//!             },
//!             Some(_) => false,
//!         };
//!         if wants_literal {
//!             splitter.accept_literal().unwrap();
//!         }
//!     }
//! }
//! assert!(matches!(selected.unwrap().body, CommandBody::Select(name) if name.is_inbox()));
//! ```

mod append;
mod args;
mod command;
mod error;
mod fetch;
mod framing;
mod head;
mod list;
pub mod print;
pub mod response;
mod search;
mod sort;
mod store;

pub use append::{AppendMessage, AppendSizeError, AppendStart, AppendTail, MAX_MESSAGE, parse_append_tail};
pub use command::{
    Command, CommandBody, Find, IdField, ListArgs, MessageSet, Numbering, StatusArgs, StatusItems,
    WrittenSet, WrittenUses,
};
pub use error::{HeadError, Stop, SyntaxError};
pub use fetch::{FetchArgs, FetchItem, Partial, Peek, Section, SectionText};
pub use framing::{
    CommandLine, Frame, Literal, LiteralForm, LiteralRefused, MAX_IDLE_LINE, MAX_LINE, MAX_LITERAL,
    MAX_LITERALS, MAX_SASL_LINE, Splitter, Synchronizing,
};
pub use head::{CommandName, Head, Name, Tag, parse_head};
pub use list::{ListExtended, ListReturn, ListSelection, MAX_PATTERNS};
pub use search::{MAX_SEARCH_DEPTH, SearchArgs, SearchReturn};
pub use sort::{SortArgs, ThreadArgs};
pub use store::{BadFlagList, FlagWord, StoreArgs, StoreResponse};
