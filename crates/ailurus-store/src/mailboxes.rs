//! One user's mailboxes: names, and which format each of them has.
//!
//! Formats are asked in the order in which they were given; the first that claims a location has it
//! (spec/storage-common.md §2, §4).

use crate::contents::file_holds;
use crate::moving::{Moving, Route};
use crate::resolve::{Forced, forced_format};
use crate::standin::StandIn;
use crate::subscriptions::Subscriptions;
use crate::uses::Uses;
use crate::{
    Abilities, Access, Append, Claim, Driver, Environment, Error, Level, Listed, Listing, Location, Mailbox,
    Manner, Namespaces, Place, Rejection, Result, Status, SubscribedListing, Subscription, namespaces,
    resolve,
};
use ailurus_types::MailboxName;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs, io};

/// All mailboxes that one user can name.
#[derive(Clone)]
pub struct Mailboxes {
    environment: Arc<Environment>,
    drivers: Arc<[Arc<dyn Driver>]>,
}

impl Mailboxes {
    /// Returns the mailboxes of the environment's user in these formats, which are asked in this order.
    #[must_use]
    pub fn new(environment: Arc<Environment>, drivers: Vec<Arc<dyn Driver>>) -> Self {
        Self { environment, drivers: drivers.into() }
    }

    /// Returns whose mailboxes these are; notices of all calls are left there.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns what a name means, without looking whether anything is there. [`Error::InvalidName`] when it may not
    /// be used here.
    pub fn resolve(&self, name: &MailboxName) -> Result<Location> {
        resolve(&self.environment, name)
    }

    /// Opens a mailbox for a person's session. An INBOX that does not exist and an empty file open as an empty
    /// mailbox, and become the real one at a refresh after mail came.
    ///
    /// [`Error::NotFound`] where no mailbox is, also for names that may not be used: the difference is nobody's
    /// business. [`Error::NotSelectable`] for a directory.
    ///
    /// `#move` and two names open the second; mail of the first is moved there.
    pub fn select(&self, name: &MailboxName, access: Access) -> Result<Box<dyn Mailbox>> {
        if let Some(route) = Route::parse(name) {
            let target = self.select_plain(&route.target, access)?;
            return Ok(Box::new(Moving::open(target, self.clone(), route)?));
        }
        self.select_plain(name, access)
    }

    fn select_plain(&self, name: &MailboxName, access: Access) -> Result<Box<dyn Mailbox>> {
        let at = self.existing(name)?;
        let driver = self.claimant(&at)?;
        let mailbox = driver.open(&at, access, Manner::Session)?;
        if !driver.stands_in() {
            return Ok(mailbox);
        }
        Ok(Box::new(StandIn::new(mailbox, at, access, self.clone())))
    }

    /// Finds a mailbox without opening it: where it is, and the name of its format. `#driver.FMT/NAME` is of that format whatever
    /// it looks like. That of a directory, of an empty file and of an INBOX that is not there is a format that stands in.
    pub fn find(&self, name: &MailboxName) -> Result<(Location, &'static str)> {
        let (forced, plain) = self.forced(name, "look over", |known, asked| known == asked)?;
        let at = self.existing(&plain)?;
        let Some(driver) = forced else {
            let format = self.claimant(&at)?.name();
            return Ok((at, format));
        };
        self.check_file_type(&at)?;
        match at.path() {
            Some(path) if driver.has_files() && fs::metadata(path).is_err() => Err(Error::NotFound(plain)),
            _ => Ok((at, driver.name())),
        }
    }

    /// Opens a mailbox for a passing need of our own.
    pub(crate) fn open_silently(&self, name: &MailboxName, access: Access) -> Result<Box<dyn Mailbox>> {
        let at = self.existing(name)?;
        self.claimant(&at)?.open(&at, access, Manner::Silent)
    }

