//! Chapter 1: what there is.

use crate::support::{host, skip};
use crate::{MAIL, ada, at_home, bottle, code, end, has, line, mode, refused};
use std::fs;
use std::net::UdpSocket;

/// A POP server that rewrites the whole spool, beside us.
#[test]
fn faq_1_2_a_spool_that_another_server_rewrites() {
    let Some(bottle) = bottle() else { return };
    let look = || {
        let mut session = ada(&bottle);
        let lines = session.client.ok("SELECT INBOX");
        let fetched = session.client.ok("FETCH 1:* (UID BODY.PEEK[TEXT])");
        end(session);
        let uids = fetched
            .iter()
            .filter_map(|line| line.split_once("(UID ")?.1.split(' ').next()?.parse::<u32>().ok());
        (code(&lines, "UIDVALIDITY"), uids.collect::<Vec<_>>(), fetched)
    };
    let (first, uids, _) = look();
    assert_eq!(uids, [1, 2, 3]);
    // One that the other program deleted: what is left keeps its UIDs. So that a new value differs, this one gets old.
    let spool = fs::read_to_string(bottle.spool("ada")).expect("there");
    let (before, rest) =
        spool.split_once("From grace@navy.example Mon Nov 16 09:12:45 2026").expect("the second");
    let (_, third) = rest.split_once("From grace@navy.example Mon Nov 16 09:12:46 2026").expect("the third");
    let old = format!("X-IMAPbase: {}", first - 1000);
    let text = format!("{before}From grace@navy.example Mon Nov 16 09:12:46 2026{third}");
    assert!(text.contains(&format!("X-IMAPbase: {first}")), "{text}");
    fs::write(bottle.spool("ada"), text.replace(&format!("X-IMAPbase: {first}"), &old)).expect("ours");
    let (second, uids, _) = look();
    assert_eq!((second, uids), (first - 1000, vec![1, 3]));
    // All that we wrote is lost: the mail is there, under new UIDs.
    fs::write(bottle.spool("ada"), MAIL).expect("ours");
    let (third, uids, texts) = look();
    assert!(third > second);
    assert_eq!(uids.len(), 3);
    has(&texts, "The second.");
}

#[test]
fn faq_1_8_a_hierarchy_of_directories() {
    let (user, mut session) = at_home();
    let client = &mut session.client;
    client.ok("CREATE lists/rust");
    assert_eq!((mode(&user.home().join("lists")), mode(&user.home().join("lists/rust"))), (0o700, 0o600));
    client.ok("CREATE empty/");
    client.ok("CREATE flat");
    let text = refused(client, "CREATE flat/below");
    let node = user.home().join("flat");
    assert!(text.ends_with(&format!("Can't create mailbox node {}/: File exists", node.display())), "{text}");
    let lines = client.ok("LIST \"\" *");
    for wanted in [
        "(\\NoSelect \\HasChildren) \"/\" lists",
        "(\\NoInferiors \\UnMarked) \"/\" lists/rust",
        "(\\NoSelect \\HasNoChildren) \"/\" empty",
        "(\\NoInferiors \\UnMarked) \"/\" flat",
    ] {
        has(&lines, &format!("* LIST {wanted}"));
    }
    let lines = client.ok("LIST \"\" %");
    assert!(lines.iter().all(|line| !line.contains("rust")), "{lines:#?}");
}

/// Also 1.10 and 1.11.
#[test]
fn faq_1_9_mailboxes_that_hold_messages_and_mailboxes() {
    let (_user, mut session) = at_home();
    let client = &mut session.client;
    for format in ["mix", "mx"] {
        client.ok(&format!("CREATE #driver.{format}/{format}"));
        client.append(format, "", "Subject: x\n\ny\n");
        client.ok(&format!("CREATE {format}/below"));
        client.append(&format!("{format}/below"), "", "Subject: x\n\ny\n");
        for name in [format.to_owned(), format!("{format}/below")] {
            let lines = client.ok(&format!("SELECT {name}"));
            has(&lines, "* 1 EXISTS");
        }
        let lines = client.ok(&format!("LIST \"\" {format}"));
        let listed = line(&lines, "* LIST");
        assert!(listed.contains("\\HasChildren") && !listed.contains("\\NoSelect"), "{listed}");
        assert!(!listed.contains("\\NoInferiors"), "{listed}");
    }
    for format in ["unix", "mmdf", "mbx", "mtx", "tenex"] {
        client.ok(&format!("CREATE #driver.{format}/{format}"));
        let lines = client.ok(&format!("LIST \"\" {format}"));
        assert!(line(&lines, "* LIST").contains("(\\NoInferiors"), "{lines:#?}");
        refused(client, &format!("CREATE {format}/below"));
    }
}

