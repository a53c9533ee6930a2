//! From a hash to a slot: open addressing with linear probing and removal by shifting back.
//!
//! Fixed size, at most half full. Knows hashes and slot numbers, not what they are of.

use alloc::vec;
use alloc::vec::Vec;

const EMPTY: u16 = u16::MAX;

#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    slot: u16,
}

/// The index. Slots are below `u16::MAX`.
#[derive(Debug)]
pub(super) struct Index {
    places: Vec<Place>,
    mask: usize,
}

impl Index {
    /// An empty index for at most `capacity` slots.
    pub(super) fn new(capacity: usize) -> Index {
        let size = (capacity * 2).next_power_of_two();
        Index {
            places: vec![
                Place {
                    hash: 0,
                    slot: EMPTY
                };
                size
            ],
            mask: size - 1,
        }
    }

    /// The slot with this hash for which `is` says yes.
    #[inline]
    pub(super) fn find(&self, hash: u32, is: impl Fn(u16) -> bool) -> Option<u16> {
        let mut at = hash as usize & self.mask;
        loop {
            let place = self.places[at];
            if place.slot == EMPTY {
                return None;
            }
            if place.hash == hash && is(place.slot) {
                return Some(place.slot);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds a slot. There is room: the caller's slab is half as large as this table.
    pub(super) fn insert(&mut self, hash: u32, slot: u16) {
        let mut at = hash as usize & self.mask;
        while self.places[at].slot != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.places[at] = Place { hash, slot };
    }

    /// Removes a slot that is there.
    pub(super) fn remove(&mut self, hash: u32, slot: u16) {
        let mut hole = hash as usize & self.mask;
        while self.places[hole].slot != slot {
            debug_assert!(
                self.places[hole].slot != EMPTY,
                "slot {slot} is not in the index"
            );
            if self.places[hole].slot == EMPTY {
                return;
            }
            hole = (hole + 1) & self.mask;
        }
        // Close the hole: move back whatever would not be found beyond it.
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let place = self.places[at];
            if place.slot == EMPTY {
                break;
            }
            let home = place.hash as usize & self.mask;
            let from_home = at.wrapping_sub(home) & self.mask;
            let from_hole = at.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.places[hole] = place;
                hole = at;
            }
        }
        self.places[hole].slot = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Hashes from a small set, so that probe sequences overlap and wrap.
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((any::<bool>(), 0u16..16, 0u32..40), 0..200)) {
            let mut index = Index::new(16);
            let mut model = BTreeMap::new();
            for (insert, slot, hash) in steps {
                match (insert, model.get(&slot).copied()) {
                    (true, None) => {
                        index.insert(hash, slot);
                        model.insert(slot, hash);
                    }
                    (false, Some(hash)) => {
                        index.remove(hash, slot);
                        model.remove(&slot);
                    }
                    _ => {}
                }
                for slot in 0..16 {
                    for hash in 0..40 {
                        let expected = (model.get(&slot) == Some(&hash)).then_some(slot);
                        prop_assert_eq!(index.find(hash, |s| s == slot), expected);
                    }
                }
            }
        }
    }
}
