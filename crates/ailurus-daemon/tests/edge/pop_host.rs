//! POP3 of a mail host: ways in, limits, and how a session ends.

use crate::alone::MAIL;
use crate::bottle::Bottle;
use crate::host::host;
use crate::pop3::address;
use crate::support::{Encrypted, Program, Talk, children, connect, encrypt, program};
use crate::ways_in::{certified, ends, passwd, scram_by, with_certificate};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

fn serve(host: &Bottle) -> (Program, SocketAddr, SocketAddr) {
    let mut command = host.command(program("ailurus"));
    command.args(["serve", "--pop3-listen", "127.0.0.1:0", "--pop3-tls-listen", "127.0.0.1:0"]);
    let server = Program::start(command.stdout(Stdio::null()));
    let (plain, tls) = (address(&server, "pop3"), address(&server, "pop3s"));
    (server, plain, tls)
}

fn ask<S: Read + Write>(talk: &mut Talk<S>, command: &str, answer: &str) {
    talk.say(command);
    talk.expect(answer);
}

fn login(address: SocketAddr, name: &str) -> Talk<TcpStream> {
    let mut talk = connect(address);
    talk.expect("+OK POP3");
    ask(&mut talk, &format!("USER {name}"), "+OK");
    ask(&mut talk, "PASS adapw", "+OK Mailbox open, 2 messages");
    talk
}

/// Returns the lines of CAPA.
fn capabilities<S: Read + Write>(talk: &mut Talk<S>) -> Vec<String> {
    talk.say("CAPA");
    talk.expect("+OK");
    std::iter::repeat_with(|| talk.line()).take_while(|line| line != "." && !line.is_empty()).collect()
}

