//! Command lines.

use crate::lines::verb_and_argument;

/// A command with its argument: the rest of the line behind one separator, as it was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command<'l> {
    /// Nothing but spaces.
    Null,
    /// `APOP name digest`
    Apop(&'l [u8]),
    /// `AUTH [mechanism [initial-response]]`
    Auth(&'l [u8]),
    /// `CAPA`
    Capa,
    /// `DELE number`
    Dele(&'l [u8]),
    /// `LAST` (RFC 1081; gone from RFC 1939)
    Last,
    /// `LIST [number]`
    List(&'l [u8]),
    /// `NOOP`
    Noop,
    /// `PASS text`
    Pass(&'l [u8]),
    /// `QUIT`
    Quit,
    /// `RETR number`
    Retr(&'l [u8]),
    /// `RPOP name` (RFC 1081)
    Rpop,
    /// `RSET`
    Rset,
    /// `STAT`
    Stat,
    /// `STLS`
    Stls,
    /// `TOP number lines`
    Top(&'l [u8]),
    /// `UIDL [number]`
    Uidl(&'l [u8]),
    /// `USER name`
    User(&'l [u8]),
    /// `XTND …` (RFC 1082)
    Xtnd,
    /// Anything else.
    Unknown,
}

impl<'l> Command<'l> {
    /// Reads a line without its line end. Verbs are of any letter case; spaces before them are passed over.
    #[must_use]
    pub fn parse(line: &'l [u8]) -> Self {
        let Some((verb, argument)) = verb_and_argument(line) else { return Self::Null };
        match verb.as_slice() {
            b"APOP" => Self::Apop(argument),
            b"AUTH" => Self::Auth(argument),
            b"CAPA" => Self::Capa,
            b"DELE" => Self::Dele(argument),
            b"LAST" => Self::Last,
            b"LIST" => Self::List(argument),
            b"NOOP" => Self::Noop,
            b"PASS" => Self::Pass(argument),
            b"QUIT" => Self::Quit,
            b"RETR" => Self::Retr(argument),
            b"RPOP" => Self::Rpop,
            b"RSET" => Self::Rset,
            b"STAT" => Self::Stat,
            b"STLS" => Self::Stls,
            b"TOP" => Self::Top(argument),
            b"UIDL" => Self::Uidl(argument),
            b"USER" => Self::User(argument),
            b"XTND" => Self::Xtnd,
            _ => Self::Unknown,
        }
    }
}

/// The argument of a command that takes a message number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Number {
    /// There is none.
    Missing,
    /// Decimal digits; what follows them is ignored. `u32::MAX` for every larger number, 0 for no digits.
    Is(u32),
}

/// Reads a message number as the reference does: its leading digits.
#[must_use]
pub fn number(argument: &[u8]) -> Number {
    let argument = argument.trim_ascii();
    if argument.is_empty() { Number::Missing } else { Number::Is(leading_number(argument).unwrap_or(0)) }
}

/// Reads the two arguments of TOP; what is missing or no number is `None`.
#[must_use]
pub fn top_arguments(argument: &[u8]) -> (Option<u32>, Option<u32>) {
    let mut words = argument.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    (words.next().and_then(leading_number), words.next().and_then(leading_number))
}

fn leading_number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit());
    let add = |number: Option<u32>, digit: &u8| {
        let number = number.unwrap_or(0).saturating_mul(10);
        Some(number.saturating_add(u32::from(digit - b'0')))
    };
    digits.fold(None, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn verbs_and_arguments() {
        assert_eq!(Command::parse(b""), Command::Null);
        assert_eq!(Command::parse(b"   "), Command::Null);
        assert_eq!(Command::parse(b"  stat"), Command::Stat);
        assert_eq!(Command::parse(b"USER   ada"), Command::User(b"  ada"));
        assert_eq!(Command::parse(b"PASS  two words "), Command::Pass(b" two words "));
        assert_eq!(Command::parse(b"PASS"), Command::Pass(b""));
        assert_eq!(Command::parse(b"auth PLAIN ="), Command::Auth(b"PLAIN ="));
        assert_eq!(Command::parse(b"STATS"), Command::Unknown);
        assert_eq!(Command::parse(b"NOOP x"), Command::Noop);
    }

    #[test]
    fn numbers_are_their_leading_digits() {
        assert_eq!(number(b""), Number::Missing);
        assert_eq!(number(b"12"), Number::Is(12));
        assert_eq!(number(b"12x"), Number::Is(12));
        assert_eq!(number(b"x"), Number::Is(0));
        assert_eq!(number(b"-1"), Number::Is(0));
        assert_eq!(number(b"99999999999999999999"), Number::Is(u32::MAX));
        assert_eq!(top_arguments(b"1 2"), (Some(1), Some(2)));
        assert_eq!(top_arguments(b"1"), (Some(1), None));
        assert_eq!(top_arguments(b"x 2"), (None, Some(2)));
        assert_eq!(top_arguments(b"3 0 junk"), (Some(3), Some(0)));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: Vec<u8>) {
            let _command = Command::parse(&line);
            let _number = number(&line);
            let _top = top_arguments(&line);
        }
    }
}
