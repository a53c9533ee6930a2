//! Longest prefix match: a compressed multibit trie.
//!
//! Read first: Asai and Ohara, "Poptrie: A Compressed Trie with Population Count for Fast and
//! Scalable Software IP Routing Table Lookup" (SIGCOMM 2015). The idea is taken from there: each node
//! covers 6 bits of the address; two 64-bit maps say which of its 64 slots lead to a node and where
//! runs of equal values begin, and counting bits finds the place in two dense arrays. Beyond the paper: below a slot with
//! a single prefix there is no chain of nodes but a *leaf*, which has the rest of the prefix, since lists of hosts and small
//! networks scatter them; and large tries begin at depth 12, by an array.
//!
//! Built once, never changed. Knows bits and numbers, no routes and no addresses.
//!
//! Considered: 16-8-8 with full arrays (256 KiB before the first route, a miss in the second-level cache
//! on a small guest; three dependent loads), DIR-24-8 (32 MiB), hash tables by prefix length (one
//! probe per length in use, 128 for IPv6). Measured: the figures are at the test `measure`.

use alloc::vec;
use alloc::vec::Vec;

/// Bits of the address that one node covers.
const STRIDE: u32 = 6;

/// Slots of a node.
const SLOTS: usize = 1 << STRIDE;

/// Bits of the address by which look-ups begin in a large trie: those of two nodes.
const TOP: u32 = 2 * STRIDE;

/// A trie with so many nodes is large: the array is a small part of it.
const LARGE: usize = 1 << 11;

/// An address as a number, its first bit on top.
pub trait Key: Copy + Ord {
    /// Number of bits.
    #[cfg(test)]
    const BITS: u32;

    /// The 6 bits at depth `depth`, zero-filled at the end.
    fn slot(self, depth: u32) -> usize;

    /// The 64 bits from depth `depth` on, likewise.
    fn rest(self, depth: u32) -> u64;
}

impl Key for u32 {
    #[cfg(test)]
    const BITS: u32 = 32;

    #[inline]
    fn slot(self, depth: u32) -> usize {
        (self.unbounded_shl(depth) >> (32 - STRIDE)) as usize
    }

    #[inline]
    fn rest(self, depth: u32) -> u64 {
        u64::from(self.unbounded_shl(depth)) << 32
    }
}

impl Key for u128 {
    #[cfg(test)]
    const BITS: u32 = 128;

    #[inline]
    fn slot(self, depth: u32) -> usize {
        (self.unbounded_shl(depth) >> (128 - STRIDE)) as usize
    }

    #[inline]
    fn rest(self, depth: u32) -> u64 {
        (self.unbounded_shl(depth) >> 64) as u64
    }
}

/// A node. Slot `s` leads to a child if bit `s` of `children` is set, else to a value. Slot 0 leads to a child or begins a
/// run: a node of which neither is true is a leaf. Half a cache line, so that it lies on one.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Node {
    /// Slots that lead to a node. Leaf: bits of the address that count; the last of them never does.
    children: u64,
    /// Slots where a run of equal values begins; slots with a child neither begin nor end a run. Leaf: none.
    runs: u64,
    /// Position of the first child. Leaf: the value if the bits differ.
    first_child: u32,
    /// Position of the first value. Leaf: the value.
    first_value: u32,
    /// Leaf: what the bits that count must be.
    rest: u64,
}

const _: () = assert!(size_of::<Node>() == 32);

impl Node {
    /// A leaf for addresses whose bits from some depth on are those of `rest` where `mask` has ones.
    fn leaf(mask: u64, rest: u64, value: u32, otherwise: u32) -> Self {
        Node {
            children: mask,
            runs: 0,
            first_child: otherwise,
            first_value: value,
            rest: rest & mask,
        }
    }

    /// What a leaf says of the addresses with these next bits.
    fn under(&self, slot: usize) -> Self {
        let next = (slot as u64) << (64 - STRIDE);
        let differ = (next ^ self.rest) & self.children;
        match differ >> (64 - STRIDE) {
            0 => {
                let (mask, rest) = (self.children << STRIDE, self.rest << STRIDE);
                Node::leaf(mask, rest, self.first_value, self.first_child)
            }
            _ => Node::leaf(0, 0, self.first_child, self.first_child),
        }
    }

    #[inline]
    fn is_leaf(&self) -> bool {
        (self.children | self.runs) & 1 == 0
    }

    /// What a look-up reads next.
    #[inline(always)]
    fn below<K: Key>(&self, key: K, depth: u32) -> Below {
        if self.is_leaf() {
            return Below::End(End::Leaf(self.leaf_value(key.rest(depth))));
        }
        let slot = key.slot(depth);
        // Bits of slots up to and including this one.
        let upto = u64::MAX >> (SLOTS - 1 - slot);
        if self.children >> slot & 1 == 0 {
            let run = (self.runs & upto).count_ones();
            return Below::End(End::Run(self.first_value + run - 1));
        }
        Below::Node(self.first_child + (self.children & upto).count_ones() - 1)
    }

    /// The value of a leaf.
    #[inline]
    fn leaf_value(&self, rest: u64) -> u32 {
        match rest & self.children == self.rest {
            true => self.first_value,
            false => self.first_child,
        }
    }
}

