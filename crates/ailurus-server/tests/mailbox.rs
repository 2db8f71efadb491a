//! Commands on mailboxes, one script for each.

mod harness;

use ailurus_server::Signal;
use ailurus_store::memory::{Memory, Step};
use ailurus_types::{Flags, MailboxName, SystemFlags, Uid, UidSet};
use harness::{Harness, fits, play};
use std::io::ErrorKind;
use std::time::Duration;

const LUNCH: &[u8] = b"Date: Mon, 7 Sep 2026 10:00:00 +0000\r\nFrom: Carol Example <carol@example.test>\r\n\
    To: ada@example.test\r\nSubject: Lunch plans\r\nMessage-ID: <m1@example.test>\r\n\r\nFirst body line.\r\nSecond line.\r\n";

const PARTS: &[u8] = b"Date: Tue, 8 Sep 2026 13:30:00 +0200\r\nFrom: Dave <Dave@example.test>\r\nSubject: Re: Lunch plans (fwd)\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=BB\r\n\r\n--BB\r\n\
    Content-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nCaf=E9 at noon?\r\n\
    --BB\r\nContent-Type: message/rfc822\r\n\r\nFrom: inner@example.test\r\nSubject: inner\r\n\r\ninner text\r\n--BB--\r\n";

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn memory() -> Memory {
    let memory = Memory::new();
    memory.deliver(&inbox(), LUNCH);
    memory.deliver(&inbox(), PARTS);
    memory.deliver(&inbox(), b"Subject: third\r\n\r\nno mime <\0> here\r\n");
    memory
}

const SELECT: &str = "C: s SELECT inbox\n\
    S: * 3 EXISTS\nS: * 3 RECENT\n\
    S: * OK [UIDVALIDITY <*>] UID validity status\nS: * OK [UIDNEXT 4] Predicted next UID\n\
    S: * FLAGS (\\Answered \\Flagged \\Deleted \\Draft \\Seen)\n\
    S: * OK [PERMANENTFLAGS (\\* \\Answered \\Flagged \\Deleted \\Draft \\Seen)] Permanent flags\n\
    S: * OK [UNSEEN 1] first unseen message in <*>\n\
    S: s OK [READ-WRITE] SELECT completed\n";

fn selected(script: &str) {
    play(memory, &format!("{SELECT}{script}"));
}

#[test]
fn select_and_examine() {
    selected(
        "C: a EXAMINE INBOX\n\
         S: * 3 EXISTS\nS: * 0 RECENT\nS: * OK [UIDVALIDITY <*>\nS: * OK [UIDNEXT 4] <*>\nS: * FLAGS <*>\n\
         S: * OK [PERMANENTFLAGS ()] Permanent flags\nS: * OK [UNSEEN 1] <*>\n\
         S: a OK [READ-ONLY] EXAMINE completed\n\
         C: b SELECT nonesuch\nS: b NO [NONEXISTENT] Can't open mailbox nonesuch: no such mailbox\n\
         C: c FETCH 1 FLAGS\nS: c BAD Command unrecognized: FETCH\n\
         C: d BBOARD foo\nS: d NO [NONEXISTENT] Can't open mailbox #public/foo: no such mailbox\n\
         C: e SELECT\nS: e BAD Missing or invalid argument to SELECT\n\
         C: f SELECT a b\nS: f BAD Argument given to SELECT when none expected\n",
    );
}

