//! LOGIN and AUTHENTICATE (RFC 3501 §6.2.2 and §6.2.3; spec/auth.md §1 and §4).
//!
//! Passwords are checked outside: an [`Event`] asks, [`Session::handle_login`] answers. A failure costs the client three
//! seconds, which pass by a timer, and tells it nothing.

use crate::event::{Event, Facility, How, Login, LoginFailure, Priority};
use crate::imap::session::{Account, Session, State, Work};
use crate::imap::tagged::Outcome;
use ailurus_auth::encoding::{self, Response};
use ailurus_auth::mechanism::{self, InitialResponse};
use ailurus_auth::{
    CheckError, CramMd5, Failure, Identity, Mechanism, Plain, Properties, Refusal, SecretLookup,
    SecretOctets, Step,
};
use ailurus_proto::imap::response::{self, Code, Status};
use ailurus_proto::imap::{CommandName, MAX_SASL_LINE, SyntaxError, Tag};
use ailurus_types::Secret;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// A SASL exchange.
pub(crate) struct Exchange {
    tag: Tag,
    properties: &'static Properties,
    mechanism: Box<dyn Mechanism>,
}

/// A login about which the edge was asked.
pub(crate) struct Attempt {
    tag: Tag,
    identity: Identity,
    how: How,
}

/// A login that failed, about which the client is not told yet.
pub(crate) struct Delay {
    pub(crate) until: Instant,
    tag: Tag,
    how: How,
    /// The client gave up; it is told at once.
    cancelled: bool,
}

impl Session {
    /// LOGIN.
    pub(crate) fn login(&mut self, tag: Tag, user: &[u8], password: Secret<Vec<u8>>) {
        let identity = Identity::parse_star(user);
        let password = SecretOctets::new(Zeroizing::new(password.into_exposed()));
        self.admit(tag, identity, Some(password), How::Login);
    }

    /// AUTHENTICATE.
    pub(crate) fn authenticate(&mut self, tag: Tag, name: &str, initial: Option<Secret<Vec<u8>>>) {
        let found = mechanism::properties(name.as_bytes());
        let secrets = self.config.cram_md5.clone();
        let usable = |properties: &&Properties| properties.is_usable(self.circumstances());
        let Some(properties) = found.filter(usable) else {
            return self.unknown_mechanism(&tag, &name.to_ascii_uppercase());
        };
        let mechanism: Box<dyn Mechanism> = match (properties.name, secrets) {
            ("CRAM-MD5", Some(secrets)) => {
                let nonce = self.config.nonce.wrapping_add(self.challenges);
                self.challenges += 1;
                let challenge = ailurus_auth::cram_md5::challenge(nonce, self.challenges, &self.config.host);
                Box::new(CramMd5::new(challenge, Secrets(secrets)))
            }
            ("LOGIN", _) => Box::new(ailurus_auth::Login::new()),
            _ => Box::new(Plain::new()),
        };
        let mut exchange = Box::new(Exchange { tag, properties, mechanism });
        let initial = match initial.map(|initial| decode(initial.expose())) {
            None => None,
            Some(Some(octets)) if properties.initial_response == InitialResponse::Allowed => Some(octets),
            Some(_) => return self.exchange_failed(&exchange.tag, How::from(properties), false),
        };
        let step = exchange.mechanism.start(initial.as_ref().map(|octets| octets.expose().as_slice()));
        self.sasl_step(exchange, step);
    }

    /// Takes the client's response to a challenge; `None` for one that cannot be decoded.
    pub(crate) fn sasl_response(&mut self, response: Option<Response>) {
        let Work::Sasl(mut exchange) = std::mem::replace(&mut self.work, Work::Command) else { return };
        self.continuing = false;
        self.waiting_since = self.now;
        match response {
            Some(Response::Data(octets)) => {
                let step = exchange.mechanism.step(octets.expose());
                self.sasl_step(exchange, step);
            }
            Some(Response::Cancelled) => {
                self.exchange_failed(&exchange.tag, How::from(exchange.properties), true);
            }
            None => self.exchange_failed(&exchange.tag, How::from(exchange.properties), false),
        }
    }

