//! One connection on standard input and output: the programs `imapd`, `ipop3d` and `ipop2d`, and what `ailurus serve` starts
//! for each client.
//!
//! As root the process checks the password itself and becomes the user for good, in place: until then it parses
//! what a stranger sends, in memory-safe code, within the limits of the engine, for three minutes at most. A front process
//! without rights that does this instead is to come.

use crate::alerts::{Alerts, NOLOGIN};
use crate::client_certificate;
use crate::connection::Connection;
use crate::databases::{PASSWORD_DATABASE, Passwords, SecretFile, VerifierFile};
use crate::guard::Sentry;
use crate::logging;
use crate::login::{Door, HostDoor, PersonalDoor};
use crate::peer::{Ends, Names, Service};
use crate::personal;
use crate::protocol::Protocol;
use crate::settings::{Confinement, Files, Gravity, Settings};
use crate::surroundings::{self, Surroundings};
use crate::tls::{CertificateError, CertificateStore, server_config};
use crate::transport::{Ending, Engine, HandshakeError, ProcessSignals, Request, Secured, Signal, Transport};
use ailurus_server::{Config, Plaintext, Session, Start, TlsState, imap, pop2, pop3};
use ailurus_sys::signals::{Signal as SystemSignal, SignalPipe};
use ailurus_sys::syslog::{Facility, Log, Priority};
use ailurus_sys::{process, users};
use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// The base name of certificate files, whatever the program that serves the connection is called.
pub const CERTIFICATE_NAME: &str = "imapd";

/// Runs the program of a protocol: the rules of spec/imapd.md §1 and spec/pop.md §1.
#[must_use]
pub fn program(protocol: Protocol) -> ExitCode {
    let program = program_name(protocol.program());
    let one = One::begin(protocol, &program, Settings::read(&Files::of_host()));
    let service = Service::of(&one.ends, &program, protocol);
    if let Some(line) = &service.line {
        one.say(Priority::Debug, line);
    }
    // COMPAT(imapd): `simapd` on a port of its own looks for simapd.pem.
    let own_port = one.ends.local.is_some() && service.tls_first && program.starts_with('s');
    let store = if own_port { CertificateStore::system(&program) } else { certificates(protocol) };
    match protocol {
        _ if rustix::process::geteuid().is_root() => one.serve_host(&store, service.tls_first),
        Protocol::Imap => one.serve_own_user(&store, service.tls_first),
        // POP has no way to greet somebody who need not log in: the password is that of the user's own server.
        Protocol::Pop3 | Protocol::Pop2 => match personal::own() {
            // Or it is the user who has started us.
            Ok(own) => {
                let started = one.ends.remote.is_none() && one.ends.local.is_none();
                one.serve_personal(&own, service.tls_first, started.then(|| own.user.clone().into_bytes()))
            }
            Err(error) => one.fail(&error),
        },
    }
}

/// Returns where the certificates of a protocol are: under the name of its program, or, if there are none, under that of
/// `imapd`.
#[must_use]
pub fn certificates(protocol: Protocol) -> CertificateStore {
    let own = CertificateStore::system(protocol.program());
    if !own.all().is_empty() {
        return own;
    }
    let common = CertificateStore::system(CERTIFICATE_NAME);
    if common.all().is_empty() { own } else { common }
}

/// How a connection that `ailurus serve` accepted is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Role {
    /// As the mail host does it: by a process of root's.
    Host,
    /// As a person's own server does it.
    Personal(Personal),
}

/// A person's own server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Personal {
    /// The user's name.
    pub user: String,
    /// Where the mailboxes are.
    pub home: PathBuf,
    /// The spool file.
    pub spool: PathBuf,
    /// Where password and certificate are.
    pub state: PathBuf,
    /// The mail is a sample, which the settings of the host do not concern.
    pub sample: bool,
}

impl Personal {
    /// Returns the file of the password, in the form of the CRAM-MD5 database.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.state.join("password")
    }

    /// Returns the file of verifiers of the same password.
    #[must_use]
    pub fn verifier_file(&self) -> PathBuf {
        self.state.join("verifiers")
    }

    /// Returns where newsgroups are, which only a sample has to itself.
    #[must_use]
    pub fn news(&self) -> PathBuf {
        self.home.with_file_name("news")
    }

    /// Returns where the certificate is.
    #[must_use]
    pub fn certificates(&self) -> CertificateStore {
        CertificateStore::directory(&self.state, CERTIFICATE_NAME)
    }
}