#[test]
fn fetch_items() {
    selected(
        "C: a FETCH 1 FAST\nS: * 1 FETCH (FLAGS (\\Recent) INTERNALDATE <*> RFC822.SIZE <*>)\nS: a OK FETCH completed\n\
         C: b FETCH 1:2 (UID FLAGS)\nS: * 1 FETCH (UID 1 FLAGS (\\Recent))\nS: * 2 FETCH (UID 2 FLAGS (\\Recent))\nS: b OK FETCH completed\n\
         C: c FETCH 1 ENVELOPE\n\
         S: * 1 FETCH (ENVELOPE (\"Mon, 7 Sep 2026 10:00:00 +0000\" \"Lunch plans\" ((\"Carol Example\" NIL \"carol\" \"example.test\")) ((\"Carol Example\" NIL \"carol\" \"example.test\")) ((\"Carol Example\" NIL \"carol\" \"example.test\")) ((NIL NIL \"ada\" \"example.test\")) NIL NIL NIL \"<m1@example.test>\"))\n\
         S: c OK FETCH completed\n\
         C: d FETCH 2 BODYSTRUCTURE\nS: * 2 FETCH (BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"ISO-8859-1\") NIL NIL \"QUOTED-PRINTABLE\" 15 0 NIL NIL NIL NIL)(\"MESSAGE\" \"RFC822\" <*>) \"MIXED\" (\"BOUNDARY\" \"BB\") NIL NIL NIL))\nS: d OK FETCH completed\n\
         C: e FETCH 1 BODY.PEEK[HEADER.FIELDS (subject from)]\nS: * 1 FETCH (BODY[HEADER.FIELDS (SUBJECT FROM)] {66}\n\
         S: From: Carol Example <carol@example.test>\nS: Subject: Lunch plans\nS: \nS: )\nS: e OK FETCH completed\n\
         C: f FETCH 1 BODY[]<5.20>\nS: * 1 FETCH (BODY[]<5> \" Mon, 7 Sep 2026 10:\")\nS: * 1 FETCH (FLAGS (\\Recent \\Seen))\nS: f OK FETCH completed\n\
         C: g FETCH 1 BODY[]<99999.20>\nS: * 1 FETCH (BODY[]<99999> \"\")\nS: g OK FETCH completed\n\
         C: h FETCH 2 BODY.PEEK[1]\nS: * 2 FETCH (BODY[1] \"Caf=E9 at noon?\")\nS: h OK FETCH completed\n\
         C: i FETCH 2 BODY.PEEK[2.HEADER]\nS: * 2 FETCH (BODY[2.HEADER] {44}\nS: From: inner@example.test\nS: Subject: inner\nS: \nS: )\nS: i OK FETCH completed\n\
         C: j FETCH 2 (BODY.PEEK[9] BODY.PEEK[2.TEXT])\nS: * 2 FETCH (BODY[9] \"\" BODY[2.TEXT] \"inner text\")\nS: j OK FETCH completed\n\
         C: k FETCH 3 RFC822\nS: * 3 FETCH (RFC822 {36}\nS: Subject: third\nS: \nS: no mime <<80>> here\nS:  FLAGS (\\Recent \\Seen))\nS: k OK FETCH completed\n\
         C: l FETCH 3 RFC822.TEXT\nS: * 3 FETCH (RFC822.TEXT {18}\nS: no mime <<80>> here\nS: )\nS: l OK FETCH completed\n\
         C: m FETCH 2 (FLAGS BODY[1])\nS: * 2 FETCH (FLAGS (\\Recent) BODY[1] \"Caf=E9 at noon?\")\nS: * 2 FETCH (FLAGS (\\Recent \\Seen))\nS: m OK FETCH completed\n\
         C: n UID FETCH 2:9 (FLAGS)\nS: * 2 FETCH (UID 2 FLAGS (\\Recent \\Seen))\nS: * 3 FETCH (UID 3 FLAGS (\\Recent \\Seen))\nS: n OK UID FETCH completed\n\
         C: o2 UID FETCH 9 FLAGS\nS: o2 OK UID FETCH completed\nC: o UID FETCH 9:* FLAGS\nS: * 3 FETCH (UID 3 <*>\nS: o OK UID FETCH completed\n\
         C: p FETCH 1 RFC822.HEADER\nS: * 1 FETCH (RFC822.HEADER {<*>}\nS: Date: <*>\nS: From: <*>\nS: To: <*>\nS: Subject: <*>\nS: Message-ID: <*>\nS: \nS: )\nS: p OK FETCH completed\n\
         C: q FETCH 1 BODY[1.MIME]\nS: * 1 FETCH (BODY[1.MIME] \"\")\nS: q OK FETCH completed\n",
    );
}

#[test]
fn fetch_and_store_errors() {
    for (line, answer) in [
        ("FETCH 1 (FLAGS", "Unterminated FETCH attribute list"),
        ("FETCH 1 ()", "Bogus attribute list in FETCH"),
        ("FETCH 1", "Missing or invalid argument to FETCH"),
        ("FETCH 1 FLAGS UID", "Excessively complex FETCH attribute list"),
        ("FETCH 1 (FLAGS BOGUS)", "Bogus attribute list in FETCH"),
        ("FETCH 1 BODY[FOO]", "Unknown section text specifier"),
        ("FETCH 1 BODY[1", "Syntax error in section specifier"),
        ("FETCH 1 BODY[]<0>", "Syntax error in partial text specifier"),
        ("FETCH 1 BODY[]<0.0>", "Syntax error in partial text specifier"),
        ("FETCH 1 BODY[MIME]", "Unknown section text specifier"),
        ("FETCH 9 FLAGS", "Bogus sequence in FETCH: Sequence out of range"),
        ("FETCH 0 UID", "Bogus sequence in FETCH: Sequence out of range"),
        ("FETCH 1,x UID", "Bogus sequence in FETCH: Syntax error in sequence"),
        ("FETCH 1 RFC822.PEEK", "Bogus attribute list in FETCH"),
        ("STORE 1 FLAGS", "Missing or invalid argument to STORE"),
        ("STORE 1 BADFLAGS (\\Seen)", "Bogus attribute list in STORE"),
        ("STORE 9 FLAGS (\\Seen)", "Bogus sequence in STORE: Sequence out of range"),
        ("COPY 77 INBOX", "Bogus sequence in COPY: Sequence out of range"),
        ("CHECK x", "Argument given to CHECK when none expected"),
        ("EXPUNGE x", "Argument given to EXPUNGE when none expected"),
        ("UID EXPUNGE", "Missing or invalid argument to UID EXPUNGE"),
        ("UID NOOP", "Command unrecognized: UID NOOP"),
        ("IDLE x", "Argument given to IDLE when none expected"),
        ("PARTIAL 3 RFC822 1 20", "Command unrecognized: PARTIAL"),
        ("LIST \"\" (INBOX", "Missing or invalid argument to LIST"),
        ("LIST \"\" * (CHILDREN)", "Argument given to LIST when none expected"),
        ("STATUS INBOX ()", "Missing or invalid argument to STATUS"),
        ("STATUS INBOX MESSAGES", "Missing or invalid argument to STATUS"),
        ("NOOP ", "Argument given to NOOP when none expected"),
        (" NOOP", "Command unrecognized: "),
        ("SEARCH", "Missing or invalid argument to SEARCH"),
        ("SEARCH BOGUS", "Missing or invalid argument to SEARCH"),
        ("SEARCH RETURN (SAVED) ALL", "Missing or invalid argument to SEARCH"),
    ] {
        selected(&format!("C: x {line}\nS: x BAD {answer}\n"));
    }
}

