//! POP3 sessions in memory: replies, states, timers, signals, what reaches the mailbox and when.

mod harness;

use ailurus_auth::CramDatabase;
use ailurus_server::{Config, Plaintext, Signal, TlsState, pop3};
use ailurus_store::memory::{Memory, Step};
use ailurus_types::{Flags, MailboxName, SystemFlags, Uid, UidSet};
use harness::{Harness, Pieces, config};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

/// Three messages: 1 was seen, 2 is deleted by somebody, 3 and 4 are new.
fn four() -> Memory {
    let memory = Memory::new();
    for (number, text) in ["one", "two", "three", "four"].iter().enumerate() {
        let message = format!("Subject: {text}\r\n\r\nText {number}.\r\n");
        memory.deliver(&inbox(), message.as_bytes());
    }
    set(&memory, 1, SystemFlags::SEEN);
    set(&memory, 2, SystemFlags::DELETED);
    memory
}

fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not 0")
}

fn set(memory: &Memory, number: u32, system: SystemFlags) {
    memory.set_flags(&inbox(), uid(number), Flags { system, ..Flags::default() });
}

/// UIDs with the names of their system flags.
fn mailbox(memory: &Memory) -> Vec<(u32, Vec<&'static str>)> {
    let named = |flags: Flags| {
        let names = SystemFlags::NAMED.iter().filter(move |(flag, _)| flags.system.contains(*flag));
        names.map(|(_, name)| *name).collect()
    };
    memory.messages(&inbox()).iter().map(|(info, _)| (info.uid().get(), named(info.flags()))).collect()
}

/// Plays a script in sessions of clients who have to log in, input whole and by octets.
fn play(memory: impl Fn() -> Memory, config: &Config, script: &str) {
    for pieces in [Pieces::Whole, Pieces::Octets] {
        let mut harness = Harness::pop3(&memory(), config.clone());
        harness.pieces = pieces;
        harness.play(script);
    }
}

const LOGIN: &str = "S: +OK POP3 mail.example.test Ailurus IMAP 0.1.0 server ready
C: USER ada
S: +OK User name accepted, password please
C: PASS adapw
";

#[test]
fn a_transaction() {
    let script = format!(
        "{LOGIN}S: +OK Mailbox open, 3 messages
L: mail.info Login user=ada host=mail.example.test [127.0.0.1] nmsgs=3/4
C: STAT
S: +OK 3 114
C: LIST
S: +OK Mailbox scan listing follows
S: 1 37
S: 2 39
S: 3 38
S: .
C: LIST 2x
S: +OK 2 39
C: LIST 4
S: -ERR No such message
C: UIDL
S: +OK Unique-ID listing follows
S: 1 <*>00000001
S: 2 <*>00000003
S: 3 <*>00000004
S: .
C: UIDL 3
S: +OK 3 <*>00000004
C: UIDL 0
S: -ERR No such message
C: LAST
S: +OK 1
C: TOP 2 0
S: +OK Top of message follows
S: Subject: three
S: Status:   
S: 
S: .
C: RETR 1
S: +OK 37 octets
S: Subject: one
S: Status: R 
S: 
S: Text 0.
S: .
C: DELE 3
S: +OK Message deleted
C: LAST
S: +OK 3
C: STAT
S: +OK 2 76
C: RETR 3
S: -ERR No such message
C: RSET
S: +OK Reset state
C: LAST
S: +OK 1
C: dele 2
S: +OK Message deleted
C: RETR 3
S: +OK 38 octets
S: Subject: four
S: Status:   
S: 
S: Text 3.
S: .
C: QUIT
S: +OK Sayonara
L: mail.info Update user=ada host=mail.example.test [127.0.0.1] nmsgs=2 ndele=1 nseen=1
L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]
X: 0"
    );
    let memory = four();
    let mut harness = Harness::pop3(&memory, config());
    harness.play(&script);
    let left = vec![(1, vec!["\\Seen"]), (2, vec!["\\Deleted"]), (4, vec!["\\Seen"])];
    assert_eq!(mailbox(&memory), left, "what somebody else deleted is his to expunge");
    play(four, &config(), &script);
}

