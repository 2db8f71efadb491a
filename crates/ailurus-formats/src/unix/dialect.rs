//! What unix and mmdf format differ in (spec/formats-mmdf.md).

use crate::crlf::CrFilter;

/// Which of the two formats a mailbox has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Dialect {
    /// Messages start with a From_ line, and end with an empty line.
    #[default]
    Unix,
    /// Messages are between two [`MARK`]s; the From_ line may be missing.
    Mmdf,
}

/// The line that starts a message of mmdf format, and the one that ends it.
pub(super) const MARK: &[u8] = b"\x01\x01\x01\x01\n";
pub(super) const MARK_LEN: u8 = 5;

impl Dialect {
    /// Returns the format's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Mmdf => "mmdf",
        }
    }

    /// Returns what is written before the From_ line.
    pub(super) fn start(self) -> &'static [u8] {
        match self {
            Self::Unix => b"",
            Self::Mmdf => MARK,
        }
    }

    /// Returns what is written behind a text whose last line is ended.
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Self::Unix => b"\n",
            Self::Mmdf => MARK,
        }
    }

    /// Returns what ends an open line with these last octets without making a MARK of it.
    pub(super) fn line_end(self, last: &[u8]) -> &'static [u8] {
        match self {
            Self::Mmdf if last.last() == Some(&MARK[0]) => b"\r\n",
            _ => b"\n",
        }
    }

    /// Returns what takes the CRs of line ends out of a message without making a MARK of what is none.
    pub(super) fn cr_filter(self) -> CrFilter {
        CrFilter::new((self == Self::Mmdf).then_some(MARK[0]))
    }

    /// Returns what is looked for as the end of a text.
    pub(super) fn needle(self) -> &'static [u8] {
        match self {
            Self::Unix => b"\nFrom ",
            Self::Mmdf => MARK,
        }
    }
}

/// Tells whether the octets of a MARK are one behind these octets of the message. One octet before it in its line
/// hides it, two or more do not: so the reference has it.
pub(super) fn has_mark_after(before: &[u8]) -> bool {
    !matches!(before, [octet] | [.., b'\n', octet] if *octet != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_begins_a_line_or_ends_a_longer_one() {
        for (before, is) in [
            (&b""[..], true),
            (b"\n", true),
            (b"a\n", true),
            (b"a", false),
            (b"x\na", false),
            (b"ab", true),
            (b"\nab", true),
            (b"\x01\x01", true),
        ] {
            assert_eq!(has_mark_after(before), is, "{before:?}");
        }
    }
}
