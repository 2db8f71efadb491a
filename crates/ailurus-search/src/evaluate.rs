//! The tree of keys, evaluated with what is known so far.

use crate::needle::Needle;
use crate::text::{FieldTest, Texts};
use crate::{Candidate, Context};
use ailurus_types::{CalendarDate, KeywordMask, SearchKey, SystemFlags};

/// A key, with all that depends on the mailbox and not on the message worked out.
pub(crate) enum Node {
    Always(bool),
    And(Vec<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    /// Ascending ranges.
    Seqs(Vec<(u32, u32)>),
    Uids(Vec<(u32, u32)>),
    Has(SystemFlags),
    HasNot(SystemFlags),
    Recent(bool),
    Keyword(KeywordMask, bool),
    Before(CalendarDate),
    On(CalendarDate),
    Since(CalendarDate),
    /// Not after this moment, in seconds since 1970 UTC.
    NotAfter(i64),
    NotBefore(i64),
    Larger(u64),
    Smaller(u64),
    /// The number of a header key.
    Header(usize),
    /// The number of a text key.
    Text(usize),
}

impl Node {
    /// Makes a key ready. Keys nest no deeper than the parser allows.
    pub(crate) fn compile(
        key: &SearchKey,
        context: &Context<'_>,
        texts: &mut Texts,
        needle: &mut dyn FnMut(&[u8]) -> Needle,
    ) -> Self {
        match key {
            SearchKey::And(keys) => {
                let nodes = keys.iter().map(|key| Self::compile(key, context, texts, needle));
                Self::And(nodes.collect())
            }
            SearchKey::Or(one, other) => {
                let one = Self::compile(one, context, texts, needle);
                Self::Or(Box::new(one), Box::new(Self::compile(other, context, texts, needle)))
            }
            SearchKey::Not(key) => Self::Not(Box::new(Self::compile(key, context, texts, needle))),
            _ => Self::compile_leaf(key, context, texts, needle),
        }
    }

    /// Makes a key ready in which there are no others: apart, so that what it takes of the stack is not taken at every depth.
    fn compile_leaf(
        key: &SearchKey,
        context: &Context<'_>,
        texts: &mut Texts,
        needle: &mut dyn FnMut(&[u8]) -> Needle,
    ) -> Self {
        let header = |texts: &mut Texts, name: &str, test| Self::Header(texts.add_header(name, test));
        match key {
            SearchKey::All => Self::Always(true),
            SearchKey::Sequence(set) => Self::Seqs(set.resolve(context.exists)),
            SearchKey::Uid(set) => Self::Uids(set.resolve(context.largest_uid.map_or(0, |uid| uid.get()))),
            SearchKey::Saved => Self::Uids(context.saved.ranges().to_vec()),
            SearchKey::Has(flags) => Self::Has(*flags),
            SearchKey::HasNot(flags) => Self::HasNot(*flags),
            SearchKey::Recent => Self::Recent(true),
            SearchKey::Old => Self::Recent(false),
            SearchKey::New => Self::And(vec![Self::Recent(true), Self::HasNot(SystemFlags::SEEN)]),
            SearchKey::Keyword(keyword) => match context.keywords.find(keyword.as_str()) {
                Some(slot) => Self::Keyword(KeywordMask::slot(slot), true),
                None => Self::Always(false),
            },
            SearchKey::Unkeyword(keyword) => match context.keywords.find(keyword.as_str()) {
                Some(slot) => Self::Keyword(KeywordMask::slot(slot), false),
                None => Self::Always(true),
            },
            SearchKey::Before(date) => Self::Before(*date),
            SearchKey::On(date) => Self::On(*date),
            SearchKey::Since(date) => Self::Since(*date),
            SearchKey::SentBefore(date) => header(texts, "Date", FieldTest::SentBefore(*date)),
            SearchKey::SentOn(date) => header(texts, "Date", FieldTest::SentOn(*date)),
            SearchKey::SentSince(date) => header(texts, "Date", FieldTest::SentSince(*date)),
            SearchKey::Older(seconds) => Self::NotAfter(context.now - i64::from(*seconds)),
            SearchKey::Younger(seconds) => Self::NotBefore(context.now - i64::from(*seconds)),
            SearchKey::Larger(size) => Self::Larger(*size),
            SearchKey::Smaller(size) => Self::Smaller(*size),
            SearchKey::Address(name, key) => header(texts, &name.0, FieldTest::Address(needle(key))),
            SearchKey::Subject(key) => header(texts, "Subject", FieldTest::Value(needle(key))),
            SearchKey::Header(name, key) => header(texts, &name.0, FieldTest::Value(needle(key))),
            SearchKey::Body(key) => Self::Text(texts.add_text(needle(key), false)),
            SearchKey::Text(key) => Self::Text(texts.add_text(needle(key), true)),
            // A key of a later version of the grammar matches nothing.
            _ => Self::Always(false),
        }
    }

    /// Returns how many keys there are.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::And(nodes) => nodes.iter().map(Self::keys).sum(),
            Self::Or(one, other) => one.keys() + other.keys(),
            Self::Not(node) => node.keys(),
            _ => 1,
        }
    }

    /// Returns whether the message matches, or `None` when more of it has to be read first.
    pub(crate) fn evaluate(&self, message: &Candidate, texts: &Texts) -> Option<bool> {
        let info = &message.info;
        Some(match self {
            Self::Always(answer) => *answer,
            Self::And(nodes) => return all(nodes, message, texts),
            Self::Or(one, other) => match one.evaluate(message, texts) {
                Some(true) => true,
                Some(false) => return other.evaluate(message, texts),
                None => return other.evaluate(message, texts).filter(|answer| *answer),
            },
            Self::Not(node) => !node.evaluate(message, texts)?,
            Self::Seqs(ranges) => contains(ranges, message.seq.get()),
            Self::Uids(ranges) => contains(ranges, info.uid().get()),
            Self::Has(flags) => info.flags().system.contains(*flags),
            Self::HasNot(flags) => !info.flags().system.contains(*flags),
            Self::Recent(wanted) => message.recent == *wanted,
            Self::Keyword(mask, wanted) => (info.flags().keywords.0 & mask.0 != 0) == *wanted,
            Self::Before(date) => day(message) < *date,
            Self::On(date) => day(message) == *date,
            Self::Since(date) => day(message) >= *date,
            Self::NotAfter(moment) => info.internal_date().timestamp() <= *moment,
            Self::NotBefore(moment) => info.internal_date().timestamp() >= *moment,
            Self::Larger(size) => u64::from(info.rfc822_size()) > *size,
            Self::Smaller(size) => u64::from(info.rfc822_size()) < *size,
            Self::Header(number) => return texts.header_answer(*number),
            Self::Text(number) => return texts.text_answer(*number),
        })
    }
}

fn all(nodes: &[Node], message: &Candidate, texts: &Texts) -> Option<bool> {
    let mut answer = Some(true);
    for node in nodes {
        match node.evaluate(message, texts) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => answer = None,
        }
    }
    answer
}

fn contains(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after > 0 && ranges[after - 1].1 >= number
}

/// Returns the calendar day of the internal date, in its own zone.
fn day(message: &Candidate) -> CalendarDate {
    let (year, month, day) = message.info.internal_date().calendar();
    CalendarDate { year, month, day }
}
