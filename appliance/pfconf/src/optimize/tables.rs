//! Rules that differ in one address become one rule with a table.

use std::collections::HashMap;
use std::hash::Hash;

use super::{Ignore, comparable};
use crate::policy::{Addr, End, Host, Rule, Table};
use crate::source::Span;

/// So many rules that differ in one address become a table.
const TABLE_THRESHOLD: usize = 6;

/// Which address of a rule a table takes the place of.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Src,
    Dst,
}

/// The rules of a block, with what is asked about them again and again.
struct Combining {
    /// None once it is in the table of another.
    rules: Vec<Option<Rule>>,
    /// Rules that differ in nothing but addresses are of one class.
    class: Vec<usize>,
    src: Vec<usize>,
    dst: Vec<usize>,
    /// The table that a rule is collected in, and for which address.
    table: Vec<Option<(usize, Side)>>,
    /// Contents of the tables.
    collected: Vec<Vec<End>>,
}

pub(super) fn combined(
    block: Vec<Rule>,
    tables: &mut Vec<Table>,
    first_table: &mut usize,
    output: &mut String,
) -> Vec<Rule> {
    let mut combining = Combining::new(block);
    combining.collect();
    let Combining {
        rules,
        table: chosen,
        collected,
        ..
    } = combining;
    let mut names: Vec<Option<String>> = vec![None; collected.len()];
    let mut done = Vec::new();
    for (rule, table) in rules.into_iter().zip(chosen) {
        let Some(mut rule) = rule else {
            continue;
        };
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

impl Combining {
    fn new(block: Vec<Rule>) -> Self {
        let class = classes(&block);
        let src = numbers(block.iter().map(|rule| (&rule.src.addr, rule.src.not)));
        let dst = numbers(block.iter().map(|rule| (&rule.dst.addr, rule.dst.not)));
        Combining {
            class,
            src,
            dst,
            table: vec![None; block.len()],
            rules: block.into_iter().map(Some).collect(),
            collected: Vec::new(),
        }
    }

    /// Looks at every pair of a class whose rules have one address in common.
    fn collect(&mut self) {
        let mut same_src: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        let mut same_dst: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for n in 0..self.rules.len() {
            let (src, dst) = (self.src[n], self.dst[n]);
            same_src.entry((self.class[n], src)).or_default().push(n);
            same_dst.entry((self.class[n], dst)).or_default().push(n);
        }
        for first in 0..self.rules.len() {
            let class = self.class[first];
            let neighbors = [
                (Side::Dst, &same_src[&(class, self.src[first])]),
                (Side::Src, &same_dst[&(class, self.dst[first])]),
            ];
            let mut behind: Vec<(usize, Side)> = Vec::new();
            for (side, all) in neighbors {
                if self.may_collect(first, side) {
                    let from = all.partition_point(|n| *n <= first);
                    behind.extend(all[from..].iter().map(|n| (*n, side)));
                }
            }
            behind.sort_unstable_by_key(|(n, _)| *n);
            for (second, side) in behind {
                self.combine(first, second, side);
            }
        }
    }

    fn may_collect(&self, n: usize, side: Side) -> bool {
        let end = self.rules[n].as_ref().map(|rule| end(rule, side));
        end.is_some_and(is_plain) && self.table[n].is_none_or(|t| t.1 == side)
    }

    /// Two rules of a class that differ in at most the address of one side.
    fn combine(&mut self, first: usize, second: usize, side: Side) {
        let both = self.src[first] == self.src[second] && self.dst[first] == self.dst[second];
        let (Some(a), Some(b)) = (&self.rules[first], &self.rules[second]) else {
            return;
        };
        if both || self.table[second].is_some() || !self.may_collect(first, side) {
            return;
        }
        let (end_a, end_b) = (end(a, side).clone(), end(b, side).clone());
        if !is_plain(&end_b) {
            return;
        }
        let (n, _) = *self.table[first].get_or_insert_with(|| {
            self.collected.push(vec![end_a]);
            (self.collected.len() - 1, side)
        });
        self.collected[n].push(end_b);
        if self.collected[n].len() >= TABLE_THRESHOLD {
            self.rules[second] = None;
        } else {
            self.table[second] = Some((n, side));
        }
    }
}

fn end(rule: &Rule, side: Side) -> &End {
    match side {
        Side::Src => &rule.src,
        Side::Dst => &rule.dst,
    }
}

/// What carries a `!` stays alone: two rules with `!` match together all that one of them does, a table with `!` only
/// what both do.
fn is_plain(end: &End) -> bool {
    !end.not && matches!(end.addr, Addr::Masked { .. } | Addr::Any)
}

/// A number for each rule, the same for rules that differ in nothing but addresses.
fn classes(block: &[Rule]) -> Vec<usize> {
    let plain: Vec<Rule> = block
        .iter()
        .map(|rule| comparable(rule, Ignore::Addresses))
        .collect();
    // Rules with the same key may still differ; of those there are few.
    let key = |rule: &Rule| {
        let ports = (rule.src.port, rule.dst.port);
        (
            rule.on.clone(),
            rule.direction,
            rule.af,
            rule.proto,
            ports,
            rule.icmp,
        )
    };
    let mut firsts: HashMap<_, Vec<usize>> = HashMap::new();
    let mut class = Vec::with_capacity(plain.len());
    for (n, rule) in plain.iter().enumerate() {
        let firsts = firsts.entry(key(rule)).or_default();
        let first = firsts.iter().copied().find(|m| plain[*m] == *rule);
        class.push(first.unwrap_or(n));
        if first.is_none() {
            firsts.push(n);
        }
    }
    class
}

/// A number for each value, the same for equal ones.
fn numbers<T: Hash + Eq>(values: impl Iterator<Item = T>) -> Vec<usize> {
    let mut known = HashMap::new();
    let number = |value| {
        let next = known.len();
        *known.entry(value).or_insert(next)
    };
    values.map(number).collect()
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
