//! The news format: the newsgroups of a local spool, to read, and the user's `.newsrc`.
//!
//! `#news.comp.mail.misc` is a group if the active file names it; its articles are the files with numbers for names in
//! `comp/mail/misc` below the spool, and their numbers are the UIDs. Nothing here writes to the spool. What was read is \Deleted
//! and goes to `.newsrc` ([`newsrc`]) when the group is checked or closed; subscriptions are there, too. All other flags
//! last for the session.
//!
//! Sizes in CRLF form need a look into each article; they are kept in the user's cache ([`cache`]).

mod active;
mod cache;
mod list;
mod mailbox;
mod newsrc;

use crate::disk::Disk;
use ailurus_store::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, ListQuery, Listed, Location, Mailbox,
    Manner, MessageInfo, Place, Rejection, Result, Status, Subscription,
};
use ailurus_types::{MailboxName, SystemFlags};
use mailbox::NewsMailbox;
use newsrc::Newsrc;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The driver of the news format.
#[derive(Debug)]
pub struct News {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
}

impl News {
    /// Returns the driver for one user.
    #[must_use]
    pub fn new(environment: Arc<Environment>, disk: Arc<dyn Disk>) -> Self {
        Self { environment, disk }
    }

    /// Returns the group that a location names, if the active file has it.
    fn group<'a>(&self, at: &'a Location) -> Result<Option<&'a [u8]>> {
        let Some(group) = group_of(&at.name).filter(|_| at.place == Place::Special) else { return Ok(None) };
        let places = &self.environment.news;
        if !places.spool.exists() {
            return Ok(None);
        }
        let known = active::has(&places.active, group).map_err(Error::io("read", &places.active))?;
        Ok(known.then_some(group))
    }

    fn directory(&self, group: &[u8]) -> PathBuf {
        let path: Vec<u8> = group.iter().map(|octet| if *octet == b'.' { b'/' } else { *octet }).collect();
        self.environment.news.spool.join(OsStr::from_bytes(&path))
    }

    fn open_group(&self, at: &Location, manner: Manner) -> Result<NewsMailbox> {
        let group = self.group(at)?.ok_or_else(|| Error::NotFound(at.name.clone()))?;
        NewsMailbox::open(&self.environment, &self.disk, group, &self.directory(group), manner)
    }

    /// Looks over a group, and changes nothing.
    pub(crate) fn verify(&self, at: &Location) -> Result<crate::repair::Findings> {
        let group = self.group(at)?.ok_or_else(|| Error::NotFound(at.name.clone()))?;
        crate::repair::folder::verify(&self.directory(group))
    }

    fn refused(verb: &str, at: &Location) -> Error {
        Error::Refused(format!("Can't {verb} mailbox {}: newsgroups are read-only", at.name))
    }
}

/// Returns the group of a name, which has no slash and no empty part: it becomes a path.
fn group_of(name: &MailboxName) -> Option<&[u8]> {
    let group = name.as_bytes().strip_prefix(list::PREFIX)?;
    let good = !group.contains(&b'/') && group.split(|octet| *octet == b'.').all(|part| !part.is_empty());
    good.then_some(group)
}

impl Driver for News {
    fn name(&self) -> &'static str {
        "news"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            sticky_uids: true,
            shared_access: true,
            read_only: true,
            unguarded: true,
            utc_dates: true,
            session_flags: true,
            ..Abilities::default()
        }
    }

    fn probe(&self, at: &Location) -> Result<Claim> {
        let claim = |rejection| Ok(Claim::No(rejection));
        match self.group(at) {
            Ok(Some(_)) => Ok(Claim::Valid),
            Ok(None) if group_of(&at.name).is_some() => claim(Rejection::Missing),
            Ok(None) => claim(Rejection::BadName),
            Err(_) => claim(Rejection::Denied),
        }
    }

    fn create(&self, at: &Location) -> Result<()> {
        Err(Self::refused("create", at))
    }

    fn delete(&self, at: &Location) -> Result<()> {
        Err(Self::refused("delete", at))
    }

    fn rename(&self, from: &Location, _to: &Location) -> Result<()> {
        Err(Self::refused("rename", from))
    }

    fn status(&self, at: &Location) -> Result<Status> {
        let mailbox = self.open_group(at, Manner::Silent)?;
        let snapshot = mailbox.snapshot();
        let count = |wanted: &dyn Fn(&MessageInfo) -> bool| {
            let count = snapshot.messages.iter().filter(|message| wanted(message)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Ok(Status {
            messages: count(&|_| true),
            recent: count(&|message| message.is_recent()),
            // Nothing is \Seen in a new session; what was read is \Deleted.
            unseen: count(&|message| !message.flags().system.contains(SystemFlags::DELETED)),
            uid_next: snapshot.uid_next,
            uid_validity: snapshot.uid_validity,
        })
    }

    fn open(&self, at: &Location, _access: Access, manner: Manner) -> Result<Box<dyn Mailbox>> {
        Ok(Box::new(self.open_group(at, manner)?))
    }

    fn content_files(&self, _at: &Location) -> Result<Vec<PathBuf>> {
        Err(Error::Refused("Scan not valid for news mailboxes".into()))
    }

    fn append<'d>(&'d self, _at: &Location) -> Result<Box<dyn Append + 'd>> {
        Err(Error::Refused("Append not valid for news".into()))
    }

    fn list(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        list::list(self, query, found)
    }

    fn subscribe(&self, name: &MailboxName, subscription: Subscription) -> Result<bool> {
        let Some(group) = group_of(name) else { return Ok(false) };
        let newsrc = Newsrc::new(&self.environment, &self.disk);
        // A group that is gone can still be given up; one that never was is nobody's.
        let at = Location { name: name.clone(), place: Place::Special };
        if self.group(&at)?.is_none() && newsrc.state(group)?.is_none() {
            return Ok(false);
        }
        newsrc.subscribe(group, subscription == Subscription::Begin)?;
        Ok(true)
    }

    fn lsub(&self, query: &ListQuery<'_>, found: &mut dyn FnMut(Listed)) -> Result<()> {
        list::lsub(self, query, found)
    }

    fn has_files(&self) -> bool {
        false
    }
}
