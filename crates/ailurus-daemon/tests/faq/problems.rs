//! Chapter 7: what goes wrong, and how it shows.

use crate::support::bottle::FIRST_UID;
use crate::support::host::{from_network, write};
use crate::support::{Client, PATIENCE, program};
use crate::{MAIL, ada, at_home, bottle, code, end, has, line, login, refused, session, set_mode};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, Instant};

/// A spool whose first line is damaged is left alone, and the refusal names the cause.
#[test]
fn faq_7_1_a_damaged_first_line() {
    let Some(bottle) = bottle() else { return };
    let damaged = format!("garbage\n{MAIL}");
    fs::write(bottle.spool("ada"), &damaged).expect("ours");
    let mut session = ada(&bottle);
    for command in ["SELECT INBOX", "STATUS INBOX (MESSAGES)", "APPEND INBOX {12+}\r\nSubject: x\r\n"] {
        let text = refused(&mut session.client, command);
        assert!(text.contains("/var/mail/ada"), "{text}");
        assert!(command.starts_with("APPEND") || text.contains("not in valid mailbox format"), "{text}");
    }
    end(session);
    assert_eq!(fs::read_to_string(bottle.spool("ada")).expect("there"), damaged);

    // What the programs for damaged mailboxes make of it.
    let ailurus = |arguments: &[&str]| {
        let output = bottle.command_of_ada(&program("ailurus")).args(arguments).output().expect("run");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    for (arguments, status) in [(["verify", "INBOX"], 1), (["repair", "INBOX"], 2)] {
        let (code, said) = ailurus(&arguments);
        assert!(code == Some(status) && said.contains("'#driver.unix/INBOX'"), "{code:?}: {said}");
    }
    let (code, said) = ailurus(&["repair", "--apply", "#driver.unix/INBOX"]);
    assert_eq!(code, Some(0), "{said}");
    let mut session = ada(&bottle);
    has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    end(session);
}

/// A file that is no mailbox is shown as one message.
#[test]
fn faq_7_2_one_big_message() {
    let (user, mut session) = at_home();
    user.write(&user.home().join("box"), format!("garbage\n{MAIL}").as_bytes());
    let lines = session.client.ok("SELECT box");
    has(&lines, "* 1 EXISTS");
    assert!(lines.last().expect("a tagged line").contains("[READ-ONLY]"), "{lines:#?}");
    let lines = session.client.ok("FETCH 1 BODY.PEEK[HEADER]");
    has(&lines, &format!("Subject: {}", user.home().join("box").display()));
    assert!(line(&lines, "From: ").starts_with(&format!("From: {}@", user.name)), "{lines:#?}");
    has(&session.client.ok("FETCH 1 BODY.PEEK[TEXT]"), "The third.");
}

#[test]
fn faq_7_3_file_exists() {
    let (user, mut session) = at_home();
    session.client.ok("CREATE mail");
    let text = refused(&mut session.client, "CREATE mail/letters");
    let node = user.home().join("mail");
    assert!(text.ends_with(&format!("Can't create mailbox node {}/: File exists", node.display())), "{text}");
}

/// Also 7.7: `~/mbox` is INBOX if it is there, unless another place is set.
#[test]
fn faq_7_6_mail_moves_to_mbox() {
    let Some(bottle) = bottle() else { return };
    let bytes = fs::metadata(bottle.spool("ada")).expect("there").len();
    write(&bottle, "ada", "mbox", "");
    let mut session = ada(&bottle);
    has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    session
        .process
        .await_log(&format!("Moved {bytes} bytes of new mail to /home/ada/mbox from /var/mail/ada"));
    end(session);
    assert_eq!(fs::metadata(bottle.spool("ada")).expect("there").len(), 0);
    assert!(fs::read_to_string(bottle.home("ada").join("mbox")).expect("there").contains("The third."));
    // Renamed, it is a mailbox like others, and INBOX the spool.
    fs::rename(bottle.home("ada").join("mbox"), bottle.home("ada").join("old-mail")).expect("ours");
    fs::write(bottle.spool("ada"), MAIL).expect("ours");
    let mut session = ada(&bottle);
    has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    has(&session.client.ok("SELECT old-mail"), "* 3 EXISTS");
    end(session);
    assert!(fs::metadata(bottle.spool("ada")).expect("there").len() > 0);
}

#[test]
fn faq_7_7_mail_stays_in_the_spool_where_mbox_is_no_inbox() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[mailboxes]\nmbox-as-inbox = false\n");
    write(&bottle, "ada", "mbox", "");
    let mut session = ada(&bottle);
    has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    session.client.append("mbox", "", "Subject: one\n\nText.\n");
    has(&session.client.ok("STATUS mbox (MESSAGES)"), "* STATUS mbox (MESSAGES 1)");
    has(&session.client.ok("STATUS INBOX (MESSAGES)"), "* STATUS INBOX (MESSAGES 3)");
    end(session);
    assert!(fs::metadata(bottle.spool("ada")).expect("there").len() > 0);
}

