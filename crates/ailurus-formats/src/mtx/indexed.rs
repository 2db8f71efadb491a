//! What of an open mailbox is kept in an index, and an index made a mailbox again.
//!
//! The sidecar stays what is true of UIDs and of keywords without bits. An index is of one state of it too
//! ([`Ledger::mark`]): one that is of the present state says what the sidecar says, which then need not be read. Where
//! UIDs are not in a sidecar that can be written there is no index.
//!
//! The reference writes flags without any lock. What a session of ours changes is handed on only where nobody else has the
//! mailbox open, which the flock tells that every session has: nobody can open it before we let go of its lock.

use super::Mtx;
use super::ledger::{Held, Ledger};
use super::mailbox::{MtxMailbox, Spot};
use crate::file_times::FileTimes;
use crate::index::{Found, Indexes, Place, Proof, Reading, Stamp, Summary, as_written};
use crate::lock::{Mode, Wait, lock_file};
use crate::mail_file::MailFile;
use ailurus_store::{Access, MessageInfo, Result, Status};
use std::ops::Range;

impl Place for Spot {
    fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let words = [self.offset, self.size, self.key].map(u64::to_le_bytes);
        out[..24].copy_from_slice(words.as_flattened());
        out[24..28].copy_from_slice(&self.header.to_le_bytes());
        out[28] = self.line_len;
        out
    }

    fn decode(octets: &[u8; 32]) -> Option<Self> {
        // Larger offsets than any file's would overflow where they are added up.
        const MOST: u64 = 1 << 62;
        let word = |at: usize| Some(u64::from_le_bytes(*octets.get(at..)?.first_chunk()?));
        let (offset, size, key) = (word(0)?, word(8)?, word(16)?);
        let header = u32::from_le_bytes(*octets.get(24..)?.first_chunk()?);
        let spot = Self { offset, size, key, header, line_len: octets[28] };
        Some(spot).filter(|spot| spot.offset < MOST && spot.size < MOST)
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.end()
    }
}

/// Returns what STATUS tells, by the index.
pub(super) fn quick_status(file: &MailFile) -> Result<Option<Status>> {
    let Some(indexes) = file.indexes() else { return Ok(None) };
    let mut ledger = Ledger::new(file);
    let held = ledger.hold(file)?;
    if !file.is_current() || file.places()?.any() {
        return Ok(None);
    }
    let stamp = Stamp::of_file(&file.file).map_err(file.io("look at"))?;
    let found = indexes.find(stamp, Access::ReadOnly);
    let found = found.filter(|found| ledger.resume(file, &held, &found.head));
    Ok(found.map(|found| found.head.status()))
}

/// Tells whether no other session has the file open, nor can have before the lock of the mailbox is let go. The file has
/// its shared flock before and after.
fn is_alone(file: &MailFile, _held: &Held) -> bool {
    let alone = lock_file(&file.file, Mode::Exclusive, Wait::No).unwrap_or(false);
    lock_file(&file.file, Mode::Shared, Wait::Block).is_ok() && alone
}

impl Mtx {
    /// Returns the index of a mailbox that is about to grow, if it can be one of the state after that.
    pub(super) fn index(&self, file: &MailFile, ledger: &Ledger, held: &Held) -> Option<Found<'_>> {
        let indexes = Indexes::of(self.dialect.name, &self.environment, &self.disk)?;
        let stamp = Stamp::of_file(&file.file).ok()?;
        let found = indexes.find(stamp, Access::ReadWrite).filter(|found| ledger.fits(held, &found.head))?;
        let proof = is_alone(file, held).then(|| found.proof())?;
        proof.still(&file.file).map(|_| found)
    }
}

/// Adds messages, which were appended, to the index.
pub(super) fn extend(
    found: Found<'_>,
    proof: Proof,
    (ledger, held): (&Ledger, &Held),
    messages: &[MessageInfo],
    spots: &[Spot],
) {
    if let Some(summary) = ledger.mark(held).map(|own| summary(ledger, own)) {
        found.extend(proof, summary, messages, spots);
    }
}

fn summary(ledger: &Ledger, own: [u64; crate::index::OWN]) -> Summary<'_> {
    let uid_validity = ledger.state.uid_validity.get();
    Summary { uid_validity, uid_last: ledger.uid_last(), own, keywords: &ledger.slots.names, tail: &[] }
}

impl MtxMailbox {
    /// Takes over what the index says, if there is one; begins a reading if not.
    pub(super) fn take_index(&mut self, held: &Held) -> Result<()> {
        let reading = Reading::begin(&self.file.file).map_err(self.file.io("look at"))?;
        let (file, ledger) = (&self.file, &mut self.ledger);
        let loaded = file.indexes().and_then(|indexes| {
            let found = indexes.find(reading.stamp(), Access::ReadOnly)?;
            let (messages, spots) = found.load::<Spot>()?;
            let is_all = spots.last().is_some_and(|spot| spot.end() == reading.stamp().size());
            let fits = is_all && ledger.resume(file, held, &found.head);
            fits.then(|| (found.proof(), messages, spots, found.head.own))
        });
        let Some((proof, messages, spots, own)) = loaded else {
            self.proof = reading.begun();
            return Ok(());
        };
        self.end = reading.stamp().size();
        (self.snapshot.messages, self.spots) = (messages, spots);
        (self.proof, self.stored) = (Some(proof), Some((reading.stamp(), own)));
        if self.snapshot.writable && self.snapshot.messages.iter().any(MessageInfo::is_recent) {
            self.write_arrivals(0, held)?;
        }
        self.times = FileTimes::of(&self.file.metadata()?);
        Ok(())
    }

    /// Forgets the proof if somebody else changed the file since; at start and end of what is done under the lock.
    pub(super) fn check_proof(&mut self) {
        self.proof = self.proof.and_then(|proof| proof.still(&self.file.file));
    }

    /// Forgets the proof unless it can be handed on to the state after the change that comes now.
    pub(super) fn prepare_to_change(&mut self, held: &Held) {
        self.proof = self.proof.filter(|_| is_alone(&self.file, held));
        self.check_proof();
    }

    /// Remembers of which state of the sidecar is what is known, at the end of what is done under the lock.
    pub(super) fn take_mark(&mut self, held: &Held) {
        self.mark = self.proof.and_then(|_| self.ledger.mark(held));
    }

    /// Keeps what is known in an index, if there is none of this state.
    pub(super) fn keep(&mut self) {
        let Some((proof, mark)) = self.proof.zip(self.mark) else { return };
        let state = Some((proof.stamp(), mark));
        let is_all = self.spots.last().is_some_and(|last| last.end() == proof.stamp().size());
        if self.lost || self.stored == state || !is_all || self.ledger.note.intent.is_some() {
            return;
        }
        let Some(indexes) = self.file.indexes() else { return };
        let messages = as_written(&self.snapshot);
        indexes.save(proof, &self.file.file, summary(&self.ledger, mark), &messages, &self.spots);
        self.stored = state;
    }
}
