//! A small syslog client.
//!
//! Speaks the datagram form of `/dev/log` (RFC 3164 as C libraries write it). A log that cannot be written is no reason to
//! refuse mail: failures are silent, and each line tries anew. What a peer said goes through [`field`] or [`text`] first,
//! or it could write log lines of its own.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::times;

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facility {
    /// Mail: all lines but the following.
    Mail,
    /// Failed logins and what administrators do in the name of users.
    Auth,
    /// The standing server itself.
    Daemon,
    /// What the host uses it for, as the next seven.
    Local0,
    /// See `Local0`.
    Local1,
    /// See `Local0`.
    Local2,
    /// See `Local0`.
    Local3,
    /// See `Local0`.
    Local4,
    /// See `Local0`.
    Local5,
    /// See `Local0`.
    Local6,
    /// See `Local0`.
    Local7,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody must act at once.
    Alert,
    /// A critical condition.
    Critical,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Normal, but worth a look.
    Notice,
    /// What happened.
    Info,
    /// For who seeks a fault.
    Debug,
}

/// Writes log lines. May be shared between threads.
#[derive(Debug)]
pub struct Log {
    ident: String,
    sink: Sink,
    /// Where lines of [`Facility::Mail`] go.
    mail: Facility,
}

#[derive(Debug)]
enum Sink {
    Syslog { path: PathBuf, socket: Mutex<Option<UnixDatagram>> },
    Stderr,
}

impl Log {
    /// Logs to the system's syslog as `ident[pid]`.
    ///
    /// It connects at once, so that it works after a chroot and without privileges.
    pub fn syslog(ident: &str) -> Self {
        let path = SOCKETS.iter().map(Path::new).find(|path| path.exists()).unwrap_or(Path::new(SOCKETS[0]));
        Self::syslog_at(ident, path)
    }

    /// Logs to the syslog that listens at a socket, as [`Log::syslog`] does.
    pub fn syslog_at(ident: &str, path: &Path) -> Self {
        let socket = Mutex::new(connect(path));
        let sink = Sink::Syslog { path: path.into(), socket };
        Self { ident: ident.into(), sink, mail: Facility::Mail }
    }

    /// Logs to standard error, for programs run by hand.
    pub fn stderr(ident: &str) -> Self {
        Self { ident: ident.into(), sink: Sink::Stderr, mail: Facility::Mail }
    }

    /// Has lines of [`Facility::Mail`] go to another facility.
    #[must_use]
    pub fn with_mail_as(self, mail: Facility) -> Self {
        Self { mail, ..self }
    }

    /// Writes one line. Control characters in it are escaped, and what is beyond 2048 octets is cut off.
    pub fn emit(&self, facility: Facility, priority: Priority, line: &str) {
        let line = Escaped { octets: line.as_bytes(), limit: MAX_LINE, what: Escape::Controls };
        let pid = std::process::id();
        let facility = if facility == Facility::Mail { self.mail } else { facility };
        match &self.sink {
            Sink::Syslog { path, socket } => {
                let code = facility.code() << 3 | priority.code();
                let datagram = format!("<{code}>{} {}[{pid}]: {line}", times::syslog_stamp(), self.ident);
                send(path, socket, datagram.as_bytes());
            }
            Sink::Stderr => {
                let names = (facility.name(), priority.name());
                // Nobody is left to be told if standard error is closed.
                // One write for the line: several processes may share standard error.
                let line = format!("{}[{pid}]: {}.{}: {line}\n", self.ident, names.0, names.1);
                io::stderr().write_all(line.as_bytes()).ok();
            }
        }
    }
}

/// Returns at most 80 octets of a name or other single word that a peer sent, for a log line.
///
/// Spaces, control characters, backslashes and what is not UTF-8 are written as `\ooo`, so that a name can neither end the
/// line nor look like the next field (`ada host=[192.0.2.1]`).
pub fn field(octets: &[u8]) -> impl fmt::Display {
    Escaped { octets, limit: MAX_FIELD, what: Escape::SpacesToo }
}

/// Returns at most 80 octets of a text for a log line (a path, a trace text), escaped as [`field`] does it but for spaces.
pub fn text(octets: &[u8]) -> impl fmt::Display {
    Escaped { octets, limit: MAX_FIELD, what: Escape::Backslashes }
}

const SOCKETS: [&str; 2] = ["/dev/log", "/var/run/log"];
const MAX_FIELD: usize = 80;
const MAX_LINE: usize = 2048;
/// How long a line may wait for a syslog that does not take it.
const PATIENCE: Duration = Duration::from_millis(200);

impl Facility {
    /// Those that lines about mail may go to.
    pub const FOR_MAIL: [Self; 10] = [
        Self::Mail,
        Self::Daemon,
        Self::Local0,
        Self::Local1,
        Self::Local2,
        Self::Local3,
        Self::Local4,
        Self::Local5,
        Self::Local6,
        Self::Local7,
    ];

    fn code(self) -> u8 {
        self.code_and_name().0
    }

    /// Returns the name by which syslog's configuration knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.code_and_name().1
    }

    fn code_and_name(self) -> (u8, &'static str) {
        match self {
            Self::Mail => (2, "mail"),
            Self::Daemon => (3, "daemon"),
            Self::Auth => (4, "auth"),
            Self::Local0 => (16, "local0"),
            Self::Local1 => (17, "local1"),
            Self::Local2 => (18, "local2"),
            Self::Local3 => (19, "local3"),
            Self::Local4 => (20, "local4"),
            Self::Local5 => (21, "local5"),
            Self::Local6 => (22, "local6"),
            Self::Local7 => (23, "local7"),
        }
    }
}

