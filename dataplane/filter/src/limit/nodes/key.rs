//! What names a source node, and what it remembers of choices for its source.

use ruleset::{Af, RuleSlot};

use super::{SHARD_BITS, SHARDS};

/// What a node is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum NodeKind {
    /// Limits of a rule (`max-src-states` and the like).
    #[default]
    Track,
    /// The address a source is translated to.
    Nat,
    /// The address a destination is translated to.
    Rdr,
    /// The next hop.
    Route,
    /// An entry of a source limiter.
    Limiter,
}

/// What names a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NodeKey {
    /// The rule's slot; for entries of source limiters the limiter's id.
    pub slot: RuleSlot,
    /// What it is for.
    pub kind: NodeKind,
    /// Family of the address.
    pub af: Af,
    /// Source address, host order, IPv4 in the low 32 bits.
    pub addr: u128,
}

/// An address (and port) that was chosen for a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// Family; differs from the source's with af-to.
    pub af: Af,
    /// Address, as in [`NodeKey`].
    pub addr: u128,
    /// Port, host order; 0 where ports do not matter.
    pub port: u16,
}

/// Number of a node, as a state keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeRef(u32);

impl NodeRef {
    /// Node `n` of a shard; of `shard` only the low bits count.
    pub(super) fn of(n: u32, shard: usize) -> NodeRef {
        NodeRef(n << SHARD_BITS | (shard & (SHARDS - 1)) as u32)
    }

    pub(super) fn shard(self) -> usize {
        self.0 as usize & (SHARDS - 1)
    }

    /// Its place in its shard.
    pub(super) fn place(self) -> u32 {
        self.0 >> SHARD_BITS
    }

    /// Its number among the nodes of all shards.
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }

    /// As a number above 0, for [`NodeRef::from_word`].
    pub fn word(self) -> u32 {
        self.0 + 1
    }

    /// What [`NodeRef::word`] gave; none for 0.
    pub fn from_word(word: u32) -> Option<NodeRef> {
        word.checked_sub(1).map(NodeRef)
    }
}
