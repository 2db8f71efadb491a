//! States, tags, limits, logins: what happens before and around commands.

mod harness;

use ailurus_auth::CramDatabase;
use ailurus_server::{Plaintext, Signal, TlsState};
use ailurus_store::memory::Memory;
use harness::{Harness, config, play, play_login};
use std::sync::Arc;
use std::time::Duration;

const GREETING: &str = "S: * OK [CAPABILITY IMAP4REV1 I18NLEVEL=1 LITERAL+ SASL-IR] mail.example.test Ailurus IMAP 0.1.0 at Mon, 23 Nov 2026 12:13:41 +0000 (UTC)\n";

fn login_script(script: &str) {
    play_login(&config(), &format!("{GREETING}{script}"));
}

#[test]
fn syntax_errors_before_login_end_the_session() {
    for (line, answer, logged) in [
        ("", "* BAD Missing command tag", "Null command before authentication"),
        ("foo", "* BAD Missing command tag", "Null command before authentication"),
        ("foo ", "foo BAD Missing command", "Missing command before authentication"),
        ("a(b NOOP", "* BAD Missing command tag", "Null command before authentication"),
    ] {
        login_script(&format!(
            "C: {line}\nS: {answer}\n\
             L: mail.info {logged} host=mail.example.test [127.0.0.1]\n\
             L: mail.info Logout user=??? host=mail.example.test [127.0.0.1]\nX: 0\n"
        ));
    }
}

#[test]
fn a_web_browser_learns_nothing() {
    login_script(
        "C: GET / HTTP/1.1\n\
         S: GET BAD Command unrecognized\n\
         C: Host: x\n\
         S: Host: BAD Command unrecognized\n\
         C: \n\
         S: * BAD Missing command tag\n\
         X: 0\n",
    );
}

#[test]
fn the_third_unknown_command_ends_the_session() {
    login_script(
        "C: a SELECT INBOX\nS: a BAD Command unrecognized\n\
         C: b FOO\nS: b BAD Command unrecognized\n\
         C: c BAR\nS: c BAD Command unrecognized\n\
         L: mail.info Logout user=??? host=mail.example.test [127.0.0.1]\nX: 0\n",
    );
}

#[test]
fn tags_have_at_most_fifty_octets() {
    let (long, good) = ("a".repeat(51), "a".repeat(50));
    login_script(&format!(
        "C: {long} NOOP\nS: * BAD Excessively long tag\nC: {good} NOOP\nS: {good} OK NOOP completed\n"
    ));
}

#[test]
fn long_lines() {
    let long = "x".repeat(70_000);
    login_script(&format!(
        "C: a {long}\nS: a BAD Command line too long\n\
         L: mail.info Line too long before authentication host=mail.example.test [127.0.0.1]\n\
         L: mail.info Logout user=??? <*>\nX: 0\n"
    ));
    play(
        Memory::new,
        &format!("C: a {long}\nS: a BAD Command line too long\nC: b NOOP\nS: b OK NOOP completed\n"),
    );
}

#[test]
fn login_takes_its_arguments_in_all_forms() {
    login_script(
        "C: a LOGIN\nS: a BAD Missing or invalid argument to LOGIN\n\
         C: b LOGIN ada\nS: b BAD Missing or invalid argument to LOGIN\n\
         C: c LOGIN ada adapw extra\nS: c BAD Argument given to LOGIN when none expected\n\
         C: d LOGIN {3}\nS: + Ready for argument\n\
         C: ada {5}\nS: + Ready for argument\n\
         C: adapw\n\
         S: d OK [CAPABILITY IMAP4REV1 I18NLEVEL=1 LITERAL+ IDLE UIDPLUS NAMESPACE CHILDREN BINARY UNSELECT ESEARCH WITHIN SORT THREAD=REFERENCES THREAD=ORDEREDSUBJECT MULTIAPPEND SCAN ID ENABLE MOVE LIST-EXTENDED LIST-STATUS STATUS=SIZE SPECIAL-USE CREATE-SPECIAL-USE SEARCHRES ESORT SORT=DISPLAY THREAD=REFS] User ada authenticated\n\
         L: mail.info Login user=ada host=mail.example.test [127.0.0.1]\n\
         C: e NOOP\nS: e OK NOOP completed\n\
         C: f LOGOUT\n\
         S: * BYE mail.example.test IMAP4rev1 server terminating connection\n\
         S: f OK LOGOUT completed\n\
         L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]\nX: 0\n",
    );
}

