//! The engine of one connection, with the door and the log that it needs, as the transport drives it.

use crate::alerts::Alerts;
use crate::client_certificate;
use crate::login::Door;
use crate::settings::Settings;
use crate::transport::{Engine, Request, Secured, Signal};
use ailurus_auth::Identity;
use ailurus_server::{self as server, Event, Session};
use ailurus_sys::syslog::{Facility, Log, Priority};
use std::path::PathBuf;
use std::time::Instant;

/// A session whose wishes for passwords and log lines are fulfilled at once.
pub(crate) struct Connection<'d, S> {
    session: S,
    door: &'d mut dyn Door,
    log: &'d Log,
    /// What IMAP has a way to tell: what the administrator has to say to everybody.
    alerts: Option<Alerts>,
    settings: &'d Settings,
    /// What goes out before the session speaks again.
    aside: Vec<u8>,
}

impl<'d, S: Session> Connection<'d, S> {
    /// Takes a session.
    pub(crate) fn new(
        session: S,
        door: &'d mut dyn Door,
        log: &'d Log,
        alerts: Option<Alerts>,
        settings: &'d Settings,
    ) -> Self {
        Self { session, door, log, alerts, settings, aside: Vec::new() }
    }

    fn let_in(&mut self, result: Result<server::Login, server::LoginFailure>) {
        let now = Instant::now();
        if let (Ok(login), Some(alerts)) = (&result, &mut self.alerts) {
            alerts.add_user(&login.mailboxes.environment().mailbox_dir);
            self.look_for_alerts(now);
        }
        self.session.handle_login(result, now);
    }

    /// Untagged responses are legal at any time; these come when nothing of the session's is on its way.
    fn look_for_alerts(&mut self, now: Instant) {
        let Some(alerts) = &mut self.alerts else { return };
        self.aside.extend(alerts.look(now));
        if alerts.is_over(now) {
            self.session.shut_down(now);
        }
    }
}

