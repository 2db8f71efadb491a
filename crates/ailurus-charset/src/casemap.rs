//! The canonical form for comparing text: `i;unicode-casemap` (RFC 5051).

use unicode_normalization::UnicodeNormalization;

/// Appends the canonical form of `text` to `out`: every character titlecased, then fully decomposed.
///
/// Two texts are equal under the collation if their forms are; one contains another if its form does, so that `cafe`
/// is found in `Café`. Characters that decompose into small letters (ﬁ) are mapped once more, so that they too are found.
/// Case mapping is one to one: `ß` stays itself.
pub fn casemap(text: &str, out: &mut String) {
    out.reserve(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = encoding_rs::Encoding::ascii_valid_up_to(rest.as_bytes());
        let (plain, after) = rest.split_at(ascii);
        let start = out.len();
        out.push_str(plain);
        out[start..].make_ascii_uppercase();
        // ASCII starts a new combining sequence, so a run between two pieces of ASCII decomposes by itself.
        let foreign = after.bytes().position(|octet| octet.is_ascii()).unwrap_or(after.len());
        let (run, after) = after.split_at(foreign);
        out.extend(run.chars().map(title).nfkd().map(title));
        rest = after;
    }
}

/// Returns the canonical form of `text`; see [`casemap`].
pub fn casemapped(text: &str) -> String {
    let mut out = String::new();
    casemap(text, &mut out);
    out
}

/// Upper case stands for title case: they differ in three digraphs and in Georgian, and compare equal either way.
fn title(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accents_and_case_are_taken_apart() {
        assert_eq!(casemapped("Café"), "CAFE\u{301}");
        assert!(casemapped("Café au lait").contains(&casemapped("cafe")));
        assert!(!casemapped("cafe").contains(&casemapped("café")));
        assert_eq!(casemapped("ΣΑΣ"), casemapped("σας"));
        assert_eq!(casemapped("Ångström"), casemapped("a\u{30A}NGSTRO\u{308}M"));
        assert_eq!(casemapped("ﬁsh"), "FISH");
        assert_eq!(casemapped("Straße"), "STRAßE");
        assert_eq!(casemapped("각"), "\u{1100}\u{1161}\u{11A8}");
    }

    proptest! {
        #[test]
        fn mapping_twice_changes_nothing(text in "\\PC*") {
            let once = casemapped(&text);
            prop_assert_eq!(casemapped(&once), once);
        }

        #[test]
        fn ascii_is_upper_case(text in "[ -~]*") {
            prop_assert_eq!(casemapped(&text), text.to_ascii_uppercase());
        }
    }
}
