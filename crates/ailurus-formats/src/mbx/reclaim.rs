//! Taking expunged messages out of the file.

use super::header::SIZE;
use super::mailbox::{MbxMailbox, Spot};
use crate::journal::Places;
use crate::lock::{Mode, NameLock, Wait, lock_file};
use crate::rewrite::{Rewrite, RewriteError};
use ailurus_store::{Level, Result};
use ailurus_types::UidSet;

impl MbxMailbox {
    /// Slides messages down over holes and the messages in `gone`, if no other session has the mailbox open and
    /// there is room for the journal. Tells whether it did; then these messages are gone from the snapshot too.
    pub(super) fn reclaim(&mut self, _lock: &NameLock, gone: &UidSet) -> Result<bool> {
        if !self.snapshot.writable || self.file.metadata()?.len() != self.end {
            return Ok(false);
        }
        let alone = lock_file(&self.file.file, Mode::Exclusive, Wait::No).map_err(self.file.io("lock"))?;
        let outcome = if alone { self.slide(gone) } else { Ok(false) };
        // The shared lock was let go even if there was no exclusive one.
        lock_file(&self.file.file, Mode::Shared, Wait::Block).map_err(self.file.io("lock"))?;
        if outcome? {
            self.settle_times()?;
            return Ok(true);
        }
        Ok(false)
    }

    fn slide(&mut self, gone: &UidSet) -> Result<bool> {
        let end = match self.rewrite(gone) {
            Ok(end) => end,
            Err(RewriteError::Unchanged(error)) => {
                let text = format!("{}: space cannot be reclaimed: {error}", self.file.path.display());
                self.file.environment.notices.tell(Level::Log, text);
                return Ok(false);
            }
            Err(RewriteError::Interrupted(error)) => {
                // Nobody knows where messages are now, until the journal is worked off.
                self.lost = true;
                return Err(self.file.io("rewrite")(error));
            }
        };
        let reclaimed = self.end - end;
        self.drop_hidden(gone);
        let mut offset = SIZE as u64;
        for spot in &mut self.spots {
            let length = spot.end() - spot.offset;
            spot.offset = offset;
            offset += length;
        }
        self.end = end;
        self.holes = false;
        self.forget_ahead();
        if gone.is_empty() {
            let text = format!("Reclaimed {reclaimed} bytes of expunged space");
            self.file.environment.notices.tell(Level::Info, text);
        }
        Ok(true)
    }

    /// Returns the new size of the file.
    fn rewrite(&self, gone: &UidSet) -> Result<u64, RewriteError> {
        let file = &self.file;
        let places = Places::of(&file.path, &file.file, &file.environment.home);
        let places = places.map_err(RewriteError::Unchanged)?;
        let mut rewrite = Rewrite::begin(&file.disk, &places, &file.file)?;
        let mut kept = 0..SIZE as u64;
        for (spot, message) in self.spots.iter().zip(&self.snapshot.messages) {
            let Spot { offset, .. } = *spot;
            if spot.hidden || gone.contains(message.uid()) {
                continue;
            }
            if offset != kept.end {
                rewrite.copy(kept)?;
                kept = offset..offset;
            }
            kept.end = spot.end();
        }
        rewrite.copy(kept)?;
        let end = rewrite.position();
        rewrite.finish()?;
        Ok(end)
    }
}
