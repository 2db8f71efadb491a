//! The disposable index: what a scan of a mailbox found, kept in the user's cache, so that the next one need not scan.
//!
//! A mailbox file of [`Environment::index_from`] octets or more has one file there, named by device and inode: a head of
//! one page ([`Head`]), then 64 octets for each message in the order of the mailbox. What STATUS and APPEND ask for is
//! in the head alone, and an append adds a record and writes the head anew, whatever the mailbox holds. Deleting all of it
//! costs nothing but time.
//!
//! # When it is believed
//!
//! An index is of one state of the file, its [`Stamp`]: device, inode, size, time of modification, time of change. It is
//! believed while the file has exactly this stamp, else ignored; nothing is taken from one of an older state, since nothing
//! but reading all of it could prove what is old (which takes half the time of parsing, so that there would be
//! little to gain). Who changes what, and what we see:
//!
//! | what happens to the mailbox | what we see |
//! |---|---|
//! | any write(2), in place or not, by whomever, with or without locks | another time of change, which no program can set |
//! | the same, then `utimes` to the old time (rewriters, restored backups, `touch`) | that sets the time of change as well |
//! | a delivery, a truncation | another size as well |
//! | replaced by another file, restored under its name | another inode, or another time of change |
//! | renamed, linked, given other modes or owners | another time of change: an unneeded scan |
//! | read | nothing: access times do not count |
//! | a write at the same tick of the file system's clock as the state that was read (4 ms on kernels before 6.13) | a state younger than a tick when its reading begins gets no index ([`Reading`]); one that we left ourselves has a signature in its time of modification, which every write replaces ([`set_times_signed`]) |
//! | a write while we read | the stamp before the reading is not that after it: no index |
//! | a write by others in a session of ours, between two times that we hold the lock | the session's own stamp does not fit any more ([`Proof::still`]): it writes no index from then on |
//! | our own append, checkpoint, expunge, under the exclusive lock | the proof is handed on from the stamp before to that after |
//! | a sidecar changes, or which keywords are configured (mtx, tenex) | another mark in [`Head::own`] |
//! | a program writes flags without a lock, as the reference does to mtx and tenex | the same as of any write; a state that we made is handed on only where nobody else has the mailbox open, see `mtx::indexed` |
//! | another host with the same home has a mailbox of the same numbers | another time of change |
//! | a kill or a power loss within one of those, a journal to be finished | another time of change |
//!
//! What is left: a program that takes no lock and writes in the microseconds between our look at the stamp and our own
//! setting of the times (it would spoil our rewrite just as well); and on older kernels one that writes within the tick
//! of our own change and then puts back the time of modification to the nanosecond. And a write through a shared map of
//! the file to a page that was written in the same way just before: the kernel gives it a time of change only once the
//! page has been to the disk, within half a minute. No mail program that we know of writes so.
//!
//! The time of change means this much on local file systems only, so that only mailboxes on those get an index: on a
//! server's, clocks differ, attributes are cached, or the time of change is that of modification.
//!
//! What the user must be told each time (a date that cannot be parsed) a mailbox with an index would not tell; neither
//! that nor what is not in the file alone (a date taken from the file's times, UIDs not written yet) goes into one.
//! Dates without a zone depend on where we are: the head has the local offset.
//!
//! # Safety of the cache itself
//!
//! It belongs to whoever reads the mailbox: directory and files must be this user's own, writable by nobody else, and
//! no links, and its directory is made below what is this user's own. Head and records have checksums, each record's with its number: what is torn, stale or foreign is not
//! believed. A new index comes by rename; the head alone is written in place. Nothing is synced, failures are silent, and
//! the largest number of files and octets is bounded: the oldest go first.
//!
//! An index is read under the lock under which the mailbox would be scanned.
//!
//! # Notes
//!
//! What a session worked out of a message (BODYSTRUCTURE as it is sent, the sent date) is kept in a second file, whose name ends in `-notes`:
//! see [`notes`].
//!
//! # For another format
//!//!
//! Make the record's [`Place`], turn what is known of the file into a [`Head`] and back, and then: when opening,
//! [`Indexes::find`] with the stamp of the file under lock, else scan between [`Reading::begin`] and [`Reading::end`] and
//! [`Indexes::save`]; after own changes, pass the proof through [`set_times_signed`] and save when the mailbox is closed.
//! A format whose state is more than one file (a sidecar, a directory) puts the stamp of the other one into
//! [`Head::own`]. See `unix::indexed`; `mtx::indexed` for one with a sidecar. For notes, answer
//! [`ailurus_store::Mailbox::notes`] with [`Notes::at`] while the proof still holds.
//!
//! A directory's stamp tells what came, went or was renamed, and not what files hold now: what depends on that is not to
//! be taken from an index. So mx keeps nothing but the head, for STATUS (`mx::indexed`). mh has its sidecar and news its
//! cache for the same; mix is read from indexes of its own.

