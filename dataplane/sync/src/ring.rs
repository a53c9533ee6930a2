//! A bounded queue between exactly two cores: one producer, one consumer, no lock.
//!
//! `head` counts what was taken, `tail` what was put, both for ever (they wrap); the slot is the count modulo
//! the capacity, a power of two. Each end keeps a private copy of the other's count and reads the shared one
//! only when the copy says full or empty, so that the two cores exchange a cache line once per burst.

use alloc::boxed::Box;
use core::mem::MaybeUninit;

use crate::cache::CacheLine;
use crate::primitive::{Arc, AtomicUsize, Ordering, UnsafeCell};

struct Shared<T> {
    head: CacheLine<AtomicUsize>,
    tail: CacheLine<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: needed because the slots are cells. A slot is written only by the one producer, between reading a
// `head` that proves it free and the release store of `tail`; it is read only by the one consumer, after an
// acquire load of that `tail`. So no slot is ever touched by two threads at once, and `T: Send` may move.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; the ring owns its elements.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (mut head, tail) = (
            self.head.load(Ordering::Acquire),
            self.tail.load(Ordering::Acquire),
        );
        while head != tail {
            let slot = &self.slots[head & (self.slots.len() - 1)];
            // SAFETY: both ends are gone (we have `&mut self`), and slots in head..tail were written and not taken.
            slot.with_mut(|p| unsafe { (*p).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// The end that puts. Not `Clone`: there is one producer.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
}

/// The end that takes. Not `Clone`: there is one consumer.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// Makes a ring for `capacity` elements, rounded up to a power of two, at least 2.
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.max(2).next_power_of_two();
    let slots = (0..capacity)
        .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
        .collect();
    let shared = Arc::new(Shared {
        head: CacheLine(AtomicUsize::new(0)),
        tail: CacheLine(AtomicUsize::new(0)),
        slots,
    });
    let producer = Producer {
        shared: shared.clone(),
        tail: 0,
        head_seen: 0,
    };
    let consumer = Consumer {
        shared,
        head: 0,
        tail_seen: 0,
    };
    (producer, consumer)
}

impl<T: Send> Producer<T> {
    /// Elements that can be put now without fail.
    pub fn room(&mut self) -> usize {
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        self.shared.slots.len() - self.tail.wrapping_sub(self.head_seen)
    }

    /// Puts an element, or gives it back if the ring is full. Never blocks.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            self.head_seen = self.shared.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == capacity {
                return Err(value);
            }
        }
        let slot = &self.shared.slots[self.tail & (capacity - 1)];
        // SAFETY: the acquired `head` shows that the consumer is done with this slot, and only we write slots.
        slot.with_mut(|p| unsafe { (*p).write(value) });
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T: Send> Consumer<T> {
    /// Takes the oldest element, if there is one. Never blocks.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        let slot = &self.shared.slots[self.head & (self.shared.slots.len() - 1)];
        // SAFETY: the acquired `tail` shows that the producer wrote this slot and is done with it; only we read
        // slots, and moving `head` on below keeps us from reading it twice.
        let value = slot.with_mut(|p| unsafe { (*p).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// What `look` says of the oldest element, which stays; none if there is none.
    #[inline]
    pub fn peek<R>(&mut self, look: impl FnOnce(&T) -> R) -> Option<R> {
        if self.is_empty() {
            return None;
        }
        let slot = &self.shared.slots[self.head & (self.shared.slots.len() - 1)];
        // SAFETY: the acquired `tail` shows that the producer wrote this slot and is done with it until `head` moves on, which
        // only we do; the reference ends with `look`.
        Some(slot.with_mut(|p| look(unsafe { (*p).assume_init_ref() })))
    }

    /// True if there is nothing to take at the moment.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_holds_its_capacity_and_not_one_more() {
        let (mut tx, mut rx) = ring(4);
        for round in 0..10 {
            for n in 0..4 {
                assert_eq!(tx.room(), 4 - n);
                tx.push(round * 10 + n).unwrap();
            }
            assert_eq!(tx.push(99), Err(99));
            for n in 0..4 {
                assert_eq!(rx.peek(|oldest| *oldest), Some(round * 10 + n));
                assert_eq!(rx.pop(), Some(round * 10 + n));
            }
            assert_eq!(rx.peek(|oldest| *oldest), None);
            assert!(rx.is_empty());
            assert_eq!(rx.pop(), None);
        }
    }

    #[test]
    fn what_is_left_inside_is_dropped_once() {
        let alive = alloc::sync::Arc::new(());
        let (mut tx, mut rx) = ring(8);
        for _ in 0..5 {
            tx.push(alive.clone()).unwrap();
        }
        drop(rx.pop());
        drop((tx, rx));
        assert_eq!(alloc::sync::Arc::strong_count(&alive), 1);
    }

    #[test]
    fn two_threads_exchange_everything_in_order() {
        const N: u32 = 100_000;
        let (mut tx, mut rx) = ring(64);
        let producer = std::thread::spawn(move || {
            for n in 0..N {
                while tx.push(n).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut expect = 0;
        while expect < N {
            match rx.pop() {
                Some(n) => {
                    assert_eq!(n, expect);
                    expect += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        producer.join().unwrap();
        assert!(rx.is_empty());
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;

    #[test]
    fn loom_elements_arrive_whole_and_in_order() {
        loom::model(|| {
            let (mut tx, mut rx) = ring(2);
            let producer = loom::thread::spawn(move || {
                let mut sent = 0u32;
                for n in 1..=3u32 {
                    if tx.push(Box::new(n)).is_ok() {
                        sent += 1;
                    }
                }
                sent
            });
            let mut last = 0;
            for _ in 0..2 {
                if let Some(n) = rx.pop() {
                    assert!(*n > last);
                    last = *n;
                }
            }
            producer.join().unwrap();
        });
    }
}
