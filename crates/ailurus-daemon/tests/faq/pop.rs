//! What the FAQ says of POP3, from several chapters.

use crate::support::{Client, PATIENCE, Session, program};
use crate::{Bottle, set_mode};
use crate::{MAIL, ada, bottle, end, has, line};
use md5::Digest as _;
use std::fs;
use std::net::TcpListener;

/// A client of `ipop3d` from the network, and the greeting.
fn greeted(bottle: &Bottle) -> (Session, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mut session = Session::accepted(&mut bottle.command(&program("ipop3d")), &listener);
    let greeting = session.client.greeting();
    assert!(greeting.starts_with("+OK POP3 "), "{greeting}");
    (session, greeting)
}

/// Gives a command and returns the line that it is answered with.
#[track_caller]
fn say(client: &mut Client, command: &str) -> String {
    client.send(format!("{command}\r\n").as_bytes());
    String::from_utf8_lossy(&client.line(PATIENCE).expect("an answer").expect("an answer")).into_owned()
}

#[track_caller]
fn ok(client: &mut Client, command: &str) -> String {
    let answer = say(client, command);
    assert!(answer.starts_with("+OK"), "{command}: {answer}");
    answer
}

/// As [`ok`]; returns the lines that follow, up to the dot.
#[track_caller]
fn many(client: &mut Client, command: &str) -> Vec<String> {
    ok(client, command);
    let mut lines = Vec::new();
    loop {
        let line = client.line(PATIENCE).expect("a line").expect("a line");
        if line == b"." {
            return lines;
        }
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
}

fn login(bottle: &Bottle) -> Session {
    let (mut session, _) = greeted(bottle);
    ok(&mut session.client, "USER ada");
    ok(&mut session.client, "PASS adapw");
    session
}

fn quit(mut session: Session) {
    ok(&mut session.client, "QUIT");
    assert_eq!(session.process.end(), Some(0));
}

#[test]
fn faq_1_1_pop3_needs_no_configuration() {
    let Some(bottle) = bottle() else { return };
    let mut session = login(&bottle);
    assert!(ok(&mut session.client, "STAT").starts_with("+OK 3 "));
    has(&many(&mut session.client, "RETR 2"), "The second.");
    let uids = many(&mut session.client, "UIDL");
    quit(session);
    session = login(&bottle);
    assert_eq!(many(&mut session.client, "UIDL"), uids, "they stay");
    quit(session);
}

/// Where there are secrets, there is a timestamp in the greeting. Also 3.9.
#[test]
fn faq_1_16_apop() {
    let Some(bottle) = bottle() else { return };
    let (mut session, greeting) = greeted(&bottle);
    assert!(!greeting.contains('<'), "{greeting}");
    assert!(say(&mut session.client, "APOP ada 00112233445566778899aabbccddeeff").starts_with("-ERR"));
    bottle.put("cram-md5.pwd", "ada\tadaCRAM\n");
    let (mut session, greeting) = greeted(&bottle);
    let stamp = &greeting[greeting.find('<').expect("a timestamp")..];
    let digest = md5::Md5::digest(format!("{stamp}adaCRAM"));
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(ok(&mut session.client, &format!("APOP ada {digest}")).contains("3 messages"));
    quit(session);
}

#[test]
fn faq_1_26_rpop_is_refused() {
    let Some(bottle) = bottle() else { return };
    let (mut session, _) = greeted(&bottle);
    assert!(say(&mut session.client, "RPOP ada").starts_with("-ERR"));
    ok(&mut session.client, "QUIT");
}

#[test]
fn faq_7_1_pop3_tells_of_a_damaged_first_line() {
    let Some(bottle) = bottle() else { return };
    let damaged = format!("garbage\n{MAIL}");
    fs::write(bottle.spool("ada"), &damaged).expect("ours");
    let (mut session, _) = greeted(&bottle);
    ok(&mut session.client, "USER ada");
    let answer = say(&mut session.client, "PASS adapw");
    assert!(answer.starts_with("-ERR ") && answer.ends_with("Unable to open user's INBOX"), "{answer}");
    session.process.await_log("not in valid mailbox format");
    assert_eq!(fs::read_to_string(bottle.spool("ada")).expect("there"), damaged);
}

/// Deletions are made at QUIT, and of what was deleted here alone.
#[test]
fn faq_7_13_messages_are_deleted_at_quit() {
    let Some(bottle) = bottle() else { return };
    // An IMAP client has marked the first, and not expunged it.
    let mut imap = ada(&bottle);
    imap.client.ok("SELECT INBOX");
    imap.client.ok("STORE 1 +FLAGS (\\Deleted)");
    end(imap);
    let mut session = login(&bottle);
    assert!(ok(&mut session.client, "STAT").starts_with("+OK 2 "));
    ok(&mut session.client, "DELE 1");
    drop(session.client);
    session.process.end();
    let mut session = login(&bottle);
    assert!(
        ok(&mut session.client, "STAT").starts_with("+OK 2 "),
        "the connection broke off: nothing is deleted"
    );
    ok(&mut session.client, "DELE 1");
    quit(session);
    let mut imap = ada(&bottle);
    has(&imap.client.ok("SELECT INBOX"), "* 2 EXISTS");
    let lines = imap.client.ok("FETCH 1:2 BODY.PEEK[TEXT]");
    has(&lines, "The first.");
    has(&lines, "The third.");
    end(imap);
    // Who cannot delete gets no session.
    set_mode(&bottle.spool("ada"), 0o400);
    let (mut session, _) = greeted(&bottle);
    ok(&mut session.client, "USER ada");
    let answer = say(&mut session.client, "PASS adapw");
    assert!(answer.starts_with("-ERR ") && answer.ends_with("Can't get lock.  Mailbox in use"), "{answer}");
}

/// A session of IMAP gives way at once.
#[test]
fn faq_7_19_pop3_takes_the_mailbox_over() {
    let Some(bottle) = bottle() else { return };
    let mut imap = ada(&bottle);
    imap.client.ok("SELECT INBOX");
    imap.client.ok("STORE 2 +FLAGS (\\Flagged)");
    let session = login(&bottle);
    let farewell = imap.client.line(PATIENCE).expect("a line").expect("a line");
    assert_eq!(String::from_utf8_lossy(&farewell), "* BYE Killed (lost mailbox lock)");
    // Another of POP3 does not, while this one is in use.
    let (mut second, _) = greeted(&bottle);
    ok(&mut second.client, "USER ada");
    let answer = say(&mut second.client, "PASS adapw");
    assert!(answer.starts_with("-ERR ") && answer.ends_with("Mailbox in use"), "{answer}");
    quit(session);
    let mut imap = ada(&bottle);
    imap.client.ok("SELECT INBOX");
    assert!(line(&imap.client.ok("FETCH 2 FLAGS"), "* 2 FETCH").contains("\\Flagged"));
    end(imap);
}
