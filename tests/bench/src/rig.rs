//! Workers on a device, all on this thread, with everything around them.

use std::sync::Arc;

use filter::Shared;
use simnic::replay::{Loaded, Replay};
use simnic::toeplitz;
use worker::{Config, ControlEnds, Ends, Worker, WorkerSetup};

use crate::device::{BufOf, Device, PORTS, lane};
use crate::frame::{Link, Packet};
use crate::policy::Policy;
use crate::world::World;

/// Frames in the device's slab: their header lines are 4 MiB, twice the second-level cache of the machine in
/// docs/performance.md.
pub(crate) const FRAMES: usize = 65_536;
/// The same where instructions are counted and caches do not matter.
pub(crate) const FRAMES_COUNTED: usize = 4096;
/// Rounds of turns after which workers that still find work are in a loop.
const ROUNDS_MAX: usize = 1_000_000;

/// What a rig is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) world: World,
    pub(crate) policy: Policy,
    pub(crate) states: usize,
    pub(crate) workers: usize,
    /// The card spreads packets over receive queues by hash; otherwise all come to the first worker.
    pub(crate) rss: bool,
}

/// Workers with everything around them, on the replay device.
pub(crate) type Rig = RigOn<Replay>;

/// The same on any device.
pub(crate) struct RigOn<D: Device> {
    pub(crate) plan: Plan,
    pub(crate) workers: Vec<Worker<D::Nic>>,
    pub(crate) device: D,
    pub(crate) control: Vec<ControlEnds<BufOf<D>>>,
    pub(crate) now_ms: u64,
    shared: Arc<Shared>,
    /// As the control core does: workers never hold the last reference.
    published: Vec<Arc<Config>>,
}

/// Worker `id`, which receives from queue `queue` of each port.
pub(crate) fn worker_of<D: Device>(
    plan: &Plan,
    id: u16,
    ends: Ends<BufOf<D>>,
    shared: &Arc<Shared>,
    device: &mut D,
    queue: usize,
) -> Worker<D::Nic> {
    let ports = (0..PORTS).map(|port| device.worker_port(port, queue));
    Worker::new(WorkerSetup {
        id,
        workers: plan.workers as u16,
        ends,
        ports: ports.collect(),
        pool: device.pool(),
        states_capacity: plan.states,
        shared: shared.clone(),
        fragments_capacity: 1024,
        hash_seed: 0x1234_5678_9abc_def1,
        dice_seed: 7,
        secret: [3, 4],
        express: std::env::var_os("FUGU_NO_EXPRESS").is_none(),
        now_ms: 1000,
    })
}

/// A generation of the configuration.
pub(crate) fn config(
    world: World,
    policy: Policy,
    generation: u32,
    shared: &Shared,
) -> Arc<Config> {
    let ruleset = policy.compile(world, generation, &shared.edits);
    let interfaces = world.interfaces();
    let routes = world.routes(&interfaces);
    Arc::new(Config::new(generation, ruleset, interfaces, routes))
}

/// Frames with which the neighbors of both sides ask for us, with the ports they come in by.
pub(crate) fn introductions(world: World) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let frames = move |side| world.introduction(side).into_iter().map(move |f| (side, f));
    (0..2)
        .flat_map(frames)
        .map(move |(side, frame)| (world.ports(side)[0], frame))
}

/// Loads one frame that the first worker's queue of a port receives.
pub(crate) fn load_frame(device: &mut impl Device, port: usize, frame: &[u8]) {
    device.load(lane(port, 0), 1, |_, room| {
        room[..frame.len()].copy_from_slice(frame);
        Loaded {
            len: frame.len(),
            rss_hash: None,
        }
    });
}

/// The queue of as many that a card's hash gives a packet to.
pub(crate) fn queue_of(packet: &Packet, link: &Link, queues: usize) -> u16 {
    let mut room = [0; 128];
    let len = packet.write(link, &mut room);
    let hash = toeplitz::hash_frame(&room[..len]).unwrap_or(0);
    filter::owner::core_of(hash, queues as u16)
}

impl<D: Device> RigOn<D> {
    /// A rig whose neighbors are known already, on a slab of so many frames.
    pub(crate) fn new(plan: Plan, frames: usize) -> Self {
        let slots = plan.policy.rules + 2;
        let (ends, control) = worker::connect::<D::Nic>(plan.workers, slots);
        let shared = Shared::new(slots, plan.states * plan.workers, plan.workers, 1);
        let shared = Arc::new(shared);
        let mut device = D::with_frames(frames);
        let make = |(id, ends)| worker_of(&plan, id, ends, &shared, &mut device, usize::from(id));
        let workers = (0..).zip(ends).map(make).collect();
        let mut rig = RigOn {
            plan,
            workers,
            device,
            control,
            now_ms: 1000,
            shared,
            published: Vec::new(),
        };
        let config = rig.config(plan.policy);
        rig.publish(config);
        rig.introduce();
        rig
    }

