//! What must hold for every input.
#![allow(missing_docs)]

use std::ops::Range;

use ailurus_message::{Kind, MAX_PARTS, Message, Part, Scanner, SectionText, content::ContentType, header};
use proptest::prelude::*;

/// Text made of what matters to a scanner.
fn mail() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "--a",
        "--a--",
        "--b",
        "--b--",
        "--a \t",
        "--ab",
        "--",
        "-",
        "",
        "",
        "text",
        "\u{e9}\0",
        "\r",
        "\u{1b}$B",
        "Subject: x",
        " folded",
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=a",
        "Content-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/digest; boundary=a",
        "Content-Type: multipart/mixed",
        "Content-Type: message/rfc822",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: text/html",
        "Content-Transfer-Encoding: base64",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\n"]);
    let lines = prop::collection::vec((line, end), 0..24);
    (lines, any::<bool>()).prop_map(|(lines, whole)| {
        let mut text: String = lines.iter().flat_map(|&(line, end)| [line, end]).collect();
        if !whole {
            text.pop();
        }
        text.into_bytes()
    })
}

fn scanned(text: &[u8], sizes: &[usize]) -> Message<'static> {
    let mut scanner = Scanner::new();
    let mut rest = text;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        scanner.push(piece);
        rest = after;
    }
    scanner.finish()
}

fn print_all(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.envelope(&mut out);
    message.body(&mut out);
    message.body_structure(&mut out);
    out
}

fn range(text: &[u8], extent: &Range<u64>) -> Range<usize> {
    let at = |offset| usize::try_from(offset).expect("it is in memory").min(text.len());
    at(extent.start)..at(extent.end)
}

fn check(text: &[u8]) {
    let message = Message::parse(text);
    check_part(text, &message.root(), &(0..text.len() as u64));
    let root = message.root();
    assert_eq!((root.header_extent().start, root.body_extent().end), (0, text.len() as u64));
    let printed = print_all(&message);
    assert!(!printed.contains(&0));
    for (index, part) in message.root().children().enumerate().take(9) {
        let number = u32::try_from(index + 1).expect("few");
        if root.kind() == Kind::Multipart {
            assert_eq!(message.section(&[number], SectionText::Body), Some(part.body_extent()));
        }
    }
}

/// Offsets nest, follow one another, and agree with the octets.
fn check_part(text: &[u8], part: &Part<'_>, within: &Range<u64>) {
    let (header, body) = (part.header_extent(), part.body_extent());
    assert!(
        within.start <= header.start && header.start <= header.end && body.end <= within.end,
        "{part:?} {within:?}"
    );
    assert!(header.end == body.start && body.start <= body.end);
    assert_eq!(part.header(), &text[range(text, &header)]);
    let lines = text[range(text, &body)].iter().filter(|&&octet| octet == b'\n').count();
    assert_eq!(part.body_lines(), lines as u64, "{part:?}");
    let mut at = body.start;
    for child in part.children() {
        check_part(text, &child, &(at..body.end));
        at = child.body_extent().end;
    }
}

/// A part as the plainest reading of RFC 2046 finds it, from the outside inwards.
#[derive(Debug, Eq, PartialEq)]
struct Plain {
    kind: Kind,
    header: Range<u64>,
    body: Range<u64>,
    children: Vec<Plain>,
}

fn plain(text: &[u8], at: Range<usize>, is_message: bool, digest: bool) -> Plain {
    let block = &text[at.clone()];
    let header_len = header::length(block);
    let fields: Vec<_> = header::fields(&block[..header_len]).collect();
    let is_mime = !is_message
        || fields.iter().any(|field| field.is("MIME-Version") || field.is("Content-Transfer-Encoding"))
        || fields.iter().any(|field| field.is("Content-Type") && field.value.contains(&b'/'));
    let kinds = fields.iter().filter(|field| field.is("Content-Type") && is_mime);
    let found = kinds.filter_map(|field| ContentType::parse(field.value)).next();
    let kind = match found.as_ref().map(|found| &*found.media_type) {
        Some(b"multipart") => Kind::Multipart,
        Some(b"message") => Kind::Message,
        None if digest => Kind::Message,
        _ => Kind::Text,
    };
    let body = at.start + header_len..at.end;
    let mut children = Vec::new();
    if kind == Kind::Message {
        children.push(plain(text, body.clone(), true, false));
    } else if let (Kind::Multipart, Some(found)) = (kind, found) {
        let boundary = found.parameters.get("boundary").unwrap_or(b"-".into()).into_owned();
        let in_digest = found.subtype.is_some_and(|subtype| &*subtype == b"digest");
        for child in split(text, body.clone(), &boundary) {
            children.push(plain(text, child, false, in_digest));
        }
        if children.is_empty() {
            children.push(plain(text, body.start..body.start, false, false));
        }
    }
    let offsets = |range: Range<usize>| range.start as u64..range.end as u64;
    Plain { kind, header: offsets(at.start..body.start), body: offsets(body), children }
}

