//! `ailurus serve`: the standing server of all protocols. It accepts connections and starts one process for each; it speaks no
//! protocol itself and holds no certificate, so that there is nothing to reload.

use crate::check;
use crate::guard::{Failures, Heard, Line};
use crate::imapd::{Personal, Role};
use crate::logging::{self, server_line};
use crate::personal;
use crate::protocol::{Listening, Protocol, Wanted};
use crate::settings::{Files, Settings};
use ailurus_sys::signals::{Signal, SignalPipe};
use ailurus_sys::syslog::{Log, Priority};
use ailurus_sys::{activation, process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Sessions at a time of a mail host, and of a person.
const MOST_SESSIONS: (usize, usize) = (2000, 100);
/// Sessions at a time from one address, of IPv6 from one network of 64 bits, all of whose addresses one client may have:
/// an office behind one address has many people with several clients each.
const MOST_OF_ADDRESS: usize = 200;
/// Sessions at a time of one user, who may have several clients with several connections each.
const MOST_OF_USER: usize = 100;
/// So long a client has to log in where there is no room for others: then it may have to go for one of them.
const TIME_TO_LOG_IN: Duration = Duration::from_secs(5);
/// Sessions that were told to go and have not gone yet.
const MOST_LEAVING: usize = 64;
/// Connections that wait because there were too many wrong passwords from their address: of one address, and in all.
const MOST_HELD: (usize, usize) = (20, 500);
/// How long sessions may go on after SIGTERM before they are told to end.
const GRACE: Duration = Duration::from_secs(10);
/// How long they may take to close their mailboxes then.
const CLOSING: Duration = Duration::from_secs(20);
/// How long no connection is accepted after that has failed (no descriptors left).
const PAUSE: Duration = Duration::from_millis(200);
/// How long the log hears nothing more of somebody who was turned away, or of failures to accept.
const QUIET: Duration = Duration::from_secs(10);

/// A port that is listened to.
#[derive(Debug)]
pub struct Listener {
    /// The listening socket.
    pub socket: TcpListener,
    /// What is spoken there.
    pub listening: Listening,
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    ///
    /// The text says what to do.
    pub fn bind(address: SocketAddr, listening: Listening) -> Result<Self, String> {
        Self::try_bind(address, listening).map_err(|error| explain(address, &error))
    }

    fn try_bind(address: SocketAddr, listening: Listening) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, listening })
    }

    fn address(&self) -> String {
        self.socket.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
    }
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has the port (`ss -ltnp 'sport = :{port}'` shows it as root): stop it, or choose \
             another, or leave the protocol out (`protocols` in /etc/ailurus.toml; --listen and its like)"
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are root's: start as root, or choose another with --listen and its like".into()
        }
        io::ErrorKind::AddrNotAvailable => "this host does not have the address".into(),
        _ => crate::transport::io_text(error),
    };
    format!("cannot listen on {address}: {advice}")
}

