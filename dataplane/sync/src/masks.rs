//! Which ports of a group may send and which may be heard: written by the core that watches the links, read by all
//! with one load per burst. A change takes effect without a new configuration.

use crate::primitive::{AtomicU64, Ordering};

/// Ports of a group by their place in it, bit n is port n: who may send, and whose frames count.
#[derive(Debug)]
pub struct Masks(AtomicU64);

impl Default for Masks {
    fn default() -> Self {
        Masks::new(0, 0)
    }
}

impl Masks {
    /// Masks with these values.
    pub fn new(send: u32, receive: u32) -> Self {
        Masks(AtomicU64::new(joined(send, receive)))
    }

    /// Sets both at once: nobody sees one of them new and the other old.
    pub fn set(&self, send: u32, receive: u32) {
        self.0.store(joined(send, receive), Ordering::Relaxed);
    }

    /// Ports that may send.
    #[inline]
    pub fn send(&self) -> u32 {
        self.0.load(Ordering::Relaxed) as u32
    }

    /// Ports whose frames count.
    #[inline]
    pub fn receive(&self) -> u32 {
        (self.0.load(Ordering::Relaxed) >> 32) as u32
    }
}

fn joined(send: u32, receive: u32) -> u64 {
    u64::from(receive) << 32 | u64::from(send)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_change_at_once() {
        let masks = Masks::default();
        assert_eq!((masks.send(), masks.receive()), (0, 0));
        masks.set(0x8000_0001, 0x4000_0002);
        assert_eq!((masks.send(), masks.receive()), (0x8000_0001, 0x4000_0002));
    }
}
