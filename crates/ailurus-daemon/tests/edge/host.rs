//! `ailurus serve` and `imapd` as root: the mail server of a host, in a host of its own.

use crate::bottle::{Bottle, FIRST_UID};
use crate::support::{PATIENCE, Program, Talk, addresses, children, connect, encrypt, program};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Returns a host whose users have two messages each.
pub(crate) fn host() -> Option<Bottle> {
    Bottle::new(crate::alone::MAIL)
}

pub(crate) fn serve(host: &Bottle) -> (Program, SocketAddr, SocketAddr) {
    let mut command = host.command(program("ailurus"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"]).stdout(Stdio::null());
    let server = Program::start(&mut command);
    let (plain, tls) = addresses(&server);
    (server, plain, tls.expect("asked for"))
}

pub(crate) fn login(address: SocketAddr, line: &str, answer: &str) -> Talk<std::net::TcpStream> {
    let mut talk = connect(address);
    talk.expect("* OK");
    talk.command(line, answer);
    talk
}

/// Returns the lines of a process's status that say whose rights it has.
pub(crate) fn rights(pid: u32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let wanted =
        |line: &&str| ["Uid:", "Gid:", "Groups:", "CapEff:", "CapPrm:"].iter().any(|w| line.starts_with(w));
    status.lines().filter(wanted).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn users_log_in_by_shadow_and_become_themselves_for_good() {
    let Some(host) = host() else { return };
    let (server, plain, _) = serve(&host);
    for name in ["ada", "ADA"] {
        let mut talk = login(plain, &format!("LOGIN {name} adapw"), "OK");
        let session = children(server.id())[0];
        let uid = FIRST_UID;
        assert_eq!(
            rights(session),
            [
                format!("Uid: {uid} {uid} {uid} {uid}"),
                format!("Gid: {uid} {uid} {uid} {uid}"),
                format!("Groups: {uid}"),
                "CapPrm: 0000000000000000".into(),
                "CapEff: 0000000000000000".into(),
            ]
        );
        // Nothing that root opened is left open.
        for entry in fs::read_dir(format!("/proc/{session}/fd")).expect("a living process") {
            let target = fs::read_link(entry.expect("an entry").path()).expect("open");
            let target = target.to_string_lossy();
            let harmless = ["socket:", "pipe:", "anon_inode:", "/dev/null"];
            assert!(harmless.iter().any(|kind| target.starts_with(kind)), "{target}");
        }
        // What root knew is still in the process's memory, and not for the user to see.
        let memory = fs::metadata(format!("/proc/{session}/mem")).expect("a living process");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&memory), 0);
        let lines = talk.command("SELECT INBOX", "OK [READ-WRITE]");
        assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
        talk.command("LOGOUT", "OK");
        gone(&server);
    }
    server.logged("mail.info: Login user=ada host=");
    let spool = fs::metadata(host.path("mail/ada")).expect("there");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&spool), FIRST_UID);
}

#[test]
fn new_mail_is_moved_to_an_inbox_of_the_users_own_and_told_in_idle() {
    let Some(host) = host() else { return };
    let (server, plain, _) = serve(&host);
    let mut talk = login(plain, "LOGIN ada adapw", "OK");
    talk.command("CREATE #driver.mbx/INBOX", "OK");
    let lines = talk.command("STATUS INBOX (MESSAGES)", "OK");
    assert!(lines.contains(&"* STATUS INBOX (MESSAGES 2)".to_owned()), "{lines:#?}");
    let lines = talk.command("SELECT INBOX", "OK [READ-WRITE]");
    assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
    let line = server.logged("bytes of new mail to");
    assert!(line.contains(" mail.") && line.contains("user=ada"), "{line}");
    talk.say("t IDLE");
    talk.expect("+ ");
    let begun = Instant::now();
    let mut spool = fs::File::options().append(true).open(host.path("mail/ada")).expect("there");
    std::io::Write::write_all(&mut spool, crate::alone::MAIL.as_bytes()).expect("written");
    drop(spool);
    while talk.line() != "* 4 EXISTS" {
        assert!(begun.elapsed() < PATIENCE, "no word of the new mail");
    }
    assert!(begun.elapsed().as_secs() < 4, "by notice, not by looking every five seconds");
    talk.say("DONE");
    while !talk.line().starts_with("t OK") {}
    assert_eq!(fs::read(host.path("mail/ada")).expect("there"), b"");
    talk.command("LOGOUT", "OK");
}

