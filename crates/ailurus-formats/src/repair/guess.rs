//! What a file once was that no format knows.

use crate::from_line::{FROM, FromLine};
use crate::journal::read_up_to;
use std::fs::File;
use std::io;

/// How much of a file is looked at.
const LOOK: usize = 1024 * 1024;

/// Returns the format of which a file has the most marks, if it has some. Text has none, unless it tells of mailboxes.
pub(crate) fn format(file: &File) -> io::Result<Option<&'static str>> {
    let mut octets = Vec::new();
    read_up_to(file, 0, LOOK, &mut octets)?;
    let signature = octets.iter().zip(b"*mbx*\r\n").filter(|(octet, wanted)| octet == wanted).count();
    if signature >= 6 {
        return Ok(Some("mbx"));
    }
    let mut counts = [("mbx", 0), ("mtx", 0), ("tenex", 0), ("mmdf", 0), ("unix", 0)];
    for semicolon in memchr::memchr_iter(b';', &octets) {
        if !ends_with_size(&octets[..semicolon]) {
            continue;
        }
        let rest = &octets[semicolon + 1..];
        let digits = rest.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
        match rest.get(digits..) {
            Some([b'-', ..]) if digits == 12 => counts[0].1 += 1,
            Some([b'\r', b'\n', ..]) if digits == 12 => counts[1].1 += 1,
            Some([b'\n', ..]) if digits == 12 => counts[2].1 += 1,
            _ => {}
        }
    }
    for line in octets.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line == b"\x01\x01\x01\x01" {
            counts[3].1 += 1;
        } else if line.starts_with(FROM) && FromLine::parse(line).is_some() {
            counts[4].1 += 1;
        }
    }
    let best = counts.iter().rev().max_by_key(|(_, count)| *count);
    Ok(best.filter(|(_, count)| *count > 0).map(|(format, _)| *format))
}

/// Tells whether these octets end in a comma and digits.
fn ends_with_size(octets: &[u8]) -> bool {
    let digits = octets.iter().rev().take(20).take_while(|octet| octet.is_ascii_digit()).count();
    digits > 0 && octets.len() > digits && octets[octets.len() - digits - 1] == b','
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_damaged_file_is_known_by_what_is_left() {
        for (text, expected) in [
            (&b"plain text; nothing, 1; else\n"[..], None),
            (b"xmbx*\r\n", Some("mbx")),
            (b"?? 1-Feb-2025 12:34:56 +0200,242;000000010015-00000001\r\n", Some("mbx")),
            (b"?? 1-Feb-2025 12:34:56 +0200,242;600000000021\r\n", Some("mtx")),
            (b"?? 1-Feb-2025 12:34:56 +0200,242;600000000021\n", Some("tenex")),
            (b"junk\n\x01\x01\x01\x01\nFrom a@b Sat Feb  1 12:34:56 2025\n\x01\x01\x01\x01\n", Some("mmdf")),
            (b"junk\n\nFrom a@b Sat Feb  1 12:34:56 2025\n", Some("unix")),
            (b"", None),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text).unwrap();
            assert_eq!(format(&file).unwrap(), expected, "{}", text.escape_ascii());
        }
    }
}
