//! Who is kept waiting, who is turned away, and by which address a client comes.

use crate::host::{host, serve};
use crate::support::{PATIENCE, Program, Talk, connect, encrypt, program};
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Connects from another address of this host.
fn connect_from(source: &str, address: SocketAddr) -> Talk<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let source: IpAddr = source.parse().expect("an address");
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&stream, &SocketAddr::from((source, 0))).expect("an address of this host");
    connect(&stream, &address).expect("connected");
    let stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    Talk::new(stream)
}

/// Returns how long it is until a server greets.
fn greeting(talk: &mut Talk<TcpStream>) -> Duration {
    let begun = Instant::now();
    talk.expect("* OK");
    begun.elapsed()
}

#[test]
fn wrong_passwords_slow_their_address_down_and_nobody_else() {
    let Some(host) = host() else { return };
    host.publish("ailurus.toml", "[server]\nreverse-dns = false\n");
    let (server, plain, _) = serve(&host);
    // 48: so many that a connection a second and more apart is let in. Each costs three seconds.
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut talk = connect_from("127.0.0.2", plain);
                talk.expect("* OK");
                for _ in 0..3 {
                    talk.command("LOGIN ada wrong", "NO");
                }
                talk.expect("* BYE");
            });
        }
    });
    let mut first = connect_from("127.0.0.2", plain);
    greeting(&mut first);
    let mut second = connect_from("127.0.0.2", plain);
    let mut third = connect_from("127.0.0.2", plain);
    server.logged("too many wrong passwords: kept waiting host=[127.0.0.2]");
    // Others are served at once meanwhile; so are trusted clients, whatever they do.
    second.stream.get_ref().set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    for other in ["127.0.0.3", "127.0.0.1"] {
        let mut talk = connect_from(other, plain);
        talk.expect("* OK");
        talk.command("LOGIN ada adapw", "OK");
    }
    assert!(second.stream.fill_buf().is_err(), "it waits");
    second.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a socket");
    greeting(&mut second);
    let apart = greeting(&mut third);
    assert!(apart > Duration::from_secs(2), "{apart:?}");
    // Who waits and is let in is served like anybody.
    third.command("LOGIN ada adapw", "OK");
}

