//! Sessions recorded with the reference, held against our `imapd`.
//!
//! Each test plays the sections of one recording in their order, as a user made for it, with the recorded INBOX
//! (`fixtures/transcripts/README.md`). Answers and log lines must be the recorded ones but for what is masked; deliberate
//! differences are in `fixtures/transcripts/differences.txt`. Needs root, who alone can make users.

mod support;

use ailurus_testkit::transcript::{self, Exchange};
use std::fs;
use support::player::{Player, folder, inbox};
use support::{Session, User, is_root, skip};

/// Returns a user as the recordings have them: five messages in INBOX, three dot files.
fn ada() -> Option<User> {
    if !is_root() {
        skip("only root can make users for recorded sessions");
        return None;
    }
    let user = User::new();
    user.write(&user.spool(), inbox().as_bytes());
    for (name, content) in
        [(".profile", "umask 022\n"), (".bash_logout", "clear\n"), (".bashrc", "PS1='$ '\n")]
    {
        user.write(&user.home().join(name), content.as_bytes());
    }
    Some(user)
}

fn recording(file: &'static str, user: &User) -> Player {
    let replacements = vec![
        (user.home().display().to_string(), "/home/ada".to_owned()),
        (user.spool().display().to_string(), "/var/spool/mail/ada".to_owned()),
        (user.name.clone(), "ada".to_owned()),
        (user.name.to_ascii_uppercase(), "ADA".to_owned()),
    ];
    Player::new(file, &user.name, replacements)
}

#[test]
fn one_long_session() {
    let Some(user) = ada() else { return };
    let mut session = Session::preauthenticated(&user);
    session.client.greeting();
    let mut fetch = recording("imap-select-fetch-store.txt", &user);
    let mut search = recording("imap-search-sort-thread.txt", &user);
    let mut manage = recording("imap-mailbox-management.txt", &user);
    for section in ["list, status, select", "fetch", "store"] {
        fetch.play(&mut session, section, |_| {});
    }
    search.play(&mut session, "same mailbox as imap-select-fetch-store.txt", |_| {});
    manage.play(&mut session, "session", |_| {});
    fetch.play(&mut session, "expunge, close, examine, phile", |_| {});
    fetch.mismatches.append(&mut search.mismatches);
    fetch.mismatches.append(&mut manage.mismatches);
    fetch.finish();
}

#[test]
fn append_search_and_syntax() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-append-search-syntax.txt", &user);
    player.session(Session::preauthenticated(&user), "append/copy/search", |_| {});
    player.session(Session::preauthenticated(&user), "fetch/store syntax", |_| {});
    player.finish();
}

#[test]
fn search_extras() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-search-extras.txt", &user);
    player.session(Session::preauthenticated(&user), "search extras", |_| {});
    player.finish();
}

#[test]
fn new_mail_and_pipelining() {
    let Some(user) = ada() else { return };
    seen_before(&user);
    let mut player = recording("imap-misc.txt", &user);
    player.session(Session::preauthenticated(&user), "newmail etc", |tag| {
        if tag == "e" {
            deliver(&user);
        }
    });
    player.session(Session::preauthenticated(&user), "pipelined", |_| {});
    player.session(Session::preauthenticated(&user), "LF only", |_| {});
    player.finish();
}

/// Opens and closes INBOX: its messages are not recent any more.
fn seen_before(user: &User) {
    let mut session = Session::preauthenticated(user);
    session.client.greeting();
    session.client.ok("SELECT INBOX");
    session.client.ok("LOGOUT");
    session.process.end();
}

/// Appends a message to INBOX as a delivery agent does.
fn deliver(user: &User) {
    use std::io::Write as _;
    let mut spool = fs::File::options().append(true).open(user.spool()).expect("it is there");
    spool
        .write_all(b"From fay@example.test Fri Sep 11 12:00:00 2026\nFrom: fay@example.test\nSubject: new\n\nNew.\n\n")
        .expect("room for a message");
}

