//! Finding messages in the data files alone, whatever the index says.
//!
//! Where a record leads to the next one, or to the end of the file, there is no doubt. Where it does not, the next record
//! is searched for: within the octets that a message claims only one from which records lead on counts, for mail can
//! hold what looks like a record; outside any will do.

use super::data::{MOST, Record, TOKEN};
use super::directory::Directory;
use super::index::{Entry, Spot};
use crate::journal::read_up_to;
use ailurus_store::{Error, Result};
use ailurus_types::Uid;
use std::fs::File;
use std::io;

const BLOCK: usize = 256 * 1024;

/// Returns all messages that are in the data files, by file and position. Those that were expunged are among them until
/// their space is reclaimed. A message that is cut off has the size of what is left of it.
pub(super) fn scan(directory: &Directory) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for number in directory.data_files().map_err(Error::io("read", &directory.path))? {
        let path = directory.data(number);
        let file = match directory.open(&path, false) {
            Ok(file) => file,
            // A directory or the like, or removed since.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                continue;
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut scan = Scan::new(&file, number).map_err(Error::io("look at", &path))?;
        scan.run(&mut found).map_err(Error::io("read", path))?;
    }
    Ok(found)
}

/// A scan of one file.
struct Scan<'f> {
    file: &'f File,
    number: u32,
    len: u64,
    block: Vec<u8>,
    /// Where in the file the block begins.
    start: u64,
}

impl<'f> Scan<'f> {
    fn new(file: &'f File, number: u32) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, number, len, block: Vec::new(), start: 0 })
    }

    fn run(&mut self, found: &mut Vec<Entry>) -> io::Result<()> {
        let mut at = 0;
        while at < self.len {
            let Some(record) = self.record(at)? else {
                at = self.search(at + 1, self.len, Wanted::Any)?.unwrap_or(self.len);
                continue;
            };
            let text = at + u64::from(record.len);
            let claimed = text.saturating_add(record.size);
            let (end, next) = if self.leads_on(claimed)? {
                (claimed, claimed)
            } else {
                let inside = claimed.min(self.len);
                match self.search(text, inside, Wanted::LeadingOn)? {
                    Some(next) => (next, next),
                    None => (inside, self.search(inside, self.len, Wanted::Any)?.unwrap_or(self.len)),
                }
            };
            if end > text {
                found.push(self.entry(at, &record, end - text)?);
            }
            at = next;
        }
        Ok(())
    }

    fn entry(&mut self, pos: u64, record: &Record, size: u64) -> io::Result<Entry> {
        let text = pos + u64::from(record.len);
        let header = self.header_size(text, text + size)?;
        let header = u32::try_from(header).unwrap_or(u32::MAX);
        let spot = Spot { pos, size, header, file: self.number, record: record.len, ..Spot::default() };
        let uid = Uid::new(record.uid).expect("a record has a UID");
        Ok(Entry { uid, date: record.date, spot })
    }

    /// Tells whether a record, or the end of the file, is there.
    fn leads_on(&mut self, at: u64) -> io::Result<bool> {
        Ok(at == self.len || at < self.len && self.record(at)?.is_some())
    }

    fn record(&mut self, at: u64) -> io::Result<Option<Record>> {
        let octets = self.octets(at, MOST)?;
        Ok(Record::parse(octets).filter(|record| record.size > 0))
    }

    /// Returns where the first record begins in this range.
    fn search(&mut self, from: u64, to: u64, wanted: Wanted) -> io::Result<Option<u64>> {
        let finder = memchr::memmem::Finder::new(TOKEN);
        let mut at = from;
        while at < to {
            let octets = self.octets(at, BLOCK)?;
            let Some(hit) = finder.find(octets) else {
                if octets.len() < BLOCK {
                    return Ok(None);
                }
                at += (octets.len() - TOKEN.len() + 1) as u64;
                continue;
            };
            at += hit as u64;
            if at >= to {
                return Ok(None);
            }
            if let Some(record) = self.record(at)? {
                let end = at.saturating_add(u64::from(record.len)).saturating_add(record.size);
                if wanted == Wanted::Any || self.leads_on(end)? {
                    return Ok(Some(at));
                }
            }
            at += 1;
        }
        Ok(None)
    }

