//! Mailboxes that have names of their own, over IMAP: folders of mh, mx by `#driver.mx/`, newsgroups.

mod support;

use std::fs;
use std::path::Path;
use support::bottle::{Bottle, FIRST_UID};
use support::{Client, Session, User, program};

const MESSAGE: &str = "Subject: one\n\nbody\n";

/// Makes a directory that belongs to the user.
fn make(user: &User, name: &str) {
    let path = user.home().join(name);
    fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    user.give(&path);
}

fn write(user: &User, name: &str, content: &str) {
    user.write(&user.home().join(name), content.as_bytes());
}

/// A user with mh, a folder `work` with two messages and a folder in it, and a session.
fn user_of_mh() -> (User, Session) {
    let user = User::new();
    write(&user, ".mh_profile", "Path: Mail\n");
    for folder in ["Mail", "Mail/work", "Mail/work/sub"] {
        make(&user, folder);
    }
    write(&user, "Mail/work/3", "Subject: three\n\nbody\n");
    write(&user, "Mail/work/10", "Subject: ten\n\nbody\n");
    let mut session = Session::preauthenticated(&user);
    session.client.greeting();
    (user, session)
}

/// Returns the responses of one kind, in order of text.
fn responses(lines: &[String], kind: &str) -> Vec<String> {
    let kind = format!("* {kind} ");
    let mut found: Vec<_> =
        lines.iter().filter_map(|line| Some(line.strip_prefix(&kind)?.to_owned())).collect();
    found.sort();
    found
}

fn list(client: &mut Client, pattern: &str) -> Vec<String> {
    responses(&client.ok(&format!("LIST \"\" {pattern}")), "LIST")
}

/// Returns the last line of an answer that must be a refusal.
fn refused(client: &mut Client, command: &str) -> String {
    let last = client.command(command).pop().unwrap_or_default();
    let (_, text) = last.split_once(' ').unwrap_or_default();
    assert!(text.starts_with("NO "), "{command}: {last}");
    text.to_owned()
}

/// Returns what a response code says, such as the two UIDs of `[APPENDUID 1 2]`.
fn code(line: &str, name: &str) -> Vec<String> {
    let (_, rest) = line.split_once(&format!("[{name} ")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(']').next().unwrap_or_default().split(' ').map(str::to_owned).collect()
}

#[test]
fn folders_of_mh_are_listed_made_renamed_and_deleted() {
    let (user, mut session) = user_of_mh();
    let client = &mut session.client;
    assert_eq!(list(client, "#mh/*"), ["() \"/\" #mh/work", "() \"/\" #mh/work/sub"]);
    assert_eq!(list(client, "#MH/%"), ["() \"/\" #mh/work"]);
    assert_eq!(list(client, "#mh/work/%"), ["() \"/\" #mh/work/sub"]);
    assert_eq!(list(client, "#mhinbox"), ["(\\NoInferiors) NIL #mhinbox"]);
    assert_eq!(responses(&client.ok("LIST #mh/ \"\""), "LIST"), ["(\\NoSelect) \"/\" #mh/"]);
    client.ok("CREATE #mh/new/below");
    assert_eq!(
        refused(client, "CREATE #mh/new/12"),
        "NO Can't create mailbox #mh/new/12: invalid MH-format name"
    );
    refused(client, "CREATE #mh/work");
    client.ok("SUBSCRIBE #mh/work");
    client.ok("SUBSCRIBE #mh/new");
    assert_eq!(responses(&client.ok("LSUB \"\" #mh/*"), "LSUB"), ["() \"/\" #mh/new", "() \"/\" #mh/work"]);
    client.ok("UNSUBSCRIBE #mh/new");
    client.ok("RENAME #mh/new/below #mh/other/folder");
    client.ok("DELETE #mh/new");
    refused(client, "DELETE #mh/new");
    assert_eq!(
        list(client, "#mh/*"),
        ["() \"/\" #mh/other", "() \"/\" #mh/other/folder", "() \"/\" #mh/work", "() \"/\" #mh/work/sub"]
    );
    // The same folder by its place below the home.
    assert!(
        list(client, "Mail/*").contains(&"(\\HasChildren) \"/\" Mail/work".into()),
        "{:?}",
        list(client, "Mail/*")
    );
    assert_eq!(responses(&client.ok("STATUS Mail/work (MESSAGES)"), "STATUS"), ["Mail/work (MESSAGES 2)"]);
    assert!(user.home().join("Mail/other/folder").is_dir());
}

#[test]
fn messages_go_to_and_from_mh_with_flags_keywords_and_uids() {
    let (user, mut session) = user_of_mh();
    let client = &mut session.client;
    let lines = client.ok("SELECT #mh/work");
    assert!(lines.contains(&"* 2 EXISTS".into()), "{lines:?}");
    let (_, permanent) = lines.iter().find_map(|line| line.split_once("[PERMANENTFLAGS ")).expect("flags");
    assert!(permanent.contains("\\*"), "{permanent}");
    let seen = responses(&client.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), "1");
    assert!(seen[0].starts_with("FETCH (UID 3 RFC822.SIZE 24 "), "{seen:?}");
    client.ok("UID STORE 10 +FLAGS (\\Flagged Work)");
    let given = client.append("#mh/work", "(\\Seen Later) \" 5-Mar-2024 01:02:03 +0000\" ", MESSAGE);
    let appended = code(&given, "APPENDUID");
    assert_eq!(appended[1], "11");
    client.ok("NOOP");
    let copied = client.ok("UID COPY 10:11 #mhinbox");
    let copied = code(copied.last().expect("a tagged line"), "COPYUID");
    assert_eq!(copied[1..], ["10:11", "1:2"]);
    assert!(user.home().join("Mail/inbox/2").is_file());
    assert!(refused(client, "UID COPY 3 #mh/none").starts_with("NO [TRYCREATE]"));
}

