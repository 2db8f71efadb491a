//! SEARCH over any mailbox
#![forbid(unsafe_code)]
