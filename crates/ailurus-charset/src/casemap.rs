//! The canonical form for comparing text: `i;unicode-casemap` (RFC 5051).
//!
//! What becomes of a character is looked up in tables made from one version of Unicode ([`UNICODE_VERSION`]): a chore of
//! `xtask` writes them, and its module `casemap` says how they look. Marks on one letter are put in order, as in NFKD.

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
        map_run(run, out);
        rest = after;
    }
}

/// Returns the canonical form of `text`; see [`casemap`].
pub fn casemapped(text: &str) -> String {
    let mut out = String::new();
    casemap(text, &mut out);
    out
}

/// The version of Unicode whose properties are used.
pub const UNICODE_VERSION: &str = include_str!("../tables/casemap-version.txt").trim_ascii_end();

static INDEX: &[u8] = include_bytes!("../tables/casemap-index.bin");
static ENTRIES: &[u8] = include_bytes!("../tables/casemap-entries.bin");
static FORMS: &[u8] = include_bytes!("../tables/casemap-forms.bin");
static TEXTS: &str = include_str!("../tables/casemap-forms.txt");

/// What becomes of a character.
enum Mapped {
    /// It stays, and is a mark of this combining class, or none if it is 0.
    Itself(u8),
    /// The text, and the combining classes of its first and its last character.
    Form(&'static str, u8, u8),
}

fn look_up(c: char) -> Mapped {
    let code = u32::from(c);
    let position = usize::try_from(code).unwrap_or(usize::MAX);
    let Some(&block) = INDEX.get(position / 128) else { return Mapped::Itself(0) };
    let at = (usize::from(block) * 128 + position % 128) * 2;
    let entry = u16::from_le_bytes([ENTRIES[at], ENTRIES[at + 1]]);
    match (u8::try_from(entry), FORMS.get((usize::from(entry).wrapping_sub(256)).wrapping_mul(5)..)) {
        (Err(_), Some(&[low, high, length, first, last, ..])) => {
            let start = usize::from(u16::from_le_bytes([low, high]));
            Mapped::Form(&TEXTS[start..start + usize::from(length)], first, last)
        }
        (class, _) => Mapped::Itself(class.unwrap_or(0)),
    }
}

/// Appends the canonical form of a text without ASCII.
fn map_run(run: &str, out: &mut String) {
    let begin = out.len();
    // What stays as it is is copied together.
    let mut copied = 0;
    let mut last = 0;
    let mut unsorted = false;
    for (at, c) in run.char_indices() {
        let is_hangul = matches!(c, '\u{ac00}'..='\u{d7a3}');
        let mapped = if is_hangul { Mapped::Form("", 0, 0) } else { look_up(c) };
        let (first, next) = match mapped {
            Mapped::Itself(class) => (class, class),
            Mapped::Form(_, first, last) => (first, last),
        };
        let is_same = matches!(mapped, Mapped::Itself(_));
        if !is_same || (unsorted && first == 0) {
            out.push_str(&run[copied..at]);
            copied = at;
        }
        if first == 0 {
            if std::mem::take(&mut unsorted) {
                sort_marks(begin, out);
            }
        } else {
            unsorted |= first < last;
        }
        last = next;
        if !is_same {
            copied = at + c.len_utf8();
            match mapped {
                Mapped::Form(form, ..) if !is_hangul => out.push_str(form),
                _ => push_hangul(c, out),
            }
        }
    }
    out.push_str(&run[copied..]);
    if unsorted {
        sort_marks(begin, out);
    }
}

/// Appends the two or three parts of a syllable (Unicode §3.12).
fn push_hangul(c: char, out: &mut String) {
    let number = u32::from(c) - 0xac00;
    let (leading, vowel, trailing) = (number / (21 * 28), number / 28 % 21, number % 28);
    out.extend(char::from_u32(0x1100 + leading));
    out.extend(char::from_u32(0x1161 + vowel));
    if trailing > 0 {
        out.extend(char::from_u32(0x11a7 + trailing));
    }
}

/// Sorts the marks at the end of `out` by their classes. Nothing before `begin` is looked at.
fn sort_marks(begin: usize, out: &mut String) {
    let class = |c: char| match look_up(c) {
        Mapped::Itself(class) => class,
        Mapped::Form(..) => 0,
    };
    let mut marks: Vec<(u8, char)> = Vec::new();
    for c in out[begin..].chars().rev() {
        match class(c) {
            0 => break,
            class => marks.push((class, c)),
        }
    }
    marks.reverse();
    marks.sort_by_key(|(class, _)| *class);
    let length: usize = marks.iter().map(|(_, c)| c.len_utf8()).sum();
    out.truncate(out.len() - length);
    out.extend(marks.iter().map(|(_, c)| c));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    fn title(c: char) -> char {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(upper), None) if c != '\u{345}' => upper,
            _ => c,
        }
    }

    /// The same from the properties themselves.
    fn plainly(text: &str) -> String {
        text.chars().map(title).nfkd().map(title).nfkd().collect()
    }

    /// What is compared with is of the version of the tables: the compiler's may be newer.
    fn is_comparable() -> bool {
        let ours = |(major, minor, update)| format!("{major}.{minor}.{update}") == UNICODE_VERSION;
        ours(unicode_normalization::UNICODE_VERSION) && {
            let (major, minor, update) = char::UNICODE_VERSION;
            ours((major, minor, update))
        }
    }

    #[test]
    fn each_character_is_mapped_after_unicode() {
        assert_eq!(UNICODE_VERSION, "17.0.0");
        if !is_comparable() {
            return;
        }
        let mut buffer = [0; 4];
        for c in char::MIN..=char::MAX {
            let text = c.encode_utf8(&mut buffer);
            assert_eq!(casemapped(text), plainly(text), "{c:?}");
        }
    }

    #[test]
    fn accents_and_case_are_taken_apart() {
        assert_eq!(casemapped("Café"), "CAFE\u{301}");
        assert!(casemapped("Café au lait").contains(&casemapped("cafe")));
        assert!(!casemapped("cafe").contains(&casemapped("café")));
        assert_eq!(casemapped("ΣΑΣ"), casemapped("σας"));
        assert_eq!(casemapped("Ångström"), casemapped("a\u{30A}NGSTRO\u{308}M"));
        assert_eq!(casemapped("ﬁsh"), "FISH");
        assert_eq!(casemapped("Straße"), "STRAßE");
        assert_eq!(casemapped("각가"), "\u{1100}\u{1161}\u{11A8}\u{1100}\u{1161}");
        assert_eq!(casemapped("ᾳ\u{301}"), casemapped("ᾴ"));
        assert_eq!(
            casemapped("a\u{301}\u{323}\u{308}日\u{301}\u{323}"),
            casemapped("ạ\u{301}\u{308}日\u{323}\u{301}")
        );
        assert_eq!(casemapped("ǆ"), casemapped("ǅ"));
    }

    proptest! {
        #[test]
        fn mapping_twice_changes_nothing(text in "\\PC*") {
            let once = casemapped(&text);
            prop_assert_eq!(casemapped(&once), once);
        }

        #[test]
        fn any_text_is_mapped_after_unicode(
            text in "([a-cé각\u{301}\u{323}\u{345}\u{308}\u{344}\u{f73}\u{f71}ǆﬁᾳ日]|\\PC)*",
        ) {
            prop_assert!(!is_comparable() || casemapped(&text) == plainly(&text));
        }

        #[test]
        fn ascii_is_upper_case(text in "[ -~]*") {
            prop_assert_eq!(casemapped(&text), text.to_ascii_uppercase());
        }
    }
}