    fn sasl_step(&mut self, exchange: Box<Exchange>, step: Step) {
        let how = How::from(exchange.properties);
        match step {
            Step::Challenge(challenge) => {
                response::continuation(&mut self.output, &encoding::encode_challenge(&challenge));
                self.splitter.expect_raw(MAX_SASL_LINE);
                self.work = Work::Sasl(exchange);
                self.expect_more();
            }
            Step::Done(ailurus_auth::Outcome::Check(credentials)) => {
                self.admit(exchange.tag, credentials.identity, Some(credentials.password), how);
            }
            Step::Done(ailurus_auth::Outcome::Verified(identity)) => {
                self.admit(exchange.tag, identity, None, how);
            }
            Step::Failed(Failure::WrongProof(identity) | Failure::NoSecrets(identity)) => {
                match self.attempts.spend(&identity) {
                    Ok(()) => self.log_failure("Login failed", &identity, Priority::Notice),
                    Err(refusal) => self.log_refusal(refusal, &identity),
                }
                self.delay(exchange.tag, how);
            }
            Step::Failed(_) => self.exchange_failed(&exchange.tag, how, false),
        }
    }

    /// Has a password checked, or, if there is none, a proven identity accepted.
    fn admit(&mut self, tag: Tag, identity: Identity, password: Option<SecretOctets>, how: How) {
        // COMPAT(imapd): of failed attempts, the log shows the name of the last LOGIN.
        if how == How::Login {
            self.user = Some(logged(identity.user()));
        }
        if let Err(refusal) = self.attempts.spend(&identity) {
            self.log_refusal(refusal, &identity);
            return self.delay(tag, how);
        }
        if password.is_some() && self.config.plaintext_disabled() {
            self.log_failure("Login disabled", &identity, Priority::Notice);
            return self.delay(tag, how);
        }
        let user = identity.user().to_vec();
        let authenticating_user = identity.admin().map(<[u8]>::to_vec);
        self.events.push_back(match (password, how) {
            (None, How::Authenticate(mechanism)) => {
                Event::BecomeUser { user, authenticating_user, mechanism }
            }
            (password, how) => {
                let password = password.unwrap_or_else(|| ailurus_auth::secret(b""));
                Event::CheckPassword { user, authenticating_user, password, how }
            }
        });
        self.work = Work::Login(Box::new(Attempt { tag, identity, how }));
    }

    /// Takes the answer to [`Event::CheckPassword`] or [`Event::BecomeUser`].
    pub fn handle_login(&mut self, login: Result<Login, LoginFailure>, now: Instant) {
        self.now = now;
        let attempt = match std::mem::replace(&mut self.work, Work::Command) {
            Work::Login(attempt) => attempt,
            other => {
                self.work = other;
                return;
            }
        };
        match login {
            Ok(login) => self.enter(*attempt, login),
            Err(LoginFailure::Refused | LoginFailure::Unavailable) => {
                self.log_failure("Login failed", &attempt.identity, Priority::Notice);
                self.delay(attempt.tag, attempt.how);
            }
        }
        self.advance();
    }

