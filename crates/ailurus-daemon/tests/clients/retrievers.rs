//! Programs that fetch mail and deliver it elsewhere: fetchmail, getmail6.

use crate::{Stage, message, support};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::server::Server;
use support::{peer, succeed};

/// Returns what was delivered into a directory, in the order of the texts, without the fields that were added.
fn delivered(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut texts: Vec<String> = entries
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("text"))
        .map(|text| {
            let start = text.find("From: Ada").unwrap_or_default();
            let added = |line: &str| ["X-getmail-", "Status: "].iter().any(|field| line.starts_with(field));
            let lines = text[start..].lines().filter(|line| !added(line));
            lines.map(|line| format!("{line}\n")).collect()
        })
        .collect();
    texts.sort();
    texts
}

fn messages(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(message).collect()
}

/// A server's way to a mailbox.
struct Way<'w> {
    /// As fetchmail and getmail name the protocol.
    protocol: &'static str,
    mailbox: &'w str,
    port: u16,
    tls_port: u16,
}

fn imap(server: &Server) -> [Way<'static>; 2] {
    ["trad", "shared"].map(|mailbox| Way {
        protocol: "IMAP",
        mailbox,
        port: server.port,
        tls_port: server.tls_port,
    })
}

fn pop3(server: &Server) -> Way<'static> {
    Way { protocol: "POP3", mailbox: "INBOX", port: server.pop3_port, tls_port: server.pop3s_port }
}

/// Returns the certificate of a person's own server; that of a host has none.
fn certificate(stage: &Stage) -> Option<PathBuf> {
    let own = stage.server.password != support::PASSWORD;
    own.then(|| stage.user.home().join(".local/state/ailurus/imapd.pem"))
}

/// Makes a directory of the user's, and a program in it that delivers into it what it reads.
fn deliverer(stage: &Stage, name: &str, commands: &str) -> (PathBuf, PathBuf) {
    let desk = stage.user.home().join(name);
    let place = desk.join("mail");
    for folder in [&desk, &place] {
        fs::create_dir(folder).expect("room");
        stage.user.give(folder);
    }
    let script = format!("#!/bin/sh\n{commands}\nexec cat >\"$(mktemp '{}/XXXXXX')\"\n", place.display());
    stage.user.write(&desk.join("deliver"), script.as_bytes());
    fs::set_permissions(desk.join("deliver"), fs::Permissions::from_mode(0o700)).expect("ours");
    (desk, place)
}