#[test]
fn limits_of_addresses_and_users() {
    let Some(host) = host() else { return };
    host.publish(
        "ailurus.toml",
        "[server]\nsessions-of-address = 3\nsessions-of-user = 2\ntrusted-clients = ['127.0.0.1']\n",
    );
    let (server, plain, _) = serve(&host);
    let enter = |talk: &mut Talk<TcpStream>, name: &str, answer: &str| {
        talk.expect("* OK");
        talk.command(&format!("LOGIN {name} adapw"), answer);
    };
    let mut sessions: Vec<_> = (0..5).map(|_| connect(plain)).collect();
    enter(&mut sessions[0], "ada", "OK");
    enter(&mut sessions[1], "ada", "OK");
    enter(&mut sessions[2], "ada", "NO [LIMIT] Too many sessions of this user");
    server.logged("reason=too many sessions of this user");
    enter(&mut sessions[3], "ben", "OK");
    sessions[2].command("LOGIN ben adapw", "OK");
    // One less, and there is room.
    sessions[0].command("LOGOUT", "OK");
    sessions[0].ended();
    let until = Instant::now() + PATIENCE;
    while crate::support::children(server.id()).len() > 4 {
        assert!(Instant::now() < until, "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
    enter(&mut sessions[4], "ada", "OK");
    let mut others: Vec<_> = (0..3).map(|_| connect_from("127.0.0.2", plain)).collect();
    for talk in &mut others {
        talk.expect("* OK");
    }
    connect_from("127.0.0.2", plain).expect("* BYE too many connections from this address");
    connect_from("127.0.0.3", plain).expect("* OK");
}

/// Connections in which nobody logs in have to go when others need the room; sessions of users and new connections have not.
#[test]
fn who_says_nothing_keeps_nobody_out() {
    let Some(host) = host() else { return };
    host.publish("ailurus.toml", "[server]\nsessions = 3\nreverse-dns = false\n");
    let (_server, plain, _) = serve(&host);
    let mut ada = connect_from("127.0.0.3", plain);
    ada.expect("* OK");
    ada.command("LOGIN ada adapw", "OK");
    let mut silent: Vec<_> = (0..2).map(|_| connect_from("127.0.0.2", plain)).collect();
    for talk in &mut silent {
        talk.expect("* OK");
    }
    connect_from("127.0.0.4", plain).expect("* BYE too many connections");
    thread::sleep(Duration::from_secs(6));
    let mut ben = connect_from("127.0.0.4", plain);
    ben.expect("* OK");
    ben.command("LOGIN ben adapw", "OK");
    silent[0].expect("* BYE");
    silent[0].ended();
    let mut last = connect_from("127.0.0.5", plain);
    last.expect("* OK");
    silent[1].expect("* BYE");
    silent[1].ended();
    // There are two users and a connection that has just come.
    connect_from("127.0.0.6", plain).expect("* BYE too many connections");
    ada.command("NOOP", "OK");
    ben.command("NOOP", "OK");
    last.command("NOOP", "OK");
}

#[test]
fn anonymous_sessions_are_those_of_one_user() {
    let Some(host) = host() else { return };
    host.publish("anonymous.newsgroups", "");
    host.publish("ailurus.toml", "[server]\nsessions-of-user = 1\n");
    let (_server, plain, _) = serve(&host);
    let mut talks: Vec<_> = (0..3).map(|_| connect(plain)).collect();
    for (talk, (command, answer)) in talks.iter_mut().zip([
        ("LOGIN anonymous joe", "OK"),
        ("AUTHENTICATE ANONYMOUS =", "NO [LIMIT] Too many sessions of this user"),
        ("LOGIN ada adapw", "OK"),
    ]) {
        talk.expect("* OK");
        talk.command(command, answer);
    }
    talks[1].command("LOGIN ben adapw", "OK");
}

/// With 1024, a few addresses could have all of them.
#[test]
fn there_are_descriptors_for_all_sessions() {
    let Some(host) = host() else { return };
    let mut command = host.command(std::path::Path::new("sh"));
    command.args(["-c", "ulimit -Sn 64; exec \"$0\" \"$@\""]).arg(program("ailurus"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null());
    let server = Program::start(&mut command);
    let (plain, _) = crate::support::addresses(&server);
    connect(plain).expect("* OK");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).expect("it lives");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("Linux has it");
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] >= numbers[1].min(2500), "{line}");
}

#[test]
fn virtual_hosts_by_address_and_by_name() {
    let Some(host) = host() else { return };
    let usual = host.install_certificate("imapd", "mail.example.test");
    let second = host.install_certificate("imapd-127.0.0.2", "second.example.test");
    let named = host.install_certificate("imapd-third.example.test", "third.example.test");
    let mut command = host.command(program("ailurus"));
    command
        .args(["serve", "--tls-listen", "127.0.0.1:0", "--tls-listen", "127.0.0.2:0"])
        .stdout(Stdio::null());
    let server = Program::start(&mut command);
    let line = server.logged("listening on ");
    let ports: Vec<SocketAddr> =
        line.split_whitespace().filter_map(|word| word.trim_end_matches(',').parse().ok()).collect();
    let [one, two] = ports[..] else { panic!("{line}") };
    for (address, certificate, name, good) in [
        (one, &usual, "mail.example.test", true),
        (two, &second, "second.example.test", true),
        (two, &usual, "mail.example.test", false),
        (one, &named, "third.example.test", true),
        (two, &named, "third.example.test", true),
    ] {
        let talk = encrypt(connect(address), certificate, name);
        assert_eq!(talk.is_ok(), good, "{address} {name}");
        if let Ok(mut talk) = talk {
            talk.expect("* OK");
            talk.command("LOGIN ada adapw", "OK");
        }
    }
}

