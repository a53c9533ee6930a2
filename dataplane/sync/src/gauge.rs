//! A number shared by all cores with an exact limit. Locked instructions: only creation and removal of states
//! may touch it (`set limit states` is exact over all cores).

use crate::primitive::{AtomicU64, Ordering};

/// A shared count of things in use.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

impl Default for Gauge {
    fn default() -> Self {
        Gauge(AtomicU64::new(0))
    }
}

impl Gauge {
    /// Takes `n` if the count stays within `limit`; otherwise changes nothing and says false.
    pub fn try_take(&self, n: u64, limit: u64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| {
                value.checked_add(n).filter(|sum| *sum <= limit)
            })
            .is_ok()
    }

    /// Adds `n` to a count without a limit.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Gives `n` back.
    pub fn give_back(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Another one that begins with the count of this one.
    #[must_use]
    pub fn copied(&self) -> Self {
        Gauge(AtomicU64::new(self.get()))
    }

    /// In use now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact() {
        let gauge = Gauge::default();
        assert!(gauge.try_take(2, 3));
        assert!(!gauge.try_take(2, 3));
        assert!(gauge.try_take(1, 3));
        assert!(!gauge.try_take(1, 3));
        gauge.give_back(1);
        assert_eq!(gauge.get(), 2);
    }
}
