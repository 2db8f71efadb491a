//! Local mailbox formats on real Unix files: their locks, and the helpers that keep files whole.
//!
//! Every change to a file goes through [`disk::Disk`], so that tests can cut the power between any two of them.
#![forbid(unsafe_code)]

mod crlf;
pub mod disk;
mod from_line;
pub mod journal;
pub mod lock;
pub mod rewrite;
mod unix;

pub use unix::Unix;