/// Runs `ailurus serve`.
#[must_use]
pub fn serve(asked: &[(Listening, SocketAddr)]) -> ExitCode {
    process::settle_umask();
    process::keep_descriptors();
    let result = if rustix::process::geteuid().is_root() { serve_host(asked) } else { serve_person(asked) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ailurus serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_host(asked: &[(Listening, SocketAddr)]) -> Result<(), String> {
    let settings = sound_settings()?;
    let listeners = listeners(asked, &settings, &host_addresses)?;
    let log = logging::open("ailurus");
    warn(&log, &settings);
    for problem in check::problems_of_certificates(&settings) {
        server_line(&log, Priority::Warning, &format!("{problem} (see ailurus check)"));
    }
    Server::new(listeners, Role::Host, log, MOST_SESSIONS.0).limited(settings).run(install()?, None)
}

fn serve_person(asked: &[(Listening, SocketAddr)]) -> Result<(), String> {
    let own = personal::own()?;
    let settings = sound_settings()?;
    // Before anything is made: a second start beside the first fails without a trace.
    let listeners = listeners(asked, &settings, &person_addresses)?;
    let password = personal::prepare(&own)?;
    announce(&own, &listeners, password.as_deref());
    let log = logging::open("ailurus");
    warn(&log, &settings);
    Server::new(listeners, Role::Personal(own), log, MOST_SESSIONS.1).limited(settings).run(install()?, None)
}

/// Returns the settings; every session reads them anew, but a server that serves nobody does not start.
fn sound_settings() -> Result<Settings, String> {
    let settings = Settings::read(&Files::of_host());
    let Some(refusal) = settings.refusal() else { return Ok(settings) };
    let mistakes: String = settings.mistakes().map(|mistake| format!("\n{mistake}")).collect();
    Err(format!("{refusal}:{mistakes}"))
}

fn warn(log: &Log, settings: &Settings) {
    for mistake in settings.mistakes() {
        server_line(log, Priority::Warning, &mistake.to_string());
    }
}

fn announce(own: &Personal, listeners: &[Listener], password: Option<&str>) {
    let mut text = format!("Serving the mailboxes of {} (home {}):\n", own.user, own.home.display());
    for listener in listeners {
        let kind = listener.listening.about();
        // Into a string: cannot fail.
        writeln!(text, "  {} {kind}", listener.address()).ok();
    }
    let file = own.password_file();
    match password {
        Some(password) => writeln!(
            text,
            "User {}, password {password}\n(made now, kept in {}, and not shown again; `ailurus passwd` changes it)",
            own.user,
            file.display()
        ),
        None => writeln!(text, "User {}, with the password in {}", own.user, file.display()),
    }
    .ok();
    print!("{text}");
    io::stdout().flush().ok();
}

fn install() -> Result<&'static SignalPipe, String> {
    SignalPipe::install(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::Child])
        .map_err(|error| error.to_string())
}

/// Returns what to listen to: what the service manager handed over, else what was asked for, else the usual.
fn listeners(
    asked: &[(Listening, SocketAddr)],
    settings: &Settings,
    usual: &dyn Fn(&Wanted) -> Vec<SocketAddr>,
) -> Result<Vec<Listener>, String> {
    let handed = activation::take_sockets().map_err(|error| error.to_string())?;
    if !handed.is_empty() {
        if !asked.is_empty() {
            return Err("the service manager hands over sockets: --listen and its like have no place".into());
        }
        return handed.into_iter().map(handed_over).collect();
    }
    let mut listeners = Vec::new();
    if !asked.is_empty() {
        refuse_twice(asked)?;
        for &(listening, address) in asked {
            listeners.push(Listener::bind(address, listening)?);
        }
        return Ok(listeners);
    }
    let all = settings
        .protocols()
        .into_iter()
        .flat_map(|wanted| usual(&wanted).into_iter().map(move |address| (wanted.listening, address)));
    refuse_twice(&all.collect::<Vec<_>>())?;
    for wanted in settings.protocols() {
        listeners.append(&mut bind_usual(&usual(&wanted), wanted.listening)?);
    }
    Ok(listeners)
}

/// An address that is asked for twice would be told to be another program's.
fn refuse_twice(asked: &[(Listening, SocketAddr)]) -> Result<(), String> {
    for (at, (listening, address)) in asked.iter().enumerate().filter(|(_, (_, address))| address.port() != 0)
    {
        if let Some((other, _)) = asked[..at].iter().find(|(_, other)| other == address) {
            let (one, other) = (listening.about(), other.about());
            return Err(format!(
                "{address} is asked for twice, for {other} and for {one}: each needs a port of its own"
            ));
        }
    }
    Ok(())
}

