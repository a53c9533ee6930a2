//! Taking states out whose time is over, a little in every turn. Each of them is in no cache, so they stand in a line, and
//! while one is looked at, the cache is asked for what others will need: far behind a state is found and asked for, nearer
//! to the front what it leads to, then what that leads to. Which state is next on a list only the one before it knows, so
//! there is no finding more of them at once. Who still stands in the line waits for the next turn.

use crate::flow::InFlow;
use crate::record::{Removed, State, StateIdx};
use crate::table::StateTable;
use crate::ticks::{TICKS_PER_S, ticks};
use crate::wheel::NOWHERE;

/// Room in the line, a power of two.
const LINE: usize = 64;
/// States found ahead of the one that is looked at.
const FOUND_AHEAD: usize = 36;
/// How far ahead what a state leads to is asked for.
const AROUND_AHEAD: usize = 24;
/// How far ahead the lines in which its flow is indexed are asked for.
const INDEX_AHEAD: usize = 12;
/// Most states that a scan purges in one call.
const SCAN_MAX: usize = 64;
/// Places that a scan asks the cache for ahead of the one it looks at.
const SCAN_AHEAD: usize = 16;
/// Seconds of lag made good in one call; more than a turn ever lasts.
const CATCH_UP_S: u32 = 64;

/// States whose time may have come, taken off their lists. Some of them may have gone since, or hang in a list again.
#[derive(Default)]
pub(super) struct Upcoming {
    states: heapless::Deque<StateIdx, LINE>,
    /// Of so many at the front what they lead to was asked for.
    around: usize,
    /// Of so many the lines of the index of flows.
    index: usize,
}

impl Upcoming {
    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// One less than there should be in front of the one that is looked at, which leaves first.
    fn is_short(&self) -> bool {
        self.states.len() + 1 < FOUND_AHEAD
            || self.around + 1 < AROUND_AHEAD
            || self.index + 1 < INDEX_AHEAD
    }

    fn pop(&mut self) -> Option<StateIdx> {
        self.around = self.around.saturating_sub(1);
        self.index = self.index.saturating_sub(1);
        self.states.pop_front()
    }

    /// The next one whose surroundings are to be asked for.
    fn next_around(&mut self) -> Option<StateIdx> {
        next(&self.states, &mut self.around, AROUND_AHEAD)
    }

    /// The next one whose flow's lines are to be asked for.
    fn next_index(&mut self) -> Option<StateIdx> {
        next(&self.states, &mut self.index, INDEX_AHEAD)
    }
}

/// The state at place `done`, which moves on, unless it is as far ahead as it may be.
fn next(
    line: &heapless::Deque<StateIdx, LINE>,
    done: &mut usize,
    ahead: usize,
) -> Option<StateIdx> {
    let idx = (*done < ahead).then(|| line.get(*done).copied())??;
    *done += 1;
    Some(idx)
}

impl StateTable {
    /// Looks at up to `budget` states whose time has come: purges those for which nothing came within their
    /// timeout, and hangs up the others again. Returns how many were looked at.
    pub fn sweep(
        &mut self,
        now_ms: u64,
        budget: usize,
        timeout_s: impl Fn(&State) -> u32,
        mut purged: impl FnMut(&Removed),
    ) -> usize {
        self.wheel.advance((now_ms / 1000) as u32, CATCH_UP_S);
        let now = ticks(now_ms);
        for looked_at in 0..budget {
            self.prepare();
            let Some(idx) = self.upcoming.pop() else {
                return looked_at;
            };
            // By reference: it is long.
            if let Some(gone) = &self.look_at(idx, now, &timeout_s) {
                purged(gone);
            }
        }
        budget
    }

    /// Moves the line on by one place, or where it is short by two: finds states, and asks for what those in it need.
    #[inline]
    fn prepare(&mut self) {
        if self.upcoming.is_short() {
            self.move_on();
        }
        self.move_on();
    }

    #[inline(always)]
    fn move_on(&mut self) {
        if self.upcoming.states.len() < FOUND_AHEAD {
            self.find_one();
        }
        if let Some(idx) = self.upcoming.next_around() {
            self.prefetch_around(idx);
        }
        if let Some(idx) = self.upcoming.next_index() {
            self.prefetch_flow_index(idx);
        }
    }

    /// Takes one more state off its list.
    fn find_one(&mut self) {
        if let Some(idx) = self.wheel.next_due(&mut self.slab) {
            self.prefetch_whole(idx);
            // There is room: it is asked before.
            self.upcoming.states.push_back(idx).ok();
        }
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

    /// Asks for what the removal of states touches that are at hand themselves.
    pub fn prefetch_removals(&self, states: &[StateIdx]) {
        for idx in states {
            if let Some(flow) = self.flow_of.get(idx.0 as usize) {
                sync::prefetch(flow);
            }
        }
        states.iter().for_each(|idx| self.prefetch_around(*idx));
        states.iter().for_each(|idx| self.prefetch_flow_index(*idx));
    }

    /// Asks for the lines in which the flow of a state is indexed.
    fn prefetch_flow_index(&self, idx: StateIdx) {
        if self.slab[idx.0 as usize].flow != InFlow::No {
            self.flows.prefetch_index(self.flow_of[idx.0 as usize]);
        }
    }

    /// Looks at the next `places` of the table, round and round, until it has found `most` that have expired, and purges them.
    /// For when lives have grown shorter than they were when the states were hung up to be looked at. Returns how many
    /// places were looked at.
    pub fn scan(
        &mut self,
        now_ms: u64,
        places: usize,
        most: usize,
        timeout_s: impl Fn(&State) -> u32,
        mut purged: impl FnMut(&Removed),
    ) -> usize {
        let now = ticks(now_ms);
        let most = most.min(SCAN_MAX);
        let mut found: heapless::Vec<StateIdx, SCAN_MAX> = heapless::Vec::new();
        let mut looked_at = 0;
        while looked_at < places.min(self.slab.len()) && found.len() < most {
            looked_at += 1;
            let at = self.scan_at;
            self.scan_at = (at + 1) % self.slab.len();
            if let Some(st) = self.slab.get(at + SCAN_AHEAD) {
                sync::prefetch(st);
            }
            let st = &self.slab[at];
            if st.used && has_expired(st, now, timeout_s(st)) {
                // There is room, or the loop would have ended.
                found.push(StateIdx(at as u32)).ok();
            }
        }
        self.prefetch_removals(&found);
        for idx in found {
            if let Some(gone) = &self.purge_expired(idx, now, &timeout_s) {
                purged(gone);
            }
        }
        looked_at
    }

    /// By what a state said, its time is over; its flow may have seen a packet since.
    fn purge_expired(
        &mut self,
        idx: StateIdx,
        now: u32,
        timeout_s: impl Fn(&State) -> u32,
    ) -> Option<Removed> {
        self.settle(idx);
        let st = self.get(idx)?;
        has_expired(st, now, timeout_s(st)).then(|| self.remove(idx))?
    }
}

fn has_expired(st: &State, now: u32, timeout_s: u32) -> bool {
    let idle = now.wrapping_sub(st.last_seen);
    u64::from(idle) >= u64::from(timeout_s) * u64::from(TICKS_PER_S)
}
