//! SORT, THREAD, and what a search saves.

mod harness;

use ailurus_store::memory::Memory;
use ailurus_types::{MailboxName, Uid, UidSet};
use harness::{Harness, play};
use std::time::Instant;

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

/// Five messages: a conversation, and two more.
fn memory() -> Memory {
    let memory = Memory::new();
    for message in [
        "Date: Mon, 7 Sep 2026 10:00:00 +0000\r\nFrom: carol@example.test\r\nTo: ada@example.test\r\nSubject: Lunch\r\nMessage-ID: <1@x>\r\n\r\nNoon?\r\n",
        "Date: Mon, 7 Sep 2026 09:00:00 -0500\r\nFrom: Zoe <alan@example.test>\r\nTo: carol@example.test\r\nSubject: Re: LUNCH\r\nMessage-ID: <2@x>\r\nReferences: <1@x>\r\n\r\nYes, at noon, gladly.\r\n",
        "Date: Mon, 7 Sep 2026 11:00:00 +0000\r\nFrom: =?UTF-8?Q?=C3=89rin?= <Bob@example.test>\r\nCc: zed@example.test\r\nSubject: =?UTF-8?Q?=C3=A9clair?=\r\n\r\nx\r\n",
        "Date: none\r\nFrom: \"amy\" <zed@example.test>\r\nSubject: [list] ECLAIR (fwd)\r\nIn-Reply-To: <9@x>\r\n\r\nxx\r\n",
        "Subject: Fwd: lunch\r\nReferences: <1@x> <2@x>\r\nDate: 8 Sep 2026 00:00:00 +0000\r\n\r\n\r\n",
    ] {
        memory.deliver(&inbox(), message.as_bytes());
    }
    memory
}

fn selected(script: &str) {
    let select = "C: s SELECT INBOX\nS: * 5 EXISTS\nS: * 5 RECENT\nS: * OK <*>\nS: * OK <*>\nS: * FLAGS <*>\nS: * OK <*>\nS: * OK <*>\nS: s OK <*>\n";
    play(memory, &format!("{select}{script}"));
}

#[test]
fn sort_by_each_key() {
    for (criteria, order) in [
        ("DATE", "4 1 3 2 5"),
        ("REVERSE DATE", "5 2 3 1 4"),
        ("ARRIVAL", "1 2 3 4 5"),
        ("REVERSE ARRIVAL", "1 2 3 4 5"),
        // The empty string is before all others; letter case does not matter; accents come behind.
        ("FROM", "5 2 3 1 4"),
        ("REVERSE FROM", "4 1 3 2 5"),
        ("TO", "3 4 5 1 2"),
        ("CC", "1 2 4 5 3"),
        ("SUBJECT", "4 3 1 2 5"),
        ("REVERSE SUBJECT", "1 2 5 3 4"),
        ("SUBJECT REVERSE DATE", "4 3 5 2 1"),
        ("subject reverse subject date", "4 3 1 2 5"),
        ("SIZE", "5 4 1 3 2"),
        ("DISPLAYFROM", "5 4 1 3 2"),
        ("REVERSE DISPLAYTO DATE", "2 1 4 3 5"),
    ] {
        selected(&format!("C: a SORT ({criteria}) UTF-8 ALL\nS: * SORT {order}\nS: a OK SORT completed\n"));
    }
}

#[test]
fn sort_of_what_is_found() {
    selected(
        "C: a SORT (REVERSE DATE) US-ASCII SUBJECT lunch NOT FROM alan\nS: * SORT 5 1\nS: a OK SORT completed\n\
         C: b SORT (DATE) UTF-8 TEXT noon\nS: * SORT 1 2\nS: b OK SORT completed\n\
         C: c SORT (DATE) UTF-8 TEXT nonesuch\nS: * SORT\nS: c OK SORT completed\n\
         C: d UID SORT (SIZE) UTF-8 UID 2:4\nS: * SORT 4 3 2\nS: d OK UID SORT completed\n\
         C: e SORT (DATE) X-NONE ALL\nS: * SORT\nS: e NO [BADCHARSET (<*>)] Unknown charset: X-NONE\n\
         C: f SORT RETURN () (REVERSE DATE) X-NONE ALL\nS: f NO [BADCHARSET (<*>)] Unknown charset: X-NONE\n\
         C: g UID SORT (DATE) iso-8859-1 SUBJECT {6+}\nC: <E9>clair\nS: * SORT 3\nS: g OK UID SORT completed\n",
    );
}

