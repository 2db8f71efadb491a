//! IMAP framing, grammar and printing
#![forbid(unsafe_code)]
