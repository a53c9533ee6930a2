//! Since when tables and their addresses are there, and what they have counted since: workers count on from the start of
//! the box, and what had been counted when a table or an address came, or was cleared, is subtracted here.
//!
//! Read first: pfctl(8), -T zero, expire.

use std::collections::{HashMap, HashSet};

use ruleset::{Af, Table, TableEntry, TableFlags, TableSlot};
use sync::{OverlayKey, Tallied};

use crate::api::{Count, TableStats, TableTraffic};
use crate::fleet::{Fleet, TableTotals};

/// What is remembered of one table.
#[derive(Debug, Default)]
struct Account {
    /// Second since start in which the table came or was cleared: from then on its addresses are there, too, but for
    /// those that came later.
    since_s: u64,
    base: TableTotals,
    /// When addresses came that came later.
    came: HashMap<TableEntry, u64>,
    /// What had been counted of addresses, by worker, when they came again or were cleared.
    bases: HashMap<TableEntry, Vec<Option<Tallied>>>,
}

/// Accounts of tables by name.
#[derive(Debug, Default)]
pub(crate) struct Accounts(HashMap<String, Account>);

/// Where workers count a prefix.
pub(crate) fn key_of(slot: TableSlot, entry: &TableEntry) -> OverlayKey {
    OverlayKey {
        table: slot.0,
        v6: entry.af == Af::Inet6,
        prefix_len: entry.prefix_len,
        addr: entry.addr,
    }
}

/// A place that was given away since has begun anew, and so has a sum.
fn since(now: &Tallied, base: Option<&Tallied>) -> impl Iterator<Item = u64> {
    let base = base.filter(|b| b.version == now.version).copied();
    let base = base.unwrap_or_default().counters;
    let counters = now.counters.into_iter().zip(base);
    counters.map(|(now, base)| now.wrapping_sub(base))
}

impl Accounts {
    /// When an address came into its table, or was cleared: seconds since start.
    pub(crate) fn of(&self, table: &str, entry: &TableEntry) -> u64 {
        let account = self.0.get(table);
        account.map_or(0, |a| a.came.get(entry).copied().unwrap_or(a.since_s))
    }

    /// An address came into a table.
    pub(crate) fn came(&mut self, table: &str, entry: &TableEntry, now_s: u64) {
        let account = self.0.entry(table.to_string()).or_default();
        account.came.insert(*entry, now_s);
    }

    /// An address has left its table: should it come again, it counts anew.
    pub(crate) fn left(&mut self, table: &Table, entry: &TableEntry, fleet: &Fleet) {
        let account = self.0.entry(table.name.clone()).or_default();
        account.came.remove(entry);
        account.clear(table, entry, fleet);
    }

    /// A table is there that was not there before.
    pub(crate) fn open(&mut self, table: &Table, fleet: &Fleet, now_s: u64) {
        let account = Account {
            since_s: now_s,
            base: fleet.table(table.slot),
            bases: table
                .entries()
                .iter()
                .filter_map(|e| Some((*e, fleet.noted(table, e)?)))
                .collect(),
            ..Account::default()
        };
        self.0.insert(table.name.clone(), account);
    }

    /// A load has given a table other contents: what was there before stays as it was.
    pub(crate) fn reload(&mut self, old: &Table, new: &Table, fleet: &Fleet, now_s: u64) {
        if old.has_contents_of(new) {
            return;
        }
        let entries = |t: &Table| t.entries().iter().copied().collect::<HashSet<TableEntry>>();
        let (before, after) = (entries(old), entries(new));
        for entry in after.difference(&before) {
            self.came(&new.name, entry, now_s);
        }
        for entry in before.difference(&after) {
            self.left(new, entry, fleet);
        }
    }

    /// `-T zero`: the table and all its addresses.
    pub(crate) fn clear_all(
        &mut self,
        table: &Table,
        entries: impl Iterator<Item = TableEntry>,
        fleet: &Fleet,
        now_s: u64,
    ) {
        let account = self.0.entry(table.name.clone()).or_default();
        (account.since_s, account.base) = (now_s, fleet.table(table.slot));
        account.came.clear();
        entries.for_each(|entry| account.clear(table, &entry, fleet));
    }

    /// `-T zero ADDRESS`
    pub(crate) fn clear(&mut self, table: &Table, entry: &TableEntry, fleet: &Fleet, now_s: u64) {
        let account = self.0.entry(table.name.clone()).or_default();
        account.came.insert(*entry, now_s);
        account.clear(table, entry, fleet);
    }

    /// What a table has counted, and since when.
    pub(crate) fn stats(&self, table: &Table, fleet: &Fleet, now_s: u64) -> TableStats {
        let account = self.0.get(&table.name);
        let base = account.map(|a| a.base).unwrap_or_default();
        let totals = fleet.table(table.slot).since(&base);
        TableStats {
            age_s: now_s.saturating_sub(account.map_or(0, |a| a.since_s)),
            no_matches: totals.lookups[0],
            matches: totals.lookups[1],
            input: TableTraffic::of(&totals.traffic[0]),
            output: TableTraffic::of(&totals.traffic[1]),
            ..TableStats::default()
        }
    }

    /// Packets of an address, in and out by block, match and pass; none if it has counted nothing.
    pub(crate) fn counts(
        &self,
        table: &Table,
        entry: &TableEntry,
        fleet: &Fleet,
    ) -> Option<[[Count; 3]; 2]> {
        let noted = fleet.noted(table, entry)?;
        let bases = self.0.get(&table.name).and_then(|a| a.bases.get(entry));
        let mut sums = [0u64; sync::TALLY_COUNTERS];
        for (n, now) in noted.iter().enumerate() {
            let base = bases.and_then(|b| b.get(n)?.as_ref());
            for (sum, counted) in sums
                .iter_mut()
                .zip(now.iter().flat_map(|now| since(now, base)))
            {
                *sum = sum.wrapping_add(counted);
            }
        }
        let count = |n: usize| Count {
            packets: sums[2 * n],
            bytes: sums[2 * n + 1],
        };
        let counts = [0, 3].map(|way| [0, 1, 2].map(|op| count(way + op)));
        (counts != [[Count::default(); 3]; 2]).then_some(counts)
    }
}

impl Account {
    fn clear(&mut self, table: &Table, entry: &TableEntry, fleet: &Fleet) {
        match fleet.noted(table, entry) {
            Some(noted) => self.bases.insert(*entry, noted),
            None => self.bases.remove(entry),
        };
    }
}

impl Fleet {
    /// What every worker has counted of a prefix since it gave it a place; none if no worker has.
    fn noted(&self, table: &Table, entry: &TableEntry) -> Option<Vec<Option<Tallied>>> {
        if !table.flags.contains(TableFlags::COUNTERS) {
            return None;
        }
        let key = key_of(table.slot, entry);
        let workers = self.workers().iter();
        let noted: Vec<Option<Tallied>> = workers
            .map(|w| w.counters.filter.tables.prefixes.get(&key))
            .collect();
        noted.iter().any(Option::is_some).then_some(noted)
    }
}

impl TableTraffic {
    fn of(counts: &[Count; 4]) -> TableTraffic {
        let [block, matched, pass, xpass] = *counts;
        TableTraffic {
            block,
            matched,
            pass,
            xpass,
        }
    }
}