#[test]
fn every_refusal_looks_the_same_to_the_client_and_not_in_the_log() {
    let Some(host) = host() else { return };
    let (server, plain, _) = serve(&host);
    let refused = "NO [AUTHENTICATIONFAILED] Invalid login credentials";
    let cases = [
        ("LOGIN ada wrong", "user=ada", "wrong"),
        ("LOGIN nobody-of-that-name adapw", "user=nobody-of-that-name", "no such"),
        ("LOGIN eve locked", "user=eve", "password"),
        ("LOGIN zero adapw", "user=zero", "root cannot log in"),
        ("LOGIN \"ben*ada\" adapw", "user=ben", "mailadm"),
    ];
    // At the same time: each costs three seconds.
    thread::scope(|scope| {
        for (line, ..) in cases {
            scope.spawn(move || login(plain, line, refused));
        }
    });
    for (_, user, reason) in cases {
        let line = server.logged(&format!("Login refused {user} "));
        assert!(line.contains(reason), "{line}");
        server.logged(&format!("auth.notice: Login failed {user} "));
    }
    server.logged("auth.notice: Failed ada override of user=ben host=");
    let mut talk = login(plain, "LOGIN \"ben*postmgr\" mgrpw", "OK");
    server.logged("auth.notice: Admin postmgr override of user=ben host=");
    talk.command("LOGOUT", "OK");
}

