//! The active file: which newsgroups there are.
//!
//! One line a group: `NAME HIGHEST LOWEST STATE`. Only the name is looked at.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// A line that is longer names no group.
const MOST_LINE: u64 = 4096;

/// Calls back with the name of each group until that returns false. No file is no groups.
pub(super) fn each(path: &Path, found: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut reader = BufReader::new(File::open(path)?);
    let (mut line, mut starts) = (Vec::new(), true);
    loop {
        line.clear();
        if reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let name = line.iter().position(|octet| *octet == b' ').map(|end| &line[..end]);
        if let Some(name) = name.filter(|name| starts && !name.is_empty())
            && !found(name)
        {
            return Ok(());
        }
        starts = line.ends_with(b"\n");
    }
}

/// Tells whether there is a group of this name.
pub(super) fn has(path: &Path, group: &[u8]) -> io::Result<bool> {
    let mut has = false;
    each(path, &mut |name| {
        has = name == group;
        !has
    })?;
    Ok(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_first_words_of_lines() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("active");
        assert!(!has(&path, b"a").unwrap());
        let long = format!("{} x\nnoblank\n b\nlast 1 1 y", "l".repeat(10_000));
        std::fs::write(&path, format!("comp.x 0000000012 0000000003 y\nalt.test 1 1 m\n{long}")).unwrap();
        let mut names = Vec::new();
        each(&path, &mut |name| {
            names.push(String::from_utf8_lossy(name).into_owned());
            true
        })
        .unwrap();
        assert_eq!(names, ["comp.x", "alt.test", "last"]);
        assert!(has(&path, b"alt.test").unwrap() && !has(&path, b"alt").unwrap());
        assert!(each(scratch.path(), &mut |_| panic!("a directory")).is_ok());
    }
}
