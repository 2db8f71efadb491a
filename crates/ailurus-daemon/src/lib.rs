//! The programs of the daemon crate share this library.
#![forbid(unsafe_code)]
