//! LOGIN and AUTHENTICATE (RFC 3501 §6.2.2 and §6.2.3): the words of IMAP around [`crate::login`].

use crate::event::{Facility, How, Login, LoginFailure, Priority};
use crate::imap::session::{Account, Session, State, Work};
use crate::imap::tagged::Outcome;
use crate::login::{Attempt, Initial, Next, Why, logged};
use ailurus_auth::encoding::{self, Response};
use ailurus_auth::{Identity, SecretOctets, mechanism};
use ailurus_proto::imap::response::{self, Code, Status};
use ailurus_proto::imap::{CommandName, MAX_SASL_LINE, SyntaxError, Tag};
use ailurus_types::Secret;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// A login that failed, about which the client is not told yet.
pub(crate) struct Delay {
    pub(crate) until: Instant,
    tag: Tag,
    how: How,
}

impl Session {
    /// LOGIN.
    pub(crate) fn login(&mut self, tag: Tag, user: &[u8], password: Secret<Vec<u8>>) {
        if self.base.config.anonymous && user.eq_ignore_ascii_case(b"anonymous") {
            // What people type there is a word about themselves.
            let next = self.base.admit_anonymous(password.into_exposed(), How::Login);
            return self.go_on(tag, next);
        }
        let password = SecretOctets::new(Zeroizing::new(password.into_exposed()));
        let next = self.base.admit(Identity::parse_star(user), Some(password), How::Login);
        self.go_on(tag, next);
    }

    /// AUTHENTICATE.
    pub(crate) fn authenticate(&mut self, tag: Tag, name: &str, initial: Option<Secret<Vec<u8>>>) {
        let initial = initial.map(|initial| Initial::decode(initial.expose()));
        match self.base.authenticate(name.as_bytes(), initial) {
            Some(next) => self.go_on(tag, next),
            None => self.unknown_mechanism(&tag, &name.to_ascii_uppercase()),
        }
    }

    /// Takes the client's response to a challenge; `None` for one that cannot be decoded.
    pub(crate) fn sasl_response(&mut self, response: Option<Response>) {
        let Work::Sasl(waiting) = std::mem::replace(&mut self.work, Work::Command) else { return };
        self.continuing = false;
        self.waiting_since = self.now;
        let (tag, exchange) = *waiting;
        let next = self.base.respond(exchange, response);
        self.go_on(tag, next);
    }

    fn go_on(&mut self, tag: Tag, next: Next) {
        match next {
            Next::Challenge(exchange, challenge) => {
                response::continuation(&mut self.output, &encoding::encode_challenge(&challenge));
                self.splitter.expect_raw(MAX_SASL_LINE);
                self.work = Work::Sasl(Box::new((tag, exchange)));
                self.expect_more();
            }
            Next::Ask(attempt) => self.work = Work::Login(Box::new((tag, attempt))),
            Next::Delay(how) => {
                let until = self.now + self.base.config.login_failure;
                self.work = Work::Delay(Box::new(Delay { until, tag, how }));
            }
            Next::Fail(how, why) => self.exchange_failed(&tag, how, why),
        }
    }

    /// Takes the answer to [`crate::Event::CheckPassword`] or [`crate::Event::BecomeUser`].
    pub fn handle_login(&mut self, login: Result<Login, LoginFailure>, now: Instant) {
        self.now = now;
        let (tag, attempt) = match std::mem::replace(&mut self.work, Work::Command) {
            Work::Login(waiting) => *waiting,
            other => {
                self.work = other;
                return;
            }
        };
        match login {
            Ok(login) => self.enter(&tag, &attempt, login),
            Err(LoginFailure::TooManySessions) => {
                let name = match attempt.how {
                    How::Login => CommandName::Login,
                    How::Authenticate(_) => CommandName::Authenticate,
                };
                self.answer(&tag, name, Outcome::no("Too many sessions of this user").with(Code::Limit));
                self.command_ended();
            }
            Err(LoginFailure::Moved) if self.refer_user(&tag, &attempt) => {}
            Err(LoginFailure::Refused | LoginFailure::Unavailable | LoginFailure::Moved) => {
                let next = self.base.refused(&attempt);
                self.go_on(tag, next);
            }
        }
        self.advance();
    }

    /// Tells a client where its user has moved (RFC 2221 §4.1).
    fn refer_user(&mut self, tag: &Tag, attempt: &Attempt) -> bool {
        let user = attempt.identity.user();
        let Some(url) = self.base.config.referrals.user(user) else { return false };
        let client = &self.base.config.client;
        let text = format!("Login of moved user={} host={client:.80}", logged(user));
        self.log(Facility::Auth, Priority::Notice, text);
        let code = Code::Referral(&[&url]);
        response::tagged(
            &mut self.output,
            tag,
            Status::No,
            Some(code),
            "Specified user has moved to another server",
        );
        self.command_ended();
        self.count_logged_failure();
        true
    }

