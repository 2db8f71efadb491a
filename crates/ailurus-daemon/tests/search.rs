//! SORT, THREAD, ESORT and saved results of SEARCH, over IMAP: the same of a traditional and of an mbx mailbox.

mod support;

use support::{Client, Session, User};

const MESSAGES: [&str; 5] = [
    "Date: Mon, 7 Sep 2026 10:00:00 +0000\nFrom: carol@example.test\nSubject: Lunch\nMessage-ID: <1@x>\n\nNoon?\n",
    "Date: Mon, 7 Sep 2026 09:00:00 -0500\nFrom: Zoe <alan@example.test>\nSubject: Re: LUNCH\nMessage-ID: <2@x>\nReferences: <1@x>\n\nYes, at noon.\n",
    "Date: Mon, 7 Sep 2026 11:00:00 +0000\nFrom: =?UTF-8?Q?=C3=89rin?= <Bob@example.test>\nSubject: =?UTF-8?Q?=C3=89clair?=\n\nx\n",
    "Date: Mon, 7 Sep 2026 12:00:00 +0000\nFrom: \"amy\" <zed@example.test>\nSubject: [list] ECLAIR (fwd)\nIn-Reply-To: <9@x>\n\nxx\n",
    "Subject: Fwd: lunch\nReferences: <1@x> <2@x>\nDate: 8 Sep 2026 00:00:00 +0000\n\n\n",
];

/// Returns what comes before the tagged response of a command that has to succeed.
fn said(client: &mut Client, command: &str) -> Vec<String> {
    let mut lines = client.ok(command);
    lines.pop();
    lines
}

fn check(client: &mut Client, mailbox: &str) {
    for message in MESSAGES {
        client.append(mailbox, "", message);
    }
    client.ok(&format!("SELECT {mailbox}"));
    for (command, answer) in [
        ("SORT (DATE) UTF-8 ALL", "* SORT 1 3 4 2 5"),
        ("SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "* SORT 4 3 5 2 1"),
        ("UID SORT (REVERSE FROM) US-ASCII SUBJECT lunch", "* SORT 1 2 5"),
        ("SORT (REVERSE ARRIVAL) UTF-8 2:3", "* SORT 2 3"),
        ("SORT (DISPLAYFROM) UTF-8 ALL", "* SORT 5 4 1 3 2"),
        ("THREAD REFERENCES UTF-8 ALL", "* THREAD (1 2 5)(3)(4)"),
        ("THREAD ORDEREDSUBJECT UTF-8 ALL", "* THREAD (1 (2)(5))(3)(4)"),
        ("UID THREAD REFS UTF-8 NOT TEXT noon", "* THREAD (3)(4)(5)"),
    ] {
        assert_eq!(said(client, command), [answer], "{mailbox}: {command}");
    }
    let extended = said(client, "SORT RETURN (MIN MAX ALL COUNT) (DATE) UTF-8 ALL").concat();
    assert!(extended.ends_with(") MIN 1 MAX 5 ALL 1,3:4,2,5 COUNT 5"), "{extended}");
    assert!(said(client, "SEARCH RETURN (SAVE) SUBJECT lunch").is_empty());
    let fetched = said(client, "FETCH $ UID");
    assert_eq!(fetched, ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* 5 FETCH (UID 5)"]);
    client.ok("UID STORE $ +FLAGS.SILENT (\\Deleted)");
    client.ok("STORE 1 -FLAGS.SILENT (\\Deleted)");
    let gone = said(client, "UID EXPUNGE $").into_iter().filter(|line| line.ends_with(" EXPUNGE")).count();
    assert_eq!(gone, 2);
    assert_eq!(said(client, "UID SEARCH $"), ["* SEARCH 1"]);
    client.ok(&format!("SELECT {mailbox}"));
    assert_eq!(said(client, "SEARCH $"), ["* SEARCH"]);
    // WITHIN: the messages have just come.
    assert_eq!(said(client, "SEARCH YOUNGER 3600"), ["* SEARCH 1 2 3"]);
    assert_eq!(said(client, "SEARCH OLDER 3600"), ["* SEARCH"]);
    client.ok("CLOSE");
}

#[test]
fn every_extension_of_search_in_unix_and_mbx_mailboxes() {
    let user = User::new();
    let mut session = Session::preauthenticated(&user);
    let client = &mut session.client;
    let greeting = client.greeting();
    for capability in
        ["ESEARCH", "SEARCHRES", "WITHIN", "SORT", "SORT=DISPLAY", "ESORT", "I18NLEVEL=1", "THREAD=REFS"]
    {
        assert!(
            greeting.contains(&format!(" {capability} ")) || greeting.contains(&format!(" {capability}]")),
            "{greeting}"
        );
    }
    client.ok("CREATE traditional");
    client.ok("CREATE #driver.mbx/indexed");
    check(client, "traditional");
    check(client, "indexed");
}
