//! Words, comments and white space of structured fields (RFC 5322 §3.2), on the folded octets of a field's value.
//!
//! Positions are indices into the value. Every step forward is linear, and nothing recurses.

use std::borrow::Cow;

/// A set of octets that end a word.
pub(crate) struct Delimiters([bool; 256]);

impl Delimiters {
    /// The control characters, which no word holds, and the octets of `others`.
    const fn controls_and(others: &[u8]) -> Self {
        let mut table = Self::only(others).0;
        let mut octet = 0;
        while octet < 0x20 {
            table[octet] = true;
            octet += 1;
        }
        table[0x7F] = true;
        Self(table)
    }

    const fn only(octets: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut index = 0;
        while index < octets.len() {
            table[octets[index] as usize] = true;
            index += 1;
        }
        Self(table)
    }

    fn has(&self, octet: u8) -> bool {
        self.0[usize::from(octet)]
    }

    /// Returns whether `text` holds one of the set.
    pub(crate) fn occur_in(&self, text: &[u8]) -> bool {
        text.iter().any(|&octet| self.has(octet))
    }
}

/// What ends a word of an address; dots belong to it.
pub(crate) static WORD: Delimiters = Delimiters::controls_and(b" ()<>@,;:\\\"[]");
/// What a written phrase must be quoted for.
pub(crate) static PHRASE_QUOTED: Delimiters = Delimiters::controls_and(b"()<>@,;:\\\"[].");
/// What ends a MIME token (RFC 2045 §5.1).
pub(crate) static TOKEN: Delimiters = Delimiters::controls_and(b" ()<>@,;:\\\"[]/?=");
/// What ends the value of a MIME parameter. Senders forget the quotes around `----=_Part`, which still is one value.
pub(crate) static VALUE: Delimiters = Delimiters::controls_and(b" (),;\\\"");
static DOMAIN_LITERAL: Delimiters = Delimiters::only(b"]\\");

/// Whether ISO-2022-JP escapes belong to the word (RFC 1468).
#[derive(Clone, Copy, Eq, PartialEq)]
enum Escapes {
    Skip,
    Delimit,
}

/// Returns the position after white space and comments from `at` on. A comment that does not end takes all the rest.
pub(crate) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(&octet) = text.get(at) {
        match octet {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'(' => at = comment_end(text, at).unwrap_or(text.len()),
            _ => break,
        }
    }
    at
}

/// Returns the position after white space, without comments, from `at` on.
pub(crate) fn skip_blanks(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|octet| is_blank(octet)).count()
}

/// Returns whether an octet is a blank or part of a fold.
pub(crate) fn is_blank(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// Returns the position after the comment that begins at `at`, `None` if it does not end.
pub(crate) fn comment_end(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match text.get(at)? {
            b'(' => depth += 1,
            b')' if depth <= 1 => return Some(at + 1),
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
}

/// Returns where the word at `at` (after white space) begins and ends; `None` if there is none, or a quote in it does not end.
pub(crate) fn word(text: &[u8], at: usize, delimiters: &Delimiters) -> Option<(usize, usize)> {
    scan_word(text, at, delimiters, Escapes::Delimit)
}

/// Returns the end of the phrase (one or more words) at `at`.
pub(crate) fn phrase_end(text: &[u8], at: usize) -> Option<usize> {
    let (_, mut end) = scan_word(text, at, &WORD, Escapes::Skip)?;
    while let Some((_, next)) = scan_word(text, end, &WORD, Escapes::Skip) {
        end = next;
    }
    Some(end)
}

/// Returns the end of the domain literal whose `[` is at `at`: after the `]`, or what is wrong.
pub(crate) fn domain_literal_end(text: &[u8], at: usize) -> Result<usize, Option<usize>> {
    match scan_word(text, at + 1, &DOMAIN_LITERAL, Escapes::Delimit) {
        Some((_, end)) if text.get(end) == Some(&b']') => Ok(end + 1),
        Some((_, end)) => Err(Some(end)),
        None => Err(None),
    }
}

fn scan_word(text: &[u8], at: usize, delimiters: &Delimiters, escapes: Escapes) -> Option<(usize, usize)> {
    let start = skip_space(text, at);
    if start >= text.len() {
        return None;
    }
    let mut at = start;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&octet| delimiters.has(octet)) else {
            return Some((start, text.len()));
        };
        at += length;
        match rest.get(length) {
            Some(0x1B) if escapes == Escapes::Skip => at = escape_end(text, at),
            Some(b'"') => at = quoted_string_end(text, at)?,
            Some(b'\\') if at + 1 < text.len() => at = quoted_pair_end(text, at),
            _ => return (at > start).then_some((start, at)),
        }
    }
}

