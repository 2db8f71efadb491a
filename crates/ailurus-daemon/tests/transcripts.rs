//! Sessions recorded with the reference, held against our `imapd`.
//!
//! Each test plays the sections of one recording in their order, as a user made for it, with the recorded INBOX
//! (`fixtures/transcripts/README.md`). Answers and log lines must be the recorded ones but for what is masked; deliberate
//! differences are in `fixtures/transcripts/differences.txt`. Needs root, who alone can make users.

mod support;

use ailurus_testkit::fuzz::checkout;
use ailurus_testkit::transcript::{
    self, Difference, Differences, Exchange, Mask, Mismatch, Section, same_lines,
};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;
use support::{Session, User, is_root, skip};

/// How long nothing may come before an answer without a tagged response counts as complete.
const QUIET: Duration = Duration::from_millis(400);

fn folder() -> std::path::PathBuf {
    checkout().join("fixtures/transcripts")
}

fn inbox() -> Vec<u8> {
    fs::read(folder().join("inbox.mbox")).expect("a fixture")
}

/// Returns a user as the recordings have them: five messages in INBOX, three dot files.
fn ada() -> Option<User> {
    if !is_root() {
        skip("only root can make users for recorded sessions");
        return None;
    }
    let user = User::new();
    user.write(&user.spool(), &inbox());
    for (name, content) in
        [(".profile", "umask 022\n"), (".bash_logout", "clear\n"), (".bashrc", "PS1='$ '\n")]
    {
        user.write(&user.home().join(name), content.as_bytes());
    }
    Some(user)
}

/// Plays sections of one recording and collects what went otherwise.
struct Player<'u> {
    file: &'static str,
    sections: Vec<Section>,
    differences: Differences,
    mask: Mask,
    user: &'u User,
    mismatches: Vec<Mismatch>,
}

impl<'u> Player<'u> {
    fn new(file: &'static str, user: &'u User) -> Self {
        let text = fs::read_to_string(folder().join(file)).expect("a fixture");
        let differences = fs::read_to_string(folder().join("differences.txt")).expect("a fixture");
        let own = |text: String, recorded: &str| (text, recorded.to_owned());
        let mask = Mask {
            replacements: vec![
                own(user.home().display().to_string(), "/home/ada"),
                own(user.spool().display().to_string(), "/var/spool/mail/ada"),
                own(user.name.clone(), "ada"),
                own(user.name.to_ascii_uppercase(), "ADA"),
                own("host=localhost [127.0.0.1]".into(), "host=mail.example.test [127.0.0.1]"),
            ],
        };
        let differences = Differences::parse(&differences);
        Self { file, sections: transcript::parse(&text), differences, mask, user, mismatches: Vec::new() }
    }

    fn section(&self, name: &str) -> Section {
        let found = self.sections.iter().find(|section| section.name == name);
        found.unwrap_or_else(|| panic!("{}: no section {name}", self.file)).clone()
    }

    /// Plays a section; `before` is told the tag of each command before it is sent.
    fn play(&mut self, session: &mut Session, name: &str, mut before: impl FnMut(&str)) {
        let section = self.section(name);
        for exchange in &section.exchanges {
            before(&exchange.tag);
            self.exchange(session, &section.name, exchange);
        }
    }

    /// Plays a section that is a session of its own, and compares what was logged.
    fn session(&mut self, mut session: Session, name: &str, before: impl FnMut(&str)) {
        self.play(&mut session, name, before);
        drop(session.client);
        assert!(session.process.end().is_some(), "{name}: the server did not end");
        self.compare_log(name, &session.process.log());
    }

    fn exchange(&mut self, session: &mut Session, section: &str, exchange: &Exchange) {
        let expected = match self.differences.at(self.file, section, &exchange.tag) {
            Some(Difference::Skip) => return,
            Some(Difference::Ours(lines)) => lines.clone(),
            None => exchange.expected.clone(),
        };
        let mut sent = Vec::new();
        for line in &exchange.sent {
            let line = if is_login(exchange) { with_name(line, &self.user.name) } else { line.clone() };
            sent.extend_from_slice(&line);
            sent.extend_from_slice(b"\r\n");
        }
        // The recordings do not show an empty line at the end.
        if ends_in_literal(&exchange.sent) || exchange.tag == "GET" {
            sent.extend_from_slice(b"\r\n");
        }
        session.client.send(&sent);
        let found = answer(session, &expected, exchange);
        let found: Vec<String> = found.iter().map(|line| self.masked(line)).collect();
        let expected: Vec<String> = expected.iter().map(|line| self.masked(line)).collect();
        if !same_lines(&expected, &found) {
            let place = format!("{} | {section} | {}", self.file, exchange.tag);
            self.mismatches.push(Mismatch { place, expected, found });
        }
    }

