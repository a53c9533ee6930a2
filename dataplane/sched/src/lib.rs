//! Output queues of a port: what was decided to be sent and the card has not taken yet. The highest priority goes
//! first (`set prio`), and within one the oldest; classes and service curves come behind the same two verbs.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

use nic::{BURST_MAX, Burst, PacketBuf, TxQueue};

/// One port's output queue, for one worker.
pub struct PortQueue<B> {
    burst: Burst<B>,
    /// Priorities of the frames of the burst, highest first, behind one that is above all: the last is always there.
    priorities: [u8; BURST_MAX + 1],
}

impl<B> Default for PortQueue<B> {
    fn default() -> Self {
        PortQueue {
            burst: Burst::new(),
            priorities: [u8::MAX; BURST_MAX + 1],
        }
    }
}

impl<B: PacketBuf> PortQueue<B> {
    /// Queues a frame behind those of its priority and above. A full queue is handed to the card at once; if the card
    /// takes nothing, the frame of the least priority comes back, the youngest of these.
    #[inline]
    pub fn enqueue(
        &mut self,
        frame: B,
        priority: u8,
        tx: &mut impl TxQueue<Buf = B>,
    ) -> (usize, Option<B>) {
        match self.append(frame, priority) {
            Ok(()) => (0, None),
            Err(frame) => self.enqueue_among(frame, priority, tx),
        }
    }

    /// Queues a frame whose place is the last one; gives it back if that is not so, or if there is no room.
    #[inline(always)]
    fn append(&mut self, frame: B, priority: u8) -> Result<(), B> {
        let at = self.burst.len();
        if at >= BURST_MAX || self.priorities[at] < priority {
            return Err(frame);
        }
        self.priorities[at + 1] = priority;
        self.burst.push(frame)
    }

    #[inline(never)]
    fn enqueue_among(
        &mut self,
        frame: B,
        priority: u8,
        tx: &mut impl TxQueue<Buf = B>,
    ) -> (usize, Option<B>) {
        let sent = match self.burst.is_full() {
            true => self.dequeue(tx),
            false => 0,
        };
        let refused = if !self.burst.is_full() {
            None
        } else if self.priorities[self.burst.len()] < priority {
            self.burst.pop()
        } else {
            return (sent, Some(frame));
        };
        // There is room.
        let len = self.burst.len();
        let at = self.priorities[1..=len].partition_point(|p| *p >= priority);
        self.burst.insert(at, frame).ok();
        self.priorities.copy_within(at + 1..=len, at + 2);
        self.priorities[at + 1] = priority;
        (sent, refused)
    }

    /// Hands what is queued to the card; says how many frames it took.
    #[inline(always)]
    pub fn dequeue(&mut self, tx: &mut impl TxQueue<Buf = B>) -> usize {
        match self.burst.is_empty() {
            true => 0,
            false => self.hand_over(tx),
        }
    }

    #[inline(never)]
    fn hand_over(&mut self, tx: &mut impl TxQueue<Buf = B>) -> usize {
        let waited = self.burst.len();
        let sent = tx.transmit(&mut self.burst);
        let left = self.burst.len();
        if left > 0 {
            self.priorities.copy_within(1 + waited - left..=waited, 1);
        }
        sent
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.burst.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.burst.is_empty()
    }

    /// Most frames that can wait.
    pub const CAPACITY: usize = BURST_MAX;
}

#[cfg(test)]
mod tests {
    use super::*;
    use nic::{NoRoom, RxMeta};

    /// A frame that is only a name.
    #[derive(Debug, PartialEq)]
    struct Frame(u32);

    impl PacketBuf for Frame {
        fn bytes(&self) -> &[u8] {
            &[]
        }
        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut []
        }
        fn len(&self) -> usize {
            0
        }
        fn headroom(&self) -> usize {
            0
        }
        fn tailroom(&self) -> usize {
            0
        }
        fn prepend(&mut self, _: usize) -> Result<(), NoRoom> {
            Err(NoRoom)
        }
        fn advance(&mut self, _: usize) {}
        fn append(&mut self, _: usize) -> Result<(), NoRoom> {
            Err(NoRoom)
        }
        fn truncate(&mut self, _: usize) {}
        fn rx_meta(&self) -> RxMeta {
            RxMeta::default()
        }
    }

    /// A card that takes so many frames.
    struct Card(usize, Vec<u32>);

    impl TxQueue for Card {
        type Buf = Frame;
        fn transmit(&mut self, burst: &mut Burst<Frame>) -> usize {
            let n = self.0.min(burst.len());
            self.0 -= n;
            self.1.extend(burst.drain(..n).map(|f| f.0));
            n
        }
    }

    #[test]
    fn the_highest_priority_leaves_first_and_the_oldest_within_one() {
        let (mut queue, mut card) = (PortQueue::default(), Card(3, Vec::new()));
        for (n, priority) in [(1, 3), (2, 1), (3, 3), (4, 7), (5, 1), (6, 3)] {
            assert_eq!(queue.enqueue(Frame(n), priority, &mut card), (0, None));
        }
        assert_eq!((queue.dequeue(&mut card), queue.len()), (3, 3));
        card.0 = 9;
        assert_eq!(queue.enqueue(Frame(7), 3, &mut card), (0, None));
        queue.dequeue(&mut card);
        assert_eq!(card.1, [4, 1, 3, 6, 7, 2, 5]);
    }

    #[test]
    fn a_full_queue_refuses_the_least() {
        let (mut queue, mut card) = (PortQueue::default(), Card(0, Vec::new()));
        for n in 0..PortQueue::<Frame>::CAPACITY as u32 {
            queue.enqueue(Frame(n), 3, &mut card);
        }
        assert_eq!(
            queue.enqueue(Frame(100), 3, &mut card),
            (0, Some(Frame(100)))
        );
        assert_eq!(
            queue.enqueue(Frame(101), 4, &mut card),
            (0, Some(Frame(63)))
        );
        card.0 = 1;
        queue.dequeue(&mut card);
        assert_eq!((card.1, queue.len()), (vec![101], 63));
    }
}
