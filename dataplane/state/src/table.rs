//! The per-core state table: a slab of states, a hash index over their keys, the timing wheel, and the flows in front of
//! them. One owner; fixed size; nothing is allocated after `new`.
//!
//! Who finds a state here finds it up to date: whatever finds, changes, sweeps or removes one asks its flow first.

mod flows;
mod followed;
mod sweep;

use followed::Followed;
use sweep::Upcoming;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use ruleset::Direction;

use crate::flow::{FlowTable, InFlow};
use crate::index::Index;
use crate::key::{HashSeed, Key, hash_within};
use crate::record::{Hold, HoldFlags, Removed, State, StateFlags, StateIdx};
use crate::ticks::TICKS_PER_S;
use crate::track::stamps::Stamps;
use crate::wheel::Wheel;

/// Words of a [`Hold`].
const HOLD_WORDS: usize = 7;

/// Why a state was not inserted. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InsertError {
    /// The slab is full.
    Full,
    /// A state with this key exists.
    Exists,
    /// No place within reach in the index: an extraordinary collision of hashes.
    NoPlace,
}

/// Room in the index for a state with certain keys, by their hashes.
#[derive(Clone, Copy, Debug)]
pub struct Vacancy {
    wire: u64,
    stack: u64,
}

/// States of one core.
pub struct StateTable {
    slab: Box<[State]>,
    /// What states count on, by their places. Words, because the system gives zeros that cost no memory until used.
    holds: Box<[[u32; HOLD_WORDS]]>,
    free: Vec<StateIdx>,
    index: Index,
    wheel: Wheel,
    seed: HashSeed,
    next_id: u64,
    removals: u64,
    upcoming: Upcoming,
    /// Where the next search for expired states begins.
    scan_at: usize,
    /// States that are gone and of which other cores still have to hear, linked through `timer_next`.
    departed: StateIdx,
    /// Timestamps of states that have them followed.
    followed: Box<Followed>,
    flows: FlowTable,
    /// By state: its flow, if it says that it has one.
    flow_of: Box<[u32]>,
}

/// How many states are made between the request for a place's lines and their use: half a microsecond or more.
const PLACES_AHEAD: usize = 3;

/// Entries that the index is made for, of which it takes twice as many. Usually a state has one key, and the index is less
/// than half full. Of a translated connection one state has two: if there are only such, 9 of 14 places are taken, and 3 of
/// 100 entries are not at home. (Half full even then is a power of two more for ten million states: 26 bytes for each.)
const fn index_for(states: usize) -> usize {
    states + states.div_ceil(6)
}

/// One state in so many can have its timestamps followed.
const STATES_PER_STAMPS: usize = 8;

impl StateTable {
    /// A table for `capacity` states. `id_base` goes into the upper bits of state ids, so that ids of different
    /// cores differ.
    pub fn new(capacity: usize, seed: HashSeed, id_base: u64, now_ms: u64) -> Self {
        let capacity = capacity.clamp(2, u32::MAX as usize - 1);
        StateTable {
            slab: vec![State::default(); capacity].into_boxed_slice(),
            holds: vec![[0; HOLD_WORDS]; capacity].into_boxed_slice(),
            free: (0..capacity as u32).rev().map(StateIdx).collect(),
            index: Index::new(index_for(capacity)),
            wheel: Wheel::new((now_ms / 1000) as u32),
            seed,
            next_id: id_base,
            removals: 0,
            upcoming: Upcoming::default(),
            scan_at: 0,
            followed: Box::new(Followed::new(capacity.div_ceil(STATES_PER_STAMPS))),
            departed: StateIdx::NONE,
            flows: FlowTable::new(capacity, seed),
            flow_of: vec![0; capacity].into_boxed_slice(),
        }
    }

    /// States in use.
    pub fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// True without states.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most states there can be.
    pub fn capacity(&self) -> usize {
        self.slab.len()
    }

