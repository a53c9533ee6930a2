//! The meaning of a ruleset: walk the rules from the first to the last, the last match wins, `quick` stops,
//! `match` accumulates. Simple on purpose: faster evaluators are tested against this one.
//!
//! Read first: pf.conf(5), "PACKET FILTERING".

use crate::Ruleset;
use crate::actions::Actions;
use crate::facts::{Af, Direction, Facts, Fragment};
use crate::rule::{
    Action, AddrSpec, Endpoint, IcmpMatch, IfMatch, KeepState, Log, Rule, RuleNr, RuleSlot, TagId,
};
use crate::table::TableId;
use crate::walk::Walk;

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ICMP6: u8 = 58;

/// Most `match` rules whose counters one packet touches; further ones still apply, uncounted.
pub const MATCH_RULES_MAX: usize = 8;

/// What a ruleset says about a packet.
#[derive(Clone, Debug)]
pub struct RuleMatch {
    /// The rule that decided; none is PF's default rule (pass, no state).
    pub rule: Option<RuleNr>,
    /// `match` rules that matched before, first first.
    pub matched: MatchedRules,
    /// Tag of the packet afterwards.
    pub tag: TagId,
    /// The anchor that the deciding rule stands in.
    pub anchor: Option<RuleNr>,
    /// A rule with `log (matches)` has matched: every matching rule after it is logged.
    pub log_matches: bool,
    /// What the rules do to the packet.
    pub actions: Actions,
}

/// At most [`MATCH_RULES_MAX`] rule numbers.
pub type MatchedRules = heapless::Vec<RuleNr, MATCH_RULES_MAX>;

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

/// Walks the whole ruleset for a packet that no rule changes. `evaluated` hears where every rule counts that was looked
/// at, for the evaluation counters.
pub fn evaluate(
    ruleset: &Ruleset,
    facts: &Facts,
    routes: &impl Routes,
    mut evaluated: impl FnMut(RuleSlot),
) -> RuleMatch {
    let mut facts = *facts;
    let mut result = RuleMatch::new(facts.tag);
    let mut walk = Walk::new(ruleset);
    while let Some((nr, rule)) = walk.next(&facts, routes, &mut evaluated) {
        result.add(nr, rule, &walk);
        facts.tag = result.tag;
    }
    result
}

impl RuleMatch {
    /// Before the first rule.
    pub fn new(tag: TagId) -> Self {
        RuleMatch {
            rule: None,
            anchor: None,
            matched: MatchedRules::new(),
            tag,
            log_matches: false,
            actions: Actions::default(),
        }
    }

    /// Takes in a rule that matched. The deciding rule's own actions are added by [`RuleMatch::settle`].
    pub fn add(&mut self, nr: RuleNr, rule: &Rule, walk: &Walk<'_>) {
        if rule.tag != TagId::default() {
            self.tag = rule.tag;
        }
        self.log_matches |= rule.actions.log.contains(Log::MATCHES);
        match rule.action {
            Action::Match | Action::Translate { pass: false, .. } => {
                self.actions.add(&rule.actions);
                // Full: the rule still applies, only its counters miss the packet.
                let _counted = self.matched.push(nr);
            }
            Action::Pass | Action::Block(_) | Action::Translate { .. } => {
                self.rule = Some(nr);
                self.anchor = walk.anchor();
            }
            Action::Anchor { .. } => {}
        }
    }

