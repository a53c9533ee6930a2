//! The rules of two rulesets, anchor by anchor: what stayed (a longest common subsequence), what moved, what changed, what came
//! and went. A rule that only moved past rules it cannot disagree with did not move at all.

use std::collections::HashMap;

use super::align::align;
use super::{Change, Read, RuleChange, Stated};
use crate::policy::{Addr, Host, Rule, RuleKind, Table};
use crate::print::{Style, print_rule};
use crate::relate::{canonical, commute};

/// Rules that differ in more fields than this are two rules, not one that was changed.
const FIELDS_MAX: usize = 3;

/// Most pairs of rules looked at for one purpose; beyond it, moves count and changes are told as one rule less and one more.
const PAIRS_MAX: usize = 4_000_000;

pub(super) fn compare(a: &Read<'_>, b: &Read<'_>) -> Vec<RuleChange> {
    let mut comparison = Comparison {
        a,
        b,
        changes: Vec::new(),
    };
    comparison.ruleset("", &a.front.built.rules, &b.front.built.rules);
    comparison.changes
}

struct Comparison<'c, 'e> {
    a: &'c Read<'e>,
    b: &'c Read<'e>,
    changes: Vec<RuleChange>,
}

/// The rules of one ruleset with what they are compared by.
struct Listed<'r> {
    rules: &'r [Rule],
    canonical: Vec<Rule>,
    texts: Vec<String>,
}

fn listed<'r>(read: &Read<'_>, rules: &'r [Rule]) -> Listed<'r> {
    let style = Style::plain(&read.known);
    let tables = &read.front.built.tables;
    let canonical: Vec<Rule> = rules
        .iter()
        .map(|rule| canonical(&with_made_up_tables(rule, tables)))
        .collect();
    Listed {
        rules,
        texts: canonical.iter().map(|r| print_rule(r, &style)).collect(),
        canonical,
    }
}

/// In what pfctl has printed, a pool of several addresses is a table with a made-up name: the addresses count, not the name.
fn with_made_up_tables(rule: &Rule, tables: &[Table]) -> Rule {
    let mut rule = rule.clone();
    let route = rule.route.as_mut().map(|(_, pool)| pool);
    for pool in [rule.nat.as_mut(), rule.rdr.as_mut(), route]
        .into_iter()
        .flatten()
    {
        let named = match pool.hosts.as_slice() {
            [
                Host {
                    addr: Addr::Table(name),
                    ..
                },
            ] if name.starts_with(super::AUTOMATIC) => Some(name.clone()),
            _ => None,
        };
        let table = named.and_then(|name| tables.iter().find(|t| t.name == name));
        if let Some(table) = table {
            pool.hosts.clone_from(&table.entries);
            pool.table = Some(table.name.clone());
        }
    }
    rule
}

/// What became of a rule that both rulesets have, or nearly have.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Stayed,
    Moved,
    Changed,
}

/// Equal texts have equal numbers.
fn numbered(a: &Listed<'_>, b: &Listed<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut number = |text: &String| {
        let next = numbers.len() as u32;
        *numbers.entry(text.clone()).or_insert(next)
    };
    let first = a.texts.iter().map(&mut number).collect();
    (first, b.texts.iter().map(&mut number).collect())
}

impl Comparison<'_, '_> {
    fn ruleset(&mut self, anchor: &str, a: &[Rule], b: &[Rule]) {
        let (first, second) = (listed(self.a, a), listed(self.b, b));
        let (x, y) = numbered(&first, &second);
        let stayed = align(&x, &y);
        let moved = moves(&x, &y, &stayed);
        let changed = changes(&first, &second, &stayed, &moved);
        // The position on the other side, or none.
        let (mut fate_a, mut fate_b) = (vec![None; a.len()], vec![None; b.len()]);
        let mut same = stayed.clone();
        same.extend(&moved);
        let kinds = [
            (&stayed, Fate::Stayed),
            (&moved, Fate::Moved),
            (&changed, Fate::Changed),
        ];
        for (pairs, fate) in kinds {
            for (i, j) in pairs {
                fate_a[*i] = Some(*j);
                fate_b[*j] = Some((*i, fate));
            }
        }
        let look = moved.len().saturating_mul(same.len()) <= PAIRS_MAX;
        let mut at_a = 0;
        for (j, fate) in fate_b.into_iter().enumerate() {
            let Some((i, fate)) = fate else {
                let change = Change::Added(stated(self.b, &second, j));
                self.lonely(anchor, change, &b[j]);
                continue;
            };
            // What is gone is told where it was: before the next rule that is still there.
            self.gone(anchor, &first, &fate_a, &mut at_a, i);
            let before = stated(self.a, &first, i);
            let after = stated(self.b, &second, j);
            match fate {
                Fate::Changed => {
                    let fields = fields(&first.canonical[i], &second.canonical[j]);
                    let change = Change::Changed {
                        before,
                        after,
                        fields,
                    };
                    self.push(anchor, change);
                }
                Fate::Moved if !look || self.move_matters((i, j), a, b, &same) => {
                    self.push(anchor, Change::Moved { before, after });
                }
                Fate::Moved | Fate::Stayed => {}
            }
            self.bodies(anchor, &a[i], &b[j]);
        }
        self.gone(anchor, &first, &fate_a, &mut at_a, a.len());
    }

