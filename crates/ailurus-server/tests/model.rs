//! A client that takes the server at its word: what it knows of the mailbox from untagged responses alone is the mailbox,
//! whatever other sessions do meanwhile.

mod harness;

use ailurus_store::memory::Memory;
use ailurus_types::{Flags, Keyword, KeywordMask, MailboxName, SystemFlags, Uid};
use harness::Harness;
use std::collections::BTreeSet;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn pick<'t>(&mut self, among: &[&'t str]) -> &'t str {
        among[self.roll(among.len())]
    }
}

type FlagNames = BTreeSet<String>;

/// A message as the client knows it.
#[derive(Clone, Debug, Default)]
struct Known {
    uid: Option<u32>,
    flags: Option<FlagNames>,
}

/// What the client knows.
#[derive(Debug, Default)]
struct Client {
    messages: Vec<Known>,
    recent: Option<usize>,
    /// The message of the FETCH response that a literal interrupted.
    fetched: usize,
}

/// A command and what it means for the client.
struct Command {
    text: String,
    may_expunge: bool,
    uid: bool,
    /// The positions that a silent STORE changes, how, and by which flags.
    foreseen: Option<(Vec<usize>, char, FlagNames)>,
}

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

impl Client {
    fn hear(&mut self, line: &str, command: &Command) {
        let at = format!("{}: {line}\n{self:?}", command.text);
        let words: Vec<_> = line.splitn(4, ' ').collect();
        let number = words.get(1).and_then(|word| word.parse::<usize>().ok());
        match (number, words.get(2).copied()) {
            (Some(number), Some("EXISTS")) => {
                assert!(number >= self.messages.len(), "{at}");
                self.messages.resize(number, Known::default());
            }
            (Some(number), Some("RECENT")) => self.recent = Some(number),
            (Some(number), Some("EXPUNGE")) => {
                assert!(command.may_expunge && (1..=self.messages.len()).contains(&number), "{at}");
                self.messages.remove(number - 1);
            }
            (Some(number), Some("FETCH")) => {
                assert!((1..=self.messages.len()).contains(&number), "{at}");
                let known = &mut self.messages[number - 1];
                let uid = after(line, "UID ").map(leading_number);
                assert!(uid.is_some() || !command.uid, "no UID: {at}");
                assert!(known.uid.is_none() || uid.is_none() || known.uid == uid, "another UID: {at}");
                known.uid = known.uid.or(uid);
                self.fetched = number - 1;
                self.hear_flags(line);
            }
            _ if !line.starts_with("* ") => self.hear_flags(line),
            _ if line.starts_with("* SEARCH") && !command.uid => {
                for number in line.split(' ').skip(2) {
                    let number = number.parse().expect("a number");
                    assert!((1..=self.messages.len()).contains(&number), "{at}");
                }
            }
            _ => {}
        }
    }

    fn hear_flags(&mut self, line: &str) {
        let Some(rest) = after(line, "FLAGS (") else { return };
        let names = rest.split(')').next().unwrap_or_default().split(' ');
        let names = names.filter(|name| !name.is_empty() && *name != "\\Recent");
        self.messages[self.fetched].flags = Some(names.map(str::to_owned).collect());
    }

    /// Does what a silent STORE leaves to the client.
    fn foresee(&mut self, command: &Command) {
        let Some((positions, how, by)) = &command.foreseen else { return };
        for position in positions {
            let Some(known) = self.messages.get_mut(*position) else { continue };
            known.flags = match how {
                '=' => Some(by.clone()),
                '+' => known.flags.take().map(|flags| flags.union(by).cloned().collect()),
                _ => known.flags.take().map(|flags| flags.difference(by).cloned().collect()),
            };
        }
    }

