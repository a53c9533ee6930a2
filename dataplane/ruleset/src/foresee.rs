//! Large tables, in which the addresses of a burst had better be looked up together, before rules are asked packet by packet:
//! what that reads is on its way by then. No answer depends on it, only time. Does not know where packets are kept. Read
//! first: `net::trie`, `warm`.

use alloc::vec::Vec;

use net::trie::TOGETHER_MAX;

use crate::Ruleset;
use crate::facts::Direction;
use crate::rule::AddrSpec;
use crate::table::{Table, TableId};

/// Most tables that are looked after: each costs every new connection something.
const LARGE_TABLES_MAX: usize = 4;

/// A large table that rules ask on the way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeTable {
    /// Which.
    pub table: TableId,
    /// The address that is looked up is the destination, not the source.
    pub of_dst: bool,
}

/// An address that will be looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought {
    /// IPv4, host byte order.
    Inet(u32),
    /// IPv6, host byte order.
    Inet6(u128),
}

/// What a burst will look up in one table, by family.
#[derive(Default)]
struct Foreseen {
    v4: heapless::Vec<u32, TOGETHER_MAX>,
    v6: heapless::Vec<u128, TOGETHER_MAX>,
}

impl Foreseen {
    #[inline]
    fn of(addresses: impl Iterator<Item = Sought>) -> Foreseen {
        let mut foreseen = Foreseen::default();
        for address in addresses {
            // What comes beyond is looked up without having been asked for.
            let _fits = match address {
                Sought::Inet(addr) => foreseen.v4.push(addr).is_ok(),
                Sought::Inet6(addr) => foreseen.v6.push(addr).is_ok(),
            };
        }
        foreseen
    }
}

impl Ruleset {
    /// Asks the cache for what rules will read of large tables when they are asked about these packets, of which at most
    /// [`TOGETHER_MAX`] of a family count. `address` says the destination of a packet, or else its source.
    #[inline]
    pub fn foresee<P>(
        &self,
        packets: impl Iterator<Item = P> + Clone,
        address: impl Fn(P, bool) -> Sought,
    ) {
        self.foreseen(packets, address, |table, foreseen| {
            table.warm4(&foreseen.v4);
            table.warm6(&foreseen.v6);
        });
    }

    /// The same, and `warm` hears what is to be asked for.
    #[inline]
    fn foreseen<P>(
        &self,
        packets: impl Iterator<Item = P> + Clone,
        address: impl Fn(P, bool) -> Sought,
        mut warm: impl FnMut(&Table, &Foreseen),
    ) {
        for large in &self.large {
            if let Some(table) = self.table(large.table) {
                let addresses = packets.clone().map(|packet| address(packet, large.of_dst));
                warm(table, &Foreseen::of(addresses));
            }
        }
    }
}

/// The large tables that rules ask about packets that come in, in the order of the rules, each end once.
pub(crate) fn large_tables(ruleset: &Ruleset) -> Vec<LargeTable> {
    let mut large: Vec<LargeTable> = Vec::new();
    let inward = ruleset.rules.iter();
    let inward = inward.filter(|rule| rule.direction != Some(Direction::Out));
    for rule in inward {
        for (of_dst, end) in [(false, &rule.src), (true, &rule.dst)] {
            if let AddrSpec::Table(table) = end.addr
                && ruleset.table(table).is_some_and(Table::is_large)
                && large.len() < LARGE_TABLES_MAX
            {
                let one = LargeTable { table, of_dst };
                if !large.contains(&one) {
                    large.push(one);
                }
            }
        }
    }
    large
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Af;
    use crate::rule::{Action, Endpoint, Rule};
    use crate::table::{LARGE, TableEntry};

    /// A table with so many IPv4 addresses.
    fn table(name: &str, len: usize) -> Table {
        let entry = |addr| TableEntry::new(Af::Inet, addr as u128, 32, false);
        Table::new(name, (0..len).map(entry))
    }

    /// A rule for packets from a table to another.
    fn rule(direction: Option<Direction>, [src, dst]: [Option<u16>; 2]) -> Rule {
        let end = |table: Option<u16>| Endpoint {
            addr: table.map_or(AddrSpec::Any, |id| AddrSpec::Table(TableId(id))),
            ..Endpoint::default()
        };
        Rule {
            direction,
            src: end(src),
            dst: end(dst),
            ..Rule::new(Action::Pass)
        }
    }

    /// Two large tables, a small one, and four large ones more; asked by these rules.
    fn ruleset(rules: Vec<Rule>) -> Ruleset {
        let lens = [LARGE, LARGE, LARGE - 1, LARGE, LARGE, LARGE, LARGE];
        let tables = lens.iter().enumerate();
        let mut ruleset = Ruleset {
            tables: tables.map(|(n, len)| table(&n.to_string(), *len)).collect(),
            rules,
            ..Ruleset::default()
        };
        ruleset.build_index(&[]);
        ruleset
    }

    fn large(ruleset: &Ruleset) -> Vec<(u16, bool)> {
        let large = ruleset.large.iter();
        large.map(|large| (large.table.0, large.of_dst)).collect()
    }

    #[test]
    fn large_tables_of_rules_for_what_comes_in_are_looked_after() {
        let (into, out) = (Some(Direction::In), Some(Direction::Out));
        let asked = ruleset(vec![
            rule(None, [None, None]),
            rule(out, [Some(3), Some(4)]),
            rule(into, [Some(1), Some(2)]),
            rule(None, [Some(0), Some(1)]),
            rule(into, [Some(1), None]),
        ]);
        assert_eq!(large(&asked), [(1, false), (0, false), (1, true)]);
    }

    #[test]
    fn no_more_than_four_are_looked_after() {
        let tables = [0, 1, 3, 4, 5, 6];
        let rules = tables.map(|table| rule(None, [Some(table), None]));
        let asked = ruleset(rules.into());
        assert_eq!(
            large(&asked),
            [(0, false), (1, false), (3, false), (4, false)]
        );
    }

    #[test]
    fn each_table_is_asked_for_the_ends_that_rules_look_up_in_it() {
        let asked = ruleset(vec![
            rule(None, [Some(1), None]),
            rule(None, [None, Some(0)]),
        ]);
        let (v4, v6) = (Sought::Inet, Sought::Inet6);
        let packets = [
            [v4(1), v4(2)],
            [v6(3), v6(4)],
            [v4(5), v4(6)],
            [v6(7), v6(8)],
        ];
        let mut heard = Vec::new();
        asked.foreseen(
            packets.iter(),
            |ends, of_dst| ends[usize::from(of_dst)],
            |table, foreseen| {
                let name = table.name.clone();
                heard.push((name, foreseen.v4.to_vec(), foreseen.v6.to_vec()));
            },
        );
        let expected = [("1", [1, 5], [3, 7]), ("0", [2, 6], [4, 8])];
        let expected = expected.map(|(name, v4, v6)| (name.to_string(), v4.to_vec(), v6.to_vec()));
        assert_eq!(heard, expected);
    }

    #[test]
    fn of_more_packets_than_a_burst_the_first_are_asked_for() {
        let most = TOGETHER_MAX as u32;
        let many = (0..most + 9).map(Sought::Inet);
        let foreseen = Foreseen::of(many.chain([Sought::Inet6(1)]));
        let first: Vec<u32> = (0..most).collect();
        assert_eq!(foreseen.v4.as_slice(), first);
        assert_eq!(foreseen.v6, [1]);
    }
}
