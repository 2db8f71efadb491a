//! Sessions that the reference held, held with our engine: those that need no files.
//!
//! Lines are compared after what differs between any two servers is taken out (names, dates, UID validity values,
//! lists of capabilities). What we do differently on purpose is in [`DIFFERENCES`], line by line.

mod harness;

use ailurus_server::{Plaintext, TlsState};
use ailurus_store::AppendMeta;
use ailurus_store::memory::Memory;
use ailurus_types::{InternalDate, MailboxName};
use harness::{Harness, config, octets};
use std::path::Path;
use std::time::Duration;

/// What the reference sends, and what we send instead; an empty text stands for no line.
const DIFFERENCES: &[(&str, &[&str])] = &[
    // Data with NULs is a literal8 (RFC 3516).
    ("* 2 FETCH (BINARY[2] {8}", &["* 2 FETCH (BINARY[2] ~{8}"]),
    ("<NUL><01><02><03><04><05><06><07>)", &["<00><01><02><03><04><05><06><07>)"]),
    ("* 2 FETCH ()", &[]),
    // A command of ours that the reference has not.
    (
        "b36 BAD Command unrecognized: ID",
        &["* ID (\"name\" \"Ailurus IMAP\" \"version\" \"0.1.0\")", "b36 OK ID completed"],
    ),
    ("b37 BAD Command unrecognized: ENABLE", &["* ENABLED", "b37 OK ENABLE completed"]),
    // A key may be given twice.
    ("b BAD Missing or invalid argument to SEARCH", &["* SEARCH 1 2 3 4 5", "b OK SEARCH completed"]),
    ("c BAD Missing or invalid argument to SEARCH", &["* SEARCH 1 2 3 4 5", "c OK SEARCH completed"]),
    ("d BAD Missing or invalid argument to SEARCH", &["* SEARCH 1 2 3 4 5", "d OK SEARCH completed"]),
    // There is TLS, but no certificate.
    ("a NO This server does not support TLS", &["a NO Server certificate not installed"]),
    // A session whose attempts are used up is closed.
    ("d NO Invalid login credentials", &[]),
];

#[test]
fn before_login() {
    for section in sections("imap-not-authenticated.txt") {
        match section.name.as_str() {
            // The reference goes on for ever; or the recorder's lines are not all in the file.
            "HTTP GET NLI"
            | "excess failures (3 tries allowed)"
            | "root / nouser / long"
            | "too long line NLI" => continue,
            _ => section.hold(&mut Harness::new(&Memory::new(), config())),
        }
    }
}

#[test]
fn logins() {
    for section in sections("imap-login-and-sasl.txt") {
        let mut harness = Harness::new(&Memory::new(), config());
        // Whether an administrator may act for others is decided outside.
        if !section.name.contains("admin") && !section.name.contains("authzid") {
            section.hold(&mut harness);
        }
    }
}

#[test]
fn tls() {
    for section in sections("tls.txt") {
        let mut config = config();
        match section.name.as_str() {
            "STARTTLS ok" => (config.tls, config.plaintext) = (TlsState::Available, Plaintext::OnlyTls),
            "imaps ok" => (config.tls, config.plaintext) = (TlsState::Active, Plaintext::OnlyTls),
            _ => continue,
        }
        section.hold(&mut Harness::new(&Memory::new(), config));
    }
}

#[test]
fn fetch_and_store() {
    let all = sections("imap-select-fetch-store.txt");
    let mut harness = Harness::preauthenticated(&mailbox(5));
    harness.ask("a SELECT INBOX");
    for name in ["fetch", "store"] {
        let section = all.iter().find(|section| section.name == name).expect("recorded");
        section.hold(&mut harness);
    }
}

#[test]
fn fetch_and_store_syntax() {
    let memory = mailbox(5);
    for _ in 0..2 {
        memory.deliver(&MailboxName::inbox(), b"From: a@b\r\nSubject: app\r\n\r\nbody\r\n");
    }
    let mut harness = Harness::preauthenticated(&memory);
    hold(&mut harness, "imap-append-search-syntax.txt", "fetch/store syntax");
}