/// Also 7.9.
#[test]
fn faq_7_8_the_name_of_the_host_can_be_set() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("hosts", "127.0.0.1 localhost\n");
    let greeting = from_network(&bottle).client.greeting();
    assert!(greeting.contains(" localhost "), "{greeting}");
    bottle.publish("ailurus.toml", "[server]\nhost-name = \"mail.example.org\"\n");
    let greeting = from_network(&bottle).client.greeting();
    assert!(greeting.contains(" mail.example.org "), "{greeting}");
    fs::remove_file(bottle.path("etc/ailurus.toml")).expect("ours");
    bottle.publish("c-client.cf", "I accept the risk\nset local-host old.example.org\n");
    let greeting = from_network(&bottle).client.greeting();
    assert!(greeting.contains(" old.example.org "), "{greeting}");
}

#[test]
fn faq_7_12_no_write_access() {
    let (user, mut session) = at_home();
    for name in ["unix", "mbx"] {
        session.client.ok(&format!("CREATE #driver.{name}/{name}"));
        session.client.append(name, "", "Subject: one\n\nText.\n");
        set_mode(&user.home().join(name), 0o400);
        let lines = session.client.ok(&format!("SELECT {name}"));
        has(&lines, "* NO Can't get write access to mailbox, access is readonly");
        assert!(lines.last().expect("a tagged line").contains("OK [READ-ONLY]"), "{lines:#?}");
    }
}

/// Several UIDs are wrong; the mail is all there, and the session goes on with new UIDs.
#[test]
fn faq_7_14_uids_that_are_out_of_order() {
    let (user, mut session) = at_home();
    let message = |n: u32, uid: &str| {
        format!(
            "From ada@example.test Mon Sep  7 10:00:0{n} 2026\nSubject: number {n}\n{uid}\n\nText {n}.\n\n"
        )
    };
    for (uids, complaint) in [
        (["5", "5", "7"], "Message 2 UID 5 "),
        (["5", "4", "7"], "Message 2 UID 4 less than 6"),
        (["5", "8", "7"], "Message 3 UID 7 less than 9"),
    ] {
        let first = format!("X-IMAPbase: 1795437536 0000000010\nX-UID: {}", uids[0]);
        let text = message(1, &first) + &message(2, &format!("X-UID: {}", uids[1]));
        user.write(&user.home().join("box"), (text + &message(3, &format!("X-UID: {}", uids[2]))).as_bytes());
        let lines = session.client.ok("SELECT box");
        has(&lines, "* 3 EXISTS");
        line(&lines, &format!("* NO {complaint}"));
        assert!(lines.last().expect("a tagged line").contains("[READ-WRITE]"), "{lines:#?}");
        has(&session.client.ok("FETCH 3 BODY.PEEK[TEXT]"), "Text 3.");
        session.client.ok("STORE 3 +FLAGS (\\Flagged)");
        session.client.ok("CLOSE");
        let lines = session.client.ok("SELECT box");
        assert!(
            !lines.iter().any(|line| line.contains(" UID ") && line.starts_with("* NO")),
            "it is mended: {lines:#?}"
        );
        session.client.ok("UNSELECT");
    }
}

