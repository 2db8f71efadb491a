//! CAPA, USER, PASS, AUTH, APOP, STLS (RFC 1939 §4 and §7, RFC 2449 §5, RFC 2595 §4, RFC 5034).

use crate::config::{TlsChannel, TlsState};
use crate::event::Event;
use crate::login::Initial;
use crate::pop::session::Work;
use crate::pop3::Session;
use std::time::Instant;

impl Session {
    /// CAPA: the same list before and after the login, in the reference's order, then what it does not have.
    pub(super) fn capa(&mut self) {
        self.answer("+OK Capability list follows:");
        self.answer("TOP");
        self.answer("UIDL");
        if self.base.config.tls == TlsState::Available {
            self.answer("STLS");
        }
        if !self.base.config.plaintext_disabled() {
            self.answer("USER");
        }
        let mechanisms: Vec<_> = self.base.offered().collect();
        if !mechanisms.is_empty() {
            self.answer(&format!("SASL {}", mechanisms.join(" ")));
        }
        self.answer("RESP-CODES");
        self.answer("AUTH-RESP-CODE");
        self.answer("PIPELINING");
        self.answer("EXPIRE NEVER");
        let product = &self.base.config.product;
        // Before login nobody needs to know for which version to look for weaknesses.
        let name = product.rsplit_once(' ').filter(|_| self.maildrop.is_none());
        let implementation = format!("IMPLEMENTATION {}", name.map_or(product.as_str(), |(name, _)| name));
        self.answer(&implementation);
        self.answer(".");
    }

    pub(super) fn user(&mut self, name: &[u8]) {
        let name = name.trim_ascii_start();
        if name.is_empty() {
            return self.answer("-ERR Missing username argument");
        }
        self.protocol.user = Some(name.to_vec());
        self.answer("+OK User name accepted, password please");
    }

    /// PASS. The name stays: after a wrong password another may be tried.
    pub(super) fn pass(&mut self, password: &[u8]) {
        let Some(name) = self.protocol.user.clone() else {
            return self.answer("-ERR Unknown AUTHORIZATION state command");
        };
        if password.is_empty() {
            return self.answer("-ERR Missing password argument");
        }
        self.log_in(&name, ailurus_auth::secret(password));
    }

    pub(super) fn auth(&mut self, argument: &[u8]) {
        let argument = argument.trim_ascii();
        if argument.is_empty() {
            return self.list_mechanisms();
        }
        let space = argument.iter().position(|octet| *octet == b' ');
        let (mechanism, initial) = argument.split_at(space.unwrap_or(argument.len()));
        let initial = initial.trim_ascii_start();
        let initial = (!initial.is_empty()).then(|| Initial::decode(initial));
        match self.base.authenticate(mechanism, initial) {
            Some(next) => self.go_on(next),
            None => {
                self.base.log_mechanism(&mechanism.to_ascii_uppercase(), "failure");
                self.answer("-ERR Bad authentication");
                self.count_logged_failure();
            }
        }
    }

    fn list_mechanisms(&mut self) {
        self.answer("+OK Supported authentication mechanisms:");
        for name in self.base.offered().collect::<Vec<_>>() {
            self.answer(name);
        }
        self.answer(".");
    }

    pub(super) fn apop(&mut self, argument: &[u8]) {
        let Some(timestamp) = self.protocol.timestamp.clone() else {
            return self.answer("-ERR Not supported");
        };
        let argument = argument.trim_ascii();
        // The last space divides, since names may contain spaces.
        let Some(space) = argument.iter().rposition(|octet| *octet == b' ') else {
            return self.answer("-ERR Missing APOP argument");
        };
        let (name, digest) = (argument[..space].trim_ascii_end(), &argument[space + 1..]);
        match self.base.apop(&timestamp, name, digest) {
            Some(next) => self.go_on(next),
            None => self.answer("-ERR Not supported"),
        }
    }

    pub(super) fn stls(&mut self) {
        match self.base.config.tls {
            TlsState::Unavailable => self.answer("-ERR STLS failed: Server certificate not installed"),
            TlsState::Active => self.answer("-ERR STLS failed: Already in an SSL session"),
            TlsState::Available => {
                self.answer("+OK STLS completed");
                // Nothing that was said in the clear counts inside TLS (RFC 2595 §4); of what may be said behind STLS
                // nothing is here yet.
                self.protocol.user = None;
                self.lines.discard();
                self.work = Work::StartTls;
                self.base.events.push_back(Event::StartTls);
            }
        }
    }

    /// Takes note that the connection is encrypted now, and what is known of it.
    pub fn handle_tls_started(&mut self, channel: TlsChannel, now: Instant) {
        self.now = now;
        if matches!(self.work, Work::StartTls) {
            self.lines.discard();
            self.base.tls_started(channel);
            self.work = Work::Line;
            self.command_ended();
        }
    }
}
