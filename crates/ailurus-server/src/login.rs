//! Logging in, whatever the protocol (spec/auth.md §1 and §4).
//!
//! A protocol takes its command apart, calls [`Base::admit`] for a password or [`Base::authenticate`] for a SASL exchange,
//! and does what the [`Next`] says in its own words: send a challenge, wait for the edge, let time pass before it tells of
//! a failure. Passwords are checked outside: an [`Event`] asks. A failure costs the client three seconds and tells it
//! nothing; attempts of all kinds share one budget.

use crate::base::Base;
use crate::event::{Event, Facility, How, Priority};
use ailurus_auth::encoding::{self, Response};
use ailurus_auth::mechanism::{self, InitialResponse};
use ailurus_auth::scram::{self, Channel, Found, Hash};
use ailurus_auth::{
    Anonymous, CheckError, CramMd5, External, Failure, Identity, Mechanism, Outcome, Plain, Properties,
    Refusal, Scram, SecretLookup, SecretOctets, Step, VerifierLookup,
};
use std::sync::Arc;

/// A SASL exchange.
pub(crate) struct Exchange {
    properties: &'static Properties,
    mechanism: Box<dyn Mechanism>,
}

/// A login about which the edge was asked.
pub(crate) struct Attempt {
    pub(crate) identity: Identity,
    pub(crate) how: How,
    /// It is the anonymous user that comes, who says this of itself; the identity is of no account then.
    pub(crate) anonymous: Option<Vec<u8>>,
}

/// What comes after a step of a login.
pub(crate) enum Next {
    /// This challenge is sent; the response goes to [`Base::respond`].
    Challenge(Exchange, Vec<u8>),
    /// The edge was asked; if it refuses, [`Base::refused`] is told.
    Ask(Attempt),
    /// The login failed, and the client is told so when [`crate::Config::login_failure`] has passed.
    Delay(How),
    /// The exchange came to nothing, and the client is told so at once. It is logged with [`Base::log_mechanism`].
    Fail(How, Why),
}

/// Why an exchange came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    /// What the client sent is no response.
    Malformed,
    /// The client gave up.
    Cancelled,
}

/// How APOP is called beside the mechanisms of SASL.
pub(crate) const APOP: How = How::Authenticate("APOP");

/// Failures before login that are logged and cost the client neither time nor a login attempt: unknown or cancelled
/// mechanisms, literals that are too long. Without a limit one connection fills the log.
const LOGGED_FAILURES: u32 = 20;

impl Base {
    /// Begins a SASL exchange; `None` if there is no such mechanism here and now.
    pub(crate) fn authenticate(&mut self, name: &[u8], initial: Option<Initial>) -> Option<Next> {
        let usable = |properties: &&Properties| properties.is_usable(self.circumstances());
        let properties = mechanism::properties(name).filter(usable)?;
        let mut mechanism = self.mechanism(properties)?;
        let initial = match initial {
            None => None,
            Some(Initial(Some(octets))) if properties.initial_response == InitialResponse::Allowed => {
                Some(octets)
            }
            Some(_) => return Some(Next::Fail(How::from(properties), Why::Malformed)),
        };
        let step = mechanism.start(initial.as_ref().map(|octets| octets.expose().as_slice()));
        Some(self.after_step(Exchange { properties, mechanism }, step))
    }

    fn mechanism(&mut self, properties: &Properties) -> Option<Box<dyn Mechanism>> {
        self.challenges += 1;
        let config = &self.config;
        Some(match properties.name {
            "CRAM-MD5" => {
                let nonce = config.nonce.wrapping_add(self.challenges - 1);
                let challenge = ailurus_auth::cram_md5::challenge(nonce, self.challenges, &config.host);
                Box::new(CramMd5::new(challenge, Secrets(config.cram_md5.clone()?)))
            }
            "LOGIN" => Box::new(ailurus_auth::Login::new()),
            "PLAIN" => Box::new(Plain::new()),
            "EXTERNAL" => Box::new(External::new(config.channel.user.as_ref()?)),
            "ANONYMOUS" => Box::new(Anonymous::new()),
            name => {
                let (plain, plus) = name.strip_suffix("-PLUS").map_or((name, false), |name| (name, true));
                let hash = Hash::ALL.into_iter().find(|hash| hash.mechanism() == plain)?;
                let channel = match config.channel.exporter {
                    Some(data) if plus => Channel::Bound(data.to_vec()),
                    Some(_) => Channel::Unused,
                    None => Channel::None,
                };
                let nonce = scram::nonce(&config.seed, self.challenges);
                Box::new(Scram::new(hash, channel, &nonce, Verifiers(config.scram.clone()?)))
            }
        })
    }

    /// Takes the client's response to a challenge; `None` for one that cannot be decoded.
    pub(crate) fn respond(&mut self, mut exchange: Exchange, response: Option<Response>) -> Next {
        let how = How::from(exchange.properties);
        match response {
            Some(Response::Data(octets)) => {
                let step = exchange.mechanism.step(octets.expose());
                self.after_step(exchange, step)
            }
            Some(Response::Cancelled) => Next::Fail(how, Why::Cancelled),
            None => Next::Fail(how, Why::Malformed),
        }
    }

