//! What is shipped beside the programs.

use ailurus_testkit::fuzz::checkout;
use std::fs;
use std::path::Path;

fn unit(name: &str) -> String {
    let text = fs::read_to_string(checkout().join("packaging/systemd").join(name)).expect("shipped");
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// Sessions share /tmp with every mail program, make directories that keep their set-group-id bit, start mlock with its
/// group, and need the homes.
#[test]
fn units_leave_sessions_what_they_need() {
    for name in ["ailurus.service", "imap@.service", "imaps@.service", "pop3@.service", "pop3s@.service"] {
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
    for (imap, pop3) in [("imap@.service", "pop3@.service"), ("imaps@.service", "pop3s@.service")] {
        let of_pop3 = unit(pop3).replace("POP3", "IMAP").replace("ipop3d", "imapd");
        assert_eq!(of_pop3, unit(imap), "{pop3} is a copy of {imap}");
    }
}

/// The documents name tests and files that exist.
#[test]
fn documents_name_what_is_there() {
    fn find(folder: &Path, name: &Path) -> bool {
        fs::read_dir(folder).expect("ours").any(|entry| {
            let path = entry.expect("an entry").path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if path.is_dir() && !hidden && !path.ends_with("target") {
                find(&path, name)
            } else {
                path.ends_with(name)
            }
        })
    }
    for document in ["COMPATIBILITY.md", "ARCHITECTURE.md", "README.md"] {
        let text = fs::read_to_string(checkout().join(document)).expect("it is there");
        for word in text.split(['`', '(', ')']).filter(|word| word.ends_with(".rs") && !word.contains('*')) {
            assert!(find(&checkout(), Path::new(word)), "{document}: {word}");
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            assert!(link.starts_with("http") || checkout().join(link).exists(), "{document}: {link}");
        }
    }
}
