//! The check of a password, as a trait: PAM, shadow, the CRAM-MD5 database, or a test's table.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// Checks passwords.
///
/// An implementation costs the same time whether the user is unknown or the password wrong, and does not sleep: the
/// delay after a failure is the engine's.
pub trait PasswordCheck {
    /// Checks the password of a user, who connects from `rhost` (a textual IP address, if known).
    ///
    /// `user` and `password` are as the client sent them: the lower-case rule and the leading-space rule
    /// ([`names_to_try`](crate::identity::names_to_try), [`passwords_to_try`](crate::identity::passwords_to_try)) are the
    /// implementation's to apply. An empty password is refused.
    ///
    /// # Errors
    ///
    /// If nobody can say whether the password is right. The peer is told the same as for a wrong one.
    fn check(&self, user: &[u8], password: &[u8], rhost: Option<&str>) -> Result<Verdict, CheckError>;
}

/// The answer of a password check.
#[derive(Debug)]
pub enum Verdict {
    /// The password is right.
    Accepted(Accepted),
    /// It is not, or the account is unknown, locked or expired. The text is for the log, never for the peer.
    Refused(&'static str),
}

/// What comes with a right password.
#[derive(Default)]
pub struct Accepted {
    /// What the user should be told about the account, each the text of one `[ALERT]`.
    pub alerts: Vec<Alert>,
    /// Kept until logout and then dropped, in the same thread: the PAM transaction, for instance.
    pub session: Option<Box<dyn Any>>,
}

/// A text that the user must see (RFC 3501 §7.1, ALERT). IMAP shows it, POP drops it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// How urgent it is.
    pub urgency: Urgency,
    /// The text, without `[ALERT]`.
    pub text: String,
}

/// The urgency of an [`Alert`]: `* OK` or `* NO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A notice: `* OK [ALERT]`.
    Notice,
    /// A warning: `* NO [ALERT]`.
    Warning,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("alerts", &self.alerts).finish_non_exhaustive()
    }
}

/// A password could not be checked.
#[derive(Debug, thiserror::Error)]
#[error("cannot check a password: {what}")]
pub struct CheckError {
    /// What was tried.
    pub what: String,
    /// Why it did not work.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}