#[test]
fn faq_1_23_no_passwords_as_they_are_typed() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[server]\nplaintext = \"never\"\n");
    let certificate = bottle.install_certificate("imapd", "localhost");
    bottle.put("cram-md5.pwd", "ada\tadaCRAM\n");
    let mut session = host::from_network(&bottle);
    let client = &mut session.client;
    assert!(client.greeting().contains(" LOGINDISABLED"));
    refused(client, "LOGIN ada adaCRAM");
    client.ok("STARTTLS");
    client.start_tls(&certificate, "localhost");
    let lines = client.ok("CAPABILITY");
    let listed = line(&lines, "* CAPABILITY");
    assert!(listed.contains(" LOGINDISABLED") && listed.contains(" AUTH=CRAM-MD5"), "{listed}");
    assert!(!listed.contains("AUTH=PLAIN") && !listed.contains("AUTH=LOGIN"), "{listed}");
    refused(client, "LOGIN ada adaCRAM");
}

#[test]
fn faq_1_24_passwords_inside_tls_only() {
    let Some(bottle) = bottle() else { return };
    bottle.publish("ailurus.toml", "[server]\nplaintext = \"tls\"\n");
    let certificate = bottle.install_certificate("imapd", "localhost");
    let mut session = host::from_network(&bottle);
    let client = &mut session.client;
    let greeting = client.greeting();
    assert!(greeting.contains(" LOGINDISABLED") && !greeting.contains("AUTH=PLAIN"), "{greeting}");
    refused(client, "LOGIN ada adapw");
    client.ok("STARTTLS");
    client.start_tls(&certificate, "localhost");
    let lines = client.ok("CAPABILITY");
    let listed = line(&lines, "* CAPABILITY");
    assert!(!listed.contains("LOGINDISABLED") && listed.contains(" AUTH=PLAIN"), "{listed}");
    client.ok("LOGIN ada adapw");
}

/// Nothing is configured, and the client is one that others can listen to.
#[test]
fn faq_1_24_that_is_so_for_the_network_without_a_word() {
    let Some(bottle) = bottle() else { return };
    // An address of this host that is not loopback's. Nothing is sent; what goes there later does not leave the host.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let address = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Ok(address) = address.map(|address| address.ip()) else { return skip("no network") };
    if address.is_loopback() || address.is_unspecified() {
        return skip("no network");
    }
    let certificate = bottle.install_certificate("imapd", "localhost");
    let mut session = host::to_address(&bottle, &address.to_string());
    let client = &mut session.client;
    assert!(client.greeting().contains(" LOGINDISABLED"));
    refused(client, "LOGIN ada adapw");
    client.ok("STARTTLS");
    client.start_tls(&certificate, "localhost");
    client.ok("LOGIN ada adapw");
}

/// By the address that the client connects to, or by the name that it asks for. Also 3.19: users are the same under all.
#[test]
fn faq_1_25_virtual_hosts() {
    let Some(bottle) = bottle() else { return };
    let general = bottle.install_certificate("imapd", "general.example");
    let second = bottle.install_certificate("imapd-127.0.0.2", "second.example");
    let named = bottle.install_certificate("imapd-named.example", "named.example");
    for (address, certificate, name) in [
        ("127.0.0.1", &general, "general.example"),
        ("127.0.0.2", &second, "second.example"),
        ("127.0.0.1", &named, "named.example"),
    ] {
        let mut session = host::to_address(&bottle, address);
        session.client.greeting();
        session.client.ok("STARTTLS");
        // It trusts this one certificate.
        session.client.start_tls(certificate, name);
        session.client.ok("LOGIN ada adapw");
        has(&session.client.ok("SELECT INBOX"), "* 3 EXISTS");
    }
}

