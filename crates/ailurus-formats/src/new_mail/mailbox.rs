//! An INBOX that new mail is moved to.

use super::transfer::{Outcome, Transfer};
use super::{NewMail, note};
use crate::files::may_not_write;
use crate::unix::SpoolState;
use ailurus_store::{
    Changes, Driver, Edit, Error, Extent, Level, Location, Mailbox, MessageNotes, Result, Snapshot, Wake,
};
use ailurus_types::Uid;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a lock of the spool is waited for: a delivery takes no longer.
const PATIENCE: Duration = Duration::from_millis(200);
/// After how many seconds a move is tried again that failed.
const TRY_AGAIN: i64 = 60;

/// Wraps the mailbox of INBOX.
pub(super) struct Inbox {
    inner: Box<dyn Mailbox>,
    mover: Arc<NewMail>,
    driver: Arc<dyn Driver>,
    at: Location,
    // The spool as it was when it was looked into last.
    seen: Option<SpoolState>,
    is_busy: bool,
    failed_at: Option<i64>,
    told: String,
    pending: Changes,
}

impl Inbox {
    /// Wraps a mailbox that was just opened, and moves what is there to be moved.
    pub(super) fn open(
        inner: Box<dyn Mailbox>,
        mover: Arc<NewMail>,
        driver: Arc<dyn Driver>,
        at: Location,
    ) -> Result<Self> {
        let mut inbox = Self {
            inner,
            mover,
            driver,
            at,
            seen: None,
            is_busy: false,
            failed_at: None,
            told: String::new(),
            pending: Changes::default(),
        };
        let note = note::path_in(&inbox.mover.environment.mailbox_dir);
        let now = SpoolState::at(&inbox.mover.environment.spool);
        if now.is_some_and(|spool| spool.length > 0 || note.exists()) {
            inbox.fetch(now)?;
        }
        inbox.seen = inbox.seen.or(now);
        // All that is in the snapshot with which the session begins.
        inbox.pending = Changes::default();
        Ok(inbox)
    }

    /// Moves new mail if there may be some.
    fn look(&mut self) -> Result<()> {
        let now = SpoolState::at(&self.mover.environment.spool);
        let is_there = now.is_some_and(|spool| spool.length > 0);
        let time = self.mover.environment.clock.now();
        let is_due = self.is_busy || self.failed_at.is_some_and(|failed| time >= failed + TRY_AGAIN);
        if is_there && (now != self.seen || is_due) {
            return self.fetch(now);
        }
        Ok(())
    }

    fn fetch(&mut self, now: Option<SpoolState>) -> Result<()> {
        if !self.inner.snapshot().writable {
            return Ok(());
        }
        // Who has the spool for long is not waited for at each refresh.
        let patience = if self.is_busy && now == self.seen { Duration::ZERO } else { PATIENCE };
        let (mover, driver, at) = (&*self.mover, &*self.driver, &self.at);
        let transfer = Transfer { mover, driver, at, patience };
        let outcome = transfer.run(self.inner.as_mut(), &mut self.pending);
        (self.is_busy, self.failed_at, self.seen) = (false, None, now);
        match outcome {
            Ok(Outcome::Busy) => self.is_busy = true,
            Ok(Outcome::Nothing(state)) => self.seen = state.or(now),
            Ok(Outcome::Moved(state)) => {
                self.seen = Some(state);
                self.told.clear();
                self.pending.add(&self.inner.refresh()?);
            }
            Err(error) => {
                self.failed_at = Some(self.mover.environment.clock.now());
                self.tell(&error);
                // Some may have arrived all the same.
                self.pending.add(&self.inner.refresh()?);
            }
        }
        Ok(())
    }

    /// Says once why mail is not moved.
    fn tell(&mut self, error: &Error) {
        let text = match error {
            Error::Io { source, .. } => format!("New mail move failed: {source}"),
            Error::Refused(why) | Error::Lost { what: why, .. } => why.clone(),
            _ => "New mail move failed".into(),
        };
        if text != self.told {
            let notices = &self.mover.environment.notices;
            notices.tell(Level::Log, format!("New mail move failed: {error}"));
            // A spool that is not the user's to write is the administrator's matter.
            let denied = matches!(error, Error::Io { source, .. } if may_not_write(source));
            if !denied {
                notices.tell(Level::Warning, text.clone());
            }
            self.told = text;
        }
    }
}

impl Mailbox for Inbox {
    fn driver(&self) -> &'static str {
        self.driver.name()
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn snapshot(&self) -> &Snapshot {
        self.inner.snapshot()
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        self.inner.read(uid, extent, from, most, out)
    }

    fn ends_line(&mut self, uid: Uid) -> Result<bool> {
        self.inner.ends_line(uid)
    }

    fn envelope_line(&mut self, uid: Uid) -> Result<Option<Vec<u8>>> {
        self.inner.envelope_line(uid)
    }

    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        self.inner.notes()
    }

    fn refresh(&mut self) -> Result<Changes> {
        self.pending.add(&self.inner.refresh()?);
        self.look()?;
        Ok(std::mem::take(&mut self.pending))
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.inner.edit()
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        self.inner.checkpoint()
    }

    fn is_dirty(&self) -> bool {
        self.inner.is_dirty()
    }

    /// The spool is watched too, and its lock while that is why mail waits.
    fn wake(&self) -> Wake {
        let mut wake = self.inner.wake();
        let spool = &self.mover.environment.spool;
        wake.paths.push(spool.clone());
        if self.is_busy {
            let mut lock = spool.clone().into_os_string();
            lock.push(".lock");
            wake.paths.push(lock.into());
        }
        wake
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.inner.close()
    }
}
