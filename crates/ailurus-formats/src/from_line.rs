//! The line that begins a message in unix format: `From SENDER DATE` (spec/formats-unix.md §2).

use ailurus_types::InternalDate;

/// What all From_ lines start with.
pub(crate) const FROM: &[u8] = b"From ";

/// Where the parts of an acceptable From_ line's date are; offsets from the start of the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FromLine {
    // The space before the hour.
    hour: usize,
    has_seconds: bool,
    year: usize,
    zone: Zone,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Zone {
    None,
    // Three letters at that offset.
    Name(usize),
    // Sign and four digits at that offset.
    Number(usize),
}

impl FromLine {
    /// Tells whether a line, without its line end, begins a message. Digits and names are not looked at: any sender
    /// and any date of the right shape will do, since all programs on the mailbox must agree.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        if !line.starts_with(FROM) {
            return None;
        }
        let line = without_remote(line);
        if line.len() < 27 {
            return None;
        }
        let length = line.len();
        let back = |distance: usize| length.checked_sub(distance).map_or(0, |at| line[at]);
        // Distances from the end: of the space before zone or year, whatever comes first; of the year; of the zone.
        let (tail, year, zone) = if back(5) == b' ' {
            if back(8) == b':' {
                (5, 4, Zone::None)
            } else if back(9) == b' ' {
                (9, 4, Zone::Name(length - 8))
            } else if back(11) == b' ' && matches!(back(10), b'+' | b'-') {
                (11, 4, Zone::Number(length - 10))
            } else {
                return None;
            }
        } else if back(4) == b' ' && back(9) == b' ' {
            (9, 8, Zone::Name(length - 3))
        } else if back(6) == b' ' && back(11) == b' ' && matches!(back(5), b'+' | b'-') {
            (11, 10, Zone::Number(length - 5))
        } else {
            return None;
        };
        if back(tail + 3) != b':' {
            return None;
        }
        let has_seconds = back(tail + 6) == b':';
        let hour = tail + if has_seconds { 9 } else { 6 };
        let spaced = [0, 3, 7, 11].iter().all(|more| back(hour + more) == b' ');
        spaced.then(|| Self { hour: length - hour, has_seconds, year: length - year, zone })
    }

    /// Returns the date in the shape that the date parser takes; `-LCL` for local time.
    pub(crate) fn assembled(&self, line: &[u8]) -> Vec<u8> {
        let part = |from: usize, count: usize| line.get(from..from + count).unwrap_or_default();
        let mut date = Vec::with_capacity(32);
        date.extend_from_slice(part(self.hour - 2, 2));
        date.push(b'-');
        date.extend_from_slice(part(self.hour - 6, 3));
        date.push(b'-');
        date.extend_from_slice(part(self.year, 4));
        date.push(b' ');
        date.extend_from_slice(part(self.hour + 1, 5));
        if self.has_seconds {
            date.extend_from_slice(part(self.hour + 6, 3));
        } else {
            date.extend_from_slice(b":00");
        }
        match self.zone {
            Zone::None => date.extend_from_slice(b"-LCL"),
            Zone::Name(at) => {
                date.push(b'-');
                date.extend_from_slice(part(at, 3));
            }
            Zone::Number(at) => {
                date.push(b' ');
                date.extend_from_slice(part(at, 5));
            }
        }
        date
    }

    /// Returns the internal date; as much of it as could be read, with the text that was not understood, where it
    /// is none.
    pub(crate) fn date(
        &self,
        line: &[u8],
        local_offset: i16,
    ) -> Result<InternalDate, (InternalDate, String)> {
        let text = self.assembled(line);
        InternalDate::parse(&text, local_offset)
            .map_err(|error| (error.so_far, String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Cuts ` remote from WORD`, which UUCP left.
fn without_remote(line: &[u8]) -> &[u8] {
    const REMOTE: &[u8] = b" remote from";
    if line.len() < 41 {
        return line;
    }
    let word = line.iter().rposition(|octet| *octet == b' ').unwrap_or(line.len());
    line[..word].strip_suffix(REMOTE).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(line: &str) -> Option<String> {
        let found = FromLine::parse(line.as_bytes())?;
        Some(match found.date(line.as_bytes(), -300) {
            Ok(date) => date.to_string(),
            Err((so_far, text)) => format!("{so_far} {text}"),
        })
    }

    #[test]
    fn all_shapes_are_accepted() {
        for (text, expected) in [
            ("05:53 1992", " 2-Dec-1992 05:53:00 -0500"),
            ("05:53:22 1992", " 2-Dec-1992 05:53:22 -0500"),
            ("05:53 PST 1992", " 2-Dec-1992 05:53:00 -0800"),
            ("05:53:22 PST 1992", " 2-Dec-1992 05:53:22 -0800"),
            ("05:53 -0700 1992", " 2-Dec-1992 05:53:00 -0700"),
            ("05:53:22 -0700 1992", " 2-Dec-1992 05:53:22 -0700"),
            ("05:53 1992 PST", " 2-Dec-1992 05:53:00 -0800"),
            ("05:53:22 1992 PST", " 2-Dec-1992 05:53:22 -0800"),
            ("05:53 1992 -0700", " 2-Dec-1992 05:53:00 -0700"),
            ("05:53:22 1992 -0700", " 2-Dec-1992 05:53:22 -0700"),
        ] {
            for remote in ["", " remote from host"] {
                let line = format!("From user@example.com Wed Dec  2 {text}{remote}");
                assert_eq!(date(&line).as_deref(), Some(expected), "{line}");
            }
        }
    }

    #[test]
    fn what_the_reference_rejects_is_rejected() {
        let rejected = include_str!("../../../fixtures/unix/12-from-lines-rejected.txt");
        for line in rejected.lines().chain(["", "From ", "From: x", ">From user Wed Dec  2 05:53:22 1992"]) {
            assert_eq!(FromLine::parse(line.as_bytes()), None, "{line}");
        }
    }
}
