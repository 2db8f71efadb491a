//! What mailbox names mean: spec/storage-common.md §3.2 to §3.4.
//!
//! A name is turned into a path by its text alone. Symbolic links are followed by whoever opens the path, as in the
//! reference: a user who can make links in their own home could reach the same files in any other way, and the
//! process has no more rights than the user. In black box mode, where all users' mail may belong to one system
//! user, links can only come from the administrator, since no protocol of ours makes one.

use crate::{Environment, Error, Location, Mode, Place, Result};
use ailurus_types::MailboxName;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The longest mailbox name in octets; also the longest reference and pattern of LIST.
pub(crate) const MAX_NAME: usize = 256;

/// Returns what a mailbox name means to this user.
///
/// Nothing is looked up on the disk. [`Error::InvalidName`] when the name is none, is one of another host
/// (`{host}name`), is forbidden here, or is that of a file of our own.
pub fn resolve(environment: &Environment, name: &MailboxName) -> Result<Location> {
    let text = name.as_bytes();
    let invalid = || Error::InvalidName { name: name.clone(), why: "invalid name" };
    if text.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) || is_our_own(text) {
        return Err(invalid());
    }
    let place = match mailbox_file(environment, text) {
        Some(place) => place,
        None if is_special(environment, text) => Place::Special,
        None => return Err(invalid()),
    };
    Ok(Location { name: name.clone(), place })
}

/// Returns where a name points, or `None` if it may not be used: the reference's `mailboxfile`. Names that a driver
/// parses itself are none here. Also takes LIST patterns and names of directories with their `/`.
pub(crate) fn mailbox_file(environment: &Environment, name: &[u8]) -> Option<Place> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(&0) || name[0] == b'{' {
        return None;
    }
    if (name[0] == b'#' || environment.is_confined()) && leaves_its_directory(name) {
        return None;
    }
    match name[0] {
        b'#' => shared_file(environment, name).map(Place::Path),
        b'/' => absolute_file(environment, name).map(Place::Path),
        b'~' => home_file(environment, &name[1..]).map(Place::Path),
        _ if name.eq_ignore_ascii_case(b"INBOX") => Some(inbox(environment)),
        _ => Some(Place::Path(below(&environment.mailbox_dir, name))),
    }
}

/// Which shared namespace a name is in, for the modes of what is made there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Space {
    Ftp,
    Public,
    Shared,
}

impl Environment {
    /// Returns the modes of a new file and of a new directory with this name, whatever the umask says
    /// (spec/storage-common.md §3.6).
    #[must_use]
    pub fn modes(&self, name: &MailboxName) -> (u32, u32) {
        let protections = &self.protections;
        match shared_prefix(name.as_bytes()) {
            Some((Space::Ftp, _)) => protections.ftp,
            Some((Space::Public, _)) => protections.public,
            Some((Space::Shared, _)) => protections.shared,
            None => (protections.mailbox, protections.directory),
        }
    }

    /// Tells whether some rule keeps this user to certain directories. Files of the user's own, which may have come by an
    /// APPEND, must not lead out of them.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        let restrictions = self.restrictions;
        matches!(self.mode, Mode::BlackBox(_) | Mode::Anonymous)
            || restrictions.no_root
            || restrictions.no_other_users
            || restrictions.no_dots
    }
}

/// Tells whether the entry of a directory is a file of our own, which is nobody's mailbox.
pub(crate) fn is_our_entry(entry: &[u8]) -> bool {
    // What is being written, or was put aside, has one more ending.
    let has = |part: &[u8]| entry.windows(part.len()).any(|window| window == part);
    entry.starts_with(b".ailurus")
        || entry.starts_with(b".") && has(b".ailurus-")
        || matches!(entry, b".mailboxuse" | b".mailboxuse.new")
}

/// A name that asks for a format: `#driver.FMT/name`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Forced<'n> {
    /// It does not ask.
    No,
    /// It begins to ask, and has no format or no delimiter.
    Bad,
    /// The format's name, and the mailbox name proper.
    Format(&'n [u8], &'n [u8]),
}

