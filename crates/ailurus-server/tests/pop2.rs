//! POP2 sessions in memory.

mod harness;

use ailurus_server::{Plaintext, Signal};
use ailurus_store::memory::Memory;
use ailurus_types::{Flags, MailboxName, SystemFlags, Uid};
use harness::{Harness, Pieces, config};

fn three() -> Memory {
    let memory = Memory::new();
    for text in ["one", "two", "three"] {
        let message = format!("Subject: {text}\r\n\r\n.dot\r\n");
        memory.deliver(&MailboxName::inbox(), message.as_bytes());
    }
    let deleted = Flags { system: SystemFlags::DELETED, ..Flags::default() };
    memory.set_flags(&MailboxName::inbox(), Uid::new(1).expect("not 0"), deleted);
    memory
}

fn left(memory: &Memory, name: &MailboxName) -> Vec<(u32, bool)> {
    let messages = memory.messages(name);
    let seen = |flags: Flags| flags.system.contains(SystemFlags::SEEN);
    messages.iter().map(|(info, _)| (info.uid().get(), seen(info.flags()))).collect()
}

fn play(script: &str) {
    for pieces in [Pieces::Whole, Pieces::Octets] {
        let mut harness = Harness::pop2(&three(), config());
        harness.pieces = pieces;
        harness.play(script);
    }
}

const GREETING: &str = "S: + POP2 mail.example.test Ailurus IMAP 0.1.0 server ready\n";

#[test]
fn a_session() {
    let script = format!(
        "{GREETING}C: HELO ada adapw
S: #2 messages in <*>
L: mail.info Login user=ada host=mail.example.test [127.0.0.1]
C: READ
S: =36 characters in message 1
C: RETR
S: Subject: two
S: Status:   
S: 
S: .dot
S: 
C: NACK
S: =36 characters in message 1
C: RETR
S: Subject: two
S: Status:   
S: 
S: .dot
S: 
C: ACKD
S: =38 characters in message 2
C: READ 1
S: =0 characters in message 1
C: READ 2
S: =38 characters in message 2
C: RETR
S: Subject: three
S: Status:   
S: 
S: .dot
S: 
C: ACKS
S: =0 No more messages
C: QUIT
S: + Sayonara
L: mail.info Logout user=ada host=mail.example.test [127.0.0.1]
X: 0"
    );
    let memory = three();
    Harness::pop2(&memory, config()).play(&script);
    assert_eq!(left(&memory, &MailboxName::inbox()), [(1, false), (3, true)]);
    play(&script);
}

#[test]
fn another_folder() {
    let memory = three();
    let other = MailboxName::new("other");
    memory.deliver(&other, b"Subject: x\r\n\r\n");
    let script = format!(
        "{GREETING}C: HELO ada adapw
S: #2 messages in <*>
C: READ 2
S: =38 characters in message 2
C: RETR
S: Subject: three
S: Status:   
S: 
S: .dot
S: 
C: ACKD
S: =0 No more messages
C: FOLD other
S: #1 messages in other
C: READ
S: =28 characters in message 1
C: FOLD nosuch
S: #0 messages in <none>
C: READ
S: =0 No more messages
C: FOLD INBOX
S: #1 messages in INBOX
C: QUIT
S: + Sayonara
X: 0"
    );
    Harness::pop2(&memory, config()).play(&script);
    assert_eq!(left(&memory, &MailboxName::inbox()), [(1, false), (2, false)]);
    assert_eq!(left(&memory, &other), [(1, false)]);
}

#[test]
fn errors_end_the_session() {
    let after_login = [
        ("READ 99", "S: - Invalid message number given to READ\nS: + Sayonara"),
        ("READ x", "S: - Invalid message number given to READ\nS: + Sayonara"),
        ("FOLD", "S: - Missing mailbox name\nS: + Sayonara"),
        ("RETR", "S: - Bogus or out of sequence command"),
        ("ACKD", "S: - Bogus or out of sequence command"),
        ("HELO ada adapw", "S: - Bogus or out of sequence command"),
        ("QUIT now", "S: - Bogus argument given to QUIT\nS: + Sayonara"),
        ("", "S: - Missing or null command"),
        (
            "READ\nS: =36 characters in message 1\nC: RETR x",
            "S: - Bogus argument given to RETR\nS: + Sayonara",
        ),
    ];
    for (command, answer) in after_login {
        let hello = "C: HELO ada adapw\nS: #2 messages in <*>";
        play(&format!("{GREETING}{hello}\nC: {command}\n{answer}\nX: 0"));
    }
    let before_login = [
        ("READ", "S: - Bogus or out of sequence command"),
        ("HELO ada", "S: - Missing user or password\nS: + Sayonara"),
        ("HELO ada bad", "S: - Bad login\nS: + Sayonara"),
        ("HELO host:ada adapw", "S: - Bad login\nS: + Sayonara"),
        ("QUIT", "S: + Sayonara"),
    ];
    for (command, answer) in before_login {
        play(&format!("{GREETING}C: {command}\n{answer}\nX: 0"));
    }
    let mut harness = Harness::pop2(&three(), config());
    harness.out.clear();
    harness.send(&[&vec![b'x'; 5000][..], b"\r\n"].concat());
    assert_eq!(harness.out, b"- Command line too long\r\n");
}

#[test]
fn timers_signals_and_plaintext() {
    play(&format!(
        "{GREETING}T: 180
S: - Autologout; idle for too long
L: mail.info Autologout user=??? host=mail.example.test [127.0.0.1]
X: 1"
    ));
    play(&format!(
        "{GREETING}C: HELO ada adapw
S: #2 messages in <*>
T: 1799
C: READ 1
S: =36 characters in message 1
T: 1800
S: - Autologout; idle for too long
X: 1"
    ));
    let memory = three();
    let mut harness = Harness::pop2(&memory, config());
    harness.send(b"HELO ada adapw\r\nREAD\r\nRETR\r\nACKD\r\n");
    harness.out.clear();
    harness.session.handle_signal(Signal::Kiss, harness.now);
    harness.session.handle_signal(Signal::Terminate, harness.now);
    harness.pump();
    harness.log.clear();
    harness.play("S: - Killed (terminated)\nX: 1");
    assert_eq!(left(&memory, &MailboxName::inbox()).len(), 3);
    let mut config = config();
    config.plaintext = Plaintext::OnlyTls;
    let mut harness = Harness::pop2(&three(), config);
    harness.play("S: - POP2 server disabled on this system\nL: mail.info Logout user=??? host=mail.example.test [127.0.0.1]\nX: 1");
}