    fn masked(&self, line: &str) -> String {
        let line = self.mask.apply(line);
        // The name of the host, and the port where it is not that of the service.
        let line = match line.strip_prefix("* BYE ").and_then(|rest| rest.split_once(" IMAP4rev1 server ")) {
            Some((_host, rest)) => format!("* BYE HOST IMAP4rev1 server {rest}"),
            None => line,
        };
        let line = match line.split_once(" mailbox lock from process ") {
            Some((before, _process)) => format!("{before} mailbox lock from process N"),
            None => line,
        };
        match line.split_once(" service init from ") {
            Some((_service, from)) => format!("mail.debug SERVICE service init from {from}"),
            None => line,
        }
    }

    fn compare_log(&mut self, section: &str, log: &[String]) {
        let expected = match self.differences.at(self.file, section, "log") {
            Some(Difference::Skip) => return,
            Some(Difference::Ours(lines)) => lines.clone(),
            None => self.section(section).logged,
        };
        let ours = |line: &String| line.starts_with("mail.") || line.starts_with("auth.");
        let expected: Vec<String> =
            expected.into_iter().filter(ours).map(|line| self.masked(&line)).collect();
        // `imapd[123]: mail.info: text` on standard error is `mail.info text` in the recordings.
        let plain = |line: &String| {
            let (_, line) = line.split_once("]: ").unwrap_or(("", line));
            line.replacen(": ", " ", 1)
        };
        // Ours also says why a login was refused; the reference leaves the administrator to guess.
        let more = |line: &String| line.starts_with("auth.info Login refused ");
        let found: Vec<String> =
            log.iter().map(plain).filter(|line| !more(line)).map(|line| self.masked(&line)).collect();
        if expected != found {
            let place = format!("{} | {section} | log", self.file);
            self.mismatches.push(Mismatch { place, expected, found });
        }
    }

    /// Fails when anything went otherwise.
    #[track_caller]
    fn finish(self) {
        let mut text = String::new();
        for Mismatch { place, expected, found } in &self.mismatches {
            writeln!(text, "@ {place} | ours | why?").expect("memory takes it");
            expected.iter().for_each(|line| writeln!(text, "- {line}").expect("memory takes it"));
            found.iter().for_each(|line| writeln!(text, "S: {line}").expect("memory takes it"));
        }
        assert!(text.is_empty(), "{} differences (-: recorded, S: ours):\n{text}", self.mismatches.len());
    }
}

/// Reads what a command is answered: up to the tagged response if the recording ends with one, up to a continuation if with
/// that, to the end of the connection if the server closed it, else as many lines as were recorded.
fn answer(session: &mut Session, expected: &[String], exchange: &Exchange) -> Vec<String> {
    let mut lines = Vec::new();
    let last = expected.last().map_or("", String::as_str);
    let tag = last.split(' ').next().unwrap_or("").to_owned();
    let untagged = ["*", "+", "", ")"].contains(&tag.as_str());
    while !expected.is_empty() || exchange.closes {
        let counted = untagged && !exchange.closes && tag != "+";
        let patience = if counted && lines.len() >= expected.len() { QUIET } else { support::PATIENCE };
        let line = match session.client.line(patience) {
            Ok(Some(line)) => transcript::escape(&line),
            Ok(None) => break,
            Err(_) if patience == QUIET => break,
            Err(error) => {
                lines.push(format!("({error})"));
                break;
            }
        };
        let first = line.split(' ').next().unwrap_or("").to_owned();
        lines.push(line);
        let ends =
            if untagged { tag == "+" && (first == "+" || first == exchange.tag) } else { first == tag };
        if ends && !exchange.closes {
            break;
        }
    }
    lines
}

fn is_login(exchange: &Exchange) -> bool {
    exchange.sent.first().is_some_and(|line| {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        line.contains(" LOGIN ") || line.starts_with("ADA {")
    })
}

