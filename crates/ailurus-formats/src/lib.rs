//! Local mailbox formats, their locks, and durable files
#![forbid(unsafe_code)]
