//! The longest turn: what a packet may have to wait for. While a million states expire, and while a large ruleset and a
//! large table take the place of others under load.
//!
//! A turn of some microseconds is easily hit by what is not ours: interrupts, and a host that takes the core away, both of
//! which may be charged to the thread. Two things tell them apart. Each pass begins with workers and memory of its own and does
//! the same work turn by turn, so what turn *n* takes in every pass is its own, and what it takes in one pass only is not: the
//! *own* length of a turn is the least of all passes. And after each turn a loop of about its length is timed in the same way,
//! which touches no memory (*loop*): what that takes beyond its cycles, the machine has taken.

use serde::{Deserialize, Serialize};

use crate::calibrate::{core_ghz, spin, steps_of, thread_ns};
use crate::policy::{Policy, Purpose};
use crate::rig::{FRAMES, Plan, Rig};
use crate::scenario::packet;
use crate::spread::{Spread, quantile};
use crate::world::World;

/// Flows of the reload.
const RELOAD_FLOWS: u32 = 100_000;
/// Turns under load before the new configuration is published.
const TURNS_BEFORE: usize = 200;
/// Microseconds of the loop beside the turns.
const LOOP_US: f64 = 10.0;

/// One line of the table of turns.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    /// States that expire, or flows.
    pub(crate) flows: usize,
    pub(crate) rules: usize,
    pub(crate) entries: usize,
    /// Of one pass.
    pub(crate) turns: usize,
    /// Microseconds of the middle turn, of all but one in a thousand, and of the longest, by pass, whatever it was that took
    /// the time.
    pub(crate) median_us: Spread,
    pub(crate) p999_us: Spread,
    pub(crate) longest_us: Spread,
    /// The same of the loop beside the turns.
    pub(crate) loop_us: [Spread; 3],
    /// Microseconds of all but one in a thousand, and of the longest, of which each turn took as many in every pass.
    pub(crate) own_p999_us: f64,
    pub(crate) own_longest_us: f64,
    /// The turn that adopted the new configuration, likewise.
    pub(crate) own_adopting_us: Option<f64>,
    /// Most states that one turn has removed.
    pub(crate) most_removed: usize,
    /// Packets dropped, all passes together.
    pub(crate) lost: u64,
}

impl Row {
    pub(crate) fn print(&self) {
        let [median, p999, longest] = &self.loop_us;
        println!(
            "{}: {} flows or states, {} rules, {} entries, {} turns, at most {} states removed in one, lost {}",
            self.scenario,
            self.flows,
            self.rules,
            self.entries,
            self.turns,
            self.most_removed,
            self.lost
        );
        println!(
            "  turn us: median {}, 99.9 % {}, longest {}; own: 99.9 % {:.1}, longest {:.1}{}",
            self.median_us.text(1),
            self.p999_us.text(1),
            self.longest_us.text(1),
            self.own_p999_us,
            self.own_longest_us,
            self.own_adopting_us
                .map(|us| format!(", adopting {us:.1}"))
                .unwrap_or_default()
        );
        println!(
            "  loop us: median {}, 99.9 % {}, longest {}",
            median.text(1),
            p999.text(1),
            longest.text(1)
        );
    }
}

/// The table of docs/performance.md.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "\n| turns | flows or states | rules | entries | median µs | 99.9 % µs | longest µs | loop: 99.9 %, longest µs | own 99.9 % µs | own longest µs | own adopting µs | most removed | lost |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let some = |n: usize| if n == 0 { String::new() } else { n.to_string() };
    for r in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.1}, {:.1} | {:.1} | {:.1} | {} | {} | {} |\n",
            r.scenario,
            r.flows,
            r.rules,
            some(r.entries),
            r.median_us.text(1),
            r.p999_us.text(1),
            r.longest_us.text(1),
            r.loop_us[1].median,
            r.loop_us[2].median,
            r.own_p999_us,
            r.own_longest_us,
            r.own_adopting_us
                .map(|us| format!("{us:.1}"))
                .unwrap_or_default(),
            some(r.most_removed),
            r.lost
        );
    }
    text
}

/// One pass.
#[derive(Default)]
struct Pass {
    ns: Vec<f64>,
    loop_ns: Vec<f64>,
    /// Which turn adopted the new configuration.
    adopting: Option<usize>,
    most_removed: usize,
    lost: u64,
}

impl Pass {
    /// A turn, and the loop. The clock itself costs some hundred nanoseconds, which are in both.
    fn turn(&mut self, rig: &mut Rig, steps: u64) {
        let states = rig.states();
        let started = thread_ns();
        rig.turn();
        self.ns.push(thread_ns() - started);
        self.loop_ns.push(spin(steps));
        let removed = states.saturating_sub(rig.states());
        self.most_removed = self.most_removed.max(removed);
    }
}

