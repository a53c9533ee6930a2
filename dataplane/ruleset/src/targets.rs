//! The addresses that translation gives to packets: two cores may make states with the same ends where such an address is
//! one of them, and must agree then. Of all others only one core ever makes states.

use alloc::vec::Vec;

use crate::facts::Af;
use crate::pool::Pool;
use crate::rule::Rule;
use crate::table::{Table, TableId};

/// Addresses of pools.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Sorted and apart from each other.
    ranges: Vec<(Af, u128, u128)>,
    /// Tables that are pools: their addresses change.
    tables: Vec<TableId>,
}

impl Targets {
    /// What the pools of these rules have.
    pub fn of(rules: &[Rule]) -> Self {
        let pools = || rules.iter().flat_map(pools);
        let blocks = pools().flat_map(|pool| &pool.blocks);
        let mut all: Vec<_> = blocks.map(|b| (b.af, b.low, b.high)).collect();
        all.sort_by_key(|(af, low, high)| (*af == Af::Inet6, *low, *high));
        let mut ranges: Vec<(Af, u128, u128)> = Vec::new();
        for (af, low, high) in all {
            match ranges.last_mut() {
                Some(last) if last.0 == af && low <= last.2 => last.2 = last.2.max(high),
                _ => ranges.push((af, low, high)),
            }
        }
        let mut tables: Vec<TableId> = pools().filter_map(|pool| pool.table).collect();
        tables.sort_by_key(|id| id.0);
        tables.dedup();
        Targets { ranges, tables }
    }

    /// Whether translation may give this address to a packet. `tables` are those of the ruleset.
    pub fn contains(&self, tables: &[Table], af: Af, addr: u128) -> bool {
        let mut pools = self
            .tables
            .iter()
            .filter_map(|id| tables.get(usize::from(id.0)));
        self.has_in_ranges(af, addr) || pools.any(|table| table.contains(af, addr))
    }

    fn has_in_ranges(&self, af: Af, addr: u128) -> bool {
        let v6 = |af| af == Af::Inet6;
        let asked = (v6(af), addr);
        let after = self
            .ranges
            .partition_point(|(of, low, _)| (v6(*of), *low) <= asked);
        let found = after.checked_sub(1).and_then(|n| self.ranges.get(n));
        found.is_some_and(|(of, _, high)| *of == af && addr <= *high)
    }
}

fn pools(rule: &Rule) -> impl Iterator<Item = &Pool> {
    [&rule.nat, &rule.rdr]
        .into_iter()
        .filter_map(|pool| pool.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Block;
    use crate::rule::Action;
    use crate::table::TableEntry;
    use alloc::boxed::Box;

    fn rule(blocks: &[(Af, u128, u128)]) -> Rule {
        let block = |&(af, low, high): &(Af, u128, u128)| Block {
            af,
            low,
            high,
            weight: 1,
        };
        let pool = Pool {
            blocks: blocks.iter().map(block).collect(),
            ..Pool::default()
        };
        Rule {
            rdr: Some(Box::new(pool)),
            ..Rule::new(Action::Pass)
        }
    }

    #[test]
    fn addresses_of_all_pools_are_found_and_no_others() {
        use Af::{Inet, Inet6};
        let rules = [
            rule(&[(Inet, 10, 20), (Inet6, 15, 15)]),
            Rule::new(Action::Pass),
            rule(&[(Inet, 12, 13), (Inet, 18, 25), (Inet, 40, 40)]),
        ];
        let targets = Targets::of(&rules);
        let found = |af| (0..50).filter(|n| targets.contains(&[], af, *n)).collect();
        let inet: Vec<u128> = found(Inet);
        assert_eq!(inet, (10..=25).chain([40]).collect::<Vec<_>>());
        let inet6: Vec<u128> = found(Inet6);
        assert_eq!(inet6, [15]);
        assert!(!Targets::default().contains(&[], Inet, 10));
    }

    #[test]
    fn a_pool_that_is_a_table_has_what_the_table_has_now() {
        let mut with_table = rule(&[]);
        with_table.nat = with_table.rdr.take();
        if let Some(pool) = &mut with_table.nat {
            pool.table = Some(TableId(1));
        }
        let entry = TableEntry::new(Af::Inet6, 7, 128, false);
        let tables = [Table::new("a", []), Table::new("b", [entry])];
        let targets = Targets::of(&[with_table.clone(), with_table]);
        assert!(targets.contains(&tables, Af::Inet6, 7));
        assert!(!targets.contains(&tables, Af::Inet6, 8));
        assert!(!targets.contains(&tables, Af::Inet, 7));
    }
}