/// The recipe: cut the file at the offset that the refusal tells. And the program that does it better.
#[test]
fn faq_7_15_a_damaged_mbx_mailbox() {
    let (user, mut session) = at_home();
    let client = &mut session.client;
    client.ok("CREATE #driver.mbx/box");
    for n in 1..=3 {
        client.append("box", "", &format!("Subject: number {n}\n\nText {n}.\n"));
    }
    let path = user.home().join("box");
    let mut octets = fs::read(&path).expect("there");
    // The line of the third message.
    let text = String::from_utf8_lossy(&octets).into_owned();
    let at =
        text.find("Subject: number 3").and_then(|at| text[..at - 2].rfind("\r\n")).expect("its line") + 2;
    octets[at..at + 5].fill(b'?');
    user.write(&path, &octets);
    let text = refused(client, "SELECT box");
    assert!(text.contains(&format!(" at {at}: ?????")), "{text}");
    assert_eq!(fs::read(&path).expect("there"), octets, "nothing is changed");

    let mut ailurus = user.command(program("ailurus"));
    let output = ailurus.args(["verify", "box"]).output().expect("run");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && told.contains(&format!(" at {at}: ?????")), "{told}");
    let keep = user.home().join("keep");
    user.write(&keep, &octets);
    octets.truncate(at);
    user.write(&path, &octets);
    has(&client.ok("SELECT box"), "* 2 EXISTS");
    client.ok("UNSELECT");

    let mut ailurus = user.command(program("ailurus"));
    let output = ailurus.args(["repair", "--apply", "keep"]).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    client.ok("SELECT keep");
    has(&client.ok("FETCH 2 BODY.PEEK[TEXT]"), "Text 2.");
}

#[test]
fn faq_7_17_a_lock_file_that_cannot_be_opened() {
    let Some(bottle) = bottle() else { return };
    write(&bottle, "ada", "box", MAIL);
    let metadata = fs::metadata(bottle.home("ada").join("box")).expect("there");
    // Somebody else's, and not for others.
    let lock = std::path::PathBuf::from(format!("/tmp/.{:x}.{:x}", metadata.dev(), metadata.ino()));
    fs::write(&lock, "").expect("ours");
    set_mode(&lock, 0o600);
    let mut session = ada(&bottle);
    session.client.command("SELECT box");
    let line = session.process.await_log(&format!("Mailbox lock file {} open failure: ", lock.display()));
    assert!(line.contains("ermission denied") && line.contains("mail."), "{line}");
    session.client.ok("LOGOUT");
    fs::remove_file(&lock).expect("ours");
}

#[test]
fn faq_7_18_a_client_that_goes_without_a_word() {
    let Some(bottle) = bottle() else { return };
    let crate::Session { mut process, client } = login(&bottle, "ada");
    drop(client);
    process.end();
    let line = process.await_log("Unexpected client disconnect, while reading line user=ada host=");
    assert!(line.contains("mail.info: ") && line.contains("[127.0.0.1]"), "{line}");
}

/// The new session has the mailbox, the one before ends.
#[test]
fn faq_7_19_a_lost_mailbox_lock() {
    let (user, mut first) = at_home();
    user.write(&user.home().join("box"), MAIL.as_bytes());
    first.client.ok("SELECT box");
    first.client.ok("STORE 2 +FLAGS (\\Flagged)");
    let mut second = session(&user);
    let lines = second.client.ok("SELECT box");
    assert!(lines.last().expect("a tagged line").contains("[READ-WRITE]"), "{lines:#?}");
    assert!(line(&second.client.ok("FETCH 2 FLAGS"), "* 2 FETCH").contains("\\Flagged"));
    let farewell = first.client.line(PATIENCE).expect("a line").expect("a line");
    assert_eq!(String::from_utf8_lossy(&farewell), "* BYE Killed (lost mailbox lock)");
    first.process.await_log("Killed (lost mailbox lock) user=");
    end(second);
}