    /// Returns how many octets a header has, with its empty line; all if there is none.
    fn header_size(&mut self, text: u64, end: u64) -> io::Result<u64> {
        const EMPTY_LINE: &[u8] = b"\r\n\r\n";
        let finder = memchr::memmem::Finder::new(EMPTY_LINE);
        let mut at = text;
        if end - text >= 2 && self.octets(text, BLOCK)?.starts_with(b"\r\n") {
            return Ok(2);
        }
        while at + (EMPTY_LINE.len() as u64) <= end {
            let octets = self.octets(at, BLOCK)?;
            if let Some(found) = finder.find(octets) {
                let size = at - text + (found + EMPTY_LINE.len()) as u64;
                return Ok(size.min(end - text));
            }
            if octets.len() < BLOCK {
                break;
            }
            at += (octets.len() - EMPTY_LINE.len() + 1) as u64;
        }
        Ok(end - text)
    }

    /// Returns octets of the file, at most so many.
    fn octets(&mut self, at: u64, most: usize) -> io::Result<&[u8]> {
        let end = self.len.min(at.saturating_add(most as u64));
        if at < self.start || end > self.start + self.block.len() as u64 {
            read_up_to(self.file, at, BLOCK, &mut self.block)?;
            self.start = at;
        }
        let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX).min(self.block.len());
        Ok(&self.block[skip..self.block.len().min(skip + most)])
    }
}

/// Which record is searched for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Any,
    /// One behind which there is another record, or the end of the file.
    LeadingOn,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ailurus_types::InternalDate;
    use std::os::unix::fs::FileExt;

    fn message(uid: u32, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Record::write(uid, InternalDate::default(), text.len() as u64, &mut out);
        out.extend_from_slice(text.as_bytes());
        out
    }

    fn scanned(content: &[u8]) -> Vec<(u32, u64, u64)> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        let mut found = Vec::new();
        Scan::new(&file, 1).unwrap().run(&mut found).unwrap();
        found.iter().map(|entry| (entry.uid.get(), entry.spot.pos, entry.spot.size)).collect()
    }

    #[test]
    fn records_lead_from_one_message_to_the_next() {
        let forged = String::from_utf8(message(9, "forged")).unwrap();
        let content = [message(1, "a: b\r\n\r\nx"), message(2, &forged), message(3, "c")].concat();
        assert_eq!(scanned(&content), [(1, 0, 9), (2, 54, 51), (3, 150, 1)]);
        assert_eq!(scanned(b""), []);
        assert_eq!(scanned(b"no record"), []);
    }

    #[test]
    fn what_is_between_messages_is_passed_over() {
        let content = [b"junk".to_vec(), message(1, "one"), vec![0; 5000], message(2, "two")].concat();
        assert_eq!(scanned(&content), [(1, 4, 3), (2, 5052, 3)]);
    }

    #[test]
    fn a_message_that_is_cut_off_ends_where_the_next_begins() {
        let mut first = message(1, "a long text that was cut");
        first.truncate(50);
        let content = [first.clone(), message(2, "two"), message(3, "three")].concat();
        assert_eq!(scanned(&content), [(1, 0, 5), (2, 50, 3), (3, 98, 5)]);
        assert_eq!(scanned(&first), [(1, 0, 5)]);
        assert_eq!(scanned(&first[..45]), []);
        assert_eq!(scanned(&first[..44]), []);
    }

    #[test]
    fn a_record_in_a_message_counts_only_if_it_leads_on() {
        // The first message claims too much, and holds something like a record that leads nowhere.
        let mut first = message(1, "12345:msg:00000007:20250201123456+0200:000000f2:\r\n12345");
        first[..45].copy_from_slice(b":msg:00000001:19700101000000+0000:00000fff:\r\n");
        let content = [first.clone(), message(2, "two")].concat();
        assert_eq!(scanned(&content), [(1, 0, first.len() as u64 - 45), (2, first.len() as u64, 3)]);
    }

    #[test]
    fn headers_end_with_the_empty_line() {
        let file = tempfile::tempfile().unwrap();
        let long = format!("{}\r\n\r\nbody", "x".repeat(BLOCK - 2));
        let content = [message(1, "a: b\r\n\r\nc"), message(2, "all of it"), message(3, &long)].concat();
        file.write_all_at(&content, 0).unwrap();
        let mut found = Vec::new();
        Scan::new(&file, 1).unwrap().run(&mut found).unwrap();
        let headers: Vec<_> = found.iter().map(|entry| entry.spot.header as usize).collect();
        assert_eq!(headers, [8, 9, BLOCK + 2]);
    }
}
