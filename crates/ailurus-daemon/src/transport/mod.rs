//! One connection: octets between descriptors and a protocol engine, by poll(2).
//!
//! The loop takes input only while the engine wants some and all earlier output is written, so that a peer that writes
//! without reading (or reads slowly) costs a bounded buffer each way and nothing more. What the engine has to say
//! to one batch of input goes out with one write. Signals are looked at between steps, never inside one.
//!
//! Sockets are read and written with `MSG_DONTWAIT`, so that the descriptor's own flags, which others may share,
//! stay as they are. Pipes and terminals are only touched when poll says that this does not block.

mod descriptor;
mod encrypted;
mod engine;
#[cfg(test)]
mod tests;

pub(crate) use descriptor::io_text;
pub use encrypted::HandshakeError;
pub use engine::{CLIENT_GONE, Engine, ProcessSignals, Request, Secured, Signal, Signals};

use ailurus_sys::notify::Watch;
use encrypted::Link;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConfig;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a connection ended.
#[derive(Debug)]
pub enum Ending {
    /// The engine closed it; the exit status.
    Closed(u8),
    /// A TLS handshake was asked for and failed.
    Handshake(HandshakeError),
}

/// Input that waits for the engine, in octets.
const MOST_INPUT: usize = 64 * 1024;
/// Output that is gathered before it is written, in octets; one more round of the engine may come on top.
const FULL_BATCH: usize = 64 * 1024;
/// Output is written after this long even if more is being made.
const BATCH_TIME: Duration = Duration::from_millis(20);
/// How long a peer may take none of our output.
const STALL_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The same once the engine has closed the session.
const LINGER_LIMIT: Duration = Duration::from_secs(20);
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
                        let config = tls().map_err(HandshakeError::Certificate);
                        match config.and_then(|config| self.start_tls(config, signals)) {
                            Ok(secured) => engine.handle_tls_started(secured, Instant::now()),
                            Err(error) => return Ending::Handshake(error),
                        }
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

    fn has_stalled(&self, request: Option<Request>) -> bool {
        let limit = if matches!(request, Some(Request::Close(_))) { LINGER_LIMIT } else { STALL_LIMIT };
        self.stalled.is_some_and(|since| since.elapsed() > limit)
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
}

struct Ready {
    signal: bool,
    input: bool,
    watch: bool,
    timed_out: bool,
}
