//! Looking over a mailbox, and salvaging a damaged one.
//!
//! [`Workshop::verify`] walks a mailbox of any format and changes nothing at all. [`Workshop::repair`] makes a new mailbox beside a damaged one,
//! of all that can be read of it, and puts it in its place when asked to.
//!
//! # Nothing is lost
//!
//! A plan says of each octet of the damaged file whether it is in the salvaged one or in the leftover (`plan`); that it says so of
//! each one, once, is checked before anything is written, and the lengths of what was written are checked after. A line of the
//! format that has to be written anew is in the leftover as it was. What was written is looked over as the damaged
//! file was, and must have no damage.
//!
//! # Who keeps the UID
//!
//! Messages whose UID can be believed keep it (`uids`). A message without one that has others behind it goes to the end,
//! for UIDs ascend, and gets a new one there. UIDVALIDITY stays unless nobody can tell which UIDs were given.
//!
//! # The swap
//!
//! | step | if we die behind it |
//! |---|---|
//! | `NAME.salvaged` and `NAME.leftover` are written and synced | the damaged mailbox has the name |
//! | `NAME.damaged` becomes a second name of it | the same |
//! | `NAME.salvaged` is renamed to `NAME` | the salvaged one has it |
//!
//! All under the locks of the format. A new name is one that was free, with a number if need be. Where the new file cannot have owner,
//! group and place of the old one (the spool), where links lead to it by other names, or where there are no hard links, a copy is
//! kept as `NAME.damaged`, and the file is rewritten in place by way of a journal.
//!
//! A program that waits for the flock of the damaged file alone, and takes no dot-lock, adds its mail there when we are done: that is
//! so whenever a mailbox is renamed. It is seen only if it happens at once.

pub(crate) mod beside;
mod finding;
pub(crate) mod folder;
mod guess;
pub(crate) mod lines;
pub(crate) mod plan;
pub(crate) mod single;
pub(crate) mod uids;

pub use finding::{Finding, Findings, Severity};

use crate::disk::Disk;
use ailurus_store::{Environment, Error, Location, Place, Result};
use single::{Salvage, Single};
use std::path::PathBuf;
use std::sync::Arc;

/// Whether the salvaged mailbox takes the place of the damaged one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It is written beside it.
    Show,
    /// It is, and the damaged one is kept.
    Apply,
}

/// What came of a repair.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Outcome {
    /// There was nothing to repair, and nothing was written.
    #[default]
    Nothing,
    /// The salvaged mailbox is beside the damaged one.
    Shown,
    /// The salvaged mailbox has the name.
    Applied,
}

/// What was found and done.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// The mailbox.
    pub path: PathBuf,
    /// What came of it.
    pub outcome: Outcome,
    /// What is or was wrong.
    pub findings: Findings,
    /// What the salvaged mailbox is, in sentences.
    pub notes: Vec<String>,
    /// Where the salvaged mailbox is, as long as it has not the name.
    pub salvaged: Option<PathBuf>,
    /// Where the octets are that fit no message, one range behind the other.
    pub leftover: Option<PathBuf>,
    /// The ranges of the damaged file that are there.
    pub left: Vec<(u64, u64)>,
    /// Where the damaged mailbox is now.
    pub damaged: Option<PathBuf>,
}

/// A user's mailboxes, as far as this module needs them.
#[derive(Clone, Debug)]
pub struct Workshop {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
}

