//! The questions of the FAQ as tests, each named after its question: what docs/faq.md says is so.
//!
//! `document.rs` checks that docs/faq.md names the test of each answer that has to hold, here or elsewhere.
#![forbid(unsafe_code)]

mod charsets;
mod configuration;
mod design;
mod document;
mod general;
mod operation;
mod pop;
mod problems;
mod security;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::bottle::Bottle;
use support::{Client, Session, User, host};

/// Three messages as a delivery agent leaves them.
const MAIL: &str = "From grace@navy.example Mon Nov 16 09:12:44 2026\nFrom: grace@navy.example\nSubject: one\n\nThe first.\n\n\
    From grace@navy.example Mon Nov 16 09:12:45 2026\nFrom: grace@navy.example\nSubject: two\n\nThe second.\n\n\
    From grace@navy.example Mon Nov 16 09:12:46 2026\nFrom: grace@navy.example\nSubject: three\n\nThe third.\n\n";

/// Returns a user without mail and a session of that user's.
fn at_home() -> (User, Session) {
    let user = User::new();
    let session = session(&user);
    (user, session)
}

fn session(user: &User) -> Session {
    let mut session = Session::preauthenticated(user);
    assert!(session.client.greeting().starts_with("* PREAUTH "));
    session
}

/// Returns a host whose users have three messages each; none, with a note, where none can be made.
fn bottle() -> Option<Bottle> {
    Bottle::new(MAIL)
}

/// Returns a session of ada's in a host.
fn ada(bottle: &Bottle) -> Session {
    let mut session = host::preauthenticated(bottle);
    assert!(session.client.greeting().starts_with("* PREAUTH "));
    session
}

/// Returns a session of a user who comes from the network with the password that all have.
fn login(bottle: &Bottle, user: &str) -> Session {
    let mut session = host::from_network(bottle);
    session.client.greeting();
    session.client.ok(&format!("LOGIN {user} adapw"));
    session
}

fn end(mut session: Session) {
    session.client.ok("LOGOUT");
    assert_eq!(session.process.end(), Some(0));
}

/// Returns the text of a refusal, without its tag.
#[track_caller]
fn refused(client: &mut Client, command: &str) -> String {
    let last = client.command(command).pop().unwrap_or_default();
    let (_, text) = last.split_once(' ').unwrap_or_default();
    assert!(text.starts_with("NO "), "{command}: {last}");
    text.to_owned()
}

/// Returns the only line that has these words.
#[track_caller]
fn line<'l>(lines: &'l [String], words: &str) -> &'l str {
    let mut found = lines.iter().filter(|line| line.contains(words));
    let line = found.next().unwrap_or_else(|| panic!("no {words:?} in {lines:#?}"));
    assert!(found.next().is_none(), "{words:?} more than once in {lines:#?}");
    line
}

/// Returns the number of a response code, such as that of `[UIDVALIDITY 1795437533]`.
#[track_caller]
fn code(lines: &[String], name: &str) -> u32 {
    let line = line(lines, &format!("[{name} "));
    let (_, rest) = line.split_once(&format!("[{name} ")).expect("just found");
    rest.split(']').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|l| l == line), "no {line:?} in {lines:#?}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}