impl Priority {
    fn code(self) -> u8 {
        match self {
            Self::Alert => 1,
            Self::Critical => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Critical => "crit",
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

fn connect(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(path).ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(socket)
}

/// Sends, over a new connection if the old one is dead (syslog was started anew).
fn send(path: &Path, socket: &Mutex<Option<UnixDatagram>>, datagram: &[u8]) {
    // A thread that panicked while it held the socket has left it whole.
    let mut socket = socket.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let result = socket.as_ref().map(|socket| socket.send(datagram));
    match result {
        Some(Ok(_)) => return,
        // It lives but does not take more: drop the line rather than wait twice.
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
        Some(Err(_)) | None => *socket = connect(path),
    }
    if let Some(socket) = socket.as_ref() {
        socket.send(datagram).ok();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Controls,
    Backslashes,
    SpacesToo,
}

struct Escaped<'o> {
    octets: &'o [u8],
    limit: usize,
    what: Escape,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.octets.get(..self.limit).unwrap_or(self.octets);
        for chunk in octets.utf8_chunks() {
            for character in chunk.valid().chars() {
                if self.escapes(character) {
                    escape(f, character.encode_utf8(&mut [0; 4]).as_bytes())?;
                } else {
                    f.write_char(character)?;
                }
            }
            escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

impl Escaped<'_> {
    fn escapes(&self, character: char) -> bool {
        // Line and paragraph separator; marks that reverse the text around them.
        let treacherous = matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        character.is_control()
            || treacherous
            || self.what != Escape::Controls && character == '\\'
            || self.what == Escape::SpacesToo && character.is_whitespace()
    }
}

fn escape(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "\\{octet:03o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a line");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_line_has_priority_stamp_and_ident() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("log");
        let server = UnixDatagram::bind(&path).expect("a socket");
        let log = Log::syslog_at("imapd", &path);
        log.emit(Facility::Auth, Priority::Notice, "Login failed user=ada\nmail.info forged");
        let line = receive(&server);
        let rest = line.strip_prefix("<37>").expect("auth.notice");
        let (stamp, rest) = rest.split_at(15);
        assert_eq!(stamp.chars().filter(|c| *c == ':').count(), 2, "{stamp}");
        let ident = format!(" imapd[{}]: ", std::process::id());
        assert_eq!(rest.strip_prefix(&ident), Some("Login failed user=ada\\012mail.info forged"));
        log.emit(Facility::Mail, Priority::Debug, &"x".repeat(5000));
        let line = receive(&server);
        assert!(line.starts_with("<23>") && line.matches('x').count() == MAX_LINE);
    }

    #[test]
    fn lines_about_mail_may_go_elsewhere() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("log");
        let server = UnixDatagram::bind(&path).expect("a socket");
        let log = Log::syslog_at("imapd", &path).with_mail_as(Facility::Local7);
        let code_of = |facility| {
            log.emit(facility, Priority::Info, "x");
            receive(&server).split_once('>').map(|(code, _)| code.to_owned())
        };
        let [mail, auth, daemon] = [Facility::Mail, Facility::Auth, Facility::Daemon].map(code_of);
        assert_eq!(
            (mail.as_deref(), auth.as_deref(), daemon.as_deref()),
            (Some("<190"), Some("<38"), Some("<30"))
        );
    }

    #[test]
    fn a_new_syslog_is_found_and_a_missing_one_is_borne() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("log");
        let log = Log::syslog_at("imapd", &path);
        log.emit(Facility::Mail, Priority::Info, "nobody listens");
        for line in ["one", "two"] {
            let server = UnixDatagram::bind(&path).expect("a socket");
            log.emit(Facility::Mail, Priority::Info, line);
            assert!(receive(&server).ends_with(line));
            drop(server);
            std::fs::remove_file(&path).expect("it was there");
        }
        log.emit(Facility::Mail, Priority::Info, "nobody listens");
    }

    #[test]
    fn a_full_syslog_does_not_hang_us() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("log");
        let _server = UnixDatagram::bind(&path).expect("a socket");
        let log = Log::syslog_at("imapd", &path);
        // Far more than the queue of a datagram socket holds; each line beyond costs PATIENCE.
        let socket = match &log.sink {
            Sink::Syslog { socket, .. } => socket,
            Sink::Stderr => panic!("a syslog"),
        };
        let fill =
            socket.lock().expect("no panic").as_ref().expect("connected").try_clone().expect("a duplicate");
        fill.set_nonblocking(true).expect("can be set");
        while fill.send(b"x").is_ok() {}
        fill.set_nonblocking(false).expect("can be set");
        let start = std::time::Instant::now();
        log.emit(Facility::Mail, Priority::Info, "does not fit");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn fields_are_bounded_and_escaped() {
        assert_eq!(field(b"ada").to_string(), "ada");
        assert_eq!(field(b"a b\\\r\n\0\x7f").to_string(), "a\\040b\\134\\015\\012\\000\\177");
        assert_eq!(field(b"x\xff\xc3").to_string(), "x\\377\\303");
        assert_eq!(
            field("j\u{f6}rg \u{85}\u{202e}".as_bytes()).to_string(),
            "j\u{f6}rg\\040\\302\\205\\342\\200\\256"
        );
        assert_eq!(text(b"a b\\\n").to_string(), "a b\\134\\012");
        assert_eq!(field(&[b'a'; 100]).to_string(), "a".repeat(80));
        for octet in 0..=255_u8 {
            let logged = field(&[octet]).to_string();
            assert!(logged.bytes().all(|octet| octet.is_ascii_graphic()), "{octet}");
        }
        let split = [&[b'a'; 79][..], "\u{f6}".as_bytes()].concat();
        assert_eq!(field(&split).to_string(), format!("{}\\303", "a".repeat(79)));
    }
}