#[test]
fn shared_mbx() {
    let Some(user) = ada() else { return };
    let mut first = Session::preauthenticated(&user);
    first.client.greeting();
    first.client.ok("CREATE #driver.mbx/shm");
    let text = inbox();
    for message in text.split("\n\nFrom ").take(4) {
        let (_, message) = message.split_once('\n').expect("a From_ line");
        first.client.append("shm", "", &format!("{message}\n"));
    }
    let mut player = recording("imap-misc.txt", &user);
    let (a, b) = (player.section("mbx session A"), player.section("mbx session B"));
    let mut second = Session::preauthenticated(&user);
    let mut first = Session::preauthenticated(&user);
    // The order in which they took turns, as far as it shows: A selects, B selects and looks at message 2, A deletes and
    // expunges message 1, B still has it until it may be told.
    let turns = [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (1, 2),
        (0, 2),
        (0, 3),
        (1, 3),
        (1, 4),
        (1, 5),
        (1, 6),
        (1, 7),
        (1, 8),
        (0, 4),
        (1, 9),
    ];
    for (who, which) in turns {
        let (session, section) = if who == 0 { (&mut first, &a) } else { (&mut second, &b) };
        player.exchange(session, &section.name, &section.exchanges[which]);
    }
    player.finish();
}

#[test]
fn kiss_of_death() {
    let Some(user) = ada() else { return };
    let mut player = recording("locking-and-signals.txt", &user);
    let (first, second) = (player.section("KOD: first session"), player.section("KOD: second session"));
    let (mut one, mut two) = (Session::preauthenticated(&user), Session::preauthenticated(&user));
    // The last exchange of the first session also has what came when the second session took its lock.
    for exchange in &first.exchanges[..2] {
        player.exchange(&mut one, &first.name, exchange);
    }
    one.client.send(b"a2 STORE 1 +FLAGS (\\Flagged)\r\n");
    for wanted in ["* 1 FETCH (FLAGS (\\Recent \\Flagged))", "a2 OK STORE completed"] {
        let line = one.client.line(support::PATIENCE).expect("an answer").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&line), wanted);
    }
    for exchange in &second.exchanges {
        player.exchange(&mut two, &second.name, exchange);
    }
    let line = one.client.line(support::PATIENCE).expect("a farewell").expect("a farewell");
    assert_eq!(String::from_utf8_lossy(&line), "* BYE Killed (lost mailbox lock)");
    assert_eq!(one.client.line(support::PATIENCE).expect("the end"), None);
    assert_eq!(one.process.end(), Some(1));
    one.process.await_log("Killed (lost mailbox lock) user=");
    player.session(Session::preauthenticated(&user), "EXAMINE session unaffected", |_| {});
    player.finish();
}

#[test]
fn signals() {
    use rustix::process::Signal;
    let Some(user) = ada() else { return };
    seen_before(&user);
    let mut player = recording("locking-and-signals.txt", &user);
    for (section, signal, farewell) in [
        ("signal 15", Signal::TERM, "* BYE Killed (terminated)"),
        ("signal 12", Signal::USR2, "* BYE Killed (lost mailbox lock)"),
    ] {
        let section = player.section(section);
        let mut session = Session::preauthenticated(&user);
        for exchange in &section.exchanges[..2] {
            player.exchange(&mut session, &section.name, exchange);
        }
        session.client.send(b"b NOOP\r\n");
        let line = session.client.line(support::PATIENCE).expect("an answer").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&line), "b OK NOOP completed");
        session.process.signal(signal);
        let line = session.client.line(support::PATIENCE).expect("a farewell").expect("a farewell");
        assert_eq!(String::from_utf8_lossy(&line), farewell);
        assert_eq!(session.client.line(support::PATIENCE).expect("the end"), None);
        assert_eq!(session.process.end(), Some(1), "{}", section.name);
        player.compare_log(&section.name, &session.process.log());
    }
    player.finish();
}

#[test]
fn read_only_inbox() {
    use std::os::unix::fs::PermissionsExt;
    let Some(user) = ada() else { return };
    seen_before(&user);
    fs::set_permissions(user.spool(), fs::Permissions::from_mode(0o400)).expect("it is there");
    let mut player = recording("locking-and-signals.txt", &user);
    player.session(Session::preauthenticated(&user), "read-only INBOX", |_| {});
    player.finish();
}

#[test]
fn before_login() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-not-authenticated.txt", &user);
    for section in [
        "empty line NLI",
        "tag only no space NLI",
        "tag space NLI",
        "HTTP GET NLI",
        "weird tag NLI",
        "3 bad cmds NLI",
        "tag length",
    ] {
        player.session(Session::from_network(), section, |_| {});
    }
    player.finish();
}

