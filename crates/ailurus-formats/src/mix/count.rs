//! Counting for STATUS without remembering anything.
//!
//! Clients ask for the numbers of all mailboxes, all the time. Where index and status file are plain, record by record of
//! the same messages, they are counted as they are read; else the mailbox is opened.

use super::directory::{Held, Opened, Part};
use super::meta::Readable;
use super::text::{Lines, Sequence};
use super::{index, status};
use ailurus_store::{Result, Status};
use ailurus_types::{SystemFlags, Uid};
use std::fs::File;

/// Counts what is in a mailbox; `None` where it must be opened for that.
pub(super) fn count(opened: &Opened, held: &Held) -> Result<Option<Status>> {
    let directory = &opened.directory;
    let found = Readable::parse(&opened.read_meta()?);
    let (Some(index), Some(status)) = (&held.index, &held.status) else { return Ok(None) };
    let Some(meta) = Some(found).filter(|found| !found.is_unfinished).and_then(Readable::whole) else {
        return Ok(None);
    };
    let records = |file: &File, part, width| -> Result<Option<u64>> {
        let sequence = Sequence::read(file).map_err(directory.io("read", part))?;
        let len = file.metadata().map_err(directory.io("look at", part))?.len();
        let rest = sequence.filter(|found| found.len == 11 && found.value != 0).and(len.checked_sub(11));
        Ok(rest.filter(|rest| rest.is_multiple_of(width)).map(|rest| rest / width))
    };
    let messages = records(index, Part::Index, index::WIDTH as u64)?;
    if messages.is_none() || messages != records(status, Part::Status, status::WIDTH as u64)? {
        return Ok(None);
    }
    let (mut indices, mut states) = (Lines::new(index, 11), Lines::new(status, 11));
    let mut counted = Status {
        messages: 0,
        recent: 0,
        unseen: 0,
        uid_next: Uid::new(meta.uid_last).map_or(Some(Uid::MIN), Uid::next),
        uid_validity: meta.uid_validity,
    };
    let mut previous = *b":00000000:";
    for _ in 0..messages.unwrap_or(0) {
        let entry = indices.usual::<{ index::WIDTH }>().map_err(directory.io("read", Part::Index))?;
        let uid = entry.and_then(|entry| entry.first_chunk::<10>()).copied();
        let state = states.usual::<{ status::WIDTH }>().map_err(directory.io("read", Part::Status))?;
        let record = state.filter(|state| state.first_chunk() == uid.as_ref());
        let record = record.and_then(status::Record::parse_usual);
        // Digits of one case ascend as their values do.
        let (Some(uid), Some(record)) = (uid.filter(|uid| *uid > previous), record) else { return Ok(None) };
        counted.messages += 1;
        counted.recent += u32::from(!record.is_old());
        counted.unseen += u32::from(!record.flags().system.contains(SystemFlags::SEEN));
        previous = uid;
        indices.skip(index::WIDTH);
        states.skip(status::WIDTH);
    }
    // A UID above UIDLAST is for somebody who opens the mailbox to judge.
    let is_known = previous.as_slice() <= format!(":{:08x}:", meta.uid_last).as_bytes();
    Ok(is_known.then_some(counted))
}
