//! `pfctl -o basic`: fewer rules and better skip steps. For what `pfctl` shows; the dataplane has an index of its own
//! and is better served with the rules as written.
//!
//! Rules are cut into superblocks, runs of rules that can change places without changing any verdict. In each block
//! rules that another one covers are dropped, rules that differ in one address become one rule with a table, and the
//! rest is put in an order in which neighbors have much in common.

use crate::policy::{Addr, End, Host, IfItemKind, Reply, Rule, RuleKind, Table};
use crate::source::Span;

/// So many rules that differ in one address become a table.
const TABLE_THRESHOLD: usize = 6;

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
        let mut block = without_covered(block);
        block = combined(block, tables, first_table, &mut output);
        done.extend(reordered(block));
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
    rule.af = None;
    rule.on = None;
    rule.tagged = None;
    rule.os = None;
    rule.state.timeouts = Default::default();
    rule.user = None;
    rule.group = None;
    rule.direction = None;
    rule.proto = None;
    rule.icmp = None;
    rule.flags = None;
    rule.tos = None;
    rule.src = End::default();
    rule.dst = End::default();
    if let Reply::Icmp { .. } = rule.reply {
        let none = (0, 0);
        rule.reply = Reply::Icmp { v4: none, v6: none };
    }
}

// ---- rules that another one covers ------------------------------------------------------------------------

fn without_covered(block: Vec<Rule>) -> Vec<Rule> {
    let mut kept: Vec<Option<Rule>> = block.into_iter().map(Some).collect();
    for first in 0..kept.len() {
        for second in first + 1..kept.len() {
            let (Some(a), Some(b)) = (&kept[first], &kept[second]) else {
                continue;
            };
            if covers(a, b) {
                kept[second] = None;
            } else if covers(b, a) {
                kept[first] = None;
                break;
            }
        }
    }
    kept.into_iter().flatten().collect()
}

/// True if every packet that `sub` matches is matched by `wide`, with the same consequences.
fn covers(wide: &Rule, sub: &Rule) -> bool {
    let (wide, sub) = (
        comparable(wide, Ignore::Nothing),
        comparable(sub, Ignore::Nothing),
    );
    widened(&wide, sub) == wide
}

/// `sub` with everything taken over from `wide` that is only narrower in `sub`.
fn widened(wide: &Rule, mut sub: Rule) -> Rule {
    if wide.on.is_none() && sub.on.as_ref().is_some_and(|(_, not)| !not) {
        sub.on = None;
    }
    if wide.direction.is_none() {
        sub.direction = None;
    }
    let same_proto = wide.proto.is_none() || wide.proto == sub.proto;
    if same_proto && wide.flags.is_none() && wide.kind == sub.kind {
        sub.flags = None;
    }
    if wide.proto.is_none() {
        sub.proto = None;
    }
    widen_end(&wide.src, &mut sub.src, wide.af == sub.af);
    widen_end(&wide.dst, &mut sub.dst, wide.af == sub.af);
    if wide.af.is_none() {
        sub.af = None;
    }
    sub
}

fn widen_end(wide: &End, sub: &mut End, same_family: bool) {
    if wide.port.is_none() {
        sub.port = None;
    }
    let all = is_any(&wide.addr) && !wide.not && !sub.not;
    // The larger the network behind a `!`, the fewer packets match: there pfctl has it the wrong way around.
    let wider = match (wide.not, sub.not) {
        (false, false) => holds(&wide.addr, &sub.addr),
        (true, true) => holds(&sub.addr, &wide.addr),
        _ => false,
    };
    if all || same_family && wider {
        sub.addr = wide.addr.clone();
    }
}

fn is_any(addr: &Addr) -> bool {
    matches!(addr, Addr::Any | Addr::Masked { bits: 0, .. })
}

/// True if the second is a smaller network inside the first.
fn holds(wide: &Addr, sub: &Addr) -> bool {
    let (
        Addr::Masked { af, addr, bits },
        Addr::Masked {
            af: af2,
            addr: addr2,
            bits: bits2,
        },
    ) = (wide, sub)
    else {
        return false;
    };
    af == af2 && bits < bits2 && *addr == addr2 & ruleset::table::prefix_mask(*af, *bits)
}

// ---- rules that differ in one address ---------------------------------------------------------------------

/// Which address of a rule a table takes the place of.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Src,
    Dst,
}

