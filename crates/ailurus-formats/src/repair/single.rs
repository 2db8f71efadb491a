//! Repair of a mailbox that is one file.

use super::beside::{make_free, names, write_left, write_salvaged};
use super::finding::Findings;
use super::plan::{Piece, Plan};
use super::{Action, Outcome, Repaired};
use crate::disk::Disk;
use crate::files;
use crate::journal::{Places, recover};
use crate::lock::{LockedFile, Mode, NameLock, NameLockError, Opening, SessionLock, Wait, lock_file};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Access, Environment, Error, Manner, Result};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for a lock that others have.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often a file is looked at anew that changes as it is looked at.
const MOST_TRIES: usize = 3;

/// What a look at all of a file gives.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) findings: Findings,
    /// The file without what is wrong.
    pub(crate) plan: Plan,
    pub(crate) count: Count,
    /// What else there is to say of the salvaged mailbox.
    pub(crate) notes: Vec<String>,
}

/// How many messages of which kind a salvaged mailbox has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    /// As they were.
    pub(crate) whole: usize,
    /// Of another length than they say: the end is missing, or what they say is wrong.
    pub(crate) resized: usize,
    /// Whose line, flags or separator had to be written anew.
    pub(crate) mended: usize,
}

/// What is special of a format.
pub(crate) trait Salvage {
    /// Looks at all of a file.
    fn survey(&self, file: &File, path: &Path, len: u64) -> io::Result<Survey>;

    /// Looks at what is beside the file.
    fn look_beside(&self, file: &File, path: &Path, home: &Path, findings: &mut Findings) {
        let _ = (file, path, home, findings);
    }

    /// Whose locks it has.
    fn locking(&self) -> Locking;
}

/// By which locks a format is guarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Locking {
    /// Session lock, dot-lock, flock.
    Session,
    /// The lock file in `/tmp`, and the flock for being alone.
    Shared,
}

/// The locks that keep everybody else away.
enum Guard {
    Session { locked: LockedFile, _session: SessionLock },
    Shared { file: File, _lock: NameLock },
}

impl Guard {
    fn file(&self) -> &File {
        match self {
            Self::Session { locked, .. } => locked.file(),
            Self::Shared { file, .. } => file,
        }
    }
}

/// One mailbox file.
pub(crate) struct Single<'s> {
    pub(crate) environment: &'s Environment,
    pub(crate) disk: &'s Arc<dyn Disk>,
    /// Where it is: not that of a link to it.
    pub(crate) path: PathBuf,
    pub(crate) salvage: &'s dyn Salvage,
}