impl Workshop {
    /// Returns the workshop for one user's mailboxes.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk }
    }

    /// Looks over the mailbox of this format at a location, and changes nothing. Waits a while for who is writing it:
    /// [`Error::InUse`].
    pub fn verify(&self, format: &str, at: &Location) -> Result<Findings> {
        if let Some((path, salvage)) = self.single(format, at)? {
            return self.of(path, &*salvage)?.verify();
        }
        match format {
            "mix" => self.mix().verify(at),
            "mx" => crate::Mx::new(Arc::clone(&self.environment), Arc::clone(&self.disk)).verify(at),
            "mh" => crate::Mh::new(Arc::clone(&self.environment), Arc::clone(&self.disk)).verify(at),
            "news" => crate::News::new(Arc::clone(&self.environment), Arc::clone(&self.disk)).verify(at),
            "phile" => verify_phile(at),
            // What stands in for a mailbox without mail.
            "dummy" => self.verify_dummy(at),
            _ => Err(unknown(format)),
        }
    }

    /// Salvages the mailbox of this format at a location, which nobody else may have open: [`Error::InUse`].
    pub fn repair(&self, format: &str, at: &Location, action: Action) -> Result<Repaired> {
        if let Some((path, salvage)) = self.single(format, at)? {
            return self.of(path, &*salvage)?.repair(action);
        }
        match format {
            "mix" => self.mix().salvage(at, action),
            "phile" => match verify_phile(at)?.list().first() {
                Some(finding) => Err(Error::Refused(finding.what.clone())),
                None => Err(Error::Refused(format!(
                    "no format knows this file; if it was a mailbox, name its format: '#driver.FORMAT/{}'",
                    at.name
                ))),
            },
            // A directory is an error, and there is nothing in an empty file.
            "dummy" => match self.verify_dummy(at)?.list().first() {
                Some(finding) => Err(Error::Refused(finding.what.clone())),
                None => Ok(Repaired::default()),
            },
            _ => Err(unknown(format)),
        }
    }

    /// A mailbox without mail; or an INBOX that no format knows and that is not opened, since the spool is never shown as one
    /// message.
    fn verify_dummy(&self, at: &Location) -> Result<Findings> {
        let path = at.path().unwrap_or(&self.environment.spool);
        if path.is_dir() {
            return Err(Error::NotSelectable(at.name.clone()));
        }
        let mut findings = Findings::default();
        if path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0) {
            let file = single::open_quietly(path).map_err(Error::io("open", path))?;
            let looks = guess::format(&file).map_err(Error::io("read", path))?;
            let format = looks.unwrap_or("unix");
            let what =
                "no format knows this file, and it is not opened; salvage what is mail in it by its format:";
            findings.damage(path, 0, format!("{what} '#driver.{format}/{}'", at.name));
        }
        Ok(findings)
    }

    fn mix(&self) -> crate::Mix {
        crate::Mix::new(Arc::clone(&self.environment), Arc::clone(&self.disk))
    }

    fn of<'s>(&'s self, path: PathBuf, salvage: &'s dyn Salvage) -> Result<Single<'s>> {
        let path = path.canonicalize().map_err(Error::io("open", &path))?;
        Ok(Single { environment: &self.environment, disk: &self.disk, path, salvage })
    }

    /// Returns what is special of a format whose mailboxes are single files, and the file.
    fn single(&self, format: &str, at: &Location) -> Result<Option<(PathBuf, Box<dyn Salvage>)>> {
        let (env, disk) = (|| Arc::clone(&self.environment), || Arc::clone(&self.disk));
        Ok(Some(match format {
            "mbx" => crate::Mbx::new(env(), disk()).salvage(at)?,
            "mtx" => crate::Mtx::new(env(), disk()).salvage(at)?,
            "tenex" => crate::Mtx::tenex(env(), disk()).salvage(at)?,
            "mbox" => {
                let place = Place::Path(self.environment.mailbox_dir.join("mbox"));
                let at = Location { name: at.name.clone(), place };
                crate::Unix::new(self.environment.as_ref().clone(), disk()).salvage(&at)?
            }
            "unix" => crate::Unix::new(self.environment.as_ref().clone(), disk()).salvage(at)?,
            "mmdf" => crate::Unix::mmdf(self.environment.as_ref().clone(), disk()).salvage(at)?,
            _ => return Ok(None),
        }))
    }
}

/// Any file is a message of this format, also one that was a mailbox before it was damaged.
fn verify_phile(at: &Location) -> Result<Findings> {
    let Some(path) = at.path() else { return Err(Error::NotFound(at.name.clone())) };
    let file = single::open_quietly(path).map_err(Error::io("open", path))?;
    let mut findings = Findings::default();
    if let Some(format) = guess::format(&file).map_err(Error::io("read", path))? {
        let what =
            "no format knows this file, and it is shown as one message; it looks like a damaged mailbox of";
        findings.damage(path, 0, format!("{what} {format} format: '#driver.{format}/{}'", at.name));
    }
    Ok(findings)
}

fn unknown(format: &str) -> Error {
    Error::Refused(format!("a mailbox of {format} format cannot be repaired; `ailurus verify` looks it over"))
}
