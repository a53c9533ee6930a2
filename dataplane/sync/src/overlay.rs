//! Prefixes that were added to tables, or taken out, while the tables themselves cannot be changed: looked up by all
//! cores without a lock, written by any core under one.
//!
//! A place is four words. A writer fills address and time first and then stores the head, which makes the place
//! valid; before it uses a place again it clears the head. A reader takes head, address, and the head once more: if
//! the head is the same, the address belongs to it (its version counts up with every use). If it is not, the place
//! was changed just now, and "not there" was true a moment ago or will be.

use alloc::boxed::Box;

use crate::gauge::Gauge;
use crate::locked::Locked;
use crate::primitive::{AtomicU64, Ordering, fence};

/// Places looked at from the home of a key on.
const REACH: usize = 32;

/// A prefix of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OverlayKey {
    /// The table's slot, below what the overlay was made for.
    pub table: u16,
    /// IPv6.
    pub v6: bool,
    /// Bits of the prefix.
    pub prefix_len: u8,
    /// Address, host order, IPv4 in the low 32 bits, zero beyond the prefix.
    pub addr: u128,
}

/// What the overlay says of a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverlayEntry {
    /// Which prefix.
    pub key: OverlayKey,
    /// Added; if false: taken out.
    pub present: bool,
    /// When, in seconds since start.
    pub since_s: u64,
    /// Version of the place, for [`Overlay::forget`].
    version: u32,
}

/// What became of an edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OverlayEdit {
    /// It says so now and did not before.
    Done,
    /// It said so already.
    Already,
    /// No place.
    Full,
}

#[cfg_attr(loom, derive(Default))]
struct Place {
    head: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
    since_s: AtomicU64,
}

/// How many entries a table has here and which lengths they have, so that a table without any costs one load.
#[derive(Default)]
struct Lens {
    entries: AtomicU64,
    /// IPv4 lengths 0 to 32; from bit 40 on the IPv6 length 0.
    v4: AtomicU64,
    /// IPv6 lengths 1 to 64, and 65 to 128.
    v6: [AtomicU64; 2],
}

/// The overlay of all tables. Fixed size.
pub struct Overlay {
    places: Box<[Place]>,
    tables: Box<[Lens]>,
    writer: Locked<u32>,
    used: Gauge,
    seed: u64,
}

pub(crate) const IN_USE: u64 = 1;
const PRESENT: u64 = 2;
const V6: u64 = 4;

