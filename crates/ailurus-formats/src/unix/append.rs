//! APPEND (spec/formats-unix.md §6): messages are collected first, then all are written at the end of the file.

use super::dialect::{Dialect, MARK, has_mark_after};
use super::mailbox::{initial_error, is_same};
use super::parse::{KEYWORDS, Scan};
use super::render::{Base, Old, append_arrival_fields, append_block};
use super::write::{Recent, Target, WhenEmpty, write_out};
use super::{Shared, io_error, not_found_or};
use crate::crlf::{DECIDING, Internal};
use crate::files;
use crate::from_line::{FROM, FromLine};
use crate::journal::{BLOCK, Places, read_up_to, recover};
use crate::lock::{LockedFile, Mode, Opening, SessionLock};
use crate::rewrite::{Rewrite, RewriteError};
use crate::spool::Spool;
use ailurus_store::{Access, Append, AppendMeta, Appended, Error, Level, Location, Manner, Place, Result};
use ailurus_types::{Flags, InternalDate, Keyword, KeywordMask, Keywords, Uid, UidValidity};
use memchr::{memchr2, memchr3};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

const LONGEST_JUDGED: usize = 1024;
/// More than this goes through a journal.
const MOST_AT_ONCE: u64 = BLOCK as u64;
/// So much is held before it is written: with From_ line and status block, what comes at once is one write.
const MOST_HELD: usize = 2 * BLOCK;

/// Messages on their way into a mailbox.
pub(super) struct Appending<'d> {
    shared: &'d Arc<Shared>,
    at: Location,
    path: PathBuf,
    spool: Spool,
    messages: Vec<Arriving>,
    open: Option<Converter>,
}

/// A message in the spool: its header without the empty line, then its text, both as they will be in the file.
struct Arriving {
    meta: AppendMeta,
    header: u64,
    text: u64,
    end: u64,
    // The last line of the text has no LF.
    is_open: bool,
}

impl<'d> Appending<'d> {
    pub(super) fn new(shared: &'d Arc<Shared>, at: Location, path: PathBuf) -> Self {
        let spool = Spool::new(&shared.env, &path);
        Self { shared, at, path, spool, messages: Vec::new(), open: None }
    }
}

impl Append for Appending<'_> {
    fn begin(&mut self, meta: AppendMeta) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::Refused("message was not ended".into()));
        }
        if meta.size == 0 {
            return Err(Error::Refused("Append of zero-length message".into()));
        }
        let header = self.spool.len();
        // In a mailbox with From_ lines all others were harmless: a copy stays what it was.
        let header_only = self.shared.env.from_widget_header_only || meta.from_line.is_some();
        self.messages.push(Arriving { meta, header, text: header, end: header, is_open: false });
        self.open = Some(Converter::new(self.shared.dialect, header_only));
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        let (Some(converter), Some(message)) = (&mut self.open, self.messages.last_mut()) else {
            return Err(Error::Refused("no message was begun".into()));
        };
        converter.taken = converter.taken.saturating_add(octets.len() as u64);
        if converter.taken > message.meta.size {
            return Err(wrong_size());
        }
        let taken = converter.take(octets, &mut self.spool, message);
        if taken.is_err() {
            converter.taken = u64::MAX;
        }
        taken.map_err(Error::io("store what is to append to", &self.path))
    }

    fn end(&mut self) -> Result<()> {
        let (Some(converter), Some(message)) = (&mut self.open, self.messages.last_mut()) else {
            return Err(Error::Refused("no message was begun".into()));
        };
        if converter.taken != message.meta.size {
            return Err(wrong_size());
        }
        let finished = converter.finish(&mut self.spool, message);
        finished.map_err(Error::io("store what is to append to", &self.path))?;
        self.open = None;
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Appended> {
        if self.open.is_some() {
            return Err(Error::Refused("message was not ended".into()));
        }
        if self.messages.is_empty() {
            return Ok(Appended::default());
        }
        let file = self.destination()?;
        let Shared { disk, env, .. } = &**self.shared;
        let session = SessionLock::acquire(disk, env, &file, Manner::Silent);
        let opening = Opening { mode: Mode::Exclusive, manner: Manner::Session, access: Access::ReadWrite };
        let locked =
            LockedFile::open(disk, env, &self.path, opening).map_err(Error::io("lock", &self.path))?;
        if !is_same(locked.file(), &file) {
            return Err(Error::InUse { path: self.path.clone() });
        }
        let file = locked.file();
        let result = match session {
            Some(_) => self.arrive_with_uids(file),
            None => self.arrive(file).map(|()| Appended::default()),
        };
        drop(locked);
        drop(session);
        result
    }
}

