//! Drives a session in memory: lines of client and server, a clock moved by hand, no socket.
//!
//! A script is lines of these forms:
//!
//! ```text
//! C: what the client sends, with CRLF behind it; `<E9>` is the octet of that number, and a `\` at the end leaves CRLF out
//! S: what the server sends next; `<*>` stands for anything
//! L: mail.info what is logged next
//! T: seconds that pass, with all that happens in them
//! X: the exit status with which the server closes
//! # a remark
//! ```
//!
//! Each script is played twice: what the client sends comes whole, and one octet at a time.
#![allow(dead_code, unreachable_pub, reason = "each test program uses some of this")]

use ailurus_server::imap::Session;
use ailurus_server::{
    self as server, Config, Event, Facility, Login, LoginFailure, Priority, Start, TlsChannel, pop2, pop3,
};
use ailurus_store::Mailboxes;
use ailurus_store::memory::Memory;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How octets come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pieces {
    Whole,
    Octets,
}

/// More output than this never waits, whatever the client asks for.
pub const MOST_OUTPUT: usize = 320 * 1024;

pub struct Harness<S = Session> {
    pub session: S,
    /// Where mail is, if not in memory.
    pub mailboxes: Option<Mailboxes>,
    pub memory: Memory,
    pub now: Instant,
    pub out: Vec<u8>,
    pub log: VecDeque<String>,
    pub closed: Option<u8>,
    pub tls: bool,
    /// What is known of the client once TLS is there.
    pub channel: TlsChannel,
    pub pieces: Pieces,
    /// Why nobody comes in, whatever the password.
    pub refusal: Option<LoginFailure>,
    /// The failures of which the session has told.
    pub failures: u32,
    /// The most that one poll gave.
    pub largest_poll: usize,
}

pub fn config() -> Config {
    let date = "Mon, 23 Nov 2026 12:13:41 +0000 (UTC)";
    Config::new("mail.example.test", "Ailurus IMAP 0.1.0", date, "mail.example.test [127.0.0.1]")
}

impl Harness {
    /// A session of a client who has to log in.
    pub fn new(memory: &Memory, config: Config) -> Self {
        Self::start(memory, config, Start::NotAuthenticated)
    }

    /// A session of `ada`, who is logged in.
    pub fn preauthenticated(memory: &Memory) -> Self {
        let start = Start::PreAuthenticated { user: "ada".into(), mailboxes: memory.mailboxes() };
        let mut harness = Self::start(memory, config(), start);
        harness.out.clear();
        harness.log.clear();
        harness
    }

    pub fn start(memory: &Memory, config: Config, start: Start) -> Self {
        let now = Instant::now();
        Self::with(memory, Session::new(config, start, now), now)
    }
}

impl Harness<pop3::Session> {
    /// A session of a POP3 client.
    pub fn pop3(memory: &Memory, config: Config) -> Self {
        let now = Instant::now();
        Self::with(memory, pop3::Session::new(config, now), now)
    }

    /// The same of `ada`, who is logged in.
    pub fn pop3_logged_in(memory: &Memory) -> Self {
        let mut harness = Self::pop3(memory, config());
        harness.send(b"USER ada\r\nPASS adapw\r\n");
        harness.out.clear();
        harness.log.clear();
        harness
    }
}

impl Harness<pop2::Session> {
    /// A session of a POP2 client.
    pub fn pop2(memory: &Memory, config: Config) -> Self {
        let now = Instant::now();
        Self::with(memory, pop2::Session::new(config, now), now)
    }
}

impl<S: server::Session> Harness<S> {
    pub fn with(memory: &Memory, session: S, now: Instant) -> Self {
        let mut harness = Self {
            session,
            mailboxes: None,
            memory: memory.clone(),
            now,
            out: Vec::new(),
            log: VecDeque::new(),
            closed: None,
            tls: false,
            channel: TlsChannel::default(),
            pieces: Pieces::Whole,
            refusal: None,
            failures: 0,
            largest_poll: 0,
        };
        harness.pump();
        harness
    }

