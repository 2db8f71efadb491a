//! Extensions of IMAP in real mailboxes, through our `imapd`.

mod support;

use support::{Client, Session, User};

fn session(user: &User) -> Session {
    let mut session = Session::preauthenticated(user);
    session.client.greeting();
    session
}

/// Appends a message as a literal8, and returns the last line of the answer.
fn append8(client: &mut Client, mailbox: &str, message: &[u8]) -> String {
    let command = format!("APPEND {mailbox} ~{{{}+}}\r\n", message.len());
    client.command_octets(&[command.as_bytes(), message].concat()).pop().unwrap_or_default()
}

#[test]
fn binary_messages_are_kept_to_the_octet_or_refused() {
    let user = User::new();
    user.write(&user.home().join(".mh_profile"), b"Path: Mail\n");
    let mail = user.home().join("Mail");
    std::fs::create_dir(&mail).expect("ours");
    user.give(&mail);
    let mut session = session(&user);
    let client = &mut session.client;
    let lines =
        b"Subject: a\0b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\0\xFF\r\n\r\nx\0\0\0\0y\r\n\0\r\n";
    let lone = b"Subject: lone\r\nContent-Transfer-Encoding: binary\r\n\r\na\nb\0\rc\r\n";
    let marks =
        b"Subject: marks\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\n\x01\x01\x01\x01\r\nFrom b\r\n";
    for (format, keeps) in [
        ("unix", false),
        ("mmdf", false),
        ("mbx", true),
        ("mix", true),
        ("mx", true),
        ("tenex", false),
        ("mtx", true),
        ("#mh", false),
    ] {
        let name = if format == "#mh" { "#mh/binaries".to_owned() } else { format!("{format}-box") };
        if format == "#mh" {
            client.ok("CREATE #mh/binaries");
        } else {
            client.ok(&format!("CREATE #driver.{format}/{name}"));
        }
        let answer = append8(client, &name, lines);
        assert!(answer.contains(" OK "), "{format}: {answer}");
        let answer = append8(client, &name, lone);
        assert_eq!(answer.contains(" OK "), keeps, "{format}: {answer}");
        assert_eq!(answer.contains("NO [UNKNOWN-CTE] "), !keeps, "{format}: {answer}");
        let keeps_marks = !matches!(format, "unix" | "mmdf");
        let answer = append8(client, &name, marks);
        assert_eq!(answer.contains(" OK "), keeps_marks, "{format}: {answer}");
        client.ok(&format!("EXAMINE {name}"));
        let octets = client.octets("FETCH 1:* BINARY.PEEK[]");
        let messages = [(&lines[..], true), (lone, keeps), (marks, keeps_marks)];
        let mut expected = Vec::new();
        for (number, (message, _)) in messages.iter().filter(|(_, kept)| *kept).enumerate() {
            expected.extend(format!("* {} FETCH (BINARY[] ~{{{}}}\r\n", number + 1, message.len()).bytes());
            expected.extend_from_slice(message);
            expected.extend_from_slice(b")\r\n");
        }
        assert!(octets == expected, "{format}: {}", octets.escape_ascii());
        client.ok("UNSELECT");
    }
}