/// A rule on its way into a table.
struct Combining {
    rule: Rule,
    /// The table that it is collected in, and for which address.
    table: Option<(usize, Side)>,
}

fn combined(
    block: Vec<Rule>,
    tables: &mut Vec<Table>,
    first_table: &mut usize,
    output: &mut String,
) -> Vec<Rule> {
    let mut rules: Vec<Option<Combining>> = block
        .into_iter()
        .map(|rule| Some(Combining { rule, table: None }))
        .collect();
    let mut collected: Vec<Vec<End>> = Vec::new();
    for first in 0..rules.len() {
        for second in first + 1..rules.len() {
            combine_pair(&mut rules, first, second, &mut collected);
        }
    }
    let mut names: Vec<Option<String>> = vec![None; collected.len()];
    let mut done = Vec::new();
    for combining in rules.into_iter().flatten() {
        let Combining { mut rule, table } = combining;
        let Some((n, side)) = table.filter(|t| collected[t.0].len() >= TABLE_THRESHOLD) else {
            done.push(rule);
            continue;
        };
        if names[n].is_some() {
            continue;
        }
        let name = format!("__automatic_{first_table}");
        *first_table += 1;
        let table = table_of(&name, &collected[n], rule.span);
        *output += &format!(
            "table <{name}> const{}\n",
            crate::tables::list_text(&table.entries)
        );
        tables.push(table);
        let end = match side {
            Side::Src => &mut rule.src,
            Side::Dst => &mut rule.dst,
        };
        end.addr = Addr::Table(name.clone());
        names[n] = Some(name);
        done.push(rule);
    }
    done
}

fn combine_pair(
    rules: &mut [Option<Combining>],
    first: usize,
    second: usize,
    collected: &mut Vec<Vec<End>>,
) {
    let (head, tail) = rules.split_at_mut(second);
    let (Some(a), Some(b)) = (&mut head[first], &mut tail[0]) else {
        return;
    };
    let equal = |a: &End, b: &End| a.not == b.not && a.addr == b.addr;
    let src_equal = equal(&a.rule.src, &b.rule.src);
    let dst_equal = equal(&a.rule.dst, &b.rule.dst);
    let side = match (src_equal, dst_equal) {
        (true, false) => Side::Dst,
        (false, true) => Side::Src,
        _ => return,
    };
    if b.table.is_some() || a.table.is_some_and(|t| t.1 != side) {
        return;
    }
    let ends = |rule: &Rule| match side {
        Side::Src => rule.src.clone(),
        Side::Dst => rule.dst.clone(),
    };
    let (end_a, end_b) = (ends(&a.rule), ends(&b.rule));
    if !combineable(&end_a, &end_b)
        || comparable(&a.rule, Ignore::Addresses) != comparable(&b.rule, Ignore::Addresses)
    {
        return;
    }
    let (n, _) = *a.table.get_or_insert_with(|| {
        collected.push(vec![end_a]);
        (collected.len() - 1, side)
    });
    collected[n].push(end_b);
    if collected[n].len() >= TABLE_THRESHOLD {
        tail[0] = None;
    } else {
        b.table = Some((n, side));
    }
}

/// What carries a `!` stays alone: two rules with `!` match together all that one of them does, a table with `!` only
/// what both do.
fn combineable(a: &End, b: &End) -> bool {
    let plain = |end: &End| !end.not && matches!(end.addr, Addr::Masked { .. } | Addr::Any);
    plain(a) && plain(b) && a.port == b.port
}

fn table_of(name: &str, ends: &[End], span: Span) -> Table {
    let host = |end: &End| Host {
        addr: end.addr.clone(),
        ..Host::default()
    };
    Table {
        name: name.into(),
        anchor: String::new(),
        constant: true,
        persist: false,
        counters: false,
        entries: ends.iter().map(host).collect(),
        keeps_contents: false,
        span,
    }
}

// ---- order ------------------------------------------------------------------------------------------------

/// Rules that have one field in common, by their place in the block.
struct Common {
    rules: Vec<usize>,
    /// 0 takes the list out of the race.
    count: usize,
}

/// True if two rules have something in a field, and the same.
type Same = fn(&Rule, &Rule) -> bool;