/// Serves one accepted connection on standard input and output.
#[must_use]
pub fn connection(role: &Role, protocol: Protocol, tls_first: bool) -> ExitCode {
    let mut settings = match role {
        Role::Personal(personal) if personal.sample => Settings::of_sample(&personal.news()),
        _ => Settings::read(&Files::of_host()),
    };
    if let Role::Personal(_) = role {
        // Whom the host sends away has a server here all the same: nobody is referred, and no client is to look for it.
        settings.referrals.users.clear();
    }
    let one = One::begin(protocol, protocol.program(), settings);
    one.sentry.set(Sentry::of_stdout());
    let remote = one.ends.remote.map_or_else(|| "UNKNOWN".into(), |address| address.to_string());
    let (name, tls) = (protocol.name(), if tls_first { "s SSL" } else { "" });
    one.say(Priority::Debug, &format!("{name}{tls} service init from {remote}"));
    let root = rustix::process::geteuid().is_root();
    match role {
        Role::Host if root => one.serve_host(&certificates(protocol), tls_first),
        Role::Personal(personal) if !root => one.serve_personal(personal, tls_first, None),
        Role::Host => one.fail("a mail host is served by root"),
        Role::Personal(_) => one.fail("a person's own server never runs as root"),
    }
}

/// Returns the name that this program was started by, or what it is if nobody says.
#[must_use]
pub fn program_name(usual: &str) -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = name.to_string_lossy();
    name.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()).unwrap_or(usual).to_owned()
}

/// Ways to log in beside passwords, as the files of the host have them when the session begins.
#[derive(Default)]
struct Ways {
    secrets: Option<SecretFile>,
    verifiers: Option<VerifierFile>,
    anonymous: bool,
    /// Who has started us, where that is who is at the other end: as with IMAP's PREAUTH, the surroundings vouch for it.
    started_by: Option<Vec<u8>>,
}

/// If this file exists, anybody can log in and read what is there for everybody. What is in it does not matter.
pub(crate) const ANONYMOUS: &str = "/etc/anonymous.newsgroups";

/// One connection, from its start to its end.
struct One {
    protocol: Protocol,
    ends: Ends,
    log: Arc<Log>,
    settings: Settings,
    signals: &'static SignalPipe,
    /// The line to the server that started us, until a door has it.
    sentry: Cell<Option<Sentry>>,
}

impl One {
    fn begin(protocol: Protocol, program: &str, settings: Settings) -> Self {
        logging::close_stderr_on_connection();
        process::settle_umask();
        let facility = settings.log_facility.unwrap_or(Facility::Mail);
        let log = Arc::new(logging::open(program).with_mail_as(facility));
        // SIGUSR1, which would end us, is what people send the original for its status file: taken, and nothing done.
        let wanted = [
            SystemSignal::Terminate,
            SystemSignal::Hangup,
            SystemSignal::Interrupt,
            SystemSignal::User1,
            SystemSignal::User2,
        ];
        let signals = match SignalPipe::install(&wanted) {
            Ok(signals) => signals,
            Err(error) => {
                log.emit(Facility::Mail, Priority::Alert, &format!("cannot wait for signals: {error}"));
                std::process::exit(1);
            }
        };
        for mistake in settings.mistakes() {
            let fatal = mistake.gravity == Gravity::Fatal;
            let priority = if fatal { Priority::Alert } else { Priority::Warning };
            log.emit(Facility::Mail, priority, &mistake.to_string());
        }
        let names = if settings.reverse_dns == Some(false) { Names::AddressesOnly } else { Names::Resolve };
        let mut ends = Ends::of(std::io::stdin().as_fd(), names);
        if let Some(host) = &settings.host_name {
            ends.host.clone_from(host);
        }
        log_panics(Arc::clone(&log), &ends.client);
        Self { protocol, ends, log, settings, signals, sentry: Cell::new(None) }
    }

