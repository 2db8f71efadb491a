//! Sequence sets as written, and sets of UIDs as ranges.

use crate::{SeqNum, Uid};
use std::fmt;

/// One end of a range in a [`SequenceSet`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetBound {
    /// A number, never zero.
    Number(SeqNum),
    /// `*`: the largest number in use.
    Star,
}

impl SetBound {
    fn resolve(self, largest: u32) -> u32 {
        match self {
            Self::Number(number) => number.get(),
            Self::Star => largest,
        }
    }
}

/// A sequence set as the client wrote it (RFC 3501 §9, `sequence-set`): ranges in their order, `*` unresolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SequenceSet(Vec<(SetBound, SetBound)>);

/// Why a sequence set is none; the texts are the reference's (spec/imapd.md §8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// A number beyond the messages there are, or zero, other than the second end of a range.
    #[error("Sequence out of range")]
    OutOfRange,
    /// Something that is no number where a number is due.
    #[error("Syntax error in sequence")]
    Syntax,
    /// The second end of a range is no number, or no message's.
    #[error("Sequence range invalid")]
    RangeInvalid,
    /// Something other than `,` behind a range.
    #[error("Sequence range syntax error")]
    RangeSyntax,
    /// Something other than `,` or `:` behind a number.
    #[error("Sequence syntax error")]
    SequenceSyntax,
    /// `*` in an empty mailbox.
    #[error("No messages, so no maximum message number")]
    NoMessages,
}

impl SequenceSet {
    /// Returns the set of these ranges.
    #[must_use]
    pub fn new(ranges: Vec<(SetBound, SetBound)>) -> Self {
        Self(ranges)
    }

    /// Parses `2,4:7,*`; the whole text must be a set.
    pub fn parse(text: &[u8]) -> Result<Self, SetError> {
        let mut ranges = Vec::new();
        let mut rest = text;
        loop {
            let first = parse_bound(&mut rest).ok_or(SetError::Syntax)??;
            let is_range = rest.first() == Some(&b':');
            let last = if is_range {
                rest = &rest[1..];
                parse_bound(&mut rest).and_then(Result::ok).ok_or(SetError::RangeInvalid)?
            } else {
                first
            };
            ranges.push((first, last));
            match rest {
                [] => return Ok(Self(ranges)),
                [b',', tail @ ..] => rest = tail,
                _ if is_range => return Err(SetError::RangeSyntax),
                _ => return Err(SetError::SequenceSyntax),
            }
        }
    }

    /// Returns the ranges as written.
    #[must_use]
    pub fn ranges(&self) -> &[(SetBound, SetBound)] {
        &self.0
    }

    /// Returns the sorted, disjoint ranges of numbers that the set names when `largest` is the largest number in
    /// use. With `largest` 0 (an empty mailbox) `*` names nothing.
    #[must_use]
    pub fn resolve(&self, largest: u32) -> Vec<(u32, u32)> {
        let ranges = self.0.iter().filter_map(|(first, last)| {
            let (first, last) = (first.resolve(largest), last.resolve(largest));
            (first != 0 && last != 0).then_some((first.min(last), first.max(last)))
        });
        merge(ranges.collect())
    }

    /// Returns the set read as UIDs: missing ones are simply not there (RFC 3501 §6.4.8).
    #[must_use]
    pub fn uids(&self, largest: Option<Uid>) -> UidSet {
        UidSet(self.resolve(largest.map_or(0, Uid::get)))
    }

    /// Returns the sorted, disjoint ranges of message sequence numbers in a mailbox of `exists` messages.
    ///
    /// Every number must be a message's, else `Sequence out of range`, or `Sequence range invalid` for the second end of
    /// a range (spec/imapd.md §8).
    pub fn seqs(&self, exists: u32) -> Result<Vec<(u32, u32)>, SetError> {
        let check = |bound, beyond| match bound {
            SetBound::Star if exists == 0 => Err(SetError::NoMessages),
            SetBound::Number(number) if number.get() > exists => Err(beyond),
            _ => Ok(()),
        };
        for (first, last) in &self.0 {
            check(*first, SetError::OutOfRange)?;
            check(*last, SetError::RangeInvalid)?;
        }
        Ok(self.resolve(exists))
    }
}

/// Takes a number or `*` off the front: `None` when there is none, an error when the number is no message's.
fn parse_bound(rest: &mut &[u8]) -> Option<Result<SetBound, SetError>> {
    if let [b'*', tail @ ..] = *rest {
        *rest = tail;
        return Some(Ok(SetBound::Star));
    }
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (number, tail) = rest.split_at(digits);
    if number.is_empty() {
        return None;
    }
    *rest = tail;
    let value = std::str::from_utf8(number).ok().and_then(|number| number.parse::<u32>().ok());
    Some(value.and_then(SeqNum::new).map(SetBound::Number).ok_or(SetError::OutOfRange))
}

fn merge(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |bound: &SetBound| match bound {
            SetBound::Number(number) => number.to_string(),
            SetBound::Star => "*".into(),
        };
        for (position, (first, last)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{}", show(first))?;
            if first != last {
                write!(f, ":{}", show(last))?;
            }
        }
        Ok(())
    }
}

/// A set of UIDs: sorted, disjoint ranges that never touch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UidSet(Vec<(u32, u32)>);

