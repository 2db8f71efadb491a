//! What the engines of POP3 and POP2 share: the state machine, the maildrop, the way of a message to the client.
//!
//! ```text
//! octets -> Lines -> command -> answer            a command that is answered at once
//!                       |
//!                       +-----> Task, in steps    STAT, LIST, UIDL of a whole maildrop; RETR, TOP
//!                       +-----> Update            at QUIT: one edit of the mailbox, and nothing before it
//! ```
//!
//! # What must hold
//!
//! * A number names one message all through the session: numbers are bound to UIDs once, at login ([`Maildrop`]).
//! * Nothing is changed before the client's orderly end, and then only what this session asked for: `\Seen` on what it fetched,
//!   an expunge of the UIDs that it deleted. What others marked `\Deleted` is theirs to expunge.
//! * Output is made as the client takes it, 64 KiB at a time; a message is never in memory as a whole.

pub(crate) mod login;
pub(crate) mod maildrop;
pub(crate) mod session;
pub(crate) mod timer;
pub(crate) mod transmission;

pub(crate) use session::Session;
