//! A driver that keeps its mailboxes in memory, for tests of what is above drivers.
//!
//! Clones share their mailboxes. The methods of [`Memory`] itself are "another session": what they do shows up in
//! open mailboxes at the next refresh or edit. Faults are made with [`Memory::fail_next`].

use crate::{
    Abilities, Access, Append, AppendMeta, Appended, Attributes, Changes, Claim, Clock, Driver, Edit,
    Environment, Error, Extent, ListQuery, Listed, Location, Mailbox, Mailboxes, Manner, MessageInfo,
    PermanentFlags, Place, Rejection, Result, Snapshot, Status, Wake,
};
use ailurus_types::{
    FlagChange, Flags, InternalDate, Keyword, KeywordMask, Keywords, MailboxName, SystemFlags, Uid, UidSet,
    UidValidity,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Mailboxes in memory, as a driver and as the hand of another session.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<State>>);

/// Where [`Memory::fail_next`] fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// [`Driver::probe`]
    Probe,
    /// [`Driver::open`]
    Open,
    /// [`Mailbox::read`]
    Read,
    /// [`Mailbox::refresh`]
    Refresh,
    /// [`Mailbox::edit`]
    Edit,
    /// [`Edit::commit`]
    Commit,
    /// [`Append::write`]
    AppendWrite,
    /// [`Append::commit`]
    AppendCommit,
}

#[derive(Debug, Default)]
struct State {
    mailboxes: BTreeMap<MailboxName, Stored>,
    faults: Vec<(Step, io::ErrorKind)>,
    last_validity: u32,
}

#[derive(Clone, Debug)]
struct Stored {
    uid_validity: UidValidity,
    uid_next: Option<Uid>,
    /// The largest UID that some session was told of.
    told: u32,
    keywords: Keywords,
    messages: Vec<Stamped>,
    read_only: bool,
    busy: bool,
}

#[derive(Clone, Debug)]
struct Stamped {
    info: MessageInfo,
    octets: Arc<[u8]>,
}

const KEYWORDS: usize = 30;

