//! LIST and LSUB (spec/storage-common.md §5).

use crate::resolve::{MAX_NAME, is_our_entry, is_our_own, mailbox_file};
use crate::subscriptions::Names;
use crate::{Driver, Environment, Error, Mailboxes, Pattern, Place, Result};
use ailurus_types::MailboxName;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, Metadata, ReadDir};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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

/// What LIST reports, INBOX last; otherwise in the order in which the directories have it, parents first.
///
/// Keeps one open directory for each level and nothing of what was reported. A loop of symbolic links ends at the
/// depth limit, at the longest name, or at the system's limit of links.
pub struct Listing {
    mailboxes: Mailboxes,
    reference: Vec<u8>,
    pattern: Vec<u8>,
    /// Reference and pattern as one; `None` when they are about no local file.
    canonical: Option<Pattern>,
    lists_inbox: bool,
    /// The directories that are being read, outermost first.
    directories: Vec<Directory>,
    /// What was found and not yet reported.
    found: VecDeque<Listed>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Files,
    Drivers(usize),
    Done,
}

/// A directory that is being read.
struct Directory {
    /// Its name with the `/`; empty for the mailbox directory.
    name: Vec<u8>,
    path: PathBuf,
    /// The format of which it is a mailbox.
    owner: Option<Arc<dyn Driver>>,
    entries: ReadDir,
}

impl Listing {
    pub(crate) fn new(mailboxes: Mailboxes, reference: &[u8], pattern: &[u8]) -> Result<Self> {
        check_lengths("LIST", reference, pattern)?;
        let root = pattern.is_empty();
        let text = canonical(mailboxes.environment(), reference, if root { b"*" } else { pattern })?;
        let mut listing = Self {
            mailboxes,
            reference: reference.into(),
            pattern: pattern.into(),
            canonical: None,
            lists_inbox: false,
            directories: Vec::new(),
            found: VecDeque::new(),
            stage: if root { Stage::Drivers(0) } else { Stage::Files },
        };
        match text {
            Some(text) if root => {
                let end = text.iter().position(|octet| *octet == b'/').map_or(0, |slash| slash + 1);
                listing.report(&text[..end], Attributes::NO_SELECT);
            }
            Some(text) => {
                listing.lists_inbox = matches_inbox(&text);
                listing.canonical = Some(Pattern::new(&text));
                listing.start(&text);
            }
            None => {}
        }
        Ok(listing)
    }

    /// Returns what LIST tells of one name; `None` if it is none of a mailbox or directory that is there.
    pub(crate) fn of_name(mailboxes: &Mailboxes, name: &[u8]) -> Option<Listed> {
        if name.eq_ignore_ascii_case(b"INBOX") {
            return Some(inbox(mailboxes));
        }
        if is_our_own(name) {
            return None;
        }
        let (bare, slash) = (name.strip_suffix(b"/").unwrap_or(name), name.ends_with(b"/"));
        let Some(Place::Path(path)) = mailbox_file(mailboxes.environment(), bare) else {
            return of_driver(mailboxes, name);
        };
        let mut listing = Self {
            mailboxes: mailboxes.clone(),
            reference: Vec::new(),
            pattern: Vec::new(),
            canonical: None,
            lists_inbox: false,
            directories: Vec::new(),
            found: VecDeque::new(),
            stage: Stage::Done,
        };
        let metadata = fs::metadata(&path).ok()?;
        if metadata.is_dir() {
            let owner = mailboxes.owner(bare, &path);
            listing.report_directory(name, &path, owner.as_deref());
        } else if metadata.is_file() && !slash {
            listing.report_file(name, &metadata);
        }
        listing.found.pop_front()
    }

    /// Starts in the last directory before the pattern's first wildcard.
    fn start(&mut self, pattern: &[u8]) {
        let environment = self.mailboxes.environment();
        let literal = pattern.iter().position(|octet| is_wildcard(*octet)).unwrap_or(pattern.len());
        let literal = &pattern[..literal];
        let start = match literal.iter().rposition(|octet| *octet == b'/') {
            Some(slash) => &literal[..=slash],
            None if matches!(literal.first(), Some(b'~' | b'#')) => literal,
            None => b"",
        };
        let path = match mailbox_file(environment, start) {
            _ if is_our_own(start) => return,
            Some(Place::Path(path)) => path,
            // In a closed box the home is the root of the file system, and its path is empty.
            _ if start.is_empty() && environment.mailbox_dir.as_os_str().is_empty() => "/".into(),
            _ if start.is_empty() => environment.mailbox_dir.clone(),
            _ => return,
        };
        let Some(directory) = self.open(start.into(), path) else { return };
        if !start.is_empty() && start != b"INBOX" && self.matches(start) {
            self.report_directory(start, &directory.path, directory.owner.as_deref());
        }
        if start.is_empty() || start.ends_with(b"/") {
            self.directories.push(directory);
        }
    }

