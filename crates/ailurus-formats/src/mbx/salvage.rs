//! What is wrong with a file, and what can be salvaged of it (see [`crate::repair`]).

use super::Mbx;
use super::header::{self, Header, hex};
use super::line::{Field, Line, MOST};
use super::torn;
use crate::files::next_validity;
use crate::repair::lines::{DATE, Grammar, Spot, State, Step, Walk};
use crate::repair::single::{Locking, Salvage, Survey};
use crate::repair::uids::standing;
use ailurus_store::{Environment, Location, Result};
use ailurus_types::InternalDate;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TAIL: &[u8] = b";hhhhhhhhhhhh-hhhhhhhh\r\n";

impl Mbx {
    /// Returns what salvages a mailbox, and its file.
    pub(crate) fn salvage(&self, at: &Location) -> Result<(PathBuf, Box<dyn Salvage>)> {
        let offset = self.environment.clock.local_offset();
        Ok((self.path(at)?, Box::new(MbxSalvage { environment: Arc::clone(&self.environment), offset })))
    }
}

struct MbxSalvage {
    environment: Arc<Environment>,
    offset: i16,
}

impl Grammar for MbxSalvage {
    const MOST: usize = MOST;

    fn parse(&self, octets: &[u8]) -> Option<(usize, u64)> {
        let line = Line::parse(octets, 0, self.offset).ok()?;
        (line.date.is_some() || line.field.hidden).then_some((line.len.into(), line.size))
    }

    fn tail(&self) -> &'static [u8] {
        TAIL
    }
}

/// A message with what its line says.
struct Entry {
    spot: Spot,
    date: InternalDate,
    field: Field,
    /// The line is to be written anew.
    anew: bool,
}

impl Salvage for MbxSalvage {
    fn survey(&self, file: &File, path: &Path, len: u64) -> io::Result<Survey> {
        let mut survey = Survey::default();
        let mut head = Head::read(file, path, len, &mut survey)?;
        let entries = self.entries(file, path, len, &head, &mut survey)?;
        self.compose(path, entries, &mut head, &mut survey);
        Ok(survey)
    }

    fn locking(&self) -> Locking {
        Locking::Shared
    }
}

impl MbxSalvage {
    fn entries(
        &self,
        file: &File,
        path: &Path,
        len: u64,
        head: &Head,
        survey: &mut Survey,
    ) -> io::Result<Vec<Entry>> {
        let mut walk = Walk::new(self, file, head.len, len);
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(step) = walk.step()? {
            match step {
                Step::Gap { at, end } => {
                    let octets = walk.octets(at, MOST)?;
                    let what = Line::parse(octets, at, self.offset).err();
                    let what = what.unwrap_or_else(|| Line::date_fault(octets, at));
                    let torn = torn::is_torn(file, octets, at, len)?.is_some();
                    let what = format!("{what} ({} octets fit no message)", end - at);
                    match torn {
                        true => survey.findings.oddity(
                            path,
                            at,
                            format!("{what}: of an append that was not finished"),
                        ),
                        false => survey.findings.damage(path, at, what),
                    }
                    survey.plan.leave(at..end);
                }
                Step::Message(spot) => {
                    let octets = walk.octets(spot.at, MOST)?;
                    let date = entries.last().map_or(InternalDate::default(), |entry| entry.date);
                    let entry = self.entry(spot, octets, date);
                    self.judge(path, len, head, octets, &entry, survey);
                    entries.push(entry);
                }
            }
        }
        Ok(entries)
    }

    /// Reads what can be read of a line; the date of the message before is better than none.
    fn entry(&self, spot: Spot, octets: &[u8], before: InternalDate) -> Entry {
        let anew = spot.state != State::Whole;
        if let (State::Whole | State::Resized, Ok(line)) = (spot.state, Line::parse(octets, 0, self.offset)) {
            return Entry { spot, date: line.date.unwrap_or(before), field: line.field, anew };
        }
        let date = octets.get(..DATE).and_then(|date| InternalDate::parse(date, self.offset).ok());
        let line = &octets[..usize::from(spot.line).min(octets.len())];
        let tail = &line[line.len().saturating_sub(TAIL.len())..];
        let digits = |range: Range<usize>| tail.get(range).and_then(hex);
        let field =
            Field::of(digits(1..9).unwrap_or(0), digits(9..13).unwrap_or(0), digits(14..22).unwrap_or(0));
        Entry { spot, date: date.unwrap_or(before), field, anew }
    }

    fn judge(&self, path: &Path, len: u64, head: &Head, octets: &[u8], entry: &Entry, survey: &mut Survey) {
        let Spot { at, end, state, .. } = entry.spot;
        let size = Line::parse(octets, at, self.offset).map_or(0, |line| line.size);
        match state {
            State::Whole => survey.count.whole += 1,
            State::Resized => {
                survey.count.resized += 1;
                let (claimed, text) = (entry.spot.text().saturating_add(size), entry.spot.text());
                let what = if claimed > len && end == len {
                    format!("Last message (at {at}) runs past end of file ({claimed} > {len})")
                } else {
                    format!(
                        "the message at {at} has {} octets, and not the {size} that its line says",
                        end - text
                    )
                };
                let unfinished = end == len && head.header.uid_last.checked_add(1) == Some(entry.field.uid);
                match unfinished {
                    true => {
                        survey.findings.oddity(path, at, format!("{what}: an append that was not finished"))
                    }
                    false => survey.findings.damage(path, at, what),
                }
            }
            State::Rough => {
                survey.count.mended += 1;
                let what = Line::parse(octets, at, self.offset).err();
                survey.findings.damage(path, at, what.unwrap_or_else(|| Line::date_fault(octets, at)));
            }
        }
    }

