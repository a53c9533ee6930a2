//! The longest turn: what a packet may have to wait for. While a million states expire, and while a large ruleset and a
//! large table take the place of others under load.

use serde::{Deserialize, Serialize};

use crate::calibrate::thread_ns;
use crate::policy::{Policy, Purpose};
use crate::rig::{FRAMES, Plan, Rig};
use crate::scenario::packet;
use crate::spread::{Spread, quantile};
use crate::world::World;

/// Flows of the reload.
const RELOAD_FLOWS: u32 = 100_000;
/// Turns under load before the new configuration is published.
const TURNS_BEFORE: usize = 200;

/// One line of the table of turns.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    /// States that expire, or flows.
    pub(crate) flows: usize,
    pub(crate) rules: usize,
    pub(crate) entries: usize,
    pub(crate) turns: usize,
    /// Microseconds of the middle turn, of all but one in a thousand, and of the longest, by run.
    pub(crate) median_us: Spread,
    pub(crate) p999_us: Spread,
    pub(crate) longest_us: Spread,
    /// The turn that adopted the new configuration.
    pub(crate) adopting_us: Option<Spread>,
    /// Packets dropped, all runs together.
    pub(crate) lost: u64,
}

/// One run.
struct Run {
    ns: Vec<f64>,
    adopting_ns: f64,
    lost: u64,
}

/// Nanoseconds of one turn. The clock itself costs some hundred, which are in it.
fn timed(rig: &mut Rig) -> f64 {
    let started = thread_ns();
    rig.turn();
    thread_ns() - started
}

/// So many states, of whole connections, all of which have outlived their time when the first turn begins.
pub(crate) fn expiry(states: usize, runs: usize) -> Row {
    let policy = Policy {
        purpose: Purpose::Filter,
        rules: 10,
        entries: 0,
    };
    let plan = Plan {
        world: World::Routed,
        policy,
        states: states + 1024,
        workers: 1,
        rss: true,
    };
    let mut rig = Rig::new(plan, FRAMES);
    let run = |_| {
        let flows = states / 2;
        let mut next = 0;
        while next < flows {
            next += rig.load(0, FRAMES.min(flows - next), |n| {
                packet(false, (next + n) as u32, None)
            });
            rig.drain();
        }
        assert_eq!(rig.states(), states, "states");
        rig.now_ms += 61_000;
        let mut ns = Vec::with_capacity(states);
        while rig.states() > 0 {
            ns.push(timed(&mut rig));
        }
        // Neighbors have gone stale meanwhile.
        rig.introduce();
        Run {
            ns,
            adopting_ns: 0.0,
            lost: 0,
        }
    };
    let runs: Vec<Run> = (0..runs).map(run).collect();
    row("expiry", states, policy, &runs, false)
}

/// A reload of a large ruleset and a large table while packets of established flows keep coming.
pub(crate) fn reload(rules: usize, entries: usize, runs: usize) -> Row {
    let policy = Policy {
        purpose: Purpose::Table,
        rules,
        entries,
    };
    let plan = Plan {
        world: World::Routed,
        policy,
        states: 2 * RELOAD_FLOWS as usize + 1024,
        workers: 1,
        rss: true,
    };
    let mut rig = Rig::new(plan, FRAMES);
    let established = |n: usize| packet(false, n as u32 % RELOAD_FLOWS, None);
    for half in 0..2 {
        let half = half * RELOAD_FLOWS as usize / 2;
        rig.load(0, RELOAD_FLOWS as usize / 2, |n| established(half + n));
        rig.drain();
    }
    let run = |_| {
        let config = rig.config(policy);
        let before = rig.count(|c| c.dropped.get());
        rig.load(0, FRAMES, |n| established(n.wrapping_mul(2_654_435_761)));
        let mut ns = Vec::with_capacity(FRAMES);
        for _ in 0..TURNS_BEFORE {
            ns.push(timed(&mut rig));
        }
        rig.publish(config);
        let adopting_ns = timed(&mut rig);
        ns.push(adopting_ns);
        while rig.pending() > 0 {
            ns.push(timed(&mut rig));
        }
        rig.drain();
        Run {
            ns,
            adopting_ns,
            lost: rig.count(|c| c.dropped.get()) - before,
        }
    };
    let runs: Vec<Run> = (0..runs).map(run).collect();
    row("reload", RELOAD_FLOWS as usize, policy, &runs, true)
}

fn row(scenario: &str, flows: usize, policy: Policy, runs: &[Run], adopting: bool) -> Row {
    let sorted: Vec<Vec<f64>> = runs
        .iter()
        .map(|run| {
            let mut ns = run.ns.clone();
            ns.sort_by(f64::total_cmp);
            ns
        })
        .collect();
    let at = |share: f64| Spread::of(sorted.iter().map(|ns| quantile(ns, share) / 1000.0));
    Row {
        scenario: scenario.into(),
        flows,
        rules: policy.rules,
        entries: policy.entries,
        turns: runs.iter().map(|run| run.ns.len()).sum(),
        median_us: at(0.5),
        p999_us: at(0.999),
        longest_us: at(1.0),
        adopting_us: adopting.then(|| Spread::of(runs.iter().map(|run| run.adopting_ns / 1000.0))),
        lost: runs.iter().map(|run| run.lost).sum(),
    }
}
