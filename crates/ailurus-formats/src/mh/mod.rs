//! The mh format: a directory of message files with numbers for names, which mh, nmh and their likes work on.
//!
//! # Names
//!
//! There are mh mailboxes if there is `~/.mh_profile`, or a path is configured ([`profile`]). Below that path every directory
//! is one: `#mh/NAME`, a plain name that leads there, and `#mhinbox` for `inbox`, which is made when it is missing.
//!
//! # The directory
//!
//! | name | what it is |
//! |---|---|
//! | `12` | a message, LF or CRLF at the ends of lines; its internal date is the modification time, in UTC |
//! | `,12` | a message that mh removed |
//! | `.mh_sequences` | sequences of nmh. Of these `unseen` is looked at once for a message that is new to us; none is written |
//! | `.ailurus-uids` | the sidecar ([`crate::sidecar`]): UIDs, flags and keywords |
//! | `.ailurus-new.…`, `.ailurus-gone.…` | changes under way ([`crate::numbered`]) |
//!
//! mh, nmh and the reference pass over names that begin with a dot. The reference keeps neither flags nor UIDs, takes a
//! number for a UID, and shows a message as \Seen that was read after it was written, which we make so on append.
//!
//! # Which message is which
//!
//! The sidecar knows each message by its file: inode, size, times, a checksum of the content. So a message keeps its UID
//! when mh gives it another number, or when the folder comes back from an archive; a file that was changed or replaced is
//! another message ([`scan`]). UIDs are in the order in which messages were first seen, whatever their numbers. A sidecar that is lost or damaged is made anew with another UIDVALIDITY; where none can be
//! written, UIDs and flags are those of the session, as with the reference.
//!
//! Sizes need a look into the file; they are in the sidecar, so each message is read once. A folder whose times are as
//! when it was last read is not read again: what its files are is seen when they are opened.
//!
//! # Locks
//!
//! Other programs have none. Our sessions take that of the sidecar for everything that gives UIDs, changes flags or
//! removes messages.
//!
//! # Whenever we die
//!
//! | we died | afterwards |
//! |---|---|
//! | within an append | no message, or all of them, perhaps with new UIDs and without flags: nobody was told |
//! | within a flag update | some or all flags are new |
//! | within an expunge | some or all messages are gone; one that was moved aside is removed by the next of us |

mod append;
mod edit;
mod list;
mod mailbox;
mod names;
mod profile;
mod scan;
mod table;

use crate::disk::Disk;
use crate::files;
use crate::numbered::{Names, tidy};
use crate::sidecar::Sidecar;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, ListQuery, Listed, Location, Mailbox,
    Manner, Place, Rejection, Result, Status,
};
use ailurus_types::Keywords;
use append::MhAppend;
use mailbox::MhMailbox;
use profile::{Profile, Profiles};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::{N, Note};

/// The driver of the mh format.
#[derive(Debug)]
pub struct Mh {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
    profiles: Profiles,
}

impl Mh {
    /// Returns the driver for one user's folders.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk, profiles: Profiles::default() }
    }

    /// Returns the directory that a location means; `None` if it is no name for mh.
    fn path(&self, at: &Location) -> Option<(PathBuf, &Profile)> {
        let (path, profile) = match &at.place {
            Place::Inbox if !self.environment.mh_allow_inbox => return None,
            Place::Inbox => {
                let profile = self.profiles.get(&self.environment)?;
                (profile.path.join(names::INBOX), profile)
            }
            Place::Special => {
                let name = names::special(at.name.as_bytes())?;
                let profile = self.profiles.wanted(&self.environment)?;
                (profile.path.join(name), profile)
            }
            Place::Path(path) => {
                let profile = self.profiles.get(&self.environment)?;
                names::is_below(path, &profile.path).then(|| (path.components().collect(), profile))?
            }
        };
        Some((path, profile))
    }

    /// Returns the directory of a mailbox that should be there. The inbox is made if it is not.
    fn existing(&self, at: &Location) -> Result<(PathBuf, &Profile)> {
        let (path, profile) = self.path(at).ok_or_else(|| Error::NotFound(at.name.clone()))?;
        match path.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(Error::NotFound(at.name.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_inbox(at) => {
                self.make(at, &path)?
            }
            Err(error) => return Err(files::failure("open", at, &path)(error)),
        }
        Ok((path, profile))
    }

    /// Looks over a mailbox, and changes nothing.
    pub(crate) fn verify(&self, at: &Location) -> Result<crate::repair::Findings> {
        let (path, _) = self.path(at).ok_or_else(|| Error::NotFound(at.name.clone()))?;
        let mut findings = crate::repair::folder::verify(&path)?;
        let sidecar = Sidecar::<N>::path_in(&path);
        crate::repair::folder::look_at_sidecar::<N>(&self.disk, &sidecar, &mut findings);
        Ok(findings)
    }

    fn is_inbox(&self, at: &Location) -> bool {
        at.place == Place::Inbox || names::is_inbox(at.name.as_bytes())
    }

    fn unread(&self, at: &Location, path: &Path) -> Result<MhMailbox> {
        let profile = self.profiles.get(&self.environment).cloned().unwrap_or_default();
        MhMailbox::unread(&self.environment, &self.disk, &profile, (at, path))
    }

    /// Makes a directory with those above it.
    fn make(&self, at: &Location, path: &Path) -> Result<()> {
        let (_, mode) = self.environment.modes(&at.name);
        let missing: Vec<_> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
        for directory in missing.into_iter().rev() {
            match self.disk.make_dir(directory, mode) {
                // Another session was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                made => made.map_err(files::failure("create", at, directory))?,
            }
            files::sync_parent(&*self.disk, directory)?;
        }
        Ok(())
    }

    /// Returns where a new mailbox is to be; the reference's words where it may not.
    fn new_path(&self, at: &Location, verb: &str) -> Result<PathBuf> {
        let refused = || Error::Refused(format!("Can't {verb} mailbox {}: invalid MH-format name", at.name));
        let (path, profile) = self.path(at).ok_or_else(refused)?;
        let good = at.place != Place::Inbox && !self.is_inbox(at) && names::is_good(&path, &profile.path);
        if good { Ok(path) } else { Err(refused()) }
    }
}

