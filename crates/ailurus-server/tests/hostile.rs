//! Clients that mean no good, or are in no hurry: never a panic, never much in memory.

mod harness;

use ailurus_server::Start;
use ailurus_store::Mailboxes;
use ailurus_store::memory::Memory;
use ailurus_types::MailboxName;
use harness::{Harness, config};
use std::sync::Arc;
use std::time::Duration;

fn memory() -> Memory {
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), b"Subject: one\r\n\r\nbody\r\n");
    memory.deliver(
        &MailboxName::inbox(),
        b"Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    );
    memory
}

#[test]
fn a_long_list_of_subscriptions_is_told_in_pieces() {
    let home = tempfile::tempdir().expect("a directory");
    let names: String = (0..20_000).map(|number| format!("{}/{number:05}\n", "x/".repeat(20))).collect();
    std::fs::write(home.path().join(".mailboxlist"), names).expect("the file is ours");
    let memory = memory();
    let mut environment = memory.mailboxes().environment().clone();
    environment.home = home.path().into();
    let mailboxes = Mailboxes::new(Arc::new(environment), vec![Arc::new(memory.clone())]);
    let start = Start::PreAuthenticated { user: "ada".into(), mailboxes };
    let mut harness = Harness::start(&memory, config(), start);
    harness.out.clear();
    // More than 320 KB at once would end the test.
    let lines = harness.ask("a LSUB \"\" *");
    assert_eq!((lines.len(), &lines[20_000][..]), (20_001, "a OK LSUB completed"));
    assert!(lines[7].ends_with(" \"/\" x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x//00007"), "{}", lines[7]);
    assert_eq!(harness.ask("b RLSUB \"\" x/%").len(), 20_001);
}

/// A session that does about everything.
const SESSION: &[u8] = b"a LOGIN ada adapw\r\nb SELECT INBOX\r\nc FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[])\r\n\
    d STORE 1 +FLAGS (\\Flagged Work)\r\ne SEARCH TEXT {4}\r\nbody UNSEEN\r\nf APPEND INBOX (\\Seen) {14}\r\nSubject: x\r\n\r\n {3+}\r\nabc\r\n\
    g COPY 1 INBOX\r\nh IDLE\r\nDONE\r\ni CREATE box\r\nj MOVE 1 box\r\nk LIST \"\" *\r\nl STATUS box (MESSAGES)\r\nm EXPUNGE\r\n\
    n CLOSE\r\no AUTHENTICATE PLAIN\r\np UNSELECT\r\nq NOOP\r\nr LOGOUT\r\n";

#[test]
fn a_session_may_break_off_anywhere() {
    for end in 0..SESSION.len() {
        let mut harness = Harness::new(&memory(), config());
        harness.send(&SESSION[..end]);
        harness.session.handle_disconnect("Unexpected client disconnect", harness.now);
        harness.pump();
        assert_eq!(harness.closed, Some(1), "after {end} octets");
        assert!(!harness.session.wants_input());
        assert_eq!(harness.session.poll_timeout(), None);
    }
}

#[test]
fn any_octet_may_be_wrong() {
    for at in 0..SESSION.len() {
        for wrong in [0, b'\n', b'(', b'"', b'{', 0xff] {
            let mut session = SESSION.to_vec();
            session[at] = wrong;
            let mut harness = Harness::new(&memory(), config());
            harness.send(&session);
            harness.pass(Duration::from_secs(3600));
            assert!(harness.closed.is_some(), "octet {wrong} at {at}");
        }
    }
}

#[test]
fn lines_without_end_are_not_kept() {
    let mut harness = Harness::preauthenticated(&memory());
    harness.ask("a SELECT INBOX");
    let piece = vec![b'x'; 64 * 1024];
    harness.send(b"b SEARCH TEXT \"");
    for _ in 0..160 {
        harness.send(&piece);
    }
    assert!(harness.out.len() < 1024);
    assert_eq!(harness.ask("\r\nc NOOP"), ["b BAD Command line too long", "c OK NOOP completed"]);
}

#[test]
fn a_long_line_behind_a_message_ends_the_append() {
    for tail in ["", " {3+}\r\nabc"] {
        let memory = memory();
        let mut harness = Harness::preauthenticated(&memory);
        harness.send(b"a APPEND INBOX {5+}\r\nhello");
        harness.send(&[b' '; 70_000]);
        assert_eq!(harness.ask(tail), ["a BAD Command line too long"]);
        assert_eq!(harness.ask("b NOOP"), ["b OK NOOP completed"]);
        assert_eq!(memory.messages(&MailboxName::inbox()).len(), 2);
    }
}

