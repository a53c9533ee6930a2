//! What was measured, as lines for people, as JSON, and as the tables of docs/performance.md.

use serde::{Deserialize, Serialize};

use crate::row::{Machine, Row};
use crate::{handover, latency, outside, row, threads, turns};

/// What `--json` writes.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) packets: Vec<Row>,
    pub(crate) turns: Vec<turns::Row>,
    pub(crate) handover: Vec<handover::Row>,
    #[serde(default)]
    pub(crate) threads: Vec<threads::Row>,
    pub(crate) latency: Vec<latency::Row>,
    /// Between ports of DPDK over rings.
    #[serde(default)]
    pub(crate) rings: Vec<Row>,
    pub(crate) outside: Vec<outside::Row>,
    pub(crate) compile: serde_json::Value,
}

impl Report {
    /// The smaller tables, for people.
    pub(crate) fn print_rest(&self) {
        for row in &self.turns {
            row.print();
        }
        for row in &self.handover {
            println!(
                "handed over: {}, {} workers: {:.2} % of {} packets, {} core cycles each, lost {}",
                row.scenario,
                row.workers,
                row.handed_over,
                row.packets,
                row.cycles.text(0),
                row.lost
            );
        }
        for row in &self.threads {
            row.print();
        }
        for row in &self.latency {
            println!(
                "latency at {} % load ({} Mpps): p50 {} us, p99 {} us, p99.9 {} us, longest {} us",
                row.load_percent,
                row.mpps.text(2),
                row.p50_us.text(1),
                row.p99_us.text(1),
                row.p999_us.text(1),
                row.longest_us.text(1)
            );
        }
        outside::print(&self.outside);
    }

    /// The tables of docs/performance.md.
    pub(crate) fn markdown(&self) -> String {
        let m = &self.machine;
        let mut text = format!(
            "Measured at {} on: {}, {} cores, time stamp counter {:.1} GHz, core up to {:.2} GHz.\n\n",
            m.revision, m.processor, m.cores, m.tsc_ghz, m.fast_ghz
        );
        text += &row::markdown(&self.packets);
        text += &turns::markdown(&self.turns);
        text += "\n| mix | workers | handed over | core cycles per packet | lost |\n|---|---|---|---|---|\n";
        for r in &self.handover {
            text += &format!(
                "| {} | {} | {:.2} % | {} | {} |\n",
                r.scenario,
                r.workers,
                r.handed_over,
                r.cycles.text(0),
                r.lost
            );
        }
        text += &threads::markdown(&self.threads);
        text += "\n| load | Mpps | p50 µs | p99 µs | p99.9 µs | longest µs |\n|---|---|---|---|---|---|\n";
        for r in &self.latency {
            text += &format!(
                "| {} % | {:.2} | {} | {} | {} | {} |\n",
                r.load_percent,
                r.mpps.median,
                r.p50_us.text(1),
                r.p99_us.text(1),
                r.p999_us.text(1),
                r.longest_us.text(1)
            );
        }
        if !self.rings.is_empty() {
            text += "\nOver `net_ring`:\n\n";
            text += &row::markdown(&self.rings);
        }
        text + &outside::markdown(&self.outside)
    }
}
