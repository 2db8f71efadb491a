//! The blocks of a sidecar.
//!
//! | octets | block |
//! |---|---|
//! | 4, 4, 4, 4 | `AUb1`, octets of the payload, sequence number, zero |
//! | | payload, then NULs up to a multiple of 8 octets |
//! | 8 | checksum of all before |
//! | 4, 4 | octets of the payload again, `AUb1`: a block can be found by its end |

use crate::journal::{checksum, read_up_to};
use std::fs::File;
use std::io;

const MAGIC: [u8; 4] = *b"AUb1";
const HEAD: usize = 16;
const TAIL: usize = 16;
const ALIGNED: usize = 8;
/// The largest payload; whatever claims to be larger is none.
const MOST: usize = 4 * 1024 * 1024;

/// A block that agrees with its checksum.
pub(super) struct Block<'b> {
    pub(super) sequence: u32,
    pub(super) payload: &'b [u8],
    /// Where the next one starts.
    pub(super) end: u64,
}

/// Returns how many octets a block with so much payload has.
pub(super) fn size(payload: usize) -> usize {
    HEAD + payload.next_multiple_of(ALIGNED) + TAIL
}

/// Appends a block.
pub(super) fn encode(sequence: u32, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = u32::try_from(payload.len()).expect("blocks are small");
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out.resize(start + size(payload.len()) - TAIL, 0);
    let sum = checksum(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&MAGIC);
}

/// Reads the block that starts at `at` in a file of `length` octets; `None` if there is none that is good.
pub(super) fn read<'b>(
    file: &File,
    at: u64,
    length: u64,
    buffer: &'b mut Vec<u8>,
) -> io::Result<Option<Block<'b>>> {
    read_up_to(file, at, HEAD, buffer)?;
    let Some(size) = claimed(buffer, 4).filter(|size| *size as u64 <= length - at) else { return Ok(None) };
    read_up_to(file, at, size, buffer)?;
    Ok(check(buffer, at, size))
}

/// Reads the last block of a file of `length` octets whose first one starts at `first`.
pub(super) fn read_last<'b>(
    file: &File,
    first: u64,
    length: u64,
    buffer: &'b mut Vec<u8>,
) -> io::Result<Option<Block<'b>>> {
    let Some(start) = length.checked_sub(TAIL as u64) else { return Ok(None) };
    read_up_to(file, start, TAIL, buffer)?;
    let Some(size) = claimed(buffer, 8) else { return Ok(None) };
    let Some(at) = length.checked_sub(size as u64).filter(|at| *at >= first) else { return Ok(None) };
    read_up_to(file, at, size, buffer)?;
    Ok(check(buffer, at, size))
}

/// Tells whether there is a good block anywhere behind `from`, where there is none.
pub(super) fn any_in(file: &File, from: u64, length: u64) -> io::Result<bool> {
    const WINDOW: usize = 256 * 1024;
    let (mut window, mut buffer) = (Vec::new(), Vec::new());
    let mut at = from;
    while at < length {
        read_up_to(file, at, WINDOW, &mut window)?;
        if window.is_empty() {
            break;
        }
        // Blocks start on a multiple of their alignment behind the header, and so behind one another.
        for (start, octets) in window.chunks(ALIGNED).enumerate() {
            let start = at + (start * ALIGNED) as u64;
            if octets.starts_with(&MAGIC) && read(file, start, length, &mut buffer)?.is_some() {
                return Ok(true);
            }
        }
        at += WINDOW as u64;
    }
    Ok(false)
}

/// Returns the size of a block by the payload's length, which is at this place.
fn claimed(octets: &[u8], at: usize) -> Option<usize> {
    let length = u32::from_le_bytes(octets.get(at..at + 4)?.try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| *length <= MOST)?;
    Some(size(length))
}

fn check(octets: &[u8], at: u64, size: usize) -> Option<Block<'_>> {
    let number =
        |at: usize| octets.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    let (body, tail) = octets.get(..size)?.split_at(size - TAIL);
    let length = usize::try_from(number(4)?).ok()?;
    let good = body.starts_with(&MAGIC)
        && self::size(length) == size
        && tail[..8] == checksum(body).to_le_bytes()
        && tail[8..12] == body[4..8]
        && tail[12..] == MAGIC;
    good.then_some(())?;
    Some(Block { sequence: number(8)?, payload: body.get(HEAD..HEAD + length)?, end: at + size as u64 })
}
