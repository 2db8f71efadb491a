//! Extensions of IMAP in real mailboxes, through our `imapd`.

mod support;

use std::process::Stdio;
use support::bottle::Bottle;
use support::{Client, Process, Session, User, program};

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

/// Returns the LIST and STATUS responses to a command that succeeds, in order of text. Whether a file is marked is left to others.
fn listed(client: &mut Client, command: &str) -> Vec<String> {
    let lines = client.ok(command).into_iter();
    let mut lines: Vec<_> =
        lines.filter_map(|line| Some(line.strip_prefix("* ")?.replace("\\Marked", "\\UnMarked"))).collect();
    lines.sort();
    lines
}

/// Makes mailboxes that can have others below them.
fn make(client: &mut Client, names: &[&str]) {
    for name in names {
        client.ok(&format!("CREATE \"#driver.mix/{name}\""));
    }
}

#[test]
fn list_with_options_as_in_rfc_5258() {
    let user = User::new();
    user.write(&user.spool(), b"");
    let mut session = session(&user);
    let client = &mut session.client;
    make(client, &["Fruit", "Fruit/Apple", "Fruit/Banana", "Fruit/Peach", "Tofu", "Vegetable"]);
    make(client, &["Vegetable/Broccoli", "Vegetable/Corn"]);
    for name in ["INBOX", "Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli"] {
        client.ok(&format!("SUBSCRIBE {name}"));
    }
    client.ok("DELETE Fruit/Peach");
    // Example 2.
    assert_eq!(
        listed(client, "LIST (SUBSCRIBED) \"\" \"*\""),
        [
            "LIST (\\HasChildren \\Subscribed) \"/\" Vegetable",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" Fruit/Banana",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" Vegetable/Broccoli",
            "LIST (\\NoInferiors \\Subscribed) NIL INBOX",
            "LIST (\\NonExistent \\Subscribed) \"/\" Fruit/Peach",
        ]
    );
    // Example 3, and the end of example 8.
    assert_eq!(
        listed(client, "LIST () \"\" (Fruit% Veg% %e) RETURN (CHILDREN)"),
        ["LIST (\\HasChildren) \"/\" Fruit", "LIST (\\HasChildren) \"/\" Vegetable"]
    );
    assert_eq!(
        listed(client, "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %"),
        [
            "LIST (\\HasChildren \\Subscribed) \"/\" Vegetable (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "LIST (\\HasChildren) \"/\" Fruit (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "LIST (\\NoInferiors \\Subscribed) NIL INBOX",
        ]
    );
    // Example 6, without remote mailboxes.
    assert_eq!(
        listed(client, "LIST (REMOTE) \"\" (F* T* V* inbox) RETURN (SUBSCRIBED)"),
        [
            "LIST (\\HasChildren \\Subscribed) \"/\" Vegetable",
            "LIST (\\HasChildren) \"/\" Fruit",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" Fruit/Banana",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" Vegetable/Broccoli",
            "LIST (\\HasNoChildren) \"/\" Fruit/Apple",
            "LIST (\\HasNoChildren) \"/\" Tofu",
            "LIST (\\HasNoChildren) \"/\" Vegetable/Corn",
            "LIST (\\NoInferiors \\Subscribed) NIL INBOX",
        ]
    );
    // A name that several patterns match is told once; the empty pattern is nothing.
    assert_eq!(listed(client, "LIST \"\" (Tofu T* \"\" %ofu)"), ["LIST (\\HasNoChildren) \"/\" Tofu"]);
    assert!(listed(client, "LIST () \"\" \"\"").is_empty());
    assert_eq!(listed(client, "LIST \"\" \"\""), ["LIST (\\NoSelect) \"/\" \"\""]);
    // A mailbox that is not there any more, with something subscribed below it.
    client.ok("DELETE Fruit/Banana");
    client.ok("DELETE Fruit/Apple");
    client.ok("DELETE Fruit");
    assert_eq!(
        listed(client, "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" Fr%"),
        ["LIST (\\NonExistent) \"/\" Fruit (\"CHILDINFO\" (\"SUBSCRIBED\"))"]
    );
}

#[test]
fn what_is_below_is_told_once_as_in_example_9_of_rfc_5258() {
    let user = User::new();
    let mut session = session(&user);
    let client = &mut session.client;
    let subscribed = [
        "foo2/bar1",
        "foo2/bar2",
        "baz2/bar2",
        "baz2/bar22",
        "baz2/bar222",
        "eps2",
        "eps2/mamba",
        "qux2/bar2",
    ];
    make(client, &["foo2", "baz2", "eps2"]);
    make(
        client,
        &["foo2/bar1", "foo2/bar2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2/mamba", "qux2/bar2"],
    );
    for name in subscribed {
        client.ok(&format!("SUBSCRIBE {name}"));
    }
    assert_eq!(
        listed(client, "LIST (RECURSIVEMATCH SUBSCRIBED) \"\" \"*2\""),
        [
            "LIST (\\HasChildren \\Subscribed) \"/\" eps2 (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "LIST (\\HasChildren) \"/\" foo2 (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" baz2/bar2",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" baz2/bar22",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" baz2/bar222",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" foo2/bar2",
            "LIST (\\HasNoChildren \\Subscribed) \"/\" qux2/bar2",
        ]
    );
}

#[test]
fn list_tells_status_and_size() {
    let user = User::new();
    let mut session = session(&user);
    let client = &mut session.client;
    make(client, &["foo", "bar/below"]);
    client.ok("CREATE plain");
    client.append("foo", "(\\Seen) ", "Subject: one\n\nbody\n");
    client.append("foo", "", "Subject: two\n\nbody\n");
    client.append("plain", "", "Subject: three\n\nbody\n");
    assert_eq!(client.ok("STATUS foo (SIZE MESSAGES)")[0], "* STATUS foo (MESSAGES 2 SIZE 44)");
    assert_eq!(
        listed(client, "LIST \"\" (foo ba% plain) RETURN (STATUS (MESSAGES UNSEEN SIZE))"),
        [
            "LIST (\\HasNoChildren) \"/\" foo",
            "LIST (\\NoInferiors \\UnMarked) \"/\" plain",
            "LIST (\\NoSelect \\HasChildren) \"/\" bar",
            "STATUS foo (MESSAGES 2 UNSEEN 1 SIZE 44)",
            "STATUS plain (MESSAGES 1 UNSEEN 1 SIZE 24)",
        ]
    );
    // As the selected one, and where it is only above what was asked for.
    client.ok("SUBSCRIBE bar/below");
    client.ok("SELECT foo");
    assert_eq!(
        listed(client, "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" % RETURN (STATUS (MESSAGES))"),
        ["LIST (\\NoSelect \\HasChildren) \"/\" bar (\"CHILDINFO\" (\"SUBSCRIBED\"))"]
    );
    assert_eq!(
        listed(client, "LIST \"\" foo RETURN (STATUS (MESSAGES SIZE))"),
        ["LIST (\\HasNoChildren) \"/\" foo", "STATUS foo (MESSAGES 2 SIZE 44)"]
    );
}

#[test]
fn special_uses_are_told_made_and_carried_on() {
    let user = User::new();
    let mut session = session(&user);
    let client = &mut session.client;
    let uses = |client: &mut Client| -> Vec<String> {
        let strip =
            |line: String| line.replace("\\NoInferiors \\UnMarked ", "").replace("\\HasNoChildren ", "");
        listed(client, "LIST (SPECIAL-USE) \"\" *").into_iter().map(strip).collect()
    };
    assert!(uses(client).is_empty());
    // What is there already, by its usual name; what is no mailbox is not.
    client.ok("CREATE mail/sent-mail");
    user.write(&user.home().join("Trash"), b"no mailbox\n");
    make(client, &["Archive"]);
    assert_eq!(uses(client), ["LIST (\\Archive) \"/\" Archive", "LIST (\\Sent) \"/\" mail/sent-mail"]);
    client.ok("CREATE Outgoing (USE (\\Drafts \\Sent))");
    assert_eq!(uses(client), ["LIST (\\Archive) \"/\" Archive", "LIST (\\Drafts \\Sent) \"/\" Outgoing"]);
    let refused = |client: &mut Client, command: &str| {
        let last = client.command(command).pop().unwrap_or_default();
        last.split_once(' ').unwrap_or_default().1.to_owned()
    };
    assert_eq!(refused(client, "CREATE All (USE (\\All))"), "NO [USEATTR] \\All not supported");
    assert_eq!(refused(client, "CREATE All (USE (\\Foo))"), "NO [USEATTR] \\Foo not supported");
    assert_eq!(
        refused(client, "CREATE More (USE (\\Sent))"),
        "NO [USEATTR] \\Sent is mailbox Outgoing already"
    );
    assert!(!user.home().join("All").exists() && !user.home().join("More").exists());
    client.ok("RENAME Outgoing dir/Out");
    assert_eq!(
        std::fs::read_to_string(user.home().join(".mailboxuse")).expect("it is there"),
        "\\Drafts \\Sent\tdir/Out\n"
    );
    client.ok("RENAME dir other");
    assert_eq!(
        listed(client, "LIST \"\" other/O% RETURN (SPECIAL-USE)"),
        ["LIST (\\NoInferiors \\UnMarked \\Drafts \\Sent) \"/\" other/Out"]
    );
    // The ordinary LIST is as it was, and does not show the file.
    assert_eq!(listed(client, "LIST \"\" other/O%"), ["LIST (\\NoInferiors \\UnMarked) \"/\" other/Out"]);
    assert!(listed(client, "LIST \"\" .mailboxuse*").is_empty());
    client.ok("DELETE other/Out");
    assert_eq!(uses(client), ["LIST (\\Archive) \"/\" Archive", "LIST (\\Sent) \"/\" mail/sent-mail"]);
    client.ok("CREATE More (USE (\\Sent))");
    assert_eq!(listed(client, "LIST (SPECIAL-USE SUBSCRIBED RECURSIVEMATCH) \"\" *"), Vec::<String>::new());
    // One that was deleted by others does not count.
    std::fs::remove_file(user.home().join("More")).expect("it is there");
    assert_eq!(uses(client)[1], "LIST (\\Sent) \"/\" mail/sent-mail");
}

#[test]
fn many_patterns_and_long_lists_are_answered_in_bounded_time() {
    let user = User::new();
    for number in 0..300 {
        user.write(&user.home().join(format!("box{number}")), b"");
    }
    let mut session = session(&user);
    let client = &mut session.client;
    let patterns = vec!["*"; 100].join(" ");
    let lines = client.ok(&format!("LIST \"\" ({patterns}) RETURN (CHILDREN SUBSCRIBED SPECIAL-USE)"));
    assert_eq!(lines.iter().filter(|line| line.contains(" box")).count(), 300);
    let many = vec!["a"; 20_000].join(" ");
    let answer = client.command(&format!("LIST \"\" ({many})")).pop().unwrap_or_default();
    assert!(answer.contains("BAD Excessively many patterns in LIST"), "{answer}");
}

#[test]
fn moved_users_and_mailboxes_are_told_where_to_go() {
    let Some(bottle) = Bottle::new("") else { return };
    bottle.publish(
        "ailurus.toml",
        "[referrals]\nusers = { ada = 'imap://server2/', gone = 'imap://server3/' }\nmailboxes = { old = 'imap://server4/archive' }\n",
    );
    let mut session = Session::paired(&mut bottle.command(&program("imapd")));
    let client = &mut session.client;
    let greeting = client.greeting();
    assert!(greeting.contains(" SASL-IR LOGIN-REFERRALS"), "{greeting}");
    let login = |client: &mut Client, user: &str, password: &str| {
        let last = client.command(&format!("LOGIN {user} {password}")).pop().unwrap_or_default();
        last.split_once(' ').unwrap_or_default().1.to_owned()
    };
    let moved = |url: &str| format!("NO [REFERRAL {url}] Specified user has moved to another server");
    // The account is there, and its password counts; or it is gone, and nothing does.
    assert_eq!(login(client, "ada", "adapw"), moved("imap://ada;AUTH=*@server2/"));
    assert_eq!(login(client, "ada", "wrong"), "NO [AUTHENTICATIONFAILED] Invalid login credentials");
    assert_eq!(login(client, "gone", "anything"), moved("imap://gone;AUTH=*@server3/"));
    let mut session = Session::paired(&mut bottle.command(&program("imapd")));
    let client = &mut session.client;
    client.greeting();
    let answer = login(client, "ben", "adapw");
    assert!(answer.starts_with("OK ") && answer.contains(" MAILBOX-REFERRALS "), "{answer}");
    assert_eq!(
        client.command("SELECT old/2001").pop().unwrap_or_default().split_once(' ').unwrap_or_default().1,
        "NO [REFERRAL imap://ben;AUTH=*@server4/archive/2001] Mailbox has moved to another server"
    );
    assert_eq!(listed(client, "LIST (REMOTE) \"\" ol%"), ["LIST (\\Remote) \"/\" old"]);
    assert_eq!(listed(client, "RLIST \"\" ol%"), ["LIST () \"/\" old"]);
    assert!(listed(client, "LIST \"\" ol%").is_empty());
    // A person's own server sends nobody away, whatever the host does.
    let mut command = bottle.command_of_ada(&program("ailurus"));
    command.arg("serve");
    for option in ["--listen", "--tls-listen", "--pop3-listen", "--pop3-tls-listen"] {
        command.args([option, "127.0.0.1:0"]);
    }
    let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    let line = process.await_log("listening on ");
    let port = line.split_once(" (imap)").and_then(|(before, _)| before.rsplit(':').next()?.parse().ok());
    let greeting = Client::connect(port.expect("a port")).greeting();
    assert!(greeting.contains(" SASL-IR") && !greeting.contains("LOGIN-REFERRALS"), "{greeting}");
}

#[test]
fn forms_of_imap2bis_work() {
    let user = User::new();
    let mut session = session(&user);
    let client = &mut session.client;
    for name in ["letters", "lists", "dir/more"] {
        client.ok(&format!("CREATE {name}"));
    }
    client.ok("SUBSCRIBE MAILBOX letters");
    client.ok("SUBSCRIBE MAILBOX dir/more");
    client.ok("SUBSCRIBE lists");
    client.ok("UNSUBSCRIBE MAILBOX lists");
    assert_eq!(listed(client, "FIND MAILBOXES *"), ["MAILBOX dir/more", "MAILBOX letters"]);
    assert_eq!(listed(client, "FIND MAILBOXES l*"), ["MAILBOX letters"]);
    assert_eq!(listed(client, "FIND ALL.MAILBOXES l*"), ["MAILBOX letters", "MAILBOX lists"]);
    let refused = client.command("FIND MAILBOXES l%").pop().unwrap_or_default();
    assert!(refused.ends_with("NO IMAP2 ? and % wildcards not supported: l%"), "{refused}");
    let refused = client.command("BBOARD /nonesuch").pop().unwrap_or_default();
    assert!(refused.contains("Can't open mailbox #public/nonesuch"), "{refused}");
}
