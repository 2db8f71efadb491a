//! The arguments of LIST, with the options of RFC 5258, and those of CREATE with USE (RFC 6154).

use crate::imap::args::{Args, Fault};
use crate::imap::command::{CommandBody, ListArgs, StatusItems, WrittenUses};
use crate::imap::{CommandName, Stop, SyntaxError, print};
use ailurus_types::{SpecialUse, SpecialUses};

/// The most patterns of one LIST: each can be a walk through all mailboxes.
pub const MAX_PATTERNS: usize = 100;

/// An extended LIST: one with options, or with patterns in parentheses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListExtended {
    /// Which names are wanted.
    pub selection: ListSelection,
    /// The reference name.
    pub reference: Vec<u8>,
    /// The patterns, at most [`MAX_PATTERNS`].
    pub patterns: Vec<Vec<u8>>,
    /// What is wanted of them.
    pub returns: ListReturn,
}

/// Selection options.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListSelection {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `REMOTE`
    pub remote: bool,
    /// `RECURSIVEMATCH`; never without `SUBSCRIBED` or `SPECIAL-USE`.
    pub recursive_match: bool,
    /// `SPECIAL-USE` (RFC 6154)
    pub special_use: bool,
}

/// Return options.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListReturn {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE` (RFC 6154)
    pub special_use: bool,
    /// `STATUS (items)` (RFC 5819)
    pub status: Option<StatusItems>,
}

/// Parses the arguments of LIST.
pub(crate) fn parse(args: &mut Args<'_>, command: CommandName) -> Result<CommandBody, Stop> {
    let fault = |fault: Fault| fault.of(command);
    let mut list = ListExtended::default();
    let mut extended = false;
    if args.has_more() && args.eat(b'(') {
        extended = true;
        list.selection = selection(args, command)?;
        args.separator().map_err(fault)?;
    }
    list.reference = args.astring().map_err(fault)?.into_owned();
    if args.has_more() && args.eat(b'(') {
        extended = true;
        list.patterns = patterns(args, command)?;
        args.separator().map_err(fault)?;
    } else {
        list.patterns = vec![args.pattern().map_err(fault)?.into_owned()];
    }
    if args.has_more() {
        extended = true;
        let word = args.atom().map_err(|_| SyntaxError::SurplusArgument(command))?;
        if !word.eq_ignore_ascii_case(b"RETURN") {
            return Err(SyntaxError::SurplusArgument(command).into());
        }
        if !(args.eat(b' ') && args.eat(b'(')) {
            return Err(Fault::Missing.of(command));
        }
        list.returns = returns(args, command)?;
        args.separator().map_err(fault)?;
        if args.has_more() {
            return Err(SyntaxError::SurplusArgument(command).into());
        }
    }
    if extended {
        return Ok(CommandBody::ListExtended(Box::new(list)));
    }
    let pattern = list.patterns.pop().unwrap_or_default();
    Ok(CommandBody::List(ListArgs { reference: list.reference, pattern }))
}

/// Takes what follows the `(` of a list of words, and the `)`: each word is given to `take`, which may take more.
fn words(
    args: &mut Args<'_>,
    command: CommandName,
    mut take: impl FnMut(&[u8], &mut Args<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if args.eat(b')') {
        return Ok(());
    }
    loop {
        let word = args.atom().map_err(|fault| fault.of(command))?;
        take(word, args)?;
        if args.eat(b')') {
            return Ok(());
        }
        if !args.eat(b' ') {
            return Err(Fault::Missing.of(command));
        }
    }
}

fn selection(args: &mut Args<'_>, command: CommandName) -> Result<ListSelection, Stop> {
    let mut options = ListSelection::default();
    words(args, command, |word, _| {
        match word.to_ascii_uppercase().as_slice() {
            b"SUBSCRIBED" => options.subscribed = true,
            b"REMOTE" => options.remote = true,
            b"RECURSIVEMATCH" => options.recursive_match = true,
            b"SPECIAL-USE" => options.special_use = true,
            _ => return Err(Fault::Missing.of(command)),
        }
        Ok(())
    })?;
    // RFC 5258 §3.1: it changes what other options select.
    if options.recursive_match && !(options.subscribed || options.special_use) {
        return Err(Fault::Missing.of(command));
    }
    Ok(options)
}

fn returns(args: &mut Args<'_>, command: CommandName) -> Result<ListReturn, Stop> {
    let mut options = ListReturn::default();
    words(args, command, |word, args| {
        match word.to_ascii_uppercase().as_slice() {
            b"SUBSCRIBED" => options.subscribed = true,
            b"CHILDREN" => options.children = true,
            b"SPECIAL-USE" => options.special_use = true,
            b"STATUS" if args.eat(b' ') && args.eat(b'(') => {
                options.status = Some(status_items(args, command)?);
            }
            _ => return Err(Fault::Missing.of(command)),
        }
        Ok(())
    })?;
    Ok(options)
}

fn status_items(args: &mut Args<'_>, command: CommandName) -> Result<StatusItems, Stop> {
    let mut items = StatusItems::default();
    words(args, command, |word, _| if items.add(word) { Ok(()) } else { Err(Fault::Missing.of(command)) })?;
    if items == StatusItems::default() { Err(Fault::Missing.of(command)) } else { Ok(items) }
}

fn patterns(args: &mut Args<'_>, command: CommandName) -> Result<Vec<Vec<u8>>, Stop> {
    let mut patterns = Vec::new();
    loop {
        if patterns.len() == MAX_PATTERNS {
            return Err(SyntaxError::ManyPatterns.into());
        }
        patterns.push(args.bare_pattern().map_err(|fault| fault.of(command))?.into_owned());
        if args.eat(b')') {
            return Ok(patterns);
        }
        if !args.eat(b' ') {
            return Err(Fault::Missing.of(command));
        }
    }
}

/// Parses `(USE (uses))` of CREATE, and the end behind it.
pub(crate) fn parse_use(args: &mut Args<'_>, command: CommandName) -> Result<WrittenUses, Stop> {
    let missing = || Fault::Missing.of(command);
    if !args.eat(b'(') {
        return Err(SyntaxError::SurplusArgument(command).into());
    }
    let word = args.atom().map_err(|fault| fault.of(command))?;
    if !(word.eq_ignore_ascii_case(b"USE") && args.eat(b' ') && args.eat(b'(')) {
        return Err(missing());
    }
    let (mut uses, mut unknown) = (SpecialUses::default(), None);
    while !args.eat(b')') {
        let word = args.rest();
        let len = 1 + word
            .iter()
            .skip(1)
            .take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'-')
            .count();
        let word = word.get(..len).filter(|word| len > 1 && word[0] == b'\\').ok_or_else(missing)?;
        args.skip(len);
        match SpecialUse::named(word) {
            Some(one) => uses.insert(one),
            None => unknown = unknown.or_else(|| Some(print::echo(word))),
        }
        if args.peek() != Some(b')') && !args.eat(b' ') {
            return Err(missing());
        }
    }
    if !args.eat(b')') {
        return Err(missing());
    }
    args.separator().map_err(|fault| fault.of(command))?;
    Ok(unknown.map_or(Ok(uses), Err))
}
