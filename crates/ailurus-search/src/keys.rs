//! What SORT and THREAD take from a header.
//!
//! Fields are those that ENVELOPE shows: of most the first counts, address fields accumulate. Texts are decoded, as for
//! SEARCH, and then brought to the canonical form of i;unicode-casemap, in which they are compared octet by octet (RFC 5255
//! §4.6).

use crate::subject::{base_subject, with_single_blanks};
use crate::text::{header_charset, is_raw};
use ailurus_charset::{Charset, casemap};
use ailurus_message::address::{self, Entry};
use ailurus_message::{date::Date, header, words};
use ailurus_store::MessageInfo;
use std::borrow::Cow;

/// A field that keys are taken from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FieldName {
    Cc,
    Date,
    From,
    InReplyTo,
    MessageId,
    References,
    Subject,
    To,
}

const FIELDS: usize = 8;

impl FieldName {
    fn of(name: &[u8]) -> Option<Self> {
        let (field, spelt) = match (name.len(), name.first()?) {
            (2, b'C' | b'c') => (Self::Cc, "Cc"),
            (2, b'T' | b't') => (Self::To, "To"),
            (4, b'D' | b'd') => (Self::Date, "Date"),
            (4, b'F' | b'f') => (Self::From, "From"),
            (5, b'>') => (Self::From, ">From"),
            (7, b'S' | b's') => (Self::Subject, "Subject"),
            (10, b'M' | b'm') => (Self::MessageId, "Message-ID"),
            (10, b'R' | b'r') => (Self::References, "References"),
            (11, b'I' | b'i') => (Self::InReplyTo, "In-Reply-To"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelt.as_bytes()).then_some(field)
    }

    fn is_address(self) -> bool {
        matches!(self, Self::Cc | Self::From | Self::To)
    }
}

/// The wanted fields of a header.
pub(crate) struct Fields<'h> {
    header: &'h [u8],
    first: [Option<&'h [u8]>; FIELDS],
    /// Further values of address fields, where the first has no address.
    more: Vec<(FieldName, &'h [u8])>,
}

impl<'h> Fields<'h> {
    pub(crate) fn read(header: &'h [u8]) -> Self {
        let mut fields = Self { header, first: [None; FIELDS], more: Vec::new() };
        for field in header::fields(header) {
            let Some(name) = FieldName::of(field.name) else { continue };
            let Some(first) = fields.first.get_mut(name as usize) else { continue };
            if first.is_none() {
                *first = Some(field.value);
            } else if name.is_address() && fields.more.len() < MOST_FIELDS {
                fields.more.push((name, field.value));
            }
        }
        fields
    }

    pub(crate) fn value(&self, name: FieldName) -> Option<&'h [u8]> {
        self.first.get(name as usize).copied().flatten()
    }

    fn values(&self, name: FieldName) -> impl Iterator<Item = &'h [u8]> {
        let more = self.more.iter().filter(move |(other, _)| *other == name).map(|(_, value)| *value);
        self.value(name).into_iter().chain(more)
    }

    /// Returns the sent date in seconds since 1970 UTC, or else the internal date (RFC 5256 §2.2).
    pub(crate) fn sent(&self, info: &MessageInfo) -> i64 {
        or_arrived(self.value(FieldName::Date).and_then(Date::sent), info)
    }

    /// Writes the base subject in canonical form; tells whether the message is a reply or a forward.
    pub(crate) fn subject(&self, out: &mut String) -> bool {
        out.clear();
        let Some(subject) = self.value(FieldName::Subject) else { return false };
        let subject = self.decoded(subject);
        let subject = with_single_blanks(&subject);
        let base = base_subject(&subject);
        casemap(base.text, out);
        base.is_reply
    }

    /// Writes the local part of the first mailbox of an address field in canonical form: groups are passed over.
    pub(crate) fn local_part(&self, name: FieldName, out: &mut String) {
        out.clear();
        let first = self.values(name).find_map(address::first_mailbox);
        if let Some(mailbox) = first {
            casemap(&self.decoded(&mailbox.local_part), out);
        }
    }

    /// Writes what the first address of a field is shown as (RFC 5957 §3) in canonical form: its name, or else itself. A group
    /// is an address without host, as in ENVELOPE.
    pub(crate) fn display(&self, name: FieldName, out: &mut String) {
        out.clear();
        let shown = self.values(name).find_map(|value| {
            let mut first = None;
            address::parse(value, |entry| {
                first.get_or_insert_with(|| self.shown(&entry));
            });
            first
        });
        casemap(&shown.unwrap_or_default(), out);
    }

