//! Making, deleting and renaming mailboxes.
//!
//! A mailbox is there when its `.mixmeta` is. It is the last file that is made and the first that goes: renamed to
//! `.mixdeleted`, so that nobody takes the rest for a mailbox that lost it. All of it is done under a lock of the directory
//! ([`Directory::lock`]): so what is there without `.mixmeta` is of a process that died in between, and is removed by the
//! next who makes a mailbox in that directory or deletes it. Without the mark those are files of no octets; whatever else is
//! there is for `repair`.

use super::Mix;
use super::directory::{DELETED, Directory, Opened, PREFIX, Part};
use super::meta::{Meta, Readable};
use super::repair;
use crate::files;
use crate::lock::{Mode, Wait, lock_file};
use ailurus_store::{Access, Error, Level, Location, Place, Result};
use ailurus_types::UidValidity;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

impl Mix {
    pub(super) fn make(&self, at: &Location) -> Result<()> {
        const MOST_TRIES: usize = 100;
        let directory = self.directory(at)?;
        check_name(at, &directory.path)?;
        let (_, mode) = self.environment.modes(&at.name);
        for _ in 0..MOST_TRIES {
            let made = match self.disk.make_dir(&directory.path, mode) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.path.is_dir() => {
                    false
                }
                Err(error) => return Err(files::failure("create", at, &directory.path)(error)),
            };
            match self.fill(at, &directory, 0) {
                Ok(()) if made => return files::sync_parent(&*self.disk, &directory.path),
                // Another process has deleted it meanwhile.
                Err(Error::NotFound(_)) if !directory.path.is_dir() => {}
                Err(error) => {
                    if made {
                        self.disk.remove_dir(&directory.path).ok();
                    }
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
        Err(Error::InUse { path: directory.path })
    }

    /// Makes the INBOX that does not exist yet.
    pub(super) fn create_inbox(&self, at: &Location) -> Result<()> {
        match self.make(at) {
            // Another session was faster.
            Err(Error::AlreadyExists(_)) => Ok(()),
            made => made,
        }
    }

    /// Makes the files of an empty mailbox, whose UIDVALIDITY is above `after`.
    fn fill(&self, at: &Location, directory: &Directory, after: u32) -> Result<()> {
        let (mode, _) = self.environment.modes(&at.name);
        let meta_path = directory.part(Part::Meta);
        let _lock = directory.lock().map_err(files::failure("create", at, &directory.path))?;
        if meta_path.symlink_metadata().is_ok() || repair::is_lost(directory) {
            return Err(Error::AlreadyExists(at.name.clone()));
        }
        sweep(directory)?;
        sweep_empty(directory)?;
        let meta = Meta::new(self.new_uid_validity(after), &self.environment.default_keywords);
        let paths =
            [directory.part(Part::Index), directory.part(Part::Status), directory.data(meta.new_file)];
        for (number, path) in paths.iter().enumerate() {
            if let Err(error) = self.disk.create_new(path, mode) {
                for made in &paths[..number] {
                    self.disk.remove(made).ok();
                }
                return Err(files::failure("create", at, path)(error));
            }
        }
        let published =
            directory.publish(&meta_path, mode, |file| self.disk.write_at(file, &meta.encode(), 0));
        published.map_err(|error| {
            // Files of a mailbox that an old program makes at the same time are its own.
            if error.kind() != io::ErrorKind::AlreadyExists {
                for path in &paths {
                    self.disk.remove(path).ok();
                }
            }
            files::failure("create", at, &meta_path)(error)
        })
    }

    /// Returns the time, or the next number if a mailbox was made within this second: one of the same name that was
    /// deleted meanwhile had other messages under the same UIDs.
    fn new_uid_validity(&self, after: u32) -> UidValidity {
        let now = self.environment.new_validity().max(after.saturating_add(1));
        let next = |last: u32| Some(now.max(last.saturating_add(1)));
        let last = self.last_validity.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or(0);
        let validity = UidValidity::new(now.max(last.saturating_add(1))).unwrap_or(UidValidity::MIN);
        self.environment.validities.give(validity.get());
        validity
    }

    /// Opens a mailbox under the lock under which it may be deleted or renamed: nobody has it open.
    fn open_alone(&self, at: &Location) -> Result<Opened> {
        let opened = Opened::open(self.directory(at)?, at, Access::ReadWrite)?;
        if !opened.writable {
            return Err(Error::ReadOnly { path: opened.directory.path });
        }
        let io = opened.directory.io("lock", Part::Meta);
        let alone = lock_file(&opened.meta, Mode::Exclusive, Wait::No).map_err(io)?;
        if !alone || !opened.is_current() {
            return Err(Error::InUse { path: opened.directory.path });
        }
        Ok(opened)
    }

    pub(super) fn remove(&self, at: &Location) -> Result<()> {
        let opened = self.open_alone(at)?;
        let directory = &opened.directory;
        let meta = directory.part(Part::Meta);
        let _lock = directory.lock().map_err(files::failure("delete", at, &directory.path))?;
        self.disk
            .rename(&meta, &directory.path.join(DELETED))
            .map_err(files::failure("delete", at, &meta))?;
        directory.sync()?;
        // From here on the mailbox is deleted, whatever happens.
        let removed = sweep(directory).and_then(|()| {
            let path = &directory.path;
            self.disk.remove_dir(path).map_err(Error::io("delete", path))?;
            files::sync_parent(&*self.disk, path)
        });
        if let Err(error) = removed {
            let why = match &error {
                Error::Io { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            let why = why.split(" (os error").next().unwrap_or_default().to_owned();
            self.environment.notices.tell(Level::Warning, format!("Can't delete name {}: {why}", at.name));
        }
        Ok(())
    }

    /// Takes away what is left of a mailbox that was not made to its end, or not deleted to its end.
    pub(super) fn clear(&self, at: &Location) -> Result<()> {
        let Ok(directory) = self.directory(at) else { return Ok(()) };
        let _lock = match directory.lock() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            lock => lock.map_err(files::failure("delete", at, &directory.path))?,
        };
        if directory.part(Part::Meta).symlink_metadata().is_ok() || repair::is_lost(&directory) {
            return Ok(());
        }
        sweep(&directory)?;
        sweep_empty(&directory)
    }

    /// Renames the directory, with what mailboxes it holds. INBOX is made anew, and takes those mailboxes back: they are
    /// not renamed with it (RFC 3501 §6.3.5).
    pub(super) fn rename_to(&self, from: &Location, to: &Location) -> Result<()> {
        let opened = self.open_alone(from)?;
        let (old, new) = (&opened.directory.path, self.directory(to)?.path);
        check_name(to, &new)?;
        files::move_to(&*self.disk, (from, old), (to, &new))?;
        if from.place != Place::Inbox {
            return Ok(());
        }
        let before = Readable::parse(&opened.read_meta()?).uid_validity.map_or(0, UidValidity::get);
        let (_, mode) = self.environment.modes(&from.name);
        self.disk.make_dir(old, mode).map_err(files::failure("create", from, old))?;
        self.fill(from, &self.directory(from)?, before)?;
        let io = |error| Error::io("read", &new)(error);
        for entry in std::fs::read_dir(&new).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if !is_ours(&name) {
                let (there, here) = (new.join(&name), old.join(&name));
                self.disk.rename(&there, &here).map_err(Error::io("move back", there))?;
            }
        }
        self.disk.sync_dir(old).map_err(Error::io("sync", old))?;
        self.disk.sync_dir(&new).map_err(Error::io("sync", &new))?;
        files::sync_parent(&*self.disk, old)
    }
}

/// Tells whether a name belongs to the format.
pub(super) fn is_ours(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX)
}

/// Tells whether a name is that of a data file.
pub(super) fn is_data(name: &OsStr) -> bool {
    let number = name.as_bytes().strip_prefix(PREFIX);
    number.is_some_and(|number| {
        number.is_empty() || number.len() == 8 && number.iter().all(u8::is_ascii_hexdigit)
    })
}

fn check_name(at: &Location, path: &Path) -> Result<()> {
    if path.file_name().is_some_and(is_ours) {
        return Err(files::invalid(at, "invalid MIX-format name"));
    }
    Ok(())
}

/// Removes the files of the format from a directory that is no mailbox, if there is nothing in them: who was to make one
/// died.
fn sweep_empty(directory: &Directory) -> Result<()> {
    let io = |error| Error::io("read", &directory.path)(error);
    let half_made = OsStr::new(".mixmeta.new");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory.path).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !is_ours(&entry.file_name()) {
            continue;
        }
        let is_empty = entry.metadata().is_ok_and(|found| found.is_file() && found.len() == 0);
        if !is_empty && entry.file_name() != half_made {
            return Ok(());
        }
        found.push(entry.path());
    }
    found.into_iter().try_for_each(|path| directory.disk.remove(&path).map_err(Error::io("delete", path)))
}

/// Removes all files of the format from a directory that is no mailbox (any more); the mark that says so goes last.
fn sweep(directory: &Directory) -> Result<()> {
    let path = &directory.path;
    let mark = path.join(DELETED);
    if mark.symlink_metadata().is_err() {
        return Ok(());
    }
    let io = |error| Error::io("read", path)(error);
    for entry in std::fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if is_ours(&name) && name != DELETED {
            let entry = path.join(&name);
            directory.disk.remove(&entry).map_err(Error::io("delete", entry))?;
        }
    }
    // The files must not come back without it.
    directory.sync()?;
    directory.disk.remove(&mark).map_err(Error::io("delete", mark))
}
