//! The languages that mail programs speak to servers: framing, grammar, printing; no I/O.
//!
//! [`imap`] is IMAP, server side.
#![forbid(unsafe_code)]

pub mod imap;
