//! When states are looked at again: a hierarchical timing wheel over the slab, with lazy re-queueing.
//!
//! A packet only writes `last_seen`. A state hangs in the list of the second at which it would expire had nothing
//! come since; when that second arrives it is looked at once, and either purged or hung up again at its new
//! second. (A FIFO per timeout class was considered: it cannot serve rules with timeouts of their own, and delays
//! expiry by up to a whole timeout.) Three levels of 256 lists: seconds, 256 s, 65,536 s. A list whose time has
//! come moves to the due lists by one pointer, and these are worked off within the budget of a turn.

use crate::record::{State, StateIdx};

const LISTS: u32 = 256;
const LEVELS: u32 = 3;
/// Lists whose time has come and that are not worked off yet; when there is no room, time waits.
const DUE_MAX: usize = 16;
/// In no list.
pub const NOWHERE: u16 = u16::MAX;

/// List heads. The links are in the states.
pub struct Wheel {
    heads: [StateIdx; (LISTS * LEVELS) as usize],
    due: heapless::Deque<StateIdx, DUE_MAX>,
    /// Second up to which lists have come due.
    now_s: u32,
}

impl Wheel {
    /// An empty wheel at second `now_s`.
    pub fn new(now_s: u32) -> Self {
        Wheel {
            heads: [StateIdx::NONE; (LISTS * LEVELS) as usize],
            due: heapless::Deque::new(),
            now_s,
        }
    }

    /// List for a state that is to be looked at in second `at_s`; a time in the past means the next second.
    fn list_for(&self, at_s: u32) -> u16 {
        let ahead =
            (at_s.wrapping_sub(self.now_s) as i32).clamp(1, LISTS.pow(LEVELS) as i32 - 1) as u32;
        let at = self.now_s.wrapping_add(ahead);
        let level = match ahead {
            0..=255 => 0,
            256..=65_535 => 1,
            _ => 2,
        };
        (level * LISTS + (at >> (8 * level)) % LISTS) as u16
    }

    /// Hangs a state up to be looked at in second `at_s` (for far times: up to 1/256 of the distance earlier). It
    /// must hang nowhere.
    pub fn hang(&mut self, slab: &mut [State], idx: StateIdx, at_s: u32) {
        let list = self.list_for(at_s);
        let head = core::mem::replace(&mut self.heads[usize::from(list)], idx);
        if let Some(old) = head.some() {
            slab[old.0 as usize].timer_prev = idx;
        }
        let st = &mut slab[idx.0 as usize];
        debug_assert_eq!(st.timer_slot, NOWHERE);
        st.timer_next = head;
        st.timer_prev = StateIdx::NONE;
        st.timer_slot = list;
    }

    /// Takes a state off its list, if it hangs in one.
    pub fn unhang(&mut self, slab: &mut [State], idx: StateIdx) {
        let st = &mut slab[idx.0 as usize];
        let list = core::mem::replace(&mut st.timer_slot, NOWHERE);
        if list == NOWHERE {
            return;
        }
        let next = core::mem::replace(&mut st.timer_next, StateIdx::NONE);
        let prev = core::mem::replace(&mut st.timer_prev, StateIdx::NONE);
        if let Some(n) = next.some() {
            slab[n.0 as usize].timer_prev = prev;
        }
        match prev.some() {
            Some(p) => slab[p.0 as usize].timer_next = next,
            None => self.replace_head(list, idx, next),
        }
    }

    /// The first of a list has gone. The list may have come due since the state was hung up.
    fn replace_head(&mut self, list: u16, old: StateIdx, new: StateIdx) {
        let head = &mut self.heads[usize::from(list)];
        if *head == old {
            *head = new;
        } else if let Some(due) = self.due.iter_mut().find(|d| **d == old) {
            *due = new;
        }
    }

    /// Moves time on to `now_s`, second by second; at most `steps_max` seconds, and not past what is still due.
    pub fn advance(&mut self, now_s: u32, steps_max: u32) {
        for _ in 0..steps_max {
            let behind = (now_s.wrapping_sub(self.now_s) as i32) > 0;
            if !behind || self.due.len() + LEVELS as usize > DUE_MAX {
                return;
            }
            self.now_s = self.now_s.wrapping_add(1);
            let now = self.now_s;
            self.come_due(now % LISTS);
            if now.is_multiple_of(LISTS) {
                self.come_due(LISTS + (now >> 8) % LISTS);
            }
            if now.is_multiple_of(LISTS * LISTS) {
                self.come_due(2 * LISTS + (now >> 16) % LISTS);
            }
        }
    }

    /// One pointer moves, however long the list is.
    fn come_due(&mut self, list: u32) {
        let head = core::mem::replace(&mut self.heads[list as usize], StateIdx::NONE);
        if head != StateIdx::NONE {
            let room = self.due.push_back(head);
            debug_assert!(room.is_ok(), "advance leaves room");
        }
    }

    /// Some list whose time has come by second `now_s` may not be worked off.
    #[inline]
    pub fn has_due(&self, now_s: u32) -> bool {
        !self.due.is_empty() || self.now_s != now_s
    }

    /// The next state to look at, taken off its list.
    pub fn next_due(&mut self, slab: &mut [State]) -> Option<StateIdx> {
        while let Some(&first) = self.due.front() {
            if first == StateIdx::NONE {
                self.due.pop_front();
                continue;
            }
            self.unhang(slab, first);
            return Some(first);
        }
        None
    }
}