/// The fields of PF's skip steps, in its order.
const FIELDS: [Same; 9] = [
    |a, b| interface_set(a) && a.on == b.on,
    |a, b| a.direction.is_some() && a.direction == b.direction,
    |a, b| rdomain(a) == rdomain(b),
    |a, b| a.af.is_some() && a.af == b.af,
    |a, b| a.proto.is_some() && a.proto == b.proto,
    |a, b| same_addr(&a.src, &b.src),
    |a, b| same_addr(&a.dst, &b.dst),
    |a, b| a.src.port.is_some() && a.src.port == b.src.port,
    |a, b| a.dst.port.is_some() && a.dst.port == b.dst.port,
];

fn interface_set(rule: &Rule) -> bool {
    !interface(rule).is_empty()
}

fn rdomain(rule: &Rule) -> Option<&IfItemKind> {
    let kind = rule.on.as_ref().map(|on| &on.0);
    kind.filter(|k| matches!(k, IfItemKind::Rdomain(_)))
}

fn same_addr(a: &End, b: &End) -> bool {
    let open = matches!(
        a.addr,
        Addr::Any | Addr::Masked { addr: 0, .. } | Addr::RouteLabel(_)
    );
    let range = matches!(a.addr, Addr::Range { .. });
    !open && !range && a.not == b.not && a.addr == b.addr
}

/// Puts rules with much in common next to each other; the largest such groups first.
fn reordered(block: Vec<Rule>) -> Vec<Rule> {
    let order = order(&block, (0..block.len()).collect());
    let mut block: Vec<Option<Rule>> = block.into_iter().map(Some).collect();
    order.into_iter().filter_map(|n| block[n].take()).collect()
}

/// The new order of `rules`, which are places in `block`. A group of more than two is ordered within itself. Each
/// level leaves out at least one rule, so the depth is bounded by their number.
fn order(block: &[Rule], rules: Vec<usize>) -> Vec<usize> {
    let mut fields = FIELDS.map(|same| groups(block, &rules, same));
    let mut useful = false;
    for groups in &mut fields {
        if let Some(first) = groups.first_mut() {
            if first.count == rules.len() || first.count == 1 {
                first.count = 0;
            }
            useful |= first.count > 0;
        }
    }
    if !useful {
        return rules;
    }
    let mut left = rules;
    let (mut split, mut own) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        let Some(field) = largest(&fields) else {
            own.append(&mut left);
            break;
        };
        let group = fields[field].remove(0);
        left.retain(|n| !group.rules.contains(n));
        for n in &group.rules {
            remove_from(&mut fields, *n);
        }
        if group.rules.len() > 2 {
            split.extend(order(block, group.rules));
        } else {
            own.extend(group.rules);
        }
    }
    split.extend(own);
    split
}

/// The field whose first group is the largest, if any has more than one rule.
fn largest(fields: &[Vec<Common>; FIELDS.len()]) -> Option<usize> {
    let mut found = None;
    let mut most = 1;
    for (n, groups) in fields.iter().enumerate() {
        let count = groups.first().map_or(0, |g| g.count);
        if count > most {
            most = count;
            found = Some(n);
        }
    }
    found
}

/// Groups of rules with the same value of a field, the largest first.
fn groups(block: &[Rule], rules: &[usize], same: Same) -> Vec<Common> {
    let mut groups: Vec<Common> = Vec::new();
    for n in rules {
        let found = groups
            .iter()
            .position(|g| same(&block[g.rules[0]], &block[*n]));
        match found {
            Some(mut at) => {
                groups[at].rules.push(*n);
                groups[at].count += 1;
                while at > 0 && groups[at - 1].count < groups[at].count {
                    groups.swap(at - 1, at);
                    at -= 1;
                }
            }
            None => groups.push(Common {
                rules: vec![*n],
                count: 1,
            }),
        }
    }
    groups
}

/// Takes a rule out of its groups and lets smaller groups fall back.
fn remove_from(fields: &mut [Vec<Common>; FIELDS.len()], rule: usize) {
    for groups in fields {
        if groups.first().is_none_or(|g| g.count <= 1) {
            continue;
        }
        let Some(mut at) = groups.iter().position(|g| g.rules.contains(&rule)) else {
            continue;
        };
        groups[at].rules.retain(|n| *n != rule);
        groups[at].count = groups[at].count.saturating_sub(1);
        while at + 1 < groups.len() && groups[at + 1].count > groups[at].count {
            groups.swap(at, at + 1);
            at += 1;
        }
    }
}
