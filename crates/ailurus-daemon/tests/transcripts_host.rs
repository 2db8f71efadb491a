//! Recorded sessions that need a host of their own: passwords, PAM, certificates, files in /etc, modes of the spool.
//!
//! As `transcripts.rs`, with the users of the recordings under their own names in a host in a bottle. Needs root and the
//! right to make a mount namespace.

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, SystemTime};
use support::bottle::{Bottle, FIRST_UID};
use support::host::{from_network, imaps, preauthenticated, write};
use support::player::{Player, inbox};
use support::{PATIENCE, Session, program};

fn bottle() -> Option<Bottle> {
    let bottle = Bottle::new(&inbox())?;
    for (name, content) in
        [(".profile", "umask 022\n"), (".bash_logout", "clear\n"), (".bashrc", "PS1='$ '\n")]
    {
        for user in ["ada", "ben"] {
            write(&bottle, user, name, content);
        }
    }
    bottle.publish("c-client.cf", HOST);
    Some(bottle)
}

/// The name of the host of the recordings.
const HOST: &str = "set local-host mail.example.test\n";

fn recording(file: &'static str) -> Player {
    let replacements = vec![
        ("/var/mail/ada".to_owned(), "/var/spool/mail/ada".to_owned()),
        ("directory /var/mail must".to_owned(), "directory /var/spool/mail must".to_owned()),
        ("/etc/ssl/certs/".to_owned(), "<certdir>/".to_owned()),
    ];
    Player::new(file, "ada", replacements)
}

/// Opens and closes INBOX: its messages are not recent any more.
fn seen_before(bottle: &Bottle) {
    let mut session = preauthenticated(bottle);
    session.client.greeting();
    session.client.ok("SELECT INBOX");
    session.client.ok("LOGOUT");
    session.process.end();
}

#[test]
fn logins() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("imap-login-and-sasl.txt");
    for section in [
        "uppercase user",
        "password with leading space",
        "admin override",
        "non-admin override",
        "AUTH PLAIN",
        "AUTH PLAIN IR w authzid",
        "AUTH LOGIN",
        "AUTH errors",
        "STARTTLS without SSL build/cert",
    ] {
        player.session(from_network(&bottle), section, |_| {});
    }
    player.finish();
}

#[test]
fn cram_md5() {
    let Some(bottle) = bottle() else { return };
    bottle.put("cram-md5.pwd", "ada\tadaCRAM\npostmgr\tmgrCRAM\nben\tbenCRAM\nghost\tghostCRAM\n");
    let mut player = recording("cram-md5-apop.txt");
    player.secrets = vec!["adaCRAM", "mgrCRAM", "benCRAM", "ghostCRAM"];
    for section in [
        "plaintext LOGIN w/ CRAM db",
        "CRAM ok",
        "CRAM uppercase user",
        "CRAM fail: no unix account; then bad passwords",
        "CRAM admin",
        "CRAM with IR / cancel",
    ] {
        player.session(from_network(&bottle), section, |_| {});
    }
    player.finish();
}

