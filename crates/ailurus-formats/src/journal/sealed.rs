//! A complete journal: comparing the mailbox with it, and working it off.

use super::record::{Checking, HEADER, Header, Records, checksum};
use super::{BLOCK, UNIT, discard};
use crate::disk::Disk;
use crate::rewrite::RewriteError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TAIL_CHECKED: u64 = 64 * 1024;

/// A complete journal.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) header: Header,
    /// See [`super::Places`].
    pub(super) syncs_removal: bool,
}

/// What becomes of a journal when there is no room for the longer mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IfFull {
    /// It goes: this process made it, and has not touched the mailbox yet.
    GiveUp,
    /// It stays: the mailbox may be changed in part already. A power loss can keep what was written and lose the room.
    Keep,
}

/// What recovery found the mailbox to be.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) length: u64,
    // Where mail starts that others appended since; the length, if there is none.
    pub(super) tail: u64,
}

impl Sealed {
    /// Returns `None` for a journal that was never finished.
    pub(super) fn open(path: &Path, file: File, syncs_removal: bool) -> io::Result<Option<Self>> {
        let mut octets = [0; HEADER];
        let length = file.metadata()?.len();
        if length < HEADER as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut octets, 0)?;
        let Some(header) = Header::decode(&octets) else { return Ok(None) };
        if header.body_len > length - HEADER as u64 {
            return Ok(None);
        }
        let journal = Self { path: path.into(), file, header, syncs_removal };
        let mut records = journal.records(Checking::Yes);
        loop {
            match records.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let whole = records.hash == header.body_hash;
        Ok(whole.then_some(journal))
    }

    pub(super) fn records(&self, checking: Checking) -> Records<'_> {
        let end = HEADER as u64 + self.header.body_len;
        let reading = HEADER as u64;
        Records {
            file: &self.file,
            checking,
            reading,
            end,
            new_len: self.header.new_len,
            buffer: Vec::new(),
            at: 0,
            after: 0,
            hash: 0,
        }
    }

    /// Makes the mailbox what the journal says, and removes the journal. `length` is the mailbox's length now; it is
    /// set unless `alone` is false: then others' mail is behind the new content already.
    pub(crate) fn apply(
        &self,
        disk: &Arc<dyn Disk>,
        file: &File,
        length: u64,
        alone: bool,
        if_full: IfFull,
    ) -> Result<(), RewriteError> {
        let new_len = self.header.new_len;
        if length < new_len
            && let Err(error) = extend(disk, file, length, new_len)
        {
            disk.set_len(file, length).map_err(RewriteError::Interrupted)?;
            if if_full == IfFull::Keep {
                return Err(RewriteError::Interrupted(error));
            }
            self.remove(disk).map_err(RewriteError::Unchanged)?;
            return Err(RewriteError::Unchanged(error));
        }
        self.overwrite(disk, file, length, alone).map_err(RewriteError::Interrupted)?;
        self.remove(disk).map_err(RewriteError::Interrupted)
    }

    fn remove(&self, disk: &Arc<dyn Disk>) -> io::Result<()> {
        discard(disk, &self.path);
        if !self.syncs_removal {
            return Ok(());
        }
        disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    fn overwrite(&self, disk: &Arc<dyn Disk>, file: &File, length: u64, alone: bool) -> io::Result<()> {
        let mut records = self.records(Checking::Done);
        while let Some(record) = records.next()? {
            disk.write_at(file, record.data, record.offset)?;
        }
        if alone && length > self.header.new_len {
            disk.set_len(file, self.header.new_len)?;
        }
        disk.sync(file)
    }

    /// Compares the mailbox with the journal; `None` when a third party changed it.
    pub(super) fn survey(&self, file: &File, whole_units: bool) -> io::Result<Option<Survey>> {
        let Header { old_len, new_len, .. } = self.header;
        let length = file.metadata()?.len();
        if length < old_len.min(new_len) {
            return Ok(None);
        }
        // A power loss can keep a part of the new length; who appended mail left other octets there.
        let mut extended = true;
        let is_cut = new_len < old_len
            && (length < old_len || tail_checksum(file, old_len, new_len)? != self.header.tail_hash);
        let (mut after_so_far, mut torn) = (true, false);
        let mut now = Vec::new();
        let mut records = self.records(Checking::Done);
        while let Some(record) = records.next()? {
            read_up_to(file, record.offset, record.data.len(), &mut now)?;
            for (unit, data) in record.data.chunks(UNIT).enumerate() {
                let offset = record.offset + (unit * UNIT) as u64;
                let now = now.get(unit * UNIT..).unwrap_or_default();
                let now = &now[..now.len().min(data.len())];
                let before = usize::try_from(old_len.saturating_sub(offset)).unwrap_or(UNIT).min(data.len());
                if now.len() < before {
                    return Ok(None);
                }
                let as_before = checksum(&now[..before]) == record.old_hash(unit);
                let as_after = now[..before] == data[..before];
                if !as_before && !as_after {
                    // A killed process wrote from the front to the back, and may have stopped within one unit. It cut
                    // the mailbox only when all was written.
                    if whole_units || torn || is_cut || !after_so_far || now.first() != data.first() {
                        return Ok(None);
                    }
                    torn = true;
                } else if torn && !as_before {
                    return Ok(None);
                }
                after_so_far &= as_after;
                let grown = &now[before..];
                let written =
                    grown.iter().zip(&data[before..]).take_while(|(is, will_be)| is == will_be).count();
                extended &= grown[written..].iter().all(|octet| *octet == 0);
            }
        }
        let reaches_new = if new_len > old_len { extended } else { is_cut };
        let tail = if reaches_new { new_len } else { old_len };
        Ok(Some(Survey { length, tail }))
    }
}

/// Makes the file longer, with NULs, so that filling it cannot fail for want of room, and in one step: after a crash
/// it has its old or its new length.
fn extend(disk: &Arc<dyn Disk>, file: &File, from: u64, to: u64) -> io::Result<()> {
    match disk.reserve(file, from, to) {
        Ok(()) => disk.set_len(file, to),
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
            disk.set_len(file, to)?;
            let zeros = vec![0; BLOCK];
            let mut at = from;
            while at < to {
                let count = usize::try_from(to - at).unwrap_or(BLOCK).min(BLOCK);
                disk.write_at(file, &zeros[..count], at)?;
                at += count as u64;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Returns the checksum of what a rewrite to a shorter content cuts off.
pub(crate) fn tail_checksum(file: &File, old_len: u64, new_len: u64) -> io::Result<u64> {
    let count = usize::try_from(old_len.saturating_sub(new_len).min(TAIL_CHECKED)).unwrap_or(0);
    let mut tail = Vec::new();
    read_up_to(file, new_len, count, &mut tail)?;
    Ok(checksum(&tail))
}

/// Reads `count` octets, or fewer where the file ends.
pub(crate) fn read_up_to(file: &File, offset: u64, count: usize, out: &mut Vec<u8>) -> io::Result<()> {
    out.resize(count, 0);
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(filled);
    Ok(())
}
