//! `~/.mh_profile`, and where folders are.

use ailurus_store::{Environment, Level};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

const PROFILE: &str = ".mh_profile";
const MOST: u64 = 64 * 1024;

/// What a user's mh is set to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Profile {
    /// The directory that holds all folders.
    pub(super) path: PathBuf,
    /// The name of the sequence that nmh keeps of what was not read.
    pub(super) unseen: Vec<u8>,
}

/// The profile as it was when it was first asked for, or that there is none.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    profile: OnceLock<Option<Profile>>,
    told: AtomicBool,
}

impl Profiles {
    pub(super) fn get(&self, environment: &Environment) -> Option<&Profile> {
        self.profile.get_or_init(|| Profile::read(environment)).as_ref()
    }

    /// Like [`Profiles::get`], for names that only mh has: says once that there is no profile.
    pub(super) fn wanted(&self, environment: &Environment) -> Option<&Profile> {
        let profile = self.get(environment);
        if profile.is_none() && !self.told.swap(true, Ordering::Relaxed) {
            let path = environment.home.join(PROFILE);
            let text = format!("{} not found, mh format names disabled", path.display());
            environment.notices.tell(Level::Warning, text);
        }
        profile
    }
}

impl Profile {
    fn read(environment: &Environment) -> Option<Self> {
        let home = &environment.home;
        let text = read(&home.join(PROFILE));
        let named = text.as_deref().and_then(|text| value(text, b"Path"));
        let named = named.filter(|path| !environment.is_confined() || stays_below(home, path));
        let path = match (&environment.mh_path, named, &text) {
            (Some(path), ..) => path.clone(),
            (None, Some(path), _) => home.join(Path::new(std::ffi::OsStr::from_bytes(path))),
            (None, None, Some(_)) => home.join("Mail"),
            (None, None, None) => return None,
        };
        let unseen = text.as_deref().and_then(|text| value(text, b"Unseen-Sequence")).unwrap_or(b"unseen");
        let unseen = unseen.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_vec();
        Some(Self { path: path.components().collect(), unseen })
    }
}

/// Tells whether a path of a profile stays below the home. Whoever can store mail can write a profile, by an APPEND to
/// a mailbox of its name, and is not let out of restricted names by that.
fn stays_below(home: &Path, path: &[u8]) -> bool {
    let path = home.join(Path::new(std::ffi::OsStr::from_bytes(path)));
    path.starts_with(home) && !path.components().any(|component| component == Component::ParentDir)
}

/// Reads a file that is a plain one and small.
fn read(path: &Path) -> Option<Vec<u8>> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Returns the value of the first line of this name, in any letter case.
fn value<'t>(text: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    text.split(|octet| matches!(octet, b'\r' | b'\n')).find_map(|line| {
        let (head, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":").filter(|_| head.eq_ignore_ascii_case(name))?;
        Some(value.trim_ascii()).filter(|value| !value.is_empty())
    })
}

/// Returns the numbers in a sequence of a folder, as ranges in the order of the file.
///
/// `.mh_sequences` has a line `name: 1-3 7 9-12` for each sequence. A long one may go on in lines that begin with a blank.
pub(super) fn sequence(folder: &Path, name: &[u8]) -> Vec<(u32, u32)> {
    let text = read(&folder.join(".mh_sequences")).unwrap_or_default();
    let mut ranges = Vec::new();
    let mut inside = false;
    for line in text.split(|octet| *octet == b'\n') {
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        let numbers =
            if continues { Some(line) } else { line.strip_prefix(name).and_then(|l| l.strip_prefix(b":")) };
        inside = numbers.is_some() && (inside || !continues);
        let words = numbers.filter(|_| inside).unwrap_or_default().split(u8::is_ascii_whitespace);
        ranges.extend(words.filter_map(range));
    }
    ranges
}

fn range(word: &[u8]) -> Option<(u32, u32)> {
    let word = std::str::from_utf8(word).ok()?;
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: Option<&str>) -> Option<Profile> {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            std::fs::write(home.path().join(PROFILE), text).unwrap();
        }
        let environment = Environment::new("alice", home.path().into(), "/spool".into(), "h");
        let mut profile = Profile::read(&environment)?;
        if let Ok(below) = profile.path.strip_prefix(home.path()) {
            profile.path = below.into();
        }
        Some(profile)
    }

    #[test]
    fn the_path_is_where_the_profile_says() {
        for (text, path) in [
            ("Path: Mail/mhdir\n", "Mail/mhdir"),
            ("Editor: vi\nPATH:\t mh/ \r\n", "mh"),
            ("Path: /srv/mh", "/srv/mh"),
            ("Path:x", "x"),
            ("Pathname: x\nPath:\n", "Mail"),
            ("", "Mail"),
        ] {
            assert_eq!(profile(Some(text)).unwrap().path, Path::new(path), "{text:?}");
        }
        assert_eq!(profile(None), None);
        assert_eq!(profile(Some("Unseen-Sequence: new old\n")).unwrap().unseen, b"new");
        assert_eq!(profile(Some("")).unwrap().unseen, b"unseen");
    }

    #[test]
    fn a_profile_does_not_lead_out_of_restricted_names() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(PROFILE);
        let mut environment = Environment::new("alice", home.path().into(), "/spool".into(), "h");
        let path = |environment: &Environment, named: &str| {
            std::fs::write(&file, format!("Path: {named}\n")).unwrap();
            Profile::read(environment).unwrap().path
        };
        let usual = home.path().join("Mail");
        let own = home.path().join("own");
        let outside = ["/etc", "..", "x/../../ben", "/"];
        assert_eq!(path(&environment, "/etc"), Path::new("/etc"), "whoever is not restricted");
        environment.restrictions.no_root = true;
        let black_box = ailurus_store::Mode::BlackBox(home.path().parent().unwrap().into());
        for (mode, no_root) in [(environment.mode.clone(), true), (black_box, false)] {
            (environment.mode, environment.restrictions.no_root) = (mode, no_root);
            for named in outside {
                assert_eq!(path(&environment, named), usual, "{named}");
            }
            assert_eq!(path(&environment, "own"), own);
            assert_eq!(path(&environment, own.to_str().unwrap()), own);
        }
        environment.mh_path = Some("/srv/mh".into());
        assert_eq!(path(&environment, ".."), Path::new("/srv/mh"), "the host may");
    }

    #[test]
    fn a_configured_path_needs_no_profile_and_no_profile_is_said_once() {
        let home = tempfile::tempdir().unwrap();
        let mut environment = Environment::new("alice", home.path().into(), "/spool".into(), "h");
        let profiles = Profiles::default();
        assert!(profiles.get(&environment).is_none());
        assert!(environment.notices.take().is_empty());
        assert!(profiles.wanted(&environment).is_none() && profiles.wanted(&environment).is_none());
        assert_eq!(environment.notices.take().len(), 1);
        environment.mh_path = Some("/srv/mh".into());
        assert_eq!(Profiles::default().get(&environment).unwrap().path, Path::new("/srv/mh"));
    }

    #[test]
    fn sequences_are_read_with_their_continuations() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sequence(folder.path(), b"unseen").is_empty());
        let text = "cur: 3\nunseen: 1 4-6\n 9\nunseenx: 7\n\t8\n";
        std::fs::write(folder.path().join(".mh_sequences"), text).unwrap();
        assert_eq!(sequence(folder.path(), b"unseen"), [(1, 1), (4, 6), (9, 9)]);
        assert_eq!(sequence(folder.path(), b"cur"), [(3, 3)]);
    }
}
