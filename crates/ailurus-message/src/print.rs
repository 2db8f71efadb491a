//! Strings as IMAP writes them (RFC 3501 §4.3).

/// Appends a string: quoted where every octet is 0x20–0x7F other than `"` and `\`, else as a literal.
///
/// NUL octets, which IMAP cannot carry, become 0x80.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().all(|&octet| matches!(octet, 0x20..=0x7F) && octet != b'"' && octet != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    out.push(b'{');
    number(text.len() as u64, out);
    out.extend_from_slice(b"}\r\n");
    out.extend(text.iter().map(|&octet| if octet == 0 { 0x80 } else { octet }));
}

/// Appends a string, or `NIL` for an absent one.
pub fn nstring(text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text {
        Some(text) => string(text, out),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends a number in decimal digits.
pub fn number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        string(text, &mut out);
        out
    }

    #[test]
    fn strings_are_quoted_or_literals() {
        assert_eq!(printed(b""), b"\"\"");
        assert_eq!(printed(b"a b\x7F"), b"\"a b\x7F\"");
        assert_eq!(printed(b"a\"b"), b"{3}\r\na\"b");
        assert_eq!(printed(b"a\\"), b"{2}\r\na\\");
        assert_eq!(printed(b"\xE9\0"), b"{2}\r\n\xE9\x80");
    }

    #[test]
    fn numbers_are_decimal() {
        let mut out = Vec::new();
        number(0, &mut out);
        out.push(b' ');
        number(u64::MAX, &mut out);
        assert_eq!(out, b"0 18446744073709551615");
    }
}
