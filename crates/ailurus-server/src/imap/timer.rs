//! What happens when nothing happens (spec/imapd.md §14).

use crate::imap::session::{Session, State, Work};
use ailurus_proto::imap::response::Status;
use std::time::Instant;

impl Session {
    /// Returns when [`Session::handle_timeout`] is to be called, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = match &self.work {
            Work::Closed => return None,
            Work::Delay(delay) => delay.until,
            Work::Idle(idle) => idle.next_round(),
            _ => self.logout_due(),
        };
        Some(self.dirt_due().map_or(due, |dirt| due.min(dirt)))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.dirt_due().is_some_and(|due| now >= due) {
            self.checkpoint_dirt();
        }
        match &self.work {
            Work::Closed => {}
            Work::Delay(delay) => {
                if now >= delay.until {
                    self.delay_ended();
                }
            }
            Work::Idle(idle) => {
                if now >= idle.next_round() {
                    self.idle_round();
                }
            }
            _ if now < self.logout_due() => {}
            // The client took long to take its output, or we to make it, which is no reason to think that it is gone.
            _ if self.now_is_old || self.is_at_work() => {
                self.now_is_old = false;
                self.waiting_since = now;
            }
            _ => self.autologout(),
        }
        self.advance();
    }

    /// Tells whether the client waits for us and not the other way round.
    fn is_at_work(&self) -> bool {
        matches!(self.work, Work::Running(_)) && self.output.is_empty()
    }

    /// Ends the session of a client that did not go on.
    pub(crate) fn autologout(&mut self) {
        if !self.is_within_response() {
            self.untagged(Status::Bye, None, "Autologout (idle for too long)");
        }
        self.end("Autologout", 1);
    }

    fn logout_due(&self) -> Instant {
        let timers = &self.timers;
        let limit = match self.state {
            State::NotAuthenticated => timers.login,
            _ if self.continuing || !self.splitter.awaits_command() => timers.continuation,
            _ => timers.command,
        };
        self.waiting_since + limit
    }

    /// Returns when changes that are in memory only are to be written. The reference writes them on CHECK, CLOSE, in
    /// IDLE and at the end; a crash before that lost them.
    fn dirt_due(&self) -> Option<Instant> {
        let State::Selected(_, selected) = &self.state else { return None };
        let can = matches!(self.work, Work::Command | Work::Idle(_));
        selected.dirty_since.filter(|_| can).map(|since| since + self.timers.dirty)
    }

    /// Takes note of whether the mailbox has changes in memory only.
    pub(crate) fn note_dirt(&mut self) {
        if let State::Selected(_, selected) = &mut self.state {
            let since = selected.dirty_since.unwrap_or(self.now);
            selected.dirty_since = selected.mailbox.is_dirty().then_some(since);
        }
    }

    fn checkpoint_dirt(&mut self) {
        if let State::Selected(_, selected) = &mut self.state {
            // Tried again after the same time if it fails.
            selected.dirty_since = Some(self.now);
        }
        self.checkpoint();
    }

    /// Has the mailbox write what is in memory only, of which the client need not know.
    pub(crate) fn checkpoint(&mut self) {
        let State::Selected(_, selected) = &mut self.state else { return };
        selected.last_checkpoint = self.now;
        match selected.mailbox.checkpoint() {
            Ok(changes) => selected.note(&changes),
            Err(error) => {
                if let Some(text) = self.notes_or_fatal(error) {
                    return self.lose_mailbox(&text);
                }
            }
        }
        self.drop_info_notices();
        self.note_dirt();
    }
}