#[test]
fn after_login_the_login_commands_are_gone() {
    login_script(
        "C: d LOGIN {3+}\nC: ada {5+}\nC: adapw\nS: d OK <*> User ada authenticated\n\
         C: f LOGIN x y\nS: f BAD Command unrecognized: LOGIN\n\
         C: g AUTHENTICATE PLAIN\nS: g BAD Command unrecognized: AUTHENTICATE\n\
         C: h NOOP x\nS: h BAD Argument given to NOOP when none expected\n\
         C: i FOO\nS: i BAD Command unrecognized: FOO\n\
         C: j foo BAR\nS: j BAD Command unrecognized: FOO\n\
         C: \nS: * BAD Missing command tag\n\
         C: k\nS: * BAD Missing command tag\n\
         C: l FETCH 1 FLAGS\nS: l BAD Command unrecognized: FETCH\n",
    );
}

#[test]
fn names_and_passwords() {
    for (line, answer) in [
        ("LOGIN ADA adapw", "OK <*> User ADA authenticated"),
        ("LOGIN ada \" adapw\"", "OK <*> User ada authenticated"),
        ("LOGIN \"ben*ada\" adapw", "OK <*> User ben authenticated"),
        ("AUTHENTICATE PLAIN AGFkYQBhZGFwdw==", "OK <*> User ada authenticated"),
    ] {
        login_script(&format!("C: a {line}\nS: a {answer}\n"));
    }
}

#[test]
fn three_failures_end_the_session() {
    login_script(
        "C: a LOGIN ada wrong\n\
         S: a NO [AUTHENTICATIONFAILED] Invalid login credentials\n\
         L: auth.notice Login failed user=ada auth=ada host=mail.example.test [127.0.0.1]\n\
         C: b LOGIN ada wrong\n\
         S: b NO [AUTHENTICATIONFAILED] Invalid login credentials\n\
         L: auth.notice Login failed user=ada auth=ada host=mail.example.test [127.0.0.1]\n\
         C: c LOGIN ada wrong\n\
         S: c NO [AUTHENTICATIONFAILED] Invalid login credentials\n\
         S: * BYE Too many login failures\n\
         L: auth.notice Login failed user=ada auth=ada host=mail.example.test [127.0.0.1]\n\
         L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]\nX: 0\n",
    );
}

#[test]
fn a_failure_takes_three_seconds_and_blocks_nobody() {
    let mut harness = Harness::new(&Memory::new(), config());
    harness.out.clear();
    let taken = harness.session.handle_input(b"a LOGIN ada wrong\r\n", harness.now);
    assert_eq!(taken, 19);
    harness.pump();
    assert!(harness.out.is_empty());
    assert_eq!(harness.session.poll_timeout(), Some(harness.now + Duration::from_secs(3)));
    harness.pass(Duration::from_secs(2));
    assert!(harness.out.is_empty());
    harness.pass(Duration::from_secs(1));
    assert_eq!(harness.line().as_deref(), Some("a NO [AUTHENTICATIONFAILED] Invalid login credentials"));
}

#[test]
fn a_very_long_name_is_an_attack() {
    let name = "u".repeat(70);
    login_script(&format!(
        "C: a LOGIN {name} x\nS: a NO <*> Invalid login credentials\nS: * BYE Too many login failures\n\
         L: auth.alert Login SYSTEM BREAK-IN ATTEMPT user={0} auth={0} host=mail.example.test [127.0.0.1]\nX: 0\n",
        "u".repeat(64)
    ));
}

