//! New messages in a mailbox.

use super::Mx;
use super::file::Locked;
use super::index::{Head, Index, SLOTS};
use crate::files;
use crate::numbered::{Incoming, Written};
use crate::size_check::SizeCheck;
use ailurus_store::{Append, AppendMeta, Appended, Error, Level, Location, Result};
use ailurus_types::{Flags, KeywordMask, Keywords, Uid, UidValidity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages on their way into a mailbox.
pub(super) struct MxAppend<'d> {
    driver: &'d Mx,
    at: Location,
    path: PathBuf,
    incoming: Incoming,
    messages: Vec<(AppendMeta, Written)>,
    sizes: SizeCheck,
    /// What is being written, or was written last.
    current: AppendMeta,
}

/// What the index says of messages that are about to come.
struct Announced {
    /// Their UIDs and flags, if nobody else puts files there.
    planned: Vec<(u32, Flags)>,
    validity: u32,
    /// What the index was, where it is easily made that again.
    before: Option<Head>,
}

impl<'d> MxAppend<'d> {
    pub(super) fn new(driver: &'d Mx, at: &Location, path: &Path) -> Self {
        let (mode, _) = driver.environment.modes(&at.name);
        let incoming = Incoming::new(Arc::clone(&driver.disk), path, mode);
        let (sizes, current) = (SizeCheck::default(), AppendMeta::default());
        let (at, path) = (at.clone(), path.into());
        Self { driver, at, path, incoming, messages: Vec::new(), sizes, current }
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |error| Error::io("append to", &path)(error)
    }

    /// Returns the flags of the messages. New keywords are made while there is room.
    fn flags(&self, keywords: &mut Keywords) -> Vec<Flags> {
        let mut all = Vec::with_capacity(self.messages.len());
        for (meta, _) in &self.messages {
            let mut flags = Flags { system: meta.system, keywords: KeywordMask::NONE };
            for keyword in &meta.keywords {
                match keywords.find_or_add(keyword, SLOTS) {
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

    fn knows_keywords(&self, keywords: &Keywords) -> bool {
        let mut all = self.messages.iter().flat_map(|(meta, _)| &meta.keywords);
        all.all(|keyword| keywords.find(keyword.as_str()).is_some())
    }

    /// Returns the UIDs that the messages are to have, with their flags.
    fn plan(&self, last: u32, flags: Vec<Flags>) -> Result<Vec<(u32, Flags)>> {
        let count = u32::try_from(flags.len()).unwrap_or(u32::MAX);
        let end = last.checked_add(count).filter(|_| count > 0);
        let end = end.ok_or_else(|| Error::Refused("no UID is left in this mailbox".into()))?;
        Ok((last + 1..=end).zip(flags).collect())
    }

    /// Writes the messages into the index, which costs the same for a mailbox of any size where nothing stands against it.
    fn announce(&self, locked: &Locked) -> Result<Announced> {
        let head = locked.head()?.filter(|head| head.validity != 0 && self.knows_keywords(&head.keywords));
        if let Some(mut head) = head {
            let planned = self.plan(head.last, self.flags(&mut head.keywords))?;
            locked.append(&*self.driver.disk, &head, &planned)?;
            return Ok(Announced { planned, validity: head.validity, before: Some(head) });
        }
        let mut index = self.driver.true_index(locked, &self.path)?;
        let flags = self.flags(&mut index.keywords);
        let planned = self.plan(index.last, flags)?;
        index.last = planned.last().map_or(index.last, |(uid, _)| *uid);
        self.write(locked, &index, &planned)?;
        Ok(Announced { planned, validity: index.validity, before: None })
    }

    /// Writes the UIDs that the messages got instead of the planned ones.
    fn correct(&self, locked: &Locked, planned: &[(u32, Flags)], given: &[(u32, Flags)]) -> Result<()> {
        let mut index = self.driver.true_index(locked, &self.path)?;
        // They are one range, above all that was there.
        let first = planned.first().map_or(0, |(uid, _)| *uid);
        index.messages.retain(|(uid, _)| *uid < first);
        self.write(locked, &index, given)
    }

    fn write(&self, locked: &Locked, index: &Index, new: &[(u32, Flags)]) -> Result<()> {
        let mut messages: Vec<_> = index.messages.iter().chain(new).copied().collect();
        messages.sort_unstable_by_key(|(uid, _)| *uid);
        locked.write(&self.driver.disk, index, messages.into_iter())
    }
}

impl Append for MxAppend<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        self.sizes.begin(meta.size)?;
        self.incoming.begin().map_err(files::failure("append to", &self.at, &self.path))?;
        self.current = meta;
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.sizes.count(octets)?;
        self.incoming.write(octets).map_err(self.failed())
    }

    fn end(&mut self) -> Result<()> {
        self.sizes.check_whole()?;
        let now = self.driver.environment.clock.now();
        let modified = self.current.internal_date.map_or(now, |date| date.timestamp());
        let written = self.incoming.end(now, modified).map_err(self.failed())?;
        self.messages.push((std::mem::take(&mut self.current), written));
        self.sizes.end()
    }

    /// The index goes first: the reference could not append to a mailbox with a message beyond UIDLAST. Records of
    /// messages that do not come are dropped by whoever writes it as a whole next.
    fn commit(mut self: Box<Self>) -> Result<Appended> {
        self.sizes.check_ended()?;
        if self.messages.is_empty() {
            return Ok(Appended::default());
        }
        let locked = Locked::open(&self.driver.environment, &self.driver.disk, &self.path)?;
        if !locked.writable {
            return Err(Error::ReadOnly { path: self.path });
        }
        let Announced { planned, validity, before } = self.announce(&locked)?;
        let failed = self.failed();
        let empty = Incoming::new(Arc::clone(&self.driver.disk), &self.path, 0);
        let incoming = std::mem::replace(&mut self.incoming, empty);
        let first = planned.first().map_or(1, |(uid, _)| *uid);
        let delivered = incoming.commit(first).map_err(failed).inspect_err(|_| {
            // Their UIDs stay unused.
            before.iter().for_each(|head| locked.cut(&*self.driver.disk, head));
        })?;
        let numbers = delivered.numbers().to_vec();
        let given: Vec<_> = numbers.iter().copied().zip(planned.iter().map(|(_, flags)| *flags)).collect();
        if given != planned {
            // Another program has put files there.
            if let Err(error) = self.correct(&locked, &planned, &given) {
                delivered.take_back();
                return Err(error);
            }
        }
        let uids = numbers.into_iter().filter_map(Uid::new).collect();
        Ok(Appended { uids: Some((UidValidity::new(validity).unwrap_or(UidValidity::MIN), uids)) })
    }
}
