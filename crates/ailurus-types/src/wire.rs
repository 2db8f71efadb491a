//! Numbers and strings as IMAP writes them (RFC 3501 §4). Each function appends to the output.

/// Appends a number in decimal digits.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b"0123456789"[usize::try_from(value % 10).unwrap_or(0)];
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Appends a string: in quotes if every octet is 0x20..0x7f without `"` and `\`, else as a literal. The empty string is
/// `""`.
pub fn string(out: &mut Vec<u8>, octets: &[u8]) {
    if !octets.iter().all(|octet| matches!(octet, 0x20..=0x7f) && !matches!(octet, b'"' | b'\\')) {
        return literal(out, octets);
    }
    out.push(b'"');
    out.extend_from_slice(octets);
    out.push(b'"');
}

/// Appends a string, or `NIL`.
pub fn nstring(out: &mut Vec<u8>, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => string(out, octets),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends a literal whole. NUL is not allowed in one (RFC 3501 §4.3) and becomes 0x80, as the reference sends it.
pub fn literal(out: &mut Vec<u8>, octets: &[u8]) {
    literal_size(out, octets.len());
    let data = out.len();
    out.extend_from_slice(octets);
    if octets.contains(&0) {
        out[data..].iter_mut().filter(|octet| **octet == 0).for_each(|octet| *octet = 0x80);
    }
}

/// Appends the announcement of a literal of so many octets, which are to follow.
pub fn literal_size(out: &mut Vec<u8>, size: usize) {
    out.push(b'{');
    number(out, u64::try_from(size).unwrap_or(u64::MAX));
    out.extend_from_slice(b"}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        print(&mut out);
        out
    }

    #[test]
    fn numbers_are_decimal() {
        for value in [0, 7, 10, 4_294_967_295, u64::MAX] {
            assert_eq!(printed(|out| number(out, value)), value.to_string().as_bytes());
        }
    }

    #[test]
    fn strings_are_quoted_when_they_may_be() {
        for (text, written) in [
            (&b""[..], &b"\"\""[..]),
            (b"a b\x7f", b"\"a b\x7f\""),
            (b"a\"b", b"{3}\r\na\"b"),
            (b"\\", b"{1}\r\n\\"),
            (b"a\r\nb", b"{4}\r\na\r\nb"),
            (b"\xe9\0", b"{2}\r\n\xe9\x80"),
        ] {
            assert_eq!(printed(|out| string(out, text)), written);
            assert_eq!(printed(|out| nstring(out, Some(text))), written);
        }
        assert_eq!(printed(|out| nstring(out, None)), b"NIL");
        assert_eq!(printed(|out| literal(out, b"a\0b")), b"{3}\r\na\x80b");
    }
}
