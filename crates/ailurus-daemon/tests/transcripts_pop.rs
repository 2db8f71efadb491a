//! Sessions of POP3 and POP2 recorded with the reference, held against our `ipop3d` and `ipop2d`.
//!
//! As `transcripts_host.rs`, in a host in a bottle. Needs root and the right to make a mount namespace.

mod support;

use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use support::bottle::{Bottle, FIRST_UID};
use support::host::{of_program, of_service};
use support::player::{Player, folder};
use support::{PATIENCE, Session, program};

/// The name of the host of the recordings.
const HOST: &str = "set local-host mail.example.test\n";

fn inbox() -> String {
    fs::read_to_string(folder().join("inbox-pop.mbox")).expect("a fixture")
}

/// A host where ada has the recorded mail, which was seen by a session before, and ben has none.
fn bottle() -> Option<Bottle> {
    let bottle = Bottle::new(&inbox())?;
    fs::write(bottle.spool("ben"), "").expect("ours");
    bottle.publish("c-client.cf", HOST);
    seen_before(&bottle);
    Some(bottle)
}

fn seen_before(bottle: &Bottle) {
    let mut session = imapd(bottle);
    session.client.ok("SELECT INBOX");
    session.client.ok("LOGOUT");
    assert_eq!(session.process.end(), Some(0));
}

/// A session of ada's, who is logged in.
fn imapd(bottle: &Bottle) -> Session {
    let mut session = Session::paired(&mut bottle.command_of_ada(&program("imapd")));
    session.client.greeting();
    session
}

fn recording(file: &'static str) -> Player {
    let replacements = vec![
        ("/var/mail/ada".to_owned(), "/var/spool/mail/ada".to_owned()),
        ("/etc/ssl/certs/".to_owned(), "<certdir>/".to_owned()),
    ];
    Player::new(file, "ada", replacements)
}

/// Gives ada another INBOX.
fn put(bottle: &Bottle, text: &str) {
    let spool = bottle.spool("ada");
    fs::write(&spool, text).expect("ours");
    chown(&spool, Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o600)).expect("ours");
}

/// Returns the UIDs that are left, with their flags.
fn left(bottle: &Bottle) -> Vec<String> {
    let mut session = imapd(bottle);
    session.client.ok("EXAMINE INBOX");
    let lines = session.client.ok("FETCH 1:* (UID FLAGS)");
    session.client.ok("LOGOUT");
    session.process.end();
    let flags = |line: &String| {
        line.split_once(" FETCH (").map(|(_, flags)| format!("({}", flags.replace("\\Recent ", "")))
    };
    lines.iter().filter_map(flags).collect()
}

#[test]
fn pop3() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("pop3.txt");
    for section in [
        "AUTHORIZATION state errors",
        "bad then good PASS",
        "admin",
        "AUTH PLAIN IR (hidden mech)",
        "transaction",
    ] {
        player.session(of_program(&bottle, "ipop3d"), section, |_| {});
    }
    let seen = |uid: u32| format!("(UID {uid} FLAGS ())");
    assert_eq!(left(&bottle), [1, 2, 3, 4].map(seen), "as the recording shows the file");
    put(
        &bottle,
        "From x@y Mon Sep  7 10:00:00 2026\nSubject: dots\nFrom: x@y\n\n.leading\n..two\nlast no newline dot\n.\nend\n\n\
         From x@y Mon Sep  7 10:00:00 2026\nSubject: nobody\nFrom: x@y\n\n\n",
    );
    player.session(of_program(&bottle, "ipop3d"), "dot stuffing, empty body", |_| {});
    player.finish();
}

/// Where the reference removes message 3 and marks message 4, we remove message 4 and mark message 5.
#[test]
fn messages_that_others_deleted() {
    let Some(bottle) = bottle() else { return };
    let mut session = imapd(&bottle);
    session.client.ok("SELECT INBOX");
    session.client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    session.client.ok("LOGOUT");
    session.process.end();
    let mut player = recording("pop3-predeleted-bug.txt");
    let section =
        "POP with a message already \\Deleted via IMAP: message 2 hidden; DELE 3 should delete IMAP msg 4";
    player.session(of_program(&bottle, "ipop3d"), section, |_| {});
    let flags = [(1, ""), (2, "\\Deleted"), (3, ""), (5, "\\Seen")];
    assert_eq!(left(&bottle), flags.map(|(uid, flags)| format!("(UID {uid} FLAGS ({flags}))")));
    player.finish();
}

#[test]
fn apop_and_cram_md5() {
    let Some(bottle) = bottle() else { return };
    bottle.put("cram-md5.pwd", "ada\tadaCRAM\n");
    let mut player = recording("cram-md5-apop.txt");
    player.secrets = vec!["adaCRAM"];
    for section in ["APOP", "POP AUTH CRAM"] {
        player.session(of_program(&bottle, "ipop3d"), section, |_| {});
    }
    player.finish();
}

