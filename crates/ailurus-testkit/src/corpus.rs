//! Mail that looks like people's mail, made from a seed: for benchmarks and for tests that need a lot of it.
//!
//! The mix is that of an ordinary mailbox: half of it plain text, some HTML with a plain alternative, some
//! attachments in base64, quoted-printable in old charsets, forwarded messages, list traffic in threads. A message
//! has about 6 KB on average, so that 10,000 of them make an mbox of about 61 MB.

use crate::random::Random;
use ailurus_types::InternalDate;
use std::fmt::Write as _;
use std::io::{self, Write};

/// One generated message.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Header and text with LF line ends; for [`Corpus::foreign`] only the header.
    pub lf: String,
    /// What follows, in the charsets of [`Corpus::foreign`].
    pub octets: Vec<u8>,
    /// When it arrived.
    pub date: InternalDate,
    /// The sender's address, for a From_ line.
    pub sender: String,
    /// Whether it was read already.
    pub seen: bool,
}

/// Gives the messages of a seed one after the other, without end.
#[derive(Debug)]
pub struct Corpus {
    random: Random,
    foreign: bool,
    number: u64,
    clock: i64,
    /// Subject, Message-ID and References of recent messages, to be answered.
    recent: Vec<(String, String, String)>,
}

const FIRST_MOMENT: i64 = 1_577_836_800; // 1 January 2020

const NAMES: [(&str, &str); 12] = [
    ("Ada Lovelace", "ada"),
    ("Charles Babbage", "charles"),
    ("Grace Hopper", "grace.hopper"),
    ("\"Turing, Alan\"", "alan"),
    ("=?UTF-8?Q?J=C3=BCrgen_M=C3=BCller?=", "juergen"),
    ("=?ISO-8859-1?Q?Ren=E9e_Dupont?=", "renee"),
    ("=?UTF-8?B?5bGx55Sw5aSq6YOO?=", "taro"),
    ("Barbara Liskov", "barbara"),
    ("Edsger W. Dijkstra", "ewd"),
    ("Build Robot", "noreply"),
    ("Donald Knuth", "dek"),
    ("Margaret Hamilton", "margaret"),
];
const HOSTS: [&str; 6] =
    ["example.com", "example.org", "mail.example.net", "lists.example.org", "cs.example.edu", "example.test"];
const WORDS: [&str; 64] = [
    "the", "of", "and", "to", "a", "in", "that", "is", "was", "for", "it", "with", "as", "his", "on", "be",
    "at", "by", "had", "not", "are", "but", "from", "or", "have", "an", "they", "which", "one", "you",
    "were", "all", "her", "she", "there", "would", "their", "we", "him", "been", "has", "when", "who",
    "will", "no", "more", "if", "out", "so", "meeting", "release", "kernel", "patch", "budget", "schedule",
    "mailbox", "server", "analysis", "engine", "compiler", "Thursday", "deadline", "question", "regards",
];

