//! What systemd and we tell each other: listening sockets handed over (sd_listen_fds(3)), and readiness (sd_notify(3)).
//!
//! The variables are left in the environment, since changing it is not safe while threads read it: take them out of the
//! environment of child processes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// The environment variables of both protocols, to be taken out of the environment of child processes.
pub const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];

/// A socket that was handed over.
#[derive(Debug)]
pub struct Handed {
    /// The socket; it is closed in child processes.
    pub socket: OwnedFd,
    /// The name of the socket unit (`FileDescriptorName=`), `None` if it has none.
    pub name: Option<String>,
}

/// Returns the sockets that were handed to this process, in their order. They are handed once: a second call returns none.
///
/// # Errors
///
/// If the environment promises a descriptor that is not there.
pub fn take_sockets() -> Result<Vec<Handed>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| env::var(name).ok();
    let pid = variable("LISTEN_PID");
    let promised = promised(
        pid.as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    );
    if promised.is_empty() || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    promised.into_iter().map(|(fd, name)| Ok(Handed { socket: take(fd)?, name })).collect()
}

/// Tells the service manager that we are ready to serve. Without one, nothing is told.
///
/// # Errors
///
/// If there is a service manager and it cannot be told.
pub fn notify_ready() -> Result<()> {
    notify("READY=1")
}

/// Tells the service manager that we are about to end. Without one, nothing is told.
///
/// # Errors
///
/// If there is a service manager and it cannot be told.
pub fn notify_stopping() -> Result<()> {
    notify("STOPPING=1")
}

/// Tells the service manager a state (`STATUS=…`). Without one, nothing is told.
///
/// # Errors
///
/// If there is a service manager and it cannot be told.
pub fn notify(state: &str) -> Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(socket) => notify_at(&socket, state).map_err(Error::os("tell the service manager")),
        None => Ok(()),
    }
}

const FIRST: RawFd = 3;
/// More sockets than anybody configures.
const MOST: RawFd = 64;

/// Returns the descriptors and names that the variables promise to the process of that id.
fn promised(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    names: Option<&str>,
    pid: u32,
) -> Vec<(RawFd, Option<String>)> {
    let addressed = listen_pid.and_then(|text| text.parse().ok()) == Some(pid);
    let count = listen_fds.and_then(|text| text.parse().ok()).filter(|count| (1..=MOST).contains(count));
    let Some(count) = count.filter(|_| addressed) else { return Vec::new() };
    let mut names = names.into_iter().flat_map(|names| names.split(':'));
    let mut name = || names.next().filter(|name| !name.is_empty()).map(String::from);
    (FIRST..FIRST + count).map(|fd| (fd, name())).collect()
}

fn take(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: fcntl takes any number; F_SETFD changes a flag of the descriptor, if there is one.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if result == -1 {
        return Err(Error::last("take a socket that was handed over"));
    }
    // SAFETY: it is open; by the protocol it is this process's own, and `TAKEN` lets it be taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn notify_at(address: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes() {
        [b'@', name @ ..] => send_abstract(&socket, name, state),
        [b'/', ..] => socket.send_to(state.as_bytes(), Path::new(address)).map(drop),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, OsString::from(address).to_string_lossy())),
    }
}

#[cfg(target_os = "linux")]
fn send_abstract(socket: &UnixDatagram, name: &[u8], state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_socket: &UnixDatagram, _name: &[u8], _state: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn sockets_are_for_the_process_named() {
        let none: Vec<(RawFd, Option<String>)> = Vec::new();
        assert_eq!(promised(None, None, None, 7), none);
        assert_eq!(promised(Some("8"), Some("1"), None, 7), none);
        assert_eq!(promised(Some("7"), None, None, 7), none);
        for count in ["0", "-1", "x", "65", "99999999999"] {
            assert_eq!(promised(Some("7"), Some(count), None, 7), none, "{count}");
        }
        assert_eq!(promised(Some("7"), Some("1"), None, 7), [(3, None)]);
        let named = promised(Some("7"), Some("3"), Some("imap::imaps:more"), 7);
        assert_eq!(named, [(3, Some("imap".into())), (4, None), (5, Some("imaps".into()))]);
    }

    #[test]
    fn a_descriptor_that_is_not_there_is_an_error() {
        assert!(matches!(take(999_999), Err(Error::Os { .. })));
    }

    #[test]
    fn a_descriptor_is_taken() {
        let (one, two) = UnixDatagram::pair().expect("a pair");
        let fd = one.into_raw_fd();
        let taken = take(fd).expect("it is open");
        let flags = rustix::io::fcntl_getfd(&taken).expect("it is open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(UnixDatagram::from(taken).send(b"x").expect("the peer is there"), 1);
        drop(two);
    }

    #[test]
    fn the_service_manager_is_told() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("notify");
        let server = UnixDatagram::bind(&path).expect("a socket");
        notify_at(path.as_os_str(), "READY=1").expect("it listens");
        let mut buffer = [0; 64];
        let length = server.recv(&mut buffer).expect("a state");
        assert_eq!(&buffer[..length], b"READY=1");
        assert!(notify_at(OsStr::new("vsock:1:2"), "READY=1").is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_told() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("ailurus-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("short");
        let server = UnixDatagram::bind_addr(&address).expect("a socket");
        notify_at(OsStr::new(&format!("@{name}")), "STOPPING=1").expect("it listens");
        let mut buffer = [0; 64];
        let length = server.recv(&mut buffer).expect("a state");
        assert_eq!(&buffer[..length], b"STOPPING=1");
    }
}
