//! How the rules' business ends for most packets of a flood: one rule decides, it blocks, and nothing else comes of that.
//! This can be asked of a packet of which no more is known than [`Facts`]: whoever asks gets a yes, and then all is counted
//! that [`super::test_rule`] would have counted; or a no, and then nothing has happened, and the packet goes the way of all
//! others. What of the rules' questions changes something (limits, rates), needs more than the packet (routes, sockets),
//! or a new answer each time (`probability`: [`ruleset::Early`]) makes it a no.

use core::cell::Cell;

use ruleset::{
    Action, Af, BlockReply, Direction, Facts, GATES_MAX, Gate, MATCH_RULES_MAX, Routes, Rule,
    RuleSlot, Ruleset, TableId, TagId, Walk, is_quiet_match,
};

use crate::counters::Counters;
use crate::tables;

/// Most rules that are tested for a packet.
const EVALUATIONS_MAX: usize = 32;
/// Most addresses that are looked up in tables for a packet.
const LOOKUPS_MAX: usize = 4;

/// What testing the rules has come to so far.
struct Asked {
    evaluated: heapless::Vec<RuleSlot, EVALUATIONS_MAX>,
    /// `match` rules.
    matched: heapless::Vec<RuleSlot, MATCH_RULES_MAX>,
    lookups: Lookups,
}

/// Look-ups in tables, which only count if it is a yes.
struct Lookups {
    of: [Cell<(TableId, bool)>; LOOKUPS_MAX],
    count: Cell<usize>,
    /// Something was asked that is not answered here.
    too_much: Cell<bool>,
}

/// True if a rule blocks a packet that comes in without a state, and nothing else comes of it: then it is counted on rules and
/// tables, with its `bytes`. If not nothing has changed.
#[inline]
pub fn is_blocked(ruleset: &Ruleset, counters: &Counters, facts: &Facts, bytes: u64) -> bool {
    let mut asked = Asked::nothing();
    let Some(rule) = asked.decision(ruleset, facts) else {
        return false;
    };
    if asked.lookups.too_much.get() || !only_blocks(rule) {
        return false;
    }
    asked.count(ruleset, counters, bytes);
    let packet = (Direction::In, bytes);
    counters.rule(rule.slot).traffic[Direction::In.index()].one(bytes);
    let ends = (facts.af, facts.src, facts.dst);
    tables::count_blocked((ruleset, counters), rule, ends, packet);
    true
}

/// Counts packets that have come in and ended at gates ([`ruleset::Gate`]) that stand in a row: at each so many packets, of so
/// many bytes together.
pub fn count_gates(
    ruleset: &Ruleset,
    counters: &Counters,
    gates: &[Gate],
    ended: &[(u64, u64); GATES_MAX],
) {
    let (mut beyond, mut bytes_beyond) = (0, 0);
    for (gate, &(packets, bytes)) in gates.iter().zip(ended).rev() {
        for slot in &gate.evaluated {
            counters.rule(*slot).evaluations.add(packets + beyond);
        }
        for slot in &gate.matched {
            let traffic = &counters.rule(*slot).traffic[Direction::In.index()];
            traffic.some(packets + beyond, bytes + bytes_beyond);
        }
        if let Some(rule) = ruleset.rules.get(gate.rule.0 as usize) {
            counters.rule(rule.slot).traffic[Direction::In.index()].some(packets, bytes);
        }
        if let Some(table) = ruleset.table(gate.table) {
            counters
                .tables
                .at_gate(table.slot, (beyond, packets), bytes);
        }
        beyond += packets;
        bytes_beyond += bytes;
    }
}

/// Its sender hears nothing, nobody reads of it, and it may match as often as it likes.
#[inline]
fn only_blocks(rule: &Rule) -> bool {
    rule.action == Action::Block(BlockReply::Drop)
        && rule.actions.log.is_empty()
        && rule.limits.is_empty()
}

/// Until a later rule decides it is as if it had not matched.
#[inline]
fn passes_by(rule: &Rule) -> bool {
    matches!(rule.action, Action::Pass | Action::Block(_))
        && rule.tag == TagId::default()
        && rule.actions.log.is_empty()
}

impl Asked {
    #[inline]
    fn nothing() -> Self {
        Asked {
            evaluated: heapless::Vec::new(),
            matched: heapless::Vec::new(),
            lookups: Lookups {
                of: [const { Cell::new((TableId(0), false)) }; LOOKUPS_MAX],
                count: Cell::new(0),
                too_much: Cell::new(false),
            },
        }
    }

    /// The rule that decides; none also if it does not decide alone.
    #[inline]
    fn decision<'r>(&mut self, ruleset: &'r Ruleset, facts: &Facts) -> Option<&'r Rule> {
        let Asked {
            evaluated, lookups, ..
        } = self;
        let mut note = |slot| {
            if evaluated.push(slot).is_err() {
                lookups.too_much.set(true);
            }
        };
        if let Some(decision) = ruleset.decision(facts, &*lookups, &mut note) {
            return decision;
        }
        if lookups.too_much.get() {
            return None;
        }
        evaluated.clear();
        lookups.count.set(0);
        walk(ruleset, facts, self)
    }

    #[inline]
    fn count(&self, ruleset: &Ruleset, counters: &Counters, bytes: u64) {
        for slot in &self.evaluated {
            counters.rule(*slot).evaluations.add(1);
        }
        for slot in &self.matched {
            counters.rule(*slot).traffic[Direction::In.index()].one(bytes);
        }
        let lookups = self.lookups.of.iter().take(self.lookups.count.get());
        for (table, found) in lookups.map(Cell::get) {
            if let Some(table) = ruleset.table(table) {
                counters.tables.looked_up(table.slot, found);
            }
        }
    }
}

/// The same rule by rule.
#[inline(never)]
fn walk<'r>(ruleset: &'r Ruleset, facts: &Facts, asked: &mut Asked) -> Option<&'r Rule> {
    let Asked {
        evaluated,
        matched,
        lookups,
    } = asked;
    let routes = &*lookups;
    let mut evaluated = |slot| {
        if evaluated.push(slot).is_err() {
            routes.too_much.set(true);
        }
    };
    let mut walk = Walk::new(ruleset).to_decision(true);
    let mut decided = None;
    while let Some((_, rule)) = walk.next(facts, routes, &mut evaluated) {
        if walk.anchor().is_some() || routes.too_much.get() {
            return None;
        }
        if is_quiet_match(rule) {
            // Full: it counts no more.
            matched.push(rule.slot).unwrap_or(());
        } else if passes_by(rule) {
            decided = Some(rule);
        } else {
            return None;
        }
    }
    decided
}

impl Routes for Lookups {
    fn has_route(&self, _: u8, _: Af, _: u128) -> bool {
        self.too_much.set(true);
        true
    }

    fn reverse_path_ok(&self, _: u8, _: Af, _: u128) -> bool {
        self.too_much.set(true);
        true
    }

    fn has_label(&self, _: u8, _: Af, _: u128, _: u16) -> bool {
        self.too_much.set(true);
        true
    }

    fn is_ours(&self, _: u8, _: Af, _: u128) -> bool {
        self.too_much.set(true);
        true
    }

    #[inline]
    fn looked_up(&self, table: TableId, found: bool) {
        let n = self.count.get();
        match self.of.get(n) {
            Some(place) => {
                place.set((table, found));
                self.count.set(n + 1);
            }
            None => self.too_much.set(true),
        }
    }

    fn admits(&self, _: &Rule, _: &Facts) -> bool {
        self.too_much.set(true);
        true
    }
}
