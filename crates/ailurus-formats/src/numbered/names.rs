//! Reading a directory.

use super::{GONE, NEW};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;

/// The names in a directory that matter.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The numbers that are names, ascending: four octets of memory for each.
    pub(crate) numbers: Vec<u32>,
    /// Whether one of them is a link: what it leads to can change without the directory.
    pub(crate) links: bool,
    /// What we left there: see [`super::tidy`].
    pub(crate) leftovers: Vec<OsString>,
}

impl Names {
    /// Reads a directory.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        // A directory of a hostile user can hold any number of such names, and they can wait until the next time.
        const MOST_LEFTOVERS: usize = 1000;
        let mut names = Self::default();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let octets = name.as_bytes();
            if let Some(number) = number(octets) {
                names.numbers.push(number);
                names.links |= entry.file_type().map_or(true, |kind| kind.is_symlink());
            } else if is_leftover(octets) && names.leftovers.len() < MOST_LEFTOVERS {
                names.leftovers.push(name);
            }
        }
        names.numbers.sort_unstable();
        names.leftovers.sort_unstable();
        Ok(names)
    }

    /// Returns the inodes, as far as the directory itself tells, with the numbers that name them, ascending. No file is
    /// looked at.
    pub(crate) fn with_inodes(directory: &Path) -> io::Result<Vec<(u64, u32)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            names.extend(number(entry.file_name().as_bytes()).map(|number| (entry.ino(), number)));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the highest number; 0 if there is none.
    pub(crate) fn highest(&self) -> u32 {
        self.numbers.last().copied().unwrap_or(0)
    }
}

/// Returns the number that a name is.
pub(super) fn number(name: &[u8]) -> Option<u32> {
    let is_plain = matches!(name.first(), Some(b'1'..=b'9')) && name.iter().all(u8::is_ascii_digit);
    is_plain.then(|| std::str::from_utf8(name).ok()?.parse().ok())?
}

/// Tells whether a name has digits only: whether or not it is that of a message, it is none for a mailbox.
pub(crate) fn is_number_like(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

fn is_leftover(name: &[u8]) -> bool {
    name.starts_with(NEW.as_bytes()) || name.starts_with(GONE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_and_have_32_bits() {
        for (name, expected) in [
            ("1", Some(1)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("99999999999999999999999999999", None),
            ("0", None),
            ("007", None),
            ("", None),
            (",4", None),
            ("4a", None),
            ("+4", None),
        ] {
            assert_eq!(number(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_numbers() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["10", "9", "1", ",4", "x", ".ailurus-new.1", ".ailurus-uids", ".ailurus-gone.2"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let names = Names::read(directory.path()).unwrap();
        assert_eq!(names.numbers, [1, 9, 10]);
        assert_eq!(names.highest(), 10);
        assert_eq!(names.leftovers, [".ailurus-gone.2", ".ailurus-new.1"]);
    }
}
