//! The languages that mail programs speak to servers: framing, grammar, printing; no I/O.
//!
//! [`imap`], [`pop3`] and [`pop2`], server side. [`Lines`] frames what is lines and nothing else.
#![forbid(unsafe_code)]

pub mod imap;
mod lines;
pub mod pop2;
pub mod pop3;

pub use lines::{Line, Lines};
