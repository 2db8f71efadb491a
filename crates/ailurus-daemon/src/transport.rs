//! One connection: octets between descriptors and a protocol engine, by poll(2).
//!
//! The loop takes input only while the engine wants some and all earlier output is written, so that a peer that writes
//! without reading (or reads slowly) costs a bounded buffer each way and nothing more. What the engine has to say
//! to one batch of input goes out with one write. Signals are looked at between steps, never inside one.
//!
//! Sockets are read and written with `MSG_DONTWAIT`, so that the descriptor's own flags, which others may share,
//! stay as they are. Pipes and terminals are only touched when poll says that this does not block.

use ailurus_sys::notify::Watch;
use ailurus_sys::signals::{self, Signal as SystemSignal, SignalPipe};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A protocol engine as the loop sees it: see `ailurus_server::Session`, which is one.
pub trait Engine {
    /// Offers input; returns how many octets were taken. The rest is offered again.
    fn handle_input(&mut self, octets: &[u8], now: Instant) -> usize;
    /// Tells whether input is taken now.
    fn wants_input(&self) -> bool;
    /// Appends about 64 KiB of output at most; false if there was none.
    fn poll_output(&mut self, out: &mut Vec<u8>) -> bool;
    /// Returns what the engine wants once its output is written.
    fn poll_request(&mut self) -> Option<Request>;
    /// Returns when [`Engine::handle_timeout`] is to be called.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Tells that the moment has come.
    fn handle_timeout(&mut self, now: Instant);
    /// Returns the files to watch while the engine waits for them to change, if it does.
    fn wake_paths(&self) -> Option<Vec<PathBuf>>;
    /// Tells that one of them may have changed.
    fn handle_wake(&mut self, now: Instant);
    /// Tells that a signal came.
    fn handle_signal(&mut self, signal: Signal, now: Instant);
    /// Tells that the peer is gone, and how: an errno text or [`CLIENT_GONE`].
    fn handle_disconnect(&mut self, cause: &str, now: Instant);
    /// Tells that the connection is inside TLS from here on.
    fn handle_tls_started(&mut self, now: Instant);
}

/// The cause of an end of file (spec/imapd.md §15).
pub const CLIENT_GONE: &str = "Unexpected client disconnect";

/// What an engine wants of the connection, after everything it said before is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// The TLS handshake.
    StartTls,
    /// The end, with this exit status.
    Close(u8),
}

/// The signals of this process.
#[derive(Debug)]
pub struct ProcessSignals {
    pipe: &'static SignalPipe,
    next: Option<Signal>,
}

impl ProcessSignals {
    /// Takes those that the pipe was installed for.
    #[must_use]
    pub fn new(pipe: &'static SignalPipe) -> Self {
        Self { pipe, next: None }
    }
}

impl Signals for ProcessSignals {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn take(&mut self) -> Option<Signal> {
        // Asked before every command: no system call as long as nothing came.
        if self.next.is_none() && !signals::pending().is_empty() {
            self.woken();
        }
        self.next.take()
    }

    /// Signals are a set: of several of one kind, one is seen; of different ones the gravest counts.
    fn woken(&mut self) {
        let came = self.pipe.take();
        let order = [
            (SystemSignal::Terminate, Signal::Terminate),
            (SystemSignal::Hangup, Signal::Hangup),
            (SystemSignal::User2, Signal::Kiss),
        ];
        let gravest = order.into_iter().find(|(signal, _)| came.contains(*signal));
        self.next = gravest.map(|(_, signal)| signal).or(self.next);
    }
}

/// The signals that an engine knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGUSR2: another process wants the mailbox lock (the kiss of death).
    Kiss,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Hangup,
}