/// A prefix to build from: address with host bits zero, length, and a value that is not [`NONE`].
#[derive(Debug, Clone, Copy)]
pub struct Item<K> {
    /// Address, host bits zero.
    pub key: K,
    /// Bits that count.
    pub len: u8,
    /// What a look-up gives; not `u32::MAX`.
    pub value: u32,
}

/// What a look-up reads.
enum Place<'t> {
    Node(&'t Node),
    Value(&'t u32),
}

impl Place<'_> {
    #[inline(always)]
    fn prefetch(self) {
        match self {
            Place::Node(node) => sync::prefetch(node),
            Place::Value(value) => sync::prefetch(value),
        }
    }
}

/// What is below a node.
enum Below {
    /// The node at this place.
    Node(u32),
    End(End),
}

/// Where a look-up ends.
enum End {
    /// In a leaf, with its value.
    Leaf(u32),
    /// At the value at this place.
    Run(u32),
}

/// Keys that go down a trie together.
pub const TOGETHER_MAX: usize = 64;

/// No prefix matches.
const NONE: u32 = u32::MAX;

/// The trie.
#[derive(Debug, Clone)]
pub struct Trie {
    nodes: Vec<Node>,
    values: Vec<u32>,
    /// By the first bits of the address: the node at that depth. Only of a large trie.
    top: Vec<u32>,
}

impl Default for Trie {
    fn default() -> Trie {
        Trie::build::<u32>(Vec::new())
    }
}

impl Trie {
    /// Builds from prefixes in any order. Of equal prefixes the last one counts.
    pub fn build<K: Key>(mut items: Vec<Item<K>>) -> Trie {
        // Stable: equal prefixes keep their order. Within a slot, shorter prefixes come first only if
        // they begin at the same address, so the fill below sorts by length once more.
        items.sort_by_key(|item| (item.key, item.len));
        let mut trie = Trie {
            nodes: vec![Node::default()],
            values: Vec::new(),
            top: Vec::new(),
        };
        trie.fill(0, &items, 0, NONE);
        if trie.nodes.len() >= LARGE {
            trie.make_top();
        }
        trie
    }

    /// Makes node `at` of the prefixes under it; `inherited` is the best value of shorter ones.
    /// Recursion is as deep as an address has strides.
    fn fill<K: Key>(&mut self, at: usize, items: &[Item<K>], depth: u32, inherited: u32) {
        if let Some(item) = single(items, depth) {
            let mask = u64::MAX << (64 - (u32::from(item.len) - depth));
            self.nodes[at] = Node::leaf(mask, item.key.rest(depth), item.value, inherited);
            return;
        }
        let (values, children) = slots(items, depth, inherited);
        let mut node = Node {
            children,
            runs: 0,
            first_child: self.nodes.len() as u32,
            first_value: self.values.len() as u32,
            rest: 0,
        };
        let mut last = None;
        for (slot, &value) in values.iter().enumerate() {
            if children >> slot & 1 == 0 && last != Some(value) {
                node.runs |= 1 << slot;
                self.values.push(value);
                last = Some(value);
            }
        }
        self.nodes[at] = node;

        let first = self.nodes.len();
        let count = children.count_ones() as usize;
        self.nodes.resize(first + count, Node::default());
        let mut rest = items;
        let set = (0..SLOTS).filter(|slot| children >> slot & 1 == 1);
        for (child, slot) in set.enumerate() {
            let start = rest.partition_point(|item| item.key.slot(depth) < slot);
            let end = rest.partition_point(|item| item.key.slot(depth) <= slot);
            self.fill(
                first + child,
                &rest[start..end],
                depth + STRIDE,
                values[slot],
            );
            rest = &rest[end..];
        }
    }

