//! Counters by prefix of a table: one core counts, others read. Which prefixes there will be nobody knows beforehand, so
//! each core has a fixed number of places, and a prefix gets one with its first packet. Memory of places that were never
//! used is never touched.
//!
//! A reader takes the head of a place, its counters, and the head once more, as in [`crate::overlay`].

use alloc::boxed::Box;

use crate::counter::Counter;
use crate::overlay::{IN_USE, OverlayKey, VERSION, key_of, scatter, wanted};
use crate::primitive::{AtomicU64, Ordering, fence};

/// Places looked at from the home of a key on.
const REACH: usize = 16;

/// Counters of one prefix.
pub const TALLY_COUNTERS: usize = 12;

/// A prefix with its counters: as large as two cache lines, but not aligned to them. Zeroed memory of a larger alignment
/// than the allocator's own is written by it, and a table that nobody counts in would be resident whole.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Place {
    head: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
    counters: [Counter; TALLY_COUNTERS],
    _fill: AtomicU64,
}

impl Place {
    /// Whether its address is that of the key.
    #[inline]
    fn holds(&self, key: &OverlayKey) -> bool {
        let (high, low) = ((key.addr >> 64) as u64, key.addr as u64);
        self.high.load(Ordering::Relaxed) == high && self.low.load(Ordering::Relaxed) == low
    }
}

/// What was counted of a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tallied {
    /// Counts up when the place is given to another prefix, or to this one anew.
    pub version: u32,
    /// The counters.
    pub counters: [u64; TALLY_COUNTERS],
}

/// Counters of one core. Fixed size.
pub struct Tally {
    places: Box<[Place]>,
    /// Packets that found no place.
    missed: Counter,
    seed: u64,
}

impl Tally {
    /// Room for `prefixes`. `seed` keeps outsiders from choosing prefixes that collide.
    pub fn new(prefixes: usize, seed: u64) -> Self {
        Tally {
            places: places(prefixes.next_power_of_two().max(REACH)),
            missed: Counter::new(),
            seed,
        }
    }

    /// Adds a packet of `bytes` to counters `at` (packets) and `at + 1` (bytes) of a prefix. Where there is no place left,
    /// that of a prefix which `is_gone` is taken; otherwise the packet is only [`Tally::missed`]. Owner only.
    #[inline]
    pub fn count(
        &self,
        key: &OverlayKey,
        at: usize,
        bytes: u64,
        is_gone: impl Fn(&OverlayKey) -> bool,
    ) {
        let Some(place) = self.find(key).or_else(|| self.settle(key, is_gone)) else {
            return self.missed.add(1);
        };
        if let Some([packets, sum]) = place.counters.get(at..at + 2) {
            packets.add(1);
            sum.add(bytes);
        }
    }

    /// What was counted of a prefix; none if it has no place.
    pub fn get(&self, key: &OverlayKey) -> Option<Tallied> {
        let place = self.find(key)?;
        let head = place.head.load(Ordering::Acquire);
        // The place may have gone to another prefix of the same table since it was found.
        let is_its_own = place.holds(key);
        let counters = core::array::from_fn(|n| place.counters[n].get());
        fence(Ordering::Acquire);
        let same = head & !VERSION == wanted(key) && place.head.load(Ordering::Relaxed) == head;
        (same && is_its_own).then_some(Tallied {
            version: (head >> 32) as u32,
            counters,
        })
    }

    /// Packets that were not counted for want of a place.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }

    #[inline]
    fn find(&self, key: &OverlayKey) -> Option<&Place> {
        for place in self.reach(key) {
            let head = place.head.load(Ordering::Acquire);
            // A place that was never used ends the search: nothing was ever put beyond it.
            if head == 0 {
                return None;
            }
            if head & !VERSION == wanted(key) && place.holds(key) {
                return Some(place);
            }
        }
        None
    }

    fn reach(&self, key: &OverlayKey) -> impl Iterator<Item = &Place> {
        let mask = self.places.len() - 1;
        let home = scatter(key, self.seed) as usize;
        (0..REACH).map(move |step| &self.places[(home + step) & mask])
    }

