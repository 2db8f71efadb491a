//! The state machine of a session, and the order in which things happen in it.

use crate::base::Base;
use crate::config::{Config, Start};
use crate::event::{Event, Facility, Priority, Signal};
use crate::imap::append::Appending;
use crate::imap::copy::Copy;
use crate::imap::expunge::Expunge;
use crate::imap::fetch::Fetch;
use crate::imap::idle::Idle;
use crate::imap::list::List;
use crate::imap::list_extended::Extended;
use crate::imap::login::Delay;
use crate::imap::rules::{Limits, Timers};
use crate::imap::search::Search;
use crate::imap::select::Selected;
use crate::imap::store::Storing;
use crate::imap::tagged::{Notes, Outcome};
use crate::login::{Attempt, Exchange};
use crate::session::{Outgoing, give_output};
use ailurus_proto::imap::response::{self, Code, Status};
use ailurus_proto::imap::{CommandName, Splitter, Tag};
use ailurus_store::{Mailboxes, Wake};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

/// One session with one client.
///
/// Whoever runs it offers input while [`Session::wants_input`], writes what [`Session::poll_output`] gives, acts on
/// [`Session::poll_event`], and calls [`Session::handle_timeout`] when [`Session::poll_timeout`] has come.
pub struct Session {
    pub(crate) base: Base,
    pub(crate) timers: Timers,
    pub(crate) limits: Limits,
    pub(crate) state: State,
    pub(crate) work: Work,
    pub(crate) splitter: Splitter,
    /// What is to be written, in order.
    pub(crate) output: Vec<u8>,
    pub(crate) notes: Notes,
    pub(crate) unknown_commands: u32,
    pub(crate) started: Instant,
    pub(crate) now: Instant,
    /// Since when the client has been expected to go on.
    pub(crate) waiting_since: Instant,
    /// Octets of the current literal since then.
    progress: usize,
    /// The client is in the midst of a command.
    pub(crate) continuing: bool,
    /// The client took output after `now`: it may have done so for long.
    pub(crate) now_is_old: bool,
    /// The session ends when the command at hand, or the next one, is answered.
    last_command: bool,
}

/// How far the session is (RFC 3501 §3).
pub(crate) enum State {
    NotAuthenticated,
    Authenticated(Account),
    Selected(Account, Box<Selected>),
    Logout,
}

impl State {
    /// Returns the user who is logged in.
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Self::Authenticated(account) | Self::Selected(account, _) => Some(account),
            Self::NotAuthenticated | Self::Logout => None,
        }
    }
}

/// A user who is logged in.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) mailboxes: Arc<Mailboxes>,
}

impl Account {
    /// Tells whether it is everybody's, to read what is there for everybody.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.mailboxes.environment().mode == ailurus_store::Mode::Anonymous
    }
}

/// What the session is about.
pub(crate) enum Work {
    /// It waits for a command, or the rest of one.
    Command,
    /// It does a command in steps.
    Running(Box<Running>),
    /// It takes the messages of APPEND.
    Append(Box<Appending>),
    /// It waits for DONE.
    Idle(Box<Idle>),
    /// It waits for a SASL response.
    Sasl(Box<(Tag, Exchange)>),
    /// It waits for [`Session::handle_login`].
    Login(Box<(Tag, Attempt)>),
    /// It lets time pass before it says that a login failed.
    Delay(Box<Delay>),
    /// It waits for [`Session::handle_tls_started`].
    StartTls,
    /// It is over.
    Closed,
}

/// A command that is being done.
pub(crate) struct Running {
    pub(crate) tag: Tag,
    pub(crate) name: CommandName,
    pub(crate) task: Task,
}

/// What is left to do of a command.
pub(crate) enum Task {
    Fetch(Box<Fetch>),
    Store(Box<Storing>),
    Search(Box<Search>),
    Copy(Box<Copy>),
    Expunge(Expunge),
    List(Box<List>),
    ListExtended(Box<Extended>),
    /// Look what others did to the mailbox, before the response.
    Refresh(Outcome),
    /// Tell what changed, then the outcome.
    Announce(Outcome),
}

