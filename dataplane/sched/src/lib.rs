//! Output queues of a port: what was decided to be sent and the card has not taken yet. First in, first out for
//! now; classes and service curves come behind the same two verbs.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

use nic::{BURST_MAX, Burst, PacketBuf, TxQueue};

/// One port's output queue, for one worker.
pub struct PortQueue<B> {
    burst: Burst<B>,
}

impl<B> Default for PortQueue<B> {
    fn default() -> Self {
        PortQueue {
            burst: Burst::new(),
        }
    }
}

impl<B: PacketBuf> PortQueue<B> {
    /// Queues a frame. A full queue is handed to the card at once; if the card takes nothing, the frame comes back.
    #[inline]
    pub fn enqueue(&mut self, frame: B, tx: &mut impl TxQueue<Buf = B>) -> Result<usize, B> {
        let sent = if self.burst.is_full() {
            tx.transmit(&mut self.burst)
        } else {
            0
        };
        self.burst.push(frame).map(|()| sent)
    }

    /// Hands what is queued to the card; says how many frames it took.
    #[inline]
    pub fn dequeue(&mut self, tx: &mut impl TxQueue<Buf = B>) -> usize {
        if self.burst.is_empty() {
            return 0;
        }
        tx.transmit(&mut self.burst)
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