impl UidSet {
    /// Returns the empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the set of all UIDs.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(1, u32::MAX)])
    }

    /// Adds one UID; cheap when they come in ascending order.
    pub fn insert(&mut self, uid: Uid) {
        let uid = uid.get();
        match self.0.last_mut() {
            Some(last) if uid > last.1 && uid - last.1 == 1 => last.1 = uid,
            Some(last) if uid <= last.1 => {
                if !self.contains_raw(uid) {
                    self.0.push((uid, uid));
                    self.0 = merge(std::mem::take(&mut self.0));
                }
            }
            _ => self.0.push((uid, uid)),
        }
    }

    /// Adds all UIDs of another set.
    pub fn add(&mut self, other: &Self) {
        if !other.is_empty() {
            self.0.extend_from_slice(&other.0);
            self.0 = merge(std::mem::take(&mut self.0));
        }
    }

    /// Takes all UIDs of another set out.
    pub fn remove(&mut self, other: &Self) {
        if self.is_empty() || other.is_empty() {
            return;
        }
        let mut left = Vec::with_capacity(self.0.len());
        let mut holes = other.0.iter().peekable();
        for (mut first, last) in std::mem::take(&mut self.0) {
            while holes.next_if(|hole| hole.1 < first).is_some() {}
            let mut rest = true;
            while let Some(hole) = holes.peek().filter(|hole| hole.0 <= last) {
                if hole.0 > first {
                    left.push((first, hole.0 - 1));
                }
                if hole.1 >= last {
                    rest = false;
                    break;
                }
                first = hole.1 + 1;
                holes.next();
            }
            if rest {
                left.push((first, last));
            }
        }
        self.0 = left;
    }

    /// Tells whether the UID is in the set.
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        self.contains_raw(uid.get())
    }

    fn contains_raw(&self, uid: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= uid);
        after > 0 && self.0[after - 1].1 >= uid
    }

    /// Tells whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ranges, ascending, both ends inclusive.
    #[must_use]
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Returns how many UIDs the set names (whether or not messages have them).
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        Self(merge(uids.into_iter().map(|uid| (uid.get(), uid.get())).collect()))
    }
}

impl fmt::Display for UidSet {
    /// Prints the set as the `uid-set` of RFC 4315: `1:3,7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, ":{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SequenceSet, SetError> {
        SequenceSet::parse(text.as_bytes())
    }

    #[test]
    fn ranges_may_be_reversed_overlap_and_hold_a_star() {
        assert_eq!(parse("7:4,2,5:9,*").unwrap().resolve(20), [(2, 2), (4, 9), (20, 20)]);
        assert_eq!(parse("*:3").unwrap().resolve(2), [(2, 3)]);
        assert_eq!(parse("1:4294967295").unwrap().resolve(2), [(1, u32::MAX)]);
    }

    #[test]
    fn errors_have_the_words_of_the_reference() {
        assert_eq!(parse("0"), Err(SetError::OutOfRange));
        assert_eq!(parse("99999999999"), Err(SetError::OutOfRange));
        assert_eq!(parse("x"), Err(SetError::Syntax));
        assert_eq!(parse("1:x"), Err(SetError::RangeInvalid));
        assert_eq!(parse("1:0"), Err(SetError::RangeInvalid));
        assert_eq!(parse("1:2x"), Err(SetError::RangeSyntax));
        assert_eq!(parse("1:1x"), Err(SetError::RangeSyntax));
        assert_eq!(parse("1x"), Err(SetError::SequenceSyntax));
        assert_eq!(parse("1,"), Err(SetError::Syntax));
        assert_eq!(parse("9").unwrap().seqs(5), Err(SetError::OutOfRange));
        assert_eq!(parse("9:9").unwrap().seqs(5), Err(SetError::OutOfRange));
        assert_eq!(parse("1:9").unwrap().seqs(5), Err(SetError::RangeInvalid));
        assert_eq!(parse("*").unwrap().seqs(0), Err(SetError::NoMessages));
    }

    #[test]
    fn printing_and_parsing_agree() {
        for text in ["1", "1:3", "*", "4:*,2", "*:1"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn uids_are_taken_out_of_sets() {
        let set =
            |bits: u32| (1..=12).filter(|uid| bits >> uid & 1 == 1).filter_map(Uid::new).collect::<UidSet>();
        for one in (0..1 << 13).step_by(7) {
            for other in (0..1 << 13).step_by(61) {
                let mut left = set(one);
                left.remove(&set(other));
                assert_eq!(left, set(one & !other), "{one:b} {other:b}");
            }
        }
        let mut all = UidSet::all();
        all.remove(&UidSet(vec![(3, u32::MAX)]));
        assert_eq!(all.to_string(), "1:2");
    }

    #[test]
    fn uid_sets_merge_in_any_order() {
        let mut set = UidSet::new();
        for uid in [5, 1, 2, 9, 3, 3, 8] {
            set.insert(Uid::new(uid).unwrap());
        }
        assert_eq!(set.to_string(), "1:3,5,8:9");
        assert!(set.contains(Uid::new(2).unwrap()) && !set.contains(Uid::new(4).unwrap()));
        assert_eq!(set.count(), 6);
    }
}
