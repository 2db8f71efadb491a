//! Who is at the other end of a descriptor, and the names of hosts and services.
//!
//! Names come from resolvers that may take minutes. A look-up here runs in a thread of its own and is given up after a
//! while; the thread ends when the resolver does.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::ptr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny};

use crate::error::{Error, Result};

/// One end of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// An internet socket. IPv4 addresses in IPv6 clothes (`::ffff:192.0.2.1`) are undressed.
    Ip(SocketAddr),
    /// A socket of another kind, as a Unix-domain socket.
    NonIp,
}

/// Returns the address of the peer, `None` if the descriptor is no connected socket.
///
/// # Errors
///
/// If the kernel fails in another way.
pub fn peer(fd: impl AsFd) -> Result<Option<Endpoint>> {
    endpoint(rustix::net::getpeername(fd), "find the peer of a socket")
}

/// Returns the local address, `None` if the descriptor is no socket.
///
/// # Errors
///
/// If the kernel fails in another way.
pub fn local(fd: impl AsFd) -> Result<Option<Endpoint>> {
    endpoint(rustix::net::getsockname(fd), "find the address of a socket")
}

/// Makes small writes leave at once.
///
/// # Errors
///
/// If the descriptor is no TCP socket.
pub fn set_nodelay(fd: impl AsFd) -> Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(fd, true).map_err(Error::os("set TCP_NODELAY"))
}

/// Returns the name that the resolver has for an address, if it has one within that time, and if it is made of letters,
/// digits, `-` and `.` only: it goes to the log.
///
/// Whoever owns the address chooses the name: it proves nothing.
pub fn reverse_name(address: IpAddr, patience: Duration) -> Option<String> {
    let name = in_time(patience, move || look_up_name(address)).flatten()?;
    // A resolver that answers with the address itself has no name.
    (is_tame(&name) && name.parse::<IpAddr>().is_err()).then_some(name)
}

/// Returns the TCP port of a service (`imap`, `imaps`), or that of the fallback where the services database has no entry.
pub fn service_port(service: &CStr, fallback: u16) -> u16 {
    // SAFETY: an addrinfo of nulls and zeros is a value of the type, and what getaddrinfo wants for hints.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_family = libc::AF_INET;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = libc::AI_PASSIVE;
    let Some(found) = AddressInfo::get(None, Some(service), &hints) else { return fallback };
    // SAFETY: of the family AF_INET, the address is a sockaddr_in.
    found.first().map_or(fallback, |info| unsafe {
        u16::from_be((*info.ai_addr.cast::<libc::sockaddr_in>()).sin_port)
    })
}

/// Returns the name of this host: the canonical one that the resolver has within that time, if it is made of letters, digits,
/// `-` and `.` only (it becomes part of file names), else the one that is set, else `unknown`.
pub fn host_name(patience: Duration) -> String {
    let name = rustix::system::uname();
    let name = name.nodename();
    if name.is_empty() {
        return "unknown".into();
    }
    let query = CString::from(name);
    let canonical = in_time(patience, move || canonical_name(&query)).flatten();
    canonical.filter(|name| is_tame(name)).unwrap_or_else(|| name.to_string_lossy().into_owned())
}

const MAX_NAME: usize = 255;

/// Tells whether a name from a resolver holds nothing that means something in a log line or a path.
fn is_tame(name: &str) -> bool {
    let tame = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(tame)
}

fn endpoint(
    address: std::result::Result<impl Into<Option<SocketAddrAny>>, Errno>,
    op: &'static str,
) -> Result<Option<Endpoint>> {
    let address = match address {
        Ok(address) => address.into(),
        Err(Errno::NOTSOCK | Errno::NOTCONN | Errno::INVAL) => return Ok(None),
        Err(error) => return Err(Error::os(op)(error)),
    };
    let Some(address) = address else { return Ok(Some(Endpoint::NonIp)) };
    if !matches!(address.address_family(), AddressFamily::INET | AddressFamily::INET6) {
        return Ok(Some(Endpoint::NonIp));
    }
    let address =
        SocketAddr::try_from(address).map_err(|error| Error::Os { op, source: io::Error::from(error) })?;
    Ok(Some(Endpoint::Ip(undressed(address))))
}

fn undressed(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // As it is, with its scope.
        IpAddr::V6(_) => address,
    }
}

/// Runs a look-up, and gives up waiting for it after a while.
fn in_time<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().name("resolver".into()).spawn(move || {
        // Whoever asked may have gone.
        sender.send(work()).ok();
    });
    spawned.ok()?;
    receiver.recv_timeout(patience).ok()
}

fn look_up_name(address: IpAddr) -> Option<String> {
    let mut host: [c_char; 1025] = [0; 1025];
    let length = libc::socklen_t::try_from(host.len()).ok()?;
    let call = |address: *const libc::sockaddr, size: usize| {
        let size = libc::socklen_t::try_from(size).unwrap_or(0);
        // SAFETY: the address is a live sockaddr of that size, the buffer writable and of that length.
        unsafe {
            libc::getnameinfo(address, size, host.as_mut_ptr(), length, ptr::null_mut(), 0, libc::NI_NAMEREQD)
        }
    };
    if with_sockaddr(address, call) != 0 {
        return None;
    }
    // SAFETY: on success there is a NUL-terminated string in the buffer.
    unsafe { CStr::from_ptr(host.as_ptr()) }.to_str().ok().map(Into::into)
}