    /// Hash of a key in this table.
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        key.hash(self.seed)
    }

    /// The same for a packet that comes in in a routing domain, by the hash that its ends have among flows.
    #[inline(always)]
    pub fn hash_within(&self, ends: u64, rdomain: u8) -> u64 {
        hash_within(ends, rdomain)
    }

    /// First step of a staged look-up: asks for the line of the index.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: which state it probably is. Asks for that state's lines.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<StateIdx> {
        let idx = StateIdx(self.index.guess(hash)?);
        self.prefetch(idx);
        // The state of the way in also says where the packet goes.
        if let Some(st) = self.slab.get(idx.0 as usize) {
            sync::cache::prefetch_at(st, core::mem::offset_of!(State, egress));
        }
        Some(idx)
    }

    /// Asks for the two lines of a state that every packet touches.
    #[inline]
    pub fn prefetch(&self, idx: StateIdx) {
        if let Some(st) = self.slab.get(idx.0 as usize) {
            sync::prefetch(st);
            sync::cache::prefetch_at(st, 64);
        }
    }

    /// Third step: the state with this key, trying `guess` first.
    #[inline]
    pub fn confirm(&mut self, guess: Option<StateIdx>, key: &Key, hash: u64) -> Option<StateIdx> {
        match guess {
            Some(idx) if self.slab[idx.0 as usize].wire == *key => {
                self.settle(idx);
                Some(idx)
            }
            None if self.index.is_clear(hash) => None,
            _ => self.find(key, hash),
        }
    }

    /// True only if no state has a key with this hash.
    #[inline]
    pub fn has_none(&self, hash: u64) -> bool {
        self.index.is_clear(hash)
    }

    /// The state of a packet that comes in with this key: the one that has it on the wire.
    #[inline]
    pub fn find(&mut self, key: &Key, hash: u64) -> Option<StateIdx> {
        let idx = self.search(hash, |st| is_on_wire(st, key))?;
        self.settle(idx);
        Some(idx)
    }

    /// The state of a packet that goes out with this key, before it is translated: the one that has it on the box's
    /// side.
    #[inline]
    pub fn find_stack(&mut self, key: &Key, hash: u64) -> Option<StateIdx> {
        let idx = self.search(hash, |st| is_on_stack(st, key))?;
        self.settle(idx);
        Some(idx)
    }

    /// The state of a packet that passes an interface in `direction` with this key.
    #[inline]
    pub fn find_way(&mut self, direction: Direction, key: &Key) -> Option<StateIdx> {
        match direction {
            Direction::In => self.find(key, self.hash(key)),
            Direction::Out => self.find_stack(key, self.hash(key)),
        }
    }

    /// Whether a packet that passes an interface in `direction` with this key has a state.
    #[inline]
    pub fn has_way(&self, direction: Direction, key: &Key) -> bool {
        let hash = self.hash(key);
        !self.index.is_clear(hash) && self.has_way_of(direction, key, hash)
    }

    #[inline(never)]
    fn has_way_of(&self, direction: Direction, key: &Key, hash: u64) -> bool {
        let found = match direction {
            Direction::In => self.search(hash, |st| is_on_wire(st, key)),
            Direction::Out => self.search(hash, |st| is_on_stack(st, key)),
        };
        found.is_some()
    }

    #[inline]
    fn search(&self, hash: u64, is_it: impl Fn(&State) -> bool) -> Option<StateIdx> {
        let found = self.index.find(hash, |n| is_it(&self.slab[n as usize]));
        found.map(StateIdx)
    }

    /// Whether any state has these ends, on either side and seen from either: whatever becomes of a packet with them on
    /// its way through the box, its states are here.
    pub fn has_ends(&self, key: &Key) -> bool {
        let has = |key: &Key| {
            let is_it = |st: &State| st.wire == *key || st.stack == *key;
            self.search(self.hash(key), is_it).is_some()
        };
        has(key) || has(&key.mirrored())
    }

    /// Room for a state with the keys of `st`, or the state that leaves none: packets that come in are told apart by the
    /// key on the wire, those that go out by the other one.
    #[inline]
    pub fn vacancy(&mut self, st: &State) -> Result<Vacancy, StateIdx> {
        let wire = self.hash(&st.wire);
        let (found, stack) = if st.wire == st.stack {
            let has_key = |other: &State| other.wire == st.wire || other.stack == st.wire;
            (self.search(wire, has_key), wire)
        } else {
            self.find_translated(st, wire)
        };
        match found {
            None => Ok(Vacancy { wire, stack }),
            Some(idx) => {
                self.settle(idx);
                Err(idx)
            }
        }
    }

    /// Room for a state whose only key this is, or the state that leaves none.
    #[inline]
    pub fn vacancy_for(&mut self, key: &Key) -> Result<Vacancy, StateIdx> {
        let hash = self.hash(key);
        match self.search(hash, |st| st.wire == *key || st.stack == *key) {
            None => Ok(Vacancy {
                wire: hash,
                stack: hash,
            }),
            Some(idx) => {
                self.settle(idx);
                Err(idx)
            }
        }
    }

    /// The state of a packet that passes an interface in `direction` with this key, whose hash is known. If there is none,
    /// perhaps the room for one with this key alone, as [`StateTable::vacancy_for`] finds it.
    #[inline]
    pub fn seek(
        &mut self,
        direction: Direction,
        key: &Key,
        hash: u64,
    ) -> Result<StateIdx, Option<Vacancy>> {
        if self.index.is_clear(hash) {
            return Err(Some(Vacancy {
                wire: hash,
                stack: hash,
            }));
        }
        let found = match direction {
            Direction::In => self.find(key, hash),
            Direction::Out => self.find_stack(key, hash),
        };
        found.ok_or(None)
    }

    /// A state that leaves no room for one with two keys, and the hash of the one on the box's side.
    #[inline(never)]
    fn find_translated(&self, st: &State, wire: u64) -> (Option<StateIdx>, u64) {
        let stack = self.hash(&st.stack);
        if self.index.is_clear(wire) && self.index.is_clear(stack) {
            return (None, stack);
        }
        let comes = |key: &Key, hash| self.search(hash, |other| is_on_wire(other, key));
        let leaves = |key: &Key, hash| self.search(hash, |other| is_on_stack(other, key));
        let mut found = comes(&st.wire, wire).or_else(|| leaves(&st.stack, stack));
        if found.is_none() && st.flags.contains(StateFlags::CHANGES_FAMILY) {
            // Packets of both families come in.
            found = comes(&st.stack, stack).or_else(|| leaves(&st.wire, wire));
        }
        (found, stack)
    }

    /// A state that is in use, and that was found by its key or by its pair: both are up to date then.
    #[inline]
    pub fn get(&self, idx: StateIdx) -> Option<&State> {
        let st = self.peek(idx)?;
        debug_assert!(st.flow != InFlow::Awake, "{idx:?} is not settled");
        Some(st)
    }

    /// A state that is in use and was found by its key or by its pair, writable. The key must not be changed.
    #[inline]
    pub fn get_mut(&mut self, idx: StateIdx) -> Option<&mut State> {
        let st = self.slab.get_mut(idx.0 as usize).filter(|st| st.used)?;
        debug_assert!(st.flow != InFlow::Awake, "{idx:?} is not settled");
        Some(st)
    }

    /// A state that is in use, for what does not change: its peers, counts and time may be behind its flow.
    #[inline]
    pub fn peek(&self, idx: StateIdx) -> Option<&State> {
        self.slab.get(idx.0 as usize).filter(|st| st.used)
    }

    /// What a state counts on.
    pub fn hold(&self, idx: StateIdx) -> Hold {
        match self.get(idx) {
            Some(st) if st.flags.contains(StateFlags::HOLDS) => {
                unpacked(self.holds[idx.0 as usize])
            }
            _ => Hold::default(),
        }
    }

    /// Changes what a state counts on.
    pub fn set_hold(&mut self, idx: StateIdx, hold: &Hold) {
        let Some(st) = self.get_mut(idx) else { return };
        st.flags.set(StateFlags::HOLDS, !hold.is_empty());
        self.holds[idx.0 as usize] = packed(hold);
    }

    /// Bytes that a table for `capacity` states takes, all in use.
    pub const fn bytes(capacity: usize) -> usize {
        let per_state = size_of::<State>()
            + size_of::<[u32; HOLD_WORDS]>()
            + size_of::<StateIdx>()
            + size_of::<u32>();
        let stamps = Followed::bytes(capacity.div_ceil(STATES_PER_STAMPS));
        capacity * per_state
            + stamps
            + Index::bytes(index_for(capacity))
            + FlowTable::bytes(capacity)
    }

    /// Inserts `st` if there is room, to be looked at again after `timeout_s` seconds. Fills in the id.
    pub fn insert(&mut self, st: &State, timeout_s: u32) -> Result<StateIdx, InsertError> {
        let room = self.vacancy(st).map_err(|_| InsertError::Exists)?;
        self.insert_at(room, st, timeout_s)
    }

    /// Inserts `st` where [`StateTable::vacancy`] found room for it; nothing was inserted since.
    pub fn insert_at(
        &mut self,
        room: Vacancy,
        st: &State,
        timeout_s: u32,
    ) -> Result<StateIdx, InsertError> {
        debug_assert!(self.vacancy(st).is_ok());
        let idx = *self.free.last().ok_or(InsertError::Full)?;
        if !self.index.insert(room.wire, idx.0) {
            return Err(InsertError::NoPlace);
        }
        if st.wire != st.stack && !self.index.insert(room.stack, idx.0) {
            self.index.remove(room.wire, idx.0);
            return Err(InsertError::NoPlace);
        }
        self.put(idx, timeout_s, || *st);
        Ok(idx)
    }

    /// Makes a state with one key where there is room for it; nothing was inserted since that was found. Written where it
    /// will lie.
    #[inline]
    pub fn insert_new(
        &mut self,
        room: Vacancy,
        timeout_s: u32,
        state: impl FnOnce() -> State,
    ) -> Result<StateIdx, InsertError> {
        let idx = *self.free.last().ok_or(InsertError::Full)?;
        if !self.index.insert(room.wire, idx.0) {
            return Err(InsertError::NoPlace);
        }
        self.put(idx, timeout_s, state);
        debug_assert!({
            let st = &self.slab[idx.0 as usize];
            let is_other = |other: &State| other.id != st.id;
            let has_key = |other: &State| other.wire == st.wire || other.stack == st.wire;
            st.wire == st.stack
                && room.wire == self.hash(&st.wire)
                && self
                    .search(room.wire, |other| is_other(other) && has_key(other))
                    .is_none()
        });
        Ok(idx)
    }

    /// A state takes the place that is free next.
    #[inline(always)]
    fn put(&mut self, idx: StateIdx, timeout_s: u32, state: impl FnOnce() -> State) {
        self.free.pop();
        self.prefetch_places();
        self.next_id += 1;
        let place = &mut self.slab[idx.0 as usize];
        *place = State {
            id: self.next_id,
            used: true,
            flow: InFlow::No,
            timer_slot: crate::wheel::NOWHERE,
            ..state()
        };
        let at_s = (place.last_seen / TICKS_PER_S).wrapping_add(timeout_s);
        self.wheel.hang(&mut self.slab, idx, at_s);
    }

    /// Asks for the lines of a place that a state will be put into soon.
    #[inline]
    fn prefetch_places(&self) {
        let soon = self.free.len().checked_sub(PLACES_AHEAD);
        let place = soon.and_then(|n| self.slab.get(self.free[n].0 as usize));
        if let Some(place) = place {
            place.prefetch_whole();
        }
    }

    /// Timestamps of a state are followed from now on. False if there is no room, or no such state.
    pub fn follow_stamps(&mut self, idx: StateIdx) -> bool {
        let is_new = |st: &State| st.stamps == State::NO_STAMPS;
        if !self.get(idx).is_some_and(is_new) {
            return false;
        }
        let Some(place) = self.followed.begin() else {
            return false;
        };
        self.slab[idx.0 as usize].stamps = place;
        true
    }

    /// A state in use with its timestamps, if they are followed.
    pub fn get_with_stamps(&mut self, idx: StateIdx) -> Option<(&mut State, &mut [Stamps; 2])> {
        let st = self.slab.get_mut(idx.0 as usize).filter(|st| st.used)?;
        let stamps = self.followed.get_mut(st.stamps)?;
        Some((st, stamps))
    }

    /// Ties the two states of one connection together.
    pub fn link(&mut self, a: StateIdx, b: StateIdx) {
        self.leave_flow(a);
        self.leave_flow(b);
        self.slab[a.0 as usize].pair = b;
        self.slab[b.0 as usize].pair = a;
    }

    /// Removes a state; gives it back for the last counts. Its pair stays, unlinked.
    pub fn remove(&mut self, idx: StateIdx) -> Option<Removed> {
        self.peek(idx)?;
        self.leave_flow(idx);
        let hold = self.hold(idx);
        self.leave_index(idx);
        self.wheel.unhang(&mut self.slab, idx);
        let st = &mut self.slab[idx.0 as usize];
        st.used = false;
        let (pair, stamps) = (st.pair, st.stamps);
        if st.flags.contains(StateFlags::KNOWN_ELSEWHERE) {
            st.timer_next = self.departed;
            self.departed = idx;
        } else {
            self.free.push(idx);
        }
        if let Some(pair) = pair.some() {
            self.slab[pair.0 as usize].pair = StateIdx::NONE;
        }
        if stamps != State::NO_STAMPS {
            self.followed.end(stamps);
        }
        self.removals += 1;
        let state = self.slab[idx.0 as usize];
        Some(Removed { state, hold })
    }

    fn leave_index(&mut self, idx: StateIdx) {
        let st = &self.slab[idx.0 as usize];
        let wire = self.hash(&st.wire);
        let stack = (st.wire != st.stack).then(|| self.hash(&st.stack));
        let removed = self.index.remove(wire, idx.0);
        debug_assert!(removed, "a state in use is in the index");
        if let Some(stack) = stack {
            self.index.remove(stack, idx.0);
        }
    }

    /// A state that was removed and of which other cores still have to hear. Its place stays taken until then, so that
    /// there are never more of them than states.
    pub fn departed(&self) -> Option<&State> {
        let idx = self.departed.some()?;
        Some(&self.slab[idx.0 as usize])
    }

    /// One of the things that others had to hear of the state that [`StateTable::departed`] shows has been said.
    pub fn departed_told(&mut self, what: StateFlags) {
        if let Some(idx) = self.departed.some() {
            self.slab[idx.0 as usize].flags.remove(what);
        }
    }

    /// They have heard of the state that [`StateTable::departed`] showed.
    pub fn forget_departed(&mut self) {
        if let Some(idx) = self.departed.some() {
            self.departed =
                core::mem::replace(&mut self.slab[idx.0 as usize].timer_next, StateIdx::NONE);
            self.free.push(idx);
        }
    }

    /// The timeout class of a state has changed: look at it after `timeout_s` seconds instead.
    pub fn requeue(&mut self, idx: StateIdx, timeout_s: u32) {
        let at_s = (self.slab[idx.0 as usize].last_seen / TICKS_PER_S).wrapping_add(timeout_s);
        self.wheel.unhang(&mut self.slab, idx);
        self.wheel.hang(&mut self.slab, idx, at_s);
    }

    /// States are known that [`StateTable::sweep`] has not had the time to look at.
    #[inline]
    pub fn has_due(&self, now_ms: u64) -> bool {
        !self.upcoming.is_empty() || self.wheel.has_due((now_ms / 1000) as u32)
    }

    /// States that were removed since the beginning. While this does not change, a place means the same state.
    #[inline]
    pub fn removals(&self) -> u64 {
        self.removals
    }

    /// The number of the state made last: later ones have higher numbers.
    pub fn last_id(&self) -> u64 {
        self.next_id
    }

    /// States in use from place `from` on, for listing in portions: (place, state), as they are now.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = (StateIdx, Cow<'_, State>)> {
        self.iter_in(from..self.slab.len())
    }

    /// The same of some places.
    pub fn iter_in(
        &self,
        places: Range<usize>,
    ) -> impl Iterator<Item = (StateIdx, Cow<'_, State>)> {
        self.peek_in(places).map(|(idx, st)| {
            if st.flow != InFlow::Awake {
                return (idx, Cow::Borrowed(st));
            }
            let mut st = *st;
            self.flows
                .peek(self.flow_of[idx.0 as usize])
                .add_to(&mut st);
            (idx, Cow::Owned(st))
        })
    }

    /// The same, for what does not change: peers, counts and time may be behind a flow.
    pub fn peek_in(&self, places: Range<usize>) -> impl Iterator<Item = (StateIdx, &State)> {
        let from = places.start;
        let some = self.slab.get(places).unwrap_or_default();
        let used = some.iter().enumerate().filter(|(_, st)| st.used);
        used.map(move |(n, st)| (StateIdx((from + n) as u32), st))
    }
}

/// A packet that comes in with this key belongs to the state.
#[inline]
fn is_on_wire(st: &State, key: &Key) -> bool {
    st.wire == *key || (st.stack == *key && st.flags.contains(StateFlags::CHANGES_FAMILY))
}

/// A packet that goes out with this key belongs to the state.
#[inline]
fn is_on_stack(st: &State, key: &Key) -> bool {
    st.stack == *key || (st.wire == *key && st.flags.contains(StateFlags::CHANGES_FAMILY))
}

fn packed(hold: &Hold) -> [u32; HOLD_WORDS] {
    let [a, b, c, d, e] = hold.nodes;
    let rest = u32::from(hold.flags.bits()) | u32::from(hold.state_limiter) << 8;
    [a, b, c, d, e, rest, hold.mapping]
}

fn unpacked([a, b, c, d, e, rest, mapping]: [u32; HOLD_WORDS]) -> Hold {
    Hold {
        nodes: [a, b, c, d, e],
        flags: HoldFlags::from_bits_retain(rest as u8),
        state_limiter: (rest >> 8) as u8,
        mapping,
    }
}

#[cfg(test)]
mod tests;
