//! The programs of the daemon crate share this library.
//!
//! [`transport`] moves octets between descriptors and a protocol engine; [`tls`] finds certificates. The modules that need
//! the IMAP engine are joined when it is here.
#![forbid(unsafe_code)]

pub mod client;
pub mod logging;
pub mod peer;
pub mod tls;
pub mod transport;