fn with_sockaddr<T>(address: IpAddr, call: impl FnOnce(*const libc::sockaddr, usize) -> T) -> T {
    match address {
        IpAddr::V4(address) => {
            // SAFETY: a sockaddr_in of zeros is a value of the type.
            let mut socket: libc::sockaddr_in = unsafe { mem::zeroed() };
            socket.sin_family = family(libc::AF_INET);
            socket.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
            call((&raw const socket).cast(), mem::size_of_val(&socket))
        }
        IpAddr::V6(address) => {
            // SAFETY: a sockaddr_in6 of zeros is a value of the type.
            let mut socket: libc::sockaddr_in6 = unsafe { mem::zeroed() };
            socket.sin6_family = family(libc::AF_INET6);
            socket.sin6_addr.s6_addr = address.octets();
            call((&raw const socket).cast(), mem::size_of_val(&socket))
        }
    }
}

fn family(number: i32) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).expect("the internet families have small numbers")
}

fn canonical_name(host: &CStr) -> Option<String> {
    // SAFETY: an addrinfo of nulls and zeros is a value of the type, and what getaddrinfo wants for hints.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = libc::AI_CANONNAME;
    let found = AddressInfo::get(Some(host), None, &hints)?;
    let name = found.first()?.ai_canonname;
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, so a NUL-terminated string that lives as long as the list.
    unsafe { CStr::from_ptr(name) }.to_str().ok().map(Into::into)
}

/// The list that getaddrinfo returns.
struct AddressInfo(*mut libc::addrinfo);

impl AddressInfo {
    fn get(host: Option<&CStr>, service: Option<&CStr>, hints: &libc::addrinfo) -> Option<Self> {
        let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        let mut list = ptr::null_mut();
        // SAFETY: the texts are NUL-terminated or null, and not both null; the hints are initialised.
        let result = unsafe { libc::getaddrinfo(pointer(host), pointer(service), hints, &raw mut list) };
        (result == 0).then_some(Self(list))
    }

    fn first(&self) -> Option<&libc::addrinfo> {
        // SAFETY: null or the first element of the list, which lives as long as this.
        unsafe { self.0.as_ref() }.filter(|info| !info.ai_addr.is_null())
    }
}

impl Drop for AddressInfo {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: from getaddrinfo, freed once.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn ends_of_descriptors() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let client = TcpStream::connect(address).expect("it listens");
        assert_eq!(peer(&client).expect("asked"), Some(Endpoint::Ip(address)));
        let local_address = client.local_addr().expect("connected");
        assert_eq!(local(&client).expect("asked"), Some(Endpoint::Ip(local_address)));
        assert_eq!(peer(&listener).expect("asked"), None, "not connected");
        set_nodelay(&client).expect("TCP");
        assert!(client.nodelay().expect("asked"));

        let (one, _two) = UnixStream::pair().expect("a pair");
        assert_eq!(peer(&one).expect("asked"), Some(Endpoint::NonIp));
        assert_eq!(local(&one).expect("asked"), Some(Endpoint::NonIp));

        let file = tempfile::tempfile().expect("a scratch file");
        assert_eq!(peer(&file).expect("asked"), None);
        assert_eq!(local(&file).expect("asked"), None);
        assert!(set_nodelay(&file).is_err());
    }

    #[test]
    fn mapped_addresses_are_undressed() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return println!("no IPv6: not run") };
        let port = listener.local_addr().expect("bound").port();
        let Ok(client) = TcpStream::connect(("127.0.0.1", port)) else {
            return println!("IPv6 only: not run");
        };
        let (server, _) = listener.accept().expect("one waits");
        let expected = client.local_addr().expect("connected");
        assert_eq!(peer(&server).expect("asked"), Some(Endpoint::Ip(expected)));
    }

    #[test]
    fn services_and_their_fallback() {
        assert_eq!(service_port(c"imap", 143), 143);
        assert_eq!(service_port(c"imaps", 993), 993);
        assert_eq!(service_port(c"ailurus-none", 4711), 4711);
    }

    #[test]
    fn names_of_resolvers_are_tame() {
        assert!(is_tame("mail-1.example.com"));
        for wild in ["", "a/../b", "a b", "a\nb", "a\0", "\u{e9}", "x".repeat(MAX_NAME + 1).as_str()] {
            assert!(!is_tame(wild), "{wild:?}");
        }
    }

    #[test]
    fn look_ups_end() {
        assert!(!host_name(Duration::from_secs(5)).is_empty());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        if let Some(name) = reverse_name(loopback, Duration::from_secs(5)) {
            assert!(name.parse::<IpAddr>().is_err(), "{name}");
        }
        let sleepy = in_time(Duration::from_millis(10), || thread::sleep(Duration::from_secs(1)));
        assert_eq!(sleepy, None);
        assert_eq!(in_time(Duration::from_secs(20), || 7), Some(7));
    }
}
