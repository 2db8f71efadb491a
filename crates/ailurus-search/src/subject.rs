//! The base subject (RFC 5256 §2.1): what is left of a subject when the marks of replies and forwards are taken away.
//!
//! The grammar of RFC 5256 §5 is ambiguous, its procedure is not. Each step either ends the procedure or takes away all
//! that it looked at, so that time is linear, however often a subject says `re:` or `[fwd:`.

use std::borrow::Cow;

/// A subject without the marks of replies and forwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BaseSubject<'s> {
    /// What is left.
    pub text: &'s str,
    /// Whether there was a mark: the message is a reply or a forward (RFC 5256 §3).
    pub is_reply: bool,
}

/// Returns a decoded subject with tabs as blanks, and one blank for several: step (1).
pub fn with_single_blanks(subject: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\t', subject.as_bytes()).is_none() && !subject.contains("  ") {
        return Cow::Borrowed(subject);
    }
    let mut out = String::with_capacity(subject.len());
    for piece in subject.split([' ', '\t']).filter(|piece| !piece.is_empty()) {
        // A blank at the start goes in step (3) anyway, one at the end in step (2).
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(piece);
    }
    Cow::Owned(out)
}

/// Returns the base subject of a subject [with single blanks](with_single_blanks): steps (2) to (7).
#[must_use]
pub fn base_subject(subject: &str) -> BaseSubject<'_> {
    let mut text = subject;
    let mut is_reply = false;
    loop {
        let (rest, trailed) = without_trailers(text);
        let (rest, led) = without_leaders(rest);
        is_reply |= trailed | led;
        text = rest;
        match forwarded(text) {
            Some(inner) => {
                text = inner;
                is_reply = true;
            }
            None => return BaseSubject { text, is_reply },
        }
    }
}

/// Step (2): takes away each `subj-trailer`; tells whether there was a `(fwd)`.
fn without_trailers(mut text: &str) -> (&str, bool) {
    let mut forwarded = false;
    loop {
        text = text.trim_end_matches([' ', '\t']);
        match text.len().checked_sub(5).and_then(|at| text.split_at_checked(at)) {
            Some((rest, mark)) if mark.eq_ignore_ascii_case("(fwd)") => {
                text = rest;
                forwarded = true;
            }
            _ => return (text, forwarded),
        }
    }
}

/// Steps (3) to (5): takes away each `subj-leader`, and each `subj-blob` that leaves something; tells whether there was
/// a `subj-refwd`.
fn without_leaders(mut text: &str) -> (&str, bool) {
    let mut is_reply = false;
    loop {
        text = trim_start(text);
        let (last, after) = skip_blobs(text);
        if let Some(rest) = skip_refwd(after) {
            text = rest;
            is_reply = true;
        } else {
            // A `subj-blob` that nothing follows is the subject itself.
            return (if after.is_empty() { last } else { after }, is_reply);
        }
    }
}

/// Step (6): returns what stands in `[fwd:` and `]`.
fn forwarded(text: &str) -> Option<&str> {
    let (mark, rest) = text.split_at_checked(5)?;
    if mark.eq_ignore_ascii_case("[fwd:") { rest.strip_suffix(']') } else { None }
}

/// Returns where the last of a series of `subj-blob` begins, and what follows it.
fn skip_blobs(text: &str) -> (&str, &str) {
    let (mut last, mut rest) = (text, text);
    while let Some(after) = skip_blob(rest) {
        (last, rest) = (rest, after);
    }
    (last, rest)
}

/// Returns what follows a `subj-blob` with its blanks.
fn skip_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']', '\0'])?;
    let rest = inner.get(end..)?.strip_prefix(']')?;
    Some(trim_start(rest))
}

