//! What is wrong with a file, and what can be salvaged of it (see [`crate::repair`]).
//!
//! Hardly anything is no mailbox of unix format: what does not begin a message belongs to the one before. So damage is what was
//! once more than that: something before the first message, a From_ line or MARK that lost an octet, a header that runs into
//! the next message, a damaged UID state.

use super::dialect::{Dialect, MARK, has_mark_after};
use super::parse::number;
use super::window::{Window, end_without_nuls};
use super::{Unix, bad_name, rough};
use crate::crlf::Internal;
use crate::files::next_validity;
use crate::from_line::{FROM, FromLine};
use crate::repair::single::{Locking, Salvage, Survey};
use crate::repair::uids::standing;
use ailurus_store::{Environment, Location, Result};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Octets of a line that are looked at to tell what was once a From_ line.
const LOOK: usize = 512;

impl Unix {
    /// Returns what salvages a mailbox, and its file.
    pub(crate) fn salvage(&self, at: &Location) -> Result<(PathBuf, Box<dyn Salvage>)> {
        let path = self.path(at).ok_or_else(|| bad_name(at))?;
        let environment = self.shared.env.clone();
        Ok((path.into(), Box::new(UnixSalvage { dialect: self.shared.dialect, environment })))
    }
}

struct UnixSalvage {
    dialect: Dialect,
    environment: Environment,
}

impl Salvage for UnixSalvage {
    fn survey(&self, file: &File, path: &Path, len: u64) -> io::Result<Survey> {
        let end = end_without_nuls(file, 0, len)?;
        let window = Window::new(file, 0, end);
        let mut scan =
            Scan { dialect: self.dialect, window, path, survey: Survey::default(), found: Found::default() };
        scan.run()?;
        let Scan { mut survey, mut found, .. } = scan;
        if end < len {
            survey.findings.oddity(path, end, format!("{} NULs at the end", len - end));
        }
        found.settle(&self.environment, path, &mut survey);
        found.compose(file, self.dialect, &mut survey)?;
        survey.plan.copy(end..len);
        Ok(survey)
    }

    fn locking(&self) -> Locking {
        Locking::Session
    }
}

/// A message.
#[derive(Debug)]
struct Message {
    start: u64,
    end: u64,
    /// Where its header begins.
    header: u64,
    /// 0: none.
    uid: u32,
    /// It is to lose its X-UID.
    goes: bool,
    is_pseudo: bool,
    /// Something of it is written anew.
    mended: bool,
    /// The file ends within its header.
    is_open: bool,
}

/// What is to be changed of the file: the octets of the range become these.
#[derive(Debug)]
struct Fix {
    range: Range<u64>,
    new: Vec<u8>,
}

/// The line with the UID state.
#[derive(Debug)]
struct Base {
    range: Range<u64>,
    line: Vec<u8>,
}

#[derive(Debug, Default)]
struct Found {
    messages: Vec<Message>,
    /// Ascending.
    fixes: Vec<Fix>,
    base: Option<Base>,
    /// A line of the first message that was once one.
    rough_base: Option<(Range<u64>, Vec<u8>)>,
    /// The X-UID lines of all messages.
    uid_lines: Vec<Range<u64>>,
}

struct Scan<'s> {
    dialect: Dialect,
    window: Window<'s>,
    path: &'s Path,
    survey: Survey,
    found: Found,
}

/// What begins at a line.
enum Start {
    /// A message, with so many octets before its header.
    Message(u64),
    /// What was once the beginning of one: so many octets, and what should be there.
    Rough(u64, Vec<u8>),
    Text,
}

