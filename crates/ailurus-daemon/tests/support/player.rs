//! Sessions recorded with the reference, held against our programs, exchange by exchange.

use super::Session;
use ailurus_testkit::fuzz::checkout;
use ailurus_testkit::transcript::{
    self, Difference, Differences, Exchange, Mask, Mismatch, Section, same_lines,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long nothing may come before an answer without a tagged response counts as complete.
const QUIET: Duration = Duration::from_millis(400);

/// Returns where the recordings are.
pub fn folder() -> PathBuf {
    checkout().join("fixtures/transcripts")
}

/// Returns the INBOX of the recordings.
pub fn inbox() -> String {
    fs::read_to_string(folder().join("inbox.mbox")).expect("a fixture")
}

/// Plays sections of one recording and collects what went otherwise.
pub struct Player {
    file: &'static str,
    sections: Vec<Section>,
    differences: Differences,
    mask: Mask,
    /// Who stands in for ada.
    name: String,
    /// The certificate to trust after STARTTLS.
    pub certificate: Option<PathBuf>,
    /// The secrets of CRAM-MD5 with which the recorded proofs were made.
    pub secrets: Vec<&'static str>,
    /// The last challenge, as recorded and as it came.
    challenge: Option<(Vec<u8>, Vec<u8>)>,
    /// The timestamp of the greeting of POP3, likewise.
    timestamp: Option<(String, String)>,
    pub mismatches: Vec<Mismatch>,
}

impl Player {
    /// Reads a recording. What the replacements have on their left stands for what was recorded, on their right.
    pub fn new(file: &'static str, name: &str, mut replacements: Vec<(String, String)>) -> Self {
        let text = fs::read_to_string(folder().join(file)).expect("a fixture");
        let differences = fs::read_to_string(folder().join("differences.txt")).expect("a fixture");
        replacements.push(("host=localhost [127.0.0.1]".into(), "host=mail.example.test [127.0.0.1]".into()));
        Self {
            file,
            sections: transcript::parse(&text),
            differences: Differences::parse(&differences),
            mask: Mask { replacements },
            name: name.into(),
            certificate: None,
            secrets: Vec::new(),
            challenge: None,
            timestamp: None,
            mismatches: Vec::new(),
        }
    }

    pub fn section(&self, name: &str) -> Section {
        let found = self.sections.iter().find(|section| section.name == name);
        found.unwrap_or_else(|| panic!("{}: no section {name}", self.file)).clone()
    }

    /// Plays a section; `before` is told the tag of each command before it is sent.
    pub fn play(&mut self, session: &mut Session, name: &str, mut before: impl FnMut(&str)) {
        let section = self.section(name);
        for exchange in &section.exchanges {
            before(&exchange.tag);
            self.exchange(session, &section.name, exchange);
        }
    }

    /// Plays a section that is a session of its own, and compares what was logged.
    pub fn session(&mut self, mut session: Session, name: &str, before: impl FnMut(&str)) {
        self.play(&mut session, name, before);
        drop(session.client);
        assert!(session.process.end().is_some(), "{name}: the server did not end");
        self.compare_log(name, &session.process.log());
    }

    pub fn exchange(&mut self, session: &mut Session, section: &str, exchange: &Exchange) {
        let expected = match self.differences.at(self.file, section, &exchange.name) {
            Some(Difference::Skip) => return,
            Some(Difference::Ours(lines)) => lines.clone(),
            None => exchange.expected.clone(),
        };
        let mut sent = Vec::new();
        for line in &exchange.sent {
            let line = if is_login(exchange) { with_name(line, &self.name) } else { self.proof(line) };
            sent.extend_from_slice(&line);
            sent.extend_from_slice(b"\r\n");
        }
        // The recordings do not show an empty line at the end.
        if ends_in_literal(&exchange.sent) || exchange.tag == "GET" {
            sent.extend_from_slice(b"\r\n");
        }
        session.client.send(&sent);
        let found = answer(session, &expected, exchange);
        if exchange.sent.is_empty() {
            let stamp = |lines: &[String]| lines.last().and_then(|line| timestamp(line));
            self.timestamp = stamp(&expected).zip(stamp(&found));
        }
        self.challenge = expected
            .last()
            .and_then(|line| challenge(line))
            .zip(found.last().and_then(|line| challenge(line)));
        if let Some(certificate) = &self.certificate
            && found.last().is_some_and(|line| line.ends_with(" OK STARTTLS completed"))
        {
            session.client.start_tls(certificate, "localhost");
        }
        let found: Vec<String> = found.iter().map(|line| self.masked(line)).collect();
        let expected: Vec<String> = expected.iter().map(|line| self.masked(line)).collect();
        if !same_lines(&expected, &found) {
            let place = format!("{} | {section} | {}", self.file, exchange.name);
            self.mismatches.push(Mismatch { place, expected, found });
        }
    }

    /// Returns what to answer a challenge with: where a proof was recorded, the same proof for the challenge that came.
    fn proof(&self, line: &[u8]) -> Vec<u8> {
        if line == b"<1100 x>" {
            return vec![b'x'; 1100];
        }
        if let Some(proof) = self.apop(line) {
            return proof;
        }
        let answered = self.challenge.as_ref().and_then(|(recorded, ours)| {
            let proof = STANDARD.decode(line).ok()?;
            let space = proof.iter().rposition(|&octet| octet == b' ')?;
            let (user, digest) = (&proof[..space], &proof[space + 1..]);
            let by = |secret: &&&str| hmac_md5_hex(secret.as_bytes(), recorded).as_bytes() == digest;
            let secret = self.secrets.iter().find(by)?;
            let digest = hmac_md5_hex(secret.as_bytes(), ours);
            Some(STANDARD.encode([user, b" ", digest.as_bytes()].concat()).into_bytes())
        });
        answered.unwrap_or_else(|| line.to_vec())
    }

    /// Returns APOP with the recorded proof made for our timestamp.
    fn apop(&self, line: &[u8]) -> Option<Vec<u8>> {
        let (recorded, ours) = self.timestamp.as_ref()?;
        let (user, digest) = std::str::from_utf8(line).ok()?.strip_prefix("APOP ")?.split_once(' ')?;
        let secret = self.secrets.iter().find(|secret| md5_hex(&format!("{recorded}{secret}")) == digest)?;
        Some(format!("APOP {user} {}", md5_hex(&format!("{ours}{secret}"))).into_bytes())
    }

    fn masked(&self, line: &str) -> String {
        if challenge(line).is_some() {
            return "+ CHALLENGE".into();
        }
        if line.contains(" server ready") && (line.starts_with("+OK POP3 ") || line.starts_with("+ POP2 ")) {
            return format!("+OK greeting{}", if timestamp(line).is_some() { " <TIMESTAMP>" } else { "" });
        }
        if line.starts_with("IMPLEMENTATION Ailurus") {
            return "IMPLEMENTATION Ailurus".into();
        }
        // A unique-id of POP3: the UID validity value in its first half changes.
        let unique = |word: &str| word.len() == 16 && word.bytes().all(|octet| octet.is_ascii_hexdigit());
        if let Some((before, word)) = line.rsplit_once(' ').filter(|(_, word)| unique(word)) {
            return format!("{before} VALIDITY{}", &word[8..]);
        }
        let line = self.mask.apply(line);
        // The name of the host, and the port where it is not that of the service.
        let line = match line.strip_prefix("* BYE ").and_then(|rest| rest.split_once(" IMAP4rev1 server ")) {
            Some((_host, rest)) => format!("* BYE HOST IMAP4rev1 server {rest}"),
            None => line,
        };
        let line = if line.starts_with("* BYE Service not available ") {
            "* BYE Service not available ...".into()
        } else {
            line
        };
        let line = match line.split_once(" mailbox lock from process ") {
            Some((before, _process)) => format!("{before} mailbox lock from process N"),
            None => line,
        };
        match line.split_once(" service init from ") {
            Some((_service, from)) => format!("mail.debug SERVICE service init from {from}"),
            None => line,
        }
    }

    pub fn compare_log(&mut self, section: &str, log: &[String]) {
        let expected = match self.differences.at(self.file, section, "log") {
            Some(Difference::Skip) => return,
            Some(Difference::Ours(lines)) => lines.clone(),
            None => self.section(section).logged,
        };
        let ours = |line: &String| line.starts_with("mail.") || line.starts_with("auth.");
        let expected: Vec<String> =
            expected.into_iter().filter(ours).map(|line| self.masked(&line)).collect();
        // `imapd[123]: mail.info: text` on standard error is `mail.info text` in the recordings.
        let plain = |line: &String| {
            let (_, line) = line.split_once("]: ").unwrap_or(("", line));
            line.replacen(": ", " ", 1)
        };
        // Ours also says why a login was refused; the reference leaves the administrator to guess.
        let more = |line: &String| line.starts_with("auth.info Login refused ");
        let found: Vec<String> =
            log.iter().map(plain).filter(|line| !more(line)).map(|line| self.masked(&line)).collect();
        if expected != found {
            let place = format!("{} | {section} | log", self.file);
            self.mismatches.push(Mismatch { place, expected, found });
        }
    }

    /// Fails when anything went otherwise.
    #[track_caller]
    pub fn finish(self) {
        let mut text = String::new();
        for Mismatch { place, expected, found } in &self.mismatches {
            writeln!(text, "@ {place} | ours | why?").expect("memory takes it");
            expected.iter().for_each(|line| writeln!(text, "- {line}").expect("memory takes it"));
            found.iter().for_each(|line| writeln!(text, "S: {line}").expect("memory takes it"));
        }
        assert!(text.is_empty(), "{} differences (-: recorded, S: ours):\n{text}", self.mismatches.len());
    }
}

/// Reads what a command is answered: up to the tagged response if the recording ends with one, up to a continuation if with
/// that, to the end of the connection if the server closed it, else as many lines as were recorded.
fn answer(session: &mut Session, expected: &[String], exchange: &Exchange) -> Vec<String> {
    let mut lines = Vec::new();
    let last = expected.last().map_or("", String::as_str);
    let tag = last.split(' ').next().unwrap_or("").to_owned();
    let untagged = ["*", "+", "", ")"].contains(&tag.as_str());
    while !expected.is_empty() || exchange.closes {
        let counted = untagged && !exchange.closes && tag != "+";
        let patience = if counted && lines.len() >= expected.len() { QUIET } else { super::PATIENCE };
        let line = match session.client.line(patience) {
            Ok(Some(line)) => transcript::escape(&line),
            Ok(None) => break,
            Err(_) if patience == QUIET => break,
            Err(error) => {
                lines.push(format!("({error})"));
                break;
            }
        };
        let first = line.split(' ').next().unwrap_or("").to_owned();
        lines.push(line);
        let ends =
            if untagged { tag == "+" && (first == "+" || first == exchange.tag) } else { first == tag };
        if ends && !exchange.closes {
            break;
        }
    }
    lines
}

fn is_login(exchange: &Exchange) -> bool {
    exchange.sent.first().is_some_and(|line| {
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        line.contains(" LOGIN ") || line.starts_with("ADA {")
    })
}

/// Puts the name of this run's user in place of the recorded one, and its length into the literal that announces it.
fn with_name(line: &[u8], name: &str) -> Vec<u8> {
    let text = String::from_utf8(line.to_vec()).expect("logins are text");
    let text = text.replace("LOGIN {3", &format!("LOGIN {{{}", name.len()));
    let words = text.split(' ').map(|word| match word {
        "ada" => name.to_owned(),
        "ADA" => name.to_ascii_uppercase(),
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

/// Tells whether what is sent ends with the last octet of a literal: the recordings do not show the CRLF that ends the
/// command then. A message announced by an earlier exchange counts as one.
fn ends_in_literal(sent: &[Vec<u8>]) -> bool {
    let announced = |line: &[u8]| {
        let text = String::from_utf8_lossy(line).into_owned();
        let inner = text.strip_suffix('}')?.rsplit_once('{')?.1.to_owned();
        inner.trim_end_matches('+').parse::<usize>().ok()
    };
    let mut left: Option<usize> = (sent.first().map(Vec::as_slice) == Some(b"From: a@b")).then_some(33);
    // The literal that the last line announces is not sent yet.
    let whole = sent.last().is_none_or(|line| announced(line).is_none());
    for line in sent {
        match left {
            // The rest of the literal is a part of this line, or ends with it.
            Some(size) if size > line.len() + 2 => left = Some(size - line.len() - 2),
            Some(size) if size == line.len() + 2 => left = Some(0),
            Some(0) | None => left = announced(line),
            Some(size) => left = if size <= line.len() { announced(&line[size..]) } else { None },
        }
    }
    left == Some(0) && whole
}

/// Returns the challenge of CRAM-MD5 that a line holds.
fn challenge(line: &str) -> Option<Vec<u8>> {
    let challenge = STANDARD.decode(line.strip_prefix("+ ")?).ok()?;
    challenge.starts_with(b"<").then_some(challenge)
}

/// Returns the timestamp in a greeting of POP3.
fn timestamp(line: &str) -> Option<String> {
    let rest = line.strip_prefix("+OK POP3 ")?;
    Some(rest[rest.find('<')?..].to_owned())
}

fn md5_hex(text: &str) -> String {
    use md5::Digest as _;
    md5::Md5::digest(text).iter().map(|octet| format!("{octet:02x}")).collect()
}

fn hmac_md5_hex(key: &[u8], text: &[u8]) -> String {
    let mut mac = Hmac::<md5::Md5>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect()
}
