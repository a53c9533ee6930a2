//! The order of a block: rules with much in common next to each other, as pfctl orders them for its skip steps.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use crate::policy::{Addr, End, IfItemKind, Rule};

/// Fields of PF's skip steps, in its order: interface, direction, routing domain, family, protocol, source, destination,
/// source port, destination port.
const FIELDS: usize = 9;

/// What a rule has in each field, as a number: rules with the same number have the same. None has nothing in common with
/// any rule.
type Values = [Vec<Option<usize>>; FIELDS];

/// Puts rules with much in common next to each other; the largest such groups first.
pub(super) fn reordered(block: Vec<Rule>) -> Vec<Rule> {
    let order = order(&values(&block), (0..block.len()).collect());
    let mut block: Vec<Option<Rule>> = block.into_iter().map(Some).collect();
    order.into_iter().filter_map(|n| block[n].take()).collect()
}

fn values(block: &[Rule]) -> Values {
    [
        numbers(block, |r| r.on.as_ref().filter(|on| is_named(&on.0))),
        numbers(block, |r| r.direction),
        numbers(block, |r| Some(rdomain(r))),
        numbers(block, |r| r.af),
        numbers(block, |r| r.proto),
        numbers(block, |r| addr(&r.src)),
        numbers(block, |r| addr(&r.dst)),
        numbers(block, |r| r.src.port),
        numbers(block, |r| r.dst.port),
    ]
}

fn numbers<'b, T: Hash + Eq>(
    block: &'b [Rule],
    value: impl Fn(&'b Rule) -> Option<T>,
) -> Vec<Option<usize>> {
    let mut known = HashMap::new();
    let number = |value| {
        let next = known.len();
        *known.entry(value).or_insert(next)
    };
    let values = block.iter().map(value);
    let mut number = number;
    values.map(|value| value.map(&mut number)).collect()
}

fn is_named(on: &IfItemKind) -> bool {
    matches!(on, IfItemKind::Name(name) if !name.is_empty())
}

fn rdomain(rule: &Rule) -> Option<&IfItemKind> {
    let kind = rule.on.as_ref().map(|on| &on.0);
    kind.filter(|k| matches!(k, IfItemKind::Rdomain(_)))
}

fn addr(end: &End) -> Option<(&Addr, bool)> {
    let open = matches!(
        end.addr,
        Addr::Any | Addr::Masked { addr: 0, .. } | Addr::RouteLabel(_) | Addr::Range { .. }
    );
    (!open).then_some((&end.addr, end.not))
}

/// The groups of one field, and which is the largest at the moment.
struct Groups {
    /// Rules of each group, in the order of the rules; those that were taken since are still there.
    rules: Vec<Vec<usize>>,
    /// Group of each rule.
    of: HashMap<usize, usize>,
    counts: Vec<usize>,
    /// Largest first; of equal ones the one that shrank last, then the one that was complete first.
    order: BTreeSet<(Reverse<usize>, isize, usize)>,
    places: Vec<isize>,
    /// Place of the next group that shrinks.
    front: isize,
}

impl Groups {
    /// None if the field tells no rules apart, or has no two that are alike.
    fn new(values: &[Option<usize>], rules: &[usize]) -> Option<Groups> {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut of = HashMap::new();
        for n in rules {
            let next = groups.len();
            let group = match values[*n] {
                Some(value) => *numbers.entry(value).or_insert(next),
                None => next,
            };
            if group == next {
                groups.push(Vec::new());
            }
            groups[group].push(*n);
            of.insert(*n, group);
        }
        let most = groups.iter().map(Vec::len).max()?;
        if most == rules.len() || most == 1 {
            return None;
        }
        let position: HashMap<usize, isize> = (0..).zip(rules).map(|(at, n)| (*n, at)).collect();
        let complete = |group: &Vec<usize>| group.last().map_or(0, |n| position[n]);
        let places: Vec<isize> = groups.iter().map(complete).collect();
        let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
        let order = (0..groups.len()).map(|g| (Reverse(counts[g]), places[g], g));
        Some(Groups {
            order: order.collect(),
            rules: groups,
            of,
            counts,
            places,
            front: -1,
        })
    }

