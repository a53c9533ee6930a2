//! Packets that wait for their neighbors: one pool, in which they are queued twice, by neighbor and all together, the
//! oldest first.
//!
//! Knows slots of entries, not what they are of. Nothing is allocated after [`Pool::new`].

use alloc::vec::Vec;

/// No place.
const NONE: u16 = u16::MAX;

/// The packets of one neighbor, oldest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    first: u16,
    last: u16,
    len: u16,
}

impl Queue {
    /// One without packets.
    pub(super) const EMPTY: Queue = Queue {
        first: NONE,
        last: NONE,
        len: 0,
    };

    /// Packets in it.
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[derive(Debug)]
struct Place<P> {
    packet: Option<P>,
    /// Whose queue it is in.
    slot: u16,
    /// Behind it in that queue.
    next: u16,
    /// Its neighbors among all that wait; `newer` also links the free places.
    older: u16,
    newer: u16,
}

/// The pool.
#[derive(Debug)]
pub(super) struct Pool<P> {
    places: Vec<Place<P>>,
    free: u16,
    oldest: u16,
    newest: u16,
    len: usize,
}

impl<P> Pool<P> {
    /// Room for `capacity` packets, fewer than 65535.
    pub(super) fn new(capacity: u16) -> Pool<P> {
        let capacity = capacity.min(NONE - 1);
        let link = |n: u16| if n + 1 < capacity { n + 1 } else { NONE };
        let place = |n| Place {
            packet: None,
            slot: NONE,
            next: NONE,
            older: NONE,
            newer: link(n),
        };
        Pool {
            places: (0..capacity).map(place).collect(),
            free: if capacity > 0 { 0 } else { NONE },
            oldest: NONE,
            newest: NONE,
            len: 0,
        }
    }

    /// Packets that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// There is no room for another packet.
    pub(super) fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// The entry whose queue begins with the packet that has waited longest.
    pub(super) fn slot_of_oldest(&self) -> Option<u16> {
        Some(self.place(self.oldest)?.slot)
    }

    /// Puts a packet at the end of the queue of `slot`. Gives it back if there is no room.
    pub(super) fn push(&mut self, queue: &mut Queue, slot: u16, packet: P) -> Result<(), P> {
        let at = self.free;
        let (older, before) = (self.newest, queue.last);
        let Some(place) = self.places.get_mut(usize::from(at)) else {
            return Err(packet);
        };
        self.free = place.newer;
        *place = Place {
            packet: Some(packet),
            slot,
            next: NONE,
            older,
            newer: NONE,
        };
        match self.place_mut(older) {
            Some(place) => place.newer = at,
            None => self.oldest = at,
        }
        match self.place_mut(before) {
            Some(place) => place.next = at,
            None => queue.first = at,
        }
        (self.newest, queue.last) = (at, at);
        queue.len += 1;
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest packet of a queue.
    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<P> {
        let (at, free) = (queue.first, self.free);
        let place = self.place_mut(at)?;
        let packet = place.packet.take()?;
        let (next, older, newer) = (place.next, place.older, place.newer);
        place.newer = free;
        self.free = at;
        match self.place_mut(older) {
            Some(place) => place.newer = newer,
            None => self.oldest = newer,
        }
        match self.place_mut(newer) {
            Some(place) => place.older = older,
            None => self.newest = older,
        }
        queue.first = next;
        if next == NONE {
            queue.last = NONE;
        }
        queue.len -= 1;
        self.len -= 1;
        Some(packet)
    }

    fn place(&self, at: u16) -> Option<&Place<P>> {
        self.places.get(usize::from(at))
    }

    fn place_mut(&mut self, at: u16) -> Option<&mut Place<P>> {
        self.places.get_mut(usize::from(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;

    /// xorshift64*: the sequence of a seed is the same everywhere.
    fn random(state: &mut u64, below: u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    /// Against queues of the standard library: every packet comes out once, in order, and the oldest of all is known.
    #[test]
    fn equals_simple_queues() {
        const QUEUES: usize = 5;
        const CAPACITY: u16 = 7;
        let seed = 0x5eed;
        let mut state = seed;
        let mut pool: Pool<u32> = Pool::new(CAPACITY);
        let mut queues = [Queue::EMPTY; QUEUES];
        let mut model: [VecDeque<u32>; QUEUES] = Default::default();
        for packet in 0..20_000 {
            let n = random(&mut state, QUEUES as u64) as usize;
            let total: usize = model.iter().map(VecDeque::len).sum();
            assert_eq!(
                (pool.len(), pool.is_full()),
                (total, total == usize::from(CAPACITY)),
                "seed {seed:#x}"
            );
            if random(&mut state, 9) < 5 {
                let pushed = pool.push(&mut queues[n], n as u16, packet);
                assert_eq!(pushed.is_ok(), total < usize::from(CAPACITY));
                if pushed.is_ok() {
                    model[n].push_back(packet);
                }
            } else {
                assert_eq!(pool.pop(&mut queues[n]), model[n].pop_front());
            }
            let oldest = (0..QUEUES).filter_map(|n| Some((*model[n].front()?, n as u16)));
            assert_eq!(pool.slot_of_oldest(), oldest.min().map(|(_, slot)| slot));
            assert_eq!(queues[n].len(), model[n].len());
            assert_eq!(queues[n].is_empty(), model[n].is_empty());
        }
    }

    #[test]
    fn without_room_nothing_waits() {
        let mut pool: Pool<u32> = Pool::new(0);
        let mut queue = Queue::EMPTY;
        assert!(pool.is_full());
        assert_eq!(pool.push(&mut queue, 0, 1), Err(1));
        assert_eq!((pool.pop(&mut queue), pool.slot_of_oldest()), (None, None));
    }
}
