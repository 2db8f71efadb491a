//! "Did you mean …?"

/// Returns ` (did you mean ...?)` with the known word that is nearest to the one that was written, if any is near.
pub(super) fn suggestion<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(written, known).map_or(String::new(), |known| format!(" (did you mean `{known}`?)"))
}

/// Returns the known word that is nearest, if any is near.
pub(super) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// Nobody means one of ours by a word this long.
    const LONGEST: usize = 50;
    if written.len() > LONGEST {
        return None;
    }
    let written = written.to_ascii_lowercase().replace('_', "-");
    let near = known.into_iter().map(|known| (distance(written.as_bytes(), known.as_bytes()), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(known.len() / 3)).then_some(known)
}

/// How many letters have to be put in, left out, replaced or exchanged with their neighbour.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let known = ["restrict", "spool", "subdirectory", "keywords"];
        for (written, meant) in [
            ("restict", Some("restrict")),
            ("rsetrict", Some("restrict")),
            ("sub_directory", Some("subdirectory")),
            ("Keyword", Some("keywords")),
            ("pool", Some("spool")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!(nearest(&"restrict".repeat(1000), known), None);
    }
}
