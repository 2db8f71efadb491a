//! `.newsrc`: which groups are subscribed to, and which articles were read.
//!
//! ```text
//! comp.mail.misc: 1-3,7          `:` subscribed, `!` not; ranges of article numbers that were read
//! ```
//!
//! Lines end with LF, CR, or CRLF, whichever the file uses first. Other newsreaders keep the same file, take no lock, and
//! write it whole; so each change here starts from what is in the file then, and leaves every line as it is but one. A
//! subscription is one octet that is changed in place. Ranges are changed by writing the file beside and renaming it,
//! after the old one was kept as `.newsrc.old`; a link to the file stays one. Our own sessions take a flock.

use crate::disk::Disk;
use crate::files;
use ailurus_store::{Environment, Error, Level, Result};
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// A larger file is none that a person reads news with.
const MOST: u64 = 64 * 1024 * 1024;
const LOCK_TRIES: u32 = 300;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The user's file.
pub(super) struct Newsrc {
    environment: Arc<Environment>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// What the file says of one group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct State {
    /// Articles that were read, in the order of the file.
    pub(super) read: Vec<(u32, u32)>,
    /// An octet that has no business there; what follows it was not looked at.
    pub(super) bogus: Option<u8>,
}

/// One line of the file.
#[derive(Clone, Copy, Debug)]
struct Line<'l> {
    /// Where its mark is, if it is the line of a group.
    mark: Option<usize>,
    /// Where it starts, and where its line end starts.
    start: usize,
    end: usize,
    text: &'l [u8],
}

impl<'l> Line<'l> {
    /// Returns the group, whether it is subscribed to, and the rest of the line.
    fn group(&self) -> Option<(&'l [u8], bool, &'l [u8])> {
        let mark = self.mark? - self.start;
        Some((&self.text[..mark], self.text[mark] == b':', &self.text[mark + 1..]))
    }
}