#[test]
fn tls() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("c-client.cf", &format!("{HOST}set disable-plaintext 2\n"));
    let mut player = recording("tls.txt");
    player.session(of_program(&bottle, "ipop3d"), "POP STLS, no cert file", |_| {});
    player.session(of_program(&bottle, "ipop2d"), "pop2 with plaintext disabled", |_| {});
    // One that is for POP3 alone, and one that is for all.
    for name in ["ipop3d", "imapd"] {
        let certificate = bottle.install_certificate(name, "localhost");
        let mut session = of_service(&bottle, "pop3s", "ipop3d");
        session.client.start_tls(&certificate, "localhost");
        player.session(session, "pop3s", |_| {});

        let mut session = of_program(&bottle, "ipop3d");
        session.client.greeting();
        // What is behind STLS in the clear is not obeyed.
        session.client.send(b"STLS\r\nUSER mallory\r\n");
        assert_eq!(session.client.greeting(), "+OK STLS completed");
        session.client.start_tls(&certificate, "localhost");
        session.client.send(b"PASS adapw\r\nUSER ada\r\nPASS adapw\r\nQUIT\r\n");
        assert_eq!(session.client.greeting(), "-ERR Unknown AUTHORIZATION state command");
        assert_eq!(session.client.greeting(), "+OK User name accepted, password please");
        assert_eq!(session.client.greeting(), "+OK Mailbox open, 5 messages");
        assert_eq!(session.client.greeting(), "+OK Sayonara");
        for folder in ["certs", "private"] {
            fs::remove_file(bottle.path("etc/ssl").join(folder).join(format!("{name}.pem"))).expect("there");
        }
    }
    player.finish();
}

#[test]
fn pop2() {
    let Some(bottle) = Bottle::new(&inbox()) else { return };
    bottle.publish("c-client.cf", HOST);
    let mut player = recording("pop2.txt");
    let mut session = of_program(&bottle, "ipop2d");
    let recorded = player.section("POP2");
    let folds = recorded.exchanges.iter().position(|exchange| exchange.tag == "FOLD").expect("recorded");
    for exchange in &recorded.exchanges[..folds] {
        player.exchange(&mut session, "POP2", exchange);
    }
    // Here the reference takes its own expunge for another's, and ends.
    session.client.send(b"FOLD nosuch\r\nFOLD INBOX\r\nREAD 2\r\nQUIT\r\n");
    let size = format!("={} characters in message 2", 195 + 2);
    for line in ["#0 messages in <none>", "#4 messages in INBOX", &size, "+ Sayonara"] {
        assert_eq!(session.client.greeting(), line);
    }
    assert_eq!(session.process.end(), Some(0));
    player.compare_log("POP2", &session.process.log());
    let flags = [(1, "\\Seen"), (3, ""), (4, ""), (5, "")];
    assert_eq!(
        left(&bottle),
        flags.map(|(uid, flags)| format!("(UID {uid} FLAGS ({flags}))")),
        "UID 2 is gone"
    );
    for section in ["POP2 bad login", "POP2 out of sequence"] {
        player.session(of_program(&bottle, "ipop2d"), section, |_| {});
    }
    player.session(of_program(&bottle, "ipop2d"), "POP2 bad number", |_| {});
    player.finish();
}

#[test]
fn signals() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("locking-and-signals.txt");
    for (section, signal, last) in [
        ("pop signal 15", Signal::TERM, Some("-ERR Killed")),
        // The kiss of death is nothing to a client who is there.
        ("pop signal 12", Signal::USR2, None),
    ] {
        let mut session = of_program(&bottle, "ipop3d");
        let recorded = player.section(section);
        for exchange in &recorded.exchanges[..2] {
            player.exchange(&mut session, section, exchange);
        }
        session.client.send(b"PASS adapw\r\n");
        assert_eq!(session.client.greeting(), "+OK Mailbox open, 5 messages");
        session.process.signal(signal);
        if let Some(last) = last {
            assert_eq!(session.client.greeting(), last);
        } else {
            session.client.send(b"NOOP\r\n");
            assert_eq!(session.client.greeting(), "+OK No-op to you too!");
        }
        drop(session.client);
        assert_eq!(session.process.end(), Some(1));
        player.compare_log(section, &session.process.log());
    }
    player.finish();
}

