//! `bench`: what a packet costs the worker, how long a turn can take, what cores hand each other, and what a ruleset
//! costs the compiler (`bench-compile`, see `compile.rs`). `ci/bench` is the way to run it.
//!
//! The device is `simnic::replay`: frames lie ready in a slab whose header lines alone are larger than the second-level
//! cache, in random order, each as cold as one that a card has just written; receiving and sending move 16-byte handles.
//! The generator writes the frames before the clock starts, so its work is not in the figures; the cost of the device
//! itself (`device only` row) is. One thread, random flow order.
//!
//! The host's speed changes within seconds. Beside every sample stands a calibration of the same moment: a chain of
//! dependent additions, one per core cycle; and in the same second the device moves a slab whose station addresses are
//! exchanged and nothing else (*macswap*). *ns* is the time that the thread ran, so that other work on the machine does
//! not count (it still costs cache and memory), *cycles* the same in cycles of the time stamp counter. Figures are the
//! median of the runs, with the smallest and the largest.
//!
//! `bench --count NAME|FLOWS|RULES`: one scenario without a clock, for a program that counts instructions.

#![forbid(unsafe_code)]

mod allocations;
mod calibrate;
mod device;
mod frame;
mod handover;
mod instructions;
mod latency;
mod lines;
mod options;
mod outside;
mod policy;
mod report;
mod rig;
mod row;
mod scenario;
mod spread;
mod threads;
mod turns;
mod world;

use std::path::Path;
use std::process::{Command, ExitCode};

use instructions::FLOWS_COUNTED;
use options::{Options, options};
use policy::Purpose;
use report::Report;
use row::{Machine, Measure, Row, count};
use scenario::find;
use simnic::replay::Replay;

const USAGE: &str = "usage: bench [--quick] [--runs N] [--states N] [--json FILE] [--only WORD] [--no-instructions]
       bench --ring [--quick] [--runs N] [--json FILE] [--only WORD] [--no-instructions]
       bench --testpmd FUGU [--quick] [--json FILE]
       bench --instructions [--only WORD] | --markdown FILE.json | --budget FILE [--write] | --count NAME|FLOWS|RULES | --shared-lines";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        ["--count", name] => count::<Replay>(name).map(|()| true),
        ["--count", name, flows, rules] => {
            count::<Replay>(&format!("{name}|{flows}|{rules}")).map(|()| true)
        }
        ["--markdown", file] => markdown(file).map(|()| true),
        ["--budget", file] => instructions::budget(file, false, find),
        ["--budget", file, "--write"] => instructions::budget(file, true, find),
        ["--shared-lines"] => lines::check(),
        ["--traced", case] => lines::traced(case).map(|()| true),
        ["--testpmd", fugu, rest @ ..] => options(&args[args.len() - rest.len()..])
            .and_then(|options| outside_only(fugu, &options))
            .map(|()| true),
        ["--ring", ..] => options(&args[1..])
            .and_then(|options| rings_only(&options))
            .map(|()| true),
        ["--instructions", ..] => options(&args[1..]).map(|o| only_instructions(&o)),
        _ => options(&args)
            .and_then(|options| run(&options))
            .map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("bench: {text}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn markdown(file: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let report: Report = serde_json::from_str(&text).map_err(|e| format!("{file}: {e}"))?;
    print!("{}", report.markdown());
    Ok(())
}

/// Scenarios that differ in what is counted: not by flows.
fn only_instructions(options: &Options) -> bool {
    let mut seen = Vec::new();
    println!(
        "{:<40} {:>12} {:>8}",
        "scenario|flows|rules", "instructions", "lines"
    );
    for scenario in scenario::all(true) {
        let flows = scenario.flows.min(FLOWS_COUNTED);
        let name = instructions::name(&scenario, flows);
        if !options.wants(scenario.name) || seen.contains(&name) {
            continue;
        }
        match instructions::count(&scenario, flows) {
            Ok(n) => println!("{name:<40} {:>12.1} {:>8.2}", n.instructions, n.lines),
            Err(error) => {
                eprintln!("bench: {error}");
                return false;
            }
        }
        seen.push(name);
    }
    true
}

