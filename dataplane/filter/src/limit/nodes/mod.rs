//! Source nodes: what is known of one source address under one rule (`source-track`, `sticky-address`) or under one
//! source limiter, over all cores. Touched when a state is made or goes and when a handshake completes; other packets
//! only count, each core in a place of its own.
//!
//! The table is cut into shards, each under a lock of its own that is held for one step of this file. A node stays
//! where it is until its last state is gone, so a state can keep its number.
//!
//! Read first: pf.conf(5), "Stateful Tracking Options"; pfctl(8), -K.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ruleset::{Direction, RuleSlot};
use sync::{CacheLine, Decay, Gauge, Locked};

mod bounds;
mod key;
mod round;
mod shard;
mod traffic;

pub use bounds::{Bounds, Bucket, Connected, Refusal, Taken, TokenRate};
pub use key::{NodeKey, NodeKind, NodeRef, Redirect};
pub use round::Round;
pub use shard::NodeView;

use shard::{EMPTY, Node, Shard};
use traffic::Traffic;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
/// Seconds for which an address chosen for a source is kept when its last state is gone and nothing else is said: none.
const AT_ONCE: u32 = 0;

/// Source nodes of all cores.
pub struct SourceNodes {
    shards: Box<[CacheLine<Locked<Shard>>]>,
    /// Nodes by rule slot.
    per_rule: Box<[Gauge]>,
    /// Nodes by limiter id.
    per_limiter: Box<[Gauge]>,
    total: Gauge,
    traffic: Traffic,
    /// Places for nodes in a shard.
    per_shard: usize,
    seed: u64,
}

impl SourceNodes {
    /// Room for `capacity` nodes (twice that, since hashes are not fair) of `rule_slots` rules, on `cores` cores.
    pub fn new(capacity: usize, rule_slots: usize, cores: usize, seed: u64) -> Self {
        let per_shard = (capacity * 2).div_ceil(SHARDS).max(8);
        let gauges = |n: usize| (0..n).map(|_| Gauge::default()).collect();
        SourceNodes {
            shards: (0..SHARDS)
                .map(|_| CacheLine(Locked::new(Shard::new(per_shard))))
                .collect(),
            per_rule: gauges(rule_slots.max(1)),
            per_limiter: gauges(256),
            total: Gauge::default(),
            traffic: Traffic::new(per_shard * SHARDS, cores),
            per_shard,
            seed,
        }
    }

    /// The same nodes once more, for one core, to try something out on. Nothing is allocated under the lock.
    #[must_use]
    pub fn copied(&self) -> Self {
        let gauges = |all: &[Gauge]| all.iter().map(Gauge::copied).collect();
        let shard = |shard: &CacheLine<Locked<Shard>>| {
            let mut copy = Shard::new(self.per_shard);
            shard.0.with(|s| copy.copy_from(s));
            CacheLine(Locked::new(copy))
        };
        SourceNodes {
            shards: self.shards.iter().map(shard).collect(),
            per_rule: gauges(&self.per_rule),
            per_limiter: gauges(&self.per_limiter),
            total: self.total.copied(),
            traffic: Traffic::new(self.places(), 1),
            per_shard: self.per_shard,
            seed: self.seed,
        }
    }

    /// The node with this key; it is none the fuller for it.
    pub fn find(&self, key: &NodeKey) -> Option<NodeRef> {
        let hash = self.hash(key);
        self.shard(hash).with(|shard| {
            let n = shard.find(hash, key)?;
            Some(NodeRef::of(n, hash as usize))
        })
    }

