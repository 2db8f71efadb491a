//! What a session worked out of a message, kept for the next one.

use crate::MessageInfo;

/// What is noted, and by which edition of the code that works it out: the session picks a number for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoteKind(pub u16);

/// The notes of an open mailbox. They are disposable: one that is not there costs time, and none is there that would not
/// come out the same now.
pub trait MessageNotes {
    /// Appends what is noted of a message to `out`; `false` if nothing is.
    fn get(&mut self, message: &MessageInfo, kind: NoteKind, out: &mut Vec<u8>) -> bool;

    /// Notes what follows from the octets of a message and nothing else, all of them read since [`MessageNotes::get`] had
    /// nothing; ignored if that was not the last call. It may be forgotten at any time.
    fn put(&mut self, message: &MessageInfo, kind: NoteKind, octets: &[u8]);
}
