//! What SEARCH, SORT and THREAD answer, appended as the client takes it.

use ailurus_proto::imap::response::{self, Esearch};
use ailurus_proto::imap::{CommandName, SearchReturn, Tag, print};
use ailurus_search::{Threads, Token};

/// The untagged response.
pub(crate) enum Found {
    /// `* SEARCH` or `* SORT` with these numbers.
    Numbers(CommandName, Vec<u32>),
    /// `* ESEARCH`
    Extended(Esearch, Vec<u32>),
    /// `* THREAD`
    Threads(Box<Threads>),
    /// None: all that was asked for is that it be saved.
    Nothing,
}

/// A response that is being sent.
pub(crate) struct Sending {
    found: Found,
    /// How many numbers were sent; `None` before the response was begun.
    sent: Option<usize>,
    /// The last token of a list that was sent.
    last: Token,
}

impl Found {
    /// Returns the response of a command with these RETURN options, if it has any. The numbers are in the order of the
    /// result.
    pub(crate) fn new(name: CommandName, returns: Option<SearchReturn>, numbers: Vec<u32>) -> Self {
        let Some(returns) = returns else { return Self::Numbers(name, numbers) };
        if !(returns.min || returns.max || returns.all || returns.count) {
            return Self::Nothing;
        }
        let esearch = Esearch {
            numbering: name.numbering(),
            min: numbers.first().copied().filter(|_| returns.min),
            max: numbers.last().copied().filter(|_| returns.max),
            count: returns.count.then(|| u32::try_from(numbers.len()).unwrap_or(u32::MAX)),
        };
        Self::Extended(esearch, if returns.all { numbers } else { Vec::new() })
    }
}

impl Sending {
    pub(crate) fn new(found: Found) -> Self {
        Self { found, sent: None, last: Token::Close }
    }

    /// Tells whether the response was begun; it is given up when it has ended.
    pub(crate) fn is_begun(&self) -> bool {
        self.sent.is_some()
    }

    /// Appends the response, or what of it there is room for; `true` when it is complete.
    pub(crate) fn append(&mut self, tag: &Tag, out: &mut Vec<u8>, limit: usize) -> bool {
        match &mut self.found {
            Found::Nothing => return true,
            Found::Numbers(name, numbers) => {
                let sent = self.sent.get_or_insert_with(|| {
                    let name: &[u8] = match name {
                        CommandName::Sort | CommandName::UidSort => b"* SORT",
                        _ => b"* SEARCH",
                    };
                    out.extend_from_slice(name);
                    0
                });
                while let Some(number) = numbers.get(*sent) {
                    if out.len() >= limit {
                        return false;
                    }
                    *sent += 1;
                    out.push(b' ');
                    print::number(out, (*number).into());
                }
                out.extend_from_slice(b"\r\n");
            }
            Found::Extended(esearch, numbers) => {
                let sent = self.sent.get_or_insert_with(|| {
                    response::esearch_start(out, tag, esearch);
                    if !numbers.is_empty() {
                        out.extend_from_slice(b" ALL ");
                    }
                    0
                });
                while let Some(rest) = numbers.get(*sent..).filter(|rest| !rest.is_empty()) {
                    if out.len() >= limit {
                        return false;
                    }
                    let (first, last, count) = run(rest);
                    if *sent > 0 {
                        out.push(b',');
                    }
                    *sent += count;
                    print::ranges(out, &[(first, last)]);
                }
                response::esearch_end(out, esearch);
            }
            Found::Threads(threads) => {
                let sent = self.sent.get_or_insert_with(|| {
                    out.extend_from_slice(b"* THREAD");
                    0
                });
                loop {
                    if out.len() >= limit {
                        return false;
                    }
                    let Some(token) = threads.next() else { break };
                    append_token(out, self.last, token, *sent == 0);
                    self.last = token;
                    *sent += 1;
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        self.sent = None;
        true
    }
}

/// Returns the run of ascending numbers at the front, and how many they are.
fn run(numbers: &[u32]) -> (u32, u32, usize) {
    let follows = |pair: &&[u32]| matches!(pair, [one, next] if one.checked_add(1) == Some(*next));
    let count = numbers.windows(2).take_while(follows).count() + 1;
    let first = numbers.first().copied().unwrap_or(0);
    (first, numbers.get(count - 1).copied().unwrap_or(first), count)
}

fn append_token(out: &mut Vec<u8>, last: Token, token: Token, is_first: bool) {
    if is_first || matches!(last, Token::Number(_)) && token != Token::Close {
        out.push(b' ');
    }
    match token {
        Token::Open => out.push(b'('),
        Token::Close => out.push(b')'),
        Token::Number(number) => print::number(out, number.into()),
    }
}

/// Appends the response of a SORT or THREAD that failed before it began, as the reference does: an empty one.
pub(crate) fn append_empty(name: CommandName, returns: Option<SearchReturn>, out: &mut Vec<u8>) {
    match name {
        CommandName::Sort | CommandName::UidSort if returns.is_none() => out.extend_from_slice(b"* SORT\r\n"),
        CommandName::Thread | CommandName::UidThread => out.extend_from_slice(b"* THREAD\r\n"),
        _ => {}
    }
}