impl Scan<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut at = self.skip_blanks()?;
        // The first octet of a MARK can have become one of those.
        if self.dialect == Dialect::Mmdf && at > 0 && rough::is_mark(self.window.data(at - 1, MARK.len())?) {
            at -= 1;
        }
        self.survey.plan.copy(0..at);
        let first = at;
        while at < self.window.end {
            let envelope = self.envelope(at)?;
            if envelope.is_none() && at == first {
                at = self.find_first(at)?;
                continue;
            }
            if self.window.end <= at {
                break;
            }
            let header = envelope.unwrap_or(at);
            self.found.messages.push(Message {
                start: at,
                end: at,
                header,
                uid: 0,
                goes: false,
                is_pseudo: false,
                is_open: false,
                mended: self.found.fixes.last().is_some_and(|fix| fix.range.start >= at),
            });
            let text = self.header(header)?;
            at = self.text(text)?;
            if let Some(message) = self.found.messages.last_mut() {
                message.end = at;
            }
        }
        Ok(())
    }

    fn number(&self) -> usize {
        self.found.messages.len()
    }

    fn damage(&mut self, at: u64, what: String) {
        self.survey.findings.damage(self.path, at, what);
    }

    fn skip_blanks(&mut self) -> io::Result<u64> {
        let mut position = 0;
        loop {
            let data = self.window.data(position, 1)?;
            let blank = |octet: &u8| matches!(octet, b'\r' | b'\n' | b' ' | b'\t' | 0);
            match data.iter().position(|octet| !blank(octet)) {
                Some(at) => return Ok(position + at as u64),
                None if data.is_empty() => return Ok(position),
                None => position += data.len() as u64,
            }
        }
    }

    /// Passes over what is before the first message.
    fn find_first(&mut self, start: u64) -> io::Result<u64> {
        let mut at = start;
        while at < self.window.end {
            if at > start && !matches!(self.look(at)?, Start::Text) {
                break;
            }
            at += self.window.line(at)?.1;
        }
        self.damage(start, format!("{} octets before the first message are none", at - start));
        self.survey.plan.leave(start..at);
        Ok(at)
    }

    /// Looks at what is before a header; returns where that begins. `None`: no message begins here.
    fn envelope(&mut self, at: u64) -> io::Result<Option<u64>> {
        let mut header = match self.look(at)? {
            Start::Message(len) => at + len,
            Start::Rough(len, new) => {
                let what = match self.dialect {
                    Dialect::Unix => format!("the From_ line of message {} is damaged", self.number() + 1),
                    Dialect::Mmdf => "a line between messages is damaged".into(),
                };
                self.damage(at, what);
                self.found.fixes.push(Fix { range: at..at + len, new });
                at + len
            }
            Start::Text if self.dialect == Dialect::Mmdf && !self.found.messages.is_empty() => at,
            Start::Text => return Ok(None),
        };
        if self.dialect == Dialect::Mmdf {
            let end = self.window.end;
            let (line, len) = self.window.line(header)?;
            if header + len == end && line.starts_with(FROM) && !line.ends_with(b"\n") {
                return self.cut_off(at).map(|()| Some(at));
            }
            match self.look_for_from(header)? {
                Start::Message(len) => header += len,
                Start::Rough(len, new) => {
                    self.damage(
                        header,
                        format!("the From_ line of message {} is damaged", self.number() + 1),
                    );
                    self.found.fixes.push(Fix { range: header..header + len, new });
                    header += len;
                }
                Start::Text => {}
            }
        }
        Ok(Some(header))
    }

    /// Looks whether a message begins at a line.
    fn look(&mut self, at: u64) -> io::Result<Start> {
        if self.dialect == Dialect::Unix {
            return self.look_for_from(at);
        }
        let octets = self.window.data(at, MARK.len())?;
        let octets = &octets[..octets.len().min(MARK.len())];
        Ok(if octets == MARK {
            Start::Message(MARK.len() as u64)
        } else if rough::is_mark(octets) {
            Start::Rough(MARK.len() as u64, MARK.to_vec())
        } else {
            Start::Text
        })
    }

    fn look_for_from(&mut self, at: u64) -> io::Result<Start> {
        let octets = self.window.data(at, LOOK)?;
        let octets = &octets[..octets.len().min(LOOK)];
        if octets.starts_with(FROM) {
            let (line, len) = self.window.line(at)?;
            if let Some(line) = line.strip_suffix(b"\n")
                && FromLine::parse(line.strip_suffix(b"\r").unwrap_or(line)).is_some()
            {
                return Ok(Start::Message(len));
            }
        }
        let octets = self.window.data(at, LOOK)?;
        let mended = rough::from_line(&octets[..octets.len().min(LOOK)]);
        Ok(mended.map_or(Start::Text, |mended| Start::Rough(mended.len as u64, mended.line)))
    }

    /// Reads a header; returns where the text begins.
    fn header(&mut self, start: u64) -> io::Result<u64> {
        let (mut at, mut is_open) = (start, true);
        while at < self.window.end {
            if at > start && !matches!(self.look(at)?, Start::Text) {
                // In mmdf format a MARK ends a header as well.
                if self.dialect == Dialect::Unix {
                    self.damage(
                        at,
                        format!("the header of message {} runs into the next one", self.number()),
                    );
                    self.found.fixes.push(Fix { range: at..at, new: b"\n".to_vec() });
                    self.mend();
                }
                return Ok(at);
            }
            let (line, len) = self.window.line(at)?;
            let (line, range) = (line[..line.len().min(4096)].to_vec(), at..at + len);
            at += len;
            if matches!(line.as_slice(), b"\n" | b"\r\n") {
                is_open = false;
                break;
            }
            match Internal::of(&line) {
                // In another letter case it is none to the reference.
                Some(Internal::Bogus) | None => self.note_rough_base(&line, range),
                Some(field) => self.field(field, &line, range),
            }
        }
        if let Some(message) = self.found.messages.last_mut() {
            message.is_open = is_open;
        }
        Ok(at)
    }

    fn mend(&mut self) {
        if let Some(message) = self.found.messages.last_mut() {
            message.mended = true;
        }
    }

    fn field(&mut self, field: Internal, line: &[u8], range: Range<u64>) {
        let is_first = self.found.messages.len() == 1;
        match field {
            Internal::XImap | Internal::XImapBase if is_first && self.found.base.is_none() => {
                let state = memchr::memchr(b':', line).and_then(|colon| state_of(&line[colon + 1..]));
                match state {
                    Some(_) => {
                        self.found.base = Some(Base { range, line: line.to_vec() });
                        if let Some(message) = self.found.messages.last_mut() {
                            message.is_pseudo = field == Internal::XImap;
                        }
                    }
                    None => self.note_rough_base(line, range),
                }
            }
            Internal::XUid if self.found.base.is_some() || self.found.rough_base.is_some() => {
                let value = memchr::memchr(b':', line).map(|colon| line[colon + 1..].trim_ascii_start());
                let value =
                    value.and_then(|value| Some((value, number(value).filter(|(uid, _)| *uid != 0)?)));
                let Some((value, (uid, digits))) = value else { return };
                let Some(message) = self.found.messages.last_mut() else { return };
                // Two of them, or one that goes on or is cut off, cannot be believed.
                let is_plain = line.ends_with(b"\n") && value[digits..].trim_ascii().is_empty();
                message.goes |= message.uid != 0 || !is_plain;
                message.uid = uid;
                self.found.uid_lines.push(range);
            }
            _ => {}
        }
    }

    /// Notes a line of the first message that is nearly one with the UID state.
    fn note_rough_base(&mut self, line: &[u8], range: Range<u64>) {
        if self.found.messages.len() != 1 || self.found.base.is_some() || self.found.rough_base.is_some() {
            return;
        }
        if let Some(line) = rough_base(line) {
            self.found.rough_base = Some((range, line));
        } else if let Some(at) = memchr::memmem::find(line, b"X-IMAP").filter(|at| *at > 0)
            && let Some(mended) = rough_base(&line[at..]).filter(|mended| *mended == line[at..])
        {
            // The end of the line before was lost.
            self.found.rough_base = Some((range.start + at as u64 - 1..range.end, mended));
        }
    }

    /// Finds the end of a text.
    fn text(&mut self, start: u64) -> io::Result<u64> {
        let mut at = start;
        if self.dialect == Dialect::Mmdf {
            return self.text_until_mark(start);
        }
        let mut after_empty = true;
        while at < self.window.end {
            let data = self.window.data(at, 8)?;
            let maybe = data.starts_with(FROM) || data.get(1..=FROM.len()) == Some(FROM) || after_empty;
            if maybe && !matches!(self.look(at)?, Start::Text) {
                return Ok(at);
            }
            let end = self.window.end;
            let (line, len) = self.window.line(at)?;
            if after_empty && at + len == end && line.starts_with(FROM) && !line.ends_with(b"\n") {
                return self.cut_off(at).map(|()| at);
            }
            after_empty = matches!(line, b"\n" | b"\r\n");
            at += len;
        }
        Ok(at)
    }

    /// Leaves what there is of a message that was cut off within its From_ line.
    fn cut_off(&mut self, at: u64) -> io::Result<()> {
        self.damage(at, "the file ends within a From_ line".into());
        self.survey.plan.leave(at..self.window.end);
        self.window.end = at;
        Ok(())
    }

    fn text_until_mark(&mut self, start: u64) -> io::Result<u64> {
        let mut at = start;
        while at < self.window.end {
            match self.look(at)? {
                Start::Message(len) => return Ok(at + len),
                Start::Rough(len, new) => {
                    self.damage(at, "a line between messages is damaged".into());
                    self.found.fixes.push(Fix { range: at..at + len, new });
                    self.mend();
                    return Ok(at + len);
                }
                Start::Text => {}
            }
            let (line, len) = self.window.line(at)?;
            if line.len() as u64 == len
                && line.strip_suffix(MARK).is_some_and(|before| !before.is_empty() && has_mark_after(before))
            {
                return Ok(at + len);
            }
            at += len;
        }
        Ok(at)
    }
}

