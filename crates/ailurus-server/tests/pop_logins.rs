//! Ways into a maildrop beside USER and PASS, and what of them there is when: certificates, SCRAM, passwords that may not be
//! sent, users who have too many sessions.

mod harness;

use ailurus_auth::{PasswordDatabase, PasswordEditor};
use ailurus_server::{Config, LoginFailure, Plaintext, TlsChannel, TlsState, pop3};
use ailurus_store::memory::Memory;
use harness::{Harness, config};
use std::sync::Arc;

const OPENED: &str = "+OK Mailbox open, 0 messages";

fn begin(config: Config) -> Harness<pop3::Session> {
    let mut harness = Harness::pop3(&Memory::new(), config);
    harness.out.clear();
    harness
}

/// A session of a client whose certificate is that of a user.
fn certified(user: &str) -> Harness<pop3::Session> {
    let mut config = config();
    (config.tls, config.plaintext) = (TlsState::Available, Plaintext::Never);
    let mut harness = begin(config);
    harness.channel = TlsChannel { user: Some(user.into()), ..TlsChannel::default() };
    assert_eq!(harness.ask("AUTH EXTERNAL ="), ["-ERR Bad authentication"], "not before TLS");
    assert_eq!(harness.ask("STLS"), ["+OK STLS completed"]);
    harness
}

/// Returns the line of CAPA with this word, and whether there is one with USER.
fn offered(harness: &mut Harness<pop3::Session>, word: &str) -> (String, bool) {
    let lines = harness.ask("CAPA");
    let line = lines.iter().find(|line| line.split(' ').next() == Some(word)).cloned();
    (line.unwrap_or_default(), lines.iter().any(|line| line == "USER"))
}

#[test]
fn a_certificate_logs_in() {
    let mut harness = certified("ada");
    assert_eq!(offered(&mut harness, "SASL"), ("SASL EXTERNAL".into(), false));
    assert_eq!(harness.ask("AUTH EXTERNAL ="), [OPENED]);
    let log: Vec<_> = harness.log.drain(..).collect();
    let line = "mail.info Auth user=ada host=mail.example.test [127.0.0.1] nmsgs=0/0";
    assert!(log.iter().any(|logged| logged == line), "{log:#?}");
    // In two steps, and as oneself by name.
    let mut harness = certified("ada");
    assert_eq!(harness.ask("auth external"), ["+ "]);
    assert_eq!(harness.ask(""), [OPENED]);
    let mut harness = certified("ada");
    assert_eq!(harness.ask("AUTH EXTERNAL YWRh"), [OPENED]);
    // What is given up, or is no base64, costs nothing and lets nobody in.
    let mut harness = certified("ada");
    assert_eq!(harness.ask("AUTH EXTERNAL"), ["+ "]);
    assert_eq!(harness.ask("*"), ["-ERR Bad authentication"]);
    assert_eq!(harness.ask("AUTH EXTERNAL !"), ["-ERR Bad authentication"]);
    assert_eq!(harness.ask("STAT"), ["-ERR Unknown AUTHORIZATION state command"]);
    assert_eq!(harness.failures, 0);
    assert_eq!(harness.ask("AUTH EXTERNAL ="), [OPENED]);
}

/// FAQ 1.23 and 1.24.
#[test]
fn passwords_that_may_not_be_sent() {
    for (plaintext, in_the_clear, in_tls) in [
        (Plaintext::Allowed, true, true),
        (Plaintext::OnlyTls, false, true),
        (Plaintext::Never, false, false),
    ] {
        let mut config = config();
        (config.tls, config.plaintext) = (TlsState::Available, plaintext);
        let mut harness = begin(config);
        for (allowed, tls) in [(in_the_clear, false), (in_tls, true)] {
            if tls {
                assert_eq!(harness.ask("STLS"), ["+OK STLS completed"]);
            }
            let unknown = "-ERR Unknown AUTHORIZATION state command";
            let sasl = if tls && allowed { "SASL PLAIN LOGIN" } else { "" };
            assert_eq!(offered(&mut harness, "SASL"), (sasl.into(), allowed), "{plaintext:?} {tls}");
            let answer = if allowed { "+OK User name accepted, password please" } else { unknown };
            assert_eq!(harness.ask("USER ada"), [answer], "{plaintext:?} {tls}");
            if !allowed {
                assert_eq!(harness.ask("PASS adapw"), [unknown]);
                for mechanism in ["PLAIN AGFkYQBhZGFwdw==", "LOGIN", "LOGIN YWRh"] {
                    assert_eq!(harness.ask(&format!("AUTH {mechanism}")), ["-ERR Bad authentication"]);
                }
            }
        }
        let answer = if in_tls { OPENED } else { "-ERR Bad authentication" };
        assert_eq!(harness.ask("AUTH PLAIN AGFkYQBhZGFwdw=="), [answer], "{plaintext:?}");
        assert_eq!(harness.failures, 0, "no password was looked at");
    }
}

