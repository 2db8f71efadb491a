//! Mail programs of other people against `ailurus serve`: curl, Python's imaplib and IMAPClient, mutt, mbsync, offlineimap,
//! fetchmail, getmail. Once as a person's own server, and, where root runs the tests, once as the server of the host, with
//! system users and their passwords.

#[path = "clients/imapclient.rs"]
mod imapclient;
#[path = "clients/offlineimap.rs"]
mod offlineimap;
#[path = "clients/pop.rs"]
mod pop;
#[path = "clients/retrievers.rs"]
mod retrievers;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::server::Server;
use support::{User, is_root, peer, succeed};

/// What a test of a client needs.
struct Stage {
    user: User,
    server: Server,
    /// The client's own directory.
    desk: tempfile::TempDir,
}

impl Stage {
    /// Returns both kinds of server, with three messages in mailboxes of both formats.
    fn both() -> Vec<Self> {
        let mut stages = vec![Self::new(Server::own)];
        if is_root() {
            stages.push(Self::new(Server::of_host));
        }
        stages
    }

    fn new(start: fn(&User) -> Server) -> Self {
        let user = User::new();
        let server = start(&user);
        let desk = tempfile::tempdir().expect("a directory");
        let mut client = server.login();
        for name in ["trad", "shared"] {
            let prefix = if name == "shared" { "#driver.mbx/" } else { "" };
            client.ok(&format!("CREATE {prefix}{name}"));
            for number in 1..=3 {
                client.append(name, "(\\Seen) ", &message(number));
            }
        }
        client.ok("LOGOUT");
        Self { user, server, desk }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::write(&path, text).expect("room for a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }

    /// Returns a client's command, which finds nothing of the configuration of whoever runs the tests.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.desk.path()).env("TERM", "dumb").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.current_dir(self.desk.path());
        command
    }

    /// Returns the user's flags and subjects in a mailbox, as our server shows them.
    #[track_caller]
    fn contents(&self, mailbox: &str) -> Vec<String> {
        let mut client = self.server.login();
        let selected = client.ok(&format!("EXAMINE {mailbox}"));
        if selected.iter().any(|line| line == "* 0 EXISTS") {
            return Vec::new();
        }
        let fetched = client.ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
        let flags = |line: &str| {
            line.split_once("FLAGS (").map(|(_, rest)| rest.split(')').next().unwrap_or("").to_owned())
        };
        let mut found = Vec::new();
        let mut last = String::new();
        for line in &fetched {
            if let Some(flags) = flags(line) {
                let mut flags: Vec<&str> = flags.split(' ').filter(|flag| *flag != "\\Recent").collect();
                flags.sort_unstable();
                last = flags.join(" ");
            } else if let Some(subject) = line.strip_prefix("Subject: ") {
                found.push(format!("{subject} ({last})"));
            }
        }
        found
    }
}

fn message(number: u32) -> String {
    format!(
        "From: Ada <ada@example.test>\nTo: ben@example.test\nDate: Mon, 7 Sep 2026 10:00:0{number} +0000\nSubject: number \
         {number}\nMessage-ID: <n{number}@example.test>\n\nText of message {number}.\n.\nFinis.\n"
    )
}

#[test]
fn curl() {
    let Some(curl) = peer::find("curl") else { return };
    for stage in Stage::both() {
        let credentials = format!("{}:{}", stage.server.user, stage.server.password);
        let run = |scheme: &str, port: u16, path: &str, more: &[&str]| {
            let mut command = stage.command(&curl);
            command.args([
                "--silent",
                "--show-error",
                "--max-time",
                "30",
                "--insecure",
                "--user",
                &credentials,
            ]);
            command.args(more).arg(format!("{scheme}://127.0.0.1:{port}/{path}"));
            succeed(&mut command)
        };
        let (port, tls_port) = (stage.server.port, stage.server.tls_port);
        for name in ["trad", "shared"] {
            let got = run("imap", port, &format!("{name};MAILINDEX=2"), &[]);
            assert_eq!(got.replace("\r\n", "\n"), message(2));
            let header = run("imap", port, &format!("{name};UID=3;SECTION=HEADER.FIELDS%20(SUBJECT)"), &[]);
            assert_eq!(header, "Subject: number 3\r\n\r\n");
            let found = run("imap", port, &format!("{name}?SUBJECT%20number"), &[]);
            assert_eq!(found, "* SEARCH 1 2 3\r\n");
            let letter = stage.put("letter", &message(4).replace('\n', "\r\n"));
            run("imap", port, name, &["--upload-file", letter.to_str().expect("text")]);
            assert_eq!(stage.contents(name).len(), 4);
            run("imap", port, name, &["--request", "STORE 1 +FLAGS (\\Deleted)"]);
            run("imap", port, name, &["--request", "EXPUNGE"]);
            let subjects = stage.contents(name);
            assert!(subjects.len() == 3 && subjects[0].starts_with("number 2"), "{subjects:?}");
        }
        // A person's own server made a certificate for itself; a host without one says so.
        if stage.server.password != support::PASSWORD {
            assert_eq!(run("imaps", tls_port, "trad;MAILINDEX=1", &[]).replace("\r\n", "\n"), message(2));
            assert_eq!(
                run("imap", port, "trad;MAILINDEX=1", &["--ssl-reqd"]).replace("\r\n", "\n"),
                message(2)
            );
        }
        if stage.server.password != support::PASSWORD {
            // A mechanism that shows the password is offered under TLS only.
            run("imaps", tls_port, "trad;MAILINDEX=1", &["--login-options", "AUTH=PLAIN"]);
            run("imap", port, "trad;MAILINDEX=1", &["--login-options", "AUTH=CRAM-MD5"]);
        }
        assert!(run("imap", port, "", &[]).contains("\"/\" trad\r\n"));
    }
}

/// A program for Python that does what a mail client does, and says what went wrong.
const IMAPLIB: &str = r#"
import imaplib, ssl, sys
port, tls_port, user, password, own = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5] == "own"
imaplib.IMAP4.timeout = 30
def ok(answer, wanted=None):
    status, data = answer
    assert status == "OK", answer
    assert wanted is None or wanted in str(data), (wanted, data)
    return data
