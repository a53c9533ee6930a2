//! `bench [--quick] [--json FILE] [--only WORD]`: what a packet costs the worker, and what a ruleset costs the compiler
//! (see `compile.rs`).
//!
//! The device is `simnic::replay`: frames lie ready in a slab far larger than the caches, in random order, each header
//! as cold as one that a card has just written; receiving and sending move 16-byte handles. The generator writes the
//! frames before the clock starts, so its work is not in the figures; the cost of the device itself (`device only`
//! row) is. One thread, one worker, random flow order.
//!
//! The host's speed changes within seconds. Beside every sample stands a calibration of the same moment: a chain of
//! dependent additions, one per core cycle. *cycles* are core cycles by that calibration, *ns* is the time that the
//! thread ran, so that other work on the machine does not count (it still costs cache and memory). Figures are the median
//! of the runs, with the smallest and the largest.
//!
//! `bench --count NAME FLOWS RULES`: one scenario without a clock, for a program that counts instructions in
//! [`scenario::counted`]; `ci/bench --instructions` is that.

#![forbid(unsafe_code)]

mod calibrate;
mod compile;
mod rig;
mod scenario;

use std::process::ExitCode;

use serde::Serialize;

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    packets: Vec<Row>,
    compile: Vec<compile::Row>,
}

/// One line of the first table.
#[derive(Serialize)]
struct Row {
    scenario: String,
    flows: usize,
    rules: usize,
    bytes: usize,
    packets_per_run: u64,
    cycles: Spread,
    ns: Spread,
    core_ghz: Spread,
}

/// Smallest, middle and largest of the runs.
#[derive(Serialize, Clone, Copy)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |n: usize| values.get(n).copied().unwrap_or(0.0);
        Spread {
            min: at(0),
            median: at(values.len() / 2),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

struct Options {
    quick: bool,
    json: Option<String>,
    only: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        quick: false,
        json: None,
        only: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--json" => options.json = Some(args.next().ok_or("--json needs a file")?),
            "--only" => options.only = Some(args.next().ok_or("--only needs a word")?),
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, once, case] = &args[..]
        && once == "--compile-once"
    {
        return match compile::once(case) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("bench: {text}");
                ExitCode::FAILURE
            }
        };
    }
    if let [_, count, name, flows, rules] = &args[..]
        && count == "--count"
    {
        return count_one(name, flows.parse().ok(), rules.parse().ok());
    }
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("bench: {text}\nusage: bench [--quick] [--json FILE] [--only WORD]");
            return ExitCode::from(2);
        }
    };
    println!(
        "{:<28} {:>9} {:>6} {:>6} {:>22} {:>22} {:>9}",
        "scenario", "flows", "rules", "bytes", "cycles [min..max]", "ns [min..max]", "core GHz"
    );
    let mut rows = Vec::new();
    for scenario in scenario::all(options.quick) {
        if options
            .only
            .as_ref()
            .is_some_and(|word| !scenario.name.contains(word.as_str()))
        {
            continue;
        }
        let row = run(&scenario, if options.quick { 3 } else { 5 });
        println!(
            "{:<28} {:>9} {:>6} {:>6} {:>8.1} [{:.1}..{:.1}] {:>8.2} [{:.2}..{:.2}] {:>9.2}",
            row.scenario,
            row.flows,
            row.rules,
            row.bytes,
            row.cycles.median,
            row.cycles.min,
            row.cycles.max,
            row.ns.median,
            row.ns.min,
            row.ns.max,
            row.core_ghz.median
        );
        rows.push(row);
    }
    let wanted = options
        .only
        .as_deref()
        .is_none_or(|word| "compile".contains(word));
    let report = Report {
        packets: rows,
        compile: if wanted { compile::rows(5) } else { Vec::new() },
    };
    if let Some(file) = options.json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        if let Err(error) = std::fs::write(&file, text) {
            eprintln!("bench: {file}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One slab of one scenario through [`scenario::counted`]. Prints how many packets went through it.
fn count_one(name: &str, flows: Option<usize>, rules: Option<usize>) -> ExitCode {
    let wanted =
        |s: &scenario::Scenario| s.name == name && Some(s.flows) == flows && Some(s.rules) == rules;
    let Some(found) = scenario::all(false).into_iter().find(wanted) else {
        eprintln!("bench: no such scenario; there are:");
        for scenario in scenario::all(false) {
            eprintln!(
                "  '{}' {} {}",
                scenario.name, scenario.flows, scenario.rules
            );
        }
        return ExitCode::from(2);
    };
    println!("packets {}", found.prepare().count());
    ExitCode::SUCCESS
}

fn run(scenario: &scenario::Scenario, runs: usize) -> Row {
    let mut prepared = scenario.prepare();
    prepared.sample();
    let samples: Vec<scenario::Sample> = (0..runs).map(|_| prepared.sample()).collect();
    let column = |f: fn(&scenario::Sample) -> f64| Spread::of(samples.iter().map(f).collect());
    Row {
        scenario: scenario.name.to_string(),
        flows: scenario.flows,
        rules: scenario.rules,
        bytes: rig::FRAME_BYTES,
        packets_per_run: samples.first().map_or(0, |s| s.packets),
        cycles: column(|s| s.ns_per_packet * s.core_ghz),
        ns: column(|s| s.ns_per_packet),
        core_ghz: column(|s| s.core_ghz),
    }
}
