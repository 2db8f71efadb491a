//! Sessions in a host in a bottle.

use super::bottle::Bottle;
use super::{Session, program};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

/// Writes a file that belongs to a user into the user's home.
pub fn write(bottle: &Bottle, user: &str, name: &str, content: &str) {
    let path = bottle.home(user).join(name);
    fs::write(&path, content).expect("ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    let owner = fs::metadata(bottle.home(user)).expect("a home").uid();
    chown(&path, Some(owner), Some(owner)).expect("ours");
}

/// A client from the network.
pub fn from_network(bottle: &Bottle) -> Session {
    to_address(bottle, "127.0.0.1")
}

/// A client that connects to an address of this host.
pub fn to_address(bottle: &Bottle, address: &str) -> Session {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    Session::accepted(&mut bottle.command(&program("imapd")), &listener)
}

/// A client from the network of this program.
pub fn of_program(bottle: &Bottle, name: &str) -> Session {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    Session::accepted(&mut bottle.command(&program(name)), &listener)
}

/// A client of the service imaps.
pub fn imaps(bottle: &Bottle) -> Session {
    of_service(bottle, "imaps", "imapd")
}

/// A client of a service, which is on another port in this host.
pub fn of_service(bottle: &Bottle, service: &str, name: &str) -> Session {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    bottle.publish("services", &format!("{service} {port}/tcp\n{services}"));
    Session::accepted(&mut bottle.command(&program(name)), &listener)
}

/// A session of ada's, who has logged in to the host.
pub fn preauthenticated(bottle: &Bottle) -> Session {
    Session::paired(&mut bottle.command_of_ada(&program("imapd")))
}