impl Found {
    /// Decides whose UID stands, and what becomes of the UID state.
    fn settle(&mut self, environment: &Environment, path: &Path, survey: &mut Survey) {
        if let (None, Some((range, line))) = (&self.base, self.rough_base.take()) {
            self.restore_base(environment, path, (range, line), survey);
        }
        if self.base.is_none() {
            self.messages.iter_mut().for_each(|message| (message.uid, message.goes) = (0, false));
        }
        let uids: Vec<_> = self.messages.iter().filter(|one| !one.is_pseudo).map(|one| one.uid).collect();
        let doubtful = |message: &Message| message.goes && !message.is_pseudo;
        if self.messages.iter().any(doubtful) || standing(&uids).contains(&false) {
            let believed = self.messages.iter().filter(|one| !one.is_pseudo);
            let believed: Vec<_> = believed.map(|one| if one.goes { 0 } else { one.uid }).collect();
            let stands = standing(&believed);
            let real = self.messages.iter_mut().filter(|one| !one.is_pseudo);
            for ((number, message), stands) in (1..).zip(real).zip(stands) {
                message.goes |= !stands;
                if !message.goes {
                    continue;
                }
                let uid = message.uid;
                survey.findings.oddity(
                    path,
                    message.start,
                    format!("the UID {uid} of message {number} cannot be"),
                );
                if survey.notes.len() < 100 {
                    survey.notes.push(format!("Message {number} goes to the end, and gets a new UID."));
                }
            }
        }
        for message in self.messages.iter().filter(|one| !one.is_pseudo) {
            match message.mended {
                true => survey.count.mended += 1,
                false => survey.count.whole += 1,
            }
        }
    }