/// The internal date of messages that come without one.
fn date() -> InternalDate {
    InternalDate::from_timestamp(StillClock.now(), 0)
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// Returns a driver with an empty INBOX.
    #[must_use]
    pub fn new() -> Self {
        let memory = Self(Arc::default());
        memory.make(&MailboxName::inbox());
        memory
    }

    /// Returns the mailboxes of a user `fred` who has nothing but these; there is no file and no directory.
    #[must_use]
    pub fn mailboxes(&self) -> Mailboxes {
        let nowhere = Path::new("/nonexistent");
        let mut environment =
            Environment::new("fred", nowhere.join("fred"), nowhere.join("spool/fred"), "host.example");
        environment.create_format = "memory";
        environment.empty_format = Some("memory");
        environment.clock = Arc::new(StillClock);
        Mailboxes::new(Arc::new(environment), vec![Arc::new(self.clone())])
    }

    /// Makes an empty mailbox, unless it is there.
    pub fn make(&self, name: &MailboxName) {
        let mut state = self.state();
        let fresh = state.fresh();
        state.mailboxes.entry(key(name)).or_insert(fresh);
    }

    /// Delivers a message in CRLF form, without flags, and returns its UID. The mailbox is made if need be.
    pub fn deliver(&self, name: &MailboxName, octets: &[u8]) -> Uid {
        self.make(name);
        let mut state = self.state();
        let stored = state.mailboxes.get_mut(&key(name)).expect("it was just made");
        stored.add(octets.into(), Flags::default(), date()).expect("tests do not use up UIDs")
    }

    /// Expunges messages.
    pub fn expunge(&self, name: &MailboxName, uids: &UidSet) {
        self.change(name, |stored| stored.messages.retain(|message| !uids.contains(message.info.uid())));
    }

    /// Sets the flags of a message; keywords by slot (see [`Memory::add_keyword`]).
    pub fn set_flags(&self, name: &MailboxName, uid: Uid, flags: Flags) {
        self.change(name, |stored| {
            for message in stored.messages.iter_mut().filter(|message| message.info.uid() == uid) {
                message.info.set_flags(flags);
            }
        });
    }

    /// Makes a keyword known to the mailbox, and returns its mask.
    pub fn add_keyword(&self, name: &MailboxName, keyword: &Keyword) -> KeywordMask {
        let mut mask = KeywordMask::NONE;
        self.change(name, |stored| {
            mask = stored.keywords.find_or_add(keyword, KEYWORDS).map(KeywordMask::slot).unwrap_or_default();
        });
        mask
    }

    /// Gives the mailbox a new UID validity value and its messages new UIDs from 1 on.
    pub fn restart_uids(&self, name: &MailboxName) {
        let validity = self.state().next_validity();
        self.change(name, |stored| {
            stored.uid_validity = validity;
            (stored.uid_next, stored.told) = (Some(Uid::MIN), 0);
            for message in &mut stored.messages {
                let uid = stored.uid_next.expect("tests do not use up UIDs");
                message.info.set_uid(uid);
                stored.uid_next = uid.next();
            }
        });
    }

    /// Makes the mailbox read-only, or not; open sessions see it at the next refresh.
    pub fn set_read_only(&self, name: &MailboxName, read_only: bool) {
        self.change(name, |stored| stored.read_only = read_only);
    }

    /// Makes the next call of that kind fail with [`Error::Io`] of this kind. Faults queue up.
    pub fn fail_next(&self, step: Step, kind: io::ErrorKind) {
        self.state().faults.push((step, kind));
    }

    /// Returns all messages of a mailbox with their flags.
    #[must_use]
    pub fn messages(&self, name: &MailboxName) -> Vec<(MessageInfo, Vec<u8>)> {
        let state = self.state();
        let stored = state.mailboxes.get(&key(name));
        let messages = stored.map(|stored| stored.messages.as_slice()).unwrap_or_default();
        messages.iter().map(|message| (message.info, message.octets.to_vec())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: &MailboxName, change: impl FnOnce(&mut Stored)) {
        if let Some(stored) = self.state().mailboxes.get_mut(&key(name)) {
            change(stored);
        }
    }

    fn fault(&self, step: Step) -> Result<()> {
        let mut state = self.state();
        match state.faults.iter().position(|(at, _)| *at == step) {
            Some(position) => {
                let (_, kind) = state.faults.remove(position);
                Err(Error::io("try", Path::new("memory"))(kind.into()))
            }
            None => Ok(()),
        }
    }

    fn stored(&self, name: &MailboxName) -> Result<Stored> {
        self.state().mailboxes.get(&key(name)).cloned().ok_or_else(|| Error::NotFound(name.clone()))
    }
}

/// A time that stands still.
#[derive(Clone, Copy, Debug, Default)]
pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> i64 {
        1_704_067_200
    }

    fn local_offset(&self) -> i16 {
        0
    }
}

/// Two spellings are one mailbox: `~/x` is `x`, and INBOX has any letter case.
fn key(name: &MailboxName) -> MailboxName {
    if name.is_inbox() {
        return MailboxName::inbox();
    }
    MailboxName::new(name.as_bytes().strip_prefix(b"~/").unwrap_or(name.as_bytes()))
}

impl State {
    fn next_validity(&mut self) -> UidValidity {
        self.last_validity += 1;
        UidValidity::new(self.last_validity).expect("it was just incremented")
    }

    fn fresh(&mut self) -> Stored {
        Stored {
            uid_validity: self.next_validity(),
            uid_next: Some(Uid::MIN),
            told: 0,
            keywords: Keywords::default(),
            messages: Vec::new(),
            read_only: false,
            busy: false,
        }
    }
}

impl Stored {
    fn add(&mut self, octets: Arc<[u8]>, flags: Flags, date: InternalDate) -> Result<Uid> {
        let uid = self.uid_next.ok_or_else(|| Error::Refused("UIDs are used up".into()))?;
        self.uid_next = uid.next();
        let info = MessageInfo::new(uid, flags, date, octets.len() as u64);
        self.messages.push(Stamped { info, octets });
        Ok(uid)
    }