#[test]
fn pam() {
    let Some(bottle) = bottle() else { return };
    if !ailurus_sys::pam::available() {
        return support::skip("no libpam");
    }
    let certificate = bottle.install_certificate("imapd", "localhost");
    let heard = bottle.path("heard");
    let script = bottle.path("hear");
    let text = format!("#!/bin/sh\necho $PAM_SERVICE $PAM_USER $PAM_RHOST $PAM_TYPE >>{}\n", heard.display());
    fs::write(&script, text).expect("ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let hear = |kind: &str| format!("{kind} required pam_exec.so quiet {}\n", script.display());
    bottle.put(
        "pam.d/imap",
        &format!(
            "{}auth required pam_unix.so\n{}account required pam_unix.so\n",
            hear("auth"),
            hear("account")
        ),
    );
    let mut player = recording("pam.txt");
    let mut session = imaps(&bottle);
    session.client.start_tls(&certificate, "localhost");
    player.session(session, "PAM imap", |_| {});
    let heard = fs::read_to_string(heard).expect("it was heard");
    let wanted = ["auth", "auth", "account"].map(|kind| format!("imap ada 127.0.0.1 {kind}\n"));
    assert_eq!(heard, wanted.concat());
    // Without the service, PAM's `other` is not asked: shadow is.
    fs::remove_file(bottle.path("etc/pam.d/imap")).expect("there");
    bottle.put("pam.d/other", "auth required pam_deny.so\naccount required pam_deny.so\n");
    let mut session = imaps(&bottle);
    session.client.start_tls(&certificate, "localhost");
    player.session(session, "PAM imap service missing -> other (deny)", |_| {});
    player.finish();
}

#[test]
fn tls() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("c-client.cf", &format!("{HOST}set disable-plaintext 2\n"));
    let mut player = recording("tls.txt");
    player.session(from_network(&bottle), "STARTTLS, no cert file", |_| {});
    player.session(imaps(&bottle), "imaps, no cert file", |_| {});
    let simapd = bottle.path("simapd");
    std::os::unix::fs::symlink(program("imapd"), &simapd).expect("ours");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let session = Session::accepted(&mut bottle.command(&simapd), &listener);
    player.session(session, "argv0 simapd on non-service port: expects TLS w/ simapd.pem", |_| {});

    let certificate = bottle.install_certificate("imapd", "localhost");
    player.certificate = Some(certificate.clone());
    for section in ["STARTTLS ok", "STARTTLS command injection", "argv0 imapd on non-service port"] {
        player.session(from_network(&bottle), section, |_| {});
    }
    // The key is in a directory of its own in this host, as in all of Debian's.
    for section in ["imaps ok", "separate key directory"] {
        let mut session = imaps(&bottle);
        session.client.start_tls(&certificate, "localhost");
        player.session(session, section, |_| {});
    }
    let certificate = bottle.install_certificate("imapd-127.0.0.1", "perip.example.test");
    let mut session = imaps(&bottle);
    session.client.start_tls(&certificate, "perip.example.test");
    player.session(session, "per-IP cert", |_| {});
    player.finish();
}

#[test]
fn capabilities_with_tls() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("c-client.cf", &format!("{HOST}set disable-plaintext 2\n"));
    bottle.install_certificate("imapd", "localhost");
    let mut player = recording("imap-capabilities.txt");
    let section = |way| format!("Panda IMAP 2010, TLS build, plaintext only under TLS (default) ({way})");
    player.session(from_network(&bottle), &section("network"), |_| {});
    player.session(preauthenticated(&bottle), &section("preauthenticated"), |_| {});
    player.finish();
}

#[test]
fn nologin_and_alerts() {
    let Some(bottle) = bottle() else { return };
    seen_before(&bottle);
    let mut player = recording("imap-nologin-alert-anonymous.txt");
    bottle.publish("nologin", "");
    player.session(from_network(&bottle), "nologin at start", |_| {});
    player.session(preauthenticated(&bottle), "nologin at start, preauth", |_| {});
    fs::remove_file(bottle.path("etc/nologin")).expect("there");
    bottle.publish("imapd.alert", "System maintenance tonight\nSecond line without newline");
    write(&bottle, "ada", ".imapalert", "Personal\nalert\n");
    player.session(from_network(&bottle), "alerts", |_| {});
    player.session(preauthenticated(&bottle), "alerts preauth", |_| {});
    player.finish();
}

/// Gives the host the users whose homes are the shared namespaces.
fn with_namespaces(bottle: &Bottle) {
    for (name, id) in [("imapshared", 20), ("ftp", 21), ("imappublic", 22)] {
        // The host may have an ftp of its own.
        let without = |file: &str| {
            let text = fs::read_to_string(bottle.path(file)).expect("copied");
            let kept = text.lines().filter(|line| !line.starts_with(&format!("{name}:")));
            fs::write(bottle.path(file), kept.map(|line| format!("{line}\n")).collect::<String>())
                .expect("ours");
        };
        without("etc/passwd");
        without("etc/shadow");
        bottle.add_user(name, FIRST_UID + id, "!");
        for file in [".profile", ".bash_logout", ".bashrc"] {
            write(bottle, name, file, "x\n");
        }
    }
    for (user, name) in [("imappublic", "pub1"), ("ftp", "f1")] {
        write(bottle, user, name, &inbox());
        let path = bottle.home(user).join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("ours");
    }
}

