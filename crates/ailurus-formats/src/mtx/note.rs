//! What the sidecar notes of the mailbox beside its messages.

/// The sidecar's note.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Note {
    /// The size of the mailbox as far as the sidecar knows it: all messages before have UIDs.
    pub(super) end: u64,
    /// The last of them.
    pub(super) last: Option<Last>,
    /// Counts flag updates of ours, so that sessions see each of them, however coarse the times of the file are.
    pub(super) updates: u32,
    /// The append that was begun there.
    pub(super) intent: Option<Intent>,
}

/// Where the last message is. While it is there, no message before it has gone: it would have moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Last {
    pub(super) offset: u64,
    pub(super) key: u64,
}

/// What an appender of ours was about to add.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Intent {
    /// The size of the file after.
    pub(super) end: u64,
    /// The check sum of all that is added.
    pub(super) sum: u64,
    /// The first and the last UID of the messages, which the sidecar knows already.
    pub(super) uids: (u32, u32),
    /// The line of the first message, which is written when all else is.
    pub(super) line: Vec<u8>,
}

const VERSION: u8 = 1;
const MOST_MESSAGES: u32 = 1_000_000;

impl Note {
    /// Returns the octets for the sidecar.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.end.to_le_bytes());
        out.push(self.last.is_some().into());
        let last = self.last.unwrap_or(Last { offset: 0, key: 0 });
        out.extend_from_slice(&last.offset.to_le_bytes());
        out.extend_from_slice(&last.key.to_le_bytes());
        out.extend_from_slice(&self.updates.to_le_bytes());
        if let Some(Intent { end, sum, uids, line }) = &self.intent {
            out.extend_from_slice(&end.to_le_bytes());
            out.extend_from_slice(&sum.to_le_bytes());
            out.extend_from_slice(&(u64::from(uids.0) << 32 | u64::from(uids.1)).to_le_bytes());
            out.extend_from_slice(line);
        }
        out
    }

    /// Returns the note, or `None` if the octets are none.
    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let mut rest = octets.strip_prefix(&[VERSION])?;
        let number = |rest: &mut &[u8]| {
            let (number, after) = rest.split_first_chunk()?;
            *rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let end = number(&mut rest)?;
        let has_last = *rest.split_off_first()?;
        let last = Last { offset: number(&mut rest)?, key: number(&mut rest)? };
        let (updates, after) = rest.split_first_chunk()?;
        let updates = u32::from_le_bytes(*updates);
        rest = after;
        let intent = if rest.is_empty() {
            None
        } else {
            let (end, sum, uids) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
            let uids = (u32::try_from(uids >> 32).ok()?, u32::try_from(uids & 0xffff_ffff).ok()?);
            // More messages than a mailbox can have were never announced.
            (uids.1.checked_sub(uids.0)? <= MOST_MESSAGES).then_some(())?;
            Some(Intent { end, sum, uids, line: rest.to_vec() })
        };
        Some(Self { end, last: (has_last == 1).then_some(last), updates, intent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::State;

    #[test]
    fn what_is_noted_is_read_again() {
        let last = Some(Last { offset: 7, key: u64::MAX });
        let intent = Some(Intent { end: 1 << 40, sum: 9, uids: (7, 1_000_007), line: vec![b'x'; 64] });
        for note in [
            Note::default(),
            Note { end: 100, last, updates: 7, intent: None },
            Note { end: 100, last: None, updates: 0, intent: intent.clone() },
            Note { end: u64::MAX, last, updates: u32::MAX, intent },
        ] {
            let octets = note.encode();
            assert!(octets.len() <= State::MOST_NOTE);
            assert_eq!(Note::decode(&octets), Some(note));
            assert_eq!(Note::decode(&octets[..20]), None);
        }
        assert_eq!(Note::decode(b""), None);
    }
}
