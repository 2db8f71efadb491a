//! Local mailbox formats on real Unix files: their locks, and the helpers that keep files whole.
//!
//! Every change to a file goes through [`disk::Disk`], so that tests can cut the power between any two of them.
#![forbid(unsafe_code)]

pub mod disk;
pub mod journal;
pub mod lock;
pub mod repair;
pub mod rewrite;

mod ahead;
mod checksum;
mod crlf;
mod drivers;
mod dummy;
mod file_times;
mod files;
mod flag_bits;
mod from_line;
mod incoming;
mod index;
mod mail_file;
mod mbox;
mod mbx;
mod mh;
mod mix;
mod mtx;
mod mx;
mod new_mail;
mod news;
mod numbered;
mod phile;
mod sidecar;
mod size_check;
mod spool;
mod unix;
mod window;

pub use drivers::{CREATABLE, drivers};
pub use dummy::Dummy;
pub use mbox::Mbox;
pub use mbx::Mbx;
pub use mh::Mh;
pub use mix::Mix;
pub use mtx::Mtx;
pub use mx::Mx;
pub use new_mail::NewMail;
pub use news::News;
pub use phile::Phile;
pub use unix::Unix;