#[test]
fn namespaces() {
    let Some(bottle) = bottle() else { return };
    with_namespaces(&bottle);
    // Another user, whose mail nobody sees.
    bottle.add_user("zed", FIRST_UID + 23, "!");
    fs::remove_dir(bottle.home("eve")).expect("it is empty");
    fs::remove_dir(bottle.home("zero")).expect("it is empty");
    for user in ["zed", "postmgr"] {
        for file in [".profile", ".bash_logout", ".bashrc"] {
            write(&bottle, user, file, "x\n");
        }
    }
    let mut player = recording("imap-nologin-alert-anonymous.txt");
    player.session(preauthenticated(&bottle), "namespaces as ada", |_| {});
    player.finish();
}

#[test]
fn anonymous_logins() {
    let Some(bottle) = bottle() else { return };
    with_namespaces(&bottle);
    let mut player = recording("imap-nologin-alert-anonymous.txt");
    player.session(from_network(&bottle), "LOGIN anonymous, disabled", |_| {});
    bottle.publish("anonymous.newsgroups", "");
    player.session(from_network(&bottle), "SASL anonymous", |_| {});
    player.session(from_network(&bottle), "LOGIN anonymous", |_| {});
    player.finish();
}

#[test]
fn modes_of_the_directories_of_locks() {
    let Some(bottle) = bottle() else { return };
    seen_before(&bottle);
    let mut player = recording("locking-and-signals.txt");
    // As the section before it in the recording left it.
    let mut session = preauthenticated(&bottle);
    session.client.greeting();
    session.client.ok("SELECT INBOX");
    session.client.ok("STORE 1 +FLAGS (\\Flagged)");
    session.client.ok("LOGOUT");
    session.process.end();
    fs::set_permissions(bottle.path("mail"), fs::Permissions::from_mode(0o755)).expect("ours");
    player.session(preauthenticated(&bottle), "spool dir 755", |_| {});
    player.finish();
}

#[test]
fn the_signal_of_the_status_file() {
    use rustix::process::Signal;
    let Some(bottle) = bottle() else { return };
    seen_before(&bottle);
    let mut player = recording("locking-and-signals.txt");
    let mut session = preauthenticated(&bottle);
    let process = session.process.child.id();
    let signal = || {
        let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw).expect("an id");
        rustix::process::kill_process(process, Signal::USR1).expect("it runs");
    };
    player.play(&mut session, "signal 10", |tag| {
        if tag == "c" {
            signal();
        }
    });
    assert_eq!(session.process.end(), Some(0));
    player.compare_log("signal 10", &session.process.log());
    let mut session = from_network(&bottle);
    session.client.greeting();
    session.process.signal(Signal::USR1);
    drop(session.client);
    assert_eq!(session.process.end(), Some(1));
    player.compare_log("USR1 NLI + abrupt close", &session.process.log());
    player.finish();
}

/// A session that has the mailbox and does not answer: the next one waits a while and then only reads.
#[test]
fn a_holder_that_is_stopped() {
    use rustix::process::Signal;
    let Some(bottle) = bottle() else { return };
    seen_before(&bottle);
    let mut player = recording("locking-and-signals.txt");
    let mut holder = preauthenticated(&bottle);
    let section = player.section("stopped holder");
    for exchange in &section.exchanges[..1] {
        player.exchange(&mut holder, &section.name, exchange);
    }
    holder.client.ok("SELECT INBOX");
    holder.process.signal(Signal::STOP);
    player.session(
        preauthenticated(&bottle),
        "SELECT while POP3 active (pop refuses KOD when not idle 5min)",
        |_| {},
    );
    holder.process.signal(Signal::CONT);
    let line = holder.client.line(PATIENCE).expect("a farewell").expect("a farewell");
    assert_eq!(String::from_utf8_lossy(&line), "* BYE Killed (lost mailbox lock)");
    assert_eq!(holder.process.end(), Some(1));
    player.finish();
}

/// INBOX made in another format, with mail in the spool and without.
#[test]
fn inboxes_in_other_formats() {
    for format in ["mix", "mbx"] {
        // Nothing in the spool was asked for in the last of them; its answers show that there was mail.
        for spool in ["mail", "empty", "none"] {
            let Some(bottle) = bottle() else { return };
            if spool == "empty" {
                fs::write(bottle.spool("ada"), "").expect("ours");
            }
            let mut player = recording("inbox-creation-by-driver.txt");
            let mut session = preauthenticated(&bottle);
            session.client.greeting();
            player.play(&mut session, &format!("create INBOX {format}, spool {spool}"), |_| {});
            player.finish();
        }
    }
}

