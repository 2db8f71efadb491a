//! What STATUS tells, kept in an index of the user's cache.
//!
//! It follows from the names in the directory and from `.mxindex`, so that it is the same as long as both have the same
//! stamp: whatever comes, goes or is renamed changes that of the directory. What a file holds does not count, and that
//! can change without the directory; so sizes and dates are not kept, and a mailbox that is opened looks at every file. Nor
//! is there an index where a number is a link, or no message.

use super::Mx;
use super::file::{Locked, NAME};
use super::mailbox::MxMailbox;
use crate::index::{Found, Indexes, OWN, Reading, Stamp, Summary, is_local};
use crate::numbered::Folder;
use ailurus_store::{Access, Error, Manner, Result, Status};
use std::fs::File;
use std::path::Path;

/// A mailbox as it was before it was looked at.
pub(super) struct Before {
    folder: Folder,
    directory: Reading,
    index: Reading,
}

impl Before {
    /// Begins to look at a mailbox; `None` where there is to be no index.
    fn begin(driver: &Mx, path: &Path) -> Result<Option<Self>> {
        let locked = Locked::open(&driver.environment, &driver.disk, path)?;
        let folder = Folder::open(path).map_err(Error::io("open", path))?;
        let failed = |error| Error::io("look at", path)(error);
        let directory = Reading::begin(folder.directory()).map_err(failed)?;
        let index = Reading::begin(locked.file()).map_err(failed)?;
        // It can be a link to somewhere else.
        let counts = locked.writable && is_local(locked.file());
        Ok(counts.then_some(Self { folder, directory, index }))
    }
}

impl Mx {
    fn indexes(&self) -> Option<Indexes<'_>> {
        Indexes::of_directories("mx", &self.environment, &self.disk)
    }

    /// Returns what STATUS tells, by the index if there is one of the present state.
    pub(super) fn quick_status(&self, path: &Path) -> Result<Status> {
        let Some(indexes) = self.indexes() else { return Ok(self.read_status(path)?.1) };
        let Some(before) = Before::begin(self, path)? else { return Ok(self.read_status(path)?.1) };
        let found = indexes.find(before.directory.stamp(), Access::ReadOnly);
        if let Some(Found { head, .. }) = found.filter(|found| found.head.own == own(&before.index)) {
            return Ok(head.status());
        }
        let (mailbox, status) = self.read_status(path)?;
        self.keep(&indexes, before, &mailbox);
        Ok(status)
    }

    fn read_status(&self, path: &Path) -> Result<(MxMailbox, Status)> {
        let mailbox = MxMailbox::open(&self.environment, &self.disk, path, Access::ReadOnly, Manner::Silent)?;
        let snapshot = &mailbox.snapshot;
        let status = Status::of(&snapshot.messages, snapshot.uid_next, snapshot.uid_validity);
        Ok((mailbox, status))
    }

    /// Keeps what STATUS tells, if nothing has changed since before the mailbox was looked at.
    fn keep(&self, indexes: &Indexes<'_>, before: Before, mailbox: &MxMailbox) {
        let Before { folder, directory, index } = before;
        let own = own(&index);
        let Ok(file) = File::open(mailbox.folder.path().join(NAME)) else { return };
        // The path must have led to this directory all the time.
        let same = Stamp::of_file(mailbox.folder.directory()).is_ok_and(|now| now == directory.stamp());
        let is_known = mailbox.is_plain && !mailbox.must_scan && same && index.end(&file).is_some();
        let Some(proof) = directory.end(folder.directory()).filter(|_| is_known) else { return };
        let snapshot = &mailbox.snapshot;
        let uid_last = snapshot.uid_next.map_or(u32::MAX, |next| next.get() - 1);
        let (uid_validity, keywords) = (snapshot.uid_validity.get(), &snapshot.keywords);
        let summary = Summary { uid_validity, uid_last, own, keywords, tail: &[] };
        indexes.save_status(proof, folder.directory(), summary, &snapshot.messages);
    }

    /// Removes the index of a mailbox that is deleted now.
    pub(super) fn forget_index(&self, path: &Path) {
        if let (Some(indexes), Ok(found)) = (self.indexes(), path.metadata()) {
            indexes.forget(Stamp::of(&found));
        }
    }
}

fn own(index: &Reading) -> [u64; OWN] {
    let [device, inode, length, modified, changed] = index.stamp().to_words();
    [device, inode, length, modified, changed, 0]
}
