//! Configuration files of a host: obeyed by all programs, and every mistake told.

use crate::bottle::FIRST_UID;
use crate::host::{host, login, rights, serve};
use crate::support::{Program, children, connect, encrypt, program};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

#[test]
fn the_originals_configuration_file_is_obeyed() {
    let Some(host) = host() else { return };
    host.put("c-client.cf", "I accept the risk\nset disable-plaintext 2\nset mail-subdirectory mail\nset new-mailbox-format nonesuch\n");
    let certificate = host.install_certificate("imapd", "localhost");
    let (server, plain, tls) = serve(&host);
    let mut talk = connect(plain);
    assert!(talk.expect("* OK").contains("LOGINDISABLED"));
    talk.command("LOGIN ada adapw", "NO");
    let mut talk = encrypt(connect(tls), &certificate, "localhost").expect("a handshake");
    talk.expect("* OK");
    talk.command("LOGIN ada adapw", "OK");
    server.logged(
        "daemon.warning: /etc/c-client.cf:4:24: new-mailbox-format: unknown mailbox format: nonesuch",
    );
    server.logged("mail.warning: /etc/c-client.cf:4:24: new-mailbox-format: ");
}

#[test]
fn our_own_configuration_file_is_obeyed() {
    let Some(host) = host() else { return };
    host.publish(
        "ailurus.toml",
        "[server]\nhost-name = \"mail.example\"\n[mailboxes]\nspool = \"{home}/new\"\nsubdirectory = \"mail\"\n\
         restrict = [\"other-users\"]\ncreate-format = \"mbx\"\n[modes]\nmailbox = \"0640\"\n\
         [namespaces]\nshared = \"/home/shared\"\n",
    );
    host.publish("c-client.cf", "set new-mailbox-format mmdf\nset mail-subdirectory elsewhere\n");
    let home = host.home("ada");
    for path in [home.join("mail"), host.home("shared")] {
        fs::create_dir(&path).expect("ours");
        std::os::unix::fs::chown(&path, Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
    }
    fs::rename(host.spool("ada"), home.join("new")).expect("one file system");
    let (_server, plain, _) = serve(&host);
    let mut talk = connect(plain);
    assert!(talk.expect("* OK").contains(" mail.example "));
    talk.command("LOGIN ada adapw", "OK");
    let lines = talk.command("SELECT INBOX", "OK [READ-WRITE]");
    assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
    talk.command("CREATE letters", "OK");
    assert!(fs::read(home.join("mail/letters")).expect("made").starts_with(b"*mbx*"));
    talk.command("CREATE #shared/lists/rust", "OK");
    let mode = |path: &Path| fs::metadata(path).expect("made").permissions().mode() & 0o7777;
    assert_eq!(mode(&home.join("mail/letters")), 0o640);
    assert_eq!(mode(&host.home("shared/lists")), 0o770);
    assert_eq!(mode(&host.home("shared/lists/rust")), 0o660);
    talk.command("CREATE ~ben/letters", "NO");
    talk.command("CREATE #public/letters", "NO");
    talk.command("LOGOUT", "OK");
}

#[test]
fn check_and_the_servers_tell_all_mistakes_of_both_files() {
    let Some(host) = host() else { return };
    host.install_certificate("imapd", "localhost");
    host.publish("c-client.cf", "set chroot-server perhaps\nset hide-dot-files 1\nset frobnicate 1\n");
    host.publish(
        "ailurus.toml",
        "[server]\nplaintext = \"tsl\"\n[mailboxes]\nrestrct = []\nhide-dot-files = false\nlist-depth = = 3\n",
    );
    let mistakes = [
        "/etc/c-client.cf:1:19: chroot-server: not a decimal number: perhaps",
        "/etc/c-client.cf:3:5: frobnicate: not known or not supported",
        "/etc/ailurus.toml:2:13: plaintext: not one of \"allowed\", \"tls\", \"never\": tsl (did you mean `tls`?)",
        "/etc/ailurus.toml:4:1: there is no key `restrct` in [mailboxes] (did you mean `restrict`?)",
        "/etc/ailurus.toml:6:",
    ];
    let output = host.command(program("ailurus")).arg("check").output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    for mistake in mistakes {
        assert!(text.contains(&format!("PROBLEM  {mistake}")), "{mistake}\nis not in\n{text}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("PROBLEM")).count(), mistakes.len(), "{text}");
    assert!(
        text.contains("note     /etc/ailurus.toml:5:1: hide-dot-files: /etc/c-client.cf:2:5 sets "),
        "{text}"
    );

    // `ailurus serve` does not start, and says why.
    let output =
        host.command(program("ailurus")).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.starts_with("ailurus serve: nobody is served until /etc/ailurus.toml is mended:\n"),
        "{text}"
    );
    for mistake in mistakes {
        assert!(text.contains(&format!("\n{mistake}")), "{mistake}\nis not in\n{text}");
    }

    // One that runs turns everybody away until the file is mended, without a restart.
    let mended = "[server]\nplaintext = \"allowed\"\n";
    host.publish("ailurus.toml", mended);
    let (server, plain, _) = serve(&host);
    host.publish("ailurus.toml", &format!("{mended}x = 1\n"));
    let mut talk = connect(plain);
    talk.expect("* BYE Service not available ");
    talk.ended();
    server.logged("mail.alert: /etc/ailurus.toml:3:1: there is no key `x` in [server]");
    let mut ssh = Program::start(&mut host.command_of_ada(program("imapd")));
    assert_eq!(ssh.wait().code(), Some(1));
    ssh.logged("cannot serve host=UNKNOWN: nobody is served until /etc/ailurus.toml is mended");
    let told = host.command_of_ada(program("imapd")).stdin(Stdio::null()).output().expect("run").stdout;
    assert!(told.starts_with(b"* BYE Service not available "), "{}", String::from_utf8_lossy(&told));
    host.publish("ailurus.toml", mended);
    host.publish("c-client.cf", "");
    login(plain, "LOGIN ada adapw", "OK").command("LOGOUT", "OK");
}

#[test]
fn a_user_without_a_black_box_is_refused_and_others_are_not() {
    let Some(host) = host() else { return };
    fs::create_dir_all(host.path("etc/box/ada")).expect("ours");
    std::os::unix::fs::chown(host.path("etc/box/ada"), Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
    let inbox = host.path("etc/box/ada/INBOX");
    fs::copy(host.spool("ada"), &inbox).expect("ours");
    std::os::unix::fs::chown(&inbox, Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
    fs::write(host.spool("ada"), "").expect("ours");
    host.publish("c-client.cf", "set black-box-directory /etc/box\n");
    let (server, plain, _) = serve(&host);
    let mut talk = login(plain, "LOGIN ben adapw", "NO");
    server.logged(
        "Login refused user=ben auth=ben host=localhost [127.0.0.1] reason=no such black box directory",
    );
    talk.command("LOGIN ada adapw", "OK");
    talk.command("CREATE letters", "OK");
    assert!(host.path("etc/box/ada/letters").exists());
    let lines = talk.command("SELECT INBOX", "OK [READ-WRITE]");
    assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
    let lines = talk.command("NAMESPACE", "OK");
    assert!(lines[0].contains(" ((\"/\" \"/\")) "), "others are names from the root: {lines:#?}");
    talk.command("CREATE /../etc/letters", "NO");
    talk.command("LOGOUT", "OK");
    host.publish("ailurus.toml", "[mailboxes]\nblack-box-default = \"/etc/box/ada\"\n");
    login(plain, "LOGIN ben adapw", "OK").command("LOGOUT", "OK");
}

#[test]
fn shared_namespaces_are_homes_of_system_users_unless_the_settings_say_otherwise() {
    let Some(host) = host() else { return };
    for (number, name) in ["imappublic", "imapshared"].into_iter().enumerate() {
        host.add_user(name, FIRST_UID + 20 + u32::try_from(number).expect("small"), "!");
        fs::set_permissions(host.home(name), fs::Permissions::from_mode(0o777)).expect("ours");
    }
    let (_server, plain, _) = serve(&host);
    let create = |name: &str, answer: &str| {
        let mut talk = login(plain, "LOGIN ada adapw", "OK");
        talk.command(&format!("CREATE {name}"), answer);
        talk.command("LOGOUT", "OK");
    };
    let mode = |path: &str| fs::metadata(host.home(path)).expect("made").permissions().mode() & 0o7777;
    create("#public/lists/rust", "OK");
    assert_eq!((mode("imappublic/lists"), mode("imappublic/lists/rust")), (0o777, 0o666));
    create("#SHARED/lists/rust", "OK");
    assert_eq!((mode("imapshared/lists"), mode("imapshared/lists/rust")), (0o770, 0o660));
    fs::create_dir(host.home("public")).expect("ours");
    fs::set_permissions(host.home("public"), fs::Permissions::from_mode(0o777)).expect("ours");
    host.publish(
        "ailurus.toml",
        "[namespaces]\nautomatic = false\npublic = \"/home/public\"\n[modes]\npublic = \"0640\"\n",
    );
    create("#public/more", "OK");
    assert_eq!(mode("public/more"), 0o640);
    create("#shared/more", "NO");
}

#[test]
fn a_user_sets_what_is_the_users_own_where_the_host_allows_it() {
    let Some(host) = host() else { return };
    let rc = host.home("ada").join(".imaprc");
    fs::write(&rc, "set new-mailbox-format mbx\nset system-inbox /etc/shadow\n").expect("ours");
    std::os::unix::fs::chown(&rc, Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
    let (server, plain, _) = serve(&host);
    let made = |name: &str| {
        let mut talk = login(plain, "LOGIN ada adapw", "OK");
        talk.command(&format!("CREATE {name}"), "OK");
        talk.command("LOGOUT", "OK");
        fs::read(host.home("ada").join(name)).expect("made").starts_with(b"*mbx*")
    };
    assert!(!made("first"));
    host.publish("ailurus.toml", "[server]\nuser-config = true\n");
    assert!(made("second"));
    server.logged(
        "mail.warning: /home/ada/.imaprc:2:5: system-inbox: the host's to set, not a user's, user=ada",
    );
    // Whoever else puts a file there says nothing.
    std::os::unix::fs::chown(&rc, Some(0), Some(0)).expect("ours");
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o644)).expect("ours");
    assert!(!made("third"));
    server.logged("mail.warning: /home/ada/.imaprc: not read: it belongs to somebody else, user=ada");
}

/// chroot(2): with the rights of the user alone, and nothing outside of the home within reach.
#[test]
fn a_closed_box_is_all_that_a_session_can_see() {
    let Some(host) = host() else { return };
    host.publish("ailurus.toml", "[mailboxes]\nclosed-box = true\n");
    host.put("pam.d/imap", "auth required pam_unix.so\naccount required pam_unix.so\n");
    let home = host.home("ada");
    // What a user could prepare for a process of root's that looks users up, inside.
    fs::create_dir(home.join("etc")).expect("ours");
    fs::write(home.join("etc/group"), "root:x:0:ada\n").expect("ours");
    fs::copy(host.spool("ada"), home.join("INBOX")).expect("ours");
    std::os::unix::fs::chown(home.join("INBOX"), Some(FIRST_UID), Some(FIRST_UID)).expect("ours");
    let outside = host.home("outside");
    fs::write(&outside, crate::alone::MAIL).expect("ours");
    std::os::unix::fs::symlink("/home/outside", home.join("link")).expect("ours");
    let (server, plain, _) = serve(&host);
    let mut talk = login(plain, "LOGIN ada adapw", "OK");
    let session = children(server.id())[0];
    assert_eq!(
        fs::read_link(format!("/proc/{session}/root")).expect("a living process").file_name(),
        Some("ada".as_ref())
    );
    let rights = rights(session);
    assert_eq!(rights[0], format!("Uid: {0} {0} {0} {0}", FIRST_UID), "{rights:?}");
    assert_eq!(rights[2], format!("Groups: {FIRST_UID}"), "{rights:?}");
    let lines = talk.command("SELECT INBOX", "OK [READ-WRITE]");
    assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{lines:#?}");
    talk.command("STORE 1 +FLAGS (\\Deleted)", "OK");
    talk.command("EXPUNGE", "OK");
    talk.command("CREATE lists/rust", "OK");
    talk.command("COPY 1 lists/rust", "OK");
    talk.command("SUBSCRIBE lists/rust", "OK");
    assert!(fs::metadata(home.join("lists/rust")).expect("made").len() > 0);
    assert_eq!(fs::read_to_string(home.join(".mailboxlist")).expect("made"), "lists/rust\n");
    let lines = talk.command("LIST \"\" *", "OK");
    assert!(lines.iter().any(|line| line.ends_with(" lists/rust")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("outside") && !line.contains("//")), "{lines:#?}");
    for name in ["link", "/home/outside", "../outside", "/../outside", "~ben/x", "#ftp/x"] {
        talk.command(&format!("EXAMINE {name}"), "NO");
    }
    talk.command("EXAMINE /lists/rust", "OK");
    talk.command("NAMESPACE", "OK");
    // There is no /proc, no /dev and no /tmp for any format to rely on. Folders of mh need a profile.
    for format in ailurus_formats::CREATABLE.into_iter().filter(|format| *format != "mh") {
        let name = format!("in-{format}");
        talk.command(&format!("CREATE #driver.{format}/{name}"), "OK");
        talk.say(&format!("t APPEND {name} (\\Seen) {{15+}}\r\nSubject: x\r\n\r\ny"));
        while !talk.line().starts_with("t OK") {}
        talk.command("SELECT lists/rust", "OK");
        talk.command(&format!("COPY 1 {name}"), "OK");
        let lines = talk.command(&format!("SELECT {name}"), "OK [READ-WRITE]");
        assert!(lines.contains(&"* 2 EXISTS".to_owned()), "{format}: {lines:#?}");
        talk.command("STORE 1 +FLAGS (\\Deleted)", "OK");
        assert_eq!(talk.command("EXPUNGE", "OK")[0], "* 1 EXPUNGE", "{format}");
        talk.command("CLOSE", "OK");
        talk.command(&format!("DELETE {name}"), "OK");
    }
    talk.command("LOGOUT", "OK");
    assert!(host.spool("ada").exists(), "the spool is not looked at");
    server.logged("Logout user=ada host=");

    // Who has no home of their own to be confined to does not come in.
    fs::remove_dir_all(host.home("ben")).expect("ours");
    login(plain, "LOGIN ben adapw", "NO");
    server.logged("reason=no directory to be confined to: /home/ben");
    // Over ssh the user is at home on the host already: the same mailboxes, and names are restricted.
    let mut imapd = host.command_of_ada(program("imapd"));
    let output = imapd.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().and_then(|mut child| {
        let input =
            b"a CREATE /home/ada/../x\r\nb CREATE ~ben/x\r\nc STATUS INBOX (MESSAGES)\r\nd LOGOUT\r\n";
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input)?;
        child.wait_with_output()
    });
    let text = String::from_utf8_lossy(&output.expect("run").stdout).into_owned();
    assert!(text.contains("\r\na NO ") && text.contains("\r\nb NO "), "{text}");
    assert!(text.contains("* STATUS INBOX (MESSAGES 1)"), "{text}");
}
