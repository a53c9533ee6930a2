//! Taking states out whose time is over, a little in every turn. Each of them is in no cache, so they are looked at by
//! the chunk, and each step asks the cache for what the next one needs, of all of them: the states, then what they lead
//! to, then what that leads to. Which state is next on a list only the one before it knows; so while a chunk is looked
//! at the next one is found, state by state, and asked for. It waits for the next turn.

use crate::flow::InFlow;
use crate::record::{Removed, State, StateIdx};
use crate::table::{StateTable, TICKS_PER_S, ticks};
use crate::wheel::NOWHERE;

/// States that a sweep looks at together.
const CHUNK: usize = 16;
/// States found ahead: a chunk. (A power of two for the queue, which holds as many.)
pub(super) const UPCOMING: usize = CHUNK;
/// Places that a scan asks the cache for ahead of the one it looks at.
const SCAN_AHEAD: usize = 16;
/// Seconds of lag made good in one call; more than a turn ever lasts.
const CATCH_UP_S: u32 = 64;

impl StateTable {
    /// Looks at up to `budget` states whose time has come: purges those for which nothing came within their
    /// timeout, and hangs up the others again. Returns how many were looked at.
    pub fn sweep(
        &mut self,
        now_ms: u64,
        budget: usize,
        timeout_s: impl Fn(&State) -> u32,
        mut purged: impl FnMut(Removed),
    ) -> usize {
        self.wheel.advance((now_ms / 1000) as u32, CATCH_UP_S);
        let now = ticks(now_ms);
        let mut looked_at = 0;
        while looked_at < budget {
            let chunk = self.next_chunk(budget - looked_at);
            if chunk.is_empty() {
                break;
            }
            looked_at += chunk.len();
            chunk.iter().for_each(|idx| self.prefetch_around(*idx));
            chunk.iter().for_each(|idx| self.prefetch_flow_index(*idx));
            for idx in chunk {
                self.find_one();
                if let Some(gone) = self.look_at(idx, now, &timeout_s) {
                    purged(gone);
                }
            }
        }
        looked_at
    }

    /// States that are due, as many as are looked at together, and up to `most`.
    fn next_chunk(&mut self, most: usize) -> heapless::Vec<StateIdx, CHUNK> {
        while self.upcoming.len() < most.min(CHUNK) && self.find_one() {}
        let mut chunk = heapless::Vec::new();
        while chunk.len() < most.min(CHUNK)
            && let Some(idx) = self.upcoming.pop_front()
        {
            // There is room.
            chunk.push(idx).ok();
        }
        chunk
    }

    /// Takes one more state off its list. False if there is none, or no room.
    fn find_one(&mut self) -> bool {
        if self.upcoming.is_full() {
            return false;
        }
        let Some(idx) = self.wheel.next_due(&mut self.slab) else {
            return false;
        };
        self.prefetch_whole(idx);
        self.upcoming.push_back(idx).is_ok()
    }

    /// A state whose time may have come. One that hangs in a list was made or looked at since it was found.
    fn look_at(
        &mut self,
        idx: StateIdx,
        now: u32,
        timeout_s: impl Fn(&State) -> u32,
    ) -> Option<Removed> {
        let st = &self.slab[idx.0 as usize];
        if !st.used || st.timer_slot != NOWHERE {
            return None;
        }
        if st.flow == InFlow::Awake {
            self.write_back(self.flow_of[idx.0 as usize]);
        }
        let st = &self.slab[idx.0 as usize];
        let timeout = timeout_s(st);
        if has_expired(st, now, timeout) {
            return self.remove(idx);
        }
        let at_s = (st.last_seen / TICKS_PER_S)
            .wrapping_add(timeout)
            .wrapping_add(1);
        self.wheel.hang(&mut self.slab, idx, at_s);
        None
    }

    /// Asks for all that a state itself is.
    fn prefetch_whole(&self, idx: StateIdx) {
        let n = idx.0 as usize;
        let (Some(st), Some(flow)) = (self.slab.get(n), self.flow_of.get(n)) else {
            return;
        };
        st.prefetch_whole();
        sync::prefetch(flow);
    }

    /// Asks for what a removal touches beside the state: lines of the index, its pair, its flow.
    fn prefetch_around(&self, idx: StateIdx) {
        let st = &self.slab[idx.0 as usize];
        self.index.prefetch(self.hash(&st.wire));
        if st.wire != st.stack {
            self.index.prefetch(self.hash(&st.stack));
        }
        self.prefetch(st.pair);
        if st.flow != InFlow::No {
            self.flows.prefetch(self.flow_of[idx.0 as usize]);
        }
    }

    /// Asks for the lines in which the flow of a state is indexed.
    fn prefetch_flow_index(&self, idx: StateIdx) {
        if self.slab[idx.0 as usize].flow != InFlow::No {
            self.flows.prefetch_index(self.flow_of[idx.0 as usize]);
        }
    }

    /// Looks at the next `places` of the table, round and round, and purges what has expired, until it has purged `most`.
    /// For when lives have grown shorter than they were when the states were hung up to be looked at. Returns how many
    /// places were looked at.
    pub fn scan(
        &mut self,
        now_ms: u64,
        places: usize,
        most: usize,
        timeout_s: impl Fn(&State) -> u32,
        mut purged: impl FnMut(Removed),
    ) -> usize {
        let now = ticks(now_ms);
        let places = places.min(self.slab.len());
        let mut left = most;
        for looked_at in 0..places {
            if left == 0 {
                return looked_at;
            }
            let at = self.scan_at;
            self.scan_at = (at + 1) % self.slab.len();
            if let Some(st) = self.slab.get(at + SCAN_AHEAD) {
                sync::prefetch(st);
            }
            if let Some(gone) = self.purge_expired(StateIdx(at as u32), now, &timeout_s) {
                left -= 1;
                purged(gone);
            }
        }
        places
    }

    fn purge_expired(
        &mut self,
        idx: StateIdx,
        now: u32,
        timeout_s: impl Fn(&State) -> u32,
    ) -> Option<Removed> {
        let expires = |st: &State| st.used && has_expired(st, now, timeout_s(st));
        if !expires(&self.slab[idx.0 as usize]) {
            return None;
        }
        // By what the state says; its flow may have seen a packet since.
        self.settle(idx);
        if !expires(&self.slab[idx.0 as usize]) {
            return None;
        }
        self.remove(idx)
    }
}

fn has_expired(st: &State, now: u32, timeout_s: u32) -> bool {
    let idle = now.wrapping_sub(st.last_seen);
    u64::from(idle) >= u64::from(timeout_s) * u64::from(TICKS_PER_S)
}
