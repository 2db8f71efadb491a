//! Ranges of numbers, as sequences of mh and lines of `.newsrc` have them.

/// Ranges in ascending order, none of which touches another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Merges ranges in any order; those that run backwards name one number.
    pub(crate) fn new(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.iter_mut().for_each(|(first, last)| *last = (*last).max(*first));
        ranges.sort_unstable();
        ranges.dedup_by(|next, before| {
            let touches = next.0 <= before.1.saturating_add(1);
            if touches {
                before.1 = before.1.max(next.1);
            }
            touches
        });
        Self(ranges)
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        let before = self.0.partition_point(|(first, _)| *first <= number);
        before > 0 && self.0[before - 1].1 >= number
    }

    /// Returns the highest number; 0 if there is none.
    pub(crate) fn highest(&self) -> u32 {
        self.0.last().map_or(0, |(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_in_any_order() {
        let merged = |ranges: &[(u32, u32)]| Ranges::new(ranges.to_vec()).0;
        assert_eq!(merged(&[(7, 9), (1, 2), (3, 3), (8, 20), (5, 4)]), [(1, 3), (5, 5), (7, 20)]);
        assert_eq!(merged(&[(u32::MAX, 1), (1, u32::MAX)]), [(1, u32::MAX)]);
        let ranges = Ranges::new(vec![(7, 9), (2, 2)]);
        let inside: Vec<_> = (0..12).filter(|number| ranges.contains(*number)).collect();
        assert_eq!((inside, ranges.highest()), (vec![2, 7, 8, 9], 9));
        assert!(!Ranges::default().contains(0) && Ranges::default().highest() == 0);
    }
}
