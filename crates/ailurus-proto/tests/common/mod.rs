//! A session without a mailbox: frames and parses what a client sends, and keeps what came of it.

use ailurus_proto::imap::{
    AppendTail, Command, CommandBody, Frame, HeadError, Splitter, Stop, SyntaxError, Tag, parse_append_tail,
    parse_head,
};

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was parsed. For APPEND: with the sizes of all its messages.
    Parsed(Command, Vec<usize>),
    /// It was refused, with these responses, a CRLF after each.
    Refused(String),
}

/// Feeds a client's octets to the splitter and decides as a server would that has every mailbox but `nonesuch`.
pub(crate) struct Talk {
    pub(crate) splitter: Splitter,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) continuations: usize,
    append: Option<(Command, Vec<usize>)>,
}

enum Next {
    Nothing,
    Accept,
    Stream,
    Reject,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self { splitter: Splitter::new(), outcomes: Vec::new(), continuations: 0, append: None }
    }

    pub(crate) fn with(input: &[u8]) -> Self {
        let mut talk = Self::new();
        talk.hear(input);
        talk
    }

    pub(crate) fn hear(&mut self, mut input: &[u8]) {
        loop {
            let taken = self.splitter.push(input);
            input = &input[taken..];
            while self.step() {}
            if input.is_empty() {
                return;
            }
            assert!(taken > 0 || self.splitter.push(input) > 0, "stuck");
        }
    }

    fn step(&mut self) -> bool {
        let (outcomes, append) = (&mut self.outcomes, &mut self.append);
        let mut sync = false;
        let next = match self.splitter.next_frame() {
            None => return false,
            Some(Frame::Command(line) | Frame::Literal(line, _)) if append.is_some() => {
                let (command, sizes) = append.take().unwrap();
                match parse_append_tail(line) {
                    Ok(AppendTail::End) => {
                        outcomes.push(Outcome::Parsed(command, sizes));
                        Next::Nothing
                    }
                    Ok(AppendTail::Next(message)) => {
                        assert!(message.size().is_ok());
                        sync = message.literal.sync == ailurus_proto::imap::Synchronizing::Yes;
                        *append = Some((command, sizes));
                        append.as_mut().unwrap().1.push(0);
                        Next::Stream
                    }
                    Err(Stop::Refused(error)) => {
                        outcomes.push(refused(&command.tag, &error));
                        Next::Reject
                    }
                    Err(Stop::NeedsLiteral(_)) => panic!("a message is no argument"),
                }
            }
            Some(Frame::Command(line)) => {
                outcomes.push(judge(line).unwrap_or_else(|_| panic!("a literal of a whole line")));
                Next::Nothing
            }
            Some(Frame::Literal(line, literal)) => {
                sync = literal.sync == ailurus_proto::imap::Synchronizing::Yes;
                match judge(line) {
                    Err(()) => Next::Accept,
                    Ok(Outcome::Parsed(command, _)) if streams(&command) => {
                        *append = Some((command, vec![0]));
                        Next::Stream
                    }
                    Ok(outcome) => {
                        outcomes.push(outcome);
                        Next::Reject
                    }
                }
            }
            Some(Frame::Data(octets)) => {
                *append.as_mut().unwrap().1.last_mut().unwrap() += octets.len();
                Next::Nothing
            }
            Some(Frame::DataEnd) => Next::Nothing,
            Some(Frame::LineTooLong(line)) => {
                let tag = Tag::of_line(line);
                *append = None;
                let tag = tag.map_or("*".into(), |tag| tag.to_string());
                outcomes.push(Outcome::Refused(format!("{tag} BAD {}\r\n", SyntaxError::LineTooLong)));
                Next::Nothing
            }
            Some(Frame::Raw(_) | Frame::RawTooLong) => panic!("not asked for"),
        };
        match next {
            Next::Nothing => return true,
            Next::Accept => self.splitter.accept_literal().unwrap(),
            Next::Stream => self.splitter.stream_literal(),
            Next::Reject => {
                self.splitter.reject();
                return true;
            }
        }
        self.continuations += usize::from(sync);
        true
    }
}

fn streams(command: &Command) -> bool {
    match &command.body {
        CommandBody::Append(start) => start.mailbox.as_bytes() != b"nonesuch" && start.first.size().is_ok(),
        _ => false,
    }
}

/// Parses a line; `Err` when it wants its literal.
fn judge(line: &ailurus_proto::imap::CommandLine) -> Result<Outcome, ()> {
    let head = match parse_head(line) {
        Ok(head) => head,
        Err(error) => {
            let mut out = Vec::new();
            HeadError::answer(&error, &mut out);
            return Ok(Outcome::Refused(String::from_utf8(out).unwrap()));
        }
    };
    let tag = head.tag.clone();
    match head.parse() {
        Ok(command) => Ok(Outcome::Parsed(command, Vec::new())),
        Err(Stop::NeedsLiteral(_)) => Err(()),
        Err(Stop::Refused(error)) => Ok(refused(&tag, &error)),
    }
}

fn refused(tag: &Tag, error: &SyntaxError) -> Outcome {
    let mut out = Vec::new();
    error.answer(&mut out, tag);
    Outcome::Refused(String::from_utf8(out).unwrap())
}