    /// Rules of the first ruleset up to a position that the second has not.
    fn gone(
        &mut self,
        anchor: &str,
        first: &Listed<'_>,
        fate: &[Option<usize>],
        at: &mut usize,
        to: usize,
    ) {
        while *at < to {
            if fate[*at].is_none() {
                let change = Change::Removed(stated(self.a, first, *at));
                self.lonely(anchor, change, &first.rules[*at]);
            }
            *at += 1;
        }
    }

    fn push(&mut self, anchor: &str, change: Change) {
        self.changes.push(RuleChange {
            anchor: anchor.into(),
            change,
        });
    }

    /// A rule that came or went, with all that is in it.
    fn lonely(&mut self, anchor: &str, change: Change, rule: &Rule) {
        let added = matches!(change, Change::Added(_));
        self.push(anchor, change);
        let Some(body) = &rule.body else {
            return;
        };
        let path = path_of(anchor, rule);
        match added {
            true => self.ruleset(&path, &[], body),
            false => self.ruleset(&path, body, &[]),
        }
    }

    fn bodies(&mut self, anchor: &str, a: &Rule, b: &Rule) {
        let (x, y) = (a.body.as_deref(), b.body.as_deref());
        if x.is_some() || y.is_some() {
            let path = path_of(anchor, b);
            self.ruleset(&path, x.unwrap_or_default(), y.unwrap_or_default());
        }
    }

    /// True if a rule went past another one that it does not commute with.
    fn move_matters(
        &self,
        (i, j): (usize, usize),
        a: &[Rule],
        b: &[Rule],
        same: &[(usize, usize)],
    ) -> bool {
        let one_statement = |x: &Rule, y: &Rule| x.span == y.span;
        let mut crossed = same.iter().filter(|(p, q)| (*p < i) != (*q < j) && *p != i);
        crossed.any(|(p, q)| {
            let listed = one_statement(&a[*p], &a[i]) && one_statement(&b[*q], &b[j]);
            // The rules of one list do the same.
            !listed && !commute(&a[*p], &a[i], &self.a.known)
        })
    }
}

fn path_of(outer: &str, rule: &Rule) -> String {
    let name = match &rule.kind {
        RuleKind::Anchor {
            name: Some(name), ..
        } => name.as_str(),
        _ => "{}",
    };
    match name.strip_prefix('/') {
        Some(absolute) => absolute.to_string(),
        None if outer.is_empty() => name.to_string(),
        None => format!("{outer}/{name}"),
    }
}

fn stated(read: &Read<'_>, list: &Listed<'_>, n: usize) -> Stated {
    Stated {
        text: list.texts[n].clone(),
        place: read.place(list.rules[n].span),
    }
}

/// Rules that are on both sides and not among those that stayed: paired in order.
fn moves(a: &[u32], b: &[u32], stayed: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let (free_a, free_b) = free(a.len(), b.len(), stayed);
    let mut waiting: HashMap<u32, Vec<usize>> = HashMap::new();
    for i in free_a.into_iter().rev() {
        waiting.entry(a[i]).or_default().push(i);
    }
    let pair = |j: usize| Some((waiting.get_mut(&b[j])?.pop()?, j));
    free_b.into_iter().filter_map(pair).collect()
}

/// Positions on both sides that no pair holds.
fn free(a: usize, b: usize, pairs: &[(usize, usize)]) -> (Vec<usize>, Vec<usize>) {
    let (mut used_a, mut used_b) = (vec![false; a], vec![false; b]);
    for (i, j) in pairs {
        (used_a[*i], used_b[*j]) = (true, true);
    }
    let open = |used: Vec<bool>| -> Vec<usize> {
        let all = used.into_iter().enumerate();
        all.filter(|(_, used)| !used).map(|(n, _)| n).collect()
    };
    (open(used_a), open(used_b))
}

