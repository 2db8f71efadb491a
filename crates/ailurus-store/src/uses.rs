//! Special uses of mailboxes (RFC 6154): what CREATE with USE was told, in `$HOME/.mailboxuse`, and what names tell.
//!
//! One mailbox a line: its uses, a space between them, a TAB, its name as it was given.
//!
//! ```text
//! \Drafts \Sent<TAB>mail/outgoing
//! ```
//!
//! The file is read and changed as `.mailboxlist` is (`lines.rs`); other lines mean nothing and stay. RENAME and DELETE carry it on,
//! but what other programs do to mailboxes does not: a line whose mailbox is not there does not count.
//!
//! A use that no line gives to a mailbox that is there is that of the first mailbox with a usual name for it ([`USUAL`]), so that
//! phones find `sent-mail` without anyone setting it up. No use has two mailboxes but by hand.

use crate::lines::{Lines, MAX_LINE, Rewrite, WriteFailure, append_line, each_line};
use crate::resolve::{Forced, forced_format};
use crate::{Claim, Environment, Error, Level, Mailboxes, Result};
use ailurus_types::{MailboxName, SpecialUse, SpecialUses};
use std::collections::BTreeMap;
use std::{fs, io};

/// Usual names, the first that is there counts. Looked for where mailboxes are and in the directories of [`DIRECTORIES`].
const USUAL: [(SpecialUse, &[&str]); 5] = [
    (
        SpecialUse::Sent,
        &["Sent", "sent-mail", "Sent Items", "Sent Messages", "Sent Mail", "sent", "sent-items", "outbox"],
    ),
    (SpecialUse::Drafts, &["Drafts", "Draft", "drafts", "postponed-msgs", "postponed"]),
    (SpecialUse::Trash, &["Trash", "Deleted Items", "Deleted Messages", "trash", "deleted"]),
    (SpecialUse::Junk, &["Junk", "Spam", "Junk E-mail", "Junk Email", "Bulk Mail", "junk", "spam"]),
    (SpecialUse::Archive, &["Archive", "Archives", "All Mail", "archive"]),
];
/// Where mail programs keep mailboxes below the home.
const DIRECTORIES: [&str; 3] = ["", "mail/", "Mail/"];
/// More lines than this are not looked at: there are seven uses.
const MAX_MAILBOXES: usize = 1000;

/// The user's file of uses.
pub(crate) struct Uses<'e> {
    environment: &'e Environment,
    lines: Lines,
}

impl<'e> Uses<'e> {
    pub(crate) fn new(environment: &'e Environment) -> Self {
        Self { environment, lines: Lines::new(environment, ".mailboxuse", ".mailboxuse.new") }
    }

    /// Returns what lines say, whether or not there are such mailboxes.
    pub(crate) fn told(&self) -> Result<BTreeMap<Vec<u8>, SpecialUses>> {
        let mut told = BTreeMap::new();
        let file = match self.lines.open(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(told),
            file => file.map_err(Error::io("open", self.lines.path()))?,
        };
        each_line(&file, &mut |line| {
            if let Some((uses, name)) = parse(line)
                && told.len() < MAX_MAILBOXES
            {
                told.entry(name.to_vec()).or_insert(uses);
            }
        })
        .map_err(Error::io("read", self.lines.path()))?;
        Ok(told)
    }

    /// Gives a new mailbox its uses; what was said of a mailbox of this name before does not count any more.
    pub(crate) fn give(&self, name: &MailboxName, uses: SpecialUses) -> Result<()> {
        let failed = |error| Error::io("write", self.lines.path())(error);
        let names: Vec<_> = uses.iter().map(SpecialUse::name).collect();
        let plain = plain(name);
        let line = [names.join(" ").as_bytes(), b"\t", plain].concat();
        if line.len() > MAX_LINE || plain.contains(&b'\n') {
            return Err(Error::Refused(format!("Can't give mailbox {name} a special use: name too long")));
        }
        self.change(&mut |known| drop_if(known == plain))?;
        let file = self.lines.open_locked(true).map_err(failed)?;
        let is_new = file.metadata().map_err(failed)?.len() == 0;
        append_line(&file, &line).map_err(failed)?;
        if is_new { self.lines.sync_home().map_err(failed) } else { Ok(()) }
    }

    /// Forgets a mailbox that was deleted.
    pub(crate) fn forget(&self, name: &MailboxName) {
        let name = plain(name);
        self.carry(self.change(&mut |known| drop_if(known == name)));
    }

