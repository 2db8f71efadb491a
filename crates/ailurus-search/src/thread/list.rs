//! The nested lists of a THREAD response (RFC 5256 §4), bit by bit.

use crate::interned::at;

/// Threads in order, as the tokens of their lists: `( 3 6 ( 4 23 ) ( 44 7 96 ) )`.
///
/// The iterator keeps what is open, so that it can be gone on with at any time. Nothing recurses.
pub struct Threads {
    /// What stands for each message.
    numbers: Vec<u32>,
    roots: Vec<u32>,
    /// Where the children of each message and dummy begin in `children`; those of the next follow.
    starts: Vec<u32>,
    children: Vec<u32>,
    next_root: usize,
    state: State,
    /// The siblings that are still to come, of each list that is open.
    open: Vec<(u32, u32)>,
}

#[derive(Clone, Copy)]
enum State {
    /// The list of the next thread, or of the next sibling.
    Between,
    /// A list was begun for this node.
    Begun(u32),
    /// The node was told; what is below it follows.
    Told(u32),
}

/// A part of a THREAD response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Token {
    /// `(`
    Open,
    /// `)`
    Close,
    /// A message. It is the child of the one before, if there is one in the same list.
    Number(u32),
}

impl Threads {
    pub(super) fn new(numbers: Vec<u32>, roots: Vec<u32>, starts: Vec<u32>, children: Vec<u32>) -> Self {
        Self { numbers, roots, starts, children, next_root: 0, state: State::Between, open: Vec::new() }
    }

    fn children(&self, node: u32) -> (u32, u32) {
        let start = |node: usize| self.starts.get(node).copied().unwrap_or(0);
        (start(at(node)), start(at(node) + 1))
    }

    fn child(&self, place: u32) -> u32 {
        self.children.get(at(place)).copied().unwrap_or(u32::MAX)
    }
}

impl Iterator for Threads {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            match self.state {
                State::Between => match self.open.last_mut() {
                    Some((next, end)) if *next < *end => {
                        let place = *next;
                        *next += 1;
                        self.state = State::Begun(self.child(place));
                        return Some(Token::Open);
                    }
                    Some(_) => {
                        self.open.pop();
                        return Some(Token::Close);
                    }
                    None => {
                        let root = *self.roots.get(self.next_root)?;
                        self.next_root += 1;
                        self.state = State::Begun(root);
                        return Some(Token::Open);
                    }
                },
                State::Begun(node) => {
                    self.state = State::Told(node);
                    if let Some(number) = self.numbers.get(at(node)) {
                        return Some(Token::Number(*number));
                    }
                }
                State::Told(node) => match self.children(node) {
                    (first, end) if first + 1 == end => self.state = State::Begun(self.child(first)),
                    (first, end) => {
                        // None, or several: the list ends behind them.
                        self.open.push((first, end));
                        self.state = State::Between;
                    }
                },
            }
        }
    }
}
