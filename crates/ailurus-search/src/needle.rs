//! Looking for a text in another, under i;unicode-casemap.
//!
//! Both are brought to their canonical form and then compared octet by octet. The short way: the canonical form of ASCII
//! text is its upper case, so an ASCII key is looked for as it stands, by its rarest letter. What is found that way is
//! found in the canonical form too; what is not found may still be there when the text is not ASCII (`cafe` in `Café`).

use ailurus_charset::casemap;
use memchr::{memchr_iter, memchr2_iter, memmem};

/// How much of a text is brought to canonical form at a time.
const PIECE: usize = 64 * 1024;
/// A longer key takes the long way, whose time does not grow with the key: in text made for it every place may be the
/// beginning of one.
const LONG: usize = 64;

/// A text to be looked for.
pub(crate) struct Needle {
    /// In canonical form.
    text: Box<str>,
    ascii: bool,
    /// Where in `text` its rarest octet is.
    rarest: usize,
    /// Looks for `text`.
    finder: memmem::Finder<'static>,
}

impl Needle {
    /// Returns a needle for a text in any form.
    pub(crate) fn new(text: &str) -> Self {
        let mut canonical = String::new();
        casemap(text, &mut canonical);
        let rarity = canonical.bytes().enumerate().min_by_key(|(_, octet)| frequency(*octet));
        let rarest = rarity.map_or(0, |(at, _)| at);
        let finder = memmem::Finder::new(canonical.as_bytes()).into_owned();
        Self { ascii: canonical.is_ascii(), rarest, finder, text: canonical.into_boxed_str() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// Tells whether a line end with white space after it, unfolded, could be part of the text.
    pub(crate) fn has_space(&self) -> bool {
        self.text.contains([' ', '\t', '\r', '\n'])
    }

    /// Returns how many octets of text are the key at most: letters for mathematics have four, which become one of ASCII.
    pub(crate) fn most_text(&self) -> usize {
        self.text.len().saturating_mul(4)
    }

    /// Tells whether the text is in another one that is in any form.
    pub(crate) fn is_in(&self, text: &str, scratch: &mut String) -> bool {
        if self.ascii && self.is_in_ascii(text.as_bytes()) {
            return true;
        }
        if text.is_ascii() {
            return self.is_empty();
        }
        // Piece by piece, since the canonical form may be eleven times as long. Each begins in the one before, by as much as
        // can be the beginning of the key.
        let mut rest = text;
        loop {
            let end = rest.floor_char_boundary(PIECE + self.most_text());
            scratch.clear();
            casemap(&rest[..end], scratch);
            if self.is_in_canonical(scratch) {
                return true;
            }
            if end == rest.len() {
                return false;
            }
            rest = &rest[rest.floor_char_boundary(PIECE)..];
        }
    }

    /// Tells whether the text is in another one that is in canonical form.
    pub(crate) fn is_in_canonical(&self, text: &str) -> bool {
        self.finder.find(text.as_bytes()).is_some()
    }

    /// Tells whether an ASCII text is in these octets, whatever the case of ASCII letters.
    pub(crate) fn is_in_ascii(&self, octets: &[u8]) -> bool {
        let needle = self.text.as_bytes();
        let Some(&rarest) = needle.get(self.rarest) else { return true };
        if needle.len() > LONG {
            return self.finder.find(&octets.to_ascii_uppercase()).is_some();
        }
        let matches = |at: usize| {
            let Some(start) = at.checked_sub(self.rarest) else { return false };
            let found = octets.get(start..start.saturating_add(needle.len()));
            found.is_some_and(|found| found.eq_ignore_ascii_case(needle))
        };
        let lower = rarest.to_ascii_lowercase();
        if lower == rarest {
            memchr_iter(rarest, octets).any(matches)
        } else {
            memchr2_iter(rarest, lower, octets).any(matches)
        }
    }
}

/// Returns about how often an octet stands in mail, more being more often.
fn frequency(octet: u8) -> u8 {
    const ORDER: &[u8] = b"JQZXVKWYBPGFUMHDCLSRNIOATE";
    match octet {
        b' ' | b'\r' | b'\n' | b'-' | b'.' | b':' => 60,
        b'0'..=b'9' => 30,
        b'=' | b'/' | b'>' | b'<' | b'@' | b',' => 20,
        _ => {
            let rank = ORDER.iter().position(|known| *known == octet);
            rank.and_then(|rank| u8::try_from(rank).ok()).unwrap_or(5)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needle: &str, text: &str) -> bool {
        Needle::new(needle).is_in(text, &mut String::new())
    }

    #[test]
    fn letter_case_and_accents() {
        for (needle, text) in [
            ("lunch", "At LUNCH time"),
            ("LUNCH", "lunch"),
            ("cafe", "ein Café"),
            ("café", "CAFE\u{301}"),
            ("", ""),
            ("x-1", "X-1"),
            ("ß", "Straße"),
        ] {
            assert!(found(needle, text), "{needle} in {text}");
        }
        for at in (0..150_000).step_by(2503) {
            let text = format!("{}ein Café{}", "\u{fdfa}".repeat(at / 3), "\u{fdfa}".repeat(10));
            let mut scratch = String::new();
            assert!(Needle::new("N CAFE\u{301}").is_in(&text, &mut scratch), "{at}");
            assert!(!Needle::new("caff").is_in(&text, &mut scratch), "{at}");
            let text = format!("{}𝐜𝐚𝐟𝐞", "é".repeat(at / 2));
            assert!(Needle::new("cafe").is_in(&text, &mut scratch), "{at}");
            assert!(scratch.capacity() < 2 << 20, "{}", scratch.capacity());
        }
        let long = "It is a truth universally acknowledged. ".repeat(10);
        assert!(found(&long.to_lowercase(), &format!("x{}x", long.to_uppercase())));
        assert!(!found(&long, &long[1..]));
        for (needle, text) in [("café", "cafe"), ("lunch", "lunc"), ("lunch", "unch"), ("a", "")] {
            assert!(!found(needle, text), "{needle} in {text}");
        }
    }
}
