//! The state machine of a POP session.

use crate::base::Base;
use crate::config::Config;
use crate::event::{Event, Facility, How, Priority, Signal};
use crate::login::{Attempt, Exchange};
use crate::pop::login::{Delay, Guest};
use crate::pop::maildrop::{Maildrop, Unusable, Updated};
use crate::pop::timer::LOGIN;
use crate::pop::transmission::Transmission;
use crate::pop3::Scan;
use crate::session::{Outgoing, give_output};
use ailurus_proto::{Line, Lines, imap};
use ailurus_store::{Error, Level, Mailboxes, Notice, Result, Wake};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// One session with one client, in the words of `P`.
///
/// Whoever runs it offers input while [`Session::wants_input`], writes what [`Session::poll_output`] gives, acts on
/// [`Session::poll_event`], and calls [`Session::handle_timeout`] when [`Session::poll_timeout`] has come.
pub struct Session<P> {
    pub(crate) base: Base,
    pub(crate) protocol: P,
    pub(crate) lines: Lines,
    /// What is to be written, in order.
    pub(crate) output: Vec<u8>,
    /// The mailboxes of the user, once somebody has come in.
    pub(crate) mailboxes: Option<Mailboxes>,
    /// The mailbox that is open: that there is one is what POP3 calls the TRANSACTION state.
    pub(crate) maildrop: Option<Box<Maildrop>>,
    pub(crate) work: Work,
    started: Instant,
    pub(crate) now: Instant,
    /// Since when the client has been expected to go on.
    pub(crate) waiting_since: Instant,
    /// The client took output after `now`: it may have done so for long.
    pub(crate) now_is_old: bool,
}

/// What the session is about.
pub(crate) enum Work {
    /// It waits for a command.
    Line,
    /// It waits for a SASL response.
    Sasl(Box<Exchange>),
    /// It waits for [`Session::handle_login`].
    Login(Box<Attempt>),
    /// It lets time pass before it says that a login failed.
    Delay(Box<Delay>),
    /// It makes a long response as the client takes it.
    Task(Box<Task>),
    /// It waits for [`Session::handle_tls_started`].
    StartTls,
    /// It is over.
    Closed,
}

/// A response that is made in steps.
pub(crate) enum Task {
    /// All messages of the maildrop are gone through.
    Scan(Scan),
    /// A message is sent.
    Transmit(Transmission),
}

/// How a step of a task ended.
pub(crate) enum Step {
    /// There is more to do.
    Continue,
    /// There is more to do, after whoever runs the session has looked at the rest of the world.
    Yield,
    /// The response is complete.
    Done,
}

/// Octets that one [`Session::poll_output`] appends, about.
pub(crate) const OUTPUT: usize = 64 * 1024;
/// A session obeys the kiss of death only if its client has said nothing for so long (spec/pop.md §5).
const KISS_OBEYED_AFTER: Duration = Duration::from_secs(300);

/// What POP3 and POP2 differ in.
pub(crate) trait Protocol: Sized {
    /// The longest command line.
    const MAX_LINE: usize;
    /// The longest line of a SASL exchange.
    const MAX_SASL_LINE: usize;
    /// How long a client that has come in may be silent.
    const IDLE: Duration;
    /// What a client is told that was silent for too long.
    const AUTOLOGOUT: &'static str;
    /// What a client is told that takes too long to log in.
    const LOGIN_OVER: &'static str;
    /// What a client is told whose mailbox another program wants.
    const KISSED: &'static str;
    /// What a client is told when the process is to end, and what is logged then.
    const TERMINATED: (&'static str, &'static str);

    /// Greets.
    fn greet(session: &mut Session<Self>);
    /// Does what a line says.
    fn command(session: &mut Session<Self>, line: &[u8]);
    /// Answers a line that was too long.
    fn line_too_long(session: &mut Session<Self>);
    /// Answers a SASL exchange that came to nothing, before anybody's password was looked at.
    fn exchange_failed(session: &mut Session<Self>);
    /// Answers a login that failed.
    fn login_failed(session: &mut Session<Self>, how: How);
    /// Answers a right password of a user who has as many sessions as are allowed.
    fn too_many_sessions(session: &mut Session<Self>);
    /// Answers a login.
    fn entered(session: &mut Session<Self>, guest: &Guest, maildrop: Maildrop);
    /// Answers a login of somebody whose mailbox cannot be had; `in_use` if that is because another program has it. The
    /// session ends then.
    fn left_outside(session: &mut Session<Self>, guest: &Guest, why: &Unusable, in_use: bool);
}

