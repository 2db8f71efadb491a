//! Users and mailboxes that have moved (RFC 2193, RFC 2221).

mod harness;

use ailurus_server::{Config, ImapUrl, LoginFailure, Referrals, Start};
use ailurus_store::memory::Memory;
use ailurus_store::{Mailboxes, Mode};
use ailurus_testkit::random::Random;
use ailurus_types::MailboxName;
use harness::{Harness, config};
use std::sync::Arc;

fn url(text: &str) -> ImapUrl {
    ImapUrl::parse(text).expect("a URL")
}

fn moved() -> Config {
    let referrals = Referrals {
        users: vec![("ada".into(), url("imap://server2/"))],
        mailboxes: vec![
            ("old".into(), url("imap://server3/archive")),
            ("gone".into(), url("imap://server4/")),
        ],
    };
    Config { referrals: Arc::new(referrals), ..config() }
}

fn session() -> Harness {
    let memory = Memory::new();
    memory.make(&"old/leaf".into());
    memory.make(&"here".into());
    memory.deliver(&MailboxName::inbox(), b"a: b\r\n\r\nc\r\n");
    let start = Start::PreAuthenticated { user: "ada".into(), mailboxes: memory.mailboxes() };
    let mut harness = Harness::start(&memory, moved(), start);
    harness.out.clear();
    harness.log.clear();
    harness
}

#[test]
fn commands_on_moved_mailboxes_are_referred() {
    let mut harness = session();
    let first = harness.ask("i STATUS old (MESSAGES)");
    let (start, rest) = first[0].split_once(";AUTH=*@").expect("a referral");
    let user = start.strip_prefix("i NO [REFERRAL imap://").expect("a referral").to_owned();
    assert_eq!(rest, "server3/archive] Mailbox has moved to another server");
    for (command, urls) in [
        ("SELECT old/leaf", "server3/archive/leaf"),
        ("EXAMINE gone/x", "server4/x"),
        ("CREATE old/new", "server3/archive/new"),
        ("DELETE old", "server3/archive"),
        ("SUBSCRIBE old", "server3/archive"),
        ("STATUS \"old/a b\" (MESSAGES)", "server3/archive/a%20b"),
        ("APPEND old {3}", "server3/archive"),
    ] {
        let expected =
            format!("a NO [REFERRAL imap://{user};AUTH=*@{urls}] Mailbox has moved to another server");
        assert_eq!(harness.ask(&format!("a {command}")), [expected], "{command}");
    }
    harness.ask("s SELECT INBOX");
    let pair = |from: &str, to: &str| {
        let (from, to) = (format!("imap://{user};AUTH=*@{from}"), format!("imap://{user};AUTH=*@{to}"));
        format!("a NO [REFERRAL {from} {to}] Mailbox has moved to another server")
    };
    assert_eq!(harness.ask("a RENAME old here/new"), [pair("server3/archive", "mail.example.test/here/new")]);
    assert_eq!(harness.ask("a RENAME old gone"), [pair("server3/archive", "server4/")]);
    assert!(harness.ask("a COPY 1 old")[0].starts_with("a NO [REFERRAL imap://"));
    assert!(harness.ask("a UID MOVE 1 old/x")[0].starts_with("a NO [REFERRAL imap://"));
    // What an APPEND sends at once is not taken for a command; a SELECT that is referred leaves nothing selected.
    let answer = harness.ask("a APPEND old {8+}\r\nx NOOP\r\n\r\nb NOOP");
    assert!(answer[0].starts_with("a NO [REFERRAL") && answer[1] == "b OK NOOP completed", "{answer:?}");
    harness.ask("a SELECT gone");
    assert_eq!(harness.ask("c FETCH 1 FLAGS"), ["c BAD Command unrecognized: FETCH"]);
}

#[test]
fn moved_mailboxes_are_told_to_those_who_can_follow() {
    let mut harness = session();
    let names = |lines: Vec<String>| -> Vec<String> {
        let listed = lines.iter().filter(|line| line.starts_with("* "));
        listed.filter_map(|line| line.rsplit_once(' ').map(|(_, name)| name.to_owned())).collect()
    };
    let of = |harness: &mut Harness, command: &str| names(harness.ask(&format!("a {command}")));
    assert!(!of(&mut harness, "LIST \"\" *").iter().any(|name| name.starts_with("old") || name == "gone"));
    assert!(of(&mut harness, "RLIST \"\" *").contains(&"gone".to_owned()));
    let lines = harness.ask("a LIST (REMOTE) \"\" gon%");
    assert_eq!(lines, ["* LIST (\\Remote) \"/\" gone", "a OK LIST completed"]);
    assert_eq!(of(&mut harness, "LIST () \"\" gon%"), Vec::<String>::new());
    let capabilities = harness.ask("a CAPABILITY").remove(0);
    assert!(capabilities.contains(" CHILDREN MAILBOX-REFERRALS BINARY "), "{capabilities}");
}

