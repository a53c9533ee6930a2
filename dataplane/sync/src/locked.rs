//! A value that several cores change, one after the other. For what is touched when a state is made or goes, and
//! never by a packet of an established connection: source nodes, limiters, edits of tables.
//!
//! A core that finds the value taken spins. Who has it keeps it for some dozens of instructions and calls nothing
//! that waits; so the wait is as short, and a limit over several numbers (states, connections, rate and expiry of one
//! source) is exact without a protocol of its own between the numbers.

use crate::primitive::{AtomicU64, Ordering, UnsafeCell, spin};

/// A value and who may touch it now.
pub struct Locked<T> {
    taken: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: needed because of the cell. The value is only reached in `with`, by the one thread whose exchange turned
// `taken` from 0 to 1, and handed on with release and acquire; so it moves between threads, which `T: Send` allows.
unsafe impl<T: Send> Sync for Locked<T> {}

/// Gives the value back, also when the caller's function panics.
struct Taken<'a>(&'a AtomicU64);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl<T> Locked<T> {
    /// Makes it free.
    pub fn new(value: T) -> Self {
        Locked {
            taken: AtomicU64::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `f` with the value; nobody else has it meanwhile. `f` must be short and must not call `with` again.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        while self
            .taken
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            spin();
        }
        let _taken = Taken(&self.taken);
        // SAFETY: the exchange made us the only one inside, and the acquire shows us what the last one wrote; the
        // reference ends before `_taken` is dropped, since `f` cannot keep it.
        self.value.with_mut(|p| f(unsafe { &mut *p }))
    }
}

impl<T: Default> Default for Locked<T> {
    fn default() -> Self {
        Locked::new(T::default())
    }
}

impl<T> core::fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Locked")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn threads_change_it_one_after_the_other() {
        const ROUNDS: u64 = 20_000;
        let pair = std::sync::Arc::new(Locked::new((0u64, 0u64)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let pair = pair.clone();
                std::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        pair.with(|(a, b)| {
                            assert_eq!(*a, *b);
                            *a += 1;
                            *b += 1;
                        });
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(pair.with(|pair| *pair), (4 * ROUNDS, 4 * ROUNDS));
    }

    #[test]
    fn it_is_free_again_after_a_panic() {
        let value = Locked::new(1);
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            value.with(|_| panic!("on purpose"));
        }));
        assert!(unwound.is_err());
        assert_eq!(value.with(|n| *n), 1);
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::primitive::Arc;

    #[test]
    fn loom_nobody_sees_half_a_change() {
        loom::model(|| {
            let pair = Arc::new(Locked::new((0, 0)));
            let change = |pair: &Locked<(i32, i32)>| {
                pair.with(|(a, b)| {
                    assert_eq!(*a, *b);
                    *a += 1;
                    *b += 1;
                });
            };
            let other = pair.clone();
            let thread = loom::thread::spawn(move || change(&other));
            change(&pair);
            thread.join().unwrap();
            assert_eq!(pair.with(|pair| *pair), (2, 2));
        });
    }
}
