//! The programs of the daemon crate share this library.
//!
//! [`transport`] moves octets between descriptors and a protocol engine; [`tls`] finds certificates. The rest puts
//! engine, mailboxes, passwords and users together for one connection, and around that the standing server.
#![forbid(unsafe_code)]

pub mod tls;
pub mod transport;