#[expect(private_bounds, reason = "POP3 and POP2 are all that there is")]
impl<P: Protocol> Session<P> {
    pub(crate) fn begin(config: Config, protocol: P, now: Instant) -> Self {
        let mut session = Self {
            base: Base::new(config),
            protocol,
            lines: Lines::new(P::MAX_LINE),
            output: Vec::new(),
            mailboxes: None,
            maildrop: None,
            work: Work::Line,
            started: now,
            now,
            waiting_since: now,
            now_is_old: false,
        };
        P::greet(&mut session);
        session
    }

    /// Takes octets from the client and returns how many; the rest is to be offered again later.
    #[must_use]
    pub fn handle_input(&mut self, octets: &[u8], now: Instant) -> usize {
        self.now = now;
        if std::mem::take(&mut self.now_is_old) {
            self.waiting_since = now;
        }
        let mut taken = 0;
        loop {
            self.advance();
            if !self.wants_input() || taken == octets.len() {
                return taken;
            }
            taken += self.lines.push(&octets[taken..]);
        }
    }

    /// Tells whether input is of use now: not while a command is being done or an event awaits its answer.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        matches!(self.work, Work::Line | Work::Sasl(_)) && self.output.len() < OUTPUT
    }

    /// Appends octets to be written to the client, about 64 KiB at most. Returns `false` when there is nothing to write and
    /// nothing more to do for now; until then it is to be called again, also when it appended nothing.
    pub fn poll_output(&mut self, out: &mut Vec<u8>) -> bool {
        give_output(self, out)
    }

    /// Returns what the session wants done.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.base.events.pop_front()
    }

    /// Returns what to watch: nothing, a POP client asks for no news.
    #[must_use]
    pub fn wake(&self) -> Option<Wake> {
        None
    }

    /// Takes note that the mailbox may have changed.
    pub fn handle_wake(&mut self, now: Instant) {
        self.now = now;
    }

    /// Takes note of a signal. The kiss of death is obeyed by a client's session only if the client seems to be gone.
    pub fn handle_signal(&mut self, signal: Signal, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::Closed) {
            return;
        }
        let (text, reason) = match signal {
            Signal::Kiss if !self.is_deserted() => return,
            Signal::Kiss => (Some(P::KISSED), "Killed (lost mailbox lock)"),
            Signal::Terminate => (Some(P::TERMINATED.0), P::TERMINATED.1),
            Signal::Hangup => (None, "Hangup"),
        };
        if signal == Signal::Terminate {
            // Nothing is written any more: whoever sends SIGTERM wants the process gone.
            self.maildrop = None;
        }
        if let Some(text) = text.filter(|_| !self.is_within_response()) {
            self.answer(text);
        }
        self.end(reason, 1);
    }

    fn is_deserted(&self) -> bool {
        let waits = matches!(self.work, Work::Line) && self.output.is_empty() && !self.now_is_old;
        waits && self.now.saturating_duration_since(self.waiting_since) > KISS_OBEYED_AFTER
    }

    /// Takes note that the host shuts down, of which POP has nothing to say.
    pub fn shut_down(&mut self, now: Instant) {
        self.now = now;
    }

    /// Takes note that the client is gone: closes the mailbox as it is and logs why. `cause` is the error's text, or
    /// `Unexpected client disconnect`.
    pub fn handle_disconnect(&mut self, cause: &str, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::Closed) {
            return;
        }
        let context = match &self.work {
            _ if !self.output.is_empty() => "writing text",
            Work::Task(_) => "writing text",
            Work::Sasl(_) => "reading authentication",
            _ => "reading line",
        };
        self.end(&format!("{cause}, while {context}"), 1);
    }

    /// Tells whether a response was begun and not ended.
    pub(crate) fn is_within_response(&self) -> bool {
        matches!(self.work, Work::Task(_))
    }

    /// Does what can be done without more input or answers, until enough output is waiting. Returns whether there is
    /// more to do at once.
    pub(crate) fn advance(&mut self) -> bool {
        loop {
            if self.output.len() >= OUTPUT {
                return true;
            }
            match &self.work {
                Work::Task(_) => {
                    if !self.run_step() {
                        return true;
                    }
                }
                Work::Line | Work::Sasl(_) => {
                    if !self.take_line() {
                        return false;
                    }
                }
                Work::Login(_) | Work::Delay(_) | Work::StartTls | Work::Closed => return false,
            }
        }
    }

    fn take_line(&mut self) -> bool {
        let Some(line) = self.lines.take() else { return false };
        self.waiting_since = self.now;
        match (line, &self.work) {
            (Line::Whole(line), Work::Sasl(_)) => {
                let line = Zeroizing::new(line);
                self.sasl_response(ailurus_auth::decode_response(&line).ok());
            }
            (Line::TooLong, Work::Sasl(_)) => self.sasl_response(None),
            (Line::Whole(mut line), _) => {
                P::command(self, &line);
                zeroize::Zeroize::zeroize(&mut line);
                self.lines.reuse(line);
                self.command_ended();
            }
            (Line::TooLong, _) => {
                P::line_too_long(self);
                self.command_ended();
            }
        }
        true
    }

    /// Begins a response that is made in steps.
    pub(crate) fn run(&mut self, task: Task) {
        self.work = Work::Task(Box::new(task));
    }

    /// Does one step of the response; `false` when somebody else's turn has come.
    fn run_step(&mut self) -> bool {
        let (Work::Task(task), Some(maildrop)) = (&mut self.work, &mut self.maildrop) else {
            self.work = Work::Line;
            return true;
        };
        let step = match task.as_mut() {
            Task::Scan(scan) => scan.step(maildrop, &mut self.output, OUTPUT),
            Task::Transmit(transmission) => {
                match transmission.step(maildrop.mailbox.as_mut(), &mut self.output, OUTPUT) {
                    Ok(true) => Step::Done,
                    Ok(false) => Step::Continue,
                    Err(error) => {
                        self.abort(&error);
                        return true;
                    }
                }
            }
        };
        match step {
            Step::Continue => true,
            Step::Yield => false,
            Step::Done => {
                self.work = Work::Line;
                self.command_ended();
                true
            }
        }
    }

    /// Ends a session in the midst of a response that cannot be ended.
    fn abort(&mut self, error: &Error) {
        let text = format!("{error} {}", self.base.who());
        self.base.log(Facility::Mail, Priority::Alert, text);
        self.end("Session ended within a response", 1);
    }

    /// Sets the timer for the next command.
    pub(crate) fn command_ended(&mut self) {
        if matches!(self.work, Work::Line) {
            self.waiting_since = self.now;
            if self.mailboxes.is_none() && self.now - self.started >= LOGIN {
                self.answer(P::LOGIN_OVER);
                self.end("Autologout", 0);
            }
        }
    }

    /// Writes the notes of the session into the mailbox and closes it. Whatever the client asked for is done when this
    /// returns, or none of it; the error is in the log.
    pub(crate) fn update(&mut self) -> Option<(Updated, Result<(), ()>)> {
        let maildrop = self.maildrop.take()?;
        let (updated, result) = maildrop.update();
        self.take_notices();
        let result = result.map_err(|error| {
            let text = format!("Error updating mailbox {} error={error}", self.base.who());
            self.base.log(Facility::Mail, Priority::Error, text);
        });
        Some((updated, result))
    }

    /// Ends the session: closes the mailbox without any of the changes that are noted, logs why, asks for the end of the
    /// connection.
    pub(crate) fn end(&mut self, reason: &str, exit_status: u8) {
        if matches!(self.work, Work::Closed) {
            return;
        }
        self.work = Work::Closed;
        if let Some(maildrop) = self.maildrop.take() {
            let closed = maildrop.mailbox.close();
            self.take_notices();
            if let Err(error) = closed {
                let text = format!("Error closing mailbox {} error={error}", self.base.who());
                self.base.log(Facility::Mail, Priority::Error, text);
            }
        }
        self.base.close(reason, exit_status);
    }

    /// Takes what the drivers left to tell; there is nobody to be told but the log.
    pub(crate) fn take_notices(&mut self) {
        let notices = self.mailboxes.as_ref().map(|mailboxes| mailboxes.environment().notices.take());
        self.log_notices(notices.unwrap_or_default());
    }

    pub(crate) fn log_notices(&mut self, notices: Vec<Notice>) {
        for Notice { level, text } in notices {
            let (priority, text) = match level {
                Level::Info | Level::Parse => continue,
                Level::Warning => (Priority::Debug, text),
                Level::Error => (Priority::Notice, text),
                Level::Log => (Priority::Warning, format!("{text} {}", self.base.who())),
                Level::Record => (Priority::Info, format!("{text} {}", self.base.who())),
            };
            self.base.log(Facility::Mail, priority, text);
        }
    }

    /// Appends a line.
    pub(crate) fn answer(&mut self, text: &str) {
        imap::print::text(&mut self.output, text);
        self.output.extend_from_slice(b"\r\n");
    }
}

impl<P: Protocol> Outgoing for Session<P> {
    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn limit(&self) -> usize {
        OUTPUT
    }

    fn advance(&mut self) -> bool {
        self.advance()
    }

    fn output_taken(&mut self) {
        self.now_is_old = true;
    }
}
