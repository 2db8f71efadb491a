//! `ailurus serve` as an ordinary user: a person's own server.

use crate::support::{
    PATIENCE, Program, addresses, children, connect, encrypt, ordinary, peak_memory, scratch,
};
use hmac::{Hmac, KeyInit, Mac};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// A server, its addresses, and who may log in.
struct Own {
    server: Program,
    plain: SocketAddr,
    tls: SocketAddr,
    user: String,
    password: String,
    home: tempfile::TempDir,
}

impl Own {
    fn start() -> Self {
        let home = scratch();
        let (server, user, password) = start(home.path());
        let (plain, tls) = addresses(&server);
        let password = password.expect("made on the first start");
        Self { server, plain, tls: tls.expect("asked for"), user, password, home }
    }

    fn login(&self) -> String {
        format!("LOGIN {} {}", self.user, self.password)
    }

    fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/ailurus")
    }

    fn certificate(&self) -> PathBuf {
        self.state().join("imapd.pem")
    }
}

/// Starts a server; returns it with the user and, if it was told, the password.
fn start(home: &Path) -> (Program, String, Option<String>) {
    let mut command = ordinary("ailurus", home);
    command.args(["serve", "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"]);
    let mut server = Program::start(command.stdout(Stdio::piped()));
    addresses(&server);
    let line = server.stdout().lines().map_while(Result::ok).find(|line| line.starts_with("User "));
    let line = line.expect("the user is named");
    let words: Vec<_> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let password = (words[2] == "password").then(|| words[3].to_owned());
    (server, words[1].to_owned(), password)
}

#[test]
fn the_password_is_made_once_and_kept() {
    let own = Own::start();
    let mut talk = connect(own.plain);
    let greeting = talk.expect("* OK [CAPABILITY IMAP4REV1 ");
    assert!(greeting.contains(" STARTTLS") && greeting.contains(" AUTH=CRAM-MD5"), "{greeting}");
    talk.command(&own.login(), "OK");
    talk.command("LIST \"\" *", "OK");
    talk.command("LOGOUT", "OK");
    own.server.logged(&format!("mail.info: Login user={} host=", own.user));
    let text = fs::read_to_string(own.state().join("password")).expect("there");
    assert_eq!(text, format!("{}\t{}\n", own.user, own.password));
    let Own { mut server, home, user, password, .. } = own;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    let (server, again, told) = start(home.path());
    assert_eq!((again, told), (user.clone(), None));
    let mut talk = connect(addresses(&server).0);
    talk.expect("* OK");
    talk.command(&format!("LOGIN {user} {password}"), "OK");
}

#[test]
fn wrong_logins_cost_time_and_end_after_three() {
    let own = Own::start();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    let begun = Instant::now();
    talk.command(&format!("LOGIN {} wrong", own.user), "NO [AUTHENTICATIONFAILED] Invalid login credentials");
    assert!(begun.elapsed() >= Duration::from_millis(2900));
    talk.command(&format!("LOGIN root {}", own.password), "NO");
    talk.command(&format!("LOGIN {} \"\"", own.user), "NO");
    while !talk.line().is_empty() {}
    assert!(begun.elapsed() < Duration::from_secs(25));
    own.server.logged(&format!("auth.notice: Login failed user={0} auth={0} host=", own.user));
    own.server.logged("auth.notice: Login failed user=root auth=root host=");
}

#[test]
fn cram_md5_proves_the_same_password() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let own = Own::start();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.say("t AUTHENTICATE CRAM-MD5");
    let challenge = talk.expect("+ ");
    let challenge = STANDARD.decode(&challenge[2..]).expect("base64");
    let mut mac = Hmac::<md5::Md5>::new_from_slice(own.password.as_bytes()).expect("any length");
    mac.update(&challenge);
    let digest: String = mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    talk.say(&STANDARD.encode(format!("{} {digest}", own.user)));
    loop {
        let line = talk.line();
        if line.starts_with("t ") {
            assert!(line.starts_with("t OK"), "{line}");
            break;
        }
    }
    own.server.logged("mech=CRAM-MD5");
}

