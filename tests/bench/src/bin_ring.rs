//! `bench-ring`: what a packet costs the worker between ports of DPDK over rings (see `rings.rs`), as a table, and as JSON
//! into a file. `ci/bench --ring` is the way to run it.
//!
//! Scenarios, clock, calibration and reference are those of `bench` (see `main.rs`), on another device: *macswap* is
//! receiving, exchanging the station addresses and sending over rings of the same kind with the same buffers, in the same
//! second. A program and a package of its own, since it needs DPDK to be built.
//!
//! `bench-ring --count NAME|FLOWS|RULES`: one scenario without a clock, for a program that counts instructions.

#![forbid(unsafe_code)]

mod allocations;
mod calibrate;
mod device;
mod frame;
#[allow(dead_code, reason = "the budget is the other program's")]
mod instructions;
mod options;
mod policy;
#[allow(dead_code, reason = "several workers are the other program's")]
mod rig;
mod rings;
#[allow(dead_code, reason = "the machine is the other program's to tell")]
mod row;
#[allow(dead_code, reason = "one device is enough here")]
mod scenario;
mod spread;
mod world;

use std::process::ExitCode;

use options::{Options, options};
use rig::{FRAMES, FRAMES_COUNTED};
use rings::Rings;
use row::{Machine, Measure, count};

const USAGE: &str =
    "usage: bench-ring [--quick] [--runs N] [--json FILE] [--only WORD] [--no-instructions]
       bench-ring --count NAME|FLOWS|RULES";

/// The scenarios that are measured here: one of each kind.
const SCENARIOS: [&str; 8] = [
    "device only",
    "filter, udp",
    "filter, tcp",
    "nat, udp",
    "bridge with filter, udp",
    "new flow, udp",
    "blocked by table",
    "blocked syn flood",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &args[..] {
        // DPDK in a simulator has ordinary pages.
        [count_one, name] if count_one == "--count" => {
            rings::start(FRAMES_COUNTED, false).and_then(|()| count::<Rings>(name))
        }
        _ => options(&args).and_then(|options| run(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("bench-ring: {text}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    rings::start(FRAMES, true)?;
    let tsc_ghz = Machine::here().tsc_ghz;
    let mut measure = Measure::new(options.runs(), options.instructions, tsc_ghz);
    println!("over net_ring:");
    row::print_head();
    let mut rows = Vec::new();
    for scenario in scenario::all(options.quick) {
        if SCENARIOS.contains(&scenario.name) && options.wants(scenario.name) {
            let row = measure.row::<Rings>(&scenario);
            row.print();
            rows.push(row);
        }
    }
    let Some(file) = &options.json else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
    std::fs::write(file, text).map_err(|e| format!("{file}: {e}"))
}
