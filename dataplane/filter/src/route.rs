//! What `route-to`, `reply-to` and `dup-to` make of a connection: a next hop, chosen when the state is made and kept in
//! it. How packets get there is `worker`'s business.
//!
//! Read first: pf.conf(5), "ROUTING"; pf_set_rt_ifp() and pf_route() of OpenBSD.

use ruleset::{Direction, RouteKind, Rule};
use state::{Hold, NextHop, State, StateFlags};

use crate::Core;
use crate::reason::Reason;
use crate::translate::sticky::Stuck;
use crate::translate::{self, Ends, PoolUse};

/// Chooses the next hop of a new state, if its rule has a route option. The ends are those of the packet as it came:
/// `source-hash` hashes who sent it.
pub(crate) fn choose(
    core: &mut Core<'_>,
    rule: &Rule,
    ends: &Ends,
    st: &mut State,
    hold: &mut Hold,
) -> Result<(), Reason> {
    let Some(route) = &rule.route else {
        return Ok(());
    };
    let addr = translate::address(core, rule, PoolUse::Route, &route.pool, ends, 0)
        .map_err(|_| Reason::NoRoute)?;
    if route.pool.sticky {
        Stuck::new(rule, ends).keep(core, PoolUse::Route, addr, hold)?;
    }
    let via = route.via(addr).map_or(NextHop::BY_ROUTE, |kif| kif.0);
    st.next_hop = NextHop::new(route.kind, ends.af, addr, via);
    st.flags |= StateFlags::ROUTED;
    Ok(())
}

/// The next hop for a packet of the state that passes in `direction`, and whether only a copy goes there.
#[inline]
pub fn next_hop(st: &State, direction: Direction) -> Option<NextHop> {
    if !st.flags.contains(StateFlags::ROUTED) {
        return None;
    }
    let forward = direction == st.direction;
    let applies = match st.next_hop.kind() {
        RouteKind::ReplyTo => !forward,
        RouteKind::RouteTo | RouteKind::DupTo => forward,
    };
    applies.then_some(st.next_hop)
}
