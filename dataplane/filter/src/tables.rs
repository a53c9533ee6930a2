//! What tables count: look-ups by rules, packets of rules that name the table, and, for tables with `counters`, packets
//! of each of their prefixes. A core counts for itself; whoever shows it adds the cores up.
//!
//! A packet counts where it counts on the rule, with the ends that PF looks at (pf_counters_inc()): those of the packet if
//! it has no state, else those that the state's first packet had on the far side of translation. Only a table with
//! `counters` is asked again for each packet; there, packets of an address that is no longer in it, or that is not in
//! it once translated, count as `XPass`.
//!
//! Read first: pfctl(8), -T; pf.conf(5), TABLES, "counters".

use alloc::boxed::Box;

use ruleset::{
    Action, AddrSpec, Af, Direction, Endpoint, Rule, RuleMatch, Ruleset, Table, TableFlags,
    TableSlot,
};
use state::{State, StateFlags, StateIdx};
use sync::{Counter, OverlayKey, Tally};

use crate::Core;
use crate::counters::{Count, Counters};
use crate::limit::{self, TABLE_SLOTS};
use crate::test_rule::RuleTest;

/// Prefixes of tables with `counters` that a core counts for: more than `set limit table-entries` is by default. What
/// comes beyond counts on its table alone.
pub const PREFIXES: usize = 1 << 18;

/// What kind of rule let a packet be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TableOp {
    /// A block rule.
    Block,
    /// A match rule.
    Match,
    /// A pass rule.
    Pass,
    /// A rule that would not match any more.
    XPass,
}

impl TableOp {
    fn of(rule: &Rule) -> TableOp {
        match rule.action {
            Action::Block(_) => TableOp::Block,
            Action::Match | Action::Translate { pass: false, .. } | Action::Anchor { .. } => {
                TableOp::Match
            }
            Action::Pass | Action::Translate { .. } => TableOp::Pass,
        }
    }
}

/// Counters of one table.
#[derive(Default, Debug)]
pub struct TableCounters {
    /// Look-ups by rules: not in the table, in it.
    pub lookups: [Counter; 2],
    /// In, then out, by [`TableOp`].
    pub traffic: [[Count; 4]; 2],
}

/// Counters of all tables.
#[derive(Debug)]
pub struct Tables {
    /// By slot.
    by_slot: Box<[TableCounters]>,
    /// Of prefixes: for in, then out, packets and bytes by [`TableOp`] without `XPass`.
    pub prefixes: Tally,
}

impl Default for Tables {
    /// Zeros.
    fn default() -> Self {
        // Who fills the neighborhood of a prefix must get prefixes into a table: no outsider can choose many of them.
        const SEED: u64 = 0x7461_626c_6573;
        Tables {
            by_slot: (0..TABLE_SLOTS).map(|_| TableCounters::default()).collect(),
            prefixes: Tally::new(PREFIXES, SEED),
        }
    }
}

impl Tables {
    /// Counters of a table; none if nothing counts it.
    #[inline]
    pub fn of(&self, slot: TableSlot) -> Option<&TableCounters> {
        self.by_slot.get(usize::from(slot.0))
    }

    /// A rule has looked up an address.
    #[inline]
    pub(crate) fn looked_up(&self, slot: TableSlot, found: bool) {
        if let Some(counters) = self.of(slot) {
            counters.lookups[usize::from(found)].add(1);
        }
    }

    /// The rule of a gate has looked up addresses of packets that came in: it has found none of so many, and has ended the
    /// others. The table does not count by prefix.
    pub(crate) fn at_gate(&self, slot: TableSlot, (not_found, ended): (u64, u64), bytes: u64) {
        if let Some(counters) = self.of(slot) {
            let [not, yes] = &counters.lookups;
            not.add(not_found);
            yes.add(ended);
            let traffic = &counters.traffic[Direction::In.index()];
            traffic[TableOp::Block as usize].some(ended, bytes);
        }
    }
}

/// One packet as tables count it.
#[derive(Clone, Copy)]
struct Counted {
    af: Af,
    src: u128,
    dst: u128,
    direction: Direction,
    bytes: u64,
}

/// True if a packet that counts on the rule counts on a table.
fn names_tables(rule: &Rule) -> bool {
    [&rule.src, &rule.dst].map(|end| matches!(end.addr, AddrSpec::Table(_))) != [false; 2]
}

/// A state is made by `rule` and what else has matched: true if its packets count on tables.
pub(crate) fn counts(ruleset: &Ruleset, rule: &Rule, found: &RuleMatch) -> bool {
    let matched = found.matched.iter();
    let mut matched = matched.filter_map(|nr| ruleset.rules.get(nr.0 as usize));
    names_tables(rule) || matched.any(names_tables)
}

