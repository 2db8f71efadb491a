//! What is wrong with a file of settings, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// How much a complaint matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gravity {
    /// Nobody is served before it is mended.
    Fatal,
    /// Not obeyed, or not as written.
    Mistake,
    /// Obeyed, but perhaps not what was meant: `ailurus check` tells.
    Note,
}

/// A line and a column, both from 1; columns are characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Returns where an octet of a text is.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// Something wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// Which file.
    pub file: PathBuf,
    /// Where; `None`: all of it.
    pub at: Option<Position>,
    /// How much it matters.
    pub gravity: Gravity,
    /// What is wrong.
    pub what: String,
}

impl Complaint {
    /// Makes one about a whole file.
    pub(super) fn of_file(file: &Path, gravity: Gravity, what: String) -> Self {
        Self { file: file.into(), at: None, gravity, what }
    }
}

/// More of what is wrong is not shown, in characters.
const MOST: usize = 400;

/// As compilers write it: `/etc/ailurus.toml:3:5: what is wrong`. What comes of the file cannot write a line of its own.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        write!(f, ": {}", self.what.chars().take(MOST).map(shown).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        let text = "a\nüx\n";
        let position = |offset| {
            let at = Position::of(text, offset);
            (at.line, at.column)
        };
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 99].map(position),
            [(1, 1), (1, 2), (2, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 1)]
        );
    }
}