    /// Follows a mailbox that was renamed, and those below it.
    pub(crate) fn follow(&self, from: &MailboxName, to: &MailboxName) {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        self.carry(self.change(&mut |known| match known.strip_prefix(from) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => Rewrite::Change([to, rest].concat()),
            // Of one that was there before.
            _ => drop_if(known == to),
        }));
    }

    /// What was done to the mailbox is done: here is only what it is for.
    fn carry(&self, changed: Result<()>) {
        if let Err(error) = changed {
            self.environment.notices.tell(Level::Log, format!("Can't update special uses: {error}"));
        }
    }

    /// Changes lines as is said of their mailboxes; what a name is changed to is another name.
    fn change(&self, change: &mut dyn FnMut(&[u8]) -> Rewrite) -> Result<()> {
        let failed = |error| Error::io("write", self.lines.path())(error);
        let file = match self.lines.open_locked(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(failed)?,
        };
        let mut any = false;
        each_line(&file, &mut |line| {
            any |= parse(line).is_some_and(|(_, name)| !matches!(change(name), Rewrite::Keep));
        })
        .map_err(failed)?;
        if !any {
            return Ok(());
        }
        let replaced = self.lines.replace(&file, &mut |line| {
            let Some((_, name)) = parse(line) else { return Rewrite::Keep };
            match change(name) {
                Rewrite::Change(new) => Rewrite::Change([&line[..line.len() - name.len()], &new].concat()),
                other => other,
            }
        });
        replaced.map_err(|failure| match failure {
            WriteFailure::Create(error) | WriteFailure::Write(error) | WriteFailure::Rename(error) => {
                failed(error)
            }
        })
    }
}

/// Returns the name by which LIST tells of a mailbox that was named with its format.
fn plain(name: &MailboxName) -> &[u8] {
    match forced_format(name.as_bytes()) {
        Forced::Format(_, plain) => plain,
        Forced::No | Forced::Bad => name.as_bytes(),
    }
}

fn drop_if(is_it: bool) -> Rewrite {
    if is_it { Rewrite::Drop } else { Rewrite::Keep }
}

fn name_of(line: &[u8]) -> Option<&[u8]> {
    let tab = line.iter().position(|octet| *octet == b'\t')?;
    line.get(tab + 1..).filter(|name| !name.is_empty())
}

/// Returns the uses of a line that are known, of which there must be one, and the name.
fn parse(line: &[u8]) -> Option<(SpecialUses, &[u8])> {
    let name = name_of(line)?;
    let words = line.split(|octet| *octet == b'\t').next()?.split(|octet| *octet == b' ');
    let uses: SpecialUses = words.filter_map(SpecialUse::named).collect();
    (!uses.is_empty()).then_some((uses, name))
}

impl Mailboxes {
    /// Makes a mailbox for these uses (RFC 6154): with them, or not at all.
    ///
    /// [`Error::Refused`] with a text that tells of the use where that is what does not go.
    pub fn create_for(&self, name: &MailboxName, uses: SpecialUses) -> Result<()> {
        let plain = MailboxName::new(plain(name));
        if self.has_mailbox(&plain) {
            return Err(Error::AlreadyExists(plain));
        }
        let file = Uses::new(self.environment());
        // First, when the line means nothing: a mailbox that is there may get mail at once, and is not taken away again.
        file.give(name, uses)?;
        self.create_only(name).inspect_err(|_| file.forget(name))
    }

    fn has_mailbox(&self, name: &MailboxName) -> bool {
        let at = self.resolve(name);
        at.is_ok_and(|at| self.claimant(&at).is_ok_and(|driver| !driver.stands_in()))
    }

    /// Returns why a new mailbox of this name could not have these uses, if it could not.
    pub fn refuses_uses(&self, name: &MailboxName, uses: SpecialUses) -> Result<Option<String>> {
        if let Some(one) = [SpecialUse::All, SpecialUse::Flagged].into_iter().find(|one| uses.contains(*one))
        {
            return Ok(Some(format!("{} not supported", one.name())));
        }
        if name.as_bytes().ends_with(b"/") {
            return Ok(Some("Such a name cannot have a special use".into()));
        }
        let told = self.told_uses()?;
        let held = uses
            .iter()
            .find_map(|one| told.iter().find(|(_, uses)| uses.contains(one)).map(|(name, _)| (one, name)));
        Ok(held.map(|(one, name)| {
            format!("{} is mailbox {} already", one.name(), MailboxName::new(name.as_slice()))
        }))
    }