/// Binds all of these addresses but those of a protocol that this host lacks (IPv6).
///
/// One that somebody else has is an error even if others are free: a client that is told `localhost` would give its
/// password to whoever has the other address.
fn bind_usual(addresses: &[SocketAddr], listening: Listening) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut lacking = String::new();
    for &address in addresses {
        match Listener::try_bind(address, listening) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_covered(&listeners, address) => {}
            Err(error) if is_lacking(&error) => lacking = explain(address, &error),
            Err(error) => return Err(explain(address, &error)),
        }
    }
    if listeners.is_empty() { Err(lacking) } else { Ok(listeners) }
}

/// Tells whether a socket of ours for all addresses takes IPv4 connections to that address too.
fn is_covered(listeners: &[Listener], address: SocketAddr) -> bool {
    listeners.iter().any(|listener| {
        let all = listener
            .socket
            .local_addr()
            .is_ok_and(|ours| ours == (Ipv6Addr::UNSPECIFIED, address.port()).into());
        all && address.is_ipv4() && rustix::net::sockopt::ipv6_v6only(&listener.socket) == Ok(false)
    })
}

/// Tells whether this host has no such protocol or address.
fn is_lacking(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::AddrNotAvailable || number == Some(rustix::io::Errno::AFNOSUPPORT)
}

fn host_addresses(wanted: &Wanted) -> Vec<SocketAddr> {
    let port = wanted.host_port();
    vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
}