    fn shown(&self, entry: &Entry<'_>) -> String {
        match entry {
            Entry::Mailbox(mailbox) => {
                let name = mailbox.name.as_deref().map(|name| self.decoded(name));
                name.filter(|name| !name.is_empty()).map(Cow::into_owned).unwrap_or_else(|| {
                    let host = self.decoded(mailbox.host.as_bytes());
                    format!("{}@{host}", self.decoded(&mailbox.local_part))
                })
            }
            Entry::GroupStart(name) => self.decoded(name).into_owned(),
            Entry::GroupEnd => String::new(),
            Entry::Broken(broken) => format!("{}@.SYNTAX-ERROR.", broken.as_local_part()),
        }
    }

    /// Returns a value with its encoded words decoded, and raw octets as SEARCH has them.
    fn decoded<'v>(&self, value: &'v [u8]) -> Cow<'v, str> {
        match std::str::from_utf8(value) {
            // The escapes are those of ISO-2022.
            Ok(text) if !text.contains("=?") && !text.contains(['\n', '\t', '\x1b']) => Cow::Borrowed(text),
            _ => Cow::Owned(words::decode_or(value, self.raw_charset(value))),
        }
    }

    /// Returns the charset of raw octets in a value, if there are any.
    fn raw_charset(&self, value: &[u8]) -> Option<Charset> {
        if is_raw(value) { header_charset(self.header) } else { None }
    }
}

/// Returns the sent date of a header in seconds since 1970 UTC, if there is one that can be made out: see
/// [`crate::Sorter::add_dated`].
#[must_use]
pub fn sent_date(header: &[u8]) -> Option<i64> {
    let date = header::fields(header).find(|field| FieldName::of(field.name) == Some(FieldName::Date));
    date.and_then(|field| Date::sent(field.value))
}

/// Returns the sent date, or else the internal date.
pub(crate) fn or_arrived(sent: Option<i64>, info: &MessageInfo) -> i64 {
    sent.unwrap_or_else(|| info.internal_date().timestamp())
}

/// So many more address fields are looked at.
const MOST_FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn display(value: &str) -> String {
        let header = format!("X: y\r\n{value}\r\n\r\nFrom: body@example.test\r\n");
        let mut out = String::from("before");
        Fields::read(header.as_bytes()).display(FieldName::From, &mut out);
        out
    }

    #[test]
    fn display_values() {
        for (field, value) in [
            ("From: Carol <carol@example.test>", "CAROL"),
            ("From: =?UTF-8?Q?=C3=89rin?= <erin@example.test>", "E\u{301}RIN"),
            ("From: \"\" <carol@example.test>", "CAROL@EXAMPLE.TEST"),
            ("From: carol@example.test (Carol)", "CAROL"),
            ("From: carol@example.test", "CAROL@EXAMPLE.TEST"),
            ("From: Team: carol@example.test;", "TEAM"),
            ("From: \r\nFrom: dora@example.test", "DORA@EXAMPLE.TEST"),
            ("From: ", ""),
            ("To: x@y", ""),
        ] {
            assert_eq!(display(field), value, "{field}");
        }
    }

    #[test]
    fn raw_octets_are_read_as_by_search() {
        for (charset, raw, meant) in [
            ("koi8-r", &b"\xf0\xd2\xc9\xd7\xc5\xd4"[..], "ПРИВЕТ"),
            ("us-ascii", b"\xc9rin", "E\u{301}RIN"),
            ("x-none", b"\xc3\x89rin", "E\u{301}RIN"),
            ("iso-2022-jp", b"\x1b$B%F%9%H\x1b(B", "テスト"),
            ("utf-8", b"\x1b$B%F%9%H\x1b(B", "テスト"),
        ] {
            let header = [
                b"Subject: Re: ",
                raw,
                b"\r\nFrom: ",
                raw,
                b" <a@b>\r\nContent-Type: text/plain; charset=",
                charset.as_bytes(),
                b"\r\n\r\n",
            ]
            .concat();
            let (mut subject, mut display) = (String::new(), String::new());
            Fields::read(&header).subject(&mut subject);
            Fields::read(&header).display(FieldName::From, &mut display);
            let (mut canonical, in_charset) = (String::new(), format!("{charset} {subject}"));
            casemap(meant, &mut canonical);
            assert_eq!((&subject, &display), (&canonical, &canonical), "{in_charset}");
        }
    }

    #[test]
    fn local_parts() {
        let header = b"from: Team:;, Ann <ANN.x@example.test>\r\nTo: \r\nto: Bob@example.test\r\n\r\n";
        let fields = Fields::read(header);
        let mut out = String::new();
        for (name, value) in [(FieldName::From, "ANN.X"), (FieldName::To, "BOB"), (FieldName::Cc, "")] {
            fields.local_part(name, &mut out);
            assert_eq!(out, value);
        }
    }
}
