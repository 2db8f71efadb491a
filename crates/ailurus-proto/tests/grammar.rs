//! Commands as clients write them, and what is printed read back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use ailurus_proto::imap::{
    Command, CommandBody, CommandName, FetchItem, Find, FlagWord, ListExtended, ListReturn, ListSelection,
    LiteralForm, Name, Numbering, Partial, Peek, Section, SectionText, StatusItems, StoreResponse,
    SyntaxError, Tag, parse_head, print, response,
};
use ailurus_proto::imap::{CommandLine, MAX_SEARCH_DEPTH, MessageSet, SearchReturn};
use ailurus_types::{
    CalendarDate, FlagOp, HeaderName, Keyword, MailboxName, SearchKey, SequenceSet, SetBound, SetError,
    SortCriterion, SortKey, SortOrder, SpecialUse, SpecialUses, SystemFlags, ThreadAlgorithm,
};
use common::{Outcome, Talk};
use proptest::prelude::*;

/// Returns what comes of one command, given without its tag and line end.
fn outcome(command: &[u8]) -> Outcome {
    let talk = Talk::with(&[b"t ", command, b"\r\n"].concat());
    assert_eq!(talk.outcomes.len(), 1, "{:?}", talk.outcomes);
    talk.outcomes[0].clone()
}

fn body(command: &str) -> CommandBody {
    match outcome(command.as_bytes()) {
        Outcome::Parsed(command, _) => command.body,
        Outcome::Refused(text) => panic!("{command}: {text}"),
    }
}

/// Returns the responses to a command that is refused.
fn refusal(command: &str) -> String {
    match outcome(command.as_bytes()) {
        Outcome::Refused(text) => text,
        Outcome::Parsed(command, _) => panic!("{command:?}"),
    }
}

fn missing(command: &str) {
    let words = command.split(' ').take(if command.starts_with("UID ") { 2 } else { 1 });
    let name = words.collect::<Vec<_>>().join(" ").to_uppercase();
    assert_eq!(refusal(command), format!("t BAD Missing or invalid argument to {name}\r\n"), "{command:?}");
}

fn mailbox(name: &str) -> MailboxName {
    MailboxName::from(name)
}

fn fetch_items(items: &str) -> Result<Vec<FetchItem>, SyntaxError> {
    match body(&format!("FETCH 1 {items}")) {
        CommandBody::Fetch(fetch) => fetch.items,
        other => panic!("{other:?}"),
    }
}

