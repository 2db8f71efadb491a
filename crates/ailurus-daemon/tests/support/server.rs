//! An `ailurus serve`.

use super::{Client, PASSWORD, Process, User, program};
use std::process::{Command, Stdio};

/// A server on ports of its own, for IMAP and for IMAP over TLS.
pub struct Server {
    pub process: Process,
    pub port: u16,
    pub tls_port: u16,
    pub pop3_port: u16,
    pub pop3s_port: u16,
    /// Who may log in, and how.
    pub user: String,
    pub password: String,
}

impl Server {
    /// Starts a person's own server, as that person.
    pub fn own(user: &User) -> Self {
        let server = Self::start(&mut user.command(program("ailurus")), user, String::new());
        // The first start made the password, in the form of the CRAM-MD5 database, before it said that it listens.
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
        Self::start(&mut command, user, PASSWORD.into())
    }

    /// Starts it on ports that are free, which its log tells.
    fn start(command: &mut Command, user: &User, password: String) -> Self {
        command.arg("serve");
        for option in ["--listen", "--tls-listen", "--pop3-listen", "--pop3-tls-listen"] {
            command.args([option, "127.0.0.1:0"]);
        }
        let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let line = process.await_log("listening on ");
        let port = |kind: &str| -> u16 {
            let (before, _) = line.split_once(kind).unwrap_or_else(|| panic!("no {kind} in {line}"));
            before.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
        };
        let [port, tls_port, pop3_port, pop3s_port] =
            [" (imap)", " (imaps)", " (pop3)", " (pop3s)"].map(port);
        Self { process, port, tls_port, pop3_port, pop3s_port, user: user.name.clone(), password }
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
