//! What the cores must agree on when one of them translates: which keys are taken ([`Claims`]), whose turn it is in a
//! pool ([`Turns`]), and how many states an address has ([`Loads`]). Locked instructions: only creation and removal of
//! translated states may touch these.

use alloc::boxed::Box;

use crate::primitive::{AtomicU64, Ordering};

/// Places of a bucket: one cache line.
const PLACES: usize = 8;
/// Bytes of it.
const LINE: usize = PLACES * size_of::<u64>();
/// No claim.
const FREE: u64 = 0;

/// A set of keyed hashes that all cores add to. A key is claimed by at most one of them. Fixed size; a box that translates
/// nothing claims little, so memory is not touched until then.
pub struct Claims {
    /// Buckets from place `first` on, where a cache line begins. (Zeroed memory of a larger alignment than the allocator's
    /// own is written by it.)
    places: Box<[AtomicU64]>,
    first: usize,
}

impl Claims {
    /// A set for about `claims` claims; few are refused for want of a place before it is that full.
    pub fn new(claims: usize) -> Self {
        let buckets = (claims * 2).div_ceil(PLACES).next_power_of_two();
        let places = zeros(buckets * PLACES + PLACES - 1);
        let aligned = places.as_ptr().align_offset(LINE);
        Claims {
            places,
            first: aligned.min(PLACES - 1),
        }
    }

    /// As many as a power of two says.
    fn buckets(&self) -> &[[AtomicU64; PLACES]] {
        self.places[self.first..].as_chunks().0
    }

    /// Which line, and what stands in it: never [`FREE`].
    fn place(&self, hash: u64) -> (&[AtomicU64; PLACES], u64) {
        let buckets = self.buckets();
        let line = (hash >> 32) as usize & (buckets.len() - 1);
        (&buckets[line], hash.max(1))
    }

    /// Claims a hash. False if another claim of it stands, or there is no place for it.
    pub fn claim(&self, hash: u64) -> bool {
        let (line, value) = self.place(hash);
        for _ in 0..PLACES {
            if line.iter().any(|p| p.load(Ordering::Acquire) == value) {
                return false;
            }
            let Some(n) = line.iter().position(|p| p.load(Ordering::Relaxed) == FREE) else {
                return false;
            };
            let taken = line[n].compare_exchange(FREE, value, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                return self.confirm(line, value, n);
            }
        }
        false
    }

    /// Another core may have claimed the same at the same time in another place of the line: the first place counts.
    fn confirm(&self, line: &[AtomicU64; PLACES], value: u64, n: usize) -> bool {
        let earlier = line[..n].iter().any(|p| p.load(Ordering::SeqCst) == value);
        if earlier {
            line[n].store(FREE, Ordering::Release);
        }
        !earlier
    }

    /// Gives a claim up.
    pub fn release(&self, hash: u64) {
        let (line, value) = self.place(hash);
        if let Some(place) = line.iter().find(|p| p.load(Ordering::Acquire) == value) {
            place.store(FREE, Ordering::Release);
        }
    }

    /// True if it cannot be claimed: somebody has, or there is no place for it.
    pub fn holds(&self, hash: u64) -> bool {
        let (line, value) = self.place(hash);
        let mut full = true;
        for place in line {
            match place.load(Ordering::Acquire) {
                FREE => full = false,
                other if other == value => return true,
                _ => {}
            }
        }
        full
    }
}

/// Numbers that count up, for pools in which addresses take turns.
pub struct Turns(Box<[AtomicU64]>);

impl Turns {
    /// `count` numbers, all 0.
    pub fn new(count: usize) -> Self {
        Turns(zeros(count.max(1)))
    }

    /// The next value of number `n`; numbers beyond the end share the last.
    pub fn next(&self, n: usize) -> u64 {
        self.0[n.min(self.0.len() - 1)].fetch_add(1, Ordering::Relaxed)
    }
}

/// Counts by hash. Hashes that fall on one place count together, so that a choice may be less even, never wrong.
pub struct Loads(Box<[AtomicU64]>);

impl Loads {
    /// `places` counts, a power of two.
    pub fn new(places: usize) -> Self {
        Loads(zeros(places.next_power_of_two()))
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.0[hash as usize & (self.0.len() - 1)]
    }

    /// One more.
    pub fn add(&self, hash: u64) {
        self.place(hash).fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn sub(&self, hash: u64) {
        self.place(hash).fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self, hash: u64) -> u64 {
        self.place(hash).load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
fn zeros(count: usize) -> Box<[AtomicU64]> {
    let zeroed = Box::<[AtomicU64]>::new_zeroed_slice(count);
    // SAFETY: an `AtomicU64` has the same bytes as a `u64`, of which 0 is a value.
    unsafe { zeroed.assume_init() }
}

#[cfg(loom)]
fn zeros(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_claim_stands_until_it_is_released() {
        let claims = Claims::new(100);
        assert!(claims.claim(7) && !claims.claim(7) && claims.holds(7));
        claims.release(7);
        assert!(!claims.holds(7) && claims.claim(7));
        // A hash of zero is a hash like any other.
        assert!(claims.claim(0) && !claims.claim(0) && !claims.claim(1));
    }

    #[test]
    fn each_bucket_is_one_cache_line_and_there_are_as_many_as_a_power_of_two() {
        for (count, buckets) in [
            (0, 1),
            (1, 1),
            (4, 1),
            (5, 2),
            (100, 32),
            (1 << 17, 1 << 15),
        ] {
            let claims = Claims::new(count);
            assert_eq!(claims.buckets().len(), buckets, "{count}");
            let begin = claims.buckets().as_ptr().addr();
            assert!(begin.is_multiple_of(LINE), "{count}");
        }
    }

    #[test]
    fn of_many_threads_one_gets_each_claim() {
        const HASHES: u64 = 2000;
        let claims = Claims::new(HASHES as usize);
        let won: u64 = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (1..=HASHES).filter(|h| claims.claim(h << 32 | 5)).count()))
                .collect();
            all.into_iter().map(|t| t.join().unwrap() as u64).sum()
        });
        assert_eq!(won, HASHES);
    }

    #[test]
    fn turns_and_loads_count() {
        let turns = Turns::new(2);
        assert_eq!(
            [turns.next(0), turns.next(0), turns.next(1), turns.next(9)],
            [0, 1, 0, 1]
        );
        let loads = Loads::new(4);
        loads.add(1);
        loads.add(5);
        assert_eq!((loads.get(1), loads.get(2)), (2, 0));
        loads.sub(1);
        assert_eq!(loads.get(5), 1);
    }
}
