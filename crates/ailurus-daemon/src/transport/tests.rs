//! The loop with an engine that answers lines with themselves.

use super::*;
use crate::tls::{CertificateStore, server_config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::thread::{self, JoinHandle};

/// Answers each line with itself; after `LATE`, nothing is taken for a while. `BIG n` is answered with n octets, a thousand at a time.
#[derive(Default)]
struct Echo {
    out: Vec<u8>,
    big: usize,
    late: Option<Instant>,
    request: Option<Request>,
    heard: Vec<String>,
    most_pending: usize,
    most_waiting: usize,
}

impl Engine for Echo {
    fn handle_input(&mut self, octets: &[u8], _now: Instant) -> usize {
        self.most_pending = self.most_pending.max(octets.len());
        let Some(end) = octets.iter().position(|&octet| octet == b'\n') else { return 0 };
        let line = String::from_utf8_lossy(&octets[..end]).into_owned();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("BIG", n) => self.big = n.parse().expect("a number"),
            ("LATE", _) => self.late = Some(Instant::now() + Duration::from_millis(100)),
            ("STARTTLS", _) => self.request = Some(Request::StartTls),
            ("QUIT", _) => self.request = Some(Request::Close(7)),
            _ => {}
        }
        self.out.extend_from_slice(&octets[..=end]);
        end + 1
    }
    fn wants_input(&self) -> bool {
        self.big == 0 && self.late.is_none()
    }
    fn poll_output(&mut self, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.out);
        let piece = self.big.min(1000);
        self.big -= piece;
        out.resize(out.len() + piece, b'x');
        self.most_waiting = self.most_waiting.max(out.len());
        piece > 0
    }
    fn poll_request(&mut self) -> Option<Request> {
        self.request.take()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.late
    }
    fn handle_timeout(&mut self, _now: Instant) {
        self.late = None;
    }
    fn wake_paths(&self) -> Option<Vec<PathBuf>> {
        None
    }
    fn handle_wake(&mut self, _now: Instant) {}
    fn handle_signal(&mut self, signal: Signal, _now: Instant) {
        self.out.extend_from_slice(format!("{signal:?}\n").as_bytes());
        self.request = Some(Request::Close(1));
    }
    fn handle_disconnect(&mut self, cause: &str, _now: Instant) {
        self.big = 0;
        self.heard.push(cause.into());
        self.request = Some(Request::Close(3));
    }
    fn handle_tls_started(&mut self, _: Secured, _now: Instant) {
        self.heard.push("tls".into());
    }
}

/// A socket whose octets are signals.
struct FakeSignals(std::os::unix::net::UnixStream);

impl Signals for FakeSignals {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
    fn take(&mut self) -> Option<Signal> {
        let mut octet = [0];
        self.0.read_exact(&mut octet).ok()?;
        Some(Signal::Terminate)
    }
}

struct Served {
    client: TcpStream,
    signals: std::os::unix::net::UnixStream,
    server: JoinHandle<(Ending, Echo)>,
}

fn serve(certificates: Option<CertificateStore>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (socket, _) = listener.accept().expect("accepted");
    let (signals, taken) = std::os::unix::net::UnixStream::pair().expect("a pair");
    taken.set_nonblocking(true).expect("a socket");
    let server = thread::spawn(move || {
        let again = socket.try_clone().expect("a second descriptor");
        let mut transport = Transport::new(socket.into(), again.into());
        let mut engine = Echo::default();
        let mut tls = || {
            let store = certificates.as_ref().ok_or("no certificate")?;
            server_config(store, None, None).map_err(|error| error.to_string())
        };
        let ending = transport.run(&mut engine, &mut FakeSignals(taken), &mut tls);
        (ending, engine)
    });
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    Served { client, signals, server }
}

fn read_line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

#[test]
fn lines_go_through_and_close_gives_the_status() {
    let Served { mut client, signals: _signals, server } = serve(None);
    client.write_all(b"one\ntwo\nQUIT\nafter\n").expect("written");
    let mut all = String::new();
    client.read_to_string(&mut all).expect("to the end");
    assert_eq!(all, "one\ntwo\nQUIT\n");
    let (ending, engine) = server.join().expect("no panic");
    assert!(matches!(ending, Ending::Closed(7)), "{ending:?}");
    assert!(engine.heard.is_empty());
}

