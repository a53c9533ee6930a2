//! The per-core state table: a slab of states, a hash index over their keys, and the timing wheel. One owner;
//! fixed size; nothing is allocated after `new`.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ruleset::Direction;

use crate::index::Index;
use crate::key::{HashSeed, Key};
use crate::record::{Hold, HoldFlags, Removed, State, StateFlags, StateIdx};
use crate::track::stamps::Stamps;
use crate::wheel::Wheel;

/// Ticks of `last_seen` per second.
pub const TICKS_PER_S: u32 = 100;

/// Words of a [`Hold`].
const HOLD_WORDS: usize = 7;

/// `last_seen` for a time in milliseconds since start.
#[inline]
pub fn ticks(now_ms: u64) -> u32 {
    (now_ms / 10) as u32
}

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
    /// Where the next search for expired states begins.
    scan_at: usize,
    /// States that are gone and of which other cores still have to hear, linked through `timer_next`.
    departed: StateIdx,
    /// Timestamps of states that have them followed, and free places.
    stamps: Box<[[Stamps; 2]]>,
    stamps_free: Vec<u32>,
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
            index: Index::new(capacity),
            wheel: Wheel::new((now_ms / 1000) as u32),
            seed,
            next_id: id_base,
            scan_at: 0,
            stamps: vec![[Stamps::default(); 2]; capacity.div_ceil(STATES_PER_STAMPS)]
                .into_boxed_slice(),
            stamps_free: (0..capacity.div_ceil(STATES_PER_STAMPS) as u32).collect(),
            departed: StateIdx::NONE,
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

    /// First step of a staged look-up: asks for the line of the index.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: which state it probably is. Asks for that state's lines.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<StateIdx> {
        let idx = self.index.guess(hash)?;
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
    pub fn confirm(&self, guess: Option<StateIdx>, key: &Key, hash: u64) -> Option<StateIdx> {
        match guess {
            Some(idx) if self.slab[idx.0 as usize].wire == *key => Some(idx),
            _ => self.find(key, hash),
        }
    }

    /// The state of a packet that comes in with this key: the one that has it on the wire.
    pub fn find(&self, key: &Key, hash: u64) -> Option<StateIdx> {
        self.index.find(hash, |idx| {
            let st = &self.slab[idx.0 as usize];
            st.wire == *key || (st.stack == *key && st.flags.contains(StateFlags::CHANGES_FAMILY))
        })
    }

    /// The state of a packet that goes out with this key, before it is translated: the one that has it on the box's
    /// side.
    pub fn find_stack(&self, key: &Key, hash: u64) -> Option<StateIdx> {
        self.index.find(hash, |idx| {
            let st = &self.slab[idx.0 as usize];
            st.stack == *key || (st.wire == *key && st.flags.contains(StateFlags::CHANGES_FAMILY))
        })
    }

    /// The state of a packet that passes an interface in `direction` with this key.
    pub fn find_way(&self, direction: Direction, key: &Key) -> Option<StateIdx> {
        match direction {
            Direction::In => self.find(key, self.hash(key)),
            Direction::Out => self.find_stack(key, self.hash(key)),
        }
    }

    /// A state that leaves no room for one with the keys of `st`: packets that come in are told apart by the key on the
    /// wire, those that go out by the other one.
    pub fn in_the_way(&self, st: &State) -> Option<StateIdx> {
        self.find(&st.wire, self.hash(&st.wire))
            .or_else(|| self.find_stack(&st.stack, self.hash(&st.stack)))
    }

    /// A state that is in use.
    #[inline]
    pub fn get(&self, idx: StateIdx) -> Option<&State> {
        self.slab.get(idx.0 as usize).filter(|st| st.used)
    }

    /// A state that is in use, writable. The key must not be changed.
    #[inline]
    pub fn get_mut(&mut self, idx: StateIdx) -> Option<&mut State> {
        self.slab.get_mut(idx.0 as usize).filter(|st| st.used)
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
        let per_state = size_of::<State>() + size_of::<[u32; HOLD_WORDS]>() + size_of::<StateIdx>();
        let per_stamps = size_of::<[Stamps; 2]>() + size_of::<u32>();
        let stamps = capacity.div_ceil(STATES_PER_STAMPS) * per_stamps;
        capacity * per_state + stamps + Index::bytes(capacity)
    }

    /// Inserts `st`, to be looked at again after `timeout_s` seconds. Fills in the id.
    pub fn insert(&mut self, mut st: State, timeout_s: u32) -> Result<StateIdx, InsertError> {
        if self.in_the_way(&st).is_some() {
            return Err(InsertError::Exists);
        }
        let idx = *self.free.last().ok_or(InsertError::Full)?;
        let hash = self.hash(&st.wire);
        if !self.index.insert(hash, idx) {
            return Err(InsertError::NoPlace);
        }
        if st.wire != st.stack && !self.index.insert(self.hash(&st.stack), idx) {
            self.index.remove(hash, idx);
            return Err(InsertError::NoPlace);
        }
        self.free.pop();
        self.next_id += 1;
        st.id = self.next_id;
        st.used = true;
        st.timer_slot = crate::wheel::NOWHERE;
        let at_s = (st.last_seen / TICKS_PER_S).wrapping_add(timeout_s);
        self.slab[idx.0 as usize] = st;
        self.wheel.hang(&mut self.slab, idx, at_s);
        Ok(idx)
    }

    /// Timestamps of a state are followed from now on. False if there is no room, or no such state.
    pub fn follow_stamps(&mut self, idx: StateIdx) -> bool {
        let is_new = |st: &State| st.stamps == State::NO_STAMPS;
        if !self.get(idx).is_some_and(is_new) {
            return false;
        }
        let Some(place) = self.stamps_free.pop() else {
            return false;
        };
        self.stamps[place as usize] = [Stamps::default(); 2];
        self.slab[idx.0 as usize].stamps = place;
        true
    }

    /// A state in use with its timestamps, if they are followed.
    pub fn get_with_stamps(&mut self, idx: StateIdx) -> Option<(&mut State, &mut [Stamps; 2])> {
        let st = self.slab.get_mut(idx.0 as usize).filter(|st| st.used)?;
        let stamps = self.stamps.get_mut(st.stamps as usize)?;
        Some((st, stamps))
    }

    /// Ties the two states of one connection together.
    pub fn link(&mut self, a: StateIdx, b: StateIdx) {
        self.slab[a.0 as usize].pair = b;
        self.slab[b.0 as usize].pair = a;
    }

    /// Removes a state; gives it back for the last counts. Its pair stays, unlinked.
    pub fn remove(&mut self, idx: StateIdx) -> Option<Removed> {
        let st = self.get(idx)?.clone();
        let hold = self.hold(idx);
        let removed = self.index.remove(self.hash(&st.wire), idx);
        debug_assert!(removed, "a state in use is in the index");
        if st.wire != st.stack {
            self.index.remove(self.hash(&st.stack), idx);
        }
        self.wheel.unhang(&mut self.slab, idx);
        if let Some(pair) = st.pair.some() {
            self.slab[pair.0 as usize].pair = StateIdx::NONE;
        }
        self.slab[idx.0 as usize].used = false;
        if st.stamps != State::NO_STAMPS {
            self.stamps_free.push(st.stamps);
        }
        if st.flags.contains(StateFlags::KNOWN_ELSEWHERE) {
            self.slab[idx.0 as usize].timer_next = self.departed;
            self.departed = idx;
        } else {
            self.free.push(idx);
        }
        Some(Removed { state: st, hold })
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

    /// Looks at up to `budget` states whose time has come: purges those for which nothing came within their
    /// timeout, and hangs up the others again. Returns how many were looked at.
    pub fn sweep(
        &mut self,
        now_ms: u64,
        budget: usize,
        timeout_s: impl Fn(&State) -> u32,
        mut purged: impl FnMut(Removed),
    ) -> usize {
        /// Seconds of lag made good in one call; more than a turn ever lasts.
        const CATCH_UP_S: u32 = 64;
        self.wheel.advance((now_ms / 1000) as u32, CATCH_UP_S);
        let now = ticks(now_ms);
        for looked_at in 0..budget {
            let Some(idx) = self.wheel.next_due(&mut self.slab) else {
                return looked_at;
            };
            let st = &self.slab[idx.0 as usize];
            let timeout = timeout_s(st);
            if has_expired(st, now, timeout) {
                if let Some(st) = self.remove(idx) {
                    purged(st);
                }
            } else {
                let at_s = (st.last_seen / TICKS_PER_S)
                    .wrapping_add(timeout)
                    .wrapping_add(1);
                self.wheel.hang(&mut self.slab, idx, at_s);
            }
        }
        budget
    }

    /// States are known that [`StateTable::sweep`] has not had the time to look at.
    #[inline]
    pub fn has_due(&self, now_ms: u64) -> bool {
        self.wheel.has_due((now_ms / 1000) as u32)
    }

    /// Looks at the next `places` of the table, round and round, and purges what has expired. For when lives have
    /// grown shorter than they were when the states were hung up to be looked at.
    pub fn scan(
        &mut self,
        now_ms: u64,
        places: usize,
        timeout_s: impl Fn(&State) -> u32,
        mut purged: impl FnMut(Removed),
    ) {
        let now = ticks(now_ms);
        for _ in 0..places.min(self.slab.len()) {
            let idx = StateIdx(self.scan_at as u32);
            self.scan_at = (self.scan_at + 1) % self.slab.len();
            let st = &self.slab[idx.0 as usize];
            if st.used
                && has_expired(st, now, timeout_s(st))
                && let Some(st) = self.remove(idx)
            {
                purged(st);
            }
        }
    }

    /// The number of the state made last: later ones have higher numbers.
    pub fn last_id(&self) -> u64 {
        self.next_id
    }

    /// States in use from place `from` on, for listing in portions: (place, state).
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = (StateIdx, &State)> {
        self.slab
            .iter()
            .enumerate()
            .skip(from)
            .filter(|(_, st)| st.used)
            .map(|(n, st)| (StateIdx(n as u32), st))
    }
}