    /// Takes all output and acts on all events.
    pub fn pump(&mut self) {
        loop {
            let mut polled = Vec::new();
            let more = self.session.poll_output(&mut polled);
            self.largest_poll = self.largest_poll.max(polled.len());
            assert!(polled.len() <= MOST_OUTPUT, "{} octets of output at once", polled.len());
            self.out.extend_from_slice(&polled);
            let mut acted = false;
            while let Some(event) = self.session.poll_event() {
                acted = true;
                self.act(event);
            }
            if !more && !acted {
                return;
            }
        }
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Log { facility, priority, text } => {
                let facility = match facility {
                    Facility::Mail => "mail",
                    Facility::Auth => "auth",
                };
                let priority = match priority {
                    Priority::Debug => "debug",
                    Priority::Info => "info",
                    Priority::Notice => "notice",
                    Priority::Warning => "warning",
                    Priority::Error => "err",
                    Priority::Critical => "crit",
                    Priority::Alert => "alert",
                };
                self.log.push_back(format!("{facility}.{priority} {text}"));
            }
            Event::CheckPassword { user, authenticating_user, password, .. } => {
                let who = authenticating_user.as_ref().unwrap_or(&user);
                let right = [&who.to_ascii_lowercase()[..], b"pw"].concat();
                let given = password.expose().trim_ascii_start();
                let login = if given == right { self.login(&user) } else { Err(LoginFailure::Refused) };
                self.session.handle_login(login, self.now);
            }
            Event::BecomeUser { user, .. } => {
                let login = self.login(&user);
                self.session.handle_login(login, self.now);
            }
            Event::LoginFailed => self.failures += 1,
            Event::BecomeAnonymous => {
                let login = self.login(b"nobody");
                self.session.handle_login(login, self.now);
            }
            Event::StartTls => {
                self.drain();
                self.tls = true;
                self.session.handle_tls_started(self.channel.clone(), self.now);
            }
            Event::Close { exit_status } => {
                self.drain();
                assert_eq!(self.closed.replace(exit_status), None, "closed twice");
            }
        }
    }

    fn drain(&mut self) {
        while self.session.poll_output(&mut self.out) {}
    }

    fn login(&self, user: &[u8]) -> Result<Login, LoginFailure> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let user = String::from_utf8_lossy(user).to_lowercase();
        let mailboxes = self.mailboxes.clone().unwrap_or_else(|| self.memory.mailboxes());
        Ok(Login { user, mailboxes })
    }

    /// Sends octets, and takes what comes back.
    pub fn send(&mut self, octets: &[u8]) {
        match self.pieces {
            Pieces::Whole => self.offer(octets),
            Pieces::Octets => octets.chunks(1).for_each(|octet| self.offer(octet)),
        }
    }

    fn offer(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() && self.closed.is_none() {
            let taken =
                if self.session.wants_input() { self.session.handle_input(octets, self.now) } else { 0 };
            octets = &octets[taken..];
            self.pump();
            assert!(taken > 0 || !self.session.wants_input(), "wants input and takes none");
            if taken == 0 && !self.session.wants_input() {
                // A failed login waits for time to pass.
                let Some(due) = self.session.poll_timeout() else { return };
                self.now = self.now.max(due);
                self.session.handle_timeout(self.now);
                self.pump();
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            match self.session.poll_timeout().filter(|due| *due <= end) {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.session.handle_timeout(self.now);
                    self.pump();
                }
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the session asks for a time-out for ever");
    }

    /// Takes a line of output.
    pub fn line(&mut self) -> Option<String> {
        let end = self.out.iter().position(|octet| *octet == b'\n')?;
        let line: Vec<u8> = self.out.drain(..=end).collect();
        Some(readable(line.trim_ascii_end_crlf()))
    }

    /// Sends a command line and returns all that comes back.
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        self.send(format!("{line}\r\n").as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(line);
        }
        lines
    }

    /// Plays a script; see the top of this file.
    pub fn play(&mut self, script: &str) {
        for (number, line) in script.lines().enumerate() {
            let line = line.strip_prefix("        ").unwrap_or(line);
            let (kind, rest) = line.split_at(line.len().min(3));
            let at = format!("line {}: {line}", number + 1);
            match kind {
                "C: " | "C:" => {
                    assert!(self.out.is_empty(), "{at}\nmore output: {}", readable(&self.out));
                    let (text, end) = match rest.strip_suffix('\\') {
                        Some(text) => (text, &b""[..]),
                        None => (rest, &b"\r\n"[..]),
                    };
                    self.send(&[&octets(text)[..], end].concat());
                    // A failed login answers after three seconds.
                    while self.out.is_empty() && !self.session.wants_input() && self.closed.is_none() {
                        self.pass(Duration::from_secs(1));
                    }
                }
                "S: " | "S:" => {
                    let found = self.line().unwrap_or_else(|| readable(&self.out));
                    assert!(fits(rest, &found), "{at}\nserver sent: {found}");
                }
                "L: " => {
                    let found = self.log.pop_front();
                    assert!(
                        found.as_deref().is_some_and(|found| fits(rest, found)),
                        "{at}\nlogged: {found:?}"
                    );
                }
                "T: " => {
                    assert!(self.out.is_empty(), "{at}\nmore output: {}", readable(&self.out));
                    self.pass(Duration::from_secs(rest.trim().parse().expect("seconds")));
                }
                "X: " => assert_eq!(self.closed, rest.trim().parse().ok(), "{at}"),
                _ => assert!(line.trim().is_empty() || line.trim_start().starts_with('#'), "{at}"),
            }
        }
        assert!(self.out.is_empty(), "more output: {}", readable(&self.out));
    }
}

/// Plays a script in a session of `ada`, who is logged in; `memory` makes the mailboxes.
pub fn play(memory: impl Fn() -> Memory, script: &str) {
    for pieces in [Pieces::Whole, Pieces::Octets] {
        let mut harness = Harness::preauthenticated(&memory());
        harness.pieces = pieces;
        harness.play(script);
    }
}

/// Plays a script in a session of a client who has to log in.
pub fn play_login(config: &Config, script: &str) {
    for pieces in [Pieces::Whole, Pieces::Octets] {
        let mut harness = Harness::new(&Memory::new(), config.clone());
        harness.pieces = pieces;
        harness.play(script);
    }
}

/// Tells whether a line fits a pattern in which `<*>` stands for anything.
pub fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("<*>");
    let Some(rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut last = None;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => rest.is_empty() || part.is_empty() || line.ends_with(part),
    }
}

/// Reads `<E9>` as the octet of that number.
pub fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        let number = rest.get(1..3).filter(|_| rest.as_bytes().get(3) == Some(&b'>'));
        match number.and_then(|number| u8::from_str_radix(number, 16).ok()) {
            Some(octet) => {
                octets.push(octet);
                rest = &rest[4..];
            }
            None => {
                octets.push(b'<');
                rest = &rest[1..];
            }
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// Writes octets that are no text as `<E9>`.
pub fn readable(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        match octet {
            b' '..=b'~' | b'\n' | b'\r' => text.push(char::from(*octet)),
            _ => text.push_str(&format!("<{octet:02X}>")),
        }
    }
    text
}

trait TrimCrlf {
    fn trim_ascii_end_crlf(&self) -> &[u8];
}

impl TrimCrlf for Vec<u8> {
    fn trim_ascii_end_crlf(&self) -> &[u8] {
        let line = self.strip_suffix(b"\n").unwrap_or(self);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}
