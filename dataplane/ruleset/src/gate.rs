//! Rules that end a packet by nothing but a look into a table, and that come before all that may decide otherwise: most
//! blocklists. Which they are depends on the interface and the family alone, so a whole burst is asked of a table at once,
//! and what was found is counted by sums. `match` rules that all packets match may stand between them: of packets that are
//! blocked nothing comes of these but that they count. A packet that no gate ends is asked of all rules, as if there were none.

use alloc::vec::Vec;

use net::KifId;

use crate::Ruleset;
use crate::early::{is_quiet_match, is_silent};
use crate::facts::{Af, Direction, Fragment};
use crate::index::{IndexedInterface, Kind, asks_more, kind};
use crate::linear::MATCH_RULES_MAX;
use crate::rule::{Action, AddrSpec, Endpoint, IfMatch, KeepState, Rule, RuleNr, RuleSlot, TagId};
use crate::table::{Table, TableFlags, TableId};

const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;

/// Most gates that packets of an interface pass.
pub const GATES_MAX: usize = 4;
/// Most rules that are looked at to find them: there may be thousands of interfaces.
const STOPS_MAX: usize = 64;

/// A rule that blocks TCP and UDP packets without a word if one of their addresses is in a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// The rule.
    pub rule: RuleNr,
    /// The table.
    pub table: TableId,
    /// It is asked for the destination.
    pub of_dst: bool,
    /// Where count the rules that are looked at after the gate before: this rule, and without an index all on the way.
    pub evaluated: Vec<RuleSlot>,
    /// Of these the `match` rules, which all packets match that come here.
    pub matched: Vec<RuleSlot>,
}

/// By number of an interface's name, and by family, first gate first.
#[derive(Clone, Debug, Default)]
pub struct Gates(Vec<[Vec<Gate>; 2]>);

impl Gates {
    /// Those of rules that have their slots.
    pub(crate) fn of(ruleset: &Ruleset, interfaces: &[IndexedInterface], has_index: bool) -> Self {
        let mut gates = Gates::default();
        let is_gate = |rule: &Rule| asked_table(ruleset, rule).is_some();
        if !ruleset.rules.iter().any(is_gate) {
            return gates;
        }
        let stops = stops(&ruleset.rules);
        for interface in interfaces {
            let at = usize::from(interface.kif.0);
            if gates.0.len() <= at {
                gates.0.resize_with(at + 1, Default::default);
            }
            gates.0[at] = [Af::Inet, Af::Inet6].map(|af| {
                let mut found = Vec::new();
                let may_match = |rule: &Rule| may_match(rule, interface, af);
                collect(ruleset, &stops, has_index, may_match, &mut found);
                found
            });
        }
        gates
    }

    /// The gates of packets that come in by an interface.
    #[inline]
    pub fn on(&self, kif: KifId, af: Af) -> &[Gate] {
        let on = self.0.get(usize::from(kif.0));
        on.map_or(&[], |gates| &gates[af.index()])
    }
}

/// Rules that a walk to the decision must not leave out, in order. An anchor with rules is one.
fn stops(rules: &[Rule]) -> Vec<usize> {
    let is_stop = |nr: usize| matches!(kind(&rules[nr], nr, false), Kind::Quick | Kind::Lasting);
    (0..rules.len()).filter(|nr| is_stop(*nr)).collect()
}

fn collect(
    ruleset: &Ruleset,
    stops: &[usize],
    has_index: bool,
    may_match: impl Fn(&Rule) -> bool,
    found: &mut Vec<Gate>,
) {
    let rules = &ruleset.rules;
    let mut behind = 0;
    let mut matched: Vec<usize> = Vec::new();
    let mut counted = 0;
    let slots = |numbers: &[usize]| numbers.iter().map(|nr| rules[*nr].slot).collect();
    for &nr in stops.iter().take(STOPS_MAX) {
        let rule = &rules[nr];
        let is_anchor = matches!(rule.action, Action::Anchor { .. });
        if !is_anchor && !may_match(rule) {
            continue;
        }
        if is_quiet_match(rule) && matches_all(rule) {
            matched.push(nr);
            continue;
        }
        let asked = asked_table(ruleset, rule).filter(|_| found.len() < GATES_MAX);
        let Some((table, of_dst)) = asked else {
            return;
        };
        counted += matched.len();
        if counted > MATCH_RULES_MAX {
            return;
        }
        let evaluated: Vec<usize> = match has_index {
            true => matched.iter().copied().chain([nr]).collect(),
            false => (behind..=nr).collect(),
        };
        found.push(Gate {
            rule: RuleNr(nr as u32),
            table,
            of_dst,
            evaluated: slots(&evaluated),
            matched: slots(&matched),
        });
        matched.clear();
        behind = nr + 1;
    }
}

