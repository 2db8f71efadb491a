//! From links to threads: steps (2) to (6) of REFERENCES, and ORDEREDSUBJECT.
//!
//! A tree is an array that holds the parent of each message: another message, a dummy, or none. After step (3) there are
//! dummies only where two messages or more that begin a thread have no other parent in common; they are numbered on from the
//! messages. All messages are sorted by sent date once; whoever goes over them in that order meets each set of
//! siblings in its order, and each dummy in the place of its first child.

use super::forest::{Forest, NONE, Node};
use super::{Member, Threads};
use crate::interned::{at, number};
use ailurus_types::ThreadAlgorithm;
use std::collections::HashMap;

/// The parents of messages and dummies.
struct Tree<'m> {
    members: &'m [Member],
    /// The messages, by sent date and then by number.
    by_date: Vec<u32>,
    /// Of each message and then of each dummy: the parent, or [`NONE`].
    parents: Vec<u32>,
}

pub(super) fn threads(algorithm: ThreadAlgorithm, members: &[Member], forest: Forest) -> Threads {
    let mut by_date: Vec<u32> = (0..number(members.len())).collect();
    by_date.sort_unstable_by_key(|message| (members[at(*message)].sent, *message));
    let parents = match algorithm {
        ThreadAlgorithm::OrderedSubject => by_subject(members, &by_date),
        _ => pruned(members.len(), forest.into_nodes()),
    };
    let mut tree = Tree { members, by_date, parents };
    if algorithm == ThreadAlgorithm::References {
        tree.merge_subjects();
    }
    let mut roots = tree.roots();
    if algorithm == ThreadAlgorithm::Refs {
        let latest = tree.latest();
        roots.sort_unstable_by_key(|root| latest[at(*root)]);
    }
    tree.into_threads(roots)
}

/// ORDEREDSUBJECT: the first message of each subject is the parent of all others.
fn by_subject(members: &[Member], by_date: &[u32]) -> Vec<u32> {
    let mut parents = vec![NONE; members.len()];
    let mut first: HashMap<u64, u32> = HashMap::new();
    for message in by_date {
        let first = *first.entry(members[at(*message)].other).or_insert(*message);
        if first != *message {
            parents[at(*message)] = first;
        }
    }
    parents
}

/// Steps (2) and (3): leaves out the dummies, but for those at the top with several children.
fn pruned(count: usize, mut nodes: Vec<Node>) -> Vec<u32> {
    let mut parents = vec![NONE; count];
    let mut children = vec![0u32; nodes.len()];
    for at_node in 0..nodes.len() {
        let Node { parent, message, .. } = nodes[at_node];
        if message == NONE || parent == NONE {
            continue;
        }
        let above = message_above(&mut nodes, parent);
        match nodes[at(above)].message {
            NONE => children[at(above)] += 1,
            message_above => parents[at(message)] = message_above,
        }
    }
    // A number for each dummy that stays.
    let mut kept = 0;
    let mut numbers = children;
    for children in &mut numbers {
        if *children > 1 {
            *children = number(count + kept);
            kept += 1;
        } else {
            *children = NONE;
        }
    }
    for at_node in 0..nodes.len() {
        let Node { parent, message, .. } = nodes[at_node];
        if message != NONE && parent != NONE && parents[at(message)] == NONE {
            parents[at(message)] = numbers[at(message_above(&mut nodes, parent))];
        }
    }
    parents.resize(count + kept, NONE);
    parents
}

/// Returns the next message from a node upwards, or else the dummy at the top. All dummies on the way point there then.
fn message_above(nodes: &mut [Node], node: u32) -> u32 {
    let is_end = |node: &Node| node.message != NONE || node.parent == NONE;
    let mut end = node;
    while !is_end(&nodes[at(end)]) {
        end = nodes[at(end)].parent;
    }
    let mut passed = node;
    while passed != end {
        passed = std::mem::replace(&mut nodes[at(passed)].parent, end);
    }
    end
}

/// What the subject table says of a subject.
#[derive(Clone, Copy)]
struct Entry {
    /// A message or a dummy.
    root: u32,
    is_reply: bool,
}

