//! The "wire" between smoltcp and the dataplane: two bounded queues of IP packets. Not aware of what is in them.

use std::collections::VecDeque;

use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Packets waiting for smoltcp: four full receive windows of small segments; more is a flood and is dropped.
pub(crate) const RX_QUEUE_MAX: usize = 512;
/// Packets waiting for the dataplane. When it is full smoltcp keeps its data and tries again later.
pub(crate) const TX_QUEUE_MAX: usize = 512;

/// Both queues.
pub(crate) struct Queues {
    pub(crate) rx: VecDeque<Vec<u8>>,
    pub(crate) tx: VecDeque<Vec<u8>>,
    /// Largest IP packet in bytes.
    mtu: usize,
}

impl Queues {
    pub(crate) fn new(mtu: usize) -> Self {
        Queues {
            rx: VecDeque::new(),
            tx: VecDeque::new(),
            mtu,
        }
    }

    /// True while there is no room on the way out.
    pub(crate) fn is_full(&self) -> bool {
        self.tx.len() >= TX_QUEUE_MAX
    }

    /// Packets that find room on the way out.
    pub(crate) fn room(&self) -> usize {
        TX_QUEUE_MAX.saturating_sub(self.tx.len())
    }

    /// Adds a packet of our own making; false if there is no room.
    pub(crate) fn push_tx(&mut self, packet: Vec<u8>) -> bool {
        let room = !self.is_full();
        if room {
            self.tx.push_back(packet);
        }
        room
    }
}

impl phy::Device for Queues {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        // An answer must find room, so nothing is taken in while the way out is full.
        if self.is_full() {
            return None;
        }
        let packet = self.rx.pop_front()?;
        Some((RxToken(packet), TxToken(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        (self.tx.len() < TX_QUEUE_MAX).then_some(TxToken(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = self.mtu;
        caps
    }
}

/// One packet on its way to smoltcp.
pub(crate) struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for one packet from smoltcp.
pub(crate) struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