/// Takes `#driver.FMT/` off a name; the prefix counts in any letter case, and the delimiter may be `/`, `\` or `:`.
pub(crate) fn forced_format(name: &[u8]) -> Forced<'_> {
    let Some(rest) = after_prefix(name, b"#driver.") else { return Forced::No };
    match rest.iter().position(|octet| matches!(octet, b'/' | b'\\' | b':')) {
        Some(end) if end > 0 => Forced::Format(&rest[..end], &rest[end + 1..]),
        _ => Forced::Bad,
    }
}

fn leaves_its_directory(name: &[u8]) -> bool {
    name.windows(2).any(|pair| matches!(pair, b".." | b"//" | b"/~"))
}

/// Tells whether the name is that of a file of our own, or of something in a directory of our own.
pub(crate) fn is_our_own(name: &[u8]) -> bool {
    name.split(|octet| *octet == b'/').any(is_our_entry)
}

/// Tells whether a driver with names of its own may take it.
fn is_special(environment: &Environment, name: &[u8]) -> bool {
    let known = name.eq_ignore_ascii_case(b"#mhinbox")
        || after_prefix(name, b"#mh/").is_some_and(|rest| !rest.is_empty())
        || after_prefix(name, b"#news.").is_some_and(|rest| !rest.is_empty());
    let allowed = environment.mode != Mode::Anonymous || after_prefix(name, b"#news.").is_some();
    known && allowed && name.len() <= MAX_NAME && !leaves_its_directory(name)
}

/// Outside of open mode INBOX is a file of the mailbox directory. The spool is that file then, so that drivers may
/// take it for the INBOX that it is; if it is another, nobody leaves the directory for it.
fn inbox(environment: &Environment) -> Place {
    let own = below(&environment.mailbox_dir, b"INBOX");
    if environment.mode == Mode::Open || environment.spool == own { Place::Inbox } else { Place::Path(own) }
}

fn shared_prefix(name: &[u8]) -> Option<(Space, &[u8])> {
    let known =
        [(Space::Ftp, &b"#ftp/"[..]), (Space::Public, &b"#public/"[..]), (Space::Shared, &b"#shared/"[..])];
    known.into_iter().find_map(|(which, prefix)| Some((which, after_prefix(name, prefix)?)))
}

fn shared_file(environment: &Environment, name: &[u8]) -> Option<PathBuf> {
    let (which, rest) = shared_prefix(name)?;
    let homes = &environment.shared;
    match which {
        Space::Ftp => Some(below(homes.ftp.as_ref()?, rest)),
        Space::Public => Some(below(homes.public.as_ref()?, canonical_inbox(rest))),
        Space::Shared if environment.mode == Mode::Anonymous => None,
        Space::Shared => Some(below(homes.shared.as_ref()?, canonical_inbox(rest))),
    }
}

/// `/rest`
fn absolute_file(environment: &Environment, name: &[u8]) -> Option<PathBuf> {
    match &environment.mode {
        Mode::Anonymous => None,
        Mode::BlackBox(_) if environment.restrictions.no_other_users => None,
        Mode::BlackBox(all) => {
            let rest = &name[1..];
            Some(match rest.iter().position(|octet| *octet == b'/') {
                Some(slash) if rest[slash + 1..].eq_ignore_ascii_case(b"INBOX") => {
                    below(&below(all, &rest[..slash]), b"INBOX")
                }
                _ => below(all, rest),
            })
        }
        Mode::Open | Mode::ClosedBox => {
            let own = below(&environment.mailbox_dir, b"");
            let allowed = !environment.restrictions.no_root
                || name == environment.spool.as_os_str().as_bytes()
                || name.starts_with(own.as_os_str().as_bytes());
            allowed.then(|| path(name))
        }
    }
}