impl<S: Session> Engine for Connection<'_, S> {
    fn handle_input(&mut self, octets: &[u8], now: Instant) -> usize {
        self.look_for_alerts(now);
        self.session.handle_input(octets, now)
    }

    fn wants_input(&self) -> bool {
        self.session.wants_input()
    }

    fn poll_output(&mut self, out: &mut Vec<u8>) -> bool {
        let aside = !self.aside.is_empty();
        out.append(&mut self.aside);
        self.session.poll_output(out) || aside
    }

    fn poll_request(&mut self) -> Option<Request> {
        loop {
            match self.session.poll_event()? {
                Event::Log { facility, priority, text } => {
                    self.log.emit(facility_of(facility), priority_of(priority), &text);
                }
                Event::CheckPassword { user, authenticating_user, password, how: _ } => {
                    let identity = identity(user, authenticating_user);
                    let result = self.door.check_password(&identity, password.expose());
                    self.let_in(result);
                }
                Event::BecomeUser { user, authenticating_user, mechanism } => {
                    let result = self.door.become_user(&identity(user, authenticating_user), mechanism);
                    self.let_in(result);
                }
                Event::BecomeAnonymous => {
                    let result = self.door.become_anonymous();
                    self.let_in(result);
                }
                Event::LoginFailed => self.door.note_failure(),
                Event::StartTls => return Some(Request::StartTls),
                Event::Close { exit_status } => return Some(Request::Close(exit_status)),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        // Such as a round of IDLE; never in the middle of a response.
        if self.session.wants_input() {
            self.look_for_alerts(now);
        }
        self.session.handle_timeout(now);
    }

    fn wake_paths(&self) -> Option<Vec<PathBuf>> {
        self.session.wake().map(|wake| wake.paths)
    }

    fn handle_wake(&mut self, now: Instant) {
        self.look_for_alerts(now);
        self.session.handle_wake(now);
    }

    fn handle_signal(&mut self, signal: Signal, now: Instant) {
        let signal = match signal {
            Signal::Kiss => server::Signal::Kiss,
            Signal::Terminate => server::Signal::Terminate,
            Signal::Hangup => server::Signal::Hangup,
        };
        self.session.handle_signal(signal, now);
    }

    fn handle_disconnect(&mut self, cause: &str, now: Instant) {
        self.session.handle_disconnect(cause, now);
    }

    fn handle_tls_started(&mut self, secured: Secured, now: Instant) {
        let channel = client_certificate::channel(&secured, self.settings);
        self.session.handle_tls_started(channel, now);
    }
}

fn identity(user: Vec<u8>, authenticating_user: Option<Vec<u8>>) -> Identity {
    match authenticating_user {
        Some(authcid) => Identity { authcid, authzid: Some(user) },
        None => Identity { authcid: user, authzid: None },
    }
}

fn facility_of(facility: server::Facility) -> Facility {
    match facility {
        server::Facility::Mail => Facility::Mail,
        server::Facility::Auth => Facility::Auth,
    }
}

fn priority_of(priority: server::Priority) -> Priority {
    match priority {
        server::Priority::Debug => Priority::Debug,
        server::Priority::Info => Priority::Info,
        server::Priority::Notice => Priority::Notice,
        server::Priority::Warning => Priority::Warning,
        server::Priority::Error => Priority::Error,
        server::Priority::Critical => Priority::Critical,
        server::Priority::Alert => Priority::Alert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Door;
    use crate::settings::Confinement;
    use crate::surroundings::{self, Surroundings};
    use ailurus_server::{Config, Login, LoginFailure, Start, imap};
    use std::path::Path;
    use std::time::Duration;

    struct Closed;

    impl Door for Closed {
        fn check_password(&mut self, _: &Identity, _: &[u8]) -> Result<Login, LoginFailure> {
            Err(LoginFailure::Refused)
        }
        fn become_user(&mut self, _: &Identity, _: &str) -> Result<Login, LoginFailure> {
            Err(LoginFailure::Refused)
        }
    }

    fn session(home: &Path, now: Instant) -> imap::Session {
        let surroundings = Surroundings {
            user: "ada".into(),
            home: home.into(),
            spool: home.join("spool"),
            host: "h".into(),
            shared: Default::default(),
        };
        let environment = surroundings::environment(surroundings, &Settings::default(), Confinement::Names);
        let mailboxes = surroundings::mailboxes(environment.expect("no black box"));
        let start = Start::PreAuthenticated { user: "ada".into(), mailboxes };
        imap::Session::new(Config::new("h", "p", "d", "c"), start, now)
    }

    fn output(connection: &mut Connection<'_, imap::Session>) -> String {
        let mut out = Vec::new();
        while connection.poll_output(&mut out) {}
        String::from_utf8(out).expect("text")
    }

    /// As in fixtures/transcripts/timers.txt, "nologin mid-session".
    #[test]
    fn a_shutdown_in_the_course_of_a_session() {
        let scratch = tempfile::tempdir().expect("a directory");
        let nologin = scratch.path().join("nologin");
        let alerts = Alerts::of(scratch.path().join("alert"), nologin.clone());
        let settings = Settings::default();
        let (log, mut door, start) = (Log::stderr("test"), Closed, Instant::now());
        let mut connection =
            Connection::new(session(scratch.path(), start), &mut door, &log, Some(alerts), &settings);
        assert!(output(&mut connection).starts_with("* PREAUTH"));
        let mut say = |after: u64, line: &str| {
            let now = start + Duration::from_secs(after);
            assert_eq!(connection.handle_input(line.as_bytes(), now), line.len());
            output(&mut connection)
        };
        assert_eq!(say(0, "a NOOP\r\n"), "a OK NOOP completed\r\n");
        std::fs::write(nologin, "").expect("ours");
        let answer = say(72, "b NOOP\r\n");
        assert_eq!(answer, "* OK [ALERT] Server shutting down shortly\r\nb OK NOOP completed\r\n");
        assert_eq!(say(90, "c NOOP\r\n"), "c OK NOOP completed\r\n");
        assert_eq!(say(156, "d NOOP\r\n"), "* BYE Server shutting down\r\nd OK NOOP completed\r\n");
        assert_eq!(connection.poll_request(), Some(Request::Close(0)));
    }
}
