//! What compiling pf.conf costs: time and peak memory for rulesets of growing size, and whether the cost grows with the
//! size and no faster.
//!
//! Each figure comes from a process of its own (this program, called with `--once`), because the peak memory of
//! a process never falls. The text is made before the clock starts; the clock is the thread's own time, so one core is
//! all that is counted.

use std::fmt::Write;
use std::process::Command;

use pfconf::{Environment, Files, Optimization, Options, compile};
use serde::{Deserialize, Serialize};

use crate::calibrate::{core_ghz, thread_ns};
use crate::spread::Spread;

/// What is done with a ruleset.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// Text to ruleset.
    Compile,
    /// That and the index of the dataplane.
    Index,
    /// With all warnings, as `fuguctl check` does.
    Warnings,
    /// With the optimizer of `pfctl`.
    Basic,
    /// The same for rules that all may change places, the most work that it can have.
    BasicOneBlock,
}

/// One ruleset and what is done with it.
struct Case {
    name: &'static str,
    rules: usize,
    entries: usize,
    work: Work,
}

const fn case(name: &'static str, rules: usize, entries: usize, work: Work) -> Case {
    Case {
        name,
        rules,
        entries,
        work,
    }
}

const CASES: [Case; 13] = [
    case("compile", 1_000, 0, Work::Compile),
    case("compile", 10_000, 0, Work::Compile),
    case("compile", 100_000, 0, Work::Compile),
    case("compile and table", 100_000, 1_000_000, Work::Compile),
    case("table", 0, 1_000_000, Work::Compile),
    case("compile and index", 1_000, 0, Work::Index),
    case("compile and index", 10_000, 0, Work::Index),
    case("compile, warnings", 10_000, 0, Work::Warnings),
    case("compile, warnings", 100_000, 0, Work::Warnings),
    case("compile, -o basic", 10_000, 0, Work::Basic),
    case("compile, -o basic", 100_000, 0, Work::Basic),
    case("-o basic, one block", 10_000, 0, Work::BasicOneBlock),
    case("-o basic, one block", 100_000, 0, Work::BasicOneBlock),
];

/// One macro for so many rules.
const RULES_PER_MACRO: usize = 10;

/// One line of the table.
#[derive(Serialize)]
pub(crate) struct Row {
    scenario: String,
    rules: usize,
    table_entries: usize,
    ms: Spread,
    megacycles: Spread,
    core_ghz: Spread,
    peak_mib: f64,
    /// Time per rule against the row of the same name with fewer rules; 1 is linear.
    growth: Option<f64>,
}

/// What the child process says.
#[derive(Serialize, Deserialize)]
struct Once {
    ms: f64,
    core_ghz: f64,
    peak_mib: f64,
}

struct TableFile(Vec<u8>);

impl Files for TableFile {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        (name == "/etc/table").then(|| self.0.clone())
    }
}

/// Measures every case and prints a table.
pub(crate) fn rows(runs: usize) -> Vec<Row> {
    println!(
        "\n{:<22} {:>7} {:>8} {:>24} {:>9} {:>9} {:>9} {:>7}",
        "scenario",
        "rules",
        "entries",
        "ms [min..max]",
        "Mcycles",
        "core GHz",
        "peak MiB",
        "growth"
    );
    let mut rows: Vec<Row> = Vec::new();
    for (n, case) in CASES.iter().enumerate() {
        let samples: Vec<Once> = (0..runs).filter_map(|_| child(n)).collect();
        let mut row = row(case, &samples);
        row.growth = rows.last().and_then(|before| growth(before, &row));
        println!(
            "{:<22} {:>7} {:>8} {:>8.1} [{:.1}..{:.1}] {:>9.0} {:>9.2} {:>9.0} {:>7}",
            row.scenario,
            row.rules,
            row.table_entries,
            row.ms.median,
            row.ms.min,
            row.ms.max,
            row.megacycles.median,
            row.core_ghz.median,
            row.peak_mib,
            row.growth.map(|g| format!("{g:.2}")).unwrap_or_default()
        );
        rows.push(row);
    }
    rows
}

fn row(case: &Case, samples: &[Once]) -> Row {
    let column = |f: fn(&Once) -> f64| Spread::of(samples.iter().map(f));
    Row {
        scenario: case.name.into(),
        rules: case.rules,
        table_entries: case.entries,
        ms: column(|s| s.ms),
        megacycles: column(|s| s.ms * s.core_ghz),
        core_ghz: column(|s| s.core_ghz),
        peak_mib: column(|s| s.peak_mib).max,
        growth: None,
    }
}

/// By cycles: the machine's speed may have changed between the rows.
fn growth(before: &Row, row: &Row) -> Option<f64> {
    let per_rule = |row: &Row| row.megacycles.median / row.rules as f64;
    let comparable = before.scenario == row.scenario && before.rules < row.rules;
    comparable.then(|| per_rule(row) / per_rule(before))
}

