//! What sessions worked out of messages, kept in a second file beside the index.
//!
//! It has [`BUCKETS`] buckets of [`BUCKET`] octets, most of them holes. A UID's bucket is the one of its [`GROUP`] neighbours,
//! at their number modulo the number of buckets; where mailboxes are so large, or UIDs so far apart, that groups share one, the newer
//! messages have it. Numbers are little-endian:
//!
//! | octets | what |
//! |---|---|
//! | 0..8 | check sum of what follows, up to its length |
//! | 8..16 | lineage |
//! | 16..20 | UID validity value |
//! | 20..24 | number of the group |
//! | 24..28 | length of the bucket |
//! | 28.. | notes: UID (4), kind (2), size (4) and internal date (8) of the message, length (2), octets |
//!
//! # When a note is believed
//!
//! A bucket says whose it is: there is no head, and a bucket of another mailbox, lineage or UID validity value is an empty one.
//! The [lineage](Proof::lineage) is a random number that a reading of the mailbox begins, and that is handed on, with the proof and in
//! the index, as long as nothing but known changes of ours come between: these change no octet of a message that is seen. It ends
//! with the proof, whoever wrote what to the mailbox. When a note is found, the file must have the very stamp of the session's proof, so
//! that what others do during a session is seen as it is without notes. One is taken only for what was read after nothing was
//! found, when the proof is still the same, and has the file's stamp after the reading.
//!
//! # Writing
//!
//! A bucket is written in place, by one call, when another one is needed or the mailbox is closed: it is read, changed
//! and written by whoever comes, without a lock. What is torn or mixed has the wrong sum and is empty; of two who
//! write the same bucket one loses what it noted. One bucket is in memory.

use super::record::hash;
use super::{Indexes, Proof, Stamp, is_local, is_own, open};
use crate::disk::Disk;
use ailurus_store::{Access, MessageInfo, MessageNotes, NoteKind};
use ailurus_types::UidValidity;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUCKET: usize = 16 * 1024;
/// 64 MiB in all.
const BUCKETS: u32 = 4096;
const GROUP: u32 = 32;
const HEAD: usize = 28;
/// What tells a note from others, and its length.
const NAME: usize = 18;
const ENTRY: usize = NAME + 2;
/// With what check sums begin; to be changed with the format.
const EDITION: u64 = 0x6e6f_7465_7300_0001;
/// Who has written so much looks whether all of the cache has become too large.
const MUCH: usize = 4 * 1024 * 1024;

/// The notes of an open mailbox, which may be none.
#[derive(Default)]
pub(crate) enum Notes {
    #[default]
    Unopened,
    /// There is no place for them.
    Absent,
    Open(Box<Opened>),
}

/// The lineage, the UID validity value and the group: the first words of a bucket.
type Key = [u8; 16];

/// What was looked for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Asked {
    /// This note.
    One([u8; NAME]),
    /// Notes of this kind.
    Many(NoteKind),
}

/// Notes at a moment.
struct Look<'n> {
    notes: &'n mut Opened,
    mailbox: &'n File,
}

pub(crate) struct Opened {
    disk: Arc<dyn Disk>,
    file: File,
    writable: bool,
    written: usize,
    /// What is proven of the mailbox.
    proof: Proof,
    validity: UidValidity,
    /// The last look that found nothing, or not all.
    asked: Option<(Asked, Proof, UidValidity)>,
    bucket: Vec<u8>,
    is_dirty: bool,
    /// In the file, newer messages have this bucket.
    is_taken: bool,
}

impl Notes {
    /// Returns the notes of a mailbox of which the session has this proof.
    pub(crate) fn at<'n>(
        &'n mut self,
        mailbox: &'n File,
        proof: Proof,
        validity: UidValidity,
        indexes: Option<Indexes<'_>>,
    ) -> Option<Box<dyn MessageNotes + 'n>> {
        if let Self::Unopened = self {
            let indexes = indexes.filter(|_| is_local(mailbox));
            let opened = indexes.and_then(|indexes| Opened::of(&indexes, proof, validity));
            *self = opened.map_or(Self::Absent, |opened| Self::Open(Box::new(opened)));
        }
        let Self::Open(opened) = self else { return None };
        (opened.proof, opened.validity) = (proof, validity);
        Some(Box::new(Look { notes: opened, mailbox }))
    }

    /// Writes what is in memory, when the mailbox is closed.
    pub(crate) fn close(&mut self, indexes: Option<Indexes<'_>>) {
        if let Self::Open(mut opened) = std::mem::take(self) {
            opened.flush();
            if let Some(indexes) = indexes.filter(|_| opened.written >= MUCH) {
                indexes.prune();
            }
        }
    }
}

