//! What is wrong with a mailbox, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Something that was there is lost or cannot be reached, or the mailbox cannot be opened.
    Damage,
    /// Not as it should be; whoever opens the mailbox next copes with it, and no mail is lost by that.
    Oddity,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in the file, in octets from its start.
    pub offset: u64,
    /// What it is, in the words of the original where it has some.
    pub what: String,
    /// How much it matters.
    pub severity: Severity,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, what, severity } = self;
        let kind = match severity {
            Severity::Damage => "damage",
            Severity::Oddity => "oddity",
        };
        write!(f, "{}: {kind} at octet {offset}: {what}", path.display())
    }
}

/// All that was found. A file can be wrong in a million places: of these the first ones are kept, the rest is counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    list: Vec<Finding>,
    damage: usize,
    oddities: usize,
}

impl Findings {
    /// How many are kept.
    pub const MOST: usize = 1000;
    /// How much is kept of the text of one: it can hold a line of the file.
    const MOST_TEXT: usize = 300;

    /// Adds a finding.
    pub(crate) fn add(&mut self, severity: Severity, path: &Path, offset: u64, what: impl Into<String>) {
        match severity {
            Severity::Damage => self.damage += 1,
            Severity::Oddity => self.oddities += 1,
        }
        if self.list.len() < Self::MOST {
            let what: String = what.into().chars().take(Self::MOST_TEXT).flat_map(visible).collect();
            self.list.push(Finding { path: path.into(), offset, what, severity });
        }
    }

    pub(crate) fn damage(&mut self, path: &Path, offset: u64, what: impl Into<String>) {
        self.add(Severity::Damage, path, offset, what);
    }

    pub(crate) fn oddity(&mut self, path: &Path, offset: u64, what: impl Into<String>) {
        self.add(Severity::Oddity, path, offset, what);
    }

    /// Returns those that were kept, in the order in which they were found.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// Returns how many there are that were not kept.
    #[must_use]
    pub fn more(&self) -> usize {
        self.damage + self.oddities - self.list.len()
    }

    /// Returns how many are damage.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.damage
    }

    /// Tells whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// What is shown of a file must not move the cursor of a terminal.
fn visible(letter: char) -> impl Iterator<Item = char> {
    let plain = (!letter.is_control()).then_some(letter);
    plain.into_iter().chain(plain.is_none().then(|| letter.escape_default()).into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_are_counted_and_text_is_harmless() {
        let mut findings = Findings::default();
        for n in 0..Findings::MOST as u64 + 5 {
            findings.damage(Path::new("/box"), n, "bad\u{1b}[2J\r\n");
        }
        findings.oddity(Path::new("/box"), 7, "odd");
        assert_eq!((findings.list().len(), findings.more(), findings.damaged()), (1000, 6, 1005));
        let shown = findings.list()[1].to_string();
        assert_eq!(shown, "/box: damage at octet 1: bad\\u{1b}[2J\\r\\n");
    }
}
