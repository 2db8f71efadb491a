//! Chapter 6: why it is as it is.

use crate::support::server::Server;
use crate::support::{PATIENCE, User};
use crate::{MAIL, at_home, code, end, has, line, refused, session};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn faq_6_5_mailboxes_are_in_the_home_directory() {
    let (user, mut session) = at_home();
    session.client.ok("CREATE letters");
    assert!(user.home().join("letters").exists());
    let lines = session.client.ok("LIST \"\" %");
    has(&lines, "* LIST (\\NoInferiors \\UnMarked) \"/\" letters");
    end(session);
}

/// Old clients hang on larger records. Also 7.41 and 7.43.
#[test]
fn faq_6_7_tls_records_of_at_most_8192_octets() {
    let user = User::new();
    let server = Server::own(&user);
    let text: String = (0..20_000).map(|n| format!("A line of a large message, number {n:06}.\n")).collect();
    let mut client = server.login();
    client.ok("CREATE box");
    client.append("box", "", &format!("Subject: large\n\n{text}"));
    client.ok("LOGOUT");
    let (port, lengths) = listen_in(server.tls_port);
    let mut client = crate::Client::connect(port);
    client.start_tls(&user.home().join(".local/state/ailurus/imapd.pem"), "localhost");
    client.greeting();
    client.ok(&format!("LOGIN {} {}", server.user, server.password));
    client.ok("SELECT box");
    let lines = client.ok("FETCH 1 BODY.PEEK[]");
    has(&lines, "A line of a large message, number 019999.");
    client.ok("LOGOUT");
    drop(client);
    let lengths = lengths.join().expect("it only listens");
    assert!(lengths.iter().sum::<usize>() > text.len(), "all went by");
    // What TLS 1.3 adds: the kind of content, and a tag of 16 octets.
    assert!(lengths.iter().all(|length| *length <= 8192 + 17), "{:?}", lengths.iter().max());
    assert!(lengths.iter().any(|length| *length > 4096), "and they are no smaller than need be");
}

/// Stands between a client and a port; tells at the end how long the records are that came from there.
fn listen_in(port: u16) -> (u16, std::thread::JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let own = listener.local_addr().expect("bound").port();
    let thread = std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(("127.0.0.1", port)).expect("a server");
        let (mut from_client, mut to_server) =
            (client.try_clone().expect("two"), server.try_clone().expect("two"));
        let there = std::thread::spawn(move || {
            std::io::copy(&mut from_client, &mut to_server).ok();
            to_server.shutdown(Shutdown::Write).ok();
        });
        let (mut server, mut client) = (server, client);
        let mut lengths = Vec::new();
        let mut header = [0; 5];
        while server.read_exact(&mut header).is_ok() {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let mut record = vec![0; length];
            server.read_exact(&mut record).expect("a whole record");
            lengths.push(length);
            client.write_all(&[&header[..], &record].concat()).ok();
        }
        client.shutdown(Shutdown::Both).ok();
        there.join().expect("it only copies");
        lengths
    });
    (own, thread)
}

/// Who has used mh once still finds the mail where it comes.
#[test]
fn faq_6_8_a_profile_of_mh_does_not_redirect_inbox() {
    let Some(bottle) = crate::bottle() else { return };
    let path = bottle.home("ada").join("Mail/inbox");
    fs::create_dir_all(&path).expect("ours");
    crate::host::write(&bottle, "ada", ".mh_profile", "Path: Mail\n");
    fs::write(path.join("1"), "Subject: of mh\n\nText.\n").expect("ours");
    for path in ["Mail", "Mail/inbox", "Mail/inbox/1"] {
        let id = Some(crate::support::bottle::FIRST_UID);
        std::os::unix::fs::chown(bottle.home("ada").join(path), id, id).expect("ours");
    }
    let mut session = crate::ada(&bottle);
    has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    // New mail goes to the folder when the folder itself is asked for.
    has(&session.client.ok("SELECT #mhinbox"), "* 4 EXISTS");
    end(session);
    bottle.publish("ailurus.toml", "[mh]\ninbox = true\n");
    let mut session = crate::ada(&bottle);
    has(&session.client.ok("SELECT INBOX"), "* 4 EXISTS");
    end(session);
}

/// Looking at the mailbox through another descriptor must not let go of its locks.
#[test]
fn faq_6_11_a_status_does_not_lose_the_lock() {
    let (user, mut first) = at_home();
    user.write(&user.home().join("box"), MAIL.as_bytes());
    first.client.ok("SELECT box");
    first.client.ok("STATUS box (MESSAGES UNSEEN)");
    first.client.ok("APPEND box {12+}\r\nSubject: x\r\n");
    let mut second = session(&user);
    let lines = second.client.ok("SELECT box");
    line(&lines, &format!("* NO Trying to get mailbox lock from process {}", first.process.child.id()));
    let farewell = first.client.line(PATIENCE).expect("a line").expect("a line");
    assert!(farewell.starts_with(b"* "), "it was told");
    end(second);
}

