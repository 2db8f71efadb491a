//! The note about a move that is under way: `.ailurus-new-mail` in the mailbox directory.
//!
//! Numbers are little endian. A note whose checksum is another was never finished: INBOX was not touched.
//!
//! | octets | |
//! |---|---|
//! | 16 | `ailurus-moves-2` LF |
//! | 4, 4 | UID validity value of INBOX, the next UID (0: unknown) before the messages were appended |
//! | 8, 8 | how many messages are moved; octets of the next |
//! | | which INBOX that is: driver LF name LF path |
//! | 32 each | of each message: how many octets of it count, two checksums of them, checksum of its From_ line |
//! | 8 | checksum of all that |
//! | 1 | `+` once INBOX has the messages; may be missing |

use super::likeness::{Likeness, sum_of};
use crate::disk::Disk;
use ailurus_store::{Error, Location, Place, Result, Snapshot};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"ailurus-moves-2\n";
const HEAD: usize = 40;
const RECORD: usize = 32;
/// No spool has more: a file that says so is none of ours.
const MOST: u64 = 10_000_000;
/// No driver, name and path are longer.
const MOST_TARGET: u64 = 16 * 1024;

/// By what a message in the spool is known.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Moved {
    pub(super) likeness: Likeness,
    pub(super) from_line: u64,
}

/// The INBOX that messages are moved to: a user can have more than one, beside `#mhinbox` and where a format was changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) driver: String,
    name: Vec<u8>,
    pub(super) path: PathBuf,
}

impl Target {
    pub(super) fn new(driver: &str, at: &Location, path: &Path) -> Self {
        let name = at.path().map_or(at.name.as_bytes(), |_| b"INBOX").to_vec();
        Self { driver: driver.to_owned(), name, path: path.to_owned() }
    }

    /// Returns where its driver finds it.
    pub(super) fn location(&self) -> Location {
        let is_inbox = self.name.eq_ignore_ascii_case(b"INBOX");
        let place = if is_inbox { Place::Inbox } else { Place::Special };
        Location { name: String::from_utf8_lossy(&self.name).as_ref().into(), place }
    }

    /// Tells whether both are the same mailbox, whatever name it was asked for by.
    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.driver, &self.path) == (&other.driver, &other.path)
    }

    fn encode(&self) -> Vec<u8> {
        [self.driver.as_bytes(), &self.name, self.path.as_os_str().as_bytes()].join(&b'\n')
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let mut parts = octets.splitn(3, |octet| *octet == b'\n');
        let driver = String::from_utf8(parts.next()?.to_vec()).ok()?;
        let (name, path) = (parts.next()?.to_vec(), OsStr::from_bytes(parts.next()?).into());
        Some(Self { driver, name, path })
    }
}

/// What was noted.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) target: Target,
    pub(super) uid_validity: u32,
    /// 0: unknown.
    pub(super) uid_next: u32,
    pub(super) messages: Vec<Moved>,
    /// INBOX has them all.
    pub(super) done: bool,
}

/// Returns where the note is.
pub(super) fn path_in(directory: &Path) -> PathBuf {
    directory.join(".ailurus-new-mail")
}

impl Note {
    /// Returns the note of these messages, which are to be appended to an INBOX in this state.
    pub(super) fn new(target: Target, inbox: &Snapshot, messages: Vec<Moved>) -> Self {
        let uid_next = inbox.uid_next.map_or(0, ailurus_types::Uid::get);
        Self { target, uid_validity: inbox.uid_validity.get(), uid_next, messages, done: false }
    }

    /// Reads the note, if there is one that was finished.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let failed = Error::io("read", path);
        match open(path) {
            Ok(Some(file)) => Self::decode(&file).map_err(failed),
            Ok(None) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn decode(file: &File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let mut head = [0; HEAD];
        if length < (HEAD + 8) as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut head, 0)?;
        let (count, named) = (number(&head[24..32]), number(&head[32..40]));
        if &head[..16] != MAGIC || count > MOST || named > MOST_TARGET {
            return Ok(None);
        }
        if length < (HEAD + 8) as u64 + named + count * RECORD as u64 {
            return Ok(None);
        }
        let start = HEAD + usize::try_from(named).map_err(io::Error::other)?;
        let size = start + usize::try_from(count).map_err(io::Error::other)? * RECORD;
        let mut octets = vec![0; size + 8];
        file.read_exact_at(&mut octets, 0)?;
        if number(&octets[size..]) != sum_of(&octets[..size]) {
            return Ok(None);
        }
        let Some(target) = Target::decode(&octets[HEAD..start]) else { return Ok(None) };
        let messages = octets[start..size].as_chunks::<RECORD>().0.iter().map(Moved::decode).collect();
        let mut done = [0];
        let done =
            length > size as u64 + 8 && file.read_at(&mut done, size as u64 + 8)? == 1 && done == *b"+";
        let (validity, next) = (number(&head[16..20]), number(&head[20..24]));
        let small = |number: u64| u32::try_from(number).unwrap_or(0);
        Ok(Some(Self { target, uid_validity: small(validity), uid_next: small(next), messages, done }))
    }

