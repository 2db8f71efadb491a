//! What every SASL mechanism is to a protocol engine (RFC 4422).
//!
//! The engine owns the framing (base64, `+ `, `*`); a mechanism sees decoded octets and returns a [`Step`]. It is used
//! for one exchange and then dropped.

use crate::SecretOctets;
use crate::identity::Identity;

/// The server side of one SASL exchange.
///
/// After [`Step::Done`] or [`Step::Failed`] the exchange is over; any further call returns
/// `Step::Failed(Failure::Finished)`.
pub trait Mechanism: Send {
    /// Begins the exchange, with the initial response if the client sent one (`Some(b"")` for an empty one).
    fn start(&mut self, initial: Option<&[u8]>) -> Step;

    /// Takes the client's decoded response to the last challenge.
    fn step(&mut self, response: &[u8]) -> Step;
}

/// What a mechanism wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this challenge (not yet encoded, may be empty) and come back with the response.
    Challenge(Vec<u8>),
    /// The client has said all that it has to say.
    Done(Outcome),
    /// The exchange failed.
    Failed(Failure),
}

/// What a finished exchange leaves to the caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A password was sent: the caller checks it, and only then is the identity proven.
    Check(Credentials),
    /// The mechanism has proven the authentication identity by itself.
    Verified(Identity),
}

/// An identity and the password that is to prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who logs in, and as whom.
    pub identity: Identity,
    /// The password as the client sent it; may be empty (which every check refuses), holds no NUL.
    pub password: SecretOctets,
}

/// Why an exchange failed. This is for the log; the peer is never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The response does not have the form that the mechanism demands.
    #[error("malformed response")]
    Malformed,
    /// An initial response was sent to a mechanism that begins with a challenge of its own.
    #[error("initial response where the server speaks first")]
    InitialResponse,
    /// The proof is wrong, or the identity has no secret. It counts as a failed login of that identity.
    #[error("wrong proof")]
    WrongProof(Identity),
    /// The secrets could not be read.
    #[error("secrets cannot be read")]
    NoSecrets(Identity),
    /// The exchange was over already.
    #[error("exchange is finished")]
    Finished,
}

/// What an engine must know of a mechanism before it offers or starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// The registered name, upper case.
    pub name: &'static str,
    /// Whether it sends the password itself, and so is refused where plaintext logins are disabled.
    pub plaintext: Plaintext,
    /// When it is listed among the capabilities. A mechanism that is not listed works all the same when it is tried.
    pub advertised: Advertised,
    /// Whether an initial response may be given (no: the exchange then fails).
    pub initial_response: InitialResponse,
    /// How the client names an authorization identity.
    pub authorization: Authorization,
    /// What the server must have for the mechanism to exist at all.
    pub needs: Needs,
}

/// Whether a mechanism sends the password in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// When a mechanism is listed among the capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advertised {
    /// Whenever it exists.
    Always,
    /// Inside TLS only.
    InTls,
}

/// Whether the client may send an initial response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialResponse {
    /// It may: the mechanism's first challenge is empty.
    Allowed,
    /// It may not: the mechanism begins with a challenge that is not empty.
    Forbidden,
}

/// How an authorization identity other than the authentication identity is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// In a field of its own.
    Field,
    /// As `user*admin` in place of the user name.
    Star,
}

/// What the server must have for a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A way to check passwords, which there always is.
    PasswordCheck,
    /// The database of shared secrets ([`crate::CramDatabase`]).
    SharedSecrets,
}

/// The mechanisms built in, in the order in which they are advertised (spec/auth.md §4).
pub const PROPERTIES: [Properties; 3] =
    [crate::cram_md5::PROPERTIES, crate::plain::PROPERTIES, crate::login::PROPERTIES];

/// Returns the properties of the mechanism of that name, whatever its case (RFC 4422 §3.1: names are upper case, but
/// clients exist that are not), or `None`.
pub fn properties(name: &[u8]) -> Option<&'static Properties> {
    PROPERTIES.iter().find(|properties| name.eq_ignore_ascii_case(properties.name.as_bytes()))
}

/// What of a session decides which mechanisms it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Plaintext logins are disabled now (spec/auth.md §6; TLS may have lifted it).
    pub plaintext_disabled: bool,
    /// The session is inside TLS.
    pub in_tls: bool,
    /// The database of shared secrets existed when the session began.
    pub shared_secrets: bool,
}

impl Properties {
    /// Returns whether the mechanism may be tried.
    pub fn is_usable(&self, now: Circumstances) -> bool {
        let allowed = self.plaintext == Plaintext::No || !now.plaintext_disabled;
        let present = self.needs != Needs::SharedSecrets || now.shared_secrets;
        allowed && present
    }

    /// Returns whether the mechanism is listed (`AUTH=`, `SASL`): it may be tried, and in the open it is none that sends
    /// the password.
    pub fn is_advertised(&self, now: Circumstances) -> bool {
        self.is_usable(now) && (self.advertised == Advertised::Always || now.in_tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_specification() {
        let find = |name: &str| properties(name.as_bytes()).expect("built in");
        let open = Circumstances { plaintext_disabled: false, in_tls: false, shared_secrets: false };
        let disabled = Circumstances { plaintext_disabled: true, ..open };
        let in_tls = Circumstances { in_tls: true, ..open };
        for plaintext in [find("PLAIN"), find("login")] {
            assert!(plaintext.is_usable(open) && !plaintext.is_advertised(open), "hidden, but it works");
            assert!(!plaintext.is_usable(disabled) && !plaintext.is_advertised(disabled));
            assert!(plaintext.is_usable(in_tls) && plaintext.is_advertised(in_tls));
            assert!(!plaintext.is_advertised(Circumstances { plaintext_disabled: true, ..in_tls }));
        }
        let cram = find("CRAM-MD5");
        let with_secrets = Circumstances { shared_secrets: true, ..disabled };
        assert!(cram.is_usable(with_secrets) && cram.is_advertised(with_secrets));
        assert!(!cram.is_usable(in_tls) && !cram.is_advertised(in_tls));
        assert_eq!(cram.initial_response, InitialResponse::Forbidden);
        assert_eq!(find("plain").initial_response, InitialResponse::Allowed);
        assert!(properties(b"NOSUCH").is_none());
        let order: Vec<_> = PROPERTIES.iter().map(|properties| properties.name).collect();
        assert_eq!(order, ["CRAM-MD5", "PLAIN", "LOGIN"]);
    }

    #[test]
    fn credentials_do_not_print_the_password() {
        let credentials = Credentials {
            identity: Identity { authcid: b"ada".to_vec(), authzid: None },
            password: crate::secret(b"adapw"),
        };
        let printed = format!("{credentials:?}");
        assert!(!printed.contains("adapw") && !printed.contains("97, 100, 97, 112"), "{printed}");
    }
}
