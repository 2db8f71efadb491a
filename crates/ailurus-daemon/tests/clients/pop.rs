//! POP3 clients: Python's poplib, and curl.

use super::{Stage, message};
use crate::support::server::Server;
use crate::support::{is_root, peer, succeed};

/// The state of INBOX is what curl and poplib are shown: three messages.
fn fill(stage: &Stage) {
    let mut client = stage.server.login();
    for number in 1..=3 {
        client.append("INBOX", "", &message(number));
    }
    client.ok("LOGOUT");
}

pub(crate) fn stages() -> Vec<Stage> {
    // The spool of whoever runs the tests is left alone: mail goes to an INBOX in the scratch home.
    let mut stages = vec![Stage::new(Server::own)];
    if is_root() {
        stages.push(Stage::new(Server::of_host));
    }
    for stage in &stages {
        let mut client = stage.server.login();
        client.ok("CREATE #driver.mbx/INBOX");
        client.ok("LOGOUT");
        fill(stage);
    }
    stages
}

/// What is there is what IMAP shows.
fn octets(number: u32) -> String {
    message(number).replace('\n', "\r\n")
}

#[test]
fn poplib() {
    let Some(python) = peer::find("python3") else { return };
    for stage in stages() {
        let script = stage.put("pop.py", SCRIPT);
        let certificate = stage.user.home().join(".local/state/ailurus/imapd.pem");
        let mut command = stage.command(&python);
        command.arg(script).args([&stage.server.user, &stage.server.password]);
        command.args([stage.server.pop3_port.to_string(), stage.server.pop3s_port.to_string()]);
        if certificate.exists() {
            command.arg(certificate);
        }
        let said = succeed(&mut command);
        assert!(said.ends_with("done\n"), "{said}");
        assert_eq!(stage.contents("INBOX"), ["number 2 ()"], "1 and 3 were deleted");
    }
}

const SCRIPT: &str = r#"
import poplib, ssl, sys
user, password, port, tls_port = sys.argv[1:5]
certificate = sys.argv[5] if len(sys.argv) > 5 else None

def message(number):
    text = ("From: Ada <ada@example.test>\nTo: ben@example.test\nDate: Mon, 7 Sep 2026 10:00:0%d +0000\n"
            "Subject: number %d\nMessage-ID: <n%d@example.test>\nStatus:  O\n\nText of message %d.\n.\nFinis.")
    return (text % ((number,) * 4)).encode().split(b"\n")

def alike(lines, number):
    lines = [line[:8] + b" O" if line.startswith(b"Status: ") else line for line in lines]
    assert lines == message(number), (lines, message(number))

pop = poplib.POP3("127.0.0.1", int(port))
assert pop.getwelcome().startswith(b"+OK POP3"), pop.getwelcome()
capabilities = pop.capa()
assert "UIDL" in capabilities and "TOP" in capabilities and "PIPELINING" in capabilities, capabilities
try:
    pop.user(user)
    pop.pass_("wrong")
    raise SystemExit("a wrong password is right")
except poplib.error_proto as error:
    assert b"[AUTH]" in error.args[0], error
pop.user(user)
pop.pass_(password)
count, octets = pop.stat()
assert count == 3, count
sizes = [int(line.split()[1]) for line in pop.list()[1]]
assert sum(sizes) == octets and len(sizes) == 3, sizes
ids = [line.split()[1] for line in pop.uidl()[1]]
assert len(set(ids)) == 3, ids
for number in (1, 2, 3):
    _, lines, size = pop.retr(number)
    alike(lines, number)
    assert sum(len(line) + 2 for line in lines) == sizes[number - 1], (lines, sizes)
_, lines, _ = pop.top(1, 1)
assert lines[-1] == b"Text of message 1.", lines
pop.dele(2)
pop.rset()
pop.dele(1)
pop.close()

if certificate:
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    pop = poplib.POP3_SSL("127.0.0.1", int(tls_port), context=context)
    pop.user(user)
    pop.pass_(password)
    assert [line.split()[1] for line in pop.uidl()[1]] == ids
    pop.close()
    pop = poplib.POP3("127.0.0.1", int(port))
    pop.stls(context)
    pop.user(user)
    pop.pass_(password)
    assert pop.stat()[0] == 3, "nobody said QUIT"
    pop.quit()
    pop = poplib.POP3("127.0.0.1", int(port))
    pop.apop(user, password)
else:
    pop = poplib.POP3("127.0.0.1", int(port))
    pop.user(user)
    pop.pass_(password)
assert pop.stat()[0] == 3
pop.dele(1)
pop.dele(3)
pop.quit()
pop = poplib.POP3("127.0.0.1", int(port))
pop.user(user)
pop.pass_(password)
assert [line.split()[1] for line in pop.uidl()[1]] == ids[1:2]
alike(pop.retr(1)[1], 2)
pop.close()
print("done")
"#;

#[test]
fn curl() {
    let Some(curl) = peer::find("curl") else { return };
    for stage in stages() {
        let login = format!("{}:{}", stage.server.user, stage.server.password);
        let run = |arguments: &[&str]| {
            let mut command = stage.command(&curl);
            command.args(["--silent", "--show-error", "--max-time", "30", "--user", &login]);
            succeed(command.args(arguments))
        };
        let url = format!("pop3://127.0.0.1:{}", stage.server.pop3_port);
        let listing = run(&[&format!("{url}/")]);
        assert_eq!(listing.lines().count(), 3, "{listing}");
        let got = run(&[&format!("{url}/2")]);
        let plain: String = got.split_inclusive('\n').filter(|line| !line.starts_with("Status: ")).collect();
        assert_eq!(plain, octets(2));
        let ids = run(&["--request", "UIDL", &format!("{url}/")]);
        assert_eq!(ids.lines().count(), 3, "{ids}");
        if stage.user.home().join(".local/state/ailurus/imapd.pem").exists() {
            let tls = format!("pop3s://127.0.0.1:{}/3", stage.server.pop3s_port);
            let got = run(&["--insecure", &tls]);
            assert!(got.contains("Subject: number 3"), "{got}");
            let got = run(&["--insecure", "--ssl-reqd", &format!("{url}/1")]);
            assert!(got.contains("Subject: number 1"), "{got}");
            run(&["--login-options", "AUTH=+APOP", &format!("{url}/1")]);
        }
        run(&["--request", "DELE 2", "--head", &format!("{url}/")]);
        assert_eq!(stage.contents("INBOX").len(), 2);
    }
}