/// Where signals are waited for.
pub trait Signals {
    /// Becomes readable when there is something to take.
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Takes the next signal that came.
    fn take(&mut self) -> Option<Signal>;
    /// Tells that the descriptor was readable; afterwards it is not, until something comes.
    fn woken(&mut self) {}
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ending {
    /// The engine closed it; the exit status.
    Closed(u8),
    /// A TLS handshake was asked for and failed.
    Handshake(HandshakeError),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// There is no certificate to do it with; the text is for the log.
    #[error("{0}")]
    Certificate(String),
    /// The peers do not agree.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer took too long.
    #[error("handshake timed out")]
    TimedOut,
    /// A signal ended it.
    #[error("killed in the handshake")]
    Killed,
}

/// Input that waits for the engine, in octets.
const MOST_INPUT: usize = 64 * 1024;
/// Output that is gathered before it is written, in octets; one more round of the engine may come on top.
const FULL_BATCH: usize = 64 * 1024;
/// Output is written after this long even if more is being made.
const BATCH_TIME: Duration = Duration::from_millis(20);
/// A pipe that polls writable takes this much without blocking (PIPE_BUF).
const PIPE_PIECE: usize = 4096;
/// How long a peer may take none of our output.
const STALL_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The same once the engine has closed the session.
const LINGER_LIMIT: Duration = Duration::from_secs(20);
/// How long a handshake may take in all.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
/// How often a watched mailbox is looked at where no notice comes (NFS).
const WAKE_ROUND: Duration = Duration::from_secs(5);

/// A connection and what is on its way through it.
pub struct Transport {
    input: OwnedFd,
    output: OwnedFd,
    socket: bool,
    link: Link,
    incoming: Vec<u8>,
    /// Output of this batch that is yet to be encrypted.
    plaintext: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    ended: Option<String>,
    stalled: Option<Instant>,
    watched: Vec<PathBuf>,
    watches: Vec<Watch>,
}

enum Link {
    Plain,
    Tls(Box<ServerConnection>),
}

/// Whether the engine could do more if only its output were written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Advance {
    Blocked,
    Waiting,
}

impl Transport {
    /// Takes a connection: one socket twice, or two ends of pipes.
    #[must_use]
    pub fn new(input: OwnedFd, output: OwnedFd) -> Self {
        let socket = rustix::net::sockopt::socket_type(&output).is_ok()
            && rustix::net::sockopt::socket_type(&input).is_ok();
        if socket {
            ailurus_sys::socket::set_nodelay(&output).ok(); // fails for sockets that are not TCP
        }
        Self {
            input,
            output,
            socket,
            link: Link::Plain,
            incoming: Vec::new(),
            plaintext: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            ended: None,
            stalled: None,
            watched: Vec::new(),
            watches: Vec::new(),
        }
    }

    /// Drives the engine until it closes the connection.
    ///
    /// `tls` gives the configuration when the engine asks for TLS; its error is the text for the log.
    pub fn run(
        &mut self,
        engine: &mut dyn Engine,
        signals: &mut dyn Signals,
        tls: &mut dyn FnMut() -> Result<Arc<ServerConfig>, String>,
    ) -> Ending {
        let mut request = None;
        let mut told_of_end = false;
        loop {
            let now = Instant::now();
            while let Some(signal) = signals.take() {
                engine.handle_signal(signal, now);
            }
            if engine.poll_timeout().is_some_and(|at| at <= now) {
                engine.handle_timeout(now);
            }
            let advance = self.advance(engine, &mut request, now);
            self.encrypt();
            self.flush();
            if self.has_stalled(request) {
                self.end("Connection timed out");
            }
            if self.is_drained() {
                match request.take() {
                    Some(Request::Close(status)) => {
                        self.say_goodbye();
                        return Ending::Closed(status);
                    }
                    Some(Request::StartTls) => {
                        if let Err(error) = tls()
                            .map_err(HandshakeError::Certificate)
                            .and_then(|c| self.start_tls(c, signals))
                        {
                            return Ending::Handshake(error);
                        }
                        engine.handle_tls_started(Instant::now());
                        continue;
                    }
                    None if told_of_end && advance == Advance::Waiting => return Ending::Closed(1),
                    None if advance == Advance::Blocked => continue,
                    None => {}
                }
            }
            if let Some(cause) = self.end_to_tell(engine, told_of_end, advance) {
                told_of_end = true;
                engine.handle_disconnect(&cause, Instant::now());
                continue;
            }
            self.wait(engine, signals, request);
        }
    }