/// The rules have been asked about a packet from `src` to `dst`, and this came of it.
#[inline]
pub(crate) fn count_first(
    core: &Core<'_>,
    ends: (Af, u128, u128),
    (direction, bytes): (Direction, u64),
    (rule, found): (&Rule, &RuleMatch),
    tested: &RuleTest,
) {
    match tested {
        RuleTest::Pass {
            state: Some(idx), ..
        } => {
            let counts = StateFlags::HOLDS | StateFlags::ON_TABLES;
            let st = core.states.get(*idx);
            if st.is_some_and(|st| st.flags.intersects(counts)) {
                limit::count_sources(core, *idx, direction, bytes);
                count_state(core, *idx, direction, bytes);
            }
        }
        RuleTest::Pass { state: None, .. } | RuleTest::Block(_) => {
            count_stateless(core, ends, (direction, bytes), (rule, found));
        }
        RuleTest::Drop(_) | RuleTest::Plain(_) | RuleTest::Proxied(_) => {}
    }
}

/// A packet that `rule` blocks, and that has matched no other, counts on the tables of the rule.
#[inline]
pub(crate) fn count_blocked(
    on: (&Ruleset, &Counters),
    rule: &Rule,
    (af, src, dst): (Af, u128, u128),
    (direction, bytes): (Direction, u64),
) {
    if !names_tables(rule) {
        return;
    }
    let packet = Counted {
        af,
        src,
        dst,
        direction,
        bytes,
    };
    count_rule(on, rule, &packet);
}

/// A packet that has made no state counts on the tables of the rules that it has matched.
fn count_stateless(
    core: &Core<'_>,
    (af, src, dst): (Af, u128, u128),
    (direction, bytes): (Direction, u64),
    (rule, found): (&Rule, &RuleMatch),
) {
    let packet = Counted {
        af,
        src,
        dst,
        direction,
        bytes,
    };
    let matched = found.matched.iter();
    let matched = matched.filter_map(|nr| core.ruleset.rules.get(nr.0 as usize));
    for rule in matched.chain([rule]) {
        count_rule((core.ruleset, core.counters), rule, &packet);
    }
}

/// A packet of a state counts on the tables of its rules, if any of them has one.
#[inline]
pub(crate) fn count_state(core: &Core<'_>, idx: StateIdx, direction: Direction, bytes: u64) {
    if let Some(st) = core.states.get(idx)
        && st.flags.contains(StateFlags::ON_TABLES)
    {
        count_tabled(core, idx, st, direction, bytes);
    }
}

fn count_tabled(core: &Core<'_>, idx: StateIdx, st: &State, direction: Direction, bytes: u64) {
    let key = match st.direction {
        Direction::In => &st.stack,
        Direction::Out => &st.wire,
    };
    let begun = st.direction.index();
    let packet = Counted {
        af: key.af(),
        src: key.end(begun).0,
        dst: key.end(1 - begun).0,
        direction,
        bytes,
    };
    let on = (core.ruleset, core.counters);
    if let Some(rule) = core.ruleset.rule_of(st.rule) {
        count_rule(on, rule, &packet);
    }
    if st.flags.contains(StateFlags::BESIDE) {
        let rules = core.beside.of(idx);
        let rules = rules.filter_map(|slot| core.ruleset.rule_of(slot));
        // That an anchor was entered counts on no table.
        for rule in rules.filter(|rule| !matches!(rule.action, Action::Anchor { .. })) {
            count_rule(on, rule, &packet);
        }
    }
}

/// With a ruleset and the counters of this core.
fn count_rule(on: (&Ruleset, &Counters), rule: &Rule, packet: &Counted) {
    for (end, addr) in [(&rule.src, packet.src), (&rule.dst, packet.dst)] {
        if let AddrSpec::Table(id) = end.addr
            && let Some(table) = on.0.table(id)
        {
            count_end(on, table, end, (TableOp::of(rule), addr), packet);
        }
    }
}

fn count_end(
    (ruleset, counters): (&Ruleset, &Counters),
    table: &Table,
    end: &Endpoint,
    (mut op, addr): (TableOp, u128),
    packet: &Counted,
) {
    let tables = &counters.tables;
    let Some(counters) = tables.of(table.slot) else {
        return;
    };
    if table.flags.contains(TableFlags::COUNTERS) {
        let entry = table.covering(packet.af, addr);
        if entry.is_some_and(|e| !e.negate) == end.negate {
            op = TableOp::XPass;
        } else if let Some(entry) = entry {
            let key = OverlayKey {
                table: table.slot.0,
                v6: entry.af == Af::Inet6,
                prefix_len: entry.prefix_len,
                addr: entry.addr,
            };
            let at = prefix_counter(packet.direction, op);
            let is_gone = |key: &OverlayKey| is_gone(ruleset, key);
            tables.prefixes.count(&key, at, packet.bytes, is_gone);
        }
    }
    counters.traffic[packet.direction.index()][op as usize].one(packet.bytes);
}

/// Place of the packets of a prefix; that of the bytes comes next.
pub fn prefix_counter(direction: Direction, op: TableOp) -> usize {
    (direction.index() * 3 + op as usize) * 2
}

/// True if no table of the ruleset has this prefix any more.
fn is_gone(ruleset: &Ruleset, key: &OverlayKey) -> bool {
    let mut tables = ruleset.tables.iter();
    let table = tables.find(|table| table.slot.0 == key.table);
    table.is_none_or(|table| !table.has_prefix(key))
}