    fn enter(&mut self, tag: &Tag, attempt: &Attempt, login: Login) {
        self.state = State::Authenticated(Account { mailboxes: Arc::new(login.mailboxes) });
        let client = &self.base.config.client;
        // LOGIN keeps the name as it was typed, AUTHENTICATE has the account's.
        let name = match attempt.how {
            How::Login => attempt.identity.user(),
            How::Authenticate(_) => login.user.as_bytes(),
        };
        let name = if attempt.anonymous.is_some() { &b"ANONYMOUS"[..] } else { name };
        let (user, shown) = (logged(name), ailurus_proto::imap::print::echo(name));
        let text = match (attempt.how, &attempt.anonymous) {
            (How::Login, Some(trace)) => format!("Login anonymous={:.80} host={client:.80}", logged(trace)),
            (How::Authenticate(_), Some(trace)) => {
                format!("Authenticated anonymous={:.80} host={client:.80}", logged(trace))
            }
            (How::Login, None) => format!("Login user={user} host={client:.80}"),
            (How::Authenticate(mechanism), None) => {
                format!("Authenticated user={user} host={client:.80} mech={mechanism}")
            }
        };
        self.log(Facility::Mail, Priority::Info, text);
        // What there is to be told of the account is told before.
        self.take_notices();
        self.notes.flush(&mut self.output);
        let capabilities = self.capabilities_of_login();
        let code = Code::Capability(&capabilities);
        let text = format!("User {shown} authenticated");
        response::tagged(&mut self.output, tag, Status::Ok, Some(code), text);
        self.base.user = Some(user);
        self.command_ended();
    }

    /// Answers a failed login whose time has passed. When no further one can succeed, the session ends: the reference
    /// goes on and refuses right passwords for ever.
    pub(crate) fn delay_ended(&mut self) {
        let Work::Delay(delay) = std::mem::replace(&mut self.work, Work::Command) else { return };
        match delay.how {
            How::Login => {
                let outcome = Outcome::no("Invalid login credentials").with(Code::AuthenticationFailed);
                self.answer(&delay.tag, CommandName::Login, outcome);
                self.command_ended();
            }
            How::Authenticate(_) => self.exchange_failed(&delay.tag, delay.how, Why::Malformed),
        }
        if self.base.attempts.is_exhausted() && !matches!(self.work, Work::Closed) {
            self.untagged(Status::Bye, None, "Too many login failures");
            self.end("Logout", 0);
        }
    }

    /// Answers a failed exchange. A mechanism that is not listed fails like one that does not exist.
    fn exchange_failed(&mut self, tag: &Tag, how: How, why: Why) {
        let How::Authenticate(name) = how else { return };
        let properties = mechanism::properties(name.as_bytes());
        if !properties.is_some_and(|properties| self.base.offers(properties)) {
            return self.unknown_mechanism(tag, name);
        }
        self.base.log_mechanism(name.as_bytes(), "failure");
        let outcome = match why {
            Why::Cancelled if name == "ANONYMOUS" => Outcome::bad("AUTHENTICATE ANONYMOUS cancelled"),
            Why::Malformed if name == "ANONYMOUS" => Outcome::no("AUTHENTICATE ANONYMOUS failed"),
            Why::Cancelled => Outcome::no("cancelled by user"),
            Why::Malformed => {
                Outcome::no("Invalid authentication credentials").with(Code::AuthenticationFailed)
            }
        };
        self.answer(tag, CommandName::Authenticate, outcome);
        self.command_ended();
        self.count_logged_failure();
    }

    fn unknown_mechanism(&mut self, tag: &Tag, name: &str) {
        self.base.log_mechanism(name.as_bytes(), "invalid");
        SyntaxError::UnrecognizedUnnamed.answer(&mut self.output, tag);
        self.command_ended();
        self.count_logged_failure();
    }

    /// Ends a session in which nobody logs in and the log grows.
    pub(crate) fn count_logged_failure(&mut self) {
        let too_many = self.base.count_logged_failure();
        let stranger = matches!(self.state, State::NotAuthenticated) && !matches!(self.work, Work::Closed);
        if stranger && too_many {
            self.untagged(Status::Bye, None, "Too many login failures");
            self.end("Logout", 0);
        }
    }
}
