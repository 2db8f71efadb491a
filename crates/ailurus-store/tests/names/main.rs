//! Names on real files and directories, with simple formats in the place of the real ones.
#![expect(clippy::unwrap_used, reason = "all of this is tests")]

mod doubles;
mod list;
mod mailboxes;
mod uses;