impl Newsrc {
    pub(super) fn new(environment: &Arc<Environment>, disk: &Arc<dyn Disk>) -> Self {
        let path = environment.news.state.clone().unwrap_or_else(|| environment.home.join(".newsrc"));
        // Whoever keeps the file elsewhere and a link here wants the link to stay.
        let path = path.canonicalize().unwrap_or(path);
        Self { environment: Arc::clone(environment), disk: Arc::clone(disk), path }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Calls back with each group and whether it is subscribed to.
    pub(super) fn each(&self, found: &mut dyn FnMut(&[u8], bool)) -> Result<()> {
        let text = self.content()?;
        for (group, subscribed, _) in lines(&text).filter_map(|line| line.group()) {
            found(group, subscribed);
        }
        Ok(())
    }

    /// Returns what was read of a group; `None` if the file does not name it.
    pub(super) fn state(&self, group: &[u8]) -> Result<Option<State>> {
        let text = self.content()?;
        let found = lines(&text).filter_map(|line| line.group()).find(|(name, ..)| *name == group);
        Ok(found.map(|(.., ranges)| parse(ranges)))
    }

    /// Sets whether a group is subscribed to.
    pub(super) fn subscribe(&self, group: &[u8], subscribed: bool) -> Result<()> {
        let shown = String::from_utf8_lossy(group);
        let mark = if subscribed { b':' } else { b'!' };
        let file = self.lock()?;
        let failed = self.failed("Error writing to");
        let text = read(&file).map_err(self.failed("Error reading"))?;
        let line = lines(&text).find(|line| line.group().is_some_and(|(name, ..)| name == group));
        if let Some((line, at)) = line.and_then(|line| Some((line, line.mark?))) {
            if line.text[at - line.start] != mark {
                self.disk.write_at(&file, &[mark], at as u64).map_err(&failed)?;
                return self.disk.sync(&file).map_err(failed);
            }
            if subscribed {
                self.warn(format!("Already subscribed to {shown}"));
            }
            return Ok(());
        }
        let mut added = Vec::new();
        push_line_end(&text, &mut added);
        added.extend_from_slice(group);
        added.extend_from_slice(&[mark, b' ']);
        added.extend_from_slice(line_end(&text));
        let end = text.len() as u64;
        let written = self.disk.write_at(&file, &added, end).and_then(|()| self.disk.sync(&file));
        written.map_err(|error| {
            // Half a name would be another group's.
            self.disk.set_len(&file, end).ok();
            failed(error)
        })
    }

    /// Sets which articles of a group were read. `by` makes the new ranges of the state that the file has now, if it names
    /// the group.
    pub(super) fn set_read(
        &self,
        group: &[u8],
        by: impl FnOnce(Option<State>) -> Vec<(u32, u32)>,
    ) -> Result<()> {
        let file = self.lock()?;
        let text = read(&file).map_err(self.failed("Error reading"))?;
        let line = lines(&text).find(|line| line.group().is_some_and(|(name, ..)| name == group));
        let read_ranges = by(line.and_then(|line| line.group()).map(|(.., ranges)| parse(ranges)));
        let mut new = Vec::with_capacity(text.len() + 64);
        match line.and_then(|line| Some((line, line.mark?))) {
            Some((line, mark)) => {
                new.extend_from_slice(&text[..=mark]);
                push_ranges(&read_ranges, &mut new);
                new.extend_from_slice(&text[line.end..]);
            }
            None => {
                new.extend_from_slice(&text);
                push_line_end(&text, &mut new);
                new.extend_from_slice(group);
                new.push(b':');
                push_ranges(&read_ranges, &mut new);
                new.extend_from_slice(line_end(&text));
            }
        }
        if new == text {
            return Ok(());
        }
        let mode = file.metadata().map_or(0o600, |found| found.permissions().mode() & 0o777);
        if !text.is_empty() {
            let mut old = self.path.as_os_str().to_owned();
            old.push(".old");
            self.replace(Path::new(&old), &text, mode)
                .map_err(self.failed("Can't create backup news state"))?;
        }
        self.replace(&self.path, &new, mode).map_err(self.failed("Can't rewrite news state"))
    }

    /// Writes a file beside another and puts it in its place.
    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let beside = path.with_file_name(".ailurus-newsrc.new");
        let file = match self.disk.create_new(&beside, mode) {
            // Left there by one who died.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&beside)?;
                self.disk.create_new(&beside, mode)?
            }
            file => file?,
        };
        let written = self.disk.write_at(&file, content, 0).and_then(|()| self.disk.sync(&file));
        written.and_then(|()| self.disk.rename(&beside, path)).inspect_err(|_| {
            self.disk.remove(&beside).ok();
        })?;
        self.disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }

    fn content(&self) -> Result<Vec<u8>> {
        match open(&self.path, false) {
            Ok(file) => read(&file).map_err(self.failed("Error reading")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed("Error reading")(error)),
        }
    }

    /// Opens the file under the lock of our own sessions, and makes it where there is none.
    fn lock(&self) -> Result<File> {
        let failed = self.failed("Can't rewrite news state");
        for _ in 0..LOCK_TRIES {
            let file = match open(&self.path, true) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.warn(format!("Creating news state {}", self.path.display()));
                    match self.disk.create_new(&self.path, 0o600) {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                        file => file.map_err(self.failed("Unable to create news state"))?,
                    }
                }
                file => file.map_err(&failed)?,
            };
            match file.try_lock() {
                Ok(()) if self.is_current(&file) => return Ok(file),
                // Replaced while we waited.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE),
                // No locks here: then it is as with other newsreaders.
                Err(TryLockError::Error(_)) => return Ok(file),
            }
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }

    fn is_current(&self, file: &File) -> bool {
        files::leads_to(&self.path, file)
    }

    fn warn(&self, text: String) {
        self.environment.notices.tell(Level::Warning, text);
    }

    /// Returns a closure that leaves what happened to the log, and makes the reference's text of it.
    fn failed<'f>(&'f self, text: &'static str) -> impl Fn(io::Error) -> Error + use<'f> {
        move |error| {
            let path = self.path.display();
            self.environment.notices.tell(Level::Log, format!("{text} {path}: {error}"));
            Error::Refused(format!("{text} {path}"))
        }
    }
}

/// Opens what is there if it is a plain file: a FIFO would block.
fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("open flags are small");
    let file = File::options().read(true).write(write).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    if length > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut text, 0)?;
    // What another program has added since is there as well.
    let mut rest = Vec::new();
    let mut reader = file;
    io::Seek::seek(&mut reader, io::SeekFrom::Start(length))?;
    reader.take(MOST).read_to_end(&mut rest)?;
    text.extend_from_slice(&rest);
    Ok(text)
}