def connect():
    return imaplib.IMAP4("127.0.0.1", port, timeout=30)
letter = b"Subject: from python\r\nDate: Mon, 7 Sep 2026 10:00:00 +0000\r\n\r\nText.\r\n"
for name in "trad", "shared":
    imap = connect()
    ok(imap.login(user, password))
    assert "IDLE" in imap.capabilities and "UIDPLUS" in imap.capabilities, imap.capabilities
    ok(imap.namespace())
    assert ok(imap.select(name)) == [b"3"]
    data = ok(imap.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
    assert len(data) == 3 and b"number 3" in data[2], data
    ok(imap.append(name, r"(\Flagged Work)", imaplib.Time2Internaldate(1788775200), letter))
    ok(imap.noop())
    assert imap.response("EXISTS")[1][-1] == b"4"
    data = ok(imap.uid("SEARCH", None, "KEYWORD", "Work")) if name == "shared" else ok(imap.uid("SEARCH", None, "FLAGGED"))
    uid = data[0].split()[0]
    data = ok(imap.uid("FETCH", uid, "(BODY.PEEK[] INTERNALDATE)"))
    assert data[0][1] == letter and b"07-Sep-2026" in data[0][0] + data[1] or b" 7-Sep-2026" in data[0][0] + data[1], data
    ok(imap.uid("STORE", uid, "+FLAGS", r"(\Answered $Forwarded)"), "$Forwarded")
    ok(imap.create(name + "-2"))
    ok(imap.uid("COPY", uid, name + "-2"))
    ok(imap.store("1", "+FLAGS", r"(\Deleted)"))
    assert ok(imap.expunge()) == [b"1"]
    ok(imap.search("UTF-8", "TEXT", '"message 2"'), "1")
    ok(imap.status(name + "-2", "(MESSAGES UIDNEXT UNSEEN)"), "MESSAGES 1")
    ok(imap.subscribe(name))
    ok(imap.lsub(), name)
    ok(imap.rename(name + "-2", name + "-3"))
    ok(imap.list('""', "*"), name + "-3")
    ok(imap.close())
    ok(imap.delete(name + "-3"))
    ok(imap.unsubscribe(name))
    status, data = imap.select("nonesuch")
    assert status == "NO", data
    assert imap.logout()[0] == "BYE"
imap = connect()
if own:
    context = ssl._create_unverified_context()
    ok(imap.starttls(ssl_context=context))
    ok(imap.login_cram_md5(user, password))
    imap.logout()
    imap = imaplib.IMAP4_SSL("127.0.0.1", tls_port, ssl_context=context, timeout=30)
ok(imap.authenticate("PLAIN", lambda challenge: f"\0{user}\0{password}".encode()))
ok(imap.select("trad", readonly=True))
imap.logout()
imap = connect()
try:
    imap.login(user, "wrong")
    raise SystemExit("a wrong password was good")
except imaplib.IMAP4.error:
    pass
"#;

#[test]
fn imaplib() {
    let Some(python) = peer::find("python3") else { return };
    for stage in Stage::both() {
        let program = stage.put("client.py", IMAPLIB);
        let mut command = stage.command(&python);
        command.arg(program).arg(stage.server.port.to_string()).arg(stage.server.tls_port.to_string());
        command.arg(&stage.server.user).arg(&stage.server.password);
        command.arg(if stage.server.password == support::PASSWORD { "host" } else { "own" });
        succeed(&mut command);
    }
}

#[test]
fn mutt() {
    let Some(mutt) = peer::find("mutt") else { return };
    for stage in Stage::both() {
        let Server { user, password, port, .. } = &stage.server;
        for (turn, name) in ["trad", "shared"].into_iter().enumerate() {
            let run = |commands: &str| {
                let settings = format!(
                    "set folder=imap://{user}@127.0.0.1:{port}/ imap_idle=yes mbox_type=mbox confirmappend=no\nset \
                     imap_user=\"{user}\"\nset imap_pass=\"{password}\"\nset ssl_starttls=no ssl_force_tls=no\nset \
                     move=no delete=yes confirmappend=no confirmcreate=no sleep_time=0 wait_key=no timeout=5 \
                     imap_keepalive=5 header_cache=\"\" tmpdir=\"{0}\" record=\"\" postponed=\"\" beep=no mark_old=no \
                     copy=no quit=yes auto_tag=no\n{commands}",
                    stage.desk.path().display(),
                );
                let settings = stage.put("muttrc", &settings);
                let mut command = stage.command(&mutt);
                command
                    .arg("-n")
                    .arg("-F")
                    .arg(settings)
                    .arg("-f")
                    .arg(format!("imap://{user}@127.0.0.1:{port}/{name}"));
                in_terminal(&stage, command);
            };
            // Fetch all of it into a file here.
            let here = stage.path(&format!("all-of-{name}"));
            run(&format!(
                "push '<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><quit>'\n",
                here.display()
            ));
            let fetched = fs::read_to_string(&here).expect("it was made");
            for number in 1..=3 {
                let text = message(number);
                let (_, body) = text.split_once("\n\n").expect("a body");
                assert_eq!(fetched.matches(&format!("Subject: number {number}\n")).count(), 1, "{fetched}");
                assert_eq!(fetched.matches(body).count(), 1, "{fetched}");
            }
            // Flag the second, delete the first, copy the third, save a reply's worth of flags, leave.
            run(
                "push '<first-entry><delete-message><first-entry><next-entry><flag-message><last-entry><copy-message>=kept<enter>\
                 <sync-mailbox><quit>'\n",
            );
            let contents = stage.contents(name);
            assert_eq!(contents, ["number 2 (\\Flagged \\Seen)", "number 3 (\\Seen)"], "{name}");
            assert_eq!(stage.contents("kept"), vec!["number 3 (\\Seen)"; turn + 1]);
            // Have the server search, and move what was found.
            run(
                "push '<tag-pattern>=b \"message 2\"<enter><tag-prefix><save-message>=moved<enter><sync-mailbox><quit>'\n",
            );
            assert_eq!(stage.contents(name), ["number 3 (\\Seen)"], "{name}");
            assert_eq!(stage.contents("moved"), vec!["number 2 (\\Flagged \\Seen)"; turn + 1]);
        }
    }
}

/// Runs a program that wants a terminal, by `script`, and waits for its end, half a minute at most.
fn in_terminal(stage: &Stage, command: Command) {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy().replace('\'', "'\\''"));
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = stage.command(Path::new("timeout"));
    script.args(["30", "script", "--quiet", "--return", "--command", &words.join(" "), "screen"]);
    script.env("TERM", "vt100").env("LINES", "24").env("COLUMNS", "80");
    let output = script.stdin(Stdio::null()).output().expect("script of util-linux");
    let screen = fs::read(stage.path("screen")).unwrap_or_default();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&screen));
}