    /// Gives a prefix a place.
    #[cold]
    fn settle(&self, key: &OverlayKey, is_gone: impl Fn(&OverlayKey) -> bool) -> Option<&Place> {
        let key_in = |place: &Place| {
            let word = |w: &AtomicU64| u128::from(w.load(Ordering::Relaxed));
            let head = place.head.load(Ordering::Relaxed);
            key_of(head, word(&place.high) << 64 | word(&place.low))
        };
        let is_free = |place: &&Place| place.head.load(Ordering::Relaxed) & IN_USE == 0;
        let place = self
            .reach(key)
            .find(is_free)
            .or_else(|| self.reach(key).find(|p| is_gone(&key_in(p))))?;
        let version = (place.head.load(Ordering::Relaxed) >> 32).wrapping_add(1) << 32;
        // Not 0: searches must go on behind it.
        place.head.store(version | FREED, Ordering::Relaxed);
        fence(Ordering::Release);
        place.high.store((key.addr >> 64) as u64, Ordering::Relaxed);
        place.low.store(key.addr as u64, Ordering::Relaxed);
        place.counters.iter().for_each(|c| c.set(0));
        place.head.store(version | wanted(key), Ordering::Release);
        Some(place)
    }
}

/// A place between two prefixes. A bit that no key has.
const FREED: u64 = 1 << 7;

#[cfg(not(loom))]
fn places(n: usize) -> Box<[Place]> {
    let zeroed = Box::<[Place]>::new_zeroed_slice(n);
    // SAFETY: a `Place` is made of atomics of 64 bits and nothing else, and 0 is a value of these.
    unsafe { zeroed.assume_init() }
}

#[cfg(loom)]
fn places(n: usize) -> Box<[Place]> {
    (0..n).map(|_| Place::default()).collect()
}

impl core::fmt::Debug for Tally {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tally({} places)", self.places.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn key(table: u16, addr: u128) -> OverlayKey {
        OverlayKey {
            table,
            v6: addr > u128::from(u32::MAX),
            prefix_len: 32,
            addr,
        }
    }

    const STAYS: fn(&OverlayKey) -> bool = |_| false;

    #[test]
    fn each_prefix_of_each_table_has_counters_of_its_own() {
        let tally = Tally::new(64, 7);
        tally.count(&key(1, 5), 0, 100, STAYS);
        tally.count(&key(1, 5), 0, 50, STAYS);
        tally.count(&key(2, 5), 10, 9, STAYS);
        tally.count(&key(1, 5 << 64), 2, 1, STAYS);
        let counted = |table, addr| tally.get(&key(table, addr)).map(|t| t.counters);
        let mut expected = [0; TALLY_COUNTERS];
        expected[..2].copy_from_slice(&[2, 150]);
        assert_eq!(counted(1, 5), Some(expected));
        assert_eq!(counted(2, 5).map(|c| c[10..].to_vec()), Some(vec![1, 9]));
        assert_eq!(counted(1, 5 << 64).map(|c| c[2]), Some(1));
        assert_eq!(counted(3, 5), None);
        assert_eq!(tally.missed(), 0);
    }

    #[test]
    fn a_full_neighborhood_is_missed_until_a_prefix_in_it_is_gone() {
        let tally = Tally::new(1, 7);
        (0..REACH as u128).for_each(|n| tally.count(&key(0, n), 0, 1, STAYS));
        tally.count(&key(0, 99), 0, 1, STAYS);
        assert_eq!((tally.get(&key(0, 99)), tally.missed()), (None, 1));
        let before = tally.get(&key(0, 3)).unwrap().version;
        tally.count(&key(0, 99), 0, 1, |k| k.addr == 3);
        assert_eq!(tally.get(&key(0, 3)), None);
        tally.count(&key(0, 3), 0, 1, |k| k.addr == 99);
        let again = tally.get(&key(0, 3)).unwrap();
        assert_eq!(again.counters[..2], [1, 1], "counts anew");
        assert_ne!(again.version, before, "and whoever noted it can tell");
    }

    #[test]
    fn readers_never_see_counters_of_another_prefix() {
        let tally = std::sync::Arc::new(Tally::new(1, 3));
        let stop = std::sync::Arc::new(Counter::new());
        let (reader, end) = (tally.clone(), stop.clone());
        // Prefix n is counted with n bytes for each packet, by one core.
        let thread = std::thread::spawn(move || {
            while end.get() == 0 {
                for n in 0..40 {
                    if let Some(t) = reader.get(&key(0, n)) {
                        assert!(n == 0 || t.counters[1] % n as u64 == 0, "{n}: {t:?}");
                    }
                }
            }
        });
        for round in 0..200_000u128 {
            let n = round * 7 % 40;
            tally.count(&key(0, n), 0, n as u64, |k| k.addr % 3 == round % 3);
        }
        stop.set(1);
        thread.join().unwrap();
    }
}