impl Overlay {
    /// Room for `entries` prefixes of `tables` tables. `seed` keeps outsiders from choosing keys that collide.
    pub fn new(entries: usize, tables: usize, seed: u64) -> Self {
        let places = (entries * 2).next_power_of_two().max(REACH);
        Overlay {
            places: new_places(places),
            tables: (0..tables).map(|_| Lens::default()).collect(),
            writer: Locked::new(0),
            used: Gauge::default(),
            seed,
        }
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        self.used.get() as usize
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries there is room for.
    pub fn capacity(&self) -> usize {
        self.places.len() / 2
    }

    /// True if it has entries of `table`.
    #[inline]
    pub fn concerns(&self, table: u16) -> bool {
        let lens = self.tables.get(usize::from(table));
        lens.is_some_and(|lens| lens.entries.load(Ordering::Relaxed) != 0)
    }

    /// The longest prefix of `table` that covers `addr` and that the overlay knows, shorter than `below` bits: its
    /// length, and whether it was added or taken out. `mask` makes the mask of a length.
    #[inline]
    pub fn find(
        &self,
        table: u16,
        v6: bool,
        addr: u128,
        below: u8,
        mask: impl Fn(u8) -> u128,
    ) -> Option<(u8, bool)> {
        let lens = self.tables.get(usize::from(table))?;
        if lens.entries.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.find_in(lens, table, v6, addr, below, mask)
    }

    #[cold]
    fn find_in(
        &self,
        lens: &Lens,
        table: u16,
        v6: bool,
        addr: u128,
        below: u8,
        mask: impl Fn(u8) -> u128,
    ) -> Option<(u8, bool)> {
        let mut bits = lens.of(v6);
        bits.shorten(below);
        while let Some(len) = bits.take_longest() {
            let key = OverlayKey {
                table,
                v6,
                prefix_len: len,
                addr: addr & mask(len),
            };
            if let Some(present) = self.get(&key) {
                return Some((len, present));
            }
        }
        None
    }

    /// Whether this very prefix was added or taken out; none if neither.
    pub fn get(&self, key: &OverlayKey) -> Option<bool> {
        let mask = self.places.len() - 1;
        let home = self.home(key);
        let (high, low) = halves(key.addr);
        for step in 0..REACH {
            let place = &self.places[(home + step) & mask];
            let head = place.head.load(Ordering::Acquire);
            if head & !(PRESENT | VERSION) != wanted(key) {
                // A place that was never used ends the search: nothing was ever put beyond it.
                if head == 0 {
                    return None;
                }
                continue;
            }
            let same = place.high.load(Ordering::Relaxed) == high
                && place.low.load(Ordering::Relaxed) == low;
            fence(Ordering::Acquire);
            if same && place.head.load(Ordering::Relaxed) == head {
                return Some(head & PRESENT != 0);
            }
        }
        None
    }

    /// Says that a prefix is in its table (or is not) from `now_s` on.
    pub fn set(&self, key: &OverlayKey, present: bool, now_s: u64) -> OverlayEdit {
        self.set_within(key, present, now_s, usize::MAX)
    }

    /// As [`Overlay::set`], with at most `most` entries in all afterwards.
    pub fn set_within(
        &self,
        key: &OverlayKey,
        present: bool,
        now_s: u64,
        most: usize,
    ) -> OverlayEdit {
        self.writer.with(|version| {
            if self.len() >= most && self.get(key).is_none() {
                return OverlayEdit::Full;
            }
            *version = version.wrapping_add(1);
            self.write(key, present, now_s, *version)
        })
    }

    fn write(&self, key: &OverlayKey, present: bool, now_s: u64, version: u32) -> OverlayEdit {
        let Some(lens) = self.tables.get(usize::from(key.table)) else {
            return OverlayEdit::Full;
        };
        let old = self.position(key);
        let before = old.map(|at| self.places[at].head.load(Ordering::Relaxed) & PRESENT != 0);
        if before == Some(present) {
            return OverlayEdit::Already;
        }
        let Some(at) = old.or_else(|| self.free_place(key)) else {
            return OverlayEdit::Full;
        };
        self.put(&self.places[at], key, present, now_s, version);
        if old.is_none() {
            self.used.try_take(1, u64::MAX);
            lens.add(key.v6, key.prefix_len);
        }
        OverlayEdit::Done
    }

    fn put(&self, place: &Place, key: &OverlayKey, present: bool, now_s: u64, version: u32) {
        let (high, low) = halves(key.addr);
        let present = if present { PRESENT } else { 0 };
        place.head.store(FREED, Ordering::Relaxed);
        fence(Ordering::Release);
        place.high.store(high, Ordering::Relaxed);
        place.low.store(low, Ordering::Relaxed);
        place.since_s.store(now_s, Ordering::Relaxed);
        let head = wanted(key) | present | u64::from(version) << 32;
        place.head.store(head, Ordering::Release);
    }

    /// Forgets an entry that [`Overlay::for_each`] gave, unless it was changed since: what it says is in the table itself
    /// by now.
    pub fn forget(&self, entry: &OverlayEntry) {
        self.writer.with(|_| {
            let Some(at) = self.position(&entry.key) else {
                return;
            };
            let head = self.places[at].head.load(Ordering::Relaxed);
            if (head >> 32) as u32 != entry.version {
                return;
            }
            self.places[at].head.store(FREED, Ordering::Release);
            self.used.give_back(1);
            if let Some(lens) = self.tables.get(usize::from(entry.key.table)) {
                lens.remove();
            }
            self.sweep_if_empty();
        });
    }

    /// Without entries every place may be as if never used, so that searches end early again.
    fn sweep_if_empty(&self) {
        if self.used.get() == 0 {
            let used = |p: &&Place| p.head.load(Ordering::Relaxed) != 0;
            let used = self.places.iter().filter(used);
            used.for_each(|p| p.head.store(0, Ordering::Relaxed));
        }
    }

    /// Every entry, in no order. Entries that change meanwhile may be given in either form, or not.
    pub fn for_each(&self, mut f: impl FnMut(OverlayEntry)) {
        for place in &self.places {
            let head = place.head.load(Ordering::Acquire);
            if head & IN_USE == 0 {
                continue;
            }
            let (high, low) = (
                place.high.load(Ordering::Relaxed),
                place.low.load(Ordering::Relaxed),
            );
            let since_s = place.since_s.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if place.head.load(Ordering::Relaxed) != head {
                continue;
            }
            f(OverlayEntry {
                key: key_of(head, u128::from(high) << 64 | u128::from(low)),
                present: head & PRESENT != 0,
                since_s,
                version: (head >> 32) as u32,
            });
        }
    }

    /// Where the key lies. Writers only.
    fn position(&self, key: &OverlayKey) -> Option<usize> {
        let mask = self.places.len() - 1;
        let home = self.home(key);
        let (high, low) = halves(key.addr);
        (0..REACH).map(|step| (home + step) & mask).find(|at| {
            let place = &self.places[*at];
            place.head.load(Ordering::Relaxed) & !(PRESENT | VERSION) == wanted(key)
                && place.high.load(Ordering::Relaxed) == high
                && place.low.load(Ordering::Relaxed) == low
        })
    }

    fn free_place(&self, key: &OverlayKey) -> Option<usize> {
        let mask = self.places.len() - 1;
        let home = self.home(key);
        (0..REACH)
            .map(|step| (home + step) & mask)
            .find(|at| self.places[*at].head.load(Ordering::Relaxed) & IN_USE == 0)
    }

    fn home(&self, key: &OverlayKey) -> usize {
        scatter(key, self.seed) as usize & (self.places.len() - 1)
    }
}

impl core::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Overlay({} entries)", self.len())
    }
}

