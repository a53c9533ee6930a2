//! `pfctl -o basic`: fewer rules and better skip steps. For what `pfctl` shows; the dataplane has an index of its own
//! and is better served with the rules as written.
//!
//! Rules are cut into superblocks, runs of rules that can change places without changing any verdict. In each block
//! rules that another one covers are dropped, rules that differ in one address become one rule with a table, and the
//! rest is put in an order in which neighbors have much in common.

//!
//! pfctl compares every rule of a block with every other. Here rules that can have to do with each other are found by
//! hashing, so that a hundred thousand of them take no minutes; the outcome is the same.

mod covered;
mod order;
mod tables;

use crate::policy::{Addr, IfItemKind, Reply, Rule, RuleKind, Table};
use crate::relate;
use crate::source::Span;

/// What a comparison of two rules leaves out. Each level leaves out what the one before does, and more.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Ignore {
    /// Only what never matters.
    Nothing,
    /// The addresses.
    Addresses,
    /// Everything that a packet is compared with.
    Criteria,
}

/// Optimizes one ruleset. New tables are appended to `tables`; their definitions as pfctl prints them are returned.
pub(crate) fn optimize(
    rules: Vec<Rule>,
    tables: &mut Vec<Table>,
    first_table: &mut usize,
) -> (Vec<Rule>, String) {
    let mut output = String::new();
    let mut done = Vec::new();
    for block in superblocks(rules) {
        if block.len() == 1 {
            done.extend(block);
            continue;
        }
        let mut block = covered::without_covered(block);
        block = tables::combined(block, tables, first_table, &mut output);
        done.extend(order::reordered(block));
    }
    (done, output)
}

// ---- superblocks ------------------------------------------------------------------------------------------

fn superblocks(rules: Vec<Rule>) -> Vec<Vec<Rule>> {
    let mut blocks: Vec<Vec<Rule>> = Vec::new();
    for rule in rules {
        match blocks.last_mut() {
            Some(block) if may_join(&block[0], &rule) => block.push(rule),
            _ => blocks.push(vec![rule]),
        }
    }
    blocks
}

/// True if the rule may change places with the rules of a block that begins with `first`.
fn may_join(first: &Rule, rule: &Rule) -> bool {
    if stands_alone(rule) {
        return false;
    }
    let (a, b) = (interface(first), interface(rule));
    if a != b && (is_group(a) || is_group(b)) {
        return false;
    }
    comparable(first, Ignore::Criteria) == comparable(rule, Ignore::Criteria)
}

/// True for a rule with a label, a probability or counted states: its place and number matter.
fn stands_alone(rule: &Rule) -> bool {
    let state = &rule.state;
    rule.label.is_some()
        || rule.probability.is_some()
        || matches!(rule.kind, RuleKind::Anchor { .. })
        || state.max != 0
        || state.max_src_nodes != 0
        || state.max_src_states != 0
        || state.max_src_conn != 0
        || state.max_src_conn_rate.is_some()
        || state.source_track == Some(true)
}

fn interface(rule: &Rule) -> &str {
    match &rule.on {
        Some((IfItemKind::Name(name), _)) => name,
        _ => "",
    }
}

/// Interfaces end in a digit, groups do not.
fn is_group(name: &str) -> bool {
    !name.is_empty() && !name.ends_with(|c: char| c.is_ascii_digit())
}

/// The rule with everything blanked that a comparison leaves out.
fn comparable(rule: &Rule, ignore: Ignore) -> Rule {
    let mut rule = rule.clone();
    rule.span = Span::default();
    let route = rule.route.as_mut().map(|(_, pool)| pool);
    let pools = [rule.nat.as_mut(), rule.rdr.as_mut(), route];
    for host in pools.into_iter().flatten().flat_map(|pool| &mut pool.hosts) {
        host.span = Span::default();
    }
    // pfctl leaves these three out of every comparison: of two rules that differ only here it drops one. Nobody passes
    // or is blocked by that, and its users expect its text.
    rule.scrub.max_mss = 0;
    rule.scrub.min_ttl = 0;
    rule.set_tos = rule.set_tos.map(|_| 0);
    if ignore >= Ignore::Addresses {
        rule.src.addr = Addr::Any;
        rule.dst.addr = Addr::Any;
    }
    if ignore >= Ignore::Criteria {
        blank_criteria(&mut rule);
    }
    rule
}

fn blank_criteria(rule: &mut Rule) {
    relate::blank_questions(rule);
    rule.state.timeouts = Default::default();
    if let Reply::Icmp { .. } = rule.reply {
        let none = (0, 0);
        rule.reply = Reply::Icmp { v4: none, v6: none };
    }
}