fn rig(policy: Policy, states: usize) -> Rig {
    let plan = Plan {
        world: World::Routed,
        policy,
        states: states + 1024,
        workers: 1,
        rss: true,
    };
    Rig::new(plan, FRAMES)
}

/// One packet of each of so many flows, the first one first or in another order.
fn load_flows(rig: &mut Rig, flows: usize, shuffled: bool) {
    let mut next = 0;
    while next < flows {
        next += rig.load(0, FRAMES.min(flows - next), |n| {
            let n = (next + n) as u64;
            let n = if shuffled { shuffle(n, flows) } else { n };
            packet(false, n as u32, None)
        });
        rig.drain();
    }
}

/// Another order of the numbers below `count`, which must be no multiple of a large prime.
fn shuffle(n: u64, count: usize) -> u64 {
    const PRIME: u64 = 2_654_435_761;
    n * PRIME % count as u64
}

/// So many states, of whole connections with flows, all of which have outlived their time when the first turn begins. They
/// lie in memory in another order than they expire in.
pub(crate) fn expiry(name: &str, purpose: Purpose, states: usize, runs: usize) -> Row {
    let policy = Policy {
        purpose,
        rules: 10,
        entries: 0,
    };
    let steps = steps_of(LOOP_US, core_ghz());
    let pass = || {
        let mut rig = rig(policy, states);
        load_flows(&mut rig, states / 2, false);
        // The second packet changes the class of timeout and makes the flow.
        load_flows(&mut rig, states / 2, true);
        assert_eq!(rig.states(), states, "states");
        rig.now_ms += 61_000;
        let mut pass = Pass::default();
        while rig.states() > 0 {
            pass.turn(&mut rig, steps);
        }
        pass
    };
    let passes: Vec<Pass> = (0..runs).map(|_| pass()).collect();
    row(name, states, policy, &passes)
}

/// A reload of a large ruleset and a large table while packets of established flows keep coming.
pub(crate) fn reload(rules: usize, entries: usize, runs: usize) -> Row {
    let policy = Policy {
        purpose: Purpose::Table,
        rules,
        entries,
    };
    let flows = RELOAD_FLOWS as usize;
    let steps = steps_of(LOOP_US, core_ghz());
    let pass = || {
        let mut rig = rig(policy, 2 * flows);
        load_flows(&mut rig, flows, false);
        load_flows(&mut rig, flows, true);
        let config = rig.config(policy);
        let before = rig.count(|c| c.dropped.get());
        rig.load(0, FRAMES, |n| {
            packet(false, shuffle(n as u64, flows) as u32, None)
        });
        let mut pass = Pass::default();
        for _ in 0..TURNS_BEFORE {
            pass.turn(&mut rig, steps);
        }
        rig.publish(config);
        pass.adopting = Some(pass.ns.len());
        while rig.pending() > 0 {
            pass.turn(&mut rig, steps);
        }
        rig.drain();
        pass.lost = rig.count(|c| c.dropped.get()) - before;
        pass
    };
    let passes: Vec<Pass> = (0..runs).map(|_| pass()).collect();
    row("reload", flows, policy, &passes)
}

fn row(scenario: &str, flows: usize, policy: Policy, passes: &[Pass]) -> Row {
    let at = |of: fn(&Pass) -> &[f64], share| {
        Spread::of(
            passes
                .iter()
                .map(|pass| quantile(&sorted(of(pass)), share) / 1000.0),
        )
    };
    let own = own(passes);
    let own_sorted = sorted(&own);
    let adopting = passes.first().and_then(|pass| pass.adopting);
    Row {
        scenario: scenario.into(),
        flows,
        rules: policy.rules,
        entries: policy.entries,
        turns: own.len(),
        median_us: at(|pass| &pass.ns, 0.5),
        p999_us: at(|pass| &pass.ns, 0.999),
        longest_us: at(|pass| &pass.ns, 1.0),
        loop_us: [0.5, 0.999, 1.0].map(|share| at(|pass| &pass.loop_ns, share)),
        own_p999_us: quantile(&own_sorted, 0.999) / 1000.0,
        own_longest_us: quantile(&own_sorted, 1.0) / 1000.0,
        own_adopting_us: adopting.map(|n| own[n] / 1000.0),
        most_removed: passes
            .iter()
            .map(|pass| pass.most_removed)
            .max()
            .unwrap_or(0),
        lost: passes.iter().map(|pass| pass.lost).sum(),
    }
}

/// What each turn has taken at least.
fn own(passes: &[Pass]) -> Vec<f64> {
    let turns = passes.iter().map(|pass| pass.ns.len()).min().unwrap_or(0);
    let least = |n: usize| {
        passes
            .iter()
            .map(|pass| pass.ns[n])
            .fold(f64::MAX, f64::min)
    };
    (0..turns).map(least).collect()
}

fn sorted(ns: &[f64]) -> Vec<f64> {
    let mut ns = ns.to_vec();
    ns.sort_by(f64::total_cmp);
    ns
}