#[test]
fn messages_are_the_same_in_the_next_session() {
    let (user, mut session) = user_of_mh();
    let client = &mut session.client;
    client.ok("SELECT #mh/work");
    client.ok("UID STORE 10 +FLAGS (\\Flagged Work)");
    client.append("#mh/work", "(\\Seen Later) \" 5-Mar-2024 01:02:03 +0000\" ", MESSAGE);
    client.ok("UID COPY 10 #mhinbox");
    client.ok("UID STORE 3 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("LOGOUT");
    // folder -pack
    fs::rename(user.home().join("Mail/work/10"), user.home().join("Mail/work/1")).expect("it is there");
    let mut session = Session::preauthenticated(&user);
    let client = &mut session.client;
    client.greeting();
    client.ok("EXAMINE #mh/work");
    let shown = client.ok("UID FETCH 1:* (FLAGS INTERNALDATE)");
    let shown: Vec<_> = shown.iter().filter(|line| line.starts_with("* ")).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown[0].contains("UID 10") && shown[0].contains("\\Flagged") && shown[0].contains("Work"),
        "{shown:?}"
    );
    assert!(
        shown[1].contains("UID 11") && shown[1].contains("\\Seen") && shown[1].contains("Later"),
        "{shown:?}"
    );
    assert!(shown[1].contains("\" 5-Mar-2024 01:02:03 +0000\""), "{shown:?}");
    client.ok("EXAMINE #mhinbox");
    let shown = client.ok("FETCH 1:* (UID FLAGS)");
    assert!(shown[0].contains("\\Flagged") && shown[0].contains("Work"), "{shown:?}");
    assert!(user.home().join("Mail/inbox/1").is_file());
    let answer = refused(client, "COPY 1 #mh/none");
    assert!(answer.starts_with("NO [TRYCREATE]"), "{answer}");
}

