//! Which interface has the frames with a tag on another interface. Tags and interfaces come as numbers.

use alloc::boxed::Box;

use super::kind::Tpid;
use crate::kif::InterfaceId;

/// Interfaces of tags on interfaces: a table with open addressing, at most half full, eight bytes a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    places: Box<[(u32, InterfaceId)]>,
}

/// No tag.
const FREE: u32 = u32::MAX;

impl Children {
    pub(super) fn with_room(count: usize) -> Self {
        let places = match count {
            0 => 0,
            count => (count * 2).next_power_of_two(),
        };
        Children {
            places: alloc::vec![(FREE, InterfaceId(0)); places].into_boxed_slice(),
        }
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    #[inline]
    pub(super) fn find(&self, parent: InterfaceId, tpid: Tpid, vid: u16) -> Option<InterfaceId> {
        let key = key_of(parent, tpid, vid);
        let mask = self.places.len().checked_sub(1)?;
        let mut at = start(key) & mask;
        loop {
            let (found, id) = *self.places.get(at)?;
            if found == key {
                return Some(id);
            }
            if found == FREE {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    /// False if the tag is taken.
    pub(super) fn insert(
        &mut self,
        parent: InterfaceId,
        tpid: Tpid,
        vid: u16,
        id: InterfaceId,
    ) -> bool {
        let key = key_of(parent, tpid, vid);
        let Some(mask) = self.places.len().checked_sub(1) else {
            return false;
        };
        let mut at = start(key) & mask;
        while self.places[at].0 != FREE {
            if self.places[at].0 == key {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.places[at] = (key, id);
        true
    }
}

#[inline]
fn key_of(parent: InterfaceId, tpid: Tpid, vid: u16) -> u32 {
    u32::from(parent.0) << 13 | (tpid as u32) << 12 | u32::from(vid)
}

/// Fibonacci hashing: neighbors in key are spread.
#[inline]
fn start(key: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> 12) as usize
}
