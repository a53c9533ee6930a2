//! States and the flows in front of them: who has the say, and when. Nothing of a state that a flow may change is read or
//! written elsewhere in this crate without [`StateTable::settle`].

use ruleset::Direction;

use crate::flow::{self, FlowTable, InFlow, Onwards};
use crate::record::StateIdx;
use crate::table::StateTable;

impl StateTable {
    /// The flows, which the worker looks into before it looks for states.
    #[inline]
    pub fn flows(&mut self) -> &mut FlowTable {
        &mut self.flows
    }

    /// Brings a state up to date, and its pair: from now on they have the say, and their flow sleeps.
    #[inline]
    pub fn settle(&mut self, idx: StateIdx) {
        if self.slab[idx.0 as usize].flow == InFlow::Awake {
            self.put_to_sleep(self.flow_of[idx.0 as usize]);
        }
    }

    /// Asks for the states of flows that are about to be put to sleep: after a reload all of a burst are.
    #[inline]
    pub fn prefetch_states(&self, flows: &[u32]) {
        for flow in flows {
            self.flows.prefetch_states(*flow);
        }
        for idx in flows.iter().flat_map(|flow| self.flows.states(*flow)) {
            self.prefetch(idx);
            if let Some(flow) = self.flow_of.get(idx.0 as usize) {
                sync::prefetch(flow);
            }
        }
    }

    /// A packet that only its states can judge: they have the say from now on.
    #[cold]
    pub fn put_to_sleep(&mut self, flow: u32) {
        self.write_back(flow);
        self.flows.lull(flow);
        for idx in self.flows.states(flow) {
            self.slab[idx.0 as usize].flow = InFlow::Asleep;
        }
    }

    /// Brings the states of a flow that is awake up to date; it stays so.
    pub(super) fn write_back(&mut self, flow: u32) {
        let since = self.flows.since(flow);
        for idx in self.flows.states(flow) {
            since.add_to(&mut self.slab[idx.0 as usize]);
        }
    }

    /// Packets that come in by the state `idx` and go out by its pair are served by a flow from now on, if they can be.
    pub fn remember(&mut self, idx: StateIdx, onwards: &Onwards) {
        let Some(st) = self.peek(idx) else { return };
        let pair = st.pair;
        if st.flow == InFlow::Awake {
            let flow = self.flow_of[idx.0 as usize];
            if self.flows.is_current(flow, st, onwards) {
                return;
            }
            self.put_to_sleep(flow);
        }
        let (Some(st), Some(out)) = (self.get(idx), self.peek(pair)) else {
            return;
        };
        if out.pair != idx || !flow::suits(st, out) {
            return;
        }
        let flow = match st.flow {
            InFlow::No => {
                let states = match st.direction {
                    Direction::In => [idx, pair],
                    Direction::Out => [pair, idx],
                };
                let Some(flow) = self.flows.begin(states) else {
                    return;
                };
                for idx in states {
                    self.flow_of[idx.0 as usize] = flow;
                    self.slab[idx.0 as usize].flow = InFlow::Asleep;
                }
                flow
            }
            _ => self.flow_of[idx.0 as usize],
        };
        let (st, out) = (&self.slab[idx.0 as usize], &self.slab[pair.0 as usize]);
        if self.flows.wake(flow, st, out, onwards) {
            for idx in [idx, pair] {
                self.slab[idx.0 as usize].flow = InFlow::Awake;
            }
        }
    }

    /// A state is about to go, or to get another pair: its flow ends.
    #[inline(always)]
    pub(super) fn leave_flow(&mut self, idx: StateIdx) {
        if self.slab[idx.0 as usize].flow != InFlow::No {
            self.end_flow(idx);
        }
    }

    #[inline(never)]
    fn end_flow(&mut self, idx: StateIdx) {
        self.settle(idx);
        let flow = self.flow_of[idx.0 as usize];
        for idx in self.flows.states(flow) {
            self.slab[idx.0 as usize].flow = InFlow::No;
        }
        self.flows.end(flow);
    }
}
