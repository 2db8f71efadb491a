//! What a client may send.

use crate::random::Random;
use ailurus_proto::imap::{
    CommandBody, CommandLine, Frame, HeadError, Literal, MAX_LINE, MAX_LITERAL, MAX_SASL_LINE, Splitter,
    Stop, Synchronizing, Tag, parse_append_tail, parse_head,
};

/// The most octets that the splitter may hold.
const MAX_MEMORY: usize = 256 * 1024;

/// Cuts the input into frames, twice: in one piece and in small ones. Both must give the same frames, within bounded
/// memory, and the splitter must take all of the input whatever is decided about literals.
pub fn framing(input: &[u8]) {
    let whole = trace(input, &mut |left| left);
    let mut random = Random::new(input.len() as u64);
    let pieces = trace(input, &mut |left| (1 + random.below(9)).min(left));
    assert_eq!(whole, pieces, "frames depend on how the octets arrive");
}

/// What came out of the splitter, data of streamed literals joined.
#[derive(Debug, Eq, PartialEq)]
enum Seen {
    Command(String),
    Literal(String, Literal),
    Data(Vec<u8>),
    DataEnd,
    LineTooLong(Option<String>),
    Raw(Vec<u8>),
    RawTooLong,
}

fn trace(mut input: &[u8], size: &mut dyn FnMut(usize) -> usize) -> Vec<Seen> {
    let mut splitter = Splitter::new();
    let mut seen = Vec::new();
    while !input.is_empty() {
        let piece = &input[..size(input.len())];
        let taken = splitter.push(piece);
        assert!(taken <= piece.len());
        input = &input[taken..];
        let frames = take_frames(&mut splitter, &mut seen);
        assert!(taken > 0 || frames > 0, "neither takes input nor gives frames");
        assert!(splitter.memory() <= MAX_MEMORY, "{} octets held", splitter.memory());
    }
    seen
}

fn take_frames(splitter: &mut Splitter, seen: &mut Vec<Seen>) -> usize {
    let mut frames = 0;
    while let Some(frame) = splitter.next_frame() {
        frames += 1;
        let now = match frame {
            Frame::Command(line) => Seen::Command(text(line)),
            Frame::Literal(line, literal) => Seen::Literal(text(line), literal),
            Frame::Data(octets) => {
                assert!(!octets.is_empty());
                Seen::Data(octets.to_vec())
            }
            Frame::DataEnd => Seen::DataEnd,
            Frame::LineTooLong(line) => Seen::LineTooLong(Tag::of_line(line).map(|tag| tag.to_string())),
            Frame::Raw(octets) => {
                assert!(octets.len() <= MAX_SASL_LINE);
                Seen::Raw(octets.to_vec())
            }
            Frame::RawTooLong => Seen::RawTooLong,
        };
        decide(splitter, &now);
        match (seen.last_mut(), now) {
            (Some(Seen::Data(before)), Seen::Data(more)) => before.extend(more),
            (_, now) => seen.push(now),
        }
    }
    frames
}

/// Decides as a session does, by what is there alone.
fn decide(splitter: &mut Splitter, seen: &Seen) {
    match seen {
        Seen::Literal(line, _) if line.contains("APPEND") => splitter.stream_literal(),
        Seen::Literal(line, literal) if line.contains("OK ") || line.contains("append") => {
            let taken = splitter.accept_literal().is_ok();
            assert!(!taken || literal.size <= MAX_LITERAL);
        }
        Seen::Literal(..) => splitter.reject(),
        Seen::Command(line) if line.contains("IDLE") || line.contains("AUTH") => {
            splitter.expect_raw(MAX_SASL_LINE)
        }
        _ => {}
    }
}

/// What a parser makes of a line, as far as it can be told.
fn text(line: &CommandLine) -> String {
    match parse_head(line) {
        Ok(head) => format!("{:?} {:?} {}", head.tag, head.name, outcome(head.clone().parse())),
        Err(error) => format!("{error:?}"),
    }
}

fn outcome(parsed: Result<ailurus_proto::imap::Command, Stop>) -> String {
    match parsed {
        Ok(command) => {
            let streams = matches!(command.body, CommandBody::Append(_));
            format!("{}OK {:?}", if streams { "APPEND " } else { "" }, command.body)
        }
        Err(Stop::NeedsLiteral(literal)) => format!("OK so far {literal:?}"),
        Err(Stop::Refused(error)) => format!("refused {error:?}"),
    }
}

/// Parses the input as commands. Every refusal must be whole lines of printable text of bounded length, and what a
/// command says must not be larger than the command by more than a factor.
pub fn grammar(input: &[u8]) {
    let mut splitter = Splitter::new();
    let mut rest = input;
    while !rest.is_empty() {
        let taken = splitter.push(rest);
        rest = &rest[taken..];
        loop {
            let wanted = match splitter.next_frame() {
                None => break,
                Some(Frame::Command(line)) => {
                    let wanted = judge(line, None);
                    assert!(!wanted, "a whole line lacks a literal");
                    None
                }
                Some(Frame::Literal(line, literal)) => Some(judge(line, Some(literal))),
                Some(_) => None,
            };
            match wanted {
                Some(true) => {
                    splitter.accept_literal().ok();
                }
                Some(false) => splitter.reject(),
                None => {}
            }
        }
    }
}

/// Parses a line in all ways, checks the answers, and tells whether its literal is wanted.
fn judge(line: &CommandLine, pending: Option<Literal>) -> bool {
    if let Err(Stop::Refused(error)) = parse_append_tail(line) {
        let tag = Tag::new(b"a").expect("a tag");
        check_answer(|out| error.answer(out, &tag));
    }
    let head = match parse_head(line) {
        Ok(head) => head,
        Err(error) => {
            check_answer(|out| HeadError::answer(&error, out));
            return false;
        }
    };
    let tag = head.tag.clone();
    assert!(tag.as_str().len() <= Tag::MAX_LEN && Tag::new(tag.as_str().as_bytes()).as_ref() == Some(&tag));
    check_answer(|out| head.unrecognized().answer(out, &tag));
    match head.parse() {
        Ok(command) => {
            assert_eq!(command.tag, tag);
            if let CommandBody::Append(start) = &command.body {
                assert_eq!(Some(start.first.literal), pending);
            }
            let said = format!("{command:?}").len();
            assert!(said < 400 * (MAX_LINE + 10_000), "{said}");
            false
        }
        Err(Stop::NeedsLiteral(literal)) => {
            assert_eq!(Some(literal), pending);
            assert!(literal.sync == Synchronizing::Yes || literal.sync == Synchronizing::No);
            true
        }
        Err(Stop::Refused(error)) => {
            check_answer(|out| error.answer(out, &tag));
            false
        }
    }
}

fn check_answer(answer: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    answer(&mut out);
    assert!(out.ends_with(b"\r\n") && out.len() < 1000, "{}", String::from_utf8_lossy(&out));
    for line in out.strip_suffix(b"\r\n").expect("just asked").split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let printable = line.iter().all(|octet| (0x20..0x7f).contains(octet));
        assert!(printable, "{}", String::from_utf8_lossy(line));
        assert!(line.windows(5).any(|five| five == b" BAD ") || line.windows(4).any(|four| four == b" NO "));
    }
}