fn person_addresses(wanted: &Wanted) -> Vec<SocketAddr> {
    let port = wanted.personal_port();
    vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

fn handed_over(handed: activation::Handed) -> Result<Listener, String> {
    let socket = TcpListener::from(handed.socket);
    let bad = |error: io::Error| format!("a socket of the service manager's is of no use: {error}");
    socket.set_nonblocking(true).map_err(bad)?;
    let port = socket.local_addr().map_err(bad)?.port();
    let listening = spoken_at(&handed.name.unwrap_or_default(), port);
    Ok(Listener { socket, listening })
}

/// Returns what is spoken at a socket of the service manager's: its name says so, or its port; IMAP where neither does.
fn spoken_at(name: &str, port: u16) -> Listening {
    // `pop3s` has `pop3` in it.
    let named = Listening::ALL.into_iter().rev().filter(|listening| name.contains(&listening.to_string()));
    let named = named.max_by_key(|listening| listening.tls);
    let usual = |listening: &Listening| {
        let wanted = Wanted { listening: *listening, port: None };
        [wanted.host_port(), wanted.personal_port()].contains(&port)
    };
    let plain = Listening { protocol: Protocol::Imap, tls: false };
    named.filter(|_| !usual(&plain)).or_else(|| Listening::ALL.into_iter().find(usual)).unwrap_or(plain)
}

/// The server itself.
pub struct Server {
    listeners: Vec<Listener>,
    role: Role,
    /// Whom sessions run as, if not as we do ourselves.
    run_as: Option<(u32, u32)>,
    log: Log,
    most: usize,
    /// What the host's settings say of limits, when the server starts.
    settings: Settings,
    sessions: HashMap<Pid, Seat>,
    failures: Failures,
    /// Connections that wait, in the order in which they came.
    held: Vec<Held>,
    /// When it was last said that somebody was turned away, or could not be accepted.
    complained: Option<Instant>,
}

impl Server {
    /// Takes what is listened to already.
    #[must_use]
    pub fn new(listeners: Vec<Listener>, role: Role, log: Log, most: usize) -> Self {
        Self {
            listeners,
            role,
            run_as: None,
            log,
            most,
            settings: Settings::default(),
            sessions: HashMap::new(),
            failures: Failures::default(),
            held: Vec::new(),
            complained: None,
        }
    }

    /// Obeys the limits of the host's settings; those of sessions in all are for the server of a host.
    #[must_use]
    pub fn limited(mut self, settings: Settings) -> Self {
        if self.role == Role::Host {
            self.most = of_setting(settings.sessions, self.most);
        }
        self.settings = settings;
        self
    }

    /// Makes sessions run as another user and group: root shows the demonstration without root's rights.
    #[must_use]
    pub fn run_as(mut self, ids: Option<(u32, u32)>) -> Self {
        self.run_as = ids;
        self
    }

    /// Serves until SIGTERM, SIGINT, or until `stop` becomes readable.
    ///
    /// # Errors
    ///
    /// The system does not let us wait.
    pub fn run(mut self, signals: &SignalPipe, stop: Option<BorrowedFd<'_>>) -> Result<(), String> {
        let addresses: Vec<_> =
            self.listeners.iter().map(|l| format!("{} ({})", l.address(), l.listening)).collect();
        self.say(Priority::Info, &format!("listening on {}", addresses.join(", ")));
        // A connection that waits, or the line to a session, each; and a few of our own.
        process::allow_descriptors(self.most.saturating_add(MOST_HELD.1 + 64));
        activation::notify_ready().ok();
        let mut paused_until = None;
        loop {
            let came = signals.take();
            self.reap();
            if came.contains(Signal::Terminate) {
                return self.end(signals, GRACE);
            }
            if came.contains(Signal::Interrupt) {
                return self.end(signals, Duration::ZERO);
            }
            // SIGHUP asks for nothing: every session reads its certificate and databases itself.
            let paused = paused_until.is_some_and(|until| until > Instant::now());
            let ready = self.wait(signals, stop, !paused)?;
            if ready.stop {
                return self.end(signals, Duration::ZERO);
            }
            for pid in ready.lines {
                self.hear(pid);
            }
            if let Err(error) = self.release(Instant::now()) {
                self.complain(&format!("cannot start a session: {error}"));
            }
            for index in ready.listeners {
                if let Err(error) = self.accept(index) {
                    self.complain(&format!("cannot accept a connection: {error}"));
                    paused_until = Some(Instant::now() + PAUSE);
                }
            }
        }
    }

    fn wait(
        &self,
        signals: &SignalPipe,
        stop: Option<BorrowedFd<'_>>,
        accepting: bool,
    ) -> Result<Ready, String> {
        let flags = if accepting { PollFlags::IN } else { PollFlags::empty() };
        let mut waiting: Vec<_> =
            self.listeners.iter().map(|listener| PollFd::new(&listener.socket, flags)).collect();
        waiting.push(PollFd::new(signals, PollFlags::IN));
        waiting.extend(stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
        let behind = waiting.len();
        let lines: Vec<_> =
            self.sessions.iter().filter_map(|(&pid, seat)| Some((pid, seat.line.as_ref()?))).collect();
        waiting.extend(lines.iter().map(|(_, line)| PollFd::new(*line, PollFlags::IN)));
        let pause = (!accepting).then_some(PAUSE);
        let left = [pause, self.next_release(Instant::now())].into_iter().flatten().min();
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match poll(&mut waiting, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for connections: {error}")),
        }
        let came: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
        let listeners = (0..self.listeners.len()).filter(|&index| came[index]).collect();
        let stopped = stop.is_some() && came[self.listeners.len() + 1];
        let lines = lines.iter().zip(&came[behind..]).filter(|(_, came)| **came).map(|((pid, _), _)| *pid);
        Ok(Ready { listeners, stop: stopped, lines: lines.collect() })
    }

    /// Accepts what waits at a port, a batch at most, so that signals are seen between.
    fn accept(&mut self, index: usize) -> io::Result<()> {
        for _ in 0..64 {
            let (socket, peer) = match self.listeners[index].socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client was gone before we came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let listening = self.listeners[index].listening;
            let address = peer.ip().to_canonical();
            if let Some(full) = self.refusal(address)
                && !self.make_room(full, address, Instant::now())
            {
                self.turn_away(&socket, address, listening, full.why());
                continue;
            }
            let held = Held { socket, address, index };
            if self.must_wait(address, Instant::now()) {
                self.hold(held);
            } else {
                self.let_in(held)?;
            }
        }
        Ok(())
    }

    fn refusal(&self, address: IpAddr) -> Option<Full> {
        let near = neighbourhood(address);
        let staying = || self.sessions.values().filter(|seat| !seat.leaving);
        if staying().count() + self.held.len() >= self.most {
            return Some(Full::Everywhere);
        }
        let most = of_setting(self.settings.sessions_of_address, MOST_OF_ADDRESS);
        let same = staying().filter(|seat| seat.near == near).count() + self.held_of(near);
        (same >= most && !self.settings.trusts(address)).then_some(Full::There(near))
    }

    /// Ends a session in which nobody has logged in for long, so that whoever opens connections and says nothing keeps nobody
    /// out: the oldest, of where there are the most of them. Tells whether there was one.
    fn make_room(&mut self, full: Full, address: IpAddr, now: Instant) -> bool {
        // Who has come in of late may not be known here yet: few at a time, and the next who comes finds others.
        for _ in 0..3 {
            let Some(pid) = self.slowest(full, now) else { return false };
            self.hear(pid);
            let Some(seat) = self.sessions.get_mut(&pid).filter(|seat| seat.is_pending()) else { continue };
            seat.leaving = true;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            self.complain(&format!("{}: the slowest to log in has to go for host=[{address}]", full.why()));
            return true;
        }
        false
    }

    fn slowest(&self, full: Full, now: Instant) -> Option<Pid> {
        if self.sessions.values().filter(|seat| seat.leaving).count() >= MOST_LEAVING {
            return None;
        }
        let mut slow: HashMap<IpAddr, (usize, Instant, Pid)> = HashMap::new();
        for (&pid, seat) in &self.sessions {
            let there = full == Full::Everywhere || full == Full::There(seat.near);
            if there && seat.is_pending() && now.saturating_duration_since(seat.since) >= TIME_TO_LOG_IN {
                let (count, oldest, who) = slow.entry(seat.near).or_insert((0, seat.since, pid));
                *count += 1;
                if seat.since < *oldest {
                    (*oldest, *who) = (seat.since, pid);
                }
            }
        }
        slow.into_values().max_by_key(|(count, ..)| *count).map(|(_, _, pid)| pid)
    }

    fn held_of(&self, near: IpAddr) -> usize {
        self.held.iter().filter(|held| neighbourhood(held.address) == near).count()
    }

    /// Tells whether a connection has to wait: for its time, or behind others from the same address.
    fn must_wait(&self, address: IpAddr, now: Instant) -> bool {
        let near = neighbourhood(address);
        let early = self.failures.until(near, now).is_some() || self.held_of(near) > 0;
        early && !self.settings.trusts(address)
    }

    /// Keeps a connection waiting, if there is room.
    fn hold(&mut self, held: Held) {
        let (near, address) = (neighbourhood(held.address), held.address);
        self.held.retain(|held| neighbourhood(held.address) != near || !held.is_gone());
        if self.held_of(near) >= MOST_HELD.0 || self.held.len() >= MOST_HELD.1 {
            let listening = self.listeners[held.index].listening;
            return self.turn_away(
                &held.socket,
                address,
                listening,
                "too many connections from this address",
            );
        }
        self.complain(&format!("too many wrong passwords: kept waiting host=[{address}]"));
        self.held.push(held);
    }

    /// Lets those in who have waited long enough; who did not stay does not count.
    fn release(&mut self, now: Instant) -> io::Result<()> {
        let mut index = 0;
        while let Some(held) = self.held.get(index) {
            if held.is_gone() {
                self.held.remove(index);
            } else if self.failures.until(neighbourhood(held.address), now).is_some() {
                index += 1;
            } else {
                let held = self.held.remove(index);
                self.let_in(held)?;
            }
        }
        Ok(())
    }

    /// Returns how long it is until somebody is let in who waits.
    fn next_release(&self, now: Instant) -> Option<Duration> {
        let until = |held: &Held| self.failures.until(neighbourhood(held.address), now).unwrap_or(now);
        let next = self.held.iter().map(until).min()?;
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn let_in(&mut self, held: Held) -> io::Result<()> {
        let Held { socket, address, index } = held;
        let near = neighbourhood(address);
        let (child, line) = self.start(socket, self.listeners[index].listening)?;
        let since = Instant::now();
        self.sessions.insert(child, Seat { near, line: Some(line), user: None, since, leaving: false });
        self.failures.let_in(near, since);
        Ok(())
    }

    /// Takes what a session says before anybody has logged in.
    fn hear(&mut self, pid: Pid) {
        loop {
            let Some(seat) = self.sessions.get_mut(&pid) else { return };
            match seat.line.as_ref().map_or(Heard::Silence, Line::hear) {
                Heard::Silence => return,
                Heard::Gone => seat.line = None,
                Heard::Failure => self.failures.note(seat.near, Instant::now()),
                Heard::Asks(user) => self.seat_user(pid, user),
            }
        }
    }

    fn seat_user(&mut self, pid: Pid, user: u32) {
        let most = of_setting(self.settings.sessions_of_user, MOST_OF_USER);
        let others = self.sessions.iter().filter(|(other, seat)| **other != pid && seat.user == Some(user));
        let allowed = others.count() < most;
        if let Some(seat) = self.sessions.get_mut(&pid) {
            seat.user = allowed.then_some(user);
            if let Some(line) = &seat.line {
                line.answer(allowed);
            }
        }
    }

    fn turn_away(
        &mut self,
        mut socket: &TcpStream,
        address: IpAddr,
        listening: Listening,
        why: &'static str,
    ) {
        if !listening.tls {
            // A new connection takes this much at once; if not, it is closed all the same.
            socket.set_nonblocking(true).ok();
            socket.write_all(format!("{}\r\n", listening.protocol.farewell(why)).as_bytes()).ok();
        }
        self.complain(&format!("{why}: turned away host=[{address}]"));
    }

    /// Warns, once in a while: strangers can cause this as often as they like.
    fn complain(&mut self, text: &str) {
        if self.complained.is_none_or(|at| at.elapsed() > QUIET) {
            self.complained = Some(Instant::now());
            self.say(Priority::Warning, text);
        }
    }

    /// Starts the process of a session: ourselves anew, with the connection as its standard input and the line to us as its
    /// standard output.
    fn start(&self, socket: TcpStream, listening: Listening) -> io::Result<(Pid, Line)> {
        // An accepted socket does not inherit the listener's flags here, but does elsewhere.
        socket.set_nonblocking(false)?;
        let socket = OwnedFd::from(socket);
        let mut command = Command::new("/proc/self/exe");
        if !std::path::Path::new("/proc/self/exe").exists() {
            command = Command::new(std::env::current_exe()?);
        }
        command.arg0("ailurus").arg("connection").arg("--service").arg(listening.to_string());
        if let Role::Personal(personal) = &self.role {
            command.arg("--user").arg(&personal.user).arg("--home").arg(&personal.home);
            command.arg("--spool").arg(&personal.spool).arg("--state").arg(&personal.state);
            if personal.sample {
                command.arg("--sample");
            }
        }
        if let Some((uid, gid)) = self.run_as {
            command.uid(uid).gid(gid);
        }
        for variable in activation::VARIABLES {
            command.env_remove(variable);
        }
        // Ctrl-C at our terminal is for us: we tell sessions to close their mailboxes.
        command.process_group(0);
        let (line, theirs) = Line::new()?;
        command.stdin(Stdio::from(socket)).stdout(Stdio::from(theirs));
        let child = command.spawn()?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        id.map(|id| (id, line)).ok_or_else(|| io::Error::other("a process without an id"))
    }

    /// Takes note of sessions that have ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, _status))) = rustix::process::wait(WaitOptions::NOHANG) {
            // Its last words first.
            self.hear(pid);
            self.sessions.remove(&pid);
        }
    }

    /// Stops listening, lets sessions end, and then ends them.
    fn end(mut self, signals: &SignalPipe, grace: Duration) -> Result<(), String> {
        activation::notify_stopping().ok();
        self.listeners.clear();
        self.held.clear();
        self.say(Priority::Info, &format!("stopping, {} sessions", self.sessions.len()));
        if self.await_sessions(signals, grace) {
            return Ok(());
        }
        // SIGHUP closes mailboxes in order, flags saved; SIGTERM would not.
        self.tell_sessions(rustix::process::Signal::HUP);
        if self.await_sessions(signals, CLOSING) {
            return Ok(());
        }
        self.tell_sessions(rustix::process::Signal::TERM);
        self.say(Priority::Warning, &format!("{} sessions have not ended yet", self.sessions.len()));
        Ok(())
    }

    fn tell_sessions(&self, signal: rustix::process::Signal) {
        for &pid in self.sessions.keys() {
            rustix::process::kill_process(pid, signal).ok();
        }
    }

    /// Waits for all sessions to end; a second SIGTERM or SIGINT shortens it. Returns whether they have.
    fn await_sessions(&mut self, signals: &SignalPipe, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            self.reap();
            let left = until.saturating_duration_since(Instant::now());
            if self.sessions.is_empty() || left.is_zero() {
                return self.sessions.is_empty();
            }
            let nap = left.min(Duration::from_millis(500));
            let nap = Timespec { tv_sec: 0, tv_nsec: i64::from(nap.subsec_nanos()) };
            poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&nap)).ok();
            let came = signals.take();
            if came.contains(Signal::Terminate) || came.contains(Signal::Interrupt) {
                return false;
            }
        }
    }

    fn say(&self, priority: Priority, text: &str) {
        server_line(&self.log, priority, text);
    }
}

