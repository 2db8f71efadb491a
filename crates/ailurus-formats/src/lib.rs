//! Local mailbox formats on real Unix files: their locks, and the helpers that keep files whole.
//!
//! Every change to a file goes through [`disk::Disk`], so that tests can cut the power between any two of them.
#![forbid(unsafe_code)]

pub mod disk;
pub mod journal;
pub mod lock;
pub mod rewrite;

mod crlf;
mod drivers;
mod dummy;
mod files;
mod from_line;
mod index;
mod mbox;
mod mbx;
mod new_mail;
mod phile;
mod spool;
mod unix;

pub use drivers::{CREATABLE, drivers};
pub use dummy::Dummy;
pub use mbox::Mbox;
pub use mbx::Mbx;
pub use new_mail::NewMail;
pub use phile::Phile;
pub use unix::Unix;