/// The exchange itself is in the tests of `ailurus-auth` and of the programs.
#[test]
fn scram_is_offered_where_there_are_verifiers() {
    let mut editor = PasswordEditor::new(b"");
    editor.set(b"ada", b"adapw", [[7; 16]; 4]).expect("a fine entry");
    let mut config = config();
    (config.tls, config.plaintext) = (TlsState::Available, Plaintext::Never);
    config.scram = Some(Arc::new(PasswordDatabase::parse(editor.text())));
    let mut harness = begin(config);
    harness.channel.exporter = Some([1; 32]);
    assert_eq!(offered(&mut harness, "SASL").0, "SASL SCRAM-SHA-256 SCRAM-SHA-1");
    assert_eq!(harness.ask("AUTH SCRAM-SHA-256-PLUS"), ["-ERR Bad authentication"]);
    assert_eq!(harness.ask("STLS"), ["+OK STLS completed"]);
    let all = "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1";
    assert_eq!(offered(&mut harness, "SASL").0, all);
    // `n,,n=ada,r=x` and a proof of nothing: a failure like a wrong password.
    assert_eq!(harness.ask("AUTH SCRAM-SHA-256"), ["+ "]);
    let challenge = harness.ask("biwsbj1hZGEscj14").remove(0);
    let nonce = ailurus_auth::decode_response(challenge.strip_prefix("+ ").expect("a challenge").as_bytes());
    let Ok(ailurus_auth::encoding::Response::Data(octets)) = nonce else { panic!("{challenge}") };
    let octets = octets.expose().to_vec();
    let nonce =
        String::from_utf8_lossy(octets.split(|octet| *octet == b',').next().expect("a field")).into_owned();
    let last = ailurus_auth::encoding::encode_challenge(format!("c=biws,{nonce},p=AAAA").as_bytes());
    harness.send(format!("{last}\r\n").as_bytes());
    assert!(harness.out.is_empty(), "it takes its time");
    harness.pass(std::time::Duration::from_secs(3));
    assert_eq!(harness.line().as_deref(), Some("-ERR [AUTH] Bad authentication"));
    assert_eq!(harness.failures, 1);
}

/// Not the password is wrong: nobody is to be asked for another, and nobody to be taken for a guesser.
#[test]
fn a_user_with_too_many_sessions() {
    let mut harness = begin(config());
    harness.refusal = Some(LoginFailure::TooManySessions);
    let busy = "-ERR [IN-USE] Too many sessions of this user";
    assert_eq!(harness.ask("USER ada")[0], "+OK User name accepted, password please");
    assert_eq!(harness.ask("PASS adapw"), [busy]);
    assert_eq!(harness.ask("AUTH PLAIN AGFkYQBhZGFwdw=="), [busy]);
    assert_eq!((harness.failures, harness.closed), (0, None));
    // One of them has ended.
    harness.refusal = None;
    assert_eq!(harness.ask("PASS adapw"), [OPENED]);
    let mut harness = begin(config());
    harness.refusal = Some(LoginFailure::TooManySessions);
    harness.send(b"USER ada\r\nPASS adapw\r\nPASS adapw\r\nPASS adapw\r\nPASS adapw\r\n");
    assert_eq!((harness.failures, harness.closed), (0, Some(0)), "three attempts and no more");
    let mut harness = Harness::pop2(&Memory::new(), config());
    harness.out.clear();
    harness.refusal = Some(LoginFailure::TooManySessions);
    let answer = harness.ask("HELO ada adapw");
    assert_eq!(answer, ["- Too many sessions of this user", "+ Sayonara"]);
    assert_eq!((harness.failures, harness.closed), (0, Some(0)));
}
