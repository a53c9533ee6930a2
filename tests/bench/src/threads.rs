//! Two workers on threads of their own: what cores that serve established connections at the same time make each other
//! wait. If they wrote a line that both use, each write would fetch it from the other core.
//!
//! Each thread has a device, flows that the hash gives to it, and a worker; what all workers share they share. Each is
//! timed alone, while the other sleeps, and then both at the same time; before, the device alone is timed likewise, which
//! shares nothing but the memory: what that loses is the machine's. Other work on the machine disturbs both.

use std::sync::{Arc, Barrier};

use filter::Shared;
use serde::{Deserialize, Serialize};
use simnic::replay::{Loaded, Replay, ReplayNic};
use worker::{Counters, Ends, Worker};

use crate::calibrate::{core_ghz, thread_ns};
use crate::device::{Device, lane};
use crate::frame::Packet;
use crate::policy::{Policy, Purpose};
use crate::rig::{FRAMES, Plan, config, introductions, load_frame, queue_of, worker_of};
use crate::scenario::packet;
use crate::spread::Spread;
use crate::world::World;

const WORKERS: usize = 2;
const SIZE: Size = Size {
    flows: 20_000,
    frames: FRAMES,
};
/// First worker alone, second alone, both.
const PHASES: usize = 3;

type Buf = <ReplayNic as nic::Nic>::Buf;

/// What each worker gets.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) flows: usize,
    pub(crate) frames: usize,
}

/// One line of the table: core cycles per packet, of all workers and runs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) workers: usize,
    pub(crate) alone: Spread,
    pub(crate) together: Spread,
    pub(crate) lost: u64,
}

/// What one thread has measured.
#[derive(Default)]
struct Samples {
    /// Core cycles per packet: of the device, of the worker; alone, together.
    cycles: [[Vec<f64>; 2]; 2],
    lost: u64,
}

/// What is timed.
const WHAT: [&str; 2] = ["device only", "filter, udp"];

pub(crate) fn rows(runs: usize) -> Vec<Row> {
    let samples = on_threads(Purpose::Filter, WORKERS, SIZE, |core, barrier| {
        core.run(runs, barrier)
    });
    let lost = samples.iter().map(|s| s.lost).sum();
    let row = |(n, what): (usize, &str)| {
        let all = |m: usize| {
            samples
                .iter()
                .flat_map(move |s| s.cycles[n][m].iter().copied())
        };
        Row {
            scenario: what.into(),
            workers: WORKERS,
            alone: Spread::of(all(0)),
            together: Spread::of(all(1)),
            lost,
        }
    };
    WHAT.into_iter().enumerate().map(row).collect()
}

/// Runs workers that share what workers share, each on a thread of its own.
pub(crate) fn on_threads<T: Default + Send>(
    purpose: Purpose,
    workers: usize,
    size: Size,
    run: impl Fn(Core, &Barrier) -> T + Sync,
) -> Vec<T> {
    let plan = Plan {
        world: World::Routed,
        policy: Policy {
            purpose,
            rules: 10,
            entries: 0,
        },
        states: 2 * size.flows + 1024,
        workers,
        rss: true,
    };
    let slots = plan.policy.rules + 2;
    let (ends, control) = worker::connect::<ReplayNic>(workers, slots);
    let shared = Arc::new(Shared::new(slots, plan.states * workers, workers, 1));
    let config = config(plan.world, plan.policy, 1, &shared);
    for control in &control {
        control.config.publish(config.clone());
    }
    let barrier = Barrier::new(workers);
    std::thread::scope(|scope| {
        let (shared, barrier, plan, run) = (&shared, &barrier, &plan, &run);
        let start =
            |(id, ends)| scope.spawn(move || run(Core::new(plan, id, ends, shared, size), barrier));
        let threads: Vec<_> = (0..).zip(ends).map(start).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|made| made.unwrap_or_default()).collect()
    })
}

/// One thread's.
pub(crate) struct Core {
    pub(crate) id: usize,
    world: World,
    device: Replay,
    worker: Worker<ReplayNic>,
    pub(crate) counters: Arc<Counters>,
    flows: Vec<Packet>,
    frames: usize,
}

impl Core {
    fn new(plan: &Plan, id: u16, ends: Ends<Buf>, shared: &Arc<Shared>, size: Size) -> Self {
        let mut device = Replay::new(size.frames, &[0; 64], u64::from(id) + 1);
        let counters = ends.counters.clone();
        let worker = worker_of(plan, id, ends, shared, &mut device, 0);
        let link = plan.world.link(0);
        let is_ours = |packet: &Packet| queue_of(packet, &link, plan.workers) == id;
        let packets = (0..).map(|n| packet(false, n, None));
        let mut core = Core {
            id: usize::from(id),
            world: plan.world,
            device,
            worker,
            counters,
            flows: packets.filter(is_ours).take(size.flows).collect(),
            frames: size.frames,
        };
        core.introduce();
        core
    }

    /// Lets the neighbors of both sides ask for us.
    fn introduce(&mut self) {
        for (port, frame) in introductions(self.world) {
            load_frame(&mut self.device, port, &frame);
            self.drain();
        }
        self.settle();
    }

    /// Turns without packets, in which workers hear of each other.
    pub(crate) fn settle(&mut self) {
        for _ in 0..64 {
            self.worker.turn(1000);
        }
    }

    fn pending(&self) -> usize {
        (0..2)
            .map(|side| self.device.pending(lane(self.world.ports(side)[0], 0)))
            .sum()
    }

    pub(crate) fn drain(&mut self) {
        while self.pending() > 0 {
            self.worker.turn(1000);
        }
    }

    /// As many packets as there are frames at home, of flows in random order.
    pub(crate) fn load(&mut self) -> usize {
        const STRIDE: usize = 7919;
        let (link, flows) = (self.world.link(0), &self.flows);
        let port = self.world.ports(0)[0];
        self.device
            .load(lane(port, 0), self.frames, |n, room| Loaded {
                len: flows[n * STRIDE % flows.len()].write(&link, room),
                rss_hash: None,
            })
    }

    fn run(mut self, runs: usize, barrier: &Barrier) -> Samples {
        // States, then flows.
        for _ in 0..2 {
            self.load();
            self.drain();
        }
        let mut samples = Samples::default();
        let before = self.counters.dropped.get();
        for phase in (0..runs).flat_map(|_| 0..PHASES) {
            let together = phase == WORKERS;
            for what in 0..WHAT.len() {
                let count = self.load();
                let ghz = core_ghz();
                barrier.wait();
                if together || phase == self.id {
                    let started = thread_ns();
                    self.go(what);
                    let cycles = (thread_ns() - started) * ghz / count as f64;
                    samples.cycles[what][usize::from(together)].push(cycles);
                }
                barrier.wait();
                self.drain();
            }
        }
        samples.lost = self.counters.dropped.get() - before;
        samples
    }

    fn go(&mut self, what: usize) {
        match what {
            0 => self.device.reflect(),
            _ => self.drain(),
        }
    }
}

impl Row {
    pub(crate) fn print(&self) {
        println!(
            "threads: {}, {} workers: alone {} core cycles per packet, together {}, lost {}",
            self.scenario,
            self.workers,
            self.alone.text(0),
            self.together.text(0),
            self.lost
        );
    }
}

/// The table of docs/performance.md.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "\n| on threads | workers | core cycles alone | together | lost |\n|---|---|---|---|---|\n",
    );
    for r in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            r.scenario,
            r.workers,
            r.alone.text(0),
            r.together.text(0),
            r.lost
        );
    }
    text
}
