//! Look-ups against a scan of all prefixes, one by one and together.

use super::*;
use proptest::prelude::*;

/// The meaning: scan all prefixes.
fn scan<K: Key + Into<u128>>(items: &[Item<K>], key: K) -> Option<u32> {
    let matches = |item: &&Item<K>| {
        let shift = K::BITS - u32::from(item.len);
        let cut = |k: K| k.into().unbounded_shr(shift);
        cut(item.key) == cut(key)
    };
    items
        .iter()
        .filter(matches)
        .max_by_key(|item| item.len)
        .map(|item| item.value)
}

fn item4(addr: u32, len: u8, value: u32) -> Item<u32> {
    let key = addr & u32::MAX.unbounded_shl(32 - u32::from(len));
    Item { key, len, value }
}

fn item6(addr: u128, len: u8, value: u32) -> Item<u128> {
    let key = addr & u128::MAX.unbounded_shl(128 - u32::from(len));
    Item { key, len, value }
}

#[test]
fn empty_and_default() {
    assert_eq!(Trie::default().lookup(7u32), None);
    let trie = Trie::build(vec![item4(0, 0, 5)]);
    assert_eq!(trie.lookup(0u32), Some(5));
    assert_eq!(trie.lookup(u32::MAX), Some(5));
}

#[test]
fn longest_wins_at_every_length() {
    let items: Vec<_> = (0..=32)
        .map(|len| item4(0xc000_0207, len, len.into()))
        .collect();
    let trie = Trie::build(items);
    assert_eq!(trie.lookup(0xc000_0207u32), Some(32));
    for bit in 0..32 {
        assert_eq!(trie.lookup(0xc000_0207u32 ^ 1 << (31 - bit)), Some(bit));
    }
}

/// Addresses in memory that [`Trie::warm`] asks for.
fn warmed<K: Key>(trie: &Trie, keys: &[K]) -> Vec<usize> {
    let mut places = Vec::new();
    for keys in keys.chunks(TOGETHER_MAX) {
        trie.descend(
            numbered(keys),
            |_, _| {},
            |place| {
                places.push(match place {
                    Place::Node(node) => core::ptr::from_ref(node).addr(),
                    Place::Value(value) => core::ptr::from_ref(value).addr(),
                });
            },
        );
    }
    places.sort_unstable();
    places
}

/// What look-ups of all keys together find.
fn together<K: Key>(trie: &Trie, keys: &[K]) -> Vec<Option<u32>> {
    let mut all = Vec::new();
    for keys in keys.chunks(TOGETHER_MAX) {
        let mut found = vec![None; keys.len()];
        trie.lookup_together(numbered(keys), |n, value| {
            let before = found[usize::from(n)].replace(value);
            assert_eq!(before, None, "said twice");
        });
        all.extend(found.into_iter().map(|value| value.expect("each is said")));
    }
    all
}

fn one_by_one<K: Key>(trie: &Trie, keys: &[K]) -> Vec<Option<u32>> {
    keys.iter().map(|key| trie.lookup(*key)).collect()
}

/// And those that look-ups read.
fn read<K: Key>(trie: &Trie, keys: &[K]) -> Vec<usize> {
    let mut places = Vec::new();
    for &key in keys {
        let (mut at, mut depth) = trie.begin(key);
        places.push(core::ptr::from_ref(&trie.nodes[at as usize]).addr());
        while let Ok(child) = trie.down(at, key, depth) {
            (at, depth) = (child, depth + STRIDE);
            places.push(core::ptr::from_ref(&trie.nodes[at as usize]).addr());
        }
        let node = &trie.nodes[at as usize];
        if !node.is_leaf() {
            let upto = u64::MAX >> (SLOTS - 1 - key.slot(depth));
            let run = (node.runs & upto).count_ones() as usize;
            let value = &trie.values[node.first_value as usize + run - 1];
            places.push(core::ptr::from_ref(value).addr());
        }
    }
    places.sort_unstable();
    places
}

