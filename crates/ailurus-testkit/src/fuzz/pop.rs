//! What a POP client may send, and how messages are sent to it.

use crate::random::Random;
use ailurus_proto::pop3::Stuffing;
use ailurus_proto::{Line, Lines, pop2, pop3};

/// Cuts the input into lines, in one piece and in small ones, and reads each as a command of both protocols; then sends the
/// input as a message, likewise, and takes it out of the response again.
pub fn pop_lines(input: &[u8]) {
    let mut random = Random::new(input.len() as u64);
    let whole = lines(input, &mut |left| left);
    let pieces = lines(input, &mut |left| (1 + random.below(9)).min(left));
    assert_eq!(whole, pieces, "lines depend on how the octets arrive");
    for line in whole.iter().filter_map(|line| if let Line::Whole(line) = line { Some(line) } else { None }) {
        assert!(line.len() < pop3::MAX_LINE, "{} octets in a line", line.len());
        let _command = pop3::Command::parse(line);
        let _numbers = (pop3::number(line), pop3::top_arguments(line));
        let _command = pop2::Command::parse(line);
        let _arguments = (pop2::helo_arguments(line), pop2::read_argument(line));
    }
    let message = [input, b"\r\n"].concat();
    let whole = stuffed(&message, &mut |left| left);
    let pieces = stuffed(&message, &mut |left| (1 + random.below(5)).min(left));
    assert_eq!(whole, pieces, "a response depends on how the message is read");
    let mut read = Vec::new();
    let mut sent = whole.split_inclusive(|octet| *octet == b'\n');
    for line in sent.by_ref().take_while(|line| *line != b".\r\n") {
        read.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    assert!(sent.next().is_none(), "the response goes on behind its end");
    assert_eq!(read, message);
}

fn lines(mut input: &[u8], size: &mut dyn FnMut(usize) -> usize) -> Vec<Line> {
    let mut lines = Lines::new(pop3::MAX_LINE);
    let mut seen = Vec::new();
    while !input.is_empty() {
        let mut piece = &input[..size(input.len())];
        input = &input[piece.len()..];
        while !piece.is_empty() {
            let taken = lines.push(piece);
            assert!(taken > 0, "takes no input");
            piece = &piece[taken..];
            seen.extend(lines.take());
        }
    }
    seen
}

fn stuffed(mut message: &[u8], size: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let (mut stuffing, mut out) = (Stuffing::default(), Vec::new());
    while !message.is_empty() {
        let (piece, rest) = message.split_at(size(message.len()));
        stuffing.append(piece, &mut out);
        message = rest;
    }
    stuffing.end(&mut out);
    out
}