#[test]
fn mbsync() {
    let Some(mbsync) = peer::find("mbsync") else { return };
    for stage in Stage::both() {
        let Server { user, password, port, .. } = &stage.server;
        let store = stage.path("mail");
        fs::create_dir_all(&store).expect("room for a directory");
        let settings = stage.put(
            "mbsyncrc",
            &format!(
                "IMAPAccount us\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {password}\nAuthMechs PLAIN LOGIN\nSSLType None\n\n\
                 IMAPStore far\nAccount us\n\nMaildirStore near\nPath {0}/\nInbox {0}/INBOX\nSubFolders Verbatim\n\nChannel \
                 both\nFar :far:\nNear :near:\nPatterns trad shared\nCreate Both\nExpunge Both\nSyncState *\n",
                store.display()
            ),
        );
        let sync = || {
            let mut command = stage.command(&mbsync);
            succeed(command.arg("-D").arg("--config").arg(&settings).arg("both"));
        };
        sync();
        for name in ["trad", "shared"] {
            assert_eq!(texts(&store.join(name)), (1..=3).map(message).collect::<Vec<_>>(), "{name}");
        }
        sync();
        for name in ["trad", "shared"] {
            assert_eq!(texts(&store.join(name)).len(), 3, "nothing twice in {name}");
        }
        change_both_sides(&stage, &store);
        sync();
        sync();
        for name in ["trad", "shared"] {
            assert_changed(&stage, name);
            assert_eq!(texts(&store.join(name)), (2..=5).map(message).collect::<Vec<_>>(), "{name} there");
        }
    }
}