#[test]
fn what_is_no_command_of_the_state() {
    play(
        four,
        &config(),
        "S: +OK POP3 mail.example.test Ailurus IMAP 0.1.0 server ready
C: STAT
S: -ERR Unknown AUTHORIZATION state command
C: PASS x
S: -ERR Unknown AUTHORIZATION state command
C: USER
S: -ERR Missing username argument
C: USER   ada
S: +OK User name accepted, password please
C: PASS
S: -ERR Missing password argument
C: APOP x y
S: -ERR Not supported
C: RPOP x
S: -ERR Nice try, bunkie
C: AUTH PLAIN
S: + 
C: *
S: -ERR Bad authentication
L: mail.info AUTHENTICATE PLAIN failure host=mail.example.test [127.0.0.1]
C: AUTH NOSUCH
S: -ERR Bad authentication
L: mail.info AUTHENTICATE NOSUCH failure host=mail.example.test [127.0.0.1]
C:    
S: -ERR Null command
C: STLS
S: -ERR STLS failed: Server certificate not installed
C: PASS adapw
S: +OK Mailbox open, 3 messages
C: USER x
S: -ERR Unknown TRANSACTION state command
C: STLS
S: -ERR Unknown TRANSACTION state command
C: XTND x
S: -ERR Sorry I can't do that
C: NOOP x
S: +OK No-op to you too!
C: RETR
S: -ERR Missing message number argument
C: RETR x
S: -ERR No such message
C: TOP 1
S: -ERR Bad line count argument
C: TOP 9 1
S: -ERR Bad message number argument
C: QUIT
S: +OK Sayonara
X: 0",
    );
}

#[test]
fn a_line_that_is_too_long_is_one_error() {
    let mut harness = Harness::pop3_logged_in(&four());
    harness.send(&[&vec![b'x'; 100_000][..], b"\r\nNOOP\r\n"].concat());
    assert_eq!(harness.out, b"-ERR Command line too long\r\n+OK No-op to you too!\r\n");
    harness.out.clear();
    let (fits, not) = (format!("NOOP {}", "x".repeat(1016)), format!("NOOP {}", "x".repeat(1017)));
    assert_eq!(harness.ask(&fits), ["+OK No-op to you too!"]);
    assert_eq!(harness.ask(&not), ["-ERR Command line too long"]);
}

#[test]
fn capabilities() {
    let mut config = config();
    config.product = "Ailurus 0.1.0".into();
    config.cram_md5 = Some(Arc::new(CramDatabase::parse(b"ada\tadapw\n")));
    (config.tls, config.plaintext, config.nonce) = (TlsState::Available, Plaintext::OnlyTls, 0x86_0000_0001);
    play(
        four,
        &config,
        "S: +OK POP3 Ailurus 0.1.0 server ready <100000086.0@mail.example.test>
C: CAPA
S: +OK Capability list follows:
S: TOP
S: UIDL
S: STLS
S: SASL CRAM-MD5
S: RESP-CODES
S: AUTH-RESP-CODE
S: PIPELINING
S: EXPIRE NEVER
S: IMPLEMENTATION Ailurus
S: .
C: USER ada
S: -ERR Unknown AUTHORIZATION state command
C: PASS x
S: -ERR Unknown AUTHORIZATION state command
C: STLS
S: +OK STLS completed
C: PASS adapw
S: -ERR Unknown AUTHORIZATION state command
C: AUTH
S: +OK Supported authentication mechanisms:
S: CRAM-MD5
S: PLAIN
S: LOGIN
S: .
C: STLS
S: -ERR STLS failed: Already in an SSL session
C: AUTH PLAIN AGFkYQBhZGFwdw==
S: +OK Mailbox open, 3 messages
L: mail.info Auth user=ada host=mail.example.test [127.0.0.1] nmsgs=3/4
C: CAPA
S: +OK Capability list follows:
S: TOP
S: UIDL
S: USER
S: SASL CRAM-MD5 PLAIN LOGIN
S: RESP-CODES
S: AUTH-RESP-CODE
S: PIPELINING
S: EXPIRE NEVER
S: IMPLEMENTATION Ailurus 0.1.0
S: .",
    );
}

