//! An empty mailbox that becomes the real one when there is one.

use crate::{
    Access, Changes, Edit, Error, Extent, Level, Location, Mailbox, Mailboxes, Manner, MessageNotes, Place,
    Result, Snapshot, Wake,
};
use ailurus_types::{Uid, UidSet};
use std::path::Path;

/// Wraps the mailbox of a driver that only stands in (spec/formats-phile-dummy.md): once another driver claims the
/// location, its mailbox takes the place of the empty one.
///
/// The reference looks once a minute; this looks at every refresh, so that the first mail of a new user is seen at
/// once.
pub(crate) struct StandIn {
    mailbox: Box<dyn Mailbox>,
    waiting: Option<Waiting>,
}

struct Waiting {
    at: Location,
    access: Access,
    mailboxes: Mailboxes,
}

impl StandIn {
    pub(crate) fn new(mailbox: Box<dyn Mailbox>, at: Location, access: Access, mailboxes: Mailboxes) -> Self {
        Self { mailbox, waiting: Some(Waiting { at, access, mailboxes }) }
    }
}

impl Waiting {
    /// Opens the real mailbox if there is one by now. One that cannot be opened is tried again next time.
    fn look(&self) -> Result<Option<Box<dyn Mailbox>>> {
        let driver = match self.mailboxes.claimant(&self.at) {
            Ok(driver) if driver.stands_in() => return Ok(None),
            Ok(driver) => driver,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        driver.open(&self.at, self.access, Manner::Session).map(Some)
    }
}

impl Mailbox for StandIn {
    fn driver(&self) -> &'static str {
        self.mailbox.driver()
    }

    fn path(&self) -> &Path {
        self.mailbox.path()
    }

    fn snapshot(&self) -> &Snapshot {
        self.mailbox.snapshot()
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        self.mailbox.read(uid, extent, from, most, out)
    }

    fn ends_line(&mut self, uid: Uid) -> Result<bool> {
        self.mailbox.ends_line(uid)
    }

    fn envelope_line(&mut self, uid: Uid) -> Result<Option<Vec<u8>>> {
        self.mailbox.envelope_line(uid)
    }

    fn notes(&mut self) -> Option<Box<dyn MessageNotes + '_>> {
        self.mailbox.notes()
    }

    fn refresh(&mut self) -> Result<Changes> {
        let Some(waiting) = &self.waiting else { return self.mailbox.refresh() };
        let real = match waiting.look() {
            Ok(Some(real)) => real,
            Ok(None) => return self.mailbox.refresh(),
            Err(error) => {
                let text = format!("cannot open {} yet: {error}", waiting.at.name);
                waiting.mailboxes.environment().notices.tell(Level::Log, text);
                return self.mailbox.refresh();
            }
        };
        let expunged: UidSet = self.mailbox.snapshot().messages.iter().map(|message| message.uid()).collect();
        let arrived = !real.snapshot().messages.is_empty();
        // The old one held nothing that a close could write.
        self.mailbox = real;
        self.waiting = None;
        Ok(Changes { expunged, arrived, keywords: true, uid_validity: true, ..Changes::default() })
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.mailbox.edit()
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        self.mailbox.checkpoint()
    }

    fn is_dirty(&self) -> bool {
        self.mailbox.is_dirty()
    }

    fn wake(&self) -> Wake {
        let mut wake = self.mailbox.wake();
        if let Some(waiting) = &self.waiting {
            let environment = waiting.mailboxes.environment();
            let path = match &waiting.at.place {
                Place::Path(path) => path,
                Place::Inbox | Place::Special => &environment.spool,
            };
            if !wake.paths.contains(path) {
                wake.paths.push(path.clone());
            }
        }
        wake
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.mailbox.close()
    }
}
