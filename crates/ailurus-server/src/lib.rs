//! The IMAP session engine: no socket, no file, no clock
#![forbid(unsafe_code)]
