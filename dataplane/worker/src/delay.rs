//! `set delay`: frames that wait at their way out until their time has come. Whoever is due first leaves first, and of
//! equals who came first; a later packet with a shorter delay overtakes, as in PF, where each has a timer of its own.
//!
//! In the books they wait. There are as many as `set limit pktdelay-pkts` allows on all cores together, and as this
//! worker has room for; one more is dropped for `memory`.
//!
//! Read first: pf.conf(5), "set delay"; pf_delay_pkt() of OpenBSD.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use filter::Reason;
use nic::Nic;

use crate::batch::Marks;
use crate::turn::Worker;
use crate::verdict::Egress;

/// Frames that leave per turn; more wait for the next.
const RELEASES_PER_TURN: usize = 256;

/// A whole frame without tags, and where it leaves.
struct Delayed<B> {
    due_ms: u64,
    /// Counts up, so that equals keep their order.
    nr: u64,
    buf: B,
    priority: u8,
    egress: Egress,
}

impl<B> Delayed<B> {
    fn rank(&self) -> (u64, u64) {
        (self.due_ms, self.nr)
    }
}

impl<B> PartialEq for Delayed<B> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<B> Eq for Delayed<B> {}

impl<B> PartialOrd for Delayed<B> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<B> Ord for Delayed<B> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Frames of one worker that wait.
pub(crate) struct DelayLine<B> {
    /// The next that is due is on top.
    heap: BinaryHeap<Reverse<Delayed<B>>>,
    capacity: usize,
    next_nr: u64,
}

impl<B> DelayLine<B> {
    /// Room for `capacity` frames, which is all that will ever be allocated.
    pub(crate) fn new(capacity: usize) -> Self {
        DelayLine {
            heap: BinaryHeap::with_capacity(capacity),
            capacity,
            next_nr: 0,
        }
    }

    /// Frames that wait.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn is_full(&self) -> bool {
        self.heap.len() >= self.capacity
    }

    fn push(&mut self, buf: B, priority: u8, egress: Egress, due_ms: u64) {
        let nr = self.next_nr;
        self.next_nr += 1;
        self.heap.push(Reverse(Delayed {
            due_ms,
            nr,
            buf,
            priority,
            egress,
        }));
    }

    /// The first frame, if its time has come.
    fn pop(&mut self, now_ms: u64) -> Option<Delayed<B>> {
        let first = self.heap.peek()?;
        (first.0.due_ms <= now_ms)
            .then(|| self.heap.pop())?
            .map(|d| d.0)
    }
}

impl<N: Nic> Worker<N> {
    /// Keeps a whole frame for as long as rules say.
    pub(crate) fn delay(&mut self, buf: N::Buf, marks: Marks, egress: Egress) {
        let limit = u64::from(self.config.ruleset.limits.pktdelay_pkts);
        if self.delayed.is_full() || !self.shared.delayed.try_take(1, limit) {
            return self.discard(buf, Reason::Memory);
        }
        let due_ms = self.now_ms + u64::from(marks.delay_ms);
        self.delayed.push(buf, marks.priority, egress, due_ms);
    }

    /// Sends what has waited long enough. True if there was any.
    pub(crate) fn release_delayed(&mut self, now_ms: u64) -> bool {
        for n in 0..RELEASES_PER_TURN {
            let Some(frame) = self.delayed.pop(now_ms) else {
                return n > 0;
            };
            self.shared.delayed.give_back(1);
            self.queue_by_egress(frame.buf, frame.priority, frame.egress);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_due_first_leaves_first_and_equals_keep_their_order() {
        let mut line = DelayLine::new(4);
        let egress = Egress::routed(net::InterfaceId(0), wire::ether::Addr::ZERO);
        for (name, due_ms) in [("a", 30), ("b", 10), ("c", 30), ("d", 20)] {
            assert!(!line.is_full());
            line.push(name, 3, egress, due_ms);
        }
        assert!(line.is_full());
        let mut left = Vec::new();
        for now_ms in [9, 10, 29, 30] {
            while let Some(frame) = line.pop(now_ms) {
                left.push((now_ms, frame.buf));
            }
        }
        assert_eq!(left, [(10, "b"), (29, "d"), (30, "a"), (30, "c")]);
        assert_eq!(line.len(), 0);
    }
}
