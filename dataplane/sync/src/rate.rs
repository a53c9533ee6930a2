//! How often something happens, as PF measures it: a count that decays over a period (pf.conf(5), max-src-conn-rate
//! and max-pkt-rate). [`Decay`] is the arithmetic; [`Rate`] shares one between cores; [`Once`] is the limit "one".

use crate::primitive::{AtomicU64, Ordering};

/// Parts that one event counts, so that what is left after decay is not rounded to nothing.
pub const PARTS: u64 = 1000;

/// Events and when the last one was. 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decay {
    /// Events in parts; see [`PARTS`].
    pub parts: u32,
    /// Second of the last event.
    pub last_s: u32,
}

impl Decay {
    /// Parts left at `now_s`: the longer ago, the fewer, none after `period_s` seconds.
    pub fn at(self, now_s: u32, period_s: u32) -> u64 {
        let (parts, passed) = (
            u64::from(self.parts),
            u64::from(now_s.wrapping_sub(self.last_s)),
        );
        if passed >= u64::from(period_s) {
            0
        } else {
            parts - parts * passed / u64::from(period_s)
        }
    }

    /// One more event.
    #[must_use]
    pub fn add(self, now_s: u32, period_s: u32) -> Decay {
        let parts = self.at(now_s, period_s) + PARTS;
        Decay {
            parts: u32::try_from(parts).unwrap_or(u32::MAX),
            last_s: now_s,
        }
    }

    /// More events than `limit` per period.
    pub fn exceeds(self, limit: u32) -> bool {
        u64::from(self.parts) > u64::from(limit) * PARTS
    }
}

/// A rate that all cores share. One locked instruction per event.
#[derive(Debug)]
pub struct Rate(AtomicU64);

impl Default for Rate {
    fn default() -> Self {
        Rate(AtomicU64::new(0))
    }
}

impl Rate {
    /// Another one that begins with what this one has counted.
    #[must_use]
    pub fn copied(&self) -> Self {
        Rate(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    /// Counts an event; true if there are now more than `limit` per `period_s` seconds.
    pub fn add(&self, now_s: u32, limit: u32, period_s: u32) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let next = unpack(seen).add(now_s, period_s);
            match self
                .0
                .compare_exchange(seen, pack(next), Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next.exceeds(limit),
                Err(other) => seen = other,
            }
        }
    }
}

fn pack(decay: Decay) -> u64 {
    u64::from(decay.parts) << 32 | u64::from(decay.last_s)
}

fn unpack(word: u64) -> Decay {
    Decay {
        parts: (word >> 32) as u32,
        last_s: word as u32,
    }
}

/// Something that may happen once in each round, over all cores.
#[derive(Debug)]
pub struct Once(AtomicU64);

impl Default for Once {
    fn default() -> Self {
        Once(AtomicU64::new(0))
    }
}

impl Once {
    /// Another one, claimed if this one is.
    #[must_use]
    pub fn copied(&self) -> Self {
        Once(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    /// True for the first caller of this round (rounds count from 1).
    pub fn claim(&self, round: u32) -> bool {
        self.0.swap(u64::from(round), Ordering::Relaxed) != u64::from(round)
    }

    /// True if somebody has claimed this round.
    #[inline]
    pub fn is_claimed(&self, round: u32) -> bool {
        self.0.load(Ordering::Relaxed) == u64::from(round)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_exceeded_by_the_event_after_the_limit() {
        let rate = Rate::default();
        let over: Vec<bool> = (0..5).map(|_| rate.add(100, 3, 10)).collect();
        assert_eq!(over, [false, false, false, true, true]);
        // Half of the period later half of the five is left: 2.5 + 1 is above 3.
        assert!(rate.add(105, 3, 10));
        assert!(
            !rate.add(115, 3, 10),
            "a whole period later nothing is left"
        );
    }

    #[test]
    fn the_last_of_several_threads_exceeds_and_no_other() {
        let rate = std::sync::Arc::new(Rate::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let rate = rate.clone();
                std::thread::spawn(move || (0..1000).filter(|_| rate.add(1, 3999, 10)).count())
            })
            .collect();
        let over: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(over, 1);
    }

    #[test]
    fn once_is_once_in_each_round() {
        let once = Once::default();
        assert!(!once.is_claimed(1));
        assert_eq!([once.claim(1), once.claim(1)], [true, false]);
        assert!(once.is_claimed(1) && !once.is_claimed(2));
        assert_eq!([once.claim(2), once.claim(2)], [true, false]);
    }
}
