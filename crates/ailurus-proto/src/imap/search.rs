//! The arguments of SEARCH: a program of keys (RFC 3501 §6.4.4), what to return (RFC 4731, RFC 5182), the charset.

use crate::imap::args::{Args, Fault};
use crate::imap::{CommandName, Stop};
use ailurus_types::{
    CalendarDate, HeaderName, Keyword, MONTHS, SearchKey, SearchProgram, SequenceSet, SystemFlags,
};

/// How deep parentheses, NOT and OR may be nested. A program within it may be walked and dropped by recursion.
pub const MAX_SEARCH_DEPTH: usize = 500;

/// The arguments of SEARCH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchArgs {
    /// What to return in an ESEARCH response; `None` for a SEARCH response.
    pub returns: Option<SearchReturn>,
    /// What to look for.
    pub program: SearchProgram,
}

/// The RETURN options. At least one is set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SearchReturn {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`, also meant by an empty list.
    pub all: bool,
    /// `COUNT`
    pub count: bool,
    /// `SAVE` (RFC 5182)
    pub save: bool,
}

/// Parses the arguments. Everything wrong with them is a missing or invalid argument.
pub(crate) fn parse(args: &mut Args<'_>, command: CommandName) -> Result<SearchArgs, Stop> {
    parse_program(args).map_err(|fault| fault.of(command))
}

fn parse_program(args: &mut Args<'_>) -> Result<SearchArgs, Fault> {
    if !args.has_more() {
        return Err(Fault::Missing);
    }
    let returns = parse_returns(args)?;
    let mut charset = None;
    if eat_ignoring_case(args, b"CHARSET ") {
        charset = Some(String::from_utf8_lossy(&args.astring()?).into());
        if !args.has_more() {
            return Err(Fault::Missing);
        }
    }
    let key = parse_keys(args)?;
    Ok(SearchArgs { returns, program: SearchProgram { charset, key } })
}

/// Takes `RETURN`, its options and the space behind them, if they are there.
pub(crate) fn parse_returns(args: &mut Args<'_>) -> Result<Option<SearchReturn>, Fault> {
    if !eat_ignoring_case(args, b"RETURN (") {
        return Ok(None);
    }
    parse_options(args).map(Some)
}

fn parse_options(args: &mut Args<'_>) -> Result<SearchReturn, Fault> {
    let mut returns = SearchReturn::default();
    if args.eat(b')') {
        returns.all = true;
        return if args.eat(b' ') { Ok(returns) } else { Err(Fault::Missing) };
    }
    loop {
        match args.atom()?.to_ascii_uppercase().as_slice() {
            b"MIN" => returns.min = true,
            b"MAX" => returns.max = true,
            b"ALL" => returns.all = true,
            b"COUNT" => returns.count = true,
            b"SAVE" => returns.save = true,
            _ => return Err(Fault::Missing),
        }
        if args.eat(b')') {
            return if args.eat(b' ') { Ok(returns) } else { Err(Fault::Missing) };
        }
        if !args.eat(b' ') {
            return Err(Fault::Missing);
        }
    }
}

/// What a key that is being read belongs to.
enum Open {
    List(Vec<SearchKey>),
    Not,
    Or(Option<SearchKey>),
}

/// Parses keys up to the end of the line. What is open is a stack on the heap: nesting is the client's choice.
pub(crate) fn parse_keys(args: &mut Args<'_>) -> Result<SearchKey, Fault> {
    let mut open = Vec::new();
    let mut program = Vec::new();
    loop {
        if open.len() > MAX_SEARCH_DEPTH {
            return Err(Fault::Missing);
        }
        if args.eat(b'(') {
            open.push(Open::List(Vec::new()));
            continue;
        }
        let word = key_word(args);
        if word.eq_ignore_ascii_case(b"NOT") {
            open.push(Open::Not);
            space(args)?;
            continue;
        }
        if word.eq_ignore_ascii_case(b"OR") {
            open.push(Open::Or(None));
            space(args)?;
            continue;
        }
        let key = parse_key(args, word)?;
        if complete(args, &mut open, &mut program, key)? {
            return Ok(all_of(program));
        }
    }
}

/// Puts a key where it belongs, with all that it completes; tells whether the program has ended.
fn complete(
    args: &mut Args<'_>,
    open: &mut Vec<Open>,
    program: &mut Vec<SearchKey>,
    mut key: SearchKey,
) -> Result<bool, Fault> {
    loop {
        key = match open.pop() {
            None => {
                program.push(key);
                if args.rest().is_empty() {
                    return Ok(true);
                }
                space(args)?;
                return Ok(false);
            }
            Some(Open::Not) => SearchKey::Not(Box::new(key)),
            Some(Open::Or(Some(first))) => SearchKey::Or(Box::new(first), Box::new(key)),
            Some(Open::Or(None)) => {
                open.push(Open::Or(Some(key)));
                space(args)?;
                return Ok(false);
            }
            Some(Open::List(mut keys)) => {
                keys.push(key);
                if !args.eat(b')') {
                    open.push(Open::List(keys));
                    space(args)?;
                    return Ok(false);
                }
                all_of(keys)
            }
        };
    }
}

fn all_of(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.len() {
        1 => keys.remove(0),
        _ => SearchKey::And(keys),
    }
}

/// Takes the octets up to a space, a closing parenthesis or the end.
fn key_word<'l>(args: &mut Args<'l>) -> &'l [u8] {
    let text = args.rest();
    let len = text.iter().position(|octet| matches!(octet, b' ' | b')')).unwrap_or(text.len());
    args.skip(len);
    &text[..len]
}