    fn largest(&self) -> usize {
        self.order.first().map_or(0, |(Reverse(count), ..)| *count)
    }

    fn take_largest(&mut self) -> Vec<usize> {
        let Some((_, _, group)) = self.order.pop_first() else {
            return Vec::new();
        };
        self.counts[group] = 0;
        std::mem::take(&mut self.rules[group])
    }

    fn remove(&mut self, rule: usize) {
        let Some(group) = self.of.get(&rule).copied().filter(|g| self.counts[*g] > 0) else {
            return;
        };
        let old = (Reverse(self.counts[group]), self.places[group], group);
        self.order.remove(&old);
        self.counts[group] -= 1;
        self.places[group] = self.front;
        self.front -= 1;
        let new = (Reverse(self.counts[group]), self.places[group], group);
        self.order.insert(new);
    }
}

/// The new order of `rules`. A group of more than two is ordered within itself; there the field that made it tells
/// nothing apart any more, so that there are no more levels than fields.
fn order(values: &Values, rules: Vec<usize>) -> Vec<usize> {
    let mut fields: Vec<Groups> = values
        .iter()
        .filter_map(|v| Groups::new(v, &rules))
        .collect();
    let mut taken: HashSet<usize> = HashSet::new();
    let (mut split, mut own) = (Vec::new(), Vec::new());
    while let Some(field) = largest(&fields) {
        let mut group = fields[field].take_largest();
        group.retain(|n| !taken.contains(n));
        for n in &group {
            taken.insert(*n);
            fields.iter_mut().for_each(|groups| groups.remove(*n));
        }
        if group.len() > 2 {
            split.extend(order(values, group));
        } else {
            own.extend(group);
        }
    }
    own.extend(rules.into_iter().filter(|n| !taken.contains(n)));
    split.extend(own);
    split
}

/// The field whose first group is the largest, if any has more than one rule.
fn largest(fields: &[Groups]) -> Option<usize> {
    let mut found = None;
    let mut most = 1;
    for (n, groups) in fields.iter().enumerate() {
        if groups.largest() > most {
            most = groups.largest();
            found = Some(n);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules that have one field in common, by their place in the block.
    struct Common {
        rules: Vec<usize>,
        /// 0 takes the list out of the race.
        count: usize,
    }

    /// As pfctl does it: with lists that are searched from the front.
    fn slow_order(values: &Values, rules: Vec<usize>) -> Vec<usize> {
        let mut fields = values.each_ref().map(|field| groups(field, &rules));
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
            let Some(field) = slow_largest(&fields) else {
                own.append(&mut left);
                break;
            };
            let group = fields[field].remove(0);
            left.retain(|n| !group.rules.contains(n));
            for n in &group.rules {
                remove_from(&mut fields, *n);
            }
            if group.rules.len() > 2 {
                split.extend(slow_order(values, group.rules));
            } else {
                own.extend(group.rules);
            }
        }
        split.extend(own);
        split
    }

    /// The field whose first group is the largest, if any has more than one rule.
    fn slow_largest(fields: &[Vec<Common>; FIELDS]) -> Option<usize> {
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
    fn groups(field: &[Option<usize>], rules: &[usize]) -> Vec<Common> {
        let mut groups: Vec<Common> = Vec::new();
        for n in rules {
            let found = groups
                .iter()
                .position(|g| field[*n].is_some() && field[g.rules[0]] == field[*n]);
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
    fn remove_from(fields: &mut [Vec<Common>; FIELDS], rule: usize) {
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

    #[test]
    fn the_order_is_that_of_a_search_from_the_front() {
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        let mut below = move |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % n
        };
        for round in 0..2000 {
            let len = 2 + below(40);
            let kinds = 1 + below(6);
            let values: Values = std::array::from_fn(|_| {
                let field = (0..len).map(|_| Some(below(kinds)).filter(|v| *v > 0));
                field.collect()
            });
            let rules: Vec<usize> = (0..len).collect();
            let fast = order(&values, rules.clone());
            assert_eq!(
                fast,
                slow_order(&values, rules),
                "round {round}: {values:?}"
            );
        }
    }
}
