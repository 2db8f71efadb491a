//! Making, deleting and renaming mailboxes.
//!
//! A mailbox is there when its `.mixmeta` is. It is the last file that is made and the first that goes: renamed to
//! `.mixdeleted`, so that nobody takes the rest for a mailbox that lost it. What is left over by a process that died in
//! between is removed by the next who makes a mailbox in that directory.

use super::Mix;
use super::directory::{DELETED, Directory, Opened, PREFIX, Part};
use super::meta::{Meta, Readable};
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
        let directory = self.directory(at)?;
        check_name(at, &directory.path)?;
        let (_, mode) = self.environment.modes(&at.name);
        let made = match self.disk.make_dir(&directory.path, mode) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.path.is_dir() => false,
            Err(error) => return Err(files::failure("create", at, &directory.path)(error)),
        };
        let filled = self.fill(at, &directory, 0);
        if filled.is_err() && made {
            self.disk.remove_dir(&directory.path).ok();
        }
        filled?;
        if made { files::sync_parent(&*self.disk, &directory.path) } else { Ok(()) }
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
        if meta_path.symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists(at.name.clone()));
        }
        sweep(directory)?;
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
            for path in &paths {
                self.disk.remove(path).ok();
            }
            files::failure("create", at, &meta_path)(error)
        })
    }

    /// Returns the time, or the next number if a mailbox was made within this second: one of the same name that was
    /// deleted meanwhile had other messages under the same UIDs.
    fn new_uid_validity(&self, after: u32) -> UidValidity {
        let now =
            u32::try_from(self.environment.clock.now()).unwrap_or(u32::MAX).max(after.saturating_add(1));
        let next = |last: u32| Some(now.max(last.saturating_add(1)));
        let last = self.last_validity.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or(0);
        UidValidity::new(now.max(last.saturating_add(1))).unwrap_or(UidValidity::MIN)
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