fn is_line_end(octet: &u8) -> bool {
    matches!(octet, b'\r' | b'\n')
}

/// Returns the lines of a file; that of a CRLF is followed by an empty one, which says nothing.
fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split(is_line_end).map(move |line| {
        let at = start;
        start += line.len() + 1;
        let mark = line.iter().position(|octet| matches!(octet, b':' | b'!')).filter(|mark| *mark > 0);
        Line { mark: mark.map(|mark| at + mark), start: at, end: at + line.len(), text: line }
    })
}

/// Returns the line end that a file uses first.
fn line_end(text: &[u8]) -> &'static [u8] {
    match text.iter().position(is_line_end) {
        Some(at) if text[at..].starts_with(b"\r\n") => b"\r\n",
        Some(at) if text[at] == b'\r' => b"\r",
        _ => b"\n",
    }
}

/// Ends the last line of a file where it is not ended.
fn push_line_end(text: &[u8], out: &mut Vec<u8>) {
    if text.last().is_some_and(|last| !is_line_end(last)) {
        out.extend_from_slice(line_end(text));
    }
}

fn push_ranges(ranges: &[(u32, u32)], out: &mut Vec<u8>) {
    for (position, (first, last)) in ranges.iter().enumerate() {
        out.push(if position == 0 { b' ' } else { b',' });
        out.extend_from_slice(first.to_string().as_bytes());
        if first != last {
            out.extend_from_slice(format!("-{last}").as_bytes());
        }
    }
}

/// Parses the ranges behind a group's mark.
fn parse(text: &[u8]) -> State {
    let mut state = State::default();
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let Some(first) = take_number(&mut rest) else {
            state.bogus = rest.first().copied();
            break;
        };
        let mut last = first;
        if let [b'-', tail @ ..] = rest {
            rest = tail;
            // COMPAT(newsrc): a range without an end is one article.
            last = take_number(&mut rest).unwrap_or(first);
        }
        state.read.push((first, last));
        match rest {
            [] => {}
            [b',', tail @ ..] => rest = tail,
            [octet, ..] if octet.is_ascii_whitespace() && rest.trim_ascii().is_empty() => break,
            [octet, ..] => {
                state.bogus = Some(*octet);
                break;
            }
        }
    }
    state
}

/// Takes a number off the front; one that no article has is the largest.
fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (number, tail) = rest.split_at(digits);
    if number.is_empty() {
        return None;
    }
    *rest = tail;
    let value = number
        .iter()
        .fold(0u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    Some(value)
}

