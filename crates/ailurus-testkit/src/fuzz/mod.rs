//! Functions that take any octets and assert what must hold for all input, and a simple mutator.
//!
//! The same functions run for seconds among the ordinary tests (`tests/fuzz_inputs.rs`, with [`Mutator`]) and for hours under
//! a coverage-guided fuzzer (`fuzz/`); both use the dictionaries of `fuzz/dictionaries` and the fixtures as seeds.

mod charset;
mod folder;
mod imap;
mod mail;
mod mailbox;
mod order;
mod passwords;
mod pop;
mod uses;

pub use charset::{charsets, encoded_words};
pub use folder::{mh_sidecar, mx_index, newsrc};
pub use imap::{framing, grammar};
pub use mail::{addresses, mime};
pub use mailbox::{from_lines, mbx_records, mmdf_marks, mtx_lines, tenex_lines};
pub use order::{references, subjects};
pub use passwords::{password_database, scram_messages};
pub use pop::pop_lines;
pub use uses::special_uses;

use crate::random::Random;
use crate::transcript;
use std::fs;
use std::path::{Path, PathBuf};

/// A function to be fed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, that of the program under `fuzz/fuzz_targets` too.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// Where its dictionary is, under `fuzz/dictionaries`.
    pub dictionary: &'static str,
    /// Returns inputs to start from, out of the fixtures.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 20] = [
    Target { name: "framing", run: framing, dictionary: "imap.dict", seeds: sessions },
    Target { name: "grammar", run: grammar, dictionary: "imap.dict", seeds: commands },
    Target { name: "pop_lines", run: pop_lines, dictionary: "pop.dict", seeds: sessions },
    Target { name: "addresses", run: addresses, dictionary: "addresses.dict", seeds: field_values },
    Target { name: "subjects", run: subjects, dictionary: "subjects.dict", seeds: subject_values },
    Target { name: "references", run: references, dictionary: "references.dict", seeds: reference_headers },
    Target { name: "mime", run: mime, dictionary: "mime.dict", seeds: messages },
    Target { name: "from_lines", run: from_lines, dictionary: "from.dict", seeds: unix_mailboxes },
    Target { name: "mmdf_marks", run: mmdf_marks, dictionary: "mmdf.dict", seeds: mmdf_mailboxes },
    Target { name: "mbx_records", run: mbx_records, dictionary: "mbx.dict", seeds: mbx_mailboxes },
    Target { name: "mtx_lines", run: mtx_lines, dictionary: "mtx.dict", seeds: mtx_mailboxes },
    Target { name: "tenex_lines", run: tenex_lines, dictionary: "mtx.dict", seeds: tenex_mailboxes },
    Target { name: "mx_index", run: mx_index, dictionary: "mx.dict", seeds: mx_indexes },
    Target { name: "mh_sidecar", run: mh_sidecar, dictionary: "mh.dict", seeds: mh_sidecars },
    Target { name: "newsrc", run: newsrc, dictionary: "newsrc.dict", seeds: newsrcs },
    Target { name: "special_uses", run: special_uses, dictionary: "uses.dict", seeds: uses },
    Target { name: "charsets", run: charsets, dictionary: "charsets.dict", seeds: charset::texts },
    Target {
        name: "scram_messages",
        run: scram_messages,
        dictionary: "scram.dict",
        seeds: passwords::exchanges,
    },
    Target {
        name: "password_database",
        run: password_database,
        dictionary: "scram.dict",
        seeds: passwords::databases,
    },
    Target { name: "encoded_words", run: encoded_words, dictionary: "words.dict", seeds: charset::words },
];

impl Target {
    /// Returns the target of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Returns the tokens of the dictionary.
    ///
    /// # Panics
    ///
    /// When the dictionary cannot be read: it is part of the test.
    #[must_use]
    pub fn tokens(&self) -> Vec<Vec<u8>> {
        let path = checkout().join("fuzz/dictionaries").join(self.dictionary);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| token(line).unwrap_or_else(|| panic!("{}: not a token: {line}", path.display())))
            .collect()
    }
}

