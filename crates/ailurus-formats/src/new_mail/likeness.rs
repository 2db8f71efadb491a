//! By what a message is known again in another mailbox.

use ailurus_store::Result;

const BLOCK: usize = 64 * 1024;

/// What is the same of a message in every mailbox: its octets without those that some format adds, drops or changes
/// (line ends, `>` before `From `, 0x00, 0x01).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Likeness {
    pub(super) length: u64,
    pub(super) sum: [u64; 2],
}

/// Takes a message in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Likening {
    length: u64,
    sum: [u64; 2],
    // Octets that do not make a word yet.
    rest: Vec<u8>,
}

impl Likening {
    /// Takes the next octets.
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.push_up_to(octets, u64::MAX);
    }

    /// Takes the next octets, but no more of those that count than make `most` in all.
    pub(super) fn push_up_to(&mut self, octets: &[u8], most: u64) {
        let left = usize::try_from(most - self.length).unwrap_or(usize::MAX);
        let before = self.rest.len();
        // Without a branch for each octet.
        let mut end = before;
        self.rest.resize(before + octets.len(), 0);
        for octet in octets {
            self.rest[end] = *octet;
            end += usize::from(COUNTS[usize::from(*octet)]);
        }
        self.rest.truncate(end.min(before.saturating_add(left)));
        self.length += (self.rest.len() - before) as u64;
        let mut sum = self.sum;
        let (words, rest) = self.rest.as_chunks::<8>();
        words.iter().for_each(|word| mix(&mut sum, u64::from_le_bytes(*word)));
        let done = self.rest.len() - rest.len();
        self.sum = sum;
        self.rest.drain(..done);
    }

    /// Returns what the message is known by.
    pub(super) fn finish(mut self) -> Likeness {
        let mut last = [0; 8];
        last[..self.rest.len()].copy_from_slice(&self.rest);
        mix(&mut self.sum, u64::from_le_bytes(last));
        mix(&mut self.sum, self.length);
        Likeness { length: self.length, sum: self.sum }
    }
}

/// 1 for an octet that no format changes.
const COUNTS: [u8; 256] = {
    let mut counts = [1; 256];
    let changed = [b'\r', b'\n', b'>', 0, 1, 0x80];
    let mut at = 0;
    while at < changed.len() {
        counts[changed[at] as usize] = 0;
        at += 1;
    }
    counts
};

fn mix(sums: &mut [u64; 2], word: u64) {
    const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];
    for ((sum, factor), turn) in sums.iter_mut().zip(FACTORS).zip([29, 31]) {
        *sum = (*sum ^ word).wrapping_mul(factor).rotate_left(turn).wrapping_add(factor);
    }
}

/// Returns a checksum of octets.
pub(super) fn sum_of(octets: &[u8]) -> u64 {
    let mut sums = [0; 2];
    for piece in octets.chunks(7) {
        mix(&mut sums, piece.iter().fold(1, |word, octet| word << 8 | u64::from(*octet)));
    }
    mix(&mut sums, octets.len() as u64);
    sums[0]
}

/// Reads a message, and returns what it is known by, or what its first `most` octets that count are.
/// `read` is told from which octet on to read, how much at most, and to where.
pub(super) fn liken(
    most: u64,
    mut read: impl FnMut(u64, usize, &mut Vec<u8>) -> Result<usize>,
) -> Result<Likeness> {
    let (mut likening, mut block, mut from) = (Likening::default(), Vec::new(), 0);
    while likening.length < most {
        block.clear();
        let given = read(from, BLOCK, &mut block)?;
        if given == 0 {
            break;
        }
        from += given as u64;
        likening.push_up_to(&block, most);
    }
    Ok(likening.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8], piece: usize) -> Likeness {
        let mut likening = Likening::default();
        text.chunks(piece).for_each(|piece| likening.push(piece));
        likening.finish()
    }

    #[test]
    fn what_formats_change_does_not_count_and_all_else_does() {
        let text = b"Subject: a\r\n\r\nFrom here to there, and no farther\r\n";
        let other = b"Subject: a\n\n>From here\x01 to there, and no \0farther";
        for piece in 1..20 {
            assert_eq!(of(text, piece), of(other, 21 - piece));
        }
        for at in (0..text.len()).filter(|at| !matches!(text[*at], b'\r' | b'\n')) {
            let mut changed = text.to_vec();
            changed[at] ^= 2;
            assert_ne!(of(&changed, 9), of(text, 9), "{at}");
        }
        assert_ne!(of(b"", 1), of(b"x", 1));
        assert_ne!(sum_of(b"From a"), sum_of(b"From b"));
        assert_ne!(sum_of(b""), sum_of(b"\0"));
    }

    #[test]
    fn a_beginning_is_known_too() {
        let text = b"Subject: a\r\n\r\nFrom here to there\r\n".repeat(5000);
        let mut read = |from: u64, most: usize, out: &mut Vec<u8>| {
            let from = usize::try_from(from).unwrap().min(text.len());
            let piece = &text[from..(from + most.min(999)).min(text.len())];
            out.extend_from_slice(piece);
            Ok(piece.len())
        };
        let beginning = of(&text[..70_001], 1000);
        assert_eq!(liken(beginning.length, &mut read).unwrap(), beginning);
        assert_eq!(liken(u64::MAX, &mut read).unwrap(), of(&text, 5));
    }
}
