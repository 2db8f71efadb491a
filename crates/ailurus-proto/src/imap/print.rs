//! Printers of the grammar's small pieces: numbers, strings, flags, sets. Each appends to the output.

pub use ailurus_types::wire::{literal, literal_size, nstring, number, string};
use ailurus_types::{Flags, InternalDate, Keyword, Keywords, SystemFlags};
use std::fmt::{self, Write as _};

/// The most octets of a peer's text that a response echoes.
const MAX_ECHO: usize = 80;
/// The most octets of text in one status response.
const MAX_TEXT: usize = 1000;

/// Appends a string as an atom if it can be one, else as [`string`] does. `NIL` in any letter case is quoted: as an
/// atom it would be read as nothing.
pub fn astring(out: &mut Vec<u8>, octets: &[u8]) {
    let atom = octets.iter().all(|octet| {
        octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
    });
    if atom && !octets.is_empty() && !octets.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(octets);
    } else {
        string(out, octets);
    }
}

/// Appends the announcement of a literal8 (RFC 3516): `~{size}` and a line end; its octets are to follow.
pub fn literal8_size(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(b"~{");
    number(out, size);
    out.extend_from_slice(b"}\r\n");
}

/// Appends an internal date in quotes: `" 7-Jan-2020 10:11:12 +0100"`.
pub fn internal_date(out: &mut Vec<u8>, date: &InternalDate) {
    out.push(b'"');
    date.append_to(out);
    out.push(b'"');
}

/// Whether a message is recent: what only the session knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recency {
    /// `\Recent` is shown.
    Recent,
    /// It is not.
    NotRecent,
}

/// Appends the flags of a message in parentheses: `\Recent \Seen \Deleted \Flagged \Answered \Draft`, then keywords in
/// the mailbox's order.
pub fn message_flags(out: &mut Vec<u8>, recency: Recency, flags: Flags, keywords: &Keywords) {
    out.push(b'(');
    let first = out.len();
    if recency == Recency::Recent {
        list_item(out, first, b"\\Recent");
    }
    for (flag, name) in SystemFlags::NAMED {
        if flags.system.contains(flag) {
            list_item(out, first, name.as_bytes());
        }
    }
    if flags.keywords.0 != 0 {
        keyword_items(out, first, keywords.named(flags.keywords));
    }
    out.push(b')');
}

/// Appends keywords to a list that began at `first`. Those that are no flags on the wire are left out: the names come from
/// the mailbox file, and a `)` in one would end the list.
pub(crate) fn keyword_items<'k>(
    out: &mut Vec<u8>,
    first: usize,
    keywords: impl Iterator<Item = &'k Keyword>,
) {
    for keyword in keywords.filter(|keyword| keyword.is_flag()) {
        list_item(out, first, keyword.as_str().as_bytes());
    }
}

/// Appends `item` to a list that began at `first`, after a space if it is not the first item.
pub(crate) fn list_item(out: &mut Vec<u8>, first: usize, item: &[u8]) {
    if out.len() > first {
        out.push(b' ');
    }
    out.extend_from_slice(item);
}

/// Appends ranges of numbers, both ends included: `1:3,7`.
pub fn ranges(out: &mut Vec<u8>, ranges: &[(u32, u32)]) {
    for (position, (first, last)) in ranges.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        number(out, (*first).into());
        if first != last {
            out.push(b':');
            number(out, (*last).into());
        }
    }
}

/// Appends the text of a status response: never a CR, LF or NUL (each becomes a space), no character that is not ASCII
/// (RFC 3501 §9; each becomes `?`), at most 1000 octets.
pub fn text(out: &mut Vec<u8>, text: impl fmt::Display) {
    let mut safe = SafeText { left: MAX_TEXT, out };
    // An error only says that the text was cut.
    let _cut = write!(safe, "{text}");
}

/// Returns octets of the peer as they may be shown to it again: at most 80, each that is not printable ASCII as `?`.
#[must_use]
pub fn echo(octets: &[u8]) -> Box<str> {
    let shown =
        |octet: &u8| if octet.is_ascii_graphic() || *octet == b' ' { char::from(*octet) } else { '?' };
    octets.iter().take(MAX_ECHO).map(shown).collect::<String>().into()
}

struct SafeText<'o> {
    left: usize,
    out: &'o mut Vec<u8>,
}

impl fmt::Write for SafeText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.out.push(match c {
                '\0' | '\r' | '\n' => b' ',
                c => u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?'),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        print(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn astrings_are_atoms_when_they_can_be() {
        assert_eq!(printed(|out| astring(out, b"INBOX")), "INBOX");
        assert_eq!(printed(|out| astring(out, b"#mh/a+b}")), "#mh/a+b}");
        assert_eq!(printed(|out| astring(out, b"")), "\"\"");
        assert_eq!(printed(|out| astring(out, b"nil")), "\"nil\"");
        for special in ["a b", "a*", "a%", "a(", "a)", "a{", "a]"] {
            assert_eq!(printed(|out| astring(out, special.as_bytes())), format!("\"{special}\""));
        }
        assert_eq!(printed(|out| astring(out, b"a\\b")), "{3}\r\na\\b");
    }

    #[test]
    fn message_flags_are_in_the_order_of_the_reference() {
        let mut keywords = Keywords::default();
        keywords.push(Keyword::new(b"KeyA"), 30).unwrap();
        keywords.push(Keyword::new(b"KeyB"), 30).unwrap();
        let flags = Flags { system: SystemFlags::ALL, keywords: ailurus_types::KeywordMask(3) };
        assert_eq!(
            printed(|out| message_flags(out, Recency::Recent, flags, &keywords)),
            "(\\Recent \\Seen \\Deleted \\Flagged \\Answered \\Draft KeyA KeyB)"
        );
        assert_eq!(printed(|out| message_flags(out, Recency::NotRecent, Flags::default(), &keywords)), "()");
    }

    #[test]
    fn keywords_cannot_break_out_of_their_list() {
        let mut keywords = Keywords::default();
        for word in [&b"a) BODY[]"[..], b"b)", b"\r\n* BYE", b"good"] {
            keywords.push(Keyword::from_disk(word), 30).unwrap();
        }
        let flags = Flags { system: SystemFlags::NONE, keywords: ailurus_types::KeywordMask(15) };
        assert_eq!(printed(|out| message_flags(out, Recency::NotRecent, flags, &keywords)), "(good)");
        assert_eq!(
            printed(|out| crate::imap::response::flags(out, &keywords)),
            "* FLAGS (good \\Answered \\Flagged \\Deleted \\Draft \\Seen)\r\n"
        );
    }

    #[test]
    fn text_cannot_break_out_of_its_line() {
        assert_eq!(printed(|out| text(out, "a\r\n* BYE\0x")), "a  * BYE x");
        assert_eq!(printed(|out| text(out, "é".repeat(1200))).len(), MAX_TEXT);
        assert_eq!(printed(|out| text(out, format_args!("{}{}", "x".repeat(999), "ab"))).len(), MAX_TEXT);
        assert_eq!(
            printed(|out| text(out, "first unseen message in /home/jörg/日")),
            "first unseen message in /home/j?rg/?"
        );
        assert_eq!(echo("a\r\né\u{1}".as_bytes()).as_ref(), "a?????");
        assert_eq!(echo(&[b'x'; 1000]).len(), MAX_ECHO);
    }
}