    /// Returns what a session sees that saw `before` last, and lets it have the messages that nobody was told of.
    fn snapshot(&mut self, before: Option<&Snapshot>, access: Access) -> Snapshot {
        let same = before.filter(|before| before.uid_validity == self.uid_validity);
        let writable = access == Access::ReadWrite && !self.read_only;
        let told = self.told;
        let recent = |info: &MessageInfo| {
            let known = same.and_then(|before| before.message(info.uid()));
            known.map_or(info.uid().get() > told, MessageInfo::is_recent)
        };
        let messages = self.messages.iter().map(|message| {
            let mut info = message.info;
            info.set_recent(recent(&info));
            info
        });
        let messages = messages.collect();
        if writable {
            self.told = self.messages.last().map_or(told, |last| last.info.uid().get());
        }
        let stays = if writable { SystemFlags::ALL } else { SystemFlags::NONE };
        let new_keywords = writable && self.keywords.len() < KEYWORDS;
        Snapshot {
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            keywords: self.keywords.clone(),
            permanent: PermanentFlags { system: stays, keywords: writable, new_keywords },
            writable,
            sticky_uids: true,
            messages,
        }
    }
}

/// Returns what is different between two snapshots.
fn changes(before: &Snapshot, now: &Snapshot) -> Changes {
    let uid_validity = before.uid_validity != now.uid_validity;
    let known = |message: &MessageInfo| if uid_validity { None } else { before.message(message.uid()) };
    let kept = |message: &&MessageInfo| !uid_validity && now.message(message.uid()).is_some();
    let changed =
        |message: &&MessageInfo| known(message).is_some_and(|known| known.flags() != message.flags());
    Changes {
        expunged: before.messages.iter().filter(|message| !kept(message)).map(MessageInfo::uid).collect(),
        flags: now.messages.iter().filter(changed).map(MessageInfo::uid).collect(),
        arrived: now.messages.iter().any(|message| known(message).is_none()),
        keywords: before.keywords != now.keywords,
        uid_validity,
    }
}

impl Driver for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            keywords: KEYWORDS,
            shared_access: true,
            shared_expunge: true,
            crlf: true,
            creatable: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        self.fault(Step::Probe)?;
        let there = self.state().mailboxes.contains_key(&key(&at.name));
        Ok(match (there, &at.place) {
            (true, _) => Claim::Valid,
            (false, Place::Inbox) => Claim::Empty,
            (false, _) => Claim::No(Rejection::Missing),
        })
    }

    fn create(&self, at: &Location) -> Result<()> {
        let mut state = self.state();
        let fresh = state.fresh();
        match state.mailboxes.insert(key(&at.name), fresh) {
            None => Ok(()),
            Some(old) => {
                state.mailboxes.insert(key(&at.name), old);
                Err(Error::AlreadyExists(at.name.clone()))
            }
        }
    }

    fn delete(&self, at: &Location) -> Result<()> {
        let deleted = self.state().mailboxes.remove(&key(&at.name));
        deleted.map(drop).ok_or_else(|| Error::NotFound(at.name.clone()))
    }

    fn rename(&self, from: &Location, to: &Location) -> Result<()> {
        let mut state = self.state();
        let moved =
            state.mailboxes.remove(&key(&from.name)).ok_or_else(|| Error::NotFound(from.name.clone()))?;
        state.mailboxes.insert(key(&to.name), moved);
        if from.name.is_inbox() {
            let fresh = state.fresh();
            state.mailboxes.insert(MailboxName::inbox(), fresh);
        }
        Ok(())
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let stored = self.stored(&at.name)?;
        let mut messages: Vec<_> = stored.messages.iter().map(|message| message.info).collect();
        for message in &mut messages {
            message.set_recent(message.uid().get() > stored.told);
        }
        Ok(Status::of(&messages, stored.uid_next, stored.uid_validity))
    }

    fn open(&self, at: &Location, access: Access, _manner: Manner) -> Result<Box<dyn Mailbox>> {
        self.fault(Step::Open)?;
        let mut state = self.state();
        let fresh = state.fresh();
        let stored = match &at.place {
            Place::Inbox => state.mailboxes.entry(MailboxName::inbox()).or_insert(fresh),
            _ => state.mailboxes.get_mut(&key(&at.name)).ok_or_else(|| Error::NotFound(at.name.clone()))?,
        };
        let snapshot = stored.snapshot(None, access);
        let messages = stored.messages.clone();
        let path = at.path().unwrap_or(Path::new("INBOX")).to_owned();
        let name = at.name.clone();
        Ok(Box::new(Opened { memory: self.clone(), name, path, access, snapshot, messages }))
    }

    fn append<'d>(&'d self, at: &Location) -> Result<Box<dyn Append + 'd>> {
        if at.place == Place::Inbox {
            self.make(&at.name);
        }
        self.stored(&at.name)?;
        Ok(Box::new(Appending { memory: self, name: at.name.clone(), messages: Vec::new() }))
    }

    fn list(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        let Some(pattern) = query.canonical else { return Ok(()) };
        let names: Vec<_> = self.state().mailboxes.keys().cloned().collect();
        let names = names.into_iter().filter(|name| !name.is_inbox() && pattern.matches(name.as_bytes()));
        for name in names {
            let attributes = Attributes::NO_INFERIORS.with(Attributes::UNMARKED);
            found(Listed { name: name.as_bytes().to_vec(), delimiter: Some(b'/'), attributes });
        }
        Ok(())
    }

    fn has_files(&self) -> bool {
        false
    }
}

