//! Data files: messages, each behind a record that names it.
//!
//! ```text
//! :msg:00000001:20250201123456+0200:000000f2: CR LF
//!      UID      internal date       octets of the message that follows
//! ```

use super::directory::Directory;
use super::index::Spot;
use super::text::{Fields, push_hex};
use crate::journal::read_up_to;
use ailurus_types::InternalDate;
use std::fs::File;
use std::io;

/// What a record begins with.
pub(super) const TOKEN: &[u8] = b":msg:";
/// Octets of a record as everybody writes it.
pub(super) const USUAL: usize = 45;
/// The longest record that is looked for.
pub(super) const MOST: usize = 512;

/// A record in a data file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) uid: u32,
    pub(super) date: InternalDate,
    pub(super) size: u64,
    /// Octets of the record itself, with its line end.
    pub(super) len: u16,
}

impl Record {
    /// Parses a record at the start of these octets.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let octets = &octets[..octets.len().min(MOST)];
        let end = memchr::memchr(b'\n', octets)?;
        let line = octets[..end].strip_suffix(b"\r")?.strip_prefix(TOKEN)?;
        let mut fields = Fields(line);
        let uid = fields.short().filter(|uid| *uid != 0)?;
        let date = InternalDate::parse_compact(fields.text()?)?;
        let size = fields.number()?;
        Some(Self { uid, date, size, len: u16::try_from(end + 1).ok()? })
    }

    /// Appends a record to what is to be written.
    pub(super) fn write(uid: u32, date: InternalDate, size: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(TOKEN);
        push_hex(uid.into(), out);
        out.push(b':');
        date.append_compact_to(out);
        out.push(b':');
        push_hex(size, out);
        out.extend_from_slice(b":\r\n");
    }
}

/// What is found where the index says that a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// The message.
    Message,
    /// The message, of another size.
    OfSize(u64),
    /// Another message.
    Another,
    /// No record.
    Nothing,
}

impl Found {
    /// Looks at the first octets at a message's place.
    pub(super) fn at(octets: &[u8], uid: u32, spot: &Spot) -> Self {
        match Record::parse(octets) {
            Some(record) if record.uid != uid => Self::Another,
            Some(record) if record.len != spot.record => Self::Nothing,
            Some(record) if record.size != spot.size => Self::OfSize(record.size),
            Some(_) => Self::Message,
            None => Self::Nothing,
        }
    }
}

/// The data files of a mailbox, of which one is open at a time.
#[derive(Debug, Default)]
pub(super) struct DataFiles {
    open: Option<(u32, File)>,
    /// The size of the file that was asked for last.
    size: Option<(u32, Option<u64>)>,
}

impl DataFiles {
    /// Forgets what is known of sizes.
    pub(super) fn forget_sizes(&mut self) {
        self.size = None;
    }

    /// Closes the open file, which may be removed or cut now.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// Returns the size of a file; `None` if there is no such file.
    pub(super) fn size(&mut self, directory: &Directory, number: u32) -> io::Result<Option<u64>> {
        if let Some((known, size)) = self.size
            && known == number
        {
            return Ok(size);
        }
        let size = match directory.data(number).metadata() {
            Ok(meta) => meta.is_file().then_some(meta.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.size = Some((number, size));
        Ok(size)
    }

    /// Opens a file, unless it is open already.
    pub(super) fn file(&mut self, directory: &Directory, number: u32) -> io::Result<&File> {
        let open = match self.open.take() {
            Some((open, file)) if open == number => (open, file),
            _ => (number, directory.open(&directory.data(number), false)?),
        };
        Ok(&self.open.insert(open).1)
    }

    /// Looks at the place of a message.
    pub(super) fn look(&mut self, directory: &Directory, uid: u32, spot: &Spot) -> io::Result<Found> {
        let mut octets = Vec::new();
        match self.file(directory, spot.file) {
            Ok(file) => read_up_to(file, spot.pos, MOST, &mut octets)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        }
        Ok(Found::at(&octets, uid, spot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_the_reference_does() {
        let date = InternalDate::parse(b" 1-Feb-2025 12:34:56 +0200", 0).unwrap();
        let mut out = Vec::new();
        Record::write(1, date, 0xf2, &mut out);
        assert_eq!(out, b":msg:00000001:20250201123456+0200:000000f2:\r\n");
        assert_eq!(out.len(), USUAL);
        let record = Record { uid: 1, date, size: 0xf2, len: 45 };
        assert_eq!(Record::parse(&out), Some(record));
        assert_eq!(
            Record::parse(b":msg:1:20250201123456+0200:f2:later\r\n"),
            Some(Record { len: 37, ..record })
        );
    }

    #[test]
    fn what_is_not_quite_a_record_is_none() {
        for bad in [
            &b":msg:00000001:20250201123456+0200:000000f2:\n"[..],
            b":msg:00000001:20250201123456+0200:000000f2\r\n",
            b":msg:00000000:20250201123456+0200:000000f2:\r\n",
            b":msg:00000001:20250201123456+0200:000000f2:",
            b":msx:00000001:20250201123456+0200:000000f2:\r\n",
            b":msg:00000001:20251301123456+0200:000000f2:\r\n",
            b"",
        ] {
            assert_eq!(Record::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