    fn serve_host(&self, store: &CertificateStore, tls_first: bool) -> ExitCode {
        let passwords = Passwords::of_host(self.protocol);
        let secrets = passwords.secrets();
        let verifiers = VerifierFile::existing(PASSWORD_DATABASE);
        let anonymous = self.protocol == Protocol::Imap && Path::new(ANONYMOUS).exists();
        let ways = Ways { secrets, verifiers: verifiers.clone(), anonymous, started_by: None };
        let mut door = HostDoor {
            passwords,
            verifiers,
            remote: self.ends.remote.map(|address| address.to_string()),
            client: self.ends.client.clone(),
            host: self.ends.host.clone(),
            settings: &self.settings,
            log: &self.log,
            sentry: self.sentry.take(),
            session: None,
        };
        self.serve(store, tls_first, ways, &mut door, Start::NotAuthenticated)
    }

    /// The surroundings (ssh, a login shell) vouch for the user: no password is asked.
    fn serve_own_user(&self, store: &CertificateStore, tls_first: bool) -> ExitCode {
        let user = match users::current() {
            Ok(Some(user)) => user,
            Ok(None) => return self.fail("nobody in the user database has this process's user id"),
            Err(error) => return self.fail(&error.to_string()),
        };
        let mut surroundings = Surroundings::of_user(&user, &self.ends.host);
        if let Some(home) = home_of_environment() {
            surroundings.home = home;
        }
        let environment = surroundings::environment(surroundings, &self.settings, Confinement::Names);
        let mut environment = match environment {
            Ok(environment) => environment,
            Err(error) => {
                // As at the host's ports: a program that is told nothing says that the connection broke.
                let farewell =
                    Farewell::new(self.protocol, &self.config(TlsState::Unavailable, Ways::default()));
                std::io::stdout().write_all(&farewell.text).ok();
                return self.fail(&error);
            }
        };
        for complaint in self.settings.read_users(&mut environment) {
            self.say(Priority::Warning, &format!("{complaint}, user={}", user.name));
        }
        std::env::set_current_dir(&environment.home).ok();
        let mailboxes = surroundings::mailboxes(environment);
        let start = Start::PreAuthenticated { user: user.name, mailboxes };
        self.serve(store, tls_first, Ways::default(), &mut NoDoor, start)
    }

    fn serve_personal(&self, personal: &Personal, tls_first: bool, started_by: Option<Vec<u8>>) -> ExitCode {
        let secrets = SecretFile(personal.password_file());
        let surroundings = Surroundings {
            user: personal.user.clone(),
            home: personal.home.clone(),
            spool: personal.spool.clone(),
            host: self.ends.host.clone(),
            shared: Default::default(),
        };
        std::env::set_current_dir(&personal.home).ok();
        let verifiers = VerifierFile::existing(personal.verifier_file());
        let ways = Ways {
            secrets: secrets.0.exists().then(|| secrets.clone()),
            verifiers: verifiers.clone(),
            anonymous: false,
            started_by,
        };
        let mut door = PersonalDoor {
            secrets,
            verifiers,
            sentry: self.sentry.take(),
            surroundings,
            settings: &self.settings,
        };
        self.serve(&personal.certificates(), tls_first, ways, &mut door, Start::NotAuthenticated)
    }

