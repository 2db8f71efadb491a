//! Check sums that tell what was written from what a crash made of it; they do not withstand an attacker.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// A check sum over octets in order, whatever pieces they come in; it finds lost pages, not enemies.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    state: u64,
    word: [u8; 8],
    filled: usize,
}

impl Default for Sum {
    fn default() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, word: [0; 8], filled: 0 }
    }
}

impl Sum {
    pub(crate) fn add(&mut self, mut octets: &[u8]) {
        if self.filled > 0 {
            let some = octets.len().min(8 - self.filled);
            self.word[self.filled..self.filled + some].copy_from_slice(&octets[..some]);
            self.filled += some;
            octets = &octets[some..];
            if self.filled < 8 {
                return;
            }
            self.filled = 0;
            self.mix(u64::from_le_bytes(self.word));
        }
        let (words, rest) = octets.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        self.word[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    fn mix(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    }

    pub(crate) fn value(&self) -> u64 {
        let mut last = self.clone();
        last.word[self.filled..].fill(0);
        last.mix(u64::from_le_bytes(last.word));
        last.mix(self.filled as u64);
        last.state ^ last.state >> 32
    }
}

/// Returns the check sum of a part of a file.
pub(crate) fn sum_of(file: &File, range: Range<u64>) -> io::Result<u64> {
    const BLOCK: usize = 256 * 1024;
    let (mut sum, mut block, mut at) = (Sum::default(), Vec::new(), range.start);
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK);
        block.resize(most, 0);
        file.read_exact_at(&mut block, at)?;
        sum.add(&block);
        at += most as u64;
    }
    Ok(sum.value())
}

/// Tells whether a page within these octets starts with NUL, as one does that never reached the disk.
pub(crate) fn lacks_a_page(file: &File, from: u64, to: u64) -> io::Result<bool> {
    const PAGE: u64 = 4096;
    let mut octet = [1];
    let mut page = from.div_ceil(PAGE) * PAGE;
    while page < to {
        file.read_exact_at(&mut octet, page)?;
        if octet[0] == 0 {
            return Ok(true);
        }
        page += PAGE;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_does_not_depend_on_the_pieces() {
        let octets: Vec<u8> = (0..=255).collect();
        let mut whole = Sum::default();
        whole.add(&octets);
        for size in [1, 3, 7, 8, 9, 100] {
            let mut pieces = Sum::default();
            octets.chunks(size).for_each(|piece| pieces.add(piece));
            assert_eq!(pieces.value(), whole.value(), "{size}");
        }
        let mut longer = whole.clone();
        longer.add(&[0]);
        assert_ne!(longer.value(), whole.value());
    }
}
