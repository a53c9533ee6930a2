//! The meaning of a ruleset: walk the rules from the first to the last, the last match wins, `quick` stops,
//! `match` accumulates. Simple on purpose: faster evaluators are tested against this one. Whether one rule matches is said in
//! [`crate::matches`].
//!
//! Read first: pf.conf(5), "PACKET FILTERING".

use crate::Ruleset;
use crate::actions::{Actions, Log};
use crate::facts::Facts;
use crate::matches::Routes;
use crate::rule::{Action, Rule, RuleNr, RuleSlot, TagId};
use crate::walk::Walk;

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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::facts::{Af, Direction, Fragment};
    use crate::matches::EveryRoute;
    use crate::ports::{PortOp, PortRange};
    use crate::rule::{AddrSpec, BlockReply, IcmpMatch, IfMatch, TagMatch, TcpFlagsMatch};
    use crate::table::{Table, TableEntry, TableId};
    use net::{KifId, KifSet};

    const PROTO_TCP: u8 = 6;

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
