//! What a path was said to carry: learned by whichever core hears of it, read by all with one load, forgotten in time.

use crate::primitive::{AtomicU64, Ordering};

/// Bits of the time; the rest is the number of bytes.
const TIME_BITS: u32 = 48;

/// Bytes of the largest packet that fits a path, and until when that is believed. All zero: nothing is known.
#[derive(Debug, Default)]
pub struct PathMtu(AtomicU64);

impl PathMtu {
    /// Somebody on the path says what it carries; believed until `until_ms`. A path never grows by being told so
    /// (RFC 8201 4): while less is believed, this is not.
    pub fn learn(&self, mtu: u16, now_ms: u64, until_ms: u64) {
        if self.get(now_ms).is_none_or(|believed| mtu <= believed) {
            let time = until_ms & ((1 << TIME_BITS) - 1);
            let value = u64::from(mtu) << TIME_BITS | time;
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// What the path carries, if that is known.
    #[inline]
    pub fn get(&self, now_ms: u64) -> Option<u16> {
        let value = self.0.load(Ordering::Relaxed);
        let until_ms = value & ((1 << TIME_BITS) - 1);
        (now_ms < until_ms).then_some((value >> TIME_BITS) as u16)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_path_shrinks_and_is_forgotten_in_time() {
        let path = PathMtu::default();
        assert_eq!(path.get(0), None);
        path.learn(1400, 0, 100);
        path.learn(1450, 50, 150);
        assert_eq!(path.get(99), Some(1400), "it does not grow");
        assert_eq!(path.get(100), None);
        path.learn(1450, 100, 200);
        path.learn(1300, 110, 210);
        assert_eq!((path.get(209), path.get(210)), (Some(1300), None));
    }
}
