//! Finding the messages of a file in which each stands behind a line that says how long it is (mbx, mtx, tenex), whatever
//! happened to some of them.
//!
//! Where a line leads to the next one, or to the end of the file, there is no doubt. Where it does not, the next line is
//! searched for: within the octets that a message claims only one from which lines lead on counts, for mail can hold what
//! looks like a line; outside any will do. So a message that runs into damage is kept as far as it goes, and one whose line
//! is damaged is known by the shape of that line, up to a few octets. What fits no message is passed over, and told.
//!
//! A search ends where a message begins, and the message that claimed the octets ends there, too: every octet is searched
//! a few times at most.

use crate::journal::read_up_to;
use std::fs::File;
use std::io;

const BLOCK: usize = 256 * 1024;
/// How many octets of a line may be wrong for it to be known by its shape.
const MOST_WRONG: usize = 3;
/// Octets of a line before its size, if its date has the usual shape; and that shape.
pub(crate) const DATE: usize = 26;
const DATE_SHAPE: &[u8] = b"dd-aaa-dddd dd:dd:dd sdddd,";

/// What the lines of a format look like.
pub(crate) trait Grammar {
    /// Octets within which a line is complete.
    const MOST: usize;

    /// Parses a line; returns its length and the size that it claims. `None` for one in which anything is wrong.
    fn parse(&self, octets: &[u8]) -> Option<(usize, u64)>;

    /// The shape of what follows the size: `d` a digit, `h` a hexadecimal digit, all else itself.
    fn tail(&self) -> &'static [u8];
}

/// A message, and how it was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Spot {
    /// Where its line begins.
    pub(crate) at: u64,
    /// Where it ends.
    pub(crate) end: u64,
    /// Octets of its line.
    pub(crate) line: u8,
    pub(crate) state: State,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Nothing.
    Whole,
    /// It does not end where its line says: the end is missing, or the size is wrong.
    Resized,
    /// Its line is damaged, and known by its shape.
    Rough,
}

/// What a walk gives, in the order of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Message(Spot),
    /// Octets that fit no message, to this offset.
    Gap {
        at: u64,
        end: u64,
    },
}

impl Spot {
    pub(crate) fn text(&self) -> u64 {
        self.at + u64::from(self.line)
    }
}

/// A line as far as it is one.
#[derive(Clone, Copy, Debug)]
struct Look {
    line: usize,
    /// `None`: the digits of the size are damaged.
    size: Option<u64>,
    rough: bool,
}

/// A walk over a file.
pub(crate) struct Walk<'f, G> {
    grammar: &'f G,
    octets: Octets<'f>,
    at: u64,
    len: u64,
}

impl<'f, G: Grammar> Walk<'f, G> {
    /// Begins a walk at the place of the first line.
    pub(crate) fn new(grammar: &'f G, file: &'f File, at: u64, len: u64) -> Self {
        Self { grammar, octets: Octets { file, len, start: 0, block: Vec::new() }, at, len }
    }

    /// Returns up to so many octets of the file.
    pub(crate) fn octets(&mut self, at: u64, most: usize) -> io::Result<&[u8]> {
        self.octets.get(at, most)
    }

    /// Goes on; `None` at the end of the file.
    pub(crate) fn step(&mut self) -> io::Result<Option<Step>> {
        let at = self.at;
        if at >= self.len {
            return Ok(None);
        }
        let Some(look) = self.look(at)? else { return self.gap(at).map(Some) };
        let text = at + look.line as u64;
        let claimed = look.size.map(|size| text.saturating_add(size));
        let (end, resized) = match claimed {
            Some(claimed) if self.leads_on(claimed)? => (claimed, false),
            _ => {
                let inside = claimed.unwrap_or(self.len).min(self.len);
                let next = self.search(text, inside, Wanted::LeadingOn)?;
                let end = match next {
                    Some(next) => next,
                    None => self.end_of_doubtful(text, inside)?,
                };
                (end, Some(end) != claimed)
            }
        };
        if end <= text {
            // A line without a message.
            self.at = text.min(self.len);
            return Ok(Some(Step::Gap { at, end: self.at }));
        }
        self.at = end;
        let state = match (look.rough, resized) {
            (true, _) => State::Rough,
            (false, true) => State::Resized,
            (false, false) => State::Whole,
        };
        let line = u8::try_from(look.line).unwrap_or(u8::MAX);
        Ok(Some(Step::Message(Spot { at, end, line, state })))
    }

    /// Decides where a message ends behind whose claim there is no line. Where it would end within a line of its text, and the
    /// next message begins behind a whole one, all between is its own: the size is wrong.
    fn end_of_doubtful(&mut self, text: u64, claimed: u64) -> io::Result<u64> {
        if claimed >= self.len || claimed <= text {
            return Ok(claimed);
        }
        let around = self.octets.get(claimed - 1, 2)?;
        if around.first() == Some(&b'\n') || around.get(1) == Some(&0) {
            return Ok(claimed);
        }
        let next = self.search(claimed, self.len, Wanted::LeadingOn)?.unwrap_or(self.len);
        let is_whole = self.octets.get(next - 1, 1)?.first() == Some(&b'\n');
        Ok(if is_whole { next } else { claimed })
    }

    fn gap(&mut self, at: u64) -> io::Result<Step> {
        let end = self.search(at + 1, self.len, Wanted::Any)?.unwrap_or(self.len);
        self.at = end;
        Ok(Step::Gap { at, end })
    }

