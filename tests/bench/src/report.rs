//! What was measured, as lines for people, as JSON, and as the tables of docs/performance.md.

use serde::{Deserialize, Serialize};

use crate::spread::Spread;
use crate::{handover, latency, outside, threads, turns};

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
    pub(crate) outside: Vec<outside::Row>,
    pub(crate) compile: serde_json::Value,
}

/// Where it was measured.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    /// Processors that the kernel shows.
    pub(crate) cores: usize,
    /// Speed of the time stamp counter; cycles of the table are these.
    pub(crate) tsc_ghz: f64,
    /// Fastest core seen by calibration in this run.
    pub(crate) fast_ghz: f64,
    /// What was measured; `ci/bench` says it.
    pub(crate) revision: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find(|l| l.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        Machine {
            processor: field("model name").unwrap_or_default(),
            cores: info.lines().filter(|l| l.starts_with("processor")).count(),
            // On a virtual machine the kernel's figure is the counter's; elsewhere it comes near.
            tsc_ghz: field("cpu MHz")
                .and_then(|mhz| mhz.parse::<f64>().ok())
                .map_or(1.0, |mhz| mhz / 1000.0),
            fast_ghz: 0.0,
            revision: std::env::var("BENCH_REVISION").unwrap_or_default(),
        }
    }
}

/// What packets of one scenario cost.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) flows: usize,
    pub(crate) rules: usize,
    /// Prefixes in the table that the rules ask.
    pub(crate) entries: usize,
    /// Of a frame, without frame check sequence.
    pub(crate) bytes: usize,
    pub(crate) runs: usize,
    pub(crate) packets_per_run: u64,
    /// As measured.
    pub(crate) ns: Spread,
    /// As measured, of the time stamp counter.
    pub(crate) cycles: Spread,
    /// The same if the core had been in its fast state: what a packet waits for memory does not become faster, so the
    /// truth lies between the two.
    pub(crate) cycles_fast: Spread,
    pub(crate) core_ghz: Spread,
    /// Against exchanging the station addresses, on the same device in the same second.
    pub(crate) to_macswap: Spread,
    pub(crate) instructions: Option<f64>,
    /// First-level cache lines brought in.
    pub(crate) lines: Option<f64>,
    pub(crate) allocations: f64,
}

/// The head of the table of packets.
pub(crate) fn print_head() {
    println!(
        "{:<24} {:>8} {:>6} {:>8} {:>5} {:>22} {:>8} {:>22} {:>8} {:>7} {:>6} {:>6}",
        "scenario",
        "flows",
        "rules",
        "entries",
        "bytes",
        "cycles [min..max]",
        "fast",
        "ns [min..max]",
        "macswap",
        "instr",
        "lines",
        "allocs"
    );
}

impl Row {
    pub(crate) fn print(&self) {
        let figure = |f: Option<f64>, digits: usize| match f {
            Some(f) => format!("{f:.digits$}"),
            None => "-".into(),
        };
        println!(
            "{:<24} {:>8} {:>6} {:>8} {:>5} {:>22} {:>8.0} {:>22} {:>7.1}x {:>7} {:>6} {:>6}",
            self.scenario,
            self.flows,
            self.rules,
            self.entries,
            self.bytes,
            self.cycles.text(0),
            self.cycles_fast.median,
            self.ns.text(1),
            self.to_macswap.median,
            figure(self.instructions, 0),
            figure(self.lines, 1),
            self.allocations
        );
    }
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
        text += "| scenario | flows | rules | entries | bytes | cycles | in the fast state | ns | to macswap | instructions | lines | allocations |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        let some = |n: usize| if n == 0 { String::new() } else { n.to_string() };
        let figure = |f: Option<f64>| f.map(|f| format!("{f:.0}")).unwrap_or_default();
        for r in &self.packets {
            text += &format!(
                "| {} | {} | {} | {} | {} | {} | {:.0} | {:.1} | {:.1} | {} | {} | {} |\n",
                r.scenario,
                some(r.flows),
                r.rules,
                some(r.entries),
                r.bytes,
                r.cycles.text(0),
                r.cycles_fast.median,
                r.ns.median,
                r.to_macswap.median,
                figure(r.instructions),
                figure(r.lines),
                r.allocations
            );
        }
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
        text + &outside::markdown(&self.outside)
    }
}