    fn restore_base(
        &mut self,
        environment: &Environment,
        path: &Path,
        (range, mut line): (Range<u64>, Vec<u8>),
        survey: &mut Survey,
    ) {
        survey.findings.oddity(path, range.start, "the line with UIDVALIDITY and the last UID is damaged");
        let colon = memchr::memchr(b':', &line).unwrap_or(0);
        let is_pseudo = colon == b"X-IMAP".len();
        let joined = range.end - range.start > line.len() as u64;
        if state_of(&line[colon + 1..]).is_none() {
            let last = self.messages.iter().map(|message| message.uid).max().unwrap_or(0);
            let validity = next_validity(environment, 0);
            let words =
                line[colon + 1..].trim_ascii().split(|octet| *octet == b' ').filter(|word| !word.is_empty());
            let words: Vec<_> = words.skip(2).map(<[u8]>::to_vec).collect();
            let mut new = [&line[..=colon], format!(" {validity} {last:010}").as_bytes()].concat();
            for word in words {
                new.push(b' ');
                new.extend(word);
            }
            new.push(b'\n');
            line = new;
            survey.notes.push("UIDs stay, under a new UIDVALIDITY.".into());
        }
        if let Some(message) = self.messages.first_mut() {
            (message.is_pseudo, message.mended) = (is_pseudo, true);
        }
        let at = self.fixes.partition_point(|fix| fix.range.start < range.start);
        let new = if joined { [b"\n", line.as_slice()].concat() } else { line.clone() };
        self.fixes.insert(at, Fix { range: range.clone(), new });
        self.base = Some(Base { range, line });
    }

    /// Puts the messages together in their new order.
    fn compose(&mut self, file: &File, dialect: Dialect, survey: &mut Survey) -> io::Result<()> {
        let Some(last) = self.messages.last() else { return Ok(()) };
        let end = last.end;
        let (ends_line, ends_marked) = (ends_with(file, end, b"\n")?, ends_with(file, end, MARK)?);
        let stay = self.messages.iter().filter(|message| !message.goes || message.is_pseudo);
        let order: Vec<_> =
            stay.chain(self.messages.iter().filter(|one| one.goes && !one.is_pseudo)).collect();
        let holder = self.messages.first().map(|message| message.start);
        let moves_base = self.base.is_some() && order.first().map(|one| one.start) != holder;
        for (index, message) in order.iter().enumerate() {
            let mut pieces = Pieces { found: self, survey, at: message.start };
            if index == 0 && dialect == Dialect::Mmdf && !starts_with(file, message.start, MARK)? {
                let fixed = pieces.found.fixes.iter().any(|fix| fix.range.start == message.start);
                if !fixed {
                    pieces.survey.plan.add(MARK.to_vec());
                }
            }
            if index == 0 && moves_base {
                pieces.up_to(message.header);
                let line = pieces.found.base.as_ref().map(|base| base.line.clone());
                pieces.survey.plan.add(line.unwrap_or_default());
            }
            pieces.rest_of(message, moves_base);
            if message.end == end && index + 1 < order.len() {
                let line_end: &[u8] = if ends_line { b"" } else { b"\n" };
                let header_end: &[u8] = if message.is_open { b"\n" } else { b"" };
                let message_end = if dialect == Dialect::Mmdf { MARK } else { b"\n" };
                let is_ended = ends_line && !message.is_open && (dialect == Dialect::Unix || ends_marked);
                survey.plan.add([line_end, header_end, if is_ended { b"" } else { message_end }].concat());
            }
        }
        Ok(())
    }
}

