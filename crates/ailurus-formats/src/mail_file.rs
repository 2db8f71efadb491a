//! A mailbox file that many sessions share, with what is needed to work on it.

use crate::disk::Disk;
use crate::files;
use crate::index::{Found, Indexes, Proof, Stamp, set_times_signed};
use crate::journal::{Places, recover};
use crate::lock::{Mode, NameLock, NameLockError, Wait, lock_file};
use ailurus_store::{Access, Environment, Error, Result};
use std::fs::{File, Metadata};
use std::path::PathBuf;
use std::sync::Arc;

/// An open file of one of the formats whose sessions meet at a lock file in `/tmp`.
pub(crate) struct MailFile {
    /// The name of its format, for errors.
    pub(crate) format: &'static str,
    pub(crate) environment: Arc<Environment>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl MailFile {
    /// Takes the lock under which alone the file is parsed and changed.
    pub(crate) fn lock(&self) -> Result<NameLock> {
        let lock = NameLock::acquire(&self.disk, &self.environment, &self.file, Mode::Exclusive, Wait::Block);
        lock.map_err(|error| match error {
            NameLockError::Held { .. } => Error::InUse { path: self.path.clone() },
            NameLockError::Unavailable(source) => self.io("lock")(source),
        })
    }

    /// Returns where the journal of a rewrite may be.
    pub(crate) fn places(&self) -> Result<Places> {
        Places::of(&self.path, &self.file, &self.environment.home).map_err(self.io("look at"))
    }

    /// Finishes what a session that died while it slid messages left behind. The caller has no flock yet.
    pub(crate) fn recover(&self, _lock: &NameLock) -> Result<()> {
        let places = self.places()?;
        if !places.any() {
            return Ok(());
        }
        // Who only reads has no descriptor to write with.
        let file = files::open(&self.path, Access::ReadWrite).map_err(self.io("repair"))?;
        if !lock_file(&file, Mode::Exclusive, Wait::No).map_err(self.io("lock"))? {
            return Err(Error::InUse { path: self.path.clone() });
        }
        let recovered = recover(&self.disk, &self.environment.notices, &places, &file);
        recovered.map(drop).map_err(|error| self.io("repair")(error.into_io()))
    }

    pub(crate) fn write(&self, octets: &[u8], offset: u64) -> Result<()> {
        self.disk.write_at(&self.file, octets, offset).map_err(self.io("write to"))
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.disk.sync(&self.file).map_err(self.io("sync"))
    }

    pub(crate) fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(self.io("look at"))
    }

    /// Sets the access time to `before` seconds before now and leaves the modification time at `modified`. The
    /// times are of use to others only, so failing does no harm (who does not own the file may not).
    pub(crate) fn touch(&self, before: i64, modified: i64) {
        let now = self.environment.clock.now();
        self.disk.set_times(&self.file, now - before, modified).ok();
    }

    /// Does what [`MailFile::touch`] does, and hands the proof of the state before on.
    pub(crate) fn touch_signed(&self, before: i64, modified: i64, proof: Option<Proof>) -> Option<Proof> {
        let times = (self.environment.clock.now() - before, modified);
        set_times_signed(&*self.disk, &self.environment, &self.file, times, proof)
    }

    /// Returns the indexes of this user's mailboxes of this format; `None` if there are to be none.
    pub(crate) fn indexes(&self) -> Option<Indexes<'_>> {
        Indexes::of(self.format, &self.environment, &self.disk)
    }

    /// Returns the index of the present state.
    pub(crate) fn index(&self, access: Access) -> Option<Found<'_>> {
        self.indexes()?.find(Stamp::of_file(&self.file).ok()?, access)
    }

    /// Removes the index of a mailbox that is deleted now.
    pub(crate) fn forget_index(&self) {
        if let (Some(indexes), Ok(stamp)) = (self.indexes(), Stamp::of_file(&self.file)) {
            indexes.forget(stamp);
        }
    }

    /// Puts the access time back to `accessed`, or to now if that is `None`.
    pub(crate) fn restore_times(&self, accessed: Option<i64>, modified: i64) {
        let accessed = accessed.unwrap_or_else(|| self.environment.clock.now());
        self.disk.set_times(&self.file, accessed, modified).ok();
    }

    /// Tells whether the path still leads to this file, and the file has a name at all.
    pub(crate) fn is_current(&self) -> bool {
        files::leads_to(&self.path, &self.file)
    }

    pub(crate) fn replaced(&self) -> Error {
        let what = "Unexpected changes to mailbox (try restarting): it was replaced".into();
        Error::Lost { path: self.path.clone(), what }
    }

    pub(crate) fn damaged(&self, offset: u64, what: String) -> Error {
        Error::Damaged { format: self.format, path: self.path.clone(), offset, what }
    }

    pub(crate) fn io(&self, op: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(op, self.path.clone())
    }

    pub(crate) fn local_offset(&self) -> i16 {
        self.environment.clock.local_offset()
    }
}