mod notes;
mod record;
mod stamp;

use crate::disk::Disk;
use ailurus_store::{Access, Environment, MessageInfo, Snapshot, Status};
use ailurus_types::{Keywords, Uid, UidValidity};
pub(crate) use notes::Notes;
use record::{HEAD, RECORD, Sum, decode, encode, hash};
pub(crate) use record::{OWN, Place};
pub(crate) use stamp::{Proof, Reading, Stamp, set_times_signed};
use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names that start so belong to no mailbox: see `ailurus_store`.
const PREFIX: &str = ".ailurus-index-";
const BLOCK: usize = 4096 * RECORD;
/// How many indexes there may be, and of how many octets; a million messages take 64 MB.
const MOST_FILES: usize = 2000;
const MOST_OCTETS: u64 = 512 * 1024 * 1024;

/// What an index says of the mailbox as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The format's name.
    pub(crate) format: [u8; 8],
    pub(crate) stamp: Stamp,
    lineage: u64,
    pub(crate) local_offset: i16,
    pub(crate) uid_validity: u32,
    pub(crate) uid_last: u32,
    pub(crate) messages: u32,
    pub(crate) recent: u32,
    pub(crate) unseen: u32,
    /// What the format keeps beside.
    pub(crate) own: [u64; OWN],
    /// The check sum of the end of the mailbox.
    pub(crate) tail: u64,
    pub(crate) keywords: Keywords,
    sum: Sum,
}

/// What a scan knows of the mailbox as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary<'s> {
    pub(crate) uid_validity: u32,
    pub(crate) uid_last: u32,
    pub(crate) own: [u64; OWN],
    pub(crate) keywords: &'s Keywords,
    /// The last octets of the mailbox.
    pub(crate) tail: &'s [u8],
}

/// Returns the messages of a session as the next one finds them: one that may write has written down by now that it was
/// told of them.
pub(crate) fn as_written(snapshot: &Snapshot) -> Cow<'_, [MessageInfo]> {
    if !snapshot.writable {
        return Cow::Borrowed(&snapshot.messages);
    }
    let old = |mut message: MessageInfo| {
        message.set_recent(false);
        message
    };
    Cow::Owned(snapshot.messages.iter().copied().map(old).collect())
}

impl Head {
    /// Returns what STATUS tells.
    pub(crate) fn status(&self) -> Status {
        Status {
            messages: self.messages,
            recent: self.recent,
            unseen: self.unseen,
            uid_next: Uid::new(self.uid_last).map_or(Some(Uid::MIN), Uid::next),
            uid_validity: UidValidity::new(self.uid_validity).unwrap_or(UidValidity::MIN),
        }
    }

    /// Tells whether the mailbox ends with these octets.
    pub(crate) fn ends_with(&self, tail: &[u8]) -> bool {
        self.tail == hash(1, tail)
    }

