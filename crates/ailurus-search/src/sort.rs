//! SORT (RFC 5256, RFC 5957).
//!
//! A message is a row of numbers, one for each criterion, whose order is that of the criteria: dates and sizes as they are,
//! of strings the number under which they are kept, which becomes their place in the order at the end. REVERSE turns the
//! bits of a number round. Rows are compared from left to right; the message's own position decides between equal ones.

use crate::interned::{Strings, at, number};
use crate::keys::{FieldName, Fields, or_arrived};
use ailurus_store::MessageInfo;
use ailurus_types::{SortCriterion, SortKey, SortOrder};

/// Messages that are being sorted.
pub struct Sorter {
    criteria: Vec<SortCriterion>,
    numbers: Vec<u32>,
    /// A row for each message.
    rows: Vec<u64>,
    strings: Strings,
    scratch: String,
}

impl Sorter {
    /// Returns a sorter by these criteria, the first being the most important.
    #[must_use]
    pub fn new(criteria: &[SortCriterion]) -> Self {
        // A key that comes again decides nothing: there are no more of them than there are keys.
        let mut distinct: Vec<SortCriterion> = Vec::new();
        for criterion in criteria {
            if !distinct.iter().any(|known| known.key == criterion.key) {
                distinct.push(*criterion);
            }
        }
        Self {
            criteria: distinct,
            numbers: Vec::new(),
            rows: Vec::new(),
            strings: Strings::default(),
            scratch: String::new(),
        }
    }

    /// Tells whether [`Sorter::add`] looks at headers.
    #[must_use]
    pub fn wants_header(&self) -> bool {
        self.criteria.iter().any(|criterion| !matches!(criterion.key, SortKey::Arrival | SortKey::Size))
    }

    /// Tells whether the sent date is all that [`Sorter::add`] takes from headers: then [`Sorter::add_dated`] does as well.
    #[must_use]
    pub fn wants_only_dates(&self) -> bool {
        self.criteria.iter().all(|criterion| !is_string(criterion.key))
    }

    /// Adds a message of whose header nothing is wanted but the sent date, as [`crate::sent_date`] has it.
    pub fn add_dated(&mut self, number: u32, info: &MessageInfo, sent: Option<i64>) {
        self.numbers.push(number);
        for criterion in &self.criteria {
            let value = number_of(criterion.key, info, || or_arrived(sent, info));
            self.rows.push(value.unwrap_or(0));
        }
    }

    /// Adds a message. `number` is what stands for it in the result; messages come in the order of their numbers.
    pub fn add(&mut self, number: u32, info: &MessageInfo, header: &[u8]) {
        self.numbers.push(number);
        let fields = Fields::read(header);
        for criterion in &self.criteria {
            let value = number_of(criterion.key, info, || fields.sent(info)).unwrap_or_else(|| {
                write_string(criterion.key, &fields, &mut self.scratch);
                self.strings.intern(self.scratch.as_bytes()).into()
            });
            self.rows.push(value);
        }
        if self.scratch.capacity() > KEPT_CAPACITY {
            self.scratch = String::new();
        }
    }

    /// Returns the numbers of the messages in order.
    #[must_use]
    pub fn finish(self) -> Vec<u32> {
        let Self { criteria, numbers, mut rows, strings, .. } = self;
        let ranks = strings.into_ranks();
        let width = criteria.len().max(1);
        for row in rows.chunks_exact_mut(width) {
            for (criterion, value) in criteria.iter().zip(row) {
                if is_string(criterion.key) {
                    let string = usize::try_from(*value).unwrap_or(usize::MAX);
                    *value = ranks.get(string).copied().unwrap_or(0).into();
                }
                if criterion.order == SortOrder::Descending {
                    *value = !*value;
                }
            }
        }
        drop(ranks);
        if width == 1 {
            let mut order: Vec<(u64, u32)> = rows.into_iter().zip(0..).collect();
            order.sort_unstable();
            return order.into_iter().filter_map(|(_, message)| numbers.get(at(message)).copied()).collect();
        }
        let row = |message: u32| rows.get(at(message) * width..(at(message) + 1) * width).unwrap_or_default();
        let mut order: Vec<u32> = (0..number(numbers.len())).collect();
        order.sort_unstable_by(|one, other| row(*one).cmp(row(*other)).then(one.cmp(other)));
        for message in &mut order {
            *message = numbers.get(at(*message)).copied().unwrap_or(0);
        }
        order
    }
}

