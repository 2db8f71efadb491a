//! What a session of any protocol has: its surroundings, what it wants done, and who is at the other end.

use crate::config::{Config, TlsChannel, TlsState};
use crate::event::{Event, Facility, Priority};
use ailurus_auth::AttemptBudget;
use ailurus_auth::mechanism::{Circumstances, Properties};
use std::collections::VecDeque;

/// The part of a session that knows no protocol. Logins are in [`crate::login`].
pub(crate) struct Base {
    pub(crate) config: Config,
    /// What whoever runs the session is to do, in order.
    pub(crate) events: VecDeque<Event>,
    /// Who logged in, or tried to last; for the log.
    pub(crate) user: Option<String>,
    pub(crate) attempts: AttemptBudget,
    /// How many challenges of CRAM-MD5 and SCRAM were made.
    pub(crate) challenges: u64,
    /// How many failures were logged that cost no attempt.
    pub(crate) logged_failures: u32,
}

impl Base {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            attempts: AttemptBudget::new(config.login_attempts),
            config,
            events: VecDeque::new(),
            user: None,
            challenges: 0,
            logged_failures: 0,
        }
    }

    /// Returns who is at the other end, for the log.
    pub(crate) fn who(&self) -> String {
        let user = self.user.as_deref().unwrap_or("???");
        format!("user={user:.80} host={:.80}", self.config.client)
    }

    pub(crate) fn log(&mut self, facility: Facility, priority: Priority, text: String) {
        self.events.push_back(Event::Log { facility, priority, text });
    }

    /// Logs the end of the session, and asks for the end of the connection.
    pub(crate) fn close(&mut self, reason: &str, exit_status: u8) {
        let text = format!("{reason:.80} {}", self.who());
        self.log(Facility::Mail, Priority::Info, text);
        self.events.push_back(Event::Close { exit_status });
    }

    /// Takes note that the connection is encrypted now.
    pub(crate) fn tls_started(&mut self, channel: TlsChannel) {
        self.config.tls = TlsState::Active;
        self.config.channel = channel;
    }

    /// Returns what decides about mechanisms now.
    pub(crate) fn circumstances(&self) -> Circumstances {
        Circumstances {
            plaintext_disabled: self.config.plaintext_disabled(),
            shared_secrets: self.config.cram_md5.is_some(),
            verifiers: self.config.scram.is_some(),
            channel: self.config.channel.exporter.is_some(),
            external_identity: self.config.channel.user.is_some(),
            anonymous: self.config.anonymous,
            in_tls: self.config.tls == TlsState::Active,
        }
    }

    /// Tells whether a SASL mechanism is listed.
    pub(crate) fn offers(&self, properties: &Properties) -> bool {
        properties.is_advertised(self.circumstances())
    }

    /// Returns the names of the mechanisms that are listed, in their order.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &'static str> {
        let offered = ailurus_auth::mechanism::PROPERTIES.iter().filter(|properties| self.offers(properties));
        offered.map(|properties| properties.name)
    }
}
