//! Files of one entry to a line, `name TAB value`, as both databases have them.
//!
//! The value is the rest of the line, leading spaces included, and at least one octet long. Lines that start with `#` or TAB,
//! empty lines and lines without a TAB are passed over. CR or LF ends a line. Of several entries of one name the first counts.

use crate::identity::names_to_try;
use zeroize::Zeroizing;

/// The octets of such a file. Wiped from memory when dropped.
#[derive(Clone)]
pub(crate) struct Entries {
    text: Zeroizing<Vec<u8>>,
}

impl Entries {
    /// Takes the octets of the file. Nothing in them is an error.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self { text: Zeroizing::new(text.to_vec()) }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns name and value of all entries, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.text.split(|byte| is_line_end(*byte)).filter_map(entry)
    }

    /// Returns the first entry of exactly that name.
    pub(crate) fn exactly(&self, name: &[u8]) -> Option<(&[u8], &[u8])> {
        self.iter().find(|entry| entry.0 == name)
    }

    /// Returns the first entry of exactly that name, else, if the name has upper-case ASCII letters, of its lower-case form.
    pub(crate) fn of(&self, name: &[u8]) -> Option<(&[u8], &[u8])> {
        names_to_try(name).find_map(|name| self.exactly(&name))
    }

    /// Gives a name a value: in place of its first entry (further ones, which no look-up reaches, are removed), else at the
    /// end.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        let entry = Zeroizing::new([name, b"\t", value].concat());
        if !self.replace(name, Some(&entry)) {
            let mut text = Zeroizing::new(Vec::with_capacity(self.text.len() + entry.len() + 2));
            text.extend_from_slice(&self.text);
            if text.last().is_some_and(|&byte| !is_line_end(byte)) {
                text.push(b'\n');
            }
            text.extend_from_slice(&entry);
            text.push(b'\n');
            self.text = text;
        }
    }

    /// Removes all entries of a name; returns whether there was one.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        self.replace(name, None)
    }

    /// Puts `new` (a line without its end) in place of the name's first entry and takes out the others.
    fn replace(&mut self, name: &[u8], new: Option<&[u8]>) -> bool {
        let mut new = new;
        let mut found = false;
        // Never longer than this, so that no copy of a secret is left behind by growing.
        let mut text = Zeroizing::new(Vec::with_capacity(self.text.len() + new.map_or(0, <[u8]>::len)));
        for line in self.text.split_inclusive(|byte| is_line_end(*byte)) {
            let end = line.iter().position(|byte| is_line_end(*byte)).unwrap_or(line.len());
            let (content, line_end) = line.split_at(end);
            if entry(content).is_none_or(|entry| entry.0 != name) {
                text.extend_from_slice(line);
                continue;
            }
            found = true;
            if let Some(new) = new.take() {
                text.extend_from_slice(new);
                text.extend_from_slice(line_end);
            }
        }
        self.text = text;
        found
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Returns name and value if the line is an entry.
fn entry(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if line.starts_with(b"#") {
        return None;
    }
    let (name, value) = line.split_at(line.iter().position(|&byte| byte == b'\t')?);
    let value = value.strip_prefix(b"\t")?;
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// Returns the numbers (from 1) of the lines that look like failed entries: those that are neither empty nor a comment nor
/// an entry that `good` takes.
pub(crate) fn suspect_lines(text: &[u8], good: impl Fn(&[u8], &[u8]) -> bool) -> Vec<usize> {
    let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let suspect = |line: &[u8]| {
        !line.is_empty()
            && !line.starts_with(b"#")
            && entry(line).is_none_or(|(name, value)| !good(name, value))
    };
    lines.zip(1..).filter(|(line, _)| suspect(line)).map(|(_, number)| number).collect()
}

/// Why an entry cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The name is empty, starts with `#` or `:`, or contains a TAB, CR, LF or NUL.
    #[error("a user name is not empty, does not start with # or : and has no control characters")]
    Name,
    /// The name contains `*`, which divides a user from an administrator.
    #[error("a user name has no *")]
    Star,
    /// The secret is empty or contains a CR, LF or NUL.
    #[error("a password is not empty and fits on one line")]
    Secret,
}

/// Checks what is to be an entry.
pub(crate) fn check_entry(user: &[u8], secret: &[u8]) -> Result<(), EntryError> {
    let starts_badly = matches!(user.first(), None | Some(b'#' | b':'));
    if starts_badly || user.iter().any(u8::is_ascii_control) {
        return Err(EntryError::Name);
    }
    if user.contains(&b'*') {
        return Err(EntryError::Star);
    }
    if secret.is_empty() || secret.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(EntryError::Secret);
    }
    Ok(())
}
