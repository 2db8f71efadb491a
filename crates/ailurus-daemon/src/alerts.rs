//! What the administrator has to say to everybody, and the user to itself: `/etc/imapd.alert`, `~/.imapalert`, and
//! `/etc/nologin` in the course of a session (spec/imapd.md §14).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// If this file exists, nobody new is served, and those who are are sent away.
pub(crate) const NOLOGIN: &str = "/etc/nologin";
const ALERT: &str = "/etc/imapd.alert";
/// In the directory of the user's mailboxes.
const USER_ALERT: &str = ".imapalert";
/// How often the files are looked at, and how long users have after the first word of a shutdown.
const ROUND: Duration = Duration::from_secs(60);
/// More of a file is not shown, in octets.
const MOST: u64 = 16 * 1024;

/// The files, and what of them has been shown in this session.
#[derive(Debug)]
pub(crate) struct Alerts {
    files: Vec<(PathBuf, Option<SystemTime>)>,
    nologin: PathBuf,
    looked: Option<Instant>,
    closing_since: Option<Instant>,
}

impl Alerts {
    /// Nothing has been shown yet.
    pub(crate) fn new() -> Self {
        Self::of(ALERT.into(), NOLOGIN.into())
    }

    /// Of these files instead of the usual ones.
    pub(crate) fn of(alert: PathBuf, nologin: PathBuf) -> Self {
        Self { files: vec![(alert, None)], nologin, looked: None, closing_since: None }
    }

    /// Adds the file of a user whose mailboxes are in this directory; it is looked at next.
    pub(crate) fn add_user(&mut self, mailboxes: &Path) {
        self.files.push((mailboxes.join(USER_ALERT), None));
        self.looked = None;
    }

    /// Looks, once a minute at most, and returns what is new as untagged responses.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<u8> {
        let mut responses = Vec::new();
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < ROUND) {
            return responses;
        }
        self.looked = Some(now);
        for (path, shown) in &mut self.files {
            let changed = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file);
            let changed = changed.and_then(|metadata| metadata.modified().ok());
            if changed.is_some() && changed > *shown {
                *shown = changed;
                respond(&read(path), &mut responses);
            }
        }
        if self.closing_since.is_none() && self.nologin.exists() {
            self.closing_since = Some(now);
            respond(b"Server shutting down shortly", &mut responses);
        }
        responses
    }

    /// Tells whether the time is up that was left after the first word of a shutdown.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.closing_since.is_some_and(|since| now.saturating_duration_since(since) > ROUND)
    }
}

fn read(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        file.take(MOST).read_to_end(&mut text).ok();
    }
    text
}

fn respond(text: &[u8], responses: &mut Vec<u8>) {
    for line in text.strip_suffix(b"\n").unwrap_or(text).split(|&octet| octet == b'\n') {
        responses.extend_from_slice(b"* OK [ALERT] ");
        responses.extend(line.iter().filter(|octet| !matches!(octet, b'\r' | 0)));
        responses.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_text_is_shown_once_and_again_when_it_changes() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = |name: &str| scratch.path().join(name);
        let mut alerts = Alerts::of(path("alert"), path("nologin"));
        let mut now = Instant::now();
        assert_eq!(alerts.look(now), b"");
        fs::write(path("alert"), "one\r\ntwo\0 without end").expect("written");
        assert_eq!(alerts.look(now), b"", "looked at just now");
        now += ROUND;
        assert_eq!(alerts.look(now), b"* OK [ALERT] one\r\n* OK [ALERT] two without end\r\n");
        now += ROUND;
        assert_eq!(alerts.look(now), b"");
        let file = fs::File::options().write(true).open(path("alert")).expect("there");
        file.set_modified(SystemTime::now() + ROUND).expect("ours");
        now += ROUND;
        assert!(!alerts.look(now).is_empty());
        fs::write(path(USER_ALERT), "personal\n").expect("written");
        alerts.add_user(scratch.path());
        assert_eq!(alerts.look(now), b"* OK [ALERT] personal\r\n");
    }

    #[test]
    fn a_shutdown_is_announced_a_minute_before() {
        let scratch = tempfile::tempdir().expect("a directory");
        let nologin = scratch.path().join("nologin");
        let mut alerts = Alerts::of(scratch.path().join("alert"), nologin.clone());
        let now = Instant::now();
        fs::write(nologin, "").expect("written");
        assert_eq!(alerts.look(now), b"* OK [ALERT] Server shutting down shortly\r\n");
        assert!(!alerts.is_over(now + ROUND));
        assert!(alerts.is_over(now + ROUND + Duration::from_secs(1)));
    }
}