fn parse_key(args: &mut Args<'_>, word: &[u8]) -> Result<SearchKey, Fault> {
    use SearchKey as Key;
    if word == b"$" {
        return Ok(Key::Saved);
    }
    if matches!(word.first(), Some(b'*' | b'0'..=b'9')) {
        return SequenceSet::parse(word).map(Key::Sequence).map_err(|_| Fault::Missing);
    }
    Ok(match word.to_ascii_uppercase().as_slice() {
        b"ALL" => Key::All,
        b"ANSWERED" => Key::Has(SystemFlags::ANSWERED),
        b"BCC" | b"CC" | b"FROM" | b"TO" => Key::Address(header_name(word), string(args)?),
        b"BEFORE" => Key::Before(date(args)?),
        b"BODY" => Key::Body(string(args)?),
        b"DELETED" => Key::Has(SystemFlags::DELETED),
        b"DRAFT" => Key::Has(SystemFlags::DRAFT),
        b"FLAGGED" => Key::Has(SystemFlags::FLAGGED),
        b"HEADER" => {
            let field = string(args)?;
            if field.is_empty() {
                return Err(Fault::Missing);
            }
            Key::Header(header_name(&field), string(args)?)
        }
        b"KEYWORD" => Keyword::new(&string(args)?).map_or_else(|| Key::Not(Box::new(Key::All)), Key::Keyword),
        b"LARGER" => Key::Larger(number(args)?),
        b"NEW" => Key::New,
        b"OLD" => Key::Old,
        b"OLDER" => Key::Older(seconds(args)?),
        b"ON" => Key::On(date(args)?),
        b"RECENT" => Key::Recent,
        b"SEEN" => Key::Has(SystemFlags::SEEN),
        b"SENTBEFORE" => Key::SentBefore(date(args)?),
        b"SENTON" => Key::SentOn(date(args)?),
        b"SENTSINCE" => Key::SentSince(date(args)?),
        b"SINCE" => Key::Since(date(args)?),
        b"SMALLER" => Key::Smaller(number(args)?),
        b"SUBJECT" => Key::Subject(string(args)?),
        b"TEXT" => Key::Text(string(args)?),
        b"UID" => {
            space(args)?;
            match key_word(args) {
                b"$" => Key::Saved,
                set => Key::Uid(SequenceSet::parse(set).map_err(|_| Fault::Missing)?),
            }
        }
        b"UNANSWERED" => Key::HasNot(SystemFlags::ANSWERED),
        b"UNDELETED" => Key::HasNot(SystemFlags::DELETED),
        b"UNDRAFT" => Key::HasNot(SystemFlags::DRAFT),
        b"UNFLAGGED" => Key::HasNot(SystemFlags::FLAGGED),
        b"UNKEYWORD" => Keyword::new(&string(args)?).map_or(Key::All, Key::Unkeyword),
        b"UNSEEN" => Key::HasNot(SystemFlags::SEEN),
        b"YOUNGER" => Key::Younger(seconds(args)?),
        _ => return Err(Fault::Missing),
    })
}

fn header_name(name: &[u8]) -> HeaderName {
    HeaderName(String::from_utf8_lossy(name).into())
}

fn space(args: &mut Args<'_>) -> Result<(), Fault> {
    if args.eat(b' ') { Ok(()) } else { Err(Fault::Missing) }
}

fn string(args: &mut Args<'_>) -> Result<Vec<u8>, Fault> {
    space(args)?;
    args.bare_astring().map(|text| text.into_owned())
}

fn number(args: &mut Args<'_>) -> Result<u64, Fault> {
    space(args)?;
    args.number().ok_or(Fault::Missing)
}

fn seconds(args: &mut Args<'_>) -> Result<u32, Fault> {
    number(args).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

fn date(args: &mut Args<'_>) -> Result<CalendarDate, Fault> {
    space(args)?;
    let quoted = args.eat(b'"');
    let date = bare_date(args).ok_or(Fault::Missing)?;
    if quoted && !args.eat(b'"') { Err(Fault::Missing) } else { Ok(date) }
}

/// Takes `d-Mmm-yyyy`; a day below ten may have a space in front, a year below 100 is one of 1970..2069.
fn bare_date(args: &mut Args<'_>) -> Option<CalendarDate> {
    let digits = |args: &Args<'_>| args.rest().iter().take_while(|octet| octet.is_ascii_digit()).count();
    let most = if args.eat(b' ') { 1 } else { 2 };
    if digits(args) > most {
        return None;
    }
    let day = u8::try_from(args.number()?).ok().filter(|day| (1..=31).contains(day))?;
    if !args.eat(b'-') {
        return None;
    }
    let name = args.rest().get(..3)?;
    let month = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month.as_bytes()))?;
    args.skip(3);
    if !args.eat(b'-') {
        return None;
    }
    let year = match u16::try_from(args.number()?) {
        Ok(year @ 0..70) => year + 2000,
        Ok(year @ 70..100) => year + 1900,
        // A year of five digits is later than every message, like this one.
        Ok(year) => year.min(9999),
        Err(_) => 9999,
    };
    Some(CalendarDate { year, month: u8::try_from(month + 1).ok()?, day })
}

fn eat_ignoring_case(args: &mut Args<'_>, text: &[u8]) -> bool {
    let found = args.rest().get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    if found {
        args.skip(text.len());
    }
    found
}