#[test]
fn a_command_of_long_literals_and_a_long_line_is_answered() {
    let mut harness = Harness::preauthenticated(&memory());
    harness.ask("a SELECT INBOX");
    let literal = [&b"TEXT {10000+}\r\n"[..], &[b'x'; 10_000]].concat();
    harness.send(b"b SEARCH ");
    for _ in 0..18 {
        harness.send(&literal);
        harness.send(b" ");
    }
    harness.send("UNSEEN ".repeat(8000).as_bytes());
    harness.send(&literal);
    assert_eq!(harness.ask(""), ["b BAD Command line too long"]);
    assert_eq!(harness.ask("c NOOP"), ["c OK NOOP completed"]);
}

#[test]
fn literals_of_any_announced_size() {
    for size in [
        "4294967295+",
        "4294967295",
        "18446744073709551616+",
        "99999999999999999999999",
        "10001+",
        "0+",
        "-1",
        "",
    ] {
        for command in [
            "LIST \"\"",
            "SEARCH TEXT",
            "CREATE",
            "APPEND INBOX",
            "LOGIN",
            "FOO",
            "FETCH 1 BODY[HEADER.FIELDS (",
        ] {
            let mut harness = Harness::preauthenticated(&memory());
            harness.ask("a SELECT INBOX");
            harness.send(format!("b {command} {{{size}}}\r\n").as_bytes());
            harness.send(&[b'x'; 20_000]);
            harness.send(b"\r\nc NOOP\r\n");
            assert!(harness.closed.is_none());
            assert!(harness.out.len() < 100_000);
        }
    }
}

#[test]
fn many_literals_in_one_command() {
    let mut harness = Harness::preauthenticated(&memory());
    let mut line = b"a LIST ".to_vec();
    for _ in 0..1000 {
        line.extend_from_slice(b"{1+}\r\nx");
    }
    harness.send(&line);
    assert_eq!(harness.ask("\r\nb NOOP").last().map(String::as_str), Some("b OK NOOP completed"));
}

#[test]
fn nesting_has_an_end() {
    let mut harness = Harness::preauthenticated(&memory());
    harness.ask("a SELECT INBOX");
    for open in ["(", "NOT ", "OR ALL ", "NOT ("] {
        let answer = harness.ask(&format!("b SEARCH {}ALL", open.repeat(8000)));
        assert_eq!(answer.len(), 1);
        assert!(answer[0].starts_with("b BAD "), "{answer:?}");
    }
}

#[test]
fn a_slow_reader_costs_a_slice() {
    let memory = Memory::new();
    let mut text = b"Subject: large\r\n\r\n".to_vec();
    text.extend(std::iter::repeat_n(*b"0123456789abcdef\0", 400_000).flatten());
    for _ in 0..8 {
        memory.deliver(&MailboxName::inbox(), &text);
    }
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    let line = b"b FETCH 1:8 (RFC822 BODY.PEEK[] BODY.PEEK[1] BODYSTRUCTURE)\r\n";
    let _taken = harness.session.handle_input(line, harness.now);
    let (mut total, mut polls) = (0, 0);
    loop {
        let mut out = Vec::new();
        let more = harness.session.poll_output(&mut out);
        assert!(out.len() <= 128 * 1024, "{} octets at once", out.len());
        assert!(!out.contains(&0));
        total += out.len();
        polls += 1;
        if !more {
            break;
        }
        // While it is busy, it takes no further command.
        let _taken = harness.session.handle_input(b"", harness.now);
    }
    assert!(total > 8 * 3 * text.len() && polls > 1000, "{total} {polls}");
}

#[test]
fn many_messages_cost_a_slice() {
    let memory = Memory::new();
    for _ in 0..20_000 {
        memory.deliver(&MailboxName::inbox(), b"a: b\r\n\r\nc\r\n");
    }
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    for (command, lines) in [
        ("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", 20_001),
        ("STORE 1:* +FLAGS (\\Deleted)", 20_001),
        ("SEARCH ALL", 2),
        ("FETCH 1:* BODY[TEXT]", 60_001),
        ("EXPUNGE", 20_003),
    ] {
        harness.send(format!("b {command}\r\n").as_bytes());
        let count = std::iter::from_fn(|| harness.line()).count();
        assert!(count == lines || command.contains("BODY"), "{command}: {count}");
        assert!(harness.largest_poll <= 128 * 1024, "{command}: {}", harness.largest_poll);
    }
}

#[test]
fn many_mailboxes_cost_a_slice() {
    let memory = Memory::new();
    for number in 0..20_000 {
        memory.make(&MailboxName::new(format!("mailbox-{number}").into_bytes()));
    }
    let mut harness = Harness::preauthenticated(&memory);
    for state in ["authenticated", "selected"] {
        for command in ["LIST \"\" *", "FIND ALL.MAILBOXES *"] {
            assert_eq!(harness.ask(&format!("b {command}")).len(), 20_002, "{state}: {command}");
            assert!(harness.largest_poll <= 128 * 1024, "{state}, {command}: {}", harness.largest_poll);
        }
        harness.ask("a SELECT INBOX");
    }
}

