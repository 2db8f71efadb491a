//! The arguments of SORT and THREAD (RFC 5256 §5; RFC 5957; of RFC 5267 the ESORT part).

use crate::imap::args::{Args, Fault};
use crate::imap::search::{SearchReturn, parse_keys, parse_returns};
use crate::imap::{CommandName, Stop, SyntaxError};
use ailurus_types::{SearchProgram, SortCriterion, SortKey, SortOrder, ThreadAlgorithm};

/// The arguments of SORT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SortArgs {
    /// What to return in an ESEARCH response; `None` for a SORT response.
    pub returns: Option<SearchReturn>,
    /// What to sort by, the most important first; at least one.
    pub criteria: Vec<SortCriterion>,
    /// What to look for.
    pub program: SearchProgram,
}

/// The arguments of THREAD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ThreadArgs {
    /// The algorithm; `None` for one that we do not know.
    pub algorithm: Option<ThreadAlgorithm>,
    /// What to look for.
    pub program: SearchProgram,
}

/// So many criteria one SORT may have: there are nine keys, and repeating one changes nothing.
const MOST_CRITERIA: usize = 64;

pub(crate) fn parse_sort(args: &mut Args<'_>, command: CommandName) -> Result<SortArgs, Stop> {
    let missing = |fault: Fault| fault.of(command);
    if !args.has_more() {
        return Err(missing(Fault::Missing));
    }
    let returns = parse_returns(args).map_err(missing)?;
    if !args.eat(b'(') {
        return Err(missing(Fault::Missing));
    }
    let criteria = parse_criteria(args).ok_or(SyntaxError::BogusAttributes(command))?;
    args.separator().map_err(missing)?;
    let program = parse_program(args).map_err(missing)?;
    Ok(SortArgs { returns, criteria, program })
}

pub(crate) fn parse_thread(args: &mut Args<'_>, command: CommandName) -> Result<ThreadArgs, Stop> {
    let missing = |fault: Fault| fault.of(command);
    let algorithm = args.word().ok_or_else(|| missing(Fault::Missing))?;
    let algorithm = ThreadAlgorithm::from_name(algorithm);
    let program = parse_program(args).map_err(missing)?;
    Ok(ThreadArgs { algorithm, program })
}

/// Takes the criteria behind a `(` and the `)`.
fn parse_criteria(args: &mut Args<'_>) -> Option<Vec<SortCriterion>> {
    let mut criteria = Vec::new();
    loop {
        let mut word = args.atom().ok()?;
        let mut order = SortOrder::Ascending;
        if word.eq_ignore_ascii_case(b"REVERSE") {
            order = SortOrder::Descending;
            if !args.eat(b' ') {
                return None;
            }
            word = args.atom().ok()?;
        }
        criteria.push(SortCriterion { key: SortKey::from_name(word)?, order });
        if args.eat(b')') {
            return Some(criteria);
        }
        if !args.eat(b' ') || criteria.len() == MOST_CRITERIA {
            return None;
        }
    }
}

/// Takes the charset and the keys.
fn parse_program(args: &mut Args<'_>) -> Result<SearchProgram, Fault> {
    let charset = Some(String::from_utf8_lossy(&args.astring()?).into());
    if !args.has_more() {
        return Err(Fault::Missing);
    }
    Ok(SearchProgram { charset, key: parse_keys(args)? })
}
