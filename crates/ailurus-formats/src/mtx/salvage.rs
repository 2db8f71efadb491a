//! What is wrong with a file, and what can be salvaged of it (see [`crate::repair`]).
//!
//! The sidecar tells messages by date, size and first octets, in their order. A message of which that is different now would
//! make all behind it new ones. So it goes to the end: it alone gets a new UID. Damage that leaves a line as good as any is
//! not seen: a digit of a date that is another one, a size that happens to end with a line of the text.

use super::align::IDENTITY;
use super::line::{FLAGS, Field, Line, MOST};
use super::walk::{HEAD, key};
use super::{Dialect, Mtx};
use crate::disk::Disk;
use crate::journal::Places;
use crate::repair::Findings;
use crate::repair::folder::look_at_sidecar;
use crate::repair::lines::{DATE, Grammar, Spot, State, Step, Walk};
use crate::repair::single::{Locking, Salvage, Survey};
use ailurus_store::{Location, Result};
use ailurus_types::InternalDate;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Mtx {
    /// Returns what salvages a mailbox, and its file.
    pub(crate) fn salvage(&self, at: &Location) -> Result<(PathBuf, Box<dyn Salvage>)> {
        let offset = self.environment.clock.local_offset();
        Ok((
            self.path(at)?,
            Box::new(MtxSalvage { dialect: self.dialect, disk: Arc::clone(&self.disk), offset }),
        ))
    }
}

struct MtxSalvage {
    dialect: &'static Dialect,
    disk: Arc<dyn Disk>,
    offset: i16,
}

impl Grammar for MtxSalvage {
    const MOST: usize = MOST;

    fn parse(&self, octets: &[u8]) -> Option<(usize, u64)> {
        let line = Line::parse(octets, 0, self.dialect, self.offset).ok()?;
        Some((line.len.into(), line.size))
    }

    fn tail(&self) -> &'static [u8] {
        if self.dialect.crlf { b";dddddddddddd\r\n" } else { b";dddddddddddd\n" }
    }
}

/// A message that goes to the end.
struct Later {
    line: Vec<u8>,
    spot: Spot,
}

impl Salvage for MtxSalvage {
    fn survey(&self, file: &File, path: &Path, len: u64) -> io::Result<Survey> {
        let mut survey = Survey::default();
        let mut walk = Walk::new(self, file, 0, len);
        let (mut later, mut date) = (Vec::new(), InternalDate::default());
        while let Some(step) = walk.step()? {
            match step {
                Step::Gap { at, end } => {
                    let fault = self.fault(walk.octets(at, MOST)?, at);
                    survey.findings.damage(path, at, format!("{fault} ({} octets fit no message)", end - at));
                    survey.plan.leave(at..end);
                }
                Step::Message(spot) if spot.state == State::Whole && self.is_known(spot, &mut walk)? => {
                    let line = Line::parse(walk.octets(spot.at, MOST)?, 0, self.dialect, self.offset);
                    date = line.map_or(date, |line| line.date);
                    survey.count.whole += 1;
                    survey.plan.copy(spot.at..spot.end);
                }
                Step::Message(spot) => {
                    let octets = walk.octets(spot.at, MOST + HEAD)?;
                    self.judge(path, len, spot, octets, &mut survey);
                    let line = self.mended(spot, octets, date);
                    if self.is_known_as(spot, octets, &line) {
                        survey.plan.add(line);
                        survey.plan.leave(spot.at..spot.text());
                        survey.plan.copy(spot.text()..spot.end);
                    } else {
                        later.push(Later { line, spot });
                    }
                }
            }
        }
        if !later.is_empty() {
            let what = "Messages whose date or size changed are at the end, and get new UIDs";
            survey.notes.push(format!("{what}: {}.", later.len()));
        }
        for Later { line, spot } in later {
            survey.plan.add(line);
            survey.plan.leave(spot.at..spot.text());
            survey.plan.copy(spot.text()..spot.end);
        }
        Ok(survey)
    }

    fn look_beside(&self, file: &File, path: &Path, home: &Path, findings: &mut Findings) {
        let Ok(places) = Places::of_sidecar(path, file, home) else { return };
        for path in places.paths() {
            look_at_sidecar::<IDENTITY>(&self.disk, path, findings);
        }
    }

    fn locking(&self) -> Locking {
        Locking::Shared
    }
}

impl MtxSalvage {
    /// Tells whether a message is good where it is: the first line tells the format, and must be nothing but what it should be.
    fn is_known(&self, spot: Spot, walk: &mut Walk<'_, Self>) -> io::Result<bool> {
        Ok(spot.at > 0 || Line::is_first(walk.octets(0, MOST)?, self.dialect))
    }

    fn fault(&self, octets: &[u8], at: u64) -> String {
        Line::parse(octets, at, self.dialect, self.offset).err().unwrap_or_default()
    }

    fn judge(&self, path: &Path, len: u64, spot: Spot, octets: &[u8], survey: &mut Survey) {
        let Spot { at, end, state, .. } = spot;
        if state == State::Whole {
            survey.count.mended += 1;
            survey.findings.damage(path, at, "the first line is none by which the format is known");
            return;
        }
        if state == State::Rough {
            survey.count.mended += 1;
            survey.findings.damage(path, at, self.fault(octets, at));
            return;
        }
        survey.count.resized += 1;
        let size = Line::parse(octets, at, self.dialect, self.offset).map_or(0, |line| line.size);
        let (claimed, text) = (spot.text().saturating_add(size), spot.text());
        let what = if claimed > len && end == len {
            format!("Last message (at {at}) runs past end of file ({claimed} > {len})")
        } else {
            format!("the message at {at} has {} octets, and not the {size} that its line says", end - text)
        };
        survey.findings.damage(path, at, what);
    }

    /// Returns the line as it should be, of what can be read of it; the date of the message before is better than none.
    fn mended(&self, spot: Spot, octets: &[u8], before: InternalDate) -> Vec<u8> {
        let (mut date, field);
        if let Ok(line) = Line::parse(octets, 0, self.dialect, self.offset) {
            (date, field) = (line.date, line.field);
        } else {
            date = before;
            let line = &octets[..usize::from(spot.line).min(octets.len())];
            if let Ok(found) = InternalDate::parse(&line[..DATE.min(line.len())], self.offset) {
                date = found;
            }
            let flags = line.len().checked_sub(self.tail().len() - 1).and_then(|at| line.get(at..at + FLAGS));
            field = flags.and_then(Field::salvage).unwrap_or_default();
        }
        let mut line = Vec::new();
        Line::append_to(date, spot.end - spot.text(), field, self.dialect, &mut line);
        line
    }

    /// Tells whether the sidecar knows a message by its new line as well.
    fn is_known_as(&self, spot: Spot, octets: &[u8], line: &[u8]) -> bool {
        let (old, text) = octets.split_at(usize::from(spot.line).min(octets.len()));
        let head = usize::try_from(spot.end - spot.text()).unwrap_or(HEAD).min(HEAD).min(text.len());
        let key = |line| key(Line::constant(line), &text[..head]);
        spot.state == State::Rough && key(old) == key(line)
    }
}