impl Indexes<'_> {
    pub(super) fn notes_path(&self, stamp: Stamp) -> PathBuf {
        let mut path = self.path(stamp).into_os_string();
        path.push("-notes");
        path.into()
    }
}

impl Opened {
    fn of(indexes: &Indexes<'_>, proof: Proof, validity: UidValidity) -> Option<Self> {
        if proof.stamp().size < indexes.env.index_from {
            return None;
        }
        indexes.make_directory()?;
        let path = indexes.notes_path(proof.stamp());
        let (file, writable) = match open_own(&path) {
            Some(opened) => opened,
            None => {
                let file = indexes.disk.create_new(&path, 0o600).ok()?;
                indexes.prune();
                (file, true)
            }
        };
        Some(Self {
            disk: Arc::clone(indexes.disk),
            file,
            writable,
            written: 0,
            proof,
            validity,
            asked: None,
            bucket: Vec::new(),
            is_dirty: false,
            is_taken: false,
        })
    }

    /// Brings the bucket of a group into memory.
    fn turn_to(&mut self, group: u32) {
        let mut key: Key = [0; 16];
        key[..8].copy_from_slice(&self.proof.lineage().to_le_bytes());
        key[8..12].copy_from_slice(&self.validity.get().to_le_bytes());
        key[12..].copy_from_slice(&group.to_le_bytes());
        if self.bucket.get(8..24) == Some(&key) {
            return;
        }
        self.flush();
        self.load(group);
        let found: Option<Key> = self.bucket.get(8..24).and_then(|found| found.try_into().ok());
        if found == Some(key) {
            return;
        }
        let number = |found: Key| u32::from_le_bytes(*found[12..].as_array().expect("there are four octets"));
        self.is_taken = found.is_some_and(|found| found[..12] == key[..12] && number(found) > group);
        self.bucket.clear();
        self.bucket.resize(HEAD, 0);
        self.bucket[8..24].copy_from_slice(&key);
    }

    /// Reads a bucket; one that is not what was written is empty.
    fn load(&mut self, group: u32) {
        self.is_taken = false;
        self.bucket.resize(BUCKET, 0);
        let mut length = 0;
        while length < BUCKET {
            match self.file.read_at(&mut self.bucket[length..], place(group) + length as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => length += read,
            }
        }
        let word = |at: usize| Some(u32::from_le_bytes(*self.bucket.get(at..)?.first_chunk()?));
        let used = word(24).and_then(|used| usize::try_from(used).ok()).unwrap_or(0);
        let is_whole = (HEAD..=length).contains(&used)
            && self.bucket[..8] == hash(EDITION, &self.bucket[8..used]).to_le_bytes();
        self.bucket.truncate(if is_whole { used } else { 0 });
    }

    fn flush(&mut self) {
        if !std::mem::take(&mut self.is_dirty) || !self.writable {
            return;
        }
        let Some(group) = self.bucket.get(20..24).and_then(|group| group.as_array()) else { return };
        let group = u32::from_le_bytes(*group);
        let used = u32::try_from(self.bucket.len()).expect("a bucket is small");
        self.bucket[24..28].copy_from_slice(&used.to_le_bytes());
        let sum = hash(EDITION, &self.bucket[8..]);
        self.bucket[..8].copy_from_slice(&sum.to_le_bytes());
        self.writable = self.disk.write_at(&self.file, &self.bucket, place(group)).is_ok();
        self.written += self.bucket.len();
    }

    /// Adds a note if there is room.
    fn add(&mut self, name: &[u8; NAME], kind: NoteKind, octets: &[u8]) {
        let room = BUCKET.saturating_sub(ENTRY + octets.len());
        if self.is_taken || HEAD > room {
            return;
        }
        if self.bucket.len() > room {
            self.drop_superseded(kind);
        }
        if self.bucket.len() <= room {
            append(&mut self.bucket, name, octets);
            self.is_dirty = true;
        }
    }