/// Memory of places that were never used is never written.
#[cfg(not(loom))]
fn new_places(n: usize) -> Box<[Place]> {
    let zeroed = Box::<[Place]>::new_zeroed_slice(n);
    // SAFETY: a `Place` is made of atomics of 64 bits and nothing else, and 0 is a value of these.
    unsafe { zeroed.assume_init() }
}

#[cfg(loom)]
fn new_places(n: usize) -> Box<[Place]> {
    (0..n).map(|_| Place::default()).collect()
}

/// A place that was used and is free; not 0, so that searches go on.
const FREED: u64 = 1 << 31 << 32;
/// Bits of the head that count uses.
pub(crate) const VERSION: u64 = 0xffff_ffff << 32;

/// The head of a key without version and without what is said of it.
pub(crate) fn wanted(key: &OverlayKey) -> u64 {
    let v6 = if key.v6 { V6 } else { 0 };
    IN_USE | v6 | u64::from(key.prefix_len) << 8 | u64::from(key.table) << 16
}

/// The key whose head this is.
pub(crate) fn key_of(head: u64, addr: u128) -> OverlayKey {
    OverlayKey {
        table: (head >> 16) as u16,
        v6: head & V6 != 0,
        prefix_len: (head >> 8) as u8,
        addr,
    }
}

/// A hash of a key.
pub(crate) fn scatter(key: &OverlayKey, seed: u64) -> u64 {
    let (high, low) = halves(key.addr);
    let h = fold(low ^ seed, wanted(key) ^ 0x9e37_79b9_7f4a_7c15);
    fold(h ^ high, seed ^ 0xe703_7ed1_a0b4_28db)
}

