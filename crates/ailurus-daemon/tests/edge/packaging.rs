//! What is shipped beside the programs.

use ailurus_testkit::fuzz::checkout;
use std::fs;

fn unit(name: &str) -> String {
    let text = fs::read_to_string(checkout().join("packaging/systemd").join(name)).expect("shipped");
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// Sessions share /tmp with every mail program, make directories that keep their set-group-id bit, start mlock with its
/// group, and need the homes.
#[test]
fn units_leave_sessions_what_they_need() {
    for name in ["ailurus.service", "imap@.service", "imaps@.service"] {
        let unit = unit(name);
        assert!(unit.contains("\nPrivateTmp=no\n"), "{name}");
        for taken in ["RestrictSUIDSGID", "NoNewPrivileges", "ProtectHome", "ProtectSystem", "PrivateUsers"] {
            assert!(!unit.contains(taken), "{name}: {taken}");
        }
    }
}

#[test]
fn units_let_sessions_close_their_mailboxes() {
    let server = unit("ailurus.service");
    assert!(server.contains("\nType=notify\n") && server.contains("\nKillMode=mixed\n"), "{server}");
    assert!(unit("imap@.service").contains("\nKillSignal=SIGHUP\n"));
    let of_imaps = unit("imaps@.service").replace("IMAP over TLS connection", "IMAP connection");
    assert_eq!(of_imaps, unit("imap@.service"), "one is a copy of the other");
}
