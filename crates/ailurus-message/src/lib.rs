//! RFC 5322 and MIME: one pass over a message gives offsets, structure and defects
#![forbid(unsafe_code)]
