//! LIST with selection and return options (RFC 5258, RFC 6154).
//!
//! Without a selection of names, mailboxes are looked for as LIST does, one pattern after the other. Subscribed names, and those of
//! mailboxes with a special use, are known before; each is then looked at. Either way one name costs about what it costs in LIST.

use crate::list::{canonical, matches_inbox};
use crate::{Attributes, ListQuery, Listed, Listing, Mailboxes, Pattern, Result};
use ailurus_types::{MailboxName, SpecialUses};
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// Which names are wanted, and what of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExtendedQuery {
    /// The reference of all patterns.
    pub reference: Vec<u8>,
    /// The patterns. Those that no mailbox can match are passed over.
    pub patterns: Vec<Vec<u8>>,
    /// Only subscribed names, whether or not there are such mailboxes.
    pub only_subscribed: bool,
    /// Only mailboxes with a special use.
    pub only_special_use: bool,
    /// Names above others that are selected, but match no pattern, as well.
    pub recursive: bool,
    /// Tell which are subscribed.
    pub subscribed: bool,
    /// Tell special uses.
    pub special_use: bool,
    /// Tell of each whether there are others below it.
    pub children: bool,
}

/// A name, and what is known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExtendedName {
    /// Name, delimiter, attributes.
    pub listed: Listed,
    /// Whether there is a mailbox or directory of this name.
    pub exists: bool,
    /// Whether it is what was asked for, not only something above it.
    pub is_selected: bool,
    /// Whether there is something below it that was asked for.
    pub child_info: bool,
    /// Whether it is subscribed, where that was asked.
    pub subscribed: bool,
    /// Its special uses, where they were asked for.
    pub uses: SpecialUses,
}

/// What an extended LIST reports, found as it is asked for.
pub struct ExtendedListing {
    mailboxes: Mailboxes,
    query: ExtendedQuery,
    /// One for each pattern that can be matched.
    matchers: Vec<Option<Matcher>>,
    subscribed: BTreeSet<Vec<u8>>,
    uses: BTreeMap<Vec<u8>, SpecialUses>,
    source: Source,
}

enum Source {
    /// Listings of the patterns from this one on; the one under way.
    Walk(usize, Option<Box<Listing>>),
    /// Names that were selected, or lead to such.
    Names(btree_map::IntoIter<Vec<u8>, Wanted>),
}

/// Why a name is reported.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    selected: bool,
    /// It has a selected name below it.
    above: bool,
    /// It has one that matches no pattern.
    above_unmatched: bool,
}

/// Tells whether names match a pattern.
struct Matcher {
    pattern: Pattern,
    inbox: bool,
}

impl Matcher {
    fn new(mailboxes: &Mailboxes, reference: &[u8], pattern: &[u8]) -> Option<Self> {
        if pattern.is_empty() {
            return None;
        }
        let text = match canonical(mailboxes.environment(), reference, pattern).ok()? {
            Some(text) => text,
            // The names of a driver.
            None if pattern.starts_with(b"#") => pattern.to_vec(),
            None => [reference, pattern].concat(),
        };
        Some(Self { pattern: Pattern::new(&text), inbox: matches_inbox(&text) })
    }

    fn matches(&self, name: &[u8]) -> bool {
        if name.eq_ignore_ascii_case(b"INBOX") { self.inbox } else { self.pattern.matches(name) }
    }
}

impl Mailboxes {
    /// Returns what an extended LIST reports.
    pub fn extended_listing(&self, query: ExtendedQuery) -> Result<ExtendedListing> {
        ExtendedListing::new(self.clone(), query)
    }
}

impl ExtendedListing {
    fn new(mailboxes: Mailboxes, mut query: ExtendedQuery) -> Result<Self> {
        query.subscribed |= query.only_subscribed;
        query.special_use |= query.only_special_use;
        query.patterns.retain(|pattern| !pattern.is_empty());
        let matchers = query
            .patterns
            .iter()
            .map(|pattern| Matcher::new(&mailboxes, &query.reference, pattern))
            .collect();
        let uses = if query.special_use { mailboxes.special_uses()? } else { BTreeMap::new() };
        let subscribed =
            if query.subscribed { subscribed_names(&mailboxes, &query)? } else { BTreeSet::new() };
        let mut listing =
            Self { mailboxes, query, matchers, subscribed, uses, source: Source::Walk(0, None) };
        if listing.query.only_subscribed || listing.query.only_special_use {
            listing.source = Source::Names(listing.wanted().into_iter());
        }
        Ok(listing)
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.matchers.iter().flatten().any(|matcher| matcher.matches(name))
    }

