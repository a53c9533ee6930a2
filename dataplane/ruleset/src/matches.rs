//! Whether one rule matches a packet: the meaning of its parameters, and what it may ask of others for that.
//!
//! Read first: pf.conf(5), "PARAMETERS".

use crate::Ruleset;
use crate::facts::{Af, Direction, Facts, Fragment};
use crate::ports::PortRange;
use crate::rule::{AddrSpec, Endpoint, IcmpMatch, IfMatch, KeepState, Rule};
use crate::table::TableId;

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ICMP6: u8 = 58;

/// What a rule may ask of the routing table.
pub trait Routes {
    /// True if table `rtable` has a route to `addr`.
    fn has_route(&self, rtable: u8, af: Af, addr: u128) -> bool;
    /// True if the route back to `src` leaves through the interface that the packet came in on.
    fn reverse_path_ok(&self, rtable: u8, af: Af, src: u128) -> bool;
    /// True if the route to `addr` has the label at place `label` of [`Ruleset::route_labels`].
    fn has_label(&self, _rtable: u8, _af: Af, _addr: u128, _label: u16) -> bool {
        false
    }
    /// The routing domain of a table. Where rules are only thought about there is one.
    fn rdomain_of(&self, _rtable: u8) -> u8 {
        0
    }
    /// True if `addr` is one of the box's own in a routing domain. Where rules are only thought about there is no box.
    fn is_ours(&self, _rdomain: u8, _af: Af, _addr: u128) -> bool {
        false
    }
    /// An address was looked up in a table, and `found` there or not.
    fn looked_up(&self, _table: TableId, _found: bool) {}
    /// The last question, and only of rules with [`crate::RuleLimits`]: false if their limits keep the rule from matching.
    fn admits(&self, _rule: &Rule, _facts: &Facts) -> bool {
        true
    }
}

/// For rules that ask neither for routes nor for sockets, and where there is no box to ask: every address has a route, none
/// is ours.
#[derive(Clone, Copy, Default, Debug)]
pub struct EveryRoute;

impl Routes for EveryRoute {
    fn has_route(&self, _: u8, _: Af, _: u128) -> bool {
        true
    }
    fn reverse_path_ok(&self, _: u8, _: Af, _: u128) -> bool {
        true
    }
}

/// True if `rule` matches the packet as earlier rules have left it.
pub fn matches(ruleset: &Ruleset, rule: &Rule, facts: &Facts, routes: &impl Routes) -> bool {
    rule.direction.is_none_or(|d| d == facts.direction)
        && rule.on.is_none_or(|on| on_matches(on, facts))
        && rule
            .received_on
            .is_none_or(|on| received_on_matches(on, facts))
        && rule.proto.is_none_or(|proto| proto == facts.proto)
        && l3_matches(ruleset, rule, facts, routes)
        && flags_match(rule, facts)
        && rule.icmp.is_none_or(|icmp| icmp_matches(icmp, facts))
        && rule.owner.matches(|| is_own(facts, routes))
        && rule.tos.is_none_or(|tos| tos == facts.tos & !3)
        && rule.prio.is_none_or(|prio| prio == facts.priority)
        && (rule.fragment == Fragment::No || facts.fragment == Fragment::Yes)
        && rule
            .os
            .is_none_or(|os| ruleset.fingerprints.matches(facts.os, os))
        && rule.probability.is_none_or(|p| facts.dice <= p)
        && rule.tagged.is_none_or(|t| (t.tag == facts.tag) != t.negate)
        && !(facts.unsolicited_reply && rule.keep_state != KeepState::No)
        && (rule.limits.is_empty() || routes.admits(rule, facts))
}

/// A socket of the box is at the near end: it sends what goes out and receives what comes in.
pub fn is_own(facts: &Facts, routes: &impl Routes) -> bool {
    match facts.direction {
        Direction::In => routes.is_ours(facts.rdomain, facts.af, facts.dst),
        Direction::Out => {
            facts.received_on.is_none() && routes.is_ours(facts.rdomain, facts.af, facts.src)
        }
    }
}

