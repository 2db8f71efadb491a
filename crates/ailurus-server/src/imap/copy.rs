//! COPY, MOVE and their UID forms (RFC 3501 §6.4.7, RFC 4315, RFC 6851).
//!
//! Messages are read from one mailbox and appended to the other, whatever their formats, with flags, keywords, internal
//! date and From_ line. All arrive, or none.

use crate::imap::append::OpenAppend;
use crate::imap::select::Selected;
use crate::imap::session::{Account, Session, State, Step, Task};
use crate::imap::store::uids_of;
use crate::imap::tagged::{Outcome, OutcomeCode};
use crate::imap::wording;
use ailurus_proto::imap::response::{self, Code, Status};
use ailurus_proto::imap::{CommandName, MessageSet, Numbering, Tag, WrittenSet};
use ailurus_store::{AppendMeta, Appended, Error, Extent, Result};
use ailurus_types::{MailboxName, Uid, UidSet, UidValidity};

/// A copy under way.
pub(crate) struct Copy {
    destination: MailboxName,
    open: Option<OpenAppend>,
    /// The messages that are still to be copied, the last one first.
    left: Vec<Uid>,
    all: UidSet,
    /// The message that is being copied: how much of it was, and its size.
    current: Option<(Uid, u64, u64)>,
    hint: usize,
    piece: Vec<u8>,
    /// MOVE: expunge what was copied.
    moves: bool,
}

/// How much is copied before others have their turn.
const SLICE: usize = 1024 * 1024;
/// How much is read at a time.
const PIECE: usize = 64 * 1024;

impl Session {
    pub(crate) fn copy(
        &mut self,
        tag: Tag,
        name: CommandName,
        account: &Account,
        set: WrittenSet,
        destination: MailboxName,
    ) {
        let State::Selected(_, selected) = &self.state else { return };
        let moves = matches!(name, CommandName::Move | CommandName::UidMove);
        let begun = begin(selected, name, account, set, &destination, moves);
        match begun {
            Ok(Some((left, open))) => {
                let mut left: Vec<_> = left;
                let all = left.iter().copied().collect();
                left.reverse();
                let copy = Copy {
                    destination,
                    open: Some(open),
                    left,
                    all,
                    current: None,
                    hint: 0,
                    piece: Vec::new(),
                    moves,
                };
                self.run(tag, name, Task::Copy(Box::new(copy)));
            }
            Ok(None) => self.finish(tag, name, Outcome::ok()),
            Err(outcome) => self.finish(tag, name, outcome),
        }
    }
}

/// Checks the arguments; `None` when there is nothing to copy, which is fine (RFC 3501 §6.4.8).
fn begin(
    selected: &Selected,
    name: CommandName,
    account: &Account,
    set: WrittenSet,
    destination: &MailboxName,
    moves: bool,
) -> std::result::Result<Option<(Vec<Uid>, OpenAppend)>, Outcome> {
    let by_number = name.numbering() == Numbering::SeqNum && set != Ok(MessageSet::Saved);
    if by_number && set.is_ok() && selected.view.exists() == 0 {
        return Err(Outcome::no("Mailbox is empty"));
    }
    let wanted = uids_of(selected, name, set)?;
    if moves && !selected.is_writable() {
        return Err(Outcome::no("Can't move messages out of readonly mailbox").with(Code::NoPerm));
    }
    // RFC 3501 §6.4.8: a UID that names no message is no error; nor is what is gone from `$`.
    if by_number && selected.names_expunged(&wanted) {
        return Err(wording::failure(&Error::Expunged { uid: 0 }, name, destination));
    }
    let uids: Vec<_> = selected.view.messages_by_uid(&wanted).map(|(_, uid)| uid).collect();
    if uids.is_empty() {
        return Ok(None);
    }
    let open = OpenAppend::begin(account, destination);
    let open = open.map_err(|error| wording::failure(&error, name, destination))?;
    Ok(Some((uids, open)))
}

