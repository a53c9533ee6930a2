//! Instructions and cache lines per packet, by callgrind: this program runs itself in it, with `--count`, and callgrind
//! looks at [`crate::scenario`]'s `counted` alone, the worker's turns and the device. The figures are the same under every
//! load of the machine, so they can be held against a record, the *budget*.
//!
//! Lines are misses of a simulated first-level cache of 32 KiB: a thousand flows do not fit in it, so each packet brings
//! in the lines that it alone needs, and those which a burst has pushed out meanwhile. Any line may lie anywhere in it: with
//! the eight ways of a real one, the count of a large table depends on where the pages of this run happen to lie.

use std::process::{Command, Stdio};

use crate::scenario::Scenario;

/// What a new build may be above the record, which a change of the compiler or of code elsewhere can bring about, and
/// another processor, for which the C library copies memory in another way.
const SLACK: f64 = 1.02;
/// The same for lines: what shares a line with what depends on where the allocator puts it.
const SLACK_LINES: f64 = 1.05;
/// And where next to none are brought in.
const LINES: f64 = 0.1;
/// Below this share of the record, the record is to be lowered.
const LOWER: f64 = 0.97;

/// Flows of a scenario when instructions are counted: what is counted does not depend on them, but to make a million
/// takes minutes where every instruction is simulated.
pub(crate) const FLOWS_COUNTED: usize = 1000;

/// What callgrind has counted, per packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) instructions: f64,
    pub(crate) lines: f64,
}

/// Counts one scenario with at most `flows` flows. An error says what is missing.
pub(crate) fn count(scenario: &Scenario, flows: usize) -> Result<Counted, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args([
            "--collect-atstart=no",
            "--toggle-collect=*scenario::counted*",
        ])
        .args(["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,512,64"])
        .arg("--LL=2097152,16,64")
        .arg(program)
        .args(["--count", &name(scenario, flows)])
        // Where things lie on the stack depends on the environment.
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // What is not callgrind's own is what went wrong.
    let ours = |line: &&str| !line.starts_with("==") && !line.starts_with("--") && !line.is_empty();
    let last = || {
        let lines: Vec<&str> = told.lines().filter(ours).take(2).collect();
        lines.join(" ")
    };
    let packets = String::from_utf8_lossy(&output.stdout)
        .trim()
        .strip_prefix("packets ")
        .and_then(|n| n.parse::<f64>().ok())
        .ok_or_else(last)?;
    let events = words(&told, "Events").ok_or_else(last)?;
    let collected = words(&told, "Collected").ok_or_else(last)?;
    let event = |name: &str| {
        let at = events.iter().position(|e| e == name)?;
        collected.get(at)?.parse::<f64>().ok()
    };
    let sum = |names: [&str; 2]| Some(event(names[0])? + event(names[1])?);
    Ok(Counted {
        instructions: event("Ir").ok_or_else(last)? / packets,
        lines: sum(["D1mr", "D1mw"]).ok_or_else(last)? / packets,
    })
}

/// What stands behind `==PID== Events    :`.
fn words(told: &str, what: &str) -> Option<Vec<String>> {
    let line = told.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("== ")?;
        let (head, rest) = rest.split_once(':')?;
        (head.trim() == what).then_some(rest)
    })?;
    Some(line.split_whitespace().map(String::from).collect())
}

/// `NAME|FLOWS|RULES`: how the budget and `--count` call a scenario.
pub(crate) fn name(scenario: &Scenario, flows: usize) -> String {
    format!("{}|{flows}|{}", scenario.name, scenario.policy.rules)
}

/// One line of the budget.
struct Record {
    name: String,
    instructions: f64,
    lines: f64,
}

fn record(line: &str) -> Option<Record> {
    let (name, figures) = line.rsplit_once('=')?;
    let (instructions, lines) = figures.trim().split_once(' ')?;
    Some(Record {
        name: name.trim().into(),
        instructions: instructions.parse().ok()?,
        lines: lines.trim().parse().ok()?,
    })
}

/// Holds every line of the budget in `file` against what is counted now. With `write`, makes the record of what was
/// counted instead. True if nothing is above its record.
pub(crate) fn budget(
    file: &str,
    write: bool,
    find: impl Fn(&str) -> Option<Scenario>,
) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let (mut new, mut within, mut lower) = (String::new(), true, 0);
    println!(
        "{:<40} {:>12} {:>10} {:>8} {:>8}",
        "scenario|flows|rules", "instructions", "record", "lines", "record"
    );
    for line in text.lines() {
        let Some(record) = record(line).filter(|_| !line.starts_with('#')) else {
            new += &format!("{line}\n");
            continue;
        };
        let scenario = find(&record.name).ok_or(format!("{file}: no scenario {}", record.name))?;
        let now = count(&scenario, scenario.flows)?;
        let above = now.instructions > record.instructions * SLACK
            || now.lines > record.lines * SLACK_LINES + LINES;
        let below = now.instructions < record.instructions * LOWER;
        let remark = match (above, below) {
            (true, _) => " ABOVE THE BUDGET",
            (_, true) => " below: lower the record",
            _ => "",
        };
        println!(
            "{:<40} {:>12.1} {:>10} {:>8.2} {:>8}{remark}",
            record.name, now.instructions, record.instructions, now.lines, record.lines
        );
        within &= !above;
        lower += usize::from(below && !above);
        new += &format!(
            "{} = {:.0} {:.2}\n",
            record.name, now.instructions, now.lines
        );
    }
    if write {
        std::fs::write(file, new).map_err(|e| format!("{file}: {e}"))?;
        return Ok(true);
    }
    if !within {
        println!(
            "A packet costs more than {file} allows. Make it cheaper; if what it does is worth the cost, say why in \
             the commit that raises the record: ci/bench --budget --write"
        );
    }
    if lower > 0 {
        println!("{lower} records can be lowered: ci/bench --budget --write");
    }
    Ok(within)
}