#[test]
fn store() {
    selected(
        "C: a STORE 1 +FLAGS (\\Flagged KeyA)\n\
         S: * FLAGS (KeyA \\Answered \\Flagged \\Deleted \\Draft \\Seen)\n\
         S: * OK [PERMANENTFLAGS (KeyA \\* \\Answered \\Flagged \\Deleted \\Draft \\Seen)] Permanent flags\n\
         S: * 1 FETCH (FLAGS (\\Recent \\Flagged KeyA))\nS: a OK STORE completed\n\
         C: b STORE 1 +FLAGS.SILENT (KeyB)\nS: * FLAGS (KeyA KeyB <*>\nS: * OK [PERMANENTFLAGS (KeyA KeyB \\* <*>\nS: b OK STORE completed\n\
         C: c STORE 1:2 FLAGS (\\Seen)\nS: * 1 FETCH (FLAGS (\\Recent \\Seen))\nS: * 2 FETCH (FLAGS (\\Recent \\Seen))\nS: c OK STORE completed\n\
         C: d STORE 1 -FLAGS.SILENT (\\Seen)\nS: d OK STORE completed\n\
         C: e STORE 1 +FLAGS (\\Bogus)\nS: * 1 FETCH (FLAGS (\\Recent))\nS: e OK Unsupported system flag: \\Bogus\n\
         C: f UID STORE 1 +FLAGS (\\Deleted)\nS: * 1 FETCH (FLAGS (\\Recent \\Deleted) UID 1)\nS: f OK UID STORE completed\n\
         C: g STORE 1 FLAGS ()\nS: * 1 FETCH (FLAGS (\\Recent))\nS: g OK STORE completed\n\
         C: h STORE 1 FLAGS \\Seen\nS: * 1 FETCH (FLAGS (\\Recent \\Seen))\nS: h OK STORE completed\n\
         C: i STORE 1 +FLAGS (bad]kw)\nS: * 1 FETCH (FLAGS (\\Recent \\Seen))\nS: i OK Unknown flag: bad]kw\n",
    );
}

#[test]
fn a_read_only_mailbox_is_changed_for_the_session_alone() {
    play(
        memory,
        "C: s EXAMINE INBOX\nS: * 3 EXISTS\nS: * <*> RECENT\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: s OK [READ-ONLY] EXAMINE completed\n\
         C: a STORE 1 +FLAGS (\\Seen \\Deleted)\nS: * 1 FETCH (FLAGS (<*>\\Seen \\Deleted))\nS: a OK STORE completed\n\
         C: b FETCH 1 FLAGS\nS: * 1 FETCH (FLAGS (<*>\\Seen \\Deleted))\nS: b OK FETCH completed\n\
         C: c SEARCH SEEN\nS: * SEARCH 1\nS: c OK SEARCH completed\n\
         C: d EXPUNGE\nS: d OK Expunge ignored on readonly mailbox\n\
         C: e FETCH 2 BODY[1]\nS: * 2 FETCH (BODY[1] \"Caf=E9 at noon?\")\nS: e OK FETCH completed\n\
         C: f MOVE 1 INBOX\nS: f NO [NOPERM] Can't move messages out of readonly mailbox\n\
         C: g CLOSE\nS: g OK CLOSE completed\n\
         C: h STATUS INBOX (MESSAGES UNSEEN)\nS: * STATUS INBOX (MESSAGES 3 UNSEEN 3)\nS: h OK STATUS completed\n",
    );
}

#[test]
fn expunge_and_close() {
    selected(
        "C: a EXPUNGE\nS: a OK No messages deleted, so no update needed\n\
         C: b STORE 1:2 +FLAGS.SILENT (\\Deleted)\nS: b OK STORE completed\n\
         C: c UID EXPUNGE 2:3\nS: * 2 EXPUNGE\nS: * 2 EXISTS\nS: * 2 RECENT\nS: c OK Expunged 1 messages\n\
         C: d EXPUNGE\nS: * 1 EXPUNGE\nS: * 1 EXISTS\nS: * 1 RECENT\nS: d OK Expunged 1 messages\n\
         C: e STORE 1 +FLAGS.SILENT (\\Deleted)\nS: e OK STORE completed\n\
         C: f UNSELECT\nS: f OK UNSELECT completed\n\
         C: g STATUS INBOX (MESSAGES)\nS: * STATUS INBOX (MESSAGES 1)\nS: g OK STATUS completed\n\
         C: h SELECT INBOX\nS: * 1 EXISTS\nS: * 0 RECENT\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: h OK [READ-WRITE] SELECT completed\n\
         C: i CLOSE\nS: i OK CLOSE completed\n\
         C: j STATUS INBOX (MESSAGES)\nS: * STATUS INBOX (MESSAGES 0)\nS: j OK STATUS completed\n\
         C: k CHECK\nS: k BAD Command unrecognized: CHECK\n",
    );
}