    fn serve(
        &self,
        store: &CertificateStore,
        tls_first: bool,
        ways: Ways,
        door: &mut dyn Door,
        start: Start,
    ) -> ExitCode {
        let Ok((input, output)) = descriptors() else { return self.fail("standard input is closed") };
        let mut transport = Transport::new(input, output);
        let mut signals = ProcessSignals::new(self.signals);
        let local = self.ends.local.map(|(address, _)| address);
        // Who need not log in cannot start TLS either, and may not read root's key.
        let wants_tls = tls_first || matches!(start, Start::NotAuthenticated);
        let certificate = if wants_tls { self.certificate(store, local, tls_first) } else { None };
        let mut secured = Secured::default();
        let tls_state = match &certificate {
            None if tls_first => return ExitCode::FAILURE,
            None => TlsState::Unavailable,
            Some(_) if !tls_first => TlsState::Available,
            Some(config) => match transport.start_tls(Arc::clone(config), &mut signals) {
                Ok(known) => {
                    secured = known;
                    TlsState::Active
                }
                Err(error) => return self.no_handshake(&error),
            },
        };
        let started_by = ways.started_by.clone();
        let mut config = self.config(tls_state, ways);
        config.channel = client_certificate::channel(&secured, &self.settings);
        config.channel.user = config.channel.user.or(started_by);
        let tls: &mut dyn FnMut() -> _ = &mut || certificate.clone().ok_or("no certificate".to_owned());
        // COMPAT(ipop3d): POP is served all the same while nobody else is.
        let nologin = self.protocol == Protocol::Imap && Path::new(NOLOGIN).exists();
        let ending = if nologin || self.settings.refusal().is_some() {
            let line = format!("Logout user=??? host={}", self.ends.client);
            let mut farewell = Farewell::new(self.protocol, &config);
            let ending = transport.run(&mut farewell, &mut signals, tls);
            self.say(Priority::Info, &line);
            ending
        } else {
            let mut engine = self.engine(config, start, door);
            transport.run(engine.as_mut(), &mut signals, tls)
        };
        match ending {
            Ending::Closed(status) => ExitCode::from(status),
            Ending::Handshake(error) => self.no_handshake(&error),
        }
    }

    /// Returns the engine of a session.
    fn engine<'d>(&'d self, config: Config, start: Start, door: &'d mut dyn Door) -> Box<dyn Engine + 'd> {
        fn connected<'d, S: Session + 'd>(
            session: S,
            door: &'d mut dyn Door,
            one: &'d One,
            alerts: Option<Alerts>,
        ) -> Box<dyn Engine + 'd> {
            Box::new(Connection::new(session, door, &one.log, alerts, &one.settings))
        }
        let now = Instant::now();
        match self.protocol {
            Protocol::Imap => {
                let mut alerts = Alerts::new();
                if let Start::PreAuthenticated { mailboxes, .. } = &start {
                    alerts.add_user(&mailboxes.environment().mailbox_dir);
                }
                connected(imap::Session::new(config, start, now), door, self, Some(alerts))
            }
            Protocol::Pop3 => connected(pop3::Session::new(config, now), door, self, None),
            Protocol::Pop2 => connected(pop2::Session::new(config, now), door, self, None),
        }
    }

    /// Returns the settings of TLS. What is wrong with a certificate goes to the log; that there is none only where the
    /// connection cannot do without.
    fn certificate(
        &self,
        store: &CertificateStore,
        local: Option<IpAddr>,
        needed: bool,
    ) -> Option<Arc<rustls::ServerConfig>> {
        let clients = self.settings.client_ca.as_deref();
        let config = server_config(store, local, clients).or_else(|error| match error {
            // Who would have shown a certificate is asked for a password.
            CertificateError::Authorities { .. } => {
                self.say(Priority::Alert, &format!("{error}, host={}", self.ends.client));
                self.say(Priority::Error, &format!("SSL error status: {}", error.reason()));
                server_config(store, local, None)
            }
            error => Err(error),
        });
        match config {
            Ok(config) => Some(config),
            Err(error) => {
                if needed || store.find(local).is_some() {
                    self.say(Priority::Alert, &format!("{error}, host={}", self.ends.client));
                    self.say(Priority::Error, &format!("SSL error status: {}", error.reason()));
                }
                None
            }
        }
    }

    fn config(&self, tls: TlsState, ways: Ways) -> Config {
        let date = surroundings::date_text(&surroundings::local_now());
        let mut config = Config::new(&self.ends.host, self.protocol.product(), &date, &self.ends.client);
        config.tls = tls;
        // The original's default would be OnlyTls for all; on loopback nobody listens.
        let usual = if self.ends.is_local() { Plaintext::Allowed } else { Plaintext::OnlyTls };
        config.plaintext = self.settings.plaintext_for(self.ends.remote).unwrap_or(usual);
        config.referrals = Arc::new(self.settings.referrals.clone());
        config.login_attempts = self.settings.login_attempts.unwrap_or(config.login_attempts);
        config.status_warning = self.settings.status_warning.unwrap_or(config.status_warning);
        config.anonymous = ways.anonymous;
        let mut nonce = [0; 8];
        let random = process::random_bytes(&mut nonce).and_then(|()| process::random_bytes(&mut config.seed));
        // A challenge that can be guessed proves nothing.
        if random.is_ok() {
            config.cram_md5 = ways.secrets.map(|secrets| Arc::new(secrets) as _);
            config.scram = ways.verifiers.map(|verifiers| Arc::new(verifiers) as _);
        }
        config.nonce = u64::from_ne_bytes(nonce);
        config
    }

    fn no_handshake(&self, error: &HandshakeError) -> ExitCode {
        self.say(Priority::Info, &format!("Unable to accept SSL connection, host={}", self.ends.client));
        self.say(Priority::Error, &format!("SSL error status: {error}"));
        ExitCode::FAILURE
    }

    fn fail(&self, why: &str) -> ExitCode {
        self.say(Priority::Alert, &format!("cannot serve host={}: {why}", self.ends.client));
        ExitCode::FAILURE
    }

    fn say(&self, priority: Priority, line: &str) {
        self.log.emit(Facility::Mail, priority, line);
    }
}

