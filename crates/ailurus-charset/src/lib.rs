//! Charsets, case mapping and decomposition, modified UTF-7.
//!
//! Three small things that mail needs of Unicode:
//!
//! * [`Charset`] finds a charset by the label that mail gives it; [`to_utf8`] and [`Decoder`] bring its text to UTF-8.
//! * [`casemap`] is the canonical form under which text is compared (`i;unicode-casemap`, RFC 5051).
//! * [`utf7`] is the modified UTF-7 of IMAP mailbox names (RFC 3501 §5.1.3).
//!
//! Everything accepts any octets; decoding never fails, it puts U+FFFD where the octets mean nothing.
#![forbid(unsafe_code)]

mod casemap;
mod charset;
mod iso2022;
mod labels;
mod tables;
mod unicode;
pub mod utf7;

pub use casemap::{UNICODE_VERSION, casemap, casemapped};
pub use charset::{Charset, Decoder, header_to_utf8, header_to_utf8_or, to_utf8};
