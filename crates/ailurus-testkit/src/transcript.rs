//! Recorded sessions of the reference, as scripts to be held against our servers.
//!
//! A transcript is a text of sections `== name ==` with lines `C: ` (sent), `S: ` (answered), `SYSLOG` (logged) and
//! `# ` (remarks). Octets that are no text stand as `<E9>` or `<NUL>`. What changes from run to run (UID validity,
//! times, host, directories) is masked on both sides before lines are compared; the answers to LIST come in
//! directory order and are compared as sets.
//!
//! Where we differ on purpose, a file of differences says so, entry by entry:
//!
//! ```text
//! @ FILE.txt | SECTION | TAG | skip | why the command is left out (TAG#2: the second of that tag)
//! @ FILE.txt | SECTION | TAG | ours | why the answer is another one
//! S: the lines that we answer
//! ```

use std::collections::HashMap;
use std::fmt;

/// One exchange: what is sent at once, and what comes back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exchange {
    /// The lines to send, without line ends, as octets.
    pub sent: Vec<Vec<u8>>,
    /// The lines expected, masked.
    pub expected: Vec<String>,
    /// The tag of the command, where the first line has one.
    pub tag: String,
    /// What differences call it: the tag, and `#2` and so on from the second of that tag in its section on.
    pub name: String,
    /// Whether the server closes the connection after that.
    pub closes: bool,
}

/// A section of a transcript.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Section {
    /// Its heading.
    pub name: String,
    /// Its exchanges, the greeting first (with nothing sent).
    pub exchanges: Vec<Exchange>,
    /// The lines logged, without facility and process number: `mail.info Logout user=…`.
    pub logged: Vec<String>,
}

/// Reads the sections of a transcript. Lines that are none of the known kinds are left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ").and_then(|rest| rest.strip_suffix(" ==")) {
            sections.push(Section { name: name.into(), ..Section::default() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(sent) = line.strip_prefix("C: ").or_else(|| (line == "C:").then_some("")) {
            add_sent(&mut section.exchanges, sent);
        } else if let Some(answer) = line.strip_prefix("S: ").or_else(|| (line == "S:").then_some("")) {
            if section.exchanges.is_empty() {
                section.exchanges.push(Exchange::default());
            }
            let last = section.exchanges.last_mut().expect("there is one now");
            last.expected.push(answer.into());
        } else if let Some(logged) = line.strip_prefix("SYSLOG ") {
            section.logged.push(without_process(logged));
        } else if line == "# (connection closed)"
            && let Some(last) = section.exchanges.last_mut()
        {
            last.closes = true;
        }
    }
    sections
}

fn add_sent(exchanges: &mut Vec<Exchange>, sent: &str) {
    let octets = unescape(sent);
    match exchanges.last_mut() {
        // Lines sent in a row without an answer between them belong together.
        Some(last) if last.expected.is_empty() && !last.sent.is_empty() => last.sent.push(octets),
        _ => {
            let tag = sent.split(' ').next().unwrap_or("").to_owned();
            let name = match exchanges
                .iter()
                .filter(|before| before.tag == tag && !before.sent.is_empty())
                .count()
            {
                0 => tag.clone(),
                before => format!("{tag}#{}", before + 1),
            };
            exchanges.push(Exchange { sent: vec![octets], tag, name, ..Exchange::default() });
        }
    }
}

/// Turns `<E9>` and `<NUL>` into octets.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escaped = rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if rest.starts_with("<NUL>") {
            octets.push(0);
            rest = &rest[5..];
        } else if let (true, Some(octet), Some(">")) = (first == '<', escaped, rest.get(3..4)) {
            octets.push(octet);
            rest = &rest[4..];
        } else {
            octets.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
        }
    }
    octets
}

/// Turns octets that are no printable ASCII into `<E9>` and `<NUL>`.
#[must_use]
pub fn escape(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        match octet {
            0 => text.push_str("<NUL>"),
            0x20..=0x7e => text.push(char::from(*octet)),
            other => text.push_str(&format!("<{other:02X}>")),
        }
    }
    text
}

fn without_process(logged: &str) -> String {
    let mut words = logged.splitn(3, ' ');
    let (level, _program, text) = (words.next(), words.next(), words.next());
    format!("{} {}", level.unwrap_or(""), text.unwrap_or(""))
}

/// What to do differently at a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Difference {
    /// Do not send it.
    Skip,
    /// Expect these lines.
    Ours(Vec<String>),
}

/// Deliberate differences by file, section and tag.
#[derive(Clone, Debug, Default)]
pub struct Differences(HashMap<(String, String, String), Difference>);

impl Differences {
    /// Reads a file of differences.
    ///
    /// # Panics
    /// When an entry is not of the form that the module shows: the file is part of the test.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut all = HashMap::new();
        let mut current = None;
        for line in text.lines() {
            if let Some(entry) = line.strip_prefix("@ ") {
                let parts: Vec<&str> = entry.split(" | ").map(str::trim).collect();
                let [file, section, tag, what, why] = parts[..] else {
                    panic!("difference without reason: {line}")
                };
                assert!(!why.is_empty(), "difference without reason: {line}");
                let key = (file.to_owned(), section.to_owned(), tag.to_owned());
                let difference = match what {
                    "skip" => Difference::Skip,
                    "ours" => Difference::Ours(Vec::new()),
                    other => panic!("neither skip nor ours: {other}"),
                };
                all.insert(key.clone(), difference);
                current = Some(key);
            } else if let (Some(answer), Some(key)) = (line.strip_prefix("S: "), &current)
                && let Some(Difference::Ours(lines)) = all.get_mut(key)
            {
                lines.push(answer.into());
            }
        }
        Self(all)
    }

    /// Returns the difference at a command.
    #[must_use]
    pub fn at(&self, file: &str, section: &str, tag: &str) -> Option<&Difference> {
        self.0.get(&(file.to_owned(), section.to_owned(), tag.to_owned()))
    }
}