/// A trie that begins with an array, of prefixes of all lengths and in all depths, some alone in their corner.
#[test]
fn large_tries_find_and_warm_what_small_ones_do() {
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let wide = |r: u64| u128::from(r) << 64 | u128::from(r.rotate_left(17));
    for shortest in [0, 3, 9] {
        let mut items = Vec::new();
        for n in 0..6000u32 {
            // Two thirds lie in a sixteenth of all addresses, the rest anywhere.
            let mut addr = wide(random());
            if n % 3 != 0 {
                addr = addr >> 4 | 5 << 124;
            }
            items.push(item6(addr, shortest + (random() % 119) as u8, n));
        }
        items.sort_by_key(|item| (item.key, item.len));
        items.dedup_by_key(|item| (item.key, item.len));
        let trie = Trie::build(items.clone());
        assert_eq!(trie.top.len(), 1 << TOP, "not large");
        let small = Trie {
            top: Vec::new(),
            ..trie.clone()
        };
        let near = |item: &Item<u128>| item.key ^ 1u128.unbounded_shl(127 - u32::from(item.len));
        let of_items = items.iter().flat_map(|item| [item.key, near(item)]);
        let keys: Vec<u128> = of_items.chain((0..2000).map(|_| wide(random()))).collect();
        for (n, &key) in keys.iter().enumerate() {
            assert_eq!(trie.lookup(key), small.lookup(key), "{key:032x}");
            if n % 16 == 0 {
                assert_eq!(trie.lookup(key), scan(&items, key), "{key:032x}");
            }
        }
        assert_eq!(warmed(&trie, &keys), read(&trie, &keys));
        assert_eq!(together(&trie, &keys), one_by_one(&trie, &keys));
    }
}

#[test]
fn more_keys_than_fit_are_not_looked_up_together() {
    let trie = Trie::build(vec![item4(0, 0, 5)]);
    let mut said = 0;
    let keys = [7u32; TOGETHER_MAX + 9];
    trie.lookup_together(numbered(&keys), |_, value| {
        assert_eq!(value, Some(5));
        said += 1;
    });
    assert_eq!(said, TOGETHER_MAX);
}

#[test]
fn last_of_equal_prefixes_counts() {
    let trie = Trie::build(vec![item4(0, 8, 1), item4(0, 8, 2)]);
    assert_eq!(trie.lookup(9u32), Some(2));
}

proptest! {
    /// Addresses from a small space, so that prefixes nest.
    #[test]
    fn equals_the_scan4(
        parts in proptest::collection::vec((0u32..0x100, 0u32..4, 0u8..=32), 0..40),
        keys in proptest::collection::vec((0u32..0x100, 0u32..4), 1..40),
    ) {
        let mut items: Vec<Item<u32>> = Vec::new();
        for (n, &(low, high, len)) in parts.iter().enumerate() {
            let item = item4(low | high << 30 | low << 12, len, n as u32);
            items.retain(|other| (other.key, other.len) != (item.key, item.len));
            items.push(item);
        }
        let trie = Trie::build(items.clone());
        let all: Vec<u32> = keys.iter().map(|(low, high)| low | high << 30 | low << 12).collect();
        prop_assert_eq!(warmed(&trie, &all), read(&trie, &all));
        prop_assert_eq!(together(&trie, &all), one_by_one(&trie, &all));
        for (low, high) in keys {
            let key = low | high << 30 | low << 12;
            prop_assert_eq!(trie.lookup(key), scan(&items, key), "{:08x}", key);
        }
        for item in &items {
            prop_assert_eq!(trie.lookup(item.key), scan(&items, item.key));
        }
    }

    #[test]
    fn equals_the_scan6(
        parts in proptest::collection::vec((any::<u128>(), 0u8..=128, any::<prop::sample::Index>()), 1..40),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u32..128), 1..40),
    ) {
        let mut items: Vec<Item<u128>> = Vec::new();
        for (n, (addr, len, of)) in parts.iter().enumerate() {
            // Half of them below an earlier one.
            let addr = match items.is_empty() || n % 2 == 0 {
                true => *addr,
                false => {
                    let parent: Item<u128> = *of.get(&items);
                    parent.key | addr.unbounded_shr(parent.len.into())
                }
            };
            let item = item6(addr, *len, n as u32);
            items.retain(|other| (other.key, other.len) != (item.key, item.len));
            items.push(item);
        }
        let trie = Trie::build(items.clone());
        for (of, bit) in flips {
            let key = of.get(&items).key ^ 1 << bit;
            prop_assert_eq!(trie.lookup(key), scan(&items, key), "{:032x}", key);
        }
    }
}

