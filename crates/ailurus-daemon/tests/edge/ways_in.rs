//! Ways into a mail host beside a password that is typed: SCRAM, certificates of clients, nobody's name.

use crate::bottle::{Bottle, FIRST_UID};
use crate::host::{host, login, rights, serve};
use crate::support::{Encrypted, Talk, children, connect, encrypt, program};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

/// Gives a user a password with `ailurus passwd`.
pub(crate) fn passwd(host: &Bottle, user: &str, password: &str) {
    let mut command = host.command(program("ailurus"));
    let mut child =
        command.args(["passwd", user]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run");
    child.stdin.take().expect("piped").write_all(password.as_bytes()).expect("written");
    assert!(child.wait().expect("ended").success());
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Authenticates by SCRAM; returns the tagged response, and what the server sent before it.
fn scram<S: Read + Write>(
    talk: &mut Talk<S>,
    mechanism: &str,
    header: &str,
    data: &[u8],
    who: (&str, &str),
) -> Vec<String> {
    scram_by(talk, &format!("t AUTHENTICATE {mechanism}"), header, data, who)
}

/// A client of SCRAM-SHA-256, by the letter of RFC 5802: `header` is that of GS2, `data` the channel's. Returns the answer to
/// the command, and what the server sent before it.
pub(crate) fn scram_by<S: Read + Write>(
    talk: &mut Talk<S>,
    command: &str,
    header: &str,
    data: &[u8],
    (user, password): (&str, &str),
) -> Vec<String> {
    let bare = format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL");
    talk.say(&format!("{command} {}", STANDARD.encode(format!("{header}{bare}"))));
    let first = talk.line();
    let Some(challenge) = first.strip_prefix("+ ") else { return vec![first] };
    let challenge = String::from_utf8(STANDARD.decode(challenge).expect("base64")).expect("text");
    let field =
        |letter: &str| challenge.split(',').find_map(|field| field.strip_prefix(letter)).expect("a field");
    let salt = STANDARD.decode(field("s=")).expect("base64");
    let mut round = hmac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut salted = round.clone();
    for _ in 1..field("i=").parse().expect("a number") {
        round = hmac(password.as_bytes(), &round);
        salted.iter_mut().zip(&round).for_each(|(sum, octet)| *sum ^= octet);
    }
    let binding = STANDARD.encode([header.as_bytes(), data].concat());
    let without_proof = format!("c={binding},r={}", field("r="));
    let signed = format!("{bare},{challenge},{without_proof}");
    let mut proof = hmac(&salted, b"Client Key");
    let signature = hmac(&Sha256::digest(&proof), signed.as_bytes());
    proof.iter_mut().zip(&signature).for_each(|(proof, octet)| *proof ^= octet);
    talk.say(&STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof))));
    let mut lines = vec![challenge, talk.line()];
    if let Some(last) = lines[1].strip_prefix("+ ") {
        let signature = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
        assert_eq!(
            STANDARD.decode(last).expect("base64"),
            format!("v={}", STANDARD.encode(signature)).as_bytes()
        );
        talk.say("");
        lines.push(talk.line());
    }
    lines
}

#[track_caller]
pub(crate) fn ends(lines: &[String], with: &str) {
    let last = lines.last().expect("an answer");
    assert!(last.starts_with(with), "{with:?} expected: {lines:#?}");
}

