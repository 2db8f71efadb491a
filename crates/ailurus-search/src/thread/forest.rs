//! Step (1) of REFERENCES: messages linked by their references.
//!
//! A node is a message, or an id to which messages refer and which none has: a dummy. Ids that are new in references cost
//! memory, and may be made up: when there are many more nodes than messages, only the last reference of a message can
//! make one, as if the others had been cut off, which mail programs do with long fields.

use super::paths::Paths;
use crate::interned::{Index, at, number};

/// No node, no message.
pub(super) const NONE: u32 = u32::MAX;
/// So many nodes there may be beyond twice as many as messages.
const SPARE_NODES: usize = 64 * 1024;

/// Messages and dummies, each with its parent.
#[derive(Default)]
pub(super) struct Forest {
    /// By hash of the id.
    index: Index,
    hashes: Vec<u64>,
    pub(super) nodes: Vec<Node>,
    paths: Paths,
}

#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) parent: u32,
    /// The message's position among all, or [`NONE`].
    pub(super) message: u32,
    /// Something was its child once.
    had_children: bool,
}

impl Forest {
    /// Adds a message: its position, the hash of its id if it has a valid one, those of its references.
    pub(super) fn add(&mut self, message: u32, id: Option<u64>, references: &[u64]) {
        let most = at(message).saturating_mul(2).saturating_add(SPARE_NODES);
        let mut last = NONE;
        // (A) Each is the parent of the next.
        for (place, id) in references.iter().enumerate() {
            let known = self.find(*id);
            let node = match known {
                Some(node) => node,
                None if self.nodes.len() < most || place + 1 == references.len() => self.push(Some(*id)),
                None => continue,
            };
            if last != NONE && self.nodes[at(node)].parent == NONE {
                self.link(node, last);
            }
            last = node;
        }
        let node = id.and_then(|id| self.find(id)).filter(|node| self.nodes[at(*node)].message == NONE);
        let node = node.unwrap_or_else(|| {
            // The id of a message that comes again is that of the first one.
            let unused = id.filter(|id| self.find(*id).is_none());
            self.push(unused)
        });
        self.nodes[at(node)].message = message;
        // (B) The last is the parent of the message, whatever others said.
        if self.nodes[at(node)].parent != last {
            if self.nodes[at(node)].parent != NONE {
                self.nodes[at(node)].parent = NONE;
                self.paths.cut(node);
            }
            if last != NONE {
                self.link(node, last);
            }
        }
    }

    /// Makes a node without parent the child of another one, unless it is above that one.
    fn link(&mut self, child: u32, parent: u32) {
        if child == parent || self.nodes[at(child)].had_children && self.paths.root(parent) == child {
            return;
        }
        self.paths.link(child, parent);
        self.nodes[at(child)].parent = parent;
        self.nodes[at(parent)].had_children = true;
    }

    fn find(&self, id: u64) -> Option<u32> {
        self.index.find(id, |node| self.hashes.get(at(node)).copied().unwrap_or(0))
    }

    /// Adds a node, which is found by its id if it has one.
    fn push(&mut self, id: Option<u64>) -> u32 {
        let node = number(self.nodes.len());
        self.nodes.push(Node { parent: NONE, message: NONE, had_children: false });
        self.paths.push();
        self.hashes.push(id.unwrap_or(0));
        if let Some(id) = id {
            let hashes = &self.hashes;
            self.index.insert(id, node, |node| hashes.get(at(node)).copied().unwrap_or(0));
        }
        node
    }

    /// Returns the nodes, all that is needed from now on.
    pub(super) fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }
}