/// Waits until a server has no sessions.
fn all_ended(server: &Program) {
    let until = Instant::now() + crate::support::PATIENCE;
    while !children(server.id()).is_empty() {
        assert!(Instant::now() < until, "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn scram_and_certificates() {
    let Some(host) = host() else { return };
    passwd(&host, "ada", "right");
    let certificate = host.install_certificate("imapd", "localhost");
    let ada = certified(&host, "ada");
    host.publish("ailurus.toml", "[server]\nclient-ca = '/etc/ssl/users.pem'\nplaintext = 'never'\n");
    let (server, plain, tls) = serve(&host);
    let mut talk = connect(plain);
    talk.expect("+OK POP3");
    let lines = capabilities(&mut talk);
    assert!(lines.contains(&"SASL SCRAM-SHA-256 SCRAM-SHA-1".into()), "{lines:#?}");
    assert!(lines.contains(&"STLS".into()) && !lines.contains(&"USER".into()), "{lines:#?}");
    ends(&scram_by(&mut talk, "AUTH SCRAM-SHA-256", "n,,", b"", ("ada", "wrong")), "-ERR [AUTH]");
    ends(&scram_by(&mut talk, "AUTH SCRAM-SHA-256", "n,,", b"", ("ada", "right")), "+OK Mailbox open, 2");
    ask(&mut talk, "QUIT", "+OK");
    // Bound to the channel, after STLS.
    let mut talk = connect(plain);
    talk.expect("+OK POP3");
    ask(&mut talk, "STLS", "+OK");
    let mut talk: Talk<Encrypted> = encrypt(talk, &certificate, "localhost").expect("a handshake");
    let list = "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1";
    assert!(capabilities(&mut talk).contains(&list.into()));
    let exporter =
        talk.stream.get_ref().conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
    let (data, used) = (exporter.expect("TLS 1.3"), "p=tls-exporter,,");
    ends(&scram_by(&mut talk, "AUTH SCRAM-SHA-256-PLUS", used, &[0; 32], ("ada", "right")), "-ERR");
    ends(&scram_by(&mut talk, "AUTH SCRAM-SHA-256-PLUS", used, &data, ("ada", "right")), "+OK Mailbox open");
    ask(&mut talk, "QUIT", "+OK");
    // A certificate.
    let mut talk = with_certificate(connect(tls), &certificate, ada);
    talk.expect("+OK POP3");
    let list = format!("SASL EXTERNAL {}", &list["SASL ".len()..]);
    assert!(capabilities(&mut talk).contains(&list));
    ask(&mut talk, "AUTH EXTERNAL YmVu", "-ERR [AUTH] Bad authentication");
    ask(&mut talk, "AUTH EXTERNAL =", "+OK Mailbox open, 2 messages");
    server.logged("Login refused user=ben auth=ada host=localhost [127.0.0.1] reason=not a member");
}

#[test]
fn too_many_sessions_of_a_user_are_no_wrong_passwords() {
    let Some(host) = host() else { return };
    host.publish("ailurus.toml", "[server]\nsessions-of-user = 1\n");
    let (server, plain, _) = serve(&host);
    let first = login(plain, "ada");
    let mut second = connect(plain);
    second.expect("+OK POP3");
    ask(&mut second, "USER ada", "+OK");
    ask(&mut second, "PASS adapw", "-ERR [IN-USE] Too many sessions of this user");
    server.logged("reason=too many sessions of this user");
    drop(first);
    let until = Instant::now() + crate::support::PATIENCE;
    while children(server.id()).len() > 1 {
        assert!(Instant::now() < until, "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
    ask(&mut second, "PASS adapw", "+OK Mailbox open, 2 messages");
    assert!(!server.log().contains("Login failed"), "{}", server.log());
}

/// CVE-2011-0411: what somebody in between has put behind STLS.
#[test]
fn what_is_behind_stls_is_not_obeyed() {
    let Some(host) = host() else { return };
    let certificate = host.install_certificate("imapd", "localhost");
    let (_server, plain, _) = serve(&host);
    let mut talk = connect(plain);
    talk.expect("+OK POP3");
    ask(&mut talk, "USER ada", "+OK");
    talk.stream.get_mut().write_all(b"STLS\r\nUSER ben\r\nPASS adapw\r\nQUIT\r\n").expect("written");
    talk.expect("+OK STLS completed");
    let mut talk = encrypt(talk, &certificate, "localhost").expect("a handshake");
    ask(&mut talk, "PASS adapw", "-ERR Unknown AUTHORIZATION state command");
    ask(&mut talk, "USER ada", "+OK");
    ask(&mut talk, "PASS adapw", "+OK Mailbox open, 2 messages");
}

#[test]
fn only_a_whole_quit_deletes() {
    let Some(host) = host() else { return };
    let (server, plain, _) = serve(&host);
    // The end of the connection within the line, before its end, and in a line that is no QUIT.
    for end in ["", "QUI", "QUIT", "QUIT\r", "QUIT\0\r\n", "QUITE\r\n"] {
        for half in [true, false] {
            let mut talk = login(plain, "ada");
            ask(&mut talk, "DELE 1", "+OK");
            let socket = talk.stream.get_mut();
            socket.write_all(end.as_bytes()).expect("written");
            if half {
                socket.shutdown(Shutdown::Write).expect("open");
                let mut rest = Vec::new();
                talk.stream.read_to_end(&mut rest).expect("the end");
            }
            drop(talk);
            all_ended(&server);
            let spool = fs::read_to_string(host.spool("ada")).expect("there");
            assert_eq!(spool.matches("\nSubject: ").count(), 2, "{end:?} {half}: {spool}");
        }
    }
    // A whole one does, also where nobody waits for its answer, and nothing behind it counts.
    let mut talk = login(plain, "ada");
    let commands = b"DELE 1\r\nQUIT\r\nDELE 2\r\nQUIT\r\n";
    talk.stream.get_mut().write_all(commands).expect("written");
    drop(talk);
    all_ended(&server);
    let spool = fs::read_to_string(host.spool("ada")).expect("there");
    assert!(spool.contains("\nSubject: two") && !spool.contains("\nSubject: one"), "{spool}");
    assert_eq!(fs::read_to_string(host.spool("ben")).expect("there"), MAIL);
    let mut talk = login_of_one(plain);
    talk.stream.get_mut().write_all(b"DELE 1\r\nQUIT\r\nUSER ben\r\nPASS adapw\r\n").expect("written");
    talk.expect("+OK Message deleted");
    talk.expect("+OK Sayonara");
    talk.ended();
}

fn login_of_one(address: SocketAddr) -> Talk<TcpStream> {
    let mut talk = connect(address);
    talk.expect("+OK POP3");
    ask(&mut talk, "USER ada", "+OK");
    ask(&mut talk, "PASS adapw", "+OK Mailbox open, 1 messages");
    talk
}

/// As `ssh host ipop3d` does it; over a network socket nobody is the user who has started us.
#[test]
fn who_starts_ipop3d_is_known() {
    let Some(host) = host() else { return };
    let ipop3d = std::path::Path::new(env!("CARGO_BIN_EXE_ipop3d"));
    let mut command = host.command_of_ada(ipop3d);
    let mut session = Program::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut talk = session.pipes();
    talk.expect("+OK POP3");
    assert!(capabilities(&mut talk).contains(&"SASL EXTERNAL".into()));
    ask(&mut talk, "AUTH EXTERNAL YmVu", "-ERR [AUTH] Bad authentication");
    ask(&mut talk, "AUTH EXTERNAL =", "+OK Mailbox open, 2 messages");
    ask(&mut talk, "QUIT", "+OK Sayonara");
    assert_eq!(session.wait().code(), Some(0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = connect(listener.local_addr().expect("bound"));
    let (accepted, _) = listener.accept().expect("somebody");
    let mut command = host.command_of_ada(ipop3d);
    let output = accepted.try_clone().expect("a socket");
    command.stdin(std::os::fd::OwnedFd::from(accepted)).stdout(std::os::fd::OwnedFd::from(output));
    let _session = Program::start(&mut command);
    drop(command);
    let mut talk = client;
    talk.expect("+OK POP3");
    assert!(!capabilities(&mut talk).iter().any(|line| line.contains("EXTERNAL")));
    ask(&mut talk, "AUTH EXTERNAL =", "-ERR Bad authentication");
}
