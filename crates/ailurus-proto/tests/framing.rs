//! Lines, literals and limits of spec/imapd.md §2.

use ailurus_proto::imap::{
    CommandLine, Frame, MAX_IDLE_LINE, MAX_LINE, MAX_SASL_LINE, Splitter, Synchronizing, Tag, parse_head,
};
use proptest::prelude::*;

/// What the splitter said, comparable whatever pieces the input came in.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Said {
    Command(String),
    Literal(String, u64, Synchronizing),
    Data(usize),
    DataEnd,
    TooLong(Option<Tag>),
    Raw(Vec<u8>),
    RawTooLong,
}

#[derive(Clone, Copy, Debug)]
enum Decision {
    Accept,
    Stream,
    Reject,
}

/// Frames the input, pushed in pieces of the sizes given over and over; decides about literals as told.
fn frame(input: &[u8], pieces: &[usize], decide: impl Fn(&str, u64) -> Decision) -> Vec<Said> {
    let mut splitter = Splitter::new();
    frame_with(&mut splitter, input, pieces, decide)
}

fn frame_with(
    splitter: &mut Splitter,
    mut input: &[u8],
    pieces: &[usize],
    decide: impl Fn(&str, u64) -> Decision,
) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for piece in pieces.iter().cycle() {
        let piece = input.len().min(*piece);
        input = &input[splitter.push(&input[..piece])..];
        while let Some(now) = splitter.next_frame().map(note) {
            match (now, said.last_mut()) {
                (Said::Data(more), Some(Said::Data(size))) => *size += more,
                (Said::Literal(line, size, sync), _) => {
                    match decide(&line, size) {
                        Decision::Accept => drop(splitter.accept_literal()),
                        Decision::Stream => splitter.stream_literal(),
                        Decision::Reject => splitter.reject(),
                    }
                    said.push(Said::Literal(line, size, sync));
                }
                (now, _) => said.push(now),
            }
        }
        if input.is_empty() {
            break;
        }
    }
    said
}

fn note(frame: Frame<'_>) -> Said {
    match frame {
        Frame::Command(line) => Said::Command(shown(line)),
        Frame::Literal(line, literal) => Said::Literal(shown(line), literal.size, literal.sync),
        Frame::Data(octets) => Said::Data(octets.len()),
        Frame::DataEnd => Said::DataEnd,
        Frame::LineTooLong(line) => Said::TooLong(Tag::of_line(line)),
        Frame::Raw(octets) => Said::Raw(octets.to_vec()),
        Frame::RawTooLong => Said::RawTooLong,
    }
}

/// Returns what a parser can see of a line: the refusal of its command, which holds its name, or what is wrong with it.
fn shown(line: &CommandLine) -> String {
    match parse_head(line) {
        Ok(head) => format!("{} {}", head.tag, head.unrecognized()),
        Err(error) => error.to_string(),
    }
}

fn command(tag: &str, name: &str) -> Said {
    Said::Command(format!("{tag} Command unrecognized: {name}"))
}

fn literal(tag: &str, name: &str, size: u64, sync: Synchronizing) -> Said {
    Said::Literal(format!("{tag} Command unrecognized: {name}"), size, sync)
}

fn whole(input: &[u8], decision: Decision) -> Vec<Said> {
    frame(input, &[usize::MAX], |_, _| decision)
}

const NO: Synchronizing = Synchronizing::No;
const YES: Synchronizing = Synchronizing::Yes;

#[test]
fn lines_end_in_lf_with_or_without_cr() {
    let said = whole(b"a ONE\r\nb TWO\nc THREE\r\r\n", Decision::Accept);
    assert_eq!(said[..2], [command("a", "ONE"), command("b", "TWO")]);
    assert_eq!(said[2], command("c", "THREE?"));
    assert_eq!(whole(b"a HALF", Decision::Accept), []);
}