    /// Tells whether the files of a mailbox hold a text, in any case of its ASCII letters (SCAN).
    ///
    /// [`Error::Refused`] where mailboxes of the format are not searched that way.
    pub fn holds(&self, name: &MailboxName, text: &[u8]) -> Result<bool> {
        let at = self.existing(name)?;
        let driver = self.claimant(&at)?;
        if driver.stands_in() {
            return Ok(false);
        }
        for file in driver.content_files(&at)? {
            if file_holds(&file, text)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a mailbox with the directories above it; only a directory when the name ends in `/`.
    ///
    /// [`Error::InvalidName`] with the reference's reason for what it would not make, [`Error::AlreadyExists`],
    /// and [`Error::Refused`] with a whole sentence for the rest.
    pub fn create(&self, name: &MailboxName) -> Result<()> {
        self.create_only(name)?;
        // What was said of one of this name that others took away is nothing of this one.
        Uses::new(&self.environment).forget(name);
        Ok(())
    }

    pub(crate) fn create_only(&self, name: &MailboxName) -> Result<()> {
        let text = name.as_bytes();
        if text.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
            return Err(Error::Refused("Can't create mailbox with such a name".into()));
        }
        if name.is_inbox() {
            return Err(Error::Refused("Can't create INBOX".into()));
        }
        check_new_name(name)?;
        let (forced, plain) = self.forced(name, "create", |known, asked| known == asked)?;
        let at = self.resolve(&plain)?;
        let driver = match forced {
            Some(driver) => driver,
            None => self.prototype(&at)?,
        };
        self.check_outside_mailboxes(driver, &at)?;
        if !driver.abilities().creatable {
            return Err(unknown_driver("create", name));
        }
        self.create_at(driver.as_ref(), &at)
    }

    fn create_at(&self, driver: &dyn Driver, at: &Location) -> Result<()> {
        let Some(path) = at.path().filter(|_| driver.has_files()) else { return driver.create(at) };
        if at.name.as_bytes().ends_with(b"/") {
            let (_, directory_mode) = self.environment.modes(&at.name);
            return make_directories(path, directory_mode, &at.name)
                .and_then(|made| made.then_some(()).ok_or_else(|| Error::AlreadyExists(at.name.clone())));
        }
        self.make_parents(path, at)?;
        if let Ok(found) = fs::symlink_metadata(path) {
            // A directory that is no mailbox can become one of a format whose mailboxes are directories.
            let may_become = found.is_dir()
                && driver.abilities().inferiors
                && self.claimant(at).is_ok_and(|claimant| claimant.stands_in());
            if !may_become {
                return Err(Error::AlreadyExists(at.name.clone()));
            }
        }
        driver.create(at)
    }

    /// Deletes a mailbox, or an empty directory.
    pub fn delete(&self, name: &MailboxName) -> Result<()> {
        self.delete_only(name)?;
        Uses::new(&self.environment).forget(name);
        Ok(())
    }

    fn delete_only(&self, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(Error::Refused("Can't delete INBOX".into()));
        }
        let at = self.existing(name)?;
        let driver = self.removable(&at)?;
        if driver.stands_in() {
            self.drivers.iter().try_for_each(|driver| driver.clear_leftovers(&at))?;
        }
        self.environment.note_lost_name();
        driver.delete(&at)
    }