/// Sends the text of a panic to the log: it is a fault of ours, and standard error may be nowhere. Unwinding then lets go
/// of locks and ends the process.
fn log_panics(log: Arc<Log>, client: &str) {
    let client = client.to_owned();
    std::panic::set_hook(Box::new(move |panic| {
        let line = format!("Fatal error host={client}: {panic}");
        log.emit(Facility::Mail, Priority::Alert, &line);
    }));
}

/// Where nobody needs to log in, nobody can.
struct NoDoor;

impl Door for NoDoor {
    fn check_password(
        &mut self,
        _: &ailurus_auth::Identity,
        _: &[u8],
    ) -> Result<ailurus_server::Login, ailurus_server::LoginFailure> {
        Err(ailurus_server::LoginFailure::Unavailable)
    }

    fn become_user(
        &mut self,
        _: &ailurus_auth::Identity,
        _: &str,
    ) -> Result<ailurus_server::Login, ailurus_server::LoginFailure> {
        Err(ailurus_server::LoginFailure::Unavailable)
    }
}

/// The greeting of a host that serves nobody at the time: its administrator says so, or has made a mistake in the
/// settings.
struct Farewell {
    text: Vec<u8>,
    closed: bool,
}

impl Farewell {
    fn new(protocol: Protocol, config: &Config) -> Self {
        let what = "Service not available";
        let text = match protocol {
            Protocol::Imap => format!("{what} {} {} at {}", config.host, config.product, config.date),
            Protocol::Pop3 | Protocol::Pop2 => what.to_owned(),
        };
        let text = protocol.farewell(&text) + "\r\n";
        Self { text: text.into_bytes(), closed: false }
    }
}

impl Engine for Farewell {
    fn handle_input(&mut self, octets: &[u8], _: Instant) -> usize {
        octets.len()
    }
    fn wants_input(&self) -> bool {
        false
    }
    fn poll_output(&mut self, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.text);
        false
    }
    fn poll_request(&mut self) -> Option<Request> {
        (!std::mem::replace(&mut self.closed, true)).then_some(Request::Close(0))
    }
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn wake_paths(&self) -> Option<Vec<PathBuf>> {
        None
    }
    fn handle_wake(&mut self, _: Instant) {}
    fn handle_signal(&mut self, _: Signal, _: Instant) {}
    fn handle_disconnect(&mut self, _: &str, _: Instant) {}
    fn handle_tls_started(&mut self, _: Secured, _: Instant) {}
}

fn descriptors() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let own = |fd: std::os::fd::BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    // Where standard output was the line to a server, it is nothing now, and the connection is standard input alone.
    let input = std::io::stdin();
    if rustix::net::sockopt::socket_type(&input).is_ok()
        && rustix::net::sockopt::socket_type(std::io::stdout()).is_err()
    {
        return Ok((own(input.as_fd())?, own(input.as_fd())?));
    }
    Ok((own(input.as_fd())?, own(std::io::stdout().as_fd())?))
}

/// Returns `$HOME` if it may count (spec/imapd.md §1, item 7).
pub(crate) fn home_of_environment() -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    let home = (!home.is_empty() && home.len() < 256).then(|| PathBuf::from(home))?;
    home.is_dir().then_some(home)
}
