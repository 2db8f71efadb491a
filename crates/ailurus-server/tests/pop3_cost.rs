//! What POP3 costs beside IMAP, over mailboxes on the disk: `cargo test --release -p ailurus-server --test pop3_cost --
//! --ignored --nocapture`. The aims: RETR of everything within twice BODY.PEEK[] of everything; UIDL and LIST of
//! 100,000 messages below the time of the open.

mod harness;

use ailurus_formats::disk::Os;
use ailurus_server::{Login, Session, Start, imap, pop3};
use ailurus_store::{AppendMeta, Environment, Mailboxes};
use ailurus_types::MailboxName;
use harness::config;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes an INBOX, and returns its home's mailboxes.
fn mailboxes(home: &Path, format: &'static str) -> Mailboxes {
    let mut environment = Environment::new("ada", home.into(), home.join("spool"), "mail.example.com");
    environment.lock_dir = home.join("tmp");
    environment.create_format = format;
    environment.empty_format = Some(format);
    environment.mh_allow_inbox = true;
    let environment = Arc::new(environment);
    let drivers = ailurus_formats::drivers(&environment, &Os::shared());
    Mailboxes::new(environment, drivers)
}

fn fill(home: &Path, format: &'static str, messages: u32, lines: usize) {
    fs::create_dir(home.join("tmp")).expect("ours");
    if format == "mh" {
        fs::write(home.join(".mh_profile"), "Path: Mail\n").expect("ours");
        fs::create_dir_all(home.join("Mail/inbox")).expect("ours");
    }
    let mailboxes = mailboxes(home, format);
    if !["unix", "mh"].contains(&format) {
        mailboxes.create(&format!("#driver.{format}/INBOX").as_str().into()).expect("made");
    }
    let line =
        "It is a truth universally acknowledged, that a single man in possession of a good fortune.\r\n";
    let mut append = mailboxes.append(&MailboxName::inbox()).expect("takes mail");
    for number in 0..messages {
        let text = format!(
            "Date: Mon, 7 Sep 2026 10:00:00 +0000\r\nFrom: Carol Example <carol@example.test>\r\nTo: ada@example.test\r\n\
             Subject: Lunch plans {number}\r\nMessage-ID: <m{number}@example.test>\r\n\r\n{}",
            line.repeat(lines)
        );
        let size = u64::try_from(text.len()).expect("small");
        append.begin(AppendMeta { size, ..AppendMeta::default() }).expect("begun");
        append.write(text.as_bytes()).expect("written");
        append.end().expect("ended");
    }
    let _appended = append.commit().expect("appended");
}

/// Gives input to a session and takes all that comes back; returns how long that took and how much it was.
fn ask(session: &mut dyn Session, mailboxes: &Mailboxes, input: &str) -> (Duration, usize) {
    let now = Instant::now();
    let (mut rest, mut out, mut octets) = (input.as_bytes(), Vec::new(), 0);
    loop {
        let taken = if session.wants_input() { session.handle_input(rest, now) } else { 0 };
        rest = &rest[taken..];
        let mut moved = taken > 0;
        while session.poll_output(&mut out) {
            octets += out.len();
            out.clear();
            moved = true;
        }
        while let Some(event) = session.poll_event() {
            moved = true;
            if matches!(event, ailurus_server::Event::CheckPassword { .. }) {
                let login = Login { user: "ada".into(), mailboxes: mailboxes.clone() };
                session.handle_login(Ok(login), now);
            }
        }
        if !moved {
            return (now.elapsed(), octets);
        }
    }
}

#[test]
#[ignore = "measures"]
fn cost() {
    for (messages, lines) in [(10_000_u32, 60), (100_000, 2)] {
        for format in ["unix", "mbx", "mix", "mh"] {
            let home = tempfile::tempdir().expect("a directory");
            fill(home.path(), format, messages, lines);
            let mailboxes = mailboxes(home.path(), format);
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(messages);
            let mut table = format!("{format}, {messages} messages of {lines} lines, us a message:");
            for round in ["first", "again"] {
                let mut pop = pop3::Session::new(config(), Instant::now());
                ask(&mut pop, &mailboxes, "USER ada\r\n");
                let (open, _) = ask(&mut pop, &mailboxes, "PASS pw\r\n");
                write!(table, " open {round} {:.2}", micros(open)).expect("memory");
                for command in ["UIDL", "LIST", "STAT"] {
                    let (time, _) = ask(&mut pop, &mailboxes, &format!("{command}\r\n"));
                    write!(table, " {command} {:.2}", micros(time)).expect("memory");
                }
                let all: String = (1..=messages).map(|number| format!("RETR {number}\r\n")).collect();
                let (retr, sent) = ask(&mut pop, &mailboxes, &all);
                ask(&mut pop, &mailboxes, "RSET\r\nQUIT\r\n");
                drop(pop);
                let start = Start::PreAuthenticated { user: "ada".into(), mailboxes: mailboxes.clone() };
                let mut imap = imap::Session::new(config(), start, Instant::now());
                ask(&mut imap, &mailboxes, "a EXAMINE INBOX\r\n");
                let (fetch, fetched) = ask(&mut imap, &mailboxes, "b FETCH 1:* BODY.PEEK[]\r\n");
                assert!(sent.abs_diff(fetched) < sent / 5 + 100 * 100_000, "{sent} {fetched}");
                write!(table, " RETR {:.2} BODY.PEEK[] {:.2};", micros(retr), micros(fetch)).expect("memory");
            }
            println!("{table}");
        }
    }
}