#[test]
fn extended_sort() {
    selected(
        "C: a SORT RETURN () (DATE) UTF-8 ALL\nS: * ESEARCH (TAG \"a\") ALL 4,1,3,2,5\nS: a OK SORT completed\n\
         C: b UID SORT RETURN (MIN MAX COUNT ALL) (FROM) UTF-8 ALL\nS: * ESEARCH (TAG \"b\") UID MIN 5 MAX 4 ALL 5,2:3,1,4 COUNT 5\nS: b OK UID SORT completed\n\
         C: c SORT RETURN (MIN) (REVERSE DATE) UTF-8 2:3\nS: * ESEARCH (TAG \"c\") MIN 2\nS: c OK SORT completed\n\
         C: d SORT RETURN (MAX ALL COUNT) (DATE) UTF-8 TEXT nonesuch\nS: * ESEARCH (TAG \"d\") COUNT 0\nS: d OK SORT completed\n\
         C: f SORT RETURN (PARTIAL 1:2) (DATE) UTF-8 ALL\nS: f BAD Missing or invalid argument to SORT\n",
    );
}

#[test]
fn threads_of_each_kind() {
    selected(
        "C: a THREAD REFERENCES UTF-8 ALL\nS: * THREAD (4)(1 2 5)(3)\nS: a OK THREAD completed\n\
         C: b THREAD ORDEREDSUBJECT UTF-8 ALL\nS: * THREAD (4)(1 (2)(5))(3)\nS: b OK THREAD completed\n\
         C: c UID THREAD refs UTF-8 ALL\nS: * THREAD (3)(4)(1 2 5)\nS: c OK UID THREAD completed\n\
         C: d THREAD REFERENCES UTF-8 NOT 2\nS: * THREAD (4)(1 5)(3)\nS: d OK THREAD completed\n\
         C: e THREAD REFERENCES UTF-8 TEXT nonesuch\nS: * THREAD\nS: e OK THREAD completed\n\
         C: f THREAD JWZ UTF-8 ALL\nS: * THREAD\nS: f NO No such thread type\n\
         C: g THREAD REFERENCES X-NONE ALL\nS: * THREAD\nS: g NO [BADCHARSET (<*>)] Unknown charset: X-NONE\n",
    );
}

#[test]
fn arguments_that_are_wrong() {
    for (line, answer) in [
        ("SORT", "Missing or invalid argument to SORT"),
        ("SORT DATE UTF-8 ALL", "Missing or invalid argument to SORT"),
        ("SORT () UTF-8 ALL", "Bogus attribute list in SORT"),
        ("SORT (DATE", "Bogus attribute list in SORT"),
        ("SORT (DATE ) UTF-8 ALL", "Bogus attribute list in SORT"),
        ("SORT (REVERSE) UTF-8 ALL", "Bogus attribute list in SORT"),
        ("SORT (REVERSE REVERSE DATE) UTF-8 ALL", "Bogus attribute list in SORT"),
        ("UID SORT (BOGUS) UTF-8 ALL", "Bogus attribute list in UID SORT"),
        ("SORT (DATE) UTF-8", "Missing or invalid argument to SORT"),
        ("SORT (DATE)UTF-8 ALL", "Missing or invalid argument to SORT"),
        ("SORT (DATE) ALL", "Missing or invalid argument to SORT"),
        ("THREAD", "Missing or invalid argument to THREAD"),
        ("THREAD REFERENCES", "Missing or invalid argument to THREAD"),
        ("THREAD REFERENCES UTF-8", "Missing or invalid argument to THREAD"),
        ("UID THREAD REFERENCES UTF-8 BOGUS", "Missing or invalid argument to UID THREAD"),
        ("FETCH $,1 FLAGS", "Bogus sequence in FETCH: Syntax error in sequence"),
        ("FETCH 1,$ FLAGS", "Bogus sequence in FETCH: Syntax error in sequence"),
        ("SEARCH 1,$", "Missing or invalid argument to SEARCH"),
    ] {
        selected(&format!("C: x {line}\nS: x BAD {answer}\n"));
    }
}