/// Whether a rule may match TCP or UDP packets of a family that come in by an interface.
fn may_match(rule: &Rule, interface: &IndexedInterface, af: Af) -> bool {
    rule.direction != Some(Direction::Out)
        && rule.af.is_none_or(|of| of == af)
        && rule
            .proto
            .is_none_or(|proto| matches!(proto, PROTO_TCP | PROTO_UDP))
        && rule.fragment == Fragment::No
        && rule.on.is_none_or(|on| match on {
            IfMatch::Any => !interface.loopback,
            IfMatch::Kif { kif, negate } => interface.names.contains(kif) != negate,
            IfMatch::Rdomain { rdomain, negate } => (interface.rdomain == rdomain) != negate,
        })
}

/// Whether a rule matches all packets that it may match.
fn matches_all(rule: &Rule) -> bool {
    let asks = rule.proto.is_some() || rule.flags.mask != 0 || asks_more(rule);
    !asks && rule.keep_state == KeepState::No && is_free(&rule.src) && is_free(&rule.dst)
}

/// An end that asks for nothing.
fn is_free(end: &Endpoint) -> bool {
    end.addr == AddrSpec::Any && !end.negate && end.port.is_none()
}

/// The table that decides whether a rule matches, once interface, family and direction do, and whether it is the destination
/// that it is asked for; none if something else does, or if the rule does not end packets without a word, or if the table counts
/// by prefix.
fn asked_table(ruleset: &Ruleset, rule: &Rule) -> Option<(TableId, bool)> {
    let table = |end: &Endpoint| match end.addr {
        AddrSpec::Table(table) if !end.negate && end.port.is_none() => Some(table),
        _ => None,
    };
    let ends = is_silent(rule)
        && rule.quick
        && rule.keep_state == KeepState::No
        && rule.tag == TagId::default();
    let asks = rule.proto.is_some() || rule.flags.mask != 0 || asks_more(rule);
    if !ends || asks {
        return None;
    }
    let asked = match (table(&rule.src), table(&rule.dst)) {
        (Some(id), None) if is_free(&rule.dst) => (id, false),
        (None, Some(id)) if is_free(&rule.src) => (id, true),
        _ => return None,
    };
    let counts = |table: &Table| table.flags.contains(TableFlags::COUNTERS);
    Some(asked).filter(|(id, _)| ruleset.table(*id).is_some_and(|table| !counts(table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::BlockReply;
    use net::KifSet;

    const KIF: KifId = KifId(3);

    fn on() -> IndexedInterface {
        let mut names = KifSet::EMPTY;
        names.insert(KIF);
        IndexedInterface {
            kif: KIF,
            names,
            loopback: false,
            rdomain: 0,
        }
    }

    fn bad(table: u16, of_dst: bool) -> Rule {
        let mut rule = Rule {
            quick: true,
            ..Rule::new(Action::Block(BlockReply::Drop))
        };
        let end = if of_dst { &mut rule.dst } else { &mut rule.src };
        end.addr = AddrSpec::Table(TableId(table));
        rule
    }

    /// Of each gate the table, how many rules are evaluated, and how many of these match.
    fn counted(rules: &[Rule], has_index: bool) -> Vec<(u16, usize, usize)> {
        let gates = Gates::of(&ruleset(rules), &[on()], has_index);
        let on = gates.on(KIF, Af::Inet).iter();
        on.map(|gate| (gate.table.0, gate.evaluated.len(), gate.matched.len()))
            .collect()
    }

    fn ruleset(rules: &[Rule]) -> Ruleset {
        let mut tables = alloc::vec![Table::default(); 10];
        tables[9].flags = TableFlags::COUNTERS;
        Ruleset {
            rules: rules.to_vec(),
            tables,
            ..Ruleset::default()
        }
    }

    /// Number of the rule, table, end, and how many are evaluated.
    fn gates(rules: &[Rule], has_index: bool, af: Af) -> Vec<(u32, u16, bool, usize)> {
        let gates = Gates::of(&ruleset(rules), &[on()], has_index);
        let on = gates.on(KIF, af).iter();
        on.map(|gate| (gate.rule.0, gate.table.0, gate.of_dst, gate.evaluated.len()))
            .collect()
    }

    #[test]
    fn what_blocks_by_a_table_before_all_else_is_a_gate() {
        let pass = || Rule::new(Action::Pass);
        let quick = |rule| Rule {
            quick: true,
            ..rule
        };
        let elsewhere = Rule {
            on: Some(IfMatch::Kif {
                kif: KifId(4),
                negate: false,
            }),
            ..quick(pass())
        };
        let carp = Rule {
            proto: Some(112),
            ..quick(pass())
        };
        let rules = [
            pass(),
            elsewhere,
            carp,
            bad(0, false),
            pass(),
            bad(1, true),
            quick(pass()),
            bad(2, false),
        ];
        let with_index = [(3, 0, false, 1), (5, 1, true, 1)];
        assert_eq!(gates(&rules, true, Af::Inet), with_index);
        let one_by_one = [(3, 0, false, 4), (5, 1, true, 2)];
        assert_eq!(gates(&rules, false, Af::Inet6), one_by_one);
        assert!(gates(&rules[6..], true, Af::Inet).is_empty());
        let scrub = || Rule::new(Action::Match);
        let after_matches = [
            scrub(),
            pass(),
            scrub(),
            bad(0, false),
            scrub(),
            bad(1, false),
        ];
        let with_index = [(0, 3, 2), (1, 2, 1)];
        assert_eq!(counted(&after_matches, true), with_index);
        assert_eq!(counted(&after_matches, false), [(0, 4, 2), (1, 2, 1)]);
        let tags = Rule {
            tag: TagId(1),
            ..scrub()
        };
        let some = Rule {
            tos: Some(16),
            ..scrub()
        };
        for first in [tags, some, quick(scrub())] {
            assert_eq!(counted(&[first, bad(0, false)], true), []);
        }
        let many: Vec<Rule> = (0..9).map(|n| bad(n, false)).collect();
        assert_eq!(gates(&many, true, Af::Inet).len(), GATES_MAX);
        let of_v6 = Rule {
            af: Some(Af::Inet6),
            ..bad(0, false)
        };
        assert!(gates(core::slice::from_ref(&of_v6), true, Af::Inet).is_empty());
        assert_eq!(gates(&[of_v6], true, Af::Inet6).len(), 1);
    }

    #[test]
    fn what_asks_or_does_more_is_none() {
        let with = |change: fn(&mut Rule)| {
            let mut rule = bad(0, false);
            change(&mut rule);
            gates(&[rule], true, Af::Inet).len()
        };
        assert_eq!(with(|_| {}), 1);
        let changes: [fn(&mut Rule); 13] = [
            |rule| rule.quick = false,
            |rule| rule.action = Action::Block(BlockReply::Return),
            |rule| rule.action = Action::Pass,
            |rule| rule.src.negate = true,
            |rule| rule.dst.addr = AddrSpec::Table(TableId(1)),
            |rule| rule.dst.addr = AddrSpec::Never,
            |rule| rule.src.addr = AddrSpec::Table(TableId(9)),
            |rule| rule.proto = Some(PROTO_TCP),
            |rule| rule.tos = Some(16),
            |rule| rule.probability = Some(7),
            |rule| rule.tag = TagId(1),
            |rule| rule.direction = Some(Direction::Out),
            |rule| rule.actions.log = crate::actions::Log::all(),
        ];
        for change in changes {
            assert_eq!(with(change), 0);
        }
    }
}