/// The sections of `proxy-and-formats.txt` that are about formats. Those about other hosts wait for the drivers of remote
/// mailboxes, that about mlock for mlock.
#[test]
fn formats() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("proxy-and-formats.txt");
    bottle.publish("c-client.cf", &format!("{HOST}set new-folder-format mix\nset keywords A, B\n"));
    player.session(preauthenticated(&bottle), "mix with default keywords", |_| {});

    bottle.publish("c-client.cf", HOST);
    write(&bottle, "ada", "remote", "{mail.example.test/user=ada}INBOX\n");
    // A mailbox whose messages have UIDs, twice.
    seen_before(&bottle);
    // Within the second of its UID validity value a spool that is emptied keeps what says so, and fewer octets are moved.
    std::thread::sleep(Duration::from_secs(2));
    let opened = fs::read_to_string(bottle.spool("ada")).expect("it is there");
    write(&bottle, "ada", "mbox", &opened);
    player.session(preauthenticated(&bottle), "mbox present", |_| {});
    fs::remove_file(bottle.home("ada").join("mbox")).expect("there");

    write(&bottle, "ada", ".mh_profile", "Path: Mail\n");
    fs::write(bottle.spool("ada"), inbox()).expect("ours");
    player.session(preauthenticated(&bottle), "mh", |_| {});
    player.finish();
}

/// What the FAQ checks were made with, rebuilt from what they show.
#[test]
fn answers_of_the_faq() {
    let Some(bottle) = bottle() else { return };
    let mut player = recording("faq-checks.txt");
    let play = |player: &mut Player, section: &str| {
        let mut session = preauthenticated(&bottle);
        session.client.greeting();
        player.play(&mut session, section, |_| {});
    };
    let body = "From ada@example.test Mon Sep 7 10:00:00 2026\nSubject: x\n\nA\nB\n";
    // 78 octets in 6 lines when the line ends are CRLF.
    let text = format!("{body}{}\n", "c".repeat(78 - 2 - (body.len() + 5)));
    write(&bottle, "ada", "badbox", &text);
    // 23 November 2026, 12:38:53.
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_437_533);
    let file = fs::File::options().write(true).open(bottle.home("ada").join("badbox")).expect("there");
    file.set_modified(written).expect("ours");
    play(&mut player, "folder bad first line");

    fs::remove_file(bottle.home("ada").join("badbox")).expect("there");
    for name in ["shbox", "robox", "fl", "badbox"] {
        write(&bottle, "ada", name, "x\n");
    }
    play(&mut player, "nest");

    let mbx = mbx();
    for (section, change) in [
        (
            "mbx corrupt header 1",
            &(|octets: &mut Vec<u8>| octets[2058..2063].fill(b'X')) as &dyn Fn(&mut Vec<u8>),
        ),
        ("mbx truncated", &|octets: &mut Vec<u8>| octets.truncate(2267)),
        ("mbx tail junk", &|octets: &mut Vec<u8>| octets.extend_from_slice(b"junk without newline")),
        ("mbx tail junk nl", &|octets: &mut Vec<u8>| octets.extend_from_slice(b"junk with newline\r\n")),
    ] {
        let mut octets = mbx.clone();
        change(&mut octets);
        let path = bottle.home("ada").join("bx");
        fs::write(&path, &octets).expect("ours");
        chown(&path, Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
        play(&mut player, section);
        assert_eq!(fs::read(&path).expect("there"), octets, "{section}: it is left as it is");
    }
    player.finish();
}

/// An mbx mailbox with messages at 2048 and 2196, which ends at 2270.
fn mbx() -> Vec<u8> {
    let mut octets = b"*mbx*\r\n6ab3c5a000000002\r\n".to_vec();
    octets.resize(2048, 0);
    for (uid, size) in [(1, 95), (2, 21)] {
        let line = format!(" 7-Sep-2026 10:00:00 +0000,{size};000000000000-{uid:08x}\r\n");
        octets.extend_from_slice(line.as_bytes());
        let header = b"Subject: x\r\n\r\n";
        octets.extend_from_slice(header);
        octets.resize(octets.len() + size - header.len() - 2, b'y');
        octets.extend_from_slice(b"\r\n");
    }
    assert_eq!(octets.len(), 2270);
    octets
}
