//! Time in the box: from the moment a packet is in the receive queue to the moment it is in the transmit queue, when
//! packets come at an even pace of so many percent of what the worker can take.
//!
//! The clock is the time that the thread has run, and the schedule of arrivals is by that clock, too: time in which
//! the machine ran something else does not exist. Looking at the clock takes some hundred nanoseconds in every turn,
//! which are part of the turn.

use serde::{Deserialize, Serialize};

use crate::calibrate::thread_ns;
use crate::policy::{Policy, Purpose};
use crate::rig::FRAMES;
use crate::scenario::{Load, Prepared, Scenario};
use crate::spread::{Spread, quantile};
use crate::world::World;

/// Percent of capacity.
const LOADS: [u32; 3] = [10, 50, 90];
const FLOWS: usize = 100_000;

/// One line of the table: microseconds, by run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) load_percent: u32,
    pub(crate) flows: usize,
    pub(crate) packets: usize,
    pub(crate) mpps: Spread,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) p999_us: Spread,
    pub(crate) longest_us: Spread,
}

/// A row for each load.
pub(crate) fn rows(runs: usize) -> Vec<Row> {
    let scenario = Scenario {
        name: "latency",
        world: World::Routed,
        load: Load::Udp,
        flows: FLOWS,
        policy: Policy {
            purpose: Purpose::Filter,
            rules: 10,
            entries: 0,
        },
    };
    let mut prepared = scenario.prepare(FRAMES);
    prepared.load_slab();
    prepared.rig.drain();
    let each = |&load_percent| {
        let runs: Vec<(f64, Vec<f64>)> = (0..runs)
            .map(|_| {
                // The host's speed may change between any two runs.
                let interval = capacity_ns(&mut prepared) * 100.0 / f64::from(load_percent);
                (1000.0 / interval, waits(&mut prepared, interval))
            })
            .collect();
        let at = |share: f64| Spread::of(runs.iter().map(|r| quantile(&r.1, share) / 1000.0));
        Row {
            load_percent,
            flows: FLOWS,
            packets: runs.iter().map(|r| r.1.len()).sum(),
            mpps: Spread::of(runs.iter().map(|r| r.0)),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            longest_us: at(1.0),
        }
    };
    LOADS.iter().map(each).collect()
}

/// Nanoseconds per packet when a full burst always waits, the clock included as it is below.
fn capacity_ns(prepared: &mut Prepared) -> f64 {
    let count = prepared.load_slab();
    let started = thread_ns();
    while prepared.rig.pending() > 0 {
        prepared.rig.turn();
        std::hint::black_box(thread_ns());
    }
    (thread_ns() - started) / count as f64
}

/// What each packet of a slab waited, in nanoseconds, sorted.
fn waits(prepared: &mut Prepared, interval_ns: f64) -> Vec<f64> {
    let count = prepared.load_slab();
    let rig = &mut prepared.rig;
    rig.let_arrive(0, 0);
    let mut waited = Vec::with_capacity(count);
    let started = thread_ns();
    let mut now = 0.0;
    while waited.len() < count {
        let arrived = ((now / interval_ns) as usize + 1).min(count);
        rig.let_arrive(0, arrived - waited.len());
        rig.turn();
        now = thread_ns() - started;
        let left = count - rig.pending();
        waited.extend((waited.len()..left).map(|n| now - n as f64 * interval_ns));
    }
    rig.let_arrive(0, usize::MAX);
    rig.drain();
    waited.sort_by(f64::total_cmp);
    waited
}