impl Single<'_> {
    /// Looks at all of it, and changes nothing: no lock file, no times.
    pub(crate) fn verify(&self) -> Result<Findings> {
        let file = open_quietly(&self.path).map_err(self.io("open"))?;
        let _shared = wait_for(&file, &self.path)?;
        let mut found = Findings::default();
        for _ in 0..MOST_TRIES {
            let before = self.look(&file)?;
            found = self.survey(&file, before.len())?.findings;
            if found.is_empty() || is_same(&before, &self.look(&file)?) {
                break;
            }
        }
        self.note_journal(&file, &mut found)?;
        self.salvage.look_beside(&file, &self.path, &self.environment.home, &mut found);
        Ok(found)
    }

    /// Does what [`super::Workshop::repair`] says.
    pub(crate) fn repair(&self, action: Action) -> Result<Repaired> {
        let guard = self.guard()?;
        let file = guard.file();
        let places = self.places(file)?;
        if places.any() {
            if action == Action::Show {
                let mut findings = Findings::default();
                self.note_journal(file, &mut findings)?;
                let notes =
                    vec!["With --apply that change is finished first. Nothing is written now.".into()];
                return Ok(Repaired { findings, notes, ..self.outcome(Outcome::Shown) });
            }
            let recovered = recover(self.disk, &self.environment.notices, &places, file);
            recovered.map_err(|error| self.io("finish the change of")(error.into_io()))?;
        }
        let before = self.look(file)?;
        let mut survey = self.survey(file, before.len())?;
        if !survey.plan.accounts_for(before.len()) {
            let what = "the octets of the mailbox are not accounted for: nothing is done (this is a bug)";
            return Err(Error::Refused(format!("{}: {what}", self.path.display())));
        }
        if survey.plan.changes_nothing(before.len()) {
            return Ok(Repaired { findings: survey.findings, ..self.outcome(Outcome::Nothing) });
        }
        let mut repaired = self.write(file, &before, &survey)?;
        repaired.notes = survey.summary(before.len());
        repaired.findings = survey.findings;
        if action == Action::Apply {
            self.apply(file, &before, &survey.plan, &mut repaired)?;
            drop(guard);
            let kept = repaired.damaged.as_ref().and_then(|path| path.metadata().ok());
            if kept.is_some_and(|kept| kept.len() != before.len()) {
                let text = "Mail was added to the damaged file meanwhile, behind what was salvaged.";
                repaired.notes.push(text.into());
            }
        }
        Ok(repaired)
    }

    fn outcome(&self, outcome: Outcome) -> Repaired {
        Repaired { path: self.path.clone(), outcome, ..Repaired::default() }
    }

    /// Writes salvaged mailbox and leftover, and looks at what was written.
    fn write(&self, file: &File, before: &Metadata, survey: &Survey) -> Result<Repaired> {
        let (disk, directories) = (&**self.disk, self.directories());
        let mode = before.permissions().mode() & 0o777;
        let make = |ending, mode| {
            let made = make_free(names(&self.path, &directories, ending), |path| disk.create_new(path, mode));
            made.map_err(Error::io("make a file beside", &self.path))
        };
        let mut repaired = self.outcome(Outcome::Shown);
        let (salvaged, to) = make("salvaged", mode)?;
        let mut made = vec![salvaged.clone()];
        let written = (|| {
            let (copied, new, left) = survey.plan.octets();
            let length =
                write_salvaged(disk, &to, file, &survey.plan).map_err(Error::io("write", &salvaged))?;
            let mut sum = copied;
            if left > 0 {
                let (leftover, to) = make("leftover", 0o600)?;
                made.push(leftover.clone());
                let ranges = survey.plan.left();
                sum += write_left(disk, &to, file, ranges).map_err(Error::io("write", &leftover))?;
                repaired.left = ranges.iter().map(|range| (range.start, range.end)).collect();
                repaired.leftover = Some(leftover);
            }
            for path in &made {
                files::sync_parent(disk, path)?;
            }
            self.check(&to, &salvaged, (length, copied + new), (sum, before.len()))
        })();
        if let Err(error) = written {
            // A part of a mailbox is of no use to anybody.
            for path in &made {
                disk.remove(path).ok();
            }
            return Err(error);
        }
        repaired.salvaged = Some(salvaged);
        Ok(repaired)
    }

    /// Makes sure that nothing is lost, and that what was written is a mailbox.
    fn check(&self, salvaged: &File, path: &Path, lengths: (u64, u64), sums: (u64, u64)) -> Result<()> {
        let refused =
            |what: String| Err(Error::Refused(format!("{}: {what} (this is a bug)", path.display())));
        if sums.0 != sums.1 || lengths.0 != lengths.1 {
            return refused(format!("{} octets are kept of {}", sums.0, sums.1));
        }
        let again = self.salvage.survey(salvaged, path, lengths.0).map_err(Error::io("read", path))?;
        match again.findings.list().first() {
            Some(finding) if again.findings.damaged() > 0 => refused(format!("still damaged: {finding}")),
            _ => Ok(()),
        }
    }

    /// Puts the salvaged mailbox in the place of the damaged one, which is kept.
    fn apply(&self, file: &File, before: &Metadata, plan: &Plan, repaired: &mut Repaired) -> Result<()> {
        let Some(salvaged) = repaired.salvaged.clone() else { return Ok(()) };
        if !is_same(before, &self.look(file)?) || !self.is_current(file) {
            let what = "it was changed meanwhile by a program that takes no locks: try again";
            return Err(Error::Lost { path: self.path.clone(), what: what.into() });
        }
        let new = salvaged.metadata().map_err(Error::io("look at", &salvaged))?;
        let as_before = (new.uid(), new.gid()) == (before.uid(), before.gid());
        let beside = salvaged.parent() == self.path.parent();
        let link = self.earlier_link(before);
        // A file with other names is changed in place: whoever uses those would go on with the damaged one.
        let is_only_name = before.nlink() == 1 + u64::from(link.is_some());
        let damaged = if as_before && beside && is_only_name { self.swap(&salvaged, link)? } else { None };
        let damaged = match damaged {
            Some(damaged) => damaged,
            None => self.rewrite(file, before, plan, &salvaged)?,
        };
        (repaired.outcome, repaired.damaged, repaired.salvaged) = (Outcome::Applied, Some(damaged), None);
        Ok(())
    }

    /// Returns the name that a repair which was cut off has given the file already.
    fn earlier_link(&self, before: &Metadata) -> Option<PathBuf> {
        let directories = self.directories();
        let all = names(&self.path, &directories[..1], "damaged");
        all.map_while(|path| path.symlink_metadata().ok().map(|found| (path, found)))
            .find(|(_, found)| files::is_one(found, before))
            .map(|(path, _)| path)
    }

    /// Swaps by name: whenever we die, the one or the other has it. `None` where the file system cannot do that.
    fn swap(&self, salvaged: &Path, link: Option<PathBuf>) -> Result<Option<PathBuf>> {
        let (disk, directories) = (&**self.disk, self.directories());
        let make = |to: &Path| disk.link(&self.path, to);
        let kept = match link {
            Some(link) => Ok((link, ())),
            None => make_free(names(&self.path, &directories[..1], "damaged"), make),
        };
        let damaged = match kept {
            Ok((damaged, ())) => damaged,
            Err(error) if is_unsupported(&error) => return Ok(None),
            Err(error) => return Err(self.io("keep")(error)),
        };
        files::sync_parent(disk, &damaged)?;
        disk.rename(salvaged, &self.path).map_err(self.io("replace"))?;
        files::sync_parent(disk, &self.path)?;
        Ok(Some(damaged))
    }

    /// Writes the salvaged content into the file, by way of a journal: owner and mode stay, and so do the links to it.
    fn rewrite(&self, file: &File, before: &Metadata, plan: &Plan, salvaged: &Path) -> Result<PathBuf> {
        let (disk, directories) = (&**self.disk, self.directories());
        let mode = before.permissions().mode() & 0o700;
        let kept = make_free(names(&self.path, &directories, "damaged"), |to| disk.create_new(to, mode));
        let (damaged, to) = kept.map_err(self.io("keep"))?;
        let mut all = Plan::default();
        all.copy(0..before.len());
        let copied = write_salvaged(disk, &to, file, &all);
        copied
            .map_err(Error::io("write", &damaged))
            .and_then(|_| files::sync_parent(disk, &damaged))
            .inspect_err(|_| {
                disk.remove(&damaged).ok();
            })?;
        let write = || -> Result<(), RewriteError> {
            let places =
                self.places(file).map_err(|error| RewriteError::Unchanged(io::Error::other(error)))?;
            let mut rewrite = Rewrite::begin(self.disk, &places, file)?;
            for piece in plan.pieces() {
                match piece {
                    Piece::Copy(range) => rewrite.copy(range.clone())?,
                    Piece::New(octets) => rewrite.literal(octets)?,
                }
            }
            rewrite.finish()
        };
        write().map_err(|error| self.io("rewrite")(error.into_io()))?;
        disk.remove(salvaged).ok();
        Ok(damaged)
    }

    fn guard(&self) -> Result<Guard> {
        let file = files::open(&self.path, Access::ReadWrite).map_err(self.io("open"))?;
        let in_use = || Error::InUse { path: self.path.clone() };
        match self.salvage.locking() {
            Locking::Session => {
                let session = SessionLock::acquire(self.disk, self.environment, &file, Manner::Silent);
                let session = session.ok_or_else(in_use)?;
                let opening =
                    Opening { mode: Mode::Exclusive, manner: Manner::Silent, access: Access::ReadWrite };
                let env = self.environment;
                let locked = LockedFile::open_within(self.disk, env, &self.path, opening, Some(PATIENCE));
                let locked = locked.map_err(self.io("lock"))?.ok_or_else(in_use)?;
                Ok(Guard::Session { locked, _session: session })
            }
            Locking::Shared => {
                let begun = Instant::now();
                let lock = loop {
                    match NameLock::acquire(self.disk, self.environment, &file, Mode::Exclusive, Wait::No) {
                        Ok(lock) => break lock,
                        Err(NameLockError::Held { .. }) if begun.elapsed() < PATIENCE => {
                            std::thread::sleep(LOOK_AGAIN);
                        }
                        Err(NameLockError::Held { .. }) => return Err(in_use()),
                        Err(NameLockError::Unavailable(error)) => return Err(self.io("lock")(error)),
                    }
                };
                // Who has it open knows where messages are.
                lock_alone(&file, &self.path)?;
                Ok(Guard::Shared { file, _lock: lock })
            }
        }
    }

    fn survey(&self, file: &File, len: u64) -> Result<Survey> {
        self.salvage.survey(file, &self.path, len).map_err(self.io("read"))
    }

    fn note_journal(&self, file: &File, findings: &mut Findings) -> Result<()> {
        if self.places(file)?.any() {
            let what =
                "a change was cut off; its journal is there, and the next session that may write finishes it";
            findings.oddity(&self.path, 0, what);
        }
        Ok(())
    }

    fn places(&self, file: &File) -> Result<Places> {
        Places::of(&self.path, file, &self.environment.home).map_err(self.io("look at"))
    }

    /// Where files of ours can be: beside the mailbox, or where that is not allowed in the home.
    fn directories(&self) -> [PathBuf; 2] {
        [self.path.parent().unwrap_or(Path::new(".")).into(), self.environment.home.clone()]
    }

    fn is_current(&self, file: &File) -> bool {
        files::leads_to(&self.path, file)
    }

    fn look(&self, file: &File) -> Result<Metadata> {
        file.metadata().map_err(self.io("look at"))
    }

    fn io(&self, op: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::io(op, self.path.clone())
    }
}

