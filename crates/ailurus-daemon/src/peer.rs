//! Who is at the other end, and what the local end is called (spec/imapd.md §1).

use crate::protocol::Protocol;
use ailurus_sys::socket::{self, Endpoint};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long the resolver may take for a name; the greeting waits for it.
const PATIENCE: Duration = Duration::from_millis(400);

/// The two ends of a connection.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client for the log: `name [address]`, `[address]`, `[NON-IP]`, `VARIABLE=value` or `UNKNOWN`.
    pub client: String,
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// The local address and port.
    pub local: Option<(IpAddr, u16)>,
    /// The name of the local end for the greeting.
    pub host: String,
}

impl Ends {
    /// Looks at the connection. Names are asked for only if `names` says so, and only for a short time.
    pub fn of(connection: impl AsFd, names: Names) -> Self {
        let peer = socket::peer(&connection).unwrap_or_default();
        let local = socket::local(&connection).unwrap_or_default();
        let name = |address| match names {
            Names::Resolve => socket::reverse_name(address, PATIENCE),
            Names::AddressesOnly => None,
        };
        let client = match peer {
            Some(Endpoint::Ip(address)) => bracketed(name(address.ip()), address.ip()),
            Some(Endpoint::NonIp) => "[NON-IP]".into(),
            None => remote_shell().unwrap_or_else(|| "UNKNOWN".into()),
        };
        let host = match local {
            Some(Endpoint::Ip(address)) => {
                name(address.ip()).unwrap_or_else(|| format!("[{}]", address.ip()))
            }
            _ => socket::host_name(PATIENCE),
        };
        let local = match local {
            Some(Endpoint::Ip(address)) => Some((address.ip(), address.port())),
            _ => None,
        };
        let remote = match peer {
            Some(Endpoint::Ip(address)) => Some(address.ip()),
            _ => None,
        };
        Self { client, remote, local, host }
    }

    /// Tells whether nobody between the two ends can listen: loopback, a pipe, a Unix-domain socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self.remote {
            Some(address) => address.is_loopback(),
            // An internet socket whose peer cannot be told is nobody's friend.
            None => self.local.is_none(),
        }
    }
}

/// Whether addresses are looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names {
    /// Ask the resolver, for a moment.
    Resolve,
    /// Show addresses.
    AddressesOnly,
}

/// A name that would push its address out of the log line is left out: who owns the address chooses the name.
fn bracketed(name: Option<String>, address: IpAddr) -> String {
    let address = format!("[{address}]");
    match name.map(|name| format!("{name} {address}")) {
        Some(both) if both.len() <= MOST_SHOWN => both,
        _ => address,
    }
}

/// Log lines show so many octets of a client.
const MOST_SHOWN: usize = 80;

/// Returns where a remote shell says that its user came from.
fn remote_shell() -> Option<String> {
    ["SSH_CLIENT", "KRB5REMOTEADDR", "SSH2_CLIENT"].into_iter().find_map(|variable| {
        let value = std::env::var(variable).ok()?;
        Some(format!("{variable}={}", value.split(' ').next().unwrap_or_default()))
    })
}

/// What a connection speaks first (spec/imapd.md §1, item 6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The TLS handshake comes before the greeting.
    pub tls_first: bool,
    /// The log line of the start, if there is one.
    pub line: Option<String>,
}

impl Service {
    /// Decides by the local port and the name of the program.
    #[must_use]
    pub fn of(ends: &Ends, program: &str, protocol: Protocol) -> Self {
        let (plain, tls) = protocol.services();
        let ports = (
            socket::service_port(plain.system_name, plain.port),
            tls.map(|tls| socket::service_port(tls.system_name, tls.port)),
        );
        let name = protocol.name();
        let remote = ends.remote.map_or_else(|| "UNKNOWN".into(), |address| address.to_string());
        match ends.local.map(|(_, port)| port) {
            None => Self { tls_first: false, line: None },
            Some(port) if port == ports.0 => {
                Self { tls_first: false, line: Some(format!("{name} service init from {remote}")) }
            }
            Some(port) if Some(port) == ports.1 => {
                Self { tls_first: true, line: Some(format!("{name}s SSL service init from {remote}")) }
            }
            Some(port) => Self {
                tls_first: tls.is_some() && program.starts_with('s'),
                line: Some(format!("port {port} service init from {remote}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_line_and_a_foreign_port_goes_by_the_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = std::net::TcpStream::connect(address).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let ends = Ends::of(&server, Names::AddressesOnly);
        assert_eq!(ends.client, "[127.0.0.1]");
        assert_eq!(ends.host, "[127.0.0.1]");
        assert!(ends.is_local());
        let plain = Service::of(&ends, "imapd", Protocol::Imap);
        assert!(!plain.tls_first);
        assert_eq!(plain.line, Some(format!("port {} service init from 127.0.0.1", address.port())));
        assert!(Service::of(&ends, "simapd", Protocol::Imap).tls_first);
        let imaps = Ends { local: Some(("127.0.0.1".parse().expect("an address"), 993)), ..ends };
        assert_eq!(
            Service::of(&imaps, "imapd", Protocol::Imap),
            Service { tls_first: true, line: Some("imaps SSL service init from 127.0.0.1".into()) }
        );
        drop(client);
    }

    #[test]
    fn a_long_name_does_not_hide_the_address() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let shown = |length: usize| bracketed(Some("n".repeat(length)), address);
        assert_eq!(shown(68), format!("{} [192.0.2.1]", "n".repeat(68)));
        assert_eq!(shown(69), "[192.0.2.1]");
        assert_eq!(bracketed(None, address), "[192.0.2.1]");
    }

    #[test]
    fn a_pipe_has_no_ends() {
        let (read, _write) = rustix::pipe::pipe().expect("a pipe");
        let ends = Ends::of(&read, Names::AddressesOnly);
        assert_eq!((ends.local, ends.remote), (None, None));
        assert!(ends.is_local());
        let unknown = Ends { local: Some(("192.0.2.1".parse().expect("an address"), 143)), ..ends.clone() };
        assert!(!unknown.is_local());
        assert!(!Ends { remote: "192.0.2.9".parse().ok(), ..unknown }.is_local());
        assert_eq!(Service::of(&ends, "imapd", Protocol::Imap), Service { tls_first: false, line: None });
    }
}