#[test]
fn what_is_sent_behind_stls_in_the_clear_is_not_obeyed() {
    let mut config = config();
    config.tls = TlsState::Available;
    let mut harness = Harness::pop3(&four(), config);
    harness.out.clear();
    let line = b"STLS\r\nUSER ada\r\n";
    let taken = harness.session.handle_input(line, harness.now);
    assert_eq!(&line[..taken], b"STLS\r\n", "what follows is the transport's to throw away");
    assert!(!harness.session.wants_input());
}

#[test]
fn apop_and_wrong_proofs() {
    let mut config = config();
    config.cram_md5 = Some(Arc::new(CramDatabase::parse(b"ada\tadaCRAM\n")));
    config.nonce = 0;
    // printf '<0.0@mail.example.test>adaCRAM' | md5sum
    play(
        four,
        &config,
        "S: +OK POP3 Ailurus IMAP 0.1.0 server ready <0.0@mail.example.test>
C: APOP ada
S: -ERR Missing APOP argument
C: APOP ada 00000000000000000000000000000000
S: -ERR [AUTH] Bad APOP
L: auth.notice Login failed user=ada auth=ada host=mail.example.test [127.0.0.1]
C: APOP nobody 00000000000000000000000000000000
S: -ERR [AUTH] Bad APOP",
    );
}

#[test]
fn three_failures_and_the_gateway() {
    let script = "S: +OK POP3 mail.example.test Ailurus IMAP 0.1.0 server ready
C: USER remote.example.test:ada
S: +OK User name accepted, password please
C: PASS adapw
S: -ERR [AUTH] Bad login
L: auth.notice Login failed user=remote.example.test:ada auth=remote.example.test:ada host=mail.example.test [127.0.0.1]
C: USER ada
S: +OK User name accepted, password please
C: PASS bad
S: -ERR [AUTH] Bad login
L: auth.notice Login failed user=ada auth=ada host=mail.example.test [127.0.0.1]
C: PASS worse
S: -ERR [AUTH] Bad login
L: auth.notice Login failed user=ada auth=ada host=mail.example.test [127.0.0.1]
L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]
X: 0";
    play(four, &config(), script);
    let again = "S: +OK POP3 mail.example.test Ailurus IMAP 0.1.0 server ready
C: USER ben*ada
S: +OK User name accepted, password please
C: PASS bad
S: -ERR [AUTH] Bad login
L: auth.notice Login failed user=ben auth=ada host=mail.example.test [127.0.0.1]
C: PASS  adapw
S: +OK Mailbox open, 3 messages
L: mail.info Admin Login user=ben host=mail.example.test [127.0.0.1] nmsgs=3/4";
    play(four, &config(), again);
}

#[test]
fn timers() {
    let greeting = "S: +OK POP3 mail.example.test Ailurus IMAP 0.1.0 server ready\n";
    let script = format!(
        "{greeting}T: 180
S: -ERR Autologout; idle for too long
L: mail.info Autologout user=??? host=mail.example.test [127.0.0.1]
X: 1"
    );
    play(four, &config(), &script);
    let script = format!(
        "{greeting}T: 170
C: NOOP
S: -ERR Unknown AUTHORIZATION state command
T: 20
C: NOOP
S: -ERR Unknown AUTHORIZATION state command
S: -ERR Autologout
L: mail.info Autologout user=??? host=mail.example.test [127.0.0.1]
X: 0"
    );
    play(four, &config(), &script);
    let memory = four();
    let before = mailbox(&memory);
    let mut harness = Harness::pop3_logged_in(&memory);
    harness.play(
        "C: DELE 1\nS: +OK Message deleted\nT: 599\nC: NOOP\nS: +OK No-op to you too!\nT: 600
S: -ERR Autologout; idle for too long
L: mail.info Autologout user=ada host=mail.example.test [127.0.0.1]
X: 1",
    );
    assert_eq!(mailbox(&memory), before);
}

