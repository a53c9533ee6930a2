//! One line of the table of packets: a scenario prepared, measured and counted on a device.

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::instructions::{self, Counted, FLOWS_COUNTED};
use crate::rig::{FRAMES, FRAMES_COUNTED};
use crate::scenario::{self, Sample, Scenario};
use crate::spread::Spread;

/// How rows are made.
pub(crate) struct Measure {
    runs: usize,
    /// Count instructions.
    instructions: bool,
    tsc_ghz: f64,
    /// Fastest core seen by calibration so far.
    pub(crate) fast_ghz: f64,
    /// What was counted for other rows, by name: the same whatever the flows.
    counted: Vec<(String, Option<Counted>)>,
}

impl Measure {
    pub(crate) fn new(runs: usize, instructions: bool, tsc_ghz: f64) -> Measure {
        Measure {
            runs,
            instructions,
            tsc_ghz,
            fast_ghz: 0.0,
            counted: Vec::new(),
        }
    }

    /// Prepares a scenario, warms up, and measures it.
    pub(crate) fn row<D: Device>(&mut self, scenario: &Scenario) -> Row {
        let mut prepared = scenario.prepare_on::<D>(FRAMES);
        prepared.sample();
        let samples: Vec<Sample> = (0..self.runs).map(|_| prepared.sample()).collect();
        drop(prepared);
        let fast = samples.iter().map(|s| s.core_ghz);
        self.fast_ghz = fast.fold(self.fast_ghz, f64::max);
        let counted = self.count(scenario);
        Row::of(scenario, &samples, self.tsc_ghz, self.fast_ghz, counted)
    }

    fn count(&mut self, scenario: &Scenario) -> Option<Counted> {
        let flows = scenario.flows.min(FLOWS_COUNTED);
        let name = instructions::name(scenario, flows);
        if let Some(known) = self.counted.iter().find(|c| c.0 == name) {
            return known.1;
        }
        let now = self
            .instructions
            .then(|| instructions::count(scenario, flows));
        let now = now.and_then(Result::ok);
        self.counted.push((name, now));
        now
    }
}

/// One slab of one scenario on a device, without a clock. Prints how many packets went through it.
pub(crate) fn count<D: Device>(name: &str) -> Result<(), String> {
    let scenario = scenario::find(name).ok_or_else(|| {
        let all = scenario::all(true);
        let names: Vec<String> = all.iter().map(|s| instructions::name(s, s.flows)).collect();
        format!("no scenario '{name}'; there are:\n{}", names.join("\n"))
    })?;
    println!(
        "packets {}",
        scenario.prepare_on::<D>(FRAMES_COUNTED).count()
    );
    Ok(())
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
    /// What several runs of a scenario came to.
    fn of(
        scenario: &Scenario,
        samples: &[Sample],
        tsc_ghz: f64,
        fast_ghz: f64,
        counted: Option<Counted>,
    ) -> Row {
        let column = |f: &dyn Fn(&Sample) -> f64| Spread::of(samples.iter().map(f));
        let packets: u64 = samples.iter().map(|s| s.packets).sum();
        let allocations: u64 = samples.iter().map(|s| s.allocations).sum();
        Row {
            scenario: scenario.name.into(),
            flows: scenario.flows,
            rules: scenario.policy.rules,
            entries: scenario.policy.entries,
            bytes: scenario.bytes(),
            runs: samples.len(),
            packets_per_run: samples.first().map_or(0, |s| s.packets),
            ns: column(&|s| s.ns_per_packet),
            cycles: column(&|s| s.ns_per_packet * tsc_ghz),
            cycles_fast: column(&|s| s.ns_per_packet * tsc_ghz * s.core_ghz / fast_ghz),
            core_ghz: column(&|s| s.core_ghz),
            to_macswap: column(&|s| s.ns_per_packet / s.device_ns),
            instructions: counted.map(|c| c.instructions),
            lines: counted.map(|c| c.lines),
            allocations: allocations as f64 / packets as f64,
        }
    }

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

/// Rows as a table of docs/performance.md.
#[allow(dead_code, reason = "the program for rings prints lines only")]
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scenario | flows | rules | entries | bytes | cycles | in the fast state | ns | to macswap | instructions | lines | allocations |\n",
    );
    text += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    let some = |n: usize| if n == 0 { String::new() } else { n.to_string() };
    let figure = |f: Option<f64>| f.map(|f| format!("{f:.0}")).unwrap_or_default();
    for r in rows {
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
    text
}
