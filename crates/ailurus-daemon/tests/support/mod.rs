//! Users, processes and connections that go away with the test, whether it passes or not.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this")]

pub mod bottle;
pub mod host;
pub mod peer;
pub mod player;
pub mod server;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The password of every user that tests make.
pub const PASSWORD: &str = "adapw";
/// No answer takes longer, but for the punishment of failed logins.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tells whether this process may make users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Notes that a test does nothing here.
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// Runs a command to its end and fails the test with what it said unless it succeeded.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{said}", output.status);
    text
}

/// A system user for one test: made by root and removed with home and spool file, or, for anyone else, oneself with a
/// scratch home and without a spool file of one's own.
pub struct User {
    pub name: String,
    /// User and group id, where this is not the user who runs the test.
    pub ids: Option<(u32, u32)>,
    home: tempfile::TempDir,
}

/// The user database has one lock.
static USERS: Mutex<()> = Mutex::new(());

impl User {
    /// Makes a user without mail.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("ailurus-home-").tempdir().expect("a directory");
        if !is_root() {
            let name = succeed(Command::new("id").arg("-un")).trim().to_owned();
            return Self { name, ids: None, home };
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("ail{}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let _one_at_a_time = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        patiently(|| {
            let mut command = Command::new("useradd");
            command.args([
                "--no-create-home",
                "--no-log-init",
                "--user-group",
                "--shell",
                "/bin/sh",
                "--home-dir",
            ]);
            command.arg(home.path()).arg(&name).output()
        });
        // From here on dropping removes the user.
        let mut user = Self { name, ids: None, home };
        let id = |option: &str| -> u32 {
            succeed(Command::new("id").args([option, &user.name])).trim().parse().expect("a number")
        };
        user.ids = Some((id("-u"), id("-g")));
        patiently(|| {
            let mut command = Command::new("chpasswd");
            pipe(&format!("{}:{PASSWORD}", user.name), command.args(["-c", "SHA512", "-s", "1000"]))
        });
        fs::set_permissions(user.home(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        user.give(user.home());
        user
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the file of the user's INBOX; only root may ask, since anyone else's holds real mail.
    pub fn spool(&self) -> PathBuf {
        assert!(self.ids.is_some(), "the mail of whoever runs the tests is left alone");
        Path::new("/var/mail").join(&self.name)
    }

    /// Makes a file or directory the user's own.
    pub fn give(&self, path: &Path) {
        if let Some((uid, gid)) = self.ids {
            chown(path, Some(uid), Some(gid)).expect("root may");
        }
    }

    /// Writes a file that belongs to the user.
    pub fn write(&self, path: &Path, content: &[u8]) {
        fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        self.give(path);
    }

    /// Returns a command that runs as the user, at home.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.home());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.home()).env("USER", &self.name).env("LOGNAME", &self.name);
        command.env("TZ", "UTC").env("LC_ALL", "C").env("TERM", "dumb").env("AILURUS_LOG", "stderr");
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if !is_root() {
            return;
        }
        let _one_at_a_time = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..50 {
            let mut command = Command::new("userdel");
            let status = command.arg("--force").arg(&self.name).stderr(Stdio::null()).status();
            if status.is_ok_and(|status| [Some(0), Some(6)].contains(&status.code())) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let spool = Path::new("/var/mail").join(&self.name);
        fs::remove_file(&spool).ok();
        fs::remove_file(spool.with_extension("lock")).ok();
    }
}

/// Runs a tool of the user database until it succeeds: its lock may be held by another program for a moment.
fn patiently(mut tool: impl FnMut() -> io::Result<Output>) {
    let mut output = tool().expect("the tools of package passwd");
    for _ in 0..50 {
        if output.status.success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
        output = tool().expect("the tools of package passwd");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn pipe(input: &str, command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().expect("a pipe").write_all(format!("{input}\n").as_bytes())?;
    child.wait_with_output()
}

/// Returns one of our programs, copied to where every user can run it.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("ailurus-bin-").tempdir().expect("a directory");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        for (name, built) in [
            ("imapd", env!("CARGO_BIN_EXE_imapd")),
            ("ipop3d", env!("CARGO_BIN_EXE_ipop3d")),
            ("ipop2d", env!("CARGO_BIN_EXE_ipop2d")),
            ("ailurus", env!("CARGO_BIN_EXE_ailurus")),
        ] {
            let copy = folder.path().join(name);
            fs::copy(built, &copy).expect("room for the programs");
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        remove_at_exit(folder.path());
        folder
    });
    folder.path().join(name)
}

/// Statics are not dropped: a shell waits for this process to end and then removes the folder.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn remove_at_exit(folder: &Path) {
    let script = format!(
        "while kill -0 {0} 2>/dev/null; do sleep 1; done; rm -rf '{1}'",
        std::process::id(),
        folder.display()
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().expect("a shell");
}

/// A process that is killed when the test is over.
pub struct Process {
    pub child: Child,
    log: Arc<Mutex<Vec<String>>>,
    collector: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it, and collects what it writes to standard error.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (pipe, kept) = (child.stderr.take().expect("a pipe"), Arc::clone(&log));
        let collector = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, log, collector: Some(collector) }
    }

    /// Returns what it has written to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line in its log that has these words, and returns it.
    #[track_caller]
    pub fn await_log(&self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().into_iter().find(|line| line.contains(words)) {
                return line;
            }
            assert!(Instant::now() < until, "no line with {words:?} in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end and returns the exit status; kills it if it takes too long.
    pub fn end(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                if let Some(collector) = self.collector.take() {
                    collector.join().expect("it only reads");
                }
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().ok();
        self.child.wait().ok();
        None
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, signal).expect("it runs");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client's end of a connection.
pub struct Client {
    reader: BufReader<Box<dyn Read + Send + Sync>>,
    writer: Box<dyn Write + Send + Sync>,
    set_timeout: Box<dyn Fn(Duration) + Send + Sync>,
    tags: u32,
    /// The socket, where it is one that TLS can be started on.
    socket: Option<TcpStream>,
}

impl Client {
    pub fn over(stream: UnixStream) -> Self {
        let (reader, writer) =
            (stream.try_clone().expect("a descriptor"), stream.try_clone().expect("a descriptor"));
        let set_timeout = Box::new(move |time| stream.set_read_timeout(Some(time)).expect("a socket"));
        let reader: BufReader<Box<dyn Read + Send + Sync>> = BufReader::new(Box::new(reader));
        Self { reader, writer: Box::new(writer), set_timeout, tags: 0, socket: None }
    }

    pub fn over_tcp(stream: TcpStream) -> Self {
        let (reader, writer) =
            (stream.try_clone().expect("a descriptor"), stream.try_clone().expect("a descriptor"));
        let socket = Some(stream.try_clone().expect("a descriptor"));
        let set_timeout = Box::new(move |time| stream.set_read_timeout(Some(time)).expect("a socket"));
        let reader: BufReader<Box<dyn Read + Send + Sync>> = BufReader::new(Box::new(reader));
        Self { reader, writer: Box::new(writer), set_timeout, tags: 0, socket }
    }

    /// Does the TLS handshake, trusting one certificate only.
    #[track_caller]
    pub fn start_tls(&mut self, certificate: &Path, name: &str) {
        assert!(self.reader.buffer().is_empty(), "something was said behind the answer to STARTTLS");
        let socket = self.socket.take().expect("a connection over TCP");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let pem = fs::read(certificate).expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an anchor");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = name.to_owned().try_into().expect("a name");
        let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut stream = rustls::StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        let stream = Encrypted(Arc::new(Mutex::new(stream)));
        self.reader = BufReader::new(Box::new(stream.clone()));
        self.writer = Box::new(stream);
    }

    /// Connects to a port of this host.
    pub fn connect(port: u16) -> Self {
        Self::over_tcp(TcpStream::connect(("127.0.0.1", port)).expect("somebody listens"))
    }

    /// Sends octets; a server that is gone is no error.
    pub fn send(&mut self, octets: &[u8]) {
        self.writer.write_all(octets).ok();
    }

    /// Returns the next line without its end: `None` at the end of the stream, an error when nothing comes in time.
    pub fn line(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        (self.set_timeout)(patience);
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
        if line.is_empty() {
            return Ok(None);
        }
        while line.last().is_some_and(|octet| matches!(octet, b'\r' | b'\n')) {
            line.pop();
        }
        Ok(Some(line))
    }

    /// Sends a command and returns all lines up to its tagged response, that included.
    #[track_caller]
    pub fn command(&mut self, command: &str) -> Vec<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {command}\r\n").as_bytes());
        self.finish(&tag)
    }

    /// Sends a command that has octets of any kind in it; as [`Client::command`].
    #[track_caller]
    pub fn command_octets(&mut self, command: &[u8]) -> Vec<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(&[tag.as_bytes(), b" ", command, b"\r\n"].concat());
        self.finish(&tag)
    }

    /// Sends a command that has to succeed, and returns what comes before its tagged response, to the octet.
    #[track_caller]
    pub fn octets(&mut self, command: &str) -> Vec<u8> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {command}\r\n").as_bytes());
        (self.set_timeout)(PATIENCE);
        let mut octets = Vec::new();
        loop {
            let start = octets.len();
            let read = self.reader.read_until(b'\n', &mut octets).expect("an answer");
            assert!(read > 0, "the server is gone: {}", octets.escape_ascii());
            if octets[start..].starts_with(format!("{tag} ").as_bytes()) {
                assert!(
                    octets[start..].starts_with(format!("{tag} OK").as_bytes()),
                    "{}",
                    octets.escape_ascii()
                );
                octets.truncate(start);
                return octets;
            }
        }
    }

    #[track_caller]
    fn finish(&mut self, tag: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line(PATIENCE) {
                Ok(Some(line)) => lines.push(String::from_utf8_lossy(&line).into_owned()),
                Ok(None) => panic!("the server is gone: {lines:#?}"),
                Err(error) => panic!("no answer ({error}): {lines:#?}"),
            }
            let last = lines.last().expect("just pushed");
            if last.strip_prefix(tag).is_some_and(|rest| rest.starts_with(' ')) {
                return lines;
            }
        }
    }

    /// As [`Client::command`], for one that has to succeed.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> Vec<String> {
        let lines = self.command(command);
        let last = lines.last().expect("a tagged response");
        assert!(last.split(' ').nth(1) == Some("OK"), "{command}: {lines:#?}");
        lines
    }

    /// Appends a message given with LF or CRLF line ends.
    #[track_caller]
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> String {
        let text = message.replace("\r\n", "\n").replace('\n', "\r\n");
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} APPEND {mailbox} {flags}{{{}+}}\r\n{text}\r\n", text.len()).as_bytes());
        let lines = self.finish(&tag);
        let last = lines.last().expect("a tagged response").clone();
        assert!(last.starts_with(&format!("{tag} OK")), "{lines:#?}");
        last
    }

    /// Reads the greeting.
    #[track_caller]
    pub fn greeting(&mut self) -> String {
        let line = self.line(PATIENCE).expect("a greeting").expect("a greeting");
        String::from_utf8_lossy(&line).into_owned()
    }
}