/// Returns what stands for an address where connections are counted.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// A session.
struct Seat {
    /// Where its client is, as [`neighbourhood`] has it.
    near: IpAddr,
    /// The line to its process, as long as nobody has logged in.
    line: Option<Line>,
    /// Who has.
    user: Option<u32>,
    /// When it began.
    since: Instant,
    /// It was told to go.
    leaving: bool,
}

impl Seat {
    /// Tells whether nobody has logged in.
    fn is_pending(&self) -> bool {
        self.line.is_some() && self.user.is_none() && !self.leaving
    }
}

/// Where there is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Full {
    Everywhere,
    /// In this neighbourhood.
    There(IpAddr),
}

impl Full {
    fn why(self) -> &'static str {
        match self {
            Self::Everywhere => "too many connections",
            Self::There(_) => "too many connections from this address",
        }
    }
}

/// A connection that waits for its session.
struct Held {
    socket: TcpStream,
    address: IpAddr,
    /// Of the listener that it came to.
    index: usize,
}

impl Held {
    /// Tells whether the client has not stayed. One that speaks first, as in TLS, has.
    fn is_gone(&self) -> bool {
        use rustix::net::RecvFlags;
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.socket, &mut [0_u8; 1][..], flags) {
            Ok((count, _)) => count == 0,
            Err(error) => !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
        }
    }
}

