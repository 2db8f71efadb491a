//! The language of POP2, server side (RFC 937): the grammar of command lines.
//!
//! Lines come from [`crate::Lines`].

use crate::lines::verb_and_argument;

/// The longest command line in octets, its line end included.
pub const MAX_LINE: usize = 1023;

/// A command with its argument: the rest of the line behind one separator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command<'l> {
    /// Nothing but spaces.
    Null,
    /// `HELO user password`
    Helo(&'l [u8]),
    /// `FOLD mailbox`
    Fold(&'l [u8]),
    /// `READ [number]`
    Read(&'l [u8]),
    /// `RETR`
    Retr(&'l [u8]),
    /// `ACKS`
    Acks(&'l [u8]),
    /// `ACKD`
    Ackd(&'l [u8]),
    /// `NACK`
    Nack(&'l [u8]),
    /// `QUIT`
    Quit(&'l [u8]),
    /// Anything else.
    Unknown,
}

impl<'l> Command<'l> {
    /// Reads a line without its line end. Verbs are of any letter case.
    #[must_use]
    pub fn parse(line: &'l [u8]) -> Self {
        let Some((verb, argument)) = verb_and_argument(line) else { return Self::Null };
        match verb.as_slice() {
            b"HELO" => Self::Helo(argument),
            b"FOLD" => Self::Fold(argument),
            b"READ" => Self::Read(argument),
            b"RETR" => Self::Retr(argument),
            b"ACKS" => Self::Acks(argument),
            b"ACKD" => Self::Ackd(argument),
            b"NACK" => Self::Nack(argument),
            b"QUIT" => Self::Quit(argument),
            _ => Self::Unknown,
        }
    }
}

/// Divides the argument of HELO into user and password, which runs to the end of the line; a backslash in it quotes the next
/// octet. `None` if one of them is missing.
#[must_use]
pub fn helo_arguments(argument: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let argument = argument.trim_ascii_start();
    let space = argument.iter().position(|octet| *octet == b' ')?;
    let (user, rest) = (&argument[..space], &argument[space + 1..]);
    let mut password = Vec::with_capacity(rest.len());
    let mut octets = rest.iter();
    while let Some(octet) = octets.next() {
        password.push(if *octet == b'\\' { octets.next().copied().unwrap_or(b'\\') } else { *octet });
    }
    (!user.is_empty() && !password.is_empty()).then_some((user, password))
}

/// Reads the argument of READ: `Ok(None)` for none, an error for what is no number.
///
/// # Errors
///
/// Other characters than digits, or a number beyond 32 bits.
pub fn read_argument(argument: &[u8]) -> Result<Option<u32>, NotANumber> {
    let argument = argument.trim_ascii();
    if argument.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(argument).map_err(|_| NotANumber)?;
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(NotANumber);
    }
    text.parse().map(Some).map_err(|_| NotANumber)
}

/// The argument of READ is no number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a message number")]
pub struct NotANumber;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands() {
        assert_eq!(Command::parse(b"helo ada pw"), Command::Helo(b"ada pw"));
        assert_eq!(Command::parse(b"READ"), Command::Read(b""));
        assert_eq!(Command::parse(b" "), Command::Null);
        assert_eq!(Command::parse(b"RETRX"), Command::Unknown);
    }

    #[test]
    fn a_backslash_quotes_in_a_password() {
        assert_eq!(helo_arguments(b"ada pa ss"), Some((&b"ada"[..], b"pa ss".to_vec())));
        assert_eq!(helo_arguments(br"ada a\\b\ c\"), Some((&b"ada"[..], br"a\b c\".to_vec())));
        assert_eq!(helo_arguments(b"ada"), None);
        assert_eq!(helo_arguments(b"ada "), None);
        assert_eq!(helo_arguments(b""), None);
    }

    #[test]
    fn numbers_of_read() {
        assert_eq!(read_argument(b""), Ok(None));
        assert_eq!(read_argument(b" 5 "), Ok(Some(5)));
        assert_eq!(read_argument(b"5x"), Err(NotANumber));
        assert_eq!(read_argument(b"99999999999"), Err(NotANumber));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: Vec<u8>) {
            let _command = Command::parse(&line);
            let _helo = helo_arguments(&line);
            let _read = read_argument(&line);
        }
    }
}