    /// Returns the names that are reported, and why.
    fn wanted(&self) -> BTreeMap<Vec<u8>, Wanted> {
        let is_selected = |name: &[u8]| {
            (!self.query.only_subscribed || self.subscribed.contains(name))
                && (!self.query.only_special_use || self.uses.contains_key(name))
        };
        let names: Vec<&Vec<u8>> = match self.query.only_subscribed {
            true => self.subscribed.iter().collect(),
            false => self.uses.keys().collect(),
        };
        let mut wanted: BTreeMap<Vec<u8>, Wanted> = BTreeMap::new();
        for name in names.into_iter().filter(|name| is_selected(name)) {
            let matches = self.matches(name);
            if matches {
                wanted.entry(name.clone()).or_default().selected = true;
            }
            if !self.query.recursive {
                continue;
            }
            let slashes = (1..name.len()).filter(|at| name[*at] == b'/' && at + 1 < name.len());
            for above in slashes.map(|slash| &name[..slash]).filter(|above| self.matches(above)) {
                let above = wanted.entry(above.to_vec()).or_default();
                above.above = true;
                above.above_unmatched |= !matches;
            }
        }
        // RFC 5258 §3.5: where all that is below is told itself, nobody has to be told that there is something.
        wanted.retain(|_, wanted| wanted.selected || wanted.above_unmatched);
        wanted
    }

    /// Returns the next name of the patterns that no pattern before matches.
    fn walk(&mut self) -> Option<Result<Listed>> {
        loop {
            let Source::Walk(position, listing) = &mut self.source else { return None };
            if let Some(open) = listing {
                match open.next() {
                    None => {
                        *listing = None;
                        *position += 1;
                    }
                    Some(Ok(listed)) => {
                        let mut before = self.matchers.iter().take(*position).flatten();
                        if !before.any(|matcher| matcher.matches(&listed.name)) {
                            return Some(Ok(listed));
                        }
                    }
                    Some(Err(error)) => return Some(Err(error)),
                }
                continue;
            }
            let pattern = self.query.patterns.get(*position)?;
            match self.mailboxes.listing(&self.query.reference, pattern) {
                Ok(new) => *listing = Some(Box::new(new)),
                // RFC 5258 §3: a pattern that is not accepted is passed over.
                Err(_) => *position += 1,
            }
        }
    }

    fn describe(&self, listed: Listed, exists: bool, wanted: Wanted) -> ExtendedName {
        let mut listed = listed;
        let told = [Attributes::NO_INFERIORS, Attributes::HAS_CHILDREN, Attributes::HAS_NO_CHILDREN];
        if self.query.children && !told.iter().any(|told| listed.attributes.contains(*told)) {
            let children = exists && self.has_children(&listed);
            let attribute = if children { Attributes::HAS_CHILDREN } else { Attributes::HAS_NO_CHILDREN };
            listed.attributes = listed.attributes.with(attribute);
        }
        ExtendedName {
            exists,
            is_selected: wanted.selected,
            child_info: wanted.above,
            subscribed: self.subscribed.contains(&listed.name),
            uses: self.uses.get(&listed.name).copied().unwrap_or_default(),
            listed,
        }
    }

    /// Looks for something below a name of which LIST does not tell.
    fn has_children(&self, listed: &Listed) -> bool {
        let Some(delimiter) = listed.delimiter else { return false };
        if listed.name.iter().any(|octet| matches!(octet, b'*' | b'%')) {
            return false;
        }
        let pattern = [&listed.name[..], &[delimiter, b'%']].concat();
        self.mailboxes.listing(b"", &pattern).is_ok_and(|mut listing| listing.any(|found| found.is_ok()))
    }
}

impl Iterator for ExtendedListing {
    type Item = Result<ExtendedName>;

    fn next(&mut self) -> Option<Result<ExtendedName>> {
        if let Source::Names(names) = &mut self.source {
            let (name, wanted) = names.next()?;
            let found = Listing::of_name(&self.mailboxes, &name);
            let exists = found.is_some();
            let missing = || Listed { name, delimiter: Some(b'/'), attributes: Attributes::NONE };
            return Some(Ok(self.describe(found.unwrap_or_else(missing), exists, wanted)));
        }
        let selected = Wanted { selected: true, ..Wanted::default() };
        self.walk().map(|listed| listed.map(|listed| self.describe(listed, true, selected)))
    }
}

/// Returns the names that are subscribed, by the file or by drivers.
fn subscribed_names(mailboxes: &Mailboxes, query: &ExtendedQuery) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    mailboxes.each_subscription(&mut |name| {
        // What names another server is nothing of ours.
        if name.first() != Some(&b'{') && !name.is_empty() {
            let inbox = MailboxName::new(name).is_inbox();
            names.insert(if inbox { b"INBOX".to_vec() } else { name.to_vec() });
        }
    })?;
    for pattern in &query.patterns {
        let query = ListQuery { reference: &query.reference, pattern, canonical: None };
        for driver in mailboxes.drivers() {
            driver.lsub(&query, &mut |listed| {
                names.insert(listed.name);
            })?;
        }
    }
    Ok(names)
}