#[test]
fn search_extras() {
    hold(&mut Harness::preauthenticated(&mailbox(5)), "imap-search-extras.txt", "search extras");
}

#[test]
fn idle_and_autologout() {
    for section in sections("timers.txt") {
        if section.name.contains("POP")
            || section.name.starts_with("nologin")
            || section.name.contains("(60x")
        {
            continue;
        }
        let in_login = section.name.contains("not logged in");
        // After a logout the recorder went on talking to a closed connection; or it slept before a command.
        if section.name.starts_with("IDLE without mailbox") || section.name.contains("total 3 minute") {
            continue;
        }
        let mut harness = match in_login {
            true => Harness::new(&Memory::new(), config()),
            false => Harness::preauthenticated(&mailbox(5)),
        };
        section.hold(&mut harness);
    }
}

/// The clock of these is in the recording alone: nothing is sent but what is shown.
#[test]
fn autologout_of_pop() {
    let all = sections("timers.txt");
    let script = |name: &str| all.iter().find(|section| section.name == name).expect("recorded").script();
    Harness::pop3(&Memory::new(), config()).play(&script("POP3 auth timeout"));
    Harness::pop3(&mailbox(5), config()).play(&script("POP3 transaction timeout"));
    Harness::pop2(&Memory::new(), config()).play(&script("POP2 timeout"));
}

fn hold(harness: &mut Harness, file: &str, name: &str) {
    let sections = sections(file);
    sections.iter().find(|section| section.name == name).expect("recorded").hold(harness);
}

struct Section {
    name: String,
    lines: Vec<String>,
}

fn sections(file: &str) -> Vec<Section> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/transcripts").join(file);
    let text = std::fs::read_to_string(&path).expect("a fixture");
    // A defect of the reference: it prints memory that was somebody else's.
    let text = text.replace("(5 BAD Missing or invalid argument to STATUS\nS: )\n", "()\n");
    // BINARY[] is allowed (RFC 3516): its answer is the message.
    let text = text.replace("C: a18 FETCH 2 BINARY[]\nS: a18 BAD Syntax error in binary specifier\n", "");
    // So is LIST with options (RFC 5258), and STATUS has another item (RFC 8438).
    let text = text.replace("C: b41 LIST \"\" (INBOX)\nS: b41 BAD Missing or invalid argument to LIST\n", "");
    let text =
        text.replace("C: b42 LIST (SUBSCRIBED) \"\" *\nS: b42 BAD Missing or invalid argument to LIST\n", "");
    let text = text.replace(
        "C: b43 LIST \"\" * RETURN (CHILDREN)\nS: b43 BAD Argument given to LIST when none expected\n",
        "",
    );
    let text = text.replace("(SIZE HIGHESTMODSEQ)\nS: * NO Unknown status flag SIZE\n", "(HIGHESTMODSEQ)\n");
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ").and_then(|line| line.strip_suffix(" ==")) {
            sections.push(Section { name: name.into(), lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line.into());
        }
    }
    sections
}

impl Section {
    /// Returns what the harness plays: what was sent after some time comes then, and not a second earlier. The time that the
    /// reference took to answer does not count.
    fn script(&self) -> String {
        let (mut script, mut at_seconds, mut is_answer) = (String::new(), 0, true);
        for line in &self.lines {
            let played = if let Some((text, seconds)) = line.rsplit_once("   [@") {
                let seconds: u64 = seconds.trim_end_matches("s]").parse().expect("seconds");
                let waited = if is_answer { 0 } else { seconds - at_seconds };
                (at_seconds, is_answer) = (seconds, false);
                let version = text.replace(" 2010.104 ", " <*> ").replace(" 2010.75 ", " <*> ");
                if waited > 0 { format!("T: {}\nT: 1\n{version}", waited - 1) } else { version }
            } else if let Some(status) = line.strip_prefix("# exit ") {
                format!("X: {status}")
            } else if let Some(logged) =
                line.strip_prefix("SYSLOG ").filter(|line| !line.contains("service init"))
            {
                // POP2 had another facility, and another word for nobody.
                let ours =
                    logged.replace("1.info ipop2d: Autologout user= ", "mail.info Autologout user=??? ");
                format!("L: {}", ours.replace(" ipop3d[PID]: ", " "))
            } else {
                is_answer |= line.starts_with("C: ");
                if line.starts_with("SYSLOG ") { continue } else { line.clone() }
            };
            script.push_str(&(played + "\n"));
        }
        assert!(at_seconds >= 180, "{script}");
        script
    }