/// Changes the mailboxes "trad" and "shared" on both sides: in the maildirs a message is flagged and one is new, at the server one
/// is gone and one is new.
fn change_both_sides(stage: &Stage, store: &Path) {
    for name in ["trad", "shared"] {
        let folder = store.join(name);
        fs::write(folder.join("new/1.own.host"), message(4)).expect("room for a message");
        let second = file_of(&folder, "number 2");
        let flagged = second.to_string_lossy().replace(":2,S", ":2,FS").replace("/new/", "/cur/");
        assert_ne!(flagged, second.to_string_lossy(), "it is seen");
        fs::rename(&second, &flagged).expect("it is there");
        let mut client = stage.server.login();
        client.ok(&format!("SELECT {name}"));
        client.ok("STORE 1 +FLAGS (\\Deleted)");
        client.ok("EXPUNGE");
        client.append(name, "(\\Seen \\Answered) ", &message(5));
        client.ok("LOGOUT");
    }
}

/// Fails unless the server has what both sides changed.
#[track_caller]
fn assert_changed(stage: &Stage, name: &str) {
    let mut contents = stage.contents(name);
    contents.sort();
    let wanted =
        ["number 2 (\\Flagged \\Seen)", "number 3 (\\Seen)", "number 4 ()", "number 5 (\\Answered \\Seen)"];
    assert_eq!(contents, wanted, "{name} here");
}

/// Returns the messages of a maildir in the order of their subjects, without the field that mbsync adds.
fn texts(maildir: &Path) -> Vec<String> {
    texts_without(maildir, "X-TUID: ")
}

/// Returns the messages of a maildir in the order of their subjects, without lines that start like this.
fn texts_without(maildir: &Path, added: &str) -> Vec<String> {
    let mut texts: Vec<String> = files_of(maildir)
        .iter()
        .map(|file| fs::read_to_string(file).expect("it is text"))
        .map(|text| {
            let lines = text.lines().filter(|line| !line.starts_with(added));
            lines.map(|line| format!("{line}\n")).collect()
        })
        .collect();
    texts.sort_by_key(|text: &String| {
        text.lines().find(|line| line.starts_with("Subject:")).unwrap_or("").to_owned()
    });
    texts
}

fn files_of(maildir: &Path) -> Vec<PathBuf> {
    let in_folder = |name: &str| {
        let entries = fs::read_dir(maildir.join(name)).expect("a maildir");
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    [in_folder("cur"), in_folder("new")].concat()
}

fn file_of(maildir: &Path, subject: &str) -> PathBuf {
    let has = |file: &PathBuf| {
        fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("Subject: {subject}\n")))
    };
    files_of(maildir).into_iter().find(has).expect("it was synchronised")
}

/// What another program did is there in the file, for the programs of this host.
#[test]
fn delivery_by_procmail_while_we_look() {
    let Some(procmail) = peer::find("procmail") else { return };
    let stage = Stage::new(Server::own);
    let mut client = stage.server.login();
    client.ok("SELECT trad");
    let recipe = format!("DEFAULT={0}/trad\nMAILDIR={0}\nLOGFILE=\n", stage.user.home().display());
    stage.user.write(&stage.user.home().join(".procmailrc"), recipe.as_bytes());
    for number in 4..=6 {
        let mut command = stage.user.command(&procmail);
        let rc = stage.user.home().join(".procmailrc");
        let mut child = command
            .arg("-f")
            .arg("ada@example.test")
            .arg(rc)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it was found");
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), message(number).as_bytes())
            .expect("it reads");
        assert!(child.wait().expect("it ends").success());
        let answer = client.ok("NOOP");
        assert!(answer.contains(&format!("* {number} EXISTS")), "{answer:?}");
    }
    client.ok("STORE 1:2 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("LOGOUT");
    assert_eq!(stage.contents("trad").len(), 4);
}
