//! The cursor over a command's arguments.
//!
//! One space separates arguments; a space at the end is followed by an empty argument (spec/imapd.md §2). `more` tells
//! apart "no argument" and "an empty one".

use crate::imap::framing::{CommandLine, Literal, MAX_LITERAL, MAX_LITERALS};
use crate::imap::{CommandName, Stop, SyntaxError};
use std::borrow::Cow;

/// Tells whether an atom of the reference may hold the octet: `]`, `}` and `+` are allowed, 8-bit is not.
pub(crate) fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

/// Tells whether a LIST pattern may hold the octet outside quotes.
fn is_pattern_char(octet: u8) -> bool {
    octet > b' ' && !matches!(octet, b'(' | b')' | b'{' | b'"' | b'\\')
}

/// Why an argument could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Missing,
    NeedsLiteral(Literal),
    LiteralTooLong(u64),
    TooManyLiterals,
}

impl Fault {
    /// Returns the fault as the refusal of a command.
    pub(crate) fn of(self, command: CommandName) -> Stop {
        match self {
            Self::Missing => SyntaxError::MissingArgument(command).into(),
            Self::NeedsLiteral(literal) => Stop::NeedsLiteral(literal),
            Self::LiteralTooLong(size) => SyntaxError::LiteralTooLong(command, size).into(),
            Self::TooManyLiterals => SyntaxError::TooManyLiterals(command).into(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Args<'l> {
    line: &'l CommandLine,
    at: usize,
    /// The number of the next literal.
    literal: usize,
    more: bool,
}

impl<'l> Args<'l> {
    pub(crate) fn new(line: &'l CommandLine, at: usize) -> Self {
        Self { line, at, literal: 0, more: true }
    }

    /// Returns the text up to the data of the next literal or the end of the line.
    pub(crate) fn rest(&self) -> &'l [u8] {
        let octets = self.line.octets();
        let end = self.line.literal(self.literal).map_or(octets.len(), |data| data.start);
        octets.get(self.at..end).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Takes the octet if it is the next one.
    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn skip(&mut self, octets: usize) {
        self.at += octets.min(self.rest().len());
    }

    pub(crate) fn skip_spaces(&mut self) {
        self.skip(self.rest().iter().take_while(|octet| **octet == b' ').count());
    }

    /// Tells whether the command has another argument, be it empty.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// Takes the command's name, `UID` and the word behind it being one, and the space behind it.
    pub(crate) fn take_name(&mut self) -> &'l [u8] {
        let text = self.rest();
        let uid = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"UID "));
        let from = if uid { 4 } else { 0 };
        let space = text[from..].iter().position(|octet| *octet == b' ').map(|space| from + space);
        self.more = space.is_some();
        self.at += space.map_or(text.len(), |space| space + 1);
        &text[..space.unwrap_or(text.len())]
    }

