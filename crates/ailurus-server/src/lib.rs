//! Session engines: no socket, no file, no clock.
//!
//! [`imap`] speaks IMAP. What sessions of any protocol are told before they start, and what they want of whoever
//! runs them, is here.
#![forbid(unsafe_code)]

mod base;
mod config;
mod event;
pub mod imap;
mod login;

pub use config::{Config, Plaintext, Start, TlsState};
pub use event::{Event, Facility, How, Login, LoginFailure, Priority, Signal};
