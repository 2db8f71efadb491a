//! Reading and writing the flag fields of messages in place.

use super::file::MbxFile;
use super::line::{FIELD, Field, UPDATE};
use crate::window::Window;
use ailurus_store::{Error, Result};
use std::os::unix::fs::FileExt;

/// A message's flag field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where its `;` is.
    pub(super) at: u64,
    /// The number of the message, for errors.
    pub(super) number: usize,
}

/// Fields as near as this are written together: the octets between are read and written back. All who write the
/// file hold the same lock, and what is between never changes otherwise. Measured with messages of 6000 octets: half
/// the time of single fields, and half that of their sync, for the disk gets runs rather than scattered pages.
const NEAR: u64 = 8192;
const SPAN: u64 = 64 * 1024;

/// Reads one field.
pub(super) fn read(file: &MbxFile, window: &mut Window<'_>, place: Place) -> Result<Field> {
    let octets = window.get(place.at, FIELD).map_err(file.io("read"))?;
    if octets.len() < FIELD {
        return Err(shrank(file, place, "flag read"));
    }
    Field::parse(octets).ok_or_else(|| invalid(file, place, octets))
}

/// Writes fields, which come in the order of the file. One that is hidden in the file stays so. Every place is
/// checked before it is written: a field in the wrong place would be written into mail.
pub(super) fn write(file: &MbxFile, fields: impl Iterator<Item = (Place, Field)>) -> Result<()> {
    let mut run: Vec<(Place, Field)> = Vec::new();
    let mut block = Vec::new();
    for (place, field) in fields {
        if let (Some((first, _)), Some((last, _))) = (run.first(), run.last())
            && (place.at > last.at + NEAR || place.at > first.at + SPAN)
        {
            write_run(file, &run, &mut block)?;
            run.clear();
        }
        run.push((place, field));
    }
    write_run(file, &run, &mut block)
}

fn write_run(file: &MbxFile, run: &[(Place, Field)], block: &mut Vec<u8>) -> Result<()> {
    let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Ok(()) };
    let size = usize::try_from(last.at - first.at).unwrap_or(usize::MAX) + FIELD;
    block.resize(size, 0);
    if file.file.read_exact_at(block, first.at).is_err() {
        return Err(shrank(file, *first, "flag update"));
    }
    for (place, field) in run {
        let skip = usize::try_from(place.at - first.at).unwrap_or(usize::MAX);
        let octets = &mut block[skip..skip + FIELD];
        let found = Field::parse(octets).ok_or_else(|| invalid(file, *place, octets))?;
        let field = Field { hidden: field.hidden || found.hidden, ..*field };
        octets[1..=UPDATE].copy_from_slice(&field.encode());
    }
    file.write(&block[1..=size - FIELD + UPDATE], first.at + 1)
}

fn shrank(file: &MbxFile, place: Place, within: &str) -> Error {
    let size = file.file.metadata().map_or(0, |meta| meta.len());
    let end = place.at + FIELD as u64;
    let what = format!("Mailbox shrank from {end} to {size} in {within}!");
    Error::Lost { path: file.path.clone(), what }
}

fn invalid(file: &MbxFile, place: Place, octets: &[u8]) -> Error {
    let text = String::from_utf8_lossy(octets);
    let what = format!("Invalid flags for message {} ({} {FIELD}): {text}", place.number, place.at);
    file.damaged(place.at, what)
}