    fn count(&mut self, messages: &[MessageInfo]) -> Option<()> {
        let status = Status::of(messages, None, UidValidity::MIN);
        self.messages = self.messages.checked_add(u32::try_from(messages.len()).ok()?)?;
        self.recent = self.recent.checked_add(status.recent)?;
        self.unseen = self.unseen.checked_add(status.unseen)?;
        Some(())
    }
}

/// The indexes of a user's mailboxes of one format.
pub(crate) struct Indexes<'e> {
    format: [u8; 8],
    directory: &'e Path,
    env: &'e Environment,
    disk: &'e Arc<dyn Disk>,
    /// Smaller ones have none.
    from: u64,
}

impl<'e> Indexes<'e> {
    /// Returns those of that format; `None` if there are to be none.
    pub(crate) fn of(format: &str, env: &'e Environment, disk: &'e Arc<dyn Disk>) -> Option<Self> {
        let mut name = [0; 8];
        name.get_mut(..format.len())?.copy_from_slice(format.as_bytes());
        Some(Self { format: name, directory: env.cache_dir.as_deref()?, env, disk, from: env.index_from })
    }

    /// Returns those of a format whose mailboxes are directories: what counts is the size of the directory.
    pub(crate) fn of_directories(
        format: &str,
        env: &'e Environment,
        disk: &'e Arc<dyn Disk>,
    ) -> Option<Self> {
        // Names of some 500 messages take a directory 16 KiB.
        const MAIL_BY_NAMES: u64 = 16;
        let indexes = Self::of(format, env, disk)?;
        Some(Self { from: env.index_from / MAIL_BY_NAMES, ..indexes })
    }