#[test]
fn scram_needs_no_password_on_the_servers_disk() {
    let Some(host) = host() else { return };
    let (server, plain, _) = serve(&host);
    assert!(!connect(plain).expect("* OK").contains("SCRAM"), "without a database there is none");
    passwd(&host, "ada", "s\u{e9}same");
    passwd(&host, "postmgr", "mgr");
    let database = fs::read_to_string(host.path("etc/ailurus.passwd")).expect("there");
    assert!(!database.contains("same") && database.contains("\nada\tSCRAM-SHA-256$10000:"), "{database}");
    let connected = || {
        let mut talk = connect(plain);
        let greeting = talk.expect("* OK");
        assert!(greeting.contains(" AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1]"), "{greeting}");
        talk
    };
    // SASLprep makes one of two ways to write é.
    let mut talk = connected();
    ends(&scram(&mut talk, "SCRAM-SHA-256", "n,,", b"", ("ADA", "s\u{e9}same")), "t OK");
    assert!(rights(children(server.id())[0])[0].starts_with(&format!("Uid: {FIRST_UID} ")));
    talk.command("LOGOUT", "OK");
    server.logged("mail.info: Authenticated user=ada host=");
    // The administrator, as another.
    let mut talk = connected();
    ends(&scram(&mut talk, "scram-sha-256", "n,a=ben,", b"", ("postmgr", "mgr")), "t OK");
    server.logged("auth.notice: Admin postmgr override of user=ben host=");
    let mut talk = connected();
    ends(&scram(&mut talk, "SCRAM-SHA-256", "n,a=postmgr,", b"", ("ada", "s\u{e9}same")), "t NO");
    // Who has an entry has that password, typed or not; who has none, the system's.
    drop(login(plain, "LOGIN ada adapw", "NO"));
    drop(login(plain, "LOGIN ada {7+}\r\ns\u{e9}same", "OK"));
    drop(login(plain, "LOGIN ben adapw", "OK"));
}

/// Nobody learns who exists, and a wrong password is in the log.
#[test]
fn scram_tells_strangers_nothing() {
    let Some(host) = host() else { return };
    passwd(&host, "ada", "right");
    let (server, plain, _) = serve(&host);
    let ask = |user: &str| {
        let mut talk = connect(plain);
        talk.expect("* OK");
        let lines = scram(&mut talk, "SCRAM-SHA-256", "n,,", b"", (user, "wrong"));
        ends(&lines, "t NO [AUTHENTICATIONFAILED] Invalid authentication credentials");
        lines[0].split_once(',').expect("a salt").1.to_owned()
    };
    let (known, unknown) = (ask("ada"), ask("nobody-of-that-name"));
    assert_eq!(known.len(), unknown.len());
    assert_eq!(
        known.rsplit_once(',').expect("iterations").1,
        unknown.rsplit_once(',').expect("iterations").1
    );
    assert_eq!(ask("nobody-of-that-name"), unknown, "the same whenever it is asked for");
    server.logged("auth.notice: Login failed user=nobody-of-that-name auth=nobody-of-that-name host=");
    server.logged("auth.notice: Login failed user=ada auth=ada host=");
    server.logged("mail.info: AUTHENTICATE SCRAM-SHA-256 failure host=");
    // Whoever only asks and never answers is shown the door.
    let mut talk = connect(plain);
    talk.expect("* OK");
    for count in 0.. {
        talk.say("t AUTHENTICATE SCRAM-SHA-256 biwsbj1hZGEscj14\r\n*");
        if talk.line().starts_with("* BYE") {
            break;
        }
        assert!(count < 60, "for ever");
    }
}

#[test]
fn scram_is_bound_to_the_tls_channel() {
    let Some(host) = host() else { return };
    passwd(&host, "ada", "right");
    let certificate = host.install_certificate("imapd", "localhost");
    let (_server, plain, tls) = serve(&host);
    let exported = |talk: &Talk<Encrypted>| {
        let connection = &talk.stream.get_ref().conn;
        let label = b"EXPORTER-Channel-Binding";
        connection.export_keying_material([0; 32], label, Some(b"")).expect("TLS 1.3")
    };
    let used = "p=tls-exporter,,";
    let begin = |starttls: bool| {
        if !starttls {
            let mut talk = encrypt(connect(tls), &certificate, "localhost").expect("a handshake");
            assert!(talk.expect("* OK").contains("AUTH=SCRAM-SHA-256-PLUS"));
            return talk;
        }
        let mut talk = connect(plain);
        assert!(!talk.expect("* OK").contains("-PLUS"));
        talk.command("STARTTLS", "OK");
        encrypt(talk, &certificate, "localhost").expect("a handshake")
    };
    for starttls in [false, true] {
        let mut talk = begin(starttls);
        let data = exported(&talk);
        ends(&scram(&mut talk, "SCRAM-SHA-256-PLUS", used, &data, ("ada", "right")), "t OK");
    }
    // Another channel; none; and one that somebody took out of the list.
    let mut talk = begin(false);
    let data = exported(&talk);
    ends(&scram(&mut talk, "SCRAM-SHA-256-PLUS", used, &[0; 32], ("ada", "right")), "t NO");
    ends(&scram(&mut talk, "SCRAM-SHA-256-PLUS", "n,,", b"", ("ada", "right")), "t NO");
    ends(&scram(&mut talk, "SCRAM-SHA-256", "y,,", b"", ("ada", "right")), "t NO");
    ends(&scram(&mut talk, "SCRAM-SHA-256", used, &data, ("ada", "right")), "t NO");
    ends(&scram(&mut talk, "SCRAM-SHA-256", "n,,", b"", ("ada", "right")), "t OK");
}