    fn after_step(&mut self, exchange: Exchange, step: Step) -> Next {
        let how = How::from(exchange.properties);
        match step {
            Step::Challenge(challenge) => Next::Challenge(exchange, challenge),
            Step::Done(Outcome::Check(credentials)) => {
                self.admit(credentials.identity, Some(credentials.password), how)
            }
            Step::Done(Outcome::Verified(identity)) => self.admit(identity, None, how),
            Step::Done(Outcome::Anonymous(trace)) => self.admit_anonymous(trace, how),
            Step::Failed(Failure::WrongProof(identity) | Failure::NoSecrets(identity)) => {
                self.refuse(&identity, how)
            }
            Step::Failed(_) => Next::Fail(how, Why::Malformed),
        }
    }

    /// Has a password checked, or, if there is none, a proven identity accepted.
    pub(crate) fn admit(&mut self, identity: Identity, password: Option<SecretOctets>, how: How) -> Next {
        // COMPAT(imapd): of failed attempts, the log shows the name of the last LOGIN.
        if how == How::Login {
            self.user = Some(logged(identity.user()));
        }
        if let Err(refusal) = self.attempts.spend(&identity) {
            self.log_refusal(refusal, &identity);
            return Next::Delay(how);
        }
        if password.is_some() && self.config.plaintext_disabled() {
            self.log_login("Login disabled", &identity, Priority::Notice);
            return Next::Delay(how);
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
        Next::Ask(Attempt { identity, how, anonymous: None })
    }

    /// Lets anybody in, where the host does; `trace` is what the client says of itself.
    pub(crate) fn admit_anonymous(&mut self, trace: Vec<u8>, how: How) -> Next {
        let identity = Identity::parse_star(b"anonymous");
        if let Err(refusal) = self.attempts.spend(&identity) {
            self.log_refusal(refusal, &identity);
            return Next::Delay(how);
        }
        self.events.push_back(Event::BecomeAnonymous);
        Next::Ask(Attempt { identity, how, anonymous: Some(trace) })
    }

    /// Takes note that the edge let nobody in.
    pub(crate) fn refused(&mut self, attempt: &Attempt) -> Next {
        self.log_login("Login failed", &attempt.identity, Priority::Notice);
        Next::Delay(attempt.how)
    }

    /// Takes the proof of APOP (RFC 1939 §7).
    pub(crate) fn apop(&mut self, challenge: &str, name: &[u8], digest: &[u8]) -> Option<Next> {
        let secrets = Secrets(self.config.cram_md5.clone()?);
        Some(match ailurus_auth::apop::check(challenge, name, digest, &secrets) {
            Ok(identity) => self.admit(identity, None, APOP),
            Err(Failure::WrongProof(identity) | Failure::NoSecrets(identity)) => self.refuse(&identity, APOP),
            Err(_) => Next::Fail(APOP, Why::Malformed),
        })
    }

    /// Takes note of a login that cannot be right; it costs what a wrong password costs.
    pub(crate) fn refuse(&mut self, identity: &Identity, how: How) -> Next {
        match self.attempts.spend(identity) {
            Ok(()) => self.log_login("Login failed", identity, Priority::Notice),
            Err(refusal) => self.log_refusal(refusal, identity),
        }
        Next::Delay(how)
    }

    /// Logs how an exchange failed: `failure` of a listed mechanism, `invalid` for one that is not.
    pub(crate) fn log_mechanism(&mut self, name: &[u8], what: &str) {
        let name = logged(name);
        let text = format!("AUTHENTICATE {name} {what} host={:.80}", self.config.client);
        self.log(Facility::Mail, Priority::Info, text);
    }

    /// Counts a failure that was logged and cost nothing; `true` when the session should bear no more.
    pub(crate) fn count_logged_failure(&mut self) -> bool {
        self.logged_failures += 1;
        self.logged_failures >= LOGGED_FAILURES
    }

    fn log_refusal(&mut self, refusal: Refusal, identity: &Identity) {
        let priority = match refusal {
            Refusal::BreakIn => Priority::Alert,
            Refusal::Excessive => Priority::Notice,
        };
        self.log_login(&refusal.to_string(), identity, priority);
    }

    /// Logs that a login failed, and how.
    fn log_login(&mut self, what: &str, identity: &Identity, priority: Priority) {
        self.events.push_back(Event::LoginFailed);
        let (user, admin) = (logged(identity.user()), logged(&identity.authcid));
        let client = &self.config.client;
        let text = format!("{what} user={user:.64} auth={admin:.64} host={client:.80}");
        self.log(Facility::Auth, priority, text);
    }
}

/// An initial response, decoded; `None` for one that cannot be.
pub(crate) struct Initial(Option<SecretOctets>);

impl Initial {
    /// Decodes what a command brought. An empty one is an empty response, as `=` is.
    pub(crate) fn decode(encoded: &[u8]) -> Self {
        if encoded.is_empty() {
            return Self(Some(ailurus_auth::secret(b"")));
        }
        Self(encoding::decode_initial_response(encoded).ok())
    }
}

/// Returns a name that a stranger may have sent as the log shows it: one word, or it could look like the fields behind it
/// (`ada host=[192.0.2.1]`), which programs read to lock addresses out.
pub(crate) fn logged(name: &[u8]) -> String {
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

/// The verifiers of the configuration.
struct Verifiers(Arc<dyn VerifierLookup + Send + Sync>);

impl VerifierLookup for Verifiers {
    fn verifier(&self, user: &[u8], hash: Hash) -> Result<Found, CheckError> {
        self.0.verifier(user, hash)
    }
}

/// The shared secrets of the configuration.
struct Secrets(Arc<dyn SecretLookup + Send + Sync>);

impl SecretLookup for Secrets {
    fn secret(&self, user: &[u8]) -> Result<Option<SecretOctets>, CheckError> {
        self.0.secret(user)
    }
}