/// Both directions of a connection inside TLS; one is used at a time.
#[derive(Clone)]
struct Encrypted(Arc<Mutex<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>>);

impl Read for Encrypted {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(room)
    }
}

impl Write for Encrypted {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(octets)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// A server of one connection, and the connection to it.
pub struct Session {
    pub process: Process,
    pub client: Client,
}

impl Session {
    /// Starts `imapd` as the user, who needs no password then, on a socket that is none of a network.
    pub fn preauthenticated(user: &User) -> Self {
        Self::paired(&mut user.command(program("imapd")))
    }

    /// Starts `imapd` as root does it for a connection from the network.
    pub fn from_network() -> Self {
        let mut command = Command::new(program("imapd"));
        command.env("TZ", "UTC").env("AILURUS_LOG", "stderr");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        Self::accepted(&mut command, &listener)
    }

    /// Starts a program for a connection to a port.
    pub fn accepted(command: &mut Command, listener: &TcpListener) -> Self {
        let ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("we listen");
        let (theirs, _) = listener.accept().expect("we connected");
        Self::start(command, OwnedFd::from(theirs), Client::over_tcp(ours))
    }

    /// Starts a program that takes a connection which is none of a network.
    pub fn paired(command: &mut Command) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        Self::start(command, OwnedFd::from(theirs), Client::over(ours))
    }

    fn start(command: &mut Command, theirs: OwnedFd, client: Client) -> Self {
        let output = theirs.try_clone().expect("a descriptor");
        let process = Process::start(command.stdin(Stdio::from(theirs)).stdout(Stdio::from(output)));
        // The command keeps the descriptors of the other end until it is dropped or given others.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self { process, client }
    }
}
