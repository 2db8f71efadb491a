//! Session engines: no socket, no file, no clock.
//!
//! [`imap`] speaks IMAP, [`pop3`] and [`pop2`] POP. What sessions of any protocol are told before they start, what they want
//! of whoever runs them, and what they have in common ([`Session`]) is here.
#![forbid(unsafe_code)]

mod base;
mod config;
mod event;
pub mod imap;
mod login;
mod pop;
pub mod pop2;
pub mod pop3;
mod referral;
mod session;

pub use config::{Config, Plaintext, Start, TlsChannel, TlsState};
pub use event::{Event, Facility, How, Login, LoginFailure, Priority, Signal};
pub use referral::{ImapUrl, Referrals};
pub use session::Session;