fn of_setting(setting: Option<u32>, usual: usize) -> usize {
    setting.and_then(|number| usize::try_from(number).ok()).unwrap_or(usual)
}

struct Ready {
    listeners: Vec<usize>,
    stop: bool,
    /// Sessions that have something to say.
    lines: Vec<Pid>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAP: Listening = Listening { protocol: Protocol::Imap, tls: false };

    #[test]
    fn sockets_of_the_service_manager_have_names_or_ports() {
        let spoken = |name: &str, port| spoken_at(name, port).to_string();
        assert_eq!(spoken("imaps.socket", 4000), "imaps");
        assert_eq!(spoken("unknown", 993), "imaps");
        assert_eq!(spoken("unknown", 1110), "pop3");
        assert_eq!(spoken("ailurus-pop3s", 4000), "pop3s");
        assert_eq!(spoken("ailurus-pop3", 4000), "pop3");
        assert_eq!(spoken("", 4000), "imap");
    }

    fn seat(near: IpAddr) -> Seat {
        Seat { near, line: None, user: None, since: Instant::now(), leaving: false }
    }

    #[test]
    fn sessions_are_limited_in_all_and_for_each_address() {
        let mut server = Server::new(Vec::new(), Role::Host, Log::stderr("test"), MOST_OF_ADDRESS + 10);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let pid = |n: usize| Pid::from_raw(i32::try_from(n).expect("small") + 2).expect("not zero");
        for n in 0..MOST_OF_ADDRESS {
            assert_eq!(server.refusal(address(1)), None);
            server.sessions.insert(pid(n), seat(address(1)));
        }
        assert_eq!(server.refusal(address(1)), Some(Full::There(address(1))));
        assert_eq!(server.refusal(address(2)), None);
        for n in 0..10 {
            server.sessions.insert(pid(MOST_OF_ADDRESS + n), seat(address(2)));
        }
        assert_eq!(server.refusal(address(3)), Some(Full::Everywhere));
        assert!(
            !server.make_room(Full::Everywhere, address(3), Instant::now() + TIME_TO_LOG_IN),
            "all are in"
        );
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let mut server = Server::new(Vec::new(), Role::Host, Log::stderr("test"), MOST_OF_ADDRESS + 10);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for n in 0..MOST_OF_ADDRESS {
            let near = address(&format!("2001:db8:1:2::{n:x}"));
            assert_eq!(server.refusal(near), None);
            let pid = Pid::from_raw(i32::try_from(n).expect("small") + 2).expect("not zero");
            server.sessions.insert(pid, seat(neighbourhood(near)));
        }
        assert!(server.refusal(address("2001:db8:1:2:3:4:5:6")).is_some());
        assert_eq!(server.refusal(address("2001:db8:1:3::1")), None);
    }

