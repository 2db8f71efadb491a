//! Message ids (RFC 5322 §3.6.4) as `Message-ID:`, `References:` and `In-Reply-To:` hold them.
//!
//! An id is handed out in the normal form under which threads compare it (RFC 5256 §3): what stands between `<` and `>`,
//! without quotes, comments and white space. It is valid if there is something on both sides of an `@`. Whatever else
//! stands in the field is passed over. Time is linear in the field, whatever it holds.

use crate::lex;
use std::borrow::Cow;

/// Hands the valid ids in the value of a field, still folded, to `found` one by one.
pub fn parse<'v>(value: &'v [u8], mut found: impl FnMut(Cow<'v, [u8]>)) {
    let mut at = 0;
    while let Some(start) = next_start(value, at) {
        let (id, end) = read(value, start + 1);
        if let Some(id) = id {
            found(id);
        }
        at = end;
    }
}

/// Returns the first valid id in the value of a field, still folded.
pub fn first(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut at = 0;
    while let Some(start) = next_start(value, at) {
        match read(value, start + 1) {
            (Some(id), _) => return Some(id),
            (None, end) => at = end,
        }
    }
    None
}

fn next_start(value: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'<', value.get(at..)?).map(|start| at + start)
}

/// Reads the id behind a `<`; returns also where to look for the next one: never before what was read.
fn read(value: &[u8], at: usize) -> (Option<Cow<'_, [u8]>>, usize) {
    let rest = value.get(at..).unwrap_or_default();
    let plain = rest.iter().take_while(|octet| is_plain(**octet)).count();
    if rest.get(plain) == Some(&b'>') {
        let id = rest.get(..plain).unwrap_or_default();
        let sides = memchr::memchr(b'@', id).is_some_and(|middle| middle > 0 && middle + 1 < plain);
        return (sides.then_some(Cow::Borrowed(id)), at + plain + 1);
    }
    read_quoted(value, at)
}

fn read_quoted(value: &[u8], mut at: usize) -> (Option<Cow<'_, [u8]>>, usize) {
    let mut id = Vec::new();
    let mut middle = None;
    while let Some(octet) = value.get(at) {
        match octet {
            b'>' => {
                let valid = middle.is_some_and(|middle| middle > 0 && middle + 1 < id.len());
                return (valid.then_some(Cow::Owned(id)), at + 1);
            }
            b'<' => return (None, at),
            b'(' => match lex::comment_end(value, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return (None, value.len()),
            },
            b'"' => match lex::quoted_string_end(value, at) {
                Some(end) => {
                    id.extend_from_slice(&lex::unquote(value.get(at..end).unwrap_or_default()));
                    at = end;
                    continue;
                }
                None => return (None, value.len()),
            },
            b'\\' => {
                at += 1;
                id.extend(value.get(at));
            }
            b'@' => {
                middle.get_or_insert(id.len());
                id.push(b'@');
            }
            octet if lex::is_blank(octet) => {}
            octet => id.push(*octet),
        }
        at += 1;
    }
    (None, value.len())
}

fn is_plain(octet: u8) -> bool {
    octet > b' ' && !matches!(octet, b'<' | b'>' | b'"' | b'(' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(value: &str) -> Vec<String> {
        let mut ids = Vec::new();
        parse(value.as_bytes(), |id| ids.push(String::from_utf8_lossy(&id).into_owned()));
        assert_eq!(
            first(value.as_bytes()).map(|id| String::from_utf8_lossy(&id).into_owned()),
            ids.first().cloned()
        );
        ids
    }

    #[test]
    fn ids_have_one_form() {
        // RFC 5256 §3: these are one id.
        assert_eq!(ids("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>"), ["01KF8JCEOCBS0045PS@xxx.yyy.com"]);
        assert_eq!(ids("<01KF8JCEOCBS0045PS@xxx.yyy.com>"), ["01KF8JCEOCBS0045PS@xxx.yyy.com"]);
        for (value, found) in [
            ("<a@b>\r\n\t<c@d><e@f>, <g@h>", &["a@b", "c@d", "e@f", "g@h"][..]),
            ("Your message of Monday <a@b> (x <y@z>)", &["a@b", "y@z"]),
            ("< a . b @ c\r\n .d (comment <x@y>) >", &["a.b@c.d"]),
            ("<\"a \\\"b\\\"\"@c>", &["a \"b\"@c"]),
            ("<a\\@b@c>", &["a@b@c"]),
            ("<a@[192.0.2.1]>", &["a@[192.0.2.1]"]),
            ("<A@b> <a@b>", &["A@b", "a@b"]),
            ("<a@b <c@d>", &["c@d"]),
            ("<ab> <@b> <a@> <> <\"@\"> <a@b", &[]),
            ("<\"a@b>", &[]),
            ("<(a@b>", &[]),
            ("a@b", &[]),
            ("", &[]),
        ] {
            assert_eq!(ids(value), found, "{value}");
        }
    }

    #[test]
    fn long_fields_take_linear_time() {
        for piece in ["<", "<\"", "<(", "<a@b>", "<\\", "<\"<", "<a (", "<\"a\"@b> ", "\\<\"", "<@"] {
            let mut count = 0;
            parse(piece.repeat(1_000_000).as_bytes(), |_| count += 1);
            assert!(count <= 1_000_000);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_found_has_both_sides(value in "[<>@a\"\\\\( )\r\n]{0,40}") {
            for id in ids(&value) {
                prop_assert!(id.len() >= 3 && id.contains('@'));
            }
        }
    }
}
