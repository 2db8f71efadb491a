//! What is kept of a file whose number is the UID.

use super::FileId;
use ailurus_store::MessageInfo;

/// What is known of a message's file; with [`MessageInfo`] 56 octets of memory. Its number is the UID, the seconds of its
/// modification time are the internal date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Kept {
    inode: u64,
    nanoseconds: u32,
    changed: u32,
    size: u32,
    /// Octets of its header, in CRLF form; [`Kept::UNKNOWN`] until somebody asks.
    pub(crate) header: u32,
}

impl Kept {
    pub(crate) const UNKNOWN: u32 = u32::MAX;

    pub(crate) fn new(id: &FileId, header: u32) -> Self {
        let FileId { inode, size, modified: (_, nanoseconds), changed } = *id;
        Self { inode, nanoseconds, changed, size, header }
    }

    /// Returns the identity of the message's file.
    pub(crate) fn id(&self, message: &MessageInfo) -> FileId {
        let modified = (message.internal_date().timestamp(), self.nanoseconds);
        FileId { inode: self.inode, size: self.size, modified, changed: self.changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_at_most_64_octets() {
        assert!(size_of::<Kept>() + size_of::<MessageInfo>() <= 64);
    }
}