#[test]
fn too_long_a_line_before_login() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-not-authenticated.txt", &user);
    let mut section = player.section("too long line NLI");
    let mut session = Session::from_network();
    // The recording leaves out what was sent.
    assert_eq!(section.exchanges.len(), 1);
    let late = section.exchanges[0].expected.split_off(1);
    session.client.greeting();
    let line = [&b"a NOOP "[..], &vec![b'x'; 100_000]].concat();
    let exchange =
        Exchange { sent: vec![line], expected: late, tag: "a".into(), name: "a".into(), closes: true };
    player.exchange(&mut session, "too long line NLI", &exchange);
    assert_eq!(session.process.end(), Some(0));
    player.compare_log("too long line NLI", &session.process.log());
    player.finish();
}

#[test]
fn login_arguments() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-not-authenticated.txt", &user);
    player.session(Session::from_network(), "LOGIN arg forms", |_| {});
    player.session(Session::from_network(), "LITERAL+ login, then bad commands logged in", |_| {});
    player.finish();
}

#[test]
fn refused_logins() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-not-authenticated.txt", &user);
    player.session(Session::from_network(), "root / nouser / long", |_| {});
    player.finish();
}

#[test]
fn excessive_login_failures() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-not-authenticated.txt", &user);
    player.session(Session::from_network(), "excess failures (3 tries allowed)", |_| {});
    player.finish();
}

#[test]
fn login_in_upper_case_and_without_tls() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-login-and-sasl.txt", &user);
    for section in ["uppercase user", "password with leading space", "LOGIN anonymous, disabled"] {
        if section.starts_with("LOGIN") {
            player.mismatches.extend({
                let mut other = recording("imap-nologin-alert-anonymous.txt", &user);
                other.session(Session::from_network(), section, |_| {});
                other.mismatches
            });
        } else {
            player.session(Session::from_network(), section, |_| {});
        }
    }
    player.finish();
}

#[test]
fn capabilities() {
    let Some(user) = ada() else { return };
    let mut player = recording("imap-capabilities.txt", &user);
    player.session(Session::from_network(), "Panda IMAP 2010, no TLS build (network)", |_| {});
    player.session(
        Session::preauthenticated(&user),
        "Panda IMAP 2010, no TLS build (preauthenticated)",
        |_| {},
    );
    player.finish();
}

/// What the FAQ checks were made with, rebuilt from what they show.
#[test]
fn answers_of_the_faq() {
    use std::os::unix::fs::PermissionsExt;
    let Some(user) = ada() else { return };
    let mut player = recording("faq-checks.txt", &user);
    let text = inbox();
    let session = |player: &mut Player, section: &str| {
        let mut session = Session::preauthenticated(&user);
        session.client.greeting();
        player.play(&mut session, section, |_| {});
    };

    user.write(&user.spool(), format!("garbage\n{text}").as_bytes());
    session(&mut player, "INBOX bad first line");
    user.write(&user.spool(), text.as_bytes());

    let one =
        "From ada@example.test Mon Sep  7 10:00:00 2026\nFrom: ada@example.test\nSubject: one\n\nText.\n\n";
    user.write(&user.home().join("robox"), one.as_bytes());
    fs::set_permissions(user.home().join("robox"), fs::Permissions::from_mode(0o400)).expect("it is there");
    session(&mut player, "read-only file");

    let with_uid = |uid: &str| one.replace("Subject: one\n", &format!("Subject: one\n{uid}"));
    let base = "X-IMAPbase: 1795437536 0000000010\n";
    let uids = [
        with_uid(&format!("{base}X-UID: 5\n")),
        with_uid("X-UID: 5\n"),
        with_uid("X-UID: 4\n"),
        with_uid(""),
    ];
    user.write(&user.home().join("uidbox"), uids.concat().as_bytes());
    session(&mut player, "bad uids");
    player.finish();
}

/// Every difference is one of a place that exists.
#[test]
fn differences_name_real_places() {
    let text = fs::read_to_string(folder().join("differences.txt")).expect("a fixture");
    for entry in text.lines().filter_map(|line| line.strip_prefix("@ ")) {
        let parts: Vec<&str> = entry.split(" | ").collect();
        let recording =
            fs::read_to_string(folder().join(parts[0])).unwrap_or_else(|error| panic!("{entry}: {error}"));
        let sections = transcript::parse(&recording);
        let there = sections.iter().any(|section| {
            let tags = || section.exchanges.iter().map(|exchange| exchange.name.as_str());
            section.name == parts[1] && (parts[2] == "log" || tags().any(|tag| tag == parts[2]))
        });
        assert!(there, "no such place: {entry}");
    }
}
