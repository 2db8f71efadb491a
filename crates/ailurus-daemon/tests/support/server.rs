//! An `ailurus serve`.

use super::{Client, PASSWORD, Process, User, free_port, program};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A server on ports of its own, for IMAP and for IMAP over TLS.
pub struct Server {
    pub process: Process,
    pub port: u16,
    pub tls_port: u16,
    /// Who may log in, and how.
    pub user: String,
    pub password: String,
}

impl Server {
    /// Starts a person's own server, as that person.
    pub fn own(user: &User) -> Self {
        let mut command = user.command(program("ailurus"));
        let (port, tls_port) = ports(&mut command);
        let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let server =
            Self { process, port, tls_port, user: user.name.clone(), password: String::new() }.ready();
        // The first start made the password, in the form of the CRAM-MD5 database.
        let file = user.home().join(".local/state/ailurus/password");
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (_, password) = text.trim().split_once('\t').expect("user and password");
        Self { password: password.to_owned(), ..server }
    }

    /// Starts the server of the host, as root, for the user to log in with the system's password.
    pub fn of_host(user: &User) -> Self {
        let mut command = Command::new(program("ailurus"));
        command.env("TZ", "UTC").env("AILURUS_LOG", "stderr");
        let (port, tls_port) = ports(&mut command);
        let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        Self { process, port, tls_port, user: user.name.clone(), password: PASSWORD.into() }.ready()
    }

    fn ready(self) -> Self {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "the server does not listen: {:#?}", self.process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Connects and logs in.
    #[track_caller]
    pub fn login(&self) -> Client {
        let mut client = Client::connect(self.port);
        client.greeting();
        client.ok(&format!("LOGIN {} {}", self.user, self.password));
        client
    }
}

fn ports(command: &mut Command) -> (u16, u16) {
    let (port, tls_port) = (free_port(), free_port());
    command.arg("serve").arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--tls-listen").arg(format!("127.0.0.1:{tls_port}"));
    (port, tls_port)
}