/// Rules that were changed: of those that are left, pairs that differ in few fields, the most alike first. They stand between
/// the same rules that stayed, or have the same label.
fn changes(
    a: &Listed<'_>,
    b: &Listed<'_>,
    stayed: &[(usize, usize)],
    moved: &[(usize, usize)],
) -> Vec<(usize, usize)> {
    let mut held = stayed.to_vec();
    held.extend(moved);
    let (free_a, free_b) = free(a.rules.len(), b.rules.len(), &held);
    if free_a.len().saturating_mul(free_b.len()) > PAIRS_MAX {
        return Vec::new();
    }
    let gap_a = |i: usize| stayed.partition_point(|(p, _)| *p < i);
    let gap_b = |j: usize| stayed.partition_point(|(_, q)| *q < j);
    let mut candidates = Vec::new();
    for i in &free_a {
        for j in &free_b {
            let (x, y) = (&a.canonical[*i], &b.canonical[*j]);
            let named = x.label.is_some() && x.label == y.label;
            if !named && gap_a(*i) != gap_b(*j) {
                continue;
            }
            let distance = fields(x, y).len();
            if x.kind.group() == y.kind.group() && (named || distance <= FIELDS_MAX) {
                candidates.push((distance, i.abs_diff(*j), *i, *j));
            }
        }
    }
    candidates.sort_unstable();
    let (mut used_a, mut used_b) = (vec![false; a.rules.len()], vec![false; b.rules.len()]);
    let mut pairs = Vec::new();
    for (_, _, i, j) in candidates {
        if !used_a[i] && !used_b[j] {
            (used_a[i], used_b[j]) = (true, true);
            pairs.push((i, j));
        }
    }
    pairs
}

/// What differs between two rules in their canonical form, in words of the manual.
fn fields(a: &Rule, b: &Rule) -> Vec<&'static str> {
    let route = |r: &Rule| r.route.as_ref().map(|(kind, _)| *kind);
    let all = [
        ("action", a.kind != b.kind || a.reply != b.reply),
        ("direction", a.direction != b.direction),
        ("log", a.log != b.log),
        ("quick", a.quick != b.quick),
        ("interface", a.on != b.on),
        ("received-on", a.received_on != b.received_on),
        ("address family", a.af != b.af),
        ("protocol", a.proto != b.proto),
        ("from", a.src.addr != b.src.addr || a.src.not != b.src.not),
        ("from port", a.src.port != b.src.port),
        ("os", a.os != b.os),
        ("to", a.dst.addr != b.dst.addr || a.dst.not != b.dst.not),
        ("to port", a.dst.port != b.dst.port),
        ("user", a.user != b.user),
        ("group", a.group != b.group),
        ("flags", a.flags != b.flags),
        ("icmp-type", a.icmp != b.icmp),
        ("tos", a.tos != b.tos),
        ("prio", a.prio != b.prio),
        ("max-pkt-rate", a.max_pkt_rate != b.max_pkt_rate),
        ("max-pkt-size", a.max_pkt_size != b.max_pkt_size),
        ("dnpipe", a.dummynet != b.dummynet),
        ("set prio", a.set_prio != b.set_prio),
        ("set tos", a.set_tos != b.set_tos),
        ("set delay", a.delay != b.delay),
        ("set queue", a.queue != b.queue),
        ("state", a.keep != b.keep),
        ("state options", a.state != b.state),
        ("probability", a.probability != b.probability),
        ("fragment", a.fragment != b.fragment),
        ("scrub", a.scrub != b.scrub),
        ("allow-opts", a.allow_opts != b.allow_opts),
        (
            "label",
            a.label != b.label || a.more_labels != b.more_labels,
        ),
        ("once", a.once != b.once),
        ("tag", a.tag != b.tag),
        ("tagged", a.tagged != b.tagged),
        ("rtable", a.rtable != b.rtable),
        ("divert", a.divert != b.divert),
        ("af-to", a.naf != b.naf),
        ("nat-to", a.nat != b.nat),
        ("rdr-to", a.rdr != b.rdr),
        ("route", route(a) != route(b) || a.route != b.route),
        ("state limiter", a.state_limiter != b.state_limiter),
        ("source limiter", a.source_limiter != b.source_limiter),
        ("ridentifier", a.ridentifier != b.ridentifier),
        (
            "prefer-ipv6-nexthop",
            a.prefer_ipv6_nexthop != b.prefer_ipv6_nexthop,
        ),
    ];
    all.iter().filter(|f| f.1).map(|f| f.0).collect()
}