fn child(case: usize) -> Option<Once> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program)
        .args(["--once", &case.to_string()])
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// The child's half: compiles once and prints what it cost.
pub(crate) fn once(case: &str) -> Result<(), String> {
    let case = case.parse::<usize>().ok().and_then(|n| CASES.get(n));
    let case = case.ok_or("no such case")?;
    let text = ruleset(case);
    let files = TableFile(table(case.entries));
    let optimized = matches!(case.work, Work::Basic | Work::BasicOneBlock);
    let options = Options {
        lint: case.work == Work::Warnings,
        optimization: match optimized {
            true => Optimization::Basic,
            false => Optimization::None,
        },
        ..Options::default()
    };
    let before = core_ghz();
    let started = thread_ns();
    let mut compiled = compile(
        "pf.conf",
        text.as_bytes(),
        &files,
        &Environment::minimal(),
        &options,
    );
    if let Some(ruleset) = compiled
        .ruleset
        .as_mut()
        .filter(|_| case.work == Work::Index)
    {
        ruleset.build_index(&INTERFACES.map(interface));
    }
    let ms = (thread_ns() - started) / 1e6;
    let ghz = (before + core_ghz()) / 2.0;
    let first = compiled.diagnostics.first().map(ToString::to_string);
    let ruleset = compiled.ruleset.ok_or(first.unwrap_or_default())?;
    if !optimized && ruleset.rules.len() != case.rules {
        return Err(format!("{} rules", ruleset.rules.len()));
    }
    let once = Once {
        ms,
        core_ghz: ghz,
        peak_mib: peak_mib(),
    };
    println!(
        "{}",
        serde_json::to_string(&once).map_err(|e| e.to_string())?
    );
    Ok(())
}

/// Most memory that this process ever had (proc(5), `VmHWM`).
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// `em0`, `em1` and `em2` have these numbers: names are numbered as they come.
const INTERFACES: [u16; 3] = [0, 1, 2];

fn interface(number: u16) -> ruleset::IndexedInterface {
    let kif = ruleset::KifId(number);
    let mut names = ruleset::KifSet::EMPTY;
    names.insert(kif);
    ruleset::IndexedInterface {
        kif,
        names,
        loopback: false,
        rdomain: 0,
    }
}

/// Rules as a generator of rulesets writes them: every kind of line that is usual, each different from all others.
fn ruleset(case: &Case) -> String {
    let mut text = String::new();
    let macros = case.rules / RULES_PER_MACRO;
    for n in 0..macros {
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            text,
            "host_{n} = \"10.{}.{}.{}\"",
            n >> 16,
            n >> 8 & 255,
            n & 255
        );
    }
    if case.entries > 0 {
        text += "table <big> persist file \"/etc/table\"\n";
    }
    for n in 0..case.rules {
        match case.work {
            Work::BasicOneBlock => one_block(&mut text, n),
            _ => rule(&mut text, n, n % macros.max(1)),
        }
    }
    text
}

fn rule(text: &mut String, n: usize, host: usize) {
    let (port, net) = (1024 + n % 60_000, n % 250);
    let _infallible = match n % 8 {
        0 => writeln!(
            text,
            "pass in quick on em0 inet proto tcp from any to $host_{host} port {port}"
        ),
        1 => writeln!(
            text,
            "pass in on em1 proto tcp from 172.16.{net}.0/24 to $host_{host} port {port} keep state"
        ),
        2 => writeln!(
            text,
            "block in log quick on em0 from $host_{host} to any # line {n}"
        ),
        3 => writeln!(
            text,
            "pass out on em0 inet proto udp from $host_{host} to 198.51.{net}.7 port 53 label \"dns-{n}\""
        ),
        4 => writeln!(
            text,
            "block return in on em1 inet proto tcp from ! $host_{host} to 203.0.113.{net} port 1:{port}"
        ),
        5 => writeln!(
            text,
            "pass in inet6 proto tcp from 2001:db8:{:x}:{:x}::/64 to any port {port} flags S/SA",
            n >> 16,
            n & 0xffff
        ),
        6 => writeln!(text, "match in on em2 from $host_{host} to any tag T{net}"),
        _ => writeln!(
            text,
            "pass out quick on em2 proto tcp from $host_{host} to 192.0.2.0/24 port >= {port} tagged T{net}"
        ),
    };
}

fn one_block(text: &mut String, n: usize) {
    let (low, port) = (n % 250, 1024 + n % 500);
    let host = std::net::Ipv4Addr::from(0x0a00_0000 + n as u32);
    let _infallible = writeln!(
        text,
        "pass in on em{} proto tcp from 172.16.{low}.0/24 to {host} port {port}",
        n % 50
    );
}

/// A list of networks, one per line.
fn table(entries: usize) -> Vec<u8> {
    let mut text = String::new();
    for n in 0..entries {
        let address = std::net::Ipv4Addr::from(0x0100_0000 + (n as u32) * 509);
        let _infallible = match n % 10 {
            0 => writeln!(text, "{address}/24"),
            1 => writeln!(text, "2001:db8:{:x}:{:x}::/64", n >> 16, n & 0xffff),
            _ => writeln!(text, "{address}"),
        };
    }
    text.into_bytes()
}
