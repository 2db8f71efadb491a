//! Keywords for messages that are yet to come.

use crate::{Changes, Mailbox, Result};
use ailurus_types::{FlagChange, FlagOp, Keyword, SystemFlags, UidSet};

/// Makes keywords known to an open mailbox, as far as there is room, and writes them down: an append beside the session
/// that has the mailbox cannot make any in formats that one session writes at a time. Does nothing where no keywords
/// can be made. Returns what else that brought to light.
pub fn make_keywords(mailbox: &mut dyn Mailbox, wanted: &[Keyword]) -> Result<Changes> {
    let snapshot = mailbox.snapshot();
    let is_new = |keyword: &&Keyword| snapshot.keywords.find(keyword.as_str()).is_none();
    let keywords: Vec<Keyword> = wanted.iter().filter(is_new).cloned().collect();
    if keywords.is_empty() || !snapshot.writable || !snapshot.permanent.new_keywords {
        return Ok(Changes::default());
    }
    let mut edit = mailbox.edit()?;
    edit.store(&UidSet::new(), &FlagChange { op: FlagOp::Add, system: SystemFlags::NONE, keywords })?;
    let mut changes = edit.commit()?;
    changes.add(&mailbox.checkpoint()?);
    Ok(changes)
}