#[test]
fn commands_before_a_half_close_are_answered_first() {
    let Served { mut client, signals: _signals, server } = serve(None);
    client.write_all(b"LATE\nBIG 3000000\none\nhalf").expect("written");
    client.shutdown(Shutdown::Write).expect("half-closed");
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("to the end");
    assert_eq!(all.len(), 5 + 12 + 3_000_000 + 4);
    assert!(all.ends_with(b"xone\n"));
    let (ending, engine) = server.join().expect("no panic");
    assert!(matches!(ending, Ending::Closed(3)), "{ending:?}");
    assert_eq!(engine.heard, [CLIENT_GONE]);
}

#[test]
fn a_reset_in_the_middle_of_output_is_told_once() {
    let Served { mut client, signals: _signals, server } = serve(None);
    client.write_all(b"BIG 100000000\n").expect("written");
    let mut some = [0; 1000];
    client.read_exact(&mut some).expect("the beginning");
    drop(client);
    let (ending, engine) = server.join().expect("no panic");
    assert!(matches!(ending, Ending::Closed(3)), "{ending:?}");
    assert_eq!(engine.heard.len(), 1);
    assert!(
        ["Broken pipe", "Connection reset by peer"].contains(&&engine.heard[0][..]),
        "{:?}",
        engine.heard
    );
}

#[test]
fn who_reads_slowly_and_steadily_costs_a_batch() {
    let (from_client, to_server) = rustix::pipe::pipe().expect("a pipe");
    let (from_server, to_client) = rustix::pipe::pipe().expect("a pipe");
    let (_signals, taken) = std::os::unix::net::UnixStream::pair().expect("a pair");
    taken.set_nonblocking(true).expect("a socket");
    let server = thread::spawn(move || {
        let mut engine = Echo::default();
        let mut transport = Transport::new(from_client, to_client);
        transport.run(&mut engine, &mut FakeSignals(taken), &mut || Err("none".into()));
        engine.most_waiting
    });
    std::fs::File::from(to_server).write_all(b"BIG 50000000\nQUIT\n").expect("written");
    let (mut all, mut piece, mut reader) = (0, [0; 8192], std::fs::File::from(from_server));
    loop {
        match reader.read(&mut piece).expect("octets") {
            0 => break,
            read => all += read,
        }
        thread::sleep(Duration::from_micros(50));
    }
    assert_eq!(all, 13 + 50_000_000 + 5);
    let most_waiting = server.join().expect("no panic");
    assert!(most_waiting <= 4 * FULL_BATCH, "{most_waiting}");
}

#[test]
fn who_writes_without_reading_is_not_read_from() {
    let Served { client, signals: _signals, server } = serve(None);
    let mut writer = client.try_clone().expect("a second descriptor");
    let writing = thread::spawn(move || {
        let line = [&[b'y'; 999][..], b"\n"].concat();
        for _ in 0..20_000 {
            writer.write_all(&line).expect("written");
        }
        writer.shutdown(Shutdown::Write).expect("half-closed");
    });
    thread::sleep(Duration::from_millis(200));
    let mut all = Vec::new();
    (&client).read_to_end(&mut all).expect("to the end");
    writing.join().expect("no panic");
    assert_eq!(all.len(), 20_000_000);
    let (_, engine) = server.join().expect("no panic");
    assert!(engine.most_pending <= MOST_INPUT, "{}", engine.most_pending);
}

#[test]
fn a_signal_ends_a_waiting_session() {
    let Served { client, mut signals, server } = serve(None);
    let mut reader = BufReader::new(client);
    reader.get_mut().write_all(b"hello\n").expect("written");
    assert_eq!(read_line(&mut reader), "hello\n");
    signals.write_all(b"t").expect("written");
    assert_eq!(read_line(&mut reader), "Terminate\n");
    assert!(matches!(server.join().expect("no panic").0, Ending::Closed(1)));
}

