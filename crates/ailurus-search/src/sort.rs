//! SORT (RFC 5256, RFC 5957).
//!
//! A message is a row of numbers, one for each criterion, whose order is that of the criteria: dates and sizes as they are,
//! of strings the number under which they are kept, which becomes their place in the order at the end. REVERSE turns the
//! bits of a number round. Rows are compared from left to right; the message's own position decides between equal ones.

use crate::interned::{Strings, at, number};
use crate::keys::{FieldName, Fields};
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

    /// Adds a message. `number` is what stands for it in the result; messages come in the order of their numbers.
    pub fn add(&mut self, number: u32, info: &MessageInfo, header: &[u8]) {
        self.numbers.push(number);
        let fields = Fields::read(header);
        for criterion in &self.criteria {
            let value = match criterion.key {
                SortKey::Arrival => ascending(info.internal_date().timestamp()),
                SortKey::Date => ascending(fields.sent(info)),
                SortKey::Size => info.rfc822_size().into(),
                key => {
                    write_string(key, &fields, &mut self.scratch);
                    self.strings.intern(self.scratch.as_bytes()).into()
                }
            };
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
