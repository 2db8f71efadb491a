//! What the protocols differ in at the edge: names, ports, files.

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

/// A protocol that we speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// POP2, which nobody has used for decades: only where it is asked for.
    Pop2,
}

/// A service as `/etc/services` has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WellKnown {
    /// Its name there.
    pub system_name: &'static CStr,
    /// Its port where it is not there.
    pub port: u16,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Pop2];

    /// Returns its name in settings and log lines; with an `s` behind it for the one inside TLS.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Pop2 => "pop2",
        }
    }

    /// Returns what the greeting calls us.
    #[must_use]
    pub fn product(self) -> &'static str {
        match self {
            Self::Imap => concat!("Ailurus IMAP ", env!("CARGO_PKG_VERSION")),
            // Its greeting begins with POP3.
            Self::Pop3 | Self::Pop2 => concat!("Ailurus ", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Returns the program that speaks it on standard input and output. Certificates that are for it alone have the same name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Imap => "imapd",
            Self::Pop3 => "ipop3d",
            Self::Pop2 => "ipop2d",
        }
    }

    /// Returns the PAM service: what administrators have configured for the original.
    #[must_use]
    pub fn pam_service(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 | Self::Pop2 => "pop",
        }
    }

    /// Returns the services in the clear and inside TLS.
    #[must_use]
    pub fn services(self) -> (WellKnown, Option<WellKnown>) {
        let service = |system_name, port| WellKnown { system_name, port };
        match self {
            Self::Imap => (service(c"imap", 143), Some(service(c"imaps", 993))),
            Self::Pop3 => (service(c"pop3", 110), Some(service(c"pop3s", 995))),
            Self::Pop2 => (service(c"pop2", 109), None),
        }
    }

    /// Returns how a client is told that it is not served, without its line end.
    #[must_use]
    pub fn farewell(self, why: &str) -> String {
        match self {
            Self::Imap => format!("* BYE {why}"),
            Self::Pop3 => format!("-ERR [SYS/TEMP] {why}"),
            Self::Pop2 => format!("- {why}"),
        }
    }
}

/// How far the usual ports of a person's own server are above those of a host.
const PERSONAL: u16 = 1000;

/// A protocol with or without TLS before the greeting: what is listened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listening {
    /// The protocol.
    pub protocol: Protocol,
    /// TLS comes before the greeting.
    pub tls: bool,
}

impl Listening {
    /// All that there is.
    pub const ALL: [Self; 5] = [
        Self { protocol: Protocol::Imap, tls: false },
        Self { protocol: Protocol::Imap, tls: true },
        Self { protocol: Protocol::Pop3, tls: false },
        Self { protocol: Protocol::Pop3, tls: true },
        Self { protocol: Protocol::Pop2, tls: false },
    ];
    /// What is listened for unless the settings say otherwise.
    pub const USUAL: usize = 4;

    /// Returns the usual port: of a host, and of a person's own server 1000 above it.
    #[must_use]
    pub fn port(self) -> u16 {
        let (plain, tls) = self.protocol.services();
        tls.filter(|_| self.tls).unwrap_or(plain).port
    }

    /// Says it for people.
    #[must_use]
    pub fn about(self) -> &'static str {
        match (self.protocol, self.tls) {
            (Protocol::Imap, false) => "IMAP",
            (Protocol::Imap, true) => "IMAP over TLS",
            (Protocol::Pop3, false) => "POP3",
            (Protocol::Pop3, true) => "POP3 over TLS",
            (Protocol::Pop2, _) => "POP2",
        }
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.protocol.name(), if self.tls { "s" } else { "" })
    }
}

impl FromStr for Listening {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|listening| listening.to_string() == text);
        found.ok_or_else(|| format!("neither imap, imaps, pop3, pop3s nor pop2: {text}"))
    }
}

/// What to listen for, and on which port if not the usual one: `pop3`, or `pop3:2110`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// What.
    pub listening: Listening,
    /// The port.
    pub port: Option<u16>,
}

impl Wanted {
    /// Returns the port, for a host.
    #[must_use]
    pub fn host_port(self) -> u16 {
        self.port.unwrap_or_else(|| self.listening.port())
    }

    /// Returns the port, for a person's own server.
    #[must_use]
    pub fn personal_port(self) -> u16 {
        self.port.unwrap_or_else(|| self.listening.port() + PERSONAL)
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => {
                let number = port.parse().ok().filter(|port| *port != 0);
                (name, Some(number.ok_or_else(|| format!("not a port from 1 to 65535: {port}"))?))
            }
            None => (text, None),
        };
        Ok(Self { listening: name.parse()?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read() {
        let wanted = |text: &str| text.parse::<Wanted>();
        let pop3s = Listening { protocol: Protocol::Pop3, tls: true };
        assert_eq!(wanted("pop3s"), Ok(Wanted { listening: pop3s, port: None }));
        assert_eq!(wanted("pop3s:1234"), Ok(Wanted { listening: pop3s, port: Some(1234) }));
        for bad in ["pop", "pop2s", "imap:", "imap:0", "imap:70000", ""] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
        let ports: Vec<_> = Listening::ALL.iter().map(|listening| listening.port()).collect();
        assert_eq!(ports, [143, 993, 110, 995, 109]);
    }
}
