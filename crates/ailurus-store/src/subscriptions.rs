//! The subscription file, `$HOME/.mailboxlist` (spec/storage-common.md §4).
//!
//! One name a line, LF, no quoting, names as they were given but INBOX in capitals. The reference takes no lock and
//! replaces the file by name when a line is removed; how we change it is in `lines.rs`. Whatever else stands in the file stays.

use crate::lines::{Lines, MAX_LINE, Pieces, Rewrite, WriteFailure, append_line, contains_line};
use crate::{Environment, Error, Level, Result};
use ailurus_types::MailboxName;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// The user's subscriptions.
pub(crate) struct Subscriptions<'e> {
    environment: &'e Environment,
    lines: Lines,
}

impl<'e> Subscriptions<'e> {
    pub(crate) fn new(environment: &'e Environment) -> Self {
        Self { environment, lines: Lines::new(environment, ".mailboxlist", ".mlbxlsttmp") }
    }

    /// Calls back with each name, in the order of the file.
    pub(crate) fn each(&self, found: &mut dyn FnMut(&[u8])) -> Result<()> {
        for name in self.names()? {
            found(&name?);
        }
        Ok(())
    }

    /// Returns the names in the order of the file. No file is no subscriptions.
    pub(crate) fn names(&self) -> Result<Names> {
        let path = self.lines.path();
        let lines = match self.lines.open(false) {
            Ok(file) => Some(Pieces::new(file).map_err(Error::io("read", &path))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        Ok(Names { path, lines })
    }

    /// Adds a name at the end.
    pub(crate) fn add(&self, name: &MailboxName) -> Result<()> {
        let failed = self.failure("Can't append to subscription database");
        let wanted = canonical(name);
        if wanted.is_empty() || wanted.len() > MAX_LINE || wanted.contains(&b'\n') {
            return Err(Error::Refused("Can't append to subscription database".into()));
        }
        let file = self.lines.open_locked(true).map_err(&failed)?;
        if contains_line(&file, wanted).map_err(&failed)? {
            return Err(Error::Refused(format!("Already subscribed to mailbox {}", show(wanted))));
        }
        let is_new = file.metadata().map_err(&failed)?.len() == 0;
        append_line(&file, wanted).map_err(&failed)?;
        // The name of a file that was just made is not safe with its content.
        if is_new { self.lines.sync_home().map_err(&failed) } else { Ok(()) }
    }

    /// Removes a name.
    pub(crate) fn remove(&self, name: &MailboxName) -> Result<()> {
        let wanted = canonical(name);
        let file = match self.lines.open_locked(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Refused("No subscriptions".into()));
            }
            file => file.map_err(self.failure("Can't read subscription database"))?,
        };
        if !contains_line(&file, wanted).map_err(self.failure("Can't read subscription database"))? {
            return Err(Error::Refused(format!("Not subscribed to mailbox {}", show(wanted))));
        }
        let replaced = self.lines.replace(&file, &mut |line| {
            if line == wanted { Rewrite::Drop } else { Rewrite::Keep }
        });
        replaced.map_err(|failure| match failure {
            WriteFailure::Create(error) => self.failure("Can't create subscription temporary file")(error),
            WriteFailure::Write(error) => self.failure("Can't write subscription temporary file")(error),
            WriteFailure::Rename(error) => self.failure("Can't update subscription database")(error),
        })
    }

    /// Returns a closure that leaves what happened to the log, and makes the reference's text of it.
    fn failure<'f>(&'f self, text: &'static str) -> impl Fn(io::Error) -> Error + use<'f> {
        move |error| {
            let detail = format!("{text}: {}: {error}", self.lines.path().display());
            self.environment.notices.tell(Level::Log, detail);
            Error::Refused(text.into())
        }
    }
}

/// Names that are read as they are asked for: they may be more than fits into memory.
pub(crate) struct Names {
    path: PathBuf,
    /// `None` at the end.
    lines: Option<Pieces<File>>,
}

impl Names {
    pub(crate) fn none() -> Self {
        Self { path: PathBuf::new(), lines: None }
    }
}

impl Iterator for Names {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Result<Vec<u8>>> {
        let line = self.lines.as_mut()?.next_line();
        if !matches!(line, Ok(Some(_))) {
            self.lines = None;
        }
        line.map_err(Error::io("read", &self.path)).transpose()
    }
}

