//! A session of any protocol, as whoever runs it sees it.

use crate::config::TlsChannel;
use crate::event::{Event, Login, LoginFailure, Signal};
use crate::{imap, pop2, pop3};
use ailurus_store::Wake;
use std::time::Instant;

/// What all sessions have; each of them has it by itself too. The order of calls is told at [`imap::Session`].
pub trait Session {
    /// Takes octets from the client and returns how many; the rest is to be offered again later.
    fn handle_input(&mut self, octets: &[u8], now: Instant) -> usize;
    /// Tells whether input is of use now.
    fn wants_input(&self) -> bool;
    /// Appends octets to be written to the client; `false` when there is nothing more to do for now.
    fn poll_output(&mut self, out: &mut Vec<u8>) -> bool;
    /// Returns what the session wants done.
    fn poll_event(&mut self) -> Option<Event>;
    /// Returns when [`Session::handle_timeout`] is to be called, at the latest.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
    /// Returns what to watch for changes.
    fn wake(&self) -> Option<Wake>;
    /// Takes note that what is watched may have changed.
    fn handle_wake(&mut self, now: Instant);
    /// Takes note of a signal.
    fn handle_signal(&mut self, signal: Signal, now: Instant);
    /// Takes note that the host shuts down.
    fn shut_down(&mut self, now: Instant);
    /// Takes note that the client is gone, and how.
    fn handle_disconnect(&mut self, cause: &str, now: Instant);
    /// Takes the answer to [`Event::CheckPassword`] or [`Event::BecomeUser`].
    fn handle_login(&mut self, login: Result<Login, LoginFailure>, now: Instant);
    /// Takes note that the connection is encrypted now.
    fn handle_tls_started(&mut self, channel: TlsChannel, now: Instant);
}

/// What [`give_output`] asks of a session.
pub(crate) trait Outgoing {
    /// What is to be written.
    fn output(&mut self) -> &mut Vec<u8>;
    /// Octets that are given at once, about.
    fn limit(&self) -> usize;
    /// Does what can be done without more input or answers, until enough output is waiting. Returns whether there is more to do at
    /// once.
    fn advance(&mut self) -> bool;
    /// Takes note that the client took output, for which it may have needed long.
    fn output_taken(&mut self);
}

/// Appends octets to be written to the client, going on with what the session does. Returns `false` when there is nothing to
/// write and nothing more to do for now.
pub(crate) fn give_output(session: &mut impl Outgoing, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    loop {
        if out.is_empty() {
            std::mem::swap(out, session.output());
        } else {
            out.append(session.output());
        }
        if out.len() - before >= session.limit() {
            break;
        }
        let more = session.advance();
        if session.output().is_empty() {
            return more || out.len() > before;
        }
        session.output_taken();
    }
    session.output_taken();
    true
}

macro_rules! sessions {
    ($($session:ty),*) => {$(
        impl Session for $session {
            fn handle_input(&mut self, octets: &[u8], now: Instant) -> usize {
                self.handle_input(octets, now)
            }
            fn wants_input(&self) -> bool {
                self.wants_input()
            }
            fn poll_output(&mut self, out: &mut Vec<u8>) -> bool {
                self.poll_output(out)
            }
            fn poll_event(&mut self) -> Option<Event> {
                self.poll_event()
            }
            fn poll_timeout(&self) -> Option<Instant> {
                self.poll_timeout()
            }
            fn handle_timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }
            fn wake(&self) -> Option<Wake> {
                self.wake()
            }
            fn handle_wake(&mut self, now: Instant) {
                self.handle_wake(now);
            }
            fn handle_signal(&mut self, signal: Signal, now: Instant) {
                self.handle_signal(signal, now);
            }
            fn shut_down(&mut self, now: Instant) {
                self.shut_down(now);
            }
            fn handle_disconnect(&mut self, cause: &str, now: Instant) {
                self.handle_disconnect(cause, now);
            }
            fn handle_login(&mut self, login: Result<Login, LoginFailure>, now: Instant) {
                self.handle_login(login, now);
            }
            fn handle_tls_started(&mut self, channel: TlsChannel, now: Instant) {
                self.handle_tls_started(channel, now);
            }
        }
    )*};
}

sessions!(imap::Session, pop3::Session, pop2::Session);
