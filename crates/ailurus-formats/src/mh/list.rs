//! LIST of `#mh/…`.

use super::Mh;
use crate::numbered::is_number_like;
use ailurus_store::{Attributes, Error, ListQuery, Listed, Pattern, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const PREFIX: &[u8] = b"#mh/";
const INBOX: &[u8] = b"#mhinbox";
const MOST_NAME: usize = 256;
const MOST_WILDCARDS: usize = 10;
/// Links can make a handful of directories any number of names; nobody has so many folders.
const MOST_FOUND: usize = 100_000;

/// Reports what the query finds.
pub(super) fn list(driver: &Mh, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
    let is_root = query.pattern.is_empty();
    let pattern = canonical(query.reference, if is_root { b"*" } else { query.pattern });
    let inbox = pattern.eq_ignore_ascii_case(INBOX);
    let below = pattern.len() > PREFIX.len() && pattern[..PREFIX.len()].eq_ignore_ascii_case(PREFIX);
    if !inbox && !below {
        return Ok(());
    }
    let Some(profile) = driver.profiles.wanted(&driver.environment) else { return Ok(()) };
    if pattern.iter().filter(|octet| matches!(octet, b'*' | b'%')).count() > MOST_WILDCARDS {
        return Err(Error::Refused("Excessive wildcards in LIST/LSUB".into()));
    }
    let mut report =
        |name: &[u8], delimiter, attributes| found(Listed { name: name.into(), delimiter, attributes });
    if inbox {
        report(INBOX, None, Attributes::NO_INFERIORS);
    } else if is_root {
        report(&pattern[..PREFIX.len()], Some(b'/'), Attributes::NO_SELECT);
    } else {
        // Names are reported with the prefix in small letters, and found however the client writes it.
        let pattern = [PREFIX, &pattern[PREFIX.len()..]].concat();
        let mut report = |name: &[u8]| report(name, Some(b'/'), Attributes::NONE);
        let depth = driver.environment.list_depth;
        let mut walk = Walk { pattern: Pattern::new(&pattern), depth, left: MOST_FOUND, report: &mut report };
        let start = start(&pattern);
        let path = profile.path.join(OsStr::from_bytes(&start[PREFIX.len()..]));
        walk.directory(start, &path, &mut Vec::new());
    }
    Ok(())
}

/// Returns reference and pattern as one pattern, as mh has it.
fn canonical(reference: &[u8], pattern: &[u8]) -> Vec<u8> {
    match (reference.last(), pattern.first()) {
        (None, _) | (_, Some(b'#')) => pattern.to_vec(),
        (Some(b'/'), Some(b'/')) => [reference, &pattern[1..]].concat(),
        _ => [reference, pattern].concat(),
    }
}

/// Returns the part of the pattern that names the directory to start in, with its `/`.
fn start(pattern: &[u8]) -> &[u8] {
    let literal = pattern.iter().position(|octet| matches!(octet, b'*' | b'%')).unwrap_or(pattern.len());
    let slash = pattern[..literal].iter().rposition(|octet| *octet == b'/');
    &pattern[..slash.map_or(PREFIX.len(), |slash| slash + 1)]
}

struct Walk<'w> {
    pattern: Pattern,
    depth: usize,
    left: usize,
    report: &'w mut dyn FnMut(&[u8]),
}

impl Walk<'_> {
    /// Looks through a directory; `name` ends in `/`. `above` are the directories that are being looked through.
    fn directory(&mut self, name: &[u8], path: &Path, above: &mut Vec<PathBuf>) {
        // A link to a directory above would never end.
        let Ok(real) = path.canonicalize() else { return };
        if above.contains(&real) || above.len() > self.depth || has_parent(name) {
            return;
        }
        let Ok(entries) = std::fs::read_dir(path) else { return };
        above.push(real);
        for entry in entries.flatten() {
            let entry = entry.file_name();
            let octets = entry.as_bytes();
            let full = [name, octets].concat();
            if octets.starts_with(b".") || is_number_like(octets) || full.len() > MOST_NAME || self.left == 0
            {
                continue;
            }
            let below = [&full[..], b"/"].concat();
            let (matches, goes_below) = (self.pattern.matches(&full), self.pattern.goes_below(&below));
            let path = path.join(&entry);
            if !(matches || goes_below) || !path.is_dir() {
                continue;
            }
            if matches {
                self.left -= 1;
                (self.report)(&full);
            }
            if goes_below {
                self.directory(&below, &path, above);
            }
        }
        above.pop();
    }
}

fn has_parent(name: &[u8]) -> bool {
    name.split(|octet| *octet == b'/').any(|part| part == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_put_together_as_mh_does() {
        for (reference, pattern, expected) in [
            ("", "#mh/*", "#mh/*"),
            ("#mh/", "%", "#mh/%"),
            ("#mh/", "/a", "#mh/a"),
            ("#mh/a", "#mh/b", "#mh/b"),
            ("#MH/a", "/b", "#MH/a/b"),
        ] {
            assert_eq!(canonical(reference.as_bytes(), pattern.as_bytes()), expected.as_bytes());
        }
        for (pattern, expected) in
            [("#mh/*", "#mh/"), ("#mh/a/b%", "#mh/a/"), ("#mh/a/b/c", "#mh/a/b/"), ("#mh/a", "#mh/")]
        {
            assert_eq!(start(pattern.as_bytes()), expected.as_bytes());
        }
    }
}