    /// Does the TLS handshake; whatever plaintext came before it and was not yet taken is thrown away.
    ///
    /// # Errors
    ///
    /// The connection is of no more use; the peer got an alert if it can read one.
    pub fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        signals: &mut dyn Signals,
    ) -> Result<(), HandshakeError> {
        // RFC 3501 §6.2.1 and CVE-2011-0411: nothing that was said in the clear is obeyed inside TLS.
        self.incoming.clear();
        let mut tls = ServerConnection::new(config)?;
        tls.set_buffer_limit(None); // emptied after every write
        self.link = Link::Tls(Box::new(tls));
        let deadline = Instant::now() + HANDSHAKE_LIMIT;
        loop {
            self.take_tls_output();
            self.flush();
            match self.ended.take() {
                Some(cause) => return Err(io::Error::other(cause).into()),
                None if !self.is_handshaking() && self.is_drained() => return Ok(()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HandshakeError::TimedOut);
            }
            let writing = !self.is_drained();
            if self.poll(!writing, Some(left), signals).signal {
                signals.woken();
            }
            if signals.take().is_some_and(|signal| signal != Signal::Kiss) {
                return Err(HandshakeError::Killed);
            }
            if !writing && let Err(error) = self.read_tls() {
                self.take_tls_output(); // the alert that says why
                self.flush();
                return Err(error);
            }
        }
    }

    /// Moves input into the engine and its output into our buffer, until one side can do no more.
    fn advance(&mut self, engine: &mut dyn Engine, request: &mut Option<Request>, now: Instant) -> Advance {
        loop {
            if self.unsent() >= FULL_BATCH || (self.unsent() > 0 && now.elapsed() > BATCH_TIME) {
                return Advance::Blocked;
            }
            if request.is_none() {
                *request = engine.poll_request();
            }
            let mut moved = self.take_output(engine);
            if request.is_none() {
                *request = engine.poll_request();
            }
            if request.is_none() && engine.wants_input() && !self.incoming.is_empty() {
                let taken = engine.handle_input(&self.incoming, now);
                self.incoming.drain(..taken.min(self.incoming.len()));
                moved |= taken > 0;
            }
            if !moved {
                return Advance::Waiting;
            }
        }
    }

    fn take_output(&mut self, engine: &mut dyn Engine) -> bool {
        let deaf = self.is_deaf();
        let batch = match self.link {
            Link::Plain => &mut self.outgoing,
            Link::Tls(_) => &mut self.plaintext,
        };
        let before = batch.len();
        let more = engine.poll_output(batch);
        if deaf {
            batch.truncate(before);
        }
        more
    }

    /// Encrypts the batch as a whole, so that small responses share records.
    fn encrypt(&mut self) {
        if let Link::Tls(tls) = &mut self.link {
            let result = tls.writer().write_all(&self.plaintext);
            self.plaintext.clear();
            if let Err(error) = result {
                self.end(&io_text(&error));
            }
            self.take_tls_output();
        }
    }

    /// Moves what TLS wants written into the output buffer.
    fn take_tls_output(&mut self) {
        let Link::Tls(tls) = &mut self.link else { return };
        while tls.wants_write() {
            // Into memory: cannot fail, and if it did, the handshake or the peer would.
            if tls.write_tls(&mut self.outgoing).is_err() {
                break;
            }
        }
        if self.is_deaf() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    /// Returns what to tell the engine if the input has ended and nothing of it is left to do.
    fn end_to_tell(&self, engine: &dyn Engine, told: bool, advance: Advance) -> Option<String> {
        let cause = self.ended.as_ref().filter(|_| !told)?;
        // Commands that came before a half-close are done first; a write error makes them pointless.
        let broken = self.is_deaf();
        let done = advance == Advance::Waiting && engine.wants_input() && self.is_drained();
        (broken || done).then(|| cause.clone())
    }

    /// Tells whether nobody hears what we say: more than that the peer has said its last word.
    fn is_deaf(&self) -> bool {
        self.ended.as_deref().is_some_and(|cause| cause != CLIENT_GONE)
    }

    fn end(&mut self, cause: &str) {
        if self.ended.as_deref().is_none_or(|before| before == CLIENT_GONE) {
            self.ended = Some(cause.to_owned());
        }
        self.outgoing = Vec::new();
        self.sent = 0;
    }

    fn unsent(&self) -> usize {
        self.plaintext.len() + self.outgoing.len() - self.sent
    }

    fn is_drained(&self) -> bool {
        self.unsent() == 0
    }

    fn is_handshaking(&self) -> bool {
        matches!(&self.link, Link::Tls(tls) if tls.is_handshaking())
    }

    fn has_stalled(&self, request: Option<Request>) -> bool {
        let limit = if matches!(request, Some(Request::Close(_))) { LINGER_LIMIT } else { STALL_LIMIT };
        self.stalled.is_some_and(|since| since.elapsed() > limit)
    }

    /// Writes what the descriptor takes now.
    fn flush(&mut self) {
        while self.sent < self.outgoing.len() {
            match self.write_some() {
                Ok(0) | Err(Errno::AGAIN) => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return;
                }
                Ok(written) => {
                    self.sent += written;
                    self.stalled = None;
                }
                Err(Errno::INTR) => {}
                Err(error) => return self.end(&errno_text(error)),
            }
        }
        self.stalled = None;
        self.outgoing.clear();
        self.sent = 0;
    }

    fn write_some(&self) -> rustix::io::Result<usize> {
        let rest = &self.outgoing[self.sent..];
        if self.socket {
            return rustix::net::send(&self.output, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        let mut ready = [PollFd::new(&self.output, PollFlags::OUT)];
        if poll(&mut ready, Some(&Timespec::default()))? == 0 {
            return Err(Errno::AGAIN);
        }
        rustix::io::write(&self.output, &rest[..rest.len().min(PIPE_PIECE)])
    }

    fn wait(&mut self, engine: &mut dyn Engine, signals: &mut dyn Signals, request: Option<Request>) {
        let reading = self.ended.is_none()
            && self.is_drained()
            && self.incoming.len() < MOST_INPUT
            && request.is_none()
            && (engine.wants_input() || self.incoming.is_empty());
        let now = Instant::now();
        let paths = engine.wake_paths();
        let watching = paths.is_some();
        if self.watch_for(paths.unwrap_or_default()) && watching {
            // What changed before the watch began gives no notice.
            return engine.handle_wake(now);
        }
        let limit = if matches!(request, Some(Request::Close(_))) { LINGER_LIMIT } else { STALL_LIMIT };
        let until = [
            engine.poll_timeout(),
            self.stalled.map(|since| since + limit),
            watching.then(|| now + WAKE_ROUND),
        ];
        let left = until.into_iter().flatten().min().map(|at| at.saturating_duration_since(now));
        let ready = self.poll(reading, left, signals);
        if ready.signal {
            signals.woken();
        }
        if ready.input
            && let Err(error) = self.read()
        {
            self.end(&error);
        }
        // Drained before the engine looks: what changes while it looks is a new notice.
        let mut noticed = false;
        for watch in &mut self.watches {
            noticed |= ready.watch && watch.drain();
        }
        if watching && (noticed || ready.timed_out) {
            engine.handle_wake(Instant::now());
        }
    }

    /// Watches these files; returns whether they are other ones than before.
    fn watch_for(&mut self, paths: Vec<PathBuf>) -> bool {
        if self.watched == paths {
            return false;
        }
        let watch = |path: &PathBuf| if path.is_dir() { Watch::directory(path) } else { Watch::file(path) };
        self.watches = paths.iter().filter_map(watch).collect();
        self.watched = paths;
        true
    }

    fn poll(&self, reading: bool, left: Option<Duration>, signals: &dyn Signals) -> Ready {
        let mut waiting = vec![PollFd::from_borrowed_fd(signals.descriptor(), PollFlags::IN)];
        let mut add = |descriptor, flags| {
            waiting.push(PollFd::from_borrowed_fd(descriptor, flags));
            waiting.len() - 1
        };
        let input = reading.then(|| add(self.input.as_fd(), PollFlags::IN));
        if !self.is_drained() {
            add(self.output.as_fd(), PollFlags::OUT);
        }
        let watches: Vec<_> = self.watches.iter().map(|watch| add(watch.as_fd(), PollFlags::IN)).collect();
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let count = poll(&mut waiting, timeout.as_ref()).unwrap_or(0);
        let came = |index: usize| !waiting[index].revents().is_empty();
        Ready {
            signal: came(0),
            input: input.is_some_and(came),
            watch: watches.into_iter().any(came),
            timed_out: count == 0,
        }
    }

    /// Reads what has come; the error is the cause for the engine.
    fn read(&mut self) -> Result<(), String> {
        match self.link {
            Link::Plain => self.read_plain().map_err(errno_text),
            Link::Tls(_) => self.read_tls().map_err(|error| match error {
                HandshakeError::Io(error) => io_text(&error),
                other => other.to_string(),
            }),
        }
    }

    fn read_plain(&mut self) -> rustix::io::Result<()> {
        self.incoming.reserve_exact(MOST_INPUT.saturating_sub(self.incoming.len()));
        let room = spare_capacity(&mut self.incoming);
        let result = if self.socket {
            rustix::net::recv(&self.input, room, RecvFlags::DONTWAIT).map(|(received, _)| received)
        } else {
            rustix::io::read(&self.input, room)
        };
        match result {
            Ok(0) => self.ended = Some(CLIENT_GONE.into()),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_tls(&mut self) -> Result<(), HandshakeError> {
        let Link::Tls(tls) = &mut self.link else { return Ok(()) };
        let mut descriptor = Descriptor { input: &self.input, socket: self.socket };
        loop {
            match tls.read_tls(&mut descriptor) {
                Ok(0) => {
                    self.ended = Some(CLIENT_GONE.into());
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let state = tls.process_new_packets()?;
            let start = self.incoming.len();
            self.incoming.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut self.incoming[start..])?;
            if state.peer_has_closed() {
                self.ended = Some(CLIENT_GONE.into());
                break;
            }
            if !self.socket || tls.wants_write() || self.incoming.len() >= MOST_INPUT {
                break;
            }
        }
        self.take_tls_output();
        Ok(())
    }

    /// Ends TLS in order and tells the peer that nothing more comes.
    fn say_goodbye(&mut self) {
        if self.is_deaf() {
            return;
        }
        if let Link::Tls(tls) = &mut self.link {
            tls.send_close_notify();
            self.take_tls_output();
            self.flush();
        }
        if self.socket {
            rustix::net::shutdown(&self.output, rustix::net::Shutdown::Write).ok();
        }
    }
}

struct Ready {
    signal: bool,
    input: bool,
    watch: bool,
    timed_out: bool,
}

/// The input as `Read`, for TLS.
struct Descriptor<'t> {
    input: &'t OwnedFd,
    socket: bool,
}

impl Read for Descriptor<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(receive(self.input, self.socket, room)?)
    }
}

fn receive(input: &OwnedFd, socket: bool, room: &mut [u8]) -> rustix::io::Result<usize> {
    if socket {
        let (received, _) = rustix::net::recv(input, room, RecvFlags::DONTWAIT)?;
        return Ok(received);
    }
    rustix::io::read(input, room)
}

/// Returns what strerror(3) says, without the number that Rust appends: people search logs for it.
pub(crate) fn errno_text(error: Errno) -> String {
    io_text(&error.into())
}

pub(crate) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{CertificateStore, server_config};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::io::{BufRead, BufReader};
    use std::net::{Shutdown, TcpListener, TcpStream};
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
        fn handle_tls_started(&mut self, _now: Instant) {
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
                server_config(store, None).map_err(|error| error.to_string())
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
            Transport::new(from_client, to_client).run(
                &mut Echo::default(),
                &mut FakeSignals(taken),
                &mut none,
            )
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
}