/// How a step of a task ended.
pub(crate) enum Step {
    /// There is more to do, now.
    Continue,
    /// There is more to do, after whoever runs the session has looked at the rest of the world.
    Yield,
    /// Something else is to be done next.
    Next(Task),
    /// The command is done.
    Done(Outcome),
    /// A response was begun that cannot be ended: nothing that the client could understand can follow.
    Abort(String),
}

impl Session {
    /// Begins a session and queues its greeting.
    #[must_use]
    pub fn new(config: Config, start: Start, now: Instant) -> Self {
        let mut session = Self {
            base: Base::new(config),
            timers: Timers::default(),
            limits: Limits::default(),
            state: State::NotAuthenticated,
            work: Work::Command,
            splitter: Splitter::new(),
            output: Vec::new(),
            notes: Notes::default(),
            unknown_commands: 0,
            started: now,
            now,
            waiting_since: now,
            progress: 0,
            continuing: false,
            now_is_old: false,
            last_command: false,
        };
        session.greet(start);
        session
    }

    fn greet(&mut self, start: Start) {
        let Config { host, product, date, .. } = self.base.config.clone();
        match start {
            Start::NotAuthenticated => {
                let capabilities = self.capabilities_of_greeting();
                let code = Code::Capability(&capabilities);
                self.untagged(Status::Ok, Some(code), format_args!("{host} {product} at {date}"));
            }
            Start::PreAuthenticated { user, mailboxes } => {
                self.state = State::Authenticated(Account { mailboxes: Arc::new(mailboxes) });
                self.base.user = Some(user.clone());
                let capabilities = self.capabilities_of_login();
                let code = Code::Capability(&capabilities);
                let text = format!("Pre-authenticated user {user} {host} {product} at {date}");
                self.untagged(Status::PreAuth, Some(code), text);
                let client = &self.base.config.client;
                let text = format!("Preauthenticated user={user:.80} host={client:.80}");
                self.log(Facility::Mail, Priority::Info, text);
            }
        }
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
            let pushed = self.splitter.push(&octets[taken..]);
            if pushed == 0 {
                return taken;
            }
            taken += pushed;
            self.note_progress(pushed);
        }
    }

    /// Tells whether input is of use now: not while a command is being done or an event awaits its answer.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let waits = matches!(self.work, Work::Command | Work::Append(_) | Work::Idle(_) | Work::Sasl(_));
        waits && self.output.len() < self.limits.output
    }

    /// Appends octets to be written to the client, about 64 KiB at most. Returns `false` when there is
    /// nothing to write and nothing more to do for now; until then it is to be called again, also when it appended
    /// nothing (a long SEARCH).
    pub fn poll_output(&mut self, out: &mut Vec<u8>) -> bool {
        give_output(self, out)
    }

    /// Returns what the session wants done.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.base.events.pop_front()
    }

    /// Returns what to watch for changes of the selected mailbox; only while the client is in IDLE.
    #[must_use]
    pub fn wake(&self) -> Option<Wake> {
        match (&self.work, &self.state) {
            (Work::Idle(idle), State::Selected(_, selected)) if !idle.has_faked() => {
                Some(selected.mailbox.wake())
            }
            _ => None,
        }
    }

    /// Takes note that the mailbox may have changed.
    pub fn handle_wake(&mut self, now: Instant) {
        self.now = now;
        self.look_while_idle();
        self.advance();
    }

    /// Takes note of a signal; the session ends.
    pub fn handle_signal(&mut self, signal: Signal, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::Closed) {
            return;
        }
        let (text, reason) = match signal {
            Signal::Kiss => (Some("Killed (lost mailbox lock)"), "Killed (lost mailbox lock)"),
            Signal::Terminate => (Some("Killed (terminated)"), "Killed (terminated)"),
            Signal::Hangup => (None, "Hangup"),
        };
        if signal == Signal::Terminate {
            // Nothing is written any more: whoever sends SIGTERM wants the process gone.
            self.state = State::Logout;
        }
        if let Some(text) = text.filter(|_| !self.is_within_response()) {
            self.untagged(Status::Bye, None, text);
        }
        self.end(reason, 1);
    }

    /// Takes note that the host shuts down: tells the client, and ends the session when the command at hand, or the next
    /// one if there is none, is answered (spec/imapd.md §14). IDLE is answered at once.
    pub fn shut_down(&mut self, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::Closed) || std::mem::replace(&mut self.last_command, true) {
            return;
        }
        self.untagged(Status::Bye, None, "Server shutting down");
        self.end_idle(true);
    }

    /// Takes note that the client is gone: closes the mailbox and logs why. `cause` is the error's text, or
    /// `Unexpected client disconnect`.
    pub fn handle_disconnect(&mut self, cause: &str, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::Closed) {
            return;
        }
        let context = match &self.work {
            _ if !self.output.is_empty() => "writing text",
            Work::Running(_) => "writing text",
            Work::Append(_) => "reading literal",
            Work::Command if self.continuing => "reading literal",
            _ => "reading line",
        };
        self.end(&format!("{cause}, while {context}"), 1);
    }

    /// Tells whether a response was begun and not ended.
    pub(crate) fn is_within_response(&self) -> bool {
        let Work::Running(running) = &self.work else { return false };
        match &running.task {
            Task::Fetch(fetch) => fetch.is_within_response(),
            Task::Search(search) => search.is_within_response(),
            _ => false,
        }
    }

    /// Does what can be done without more input or answers, until enough output is waiting. Returns whether there is
    /// more to do at once.
    pub(crate) fn advance(&mut self) -> bool {
        loop {
            if self.output.len() >= self.limits.output {
                return true;
            }
            match &self.work {
                Work::Running(_) => {
                    if !self.run_step() {
                        return true;
                    }
                }
                Work::Idle(idle) if idle.is_announcing() => self.announce_while_idle(),
                Work::Command | Work::Append(_) | Work::Idle(_) | Work::Sasl(_) => {
                    if !self.take_frame() {
                        return false;
                    }
                }
                Work::Login(_) | Work::Delay(_) | Work::StartTls | Work::Closed => return false,
            }
        }
    }

    /// Does one step of the running command; `false` when somebody else's turn has come.
    fn run_step(&mut self) -> bool {
        let Work::Running(mut running) = std::mem::replace(&mut self.work, Work::Command) else {
            return true;
        };
        let step = self.step(&mut running);
        if matches!(self.work, Work::Closed) {
            return true;
        }
        match step {
            Step::Continue => self.work = Work::Running(running),
            Step::Yield => {
                self.work = Work::Running(running);
                return false;
            }
            Step::Next(task) => {
                running.task = task;
                self.work = Work::Running(running);
            }
            Step::Abort(text) => {
                let text = format!("{text} {}", self.who());
                self.log(Facility::Mail, Priority::Alert, text);
                self.end("Session ended within a response", 1);
            }
            Step::Done(outcome) => {
                self.answer(&running.tag, running.name, outcome);
                self.command_ended();
            }
        }
        true
    }

    fn step(&mut self, running: &mut Running) -> Step {
        let limit = self.limits.output;
        let (notes, out) = (&mut self.notes, &mut self.output);
        match (&mut running.task, &mut self.state) {
            (Task::List(list), _) => list.step(out, limit),
            (Task::ListExtended(list), State::Selected(_, selected)) => list.step(Some(selected), out, limit),
            (Task::ListExtended(list), _) => list.step(None, out, limit),
            (Task::Fetch(fetch), State::Selected(_, selected)) => fetch.step(selected, notes, out, limit),
            (Task::Store(storing), State::Selected(_, selected)) => storing.step(selected, notes, out),
            (Task::Search(search), State::Selected(_, selected)) => {
                search.step(selected, &running.tag, out, limit)
            }
            (Task::Copy(copy), State::Selected(_, selected)) => copy.step(selected, running.name, out),
            (Task::Expunge(expunge), State::Selected(_, selected)) => expunge.step(selected, notes, out),
            (Task::Refresh(outcome), State::Selected(..)) => {
                let outcome = std::mem::take(outcome);
                match self.refresh(running.name) {
                    Ok(()) => Step::Next(Task::Announce(outcome)),
                    Err(()) => Step::Yield,
                }
            }
            (Task::Announce(outcome), State::Selected(_, selected)) => {
                let style = crate::imap::announce::Style::of(running.name);
                if selected.announce(style, out, limit) {
                    Step::Done(std::mem::take(outcome))
                } else {
                    Step::Continue
                }
            }
            // Without a selected mailbox there is nothing to look for or to tell.
            (task, _) => Step::Done(task.take_outcome()),
        }
    }

    /// Ends a command: looks at the mailbox, tells what changed, answers.
    pub(crate) fn finish(&mut self, tag: Tag, name: CommandName, outcome: Outcome) {
        self.run(tag, name, Task::Refresh(outcome));
    }

    /// Begins to do a command in steps.
    pub(crate) fn run(&mut self, tag: Tag, name: CommandName, task: Task) {
        self.work = Work::Running(Box::new(Running { tag, name, task }));
    }

    /// Sets the timers for the next command.
    pub(crate) fn command_ended(&mut self) {
        self.continuing = false;
        self.waiting_since = self.now;
        if matches!(self.work, Work::Closed) {
            return;
        }
        if self.last_command {
            return self.end("Logout", 0);
        }
        if matches!(self.state, State::NotAuthenticated) && self.now - self.started >= self.timers.login {
            self.untagged(Status::Bye, None, "Autologout");
            self.end("Autologout", 0);
        }
        self.note_dirt();
    }

    /// Sets the timer for the rest of a command.
    pub(crate) fn expect_more(&mut self) {
        self.continuing = true;
        self.waiting_since = self.now;
        self.progress = 0;
    }

    /// The client must send 8 KiB of a literal in the time that it has for a continuation (spec/imapd.md §2).
    fn note_progress(&mut self, octets: usize) {
        const ENOUGH: usize = 8192;
        self.progress += octets;
        // A literal that comes although its command was refused is no sign of an idle user either.
        let is_user = !matches!(self.state, State::NotAuthenticated);
        let goes_on = self.continuing || is_user && !self.splitter.awaits_command();
        if goes_on && self.progress >= ENOUGH {
            self.progress = 0;
            self.waiting_since = self.now;
        }
    }

    /// Ends the session: closes the mailbox, logs why, asks for the end of the connection.
    pub(crate) fn end(&mut self, reason: &str, exit_status: u8) {
        self.work = Work::Closed;
        if let State::Selected(account, selected) = std::mem::replace(&mut self.state, State::Logout) {
            let closed = selected.mailbox.close();
            self.log_notices(&account);
            if let Err(error) = closed {
                let text = format!("Error closing mailbox {} error={error}", self.who());
                self.log(Facility::Mail, Priority::Error, text);
            }
        }
        self.base.close(reason, exit_status);
    }

    /// Returns who is at the other end, for the log.
    pub(crate) fn who(&self) -> String {
        self.base.who()
    }

    pub(crate) fn log(&mut self, facility: Facility, priority: Priority, text: String) {
        self.base.log(facility, priority, text);
    }

    pub(crate) fn untagged(&mut self, status: Status, code: Option<Code<'_>>, text: impl Display) {
        response::untagged(&mut self.output, status, code, text);
    }
}

impl Task {
    /// Takes the outcome out of a task that has nothing left to do because no mailbox is selected.
    fn take_outcome(&mut self) -> Outcome {
        match self {
            Self::Refresh(outcome) | Self::Announce(outcome) => std::mem::take(outcome),
            _ => Outcome::ok(),
        }
    }
}

impl Outgoing for Session {
    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn limit(&self) -> usize {
        self.limits.output
    }

    fn advance(&mut self) -> bool {
        self.advance()
    }

    fn output_taken(&mut self) {
        self.now_is_old = true;
    }
}
