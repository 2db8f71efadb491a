//! New messages in a mailbox.

use super::Mx;
use super::file::Locked;
use super::index::{Index, SLOTS};
use crate::files;
use crate::numbered::{Folder, Incoming, Written, remove};
use ailurus_store::{Append, AppendMeta, Appended, Error, Level, Location, Result};
use ailurus_types::{Flags, KeywordMask, Uid, UidValidity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages on their way into a mailbox.
pub(super) struct MxAppend<'d> {
    driver: &'d Mx,
    at: Location,
    path: PathBuf,
    incoming: Incoming,
    messages: Vec<(AppendMeta, Written)>,
    /// The message being written, and how many octets of it are missing.
    current: Option<(AppendMeta, u64)>,
}

impl<'d> MxAppend<'d> {
    pub(super) fn new(driver: &'d Mx, at: &Location, path: &Path) -> Self {
        let (mode, _) = driver.environment.modes(&at.name);
        let incoming = Incoming::new(Arc::clone(&driver.disk), path, mode);
        Self { driver, at: at.clone(), path: path.into(), incoming, messages: Vec::new(), current: None }
    }

    fn wrong_size() -> Error {
        Error::Refused("message does not have the size it was announced with".into())
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |error| Error::io("append to", &path)(error)
    }

    /// Returns the flags of the messages; new keywords are made while there is room.
    fn flags(&self, index: &mut Index) -> Vec<Flags> {
        let mut all = Vec::with_capacity(self.messages.len());
        for (meta, _) in &self.messages {
            let mut flags = Flags { system: meta.system, keywords: KeywordMask::NONE };
            for keyword in &meta.keywords {
                match index.keywords.find_or_add(keyword, SLOTS) {
                    Ok(slot) => flags.keywords = flags.keywords.union(KeywordMask::slot(slot)),
                    Err(_) => {
                        let text = format!("Unknown flag: {keyword}");
                        self.driver.environment.notices.tell(Level::Warning, text);
                    }
                }
            }
            all.push(flags);
        }
        all
    }

    /// Removes messages that nobody was told of.
    fn take_back(&self, numbers: &[u32]) {
        let Ok(folder) = Folder::open(&self.path) else { return };
        for (number, (_, written)) in numbers.iter().zip(&self.messages) {
            remove(&*self.driver.disk, &folder, *number, &written.id).ok();
        }
    }

    fn write(&self, locked: &Locked, index: &Index, new: &[(u32, Flags)]) -> Result<()> {
        let messages = index.messages.iter().chain(new).copied();
        locked.write(&self.driver.disk, index, messages)
    }
}

impl Append for MxAppend<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        if meta.size == 0 {
            return Err(Error::Refused("Append of zero-length message".into()));
        }
        if self.current.is_some() {
            return Err(Self::wrong_size());
        }
        self.incoming.begin().map_err(files::failure("append to", &self.at, &self.path))?;
        let missing = meta.size;
        self.current = Some((meta, missing));
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        let Some((_, missing)) = &mut self.current else {
            return Err(Error::Refused("no message was begun".into()));
        };
        *missing = missing.checked_sub(octets.len() as u64).ok_or_else(Self::wrong_size)?;
        self.incoming.write(octets).map_err(self.failed())
    }

    fn end(&mut self) -> Result<()> {
        // One that is too short stays: there is no commit then.
        let Some((meta, _)) = self.current.take_if(|(_, missing)| *missing == 0) else {
            return Err(Self::wrong_size());
        };
        let now = self.driver.environment.clock.now();
        let modified = meta.internal_date.map_or(now, |date| date.timestamp());
        let written = self.incoming.end(now, modified).map_err(self.failed())?;
        self.messages.push((meta, written));
        Ok(())
    }

    /// The index goes first: the reference could not append to a mailbox with a message beyond UIDLAST. Records of
    /// messages that do not come are dropped by whoever writes next.
    fn commit(mut self: Box<Self>) -> Result<Appended> {
        if self.current.is_some() {
            return Err(Self::wrong_size());
        }
        if self.messages.is_empty() {
            return Ok(Appended::default());
        }
        let (locked, mut index) = self.driver.ready(&self.path)?;
        let flags = self.flags(&mut index);
        let count = u32::try_from(flags.len()).unwrap_or(u32::MAX);
        let first = index.last.checked_add(1);
        let last = index.last.checked_add(count);
        let Some((first, last)) = first.zip(last) else {
            return Err(Error::Refused("no UID is left in this mailbox".into()));
        };
        index.last = last;
        let planned: Vec<_> = (first..=last).zip(flags.iter().copied()).collect();
        self.write(&locked, &index, &planned)?;
        let failed = self.failed();
        let empty = Incoming::new(Arc::clone(&self.driver.disk), &self.path, 0);
        let incoming = std::mem::replace(&mut self.incoming, empty);
        let numbers = match incoming.commit(first) {
            Ok(numbers) => numbers,
            Err(error) => {
                // Their UIDs stay unused.
                self.write(&locked, &index, &[]).ok();
                return Err(failed(error));
            }
        };
        let given: Vec<_> = numbers.iter().copied().zip(flags).collect();
        if given != planned {
            // Another program has put files there just now.
            index.last = numbers.last().map_or(last, |number| last.max(*number));
            if let Err(error) = self.write(&locked, &index, &given) {
                self.take_back(&numbers);
                return Err(error);
            }
        }
        let uids = numbers.into_iter().filter_map(Uid::new).collect();
        Ok(Appended { uids: Some((UidValidity::new(index.validity).unwrap_or(UidValidity::MIN), uids)) })
    }
}
