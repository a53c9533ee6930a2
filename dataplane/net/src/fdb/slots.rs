//! A map from a station of a bridge to 64 bits: open addressing with linear probing. Half of the places stay empty, so a
//! search ends soon; the memory is taken once.

use alloc::vec::Vec;

/// Key in the upper half, value in the lower; 0 is empty.
type Slot = u128;

/// The map. Keys are never 0.
pub(super) struct Slots {
    slots: Vec<Slot>,
    mask: usize,
    len: usize,
    seed: u64,
}

impl Slots {
    /// Room for `capacity` keys, rounded up to a power of two. `seed` keeps strangers from choosing keys that collide.
    pub(super) fn new(capacity: usize, seed: u64) -> Slots {
        let size = (capacity.max(1) * 2).next_power_of_two();
        Slots {
            slots: alloc::vec![0; size],
            mask: size - 1,
            len: 0,
            seed,
        }
    }

    /// Keys in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether no more fit.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.slots.len() / 2
    }

    /// Places, with keys and without.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// The place after another, round about.
    pub(super) fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask
    }

    /// Key and value at a place.
    pub(super) fn at(&self, at: usize) -> Option<(u64, u64)> {
        let slot = self.slots[at];
        (slot != 0).then_some(((slot >> 64) as u64, slot as u64))
    }

    /// Where a key is, or the empty place where it would go.
    #[inline]
    pub(super) fn position(&self, key: u64) -> Result<usize, usize> {
        let mut at = self.home(key);
        loop {
            match (self.slots[at] >> 64) as u64 {
                found if found == key => return Ok(at),
                0 => return Err(at),
                _ => at = (at + 1) & self.mask,
            }
        }
    }

    /// Another value for the key at a place.
    pub(super) fn set(&mut self, at: usize, value: u64) {
        let key = self.slots[at] >> 64 << 64;
        self.slots[at] = key | u128::from(value);
    }

    /// A new key at the empty place that [`Slots::position`] gave for it. There must be room.
    pub(super) fn insert(&mut self, at: usize, key: u64, value: u64) {
        debug_assert!(key != 0 && self.slots[at] == 0 && !self.is_full());
        self.slots[at] = u128::from(key) << 64 | u128::from(value);
        self.len += 1;
    }

    /// Empties a place; those after it that would not be found any more move up.
    pub(super) fn remove(&mut self, at: usize) {
        self.len -= 1;
        let mut hole = at;
        let mut next = at;
        loop {
            next = (next + 1) & self.mask;
            let slot = self.slots[next];
            if slot == 0 {
                break;
            }
            let home = self.home((slot >> 64) as u64);
            // It stays if its home lies behind the hole.
            let from_home = next.wrapping_sub(home) & self.mask;
            let from_hole = next.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = 0;
    }

    /// Keys and values in `count` places from `from` on, and the place of each.
    pub(super) fn iter_in(
        &self,
        from: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, u64, u64)> {
        let some = self.slots.iter().enumerate().skip(from).take(count);
        some.filter(|(_, slot)| **slot != 0)
            .map(|(at, slot)| (at, (*slot >> 64) as u64, *slot as u64))
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        // The two halves of a product depend on all bits of both factors.
        let product = u128::from(key ^ self.seed) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        ((product >> 64) as u64 ^ product as u64) as usize & self.mask
    }
}
