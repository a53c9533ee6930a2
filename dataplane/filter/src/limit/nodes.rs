//! Source nodes: what is known of one source address under one rule (`source-track`, `sticky-address`) or under one
//! source limiter, over all cores. Touched when a state is made or goes and when a handshake completes, never by
//! other packets.
//!
//! The table is cut into shards, each under a lock of its own that is held for one step of this file. A node stays
//! where it is until its last state is gone, so a state can keep its number.
//!
//! Read first: pf.conf(5), "Stateful Tracking Options"; pfctl(8), -K.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ruleset::{Af, RuleSlot};
use sync::{CacheLine, Decay, Gauge, Locked};

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
const NONE: u32 = u32::MAX;
/// Seconds for which an address chosen for a source is kept when its last state is gone and nothing else is said: none.
const AT_ONCE: u32 = 0;

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
    /// As a number above 0, for [`NodeRef::from_word`].
    pub fn word(self) -> u32 {
        self.0 + 1
    }

    /// What [`NodeRef::word`] gave; none for 0.
    pub fn from_word(word: u32) -> Option<NodeRef> {
        word.checked_sub(1).map(NodeRef)
    }
}

/// A token bucket: so many per so many seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenRate {
    /// Events.
    pub limit: u32,
    /// Seconds.
    pub seconds: u32,
}

/// When the bucket was empty, in microseconds since start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    empty_us: u64,
    used: bool,
}

impl Bucket {
    /// Takes a token if there is one: changes the bucket only then. A fresh bucket is full.
    pub fn take(&mut self, rate: TokenRate, now_us: u64) -> bool {
        let period = u64::from(rate.seconds) * 1_000_000;
        let token = period / u64::from(rate.limit.max(1));
        let full = now_us + 1_000_000_000_000 - period;
        let empty = if self.used {
            self.empty_us.max(full)
        } else {
            full
        };
        if now_us + 1_000_000_000_000 - empty < token {
            return false;
        }
        *self = Bucket {
            empty_us: empty + token,
            used: true,
        };
        true
    }

    /// True if a token could be taken.
    pub fn has(mut self, rate: TokenRate, now_us: u64) -> bool {
        self.take(rate, now_us)
    }
}

/// What a node may grow to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Nodes of the rule or limiter; 0 is no limit.
    pub nodes: u32,
    /// States of the node; 0 is no limit.
    pub states: u32,
    /// New states of the node over time.
    pub rate: Option<TokenRate>,
    /// Nodes in all (`set limit src-nodes`).
    pub total: u32,
}

/// Why a source may not have another state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The source has as many states as it may.
    States,
    /// Too many new states in too short a time.
    Rate,
    /// The rule or limiter has as many sources as it may.
    Nodes,
    /// There are as many nodes as there may be.
    Total,
    /// The table is full.
    Full,
}

/// A state more for a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Its node.
    pub node: NodeRef,
    /// States of the node, this one included.
    pub states: u32,
    /// The node was made for it.
    pub new: bool,
}

/// A completed handshake more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connected {
    /// Connections now.
    pub conns: u32,
    /// How often connections come.
    pub rate: Decay,
}

#[derive(Clone, Copy)]
struct Node {
    key: NodeKey,
    used: bool,
    /// Found by its key; false once killed while it has states.
    linked: bool,
    states: u32,
    conns: u32,
    rate: Decay,
    bucket: Bucket,
    redirect: Option<Redirect>,
    created_s: u32,
    /// When it goes, once it has no states.
    expires_s: u32,
    packets: [u64; 2],
    bytes: [u64; 2],
    /// Next of the same hash, or next free one.
    next: u32,
}

const EMPTY: Node = Node {
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
    packets: [0; 2],
    bytes: [0; 2],
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
    /// Packets of its states that are gone, in their direction and back.
    pub packets: [u64; 2],
    /// Bytes likewise.
    pub bytes: [u64; 2],
}

struct Shard {
    heads: Box<[u32]>,
    nodes: Box<[Node]>,
    free: u32,
}

/// Source nodes of all cores.
pub struct SourceNodes {
    shards: Box<[CacheLine<Locked<Shard>>]>,
    /// Nodes by rule slot.
    per_rule: Box<[Gauge]>,
    /// Nodes by limiter id.
    per_limiter: Box<[Gauge]>,
    total: Gauge,
    seed: u64,
}