    /// Takes the octets up to a space or the end, and the space; spaces in front are skipped. `None` when there are none.
    pub(crate) fn word(&mut self) -> Option<&'l [u8]> {
        if !self.more {
            return None;
        }
        self.skip_spaces();
        let text = self.rest();
        let len = text.iter().position(|octet| *octet == b' ').unwrap_or(text.len());
        self.skip(len);
        self.separator().ok()?;
        (len > 0).then(|| &text[..len])
    }

    /// Takes a string or atom that a space or the end follows, and the space.
    pub(crate) fn astring(&mut self) -> Result<Cow<'l, [u8]>, Fault> {
        if !self.more {
            return Err(Fault::Missing);
        }
        let value = self.bare_astring()?;
        self.separator()?;
        Ok(value)
    }

    /// Takes a LIST pattern, in the place of an argument.
    pub(crate) fn pattern(&mut self) -> Result<Cow<'l, [u8]>, Fault> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.astring();
        }
        if !self.more {
            return Err(Fault::Missing);
        }
        let value = self.run_of(is_pattern_char)?;
        self.separator()?;
        Ok(Cow::Borrowed(value))
    }

    /// Takes a LIST pattern, whatever follows.
    pub(crate) fn bare_pattern(&mut self) -> Result<Cow<'l, [u8]>, Fault> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.run_of(is_pattern_char).map(Cow::Borrowed),
        }
    }

    /// Takes a string or atom, whatever follows.
    pub(crate) fn bare_astring(&mut self) -> Result<Cow<'l, [u8]>, Fault> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.run_of(is_atom_char).map(Cow::Borrowed),
        }
    }

    /// Takes a quoted string or literal, whatever follows.
    pub(crate) fn string(&mut self) -> Result<Cow<'l, [u8]>, Fault> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.take_literal().map(Cow::Borrowed),
            _ => Err(Fault::Missing),
        }
    }

    /// Takes an atom, whatever follows.
    pub(crate) fn atom(&mut self) -> Result<&'l [u8], Fault> {
        self.run_of(is_atom_char)
    }

    /// Takes the space before the next argument, or finds that there is none.
    pub(crate) fn separator(&mut self) -> Result<(), Fault> {
        self.more = self.eat(b' ');
        if self.more || self.rest().is_empty() { Ok(()) } else { Err(Fault::Missing) }
    }

    /// Takes digits; the number is `u64::MAX` if it is larger.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let text = self.rest();
        let len = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
        self.skip(len);
        (len > 0).then(|| {
            text[..len].iter().fold(0, |value, digit| crate::imap::framing::with_digit(value, *digit))
        })
    }

    fn run_of(&mut self, allowed: fn(u8) -> bool) -> Result<&'l [u8], Fault> {
        let text = self.rest();
        let len = text.iter().take_while(|octet| allowed(**octet)).count();
        self.skip(len);
        if len == 0 { Err(Fault::Missing) } else { Ok(&text[..len]) }
    }

    fn quoted(&mut self) -> Result<Cow<'l, [u8]>, Fault> {
        let text = self.rest().get(1..).unwrap_or_default();
        let special = text.iter().position(|octet| matches!(octet, b'"' | b'\\')).ok_or(Fault::Missing)?;
        if text[special] == b'"' {
            self.skip(special + 2);
            return checked_quoted(&text[..special]).map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        let mut octets = text.iter().enumerate();
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.skip(at + 2);
                    checked_quoted(&value)?;
                    return Ok(Cow::Owned(value));
                }
                b'\\' => match octets.next() {
                    Some((_, escaped @ (b'"' | b'\\'))) => value.push(*escaped),
                    _ => return Err(Fault::Missing),
                },
                _ => value.push(*octet),
            }
        }
        Err(Fault::Missing)
    }

    /// Takes a literal: its announcement must be all that is left of the text before its data.
    fn take_literal(&mut self) -> Result<&'l [u8], Fault> {
        let announcement = self.rest().strip_prefix(b"{").unwrap_or_default();
        let number = announcement.strip_suffix(b"}").ok_or(Fault::Missing)?;
        let number = number.strip_suffix(b"+").unwrap_or(number);
        if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Missing);
        }
        if let Some(data) = self.line.literal(self.literal) {
            self.literal += 1;
            self.at = data.end;
            let data = self.line.octets().get(data).unwrap_or_default();
            // RFC 3501 §9: no NUL in a literal either.
            return if data.contains(&0) { Err(Fault::Missing) } else { Ok(data) };
        }
        match self.line.pending() {
            None => Err(Fault::Missing),
            Some(literal) if literal.size > MAX_LITERAL => Err(Fault::LiteralTooLong(literal.size)),
            Some(_) if self.line.literal_count() >= MAX_LITERALS => Err(Fault::TooManyLiterals),
            Some(literal) => Err(Fault::NeedsLiteral(literal)),
        }
    }

    /// Returns the literal that is not there yet, if nothing but its announcement is left.
    pub(crate) fn pending_literal(&self) -> Option<Literal> {
        let alone = self.line.literal(self.literal).is_none()
            && self.rest().iter().rposition(|octet| *octet == b'{') == Some(0);
        self.line.pending().filter(|_| alone)
    }
}

fn checked_quoted(text: &[u8]) -> Result<&[u8], Fault> {
    let good = text.iter().all(|octet| octet.is_ascii() && !matches!(octet, 0 | b'\r' | b'\n'));
    if good { Ok(text) } else { Err(Fault::Missing) }
}