/// Also 7.21: a link that leads back ends somewhere, and names are all that there is too much of.
#[test]
fn faq_7_20_directories_that_lead_back() {
    let (user, mut session) = at_home();
    fs::create_dir(user.home().join("a")).expect("ours");
    symlink("..", user.home().join("a/back")).expect("ours");
    user.give(&user.home().join("a"));
    user.write(&user.home().join("box"), MAIL.as_bytes());
    let begun = Instant::now();
    let lines = session.client.ok("LIST \"\" *");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(lines.len() < 200, "{}", lines.len());
    has(&lines, "* LIST (\\NoInferiors \\UnMarked) \"/\" box");
    end(session);
}

#[test]
fn faq_7_22_names_that_start_with_a_hash_sign() {
    let (_user, mut session) = at_home();
    let lines = session.client.ok("NAMESPACE");
    for name in ["#mh", "#news.", "#ftp/", "#public/", "#shared/"] {
        assert!(line(&lines, "* NAMESPACE").contains(&format!("\"{name}")), "{name}: {lines:#?}");
    }
    let lines = session.client.ok("LIST \"\" %");
    assert!(lines.iter().all(|line| !line.contains('#')), "{lines:#?}");
}

#[test]
fn faq_7_23_all_files_are_listed() {
    let Some(bottle) = bottle() else { return };
    write(&bottle, "ada", "notes", "not mail\n");
    write(&bottle, "ada", ".hidden", "not mail\n");
    let mut session = ada(&bottle);
    session.client.ok("CREATE mail/letters");
    let lines = session.client.ok("LIST \"\" *");
    for name in ["notes", ".hidden", "mail/letters"] {
        line(&lines, &format!(" {name}"));
    }
    // A client that is told to look below a directory only.
    let lines = session.client.ok("LIST \"\" mail/%");
    has(&lines, "* LIST (\\NoInferiors \\UnMarked) \"/\" mail/letters");
    assert!(lines.iter().all(|line| !line.contains("notes")), "{lines:#?}");
    end(session);
    bottle.publish("ailurus.toml", "[mailboxes]\nhide-dot-files = true\n");
    let mut session = ada(&bottle);
    let lines = session.client.ok("LIST \"\" *");
    assert!(lines.iter().all(|line| !line.contains(".hidden")), "{lines:#?}");
    line(&lines, " notes");
    end(session);
}

/// A name server that takes queries and answers none.
#[test]
fn faq_7_24_a_slow_name_server_delays_nobody() {
    let Some(bottle) = bottle() else { return };
    let address = Ipv4Addr::new(127, 0, 76, 24);
    let Ok(silent) = UdpSocket::bind((address, 53)) else { return eprintln!("skipped: port 53 is not ours") };
    bottle.publish("resolv.conf", &format!("nameserver {address}\n"));
    bottle.publish("nsswitch.conf", "hosts: dns\npasswd: files\ngroup: files\nshadow: files\n");
    let begun = Instant::now();
    let mut session = from_network(&bottle);
    let greeting = session.client.greeting();
    let took = begun.elapsed();
    assert!(greeting.starts_with("* OK ") && took < Duration::from_secs(3), "{took:?}: {greeting}");
    session.client.ok("LOGIN ada adapw");
    end(session);
    silent.set_nonblocking(true).expect("a socket");
    assert!(silent.recv(&mut [0; 600]).is_ok(), "it was asked");
    bottle.publish("ailurus.toml", "[server]\nreverse-dns = false\n");
    while silent.recv(&mut [0; 600]).is_ok() {}
    let mut session = from_network(&bottle);
    session.client.greeting();
    session.client.ok("LOGIN ada adapw");
    assert!(silent.recv(&mut [0; 600]).is_err(), "nor is it asked then");
}

#[test]
fn faq_7_26_a_false_content_length_divides_nothing() {
    let (user, mut session) = at_home();
    let text = "From grace@navy.example Mon Nov 16 09:12:44 2026\nSubject: one\nContent-Length: 900\n\nThe first.\n>From me.\n\n";
    user.write(&user.home().join("box"), format!("{text}{MAIL}").as_bytes());
    has(&session.client.ok("SELECT box"), "* 4 EXISTS");
    // What would divide a message that we write is quoted.
    session.client.append(
        "box",
        "",
        "Subject: x\n\nFrom ada@example.test Mon Sep  7 10:00:00 2026\nFrom here\n",
    );
    has(&session.client.ok("SELECT box"), "* 5 EXISTS");
    let text = fs::read_to_string(user.home().join("box")).expect("there");
    assert!(text.contains("\n>From ada@example.test Mon Sep  7 10:00:00 2026\n>From here\n"), "{text}");
}