#[test]
fn append() {
    selected(
        "C: a APPEND nonesuch {33}\nS: * OK [TRYCREATE] Must create mailbox before append\nS: a NO [TRYCREATE] APPEND failed: Can't append to mailbox nonesuch: no such mailbox\n\
         C: b CREATE box\nS: b OK CREATE completed\n\
         C: c APPEND box {12}\nS: + Ready for argument\nC: a: b<0D><0A><0D><0A>body\nS: c OK [APPENDUID <*> 1] APPEND completed\n\
         C: d APPEND box (\\Seen KeyX) \" 7-Jan-2020 10:11:12 +0100\" {12+}\nC: a: b<0D><0A><0D><0A>body\nS: d OK [APPENDUID <*> 2] APPEND completed\n\
         C: e APPEND box (\\Flagged) {12}\nS: + Ready for argument\nC: a: b<0D><0A><0D><0A>body (\\Seen) {12}\nS: + Ready for argument\nC: a: b<0D><0A><0D><0A>body\nS: e OK [APPENDUID <*> 3:4] APPEND completed\n\
         C: f APPEND box\nS: f BAD Missing or invalid argument to APPEND\n\
         C: g APPEND box ()\nS: g BAD Missing literal in APPEND\n\
         C: h APPEND box {0}\nS: h NO Empty message to APPEND\n\
         C: i APPEND box {x}\nS: i BAD Missing message to APPEND\n\
         C: j APPEND box \"baddate\" {12}\nS: + Ready for argument\nC: a: b<0D><0A><0D><0A>body\nS: j NO Bad date in append: baddate\n\
         C: j2 NOOP\nS: j2 OK NOOP completed\n\
         C: k APPEND box {1073741825}\nS: k NO Excessively large message to APPEND\n\
         C: l APPEND box \"string\"\nS: l BAD Missing literal in APPEND\n\
         C: m STATUS box (MESSAGES UNSEEN)\nS: * STATUS box (MESSAGES 4 UNSEEN 2)\nS: m OK STATUS completed\n\
         C: n APPEND inbox {12+}\nC: a: b<0D><0A><0D><0A>body\nS: * 4 EXISTS\nS: * 4 RECENT\nS: n OK [APPENDUID <*> 4] APPEND completed\n\
         C: o FETCH 4 BODY.PEEK[TEXT]\nS: * 4 FETCH (BODY[TEXT] \"body\")\nS: o OK FETCH completed\n\
         C: p APPEND box {12+}\nC: a: b<0D><0A><0D><0A>body {12+}\nC: a: b<0D><0A><0D><0A>body junk\nS: p BAD Missing literal in APPEND\n\
         C: q STATUS box (MESSAGES)\nS: * STATUS box (MESSAGES 4)\nS: q OK STATUS completed\n\
         C: r SELECT box\nS: * 4 EXISTS\nS: * <*> RECENT\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: r OK <*>\n\
         C: t FETCH 2:3 (FLAGS INTERNALDATE)\nS: * 2 FETCH (FLAGS (\\Recent \\Seen KeyX) INTERNALDATE \" 7-Jan-2020 10:11:12 +0100\")\nS: * 3 FETCH (FLAGS (\\Recent \\Flagged) <*>\nS: t OK FETCH completed\n",
    );
}

#[test]
fn an_append_to_a_full_disk_is_told_behind_the_literal() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    memory.fail_next(Step::AppendWrite, ErrorKind::StorageFull);
    harness.play(
        "C: a APPEND inbox {12}\nS: + Ready for argument\nC: a: b<0D><0A><0D><0A>body {12+}\\\n\
         S: a NO [OVERQUOTA] Can't append to mailbox inbox: <*>\n",
    );
    harness.send(b"\r\n0123456789ab\r\nb NOOP\r\n");
    assert_eq!(harness.line().as_deref(), Some("b OK NOOP completed"));
    assert_eq!(memory.messages(&inbox()).len(), 3);
}