/// Puts the name of this run's user in place of the recorded one, and its length into the literal that announces it.
fn with_name(line: &[u8], name: &str) -> Vec<u8> {
    let text = String::from_utf8(line.to_vec()).expect("logins are text");
    let text = text.replace("LOGIN {3", &format!("LOGIN {{{}", name.len()));
    let words = text.split(' ').map(|word| match word {
        "ada" => name.to_owned(),
        "ADA" => name.to_ascii_uppercase(),
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

/// Tells whether what is sent ends with the last octet of a literal: the recordings do not show the CRLF that ends the
/// command then. A message announced by an earlier exchange counts as one.
fn ends_in_literal(sent: &[Vec<u8>]) -> bool {
    let announced = |line: &[u8]| {
        let text = String::from_utf8_lossy(line).into_owned();
        let inner = text.strip_suffix('}')?.rsplit_once('{')?.1.to_owned();
        inner.trim_end_matches('+').parse::<usize>().ok()
    };
    let mut left: Option<usize> = (sent.first().map(Vec::as_slice) == Some(b"From: a@b")).then_some(33);
    // The literal that the last line announces is not sent yet.
    let whole = sent.last().is_none_or(|line| announced(line).is_none());
    for line in sent {
        match left {
            // The rest of the literal is a part of this line, or ends with it.
            Some(size) if size > line.len() + 2 => left = Some(size - line.len() - 2),
            Some(size) if size == line.len() + 2 => left = Some(0),
            Some(0) | None => left = announced(line),
            Some(size) => left = if size <= line.len() { announced(&line[size..]) } else { None },
        }
    }
    left == Some(0) && whole
}

#[test]
fn one_long_session() {
    let Some(user) = ada() else { return };
    let mut session = Session::preauthenticated(&user);
    session.client.greeting();
    let mut fetch = Player::new("imap-select-fetch-store.txt", &user);
    let mut search = Player::new("imap-search-sort-thread.txt", &user);
    let mut manage = Player::new("imap-mailbox-management.txt", &user);
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
    let mut player = Player::new("imap-append-search-syntax.txt", &user);
    player.session(Session::preauthenticated(&user), "append/copy/search", |_| {});
    player.session(Session::preauthenticated(&user), "fetch/store syntax", |_| {});
    player.finish();
}

#[test]
fn search_extras() {
    let Some(user) = ada() else { return };
    let mut player = Player::new("imap-search-extras.txt", &user);
    player.session(Session::preauthenticated(&user), "search extras", |_| {});
    player.finish();
}

#[test]
fn new_mail_and_pipelining() {
    let Some(user) = ada() else { return };
    seen_before(&user);
    let mut player = Player::new("imap-misc.txt", &user);
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
    let text = String::from_utf8(inbox()).expect("it is text");
    for message in text.split("\n\nFrom ").take(4) {
        let (_, message) = message.split_once('\n').expect("a From_ line");
        first.client.append("shm", "", &format!("{message}\n"));
    }
    let mut player = Player::new("imap-misc.txt", &user);
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
    let mut player = Player::new("locking-and-signals.txt", &user);
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
    let mut player = Player::new("locking-and-signals.txt", &user);
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
    let mut player = Player::new("locking-and-signals.txt", &user);
    player.session(Session::preauthenticated(&user), "read-only INBOX", |_| {});
    player.finish();
}

#[test]
fn before_login() {
    let Some(user) = ada() else { return };
    let mut player = Player::new("imap-not-authenticated.txt", &user);
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
    let mut player = Player::new("imap-not-authenticated.txt", &user);
    let mut section = player.section("too long line NLI");
    let mut session = Session::from_network();
    // The recording leaves out what was sent.
    assert_eq!(section.exchanges.len(), 1);
    let late = section.exchanges[0].expected.split_off(1);
    session.client.greeting();
    let line = [&b"a NOOP "[..], &vec![b'x'; 100_000]].concat();
    let exchange = Exchange { sent: vec![line], expected: late, tag: "a".into(), closes: true };
    player.exchange(&mut session, "too long line NLI", &exchange);
    assert_eq!(session.process.end(), Some(0));
    player.compare_log("too long line NLI", &session.process.log());
    player.finish();
}

#[test]
fn login_arguments() {
    let Some(user) = ada() else { return };
    let mut player = Player::new("imap-not-authenticated.txt", &user);
    player.session(Session::from_network(), "LOGIN arg forms", |_| {});
    player.session(Session::from_network(), "LITERAL+ login, then bad commands logged in", |_| {});
    player.finish();
}

#[test]
fn refused_logins() {
    let Some(user) = ada() else { return };
    let mut player = Player::new("imap-not-authenticated.txt", &user);
    player.session(Session::from_network(), "root / nouser / long", |_| {});
    player.finish();
}

#[test]
fn excessive_login_failures() {
    let Some(user) = ada() else { return };
    let mut player = Player::new("imap-not-authenticated.txt", &user);
    player.session(Session::from_network(), "excess failures (3 tries allowed)", |_| {});
    player.finish();
}

#[test]
fn login_in_upper_case_and_without_tls() {
    let Some(user) = ada() else { return };
    let mut player = Player::new("imap-login-and-sasl.txt", &user);
    for section in ["uppercase user", "password with leading space", "LOGIN anonymous, disabled"] {
        if section.starts_with("LOGIN") {
            player.mismatches.extend({
                let mut other = Player::new("imap-nologin-alert-anonymous.txt", &user);
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
    let mut player = Player::new("imap-capabilities.txt", &user);
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
    let mut player = Player::new("faq-checks.txt", &user);
    let text = String::from_utf8(inbox()).expect("it is text");
    let session = |player: &mut Player<'_>, section: &str| {
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
            let tags = || section.exchanges.iter().map(|exchange| exchange.tag.as_str());
            section.name == parts[1] && (parts[2] == "log" || tags().any(|tag| tag == parts[2]))
        });
        assert!(there, "no such place: {entry}");
    }
}
