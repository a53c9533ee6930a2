//! Which stations the bridges know, over all workers: what makes `maxaddr` exact. A station is on the roll while at least
//! one worker knows it.
//!
//! The roll is locked for some dozens of instructions when a worker learns a station that it did not know, and when it
//! forgets one; frames of known stations never touch it. Considered: a count that the first worker to hear a station
//! takes from; but two can hear it at the same time, and the one that counted it may forget it first.

use sync::Locked;

use super::slots::Slots;
use super::{BRIDGES_MAX, Terms, bridge_of};
use crate::kif::InterfaceId;

/// Stations that all workers together can know.
pub struct Roll(Locked<Names>);

struct Names {
    /// The value is how many workers know the station.
    slots: Slots,
    counts: heapless::Vec<(InterfaceId, u32), BRIDGES_MAX>,
    asked: u64,
}

impl Roll {
    /// Room for `capacity` stations over all bridges. `seed` is secret.
    pub fn new(capacity: usize, seed: u64) -> Roll {
        Roll(Locked::new(Names {
            slots: Slots::new(capacity, seed),
            counts: heapless::Vec::new(),
            asked: 0,
        }))
    }

    /// Stations of a bridge.
    pub fn count(&self, bridge: InterfaceId) -> u32 {
        self.0.with(|names| {
            let mut counts = names.counts.iter();
            counts.find(|(id, _)| *id == bridge).map_or(0, |(_, n)| *n)
        })
    }

    /// How often a worker wanted to learn a station that it did not know: what it costs that strangers come.
    pub fn asked(&self) -> u64 {
        self.0.with(|names| names.asked)
    }

    /// One more worker knows a station. False if the bridge or the roll is full and nobody knows it yet.
    pub(super) fn hold(&self, terms: &Terms, key: u64) -> bool {
        self.0.with(|names| names.hold(terms, key))
    }

    /// One worker less knows a station.
    pub(super) fn release(&self, key: u64) {
        self.0.with(|names| names.release(key));
    }
}

impl core::fmt::Debug for Roll {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Roll")
    }
}

impl Names {
    fn hold(&mut self, terms: &Terms, key: u64) -> bool {
        self.asked += 1;
        let at = match self.slots.position(key) {
            Ok(at) => {
                let holders = self.slots.at(at).map_or(0, |(_, holders)| holders);
                self.slots.set(at, holders + 1);
                return true;
            }
            Err(at) => at,
        };
        if self.slots.is_full() {
            return false;
        }
        let count = match self.counts.iter().position(|(id, _)| *id == terms.bridge) {
            Some(n) => n,
            None if self.counts.push((terms.bridge, 0)).is_ok() => self.counts.len() - 1,
            None => return false,
        };
        if self.counts[count].1 >= terms.max_addr {
            return false;
        }
        self.counts[count].1 += 1;
        self.slots.insert(at, key, 1);
        true
    }

    fn release(&mut self, key: u64) {
        let Ok(at) = self.slots.position(key) else {
            return;
        };
        match self.slots.at(at) {
            Some((_, holders @ 2..)) => self.slots.set(at, holders - 1),
            _ => {
                self.slots.remove(at);
                let bridge = bridge_of(key);
                if let Some((_, n)) = self.counts.iter_mut().find(|(id, _)| *id == bridge) {
                    *n -= 1;
                }
                self.counts.retain(|(_, n)| *n > 0);
            }
        }
    }
}