    fn enter(&mut self, attempt: Attempt, login: Login) {
        self.state = State::Authenticated(Account { mailboxes: Arc::new(login.mailboxes) });
        let client = &self.config.client;
        // LOGIN keeps the name as it was typed, AUTHENTICATE has the account's.
        let name = match attempt.how {
            How::Login => attempt.identity.user(),
            How::Authenticate(_) => login.user.as_bytes(),
        };
        let (user, shown) = (logged(name), ailurus_proto::imap::print::echo(name));
        let text = match attempt.how {
            How::Login => format!("Login user={user} host={client:.80}"),
            How::Authenticate(mechanism) => {
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
        response::tagged(&mut self.output, &attempt.tag, Status::Ok, Some(code), text);
        self.user = Some(user);
        self.command_ended();
    }

    /// Lets time pass before the answer to a failed login.
    fn delay(&mut self, tag: Tag, how: How) {
        let until = self.now + self.config.timers.login_failure;
        self.work = Work::Delay(Box::new(Delay { until, tag, how, cancelled: false }));
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
            How::Authenticate(_) => self.exchange_failed(&delay.tag, delay.how, delay.cancelled),
        }
        if self.attempts.is_exhausted() && !matches!(self.work, Work::Closed) {
            self.untagged(Status::Bye, None, "Too many login failures");
            self.end("Logout", 0);
        }
    }

    /// Answers a failed exchange. A mechanism that is not listed fails like one that does not exist.
    fn exchange_failed(&mut self, tag: &Tag, how: How, cancelled: bool) {
        let How::Authenticate(name) = how else { return };
        let listed = mechanism::properties(name.as_bytes()).is_some_and(|properties| self.offers(properties));
        if !listed {
            return self.unknown_mechanism(tag, name);
        }
        self.log_mechanism(name, "failure");
        let outcome = if cancelled {
            Outcome::no("cancelled by user")
        } else {
            Outcome::no("Invalid authentication credentials").with(Code::AuthenticationFailed)
        };
        self.answer(tag, CommandName::Authenticate, outcome);
        self.command_ended();
        self.count_logged_failure();
    }

    fn unknown_mechanism(&mut self, tag: &Tag, name: &str) {
        self.log_mechanism(name, "invalid");
        SyntaxError::UnrecognizedUnnamed.answer(&mut self.output, tag);
        self.command_ended();
        self.count_logged_failure();
    }

    fn log_mechanism(&mut self, name: &str, what: &str) {
        let name = logged(name.as_bytes());
        let text = format!("AUTHENTICATE {name} {what} host={:.80}", self.config.client);
        self.log(Facility::Mail, Priority::Info, text);
    }

    fn log_refusal(&mut self, refusal: Refusal, identity: &Identity) {
        let priority = match refusal {
            Refusal::BreakIn => Priority::Alert,
            Refusal::Excessive => Priority::Notice,
        };
        self.log_failure(&refusal.to_string(), identity, priority);
    }

    fn log_failure(&mut self, what: &str, identity: &Identity, priority: Priority) {
        let (user, admin) = (logged(identity.user()), logged(&identity.authcid));
        let client = &self.config.client;
        let text = format!("{what} user={user:.64} auth={admin:.64} host={client:.80}");
        self.log(Facility::Auth, priority, text);
    }
}

/// Returns a name that a stranger may have sent as the log shows it: one word, or it could look like the fields behind it
/// (`ada host=[192.0.2.1]`), which programs read to lock addresses out.
fn logged(name: &[u8]) -> String {
    const MOST: usize = 80;
    let mut word = String::new();
    for octet in name.iter().take(MOST) {
        match octet {
            b'\\' => word.push_str("\\134"),
            octet if octet.is_ascii_graphic() => word.push(char::from(*octet)),
            octet => word.push_str(&format!("\\{octet:03o}")),
        }
    }
    word
}

/// Decodes an initial response; the parser took `=` for an empty one.
fn decode(initial: &[u8]) -> Option<SecretOctets> {
    if initial.is_empty() {
        return Some(ailurus_auth::secret(b""));
    }
    encoding::decode_initial_response(initial).ok()
}

/// The shared secrets of the configuration.
struct Secrets(Arc<dyn SecretLookup + Send + Sync>);

impl SecretLookup for Secrets {
    fn secret(&self, user: &[u8]) -> Result<Option<SecretOctets>, CheckError> {
        self.0.secret(user)
    }
}