impl Driver for Mh {
    fn name(&self) -> &'static str {
        "mh"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: Keywords::MAX,
            shared_access: true,
            shared_expunge: true,
            inferiors: true,
            crlf: false,
            creatable: true,
            unguarded: true,
            utc_dates: true,
            keeps_crs: true,
            any_directory: true,
            one_file_each: true,
            late_notes: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let Some((path, _)) = self.path(at) else { return Ok(Claim::No(Rejection::BadName)) };
        match path.metadata() {
            Ok(found) if found.is_dir() => Ok(Claim::Valid),
            Ok(_) => Ok(Claim::No(Rejection::WrongFormat)),
            // Opening it makes it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && names::is_inbox(at.name.as_bytes()) => {
                Ok(Claim::Valid)
            }
            Err(error) => files::unclaimed("look at", &path, error),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        let path = self.new_path(at, "create")?;
        if path.symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists(at.name.clone()));
        }
        self.make(at, &path)
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let (path, _) = self.existing(at)?;
        let sidecar = Sidecar::<N>::path_in(&path);
        // Who appends meanwhile waits, and finds that there is no mailbox; where there is no lock, nobody does.
        let _lock = Sidecar::<N>::new(Arc::clone(&self.disk), sidecar.clone(), 0o600).lock().ok();
        let leftovers = Names::read(&path).map_err(files::failure("delete", at, &path))?.leftovers;
        tidy(&*self.disk, &path, &leftovers).map_err(files::failure("delete", at, &path))?;
        let entries = std::fs::read_dir(&path).map_err(files::failure("delete", at, &path))?;
        for entry in entries.flatten() {
            let mine = names::is_internal(entry.file_name().as_encoded_bytes()) && entry.path() != sidecar;
            if mine && entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
                self.disk.remove(&entry.path()).map_err(files::failure("delete", at, &path))?;
            }
        }
        // It goes last: messages that stay when we die keep what is known of them.
        if sidecar.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            self.disk.remove(&sidecar).map_err(files::failure("delete", at, &path))?;
        }
        match self.disk.remove_dir(&path) {
            Ok(()) => files::sync_parent(&*self.disk, &path),
            // What is not mh's stays, and so does the name; the reference says no more either.
            Err(error) => {
                let text = format!("Can't delete mailbox {}: {error}", at.name);
                self.environment.notices.tell(ailurus_store::Level::Warning, text);
                self.disk.sync_dir(&path).map_err(Error::io("sync", &path))
            }
        }
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let (old, _) = self.existing(from)?;
        let new = self.new_path(to, "rename to")?;
        if let Some(parent) = new.parent() {
            self.make(to, parent)?;
        }
        files::move_to(&*self.disk, (from, &old), (to, &new))
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let (path, profile) = self.existing(at)?;
        if let Some(status) = self.noted_status(at, &path) {
            return Ok(status);
        }
        let place = (at, path.as_path());
        let mailbox =
            MhMailbox::open(&self.environment, &self.disk, profile, place, Access::ReadOnly, Manner::Silent)?;
        let snapshot = &mailbox.table.snapshot;
        Ok(Status::of(&snapshot.messages, snapshot.uid_next, snapshot.uid_validity))
    }

    fn open(&self, at: &Location, access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        let (path, profile) = self.existing(at)?;
        let place = (at, path.as_path());
        Ok(Box::new(MhMailbox::open(&self.environment, &self.disk, profile, place, access, manner)?))
    }

    fn content_files(&self, _at: &Location) -> Result<Vec<PathBuf>> {
        Err(Error::Refused("Scan not valid for mh mailboxes".into()))
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        let (path, _) = self.existing(at)?;
        Ok(Box::new(MhAppend::new(self, at, &path)))
    }

    fn hides(&self, _directory: &Path, entry: &OsStr) -> bool {
        names::is_internal(entry.as_encoded_bytes())
    }

    fn list(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        list::list(self, query, found)
    }
}

impl Mh {
    /// Returns what the sidecar says if the folder has not changed since that was written.
    fn noted_status(&self, at: &Location, path: &Path) -> Option<Status> {
        let mut mailbox = self.unread(at, path).ok()?;
        let lock = mailbox.sidecar.lock_to_read().ok()??;
        mailbox.sidecar.read_state(&lock).ok().filter(|read| *read)?;
        let state = mailbox.sidecar.state()?;
        let note = Note::decode(&state.note).filter(|note| note.complete)?;
        (mailbox.folder.stamp().ok()? == note.stamp).then_some(Status {
            messages: note.messages,
            recent: note.recent,
            unseen: note.unseen,
            uid_next: state.uid_next,
            uid_validity: state.uid_validity,
        })
    }
}