#[test]
fn nothing_is_done_without_quit() {
    type End = fn(&mut Harness<pop3::Session>);
    let ends: [(&str, End); 5] = [
        ("disconnect", |harness| harness.session.handle_disconnect("gone", harness.now)),
        ("timeout", |harness| harness.pass(Duration::from_secs(600))),
        ("SIGTERM", |harness| harness.session.handle_signal(Signal::Terminate, harness.now)),
        ("SIGHUP", |harness| harness.session.handle_signal(Signal::Hangup, harness.now)),
        ("kiss", |harness| {
            harness.now += Duration::from_secs(301);
            harness.session.handle_signal(Signal::Kiss, harness.now);
        }),
    ];
    for (name, end) in ends {
        let memory = four();
        let before = mailbox(&memory);
        let mut harness = Harness::pop3_logged_in(&memory);
        harness.send(b"DELE 1\r\nRETR 2\r\nDELE 3\r\n");
        end(&mut harness);
        harness.pump();
        assert_eq!(harness.closed, Some(1), "{name}");
        assert_eq!(mailbox(&memory), before, "{name}");
    }
}

#[test]
fn the_kiss_of_death() {
    let mut harness = Harness::pop3_logged_in(&four());
    harness.pass(Duration::from_secs(300));
    harness.session.handle_signal(Signal::Kiss, harness.now);
    harness.pump();
    assert_eq!((harness.closed, harness.out.len()), (None, 0), "who is active keeps the mailbox");
    harness.pass(Duration::from_secs(1));
    harness.session.handle_signal(Signal::Kiss, harness.now);
    harness.pump();
    harness.play(
        "S: -ERR Received Kiss of Death
L: mail.info Killed (lost mailbox lock) user=ada host=mail.example.test [127.0.0.1]
X: 1",
    );
}

#[test]
fn a_mailbox_that_cannot_be_had() {
    let memory = four();
    memory.set_read_only(&inbox(), true);
    let script = format!(
        "{LOGIN}S: -ERR [SYS/PERM] Can't get lock.  Mailbox in use
L: mail.info Error opening or locking INBOX user=ada host=mail.example.test [127.0.0.1]
L: mail.info Login user=ada host=mail.example.test [127.0.0.1] no mailbox
L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]
X: 0"
    );
    Harness::pop3(&memory, config()).play(&script);
    let memory = four();
    memory.fail_next(Step::Open, ErrorKind::PermissionDenied);
    let script = format!("{LOGIN}S: -ERR [SYS/TEMP] Unable to open user's INBOX\nX: 0");
    Harness::pop3(&memory, config()).play(&script);
}

#[test]
fn messages_that_others_expunged() {
    let memory = four();
    let mut harness = Harness::pop3_logged_in(&memory);
    memory.expunge(&inbox(), &UidSet::from_iter([uid(1), uid(3)]));
    assert_eq!(harness.ask("STAT"), ["+OK 3 114"], "numbers stay");
    assert_eq!(harness.ask("DELE 1"), ["+OK Message deleted"]);
    assert_eq!(harness.ask("RETR 3")[0], "+OK 38 octets");
    assert_eq!(harness.ask("DELE 3"), ["+OK Message deleted"]);
    memory.expunge(&inbox(), &UidSet::from_iter([uid(4)]));
    memory.deliver(&inbox(), b"Subject: five\r\n\r\n");
    assert_eq!(harness.ask("QUIT"), ["+OK Sayonara"]);
    assert_eq!(mailbox(&memory), [(2, vec!["\\Deleted"]), (5, vec![])]);
}

#[test]
fn a_mailbox_that_begins_anew() {
    let memory = four();
    let mut harness = Harness::pop3_logged_in(&memory);
    harness.send(b"DELE 1\r\n");
    harness.out.clear();
    memory.restart_uids(&inbox());
    let before = mailbox(&memory);
    assert_eq!(harness.ask("QUIT"), ["-ERR [SYS/TEMP] Mailbox not updated, deleted messages not removed"]);
    assert_eq!(mailbox(&memory), before);
}