/// Returns the ranges to be written: runs of articles that were read, over numbers that no article has.
pub(super) fn ranges(articles: impl Iterator<Item = (u32, bool)>) -> Vec<(u32, u32)> {
    let mut ranges = Vec::new();
    let mut run: Option<(u32, u32)> = None;
    for (position, (number, was_read)) in articles.enumerate() {
        if position == 0 && number > 1 {
            run = Some((1, 1));
        }
        if was_read {
            run = Some((run.map_or(number, |(first, _)| first), number));
        } else if let Some((first, _)) = run.take() {
            // Up to the article before the one that was not read.
            if number > first {
                ranges.push((first, number - 1));
            }
        }
    }
    ranges.extend(run);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Os;

    struct Scratch(tempfile::TempDir, Newsrc, Arc<Environment>);

    fn scratch(text: Option<&str>) -> Scratch {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            std::fs::write(home.path().join(".newsrc"), text).unwrap();
        }
        let environment =
            Environment::new("alice", home.path().canonicalize().unwrap(), "/spool".into(), "h");
        let environment = Arc::new(environment);
        let newsrc = Newsrc::new(&environment, &Os::shared());
        Scratch(home, newsrc, environment)
    }

    impl Scratch {
        fn text(&self) -> String {
            std::fs::read_to_string(self.0.path().join(".newsrc")).unwrap()
        }

        fn told(&self) -> Vec<String> {
            self.2.notices.take().into_iter().map(|notice| notice.text).collect()
        }
    }

    #[test]
    fn states_are_read_in_any_line_end() {
        for end in ["\n", "\r", "\r\n"] {
            let text = ["options -x", "a.b: 1-3,7", "", "a! 5", "c:", "d: 1,x,3", "e: 9-"].join(end);
            let newsrc = scratch(Some(&text));
            let state = |group: &str| newsrc.1.state(group.as_bytes()).unwrap();
            let read = |ranges: &[(u32, u32)], bogus| Some(State { read: ranges.into(), bogus });
            assert_eq!(state("a.b"), read(&[(1, 3), (7, 7)], None));
            assert_eq!(state("a"), read(&[(5, 5)], None));
            assert_eq!(state("c"), read(&[], None));
            assert_eq!(state("d"), read(&[(1, 1)], Some(b'x')));
            assert_eq!(state("e"), read(&[(9, 9)], None));
            assert_eq!(state("b"), None);
        }
        assert_eq!(parse(b" 99999999999-99999999999999").read, [(u32::MAX, u32::MAX)]);
    }

    #[test]
    fn subscriptions_change_one_octet_or_add_a_line() {
        let newsrc = scratch(Some("a: 1\r\nb! 2"));
        newsrc.1.subscribe(b"b", true).unwrap();
        newsrc.1.subscribe(b"a", true).unwrap();
        assert_eq!(newsrc.told(), ["Already subscribed to a"]);
        newsrc.1.subscribe(b"a", false).unwrap();
        newsrc.1.subscribe(b"c", true).unwrap();
        newsrc.1.subscribe(b"d", false).unwrap();
        assert_eq!(newsrc.text(), "a! 1\r\nb: 2\r\nc: \r\nd! \r\n");
        let newsrc = scratch(None);
        newsrc.1.subscribe(b"a", true).unwrap();
        assert_eq!(newsrc.text(), "a: \n");
        assert!(newsrc.told()[0].starts_with("Creating news state "));
    }

    #[test]
    fn what_was_read_replaces_one_line_and_the_old_file_is_kept() {
        let old = "options x\na: 1-2\rb! 9\n\nc: 1";
        let newsrc = scratch(Some(old));
        newsrc.1.set_read(b"b", |_| vec![(1, 4), (9, 9)]).unwrap();
        assert_eq!(newsrc.text(), "options x\na: 1-2\rb! 1-4,9\n\nc: 1");
        assert_eq!(std::fs::read_to_string(newsrc.0.path().join(".newsrc.old")).unwrap(), old);
        newsrc.1.set_read(b"c", |_| vec![]).unwrap();
        newsrc.1.set_read(b"d", |_| vec![(3, 3)]).unwrap();
        assert_eq!(newsrc.text(), "options x\na: 1-2\rb! 1-4,9\n\nc:\nd: 3\n");
        assert_eq!(std::fs::read_dir(newsrc.0.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_stays_a_link() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("real"), "a: 1\n").unwrap();
        std::os::unix::fs::symlink("real", home.path().join(".newsrc")).unwrap();
        let environment = Arc::new(Environment::new("alice", home.path().into(), "/spool".into(), "h"));
        Newsrc::new(&environment, &Os::shared()).set_read(b"a", |_| vec![(1, 2)]).unwrap();
        assert!(home.path().join(".newsrc").is_symlink());
        assert_eq!(std::fs::read_to_string(home.path().join("real")).unwrap(), "a: 1-2\n");
    }

    #[test]
    fn ranges_go_over_what_is_missing() {
        let of = |articles: &[(u32, bool)]| ranges(articles.iter().copied());
        assert_eq!(of(&[(3, true), (4, true), (7, true), (8, false), (12, false)]), [(1, 7)]);
        assert_eq!(of(&[(3, false), (4, true), (7, false), (8, true)]), [(1, 2), (4, 6), (8, 8)]);
        assert_eq!(of(&[(1, false), (2, true)]), [(2, 2)]);
        assert_eq!(of(&[(3, false)]), [(1, 2)]);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let newsrc = scratch(None);
        let path = newsrc.0.path().join(".newsrc");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(newsrc.1.state(b"a").is_err());
        assert!(newsrc.1.subscribe(b"a", true).is_err());
    }
}