struct Opened {
    memory: Memory,
    name: MailboxName,
    path: PathBuf,
    access: Access,
    snapshot: Snapshot,
    messages: Vec<Stamped>,
}

impl Opened {
    /// Takes over what is stored now, or what an edit made of it.
    fn take(&mut self, stored: &mut Stored) {
        self.snapshot = stored.snapshot(Some(&self.snapshot), self.access);
        self.messages = stored.messages.clone();
    }
}

impl Mailbox for Opened {
    fn driver(&self) -> &'static str {
        "memory"
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn read(&mut self, uid: Uid, extent: Extent, from: u64, most: usize, out: &mut Vec<u8>) -> Result<usize> {
        self.memory.fault(Step::Read)?;
        let position = self.snapshot.position(uid, usize::MAX).ok_or(Error::Expunged { uid: uid.get() })?;
        let octets = &self.messages[position].octets;
        let header = memchr::memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |end| end + 4);
        let header = if octets.starts_with(b"\r\n") { 2 } else { header };
        let octets = match extent {
            Extent::Whole => &octets[..],
            Extent::Header => &octets[..header],
            Extent::Text => &octets[header..],
        };
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(octets.len());
        let end = start.saturating_add(most).min(octets.len());
        out.extend_from_slice(&octets[start..end]);
        Ok(end - start)
    }

    fn refresh(&mut self) -> Result<Changes> {
        self.memory.fault(Step::Refresh)?;
        let memory = self.memory.clone();
        let mut state = memory.state();
        let lost = || Error::Lost { path: self.path.clone(), what: "mailbox was deleted".into() };
        let stored = state.mailboxes.get_mut(&key(&self.name)).ok_or_else(lost)?;
        let before = self.snapshot.clone();
        self.take(stored);
        Ok(changes(&before, &self.snapshot))
    }

    fn edit(&mut self) -> Result<Box<dyn Edit + '_>> {
        self.memory.fault(Step::Edit)?;
        if !self.snapshot.writable {
            return Err(Error::ReadOnly { path: self.path.clone() });
        }
        let memory = self.memory.clone();
        let mut state = memory.state();
        let lost = || Error::Lost { path: self.path.clone(), what: "mailbox was deleted".into() };
        let stored = state.mailboxes.get_mut(&key(&self.name)).ok_or_else(lost)?;
        if stored.busy {
            return Err(Error::InUse { path: self.path.clone() });
        }
        let mut draft = stored.clone();
        stored.busy = true;
        let before = (self.snapshot.clone(), self.messages.clone());
        self.take(&mut draft);
        Ok(Box::new(Editing { mailbox: self, draft, before: Some(before) }))
    }

    fn checkpoint(&mut self) -> Result<Changes> {
        self.refresh()
    }

    fn wake(&self) -> Wake {
        Wake::default()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Editing<'m> {
    mailbox: &'m mut Opened,
    draft: Stored,
    /// What to go back to; taken by the commit.
    before: Option<(Snapshot, Vec<Stamped>)>,
}