fn has_expired(st: &State, now: u32, timeout_s: u32) -> bool {
    let idle = now.wrapping_sub(st.last_seen);
    u64::from(idle) >= u64::from(timeout_s) * u64::from(TICKS_PER_S)
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
mod tests {
    use super::*;
    use ruleset::{Af, Direction, Timeout};

    fn key(n: u32) -> Key {
        Key::new(Direction::In, Af::Inet, 17, (u128::from(n), 1), (7, 53))
    }

    fn state(n: u32, now_ms: u64) -> State {
        State {
            wire: key(n),
            stack: key(n),
            last_seen: ticks(now_ms),
            timeout: Timeout::UdpFirst,
            ..State::default()
        }
    }

    fn table(capacity: usize) -> StateTable {
        StateTable::new(capacity, HashSeed(42), 0, 0)
    }

    #[test]
    fn what_was_inserted_is_found_until_it_is_removed() {
        let mut t = table(1000);
        let idx: Vec<StateIdx> = (0..1000)
            .map(|n| t.insert(state(n, 0), 60).unwrap())
            .collect();
        assert_eq!(t.insert(state(5, 0), 60), Err(InsertError::Exists));
        assert_eq!(t.insert(state(5000, 0), 60), Err(InsertError::Full));
        for n in 0..1000 {
            let h = t.hash(&key(n));
            assert_eq!(t.find(&key(n), h), Some(idx[n as usize]));
            assert_eq!(t.confirm(t.guess(h), &key(n), h), Some(idx[n as usize]));
        }
        for (n, idx) in idx.into_iter().enumerate() {
            assert_eq!(t.remove(idx).unwrap().wire, key(n as u32));
            assert!(t.remove(idx).is_none());
        }
        assert!(t.is_empty());
        assert!(t.insert(state(5000, 0), 60).is_ok());
    }

    #[test]
    fn a_removed_state_leaves_its_pair_unlinked() {
        let mut t = table(8);
        let (a, b) = (
            t.insert(state(1, 0), 60).unwrap(),
            t.insert(state(2, 0), 60).unwrap(),
        );
        t.link(a, b);
        assert_eq!(t.get(a).unwrap().pair, b);
        t.remove(a);
        assert_eq!(t.get(b).unwrap().pair, StateIdx::NONE);
    }

    #[test]
    fn a_translated_state_is_found_by_either_key_and_only_its_way() {
        let mut t = table(8);
        let (wire, stack) = (key(1), key(2));
        let translated = State {
            wire,
            stack,
            ..state(1, 0)
        };
        let idx = t.insert(translated.clone(), 60).unwrap();
        assert_eq!(t.find_way(Direction::In, &wire), Some(idx));
        assert_eq!(t.find_way(Direction::Out, &stack), Some(idx));
        assert_eq!(t.find_way(Direction::In, &stack), None);
        assert_eq!(t.find_way(Direction::Out, &wire), None);
        // Either key alone stands in the way of a state that wants it for the same packets.
        assert_eq!(t.insert(state(1, 0), 60), Err(InsertError::Exists));
        assert_eq!(t.insert(state(2, 0), 60), Err(InsertError::Exists));
        let crossed = State {
            wire: stack,
            stack: wire,
            ..translated
        };
        let crossed = t.insert(crossed, 60).unwrap();
        t.remove(idx);
        t.remove(crossed);
        assert!(t.is_empty() && t.insert(state(1, 0), 60).is_ok());
    }

    #[test]
    fn a_departed_state_keeps_its_place_until_others_have_heard() {
        let mut t = table(2);
        for n in 0..2 {
            let known = State {
                flags: StateFlags::KNOWN_ELSEWHERE,
                ..state(n, 0)
            };
            let idx = t.insert(known, 60).unwrap();
            t.remove(idx);
        }
        assert_eq!(t.insert(state(5, 0), 60), Err(InsertError::Full));
        assert_eq!(t.departed().map(|st| st.wire), Some(key(1)));
        t.forget_departed();
        assert!(t.insert(state(5, 0), 60).is_ok());
        t.forget_departed();
        assert!(t.departed().is_none());
    }

    #[test]
    fn what_a_state_counts_on_goes_with_it_and_not_to_the_next() {
        let mut t = table(8);
        let idx = t.insert(state(1, 0), 60).unwrap();
        let hold = Hold {
            nodes: [1, 2, 3, 4, 5],
            flags: HoldFlags::CONNECTED,
            state_limiter: 255,
            mapping: 77,
        };
        t.set_hold(idx, &hold);
        assert_eq!(t.hold(idx), hold);
        assert_eq!(t.remove(idx).unwrap().hold, hold);
        let next = t.insert(state(2, 0), 60).unwrap();
        assert_eq!((next, t.hold(next)), (idx, Hold::default()));
    }

    /// The promise, which `sizing` of the program relies on.
    #[test]
    fn ten_million_states_take_less_than_six_gibibytes() {
        let bytes = StateTable::bytes(10_000_000);
        assert!(bytes < 6 << 30, "{bytes}");
        assert!(bytes > 10_000_000 * size_of::<State>());
    }

    fn run_until(t: &mut StateTable, from_ms: u64, to_ms: u64, timeout_s: u32) -> Vec<(u64, Key)> {
        let mut gone = Vec::new();
        for now in (from_ms..=to_ms).step_by(250) {
            t.sweep(now, 1000, |_| timeout_s, |st| gone.push((now, st.wire)));
        }
        gone
    }

    #[test]
    fn a_state_expires_within_two_seconds_after_its_timeout_and_never_before() {
        for timeout in [0, 1, 10, 255, 256, 257, 900, 86_400] {
            let mut t = table(8);
            t.insert(state(1, 0), timeout).unwrap();
            let end = u64::from(timeout) * 1000 + 3000;
            let gone = run_until(&mut t, 0, end, timeout);
            assert_eq!(gone.len(), 1, "timeout {timeout}");
            let late = gone[0].0 - u64::from(timeout) * 1000;
            assert!(late <= 2000, "timeout {timeout}: {late} ms late");
        }
    }

    #[test]
    fn traffic_keeps_a_state_alive_without_touching_the_wheel() {
        let mut t = table(8);
        let idx = t.insert(state(1, 0), 10).unwrap();
        for now in (0..60_000).step_by(500) {
            t.get_mut(idx).unwrap().last_seen = ticks(now);
            t.sweep(now, 10, |_| 10, |_| panic!("purged at {now}"));
        }
        let gone = run_until(&mut t, 60_000, 80_000, 10);
        assert_eq!(gone.len(), 1);
        assert!((69_500..=71_500).contains(&gone[0].0), "{}", gone[0].0);
    }

    #[test]
    fn a_shorter_timeout_takes_effect_when_requeued() {
        let mut t = table(8);
        let idx = t.insert(state(1, 0), 86_400).unwrap();
        t.requeue(idx, 5);
        assert_eq!(run_until(&mut t, 0, 8000, 5).len(), 1);
    }

    #[test]
    fn places_for_timestamps_are_given_back_with_their_states() {
        let mut t = table(16);
        for n in 0..100 {
            let idx = t.insert(state(n, 0), 60).unwrap();
            assert!(t.follow_stamps(idx), "{n}");
            assert!(!t.follow_stamps(idx), "{n}");
            assert!(t.get_with_stamps(idx).is_some());
            t.remove(idx);
            assert!(t.get_with_stamps(idx).is_none());
        }
        // One state in eight, and no more.
        let all: Vec<_> = (0..3).map(|n| t.insert(state(n, 0), 60).unwrap()).collect();
        assert_eq!(
            all.iter().map(|i| t.follow_stamps(*i)).collect::<Vec<_>>(),
            [true, true, false]
        );
        assert!(t.get_with_stamps(all[2]).is_none());
    }

    #[test]
    fn a_scan_finds_what_expires_sooner_than_it_was_hung_up_for() {
        let mut t = table(10);
        for n in 0..10 {
            t.insert(state(n, 0), 86_400).unwrap();
        }
        let mut gone = 0;
        t.scan(4_999, 10, |_| 5, |_| gone += 1);
        assert_eq!(gone, 0);
        // Three at a time, round and round.
        for expect in [3, 6, 9, 10, 10] {
            t.scan(5_000, 3, |_| 5, |_| gone += 1);
            assert_eq!(gone, expect);
        }
        assert!(t.is_empty());
    }

    #[test]
    fn a_sweep_keeps_its_budget_and_loses_nothing() {
        let mut t = table(10_000);
        for n in 0..10_000 {
            t.insert(state(n, 0), 300).unwrap();
        }
        let mut purged = 0;
        let mut now = 0;
        while !t.is_empty() {
            now += 100;
            let mut in_this_turn = 0;
            let looked_at = t.sweep(now, 64, |_| 300, |_| in_this_turn += 1);
            assert!(looked_at <= 64 && in_this_turn <= 64);
            purged += in_this_turn;
            assert!(now < 400_000, "{} left", t.len());
        }
        assert_eq!(purged, 10_000);
    }

    #[test]
    fn random_operations_agree_with_a_map() {
        let mut seed = 0xfeed_beef_1234_5678u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut t = table(500);
        let mut model = std::collections::HashMap::new();
        let mut now = 0;
        for step in 0..100_000u32 {
            let n = (next() % 800) as u32;
            match next() % 4 {
                0 | 1 => match t.insert(state(n, now), (next() % 400) as u32) {
                    Ok(idx) => assert!(model.insert(n, idx).is_none(), "step {step}"),
                    Err(InsertError::Exists) => assert!(model.contains_key(&n)),
                    Err(e) => assert_eq!((e, model.len()), (InsertError::Full, 500)),
                },
                2 => {
                    let idx = t.find(&key(n), t.hash(&key(n)));
                    assert_eq!(idx, model.remove(&n), "step {step}");
                    if let Some(idx) = idx {
                        t.remove(idx);
                    }
                }
                _ => {
                    now += next() % 500;
                    t.sweep(
                        now,
                        8,
                        |_| 100,
                        |st| {
                            model.remove(&(st.wire.end(0).0 as u32));
                        },
                    );
                }
            }
            assert_eq!(t.len(), model.len(), "step {step}");
        }
    }
}