impl Corpus {
    /// Returns the corpus of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), foreign: false, number: 0, clock: FIRST_MOMENT, recent: Vec::new() }
    }

    /// Returns the corpus of a seed whose texts are of many languages, in many charsets and transfer encodings.
    #[must_use]
    pub fn foreign(seed: u64) -> Self {
        Self { foreign: true, ..Self::new(seed) }
    }

    /// Returns the next message.
    pub fn message(&mut self) -> Mail {
        self.number += 1;
        self.clock += i64::try_from(self.random.below(7200)).unwrap_or(0);
        let zone = *self.random.pick(&[0i16, 60, 120, -300, -480, 330, 540]);
        let date = InternalDate::from_timestamp(self.clock, zone);
        let (name, local) = *self.random.pick(&NAMES);
        let sender = format!("{local}@{}", self.random.pick(&HOSTS));
        let mut lf = String::with_capacity(8192);
        self.header(&mut lf, name, &sender, date);
        let mut octets = Vec::new();
        if self.foreign {
            let lines = self.some_lines();
            crate::foreign::body(&mut self.random, lines, &mut octets);
            return Mail { lf, octets, date, sender, seen: !self.random.one_in(5) };
        }
        match self.random.below(20) {
            0..=9 => self.plain(&mut lf),
            10..=13 => self.alternative(&mut lf),
            14..=15 => self.attachment(&mut lf),
            16..=17 => self.quoted_printable(&mut lf),
            18 => self.forwarded(&mut lf),
            _ => self.eight_bit(&mut lf),
        }
        Mail { lf, octets, date, sender, seen: !self.random.one_in(5) }
    }

    fn header(&mut self, out: &mut String, name: &str, sender: &str, date: InternalDate) {
        let received = InternalDate::from_timestamp(date.timestamp() + 7, 0);
        let id =
            format!("<{:x}.{}@{}>", self.random.bits(), self.number, sender.split('@').nth(1).unwrap_or("x"));
        let _ = write!(
            out,
            "Return-Path: <{sender}>\nReceived: from mx.example.net (mx.example.net [192.0.2.{}])\n\tby mail.example.com \
             (Postfix) with ESMTPS id {:010X}\n\tfor <reader@example.com>; {}\n",
            self.random.below(254) + 1,
            self.random.bits() & 0xff_ffff_ffff,
            rfc822_date(received),
        );
        if self.random.one_in(3) {
            let _ = write!(
                out,
                "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=mail;\n\th=from:to:subject; \
                 bh={:016x}{:016x};\n\tb={:016x}{:016x}{:016x}{:016x}\n",
                self.random.bits(),
                self.random.bits(),
                self.random.bits(),
                self.random.bits(),
                self.random.bits(),
                self.random.bits()
            );
        }
        let _ = write!(out, "Date: {}\nFrom: {name} <{sender}>\n", rfc822_date(date));
        let (to_name, to_local) = *self.random.pick(&NAMES);
        let _ = writeln!(out, "To: Reader <reader@example.com>, {to_name} <{to_local}@example.org>");
        if self.random.one_in(4) {
            out.push_str("Cc: team: ada@example.com, grace.hopper@example.org;\n");
        }
        let subject = self.thread(out, &id);
        let _ = write!(out, "Subject: {subject}\nMessage-ID: {id}\n");
        if self.random.one_in(5) {
            out.push_str("List-Id: Analytical engines <engines.lists.example.org>\nPrecedence: list\n");
        }
        out.push_str("MIME-Version: 1.0\n");
    }

    /// Returns the subject, and writes the reference fields when the message answers another.
    fn thread(&mut self, out: &mut String, id: &str) -> String {
        if !self.recent.is_empty() && self.random.one_in(2) {
            let (subject, parent, references) = self.random.pick(&self.recent).clone();
            let references =
                if references.len() > 600 { parent.clone() } else { format!("{references} {parent}") };
            let _ = write!(
                out,
                "In-Reply-To: {parent}\nReferences: {}\n",
                references.trim().replace(' ', "\n\t")
            );
            let subject = if subject.starts_with("Re: ") { subject } else { format!("Re: {subject}") };
            self.keep((subject.clone(), id.into(), references));
            return subject;
        }
        let subject = match self.random.below(6) {
            0 => "=?UTF-8?Q?Caf=C3=A9_and_=C3=BCbergabe?=".into(),
            1 => format!("[engines] {}", self.words(4)),
            _ => self.words(5),
        };
        self.keep((subject.clone(), id.into(), String::new()));
        subject
    }

    fn keep(&mut self, message: (String, String, String)) {
        if self.recent.len() >= 50 {
            let place = self.random.below(50);
            self.recent[place] = message;
        } else {
            self.recent.push(message);
        }
    }

    fn words(&mut self, count: usize) -> String {
        let words: Vec<&str> = (0..count).map(|_| *self.random.pick(&WORDS)).collect();
        words.join(" ")
    }

    fn prose(&mut self, out: &mut String, lines: usize) {
        for line in 0..lines {
            if line % 9 == 8 {
                out.push('\n');
                continue;
            }
            if self.random.one_in(12) {
                out.push_str("> ");
            }
            let words = 9 + self.random.below(5);
            let text = self.words(words);
            out.push_str(&text);
            out.push('\n');
        }
    }

    fn some_lines(&mut self) -> usize {
        let long = if self.random.one_in(8) { 160 } else { 20 };
        10 + self.random.below(45) + self.random.below(long)
    }

    fn plain(&mut self, out: &mut String) {
        out.push_str("Content-Type: text/plain; charset=us-ascii\n\n");
        let lines = self.some_lines();
        self.prose(out, lines);
        out.push_str("\n-- \nSent from the analytical engine\n");
    }

    fn alternative(&mut self, out: &mut String) {
        let boundary = format!("=_{:016x}", self.random.bits());
        let _ = write!(
            out,
            "Content-Type: multipart/alternative;\n boundary=\"{boundary}\"\n\n--{boundary}\nContent-Type: text/plain; \
             charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        );
        let lines = self.some_lines() / 2;
        self.prose(out, lines);
        out.push_str("Grüße\n");
        let _ = write!(out, "\n--{boundary}\nContent-Type: text/html; charset=utf-8\n\n<html><body>\n");
        for _ in 0..lines {
            let text = self.words(10);
            let _ = writeln!(out, "<p style=\"margin:0\">{text}</p>");
        }
        let _ = write!(out, "</body></html>\n\n--{boundary}--\n");
    }

    fn attachment(&mut self, out: &mut String) {
        let boundary = format!("----=_Part_{}", self.number);
        let _ = write!(
            out,
            "Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\nThis is a multi-part message in MIME \
             format.\n--{boundary}\nContent-Type: text/plain; charset=us-ascii\n\n"
        );
        self.prose(out, 8);
        let _ = write!(
            out,
            "--{boundary}\nContent-Type: application/pdf; name=\"report {}.pdf\"\nContent-Transfer-Encoding: \
             base64\nContent-Disposition: attachment;\n filename=\"report {}.pdf\"\n\n",
            self.number, self.number
        );
        let lines = 120 + self.random.below(460);
        for _ in 0..lines {
            for _ in 0..9 {
                let _ = write!(out, "{:08x}", self.random.bits() & 0xffff_ffff);
            }
            out.push_str("abcd\n");
        }
        let _ = writeln!(out, "--{boundary}--");
    }

    fn quoted_printable(&mut self, out: &mut String) {
        out.push_str(
            "Content-Type: text/plain; charset=ISO-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n",
        );
        let lines = self.some_lines();
        for _ in 0..lines {
            let (one, two) = (self.words(6), self.words(6));
            let _ = write!(out, "{one} caf=E9 =\n{two} =FCber\n");
        }
    }

    fn forwarded(&mut self, out: &mut String) {
        let boundary = format!("fwd{:08x}", self.random.bits() & 0xffff_ffff);
        let _ = write!(
            out,
            "Content-Type: multipart/mixed; boundary={boundary}\n\n--{boundary}\n\nSee below.\n\n--{boundary}\nContent-Type: \
             message/rfc822\n\nFrom: Old Friend <friend@example.org>\nTo: ada@example.com\nSubject: the old days\nDate: Mon, 6 \
             Jan 2020 10:00:00 +0000\n\n"
        );
        let lines = self.some_lines();
        self.prose(out, lines);
        let _ = writeln!(out, "--{boundary}--");
    }

    fn eight_bit(&mut self, out: &mut String) {
        out.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
        let lines = self.some_lines();
        for _ in 0..lines {
            let text = self.words(8);
            let _ = writeln!(out, "{text} naïve façade 山田太郎");
        }
    }
}