    /// Returns the mailboxes that have special uses, with them.
    pub fn special_uses(&self) -> Result<BTreeMap<Vec<u8>, SpecialUses>> {
        let mut found = self.told_uses()?;
        for (one, names) in USUAL {
            if found.values().any(|uses| uses.contains(one)) {
                continue;
            }
            let mut usual = DIRECTORIES.iter().flat_map(|directory| {
                names.iter().map(move |name| format!("{directory}{name}").into_bytes())
            });
            if let Some(name) = usual.find(|name| self.is_mail(name)) {
                found.entry(name).or_default().insert(one);
            }
        }
        Ok(found)
    }

    /// Returns what was said of mailboxes that are there.
    pub(crate) fn told_uses(&self) -> Result<BTreeMap<Vec<u8>, SpecialUses>> {
        let mut told = Uses::new(self.environment()).told()?;
        told.retain(|name, _| {
            self.resolve(&MailboxName::new(name.as_slice())).is_ok_and(|at| self.claimant(&at).is_ok())
        });
        Ok(told)
    }

    /// Tells whether a name is that of a mailbox in which one would look for mail: no directory, no other file.
    fn is_mail(&self, name: &[u8]) -> bool {
        let Ok(at) = self.resolve(&MailboxName::new(name)) else { return false };
        // Most names are not there, which is known without asking each format.
        if at.path().is_some_and(|path| fs::metadata(path).is_err()) {
            return false;
        }
        match self.claim(&at) {
            Ok((driver, Claim::Valid)) => driver.abilities().creatable,
            // A file without a message may be one.
            Ok((_, Claim::Empty)) => at.path().is_some_and(|path| path.is_file()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn uses(home: &Path) -> Environment {
        Environment::new("a", home.into(), home.join("spool"), "h")
    }

    fn set(uses: &[SpecialUse]) -> SpecialUses {
        uses.iter().copied().collect()
    }

    #[test]
    fn lines_follow_their_mailboxes_and_others_stay() {
        let home = tempfile::tempdir().unwrap();
        let environment = uses(home.path());
        let (uses, file) = (Uses::new(&environment), home.path().join(".mailboxuse"));
        assert!(uses.told().unwrap().is_empty());
        uses.forget(&"x".into());
        assert!(!file.exists());
        std::fs::write(&file, "# mine\n\\Sent\n\\Nonsense\tx\n\\Sent \\Later\ta b").unwrap();
        uses.give(&"dir/c".into(), set(&[SpecialUse::Drafts, SpecialUse::Trash])).unwrap();
        let told = |uses: &Uses<'_>| uses.told().unwrap().into_iter().collect::<Vec<_>>();
        let drafts = set(&[SpecialUse::Drafts, SpecialUse::Trash]);
        assert_eq!(told(&uses), [(b"a b".to_vec(), set(&[SpecialUse::Sent])), (b"dir/c".to_vec(), drafts)]);
        uses.follow(&"dir".into(), &"other".into());
        uses.follow(&"a".into(), &"z".into());
        uses.follow(&"a b".into(), &"z".into());
        assert_eq!(told(&uses), [(b"other/c".to_vec(), drafts), (b"z".to_vec(), set(&[SpecialUse::Sent]))]);
        uses.give(&"z".into(), set(&[SpecialUse::Junk])).unwrap();
        uses.forget(&"other/c".into());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine\n\\Sent\n\\Nonsense\tx\n\\Junk\tz\n");
        assert!(uses.give(&"a\nb".into(), drafts).is_err());
        assert!(!home.path().join(".mailboxuse.new").exists());
    }

    #[test]
    fn a_large_or_strange_file_is_read_within_bounds() {
        let home = tempfile::tempdir().unwrap();
        let environment = uses(home.path());
        let lines: String = (0..5000).map(|number| format!("\\Sent\tname{number}\n")).collect();
        std::fs::write(home.path().join(".mailboxuse"), lines + &"x".repeat(100_000)).unwrap();
        assert_eq!(Uses::new(&environment).told().unwrap().len(), MAX_MAILBOXES);
        std::fs::remove_file(home.path().join(".mailboxuse")).unwrap();
        std::fs::create_dir(home.path().join(".mailboxuse")).unwrap();
        assert!(Uses::new(&environment).told().is_err());
    }
}