impl Copy {
    pub(crate) fn step(&mut self, selected: &mut Selected, name: CommandName, out: &mut Vec<u8>) -> Step {
        let outcome = match self.copy_some(selected) {
            Ok(false) => return Step::Yield,
            Ok(true) => self.end(selected, name, out),
            Err(error) => wording::failure(&error, name, &self.destination),
        };
        // Nothing of an append that failed is left behind.
        self.open = None;
        Step::Next(Task::Refresh(outcome))
    }

    /// Copies about a slice; `true` when all is copied.
    fn copy_some(&mut self, selected: &mut Selected) -> Result<bool> {
        let mut done = 0;
        while done < SLICE {
            let Some((uid, at, size)) = self.current else {
                let Some(uid) = self.left.pop() else { return Ok(true) };
                self.begin_message(selected, uid)?;
                done += 4096;
                continue;
            };
            self.piece.clear();
            let read = if at < size {
                selected.mailbox.read(uid, Extent::Whole, at, PIECE, &mut self.piece)?
            } else {
                0
            };
            done += read;
            let piece = &self.piece;
            let Some(open) = &mut self.open else { return Ok(true) };
            if read == 0 {
                open.with(|append| append.end())?;
                self.current = None;
            } else {
                open.with(|append| append.write(piece))?;
                self.current = Some((uid, at + u64::try_from(read).unwrap_or(u64::MAX), size));
            }
        }
        Ok(false)
    }

    fn begin_message(&mut self, selected: &mut Selected, uid: Uid) -> Result<()> {
        let message = selected.message(uid, &mut self.hint).ok_or(Error::Expunged { uid: uid.get() })?;
        let flags = message.flags();
        let known = &selected.mailbox.snapshot().keywords;
        let keywords = known.named(flags.keywords).cloned().collect();
        let size = message.rfc822_size().into();
        let meta = AppendMeta {
            system: flags.system,
            keywords,
            internal_date: Some(message.internal_date()),
            size,
            from_line: selected.mailbox.envelope_line(uid)?,
        };
        if let Some(open) = &mut self.open {
            open.with(|append| append.begin(meta))?;
        }
        self.current = Some((uid, 0, size));
        Ok(())
    }

    fn end(&mut self, selected: &mut Selected, name: CommandName, out: &mut Vec<u8>) -> Outcome {
        let Some(open) = self.open.take() else { return Outcome::ok() };
        let copied = match open.commit() {
            Ok(appended) => self.copied(appended),
            Err(error) => return wording::failure(&error, name, &self.destination),
        };
        if !self.moves {
            return match copied {
                Some((validity, to)) => {
                    Outcome::ok().with_code(OutcomeCode::CopyUid(validity, self.all.clone(), to))
                }
                None if selected.is_named(&self.destination) && selected.mailbox.snapshot().sticky_uids => {
                    let name = &self.destination;
                    Outcome::ok().with_text(format!("Unable to write-open mailbox for COPYUID: {name}"))
                }
                None => Outcome::ok(),
            };
        }
        // RFC 6851 §4.3: COPYUID comes before the EXPUNGEs.
        if let Some((validity, to)) = copied {
            let code = Code::CopyUid(validity, &self.all, &to);
            response::untagged(out, Status::Ok, Some(code), format_args!("{name} copied messages"));
        }
        match self.expunge(selected) {
            Ok(()) => Outcome::ok().with_text(format!("{name} completed")),
            Err(error) => wording::failure(&error, CommandName::Expunge, &selected.name),
        }
    }

    fn copied(&self, appended: Appended) -> Option<(UidValidity, UidSet)> {
        let (validity, uids) = appended.uids?;
        let all_are_known = u64::try_from(uids.len()).is_ok_and(|count| count == self.all.count());
        all_are_known.then(|| (validity, uids.into_iter().collect()))
    }

    fn expunge(&self, selected: &mut Selected) -> Result<()> {
        let mut edit = selected.edit()?;
        edit.expunge(&self.all)?;
        let changes = edit.commit()?;
        selected.note(&changes);
        Ok(())
    }
}