/// What goes into the plan for one message, from its start on.
struct Pieces<'p> {
    found: &'p Found,
    survey: &'p mut Survey,
    at: u64,
}

impl Pieces<'_> {
    fn up_to(&mut self, end: u64) {
        let from = self.found.fixes.partition_point(|fix| fix.range.start < self.at);
        let fixes = self.found.fixes[from..].iter().take_while(|fix| fix.range.start < end);
        for fix in fixes.filter(|fix| !fix.range.is_empty()) {
            self.replace(fix.range.clone(), fix.new.clone());
        }
        self.survey.plan.copy(self.at..end);
        self.at = end;
    }

    fn replace(&mut self, range: Range<u64>, new: Vec<u8>) {
        self.survey.plan.copy(self.at..range.start);
        self.survey.plan.add(new);
        self.survey.plan.leave(range.clone());
        self.at = range.end;
    }

    /// Goes on to the end of the message, without lines that it is to lose.
    fn rest_of(&mut self, message: &Message, moves_base: bool) {
        let lines = &self.found.uid_lines;
        let from = lines.partition_point(|line| line.start < self.at);
        let uids = lines[from..].iter().take_while(|line| line.start < message.end && message.goes);
        let base = self.found.base.as_ref().map(|base| base.range.clone());
        let base = base.filter(|base| moves_base && base.start >= message.start && base.start < message.end);
        let mut lost: Vec<_> = uids.cloned().chain(base).collect();
        lost.sort_unstable_by_key(|range| range.start);
        for range in lost {
            self.up_to(range.start);
            self.replace(range, Vec::new());
        }
        self.up_to(message.end);
        // What is missing at the very end belongs to this message.
        let at = self.found.fixes.partition_point(|fix| fix.range.start < message.end);
        if let Some(fix) = self.found.fixes.get(at).filter(|fix| fix.range == (message.end..message.end)) {
            self.survey.plan.add(fix.new.clone());
        }
    }
}

/// Reads UIDVALIDITY and the last UID of a line.
fn state_of(value: &[u8]) -> Option<(u32, u32)> {
    let value = &value[value.iter().take_while(|octet| **octet == b' ').count()..];
    let (validity, digits) = number(value)?;
    let rest = &value[digits..];
    let between = rest.iter().take_while(|octet| **octet == b' ').count();
    let (last, _) = number(&rest[between..])?;
    (validity != 0 && between > 0).then_some((validity, last))
}

/// Returns the line with its name put right, if it is nearly one with the UID state and has something for a value.
fn rough_base(line: &[u8]) -> Option<Vec<u8>> {
    const NAMES: [&[u8]; 2] = [b"X-IMAPbase: ", b"X-IMAP: "];
    NAMES.iter().find_map(|name| {
        let (is, value) = line.split_at_checked(name.len())?;
        let wrong = is.iter().zip(*name).filter(|(octet, wanted)| octet != wanted).count();
        let digits = value.iter().take(12).filter(|octet| octet.is_ascii_digit()).count();
        (wrong <= 2 && digits >= 5 && value.ends_with(b"\n")).then(|| [name, value].concat())
    })
}

fn starts_with(file: &File, at: u64, wanted: &[u8]) -> io::Result<bool> {
    let mut octets = Vec::new();
    crate::journal::read_up_to(file, at, wanted.len(), &mut octets)?;
    Ok(octets == wanted)
}

fn ends_with(file: &File, end: u64, wanted: &[u8]) -> io::Result<bool> {
    let Some(at) = end.checked_sub(wanted.len() as u64) else { return Ok(false) };
    starts_with(file, at, wanted)
}
