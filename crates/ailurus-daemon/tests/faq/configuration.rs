//! Chapter 3: what can be set, and what need not be.

use crate::support::{host, peer};
use crate::{ada, bottle, end, has, login};
use std::fs;
use std::os::unix::fs::chown;

/// Without a configuration file there are users, INBOX and folders. Also 3.1 and 3.2.
#[test]
fn faq_3_1_nothing_has_to_be_configured() {
    let Some(bottle) = bottle() else { return };
    for file in ["ailurus.toml", "c-client.cf", "cram-md5.pwd", "pam.d/imap"] {
        assert!(!bottle.path("etc").join(file).exists(), "{file}");
    }
    let mut session = login(&bottle, "ada");
    let client = &mut session.client;
    has(&client.ok("SELECT INBOX"), "* 3 EXISTS");
    client.ok("CREATE lists/rust");
    client.ok("COPY 2 lists/rust");
    has(&client.ok("STATUS lists/rust (MESSAGES)"), "* STATUS lists/rust (MESSAGES 1)");
    assert!(
        fs::read_to_string(bottle.home("ada").join("lists/rust")).expect("there").contains("The second.")
    );
    end(session);
}

/// The certificate is asked for by the name of a file; TLS works with what openssl makes, chains included.
#[test]
fn faq_3_7_certificates_of_all_kinds() {
    let Some(bottle) = bottle() else { return };
    let Some(openssl) = peer::find("openssl") else { return };
    let desk = tempfile::tempdir().expect("a directory");
    let run = |arguments: &str| {
        let mut command = std::process::Command::new(&openssl);
        crate::support::succeed(command.current_dir(desk.path()).args(arguments.split(' ')));
    };
    let config = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=mail.example\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
                  [leaf]\nbasicConstraints=CA:FALSE\nsubjectAltName=DNS:mail.example\n";
    fs::write(desk.path().join("cnf"), config).expect("room");
    run(
        "req -x509 -config cnf -extensions ca -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30",
    );
    run("req -config cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout mid.key -out mid.csr");
    run(
        "x509 -req -in mid.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile cnf -extensions ca -out mid.pem -days 30",
    );
    for kind in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"] {
        run(&format!("req -config cnf -newkey {kind} -nodes -keyout leaf.key -out leaf.csr"));
        run(
            "x509 -req -in leaf.csr -CA mid.pem -CAkey mid.key -CAcreateserial -extfile cnf -extensions leaf -out leaf.pem -days 30",
        );
        let read = |name: &str| fs::read_to_string(desk.path().join(name)).expect("made");
        bottle.publish("ssl/certs/imapd.pem", &(read("leaf.pem") + &read("mid.pem")));
        bottle.put("ssl/private/imapd.pem", &read("leaf.key"));
        let mut session = host::from_network(&bottle);
        assert!(session.client.greeting().contains(" STARTTLS"), "{kind}");
        session.client.ok("STARTTLS");
        session.client.start_tls(&desk.path().join("ca.pem"), "mail.example");
        session.client.ok("LOGIN ada adapw");
    }
}

#[test]
fn faq_3_4_mailboxes_below_a_directory_of_their_own() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[mailboxes]\nsubdirectory = \"mail\"\n");
    host::write(&bottle, "ada", "notes", "not mail\n");
    let home = bottle.home("ada");
    fs::create_dir(home.join("mail")).expect("ours");
    chown(home.join("mail"), Some(crate::support::bottle::FIRST_UID), None).expect("ours");
    let mut session = ada(&bottle);
    session.client.ok("CREATE letters");
    assert!(home.join("mail/letters").exists());
    let lines = session.client.ok("LIST \"\" *");
    has(&lines, "* LIST (\\NoInferiors \\UnMarked) \"/\" letters");
    assert!(lines.iter().all(|line| !line.contains("notes")), "{lines:#?}");
    has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    end(session);
}
