//! SASL mechanisms, server side, and the rules around a password login.
//!
//! Everything here is pure: a mechanism is a state machine that is fed responses and says what it wants, the database of
//! shared secrets is parsed from bytes, and a password is checked by whatever implements [`PasswordCheck`] at the edge.
//! No file, no clock, no socket, no account look-up. What a protocol engine does with it:
//!
//! 1. it takes a mechanism by name from [`mechanism::PROPERTIES`], minding the plaintext rule of the session;
//! 2. it decodes an initial response with [`encoding::decode_initial_response`], each later one with
//!    [`encoding::decode_response`], and feeds them to the [`Mechanism`];
//! 3. on [`Outcome::Check`] it spends one try of its [`AttemptBudget`] and asks the edge for a password check; on
//!    [`Outcome::Verified`] or [`Failure::WrongProof`] it spends one too, and if that is refused a right proof counts for
//!    nothing;
//! 4. the edge decides whether that identity may act as the authorization identity, and becomes the user.
//!
//! User names are octets here: they become text when the system's user database has said that they exist.
#![forbid(unsafe_code)]

pub mod anonymous;
pub mod apop;
pub mod attempts;
pub mod cram_database;
pub mod cram_md5;
pub mod encoding;
mod entries;
pub mod external;
pub mod identity;
pub mod login;
pub mod mechanism;
pub mod password;
pub mod password_database;
pub mod plain;
pub mod scram;

/// Octets that prove an identity: `Debug` does not print them, and they are wiped from memory when dropped.
pub type SecretOctets = ailurus_types::Secret<zeroize::Zeroizing<Vec<u8>>>;

/// Makes octets a secret. The originals are the caller's to wipe.
pub fn secret(octets: &[u8]) -> SecretOctets {
    ailurus_types::Secret::new(zeroize::Zeroizing::new(octets.to_vec()))
}

pub use anonymous::Anonymous;
pub use attempts::{AttemptBudget, Refusal};
pub use cram_database::{CramDatabase, CramEditor};
pub use cram_md5::{CramMd5, SecretLookup};
pub use encoding::{decode_initial_response, decode_response};
pub use external::External;
pub use identity::Identity;
pub use login::Login;
pub use mechanism::{Circumstances, Credentials, Failure, Mechanism, Outcome, Properties, Step};
pub use password::{Accepted, CheckError, PasswordCheck, Verdict};
pub use password_database::{PasswordDatabase, PasswordEditor};
pub use plain::Plain;
pub use scram::{Scram, VerifierLookup};
