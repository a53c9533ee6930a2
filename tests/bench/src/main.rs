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
mod frame;
mod handover;
mod instructions;
mod latency;
mod lines;
mod outside;
mod policy;
mod report;
mod rig;
mod scenario;
mod spread;
mod threads;
mod turns;
mod world;

use std::process::{Command, ExitCode};

use policy::Purpose;
use report::{Machine, Report, Row};
use rig::{FRAMES, FRAMES_COUNTED};
use scenario::{Sample, Scenario};
use spread::Spread;

const USAGE: &str = "usage: bench [--quick] [--runs N] [--states N] [--json FILE] [--only WORD] [--no-instructions]
       bench --testpmd FUGU [--quick] [--json FILE]
       bench --instructions [--only WORD] | --markdown FILE.json | --budget FILE [--write] | --count NAME|FLOWS|RULES | --shared-lines";
/// Flows of a scenario when instructions are counted: what is counted does not depend on them, but to make a million
/// takes minutes where every instruction is simulated.
const FLOWS_COUNTED: usize = 1000;

struct Options {
    quick: bool,
    instructions: bool,
    json: Option<String>,
    only: Option<String>,
    runs: Option<usize>,
    /// States that expire.
    states: Option<usize>,
}

impl Options {
    fn wants(&self, what: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|word| what.contains(word.as_str()))
    }

    fn runs(&self) -> usize {
        let runs = self.runs.unwrap_or(if self.quick { 3 } else { 5 });
        runs.max(1)
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        quick: false,
        instructions: true,
        json: None,
        only: None,
        runs: None,
        states: None,
    };
    let number = |arg: Option<String>| arg.and_then(|n| n.parse().ok());
    let mut args = args.iter().cloned();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--no-instructions" => options.instructions = false,
            "--json" => options.json = Some(args.next().ok_or("--json needs a file")?),
            "--only" => options.only = Some(args.next().ok_or("--only needs a word")?),
            "--runs" => options.runs = Some(number(args.next()).ok_or("--runs needs a number")?),
            "--states" => {
                options.states = Some(number(args.next()).ok_or("--states needs a number")?);
            }
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        ["--count", name] => count(name).map(|()| true),
        ["--count", name, flows, rules] => count(&format!("{name}|{flows}|{rules}")).map(|()| true),
        ["--markdown", file] => markdown(file).map(|()| true),
        ["--budget", file] => instructions::budget(file, false, find),
        ["--budget", file, "--write"] => instructions::budget(file, true, find),
        ["--shared-lines"] => lines::check(),
        ["--traced", case] => lines::traced(case).map(|()| true),
        ["--testpmd", fugu, rest @ ..] => options(&args[args.len() - rest.len()..])
            .and_then(|options| outside_only(fugu, &options))
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

/// The scenario that the budget calls so, with the flows that it asks for.
fn find(name: &str) -> Option<Scenario> {
    let mut parts = name.split('|');
    let (scenario, flows, rules) = (parts.next()?, parts.next()?, parts.next()?);
    let (flows, rules): (usize, usize) = (flows.parse().ok()?, rules.parse().ok()?);
    let mut all = scenario::all(true).into_iter();
    let mut found = all.find(|s| s.name == scenario && s.policy.rules == rules)?;
    found.flows = flows;
    // A large table takes minutes to be compiled where every instruction is simulated.
    found.policy.entries = found.policy.entries.min(100_000);
    Some(found)
}

/// One slab of one scenario. Prints how many packets went through it.
fn count(name: &str) -> Result<(), String> {
    let scenario = find(name).ok_or_else(|| {
        let all = scenario::all(true);
        let names: Vec<String> = all.iter().map(|s| instructions::name(s, s.flows)).collect();
        format!("no scenario '{name}'; there are:\n{}", names.join("\n"))
    })?;
    println!("packets {}", scenario.prepare(FRAMES_COUNTED).count());
    Ok(())
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

fn write(options: &Options, report: &Report) -> Result<(), String> {
    let Some(file) = &options.json else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    std::fs::write(file, text).map_err(|e| format!("{file}: {e}"))
}

fn packets(options: &Options, report: &mut Report) {
    let mut counted: Vec<(String, Option<instructions::Counted>)> = Vec::new();
    report::print_head();
    let mut fast = 0.0f64;
    for scenario in scenario::all(options.quick) {
        if !options.wants(scenario.name) {
            continue;
        }
        let mut prepared = scenario.prepare(FRAMES);
        prepared.sample();
        let samples: Vec<Sample> = (0..options.runs()).map(|_| prepared.sample()).collect();
        drop(prepared);
        fast = samples.iter().map(|s| s.core_ghz).fold(fast, f64::max);
        let flows = scenario.flows.min(FLOWS_COUNTED);
        let name = instructions::name(&scenario, flows);
        let known = counted.iter().find(|c| c.0 == name).map(|c| c.1);
        let counts = known.unwrap_or_else(|| {
            let now = options
                .instructions
                .then(|| instructions::count(&scenario, flows));
            let now = now.and_then(Result::ok);
            counted.push((name, now));
            now
        });
        let row = row(&scenario, &samples, report.machine.tsc_ghz, fast, counts);
        row.print();
        report.packets.push(row);
    }
    report.machine.fast_ghz = fast;
}

fn row(
    scenario: &Scenario,
    samples: &[Sample],
    tsc_ghz: f64,
    fast_ghz: f64,
    counted: Option<instructions::Counted>,
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

/// What compiling costs, by the other program of this crate, which prints its own table.
fn compile(runs: usize) -> Result<serde_json::Value, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let program = program.with_file_name("bench-compile");
    let file = std::env::temp_dir().join(format!("bench-compile.{}", std::process::id()));
    let status = Command::new(&program)
        .arg(runs.to_string())
        .arg(&file)
        .status()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    // It was ours; nobody misses it.
    std::fs::remove_file(&file).ok();
    if !status.success() {
        return Err("bench-compile failed".into());
    }
    serde_json::from_str(&text).map_err(|e| e.to_string())
}