fn halves(addr: u128) -> (u64, u64) {
    ((addr >> 64) as u64, addr as u64)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Lengths in use, of one family.
#[derive(Clone, Copy)]
struct LenBits {
    zero: bool,
    /// Bit n - 1 for length n.
    rest: u128,
}

impl LenBits {
    /// Only lengths below this one.
    fn shorten(&mut self, below: u8) {
        self.zero &= below > 0;
        if below <= 128 {
            self.rest &= (1 << below.saturating_sub(1)) - 1;
        }
    }

    /// The longest, and it is gone.
    fn take_longest(&mut self) -> Option<u8> {
        if self.rest == 0 {
            return core::mem::take(&mut self.zero).then_some(0);
        }
        let len = 128 - self.rest.leading_zeros();
        self.rest ^= 1 << (len - 1);
        Some(len as u8)
    }
}

const V6_ZERO: u64 = 1 << 40;

impl Lens {
    fn of(&self, v6: bool) -> LenBits {
        let v4 = self.v4.load(Ordering::Relaxed);
        if v6 {
            let [low, high] = [0, 1].map(|n| u128::from(self.v6[n].load(Ordering::Relaxed)));
            LenBits {
                zero: v4 & V6_ZERO != 0,
                rest: high << 64 | low,
            }
        } else {
            LenBits {
                zero: v4 & 1 != 0,
                rest: u128::from(v4 >> 1 & 0xffff_ffff),
            }
        }
    }

    /// Writers only. Lengths before the count, which readers ask first.
    fn add(&self, v6: bool, len: u8) {
        let (word, bit) = match (v6, len) {
            (false, n) => (&self.v4, 1 << n.min(32)),
            (true, 0) => (&self.v4, V6_ZERO),
            (true, n) => (&self.v6[usize::from(n > 64)], 1 << ((n - 1) % 64)),
        };
        word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        let n = self.entries.load(Ordering::Relaxed);
        self.entries.store(n + 1, Ordering::Release);
    }

    /// Writers only. Lengths stay until nothing is left.
    fn remove(&self) {
        let n = self.entries.load(Ordering::Relaxed).saturating_sub(1);
        self.entries.store(n, Ordering::Relaxed);
        if n == 0 {
            self.v4.store(0, Ordering::Relaxed);
            self.v6.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn key(table: u16, addr: u128, prefix_len: u8) -> OverlayKey {
        OverlayKey {
            table,
            v6: false,
            prefix_len,
            addr,
        }
    }

    fn mask(len: u8) -> u128 {
        u128::from(u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0))
    }

    #[test]
    fn the_longest_known_prefix_is_found_and_its_table_only() {
        let o = Overlay::new(100, 4, 7);
        assert_eq!(o.set(&key(1, 0x0a00_0000, 8), true, 5), OverlayEdit::Done);
        assert_eq!(
            o.set(&key(1, 0x0a00_0000, 8), true, 6),
            OverlayEdit::Already
        );
        assert_eq!(o.set(&key(1, 0x0a01_0203, 32), false, 6), OverlayEdit::Done);
        let find = |table, addr, below| o.find(table, false, addr, below, mask);
        assert_eq!(find(1, 0x0a01_0203, 33), Some((32, false)));
        assert_eq!(find(1, 0x0a01_0203, 32), Some((8, true)));
        assert_eq!(find(1, 0x0a01_0204, 33), Some((8, true)));
        assert_eq!(find(1, 0x0b01_0204, 33), None);
        assert_eq!(find(2, 0x0a01_0204, 33), None);
        assert_eq!(o.find(1, true, 0x0a01_0203, 129, |_| u128::MAX), None);
        assert_eq!(
            o.set(&key(4, 1, 32), true, 0),
            OverlayEdit::Full,
            "no such table"
        );
        assert_eq!(o.len(), 2);
    }

    #[test]
    fn a_full_neighborhood_refuses_and_forgotten_places_are_used_again() {
        let o = Overlay::new(16, 1, 7);
        let done = (0..100).filter(|n| o.set(&key(0, *n, 32), true, 1) == OverlayEdit::Done);
        assert_eq!(done.count(), 32);
        assert_eq!(o.len(), 32);
        let mut all = Vec::new();
        o.for_each(|e| all.push(e));
        assert_eq!(all.len(), 32);
        // One is changed after it was listed: it must stay.
        assert_eq!(o.set(&all[0].key, false, 2), OverlayEdit::Done);
        all.iter().for_each(|e| o.forget(e));
        assert_eq!((o.len(), o.get(&all[0].key)), (1, Some(false)));
        assert_eq!(o.get(&all[1].key), None);
        assert_eq!(o.set(&key(0, 1000, 32), true, 3), OverlayEdit::Done);
    }

    #[test]
    fn random_edits_agree_with_a_map() {
        let mut seed = 0x5eed_0000_1234_5678u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let o = Overlay::new(256, 2, 99);
        let mut model = std::collections::HashMap::new();
        for step in 0..20_000u64 {
            let len = [0, 8, 24, 32][next() as usize % 4];
            let k = key(
                (next() % 2) as u16,
                u128::from(next() as u32 & 0x0303_0003) & mask(len),
                len,
            );
            match next() % 3 {
                0 => {
                    let mut all = Vec::new();
                    o.for_each(|e| all.push(e));
                    for e in all.iter().filter(|e| e.key == k) {
                        o.forget(e);
                        model.remove(&k);
                    }
                }
                n => {
                    if o.set(&k, n == 1, step) != OverlayEdit::Full {
                        model.insert(k, n == 1);
                    }
                }
            }
            assert_eq!(o.get(&k), model.get(&k).copied(), "step {step}");
            assert_eq!(o.len(), model.len(), "step {step}");
            let addr = u128::from(next() as u32 & 0x0303_0003);
            let slow = [32, 24, 8, 0].iter().find_map(|len| {
                let k = key(k.table, addr & mask(*len), *len);
                model.get(&k).map(|present| (*len, *present))
            });
            assert_eq!(o.find(k.table, false, addr, 33, mask), slow, "step {step}");
        }
    }

    #[test]
    fn readers_never_see_what_was_never_said() {
        let o = std::sync::Arc::new(Overlay::new(64, 1, 3));
        let stop = std::sync::Arc::new(crate::Counter::new());
        let (reader, end) = (o.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while end.get() == 0 {
                // Only addresses with equal halves are ever added.
                let torn = OverlayKey {
                    table: 0,
                    v6: true,
                    prefix_len: 128,
                    addr: 1 << 64 | 2,
                };
                assert_eq!(reader.get(&torn), None);
                reader.for_each(|e| assert_eq!((e.key.addr >> 64) as u64, e.key.addr as u64));
            }
        });
        for round in 0..20_000u128 {
            let n = 1 + round % 40;
            let k = OverlayKey {
                table: 0,
                v6: true,
                prefix_len: 128,
                addr: n << 64 | n,
            };
            o.set(&k, true, 0);
            let mut all = Vec::new();
            o.for_each(|e| all.push(e));
            all.iter().take(2).for_each(|e| o.forget(e));
        }
        stop.set(1);
        thread.join().unwrap();
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::primitive::Arc;

    #[test]
    fn loom_a_reader_sees_whole_addresses() {
        loom::model(|| {
            let o = Arc::new(Overlay::new(1, 1, 3));
            let key = |n: u128| OverlayKey {
                table: 0,
                v6: true,
                prefix_len: 128,
                addr: n << 64 | n,
            };
            o.set(&key(1), true, 0);
            let writer = o.clone();
            let thread = loom::thread::spawn(move || {
                let mut all = Vec::new();
                writer.for_each(|e| all.push(e));
                all.iter().for_each(|e| writer.forget(e));
                writer.set(&key(2), true, 0);
            });
            let torn = OverlayKey {
                addr: 1 << 64 | 2,
                ..key(1)
            };
            assert_eq!(o.get(&torn), None);
            thread.join().unwrap();
            assert_eq!(o.get(&key(2)), Some(true));
        });
    }
}