    /// Writes the note in the place of one that counts no more. With `Ok`, it is safe on the disk.
    pub(super) fn write(&self, disk: &dyn Disk, path: &Path) -> Result<Written> {
        remove(disk, path)?;
        let file = disk.create_new(path, 0o600).map_err(Error::io("create", path))?;
        let mut octets = MAGIC.to_vec();
        octets.extend_from_slice(&self.uid_validity.to_le_bytes());
        octets.extend_from_slice(&self.uid_next.to_le_bytes());
        octets.extend_from_slice(&(self.messages.len() as u64).to_le_bytes());
        let target = self.target.encode();
        octets.extend_from_slice(&(target.len() as u64).to_le_bytes());
        octets.extend_from_slice(&target);
        for message in &self.messages {
            message.encode(&mut octets);
        }
        octets.extend_from_slice(&sum_of(&octets).to_le_bytes());
        disk.write_at(&file, &octets, 0).map_err(Error::io("write", path))?;
        disk.sync(&file).map_err(Error::io("sync", path))?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        disk.sync_dir(directory).map_err(Error::io("sync", directory))?;
        Ok(Written { file, length: octets.len() as u64 })
    }
}

/// A note on the disk.
#[derive(Debug)]
pub(super) struct Written {
    file: File,
    length: u64,
}

impl Written {
    /// Adds that INBOX has the messages. Not synced: without it they are looked for there.
    pub(super) fn done(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.write_at(&self.file, b"+", self.length)
    }
}

/// Removes the note.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

impl Moved {
    fn encode(&self, out: &mut Vec<u8>) {
        let Likeness { length, sum } = self.likeness;
        for field in [length, sum[0], sum[1], self.from_line] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(octets: &[u8; RECORD]) -> Self {
        let field = |at: usize| number(&octets[at..at + 8]);
        let likeness = Likeness { length: field(0), sum: [field(8), field(16)] };
        Self { likeness, from_line: field(24) }
    }
}

fn number(octets: &[u8]) -> u64 {
    octets.iter().take(8).rev().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

/// Opens the note, if it is one that can only be ours.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    Ok((ours && found.is_file() && found.nlink() == 1 && found.mode() & 0o022 == 0).then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;

    #[test]
    fn a_note_is_read_as_it_was_written_and_no_other_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_in(directory.path());
        assert!(Note::read(&path).unwrap().is_none());
        let moved = |n: u64| Moved { likeness: Likeness { length: n, sum: [n + 1, !n] }, from_line: n << 40 };
        let at = Location { name: "#MHInbox".into(), place: Place::Special };
        let target = Target::new("mh", &at, Path::new("/home/a\nb/Mail/inbox"));
        let note =
            Note { target, uid_validity: 7, uid_next: 9, messages: vec![moved(1), moved(2)], done: false };
        let written = note.write(&Os, &path).unwrap();
        let found = Note::read(&path).unwrap().unwrap();
        assert_eq!((found.uid_validity, found.uid_next, found.done), (7, 9, false));
        assert_eq!(found.messages, note.messages);
        assert_eq!((&found.target, found.target.location().place), (&note.target, Place::Special));
        written.done(&Os).unwrap();
        assert!(Note::read(&path).unwrap().unwrap().done);
        let content = std::fs::read(&path).unwrap();
        for at in 0..content.len() - 1 {
            let mut damaged = content.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(Note::read(&path).unwrap().is_none(), "octet {at}");
            std::fs::write(&path, &content[..at]).unwrap();
            assert!(Note::read(&path).unwrap().is_none_or(|note| !note.done && at == content.len() - 1));
        }
        // Another takes its place.
        note.write(&Os, &path).unwrap();
        remove(&Os, &path).unwrap();
        remove(&Os, &path).unwrap();
        assert!(!path.exists());
    }
}