#[test]
fn passwords_and_accounts_that_expire() {
    let Some(host) = host() else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_secs();
    // Of local time, which is UTC here; whoever tests at midnight sees the day before.
    let today = now / 86_400;
    let path = host.path("etc/shadow");
    let shadow = fs::read_to_string(&path).expect("copied");
    let aging = |user: &str, fields: String| {
        let lines = shadow.lines().map(|line| match line.split(':').collect::<Vec<_>>()[..] {
            [name, hash, ..] if name == user => format!("{name}:{hash}:{fields}\n"),
            _ => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>()).expect("ours");
    };
    let (server, plain, _) = serve(&host);
    aging("ada", format!("{}:0:90:7::{}:", today - 87, today + 5));
    let lines = login_lines(plain, "LOGIN ada adapw", "OK");
    assert_eq!(
        lines[..2],
        ["* OK [ALERT] Password expires in 3 day(s)", "* OK [ALERT] Account expires in 5 day(s)"]
    );
    aging("ada", format!("{}:0:90:7:::", today - 90));
    assert_eq!(login_lines(plain, "LOGIN ada adapw", "OK")[0], "* NO [ALERT] Password expires today!");
    aging("ada", format!("{}:0:90:7:::", today - 91));
    assert_eq!(login_lines(plain, "LOGIN ada adapw", "NO").len(), 1);
    server.logged("reason=password expired");
    aging("ada", format!("{}:0:::::", 0));
    login_lines(plain, "LOGIN ada adapw", "NO");
}

fn login_lines(address: SocketAddr, line: &str, answer: &str) -> Vec<String> {
    let mut talk = connect(address);
    talk.expect("* OK");
    talk.command(line, answer)
}

#[test]
fn the_database_of_secrets_replaces_the_systems_passwords() {
    let Some(host) = host() else { return };
    host.put("cram-md5.pwd", "ada\tadaCRAM\nghost\tghostCRAM\n");
    let (server, plain, _) = serve(&host);
    let mut talk = connect(plain);
    assert!(talk.expect("* OK").contains("AUTH=CRAM-MD5"));
    talk.command("LOGIN ada adapw", "NO");
    talk.command("LOGIN ada adaCRAM", "OK");
    talk.command("LOGOUT", "OK");
    drop(login(plain, "LOGIN ghost ghostCRAM", "NO"));
    server.logged("reason=no such account");
}

/// The database knows ada; ADA is somebody else, who has no secret.
#[test]
fn accounts_that_differ_in_case_are_not_mistaken() {
    let Some(host) = host() else { return };
    host.put("cram-md5.pwd", "ada\tadaCRAM\n");
    host.add_user("ADA", FIRST_UID + 10, "!");
    let (server, plain, _) = serve(&host);
    let mut talk = login(plain, "LOGIN ADA adaCRAM", "OK");
    let rights = rights(children(server.id())[0]);
    assert!(rights[0].starts_with(&format!("Uid: {FIRST_UID} ")), "{rights:?}");
    talk.command("LOGOUT", "OK");
}

#[test]
fn pam_decides_where_there_is_a_service() {
    let Some(host) = host() else { return };
    if !ailurus_sys::pam::available() {
        return eprintln!("skipped: no libpam");
    }
    host.put("pam.d/imap", "auth required pam_unix.so\naccount required pam_unix.so\n");
    let (server, plain, _) = serve(&host);
    drop(login(plain, "LOGIN ada wrong", "NO"));
    server.logged("reason=pam_authenticate: ");
    login(plain, "LOGIN ada adapw", "OK").command("LOGOUT", "OK");
    // Read for every login: no restart.
    host.put("pam.d/imap", "auth required pam_permit.so\naccount required pam_permit.so\n");
    login(plain, "LOGIN ben anything", "OK").command("LOGOUT", "OK");
    // What modules would log of it could be taken for lines of others'.
    let mut talk = connect(plain);
    talk.expect("* OK");
    talk.say("t LOGIN {9+}\r\nada\nforge anything");
    talk.expect("t NO");
    server.logged("Login refused user=ada\\012forge ");
    drop(login(plain, "LOGIN zero anything", "NO"));
    host.put("pam.d/imap", "auth required pam_permit.so\naccount required pam_deny.so\n");
    drop(login(plain, "LOGIN ada adapw", "NO"));
    server.logged("reason=pam_acct_mgmt: ");
}

#[test]
fn certificates_are_found_where_debian_has_them() {
    let Some(host) = host() else { return };
    let (server, plain, tls) = serve(&host);
    assert!(!connect(plain).expect("* OK").contains("STARTTLS"), "no certificate, no STARTTLS");
    connect(tls).ended();
    server.logged("mail.alert: Unable to load certificate from /etc/ssl/certs/imapd.pem, host=");
    server.logged("daemon.warning: no certificate: /etc/ssl/certs/imapd.pem does not exist; there is no TLS");
    let certificate = host.install_certificate("imapd", "localhost");
    let mut talk = encrypt(connect(tls), &certificate, "localhost").expect("a handshake");
    talk.expect("* OK");
    talk.command("AUTHENTICATE PLAIN AGFkYQBhZGFwdw==", "OK");
    talk.command("LOGOUT", "OK");
    server.logged("mail.info: Authenticated user=ada host=");
    assert!(connect(plain).expect("* OK").contains("STARTTLS"));
}

#[test]
fn inetd_gives_the_connection_and_the_name_decides() {
    let Some(host) = host() else { return };
    let certificate = host.install_certificate("imapd", "localhost");
    let simapd = host.path("simapd");
    std::os::unix::fs::symlink(program("imapd"), &simapd).expect("ours");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let start = |program: &Path| {
        let client = connect(address);
        let (socket, _) = listener.accept().expect("accepted");
        let output = socket.try_clone().expect("a second descriptor");
        let mut command = host.command(program);
        command
            .arg("-ignored")
            .stdin(std::os::fd::OwnedFd::from(socket))
            .stdout(std::os::fd::OwnedFd::from(output));
        (Program::start(&mut command), client)
    };
    let (mut imapd, mut talk) = start(program("imapd"));
    talk.expect("* OK [CAPABILITY ");
    talk.command("LOGIN ada adapw", "OK");
    talk.command("LOGOUT", "OK");
    assert_eq!(imapd.wait().code(), Some(0));
    let line = imapd.logged("mail.debug: port ");
    assert!(line.ends_with(&format!("port {} service init from 127.0.0.1", address.port())), "{line}");

    let (mut imapd, talk) = start(&simapd);
    talk.stream.get_ref().shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(imapd.wait().code(), Some(1));
    let line = imapd.logged("mail.alert: Unable to load certificate from /etc/ssl/certs/simapd.pem, host=");
    assert!(line.starts_with("simapd["), "{line}");
    for directory in ["certs", "private"] {
        let place = host.path("etc/ssl").join(directory);
        fs::rename(place.join("imapd.pem"), place.join("simapd.pem")).expect("ours");
    }
    let (mut imapd, talk) = start(&simapd);
    let certificate = certificate.with_file_name("simapd.pem");
    let mut talk = encrypt(talk, &certificate, "localhost").expect("a handshake");
    talk.expect("* OK [CAPABILITY ");
    talk.command("LOGIN ada adapw", "OK");
    talk.command("LOGOUT", "OK");
    assert_eq!(imapd.wait().code(), Some(0));
}

#[test]
fn nologin_turns_everybody_away() {
    let Some(host) = host() else { return };
    host.put("nologin", "");
    let (server, plain, _) = serve(&host);
    let mut talk = connect(plain);
    talk.expect("* BYE Service not available ");
    talk.ended();
    server.logged("mail.info: Logout user=??? host=");
}

#[test]
fn alerts_are_shown_once() {
    let Some(host) = host() else { return };
    host.put("imapd.alert", "System maintenance tonight\nSecond line");
    fs::write(host.home("ada").join(".imapalert"), "Personal\n").expect("ours");
    let (_server, plain, _) = serve(&host);
    let mut talk = connect(plain);
    talk.expect("* OK");
    let lines = talk.command("NOOP", "OK");
    assert_eq!(lines[..2], ["* OK [ALERT] System maintenance tonight", "* OK [ALERT] Second line"]);
    let lines = talk.command("LOGIN ada adapw", "OK");
    assert_eq!(lines[0], "* OK [ALERT] Personal");
    assert_eq!(talk.command("NOOP", "OK").len(), 1);
}

#[test]
fn check_finds_what_is_wrong_with_a_host() {
    let Some(host) = host() else { return };
    let check = || {
        let output = host.command(program("ailurus")).arg("check").output().expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, text) = check();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("PROBLEM  no certificate: /etc/ssl/certs/imapd.pem"), "{text}");
    host.install_certificate("imapd", "localhost");
    let (status, text) = check();
    assert_eq!(status, Some(0), "{text}");
    host.put("cram-md5.pwd", "ghost\tboo\nnonsense\n");
    fs::set_permissions(host.path("etc/cram-md5.pwd"), fs::Permissions::from_mode(0o644)).expect("ours");
    host.publish("c-client.cf", "set disable-lock-warning 1\n");
    fs::set_permissions(host.path("mail"), fs::Permissions::from_mode(0o777)).expect("ours");
    let (status, text) = check();
    assert_eq!(status, Some(1));
    assert_eq!(text.lines().filter(|line| line.starts_with("PROBLEM")).count(), 5, "{text}");
}

