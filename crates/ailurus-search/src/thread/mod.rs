//! THREAD: ORDEREDSUBJECT and REFERENCES (RFC 5256 §3), REFS (draft-ietf-morg-inthread).
//!
//! Messages are added in the order of their numbers. By reference they are linked at once, in a [`Forest`] whose trees
//! hold messages and ids that no message has: step (1) of REFERENCES. What comes then is done for all together when they
//! are finished (`assemble`): the tree is an array of parents, each set of siblings is put in order by one sort of all
//! messages, and nothing recurses, so that neither 100,000 generations nor as many siblings are a burden.
//!
//! Base subjects and ids are known by hashes of 64 bits under a key that nobody outside knows. A message takes about 60 octets,
//! and an id without message 40; there are not many more of these than messages ([`Forest`]).
//!
//! REFS is REFERENCES without the merging of threads by their subjects, and the threads are ordered by the latest internal
//! date in each, so that a thread to which a message comes is the last one; within a thread the sent date counts.

mod assemble;
mod forest;
mod list;
mod paths;

use crate::interned::{Keyed, number};
use crate::keys::{FieldName, Fields};
use ailurus_message::message_id;
use ailurus_store::MessageInfo;
use ailurus_types::ThreadAlgorithm;
use forest::Forest;
pub use list::{Threads, Token};

/// Messages that are being put together to threads.
pub struct Threader {
    algorithm: ThreadAlgorithm,
    members: Vec<Member>,
    forest: Forest,
    keyed: Keyed,
    references: Vec<u64>,
    scratch: String,
}

/// What is kept of a message.
struct Member {
    /// What stands for it in the result.
    number: u32,
    is_reply: bool,
    /// The sent date.
    sent: i64,
    /// The hash of its base subject, 0 of an empty one; for REFS the internal date.
    other: u64,
}

impl Threader {
    /// Returns a threader that knows no message.
    #[must_use]
    pub fn new(algorithm: ThreadAlgorithm) -> Self {
        Self {
            algorithm,
            members: Vec::new(),
            forest: Forest::default(),
            keyed: Keyed::default(),
            references: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Adds a message with its header. `number` is what stands for it in the result; messages come in the order of their
    /// numbers.
    pub fn add(&mut self, number: u32, info: &MessageInfo, header: &[u8]) {
        let fields = Fields::read(header);
        let mut member = Member { number, is_reply: false, sent: fields.sent(info), other: 0 };
        if self.algorithm == ThreadAlgorithm::Refs {
            member.other = info.internal_date().timestamp().cast_unsigned() ^ (1 << 63);
        } else {
            member.is_reply = fields.subject(&mut self.scratch);
            if !self.scratch.is_empty() {
                member.other = self.keyed.hash(self.scratch.as_bytes()).max(1);
            }
        }
        if self.algorithm != ThreadAlgorithm::OrderedSubject {
            self.link(&fields);
        }
        self.members.push(member);
        if self.scratch.capacity() > KEPT_CAPACITY {
            self.scratch = String::new();
        }
    }

    fn link(&mut self, fields: &Fields<'_>) {
        let Self { references, keyed, .. } = self;
        references.clear();
        if let Some(value) = fields.value(FieldName::References) {
            message_id::parse(value, |id| references.push(keyed.hash(&id)));
        }
        if references.is_empty() {
            let first = fields.value(FieldName::InReplyTo).and_then(message_id::first);
            references.extend(first.map(|id| keyed.hash(&id)));
        }
        let id = fields.value(FieldName::MessageId).and_then(message_id::first);
        let id = id.map(|id| keyed.hash(&id));
        self.forest.add(number(self.members.len()), id, references);
        if references.capacity() > KEPT_CAPACITY / 8 {
            *references = Vec::new();
        }
    }

    /// Returns the threads.
    #[must_use]
    pub fn finish(self) -> Threads {
        let Self { algorithm, members, forest, .. } = self;
        assemble::threads(algorithm, &members, forest)
    }
}

/// A buffer that is larger is given back.
const KEPT_CAPACITY: usize = 64 * 1024;

#[cfg(test)]
mod tests;