impl Tree<'_> {
    fn is_dummy(&self, node: u32) -> bool {
        at(node) >= self.members.len()
    }

    /// Returns the threads in the order of their first messages (step (4)): each root, and the message whose subject it has.
    fn roots_with_first(&self) -> Vec<(u32, u32)> {
        let mut roots = Vec::new();
        let mut met = vec![false; self.parents.len() - self.members.len()];
        for message in &self.by_date {
            let parent = self.parents[at(*message)];
            if parent == NONE {
                roots.push((*message, *message));
            } else if self.is_dummy(parent)
                && !std::mem::replace(&mut met[at(parent) - self.members.len()], true)
            {
                roots.push((parent, *message));
            }
        }
        roots
    }

    fn roots(&self) -> Vec<u32> {
        self.roots_with_first().into_iter().map(|(root, _)| root).collect()
    }

    /// Step (5): joins threads that have the same subject, if that is not empty.
    fn merge_subjects(&mut self) {
        let mut roots = self.roots_with_first();
        roots.retain(|(_, first)| self.members[at(*first)].other != 0);
        let mut table = self.subject_table(&roots);
        // Which dummy the children of a dummy went to.
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for (root, first) in roots {
            let Member { other: subject, is_reply, .. } = self.members[at(first)];
            let Some(entry) = table.get_mut(&subject) else { continue };
            if entry.root == root || !self.is_dummy(root) && self.parents[at(root)] != NONE {
                continue;
            }
            match (self.is_dummy(entry.root), self.is_dummy(root)) {
                (true, true) => {
                    moved.insert(root, entry.root);
                }
                (true, false) => self.parents[at(root)] = entry.root,
                (false, false) if is_reply && !entry.is_reply => self.parents[at(root)] = entry.root,
                _ => {
                    let dummy = number(self.parents.len());
                    self.parents.push(NONE);
                    self.parents[at(root)] = dummy;
                    self.parents[at(entry.root)] = dummy;
                    entry.root = dummy;
                }
            }
        }
        if !moved.is_empty() {
            for parent in &mut self.parents[..self.members.len()] {
                *parent = moved.get(parent).copied().unwrap_or(*parent);
            }
        }
    }

    /// Step (5) (B): the one thread of each subject that others join.
    fn subject_table(&self, roots: &[(u32, u32)]) -> HashMap<u64, Entry> {
        let mut table: HashMap<u64, Entry> = HashMap::new();
        for (root, first) in roots {
            let Member { other: subject, is_reply, .. } = self.members[at(*first)];
            let new = Entry { root: *root, is_reply };
            let entry = table.entry(subject).or_insert(new);
            let better = self.is_dummy(*root) || entry.is_reply && !is_reply;
            if !self.is_dummy(entry.root) && better {
                *entry = new;
            }
        }
        table
    }

    /// Returns for each root the latest internal date in its thread, and the message that has it.
    fn latest(&self) -> Vec<(u64, u32)> {
        let mut latest = vec![(0, 0); self.parents.len()];
        let mut above = self.parents.clone();
        for message in 0..number(self.members.len()) {
            let mut root = message;
            while above[at(root)] != NONE {
                root = above[at(root)];
            }
            let mut passed = message;
            while passed != root {
                passed = std::mem::replace(&mut above[at(passed)], root);
            }
            let arrived = (self.members[at(message)].other, message);
            latest[at(root)] = latest[at(root)].max(arrived);
        }
        latest
    }

    /// Step (6): puts the children of each message and dummy in order.
    fn into_threads(self, roots: Vec<u32>) -> Threads {
        let Self { members, by_date, parents } = self;
        // Where the children of each begin: those of one end where those of the next begin.
        let mut starts = vec![0u32; parents.len() + 1];
        for parent in parents.iter().filter(|parent| **parent != NONE) {
            starts[at(*parent)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut children = vec![0; at(sum)];
        for message in by_date.into_iter().rev() {
            let parent = parents[at(message)];
            if parent != NONE {
                let start = &mut starts[at(parent)];
                *start -= 1;
                children[at(*start)] = message;
            }
        }
        let numbers = members.iter().map(|member| member.number).collect();
        Threads::new(numbers, roots, starts, children)
    }
}
