//! Counters with one writer and any number of readers.

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// A counter that one core writes and others read. Writing is a plain load and store: no locked instruction.
/// A reader sees a value that was true a moment ago; sums over cores are not a snapshot.
#[derive(Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// `n` counters at zero, of which those that never count take no memory.
    pub fn zeroed(n: usize) -> Box<[Counter]> {
        let zeroed = Box::<[Counter]>::new_zeroed_slice(n);
        // SAFETY: a `Counter` is an `AtomicU64` and nothing else, and 0 is a value of it.
        unsafe { zeroed.assume_init() }
    }

    /// Adds. Only the owner of the counter may call this; two writers would lose counts (never more).
    #[inline(always)]
    pub fn add(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts, for gauges such as "states now". Owner only.
    #[inline(always)]
    pub fn sub(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_sub(n), Ordering::Relaxed);
    }

    /// Overwrites. Owner only.
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