#[test]
fn collected_literals_are_part_of_the_command() {
    let said = whole(b"a ONE {5}\r\nx\r\ny {3+}\r\nabc tail\r\nb TWO\r\n", Decision::Accept);
    assert_eq!(
        said,
        [literal("a", "ONE", 5, YES), literal("a", "ONE", 3, NO), command("a", "ONE"), command("b", "TWO")]
    );
    // What looks like a literal at the end of one is none.
    let said = whole(b"a ONE {3}\r\n{9}\r\nb TWO\r\n", Decision::Accept);
    assert_eq!(said, [literal("a", "ONE", 3, YES), command("a", "ONE"), command("b", "TWO")]);
    let said = whole(b"a ONE {0}\r\n\r\nb TWO\r\n", Decision::Accept);
    assert_eq!(said, [literal("a", "ONE", 0, YES), command("a", "ONE"), command("b", "TWO")]);
}

#[test]
fn what_only_looks_like_a_literal_is_text() {
    for text in ["{x}", "{}", "{+}", "{5-}", "{5}x", "5}", "{5} ", "{5++}", "{ 5}"] {
        assert_eq!(
            whole(format!("a ONE {text}\r\n").as_bytes(), Decision::Accept),
            [command("a", "ONE")],
            "{text}"
        );
    }
}

#[test]
fn a_rejected_synchronizing_literal_is_never_sent() {
    let said = whole(b"a ONE {5}\r\nb TWO\r\n", Decision::Reject);
    assert_eq!(said, [literal("a", "ONE", 5, YES), command("b", "TWO")]);
}

#[test]
fn rejected_literals_are_skipped_with_all_that_follows_them() {
    let said = whole(b"a ONE {5+}\r\nb X\r\n tail {6+}\r\nc EVILz {0+}\r\n\r\nd TWO\r\n", Decision::Reject);
    assert_eq!(said, [literal("a", "ONE", 5, NO), command("d", "TWO")]);
    // A synchronizing literal in the tail is not coming: the client has its answer.
    let said = whole(b"a ONE {5+}\r\nb X\r\n {6}\r\nd TWO\r\n", Decision::Reject);
    assert_eq!(said, [literal("a", "ONE", 5, NO), command("d", "TWO")]);
}

#[test]
fn lines_may_have_65534_octets() {
    let line =
        |len: usize, end: &str| [b"a X ".to_vec(), vec![b'x'; len - 4 - end.len()], end.into()].concat();
    for end in ["\r\n", "\n"] {
        let said = whole(&[line(MAX_LINE, end), b"b Y\n".to_vec()].concat(), Decision::Accept);
        assert_eq!(said, [command("a", "X"), command("b", "Y")]);
        let said = whole(&[line(MAX_LINE + 1, end), b"b Y\n".to_vec()].concat(), Decision::Accept);
        assert_eq!(said, [Said::TooLong(Tag::new(b"a")), command("b", "Y")]);
    }
    // The text after a literal shares the limit; its data does not count.
    let mut long = b"a X {9000+}\r\n".to_vec();
    long.extend([b'd'; 9000]);
    let fits = MAX_LINE - 11;
    for (len, expected) in [(fits, command("a", "X")), (fits + 1, Said::TooLong(Tag::new(b"a")))] {
        let input = [&long[..], &vec![b't'; len - 2], b"\r\nb Y\n"].concat();
        assert_eq!(
            whole(&input, Decision::Accept),
            [literal("a", "X", 9000, NO), expected, command("b", "Y")]
        );
    }
}

#[test]
fn literals_of_overlong_lines_are_skipped() {
    for padding in [MAX_LINE - 10, MAX_LINE - 9, MAX_LINE - 6, MAX_LINE - 5, MAX_LINE, 3 * MAX_LINE] {
        let mut input = b"a X ".to_vec();
        input.extend(vec![b'x'; padding]);
        input.extend(b"{12+}\r\nb EVIL\r\nxxxxtail {4+}\r\nc E\n\r\nd Y\r\n");
        assert_eq!(whole(&input, Decision::Accept), [Said::TooLong(Tag::new(b"a")), command("d", "Y")]);
    }
    let untagged = [vec![b'x'; MAX_LINE + 7], b"\r\nd Y\r\n".to_vec()].concat();
    assert_eq!(whole(&untagged, Decision::Accept), [Said::TooLong(None), command("d", "Y")]);
}

