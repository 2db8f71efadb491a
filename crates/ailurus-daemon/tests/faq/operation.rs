//! Chapter 4: daily work.

use crate::support::Session;
use crate::support::bottle::FIRST_UID;
use crate::{ada, at_home, bottle, end, has, line, login, mode, refused, set_mode};
use std::fs;
use std::os::unix::fs::chown;

#[test]
fn faq_4_1_anonymous_access() {
    let Some(bottle) = bottle() else { return };
    bottle.add_user("imappublic", FIRST_UID + 20, "!");
    crate::host::write(&bottle, "imappublic", "box", crate::MAIL);
    set_mode(&bottle.home("imappublic").join("box"), 0o644);
    let mut session = crate::host::from_network(&bottle);
    assert!(!session.client.greeting().contains("AUTH=ANONYMOUS"));
    refused(&mut session.client, "LOGIN anonymous me@example.test");
    bottle.publish("anonymous.newsgroups", "");
    let mut session = crate::host::from_network(&bottle);
    let client = &mut session.client;
    assert!(client.greeting().contains(" AUTH=ANONYMOUS"));
    client.ok("LOGIN anonymous me@example.test");
    let lines = client.ok("NAMESPACE");
    has(&lines, "* NAMESPACE NIL NIL ((\"#ftp/\" \"/\")(\"#news.\" \".\")(\"#public/\" \"/\"))");
    let lines = client.ok("SELECT #public/box");
    has(&lines, "* 3 EXISTS");
    assert!(lines.last().expect("a tagged line").contains("[READ-ONLY]"), "{lines:#?}");
    has(&client.ok("FETCH 2 BODY.PEEK[TEXT]"), "The second.");
    for name in ["/etc/passwd", "~ada/x", "/home/imappublic/box", "#shared/box"] {
        refused(client, &format!("SELECT {name}"));
    }
    for command in ["CREATE #public/more", "EXPUNGE", "COPY 1 #public/more"] {
        let answer = client.command(command);
        assert!(answer.last().expect("a tagged line").contains(" BAD "), "{command}: {answer:?}");
    }
}

#[test]
fn faq_4_2_alert_message() {
    let Some(bottle) = bottle() else { return };
    let mut session = ada(&bottle);
    assert!(!session.client.ok("NOOP").iter().any(|line| line.contains("ALERT")));
    end(session);
    bottle.publish("imapd.alert", "The host is down on Sunday\n");
    let mut session = ada(&bottle);
    let lines = [session.client.ok("NOOP"), session.client.ok("NOOP")].concat();
    line(&lines, "* OK [ALERT] The host is down on Sunday");
    end(session);
    let mut session = crate::host::from_network(&bottle);
    session.client.greeting();
    has(&session.client.ok("LOGIN ada adapw"), "* OK [ALERT] The host is down on Sunday");
    end(session);
}

/// `~/INBOX` in another format is INBOX, and new mail is moved there; formats are recognised.
#[test]
fn faq_4_5_other_formats() {
    for format in ["mbx", "mix", "mx", "mtx", "tenex"] {
        let Some(bottle) = bottle() else { return };
        let mut session = ada(&bottle);
        let bytes = fs::metadata(bottle.spool("ada")).expect("there").len();
        let client = &mut session.client;
        client.ok(&format!("CREATE #driver.{format}/INBOX"));
        has(&client.ok("SELECT INBOX"), "* 3 EXISTS");
        has(&client.ok("FETCH 2 BODY.PEEK[TEXT]"), "The second.");
        assert_eq!(fs::metadata(bottle.spool("ada")).expect("there").len(), 0, "{format}");
        client.ok(&format!("CREATE #driver.{format}/letters"));
        client.ok("COPY 1 letters");
        // What is made without a format is traditional, and so is an empty file.
        client.ok("CREATE usual");
        client.ok("COPY 1 usual");
        end(session);
        assert!(fs::read(bottle.home("ada").join("usual")).expect("made").starts_with(b"From "), "{format}");
        let mut session = ada(&bottle);
        has(&session.client.ok("SELECT letters"), "* 1 EXISTS");
        has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
        end(session);
        assert!(bytes > 0);
    }
}

/// The log says that mail was moved.
#[test]
fn faq_4_5_new_mail_is_moved_and_logged() {
    let Some(bottle) = bottle() else { return };
    let bytes = fs::metadata(bottle.spool("ada")).expect("there").len();
    let mut session = ada(&bottle);
    session.client.ok("CREATE #driver.mbx/INBOX");
    session.client.ok("SELECT INBOX");
    let line = session.process.await_log("bytes of new mail to");
    assert!(
        line.contains(&format!("Moved {bytes} bytes of new mail to /home/ada/INBOX from /var/mail/ada")),
        "{line}"
    );
}