#[test]
fn the_first_and_the_last_secret_are_talked_about() {
    let Some(host) = host() else { return };
    let passwd = |arguments: &[&str]| {
        let mut command = host.command(program("ailurus"));
        command.arg("passwd").args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"secret\n").ok();
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(passwd(&["ada"]).contains("not with the system's"));
    assert_eq!(passwd(&["ada"]), "");
    assert!(!host.path("etc/cram-md5.pwd").exists());
    assert!(passwd(&["--cram-md5", "ada"]).contains("whoever has no entry in it cannot log in"));
    assert_eq!(passwd(&["ben"]), "");
    let secrets = || fs::read_to_string(host.path("etc/cram-md5.pwd")).expect("there");
    assert_eq!(secrets(), "ada\tsecret\nben\tsecret\n");
    assert_eq!(passwd(&["--scram-only", "ben"]), "");
    assert_eq!(secrets(), "ada\tsecret\n", "an old password would still be good there");
    for file in ["etc/cram-md5.pwd", "etc/ailurus.passwd"] {
        let mode = fs::metadata(host.path(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(passwd(&["ghost"]).contains("ghost has no account"));
    for user in ["ghost", "ben"] {
        assert_eq!(passwd(&["--remove", user]), "");
    }
    let last = passwd(&["--remove", "ada"]);
    assert!(last.contains("none of the system's passwords counts"), "{last}");
    assert!(last.contains("SCRAM is offered for nothing"), "{last}");
}

#[test]
fn sockets_of_systemd_are_taken() {
    let Some(host) = host() else { return };
    let activate = Path::new("/usr/bin/systemd-socket-activate");
    if !activate.exists() {
        return eprintln!("skipped: no systemd-socket-activate");
    }
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mut command = host.command(activate);
    command.args(["-E", "AILURUS_LOG=stderr", "-l", &format!("127.0.0.1:{port}")]);
    command.arg(program("ailurus")).arg("serve").stdout(Stdio::null());
    let server = Program::start(&mut command);
    let until = Instant::now() + PATIENCE;
    let stream = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < until, "{error}: {}", server.log()),
        }
        thread::sleep(Duration::from_millis(20));
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut talk = Talk::new(stream);
    talk.expect("* OK");
    talk.command("LOGIN ada adapw", "OK");
    talk.command("LOGOUT", "OK");
    server.logged(&format!("listening on 127.0.0.1:{port} (imap)"));
}

/// The protocols themselves, spoken by hand: sockets from descriptor 3 on, their names, readiness.
#[test]
fn a_service_manager_hands_over_and_is_told() {
    let Some(host) = host() else { return };
    let certificate = host.install_certificate("imapd", "localhost");
    let notified = host.path("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notified).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let heard = || {
        let mut state = [0; 100];
        let length = manager.recv(&mut state).expect("a state");
        String::from_utf8_lossy(&state[..length]).into_owned()
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let start = |more: &[&str]| {
        let mut command = host.command(Path::new("/bin/sh"));
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=imaps exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(program("ailurus")).arg("serve").args(more);
        command.env("NOTIFY_SOCKET", &notified).stdout(Stdio::null());
        let handed = std::os::fd::OwnedFd::from(listener.try_clone().expect("a second descriptor"));
        Program::start(command.stdin(handed))
    };
    let mut refused = start(&["--listen", "127.0.0.1:0"]);
    assert_eq!(refused.wait().code(), Some(1));
    refused.logged("the service manager hands over sockets");

    let mut server = start(&[]);
    assert_eq!(heard(), "READY=1");
    let mut talk = encrypt(connect(address), &certificate, "localhost").expect("a handshake");
    talk.expect("* OK");
    talk.command("LOGIN ada adapw", "OK");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    talk.command("LOGOUT", "OK");
    assert_eq!(server.wait().code(), Some(0));
}

/// Waits until no session is left.
fn gone(server: &Program) {
    let until = Instant::now() + PATIENCE;
    while !children(server.id()).is_empty() {
        assert!(Instant::now() < until, "{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
}
