//! Timestamps of the states that have them followed, a pair for a place. Few boxes follow any, so memory is reserved and
//! not touched until a place is taken; nothing is allocated after `new`.

use alloc::vec::Vec;

use crate::track::stamps::Stamps;

/// Both sides of a connection.
type Pair = [Stamps; 2];

/// Places for pairs.
pub(super) struct Followed {
    /// As many as were ever taken at once.
    pairs: Vec<Pair>,
    /// Places of these that are free.
    free: Vec<u32>,
    /// Most there can be.
    most: usize,
}

impl Followed {
    /// Room for `most` pairs.
    pub(super) fn new(most: usize) -> Self {
        Followed {
            pairs: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
            most,
        }
    }

    /// Bytes of room for `most` pairs, all in use.
    pub(super) const fn bytes(most: usize) -> usize {
        most * (size_of::<Pair>() + size_of::<u32>())
    }

    /// A place with a new pair; none if there is no room.
    pub(super) fn begin(&mut self) -> Option<u32> {
        let new = Pair::default();
        if let Some(place) = self.free.pop() {
            self.pairs[place as usize] = new;
            return Some(place);
        }
        let place = self.pairs.len();
        let is_room = place < self.most;
        is_room.then(|| {
            self.pairs.push(new);
            place as u32
        })
    }

    /// What is at a place that was taken.
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Pair> {
        self.pairs.get_mut(place as usize)
    }

    /// Gives a place back.
    pub(super) fn end(&mut self, place: u32) {
        self.free.push(place);
    }
}
