//! How long things may take in IMAP, and how large they may be.

use std::time::Duration;

/// How long things may take (spec/imapd.md §14).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Timers {
    /// Before login: for one read, and in all since the greeting.
    pub(crate) login: Duration,
    /// After login, waiting for a command.
    pub(crate) command: Duration,
    /// After login, waiting for the rest of a command.
    pub(crate) continuation: Duration,
    /// One round of IDLE; 31 of them end the session.
    pub(crate) idle_round: Duration,
    /// How long ago the last checkpoint must be for IDLE to make one.
    pub(crate) idle_checkpoint: Duration,
    /// How long changes may be in memory only, outside IDLE too.
    pub(crate) dirty: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(180),
            command: Duration::from_secs(1800),
            continuation: Duration::from_secs(300),
            idle_round: Duration::from_secs(60),
            idle_checkpoint: Duration::from_secs(300),
            dirty: Duration::from_secs(60),
        }
    }
}

/// How large things may be (spec/imapd.md §2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Unknown commands before login.
    pub(crate) bad_commands: u32,
    /// Octets that one [`super::Session::poll_output`] appends, about.
    pub(crate) output: usize,
    /// Octets of one APPEND literal.
    pub(crate) append: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bad_commands: 3, output: 64 * 1024, append: 0x4000_0000 }
    }
}
