//! LIST and LSUB (spec/storage-common.md §5).

use crate::resolve::{MAX_NAME, is_our_entry, mailbox_file};
use crate::subscriptions::Subscriptions;
use crate::{Claim, Driver, Environment, Error, Location, Mailboxes, Pattern, Place, Result};
use ailurus_types::MailboxName;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// What LIST or LSUB tells of one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// The hierarchy delimiter, if there is hierarchy.
    pub delimiter: Option<u8>,
    /// The attributes.
    pub attributes: Attributes,
}

/// A set of name attributes (RFC 3501 §7.2.2, RFC 3348).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes(u8);

impl Attributes {
    /// No attribute.
    pub const NONE: Self = Self(0);
    /// `\NoInferiors`
    pub const NO_INFERIORS: Self = Self(1);
    /// `\NoSelect`
    pub const NO_SELECT: Self = Self(2);
    /// `\Marked`
    pub const MARKED: Self = Self(4);
    /// `\UnMarked`
    pub const UNMARKED: Self = Self(8);
    /// `\HasChildren`
    pub const HAS_CHILDREN: Self = Self(16);
    /// `\HasNoChildren`
    pub const HAS_NO_CHILDREN: Self = Self(32);

    const NAMED: [(Self, &'static str); 6] = [
        (Self::NO_INFERIORS, "\\NoInferiors"),
        (Self::NO_SELECT, "\\NoSelect"),
        (Self::MARKED, "\\Marked"),
        (Self::UNMARKED, "\\UnMarked"),
        (Self::HAS_CHILDREN, "\\HasChildren"),
        (Self::HAS_NO_CHILDREN, "\\HasNoChildren"),
    ];

    /// Returns these attributes and the others.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether all attributes of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the names of the set attributes in the order in which the reference prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(attribute, _)| self.contains(*attribute)).map(|(_, name)| name)
    }
}

/// What is asked of a driver that lists names of its own.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery<'q> {
    /// The reference as the client gave it.
    pub reference: &'q [u8],
    /// The pattern as the client gave it.
    pub pattern: &'q [u8],
    /// Both as one pattern, where they are about local files.
    pub canonical: Option<&'q Pattern>,
}

/// Reports what matches, INBOX last; otherwise in the order in which the directories have it, parents first.
pub(crate) fn list(
    mailboxes: &Mailboxes,
    reference: &[u8],
    pattern: &[u8],
    found: &mut dyn FnMut(Listed),
) -> Result<()> {
    check_lengths("LIST", reference, pattern)?;
    let environment = mailboxes.environment();
    if pattern.is_empty() {
        if let Some(root) = canonical(environment, reference, b"*")? {
            let name = root.iter().position(|octet| *octet == b'/').map_or(&[][..], |end| &root[..=end]);
            found(Listed { name: name.into(), delimiter: Some(b'/'), attributes: Attributes::NO_SELECT });
        }
        return Ok(());
    }
    let text = canonical(environment, reference, pattern)?;
    let canonical = text.as_deref().map(Pattern::new);
    if let (Some(text), Some(canonical)) = (&text, &canonical) {
        Walker { mailboxes, pattern: canonical, found }.walk_from(text);
    }
    let query = ListQuery { reference, pattern, canonical: canonical.as_ref() };
    for driver in mailboxes.drivers() {
        driver.list(&query, found)?;
    }
    if text.is_some_and(|text| matches_inbox(&text)) {
        found(inbox(mailboxes));
    }
    Ok(())
}

