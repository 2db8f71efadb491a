//! Taking expunged messages out of the file.

use super::ledger::Held;
use super::mailbox::MtxMailbox;
use super::parse::uids_in;
use crate::lock::{Mode, Wait, lock_file};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Error, Result};
use ailurus_types::{Uid, UidSet};

impl MtxMailbox {
    /// Takes the exclusive flock of the file, under the lock of the mailbox: only who has it may move messages.
    pub(super) fn be_alone(&self) -> Result<()> {
        if lock_file(&self.file.file, Mode::Exclusive, Wait::No).map_err(self.file.io("lock"))? {
            return Ok(());
        }
        // The shared lock was let go even so.
        self.share()?;
        Err(Error::InUse { path: self.file.path.clone() })
    }

    /// Goes back to the shared flock.
    pub(super) fn share(&self) -> Result<()> {
        lock_file(&self.file.file, Mode::Shared, Wait::Block).map(drop).map_err(self.file.io("lock"))
    }

    /// Slides messages down over those in `gone`, all of which are there, and forgets them.
    pub(super) fn slide(&mut self, held: &Held, gone: &UidSet) -> Result<()> {
        let size = self.file.metadata()?.len();
        if size != self.end {
            // An unfinished append that could not be taken away.
            return Err(self.file.damaged(self.end, "something is behind the last message".into()));
        }
        if let Err(error) = self.rewrite(gone) {
            // Nobody knows where messages are now, until the journal is worked off.
            self.lost = matches!(error, RewriteError::Interrupted(_));
            return Err(self.file.io("rewrite")(error.into_io()));
        }
        let (mut kept, mut offset) = (0, 0);
        for index in 0..self.spots.len() {
            let (mut spot, message) = (self.spots[index], self.snapshot.messages[index]);
            if gone.contains(message.uid()) {
                self.pending.expunged.insert(message.uid());
                continue;
            }
            let length = spot.end() - spot.offset;
            spot.offset = offset;
            offset += length;
            (self.spots[kept], self.snapshot.messages[kept]) = (spot, message);
            kept += 1;
        }
        self.spots.truncate(kept);
        self.snapshot.messages.truncate(kept);
        // Flags of what is gone are no news.
        let left = |uid: &Uid| !gone.contains(*uid);
        let flags = std::mem::take(&mut self.pending.flags);
        self.pending.flags = uids_in(&flags).filter(left).collect();
        self.end = offset;
        self.forget_ahead();
        self.note_end();
        // Whoever reads a sidecar that does not know of this finds it out by what is in the file.
        if let Err(error) = self.append_to_ledger(held, gone, usize::MAX) {
            self.ledger.give_up(&self.file, &error);
        }
        Ok(())
    }

    fn rewrite(&self, gone: &UidSet) -> Result<(), RewriteError> {
        let file = &self.file;
        let places = file.places().map_err(|error| RewriteError::Unchanged(std::io::Error::other(error)))?;
        let mut rewrite = Rewrite::begin(&file.disk, &places, &file.file)?;
        for (spot, message) in self.spots.iter().zip(&self.snapshot.messages) {
            if !gone.contains(message.uid()) {
                rewrite.copy(spot.offset..spot.end())?;
            }
        }
        rewrite.finish()
    }
}