#[test]
fn starttls_and_imaps() {
    let own = Own::start();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.say("t STARTTLS\r\nx CAPABILITY");
    talk.expect("t OK STARTTLS completed");
    let mut talk = encrypt(talk, &own.certificate(), "localhost").expect("a handshake");
    let lines = talk.command("CAPABILITY", "OK");
    assert!(!lines[0].contains("STARTTLS") && lines[0].contains("AUTH=PLAIN"), "{lines:#?}");
    talk.command("STARTTLS", "");
    talk.command(&own.login(), "OK");
    talk.command("LOGOUT", "OK");
    talk.ended();

    let mut talk = encrypt(connect(own.tls), &own.certificate(), "localhost").expect("a handshake");
    talk.expect("* OK [CAPABILITY");
    talk.command(&own.login(), "OK");
    talk.command("LOGOUT", "OK");
    talk.ended();
    own.server.logged("mail.debug: imaps SSL service init from 127.0.0.1");
}

#[test]
fn a_bad_certificate_is_logged_and_a_good_one_needs_no_restart() {
    let own = Own::start();
    let good = fs::read(own.certificate()).expect("there");
    let keep = own.home.path().join("good.pem");
    fs::write(&keep, &good).expect("written");
    fs::write(own.certificate(), "nothing\n").expect("written");
    encrypt(connect(own.tls), &keep, "localhost").map(drop).expect_err("no certificate");
    let line = own.server.logged("mail.alert: Unable to load certificate from ");
    assert!(line.contains("/imapd.pem, host="), "{line}");
    own.server.logged("mail.err: SSL error status: no certificate in the file");
    let mut talk = connect(own.plain);
    let greeting = talk.expect("* OK");
    assert!(!greeting.contains("STARTTLS"), "{greeting}");
    fs::write(own.certificate(), good).expect("written");
    own.server.signal(Signal::HUP);
    let mut talk = encrypt(connect(own.tls), &keep, "localhost").expect("a handshake again");
    talk.expect("* OK");

    // Somebody who does not speak TLS.
    let mut rude = connect(own.tls);
    rude.say("a NOOP");
    let mut answer = Vec::new();
    rude.stream.read_to_end(&mut answer).expect("an alert and the end");
    own.server.logged("mail.info: Unable to accept SSL connection, host=");
}

#[test]
fn sigterm_lets_sessions_end() {
    let mut own = Own::start();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.command(&own.login(), "OK");
    own.server.signal(Signal::TERM);
    own.server.logged("stopping, 1 sessions");
    let refused = std::net::TcpStream::connect(own.plain);
    assert!(refused.is_err(), "no new sessions");
    talk.command("NOOP", "OK");
    let begun = Instant::now();
    talk.command("LOGOUT", "OK");
    assert_eq!(own.server.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "nothing to wait for");
}

#[test]
fn sigint_ends_sessions_at_once() {
    let mut own = Own::start();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.command(&own.login(), "OK");
    let session = children(own.server.id());
    assert_eq!(session.len(), 1);
    own.server.signal(Signal::INT);
    talk.ended();
    assert_eq!(own.server.wait().code(), Some(0));
    own.server.logged("mail.info: Hangup user=");
}

/// A terminal sends SIGINT to all processes that it started, and a session that got it would end with its mailbox open.
#[test]
fn an_interrupt_at_the_terminal_is_not_for_sessions() {
    let own = Own::start();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.command(&own.login(), "OK");
    let session = children(own.server.id())[0];
    let group = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("an id")).expect("an id");
        rustix::process::getpgid(Some(pid)).expect("it runs")
    };
    assert_ne!(group(session), group(own.server.id()));
}