    #[test]
    fn failures_to_listen_are_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound");
        let error = Listener::bind(address, IMAP).expect_err("taken");
        assert!(error.contains("another program has the port"), "{error}");
        let foreign = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
        let error = Listener::bind(foreign, IMAP).expect_err("not ours");
        assert!(error.contains("does not have the address"), "{error}");
        // An address that this host lacks is passed over; one that somebody else has is not.
        assert!(bind_usual(&[foreign], IMAP).is_err());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        assert_eq!(bind_usual(&[any, foreign], IMAP).expect("one will do").len(), 1);
        let other = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
        for order in [[address, other], [other, address]] {
            let error = bind_usual(&order, IMAP).expect_err("127.0.0.1 is taken");
            assert!(error.contains("another program has the port"), "{error}");
        }
    }

    #[test]
    fn a_port_for_two_protocols_is_refused() {
        let pop3 = Listening { protocol: Protocol::Pop3, tls: false };
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let error = refuse_twice(&[(IMAP, at(1143)), (pop3, at(1143))]).expect_err("one port");
        assert!(error.contains("127.0.0.1:1143 is asked for twice, for IMAP and for POP3"), "{error}");
        assert_eq!(refuse_twice(&[(IMAP, at(1143)), (pop3, at(1144))]), Ok(()));
        assert_eq!(refuse_twice(&[(IMAP, at(0)), (pop3, at(0))]), Ok(()), "the system chooses");
    }

    #[test]
    fn all_addresses_are_listened_to_once() {
        let Ok(probe) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else { return };
        let port = probe.local_addr().expect("bound").port();
        drop(probe);
        let all = [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
        let listeners = bind_usual(&all, IMAP).expect("nobody else has the port");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4 is covered");
        assert!(listeners.len() <= 2);
    }
}