#[test]
fn copy_and_move() {
    selected(
        "C: a COPY 1 nonesuch\nS: * OK [TRYCREATE] Must create mailbox before copy\nS: a NO [TRYCREATE] COPY failed: No such destination mailbox\n\
         C: b CREATE box\nS: b OK CREATE completed\n\
         C: c STORE 2 +FLAGS.SILENT (\\Flagged Work)\nS: * FLAGS <*>\nS: * OK [PERMANENTFLAGS <*>\nS: c OK STORE completed\n\
         C: d COPY 1:2 box\nS: d OK [COPYUID <*> 1:2 1:2] COPY completed\n\
         C: e UID COPY 3 box\nS: e OK [COPYUID <*> 3 3] UID COPY completed\n\
         C: f UID COPY 99 box\nS: f OK UID COPY completed\n\
         C: g MOVE 1:2 box\nS: * OK [COPYUID <*> 1:2 4:5] MOVE copied messages\nS: * 1 EXPUNGE\nS: * 1 EXPUNGE\nS: * 1 EXISTS\nS: * 1 RECENT\nS: g OK MOVE completed\n\
         C: h UID MOVE 3 box\nS: * OK [COPYUID <*> 3 6] UID MOVE copied messages\nS: * 1 EXPUNGE\nS: * 0 EXISTS\nS: * 0 RECENT\nS: h OK UID MOVE completed\n\
         C: i COPY 1 box\nS: i NO Mailbox is empty\n\
         C: j SELECT box\nS: * 6 EXISTS\nS: * 6 RECENT\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: <*>\nS: j OK <*>\n\
         C: k FETCH 5 (FLAGS BODY.PEEK[1])\nS: * 5 FETCH (FLAGS (\\Recent \\Flagged Work) BODY[1] \"Caf=E9 at noon?\")\nS: k OK FETCH completed\n",
    );
}

#[test]
fn a_copy_that_fails_copies_nothing() {
    let memory = memory();
    memory.make(&MailboxName::from("box"));
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    memory.fail_next(Step::AppendCommit, ErrorKind::StorageFull);
    let answer = harness.ask("b MOVE 1:3 box");
    assert_eq!(answer.len(), 1);
    assert!(answer[0].starts_with("b NO [OVERQUOTA] Can't copy to mailbox box: "), "{answer:?}");
    assert!(memory.messages(&MailboxName::from("box")).is_empty());
    assert_eq!(memory.messages(&inbox()).len(), 3);
}

#[test]
fn search() {
    selected(
        "C: a SEARCH ALL\nS: * SEARCH 1 2 3\nS: a OK SEARCH completed\n\
         C: b SEARCH TEXT lunch\nS: * SEARCH 1 2\nS: b OK SEARCH completed\n\
         C: c SEARCH CHARSET X-NONE TEXT lunch\nS: c NO [BADCHARSET (US-ASCII UTF-8 UTF-7 ISO-8859-1 <*>)] Unknown charset: X-NONE\n\
         C: d UID SEARCH RETURN (MIN MAX COUNT ALL) 1:2\nS: * ESEARCH (TAG \"d\") UID MIN 1 MAX 2 ALL 1:2 COUNT 2\nS: d OK UID SEARCH completed\n\
         C: e SEARCH RETURN () UNDELETED\nS: * ESEARCH (TAG \"e\") ALL 1:3\nS: e OK SEARCH completed\n\
         C: f SEARCH RETURN (COUNT) TEXT nonesuch\nS: * ESEARCH (TAG \"f\") COUNT 0\nS: f OK SEARCH completed\n\
         C: g SEARCH SUBJECT {5}\nS: + Ready for argument\nC: lunch UNSEEN\nS: * SEARCH 1 2\nS: g OK SEARCH completed\n\
         C: h SEARCH NOT 2 OR 1 2\nS: * SEARCH 1\nS: h OK SEARCH completed\n\
         C: i SEARCH CHARSET ISO-8859-1 TEXT {4+}\nC: caf<E9>\nS: * SEARCH 2\nS: i OK SEARCH completed\n\
         C: j SEARCH BODY \"inner text\"\nS: * SEARCH 2\nS: j OK SEARCH completed\n\
         C: k SEARCH BODY \"Subject: inner\"\nS: * SEARCH\nS: k OK SEARCH completed\n\
         C: l SEARCH TEXT \"Subject: inner\"\nS: * SEARCH 2\nS: l OK SEARCH completed\n\
         C: m SEARCH UID *\nS: * SEARCH 3\nS: m OK SEARCH completed\n\
         C: n SEARCH 99\nS: * SEARCH\nS: n OK SEARCH completed\n\
         C: o SEARCH SENTON 8-Sep-2026 FROM dave LARGER 1 LARGER 2\nS: * SEARCH 2\nS: o OK SEARCH completed\n\
         C: p SEARCH TEXT cafe\nS: * SEARCH 2\nS: p OK SEARCH completed\n",
    );
}

#[test]
fn deep_searches_end() {
    let deep = |levels: usize| format!("{}ALL{}", "(".repeat(levels), ")".repeat(levels));
    selected(&format!(
        "C: a SEARCH {}\nS: * SEARCH 1 2 3\nS: a OK SEARCH completed\nC: b SEARCH {}\nS: b BAD Missing or invalid argument to SEARCH\n\
         C: c SEARCH {}ALL\nS: * SEARCH 1 2 3\nS: c OK SEARCH completed\n",
        deep(400),
        deep(600),
        "NOT ".repeat(400)
    ));
}

