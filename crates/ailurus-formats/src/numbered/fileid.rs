//! Whether a file or directory is still what it was.

use crate::files;
use crate::journal::mix;
use ailurus_types::InternalDate;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What tells the file of one message from that of another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileId {
    pub(crate) inode: u64,
    /// Its length; of one beyond 32 bits, the low ones.
    pub(crate) size: u32,
    /// Its modification time: seconds since 1970 UTC, and nanoseconds. Seconds that no internal date has are those of the
    /// nearest one that has.
    pub(crate) modified: (i64, u32),
    /// A checksum of its change time. An inode can be used again, and the modification time be set to what it was: the
    /// change time tells. But it changes with every rename, too.
    pub(crate) changed: u32,
}

impl FileId {
    /// Returns the identity of an open file.
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            inode: found.ino(),
            size: low(found.len()),
            modified: (seconds(found.mtime()), u32::try_from(found.mtime_nsec()).unwrap_or(0)),
            changed: blend(found.ctime(), u64::try_from(found.ctime_nsec()).unwrap_or(0)),
        }
    }

    fn of_stat(found: &Stat) -> Self {
        Self {
            inode: found.st_ino,
            size: low(u64::try_from(found.st_size).unwrap_or(0)),
            modified: (seconds(found.st_mtime), u32::try_from(found.st_mtime_nsec).unwrap_or(0)),
            changed: blend(found.st_ctime, found.st_ctime_nsec),
        }
    }

    /// Tells whether the other looks like the same file, perhaps renamed in between.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    /// Returns the internal date of a message whose file this is.
    pub(crate) fn date(&self) -> InternalDate {
        InternalDate::from_timestamp(self.modified.0, 0)
    }

    /// Tells whether somebody may be writing the file: it has changed just now.
    pub(crate) fn is_fresh(&self) -> bool {
        const WRITING: i64 = 2;
        let (now, _) = now();
        (now - WRITING..=now + WRITING).contains(&self.modified.0)
    }
}

fn low(size: u64) -> u32 {
    u32::try_from(size & 0xffff_ffff).unwrap_or(0)
}

fn blend(seconds: i64, nanoseconds: u64) -> u32 {
    let mixed = mix(mix(1, seconds.cast_unsigned()), nanoseconds);
    low(mixed ^ mixed >> 32)
}

fn seconds(modified: i64) -> i64 {
    InternalDate::from_timestamp(modified, 0).timestamp()
}

/// What [`Folder::look`] tells of a message's file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Look {
    pub(crate) id: FileId,
    /// Whether it was read after it was last written, as far as the system keeps that.
    pub(crate) was_read: bool,
}

/// An open directory of numbered files.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    directory: File,
}

impl Folder {
    /// Opens a directory.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        Ok(Self { path: path.into(), directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open directory.
    pub(crate) fn directory(&self) -> &File {
        &self.directory
    }

    /// Returns the path of a message's file.
    pub(crate) fn file(&self, number: u32) -> PathBuf {
        self.path.join(number.to_string())
    }

    /// Looks at a message's file; `None` when there is none, or no plain one.
    pub(crate) fn look(&self, number: u32) -> io::Result<Option<Look>> {
        let found = match rustix::fs::statat(&self.directory, decimal(number, &mut [0; 10]), AtFlags::empty())
        {
            // A link to nowhere, or to itself.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            Err(Errno::ACCESS) if self.is_link(number) => return Ok(None),
            found => found?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let was_read = found.st_atime > found.st_mtime;
        Ok(Some(Look { id: FileId::of_stat(&found), was_read }))
    }

    fn is_link(&self, number: u32) -> bool {
        let (name, flags) = (&mut [0; 10], AtFlags::SYMLINK_NOFOLLOW);
        let found = rustix::fs::statat(&self.directory, decimal(number, name), flags);
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
    }

    /// Opens a message's file to read; `None` when it does not look like this one any more.
    pub(crate) fn open_file(&self, number: u32, id: &FileId) -> io::Result<Option<File>> {
        self.open_with(number, id, OFlags::empty())
    }

    /// Opens a message's file to read it for our own sake: where the system lets us, it does not count as read.
    pub(crate) fn open_quietly(&self, number: u32, id: &FileId) -> io::Result<Option<File>> {
        match self.open_with(number, id, OFlags::NOATIME) {
            // The file belongs to another user.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.open_file(number, id),
            opened => opened,
        }
    }

    fn open_with(&self, number: u32, id: &FileId, flags: OFlags) -> io::Result<Option<File>> {
        let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let name = &mut [0; 10];
        let file = match rustix::fs::openat(&self.directory, decimal(number, name), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
            file => File::from(file?),
        };
        let found = file.metadata()?;
        Ok((found.is_file() && FileId::of(&found).is_like(id)).then_some(file))
    }

    /// Returns the times of the directory; an error of kind `NotFound` when the path leads to another by now.
    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        let (found, mine) = (self.path.metadata()?, self.directory.metadata()?);
        if !files::is_one(&found, &mine) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Stamp::of(&found))
    }
}

