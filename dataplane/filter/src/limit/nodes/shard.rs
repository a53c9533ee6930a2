//! A part of the source nodes, under a lock of its own: nodes in a slab, found by a hash of their keys. Knows neither
//! limits of rules nor other parts.

use alloc::boxed::Box;

use ruleset::{Af, RuleSlot};
use sync::Decay;

use super::SHARD_BITS;
use super::bounds::{Bounds, Bucket, Refusal, Taken};
use super::key::{NodeKey, NodeKind, NodeRef, Redirect};
use super::traffic::Totals;

const NONE: u32 = u32::MAX;

/// A node, used or not.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) key: NodeKey,
    pub(super) used: bool,
    /// Found by its key; false once killed while it has states.
    pub(super) linked: bool,
    pub(super) states: u32,
    pub(super) conns: u32,
    pub(super) rate: Decay,
    pub(super) bucket: Bucket,
    pub(super) redirect: Option<Redirect>,
    pub(super) created_s: u32,
    /// When it goes, once it has no states.
    pub(super) expires_s: u32,
    /// What its place had counted when it was made.
    pub(super) base: Totals,
    /// Next of the same hash, or next free one.
    pub(super) next: u32,
}

pub(super) const EMPTY: Node = Node {
    key: NodeKey {
        slot: RuleSlot(0),
        kind: NodeKind::Track,
        af: Af::Inet,
        addr: 0,
    },
    used: false,
    linked: false,
    states: 0,
    conns: 0,
    rate: Decay {
        parts: 0,
        last_s: 0,
    },
    bucket: Bucket {
        empty_us: 0,
        used: false,
    },
    redirect: None,
    created_s: 0,
    expires_s: 0,
    base: [0; 4],
    next: NONE,
};

/// What there is to show of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// Its number.
    pub node: NodeRef,
    /// What names it.
    pub key: NodeKey,
    /// States.
    pub states: u32,
    /// Completed connections among them.
    pub conns: u32,
    /// How often connections came.
    pub rate: Decay,
    /// What was chosen for it.
    pub redirect: Option<Redirect>,
    /// Second since start in which it was made.
    pub created_s: u32,
    /// Second in which it goes; 0 while it has states.
    pub expires_s: u32,
    /// Packets of its states, in and out.
    pub packets: [u64; 2],
    /// Bytes likewise.
    pub bytes: [u64; 2],
}

pub(super) struct Shard {
    heads: Box<[u32]>,
    pub(super) nodes: Box<[Node]>,
    free: u32,
}

impl Node {
    /// One more state, if the bounds allow.
    pub(super) fn admit(&mut self, bounds: &Bounds, now_us: u64) -> Result<(), Refusal> {
        if bounds.states > 0 && self.states >= bounds.states {
            return Err(Refusal::States);
        }
        match bounds.rate {
            Some(rate) if !self.bucket.take(rate, now_us) => Err(Refusal::Rate),
            _ => Ok(()),
        }
    }

    /// One more state was admitted.
    pub(super) fn taken(&mut self, n: u32, hash: u64, new: bool) -> Taken {
        self.states += 1;
        Taken {
            node: NodeRef::of(n, hash as usize),
            states: self.states,
            new,
        }
    }

    /// What there is to show; `totals` is what its place has counted.
    pub(super) fn view(&self, node: NodeRef, totals: &Totals) -> NodeView {
        let counted = |n: usize| totals[n].wrapping_sub(self.base[n]);
        NodeView {
            node,
            key: self.key,
            states: self.states,
            conns: self.conns,
            rate: self.rate,
            redirect: self.redirect,
            created_s: self.created_s,
            expires_s: if self.states == 0 { self.expires_s } else { 0 },
            packets: [counted(0), counted(2)],
            bytes: [counted(1), counted(3)],
        }
    }
}

impl Shard {
    pub(super) fn new(nodes: usize) -> Self {
        let mut shard = Shard {
            heads: (0..nodes.next_power_of_two()).map(|_| NONE).collect(),
            nodes: (0..nodes).map(|_| EMPTY).collect(),
            free: NONE,
        };
        (0..nodes as u32).rev().for_each(|n| shard.free(n));
        shard
    }

    /// Becomes what another shard of the same size is.
    pub(super) fn copy_from(&mut self, other: &Shard) {
        self.heads.copy_from_slice(&other.heads);
        self.nodes.copy_from_slice(&other.nodes);
        self.free = other.free;
    }

    fn head(&self, hash: u64) -> usize {
        (hash >> SHARD_BITS) as usize & (self.heads.len() - 1)
    }

    pub(super) fn find(&self, hash: u64, key: &NodeKey) -> Option<u32> {
        let mut at = self.heads[self.head(hash)];
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.key == *key {
                return Some(at);
            }
            at = node.next;
        }
        None
    }

    pub(super) fn link(&mut self, hash: u64, key: &NodeKey) -> Option<u32> {
        let n = self.free;
        let next_free = self.nodes.get(n as usize)?.next;
        self.free = next_free;
        let head = self.head(hash);
        self.nodes[n as usize] = Node {
            key: *key,
            used: true,
            linked: true,
            next: self.heads[head],
            ..EMPTY
        };
        self.heads[head] = n;
        Some(n)
    }

    pub(super) fn unlink(&mut self, hash: u64, n: u32) {
        let next = self.nodes[n as usize].next;
        let head = self.head(hash);
        if self.heads[head] == n {
            self.heads[head] = next;
        }
        let mut at = self.heads[head];
        while let Some(node) = self.nodes.get_mut(at as usize) {
            if node.next == n {
                node.next = next;
            }
            at = node.next;
        }
        self.nodes[n as usize].linked = false;
    }

    pub(super) fn free(&mut self, n: u32) {
        self.nodes[n as usize] = Node {
            next: self.free,
            ..EMPTY
        };
        self.free = n;
    }
}