    /// Returns the index of a mailbox that has this stamp now.
    pub(crate) fn find(&self, stamp: Stamp, access: Access) -> Option<Found<'e>> {
        if stamp.size < self.from {
            return None;
        }
        let path = self.path(stamp);
        let file = open(&path, access).ok()?;
        let found = file.metadata().ok()?;
        if !is_own(&found) || !found.is_file() || found.nlink() != 1 || !self.is_own_directory() {
            return None;
        }
        let mut page = [0; HEAD];
        file.read_exact_at(&mut page, 0).ok()?;
        let head = Head::decode(&page)?;
        let fits = head.format == self.format && head.stamp == stamp;
        if !fits || head.local_offset != self.env.clock.local_offset() {
            return None;
        }
        Some(Found { disk: self.disk, file, head })
    }

    /// Keeps what is known of a mailbox whose state is proven. Nothing is lost if that fails.
    pub(crate) fn save<P: Place>(
        &self,
        proof: Proof,
        mailbox: &File,
        summary: Summary<'_>,
        messages: &[MessageInfo],
        places: &[P],
    ) {
        let stamp = proof.stamp();
        if stamp.size < self.from || !is_local(mailbox) {
            return;
        }
        let path = self.path(stamp);
        let is_new = path.symlink_metadata().is_err();
        if self.make_directory().is_some()
            && self.write(&path, proof, summary, messages, places).is_some()
            && is_new
        {
            self.prune();
        }
    }

    /// Keeps only what STATUS tells of a mailbox.
    pub(crate) fn save_status(
        &self,
        proof: Proof,
        mailbox: &File,
        summary: Summary<'_>,
        messages: &[MessageInfo],
    ) {
        self.save::<Nowhere>(proof, mailbox, summary, messages, &[]);
    }

    /// Removes the index of a mailbox that is no more, and its notes.
    pub(crate) fn forget(&self, stamp: Stamp) {
        for path in [self.path(stamp), self.notes_path(stamp)] {
            self.disk.remove(&path).ok();
        }
    }

    fn path(&self, stamp: Stamp) -> PathBuf {
        self.directory.join(format!("{PREFIX}{:x}-{:x}", stamp.device, stamp.inode))
    }

    fn write<P: Place>(
        &self,
        path: &Path,
        proof: Proof,
        summary: Summary<'_>,
        messages: &[MessageInfo],
        places: &[P],
    ) -> Option<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Summary { uid_validity, uid_last, own, keywords, tail } = summary;
        let mut head = Head {
            format: self.format,
            stamp: proof.stamp(),
            lineage: proof.lineage(),
            local_offset: self.env.clock.local_offset(),
            uid_validity,
            uid_last,
            messages: 0,
            recent: 0,
            unseen: 0,
            own,
            tail: hash(1, tail),
            keywords: keywords.clone(),
            sum: Sum::default(),
        };
        head.count(messages)?;
        // That it has room is to be known before anything is written.
        head.encode()?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let beside = PathBuf::from(beside);
        let file = match self.disk.create_new(&beside, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Of a dead process that had our number.
                self.disk.remove(&beside).ok()?;
                self.disk.create_new(&beside, 0o600).ok()?
            }
            file => file.ok()?,
        };
        let written = write_records(self.disk, &file, &mut head, 0, (messages, places))
            .and_then(|()| write_head(self.disk, &file, &head))
            .and_then(|()| self.disk.rename(&beside, path).ok());
        if written.is_none() {
            self.disk.remove(&beside).ok();
        }
        written
    }

    /// Makes the directory if it is not there; `None` if it is none of this user's own. Root, looking at a user's
    /// mailboxes, makes none in that user's home.
    fn make_directory(&self) -> Option<()> {
        if self.directory.symlink_metadata().is_err() {
            let is_ours = |path: &Path| path.metadata().is_ok_and(|found| found.uid() == user());
            let parent = self.directory.parent()?;
            if !parent.exists() && parent.parent().is_some_and(is_ours) {
                self.disk.make_dir(parent, 0o700).ok();
            }
            if is_ours(parent) {
                self.disk.make_dir(self.directory, 0o700).ok();
            }
        }
        self.is_own_directory().then_some(())
    }

    fn is_own_directory(&self) -> bool {
        self.directory.symlink_metadata().is_ok_and(|found| found.is_dir() && is_own(&found))
    }

    /// Removes the oldest indexes if there are too many, and what dead processes left.
    fn prune(&self) {
        let Ok(entries) = self.directory.read_dir() else { return };
        let mut there: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()))
            .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
            .map(|(found, path)| (found.mtime(), found.blocks() * 512, path))
            .collect();
        let is_left = |path: &Path| path.extension().is_some();
        let now = self.env.clock.now();
        there.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
        let (mut files, mut octets) = (0, 0);
        for (modified, length, path) in there {
            files += 1;
            octets += length;
            let is_old = is_left(&path) && modified < now - 86_400;
            // The youngest stays, however large.
            if files > MOST_FILES || octets > MOST_OCTETS && files > 1 || is_old {
                self.disk.remove(&path).ok();
            }
        }
    }
}

/// Where a message is whose record is not kept.
enum Nowhere {}

impl Place for Nowhere {
    fn encode(&self) -> [u8; 32] {
        match *self {}
    }

    fn decode(_: &[u8; 32]) -> Option<Self> {
        None
    }

    fn range(&self) -> std::ops::Range<u64> {
        match *self {}
    }
}

/// An index that is of the present state of its mailbox.
pub(crate) struct Found<'e> {
    disk: &'e Arc<dyn Disk>,
    file: File,
    pub(crate) head: Head,
}