/// Writes a number as a name, without memory of its own: this is done for each message.
fn decimal(number: u32, name: &mut [u8; 10]) -> &[u8] {
    let (mut at, mut rest) = (name.len(), number);
    loop {
        at -= 1;
        name[at] = b'0' + u8::try_from(rest % 10).expect("one digit");
        rest /= 10;
        if rest == 0 {
            return &name[at..];
        }
    }
}

/// The times of a directory, or of a file that many write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    modified: (i64, i64),
    /// Archivers put the modification time back, but cannot put this one.
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn of(found: &Metadata) -> Self {
        Self { modified: (found.mtime(), found.mtime_nsec()), changed: (found.ctime(), found.ctime_nsec()) }
    }

    /// Tells whether all changes from now on will show: the times lie back by more than the grain of the clock that
    /// they come from.
    pub(crate) fn is_settled(&self) -> bool {
        const NANOSECONDS: i64 = 1_000_000_000;
        let is_fine = self.modified.1 != 0 && self.changed.1 != 0;
        let grain = if is_fine { NANOSECONDS / 20 } else { 2 * NANOSECONDS + NANOSECONDS / 10 };
        let (seconds, nanoseconds) = now();
        let age = |(since, rest): (i64, i64)| {
            (seconds - since).saturating_mul(NANOSECONDS).saturating_add(i64::from(nanoseconds) - rest)
        };
        age(self.modified) > grain && age(self.changed) > grain
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let fields = [self.modified.0, self.modified.1, self.changed.0, self.changed.1];
        for (place, field) in out.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        out
    }

    pub(crate) fn decode(octets: &[u8; Self::LEN]) -> Self {
        let field = |at: usize| i64::from_le_bytes(octets.as_chunks::<8>().0[at]);
        Self { modified: (field(0), field(1)), changed: (field(2), field(3)) }
    }
}

/// The time by the clock that files have; tests that hold the time still do not hold that one.
fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decimal() {
        for number in [1, 9, 10, 4_294_967_295] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn only_plain_files_are_looked_at_and_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("1"), "text").unwrap();
        std::fs::create_dir(path("2")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("3"), Mode::RWXU).unwrap();
        for (name, to) in [("4", "nowhere"), ("5", "5"), ("6", "1"), ("7", "3")] {
            std::os::unix::fs::symlink(to, path(name)).unwrap();
        }
        let folder = Folder::open(scratch.path()).unwrap();
        let look = |number| folder.look(number).unwrap().map(|look| look.id);
        let id = look(1).unwrap();
        assert_eq!((id.size, look(6)), (4, Some(id)));
        for number in [2, 3, 4, 5, 7, 8] {
            assert_eq!(look(number), None, "{number}");
            assert!(folder.open_file(number, &id).unwrap().is_none(), "{number}");
        }
        assert!(folder.open_quietly(1, &id).unwrap().is_some());
        std::fs::write(path("1"), "more text").unwrap();
        assert!(folder.open_file(1, &id).unwrap().is_none());
    }

    #[test]
    fn a_directory_that_changed_just_now_is_not_settled() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::open(scratch.path()).unwrap();
        std::fs::write(scratch.path().join("1"), "").unwrap();
        let stamp = folder.stamp().unwrap();
        assert_eq!(Stamp::decode(&stamp.encode()), stamp);
        assert!(!stamp.is_settled());
        let moved = scratch.path().with_extension("moved");
        std::fs::rename(scratch.path(), &moved).unwrap();
        std::fs::create_dir(scratch.path()).unwrap();
        assert_eq!(folder.stamp().unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(moved).unwrap();
    }
}
