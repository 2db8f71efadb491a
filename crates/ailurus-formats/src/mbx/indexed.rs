//! What of an open mailbox is kept in an index, and an index made a mailbox again.
//!
//! Only a mailbox without holes, whose UIDs are all in the file, is kept. A session that may write writes down that it
//! was told of new messages, as after a scan.

use super::file::MbxFile;
use super::header::Header;
use super::line::Line;
use super::mailbox::{MbxMailbox, Spot};
use crate::file_times::FileTimes;
use crate::index::{Found, OWN, Place, Proof, Reading, Stamp, Summary, as_written};
use ailurus_store::{Access, MessageInfo, Result, Status};
use ailurus_types::Uid;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

impl Place for Spot {
    fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let words = [self.offset, self.size, self.header].map(u64::to_le_bytes);
        out[..24].copy_from_slice(words.as_flattened());
        out[24] = self.line_len;
        out
    }

    fn decode(octets: &[u8; 32]) -> Option<Self> {
        // Larger offsets than any file's would overflow where they are added up.
        const MOST: u64 = 1 << 62;
        let word = |at: usize| Some(u64::from_le_bytes(*octets.get(at..)?.first_chunk()?));
        let (offset, size, header) = (word(0)?, word(8)?, word(16)?);
        let spot = Self { offset, size, header, line_len: octets[24], hidden: false };
        Some(spot).filter(|spot| spot.offset < MOST && spot.size < MOST)
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.end()
    }
}

impl MbxFile {
    /// Returns what STATUS tells, by the index.
    pub(super) fn quick_status(&self) -> Result<Option<Status>> {
        let Some(indexes) = self.indexes() else { return Ok(None) };
        let _lock = self.lock()?;
        if !self.is_current() || self.places()?.any() {
            return Ok(None);
        }
        let stamp = Stamp::of_file(&self.file).map_err(self.io("look at"))?;
        Ok(indexes.find(stamp, Access::ReadOnly).map(|found| found.head.status()))
    }
}

/// Adds messages, which were appended as these lines, to the index.
pub(super) fn extend(
    file: &MbxFile,
    found: Found<'_>,
    proof: Proof,
    header: &Header,
    lines: &[Vec<u8>],
    start: u64,
) {
    let (mut messages, mut spots, mut offset) = (Vec::new(), Vec::new(), start);
    for line in lines {
        let Ok(line) = Line::parse(line, offset, file.local_offset()) else { return };
        let (Some(uid), Some(date)) = (Uid::new(line.field.uid), line.date) else { return };
        let mut message = MessageInfo::new(uid, line.field.flags, date, line.size);
        message.set_recent(true);
        let spot = Spot::new(offset, &line);
        offset = spot.end();
        messages.push(message);
        spots.push(spot);
    }
    let own = spots.last().map_or([0; OWN], own);
    let (uid_validity, uid_last, keywords) = (header.uid_validity, header.uid_last, &header.keywords);
    let summary = Summary { uid_validity, uid_last, own, keywords, tail: &[] };
    found.extend(proof, summary, &messages, &spots);
}

/// What is kept beside: where the last message ends.
fn own(last: &Spot) -> [u64; OWN] {
    [last.end(), 0, 0, 0, 0, 0]
}

impl MbxMailbox {
    /// Takes over what the index says, if there is one; begins a reading if not.
    pub(super) fn take_index(&mut self) -> Result<()> {
        let reading = Reading::begin(&self.file.file).map_err(self.file.io("look at"))?;
        let loaded = self.file.index(Access::ReadOnly).and_then(|found| {
            let (messages, spots) = found.load::<Spot>()?;
            let is_all = spots.last().is_some_and(|spot| spot.end() == reading.stamp().size());
            is_all.then_some((found.proof(), messages, spots))
        });
        let Some((proof, messages, spots)) = loaded else {
            self.proof = reading.begun();
            return Ok(());
        };
        self.end = reading.stamp().size();
        self.take_uid(messages.last().map_or(0, |message| message.uid().get()));
        self.times = FileTimes::of(&self.file.metadata()?);
        (self.snapshot.messages, self.spots) = (messages, spots);
        (self.proof, self.stored) = (Some(proof), Some(reading.stamp()));
        if self.snapshot.writable && self.snapshot.messages.iter().any(MessageInfo::is_recent) {
            self.write_arrivals(0, true)?;
            self.hand_on()?;
            self.times = FileTimes::of(&self.file.metadata()?);
        }
        Ok(())
    }

    /// Forgets the proof if somebody else changed the file since; at the start of what is done under the lock.
    pub(super) fn check_proof(&mut self) {
        self.proof = self.proof.and_then(|proof| proof.still(&self.file.file));
    }

    /// Hands the proof on to the state that our changes made, under the lock.
    pub(super) fn hand_on(&mut self) -> Result<()> {
        let Some(proof) = self.proof.filter(|proof| proof.still(&self.file.file).is_none()) else {
            return Ok(());
        };
        self.proof = self.file.touch_signed(0, self.file.metadata()?.mtime(), Some(proof));
        Ok(())
    }

    /// Keeps what is known in an index, if there is none of this state.
    pub(super) fn keep(&mut self) {
        let Some(proof) = self.proof.filter(|proof| self.stored != Some(proof.stamp())) else { return };
        let Some(last) = self.spots.last().filter(|_| !self.lost && self.is_settled()) else { return };
        if last.end() != proof.stamp().size() {
            return;
        }
        let Some(indexes) = self.file.indexes() else { return };
        let messages = as_written(&self.snapshot);
        let Header { uid_validity, uid_last, ref keywords, .. } = self.header;
        let summary = Summary { uid_validity, uid_last, own: own(last), keywords, tail: &[] };
        indexes.save(proof, &self.file.file, summary, &messages, &self.spots);
        self.stored = Some(proof.stamp());
    }
}

/// Returns where the last message ends; all have UIDs.
pub(super) fn end_of(found: &Found<'_>) -> u64 {
    found.head.own[0]
}
