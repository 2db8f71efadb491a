//! ENVELOPE from a header block alone.

use crate::{
    address,
    header::{self, unfold},
};
use ailurus_types::wire;

/// How many addresses, and parameters of content fields, one envelope or body structure shows. As many hardly fit into
/// [`crate::MAX_HEADER`]; without the limit a header of commas would grow twentyfold on its way to the client.
pub const MAX_ENTRIES: usize = 32_768;

/// The fields of a header block that ENVELOPE shows (RFC 3501 §7.4.2), borrowed from it.
///
/// Of `Date:`, `Subject:`, `In-Reply-To:` and `Message-ID:` the first counts; the address fields accumulate.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'a> {
    /// The value of `Date:`, still folded.
    pub date: Option<&'a [u8]>,
    /// The value of `Subject:`, still folded.
    pub subject: Option<&'a [u8]>,
    /// The values of `From:`, and of `>From:`, still folded.
    pub from: Values<'a>,
    /// The values of `Sender:`, still folded.
    pub sender: Values<'a>,
    /// The values of `Reply-To:`, still folded.
    pub reply_to: Values<'a>,
    /// The values of `To:`, still folded.
    pub to: Values<'a>,
    /// The values of `Cc:`, still folded.
    pub cc: Values<'a>,
    /// The values of `Bcc:`, still folded.
    pub bcc: Values<'a>,
    /// The value of `In-Reply-To:`, still folded.
    pub in_reply_to: Option<&'a [u8]>,
    /// The value of `Message-ID:`, still folded.
    pub message_id: Option<&'a [u8]>,
}

/// The values of a field that may occur more than once.
#[derive(Clone, Debug, Default)]
pub struct Values<'a> {
    first: Option<&'a [u8]>,
    // Nearly always empty, so that an envelope is read without allocation.
    more: Vec<&'a [u8]>,
}

impl<'a> Values<'a> {
    /// Returns the values in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.first.iter().chain(&self.more).copied()
    }

    fn push(&mut self, value: &'a [u8]) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.more.push(value);
        }
    }
}

impl<'a> Envelope<'a> {
    /// Reads a header block, up to its empty line or its end.
    pub fn parse(header: &'a [u8]) -> Self {
        let mut envelope = Self::default();
        for field in header::fields(header) {
            match field.name.len() {
                2 if field.is("To") => envelope.to.push(field.value),
                2 if field.is("Cc") => envelope.cc.push(field.value),
                3 if field.is("Bcc") => envelope.bcc.push(field.value),
                4 if field.is("Date") => keep_first(&mut envelope.date, field.value),
                4 if field.is("From") => envelope.from.push(field.value),
                5 if field.is(">From") => envelope.from.push(field.value),
                6 if field.is("Sender") => envelope.sender.push(field.value),
                7 if field.is("Subject") => keep_first(&mut envelope.subject, field.value),
                8 if field.is("Reply-To") => envelope.reply_to.push(field.value),
                10 if field.is("Message-ID") => keep_first(&mut envelope.message_id, field.value),
                11 if field.is("In-Reply-To") => keep_first(&mut envelope.in_reply_to, field.value),
                _ => {}
            }
        }
        envelope
    }

    /// Appends the envelope as FETCH sends it: `(date subject from sender reply-to to cc bcc in-reply-to message-id)`.
    ///
    /// Sender and reply-to without addresses are those of from. Encoded words are not decoded. Of the addresses the first
    /// [`MAX_ENTRIES`] are shown.
    pub fn print(&self, out: &mut Vec<u8>) {
        let mut room = MAX_ENTRIES;
        self.print_within(&mut room, out);
    }

    /// Appends the envelope with at most `room` addresses, and lessens that by those shown.
    pub(crate) fn print_within(&self, room: &mut usize, out: &mut Vec<u8>) {
        out.push(b'(');
        print_text(self.date, out);
        out.push(b' ');
        print_text(self.subject, out);
        out.push(b' ');
        let start = out.len();
        print_addresses(&self.from, room, out);
        let from = start..out.len();
        for list in [&self.sender, &self.reply_to] {
            out.push(b' ');
            if !print_addresses(list, room, out) {
                out.truncate(out.len() - b"NIL".len());
                out.extend_from_within(from.clone());
            }
        }
        for list in [&self.to, &self.cc, &self.bcc] {
            out.push(b' ');
            print_addresses(list, room, out);
        }
        out.push(b' ');
        print_text(self.in_reply_to, out);
        out.push(b' ');
        print_text(self.message_id, out);
        out.push(b')');
    }
}

fn keep_first<'a>(kept: &mut Option<&'a [u8]>, value: &'a [u8]) {
    kept.get_or_insert(value);
}

fn print_text(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => wire::string(out, &unfold(value)),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends the addresses in a list, or `NIL` if there are none, which it tells.
fn print_addresses(values: &Values<'_>, room: &mut usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'(');
    for value in values.iter() {
        address::parse(value, |entry| {
            if *room > 0 {
                *room -= 1;
                address::print_entry(&entry, out);
            }
        });
    }
    let any = out.len() > start + 1;
    if any {
        out.push(b')');
    } else {
        out.truncate(start);
        out.extend_from_slice(b"NIL");
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(header: &[u8]) -> String {
        let mut out = Vec::new();
        Envelope::parse(header).print(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn envelope_of_the_recorded_session() {
        let header = b"Date: Mon, 7 Sep 2026 10:00:00 +0000\r\nFrom: Carol Example <carol@example.test>\r\n\
            To: ada@example.test\r\nCc: Zoe <zoe@example.test>\r\nSubject: Lunch plans\r\n\
            Message-ID: <m1@example.test>\r\n\r\n";
        let carol = r#"(("Carol Example" NIL "carol" "example.test"))"#;
        let expected = format!(
            "(\"Mon, 7 Sep 2026 10:00:00 +0000\" \"Lunch plans\" {carol} {carol} {carol} {} {} NIL NIL \"<m1@example.test>\")",
            r#"((NIL NIL "ada" "example.test"))"#, r#"(("Zoe" NIL "zoe" "example.test"))"#,
        );
        assert_eq!(printed(header), expected);
    }

    #[test]
    fn a_header_of_commas_stays_small() {
        let header = format!("From: {}\r\n", "a,".repeat(1 << 19));
        let mut out = Vec::new();
        Envelope::parse(header.as_bytes()).print(&mut out);
        assert!(out.len() < 5 << 20, "{}", out.len());
    }

    #[test]
    fn odd_headers() {
        assert_eq!(printed(b""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            printed(b"Subject:\nsubject: second\nTo:\nSender: \nFrom: a@b\nFROM: c@d\n"),
            r#"(NIL "" ((NIL NIL "a" "b")(NIL NIL "c" "d")) ((NIL NIL "a" "b")(NIL NIL "c" "d")) ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL NIL)"#
        );
        assert_eq!(
            printed(b"Subject: folded\r\n\tline \"q\"\r\nDate: \xE9\0\r\n"),
            "({2}\r\n\u{FFFD} {15}\r\nfolded line \"q\" NIL NIL NIL NIL NIL NIL NIL NIL)"
        );
    }
}
