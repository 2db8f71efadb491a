//! What of a [`Scan`] is kept in an index, and an index made a scan again.
//!
//! A slot is kept as it is in memory. What was not told to any session stays so in the file until a checkpoint; a
//! session that is closed has written that it told.

use super::Shared;
use super::parse::{LastUidDigits, ParseError, Scan, Slot};
use crate::index::{Found, Head, Indexes, OWN, Place, Proof, Reading, Stamp, Summary};
use ailurus_store::{Access, Manner, MessageInfo};
use ailurus_types::Keywords;
use std::fs::File;
use std::io;
use std::ops::Range;

impl Place for Slot {
    fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let words = [self.start.to_le_bytes(), self.text_len.to_le_bytes()];
        let halves = [self.from_len, self.header_len, self.visible_len];
        out[..16].copy_from_slice(words.as_flattened());
        out[16..28].copy_from_slice(halves.map(u32::to_le_bytes).as_flattened());
        out[28..30].copy_from_slice(&[self.bits, self.separator_len]);
        out
    }

    fn decode(octets: &[u8; 32]) -> Option<Self> {
        // Larger offsets than any file's would overflow where they are added up.
        const MOST: u64 = 1 << 62;
        let word = |at: usize| Some(u64::from_le_bytes(*octets.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_le_bytes(*octets.get(at..)?.first_chunk()?));
        Some(Self {
            start: word(0)?,
            text_len: word(8)?,
            from_len: half(16)?,
            header_len: half(20)?,
            visible_len: half(24)?,
            bits: octets[28],
            separator_len: octets[29],
        })
        .filter(|slot| slot.start < MOST && slot.text_len < MOST)
    }

    fn range(&self) -> Range<u64> {
        self.start..self.end()
    }
}

const NONE: u64 = u64::MAX;
const MARKED: u64 = 1 << 8;
const DIRTY: u64 = 1 << 9;

/// What is known of a file, and how surely.
pub(super) struct Reached {
    pub(super) scan: Scan,
    /// That it is what is in the file at this stamp.
    pub(super) proof: Option<Proof>,
    /// Where it comes from, if it was not parsed.
    pub(super) stored: Option<Stamp>,
}

impl Shared {
    pub(super) fn indexes(&self) -> Option<Indexes<'_>> {
        Indexes::of(self.dialect.name(), &self.env, &self.disk)
    }

    /// Finds out what is in the file, by its index or by parsing it. The caller holds a lock.
    pub(super) fn scan(&self, file: &File, manner: Manner) -> Result<Reached, ParseError> {
        let reading = Reading::begin(file)?;
        let stamp = reading.stamp();
        let found = self.indexes().and_then(|indexes| indexes.find(stamp, Access::ReadOnly));
        if let Some(found) = found
            && let Some(scan) = self.scan_of(&found, file)
        {
            return Ok(Reached { scan, proof: Some(found.proof()), stored: Some(stamp) });
        }
        let mut scan = Scan::new(self.dialect);
        scan.parse(file, &self.env, manner)?;
        Ok(Reached { scan, proof: reading.end(file), stored: None })
    }

    fn scan_of(&self, found: &Found<'_>, file: &File) -> Option<Scan> {
        let mut scan = self.scan_of_head(&found.head);
        if !found.head.ends_with(&scan.tail(file).ok()?) {
            return None;
        }
        (scan.messages, scan.slots) = found.load()?;
        Some(scan)
    }

    /// Returns what an index says without the messages.
    pub(super) fn scan_of_head(&self, head: &Head) -> Scan {
        let [end, pseudo, digits_at, bits, in_file, _] = head.own;
        let count = u8::try_from(bits & 0xff).unwrap_or(0);
        Scan {
            keywords: head.keywords.clone(),
            uid_validity: head.uid_validity,
            uid_last: head.uid_last,
            last_uid_digits: (digits_at != NONE).then_some(LastUidDigits { at: digits_at, count }),
            pseudo: (pseudo != NONE).then_some(pseudo),
            end,
            file_len: end,
            dirty: bits & DIRTY != 0,
            marked: bits & MARKED != 0,
            in_file: u32::try_from(in_file).unwrap_or(u32::MAX),
            ..Scan::new(self.dialect)
        }
    }

    /// Keeps what is known of the file; tells whether that was tried.
    pub(super) fn keep(
        &self,
        proof: Proof,
        file: &File,
        scan: &Scan,
        (messages, keywords): (&[MessageInfo], &Keywords),
    ) -> bool {
        let Some(indexes) = self.indexes().filter(|_| scan.is_lasting() && !messages.is_empty()) else {
            return false;
        };
        let Ok(tail) = scan.tail(file) else { return false };
        indexes.save(proof, file, scan.summary(keywords, &tail), messages, &scan.slots);
        true
    }

    /// Adds messages that were appended to the file to its index.
    pub(super) fn keep_more(
        &self,
        found: Found<'_>,
        proof: Proof,
        file: &File,
        scan: &Scan,
    ) -> io::Result<()> {
        let tail = scan.tail(file)?;
        found.extend(proof, scan.summary(&scan.keywords, &tail), &scan.messages, &scan.slots);
        Ok(())
    }
}

impl Scan {
    /// Tells whether the next one to parse the file would find the same, and have nothing to tell.
    pub(super) fn is_lasting(&self) -> bool {
        !self.unwritten_uids && !self.passing && self.uid_validity != 0 && self.end == self.file_len
    }

    fn summary<'s>(&self, keywords: &'s Keywords, tail: &'s [u8]) -> Summary<'s> {
        let digits = self.last_uid_digits;
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        let bits = digits.map_or(0, |digits| u64::from(digits.count));
        let own: [u64; OWN] = [
            self.end,
            self.pseudo.unwrap_or(NONE),
            digits.map_or(NONE, |digits| digits.at),
            bits | bit(self.marked, MARKED) | bit(self.dirty, DIRTY),
            self.in_file.into(),
            0,
        ];
        Summary { uid_validity: self.uid_validity, uid_last: self.uid_last, own, keywords, tail }
    }
}