pub(crate) fn on_matches(on: IfMatch, facts: &Facts) -> bool {
    match on {
        IfMatch::Any => !facts.loopback,
        IfMatch::Kif { kif, negate } => facts.on.contains(kif) != negate,
        IfMatch::Rdomain { rdomain, negate } => (facts.rdomain == rdomain) != negate,
    }
}

fn received_on_matches(on: IfMatch, facts: &Facts) -> bool {
    match (on, &facts.received_on) {
        (IfMatch::Any, received) => received.is_some(),
        // The box's own packets were received nowhere: PF fails the test, `!` or not.
        (IfMatch::Kif { .. }, None) => false,
        (IfMatch::Kif { kif, negate }, Some(names)) => names.contains(kif) != negate,
        // The language has no such rule.
        (IfMatch::Rdomain { .. }, _) => false,
    }
}

/// Family and addresses.
pub(crate) fn l3_matches(
    ruleset: &Ruleset,
    rule: &Rule,
    facts: &Facts,
    routes: &impl Routes,
) -> bool {
    rule.af.is_none_or(|af| af == facts.af)
        && src_matches(ruleset, rule, facts, routes)
        && dst_matches(ruleset, rule, facts, routes)
}

/// Source address and port.
#[inline]
pub(crate) fn src_matches(
    ruleset: &Ruleset,
    rule: &Rule,
    facts: &Facts,
    routes: &impl Routes,
) -> bool {
    endpoint_matches(ruleset, &rule.src, facts, facts.src, facts.src_port, routes)
}

/// Destination address and port.
#[inline]
pub(crate) fn dst_matches(
    ruleset: &Ruleset,
    rule: &Rule,
    facts: &Facts,
    routes: &impl Routes,
) -> bool {
    endpoint_matches(ruleset, &rule.dst, facts, facts.dst, facts.dst_port, routes)
}

fn endpoint_matches(
    ruleset: &Ruleset,
    end: &Endpoint,
    facts: &Facts,
    addr: u128,
    port: u16,
    routes: &impl Routes,
) -> bool {
    let inside = match end.addr {
        AddrSpec::Any => true,
        AddrSpec::Masked { af, addr: a, mask } => af == facts.af && addr & mask == a,
        AddrSpec::Range { af, low, high } => af == facts.af && low <= addr && addr <= high,
        AddrSpec::Table(id) => {
            let table = ruleset.table(id);
            let found = table.is_some_and(|t| t.contains(facts.af, addr));
            routes.looked_up(id, found);
            found
        }
        AddrSpec::RouteLabel(label) => routes.has_label(facts.rtable, facts.af, addr, label),
        AddrSpec::NoRoute => !routes.has_route(facts.rtable, facts.af, addr),
        AddrSpec::UrpfFailed => !routes.reverse_path_ok(facts.rtable, facts.af, addr),
        AddrSpec::Never => false,
    };
    inside != end.negate && end.port.is_none_or(|p| port_matches(p, facts, port))
}

/// A rule with ports matches no fragment and no protocol without ports.
fn port_matches(ports: PortRange, facts: &Facts, port: u16) -> bool {
    facts.fragment == Fragment::No
        && matches!(facts.proto, PROTO_TCP | PROTO_UDP)
        && ports.matches(port)
}

/// `flags` is asked of TCP only; a rule for several protocols ignores it for the others. A rule with flags
/// matches no TCP fragment (pf.conf(5), "flags").
fn flags_match(rule: &Rule, facts: &Facts) -> bool {
    if rule.flags.mask == 0 || facts.proto != PROTO_TCP {
        return true;
    }
    facts.fragment == Fragment::No && facts.tcp_flags & rule.flags.mask == rule.flags.set
}

fn icmp_matches(icmp: IcmpMatch, facts: &Facts) -> bool {
    let is_icmp = match facts.af {
        Af::Inet => facts.proto == PROTO_ICMP,
        Af::Inet6 => facts.proto == PROTO_ICMP6,
    };
    is_icmp
        && facts.fragment == Fragment::No
        && icmp.icmp_type == facts.icmp_type
        && icmp.code.is_none_or(|code| code == facts.icmp_code)
}
