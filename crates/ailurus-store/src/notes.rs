//! What a session worked out of a message, kept for the next one.

use crate::MessageInfo;

/// What is noted (the upper octet), and by which edition of the code that works it out (the lower one): the session picks the
/// numbers. Notes of an edition give way to those of another.
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

    /// Tells what is noted of many messages, with their positions. If the answer is `false`, nothing that was told counts.
    #[must_use]
    fn get_all(
        &mut self,
        messages: &[MessageInfo],
        kind: NoteKind,
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> bool;

    /// Notes what follows from the octets of some of the messages, all of them read since [`MessageNotes::get_all`] was asked for
    /// this kind; ignored if that was not the last call.
    fn put_all(&mut self, notes: &[(MessageInfo, Vec<u8>)], kind: NoteKind);
}