fn search(keys: &str) -> SearchKey {
    match body(&format!("SEARCH {keys}")) {
        CommandBody::Search(search) => search.program.key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn heads_say_what_is_missing() {
    let refused = |line: &str| match &Talk::with(format!("{line}\r\n").as_bytes()).outcomes[..] {
        [Outcome::Refused(text)] => text.clone(),
        other => panic!("{other:?}"),
    };
    for line in ["", " ", "a", " a NOOP", "a(b NOOP", "a\u{e9} NOOP", "* NOOP", "a\tNOOP", "a\0 NOOP"] {
        assert_eq!(refused(line), "* BAD Missing command tag\r\n", "{line:?}");
    }
    assert_eq!(refused("a "), "a BAD Missing command\r\n");
    assert_eq!(refused("a  NOOP"), "a BAD Command unrecognized: \r\n");
    assert_eq!(refused(&format!("{} NOOP", "a".repeat(51))), "* BAD Excessively long tag\r\n");
    assert_eq!(Talk::with(format!("{} NOOP\r\n", "a".repeat(50)).as_bytes()).outcomes.len(), 1);
    assert_eq!(refused("a fOo bar"), "a BAD Command unrecognized: FOO\r\n");
    assert_eq!(refused("a uid Noop"), "a BAD Command unrecognized: UID NOOP\r\n");
    assert_eq!(refused("a UID"), "a BAD Command unrecognized: UID\r\n");
    let echo = "X".repeat(80);
    assert_eq!(
        refused(&format!("a {}\u{7}", "x".repeat(99))),
        format!("a BAD Command unrecognized: {echo}\r\n")
    );
    assert_eq!(refused("a \u{7}\0\u{e9}"), "a BAD Command unrecognized: ????\r\n");
}

#[test]
fn every_command_has_its_name_in_any_case() {
    for name in CommandName::ALL {
        for line in [format!("a {name}"), format!("a {} x", name.as_str().to_lowercase())] {
            let line = CommandLine::from_text(line.as_bytes());
            assert_eq!(parse_head(&line).unwrap().name, Name::Known(*name));
        }
    }
}

#[test]
fn commands_without_arguments_take_none() {
    for (name, expected) in [
        ("CAPABILITY", CommandBody::Capability),
        ("NOOP", CommandBody::Noop),
        ("LOGOUT", CommandBody::Logout),
        ("STARTTLS", CommandBody::StartTls),
        ("CHECK", CommandBody::Check),
        ("CLOSE", CommandBody::Close),
        ("UNSELECT", CommandBody::Unselect),
        ("EXPUNGE", CommandBody::Expunge),
        ("IDLE", CommandBody::Idle),
        ("NAMESPACE", CommandBody::Namespace),
    ] {
        assert_eq!(body(name), expected);
        for surplus in ["", "x", "{3+}\r\nabc"] {
            let text = refusal(&format!("{name} {surplus}"));
            assert_eq!(text, format!("t BAD Argument given to {name} when none expected\r\n"));
        }
    }
}

#[test]
fn a_literal_is_asked_for_only_when_it_is_wanted() {
    for (input, continuations) in [
        ("a NOOP {3}\r\n", 0),
        ("a FOO {3}\r\n", 0),
        ("a CREATE x {3}\r\n", 0),
        ("a CREATE x{3}\r\n", 0),
        ("a CREATE \"x{3}\r\n", 0),
        ("a CREATE {3}\r\nabc\r\n", 1),
        ("a CREATE {3+}\r\nabc\r\n", 0),
        ("a RENAME {3}\r\nabc {3}\r\ndef\r\n", 2),
        ("(a CREATE {3}\r\n", 0),
    ] {
        let talk = Talk::with(input.as_bytes());
        assert_eq!((talk.continuations, talk.outcomes.len()), (continuations, 1), "{input:?}");
    }
}

#[test]
fn literals_have_limits() {
    let absurd = "* BAD Absurdly long client literal\r\nt BAD Missing or invalid argument to LIST\r\n";
    assert_eq!(refusal("LIST \"\" {10001}").as_str(), absurd);
    let talk = Talk::with(
        &[&b"t LIST \"\" {20000+}\r\n"[..], &[b'\n'; 20_000], b" {3+}\r\nabc\r\nb NOOP\r\n"].concat(),
    );
    assert_eq!(talk.outcomes[0], Outcome::Refused(absurd.into()));
    assert!(matches!(&talk.outcomes[1..], [Outcome::Parsed(command, _)] if command.tag.as_str() == "b"));
    let many = format!("SEARCH{}", " TEXT {1+}\r\nx".repeat(21));
    let too_many = "* BAD Too many literals in command\r\nt BAD Missing or invalid argument to SEARCH\r\n";
    assert_eq!(refusal(&many), too_many);
    assert!(
        matches!(search("TEXT {1+}\r\nx ".repeat(20).trim_end()), SearchKey::And(keys) if keys.len() == 20)
    );
}

#[test]
fn every_string_may_be_a_literal() {
    for command in [
        "LOGIN \"ada\" \"pw\"",
        "AUTHENTICATE \"PLAIN\" =",
        "SELECT \"a b\"",
        "EXAMINE \"a b\"",
        "BBOARD \"a b\"",
        "CREATE \"a b\"",
        "DELETE \"a b\"",
        "RENAME \"a\" \"b\"",
        "SUBSCRIBE \"a b\"",
        "SUBSCRIBE MAILBOX \"a b\"",
        "UNSUBSCRIBE \"a b\"",
        "LIST \"a\" \"%*\"",
        "RLIST \"a\" \"b\"",
        "LSUB \"\" \"b\"",
        "RLSUB \"a\" \"b\"",
        "FIND MAILBOXES \"b\"",
        "STATUS \"a b\" (MESSAGES UNSEEN)",
        "COPY 1:2 \"a b\"",
        "UID MOVE 1:2 \"a b\"",
        "ID (\"name\" \"x\" \"version\" NIL \"os\" \"y z\")",
        "SEARCH CHARSET \"UTF-8\" SUBJECT \"x y\" OR (FROM \"c\" KEYWORD \"k\") NOT HEADER \"a\" \"b\"",
        "UID SEARCH RETURN (MIN) TEXT \"x\" (BODY \"\") UNKEYWORD \"k\" UNSEEN",
        "FETCH 1 (FLAGS BODY.PEEK[HEADER.FIELDS (\"A\" \"B\")] UID BODY[1.HEADER.FIELDS.NOT (\"C\")]<0.5>)",
    ] {
        for plus in ["", "+"] {
            let mut parts = command.split('"');
            let mut literals = parts.next().unwrap().to_owned();
            while let (Some(text), Some(after)) = (parts.next(), parts.next()) {
                literals.push_str(&format!("{{{}{plus}}}\r\n{text}{after}", text.len()));
            }
            assert_eq!(body(&literals), body(command), "{literals}");
        }
    }
}

#[test]
fn login_takes_atoms_quoted_strings_and_literals() {
    let login = |command: &str| match body(command) {
        CommandBody::Login { user, password } => {
            (String::from_utf8(user).unwrap(), String::from_utf8(password.into_exposed()).unwrap())
        }
        other => panic!("{other:?}"),
    };
    let expected = ("ada".to_owned(), "ada pw".to_owned());
    assert_eq!(login("LOGIN ada \"ada pw\""), expected);
    assert_eq!(login("LOGIN {3}\r\nada {6+}\r\nada pw"), expected);
    assert_eq!(login("login \"a\\\"\\\\b\" p]}+"), ("a\"\\b".to_owned(), "p]}+".to_owned()));
    for bad in [
        "LOGIN",
        "LOGIN ",
        "LOGIN ada",
        "LOGIN ada ",
        "LOGIN  ada x",
        "LOGIN ada \"x",
        "LOGIN ada \"\\x\"",
        "LOGIN ada x\"y",
        "LOGIN ada caf\u{e9}",
        "LOGIN ada \"caf\u{e9}\"",
        "LOGIN \"a\"b c",
        "LOGIN a* b",
        "LOGIN ada {1+}\r\n\0",
        "LOGIN ada \"\0\"",
    ] {
        missing(bad);
    }
    assert_eq!(refusal("LOGIN a b c"), "t BAD Argument given to LOGIN when none expected\r\n");
    let debug = format!("{:?}", body("LOGIN ada secret"));
    assert!(!debug.contains("secret"), "{debug}");
}

#[test]
fn authenticate_may_carry_its_first_response() {
    let initial = |command: &str| match body(command) {
        CommandBody::Authenticate { mechanism, initial } => {
            (mechanism, initial.map(|text| text.into_exposed()))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(initial("AUTHENTICATE plain"), ("plain".into(), None));
    assert_eq!(initial("AUTHENTICATE plain "), ("plain".into(), None));
    assert_eq!(initial("AUTHENTICATE PLAIN ="), ("PLAIN".into(), Some(vec![])));
    assert_eq!(initial("AUTHENTICATE X AGFk/+=="), ("X".into(), Some(b"AGFk/+==".to_vec())));
    for bad in [
        "AUTHENTICATE",
        "AUTHENTICATE PLAIN !!!",
        "AUTHENTICATE PLAIN  ",
        "AUTHENTICATE PLAIN ==",
        "AUTHENTICATE P a===",
    ] {
        missing(bad);
    }
    let surplus = refusal("AUTHENTICATE PLAIN abc def");
    assert_eq!(surplus, "t BAD Argument given to AUTHENTICATE when none expected\r\n");
}

#[test]
fn mailbox_commands() {
    assert_eq!(body("SELECT inbox"), CommandBody::Select(mailbox("inbox")));
    assert_eq!(body("EXAMINE ~ben/x"), CommandBody::Examine(mailbox("~ben/x")));
    assert_eq!(body("BBOARD /foo"), CommandBody::Bboard(mailbox("#public/foo")));
    assert_eq!(body("CREATE \"\""), CommandBody::Create { name: mailbox(""), uses: None });
    assert_eq!(body("DELETE a]b"), CommandBody::Delete(mailbox("a]b")));
    assert_eq!(body("RENAME a b"), CommandBody::Rename { from: mailbox("a"), to: mailbox("b") });
    assert_eq!(body("SUBSCRIBE MAILBOX b"), CommandBody::Subscribe(mailbox("b")));
    assert_eq!(body("SUBSCRIBE mailbox"), CommandBody::Subscribe(mailbox("mailbox")));
    assert_eq!(body("UNSUBSCRIBE b"), CommandBody::Unsubscribe(mailbox("b")));
    assert_eq!(refusal("SUBSCRIBE a b"), "t BAD Argument given to SUBSCRIBE when none expected\r\n");
    assert_eq!(refusal("SUBSCRIBE MAILBOX a b"), "t BAD Argument given to SUBSCRIBE when none expected\r\n");
    for bad in
        ["SELECT", "SELECT ", "RENAME a", "RENAME a ", "SUBSCRIBE MAILBOX ", "CREATE a(b", "CREATE caf\u{e9}"]
    {
        missing(bad);
    }
}

#[test]
fn patterns_may_have_wildcards_and_eight_bits() {
    for (pattern, expected) in
        [("%", "%"), ("*", "*"), ("a/%\u{e9}*]", "a/%\u{e9}*]"), ("\"\"", ""), ("{2}\r\n* ", "* ")]
    {
        match body(&format!("LIST ref/ {pattern}")) {
            CommandBody::List(list) => {
                assert_eq!((list.reference, list.pattern), (b"ref/".to_vec(), expected.as_bytes().to_vec()));
            }
            other => panic!("{other:?}"),
        }
    }
    for bad in
        ["LIST", "LIST \"\"", "LIST \"\" ", "LIST (x) \"\" *", "LIST % *", "LSUB \"\" a\"b", "RLIST \"\" \\"]
    {
        missing(bad);
    }
    assert_eq!(refusal("LIST \"\" * RETURNS (X)"), "t BAD Argument given to LIST when none expected\r\n");
    assert_eq!(body("FIND mailboxes *"), CommandBody::Find(Find::Mailboxes(b"*".to_vec())));
    assert_eq!(body("FIND ALL.MAILBOXES a*"), CommandBody::Find(Find::AllMailboxes(b"a%".to_vec())));
    assert_eq!(refusal("FIND MAILBOXES a?"), "t NO IMAP2 ? and % wildcards not supported: a?\r\n");
    assert_eq!(refusal("FIND BBOARDS a"), "t BAD Command unrecognized: FIND BBOARDS\r\n");
    missing("FIND MAILBOXES");
}

#[test]
fn list_takes_options_and_several_patterns() {
    let extended = |command: &str| match body(command) {
        CommandBody::ListExtended(list) => *list,
        other => panic!("{command}: {other:?}"),
    };
    let list = extended(
        "LIST (SUBSCRIBED remote RecursiveMatch SPECIAL-USE) x (\"a b\" {1+}\r\nc d% *) RETURN (children STATUS (MESSAGES size) SUBSCRIBED SPECIAL-USE)",
    );
    let selection =
        ListSelection { subscribed: true, remote: true, recursive_match: true, special_use: true };
    let status = StatusItems { messages: true, size: true, ..StatusItems::default() };
    let returns = ListReturn { subscribed: true, children: true, special_use: true, status: Some(status) };
    let patterns = ["a b", "c", "d%", "*"].map(|pattern| pattern.as_bytes().to_vec()).to_vec();
    assert_eq!(list, ListExtended { selection, reference: b"x".to_vec(), patterns, returns });
    assert_eq!(
        extended("LIST () \"\" %"),
        ListExtended { patterns: vec![b"%".to_vec()], ..ListExtended::default() }
    );
    assert_eq!(extended("LIST (SUBSCRIBED SUBSCRIBED) \"\" \"\"").patterns, [b""]);
    assert_eq!(extended("LIST \"\" (INBOX)").patterns, [b"INBOX"]);
    assert_eq!(extended("LIST \"\" * RETURN ()").returns, ListReturn::default());
    assert!(matches!(body("LIST \"\" *"), CommandBody::List(_)));
    for bad in [
        "LIST (",
        "LIST ()",
        "LIST () x",
        "LIST (SUBSCRIBED",
        "LIST (FOO) x y",
        "LIST (RECURSIVEMATCH) x y",
        "LIST (REMOTE RECURSIVEMATCH) x y",
        "LIST (SUBSCRIBED  REMOTE) x y",
        "LIST ( SUBSCRIBED) x y",
        "LIST x (",
        "LIST x ()",
        "LIST x (a",
        "LIST x (a  b)",
        "LIST x y RETURN",
        "LIST x y RETURN (FOO)",
        "LIST x y RETURN (STATUS)",
        "LIST x y RETURN (STATUS ())",
        "LIST x y RETURN (STATUS (FOO))",
        "LIST x y RETURN (STATUS (MESSAGES)",
        "LIST x (y)z",
        "LIST ()x y",
    ] {
        missing(bad);
    }
    for surplus in ["LIST x y z", "LIST x y RETURN () z", "LIST x (y) z", "LIST x y (RETURN)"] {
        assert_eq!(refusal(surplus), "t BAD Argument given to LIST when none expected\r\n", "{surplus}");
    }
    let many = |patterns: usize| format!("LIST \"\" ({})", vec!["a"; patterns].join(" "));
    assert_eq!(extended(&many(100)).patterns.len(), 100);
    assert_eq!(refusal(&many(30_000)), "t BAD Excessively many patterns in LIST\r\n");
    missing("RLIST (SUBSCRIBED) x y");
}

#[test]
fn create_may_say_what_for() {
    let uses = |command: &str| match body(command) {
        CommandBody::Create { name, uses } => {
            assert_eq!(name, mailbox("a b"));
            uses
        }
        other => panic!("{command}: {other:?}"),
    };
    let both: SpecialUses = [SpecialUse::Drafts, SpecialUse::Sent].into_iter().collect();
    assert_eq!(uses("CREATE \"a b\""), None);
    assert_eq!(uses("CREATE \"a b\" (USE (\\Drafts \\sent))"), Some(Ok(both)));
    assert_eq!(uses("CREATE {3+}\r\na b (use ())"), Some(Ok(SpecialUses::default())));
    assert_eq!(uses("CREATE \"a b\" (USE (\\Sent \\Foo \\Bar))"), Some(Err("\\Foo".into())));
    for bad in [
        "CREATE x (",
        "CREATE x ()",
        "CREATE x (USE)",
        "CREATE x (USE ())x",
        "CREATE x (USE (Sent))",
        "CREATE x (USE (\\Sent)",
        "CREATE x (USE (\\Sent",
        "CREATE x (USE (\\))",
        "CREATE x (FOO ())",
    ] {
        missing(bad);
    }
    assert_eq!(refusal("CREATE x y"), "t BAD Argument given to CREATE when none expected\r\n");
}

#[test]
fn status_keeps_the_names_of_unknown_items() {
    match body("STATUS inbox (messages UIDNEXT foo Messages)") {
        CommandBody::Status(status) => {
            assert_eq!(status.mailbox, mailbox("inbox"));
            assert!(status.items.messages && status.items.uid_next && !status.items.recent);
            assert_eq!(status.unknown, ["FOO".into()]);
        }
        other => panic!("{other:?}"),
    }
    for bad in [
        "STATUS",
        "STATUS x",
        "STATUS x ()",
        "STATUS x MESSAGES",
        "STATUS x (RECENT",
        "STATUS x (RECENT) y",
        "STATUS x ( )",
    ] {
        missing(bad);
    }
}

#[test]
fn append_streams_each_message() {
    let talk = Talk::with(
        b"a APPEND saved-messages (\\Seen KeyX) \" 7-Feb-1994 21:52:25 -0800\" {6}\r\nabcdef (\\Draft) {3+}\r\nxyz \
          \"date\" {1}\r\nz\r\nb NOOP\r\n",
    );
    let [Outcome::Parsed(command, sizes), Outcome::Parsed(noop, _)] = &talk.outcomes[..] else {
        panic!("{:?}", talk.outcomes);
    };
    assert_eq!(noop.tag.as_str(), "b");
    assert_eq!((sizes.as_slice(), talk.continuations), (&[6, 3, 1][..], 2));
    let CommandBody::Append(start) = &command.body else { panic!("{command:?}") };
    assert_eq!(start.mailbox, mailbox("saved-messages"));
    let keyword = Keyword::new(b"KeyX").unwrap();
    assert_eq!(start.first.flags, [FlagWord::System(SystemFlags::SEEN), FlagWord::Keyword(keyword)]);
    assert_eq!(start.first.date.as_deref(), Some(&b" 7-Feb-1994 21:52:25 -0800"[..]));
    let named = Talk::with(b"a APPEND {3}\r\nbox {6}\r\nabcdef\r\n");
    assert!(matches!(&named.outcomes[..], [Outcome::Parsed(_, sizes)] if sizes == &[6]));
}

#[test]
fn append_takes_binary_literals() {
    let talk = Talk::with(
        b"a APPEND box (\\Seen) ~{3}\r\na\0c \"date\" ~{2+}\r\n\0\n {1+}\r\nx\r\nb APPEND box ~{3}x\r\n",
    );
    let [Outcome::Parsed(command, sizes), Outcome::Refused(refused)] = &talk.outcomes[..] else {
        panic!("{:?}", talk.outcomes);
    };
    assert_eq!(sizes, &[3, 2, 1]);
    let CommandBody::Append(start) = &command.body else { panic!("{command:?}") };
    assert_eq!(start.first.literal.form, LiteralForm::Literal8);
    assert_eq!(refused, "b BAD Argument given to APPEND when none expected\r\n");
    // Nothing else takes them; what comes with one is not taken for a command.
    let talk = Talk::with(b"a SELECT ~{5+}\r\nINBOX\r\nb LOGIN x~{3+}\r\na\0c ~{3}\r\nc NOOP\r\n");
    let refused = |text: &str| Outcome::Refused(format!("{text}\r\n"));
    assert_eq!(
        talk.outcomes[..2],
        [
            refused("a BAD Missing or invalid argument to SELECT"),
            refused("b BAD Missing or invalid argument to LOGIN")
        ]
    );
    assert!(talk.outcomes.len() == 3, "{:?}", talk.outcomes);
}

#[test]
fn append_says_what_is_missing() {
    missing("APPEND");
    missing("APPEND box");
    for (command, text) in [
        ("APPEND box ()", "BAD Missing literal in APPEND"),
        ("APPEND box (\\Seen", "BAD Missing literal in APPEND"),
        ("APPEND box \"string\"", "BAD Missing literal in APPEND"),
        ("APPEND box \"caf\u{e9}\" {3}", "BAD Missing literal in APPEND"),
        ("APPEND box text {3}", "BAD Missing literal in APPEND"),
        ("APPEND box ", "BAD Missing literal in APPEND"),
        ("APPEND box {x}", "BAD Missing message to APPEND"),
        ("APPEND box {", "BAD Missing message to APPEND"),
        ("APPEND box {3", "BAD Argument given to APPEND when none expected"),
        ("APPEND box {3}{5}", "BAD Argument given to APPEND when none expected"),
    ] {
        assert_eq!(refusal(command), format!("t {text}\r\n"), "{command:?}");
    }
    let sized = |size: &str| match body(&format!("APPEND nonesuch {{{size}}}")) {
        CommandBody::Append(start) => start.first.size().map_err(|error| error.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(sized("1073741824"), Ok(0x4000_0000));
    assert_eq!(sized("0"), Err("Empty message to APPEND".into()));
    for size in ["1073741825", "4294967295", "4294967297", "99999999999999999999999"] {
        assert_eq!(sized(size), Err("Excessively large message to APPEND".into()));
    }
    let talk = Talk::with(b"a APPEND box {3+}\r\nabcx {3+}\r\nabc\r\nb NOOP\r\n");
    assert_eq!(talk.outcomes[0], Outcome::Refused("a BAD Missing or invalid argument to APPEND\r\n".into()));
    assert_eq!(talk.outcomes.len(), 2);
}

#[test]
fn fetch_macros_and_items() {
    use FetchItem as Item;
    let full = [Item::Flags, Item::InternalDate, Item::Rfc822Size, Item::Envelope, Item::Body];
    assert_eq!(fetch_items("fast").unwrap(), full[..3]);
    assert_eq!(fetch_items("ALL").unwrap(), full[..4]);
    assert_eq!(fetch_items("FULL").unwrap(), full);
    assert_eq!(fetch_items("(flags Uid)").unwrap(), [Item::Flags, Item::Uid]);
    assert_eq!(
        fetch_items("(BODYSTRUCTURE RFC822 RFC822.HEADER RFC822.TEXT BODY)").unwrap(),
        [Item::BodyStructure, Item::Rfc822, Item::Rfc822Header, Item::Rfc822Text, Item::Body]
    );
    for (command, expected) in [
        ("UID FETCH 1 FLAGS", vec![Item::Uid, Item::Flags]),
        ("UID FETCH 1 (FLAGS UID)", vec![Item::Uid, Item::Flags]),
        ("UID FETCH 1 FAST", [&[Item::Uid][..], &full[..3]].concat()),
        ("UID FETCH 1 UID", vec![Item::Uid]),
    ] {
        match outcome(command.as_bytes()) {
            Outcome::Parsed(Command { name, body: CommandBody::Fetch(fetch), .. }, _) => {
                assert_eq!(name.numbering(), Numbering::Uid);
                assert_eq!(fetch.items.unwrap(), expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn fetch_sections_keep_their_words() {
    for (items, name) in [
        ("BODY[]", "BODY[]"),
        ("body.peek[header]", "BODY[HEADER]"),
        ("BODY[TEXT]<5.20>", "BODY[TEXT]<5>"),
        ("BODY[1]<0.4294967295>", "BODY[1]<0>"),
        ("BODY[1.2.3.MIME]", "BODY[1.2.3.MIME]"),
        ("BODY[4.2.HEADER]", "BODY[4.2.HEADER]"),
        ("(BODY[HEADER.FIELDS (subject \"x y\")])", "BODY[HEADER.FIELDS (SUBJECT \"X Y\")]"),
        ("BODY[1.HEADER.FIELDS.NOT (a {4+}\r\nfrom)]<1.2>", "BODY[1.HEADER.FIELDS.NOT (A from)]<1>"),
        ("BINARY[]", "BINARY[]"),
        ("(binary.peek[1.2]<3.4>)", "BINARY[1.2]<3>"),
        ("Binary.Size[4]", "BINARY.SIZE[4]"),
    ] {
        let found = fetch_items(items).unwrap();
        assert_eq!(found.len(), 1);
        let mut out = Vec::new();
        found[0].append_name(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), name);
    }
    let section = Section { part: vec![1, 2], text: SectionText::Text };
    let partial = Some(Partial { origin: 3, count: 4 });
    assert_eq!(fetch_items("BODY[1.2.TEXT]<3.4>").unwrap(), [FetchItem::Section(section, partial, Peek::No)]);
    assert!(
        fetch_items("BODY[]").unwrap()[0].sets_seen() && !fetch_items("BODY.PEEK[]").unwrap()[0].sets_seen()
    );
    let seen = fetch_items("(BINARY[1] BINARY.PEEK[1] BINARY.SIZE[1])").unwrap();
    assert_eq!(seen.iter().map(FetchItem::sets_seen).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn fetch_says_what_is_wrong_with_its_items() {
    for (items, text) in [
        ("()", "Bogus attribute list in FETCH"),
        ("(FLAGS BOGUS)", "Bogus attribute list in FETCH"),
        ("(ALL)", "Bogus attribute list in FETCH"),
        ("FLAGS)", "Bogus attribute list in FETCH"),
        ("BODY.PEEK", "Bogus attribute list in FETCH"),
        ("RFC822.PEEK", "Bogus attribute list in FETCH"),
        ("((FLAGS))", "Bogus attribute list in FETCH"),
        ("(FLAGS", "Unterminated FETCH attribute list"),
        ("(BODY[]", "Unterminated FETCH attribute list"),
        ("FLAGS UID", "Excessively complex FETCH attribute list"),
        ("(FLAGS) UID", "Excessively complex FETCH attribute list"),
        ("BODY[1", "Syntax error in section specifier"),
        ("BODY[1.]", "Syntax error in section specifier"),
        ("BODY[1..2]", "Syntax error in section specifier"),
        ("BODY[1 ]", "Syntax error in section specifier"),
        ("BODY[", "Unknown section text specifier"),
        ("BODY[FOO]", "Unknown section text specifier"),
        ("BODY[MIME]", "Unknown section text specifier"),
        ("BODY[1.MIMEX]", "Unknown section text specifier"),
        ("BODY[HEADER", "Section specifier not terminated"),
        ("BODY[TEXTX]", "Section specifier not terminated"),
        ("BODY[HEADER.FIELDS (X)", "Section specifier not terminated"),
        ("BODY[HEADER.FIELDS]", "Syntax error in header fields"),
        ("BODY[HEADER.FIELDS(X)]", "Syntax error in header fields"),
        ("BODY[HEADER.FIELDS ()]", "Syntax error in header fields"),
        ("BODY[HEADER.FIELDS (X", "Syntax error in header fields"),
        ("BODY[HEADER.FIELDS (X  Y)]", "Syntax error in header fields"),
        ("BODY[]<0>", "Syntax error in partial text specifier"),
        ("BODY[]<0.0>", "Syntax error in partial text specifier"),
        ("BODY[]<.5>", "Syntax error in partial text specifier"),
        ("BODY[]<0.5", "Syntax error in partial text specifier"),
        ("BODY[]<-1.5>", "Syntax error in partial text specifier"),
        ("BODY[]x", "Syntax error after section specifier"),
        ("BODY[])", "Syntax error after section specifier"),
        ("BINARY", "Bogus attribute list in FETCH"),
        ("BINARY[TEXT]", "Syntax error in binary specifier"),
        ("BINARY[1.MIME]", "Syntax error in binary specifier"),
        ("BINARY.PEEK[1.]", "Syntax error in binary specifier"),
        ("BINARY[", "Syntax error in binary specifier"),
        ("BINARY[1", "Syntax error in section specifier"),
        ("BINARY[1 ]", "Syntax error in section specifier"),
        ("BINARY[1]<0>", "Syntax error in partial text specifier"),
        ("BINARY.SIZE[1]<0.5>", "Syntax error in partial text specifier"),
        ("BINARY.SIZE[1]x", "Syntax error after section specifier"),
    ] {
        assert_eq!(fetch_items(items).map_err(|error| error.to_string()), Err(text.into()), "{items:?}");
    }
    for bad in ["FETCH", "FETCH 1", "FETCH 1 ", "UID FETCH 1", "FETCH 1 ("] {
        if bad.ends_with('(') {
            assert_eq!(fetch_items("(").unwrap_err().to_string(), "Missing or invalid argument to FETCH");
        } else {
            missing(bad);
        }
    }
    let list = |items: usize| format!("({})", vec!["UID"; items].join(" "));
    assert_eq!(fetch_items(&list(100)).unwrap().len(), 100);
    assert_eq!(fetch_items(&list(101)), Err(SyntaxError::ComplexItems));
}

#[test]
fn bogus_sequences_are_kept_for_the_moment_of_execution() {
    for (set, error) in [
        ("0", SetError::OutOfRange),
        ("1,x", SetError::Syntax),
        ("1:x", SetError::RangeInvalid),
        ("1:2x", SetError::RangeSyntax),
        ("1x", SetError::SequenceSyntax),
    ] {
        for command in [
            format!("FETCH {set} FLAGS"),
            format!("STORE {set} FLAGS x"),
            format!("COPY {set} x"),
            format!("MOVE {set} x"),
        ] {
            let found = match body(&command) {
                CommandBody::Fetch(fetch) => fetch.set,
                CommandBody::Store(store) => store.set,
                CommandBody::Copy { set, .. } | CommandBody::Move { set, .. } => set,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, Err(error));
        }
        assert_eq!(body(&format!("UID EXPUNGE {set}")), CommandBody::UidExpunge(Err(error)));
    }
    let text = SyntaxError::BogusSequence(CommandName::UidCopy, SetError::Syntax).to_string();
    assert_eq!(text, "Bogus sequence in UID COPY: Syntax error in sequence");
    assert_eq!(refusal("COPY 1 x y"), "t BAD Argument given to COPY when none expected\r\n");
    for bad in ["COPY", "COPY 1", "COPY 1 ", "UID MOVE 1", "UID EXPUNGE", "STORE 1 FLAGS", "STORE 1"] {
        missing(bad);
    }
}

#[test]
fn store_forms() {
    let store = |command: &str| match body(command) {
        CommandBody::Store(store) => (store.item, store.flags),
        other => panic!("{other:?}"),
    };
    let seen = FlagWord::System(SystemFlags::SEEN);
    let work = FlagWord::Keyword(Keyword::new(b"Work").unwrap());
    assert_eq!(
        store("STORE 1 +flags.silent (\\seen Work)"),
        (Ok((FlagOp::Add, StoreResponse::Silent)), Ok(vec![seen.clone(), work.clone()]))
    );
    assert_eq!(
        store("STORE 1 -FLAGS \\Seen Work"),
        (Ok((FlagOp::Remove, StoreResponse::Flags)), Ok(vec![seen, work]))
    );
    assert_eq!(store("UID STORE 1 FLAGS ()"), (Ok((FlagOp::Replace, StoreResponse::Flags)), Ok(vec![])));
    let (_, odd) = store("STORE 1 FLAGS (\\Recent bad]kw \\Bogus)");
    assert_eq!(
        odd.unwrap(),
        [
            FlagWord::UnknownSystem("\\Recent".into()),
            FlagWord::BadKeyword("bad]kw".into()),
            FlagWord::UnknownSystem("\\Bogus".into())
        ]
    );
    for flags in ["(\\Seen", "\\Seen)", "("] {
        assert_eq!(store(&format!("STORE 1 FLAGS {flags}")).1.unwrap_err().to_string(), "Bad flag list");
    }
    for item in ["BADFLAGS", "FLAGS.", "+FLAGSX", "+FLAGS.SILENTX", ".SILENT"] {
        let error = store(&format!("STORE 1 {item} x")).0.unwrap_err();
        assert_eq!(error.to_string(), "Bogus attribute list in STORE");
    }
}

#[test]
fn search_keys() {
    use SearchKey as Key;
    let from = |text: &str| Key::Address(HeaderName("FROM".into()), text.into());
    let day = CalendarDate { year: 1994, month: 2, day: 1 };
    // RFC 3501 §6.4.4, its example.
    assert_eq!(
        search("FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\""),
        Key::And(vec![Key::Has(SystemFlags::FLAGGED), Key::Since(day), Key::Not(Box::new(from("Smith")))])
    );
    assert_eq!(
        search("SINCE 1-Feb-1994 SINCE \" 1-Feb-94\""),
        Key::And(vec![Key::Since(day), Key::Since(day)])
    );
    assert_eq!(
        search("(SEEN (FLAGGED))"),
        Key::And(vec![Key::Has(SystemFlags::SEEN), Key::Has(SystemFlags::FLAGGED)])
    );
    assert_eq!(
        search("OR 1:2,* NOT UID 5 NEW"),
        Key::And(vec![
            Key::Or(
                Box::new(Key::Sequence(SequenceSet::parse(b"1:2,*").unwrap())),
                Box::new(Key::Not(Box::new(Key::Uid(SequenceSet::parse(b"5").unwrap()))))
            ),
            Key::New
        ])
    );
    assert_eq!(search("header {7+}\r\nSubject \"\""), Key::Header(HeaderName("Subject".into()), vec![]));
    assert_eq!(search("UNKEYWORD a]b"), Key::All);
    assert_eq!(search("KEYWORD a]b"), Key::Not(Box::new(Key::All)));
    assert_eq!(search("KEYWORD Work"), Key::Keyword(Keyword::new(b"Work").unwrap()));
    assert_eq!(search("(LARGER 5)"), Key::Larger(5));
    assert_eq!(search("YOUNGER 99999999999"), Key::Younger(u32::MAX));
    assert_eq!(search("TEXT {3+}\r\n)(\""), Key::Text(b")(\"".to_vec()));
    for (date, year) in
        [("69", 2069), ("70", 1970), ("5", 2005), ("1969", 1969), ("99999", 9999), ("9999999999", 9999)]
    {
        assert_eq!(search(&format!("on 31-dec-{date}")), Key::On(CalendarDate { year, month: 12, day: 31 }));
    }
    for bad in [
        "",
        " ALL",
        "ALL ",
        "ALL  ALL",
        "BOGUS",
        "ALL)",
        "(ALL",
        "()",
        "NOT",
        "NOT ",
        "OR ALL",
        "OR ALL ",
        "OR  ALL ALL",
        "0",
        "1:",
        "1,",
        "4294967296",
        "UID",
        "UID x",
        "UID 1x",
        "SINCE",
        "SINCE bogus",
        "SINCE 0-Jan-2020",
        "SINCE 32-Jan-2020",
        "SINCE 1-Jax-2020",
        "SINCE 1-Jan",
        "SINCE 1-Jan-",
        "SINCE \"1-Jan-2020",
        "SINCE 1-Jan-2020x",
        "SINCE 001-Jan-2020",
        "LARGER x",
        "LARGER 5x",
        "FROM",
        "FROM ",
        "FROM caf\u{e9}",
        "FROM \"caf\u{e9}\"",
        "HEADER X",
        "HEADER \"\" x",
        "MODSEQ 1",
        "RETURN (SAVE)",
        "1,$",
        "$,1",
        "UID $,1",
        "$$",
        "RETURN (MIN",
        "RETURN (MIN)",
        "RETURN (MIN)ALL",
        "RETURN (MIN  MAX) ALL",
        "CHARSET UTF-8",
        "CHARSET",
        "CHARSET UTF-8 ",
    ] {
        missing(&format!("SEARCH {bad}"));
    }
    missing("SEARCH");
    missing("UID SEARCH");
}

#[test]
fn search_returns_and_charsets() {
    let all = |command: &str| match body(command) {
        CommandBody::Search(search) => (search.returns, search.program.charset),
        other => panic!("{other:?}"),
    };
    assert_eq!(all("SEARCH ALL"), (None, None));
    assert_eq!(all("UID SEARCH CHARSET utf-8 ALL"), (None, Some("utf-8".into())));
    let returns = SearchReturn { min: true, count: true, ..SearchReturn::default() };
    assert_eq!(all("SEARCH return (COUNT Min) charset \"x\" ALL"), (Some(returns), Some("x".into())));
    assert_eq!(all("SEARCH RETURN () ALL").0, Some(SearchReturn { all: true, ..SearchReturn::default() }));
}

#[test]
fn saved_results_are_sets_and_keys() {
    assert_eq!(search("$"), SearchKey::Saved);
    assert_eq!(search("UID $"), SearchKey::Saved);
    assert_eq!(search("NOT ($)"), SearchKey::Not(Box::new(SearchKey::Saved)));
    let CommandBody::Search(args) = body("SEARCH RETURN (SAVE MIN) ALL") else { panic!("no SEARCH") };
    assert_eq!(args.returns, Some(SearchReturn { min: true, save: true, ..SearchReturn::default() }));
    for command in ["FETCH $ FLAGS", "UID STORE $ FLAGS ()", "COPY $ x", "UID MOVE $ x", "UID EXPUNGE $"] {
        let set = match body(command) {
            CommandBody::Fetch(args) => args.set,
            CommandBody::Store(args) => args.set,
            CommandBody::Copy { set, .. } | CommandBody::Move { set, .. } | CommandBody::UidExpunge(set) => {
                set
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(set, Ok(MessageSet::Saved), "{command}");
    }
}

#[test]
fn sort_and_thread() {
    use SortOrder::{Ascending, Descending};
    let sort = |command: &str| match body(command) {
        CommandBody::Sort(args) => args,
        other => panic!("{other:?}"),
    };
    let args = sort("UID SORT return (all COUNT) (subject REVERSE Date DISPLAYTO) \"utf-8\" UNSEEN 2:*");
    let key = |key, order| SortCriterion { key, order };
    assert_eq!(
        args.criteria,
        [
            key(SortKey::Subject, Ascending),
            key(SortKey::Date, Descending),
            key(SortKey::DisplayTo, Ascending)
        ]
    );
    assert_eq!(args.returns, Some(SearchReturn { all: true, count: true, ..SearchReturn::default() }));
    assert_eq!(args.program.charset.as_deref(), Some("utf-8"));
    assert!(matches!(args.program.key, SearchKey::And(keys) if keys.len() == 2));
    assert_eq!(sort(&format!("SORT ({}DATE) UTF-8 ALL", "DATE ".repeat(63))).criteria.len(), 64);
    let bogus = "t BAD Bogus attribute list in SORT\r\n";
    for bad in [
        "()",
        "(DATE",
        "( DATE)",
        "(DATE )",
        "(DATE  SIZE)",
        "(REVERSE)",
        "(REVERSE REVERSE DATE)",
        "(X)",
        "(DATE,SIZE)",
    ] {
        assert_eq!(refusal(&format!("SORT {bad} UTF-8 ALL")), bogus, "{bad}");
    }
    assert_eq!(refusal(&format!("SORT ({}DATE) UTF-8 ALL", "DATE ".repeat(64))), bogus);
    let CommandBody::Thread(args) = body("THREAD references US-ASCII ALL") else { panic!("no THREAD") };
    assert_eq!(args.algorithm, Some(ThreadAlgorithm::References));
    let CommandBody::Thread(args) = body("UID THREAD JWZ US-ASCII ALL") else { panic!("no THREAD") };
    assert_eq!(args.algorithm, None);
    for bad in [
        "SORT",
        "SORT ",
        "SORT DATE UTF-8 ALL",
        "SORT (DATE)",
        "SORT (DATE) ",
        "SORT (DATE) UTF-8",
        "SORT (DATE) UTF-8 ",
        "SORT (DATE)UTF-8 ALL",
        "SORT RETURN (SAVED) (DATE) UTF-8 ALL",
        "THREAD",
        "THREAD ",
        "THREAD REFS",
        "THREAD REFS UTF-8",
        "THREAD REFS UTF-8 BOGUS",
        "UID THREAD REFS (UTF-8) ALL",
    ] {
        missing(bad);
    }
}

#[test]
fn search_nests_500_deep() {
    for (open, close) in [("(", ")"), ("NOT ", ""), ("OR ALL ", "")] {
        let nested = |depth: usize| format!("SEARCH {}ALL{}", open.repeat(depth), close.repeat(depth));
        assert!(matches!(body(&nested(MAX_SEARCH_DEPTH)), CommandBody::Search(_)));
        missing(&nested(MAX_SEARCH_DEPTH + 1));
    }
    let mixed =
        |levels: usize| format!("SEARCH {}ALL{}", "OR (ALL) NOT (".repeat(levels), ")".repeat(levels));
    assert!(matches!(body(&mixed(166)), CommandBody::Search(_)));
    missing(&mixed(167));
    missing(&format!("SEARCH {}", "(".repeat(60_000)));
    missing(&format!("SEARCH {}ALL", "NOT ".repeat(16_000)));
    // Wide is not deep.
    assert!(
        matches!(search("(ALL) ".repeat(10_000).trim_end()), SearchKey::And(keys) if keys.len() == 10_000)
    );
}

#[test]
fn id_and_enable() {
    let id = |command: &str| match body(command) {
        CommandBody::Id(fields) => fields,
        other => panic!("{other:?}"),
    };
    assert_eq!(id("ID nil"), []);
    assert_eq!(id("ID ()"), []);
    assert_eq!(
        id("ID (\"name\" \"sodr\" \"version\" NIL \"x\" {1+}\r\n\")"),
        [
            (b"name".to_vec(), Some(b"sodr".to_vec())),
            (b"version".to_vec(), None),
            (b"x".to_vec(), Some(b"\"".to_vec()))
        ]
    );
    let pairs = |count: usize| format!("ID ({})", vec!["\"a\" \"b\""; count].join(" "));
    assert_eq!(id(&pairs(30)).len(), 30);
    missing(&pairs(31));
    for bad in [
        "ID",
        "ID x",
        "ID (\"a\")",
        "ID (\"a\" \"b\"",
        "ID (NIL \"b\")",
        "ID (\"a\"  \"b\")",
        "ID (\"a\" \"b\")x",
        "ID (\"a\" \"b\" )",
    ] {
        missing(bad);
    }
    assert_eq!(refusal("ID NIL x"), "t BAD Argument given to ID when none expected\r\n");
    assert_eq!(
        body("ENABLE condstore X-Good"),
        CommandBody::Enable(vec!["CONDSTORE".into(), "X-GOOD".into()])
    );
    for bad in ["ENABLE", "ENABLE ", "ENABLE a ", "ENABLE \"a\"", "ENABLE a  b"] {
        missing(bad);
    }
}

#[test]
fn overlong_lines_are_answered_with_their_tag() {
    let line = [&b"a1 SELECT "[..], &vec![b'x'; 70_000], b"\r\nb NOOP\r\n"].concat();
    let talk = Talk::with(&line);
    assert_eq!(talk.outcomes[0], Outcome::Refused("a1 BAD Command line too long\r\n".into()));
    assert_eq!(talk.outcomes.len(), 2);
    let talk = Talk::with(&[vec![b'x'; 70_000], b"\r\n".to_vec()].concat());
    assert_eq!(talk.outcomes, [Outcome::Refused("* BAD Command line too long\r\n".into())]);
}

/// Anything that could be a piece of a command.
fn token() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(vec![
            " ", " ", " ", "(", ")", "\"", "\\", "[", "]", "<", ">", ".", ",", ":", "*", "%", "{3}\r\nabc", "{2+}\r\n\0\n", "{x}", "{20000+}\r\n", "~", "~{4+}\r\n\0a\n\r", "BINARY[", "BINARY.SIZE[",
            "1", "0", "4294967296", "FETCH", "UID ", "BODY[", "BODY.PEEK[", "HEADER.FIELDS", "HEADER.FIELDS.NOT (", "MIME", "TEXT", "FLAGS", "ALL",
            "STORE", "+FLAGS.SILENT", "\\Seen", "SEARCH", "RETURN (", "CHARSET", "NOT ", "OR ", "SINCE ", "1-Feb-1994", "-Feb-", "LIST", "APPEND",
            "x", "INBOX", "LOGIN", "AUTHENTICATE", "=", "ID (", "NIL", "ENABLE", "STATUS", "FIND", "COPY", "MOVE", "EXPUNGE", "SUBSCRIBE MAILBOX", "RETURN (STATUS (", "(SUBSCRIBED ", "CREATE", "(USE (\\Sent",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_makes_the_parser_panic(tokens in prop::collection::vec(token(), 0..30)) {
        let talk = Talk::with(&[&b"a "[..], &tokens.concat(), b"\r\n\r\n"].concat());
        for outcome in &talk.outcomes {
            if let Outcome::Refused(text) = outcome {
                prop_assert!(text.ends_with("\r\n") && text.len() < 400);
                for line in text.strip_suffix("\r\n").unwrap().split("\r\n") {
                    prop_assert!(line.bytes().all(|octet| (0x20..0x7f).contains(&octet)), "{:?}", text);
                }
            }
        }
    }

    #[test]
    fn arbitrary_octets_do_not_either(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut splitter_only = Talk::with(&input);
        splitter_only.hear(b"\r\n");
        drop(CommandLine::from_text(&input));
        if let Ok(head) = parse_head(&CommandLine::from_text(&input)) {
            drop(head.parse());
        }
    }

    #[test]
    fn astrings_are_read_as_printed(name in prop::collection::vec(1u8..=255, 0..40)) {
        let mut printed = b"a CREATE ".to_vec();
        print::astring(&mut printed, &name);
        printed.extend(b"\r\n");
        let talk = Talk::with(&printed);
        // 8-bit octets and DEL: in quotes only the latter, neither in an atom.
        let Outcome::Parsed(command, _) = &talk.outcomes[0] else { panic!("{printed:?}") };
        prop_assert_eq!(&command.body, &CommandBody::Create { name: MailboxName::new(name), uses: None });
    }

    #[test]
    fn sequence_sets_are_read_as_printed(
        ranges in prop::collection::vec((0u32..5, any::<u32>(), any::<u32>()), 1..20)
    ) {
        let bound = |star: bool, number: u32| match ailurus_types::SeqNum::new(number) {
            Some(number) if !star => SetBound::Number(number),
            _ => SetBound::Star,
        };
        let ranges = ranges.iter().map(|(star, first, last)| (bound(*star == 1, *first), bound(*star == 2, *last)));
        let set = SequenceSet::new(ranges.collect());
        let CommandBody::Fetch(fetch) = body(&format!("FETCH {set} FLAGS")) else { panic!("no FETCH") };
        prop_assert_eq!(fetch.set, Ok(MessageSet::Numbers(set)));
    }

    #[test]
    fn sections_are_read_as_printed(
        part in prop::collection::vec(0u32.., 0..5),
        which in 0usize..6,
        names in prop::collection::vec("[!-~]{0,8}", 1..4),
        partial in prop::option::of((any::<u64>(), 1u64..)),
    ) {
        let names = names.iter().map(|name| name.to_uppercase().into_bytes()).collect::<Vec<_>>();
        let text = match which {
            0 => SectionText::Header,
            1 => SectionText::HeaderFields(names),
            2 => SectionText::HeaderFieldsNot(names),
            3 => SectionText::Text,
            4 if !part.is_empty() => SectionText::Mime,
            _ => SectionText::All,
        };
        let section = Section { part, text };
        let mut command = b"BODY[".to_vec();
        section.append_to(&mut command);
        command.push(b']');
        if let Some((origin, count)) = partial {
            command.extend(format!("<{origin}.{count}>").bytes());
        }
        let partial = partial.map(|(origin, count)| Partial { origin, count });
        let found = fetch_items(&String::from_utf8(command).unwrap().replace("}\r\n", "+}\r\n"));
        prop_assert_eq!(found, Ok(vec![FetchItem::Section(section, partial, Peek::No)]));
    }
}

#[test]
fn tags_print_as_they_came() {
    let mut out = Vec::new();
    let tag = Tag::new(b"A0]1}+").unwrap();
    response::tagged(&mut out, &tag, response::Status::Ok, None, "NOOP completed");
    assert_eq!(out, b"A0]1}+ OK NOOP completed\r\n");
    assert!(Tag::new(b"").is_none() && Tag::new(b"a b").is_none() && Tag::new(&[b'a'; 51]).is_none());
}