fn rfc822_date(date: InternalDate) -> String {
    let ((year, _, day), (hour, minute, second)) = (date.calendar(), date.clock());
    format!(
        "{}, {day} {} {year} {hour:02}:{minute:02}:{second:02} {}",
        date.weekday(),
        date.month_name(),
        date.zone()
    )
}

/// Writes `count` messages of a seed as a traditional mbox, as a delivery agent leaves it: no UIDs yet, body lines
/// that start with `From ` quoted.
pub fn write_mbox(out: &mut dyn Write, seed: u64, count: usize) -> io::Result<()> {
    write_mbox_of(out, &mut Corpus::new(seed), count)
}

/// Writes `count` messages of a corpus as a traditional mbox.
pub fn write_mbox_of(out: &mut dyn Write, corpus: &mut Corpus, count: usize) -> io::Result<()> {
    for _ in 0..count {
        let mail = corpus.message();
        let ctime = InternalDate::from_timestamp(mail.date.timestamp(), 0).ctime();
        let text = mail.lf.replace("\nFrom ", "\n>From ");
        let status = if mail.seen { "Status: RO\n" } else { "" };
        if !mail.octets.is_empty() {
            write!(out, "From {} {ctime}\n{text}{status}", mail.sender)?;
            out.write_all(&mail.octets)?;
            out.write_all(b"\n")?;
            continue;
        }
        let (header, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        write!(out, "From {} {ctime}\n{header}\n{status}\n{body}\n", mail.sender)?;
    }
    Ok(())
}

/// Writes `count` messages of a seed as an mbx mailbox with UIDs assigned.
pub fn write_mbx(out: &mut dyn Write, seed: u64, count: usize) -> io::Result<()> {
    let mut header = format!("*mbx*\r\n{:08x}{count:08x}\r\n", 1_740_830_400).into_bytes();
    header.extend_from_slice(&b"\r\n".repeat(30));
    header.resize(2048, 0);
    out.write_all(&header)?;
    let mut corpus = Corpus::new(seed);
    for uid in 1..=count {
        let mail = corpus.message();
        let crlf = mail.lf.replace('\n', "\r\n");
        let flags = if mail.seen { 0x11 } else { 0x10 };
        write!(out, "{},{};00000000{flags:04x}-{uid:08x}\r\n{crlf}", mail.date, crlf.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_mail_of_the_usual_size() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        write_mbox(&mut one, 7, 500).unwrap();
        write_mbox(&mut two, 7, 500).unwrap();
        assert!(one == two);
        let average = one.len() / 500;
        assert!((5_000..7_500).contains(&average), "{average}");
        assert_eq!(one.windows(6).filter(|six| six == b"\nFrom ").count(), 499);
    }

    #[test]
    fn mbx_sizes_are_those_of_the_texts() {
        let mut file = Vec::new();
        write_mbx(&mut file, 7, 20).unwrap();
        let mut rest = &file[2048..];
        let mut messages = 0;
        while !rest.is_empty() {
            let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            let line = std::str::from_utf8(&rest[..end]).unwrap();
            let size: usize = line.split([',', ';']).nth(1).unwrap().parse().unwrap();
            rest = &rest[end + 2 + size..];
            messages += 1;
        }
        assert_eq!(messages, 20);
    }
}