    fn look(&mut self, at: u64) -> io::Result<Option<Look>> {
        let grammar = self.grammar;
        let octets = self.octets.get(at, G::MOST)?;
        if let Some((line, size)) = grammar.parse(octets) {
            return Ok(Some(Look { line, size: Some(size), rough: false }));
        }
        let rough = rough(octets, grammar.tail());
        Ok(rough.map(|digits| {
            let size = size_of(&octets[DATE + 1..][..digits]);
            Look { line: DATE + 1 + digits + grammar.tail().len(), size, rough: true }
        }))
    }

    /// Tells whether a line, or the end of the file, is there.
    fn leads_on(&mut self, at: u64) -> io::Result<bool> {
        Ok(at == self.len || at < self.len && self.look(at)?.is_some())
    }

    /// Returns where the first line begins in this range.
    fn search(&mut self, from: u64, to: u64, wanted: Wanted) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < to {
            let octets = self.octets.get(at, BLOCK)?;
            let ends = octets.len() < BLOCK;
            let (found, next) = next_line(self.grammar, octets, ends);
            if octets.is_empty() {
                return Ok(None);
            }
            let Some(found) = found else {
                at += next as u64;
                continue;
            };
            let start = at + found as u64;
            if start >= to {
                return Ok(None);
            }
            let line = self.octets.get(start, G::MOST)?;
            if let Some((len, size)) = self.grammar.parse(line) {
                let end = start.saturating_add(len as u64).saturating_add(size);
                if wanted == Wanted::Any || self.leads_on(end)? {
                    return Ok(Some(start));
                }
            }
            at += next as u64;
        }
        Ok(None)
    }
}

/// Which line is searched for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Any,
    /// One behind which there is another, or the end of the file.
    LeadingOn,
}

/// Returns where in the octets the first line begins, if any, and from where to search on.
fn next_line<G: Grammar>(grammar: &G, octets: &[u8], ends: bool) -> (Option<usize>, usize) {
    let tail = grammar.tail();
    for semicolon in memchr::memchr_iter(b';', octets) {
        let rest = &octets[semicolon..];
        if rest.len() < tail.len() {
            break;
        }
        if wrong(rest, tail) > 0 {
            continue;
        }
        let Some(start) = start_of_line(&octets[..semicolon]) else { continue };
        if grammar.parse(&octets[start..]).is_some() {
            return (Some(start), semicolon + 1);
        }
    }
    // A line can lie across two blocks.
    let whole = if ends { octets.len() } else { octets.len().saturating_sub(G::MOST).max(1) };
    (None, whole.max(1))
}

/// Returns where the line begins whose date and size end these octets.
fn start_of_line(octets: &[u8]) -> Option<usize> {
    let digits = octets.iter().rev().take_while(|octet| octet.is_ascii_digit()).take(20).count();
    let comma = octets.len().checked_sub(digits + 1).filter(|_| digits > 0)?;
    if octets[comma] != b',' {
        return None;
    }
    if let Some(start) = comma.checked_sub(DATE)
        && wrong(&octets[start..], DATE_SHAPE) == 0
    {
        return Some(start);
    }
    // Old programs wrote shorter dates. Those can only be told from what is before them at the start of a line.
    (14..DATE).rev().find_map(|length| {
        let start = comma.checked_sub(length)?;
        let begins = start.checked_sub(1).is_none_or(|before| octets[before] == b'\n');
        begins.then_some(start)
    })
}

/// Returns how many digits the size has in octets that are nearly a line.
fn rough(octets: &[u8], tail: &[u8]) -> Option<usize> {
    let date = octets.get(..=DATE)?;
    let wrong_date = wrong(date, DATE_SHAPE);
    if wrong_date > MOST_WRONG {
        return None;
    }
    let candidates = (1..=10usize).filter_map(|digits| {
        let size = octets.get(DATE + 1..DATE + 1 + digits)?;
        let rest = octets.get(DATE + 1 + digits..)?.get(..tail.len())?;
        let wrong_size = size.iter().filter(|octet| !octet.is_ascii_digit()).count();
        Some((wrong_date + wrong_size + wrong(rest, tail), digits))
    });
    candidates.min().filter(|(count, _)| *count <= MOST_WRONG).map(|(_, digits)| digits)
}

/// Counts the octets that are not as the shape has them.
fn wrong(octets: &[u8], shape: &[u8]) -> usize {
    octets.iter().zip(shape).filter(|(octet, kind)| !is_a(**octet, **kind)).count()
}

fn is_a(octet: u8, kind: u8) -> bool {
    match kind {
        b'd' => octet.is_ascii_digit() || octet == b' ',
        b'a' => octet.is_ascii_alphabetic(),
        b's' => matches!(octet, b'+' | b'-'),
        b'h' => octet.is_ascii_hexdigit(),
        _ => octet == kind,
    }
}

fn size_of(digits: &[u8]) -> Option<u64> {
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()))?;
    text.parse().ok().filter(|size| *size > 0)
}

/// Reads a file in blocks.
struct Octets<'f> {
    file: &'f File,
    len: u64,
    start: u64,
    block: Vec<u8>,
}

impl Octets<'_> {
    fn get(&mut self, at: u64, most: usize) -> io::Result<&[u8]> {
        let end = self.len.min(at.saturating_add(most as u64));
        if at < self.start || end > self.start + self.block.len() as u64 {
            let most = usize::try_from(self.len.saturating_sub(at)).unwrap_or(BLOCK).min(BLOCK);
            read_up_to(self.file, at, most, &mut self.block)?;
            self.start = at;
        }
        let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX).min(self.block.len());
        Ok(&self.block[skip..self.block.len().min(skip + most)])
    }
}