    /// Gives up notes of the same thing in other editions: an older program's.
    fn drop_superseded(&mut self, kind: NoteKind) {
        let [edition, what] = kind.0.to_le_bytes();
        let mut kept = self.bucket[..HEAD].to_vec();
        for (name, octets) in entries(&self.bucket).filter(|(name, _)| name[5] != what || name[4] == edition)
        {
            append(&mut kept, name, octets);
        }
        self.bucket = kept;
    }
}

impl MessageNotes for Look<'_> {
    fn get(&mut self, message: &MessageInfo, kind: NoteKind, out: &mut Vec<u8>) -> bool {
        let notes = &mut *self.notes;
        notes.turn_to(message.uid().get() / GROUP);
        let name = name(message, kind);
        let Some(octets) = find(&notes.bucket, &name) else {
            // Whether the file is what it was is looked at when all of the message was read.
            notes.asked = Some((Asked::One(name), notes.proof, notes.validity));
            return false;
        };
        notes.asked = None;
        let holds = notes.proof.still(self.mailbox).is_some();
        if holds {
            out.extend_from_slice(octets);
        }
        holds
    }

    fn put(&mut self, message: &MessageInfo, kind: NoteKind, octets: &[u8]) {
        let name = name(message, kind);
        if self.may_note(Asked::One(name)) {
            self.notes.turn_to(message.uid().get() / GROUP);
            self.notes.add(&name, kind, octets);
        }
    }

    fn get_all(
        &mut self,
        messages: &[MessageInfo],
        kind: NoteKind,
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> bool {
        let notes = &mut *self.notes;
        for (position, message) in messages.iter().enumerate() {
            notes.turn_to(message.uid().get() / GROUP);
            if let Some(octets) = find(&notes.bucket, &name(message, kind)) {
                found(position, octets);
            }
        }
        notes.asked = Some((Asked::Many(kind), notes.proof, notes.validity));
        notes.proof.still(self.mailbox).is_some()
    }

    fn put_all(&mut self, notes: &[(MessageInfo, Vec<u8>)], kind: NoteKind) {
        if !self.may_note(Asked::Many(kind)) {
            return;
        }
        for (message, octets) in notes {
            self.notes.turn_to(message.uid().get() / GROUP);
            self.notes.add(&name(message, kind), kind, octets);
        }
    }
}

impl Look<'_> {
    /// Tells whether what was read since this was asked can be noted.
    fn may_note(&mut self, asked: Asked) -> bool {
        let notes = &mut *self.notes;
        let is_asked = notes.asked.take() == Some((asked, notes.proof, notes.validity));
        is_asked && notes.writable && notes.proof.still(self.mailbox).is_some()
    }
}

/// Opens the file if it is there, and nobody else's; tells whether it may be written to.
fn open_own(path: &Path) -> Option<(File, bool)> {
    let opened = open(path, Access::ReadWrite).map(|file| (file, true));
    let (file, writable) = opened.or_else(|_| open(path, Access::ReadOnly).map(|file| (file, false))).ok()?;
    let found = file.metadata().ok()?;
    (is_own(&found) && found.is_file() && found.nlink() == 1).then_some((file, writable))
}

fn place(group: u32) -> u64 {
    u64::from(group % BUCKETS) * BUCKET as u64
}

fn name(message: &MessageInfo, kind: NoteKind) -> [u8; NAME] {
    let mut name = [0; NAME];
    name[..4].copy_from_slice(&message.uid().get().to_le_bytes());
    name[4..6].copy_from_slice(&kind.0.to_le_bytes());
    name[6..10].copy_from_slice(&message.rfc822_size().to_le_bytes());
    name[10..].copy_from_slice(&message.internal_date().to_bits().to_le_bytes());
    name
}

fn append(bucket: &mut Vec<u8>, name: &[u8; NAME], octets: &[u8]) {
    let length = u16::try_from(octets.len()).expect("a bucket is small");
    bucket.extend_from_slice(name);
    bucket.extend_from_slice(&length.to_le_bytes());
    bucket.extend_from_slice(octets);
}

fn find<'b>(bucket: &'b [u8], name: &[u8; NAME]) -> Option<&'b [u8]> {
    entries(bucket).find(|(other, _)| *other == name).map(|(_, octets)| octets)
}

fn entries(bucket: &[u8]) -> impl Iterator<Item = (&[u8; NAME], &[u8])> {
    let mut rest = bucket.get(HEAD..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<NAME>()?;
        let (length, after) = after.split_first_chunk()?;
        let (octets, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
        rest = after;
        Some((name, octets))
    })
}
