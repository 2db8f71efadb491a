//! LIST patterns: `*` stands for any octets, `%` for any but the hierarchy delimiter (RFC 3501 §6.3.8).

/// A pattern, in which everything but its wildcards stands for itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// No two wildcards side by side.
    octets: Vec<u8>,
    delimiter: u8,
}

impl Pattern {
    /// Returns the pattern that these octets write, for names with `/` as their hierarchy delimiter.
    #[must_use]
    pub fn new(pattern: &[u8]) -> Self {
        Self::with_delimiter(pattern, b'/')
    }

    /// Returns the pattern that these octets write, for names with another hierarchy delimiter.
    #[must_use]
    pub fn with_delimiter(pattern: &[u8], delimiter: u8) -> Self {
        let mut octets: Vec<u8> = Vec::with_capacity(pattern.len());
        for octet in pattern {
            match (octets.last(), octet) {
                // Two wildcards side by side are what the stronger one is.
                (Some(b'*'), b'*' | b'%') | (Some(b'%'), b'%') => {}
                (Some(b'%'), b'*') => *octets.last_mut().expect("there is a last octet") = b'*',
                _ => octets.push(*octet),
            }
        }
        Self { octets, delimiter }
    }

    /// Tells whether the pattern matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.after(name).contains(&self.octets.len())
    }

    /// Tells whether the pattern could match something longer than the name, which ends in the delimiter: whether
    /// it is worthwhile to look below that directory.
    #[must_use]
    pub fn goes_below(&self, name: &[u8]) -> bool {
        self.after(name).iter().any(|position| *position < self.octets.len())
    }

    /// Returns the places in the pattern, ascending, where one can be after having matched all of the name.
    ///
    /// All places are followed at once, so that the time is at most that of one look at each octet of the pattern
    /// for each octet of the name, whatever wildcards there are.
    fn after(&self, name: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        self.enter(0, &mut places);
        let mut next = Vec::new();
        for octet in name {
            for place in places.drain(..) {
                match self.octets.get(place) {
                    Some(b'*') => self.enter(place, &mut next),
                    Some(b'%') if *octet != self.delimiter => self.enter(place, &mut next),
                    Some(known) if known == octet && *known != b'%' => self.enter(place + 1, &mut next),
                    _ => {}
                }
            }
            std::mem::swap(&mut places, &mut next);
            if places.is_empty() {
                break;
            }
        }
        places
    }

    /// Adds a place, and what lies behind it when it is a wildcard that matches nothing.
    fn enter(&self, place: usize, places: &mut Vec<usize>) {
        let wild = self.octets.get(place).copied();
        if wild == Some(b'*') {
            // What comes before a `*` that was reached can match nothing that the `*` cannot.
            places.clear();
        }
        for place in place..=place + usize::from(matches!(wild, Some(b'*' | b'%'))) {
            if places.last().is_none_or(|last| *last < place) {
                places.push(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Matches by trying everything.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((wild @ (b'*' | b'%'), rest)) => {
                let span = name.iter().take_while(|octet| *wild == b'*' || **octet != b'/').count();
                (0..=span).any(|taken| naive(rest, &name[taken..]))
            }
            Some((known, rest)) => name.first() == Some(known) && naive(rest, &name[1..]),
        }
    }

    #[test]
    fn percent_stops_at_the_delimiter() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern.as_bytes()).matches(name.as_bytes());
        assert!(matches("%", "a") && !matches("%", "a/b") && matches("%/%", "a/") && matches("*", "a/b"));
        assert!(matches("a%c*", "abc/d") && !matches("a%c*", "ab/c") && !matches("", "a") && matches("", ""));
    }

    #[test]
    fn directories_are_gone_into_when_something_below_could_match() {
        let below = |pattern: &str, name: &str| Pattern::new(pattern.as_bytes()).goes_below(name.as_bytes());
        assert!(
            below("*", "dir/") && below("%/%", "dir/") && below("dir/x", "dir/") && below("dir/%", "dir/")
        );
        assert!(
            !below("%", "dir/")
                && !below("dir/", "dir/")
                && !below("%/%", "dir/sub/")
                && !below("x*", "dir/")
        );
    }

    #[test]
    fn many_stars_cost_no_more_than_their_length() {
        let pattern = Pattern::new(format!("{}b", "*a%".repeat(85)).as_bytes());
        // The naive way would not come back from this in our lifetime.
        assert!(!pattern.matches("a".repeat(256).as_bytes()));
    }

    proptest! {
        #[test]
        fn matches_as_the_naive_way(pattern in "[ab/*%]{0,9}", name in "[ab/%*]{0,9}") {
            let matches = Pattern::new(pattern.as_bytes()).matches(name.as_bytes());
            prop_assert_eq!(matches, naive(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn goes_below_exactly_when_something_matches_there(pattern in "[ab/*%]{0,5}", name in "[ab]{1,3}/") {
            let pattern = Pattern::new(pattern.as_bytes());
            // Whatever the pattern, one of its own literal rests matches if anything does.
            let rests = (0..=pattern.octets.len()).map(|start| pattern.octets[start..].iter()
                .filter(|octet| !matches!(octet, b'*' | b'%')).copied().collect::<Vec<_>>());
            let found = rests.chain([b"a".to_vec()]).filter(|rest| !rest.is_empty())
                .any(|rest| pattern.matches(&[name.as_bytes(), &rest].concat()));
            prop_assert_eq!(pattern.goes_below(name.as_bytes()), found);
        }
    }
}