#[test]
fn pipes_serve_as_well_as_sockets() {
    let (from_client, to_server) = rustix::pipe::pipe().expect("a pipe");
    let (from_server, to_client) = rustix::pipe::pipe().expect("a pipe");
    let (_signals, taken) = std::os::unix::net::UnixStream::pair().expect("a pair");
    taken.set_nonblocking(true).expect("a socket");
    let server = thread::spawn(move || {
        let mut none = || Err(String::new());
        Transport::new(from_client, to_client).run(&mut Echo::default(), &mut FakeSignals(taken), &mut none)
    });
    std::fs::File::from(to_server).write_all(b"BIG 200000\nend\n").expect("written");
    let mut all = Vec::new();
    std::fs::File::from(from_server).read_to_end(&mut all).expect("to the end");
    assert_eq!(all.len(), 11 + 200_000 + 4);
    assert!(matches!(server.join().expect("no panic"), Ending::Closed(3)));
}

fn certificates() -> (tempfile::TempDir, CertificateStore, rustls::ClientConfig) {
    let scratch = tempfile::tempdir().expect("a directory");
    let pem = crate::tls::self_signed(&["localhost".into()]).expect("a certificate");
    std::fs::write(scratch.path().join("imapd.pem"), &pem).expect("written");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("an anchor");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let store = CertificateStore::directory(scratch.path(), "imapd");
    (scratch, store, config)
}

/// Remembers the lengths of the TLS records of application data that come through.
struct Records<S> {
    inner: S,
    seen: Vec<u8>,
}

impl<S: Read> Read for Records<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(room)?;
        self.seen.extend_from_slice(&room[..count]);
        Ok(count)
    }
}

impl<S: Write> Write for Records<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.inner.write(octets)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<S> Records<S> {
    fn lengths(&self) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut rest = &self.seen[..];
        while let [kind, _, _, high, low, after @ ..] = rest {
            let length = usize::from(*high) << 8 | usize::from(*low);
            if *kind == 23 {
                lengths.push(length);
            }
            rest = &after[length..];
        }
        lengths
    }
}

#[test]
fn starttls_forgets_what_was_said_in_the_clear_and_keeps_records_small() {
    let (_scratch, store, config) = certificates();
    let Served { mut client, signals: _signals, server } = serve(Some(store));
    client.write_all(b"STARTTLS\ninjected\n").expect("written");
    assert_eq!(read_line(&mut BufReader::with_capacity(1, &client)), "STARTTLS\n");
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let tls = rustls::StreamOwned::new(connection, Records { inner: client, seen: Vec::new() });
    let mut reader = BufReader::new(tls);
    reader.get_mut().write_all(b"BIG 1000000\nQUIT\n").expect("written");
    let mut all = Vec::new();
    reader.read_to_end(&mut all).expect("ended by close_notify");
    assert_eq!(all.len(), 12 + 1_000_000 + 5);
    assert!(all.starts_with(b"BIG 1000000\nxxx"));
    let lengths = reader.get_ref().sock.lengths();
    // TLS 1.3: one octet of type and 16 of tag beyond the plaintext.
    assert!(lengths.iter().all(|&length| length <= 8192 + 17), "{lengths:?}");
    assert!(lengths.contains(&(8192 + 17)), "{lengths:?}");
    let (ending, engine) = server.join().expect("no panic");
    assert!(matches!(ending, Ending::Closed(7)), "{ending:?}");
    assert_eq!(engine.heard, ["tls"]);
}

#[test]
fn a_handshake_that_fails_says_so() {
    let (_scratch, store, _config) = certificates();
    let Served { mut client, signals: _signals, server } = serve(Some(store));
    client.write_all(b"STARTTLS\n").expect("written");
    assert_eq!(read_line(&mut BufReader::with_capacity(1, &client)), "STARTTLS\n");
    client.write_all(b"b NOOP in the clear\r\n").expect("written");
    let mut alert = Vec::new();
    client.read_to_end(&mut alert).expect("to the end");
    assert_eq!(alert.first(), Some(&21), "a TLS alert: {alert:?}");
    let (ending, engine) = server.join().expect("no panic");
    assert!(matches!(ending, Ending::Handshake(HandshakeError::Tls(_))), "{ending:?}");
    assert!(engine.heard.is_empty());
}

#[test]
fn without_a_certificate_there_is_no_handshake() {
    let Served { mut client, signals: _signals, server } = serve(None);
    client.write_all(b"STARTTLS\n").expect("written");
    let (ending, _) = server.join().expect("no panic");
    assert!(matches!(ending, Ending::Handshake(HandshakeError::Certificate(_))), "{ending:?}");
}