#[test]
fn mailboxes_are_made_listed_and_deleted() {
    selected(
        "C: a CREATE box\nS: a OK CREATE completed\n\
         C: b CREATE box\nS: b NO [ALREADYEXISTS] <*>\n\
         C: c CREATE INBOX\nS: c NO <*>Can't create INBOX\n\
         C: d LIST \"\" \"\"\nS: * LIST (\\NoSelect) \"/\" \"\"\nS: d OK LIST completed\n\
         C: e RENAME box box2\nS: e OK RENAME completed\n\
         C: f RENAME nonesuch x\nS: f NO [NONEXISTENT] Can't rename mailbox nonesuch: no such mailbox\n\
         C: g DELETE nonesuch\nS: g NO [NONEXISTENT] Can't delete mailbox nonesuch: no such mailbox\n\
         C: h DELETE inbox\nS: h NO [INUSE] Can not DELETE the selected mailbox\n\
         C: i RENAME INBOX x\nS: i NO [INUSE] Can not RENAME the selected mailbox\n\
         C: j DELETE box2\nS: j OK DELETE completed\n\
         C: k STATUS INBOX (MESSAGES UNSEEN)\nS: * NO CLIENT BUG DETECTED: STATUS on selected mailbox: INBOX\nS: * STATUS INBOX (MESSAGES 3 UNSEEN 3)\nS: k OK STATUS completed\n\
         C: l STATUS nonesuch (MESSAGES)\nS: l NO [NONEXISTENT] Can't get status of mailbox nonesuch: no such mailbox\n\
         C: m STATUS inbox (FOO)\nS: * NO Unknown status flag FOO\nS: * NO CLIENT BUG DETECTED: STATUS on selected mailbox: INBOX\nS: * STATUS INBOX ()\nS: m OK STATUS completed\n\
         C: n NAMESPACE\nS: * NAMESPACE ((\"\" \"/\")(\"#mhinbox\" NIL)(\"#mh/\" \"/\")) ((\"~\" \"/\")) ((\"#shared/\" \"/\")(\"#ftp/\" \"/\")(\"#news.\" \".\")(\"#public/\" \"/\"))\nS: n OK NAMESPACE completed\n\
         C: o LIST \"\" {20000}\nS: * BAD Absurdly long client literal\nS: o BAD Missing or invalid argument to LIST\n\
         L: mail.info Overlong (20000) client literal user=ada host=mail.example.test [127.0.0.1]\n\
         C: p ID NIL\nS: * ID (\"name\" \"Ailurus IMAP\" \"version\" \"0.1.0\")\nS: p OK ID completed\n\
         C: q ENABLE UTF8=ACCEPT\nS: * ENABLED\nS: q OK ENABLE completed\n\
         C: r LIST \"\" INBOX\nS: * LIST (<*>) <*> INBOX\nS: r OK LIST completed\n",
    );
}

#[test]
fn other_sessions_are_seen_and_expunges_wait() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    let two: UidSet = [Uid::new(2).expect("not zero")].into_iter().collect();
    memory.expunge(&inbox(), &two);
    memory.deliver(&inbox(), b"a: b\r\n\r\nnew\r\n");
    assert_eq!(
        harness.ask("b FETCH 3 UID"),
        ["* 3 FETCH (UID 3)", "* 4 EXISTS", "* 4 RECENT", "b OK FETCH completed"]
    );
    let gone = "Some of the requested messages no longer exist";
    assert_eq!(
        harness.ask("c FETCH 2:3 UID"),
        ["* 3 FETCH (UID 3)".to_owned(), format!("c NO [EXPUNGEISSUED] {gone}")]
    );
    assert_eq!(harness.ask("d SEARCH ALL"), ["* SEARCH 1 3 4", "d OK SEARCH completed"]);
    assert_eq!(harness.ask("e COPY 1:3 INBOX"), [format!("e NO [EXPUNGEISSUED] {gone}")]);
    assert_eq!(harness.ask("f NOOP"), ["* 2 EXPUNGE", "* 3 EXISTS", "* 3 RECENT", "f OK NOOP completed"]);
}

#[test]
fn uids_of_messages_that_are_gone_are_no_error() {
    let memory = memory();
    memory.make(&"box".into());
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    memory.expunge(&inbox(), &[Uid::new(2).expect("not zero")].into_iter().collect());
    assert_eq!(harness.ask("b FETCH 1 UID"), ["* 1 FETCH (UID 1)", "b OK FETCH completed"]);
    harness.play(
        "C: c UID STORE 1:2 +FLAGS.SILENT (\\Seen)\nS: c OK UID STORE completed\n\
         C: d UID COPY 1:2 box\nS: d OK [COPYUID <*> 1 1] UID COPY completed\n\
         C: e UID COPY 2 box\nS: e OK UID COPY completed\n\
         C: f UID FETCH 2 FLAGS\nS: f OK UID FETCH completed\n\
         C: g UID MOVE 1:2 box\nS: * OK [COPYUID <*> 1 2] UID MOVE copied messages\n\
         S: * 1 EXPUNGE\nS: * 1 EXPUNGE\nS: * 1 EXISTS\nS: * 1 RECENT\nS: g OK UID MOVE completed\n",
    );
}

