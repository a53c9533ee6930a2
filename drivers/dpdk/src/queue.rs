//! Hardware queues: the only calls of DPDK on the packet path.
//!
//! A queue is one value and its methods take `&mut self`; that is the whole locking. Read first: DPDK
//! programmer's guide, "Poll Mode Driver", on concurrent use of queues.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nic::{Burst, PacketBuf, PortId, QueueId};

use crate::mbuf::Mbuf;
use crate::port::Started;

/// Shortest frame handed to a card, in bytes. Some cards stop their queue over anything shorter than 17
/// (i40e reports it as a malicious driver); such a frame is padded to the shortest legal one.
const TX_MIN: usize = 17;

/// Shortest legal Ethernet frame without check sequence, in bytes (IEEE 802.3, 4A.4.2).
const FRAME_MIN: usize = 60;

/// A receive queue of a started port.
pub struct RxQueue {
    port: u16,
    queue: u16,
    /// Packets in several buffers that did not fit into one, dropped. Counted for the whole port.
    oversize: Arc<AtomicU64>,
    /// The card's flow hash is fit to be shown.
    symmetric_hash: bool,
    /// Keeps the port running.
    _started: Arc<Started>,
}

impl RxQueue {
    /// For `port` only: one value per queue.
    pub(crate) fn new(started: &Arc<Started>, queue: u16) -> RxQueue {
        RxQueue {
            port: started.id.0,
            queue,
            oversize: Arc::clone(&started.oversize),
            symmetric_hash: started.symmetric_hash,
            _started: Arc::clone(started),
        }
    }

    /// The port.
    pub fn port(&self) -> PortId {
        PortId(self.port)
    }

    /// The number of the queue within the port.
    pub fn queue(&self) -> QueueId {
        QueueId(self.queue)
    }

    /// Makes chained packets from `first` on contiguous, or drops them.
    #[cold]
    fn unchain(&self, burst: &mut Burst<Mbuf>, first: usize) {
        let mut at = first;
        while let Some(packet) = burst.get_mut(at) {
            if packet.segments() != 1 && !packet.make_contiguous() {
                drop(burst.remove(at));
                self.oversize.fetch_add(1, Ordering::Relaxed);
            } else {
                at += 1;
            }
        }
    }
}

/// Best called with an empty burst: vectorized drivers deliver multiples of four or eight packets, and
/// nothing at all where there is room for fewer.
impl nic::RxQueue for RxQueue {
    type Buf = Mbuf;

    #[inline]
    fn receive_some(&mut self, burst: &mut Burst<Mbuf>, most: usize) -> usize {
        let before = burst.len();
        let room = burst.spare_capacity_mut();
        let most = room.len().min(most);
        let room = &mut room[..most];
        // Drivers are not to be asked for nothing.
        if room.is_empty() {
            return 0;
        }
        // SAFETY: the port is started and has this queue (`_started`), nobody else polls it (`&mut self`),
        // and `room` takes that many pointers, `Mbuf` being one. DPDK writes the first `count` of them,
        // each the address of a packet that is the receiver's from now on.
        let count = unsafe {
            dpdk_sys::fugu_rx_burst(
                self.port,
                self.queue,
                room.as_mut_ptr().cast::<*mut dpdk_sys::rte_mbuf>(),
                room.len() as u16,
            )
        };
        // SAFETY: `count` elements behind the old length were just written, and drivers give never more
        // than asked. Chained ones are dealt with before anybody sees them.
        unsafe { burst.set_len(before + usize::from(count)) };
        // One look at each, without a branch: next to none is in several pieces (all have one at least), and few drivers
        // report a hash unasked.
        let look = |(segments, flags), packet: &Mbuf| {
            (segments | packet.segments(), flags | packet.flags())
        };
        let (segments, flags) = burst[before..].iter().fold((0, 0), look);
        if segments > 1 {
            self.unchain(burst, before);
        }
        if flags & dpdk_sys::FUGU_RX_RSS_HASH != 0 && !self.symmetric_hash {
            burst[before..].iter_mut().for_each(Mbuf::clear_hash);
        }
        burst.len() - before
    }
}

/// A transmit queue of a started port.
pub struct TxQueue {
    port: u16,
    queue: u16,
    /// Keeps the port running.
    _started: Arc<Started>,
}

impl TxQueue {
    /// For `port` only: one value per queue.
    pub(crate) fn new(started: &Arc<Started>, queue: u16) -> TxQueue {
        TxQueue {
            port: started.id.0,
            queue,
            _started: Arc::clone(started),
        }
    }

    /// The port.
    pub fn port(&self) -> PortId {
        PortId(self.port)
    }

    /// The number of the queue within the port.
    pub fn queue(&self) -> QueueId {
        QueueId(self.queue)
    }
}

impl nic::TxQueue for TxQueue {
    type Buf = Mbuf;

    #[inline]
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) -> usize {
        if burst.iter().any(|packet| packet.len() < TX_MIN) {
            pad(burst);
        }
        let len = burst.len();
        if len == 0 {
            return 0;
        }
        let start = burst.as_mut_ptr();
        // SAFETY: the port is started and has this queue, nobody else sends on it, and `start` points to
        // `len` mbufs that are ours. DPDK takes the first `sent` of them for itself.
        let sent = unsafe {
            dpdk_sys::fugu_tx_burst(
                self.port,
                self.queue,
                start.cast::<*mut dpdk_sys::rte_mbuf>(),
                len as u16,
            )
        };
        let sent = usize::from(sent).min(len);
        // SAFETY: the first `sent` elements are not ours any more and are overwritten without being
        // dropped; the rest moves to the front, inside the array, and is all that remains.
        unsafe {
            core::ptr::copy(start.add(sent), start, len - sent);
            burst.set_len(len - sent);
        }
        sent
    }
}

/// Pads frames that a card could choke on. Nothing the packet path builds is that short.
#[cold]
fn pad(burst: &mut Burst<Mbuf>) {
    for packet in burst.iter_mut().filter(|packet| packet.len() < TX_MIN) {
        let len = packet.len();
        let grown = packet.append(FRAME_MIN - len);
        // Cannot fail unless the frame was cut down to a few bytes at the very end of its buffer.
        if grown.is_ok() {
            packet.bytes_mut()[len..].fill(0);
        }
    }
}

impl fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RxQueue({}.{})", self.port, self.queue)
    }
}

impl fmt::Debug for TxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxQueue({}.{})", self.port, self.queue)
    }
}
