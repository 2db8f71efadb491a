//! What comes back of a message, by what the format says of itself.

use ailurus_store::Abilities;

/// Returns the octets that a session shows of a message appended with these.
pub(super) fn expected(abilities: &Abilities, given: &[u8]) -> Vec<u8> {
    let mut octets = given.to_vec();
    if !abilities.crlf {
        let mut next = octets.iter().copied().skip(1).chain([0]);
        let keeps_crs = abilities.keeps_crs;
        let ends_line: Vec<bool> =
            octets.iter().map(|octet| (*octet, next.next()) == (b'\r', Some(b'\n'))).collect();
        let mut ends_line = ends_line.into_iter();
        octets.retain(|octet| ends_line.next() == Some(false) && (keeps_crs || *octet != b'\r'));
        octets = replace_line_ends(&octets);
    }
    let (header_len, has_empty_line) = header_of(&octets);
    let mut lines = Vec::new();
    let mut at = 0;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        if abilities.quotes_from && line.starts_with(b"From ") {
            lines.push(b'>');
        } else if abilities.own_fields && at < header_len && is_own_field(line) {
            lines.extend_from_slice(b"X-Original-");
        }
        lines.extend_from_slice(line);
        at += line.len();
    }
    if abilities.ends_lines {
        if lines.last().is_some_and(|last| *last != b'\n') {
            lines.extend_from_slice(b"\r\n");
        }
        if !has_empty_line {
            lines.extend_from_slice(b"\r\n");
        }
    }
    lines
}

fn replace_line_ends(octets: &[u8]) -> Vec<u8> {
    octets
        .iter()
        .flat_map(|octet| if *octet == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(octet) })
        .copied()
        .collect()
}

/// Returns how many octets the header has, and whether an empty line ends it.
pub(super) fn header_of(octets: &[u8]) -> (usize, bool) {
    if octets.starts_with(b"\r\n") {
        return (2, true);
    }
    let found = octets.windows(4).position(|four| four == b"\r\n\r\n");
    found.map_or((octets.len(), false), |at| (at + 4, true))
}

fn is_own_field(line: &[u8]) -> bool {
    const OWN: [&str; 6] = ["Status", "X-Status", "X-Keywords", "X-UID", "X-IMAP", "X-IMAPbase"];
    let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
    OWN.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// Returns messages of every shape that a client may append.
pub(super) fn shapes() -> Vec<(&'static str, Vec<u8>)> {
    let octets: Vec<u8> = (0..=255).filter(|octet| !matches!(octet, b'\r' | b'\n' | 1)).collect();
    let header = &b"Subject: s\r\n\r\n"[..];
    let with = |body: &[u8]| [header, body].concat();
    vec![
        ("plain", with(b"text\r\n")),
        ("no body", header.to_vec()),
        ("one octet", b"x".to_vec()),
        ("one line end", b"\r\n".to_vec()),
        ("empty header", b"\r\nbody alone\r\n".to_vec()),
        ("header alone", b"Subject: s\r\nFrom: ada@example.com\r\n".to_vec()),
        ("header without line end", b"Subject: s\r\nFrom: ada@example.com".to_vec()),
        ("no header at all", b"this is no field\r\n\r\nbody\r\n".to_vec()),
        ("no final line end", with(b"text")),
        ("final empty lines", with(b"text\r\n\r\n\r\n")),
        ("empty lines alone", with(b"\r\n\r\n\r\n")),
        ("every octet", with(&[&octets[..], b"\r\n"].concat())),
        ("8-bit header", b"Subject: caf\xe9 \xff\xfe\r\n\r\n\x80\r\n".to_vec()),
        ("NULs", with(b"\0\0\0 and \0\r\n\0\0\r\n")),
        ("NULs last", with(&[0; 5000])),
        ("NUL in header", b"Subject: a\0b\r\n\r\n\r\n".to_vec()),
        ("long lines", with(&[&[b'x'; 100_000][..], b"\r\n", &[b'y'; 70_000]].concat())),
        ("long field", [b"Subject: ", &[b'z'; 100_000][..], b"\r\n\r\nbody\r\n"].concat()),
        ("folded", b"Subject: a\r\n b\r\n\tc\r\nX-UID: 1\r\n folded\r\n\r\nbody\r\n".to_vec()),
        ("From_ lines", with(b"From here\r\n>From there\r\nFrom x@example.com Sat Feb  1 12:34:56 2025\r\n\r\n")),
        ("From_ line in header", b"From x@example.com Sat Feb  1 12:34:56 2025\r\nSubject: s\r\n\r\n\r\n".to_vec()),
        ("From_ line last", with(b"text\r\nFrom x@example.com Sat Feb  1 12:34:56 2025")),
        ("others' marks", with(b"*mbx*\r\n:msg:00000001:20250201123456+0200:000000f2:\r\n")),
        ("others' lines", with(b" 1-Feb-2025 12:34:56 +0200,7;000000000000-00000000\r\nhello\r\n")),
        ("own fields", b"Status: RO\r\nX-Status: D\r\nx-keywords: Work\r\nX-UID: 77\r\nX-IMAP: 7 9\r\nX-IMAPbase: 5 6 a\r\nSubject: s\r\n\r\nStatus: RO\r\nX-UID: 9\r\n".to_vec()),
        ("dots", with(b".\r\n..\r\n.\r\n")),
        ("bare LF", with(b"one\ntwo\r\n\nthree\n")),
        ("bare CR", with(b"one\rtwo\r\r\n\r\n\rthree\r")),
        ("LF alone", b"Subject: s\n\nbody\n".to_vec()),
    ]
}