#[test]
fn mechanisms_that_are_not_listed_fail_like_unknown_commands() {
    login_script(
        "C: a AUTHENTICATE PLAIN\nS: + \nC: *\nS: a BAD Command unrecognized\n\
         L: mail.info AUTHENTICATE PLAIN invalid host=mail.example.test [127.0.0.1]\n\
         C: b AUTHENTICATE LOGIN YWRh\nS: b BAD Command unrecognized\n\
         C: c AUTHENTICATE CRAM-MD5\nS: c BAD Command unrecognized\n\
         C: d AUTHENTICATE NOSUCH\nS: d BAD Command unrecognized\n\
         C: e AUTHENTICATE EXTERNAL =\nS: e BAD Command unrecognized\n\
         C: f AUTHENTICATE PLAIN !!!\nS: f BAD Missing or invalid argument to AUTHENTICATE\n\
         C: g AUTHENTICATE PLAIN =\nS: g BAD Command unrecognized\n\
         C: h AUTHENTICATE PLAIN abc\nS: h BAD Command unrecognized\n\
         C: i AUTHENTICATE LOGIN\nS: + VXNlciBOYW1lAA==\nC: YWRh\nS: + UGFzc3dvcmQA\nC: YWRhcHc=\n\
         S: i OK <*> User ada authenticated\n",
    );
}

#[test]
fn cram_md5() {
    let mut config = config();
    config.cram_md5 = Some(Arc::new(CramDatabase::parse(b"ada\tadaCRAM\n")));
    config.nonce = 128;
    let mut harness = Harness::new(&Memory::new(), config);
    let greeting = harness.line().expect("a greeting");
    assert!(greeting.contains(" AUTH=CRAM-MD5]"), "{greeting}");
    harness.play("C: a AUTHENTICATE CRAM-MD5\nS: + <*>\nC: *\nS: a NO cancelled by user\n");
    harness.play(
        "C: b AUTHENTICATE CRAM-MD5\nS: + <*>\nC: YWRhIDYzNTE2ZWI0ODA1MDAxMDVjYzAyMWIwNTc3MjgzMDI1\n\
         S: b NO [AUTHENTICATIONFAILED] Invalid authentication credentials\n\
         L: mail.info AUTHENTICATE CRAM-MD5 failure <*>\n\
         L: auth.notice Login failed user=ada auth=ada <*>\n\
         L: mail.info AUTHENTICATE CRAM-MD5 failure <*>\n",
    );
}

#[test]
fn starttls() {
    login_script(
        "C: a STARTTLS\nS: a NO Server certificate not installed\n\
         C: b STARTTLS x\nS: b BAD Argument given to STARTTLS when none expected\n",
    );
    let mut config = config();
    (config.tls, config.plaintext) = (TlsState::Available, Plaintext::OnlyTls);
    let script = "S: * OK [CAPABILITY IMAP4REV1 I18NLEVEL=1 LITERAL+ SASL-IR STARTTLS LOGINDISABLED] <*>\n\
         C: a0 LOGIN ada adapw\nS: a0 NO <*> Invalid login credentials\n\
         L: auth.notice Login disabled user=ada auth=ada host=mail.example.test [127.0.0.1]\n\
         C: a1 AUTHENTICATE PLAIN =\nS: a1 BAD Command unrecognized\n\
         C: a STARTTLS\nS: a OK STARTTLS completed\n\
         C: b CAPABILITY\n\
         S: * CAPABILITY <*> SASL-IR AUTH=PLAIN AUTH=LOGIN\nS: b OK CAPABILITY completed\n\
         C: b2 STARTTLS\nS: b2 NO Already in an SSL session\n\
         C: c AUTHENTICATE PLAIN\nS: + \nC: *\nS: c NO cancelled by user\n\
         C: d LOGIN ada adapw\nS: d OK <*> User ada authenticated\n\
         C: e CAPABILITY\n\
         S: * CAPABILITY IMAP4REV1 I18NLEVEL=1 LITERAL+ IDLE UIDPLUS NAMESPACE CHILDREN BINARY UNSELECT ESEARCH WITHIN SORT THREAD=REFERENCES THREAD=ORDEREDSUBJECT MULTIAPPEND SCAN ID ENABLE MOVE LIST-EXTENDED LIST-STATUS STATUS=SIZE SPECIAL-USE CREATE-SPECIAL-USE SEARCHRES ESORT SORT=DISPLAY THREAD=REFS\n\
         S: e OK CAPABILITY completed\n";
    play_login(&config, script);
}

#[test]
fn what_follows_starttls_in_the_clear_is_dropped() {
    let mut config = config();
    config.tls = TlsState::Available;
    let mut harness = Harness::new(&Memory::new(), config);
    harness.out.clear();
    let taken = harness.session.handle_input(b"a STARTTLS\r\nb NOOP\r\nc NOO", harness.now);
    assert!(taken <= 25);
    harness.pump();
    assert!(harness.tls);
    harness.send(b"d NOOP\r\n");
    assert_eq!(harness.line().as_deref(), Some("a OK STARTTLS completed"));
    assert_eq!(harness.line().as_deref(), Some("d OK NOOP completed"));
}

