//! How many logins a session may try, and which are refused unseen (spec/auth.md §1, steps 1 and 2).
//!
//! Passwords and CRAM-MD5 proofs share one budget. The original refuses right passwords once the budget is spent but
//! keeps the connection for ever; we tell the engine to close it.

use crate::identity::Identity;

/// User names of this many octets or more are no names but an attack.
pub const MAX_NAME: usize = 65;

/// The login attempts left to a session.
#[derive(Debug, Clone)]
pub struct AttemptBudget {
    left: u32,
    barred: bool,
}

/// Why an attempt is refused without a look at the password. The peer is not told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A name too long to be one; every later attempt of the session is refused too. To be logged at auth.alert, as the
    /// words here begin the log line.
    #[error("Login SYSTEM BREAK-IN ATTEMPT")]
    BreakIn,
    /// The attempts are used up (auth.notice).
    #[error("Login excessive login failures")]
    Excessive,
}

impl AttemptBudget {
    /// Three attempts, unless configured.
    pub const DEFAULT: u32 = 3;

    /// Starts a session with that many attempts.
    pub fn new(attempts: u32) -> Self {
        Self { left: attempts, barred: false }
    }

    /// Spends one attempt of `identity`. `Ok` means that its password or proof is to be checked.
    ///
    /// # Errors
    ///
    /// The attempt is refused: answer as to a wrong password, with the same delay.
    pub fn spend(&mut self, identity: &Identity) -> Result<(), Refusal> {
        let too_long = |name: &[u8]| name.len() >= MAX_NAME;
        if self.barred || too_long(&identity.authcid) || identity.authzid.as_deref().is_some_and(too_long) {
            self.barred = true;
            return Err(Refusal::BreakIn);
        }
        self.left = self.left.checked_sub(1).ok_or(Refusal::Excessive)?;
        Ok(())
    }

    /// Returns whether no further attempt can succeed. After a failed one the engine answers, says BYE and closes.
    pub fn is_exhausted(&self) -> bool {
        self.barred || self.left == 0
    }
}

impl Default for AttemptBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_attempts_and_no_more() {
        let mut budget = AttemptBudget::default();
        let ada = Identity::parse_star(b"ada");
        for exhausted in [false, false, true] {
            assert_eq!(budget.spend(&ada), Ok(()));
            assert_eq!(budget.is_exhausted(), exhausted);
        }
        assert_eq!(budget.spend(&ada), Err(Refusal::Excessive));
        assert_eq!(budget.spend(&ada), Err(Refusal::Excessive));
        assert_eq!(AttemptBudget::new(0).spend(&ada), Err(Refusal::Excessive));
    }

    #[test]
    fn an_overlong_name_bars_the_session() {
        let name = |length| vec![b'a'; length];
        let mut budget = AttemptBudget::default();
        assert_eq!(budget.spend(&Identity::parse_star(&name(64))), Ok(()));
        assert!(!budget.is_exhausted());
        let admin = [&b"ada*"[..], &name(65)].concat();
        assert_eq!(budget.spend(&Identity::parse_star(&admin)), Err(Refusal::BreakIn));
        assert!(budget.is_exhausted());
        assert_eq!(budget.spend(&Identity::parse_star(b"ada")), Err(Refusal::BreakIn));
    }
}