/// FAQ 1.23, 1.24, 3.17, 3.18: passwords never, in TLS only, or from some clients in the clear.
#[test]
fn passwords_in_the_clear() {
    let Some(host) = host() else { return };
    let certificate = host.install_certificate("imapd", "localhost");
    let (_server, plain, _) = serve(&host);
    let in_the_clear = |allowed: bool, source: &str| {
        let mut talk = connect_from(source, plain);
        assert_eq!(talk.expect("* OK").contains(" LOGINDISABLED"), !allowed, "{source}");
        if !allowed {
            talk.command("LOGIN ada adapw", "NO [AUTHENTICATIONFAILED] Invalid login credentials");
            talk.command("AUTHENTICATE PLAIN AGFkYQBhZGFwdw==", "BAD Command unrecognized");
        }
        talk.command("STARTTLS", "OK");
        encrypt(talk, &certificate, "localhost").expect("a handshake")
    };
    drop(in_the_clear(true, "127.0.0.1"));
    host.publish("ailurus.toml", "[server]\nplaintext = 'tls'\nplaintext-clients = ['127.0.0.7']\n");
    let mut talk = in_the_clear(false, "127.0.0.1");
    let lines = talk.command("CAPABILITY", "OK");
    assert!(!lines[0].contains("LOGINDISABLED") && lines[0].ends_with("AUTH=PLAIN AUTH=LOGIN"), "{lines:?}");
    talk.command("LOGIN ada adapw", "OK");
    drop(in_the_clear(true, "127.0.0.7"));
    host.publish("ailurus.toml", "[server]\nplaintext = 'never'\n");
    let mut talk = in_the_clear(false, "127.0.0.7");
    let lines = talk.command("CAPABILITY", "OK");
    assert!(lines[0].contains("LOGINDISABLED") && !lines[0].contains("AUTH="), "{lines:?}");
    talk.command("LOGIN ada adapw", "NO");
}

/// FAQ 7.24: a name server that takes questions and never answers.
#[test]
fn a_name_server_that_is_a_black_hole_keeps_nobody_waiting() {
    let Some(host) = host() else { return };
    let Ok(_hole) = std::net::UdpSocket::bind("127.0.0.53:53") else {
        return eprintln!("skipped: something has 127.0.0.53:53");
    };
    host.publish("resolv.conf", "nameserver 127.0.0.53\noptions timeout:10 attempts:3\n");
    host.publish("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n");
    let (server, plain, _) = serve(&host);
    let mut talk = connect_from("127.0.0.9", plain);
    let took = greeting(&mut talk);
    assert!(took < Duration::from_secs(4), "{took:?}, and the resolver would have taken a minute");
    talk.command("LOGIN ada adapw", "OK");
    server.logged("Login user=ada host=[127.0.0.9]");
}

/// What a stranger can send instead of an answer to a challenge.
#[test]
fn hostile_responses_fail_and_are_forgotten() {
    let Some(host) = host() else { return };
    host.publish("anonymous.newsgroups", "");
    let (server, plain, _) = serve(&host);
    let long = "A".repeat(8188);
    let longer = "A".repeat(20_000);
    for response in ["!!!", "AGFkYQ", "====", "A", "AGFk\0YQ==", &long, &longer] {
        let mut talk = connect(plain);
        talk.expect("* OK");
        talk.say(&format!("t AUTHENTICATE PLAIN\r\n{response}"));
        talk.expect("+ ");
        // PLAIN is hidden in the clear, and fails like what there is not.
        talk.expect("t BAD");
        talk.command("LOGIN ada adapw", "OK");
    }
    // NULs within names.
    let mut talk = connect(plain);
    talk.expect("* OK");
    for message in ["AGEAZABhZGFwdw==", "YWRhAA==", "AGFkYQBhZGFwdwA="] {
        talk.command(&format!("AUTHENTICATE PLAIN {message}"), "BAD");
    }
    talk.say("t LOGIN {4+}\r\na\0da adapw");
    assert!(talk.line().starts_with("t "));
    talk.command("LOGIN ada adapw", "OK");
    assert!(!server.log().contains('\0'));
}
