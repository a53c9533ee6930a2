//! What the spanning tree allows the members of a bridge: written by the core that speaks the protocol, read by all with
//! one load. A change takes effect without a new configuration.

use crate::primitive::{AtomicU64, Ordering};

/// Most members of a bridge.
pub const BRIDGE_PORTS_MAX: usize = 64;

/// Members by their place in the bridge, bit n is member n: who may forward, who may learn; and of each member a number
/// that moves on whenever what was learned there is to be forgotten.
#[derive(Debug)]
pub struct BridgePorts {
    learning: AtomicU64,
    forwarding: AtomicU64,
    epochs: [AtomicU64; BRIDGE_PORTS_MAX],
    changes: AtomicU64,
}

impl BridgePorts {
    /// These members may forward, and so learn.
    pub fn new(forwarding: u64) -> Self {
        BridgePorts {
            learning: AtomicU64::new(forwarding),
            forwarding: AtomicU64::new(forwarding),
            epochs: core::array::from_fn(|_| AtomicU64::new(0)),
            changes: AtomicU64::new(0),
        }
    }

    /// Sets who may learn and who may forward. A reader may see the one before the other: for a moment a member learns and
    /// does not forward yet, or forwards and does not learn, which does no harm.
    pub fn set(&self, learning: u64, forwarding: u64) {
        let learned = self.learning.swap(learning, Ordering::Relaxed);
        let forwarded = self.forwarding.swap(forwarding, Ordering::Relaxed);
        self.has_changed((learned, forwarded) != (learning, forwarding));
    }

    /// What was learned on a member no longer counts.
    pub fn set_epoch(&self, place: usize, epoch: u16) {
        if let Some(word) = self.epochs.get(place) {
            let old = word.swap(u64::from(epoch), Ordering::Relaxed);
            self.has_changed(old != u64::from(epoch));
        }
    }

    fn has_changed(&self, has: bool) {
        if has {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Moves on after every change: who remembers what it has made of the rest, and this number from before, knows whether
    /// that still holds.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Members that may learn.
    #[inline]
    pub fn learning(&self) -> u64 {
        self.learning.load(Ordering::Relaxed)
    }

    /// Members that may forward.
    #[inline]
    pub fn forwarding(&self) -> u64 {
        self.forwarding.load(Ordering::Relaxed)
    }

    /// The number that what is learned on a member now belongs to.
    #[inline]
    pub fn epoch(&self, place: usize) -> u16 {
        self.epochs
            .get(place)
            .map_or(0, |word| word.load(Ordering::Relaxed) as u16)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn states_and_epochs_are_told_apart() {
        let ports = BridgePorts::new(0b101);
        assert_eq!((ports.learning(), ports.forwarding()), (0b101, 0b101));
        ports.set(0b111, 0b001);
        assert_eq!((ports.learning(), ports.forwarding()), (0b111, 0b001));
        ports.set_epoch(63, u16::MAX);
        ports.set_epoch(64, 1);
        assert_eq!([62, 63, 64].map(|n| ports.epoch(n)), [0, u16::MAX, 0]);
    }

    #[test]
    fn what_stays_as_it_is_is_no_change() {
        let ports = BridgePorts::new(0b11);
        ports.set(0b11, 0b11);
        ports.set_epoch(1, 0);
        ports.set_epoch(64, 1);
        assert_eq!(ports.changes(), 0);
        ports.set(0b11, 0b01);
        ports.set_epoch(1, 7);
        ports.set(0b01, 0b01);
        assert_eq!(ports.changes(), 3);
    }
}