#[test]
fn flags_of_the_session_alone_do_not_pass_to_other_messages() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a EXAMINE INBOX");
    assert_eq!(harness.ask("b STORE 1 +FLAGS.SILENT (\\Draft)"), ["b OK STORE completed"]);
    memory.expunge(&inbox(), &[Uid::MIN].into_iter().collect());
    memory.restart_uids(&inbox());
    harness.ask("c NOOP");
    let answer = harness.ask("d FETCH 1 (UID FLAGS)");
    assert!(fits("* 1 FETCH (UID 1 FLAGS (<*>))", &answer[0]) && !answer[0].contains("Draft"), "{answer:?}");
}

#[test]
fn what_others_did_to_flags_is_told_even_by_a_silent_store() {
    let flagged = Flags { system: SystemFlags::FLAGGED, ..Flags::default() };
    for (command, told) in [
        ("STORE 1:2 +FLAGS.SILENT (\\Seen)", Some("* 1 FETCH (FLAGS (\\Recent \\Seen \\Flagged))")),
        ("UID STORE 1 -FLAGS.SILENT (\\Seen)", Some("* 1 FETCH (FLAGS (\\Recent \\Flagged) UID 1)")),
        // Whatever they did is undone, and nothing differs from what the client foresees.
        ("STORE 1 FLAGS.SILENT (\\Draft)", None),
        ("STORE 1 -FLAGS.SILENT (\\Flagged)", None),
    ] {
        let memory = memory();
        let mut harness = Harness::preauthenticated(&memory);
        harness.ask("a SELECT INBOX");
        memory.set_flags(&inbox(), Uid::MIN, flagged);
        let answer = harness.ask(&format!("b {command}"));
        assert_eq!(answer.len(), 1 + usize::from(told.is_some()), "{command}: {answer:?}");
        assert_eq!(told.unwrap_or(&answer[0]), answer[0]);
    }
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    memory.set_flags(&inbox(), Uid::MIN, flagged);
    let answer = harness.ask("b FETCH 1:2 (UID RFC822)");
    assert_eq!(answer.iter().filter(|line| line.contains(" FLAGS (\\Recent \\Seen))")).count(), 2);
    assert!(answer.contains(&"* 1 FETCH (FLAGS (\\Recent \\Seen \\Flagged))".to_owned()), "{answer:?}");
}

#[test]
fn idle_tells_at_once_and_keeps_the_connection_alive() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.play(SELECT);
    assert!(harness.session.wake().is_none());
    harness.play("C: b IDLE\nS: + Waiting for DONE\nT: 59\nT: 1\nS: * OK Timeout in 30 minutes\n");
    assert!(harness.session.wake().is_some());
    memory.deliver(&inbox(), b"a: b\r\n\r\nnew\r\n");
    harness.session.handle_wake(harness.now);
    harness.pump();
    harness.play("S: * 4 EXISTS\nS: * 4 RECENT\nT: 60\nT: 60\nS: * OK Timeout in 28 minutes\nC: done\nS: b OK IDLE completed\n");
    harness.play("C: c IDLE\nS: + Waiting for DONE\nC: NOPE\nS: c BAD Bogus IDLE continuation\n");
}

#[test]
fn idle_ends_after_31_minutes_with_a_nudge_before() {
    for done in [false, true] {
        let mut harness = Harness::preauthenticated(&memory());
        harness.play(SELECT);
        harness.play("C: b IDLE\nS: + Waiting for DONE\n");
        for minutes in (4..=30).rev().step_by(2) {
            harness.pass(Duration::from_secs(120));
            assert_eq!(harness.line(), Some(format!("* OK Timeout in {minutes} minutes")));
        }
        harness.play("T: 60\nS: * OK Timeout in 2 minutes\nS: * 4 EXISTS\nS: * 4 RECENT\n");
        if done {
            harness.play("C: DONE\nS: * 4 EXPUNGE\nS: * 3 EXISTS\nS: * 3 RECENT\nS: b OK IDLE completed\n");
            harness.play("C: c NOOP\nS: c OK NOOP completed\n");
        } else {
            harness.play(
                "T: 60\nS: * 4 EXISTS\nS: * 4 RECENT\nT: 60\nS: * BYE Autologout (idle for too long)\nX: 1\n",
            );
        }
    }
}

#[test]
fn no_mail_is_made_up_while_the_client_has_not_heard_of_all() {
    let memory = Memory::new();
    for _ in 0..20_000 {
        memory.deliver(&inbox(), b"a: b\r\n\r\nc\r\n");
    }
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    harness.send(b"b IDLE\r\n");
    harness.out.clear();
    memory.expunge(&inbox(), &(1..=15_000).filter_map(Uid::new).collect());
    harness.session.handle_wake(harness.now);
    // Half an hour in which the client takes nothing.
    for _ in 0..30 {
        harness.now += Duration::from_secs(60);
        harness.session.handle_timeout(harness.now);
    }
    harness.pump();
    let mut exists: i64 = 20_000;
    for line in harness.ask("DONE") {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [_, number, "EXPUNGE"] => {
                assert!(number.parse::<i64>().is_ok_and(|number| number <= exists), "{exists}: {line}");
                exists -= 1;
            }
            [_, number, "EXISTS"] => {
                let number = number.parse().expect("a number");
                assert!(number >= exists, "{exists}: {line}");
                exists = number;
            }
            _ => {}
        }
    }
    assert_eq!(exists, 5_000);
}