#[test]
fn nobody_stays_long_without_a_login() {
    login_script(
        "T: 179\nT: 1\nS: * BYE Autologout (idle for too long)\n\
         L: mail.info Autologout user=??? host=mail.example.test [127.0.0.1]\nX: 1\n",
    );
    login_script(
        "C: a NOOP\nS: a OK NOOP completed\nT: 90\nC: b NOOP\nS: b OK NOOP completed\nT: 96\n\
         C: c NOOP\nS: c OK NOOP completed\nS: * BYE Autologout\n\
         L: mail.info Autologout user=??? host=mail.example.test [127.0.0.1]\nX: 0\n",
    );
}

#[test]
fn idle_users_are_logged_out() {
    play(
        Memory::new,
        "T: 1799\nT: 1\nS: * BYE Autologout (idle for too long)\n\
         L: mail.info Autologout user=ada host=mail.example.test [127.0.0.1]\nX: 1\n",
    );
    play(
        Memory::new,
        "C: a CREATE {5}\nS: + Ready for argument\nT: 299\nT: 1\nS: * BYE Autologout (idle for too long)\nX: 1\n",
    );
}

#[test]
fn signals_end_the_session() {
    for (signal, bye, reason) in [
        (Signal::Kiss, Some("* BYE Killed (lost mailbox lock)"), "Killed (lost mailbox lock)"),
        (Signal::Terminate, Some("* BYE Killed (terminated)"), "Killed (terminated)"),
        (Signal::Hangup, None, "Hangup"),
    ] {
        let mut harness = Harness::preauthenticated(&Memory::new());
        let selected = harness.ask("a SELECT INBOX");
        assert_eq!(selected.last().map(String::as_str), Some("a OK [READ-WRITE] SELECT completed"));
        harness.session.handle_signal(signal, harness.now);
        harness.pump();
        assert_eq!(harness.line().as_deref(), bye);
        assert_eq!(
            harness.log.pop_front(),
            Some(format!("mail.info {reason} user=ada host=mail.example.test [127.0.0.1]"))
        );
        assert_eq!(harness.closed, Some(1));
    }
}

#[test]
fn a_shutdown_lets_the_command_be_answered() {
    let mut harness = Harness::preauthenticated(&Memory::new());
    harness.session.shut_down(harness.now);
    harness.session.shut_down(harness.now);
    harness.pump();
    harness.play(
        "S: * BYE Server shutting down\nC: d NOOP\nS: d OK NOOP completed\n\
         L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]\nX: 0\n",
    );

    let mut harness = Harness::preauthenticated(&Memory::new());
    harness.play("C: d IDLE\nS: + Waiting for DONE\n");
    harness.session.shut_down(harness.now);
    harness.pump();
    harness.play("S: * BYE Server shutting down\nS: d OK IDLE completed\nX: 0\n");
}

#[test]
fn a_client_that_leaves_is_logged() {
    let mut harness = Harness::preauthenticated(&Memory::new());
    harness.session.handle_disconnect("Unexpected client disconnect", harness.now);
    harness.pump();
    assert_eq!(
        harness.log.pop_front().as_deref(),
        Some(
            "mail.info Unexpected client disconnect, while reading line user=ada host=mail.example.test [127.0.0.1]"
        )
    );
    assert_eq!(harness.closed, Some(1));
}

#[test]
fn the_greeting_of_a_session_that_is_vouched_for() {
    let start =
        ailurus_server::Start::PreAuthenticated { user: "ada".into(), mailboxes: Memory::new().mailboxes() };
    let mut harness = Harness::start(&Memory::new(), config(), start);
    harness.play(
        "S: * PREAUTH [CAPABILITY IMAP4REV1 I18NLEVEL=1 LITERAL+ IDLE <*>] Pre-authenticated user ada mail.example.test Ailurus IMAP 0.1.0 at <*>\n\
         L: mail.info Preauthenticated user=ada host=mail.example.test [127.0.0.1]\n",
    );
}