/// Not a gate: prints nanoseconds per lookup of random addresses and memory, for a few table sizes.
/// Each lookup depends on the one before, so this is latency, the worst case. On the 2-core machine
/// it was written on, without the POPCNT instruction (baseline x86-64), before there were leaves and the array on top:
///
/// | routes | this | bytes | 16-8-8 | bytes |
/// |---|---|---|---|---|
/// | 10 | 2.2 ns | 800 | 0.7 ns | 271 K |
/// | 1 000 | 7.1 ns | 58 K | 1.2 ns | 1.2 M |
/// | 100 000 | 30 ns | 2.8 M | 43 ns | 51 M |
/// | 1 000 000 | 209 ns | 13 M | 160 ns | 67 M |
///
/// The arrays win by 1 to 6 ns while nothing else uses the cache, which is not how a firewall runs:
/// a lookup is made once per flow, among cold packets, and 800 bytes stay in the first-level cache.
#[test]
#[ignore = "a measurement, run by hand in release mode"]
fn measure() {
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u32
    };
    for count in [2, 10, 1000, 100_000, 1_000_000] {
        let mut items = vec![item4(0, 0, 0)];
        // Lengths as in the Internet's table: most /24, some shorter.
        items.extend((1..count).map(|n| item4(random(), 24 - (random() % 9 * (n % 2)) as u8, n)));
        let (trie, arrays) = (Trie::build(items.clone()), Arrays::build(&items));
        let keys: Vec<u32> = (0..1 << 20).map(|_| random()).collect();
        let time = |lookup: &dyn Fn(u32) -> u32| {
            let start = std::time::Instant::now();
            let mut last = 0;
            for &key in &keys {
                last = lookup(key ^ (last & 1));
            }
            std::hint::black_box(last);
            start.elapsed().as_nanos() as f64 / keys.len() as f64
        };
        let poptrie = time(&|key| trie.lookup(key).unwrap_or(0));
        let full = time(&|key| arrays.lookup(key));
        println!(
            "{count:>8} routes: poptrie {poptrie:5.1} ns {:>9} bytes, 16-8-8 {full:5.1} ns {:>9} bytes",
            trie.bytes(),
            arrays.0.len() * 4
        );
    }
}

/// The rejected design, 16-8-8 full arrays, only to compare with. Top bit set: position of the next
/// array.
struct Arrays(Vec<u32>);

impl Arrays {
    fn build(items: &[Item<u32>]) -> Arrays {
        let mut items = items.to_vec();
        items.sort_by_key(|item| item.len);
        let mut arrays = Arrays(vec![0; 1 << 16]);
        for item in items {
            arrays.insert(item);
        }
        arrays
    }

    fn insert(&mut self, item: Item<u32>) {
        let (mut base, mut shift) = (0, 16u32);
        let mut at = (item.key >> 16) as usize;
        while u32::from(item.len) > 32 - shift {
            let entry = self.0[base + at];
            let next = match entry >> 31 {
                1 => (entry & 0x7fff_ffff) as usize,
                _ => {
                    let next = self.0.len();
                    self.0.resize(next + 256, entry);
                    self.0[base + at] = 1 << 31 | next as u32;
                    next
                }
            };
            (base, shift) = (next, shift - 8);
            at = (item.key >> shift & 0xff) as usize;
        }
        let count = 1 << (32 - shift - u32::from(item.len));
        self.0[base + at..base + at + count].fill(item.value);
    }

    fn lookup(&self, key: u32) -> u32 {
        let mut entry = self.0[(key >> 16) as usize];
        let mut shift = 16;
        while entry >> 31 == 1 {
            shift -= 8;
            entry = self.0[(entry & 0x7fff_ffff) as usize + (key >> shift & 0xff) as usize];
        }
        entry
    }
}
