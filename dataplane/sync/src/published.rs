//! A value that the control core replaces and a worker adopts at the top of its turn.
//!
//! Life of a published value: the control core keeps one `Arc` of it, hands another to [`Publisher::publish`];
//! the worker takes it with [`Subscriber::take`] and drops the one it had. The control core drops its own `Arc`
//! only when no other is left (`Arc::strong_count` is 1), therefore a worker's drop is never the last one and
//! workers never free memory. Publishing is one pointer exchange and cannot fail.

use crate::CacheLine;
use crate::primitive::{Arc, AtomicPtr, Ordering};
use core::ptr;

/// On a line of its own: each worker looks at it in every turn, and nobody writes what lies beside it.
struct Slot<T>(CacheLine<AtomicPtr<T>>);

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(take_from(self));
    }
}

/// Takes what lies in the slot, if anything does.
fn take_from<T>(slot: &Slot<T>) -> Option<Arc<T>> {
    let taken = slot.0.swap(ptr::null_mut(), Ordering::AcqRel);
    if taken.is_null() {
        return None;
    }
    // SAFETY: needed to carry an `Arc` through an atomic pointer. Every non-null pointer in the slot came from
    // `Arc::into_raw` in `publish`, and the exchange above made us the only one to have it.
    Some(unsafe { Arc::from_raw(taken) })
}

/// The control core's end.
pub struct Publisher<T>(Arc<Slot<T>>);

/// The worker's end.
pub struct Subscriber<T>(Arc<Slot<T>>);

/// Makes a pair of ends with nothing published yet.
pub fn published<T: Send + Sync>() -> (Publisher<T>, Subscriber<T>) {
    let slot = Arc::new(Slot(CacheLine(AtomicPtr::new(ptr::null_mut()))));
    (Publisher(slot.clone()), Subscriber(slot))
}

impl<T: Send + Sync> Publisher<T> {
    /// Publishes. A value that was published before and never adopted is dropped here, on the control core.
    pub fn publish(&self, value: Arc<T>) {
        let raw = Arc::into_raw(value).cast_mut();
        let skipped = self.0.0.swap(raw, Ordering::AcqRel);
        if !skipped.is_null() {
            // SAFETY: as in `take_from`: it came from `Arc::into_raw`, and the exchange made it ours alone.
            drop(unsafe { Arc::from_raw(skipped) });
        }
    }

    /// True if the worker has not yet taken what was published last.
    pub fn is_pending(&self) -> bool {
        !self.0.0.load(Ordering::Acquire).is_null()
    }
}

impl<T: Send + Sync> Subscriber<T> {
    /// What was published since the last call, if anything. Costs one load of a line that rarely changes.
    #[inline]
    pub fn take(&mut self) -> Option<Arc<T>> {
        if self.0.0.load(Ordering::Relaxed).is_null() {
            return None;
        }
        take_from(&self.0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_adopted_once_and_skipped_ones_are_freed() {
        let (publisher, mut subscriber) = published::<u32>();
        assert!(subscriber.take().is_none());
        let (one, two) = (Arc::new(1), Arc::new(2));
        publisher.publish(one.clone());
        publisher.publish(two.clone());
        assert_eq!(Arc::strong_count(&one), 1);
        assert!(publisher.is_pending());
        assert_eq!(subscriber.take().as_deref(), Some(&2));
        assert!(subscriber.take().is_none());
        assert!(!publisher.is_pending());
        publisher.publish(one.clone());
        drop((publisher, subscriber));
        assert_eq!(
            Arc::strong_count(&one),
            1,
            "a value left in the slot is freed with it"
        );
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;

    #[test]
    fn loom_a_worker_sees_whole_values_and_nothing_leaks() {
        loom::model(|| {
            let (publisher, mut subscriber) = published::<(u32, u32)>();
            let worker = loom::thread::spawn(move || {
                for _ in 0..2 {
                    if let Some(value) = subscriber.take() {
                        assert_eq!(value.0, value.1);
                    }
                }
            });
            publisher.publish(Arc::new((1, 1)));
            publisher.publish(Arc::new((2, 2)));
            worker.join().unwrap();
        });
    }
}
