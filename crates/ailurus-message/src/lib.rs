//! RFC 5322 and MIME: one pass over a message gives offsets, structure and defects.
//!
//! Pure code: no file, no socket, no clock. Malformed mail never fails, it gives a result and its [`Defects`].
//!
//! * [`Message::parse`] reads a message that is in memory, [`Scanner`] one that arrives in pieces and need not fit: only
//!   its header blocks are kept, up to the limits below. Both give equal results, however the pieces are cut.
//! * [`Message::envelope`], [`Message::body`] and [`Message::body_structure`] print the IMAP structures;
//!   [`Message::section`] says which octets `BODY[…]` is. [`Envelope`] does the first from a header block alone.
//! * [`header`] goes over the fields of a header block and filters them (`HEADER.FIELDS`); [`address`] reads address
//!   lists, [`message_id`] what messages refer to; [`date`] reads `Date:`; [`words`] decodes RFC 2047, [`content`] RFC 2045
//!   values with RFC 2231.
//! * [`decode`] undoes transfer encodings, and [`PartDecoder`] turns the body of a text part into UTF-8.
//!
//! Lines end with CRLF or LF; a lone CR is an ordinary octet. NUL and 8-bit octets may stand anywhere. All offsets and
//! sizes count octets of the input as it was given; IMAP wants those of the CRLF form, so give it that.
//!
//! # Limits
//!
//! Input may be of any size; what is made of it is bounded: [`MAX_DEPTH`] levels of parts, [`MAX_PARTS`] parts,
//! [`MAX_HEADER`] octets kept of one header block and [`MAX_HEADERS`] of all, [`MAX_BOUNDARY_LINE`] octets in a line that
//! may be a boundary, [`MAX_ENTRIES`] addresses and parameters shown. Time is linear in the input.
//!
//! # Where answers differ from the C library's
//!
//! Envelopes, structures and filtered headers are those of c-client, broken input included, but for these:
//!
//! * Content fields of a message without `MIME-Version:` all count, or none (it drops those before the first that counts).
//! * A closing boundary line may end with blanks; a lone CR ends no line; blanks in a part's header are not merged.
//! * An unquoted parameter value may hold `/?=:@[]<>`, so that `boundary=----=_Part` works.
//! * Types and encodings beyond the first few unknown ones keep their names (it calls them `X-UNKNOWN`).
//! * `a@b, , c@d` has a null address (there it is an invalid one); an unterminated comment hides the rest of the field,
//!   however many are open; the words of a domain around a spaced dot are unquoted once.
//! * Encoded words are decoded wherever they stand, and a malformed one leaves the others alone.
//! * Dates of any year are read, also with forms of time and zone that it refuses; an unknown zone is not the local one.
//!
//! ```
//! use ailurus_message::{Message, SectionText};
//!
//! let text = b"Subject: lunch\r\nFrom: Carol <carol@example.test>\r\n\r\nAt noon?\r\n";
//! let message = Message::parse(text);
//! let mut out = Vec::new();
//! message.body(&mut out);
//! assert_eq!(out, br#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 1)"#);
//! assert_eq!(message.section(&[], SectionText::Text), Some(52..62));
//! ```
#![forbid(unsafe_code)]

pub mod address;
pub mod content;
pub mod date;
pub mod decode;
mod defect;
mod envelope;
pub mod header;
mod lex;
mod message;
pub mod message_id;
mod scan;
mod structure;
mod text;
pub mod words;

pub use defect::{Defect, Defects};
pub use envelope::{Envelope, MAX_ENTRIES};
pub use message::{Kind, Message, Part, SectionText};
pub use scan::{MAX_BOUNDARY_LINE, MAX_DEPTH, MAX_HEADER, MAX_HEADERS, MAX_PARTS, Scanner};
pub use text::PartDecoder;