    /// For each of the first bits' values the node at that depth; where there is none, a leaf with the value.
    fn make_top(&mut self) {
        let mut last = None;
        for bits in 0..1u32 << TOP {
            let key = bits << (u32::BITS - TOP);
            let at = match self.down(0, key, 0) {
                Ok(at) if self.nodes[at as usize].is_leaf() => {
                    let leaf = self.nodes[at as usize].under(key.slot(STRIDE));
                    self.push(leaf)
                }
                place => place
                    .and_then(|at| self.down(at, key, STRIDE))
                    .unwrap_or_else(|value| match last {
                        Some((known, at)) if known == value => at,
                        _ => self.push(Node::leaf(0, 0, value, value)),
                    }),
            };
            let leaf = &self.nodes[at as usize];
            last = Some((leaf.first_value, at)).filter(|_| (leaf.children, leaf.runs) == (0, 0));
            self.top.push(at);
        }
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// One level down; the value if there is no node below.
    #[inline]
    fn down<K: Key>(&self, at: u32, key: K, depth: u32) -> Result<u32, u32> {
        match self.nodes[at as usize].below(key, depth) {
            Below::Node(child) => Ok(child),
            Below::End(End::Leaf(value)) => Err(value),
            Below::End(End::Run(at)) => Err(self.values[at as usize]),
        }
    }

    /// Where look-ups of a key begin, and at which depth.
    #[inline]
    fn begin<K: Key>(&self, key: K) -> (u32, u32) {
        match self.top.get((key.rest(0) >> (64 - TOP)) as usize) {
            Some(at) => (*at, TOP),
            None => (0, 0),
        }
    }

    /// The value of the longest prefix that contains `key`.
    #[inline]
    pub fn lookup<K: Key>(&self, key: K) -> Option<u32> {
        let (mut at, mut depth) = self.begin(key);
        loop {
            match self.down(at, key, depth) {
                Ok(child) => at = child,
                Err(value) => return (value != NONE).then_some(value),
            }
            depth += STRIDE;
        }
    }

    /// Asks the cache for what look-ups of these keys will read. All go down one level at a time, so that they wait for
    /// memory together and not one after the other.
    pub fn warm<K: Key>(&self, keys: &[K]) {
        for keys in keys.chunks(TOGETHER_MAX) {
            self.descend(numbered(keys), |_, _| {}, Place::prefetch);
        }
    }

    /// The same, and says what they find: the value of each key, by the number that it comes with. Of at most [`TOGETHER_MAX`]
    /// keys, more are not looked up.
    #[inline]
    pub fn lookup_together<K: Key>(
        &self,
        keys: impl Iterator<Item = (u8, K)>,
        mut found: impl FnMut(u8, Option<u32>),
    ) {
        let mut runs: heapless::Vec<(u8, u32), TOGETHER_MAX> = heapless::Vec::new();
        let mut found = |n: u8, value: u32| {
            found(n, (value != NONE).then_some(value));
        };
        let at_end = |n, end| match end {
            End::Leaf(value) => found(n, value),
            // There is room for one of each.
            End::Run(at) => runs.push((n, at)).unwrap_or(()),
        };
        self.descend(keys, at_end, Place::prefetch);
        for (n, at) in runs {
            found(n, self.values.get(at as usize).copied().unwrap_or(NONE));
        }
    }

    /// Takes keys down to where their look-ups end, which `ends` hears, by their numbers; `ask` hears what will be read,
    /// before it is.
    #[inline]
    fn descend<'t, K: Key>(
        &'t self,
        keys: impl Iterator<Item = (u8, K)>,
        mut ends: impl FnMut(u8, End),
        mut ask: impl FnMut(Place<'t>),
    ) {
        let mut under_way: heapless::Vec<(u8, K, u32), TOGETHER_MAX> = heapless::Vec::new();
        let mut depth = 0;
        for (n, key) in keys {
            let at;
            (at, depth) = self.begin(key);
            if under_way.push((n, key, at)).is_err() {
                break;
            }
            if let Some(node) = self.nodes.get(at as usize) {
                ask(Place::Node(node));
            }
        }
        while !under_way.is_empty() {
            under_way.retain_mut(|(n, key, at)| {
                let Some(node) = self.nodes.get(*at as usize) else {
                    return false;
                };
                let end = match node.below(*key, depth) {
                    Below::Node(child) => {
                        *at = child;
                        if let Some(node) = self.nodes.get(child as usize) {
                            ask(Place::Node(node));
                        }
                        return true;
                    }
                    Below::End(end) => end,
                };
                if let End::Run(at) = end
                    && let Some(value) = self.values.get(at as usize)
                {
                    ask(Place::Value(value));
                }
                ends(*n, end);
                false
            });
            depth += STRIDE;
        }
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>()
            + (self.values.len() + self.top.len()) * size_of::<u32>()
    }
}

/// Keys with their places as numbers.
#[inline]
fn numbered<K: Copy>(keys: &[K]) -> impl Iterator<Item = (u8, K)> {
    (0..).zip(keys.iter().copied())
}

/// The only prefix longer than `depth`, if it is the only one and a leaf has room for it.
fn single<K: Key>(items: &[Item<K>], depth: u32) -> Option<&Item<K>> {
    let mut longer = items.iter().filter(|item| u32::from(item.len) > depth);
    let one = longer
        .next()
        .filter(|_| depth > 0 && longer.next().is_none());
    one.filter(|item| u32::from(item.len) - depth < u64::BITS)
}

/// The best value per slot among prefixes that end in this node, and which slots have longer ones.
fn slots<K: Key>(items: &[Item<K>], depth: u32, inherited: u32) -> ([u32; SLOTS], u64) {
    let mut values = [inherited; SLOTS];
    let mut lens = [0; SLOTS];
    let mut children = 0u64;
    // Items of an ancestor's node may be among them: those with at most `depth` bits were counted in
    // `inherited` already.
    for item in items
        .iter()
        .filter(|item| u32::from(item.len) > depth || depth == 0)
    {
        let slot = item.key.slot(depth);
        let bits = u32::from(item.len) - depth;
        if bits > STRIDE {
            children |= 1 << slot;
            continue;
        }
        let covered = 1usize << (STRIDE - bits);
        for s in slot..(slot + covered).min(SLOTS) {
            if item.len >= lens[s] {
                (values[s], lens[s]) = (item.value, item.len);
            }
        }
    }
    (values, children)
}

#[cfg(test)]
mod tests;
