//! What the tests stand on: programs started and stopped, and a client that can be slow, rude and encrypted.

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing that is waited for takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// No program under test lives longer.
const LONGEST: Duration = Duration::from_secs(100);
/// Root's tests run ordinary users' programs as this one.
pub(crate) const NOBODY: u32 = 65534;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the path of a program.
pub(crate) fn program(name: &str) -> &'static Path {
    match name {
        "imapd" => Path::new(env!("CARGO_BIN_EXE_imapd")),
        _ => Path::new(env!("CARGO_BIN_EXE_ailurus")),
    }
}

/// Returns a path by which an ordinary user can execute a program, though it may be below root's home: through a
/// descriptor that is inherited.
fn executable(name: &str) -> PathBuf {
    static OPENED: OnceLock<[OwnedFd; 2]> = OnceLock::new();
    let open = |name| rustix::fs::open(program(name), OFlags::RDONLY, Mode::empty()).expect("built");
    let [imapd, ailurus] = OPENED.get_or_init(|| [open("imapd"), open("ailurus")]);
    let opened = if name == "imapd" { imapd } else { ailurus };
    format!("/proc/self/fd/{}", opened.as_raw_fd()).into()
}

/// A scratch directory that belongs to the ordinary user of the tests.
pub(crate) fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a directory");
    if is_root() {
        std::os::unix::fs::chown(scratch.path(), Some(NOBODY), Some(NOBODY)).expect("ours");
    }
    scratch
}

/// Returns a command that runs as an ordinary user, at home in a directory, logging to standard error.
pub(crate) fn ordinary(name: &str, home: &Path) -> Command {
    let mut command = Command::new(executable(name));
    command.arg0(name);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
        .env("HOME", home)
        .env("AILURUS_LOG", "stderr")
        .env_remove("XDG_STATE_HOME")
        .env_remove("SSH_CLIENT");
    command
}

/// A program under test. Killed when dropped, if it has not ended.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    _alive: mpsc::Sender<()>,
}

impl Program {
    /// Starts a program; its standard error is collected line by line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let stderr = child.stderr.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("no panic under the lock").push(line);
            }
        });
        let (alive, gone) = mpsc::channel::<()>();
        let pid = child.id();
        // A test that waits for what never comes on a pipe has no time-out of its own.
        thread::spawn(move || {
            if gone.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout) {
                send(pid, Signal::KILL);
            }
        });
        Self { child, log, _alive: alive }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the log has a line with this text, and returns it.
    pub(crate) fn logged(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = self.log.lock().expect("no panic under the lock");
            if let Some(line) = log.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(Instant::now() < until, "no {text:?} in the log:\n{}", log.join("\n"));
            drop(log);
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic under the lock").join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(Instant::now() < until, "still running:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().expect("piped"))
    }

    /// Takes its standard input and output as a connection.
    pub(crate) fn pipes(&mut self) -> Talk<Pipes> {
        let input = self.child.stdin.take().expect("piped");
        let output = self.child.stdout.take().expect("piped");
        Talk::new(Pipes { input, output })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("a process of ours");
}

/// Returns the ids of the processes that a process has started and that live.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Standard input and output of a program.
pub(crate) struct Pipes {
    input: ChildStdin,
    output: ChildStdout,
}

impl Read for Pipes {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.output.read(room)
    }
}

impl Write for Pipes {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.input.write(octets)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }
}

/// A conversation with a server.
pub(crate) struct Talk<S> {
    pub(crate) stream: BufReader<S>,
}

impl<S: Read + Write> Talk<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Reads one line without its end; empty at the end of the connection.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line or the end");
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Reads a line that must start like this.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let line = self.line();
        assert!(line.starts_with(start), "{start:?} expected, {line:?} received");
        line
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).expect("written");
    }

    /// Gives a command; returns all lines to its completion, which must start like this.
    pub(crate) fn command(&mut self, command: &str, completion: &str) -> Vec<String> {
        self.say(&format!("t {command}"));
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "{command}: the connection ended after {lines:#?}");
            let done = line.starts_with("t ");
            lines.push(line);
            if done {
                let last = lines.last().expect("just pushed");
                assert!(last.starts_with(&format!("t {completion}")), "{command}: {lines:#?}");
                return lines;
            }
        }
    }

    /// Asserts that nothing more comes.
    pub(crate) fn ended(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

/// Connects in the clear.
pub(crate) fn connect(address: SocketAddr) -> Talk<TcpStream> {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    Talk::new(stream)
}

pub(crate) type Encrypted = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Does the TLS handshake on a connection, trusting one certificate.
pub(crate) fn encrypt(talk: Talk<TcpStream>, certificate: &Path, name: &str) -> io::Result<Talk<Encrypted>> {
    let pem = std::fs::read(certificate)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = name.to_owned().try_into().map_err(io::Error::other)?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(connection, talk.stream.into_inner());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Talk::new(stream))
}

/// Returns the addresses that a server says it listens to.
pub(crate) fn addresses(server: &Program) -> (SocketAddr, Option<SocketAddr>) {
    let line = server.logged("listening on ");
    let (_, list) = line.split_once("listening on ").expect("just found");
    let find = |kind: &str| {
        let entry = list.split(", ").find(|entry| entry.ends_with(kind))?;
        Some(entry.split(' ').next()?.parse().expect("an address"))
    };
    (find("(imap)").expect("a plain port"), find("(imaps)"))
}

/// Returns the most memory that a process had at a time, in KiB: without the pages of its program, of which a debug build
/// has more than it has data.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux has it");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    number("VmHWM:").saturating_sub(number("RssFile:"))
}
