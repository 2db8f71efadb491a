//! The sizes of articles, kept from one session to the next.
//!
//! To know the size of an article in CRLF form needs a look into its file, and the spool is nobody's to write. So what was
//! found goes to `~/.cache/ailurus/news/GROUP`, in the form of a sidecar ([`crate::sidecar`]). Nothing depends on it:
//! without it, or where it is wrong about a file, the file is read again.

use crate::disk::Disk;
use crate::numbered::Filed;
use crate::sidecar::{Event, Lock, Reading, Record, Records, Sidecar, State};
use ailurus_store::Environment;
use ailurus_types::{Flags, Uid};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const N: usize = Filed::LEN;

/// What is known of a group's articles.
pub(super) struct Cache {
    sidecar: Sidecar<N>,
    lock: Lock,
    known: Vec<Record<N>>,
    new: Vec<Filed>,
    usable: bool,
}

impl Cache {
    /// Opens the cache of a group; `None` where there can be none.
    pub(super) fn open(environment: &Environment, disk: &Arc<dyn Disk>, group: &[u8]) -> Option<Self> {
        let directory = environment.home.join(".cache/ailurus/news");
        make(&**disk, &environment.home, &directory).ok()?;
        // Group names have no slash: they have been looked up in a list of them.
        let path = directory.join(OsStr::from_bytes(group));
        let mut sidecar = Sidecar::new(Arc::clone(disk), path, 0o600);
        let lock = sidecar.lock().ok()?;
        let mut records = Records::default();
        let reading = sidecar.read(&lock, &mut records).ok()?;
        let usable = reading != Reading::Unusable;
        let known = if usable { std::mem::take(records.finish()) } else { Vec::new() };
        Some(Self { sidecar, lock, known, new: Vec::new(), usable })
    }

    /// Returns what is known of an article.
    pub(super) fn get(&self, number: u32) -> Option<Filed> {
        let found = self.known.binary_search_by_key(&number, |record| record.uid.get()).ok()?;
        Some(Filed::decode(&self.known[found].identity))
    }

    pub(super) fn add(&mut self, filed: Filed) {
        self.new.push(filed);
    }

    /// Writes what was added; articles outside `left` are forgotten now and then.
    pub(super) fn save(mut self, validity: ailurus_types::UidValidity, left: impl Fn(u32) -> bool) {
        if self.new.is_empty() {
            return;
        }
        let last = self.known.last().map_or(0, |record| record.uid.get());
        let only_later = self.new.iter().all(|filed| filed.number > last);
        let mut state = State::new(validity);
        state.uid_next = self
            .new
            .iter()
            .map(|filed| filed.number)
            .chain([last])
            .max()
            .and_then(Uid::new)
            .and_then(Uid::next);
        let record = |filed: &Filed| {
            Some(Record { uid: Uid::new(filed.number)?, flags: Flags::default(), identity: filed.encode() })
        };
        let new: Vec<_> = self.new.iter().filter_map(record).collect();
        // What cannot be kept is found again.
        if self.usable && only_later && !self.sidecar.is_long() {
            let events = new.iter().map(|record| {
                let Record { uid, flags, identity } = *record;
                Event::Message { uid, flags, identity }
            });
            self.sidecar.append(&self.lock, &state, events).ok();
            return;
        }
        let mut all: Vec<_> = self.known.iter().filter(|record| left(record.uid.get())).copied().collect();
        all.extend(new);
        // Of two the later one counts.
        all.reverse();
        all.sort_by_key(|record| record.uid);
        all.dedup_by_key(|record| record.uid);
        self.sidecar.replace(&mut self.lock, &state, all).ok();
    }
}

/// Makes a directory below the home with those above it.
fn make(disk: &dyn Disk, home: &Path, directory: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> = directory
        .ancestors()
        .take_while(|ancestor| *ancestor != home && !ancestor.exists())
        .map(Path::to_path_buf)
        .collect();
    for directory in missing.into_iter().rev() {
        match disk.make_dir(&directory, 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}