    /// Nodes now.
    pub fn len(&self) -> u64 {
        self.total.get()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes of a rule.
    pub fn of_rule(&self, slot: RuleSlot) -> u64 {
        self.per_rule.get(slot.0 as usize).map_or(0, Gauge::get)
    }

    /// Entries of a source limiter.
    pub fn of_limiter(&self, id: u8) -> u64 {
        self.per_limiter[usize::from(id)].get()
    }

    fn gauge(&self, key: &NodeKey) -> &Gauge {
        let n = key.slot.0 as usize;
        match key.kind {
            NodeKind::Limiter => &self.per_limiter[n & 255],
            _ => self.per_rule.get(n).unwrap_or(&self.per_rule[0]),
        }
    }

    /// One more state of a source: finds or makes its node. Nothing has changed if refused.
    pub fn take(
        &self,
        key: &NodeKey,
        bounds: &Bounds,
        redirect: Option<Redirect>,
        now_us: u64,
    ) -> Result<Taken, Refusal> {
        let hash = self.hash(key);
        self.shard(hash).with(|shard| {
            let found = shard.find(hash, key).filter(|n| {
                let node = &shard.nodes[*n as usize];
                // Over its time and not yet swept: a new source.
                node.states > 0 || node.expires_s > seconds(now_us)
            });
            if let Some(n) = found {
                let node = &mut shard.nodes[n as usize];
                node.admit(bounds, now_us)?;
                return Ok(node.taken(n, hash, false));
            }
            if let Some(old) = shard.find(hash, key) {
                self.unlink(shard, hash, old);
            }
            let n = self.make(shard, hash, key, bounds)?;
            let node = &mut shard.nodes[n as usize];
            node.redirect = redirect;
            node.created_s = seconds(now_us);
            // A fresh bucket has a token.
            node.admit(
                &Bounds {
                    states: 0,
                    ..*bounds
                },
                now_us,
            )
            .ok();
            Ok(node.taken(n, hash, true))
        })
    }

    /// True if [`SourceNodes::take`] would succeed now.
    pub fn may_take(&self, key: &NodeKey, bounds: &Bounds, now_us: u64) -> Result<(), Refusal> {
        let hash = self.hash(key);
        self.shard(hash).with(|shard| match shard.find(hash, key) {
            Some(n) => {
                let mut node = shard.nodes[n as usize];
                node.admit(bounds, now_us)
            }
            None => self.has_room(key, bounds),
        })
    }

    fn has_room(&self, key: &NodeKey, bounds: &Bounds) -> Result<(), Refusal> {
        if bounds.nodes > 0 && self.gauge(key).get() >= u64::from(bounds.nodes) {
            return Err(Refusal::Nodes);
        }
        if self.total.get() >= u64::from(bounds.total) {
            return Err(Refusal::Total);
        }
        Ok(())
    }

    fn make(
        &self,
        shard: &mut Shard,
        hash: u64,
        key: &NodeKey,
        bounds: &Bounds,
    ) -> Result<u32, Refusal> {
        let most = if bounds.nodes > 0 {
            u64::from(bounds.nodes)
        } else {
            u64::MAX
        };
        if !self.gauge(key).try_take(1, most) {
            return Err(Refusal::Nodes);
        }
        if !self.total.try_take(1, u64::from(bounds.total)) {
            self.gauge(key).give_back(1);
            return Err(Refusal::Total);
        }
        let Some(n) = shard.link(hash, key) else {
            self.gauge(key).give_back(1);
            self.total.give_back(1);
            return Err(Refusal::Full);
        };
        let number = NodeRef::of(n, hash as usize).number();
        shard.nodes[n as usize].base = self.traffic.totals(number);
        Ok(n)
    }

    /// A state that was to be made was not: as if [`SourceNodes::take`] had not been called, but for the rate.
    pub fn give_back(&self, node: NodeRef) {
        self.with_node(node, |sources, shard, hash, n| {
            let node = &mut shard.nodes[n as usize];
            node.states -= 1;
            if node.states == 0 && node.expires_s == 0 {
                sources.drop_node(shard, hash, n);
            }
        });
    }

    /// A state is gone. The node stays for a while after its last one. Returns the key and how many states are left.
    pub fn release(&self, node: NodeRef, gone: &Gone) -> (NodeKey, u32) {
        let mut result = None;
        self.with_node(node, |sources, shard, hash, n| {
            let node = &mut shard.nodes[n as usize];
            node.states = node.states.saturating_sub(1);
            node.conns = node.conns.saturating_sub(u32::from(gone.connected));
            result = Some((node.key, node.states));
            if node.states > 0 {
                return;
            }
            node.expires_s = gone.now_s.saturating_add(gone.keep_s).max(1);
            if gone.keep_s == AT_ONCE || !node.linked {
                sources.drop_node(shard, hash, n);
            }
        });
        result.unwrap_or((EMPTY.key, 0))
    }

    /// A packet of one of the node's states, on a core that has it. Takes no lock.
    #[inline]
    pub fn count(&self, node: NodeRef, core: u16, direction: Direction, bytes: u64) {
        self.traffic.one(node.number(), core, direction, bytes);
    }

    fn view(&self, node: &Node, n: u32, shard: usize) -> NodeView {
        let place = NodeRef::of(n, shard);
        node.view(place, &self.traffic.totals(place.number()))
    }

    /// A connection of the source is established.
    pub fn connect(&self, node: NodeRef, period_s: u32, now_s: u32) -> Connected {
        let mut connected = Connected {
            conns: 0,
            rate: Decay::default(),
        };
        self.with_node(node, |_, shard, _, n| {
            let node = &mut shard.nodes[n as usize];
            node.conns += 1;
            node.rate = node.rate.add(now_s, period_s.max(1));
            connected = Connected {
                conns: node.conns,
                rate: node.rate,
            };
        });
        connected
    }

    /// What was chosen for a source before (`sticky-address`), as long as it is kept.
    pub fn redirect(&self, key: &NodeKey, now_s: u32) -> Option<Redirect> {
        let hash = self.hash(key);
        self.shard(hash).with(|shard| {
            let node = &shard.nodes[shard.find(hash, key)? as usize];
            let is_kept = node.states > 0 || node.expires_s > now_s;
            node.redirect.filter(|_| is_kept)
        })
    }

    /// Looks at places from `from` on, and drops of the nodes there those that have no states and whose time is over. Ends with
    /// the shard, after `places`, or when `most` were dropped; says how many places it has looked at, and how many nodes it has
    /// dropped.
    fn sweep(&self, from: usize, (places, most): (usize, usize), now_s: u32) -> (usize, usize) {
        let (at, first) = (from / self.per_shard % SHARDS, from % self.per_shard);
        self.shards[at].0.with(|shard| {
            let (mut n, mut dropped) = (first, 0);
            while n < self.per_shard.min(first + places) && dropped < most {
                let node = &shard.nodes[n];
                if node.used && node.states == 0 && node.expires_s <= now_s {
                    let hash = self.hash(&node.key);
                    self.drop_node(shard, hash, n as u32);
                    dropped += 1;
                }
                n += 1;
            }
            (n - first, dropped)
        })
    }

    /// Places for nodes in all shards.
    fn places(&self) -> usize {
        self.per_shard * SHARDS
    }

    /// Kills the nodes for which `which` says yes: their sources begin anew, their states stay. How many.
    pub fn kill(&self, which: impl Fn(&NodeView) -> bool) -> u64 {
        let mut killed = 0;
        for (at, shard) in self.shards.iter().enumerate() {
            shard.0.with(|s| {
                for n in 0..s.nodes.len() as u32 {
                    let node = &s.nodes[n as usize];
                    if !node.used || !node.linked || !which(&self.view(node, n, at)) {
                        continue;
                    }
                    killed += 1;
                    let hash = self.hash(&node.key);
                    self.unlink(s, hash, n);
                }
            });
        }
        killed
    }

    /// Every node, a shard at a time. `into` must have room: nothing else is called under the lock.
    pub fn list(&self) -> Vec<NodeView> {
        let mut all = Vec::new();
        for (at, shard) in self.shards.iter().enumerate() {
            all.reserve(self.per_shard);
            shard.0.with(|s| {
                let nodes = s.nodes.iter().enumerate();
                let linked = nodes.filter(|(_, node)| node.used && node.linked);
                all.extend(linked.map(|(n, node)| self.view(node, n as u32, at)));
            });
        }
        all
    }

    /// Takes a node out of the index. It goes now if it has no states, else with its last one.
    fn unlink(&self, shard: &mut Shard, hash: u64, n: u32) {
        if shard.nodes[n as usize].states == 0 {
            return self.drop_node(shard, hash, n);
        }
        shard.unlink(hash, n);
        self.uncount(&shard.nodes[n as usize].key);
    }

    fn drop_node(&self, shard: &mut Shard, hash: u64, n: u32) {
        let node = shard.nodes[n as usize];
        if node.linked {
            shard.unlink(hash, n);
            self.uncount(&node.key);
        }
        shard.free(n);
    }

    fn uncount(&self, key: &NodeKey) {
        self.gauge(key).give_back(1);
        self.total.give_back(1);
    }

    fn with_node(&self, node: NodeRef, f: impl FnOnce(&Self, &mut Shard, u64, u32)) {
        let shard = &self.shards[node.shard()].0;
        let n = node.place();
        shard.with(|s| {
            let Some(known) = s.nodes.get(n as usize).filter(|n| n.used) else {
                return;
            };
            let hash = self.hash(&known.key);
            f(self, s, hash, n);
        });
    }

    fn shard(&self, hash: u64) -> &Locked<Shard> {
        &self.shards[hash as usize & (SHARDS - 1)].0
    }

    fn hash(&self, key: &NodeKey) -> u64 {
        let (high, low) = ((key.addr >> 64) as u64, key.addr as u64);
        let rest = u64::from(key.slot.0) << 16 | (key.kind as u64) << 8 | key.af as u64;
        let h = fold(low ^ self.seed, rest ^ 0x9e37_79b9_7f4a_7c15);
        fold(h ^ high, self.seed ^ 0xe703_7ed1_a0b4_28db)
    }
}

/// What a state leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gone {
    /// It was counted as a connection.
    pub connected: bool,
    /// Seconds for which a node without states stays (`src.track`).
    pub keep_s: u32,
    /// Second since start.
    pub now_s: u32,
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

fn seconds(now_us: u64) -> u32 {
    (now_us / 1_000_000) as u32
}

#[cfg(test)]
mod tests;
