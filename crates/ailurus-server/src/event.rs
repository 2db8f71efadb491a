//! What a session wants of whoever runs it, and what it is told.

use ailurus_auth::{Properties, SecretOctets};
use ailurus_store::Mailboxes;

/// Something that only the edge can do. [`Event::Log`], [`Event::CheckPassword`], [`Event::BecomeUser`] and [`Event::BecomeAnonymous`] are
/// acted on at once, the others after all output is written.
#[derive(Debug)]
pub enum Event {
    /// Write a line to the log.
    Log {
        /// The syslog facility.
        facility: Facility,
        /// The syslog priority.
        priority: Priority,
        /// The line, as the reference words it (spec/imapd.md §15).
        text: String,
    },
    /// Check a password, become the user, and answer with [`crate::imap::Session::handle_login`].
    CheckPassword {
        /// Whose mailboxes are wanted.
        user: Vec<u8>,
        /// Whose password it is, if it is another's.
        authenticating_user: Option<Vec<u8>>,
        /// The password.
        password: SecretOctets,
        /// How it came.
        how: How,
    },
    /// Become a user whose identity is proven, and answer with [`crate::imap::Session::handle_login`].
    BecomeUser {
        /// Whose mailboxes are wanted.
        user: Vec<u8>,
        /// Who proved to be whom, if it is another.
        authenticating_user: Option<Vec<u8>>,
        /// The mechanism that proved it.
        mechanism: &'static str,
    },
    /// Become the anonymous user, and answer with [`crate::imap::Session::handle_login`].
    BecomeAnonymous,
    /// Take note that an attempt to log in has failed.
    LoginFailed,
    /// Begin the TLS handshake; then [`crate::imap::Session::handle_tls_started`].
    StartTls,
    /// Close the connection.
    Close {
        /// With what the process ends: 0 where the client left in an orderly way.
        exit_status: u8,
    },
}

/// How a password came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// The LOGIN command.
    Login,
    /// AUTHENTICATE with this mechanism.
    Authenticate(&'static str),
}

impl From<&'static Properties> for How {
    fn from(properties: &'static Properties) -> Self {
        Self::Authenticate(properties.name)
    }
}

/// A syslog facility.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Facility {
    /// `mail`
    Mail,
    /// `auth`
    Auth,
}

/// A syslog priority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Priority {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `notice`
    Notice,
    /// `warning`
    Warning,
    /// `err`
    Error,
    /// `crit`
    Critical,
    /// `alert`
    Alert,
}

/// Who came in, and with which mailboxes.
pub struct Login {
    /// The account's name.
    pub user: String,
    /// The user's mailboxes.
    pub mailboxes: Mailboxes,
}

/// Why nobody came in. The peer is told the same in every case, but for who has moved and who has too many sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoginFailure {
    /// The password is wrong, or the account may not log in.
    Refused,
    /// Nobody could tell.
    Unavailable,
    /// The account has moved ([`crate::Referrals::user`]): the password is right, or there is none to check any more.
    Moved,
    /// The password is right, and the user has as many sessions as are allowed.
    TooManySessions,
}

/// A signal that the process got, or what stands for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Another process asks for the lock of the selected mailbox (SIGUSR2).
    Kiss,
    /// The process is to end at once (SIGTERM).
    Terminate,
    /// The client is gone (SIGHUP, SIGPIPE).
    Hangup,
}