/// An IMAP session and a POP session want the same mailbox.
#[test]
fn one_session_a_mailbox() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("locking-and-signals.txt");
    let mut pop = of_program(&bottle, "ipop3d");
    pop.client.greeting();
    pop.client.send(b"USER ada\r\nPASS adapw\r\nDELE 1\r\n");
    for line in
        ["+OK User name accepted, password please", "+OK Mailbox open, 5 messages", "+OK Message deleted"]
    {
        assert_eq!(pop.client.greeting(), line);
    }
    let imap = Session::paired(&mut bottle.command_of_ada(&program("imapd")));
    player.session(imap, "SELECT while POP3 active (pop refuses KOD when not idle 5min)", |_| {});
    // Nor does another POP session get it.
    let mut other = of_program(&bottle, "ipop3d");
    other.client.greeting();
    other.client.send(b"USER ada\r\nPASS adapw\r\n");
    assert_eq!(other.client.greeting(), "+OK User name accepted, password please");
    assert_eq!(other.client.greeting(), "-ERR [IN-USE] Can't get lock.  Mailbox in use");
    assert_eq!(other.process.end(), Some(0));
    drop(pop.client);
    assert_eq!(pop.process.end(), Some(1));
    assert_eq!(left(&bottle).len(), 5, "nobody said QUIT");
    player.session(of_program(&bottle, "ipop3d"), "pop session", |_| {});

    // An IMAP session gives way at once.
    let mut imap = imapd(&bottle);
    imap.client.ok("SELECT INBOX");
    let mut pop = of_program(&bottle, "ipop3d");
    pop.client.greeting();
    pop.client.send(b"USER ada\r\nPASS adapw\r\nDELE 1\r\nQUIT\r\n");
    pop.client.greeting();
    assert_eq!(pop.client.greeting(), "+OK Mailbox open, 5 messages");
    let line = imap.client.line(PATIENCE).expect("a farewell").expect("a farewell");
    assert_eq!(String::from_utf8_lossy(&line), "* BYE Killed (lost mailbox lock)");
    assert_eq!(pop.process.end(), Some(0));
    assert_eq!(left(&bottle).len(), 4);
    player.finish();
}

/// A session that has the mailbox and does not answer.
#[test]
fn a_holder_that_will_not_die() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("locking-and-signals.txt");
    let mut holder = imapd(&bottle);
    holder.client.ok("SELECT INBOX");
    holder.process.signal(Signal::STOP);
    player.session(of_program(&bottle, "ipop3d"), "POP3 when lock holder will not die", |_| {});
    holder.process.signal(Signal::CONT);
    player.finish();
}

/// A host that shuts down, and an INBOX that is no mailbox.
#[test]
fn nologin_and_a_damaged_inbox() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("nologin", "");
    let mut player = recording("imap-nologin-alert-anonymous.txt");
    let section = player.section("nologin pop3");
    let mut session = of_program(&bottle, "ipop3d");
    player.exchange(&mut session, &section.name, &section.exchanges[0]);
    session.client.send(b"USER ada\r\nPASS adapw\r\n");
    for line in &section.exchanges[1].expected {
        assert_eq!(session.client.greeting(), *line);
    }
    player.exchange(&mut session, &section.name, &section.exchanges[2]);
    assert_eq!(session.process.end(), Some(0));
    player.compare_log(&section.name, &session.process.log());
    player.finish();
    fs::remove_file(bottle.path("etc/nologin")).expect("there");

    let text = "From ada@example.test Mon Sep 7 10:00:00 2026\nSubject: x\n\nbody\n";
    put(&bottle, text);
    let mut player = recording("faq-checks.txt");
    let section = player.section("POP bad first line");
    let mut session = of_program(&bottle, "ipop3d");
    for exchange in &section.exchanges[..3] {
        player.exchange(&mut session, &section.name, exchange);
    }
    drop(session.client);
    assert_eq!(session.process.end(), Some(0));
    player.compare_log(&section.name, &session.process.log());
    player.finish();
    assert_eq!(fs::read_to_string(bottle.spool("ada")).expect("there"), text);
}

/// Whoever has started the program is known to it.
#[test]
fn external() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("imap-misc.txt");
    for section in ["ipop3d as user, EXTERNAL", "ipop3d as user, EXTERNAL as other; then PASS"] {
        let session = Session::paired(&mut bottle.command_of_ada(&program("ipop3d")));
        player.session(session, section, |_| {});
    }
    player.finish();
}

#[test]
fn pam() {
    let Some(bottle) = Bottle::new("") else { return };
    if !ailurus_sys::pam::available() {
        return support::skip("no libpam");
    }
    bottle.publish("c-client.cf", HOST);
    bottle.put("pam.d/pop", "auth required pam_unix.so\naccount required pam_unix.so\n");
    let certificate = bottle.install_certificate("ipop3d", "localhost");
    let mut player = recording("pam.txt");
    let mut session = of_service(&bottle, "pop3s", "ipop3d");
    session.client.start_tls(&certificate, "localhost");
    player.session(session, "PAM pop", |_| {});
    // The service decides, and it alone.
    bottle.put("pam.d/pop", "auth required pam_deny.so\naccount required pam_deny.so\n");
    let mut session = of_program(&bottle, "ipop3d");
    session.client.greeting();
    session.client.send(b"USER ada\r\nPASS adapw\r\n");
    session.client.greeting();
    assert_eq!(session.client.greeting(), "-ERR [AUTH] Bad login");
}