    /// Puts messages whose UID stands first, and makes the header agree.
    fn compose(&self, path: &Path, mut entries: Vec<Entry>, head: &mut Head, survey: &mut Survey) {
        let uids: Vec<_> = entries.iter().map(|entry| entry.field.uid).collect();
        let mut stands = standing(&uids);
        let last = head.header.uid_last;
        let beyond: Vec<_> = (0..uids.len()).filter(|index| stands[*index] && uids[*index] > last).collect();
        let follow = beyond.iter().zip(1..).all(|(index, more)| last.checked_add(more) == Some(uids[*index]));
        let mut highest = uids.iter().zip(&stands).filter(|(_, stands)| **stands).map(|(uid, _)| *uid).max();
        if let ([only], false, false) = (beyond.as_slice(), follow, head.is_new_validity) {
            // It alone is beyond: it is wrong, and not the header.
            stands[*only] = false;
            highest = Some(last);
        } else if !follow && !head.is_new_validity {
            survey.findings.oddity(path, 15, format!("UIDLAST is {last}, and messages have higher UIDs"));
            head.new_validity(&self.environment, survey);
        }
        head.header.uid_last = last.max(highest.unwrap_or(0));
        let known = uids.iter().zip(&stands).rposition(|(uid, stands)| *uid != 0 && *stands);
        for (index, entry) in entries.iter_mut().enumerate().filter(|(index, _)| !stands[*index]) {
            let (at, uid) = (entry.spot.at, entry.field.uid);
            survey.findings.oddity(path, at, format!("Invalid UID {uid:08x} in message {}", index + 1));
            let moves = if known > Some(index) { " and goes to the end" } else { "" };
            survey.notes.push(format!("Message {} gets a new UID{moves}.", index + 1));
            survey.notes.truncate(100);
            entry.anew |= uid != 0;
            entry.field.uid = 0;
        }
        head.finish(&self.environment, survey);
        let (first, later): (Vec<_>, Vec<_>) = entries.iter().zip(&stands).partition(|(_, stands)| **stands);
        for (entry, _) in first.into_iter().chain(later) {
            let Spot { at, end, .. } = entry.spot;
            if entry.anew {
                let mut line = Vec::new();
                Line::append_to(entry.date, end - entry.spot.text(), entry.field, &mut line);
                survey.plan.add(line);
                survey.plan.leave(at..entry.spot.text());
                survey.plan.copy(entry.spot.text()..end);
            } else {
                survey.plan.copy(at..end);
            }
        }
    }
}

/// The header of the file, put right.
struct Head {
    header: Header,
    /// Octets of it in the file.
    len: u64,
    is_new_validity: bool,
    /// As it is in the file, if that is one.
    as_is: Option<Header>,
}

impl Head {
    fn read(file: &File, path: &Path, len: u64, survey: &mut Survey) -> io::Result<Self> {
        let mut raw = Vec::new();
        crate::journal::read_up_to(file, 0, header::SIZE, &mut raw)?;
        let (header, faults) = Header::salvage(&raw);
        for (offset, what) in &faults {
            survey.findings.damage(path, *offset, what.clone());
        }
        let as_is = Header::parse(&raw).filter(|_| faults.is_empty());
        let is_new_validity = header.uid_validity == 0;
        if header.intent().is_some() {
            survey.findings.oddity(path, header::FILL as u64, "an append was begun and not finished");
        }
        Ok(Self { header, len: len.min(header::SIZE as u64), is_new_validity, as_is })
    }

    fn new_validity(&mut self, environment: &Environment, survey: &mut Survey) {
        self.is_new_validity = true;
        self.header.uid_validity = next_validity(environment, self.header.uid_validity);
        survey.notes.push("UIDs stay, under a new UIDVALIDITY.".into());
    }

    /// Decides what becomes of the header, now that all messages are known.
    fn finish(&mut self, environment: &Environment, survey: &mut Survey) {
        if self.header.uid_validity == 0 {
            self.new_validity(environment, survey);
        }
        let is_changed = self.as_is.as_ref() != Some(&self.header);
        if !is_changed && survey.findings.damaged() == 0 {
            survey.plan.copy(0..self.len);
            return;
        }
        // What it announces is somewhere else now.
        self.header.set_intent(None);
        let encoded = self.header.encode().to_vec();
        if self.as_is.as_ref() == Some(&self.header) {
            survey.plan.copy(0..self.len);
        } else {
            survey.plan.add(encoded);
            survey.plan.leave(0..self.len);
        }
    }
}
