//! An mbx file with what is needed to work on it.

use super::header::{self, Header};
use crate::disk::Disk;
use crate::lock::{Mode, NameLock, NameLockError, Wait};
use ailurus_store::{Environment, Error, Result};
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

/// An open mbx file.
pub(super) struct MbxFile {
    pub(super) environment: Arc<Environment>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl MbxFile {
    /// Takes the lock under which alone the file is parsed and changed.
    pub(super) fn lock(&self) -> Result<NameLock> {
        let lock = NameLock::acquire(&self.disk, &self.environment, &self.file, Mode::Exclusive, Wait::Block);
        lock.map_err(|error| match error {
            NameLockError::Held { .. } => Error::InUse { path: self.path.clone() },
            NameLockError::Unavailable(source) => self.io("lock")(source),
        })
    }

    /// Reads the header.
    pub(super) fn header(&self) -> Result<Header> {
        let mut raw = vec![0; header::SIZE];
        let read = self.file.read_exact_at(&mut raw, 0);
        read.map_err(self.io("read the header of"))?;
        Header::parse(&raw).ok_or_else(|| self.damaged(0, "mailbox has no mbx header".into()))
    }

    /// Writes the whole header.
    pub(super) fn write_header(&self, header: &mut Header) -> Result<()> {
        self.disk.write_at(&self.file, header.encode(), 0).map_err(self.io("write the header of"))
    }

    pub(super) fn write(&self, octets: &[u8], offset: u64) -> Result<()> {
        self.disk.write_at(&self.file, octets, offset).map_err(self.io("write to"))
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.disk.sync(&self.file).map_err(self.io("sync"))
    }

    pub(super) fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(self.io("look at"))
    }

    /// Sets the access time to `before` seconds before now and leaves the modification time at `modified`. The
    /// times are of use to others only, so failing does no harm (who does not own the file may not).
    pub(super) fn touch(&self, before: i64, modified: i64) {
        let now = self.environment.clock.now();
        self.disk.set_times(&self.file, now - before, modified).ok();
    }

    /// Puts the access time back to `accessed`, or to now if that is `None`.
    pub(super) fn restore_times(&self, accessed: Option<i64>, modified: i64) {
        let accessed = accessed.unwrap_or_else(|| self.environment.clock.now());
        self.disk.set_times(&self.file, accessed, modified).ok();
    }

    /// Tells whether the path still leads to this file, and the file has a name at all.
    pub(super) fn is_current(&self) -> bool {
        let (Ok(named), Ok(ours)) = (self.path.metadata(), self.file.metadata()) else { return false };
        (named.dev(), named.ino()) == (ours.dev(), ours.ino())
    }

    pub(super) fn replaced(&self) -> Error {
        let what = "Unexpected changes to mailbox (try restarting): it was replaced".into();
        Error::Lost { path: self.path.clone(), what }
    }

    pub(super) fn damaged(&self, offset: u64, what: String) -> Error {
        Error::Damaged { format: "mbx", path: self.path.clone(), offset, what }
    }

    pub(super) fn io(&self, op: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(op, self.path.clone())
    }

    pub(super) fn local_offset(&self) -> i16 {
        self.environment.clock.local_offset()
    }
}