#[test]
fn a_port_in_use_is_explained() {
    let own = Own::start();
    let mut command = ordinary("ailurus", own.home.path());
    command.args(["serve", "--listen", &own.plain.to_string()]).stdout(Stdio::null());
    let mut second = Program::start(&mut command);
    assert_eq!(second.wait().code(), Some(1));
    let line = second.logged("cannot listen on");
    assert!(line.contains("another program has the port"), "{line}");
    let mut command = ordinary("ailurus", own.home.path());
    command.args(["serve", "--listen", "127.0.0.1:143"]).stdout(Stdio::null());
    let privileged = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if privileged.trim().parse::<u16>().is_ok_and(|start| start > 143) {
        let mut third = Program::start(&mut command);
        assert_eq!(third.wait().code(), Some(1));
        let line = third.logged("cannot listen on");
        assert!(line.contains("root's") || line.contains("another program"), "{line}");
    }
}

#[test]
fn a_password_file_that_others_can_read_is_refused() {
    let Own { mut server, home, .. } = Own::start();
    server.signal(Signal::TERM);
    server.wait();
    let file = home.path().join(".local/state/ailurus/password");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
    let mut command = ordinary("ailurus", home.path());
    command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null());
    let mut again = Program::start(&mut command);
    assert_eq!(again.wait().code(), Some(1));
    again.logged("chmod 600");
}

#[test]
fn disconnects_before_login_leave_nothing_behind() {
    let own = Own::start();
    let script = format!(
        "a CAPABILITY\r\nb {}\r\nc AUTHENTICATE PLAIN\r\n*\r\nd STARTTLS\r\n\x16\x03\x01",
        own.login()
    );
    for end in (0..script.len()).step_by(5) {
        let mut talk = connect(own.plain);
        talk.stream.get_mut().write_all(&script.as_bytes()[..end]).expect("written");
        match end % 2 {
            0 => drop(talk),
            _ => talk.stream.get_ref().shutdown(Shutdown::Both).expect("open"),
        }
    }
    let until = Instant::now() + PATIENCE;
    while !children(own.server.id()).is_empty() {
        assert!(Instant::now() < until, "sessions are left:\n{}", own.server.log());
        thread::sleep(Duration::from_millis(50));
    }
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.command(&own.login(), "OK");
}

#[test]
fn garbage_before_login_ends_the_connection() {
    let own = Own::start();
    for garbage in ["", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "a\r\n", "a NOSUCH\r\nb NOSUCH\r\nc NOSUCH"] {
        let mut talk = connect(own.plain);
        talk.expect("* OK");
        talk.say(garbage);
        let mut rest = String::new();
        talk.stream.read_to_string(&mut rest).expect("to the end");
        assert!(!rest.contains("HTTP"), "nothing is echoed: {rest}");
    }
}

/// A peer that asks for everything and reads next to nothing.
#[test]
fn a_slow_reader_costs_bounded_memory() {
    let own = Own::start();
    let line = b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let message = [&b"Subject: large\r\n\r\n"[..], &line.repeat(20_000)].concat();
    let mut talk = connect(own.plain);
    talk.expect("* OK");
    talk.command(&own.login(), "OK");
    for create in ["CREATE #driver.mbx/large-mbx", "CREATE large-unix"] {
        talk.command(create, "OK");
        let name = create.rsplit([' ', '/']).next().expect("a name");
        for _ in 0..40 {
            talk.say(&format!("t APPEND {name} {{{}+}}", message.len()));
            talk.stream.get_mut().write_all(&message).expect("written");
            talk.say("");
            talk.expect("t OK");
        }
        let mut slow = connect(own.plain);
        slow.expect("* OK");
        slow.command(&own.login(), "OK");
        slow.command(&format!("SELECT {name}"), "OK");
        slow.say("t FETCH 1:* BODY.PEEK[]\r\nu FETCH 1:* BODY.PEEK[]");
        let mut some = [0; 4096];
        for _ in 0..40 {
            slow.stream.read_exact(&mut some).expect("the beginning");
            thread::sleep(Duration::from_millis(25));
        }
        for session in children(own.server.id()) {
            let peak = peak_memory(session);
            eprintln!("{name}: {peak} KiB");
            assert!(peak <= 8 * 1024, "{name}: {peak} KiB");
        }
    }
}