impl Appending<'_> {
    /// Opens the mailbox, making an INBOX that is not there.
    fn destination(&self) -> Result<File> {
        let Shared { disk, env, .. } = &**self.shared;
        match files::open(&self.path, Access::ReadWrite) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.at.place == Place::Inbox => {
                match disk.create_new(&self.path, env.modes(&self.at.name).0) {
                    Ok(file) => Ok(file),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        files::open(&self.path, Access::ReadWrite).map_err(Error::io("open", &self.path))
                    }
                    Err(error) => Err(io_error("create", &self.path, error)),
                }
            }
            Err(error) => Err(not_found_or(&self.at, &self.path, error)),
        }
    }

    /// Adds the messages as a delivery does, while another session has the mailbox.
    fn arrive(&self, file: &File) -> Result<()> {
        let Shared { dialect, env, .. } = &**self.shared;
        let keywords = Scan::keywords_of(*dialect, file, env)
            .map_err(|error| initial_error(self.shared, &self.path, error))?;
        let mut tail = Tail::begin(self, file)?;
        for message in &self.messages {
            let flags = self.flags(message, &keywords);
            tail.push(&self.envelope_line(message));
            append_arrival_fields(flags, &keywords, &mut tail.out);
            tail.copy(&self.spool, message.header..message.text)?;
            tail.push(b"\n");
            tail.text(&self.spool, message)?;
        }
        tail.finish()
    }

    /// Adds the messages with all that a session would give them.
    fn arrive_with_uids(&self, file: &File) -> Result<Appended> {
        let Shared { disk, env, .. } = &**self.shared;
        let places = Places::of(&self.path, file, &env.home).map_err(Error::io("examine", &self.path))?;
        let rewriting = |error: RewriteError| io_error("rewrite", &self.path, error.into_io());
        if places.any() {
            recover(disk, &env.notices, &places, file).map_err(rewriting)?;
        }
        let known = self.known(file)?.filter(|known| self.new_keywords(&known.keywords).next().is_none());
        let is_known = known.is_some();
        let mut scan = match known {
            Some(scan) => scan,
            None => {
                let mut scan = Scan::new(self.shared.dialect);
                scan.parse(file, env, Manner::Silent)
                    .map_err(|error| initial_error(self.shared, &self.path, error))?;
                scan
            }
        };
        if !is_known && scan.messages.is_empty() && scan.pseudo.is_none() {
            for keyword in &env.default_keywords {
                scan.keywords.find_or_add(keyword, KEYWORDS).ok();
            }
        }
        let target = Target { disk, env, places: &places, file, when_empty: WhenEmpty::Pseudo };
        let has_messages = is_known || !scan.messages.is_empty() || scan.pseudo.is_some();
        if self.learn(&mut scan.keywords) && has_messages {
            scan.mark_first();
            write_out(&target, &mut scan, &|_| false, Recent::Untold).map_err(rewriting)?;
        }
        if has_messages && (scan.unwritten_uids || scan.end < scan.file_len) {
            write_out(&target, &mut scan, &|_| false, Recent::Untold).map_err(rewriting)?;
        } else if !has_messages && scan.file_len > 0 {
            disk.set_len(file, 0).map_err(Error::io("cut", &self.path))?;
        }
        let first = scan.uid_last;
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let Some(last) = first.checked_add(count) else {
            // The next session starts afresh with a new UID validity value.
            return self.arrive(file).map(|()| Appended::default());
        };
        scan.uid_last = last;
        if has_messages && !self.set_uid_last(&target, &scan)? {
            if is_known {
                // What is known has no messages, which a rewrite needs.
                self.remember(None);
                return self.arrive_with_uids(file);
            }
            scan.mark_first();
            write_out(&target, &mut scan, &|_| false, Recent::Untold).map_err(rewriting)?;
        }
        let mut tail = Tail::begin(self, file)?;
        let mut uids = Vec::with_capacity(self.messages.len());
        for (uid, message) in (first + 1..).zip(&self.messages) {
            let base = Base { validity: scan.uid_validity, uid_last: last, keywords: &scan.keywords };
            let base = (!has_messages && uids.is_empty()).then_some(base);
            let flags = self.flags(message, &scan.keywords);
            tail.push(&self.envelope_line(message));
            tail.copy(&self.spool, message.header..message.text)?;
            append_block(base, flags, Old::No, uid, &scan.keywords, &mut tail.out);
            tail.text(&self.spool, message)?;
            uids.extend(Uid::new(uid));
        }
        tail.finish()?;
        let uids = UidValidity::new(scan.uid_validity).map(|validity| (validity, uids));
        // The first message of a new mailbox has its digits elsewhere: that is left to the next parse.
        self.remember(if has_messages { Known::of(file, scan) } else { None });
        Ok(Appended { uids })
    }

    /// Returns the keywords of the messages that the mailbox does not know.
    fn new_keywords<'k>(&'k self, known: &'k Keywords) -> impl Iterator<Item = &'k Keyword> {
        let all = self.messages.iter().flat_map(|message| &message.meta.keywords);
        all.filter(|keyword| known.find(keyword.as_str()).is_none())
    }

    /// Makes the keywords of the messages known while there is room; tells whether there were new ones.
    fn learn(&self, keywords: &mut Keywords) -> bool {
        let before = keywords.clone();
        for keyword in self.new_keywords(&before) {
            keywords.find_or_add(keyword, KEYWORDS).ok();
        }
        *keywords != before
    }

    /// Overwrites the digits of the last UID in the first message; false where they are more now.
    fn set_uid_last(&self, target: &Target<'_>, scan: &Scan) -> Result<bool> {
        let rewriting = |error: RewriteError| io_error("rewrite", &self.path, error.into_io());
        let Some(digits) = scan.last_uid_digits else { return Ok(true) };
        let width = usize::from(digits.count);
        let text = format!("{:0width$}", scan.uid_last);
        if text.len() != width {
            return Ok(false);
        }
        let length = target.file.metadata().map_err(Error::io("examine", &self.path))?.len();
        let mut rewrite = Rewrite::begin(target.disk, target.places, target.file).map_err(rewriting)?;
        rewrite.copy(0..digits.at).map_err(rewriting)?;
        rewrite.literal(text.as_bytes()).map_err(rewriting)?;
        let after = rewrite.position();
        rewrite.copy(after..length).map_err(rewriting)?;
        // A journal must not know of what a power loss can take back.
        let finished = if self.is_much() { rewrite.finish() } else { rewrite.finish_with_next_sync() };
        finished.map_err(rewriting)?;
        Ok(true)
    }

    /// Tells whether there is more than one write can bring.
    fn is_much(&self) -> bool {
        self.messages.len() > 1 || self.spool.len() >= MOST_AT_ONCE
    }

    /// Returns what is known of the file from our last append to it, if nobody touched it since.
    fn known(&self, file: &File) -> Result<Option<Scan>> {
        let found = file.metadata().map_err(Error::io("examine", &self.path))?;
        let known = self.shared.appended.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.as_ref().filter(|known| known.state == state_of(&found)).map(|known| known.scan.clone()))
    }

    fn remember(&self, known: Option<Known>) {
        *self.shared.appended.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn flags(&self, message: &Arriving, keywords: &Keywords) -> Flags {
        let mut mask = KeywordMask::NONE;
        for keyword in &message.meta.keywords {
            match keywords.find(keyword.as_str()) {
                Some(slot) => mask = mask.union(KeywordMask::slot(slot)),
                None => {
                    self.shared.env.notices.tell(Level::Warning, format!("Unknown flag: {keyword}"));
                }
            }
        }
        Flags { system: message.meta.system, keywords: mask }
    }

    /// Returns what is before the header, with the From_ line that a message had in its old mailbox, if it is a good
    /// one.
    fn envelope_line(&self, message: &Arriving) -> Vec<u8> {
        let env = &self.shared.env;
        let kept = message
            .meta
            .from_line
            .as_deref()
            .filter(|line| FromLine::parse(line).is_some() && memchr2(b'\r', b'\n', line).is_none());
        let mut out = self.shared.dialect.start().to_vec();
        match kept {
            Some(line) => out.extend_from_slice(line),
            None => {
                let date = message.meta.internal_date.unwrap_or_else(|| {
                    InternalDate::from_timestamp(env.clock.now(), env.clock.local_offset())
                });
                let line = format!("From {}@{} {}", env.user, env.host, date.from_line());
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.push(b'\n');
        out
    }
}

/// The UID state of a mailbox as an append left it: for who appends many messages one by one.
#[derive(Debug)]
pub(super) struct Known {
    state: [i128; 5],
    // Without messages.
    scan: Scan,
}

impl Known {
    fn of(file: &File, mut scan: Scan) -> Option<Self> {
        let state = state_of(&file.metadata().ok()?);
        scan.messages = Vec::new();
        scan.slots = Vec::new();
        Some(Self { state, scan })
    }
}

/// Returns which file it is and when it was touched last, by a time that no program can set.
fn state_of(found: &std::fs::Metadata) -> [i128; 5] {
    let changed = (found.ctime(), found.ctime_nsec());
    [found.dev().into(), found.ino().into(), found.len().into(), changed.0.into(), changed.1.into()]
}

fn wrong_size() -> Error {
    Error::Refused("message has not the announced size".into())
}

/// The new end of the file, written through a buffer; cut off again unless finished.
struct Tail<'t> {
    shared: &'t Shared,
    path: &'t Path,
    file: &'t File,
    out: Vec<u8>,
    start: u64,
    way: Way<'t>,
    times: (i64, i64, i64),
    finished: bool,
}

/// How a tail comes into the file.
enum Way<'t> {
    /// Written from this offset on; a single write is done or not when a process is killed.
    Written(u64),
    /// By the journal: several messages arrive together, and none in part.
    Journaled(Box<Rewrite<'t>>),
}

impl<'t> Tail<'t> {
    fn begin(appending: &'t Appending<'_>, file: &'t File) -> Result<Self> {
        let path = &appending.path;
        let found = file.metadata().map_err(Error::io("examine", path))?;
        let start = found.len();
        let mut last = Vec::new();
        read_up_to(file, start.saturating_sub(7), 7, &mut last).map_err(Error::io("read", path))?;
        // What a torn delivery left behind must not swallow the message: it gets its LF, and what ends a message.
        let (ended, end) = is_ended(appending.shared.dialect, &last);
        let mut supplied = Vec::new();
        supplied.extend_from_slice(if ended { b"" } else { appending.shared.dialect.line_end(&last) });
        supplied.extend_from_slice(end);
        let Shared { disk, env, .. } = &**appending.shared;
        let places = Places::of(path, file, &env.home).map_err(Error::io("examine", path))?;
        let way = if appending.is_much() && places.may_be_made() {
            let failed = |error: RewriteError| io_error("append to", path, error.into_io());
            let mut rewrite = Rewrite::begin(disk, &places, file).map_err(failed)?;
            rewrite.copy(0..start).map_err(failed)?;
            Way::Journaled(Box::new(rewrite))
        } else {
            Way::Written(start)
        };
        Ok(Self {
            shared: appending.shared,
            path,
            file,
            out: supplied,
            start,
            way,
            times: (found.atime(), found.mtime(), found.ctime()),
            finished: false,
        })
    }

    fn push(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    fn copy(&mut self, spool: &Spool, range: std::ops::Range<u64>) -> Result<()> {
        let path = self.path;
        let failed = |error| Error::io("read what is to append to", path)(error);
        spool.read(range.start, range.end, failed, &mut |piece| {
            self.out.extend_from_slice(piece);
            self.flush()
        })
    }

    /// Writes the text of a message, and what ends it.
    fn text(&mut self, spool: &Spool, message: &Arriving) -> Result<()> {
        self.copy(spool, message.text..message.end)?;
        let dialect = self.shared.dialect;
        if message.is_open && dialect == Dialect::Mmdf {
            // In unix format the LF that ends the message is that of the line.
            self.push(b"\n");
        }
        self.push(dialect.end());
        Ok(())
    }

    /// Writes what there is, if it is much.
    fn flush(&mut self) -> Result<()> {
        if self.out.len() >= MOST_HELD { self.write().map_err(self.failed()) } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), RewriteError> {
        match &mut self.way {
            Way::Written(position) => {
                let written = self.shared.disk.write_at(self.file, &self.out, *position);
                written.map_err(RewriteError::Unchanged)?;
                *position += self.out.len() as u64;
            }
            Way::Journaled(rewrite) => rewrite.literal(&self.out)?,
        }
        self.out.clear();
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(RewriteError) -> Error + use<> {
        let path = self.path.to_owned();
        move |error| io_error("append to", &path, error.into_io())
    }

    fn finish(mut self) -> Result<()> {
        let Shared { disk, env, .. } = self.shared;
        self.write().map_err(self.failed())?;
        match std::mem::replace(&mut self.way, Way::Written(self.start)) {
            Way::Written(_) => disk.sync(self.file).map_err(Error::io("append to", self.path))?,
            Way::Journaled(rewrite) => rewrite.finish().map_err(|error| {
                // With a complete journal the messages arrive all the same, when it is worked off.
                self.finished = matches!(error, RewriteError::Interrupted(_));
                self.failed()(error)
            })?,
        }
        self.finished = true;
        if self.start == 0 {
            // The file may have been made just now, by us or by a delivery.
            files::sync_parent(&**disk, self.path)?;
        }
        let now = env.clock.now();
        // Only biff programs miss it.
        disk.set_times(self.file, now - 1, now).ok();
        Ok(())
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let disk = &self.shared.disk;
        if disk.set_len(self.file, self.start).is_ok() {
            disk.sync(self.file).ok();
        }
        let (accessed, modified, changed) = self.times;
        let now = self.shared.env.clock.now();
        let was_new = accessed < modified || accessed < changed;
        disk.set_times(self.file, if was_new { accessed } else { now }, now).ok();
    }
}

/// Tells by the last octets of a file whether its last line is ended, and what ends its last message if that is not.
fn is_ended(dialect: Dialect, last: &[u8]) -> (bool, &'static [u8]) {
    let ended = last.last().is_none_or(|octet| *octet == b'\n');
    let done = match dialect {
        Dialect::Unix => matches!(last, [] | [.., b'\n', b'\n'] | [.., b'\n', b'\r', b'\n']),
        Dialect::Mmdf => last.is_empty() || last.strip_suffix(MARK).is_some_and(has_mark_after),
    };
    (ended, if done { b"" } else { dialect.end() })
}

/// Converts a message from CRLF form to what is in the file: no CRs, internal fields renamed, and what would be taken
/// for the end of the message made harmless: From_ lines are quoted, 0x01 is left out.
struct Converter {
    dialect: Dialect,
    taken: u64,
    header_only: bool,
    in_header: bool,
    // The start of a line, until it is known what it is.
    line: Vec<u8>,
    // The rest of a line that was too long to be judged whole.
    in_long_line: bool,
    ends_with_lf: bool,
    out: Vec<u8>,
}

impl Converter {
    fn new(dialect: Dialect, header_only: bool) -> Self {
        Self {
            dialect,
            taken: 0,
            header_only,
            in_header: true,
            line: Vec::new(),
            in_long_line: false,
            ends_with_lf: true,
            out: Vec::new(),
        }
    }

    fn take(&mut self, mut octets: &[u8], spool: &mut Spool, message: &mut Arriving) -> io::Result<()> {
        let dialect = self.dialect;
        let next = |octets: &[u8]| match dialect {
            Dialect::Unix => memchr2(b'\r', b'\n', octets),
            Dialect::Mmdf => memchr3(b'\r', b'\n', MARK[0], octets),
        };
        while let Some(at) = next(octets) {
            self.piece(&octets[..at], spool)?;
            if octets[at] == b'\n' {
                self.end_line(spool, message)?;
            }
            octets = &octets[at + 1..];
            if self.out.len() >= BLOCK / 4 {
                spool.push(&mut self.out)?;
            }
        }
        self.piece(octets, spool)?;
        spool.push(&mut self.out)
    }

    fn finish(&mut self, spool: &mut Spool, message: &mut Arriving) -> io::Result<()> {
        if !self.line.is_empty() {
            self.judge(false);
        }
        if self.in_header {
            // A message that is all header: its last line needs its LF, lest the status block join it.
            if !self.ends_with_lf {
                self.out.push(b'\n');
            }
            spool.push(&mut self.out)?;
            message.text = spool.len();
        }
        spool.push(&mut self.out)?;
        message.end = spool.len();
        message.is_open = !self.in_header && !self.ends_with_lf;
        Ok(())
    }

    fn piece(&mut self, octets: &[u8], spool: &mut Spool) -> io::Result<()> {
        if octets.is_empty() {
            return Ok(());
        }
        if self.in_long_line {
            self.out.extend_from_slice(octets);
        } else {
            self.line.extend_from_slice(octets);
            if self.line.len() >= LONGEST_JUDGED.max(DECIDING) {
                self.judge(false);
                self.in_long_line = true;
            }
        }
        self.ends_with_lf = false;
        if self.out.len() >= BLOCK { spool.push(&mut self.out) } else { Ok(()) }
    }

    fn end_line(&mut self, spool: &mut Spool, message: &mut Arriving) -> io::Result<()> {
        if self.in_long_line {
            self.in_long_line = false;
            self.out.push(b'\n');
        } else if self.in_header && self.line.is_empty() {
            self.in_header = false;
            spool.push(&mut self.out)?;
            message.text = spool.len();
        } else {
            self.judge(true);
            self.out.push(b'\n');
        }
        self.ends_with_lf = true;
        Ok(())
    }

    /// Moves the line's start out, changed where it would be mistaken for something of the mailbox.
    fn judge(&mut self, whole: bool) {
        if self.dialect == Dialect::Unix
            && self.line.starts_with(FROM)
            && !(self.header_only && whole && FromLine::parse(&self.line).is_none())
        {
            self.out.push(b'>');
        } else if self.in_header && Internal::of(&self.line).is_some() {
            self.out.extend_from_slice(b"X-Original-");
        }
        self.out.append(&mut self.line);
    }
}