#[test]
fn a_lost_mailbox_ends_the_session() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    memory.fail_next(Step::Refresh, ErrorKind::Other);
    let answer = harness.ask("b NOOP");
    assert!(answer[0].starts_with("b OK Disk error: "), "{answer:?}");
    assert_eq!(harness.ask("c NOOP"), ["c OK NOOP completed"]);
    harness.session.handle_signal(Signal::Kiss, harness.now);
    harness.pump();
    assert_eq!(harness.line().as_deref(), Some("* BYE Killed (lost mailbox lock)"));
}

#[test]
fn a_message_that_cannot_be_read_is_left_out() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    memory.fail_next(Step::Read, ErrorKind::Other);
    let answer = harness.ask("b FETCH 1:2 (UID BODY.PEEK[1])");
    assert_eq!(answer[0], "* 1 FETCH (UID 1)");
    assert_eq!(answer[1], "* 2 FETCH (UID 2 BODY[1] \"Caf=E9 at noon?\")");
    assert!(answer[2].starts_with("b NO Can't read mailbox INBOX: "), "{answer:?}");
    // What nobody got to see is not seen.
    memory.fail_next(Step::Read, ErrorKind::Other);
    let answer = harness.ask("c FETCH 1:2 (UID BODY[1])");
    assert_eq!(answer[..2], ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2 BODY[1] \"Caf=E9 at noon?\")"]);
    assert_eq!(answer[2], "* 2 FETCH (FLAGS (\\Recent \\Seen))", "{answer:?}");
}

#[test]
fn parts_of_the_message_fetched_last_are_known() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    let structure = harness.ask("b FETCH 2 BODYSTRUCTURE");
    // A large part that comes in pieces must not cost a pass over the message for each of them.
    memory.fail_next(Step::Read, ErrorKind::Other);
    assert_eq!(harness.ask("b FETCH 2 BODYSTRUCTURE"), structure);
    let answer = harness.ask("c FETCH 1 BODYSTRUCTURE");
    assert!(answer[0].starts_with("c NO Can't read mailbox"), "{answer:?}");
    harness.play(
        "C: d FETCH 2 BODY.PEEK[1]\nS: * 2 FETCH (BODY[1] \"Caf=E9 at noon?\")\nS: d OK FETCH completed\n",
    );
    // Not those of another message that has the same UID after a restart.
    memory.expunge(&inbox(), &[Uid::MIN].into_iter().collect());
    memory.restart_uids(&inbox());
    harness.ask("e NOOP");
    harness.play(
        "C: f UID FETCH 2 BODY.PEEK[1]\nS: * 2 FETCH (UID 2 BODY[1] {18}\nS: no mime <<80>> here\nS: )\nS: f OK UID FETCH completed\n",
    );
}

#[test]
fn a_flag_that_was_told_and_could_not_be_set_is_taken_back() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    memory.fail_next(Step::Edit, ErrorKind::StorageFull);
    let answer = harness.ask("b FETCH 1 RFC822");
    assert_eq!(answer[answer.len() - 3], " FLAGS (\\Recent \\Seen))");
    assert_eq!(answer[answer.len() - 2], "* 1 FETCH (FLAGS (\\Recent))");
    assert!(answer[answer.len() - 1].starts_with("b OK Disk error: "), "{answer:?}");
}

#[test]
fn numbers_of_before_a_restart_of_uids_change_nothing() {
    let deleted = SystemFlags::DELETED;
    for command in [
        "STORE 1 +FLAGS.SILENT (\\Deleted)",
        "UID STORE 1:* FLAGS (\\Deleted)",
        "MOVE 1 box",
        "UID EXPUNGE 1",
    ] {
        // A FETCH lets the session know of the restart, and the client not yet.
        for before in [Some("FETCH 1 UID"), None] {
            let memory = memory();
            memory.make(&"box".into());
            let mut harness = Harness::preauthenticated(&memory);
            harness.ask("a SELECT INBOX");
            memory.expunge(&inbox(), &[Uid::MIN].into_iter().collect());
            memory.restart_uids(&inbox());
            if command == "UID EXPUNGE 1" {
                memory.set_flags(&inbox(), Uid::MIN, Flags { system: deleted, ..Flags::default() });
            }
            before.map(|before| harness.ask(&format!("b {before}")));
            let answer = harness.ask(&format!("c {command}"));
            let left = memory.messages(&inbox());
            assert_eq!(left.len(), 2, "{before:?}, {command}: {answer:?}");
            let touched = left.iter().filter(|(info, _)| info.flags().system.contains(deleted)).count();
            assert_eq!(touched, usize::from(command == "UID EXPUNGE 1"), "{before:?}, {command}: {answer:?}");
        }
    }
}
