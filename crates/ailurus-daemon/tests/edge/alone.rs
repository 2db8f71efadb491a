//! `imapd` by itself, as inetd or ssh start it: standard input and output.

use crate::support::{Pipes, Program, Talk, is_root, ordinary, program, scratch};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const MAIL: &str = "From grace@navy.example Mon Nov 16 09:12:44 2026\n\
    From: grace@navy.example\nSubject: one\n\nThe first.\n\n\
    From grace@navy.example Mon Nov 16 09:12:45 2026\n\
    From: grace@navy.example\nSubject: two\n\nThe second.\n\n";

fn start(home: &Path) -> (Program, Talk<Pipes>) {
    let mut imapd = Program::start(ordinary("imapd", home).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let talk = imapd.pipes();
    (imapd, talk)
}

/// Puts a mailbox of unix format into a home, as the user's own.
fn put_mailbox(home: &Path, name: &str) {
    let path = home.join(name);
    fs::write(&path, MAIL).expect("written");
    if is_root() {
        std::os::unix::fs::chown(path, Some(crate::support::NOBODY), Some(crate::support::NOBODY))
            .expect("ours");
    }
}

#[test]
fn an_ordinary_user_need_not_log_in() {
    let home = scratch();
    let (mut imapd, mut talk) = start(home.path());
    let greeting = talk.expect("* PREAUTH [CAPABILITY IMAP4REV1 ");
    assert!(greeting.contains(" Pre-authenticated user "), "{greeting}");
    assert!(greeting.contains(" Ailurus IMAP "), "{greeting}");
    assert!(!greeting.contains("AUTH=") && !greeting.contains("STARTTLS"), "{greeting}");
    talk.command("LOGIN ada adapw", "BAD");
    talk.command("LOGOUT", "OK");
    talk.ended();
    assert_eq!(imapd.wait().code(), Some(0));
    let line = imapd.logged("mail.info: Preauthenticated user=");
    assert!(line.ends_with(" host=UNKNOWN"), "{line}");
    imapd.logged("mail.info: Logout user=");
}

#[test]
fn ssh_is_named_in_the_log() {
    let home = scratch();
    let mut command = ordinary("imapd", home.path());
    command.env("SSH_CLIENT", "192.0.2.5 2222 22").stdin(Stdio::null()).stdout(Stdio::null());
    let mut imapd = Program::start(&mut command);
    assert_eq!(imapd.wait().code(), Some(1));
    imapd.logged("host=SSH_CLIENT=192.0.2.5");
    imapd.logged("mail.info: Unexpected client disconnect, while reading line user=");
}

#[test]
fn a_mailbox_is_read_and_changed() {
    let home = scratch();
    put_mailbox(home.path(), "letters");
    let (mut imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    let lines = talk.command("SELECT letters", "OK [READ-WRITE]");
    assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
    talk.command("STORE 2 +FLAGS (\\Deleted)", "OK");
    talk.command("EXPUNGE", "OK");
    let lines = talk.command("FETCH 1 BODY[TEXT]", "OK");
    assert!(lines.iter().any(|line| line == "The first."), "{lines:#?}");
    talk.command("LOGOUT", "OK");
    assert_eq!(imapd.wait().code(), Some(0));
    let text = fs::read_to_string(home.path().join("letters")).expect("there");
    assert!(text.contains("The first.") && !text.contains("The second."), "{text}");
}

#[test]
fn the_kiss_of_death_ends_a_session_that_has_a_mailbox() {
    let home = scratch();
    put_mailbox(home.path(), "letters");
    let (mut imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    talk.command("SELECT letters", "OK [READ-WRITE]");
    talk.command("STORE 1 +FLAGS (\\Flagged)", "OK");
    imapd.signal(Signal::USR2);
    talk.expect("* BYE Killed (lost mailbox lock)");
    talk.ended();
    assert_eq!(imapd.wait().code(), Some(1));
    imapd.logged("mail.info: Killed (lost mailbox lock) user=");
    let text = fs::read_to_string(home.path().join("letters")).expect("there");
    assert!(text.contains("X-Status: F"), "flags are saved: {text}");
}

#[test]
fn an_interrupt_closes_the_mailbox() {
    let home = scratch();
    put_mailbox(home.path(), "letters");
    let (mut imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    talk.command("SELECT letters", "OK [READ-WRITE]");
    talk.command("STORE 1 +FLAGS (\\Flagged)", "OK");
    imapd.signal(Signal::INT);
    talk.ended();
    assert_eq!(imapd.wait().code(), Some(1));
    imapd.logged("mail.info: Hangup user=");
    let text = fs::read_to_string(home.path().join("letters")).expect("there");
    assert!(text.contains("X-Status: F"), "flags are saved: {text}");
}

#[test]
fn a_second_session_takes_the_mailbox() {
    let home = scratch();
    put_mailbox(home.path(), "letters");
    let (mut first, mut first_talk) = start(home.path());
    first_talk.expect("* PREAUTH");
    first_talk.command("SELECT letters", "OK [READ-WRITE]");
    let (mut second, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    let lines = talk.command("SELECT letters", "OK [READ-WRITE]");
    let warning = format!("* NO Trying to get mailbox lock from process {}", first.id());
    assert!(lines.contains(&warning), "{lines:#?}");
    first_talk.expect("* BYE Killed (lost mailbox lock)");
    assert_eq!(first.wait().code(), Some(1));
    talk.command("LOGOUT", "OK");
    assert_eq!(second.wait().code(), Some(0));
}

#[test]
fn signals_end_a_session_each_in_its_way() {
    let home = scratch();
    let (mut imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    imapd.signal(Signal::TERM);
    talk.expect("* BYE Killed (terminated)");
    talk.ended();
    assert_eq!(imapd.wait().code(), Some(1));
    imapd.logged("mail.info: Killed (terminated) user=");

    let (mut imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    imapd.signal(Signal::HUP);
    talk.ended();
    assert_eq!(imapd.wait().code(), Some(1));
    imapd.logged("mail.info: Hangup user=");

    let (mut imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    imapd.signal(Signal::USR1);
    talk.command("NOOP", "OK");
    talk.command("LOGOUT", "OK");
    assert_eq!(imapd.wait().code(), Some(0));
}

#[test]
fn new_mail_is_told_in_idle() {
    let home = scratch();
    put_mailbox(home.path(), "letters");
    let (_imapd, mut talk) = start(home.path());
    talk.expect("* PREAUTH");
    talk.command("SELECT letters", "OK");
    talk.say("t IDLE");
    talk.expect("+ ");
    let begun = std::time::Instant::now();
    let mut file = fs::File::options().append(true).open(home.path().join("letters")).expect("there");
    std::io::Write::write_all(&mut file, MAIL.as_bytes()).expect("written");
    drop(file);
    loop {
        let line = talk.line();
        assert!(!line.is_empty(), "the connection ended");
        if line == "* 4 EXISTS" {
            break;
        }
    }
    assert!(begun.elapsed().as_secs() < 4, "by notice, not by looking every five seconds");
    talk.say("DONE");
    while !talk.line().starts_with("t OK") {}
}

#[test]
fn root_is_never_preauthenticated_and_never_logs_in() {
    if !is_root() {
        return eprintln!("skipped: not root");
    }
    let mut command = Command::new(program("imapd"));
    command.env("AILURUS_LOG", "stderr").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut imapd = Program::start(&mut command);
    let mut talk = imapd.pipes();
    talk.expect("* OK [CAPABILITY IMAP4REV1 ");
    talk.command("SELECT INBOX", "BAD");
    let begun = std::time::Instant::now();
    talk.command("LOGIN root root", "NO");
    assert!(begun.elapsed().as_secs() >= 2, "failures cost time");
    imapd.logged("auth.notice: Login failed user=root auth=root host=UNKNOWN");
    talk.command("LOGOUT", "OK");
    assert_eq!(imapd.wait().code(), Some(0));
}

#[test]
fn a_disconnect_at_any_octet_ends_the_process() {
    let home = scratch();
    put_mailbox(home.path(), "letters");
    let script = "a SELECT letters\r\nb STORE 1 +FLAGS (\\Seen)\r\nc APPEND letters {30}\r\nSubject: three\r\n\r\nThe third.\r\n\
        \r\nd IDLE\r\nDONE\r\ne EXPUNGE\r\nf LOGOUT\r\n";
    for end in (0..script.len()).step_by(7) {
        let (mut imapd, mut talk) = start(home.path());
        talk.expect("* PREAUTH");
        std::io::Write::write_all(talk.stream.get_mut(), &script.as_bytes()[..end]).expect("written");
        drop(talk);
        assert_eq!(imapd.wait().code(), Some(1), "after {end} octets:\n{}", imapd.log());
        imapd.logged(" user=");
    }
    let text = fs::read_to_string(home.path().join("letters")).expect("there");
    assert!(text.contains("The first.") && text.contains("The second."), "{text}");
}