    /// After the last rule: adds the actions of the rule that decided.
    pub fn settle<'r>(&mut self, ruleset: &'r Ruleset) -> Option<&'r Rule> {
        let rule = ruleset.rules.get(self.rule?.0 as usize)?;
        self.actions.add(&rule.actions);
        Some(rule)
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
fn port_matches(ports: crate::PortRange, facts: &Facts, port: u16) -> bool {
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::facts::Direction;
    use crate::rule::{BlockReply, PortOp, PortRange, TagMatch, TcpFlagsMatch};
    use crate::table::{Table, TableEntry};
    use net::{KifId, KifSet};

    fn packet() -> Facts {
        let mut on = KifSet::EMPTY;
        on.insert(KifId(1));
        Facts {
            on,
            kif: KifId(1),
            src: 0x0a00_0001,
            dst: 0xc0a8_0001,
            proto: PROTO_TCP,
            src_port: 1024,
            dst_port: 80,
            tcp_flags: 2,
            ..Facts::default()
        }
    }

    fn decide(rules: Vec<Rule>, facts: &Facts) -> Option<u32> {
        let ruleset = Ruleset {
            rules,
            tables: alloc::vec![Table::new(
                "t",
                [TableEntry::new(Af::Inet, 0x0a00_0000, 8, false)]
            )],
            ..Ruleset::default()
        };
        evaluate(&ruleset, facts, &EveryRoute, |_| {})
            .rule
            .map(|nr| nr.0)
    }

    fn pass() -> Rule {
        Rule::new(Action::Pass)
    }

    fn block() -> Rule {
        Rule::new(Action::Block(BlockReply::Drop))
    }

    #[test]
    fn the_last_match_wins_and_quick_stops() {
        assert_eq!(decide(Vec::new(), &packet()), None);
        assert_eq!(decide(alloc::vec![block(), pass()], &packet()), Some(1));
        let quick = Rule {
            quick: true,
            ..block()
        };
        assert_eq!(decide(alloc::vec![quick, pass()], &packet()), Some(0));
        let quick_match = Rule {
            quick: true,
            ..Rule::new(Action::Match)
        };
        assert_eq!(
            decide(alloc::vec![pass(), quick_match, block()], &packet()),
            Some(0)
        );
    }

    #[test]
    fn each_parameter_narrows_the_rule() {
        type Change = fn(&mut Rule);
        let table = AddrSpec::Table(TableId(0));
        assert_eq!(table, AddrSpec::Table(TableId(0)));
        let cases: &[(&str, bool, Change)] = &[
            ("in", true, |r| r.direction = Some(Direction::In)),
            ("out", false, |r| r.direction = Some(Direction::Out)),
            ("on its interface", true, |r| {
                r.on = Some(IfMatch::Kif {
                    kif: KifId(1),
                    negate: false,
                });
            }),
            ("on ! its interface", false, |r| {
                r.on = Some(IfMatch::Kif {
                    kif: KifId(1),
                    negate: true,
                });
            }),
            ("on another", false, |r| {
                r.on = Some(IfMatch::Kif {
                    kif: KifId(2),
                    negate: false,
                });
            }),
            ("on any", true, |r| r.on = Some(IfMatch::Any)),
            ("on rdomain 0", true, |r| {
                r.on = Some(IfMatch::Rdomain {
                    rdomain: 0,
                    negate: false,
                })
            }),
            ("on rdomain 1", false, |r| {
                r.on = Some(IfMatch::Rdomain {
                    rdomain: 1,
                    negate: false,
                })
            }),
            ("on ! rdomain 1", true, |r| {
                r.on = Some(IfMatch::Rdomain {
                    rdomain: 1,
                    negate: true,
                })
            }),
            ("from route \"lab\"", false, |r| {
                r.src.addr = AddrSpec::RouteLabel(0)
            }),
            ("received-on, own packet", false, |r| {
                r.received_on = Some(IfMatch::Kif {
                    kif: KifId(2),
                    negate: true,
                });
            }),
            ("inet", true, |r| r.af = Some(Af::Inet)),
            ("inet6", false, |r| r.af = Some(Af::Inet6)),
            ("tcp", true, |r| r.proto = Some(6)),
            ("udp", false, |r| r.proto = Some(17)),
            ("from table", true, |r| {
                r.src.addr = AddrSpec::Table(TableId(0))
            }),
            ("from ! table", false, |r| {
                r.src.addr = AddrSpec::Table(TableId(0));
                r.src.negate = true;
            }),
            ("to net", true, |r| {
                r.dst.addr = AddrSpec::Masked {
                    af: Af::Inet,
                    addr: 0xc0a8_0000,
                    mask: 0xffff_0000,
                };
            }),
            ("from range", false, |r| {
                r.src.addr = AddrSpec::Range {
                    af: Af::Inet,
                    low: 0x0a00_0002,
                    high: 0x0a00_0009,
                };
            }),
            ("from no-route", false, |r| r.src.addr = AddrSpec::NoRoute),
            ("port 80", true, |r| {
                r.dst.port = Some(PortRange {
                    op: PortOp::Eq,
                    a: 80,
                    b: 0,
                });
            }),
            ("flags S/SA", true, |r| {
                r.flags = TcpFlagsMatch { set: 2, mask: 0x12 }
            }),
            ("flags SA/SA", false, |r| {
                r.flags = TcpFlagsMatch {
                    set: 0x12,
                    mask: 0x12,
                }
            }),
            ("icmp-type", false, |r| {
                r.icmp = Some(IcmpMatch {
                    icmp_type: 0,
                    code: None,
                })
            }),
            ("fragment", false, |r| r.fragment = Fragment::Yes),
            ("tagged", false, |r| {
                r.tagged = Some(TagMatch {
                    tag: TagId(1),
                    negate: false,
                })
            }),
            ("! tagged", true, |r| {
                r.tagged = Some(TagMatch {
                    tag: TagId(1),
                    negate: true,
                })
            }),
            ("never", false, |r| r.src.addr = AddrSpec::Never),
        ];
        for (name, matched, change) in cases {
            let mut rule = pass();
            change(&mut rule);
            assert_eq!(
                decide(alloc::vec![rule], &packet()).is_some(),
                *matched,
                "{name}"
            );
        }
    }

    #[test]
    fn match_rules_tag_and_are_counted_but_do_not_decide() {
        let tagger = Rule {
            tag: TagId(7),
            ..Rule::new(Action::Match)
        };
        let tagged = Rule {
            tagged: Some(TagMatch {
                tag: TagId(7),
                negate: false,
            }),
            ..pass()
        };
        let ruleset = Ruleset {
            rules: alloc::vec![block(), tagger, tagged],
            ..Ruleset::default()
        };
        let mut evaluations = 0;
        let m = evaluate(&ruleset, &packet(), &EveryRoute, |_| evaluations += 1);
        assert_eq!(m.rule, Some(RuleNr(2)));
        assert_eq!(m.matched.as_slice(), [RuleNr(1)]);
        assert_eq!(m.tag, TagId(7));
        assert_eq!(evaluations, 3);
    }

    #[test]
    fn pieces_of_datagrams_match_only_rules_without_ports_flags_and_types() {
        let piece = Facts {
            fragment: Fragment::Yes,
            src_port: 0,
            dst_port: 0,
            ..packet()
        };
        assert!(decide(alloc::vec![pass()], &piece).is_some());
        let mut rule = pass();
        rule.flags = TcpFlagsMatch { set: 2, mask: 0x12 };
        assert!(decide(alloc::vec![rule], &piece).is_none());
        let mut rule = pass();
        rule.dst.port = Some(PortRange {
            op: PortOp::Lt,
            a: 80,
            b: 0,
        });
        assert!(decide(alloc::vec![rule], &piece).is_none());
        let rule = Rule {
            fragment: Fragment::Yes,
            ..pass()
        };
        assert!(decide(alloc::vec![rule], &piece).is_some());
    }
}