#[test]
fn a_saved_result_is_a_set() {
    selected(
        "C: a FETCH $ FLAGS\nS: a OK FETCH completed\n\
         C: b SEARCH RETURN (SAVE) SUBJECT lunch\nS: b OK SEARCH completed\n\
         C: c FETCH $ UID\nS: * 1 FETCH (UID 1)\nS: * 2 FETCH (UID 2)\nS: * 5 FETCH (UID 5)\nS: c OK FETCH completed\n\
         C: d UID FETCH $ RFC822.SIZE\nS: * 1 FETCH (UID 1 RFC822.SIZE 130)\nS: * 2 FETCH (<*>\nS: * 5 FETCH (<*>\nS: d OK UID FETCH completed\n\
         C: e SEARCH $ NOT 1\nS: * SEARCH 2 5\nS: e OK SEARCH completed\n\
         C: f UID SEARCH UID $ SMALLER 131\nS: * SEARCH 1 5\nS: f OK UID SEARCH completed\n\
         C: g SEARCH (OR $ 3) UNSEEN\nS: * SEARCH 1 2 3 5\nS: g OK SEARCH completed\n\
         C: h STORE $ +FLAGS.SILENT (\\Flagged)\nS: h OK STORE completed\n\
         C: i SEARCH FLAGGED\nS: * SEARCH 1 2 5\nS: i OK SEARCH completed\n\
         C: j CREATE copies\nS: j OK CREATE completed\n\
         C: k COPY $ copies\nS: k OK [COPYUID <*> 1:2,5 1:3] COPY completed\n\
         C: l SEARCH RETURN (SAVE) TEXT nonesuch\nS: l OK SEARCH completed\n\
         C: m COPY $ copies\nS: m OK COPY completed\n\
         C: n STORE $ FLAGS ()\nS: n OK STORE completed\n\
         C: o UID EXPUNGE $\nS: o OK No messages deleted, so no update needed\n\
         C: p MOVE $ copies\nS: p OK MOVE completed\n\
         C: q SORT (REVERSE DATE) UTF-8 NOT $\nS: * SORT 5 2 3 1 4\nS: q OK SORT completed\n",
    );
}

#[test]
fn what_is_saved_depends_on_what_is_returned() {
    for (options, answer, saved) in [
        ("SAVE", "", "1:2,5"),
        ("SAVE MIN", "S: * ESEARCH (TAG \"a\") MIN 1\n", "1"),
        ("MAX SAVE", "S: * ESEARCH (TAG \"a\") MAX 5\n", "5"),
        ("MAX SAVE MIN", "S: * ESEARCH (TAG \"a\") MIN 1 MAX 5\n", "1,5"),
        ("MAX SAVE MIN COUNT", "S: * ESEARCH (TAG \"a\") MIN 1 MAX 5 COUNT 3\n", "1:2,5"),
        ("ALL SAVE", "S: * ESEARCH (TAG \"a\") ALL 1:2,5\n", "1:2,5"),
        ("save count", "S: * ESEARCH (TAG \"a\") COUNT 3\n", "1:2,5"),
    ] {
        selected(&format!(
            "C: a SEARCH RETURN ({options}) SUBJECT lunch\n{answer}S: a OK SEARCH completed\n\
             C: b SEARCH RETURN (ALL) $\nS: * ESEARCH (TAG \"b\") ALL {saved}\nS: b OK SEARCH completed\n",
        ));
    }
}

#[test]
fn sort_saves_the_same_set() {
    // By size: 5 1 2.
    for (options, answer, saved) in [
        ("SAVE", "", "1:2,5"),
        ("SAVE MIN", "S: * ESEARCH (TAG \"a\") MIN 5\n", "5"),
        ("MAX SAVE", "S: * ESEARCH (TAG \"a\") MAX 2\n", "2"),
        ("MIN MAX SAVE", "S: * ESEARCH (TAG \"a\") MIN 5 MAX 2\n", "2,5"),
        ("SAVE ALL", "S: * ESEARCH (TAG \"a\") ALL 5,1:2\n", "1:2,5"),
    ] {
        selected(&format!(
            "C: a SORT RETURN ({options}) (SIZE) UTF-8 SUBJECT lunch\n{answer}S: a OK SORT completed\n\
             C: b SEARCH RETURN (ALL) $\nS: * ESEARCH (TAG \"b\") ALL {saved}\nS: b OK SEARCH completed\n\
             C: c UID SORT RETURN (SAVE) (SIZE) X-NONE ALL\nS: c NO [BADCHARSET <*>\n\
             C: d SEARCH $\nS: * SEARCH\nS: d OK SEARCH completed\n",
        ));
    }
}