#[test]
fn a_thousand_commands_at_once() {
    let mut harness = Harness::preauthenticated(&memory());
    let commands: String = (0..1000).map(|number| format!("a{number} NOOP\r\n")).collect();
    harness.send(commands.as_bytes());
    for number in 0..1000 {
        assert_eq!(harness.line(), Some(format!("a{number} OK NOOP completed")));
    }
    assert!(harness.out.is_empty());
}

#[test]
fn a_client_may_stop_reading_within_a_response() {
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), &[&b"a: b\r\n\r\n"[..], &[b'x'; 1 << 20]].concat());
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    let _taken = harness.session.handle_input(b"b FETCH 1 BODY[]\r\n", harness.now);
    let mut out = Vec::new();
    assert!(harness.session.poll_output(&mut out));
    harness.session.handle_signal(ailurus_server::Signal::Kiss, harness.now);
    harness.pump();
    assert!(harness.out.iter().all(|octet| *octet == b'x'), "no BYE in the midst of a literal");
    assert_eq!(harness.closed, Some(1));
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

#[test]
fn words_of_the_language_in_any_order() {
    const WORDS: &[&str] = &[
        "a",
        "b",
        " ",
        " ",
        " ",
        "\r\n",
        "\r\n",
        "\r\n",
        "UID ",
        "FETCH ",
        "STORE ",
        "SEARCH ",
        "COPY ",
        "MOVE ",
        "APPEND ",
        "SELECT ",
        "EXAMINE ",
        "INBOX",
        "box",
        "CREATE ",
        "DELETE ",
        "RENAME ",
        "LIST ",
        "LSUB ",
        "STATUS ",
        "IDLE",
        "DONE",
        "NOOP",
        "CHECK",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
        "EXPUNGE ",
        "NAMESPACE",
        "ID ",
        "ENABLE ",
        "1",
        "1:*",
        "*",
        "2,3:1",
        "FLAGS",
        "+FLAGS ",
        "-FLAGS.SILENT ",
        "(",
        ")",
        "\\Seen",
        "\\Deleted",
        "Work",
        "BODY[",
        "BODY.PEEK[]",
        "]",
        "<0.5>",
        "HEADER.FIELDS (",
        "ENVELOPE",
        "BODYSTRUCTURE",
        "RFC822",
        "ALL",
        "FAST",
        "OR ",
        "NOT ",
        "TEXT ",
        "SUBJECT ",
        "SINCE ",
        "1-Jan-2020",
        "RETURN (",
        "MIN",
        "\"",
        "{3}\r\n",
        "{3+}\r\n",
        "{0+}\r\n",
        "{99999+}\r\n",
        "abc",
        "%",
        "\0",
        "\u{e9}",
        "NIL",
        "(MESSAGES)",
        "CHARSET ",
        "UTF-8 ",
        "KEYWORD ",
        "HEADER ",
        "LARGER ",
        "LOGOUTX",
        "FIND MAILBOXES ",
        "SUBSCRIBE ",
    ];
    let mut dice = Dice(1);
    for round in 0..400 {
        let memory = memory();
        memory.make(&MailboxName::from("box"));
        let mut harness = Harness::preauthenticated(&memory);
        harness.ask("a SELECT INBOX");
        for _ in 0..40 {
            let mut text = String::from("t ");
            for _ in 0..=dice.roll(12) {
                text.push_str(WORDS[dice.roll(WORDS.len())]);
            }
            text.push_str("\r\n");
            harness.send(text.as_bytes());
            if dice.roll(10) == 0 {
                memory.deliver(&MailboxName::inbox(), b"a: b\r\n\r\nc\r\n");
            }
            if dice.roll(20) == 0 {
                harness.pass(Duration::from_secs(200));
            }
            if dice.roll(40) == 0 {
                memory.fail_next(ailurus_store::memory::Step::Read, std::io::ErrorKind::Other);
            }
            if harness.closed.is_some() {
                break;
            }
            harness.out.clear();
        }
        harness.session.handle_disconnect("Unexpected client disconnect", harness.now);
        harness.pump();
        assert!(harness.closed.is_some(), "round {round}");
    }
}

fn large() -> Memory {
    let memory = Memory::new();
    memory.deliver(&MailboxName::inbox(), &[&b"a: b\r\n\r\n"[..], &[b'x'; 1 << 20]].concat());
    memory
}