    /// Says what the client said, and compares what comes back with what came then.
    fn hold(&self, harness: &mut Harness) {
        let mut at_seconds = 0;
        let mut began = harness.now;
        for line in &self.lines {
            let at = format!("{}: {line}", self.name);
            if let Some(text) = line.strip_prefix("C:") {
                let text = text.strip_prefix(' ').unwrap_or(text);
                harness.send(&[&octets(text)[..], b"\r\n"].concat());
                if text.ends_with(" IDLE") {
                    (began, at_seconds) = (harness.now, 0);
                }
                while harness.out.is_empty() && !harness.session.wants_input() && harness.closed.is_none() {
                    harness.pass(Duration::from_secs(1));
                }
            } else if let Some(text) = line.strip_prefix("S: ") {
                let (text, seconds) = match text.rsplit_once("   [@") {
                    Some((text, seconds)) => {
                        (text, seconds.trim_end_matches("s]").parse::<u64>().expect("seconds"))
                    }
                    None => (text, at_seconds),
                };
                if text.starts_with("* PREAUTH ") {
                    continue;
                }
                // The recorder's clock was late by up to 2 seconds in 30 minutes.
                while harness.out.is_empty() && (harness.now - began).as_secs() < seconds {
                    harness.pass(Duration::from_secs(1));
                }
                at_seconds = seconds;
                let difference = DIFFERENCES.iter().find(|(theirs, _)| *theirs == text);
                let same = [text];
                for expected in difference.map_or(&same[..], |(_, ours)| ours) {
                    let found = harness.line().unwrap_or_default();
                    assert_eq!(plain(&found), plain(expected), "{at}");
                }
            } else if let Some(text) = line.strip_prefix("SYSLOG ") {
                let Some((priority, text)) = text.split_once(" imapd[PID]: ") else { continue };
                if text.contains("service init from") || text.starts_with("Preauthenticated") {
                    continue;
                }
                let text = text.replace("host=[NON-IP]", "host=mail.example.test [127.0.0.1]");
                let found = harness.log.pop_front();
                if found.is_none() && text.starts_with("Unexpected client disconnect") {
                    continue;
                }
                assert_eq!(found, Some(format!("{priority} {text}")), "{at}");
            }
        }
        assert!(harness.out.is_empty(), "{}: more output: {}", self.name, harness::readable(&harness.out));
    }
}

/// Takes out of a line what is different between any two servers, and the codes of RFC 5530, which are new.
fn plain(line: &str) -> String {
    let mut line = line.to_owned();
    for (start, end) in
        [("[CAPABILITY ", "]"), ("[UIDVALIDITY ", "]"), ("[COPYUID ", " "), ("[APPENDUID ", " ")]
    {
        if let Some(at) = line.find(start)
            && let Some(len) = line[at + start.len()..].find(end)
        {
            line.replace_range(at + start.len()..at + start.len() + len, "X");
        }
    }
    // Who had the mailbox open before decides about that.
    if line.ends_with(" RECENT") {
        return "* n RECENT".into();
    }
    if line.starts_with("* CAPABILITY ") {
        return "* CAPABILITY".into();
    }
    if let Some(at) = line.find("first unseen message in ") {
        line.truncate(at);
    }
    if line.starts_with("* OK [CAPABILITY") {
        return "greeting".into();
    }
    for code in ["AUTHENTICATIONFAILED", "NONEXISTENT", "ALREADYEXISTS", "INUSE", "CANNOT", "NOPERM"] {
        line = line.replace(&format!("NO [{code}] "), "NO ");
    }
    line
}