/// `~/rest` and `~user/rest`; `name` is what follows the `~`.
fn home_file(environment: &Environment, name: &[u8]) -> Option<PathBuf> {
    if name.is_empty() || environment.mode == Mode::Anonymous {
        return None;
    }
    let slash = name.iter().position(|octet| *octet == b'/');
    let (user, rest) = match slash {
        Some(0) => return Some(below(&environment.mailbox_dir, &name[1..])),
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (name, &b""[..]),
    };
    if environment.restrictions.no_other_users {
        return None;
    }
    match &environment.mode {
        Mode::ClosedBox | Mode::Anonymous => None,
        // COMPAT(c-client): the INBOX test is inverted there, so that every name becomes that user's INBOX.
        Mode::BlackBox(all) => Some(below(&below(all, user), canonical_inbox(rest))),
        Mode::Open => {
            let home = environment.homes.home(std::str::from_utf8(user).ok()?)?;
            if environment.restrictions.no_root && home == Path::new("/") {
                return None;
            }
            let home = home.as_os_str().as_bytes();
            let home = path(home.strip_suffix(b"/").unwrap_or(home));
            let mail = match &environment.mail_subdirectory {
                Some(directory) => below(&home, directory.as_os_str().as_bytes()),
                None => home,
            };
            Some(below(&mail, canonical_inbox(rest)))
        }
    }
}

fn canonical_inbox(rest: &[u8]) -> &[u8] {
    if rest.eq_ignore_ascii_case(b"INBOX") { b"INBOX" } else { rest }
}

fn after_prefix<'n>(name: &'n [u8], prefix: &[u8]) -> Option<&'n [u8]> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Returns `directory/rest`. Not `Path::join`, for which a `rest` that starts with `/` would be absolute.
fn below(directory: &Path, rest: &[u8]) -> PathBuf {
    let directory = directory.as_os_str().as_bytes();
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path(&[directory, b"/", rest].concat())
}

