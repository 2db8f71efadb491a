//! Which tree a node is in, while trees are linked and cut: link-cut trees (Sleator and Tarjan), `O(log n)` each on average.
//!
//! A tree of nodes is divided into paths that lead towards its root; each path is a splay tree, the nearer to the root the
//! further left, and the top of each splay tree points up to the node from which its path begins.

/// No node.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    up: u32,
    left: u32,
    right: u32,
}

const ALONE: Node = Node { up: NONE, left: NONE, right: NONE };

/// A forest whose nodes are numbered from 0.
#[derive(Default)]
pub(crate) struct Paths {
    nodes: Vec<Node>,
}

impl Paths {
    /// Adds a node that is a tree of its own.
    pub(crate) fn push(&mut self) {
        self.nodes.push(ALONE);
    }

    /// Makes a root the child of a node of another tree.
    pub(crate) fn link(&mut self, child: u32, parent: u32) {
        self.expose(parent);
        self.expose(child);
        self.node_mut(child).up = parent;
    }

    /// Takes a node with all below it out of its tree.
    pub(crate) fn cut(&mut self, child: u32) {
        self.expose(child);
        let above = self.node(child).left;
        if above != NONE {
            self.node_mut(above).up = NONE;
            self.node_mut(child).left = NONE;
        }
    }

    /// Returns the root of the tree that a node is in.
    pub(crate) fn root(&mut self, node: u32) -> u32 {
        self.expose(node);
        let mut root = node;
        while self.node(root).left != NONE {
            root = self.node(root).left;
        }
        self.splay(root);
        root
    }

    /// Makes the way from the root to a node one path, with the node as the top of its splay tree.
    fn expose(&mut self, node: u32) {
        let mut below = NONE;
        let mut at = node;
        while at != NONE {
            self.splay(at);
            // What went on from here is a path of its own now: it still points up.
            self.node_mut(at).right = below;
            below = at;
            at = self.node(at).up;
        }
        self.splay(node);
    }

    fn splay(&mut self, node: u32) {
        while let Some(parent) = self.parent(node) {
            if let Some(grandparent) = self.parent(parent) {
                let straight = self.is_left(node, parent) == self.is_left(parent, grandparent);
                self.rotate(if straight { parent } else { node });
            }
            self.rotate(node);
        }
    }

    /// Exchanges a node with its parent in the splay tree.
    fn rotate(&mut self, node: u32) {
        let Some(parent) = self.parent(node) else { return };
        let above = self.node(parent).up;
        if let Some(grandparent) = self.parent(parent) {
            if self.is_left(parent, grandparent) {
                self.node_mut(grandparent).left = node;
            } else {
                self.node_mut(grandparent).right = node;
            }
        }
        let between = if self.is_left(node, parent) {
            let between = self.node(node).right;
            self.node_mut(parent).left = between;
            self.node_mut(node).right = parent;
            between
        } else {
            let between = self.node(node).left;
            self.node_mut(parent).right = between;
            self.node_mut(node).left = parent;
            between
        };
        if between != NONE {
            self.node_mut(between).up = parent;
        }
        self.node_mut(parent).up = node;
        self.node_mut(node).up = above;
    }

    /// Returns the parent in the splay tree.
    fn parent(&self, node: u32) -> Option<u32> {
        let up = self.node(node).up;
        let Node { left, right, .. } = self.node(up);
        (up != NONE && (left == node || right == node)).then_some(up)
    }

    fn is_left(&self, node: u32, parent: u32) -> bool {
        self.node(parent).left == node
    }

    fn node(&self, node: u32) -> Node {
        self.nodes.get(crate::interned::at(node)).copied().unwrap_or(ALONE)
    }

    /// Nodes are those that were pushed.
    fn node_mut(&mut self, node: u32) -> &mut Node {
        &mut self.nodes[crate::interned::at(node)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_those_of_a_plain_forest() {
        let count = 60;
        let mut paths = Paths::default();
        let mut parents = vec![NONE; count];
        (0..count).for_each(|_| paths.push());
        let root = |parents: &[u32], node: u32| {
            let mut node = node;
            while parents[node as usize] != NONE {
                node = parents[node as usize];
            }
            node
        };
        let mut state = 12345u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from((state >> 33) % below).expect("small")
        };
        for _ in 0..20_000 {
            let (one, other) = (random(60), random(60));
            assert_eq!(paths.root(one), root(&parents, one));
            if parents[one as usize] != NONE && random(3) == 0 {
                paths.cut(one);
                parents[one as usize] = NONE;
            }
            if parents[one as usize] == NONE && root(&parents, other) != one {
                paths.link(one, other);
                parents[one as usize] = other;
            }
        }
    }
}
