//! The programs of the daemon crate share this library.
//!
//! [`transport`] moves octets between descriptors and a protocol engine; [`tls`] finds certificates; [`login`] decides who
//! may come in and becomes the user; [`imapd`] puts them together for one connection. Around that stand [`serve`], which
//! accepts connections and starts a process for each, and what people call by hand: [`demo`], [`check`], [`repair`], [`passwd`].
//! [`cli`] declares the command lines.
#![forbid(unsafe_code)]

mod alerts;
pub mod check;
pub mod cli;
pub mod client;
pub mod client_certificate;
mod connection;
pub mod databases;
pub mod demo;
mod guard;
pub mod imapd;
pub mod logging;
pub mod login;
pub mod passwd;
pub mod peer;
pub mod personal;
pub mod protocol;
pub mod repair;
pub mod serve;
pub mod settings;
pub mod surroundings;
pub mod tls;
pub mod transport;
