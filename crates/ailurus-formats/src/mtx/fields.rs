//! Reading and writing the flag fields of messages in place.

use super::Dialect;
use super::keywords::Slots;
use super::line::{FIELD, Field};
use crate::mail_file::MailFile;
use crate::window::Window;
use ailurus_store::{Error, Result};
use ailurus_types::Flags;

/// A message's flag field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where its `;` is.
    pub(super) at: u64,
    /// The number of the message, for errors.
    pub(super) number: usize,
}

/// Reads one field.
pub(super) fn read(
    file: &MailFile,
    dialect: &Dialect,
    window: &mut Window<'_>,
    place: Place,
) -> Result<Field> {
    let octets = window.get(place.at, FIELD).map_err(file.io("read"))?;
    if octets.len() < FIELD {
        let size = file.file.metadata().map_or(0, |meta| meta.len());
        let what = format!("Mailbox shrank from {} to {size} in flag read!", place.at + FIELD as u64);
        return Err(Error::Lost { path: file.path.clone(), what });
    }
    Field::parse(octets, dialect).ok_or_else(|| {
        let text = String::from_utf8_lossy(octets);
        let what = format!("Invalid flags for message {} ({} {FIELD}): {text}", place.number, place.at);
        file.damaged(place.at, what)
    })
}

/// Writes the flags of messages, which come in the order of the file, as those of messages that somebody was told of.
///
/// Every place is looked at before it is written: flags in the wrong place would be written into mail. Keyword bits that
/// have no name stay. Each field is written by itself, although it costs a call: the reference writes flags without any
/// lock, so what lies between two fields is not ours to write back.
pub(super) fn write(
    file: &MailFile,
    dialect: &Dialect,
    slots: &Slots,
    changes: impl Iterator<Item = (Place, Flags)>,
) -> Result<()> {
    let mut window: Option<Window<'_>> = None;
    for (place, flags) in changes {
        let window = window.get_or_insert_with(|| Window::new(&file.file, place.at));
        let found = read(file, dialect, window, place)?;
        let keywords = slots.to_file(flags.keywords, found.keywords);
        let digits = Field { keywords, system: flags.system, old: true }.encode();
        file.write(&digits, place.at + 1)?;
    }
    Ok(())
}