fn path(octets: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(octets.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Homes, Restrictions, SharedHomes};
    use proptest::prelude::*;
    use std::path::Component;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Passwd;

    impl Homes for Passwd {
        fn home(&self, user: &str) -> Option<PathBuf> {
            match user {
                "bob" => Some("/home/bob".into()),
                "carol" => Some("/home/carol/".into()),
                "daemon" => Some("/".into()),
                _ => None,
            }
        }
    }

    fn alice() -> Environment {
        let mut environment =
            Environment::new("alice", "/home/alice".into(), "/var/mail/alice".into(), "h.example");
        environment.homes = Arc::new(Passwd);
        environment
    }

    fn with_shared() -> Environment {
        let mut environment = alice();
        environment.shared = SharedHomes {
            ftp: Some("/srv/ftp".into()),
            public: Some("/srv/public".into()),
            shared: Some("/srv/shared".into()),
        };
        environment
    }

    fn file(environment: &Environment, name: &str) -> String {
        match resolve(environment, &name.into()).map(|at| at.place) {
            Ok(Place::Inbox) => "(driver-selected)".into(),
            Ok(Place::Path(path)) => path.to_str().unwrap().into(),
            // `mailboxfile` knows nothing of those that drivers parse.
            Ok(Place::Special) | Err(_) => "INVALID".into(),
        }
    }

    fn check_fixture(environment: &Environment, fixture: &str, differences: &[(&str, &str)]) {
        let mut checked = 0;
        for line in fixture.lines() {
            let (name, expected) = line.strip_prefix("file ").unwrap().split_once(" -> ").unwrap();
            let ours = differences.iter().find(|(different, _)| *different == name);
            assert_eq!(file(environment, name), ours.map_or(expected, |(_, ours)| ours), "{name}");
            checked += 1;
        }
        assert_eq!(checked, 19);
    }

    #[test]
    fn names_mean_what_the_reference_recorded() {
        let fixture = include_str!("../../../fixtures/common/mailboxfile-unrestricted.txt");
        check_fixture(&alice(), fixture, &[]);
    }

    #[test]
    fn restricted_names_mean_what_the_reference_recorded() {
        let fixture = include_str!("../../../fixtures/common/mailboxfile-restrict-all.txt");
        let mut restricted = alice();
        restricted.restrictions = Restrictions::all();
        // The fixture is of the 2007 version; that of 2010 allows what is below the user's own directory.
        check_fixture(&restricted, fixture, &[("/home/alice/foo", "/home/alice/foo")]);
        assert_eq!(file(&restricted, "/home/alicex/foo"), "INVALID");
        assert_eq!(file(&restricted, "/home/alice"), "INVALID");
        assert_eq!(file(&restricted, "/home/alice/../bob/foo"), "INVALID");
    }

    #[test]
    fn shared_spaces_are_where_their_homes_are() {
        let environment = with_shared();
        assert_eq!(file(&environment, "#FTP/inbox"), "/srv/ftp/inbox");
        assert_eq!(file(&environment, "#Public/inbox"), "/srv/public/INBOX");
        assert_eq!(file(&environment, "#shared/a/b"), "/srv/shared/a/b");
        assert_eq!(file(&environment, "#shared/../b"), "INVALID");
        assert_eq!(file(&environment, "#shared//etc/passwd"), "INVALID");
        assert_eq!(file(&alice(), "#shared/a"), "INVALID");
        assert_eq!(environment.modes(&"#public/x".into()), (0o666, 0o777));
        assert_eq!(environment.modes(&"public/x".into()), (0o600, 0o700));
    }

    #[test]
    fn homes_of_others_have_their_mail_where_ours_is() {
        let mut environment = alice();
        environment.mail_subdirectory = Some("Mail".into());
        environment.mailbox_dir = "/home/alice/Mail".into();
        assert_eq!(file(&environment, "~bob/foo"), "/home/bob/Mail/foo");
        assert_eq!(file(&environment, "~carol/inBox"), "/home/carol/Mail/INBOX");
        assert_eq!(file(&environment, "~/x"), "/home/alice/Mail/x");
        assert_eq!(file(&environment, "~nobody/foo"), "INVALID");
        assert_eq!(file(&environment, "~daemon/x"), "/Mail/x");
        environment.restrictions.no_root = true;
        assert_eq!(file(&environment, "~daemon/x"), "INVALID");
    }

    #[test]
    fn a_rest_that_starts_at_the_root_stays_below_its_home() {
        assert_eq!(file(&alice(), "~//etc/passwd"), "/home/alice//etc/passwd");
        assert_eq!(file(&alice(), "~bob//etc/passwd"), "/home/bob//etc/passwd");
    }

    #[test]
    fn black_box_names_are_users() {
        let mut environment = alice();
        environment.mode = Mode::BlackBox("/var/box".into());
        environment.mailbox_dir = "/var/box/alice".into();
        assert_eq!(file(&environment, "inbox"), "/var/box/alice/INBOX");
        environment.spool = "/var/box/alice/INBOX".into();
        assert_eq!(file(&environment, "inbox"), "(driver-selected)");
        assert_eq!(file(&environment, "/bob/inbox"), "/var/box/bob/INBOX");
        assert_eq!(file(&environment, "/bob/x/inbox"), "/var/box/bob/x/inbox");
        assert_eq!(file(&environment, "~bob/x"), "/var/box/bob/x");
        assert_eq!(file(&environment, "/../etc/passwd"), "INVALID");
        environment.restrictions.no_other_users = true;
        assert_eq!(file(&environment, "/bob/x"), "INVALID");
        assert_eq!(file(&environment, "~bob/x"), "INVALID");
    }

    #[test]
    fn a_closed_box_is_its_own_root() {
        let mut environment = alice();
        for root in ["/", ""] {
            (environment.mode, environment.mailbox_dir) = (Mode::ClosedBox, root.into());
            assert_eq!(file(&environment, "INBOX"), "/INBOX");
            assert_eq!(file(&environment, "x/y"), "/x/y");
            assert_eq!(file(&environment, "/x/y"), "/x/y");
            assert_eq!(file(&environment, "~/x"), "/x");
            assert_eq!(file(&environment, "~bob/x"), "INVALID");
        }
        environment.spool = "/INBOX".into();
        assert_eq!(file(&environment, "INBOX"), "(driver-selected)");
    }

    #[test]
    fn the_anonymous_user_sees_little() {
        let mut environment = with_shared();
        (environment.mode, environment.mailbox_dir) = (Mode::Anonymous, "/var/mail/anonymous".into());
        assert_eq!(file(&environment, "INBOX"), "/var/mail/anonymous/INBOX");
        assert_eq!(file(&environment, "#ftp/x"), "/srv/ftp/x");
        for name in ["/x", "~/x", "~bob/x", "#shared/x", "a/../x"] {
            assert_eq!(file(&environment, name), "INVALID", "{name}");
        }
        assert!(resolve(&environment, &"#mh/x".into()).is_err());
        assert!(resolve(&environment, &"#news.x".into()).is_ok());
    }

    #[test]
    fn some_names_are_none_in_any_mode() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", "a\rb", "a\nb", "a\0b", "{host}INBOX", ".ailurus", "a/.ailurus-x/b", &long] {
            assert!(resolve(&alice(), &name.into()).is_err(), "{name:?}");
        }
        for name in [".box.ailurus-journal", "a/.box.ailurus-journal.orphan1", ".box.ailurus-uids.new"] {
            assert!(resolve(&alice(), &name.into()).is_err(), "{name}");
        }
        assert!(resolve(&alice(), &"ailurus".into()).is_ok());
        assert!(resolve(&alice(), &"x".repeat(MAX_NAME).as_str().into()).is_ok());
        assert_eq!(resolve(&alice(), &"#mhINBOX".into()).unwrap().place, Place::Special);
    }

    #[test]
    fn formats_are_asked_for_with_three_delimiters() {
        assert_eq!(forced_format(b"#DRIVER.mbx/a/b"), Forced::Format(b"mbx", b"a/b"));
        assert_eq!(forced_format(b"#driver.mbx\\a"), Forced::Format(b"mbx", b"a"));
        assert_eq!(forced_format(b"#driver.mbx:a"), Forced::Format(b"mbx", b"a"));
        assert_eq!(forced_format(b"#driver.mbx"), Forced::Bad);
        assert_eq!(forced_format(b"#driver./a"), Forced::Bad);
        assert_eq!(forced_format(b"#drive"), Forced::No);
    }

    /// Names made of what matters to the rules.
    fn hostile_name() -> impl Strategy<Value = Vec<u8>> {
        let pieces =
            vec!["/", "..", ".", "~", "#shared/", "#ftp/", "#public/", "INBOX", "alice", "bob", "home"];
        let piece = prop_oneof![
            4 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    /// Returns the path with `..` and `.` taken literally.
    fn normal(path: &Path) -> PathBuf {
        let mut normal = PathBuf::new();
        for component in path.components() {
            match component {
                Component::ParentDir => drop(normal.pop()),
                component => normal.push(component),
            }
        }
        normal
    }

    proptest! {
        #[test]
        fn restricted_names_never_leave(name in hostile_name()) {
            let mut environment = with_shared();
            environment.restrictions = Restrictions::all();
            let name = MailboxName::new(name);
            if let Ok(Location { place: Place::Path(path), .. }) = resolve(&environment, &name) {
                let path = normal(&path);
                let homes = ["/home/alice", "/srv/ftp", "/srv/public", "/srv/shared"];
                let inside = homes.iter().any(|home| path.starts_with(home));
                prop_assert!(inside || path == environment.spool, "{name} is {}", path.display());
            }
        }

        #[test]
        fn black_box_names_never_leave(name in hostile_name()) {
            let mut environment = alice();
            environment.mode = Mode::BlackBox("/var/box".into());
            environment.mailbox_dir = "/var/box/alice".into();
            if let Some(Place::Path(path)) = mailbox_file(&environment, &name) {
                prop_assert!(normal(&path).starts_with("/var/box"), "{}", path.display());
            }
            environment.restrictions.no_other_users = true;
            if let Some(Place::Path(path)) = mailbox_file(&environment, &name) {
                prop_assert!(normal(&path).starts_with("/var/box/alice"), "{}", path.display());
            }
        }

        #[test]
        fn any_octets_are_taken(name in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(resolve(&alice(), &MailboxName::new(name.clone())));
            let _ = forced_format(&name);
        }
    }
}
