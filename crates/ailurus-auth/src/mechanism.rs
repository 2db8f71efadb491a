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
    /// Begins the exchange, with the initial response if the client sent one (`Some(b"")` for an empty one). As it stands, this is
    /// that of a mechanism in which the client speaks first.
    fn start(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(response) => self.step(response),
            None => Step::Challenge(Vec::new()),
        }
    }

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
    /// The client is nobody, and says this of itself.
    Anonymous(Vec<u8>),
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
    /// What the client says of the channel is not what the server sees: somebody is in between, or meddles with what is
    /// offered.
    #[error("channel binding does not match")]
    Binding,
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
    /// The database of verifiers ([`crate::PasswordDatabase`]).
    Verifiers,
    /// That database, and a TLS channel that can be bound to.
    VerifiersAndChannel,
    /// A client whose identity is known.
    ExternalIdentity,
    /// That the host lets anybody in.
    AnonymousLogin,
}

/// The mechanisms built in, in the order in which they are advertised: that of the original (spec/auth.md §4), with those
/// that it does not have in between by their strength, for clients that take the first that they know.
pub const PROPERTIES: [Properties; 9] = {
    let [sha_256_plus, sha_1_plus, sha_256, sha_1] = crate::scram::PROPERTIES;
    [
        crate::external::PROPERTIES,
        sha_256_plus,
        sha_1_plus,
        sha_256,
        sha_1,
        crate::cram_md5::PROPERTIES,
        crate::plain::PROPERTIES,
        crate::login::PROPERTIES,
        crate::anonymous::PROPERTIES,
    ]
};

/// Returns the properties of the mechanism of that name, whatever its case (RFC 4422 §3.1: names are upper case, but
/// clients exist that are not), or `None`.
pub fn properties(name: &[u8]) -> Option<&'static Properties> {
    PROPERTIES.iter().find(|properties| name.eq_ignore_ascii_case(properties.name.as_bytes()))
}

/// What of a session decides which mechanisms it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Plaintext logins are disabled now (spec/auth.md §6; TLS may have lifted it).
    pub plaintext_disabled: bool,
    /// The session is inside TLS.
    pub in_tls: bool,
    /// The database of shared secrets existed when the session began.
    pub shared_secrets: bool,
    /// The database of verifiers existed when the session began.
    pub verifiers: bool,
    /// The TLS channel can be bound to.
    pub channel: bool,
    /// It is known who the client is.
    pub external_identity: bool,
    /// The host lets anybody in, and the protocol has use for them.
    pub anonymous: bool,
}

impl Properties {
    /// Returns whether the mechanism may be tried.
    pub fn is_usable(&self, now: Circumstances) -> bool {
        let allowed = self.plaintext == Plaintext::No || !now.plaintext_disabled;
        let present = match self.needs {
            Needs::PasswordCheck => true,
            Needs::SharedSecrets => now.shared_secrets,
            Needs::Verifiers => now.verifiers,
            Needs::VerifiersAndChannel => now.verifiers && now.channel,
            Needs::ExternalIdentity => now.external_identity,
            Needs::AnonymousLogin => now.anonymous,
        };
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
        let open = Circumstances::default();
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
        let scram = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"];
        assert_eq!(order[1..5], scram);
        assert_eq!(
            [order[0], order[5], order[6], order[7], order[8]],
            ["EXTERNAL", "CRAM-MD5", "PLAIN", "LOGIN", "ANONYMOUS"]
        );
        let listed =
            |now| PROPERTIES.iter().filter(|p| p.is_advertised(now)).map(|p| p.name).collect::<Vec<_>>();
        assert_eq!(listed(open), [""; 0]);
        assert_eq!(listed(Circumstances { verifiers: true, ..disabled }), scram[2..]);
        assert_eq!(listed(Circumstances { channel: true, ..disabled }), [""; 0]);
        assert_eq!(listed(Circumstances { channel: true, verifiers: true, ..disabled }), scram);
        assert_eq!(listed(Circumstances { external_identity: true, ..disabled }), ["EXTERNAL"]);
        assert_eq!(listed(Circumstances { anonymous: true, ..disabled }), ["ANONYMOUS"]);
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
