//! Gives packets the ends that they have beyond an interface, once the filter has let them through, and sends on what
//! has another destination since.

use filter::test_state::About;
use nic::{Nic, PacketBuf};
use ruleset::Direction;
use state::{StateFlags, StateIdx};

use crate::forward::addr_of;
use crate::screen::Screened;
use crate::turn::Worker;
use crate::verdict::Verdict;

impl<N: Nic> Worker<N> {
    /// Rewrites packet `n` as its state says.
    #[inline]
    pub(crate) fn translate(&mut self, n: usize, direction: Direction, idx: StateIdx, now_ms: u64) {
        let Some(st) = self.states.get(idx) else {
            return;
        };
        if !st.flags.contains(StateFlags::TRANSLATED) {
            return;
        }
        if st.flags.contains(StateFlags::CHANGES_FAMILY) {
            return self.change_family(n, idx, now_ms);
        }
        let item = &mut self.batch.items[n];
        let (dst, rdomain) = (item.pd.dst, item.pd.rdomain);
        let frame = self.batch.bufs[n].bytes_mut();
        filter::rewrite::packet(frame, &mut item.pd, st, direction);
        // The domain that it came to by this has its own tables; which one, `choose_table` says.
        let moved = item.pd.rdomain != rdomain;
        if direction == Direction::Out && item.pd.dst != dst && !moved {
            self.reroute(n, now_ms);
        }
    }

    /// The packet goes on by the routing table that rules have chosen. On the way out that comes too late for all but
    /// those that it takes to another domain, as in pf_test() of OpenBSD.
    #[inline]
    pub(crate) fn choose_table(
        &mut self,
        n: usize,
        direction: Direction,
        screened: &Screened,
        now_ms: u64,
    ) {
        let st = screened.state.and_then(|idx| self.states.get(idx));
        let st = st.filter(|st| st.flags.contains(StateFlags::RTABLE));
        if st.is_some() || screened.actions.rtable != 0 {
            self.enter_table(n, direction, screened, now_ms);
        }
    }

    #[cold]
    fn enter_table(&mut self, n: usize, direction: Direction, screened: &Screened, now_ms: u64) {
        let st = screened.state.and_then(|idx| self.states.get(idx));
        let pd = &mut self.batch.items[n].pd;
        let came_from = self.config.interfaces.get(screened.on).map(|on| on.rdomain);
        let chosen = match st.filter(|st| st.flags.contains(StateFlags::RTABLE)) {
            Some(st) => st.rtable_for(st.is_forward(direction, pd.af), pd.rdomain),
            None => screened.actions.table(),
        };
        let Some(rtable) = chosen else {
            return;
        };
        let rdomain = self.config.routes.rdomain_of(rtable);
        (pd.rtable, pd.rdomain) = (rtable, rdomain);
        pd.key_in = pd.key_in.within(rdomain);
        if direction == Direction::Out && Some(rdomain) != came_from {
            self.reroute(n, now_ms);
        }
    }

    /// Rewrites an ICMP error as the state of the packet that it quotes says.
    pub(crate) fn translate_error(
        &mut self,
        n: usize,
        direction: Direction,
        about: &About,
        now_ms: u64,
    ) {
        let Some(st) = self.states.get(about.state) else {
            return;
        };
        if !st.flags.contains(StateFlags::TRANSLATED) {
            return;
        }
        if st.flags.contains(StateFlags::CHANGES_FAMILY) {
            // What the box itself says is said in the family of who hears it.
            if direction == Direction::In {
                self.change_error_family(n, about);
            }
            return;
        }
        let item = &mut self.batch.items[n];
        let (dst, rdomain) = (item.pd.dst, item.pd.rdomain);
        let frame = self.batch.bufs[n].bytes_mut();
        filter::rewrite::error(frame, &mut item.pd, &about.quoted, st, direction);
        let far = st.beyond(direction).0.rdomain();
        if far != rdomain {
            (item.pd.rtable, item.pd.rdomain) = (far, far);
        }
        if direction == Direction::Out && (item.pd.dst != dst || far != rdomain) {
            self.reroute(n, now_ms);
        }
    }

    /// A packet that ends here is about to be quoted to its sender, who knows it as it was before it was translated on
    /// its way out.
    /// Says how many bytes longer it has become by its translation.
    pub(crate) fn show_original(&mut self, n: usize) -> i32 {
        let longer = self.show_family(n);
        let item = &mut self.batch.items[n];
        if item.changed_family || !item.pd.may_have_state() {
            return longer;
        }
        let wire = item.pd.key(Direction::Out);
        let hash = self.states.hash(&wire);
        let found = self.states.find(&wire, hash);
        let Some(st) = found.and_then(|idx| self.states.get(idx)) else {
            return longer;
        };
        if st.flags.contains(StateFlags::TRANSLATED) {
            let frame = self.batch.bufs[n].bytes_mut();
            filter::rewrite::undo(frame, &mut item.pd, st);
        }
        longer
    }

    /// The source of a forwarded packet was given to it by a rule.
    pub(crate) fn has_given_source(&self, n: usize) -> bool {
        let item = &self.batch.items[n];
        let st = item.state.and_then(|idx| self.states.get(idx));
        st.is_some_and(|st| st.flags.contains(StateFlags::TRANSLATED))
    }

    /// A packet on its way out has got another destination. As in OpenBSD the rules are not asked again.
    fn reroute(&mut self, n: usize, now_ms: u64) {
        let pd = &self.batch.items[n].pd;
        let dst = addr_of(pd.af, pd.dst);
        if self.config.interfaces.local(pd.rdomain, dst).is_some() {
            self.batch.items[n].verdict = Some(Verdict::Host);
            return;
        }
        match self.way_to(n, now_ms) {
            Some(hop) => self.batch.items[n].egress = Some(hop),
            None => self.batch.items[n].drop_for(filter::Reason::NoRoute),
        }
    }
}
