//! LIST and LSUB on real directories, against what the reference did (fixtures/common/list-transcript.txt).

use crate::doubles::{Home, make_fifo};
use ailurus_store::{Error, Level};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

const TRANSCRIPT: &str = include_str!("../../../../fixtures/common/list-transcript.txt");

/// Makes every file look read since its last change, as those that the reference just made: `\UnMarked`.
fn mark_read(directory: &std::path::Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            mark_read(&path);
        } else if metadata.is_file() {
            let later = SystemTime::now() + Duration::from_secs(3600);
            let times = fs::FileTimes::new().set_accessed(later).set_modified(metadata.modified().unwrap());
            fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        }
    }
}

/// Does what the transcript's shell line did.
fn prepare(home: &Home) {
    fs::create_dir(home.path("emptydir")).unwrap();
    symlink("u1", home.path("symu")).unwrap();
    symlink("nowhere", home.path("dangling")).unwrap();
    make_fifo(&home.path("fifo"));
    fs::write(home.path("notmail.txt"), "hello\n").unwrap();
    fs::write(home.path("zero"), "").unwrap();
    fs::write(home.path(".hidden"), "").unwrap();
    mark_read(&home.path(""));
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').map(|word| word.trim_matches('"')).collect()
}

/// Runs one line of the transcript and returns the lines that the reference printed for it.
fn run(home: &Home, line: &str) -> Vec<String> {
    let words = words(line);
    let done = |what: &str, result: Result<(), Error>| {
        let mut lines: Vec<_> = home
            .mailboxes
            .environment()
            .notices
            .take()
            .into_iter()
            .map(|notice| {
                assert_eq!(notice.level, Level::Warning);
                format!("*notify 1: {}", notice.text)
            })
            .collect();
        match result {
            Ok(()) => lines.push(format!("={what} 1")),
            Err(error) => lines.extend([format!("*log ERROR: {error}"), format!("={what} 0")]),
        }
        lines
    };
    let listed = |what: &str, result: Result<Vec<String>, Error>| match result {
        Ok(lines) => lines.into_iter().map(|line| format!("*{what} {line}")).collect(),
        Err(error) => vec![format!("*log ERROR: {error}")],
    };
    match words[0] {
        "create" => done("create", home.create(words[1])),
        "sub" => done("sub", home.mailboxes.subscribe(&words[1].into())),
        "unsub" => done("unsub", home.mailboxes.unsubscribe(&words[1].into())),
        "list" => listed("list", home.list(words[1], words[2])),
        "lsub" => listed("lsub", home.lsub(words[1], words[2])),
        "sh" if words[1] == "mkdir" => {
            prepare(home);
            Vec::new()
        }
        "sh" => {
            let text = fs::read_to_string(home.path(".mailboxlist")).unwrap();
            text.lines().map(|line| format!("{line}$")).collect()
        }
        other => panic!("{other} is not known here"),
    }
}

#[test]
fn lists_what_the_reference_listed() {
    let home = Home::new();
    let mut ran = 0;
    for step in TRANSCRIPT.strip_prefix("> ").unwrap().split("\n> ") {
        let mut lines = step.lines().map(str::to_owned);
        let command = lines.next().unwrap();
        // SCAN is the session's; an INBOX without mail can be subscribed here (COMPATIBILITY.md).
        if command.starts_with("scan") || command == "sub INBOX" {
            continue;
        }
        let (mut expected, mut ours) = (lines.collect::<Vec<_>>(), run(&home, &command));
        if command.starts_with("list") && ours.len() > 1 {
            let inbox = expected.iter().any(|line| line.starts_with("*list INBOX "));
            assert_eq!(ours.last().unwrap().starts_with("*list INBOX "), inbox, "INBOX is last in {command}");
            for (position, line) in ours.iter().enumerate() {
                let name = words(line)[1];
                if let Some((parent, _)) = name.trim_end_matches('/').rsplit_once('/') {
                    let before =
                        ours[..position].iter().any(|line| words(line)[1].trim_end_matches('/') == parent);
                    let listed = ours.iter().any(|line| words(line)[1].trim_end_matches('/') == parent);
                    assert_eq!(before, listed, "{parent} comes before {name} in {command}");
                }
            }
            // Otherwise the order is the directory's.
            expected.sort();
            ours.sort();
        }
        // The list of subscriptions is a file of its own by now, as it was not when the transcript was made.
        assert_eq!(ours, expected, "{command}");
        ran += 1;
    }
    assert_eq!(ran, 41);
}