#[test]
fn faq_4_5_the_format_of_new_mailboxes_can_be_set() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[mailboxes]\ncreate-format = \"mix\"\n");
    let mut session = ada(&bottle);
    session.client.ok("CREATE letters");
    assert!(bottle.home("ada").join("letters/.mixmeta").exists());
    // An empty file is none of a mailbox's, and gets the format of empty files.
    crate::host::write(&bottle, "ada", "empty", "");
    session.client.append("empty", "", "Subject: x\n\ny\n");
    assert!(fs::read(bottle.home("ada").join("empty")).expect("there").starts_with(b"From "));
    end(session);
}

/// The permissions of files decide, several may write to an mbx or mix mailbox at a time, and their lock file is for all.
#[test]
fn faq_4_6_mailboxes_that_several_share() {
    let Some(bottle) = bottle() else { return };
    let shared = bottle.home("shared");
    fs::create_dir(&shared).expect("ours");
    set_mode(&shared, 0o1777);
    for format in ["mbx", "mix"] {
        let mut one = login(&bottle, "ada");
        let name = format!("/home/shared/{format}");
        one.client.ok(&format!("CREATE #driver.{format}/{name}"));
        one.client.append(&name, "", "Subject: x\n\ny\n");
        let mut two = login(&bottle, "ben");
        two.client.command(&format!("SELECT {name}"));
        assert!(refused(&mut two.client, &format!("APPEND {name} {{1+}}\r\nx")).starts_with("NO"));
        end(two);
        end(one);
        open_to_all(&shared.join(format));
        let mut sessions = [login(&bottle, "ada"), login(&bottle, "ben")];
        for Session { client, .. } in &mut sessions {
            let lines = client.ok(&format!("SELECT {name}"));
            assert!(lines.last().expect("a tagged line").contains("[READ-WRITE]"), "{lines:#?}");
        }
        let [one, two] = &mut sessions;
        one.client.ok("STORE 1 +FLAGS (\\Flagged)");
        two.client.ok("NOOP");
        assert!(line(&two.client.ok("FETCH 1 FLAGS"), "* 1 FETCH").contains("\\Flagged"));
        two.client.append(&name, "", "Subject: x\n\ny\n");
        has(&one.client.ok("NOOP"), "* 2 EXISTS");
        for session in sessions {
            end(session);
        }
    }
}

/// Gives everybody the right to write a mailbox and what is in it.
fn open_to_all(path: &std::path::Path) {
    if path.is_dir() {
        set_mode(path, 0o777);
        for entry in fs::read_dir(path).expect("ours") {
            set_mode(&entry.expect("an entry").path(), 0o666);
        }
    } else {
        set_mode(path, 0o666);
    }
}

/// `#shared/`, `#public/` and `#ftp/` are homes of system users, with modes of their own.
#[test]
fn faq_4_6_namespaces_that_are_shared() {
    let Some(bottle) = bottle() else { return };
    for file in ["etc/passwd", "etc/shadow"] {
        let text = fs::read_to_string(bottle.path(file)).expect("copied");
        let kept = text.lines().filter(|line| !line.starts_with("ftp:")).map(|line| format!("{line}\n"));
        fs::write(bottle.path(file), kept.collect::<String>()).expect("ours");
    }
    let spaces =
        [("#shared/", "imapshared", 0o660), ("#public/", "imappublic", 0o666), ("#ftp/", "ftp", 0o644)];
    for (id, (_, user, _)) in (FIRST_UID + 20..).zip(&spaces) {
        bottle.add_user(user, id, "!");
        chown(bottle.home(user), Some(FIRST_UID), None).expect("ours");
    }
    let mut session = ada(&bottle);
    for (space, user, wanted) in spaces {
        session.client.ok(&format!("CREATE {space}box"));
        assert_eq!(mode(&bottle.home(user).join("box")), wanted, "{space}");
        has(
            &session.client.ok(&format!("STATUS {space}box (MESSAGES)")),
            &format!("* STATUS {space}box (MESSAGES 0)"),
        );
    }
    end(session);
}

#[test]
fn faq_4_7_the_facility_is_mail() {
    let (_user, session) = at_home();
    let Session { process, mut client } = session;
    client.ok("LOGOUT");
    process.await_log("mail.info: Preauthenticated user=");
    process.await_log("mail.info: Logout user=");
}

#[test]
fn faq_4_7_another_facility_can_be_chosen() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[server]\nlog-facility = \"local3\"\n");
    let mut session = crate::host::from_network(&bottle);
    session.client.greeting();
    refused(&mut session.client, "LOGIN ada wrong");
    session.process.await_log("auth.notice: Login failed user=ada ");
    session.client.ok("LOGIN ada adapw");
    session.process.await_log("local3.info: Login user=ada ");
}