/// A buffer that is larger is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Returns a number without sign that is ordered as the one with a sign.
fn ascending(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// Returns what stands for a key that is a number; `None` for a string.
fn number_of(key: SortKey, info: &MessageInfo, sent: impl FnOnce() -> i64) -> Option<u64> {
    match key {
        SortKey::Arrival => Some(ascending(info.internal_date().timestamp())),
        SortKey::Date => Some(ascending(sent())),
        SortKey::Size => Some(info.rfc822_size().into()),
        _ => None,
    }
}

fn is_string(key: SortKey) -> bool {
    !matches!(key, SortKey::Arrival | SortKey::Date | SortKey::Size)
}

fn write_string(key: SortKey, fields: &Fields<'_>, out: &mut String) {
    match key {
        SortKey::Cc => fields.local_part(FieldName::Cc, out),
        SortKey::From => fields.local_part(FieldName::From, out),
        SortKey::To => fields.local_part(FieldName::To, out),
        SortKey::DisplayFrom => fields.display(FieldName::From, out),
        SortKey::DisplayTo => fields.display(FieldName::To, out),
        SortKey::Subject => {
            fields.subject(out);
        }
        // Numbers, and keys of a later version of the grammar, by which all are equal.
        _ => out.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Random;
    use ailurus_types::{Flags, InternalDate, Uid};
    use std::cmp::Ordering;
    use std::collections::HashSet;
    use std::fmt::Write;

    /// A text as a header has it, and its base subject or local part in canonical form.
    type Text = (&'static str, &'static str);

    /// All of them are different, so that the order tells which were taken.
    const SUBJECTS: [Text; 8] = [
        ("", ""),
        ("Lunch", "LUNCH"),
        ("re: [x] LUNCH (fwd)", "LUNCH"),
        ("=?UTF-8?Q?=C3=A9clair?=", "E\u{301}CLAIR"),
        ("Re: e\u{301}CLAIR", "E\u{301}CLAIR"),
        ("eclair", "ECLAIR"),
        ("\u{1F35D} \u{FF5E}", "\u{1F35D} ~"),
        ("\u{FF41}", "A"),
    ];
    const ADDRESSES: [Text; 6] = [
        ("", ""),
        ("Zoe <amy@b.test>", "AMY"),
        ("AMY@a.test, bob@b.test", "AMY"),
        ("Team: ;, bob@b.test", "BOB"),
        ("\"b ob\"@b.test", "B OB"),
        ("(x) =?UTF-8?Q?x?= <bob.z@b.test>", "BOB.Z"),
    ];
    const DISPLAYED: [&str; 6] = ["", "ZOE", "AMY@A.TEST", "TEAM", "B OB@B.TEST", "X"];

    #[derive(Debug)]
    struct Mail {
        subject: usize,
        from: usize,
        to: usize,
        cc: usize,
        /// Hours, of which a message may have none of its own.
        sent: Option<u8>,
        arrived: u8,
        size: u32,
    }

    const START: i64 = 1_788_220_800;

    impl Mail {
        fn any(random: &mut Random) -> Self {
            let mut below = |limit: usize| random.below(u32::try_from(limit).expect("small")) as usize;
            Self {
                subject: below(SUBJECTS.len()),
                from: below(ADDRESSES.len()),
                to: below(ADDRESSES.len()),
                cc: below(ADDRESSES.len()),
                sent: Some(u8::try_from(below(9)).expect("small")).filter(|hour| *hour < 8),
                arrived: u8::try_from(below(8)).expect("small"),
                size: u32::try_from(below(4)).expect("small"),
            }
        }

        fn header(&self) -> String {
            let mut header = String::new();
            let mut add = |name: &str, value: &str| {
                if !value.is_empty() {
                    let _ = write!(header, "{name}: {value}\r\n");
                }
            };
            add("Cc", ADDRESSES[self.cc].0);
            add("Subject", SUBJECTS[self.subject].0);
            add("FROM", ADDRESSES[self.from].0);
            add("to", ADDRESSES[self.to].0);
            if let Some(hour) = self.sent {
                // The same instants, each in a zone of its own.
                let zone = hour % 3;
                add("Date", &format!("Tue, 1 Sep 2026 {:02}:00:00 +0{zone}00", hour + zone));
            }
            header + "\r\n"
        }

        fn info(&self, number: u32) -> MessageInfo {
            let arrived = InternalDate::from_timestamp(START + i64::from(self.arrived) * 3600, 60);
            MessageInfo::new(Uid::new(number).expect("not 0"), Flags::default(), arrived, self.size.into())
        }

        fn compare(&self, other: &Self, key: SortKey) -> Ordering {
            let local = |mail: usize| ADDRESSES[mail].1.as_bytes();
            let sent = |mail: &Self| mail.sent.unwrap_or(mail.arrived);
            match key {
                SortKey::Arrival => self.arrived.cmp(&other.arrived),
                SortKey::Date => sent(self).cmp(&sent(other)),
                SortKey::Size => self.size.cmp(&other.size),
                SortKey::Cc => local(self.cc).cmp(local(other.cc)),
                SortKey::From => local(self.from).cmp(local(other.from)),
                SortKey::To => local(self.to).cmp(local(other.to)),
                SortKey::DisplayFrom => DISPLAYED[self.from].cmp(DISPLAYED[other.from]),
                SortKey::DisplayTo => DISPLAYED[self.to].cmp(DISPLAYED[other.to]),
                SortKey::Subject => SUBJECTS[self.subject].1.cmp(SUBJECTS[other.subject].1),
                _ => unreachable!("a key of which this test does not know"),
            }
        }
    }

    #[test]
    fn the_order_is_that_of_a_plain_sort() {
        let mut random = Random(11);
        let mut met = HashSet::new();
        for _ in 0..4000 {
            let mails: Vec<_> = (0..random.below(12)).map(|_| Mail::any(&mut random)).collect();
            let criteria: Vec<_> = (0..1 + random.below(4))
                .map(|_| SortCriterion {
                    key: SortKey::NAMED[random.below(9) as usize].0,
                    order: [SortOrder::Ascending, SortOrder::Descending][random.below(2) as usize],
                })
                .collect();
            let mut sorter = Sorter::new(&criteria);
            for (mail, number) in mails.iter().zip(1..) {
                let header = if sorter.wants_header() { mail.header() } else { String::new() };
                sorter.add(number * 10, &mail.info(number), header.as_bytes());
            }
            let mut plain: Vec<u32> = (1..=number(mails.len())).map(|message| message * 10).collect();
            // A stable sort: equal messages stay as they are, REVERSE or not (RFC 5256 §3).
            plain.sort_by(|one, other| {
                let (one, other) = (&mails[at(one / 10 - 1)], &mails[at(other / 10 - 1)]);
                let by = criteria.iter().map(|criterion| match criterion.order {
                    SortOrder::Ascending => one.compare(other, criterion.key),
                    SortOrder::Descending => other.compare(one, criterion.key),
                });
                by.fold(Ordering::Equal, Ordering::then)
            });
            let sorted = sorter.finish();
            assert_eq!(sorted, plain, "{criteria:?} {mails:#?}");
            met.insert(sorted);
        }
        assert!(met.len() > 1500, "{}", met.len());
    }
}
