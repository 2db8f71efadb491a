//! IMAPClient, a library for Python: what a program that uses it does, IDLE included.

use crate::{Stage, message, support};
use support::{peer, succeed};

/// A program that says what went wrong.
const PROGRAM: &str = r#"
import sys, ssl, datetime
from imapclient import IMAPClient, SEEN, FLAGGED, ANSWERED, DELETED
from imapclient.exceptions import LoginError, IMAPClientError
port, tls_port, user, password, own = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5] == "own"
def connect():
    client = IMAPClient("127.0.0.1", port=port, ssl=False, timeout=30)
    client.login(user, password)
    return client
letter = b"Subject: from =?utf-8?q?K=C3=B6ln?=\r\nDate: Mon, 7 Sep 2026 10:00:00 +0000\r\n\r\nText.\r\n"
when = datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.timezone.utc)
for turn in range(2):
    for name in "trad", "shared":
        client = connect()
        client.normalise_times = False
        assert client.has_capability("IDLE") and client.has_capability("UIDPLUS") and client.has_capability("MOVE")
        assert client.namespace().personal[0][1] == "/", client.namespace()
        box = client.select_folder(name)
        assert box[b"EXISTS"] == 3, box
        uids = client.search()
        got = client.fetch(uids, ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[]"])
        assert [got[uid][b"ENVELOPE"].subject for uid in uids] == [b"number 1", b"number 2", b"number 3"], got
        for number, uid in enumerate(uids, 1):
            text = got[uid][b"BODY[]"].replace(b"\r\n", b"\n").decode()
            assert text == open("message-%d" % number).read(), text
            assert len(got[uid][b"BODY[]"]) == got[uid][b"RFC822.SIZE"]
            assert SEEN in got[uid][b"FLAGS"], got
        assert client.sort(["REVERSE SUBJECT"]) == uids[::-1], client.sort(["REVERSE SUBJECT"])
        assert client.thread("REFERENCES") == tuple((uid,) for uid in uids), client.thread("REFERENCES")
        other = connect()
        client.idle()
        other.append(name, letter, [FLAGGED], when)
        seen = []
        while not any(event[-1] == b"EXISTS" for event in seen):
            heard = client.idle_check(timeout=10)
            assert heard, "no word of the new message"
            seen += heard
        assert (4, b"EXISTS") in seen, seen
        client.idle_done()
        new = client.search(["SUBJECT", "Köln"], charset="UTF-8")
        assert len(new) == 1 and new[0] > uids[-1], new
        data = client.fetch(new, ["INTERNALDATE", "BODY.PEEK[]", "FLAGS"])[new[0]]
        assert data[b"INTERNALDATE"] == when and data[b"BODY[]"] == letter and FLAGGED in data[b"FLAGS"], data
        client.add_flags(new, [ANSWERED, "$Forwarded"])
        client.remove_flags(new, FLAGGED)
        other.select_folder(name, readonly=True) if name == "shared" else None
        if name == "shared":
            assert b"$Forwarded" in other.get_flags(new)[new[0]] and FLAGGED not in other.get_flags(new)[new[0]]
            other.close_folder()
        folder = "Entwürfe/Köln " + name
        client.create_folder(folder)
        assert folder in [entry[2] for entry in client.list_folders(directory="", pattern="*")]
        client.copy(new, folder)
        assert client.folder_status(folder, ["MESSAGES", "UIDNEXT"])[b"MESSAGES"] == 1
        client.move(new, folder)
        assert client.search() == uids, client.search()
        client.subscribe_folder(folder)
        assert folder in [entry[2] for entry in client.list_sub_folders()]
        client.unsubscribe_folder(folder)
        client.select_folder(folder)
        both = client.search("ANSWERED")
        assert len(both) == 2
        client.delete_messages(both[0])
        client.expunge()
        assert client.search() == both[1:]
        client.close_folder()
        client.delete_folder(folder)
        assert not client.folder_exists(folder)
        other.logout()
        client.logout()
if own:
    context = ssl._create_unverified_context()
    client = IMAPClient("127.0.0.1", port=tls_port, ssl_context=context, timeout=30)
    client.plain_login(user, password)
    assert client.select_folder("trad", readonly=True)[b"EXISTS"] == 3
    client.logout()
    client = IMAPClient("127.0.0.1", port=port, ssl=False, timeout=30)
    client.starttls(context)
    client.login(user, password)
    client.logout()
client = IMAPClient("127.0.0.1", port=port, ssl=False, timeout=30)
try:
    client.login(user, "wrong")
    raise SystemExit("a wrong password was good")
except LoginError:
    pass
"#;

#[test]
fn imapclient() {
    let Some(python) = peer::find("python3") else { return };
    let Some(packages) = peer::python_package(&python, "imapclient") else { return };
    for stage in Stage::both() {
        let program = stage.put("client.py", PROGRAM);
        for number in 1..=3 {
            stage.put(&format!("message-{number}"), &message(number));
        }
        let mut command = stage.command(&python);
        command.env("PYTHONPATH", &packages).arg(program);
        command.args([stage.server.port.to_string(), stage.server.tls_port.to_string()]);
        command.args([&stage.server.user, &stage.server.password]);
        command.arg(if stage.server.password == support::PASSWORD { "host" } else { "own" });
        succeed(&mut command);
        for name in ["trad", "shared"] {
            let wanted = ["number 1 (\\Seen)", "number 2 (\\Seen)", "number 3 (\\Seen)"];
            assert_eq!(stage.contents(name), wanted, "{name}");
        }
    }
}