#[test]
fn sizes_beyond_any_integer_are_the_largest() {
    for (text, size) in [
        ("4294967295", 4_294_967_295),
        ("4294967296", 4_294_967_296),
        ("18446744073709551615", u64::MAX),
        ("99999999999999999999999999", u64::MAX),
        ("0000000000000000000000000005", 5),
    ] {
        let input = format!("a X {{{text}+}}\r\nb EVIL\r\n");
        assert_eq!(whole(input.as_bytes(), Decision::Reject)[0], literal("a", "X", size, NO));
    }
}

#[test]
fn literals_beyond_the_limits_are_not_collected() {
    let mut splitter = Splitter::new();
    assert_eq!(frame_with(&mut splitter, b"a X {10001}\r\n", &[99], |_, _| Decision::Accept).len(), 1);
    assert_eq!(frame_with(&mut splitter, b"b Y\r\n", &[99], |_, _| Decision::Accept), [command("b", "Y")]);
    let many = [b"a X ".to_vec(), b"{1+}\r\nx".repeat(21), b"\r\nb Y\r\n".to_vec()].concat();
    let said = whole(&many, Decision::Accept);
    assert_eq!(said.len(), 22);
    assert_eq!(said[21], command("b", "Y"));
    let twenty = [b"a X ".to_vec(), b"{1+}\r\nx".repeat(20), b"\r\nb Y\r\n".to_vec()].concat();
    assert_eq!(whole(&twenty, Decision::Accept)[20..], [command("a", "X"), command("b", "Y")]);
    let large =
        [&b"a X "[..], &[&b"{10000+}\r\n"[..], &[b'x'; 10000]].concat().repeat(20), b"\r\nb Y\r\n"].concat();
    assert_eq!(whole(&large, Decision::Accept)[20..], [command("a", "X"), command("b", "Y")]);
}

#[test]
fn streamed_literals_come_in_pieces_and_the_tail_as_a_line() {
    let mut input = b"a APPEND x {100000}\r\n".to_vec();
    input.extend([b'm'; 100_000]);
    input.extend(b" (\\Seen) {2+}\r\nmm\r\nb Y\r\n");
    let said = whole(&input, Decision::Stream);
    let tail = "Missing command tag".to_owned();
    assert_eq!(
        said,
        [
            literal("a", "APPEND", 100_000, YES),
            Said::Data(100_000),
            Said::DataEnd,
            Said::Literal(tail.clone(), 2, NO),
            Said::Data(2),
            Said::DataEnd,
            Said::Command(tail),
            command("b", "Y"),
        ]
    );
}

#[test]
fn a_streamed_literal_can_be_given_up_at_any_point() {
    let input = b"a APPEND x {6}\r\nmmmmmm (\\Seen) {4+}\r\nmmmm\r\nb Y\r\n";
    for stop in 17..=input.len() - 7 {
        let mut splitter = Splitter::new();
        let before = frame_with(&mut splitter, &input[..stop], &[1], |_, _| Decision::Stream);
        splitter.reject();
        let after = frame_with(&mut splitter, &input[stop..], &[1], |_, _| Decision::Reject);
        assert_eq!(after, [command("b", "Y")], "{before:?}");
    }
}

#[test]
fn raw_lines_are_taken_as_they_are() {
    let mut splitter = Splitter::new();
    let frames = |splitter: &mut Splitter, input: &[u8]| {
        frame_with(splitter, input, &[99_999], |_, _| Decision::Accept)
    };
    assert_eq!(frames(&mut splitter, b"a IDLE\r\n"), [command("a", "IDLE")]);
    splitter.expect_raw(MAX_IDLE_LINE);
    let said = frames(&mut splitter, b"DONE {5}\r\nb X\r\n");
    assert_eq!(said, [Said::Raw(b"DONE {5}".to_vec()), command("b", "X")]);
    for (limit, len, fits) in
        [(MAX_IDLE_LINE, 1023, true), (MAX_IDLE_LINE, 1024, false), (MAX_SASL_LINE, 8190, true)]
    {
        splitter.expect_raw(limit);
        let line = [&vec![b'x'; len - 2][..], b"\r\n"].concat();
        let expected = if fits { Said::Raw(line[..len - 2].to_vec()) } else { Said::RawTooLong };
        assert_eq!(frames(&mut splitter, &[&line[..], b"b X\r\n"].concat()), [expected, command("b", "X")]);
    }
}