#[test]
fn only_files_and_directories_are_listed() {
    let home = Home::new();
    make_fifo(&home.path("fifo"));
    let _socket = UnixListener::bind(home.path("socket")).unwrap();
    symlink("/dev/null", home.path("device")).unwrap();
    symlink("loop", home.path("loop")).unwrap();
    fs::write(home.path(".ailurus-index"), "x").unwrap();
    fs::write(home.path(".box.ailurus-journal"), "x").unwrap();
    fs::create_dir(home.path("dir")).unwrap();
    fs::write(home.path("dir/.ailurus-index"), "x").unwrap();
    let listed = home.list("", "*").unwrap();
    assert_eq!(listed, ["dir delim=/ \\NoSelect \\HasNoChildren", "INBOX delim=- \\NoInferiors"]);
    fs::create_dir(home.path(".ailurus")).unwrap();
    fs::write(home.path(".ailurus/key"), "x").unwrap();
    assert_eq!(home.list("", ".ailurus/%").unwrap(), [""; 0]);
}

#[test]
fn new_mail_is_marked() {
    let home = Home::new();
    fs::write(home.path("new"), "unix\n").unwrap();
    let long_ago = fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH);
    fs::File::options().write(true).open(home.path("new")).unwrap().set_times(long_ago).unwrap();
    assert_eq!(home.list("", "new").unwrap(), ["new delim=/ \\NoInferiors \\Marked"]);
}

#[test]
fn a_loop_of_links_ends_at_the_depth() {
    let home = Home::with(|environment| environment.list_depth = 5);
    symlink(".", home.path("l")).unwrap();
    let listed = home.list("", "*").unwrap();
    // Five levels down, their entry, and INBOX.
    assert_eq!(listed.len(), 7, "{listed:?}");
    assert!(listed[5].starts_with("l/l/l/l/l/l "));
}

#[test]
fn a_listing_is_found_only_as_it_is_asked_for() {
    let home = Home::new();
    symlink(".", home.path("a")).unwrap();
    symlink(".", home.path("b")).unwrap();
    // All of it would be two million names.
    let listing = home.mailboxes.listing(b"", b"*").unwrap();
    let first: Vec<_> = listing.take(1000).map(|listed| listed.unwrap().name).collect();
    assert_eq!(first.len(), 1000);
    assert!(
        first.iter().all(|name| name.split(|octet| *octet == b'/').all(|part| part == b"a" || part == b"b"))
    );
}

#[test]
fn long_names_are_left_out() {
    let home = Home::new();
    let (long, deep) = ("x".repeat(200), "y".repeat(60));
    fs::create_dir(home.path(&long)).unwrap();
    fs::write(home.path(&long).join(&deep), "").unwrap();
    fs::write(home.path(&long).join("z"), "").unwrap();
    let names: Vec<_> =
        home.list("", "*").unwrap().iter().map(|line| line.split(' ').next().unwrap().len()).collect();
    assert_eq!(names, [200, 202, 5]);
    assert!(
        matches!(home.list("", &"*".repeat(300)), Err(Error::Refused(text)) if text.starts_with("Invalid LIST pattern"))
    );
    assert!(
        matches!(home.lsub(&"r".repeat(257), "*"), Err(Error::Refused(text)) if text.starts_with("Invalid LSUB reference"))
    );
}

#[test]
fn dot_files_can_be_hidden() {
    let home = Home::with(|environment| environment.hide_dot_files = true);
    fs::create_dir(home.path("dir")).unwrap();
    fs::write(home.path("dir/.x"), "").unwrap();
    fs::write(home.path(".x"), "").unwrap();
    assert_eq!(home.list("", "*").unwrap()[0], "dir delim=/ \\NoSelect \\HasNoChildren");
    assert_eq!(home.list("", "*").unwrap().len(), 2);
}

#[test]
fn restricted_users_list_nothing_outside() {
    let home = Home::with(|environment| environment.restrictions = ailurus_store::Restrictions::all());
    fs::write(home.directory.path().join("outside"), "").unwrap();
    for (reference, pattern) in [("", "/%"), ("", "../%"), ("", "/etc/%"), ("../", "%"), ("", "~root/%")] {
        assert_eq!(home.list(reference, pattern).unwrap(), Vec::<String>::new(), "{reference} {pattern}");
    }
    let root = home.list("", "/").unwrap();
    assert_eq!(root, Vec::<String>::new());
}

#[test]
fn a_directory_that_cannot_be_read_has_no_more_to_tell() {
    let home = Home::new();
    fs::create_dir(home.path("closed")).unwrap();
    fs::set_permissions(home.path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(home.path("closed")).is_ok();
    let listed = home.list("", "c*").unwrap();
    if readable {
        // Root reads everything.
        assert_eq!(listed, ["closed delim=/ \\NoSelect \\HasNoChildren"]);
    } else {
        assert_eq!(listed, ["closed delim=/ \\NoSelect"]);
    }
    fs::set_permissions(home.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_inbox_that_is_a_directory_format_can_have_children() {
    let home = Home::with(|environment| environment.mode = ailurus_store::Mode::ClosedBox);
    home.create("#driver.mix/other").unwrap();
    assert_eq!(home.list("", "inbox").unwrap(), ["INBOX delim=- \\NoInferiors"]);
    fs::rename(home.path("other"), home.path("INBOX")).unwrap();
    assert_eq!(home.list("", "inbox").unwrap(), ["INBOX delim=/"]);
}