/// Returns the INBOX with which the sessions were recorded, as far as they show it.
fn mailbox(messages: usize) -> Memory {
    let memory = Memory::new();
    let mailboxes = memory.mailboxes();
    for (text, date) in recorded().into_iter().take(messages) {
        let mut append = mailboxes.append(&MailboxName::inbox()).expect("INBOX is there");
        let meta = AppendMeta {
            internal_date: InternalDate::parse(date.as_bytes(), 0).ok(),
            size: text.len() as u64,
            ..AppendMeta::default()
        };
        append.begin(meta).expect("memory");
        append.write(text.as_bytes()).expect("memory");
        append.end().expect("memory");
        append.commit().map(drop).expect("memory");
    }
    memory
}

fn recorded() -> Vec<(String, &'static str)> {
    let lines = |lines: &[&str]| lines.join("\r\n");
    let first = lines(&[
        "Date: Mon, 7 Sep 2026 10:00:00 +0000",
        "From: Carol Example <carol@example.test>",
        "To: ada@example.test",
        "Cc: Zoe <zoe@example.test>",
        "Subject: Lunch plans",
        "Message-ID: <m1@example.test>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=US-ASCII",
        "",
        "First body line.",
        "Second line.",
        "",
    ]);
    let head = lines(&[
        "Date: Tue, 8 Sep 2026 13:30:00 +0200",
        "From: Dave <Dave@example.test>",
        "To: ada@example.test",
        "Subject: Re: Lunch plans (fwd)",
        "In-Reply-To: <m1@example.test>",
        "Message-ID: <m2@example.test>",
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=BB",
        "",
        "",
    ]);
    let parts = lines(&[
        "--BB",
        "Content-Type: text/plain; charset=ISO-8859-1",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Caf=E9 at noon?",
        "--BB",
        "Content-Type: application/octet-stream; name=\"x.bin\"",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment; filename=\"x.bin\"",
        "",
        "AAECAwQFBgc=",
        "--BB",
        "Content-Type: message/rfc822",
        "",
        "From: inner@example.test",
        "Subject: inner",
        "Date: Wed, 2 Sep 2026 00:00:00 +0000",
        "",
        "inner text",
        "--BB--",
        "",
    ]);
    let padding = " ".repeat(713usize.saturating_sub(head.len() + parts.len() + 2));
    let second = format!("{head}{padding}\r\n{parts}");
    let third = lines(&[
        "Date: Wed, 9 Sep 2026 08:00:00 -0500",
        "From: alan@example.test",
        "To: ada@example.test",
        "Subject: [list] Budget",
        "Message-ID: <m3@example.test>",
        "",
        "no mime here",
        "From the start of a line.",
        "",
    ]);
    let fourth = lines(&[
        "Date: Sun, 6 Sep 2026 09:00:00 +0000",
        "From: =?UTF-8?Q?=C3=89rin?= <erin@example.test>",
        "To: ada@example.test",
        "Subject: Re: Lunch plans",
        "Message-ID: <m4@example.test>",
        "References: <m1@example.test> <m2@example.test>",
        "",
        "Yes.",
        "",
    ]);
    let fifth = lines(&[
        "Date: Thu, 10 Sep 2026 07:00:00 +0000",
        "From: ben@example.test",
        "Subject: Re: Budget",
        "Message-ID: <m5@example.test>",
        "References: <m3@example.test>",
        "",
        "I agree now",
        "",
    ]);
    vec![
        (first, " 7-Sep-2026 10:00:00 +0000"),
        (second, " 8-Sep-2026 11:30:00 +0000"),
        (third, " 9-Sep-2026 08:00:00 +0000"),
        (fourth, "10-Sep-2026 08:00:00 +0000"),
        (fifth, "11-Sep-2026 08:00:00 +0000"),
    ]
}