impl Survey {
    /// Says what the salvaged mailbox is.
    fn summary(&self, len: u64) -> Vec<String> {
        let Count { whole, resized, mended } = self.count;
        let (copied, new, left) = self.plan.octets();
        let mut all = vec![format!(
            "Of {len} octets, {copied} are in the salvaged mailbox with {new} new ones, and {left} are left over."
        )];
        for (count, what) in [
            (whole, "kept as they were"),
            (mended, "with a line of the format that had to be written anew"),
            (resized, "of another length than they say (the end is missing, or their size was damaged)"),
        ] {
            if count > 0 || what.starts_with("kept") {
                all.push(format!("Messages {what}: {count}."));
            }
        }
        all.extend(self.notes.iter().cloned());
        all
    }
}

/// Opens a file to read without a trace: not even the time of access changes, where we own it.
pub(crate) fn open_quietly(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    let open = |flags: OFlags| {
        let flags = i32::try_from(flags.bits()).expect("open flags are small");
        File::options().read(true).custom_flags(flags).open(path)
    };
    let file = match open(OFlags::NONBLOCK | OFlags::NOATIME) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::NONBLOCK)?,
        file => file?,
    };
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// Waits for the shared flock of a file, but not for long. It ends when the file is closed.
pub(crate) fn wait_for<'f>(file: &'f File, path: &Path) -> Result<&'f File> {
    let begun = Instant::now();
    while !lock_file(file, Mode::Shared, Wait::No).map_err(Error::io("lock", path))? {
        if begun.elapsed() >= PATIENCE {
            return Err(Error::InUse { path: path.into() });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(file)
}

/// Takes the exclusive flock of a file that nobody may have open. Who just looked in lets go of it at once.
pub(crate) fn lock_alone(file: &File, path: &Path) -> Result<()> {
    const A_MOMENT: Duration = Duration::from_millis(500);
    let begun = Instant::now();
    while !lock_file(file, Mode::Exclusive, Wait::No).map_err(Error::io("lock", path))? {
        if begun.elapsed() >= A_MOMENT {
            return Err(Error::InUse { path: path.into() });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Tells whether nothing was done to a file in between.
pub(crate) fn is_same(before: &Metadata, now: &Metadata) -> bool {
    let key = |found: &Metadata| {
        (found.len(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
    };
    key(before) == key(now)
}

fn is_unsupported(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported)
}