    /// Renames a mailbox or a directory; directories above the new name are made.
    ///
    /// Errors that tell of the new name hold the new name: [`Error::InvalidName`], [`Error::AlreadyExists`].
    pub fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.rename_only(from, to)?;
        Uses::new(&self.environment).follow(from, to);
        Ok(())
    }

    fn rename_only(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let from = self.existing(from)?;
        let driver = self.removable(&from)?;
        check_new_name(to)?;
        let to = self.resolve(to)?;
        self.check_outside_mailboxes(driver, &to)?;
        if self.is_taken(&to)? {
            return Err(Error::AlreadyExists(to.name));
        }
        if let Some(path) = to.path().filter(|_| driver.has_files()) {
            self.make_parents(path, &to)?;
        }
        self.environment.note_lost_name();
        driver.rename(&from, &to)
    }

    /// Begins to append messages to a mailbox. A missing INBOX is made.
    ///
    /// [`Error::NotFound`] when the mailbox could be created first (`[TRYCREATE]`); [`Error::InvalidName`] when it
    /// could not.
    pub fn append(&self, name: &MailboxName) -> Result<Box<dyn Append + '_>> {
        let (driver, at) = self.appender(name)?;
        driver.append(&at)
    }

    /// Returns what the format can do in which a message is appended to a mailbox.
    pub fn append_abilities(&self, name: &MailboxName) -> Result<Abilities> {
        self.appender(name).map(|(driver, _)| driver.abilities())
    }

    fn appender(&self, name: &MailboxName) -> Result<(&Arc<dyn Driver>, Location)> {
        let (forced, plain) =
            self.forced(name, "append to", |known, asked| known.eq_ignore_ascii_case(asked))?;
        let at = self.resolve(&plain)?;
        let driver = match forced {
            Some(driver) => self.forced_target(driver, &at)?,
            None => self.append_target(&at)?,
        };
        Ok((driver, at))
    }

    /// Counts what is in a mailbox, without taking part in \Recent.
    pub fn status(&self, name: &MailboxName) -> Result<Status> {
        let at = self.existing(name)?;
        self.claimant(&at)?.status(&at)
    }

    /// Tells whether LIST could report this name.
    #[must_use]
    pub fn has_name(&self, name: &[u8]) -> bool {
        Listing::of_name(self, name).is_some()
    }

    /// Returns the octets of all messages in a mailbox (RFC 8438), without taking part in \Recent.
    pub fn size(&self, name: &MailboxName) -> Result<u64> {
        let mailbox = self.open_silently(name, Access::ReadOnly)?;
        Ok(mailbox.snapshot().rfc822_size())
    }

    /// Reports the mailboxes whose names match a pattern as they are found (LIST, RFC 3501 §6.3.8), INBOX last.
    pub fn list(&self, reference: &[u8], pattern: &[u8], found: &mut dyn FnMut(Listed)) -> Result<()> {
        self.listing(reference, pattern)?.try_for_each(|listed| listed.map(&mut *found))
    }

    /// Returns what [`Mailboxes::list`] reports, found only as it is asked for: links can make a handful of
    /// directories a million names.
    pub fn listing(&self, reference: &[u8], pattern: &[u8]) -> Result<Listing> {
        Listing::new(self.clone(), reference, pattern)
    }

    /// Reports the subscribed names that match a pattern (LSUB, RFC 3501 §6.3.9), whether or not there is such a
    /// mailbox now.
    pub fn lsub(&self, reference: &[u8], pattern: &[u8], found: &mut dyn FnMut(Listed)) -> Result<()> {
        self.lsub_listing(reference, pattern)?.try_for_each(|listed| listed.map(&mut *found))
    }

    /// Returns what [`Mailboxes::lsub`] reports, found only as it is asked for.
    pub fn lsub_listing(&self, reference: &[u8], pattern: &[u8]) -> Result<SubscribedListing> {
        SubscribedListing::new(self, || self.subscriptions().names(), reference, pattern)
    }

    /// Subscribes to a mailbox that is there.
    pub fn subscribe(&self, name: &MailboxName) -> Result<()> {
        let missing = || Error::Refused(format!("Can't subscribe to mailbox {name}: no such mailbox"));
        let at = match self.existing(name) {
            Err(Error::NotFound(_)) => return Err(missing()),
            at => at?,
        };
        let driver = match self.claimant(&at) {
            Err(Error::NotFound(_)) => return Err(missing()),
            driver => driver?,
        };
        if driver.stands_in() && at.path().is_some_and(Path::is_dir) {
            let text = format!("CLIENT BUG DETECTED: subscribe of non-mailbox directory {name}");
            self.environment.notices.tell(Level::Warning, text);
        }
        if driver.subscribe(name, Subscription::Begin)? { Ok(()) } else { self.subscriptions().add(name) }
    }

    /// Ends a subscription, whether or not there is such a mailbox.
    pub fn unsubscribe(&self, name: &MailboxName) -> Result<()> {
        for driver in &*self.drivers {
            if driver.subscribe(name, Subscription::End)? {
                return Ok(());
            }
        }
        self.subscriptions().remove(name)
    }

    /// Returns what NAMESPACE tells (RFC 2342).
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        namespaces::namespaces(&self.environment)
    }

    pub(crate) fn drivers(&self) -> &[Arc<dyn Driver>] {
        &self.drivers
    }

    pub(crate) fn each_subscription(&self, found: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.subscriptions().each(found)
    }

    fn subscriptions(&self) -> Subscriptions<'_> {
        Subscriptions::new(&self.environment)
    }

    /// Resolves the name of something that should be there: whatever is wrong with it, it is not there.
    fn existing(&self, name: &MailboxName) -> Result<Location> {
        self.resolve(name).map_err(|error| match error {
            Error::InvalidName { name, .. } => Error::NotFound(name),
            error => error,
        })
    }

    /// Refuses a new name of what would be a file of a mailbox: `2024` in one whose messages are files with numbers is one
    /// of its messages, and goes with all that is in it when that is expunged. LIST does not have such names.
    fn check_outside_mailboxes(&self, driver: &Arc<dyn Driver>, at: &Location) -> Result<()> {
        // A format that can have others in its mailboxes knows which names are its own, and has a text for it.
        if !driver.abilities().inferiors && self.is_inside_mailbox(at) {
            return Err(Error::InvalidName { name: at.name.clone(), why: "name of a file inside a mailbox" });
        }
        Ok(())
    }

    /// Returns the driver of what may lose its name: not a message, or the index, of a mailbox. What is a mailbox itself,
    /// whatever directory others have put it in, may.
    fn removable(&self, at: &Location) -> Result<&Arc<dyn Driver>> {
        let driver = self.claimant(at)?;
        if !driver.abilities().creatable && self.is_inside_mailbox(at) {
            return Err(Error::NotFound(at.name.clone()));
        }
        Ok(driver)
    }

    fn is_inside_mailbox(&self, at: &Location) -> bool {
        let is_part = |path: &Path| {
            let (Some(directory), Some(entry)) = (path.parent(), path.file_name()) else { return false };
            let mut drivers = self.drivers.iter().filter(|driver| driver.abilities().inferiors);
            // Most names are nobody's, which is known without a look at the disk.
            drivers.any(|driver| driver.hides(directory, entry))
                && self.owner(b"", directory).is_some_and(|owner| owner.hides(directory, entry))
        };
        at.path().is_some_and(|path| path.ancestors().any(is_part))
    }

    /// Returns the format of which a directory is a mailbox, among those that can have others in it.
    pub(crate) fn owner(&self, name: &[u8], directory: &Path) -> Option<Arc<dyn Driver>> {
        let mut drivers = self.drivers.iter().filter(|driver| driver.abilities().inferiors);
        let first = drivers.next()?;
        let place = Place::Path(directory.into());
        let at = Location { name: MailboxName::new(name.strip_suffix(b"/").unwrap_or(name)), place };
        let mut drivers = std::iter::once(first).chain(drivers);
        drivers.find(|driver| matches!(driver.probe(&at), Ok(Claim::Valid))).cloned()
    }

    /// Returns the driver of what is at the location.
    pub(crate) fn claimant(&self, at: &Location) -> Result<&Arc<dyn Driver>> {
        self.claim(at).map(|(driver, _)| driver)
    }

    /// Returns the driver of what is at the location, and whether there is a mailbox of its format already.
    pub(crate) fn claim(&self, at: &Location) -> Result<(&Arc<dyn Driver>, Claim)> {
        self.check_file_type(at)?;
        let (mut standing_in, mut empty, mut denied) = (None, None, false);
        for driver in &*self.drivers {
            match driver.probe(at)? {
                Claim::Valid | Claim::Empty if driver.stands_in() => {
                    standing_in = standing_in.or(Some(driver))
                }
                Claim::Valid => return Ok((driver, Claim::Valid)),
                Claim::Empty => empty = empty.or(Some(driver)),
                Claim::No(Rejection::Denied) => denied = true,
                Claim::No(_) => {}
            }
        }
        match standing_in.or(empty) {
            Some(driver) => Ok((driver, Claim::Empty)),
            None if denied => {
                let path = at.path().unwrap_or(Path::new("INBOX"));
                Err(Error::io("open", path)(io::ErrorKind::PermissionDenied.into()))
            }
            None => Err(Error::NotFound(at.name.clone())),
        }
    }

    /// Tells whether a new mailbox of this name would hit something.
    fn is_taken(&self, at: &Location) -> Result<bool> {
        // INBOX is there even when its file is not.
        if at.name.is_inbox() || at.path().is_some_and(|path| fs::symlink_metadata(path).is_ok()) {
            return Ok(true);
        }
        match self.claimant(at) {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn append_target(&self, at: &Location) -> Result<&Arc<dyn Driver>> {
        match self.claim(at)? {
            (driver, Claim::Valid) => return Ok(driver),
            _ if at.path().is_some_and(Path::is_dir) => return Err(Error::NotSelectable(at.name.clone())),
            _ => {}
        }
        let indeterminate = || Error::Refused(format!("Indeterminate mailbox format: {}", at.name));
        // Something that no format knows.
        if at.path().is_some_and(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)) {
            return Err(indeterminate());
        }
        let format = match self.environment.empty_format {
            // INBOX takes mail whatever else.
            None if at.name.is_inbox() => Some(self.environment.create_format),
            format => format,
        };
        format.and_then(|format| self.driver(|known| known == format)).ok_or_else(indeterminate)
    }

    fn forced_target<'d>(&self, driver: &'d Arc<dyn Driver>, at: &Location) -> Result<&'d Arc<dyn Driver>> {
        self.check_file_type(at)?;
        match driver.probe(at)? {
            Claim::Valid | Claim::Empty => Ok(driver),
            Claim::No(Rejection::WrongFormat) => Err(Error::WrongFormat {
                format: driver.name(),
                path: at.path().unwrap_or(Path::new("INBOX")).into(),
            }),
            Claim::No(Rejection::Denied) => {
                let path = at.path().unwrap_or(Path::new("INBOX"));
                Err(Error::io("open", path)(io::ErrorKind::PermissionDenied.into()))
            }
            Claim::No(_) => Err(Error::NotFound(at.name.clone())),
        }
    }

    /// Refuses what only a hostile or mistaken hand puts there: to open a FIFO or a device can block, or do
    /// something. Dangling links are nothing that is there.
    fn check_file_type(&self, at: &Location) -> Result<()> {
        let path = match &at.place {
            Place::Path(path) => path,
            Place::Inbox => &self.environment.spool,
            Place::Special => return Ok(()),
        };
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                Err(Error::NotFound(at.name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the format that a new mailbox gets when its name does not ask for one.
    fn prototype(&self, at: &Location) -> Result<&Arc<dyn Driver>> {
        let indeterminate =
            || Error::Refused(format!("Can't create mailbox {}: indeterminate format", at.name));
        if at.place != Place::Special {
            return self.driver(|known| known == self.environment.create_format).ok_or_else(indeterminate);
        }
        for driver in self.drivers.iter().filter(|driver| driver.abilities().creatable) {
            match driver.probe(at)? {
                Claim::Valid => return Err(Error::AlreadyExists(at.name.clone())),
                Claim::Empty | Claim::No(Rejection::Missing) => return Ok(driver),
                Claim::No(_) => {}
            }
        }
        Err(indeterminate())
    }

    /// Takes `#driver.FMT/` off the name and returns that driver.
    fn forced(
        &self,
        name: &MailboxName,
        verb: &str,
        same: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<(Option<&Arc<dyn Driver>>, MailboxName)> {
        match forced_format(name.as_bytes()) {
            Forced::No => Ok((None, name.clone())),
            Forced::Bad => Err(Error::Refused(format!("Can't {verb} mailbox {name}: bad driver syntax"))),
            Forced::Format(format, plain) => {
                let driver = self.driver(|known| same(known.as_bytes(), format));
                let driver = driver.ok_or_else(|| unknown_driver(verb, name))?;
                Ok((Some(driver), MailboxName::new(plain)))
            }
        }
    }

    fn driver(&self, is_it: impl Fn(&str) -> bool) -> Option<&Arc<dyn Driver>> {
        self.drivers.iter().find(|driver| is_it(driver.name()))
    }

    fn make_parents(&self, path: &Path, at: &Location) -> Result<()> {
        let (_, directory_mode) = self.environment.modes(&at.name);
        match path.parent() {
            Some(parent) => make_directories(parent, directory_mode, &at.name).map(drop),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drivers: Vec<_> = self.drivers.iter().map(|driver| driver.name()).collect();
        f.debug_struct("Mailboxes").field("user", &self.environment.user).field("drivers", &drivers).finish()
    }
}

/// Refuses a name that is no modified UTF-7 (RFC 3501 §5.1.3) for something to be made.
fn check_new_name(name: &MailboxName) -> Result<()> {
    let check = ailurus_charset::utf7::check(name.as_bytes());
    check.map_err(|fault| Error::InvalidName { name: name.clone(), why: fault.as_str() })
}

fn unknown_driver(verb: &str, name: &MailboxName) -> Error {
    Error::Refused(format!("Can't {verb} mailbox {name}: unknown driver"))
}

/// Makes a directory with those above it; tells whether it was missing.
fn make_directories(directory: &Path, mode: u32, name: &MailboxName) -> Result<bool> {
    let mut missing = Vec::new();
    for ancestor in directory.ancestors().filter(|ancestor| !ancestor.as_os_str().as_bytes().is_empty()) {
        match fs::metadata(ancestor) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(Error::AlreadyExists(name.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(ancestor),
            Err(error) => return Err(Error::io("look at", ancestor)(error)),
        }
    }
    for ancestor in missing.iter().rev() {
        match fs::DirBuilder::new().mode(0o700).create(ancestor) {
            Ok(()) => {
                set_mode(ancestor, mode)?;
                sync_parent(ancestor)?;
            }
            // Another session was faster; a dangling link is caught by what comes next.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && ancestor.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists(name.clone()));
            }
            Err(error) => return Err(Error::io("make directory", ancestor)(error)),
        }
    }
    Ok(!missing.is_empty())
}

/// Sets a directory's mode whatever the umask says; it also gets `x` wherever it has `r` or `w`, and keeps setgid.
///
/// Others may write in shared directories, and could have put a link to something of ours in the place of what was
/// just made: it is not followed.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    // A `/` at the end would follow the link.
    let path = path.components().as_path();
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(io::Error::from);
    let directory = directory.map_err(Error::io("open", path))?;
    let metadata = directory.metadata().map_err(Error::io("look at", path))?;
    let search = (mode & 0o444) >> 2 | (mode & 0o222) >> 1;
    let mode = mode | search | metadata.permissions().mode() & 0o2000;
    directory.set_permissions(fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))
}

/// Makes the name of a new directory safe from a power loss: mail that is synced in it must not go with it.
fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    // The parent of a plain name is here.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match File::open(parent).and_then(|parent| parent.sync_all()) {
        // Who may write in a directory and not read it cannot sync it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(Error::io("sync", parent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_what_a_link_points_to_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let (target, link) = (scratch.path().join("directory"), scratch.path().join("link"));
        fs::create_dir(&target).unwrap();
        set_mode(&target, 0o600).unwrap();
        let before = fs::metadata(&target).unwrap().permissions();
        assert_eq!(before.mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(set_mode(&link, 0o666).is_err());
        assert!(set_mode(&scratch.path().join("link/"), 0o666).is_err());
        assert_eq!(fs::metadata(&target).unwrap().permissions(), before);
        // A file of ours to which it leads is none that was just made, either.
        let file = scratch.path().join("file");
        File::create_new(&file).unwrap();
        assert!(set_mode(&file, 0o666).is_err());
    }
}
