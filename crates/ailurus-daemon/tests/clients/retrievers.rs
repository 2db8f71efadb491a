//! Programs that fetch mail and deliver it elsewhere: fetchmail, getmail6.

use crate::{Stage, message, support};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::server::Server;
use support::{peer, succeed};

/// Returns what was delivered into a directory, in the order of the texts, without the fields that were added.
fn delivered(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut texts: Vec<String> = entries
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("text"))
        .map(|text| {
            let start = text.find("From: Ada").unwrap_or_default();
            let lines = text[start..].lines().filter(|line| !line.starts_with("X-getmail-"));
            lines.map(|line| format!("{line}\n")).collect()
        })
        .collect();
    texts.sort();
    texts
}

fn messages(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(message).collect()
}

/// Makes the three messages unread, and adds one.
fn unread(stage: &Stage, mailbox: &str) {
    let mut client = stage.server.login();
    client.ok(&format!("SELECT {mailbox}"));
    client.ok("STORE 1:3 -FLAGS (\\Seen)");
    client.append(mailbox, "", &message(4));
    client.ok("LOGOUT");
}

#[test]
fn fetchmail() {
    let Some(fetchmail) = peer::find("fetchmail") else { return };
    for stage in Stage::both() {
        let Server { user, password, port, tls_port, .. } = &stage.server;
        let own = password != support::PASSWORD;
        for name in ["trad", "shared"] {
            unread(&stage, name);
            let place = stage.path(&format!("from-{name}"));
            fs::create_dir(&place).expect("room");
            let script = format!("#!/bin/sh\nexec cat >\"$(mktemp '{}/XXXXXX')\"\n", place.display());
            let script = stage.put("deliver", &script);
            fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("ours");
            // Once in the clear, once inside TLS where there is a certificate.
            let fetch = |options: &str, tls: bool| {
                let certificate = stage.user.home().join(".local/state/ailurus/imapd.pem");
                let (port, security) = if tls {
                    let trust = format!(
                        "ssl sslcertck sslcertfile \"{}\" sslcommonname localhost",
                        certificate.display()
                    );
                    (tls_port, trust)
                } else {
                    (port, "sslproto \"\"".to_owned())
                };
                let settings = stage.put(
                    "fetchmailrc",
                    &format!(
                        "poll 127.0.0.1 protocol IMAP port {port} auth password timeout 30\n  user \"{user}\" password \
                         \"{password}\" is \"nobody\" here folder {name} {options} {security}\n  mda \"{}\"\n",
                        script.display()
                    ),
                );
                let mut command = stage.command(&fetchmail);
                command.args(["--pidfile"]).arg(stage.path("fetchmail.pid"));
                command
                    .arg("--fetchmailrc")
                    .arg(settings)
                    .arg("--nosyslog")
                    .arg("--nodetach")
                    .arg("--verbose");
                let output = command.output().expect("it was found");
                let said = [&output.stdout[..], &output.stderr[..]].concat();
                (output.status.code(), String::from_utf8_lossy(&said).into_owned())
            };
            let (status, said) = fetch("keep", own);
            assert_eq!(status, Some(0), "{said}");
            assert_eq!(delivered(&place), messages(1..=4), "{name}");
            // It has read them: nothing comes twice.
            let (status, said) = fetch("keep", false);
            assert_eq!(status, Some(1), "1 is for no mail: {said}");
            assert_eq!(delivered(&place).len(), 4, "{name}");
            assert!(stage.contents(name).iter().all(|line| line.contains("\\Seen")));
            // What is new comes and is removed, what was read stays.
            stage.server.login().append(name, "", &message(5));
            let (status, said) = fetch("no keep", own);
            assert_eq!(status, Some(0), "{said}");
            assert_eq!(delivered(&place), messages(1..=5), "{name}");
            assert_eq!(stage.contents(name).len(), 4, "{name}");
            // All of it, once more, and away with it.
            let (status, said) = fetch("no keep fetchall", false);
            assert_eq!(status, Some(0), "{said}");
            let twice = messages((1..=4).flat_map(|n| [n, n]).chain([5]));
            assert_eq!(delivered(&place), twice, "{name}");
            assert_eq!(stage.contents(name), Vec::<String>::new());
        }
    }
}

#[test]
fn getmail() {
    let Some(getmail) = peer::find("getmail") else { return };
    for stage in Stage::both() {
        let Server { user, password, port, tls_port, .. } = &stage.server;
        let own = password != support::PASSWORD;
        for name in ["trad", "shared"] {
            // It delivers as the user, never as root. It takes a program that is done at once for one that hangs: its
            // handler of the signal comes too late.
            let desk = stage.user.home().join(format!("get-{name}"));
            let place = desk.join("to");
            for folder in [&desk, &place] {
                fs::create_dir(folder).expect("room");
                stage.user.give(folder);
            }
            let script =
                format!("#!/bin/sh\nsleep 0.3\nexec cat >\"$(mktemp '{}/XXXXXX')\"\n", place.display());
            stage.user.write(&desk.join("deliver"), script.as_bytes());
            fs::set_permissions(desk.join("deliver"), fs::Permissions::from_mode(0o700)).expect("ours");
            let fetch = |delete: bool, tls: bool| {
                let (kind, port) =
                    if tls { ("SimpleIMAPSSLRetriever", tls_port) } else { ("SimpleIMAPRetriever", port) };
                let settings = format!(
                    "[retriever]\ntype = {kind}\nserver = 127.0.0.1\nport = {port}\nusername = {user}\npassword = \
                     {password}\nmailboxes = (\"{name}\",)\ntimeout = 30\n[destination]\ntype = MDA_external\npath = {}/deliver\n[options]\n\
                     read_all = false\ndelete = {delete}\ndelivered_to = false\nreceived = false\nverbose = 2\n",
                    desk.display()
                );
                stage.user.write(&desk.join("getmailrc"), settings.as_bytes());
                let mut command = stage.user.command(&getmail);
                succeed(command.arg("--getmaildir").arg(&desk).args(["--rcfile", "getmailrc"]));
            };
            fetch(false, own);
            assert_eq!(delivered(&place), messages(1..=3), "{name}");
            // What came is known by its UID: it comes once, though it stays.
            fetch(false, own);
            assert_eq!(delivered(&place).len(), 3, "{name}");
            assert_eq!(stage.contents(name).len(), 3);
            stage.server.login().append(name, "", &message(4));
            fetch(true, own);
            assert_eq!(delivered(&place), messages(1..=4), "{name}");
            assert_eq!(stage.contents(name), Vec::<String>::new(), "{name}");
        }
    }
}