#[test]
fn what_was_sent_before_tls_can_be_thrown_away() {
    let mut splitter = Splitter::new();
    let sent = b"a STARTTLS\r\nb EVIL\r\n";
    assert_eq!(splitter.push(sent), sent.len());
    assert!(matches!(splitter.next_frame(), Some(Frame::Command(_))));
    assert_eq!(splitter.discard_input(), 8);
    assert!(splitter.next_frame().is_none());
    assert_eq!(frame_with(&mut splitter, b"c X\r\n", &[9], |_, _| Decision::Accept), [command("c", "X")]);
}

#[test]
fn waiting_for_a_command_differs_from_waiting_inside_one() {
    let mut splitter = Splitter::new();
    let mut waits = |input: &[u8]| {
        frame_with(&mut splitter, input, &[1], |_, _| Decision::Accept);
        splitter.awaits_command()
    };
    assert!(waits(b"a NO") && waits(b"OP\r\n") && waits(b"b X {3}"));
    assert!(!waits(b"\r\n") && !waits(b"abc") && !waits(b" tail"));
    assert!(waits(b"\r\n"));
    splitter.expect_raw(MAX_IDLE_LINE);
    assert!(!splitter.awaits_command());
}

#[test]
fn memory_is_bounded_whatever_comes() {
    const MIB: usize = 1024 * 1024;
    let literals = [&b"a X "[..], &[&b"{10000+}\r\n"[..], &[b'x'; 10000]].concat().repeat(30)].concat();
    let hostile: [Vec<u8>; 7] = [
        vec![b'x'; 2 * MIB],
        b"a {9+}\r\n".repeat(MIB / 8),
        literals.repeat(4),
        [&b"a X {4294967295+}\r\n"[..], &vec![0; MIB]].concat(),
        [&b"a X {10000+}\r\n"[..], &vec![b'{'; MIB]].concat(),
        b"\n".repeat(MIB / 8),
        [&literals[..], &vec![b'y'; 60_000]].concat().repeat(4),
    ];
    let mut fed = 0;
    for round in 0..15 {
        for (kind, input) in hostile.iter().enumerate() {
            let mut splitter = Splitter::new();
            for piece in input.chunks(50_000 + round) {
                let decision = [Decision::Accept, Decision::Stream, Decision::Reject][(round + kind) % 3];
                frame_with(&mut splitter, piece, &[70_000], |_, _| decision);
                assert!(splitter.memory() < 256 * 1024, "{} octets held", splitter.memory());
                fed += piece.len();
            }
        }
    }
    assert!(fed > 100_000_000, "only {fed} octets");
}

#[test]
fn an_idle_splitter_holds_little() {
    let mut splitter = Splitter::new();
    let line = [&b"a X {9000+}\r\n"[..], &[b'x'; 60_000], b"\r\nb NOOP\r\n"].concat();
    frame_with(&mut splitter, &line, &[usize::MAX], |_, _| Decision::Accept);
    assert!(splitter.next_frame().is_none());
    assert!(splitter.memory() <= 8 * 1024, "{} octets held", splitter.memory());
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        30 => prop::sample::select(vec![
            "a ", "A1 ", "NOOP", "LOGIN ", "APPEND x ", "\r\n", "\r\n", "\n", "\r", "{3}\r\n", "{3+}\r\n", "{0}\r\n", "{0+}\r\n",
            "{20+}\r\n", "{9+}", "{", "+}", "}", "\"", "(", ")", "abc", " ", "12", "{10001+}\r\n", "{4294967295+}\r\n", "\0",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        3 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (65_500usize..65_560).prop_map(|len| vec![b'x'; len]),
    ]
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        tokens in prop::collection::vec(token(), 0..40),
        pieces in prop::collection::vec(1usize..40, 1..5),
    ) {
        let input = tokens.concat();
        let decide = |line: &str, size: u64| match (line.len() as u64 + size) % 3 {
            0 => Decision::Accept,
            1 => Decision::Stream,
            _ => Decision::Reject,
        };
        let at_once = frame(&input, &[usize::MAX], decide);
        prop_assert_eq!(&frame(&input, &[1], decide), &at_once);
        prop_assert_eq!(&frame(&input, &pieces, decide), &at_once);
    }
}