impl SourceNodes {
    /// Room for `capacity` nodes (twice that, since hashes are not fair) of `rule_slots` rules.
    pub fn new(capacity: usize, rule_slots: usize, seed: u64) -> Self {
        let per_shard = (capacity * 2).div_ceil(SHARDS).max(8);
        let gauges = |n: usize| (0..n).map(|_| Gauge::default()).collect();
        SourceNodes {
            shards: (0..SHARDS)
                .map(|_| CacheLine(Locked::new(Shard::new(per_shard))))
                .collect(),
            per_rule: gauges(rule_slots.max(1)),
            per_limiter: gauges(256),
            total: Gauge::default(),
            seed,
        }
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
        shard.link(hash, key).ok_or_else(|| {
            self.gauge(key).give_back(1);
            self.total.give_back(1);
            Refusal::Full
        })
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

    /// A state is gone, after `packets` and `bytes`; `connected` if it was counted as a connection. The node stays for
    /// `keep_s` seconds after its last one. Returns the key and how many states are left.
    pub fn release(&self, node: NodeRef, gone: &Gone) -> (NodeKey, u32) {
        let mut result = None;
        self.with_node(node, |sources, shard, hash, n| {
            let node = &mut shard.nodes[n as usize];
            node.states = node.states.saturating_sub(1);
            node.conns = node.conns.saturating_sub(u32::from(gone.connected));
            for way in 0..2 {
                node.packets[way] += gone.packets[way];
                node.bytes[way] += gone.bytes[way];
            }
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

    /// What was chosen for a source before (`sticky-address`).
    pub fn redirect(&self, key: &NodeKey) -> Option<Redirect> {
        let hash = self.hash(key);
        self.shard(hash).with(|shard| {
            let n = shard.find(hash, key)?;
            shard.nodes[n as usize].redirect
        })
    }

    /// Drops nodes of one shard that have no states and whose time is over.
    pub fn sweep(&self, shard: usize, now_s: u32) {
        self.shards[shard % SHARDS].0.with(|s| {
            for n in 0..s.nodes.len() {
                let node = &s.nodes[n];
                if node.used && node.states == 0 && node.expires_s <= now_s {
                    let hash = self.hash(&node.key);
                    self.drop_node(s, hash, n as u32);
                }
            }
        });
    }

    /// Shards there are, for [`SourceNodes::sweep`].
    pub fn shards(&self) -> usize {
        SHARDS
    }

    /// Kills the nodes for which `which` says yes: their sources begin anew, their states stay. How many.
    pub fn kill(&self, which: impl Fn(&NodeView) -> bool) -> u64 {
        let mut killed = 0;
        for (at, shard) in self.shards.iter().enumerate() {
            shard.0.with(|s| {
                for n in 0..s.nodes.len() as u32 {
                    let node = &s.nodes[n as usize];
                    if !node.used || !node.linked || !which(&node.view(n, at)) {
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
            all.reserve(self.shard_len());
            shard.0.with(|s| {
                let nodes = s.nodes.iter().enumerate();
                let linked = nodes.filter(|(_, node)| node.used && node.linked);
                all.extend(linked.map(|(n, node)| node.view(n as u32, at)));
            });
        }
        all
    }

    fn shard_len(&self) -> usize {
        self.shards[0].0.with(|s| s.nodes.len())
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
        let shard = &self.shards[node.0 as usize & (SHARDS - 1)].0;
        let n = node.0 >> SHARD_BITS;
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
    /// Packets, in its direction and back.
    pub packets: [u64; 2],
    /// Bytes likewise.
    pub bytes: [u64; 2],
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

impl Node {
    /// One more state, if the bounds allow.
    fn admit(&mut self, bounds: &Bounds, now_us: u64) -> Result<(), Refusal> {
        if bounds.states > 0 && self.states >= bounds.states {
            return Err(Refusal::States);
        }
        match bounds.rate {
            Some(rate) if !self.bucket.take(rate, now_us) => Err(Refusal::Rate),
            _ => Ok(()),
        }
    }

    fn taken(&mut self, n: u32, hash: u64, new: bool) -> Taken {
        self.states += 1;
        Taken {
            node: NodeRef(n << SHARD_BITS | hash as u32 & (SHARDS as u32 - 1)),
            states: self.states,
            new,
        }
    }

    fn view(&self, n: u32, shard: usize) -> NodeView {
        NodeView {
            node: NodeRef(n << SHARD_BITS | shard as u32),
            key: self.key,
            states: self.states,
            conns: self.conns,
            rate: self.rate,
            redirect: self.redirect,
            created_s: self.created_s,
            expires_s: if self.states == 0 { self.expires_s } else { 0 },
            packets: self.packets,
            bytes: self.bytes,
        }
    }
}

impl Shard {
    fn new(nodes: usize) -> Self {
        let mut shard = Shard {
            heads: (0..nodes.next_power_of_two()).map(|_| NONE).collect(),
            nodes: (0..nodes).map(|_| EMPTY).collect(),
            free: NONE,
        };
        (0..nodes as u32).rev().for_each(|n| shard.free(n));
        shard
    }

    fn head(&self, hash: u64) -> usize {
        (hash >> SHARD_BITS) as usize & (self.heads.len() - 1)
    }

    fn find(&self, hash: u64, key: &NodeKey) -> Option<u32> {
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

    fn link(&mut self, hash: u64, key: &NodeKey) -> Option<u32> {
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

    fn unlink(&mut self, hash: u64, n: u32) {
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

    fn free(&mut self, n: u32) {
        self.nodes[n as usize] = Node {
            next: self.free,
            ..EMPTY
        };
        self.free = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn key(slot: u32, addr: u128) -> NodeKey {
        NodeKey {
            slot: RuleSlot(slot),
            kind: NodeKind::Track,
            af: Af::Inet,
            addr,
        }
    }

    fn sources() -> SourceNodes {
        SourceNodes::new(1000, 4, 42)
    }

    fn bounds(nodes: u32, states: u32) -> Bounds {
        Bounds {
            nodes,
            states,
            rate: None,
            total: 1000,
        }
    }

    fn gone(keep_s: u32, now_s: u32) -> Gone {
        Gone {
            keep_s,
            now_s,
            packets: [2, 1],
            ..Gone::default()
        }
    }

    #[test]
    fn a_source_has_as_many_states_as_it_may_and_its_node_goes_with_the_last() {
        let s = sources();
        let b = bounds(0, 2);
        let first = s.take(&key(1, 7), &b, None, 0).unwrap();
        assert!(first.new);
        assert_eq!(s.take(&key(1, 7), &b, None, 0).unwrap().node, first.node);
        assert_eq!(s.take(&key(1, 7), &b, None, 0), Err(Refusal::States));
        assert_eq!(s.may_take(&key(1, 7), &b, 0), Err(Refusal::States));
        assert!(s.take(&key(2, 7), &b, None, 0).unwrap().new, "another rule");
        assert_eq!((s.len(), s.of_rule(RuleSlot(1))), (2, 1));
        s.release(first.node, &gone(0, 1));
        assert_eq!(s.len(), 2);
        assert_eq!(s.release(first.node, &gone(0, 1)).1, 0);
        assert_eq!((s.len(), s.of_rule(RuleSlot(1))), (1, 0));
    }

    #[test]
    fn a_refused_state_leaves_no_node_behind() {
        let s = sources();
        let taken = s.take(&key(1, 7), &bounds(1, 0), None, 0).unwrap();
        assert_eq!(
            s.take(&key(1, 8), &bounds(1, 0), None, 0),
            Err(Refusal::Nodes)
        );
        s.give_back(taken.node);
        assert!(s.is_empty());
        assert!(s.take(&key(1, 8), &bounds(1, 0), None, 0).is_ok());
        let none_left = Bounds {
            total: 1,
            ..bounds(0, 0)
        };
        assert_eq!(s.take(&key(2, 9), &none_left, None, 0), Err(Refusal::Total));
        assert_eq!(s.of_rule(RuleSlot(2)), 0);
    }

    #[test]
    fn a_kept_node_remembers_until_its_time_is_over() {
        let s = sources();
        let to = Redirect {
            af: Af::Inet,
            addr: 99,
            port: 0,
        };
        let b = bounds(0, 0);
        let taken = s.take(&key(1, 7), &b, Some(to), 0).unwrap();
        s.release(taken.node, &gone(10, 5));
        assert_eq!(s.redirect(&key(1, 7)), Some(to));
        assert!(!s.take(&key(1, 7), &b, None, 14 * S).unwrap().new);
        s.release(taken.node, &gone(10, 20));
        assert_eq!(s.list()[0].packets, [4, 2]);
        (0..s.shards()).for_each(|n| s.sweep(n, 29));
        assert_eq!(s.len(), 1);
        // Its time is over but nobody has swept yet.
        let again = s.take(&key(1, 7), &b, None, 30 * S).unwrap();
        assert!(again.new);
        s.release(again.node, &gone(10, 31));
        (0..s.shards()).for_each(|n| s.sweep(n, 41));
        assert!(s.is_empty() && s.list().is_empty());
    }

    #[test]
    fn a_killed_source_begins_anew_while_its_states_live_on() {
        let s = sources();
        let b = bounds(0, 1);
        let old = s.take(&key(1, 7), &b, None, 0).unwrap();
        assert_eq!(s.kill(|v| v.key.addr == 7), 1);
        assert_eq!(s.kill(|_| true), 0);
        assert_eq!((s.len(), s.of_rule(RuleSlot(1))), (0, 0));
        let new = s.take(&key(1, 7), &b, None, 0).unwrap();
        assert!(new.new && new.node != old.node);
        s.release(old.node, &gone(0, 0));
        assert_eq!(s.len(), 1);
        s.release(new.node, &gone(0, 0));
        assert!(s.is_empty());
    }

    #[test]
    fn connections_are_counted_apart_and_by_rate() {
        let s = sources();
        let taken = s.take(&key(1, 7), &bounds(0, 0), None, 0).unwrap();
        let rates: Vec<bool> = (0..3)
            .map(|_| s.connect(taken.node, 5, 100).rate.exceeds(2))
            .collect();
        assert_eq!(rates, [false, false, true]);
        assert_eq!(s.connect(taken.node, 5, 200).conns, 4);
        s.release(
            taken.node,
            &Gone {
                connected: true,
                keep_s: 9,
                ..Gone::default()
            },
        );
        assert_eq!(s.list()[0].conns, 3);
    }

    #[test]
    fn a_bucket_gives_its_fill_at_once_and_then_one_by_one() {
        let rate = TokenRate {
            limit: 2,
            seconds: 10,
        };
        let mut bucket = Bucket::default();
        let mut at = |s: u64| bucket.take(rate, s * S);
        assert_eq!(
            [at(1), at(1), at(1), at(5), at(6), at(6)],
            [true, true, false, false, true, false]
        );
        assert_eq!(
            [at(100), at(100), at(100)],
            [true, true, false],
            "never more than full"
        );
        assert!(Bucket::default().has(rate, 0));
    }

    #[test]
    fn random_operations_agree_with_a_map() {
        let mut seed = 0x5eed_4444_1234_5678u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let s = sources();
        let mut states: Vec<(NodeKey, NodeRef)> = Vec::new();
        let b = bounds(20, 3);
        for step in 0..50_000 {
            let k = key(1 + (next() % 3) as u32, u128::from(next() % 30));
            let of = |states: &[(NodeKey, NodeRef)], k: &NodeKey| {
                states.iter().filter(|(known, _)| known == k).count()
            };
            if next() % 2 == 0 {
                let nodes: std::collections::HashSet<u128> = states
                    .iter()
                    .filter(|(known, _)| known.slot == k.slot)
                    .map(|(known, _)| known.addr)
                    .collect();
                let expected = match of(&states, &k) {
                    0 if nodes.len() == 20 => Err(Refusal::Nodes),
                    3 => Err(Refusal::States),
                    _ => Ok(()),
                };
                let taken = s.take(&k, &b, None, 0);
                assert_eq!(taken.map(|_| ()), expected, "step {step}");
                if let Ok(taken) = taken {
                    states.push((k, taken.node));
                }
            } else if !states.is_empty() {
                let (k, node) = states.swap_remove(next() as usize % states.len());
                let left = of(&states, &k) as u32;
                assert_eq!(s.release(node, &gone(0, 0)), (k, left), "step {step}");
            }
        }
    }

    #[test]
    fn limits_are_exact_over_threads() {
        let s = alloc::sync::Arc::new(sources());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let s = s.clone();
                std::thread::spawn(move || {
                    (0..5000)
                        .filter(|_| s.take(&key(1, 7), &bounds(0, 777), None, 0).is_ok())
                        .count()
                })
            })
            .collect();
        let made: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!((made, s.len()), (777, 1));
    }
}