/// Returns the root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads `"text"` with the escapes `\xNN`, `\\` and `\"`.
fn token(line: &str) -> Option<Vec<u8>> {
    let inner = line.trim().strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut octets = Vec::new();
    let mut at = 0;
    while let Some(&octet) = inner.get(at) {
        let escaped = (octet == b'\\').then(|| inner.get(at + 1)).flatten();
        match escaped {
            None => octets.push(octet),
            Some(b'x') => {
                let digits = std::str::from_utf8(inner.get(at + 2..at + 4)?).ok()?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
            }
            Some(&other) => {
                octets.push(other);
                at += 1;
            }
        }
        at += 1;
    }
    Some(octets)
}

/// What clients sent in the recorded sessions, a whole session each.
fn sessions() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for text in transcripts() {
        for section in transcript::parse(&text) {
            let mut sent = Vec::new();
            for line in section.exchanges.iter().flat_map(|exchange| &exchange.sent) {
                sent.extend_from_slice(line);
                sent.extend_from_slice(b"\r\n");
            }
            all.push(sent);
        }
    }
    all
}

/// What clients sent in the recorded sessions, one command each.
fn commands() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for text in transcripts() {
        for section in transcript::parse(&text) {
            for exchange in &section.exchanges {
                let mut sent = exchange.sent.join(&b"\r\n"[..]);
                sent.extend_from_slice(b"\r\n");
                all.push(sent);
            }
        }
    }
    all
}

fn transcripts() -> Vec<String> {
    let mut texts: Vec<String> = files("fixtures/transcripts")
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("imap-")))
        .map(|path| fs::read_to_string(path).expect("a transcript is text"))
        .collect();
    texts.sort();
    texts
}

fn messages() -> Vec<Vec<u8>> {
    let mut all = contents("fixtures/messages");
    let mut corpus = crate::corpus::Corpus::new(1);
    all.extend((0..20).map(|_| corpus.message().lf.replace('\n', "\r\n").into_bytes()));
    all
}

/// The values of all header fields in the sample messages.
fn field_values() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for message in messages() {
        let header = &message[..ailurus_message::header::length(&message)];
        all.extend(ailurus_message::header::fields(header).map(|field| field.value.to_vec()));
    }
    all
}

fn subject_values() -> Vec<Vec<u8>> {
    let marked = ["Re: [list] Fwd: lunch (fwd)", "[fwd: [a][b] re [c]: x (fwd)]", "[a] [b]"];
    marked.iter().map(|text| text.as_bytes().to_vec()).chain(field_values()).collect()
}

/// Headers of messages that refer to one another, one after the other.
fn reference_headers() -> Vec<Vec<u8>> {
    let thread = "Message-ID: <a@b>\nSubject: x\n\nMessage-ID: <\"c\"@d>\nReferences: <a@b> <e@f>\nSubject: re: x\n\n\
        In-Reply-To: yours <c@d>\nMessage-ID: <a@b>\n\nReferences: <g@h> <a@b>\nMessage-ID: <g@h>\nSubject: x\n\n";
    vec![thread.into(), thread.replace(" re:", " ").into(), thread.repeat(3).into()]
}

fn unix_mailboxes() -> Vec<Vec<u8>> {
    contents("fixtures/unix")
}

fn mmdf_mailboxes() -> Vec<Vec<u8>> {
    contents("fixtures/mmdf")
}

fn mbx_mailboxes() -> Vec<Vec<u8>> {
    contents("fixtures/mbx")
}

fn mtx_mailboxes() -> Vec<Vec<u8>> {
    contents("fixtures/mtx")
}

fn tenex_mailboxes() -> Vec<Vec<u8>> {
    contents("fixtures/tenex")
}

fn mx_indexes() -> Vec<Vec<u8>> {
    let folder = checkout().join("fixtures/mx");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path.join(".mxindex")).ok()).collect()
}

/// The sidecar of a small folder, which is made here, and sequences of nmh.
fn mh_sidecars() -> Vec<Vec<u8>> {
    vec![folder::sample_sidecar(), b"cur: 2\nunseen: 1-2 7\n 9-12\n".to_vec()]
}

fn newsrcs() -> Vec<Vec<u8>> {
    let fixtures =
        contents("fixtures/news").into_iter().filter(|text| text.windows(2).any(|two| two == b": "));
    fixtures.chain([b"a.b: 1-3,7\nc! 1\n".to_vec(), b"options -n\r\na.b! 2-4\r\n".to_vec()]).collect()
}

