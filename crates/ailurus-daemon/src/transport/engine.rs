//! What the loop and a protocol engine are to each other.

use ailurus_sys::signals::{self, Signal as SystemSignal, SignalPipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;

/// A protocol engine as the loop sees it: see `ailurus_server::imap::Session`, which is one.
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
    /// Tells that the connection is inside TLS from here on, and what is known of it.
    fn handle_tls_started(&mut self, secured: Secured, now: Instant);
}

/// The cause of an end of file (spec/imapd.md §15).
pub const CLIENT_GONE: &str = "Unexpected client disconnect";

/// What is known of a connection inside TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Secured {
    /// The data of the channel binding `tls-exporter` (RFC 9266).
    pub exporter: Option<[u8; 32]>,
    /// The client's certificate in DER, if it showed one that our authorities vouch for.
    pub certificate: Option<Vec<u8>>,
}

/// What an engine wants of the connection, after everything it said before is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// The TLS handshake.
    StartTls,
    /// The end, with this exit status.
    Close(u8),
}

/// The signals that an engine knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGUSR2: another process wants the mailbox lock (the kiss of death).
    Kiss,
    /// SIGTERM.
    Terminate,
    /// SIGHUP, or SIGINT of somebody at the terminal.
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
            (SystemSignal::Interrupt, Signal::Hangup),
            (SystemSignal::User2, Signal::Kiss),
        ];
        let gravest = order.into_iter().find(|(signal, _)| came.contains(*signal));
        self.next = gravest.map(|(_, signal)| signal).or(self.next);
    }
}