impl Edit for Editing<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.mailbox.snapshot
    }

    fn store(&mut self, uids: &UidSet, change: &FlagChange) -> Result<Vec<Keyword>> {
        let mut mask = KeywordMask::NONE;
        let mut unknown = Vec::new();
        for keyword in &change.keywords {
            match self.draft.keywords.find_or_add(keyword, KEYWORDS) {
                Ok(slot) => mask = mask.union(KeywordMask::slot(slot)),
                Err(_) => unknown.push(keyword.clone()),
            }
        }
        let by = Flags { system: change.system, keywords: mask };
        for message in self.draft.messages.iter_mut().filter(|message| uids.contains(message.info.uid())) {
            message.info.set_flags(message.info.flags().changed(change.op, by));
        }
        self.mailbox.take(&mut self.draft);
        Ok(unknown)
    }

    fn expunge(&mut self, uids: &UidSet) -> Result<()> {
        self.draft.messages.retain(|message| !uids.contains(message.info.uid()));
        self.mailbox.take(&mut self.draft);
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Changes> {
        self.mailbox.memory.fault(Step::Commit)?;
        let Some((before, _)) = self.before.take() else { return Ok(Changes::default()) };
        self.draft.busy = false;
        let name = key(&self.mailbox.name);
        self.mailbox.memory.state().mailboxes.insert(name, self.draft.clone());
        Ok(changes(&before, &self.mailbox.snapshot))
    }
}

impl Drop for Editing<'_> {
    fn drop(&mut self) {
        if let Some((snapshot, messages)) = self.before.take() {
            (self.mailbox.snapshot, self.mailbox.messages) = (snapshot, messages);
            let name = self.mailbox.name.clone();
            self.mailbox.memory.change(&name, |stored| stored.busy = false);
        }
    }
}

struct Appending<'d> {
    memory: &'d Memory,
    name: MailboxName,
    messages: Vec<(AppendMeta, Vec<u8>)>,
}

impl Append for Appending<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        if meta.size == 0 {
            return Err(Error::Refused("Append of zero-length message".into()));
        }
        self.messages.push((meta, Vec::new()));
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.memory.fault(Step::AppendWrite)?;
        let (_, message) = self.messages.last_mut().expect("a message was begun");
        message.extend_from_slice(octets);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let (meta, message) = self.messages.last().expect("a message was begun");
        if meta.size == message.len() as u64 {
            Ok(())
        } else {
            Err(Error::Refused("Message size does not match".into()))
        }
    }

    fn commit(self: Box<Self>) -> Result<Appended> {
        self.memory.fault(Step::AppendCommit)?;
        let mut state = self.memory.state();
        let missing = || Error::NotFound(self.name.clone());
        let stored = state.mailboxes.get_mut(&key(&self.name)).ok_or_else(missing)?;
        let mut draft = stored.clone();
        let mut uids = Vec::new();
        for (meta, message) in &self.messages {
            let slots = meta.keywords.iter().filter_map(|keyword| {
                draft.keywords.find_or_add(keyword, KEYWORDS).ok().map(KeywordMask::slot)
            });
            let keywords = slots.fold(KeywordMask::NONE, KeywordMask::union);
            let flags = Flags { system: meta.system, keywords };
            uids.push(draft.add(
                message.as_slice().into(),
                flags,
                meta.internal_date.unwrap_or_else(date),
            )?);
        }
        *stored = draft;
        Ok(Appended { uids: Some((stored.uid_validity, uids)) })
    }
}