/// Reports the subscribed names that match. Where the pattern ends in `%`, parents that match stand for what is below
/// them; they may be reported several times.
pub(crate) fn lsub(
    mailboxes: &Mailboxes,
    subscriptions: &Subscriptions<'_>,
    reference: &[u8],
    pattern: &[u8],
    found: &mut dyn FnMut(Listed),
) -> Result<()> {
    check_lengths("LSUB", reference, pattern)?;
    let Some(text) = canonical(mailboxes.environment(), reference, pattern)? else { return Ok(()) };
    let (canonical, inbox) = (Pattern::new(&text), matches_inbox(&text));
    subscriptions.each(&mut |name| {
        let mut report = |name: &[u8], delimiter, attributes| {
            found(Listed { name: name.into(), delimiter, attributes });
        };
        if name.first() == Some(&b'{') {
        } else if name.eq_ignore_ascii_case(b"INBOX") && inbox {
            report(b"INBOX", None, Attributes::NO_INFERIORS);
        } else if canonical.matches(name) {
            report(name, Some(b'/'), Attributes::NONE);
        } else if pattern.ends_with(b"%") {
            let slashes = (0..name.len()).rev().filter(|position| name[*position] == b'/');
            for parent in slashes.map(|slash| &name[..slash]).filter(|parent| canonical.matches(parent)) {
                report(parent, Some(b'/'), Attributes::NO_SELECT);
            }
        }
    })
}

const MAX_WILDCARDS: usize = 10;

fn check_lengths(command: &str, reference: &[u8], pattern: &[u8]) -> Result<()> {
    for (what, text) in [("reference", reference), ("pattern", pattern)] {
        if text.len() > MAX_NAME {
            let shown = String::from_utf8_lossy(&text[..80]);
            return Err(Error::Refused(format!("Invalid {command} {what} specification: {shown}")));
        }
    }
    Ok(())
}

/// Returns reference and pattern as one pattern, or `None` when they are about no local file.
fn canonical(environment: &Environment, reference: &[u8], pattern: &[u8]) -> Result<Option<Vec<u8>>> {
    let space = |name: &[u8]| name.first() == Some(&b'#');
    let is_local = |name: &[u8]| !space(name) || mailbox_file(environment, name).is_some();
    let rooted = matches!(pattern.first(), Some(b'/' | b'~'));
    if reference.first() == Some(&b'{') || pattern.first() == Some(&b'{') || !is_local(pattern) {
        return Ok(None);
    }
    let text = if space(pattern) || rooted && !space(reference) {
        pattern.to_vec()
    } else if !is_local(reference) {
        return Ok(None);
    } else if pattern.first() == Some(&b'/') {
        let end = reference.iter().position(|octet| *octet == b'/').unwrap_or(reference.len());
        [&reference[..end], pattern].concat()
    } else {
        [reference, pattern].concat()
    };
    if text.iter().filter(|octet| is_wildcard(**octet)).count() > MAX_WILDCARDS {
        return Err(Error::Refused("Excessive wildcards in LIST/LSUB".into()));
    }
    Ok(Some(text))
}

fn is_wildcard(octet: u8) -> bool {
    matches!(octet, b'*' | b'%')
}

/// Tells whether the pattern matches INBOX in any letter case.
fn matches_inbox(pattern: &[u8]) -> bool {
    Pattern::new(&pattern.to_ascii_uppercase()).matches(b"INBOX")
}

fn inbox(mailboxes: &Mailboxes) -> Listed {
    let directories = mailboxes.drivers().iter().any(|driver| driver.abilities().inferiors);
    let is_directory = directories && {
        let at = mailboxes.resolve(&MailboxName::inbox());
        let driver = at.and_then(|at| mailboxes.claimant(&at).map(|driver| driver.abilities()));
        driver.is_ok_and(|abilities| abilities.inferiors)
    };
    let (delimiter, attributes) =
        if is_directory { (Some(b'/'), Attributes::NONE) } else { (None, Attributes::NO_INFERIORS) };
    Listed { name: b"INBOX".into(), delimiter, attributes }
}

/// Goes through directories. Holds one open directory for each level, and nothing of what it saw: a loop of symbolic
/// links ends at the depth limit, at the longest name, or at the system's limit of links.
struct Walker<'w> {
    mailboxes: &'w Mailboxes,
    pattern: &'w Pattern,
    found: &'w mut dyn FnMut(Listed),
}