#[test]
fn faq_7_34_octets_that_are_none_of_text() {
    let (user, mut session) = at_home();
    let text = MAIL.replace("The second.", "Nu\0l.");
    user.write(&user.home().join("box"), text.as_bytes());
    has(&session.client.ok("SELECT box"), "* 3 EXISTS");
    session.client.send(b"x FETCH 2 BODY.PEEK[TEXT]\r\n");
    let mut octets = Vec::new();
    while !octets.ends_with(b"x OK FETCH completed") {
        octets.extend(session.client.line(PATIENCE).expect("a line").expect("a line"));
    }
    assert!(!octets.contains(&0) && octets.windows(5).any(|window| window == b"Nu\x80l."), "{octets:?}");
}

/// There is no setting that takes it away.
#[test]
fn faq_7_38_idle_is_always_there() {
    let (_user, mut session) = at_home();
    assert!(line(&session.client.ok("CAPABILITY"), "* CAPABILITY").contains(" IDLE "));
}

#[test]
fn faq_7_39_status_of_the_mailbox_that_is_open() {
    let (user, mut session) = at_home();
    user.write(&user.home().join("box"), MAIL.as_bytes());
    session.client.ok("SELECT box");
    let lines = session.client.ok("STATUS box (MESSAGES UNSEEN)");
    has(&lines, "* STATUS box (MESSAGES 3 UNSEEN 3)");
    has(&lines, "* NO CLIENT BUG DETECTED: STATUS on selected mailbox: box");
}

#[test]
fn faq_7_39_the_warning_can_be_switched_off() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[server]\nstatus-warning = false\n");
    let mut session = ada(&bottle);
    session.client.ok("SELECT INBOX");
    let lines = session.client.ok("STATUS INBOX (MESSAGES)");
    has(&lines, "* STATUS INBOX (MESSAGES 3)");
    assert!(!lines.iter().any(|line| line.contains("CLIENT BUG")), "{lines:?}");
    end(session);
}

/// Octet by octet, as other programs know it.
#[test]
fn faq_7_44_what_other_programs_see_of_the_internal_message() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[server]\nhost-name = \"mail.example.org\"\n");
    let mut session = ada(&bottle);
    session.client.ok("CREATE box");
    let validity = code(&session.client.ok("SELECT box"), "UIDVALIDITY");
    end(session);
    let text = fs::read_to_string(bottle.home("ada").join("box")).expect("made");
    let (first, rest) = text.split_once('\n').expect("a From_ line");
    assert!(first.starts_with("From MAILER-DAEMON "), "{first}");
    let (date, rest) = rest.split_once('\n').expect("a date");
    assert!(date.starts_with("Date: "), "{date}");
    let user = fs::metadata(bottle.home("ada").join("box")).expect("made").uid();
    assert_eq!(user, FIRST_UID);
    assert_eq!(
        rest,
        format!(
            "From: Mail System Internal Data <MAILER-DAEMON@mail.example.org>\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER \
             INTERNAL DATA\nX-IMAP: {validity} 0000000000\nStatus: RO\n\nThis text \
             is part of the internal format of your mail folder, and is not\na real message.  It is created automatically by \
             the mail system software.\nIf deleted, important folder data will be lost, and it will be re-created\nwith the \
             data reset to initial values.\n\n"
        )
    );
}

/// Under a service manager, inetd or by hand, what goes wrong at the start is in the log.
#[test]
fn faq_7_45_a_start_that_fails_is_told() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[server]\nplaintext = \"tsl\"\n");
    let mut session = from_network(&bottle);
    let client: &mut Client = &mut session.client;
    assert!(client.greeting().starts_with("* BYE Service not available "));
    session.process.await_log("mail.alert: /etc/ailurus.toml:2:13: plaintext: not one of");
}
