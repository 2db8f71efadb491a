//! What a session is told about its surroundings before it starts.

use crate::referral::Referrals;
use ailurus_auth::{SecretLookup, VerifierLookup};
use ailurus_store::Mailboxes;
use std::sync::Arc;
use std::time::Duration;

/// The surroundings of one session; all of it is settled before the greeting.
#[derive(Clone)]
pub struct Config {
    /// The host name of the greeting, of `* BYE` at LOGOUT and of CRAM-MD5 challenges.
    pub host: String,
    /// Product and version of the greeting, such as `Ailurus IMAP 0.1.0`.
    pub product: String,
    /// The date of the greeting, as in a `Date:` field.
    pub date: String,
    /// Whether the connection is encrypted, or can become so.
    pub tls: TlsState,
    /// Whether passwords may be sent in the clear.
    pub plaintext: Plaintext,
    /// The database of shared secrets, where there is one: CRAM-MD5 is then offered.
    pub cram_md5: Option<Arc<dyn SecretLookup + Send + Sync>>,
    /// The database of verifiers, where there is one: SCRAM is then offered.
    pub scram: Option<Arc<dyn VerifierLookup + Send + Sync>>,
    /// A random number, new for each session, from which CRAM-MD5 challenges are made.
    pub nonce: u64,
    /// Another one, from which the nonces of SCRAM are made.
    pub seed: [u8; 32],
    /// What is known of the client by other means than its word: see [`TlsChannel`], which replaces it when TLS starts.
    pub channel: TlsChannel,
    /// Anybody may come in and read what is there for everybody; for IMAP alone.
    pub anonymous: bool,
    /// The client as the log shows it: `name [address]`.
    pub client: String,
    /// How many logins may be tried.
    pub login_attempts: u32,
    /// Who and what has moved to other servers. IMAP alone can say so.
    pub referrals: Arc<Referrals>,
    /// A client that asks for the STATUS of the mailbox that it has selected is told so.
    pub status_warning: bool,
    /// How long it takes until a client is told that a login failed.
    pub login_failure: Duration,
}

impl Config {
    /// Returns a configuration with the reference's rules for logins, passwords allowed, and no TLS.
    #[must_use]
    pub fn new(host: &str, product: &str, date: &str, client: &str) -> Self {
        Self {
            host: host.into(),
            product: product.into(),
            date: date.into(),
            tls: TlsState::Unavailable,
            plaintext: Plaintext::Allowed,
            cram_md5: None,
            scram: None,
            nonce: 0,
            seed: [0; 32],
            channel: TlsChannel::default(),
            anonymous: false,
            client: client.into(),
            login_attempts: ailurus_auth::AttemptBudget::DEFAULT,
            referrals: Arc::default(),
            status_warning: true,
            login_failure: Duration::from_secs(3),
        }
    }

    /// Tells whether passwords may not be sent now (spec/auth.md §6).
    #[must_use]
    pub fn plaintext_disabled(&self) -> bool {
        match self.plaintext {
            Plaintext::Allowed => false,
            Plaintext::OnlyTls => self.tls != TlsState::Active,
            Plaintext::Never => true,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Whether the connection is encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsState {
    /// It is not and cannot become so.
    Unavailable,
    /// It is not, and STARTTLS works: a usable certificate is there.
    Available,
    /// It is.
    Active,
}

/// What is known of a TLS channel when it is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsChannel {
    /// The data of the channel binding `tls-exporter` (RFC 9266); `None` where the channel cannot be bound to.
    pub exporter: Option<[u8; 32]>,
    /// The user that the client's certificate is of: EXTERNAL is then offered.
    pub user: Option<Vec<u8>>,
}

/// Whether passwords may be sent (spec/auth.md §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plaintext {
    /// On any connection.
    Allowed,
    /// Inside TLS only.
    OnlyTls,
    /// Never.
    Never,
}

/// How a session begins.
pub enum Start {
    /// Somebody has to log in.
    NotAuthenticated,
    /// The surroundings vouch for the user (rsh, ssh).
    PreAuthenticated {
        /// The user's name.
        user: String,
        /// The user's mailboxes.
        mailboxes: Mailboxes,
    },
}