/// All that were tried with the reference, from its recording.
#[test]
fn faq_6_12_lines_that_divide_messages() {
    let (user, mut session) = at_home();
    let recording =
        fs::read_to_string(ailurus_testkit::fuzz::checkout().join("fixtures/transcripts/faq-checks.txt"));
    let recording = recording.expect("a fixture");
    let mut count = 0;
    for (date, answer) in recording.lines().filter_map(|line| line.strip_prefix("FROM ")?.split_once(" -> "))
    {
        let message = |n: u32| format!("From ada@example.test {date}\nSubject: number {n}\n\nText {n}.\n\n");
        user.write(&user.home().join("box"), (message(1) + &message(2)).as_bytes());
        let lines = session.client.ok("SELECT box");
        let number = if answer.starts_with("['2']") { 2 } else { 1 };
        has(&lines, &format!("* {number} EXISTS"));
        if number == 2 {
            let date = answer.split('"').nth(1).expect("a date");
            let lines = session.client.ok("FETCH 2 INTERNALDATE");
            has(&lines, &format!("* 2 FETCH (INTERNALDATE \"{date}\")"));
        }
        session.client.ok("UNSELECT");
        count += 1;
    }
    assert_eq!(count, 16);
}

#[test]
fn faq_6_13_new_mailboxes_are_traditional() {
    let (user, mut session) = at_home();
    session.client.ok("CREATE box");
    session.client.append("box", "", "Subject: one\n\nText.\n");
    let text = fs::read_to_string(user.home().join("box")).expect("made");
    assert!(text.starts_with("From ") && text.contains("\n\nText.\n"), "{text}");
    // A directory of the same name would be needed for others below it (6.16).
    refused(&mut session.client, "CREATE box/below");
}

/// What begins a mailbox that was made empty is seen by no client, and keeps what must be kept.
#[test]
fn faq_6_14_the_message_with_internal_data() {
    let (user, mut session) = at_home();
    let client = &mut session.client;
    client.ok("CREATE box");
    client.append("box", "(Work) ", "Subject: one\n\nText.\n");
    let lines = client.ok("SELECT box");
    has(&lines, "* 1 EXISTS");
    let validity = code(&lines, "UIDVALIDITY");
    client.ok("STORE 1 +FLAGS (\\Deleted Work)");
    client.ok("EXPUNGE");
    client.ok("LOGOUT");
    let text = fs::read_to_string(user.home().join("box")).expect("there");
    assert!(text.starts_with("From MAILER-DAEMON "), "{text}");
    assert!(text.contains("\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"), "{text}");
    assert!(text.contains(&format!("\nX-IMAP: {validity} 0000000001 Work\n")), "{text}");
    let mut session = crate::session(&user);
    let lines = session.client.ok("SELECT box");
    has(&lines, "* 0 EXISTS");
    assert_eq!((code(&lines, "UIDVALIDITY"), code(&lines, "UIDNEXT")), (validity, 2));
    assert!(line(&lines, "PERMANENTFLAGS").contains("Work"), "{lines:#?}");
}

/// A mailbox that holds mail of others keeps the same in its first message.
#[test]
fn faq_6_15_the_first_message_with_internal_data() {
    let (user, mut session) = at_home();
    user.write(&user.home().join("box"), MAIL.as_bytes());
    let lines = session.client.ok("SELECT box");
    let validity = code(&lines, "UIDVALIDITY");
    session.client.ok("LOGOUT");
    let text = fs::read_to_string(user.home().join("box")).expect("there");
    let (first, _) = text.split_once("\n\nThe first.").expect("the first message");
    assert!(first.contains(&format!("\nX-IMAPbase: {validity} 3")), "{text}");
    assert!(!text.contains("INTERNAL DATA"), "{text}");
    // Another program takes it out: new UIDs under another value.
    let (_, rest) = text.split_once("The first.\n\n").expect("the second message");
    user.write(&user.home().join("box"), rest.replace("X-UID", "X-Was").as_bytes());
    std::thread::sleep(Duration::from_millis(1100));
    let mut session = crate::session(&user);
    let lines = session.client.ok("SELECT box");
    has(&lines, "* 2 EXISTS");
    assert!(code(&lines, "UIDVALIDITY") > validity);
}

/// The lock file of another program is waited for.
#[test]
fn faq_6_19_lock_files_beside_the_mailbox() {
    let (user, mut session) = at_home();
    user.write(&user.home().join("box"), MAIL.as_bytes());
    let lock = user.home().join("box.lock");
    user.write(&lock, b"");
    let (begun, held) = (Instant::now(), Duration::from_millis(1500));
    let remover = std::thread::spawn({
        let lock = lock.clone();
        move || {
            std::thread::sleep(held);
            fs::remove_file(lock).expect("it is respected");
        }
    });
    has(&session.client.ok("SELECT box"), "* 3 EXISTS");
    session.client.ok("STORE 1 +FLAGS (\\Flagged)");
    session.client.ok("CHECK");
    assert!(begun.elapsed() >= held);
    remover.join().expect("it was there to be removed");
    assert!(!lock.exists(), "ours went as well");
    end(session);
}