fn split(text: &[u8], body: Range<usize>, boundary: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = body.start;
    for line in text[body.clone()].split_inclusive(|&octet| octet == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        let after = bare.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        let blank = |text: &[u8]| text.iter().all(|octet| matches!(octet, b' ' | b'\t'));
        let closes = after.and_then(|after| after.strip_prefix(b"--")).is_some_and(blank);
        if closes || after.is_some_and(blank) {
            if let Some(start) = start.take() {
                let end = text[..at].strip_suffix(b"\n").map_or(at, <[u8]>::len);
                let end = text[..end].strip_suffix(b"\r").filter(|_| end < at).map_or(end, <[u8]>::len);
                parts.push(start..end.max(start));
            }
            if closes {
                return parts;
            }
            start = Some(at + line.len());
        }
        at += line.len();
    }
    parts.extend(start.map(|start| start..body.end));
    parts
}

fn as_plain(part: &Part<'_>) -> Plain {
    Plain {
        kind: part.kind(),
        header: part.header_extent(),
        body: part.body_extent(),
        children: part.children().map(|child| as_plain(&child)).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_do_not_matter(text in mail(), sizes in prop::collection::vec(1usize..12, 1..5)) {
        let whole = Message::parse(&text);
        let pieces = scanned(&text, &sizes);
        prop_assert_eq!(&pieces, &whole);
        prop_assert_eq!(print_all(&pieces), print_all(&whole));
    }

    #[test]
    fn offsets_agree_with_the_octets(text in mail()) {
        check(&text);
    }

    #[test]
    fn parts_are_those_of_the_plain_reading(text in mail()) {
        let message = Message::parse(&text);
        prop_assert_eq!(as_plain(&message.root()), plain(&text, 0..text.len(), true, false));
    }

    #[test]
    fn any_octets_do(text in prop::collection::vec(any::<u8>(), 0..400), sizes in prop::collection::vec(1usize..40, 1..5)) {
        check(&text);
        prop_assert_eq!(scanned(&text, &sizes), Message::parse(&text));
    }

    #[test]
    fn filters_split_a_header_in_two(text in mail()) {
        let block = &text[..header::length(&text)];
        let (mut named, mut others) = (Vec::new(), Vec::new());
        header::filter(block, &["content-type"], header::Keep::Named, &mut named);
        header::filter(block, &["content-type"], header::Keep::Others, &mut others);
        prop_assert!(header::fields(&named).all(|field| field.is("Content-Type") || field.raw.starts_with(b" ")));
        prop_assert!(!header::fields(&others).any(|field| field.is("Content-Type")));
    }
}

#[test]
fn long_lines_do_not_matter() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for dashes in [2046, 2047, 2048, 2049, 2050, 2051, 5000] {
        for padding in ["", " "] {
            let line = format!("--b{}", " ".repeat(dashes - 3));
            let text = format!("{head}{line}{padding}\r\n\r\none\r\n{line}\r\n\r\ntwo\r\n--b--\r\n");
            let whole = Message::parse(text.as_bytes());
            for size in [1, 7, 2047, 2048, 2049, 2050] {
                assert_eq!(scanned(text.as_bytes(), &[size]), whole, "{dashes} {size}");
            }
        }
    }
}

#[test]
fn large_headers_are_cut_alike() {
    let field = format!("X: {}\n", "y".repeat(1000));
    let head = format!("Content-Type: multipart/mixed; boundary=b\n{}\n", field.repeat(1200));
    let part = format!("--b\n{}\n\nbody\n", field.repeat(1100));
    let text = [head, part.repeat(6)].concat();
    let whole = Message::parse(text.as_bytes());
    assert_eq!(scanned(text.as_bytes(), &[4096]), whole);
    assert_eq!(scanned(text.as_bytes(), &[333]), whole);
    let kept: usize = whole.parts().map(|part| part.header().len()).sum();
    assert_eq!(kept, ailurus_message::MAX_HEADERS);
}

#[test]
fn hostile_messages_take_linear_time() {
    let head = "Content-Type: multipart/mixed; boundary=b\n\n";
    for piece in
        ["--b\n", "--b--\n", "--b\nContent-Type: message/rfc822\n\n", "-\n", "--\n", "\n", "--bb\n", "\r"]
    {
        let text = [head, &piece.repeat(300_000)].concat();
        let message = Message::parse(text.as_bytes());
        assert!(message.parts().len() <= MAX_PARTS + 100, "{piece:?}");
        assert_eq!(scanned(text.as_bytes(), &[1000]), message);
    }
}