fn uses() -> Vec<Vec<u8>> {
    let long = "x".repeat(1018);
    let files = [
        "\\Drafts \\Sent\tbox\n\\Trash\tmade\n",
        "# mine\n\\Foo\tmade\n\\sent \\Foo\tmade",
        &format!("\\Sent\tbox\n\\All\t{long}\n{long}\n"),
    ];
    files.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The files of a folder of the checkout that are samples, not descriptions, and not large.
fn contents(folder: &str) -> Vec<Vec<u8>> {
    files(folder)
        .iter()
        .filter(|path| path.extension().is_none_or(|kind| kind != "expect" && kind != "log" && kind != "txt"))
        .map(|path| fs::read(path).expect("a fixture can be read"))
        .filter(|content| content.len() < 20_000)
        .collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = checkout().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Makes inputs from seeds and tokens: the same seed number gives the same inputs.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: Random,
    seeds: Vec<Vec<u8>>,
    tokens: Vec<Vec<u8>>,
}

/// Inputs are not made longer than this, in octets.
const MOST: usize = 1 << 16;

impl Mutator {
    /// Returns the mutator of a target.
    ///
    /// # Panics
    ///
    /// When fixtures or dictionary are missing.
    #[must_use]
    pub fn new(target: &Target, seed: u64) -> Self {
        let (seeds, tokens) = ((target.seeds)(), target.tokens());
        assert!(!seeds.is_empty() && !tokens.is_empty(), "nothing to start from: {}", target.name);
        Self { random: Random::new(seed), seeds, tokens }
    }

    /// Returns how many seeds there are.
    #[must_use]
    pub fn seeds(&self) -> usize {
        self.seeds.len()
    }

    /// Returns a seed as it is.
    #[must_use]
    pub fn seed(&self, number: usize) -> &[u8] {
        &self.seeds[number]
    }

    /// Returns the next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input =
            if self.random.one_in(8) { Vec::new() } else { self.random.pick(&self.seeds).clone() };
        let rounds = 1 + self.random.below(12);
        for _ in 0..rounds {
            self.mutate(&mut input);
            input.truncate(MOST);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let short = 1 + self.random.below(40);
        let end = (at + short).min(input.len());
        match self.random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.random.below(8),
            1 if at < input.len() => {
                input[at] = *self.random.pick(b"\0\r\n \"\\(){}<>[]:;,@.*%=-_09\xff\x80\x1b")
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                let most = if self.random.one_in(20) { 300 } else { 3 };
                let times = 1 + self.random.below(most);
                input.splice(at..at, piece.repeat(times));
            }
            4 => {
                let other = self.random.pick(&self.seeds);
                let from = self.random.below(other.len() + 1);
                let piece = other[from..(from + 400).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            5 if self.random.one_in(4) => input.truncate(at),
            6 => number_instead(&mut self.random, input, at),
            _ => {
                let token = self.random.pick(&self.tokens).clone();
                let replaced = if self.random.one_in(2) { at } else { end };
                input.splice(at..replaced, token);
            }
        }
    }
}

/// Replaces the first number behind `at` by one that is often at fault.
fn number_instead(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    let Some(first) = input[at..].iter().position(u8::is_ascii_digit).map(|first| at + first) else { return };
    let digits = input[first..].iter().take_while(|octet| octet.is_ascii_digit()).count();
    let numbers = [
        "0",
        "1",
        "2",
        "9",
        "10",
        "255",
        "4095",
        "65535",
        "10000",
        "10001",
        "2147483648",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "99999999999999999999",
    ];
    input.splice(first..first + digits, random.pick(&numbers).bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_escapes() {
        assert_eq!(token(r#""a\x0d\"\\""#), Some(b"a\r\"\\".to_vec()));
        assert_eq!(token("a"), None);
        assert_eq!(token(r#""\xZZ""#), None);
    }

    #[test]
    fn inputs_depend_on_the_seed_alone_and_differ() {
        let target = Target::named("grammar").unwrap();
        let inputs = |seed| {
            let mut mutator = Mutator::new(target, seed);
            (0..50).map(|_| mutator.input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