fn canonical(name: &MailboxName) -> &[u8] {
    if name.is_inbox() { b"INBOX" } else { name.as_bytes() }
}

fn show(name: &[u8]) -> MailboxName {
    MailboxName::new(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;

    struct Home {
        home: tempfile::TempDir,
        environment: Environment,
    }

    fn home(content: Option<&[u8]>) -> Home {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::new("a", home.path().into(), home.path().join("spool"), "h");
        if let Some(content) = content {
            std::fs::write(home.path().join(".mailboxlist"), content).unwrap();
        }
        Home { home, environment }
    }

    impl Home {
        fn add(&self, name: &str) -> Result<()> {
            Subscriptions::new(&self.environment).add(&name.into())
        }
        fn remove(&self, name: &str) -> Result<()> {
            Subscriptions::new(&self.environment).remove(&name.into())
        }
        fn names(&self) -> Vec<String> {
            let mut names = Vec::new();
            let mut found = |name: &[u8]| names.push(String::from_utf8_lossy(name).into_owned());
            Subscriptions::new(&self.environment).each(&mut found).unwrap();
            names
        }
        fn content(&self) -> Vec<u8> {
            std::fs::read(self.home.path().join(".mailboxlist")).unwrap()
        }
    }

    fn text(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn names_are_added_once_and_removed_with_the_words_of_the_reference() {
        let home = home(None);
        assert_eq!(text(home.remove("a")), "No subscriptions");
        home.add("dir/a").unwrap();
        home.add("inbox").unwrap();
        home.add("b").unwrap();
        assert_eq!(text(home.add("b")), "Already subscribed to mailbox b");
        assert_eq!(text(home.add("InBox")), "Already subscribed to mailbox INBOX");
        assert_eq!(home.names(), ["dir/a", "INBOX", "b"]);
        home.remove("INBOX").unwrap();
        assert_eq!(text(home.remove("INBOX")), "Not subscribed to mailbox INBOX");
        assert_eq!(home.content(), b"dir/a\nb\n");
        assert!(!home.home.path().join(".mlbxlsttmp").exists());
    }

    #[test]
    fn what_others_add_meanwhile_is_not_written_over() {
        for content in [None, Some(&b"a\n"[..])] {
            let home = home(content);
            let mut file = Subscriptions::new(&home.environment).lines.open_writable(true).unwrap();
            let end = file.seek(SeekFrom::End(0)).unwrap();
            File::options()
                .append(true)
                .open(home.home.path().join(".mailboxlist"))
                .unwrap()
                .write_all(b"b\n")
                .unwrap();
            file.seek(SeekFrom::Start(end)).unwrap();
            file.write_all(b"c\n").unwrap();
            assert_eq!(home.content(), [content.unwrap_or_default(), b"b\nc\n"].concat());
        }
    }

    #[test]
    fn the_file_of_the_reference_is_read_and_kept_as_it_is() {
        let fixture = include_bytes!("../../../fixtures/common/mailboxlist");
        let home = home(Some(fixture));
        assert_eq!(home.names(), ["dir/sub/leaf", "x1", "dir"]);
        home.add("u1").unwrap();
        home.remove("u1").unwrap();
        assert_eq!(home.content(), fixture);
    }

    #[test]
    fn lines_that_are_no_names_stay() {
        let longest = "y".repeat(MAX_LINE);
        let content = format!("a\n{}\n{longest}\n\n{}b", "x".repeat(5000), "z".repeat(MAX_LINE));
        let home = home(Some(content.as_bytes()));
        home.remove("a").unwrap();
        let rest = content.strip_prefix("a\n").unwrap();
        assert_eq!(String::from_utf8(home.content()).unwrap(), rest);
        assert_eq!(home.names(), [longest.as_str(), ""]);
        home.add("c").unwrap();
        assert_eq!(String::from_utf8(home.content()).unwrap(), format!("{rest}\nc\n"));
        assert_eq!(text(home.add(&"w".repeat(MAX_LINE + 1))), "Can't append to subscription database");
    }

    #[test]
    fn a_last_line_without_end_is_a_name_of_its_own() {
        let home = home(Some(b"a\nb"));
        home.add("c").unwrap();
        assert_eq!(home.content(), b"a\nb\nc\n");
    }

    #[test]
    fn a_rewrite_keeps_the_mode_and_does_not_follow_a_stale_link() {
        let home = home(Some(b"a\nb\n"));
        let list = home.home.path().join(".mailboxlist");
        std::fs::set_permissions(&list, std::fs::Permissions::from_mode(0o640)).unwrap();
        let victim = home.home.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        symlink(&victim, home.home.path().join(".mlbxlsttmp")).unwrap();
        home.remove("a").unwrap();
        assert_eq!(std::fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read(victim).unwrap(), b"precious");
        assert_eq!(home.content(), b"b\n");
    }

    #[test]
    fn nothing_is_lost_when_the_new_file_cannot_be_made() {
        let home = home(Some(b"a\nb\n"));
        // Not even root can unlink a directory this way.
        std::fs::create_dir(home.home.path().join(".mlbxlsttmp")).unwrap();
        assert_eq!(text(home.remove("a")), "Can't create subscription temporary file");
        assert_eq!(home.content(), b"a\nb\n");
        assert_eq!(home.environment.notices.take().len(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let home = home(None);
        std::fs::create_dir(home.home.path().join(".mailboxlist")).unwrap();
        assert_eq!(text(home.add("a")), "Can't append to subscription database");
        assert!(Subscriptions::new(&home.environment).each(&mut |_| {}).is_err());
    }

    /// The largest file, in octets, that a process of [`with_small_files`] may write: a disk that is full.
    const LIMIT: usize = 8192;

    /// Runs one of the ignored tests below in a process of its own, for which the disk is full.
    fn with_small_files(test: &str, home: &Home) {
        let command = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", LIMIT / 512);
        let ran = std::process::Command::new("sh")
            .args(["-c", &command])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", &format!("subscriptions::tests::{test}")])
            .env("FULL_HOME", home.home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("1 passed"), "{said}");
    }

    fn full_home() -> Environment {
        let home = PathBuf::from(std::env::var_os("FULL_HOME").expect("set by the test that runs this one"));
        Environment::new("a", home.clone(), home.join("spool"), "h")
    }

    #[test]
    fn half_a_name_on_a_full_disk_is_cut_back() {
        let content = [&b"y".repeat(LIMIT - 5)[..], b"\n"].concat();
        let home = home(Some(&content));
        with_small_files("add_on_a_full_disk", &home);
        assert_eq!(home.content(), content);
    }

    #[test]
    #[ignore = "run by half_a_name_on_a_full_disk_is_cut_back"]
    fn add_on_a_full_disk() {
        let environment = full_home();
        let added = Subscriptions::new(&environment).add(&"long-name".into());
        assert_eq!(text(added), "Can't append to subscription database");
    }

    #[test]
    fn a_rewrite_on_a_full_disk_leaves_all_as_it_was() {
        let content = [b"a\n", &b"y\n".repeat(LIMIT)[..]].concat();
        let home = home(Some(&content));
        with_small_files("remove_on_a_full_disk", &home);
        assert_eq!(home.content(), content);
        assert!(!home.home.path().join(".mlbxlsttmp").exists());
    }

    #[test]
    #[ignore = "run by a_rewrite_on_a_full_disk_leaves_all_as_it_was"]
    fn remove_on_a_full_disk() {
        let environment = full_home();
        let removed = Subscriptions::new(&environment).remove(&"a".into());
        assert_eq!(text(removed), "Can't write subscription temporary file");
    }

    #[test]
    fn sessions_that_write_at_once_lose_nothing() {
        let home = home(Some(b"first\n"));
        let environment = Arc::new(home.environment.clone());
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let environment = Arc::clone(&environment);
                std::thread::spawn(move || {
                    let subscriptions = Subscriptions::new(&environment);
                    for n in 0..20 {
                        subscriptions.add(&format!("keep-{worker}-{n}").as_str().into()).unwrap();
                        subscriptions.add(&format!("drop-{worker}").as_str().into()).unwrap();
                        subscriptions.remove(&format!("drop-{worker}").as_str().into()).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let names = home.names();
        assert_eq!(names.len(), 81);
        assert!(names.iter().all(|name| name == "first" || name.starts_with("keep-")));
    }
}
