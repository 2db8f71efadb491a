//! SCRAM (RFC 5802, RFC 7677): the client proves that it knows a password which the server does not, and the server that it
//! knows the client.
//!
//! What the server keeps is a [`Verifier`]. The variants with `-PLUS` bind the exchange to the TLS channel by `tls-exporter`
//! (RFC 9266), so that nobody in between can pass it on; who says that the server seems to have no such variant, where it has, is
//! told of nothing but failure, for somebody has shortened the list (the GS2 flag `y`).
//!
//! An unknown user is answered like any other, with a salt that is always the same for the name: see
//! [`PasswordDatabase`](crate::PasswordDatabase). IMAP and POP have no room for the server's last message in the line that
//! completes the exchange: it is a challenge, and the client's response to it is empty.

mod hash;
mod message;
mod prepare;
mod verifier;

pub use hash::Hash;
pub use message::{Binding, ClientFinal, ClientFirst};
pub use verifier::{ITERATIONS, SALT, Verifier};

use crate::identity::Identity;
use crate::mechanism::{
    Advertised, Authorization, Failure, InitialResponse, Mechanism, Needs, Outcome, Plaintext, Properties,
    Step,
};
use crate::password::CheckError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

/// The only channel binding that there is here.
pub const TLS_EXPORTER: &str = "tls-exporter";

const fn properties(name: &'static str, needs: Needs) -> Properties {
    Properties {
        name,
        plaintext: Plaintext::No,
        advertised: Advertised::Always,
        initial_response: InitialResponse::Allowed,
        authorization: Authorization::Field,
        needs,
    }
}

pub(crate) const PROPERTIES: [Properties; 4] = [
    properties("SCRAM-SHA-256-PLUS", Needs::VerifiersAndChannel),
    properties("SCRAM-SHA-1-PLUS", Needs::VerifiersAndChannel),
    properties("SCRAM-SHA-256", Needs::Verifiers),
    properties("SCRAM-SHA-1", Needs::Verifiers),
];

/// Returns the nonce of one exchange of a session, of which the seed is a random number of its own.
#[must_use]
pub fn nonce(seed: &[u8; 32], exchange: u64) -> Vec<u8> {
    Hash::Sha256.hmac(seed, &exchange.to_be_bytes())[..24].to_vec()
}

/// Where verifiers come from.
pub trait VerifierLookup {
    /// Returns what stands for a user's password; for a user who is unknown, or has none for that hash function, something
    /// that looks like it.
    ///
    /// # Errors
    ///
    /// If the verifiers cannot be read.
    fn verifier(&self, user: &[u8], hash: Hash) -> Result<Found, CheckError>;
}

/// A verifier, and whether it is anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the client is told of.
    pub verifier: Verifier,
    /// Whether the user exists.
    pub known: bool,
}

/// The server side of SCRAM.
pub struct Scram<L> {
    hash: Hash,
    channel: Channel,
    nonce: String,
    verifiers: L,
    state: State,
}

/// What the exchange is to be bound to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Channel {
    /// Nothing, and the session has no channel that it could be bound to.
    None,
    /// Nothing, but a variant that binds was offered in this session.
    Unused,
    /// The channel with these data.
    Bound(Vec<u8>),
}

enum State {
    First,
    Final(Box<Pending>),
    /// The server's last message was sent.
    Last(Identity),
    Finished,
}

/// An exchange that waits for the proof.
struct Pending {
    identity: Identity,
    found: Found,
    /// What `c=` must be.
    binding: Vec<u8>,
    nonce: String,
    /// Both first messages, as they are signed.
    signed: String,
}

impl<L: VerifierLookup> Scram<L> {
    /// Begins an exchange. The nonce must be random; it is printable, without a comma.
    pub fn new(hash: Hash, channel: Channel, nonce: &[u8], verifiers: L) -> Self {
        Self { hash, channel, nonce: STANDARD.encode(nonce), verifiers, state: State::First }
    }

    fn first(&mut self, message: &[u8]) -> Step {
        const MALFORMED: Step = Step::Failed(Failure::Malformed);
        let Some(first) = ClientFirst::parse(message).filter(|first| message::is_short(first.nonce)) else {
            return MALFORMED;
        };
        let data = match (&self.channel, first.binding) {
            (Channel::Bound(data), Binding::Used(TLS_EXPORTER)) => &data[..],
            (Channel::None, Binding::Unused) | (Channel::None | Channel::Unused, Binding::Unsupported) => &[],
            _ => return Step::Failed(Failure::Binding),
        };
        let Some(authcid) = prepare::name(&first.user) else { return MALFORMED };
        let authzid = match first.authzid.as_deref().map(prepare::name) {
            Some(None) => return MALFORMED,
            Some(Some(name)) => Some(name),
            None => None,
        };
        let identity = Identity { authcid, authzid };
        let Ok(found) = self.verifiers.verifier(&identity.authcid, self.hash) else {
            return Step::Failed(Failure::NoSecrets(identity));
        };
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = STANDARD.encode(&found.verifier.salt);
        let challenge = format!("r={nonce},s={salt},i={}", found.verifier.iterations);
        let signed = format!("{},{challenge}", first.bare);
        let binding = [first.header.as_bytes(), data].concat();
        self.state = State::Final(Box::new(Pending { identity, found, binding, nonce, signed }));
        Step::Challenge(challenge.into_bytes())
    }

    fn last(&mut self, pending: Pending, message: &[u8]) -> Step {
        let Some(last) = ClientFinal::parse(message).filter(|last| last.nonce == pending.nonce) else {
            return Step::Failed(Failure::Malformed);
        };
        if !bool::from(last.binding.ct_eq(&pending.binding)) {
            return Step::Failed(Failure::Binding);
        }
        let Pending { identity, found: Found { verifier, known }, signed, .. } = pending;
        let signed = format!("{signed},{}", last.without_proof);
        let mut client_key = self.hash.hmac(&verifier.stored_key, signed.as_bytes());
        let whole = last.proof.len() == client_key.len();
        for (key, proof) in client_key.iter_mut().zip(&last.proof) {
            *key ^= proof;
        }
        let right: bool = self.hash.digest(&client_key).ct_eq(&verifier.stored_key[..]).into();
        if !(known && whole && right) {
            return Step::Failed(Failure::WrongProof(identity));
        }
        let signature = self.hash.hmac(&verifier.server_key, signed.as_bytes());
        self.state = State::Last(identity);
        Step::Challenge(format!("v={}", STANDARD.encode(&signature[..])).into_bytes())
    }
}

impl<L: VerifierLookup + Send> Mechanism for Scram<L> {
    fn start(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(response) => self.step(response),
            None => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::First => self.first(response),
            State::Final(pending) => self.last(*pending, response),
            State::Last(identity) if response.is_empty() => Step::Done(Outcome::Verified(identity)),
            State::Last(_) => Step::Failed(Failure::Malformed),
            State::Finished => Step::Failed(Failure::Finished),
        }
    }
}

#[cfg(test)]
mod tests;