    /// Begins to read a directory; one that cannot be read holds nothing.
    fn open(&self, name: Vec<u8>, path: PathBuf) -> Option<Directory> {
        let entries = fs::read_dir(&path).ok()?;
        let owner = self.mailboxes.owner(&name, &path);
        Some(Directory { name, path, owner, entries })
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.canonical.as_ref().is_some_and(|pattern| pattern.matches(name))
    }

    /// Goes on to the next entry of the innermost directory; `false` when there is none left.
    fn step(&mut self) -> bool {
        let Some(entry) = self.directories.last_mut().map(|directory| directory.entries.next()) else {
            return false;
        };
        let (Some(Ok(entry)), Some(directory)) = (entry, self.directories.last()) else {
            self.directories.pop();
            return true;
        };
        let entry = entry.file_name();
        let name = [directory.name.as_slice(), entry.as_bytes()].concat();
        let hidden = self.is_hidden(&directory.path, directory.owner.as_deref(), &entry);
        if name.len() <= MAX_NAME && !hidden {
            let path = directory.path.join(&entry);
            self.visit(name, path);
        }
        true
    }

    fn visit(&mut self, name: Vec<u8>, path: PathBuf) {
        let below = [name.as_slice(), b"/"].concat();
        let (matches, matches_below) = (self.matches(&name), self.matches(&below));
        let goes_below = self.canonical.as_ref().is_some_and(|pattern| pattern.goes_below(&below));
        if !matches && !matches_below && !goes_below {
            return;
        }
        // Follows symbolic links; what is neither file nor directory is no mailbox, and is never opened.
        let Ok(metadata) = fs::metadata(&path) else { return };
        if metadata.is_file() && matches && !name.eq_ignore_ascii_case(b"INBOX") {
            self.report_file(&name, &metadata);
        }
        if !metadata.is_dir() {
            return;
        }
        if name != b"INBOX" && (matches || matches_below) {
            let owner = self.mailboxes.owner(&name, &path);
            self.report_directory(if matches { &name } else { &below }, &path, owner.as_deref());
        }
        // The first directory is no level.
        if goes_below && self.directories.len() <= self.mailboxes.environment().list_depth {
            let directory = self.open(below, path);
            self.directories.extend(directory);
        }
    }

    fn report_file(&mut self, name: &[u8], metadata: &Metadata) {
        let is_marked = metadata.size() > 0 && metadata.atime() < metadata.ctime();
        let mark = if is_marked { Attributes::MARKED } else { Attributes::UNMARKED };
        self.report(name, Attributes::NO_INFERIORS.with(mark));
    }

    fn report_directory(&mut self, name: &[u8], path: &Path, owner: Option<&dyn Driver>) {
        let select = if owner.is_some() { Attributes::NONE } else { Attributes::NO_SELECT };
        let children = match fs::read_dir(path) {
            Err(_) => Attributes::NONE,
            Ok(mut entries) => {
                let is_child = |entry: &OsStr| !self.is_hidden(path, owner, entry);
                match entries.any(|entry| entry.is_ok_and(|entry| is_child(&entry.file_name()))) {
                    true => Attributes::HAS_CHILDREN,
                    false => Attributes::HAS_NO_CHILDREN,
                }
            }
        };
        self.report(name, select.with(children));
    }

    fn report(&mut self, name: &[u8], attributes: Attributes) {
        self.found.push_back(Listed { name: name.into(), delimiter: Some(b'/'), attributes });
    }

    fn is_hidden(&self, directory: &Path, owner: Option<&dyn Driver>, entry: &OsStr) -> bool {
        let environment = self.mailboxes.environment();
        let hides_dots = environment.hide_dot_files;
        let is_cache = |cache: &Path| cache.parent() == Some(directory) && cache.file_name() == Some(entry);
        is_our_entry(entry.as_bytes())
            || environment.cache_dir.as_deref().is_some_and(is_cache)
            || hides_dots && entry.as_bytes().starts_with(b".")
            || owner.is_some_and(|owner| owner.hides(directory, entry))
    }

    /// Lets the driver at this position, counted from 0, report what it has beside files.
    fn ask_driver(&mut self, position: usize) -> Result<()> {
        let Some(driver) = self.mailboxes.drivers().get(position) else {
            self.stage = Stage::Done;
            self.found.extend(self.lists_inbox.then(|| inbox(&self.mailboxes)));
            return Ok(());
        };
        self.stage = Stage::Drivers(position + 1);
        let canonical = self.canonical.as_ref();
        let query = ListQuery { reference: &self.reference, pattern: &self.pattern, canonical };
        let found = &mut self.found;
        driver.list(&query, &mut |listed| found.push_back(listed))
    }
}

