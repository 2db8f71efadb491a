//! The language of POP3, server side (RFC 1939, RFC 2449, RFC 5034): the grammar of command lines, and the printing of
//! multi-line responses.
//!
//! Lines come from [`crate::Lines`]. [`Command::parse`] never fails: what is no command is [`Command::Unknown`], what a
//! command's argument lacks is the session's to say.

mod command;
mod stuffing;

pub use command::{Command, Number, number, top_arguments};
pub use stuffing::Stuffing;

/// The longest command line in octets, its line end included.
pub const MAX_LINE: usize = 1023;
/// The longest line of a SASL exchange in octets, its line end included.
pub const MAX_SASL_LINE: usize = 8191;
