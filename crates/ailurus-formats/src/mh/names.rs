//! Names of folders, and of what is in them.

use crate::numbered::is_number_like;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// The folder that `#mhinbox` means.
pub(super) const INBOX: &str = "inbox";
const PREFIX: &[u8] = b"#mh/";

/// Tells whether a name is `#mhinbox` in any letter case.
pub(super) fn is_inbox(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"#mhinbox")
}

/// Returns the path below that of mh which `#mh/…` or `#mhinbox` means.
pub(super) fn special(name: &[u8]) -> Option<&Path> {
    if is_inbox(name) {
        return Some(Path::new(INBOX));
    }
    let (head, rest) = name.split_at_checked(PREFIX.len())?;
    let path = Path::new(OsStr::from_bytes(rest));
    let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
    (head.eq_ignore_ascii_case(PREFIX) && stays && path.components().next().is_some()).then_some(path)
}

/// Tells whether a path is that of something below mh's own.
pub(super) fn is_below(path: &Path, mh: &Path) -> bool {
    path.strip_prefix(mh).is_ok_and(|rest| {
        rest.components().next().is_some()
            && rest.components().all(|part| matches!(part, Component::Normal(_)))
    })
}

/// Tells whether a folder of this path may be made: mh takes names of digits for messages.
pub(super) fn is_good(path: &Path, mh: &Path) -> bool {
    let rest = path.strip_prefix(mh).unwrap_or(path);
    let mut parts = rest.components().map(|part| part.as_os_str().as_bytes());
    rest.components().next().is_some() && parts.all(|part| !is_number_like(part))
}

/// Tells whether the entry of a folder is mh's business or ours, and no folder.
pub(super) fn is_internal(entry: &[u8]) -> bool {
    let digits = entry.strip_prefix(b",").unwrap_or(entry);
    is_number_like(digits)
        || matches!(entry, b".mh_sequences" | b".mh_sequence")
        || entry.starts_with(b".ailurus-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names_stay_below_the_path() {
        for (name, path) in [
            ("#mh/foo", Some("foo")),
            ("#MH/a/b/", Some("a/b")),
            ("#mhinbox", Some("inbox")),
            ("#MHINBOX", Some("inbox")),
            ("#mh/", None),
            ("#mh//etc", None),
            ("#mh/../x", None),
            ("#mh/a/../../x", None),
            ("#mhfoo", None),
            ("#news.x", None),
        ] {
            assert_eq!(special(name.as_bytes()), path.map(Path::new), "{name}");
        }
    }

    #[test]
    fn folders_have_no_names_of_digits() {
        let mh = Path::new("/home/alice/Mail");
        for (path, below, good) in [
            ("/home/alice/Mail/a", true, true),
            ("/home/alice/Mail/a/12", true, false),
            ("/home/alice/Mail/12/a", true, false),
            ("/home/alice/Mail/1a", true, true),
            ("/home/alice/Mail", false, false),
            ("/home/alice/Mailx/a", false, true),
            ("/home/alice/Mail/../x", false, true),
        ] {
            assert_eq!(is_below(Path::new(path), mh), below, "{path}");
            if below {
                assert_eq!(is_good(Path::new(path), mh), good, "{path}");
            }
        }
    }

    #[test]
    fn what_is_in_a_folder_is_told_from_folders() {
        for entry in ["1", "007", ",4", ".mh_sequences", ".ailurus-uids", ".ailurus-new.1.2"] {
            assert!(is_internal(entry.as_bytes()), "{entry}");
        }
        for entry in ["a", "1a", ",a", ",,4", ".mh_profile", "+4", ","] {
            assert!(!is_internal(entry.as_bytes()), "{entry}");
        }
    }
}