    fn compare(&self, memory: &Memory, keyword: (&Keyword, KeywordMask), at: &str) {
        let messages = memory.messages(&inbox());
        assert_eq!(self.messages.len(), messages.len(), "{at}: {self:?}");
        for (known, (info, _)) in self.messages.iter().zip(&messages) {
            assert!(known.uid.is_none_or(|uid| uid == info.uid().get()), "{at}: {known:?} {info:?}");
            let mut flags = FlagNames::new();
            for (flag, name) in SystemFlags::NAMED {
                flags.extend(info.flags().system.contains(flag).then(|| name.to_owned()));
            }
            let has = info.flags().keywords.0 & keyword.1.0 != 0;
            flags.extend(has.then(|| keyword.0.as_str().to_owned()));
            assert!(known.flags.as_ref().is_none_or(|known| *known == flags), "{at}: {known:?} {info:?}");
        }
        assert!(self.recent.is_none_or(|recent| recent <= messages.len()), "{at}: {self:?}");
    }

    fn next_command(&self, dice: &mut Dice) -> Command {
        let known = self.messages.len();
        let mut command = Command { text: "NOOP".into(), may_expunge: true, uid: false, foreseen: None };
        let (first, last) = match known {
            0 => (0, 0),
            _ => {
                let (one, other) = (dice.roll(known), dice.roll(known));
                (one.min(other), one.max(other))
            }
        };
        let set = format!("{}:{}", first + 1, last + 1);
        let any_uids = format!("{}:{}", 1 + dice.roll(60), 1 + dice.roll(60));
        let flags = dice.pick(&["\\Seen", "\\Seen \\Flagged", "\\Deleted", "Work", "\\Draft Work"]);
        let held = |command: &mut Command| command.may_expunge = false;
        match dice.roll(18) {
            0..=2 if known > 0 => {
                let items =
                    ["UID", "(UID FLAGS)", "FLAGS", "BODY[TEXT]", "(UID RFC822)", "(FLAGS BODY.PEEK[1])"];
                command.text = format!("FETCH {set} {}", dice.pick(&items));
                held(&mut command);
            }
            3 | 4 => {
                command.text =
                    format!("UID FETCH {any_uids} {}", dice.pick(&["FLAGS", "BODY[TEXT]", "RFC822"]));
                (command.may_expunge, command.uid) = (false, true);
            }
            5..=8 if known > 0 => {
                let how = dice.pick(&["", "+", "-"]);
                let silent = dice.pick(&["", ".SILENT"]);
                command.text = format!("STORE {set} {how}FLAGS{silent} ({flags})");
                held(&mut command);
                if silent == ".SILENT" {
                    let by = flags.split(' ').map(str::to_owned).collect();
                    let how = how.chars().next().unwrap_or('=');
                    command.foreseen = Some(((first..=last).collect(), how, by));
                }
            }
            9 => {
                command.text = format!("UID STORE {any_uids} {}FLAGS ({flags})", dice.pick(&["", "+", "-"]));
                (command.may_expunge, command.uid) = (false, true);
            }
            10 => {
                command.text =
                    format!("SEARCH {}", dice.pick(&["ALL", "UNSEEN", "NOT KEYWORD Work", "TEXT body"]));
                held(&mut command);
            }
            11 if known > 0 => {
                command.text = format!("COPY {set} {}", dice.pick(&["INBOX", "box"]));
                held(&mut command);
            }
            12 if known > 0 => command.text = format!("MOVE {set} {}", dice.pick(&["INBOX", "box"])),
            13 => command.text = "EXPUNGE".into(),
            14 => {
                command.text = format!("UID EXPUNGE {any_uids}");
                command.uid = true;
            }
            15 => command.text = "APPEND INBOX (\\Flagged Work) {10+}\r\na: b\r\n\r\nxy".into(),
            16 => {
                command.text = "CHECK".into();
                held(&mut command);
            }
            _ => {}
        }
        command
    }
}

fn after<'l>(line: &'l str, what: &str) -> Option<&'l str> {
    line.find(what).map(|at| &line[at + what.len()..])
}

fn leading_number(text: &str) -> u32 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().expect("a number")
}

