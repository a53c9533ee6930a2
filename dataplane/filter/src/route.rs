//! What `route-to`, `reply-to` and `dup-to` make of a connection: a next hop, chosen when the state is made and kept in
//! it. How packets get there is `worker`'s business.
//!
//! Read first: pf.conf(5), "ROUTING"; pf_set_rt_ifp() and pf_route() of OpenBSD.

use ruleset::{Af, RouteKind, RouteOption, Rule};
use state::{Hold, NextHop, State, StateFlags};

use crate::Core;
use crate::describe::PacketDesc;
use crate::reason::Reason;
use crate::translate::sticky::Stuck;
use crate::translate::{self, Ends, PoolUse};

/// Chooses the next hop of a new state, if its rule has a route option. The ends are those of the packet as it came:
/// `source-hash` hashes who sent it.
#[inline]
pub(crate) fn choose(
    core: &mut Core<'_>,
    rule: &Rule,
    pd: &PacketDesc,
    st: &mut State,
    hold: &mut Hold,
) -> Result<(), Reason> {
    let Some(route) = &rule.route else {
        return Ok(());
    };
    let (ends, addr) = next_of(core, rule, route, &Ends::of(pd))?;
    if route.pool.sticky {
        Stuck::new(rule, &ends).keep(core, PoolUse::Route, addr, hold)?;
    }
    let via = route.via(addr).map_or(NextHop::BY_ROUTE, |kif| kif.0);
    st.next_hop = NextHop::new(route.kind, ends.af, addr, via);
    st.flags |= StateFlags::ROUTED;
    Ok(())
}

/// A next hop, and the ends with its family: that in which the packets leave, if the rule does not allow the other one.
fn next_of(
    core: &mut Core<'_>,
    rule: &Rule,
    route: &RouteOption,
    ends: &Ends,
) -> Result<(Ends, u128), Reason> {
    // With `af-to` answers leave as the sender knows them.
    let leaves = match route.kind {
        RouteKind::ReplyTo => ends.af,
        RouteKind::RouteTo | RouteKind::DupTo => rule.new_family.unwrap_or(ends.af),
    };
    let other = match leaves {
        Af::Inet => Af::Inet6,
        Af::Inet6 => Af::Inet,
    };
    let first = if route.prefers_inet6 {
        Af::Inet6
    } else {
        leaves
    };
    for af in [Some(first), Some(leaves), route.any_family.then_some(other)] {
        let Some(af) = af else { break };
        let ends = Ends { af, ..*ends };
        if let Ok(addr) = translate::address(core, rule, PoolUse::Route, &route.pool, &ends, 0) {
            return Ok((ends, addr));
        }
    }
    Err(Reason::NoRoute)
}

/// The next hop for a packet of the state, and whether only a copy goes there. `forward`: it goes the way of the packet
/// that made the state.
#[inline]
pub fn next_hop(st: &State, forward: bool) -> Option<NextHop> {
    if !st.flags.contains(StateFlags::ROUTED) {
        return None;
    }
    let applies = match st.next_hop.kind() {
        RouteKind::ReplyTo => !forward,
        RouteKind::RouteTo | RouteKind::DupTo => forward,
    };
    applies.then_some(st.next_hop)
}