/// Returns the position after the octet that the backslash at `at` quotes, which may stand after a fold.
fn quoted_pair_end(text: &[u8], at: usize) -> usize {
    match text.get(at + 1..).unwrap_or_default() {
        [b'\r', b'\n', ..] => at + 4,
        [b'\n', ..] => at + 3,
        _ => at + 2,
    }
    .min(text.len())
}

pub(crate) fn quoted_string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Returns the position after an ISO-2022-JP escape at `at`, with all that is shifted by it.
fn escape_end(text: &[u8], at: usize) -> usize {
    let shifts_back = |at: usize| matches!(text.get(at..at + 3), Some([0x1B, b'(', b'B' | b'J' | b'H']));
    if shifts_back(at) {
        return at + 3;
    }
    if !matches!(text.get(at + 1..at + 3), Some([b'$', b'@' | b'B'])) {
        return at + 1;
    }
    let shifted = at + 3;
    let escapes = memchr::memchr_iter(0x1B, text.get(shifted..).unwrap_or_default());
    escapes.map(|found| shifted + found).find(|&at| shifts_back(at)).map_or(text.len(), |at| at + 3)
}

/// Returns a piece of a field without quotes, quoting backslashes and folds; tabs become blanks.
pub(crate) fn unquote(piece: &[u8]) -> Cow<'_, [u8]> {
    if !piece.iter().any(|octet| matches!(octet, b'"' | b'\\' | b'\t' | b'\n')) {
        return Cow::Borrowed(piece);
    }
    let unfolded = crate::header::unfold(piece);
    let mut plain = Vec::with_capacity(unfolded.len());
    let mut octets = unfolded.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => {}
            b'\\' => plain.extend(octets.next()),
            _ => plain.push(octet),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_nest_and_end() {
        assert_eq!(comment_end(b"(a (b) \\) c) d", 0), Some(12));
        assert_eq!(comment_end(b"((a)", 0), None);
        assert_eq!(skip_space(b" (x)\r\n\t(y (z)) w", 0), 15);
        assert_eq!(skip_space(b" (x", 0), 3);
    }

    #[test]
    fn words_hold_quotes_and_pairs() {
        assert_eq!(word(b" a\"b c\"d e", 0, &WORD), Some((1, 8)));
        assert_eq!(word(b"a\\ b c", 0, &WORD), Some((0, 4)));
        assert_eq!(word(b"a\"b", 0, &WORD), None);
        assert_eq!(word(b"@", 0, &WORD), None);
        assert_eq!(word(b"a\\", 0, &WORD), Some((0, 1)));
        assert_eq!(word(b"a\\\r\n b@", 0, &WORD), Some((0, 6)));
        assert_eq!(unquote(b"\"a \\\"b\\\"\"\r\n\tc"), Cow::Borrowed(b"a \"b\" c"));
    }

    #[test]
    fn phrases_hold_japanese() {
        let text = b"\x1B$B<@>\x1B(B x <a@b>";
        assert_eq!(phrase_end(text, 0), Some(11));
        assert_eq!(phrase_end(b"\x1B$B<@>", 0), Some(6));
    }
}
