//! STARTTLS (RFC 3501 §6.2.1).

use crate::config::{TlsChannel, TlsState};
use crate::event::Event;
use crate::imap::session::{Session, Work};
use crate::imap::tagged::Outcome;
use ailurus_proto::imap::{CommandName, Tag};
use std::time::Instant;

impl Session {
    pub(crate) fn starttls(&mut self, tag: Tag) {
        let refusal = match self.base.config.tls {
            TlsState::Unavailable => "Server certificate not installed",
            TlsState::Active => "Already in an SSL session",
            TlsState::Available => {
                self.answer(&tag, CommandName::StartTls, Outcome::ok());
                // Commands sent behind STARTTLS in the clear are nobody's but an attacker's.
                let _dropped = self.splitter.discard_input();
                self.work = Work::StartTls;
                self.base.events.push_back(Event::StartTls);
                return;
            }
        };
        self.finish(tag, CommandName::StartTls, Outcome::no(refusal));
    }

    /// Takes note that the connection is encrypted now.
    pub fn handle_tls_started(&mut self, channel: TlsChannel, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::StartTls) {
            let _dropped = self.splitter.discard_input();
            self.base.tls_started(channel);
            self.work = Work::Command;
            self.command_ended();
        }
    }
}