/// Runs fetchmail with these options; returns its exit status and all that it said.
fn fetch(
    program: &Path,
    stage: &Stage,
    desk: &Path,
    way: &Way<'_>,
    options: &str,
    tls: bool,
) -> (Option<i32>, String) {
    let Server { user, password, .. } = &stage.server;
    let (port, security) = match certificate(stage).filter(|_| tls) {
        Some(certificate) => {
            let trust = format!("sslcertfile \"{}\" sslcommonname localhost", certificate.display());
            (way.tls_port, format!("ssl sslcertck {trust}"))
        }
        None => (way.port, "sslproto \"\"".to_owned()),
    };
    let (protocol, folder) = match way.protocol {
        "IMAP" => ("IMAP", format!("folder {}", way.mailbox)),
        _ => ("POP3 uidl", String::new()),
    };
    let settings = format!(
        "poll 127.0.0.1 protocol {protocol} port {port} auth password timeout 30\n  user \"{user}\" password \"{password}\" is \
         \"nobody\" here {folder} {options} {security}\n  mda \"{}/deliver\"\n",
        desk.display()
    );
    stage.user.write(&desk.join("fetchmailrc"), settings.as_bytes());
    let mut command = stage.user.command(program);
    command.arg("--fetchmailrc").arg(desk.join("fetchmailrc")).arg("--pidfile").arg(desk.join("pid"));
    command.arg("--idfile").arg(desk.join("ids")).args(["--nosyslog", "--nodetach", "--verbose"]);
    let output = command.output().expect("it was found");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn try_fetchmail(program: &Path, stage: &Stage, way: &Way<'_>) {
    let name = way.mailbox;
    let mut client = stage.server.login();
    client.ok(&format!("SELECT {name}"));
    client.ok("STORE 1:3 -FLAGS (\\Seen)");
    client.append(name, "", &message(4));
    client.ok("LOGOUT");
    let (desk, place) = deliverer(stage, &format!("fetch-{name}"), "");
    let fetch = |options: &str, tls: bool, wanted: i32| {
        let (status, said) = fetch(program, stage, &desk, way, options, tls);
        assert_eq!(status, Some(wanted), "{said}");
    };
    // Once inside TLS where there is a certificate, once in the clear.
    fetch("keep", true, 0);
    assert_eq!(delivered(&place), messages(1..=4), "{name}");
    // It has had them: nothing comes twice. 1 is for no mail.
    fetch("keep", false, 1);
    assert_eq!(delivered(&place).len(), 4, "{name}");
    // Over POP3 it asks for them by TOP, which marks nothing.
    let seen = stage.contents(name).iter().filter(|line| line.contains("\\Seen")).count();
    assert_eq!(seen, if way.protocol == "IMAP" { 4 } else { 0 });
    // What is new comes and is removed; over IMAP what was read before stays, over POP3 it goes as well.
    stage.server.login().append(name, "", &message(5));
    fetch("no keep", true, 0);
    assert_eq!(delivered(&place), messages(1..=5), "{name}");
    let left = if way.protocol == "IMAP" { 4 } else { stage.contents(name).len() };
    assert_eq!(stage.contents(name).len(), left, "{name}");
    assert!(!stage.contents(name).iter().any(|line| line.starts_with("number 5")));
    // All that is left, once more, and away with it.
    fetch("no keep fetchall", false, if left == 0 { 1 } else { 0 });
    let left = u32::try_from(left).expect("a few");
    let twice = messages((1..=left).chain(1..=5)).into_iter();
    let mut twice: Vec<String> = twice.collect();
    twice.sort();
    assert_eq!(delivered(&place), twice, "{name}");
    assert_eq!(stage.contents(name), Vec::<String>::new());
}

#[test]
fn fetchmail() {
    let Some(program) = peer::find("fetchmail") else { return };
    for stage in Stage::both() {
        for way in imap(&stage.server) {
            try_fetchmail(&program, &stage, &way);
        }
    }
}

#[test]
fn fetchmail_over_pop3() {
    let Some(program) = peer::find("fetchmail") else { return };
    for stage in crate::pop::stages() {
        try_fetchmail(&program, &stage, &pop3(&stage.server));
    }
}

fn try_getmail(program: &Path, stage: &Stage, way: &Way<'_>) {
    let Way { protocol, mailbox: name, .. } = way;
    let Server { user, password, .. } = &stage.server;
    // It delivers as the user, never as root. It takes a program that is done at once for one that hangs: its handler of
    // the signal comes too late.
    let (desk, place) = deliverer(stage, &format!("get-{name}"), "sleep 0.3");
    let fetch = |delete: bool| {
        let (ssl, port) = if certificate(stage).is_some() { ("SSL", way.tls_port) } else { ("", way.port) };
        let mailboxes =
            if *protocol == "IMAP" { format!("mailboxes = (\"{name}\",)\n") } else { String::new() };
        let settings = format!(
            "[retriever]\ntype = Simple{protocol}{ssl}Retriever\nserver = 127.0.0.1\nport = {port}\nusername = \
             {user}\npassword = {password}\n{mailboxes}timeout = 30\n[destination]\ntype = MDA_external\npath = \
             {}/deliver\n[options]\nread_all = false\ndelete = {delete}\ndelivered_to = false\nreceived = false\nverbose = 2\n",
            desk.display()
        );
        stage.user.write(&desk.join("getmailrc"), settings.as_bytes());
        let mut command = stage.user.command(program);
        succeed(command.arg("--getmaildir").arg(&desk).args(["--rcfile", "getmailrc"]));
    };
    fetch(false);
    assert_eq!(delivered(&place), messages(1..=3), "{name}");
    // What came is known by its UID: it comes once, though it stays.
    fetch(false);
    assert_eq!(delivered(&place).len(), 3, "{name}");
    assert_eq!(stage.contents(name).len(), 3);
    stage.server.login().append(name, "", &message(4));
    fetch(true);
    assert_eq!(delivered(&place), messages(1..=4), "{name}");
    assert_eq!(stage.contents(name), Vec::<String>::new(), "{name}");
}

#[test]
fn getmail() {
    let Some(program) = peer::find("getmail") else { return };
    for stage in Stage::both() {
        for way in imap(&stage.server) {
            try_getmail(&program, &stage, &way);
        }
    }
}

#[test]
fn getmail_over_pop3() {
    let Some(program) = peer::find("getmail") else { return };
    for stage in crate::pop::stages() {
        try_getmail(&program, &stage, &pop3(&stage.server));
    }
}