impl Iterator for Listing {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Result<Listed>> {
        loop {
            if let Some(listed) = self.found.pop_front() {
                return Some(Ok(listed));
            }
            match self.stage {
                Stage::Files => {
                    if !self.step() {
                        self.stage = Stage::Drivers(0);
                    }
                }
                Stage::Drivers(position) => {
                    if let Err(error) = self.ask_driver(position) {
                        return Some(Err(error));
                    }
                }
                Stage::Done => return None,
            }
        }
    }
}

/// Returns what LIST tells of a name that is parsed by a driver.
fn of_driver(mailboxes: &Mailboxes, name: &[u8]) -> Option<Listed> {
    let query = ListQuery { reference: b"", pattern: name, canonical: None };
    let mut found = None;
    for driver in mailboxes.drivers() {
        let listed = driver.list(&query, &mut |listed| {
            if listed.name == name {
                found = Some(listed);
            }
        });
        if listed.is_ok() && found.is_some() {
            break;
        }
    }
    found
}

/// What LSUB reports. Where the pattern ends in `%`, parents that match stand for what is below them; they may be reported
/// several times.
///
/// Keeps nothing of what was reported.
pub struct SubscribedListing {
    names: Names,
    pattern: Pattern,
    /// Of what other than the names of a namespace that a driver parses itself (`#mh/…`).
    files: Option<FilePattern>,
    found: VecDeque<Listed>,
}

#[derive(Clone, Copy, Debug)]
struct FilePattern {
    inbox: bool,
    parents: bool,
}

impl SubscribedListing {
    pub(crate) fn new(
        mailboxes: &Mailboxes,
        names: impl FnOnce() -> Result<Names>,
        reference: &[u8],
        pattern: &[u8],
    ) -> Result<Self> {
        check_lengths("LSUB", reference, pattern)?;
        let canonical = canonical(mailboxes.environment(), reference, pattern)?;
        let mut found = VecDeque::new();
        let query = ListQuery { reference, pattern, canonical: None };
        for driver in mailboxes.drivers() {
            driver.lsub(&query, &mut |listed| found.push_back(listed))?;
        }
        let files = canonical
            .as_ref()
            .map(|text| FilePattern { inbox: matches_inbox(text), parents: pattern.ends_with(b"%") });
        let text = match canonical {
            Some(text) => text,
            None if pattern.starts_with(b"#") => pattern.to_vec(),
            None => [reference, pattern].concat(),
        };
        if files.is_none() {
            check_wildcards(&text)?;
        }
        let is_local = files.is_some() || text.starts_with(b"#");
        let names = if is_local { names()? } else { Names::none() };
        Ok(Self { names, pattern: Pattern::new(&text), files, found })
    }

    fn take(&mut self, name: &[u8]) {
        let mut report = |name: &[u8], delimiter, attributes| {
            self.found.push_back(Listed { name: name.into(), delimiter, attributes });
        };
        let Some(FilePattern { inbox, parents }) = self.files else {
            if self.pattern.matches(name) {
                report(name, Some(b'/'), Attributes::NONE);
            }
            return;
        };
        if name.first() == Some(&b'{') {
        } else if name.eq_ignore_ascii_case(b"INBOX") && inbox {
            report(b"INBOX", None, Attributes::NO_INFERIORS);
        } else if self.pattern.matches(name) {
            report(name, Some(b'/'), Attributes::NONE);
        } else if parents {
            let slashes = (0..name.len()).rev().filter(|position| name[*position] == b'/');
            for parent in slashes.map(|slash| &name[..slash]).filter(|parent| self.pattern.matches(parent)) {
                report(parent, Some(b'/'), Attributes::NO_SELECT);
            }
        }
    }
}

impl Iterator for SubscribedListing {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Result<Listed>> {
        loop {
            if let Some(listed) = self.found.pop_front() {
                return Some(Ok(listed));
            }
            match self.names.next()? {
                Ok(name) => self.take(&name),
                Err(error) => return Some(Err(error)),
            }
        }
    }
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
pub(crate) fn canonical(
    environment: &Environment,
    reference: &[u8],
    pattern: &[u8],
) -> Result<Option<Vec<u8>>> {
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
    check_wildcards(&text)?;
    Ok(Some(text))
}

fn check_wildcards(pattern: &[u8]) -> Result<()> {
    if pattern.iter().filter(|octet| is_wildcard(**octet)).count() > MAX_WILDCARDS {
        return Err(Error::Refused("Excessive wildcards in LIST/LSUB".into()));
    }
    Ok(())
}

fn is_wildcard(octet: u8) -> bool {
    matches!(octet, b'*' | b'%')
}

/// Tells whether the pattern matches INBOX in any letter case.
pub(crate) fn matches_inbox(pattern: &[u8]) -> bool {
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
