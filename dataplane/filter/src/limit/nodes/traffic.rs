//! Packets of the states of source nodes. Every core counts for itself, in a place of its own for each node, so that no
//! packet takes a lock; a node that is made anew remembers what its place had counted before.

use alloc::boxed::Box;

use ruleset::Direction;
use sync::Counter;

/// Counters of a node on one core: packets and bytes in, packets and bytes out.
const PER_NODE: usize = 4;

/// What a node has counted, over all cores.
pub(super) type Totals = [u64; PER_NODE];

pub(super) struct Traffic {
    /// By core, node, and what is counted.
    counters: Box<[Counter]>,
    nodes: usize,
}

impl Traffic {
    pub(super) fn new(nodes: usize, cores: usize) -> Self {
        Traffic {
            counters: Counter::zeroed(nodes * cores.max(1) * PER_NODE),
            nodes,
        }
    }

    /// A packet of a state of `node` on `core`. That core only.
    pub(super) fn one(&self, node: usize, core: u16, direction: Direction, bytes: u64) {
        let at = (usize::from(core) * self.nodes + node) * PER_NODE + direction.index() * 2;
        if let Some([packets, sum]) = self.counters.get(at..at + 2) {
            packets.add(1);
            sum.add(bytes);
        }
    }

    /// What the place of `node` has counted since start.
    pub(super) fn totals(&self, node: usize) -> Totals {
        let mut totals = [0; PER_NODE];
        for core in self.counters.chunks(self.nodes * PER_NODE) {
            let of_node = core.iter().skip(node * PER_NODE);
            for (total, counter) in totals.iter_mut().zip(of_node) {
                *total = counter.get().wrapping_add(*total);
            }
        }
        totals
    }
}