impl Walker<'_> {
    /// Starts in the last directory before the pattern's first wildcard.
    fn walk_from(&mut self, pattern: &[u8]) {
        let environment = self.mailboxes.environment();
        let literal = pattern.iter().position(|octet| is_wildcard(*octet)).unwrap_or(pattern.len());
        let literal = &pattern[..literal];
        let start = match literal.iter().rposition(|octet| *octet == b'/') {
            Some(slash) => &literal[..=slash],
            None if matches!(literal.first(), Some(b'~' | b'#')) => literal,
            None => b"",
        };
        if start.is_empty() {
            let path = environment.mailbox_dir.clone();
            // In a closed box the home is the root of the file system, and its path is empty.
            let path = if path.as_os_str().is_empty() { "/".into() } else { path };
            self.walk(start, &path, None, 0);
        } else if let Some(Place::Path(path)) = mailbox_file(environment, start)
            && fs::read_dir(&path).is_ok()
        {
            let owner = self.owner(start, &path);
            if self.pattern.matches(start) && start != b"INBOX" {
                self.report_directory(start, &path);
            }
            if start.ends_with(b"/") {
                self.walk(start, &path, owner.as_deref(), 0);
            }
        }
    }

    /// Reports what is in a directory and below; `prefix` is its name with the `/`. A directory that cannot be read
    /// holds nothing.
    fn walk(&mut self, prefix: &[u8], directory: &Path, owner: Option<&dyn Driver>, level: usize) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.map_while(std::io::Result::ok) {
            let entry = entry.file_name();
            let name = [prefix, entry.as_bytes()].concat();
            if !self.is_hidden(directory, owner, &entry) && name.len() <= MAX_NAME {
                self.visit(&name, &directory.join(&entry), level);
            }
        }
    }

    fn visit(&mut self, name: &[u8], path: &Path, level: usize) {
        let below = [name, b"/"].concat();
        let (matches, matches_below) = (self.pattern.matches(name), self.pattern.matches(&below));
        let goes_below = self.pattern.goes_below(&below);
        if !matches && !matches_below && !goes_below {
            return;
        }
        // Follows symbolic links; what is neither file nor directory is no mailbox, and is never opened.
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.is_file() && matches && !name.eq_ignore_ascii_case(b"INBOX") {
            let is_marked = metadata.size() > 0 && metadata.atime() < metadata.ctime();
            let mark = if is_marked { Attributes::MARKED } else { Attributes::UNMARKED };
            self.report(name, Attributes::NO_INFERIORS.with(mark));
        }
        if !metadata.is_dir() {
            return;
        }
        if name != b"INBOX" && (matches || matches_below) {
            self.report_directory(if matches { name } else { &below }, path);
        }
        if goes_below && level < self.mailboxes.environment().list_depth {
            let owner = self.owner(&below, path);
            self.walk(&below, path, owner.as_deref(), level + 1);
        }
    }

    fn report_directory(&mut self, name: &[u8], path: &Path) {
        let owner = self.owner(name, path);
        let select = if owner.is_some() { Attributes::NONE } else { Attributes::NO_SELECT };
        let children = match fs::read_dir(path) {
            Err(_) => Attributes::NONE,
            Ok(mut entries) => {
                let is_child = |entry: &OsStr| !self.is_hidden(path, owner.as_deref(), entry);
                match entries.any(|entry| entry.is_ok_and(|entry| is_child(&entry.file_name()))) {
                    true => Attributes::HAS_CHILDREN,
                    false => Attributes::HAS_NO_CHILDREN,
                }
            }
        };
        self.report(name, select.with(children));
    }

    fn report(&mut self, name: &[u8], attributes: Attributes) {
        (self.found)(Listed { name: name.into(), delimiter: Some(b'/'), attributes });
    }

    /// Returns the format of which this directory is a mailbox.
    fn owner(&self, name: &[u8], path: &Path) -> Option<Arc<dyn Driver>> {
        let place = Place::Path(path.into());
        let at = Location { name: MailboxName::new(name.strip_suffix(b"/").unwrap_or(name)), place };
        let mut drivers = self.mailboxes.drivers().iter().filter(|driver| driver.abilities().inferiors);
        drivers.find(|driver| matches!(driver.probe(&at), Ok(Claim::Valid))).cloned()
    }

    fn is_hidden(&self, directory: &Path, owner: Option<&dyn Driver>, entry: &OsStr) -> bool {
        let hides_dots = self.mailboxes.environment().hide_dot_files;
        is_our_entry(entry.as_bytes())
            || hides_dots && entry.as_bytes().starts_with(b".")
            || owner.is_some_and(|owner| owner.hides(directory, entry))
    }
}
