//! What happens when nothing happens (spec/pop.md §2).

use crate::pop::session::{Protocol, Session, Work};
use std::time::{Duration, Instant};

/// Before login: for one read, and in all.
pub(crate) const LOGIN: Duration = Duration::from_secs(180);

#[expect(private_bounds, reason = "POP3 and POP2 are all that there is")]
impl<P: Protocol> Session<P> {
    /// Returns when [`Session::handle_timeout`] is to be called, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.work {
            Work::Closed => None,
            Work::Delay(delay) => Some(delay.until),
            _ => Some(self.logout_due()),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        match &self.work {
            Work::Closed => {}
            Work::Delay(delay) => {
                if now >= delay.until {
                    self.delay_ended();
                }
            }
            _ if now < self.logout_due() => {}
            // The client took long to take its output, or we to make it, which is no reason to think that it is gone.
            _ if self.now_is_old || self.is_at_work() => {
                self.now_is_old = false;
                self.waiting_since = now;
            }
            _ => {
                if !self.is_within_response() {
                    self.answer(P::AUTOLOGOUT);
                }
                self.end("Autologout", 1);
            }
        }
        self.advance();
    }

    /// Tells whether the client waits for us and not the other way round.
    fn is_at_work(&self) -> bool {
        matches!(self.work, Work::Task(_)) && self.output.is_empty()
    }

    fn logout_due(&self) -> Instant {
        let limit = if self.mailboxes.is_some() { P::IDLE } else { LOGIN };
        self.waiting_since + limit
    }
}
