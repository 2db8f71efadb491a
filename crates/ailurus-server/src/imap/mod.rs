//! The IMAP session engine.
//!
//! [`Session`] is told what happened (`handle_…`) and asked what it wants (`poll_…`). Whoever runs it reads and writes the
//! connection, checks passwords, becomes users, wakes it up in time. Mailboxes are reached through the traits of
//! `ailurus-store`; which formats there are is not known here.
//!
//! One file per command; [`session`](Session) holds the state machine, `input` takes commands apart. The order of things:
//!
//! ```text
//! input -> Splitter -> head -> allowed in this state? -> arguments -> command -> (work, done in steps)
//!                                                                                     |
//!                tagged response <- notices <- EXPUNGE, EXISTS, FLAGS, FETCH <- refresh
//! ```
//!
//! Work that can be long (FETCH, SEARCH, SORT, THREAD, STORE, COPY, MOVE, LIST, announcing changes) is done in steps as the peer takes the
//! output, so that what is held in memory is bounded however slowly it reads, and signals and timers are seen.
//!
//! # Where the reference is left on purpose
//!
//! * NO responses carry the codes of RFC 5530 where there is one for the cause; their texts are the reference's.
//! * CAPABILITY lists what works and nothing else: MAILBOX-REFERRALS and LOGIN-REFERRALS only where something has moved; ID, ENABLE,
//!   MOVE, ESEARCH, SEARCHRES, ESORT, SORT=DISPLAY and THREAD=REFS are new. Once logged in it no longer lists what is for before.
//! * ENABLE, ID, MOVE, UID MOVE are known commands.
//! * After three failed logins the connection is closed.
//! * `COPYUID` is never `0 0`; `STATUS` of the selected mailbox with unknown items alone answers `()`.
//! * Changed flags are written at most a minute after the change, not only by CHECK, CLOSE or in IDLE.
//! * New mail is told at once in IDLE.
//! * `\Seen` is set by one edit at the end of a FETCH. Only RFC822 tells it in the same response.
//! * A COPY between formats does not say so in its text.
//! * Texts are ASCII: other characters of names and paths become `?`. Keywords that are no flags on the wire are not shown.
//! * STORE .SILENT leaves untold only what the client can foresee; what others did to the same flags is told.
//! * A command that is refused for its syntax does not look for news of the mailbox first.

mod announce;
mod anonymous;
mod append;
mod capability;
mod close;
mod copy;
mod dates;
mod expunge;
mod fetch;
mod found;
mod idle;
mod input;
mod list;
mod list_extended;
mod login;
mod mailboxes;
mod refer;
mod rules;
mod search;
mod select;
mod session;
mod sort;
mod starttls;
mod status;
mod store;
mod tagged;
mod timer;
mod wording;

pub use session::Session;