fn run(options: &Options) -> Result<(), String> {
    let mut report = Report {
        machine: Machine::here(),
        ..Report::default()
    };
    packets(options, &mut report);
    let runs = options.runs();
    // A quick look has a tenth of everything.
    let part = if options.quick { 10 } else { 1 };
    for (name, purpose) in [("expiry", Purpose::Filter), ("expiry, nat", Purpose::Nat)] {
        if options.wants(name) {
            let states = options.states.unwrap_or(1_000_000 / part);
            report
                .turns
                .push(turns::expiry(name, purpose, states, runs));
        }
    }
    if options.wants("reload") {
        report
            .turns
            .push(turns::reload(10_000 / part, 1_000_000 / part, runs));
    }
    if options.wants("handover") {
        report.handover = [2, 4].into_iter().flat_map(handover::rows).collect();
    }
    if options.wants("threads") {
        report.threads = threads::rows(runs);
    }
    if options.wants("latency") {
        report.latency = latency::rows(runs);
    }
    report.print_rest();
    if options.only.as_ref().is_none_or(|word| word == "ring") {
        match rings(options, None) {
            Ok(rows) => report.rings = rows,
            // It needs DPDK, which the rest does not.
            Err(error) => eprintln!("bench: nothing over rings: {error}"),
        }
    }
    if options.wants("compile") && !(options.quick && options.only.is_none()) {
        report.compile = compile(runs)?;
    }
    write(options, &report)
}

/// The real program, by itself: nothing else may run beside it.
fn outside_only(fugu: &str, options: &Options) -> Result<(), String> {
    let mut report = Report {
        machine: Machine::here(),
        ..Report::default()
    };
    let tsc_ghz = report.machine.tsc_ghz;
    report.outside = outside::rows(fugu.as_ref(), options.runs(), tsc_ghz)?;
    report.print_rest();
    write(options, &report)
}

/// Ports of DPDK over rings, alone.
fn rings_only(options: &Options) -> Result<(), String> {
    let report = Report {
        machine: Machine::here(),
        rings: rings(options, options.only.as_deref())?,
        ..Report::default()
    };
    write(options, &report)
}

fn write(options: &Options, report: &Report) -> Result<(), String> {
    let Some(file) = &options.json else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    std::fs::write(file, text).map_err(|e| format!("{file}: {e}"))
}

fn packets(options: &Options, report: &mut Report) {
    let tsc_ghz = report.machine.tsc_ghz;
    let mut measure = Measure::new(options.runs(), options.instructions, tsc_ghz);
    row::print_head();
    for scenario in scenario::all(options.quick) {
        if options.wants(scenario.name) {
            let row = measure.row::<Replay>(&scenario);
            row.print();
            report.packets.push(row);
        }
    }
    report.machine.fast_ghz = measure.fast_ghz;
}

/// What compiling costs, by another program of this crate, which prints its own table.
fn compile(runs: usize) -> Result<serde_json::Value, String> {
    told_by("bench-compile", |command, file| {
        command.arg(runs.to_string()).arg(file);
    })
}

/// Packets between ports of DPDK over rings, by a program that needs DPDK to be built, which prints its own table.
fn rings(options: &Options, only: Option<&str>) -> Result<Vec<Row>, String> {
    told_by("bench-ring", |command, file| {
        command.args(["--runs", &options.runs().to_string()]);
        for (wanted, flag) in [
            (options.quick, "--quick"),
            (!options.instructions, "--no-instructions"),
        ] {
            command.args(wanted.then_some(flag));
        }
        command.args(only.map(|word| ["--only", word]).into_iter().flatten());
        command.arg("--json").arg(file);
    })
}

/// Runs a program that lies beside this one and reads the JSON that it writes into the file it is given.
fn told_by<T: serde::de::DeserializeOwned>(
    program: &str,
    arguments: impl FnOnce(&mut Command, &Path),
) -> Result<T, String> {
    let ours = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = ours.with_file_name(program);
    let file = std::env::temp_dir().join(format!("{program}.{}", std::process::id()));
    let mut command = Command::new(&path);
    arguments(&mut command, &file);
    let status = command.status();
    let status = status.map_err(|e| format!("{}: {e}", path.display()))?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    // It was ours; nobody misses it.
    std::fs::remove_file(&file).ok();
    if !status.success() {
        return Err(format!("{program} failed"));
    }
    serde_json::from_str(&text).map_err(|e| e.to_string())
}