impl Found<'_> {
    /// Returns the proof of the state that it is of.
    pub(crate) fn proof(&self) -> Proof {
        Proof::of_index(self.head.stamp, self.head.lineage)
    }

    /// Reads all records; `None` if they are not what was written.
    pub(crate) fn load<P: Place>(&self) -> Option<(Vec<MessageInfo>, Vec<P>)> {
        let count = usize::try_from(self.head.messages).ok()?;
        let length = self.file.metadata().ok()?.len();
        if length < HEAD as u64 + u64::from(self.head.messages) * RECORD as u64 {
            return None;
        }
        let (mut messages, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut sum, mut block, mut at, mut end) = (Sum::default(), Vec::new(), HEAD as u64, 0);
        let mut last = 0;
        while messages.len() < count {
            block.resize(BLOCK.min((count - messages.len()) * RECORD), 0);
            self.file.read_exact_at(&mut block, at).ok()?;
            at += block.len() as u64;
            for record in block.as_chunks::<RECORD>().0 {
                sum.add(messages.len() as u64, record);
                let (message, place) = decode::<P>(record)?;
                let range = place.range();
                if message.uid().get() <= last || range.start < end || range.end < range.start {
                    return None;
                }
                (last, end) = (message.uid().get(), range.end);
                messages.push(message);
                places.push(place);
            }
        }
        let good = sum == self.head.sum && end <= self.head.stamp.size && last <= self.head.uid_last;
        good.then_some((messages, places))
    }

    /// Makes it the index of the state after the times of the mailbox were set.
    pub(crate) fn restamp(mut self, proof: Proof) {
        (self.head.stamp, self.head.lineage) = (proof.stamp(), proof.lineage());
        // A head that is there in part is not believed.
        write_head(self.disk, &self.file, &self.head);
    }

    /// Adds messages, which were appended to the mailbox. The caller holds the mailbox's exclusive lock.
    pub(crate) fn extend<P: Place>(
        mut self,
        proof: Proof,
        summary: Summary<'_>,
        messages: &[MessageInfo],
        places: &[P],
    ) -> Option<()> {
        let known = self.head.messages;
        self.head.count(messages)?;
        (self.head.stamp, self.head.lineage) = (proof.stamp(), proof.lineage());
        (self.head.uid_last, self.head.own) = (summary.uid_last, summary.own);
        self.head.keywords = summary.keywords.clone();
        self.head.tail = hash(1, summary.tail);
        write_records(self.disk, &self.file, &mut self.head, known, (messages, places))?;
        write_head(self.disk, &self.file, &self.head)
    }
}

/// Writes records from number `first` on, and adds them to the sum.
fn write_records<P: Place>(
    disk: &Arc<dyn Disk>,
    file: &File,
    head: &mut Head,
    first: u32,
    (messages, places): (&[MessageInfo], &[P]),
) -> Option<()> {
    let mut at = HEAD as u64 + u64::from(first) * RECORD as u64;
    let mut block = Vec::new();
    for (number, (message, place)) in (u64::from(first)..).zip(messages.iter().zip(places)) {
        let record = encode(message, place);
        head.sum.add(number, &record);
        block.extend_from_slice(&record);
        if block.len() >= BLOCK {
            disk.write_at(file, &block, at).ok()?;
            at += block.len() as u64;
            block.clear();
        }
    }
    disk.write_at(file, &block, at).ok()
}

fn write_head(disk: &Arc<dyn Disk>, file: &File, head: &Head) -> Option<()> {
    disk.write_at(file, &head.encode()?, 0).ok()
}

fn open(path: &Path, access: Access) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    File::options().read(true).write(access == Access::ReadWrite).custom_flags(flags).open(path)
}

/// Tells whether it is this user's, and nobody else can write to it.
fn is_own(found: &Metadata) -> bool {
    found.uid() == user() && found.mode() & 0o022 == 0
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Tells whether the file's time of change is that of a local file system, which nobody but our kernel writes to.
pub(crate) fn is_local(file: &File) -> bool {
    const LOCAL: [u64; 11] = [
        0xef53,      // ext2 to ext4
        0x5846_5342, // XFS
        0x9123_683e, // btrfs
        0x0102_1994, // tmpfs
        0xf2f5_2010, // F2FS
        0x2fc1_2fc1, // ZFS
        0xca45_1a4e, // bcachefs
        0x794c_7630, // overlayfs
        0x3153_464a, // JFS
        0x5265_4973, // ReiserFS
        0x3434,      // NILFS
    ];
    rustix::fs::fstatfs(file)
        .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| LOCAL.contains(&kind)))
}
