//! POP3 of `ailurus serve`, as an ordinary user: a person's own server.

use crate::support::{Program, children, connect, ordinary, peak_memory, scratch};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Returns the address at which a server listens for a service.
pub(crate) fn address(server: &Program, service: &str) -> SocketAddr {
    let line = server.logged("listening on ");
    let (_, list) = line.split_once("listening on ").expect("just found");
    let entry = list.split(", ").find(|entry| entry.ends_with(&format!("({service})"))).expect("it listens");
    entry.split(' ').next().and_then(|address| address.parse().ok()).expect("an address")
}

/// A peer that asks for messages of 80 MB and reads next to nothing.
#[test]
fn a_slow_reader_costs_bounded_memory() {
    for format in ["mbx", "mix"] {
        let home = scratch();
        let mut command = ordinary("ailurus", home.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--pop3-listen", "127.0.0.1:0"]);
        let server = Program::start(command.stdout(Stdio::null()));
        let (imap, pop3) = (address(&server, "imap"), address(&server, "pop3"));
        let file = home.path().join(".local/state/ailurus/password");
        let text = std::fs::read_to_string(file).expect("made at the start");
        let (user, password) = text.trim().split_once('\t').expect("user and password");

        let line = b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
        let message = [&b"Subject: large\r\n\r\n"[..], &line.repeat(80 * 20_972)].concat();
        let mut talk = connect(imap);
        talk.expect("* OK");
        talk.command(&format!("LOGIN {user} {password}"), "OK");
        talk.command(&format!("CREATE #driver.{format}/INBOX"), "OK");
        talk.say(&format!("t APPEND INBOX {{{}+}}", message.len()));
        talk.stream.get_mut().write_all(&message).expect("written");
        talk.say("");
        talk.expect("t OK");
        talk.command("LOGOUT", "OK");

        let mut slow = connect(pop3);
        slow.expect("+OK POP3");
        slow.say(&format!("USER {user}\r\nPASS {password}\r\nRETR 1\r\nRETR 1\r\nRETR 1"));
        slow.expect("+OK User name accepted");
        slow.expect("+OK Mailbox open, 1 messages");
        slow.expect(&format!("+OK {} octets", message.len() + 12));
        let mut some = [0; 4096];
        for _ in 0..40 {
            slow.stream.read_exact(&mut some).expect("the beginning");
            thread::sleep(Duration::from_millis(25));
        }
        for session in children(server.id()) {
            let peak = peak_memory(session);
            eprintln!("{format}: {peak} KiB");
            assert!(peak <= 8 * 1024, "{format}: {peak} KiB");
        }
    }
}