/// Does something that another session might do.
fn meddle(memory: &Memory, dice: &mut Dice, work: KeywordMask) {
    let messages = memory.messages(&inbox());
    let chosen = (!messages.is_empty()).then(|| messages[dice.roll(messages.len())].0);
    match (dice.roll(12), chosen) {
        (0..=3, _) => drop(memory.deliver(&inbox(), b"a: b\r\n\r\nbody\r\n")),
        (4..=6, Some(info)) => memory.expunge(&inbox(), &[info.uid()].into_iter().collect()),
        (7..=10, Some(info)) => {
            let mut flags = Flags::default();
            for (flag, _) in SystemFlags::NAMED {
                if dice.roll(3) == 0 {
                    flags.system |= flag;
                }
            }
            flags.keywords = if dice.roll(2) == 0 { work } else { KeywordMask::NONE };
            memory.set_flags(&inbox(), info.uid(), flags);
        }
        (11, _) if dice.roll(6) == 0 => {
            // The UIDs of before must not name other messages, so the largest is gone.
            memory.expunge(&inbox(), &messages.last().map(|last| last.0.uid()).into_iter().collect());
            memory.restart_uids(&inbox());
        }
        _ => {}
    }
}

#[test]
fn what_the_client_knows_is_the_mailbox() {
    let keyword = Keyword::new(b"Work").expect("a keyword");
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let memory = Memory::new();
        memory.make(&"box".into());
        for _ in 0..dice.roll(12) {
            memory.deliver(&inbox(), b"a: b\r\n\r\nbody\r\n");
        }
        let work = memory.add_keyword(&inbox(), &keyword);
        let mut harness = Harness::preauthenticated(&memory);
        let mut client = Client::default();
        let select = Command { text: "SELECT INBOX".into(), may_expunge: false, uid: false, foreseen: None };
        for line in harness.ask("s SELECT INBOX") {
            client.hear(&line, &select);
        }
        for round in 0..150 {
            for _ in 0..dice.roll(3) {
                meddle(&memory, &mut dice, work);
            }
            let command = client.next_command(&mut dice);
            let at = format!("seed {seed}, round {round}, {}", command.text);
            client.foresee(&command);
            let answer = harness.ask(&format!("t {}", command.text));
            assert!(answer.last().is_some_and(|last| last.starts_with("t ")), "{at}: {answer:?}");
            assert!(!answer.iter().any(|line| line.starts_with("t BAD")), "{at}: {answer:?}");
            for line in &answer {
                client.hear(line, &command);
            }
            if command.text == "NOOP" {
                client.compare(&memory, (&keyword, work), &at);
            }
        }
    }
}

#[test]
fn uids_never_change_their_message() {
    // The same with commands one behind the other, of which the client hears only later.
    let memory = Memory::new();
    for number in 0..5 {
        memory.deliver(&inbox(), format!("a: {number}\r\n\r\nbody\r\n").as_bytes());
    }
    let mut harness = Harness::preauthenticated(&memory);
    harness.ask("s SELECT INBOX");
    memory.expunge(&inbox(), &[Uid::new(2).expect("not zero")].into_iter().collect());
    let answer = harness.ask("a FETCH 3 UID\r\nb FETCH 4:5 UID\r\nc SEARCH ALL\r\nd NOOP\r\ne FETCH 2 UID");
    assert_eq!(
        answer,
        [
            "* 3 FETCH (UID 3)",
            "a OK FETCH completed",
            "* 4 FETCH (UID 4)",
            "* 5 FETCH (UID 5)",
            "b OK FETCH completed",
            "* SEARCH 1 3 4 5",
            "c OK SEARCH completed",
            "* 2 EXPUNGE",
            "* 4 EXISTS",
            "* 4 RECENT",
            "d OK NOOP completed",
            "* 2 FETCH (UID 3)",
            "e OK FETCH completed",
        ]
    );
}