#[test]
fn the_anonymous_user_is_told_of_nobodys_mailboxes() {
    let memory = Memory::new();
    let mailboxes = memory.mailboxes();
    let mut environment = mailboxes.environment().clone();
    environment.mode = Mode::Anonymous;
    let mailboxes = Mailboxes::new(Arc::new(environment), vec![Arc::new(memory.clone())]);
    let mut referrals = (*moved().referrals).clone();
    referrals.mailboxes.push(("#public/lists".into(), url("imap://server5/lists")));
    let config = Config { referrals: Arc::new(referrals), ..config() };
    let mut harness =
        Harness::start(&memory, config, Start::PreAuthenticated { user: "nobody".into(), mailboxes });
    harness.out.clear();
    for (command, answer) in [
        ("EXAMINE #public/lists/x", "a NO [REFERRAL imap://server5/lists/x] <*>"),
        ("STATUS gone (MESSAGES)", "a NO [NONEXISTENT] <*>"),
        ("RLIST \"\" *", "* LIST (\\NoInferiors) NIL INBOX"),
        ("LIST (REMOTE) \"\" *", "* LIST (\\NoInferiors) NIL INBOX"),
        ("RLIST \"\" #public/*", "* LIST () \"/\" #public/lists"),
        ("LIST (REMOTE) \"\" #public/*", "* LIST (\\Remote) \"/\" #public/lists"),
    ] {
        let lines = harness.ask(&format!("a {command}"));
        let untagged = lines.iter().filter(|line| line.starts_with("* ")).count();
        assert_eq!(untagged, usize::from(answer.starts_with("* ")), "{command} {lines:?}");
        assert!(lines[0].starts_with(answer.trim_end_matches("<*>")), "{command} {lines:?}");
    }
}

#[test]
fn moved_users_are_told_where_to_go() {
    let mut harness = Harness::new(&Memory::new(), moved());
    let greeting = harness.line().expect("a greeting");
    assert!(greeting.contains(" SASL-IR LOGIN-REFERRALS"), "{greeting}");
    // Who checks passwords tells who has moved.
    assert!(harness.session.handle_input(b"a LOGIN ADA x\r\n", harness.now) > 0);
    let mut out = Vec::new();
    while harness.session.poll_output(&mut out) {}
    assert!(harness.session.poll_event().is_some());
    harness.session.handle_login(Err(LoginFailure::Moved), harness.now);
    harness.pump();
    assert_eq!(
        harness.line().as_deref(),
        Some("a NO [REFERRAL imap://ada;AUTH=*@server2/] Specified user has moved to another server")
    );
    assert_eq!(
        harness.log.back().map(String::as_str),
        Some("auth.notice Login of moved user=ADA host=mail.example.test [127.0.0.1]")
    );
    // A wrong password gets no referral.
    let answer = {
        harness.send(b"b LOGIN ada wrong\r\n");
        harness.pass(std::time::Duration::from_secs(5));
        harness.line()
    };
    assert_eq!(answer.as_deref(), Some("b NO [AUTHENTICATIONFAILED] Invalid login credentials"));
    let mut plain = Harness::new(&Memory::new(), config());
    let greeting = plain.line().expect("a greeting");
    assert!(!greeting.contains("REFERRALS"), "{greeting}");
}

#[test]
fn whatever_urls_and_names_are_made_of_a_referral_is_one_word() {
    let pieces: [&[u8]; 26] = [
        b"imap://",
        b"IMAPS://",
        b"imap:/",
        b"host",
        b"a.b-c",
        b":993",
        b":",
        b":99999",
        b"/",
        b"//",
        b"@",
        b";AUTH=*",
        b"%20",
        b"%",
        b"]",
        b"[",
        b" ",
        b"\r\n",
        b"\0",
        b"\"",
        b"&AOk-",
        b"&",
        b"\xc3\xa9",
        b"\xff",
        b"x",
        b"{3}",
    ];
    let mut random = Random::new(3);
    let mut made = |most: usize| -> Vec<u8> {
        let count = random.below(most);
        (0..count).flat_map(|_| random.pick(&pieces).to_vec()).collect()
    };
    let mut good = 0;
    for round in 0..20_000 {
        let start: &[u8] = if round % 2 == 0 { b"imap://host/" } else { b"" };
        let (text, user, below) = ([start, &made(6)].concat(), made(4), made(6));
        let Ok(url) = ImapUrl::parse(&String::from_utf8_lossy(&text)) else { continue };
        let referral = url.for_user(&user, &below);
        let odd = |octet: u8| !octet.is_ascii_graphic() || b"[]{}\"<>\\".contains(&octet);
        assert!(!referral.bytes().any(odd), "{referral}");
        let again = ImapUrl::parse(&referral).expect("one that can be followed");
        // Where a user is named, no other one is.
        let names_user = url.for_user(b"", b"") == url.for_user(b"x", b"") || !user.is_empty();
        let expected = if names_user { referral } else { url.for_user(b"other", &below) };
        assert_eq!(again.for_user(b"other", b""), expected);
        good += 1;
    }
    assert!(good > 1000, "{good}");
}