#[test]
fn an_update_that_fails_is_told() {
    for step in [Step::Edit, Step::Commit] {
        let memory = four();
        let before = mailbox(&memory);
        let mut harness = Harness::pop3_logged_in(&memory);
        harness.send(b"DELE 1\r\nRETR 2\r\n");
        harness.out.clear();
        memory.fail_next(step, ErrorKind::StorageFull);
        assert_eq!(
            harness.ask("QUIT"),
            ["-ERR [SYS/TEMP] Mailbox not updated, deleted messages not removed"]
        );
        assert_eq!(harness.closed, Some(0));
        assert_eq!(mailbox(&memory), before, "all or nothing");
    }
}

#[test]
fn messages_that_lack_something_have_true_sizes() {
    let odd: [&[u8]; 14] = [
        b"",
        b"\r\n",
        b"\r",
        b"x",
        b"A: b",
        b"A: b\r\n",
        b"A: b\r\n\r\n",
        b"\r\ntext",
        b"\r\n\r\n\r\n",
        b"A: b\r\n\r\ntext",
        b"A: b\r\n\r\n.\r\n..\n.\nbare\n",
        b"A: b\r\n\r\nlone\rCR\r",
        b"A: \0b\r\n\r\n\0\0\r\n",
        b"no header\n\nat all",
    ];
    let memory = Memory::new();
    for message in odd {
        memory.deliver(&inbox(), message);
    }
    let mut harness = Harness::pop3_logged_in(&memory);
    let mut total = 0;
    for (index, message) in odd.iter().enumerate() {
        let number = index + 1;
        let shown = message.escape_ascii();
        harness.send(format!("RETR {number}\r\n").as_bytes());
        let sent = std::mem::take(&mut harness.out);
        let end = sent.iter().position(|octet| *octet == b'\n').expect("a first line") + 1;
        let first = String::from_utf8_lossy(&sent[..end]).into_owned();
        let size: usize = first["+OK ".len()..].split(' ').next().expect("a word").parse().expect("a size");
        let mut body = Vec::new();
        let mut ended = false;
        for line in sent[end..].split_inclusive(|octet| *octet == b'\n') {
            assert!(!ended, "{shown}: more behind the end");
            if line == b".\r\n" {
                ended = true;
            } else {
                body.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
        }
        assert!(ended, "{shown}");
        assert_eq!(body.len(), size, "{shown}: {}", body.escape_ascii());
        assert!(body.ends_with(b"\r\n"), "{shown}");
        // Without the line, and the CRLF that was missing, it is the message.
        let status = b"Status:   \r\n";
        let at = body.windows(status.len()).position(|window| window == status).expect("a status line");
        body.drain(at..at + status.len());
        let cleaned: Vec<u8> = message.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect();
        let plain = body == cleaned || body.strip_suffix(b"\r\n") == Some(&cleaned);
        assert!(plain, "{shown}: {}", body.escape_ascii());
        assert_eq!(harness.ask(&format!("LIST {number}")), [format!("+OK {number} {size}")]);
        total += size;
    }
    assert_eq!(harness.ask("STAT"), [format!("+OK 14 {total}")]);
}

#[test]
fn top_counts_lines_of_the_text() {
    let memory = Memory::new();
    memory.deliver(&inbox(), b"A: b\r\n\r\none\r\n\r\n.three\r\nfour");
    let mut harness = Harness::pop3_logged_in(&memory);
    let all = ["+OK Top of message follows", "A: b", "Status:   ", "", "one", "", "..three", "four", "."];
    for lines in 0..=5 {
        let mut expected = all[..all.len().min(4 + lines)].to_vec();
        if lines < 5 {
            expected.push(".");
        }
        if lines == 4 {
            expected = all.to_vec();
        }
        assert_eq!(harness.ask(&format!("TOP 1 {lines}")), expected, "{lines}");
    }
}

#[test]
fn pipelining() {
    let memory = four();
    let mut harness = Harness::pop3(&memory, config());
    harness.send(b"USER ada\r\nPASS adapw\r\nSTAT\r\nRETR 3\r\nDELE 3\nQUIT\r\nNOOP\r\n");
    let text = String::from_utf8(harness.out.clone()).expect("text");
    assert!(text.ends_with("\r\n.\r\n+OK Message deleted\r\n+OK Sayonara\r\n"), "{text}");
    assert_eq!(harness.closed, Some(0));
    assert_eq!(mailbox(&memory).len(), 3);
}
