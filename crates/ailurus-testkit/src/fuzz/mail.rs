//! What a message may hold.

use crate::random::Random;
use ailurus_message::{
    MAX_DEPTH, MAX_PARTS, Message, Part, PartDecoder, Scanner, SectionText, address, date, header, words,
};
use std::ops::Range;

/// Reads the input as the value of a field of addresses, and prints the entries. What comes must be well-formed and
/// bounded, groups must balance, and reading is the same whether entries are collected or not.
pub fn addresses(input: &[u8]) {
    let entries = address::parse_list(input);
    assert!(entries.len() <= 2 * input.len() + 1, "{} entries", entries.len());
    let mut out = Vec::new();
    let mut depth = 0_i64;
    for entry in &entries {
        depth += match entry {
            address::Entry::GroupStart(_) => 1,
            address::Entry::GroupEnd => -1,
            _ => 0,
        };
        assert!(depth >= 0, "a group ends that did not begin");
        out.clear();
        address::print_entry(entry, &mut out);
        assert!(out.len() <= 8 * input.len() + 200, "{} octets from {}", out.len(), input.len());
        check_response(&out);
    }
    let mut written = String::new();
    address::write_list(input, &mut written);
    assert!(written.len() <= 50 * input.len() + 200);
    let decoded = words::decode(input);
    assert!(decoded.len() <= 40 * input.len() + 100, "{} from {}", decoded.len(), input.len());
    if let Some(date) = date::Date::parse(input) {
        assert!((date.timestamp() - date.days() * 86_400).abs() <= 3 * 86_400);
    }
}

/// Reads the input as a message, at once and in pieces, which must agree; offsets must nest and follow one another,
/// structures must be well-formed, and decoded text bounded.
pub fn mime(input: &[u8]) {
    let message = Message::parse(input);
    let mut random = Random::new(input.len() as u64);
    let mut scanner = Scanner::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(70)).min(rest.len()));
        scanner.push(piece);
        rest = after;
    }
    let scanned = scanner.finish();
    assert_eq!(scanned, message, "pieces matter");

    assert!(message.parts().len() <= MAX_PARTS + 1);
    let root = message.root();
    assert_eq!((root.header_extent().start, root.body_extent().end), (0, input.len() as u64));
    check_part(input, &root, &(0..input.len() as u64));
    for print in [Message::envelope, Message::body, Message::body_structure] {
        let mut out = Vec::new();
        print(&message, &mut out);
        check_response(&out);
    }
    check_sections(input, &message);
    check_filters(&input[..header::length(input)]);
}

fn check_part(input: &[u8], part: &Part<'_>, within: &Range<u64>) {
    let (header, body) = (part.header_extent(), part.body_extent());
    assert!(within.start <= header.start && header.start <= header.end, "{part:?}");
    assert!(header.end == body.start && body.start <= body.end && body.end <= within.end, "{part:?}");
    assert!(part.depth() <= MAX_DEPTH);
    let octets = &input[range(&body)];
    let lines = octets.iter().filter(|&&octet| octet == b'\n').count();
    assert_eq!((part.body_octets(), part.body_lines()), (octets.len() as u64, lines as u64));
    let mut decoder = PartDecoder::new(part);
    let mut decoded = String::new();
    decoder.push(octets, &mut decoded);
    decoder.finish(&mut decoded);
    assert!(decoded.len() <= 40 * octets.len() + 100, "{} octets from {}", decoded.len(), octets.len());
    let mut at = body.start;
    for child in part.children() {
        check_part(input, &child, &(at..body.end));
        at = child.body_extent().end;
    }
}

/// Named fields and the others are the whole header, except that what has no name is in both, however many are named.
fn check_filters(block: &[u8]) {
    let names = ["subject", "content-type", "x"];
    let mut both = 0;
    for keep in [header::Keep::Named, header::Keep::Others] {
        let (mut few, mut many) = (Vec::new(), Vec::new());
        header::filter(block, &names, keep, &mut few);
        header::filter(block, &names.repeat(20), keep, &mut many);
        assert_eq!(String::from_utf8_lossy(&many), String::from_utf8_lossy(&few), "how often matters");
        both += few.len();
    }
    assert!(block.len() <= both && both <= 2 * block.len(), "{both} of {}", block.len());
}

/// Sections that exist are within the message; the same for numbers that no part has.
fn check_sections(input: &[u8], message: &Message<'_>) {
    let texts = [SectionText::Body, SectionText::Header, SectionText::Text, SectionText::Mime];
    for numbers in [&[][..], &[0], &[1], &[2], &[1, 1], &[2, 1], &[u32::MAX], &[1, 1, 1, 1, 1, 1, 1, 1, 1]] {
        for text in texts {
            if let Some(extent) = message.section(numbers, text) {
                assert!(extent.start <= extent.end && extent.end <= input.len() as u64);
            }
        }
    }
}

fn range(extent: &Range<u64>) -> Range<usize> {
    let at = |offset| usize::try_from(offset).expect("it is in memory");
    at(extent.start)..at(extent.end)
}

/// Checks that text is one parenthesized list of IMAP, or several values in a row: strings end, literals have their
/// octets, parentheses balance, nothing else stands between than numbers, NIL and spaces.
fn check_response(text: &[u8]) {
    let mut depth = 0_i64;
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        at += 1;
        match octet {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                let end = text[at..].iter().position(|&octet| octet == b'"').expect("a quoted string ends");
                let inner = &text[at..at + end];
                assert!(
                    inner.iter().all(|&octet| (0x20..0x80).contains(&octet) && octet != b'\\'),
                    "{inner:?}"
                );
                at += end + 1;
            }
            b'{' => {
                let end = text[at..].iter().position(|&octet| octet == b'}').expect("a literal's size ends");
                let size = std::str::from_utf8(&text[at..at + end]).expect("digits");
                at += end + 1;
                assert_eq!(text.get(at..at + 2), Some(&b"\r\n"[..]));
                at += 2 + size.parse::<usize>().expect("a size");
                assert!(at <= text.len(), "a literal has all its octets");
            }
            b' ' | b'0'..=b'9' | b'A'..=b'Z' => {}
            other => panic!("octet {other} in {:?}", String::from_utf8_lossy(text)),
        }
        assert!(depth >= 0, "parentheses balance");
    }
    assert_eq!(depth, 0, "parentheses balance");
}