#[test]
fn faq_1_30_folders_of_mh() {
    let (user, mut session) = at_home();
    let client = &mut session.client;
    refused(client, "SELECT #mhinbox");
    user.write(&user.home().join(".mh_profile"), b"Path: Letters\n");
    for folder in ["Letters", "Letters/inbox", "Letters/work"] {
        fs::create_dir(user.home().join(folder)).expect("ours");
        user.give(&user.home().join(folder));
    }
    user.write(&user.home().join("Letters/inbox/1"), b"Subject: one\n\nText.\n");
    user.write(&user.home().join("Letters/work/7"), b"Subject: seven\n\nText.\n");
    let mut session = crate::session(&user);
    let client = &mut session.client;
    has(&client.ok("SELECT #mhinbox"), "* 1 EXISTS");
    has(&client.ok("SELECT #mh/work"), "* 1 EXISTS");
    // UIDs stay, as they do in no mh folder of the original's.
    let lines = client.ok("FETCH 1 UID");
    has(&lines, "* 1 FETCH (UID 7)");
    assert!(!client.ok("SELECT #mh/work").iter().any(|line| line.contains("UIDNOTSTICKY")));
}

/// Whatever is listed as a mailbox can be opened; a maildir is a directory.
#[test]
fn faq_1_31_maildir_is_no_mailbox() {
    let (user, mut session) = at_home();
    for folder in ["Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"] {
        fs::create_dir(user.home().join(folder)).expect("ours");
        user.give(&user.home().join(folder));
    }
    user.write(&user.home().join("Maildir/cur/1795437533.M1P2.host:2,S"), b"Subject: x\n\ny\n");
    let client = &mut session.client;
    let lines = client.ok("LIST \"\" *");
    has(&lines, "* LIST (\\NoSelect \\HasChildren) \"/\" Maildir");
    for listed in lines.iter().filter_map(|line| line.strip_prefix("* LIST ")) {
        let (attributes, name) =
            listed.split_once(" \"/\" ").or_else(|| listed.split_once(" NIL ")).expect("a name");
        let maildir = name.starts_with("Maildir") && !name.contains("M1P2");
        assert_eq!(attributes.contains("\\NoSelect"), maildir, "{listed}");
        if maildir {
            refused(client, &format!("EXAMINE {name}"));
        } else if name != "INBOX" {
            client.ok(&format!("EXAMINE {name}"));
        }
    }
}

#[test]
fn faq_1_33_years_have_four_digits() {
    let (_user, mut session) = at_home();
    let client = &mut session.client;
    client.ok("CREATE years");
    for (date, field) in [
        (" 7-Sep-2050 10:00:00 +0000", "7 Sep 85 10:00:00 +0000"),
        ("31-Dec-1999 23:59:59 +0000", "7 Sep 26 10:00:00 +0000"),
        ("19-Jan-2038 03:14:08 +0000", "7 Sep 2026 10:00:00 +0000"),
    ] {
        client.append("years", &format!("\"{date}\" "), &format!("Date: {field}\nSubject: x\n\ny\n"));
    }
    for format in ["unix", "mbx", "mix", "mx", "mtx", "mmdf"] {
        client.ok("SELECT years");
        client.ok(&format!("CREATE #driver.{format}/{format}"));
        client.ok(&format!("COPY 1:3 {format}"));
        client.ok(&format!("SELECT {format}"));
        let lines = client.ok("FETCH 1:3 INTERNALDATE");
        for (number, date) in [
            (1, " 7-Sep-2050 10:00:00 +0000"),
            (2, "31-Dec-1999 23:59:59 +0000"),
            (3, "19-Jan-2038 03:14:08 +0000"),
        ] {
            has(&lines, &format!("* {number} FETCH (INTERNALDATE \"{date}\")"));
        }
        has(&client.ok("SEARCH SINCE 1-Jan-2049"), "* SEARCH 1");
        has(&client.ok("SEARCH SENTBEFORE 1-Jan-1986"), "* SEARCH 1");
        has(&client.ok("SEARCH SENTON 7-Sep-2026"), "* SEARCH 2 3");
    }
}
