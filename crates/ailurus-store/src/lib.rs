//! The contract between mailbox formats and everything above them.
//!
//! A [`Driver`] knows one format; a [`Mailbox`] is one open mailbox; changes go through an [`Edit`], new messages
//! through an [`Append`]. Drivers deal in UIDs. Sequence numbers, delayed EXPUNGE and \Recent belong to a session's
//! view. Names become [`Location`]s here, by the rules of spec/storage-common.md §3, and a driver never sees a
//! name that this crate has not resolved.
//!
//! Drivers know neither each other nor any session; sessions know no driver.
#![forbid(unsafe_code)]

mod contents;
mod driver;
mod environment;
mod error;
mod extended;
mod keywords;
mod lines;
mod list;
mod location;
mod mailboxes;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
mod moving;
mod namespaces;
mod notes;
mod notice;
mod pattern;
mod resolve;
mod snapshot;
mod standin;
mod subscriptions;
mod uses;
mod view;

pub use driver::{
    Abilities, Access, Append, AppendMeta, Appended, Claim, Driver, Edit, Extent, Mailbox, Manner, Rejection,
    Status, Subscription, Wake,
};
pub use environment::{
    Advertise, Clock, Environment, Homes, Mode, News, NoHomes, Protections, Restrictions, SharedHomes,
    SystemClock, Validities,
};
pub use error::{Error, Result};
pub use extended::{ExtendedListing, ExtendedName, ExtendedQuery};
pub use keywords::make_keywords;
pub use list::{Attributes, ListQuery, Listed, Listing, SubscribedListing};
pub use location::{Location, Place};
pub use mailboxes::Mailboxes;
pub use namespaces::{Namespace, Namespaces};
pub use notes::{MessageNotes, NoteKind};
pub use notice::{Level, Notice, Notices};
pub use pattern::Pattern;
pub use resolve::resolve;
pub use snapshot::{Changes, MessageInfo, PermanentFlags, Snapshot};
pub use view::{Announcement, Expunges, View};