/// Masks what changes from run to run. One per session: it remembers which numbers stand for each other.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// Text to replace, such as this run's home directory, by what the transcript has.
    pub replacements: Vec<(String, String)>,
}

impl Mask {
    /// Returns the line as it is compared.
    #[must_use]
    pub fn apply(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (from, to) in &self.replacements {
            line = line.replace(from, to);
        }
        for greeting in ["* OK [CAPABILITY ", "* PREAUTH [CAPABILITY "] {
            if line.starts_with(greeting) {
                return format!("{greeting}...");
            }
        }
        if let Some((before, rest)) = line.split_once(" OK [CAPABILITY ")
            && let Some((_, after)) = rest.split_once("] ")
        {
            line = format!("{before} OK [CAPABILITY ...] {after}");
        }
        mask_numbers(&mask_dates(&line)).replace("\\UnMarked", "\\Mark").replace("\\Marked", "\\Mark")
    }
}

/// Replaces dates of the day of recording and later by a fixed word.
fn mask_dates(line: &str) -> String {
    let mut out = line.to_owned();
    // INTERNALDATE of something made during the session: any date but those of the prepared mail (September 2026 and
    // before are kept by their month).
    if let Some(at) = out.find("INTERNALDATE \"") {
        let date = out.get(at + 14..at + 40).unwrap_or("").to_owned();
        let prepared = ["Sep-2026", "Jan-2020"].iter().any(|month| date.contains(month));
        if date.len() == 26 && !prepared {
            out.replace_range(at + 14..at + 40, "DATE");
        }
    }
    out
}

/// Replaces UID validity values, and whatever else is a number of ten digits that starts like a moment.
fn mask_numbers(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut digits = String::new();
    let flush = |digits: &mut String, out: &mut String| {
        if digits.len() == 10 && digits.starts_with('1') {
            out.push_str("MOMENT");
        } else {
            out.push_str(digits);
        }
        digits.clear();
    };
    for character in line.chars() {
        if character.is_ascii_digit() {
            digits.push(character);
        } else {
            flush(&mut digits, &mut out);
            out.push(character);
        }
    }
    flush(&mut digits, &mut out);
    out
}

/// Where a session went another way than its transcript.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// The section and the command's tag.
    pub place: String,
    /// What the transcript has, masked.
    pub expected: Vec<String>,
    /// What came, masked.
    pub found: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.place)?;
        for line in &self.expected {
            writeln!(f, "  - {line}")?;
        }
        for line in &self.found {
            writeln!(f, "  + {line}")?;
        }
        Ok(())
    }
}

/// Compares answers line by line, those to LIST and its kin as sets.
#[must_use]
pub fn same_lines(expected: &[String], found: &[String]) -> bool {
    let listed = |line: &String| line.starts_with("* LIST ") || line.starts_with("* LSUB ");
    let split = |lines: &[String]| {
        let (mut list, rest): (Vec<String>, Vec<String>) = lines.iter().cloned().partition(listed);
        list.sort();
        (list, rest)
    };
    split(expected) == split(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# remark\n\n== one ==\nS: * OK [CAPABILITY X] host\nC: a NOOP\nS: a OK NOOP completed\nC: b LOGIN {3+}\n\
                        C: caf<E9>\nS: b OK done\n# (connection closed)\nSYSLOG mail.info imapd[PID]: Logout user=??? host=H\n";

    #[test]
    fn sections_become_exchanges() {
        let sections = parse(TEXT);
        assert_eq!(sections.len(), 1);
        let one = &sections[0];
        assert_eq!(one.exchanges.len(), 3);
        assert_eq!(one.exchanges[0].sent.len(), 0);
        assert_eq!(one.exchanges[1].tag, "a");
        let again = parse("== two ==\nC: a NOOP\nS: a OK\nC: a NOOP\nS: a OK\n");
        let names: Vec<_> = again[0].exchanges.iter().map(|exchange| exchange.name.as_str()).collect();
        assert_eq!(names, ["a", "a#2"]);
        assert_eq!(one.exchanges[2].sent, [b"b LOGIN {3+}".to_vec(), b"caf\xe9".to_vec()]);
        assert!(one.exchanges[2].closes);
        assert_eq!(one.logged, ["mail.info Logout user=??? host=H"]);
    }

    #[test]
    fn masks_hide_only_what_changes() {
        let mask = Mask { replacements: vec![("/tmp/x".into(), "/home/ada".into())] };
        assert_eq!(
            mask.apply("* OK [UIDVALIDITY 1795436164] x"),
            mask.apply("* OK [UIDVALIDITY 1234567890] x")
        );
        assert_ne!(mask.apply("* OK [UIDNEXT 6] x"), mask.apply("* OK [UIDNEXT 7] x"));
        assert_eq!(mask.apply("/tmp/x/box"), "/home/ada/box");
    }

    #[test]
    fn differences_need_reasons() {
        let differences = Differences::parse(
            "@ f.txt | s | a1 | ours | because\nS: a1 OK\n@ f.txt | s | a2 | skip | why\n",
        );
        assert_eq!(differences.at("f.txt", "s", "a1"), Some(&Difference::Ours(vec!["a1 OK".into()])));
        assert_eq!(differences.at("f.txt", "s", "a2"), Some(&Difference::Skip));
    }
}