/// Returns what follows a `subj-refwd`.
fn skip_refwd(text: &str) -> Option<&str> {
    let (word, rest) = text.split_at_checked(2)?;
    let rest = if word.eq_ignore_ascii_case("re") {
        rest
    } else if word.eq_ignore_ascii_case("fw") {
        rest.strip_prefix(['d', 'D']).unwrap_or(rest)
    } else {
        return None;
    };
    let rest = trim_start(rest);
    skip_blob(rest).unwrap_or(rest).strip_prefix(':')
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(subject: &str) -> (String, bool) {
        let subject = with_single_blanks(subject);
        let base = base_subject(&subject);
        (base.text.into(), base.is_reply)
    }

    #[test]
    fn marks_of_replies_and_forwards_go() {
        for (subject, text) in [
            ("Re: Lunch", "Lunch"),
            ("re : lunch", "lunch"),
            ("RE[2]: lunch", "lunch"),
            ("re [2] : lunch", "lunch"),
            ("Fw: lunch", "lunch"),
            ("Fwd: lunch", "lunch"),
            ("FWD [x]: lunch", "lunch"),
            ("Re: Fwd: RE: lunch", "lunch"),
            ("[list] Re: lunch", "lunch"),
            ("[list] [other] re: [third] lunch", "lunch"),
            ("Re: [list] lunch", "lunch"),
            ("[a][b] re: [c] [d] fw: x", "x"),
            ("lunch (fwd)", "lunch"),
            ("lunch (FWD) (fwd) ", "lunch"),
            ("lunch(fwd)(fwd)", "lunch"),
            ("[fwd: lunch]", "lunch"),
            ("[Fwd: Re: lunch]", "lunch"),
            ("[fwd: [fwd: lunch (fwd)] ]", "lunch"),
            ("[FWD: [list] lunch] (fwd)", "lunch"),
            ("re: [fwd: [list] re: lunch]", "lunch"),
            ("[fwd:]", ""),
            ("Re:", ""),
            ("re:re:", ""),
            ("[blob] Re:", ""),
            (" \t Re: \t a \t b ", "a b"),
            ("(fwd)", ""),
            ("Re: (fwd)", ""),
        ] {
            assert_eq!(base(subject), (text.into(), true), "{subject}");
        }
    }

    #[test]
    fn what_is_no_mark_stays() {
        for (subject, text) in [
            ("Lunch", "Lunch"),
            ("", ""),
            (" ", ""),
            ("[list] lunch", "lunch"),
            ("[list]", "[list]"),
            ("[one] [two]", "[two]"),
            ("[one][two] ", "[two]"),
            ("[unclosed lunch", "[unclosed lunch"),
            ("[a[b] c", "[a[b] c"),
            ("[a] ]", "]"),
            ("rewe: x", "rewe: x"),
            ("re lunch", "re lunch"),
            ("re[2] lunch", "re[2] lunch"),
            ("re[2][3]: lunch", "re[2][3]: lunch"),
            ("refwd: x", "refwd: x"),
            ("fwdd: x", "fwdd: x"),
            ("(fwd) x", "(fwd) x"),
            ("x (fwd) y", "x (fwd) y"),
            ("[fwd: x] y", "y"),
            ("[ fwd: x]", "[ fwd: x]"),
            ("[fwd: x", "[fwd: x"),
            ("Aw: x", "Aw: x"),
            ("ré: x", "ré: x"),
            ("é", "é"),
            ("éfwd)", "éfwd)"),
        ] {
            assert_eq!(base(subject), (text.into(), false), "{subject}");
        }
    }

    #[test]
    fn long_subjects_take_linear_time() {
        for (piece, last) in [
            ("re: ", ""),
            ("[fwd:", ""),
            ("[a]", "x"),
            ("[a]", ""),
            ("[", ""),
            ("re[a", ""),
            ("[a] re: ", "x"),
            ("(fwd)", ""),
            ("[fwd:re[", "]"),
            ("[fwd:[a]", "]"),
            (" \t", "x"),
        ] {
            base(&format!("{}{last}", piece.repeat(1_000_000)));
        }
        let deep = format!("{}x{}", "[fwd: re: [a] ".repeat(500_000), "]".repeat(500_000));
        assert_eq!(base(&deep), ("x".into(), true));
    }
}
