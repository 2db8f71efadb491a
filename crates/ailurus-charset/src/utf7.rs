//! Modified UTF-7, the form of mailbox names in IMAP (RFC 3501 §5.1.3).
//!
//! Names are octets to the store: nothing is converted unasked. [`check`] is the test that CREATE and RENAME make,
//! [`decode`] the stricter one that a program needs which shows the name to a person.

use std::fmt;

/// Why a mailbox name is not modified UTF-7.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// An octet of 0x80 or more stands in the name.
    EightBit,
    /// A `&` is not followed by `-` up to the end of the name.
    Unterminated,
    /// Something that is no modified BASE64 stands between `&` and `-`.
    Invalid,
}

impl Fault {
    /// Returns the words that go into "Can't create … name".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EightBit => "mailbox name with 8-bit octet",
            Self::Unterminated => "unterminated modified UTF-7 name",
            Self::Invalid => "invalid modified UTF-7 name",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Fault {}

/// Checks a name as CREATE does: 7-bit, and only letters, digits, `+` and `,` between `&` and `-`.
///
/// The first fault from the left is told. What the BASE64 means is not looked at.
pub fn check(name: &[u8]) -> Result<(), Fault> {
    let mut shifted = false;
    for &octet in name {
        match octet {
            0x80.. => return Err(Fault::EightBit),
            b'&' if !shifted => shifted = true,
            b'-' => shifted = false,
            _ if shifted && sextet(octet).is_none() => return Err(Fault::Invalid),
            _ => {}
        }
    }
    if shifted { Err(Fault::Unterminated) } else { Ok(()) }
}

/// Returns a text as a mailbox name. Printable ASCII stands for itself, `&` becomes `&-`.
pub fn encode(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.find(|c: char| !matches!(c, ' '..='~') || c == '&').unwrap_or(rest.len());
        name.push_str(&rest[..plain]);
        rest = &rest[plain..];
        if let Some(after) = rest.strip_prefix('&') {
            name.push_str("&-");
            rest = after;
            continue;
        }
        let shifted = rest.find(|c: char| matches!(c, ' '..='~')).unwrap_or(rest.len());
        if shifted > 0 {
            encode_shifted(&rest[..shifted], &mut name);
        }
        rest = &rest[shifted..];
    }
    name
}

fn encode_shifted(text: &str, name: &mut String) {
    name.push('&');
    let (mut bits, mut count) = (0u32, 0u32);
    for unit in text.encode_utf16() {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            name.push(digit(bits >> count));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        name.push(digit(bits << (6 - count)));
    }
    name.push('-');
}

/// Returns the text that a mailbox name means.
///
/// # Errors
///
/// Besides what [`check`] finds, BASE64 with stray bits, lone surrogates, and printable ASCII in shifted form are
/// [`Fault::Invalid`], so that a text has one name only. Control characters other than in shifted form are also.
pub fn decode(name: &[u8]) -> Result<String, Fault> {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    let mut after_shift = false;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'&' => {
                let end = rest.iter().position(|&octet| octet == b'-').ok_or(Fault::Unterminated)?;
                let (inside, after) = rest.split_at(end);
                rest = after.get(1..).unwrap_or_default();
                if inside.is_empty() {
                    text.push('&');
                } else if after_shift {
                    // RFC 3501: no superfluous shifts, such as "&U,BTFw-&ZeVnLIqe-".
                    return Err(Fault::Invalid);
                } else {
                    decode_shifted(inside, &mut text)?;
                    after_shift = true;
                    continue;
                }
            }
            b' '..=b'~' => text.push(char::from(octet)),
            0x80.. => return Err(Fault::EightBit),
            _ => return Err(Fault::Invalid),
        }
        after_shift = false;
    }
    Ok(text)
}

fn decode_shifted(inside: &[u8], text: &mut String) -> Result<(), Fault> {
    let mut units = Vec::with_capacity(inside.len() / 2);
    let (mut bits, mut count) = (0u32, 0u32);
    for &octet in inside {
        bits = bits << 6 | sextet(octet).ok_or(Fault::Invalid)?;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push(u16::try_from(bits >> count).map_err(|_| Fault::Invalid)?);
            bits &= (1 << count) - 1;
        }
    }
    if count >= 6 || bits != 0 {
        return Err(Fault::Invalid);
    }
    for c in char::decode_utf16(units) {
        match c {
            Ok(' '..='~') | Err(_) => return Err(Fault::Invalid),
            Ok(c) => text.push(c),
        }
    }
    Ok(())
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

fn digit(bits: u32) -> char {
    char::from(DIGITS[(bits & 63) as usize])
}

fn sextet(octet: u8) -> Option<u32> {
    let value = match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b',' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples_of_rfc_3501() {
        let name = "~peter/mail/&U,BTFw-/&ZeVnLIqe-";
        assert_eq!(decode(name.as_bytes()).as_deref(), Ok("~peter/mail/台北/日本語"));
        assert_eq!(encode("~peter/mail/台北/日本語"), name);
        assert_eq!(encode("Lost & Found"), "Lost &- Found");
        assert_eq!(decode(b"Lost &- Found").as_deref(), Ok("Lost & Found"));
        assert_eq!(decode(b"&U,BTFw-&ZeVnLIqe-"), Err(Fault::Invalid));
        assert_eq!(decode(b"&Jjo!"), Err(Fault::Unterminated));
    }

    #[test]
    fn create_is_told_why() {
        assert_eq!(check(b"plain"), Ok(()));
        assert_eq!(check(b"a&-b&U,BTFw-c-d"), Ok(()));
        assert_eq!(check(b"a&"), Err(Fault::Unterminated));
        assert_eq!(check(b"a&Jjo"), Err(Fault::Unterminated));
        assert_eq!(check(b"a&Jj!-"), Err(Fault::Invalid));
        assert_eq!(check(b"a&Jj&-"), Err(Fault::Invalid));
        assert_eq!(check(b"caf\xE9"), Err(Fault::EightBit));
        assert_eq!(Fault::Unterminated.to_string(), "unterminated modified UTF-7 name");
    }

    #[test]
    fn decoding_is_strict() {
        // Printable ASCII shifted, a lone surrogate, stray bits, an octet short.
        for name in [&b"&AEE-"[..], b"&2D0-", b"&AOl-", b"&A-", b"a\x01b"] {
            assert_eq!(decode(name), Err(Fault::Invalid), "{}", name.escape_ascii());
        }
        assert_eq!(decode(b"&2D3eAA-").as_deref(), Ok("\u{1F600}"));
    }

    proptest! {
        #[test]
        fn names_round_trip(text in any::<String>()) {
            let name = encode(&text);
            prop_assert_eq!(check(name.as_bytes()), Ok(()));
            prop_assert_eq!(decode(name.as_bytes()), Ok(text));
        }

        #[test]
        fn good_names_have_one_form(name in "[ -~]{0,20}") {
            if let Ok(text) = decode(name.as_bytes()) {
                prop_assert_eq!(encode(&text), name);
            }
        }
    }
}
