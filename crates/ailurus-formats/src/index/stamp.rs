//! In which state a mailbox file is.

use crate::disk::Disk;
use ailurus_store::Environment;
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Which file it is and when it was changed last: as long as it is the same, so is what is in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

/// The clock of files goes on at least this often, in nanoseconds.
const TICK: i128 = 20_000_000;

impl Stamp {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Returns it as a format can keep it in [`super::Head::own`].
    pub(crate) fn to_words(self) -> [u64; 5] {
        let nanoseconds =
            |(seconds, rest): (i64, i64)| seconds.wrapping_mul(1_000_000_000).wrapping_add(rest);
        let times = [self.modified, self.changed].map(|time| nanoseconds(time).cast_unsigned());
        [self.device, self.inode, self.size, times[0], times[1]]
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        Ok(Self::of(&file.metadata()?))
    }

    /// Tells whether the last change was so long before `now` that the next one cannot have the same time.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let changed = i128::from(self.changed.0) * 1_000_000_000 + i128::from(self.changed.1);
        i128::try_from(now).is_ok_and(|now| changed + TICK < now)
    }
}

/// Proof that what was read from a file was there at its stamp, and that the stamp is no later state's as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Proof {
    stamp: Stamp,
    lineage: u64,
}

impl Proof {
    /// Begins a lineage.
    fn of_reading(stamp: Stamp) -> Self {
        // No state is to be taken for that of another reading: the keys of hashers are random.
        Self { stamp, lineage: RandomState::new().hash_one((stamp.inode, stamp.changed)) }
    }

    /// Returns that of an index, which had one when it was made.
    pub(super) fn of_index(stamp: Stamp, lineage: u64) -> Self {
        Self { stamp, lineage }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns a number that the states have in common which one reading was the beginning of, and nothing but known
    /// changes of ours came between; no others have it. What a UID with its UID validity value names, it names in all of them.
    pub(super) fn lineage(&self) -> u64 {
        self.lineage
    }

    /// Returns the proof if the file is still what it was; for who has it under lock now.
    pub(crate) fn still(self, file: &File) -> Option<Self> {
        Stamp::of_file(file).is_ok_and(|now| now == self.stamp).then_some(self)
    }
}

/// A reading of a file under way.
pub(crate) struct Reading {
    stamp: Stamp,
    is_settled: bool,
}

impl Reading {
    /// Begins, before the first octet is read.
    pub(crate) fn begin(file: &File) -> io::Result<Self> {
        let stamp = Stamp::of_file(file)?;
        Ok(Self { stamp, is_settled: stamp.is_settled(SystemTime::now()) })
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns the proof for who has the lock without which nobody changes the file, and checks it with
    /// [`Proof::still`] before changing anything.
    pub(crate) fn begun(self) -> Option<Proof> {
        self.is_settled.then(|| Proof::of_reading(self.stamp))
    }

    /// Ends it. `None` if the file was changed meanwhile, or just before.
    pub(crate) fn end(self, file: &File) -> Option<Proof> {
        if !self.is_settled {
            return None;
        }
        Proof::of_reading(self.stamp).still(file)
    }
}

/// Sets the times of a mailbox file, which is what we do last after each change, and returns the proof for the state that
/// results, if there was one for the state before; the caller holds the lock.
///
/// What is changed right after us can have the same time of change: clocks of files tick every 4 ms on many kernels.
/// Therefore the time of modification gets the nanoseconds of a finer clock, a signature: whoever writes to the file
/// replaces it.
pub(crate) fn set_times_signed(
    disk: &dyn Disk,
    env: &Environment,
    file: &File,
    times: (i64, i64),
    before: Option<Proof>,
) -> Option<Proof> {
    let (accessed, modified) = times;
    if env.cache_dir.is_none() {
        disk.set_times(file, accessed, modified).ok()?;
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let signature = now.subsec_nanos();
    disk.set_times_finely(file, accessed, modified, signature).ok()?;
    let after = Stamp::of_file(file).ok()?;
    let before = before.filter(|_| after.modified == (modified, i64::from(signature)));
    before.map(|before| Proof { stamp: after, ..before })
}
