//! Every command of the recorded IMAP sessions gets the BAD response it got from the reference, and none if it got none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use ailurus_proto::imap::{Command, CommandBody, SyntaxError};
use common::{Outcome, Talk};
use std::path::Path;

const TRANSCRIPTS: [&str; 9] = [
    "imap-append-search-syntax",
    "imap-capabilities",
    "imap-login-and-sasl",
    "imap-mailbox-management",
    "imap-misc",
    "imap-nologin-alert-anonymous",
    "imap-not-authenticated",
    "imap-search-extras",
    "imap-search-sort-thread",
];

/// Commands that this grammar takes on purpose where the reference did not, or not yet where it did.
const DIFFERENCES: [(&str, &str); 14] = [
    ("SEARCH SINCE 1-Jan-2020 SINCE", "keys of one kind are combined (spec/imapd.md §10)"),
    ("SEARCH LARGER 1 LARGER", "the same"),
    ("SEARCH (SINCE 1-Jan-2020) (SINCE", "the same"),
    ("FIND MAILBOXES *", "FIND works (§20)"),
    ("FIND ALL.MAILBOXES *", "the same"),
    ("FIND BBOARDS *", "unknown subcommand"),
    ("FIND MAILBOXES %", "IMAP2 has no such wildcard"),
    ("RETURN (SAVE)", "SEARCHRES (RFC 5182)"),
    ("SORT (DISPLAYFROM)", "SORT=DISPLAY (RFC 5957)"),
    ("SCAN ", "later"),
    ("BINARY", "BINARY[] is allowed (RFC 3516)"),
    ("LIST \"\" (INBOX)", "extended LIST works (RFC 5258)"),
    ("LIST (SUBSCRIBED)", "the same"),
    ("LIST \"\" * RETURN", "the same"),
];

#[derive(Debug, Default)]
struct Section {
    title: String,
    client: Vec<u8>,
    /// The command lines, by the tag they begin with.
    commands: Vec<String>,
    /// The tagged responses, and the untagged BAD ones about lines without a tag.
    expected: Vec<String>,
}

#[test]
fn commands_are_refused_as_the_reference_did() {
    let mut compared = 0;
    for name in TRANSCRIPTS.iter().chain(&["imap-select-fetch-store"]) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/transcripts/{name}.txt"));
        for section in sections(&std::fs::read_to_string(path).unwrap()) {
            compared += compare(&section);
        }
    }
    assert!(compared > 300, "only {compared} commands compared");
}

fn compare(section: &Section) -> usize {
    let talk = Talk::with(&section.client);
    let context = format!("in section {}", section.title);
    assert_eq!(talk.outcomes.len(), section.expected.len(), "{context}: {:#?}\n{section:#?}", talk.outcomes);
    for (outcome, expected) in talk.outcomes.iter().zip(&section.expected) {
        let (tag, _) = expected.split_once(' ').unwrap();
        let line = section.commands.iter().find(|line| line.split(' ').next() == Some(tag));
        let arguments = line.map_or("", |line| &line[tag.len() + 1..]);
        if DIFFERENCES.iter().any(|(part, _)| arguments.contains(part)) {
            continue;
        }
        let refused = expected.split(' ').nth(1) == Some("BAD");
        match outcome {
            Outcome::Refused(text) => {
                let last = text.lines().last().unwrap();
                let unnamed = last.rsplit_once(": ").map(|(start, _)| start);
                assert!(
                    last == expected || unnamed == Some(expected),
                    "{context}: {last:?} for {expected:?}"
                );
            }
            Outcome::Parsed(command, _) => {
                assert_eq!(command.tag.as_str(), tag, "{context}");
                let later = judged_at_execution(command).map(|error| format!("{tag} BAD {error}"));
                let by_state = expected.contains(" BAD Command unrecognized")
                    || expected.ends_with("Sequence out of range");
                assert!(
                    !refused || by_state || later.as_ref() == Some(expected),
                    "{context}: {command:?} for {expected:?}"
                );
                assert!(refused || later.is_none(), "{context}: {later:?} for {expected:?}");
            }
        }
    }
    section.expected.len()
}

/// Returns what is wrong with a parsed command, in the order in which a server says it.
fn judged_at_execution(command: &Command) -> Option<SyntaxError> {
    let (set, items) = match &command.body {
        CommandBody::Fetch(fetch) => (&fetch.set, fetch.items.as_ref().err()),
        CommandBody::Store(store) => (&store.set, store.item.as_ref().err()),
        _ => return None,
    };
    let bogus = set.as_ref().err().map(|error| SyntaxError::BogusSequence(command.name, *error));
    bogus.or_else(|| items.cloned())
}

fn sections(transcript: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    for text in transcript.split("\n== ").skip(1) {
        let is_imap = !text.contains("+OK POP3") && !text.contains("2007f") && text.contains("\nC: ");
        if is_imap {
            sections.push(section(text));
        }
    }
    sections
}

fn section(text: &str) -> Section {
    let mut section = Section { title: text.lines().next().unwrap().into(), ..Section::default() };
    let mut raw = false;
    let mut in_message = false;
    let mut lines = text.lines().skip(1).peekable();
    while let Some(line) = lines.next() {
        if let Some(sent) = line.strip_prefix("C: ").or(line.strip_prefix("C:")) {
            // What it sent as this literal was not recorded.
            let unknown = sent.starts_with("a20 CREATE {3}");
            if std::mem::take(&mut raw) || unknown {
                continue;
            }
            section.client.extend(octets(sent));
            section.client.extend(b"\r\n");
            section.commands.push(sent.into());
            in_message |= sent.contains(" APPEND ") && sent.ends_with('}');
            let tail_follows =
                lines.peek().is_some_and(|next| next.starts_with("C:  ") || next.starts_with("S: + "));
            // The recorder does not show an empty line behind several lines sent at once, such as the one that ends the
            // command behind its message.
            if sent == "Host: x" || in_message && sent == "body" && !tail_follows {
                section.client.extend(b"\r\n");
                in_message = false;
            }
        } else if let Some(reply) = line.strip_prefix("S: ") {
            let tagged = reply.split(' ').nth(1).is_some_and(|word| matches!(word, "OK" | "NO" | "BAD"));
            let about_line = reply.starts_with("* BAD Missing") || reply.starts_with("* BAD Excess");
            if reply.starts_with("+ ") && reply != "+ Ready for argument" {
                raw = true;
            } else if reply == "a20 BAD Missing or invalid argument to CREATE"
                || reply.starts_with("* ") && !about_line
            {
            } else if tagged {
                section.expected.push(reply.into());
            }
        }
    }
    section
}

/// Returns a recorded line as octets: `<E9>` stands for one that is not text.
fn octets(line: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = line.as_bytes();
    while let [first, tail @ ..] = rest {
        if let [b'<', high, low, b'>', after @ ..] = rest
            && let Ok(octet) = u8::from_str_radix(&String::from_utf8_lossy(&[*high, *low]), 16)
            && octet >= 0x80
        {
            octets.push(octet);
            rest = after;
        } else {
            octets.push(*first);
            rest = tail;
        }
    }
    octets
}