#[test]
fn mx_is_made_by_its_name_and_keeps_what_it_is_given() {
    let user = User::new();
    let mut session = Session::preauthenticated(&user);
    let client = &mut session.client;
    client.greeting();
    client.ok("CREATE #driver.mx/box");
    client.ok("CREATE #driver.mx/box/sub");
    assert_eq!(list(client, "box*"), ["(\\HasChildren) \"/\" box", "(\\HasNoChildren) \"/\" box/sub"]);
    let given = client.append("#driver.mx/box", "(\\Flagged Work) ", MESSAGE);
    assert_eq!(code(&given, "APPENDUID")[1], "1");
    client.append("box", "", "Subject: two\n\nbody\n");
    client.ok("SELECT box");
    let copied = client.ok("COPY 1:2 box/sub");
    assert_eq!(code(copied.last().expect("a tagged line"), "COPYUID")[1..], ["1:2", "1:2"]);
    client.ok("STORE 1 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    let given = client.append("box", "", MESSAGE);
    assert_eq!(code(&given, "APPENDUID")[1], "3", "no UID twice");
    client.ok("SELECT box/sub");
    let shown = client.ok("FETCH 1 (FLAGS)");
    assert!(shown[0].contains("\\Flagged") && shown[0].contains("Work"), "{shown:?}");
    assert!(refused(client, "CREATE #driver.mx/box/7").contains("invalid MX-format name"));
    client.ok("CLOSE");
    client.ok("RENAME box other");
    assert_eq!(
        responses(&client.ok("STATUS other (MESSAGES UIDNEXT)"), "STATUS"),
        ["other (MESSAGES 2 UIDNEXT 4)"]
    );
    client.ok("SELECT INBOX");
    client.ok("DELETE other/sub");
    client.ok("DELETE other");
    assert!(!user.home().join("other").exists());
}

/// A host with a news spool, and ada's session there.
fn news_host() -> Option<(Bottle, Session)> {
    let bottle = Bottle::new("")?;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/news");
    let home = bottle.path("home/news");
    fs::create_dir(&home).expect("ours");
    let status = std::process::Command::new("cp").arg("-r").arg(fixtures.join("spool")).arg(&home).status();
    assert!(status.expect("cp").success());
    fs::create_dir_all(home.join("spool/comp/empty")).expect("ours");
    fs::copy(fixtures.join("active"), home.join("active")).expect("ours");
    let newsrc = bottle.home("ada").join(".newsrc");
    fs::copy(fixtures.join("newsrc.before"), &newsrc).expect("ours");
    std::os::unix::fs::chown(&newsrc, Some(FIRST_UID), Some(FIRST_UID)).expect("root may");
    bottle.publish(
        "c-client.cf",
        "set news-active-file /home/news/active\nset news-spool-directory /home/news/spool\n",
    );
    let mut session = Session::paired(&mut bottle.command_of_ada(&program("imapd")));
    session.client.greeting();
    Some((bottle, session))
}

#[test]
fn newsgroups_are_read_and_subscribed_to() {
    let Some((bottle, mut session)) = news_host() else { return };
    let newsrc = || fs::read_to_string(bottle.home("ada").join(".newsrc")).expect("it is there");
    let client = &mut session.client;
    assert!(list(client, "#news.comp.mail.*").contains(&"() \".\" #news.comp.mail.misc".into()));
    let lines = client.ok("SELECT #news.comp.mail.misc");
    assert!(lines.contains(&"* 5 EXISTS".into()), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("[UIDVALIDITY 3203398350]")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("[READ-ONLY]")), "{lines:?}");
    let shown = client.ok("UID FETCH 8 (FLAGS BODY.PEEK[TEXT])");
    assert!(shown.iter().any(|line| line == "body 8"), "{shown:?}");
    // An article goes to a mailbox that can be written.
    client.ok("CREATE saved");
    let copied = client.ok("UID COPY 8 saved");
    assert_eq!(code(copied.last().expect("a tagged line"), "COPYUID")[1], "8");
    assert!(
        client
            .command("APPEND #news.comp.mail.misc {1+}\r\nx")
            .pop()
            .is_some_and(|last| last.contains(" NO "))
    );
    assert_eq!(
        responses(&client.ok("LSUB \"\" #news.*"), "LSUB").len(),
        newsrc().matches(": ").count() + newsrc().matches(":\n").count()
    );
    client.ok("SUBSCRIBE #news.comp.empty");
    assert!(newsrc().contains("comp.empty: \n"), "{}", newsrc());
    assert!(
        responses(&client.ok("LSUB \"\" #news.comp.*"), "LSUB").contains(&"() \".\" #news.comp.empty".into())
    );
    client.ok("UNSUBSCRIBE #news.comp.empty");
    assert!(newsrc().contains("comp.empty! \n"), "{}", newsrc());
    refused(client, "SUBSCRIBE #news.comp.nosuch");
    client.ok("LOGOUT");
}