    /// The next generation of the configuration.
    pub(crate) fn config(&self, policy: Policy) -> Arc<Config> {
        let generation = self.published.len() as u32 + 1;
        config(self.plan.world, policy, generation, &self.shared)
    }

    /// Every worker runs on it from its next turn on.
    pub(crate) fn publish(&mut self, config: Arc<Config>) {
        for control in &self.control {
            control.config.publish(config.clone());
        }
        self.published.push(config);
    }

    /// Lets the neighbors of both sides ask for us, so that the workers know them.
    pub(crate) fn introduce(&mut self) {
        for (port, frame) in introductions(self.plan.world) {
            load_frame(&mut self.device, port, &frame);
            self.drain();
        }
        self.settle();
    }

    /// Frames loaded and not received, of a device that knows.
    pub(crate) fn pending(&self) -> usize {
        let lanes = (0..PORTS).flat_map(|p| (0..self.workers.len()).map(move |w| lane(p, w)));
        lanes.map(|lane| self.device.pending(lane)).sum()
    }

    /// One turn of each worker.
    #[inline]
    pub(crate) fn turn(&mut self) -> bool {
        let mut work = false;
        for worker in &mut self.workers {
            work |= worker.turn(self.now_ms);
        }
        work
    }

    /// Turns until everything that was loaded has gone through.
    pub(crate) fn drain(&mut self) {
        while self.pending() > 0 {
            self.turn();
        }
        // What waits in rings between workers, and what was made at the end of the last turn.
        let mut rounds = 0;
        while self.turn() {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "workers find no end");
        }
    }

    /// Turns until letters and answers have been dealt with, too.
    fn settle(&mut self) {
        for _ in 0..64 {
            self.turn();
        }
    }

    /// The device alone, with station addresses exchanged.
    pub(crate) fn reflect(&mut self) {
        self.device.reflect();
    }

    /// Turns without work, a thousand in each millisecond.
    pub(crate) fn idle(&mut self, turns: usize) {
        for n in 0..turns {
            self.now_ms += u64::from(n % 1000 == 0);
            self.turn();
        }
    }

    /// Loads up to `count` packets that come in from a side; says how many.
    pub(crate) fn load(
        &mut self,
        side: usize,
        count: usize,
        packet: impl FnMut(usize) -> Packet,
    ) -> usize {
        self.load_ports(0, side, count, packet)
    }

    /// Loads up to `count` packets for [`Rig::reflect`]; says how many.
    pub(crate) fn load_mirror(
        &mut self,
        count: usize,
        packet: impl FnMut(usize) -> Packet,
    ) -> usize {
        self.load_ports(D::MIRROR, 0, count, packet)
    }

    fn load_ports(
        &mut self,
        queue: usize,
        side: usize,
        count: usize,
        mut packet: impl FnMut(usize) -> Packet,
    ) -> usize {
        let ports = self.plan.world.ports(side);
        let each = count / ports.len();
        let mut loaded = 0;
        for &port in ports {
            // What was loaded so far.
            let before = loaded;
            loaded += match self.workers.len() {
                1 => self.load_queue(lane(port, queue), side, each, |n| packet(before + n)),
                _ => self.load_spread(port, side, each, |n| packet(before + n)),
            };
        }
        loaded
    }

    fn load_spread(
        &mut self,
        port: usize,
        side: usize,
        count: usize,
        mut packet: impl FnMut(usize) -> Packet,
    ) -> usize {
        let link = self.plan.world.link(side);
        let workers = self.workers.len();
        let mut queues = vec![Vec::new(); workers];
        for n in 0..count.min(self.device.home()) {
            let packet = packet(n);
            let queue = match self.plan.rss {
                true => queue_of(&packet, &link, workers),
                false => 0,
            };
            queues[usize::from(queue)].push(packet);
        }
        let each = |(n, packets): (usize, Vec<Packet>)| {
            self.load_queue(lane(port, n), side, packets.len(), |at| packets[at])
        };
        queues.into_iter().enumerate().map(each).sum()
    }

    fn load_queue(
        &mut self,
        lane: usize,
        side: usize,
        count: usize,
        mut packet: impl FnMut(usize) -> Packet,
    ) -> usize {
        let link = self.plan.world.link(side);
        self.device.load(lane, count, |n, room| Loaded {
            len: packet(n).write(&link, room),
            rss_hash: None,
        })
    }

    /// States of all workers.
    pub(crate) fn states(&self) -> usize {
        self.workers.iter().map(|w| w.states().len()).sum()
    }

    /// A counter, summed over all workers.
    pub(crate) fn count(&self, counter: impl Fn(&worker::Counters) -> u64) -> u64 {
        self.control.iter().map(|c| counter(&c.counters)).sum()
    }
}

impl Rig {
    /// Lets only so many more frames arrive at the first worker's queue of a port.
    pub(crate) fn let_arrive(&mut self, port: usize, frames: usize) {
        self.device.let_arrive(lane(port, 0), frames);
    }
}