#[test]
fn a_message_that_ends_too_early_ends_the_session() {
    let memory = large();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    let _taken = harness.session.handle_input(b"b FETCH 1 BODY[]\r\n", harness.now);
    let mut out = Vec::new();
    assert!(harness.session.poll_output(&mut out));
    memory.fail_next(ailurus_store::memory::Step::Read, std::io::ErrorKind::Other);
    harness.pump();
    assert!(harness.out.len() < 1 << 20 && harness.out.iter().all(|octet| *octet == b'x'));
    let logged = harness.log.pop_front().expect("a line");
    assert!(logged.starts_with("mail.alert Message with UID 1 cannot be read on: "), "{logged}");
    assert_eq!(harness.closed, Some(1));
}

#[test]
fn a_client_that_takes_nothing_is_logged_out_and_one_that_is_slow_is_not() {
    for takes in [false, true] {
        let mut harness = Harness::preauthenticated(&large());
        harness.ask("a SELECT INBOX");
        let _taken = harness.session.handle_input(b"b FETCH 1 BODY[]\r\n", harness.now);
        for _ in 0..4 {
            if takes {
                let mut out = Vec::new();
                assert!(harness.session.poll_output(&mut out));
            }
            harness.now += Duration::from_secs(1000);
            if harness.session.poll_timeout().is_some_and(|due| due <= harness.now) {
                harness.session.handle_timeout(harness.now);
            }
        }
        assert_eq!(harness.session.poll_timeout().is_some(), takes);
    }
}

#[test]
fn who_waits_for_a_long_command_is_not_logged_out() {
    let memory = Memory::new();
    for _ in 0..20 {
        memory.deliver(&MailboxName::inbox(), &[&b"a: b\r\n\r\n"[..], &[b'x'; 1 << 20]].concat());
    }
    memory.make(&"box".into());
    for command in ["SEARCH TEXT nonesuch", "COPY 1:* box"] {
        let mut harness = Harness::preauthenticated(&memory);
        harness.ask("a SELECT INBOX");
        let line = format!("b {command}\r\n");
        let _taken = harness.session.handle_input(line.as_bytes(), harness.now);
        let mut out = Vec::new();
        while harness.session.poll_output(&mut out) {
            harness.now += Duration::from_secs(1000);
            harness.session.handle_timeout(harness.now);
        }
        let out = String::from_utf8_lossy(&out);
        assert!(out.contains("\r\nb OK ") || out.starts_with("b OK "), "{command}: {out}");
    }
}

#[test]
fn a_slow_literal_of_a_refused_command_is_waited_for_after_login_only() {
    let piece = [b'x'; 100_000];
    let mut harness = Harness::preauthenticated(&memory());
    let answer = harness.ask("a APPEND nonesuch {1000000+}");
    assert!(answer[1].starts_with("a NO [TRYCREATE] "), "{answer:?}");
    for _ in 0..10 {
        harness.pass(Duration::from_secs(200));
        harness.send(&piece);
    }
    assert_eq!(harness.ask("\r\nb NOOP"), ["b OK NOOP completed"]);
    harness.ask("c APPEND nonesuch {1000000+}");
    harness.pass(Duration::from_secs(300));
    assert_eq!(harness.closed, Some(1));

    let mut harness = Harness::new(&memory(), config());
    harness.ask("a APPEND nonesuch {1000000+}");
    for _ in 0..2 {
        harness.send(&piece);
        harness.pass(Duration::from_secs(90));
    }
    assert_eq!(harness.closed, Some(1));
}

/// What is logged and costs the client nothing has a limit: one connection could fill the log otherwise.
#[test]
fn a_stranger_does_not_fill_the_log() {
    for line in ["a AUTHENTICATE NOSUCH\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n", "a LOGIN {99999}\r\n"] {
        let mut harness = Harness::new(&Memory::new(), config());
        harness.send(line.repeat(1000).as_bytes());
        assert_eq!(harness.closed, Some(0), "{line}");
        assert!(harness.log.len() <= 21, "{line}: {} lines", harness.log.len());
        assert!(harness.out.ends_with(b"* BYE Too many login failures\r\n"), "{line}");
    }
}

/// A name cannot look like the fields behind it.
#[test]
fn a_name_is_one_word_in_the_log() {
    let mut harness = Harness::new(&Memory::new(), config());
    harness.send(b"a LOGIN \"ada auth=ada host=[192.0.2.1]\\\\\" x\r\n");
    harness.pass(Duration::from_secs(3));
    let line = harness.log.iter().find(|line| line.contains("Login failed")).expect("logged").clone();
    let name = "ada\\040auth=ada\\040host=[192.0.2.1]\\134";
    let end = "host=mail.example.test [127.0.0.1]";
    assert_eq!(line, format!("auth.notice Login failed user={name:.64} auth={name:.64} {end}"));
}