/// GNU SASL, which is nobody's relation.
#[test]
fn gsasl_logs_in() {
    let Some(host) = host() else { return };
    let Some(gsasl) = crate::peer::find("gsasl") else { return };
    passwd(&host, "ada", "right");
    let certificate = host.install_certificate("imapd", "localhost");
    let (server, plain, _) = serve(&host);
    for (mechanism, tls, password, good) in [
        ("SCRAM-SHA-1", false, "right", true),
        ("SCRAM-SHA-256", false, "right", true),
        ("SCRAM-SHA-256", false, "wrong", false),
        ("SCRAM-SHA-256-PLUS", true, "right", true),
        ("SCRAM-SHA-1-PLUS", true, "right", true),
        ("PLAIN", true, "right", true),
    ] {
        let mut command = std::process::Command::new(&gsasl);
        command.args(["--imap", "--client", "--mechanism", mechanism, "--authentication-id", "ada"]);
        command.args(["--password", password, "--connect", &format!("localhost:{}", plain.port())]);
        command.args(["--hostname", "localhost", "--service", "imap"]);
        command.arg(if tls { "--starttls" } else { "--no-starttls" });
        command.arg("--x509-ca-file").arg(&certificate).stdin(Stdio::null());
        let output = command.output().expect("run");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.success(), good, "{mechanism}: {said}\n{}", server.log());
        if good {
            server.logged(&format!("Authenticated user=ada host=localhost [127.0.0.1] mech={mechanism}"));
        }
    }
}

/// An authority of the host's users, and a certificate that it has made for one.
pub(crate) fn certified(host: &Bottle, user: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let authority = host.path("etc/ssl/users.pem");
    let key_file = host.path("users.key");
    if !authority.exists() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        host.publish("ssl/users.pem", &certificate.pem());
        fs::write(&key_file, key.serialize_pem()).expect("ours");
    }
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(&key_file).expect("there")).expect("a key");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(parameters, key);
    let own = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, user);
    let certificate = parameters.signed_by(&own, &issuer).expect("a certificate");
    (
        vec![certificate.der().clone()],
        PrivateKeyDer::from_pem_slice(own.serialize_pem().as_bytes()).expect("a key"),
    )
}

pub(crate) fn with_certificate(
    talk: Talk<std::net::TcpStream>,
    server: &Path,
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> Talk<Encrypted> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(server).expect("there");
    roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("a certificate");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = config.with_client_auth_cert(chain, key).expect("a pair");
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("sound");
    Talk::new(rustls::StreamOwned::new(connection, talk.stream.into_inner()))
}

