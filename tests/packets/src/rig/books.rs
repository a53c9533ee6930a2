//! The books of a rig: which counters must have changed, by how much, and what must balance whenever the box is at rest.

use std::collections::BTreeMap;
use std::net::IpAddr;

use filter::tables::TableCounters;
use simnic::{SimBuf, SimNic};
use state::State;
use sync::OverlayKey;
use worker::{ControlEnds, Worker};

use super::Rig;
use crate::tally::{self, Tally};

impl Rig {
    /// Nothing more leaves, and since the last call exactly these counters changed, by so much. See [`tally`].
    pub fn counted(&mut self, expected: &str) {
        self.expect_nothing_more();
        let now = self.tally();
        let changes = now.since(&self.before);
        let wanted = tally::expected(expected);
        self.check(changes == wanted, || {
            let differs = |(name, n): (&String, &i64)| {
                let other = wanted.get(name).copied().unwrap_or(0);
                (other != *n).then(|| format!("  {name}: expected {other}, counted {n}\n"))
            };
            let missing = wanted
                .iter()
                .filter(|(name, _)| !changes.contains_key(*name))
                .map(|(name, n)| format!("  {name}: expected {n}, counted 0\n"));
            let lines: String = changes.iter().filter_map(differs).chain(missing).collect();
            format!("counters:\n{lines}")
        });
        let bytes = now.check_bytes(&self.before, self.lens);
        self.check(bytes.is_ok(), || bytes.clone().unwrap_err());
        self.check_at_rest(&now);
        self.mark();
    }

    /// Forgets what changed so far.
    pub fn mark(&mut self) {
        self.before = self.tally();
        self.lens = (usize::MAX, 0);
    }

    /// Changes since the last mark, by name.
    pub fn changes(&self) -> BTreeMap<String, i64> {
        self.tally().since(&self.before)
    }

    /// What must be true whenever the box has nothing to do, whatever came before.
    pub fn check_books(&self) {
        self.check_at_rest(&self.tally());
    }

    pub(super) fn check_at_rest(&self, now: &Tally) {
        let queued = self.workers.iter().map(Worker::queued).sum();
        let rest = now.check(queued);
        self.check(rest.is_ok(), || rest.clone().unwrap_err());
        let states: usize = self.workers.iter().map(|w| w.states().len()).sum();
        let total = self.shared.states.get();
        self.check(states as u64 == total, || {
            format!("{states} states in tables, {total} on the shared count")
        });
        let is_half_open =
            |st: &State| st.wire.proto() == 6 && state::track::tcp::is_half_open(&st.peer[0]);
        let of = |w: &Worker<SimNic>| {
            let states = w.states().iter_from(0).map(|(_, st)| st);
            states.filter(|st| is_half_open(st)).count() as u64
        };
        let half_open: u64 = self.workers.iter().map(of).sum();
        let total = self.shared.half_open.get();
        self.check(half_open == total, || {
            format!("{half_open} half-open states in tables, {total} on the shared count")
        });
        let waiting = now.get("waiting") as usize;
        let in_use = self.pool.in_use();
        self.check(in_use == waiting + queued, || {
            format!("{in_use} buffers in use, {waiting} waiting, {queued} queued: a leak")
        });
    }

    /// All counters now.
    pub fn tally(&self) -> Tally {
        let names: Vec<String> = self.topology.ports.iter().map(|p| p.name.clone()).collect();
        Tally::of(self.control.iter().map(|c| &*c.counters), &names, &|slot| {
            self.slots.name(slot)
        })
    }

    /// Packets that flows have served.
    pub fn served(&self) -> u64 {
        self.control.iter().map(|c| c.counters.served.get()).sum()
    }

    /// Packets that were blocked in front of the long way.
    pub fn turned_away(&self) -> u64 {
        let of = |c: &ControlEnds<SimBuf>| c.counters.turned_away.get();
        self.control.iter().map(of).sum()
    }

    /// Log records written, and lost.
    pub fn log_counters(&self) -> (u64, u64) {
        let sum = |of: fn(&worker::Counters) -> &sync::Counter| {
            self.control.iter().map(|c| of(&c.counters).get()).sum()
        };
        (sum(|c| &c.logged), sum(|c| &c.log_lost))
    }

    /// True if an address is in a table of the policy that runs.
    pub fn in_table(&self, table: &str, addr: &str) -> bool {
        self.slots
            .contains(table, addr.parse().expect("an address"))
    }

    /// What a table has counted over all workers: `no 1 yes 2` look-ups of rules, then packets and bytes like
    /// `in.pass 3:120`, those that are not 0.
    pub fn table_counted(&self, table: &str) -> String {
        let slot = self.slots.table_slot(table);
        let of = |c: &ControlEnds<SimBuf>, f: &dyn Fn(&TableCounters) -> u64| {
            f(c.counters.filter.tables.of(slot).expect("a slot"))
        };
        let sum = |f: &dyn Fn(&TableCounters) -> u64| self.control.iter().map(|c| of(c, f)).sum();
        let [no, yes]: [u64; 2] = [0, 1].map(|n| sum(&|c| c.lookups[n].get()));
        let mut said = format!("no {no} yes {yes}");
        for (way, name) in ["in", "out"].iter().enumerate() {
            for (op, action) in ["block", "match", "pass", "xpass"].iter().enumerate() {
                let packets: u64 = sum(&|c| c.traffic[way][op].packets.get());
                let bytes: u64 = sum(&|c| c.traffic[way][op].bytes.get());
                if packets > 0 {
                    said += &format!(" {name}.{action} {packets}:{bytes}");
                }
            }
        }
        said
    }

    /// What a prefix of a table with `counters` has counted, likewise; `none` if it has no counters.
    pub fn prefix_counted(&self, table: &str, prefix: &str) -> String {
        let (addr, len) = prefix.split_once('/').expect("address/bits");
        let addr: IpAddr = addr.parse().expect("an address");
        let key = OverlayKey {
            table: self.slots.table_slot(table).0,
            v6: addr.is_ipv6(),
            prefix_len: len.parse().expect("bits"),
            addr: match addr {
                IpAddr::V4(a) => a.to_bits().into(),
                IpAddr::V6(a) => a.to_bits(),
            },
        };
        let tallies = self
            .control
            .iter()
            .map(|c| &c.counters.filter.tables.prefixes);
        let found: Vec<_> = tallies.filter_map(|t| t.get(&key)).collect();
        if found.is_empty() {
            return "none".into();
        }
        let sum = |n: usize| found.iter().map(|t| t.counters[n]).sum::<u64>();
        let names = [
            "in.block",
            "in.match",
            "in.pass",
            "out.block",
            "out.match",
            "out.pass",
        ];
        let said = names.iter().enumerate().filter(|(n, _)| sum(n * 2) > 0);
        let said: Vec<String> = said
            .map(|(n, name)| format!("{name} {}:{}", sum(n * 2), sum(n * 2 + 1)))
            .collect();
        said.join(" ")
    }

    /// How many packets workers have handed each other.
    pub fn handed_over(&self) -> u64 {
        self.control
            .iter()
            .map(|c| c.counters.handed_out.get())
            .sum()
    }
}
