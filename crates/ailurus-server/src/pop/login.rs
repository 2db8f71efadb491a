//! Logging in: the words of POP around [`crate::login`], and the way from a login to a maildrop.

use crate::event::{Facility, How, Login, LoginFailure, Priority};
use crate::login::{APOP, Attempt, Next, logged};
use crate::pop::maildrop::{Maildrop, Unusable};
use crate::pop::session::{Protocol, Session, Work};
use ailurus_auth::encoding::{self, Response};
use ailurus_auth::{Identity, SecretOctets};
use ailurus_store::Error;
use ailurus_types::MailboxName;
use std::time::Instant;

/// A login that failed, about which the client is not told yet.
pub(crate) struct Delay {
    pub(crate) until: Instant,
    how: How,
}

/// Who came in.
pub(crate) struct Guest {
    /// The name for the log: as typed with a password, the account's else.
    name: String,
    /// An administrator in somebody's place.
    admin: bool,
    how: How,
}

#[expect(private_bounds, reason = "POP3 and POP2 are all that there is")]
impl<P: Protocol> Session<P> {
    /// Has a name and a password checked.
    pub(crate) fn log_in(&mut self, name: &[u8], password: SecretOctets) {
        let identity = Identity::parse_star(name);
        let next = if name.contains(&b':') {
            // The reference's gateway, `host:user`, which would connect anybody to anywhere. Nobody has such a name.
            self.base.refuse(&identity, How::Login)
        } else {
            self.base.admit(identity, Some(password), How::Login)
        };
        self.go_on(next);
    }

    /// Takes the client's response to a challenge; `None` for one that cannot be decoded.
    pub(crate) fn sasl_response(&mut self, response: Option<Response>) {
        let Work::Sasl(exchange) = std::mem::replace(&mut self.work, Work::Line) else { return };
        let next = self.base.respond(*exchange, response);
        self.go_on(next);
    }

    /// Does what comes after a step of a login.
    pub(crate) fn go_on(&mut self, next: Next) {
        self.lines.set_limit(P::MAX_LINE);
        match next {
            Next::Challenge(exchange, challenge) => {
                self.answer(&format!("+ {}", encoding::encode_challenge(&challenge)));
                self.lines.set_limit(P::MAX_SASL_LINE);
                self.work = Work::Sasl(Box::new(exchange));
                self.waiting_since = self.now;
            }
            Next::Ask(attempt) => self.work = Work::Login(Box::new(attempt)),
            Next::Delay(how) => {
                let until = self.now + self.base.config.login_failure;
                self.work = Work::Delay(Box::new(Delay { until, how }));
            }
            Next::Fail(how, _) => self.exchange_failed(how),
        }
    }

    fn exchange_failed(&mut self, how: How) {
        if let How::Authenticate(name) = how {
            self.base.log_mechanism(name.as_bytes(), "failure");
        }
        P::exchange_failed(self);
        self.command_ended();
        self.count_logged_failure();
    }

    /// Ends a session in which nobody logs in and the log grows.
    pub(crate) fn count_logged_failure(&mut self) {
        if self.base.count_logged_failure() && !matches!(self.work, Work::Closed) {
            self.end("Logout", 0);
        }
    }

    /// Takes the answer to [`crate::Event::CheckPassword`] or [`crate::Event::BecomeUser`].
    pub fn handle_login(&mut self, login: Result<Login, LoginFailure>, now: Instant) {
        self.now = now;
        let attempt = match std::mem::replace(&mut self.work, Work::Line) {
            Work::Login(attempt) => attempt,
            other => {
                self.work = other;
                return;
            }
        };
        match login {
            Ok(login) => self.enter(&attempt, login),
            Err(LoginFailure::TooManySessions) => {
                P::too_many_sessions(self);
                self.attempt_ended();
            }
            Err(LoginFailure::Refused | LoginFailure::Unavailable | LoginFailure::Moved) => {
                let next = self.base.refused(&attempt);
                self.go_on(next);
            }
        }
        self.advance();
    }

    fn enter(&mut self, attempt: &Attempt, login: Login) {
        let name = match attempt.how {
            How::Login => logged(attempt.identity.user()),
            How::Authenticate(_) => logged(login.user.as_bytes()),
        };
        self.base.user = Some(name.clone());
        let guest = Guest { name, admin: attempt.identity.admin().is_some(), how: attempt.how };
        let opened = Maildrop::open(&login.mailboxes, &MailboxName::inbox());
        let notices = login.mailboxes.environment().notices.take();
        let in_use = notices.iter().any(|notice| notice.text.contains("by another process"));
        self.mailboxes = Some(login.mailboxes);
        self.log_notices(notices);
        match opened {
            Ok(maildrop) => P::entered(self, &guest, maildrop),
            Err(unusable) => {
                if let Unusable::Failed(error) = &unusable {
                    let text = format!("{} {}", wording(error), self.base.who());
                    self.base.log(Facility::Mail, Priority::Notice, text);
                }
                P::left_outside(self, &guest, &unusable, in_use);
                self.end("Logout", 0);
            }
        }
        self.command_ended();
    }

    /// Logs who came in, in the reference's words.
    pub(crate) fn log_guest(&mut self, guest: &Guest, behind: &str) {
        let how = match guest.how {
            How::Login => "Login",
            How::Authenticate("APOP") => "APOP",
            How::Authenticate(_) => "Auth",
        };
        let admin = if guest.admin { "Admin " } else { "" };
        let text =
            format!("{admin}{how} user={:.80} host={:.80}{behind}", guest.name, self.base.config.client);
        self.base.log(Facility::Mail, Priority::Info, text);
    }

    /// Answers a failed login whose time has passed.
    pub(crate) fn delay_ended(&mut self) {
        let Work::Delay(delay) = std::mem::replace(&mut self.work, Work::Line) else { return };
        // Who it was is in the log already.
        if let How::Authenticate(name) = delay.how
            && delay.how != APOP
        {
            self.base.log_mechanism(name.as_bytes(), "failure");
        }
        P::login_failed(self, delay.how);
        self.attempt_ended();
    }

    /// When no further login can succeed, the session ends: the reference goes on and refuses right passwords for ever.
    fn attempt_ended(&mut self) {
        self.command_ended();
        if self.base.attempts.is_exhausted() && !matches!(self.work, Work::Closed) {
            self.end("Logout", 0);
        }
    }
}

/// Says why INBOX cannot be opened, for the log; in the words of the reference where people look for them (FAQ 7.1).
fn wording(error: &Error) -> String {
    match error {
        Error::WrongFormat { path, .. } => {
            format!("Can't open INBOX (file {}): not in valid mailbox format", path.display())
        }
        error => error.to_string(),
    }
}