#[test]
fn a_certificate_is_a_password() {
    let Some(host) = host() else { return };
    let server_certificate = host.install_certificate("imapd", "localhost");
    let ada = certified(&host, "ada");
    let (server, plain, tls) = serve(&host);
    let mut talk = with_certificate(connect(tls), &server_certificate, ada);
    assert!(!talk.expect("* OK").contains("EXTERNAL"), "nobody asked for it");
    host.publish("ailurus.toml", "[server]\nclient-ca = '/etc/ssl/users.pem'\nplaintext = 'never'\n");
    let mut talk = with_certificate(connect(tls), &server_certificate, certified(&host, "ada"));
    let greeting = talk.expect("* OK");
    assert!(greeting.contains("LOGINDISABLED AUTH=EXTERNAL]"), "{greeting}");
    talk.command("AUTHENTICATE EXTERNAL =", "OK");
    server.logged("mail.info: Authenticated user=ada host=");
    assert!(rights(children(server.id()).pop().expect("a session"))[0].contains(&FIRST_UID.to_string()));
    // After STARTTLS; and as another, which the administrators alone may.
    let mut talk = connect(plain);
    assert!(!talk.expect("* OK").contains("EXTERNAL"));
    talk.command("STARTTLS", "OK");
    let mut talk = with_certificate(talk, &server_certificate, certified(&host, "postmgr"));
    talk.command(&format!("AUTHENTICATE EXTERNAL {}", STANDARD.encode("ben")), "OK");
    server.logged("auth.notice: Admin postmgr override of user=ben host=");
    let mut talk = with_certificate(connect(tls), &server_certificate, certified(&host, "ada"));
    talk.expect("* OK");
    talk.command(&format!("AUTHENTICATE EXTERNAL {}", STANDARD.encode("ben")), "NO");
    // One without a certificate comes in as before, and has nothing to show.
    let mut talk = encrypt(connect(tls), &server_certificate, "localhost").expect("a handshake");
    assert!(!talk.expect("* OK").contains("EXTERNAL"));
    talk.command("AUTHENTICATE EXTERNAL =", "BAD");
    // One of somebody else's making is worse than none.
    let stranger = rcgen::generate_simple_self_signed(["ada".to_owned()]).expect("made");
    let key = PrivateKeyDer::from_pem_slice(stranger.signing_key.serialize_pem().as_bytes()).expect("a key");
    let mut talk =
        with_certificate(connect(tls), &server_certificate, (vec![stranger.cert.der().clone()], key));
    let mut line = String::new();
    assert!(std::io::BufRead::read_line(&mut talk.stream, &mut line).is_err(), "{line}");
    server.logged("Unable to accept SSL connection");
    // A file that is none costs certificates, not TLS.
    host.publish("ssl/users.pem", "nothing\n");
    let mut talk = encrypt(connect(tls), &server_certificate, "localhost").expect("a handshake");
    talk.expect("* OK");
    server.logged("Unable to load certificates of authorities from /etc/ssl/users.pem, host=");
}

#[test]
fn anybody_may_read_what_is_everybodys() {
    let Some(host) = host() else { return };
    host.add_user("imappublic", FIRST_UID + 20, "!");
    let public = host.home("imappublic").join("notes");
    fs::write(&public, crate::alone::MAIL).expect("ours");
    host.publish("anonymous.newsgroups", "");
    let (server, plain, _) = serve(&host);
    let mut talk = login(plain, "LOGIN anonymous \"joe host=[192.0.2.1]\"", "OK");
    server.logged("mail.info: Login anonymous=joe\\040host=[192.0.2.1] host=");
    let nobody = rights(children(server.id())[0]);
    assert!(nobody[0].starts_with("Uid: 65534 ") && nobody[4].ends_with("0000000000000000"), "{nobody:?}");
    let lines = talk.command("SELECT #public/notes", "OK [READ-ONLY]");
    assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
    server.logged("Anonymous select of /home/imappublic/notes host=");
    talk.command("STORE 1 +FLAGS (\\Deleted)", "OK");
    for command in [
        "EXPUNGE",
        "UID EXPUNGE 1",
        "COPY 1 x",
        "MOVE 1 x",
        "CLOSE",
        "CREATE x",
        "DELETE x",
        "RENAME x y",
        "SUBSCRIBE x",
    ] {
        talk.command(command, "BAD Command unrecognized");
    }
    for command in [
        "SELECT #shared/x",
        "EXAMINE #mh/x",
        "STATUS #mhinbox (MESSAGES)",
        "LIST #shared/ *",
        "LSUB \"\" \"{h}x\"",
    ] {
        talk.command(command, "NO [NOPERM] Anonymous may not ");
    }
    for command in
        ["SELECT /etc/passwd", "SELECT ~ada/x", "SELECT ../../etc/passwd", "SELECT #public/../ada/x"]
    {
        talk.command(command, "NO");
    }
    talk.command("LOGOUT", "OK");
    assert_eq!(fs::read_to_string(&public).expect("there"), crate::alone::MAIL, "nothing is written");
    // The mechanism: a trace that is too long, one that is given up.
    let mut talk = connect(plain);
    assert!(talk.expect("* OK").contains(" AUTH=ANONYMOUS]"));
    talk.command(
        &format!("AUTHENTICATE ANONYMOUS {}", STANDARD.encode([b'a'; 1021])),
        "NO AUTHENTICATE ANONYMOUS failed",
    );
    talk.say("t AUTHENTICATE ANONYMOUS\r\n*");
    talk.expect("+ ");
    talk.expect("t BAD AUTHENTICATE ANONYMOUS cancelled");
    talk.command(&format!("AUTHENTICATE ANONYMOUS {}", STANDARD.encode([b'a'; 1000])), "OK");
    let line = server.logged("Authenticated anonymous=aaaa");
    assert!(line.contains(&format!("anonymous={} host=", "a".repeat(80))), "{line}");
}