#[test]
fn when_a_saved_result_changes() {
    let saved = "C: a UID SEARCH RETURN (SAVE) 2:4\nS: a OK UID SEARCH completed\n";
    let is = |set: &str| {
        let all = if set.is_empty() { String::new() } else { format!(" ALL {set}") };
        format!("C: z SEARCH RETURN (ALL) $\nS: * ESEARCH (TAG \"z\"){all}\nS: z OK SEARCH completed\n")
    };
    for (script, set) in [
        // No SAVE, or BAD: as before.
        ("C: b SEARCH ALL\nS: * SEARCH 1 2 3 4 5\nS: b OK SEARCH completed\n", "2:4"),
        ("C: b SEARCH RETURN (SAVE) BOGUS\nS: b BAD Missing or invalid argument to SEARCH\n", "2:4"),
        ("C: b SEARCH CHARSET X-NONE ALL\nS: b NO <*>\n", "2:4"),
        // NO with SAVE: nothing.
        ("C: b SEARCH RETURN (SAVE COUNT) CHARSET X-NONE ALL\nS: b NO [BADCHARSET <*>\n", ""),
        // What is expunged leaves it; the numbers of the others change.
        (
            "C: b STORE 1,3 +FLAGS.SILENT (\\Deleted)\nS: b OK STORE completed\nC: c EXPUNGE\nS: * 1 EXPUNGE\nS: * 2 EXPUNGE\nS: * 3 EXISTS\nS: * 0 RECENT\nS: c OK Expunged 2 messages\n",
            "1:2",
        ),
        (
            "C: b SELECT nonesuch\nS: b NO <*>\nC: c EXAMINE INBOX\nS: * 5 EXISTS\nS: * 0 RECENT\nS: * OK <*>\nS: * OK <*>\nS: * FLAGS <*>\nS: * OK <*>\nS: * OK <*>\nS: c OK <*>\n",
            "",
        ),
    ] {
        selected(
            &format!("{saved}{script}{}", is(set))
                .replace("S: * 0 RECENT\nS: c OK Exp", "S: * 3 RECENT\nS: c OK Exp"),
        );
    }
    selected(
        "C: a SEARCH RETURN (SAVE) 2:4\nS: a OK SEARCH completed\n\
         C: b STORE $ +FLAGS.SILENT (\\Deleted)\nS: b OK STORE completed\n\
         C: c STORE 1 +FLAGS.SILENT (\\Deleted)\nS: c OK STORE completed\n\
         C: d UID EXPUNGE $\nS: * 2 EXPUNGE\nS: * 2 EXPUNGE\nS: * 2 EXPUNGE\nS: * 2 EXISTS\nS: * 2 RECENT\nS: d OK Expunged 3 messages\n\
         C: e FETCH $ FLAGS\nS: e OK FETCH completed\n",
    );
}

#[test]
fn what_others_expunge_leaves_the_saved_result() {
    let memory = memory();
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    harness.ask("a SEARCH RETURN (SAVE) ALL");
    let gone: UidSet = [2, 4].into_iter().filter_map(Uid::new).collect();
    let mut other = memory.mailboxes().select(&inbox(), ailurus_store::Access::ReadWrite).expect("INBOX");
    let mut edit = other.edit().expect("an edit");
    edit.expunge(&gone).expect("they go");
    let _changes = edit.commit().expect("they go");
    // The client is told later, and its numbers stay until then.
    let lines = harness.ask("a FETCH $ UID");
    assert!(!lines.iter().any(|line| line.contains("EXPUNGE")), "{lines:?}");
    let lines = harness.ask("a FETCH $ UID");
    assert_eq!(lines.iter().filter(|line| line.contains("FETCH (UID")).count(), 3, "{lines:?}");
    harness.ask("a NOOP");
    assert_eq!(harness.ask("a SEARCH RETURN (ALL) $")[0], "* ESEARCH (TAG \"a\") ALL 1:3");
}

#[test]
fn many_messages_do_not_hold_up_anything() {
    let memory = Memory::new();
    let count = 20_000;
    for number in 0..count {
        let id = number * 7919 % count;
        let message = format!(
            "Date: Mon, 7 Sep 2026 10:{:02}:{:02} +0000\r\nFrom: u{id}@x\r\nSubject: subject {id}\r\nMessage-ID: <{number}@x>\r\nReferences: <{}@x>\r\n\r\n",
            id / 60 % 60,
            id % 60,
            number / 2,
        );
        memory.deliver(&inbox(), message.as_bytes());
    }
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("a SELECT INBOX");
    for command in [
        "SORT (SUBJECT FROM DATE) UTF-8 ALL",
        "SORT RETURN (ALL) (REVERSE SUBJECT) UTF-8 ALL",
        "SEARCH RETURN (ALL COUNT) NOT SUBJECT \"subject 7\"",
        "THREAD REFERENCES UTF-8 ALL",
        "THREAD REFS UTF-8 ALL",
        "THREAD ORDEREDSUBJECT UTF-8 ALL",
    ] {
        let mut polls = 0;
        let start = Instant::now();
        let mut longest = start - start;
        let now = harness.now;
        let line = format!("a {command}\r\n");
        assert_eq!(harness.session.handle_input(line.as_bytes(), now), line.len());
        let mut answer = Vec::new();
        loop {
            let begun = Instant::now();
            let mut out = Vec::new();
            let more = harness.session.poll_output(&mut out);
            longest = longest.max(begun.elapsed());
            assert!(out.len() <= harness::MOST_OUTPUT, "{command}: {} at once", out.len());
            answer.extend_from_slice(&out);
            polls += 1;
            if !more {
                break;
            }
        }
        assert!(polls > 3, "{command}");
        assert!(longest.as_secs() < 3, "{command}: {longest:?}");
        let text = String::from_utf8(answer).expect("ASCII");
        assert!(text.ends_with("completed\r\n"), "{command}");
        if !command.contains("RETURN") {
            let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
            assert_eq!(numbers.count(), count, "{command}");
        }
    }
}