/// References and patterns that only together lead somewhere, with all that lists names.
#[test]
fn no_list_shows_strangers_what_is_somebodys() {
    let Some(host) = host() else { return };
    let open = |path: &Path| {
        let everybodys: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(path, everybodys).expect("ours");
    };
    host.add_user("imappublic", FIRST_UID + 20, "!");
    host.add_user("imapshared", FIRST_UID + 21, "!");
    // Whatever the rights of files say.
    for user in ["ada", "imappublic", "imapshared"] {
        let directory = host.home(user).join("directory");
        fs::create_dir(&directory).expect("ours");
        fs::write(host.home(user).join(format!("{user}s-mail")), crate::alone::MAIL).expect("ours");
        fs::write(directory.join(format!("{user}s-mail")), crate::alone::MAIL).expect("ours");
        [host.home(user), directory].iter().for_each(|path| open(path));
    }
    host.publish("anonymous.newsgroups", "");
    let (_server, plain, _) = serve(&host);
    let mut talk = login(plain, "LOGIN anonymous joe", "OK");
    let references = [
        "",
        "#public/",
        "#public/.",
        "#public",
        "#public/directory/.",
        "#PUBLIC/../ada/",
        "#",
        "#shared/",
        "~",
        "~ada/",
        "/home/ada/",
        "/",
        ".",
        "#news.",
        "#driver.unix/",
        "{h}",
    ];
    let patterns = [
        "",
        "*",
        "%",
        "./ada/%",
        "../%",
        "../ada/*",
        "./../../ada/%",
        "/%",
        "/home/ada/%",
        "/../ada/%",
        "~ada/%",
        "shared/%",
        "#shared/%",
        "#public/../ada/%",
        "public/*",
        "home/ada/%",
        "/./ada/%",
        "ada/%",
    ];
    let mut shown = 0;
    for reference in references {
        for pattern in patterns {
            let both = format!("\"{reference}\" \"{pattern}\"");
            for command in [
                format!("LIST {both}"),
                format!(
                    "LIST \"{reference}\" (\"#public/%\" \"{pattern}\") RETURN (CHILDREN STATUS (MESSAGES))"
                ),
                format!("LIST (SUBSCRIBED RECURSIVEMATCH) {both}"),
                format!("LSUB {both}"),
                format!("RLIST {both}"),
                format!("SCAN {both} first"),
                format!("FIND ALL.MAILBOXES \"{reference}{pattern}\""),
            ] {
                talk.say(&format!("t {command}"));
                loop {
                    let line = talk.line();
                    assert!(
                        !line.contains("adas-mail") && !line.contains("imapshareds-mail"),
                        "{command}: {line}"
                    );
                    shown += usize::from(line.contains("imappublics-mail"));
                    if line.starts_with("t ") {
                        break;
                    }
                    assert!(!line.is_empty(), "{command}: the connection ended");
                }
            }
        }
    }
    assert!(shown > 100, "{shown}");
}
